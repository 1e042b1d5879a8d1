"""Files of PyTorch that break one rule each, and odd ones that break none; `torch_files.py` writes them, without torch."""

from __future__ import annotations

import struct

from torch_files import FROM_TYPE, MAGIC, SIZE, Call, Named, New, Storage, archive, floats, legacy, members, pickled, rebuild, saved, tensor

MODULE = Named("torch.nn.modules.linear", "Linear")
OTHER = Named("other.module", "Subclass")
RECONSTRUCT = Named("numpy.core.multiarray", "_reconstruct")
EIGHT = struct.pack("<8f", *range(8))


def eight(**k) -> Storage:
    return Storage("Float", EIGHT, **k)


def module(parameters: dict, buffers: dict, modules: dict, passing: list, **attributes) -> New:
    """An `nn.Module` as it is pickled whole."""
    parts = {"_parameters": parameters, "_buffers": buffers, "_non_persistent_buffers_set": set(passing), "_modules": modules}
    return New(MODULE, {"training": True, **parts, **attributes})


# What a bad file has instead of weights.
EVIL = Call(Named("posix", "system"), "touch /tmp/spokeshave-ran-a-pickle")


def laughs() -> bytes:
    """Thirty dicts, each with the next under two keys, and a tensor in the last: two to the power of thirty ways to it."""
    inner = {"w": floats((2,))}
    for _ in range(30):
        inner = {"a": inner, "b": inner}
    return saved(inner)


def cycle() -> bytes:
    first: dict = {"w": floats((2,))}
    first["again"] = {"first": first, "b": floats((3,))}
    return saved(first)


def deep(levels: int) -> bytes:
    """Lists in lists, written by hand because Python's pickler would go in too deep itself."""
    inner, storages = pickled(floats((2,)), 2)
    data = b"\x80\x02" + b"]" * levels + inner[2:-1] + b"a" * levels + b"."
    return archive({"archive/data.pkl": data, "archive/data/0": storages["0"].data})


def lying() -> bytes:
    """A deflated storage that is said to be small and is not: its sizes in both headers say 32 bytes."""
    data = saved({"w": tensor(Storage("Float", bytes(1_000_003), elements=8), (8,))}, deflated=("archive/data/0",))
    true, said = struct.pack("<I", 1_000_003), struct.pack("<I", 32)
    assert data.count(true) == 2
    return data.replace(true, said)


def without(name: str) -> bytes:
    return archive({key: value for key, value in members({"w": floats((2,))}).items() if key != name})


def bad_tensors() -> list[tuple[str, bytes, str]]:
    """One tensor each with a number that cannot be."""
    one = lambda size, stride=None, offset=0, storage=None, **k: saved({"w": tensor(storage or eight(), size, stride, offset, **k)})
    top = 2**63 - 1
    return [
        ("past_storage", one((3, 3)), "needs 36 bytes of its storage, which has 32"),
        ("stride_past", one((2, 2), (7, 1)), 'tensor "w": shape [2, 2] with strides [7, 1] from element 0 on needs 36 bytes of its storage, which has 32'),
        ("offset_past", one((1,), offset=8), "from element 8 on needs 36 bytes"),
        ("offset_negative", one((1,), offset=-1), "its offset is -1"),
        ("offset_text", one((1,), offset="0"), "its offset is a text"),
        ("size_negative", one((-1, -8)), "its size has -1; allowed are whole numbers from 0 on"),
        ("size_float", one((2.0,), (1,)), "its size has 2; allowed"),
        ("size_none", one(None, (1,)), "its size is None, not a tuple"),
        ("stride_negative", one((2,), (-1,), 1), "its stride has -1"),
        ("stride_short", one((2, 2), (2,)), "its size has 2 numbers, its stride 1"),
        ("size_wraps", one((2**32, 2**32, 2**32), (0, 0, 0)), "more elements than can be counted"),
        ("bytes_wrap", one((2**62,), (0,)), "more bytes than can be counted"),
        ("stride_wraps", one((top,), (top,)), "more bytes than can be counted"),
        ("span_wraps", one((3,), (top,)), "needs more than 2^64 bytes"),
        ("size_huge", one((2**64, 1)), "its size has 18446744073709551616"),
        ("rank", one((1,) * 65), "65 dimensions, more than the 64 allowed"),
        ("expand_bomb", one((2**40,), (0,)), "because they repeat one another"),
        ("storage_claims_more", one((1,), storage=eight(elements=9)), 'its storage "data/0" is said to have 36 bytes, 32 are in the file'),
        ("storage_claims_all", one((1,), storage=eight(elements=2**62)), "more than can be counted"),
        ("storage_negative", one((1,), storage=eight(elements=-1)), "its storage has -1 elements"),
        ("storage_unknown", one((1,), storage=Storage("Nosuch", EIGHT)), 'of the class "torch.NosuchStorage"'),
        ("untyped", one((1,), storage=Storage("Untyped", EIGHT)), "its storage has no dtype, and it names none"),
        ("no_storage", saved({"w": Call(rebuild("tensor_v2"), 1, 0, (1,), (1,), False, {})}), "a storage is expected and an integer stands there"),
        ("few_arguments", saved({"w": Call(rebuild("tensor_v2"), eight(), 0)}), "it has 2 arguments"),
        ("empty_parameter", saved({"w": Call(rebuild("parameter"))}), "a parameter has no tensor"),
        ("parameter_of_text", saved({"w": Call(rebuild("parameter"), "a", True, {})}), "a tensor is expected and a text stands there"),
        ("same_name", saved({"a.b": floats((1,)), "a": {"b": floats((2,))}}), 'names "a.b" twice'),
        ("same_number", saved({"1": floats((1,)), 1: floats((2,))}), 'names "1" twice'),
    ]  # fmt: skip


def bad_files() -> list[tuple[str, bytes, str]]:
    good = saved({"w": floats((2,))})
    old = legacy({"w": floats((2,))})
    numbers = struct.pack("<q", 2) + struct.pack("<2f", 0, 1)
    pickle_at = good.index(b"\x80\x02}")
    return [
        ("no_storage_member", without("archive/data/0"), 'tensor "w": its storage "data/0" is not in the file'),
        ("cut", good[: len(good) // 2], "no directory of an archive"),
        ("pickle_spoiled", good[:pickle_at] + b"\x80\x09" + good[pickle_at + 2 :], "CRC-32"),
        ("protocol", archive({"a/data.pkl": b"\x80\x09N."}), "byte 0 of data.pkl: it is of protocol 9"),
        ("pickle_cut", archive({"a/data.pkl": members({"w": 1})["archive/data.pkl"][:-2]}), "of data.pkl: "),
        ("order", archive(members({"w": floats((2,))}, byteorder="middle")), 'its order of bytes is "middle"'),
        ("lying_size", lying(), "it unpacks to more than the 32 bytes"),
        ("laughs", laughs(), "ways through its"),
        ("deep", deep(1001), "more than 1000 containers deep"),
        ("no_tensor", saved({"epoch": 3, "name": "x"}), 'it is a dict of 2 with the keys "epoch", "name", and no tensor is in it'),
        ("evil", saved(EVIL), 'torch.load would call "posix.system"; nothing of it was run'),
        ("only_strange", saved({"w": tensor(Storage("ComplexDouble", bytes(16)), (1,))}), 'no tensor of it can be opened: "w" is left alone: it is a tensor of the dtype complex128'),
        ("bare", pickled({"epoch": 3})[0], 'it is a dict of 1 with the keys "epoch", and no tensor'),
        ("bare_evil", pickled(EVIL)[0], 'it is an object of "posix.system", and no tensor'),
        ("legacy_cut", old[:-1], 'storage "0": it is said to have 2 elements of 4 bytes, 7 bytes follow'),
        ("legacy_ends", old[: -len(numbers)], 'storage "0": the file ends before it'),
        ("legacy_negative", old.replace(numbers, struct.pack("<q", -2) + numbers[8:]), "said to have -2 elements"),
        ("legacy_wraps", old.replace(numbers, struct.pack("<q", 2**62 + 1) + numbers[8:]), "said to have 4611686018427387905 elements"),
        ("legacy_other_key", legacy({"w": floats((2,))}, ["5"]), 'storage "5": no tensor says what it is made of'),
        ("legacy_no_key", legacy({"w": floats((2,))}, []), 'its storage "0" is not in the file'),
        ("legacy_twice", legacy({"w": floats((2,))}, ["0", "0"]), 'storage "0": it is listed twice'),
        ("legacy_version", pickled(MAGIC)[0] + pickled(7)[0], "it is not 1001"),
        ("legacy_view", legacy({"w": tensor(eight(view=("v", 6, 4)), (1,))}), "a view of 4 elements from 6 on, in one of 8"),
    ]  # fmt: skip


def good_files() -> list[tuple[str, bytes, str]]:
    """Files that open, with what is told of them."""
    w, both = floats((2,)), eight()
    strange = {
        "good": w,
        "conj": tensor(Storage("ComplexFloat", EIGHT), (4,), metadata={"conj": True, "neg": False}),
        "c128": tensor(Storage("ComplexDouble", EIGHT), (2,)),
        "q": Call(rebuild("qtensor"), Storage("QInt8", EIGHT), 0, (2,), (1,), ("per_tensor_affine", 0.1, 0), False, {}),
        "sparse": Call(rebuild("sparse_tensor"), "layout", ()),
        "numpy": Call(RECONSTRUCT, Named("numpy", "ndarray"), (0,), b"b"),
        "class": Call(FROM_TYPE, rebuild("tensor_v2"), OTHER, (eight(), 0, (2,), (1,), False, {}), {}),
        "half": tensor(Storage("Untyped", EIGHT), (2,), dtype="complex32"),
    }
    whole = module({"w": w, "none": None}, {"kept": floats((3,)), "passing": floats((4,))}, {"inner": module({"b": floats((1,))}, {}, {}, [])}, ["passing"], loose=w)
    return [
        ("ok_plain", saved({"w": w, "empty": floats((0, 3)), "scalar": floats(())}), "ok"),
        ("ok_no_root", saved({"w": w}, root=""), "ok"),
        ("ok_deeper_root", saved({"w": w}, root="folder/archive/"), "ok"),
        ("ok_no_order", saved({"w": w}, byteorder=None), "ok"),
        ("ok_protocol_5", saved({"w": w}, protocol=5), "ok"),
        ("ok_protocol_1", saved({"w": w}, protocol=1), "ok"),
        ("ok_deflated", saved({"w": w, "t": tensor(eight(), (4, 2), (1, 4))}, deflated=("*",)), "ok"),
        ("ok_big_endian", saved({"w": w, "b": tensor(Storage("Byte", EIGHT), (4,))}, byteorder="big"), "ok"),
        ("ok_big_endian_untyped", saved({"w": w, "u": tensor(Storage("Untyped", EIGHT), (4,), dtype="uint16")}, byteorder="big"), 'ok: "u" is left alone: it is a tensor in an untyped storage of a big-endian file'),
        ("ok_big_endian_deflated", saved({"w": w}, byteorder="big", deflated=("*",)), "ok"),
        ("ok_empty_past_end", saved({"w": w, "e": tensor(eight(), (0,), (1,), 99)}), "ok"),
        ("ok_size_class", saved({"w": tensor(eight(), Call(SIZE, (2, 4)), (4, 1))}), "ok"),
        ("ok_cycle", cycle(), "ok"),
        ("ok_deep", deep(999), "ok"),
        ("ok_lone", saved(w), "ok"),
        ("ok_list", saved([w, (floats((3,)),)]), "ok"),
        ("ok_training", saved({"w": w, "optimizer": {"exp_avg": floats((2,))}}), 'ok: "optimizer" (1 tensor) is left alone, as training'),
        ("ok_wrapped", saved({"epoch": 3, "rng_state": tensor(Storage("Byte", EIGHT), (32,)), "model": {"w": w}}), 'ok: what lies under "model" is taken for the model; "rng_state" (1 tensor) is left alone'),
        ("ok_module", saved(whole), 'ok: 2 values are left alone, "passing" first: it is an attribute or buffer of a module'),
        ("ok_strange", saved(strange), 'ok: 7 values are left alone, "conj" first: it is a tensor that is to be conjugated'),
        ("ok_tuple_key", saved({"w": w, ("a", 1): w}), 'ok: "…" is left alone: it is below a key that is a tuple'),
        ("ok_shared", saved({"a": tensor(both, (8,)), "b": tensor(both, (2,), offset=6), "c": w}), 'ok: 2 tensors lie on the same stretch of the file as others, "a" and "b" first'),
        ("ok_tied", saved({"m": tensor(both, (2, 4)), "z": tensor(both, (2, 4)), "b": tensor(both, (2, 4))}), 'ok: "m" is one storage with "b" and counts once; 1 more name is tied like this'),
        ("ok_tied_legacy", legacy({"m": tensor(both, (2, 4)), "b": tensor(both, (2, 4))}), 'ok: "m" is one storage with "b" and counts once'),
        ("ok_tied_not", saved({"a": tensor(both, (2, 4)), "b": tensor(both, (4, 2))}), 'ok: 2 tensors lie on the same stretch of the file as others, "a" and "b" first'),
        ("ok_evil", saved({"w": w, "x": EVIL}), 'ok: torch.load would call "posix.system"; nothing'),
        ("ok_constants", saved(New(OTHER, {"w": w}), constants=(floats((3,)), 5, floats((2,)))), "ok"),
        ("ok_legacy", legacy({"w": w, "t": tensor(eight(), (4, 2), (1, 4))}), "ok"),
        ("ok_legacy_view", legacy({"w": tensor(eight(view=("v", 4, 4)), (2,), offset=1)}), "ok"),
    ]  # fmt: skip


def files() -> list[tuple[str, bytes, str]]:
    return good_files() + bad_tensors() + bad_files()
