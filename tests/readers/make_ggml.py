"""Writes tests/spokeshave/ggml.tsv, blocks by libgguf and their values by gguf, and assets/ggml-grids.bin, IQ's point sets.

`python make_ggml.py` is deterministic; a changed file is a changed format. Lines, bytes as hexadecimal digits:

    values   f32 of every kind of weights, 256 each
    written  TYPE  its blocks of those values  hash of what the blocks read
    read     TYPE  blocks at random            hash of what the blocks read

The hash is FNV-1a over the f32, NaN as 7fc00000.
"""

from __future__ import annotations

from binascii import unhexlify
from pathlib import Path

import gguf
import numpy as np

from ggml_rows import DECODED, ENCODED, KINDS, TYPES, decoded, encoded, rows

ROOT = Path(__file__).resolve().parents[2]
GRIDS = "IQ2_XXS IQ2_XS IQ2_S IQ1_S IQ3_XXS IQ3_S".split()


def fnv1a(w: np.ndarray) -> str:
    state = 0xCBF29CE484222325
    for byte in np.where(np.isnan(w), np.float32(np.nan), w).tobytes():
        state = (state ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{state:016x}"


def finite_blocks(r: np.random.Generator, name: str, count: int) -> bytes:
    """Blocks at random whose values are numbers."""
    blocks = []
    while len(blocks) < count:
        block = r.integers(0, 256, TYPES[name][2], dtype=np.uint8).tobytes()
        if np.isfinite(decoded(name, block)).all():
            blocks.append(block)
    return b"".join(blocks)


def main() -> None:
    r = np.random.default_rng(41)
    values = np.concatenate([rows(kind, r, 256) for kind in KINDS])
    lines = [("values", values.tobytes().hex())]
    for name in ENCODED[1:]:  # F32 is the values again
        blocks = encoded(name, values)
        lines.append(("written", name, blocks.hex(), fnv1a(decoded(name, blocks))))
    for name in DECODED[3:]:
        blocks = finite_blocks(r, name, 2)
        lines.append(("read", name, blocks.hex(), fnv1a(decoded(name, blocks))))
    text = "".join("\t".join(line) + "\n" for line in lines)
    (ROOT / "tests" / "spokeshave" / "ggml.tsv").write_text(text)
    grids = b"".join(unhexlify(getattr(gguf.quants, name).grid_hex) for name in GRIDS)
    (ROOT / "assets" / "ggml-grids.bin").write_bytes(grids)


if __name__ == "__main__":
    main()
