"""How the program behaves as a command: wrong lines, impossible wishes, locks, damaged files, closed pipes, bad models.

None of it is about numbers; all of it is about exit codes, one clear sentence, and leaving the user's files alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from definitions import expect
from factorized import check_factorized
from harness import TARGETS, Checks, check_estimate, check_values, read_artifact, read_packed, sha
from make_bad import write_bad
from make_models import file_bytes, read_reference
from structured import check_structured

WRONG_LINES = [  # exit 2: the grammar excludes it
    ["--set", f"*={scheme}"]
    for scheme in (
        "nosuch",
        "int9",
        "int1",
        "int",
        "int4:col",
        "int4:asym:row",
        "int4:asym:p99.9",
        "prune",
        "prune:1.5",
        "prune:.5",
        "prune:50%",
        "prune:1e-1",
        "prune:-0.5",
        "prune:NaN",
        "int4+prune:0.5",
        "int4+int8",
        "prune:0.5+prune:0.5",
        "prune:0.5+rank:8",
        "keep+int4",
        "INT4",
        "",
    )
] + [["--set", "int4"], ["--set", "*=int4", "--target", "nosuch"], ["--nosuch"], ["--set"]]

NOT_BUILT = ["wanda:0.5"]  # exit 1: in the grammar, not in this program yet; shorten as they arrive


def check_wrong_lines(checks: Checks, source: Path, work: Path) -> None:
    case = "command-line wrong"
    for words in WRONG_LINES:
        for command in (["estimate", source], ["export", source, "-o", work / "never.safetensors"]):
            run = checks.run(case, *command, *words, "--json", code=2)
            checks.check(run.stderr.strip() != "", case, f"{words} is explained on stderr")
    for words in (
        ["inspect"],
        ["export", source, "--set", "*=int4"],
        ["compare", source],
        ["inspect", source, "extra"],
    ):
        checks.run(case, *words, "--json", code=2)
    checks.check(not (work / "never.safetensors").exists(), case, "nothing written by a wrong command line")


def check_impossible(checks: Checks, models: dict, work: Path) -> None:
    case, source = "command-line impossible", models["mlp"][0]
    for words, told in [([f"*={scheme}"], None) for scheme in NOT_BUILT] + [
        (["nosuch*=int4"], "nosuch"),
        (["fc1.wieght=int4"], "fc1.weight"),
        (["*.bias=int4"], "bias"),
        (["*=int4", "fc9.*=int4"], "fc9"),
        (["*=q4_0"], "q4_0"),
    ]:
        run = checks.run(
            case, "estimate", source, *(f"--set={word}" for word in words), "--target", "safetensors", "--json", code=1
        )
        checks.check(
            (told or words[-1].split("=")[1].split(":")[0]) in run.stderr,
            case,
            f"{words} is explained",
            run.stderr[-240:],
            told or words,
        )
    for target, scheme in (("gguf", "int4"), ("compressed-tensors", "int2"), ("mlx", "nf4")):
        checks.run(case, "estimate", source, "--set", f"*={scheme}", "--target", target, "--json", code=1)
    for name, tensor in (("ints", "counter"), ("ints", "mask"), ("coded", "model.layers.0.mlp.down_proj.weight")):
        checks.run(case, "estimate", models[name][0], "--set", f"{tensor}=int4", "--json", code=1)
    absent, int4 = work / "absent.safetensors", ["--set", "*=int4"]
    for words in (
        ["inspect", absent],
        ["estimate", absent, *int4],
        ["export", absent, *int4, "-o", work / "x"],
        ["verify", absent, source],
        ["compare", source, absent],
    ):
        checks.run(case, *words, "--json", code=1)
    checks.run(
        case,
        "export",
        source,
        "--set",
        "*=int4",
        "-o",
        work / "no" / "such" / "folder" / "x.safetensors",
        "--json",
        code=1,
    )


def check_output_rules(checks: Checks, source: Path, work: Path) -> None:
    """The source is never written over, an existing file only with --force, and a refusal leaves all as it was."""
    case = "command-line output"
    here = work / "output rules"
    here.mkdir()
    model = here / "model.safetensors"
    shutil.copy(source, model)
    (here / "link.safetensors").symlink_to(model)
    os.link(model, here / "hard.safetensors")
    before = sha(model)
    for out in (
        "model.safetensors",
        "./model.safetensors",
        "../output rules/model.safetensors",
        "link.safetensors",
        "hard.safetensors",
    ):
        for force in ([], ["--force"]):
            checks.run(
                case,
                "export",
                "model.safetensors",
                "--set",
                "*=int4",
                "--target",
                "safetensors",
                "-o",
                out,
                *force,
                "--json",
                code=1,
                cwd=here,
            )
            checks.equal(case, f"source after export over {out} {force}", sha(model), before)
    old = here / "old.safetensors"
    old.write_bytes(b"precious")
    checks.run(case, "export", model, "--set", "*=int4", "--target", "safetensors", "-o", old, "--json", code=1)
    checks.equal(case, "existing output without --force", old.read_bytes(), b"precious")
    checks.run(case, "export", model, "--set", "*=int4", "--target", "safetensors", "-o", old, "--force", "--json")
    checks.check(
        len(read_reference(old.read_bytes())) == len(read_reference(model.read_bytes())), case, "--force writes over it"
    )
    expected = {"model.safetensors", "link.safetensors", "hard.safetensors", "old.safetensors"}
    checks.equal(case, "no temporary file is left", {p.name for p in here.iterdir()}, expected)


def check_verify(checks: Checks, models: dict, work: Path) -> None:
    """verify finds one flipped bit, and another model."""
    case, source = "command-line verify", models["mlp"][0]
    for target in TARGETS:
        out = work / f"verify.{target}"
        checks.run(case, "export", source, "--set", "*=prune:0.5+int4", "--target", target, "-o", out, "--json")
        if not out.exists():
            continue
        checks.run(case, "verify", models["convnet"][0], out, "--json", code=1)
        whole = out.read_bytes()
        for at in (len(whole) - 1, len(whole) // 2):
            damaged = bytearray(whole)
            damaged[at] ^= 0x40
            out.write_bytes(damaged)
            run = checks.run(case, "verify", source, out, "--json", code=1)
            checks.check(
                b'"ok":true' not in run.stdout.replace(b" ", b""), case, f"byte {at} of {target} changed, verify not ok"
            )
        out.write_bytes(whole[:-100])
        checks.run(case, "verify", source, out, "--json", code=1)
        out.write_bytes(whole)
        checks.run(case, "verify", source, out, "--json")


def check_recipe_files(checks: Checks, models: dict, work: Path) -> None:
    case, (source, model) = "command-line recipe", models["mlp"]
    recipe, out, again = work / "r.toml", work / "r.safetensors", work / "again.safetensors"
    recipe.write_text(
        'version = 1\ntarget = "safetensors"\nlocked = ["fc1.weight"]\n\n[[rule]]\nmatch = "fc*"\nscheme = "prune:0.5:global+int8"\n\n'
        '[[override]]\ntensor = "fc2.bias"\nscheme = "int6:tensor"\n\n[meta]\nname = "a test"\n'
    )
    lines = [
        ("fc*", "prune:0.5:global+int8"),
        ("fc2.bias", "int6:tensor"),
        ("fc[23].weight", "int5"),
    ]  # the lock holds fc1 back
    expected = expect(model.tensors, lines, set(model.weights), "safetensors")
    arguments = ["--recipe", recipe, "--set", "fc*=int5"]
    run = checks.run(case, "estimate", source, *arguments, "--json")
    checks.check(
        "fc1.weight" in run.stderr, case, "a glob that skips a locked tensor says so", run.stderr, "fc1.weight"
    )
    if run.json:
        check_estimate(checks, case, run.json, source, model.tensors, expected, "safetensors")
    checks.run(case, "export", source, *arguments, "-o", out, "--json")
    if out.exists():
        found, text = read_artifact(out, "safetensors")
        check_values(checks, case, found, expected)
        recipe.write_text(text)
        checks.run(case, "export", source, "--recipe", recipe, "-o", again, "--json")
        checks.equal(case, "the embedded recipe gives the same bytes again", again.exists() and sha(again), sha(out))
    recipe.write_text('version = 1\nlocked = ["fc1.weight"]\n')
    run = checks.run(case, "estimate", source, "--recipe", recipe, "--set", "fc1.weight=int4", "--json", code=None)
    checks.check(
        run.code in (1, 2) and "fc1.weight" in run.stderr,
        case,
        "naming a locked tensor is an error",
        (run.code, run.stderr),
        "fc1.weight",
    )
    for text, told in (
        ("version = 1\n\nnosuch = 3\n", "3"),
        ('version = 1\n[[rule]]\nmatch = "*"\nshceme = "int4"\n', "4"),
        ("version = 99\n", "99"),
        ('version = 1\n[[rule]]\nmatch = "*"\nscheme = "int99"\n', "int99"),
        ("version = [\n", ""),
        ("", "version"),
        ('version = 1\ntarget = "nosuch"\n', "nosuch"),
        ('version = 1\n[[override]]\ntensor = "absent"\nscheme = "int4"\n', "absent"),
    ):
        recipe.write_text(text)
        run = checks.run(case, "estimate", source, "--recipe", recipe, "--json", code=1)
        checks.check(
            told in run.stderr.replace(str(recipe), ""), case, f"recipe {text!r} is explained", run.stderr[-240:], told
        )
    checks.run(case, "estimate", source, "--recipe", work / "absent.toml", "--json", code=1)


def check_manners(checks: Checks, models: dict, work: Path) -> None:
    """--bytes-only, --quiet, plain text, a closed pipe, compare of unlike models, the default target."""
    case, source = "command-line manners", models["mlp"][0]
    for target in TARGETS:
        for scheme in ("int4:g64:asym", "prune:0.5+int4"):
            words = ["estimate", source, "--set", f"*={scheme}", "--target", target, "--json"]
            exact, quick = checks.run(case, *words).json, checks.run(case, *words, "--bytes-only").json
            if exact and quick:
                checks.check(
                    quick["bytes"] in (None, exact["bytes"]),
                    case,
                    "--bytes-only: bytes",
                    quick["bytes"],
                    exact["bytes"],
                )
                if target == "safetensors":
                    checks.equal(case, "--bytes-only: dense bytes need no weights", quick["bytes"], exact["bytes"])
                checks.equal(
                    case,
                    "--bytes-only: errors are null",
                    {t["t2"] for t in quick["tensors"] if t["scheme"] != "keep"},
                    {None},
                )
    report = checks.run(case, "estimate", source, "--set", "*=int4", "--json").json
    checks.equal(case, "default target", report and report["target"], "safetensors")
    run = checks.run(case, "export", source, "--set", "*=int4", "-o", work / "quiet.safetensors", "--quiet")
    checks.equal(case, "--quiet says nothing on stderr", run.stderr, "")
    checks.check(
        b"fc1.weight" in checks.run(case, "inspect", source).stdout, case, "inspect prints text without --json"
    )
    report = checks.run(case, "compare", source, models["convnet"][0], "--json").json
    if report:
        checks.check(
            "fc1.weight" in report["only_a"] and "classifier.weight" in report["only_b"],
            case,
            "compare lists names of one side only",
        )
    for words in (["inspect", models["llama"][0]], ["estimate", models["llama"][0], "--set", "*=int4", "--json"]):
        process = subprocess.Popen(
            [str(checks.binary), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        process.stdout.close()
        message = process.stderr.read().decode(errors="replace")
        checks.check(
            process.wait(60) == 0 and "panicked" not in message,
            case,
            f"a closed pipe is not an error in {words[0]}",
            (process.returncode, message),
            0,
        )
        process.stderr.close()


def check_folders(checks: Checks, work: Path) -> None:
    """Folders that are unusual and legal."""
    case = "folders legal"
    a, b = ({name: np.arange(8, dtype="f4").reshape(2, 4)} for name in ("a.weight", "b.weight"))
    index = json.dumps({"metadata": {}, "weight_map": {"a.weight": "one.safetensors"}})
    for name, files, wanted in (
        ("single", {"weights.safetensors": file_bytes(a, None)}, {"a.weight"}),
        (
            "union",
            {"one.safetensors": file_bytes(a, None), "two.safetensors": file_bytes(b, None)},
            {"a.weight", "b.weight"},
        ),
        (
            "unmapped",
            {"model.safetensors.index.json": index.encode(), "one.safetensors": file_bytes(a | b, None)},
            {"a.weight"},
        ),
        (
            "both",
            {
                "model.safetensors.index.json": index.encode(),
                "one.safetensors": file_bytes(a, None),
                "model.safetensors": file_bytes(b, None),
            },
            {"b.weight"},
        ),
    ):
        folder, blobs = work / f"folder-{name}", work / "blobs" / name
        folder.mkdir()
        blobs.mkdir(parents=True)
        for file, data in files.items():  # as in the hub's cache, where every file is a link out of the folder
            (blobs / file).write_bytes(data)
            (folder / file).symlink_to(blobs / file)
        run = checks.run(case, "inspect", folder, "--json")
        checks.equal(case, f"tensors of folder {name}", run.json and {t["name"] for t in run.json["tensors"]}, wanted)
        if name == "both":
            checks.check(
                "model.safetensors" in run.stderr,
                case,
                "a warning when index and model.safetensors both stand there",
                run.stderr,
                "a warning",
            )


def check_bad(checks: Checks, work: Path) -> None:
    """Every bad file: exit 1 within 10 s, one clean line on stderr that names the file, nothing on stdout, nothing executed."""
    marker = Path("/tmp/spokeshave-ran-a-pickle")
    for name, (path, why) in write_bad(work / "bad").items():
        case = f"bad-files {name} ({why})"
        if not checks.wants(case):
            continue
        run = checks.run(case, "inspect", path, "--json", code=1, timeout=10)
        lines = [line for line in run.stderr.split("\n") if line.strip()]
        checks.check(
            len(lines) == 1 and len(run.stderr) < 2000, case, "one line on stderr", run.stderr[:300], "one line"
        )
        names = [path.name, *(p.name for p in path.glob("*") if path.is_dir())]
        checks.check(
            any(n in run.stderr for n in names), case, "the message names the file", run.stderr[:300], path.name
        )
        odd = [c for c in run.stderr.rstrip("\n") if not c.isprintable()]
        checks.check(not odd, case, "no control or direction marks in the message", odd[:5], [])
        out = work / "from-bad.safetensors"
        checks.run(case, "export", path, "--set", "*=int4", "-o", out, "--json", code=1, timeout=10)
        checks.check(not out.exists(), case, "nothing is exported from it")
    checks.check(not marker.exists(), "bad-files pickle", "no pickle was run")


def check_corpus(checks: Checks) -> None:
    """assets/read_packed.py gives every file of the corpus the verdict that the program has to give."""
    case, corpus = "folders packed corpus", Path(__file__).resolve().parents[1] / "corpus"
    lines = [line.split("\t") for line in (corpus / "expected.tsv").read_text().splitlines()]
    for name, words in (line for line in lines if line[0].startswith("packed/")):
        try:
            read_packed.read(corpus / name)
            said = "ok"
        except ValueError as error:
            said = f"{error}"
        checks.check((said == "ok") == words.startswith("ok"), case, f"{name}: the numpy reader's verdict", said, words)


def jobs(models: dict, work: Path) -> dict[str, tuple]:
    """name -> function and its arguments after `checks`."""
    return {
        "bad-files": (check_bad, work),
        "command-line wrong": (check_wrong_lines, models["mlp"][0], work),
        "command-line impossible": (check_impossible, models, work),
        "command-line output": (check_output_rules, models["mlp"][0], work),
        "command-line verify": (check_verify, models, work),
        "command-line recipe": (check_recipe_files, models, work),
        "command-line manners": (check_manners, models, work),
        "folders legal": (check_folders, work),
        "structured": (check_structured, work),
        "factorized": (check_factorized, work),
        "folders packed corpus": (check_corpus,),
    }
