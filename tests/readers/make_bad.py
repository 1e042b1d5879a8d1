"""Files that must be refused with one clear sentence: at least one for each rule a safetensors reader can forget.

`python make_bad.py OUT` writes them and a `bad.json` that says what is wrong with each. Some are accepted by the reference
reader (duplicate names, and only those): there the program must be the stricter one, and `main` proves that the rest are
refused by the reference reader too, so that no file here is bad by mistake.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np

from make_models import file_bytes, read_reference

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "corpus"))
from make import DATA, GOOD, entry, raw, tensors  # noqa: E402  (the corpus builds its headers in the same way)


def torch_zip() -> bytes:
    """The outline of a PyTorch checkpoint: a zip of a pickle and its storages."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"a.weight": [1.0, 2.0]}, protocol=2))
        archive.writestr("model/data/0", DATA)
    return out.getvalue()


class Stop:
    """Unpickling this would create a file; a program that reads a pickle must never run it."""

    def __reduce__(self):
        return (os.system, ("touch /tmp/spokeshave-ran-a-pickle",))


def bad_files() -> dict[str, tuple[str, bytes]]:
    """name -> (what is wrong, bytes)."""
    pair = json.dumps(GOOD)
    one = json.dumps(entry())
    big = 2**64 - 1
    return {
        # 1. length of the file and of the header
        "empty": ("no bytes at all", b""),
        "four_bytes": ("shorter than the length field", b"\x01\0\0\0"),
        "seven_bytes": ("shorter than the length field", b"\x01" * 7),
        "header_zero": ("header of length 0", raw("", DATA)),
        "header_past_end": ("header longer than the file", raw(pair, DATA, 5000)),
        "header_too_long": ("header length above 100,000,000", raw(pair, DATA, 100_000_001)),
        "header_2e63": ("header length 2^63", raw(pair, DATA, 2**63)),
        "header_max": ("8 + header length wraps", raw(pair, DATA, big)),
        "header_wraps": ("8 + header length wraps to 0", raw(pair, DATA, big - 7)),
        "header_cut": ("header length ends inside the JSON", raw(pair, DATA, 30)),
        # 2. UTF-8, then JSON
        "not_utf8": ("header is not UTF-8", raw(b'{"\xff\xfe":' + one.encode() + b"}", DATA[:32])),
        "not_json": ("header is not JSON", raw("{a: 1}", DATA)),
        "json_array": ("header is an array", raw("[1, 2]")),
        "json_string": ("header is a string", raw('"hello"')),
        "json_null": ("header is null", raw("null")),
        "json_bom": ("byte-order mark before the header", raw(b"\xef\xbb\xbf" + pair.encode(), DATA)),
        "json_comment": ("comment in the header", raw("{/* hi */" + pair[1:], DATA)),
        "json_trailing_comma": ("trailing comma", raw(pair[:-1] + ",}", DATA)),
        "json_rest": ("something after the object", raw(pair + "{}", DATA)),
        "json_nan": ("NaN in the header", raw('{"a": NaN}', DATA)),
        "json_deep": ("nested 100,000 deep", raw('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", DATA)),
        "lone_surrogate": ("name is half a surrogate pair", raw('{"\\ud800":' + one + "}", DATA[:32])),
        # 3. metadata is string to string
        "metadata_number": ("metadata value is a number", tensors(__metadata__={"n": 1}, **GOOD)),
        "metadata_nested": ("metadata value is an object", tensors(__metadata__={"n": {}}, **GOOD)),
        "metadata_list": ("metadata is a list", tensors(__metadata__=["pt"], **GOOD)),
        "metadata_tensor": ("a tensor is named __metadata__", tensors(__metadata__=entry(), b=entry(offsets=(32, 64)))),
        # 4. each tensor by itself
        "entry_number": ("entry is a number", tensors(a=1)),
        "entry_empty": ("entry without fields", tensors(a={})),
        "no_dtype": ("dtype missing", tensors(a={"shape": [16], "data_offsets": [0, 64]})),
        "no_shape": ("shape missing", tensors(a={"dtype": "F32", "data_offsets": [0, 64]})),
        "no_offsets": ("data_offsets missing", tensors(a={"dtype": "F32", "shape": [16]})),
        "dtype_unknown": ("dtype F128", tensors(a=entry("F128", (4,), (0, 64)))),
        "dtype_i4": ("dtype I4", tensors(a=entry("I4", (128,), (0, 64)))),
        "dtype_lower": ("dtype f32", tensors(a=entry("f32", (16,), (0, 64)))),
        "dtype_number": ("dtype is a number", tensors(a=entry(32, (16,), (0, 64)))),
        "shape_negative": ("negative dimension", tensors(a=entry(shape=(-4, -4), offsets=(0, 64)))),
        "shape_float": ("fractional dimension", tensors(a=entry(shape=(2.5, 4), offsets=(0, 40)))),
        "shape_string": ("dimension in quotes", tensors(a=entry(shape=("16",), offsets=(0, 64)))),
        "shape_2e64": ("dimension 2^64", tensors(a=entry(shape=(2**64,), offsets=(0, 64)))),
        "shape_overflow": (
            "product of dimensions wraps to 16",
            tensors(a=entry(shape=(2**32, 2**32, 16), offsets=(0, 64))),
        ),
        "shape_overflow_zero": (
            "product wraps before a zero",
            tensors(b"", a=entry(shape=(2**32, 2**32, 0), offsets=(0, 0))),
        ),
        "shape_bits_overflow": ("elements fit, bits wrap", tensors(a=entry(shape=(2**59 + 2,), offsets=(0, 64)))),
        "size_small": ("range shorter than the shape", tensors(a=entry(shape=(17,), offsets=(0, 64)))),
        "size_large": ("range longer than the shape", tensors(a=entry(shape=(15,), offsets=(0, 64)))),
        "f4_half_byte": ("3 elements of 4 bits", tensors(DATA[:2], a=entry("F4", (3,), (0, 2)))),
        "f6_half_byte": ("2 elements of 6 bits", tensors(DATA[:2], a=entry("F6_E2M3", (2,), (0, 2)))),
        "offsets_one": ("one offset", tensors(a={"dtype": "F32", "shape": [16], "data_offsets": [64]})),
        "offsets_three": ("three offsets", tensors(a={"dtype": "F32", "shape": [16], "data_offsets": [0, 32, 64]})),
        "offsets_negative": ("negative offset", tensors(a=entry(shape=(16,), offsets=(-64, 0)))),
        "offsets_swapped": ("end before begin", tensors(a=entry(shape=(16,), offsets=(64, 0)))),
        "offsets_max": ("range around 2^64", tensors(a=entry(shape=(16,), offsets=(big - 63, big)))),
        "offsets_2e64": ("offset above u64", tensors(a=entry(shape=(16,), offsets=(0, 2**64)))),
        # 5. all tensors together
        "gap": (
            "4 bytes that no tensor owns, between two",
            tensors(DATA + b"\0" * 4, a=entry(), b=entry(offsets=(36, 68))),
        ),
        "gap_first": ("4 bytes that no tensor owns, first", tensors(DATA[:36], a=entry(offsets=(4, 36)))),
        "overlap": ("two tensors share 4 bytes", tensors(DATA[:60], a=entry(), b=entry(offsets=(28, 60)))),
        "alias": ("two tensors in one range", tensors(DATA[:32], a=entry(), b=entry())),
        "tail": ("bytes after the last tensor", tensors(DATA + b"PK\x03\x04", **GOOD)),
        "only_tail": ("data but no tensor", tensors(DATA)),
        "truncated": ("download cut short", tensors(DATA[:50], **GOOD)),
        "truncated_all": ("all data missing", tensors(b"", **GOOD)),
        # stricter than the reference reader
        "dup_key_same": ("the same entry twice", raw('{"a":' + one + ',"a":' + one + "}", DATA[:32])),
        "dup_key_shape": (
            "one name with two shapes",
            raw('{"a":' + one + ',"a":' + json.dumps(entry(shape=(2, 4))) + "}", DATA[:32]),
        ),
        "dup_key_escaped": ("one name spelled two ways", raw('{"a":' + one + ',"\\u0061":' + one + "}", DATA[:32])),
        "dup_field": (
            "shape given twice",
            raw('{"a":{"dtype":"F32","shape":[4,2],"shape":[8],"data_offsets":[0,32]}}', DATA[:32]),
        ),
        "dup_metadata": (
            "__metadata__ twice",
            raw('{"__metadata__":{"a":"b"},"__metadata__":{},"a":' + one + "}", DATA[:32]),
        ),
        "dup_metadata_key": (
            "a metadata key twice",
            raw('{"__metadata__":{"a":"b","a":"c"},"a":' + one + "}", DATA[:32]),
        ),
        # other files under this name
        "html": (
            "a web page",
            b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body></body></html>\n",
        ),
        "lfs_pointer": (
            "a Git LFS pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a2146" * 8 + b"\nsize 12345678\n",
        ),
        "torch_zip": ("a PyTorch zip", torch_zip()),
        "pickle": ("a bare pickle that runs a command", pickle.dumps(Stop(), protocol=2)),
        "gzip": ("a gzip stream", b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + DATA),
        "gguf_head": ("a GGUF magic and nothing more", b"GGUF\x03\0\0\0"),
        "json_file": ("plain JSON without a length", json.dumps(GOOD, indent=2).encode()),
        "text": ("a text file", b"Please log in to download this model.\n"),
        "zeros": ("a sparse file never filled", bytes(4096)),
        "ones": ("all bits set", b"\xff" * 4096),
        # names that would break the terminal or the message's one line
        "name_escape": (
            "size mismatch under a name with control bytes",
            tensors(**{"\x1b[2J\x1b]0;x\x07\n\u202eevil": entry(shape=(9,))}),
        ),
        "name_long": (
            "size mismatch under a name of a million letters",
            tensors(**{"n" * 1_000_000: entry(shape=(9,))}),
        ),
        "name_braces": ("size mismatch under a name of format marks", tensors(**{"{}{0:?}%s%n\\": entry(shape=(9,))})),
    }


STRICTER = {"dup_key_same", "dup_key_shape", "dup_key_escaped", "dup_metadata_key"}


def bad_folders(out: Path) -> dict[str, str]:
    """Folders in HF layout that must be refused; returns name -> what is wrong."""
    a = file_bytes({"a.weight": np.ones((2, 4), "f4")}, None)
    b = file_bytes({"b.weight": np.ones((2, 4), "f4")}, None)
    index = lambda **weights: json.dumps(
        {"metadata": {"total_size": 64}, "weight_map": {k.replace("_", "."): v for k, v in weights.items()}}
    )
    one, two = "one.safetensors", "two.safetensors"
    cases: dict[str, tuple[str, dict[str, bytes | str]]] = {
        "dir_empty": ("no weights", {"config.json": "{}"}),
        "dir_missing_shard": ("a shard is missing", {"index": index(a_weight=one, b_weight=two), one: a}),
        "dir_missing_tensor": (
            "a mapped tensor is not in its shard",
            {"index": index(a_weight=one, b_weight=one), one: a},
        ),
        "dir_bad_shard": ("a shard is cut short", {"index": index(a_weight=one, b_weight=two), one: a, two: b[:-5]}),
        "dir_twice": ("a name in two files without an index", {one: a, two: a}),
        "dir_traversal": (
            "index points out of the folder",
            {"index": index(a_weight="../outside.safetensors"), one: a},
        ),
        "dir_absolute": (
            "index gives an absolute path",
            {"index": index(a_weight=str(out / "outside.safetensors")), one: a},
        ),
        "dir_backslash": (
            "index uses a backslash",
            {"index": index(a_weight="x\\one.safetensors"), one: a, "x\\one.safetensors": a},
        ),
        "dir_url": ("index gives a URL", {"index": index(a_weight="https://example.com/one.safetensors"), one: a}),
        "dir_other_suffix": ("index names a pickle", {"index": index(a_weight="one.bin"), "one.bin": a}),
        "dir_index_not_json": ("index is not JSON", {"index": "weights!", one: a}),
        "dir_index_no_map": ("index without weight_map", {"index": '{"metadata": {}}', one: a}),
        "dir_index_dup": (
            "a name twice in the weight map",
            {"index": '{"weight_map": {"a.weight": "one.safetensors", "a.weight": "one.safetensors"}}', one: a},
        ),
    }
    (out / "outside.safetensors").write_bytes(a)
    for name, (_, files) in cases.items():
        (out / name).mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            path = out / name / ("model.safetensors.index.json" if file == "index" else file)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return {name: why for name, (why, _) in cases.items()}


def write_bad(out: Path) -> dict[str, tuple[Path, str]]:
    """Writes everything; returns name -> (path, what is wrong)."""
    out.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, (why, content) in bad_files().items():
        path = out / f"{name}.safetensors"
        path.write_bytes(content)
        written[name] = (path, why)
    for name, why in bad_folders(out).items():
        written[name] = (out / name, why)
    fifo = out / "pipe.safetensors"
    if not fifo.exists():
        os.mkfifo(fifo)
    written["pipe"] = (fifo, "a named pipe that nobody writes to")
    written["device"] = (Path("/dev/zero"), "a device without end")
    written["absent"] = (out / "no-such-file.safetensors", "no such file")
    (out / "bad.json").write_text(json.dumps({name: why for name, (_, why) in written.items()}, indent=1))
    return written


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit("usage: python make_bad.py OUT")
    write_bad(Path(sys.argv[1]))
    wrong = []
    for name, (why, content) in bad_files().items():
        try:
            read_reference(content)
            accepted = True
        except Exception:  # noqa: BLE001  (the reference reader raises its own type, numpy its own)
            accepted = False
        if accepted != (name in STRICTER):
            wrong.append(f"{name} ({why}): reference reader {'accepts' if accepted else 'refuses'} it")
    print("\n".join(wrong) or "the reference reader refuses all but the duplicate keys")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
