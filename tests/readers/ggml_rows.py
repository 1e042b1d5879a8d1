"""Weights that blocks are tried on, and what llama.cpp's code makes of them, by way of libgguf and gguf."""

from __future__ import annotations

import gguf
import libgguf
import numpy as np

F32 = np.float32
TYPES = {kind.name: (int(kind), *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType}
TYPES["Q8_1"] = (9, 32, 36)  # two binary16 since 2024; the package still counts two f32
ENCODED = (
    "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4 NVFP4"
).split()
DECODED = ENCODED + "IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S".split()


def spike(r: np.random.Generator, n: int) -> np.ndarray:
    """One weight in 256 dwarfs the rest."""
    w = r.standard_normal(n) * 1e-3
    w[r.integers(0, 256, n // 256) + np.arange(n // 256) * 256] = r.choice([-1.0, 1.0], n // 256) * 8
    return w


def holes(r: np.random.Generator, n: int) -> np.ndarray:
    """Pruned weights: zeros of both signs, whole runs of them."""
    w = r.standard_normal(n) * (r.random(n) < 0.3) * np.repeat(r.random(n // 32) < 0.7, 32)
    return np.copysign(w, r.choice([-1.0, 1.0], n))


def steps(r: np.random.Generator, n: int) -> np.ndarray:
    """Weights on somebody's lattice, where halves are common."""
    return r.integers(-16, 17, n) * 0.25


def edges(r: np.random.Generator, n: int) -> np.ndarray:
    """A largest magnitude just around a power of two in every 32, and levels met half-way."""
    w = r.integers(-24, 25, n) / 16
    peaks = np.ldexp(1.0, r.integers(-120, 120, n // 32))
    near = (F32(1) - r.integers(-4, 60, n // 32) * F32(2**-24)).astype(F32)
    w[::32] = 2 * r.choice([-1.0, 1.0], n // 32) * near
    return w * np.repeat(peaks, 32)


KINDS = {
    "normal": lambda r, n: r.standard_normal(n) * 0.02,
    "heavy": lambda r, n: r.standard_t(2.2, n) * 0.02 * np.repeat(np.exp(r.standard_normal(n // 64)), 64),
    "skewed": lambda r, n: np.exp(r.standard_normal(n)) * np.repeat(r.choice([-1.0, 1.0], n // 128), 128),
    "constant": lambda r, n: np.repeat(r.standard_normal(n // 64), 64),
    "zero": lambda r, n: r.choice([0.0, -0.0], n),
    "holes": holes,
    "spike": spike,
    "steps": steps,
    "edges": edges,
    "huge": lambda r, n: r.standard_normal(n) * np.repeat(10.0 ** r.uniform(15, 38, n // 32), 32),
    "tiny": lambda r, n: r.standard_normal(n) * np.repeat(10.0 ** r.uniform(-30, -3, n // 32), 32),
    "denormal": lambda r, n: r.standard_normal(n) * np.repeat(10.0 ** r.uniform(-46, -36, n // 32), 32),
    "anything": lambda r, n: r.integers(0, 2**32, n, dtype=np.uint32).view(F32),
}


def rows(kind: str, r: np.random.Generator, n: int) -> np.ndarray:
    """n finite f32, n a multiple of 256."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        w = np.asarray(KINDS[kind](r, n)).astype(F32)
    return np.where(np.isfinite(w), w, F32(1.5))


def encoded(name: str, w: np.ndarray) -> bytes:
    """llama.cpp's reference encoder, compiled in libgguf."""
    if name == "F32":
        return w.tobytes()
    return bytes(libgguf.quantize_rows_raw(TYPES[name][0], w, 1, w.size))


def decoded(name: str, blocks: bytes) -> np.ndarray:
    """llama.cpp's own Python package."""
    kind = gguf.GGMLQuantizationType(TYPES[name][0])
    with np.errstate(all="ignore"):
        return gguf.dequantize(np.frombuffer(blocks, np.uint8), kind).astype(F32)
