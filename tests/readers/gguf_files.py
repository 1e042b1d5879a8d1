"""GGUF read and written, believed only as far as three others agree: the `gguf` package, libgguf, and llama.cpp itself.

`python gguf_files.py --binary target/release/spokeshave [--only SUBSTRING]`. Blocks of every type are made and decoded by all
who know it, files are taken apart byte for byte, the corpus and headers spoiled at random are judged by llama.cpp, and models
in the Hugging Face layout become GGUF and are run (`gguf_models.py`). The last line is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import gguf_models
from arrays import errors, statistics
from gguf_make import PLAIN, TYPES, WRITTEN, File, Kind, Stored, any_blocks, decode, encode, pair, read, scheme_of, stored, write
from harness import Checks, read_artifact, sha

OURS = {"spokeshave.recipe", "general.file_type", "general.quantization_version"}
LLAMA = pair("general.architecture", Kind.STRING, "llama")
CORPUS = Path(__file__).resolve().parents[1] / "corpus"


def pairs(alignment: int = 32) -> list[bytes]:
    """All kinds of key-values, and one list as long as a vocabulary."""
    own = [pair("general.alignment", Kind.UINT32, alignment)] if alignment != 32 else []
    return [
        LLAMA,
        pair("general.name", Kind.STRING, "a model"),
        *own,
        pair("general.file_type", Kind.UINT32, 0),
        pair("llama.block_count", Kind.UINT32, 2),
        pair("tokenizer.ggml.tokens", Kind.ARRAY, [f"t{i} é" for i in range(5000)], Kind.STRING),
        pair("tokenizer.ggml.scores", Kind.ARRAY, [0.5 * i for i in range(300)], Kind.FLOAT32),
        pair("a.u8", Kind.UINT8, 200),
        pair("a.i8", Kind.INT8, -3),
        pair("a.u16", Kind.UINT16, 60000),
        pair("a.i16", Kind.INT16, -300),
        pair("a.i32", Kind.INT32, -7),
        pair("a.bool", Kind.BOOL, 1),
        pair("a.u64", Kind.UINT64, 2**63),
        pair("a.i64", Kind.INT64, -(2**62)),
        pair("a.f64", Kind.FLOAT64, 1e-9),
        pair("tokenizer.chat_template", Kind.STRING, "{{ messages }}\n" * 20),
    ]


def weights(draw: np.random.Generator, *shape: int) -> np.ndarray:
    """Bell-shaped, with an outlier, a block of zeros and a constant one."""
    w = (draw.standard_normal(shape) * 0.05).astype("f4")
    flat = w.reshape(-1)
    flat[7] *= 30
    flat[64:96] = 0
    flat[128:160] = 0.03125
    return w


# ---------------------------------------------------------------- reading


def check_types(checks: Checks, work: Path) -> None:
    """Every type: what is listed, its statistics, and its values as every decoder has them."""
    case, draw = "types", np.random.default_rng(1)
    tensors, exotic = {}, {"Q8_1", "Q8_K", "Q2_0", "Q1_0"}
    for i, kind in enumerate(k for k in TYPES if k not in ("F64", "I8", "I16", "I32", "I64")):
        made = kind in WRITTEN or kind in PLAIN or kind == "NVFP4"
        rows = encode(kind, weights(draw, 5, 512)) if made else any_blocks(kind, 5, 512, draw)
        tensors[f"blk.{i}.{kind.lower()}.weight"] = Stored(kind, (5, 512), rows)
    path = work / "types.gguf"
    write(path, pairs(), tensors)
    values = {name: t.values() for name, t in tensors.items()}
    report = checks.run(case, "inspect", path, "--json").json
    if report is None:
        return
    checks.equal(case, "format and bytes", (report["format"], report["bytes"]), ("gguf", path.stat().st_size))
    checks.equal(case, "parameters", report["parameters"], 2560 * len(tensors))
    checks.equal(case, "names, bytewise", [t["name"] for t in report["tensors"]], sorted(tensors))
    for tensor in report["tensors"]:
        name = tensor["name"]
        t, wanted = tensors[name], statistics(values[name])
        facts = (t.kind, list(t.shape), t.rows.size)
        checks.equal(case, f"{name}: type, shape, bytes", (tensor["dtype"], tensor["shape"], tensor["bytes"]), facts)
        for key in ("min", "max", "zeros", "nan", "inf"):
            checks.equal(case, f"{name}: {key}", tensor[key], wanted[key])
        for key in ("mean", "std"):
            checks.close(case, f"{name}: {key}", tensor[key], wanted[key], 1e-9)
    dense, again = work / "types.safetensors", work / "types.spk"
    for out, target in ((dense, "safetensors"), (again, "packed")):
        checks.run(case, "export", path, "--target", target, "-o", out, "--json")
        found = read_artifact(out, target)[0] if out.exists() else {}
        for name, t in tensors.items():
            kept = {"F16": ("F16", t.rows.tobytes()), "BF16": ("BF16", t.rows.tobytes())}
            dtype, data = kept.get(t.kind, ("F32", values[name].astype("<f4").tobytes()))
            checks.equal(case, f"{name}: {target} has its values bit for bit", found.get(name), (dtype, t.shape, data))
        checks.run(case, "verify", path, out, "--json")
    report = checks.run(case, "compare", path, dense, "--json").json
    if report:
        checks.equal(case, "compare sees no difference", {t["max_abs_difference"] for t in report["tensors"]}, {0})
    checks.run(case, "export", path, "--target", "safetensors", "-o", work / "no-mmap.safetensors", "--no-mmap", "--threads", 1)
    checks.equal(case, "the same bytes without a map", sha(work / "no-mmap.safetensors"), sha(dense))
    known = {name: t for name, t in tensors.items() if t.kind not in exotic}
    write(work / "known.gguf", pairs(), known)
    checks.run(case, "export", work / "known.gguf", "-o", work / "known-again.gguf", "--json")
    for name, t in read(work / "known-again.gguf").tensors.items():
        checks.equal(case, f"{name}: its blocks are copied", t.rows.tobytes(), known[name].rows.tobytes())


def check_plain(checks: Checks, work: Path) -> None:
    """Integers, F64, no dimension, no elements, four dimensions: listed and copied as they are."""
    case, draw = "plain", np.random.default_rng(2)
    made = {
        "int8": ("I8", np.arange(-8, 8)),
        "int16": ("I16", np.arange(-8, 8) * 1000),
        "int32": ("I32", np.arange(-8, 8) * 10**8),
        "int64": ("I64", np.arange(-8, 8) * 10**18),
        "nothing.weight": ("Q8_0", np.zeros((3, 0))),
        "double.weight": ("F64", draw.standard_normal((3, 5))),
        "scalar": ("F32", np.float32(2.5)),
        "four.weight": ("F16", draw.standard_normal((2, 3, 4, 5))),
        "empty.weight": ("F32", np.zeros((0, 4))),
    }
    tensors = {}
    for name, (kind, array) in made.items():
        array = np.asarray(array).astype(PLAIN.get(kind, "f4"))
        raw = np.frombuffer(array.tobytes(), "u1")
        tensors[name] = Stored(kind, array.shape, raw.reshape(1, -1))
    path = work / "plain.gguf"
    write(path, pairs(), tensors)
    report = checks.run(case, "inspect", path, "--json").json
    for tensor in (report or {"tensors": []})["tensors"]:
        t = tensors[tensor["name"]]
        checks.equal(case, f"{tensor['name']}: type and shape", (tensor["dtype"], tensor["shape"]), (t.kind, list(t.shape)))
    for target, out in (("safetensors", work / "plain.safetensors"), ("gguf", work / "plain-again.gguf")):
        checks.run(case, "export", path, "--target", target, "-o", out, "--json")
        checks.run(case, "verify", path, out, "--json")
    found = read_artifact(work / "plain.safetensors", "safetensors")[0]
    for name, t in tensors.items():
        dtype = "F32" if t.kind == "Q8_0" else t.kind
        checks.equal(case, f"{name}: in safetensors", found.get(name), (dtype, t.shape, t.rows.tobytes()))
    checks.equal(case, "order", list(read(work / "plain-again.gguf").tensors), list(tensors))
    whole, again = path.read_bytes(), (work / "plain-again.gguf").read_bytes()
    data = sum(len(t.rows.tobytes()) + -t.rows.size % 32 for t in tensors.values())
    checks.equal(case, "the data is copied whole", again[-data:], whole[-data:])
    checks.run(case, "export", path, "--set", "double.weight=f16", "-o", work / "halved.gguf", "--json")
    halved = read(work / "halved.gguf").tensors["double.weight"]
    checks.equal(case, "F64 becomes F16", halved.rows.tobytes(), made["double.weight"][1].astype("<f2").tobytes())
    run = checks.run(case, "export", path, "--set", "int*=f16", "-o", work / "x.gguf", "--json", code=1)
    checks.check("not float" in run.stderr, case, "integers are left alone, and it says why", run.stderr)


# ---------------------------------------------------------------- writing again


def unit_steps(kind: str, rows: np.ndarray) -> np.ndarray:
    """The same codes under steps of 1 and minima of 0, so that a decoder gives the code of every element."""
    blocks = rows.reshape(-1, TYPES[kind][2]).copy()
    one = np.frombuffer(np.float16(1).tobytes(), "u1")
    at = {"Q3_K": 108, "Q6_K": 208, "TQ1_0": 52, "TQ2_0": 64, "Q2_K": 80}.get(kind, 0)
    if kind == "MXFP4":
        blocks[:, 0] = 128
        return blocks
    blocks[:, at : at + 2] = one
    if kind in ("Q4_1", "Q5_1", "Q4_K", "Q5_K", "Q2_K"):
        blocks[:, at + 2 : at + 4] = 0
    if kind in ("Q4_K", "Q5_K"):
        blocks[:, 4:16] = [1] * 4 + [0] * 4 + [1] * 4
    if kind == "Q2_K":
        blocks[:, :16] = 1
    if kind == "Q3_K":  # 33 − 32
        blocks[:, 96:108] = [0x11] * 8 + [0xAA] * 4
    if kind == "Q6_K":
        blocks[:, 192:208] = 1
    if kind == "IQ4_XS":
        blocks[:, 2:8] = [0xAA, 0xAA] + [0x11] * 4
    return blocks


CODE_BITS = {"Q8_0": 8, "Q6_K": 6, "Q5_K": 5, "Q5_0": 5, "Q5_1": 5, "Q3_K": 3, "Q2_K": 2, "TQ1_0": 2, "TQ2_0": 2}


def bounds(kind: str, rows: np.ndarray, values: np.ndarray) -> tuple[int, int]:
    """The sparse and the entropy size, by the contract's formulas over codes that another decoder took out."""
    n, bits = values.size, CODE_BITS.get(kind, 4)
    codes = decode(kind, unit_steps(kind, rows), TYPES[kind][1])
    _, counts = np.unique(codes, return_counts=True)
    h = -float((counts / n * np.log2(counts / n)).sum())
    in_codes = {"TQ1_0": 52}.get(kind, TYPES[kind][1] * bits // 8)
    side = n // TYPES[kind][1] * (TYPES[kind][2] - in_codes)
    up = lambda bits: -(-bits // 8)
    nonzero = np.flatnonzero(values.reshape(-1))
    gaps = np.diff(np.concatenate([[-1], nonzero])) - 1
    indexed = min(up((nonzero.size + int((gaps >> r).sum())) * (bits + r)) for r in range(2, 9))
    sparse = side + min(up(n * bits), up(n) + up(nonzero.size * bits), indexed)
    return sparse, side + int(np.ceil(n * h / 8 - 1e-9))


def check_file(checks: Checks, case: str, out: Path, source: File, wanted: dict[str, Stored], order: list[str]) -> None:
    """A written file against what must be in it, pair for pair and byte for byte."""
    file = read(out)
    checks.equal(case, "alignment", file.alignment, source.alignment)
    checks.equal(case, "order of tensors", list(file.tensors), order)
    dropped = {key for key in source.pairs if key.startswith("split.")}
    kept = [key for key in source.pairs if key not in dropped]
    checks.equal(case, "keys in their order", [key for key in file.pairs if key in source.pairs], kept)
    added = set(file.pairs) - set(source.pairs)
    checks.check(added <= OURS and "spokeshave.recipe" in added, case, "no keys but ours are added", added, OURS)
    for key in kept:
        if key not in OURS:
            checks.equal(case, f"{key}: byte for byte", file.pairs[key], source.pairs[key])
    for name, t in wanted.items():
        found = file.tensors.get(name)
        if checks.check(found is not None, case, f"{name} is there"):
            checks.equal(case, f"{name}: type and shape", (found.kind, found.shape), (t.kind, t.shape))
            same = found.rows.tobytes() == t.rows.tobytes()
            differ = 0 if same else int(np.count_nonzero(found.rows.ravel()[: t.rows.size] != t.rows.ravel()[: found.rows.size]))
            checks.check(same, case, f"{name}: bytes", f"{differ} of {t.rows.size} differ", "none")
    at = file.data
    for name, t in file.tensors.items():
        checks.equal(case, f"{name}: offset", file.offsets[name], at)
        at += t.rows.size + -t.rows.size % int(file.alignment)
    checks.equal(case, "bytes of the file", out.stat().st_size, at)


def check_rewriting(checks: Checks, work: Path) -> None:
    """Each scheme on its own tensor of an F32, F16 or BF16 source, under three alignments."""
    for source_kind, alignment in (("F32", 32), ("F16", 64), ("BF16", 8)):
        case, draw = f"rewriting {source_kind}", np.random.default_rng(3)
        if not checks.wants(case):
            continue
        tensors, wanted, lines, schemes = {}, {}, [], {}
        for i, kind in enumerate([*WRITTEN, "F16", "BF16"]):
            # Not in order of name, and lengths that leave something to pad.
            name = f"blk.{17 - i}.{kind.lower()}.weight"
            tensors[name] = stored(source_kind, weights(draw, 7, 768))
            wanted[name] = stored(kind, tensors[name].values())
            schemes[name] = scheme_of(kind)
            lines.append(f"{name}={schemes[name]}")
        for kind, share in (("Q8_0", 0.5), ("Q4_0", 0.3), ("Q6_K", 0.7), ("Q5_0", 0.4), ("Q3_K", 0.5), ("TQ2_0", 0.5), ("MXFP4", 0.6)):
            name = f"pruned.{kind.lower()}.weight"
            tensors[name] = stored(source_kind, weights(draw, 7, 768))
            pruned = tensors[name].values().copy()
            order = np.argsort(np.abs(pruned).reshape(-1), kind="stable")
            pruned.reshape(-1)[order[: int(share * pruned.size + 0.5)]] = 0
            wanted[name], schemes[name] = stored(kind, pruned), f"prune:{share}+{scheme_of(kind)}"
            lines.append(f"{name}={schemes[name]}")
        for name, kind, shape in (("output_norm.weight", "F32", (33,)), ("kept.weight", source_kind, (5, 33)), ("kept_q.weight", "Q5_K", (3, 256))):
            tensors[name] = wanted[name] = stored(kind, weights(draw, *shape) if len(shape) > 1 else np.ones(shape))
        path, out = work / f"{source_kind}.gguf", work / f"{source_kind}-out.gguf"
        write(path, pairs(alignment), tensors, alignment)
        recipe = [word for line in lines for word in ("--set", line)]
        estimate = checks.run(case, "estimate", path, *recipe, "--json").json
        bytes_only = checks.run(case, "estimate", path, *recipe, "--bytes-only", "--json").json
        report = checks.run(case, "export", path, *recipe, "-o", out, "--json").json
        if not (estimate and bytes_only and report):
            continue
        check_file(checks, case, out, read(path), wanted, list(tensors))
        size = out.stat().st_size
        checks.equal(case, "estimate, estimate of bytes only, export", (estimate["bytes"], bytes_only["bytes"], report["estimate"]["bytes"]), (size,) * 3)
        checks.equal(case, "source_bytes and target", (estimate["source_bytes"], estimate["target"]), (path.stat().st_size, "gguf"))
        for tensor in estimate["tensors"]:
            name = tensor["name"]
            t, values = wanted[name], wanted[name].values()
            checks.equal(case, f"{name}: bytes", tensor["bytes"], t.rows.size)
            if name not in schemes:
                continue
            checks.equal(case, f"{name}: stored_as", (tensor["scheme"], tensor["stored_as"]), (schemes[name],) * 2)
            found = errors(tensors[name].values(), values)
            checks.equal(case, f"{name}: zeros", tensor["zeros"], found["zeros"])
            checks.close(case, f"{name}: t2", tensor["t2"], found["t2"], 1e-18)
            checks.close(case, f"{name}: cosine", tensor["cosine"], found["cosine"])
            if t.kind in WRITTEN:
                sizes = (tensor["sparse_bytes"], tensor["entropy_bytes"])
                checks.equal(case, f"{name}: sparse_bytes and entropy_bytes", sizes, bounds(t.kind, t.rows, values))
        checks.run(case, "verify", path, out, "--json")
        first = sha(out)
        for extra in (["--no-mmap"], ["--threads", 1]):
            checks.run(case, "export", path, *recipe, "-o", out, "--force", *extra)
            checks.equal(case, f"the same bytes with {extra}", sha(out), first)
        whole = bytearray(out.read_bytes())
        whole[-60] ^= 1  # in the last tensor, before its padding
        (work / "flipped.gguf").write_bytes(whole)
        checks.run(case, "verify", path, work / "flipped.gguf", "--json", code=1)


FALLBACK = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "TQ1_0": "Q4_0", "TQ2_0": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "IQ4_XS": "IQ4_NL"}


def check_fallback(checks: Checks, work: Path) -> None:
    """Rows that are no whole blocks: refused with the name of what llama.cpp takes instead, and taken under --nearest."""
    case, draw = "fallback", np.random.default_rng(4)
    tensors = {f"w{n}.{kind.lower()}.weight": stored("F32", weights(draw, 6, n)) for kind in WRITTEN for n in (160, 100, 33)}
    path, out = work / "fallback.gguf", work / "fallback-out.gguf"
    write(path, pairs(), tensors)
    lines, wanted = [], {}
    for name, t in tensors.items():
        kind, n = name.split(".")[1].upper(), t.shape[1]
        instead = kind if n % TYPES[kind][1] == 0 else FALLBACK.get(kind, kind)
        instead = instead if n % TYPES[instead][1] == 0 else "F16"
        wanted[name] = stored(instead, t.values())
        lines.append(f"{name}={scheme_of(kind)}")
        run = checks.run(case, "estimate", path, "--set", lines[-1], "--json", code=int(instead != kind))
        if instead != kind:
            told = name in run.stderr and scheme_of(instead) in run.stderr and "--nearest" in run.stderr
            checks.check(told, case, f"{lines[-1]} is refused by name", run.stderr, scheme_of(instead))
    recipe = [word for line in lines for word in ("--set", line)]
    estimate = checks.run(case, "estimate", path, *recipe, "--nearest", "--json").json
    checks.run(case, "export", path, *recipe, "--nearest", "-o", out, "--json")
    for tensor in (estimate or {"tensors": []})["tensors"]:
        name, asked = tensor["name"], scheme_of(tensor["name"].split(".")[1].upper())
        checks.equal(case, f"{name}: asked and stored", (tensor["scheme"], tensor["stored_as"]), (asked, scheme_of(wanted[name].kind)))
    if out.exists():
        check_file(checks, case, out, read(path), wanted, list(tensors))
        checks.equal(case, "estimated bytes", estimate["bytes"], out.stat().st_size)
        checks.run(case, "verify", path, out, "--json")


def check_refusals(checks: Checks, work: Path) -> None:
    """What the target does not hold: exit 1, nothing written, and the nearest named."""
    case, draw, path = "refusals", np.random.default_rng(5), work / "refusals.gguf"
    tensors = {"a.weight": stored("F32", weights(draw, 4, 512)), "q.weight": stored("Q8_0", weights(draw, 4, 512))}
    write(path, pairs(), tensors)
    for scheme, nearest in {
        "int8": "q8_0",
        "int4": "q4_k",
        "int3:g64": "q3_k",
        "fp8_e4m3": "q8_0",
        "nf4": "iq4_nl",
        "mxfp4": "mxfp4_ggml",
        "nvfp4": "iq4_nl",
        "ternary": "tq2_0",
        "codebook:16": "q4_k",
        "prune:0.5+int4": "prune:0.5+q4_0",
        "rank:2+q8_0": "q8_0",
    }.items():
        run = checks.run(case, "export", path, "--set", f"a.weight={scheme}", "-o", work / "no.gguf", "--json", code=1)
        told = "a.weight" in run.stderr and scheme in run.stderr and nearest in run.stderr
        checks.check(told, case, f"{scheme} is refused and {nearest} named", run.stderr, nearest)
        estimate = checks.run(case, "estimate", path, "--set", f"a.weight={scheme}", "--nearest", "--json").json
        if estimate:
            checks.equal(case, f"{scheme} under --nearest", estimate["tensors"][0]["stored_as"], nearest)
    for kind, instead in (("Q4_K", "q4_0"), ("Q4_1", "q4_0"), ("Q2_K", "q3_k"), ("Q5_K", "q5_0"), ("IQ4_XS", "q4_0")):
        recipe = ["--set", f"a.weight=prune:0.5+{scheme_of(kind)}"]
        run = checks.run(case, "export", path, *recipe, "-o", work / "no.gguf", "--json", code=1)
        checks.check(f"prune:0.5+{instead}" in run.stderr, case, f"{kind} has no 0, and {instead} is named", run.stderr)
        # Taken all the same, what was pruned is not 0, and `zeros` tells.
        estimate = checks.run(case, "estimate", path, *recipe, "--nearest", "--json").json
        pruned = tensors["a.weight"].values().copy()
        pruned.reshape(-1)[np.argsort(np.abs(pruned).reshape(-1), kind="stable")[: pruned.size // 2]] = 0
        if estimate:
            zeros = int(np.count_nonzero(stored(kind, pruned).values() == 0))
            checks.equal(case, f"{kind}: zeros under --nearest", estimate["tensors"][0]["zeros"], zeros)
    checks.check(not (work / "no.gguf").exists(), case, "nothing is written")
    for pattern, scheme, told in (("*", "q4_0", None), ("q.weight", "q4_0", "--requantize"), ("q*", "q4_0", "--requantize")):
        run = checks.run(case, "estimate", path, "--set", f"{pattern}={scheme}", "--json", code=int(told is not None))
        checks.check(told is None or told in run.stderr, case, f"{pattern} on codes", run.stderr, told)
    for target in ("safetensors", "packed"):
        run = checks.run(case, "estimate", path, "--set", "a.weight=q4_k", "--target", target, "--json", code=1)
        checks.check("int4" in run.stderr, case, f"q4_k for {target} names the integer grid", run.stderr, "int4")
    whole = path.read_bytes()
    for out in (path, path.parent / "." / path.name):
        checks.run(case, "export", path, "--set", "a.weight=q8_0", "-o", out, "--force", "--json", code=1)
    checks.equal(case, "the source is as it was", path.read_bytes(), whole)


def check_requantize(checks: Checks, work: Path) -> None:
    """Blocks by their values, quantized anew, there and back."""
    case, draw, path, out = "requantize", np.random.default_rng(6), work / "rq.gguf", work / "rq-out.gguf"
    kinds = ("Q8_0", "Q4_K", "Q6_K", "IQ4_XS", "Q5_1", "MXFP4", "NVFP4", "TQ2_0")
    tensors = {f"b{i}.weight": stored(kind, weights(draw, 5, 512)) for i, kind in enumerate(kinds)}
    tensors |= {"c.weight": Stored("IQ2_XS", (5, 512), any_blocks("IQ2_XS", 5, 512, draw)), "n.weight": stored("F32", np.ones(8))}
    write(path, pairs(), tensors)
    for scheme, kind in (("q4_0", "Q4_0"), ("q8_0", "Q8_0"), ("q6_k", "Q6_K"), ("bf16", "BF16")):
        recipe = ["--set", f"*={scheme}", "--requantize"]
        estimate = checks.run(case, "estimate", path, *recipe, "--json").json
        checks.run(case, "export", path, *recipe, "-o", out, "--force", "--json")
        wanted = {name: stored(kind, t.values()) if len(t.shape) > 1 else t for name, t in tensors.items()}
        if estimate is None or not out.exists():
            continue
        check_file(checks, f"{case} {scheme}", out, read(path), wanted, list(tensors))
        for tensor in estimate["tensors"]:
            name = tensor["name"]
            found = errors(tensors[name].values(), wanted[name].values())
            checks.close(case, f"{scheme} {name}: t2", tensor["t2"], found["t2"], 1e-18)
        checks.equal(case, f"{scheme}: bytes", estimate["bytes"], out.stat().st_size)
        checks.run(case, "verify", path, out, "--json")
        report = checks.run(case, "compare", path, out, "--json").json
        for tensor in (report or {"tensors": []})["tensors"]:
            a, b = tensors[tensor["name"]].values(), wanted[tensor["name"]].values()
            checks.equal(case, f"{scheme} {tensor['name']}: compare", tensor["max_abs_difference"], float(np.abs(a.astype("f8") - b).max()))
    dense = work / "rq.safetensors"
    checks.run(case, "export", path, "--set", "*=int8:row", "--requantize", "--target", "safetensors", "-o", dense, "--json")
    checks.run(case, "verify", path, dense, "--json")


def check_split(checks: Checks, work: Path) -> None:
    """A set of three files is one model, by whichever file it is opened, and is written as one."""
    case, draw, folder = "split", np.random.default_rng(7), work / "split"
    folder.mkdir()
    tensors = {f"blk.{i}.weight": stored("Q8_0" if i % 2 else "F32", weights(draw, 3, 256)) for i in range(7)}
    names, parts = list(tensors), []
    for no in range(3):
        numbers = [pair("split.no", Kind.UINT16, no), pair("split.count", Kind.UINT16, 3), pair("split.tensors.count", Kind.INT32, 7)]
        own = [*pairs(64), *numbers] if no == 0 else [pair("general.alignment", Kind.UINT32, 64), *numbers] if no == 1 else numbers
        parts.append(folder / f"m-{no + 1:05}-of-00003.gguf")
        write(parts[-1], own, {name: tensors[name] for name in names[no::3]}, 32 if no == 2 else 64)
    reports = [checks.run(case, "inspect", path, "--json").json for path in (folder, *parts)]
    for report in reports:
        if report:
            checks.equal(case, "names", [t["name"] for t in report["tensors"]], sorted(names))
            checks.equal(case, "bytes", report["bytes"], sum(p.stat().st_size for p in parts))
            checks.equal(case, "statistics", report["tensors"], reports[0]["tensors"])
    out = work / "joined.gguf"
    estimate = checks.run(case, "estimate", parts[2], "--set", "*=q6_k", "--json").json
    checks.run(case, "export", parts[2], "--set", "*=q6_k", "-o", out, "--json")
    wanted = {name: stored("Q6_K", t.values()) if t.kind == "F32" else t for name, t in tensors.items()}
    if out.exists():
        check_file(checks, case, out, read(parts[0]), wanted, [name for no in range(3) for name in names[no::3]])
        checks.check(not any(key.startswith("split.") for key in read(out).pairs), case, "it is one file and says so")
        checks.equal(case, "estimated bytes", estimate["bytes"], out.stat().st_size)
        checks.run(case, "verify", parts[1], out, "--json")
    checks.run(case, "export", parts[0], "--set", "*=q6_k", "-o", parts[1], "--force", "--json", code=1)


# ---------------------------------------------------------------- judged by llama.cpp

JUDGE = "import sys\nfrom pathlib import Path\nimport llama_cpp\nfor line in sys.stdin:\n    print(int(llama_cpp.accepts(Path(line.strip()))), flush=True)\n"


def verdicts(paths: list[Path]) -> list[bool | None]:
    """llama.cpp's on each file, from processes that may die of one; then it is `None`."""
    out: list[bool | None] = []
    while len(out) < len(paths):
        text = "".join(f"{path}\n" for path in paths[len(out) :])
        done = subprocess.run([sys.executable, "-c", JUDGE], input=text, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=60)
        out += [line == "1" for line in done.stdout.split()]
        if len(out) < len(paths):
            out.append(None)
    return out


STRICTER = ("is not UTF-8", "given twice", "it ends at byte", "more elements than can be counted", "its key is empty")


def judge(checks: Checks, case: str, path: Path, theirs: bool | None) -> None:
    """What llama.cpp refuses is refused; what it takes is taken, unless it is one of the listed reasons to be stricter."""
    run = checks.run(case, "inspect", path, "--json", code=None, timeout=20)
    if run.code == 0:
        checks.check(theirs is not False, case, f"{path.name}: llama.cpp refuses what is opened", "opened", "refused")
    elif theirs:
        reason = any(words in run.stderr for words in STRICTER)
        checks.check(reason, case, f"{path.name}: refused for a reason of the list", run.stderr, "llama.cpp takes it")


def check_judged(checks: Checks, work: Path) -> None:
    case, draw = "judged", np.random.default_rng(8)
    files = sorted((CORPUS / "gguf").glob("*.gguf"))
    checks.check(len(files) > 90, case, "the corpus is there", len(files))
    small = {"a.weight": stored("Q8_0", weights(draw, 2, 64)), "b": stored("F32", np.ones(3))}
    some = [LLAMA, pair("general.alignment", Kind.UINT32, 32), pair("n", Kind.UINT16, 3), pair("t", Kind.ARRAY, ["x", "yz"], Kind.STRING)]
    write(work / "good.gguf", some, small)
    good = (work / "good.gguf").read_bytes()
    header = good.index(b"\x01\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00") + 24
    for i in range(220):
        spoiled = bytearray(good)
        for _ in range(int(draw.integers(1, 3))):
            at, width = int(draw.integers(4, header)), int(draw.choice([1, 1, 4, 8]))
            odd = int(draw.choice([0, 1, 3, 8, 9, 31, 64, 2**31, 2**32 - 1, 2**61, 2**62, 2**63, 2**64 - 1, int(draw.integers(0, 2**63))]))
            spoiled[at : at + width] = (odd % 2 ** (8 * width)).to_bytes(width, "little")
        files.append(work / f"spoiled-{i}.gguf")
        files[-1].write_bytes(spoiled)
    theirs = verdicts(files)
    checks.check(sum(v is True for v in theirs) > 30, case, "llama.cpp takes some of them", theirs.count(True))
    for path, verdict in zip(files, theirs):
        judge(checks, case, path, verdict)


JOBS = {
    "types": check_types,
    "plain": check_plain,
    "rewriting": check_rewriting,
    "fallback": check_fallback,
    "refusals": check_refusals,
    "requantize": check_requantize,
    "split": check_split,
    "judged": check_judged,
} | gguf_models.JOBS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--only", help="only the parts whose name contains this")
    args = parser.parse_args()
    checks = Checks(args.binary, args.only)
    with tempfile.TemporaryDirectory(prefix="spokeshave-gguf-") as folder, ThreadPoolExecutor(2) as pool:
        running = {}
        for name, job in JOBS.items():
            if not args.only or name in args.only or args.only in name:
                (Path(folder) / name).mkdir()
                running[name] = pool.submit(job, checks, Path(folder) / name)
        for name, future in running.items():
            if error := future.exception():
                checks.check(False, name, "the check itself ran to its end", repr(error), "no exception")
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(exist_ok=True)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
