"""Codes whose scales are of blocks, those of experts in one array, and those of GPTQ and AWQ: what they come to, held to numpy.

`python blocks.py --binary PATH` makes folders of FP8 with a scale for each block of rows and columns, as transformers' fp8 (DeepSeek-V3,
Qwen3) and compressed-tensors' strategy block have them, with blocks cut off at both edges, folders of MLX with all experts of a
layer in one array, and folders of GPTQ (both versions, groups in any order) and AWQ. Each is read as its values, is exported as it lies where a target has such a layout, and reads back there. With
torch and transformers installed, transformers' own dequantization says the same of whole blocks. The last line is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np

from harness import Checks

KINDS = {np.dtype("<f4"): "F32", np.dtype("<f2"): "F16", np.dtype(ml_dtypes.bfloat16): "BF16", np.dtype(ml_dtypes.float8_e4m3fn): "F8_E4M3", np.dtype("<u4"): "U32", np.dtype("<i4"): "I32"}
MODULES = ["model.layers.0.mlp.down_proj", "model.layers.0.self_attn.q_proj"]
EXPERTS = "model.layers.0.mlp.switch_mlp.gate_proj"
NORM = "model.norm.weight"


def write(folder: Path, tensors: dict[str, np.ndarray], config: dict) -> Path:
    folder.mkdir()
    header, data = {}, b""
    for name, array in tensors.items():
        header[name] = {"dtype": KINDS[array.dtype], "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def read(file: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    part = lambda at: data[8 + length + at[0] : 8 + length + at[1]]
    return {name: (one["dtype"], tuple(one["shape"]), part(one["data_offsets"])) for name, one in header.items() if name != "__metadata__"}


def spread(scales: np.ndarray, block: list[int], shape: tuple[int, int]) -> np.ndarray:
    """The scale of every element."""
    rows, columns = (np.arange(n) // size for n, size in zip(shape, block))
    return scales.astype(np.float32)[np.ix_(rows, columns)]


def fp8(rng: np.random.Generator, shape: tuple[int, int], block: list[int], dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes of every finite pattern, scales, and the values: one product in F32, rounded to the dtype of the scales."""
    patterns = rng.choice([p for p in range(256) if p & 127 != 127], size=shape).astype(np.uint8)
    codes = patterns.view(ml_dtypes.float8_e4m3fn)
    grid = [-(-n // size) for n, size in zip(shape, block)]
    scales = (rng.gamma(2.0, 0.001, grid)).astype(dtype)
    return codes, scales, (codes.astype(np.float32) * spread(scales, block, shape)).astype(dtype)


def affine(rng: np.random.Generator, shape: tuple[int, int, int], bits: int, group: int) -> tuple[np.ndarray, ...]:
    """Words, scales, biases and the values scale · u + bias, each operation as MLX does it on its CPU: in F32, rounded to F16."""
    u = rng.integers(0, 2**bits, shape)
    stream = ((u[..., None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(*shape[:2], -1)
    words = np.packbits(stream, axis=-1, bitorder="little").view("<u4")
    units = (*shape[:2], shape[2] // group)
    # Powers of two and small multiples of them: every way of rounding gives the same.
    scales, biases = (2.0 ** rng.integers(-6, -3, units)).astype("<f2"), (rng.integers(-16, 16, units) / 16).astype("<f2")
    wide = lambda side: np.repeat(side.astype(np.float32), group, axis=-1)
    return words, scales, biases, (wide(scales) * u + wide(biases)).astype("<f2")


def check_values(checks: Checks, case: str, folder: Path, work: Path, values: dict[str, np.ndarray], told: str, layer: str) -> None:
    """Names, type and shape in `inspect`; every bit of the values in the dense export."""
    report = checks.run(case, "inspect", folder, "--json").json or {"tensors": []}
    tensors = {tensor["name"]: tensor for tensor in report["tensors"]}
    checks.equal(case, "names", sorted(tensors), sorted([*values, NORM]))
    for name, wanted in values.items():
        found = tensors.get(name, {})
        checks.equal(case, f"{name}: type and shape", (found.get("dtype"), found.get("shape")), (told, list(wanted.shape)))
        checks.equal(case, f"{name}: min, max", (found.get("min"), found.get("max")), (float(wanted.min()), float(wanted.max())))
    for options in ([], ["--no-mmap", "--threads", "1"]):
        out = work / f"{case} dense"
        checks.run(case, "export", folder, "--target", "safetensors", "-o", out, "--force", *options)
        dense = read(out / "model.safetensors")
        for name, wanted in values.items():
            checks.check(dense[name] == (KINDS[wanted.dtype], wanted.shape, wanted.tobytes()), case, f"{name}: every bit")
        checks.check("quantization" not in (out / "config.json").read_text(), case, "the config of the dense export speaks of no codes")
        checks.run(case, "verify", folder, out)
    refused = checks.run(case, "estimate", folder, "--set", f"{layer}=int4", "--target", "packed", code=1)
    checks.check("--requantize" in refused.stderr, case, "codes are left alone", refused.stderr[:200], "--requantize")
    checks.run(case, "estimate", folder, "--set", f"{layer}=int4", "--target", "packed", "--requantize")


def check_kept(checks: Checks, case: str, folder: Path, out: Path, target: str, renamed: dict[str, str]) -> dict:
    """Exported as it lies: the same bytes under the names of the target; gives what the config says."""
    if checks.run(case, "export", folder, "--target", target, "-o", out, "--force").code != 0:
        return {}
    source, found = read(folder / "model.safetensors"), read(out / "model.safetensors")
    wanted = {next((name.replace(a, b) for a, b in renamed.items() if name.endswith(a)), name): part for name, part in source.items()}
    checks.equal(case, f"names in {target}", sorted(found), sorted(wanted))
    checks.check(found == wanted, case, f"every byte in {target}")
    checks.run(case, "verify", folder, out)
    report = checks.run(case, "compare", folder, out, "--json").json or {"tensors": [], "only_a": None}
    checks.equal(case, f"differences of {target}", {tensor["max_abs_difference"] for tensor in report["tensors"]}, {0.0})
    return json.loads((out / "config.json").read_text())


def check_blocks(checks: Checks, rng: np.random.Generator, work: Path, case: str, ours: bool, block: list[int], shape: tuple[int, int], dtype) -> None:
    tensors, values = {NORM: np.ones(8, "<f4")}, {}
    for module in MODULES:
        codes, scales, value = fp8(rng, shape, block, dtype)
        tensors |= {f"{module}.weight": codes, f"{module}.{'weight_scale' if ours else 'weight_scale_inv'}": scales}
        values[f"{module}.weight"] = value
    weights = {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": block, "symmetric": True, "dynamic": False}
    group = {"targets": ["Linear"], "weights": weights}
    said = {"quant_method": "fp8", "weight_block_size": block, "activation_scheme": "dynamic", "fmt": "e4m3"}
    if ours:
        said = {"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"group_0": group}}
    folder = write(work / case, tensors, {"model_type": "llama", "quantization_config": said})
    check_values(checks, case, folder, work, values, f"fp8_e4m3:{block[0]}x{block[1]}", f"{MODULES[0]}.weight")
    config = check_kept(checks, case, folder, work / f"{case} kept", "compressed-tensors", {"weight_scale_inv": "weight_scale"})
    written = config.get("quantization_config", {})
    checks.equal(case, "method", written.get("quant_method"), "compressed-tensors")
    groups = list(written.get("config_groups", {}).values())
    checks.equal(case, "groups", [{key: one["weights"].get(key) for key in weights} for one in groups], [weights])
    if all(n % size == 0 for n, size in zip(shape, block)):
        for name, wanted in values.items():
            module = name.removesuffix(".weight")
            theirs = dequantized(tensors[name], tensors[f"{module}.{'weight_scale' if ours else 'weight_scale_inv'}"])
            checks.check(theirs is None or np.array_equal(theirs, wanted.astype(np.float32)), case, f"{name}: as transformers has it")


def dequantized(codes: np.ndarray, scales: np.ndarray) -> np.ndarray | None:
    """What transformers makes of whole blocks, where it is installed."""
    try:
        import torch
        from transformers.integrations.finegrained_fp8 import Fp8Dequantize
    except ImportError:
        return None
    bits, kind = (np.int16, torch.bfloat16) if scales.dtype == ml_dtypes.bfloat16 else (np.int32, torch.float32)
    codes = torch.from_numpy(codes.view(np.uint8).copy()).view(torch.float8_e4m3fn)
    return Fp8Dequantize(None)._dequantize_one(codes, torch.from_numpy(scales.view(bits).copy()).view(kind)).float().numpy()


def check_experts(checks: Checks, rng: np.random.Generator, work: Path, case: str, shape: tuple[int, int, int], bits: int, group: int) -> None:
    words, scales, biases, values = affine(rng, shape, bits, group)
    tensors = {NORM: np.ones(8, "<f2"), f"{EXPERTS}.weight": words, f"{EXPERTS}.scales": scales, f"{EXPERTS}.biases": biases}
    said = {"bits": bits, "group_size": group}
    folder = write(work / case, tensors, {"model_type": "qwen3_moe", "quantization": said, "quantization_config": said})
    check_values(checks, case, folder, work, {f"{EXPERTS}.weight": values}, f"int{bits}:g{group} affine", f"{EXPERTS}.weight")
    config = check_kept(checks, case, folder, work / f"{case} kept", "mlx", {})
    checks.equal(case, "bits and groups", {key: config.get("quantization", {}).get(key) for key in said}, said)


def packed(codes: np.ndarray, bits: int, order=None) -> np.ndarray:
    """Neighbours of the last dimension in words of 32 bits, the first lowest; `order` says which goes where."""
    groups = codes.reshape(*codes.shape[:-1], -1, 32 // bits).astype(np.uint32)
    groups = groups if order is None else groups[..., order]
    return np.bitwise_or.reduce(groups << (np.arange(32 // bits, dtype=np.uint32) * bits), axis=-1).view("<i4")


def check_turned(checks: Checks, rng: np.random.Generator, work: Path, case: str, shape: tuple[int, int], bits: int, group: int, said: dict, shuffled: bool, beside: str | None) -> None:
    """GPTQ and AWQ: codes with inputs before outputs, and a zero for each group; their settings in the config, or in a file `beside` it."""
    (inputs, outputs), awq = shape, said["quant_method"] == "awq"
    size = inputs if group < 0 else group
    of_input = np.arange(inputs) // size
    of_input = rng.permutation(of_input) if shuffled else of_input
    codes = rng.integers(0, 2**bits, shape)
    zeros = rng.integers(0, 2**bits, (inputs // size, outputs))
    scales = rng.gamma(2.0, 0.01, zeros.shape).astype("<f2")
    values = ((codes - zeros[of_input]).astype(np.float32) * scales[of_input].astype(np.float32)).astype("<f2").T.copy()
    order = [0, 2, 4, 6, 1, 3, 5, 7] if awq else None
    stored = zeros if awq or said.get("checkpoint_format") == "gptq_v2" else (zeros - 1) % 2**bits
    parts = {"qweight": packed(codes, bits, order) if awq else packed(codes.T, bits).T.copy(), "qzeros": packed(stored, bits, order), "scales": scales}
    parts |= {} if awq else {"g_idx": of_input.astype("<i4")}
    tensors = {NORM: np.ones(8, "<f2")} | {f"{MODULES[0]}.{part}": array for part, array in parts.items()}
    settings = {"bits": bits, "group_size": group, **said}
    folder = write(work / case, tensors, {"model_type": "llama"} | ({} if beside else {"quantization_config": settings}))
    if beside:
        (folder / beside).write_text(json.dumps({key: value for key, value in settings.items() if key != "quant_method"}))
    name = f"{MODULES[0]}.weight"
    check_values(checks, case, folder, work, {name: values}, f"int{bits}:g{size} {said['quant_method'].upper()}", name)
    # What no runtime here has a layout for is written as its values.
    for target in ("compressed-tensors", "mlx"):
        out = work / f"{case} {target}"
        checks.run(case, "export", folder, "--target", target, "-o", out, "--force")
        checks.check(read(out / "model.safetensors")[name] == ("F16", values.shape, values.tobytes()), case, f"every bit in {target}")
        checks.check("gptq" not in (out / "config.json").read_text() and "awq" not in (out / "config.json").read_text(), case, f"the config of {target}")
        checks.check(not beside or not (out / beside).exists(), case, f"{beside} in {target}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--only")
    args = parser.parse_args()
    checks, rng = Checks(args.binary, args.only), np.random.default_rng(11)
    blocks = [("whole", [128, 128], (256, 384)), ("edges", [128, 128], (300, 200)), ("small", [2, 48], (7, 100)), ("wide", [3, 1000], (10, 64)), ("rows", [1, 16], (5, 64))]
    experts = [("four", (3, 8, 128), 4, 64), ("three", (5, 7, 96), 3, 32), ("eight", (2, 4, 128), 8, 128), ("six", (4, 3, 64), 6, 64)]
    with tempfile.TemporaryDirectory(prefix="spokeshave-blocks-") as folder:
        work = Path(folder)
        for name, block, shape in blocks:
            for ours, of in ((False, "fp8"), (True, "compressed")):
                for dtype in (np.dtype("<f4"), np.dtype(ml_dtypes.bfloat16)):
                    case = f"{of} {name} {KINDS[dtype].lower()}"
                    if checks.wants(case):
                        check_blocks(checks, rng, work, case, ours, block, shape, dtype)
        for name, shape, bits, group in experts:
            if checks.wants(f"mlx {name}"):
                check_experts(checks, rng, work, f"mlx {name}", shape, bits, group)
        gptq, awq = {"quant_method": "gptq", "desc_act": False}, {"quant_method": "awq", "version": "gemm", "zero_point": True}
        turned = [
            ("gptq four", (128, 24), 4, 32, gptq, False), ("gptq eight", (64, 8), 8, 16, gptq, False), ("gptq two", (64, 32), 2, 64, gptq, False),
            ("gptq shuffled", (256, 40), 4, 64, gptq, True), ("gptq whole", (96, 16), 4, -1, gptq, False), ("gptq second", (128, 16), 4, 128, gptq | {"checkpoint_format": "gptq_v2"}, True),
            ("awq four", (128, 24), 4, 32, awq, False), ("awq long", (512, 640), 4, 128, awq, False), ("gptq long", (640, 512), 4, 128, gptq, True),
            ("gptq of its own", (128, 32), 2, 32, gptq | {"bits": 4, "group_size": 128, "dynamic": {"+:.*q_proj": {"bits": 2, "group_size": 32}}}, False),
        ]  # fmt: skip
        beside = [("gptq beside", (128, 24), 4, 32, gptq, True, "quantize_config.json"), ("awq beside", (128, 24), 4, 32, awq, False, "quant_config.json")]
        for name, shape, bits, group, said, shuffled, file in [*((*case, None) for case in turned), *beside]:
            if checks.wants(name):
                check_turned(checks, rng, work, name, shape, bits, group, said, shuffled, file)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
