"""Masks on their way: another checkpoint's zeros taken over, masks written alone, a network rewound under them.

What comes out is worked out here in numpy, and read by the `safetensors` package; `verify` has the last word only after that.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from arrays import F32, wide
from definitions import expect
from harness import Checks, check_values, read_artifact, sha, size_on_disk
from make_models import file_bytes, read_reference
from schemes import parse

# Fits over survivors, some of which read 0 afterwards, are what an exported file's zeros alone could not tell again.
AFTER_MASKS = (
    "",
    "+int4",
    "+int3:g32:asym",
    "+int4:mse",
    "+int5:p97",
    "+f16",
    "+ternary",
    "+ternary:row",
    "+codebook:9",
    "+nf4:g32",
)


def mask_model(r) -> dict[str, np.ndarray]:
    """Some matrices in several dtypes, one of them with zeros of its own."""
    first = r.standard_normal((40, 130)).astype(F32)
    first[r.random(first.shape) < 0.2] = 0
    return {
        "a.weight": first,
        "b.weight": r.standard_normal((7, 5, 3)).astype("f2"),
        "c.weight": r.standard_normal((9, 33)),
        "c.bias": r.standard_normal(9).astype(F32),
    }


def check_masks(checks: Checks, work: Path) -> None:
    """`mask:FILE` from a pruned checkpoint, from masks alone, from our own container; where its path leads."""
    case = "masks taken"
    folder, r = work / "masks", np.random.default_rng(11)
    (folder / "deep").mkdir(parents=True)
    model, weights = mask_model(r), {"a.weight", "b.weight", "c.weight"}
    source = folder / "model.safetensors"
    source.write_bytes(file_bytes(model, None))
    zeros = {name: (r.random(array.shape) < 0.6) & (array.ndim > 1) for name, array in model.items()}
    kinds = {
        "float": {n: np.where(z, -0.0, 7).astype("f2") for n, z in zeros.items()},
        "bool": {n: ~z for n, z in zeros.items()},
        "ints": {n: np.where(z, 0, 1 << 8).astype("i4") for n, z in zeros.items()},
    }
    files = {}
    for kind, tensors in kinds.items():
        files[kind] = folder / "deep" / f"{kind}.safetensors"
        files[kind].write_bytes(file_bytes(tensors, None))
    for suffix in AFTER_MASKS:
        for target in ("packed", "safetensors"):
            made = {}
            for kind, file in files.items():
                text = f"mask:{file}{suffix}"
                expected = expect(model, [("*", text)], weights, target, masks={str(file): kinds[kind]})
                out = folder / f"out.{target}"
                checks.run(
                    case, "export", source, f"--set=*={text}", "--target", target, "-o", out, "--force", "--json"
                )
                found, recipe = read_artifact(out, target)
                check_values(checks, f"{case} {kind}{suffix} [{target}]", found, expected)
                checks.check(
                    "mask:embedded" in recipe and str(folder) not in recipe, case, "the recipe has no path", recipe
                )
                made[kind] = sha(out)
                if kind == "float":
                    estimate = checks.run(
                        case, "estimate", source, f"--set=*={text}", "--target", target, "--json"
                    ).json
                    checks.equal(case, f"bytes of {text}", estimate["bytes"], size_on_disk(out))
                    zeros_told = {t["name"]: t["zeros"] for t in estimate["tensors"]}
                    wanted = {n: o.zeros for n, o in expected.tensors.items()}
                    checks.equal(case, f"zeros of {text} [{target}]", zeros_told, wanted)
            checks.equal(case, f"the same masks, the same bytes{suffix} [{target}]", len(set(made.values())), 1)
            hidden = folder / "hidden"
            (folder / "deep").rename(hidden)
            verified = checks.run(case, "verify", source, out, "--json").json
            checks.check(bool(verified and verified["ok"]), case, f"it verifies without the mask{suffix} [{target}]")
            again = folder / f"again.{target}"
            checks.run(case, "export", source, "--recipe", out, "-o", again, "--force", "--json")
            checks.equal(case, f"given as a recipe it makes itself again{suffix} [{target}]", sha(again), sha(out))
            hidden.rename(folder / "deep")
    check_mask_paths(checks, folder, source, zeros)


def check_mask_paths(checks: Checks, folder: Path, source: Path, zeros: dict) -> None:
    """In a recipe file a path is relative to that file, in --set to the working folder; what does not fit is refused."""
    case = "masks paths"
    recipe = folder / "deep" / "r.toml"
    recipe.write_text("version = 1\n[[rule]]\nmatch = '*'\nscheme = 'mask:bool.safetensors'\n")
    run = checks.run(case, "estimate", source, "--recipe", recipe, "--json", cwd=folder.parent)
    told = {t["name"]: t["zeros"] for t in run.json["tensors"]}
    checks.check(told["b.weight"] == int(zeros["b.weight"].sum()), case, "relative to the recipe file", told)
    word = "mask:deep/bool.safetensors"
    run = checks.run(case, "estimate", source, f"--set=*={word}", "--json", cwd=folder)
    checks.equal(case, "relative to the working folder", {t["name"]: t["zeros"] for t in run.json["tensors"]}, told)
    checks.run(case, "estimate", source, f"--set=*={word}", "--json", cwd=folder.parent, code=1)
    odd = folder / "odd.safetensors"
    odd.write_bytes(file_bytes({"a.weight": np.ones((40, 130), "?"), "b.weight": np.ones((7, 15), "?")}, None))
    for pattern, why in (("b.weight", "b.weight"), ("c.weight", "c.weight")):
        for command in (["estimate"], ["export", "-o", folder / "never"]):
            run = checks.run(case, command[0], source, *command[1:], f"--set={pattern}=mask:{odd}", "--json", code=1)
            checks.check(why in run.stderr and "odd" in run.stderr, case, "tensor and file are named", run.stderr)
    checks.run(case, "estimate", source, f"--set=*=mask:{folder / 'absent'}", "--json", code=1)
    run = checks.run(case, "estimate", source, "--set=*=mask:embedded", "--json", code=1)
    checks.check("embedded" in run.stderr, case, "mask:embedded is explained", run.stderr)


def check_masks_alone(checks: Checks, work: Path) -> None:
    """`export --mask-only`: BOOL tensors of the same names and shapes, 1 where an element stays."""
    case = "masks alone"
    folder, r = work / "masks alone", np.random.default_rng(12)
    folder.mkdir()
    model = mask_model(r)
    source, out = folder / "model.safetensors", folder / "mask.safetensors"
    source.write_bytes(file_bytes(model, None))
    for text in ("prune:0.7+int4", "prune:0.5:row", "nm:2:4", "block:4x4:0.5", "random:0.3:9", "prune:0.6:global+f16"):
        checks.run(case, "export", source, f"--set=[ab].*={text}", "--mask-only", "-o", out, "--force", "--json")
        found = read_reference(out.read_bytes())
        bare = text.split("+")[0]
        wanted = expect(model, [("[ab].*", bare)], {"a.weight", "b.weight"}, "safetensors").tensors
        checks.equal(case, f"names of {text}", sorted(found), ["a.weight", "b.weight"])
        for name, mask in found.items():
            checks.check(
                mask.dtype == bool and np.array_equal(mask, wide(wanted[name].stored).reshape(mask.shape) != 0),
                case,
                f"{name} of {text}",
            )
        # Taken over, they make what they were made from.
        made = {"pruned": f"--set=[ab].*={bare}", "masked": f"--set=[ab].*=mask:{out}"}
        files = {kind: folder / f"{kind}.safetensors" for kind in made}
        for kind, word in made.items():
            checks.run(case, "export", source, word, "--target", "safetensors", "-o", files[kind], "--force")
        pruned, masked = (read_artifact(files[kind], "safetensors")[0] for kind in ("pruned", "masked"))
        checks.equal(case, f"{text} by its masks", masked, pruned)
        compared = checks.run(case, "compare", out, files["pruned"], "--json").json
        overlaps = [t["mask_overlap"] for t in compared["tensors"]]
        checks.equal(case, "compare knows masks", overlaps, [1.0, 1.0])
        checks.equal(case, "compare adds up", compared["mask_overlap"], 1.0)
    before = sha(out)
    for words in ([], ["--rewind", source]):
        checks.run(
            case, "export", source, "--set=*=int4", *words, "--mask-only", "-o", out, "--json", code=2 if words else 1
        )
    checks.run(case, "export", source, "--set=*=nm:2:4", "--mask-only", "-o", out, "--json", code=1)
    checks.run(case, "export", source, "--set=*=nm:2:4", "--mask-only", "-o", source, "--force", "--json", code=1)
    checks.equal(case, "what is there stays without --force", sha(out), before)


def check_rewind(checks: Checks, work: Path) -> None:
    """`export θT RECIPE --rewind θ0`: θ0's bits where the recipe leaves θT's, +0 elsewhere."""
    case = "masks rewound"
    folder, r = work / "rewind", np.random.default_rng(13)
    folder.mkdir()
    first = mask_model(r)
    trained = {n: (a + r.standard_normal(a.shape) * 0.5).astype(a.dtype) for n, a in first.items()}
    trained["b.weight"] = trained["b.weight"].astype(F32)  # training may have gone on in another dtype
    start, end = folder / "start.safetensors", folder / "end.safetensors"
    start.write_bytes(file_bytes(first, None))
    end.write_bytes(file_bytes(trained, None))
    weights = {"a.weight", "b.weight", "c.weight"}
    for lines in (
        [("*", "prune:0.8:global+int4")],
        [("*", "prune:0.5"), ("c.weight", "keep")],
        [("a.weight", "nm:2:4+f16"), ("b.weight", "int8")],
    ):
        words = [f"--set={pattern}={text}" for pattern, text in lines]
        bare = [(p, t.split("+")[0] if parse(t).prunes else "keep") for p, t in lines]
        pruned = expect(trained, bare, weights, "safetensors").tensors
        for target in ("safetensors", "packed"):
            out = folder / f"ticket.{target}"
            report = checks.run(
                case, "export", end, *words, "--target", target, "--rewind", start, "-o", out, "--force", "--json"
            ).json
            found, recipe = read_artifact(out, target)
            for name, array in first.items():
                wanted = array.copy()
                if pruned[name].touched:
                    wanted[
                        (wide(pruned[name].stored) == 0).reshape(array.shape) & (wide(array) != 0).reshape(array.shape)
                    ] = 0
                dtype, shape, data = found[name]
                same = np.array_equal(np.frombuffer(data, array.dtype).reshape(shape), wanted)
                checks.check(same, case, f"{name} under {lines} [{target}]", dtype)
            verified = checks.run(case, "verify", start, out, "--json").json
            checks.check(bool(verified and verified["ok"]), case, f"verifies against the start {lines} [{target}]")
            checks.check("mask:embedded" in recipe and str(folder) not in recipe, case, "recipe inside", recipe)
            schemes = [t["scheme"] for t in report["estimate"]["tensors"]]
            checks.check(not any(str(folder) in s for s in schemes), case, "no path of a temporary is told", schemes)
            again = folder / f"again.{target}"
            checks.run(case, "export", start, "--recipe", out, "-o", again, "--force", "--json")
            checks.equal(case, f"the recipe re-opens as the same state {lines} [{target}]", sha(again), sha(out))
    compared = checks.run(case, "compare", start, end, "--json").json
    both = [(first[n].astype("f8") != 0) & (trained[n].astype("f8") != 0) for n in sorted(first)]
    same = [np.sign(first[n].astype("f8")) == np.sign(trained[n].astype("f8")) for n in sorted(first)]
    total = sum(int((b & s).sum()) for b, s in zip(both, same)) / sum(int(b.sum()) for b in both)
    checks.close(case, "sign agreement in all", compared["sign_agreement"], total)
    either = sum(int(((first[n] != 0) | (trained[n] != 0)).sum()) for n in first)
    checks.close(case, "mask overlap in all", compared["mask_overlap"], sum(int(b.sum()) for b in both) / either)
    other = folder / "other.safetensors"
    for wrong in (
        {n: a for n, a in first.items() if n != "c.bias"},
        first | {"c.weight": first["c.weight"][:, :32]},
    ):
        other.write_bytes(file_bytes(wrong, None))
        run = checks.run(
            case, "export", end, "--set=a.weight=prune:0.5", "--rewind", other, "-o", folder / "never", "--json", code=1
        )
        checks.check(
            "tensor" in run.stderr and "other.safetensors" in run.stderr, case, "another network is refused", run.stderr
        )
    for out in (start, end):
        checks.run(case, "export", end, "--set=*=prune:0.5", "--rewind", start, "-o", out, "--force", "--json", code=1)
    left = [p.name for p in folder.iterdir() if p.name.startswith(".spokeshave")]
    checks.equal(case, "nothing is left over", left, [])


def jobs(work: Path) -> dict[str, tuple]:
    """name -> function and its arguments after `checks`."""
    return {
        "masks taken": (check_masks, work),
        "masks alone": (check_masks_alone, work),
        "masks rewound": (check_rewind, work),
    }
