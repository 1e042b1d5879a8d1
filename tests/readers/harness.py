"""The measuring bench: runs the binary, counts what agrees, and reads artifacts without the program's help.

Every run is checked for its exit code, for panics and for silence on stdout after a failure, whatever else it was for.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from arrays import DTYPE_NAMES
from definitions import Expected
from make_models import read_reference
from schemes import parse

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "assets"))
try:
    import read_packed
except ImportError:  # the dense target can be checked without it
    read_packed = None

np.seterr(invalid="ignore")  # widening a signalling NaN is what some of these models are for
TARGETS = ("safetensors", "packed")
ESTIMATE_KEYS = {
    "target",
    "label",
    "source_bytes",
    "bytes",
    "overhead_bytes",
    "sparse_bytes",
    "entropy_bytes",
    "bits_per_weight",
    "fidelity",
    "fidelity_form",
    "tensors",
}
ESTIMATE_TENSOR_KEYS = {
    "name",
    "scheme",
    "stored_as",
    "label",
    "shape",
    "bytes",
    "sparse_bytes",
    "entropy_bytes",
    "zeros",
    "t2",
    "sqnr_db",
    "cosine",
}


class Checks:
    """Counts, and prints what failed with what was found and what was expected."""

    def __init__(self, binary: Path, only: str | None):
        self.binary, self.only = binary.resolve(), only
        self.counts: dict[str, Counter] = {}
        self.lock = threading.Lock()

    def wants(self, case: str) -> bool:
        return not self.only or self.only in case

    def check(self, ok: bool, case: str, what: str, found=None, expected=None) -> bool:
        with self.lock:
            self.counts.setdefault(case.split(" ")[0], Counter())["passed" if ok else "failed"] += 1
            if not ok:
                detail = (
                    ""
                    if found is None and expected is None
                    else f": found {str(found)[:300]}, expected {str(expected)[:300]}"
                )
                print(f"FAIL {case}: {what}{detail}", flush=True)
        return bool(ok)

    def equal(self, case: str, what: str, found, expected) -> bool:
        return self.check(found == expected, case, what, found, expected)

    def close(self, case: str, what: str, found, expected, floor: float = 1e-9) -> bool:
        """Equal to 1e-6 relative; null only where null is expected."""
        if expected is None or found is None or not isinstance(found, (int, float)):
            return self.equal(case, what, found, expected)
        return self.check(abs(found - expected) <= max(1e-6 * abs(expected), floor), case, what, found, expected)

    def run(self, case: str, *args, code: int | None = 0, timeout: float = 60, cwd: Path | None = None) -> Run:
        """Runs the binary and checks the exit code, that nothing panicked, and that a failed --json run is silent on stdout."""
        command, start = [str(self.binary), *map(str, args)], time.monotonic()
        try:
            done = subprocess.run(command, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL, cwd=cwd)
            run = Run(done.returncode, done.stdout, done.stderr.decode(errors="replace"), time.monotonic() - start)
        except subprocess.TimeoutExpired:
            run = Run(-1, b"", f"no answer within {timeout} s", timeout)
        label = " ".join(map(str, args))[:160]
        if code is not None:
            self.check(
                run.code == code,
                case,
                f"exit code of `{label}`",
                f"{run.code} with {run.stderr.strip()[-240:]!r}",
                code,
            )
        self.check(
            "panicked" not in run.stderr and run.code in (0, 1, 2),
            case,
            f"no crash in `{label}`",
            run.stderr[-300:],
            "no panic",
        )
        if "--json" in args and run.code != 0:
            self.check(
                run.stdout.strip() == b"" or "verify" in args,
                case,
                f"stdout is empty on failure of `{label}`",
                run.stdout[:200],
                "",
            )
        if "--json" in args and run.code == 0:
            run.parse(self, case, label)
        return run

    def finish(self) -> int:
        for section in sorted(self.counts):
            counts = self.counts[section]
            print(f"{section:16} {counts['passed']:6} passed {counts['failed']:4} failed")
        passed, failed = (sum(c[key] for c in self.counts.values()) for key in ("passed", "failed"))
        print(f"{passed} passed, {failed} failed")
        return 1 if failed or not passed else 0


@dataclass
class Run:
    code: int
    stdout: bytes
    stderr: str
    seconds: float
    json: dict | None = None

    def parse(self, checks: Checks, case: str, label: str) -> None:
        try:
            self.json = json.loads(self.stdout, parse_constant=dict().__getitem__)  # NaN and Infinity are no JSON
        except (ValueError, KeyError) as error:
            checks.check(False, case, f"one JSON document on stdout of `{label}`", error, "JSON")


# ---------------------------------------------------------------- reading artifacts


def sha(path: Path) -> str:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return hashlib.sha256(
        b"".join(str(p.relative_to(path)).encode() + hashlib.sha256(p.read_bytes()).digest() for p in files)
    ).hexdigest()


def weight_files(path: Path) -> list[Path]:
    """The files whose sizes count: shards and index, not config and tokenizer."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.name not in ("config.json", "tokenizer.json"))


def size_on_disk(path: Path) -> int:
    return sum(p.stat().st_size for p in weight_files(path))


def read_artifact(path: Path, target: str) -> tuple[dict[str, tuple[str, tuple, bytes]], str]:
    """name -> (dtype, shape, bytes) and the recipe inside, by readers that are not the program."""
    out, recipe = {}, ""
    for file in weight_files(path):
        if file.suffix == ".json":
            continue
        if target == "packed":
            tensors, metadata = read_packed.read(str(file))
            out |= tensors
        else:
            data = file.read_bytes()
            metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
            out |= {n: (DTYPE_NAMES[a.dtype], a.shape, a.tobytes()) for n, a in read_reference(data).items()}
        recipe += metadata.get("spokeshave.recipe", "")
    return out, recipe


def differing(found: bytes, expected: np.ndarray, free_zero_sign: np.ndarray | None) -> int:
    """How many elements differ in their bits, -0 for +0 allowed only where the contract allows it."""
    word = np.dtype(f"u{expected.dtype.itemsize}")
    a, b = np.frombuffer(found, word), np.frombuffer(expected.tobytes(), word)
    if a.size != b.size:
        return max(a.size, b.size)
    sign = word.type(1 << (8 * word.itemsize - 1))
    different = a != b
    if free_zero_sign is not None:
        different &= ~(free_zero_sign & ((a & ~sign) == 0) & ((b & ~sign) == 0))
    return int(np.count_nonzero(different))


# ---------------------------------------------------------------- comparisons


def without_defaults(scheme: str):
    try:
        return replace(parse(scheme), text="")
    except ValueError:
        return scheme


def check_estimate(
    checks: Checks, case: str, report: dict, path: Path, model: dict, expected: Expected, target: str
) -> None:
    checks.equal(case, "missing estimate keys", ESTIMATE_KEYS - set(report), set())
    checks.equal(
        case,
        "target, label, form",
        (report["target"], report["label"], report["fidelity_form"]),
        (target, "exact", "chain"),
    )
    checks.equal(case, "source_bytes", report["source_bytes"], size_on_disk(path))
    if not checks.equal(
        case, "estimate names, bytewise", [t["name"] for t in report["tensors"]], list(expected.tensors)
    ):
        return
    checks.equal(
        case, "bytes = payloads + overhead", report["bytes"], expected.total("bytes") + report["overhead_bytes"]
    )
    checks.equal(case, "total sparse_bytes", report["sparse_bytes"], expected.total("sparse"))
    checks.equal(
        case, "total entropy_bytes", report["entropy_bytes"], sum(t["entropy_bytes"] for t in report["tensors"])
    )
    parameters = sum(a.size for a in model.values())
    checks.close(
        case, "bits_per_weight", report["bits_per_weight"], 8 * report["bytes"] / parameters if parameters else None
    )
    checks.close(case, "fidelity", report["fidelity"], expected.fidelity)
    for tensor in report["tensors"]:
        name, outcome = tensor["name"], expected.tensors[tensor["name"]]
        checks.equal(case, f"{name}: missing estimate keys", ESTIMATE_TENSOR_KEYS - set(tensor), set())
        if outcome.stored.size:
            checks.equal(
                case,
                f"{name}: scheme but for defaults",
                without_defaults(tensor["scheme"]),
                without_defaults(outcome.scheme),
            )
            checks.equal(case, f"{name}: stored_as", tensor["stored_as"], tensor["scheme"])
        checks.equal(case, f"{name}: label", tensor["label"], "exact")
        checks.equal(case, f"{name}: shape", tensor["shape"], list(outcome.stored.shape))
        for key, wanted in (("bytes", outcome.bytes), ("sparse_bytes", outcome.sparse), ("zeros", outcome.zeros)):
            checks.equal(case, f"{name}: {key}", tensor[key], wanted)
        low, high = outcome.entropy
        checks.check(
            low <= tensor["entropy_bytes"] <= high,
            case,
            f"{name}: entropy_bytes",
            tensor["entropy_bytes"],
            f"{low}..{high}",
        )
        checks.close(case, f"{name}: t2", tensor["t2"], outcome.t2, 1e-18)
        checks.close(case, f"{name}: sqnr_db", tensor["sqnr_db"], outcome.sqnr_db, 1e-6)
        checks.close(case, f"{name}: cosine", tensor["cosine"], outcome.cosine)


def check_values(checks: Checks, case: str, found: dict, expected: Expected) -> None:
    """Every tensor of an artifact: names, dtypes, shapes and bits."""
    checks.equal(case, "names in the artifact", sorted(found), sorted(expected.tensors))
    for name, outcome in expected.tensors.items():
        if name not in found:
            continue
        dtype, shape, data = found[name]
        kind = (dtype, tuple(shape))
        if checks.equal(
            case,
            f"{name}: dtype and shape in the artifact",
            kind,
            (DTYPE_NAMES[outcome.stored.dtype], outcome.stored.shape),
        ):
            checks.equal(
                case, f"{name}: elements with other bits", differing(data, outcome.stored, outcome.free_zero_sign), 0
            )
