"""Recipes that have a name, worked out a second time: ERK and LAMP from their papers, the ladders from their rates."""

from __future__ import annotations

import math
import tomllib
from fractions import Fraction
from pathlib import Path

import numpy as np

from arrays import F32
from harness import Checks
from make_models import file_bytes
from pruning import prune_count


def erk(shapes: list[tuple], share: Fraction) -> list[float]:
    """RigL's densities: a layer keeps eps * sum(shape) / prod(shape), the fullest are made dense until none is above 1."""
    total = sum(math.prod(s) for s in shapes)
    kept = total - prune_count(share, total)
    dense: set[int] = set()
    while True:
        rest = [i for i in range(len(shapes)) if i not in dense]
        if not rest:
            return [1.0] * len(shapes)
        left = kept - sum(math.prod(shapes[i]) for i in dense)
        eps = left / sum(sum(shapes[i]) for i in rest)
        density = {i: eps * sum(shapes[i]) / math.prod(shapes[i]) for i in rest}
        top = max(density.values())
        if top <= 1:
            return [density.get(i, 1.0) for i in range(len(shapes))]
        dense |= {i for i in rest if density[i] == top}


def lamp(matrices: list[np.ndarray], share: Fraction) -> list[int]:
    """How many weights of each matrix go: all scores w^2 / (sum of squares of those at least as large), sorted."""
    scores, owners = [], []
    for m, matrix in enumerate(matrices):
        squares = np.sort(np.abs(matrix.astype("f8")).reshape(-1)) ** 2
        left = np.cumsum(squares[::-1])[::-1]
        scores.append(np.divide(squares, left, out=np.zeros_like(squares), where=left > 0))
        owners.append(np.full(squares.size, m))
    scores, owners = np.concatenate(scores), np.concatenate(owners)
    chosen = owners[np.argsort(scores, kind="stable")[: prune_count(share, scores.size)]]
    return np.bincount(chosen, minlength=len(matrices)).tolist()


def model_of(r) -> dict[str, np.ndarray]:
    """A small convolutional net with heavy tails; its output is the last to be counted, not the last by bytes."""
    shapes = {
        "conv1.weight": (16, 3, 3, 3),
        "conv2.weight": (32, 16, 3, 3),
        "fc9.weight": (64, 512),
        "fc10.weight": (10, 64),
    }
    return {n: (r.standard_t(4, s) * r.uniform(0.01, 3)).astype(F32) for n, s in shapes.items()} | {
        "fc9.bias": np.ones(64, F32)
    }


def shares_of(text: str) -> dict[str, str]:
    return {item["tensor"]: item["scheme"] for item in tomllib.loads(text)["override"]}


def check_presets(checks: Checks, work: Path) -> None:
    case = "presets shares"
    folder, r = work / "presets", np.random.default_rng(21)
    folder.mkdir()
    model = model_of(r)
    source = folder / "net.safetensors"
    source.write_bytes(file_bytes(model, None))
    names = sorted(n for n in model if n.endswith("weight"))
    sizes = [model[n].size for n in names]

    def told(*words) -> dict[str, int]:
        """How many elements of each matrix the preset's recipe zeroes."""
        out = folder / "recipe.toml"
        made = checks.run(case, "preset", words[0], source, *words[1:], "-o", out, "--force", "--json").json
        checks.equal(case, f"{words}: file and document", made and made["recipe"], out.read_text())
        estimate = checks.run(case, "estimate", source, "--recipe", out, "--json").json
        return {t["name"]: t["zeros"] for t in estimate["tensors"] if t["name"] in names}

    for share in ("0.5", "0.9", "0.987", "0", "1"):
        fraction = Fraction(share)
        wanted = [n - round(d * n) for n, d in zip(sizes, erk([model[n].shape for n in names], fraction))]
        checks.equal(case, f"erk {share}", list(told("erk", "--share", share).values()), wanted)
        wanted = lamp([model[n] for n in names], fraction)
        checks.equal(case, f"lamp {share}", list(told("lamp", "--share", share).values()), wanted)
        wanted = [prune_count(fraction, n) for n in sizes]
        checks.equal(case, f"uniform {share}", list(told("uniform", "--share", share).values()), wanted)
        found = told("global", "--share", share)
        checks.equal(case, f"global {share}", sum(found.values()), prune_count(fraction, sum(sizes)))
    # The output goes at half the rate, convolutions at 10 %.
    rates = {"conv1.weight": 0.9, "conv2.weight": 0.9, "fc9.weight": 0.8, "fc10.weight": 0.9}
    for rounds in (1, 3, 12):
        found = told("lottery-ticket", "--round", rounds)
        wanted = {n: math.floor((1 - rates[n] ** rounds) * model[n].size + 0.5) for n in names}
        checks.equal(case, f"lottery-ticket {rounds}", found, wanted)
        found = told("renda", "--round", rounds)
        checks.equal(case, f"renda {rounds}", sum(found.values()), math.floor((1 - 0.8**rounds) * sum(sizes) + 0.5))
    for words, code in (
        (["lamp"], 1),
        (["renda", "--share", "0.5"], 1),
        (["erk", "--share", "1.5"], 2),
        (["nosuch"], 2),
        (["deep-compression"], 1),
        (["ternarybert"], 1),
    ):
        checks.run(case, "preset", words[0], source, *words[1:], "--json", code=code)
    checks.run(case, "preset", "uniform", source, "--share", "0.5", "-o", source, "--force", "--json", code=1)


def check_mixes(checks: Checks, models: dict) -> None:
    """Schemes that papers gave to named networks."""
    case = "presets mixes"
    made = checks.run(case, "preset", "deep-compression", "demo", "--json").json
    wanted = {
        "fc1.weight": "prune:0.92+codebook:64",
        "fc2.weight": "prune:0.91+codebook:64",
        "fc3.weight": "prune:0.74+codebook:64",
    }
    checks.equal(case, "deep compression", made and shares_of(made["recipe"]), wanted)
    source, bert = models["bert"][0], models["bert"][1]
    made = checks.run(case, "preset", "q8bert", source, "--json").json
    found = shares_of(made["recipe"]) if made else {}
    embeddings = {n for n in bert.tensors if "embeddings.weight" in n}
    wanted = set(bert.weights) | embeddings
    checks.equal(case, "q8bert: matrices and embeddings", set(found), wanted)
    checks.equal(case, "q8bert: one scale each", set(found.values()), {"int8:tensor"})
    made = checks.run(case, "preset", "ternarybert", source, "--json").json
    found = shares_of(made["recipe"]) if made else {}
    words = [n for n in bert.tensors if "word_embeddings" in n]
    checks.equal(case, "ternarybert: a scale per word", {n for n, s in found.items() if s == "ternary:row"}, set(words))
    layers = {n for n in bert.weights if ".layer." in n}
    checks.equal(case, "ternarybert: layers", {n for n, s in found.items() if s == "ternary"}, layers)


def jobs(models: dict, work: Path) -> dict[str, tuple]:
    """name -> function and its arguments after `checks`."""
    return {"presets shares": (check_presets, work), "presets mixes": (check_mixes, models)}
