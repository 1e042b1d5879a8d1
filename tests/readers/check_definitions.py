"""The definitions against values worked out by hand."""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import numpy as np

from arrays import DTYPES, F32, F64, errors, fidelity, statistics, wide
from definitions import entropy_payload, expect, huffman_bits, keep, packed_payload, sparse_payload
from levels import NF4, lloyd, optimum, put_on_levels, quantize_int, round_to
from pruning import fnv1a64, prune_count, splitmix64
from schemes import parse, touches


def _same(found, wanted) -> None:
    assert np.array_equal(np.asarray(found), np.asarray(wanted)), f"found {found}, expected {wanted}"


def self_test() -> int:
    f32 = lambda *x: np.array(x, F32)
    one = lambda a, text, target="safetensors": expect({"w": a}, [("w", text)], set(), target).tensors["w"]

    # the decimal is exact: 0.145 * 100 + 1/2 is 15, though 0.145 * 100 in f64 is 14.499999999999998
    _same(
        [
            prune_count(Fraction(p), n)
            for p, n in (("0.145", 100), ("0.5", 5), ("0", 9), ("1", 9), ("0.5", 1), ("0.1", 4))
        ],
        [15, 3, 0, 9, 1, 0],
    )
    # ties go to the lower index; zeros count among the smallest and keep their sign
    _same(one(f32(1, -1, 1, 2), "prune:0.5").stored, [0, 0, 1, 2])
    kept = one(f32(-0.0, 3, 0, 2), "prune:0.75").stored
    _same(kept, [0, 3, 0, 0])
    _same(np.signbit(kept), [True, False, False, False])
    _same(np.signbit(one(f32(-1, 2), "prune:0.5").stored), [False, False])
    # by row; 1-D is one row
    _same(one(f32(1, 2, 3, 4).reshape(2, 2), "prune:0.5:row").stored, [[0, 2], [0, 4]])
    _same(one(f32(1, 2, 3, 4), "prune:0.5:row").stored, [0, 0, 3, 4])
    # NaN and Inf are neither counted nor ranked nor changed
    _same(one(f32(np.inf, 1, 2, 3, 4), "prune:0.5").stored, [np.inf, 0, 0, 3, 4])
    # global: B < a bytewise, so B's tie goes first, whatever the dtype
    pool = expect({"a": f32(1, 1), "B": np.array([2, 1], "f2")}, [("re:.*", "prune:0.5:global")], {"a", "B"}, "packed")
    _same(pool.tensors["B"].stored, [2, 0])
    _same(pool.tensors["a"].stored, [0, 1])
    # a later line takes its tensor out of the pool
    pool = expect({"a": f32(1, 5), "b": f32(0.5, 9)}, [("*", "prune:0.5:global"), ("b", "keep")], {"a", "b"}, "packed")
    _same(pool.tensors["a"].stored, [0, 5])
    _same(pool.tensors["b"].stored, [0.5, 9])

    # 2:4 keeps the two largest of four, the later of equals; a tail of two keeps ceil(2*2/4); NaN is not counted
    _same(one(f32(3, -1, 7, 2, 5, 5, 5, 5, 9, -4), "nm:2:4").stored, [3, 0, 7, 0, 0, 0, 5, 5, 9, 0])
    _same(one(f32(1, np.inf, 2, 3), "nm:1:4").stored, [0, np.inf, 0, 3])
    _same(one(f32(1, 2, 3, 4, 5, 6).reshape(2, 3), "nm:1:2").stored, [[0, 2, 3], [0, 5, 6]])
    # blocks of 2x2 of a 3x3: energies 4, 2, 2, 9; the first of the equals goes
    w = f32(1, 1, 1, 1, 1, 1, 1, 1, 3).reshape(3, 3)
    _same(one(w, "block:2x2:0.25").stored, [[1, 1, 0], [1, 1, 0], [1, 1, 3]])
    _same(one(w, "block:2x2:0.5").stored, [[1, 1, 0], [1, 1, 0], [0, 0, 3]])
    _same(one(w, "block:9x9:0.5").stored, np.zeros((3, 3)))
    # published: splitmix64 from 1234567, FNV-1a of "foobar"
    _same(splitmix64(np.array([1234567], "u8")), [6457827717110365317])
    _same(fnv1a64(b"foobar"), 0x85944171F73967E8)
    _same((one(np.ones(1000, F32), "random:0.3:5").stored == 0).sum(), 300)

    # int4: scale 1, halves to even, clip at 7; a code of 0 reads +0
    grid = one(f32(7, 0.5, 1.5, -2.5, -0.5, -7), "int4")
    _same(grid.codes, [7, 0, 2, -2, 0, -7])
    assert not np.signbit(grid.stored[4])
    # int2 has three levels, zero scale reads 0, a scale that rounds to 0 too
    _same(one(f32(3, -1, 1.6), "int2").stored, [3, 0, 3])
    _same(one(f32(0, 0), "int8").stored, [0, 0])
    _same(one(f32(1.4e-45, 0), "int8").stored, [0, 0])
    # asym, N = 2: lo -1, hi 2, s 1, z 1; all positive: lo is 0
    _same(one(f32(-1, 0, 0.4, 2), "int2:asym").stored, [-1, 0, 0, 2])
    _same(one(f32(3, 6, 1.4), "int2:asym").stored, [4, 6, 2])
    # a searched range gives an outlier up; a percentile is one of the survivors' magnitudes
    w = np.append(np.tile(f32(-0.07, 0.03, 0.05, 0.07), 50), f32(0.09))
    assert np.abs(one(w, "int4:mse").stored).max() < 0.08 and np.abs(one(w, "int4").stored).max() > 0.089
    _same(one(f32(0, 0), "int4:mse").stored, [0, 0])
    _same(one(f32(4, 3, 2, 1), "int2:p50").stored, f32(2.5, 2.5, 2.5, 0))
    _same(one(f32(4, 3, 0, 0), "prune:0.25+int2:p50").stored, f32(3.5, 3.5, 0, 0))
    _same(one(f32(0, 0), "prune:0.5+int2:p50").stored, [0, 0])
    # groups cut each row from the left, the last may be short: 130 = 128 + 2, two scales a row
    w = np.ones((3, 130), F32)
    w[:, 128:] = 100
    grid = quantize_int(wide(w), w.shape, parse("int8:g128"))
    _same(grid.scales, 6)
    _same(
        grid.values.reshape(3, 130)[:, [0, 129]],
        np.tile(f32(127 * np.float32(1 / 127), 127 * np.float32(100 / 127)), (3, 1)),
    )
    _same(quantize_int(wide(np.ones((64, 1, 3, 3), F32)), (64, 1, 3, 3), parse("int4:g32")).scales, 64)
    # the dense target rounds into the tensor's dtype, packed keeps F32
    half = np.array([1, 0.3], "f2")
    _same(one(half, "int8", "packed").stored.dtype, F32)
    _same(one(half, "int8").stored, f32(1, np.float32(38) * (np.float32(1) / np.float32(127))).astype("f2"))
    # fp8 by rows: scale 896/448 = 2; halves to even at 17/16 and 19/16
    _same(one(f32(896, 2.125, -2.375), "fp8_e4m3:row").stored, f32(896, 2, -2.5))
    _same(one(f32(1, -0.0, 1 + 2**-4, 1 + 3 * 2**-4), "fp8_e4m3").stored.astype(F32), f32(1, 0, 1, 1.25))
    _same(one(f32(3.5, 0.626, 57344), "fp8_e5m2", "packed").stored.astype(F32), f32(3.5, 0.625, 57344))
    # mxfp4: 7 is in [4, 8), scale 1, and saturates at 6; a tie goes to the even mantissa; the next block has its own scale
    w = np.zeros((1, 40), F32)
    w[0, :8], w[0, 32:35] = (7, 5, 2.5, -0.25, 0.75, 1.25, 3.5, -0.2), (0.75, 0.125, -0.03)
    wanted = np.zeros((1, 40), F32)
    wanted[0, :8], wanted[0, 32:35] = (6, 4, 2, 0, 1, 1, 4, 0), (0.75, 0.125, 0)
    # (scale 2**-3: 0.03 is 0.24 of it, below a quarter)
    _same(one(w, "mxfp4").stored, wanted)
    _same(put_on_levels(wide(w), w.shape, parse("mxfp4")).side, 2)
    # nvfp4: g = 2688/12 = 224; the first block's scale is 448/224 = 2, that of 3/4 is e4m3(0.125 * 224 = 28)/224
    w = np.zeros((1, 20), F32)
    w[0, 0], w[0, 1], w[0, 16] = 12, 5, 0.75
    _same(one(w, "nvfp4").stored[0, [0, 1, 16]], f32(12, 4, 0.75))  # 5/2 is half-way and goes to 2
    _same(put_on_levels(wide(w), w.shape, parse("nvfp4")).side, 2 + 4)
    # nf4: nearest of sixteen, half-way down
    half = np.float64(NF4[14]) / 2 + np.float64(NF4[15]) / 2
    _same(one(np.array([2, 2 * half, 0.01, -2]), "nf4").stored, [2, 2 * np.float64(NF4[14]), 0, -2])
    # ternary: mean 2, threshold 1.4 not strictly above itself, alpha 3.25; of the survivors alone the mean is higher
    _same(one(f32(1.4, -0.1, -3.5, 3), "ternary").stored, f32(0, 0, -3.25, 3.25))
    _same(one(f32(1, 1, 4, 2, 0.1, 0.1), "prune:0.34+ternary").stored, f32(0, 0, 3, 3, 0, 0))
    _same(one(f32(1, -3, 0, -0.0), "binary").stored, f32(1, -1, 1, 1))
    assert one(f32(1, 2), "prune:0.5+binary").refused is not None
    # Lloyd from -1, 0, 1: the empty middle stays; the optimum has no empty one; pruned zeros have no code
    _same(lloyd(f32(-1, -1, 1), 3), f32(-1, 0, 1))
    _same(one(f32(0, 1, 10, 11, 100, 101), "codebook:3:best").stored, f32(0.5, 0.5, 10.5, 10.5, 100.5, 100.5))
    _same(optimum(f32(1, 1, 2), 3), f32(1, 2, 2))
    book = one(f32(0.1, 1, 3, -5), "prune:0.25+codebook:2", "packed")
    _same(book.stored, f32(0, 2, 2, -5))
    _same((book.bytes, book.sparse, *book.entropy), (8 + 1 + 1, 8 + 1, 8 + 1, 8 + 1))
    # refusals
    for array, text, count in (
        (f32(465, 1, -500), "fp8_e4m3", 2),
        (f32(61440, 1), "fp8_e5m2", 1),
        (f32(1e-37, 0), "nvfp4", None),
        (np.array([1e60, 1]), "mxfp4", None),
        (f32(np.nan, 1), "codebook:4", 1),
        (f32(1, np.nan, np.inf), "int4", 2),
        (f32(1e5, 1), "f16", 1),
        (f32(3e38, -3e38), "int4:asym", None),
        (np.array([65504, -65504], "f2"), "int4:asym", 1),
    ):
        _same(one(array, text).refused.count, count)
    assert one(np.array([65504, -65504], "f2"), "int4:asym", "packed").refused is None
    # casts: f64 to bf16 rounds once (a value just over the tie of two bf16 goes up), the sign of zero stays
    _same(round_to(np.array([1 + 2**-8 + 2**-40, 1 + 2**-8]), DTYPES["BF16"]).astype(F64), [1 + 2**-7, 1])
    assert np.signbit(one(f32(-1e-30, 1), "f16").stored[0])

    # sizes. Worked example of the contract, with survivors that keep a code: 29,400 + 11,760 + 1,200
    r = np.random.default_rng(1)
    fc1 = r.standard_normal((300, 784)).astype(F32)
    fc1 = np.sign(fc1) * np.maximum(np.abs(fc1), 0.5).astype(F32)
    outcome = one(fc1, "prune:0.9+int4:row", "packed")
    assert outcome.zeros >= 211680
    assert outcome.bytes <= 42360 - (outcome.zeros - 211680) // 2
    asym = one(fc1, "prune:0.9+int4:row:asym", "packed")
    assert asym.bytes <= 42660 - (asym.zeros - 211680) // 2
    _same(one(fc1, "prune:0.9+int4:row").bytes, 940800)
    # 1,000 elements, nonzeros at 0 and 999, 8 bits: dense 1000, mask 127, indices r = 8: gap 998 needs 3 fillers,
    # 5 * 16 bits = 10 bytes; r = 7: 7 fillers, 9 * 15 bits = 17 bytes
    marks = np.zeros(1000, bool)
    marks[[0, 999]] = True
    _same(sparse_payload(marks, 8), 10)
    marks[:] = False
    _same(sparse_payload(marks, 8), 0)  # no nonzero: indices store nothing
    # every code at 8 bits 1000; one symbol alone: table 128, block 4, 1000 bits; a mask 125; no indices: block 8 and words
    _same(packed_payload(marks, np.zeros(1000, "u1"), 8), 8)
    # gaps of 0 and 998 zeros: r = 5 has 32 fillers, 34 * 5 bits = 22 bytes, r = 8 has 3, 5 bytes; two codes, 2 bytes; block 8
    marks[[0, 999]] = True
    _same(packed_payload(marks, np.arange(1000) % 256, 8), 15)
    # lengths 1 2 3 3, as Huffman (1952) would have them
    _same(huffman_bits([8, 4, 2, 1]), 8 + 8 + 6 + 3)
    _same(huffman_bits([0, 9]), 9)
    # half of 3,000 elements are two bytes 0x3F00 + i, the others zero: indices of 0 and 1 at a bit each (table 2, 188 bytes),
    # codes whose last bytes are alike (table 128, 188 bytes, 1500 bytes beside them), and 12 bytes for the block
    pairs = np.where(np.arange(3000) % 2 == 0, 0x3F00 + np.arange(3000) % 256, 0).astype("u2")
    _same(packed_payload(pairs != 0, pairs, 16), 2 + 188 + 128 + 188 + 1500 + 12)
    _same(entropy_payload(np.array([0, 1] * 48)), (12, 12))  # 96 bits exactly
    _same(entropy_payload(np.zeros(9, "i4")), (0, 0))
    _same(entropy_payload(np.array([0, 0, 1])), (1, 1))  # 2.75 bits
    _same(keep(f32(0, 1, 0, 0)).sparse, 5)  # mask 1 byte + 4; indices r = 2: (32 + 2) bits = 5 bytes

    # statistics and errors
    s = statistics(f32(1, 3, np.nan, np.inf, -0.0, 0))
    _same([s[k] for k in ("min", "max", "mean", "zeros", "nan", "inf")], [0, 3, 1, 2, 1, 1])
    assert math.isclose(s["std"], math.sqrt(1.5))
    assert statistics(np.zeros(0, F32))["min"] is None
    assert errors(f32(0, 0), f32(0, 0)) == {"zeros": 2, "t2": 0.0, "sqnr_db": None, "cosine": 1.0}
    assert errors(f32(3, 4), f32(0, 0)) == {"zeros": 2, "t2": 1.0, "sqnr_db": -0.0, "cosine": 0.0}
    assert math.isclose(errors(f32(3, 4), f32(0, 4))["t2"], 9 / 25)
    assert errors(f32(np.nan), f32(np.nan))["t2"] is None
    assert math.isclose(fidelity([0.1, None, 0.5, 1.0]), 100 * 0.9 * 0.5 * (1 - 0.9999))

    # patterns and grammar
    assert touches("a.*.w", "a.b.c.w", "F32", True) and not touches("a.*", "a.b", "F32", False)
    assert touches("a.b", "a.b", "F16", False) and not touches("a.b", "a.b", "I64", False)
    assert touches("l.[0-3].{q,k}", "l.2.k", "F32", True) and not touches("l.[!0-3].?", "l.2.k", "F32", True)
    for wrong in (
        "",
        "int9",
        "int1",
        "int4:asym:row",
        "int4:asym:p99",
        "int4:p0",
        "int4:p100.1",
        "int4:max:mse",
        "prune:.5",
        "prune:50%",
        "prune:1.5",
        "prune:1e-1",
        "int4+prune:0.5",
        "int4+int4",
        "keep+int4",
        "prune:0.5+prune:0.5",
        "nosuch",
        "prune",
        "prune:0.5:global:row",
        "codebook:1",
        "codebook:257",
        "codebook:4:best:row",
        "mxfp4:row",
        "nf4:row",
        "fp8_e4m3:tensor",
        "ternary+int4",
        "nm:5:4",
        "nm:0:4",
        "nm:1:65",
        "block:0x4:0.5",
        "block:4:0.5",
        "random:0.5",
        "random:0.5:18446744073709551616",
        "nm:2:4+prune:0.5",
        "mask:",
    ):
        try:
            parse(wrong)
        except ValueError:
            continue
        raise AssertionError(f"{wrong!r} was read as a scheme")
    return 0


if __name__ == "__main__":
    self_test()
    print("definitions agree with the values worked out by hand")
    sys.exit(0)
