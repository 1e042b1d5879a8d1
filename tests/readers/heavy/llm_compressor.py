"""llm-compressor itself over the recipes that Spokeshave writes for it: the folder it makes has the layers, forms and sizes of our own.

    python llm_compressor.py --binary target/release/spokeshave [--only SUBSTRING]

Every compressed-tensors case of ../runtimes.py: `recipe --for llm-compressor` goes into `llmcompressor.oneshot` without data, or is
refused by name where llm-compressor has no words for the choice. What it saves is compared with what `export` writes: which tensors
there are, their dtypes and shapes, and for each layer the settings that the two configs give it. Scales are its own, and so are the
values. Not part of .ci/run (see README.md here). The last line is `N passed, N failed`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "tools")]

import torch  # noqa: E402
from compressed_tensors.quantization import QuantizationConfig  # noqa: E402
from compressed_tensors.utils.match import match_name  # noqa: E402
from llmcompressor import oneshot  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

import make_llama  # noqa: E402
from harness import Checks  # noqa: E402
from runtimes import CASES, CT  # noqa: E402
from transformers_models import folder_tensors, run  # noqa: E402

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# What the modifier has no words for, as the refusal spells it.
NO_WORDS = {"prune": "prune", "nm:": "nm:", ":mse": "a searched clip", ":p99": "a percentile range", "=bf16": "bf16 on", "=f16": "f16 on"}


def settings(folder: Path) -> dict[str, dict]:
    """For each quantized layer what the config says of it: of weights and activations, without what says nothing."""
    config = QuantizationConfig.model_validate(json.loads((folder / "config.json").read_text())["quantization_config"])
    out = {}
    for name in folder_tensors(folder):
        module, _, part = name.rpartition(".")
        if part != "weight_scale":
            continue
        groups = [group for group in config.config_groups.values() if any(t == "Linear" or match_name(module, t) for t in group.targets)]
        assert len(groups) == 1, f"{module} is in {len(groups)} groups"
        form = groups[0].format or config.format
        said = {"format": getattr(form, "value", form)}
        for key in ("weights", "input_activations"):
            args = getattr(groups[0], key)
            if args is not None:
                fields = ("num_bits", "type", "symmetric", "strategy", "group_size", "dynamic")
                said[key] = {field: getattr(getattr(args, field), "value", getattr(args, field)) for field in fields}
        out[module] = said
    return out


def listed(folder: Path) -> dict[str, tuple]:
    """Every tensor but the head, which may be one with the embedding."""
    return {name: (str(t.dtype), tuple(t.shape)) for name, t in folder_tensors(folder).items() if name != "lm_head.weight"}


def check_case(checks: Checks, case, models: Path, work: Path) -> None:
    model = models / f"{case.family}-{case.dtype}-{case.tied}-{case.shards}"
    if not model.exists():
        make_llama.write(model, case.family, case.dtype, case.tied, case.shards)
    ask = [*(f"--set={line}" for line in case.lines), "--target", CT]
    recipe, theirs, ours = work / "recipe.yaml", work / "theirs", work / "ours"
    wordless = next((said for mark, said in NO_WORDS.items() if any(mark in line for line in case.lines)), None)
    told = checks.run(case.name, "recipe", model, *ask, "--for", "llm-compressor", "-o", recipe, "--force", code=1 if wordless else 0)
    if wordless:
        checks.check(f"no words for {wordless}" in told.stderr, case.name, "what it has no words for is named", told.stderr, wordless)
        return
    if checks.run(case.name, "export", model, *ask, "-o", ours, "--json").json is None:
        return
    network = AutoModelForCausalLM.from_pretrained(model, dtype=DTYPES[case.dtype])
    oneshot(model=network, recipe=str(recipe), output_dir=str(theirs))
    checks.equal(case.name, "tensors with their dtypes and shapes", listed(theirs), listed(ours))
    checks.equal(case.name, "settings of each layer", settings(theirs), settings(ours))
    size = lambda folder: sum(t.nbytes for name, t in folder_tensors(folder).items() if name != "lm_head.weight")  # noqa: E731
    checks.equal(case.name, "bytes of all tensors", size(theirs), size(ours))
    print(f"  {case.name}: {len(settings(theirs))} layers", flush=True)


if __name__ == "__main__":
    sys.exit(run([(check_case, case) for case in CASES if case.target == CT], ("theirs", "ours")))
