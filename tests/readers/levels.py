"""What values remain: casts, integer grids, and levels that are no grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arrays import DTYPES, F32, F64, Refused, rows_of, total
from schemes import Scheme

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


def on_grid(
    w: np.ndarray, ends: tuple, scheme: Scheme, tensor: str = "", stored=lambda scale: scale
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (0 meaning the value 0), values and zero points of groups whose grids span `ends`; `stored` rounds scales."""
    real, (low, high) = w.dtype.type, ends
    levels = 2**scheme.bits - 1
    if scheme.asym:
        scale = (high - low) / real(levels)
    else:
        half = 2 ** (scheme.bits - 1) - 1
        scale = np.maximum(-low, high) / real(half)
    scale = stored(scale)
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


def searched(
    w: np.ndarray, full: tuple, scheme: Scheme, tensor: str, stored
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The least sum of squares among clips at k = 100 … 20 percent of the full range, ties to the larger k."""
    real, least = w.dtype.type, None
    for k in range(100, 19, -1):
        ends = tuple(end * real(k) / real(100) for end in full)
        found = on_grid(w, ends, scheme, tensor, stored)
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


def quantize_int(
    values: np.ndarray, shape: tuple, scheme: Scheme, tensor: str = "", stored=lambda scale: scale
) -> Grid:
    """intN over each unit, all in the dtype of `values`; `stored` rounds a scale to what the target stores it in."""
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
            codes, q, zero = searched(w, full, scheme, tensor, stored)
        elif scheme.range == "max":
            codes, q, zero = on_grid(w, full, scheme, tensor, stored)
        else:
            present = np.zeros(padded.shape, bool)  # what the padding added is no element of its group
            present[:, :length] = True
            counted = present.reshape(w.shape) & ((w != 0) if scheme.prunes else True)
            clip = percentiles(w, counted, float(scheme.range[1:]))
            codes, q, zero = on_grid(w, (-clip, clip), scheme, tensor, stored)
    flat = lambda x: x.reshape(rows, -1)[:, :length].reshape(-1)
    unsigned = (flat(codes) + flat(zero)) & (2**scheme.bits - 1)
    return Grid(flat(codes), flat(q), rows * groups, rows * groups if scheme.asym else 0, unsigned)


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
