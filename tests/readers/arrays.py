"""Arrays as the contract sees them: dtypes, rows, exact sums, statistics, errors and the fidelity they come to."""

from __future__ import annotations

import math

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
    "C64": np.dtype("c8"),
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}


class Refused(Exception):
    """The contract refuses this scheme for this tensor; `count` is the number the message must name."""

    def __init__(self, tensor: str, count: int | None, why: str):
        super().__init__(f"{tensor}: {count} {why}")
        self.tensor, self.count, self.why = tensor, count, why


def rows_of(shape: tuple) -> tuple[int, int]:
    """(rows, row length): dimension 0 by the rest; 0-d and 1-D tensors are one row."""
    return (shape[0], math.prod(shape[1:])) if len(shape) >= 2 else (1, math.prod(shape))


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
