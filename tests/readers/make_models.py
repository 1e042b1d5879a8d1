"""Small models that contain, between them, every kind of tensor that has ever surprised a weight tool.

`python make_models.py OUT` writes them with a writer made by hand (the whole format is ten lines) and a `manifest.json`
that says which tensors a glob may touch. Every single file is then read back by the `safetensors` package.
The same call always writes the same bytes.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import deserialize

from arrays import DTYPE_NAMES, DTYPES, FLOATS

F16, F32, F64, BF16 = DTYPES["F16"], DTYPES["F32"], DTYPES["F64"], DTYPES["BF16"]
E4M3, E5M2 = DTYPES["F8_E4M3"], DTYPES["F8_E5M2"]


@dataclass
class Model:
    """Tensors in file order, which of them are weight matrices, and how the file is laid out."""

    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    weights: list[str] = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)  # roles that keep a matrix from being touched
    codes: list[str] = field(default_factory=list)  # stored as codes, and their scales
    metadata: dict | None = field(default_factory=lambda: {"format": "pt"})
    lead: bytes = b""  # white space before the header's brace
    tail: bytes = b""  # and after it
    shards: int = 0  # 0: one file; else a folder with an index

    def add(self, name: str, array: np.ndarray, weight: bool | None = None, role: str | None = None) -> None:
        """Adds a tensor; at least 2-D floats are weight matrices unless a role or `weight=False` says otherwise."""
        self.tensors[name] = np.array(array, order="C")  # unlike ascontiguousarray this leaves 0-d as 0-d
        is_float = DTYPE_NAMES[array.dtype] in FLOATS
        if weight if weight is not None else is_float and array.ndim >= 2 and role is None:
            self.weights.append(name)
        if role:
            self.roles[name] = role


def file_bytes(tensors: dict[str, np.ndarray], metadata: dict | None, lead: bytes = b"", tail: bytes = b"") -> bytes:
    """A safetensors file: u64 header length, JSON header, data without gaps in the order given."""
    header, offset = ({"__metadata__": metadata} if metadata is not None else {}), 0
    for name, a in tensors.items():
        entry = {"dtype": DTYPE_NAMES[a.dtype], "shape": list(a.shape), "data_offsets": [offset, offset + a.nbytes]}
        header[name], offset = entry, offset + a.nbytes
    text = lead + json.dumps(header, ensure_ascii=False).encode() + tail
    return struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in tensors.values())


def read_reference(data: bytes) -> dict[str, np.ndarray]:
    """The reference reader's view of a file (the `safetensors` package checks the header rules)."""
    out = {}
    for name, info in deserialize(data):
        out[name] = np.frombuffer(bytes(info["data"]), DTYPES[info["dtype"]]).reshape(info["shape"])
    return out


# ---------------------------------------------------------------- what is done to them

# Every model meets these; the definitions say which of them must be refused.
RECIPES = [
    [f"*={scheme}"]
    for scheme in (
        "prune:0.5",
        "prune:0.9:row",
        "prune:0.7:global",
        "prune:0",
        "prune:1",
        "int8",
        "int2:g32",
        "int4:tensor",
        "int5:g128:max",
        "int6:asym",
        "int3:g64:asym",
        "int4:tensor:asym",
        "int2:row:asym",
        "int4:mse",
        "int3:g32:mse",
        "int2:tensor:mse",
        "int5:g64:asym:mse",
        "int4:tensor:asym:mse",
        "int4:p99.5",
        "int3:g32:p90",
        "int6:tensor:p99.97",
        "prune:0.6+int4:g64:mse",
        "prune:0.5:row+int4:p98",
        "prune:0.7:global+int3:tensor:p95",
        "f16",
        "bf16",
        "prune:0.9+int4:row",
        "prune:0.6:global+int3:g32:asym",
        "prune:0.92:row+f16",
        "prune:0.3:global+bf16",
        "fp8_e4m3",
        "prune:0.5+fp8_e5m2",
        "fp8_e4m3:row",
        "prune:0.8:row+fp8_e5m2:row",
        "mxfp4",
        "prune:0.6+mxfp4",
        "nvfp4",
        "prune:0.9:global+nvfp4",
        "nf4",
        "prune:0.5:row+nf4:g32",
        "nf4:g128",
        "ternary",
        "ternary:row",
        "prune:0.4+ternary",
        "prune:0.3:row+ternary:row",
        "binary",
        "binary:row",
        "prune:0.5+binary",
        "codebook:16",
        "codebook:3:row",
        "prune:0.7+codebook:32",
        "prune:0.5:row+codebook:5:row",
        "nm:2:4",
        "nm:3:7+int4:g64:mse",
        "nm:1:16+f16",
        "block:4x4:0.5",
        "block:3x5:0.7+int8:g32:asym",
        "block:1x2:0.35",
        "random:0.5:7",
        "random:0.9:18446744073709551615+int6:p99",
        "nm:2:4+ternary:row",
        "block:2x8:0.5+codebook:12",
        "keep",
    )
]
OWN_RECIPES = {
    "mlp": [
        ["*=prune:0.5:global", "fc2*=keep"],
        ["*=prune:0.5:global", "fc[12]*=prune:0.8:global+int4"],
        ["fc1.bias=int8:g32", "head.weight=f16"],
        ["re:fc[13]\\.weight=int7:tensor:max", "{fc2,head}.*=prune:0.25:row"],
        ["*=int4", "fc1.weight=int4:row:asym", "fc1.w?ight=prune:0.9+int4:row:asym"],
        ["fc3.weight=codebook:16:best", "head.weight=prune:0.5+codebook:7:best", "fc1.weight=codebook:256"],
        ["fc2.weight=codebook:4:row:best", "fc1.bias=codebook:12:best", "head.bias=mxfp4", "fc1.weight=keep"],
    ],
    "shapes": [
        ["vector=int8:g64"],
        ["vector=prune:0.333:row+int4:asym"],
        ["scalar=int4", "scalar16=bf16"],
        ["scalar=prune:0.5"],
        ["scalar=prune:0.4"],
        ["empty.weight=int4", "*=int7:g64"],
    ],
    "values": [
        [f"{name}.weight={scheme}"]
        for name in ("subnormal_steps", "tiny16", "two_valued", "outlier")
        for scheme in ("int8:g32:asym", "int2:tensor", "prune:0.92")
    ],
    "huge": [
        ["wide64.weight=int8:g32:asym"],
        ["wide64.weight=prune:0.92+int2:tensor"],
        ["small.weight=int4:asym"],
        ["big.weight=int8:row", "small*=int8"],
        ["half.weight=int4:asym"],
        ["half.weight=bf16"],
        ["small.weight=nvfp4", "half.weight=mxfp4", "big.weight=fp8_e4m3:row"],
        ["wide64.weight=nvfp4"],
        ["wide64.weight=mxfp4"],
        ["wide64.weight=ternary:row", "big.weight=codebook:4", "half.weight=nf4"],
    ],
    "special": [
        ["clean.weight=int4"],
        ["*=prune:0.145:global"],
        ["mixed.F32.weight=prune:0.5"],
        ["mixed.BF16.weight=int8"],
        ["mixed.F16.weight=f16"],
    ],
    "ties": [
        ["decimal.weight=prune:0.145"],
        ["decimal.weight=prune:0.565"],
        ["rows25.weight=prune:0.58:row"],
        ["*=prune:0.123:global"],
        ["*=prune:0.877:global", "a.10*=keep"],
        ["[Za]*=prune:0.5:global", "[!Za]*=prune:0.35:global+int8"],
    ],
    "bert": [
        ["*.query.weight=int4", "*LayerNorm.weight=int8"],
        ["bert.embeddings.position_embeddings.weight=int8:g64"],
        ["bert.encoder.layer.[0].*=prune:0.5+int4:g32", "*embeddings*=int8"],
        ["*.bias=int8", "*=f16"],
    ],
    "llama": [
        ["model.layers.{1,3}.mlp.*=prune:0.5:global+int4:g64", "*.self_attn.[qk]_proj.weight=int8"],
        ["lm_head.weight=int6", "model.norm.weight=f16"],
    ],
    "llama_folder": [["model.layers.?.mlp.*=prune:0.5:global+int4:g64"]],
    "convnet": [["features.1.running_var=f16"], ["*.weight=prune:0.5:global+int8:tensor:asym"]],
    "buffers": [["stft.forward_basis_buffer=int8", "pos_embed=bf16", "head.bias=prune:0.5"]],
}


# ---------------------------------------------------------------- the models


def normal(r, *shape, dtype=F32, scale=0.05) -> np.ndarray:
    return np.asarray(r.standard_normal(shape) * scale).astype(F32 if dtype != F64 else F64).astype(dtype)


def mlp(r) -> Model:
    """The contract's worked shape and one layer in each float dtype."""
    m = Model()
    m.add("fc3.weight", normal(r, 10, 100, dtype=BF16))
    m.add("fc1.weight", normal(r, 300, 784))
    m.add("fc1.bias", normal(r, 300))
    m.add("fc2.weight", normal(r, 100, 300, dtype=F16))
    m.add("fc2.bias", normal(r, 100, dtype=F16))
    m.add("fc3.bias", normal(r, 10, dtype=BF16))
    m.add("head.weight", normal(r, 12, 65, dtype=F64))
    m.add("head.bias", normal(r, 12, dtype=F64))
    return m


def shapes(r) -> Model:
    """Ranks 0 to 4, short last groups, single rows and columns, and nothing at all."""
    m = Model()
    m.add("conv.weight", normal(r, 64, 1, 3, 3))
    m.add("conv1d.weight", normal(r, 16, 8, 5, dtype=F16))
    for length in (130, 100, 7, 33, 1):
        for dtype in (F32, BF16, F64):
            m.add(f"in{length}.{DTYPE_NAMES[dtype]}.weight", normal(r, 5, length, dtype=dtype))
    m.add("row.weight", normal(r, 1, 257))
    m.add("column.weight", normal(r, 257, 1))
    m.add("single.weight", normal(r, 1, 1))
    m.add("vector", normal(r, 1000))
    m.add("scalar", normal(r))
    m.add("scalar16", normal(r, dtype=F16))
    m.add("empty.weight", np.zeros((0, 5), F32))
    m.add("empty3.weight", np.zeros((3, 0, 2), F16))
    m.add("empty1", np.zeros(0, F64))
    return m


def values(r) -> Model:
    """Zeros of both signs, constants, dead rows, two values, subnormals, the largest and the smallest."""
    m, w = Model(), normal(r, 100, 100)
    w[r.random((100, 100)) < 0.92] = 0
    m.add("zeros92.weight", w)
    w = normal(r, 20, 50)
    w[w < 0.01] = -0.0
    m.add("negative_zero.weight", w)
    m.add("all_zero.weight", np.zeros((6, 40), F32))
    m.add("all_negative_zero.weight", np.full((6, 40), -0.0, F16))
    for value in (0.3, -7.0):
        m.add(f"constant{value}.weight", np.full((6, 40), value, BF16))
    w = normal(r, 12, 70, dtype=F16)
    w[[0, 5, 11]] = 0
    m.add("dead_rows.weight", w)
    m.add("two_valued.weight", np.where(r.random((30, 30)) < 0.5, F32.type(0.25), F32.type(-0.75)).astype(F32))
    m.add("positive.weight", np.abs(normal(r, 9, 65)) + F32.type(1))
    m.add("negative.weight", -np.abs(normal(r, 9, 65, dtype=F64)) - 1)
    m.add(
        "outlier.weight", np.where(np.arange(640).reshape(10, 64) == 77, F32.type(1e4), normal(r, 10, 64)).astype(F32)
    )
    m.add("subnormal.weight", r.integers(-900, 901, (8, 32)).astype("u4").view("i4").astype(F32) * F32.type(1.4e-45))
    m.add("subnormal_steps.weight", r.integers(-4, 5, (16, 32)).astype(F32) * F32.type(1.4e-45))
    m.add("tiny16.weight", (r.integers(-30, 31, (8, 32)) * 2.0**-24).astype(F16))
    m.add("tiny_bf16.weight", normal(r, 8, 32, scale=1e-38).astype(BF16))
    for top in (7, 127, 7.5, 31.5):  # halves of a scale of 1: every code of int4, int8 and asym int4, int6 meets ties
        w = r.integers(-2 * top, 2 * top + 1, (4, 64)) / 2
        w[:, :2] = -top, top
        m.add(f"halves{top}.weight", w.astype(F32))
    w = (
        1
        + (2 * r.integers(0, 128, (8, 32)) + 1) * 2.0 ** r.choice([-8, -11, -12], (8, 32))
        + r.choice([-1, 1], (8, 32)) * 2.0**-40
    )
    m.add("beside_ties.weight", w)  # f64 beside the ties of bf16 and f16: rounding by way of f32 goes wrong
    m.add("powers.weight", (2.0 ** r.integers(-30, 15, (8, 64)) * r.choice([-1, 1], (8, 64))).astype(F32))
    return m


def huge(r) -> Model:
    """Values near the top of f32 and f16, and beyond: some schemes must be refused here, none may write Inf."""
    m = Model()
    m.add("big.weight", (r.uniform(-1, 1, (8, 40)) * 3e38).astype(F32))
    m.add("half.weight", np.array([[65504, -65504, 1, 0], [2, 3, -4, 5]], F16))
    m.add("wide64.weight", normal(r, 8, 32, dtype=F64) * 10.0 ** r.integers(-60, 60, (8, 32)))
    m.add("small.weight", normal(r, 8, 40))
    return m


def special(r) -> Model:
    """NaN with payloads, quiet and signalling, and both infinities, in every float dtype."""
    m = Model()
    patterns = {
        "F32": ("u4", [0x7FC00001, 0xFFC12345, 0x7F800001, 0x7F800000, 0xFF800000]),
        "F16": ("u2", [0x7E01, 0xFE55, 0x7C01, 0x7C00, 0xFC00]),
        "BF16": ("u2", [0x7FC1, 0xFFC5, 0x7F81, 0x7F80, 0xFF80]),
        "F64": (
            "u8",
            [0x7FF8000000000001, 0xFFF8000000012345, 0x7FF0000000000001, 0x7FF0000000000000, 0xFFF0000000000000],
        ),
        "F8_E4M3": ("u1", [0x7F, 0xFF]),
        "F8_E5M2": ("u1", [0x7D, 0xFE, 0x7C, 0xFC]),
    }
    for i, (name, (word, bits)) in enumerate(patterns.items()):
        w = normal(r, 9, 21, dtype=DTYPES[name])
        raw = w.view(word).reshape(-1)
        raw[r.choice(raw.size, 5 + i, replace=False)] = np.resize(np.array(bits, word), 5 + i)
        m.add(f"mixed.{name}.weight", w)
        nothing = np.resize(np.array(bits, word), (2, 6)).view(DTYPES[name])
        m.add(f"nothing_finite.{name}.weight", nothing)
    m.add("clean.weight", normal(r, 9, 21))
    return m


def ties(r) -> Model:
    """Equal magnitudes across tensors and dtypes; names whose byte order is not the alphabet's."""
    m = Model()
    for name, dtype, shape in (
        ("é.weight", F16, (9, 11)),
        ("a.weight", F32, (10, 13)),
        ("Z.weight", BF16, (6, 17)),
        ("层.weight", F32, (5, 5)),
        ("a.10.weight", F64, (4, 25)),
        ("a.2.weight", F32, (7, 9)),
        ("a-b.weight", E4M3, (8, 8)),
    ):
        m.add(name, (r.integers(-8, 9, shape) / 8).astype(F32).astype(dtype))
    # no zeros here: with 0.145 of 100 elements and 0.58 of 25 the product in f64 falls below the half and loses one
    m.add("decimal.weight", (r.integers(1, 4, (10, 10)) * r.choice([-0.25, 0.25], (10, 10))).astype(F32))
    m.add("rows25.weight", (r.integers(1, 9, (6, 25)) * r.choice([-0.5, 0.5], (6, 25))).astype(F16))
    return m


def ints(r) -> Model:
    """Tensors that no glob may touch because they are not floats, beside 8-bit floats that it may."""
    m = Model()
    m.add("counter", np.array(12345, "i8"))
    for dtype in ("i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1"):
        m.add(f"table.{dtype}", r.integers(0, 100, (6, 5)).astype(dtype))
    m.add("mask", r.random((4, 9)) < 0.5)
    m.add("e4m3.weight", normal(r, 12, 50, dtype=E4M3, scale=1))
    m.add("e5m2.weight", normal(r, 12, 50, dtype=E5M2, scale=1))
    m.add("float.weight", normal(r, 12, 50))
    return m


def coded(r) -> Model:
    """An 8-bit float weight beside its scale: stored as codes, so no glob touches either."""
    m = Model()
    m.add("model.layers.0.mlp.down_proj.weight", normal(r, 16, 32, dtype=E4M3, scale=50), weight=False)
    m.add("model.layers.0.mlp.down_proj.weight_scale", np.abs(normal(r, 16, 1, scale=1e-3)), weight=False)
    m.codes = ["model.layers.0.mlp.down_proj.weight"]
    m.add("model.layers.0.mlp.up_proj.weight", normal(r, 32, 16, dtype=BF16))
    return m


def bert(r) -> Model:
    m, p = Model(), "bert.embeddings."
    m.add(p + "word_embeddings.weight", normal(r, 60, 24))
    m.add(p + "position_embeddings.weight", normal(r, 16, 24), role="position")
    m.add(p + "token_type_embeddings.weight", normal(r, 2, 24))
    m.add(p + "LayerNorm.weight", 1 + normal(r, 24))
    m.add(p + "LayerNorm.bias", normal(r, 24))
    m.add(p + "position_ids", np.arange(16).reshape(1, 16))
    for layer in range(2):
        p = f"bert.encoder.layer.{layer}."
        for part, shape in (
            ("attention.self.query", (24, 24)),
            ("attention.self.key", (24, 24)),
            ("attention.self.value", (24, 24)),
            ("attention.output.dense", (24, 24)),
            ("intermediate.dense", (48, 24)),
            ("output.dense", (24, 48)),
        ):
            m.add(f"{p}{part}.weight", normal(r, *shape))
            m.add(f"{p}{part}.bias", normal(r, shape[0]))
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            m.add(f"{p}{part}.weight", 1 + normal(r, 24))
            m.add(f"{p}{part}.bias", normal(r, 24))
    m.add("bert.pooler.dense.weight", normal(r, 24, 24))
    return m


def llama_projections(h: int, ffn: int) -> list[tuple[str, tuple]]:
    """The matrices of a block whose stream is `h` wide, 16 of it keys and values."""
    attention = [("q", (h, h)), ("k", (16, h)), ("v", (16, h)), ("o", (h, h))]
    mlp = [("gate", (ffn, h)), ("up", (ffn, h)), ("down", (h, ffn))]
    return [(f"self_attn.{x}_proj", shape) for x, shape in attention] + [(f"mlp.{x}_proj", shape) for x, shape in mlp]


def llama(r) -> Model:
    m, h = Model(), 32
    m.add("model.embed_tokens.weight", normal(r, 70, h, dtype=BF16))
    for layer in range(4):
        p = f"model.layers.{layer}."
        for part, shape in llama_projections(h, 80):
            m.add(f"{p}{part}.weight", normal(r, *shape, dtype=BF16))
        m.add(p + "input_layernorm.weight", 1 + normal(r, h, dtype=F32).astype(BF16))
        m.add(p + "post_attention_layernorm.weight", 1 + normal(r, h, dtype=F32).astype(BF16))
        m.add(p + "self_attn.rotary_emb.inv_freq", np.abs(normal(r, 8)))
    m.add("model.norm.weight", 1 + normal(r, h, dtype=F32).astype(BF16))
    m.add("lm_head.weight", normal(r, 70, h, dtype=BF16))
    return m


def llama_folder(r) -> Model:
    m = llama(r)
    m.shards = 3
    return m


def convnet(r) -> Model:
    """A torch image net: convolutions, batch norm with its running statistics, a classifier."""
    m, channels = Model(), (3, 8, 16)
    for i in (0, 1):
        p = f"features.{3 * i}."
        m.add(p + "weight", normal(r, channels[i + 1], channels[i], 3, 3))
        m.add(p + "bias", normal(r, channels[i + 1]))
        p = f"features.{3 * i + 1}."
        m.add(p + "weight", 1 + normal(r, channels[i + 1]))
        m.add(p + "bias", normal(r, channels[i + 1]))
        m.add(p + "running_mean", normal(r, channels[i + 1]))
        m.add(p + "running_var", 1 + normal(r, channels[i + 1]))
        m.add(p + "num_batches_tracked", np.array(1000, "i8"))
    m.add("classifier.weight", normal(r, 10, 64))
    m.add("classifier.bias", normal(r, 10))
    return m


def recurrent(r) -> Model:
    m = Model(metadata=None)
    for suffix in ("l0", "l0_reverse", "l1"):
        m.add(f"lstm.weight_ih_{suffix}", normal(r, 64, 20))
        m.add(f"lstm.weight_hh_{suffix}", normal(r, 64, 16))
        m.add(f"lstm.bias_ih_{suffix}", normal(r, 64))
        m.add(f"lstm.bias_hh_{suffix}", normal(r, 64))
    m.add("decoder.weight", normal(r, 5, 16, dtype=F16))
    return m


def buffers(r) -> Model:
    """Matrices by shape that are none by role."""
    m = Model()
    for name, shape, role in (
        ("transformer.wpe.weight", (16, 8), "position"),
        ("pos_embed", (1, 17, 8), "position"),
        ("decoder.embed_positions.weight", (16, 8), "position"),
        ("stft.forward_basis_buffer", (18, 1, 16), "basis"),
        ("stem.bn.running_mean", (1, 8), "statistic"),
        ("stem.bn.running_var", (1, 8), "statistic"),
        ("stages.0.norm1.weight", (8, 1, 1), "norm"),
        ("head.bias", (1, 8), "bias"),
    ):
        m.add(name, normal(r, *shape), role=role)
    m.add("transformer.wte.weight", normal(r, 40, 8))
    m.add("head.weight", normal(r, 8, 8))
    return m


def unaligned(r) -> Model:
    """Data that starts at an odd address, an odd tensor before wide ones, white space on both sides of the header."""
    m = Model(lead=b" \n\t ", tail=b"\n", metadata={"format": "pt", "note": "späne", "empty": ""})
    m.add("odd", np.arange(7, dtype="u1"))
    m.add("w64.weight", normal(r, 7, 33, dtype=F64))
    m.add("w32.weight", normal(r, 7, 33))
    m.add("w16.weight", normal(r, 7, 33, dtype=F16))
    while len(file_bytes(m.tensors, m.metadata, m.lead, m.tail)) % 2 == sum(a.nbytes for a in m.tensors.values()) % 2:
        m.tail += b" "
    return m


def nothing(_) -> Model:
    return Model(metadata=None)


BUILDERS = [
    mlp,
    shapes,
    values,
    huge,
    special,
    ties,
    ints,
    coded,
    bert,
    llama,
    llama_folder,
    convnet,
    recurrent,
    buffers,
    unaligned,
    nothing,
]


def build(builder) -> Model:
    """The model of that name, always the same."""
    with np.errstate(all="ignore"):
        return builder(np.random.default_rng(zlib.crc32(builder.__name__.encode())))


def save(model: Model, out: Path, name: str) -> Path:
    """Writes one file, or a folder in HF layout whose shards the index lists."""
    if not model.shards:
        path = out / f"{name}.safetensors"
        path.write_bytes(file_bytes(model.tensors, model.metadata, model.lead, model.tail))
        assert (8 + struct.unpack("<Q", path.read_bytes()[:8])[0]) % 2 == 1 or name != "unaligned"
        return path
    folder = out / name
    folder.mkdir(exist_ok=True)
    names, index = list(model.tensors), {}
    for i in range(model.shards):
        part = f"model-{i + 1:05}-of-{model.shards:05}.safetensors"
        tensors = {n: model.tensors[n] for n in names[i :: model.shards]}
        index |= dict.fromkeys(tensors, part)
        (folder / part).write_bytes(file_bytes(tensors, model.metadata))
    total = sum(a.nbytes for a in model.tensors.values())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2)
    )
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": false}')
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    return folder


def write_all(out: Path) -> dict[str, tuple[Path, Model]]:
    """Writes every model, proves each with the reference reader, and returns where it went."""
    out.mkdir(parents=True, exist_ok=True)
    written, manifest = {}, {}
    for builder in BUILDERS:
        name, model = builder.__name__, build(builder)
        path = save(model, out, name)
        for file in sorted(path.glob("*.safetensors")) if path.is_dir() else [path]:
            for tensor, array in read_reference(file.read_bytes()).items():
                assert array.tobytes() == model.tensors[tensor].tobytes() and array.shape == model.tensors[tensor].shape
        written[name] = (path, model)
        manifest[name] = {
            "path": path.name,
            "weights": sorted(model.weights),
            "roles": model.roles,
            "codes": model.codes,
        }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False))
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python make_models.py OUT")
    for name, (path, model) in write_all(Path(sys.argv[1])).items():
        print(f"{name:14} {len(model.tensors):4} tensors  {path}")
