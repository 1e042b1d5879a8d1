"""Factorized tensors, worked out from the paper in numpy: U√S · √S Vᵀ by numpy's own SVD, then what the contract does to it.

Khodak, Tenenholtz, Mackey and Fusi (ICLR 2021): the spectral initialisation. Two decompositions never agree to the last bit, so
values are held to a few units in the last place and quantized ones to where a code may fall either way.
"""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np

from arrays import DTYPES, errors, fidelity, rows_of, wide
from definitions import apply
from harness import Checks, read_artifact, size_on_disk
from levels import round_to
from make_models import file_bytes
from schemes import parse

F64 = np.dtype("f8")
SCHEMES = (
    "rank:1",
    "rank:3",
    "energy:0.5",
    "energy:0.93",
    "energy:0",
    "rank:3+int8",
    "rank:3+int4:row:asym",
    "rank:2+int5:g32:mse",
    "rank:3+f16",
    "energy:0.8+nf4",
    "rank:3+codebook:16",
    "rank:3+ternary:row",
)


def factors(w: np.ndarray, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """U√S and √S Vᵀ of a matrix in f64, each column of U signed so that its largest element is positive."""
    u, s, vt = np.linalg.svd(w.astype(F64), full_matrices=False)
    step, number = re.match(r"(rank|energy):([0-9.]+)", scheme).groups()
    if step == "rank":
        rank = int(number)
    else:
        held = np.cumsum(s * s)
        rank = max(1, min(1 + int(np.count_nonzero(held < float(Fraction(number)) * held[-1])), s.size))
    for k in range(rank):
        if u[np.argmax(np.abs(u[:, k])), k] < 0:
            u[:, k], vt[k] = -u[:, k], -vt[k]
    root = np.sqrt(s[:rank])
    return u[:, :rank] * root, root[:, None] * vt[:rank]


def worked_out(array: np.ndarray, scheme: str, target: str) -> dict:
    """What a reader gets of a factorized tensor, its sizes and its errors."""
    matrix = wide(array).reshape(rows_of(array.shape))
    quantize = parse(scheme.split("+")[1] if "+" in scheme else "keep")
    parts = [round_to(part, array.dtype) for part in factors(matrix, scheme)]
    parts = [apply("factor", part, part, quantize, "packed") for part in parts]
    left, right = (wide(part.stored).reshape(part.stored.shape).astype(F64) for part in parts)
    product = np.zeros(matrix.shape)
    for r in range(left.shape[1]):
        product += np.outer(left[:, r], right[r])
    kind = array.dtype if target == "safetensors" or array.dtype == F64 else np.dtype("f4")
    final = round_to(product, kind).reshape(array.shape)
    return {
        "rank": left.shape[1],
        "final": final,
        "bytes": final.nbytes if target == "safetensors" else sum(part.bytes for part in parts),
        "sparse": sum(part.sparse for part in parts),
        "entropy": sum(part.entropy[0] for part in parts),
        "quantized": quantize.quantizes,
        **errors(array, final),
    }


def matrices(r: np.random.Generator) -> dict[str, np.ndarray]:
    """Matrices of every shape and dtype that has surprised a decomposition."""

    def normal(*shape, dtype="F32"):
        return (r.standard_normal(shape) * 0.05).astype("f4" if dtype != "F64" else "f8").astype(DTYPES[dtype])

    low = normal(40, 4) @ normal(4, 30)
    return {
        "wide.weight": normal(30, 75),
        "tall.weight": normal(90, 41),
        "square.weight": normal(64, 64),
        "steep.weight": (normal(50, 60) * np.float32(0.8) ** np.arange(60, dtype="f4")).astype("f4"),
        "conv.weight": normal(24, 3, 3, 5),
        "half.weight": normal(33, 50, dtype="F16"),
        "brain.weight": normal(40, 31, dtype="BF16"),
        "double.weight": normal(20, 44, dtype="F64") * 1e4,
        "low.weight": low.astype("f4"),
    }


def check_tensor(checks: Checks, case: str, found: dict, values: np.ndarray, wanted: dict) -> None:
    """One tensor of an estimate and of an artifact against what numpy makes of it."""
    loose = 2e-3 if wanted["quantized"] else 2e-6
    # What is left of a matrix of low rank is the rounding of its factors.
    checks.equal(case, "rank", found["rank"], wanted["rank"])
    floor = 1e-5 if wanted["quantized"] else 1e-13
    checks.close(case, "t2", found["t2"], wanted["t2"], max(floor, loose * wanted["t2"]))
    checks.close(case, "cosine", found["cosine"], wanted["cosine"], loose)
    for key in ("bytes", "sparse", "entropy"):
        name = key if key == "bytes" else f"{key}_bytes"
        slack = 0.02 * wanted[key] + 64 if wanted["quantized"] or key == "bytes" and found["t2"] != 0 else 1
        checks.close(case, name, found[name], wanted[key], slack)
    a, b = wide(values).astype(F64), wide(wanted["final"]).astype(F64)
    scale = float(np.sqrt(np.mean(b * b))) or 1.0
    ulp = {2: 2.0**-7, 4: 2.0**-20, 8: 2.0**-40}[wanted["final"].dtype.itemsize]
    apart = float(np.sqrt(np.mean((a - b) ** 2))) / scale
    checks.check(apart < max(ulp, 0.02 if wanted["quantized"] else 0.0), case, "values of the product", apart, ulp)


def check_factorized(checks: Checks, work: Path) -> None:
    """estimate, export and verify of factorized tensors, in both targets."""
    tensors = matrices(np.random.default_rng(21))
    path = work / "factorized.safetensors"
    path.write_bytes(file_bytes(tensors, {"format": "pt"}))
    for scheme in SCHEMES:
        for target in ("safetensors", "packed"):
            case = f"factorized {scheme} [{target}]"
            if not checks.wants(case):
                continue
            out = work / f"factorized-out.{target}"
            recipe = ["--set", f"*={scheme}", "--target", target, "--json"]
            report = checks.run(case, "estimate", path, *recipe).json
            written = checks.run(case, "export", path, *recipe, "-o", out, "--force", "--threads", "1").json
            if not report or not written:
                continue
            first = out.read_bytes()
            checks.run(case, "export", path, *recipe, "-o", out, "--force", "--threads", "2")
            checks.equal(case, "the same bytes whatever --threads", out.read_bytes() == first, True)
            checks.equal(case, "bytes on disk", size_on_disk(out), report["bytes"])
            found, t2s = read_artifact(out, target)[0], []
            for tensor in report["tensors"]:
                name, wanted = tensor["name"], worked_out(tensors[tensor["name"]], scheme, target)
                t2s.append(wanted["t2"])
                dtype, shape, data = found[name]
                checks.equal(f"{case} {name}", "shape", tuple(shape), tensors[name].shape)
                values = np.frombuffer(data, DTYPES[dtype])
                checks.equal(f"{case} {name}", "dtype", values.dtype, wanted["final"].dtype)
                check_tensor(checks, f"{case} {name}", tensor, values, wanted)
            checks.close(case, "fidelity", report["fidelity"], fidelity(t2s), 0.05)
            verified = checks.run(case, "verify", path, out, "--json").json
            checks.check(bool(verified and verified["ok"]), case, "verify says ok")
    check_refused(checks, path, tensors, work)


def check_refused(checks: Checks, path: Path, tensors: dict, work: Path) -> None:
    """A rank above min(m, n), and elements that are not finite; zeros and vectors are factorized."""
    if not checks.wants("factorized refused"):
        return
    case = "factorized refused"
    run = checks.run(case, "estimate", path, "--set", "conv.weight=rank:25", "--json", code=1)
    checks.check("conv.weight" in run.stderr and "24" in run.stderr, case, "the refusal names tensor and rank", run.stderr)
    checks.run(case, "estimate", path, "--set", "conv.weight=rank:24", "--json")
    odd = {"nan.weight": tensors["wide.weight"].copy(), "zero.weight": np.zeros((5, 7), "f4"), "vector": np.arange(9, dtype="f4")}
    odd["nan.weight"][3, 4:6] = np.nan, np.inf
    other = work / "factorized-odd.safetensors"
    other.write_bytes(file_bytes(odd, None))
    run = checks.run(case, "export", other, "--set", "nan.weight=rank:2", "-o", work / "no", "--json", code=1)
    checks.check("nan.weight" in run.stderr and " 2 " in run.stderr, case, "the refusal names tensor and count", run.stderr)
    lines = ["--set", "zero.weight=rank:3+int4", "--set", "vector=rank:1"]
    report = checks.run(case, "estimate", other, *lines, "--json").json
    t2 = {t["name"]: t["t2"] for t in report["tensors"]} if report else {}
    checks.equal(case, "a matrix of zeros is itself", t2.get("zero.weight"), 0)
    checks.close(case, "a vector has rank 1", t2.get("vector"), 0.0, 1e-13)
    for exponent in (-150, 145):  # squares of squares leave the range of f64
        far = tensors["double.weight"] * 10.0**exponent
        place = work / "factorized-far.safetensors"
        place.write_bytes(file_bytes({"far.weight": far}, None))
        report = checks.run(case, "estimate", place, "--set", "*=rank:3", "--json").json
        wanted = worked_out(far, "rank:3", "safetensors")["t2"]
        checks.close(case, f"t2 at 1e{exponent}", report["tensors"][0]["t2"] if report else None, wanted)
    for wrong in ("rank:0", "rank:-1", "energy:1.5", "energy:50%", "rank:2+energy:0.5", "int4+rank:2", "prune:0.5+rank:2", "rank"):
        checks.run(case, "estimate", path, "--set", f"*={wrong}", "--json", code=2)


if __name__ == "__main__":
    print(json.dumps({s: worked_out(matrices(np.random.default_rng(21))["wide.weight"], s, "packed")["t2"] for s in SCHEMES}))
