"""Which elements become zero: by magnitude, N of M, blocks, chance, another model's zeros."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from arrays import F64, rows_of, total, wide
from schemes import Scheme


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
