"""Rows, columns, heads and hidden units that are removed or zeroed, worked out in numpy from the contract.

Which tensors share a dimension is written down here by hand, model by model: nothing is asked of the program. A unit goes
when the sum of squares of its rows and columns is among the floor(P*count + 1/2) smallest, of equals the first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from arrays import F64, errors, fidelity, wide
from definitions import Expected, apply, keep
from harness import TARGETS, Checks, check_estimate, check_values, read_artifact, size_on_disk
from make_models import BF16, F16, Model, file_bytes, llama_projections, normal
from pruning import prune, prune_count
from schemes import parse, touches


def numbers(array: np.ndarray) -> np.ndarray:
    return wide(array).astype(F64).reshape(array.shape)


@dataclass
class Cut:
    """A dimension that loses units: which fraction, ranked by what, out of which tensors, or only zeroed there."""

    fraction: str
    units: int
    ranked_by: list[tuple[str, int]]
    parts: list[tuple[str, int]]
    zeroed: bool = False
    width: dict[str, int] = field(default_factory=dict)  # indices of one unit in a tensor, where it is not one

    def indices(self, part: tuple[str, int], units: np.ndarray) -> np.ndarray:
        width = self.width.get(part[0], 1)
        return (units[:, None] * width + np.arange(width)).reshape(-1)

    def gone(self, tensors: dict[str, np.ndarray]) -> np.ndarray:
        sums = np.zeros(self.units)
        for name, axis in self.ranked_by:
            squares = numbers(tensors[name]) ** 2
            squares = np.where(np.isfinite(squares), squares, 0)
            lines = squares.sum(axis=tuple(i for i in range(squares.ndim) if i != axis))
            sums += lines.reshape(self.units, -1).sum(1)
        k = prune_count(Fraction(self.fraction), self.units)
        return np.sort(np.argsort(sums, kind="stable")[:k])


@dataclass
class Case:
    """Lines for the command, the schemes that tensors are left with besides, and what is cut."""

    lines: list[str]
    cuts: list[Cut]
    rest: dict[str, str] = field(default_factory=dict)
    config: dict[str, int] = field(default_factory=dict)


def expect_cut(model: Model, case: Case, target: str) -> Expected:
    out = Expected()
    split = [tuple(line.rsplit("=", 1)) for line in case.lines]
    gone = [cut.gone(model.tensors) for cut in case.cuts]
    for name in sorted(model.tensors, key=lambda n: n.encode()):
        source = model.tensors[name]
        whole, left, touched = numbers(source), source, False
        removed, zeroed = {}, {}
        for cut, units in zip(case.cuts, gone):
            for part in (p for p in cut.parts if p[0] == name):
                (zeroed if cut.zeroed else removed)[part[1]] = cut.indices(part, units)
                touched = True
        for axis, at in zeroed.items():
            left = np.moveaxis(left.copy(), axis, 0)
            left[at] = 0
            left = np.moveaxis(left, 0, axis)
        for axis, at in removed.items():
            left, whole = np.delete(left, at, axis), np.delete(whole, at, axis)
        scheme = next((parse(s) for p, s in reversed(list(case.rest.items())) if touches(p, name, "F32", True)), parse("keep"))
        asked = [s for p, s in split if touches(p, name, "F32", name in model.weights)]
        if not touched and scheme.keeps:
            out.tensors[name] = keep(source)
            continue
        left = np.ascontiguousarray(left)
        outcome = apply(name, left, prune(left, scheme, name) if scheme.prunes else left, scheme, target)
        # What is gone counts as error in full: laid behind what remains, against zeros.
        rest = np.concatenate([whole.reshape(-1), _removed(source, removed)])
        final = np.concatenate([wide(outcome.stored).astype(F64).reshape(-1), np.zeros(rest.size - whole.size)])
        scored = errors(rest, final) | {"zeros": outcome.zeros}
        out.tensors[name] = replace(outcome, **scored, scheme=asked[-1] if asked else "keep")
    out.fidelity = fidelity([out.tensors[n].t2 for n, a in model.tensors.items() if a.ndim >= 2])
    return out


def _removed(source: np.ndarray, removed: dict[int, np.ndarray]) -> np.ndarray:
    stays = np.ones(source.shape, bool)
    for axis, at in removed.items():
        np.moveaxis(stays, axis, 0)[at] = False
    return numbers(source)[~stays]


# ---------------------------------------------------------------- models and what they share


def scaled(r, array: np.ndarray, axis: int = 0) -> np.ndarray:
    """Lines of different size, so that there is something to choose."""
    shape = [1] * array.ndim
    shape[axis] = array.shape[axis]
    return (numbers(array) * r.uniform(0.3, 3, shape)).astype(array.dtype)


def mlp(r) -> Model:
    m = Model()
    for layer, (rows, cols) in enumerate(((40, 30), (21, 40), (5, 21)), 1):
        m.add(f"fc{layer}.weight", scaled(r, scaled(r, normal(r, rows, cols)), 1))
        m.add(f"fc{layer}.bias", normal(r, rows))
    m.tensors["fc2.weight"][:, 7] = 0  # ties: of equal units the first goes
    m.tensors["fc2.weight"][:, 9] = 0
    m.tensors["fc2.weight"][3, 4] = np.nan
    return m


def both(layer: int) -> list[tuple[str, int]]:
    return [(f"fc{layer}.weight", 0), (f"fc{layer}.bias", 0), (f"fc{layer + 1}.weight", 1)]


MLP = [
    Case(["fc1.weight=rows:0.3"], [Cut("0.3", 40, [("fc1.weight", 0)], both(1))]),
    Case(
        ["fc3.weight=cols:0.5+int4:g32", "fc1.weight=int8"],
        [Cut("0.5", 21, [("fc3.weight", 1)], both(2))],
        {"fc3.weight": "int4:g32", "fc1.weight": "int8"},
    ),
    Case(["fc2.weight=cols:0.05"], [Cut("0.05", 40, [("fc2.weight", 1)], both(1))]),
    Case(
        ["*=rows:0.25"],
        [
            Cut("0.25", 40, [("fc1.weight", 0)], both(1)),
            Cut("0.25", 21, [("fc2.weight", 0)], both(2)),
            Cut("0.25", 5, [("fc3.weight", 0)], [("fc3.weight", 0)], zeroed=True),
        ],
    ),
    Case(["fc1.weight=cols:0.2"], [Cut("0.2", 30, [("fc1.weight", 1)], [("fc1.weight", 1)], zeroed=True)]),
    Case(
        ["*=prune:0.4", "fc1.weight=rows:0.5+int3:row:asym"],
        [Cut("0.5", 40, [("fc1.weight", 0)], both(1))],
        {"fc[23].weight": "prune:0.4", "fc1.weight": "int3:row:asym"},
    ),
]


def convs(r) -> Model:
    m, channels = Model(), (3, 8, 12)
    for i in (0, 1):
        m.add(f"features.{3 * i}.weight", scaled(r, scaled(r, normal(r, channels[i + 1], channels[i], 3, 3)), 1))
        m.add(f"features.{3 * i}.bias", normal(r, channels[i + 1]))
        for part in ("weight", "bias", "running_mean", "running_var"):
            m.add(f"features.{3 * i + 1}.{part}", 1 + normal(r, channels[i + 1]))
        m.add(f"features.{3 * i + 1}.num_batches_tracked", np.array(1000, "i8"))
    m.add("classifier.weight", scaled(r, normal(r, 10, 12 * 4, dtype=F16), 1))
    m.add("classifier.bias", normal(r, 10, dtype=F16))
    return m


def after(conv: int, consumer: str) -> list[tuple[str, int]]:
    norm = [(f"features.{conv + 1}.{p}", 0) for p in ("weight", "bias", "running_mean", "running_var")]
    return [(f"features.{conv}.weight", 0), (f"features.{conv}.bias", 0), *norm, (consumer, 1)]


CONVS = [
    Case(["features.0.weight=rows:0.5"], [Cut("0.5", 8, [("features.0.weight", 0)], after(0, "features.3.weight"))]),
    Case(["features.3.weight=cols:0.25"], [Cut("0.25", 8, [("features.3.weight", 1)], after(0, "features.3.weight"))]),
    Case(
        ["features.3.weight=rows:0.34+int8", "classifier.weight=int4:g32"],
        [Cut("0.34", 12, [("features.3.weight", 0)], after(3, "classifier.weight"), width={"classifier.weight": 4})],
        {"features.3.weight": "int8", "classifier.weight": "int4:g32"},
    ),
    Case(
        ["features.0.weight=rows:0.5+nf4", "features.3.weight=codebook:16", "classifier.weight=fp8_e4m3:row"],
        [Cut("0.5", 8, [("features.0.weight", 0)], after(0, "features.3.weight"))],
        {"features.0.weight": "nf4", "features.3.weight": "codebook:16", "classifier.weight": "fp8_e4m3:row"},
    ),
    # Four columns belong to one channel: single ones are zeroed alone.
    Case(
        ["classifier.weight=cols:0.1"],
        [Cut("0.1", 48, [("classifier.weight", 1)], [("classifier.weight", 1)], zeroed=True)],
    ),
]


def llama(r) -> Model:
    m, h = Model(), 32
    m.add("model.embed_tokens.weight", normal(r, 70, h, dtype=BF16))
    for layer in range(2):
        p = f"model.layers.{layer}."
        for part, shape in llama_projections(h, 50):
            m.add(f"{p}{part}.weight", scaled(r, scaled(r, normal(r, *shape, dtype=BF16)), 1))
        for part, n in (("q", h), ("k", 16), ("v", 16)):
            m.add(f"{p}self_attn.{part}_proj.bias", normal(r, n, dtype=BF16))
        m.add(p + "input_layernorm.weight", 1 + normal(r, h, dtype=np.float32).astype(BF16))
    m.shards = 2
    return m


CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 32,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 50,
    "rms_norm_eps": 1e-06,
}


def ffn(layer: int, fraction: str, **more) -> Cut:
    p = f"model.layers.{layer}.mlp."
    parts = [(p + "gate_proj.weight", 0), (p + "up_proj.weight", 0), (p + "down_proj.weight", 1)]
    return Cut(fraction, 50, parts, parts, **more)


def heads(layer: int, fraction: str) -> Cut:
    """Four groups of keys and values of four, each with two queries."""
    p = f"model.layers.{layer}.self_attn."
    weights = [(p + "q_proj.weight", 0), (p + "k_proj.weight", 0), (p + "v_proj.weight", 0), (p + "o_proj.weight", 1)]
    biases = [(p + f"{x}_proj.bias", 0) for x in "qkv"]
    width = {name: 8 if "q_proj" in name or "o_proj" in name else 4 for name, _ in weights + biases}
    return Cut(fraction, 4, weights, weights + biases, width=width)


LLAMA = [
    Case(["*mlp*=ffn:0.3"], [ffn(0, "0.3"), ffn(1, "0.3")], config={"intermediate_size": 35}),
    Case(
        ["*gate_proj.weight=ffn:0.5", "*down_proj.weight=int4:g32"],
        [ffn(0, "0.5"), ffn(1, "0.5")],
        {"*down_proj.weight": "int4:g32"},
        {"intermediate_size": 25},
    ),
    Case(
        ["*self_attn.*=heads:0.25+int8"],
        [heads(0, "0.25"), heads(1, "0.25")],
        {"*_proj.weight": "int8", "*mlp*": "keep"},
        {"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 4},
    ),
    Case(["model.layers.1.mlp.up_proj.weight=ffn:0.1"], [ffn(1, "0.1", zeroed=True)]),
    # What others zero stays 0, and fits are over the rest.
    Case(
        [
            "model.layers.1.mlp.up_proj.weight=ffn:0.3",
            "*.1.mlp.down_proj.weight=codebook:8:row",
            "*.1.mlp.gate_proj.weight=ternary:row",
        ],
        [ffn(1, "0.3", zeroed=True)],
        {"*.1.mlp.down_proj.weight": "prune:0+codebook:8:row", "*.1.mlp.gate_proj.weight": "prune:0+ternary:row"},
    ),
    Case(
        ["*.0.mlp.up_proj.weight=cols:0.25", "*.1.self_attn.o_proj.weight=rows:0.25"],
        [
            Cut("0.25", 32, [(name, axis)], [(name, axis)], zeroed=True)
            for name, axis in (("model.layers.0.mlp.up_proj.weight", 1), ("model.layers.1.self_attn.o_proj.weight", 0))
        ],
    ),
]


# ---------------------------------------------------------------- the check


def check_structured(checks: Checks, work: Path) -> None:
    """Every model above under every case, in both targets."""
    for build, cases in ((mlp, MLP), (convs, CONVS), (llama, LLAMA)):
        model = build(np.random.default_rng(len(cases)))
        path = work / f"structured-{build.__name__}{'' if model.shards else '.safetensors'}"
        if model.shards:
            path.mkdir()
            (path / "model.safetensors").write_bytes(file_bytes(model.tensors, model.metadata))
            (path / "config.json").write_text(json.dumps(CONFIG, indent=2))
        else:
            path.write_bytes(file_bytes(model.tensors, model.metadata))
        for number, case in enumerate(cases):
            for target in TARGETS:
                check_case(checks, f"structured {build.__name__} {' '.join(case.lines)} [{target}]", path, model, case, target, work / f"{path.name}-{number}-{target}")


def check_case(checks: Checks, name: str, path: Path, model: Model, case: Case, target: str, out: Path) -> None:
    if not checks.wants(name):
        return
    expected = expect_cut(model, case, target)
    recipe = [*(f"--set={line}" for line in case.lines), "--target", target]
    report = checks.run(name, "estimate", path, *recipe, "--json").json
    if report:
        check_estimate(checks, name, report, path, model.tensors, expected, target)
        said = [t["name"] for t in report["tensors"] if t["note"]]
        cut = sorted({part[0] for c in case.cuts for part in c.parts}, key=lambda n: n.encode())
        checks.check(set(cut) <= set(said), name, "what is cut is said in its row", said, cut)
    exported = checks.run(name, "export", path, *recipe, "-o", out, "--json", "--threads", "1").json
    if not exported:
        return
    checks.equal(name, "bytes on disk = estimated bytes", size_on_disk(out), exported["estimate"]["bytes"])
    check_values(checks, name, read_artifact(out, target)[0], expected)
    verified = checks.run(name, "verify", path, out, "--json").json
    checks.check(bool(verified) and verified["ok"], name, "verify says ok")
    if out.is_dir():
        config = json.loads((out / "config.json").read_text())
        checks.equal(name, "config.json", config, CONFIG | case.config)
    # The artifact is an ordinary model, and its recipe makes it again from the source.
    inspected = checks.run(name, "inspect", out, "--json").json
    if inspected:
        shapes = {t["name"]: t["shape"] for t in inspected["tensors"]}
        checks.equal(name, "shapes when re-opened", shapes, {n: list(o.stored.shape) for n, o in expected.tensors.items()})
