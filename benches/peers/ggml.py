#!/usr/bin/env python3
"""How long one thread takes to write GGML blocks: ours beside libgguf, and beside llama.cpp itself where xllamacpp is installed.

    cargo build --release --example blocks
    pip install numpy gguf libgguf      # and xllamacpp, if wanted
    python benches/peers/ggml.py [--weights N] [--rounds N] [--blocks PROGRAM]

The weights are the same for all: Student's t with 5 degrees of freedom. They take turns, type by type and round after round;
the least time of each counts, and bytes are compared. The first line is a memory probe, the sum of 256 MiB by numpy.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ["LIBGGUF_NUM_THREADS"] = "1"

import libgguf  # noqa: E402
import numpy as np  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "readers"))
from ggml_rows import ENCODED, TYPES  # noqa: E402


def llama_cpp():
    """`ggml_quantize_chunk` out of xllamacpp's library, if it is there."""
    try:
        import xllamacpp
    except ImportError:
        return None
    library = next(Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))
    quantize = ctypes.CDLL(str(library)).ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    return quantize


def seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=Path, default=Path("target/release/examples/blocks"))
    parser.add_argument("--weights", type=int, default=1 << 21)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if not args.blocks.is_file():
        sys.exit(f"{args.blocks}: not there; build it with `cargo build --release --example blocks`")
    memory = np.arange(1 << 25, dtype=np.uint64)
    probe = min(seconds(lambda: memory.sum()) for _ in range(5))
    print(f"memory read {0.25 / probe:.1f} GiB/s, load {os.getloadavg()[0]:.1f}, {args.weights} weights")
    del memory
    w = (np.random.default_rng(5).standard_t(5, args.weights) * 0.02).astype(np.float32)
    data, quantize, wrong = w.tobytes(), llama_cpp(), 0
    print("| type | ours, ns a weight | read | libgguf | share | llama.cpp | share |\n|---|---|---|---|---|---|---|")
    for name in ENCODED[1:]:
        kind, elements, size = TYPES[name]
        out = [np.empty(args.weights // elements * size, np.uint8) for _ in range(2)]
        ours, back, lib, llama = [], [], [], []
        for _ in range(args.rounds):
            command = [args.blocks, "time", name, "3"]
            done = subprocess.run(command, input=data, capture_output=True, check=True).stdout.split()
            ours.append(float(done[0]))
            back.append(float(done[1]))
            lib.append(seconds(lambda: libgguf.quantize_rows_into_raw(kind, w, out[0], 1, w.size)))
            if quantize:
                llama.append(seconds(lambda: quantize(kind, w.ctypes.data, out[1].ctypes.data, 0, 1, w.size, None)))
        found = subprocess.run([args.blocks, "encode", name], input=data, capture_output=True, check=True).stdout
        if found != out[0].tobytes() or (quantize and found != out[1].tobytes()):
            wrong += 1
            print(f"{name}: the bytes differ", file=sys.stderr)
        ns = lambda times: min(times) * 1e9 / args.weights
        peers = "".join(f" {ns(t):.2f} | {min(ours) / min(t):.2f} |" if t else " - | - |" for t in (lib, llama))
        print(f"| {name} | {ns(ours):.2f} | {ns(back):.2f} |{peers}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
