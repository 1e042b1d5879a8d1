"""Holds the program to its word on large models: planned at once, in little memory, with live numbers that are right.

    python scale.py --binary target/release/spokeshave --dir DIR [--preset llama-1b|megatron-8b|gpt3-175b] [--keep]

For each preset (the option may be repeated) it makes the model in DIR with make_model.py, runs `estimate` in every way
there is, and prints seconds, the most memory of its own that the process had (anonymous pages; the mapped file is the
system's to keep or drop), and how far live errors are from exact ones. gpt3-175b is a sparse file and only planned.
Models and profiles are deleted in the end. The exit code is 1 when a bound is broken. Needs numpy and Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from make_model import PRESETS

MAKER = Path(__file__).resolve().parent / "make_model.py"
EVERY = 0.02  # seconds between two looks at a process; fewer at its beginning
MIB = 1 << 20
PLAN_SECONDS = 1.0  # opening and planning, whatever the model
MEMORY = {"llama-1b": 512 * MIB}  # of the process's own
LIVE = 1e-3  # of the exact t², for numbers called live; sampled ones have six of their standard errors
PLANNED_ONLY = ("gpt3-175b",)


@dataclass
class Run:
    """One command that has ended."""

    seconds: float
    own: int  # bytes, the most at any look
    report: dict


# ---------------------------------------------------------------- one command


def own_memory(pid: int) -> int:
    """Bytes of anonymous pages that a process has now; 0 once it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0


def run(binary: Path, cache: Path, *words: str) -> Run:
    """Runs `spokeshave estimate … --json` and watches it."""
    command = [str(binary), "estimate", *words, "--json", "--quiet"]
    surroundings = {**os.environ, "SPOKESHAVE_CACHE": str(cache)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=surroundings)
        most = 0
        try:
            while process.poll() is None:
                most = max(most, own_memory(process.pid))
                time.sleep(min(EVERY, 0.001 + (time.monotonic() - start) / 20))
        finally:
            process.kill()
            process.wait()
        seconds = time.monotonic() - start
        for file in (out, errors):
            file.seek(0)
        if process.returncode != 0:
            said = errors.read().decode(errors="replace").strip()
            sys.exit(f"`{' '.join(command)}` ended with {process.returncode}: {said}")
        return Run(seconds, most, json.load(out))


def forget(model: Path) -> None:
    """Asks the system to drop the file from memory, so that the next reading is from the disk."""
    with open(model, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# ---------------------------------------------------------------- what is measured


def measure(binary: Path, model: Path, folder: Path, scheme: str, planned_only: bool) -> dict[str, Run]:
    """Every way to ask, from the coldest to the warmest."""
    words, cache, other = (str(model), "--set", scheme), folder / "profiles", folder / "other-profiles"
    runs = {"planned, no weight read": run(binary, cache, *words, "--bytes-only")}
    if planned_only:
        return runs
    forget(model)
    runs["live, first time, file on disk"] = run(binary, cache, *words, "--live")
    runs["live, first time, as the system keeps it"] = run(binary, other, *words, "--live")
    runs["live, from kept profiles"] = run(binary, cache, *words, "--live")
    runs["exact"] = run(binary, cache, *words)
    return runs


def distances(live: dict, exact: dict) -> tuple[dict[str, tuple[float, str]], list[str]]:
    """By kind of number, the worst relative difference of t² and its tensor; and what is beyond its bound."""
    worst: dict[str, tuple[float, str]] = {}
    faults = []
    for one, other in zip(live["tensors"], exact["tensors"], strict=True):
        name, found, wanted = one["name"], one["t2"], other["t2"]
        if not wanted or found is None:
            if found != wanted:
                faults.append(f"{name}: live t² is {found}, exact t² is {wanted}")
            continue
        away = abs(found / wanted - 1)
        worst[one["label"]] = max(worst.get(one["label"], (0.0, "")), (away, name))
        allowed = LIVE if one["t2_error"] is None else max(LIVE, 6 * one["t2_error"])
        if away > allowed:
            which = f"{name}: {one['label']} t² {found:.6g}, exact {wanted:.6g}"
            faults.append(f"{which}: {away:.2e} of it away, allowed {allowed:.2e}")
    return worst, faults


def check(preset: str, runs: dict[str, Run]) -> tuple[list[str], list[str]]:
    """Sentences of what was seen, and of what is beyond a bound."""
    said, faults = [], []
    plan = runs["planned, no weight read"]
    if plan.seconds > PLAN_SECONDS:
        faults.append(f"opening and planning took {plan.seconds:.2f} s, allowed {PLAN_SECONDS} s")
    for name, one in runs.items():
        if one.own > MEMORY.get(preset, one.own):
            faults.append(f"{name}: {one.own / MIB:.0f} MiB of its own memory, allowed {MEMORY[preset] / MIB:.0f} MiB")
    if "exact" in runs:
        exact = runs["exact"].report
        worst, more = distances(runs["live, from kept profiles"].report, exact)
        faults += more
        for label, (away, name) in sorted(worst.items()):
            said.append(f"t² of {label} against exact: at most {away:.2e} of it away ({name})")
        first, kept = (runs[f"live, {which}"].report for which in ("first time, file on disk", "from kept profiles"))
        if first != kept:
            faults.append("live numbers from kept profiles are not those of the first time; they should be the same")
    return said, faults


def table(preset: str, size: int, tensors: int, runs: dict[str, Run]) -> str:
    lines = [f"| {preset}: {tensors:,} tensors, {size / 1e9:.2f} GB | seconds | its own memory |", "|---|---|---|"]
    lines += [f"| {name} | {one.seconds:.2f} | {one.own / MIB:.0f} MiB |" for name, one in runs.items()]
    return "\n".join(lines)


def one_model(args: argparse.Namespace, preset: str, folder: Path) -> int:
    """Makes, measures, tells, deletes; how many bounds were broken."""
    model, planned_only = folder / f"{preset}.safetensors", preset in PLANNED_ONLY
    make = [sys.executable, str(MAKER), str(model), "--preset", preset, *(["--sparse"] if planned_only else [])]
    if subprocess.run(make, stdout=subprocess.DEVNULL).returncode != 0:
        sys.exit(f"{preset}: the model was not made; see above")
    runs = measure(args.binary, model, folder, args.scheme, planned_only)
    said, faults = check(preset, runs)
    tensors = len(runs["planned, no weight read"].report["tensors"])
    seen = table(preset, model.stat().st_size, tensors, runs)
    print("\n".join([seen, *said, *(f"BROKEN {fault}" for fault in faults), ""]), flush=True)
    if not args.keep:
        model.unlink()
    return len(faults)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True, help="the built program")
    parser.add_argument("--dir", type=Path, required=True, help="where models are made; needs their size and 2 GiB")
    parser.add_argument("--preset", choices=PRESETS, action="append", help="once or several times (default llama-1b)")
    parser.add_argument("--scheme", default="*=int4:g64", help="PATTERN=SCHEME that is asked for (default *=int4:g64)")
    parser.add_argument("--keep", action="store_true", help="leave the models and profiles there")
    args = parser.parse_args()
    args.binary = args.binary.resolve()
    if not os.access(args.binary, os.X_OK):
        parser.error(f"--binary {args.binary}: is no program; build it with `cargo build --release`")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was made goes, as with Ctrl-C
    args.dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="scale-", dir=args.dir))
    try:
        broken = sum(one_model(args, preset, folder) for preset in args.preset or ["llama-1b"])
    except KeyboardInterrupt:
        print("scale: stopped", file=sys.stderr)
        return 130
    finally:
        if args.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{broken} bounds broken" if broken else "every bound held")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
