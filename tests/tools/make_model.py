"""Large models for checks of scale: real names and shapes, and weights that look trained but are made in seconds.

    python make_model.py OUT.safetensors --preset llama-1b|megatron-8b|gpt3-175b [--dtype bf16|f16|f32] [--sparse]

Weights are heavy-tailed (Student's t with 5 degrees of freedom), every row has a size of its own, and layers differ in
both; they are cut from one pool of random values at shifting places, so that memory stays below 1 GiB whatever the
model. The same command gives the same bytes. `--sparse` writes the header and leaves the weights a hole, which takes no
room: for checks of opening and planning. Needs numpy only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

SPARE = 2 << 30  # bytes that are left free on the disk
POOL = 1 << 24  # random values that all weights are made of
PIECE = 1 << 22  # elements made at a time
SIZES = {"bf16": 2, "f16": 2, "f32": 4}
PRESETS = ("llama-1b", "megatron-8b", "gpt3-175b")

Shapes = dict[str, tuple[int, ...]]


# ---------------------------------------------------------------- names and shapes


def llama(hidden: int, layers: int, ffn: int, kv: int, vocab: int) -> Shapes:
    """Llama 3.2 as its owner ships it, the output tied to the embedding."""
    shapes: Shapes = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    for layer in range(layers):
        block = {
            "self_attn.q_proj": (hidden, hidden),
            "self_attn.k_proj": (kv, hidden),
            "self_attn.v_proj": (kv, hidden),
            "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (ffn, hidden),
            "mlp.up_proj": (ffn, hidden),
            "mlp.down_proj": (hidden, ffn),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
        }
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in block.items()}
    return shapes


def gpt2(hidden: int, layers: int, vocab: int, context: int) -> Shapes:
    """GPT-2's names; its matrices are stored [in, out]."""
    shapes: Shapes = {"wte.weight": (vocab, hidden), "wpe.weight": (context, hidden)}
    shapes |= {"ln_f.weight": (hidden,), "ln_f.bias": (hidden,)}
    for layer in range(layers):
        block = {"attn.c_attn": (hidden, 3 * hidden), "attn.c_proj": (hidden, hidden)}
        block |= {"mlp.c_fc": (hidden, 4 * hidden), "mlp.c_proj": (4 * hidden, hidden)}
        for name, shape in block.items():
            shapes[f"h.{layer}.{name}.weight"] = shape
            shapes[f"h.{layer}.{name}.bias"] = shape[1:]
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{layer}.{name}.{part}": (hidden,) for part in ("weight", "bias")}
    return shapes


def shapes_of(preset: str) -> Shapes:
    if preset == "llama-1b":
        return llama(hidden=2048, layers=16, ffn=8192, kv=512, vocab=128_256)
    if preset == "megatron-8b":
        return gpt2(hidden=3072, layers=72, vocab=51_200, context=1024)
    return gpt2(hidden=12_288, layers=96, vocab=50_257, context=2048)


def count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def header_of(shapes: Shapes, dtype: str) -> tuple[bytes, int]:
    """The file up to its first weight, and how many bytes of weights follow."""
    entries, at = {}, 0
    for name, shape in shapes.items():
        end = at + SIZES[dtype] * count(shape)
        entries[name] = {"dtype": dtype.upper(), "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, at


# ---------------------------------------------------------------- weights


class Maker:
    """Weights of one tensor after the other, a piece at a time."""

    def __init__(self, dtype: str):
        self.dtype, self.rng = dtype, np.random.default_rng(1)
        self.pool = np.empty(POOL, np.float32)
        for at in range(0, POOL, PIECE):
            self.pool[at : at + PIECE] = self.rng.standard_t(5, PIECE) / np.sqrt(5 / 3)

    def write(self, out, name: str, shape: tuple[int, ...]) -> None:
        if len(shape) == 1:
            values = self.cut(shape[0])
            out.write(self.encoded(0.02 * values if name.endswith("bias") else 1 + 0.1 * values))
            return
        rows, cols = shape
        size, spread = 0.02 * self.rng.lognormal(0.0, 0.3), self.rng.uniform(0.1, 0.5)
        step = max(1, PIECE // cols)
        for first in range(0, rows, step):
            scales = size * self.rng.lognormal(0.0, spread, (min(step, rows - first), 1))
            values = self.cut(len(scales) * cols).reshape(-1, cols)
            out.write(self.encoded(values * scales.astype(np.float32)))

    def cut(self, wanted: int) -> np.ndarray:
        at = self.rng.integers(0, POOL - wanted + 1)
        return self.pool[at : at + wanted]

    def encoded(self, values: np.ndarray) -> memoryview:
        if self.dtype != "bf16":
            return memoryview(values.astype("<f2" if self.dtype == "f16" else "<f4").ravel()).cast("B")
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32).ravel()
        bits = bits + (0x7FFF + (bits >> 16 & 1))  # to the nearest, ties to even
        return memoryview((bits >> 16).astype("<u2")).cast("B")


# ---------------------------------------------------------------- the file


def refuse(words: str) -> None:
    sys.exit(f"make_model: {words}")


def check_room(out: Path, wanted: int) -> None:
    free = shutil.disk_usage(out.parent).free
    if wanted + SPARE > free:
        refuse(
            f"{out}: {wanted:,} bytes are to be written, {free:,} are free in {out.parent}, and {SPARE:,} of them are"
            " to stay free; choose another folder, a smaller --preset, or --sparse"
        )


def make(out: Path, preset: str, dtype: str, sparse: bool) -> tuple[int, int]:
    """Writes the model beside its place and gives it its name when it is whole; tensors and bytes."""
    shapes = shapes_of(preset)
    header, payload = header_of(shapes, dtype)
    check_room(out, len(header) + (0 if sparse else payload))
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(header)
            if sparse:
                file.truncate(len(header) + payload)
            else:
                maker = Maker(dtype)
                for name, shape in shapes.items():
                    maker.write(file, name, shape)
            found = file.seek(0, os.SEEK_END)
            if found != len(header) + payload:
                refuse(f"{part}: {found:,} bytes were written, the header says {len(header) + payload:,}: a bug here")
        part.rename(out)
    finally:
        part.unlink(missing_ok=True)
    return len(shapes), len(header) + payload


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--dtype", choices=SIZES, default="bf16")
    parser.add_argument("--sparse", action="store_true", help="header only; the weights are a hole that reads as zeros")
    args = parser.parse_args()
    if args.out.exists():
        refuse(f"{args.out}: is there already; delete it, or choose another name")
    if not args.out.parent.is_dir():
        refuse(f"{args.out.parent}: is not a folder; make it, or choose another")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the half-written file goes, as with Ctrl-C
    try:
        tensors, size = make(args.out, args.preset, args.dtype, args.sparse)
    except KeyboardInterrupt:
        print("make_model: stopped; the half-written file is deleted", file=sys.stderr)
        return 130
    except OSError as error:
        refuse(f"{args.out}: {error.strerror or error}; the half-written file is deleted")
    print(f"{args.out}: {tensors:,} tensors, {size:,} bytes{', sparse' if args.sparse else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
