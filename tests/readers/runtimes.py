"""Folders for vLLM and MLX: every code, scale and value worked out again in numpy, and the models loaded by MLX itself.

`python runtimes.py --binary target/release/spokeshave [--models DIR] [--only SUBSTRING] [--without-mlx]`. Artifacts are read by the
`safetensors` package and taken apart here by the layouts that compressed-tensors and MLX document; compressed-tensors' own reader needs
torch, and is asked in heavy/. The last line is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from arrays import DTYPE_NAMES, DTYPES, F32, errors, wide
from harness import Checks, sha
from levels import put_on_levels, quantize_int, round_to
from make_models import read_reference
from pruning import prune
from schemes import parse, touches

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import make_llama  # noqa: E402

NOT_WEIGHTS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], F32)
CT = "compressed-tensors"


# ---------------------------------------------------------------- reading


def weight_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name not in NOT_WEIGHTS)


def read_folder(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    tensors, metadata = {}, {}
    for file in folder.glob("*.safetensors"):
        data = file.read_bytes()
        tensors |= read_reference(data)
        metadata |= json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    return tensors, metadata


def unpacked(words: np.ndarray, bits: int, cols: int) -> np.ndarray:
    """Each row one little-endian stream: element i in bits i*b to i*b+b-1, in whole words of 32 bits or in bytes."""
    raw = np.ascontiguousarray(words).view("u1").reshape(words.shape[0], -1)
    bit = np.unpackbits(raw, axis=1, bitorder="little")[:, : cols * bits].reshape(words.shape[0], cols, bits)
    return (bit.astype("i4") << np.arange(bits)).sum(2)


@dataclass
class Coded:
    """One weight of an artifact: its codes as numbers of the contract, and what a reader makes of them in f32."""

    codes: np.ndarray
    scales: np.ndarray
    values: np.ndarray
    bytes: int
    biases: np.ndarray | None = None
    unsigned: np.ndarray | None = None


def repeated(scales: np.ndarray, cols: int) -> np.ndarray:
    return np.repeat(scales, cols // scales.shape[1], axis=1)


def read_weight(tensors: dict, module: str, scheme) -> Coded:
    """By the layout that the scheme has in the target."""
    part = lambda suffix: tensors.get(f"{module}.{suffix}")
    if (scales := part("scales")) is not None:
        words, biases = part("weight"), part("biases")
        assert words.dtype == np.uint32 and scales.dtype == biases.dtype
        cols = scales.shape[1] * int(scheme.unit[1:])
        assert words.shape[1] * 32 == cols * scheme.bits
        u = unpacked(words, scheme.bits, cols)
        s, b = (repeated(wide(x).reshape(x.shape), cols) for x in (scales, biases))
        zero = 0 if scheme.asym else 1 << (scheme.bits - 1)
        size = words.nbytes + scales.nbytes + biases.nbytes
        # What the numbers say, without a rounding on the way.
        exact = (s.astype("f8") * u + b.astype("f8")).astype(F32)
        return Coded((u - zero).astype("i4"), scales, exact, size, biases, u)
    scales, packed = part("weight_scale"), part("weight_packed")
    if packed is None:
        codes = part("weight")
        if codes.dtype == np.int8:
            assert scales.shape == (codes.shape[0], 1)
            values = codes.astype(F32) * repeated(wide(scales).reshape(scales.shape), codes.shape[1])
            return Coded(codes.astype("i4"), scales, values, codes.nbytes + scales.nbytes)
        assert codes.dtype == DTYPES["F8_E4M3"] and scales.shape == (codes.shape[0], 1)
        values = codes.astype(F32) * repeated(wide(scales).reshape(scales.shape), codes.shape[1])
        return Coded(codes.view("u1").astype("i4"), scales, values, codes.nbytes + scales.nbytes)
    if packed.dtype == np.int32:
        shape = part("weight_shape")
        assert shape.dtype == np.int64 and shape.tolist()[0] == packed.shape[0]
        cols = int(shape[1])
        assert packed.shape[1] == -(-cols * scheme.bits // 32)
        codes = unpacked(packed, scheme.bits, cols) - (1 << (scheme.bits - 1))
        values = codes.astype(F32) * repeated(wide(scales).reshape(scales.shape), cols)
        return Coded(codes, scales, values, packed.nbytes + scales.nbytes + 16)
    assert packed.dtype == np.uint8
    cols = 2 * packed.shape[1]
    codes = unpacked(packed, 4, cols)
    size = packed.nbytes + scales.nbytes
    if (g := part("weight_global_scale")) is not None:
        assert scales.dtype == DTYPES["F8_E4M3"] and g.dtype == F32 and g.shape == (1,)
        steps, size = scales.astype(F32) / g[0], size + 4
    else:
        steps = np.ldexp(F32.type(1), scales.astype("i4") - 127)
    return Coded(codes, scales, FP4[codes] * repeated(steps, cols), size)


# ---------------------------------------------------------------- the contract


@dataclass
class Wanted:
    """What the contract makes of one weight in such a target."""

    codes: np.ndarray
    values: np.ndarray  # q, in f32
    scales: np.ndarray | None  # of a grid, in the tensor's dtype


def wanted(weight: np.ndarray, scheme, name: str) -> Wanted:
    """Scales are rounded to the tensor's dtype before codes are made; values are of that dtype too."""
    shape, w = weight.shape, wide(weight)
    if scheme.prunes:
        w = wide(prune(weight, scheme, name).reshape(shape))
    own = lambda q: wide(round_to(q, weight.dtype)).reshape(shape)
    rounded = lambda scale: scale.astype(weight.dtype).astype(F32)
    if scheme.form in ("mxfp4", "nvfp4"):
        levels = put_on_levels(w, shape, scheme, name)
        return Wanted(levels.symbols.reshape(shape), levels.values.reshape(shape), None)
    if scheme.form == "fp8_e4m3":
        rows = w.reshape(shape)
        scale = rounded(np.abs(rows).max(1, keepdims=True) / F32.type(448))
        safe = np.where(scale == 0, F32.type(1), scale)
        codes = np.where(scale == 0, 0, rows / safe).astype(F32).astype(DTYPES["F8_E4M3"])
        codes = np.where(codes.astype(F32) == 0, 0, codes).astype(DTYPES["F8_E4M3"])
        return Wanted(codes.view("u1").astype("i4"), own((codes.astype(F32) * scale).reshape(-1)), scale)
    grid = quantize_int(w, shape, scheme, name, rounded)
    return Wanted(grid.codes.reshape(shape), own(grid.values), None)


# ---------------------------------------------------------------- cases


@dataclass
class Case:
    target: str
    lines: list[str]
    family: str = "llama"
    dtype: str = "f32"
    tied: bool = False
    shards: int = 1
    options: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        model = f"{self.family}-{self.dtype}{'-tied' if self.tied else ''}{f'-{self.shards}' if self.shards > 1 else ''}"
        return f"{self.target} {model} {' '.join(self.lines)}"


PROJ = "*_proj.weight"
CASES = [
    *(
        Case(CT, [f"{PROJ}={scheme}"], dtype=dtype)
        for dtype, scheme in [
            ("f32", "int4:g128"),
            ("bf16", "int4:g32"),
            ("f16", "int4:row"),
            ("f32", "int8:row"),
            ("bf16", "int8:row:a8"),
            ("f32", "prune:0.5+int8:row:mse:a8"),
            ("bf16", "int8:g64:mse"),
            ("f16", "int4:g64:p99.9"),
            ("bf16", "prune:0.5+int4:g128"),
            ("f32", "nm:2:4+int8:g32"),
            ("f32", "fp8_e4m3:row"),
            ("bf16", "fp8_e4m3:row"),
            ("f16", "prune:0.6+fp8_e4m3:row"),
            ("f32", "mxfp4"),
            ("bf16", "mxfp4"),
            ("f32", "nvfp4"),
            ("bf16", "prune:0.5+nvfp4"),
        ]
    ),
    Case(CT, ["*self_attn*=int8:row", "*mlp*=int4:g128", "*.1.mlp.down_proj.weight=bf16"], family="qwen2", dtype="f16"),
    Case(
        CT,
        ["*self_attn*=nvfp4", "*mlp.*=int4:g32", "*down_proj.weight=fp8_e4m3:row", "*.0.self_attn.o_proj.weight=mxfp4"],
        family="qwen3",
        dtype="bf16",
        tied=True,
        shards=2,
    ),
    Case(CT, [f"{PROJ}=int8:row:a8", "*.1.*=int8:g64", "*.1.mlp.down_proj.weight=int8:row:a8"], dtype="f16", shards=2),
    Case(CT, ["model.layers.0.*=int4:g128"], family="mistral", dtype="bf16", shards=3),
    *(
        Case("mlx", [f"*={scheme}"], dtype=dtype)
        for dtype, scheme in [
            ("f32", "int4:g64"),
            ("bf16", "int4:g64"),
            ("f16", "int4:g128"),
            ("bf16", "int8:g32"),
            ("f32", "int2:g64"),
            ("f16", "int3:g32"),
            ("bf16", "int5:g64:mse"),
            ("bf16", "int6:g128"),
            ("f32", "int4:g64:asym"),
            ("bf16", "int4:g32:asym"),
            ("f16", "int8:g64:asym"),
            ("bf16", "int8:g64:asym"),
            ("bf16", "int6:g64:asym"),
            ("bf16", "prune:0.5+int4:g64"),
            ("f32", "prune:0.7+int3:g64"),
        ]
    ),
    Case(
        "mlx",
        ["*=int4:g64", "*down_proj.weight=int3:g32:asym", "model.embed_tokens.weight=int8:g128", "*o_proj.weight=keep"],
        family="qwen3",
        dtype="bf16",
        tied=True,
        shards=2,
    ),
    Case("mlx", ["*self_attn*=int6:g64", "*mlp*=int5:g32", "*.1.mlp.up_proj.weight=f16"], family="qwen2", dtype="f16"),
    Case("mlx", ["*=int4:g128:asym"], family="mistral", dtype="bf16", shards=3),
]


def scheme_of(lines: list[str], name: str, weight: np.ndarray) -> str:
    """That of the last line that touches a weight."""
    found = "keep"
    for line in lines:
        pattern, scheme = line.rsplit("=", 1)
        if touches(pattern, name, DTYPE_NAMES[weight.dtype], weight.ndim > 1):
            found = scheme
    return found


def is_coded(lines: list[str], name: str, weight: np.ndarray) -> bool:
    scheme = parse(scheme_of(lines, name, weight))
    return bool(scheme.bits or scheme.form)


def check_weights(checks: Checks, case: Case, source: dict, tensors: dict, estimate: dict) -> dict[str, np.ndarray]:
    """Everything that is stored, against the contract; gives what a reader gets, in f32."""
    read, rest = {}, dict(tensors)
    by_name = {tensor["name"]: tensor for tensor in estimate["tensors"]}
    for name, weight in source.items():
        scheme = parse(scheme_of(case.lines, name, weight))
        module = name.removesuffix(".weight")
        told = by_name[name]
        if not is_coded(case.lines, name, weight):
            array = rest.pop(name)
            expected = weight.astype(DTYPES[scheme.cast]) if scheme.cast else weight
            checks.check(
                array.dtype == expected.dtype and np.array_equal(array.view("u1"), expected.view("u1")),
                case.name,
                f"{name}: dense as it was",
            )
            read[name] = wide(array).reshape(array.shape)
            checks.equal(case.name, f"{name}: bytes", told["bytes"], array.nbytes)
            continue
        suffixes = ("weight_packed", "weight_scale", "weight_shape", "weight_global_scale", "weight", "scales", "biases")
        coded = read_weight(tensors, module, scheme)
        for suffix in suffixes:
            rest.pop(f"{module}.{suffix}", None)
        expected = wanted(weight, scheme, name)
        own = wide(round_to(coded.values.reshape(-1), weight.dtype)).reshape(weight.shape)
        final = coded.values if scheme.form in ("mxfp4", "nvfp4") else own
        if case.target == CT or not scheme.asym:
            wrong = int(np.count_nonzero(coded.codes != expected.codes))
            checks.equal(case.name, f"{name}: codes that are not the contract's", wrong, 0)
            checks.equal(case.name, f"{name}: values that are not q", int(np.count_nonzero(final != expected.values)), 0)
        else:
            check_biases(checks, f"{case.name}: {name}", coded, expected.codes, weight.dtype, scheme)
        # What the numbers of the file come to, whatever the grid was meant to be.
        read[name] = final
        found = errors(weight, final)
        checks.equal(case.name, f"{name}: zeros", told["zeros"], found["zeros"])
        checks.close(case.name, f"{name}: t2", told["t2"], found["t2"], 1e-18)
        checks.equal(case.name, f"{name}: bytes", told["bytes"], coded.bytes)
        checks.equal(case.name, f"{name}: stored_as", told["stored_as"], told["scheme"])
        checks.equal(case.name, f"{name}: scales of the tensor's dtype", coded.scales.dtype in (weight.dtype, DTYPES["U8"], DTYPES["F8_E4M3"]), True)
    checks.equal(case.name, "tensors that nobody asked for", sorted(rest), [])
    return read


def check_biases(checks: Checks, case: str, coded: Coded, codes: np.ndarray, dtype, scheme) -> None:
    """Codes without a sign are the contract's about one zero point for each group, and its bias is -z times the scale, rounded."""
    zero = (coded.unsigned.astype("i4") - codes).reshape(*coded.scales.shape, -1)
    scales = wide(coded.scales).reshape(coded.scales.shape)
    z = zero[..., 0]
    one = (zero == z[..., None]).all(axis=-1) & (z >= 0) & (z < 1 << scheme.bits)
    # Of a group of nothing the scale is 0, and any zero point would do.
    checks.equal(case, "codes that are not the contract's", int(np.count_nonzero(~one & (scales != 0))), 0)
    wanted_biases = wide(round_to((-(z.astype(F32) * scales)).reshape(-1), dtype)).reshape(scales.shape)
    found = wide(coded.biases).reshape(coded.biases.shape)
    checks.equal(case, "biases that are not -z times the scale", int(np.count_nonzero(found != wanted_biases)), 0)


def check_config(checks: Checks, case: Case, model: Path, out: Path) -> None:
    """The rest of the config stays, and so does every other file."""
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (model, out))
    block = after.pop("quantization_config", None)
    if case.target == "mlx":
        checks.equal(case.name, "both blocks of MLX", after.pop("quantization", None), block)
    checks.equal(case.name, "the rest of config.json", after, before)
    for name in NOT_WEIGHTS[1:]:
        checks.equal(case.name, f"{name} copied", (out / name).read_bytes(), (model / name).read_bytes())


def check_read_back(checks: Checks, case: Case, model: Path, out: Path, source: dict, read: dict) -> None:
    """The program reads its own artifact: as what it is, by its values, and quantizes it anew when it is told to."""
    verified = checks.run(case.name, "verify", model, out, "--json").json
    if verified:
        worst = max(t["max_abs_difference"] or 0 for t in verified["tensors"])
        checks.equal(case.name, "verify", (verified["ok"], worst, len(verified["tensors"])), (True, 0, len(source)))
    inspected = checks.run(case.name, "inspect", out, "--json").json
    if inspected:
        checks.equal(case.name, "inspect names", [t["name"] for t in inspected["tensors"]], sorted(source))
        for tensor in inspected["tensors"]:
            values = read[tensor["name"]].astype("f8")
            checks.equal(case.name, f"{tensor['name']}: inspect zeros", tensor["zeros"], int((values == 0).sum()))
            checks.close(case.name, f"{tensor['name']}: inspect std", tensor["std"], float(values.std()), 1e-9)
    compared = checks.run(case.name, "compare", model, out, "--json").json
    if compared:
        checks.equal(case.name, "compare", (compared["only_a"], compared["only_b"]), ([], []))
        for tensor in compared["tensors"]:
            found = errors(source[tensor["name"]], read[tensor["name"]])
            checks.close(case.name, f"{tensor['name']}: compare t2", tensor["t2"], found["t2"], 1e-18)
    pattern = case.lines[0].rsplit("=", 1)[0]
    line = f"--set={pattern}=prune:0.5"
    reached = [name for name, weight in source.items() if touches(pattern, name, "F32", weight.ndim > 1)]
    refused = all(is_coded(case.lines, name, source[name]) for name in reached)
    checks.run(case.name, "estimate", out, line, code=1 if refused else 0)
    anew = checks.run(case.name, "estimate", out, line, "--requantize", "--target", "safetensors", "--json").json
    if anew:
        touched = [t for t in anew["tensors"] if t["scheme"] != "keep"]
        checks.check(bool(touched), case.name, "--requantize touches them")
        for tensor in touched:
            values = read[tensor["name"]]
            pruned = wide(prune(values, parse("prune:0.5"), tensor["name"])).reshape(values.shape)
            checks.close(case.name, f"{tensor['name']}: t2 of what is pruned anew", tensor["t2"], errors(values, pruned)["t2"], 1e-18)


def check_case(checks: Checks, case: Case, models: Path, work: Path, mlx) -> None:
    model = models / f"{case.family}-{case.dtype}-{case.tied}-{case.shards}"
    if not model.exists():
        make_llama.write(model, case.family, case.dtype, case.tied, case.shards)
    source = read_folder(model)[0]
    out = work / "out"
    recipe = [*(f"--set={line}" for line in case.lines), "--target", case.target, *case.options]
    estimate = checks.run(case.name, "estimate", model, *recipe, "--json").json
    bare = checks.run(case.name, "estimate", model, *recipe, "--bytes-only", "--json").json
    report = checks.run(case.name, "export", model, *recipe, "-o", out, "--json", "--threads", "1").json
    if not (estimate and bare and report):
        return
    size = sum(file.stat().st_size for file in weight_files(out))
    checks.equal(case.name, "bytes on disk", (estimate["bytes"], bare["bytes"]), (size, size))
    total = sum(t["bytes"] for t in estimate["tensors"]) + estimate["overhead_bytes"]
    checks.equal(case.name, "bytes are the tensors' and the overhead", total, size)
    listed = {Path(f["path"]).name: f["bytes"] for f in report["files"]}
    checks.equal(case.name, "files", listed, {file.name: file.stat().st_size for file in weight_files(out)})
    tensors, metadata = read_folder(out)
    checks.equal(case.name, "format", metadata.get("format"), "mlx" if case.target == "mlx" else "pt")
    if (index := out / "model.safetensors.index.json").exists():
        mapped = json.loads(index.read_text())
        checks.equal(case.name, "index names", sorted(mapped["weight_map"]), sorted(tensors))
        checks.equal(case.name, "index total_size", mapped["metadata"]["total_size"], sum(a.nbytes for a in tensors.values()))
    read = check_weights(checks, case, source, tensors, estimate)
    check_config(checks, case, model, out)
    check_read_back(checks, case, model, out, source, read)
    first = sha(out)
    checks.run(case.name, "export", model, *recipe, "-o", out, "--force", "--threads", "2", "--no-mmap")
    checks.equal(case.name, "the same bytes with two threads, read in pieces", sha(out), first)
    if case.target == "mlx" and mlx:
        mlx.check(checks, case, out, source, tensors, read, work)
    shutil.rmtree(out)


# ---------------------------------------------------------------- MLX


class Mlx:
    """MLX's own reader, on the CPU."""

    def __init__(self):
        import mlx.core as mx
        from mlx_lm.utils import load_model

        mx.set_default_device(mx.cpu)
        self.mx, self.load = mx, load_model

    def numpy(self, array) -> np.ndarray:
        return np.array(array.astype(self.mx.float32))

    def check(self, checks: Checks, case: Case, out: Path, source: dict, tensors: dict, read: dict, work: Path) -> None:
        model, _ = self.load(out)
        modules = dict(model.named_modules())
        for name, weight in source.items():
            scheme = parse(scheme_of(case.lines, name, weight))
            layer = modules.get(name.removesuffix(".weight"))
            if layer is None or not scheme.bits:
                checks.check(not hasattr(layer, "scales"), case.name, f"{name}: MLX takes it for dense")
                continue
            found = (layer.bits, layer.group_size)
            checks.equal(case.name, f"{name}: bits and group in MLX", found, (scheme.bits, int(scheme.unit[1:])))
            values = self.mx.dequantize(layer.weight, layer.scales, layer.biases, layer.group_size, layer.bits)
            coded = read_weight(tensors, name.removesuffix(".weight"), scheme)
            # On a CPU, MLX rounds scale times code to the dtype, and then the sum.
            cols = weight.shape[1]
            scale, bias = (repeated(x.astype(F32), cols) for x in (coded.scales, coded.biases))
            product = (scale * coded.unsigned.astype(F32)).astype(weight.dtype).astype(F32)
            mine = (product + bias).astype(weight.dtype).astype(F32)
            checks.equal(case.name, f"{name}: values that MLX reads otherwise", int(np.count_nonzero(self.numpy(values) != mine)), 0)
            zeros = read[name] == 0
            if scheme.prunes:
                checks.equal(case.name, f"{name}: zeros that MLX loses", int(np.count_nonzero(self.numpy(values)[zeros])), 0)
        self.check_logits(checks, case, model, out, read, work)

    def check_logits(self, checks: Checks, case: Case, model, out: Path, read: dict, work: Path) -> None:
        """Against a dense model of the values that the contract says, in f32."""
        dense = work / "dense"
        dense.mkdir()
        config = json.loads((out / "config.json").read_text())
        config.pop("quantization", None), config.pop("quantization_config", None)
        (dense / "config.json").write_text(json.dumps(config | {"torch_dtype": "float32"}))
        make_llama.write_file(dense / "model.safetensors", read, "f32")
        reference, _ = self.load(dense)
        tokens = self.mx.array([[1, 20, 33, 47, 60, 99, 123]])
        found, expected = self.numpy(model(tokens)), self.numpy(reference(tokens))
        off, size = float(np.abs(found - expected).max()), float(np.abs(expected).max())
        # Activations and sums of 16 bits lose more than weights do; without them it is f32's own noise.
        allowed = {"f32": 1e-4, "f16": 0.02, "bf16": 0.2}[case.dtype] * size
        checks.check(off <= allowed, case.name, "logits in MLX", f"{off:.4g} of {size:.4g}", f"at most {allowed:.4g}")
        shutil.rmtree(dense)


# ---------------------------------------------------------------- refusals


def check_refusals(checks: Checks, models: Path, work: Path) -> None:
    """What a target does not hold is refused with the nearest, and accepted as that; nothing is left behind."""
    model = models / "refusals"
    make_llama.write(model, dtype="bf16")
    up, q = "model.layers.0.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.weight"
    both = ["model.layers.0.mlp.gate_proj.weight", up]
    for target, lines, nearest in [
        (CT, [f"{PROJ}=int3:g64"], "int4:g64"),
        (CT, [f"{PROJ}=int4:g64:asym"], "int4:g64"),
        (CT, [f"{PROJ}=nf4"], "int4:g64"),
        (CT, [f"{PROJ}=fp8_e5m2"], "fp8_e4m3:row"),
        (CT, ["lm_head.weight=int4:g64"], "keep"),
        (CT, ["model.embed_tokens.weight=prune:0.5+int8:row"], "prune:0.5"),
        (CT, ["model.norm.weight=int8:row"], "keep"),
        (CT, [f"{q}=int4:g128"], "keep"),
        (CT, [f"{both[0]}=int8:g128", f"{up}=int4:g128"], "int8:g128"),
        ("mlx", [f"{PROJ}=int4:row"], "int4:g128"),
        ("mlx", [f"{PROJ}=int7:g64"], "int8:g64"),
        ("mlx", [f"{PROJ}=nvfp4"], "int4:g32"),
        ("mlx", [f"{PROJ}=prune:0.5+int8:g64:asym"], "prune:0.5+int8:g64"),
        ("mlx", [f"{PROJ}=prune:0.5+int4:g64:asym"], "prune:0.5+int4:g64"),
    ]:
        case = f"refusals {target} {' '.join(lines)}"
        if not checks.wants(case):
            continue
        out = work / "refused"
        recipe = [*(f"--set={line}" for line in lines), "--target", target]
        run = checks.run(case, "export", model, *recipe, "-o", out, code=1)
        checks.check(f"the nearest it can hold is {nearest} " in run.stderr or f"the nearest for it is {nearest} " in run.stderr, case, "names the nearest", run.stderr, nearest)
        checks.check(not out.exists(), case, "leaves nothing behind")
        taken = checks.run(case, "estimate", model, *recipe, "--nearest", "--json").json
        if taken:
            stored = {t["stored_as"] for t in taken["tensors"] if t["scheme"] != "keep"}
            checks.equal(case, "stored_as", stored, {nearest})
        checks.run(case, "export", model, *recipe, "--nearest", "-o", out)
        checks.run(case, "verify", model, out)
        shutil.rmtree(out, ignore_errors=True)


def check_single_file(checks: Checks, models: Path, work: Path) -> None:
    """A model that is one file becomes a folder: with the config beside it, or with how its codes are read and nothing else."""
    case = "single file"
    if not checks.wants(case):
        return
    model, lone = models / "single", work / "lone"
    make_llama.write(model, dtype="f16")
    lone.mkdir()
    shutil.copy(model / "model.safetensors", lone / "m.safetensors")
    for target, line in [(CT, f"{PROJ}=int4:g128"), ("mlx", f"{PROJ}=int4:g64")]:
        out = work / "single-out"
        recipe = [f"--set={line}", "--target", target, "-o", out]
        checks.run(case, "export", model / "model.safetensors", *recipe)
        config = json.loads((out / "config.json").read_text())
        checks.check("quantization_config" in config and config["model_type"] == "llama", case, "the config beside it is taken")
        # That config is the model's own: nothing replaces it for a model without one.
        checks.run(case, "export", lone / "m.safetensors", *recipe, "--force", code=1)
        shutil.rmtree(out)
        checks.run(case, "export", lone / "m.safetensors", *recipe)
        checks.run(case, "export", lone / "m.safetensors", *recipe, code=1)
        run = checks.run(case, "export", lone / "m.safetensors", *recipe, "--force")
        checks.check("config.json" in run.stderr, case, "is told of the config", run.stderr)
        config = json.loads((out / "config.json").read_text())
        checks.check(set(config) <= {"quantization_config", "quantization"}, case, "nothing else is made up", config)
        checks.run(case, "verify", lone / "m.safetensors", out)
        shutil.rmtree(out)


def check_removed(checks: Checks, models: Path, work: Path) -> None:
    """Removing and quantizing at once is quantizing what was removed before: the same bytes, the same config."""
    case = "removed and quantized"
    if not checks.wants(case):
        return
    model = models / "removed"
    make_llama.write(model, "qwen3", "bf16")
    for target, scheme in [(CT, "int4:g128"), (CT, "nvfp4"), ("mlx", "int3:g32:asym")]:
        smaller, at_once, after = (work / name for name in ("smaller", "at-once", "after"))
        cuts = ["*self_attn*=heads:0.5", "*mlp*=ffn:0.25"]
        checks.run(case, "export", model, *(f"--set={cut}" for cut in cuts), "--target", "safetensors", "-o", smaller)
        both = (f"--set={cut}+{scheme}" for cut in cuts)
        checks.run(case, "export", model, *both, "--target", target, "-o", at_once)
        checks.run(case, "export", smaller, f"--set={PROJ}={scheme}", "--target", target, "-o", after)
        one, two = read_folder(at_once)[0], read_folder(after)[0]
        checks.equal(case, f"{target}: names", sorted(one), sorted(two))
        other = [name for name, array in one.items() if array.tobytes() != two[name].tobytes()]
        checks.equal(case, f"{target} {scheme}: tensors with other bytes", other, [])
        configs = [json.loads((folder / "config.json").read_text()) for folder in (at_once, after)]
        checks.equal(case, f"{target}: config", configs[0], configs[1])
        checks.equal(case, "heads and hidden units", [configs[0][k] for k in ("num_attention_heads", "intermediate_size")], [2, 384])
        checks.run(case, "verify", model, at_once)
        for folder in (smaller, at_once, after):
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--models", type=Path, help="where to write the models (default: a temporary folder)")
    parser.add_argument("--only", help="only the cases whose name contains this")
    parser.add_argument("--without-mlx", action="store_true", help="leave out what MLX itself reads")
    args = parser.parse_args()
    checks = Checks(args.binary, args.only)
    mlx = None if args.without_mlx else Mlx()
    with tempfile.TemporaryDirectory(prefix="spokeshave-runtimes-") as folder:
        work = Path(folder)
        models = args.models or work / "models"
        models.mkdir(exist_ok=True)
        for case in CASES:
            if checks.wants(case.name):
                try:
                    check_case(checks, case, models, work, mlx)
                except Exception as error:  # noqa: BLE001  (whatever a reader trips over is the finding)
                    checks.check(False, case.name, "the check itself ran to its end", repr(error), "no exception")
                    shutil.rmtree(work / "out", ignore_errors=True)
        check_refusals(checks, models, work)
        check_single_file(checks, models, work)
        check_removed(checks, models, work)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
