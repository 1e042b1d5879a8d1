"""What Spokeshave's numbers mean, said a second time, in numpy, by someone who has not read the Rust.

Every function here and in arrays, schemes, pruning and levels restates one sentence of the contract; here are the three sizes,
and what a recipe makes of a tensor and of a model. Nothing is fast, and nothing is shared with the program: if both agree,
the sentence was understood twice. `python check_definitions.py` holds all of it against values worked out by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from arrays import DTYPES, DTYPE_NAMES, FLOATS, Refused, errors, fidelity, wide
from levels import put_on_levels, quantize_int, round_to
from pruning import prune, prune_global
from schemes import Scheme, parse, touches

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
