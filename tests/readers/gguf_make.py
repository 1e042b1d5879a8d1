"""GGUF files made with numpy, and read by the `gguf` package; blocks made by libgguf and by llama.cpp, decoded by three."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass
from pathlib import Path

import gguf
import libgguf
import ml_dtypes
import numpy as np
from gguf import quants

import llama_cpp

Kind = gguf.GGUFValueType
TYPES = {kind.name: (int(kind), *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType}
TYPES |= {"Q8_1": (9, 32, 36), "Q2_0": (42, 64, 18)}  # two binary16 since 2024; the package does not have the second yet
PLAIN = {"F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "F64": "<f8", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
# What a scheme may ask for, by the name of the type.
WRITTEN = "Q8_0 Q6_K Q5_K Q4_K Q3_K Q2_K Q5_0 Q5_1 Q4_0 Q4_1 IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4".split()
# Where the binary16 steps of a block lie, in the types that nothing here encodes.
STEPS = {"IQ1_S": [0], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0], "Q1_0": [0], "Q2_0": [0], "Q8_1": [0, 2]}


def scheme_of(kind: str) -> str:
    """The word of a scheme for a type: MXFP4 in GGML's way has its own, as the contract's rounds otherwise."""
    return {"MXFP4": "mxfp4_ggml"}.get(kind, kind.lower())


def encode(kind: str, values: np.ndarray) -> np.ndarray:
    """Rows of bytes; where both encoders know the type they must agree."""
    values = np.ascontiguousarray(values, "f4")
    if kind in PLAIN:
        return np.ascontiguousarray(values.astype(PLAIN[kind])).view("u1").reshape(*values.shape[:-1], -1)
    number, block, size = TYPES[kind]
    blocks = np.ascontiguousarray(libgguf.quantize_rows(values, number))
    assert np.array_equal(blocks.ravel(), llama_cpp.encode(number, values, size, block)), f"libgguf and llama.cpp on {kind}"
    return blocks


def any_blocks(kind: str, rows: int, columns: int, draw: np.random.Generator) -> np.ndarray:
    """Legal bytes at random: any codes, and steps that are ordinary numbers."""
    _, block, size = TYPES[kind]
    blocks = draw.integers(0, 256, (rows * columns // block, size), dtype=np.uint8)
    step = lambda: (draw.standard_normal(len(blocks)) * 0.05).astype("<f2").view("u1").reshape(-1, 2)
    for at in STEPS.get(kind, []):
        blocks[:, at : at + 2] = step()
    if kind == "Q8_K":
        blocks[:, :4] = draw.standard_normal(len(blocks)).astype("<f4").view("u1").reshape(-1, 4)
    if kind == "IQ1_M":  # its step is spread over the high nibbles of four words
        words, pattern = blocks[:, 48:].view("<u2"), step().view("<u2").ravel()
        for i in range(4):
            words[:, i] = words[:, i] & 0x0FFF | (pattern >> (4 * i) & 15) << 12
    return blocks.reshape(rows, -1)


def decode(kind: str, blocks: np.ndarray, columns: int) -> np.ndarray:
    """Values of rows of bytes, by every decoder that knows the type; all of them must agree in every bit."""
    blocks = np.ascontiguousarray(blocks)
    if kind in PLAIN:
        return blocks.view(PLAIN[kind]).reshape(-1, columns).astype("f4")
    number, answers = TYPES[kind][0], []
    member = gguf.GGMLQuantizationType.__members__.get(kind)
    if member in quants._type_traits:
        answers.append(quants.dequantize(blocks, member))
    try:
        answers.append(np.asarray(libgguf.dequantize_rows(blocks, number, columns)))
    except (ValueError, TypeError, KeyError):
        pass
    try:
        name = kind if kind[-1] == "K" else kind.lower()
        function = getattr(llama_cpp.LIBRARY, f"dequantize_row_{name.lower() if kind[-1] != 'K' else name[0].lower() + name[1:]}")
        out = np.zeros((len(blocks), columns), "f4")
        function(ctypes.c_void_p(blocks.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(out.size))
        answers.append(out)
    except AttributeError:
        pass
    if kind == "Q8_1":
        by_block = blocks.reshape(-1, 36)
        answers.append((by_block[:, :2].copy().view("<f2").astype("f4") * by_block[:, 4:].view("i1")).reshape(-1, columns))
    words = [np.ascontiguousarray(a, "f4").view("u4").reshape(-1, columns) for a in answers]
    assert words and all(np.array_equal(w, words[0]) for w in words[1:]), f"decoders of {kind}: {len(words)}"
    return words[0].view("f4")


# ---------------------------------------------------------------- files


@dataclass
class Stored:
    """A tensor of a file: torch's shape, type, and its rows as bytes."""

    kind: str
    shape: tuple[int, ...]
    rows: np.ndarray

    def values(self) -> np.ndarray:
        columns = self.shape[-1] if self.shape else 1
        return decode(self.kind, self.rows.reshape(-1, self.rows.shape[-1]), columns).reshape(self.shape)


def stored(kind: str, values: np.ndarray) -> Stored:
    values = np.asarray(values)
    rows = encode(kind, values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1))
    return Stored(kind, values.shape, rows)


def text(t: str) -> bytes:
    return struct.pack("<Q", len(t.encode())) + t.encode()


def pair(key: str, kind: Kind, value, of: Kind | None = None) -> bytes:
    packs = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
    one = lambda kind, v: text(v) if kind == Kind.STRING else struct.pack(packs[kind], v)
    if of is None:
        return text(key) + struct.pack("<I", kind) + one(kind, value)
    return text(key) + struct.pack("<IIQ", kind, of, len(value)) + b"".join(one(of, v) for v in value)


def write(path: Path, pairs: list[bytes], tensors: dict[str, Stored], alignment: int = 32) -> None:
    """In the order given; the alignment's own pair is the caller's."""
    infos, data = b"", bytearray()
    for name, t in tensors.items():
        infos += text(name) + struct.pack("<I", len(t.shape)) + struct.pack(f"<{len(t.shape)}Q", *t.shape[::-1])
        infos += struct.pack("<IQ", TYPES[t.kind][0], len(data))
        data += t.rows.tobytes()
        data += bytes(-len(data) % alignment)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + infos
    path.write_bytes(head + bytes(-len(head) % alignment) + bytes(data))


@dataclass
class File:
    """A file as the `gguf` package reads it."""

    pairs: dict[str, bytes]
    fields: dict
    tensors: dict[str, Stored]
    offsets: dict[str, int]
    data: int
    alignment: int

    def value(self, key: str):
        return self.fields[key].contents() if key in self.fields else None


def read(path: Path) -> File:
    reader = gguf.GGUFReader(path)
    own = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    tensors = {}
    for t in reader.tensors:
        rows = np.atleast_1d(np.array(t.data)).view("u1")
        shape = tuple(int(d) for d in t.shape[::-1])
        tensors[t.name] = Stored(t.tensor_type.name, shape, rows.reshape(-1, rows.shape[-1]) if rows.size else rows)
    return File(
        pairs={key: b"".join(np.asarray(part).tobytes() for part in field.parts) for key, field in own.items()},
        fields=own,
        tensors=tensors,
        offsets={t.name: int(t.data_offset) for t in reader.tensors},
        data=int(reader.data_offset),
        alignment=int(reader.alignment),
    )
