"""What ONNX's and NumPy's own writers, and onnxruntime's quantizers, make, small: `python make_written.py` with onnx 1.23, onnxruntime 1.32, numpy 2.4 and ml_dtypes.

Beside each file X stands X.safetensors with the tensors that X must be read as, as numpy has them; its metadata says how many
notes there are. The files are kept as they are: a newer package may write other bytes.
"""

from __future__ import annotations

import json
import shutil
import struct
from copy import deepcopy
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

HERE = Path(__file__).resolve().parent / "written"
NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "int32": "I32", "int64": "I64", "uint32": "U32",
    "uint64": "U64", "float16": "F16", "float32": "F32", "float64": "F64", "complex64": "C64", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2": "F8_E5M2", "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip


def expect(path: Path, tensors: dict[str, np.ndarray], notes: int = 0) -> None:
    """The twin of a file: the same tensors, in order and little-endian."""

    def spelled(a: np.ndarray) -> tuple[str, bytes]:
        if a.dtype in (ml_dtypes.int4, ml_dtypes.int2):
            a = a.astype(np.int8)
        if a.dtype in (ml_dtypes.uint4, ml_dtypes.uint2):
            a = a.astype(np.uint8)
        if a.dtype == ml_dtypes.float4_e2m1fn:
            codes = np.ascontiguousarray(a).view(np.uint8).reshape(-1)
            return "F4", (codes[::2] | codes[1::2] << 4).tobytes()
        if a.dtype.byteorder == ">":
            a = a.astype(a.dtype.newbyteorder("<"))
        return NAMES[a.dtype.name], a.tobytes("C")

    header, data = {"__metadata__": {"notes": str(notes)}}, b""
    for name, a in tensors.items():
        dtype, content = spelled(a)
        header[name] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    Path(f"{path}.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def arrays(draw: np.random.Generator) -> dict[str, np.ndarray]:
    """An array of every dtype that there is a name for, with its extremes."""
    out: dict[str, np.ndarray] = {}
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
        low, high = np.iinfo(name).min, np.iinfo(name).max
        out[name] = np.array([[low, high, 0], [1, high // 2, low // 2]], name)
    for name in ("float16", "float32", "float64"):
        out[name] = np.array([[0.0, -0.0, np.inf], [-np.inf, np.nan, 0.1]], name)
    out["bool"] = np.array([[True, False, True], [False, True, True]])
    out["complex64"] = np.array([[1 + 2j, -0.5j, 3]], np.complex64)
    for name in ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"):
        out[name] = draw.standard_normal((3, 4)).astype("f4").__abs__().astype(getattr(ml_dtypes, name))
    for name in ("int4", "uint4"):
        out[name] = np.arange(16).reshape(2, 8).astype(getattr(ml_dtypes, name))
    out["int4_odd"] = np.arange(-4, 1).astype(ml_dtypes.int4)
    for name in ("int2", "uint2"):
        out[name] = np.arange(6).astype(getattr(ml_dtypes, name))
    out["float4"] = draw.standard_normal((2, 4)).astype("f4").astype(ml_dtypes.float4_e2m1fn)
    return out


def graph_of(initializers, nodes=None) -> onnx.ModelProto:
    nodes = nodes or [helper.make_node("Identity", ["x"], ["y"])]
    value = [helper.make_tensor_value_info(name, T.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], initializers)
    return helper.make_model(graph, producer_name="onnx", opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def onnx_files() -> None:
    draw = np.random.default_rng(5)
    known = arrays(draw) | {"scalar": np.array(7.5, "f4"), "empty": np.zeros((3, 0), "f4")}
    # As bytes, and as the lists of numbers that each type has.
    onnx.save(graph_of([numpy_helper.from_array(a, name) for name, a in known.items()]), HERE / "raw.onnx")
    expect(HERE / "raw.onnx", known, notes=1)
    kind = lambda a: helper.np_dtype_to_tensor_dtype(a.dtype)  # noqa: E731
    listed = [helper.make_tensor(name, kind(a), a.shape, a.reshape(-1)) for name, a in known.items()]
    onnx.save(graph_of(listed), HERE / "listed.onnx")
    expect(HERE / "listed.onnx", known, notes=1)
    # An If whose branches have weights and constants, one of them under a name of the other branch.
    w = {name: draw.standard_normal(shape).astype("f4") for name, shape in (("w", (4, 4)), ("a", (4, 2)), ("b", (4, 2)), ("c", (2, 2)), ("d", (2, 2)))}
    value = helper.make_tensor_value_info("z", T.FLOAT, None)
    branch = lambda array, constant, op: helper.make_graph(  # noqa: E731
        [helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(w[constant])), helper.make_node(op, ["x", "m"], ["z"])],
        op, [], [value], [numpy_helper.from_array(w[array], "m")],
    )  # fmt: skip
    nodes = [helper.make_node("If", ["p"], ["y"], "choice", then_branch=branch("a", "c", "Add"), else_branch=branch("b", "d", "Sub"))]
    onnx.save(graph_of([numpy_helper.from_array(w["w"], "w")], nodes), HERE / "branches.onnx")
    # Attributes are written in the order of their names.
    held = {"w": w["w"], "m": w["b"], "k": w["d"], "choice.then_branch/m": w["a"], "choice.then_branch/k": w["c"]}
    expect(HERE / "branches.onnx", held, notes=1)
    # Values in one file beside the model, on pages of their own.
    (HERE / "external").mkdir()
    external = {f"w{i}": draw.standard_normal((8, 8 + i)).astype("f4") for i in range(3)}
    onnx.save(
        graph_of([numpy_helper.from_array(a, name) for name, a in external.items()]),
        HERE / "external/external.onnx", save_as_external_data=True, location="values.bin", size_threshold=0,
    )  # fmt: skip
    (HERE / "external/values.bin").chmod(0o644)
    expect(HERE / "external/external.onnx", external)


class Ids(CalibrationDataReader):
    """Two inputs to calibrate by."""

    def __init__(self) -> None:
        self.left = 2

    def get_next(self) -> dict | None:
        self.left -= 1
        return {"ids": np.arange(8)} if self.left >= 0 else None


def quantized_files() -> None:
    """One small net, quantized in the four ways that onnxruntime has."""
    draw = np.random.default_rng(7)
    shapes = {"emb": (10, 32), "fc.weight": (32, 32), "head.weight": (16, 32), "head.bias": (16,), "conv.weight": (4, 1, 3, 3)}
    weights = [numpy_helper.from_array(draw.standard_normal(shape).astype("f4"), name) for name, shape in shapes.items()]
    weights.append(numpy_helper.from_array(np.array([1, 1, 8, 16]), "shape"))
    nodes = [
        helper.make_node("Gather", ["emb", "ids"], ["x"], "gather"),
        helper.make_node("MatMul", ["x", "fc.weight"], ["a"], "fc"),
        helper.make_node("Gemm", ["a", "head.weight", "head.bias"], ["b"], "head", transB=1),
        helper.make_node("Reshape", ["b", "shape"], ["c"], "reshape"),
        helper.make_node("Conv", ["c", "conv.weight"], ["y"], "conv", kernel_shape=[3, 3]),
    ]
    ids = helper.make_tensor_value_info("ids", T.INT64, [8])
    graph = helper.make_graph(nodes, "g", [ids], [helper.make_tensor_value_info("y", T.FLOAT, [1, 4, 6, 14])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)

    def written(name: str, notes: int) -> None:
        found = {t.name: numpy_helper.to_array(t) for t in onnx.load(HERE / name).graph.initializer}
        expect(HERE / name, found, notes)

    quantize_dynamic(deepcopy(model), HERE / "dynamic.onnx")
    written("dynamic.onnx", notes=0)
    quantize_static(deepcopy(model), HERE / "qdq.onnx", Ids(), quant_format=QuantFormat.QDQ, per_channel=True)
    written("qdq.onnx", notes=0)
    quantize_static(deepcopy(model), HERE / "qdq4.onnx", Ids(), quant_format=QuantFormat.QDQ, weight_type=QuantType.QInt4)
    written("qdq4.onnx", notes=1)
    for name, form, notes in (("nbits.onnx", QuantFormat.QOperator, 0), ("nbits_qdq.onnx", QuantFormat.QDQ, 1)):
        config = DefaultWeightOnlyQuantConfig(block_size=16, is_symmetric=False, quant_format=form)
        quantizer = MatMulNBitsQuantizer(deepcopy(model), algo_config=config)
        quantizer.process()
        onnx.save(quantizer.model.model, HERE / name)
        written(name, notes)


def numpy_files() -> None:
    known = {name: a for name, a in arrays(np.random.default_rng(6)).items() if a.dtype.kind in "biufc" and name != "float8_e5m2"}
    known |= {"scalar": np.array(7.5), "empty": np.zeros((0, 3), "f4"), "deep": np.arange(120, dtype="i2").reshape(2, 3, 4, 5)}
    odd = {f"{name}_columns": np.asfortranarray(a) for name, a in known.items()}
    odd |= {f"{name}_big": a.astype(a.dtype.newbyteorder(">")) for name, a in known.items() if a.dtype.itemsize > 1}
    odd |= {f"{name}_both": np.asfortranarray(a.astype(a.dtype.newbyteorder(">"))) for name, a in known.items() if a.dtype.itemsize > 1}
    odd["bfloat16"] = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    left = {"texts": np.array(["a"]), "objects": np.array([None, {}], object), "complex128": np.zeros(2, complex), "when": np.zeros(1, "M8[s]")}
    odd["float8_e5m2"] = np.arange(6).reshape(2, 3).astype(ml_dtypes.float8_e5m2)
    np.savez(HERE / "stored.npz", **known, **odd, **left)
    expect(HERE / "stored.npz", known | odd, notes=6)
    np.savez_compressed(HERE / "deflated.npz", **known, **odd)
    expect(HERE / "deflated.npz", known | odd, notes=2)
    np.save(HERE / "one.npy", known["deep"])
    expect(HERE / "one.npy", {"one": known["deep"]})
    np.save(HERE / "turned.npy", odd["deep_both"])
    expect(HERE / "turned.npy", {"turned": odd["deep_both"]})


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    onnx_files()
    quantized_files()
    numpy_files()
