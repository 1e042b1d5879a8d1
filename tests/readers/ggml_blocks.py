#!/usr/bin/env python3
"""Our GGML blocks beside llama.cpp's: bytes against libgguf, values against gguf and libgguf, for every type and kind of weights.

`python ggml_blocks.py --blocks target/release/examples/blocks [--seed N] [--rows N] [--only WORD]`. The last line is
`N passed, N failed`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import gguf
import libgguf
import numpy as np

from ggml_rows import DECODED, ENCODED, F32, KINDS, TYPES, decoded, encoded, rows

COUNTS = {True: 0, False: 0}
NEWER = {"Q2_0": (42, 64, 18)}  # in llama.cpp since August 2026, in no Python package yet


def check(ok: bool, what: str, detail: str = "") -> None:
    COUNTS[bool(ok)] += 1
    if not ok:
        print(f"FAIL {what}: {detail}", flush=True)


def run(program: Path, words: list[str], data: bytes = b"") -> bytes:
    done = subprocess.run([program, *words], input=data, capture_output=True, timeout=300)
    if done.returncode != 0:
        sys.exit(f"{program} {' '.join(words)}: exit {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def same_bytes(what: str, name: str, found: bytes, wanted: bytes, w: np.ndarray) -> None:
    _, elements, size = TYPES[name]
    a, b = (np.frombuffer(x, np.uint8).reshape(-1, size) for x in (found, wanted))
    bad = np.flatnonzero((a != b).any(axis=1))
    detail = ""
    if bad.size:
        i = bad[0]
        ours, theirs, values = a[i].tobytes().hex(), b[i].tobytes().hex(), w[i * elements : (i + 1) * elements]
        detail = f"{bad.size} of {len(a)} blocks, first {i}: found {ours}, expected {theirs}, of {values.tolist()}"
    check(bad.size == 0, what, detail)


def same_values(what: str, found: bytes, wanted: np.ndarray) -> None:
    """The same bits, but that any NaN is as good as another."""
    a, b = np.frombuffer(found, F32), wanted.ravel()
    bad = np.flatnonzero((a.view("u4") != b.view("u4")) & ~(np.isnan(a) & np.isnan(b)))
    detail = f"{bad.size} of {a.size} values, first {bad[0]}: {a[bad[0]]}, expected {b[bad[0]]}" if bad.size else ""
    check(bad.size == 0, what, detail)


def libgguf_values(name: str, blocks: bytes) -> np.ndarray:
    kind, elements, size = TYPES[name]
    count = len(blocks) // size * elements
    return np.frombuffer(libgguf.dequantize_rows_raw(kind, blocks, 1, count), F32)


def table(program: Path) -> None:
    """Ids, names and sizes."""
    ours = {}
    for line in run(program, ["types"]).decode().splitlines():
        number, name, elements, size, *_ = line.split("\t")
        ours[name] = (int(number), int(elements), int(size))
    wanted = {**TYPES, **NEWER}
    check(ours.keys() == wanted.keys(), "table", f"{sorted(ours.keys() ^ wanted.keys())} in one of the two")
    for name, row in ours.items():
        check(wanted.get(name) == row, f"table {name}", f"found {row}, expected {wanted.get(name)}")


def written(program: Path, name: str, r: np.random.Generator, count: int) -> None:
    parts = {kind: rows(kind, r, 256 * count) for kind in KINDS}
    ours = run(program, ["encode", name], b"".join(w.tobytes() for w in parts.values()))
    length = len(ours) // len(parts)
    for i, (kind, w) in enumerate(parts.items()):
        found, wanted = ours[i * length : (i + 1) * length], encoded(name, w)
        same_bytes(f"write {name} {kind}", name, found, wanted, w)
        same_values(f"read {name} {kind}", run(program, ["decode", name], found), decoded(name, found))
        if name in gguf_writes(kind):
            theirs = gguf.quantize(w, gguf.GGMLQuantizationType(TYPES[name][0])).tobytes()
            same_bytes(f"write {name} {kind} as gguf", name, found, theirs, w)


def gguf_writes(kind: str) -> tuple[str, ...]:
    """What numpy quantizes the same; at the edges of f32 its conversions are not C's."""
    tame = ("normal", "heavy", "skewed", "constant", "spike", "steps")
    return ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0") if kind in tame else ()


def read(program: Path, name: str, r: np.random.Generator, count: int) -> None:
    """Bytes at random: every pattern is a block."""
    blocks = r.integers(0, 256, count * TYPES[name][2], dtype=np.uint8).tobytes()
    found = run(program, ["decode", name], blocks)
    if name in DECODED:
        same_values(f"read {name} at random", found, decoded(name, blocks))
    if name not in ("F32", "F16", "BF16"):
        same_values(f"read {name} at random as libgguf", found, libgguf_values(name, blocks))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=Path, required=True, help="the example program of that name")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=257, help="runs of 256 weights of each kind")
    parser.add_argument("--only", default="", help="types whose names have this in them")
    args = parser.parse_args()
    program, r = args.blocks.resolve(), np.random.default_rng(args.seed)
    table(program)
    for name in ENCODED:
        if args.only.upper() in name:
            written(program, name, r, args.rows)
    for name in [*DECODED, "Q1_0"]:
        if args.only.upper() in name:
            read(program, name, r, args.rows)
    print(f"{COUNTS[True]} passed, {COUNTS[False]} failed")
    return 1 if COUNTS[False] or not COUNTS[True] else 0


if __name__ == "__main__":
    sys.exit(main())
