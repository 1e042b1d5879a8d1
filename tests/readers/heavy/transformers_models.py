"""transformers and compressed-tensors themselves over Spokeshave's folders: they load, decompress to the bit, and run.

    python transformers_models.py --binary target/release/spokeshave [--only SUBSTRING]

Two parts. Every compressed-tensors case of ../runtimes.py: each module through the library's own decompressor, then the whole model,
its logits beside those of a dense model with the values that the contract says. And folders with heads, hidden units, rows or columns
taken out: the smaller network beside the whole one with the same parts zeroed by hand. Not part of .ci/run: torch alone is half
a gigabyte (see README.md here). The last line is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
os.environ |= {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "tools")]

import torch  # noqa: E402
from compressed_tensors.compressors import BaseCompressor  # noqa: E402
from compressed_tensors.quantization import QuantizationConfig  # noqa: E402
from compressed_tensors.utils.match import match_name  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel  # noqa: E402

import make_llama  # noqa: E402
from arrays import F32, wide  # noqa: E402
from harness import Checks  # noqa: E402
from runtimes import CASES, CT, NOT_WEIGHTS, is_coded, read_folder, scheme_of, wanted  # noqa: E402
from schemes import parse  # noqa: E402

TOKENS = torch.tensor([[1, 20, 33, 47, 60, 99, 123]])
FP4 = ("mxfp4", "nvfp4")


def folder_tensors(folder: Path) -> dict[str, torch.Tensor]:
    out: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        out |= load_file(file)
    return out


def load(folder: Path, cls=AutoModelForCausalLM, dtype=torch.float32):
    """The model, and what transformers had to say of its weights."""
    model, info = cls.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    told = {key: sorted(map(str, value)) for key, value in info.items() if value and key != "error_msgs"}
    return model.eval(), told


def answer(model) -> torch.Tensor:
    with torch.no_grad():
        out = model(TOKENS)
    return (out.logits if hasattr(out, "logits") else out.last_hidden_state).float()


# ---------------------------------------------------------------- compressed-tensors


def decompressed(folder: Path) -> dict[str, np.ndarray]:
    """Every quantized weight as the library reads it, in f32."""
    config = QuantizationConfig.model_validate(json.loads((folder / "config.json").read_text())["quantization_config"])
    tensors, out = folder_tensors(folder), {}
    for module in sorted({name.rsplit(".", 1)[0] for name in tensors if name.endswith("weight_scale")}):
        of_module = [s for s in config.config_groups.values() if any(t == "Linear" or match_name(module, t) for t in s.targets)]
        assert len(of_module) == 1 and not any(match_name(module, t) for t in config.ignore), f"{module} is in {len(of_module)} groups"
        form = of_module[0].format or config.format
        reader = BaseCompressor.get_value_from_registry(getattr(form, "value", form))
        state = {name.rsplit(".", 1)[1]: t for name, t in tensors.items() if name.rsplit(".", 1)[0] == module}
        out[f"{module}.weight"] = reader.decompress(state, of_module[0])["weight"].float().numpy()
    return out


def check_compressed(checks: Checks, case, models: Path, work: Path) -> None:
    model = models / f"{case.family}-{case.dtype}-{case.tied}-{case.shards}"
    if not model.exists():
        make_llama.write(model, case.family, case.dtype, case.tied, case.shards)
    out = work / "out"
    recipe = [*(f"--set={line}" for line in case.lines), "--target", CT]
    if checks.run(case.name, "export", model, *recipe, "-o", out, "--json").json is None:
        return
    source, found = read_folder(model)[0], decompressed(out)
    coded = [name for name, weight in source.items() if is_coded(case.lines, name, weight)]
    checks.equal(case.name, "modules that the library finds", sorted(found), sorted(coded))
    values = {name: wide(weight).reshape(weight.shape) for name, weight in source.items()}
    for name, weight in source.items():
        scheme = parse(scheme_of(case.lines, name, weight))
        if name in coded:
            values[name] = wanted(weight, scheme, name).values
            # The library gives 4-bit floats in bf16.
            exact = torch.tensor(values[name]).bfloat16().float().numpy() if scheme.form in FP4 else values[name]
            off = np.abs(found[name] - exact)
            bound = np.abs(exact) * 2.0**-7 if scheme.form == "nvfp4" else 0
            checks.check(bool((off <= bound).all()), case.name, f"{name}: values from the library", off.max(), "q")
        elif scheme.cast:
            values[name] = wide(folder_tensors(out)[name].float().numpy()).reshape(weight.shape)
    schemes = {parse(scheme_of(case.lines, name, source[name])).form for name in coded}
    dtype = torch.bfloat16 if schemes & set(FP4) else torch.float32
    network, told = load(out, dtype=dtype)
    checks.equal(case.name, "what transformers misses or does not know", told, {})
    dense = work / "dense"
    shutil.copytree(out, dense, ignore=shutil.ignore_patterns("*.safetensors", "*.index.json"))
    config = json.loads((dense / "config.json").read_text())
    config.pop("quantization_config")
    (dense / "config.json").write_text(json.dumps(config))
    save_file({name: torch.tensor(array) for name, array in values.items()}, dense / "model.safetensors", {"format": "pt"})
    reference, _ = load(dense)
    expected, got = answer(reference), answer(network)
    off, size = float((got - expected).abs().max()), float(expected.abs().max())
    # FP8 rounds activations to 3 bits as well, int8 to 8 where it is told to; layers with scales of 16 bits round all that goes through them.
    narrow = "bf16" if dtype == torch.bfloat16 else case.dtype
    a8 = any(line.endswith(":a8") for line in case.lines)
    allowed = size * (0.25 if "fp8_e4m3" in schemes else 0.12 if a8 else {"f32": 1e-4, "f16": 0.02, "bf16": 0.12}[narrow])
    print(f"  {case.name}: {len(coded)} modules, logits off by {off:.3g} of {size:.3g}", flush=True)
    checks.check(off <= allowed, case.name, "logits in transformers", f"{off:.4g} of {size:.4g}", f"at most {allowed:.4g}")
    words = [AutoTokenizer.from_pretrained(folder)("w20 w33")["input_ids"] for folder in (out, model)]
    checks.equal(case.name, "the tokenizer came along", words[0], words[1])
    shutil.rmtree(dense)
    shutil.rmtree(out)


# ---------------------------------------------------------------- what is removed


@dataclass
class Removal:
    family: str
    lines: list[str]
    smaller: bool  # whether something is removed, rather than zeroed
    tied: bool = False

    @property
    def name(self) -> str:
        return f"removed {self.family} {' '.join(self.lines)}"


REMOVALS = [
    *(
        Removal(family, lines, smaller)
        for family in ("llama", "mistral", "qwen2", "qwen3")
        for lines, smaller in [
            (["*self_attn*=heads:0.25"], True),
            (["*mlp*=ffn:0.25"], True),
            (["*self_attn*=heads:0.5", "*mlp*=ffn:0.3"], True),
            (["*up_proj.weight=rows:0.25"], True),
            (["*down_proj.weight=cols:0.25"], True),
            (["*q_proj.weight=rows:0.25"], False),
            (["*o_proj.weight=rows:0.1"], False),
            (["model.layers.0.mlp.up_proj.weight=ffn:0.25"], False),
        ]
    ),
    Removal("qwen3", ["*mlp*=ffn:0.25+bf16", "*self_attn*=heads:0.5"], True, tied=True),
    *(
        Removal("bert", lines, smaller)
        for lines, smaller in [
            (["*intermediate.dense.weight=ffn:0.25"], True),
            (["*attention*=heads:0.25"], False),
            (["*intermediate.dense.weight=rows:0.5"], True),
            (["*output.dense.weight=cols:0.25"], None),
        ]
    ),
]


def write_bert(folder: Path) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    BertModel(BertConfig(vocab_size=320, max_position_embeddings=64, **shape)).save_pretrained(folder)


def kept(whole: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Which rows of a matrix are left, by their bytes; a matrix with other columns by the most alike."""
    places, at = [], 0
    for row in part:
        while not np.array_equal(whole[at], row):
            at += 1
        places.append(at)
        at += 1
    return np.array(places, int)


def zeroed(source: dict, pruned: dict) -> dict[str, np.ndarray]:
    """The source with zeros where the artifact has nothing, and the artifact's own values where it has something."""
    out = {}
    for name, whole in source.items():
        part = pruned[name]
        if part.shape == whole.shape:
            out[name] = part
            continue
        full = np.zeros_like(whole)
        if whole.ndim == 1:
            full[kept(whole, part)] = part
        elif part.shape[1] == whole.shape[1]:
            full[kept(whole, part)] = part
        elif part.shape[0] == whole.shape[0]:
            full[:, kept(whole.T, part.T)] = part
        else:
            raise AssertionError(f"{name}: {whole.shape} became {part.shape}")
        out[name] = full
    return out


def check_removal(checks: Checks, case: Removal, models: Path, work: Path) -> None:
    model = models / f"removed-{case.family}-{case.tied}"
    cls = AutoModel if case.family == "bert" else AutoModelForCausalLM
    if not model.exists():
        write_bert(model) if case.family == "bert" else make_llama.write(model, case.family, tied=case.tied)
    out, whole = work / "smaller", work / "whole"
    report = checks.run(case.name, "export", model, *(f"--set={line}" for line in case.lines), "--target", "safetensors", "-o", out, "--json")
    if report.json is None:
        return
    numbers = lambda folder: {name: t.float().numpy() for name, t in folder_tensors(folder).items()}
    source, pruned = numbers(model), numbers(out)
    smaller = any(pruned[name].shape != array.shape for name, array in source.items())
    if case.smaller is not None:
        checks.equal(case.name, "something is removed", smaller, case.smaller)
    checks.check(any(not np.array_equal(pruned[name], array) for name, array in source.items()), case.name, "something is done")
    network, told = load(out, cls)
    checks.equal(case.name, "what transformers misses or does not know", told, {})
    shutil.copytree(model, whole)
    # What is cast besides is cast in the whole one too: a bf16 row is found by its value.
    if any("bf16" in line for line in case.lines):
        for name in source:
            if "mlp" in name:
                source[name] = torch.tensor(source[name]).bfloat16().float().numpy()
    save_file({n: torch.tensor(a) for n, a in zeroed(source, pruned).items()}, whole / "model.safetensors", {"format": "pt"})
    reference, _ = load(whole, cls)
    expected, got = answer(reference), answer(network)
    off, size = float((got - expected).abs().max()), float(expected.abs().max())
    print(f"  {case.name}: {'removed' if smaller else 'zeroed'}, off by {off:.3g} of {size:.3g}", flush=True)
    checks.check(off <= 1e-4 * size, case.name, "answers of the smaller network", f"{off:.4g} of {size:.4g}")
    shutil.rmtree(out)
    shutil.rmtree(whole)


def run(jobs, left: tuple[str, ...]) -> int:
    """Every job `(check, case)` that the command line asks for, each in an emptied folder."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--only", help="only the cases whose name contains this")
    args = parser.parse_args()
    checks = Checks(args.binary, args.only)
    with tempfile.TemporaryDirectory(prefix="spokeshave-heavy-") as folder:
        work = Path(folder)
        models = work / "models"
        models.mkdir()
        for job, case in jobs:
            if not checks.wants(case.name):
                continue
            try:
                job(checks, case, models, work)
            except Exception as error:  # noqa: BLE001  (whatever a reader trips over is the finding)
                checks.check(False, case.name, "the check itself ran to its end", repr(error), "no exception")
            for name in left:
                shutil.rmtree(work / name, ignore_errors=True)
    return checks.finish()


def main() -> int:
    jobs = [(check_compressed, case) for case in CASES if case.target == CT] + [(check_removal, case) for case in REMOVALS]
    return run(jobs, ("out", "dense", "smaller", "whole"))


if __name__ == "__main__":
    sys.exit(main())
