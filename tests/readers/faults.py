#!/usr/bin/env python3
"""Full disks, other users, read-only mounts, small address spaces, killed runs: what a test without privileges cannot stage.

`python faults.py --binary PATH [--only WORD]`. Standard library only, Linux only. What needs root or a mount and has
neither is skipped, and every skip is printed. The last line is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import array
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
SET = ["--set", "*=prune:0.5+int4"]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
COUNTS = {"passed": 0, "failed": 0, "skipped": 0}


@dataclass
class Ran:
    code: int
    out: str
    err: str
    seconds: float


class Bench:
    """Runs the binary in a folder of its own."""

    def __init__(self, binary: Path, root: Path):
        # A copy that every user may run, wherever the original lies.
        self.binary, self.root = root / "spokeshave", root
        shutil.copyfile(binary, self.binary)
        self.binary.chmod(0o755)
        (root / "cache").mkdir()

    def start(self, *words, prefix=(), limits=()) -> subprocess.Popen:
        def setup():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            for what, value in limits:
                resource.setrlimit(what, (value, value))
            # Children of a shell's background job would have these ignored.
            for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ):
                signal.signal(one, signal.SIG_DFL)

        return subprocess.Popen(
            [*prefix, str(self.binary), *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "SPOKESHAVE_CACHE": str(self.root / "cache")},
            preexec_fn=setup,
        )

    def run(self, *words, timeout=120, **how) -> Ran:
        begun = time.monotonic()
        return self.end(self.start(*words, **how), begun, timeout)

    def end(self, process: subprocess.Popen, begun: float, timeout=120) -> Ran:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += b"(not done in time)"
        words = (out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))
        return Ran(process.returncode, *words, time.monotonic() - begun)


def check(case: str, ok: bool, ran: Ran | None = None, what: str = "") -> bool:
    COUNTS["passed" if ok else "failed"] += 1
    if not ok:
        print(f"FAIL {case}: {what} {ran or ''}", flush=True)
    return ok


def skip(case: str, why: str) -> None:
    COUNTS["skipped"] += 1
    print(f"SKIPPED {case}: {why}", flush=True)


def refused(case: str, ran: Ran, *words: str) -> bool:
    """One line on stderr that says all of it, after notes if any, nothing on stdout, exit 1."""
    lines = [line for line in ran.err.strip().split("\n") if not line.startswith("spokeshave: note: ")]
    said = all(re.search(word, ran.err) for word in words)
    ok = ran.code == 1 and not ran.out and len(lines) == 1 and lines[0].startswith("spokeshave: ") and said
    return check(case, ok and "panicked" not in ran.err, ran, f"expected a refusal with {words}")


def done(case: str, ran: Ran) -> bool:
    return check(case, ran.code == 0 and "panicked" not in ran.err, ran, "expected exit 0")


def temporaries(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".spokeshave-")]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights(path: Path, mib: int, tensors: int = 4) -> Path:
    """A model of normal weights: one block of them, repeated."""
    random.seed(7)
    block = array.array("f", [random.gauss(0, 0.05) for _ in range(1 << 16)]).tobytes()
    blocks = mib * MIB // len(block) // tensors
    header, at = {}, 0
    for i in range(tensors):
        size = blocks * len(block)
        header[f"layers.{i}.weight"] = {"dtype": "F32", "shape": [size // 4096, 1024], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _ in range(tensors * blocks):
            file.write(block)
    return path


def folder_model(path: Path, source: Path) -> Path:
    path.mkdir()
    os.link(source, path / "model.safetensors")
    (path / "config.json").write_text("{}")
    return path


@contextmanager
def mounted(case: str, folder: Path, options: str):
    """A tmpfs of its own; gives None where none can be had."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if made.returncode:
        skip(case, f"a tmpfs cannot be mounted here ({made.stderr.strip() or 'not root?'})")
        yield None
        return
    try:
        yield folder
    finally:
        # Lazily, so that a case that broke off in the middle leaves no mount behind.
        subprocess.run(["umount", "--lazy", folder], check=False)


def fill(folder: Path, leave: int) -> None:
    system = os.statvfs(folder)
    try:
        (folder / "fill").write_bytes(bytes(max(0, system.f_bavail * system.f_frsize - leave)))
    except OSError:  # somebody else takes of it meanwhile
        pass


# ---------------------------------------------------------------- cases


def full_disks(bench: Bench, root: Path, model: Path) -> None:
    with mounted("full disk", root / "small", "size=512k") as small:
        if not small:
            return
        for target in ("safetensors", "packed"):
            ran = bench.run("export", model, *SET, "--target", target, "-o", small / "out")
            refused(f"full disk {target}", ran, "/out: the disk is full", r"needed", r"free", "nothing was written")
            check(f"full disk {target} leaves nothing", not os.listdir(small), ran, str(os.listdir(small)))
            check(f"full disk {target} is told before the work", ran.seconds < 2, ran)
        hf = folder_model(root / "hf-full", model)
        for target in ("safetensors", "packed"):
            refused(f"full disk folder {target}", bench.run("export", hf, *SET, "--target", target, "-o", small / "f"), "full")
        check("full disk folder leaves nothing", not os.listdir(small), None, str(os.listdir(small)))
        demo = bench.run("export", "demo", "--set", "*=int8", "-o", small / "demo.spk")
        done("full disk small export", demo)
        before = digest(small / "demo.spk")
        fill(small, 16384)
        refused("full disk --force", bench.run("export", "demo", "--set", "*=int4", "-o", small / "demo.spk", "--force"), "full")
        check("full disk --force leaves the old", digest(small / "demo.spk") == before and not temporaries(small))
    with mounted("tight disk", root / "tight", "size=8m") as tight:
        if not tight:
            return
        # A tenth of 6 million codes and a mask are 1.3 MiB, all codes 6: what may not fit is told, and fits.
        fill(tight, 5 * MIB)
        ran = bench.run("export", model, "--set", "*=prune:0.9+int8", "--target", "packed", "-o", tight / "out")
        done("tight disk", ran)
        check("tight disk is warned of", bool(re.search(r"may not fit: up to .* free", ran.err)), ran)
    with mounted("disk fills up", root / "filling", "size=32m") as filling:
        if not filling:
            return
        process, begun = bench.start("export", model, *SET, "-o", filling / "out"), time.monotonic()
        while not temporaries(filling) and process.poll() is None:
            time.sleep(0.001)
        fill(filling, 0)
        ran = bench.end(process, begun)
        if ran.code:
            refused("disk fills up", ran, "the disk is full")
        check("disk fills up", (filling / "out").exists() == (ran.code == 0) and not temporaries(filling), ran)


def read_only(bench: Bench, root: Path, model: Path) -> None:
    with mounted("read-only mount", root / "sealed", "size=1m,ro") as sealed:
        if sealed:
            ran = bench.run("export", model, *SET, "-o", sealed / "out")
            refused("read-only mount", ran, "Read-only")
            check("read-only mount is told before the work", ran.seconds < 2, ran)
    if os.geteuid() != 0:
        return skip("read-only folder", "another user can be taken by root only; cargo test has it for plain users")
    folder = root / "readonly"
    folder.mkdir(mode=0o755)
    ran = bench.run("export", model, *SET, "-o", folder / "out", prefix=NOBODY)
    refused("read-only folder", ran, "cannot be written", "ermission")
    check("read-only folder is told before the work", ran.seconds < 2, ran)


def few_threads(bench: Bench) -> None:
    if os.geteuid() != 0:
        return skip("no threads", "another user can be taken by root only; cargo test has it for plain users")
    plain = bench.run("inspect", "demo", "--json")
    for processes in (1, 2, 3):
        prefix = [*NOBODY, "prlimit", f"--nproc={processes}"]
        ran = bench.run("inspect", "demo", "--json", prefix=prefix)
        done(f"no threads {processes}", ran)
        check(f"no threads {processes} same answer", ran.out == plain.out, ran)
    (bench.root / "any").mkdir()
    (bench.root / "any").chmod(0o777)
    ran = bench.run("screenshot", "demo", "-o", bench.root / "any/a.png", prefix=[*NOBODY, "prlimit", "--nproc=1"])
    refused("no threads for a window", ran, "threads cannot be started")


def small_address_space(bench: Bench, root: Path) -> None:
    path, size = root / "sparse.safetensors", 4 << 30
    text = json.dumps({"w.weight": {"dtype": "BF16", "shape": [2 << 20, 1024], "data_offsets": [0, size]}}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + size)
    limit = [(resource.RLIMIT_AS, 2 << 30)]
    for words in (["estimate", path, "--bytes-only", "--set", "*=int4"], ["inspect", path]):
        ran = bench.run(*words, limits=limit)
        done(f"2 GiB of addresses {words[0]}", ran)
        check(f"2 GiB of addresses {words[0]} is told", "cannot be mapped" in ran.err, ran)
    path.unlink()


def changed(bench: Bench, root: Path, model: Path) -> None:
    """The source is cut short, grows or is written to at random moments: an error that says so, or an export that was done
    before; never a signal, never a temporary."""
    folder = root / "changing"
    folder.mkdir()
    source, out = folder / "m.safetensors", folder / "out"
    rng, late = random.Random(11), 0
    took = min(bench.run("export", model, *SET, "-o", out, "--force").seconds for _ in range(3))
    for i in range(24):
        out.unlink(missing_ok=True)
        shutil.copyfile(model, source)
        words = ["--no-mmap"] if i % 2 else []
        process, begun = bench.start("export", source, *SET, "-o", out, *words), time.monotonic()
        time.sleep(took * rng.random() * 0.9)
        how = ("cut", "grown", "written")[i % 3]
        if process.poll() is None:
            with source.open("r+b") as file:
                if how == "cut":
                    file.truncate(4096)
                else:
                    file.seek(0 if how == "grown" else -4096, 2)
                    file.write(b"\x11\x3f" * 2048)
        ran = bench.end(process, begun)
        case = f"source {how} at {took:.1f} s x {i}{''.join(words)}"
        # Before it was opened: another error about the file. After the last look at it: done.
        late += ran.code == 0
        told = "changed while it was open" in ran.err or "header" in ran.err
        check(case, (ran.code == 0 and out.exists()) or (ran.code == 1 and told and not out.exists()), ran)
        check(f"{case} leaves nothing", not temporaries(folder), ran)
    check("sources changed in time", late < 20, None, f"{late} of 24 exports were done before the change")


def killed(bench: Bench, root: Path, model: Path) -> None:
    folder = root / "killed"
    folder.mkdir()
    out = folder / "out"
    words = ["export", model, *SET, "-o", out, "--force"]
    took = min(bench.run(*words).seconds for _ in range(2))
    whole = digest(out)
    for i in range(12):
        out.write_bytes(b"old and whole")
        process = bench.start(*words)
        time.sleep(took * (i + random.random()) / 12)
        process.kill()
        process.communicate()
        check(f"killed {i}", out.read_bytes() == b"old and whole" or digest(out) == whole, None, "a broken file has the name")
    left = temporaries(folder)
    check("killed runs leave temporaries", bool(left), None, "no run was killed in the middle; the model is too small")
    ran = bench.run(*words)
    check("they are named", all(name in ran.err for name in sorted(left)[:3]) and "--clean" in ran.err, ran)
    check("they are left alone", sorted(temporaries(folder)) == sorted(left))
    done("--clean", bench.run(*words, "--clean"))
    check("--clean removes them", not temporaries(folder), None, str(temporaries(folder)))
    # A folder is never missing under its name, where the system can exchange two.
    hf = folder_model(root / "hf-killed", model)
    done("folder", bench.run("export", hf, *SET, "-o", folder / "f"))
    for i in range(6):
        process = bench.start("export", hf, *SET, "-o", folder / "f", "--force")
        time.sleep(took * (0.4 + i * 0.12))
        process.kill()
        process.communicate()
        check(f"killed folder {i}", (folder / "f/model.safetensors").exists() and digest(folder / "f/model.safetensors") == whole)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spokeshave-faults-") as name:
        root = Path(name)
        root.chmod(0o755)
        bench, model = Bench(args.binary, root), weights(root / "m.safetensors", 24)
        cases = {
            "full": lambda: full_disks(bench, root, model),
            "readonly": lambda: read_only(bench, root, model),
            "threads": lambda: few_threads(bench),
            "addresses": lambda: small_address_space(bench, root),
            "changed": lambda: changed(bench, root, model),
            "killed": lambda: killed(bench, root, model),
        }
        for word, case in cases.items():
            if args.only in word:
                case()
    if COUNTS["skipped"]:
        print(f"{COUNTS['skipped']} SKIPPED, see above: run as root where tmpfs can be mounted for all of them")
    print(f"{COUNTS['passed']} passed, {COUNTS['failed']} failed")
    return 1 if COUNTS["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
