"""What Spokeshave's numbers mean, said a second time, in numpy, by someone who has not read the Rust.

Every function restates one sentence of the contract (statistics, pruning, integer grids, casts, errors, the three sizes).
Nothing here is fast, and nothing is shared with the program: if both agree, the sentence was understood twice.
`python definitions.py` checks the definitions against values worked out by hand.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, field
from fractions import Fraction

import ml_dtypes
import numpy as np

F32, F64 = np.dtype("f4"), np.dtype("f8")
DTYPES = {
    "F64": F64,
    "F32": F32,
    "F16": np.dtype("f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F4": np.dtype(ml_dtypes.float4_e2m1fn),
    "I64": np.dtype("i8"),
    "I32": np.dtype("i4"),
    "I16": np.dtype("i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("u8"),
    "U32": np.dtype("u4"),
    "U16": np.dtype("u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}


class Refused(Exception):
    """The contract refuses this scheme for this tensor; `count` is the number the message must name."""

    def __init__(self, tensor: str, count: int | None, why: str):
        super().__init__(f"{tensor}: {count} {why}")
        self.tensor, self.count, self.why = tensor, count, why


# ---------------------------------------------------------------- schemes and rules


@dataclass(frozen=True)
class Scheme:
    """One parsed scheme of this milestone: an optional prune step, an optional quantize step."""

    text: str = "keep"
    fraction: Fraction | None = None
    pool: str = "tensor"  # tensor, row or global; nm, block, random or mask, with `how`
    how: tuple = ()  # (N, M); (H, W); (seed,); (path,)
    bits: int = 0  # 2..8 for the integer grids
    unit: str = "row"  # row, tensor, g32, g64 or g128
    asym: bool = False
    range: str = "max"  # max, mse, or p and a percentile
    cast: str | None = None  # F16, BF16, F8_E4M3 or F8_E5M2
    form: str = ""  # levels that are no integer grid: fp8_e4m3, fp8_e5m2, mxfp4, nvfp4, nf4, ternary, binary, codebook
    k: int = 0  # centroids
    best: bool = False  # the optimum instead of Lloyd's

    @property
    def prunes(self) -> bool:
        return self.fraction is not None or self.pool in ("nm", "mask")

    @property
    def keeps(self) -> bool:
        return not self.prunes and not self.quantizes

    @property
    def quantizes(self) -> bool:
        return bool(self.bits or self.cast or self.form)


FORMS = {
    r"(fp8_e4m3|fp8_e5m2)(:row)": "row",
    r"(mxfp4)()": "g32",
    r"(nvfp4)()": "g16",
    r"(nf4)(:g32|:g64|:g128)?": "g64",
    r"(ternary|binary)(:row)?": "tensor",
}


def parse(text: str) -> Scheme:
    """Reads SCHEME; raises ValueError on what the grammar excludes."""
    if text == "keep":
        return Scheme()
    parts: dict = {}
    for step in text.split("+"):
        if match := re.fullmatch(r"prune:(\d+(?:\.\d+)?)(:row|:global)?", step):
            if parts or Fraction(match[1]) > 1:
                raise ValueError(text)
            parts |= {"fraction": Fraction(match[1]), "pool": (match[2] or ":tensor")[1:]}
        elif match := re.fullmatch(r"nm:(\d+):(\d+)", step):
            if parts or not 1 <= int(match[1]) <= int(match[2]) <= 64:
                raise ValueError(text)
            parts |= {"pool": "nm", "how": (int(match[1]), int(match[2]))}
        elif match := re.fullmatch(r"block:(\d+)x(\d+):(\d+(?:\.\d+)?)", step):
            how = (int(match[1]), int(match[2]))
            if parts or Fraction(match[3]) > 1 or min(how) < 1:
                raise ValueError(text)
            parts |= {"fraction": Fraction(match[3]), "pool": "block", "how": how}
        elif match := re.fullmatch(r"random:(\d+(?:\.\d+)?):(\d+)", step):
            if parts or Fraction(match[1]) > 1 or int(match[2]) >= 2**64:
                raise ValueError(text)
            parts |= {"fraction": Fraction(match[1]), "pool": "random", "how": (int(match[2]),)}
        elif match := re.fullmatch(r"(rows|cols|heads|ffn):(\d+(?:\.\d+)?)", step):
            if parts or Fraction(match[2]) > 1:  # what they take out is worked out in structured.py
                raise ValueError(text)
            parts |= {"pool": match[1], "how": (Fraction(match[2]),)}
        elif step.startswith("mask:") and step != "mask:" and not parts:
            parts |= {"pool": "mask", "how": (step[5:],)}
        elif match := re.fullmatch(
            r"int([2-8])(:row|:tensor|:g32|:g64|:g128)?(:asym)?(:max|:mse|:p\d+(?:\.\d+)?)?", step
        ):
            span = (match[4] or ":max")[1:]
            percentile = Fraction(span[1:]) if span[0] == "p" else 1
            if {"bits", "cast", "form"} & set(parts) or not 0 < percentile <= 100 or (match[3] and span[0] == "p"):
                raise ValueError(text)
            parts |= {"bits": int(match[1]), "unit": (match[2] or ":row")[1:], "asym": bool(match[3]), "range": span}
        elif {"bits", "cast", "form"} & set(parts):
            raise ValueError(text)
        elif step in ("f16", "bf16"):
            parts["cast"] = step.upper()
        elif step in ("fp8_e4m3", "fp8_e5m2"):
            parts["cast"] = step.upper().replace("FP8", "F8")
        elif match := re.fullmatch(r"codebook:(\d+)(:row)?(:best)?", step):
            if not 2 <= int(match[1]) <= 256:
                raise ValueError(text)
            parts |= {"form": "codebook", "k": int(match[1]), "best": bool(match[3])}
            parts["unit"] = (match[2] or ":tensor")[1:]
        else:
            found = [(re.fullmatch(form, step), unit) for form, unit in FORMS.items()]
            found = [(match, unit) for match, unit in found if match]
            if not found:
                raise ValueError(text)
            match, unit = found[0]
            parts |= {"form": match[1], "unit": match[2][1:] if match[2] else unit}
    return Scheme(text, **parts)


def glob_to_regex(pattern: str) -> str:
    """A glob over the whole name in which `*` crosses dots."""
    out, depth, i = "", 0, 0
    while i < len(pattern):
        c = pattern[i]
        if c == "*":
            out += ".*"
        elif c == "?":
            out += "."
        elif c == "[":
            end = pattern.index("]", i + 2)
            body = pattern[i + 1 : end]
            out += "[^" + body[1:] + "]" if body[0] == "!" else "[" + body + "]"
            i = end
        elif c == "{":
            out, depth = out + "(?:", depth + 1
        elif c == "}":
            out, depth = out + ")", depth - 1
        else:
            out += "|" if c == "," and depth else re.escape(c)
        i += 1
    return out


def is_exact(pattern: str) -> bool:
    return not pattern.startswith("re:") and not any(c in pattern for c in "*?[{")


def touches(pattern: str, name: str, dtype: str, is_weight: bool) -> bool:
    """Whether a line reaches a tensor: a glob reaches weight matrices only, an exact name any float tensor."""
    if is_exact(pattern):
        return pattern == name and dtype in FLOATS
    regex = pattern[3:] if pattern.startswith("re:") else glob_to_regex(pattern)
    return is_weight and re.fullmatch(regex, name, re.S) is not None


# ---------------------------------------------------------------- statistics


def wide(array: np.ndarray) -> np.ndarray:
    """The flat values in the dtype in which arithmetic on them is done: F64 stays, everything else is f32."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat if flat.dtype == F64 else flat.astype(F32)


def statistics(array: np.ndarray) -> dict:
    """min, max, mean and population std over the finite values; counts of zeros, NaN and Inf over all."""
    values = wide(array).astype(F64)
    finite = values[np.isfinite(values)]
    out = {"min": None, "max": None, "mean": None, "std": None}
    if finite.size:
        mean = total(finite) / finite.size
        out = {
            "min": float(finite.min()),
            "max": float(finite.max()),
            "mean": mean,
            "std": math.sqrt(total((finite - mean) ** 2) / finite.size),
        }
    counts = {"zeros": values == 0, "nan": np.isnan(values), "inf": np.isinf(values)}
    return out | {key: int(np.count_nonzero(hit)) for key, hit in counts.items()}


def total(terms: np.ndarray) -> float:
    """A sum without cancellation worth naming: exact when short, pairwise in f64 when long."""
    return math.fsum(terms) if terms.size < 100_000 else float(np.sum(terms))


def errors(source: np.ndarray, final: np.ndarray) -> dict:
    """t2, sqnr_db and cosine in f64 over the finite values, the zeros of q over all."""
    w, q = wide(source).astype(F64), wide(final).astype(F64)
    zeros = int(np.count_nonzero(q == 0))
    finite = np.isfinite(w)
    w, q = w[finite], q[finite]
    if not w.size:
        return {"zeros": zeros, "t2": None, "sqnr_db": None, "cosine": None}
    lost, power, kept, cross = (total(x) for x in ((w - q) ** 2, w * w, q * q, w * q))
    t2 = 0.0 if lost == 0 else 1.0 if power == 0 else lost / power
    both, one = power == 0 and kept == 0, power == 0 or kept == 0
    cosine = 1.0 if both else 0.0 if one else cross / math.sqrt(power) / math.sqrt(kept)
    return {"zeros": zeros, "t2": t2, "sqnr_db": None if t2 == 0 else -10 * math.log10(t2), "cosine": cosine}


def fidelity(t2s: list[float | None]) -> float:
    """The chain form: 100 times the product of 1 - min(t2, 0.9999)."""
    return 100 * math.prod(1 - min(t2 or 0.0, 0.9999) for t2 in t2s)


# ---------------------------------------------------------------- prune


def rows_of(shape: tuple) -> tuple[int, int]:
    """(rows, row length): dimension 0 by the rest; 0-d and 1-D tensors are one row."""
    return (shape[0], math.prod(shape[1:])) if len(shape) >= 2 else (1, math.prod(shape))


def prune_count(fraction: Fraction, n: int) -> int:
    """floor(P*n + 1/2) with P the decimal as written, not its nearest float."""
    return math.floor(fraction * n + Fraction(1, 2))


def smallest(magnitudes: np.ndarray, fraction: Fraction) -> np.ndarray:
    """Marks the k smallest of the finite entries, k counted over them, ties going to the lower index."""
    candidates = np.flatnonzero(np.isfinite(magnitudes))
    order = candidates[np.argsort(magnitudes[candidates], kind="stable")]
    chosen = np.zeros(magnitudes.size, bool)
    chosen[order[: prune_count(fraction, candidates.size)]] = True
    return chosen


def zeroed(array: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """A copy with the chosen elements +0; those already 0 (also -0) and all others keep their bits."""
    flat = np.ascontiguousarray(array).reshape(-1).copy()
    flat[chosen & (wide(flat) != 0)] = 0
    return flat.reshape(array.shape)


def magnitudes(array: np.ndarray) -> np.ndarray:
    """|w| as real numbers: every float dtype is exact in f64."""
    return np.abs(wide(array).astype(F64))


def keep_n_of_m(size: np.ndarray, length: int, n: int, m: int) -> np.ndarray:
    """Marks what goes: of r finite entries in each M along a row (the last group short) ceil(N*r/M) stay."""
    chosen = np.zeros(size.size, bool)
    for row in range(0, size.size, length):
        for start in range(row, row + length, m):
            group = size[start : min(start + m, row + length)]
            finite = np.flatnonzero(np.isfinite(group))
            order = finite[np.argsort(group[finite], kind="stable")]
            chosen[start + order[: finite.size - -(-n * finite.size // m)]] = True
    return chosen


def least_blocks(size: np.ndarray, shape: tuple, height: int, width: int, fraction: Fraction) -> np.ndarray:
    """Marks the blocks of the least sums of squares, ties by lower index, edge blocks partial; rows x the rest."""
    rows, length = rows_of(shape)
    squares = np.where(np.isfinite(size), size, 0).reshape(rows, length) ** 2
    down, across = -(-rows // height), -(-length // width)
    parts = [(slice(i * height, (i + 1) * height), slice(j * width, (j + 1) * width)) for i in range(down) for j in range(across)]
    energies = np.array([total(squares[part].reshape(-1)) for part in parts])
    chosen = np.zeros((rows, length), bool)
    for at in np.argsort(energies, kind="stable")[: prune_count(fraction, len(parts))]:
        chosen[parts[at]] = True
    return chosen.reshape(-1) & np.isfinite(size)


def splitmix64(x: np.ndarray) -> np.ndarray:
    """The finalizer with its increment, on u64 that wraps."""
    with np.errstate(over="ignore"):
        z = x + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def fnv1a64(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def by_chance(size: np.ndarray, name: str, fraction: Fraction, seed: int) -> np.ndarray:
    """Marks the k finite entries whose numbers are smallest: splitmix64(splitmix64(SEED xor fnv1a64(name)) + index)."""
    base = splitmix64(np.array([seed ^ fnv1a64(name.encode())], "u8"))
    with np.errstate(over="ignore"):
        numbers = splitmix64(base + np.arange(size.size, dtype="u8"))
    finite = np.flatnonzero(np.isfinite(size))
    chosen = np.zeros(size.size, bool)
    chosen[finite[np.argsort(numbers[finite], kind="stable")][: prune_count(fraction, finite.size)]] = True
    return chosen


def prune(array: np.ndarray, scheme: Scheme, name: str = "", masks: dict | None = None) -> np.ndarray:
    """One tensor pruned by itself. `masks`: file -> name -> array, for mask:FILE."""
    size, length = magnitudes(array), rows_of(array.shape)[1]
    if scheme.pool == "nm":
        return zeroed(array, keep_n_of_m(size, length, *scheme.how))
    if scheme.pool == "block":
        return zeroed(array, least_blocks(size, array.shape, *scheme.how, scheme.fraction))
    if scheme.pool == "random":
        return zeroed(array, by_chance(size, name, scheme.fraction, *scheme.how))
    if scheme.pool == "mask":
        return zeroed(array, (wide(masks[scheme.how[0]][name]) == 0) & np.isfinite(size))
    return prune_magnitude(array, scheme)


def prune_magnitude(array: np.ndarray, scheme: Scheme) -> np.ndarray:
    size, length = magnitudes(array), rows_of(array.shape)[1]
    if scheme.pool == "tensor":
        return zeroed(array, smallest(size, scheme.fraction))
    rows = [smallest(size[start : start + length], scheme.fraction) for start in range(0, size.size, length)]
    return zeroed(array, np.concatenate(rows))


def prune_global(pool: dict[str, np.ndarray], fraction: Fraction) -> dict[str, np.ndarray]:
    """One pool: tensors in bytewise order of name are laid end to end, so ties go by name, then index."""
    names = sorted(pool, key=lambda name: name.encode())
    chosen = smallest(np.concatenate([magnitudes(pool[name]) for name in names]), fraction)
    ends = np.cumsum([pool[name].size for name in names])
    return {name: zeroed(pool[name], part) for name, part in zip(names, np.split(chosen, ends[:-1]))}


# ---------------------------------------------------------------- casts and integer grids


def round_to(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """One rounding to nearest-even; f64 to bf16 and fp8 goes by way of a round-to-odd f32, so it is not rounded twice."""
    with np.errstate(over="ignore", invalid="ignore"):
        if values.dtype != F64 or dtype in (F64, F32, DTYPES["F16"]):
            return values.astype(dtype)
        near = values.astype(F32)
        inexact = np.isfinite(near) & (near.astype(F64) != values)
        bits = near.view("u4")
        bits = np.where(inexact & (np.abs(near.astype(F64)) > np.abs(values)), bits - 1, bits)  # towards zero
        return np.where(inexact, bits | 1, bits).astype("u4").view(F32).astype(dtype)


@dataclass
class Grid:
    """Integer codes of one tensor and what a reader makes of them."""

    codes: np.ndarray  # signed, 0 meaning the value 0 (asym: code - z)
    values: np.ndarray  # code * scale, in f32 (F64 tensors: f64)
    scales: int
    zero_points: int
    stored: np.ndarray  # the codes as `packed` has them: unsigned, the zero point put on again


def on_grid(w: np.ndarray, ends: tuple, scheme: Scheme, tensor: str = "") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (0 meaning the value 0), values and zero points of groups whose grids span `ends`."""
    real, (low, high) = w.dtype.type, ends
    levels = 2**scheme.bits - 1
    if scheme.asym:
        scale = (high - low) / real(levels)
    else:
        half = 2 ** (scheme.bits - 1) - 1
        scale = np.maximum(-low, high) / real(half)
    assert scale.dtype == w.dtype
    if not np.isfinite(scale).all():
        raise Refused(tensor, None, "scale overflows")
    safe = np.where(scale == 0, real(1), scale)
    if scheme.asym:
        zero = np.clip(np.rint(-low / safe), 0, levels).astype("i4")
        codes = np.clip(np.rint(w / safe).astype("i4") + zero, 0, levels) - zero
    else:
        codes, zero = np.clip(np.rint(w / safe), -half, half).astype("i4"), np.zeros(scale.shape, "i4")
    codes = np.where(scale == 0, 0, codes).astype("i4")
    return codes, np.where(codes == 0, real(0), codes.astype(w.dtype) * scale), np.broadcast_to(zero, w.shape)


def searched(w: np.ndarray, full: tuple, scheme: Scheme, tensor: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The least sum of squares among clips at k = 100 … 20 percent of the full range, ties to the larger k."""
    real, least = w.dtype.type, None
    for k in range(100, 19, -1):
        ends = tuple(end * real(k) / real(100) for end in full)
        found = on_grid(w, ends, scheme, tensor)
        q = found[1]
        error = ((w.astype(F64) - q.astype(F64)) ** 2).sum(2, keepdims=True)
        if least is None:
            least, best = error, found
        better = error < least
        least = np.where(better, error, least)
        best = tuple(np.where(better, new, old) for new, old in zip(found, best))
    return best


def percentiles(w: np.ndarray, counted: np.ndarray, percent: float) -> np.ndarray:
    """numpy's linear percentile of the magnitudes that count, in f64, rounded once; 0 where none does."""
    flat, counted = np.abs(w.astype(F64)).reshape(-1, w.shape[2]), counted.reshape(-1, w.shape[2])
    found = [np.percentile(row[keep], percent) if keep.any() else 0.0 for row, keep in zip(flat, counted)]
    return np.array(found, F64).astype(w.dtype).reshape(w.shape[:2] + (1,))


def quantize_int(values: np.ndarray, shape: tuple, scheme: Scheme, tensor: str = "") -> Grid:
    """intN over each unit, all in the dtype of `values`."""
    if scheme.unit == "tensor":
        rows, length, group = 1, values.size, values.size
    else:
        rows, length = rows_of(shape)
        group = length if scheme.unit == "row" else int(scheme.unit[1:])
    groups = -(-length // group)
    padded = np.zeros((rows, groups * group), values.dtype)  # zeros move no maximum and no min(0, ...)
    padded[:, :length] = values.reshape(rows, length)
    w = padded.reshape(rows, groups, group)
    full = (np.minimum(w.min(2, keepdims=True), w.dtype.type(0)), np.maximum(w.max(2, keepdims=True), w.dtype.type(0)))
    with np.errstate(all="ignore"):
        if scheme.range == "mse":
            codes, q, zero = searched(w, full, scheme, tensor)
        elif scheme.range == "max":
            codes, q, zero = on_grid(w, full, scheme, tensor)
        else:
            present = np.zeros(padded.shape, bool)  # what the padding added is no element of its group
            present[:, :length] = True
            counted = present.reshape(w.shape) & ((w != 0) if scheme.prunes else True)
            clip = percentiles(w, counted, float(scheme.range[1:]))
            codes, q, zero = on_grid(w, (-clip, clip), scheme, tensor)
    flat = lambda x: x.reshape(rows, -1)[:, :length].reshape(-1)
    stored = (flat(codes) + flat(zero)) & (2**scheme.bits - 1)
    return Grid(flat(codes), flat(q), rows * groups, rows * groups if scheme.asym else 0, stored)


# ---------------------------------------------------------------- levels that are no integer grid

# bitsandbytes' sixteen, as it prints them
NF4 = np.array(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334]
    + [-0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224]
    + [0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0],
    F32,
)


@dataclass
class Levels:
    """Codes of one tensor and what a reader makes of them."""

    symbols: np.ndarray  # what an entropy coder sees
    values: np.ndarray  # in f32 (F64 tensors: f64)
    zero: np.ndarray  # where the code itself reads 0
    side: int  # bytes of scales and codebooks
    bits: int


def units(shape: tuple, n: int, unit: str) -> list[slice]:
    """The elements of every unit, in order."""
    if unit == "tensor":
        return [slice(0, n)] if n else []
    rows, length = rows_of(shape)
    group = length if unit == "row" else int(unit[1:])
    starts = [(row * length, start) for row in range(rows) for start in range(0, length, max(group, 1))]
    return [slice(row + start, row + min(start + group, length)) for row, start in starts]


def times_scale(w: np.ndarray, scale, dtype: np.dtype, largest: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Small floats times a scale: one division, one rounding (saturating where the format is finite), one product."""
    if scale == 0:
        return np.zeros(w.size, "i4"), np.zeros_like(w)
    x = w / scale
    x = x if largest is None else np.clip(x, -largest, largest)
    small = round_to(x, dtype)
    number = small.astype(w.dtype)
    codes = np.where(number == 0, 0, small.view("u1").astype("i4"))
    return codes, np.where(number == 0, w.dtype.type(0), number * scale)


def nearest(x: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The place of the nearest point of an ascending list, half-way between two the lower."""
    points = points.astype(F64)
    return np.searchsorted((points[:-1] + points[1:]) / 2, x.astype(F64), side="left").astype("i4")


def lloyd(w: np.ndarray, k: int) -> np.ndarray:
    """From k centroids over [min, max] until no assignment changes, at most 300 rounds; an empty one stays."""
    if not w.size:
        return np.zeros(k, F32)
    centroids, last = np.linspace(float(w.min()), float(w.max()), k).astype(F32), None
    for _ in range(300):
        assigned = nearest(w, centroids)
        if last is not None and np.array_equal(assigned, last):
            break
        for i in np.unique(assigned):
            centroids[i] = total(w[assigned == i].astype(F64)) / np.count_nonzero(assigned == i)
        last = assigned
    return centroids


def optimum(w: np.ndarray, k: int) -> np.ndarray:
    """The centroids of the partition into runs of neighbours with the least sum of squares, by dynamic programming."""
    x, counts = np.unique(w.astype(F64), return_counts=True)
    if x.size <= k:
        return np.append(x, np.full(k - x.size, x[-1] if x.size else 0.0)).astype(F32)
    sums = [np.append(0, np.cumsum(counts * x**power)) for power in (0, 1, 2)]
    start, end = np.meshgrid(np.arange(x.size), np.arange(1, x.size + 1), indexing="ij")
    with np.errstate(all="ignore"):
        m, s, q = (part[end] - part[start] for part in sums)
        cost = np.where(start < end, np.maximum(q - s * s / m, 0), np.inf)
    least, before = cost[0].copy(), []
    for _ in range(1, k):
        through = least[:-1, None] + cost[1:]  # the run before ends where the last begins
        before.append(through.argmin(0) + 1)
        least = through.min(0)
    cuts, at = [x.size], x.size
    for choice in reversed(before):
        at = int(choice[at - 1])
        cuts.append(at)
    cuts = [0, *reversed(cuts)]
    return np.array(
        [total(counts[a:b] * x[a:b]) / counts[a:b].sum() for a, b in zip(cuts, cuts[1:])], F64
    ).astype(F32)


def put_on_levels(values: np.ndarray, shape: tuple, scheme: Scheme, tensor: str = "") -> Levels:
    """Any form of FORMS, or a codebook, all in the dtype of `values`."""
    real, n, pruned = values.dtype.type, values.size, scheme.prunes
    symbols, q, zero = np.zeros(n, "i4"), np.zeros(n, values.dtype), np.zeros(n, bool)
    parts = units(shape, n, scheme.unit)
    side, bits = len(parts) * values.dtype.itemsize, 4
    peak = np.abs(values).max() if n else real(0)
    with np.errstate(all="ignore"):
        g = F32.type(real(2688) / peak) if peak else F32.type(1)
    if scheme.form == "nvfp4" and not (np.isfinite(g) and g > 0):
        raise Refused(tensor, None, "scale overflows")
    for part in parts:
        w = values[part]
        size = np.abs(w)
        counted = size[size != 0] if pruned else size
        mean = real(total(counted.astype(F64)) / counted.size) if counted.size else real(0)
        with np.errstate(all="ignore"):
            if scheme.form in ("fp8_e4m3", "fp8_e5m2"):
                bits, dtype = 8, DTYPES[scheme.form.upper().replace("FP8", "F8")]
                top = real(448 if scheme.form == "fp8_e4m3" else 57344)
                symbols[part], q[part] = times_scale(w, size.max() / top, dtype, None)
                zero[part] = symbols[part] == 0
            elif scheme.form == "mxfp4":
                exponent = max(int(np.frexp(size.max())[1]) - 1 - 2, -127) if size.max() else -127
                if exponent > 127:
                    raise Refused(tensor, None, "scale overflows")
                symbols[part], q[part] = times_scale(w, np.ldexp(real(1), exponent), DTYPES["F4"], 6)
                zero[part] = symbols[part] == 0
            elif scheme.form == "nvfp4":
                s8 = (F32.type(size.max() / real(6)) * g).astype(DTYPES["F8_E4M3"]).astype(F32)
                if not np.isfinite(s8):
                    raise Refused(tensor, None, "scale overflows")
                symbols[part], q[part] = times_scale(w, real(s8) / real(g), DTYPES["F4"], 6)
                zero[part] = symbols[part] == 0
            elif scheme.form == "nf4":
                scale = size.max()
                symbols[part] = nearest(w / scale, NF4) if scale else 7
                q[part], zero[part] = NF4.astype(values.dtype)[symbols[part]] * scale, symbols[part] == 7
            elif scheme.form == "ternary":
                bits, threshold = 2, real(F32.type(0.7)) * mean
                above = size > threshold
                alpha = real(total(size[above].astype(F64)) / np.count_nonzero(above)) if above.any() else real(0)
                symbols[part] = np.where(above, np.sign(w), 0)
                q[part], zero[part] = np.where(above, np.copysign(alpha, w), real(0)), ~above
            elif scheme.form == "binary":
                bits = 1
                symbols[part] = w < 0
                q[part] = np.where(w < 0, -mean, mean)
            else:
                bits, out = (scheme.k - 1).bit_length(), (w == 0) & pruned
                centroids = (optimum if scheme.best else lloyd)(w[~out], scheme.k)
                at = nearest(w, centroids)
                symbols[part], zero[part] = np.where(out, -1, at), out
                q[part] = np.where(out, real(0), centroids.astype(values.dtype)[at])
    if scheme.form in ("mxfp4", "nvfp4"):
        side = len(parts) + (4 if scheme.form == "nvfp4" else 0)
    if scheme.form == "codebook":
        side = len(parts) * 4 * scheme.k
    return Levels(symbols, q, zero, side, bits)


# ---------------------------------------------------------------- sizes


def ceil8(bits: int) -> int:
    return -(-bits // 8)


def sparse_payload(nonzero: np.ndarray, bits: int) -> int:
    """The least of dense codes, mask + codes, and relative indices of 2 to 8 bits with fillers."""
    n, at = nonzero.size, np.flatnonzero(nonzero)
    gaps = np.diff(at, prepend=-1) - 1
    options = [ceil8(n * bits), ceil8(n) + ceil8(at.size * bits)]
    for r in range(2, 9):
        options.append(ceil8((at.size + int((gaps >> r).sum())) * (bits + r)))
    return min(options)


def huffman_bits(counts: np.ndarray) -> int:
    """Bits of the shortest prefix code of at most 12 bits a word; a symbol that is alone takes one bit each time.

    Package-merge: what the words cost is the sum of the 2n - 2 lightest packages of the last round.
    """
    leaves = sorted(int(c) for c in counts if c)
    row = leaves
    for _ in range(11):
        row = sorted(leaves + [a + b for a, b in zip(row[::2], row[1::2])])
    return sum(row[: 2 * len(leaves) - 2]) if len(leaves) > 1 else sum(leaves)


BLOCK = 65536  # elements whose gaps and streams stand alone in `packed`
WORDS = 48  # bytes that indices, and Huffman codes, must save to be worth their words in the header


def packed_payload(nonzero: np.ndarray, codes: np.ndarray, bits: int, zero_coded: bool = True) -> int:
    """What `packed` stores for a touched tensor, side data apart: the least of its forms, of equals the first.

    `codes` are as stored: their last byte is what Huffman coding takes as a symbol. Elements with q = 0 have one where
    `zero_coded`.
    """
    n, at = nonzero.size, np.flatnonzero(nonzero)
    blocks, options = -(-n // BLOCK), []
    symbols = codes.astype("u8") >> max(bits - 8, 0)

    def offer(count: int, symbols: np.ndarray, before: int, fields: int, words: int, table: int = 0) -> None:
        size = before + table + words * fields * 4 * blocks
        options.append((size + ceil8(count * bits) + WORDS * words, len(options), size + ceil8(count * bits)))
        size = before + table + (fields + 1) * 4 * blocks + count * (max(bits, 8) - 8) // 8 + -(-(2 ** min(bits, 8)) // 2)
        size += ceil8(huffman_bits(np.bincount(symbols.astype("i8"))))
        if count:
            options.append((size + WORDS * (words + 1), len(options), size))

    if zero_coded:
        offer(n, symbols, 0, 0, 0)
    held = symbols[nonzero]
    offer(at.size, held, ceil8(n), 1, 0)
    gaps = at - np.maximum(np.append(0, at[:-1] + 1), at // BLOCK * BLOCK) if at.size else at
    for r in range(2, 9):
        filler = 2**r - 1
        counts = np.bincount(gaps % filler, minlength=2**r)
        counts[filler] = int((gaps // filler).sum())
        offer(at.size, held, ceil8(int(counts.sum()) * r), 2, 1)
        if at.size:
            offer(at.size, held, ceil8(huffman_bits(counts)), 2, 1, 2**r // 2)
    least = min(options)
    return least[2]


def entropy_payload(symbols: np.ndarray) -> tuple[int, int]:
    """ceil(n*H0/8) as (least, most): where every share is a power of two it is exact, else f64 may slip at a whole byte."""
    n, counts = symbols.size, []
    if n:
        found = np.bincount(symbols.astype("i8") - int(symbols.astype("i8").min()))
        counts = found[found > 0].tolist()
    if all(n % c == 0 and (n // c).bit_count() == 1 for c in counts):
        return (ceil8(sum(c * ((n // c).bit_length() - 1) for c in counts)),) * 2
    size = math.fsum(c * math.log2(n / c) for c in counts) / 8
    return math.ceil(size * (1 - 1e-9)), math.ceil(size * (1 + 1e-9))


# ---------------------------------------------------------------- one tensor, one model


@dataclass
class Outcome:
    """All that the contract promises about one tensor under a recipe and a target."""

    scheme: str
    stored: np.ndarray  # what a reader gets: own dtype in the dense target, F32/F64/cast dtype in packed
    bytes: int
    sparse: int
    entropy: tuple[int, int]
    zeros: int | None = None
    t2: float | None = None
    sqnr_db: float | None = None
    cosine: float | None = None
    touched: bool = False
    free_zero_sign: np.ndarray | None = None  # where -0 may stand for +0
    refused: Refused | None = None
    codes: np.ndarray | None = None


@dataclass
class Expected:
    tensors: dict[str, Outcome] = field(default_factory=dict)
    fidelity: float = 100.0

    @property
    def refusals(self) -> list[Refused]:
        return [o.refused for o in self.tensors.values() if o.refused]

    def total(self, key: str) -> int:
        return sum(getattr(outcome, key) for outcome in self.tensors.values())


def keep(array: np.ndarray, stored_as_codes: bool = False) -> Outcome:
    """An untouched tensor: its payload; the unquantized formulas if it is a float."""
    if DTYPE_NAMES[array.dtype] not in FLOATS or stored_as_codes:
        return Outcome("keep", array, array.nbytes, array.nbytes, (array.nbytes,) * 2)
    nonzero, bits = wide(array) != 0, array.dtype.itemsize * 8
    low, high = entropy_payload(nonzero)
    codes = ceil8(int(np.count_nonzero(nonzero)) * bits)
    sizes = (array.nbytes, sparse_payload(nonzero, bits), (low + codes, high + codes))
    return Outcome("keep", array, *sizes, **errors(array, array))


def apply(name: str, source: np.ndarray, pruned: np.ndarray, scheme: Scheme, target: str) -> Outcome:
    """The quantize step (or none) after `pruned`, its final rounding, its sizes and its errors against `source`."""
    values, dtype = wide(pruned), pruned.dtype
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if scheme.prunes and scheme.form == "binary":
        raise Refused(name, None, "no level is 0")
    if bad and scheme.quantizes:
        raise Refused(name, bad, "values are NaN or Inf")
    free, codes = None, None
    if scheme.bits:
        grid = quantize_int(values, pruned.shape, scheme, name)
        codes, q = grid.codes, grid.values
        final = q if target == "packed" else round_to(q, dtype)
        free = (wide(final) == 0) & (codes != 0)  # a tiny negative may round to -0; a code of 0 never does
        side = grid.scales * values.dtype.itemsize + grid.zero_points
        bits, nonzero, symbols = scheme.bits, q != 0, codes
    elif scheme.form:
        levels = put_on_levels(values, pruned.shape, scheme, name)
        codes, q = levels.symbols, levels.values
        final = q if target == "packed" else round_to(q, dtype)
        free = (wide(final) == 0) & ~levels.zero
        side, bits, nonzero, symbols = levels.side, levels.bits, q != 0, codes
    elif scheme.cast:
        q = final = round_to(values, DTYPES[scheme.cast])
        bits = 8 * q.dtype.itemsize
        side, nonzero, symbols = 0, wide(q) != 0, q.view(f"u{q.dtype.itemsize}")
    else:
        final = pruned.reshape(-1)
        side, bits, nonzero, symbols = 0, dtype.itemsize * 8, values != 0, None
    lost = int(np.count_nonzero(~np.isfinite(wide(final)))) - bad
    if lost:
        raise Refused(name, lost, "values would become Inf")
    if target == "packed" and not scheme.bits and not scheme.form:
        free = wide(final) == 0
    if symbols is None:
        low, high = entropy_payload(nonzero)
        low, high = (x + ceil8(int(np.count_nonzero(nonzero)) * bits) for x in (low, high))
    else:
        low, high = (side + x for x in entropy_payload(symbols))
    if target == "packed":
        if scheme.bits:
            stored = grid.stored
        elif scheme.form:
            stored = codes.astype("i8") & (2**bits - 1)
        else:
            stored = final.view(f"u{final.itemsize}")
        size = side + packed_payload(nonzero, stored, bits, scheme.form != "codebook" or not scheme.prunes)
    else:
        size = final.nbytes
    return Outcome(
        scheme.text,
        final.reshape(source.shape),
        size,
        side + sparse_payload(nonzero, bits),
        (low, high),
        touched=True,
        free_zero_sign=free,
        codes=codes,
        **errors(source, final),
    )


def expect(
    model: dict[str, np.ndarray],
    lines: list[tuple[str, str]],
    weights: set[str],
    target: str,
    stored_as_codes: frozenset = frozenset(),
    masks: dict | None = None,
) -> Expected:
    """The whole recipe over the whole model: last matching line wins, one global pool per line."""
    rule = {}
    for name, array in model.items():
        dtype = DTYPE_NAMES[array.dtype]
        hits = [i for i, (pattern, _) in enumerate(lines) if touches(pattern, name, dtype, name in weights)]
        if hits and array.size and name not in stored_as_codes:
            rule[name] = hits[-1]
    pruned = dict(model)
    for i, (_, text) in enumerate(lines):
        scheme, pool = parse(text), {name: model[name] for name, r in rule.items() if r == i}
        if scheme.fraction is not None and scheme.pool == "global" and pool:
            pruned |= prune_global(pool, scheme.fraction)
        elif scheme.prunes:
            pruned |= {name: prune(array, scheme, name, masks) for name, array in pool.items()}
    out = Expected()
    for name in sorted(model, key=lambda n: n.encode()):
        array = model[name]
        outcome = keep(array, name in stored_as_codes)
        scheme = parse(lines[rule[name]][1]) if name in rule else Scheme()
        if not scheme.keeps:
            try:
                outcome = apply(name, array, pruned[name], scheme, target)
            except Refused as refusal:
                outcome.refused = refusal
        out.tensors[name] = outcome
    scored = [out.tensors[n].t2 for n, a in model.items() if a.ndim >= 2 and DTYPE_NAMES[a.dtype] in FLOATS]
    out.fidelity = fidelity(scored)
    return out


# ---------------------------------------------------------------- the definitions against hand-worked values


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
