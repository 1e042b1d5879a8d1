"""ONNX models, spelled field by field: one for each rule, and folders with their values in other files.

Fields and their numbers are those of onnx.proto; the rules are `onnx.checker`'s (onnx 1.23). `tests/readers/interchange.py` asks
that checker about each of these files. What ONNX's own writer makes is in `written`.
"""

from __future__ import annotations

import struct

FLOAT, UINT8, INT8, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE, UINT32 = 1, 2, 3, 6, 7, 8, 9, 10, 11, 12
COMPLEX128, BFLOAT16, FLOAT8, UINT4, INT4, FLOAT4, FLOAT6 = 15, 16, 17, 21, 22, 23, 27
TOP = 2**64 - 1
PAST = "has more elements than can be counted"


def varint(n: int) -> bytes:
    n &= TOP
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def integer(field: int, n: int) -> bytes:
    return varint(field << 3) + varint(n)


def content(field: int, data: bytes | str, length: int | None = None) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data) if length is None else length) + data


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def tensor(name: str | bytes | None = "w", kind: int | None = FLOAT, dims=(2,), *fields: bytes) -> bytes:
    out = b"".join(integer(1, d) for d in dims) + (b"" if kind is None else integer(2, kind))
    return out + (b"" if name is None else content(8, name)) + b"".join(fields)


def raw(data: bytes) -> bytes:
    return content(9, data)


def numbers(field: int, *values: int) -> bytes:
    return content(field, b"".join(varint(v) for v in values))


def node(kind: str, inputs=(), outputs=(), attributes=(), name: str = "") -> bytes:
    out = b"".join(content(1, i) for i in inputs) + b"".join(content(2, o) for o in outputs)
    return out + (content(3, name) if name else b"") + content(4, kind) + b"".join(content(5, a) for a in attributes)


def attribute(name: str, *fields: bytes) -> bytes:
    return content(1, name) + b"".join(fields)


def graph(initializers=(), nodes=(), *fields: bytes) -> bytes:
    out = b"".join(content(1, n) for n in nodes) + content(2, "g")
    return out + b"".join(content(5, t) for t in initializers) + b"".join(fields)


def model(initializers=(), nodes=(), *fields: bytes) -> bytes:
    return integer(1, 10) + content(2, "make_onnx.py") + content(7, graph(initializers, nodes, *fields)) + content(8, integer(2, 21))


WHOLE = raw(floats(0.5, -1.5))
GOOD = tensor("w", FLOAT, (2,), WHOLE)


def one(*fields: bytes, kind: int | None = FLOAT, dims=(2,), name: str | bytes | None = "w") -> bytes:
    """A model of one tensor."""
    return model([tensor(name, kind, dims, *fields)])


def nested(depth: int) -> bytes:
    """Graphs in one another, the innermost with a tensor."""
    inner = graph([GOOD])
    for _ in range(depth - 1):
        inner = graph((), [node("Loop", (), ["n"], [attribute("body", content(6, inner))])])
    return integer(1, 10) + content(7, inner)


def files() -> list[tuple[str, bytes, str]]:
    good, w = model([GOOD]), 'tensor "w": '
    start = good.index(content(7, graph([GOOD])))
    cuts = [
        ("cut_in_producer", good[:6], "the model: the field at byte 2 is said to take 12 bytes, and 2 follow; the file is damaged or cut short"),
        ("cut_before_graph", good[:start], "the model: it has no graph"),
        ("cut_in_graph", good[:-8], f"the model: the field at byte {start} is said to take {len(graph([GOOD]))} bytes, and"),
        ("cut_by_one", good[:-1], "and 1 follow"),
    ]
    branches = [
        attribute(name, content(6, graph([tensor("b", FLOAT, (1,), raw(floats(value)))])))
        for name, value in (("then_branch", 1), ("else_branch", 2))
    ]
    same = attribute("then_branch", content(6, graph([tensor("b", FLOAT, (1,), raw(floats(1)))])))
    sparse = content(15, content(1, tensor("thin", FLOAT, (1,), raw(floats(1)))))
    long = content(9, b"", TOP)
    return cuts + [
        # the wire
        ("group", integer(1, 10) + b"\x3b", "the model: byte 2 begins or ends a group, which ONNX has none of"),
        ("wire_type_7", integer(1, 10) + content(2, "x") + b"\x3f", "the model: the field at byte 5 is of wire type 7"),
        ("field_0", integer(1, 10) + content(2, "x") + b"\x02\x00", "byte 5 begins a field of number 0"),
        ("field_2e29", integer(1, 10) + content(2, "x") + varint(2**29 << 3) + b"\0", "of number 536870912"),
        ("varint_long", integer(1, 10) + content(2, "x") + b"\x28" + b"\xff" * 10 + b"\1", "the number at byte 6 takes more than 64 bits"),
        ("varint_large", integer(1, 10) + content(2, "x") + b"\x28" + b"\xff" * 9 + b"\2", "the number at byte 6 takes more than 64 bits"),
        ("varint_cut", integer(1, 10) + content(2, "x") + b"\x28\xff", "the number at byte 6 has no end"),
        ("length_2e64", integer(1, 10) + content(7, b"", TOP), f"the field at byte 2 is said to take {TOP} bytes, and 0 follow"),
        ("length_of_tensor", integer(1, 10) + content(7, content(5, b"\0" * 4, 2**40)), f"the graph: the field at byte 4 is said to take {2**40} bytes, and 4 follow"),
        ("length_of_raw", one(long), f"initializer 0: the field at byte 30 is said to take {TOP} bytes, and 0 follow"),
        ("tensor_is_number", integer(1, 10) + content(7, integer(5, 1)), "the graph: initializer is a number, expected bytes with a length"),
        ("graph_twice", good + content(7, graph()), "the model: graph is given twice"),
        ("no_graph", integer(1, 10) + content(2, "x"), "the model: it has no graph"),
        ("nested_33", nested(33), "it lies in 32 others, at most 31 are gone into"),
        ("nested_1000", nested(1000), "it lies in 32 others, at most 31 are gone into"),
        # what a tensor says of itself
        ("no_name", model([GOOD, tensor(None, FLOAT, (2,), WHOLE)]), "initializer 1: it has no name"),
        ("name_twice", model([GOOD, GOOD]), w + "its graph has two tensors of this name"),
        ("name_twice_in_message", one(WHOLE, content(8, "v")), "its name is given twice"),
        ("name_not_utf8", one(WHOLE, name=b"w\xff"), "initializer 0: the text in it is not UTF-8"),
        ("name_long", one(WHOLE, name="n" * 65537), "a text in it is 65537 bytes long, at most 65536 are read"),
        ("name_evil", one(name="\x1b[2J\u202e"), 'tensor "\\u{1b}[2J\\u{202e}": its shape [2] and type need 8 bytes, and there are none'),
        ("type_none", one(WHOLE, kind=None), w + "it has no data_type"),
        ("type_0", one(WHOLE, kind=0), w + "it has no data_type"),
        ("type_negative", one(WHOLE, kind=-1), w + "its data_type is -1"),
        ("dimension_negative", one(WHOLE, dims=(2, -1)), "initializer 0: dimension 1 is -1; allowed are whole numbers from 0 on"),
        ("dimension_2e63", one(WHOLE, dims=(2**63,)), f"dimension 0 is {-(2**63)}"),
        ("dimension_packed_negative", model([content(1, varint(-5)) + integer(2, FLOAT) + content(8, "w")]), "dimension 0 is -5"),
        ("dimensions_65", one(WHOLE, dims=(1,) * 65), "it has more than 64 dimensions"),
        ("product_wraps", one(WHOLE, dims=(2**32, 2**32)), w + f"shape [4294967296, 4294967296] {PAST}"),
        ("product_wraps_to_small", one(WHOLE, dims=(2**32, 2**31, 2, 2)), PAST),
        ("bytes_wrap", one(WHOLE, kind=DOUBLE, dims=(2**61,)), "needs more bytes than can be counted"),
        ("segment", one(WHOLE, content(3, integer(1, 0))), "it is one segment of a tensor in several"),
        ("location_2", one(integer(14, 2)), w + "its data_location is 2"),
        # how many bytes there are
        ("raw_short", one(raw(bytes(7))), w + "its shape [2] and type need 8 bytes, and there are 7"),
        ("raw_long", one(raw(bytes(9))), w + "its shape [2] and type need 8 bytes, and there are 9"),
        ("raw_none", one(), w + "its shape [2] and type need 8 bytes, and there are none"),
        ("raw_and_floats", one(WHOLE, content(4, floats(1, 2))), w + "it has values in raw_data and in float_data"),
        ("raw_twice", one(WHOLE, WHOLE), "raw_data is given twice"),
        ("floats_few", one(content(4, floats(1))), w + "its shape [2] and type need 8 bytes, and float_data holds 4"),
        ("floats_many", one(content(4, floats(1, 2, 3))), "need 8 bytes, and float_data holds 12"),
        ("floats_half", one(content(4, bytes(6))), "need 8 bytes, and float_data holds 6"),
        ("floats_of_int", one(content(4, floats(1, 2)), kind=INT32), w + "values of its data type (6) belong in int32_data, and are in float_data"),
        ("two_lists", one(content(4, floats(1, 2)), numbers(5, 1, 2)), "it has values in float_data and in int32_data"),
        ("ints_few", one(numbers(5, 1), kind=INT32), w + "its shape [2] and type need 2 numbers, and int32_data has 1 bytes of them"),
        ("ints_many", one(numbers(5, 1, 2, 3), kind=INT32), "need 2 numbers, and int32_data holds more than 2"),
        ("ints_claimed", one(numbers(7, 1, 2), kind=INT64, dims=(2**40,)), f"its shape [{2**40}] and type need {2**40} numbers, and int64_data has 2 bytes"),
        ("int8_too_large", one(numbers(5, 1, 256), kind=INT8), w + "number 1 of int32_data is 256, which does not fit in its type"),
        ("int8_too_small", one(numbers(5, 1, -129), kind=INT8), "number 1 of int32_data is -129"),
        ("f16_too_large", one(numbers(5, 65536, 0), kind=FLOAT16), "number 0 of int32_data is 65536"),
        ("u32_too_large", one(numbers(11, 2**32, 0), kind=UINT32), "number 0 of uint64_data is 4294967296"),
        ("int4_short", one(raw(b"\x12"), kind=INT4, dims=(3,)), w + "its shape [3] and type need 2 bytes, and there are 1"),
        ("int4_in_bytes", one(raw(bytes(3)), kind=INT4, dims=(3,)), "need 2 bytes, and there are 3"),
        ("int4_huge", one(raw(bytes(3)), kind=INT4, dims=(2**40,)), f"need {2**39} bytes, and there are 3"),
        # nothing to open
        ("nothing", model(), "it has no initializers; export the model with its weights"),
        ("texts_alone", one(content(6, "a"), content(6, "b"), kind=STRING), 'it has no tensor that can be read: tensor "w" is left alone: texts (STRING)'),
        # legal corners
        ("ok_raw", good, "ok"),
        ("ok_other_order", integer(1, 10) + content(8, integer(2, 21)) + content(7, graph([GOOD])), "ok"),
        ("ok_doc_not_utf8", good + content(6, b"\xff"), "ok"),
        ("ok_unknown_fields", good + integer(999, 1) + content(98, "x") + varint(97 << 3 | 5) + bytes(4) + varint(96 << 3 | 1) + bytes(8), "ok"),
        ("ok_floats_unpacked", one(*(varint(4 << 3 | 5) + floats(v) for v in (1, 2))), "ok"),
        ("ok_floats_in_two_runs", one(content(4, floats(1)), content(4, floats(2))), "ok"),
        ("ok_ints_unpacked", one(integer(5, -3), integer(5, 4), kind=INT8), "ok"),
        ("ok_dims_packed", model([content(1, varint(1) + varint(2)) + integer(2, FLOAT) + content(8, "w") + WHOLE]), "ok"),
        ("ok_scalar", one(raw(floats(1)), dims=()), "ok"),
        ("ok_empty", one(dims=(3, 0)), "ok"),
        ("ok_f16_pattern", one(numbers(5, 0x3C00, 0xFC00), kind=FLOAT16), "ok"),
        ("ok_float4", one(raw(b"\x12"), kind=FLOAT4), "ok"),
        ("ok_nested_32", nested(32), "ok"),
        ("ok_branches", model([GOOD], [node("If", ["c"], ["y"], branches, "if_0")]), 'ok: tensor "b" is named as one in another graph; the graph\'s name is put before it'),
        ("ok_int4", one(raw(b"\x12"), kind=INT4), 'ok: tensor "w" is of integers of fewer than 8 bits'),
        ("ok_texts", model([GOOD, tensor("t", STRING, (1,), content(6, "a"))]), 'ok: tensor "t" is left alone: texts (STRING) are no numbers'),
        ("ok_complex128", model([GOOD, tensor("c", COMPLEX128, (1,), raw(bytes(16)))]), 'ok: tensor "c" is left alone: COMPLEX128'),
        ("ok_float6", model([GOOD, tensor("s", FLOAT6, (4,), raw(bytes(3)))]), 'ok: tensor "s" is left alone: no other format packs FLOAT6'),
        ("ok_float4_odd", model([GOOD, tensor("f", FLOAT4, (3,), raw(bytes(2)))]), 'ok: tensor "f" is left alone: an odd number of FLOAT4E2M1'),
        ("ok_newer_type", model([GOOD, tensor("n", 1000, (3,), raw(bytes(2)))]), 'ok: tensor "n" is left alone: data type 1000 is newer than this program'),
        ("ok_sparse", model([GOOD], (), sparse), 'ok: tensor "thin" is left alone: sparse initializers are not read'),
        ("ok_matmul", model([tensor("w", FLOAT, (1, 2), WHOLE)], [node("MatMul", ["x", "w"], ["y"])]), 'ok: tensor "w" is multiplied from the right'),
        ("ok_gemm_turned", model([tensor("w", FLOAT, (1, 2), WHOLE)], [node("Gemm", ["x", "w"], ["y"], [attribute("transB", integer(3, 1))])]), "ok"),
        ("branches_of_one_name", model([tensor("b", FLOAT, (1,), raw(floats(0)))], [node("If", ["c"], ["y"], [same, same], "if_0")]), 'tensor "b": three graphs have a tensor of this name'),
    ]


def pair(key: str, value: str) -> bytes:
    return content(13, content(1, key) + content(2, value))


def outside(location: str | None = "w.data", offset: str | None = "0", length: str | None = "8", **k) -> bytes:
    said = {"location": location, "offset": offset, "length": length, "checksum": "0"}
    return one(*(pair(key, value) for key, value in said.items() if value is not None), integer(14, 1), **k)


def folders() -> list[tuple[str, dict[str, bytes], str]]:
    """Models with their values in other files: their folder's name, what is in it, what is said."""
    data = floats(1, 2, 3, 4)
    lies = "its values are said to lie in"
    cases = [
        ("onnx_outside_dots", outside("../ok_single/model.safetensors"), f'{lies} "../ok_single/model.safetensors", which leaves the model\'s folder'),
        ("onnx_outside_dots_within", outside("sub/../../x"), "which leaves the model's folder"),
        ("onnx_outside_absolute", outside("/etc/passwd"), f'{lies} "/etc/passwd", which is not a path from the model\'s folder on'),
        ("onnx_outside_dot", outside("."), f'{lies} ".", which names no file'),
        ("onnx_outside_unnamed", outside(None), 'tensor "w": its values are said to lie in another file, which is not named'),
        ("onnx_outside_empty_name", outside(""), "lie in another file, which is not named"),
        ("onnx_outside_missing", outside("gone.data"), "gone.data, which is missing; download it too and put it beside the model"),
        ("onnx_outside_named_twice", one(pair("location", "w.data"), pair("location", "v.data"), integer(14, 1)), "location is given twice"),
        ("onnx_outside_offset_past_end", outside(offset="16"), "its values are 8 bytes from byte 16 of this file on, which has 16 bytes"),
        ("onnx_outside_length_past_end", outside(offset="12"), "its values are 8 bytes from byte 12 of this file on"),
        ("onnx_outside_offset_wraps", outside(offset=str(TOP)), f"its values are 8 bytes from byte {TOP} of this file on"),
        ("onnx_outside_offset_2e64", outside(offset=str(TOP + 1)), f'the offset of its external data is "{TOP + 1}", not a whole number'),
        ("onnx_outside_offset_negative", outside(offset="-8"), 'the offset of its external data is "-8"'),
        ("onnx_outside_length_text", outside(length="all"), 'the length of its external data is "all"'),
        ("onnx_outside_length_wrong", outside(length="4"), "its shape [2] and type need 8 bytes, and there are 4"),
        ("onnx_outside_and_here", one(WHOLE, pair("location", "w.data"), integer(14, 1)), "its values are said to lie in another file, and lie here too"),
        ("ok_onnx_outside", outside(offset="4"), "ok"),
        ("ok_onnx_outside_by_shape", outside(offset=None, length=None), "ok"),
        ("ok_onnx_outside_int4", outside(length="1", kind=INT4), 'ok: tensor "w" is of integers of fewer than 8 bits'),
    ]
    made = [(name, {"model.onnx": file, "w.data": data}, words) for name, file, words in cases]
    alone = ("onnx_two_models", {"a.onnx": model([GOOD]), "b.onnx": model([GOOD])}, 'this folder has 2 ONNX models, "a.onnx" and "b.onnx" among them')
    return [*made, alone]
