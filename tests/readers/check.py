"""Runs the real binary over models with every oddity and believes nothing it says until numpy says the same.

`python check.py --binary target/release/spokeshave [--models DIR] [--only SUBSTRING]`. What is compared with what stands in
definitions.py and what it imports; artifacts are read by the `safetensors` package and by assets/read_packed.py, never by the
program alone.
Only failures are printed, then a line per model; the last line is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

import commands
import masks
import presets
from arrays import DTYPE_NAMES, FLOATS, statistics, wide
from definitions import Expected, expect
from harness import (
    TARGETS,
    Checks,
    Run,
    check_estimate,
    check_values,
    read_artifact,
    read_packed,
    sha,
    size_on_disk,
    weight_files,
)
from levels import round_to
from make_models import OWN_RECIPES, RECIPES, Model, write_all
from schemes import touches

INSPECT_KEYS = {"path", "format", "bytes", "parameters", "tensors"}
INSPECT_TENSOR_KEYS = {
    "name",
    "dtype",
    "shape",
    "parameters",
    "bytes",
    "role",
    "layer",
    "min",
    "max",
    "mean",
    "std",
    "zeros",
    "nan",
    "inf",
}


def check_inspect(checks: Checks, case: str, path: Path, model: Model, roles: bool = True) -> None:
    report = checks.run(case, "inspect", path, "--json").json
    if report is None:
        return
    checks.equal(case, "missing inspect keys", INSPECT_KEYS - set(report), set())
    names = sorted(model.tensors, key=lambda n: n.encode())
    if not checks.equal(case, "inspect names, bytewise", [t["name"] for t in report["tensors"]], names):
        return
    checks.equal(case, "inspect bytes", report["bytes"], size_on_disk(path))
    checks.equal(case, "inspect parameters", report["parameters"], sum(a.size for a in model.tensors.values()))
    for tensor in report["tensors"]:
        name, array = tensor["name"], model.tensors[tensor["name"]]
        checks.equal(case, f"{name}: missing inspect keys", INSPECT_TENSOR_KEYS - set(tensor), set())
        facts = (DTYPE_NAMES[array.dtype], list(array.shape), array.size, array.nbytes)
        checks.equal(
            case,
            f"{name}: dtype, shape, parameters, bytes",
            tuple(tensor[k] for k in ("dtype", "shape", "parameters", "bytes")),
            facts,
        )
        if roles and name in model.roles:
            checks.equal(case, f"{name}: role", tensor["role"], model.roles[name])
        elif roles and name in model.weights:
            checks.check(
                tensor["role"] not in ("norm", "bias", "position", "statistic", "basis"),
                case,
                f"{name}: role",
                tensor["role"],
                "a weight's",
            )
        if name in model.codes:
            continue
        is_float = facts[0] in FLOATS
        wanted = statistics(array) if is_float else dict.fromkeys(("min", "max", "mean", "std", "zeros", "nan", "inf"))
        exact = np.float64 if facts[0] == "F64" else np.float32
        for key in ("min", "max"):
            found = tensor[key] if tensor[key] is None else exact(tensor[key])
            checks.equal(case, f"{name}: {key}", found, wanted[key] if wanted[key] is None else exact(wanted[key]))
        largest = max(abs(wanted["min"] or 0), abs(wanted["max"] or 0))
        for key in ("mean", "std"):
            checks.close(
                case,
                f"{name}: {key}",
                tensor[key],
                wanted[key],
                min(1e-9, 1e-6 * largest) if largest < 1e3 else 1e-12 * largest,
            )
        for key in ("zeros", "nan", "inf"):
            checks.equal(case, f"{name}: {key}", tensor[key], wanted[key])


# ---------------------------------------------------------------- one model, one recipe, one target


def check_refusal(checks: Checks, case: str, run: Run, expected: Expected) -> None:
    """The message names a refused tensor, and its count where the contract wants one."""
    named = [r for r in expected.refusals if r.tensor in run.stderr and (r.count is None or str(r.count) in run.stderr)]
    wanted = " or ".join(f"{r.tensor} and {r.count}" for r in expected.refusals[:4])
    checks.check(bool(named), case, "the refusal names tensor and count", run.stderr[-240:], wanted)


def check_compare(checks: Checks, case: str, source: Path, out: Path, model: dict, expected: Expected) -> None:
    report = checks.run(case, "compare", source, out, "--json").json
    if report is None:
        return
    checks.equal(case, "compare: only_a, only_b", (report["only_a"], report["only_b"]), ([], []))
    for tensor in report["tensors"]:
        name, outcome = tensor["name"], expected.tensors[tensor["name"]]
        a, b = wide(model[name]).astype("f8"), wide(outcome.stored).astype("f8")
        if outcome.t2 is None or not np.isfinite(a).all() or DTYPE_NAMES[model[name].dtype] not in FLOATS:
            continue
        checks.close(
            case,
            f"{name}: compare max_abs_difference",
            tensor["max_abs_difference"],
            float(np.abs(a - b).max()),
            1e-300,
        )
        checks.close(case, f"{name}: compare t2", tensor["t2"], outcome.t2, 1e-18)
        checks.close(case, f"{name}: compare cosine", tensor["cosine"], outcome.cosine)
        either, both = np.count_nonzero((a != 0) | (b != 0)), np.count_nonzero((a != 0) & (b != 0))
        if either:
            checks.close(case, f"{name}: mask_overlap", tensor["mask_overlap"], both / either)
        if both:
            checks.close(case, f"{name}: sign_agreement", tensor["sign_agreement"], np.count_nonzero(a * b > 0) / both)


def check_case(
    checks: Checks, name: str, path: Path, model: Model, lines: list[str], target: str, work: Path, full: bool
) -> None:
    """estimate, export, verify and compare under one recipe; `full` adds threads, re-opening and mapping."""
    case = f"{name} {' '.join(lines)} [{target}]"
    if not checks.wants(case):
        return
    split = [tuple(line.rsplit("=", 1)) for line in lines]
    expected = expect(model.tensors, split, set(model.weights), target, frozenset(model.codes))
    recipe = [*(f"--set={line}" for line in lines), "--target", target]
    out = work / f"out-{name}-{threading.get_ident()}{'' if path.is_dir() else '.' + target}"
    options = ["-o", out, "--force", "--json"]
    hit = [
        any(touches(p, n, DTYPE_NAMES[a.dtype], n in model.weights) for n, a in model.tensors.items()) for p, _ in split
    ]
    if expected.refusals or not all(hit):
        for run in (
            checks.run(case, "estimate", path, *recipe, "--json", code=1),
            checks.run(case, "export", path, *recipe, *options, code=1),
        ):
            if expected.refusals:
                check_refusal(checks, case, run, expected)
        checks.check(not out.exists(), case, "a refused export leaves nothing behind")
        return
    estimate = checks.run(case, "estimate", path, *recipe, "--json").json
    if estimate:
        check_estimate(checks, case, estimate, path, model.tensors, expected, target)
    report = checks.run(case, "export", path, *recipe, *options, "--threads", "1").json
    if not report or not checks.check(out.exists(), case, "export wrote OUT", "nothing", out):
        return
    listed = {Path(f["path"]).name: f["bytes"] for f in report["files"]}
    sizes = {p.name: p.stat().st_size for p in weight_files(out)}
    checks.check(sizes.items() <= listed.items(), case, "files listed by export", listed, sizes)
    if estimate:
        checks.equal(case, "bytes on disk = estimated bytes", size_on_disk(out), estimate["bytes"])
        checks.equal(case, "export's estimate", report["estimate"]["bytes"], estimate["bytes"])
    if target == "safetensors" or read_packed:
        try:
            found, text = read_artifact(out, target)
            check_values(checks, case, found, expected)
            checks.check(
                "version" in text and str(work) not in text,
                case,
                "recipe inside the artifact, without a path",
                text,
                "version = 1 …",
            )
        except Exception as error:  # noqa: BLE001  (whatever an independent reader trips over is the finding)
            checks.check(False, case, "an independent reader reads the artifact", repr(error), "values")
    verified = checks.run(case, "verify", path, out, "--json").json
    if verified:
        checks.check(verified["ok"] is True, case, "verify says ok", verified["ok"], True)
        for tensor in verified["tensors"]:
            if tensor["name"] in expected.tensors and tensor["name"] not in model.codes:
                checks.close(
                    case, f"{tensor['name']}: verify t2", tensor["t2"], expected.tensors[tensor["name"]].t2, 1e-18
                )
    check_compare(checks, case, path, out, model.tensors, expected)
    first = sha(out)
    for extra in (["--threads", "2"], ["--no-mmap"]) if full else (["--threads", "2"],):
        checks.run(case, "export", path, *recipe, *options, *extra)
        checks.equal(case, f"bytes with {' '.join(extra)} as with --threads 1", sha(out), first)
    if target == "packed" and full and read_packed:
        check_reopened(checks, case, out, model, expected, work)
    shutil.rmtree(out) if out.is_dir() else out.unlink()


def check_reopened(checks: Checks, case: str, packed: Path, model: Model, expected: Expected, work: Path) -> None:
    """The program opens its own `packed` file and writes it out dense: the same values."""
    inspected = checks.run(case, "inspect", packed, "--json").json
    if inspected:
        checks.equal(
            case, "names in a re-opened packed file", [t["name"] for t in inspected["tensors"]], list(expected.tensors)
        )
    dense = work / f"dense-{threading.get_ident()}{'' if packed.is_dir() else '.safetensors'}"
    # A level past the largest number of the tensor's own dtype cannot be spelled out in it: refused, not made infinite.
    unfit = any(
        outcome.codes is not None
        and outcome.stored.size
        and not np.isfinite(wide(round_to(outcome.stored, model.tensors[name].dtype))).all()
        for name, outcome in expected.tensors.items()
    )
    options = ["--target", "safetensors", "-o", dense, "--force", "--json"]
    if checks.run(case, "export", packed, *options, code=1 if unfit else 0).json is None or unfit:
        return
    found = read_artifact(dense, "safetensors")[0]
    wanted = {}
    for name, outcome in expected.tensors.items():
        own = model.tensors[name].dtype
        free = None if outcome.free_zero_sign is None else wide(outcome.stored) == 0
        as_own = found.get(name, ("",))[0] == DTYPE_NAMES[own] and outcome.codes is not None
        wanted[name] = replace(
            outcome, stored=round_to(outcome.stored, own) if as_own else outcome.stored, free_zero_sign=free
        )
    check_values(checks, case + " re-opened", found, Expected(wanted))
    shutil.rmtree(dense) if dense.is_dir() else dense.unlink()


def check_model(checks: Checks, name: str, path: Path, model: Model, work: Path) -> None:
    """All recipes over one model; the source must come out of it untouched."""
    before = sha(path)
    if checks.wants(f"{name} inspect"):
        check_inspect(checks, f"{name} inspect", path, model)
    recipes = (RECIPES[:6:2] + RECIPES[15:16] if model.shards else RECIPES) + OWN_RECIPES.get(name, [])
    for i, lines in enumerate(recipes):
        for target in TARGETS:
            check_case(checks, name, path, model, lines, target, work, full=i % 4 == 3 or i >= len(RECIPES))
    if checks.wants(f"{name} source"):
        checks.equal(f"{name} source", "source bytes after all of it", sha(path), before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--models", type=Path, help="where to write the models (default: a temporary folder)")
    parser.add_argument("--only", help="only the cases whose name contains this")
    args = parser.parse_args()
    checks = Checks(args.binary, args.only)
    if read_packed is None:
        checks.check(False, "packed", "assets/read_packed.py is there")
    with tempfile.TemporaryDirectory(prefix="spokeshave-check-") as folder:
        work = Path(folder)
        models = write_all(args.models or work / "models")
        by_case = {name: (check_model, name, path, model, work) for name, (path, model) in models.items()}
        others = commands.jobs(models, work) | masks.jobs(work) | presets.jobs(models, work)
        by_case["bad-files"] = others.pop("bad-files")  # like the models it narrows itself down case by case
        with ThreadPoolExecutor(2) as pool:
            chosen = by_case | {name: job for name, job in others.items() if checks.wants(name)}
            running = {name: pool.submit(job[0], checks, *job[1:]) for name, job in chosen.items()}
            for name, future in running.items():
                if error := future.exception():
                    checks.check(False, name, "the check itself ran to its end", repr(error), "no exception")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
