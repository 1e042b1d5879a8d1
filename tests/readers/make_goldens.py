"""Writes tests/spokeshave/levels.tsv: weights and what each number format makes of them, by ml_dtypes and numpy alone.

`python make_goldens.py` is deterministic; a changed file is a changed definition. Each line has a scheme, a dtype, rows,
columns, the weights, and what a reader of the dense target gets, as hexadecimal little-endian bytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from arrays import DTYPE_NAMES, DTYPES, F32, F64
from definitions import expect

SCHEMES = (
    "fp8_e4m3 fp8_e5m2 fp8_e4m3:row fp8_e5m2:row mxfp4 nvfp4 nf4:g32 nf4:g64 ternary ternary:row binary binary:row "
    "codebook:4 codebook:16 codebook:3:row codebook:5:best prune:0.4+mxfp4 prune:0.4+ternary prune:0.4+codebook:6"
).split()


def main() -> None:
    r, lines = np.random.default_rng(20), []
    for i, scheme in enumerate(SCHEMES):
        dtype = (F32, DTYPES["BF16"], F32, F64)[i % 4]
        w = (r.standard_normal((2, 36)) * 0.05).astype(F32).astype(dtype)
        w[0, 3], w[1, 5] = 0, -0.0
        q = expect({"w": w}, [("w", scheme)], set(), "safetensors").tensors["w"].stored
        lines.append("\t".join((scheme, DTYPE_NAMES[dtype], "2", "36", w.tobytes().hex(), q.tobytes().hex())))
    path = Path(__file__).resolve().parents[1] / "spokeshave" / "levels.tsv"
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
