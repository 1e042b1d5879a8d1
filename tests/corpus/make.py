"""Writes the corpus: `python make.py` in this folder. The tables below are the point: file, content, what must be said of it.

An expectation of `ok` means that the file opens, `ok: words` that it opens with a warning that says these words, and
anything else is a phrase of the one error that is right.
"""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import make_gguf
import make_numpy
import make_onnx
import make_pytorch_bad
import make_runtimes
import torch_files

HERE = Path(__file__).resolve().parent
DATA = struct.pack("<16f", *(0.25 * i - 2 for i in range(16)))
BIG = 2**64 - 1


def entry(dtype="F32", shape=(8,), offsets=(0, 32)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def raw(header: bytes | str, data: bytes = b"", length: int | None = None) -> bytes:
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def tensors(data: bytes = DATA, **entries) -> bytes:
    return raw(json.dumps(entries), data)


def one(data: int = 64, **k) -> bytes:
    return tensors(DATA[:data], a=entry(**k))


GOOD = {"a": entry(), "b": entry(offsets=(32, 64))}
PAIR = json.dumps(GOOD)
ONE = json.dumps(entry())
EVIL = "\x1b[2J\x07\n\u202e\u00ad\u200b\U000e0041evil\\"


def headers() -> list[tuple[str, bytes, str]]:
    wide = [1] * 63
    return [
        # 1. lengths
        ("empty", b"", "has 0 bytes"),
        ("seven_bytes", b"\1" * 7, "has 7 bytes"),
        ("length_zero", raw("", DATA), "said to be 0 bytes long"),
        ("length_past_end", raw(PAIR, DATA, 5000), "5000 bytes long but only"),
        ("length_too_large", raw(PAIR, DATA, 100_000_001), "100000001 bytes long, more than the 100000000 allowed"),
        ("length_wraps", raw(PAIR, DATA, BIG - 7), "more than the 100000000 allowed"),
        ("length_short", raw(PAIR, DATA, 30), "not valid JSON: EOF"),
        # 2. UTF-8, then JSON
        ("not_utf8", raw(b'{"\xff":' + ONE.encode() + b"}", DATA[:32]), "not UTF-8: byte 2"),
        ("overlong_utf8", raw(b'{"\xc0\xaf":' + ONE.encode() + b"}", DATA[:32]), "not UTF-8"),
        ("byte_order_mark", raw(b"\xef\xbb\xbf" + PAIR.encode(), DATA), "byte-order mark"),
        ("unquoted", raw("{a: 1}", DATA), "not valid JSON: key must be a string"),
        ("comment", raw("{/* hi */" + PAIR[1:], DATA), "not valid JSON"),
        ("trailing_comma", raw(PAIR[:-1] + ",}", DATA), "trailing comma"),
        ("rest", raw(PAIR + "{}", DATA), "trailing characters"),
        ("rest_nul", raw(PAIR + "\0\0", DATA), "trailing characters"),
        ("nan", raw('{"a": NaN}', DATA), "not valid JSON"),
        ("number_too_large", raw('{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,64]}}', DATA), "out of range"),
        ("deep", raw('{"a":{"x":' + "[" * 200 + "]" * 200 + "}}"), "recursion limit"),
        ("lone_surrogate", raw('{"\\ud800":' + ONE + "}", DATA[:32]), "not valid JSON"),
        ("control_in_name", raw('{"a\1":' + ONE + "}", DATA[:32]), "control character"),
        ("list", raw("[1, 2]"), "the header is a list, not a JSON object"),
        ("string", raw('"hello"'), 'the header is the text "hello"'),
        ("null", raw("null"), "the header is null"),
        # 3. metadata maps text to text
        ("metadata_number", tensors(__metadata__={"n": 1}, **GOOD), '__metadata__ must map text to text, but its key "n" holds 1'),
        ("metadata_nested", tensors(__metadata__={"n": {}}, **GOOD), "holds an object"),
        ("metadata_list", tensors(__metadata__=["pt"], **GOOD), "__metadata__ must map text to text, but it is a list"),
        ("metadata_tensor", tensors(__metadata__=entry(), b=entry(offsets=(32, 64))), "a tensor is named __metadata__"),
        # 4. each tensor by itself
        ("entry_number", tensors(a=1), 'tensor "a": it is 1, not an object'),
        ("entry_list", tensors(a=["F32", [8], [0, 32]]), 'tensor "a": it is a list, not an object'),
        ("entry_empty", tensors(a={}), 'tensor "a": it has no "dtype"'),
        ("no_shape", tensors(a={"dtype": "F32", "data_offsets": [0, 64]}), 'it has no "shape"'),
        ("no_offsets", tensors(a={"dtype": "F32", "shape": [16]}), 'it has no "data_offsets"'),
        ("dtype_unknown", one(dtype="F128", shape=(4,), offsets=(0, 64)), 'dtype "F128" is none of the 22 that safetensors defines: BOOL, F4,'),
        ("dtype_number", one(dtype=32, shape=(16,), offsets=(0, 64)), 'its "dtype" is 32, not a text'),
        ("dtype_object", one(dtype={"F32": None}, shape=(16,), offsets=(0, 64)), 'its "dtype" is an object, not a text'),
        ("shape_number", tensors(a={"dtype": "F32", "shape": 16, "data_offsets": [0, 64]}), 'its "shape" is 16, not a list'),
        ("shape_negative", one(shape=(-4, -4), offsets=(0, 64)), "dimension 0 is -4; allowed are whole numbers from 0 to"),
        ("shape_fraction", one(40, shape=(4, 2.5), offsets=(0, 40)), "dimension 1 is 2.5; allowed"),
        ("shape_2e64", one(shape=(2**64,), offsets=(0, 64)), "dimension 0 is 1.8446744073709552e19; allowed"),
        ("shape_text", one(shape=("16",), offsets=(0, 64)), 'dimension 0 is the text "16"; allowed'),
        ("shape_wraps", one(shape=(2**32, 2**32, 16), offsets=(0, 64)), "more elements than can be counted"),
        ("shape_wraps_before_zero", tensors(b"", a=entry(shape=(2**32, 2**32, 0), offsets=(0, 0))), "more elements than can be counted"),
        ("bytes_wrap", one(shape=(2**63,), offsets=(0, 64)), "more bytes than can be counted"),
        ("rank_65", one(shape=wide + [1, 16], offsets=(0, 64)), "65 dimensions, more than the 64 allowed"),
        ("half_byte_f4", one(2, dtype="F4", shape=(3,), offsets=(0, 2)), "its 12 bits in all do not end on a whole byte"),
        ("half_byte_f6", one(2, dtype="F6_E2M3", shape=(2,), offsets=(0, 2)), "its 12 bits in all"),
        ("offsets_one", tensors(a={"dtype": "F32", "shape": [16], "data_offsets": [64]}), '"data_offsets" hold 1 numbers, not the two'),
        ("offsets_three", tensors(a={"dtype": "F32", "shape": [16], "data_offsets": [0, 32, 64]}), "hold 3 numbers, not the two"),
        ("offsets_object", tensors(a={"dtype": "F32", "shape": [16], "data_offsets": {}}), '"data_offsets" are an object, not a list'),
        ("offsets_negative", one(shape=(16,), offsets=(-64, 0)), 'number 0 of its "data_offsets" is -64; allowed'),
        ("offsets_fraction", one(shape=(16,), offsets=(0, 64.0)), 'number 1 of its "data_offsets" is 64.0; allowed'),
        ("offsets_backwards", one(shape=(16,), offsets=(64, 0)), "data_offsets [64, 0] run backwards; the file is damaged"),
        ("offsets_near_2e64", one(shape=(16,), offsets=(BIG - 64, BIG)), "past any file"),
        ("size_small", one(shape=(17,), offsets=(0, 64)), "need 68 bytes, data_offsets hold 64; the file is damaged"),
        ("size_large", one(shape=(15,), offsets=(0, 64)), "need 60 bytes, data_offsets hold 64"),
        # 5. all tensors together
        ("gap", tensors(DATA + bytes(4), a=entry(), b=entry(offsets=(36, 68))), 'tensor "b" starts at byte 36 of the data, expected 32: there is a gap'),
        ("gap_first", tensors(DATA[:36], a=entry(offsets=(4, 36))), "there is a gap"),
        ("overlap", tensors(DATA[:60], a=entry(), b=entry(offsets=(28, 60))), "expected 32: there is an overlap"),
        ("alias", tensors(DATA[:32], a=entry(), b=entry()), "there is an overlap"),
        ("zero_inside", tensors(DATA[:32], a=entry(), z=entry(shape=(0,), offsets=(16, 16))), "there is an overlap"),
        ("tail", tensors(DATA + b"PK\3\4", **GOOD), "describes 64 bytes of data, the file holds 68: bytes that no tensor owns"),
        ("only_tail", raw("{}", DATA), "describes 0 bytes of data, the file holds 64"),
        ("cut_short", tensors(DATA[:50], **GOOD), "the file holds 50: the download was cut short"),
        # stricter than the reference: names twice
        ("twice", raw('{"a":' + ONE + ',"a":' + ONE + "}", DATA[:32]), 'the header names "a" twice'),
        ("twice_escaped", raw('{"a":' + ONE + ',"\\u0061":' + ONE + "}", DATA[:32]), 'the header names "a" twice'),
        ("twice_shape", raw('{"a":{"dtype":"F32","shape":[4,2],"sh\\u0061pe":[8],"data_offsets":[0,32]}}', DATA[:32]), 'tensor "a" names "shape" twice'),
        ("twice_extra", raw('{"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32],"x":1,"x":1}}', DATA[:32]), 'tensor "a" names "x" twice'),
        ("twice_within_extra", raw('{"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32],"x":{"y":1,"y":1}}}', DATA[:32]), 'names "y" twice'),
        ("twice_metadata", raw('{"__metadata__":{},"__metadata__":{},"a":' + ONE + "}", DATA[:32]), 'names "__metadata__" twice'),
        ("twice_metadata_key", raw('{"__metadata__":{"a":"b","\\u0061":"c"},"a":' + ONE + "}", DATA[:32]), 'the metadata names "a" twice'),
        # names in messages
        ("name_evil", tensors(**{EVIL: entry(shape=(9,))}), "\\u{1b}[2J\\u{7}\\u{a}\\u{202e}\\u{ad}\\u{200b}\\u{e0041}evil\\\":"),
        ("name_long", tensors(**{"n" * 3000: entry(shape=(9,))}), "n…\": shape and dtype need 36 bytes"),
        # legal corners
        ("ok_nothing", raw("{}"), "ok"),
        ("ok_space_around", raw(" \n\t\r" + PAIR + " \n", DATA), "ok"),
        ("ok_metadata", tensors(__metadata__={"format": "pt", "é": EVIL}, **GOOD), "ok"),
        ("ok_metadata_tied", tensors(__metadata__={"format": "a", "head": "a", "b": "a", "nothing": "c"}, **GOOD), 'ok: "head" is one storage with "a" and counts once'),
        ("ok_metadata_null", tensors(__metadata__=None, **GOOD), "ok"),
        ("ok_metadata_last", tensors(**GOOD, __metadata__={"k": "v"}), "ok"),
        ("ok_scalar", tensors(DATA[:4], s=entry(shape=(), offsets=(0, 4))), "ok"),
        ("ok_zero_elements", tensors(DATA, z=entry(shape=(0,), offsets=(32, 32)), y=entry(shape=(0, 2**62), offsets=(0, 0)), **GOOD), "ok"),
        ("ok_unaligned", tensors(b"\7" + DATA, u=entry("U8", (1,), (0, 1)), a=entry(shape=(4, 4), offsets=(1, 65))), "ok"),
        ("ok_sub_byte", tensors(DATA[:7], a=entry("F4", (2, 4), (0, 4)), b=entry("F6_E3M2", (4,), (4, 7))), "ok"),
        ("ok_rank_64", one(shape=wide + [16], offsets=(0, 64)), "ok"),
        ("ok_scrambled", tensors(b=entry(offsets=(32, 64)), a=entry()), "ok"),
        ("ok_extra_field", tensors(a=dict(entry(), extra=[1, {"x": None}]), b=entry(offsets=(32, 64))), "ok"),
        ("ok_names", tensors(DATA, **{"": entry(), "../[x]{y}\\.": entry(offsets=(32, 64))}), "ok"),
    ]


def strangers() -> list[tuple[str, bytes, str]]:
    tar = b"model.safetensors".ljust(257, b"\0") + b"ustar\x0000".ljust(255, b"\0")
    return [
        ("page.safetensors", b"<!DOCTYPE html>\n<html></html>\n", "this is an HTML page"),
        ("page_bom.safetensors", b"\xef\xbb\xbf\n<HTML></HTML>", "this is an HTML page"),
        ("page_comment.safetensors", b"<!-- saved --><html></html>", "this is an HTML page"),
        ("error.safetensors", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "this is an XML text"),
        ("pointer.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
        ("note.safetensors", b"Please log in to download this model.\n", 'this is a text file that begins "Please log in to download this model."'),
        ("api.safetensors", b'{"error":"Repository not found"}', "this is a JSON text"),
        ("config.json", b'{\n  "architectures": ["Llama"]\n}', "this is a JSON text"),
        ("list.json", b'[{"a": 1}]', "this is a JSON text"),
        ("index.json", b'{"weight_map": {"a": "x.safetensors"}}', "JSON index of a folder's shards"),
        ("recipe.toml", b'# mine\nversion = 1\n[[rule]]\nmatch = "*"\nscheme = "int4"\n', "looks like a recipe: give it with --recipe"),
        ("checkpoint.bin", b"PK\x03\x04" + bytes(60), "there is no directory of an archive"),
        ("archive.zip", torch_files.archive({"a.txt": b"a"}), "this is a zip archive with neither PyTorch's data.pkl nor"),
        ("nothing.pt", b"PK\x05\x06" + bytes(18), "empty zip archive"),
        ("old.pth", b"\x80\x02}q\x00.", "it is an empty dict, and no tensor is in it"),
        ("llama.bin", b"lmgg" + bytes(60), "old GGML file"),
        ("net.onnx", b"\x08\x07\x12\x07pytorch\x1a\x061.13.1", "ONNX file, the model: it has no graph"),
        ("net.tflite", b"\x1c\0\0\0TFL3" + bytes(20), "TensorFlow Lite"),
        ("array.npy", b"\x93NUMPY\1\0v\0", "NumPy file, the array: it ends in its header"),
        ("keras.h5", b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5"),
        ("model.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\3", "gzip"),
        ("model.zst", b"\x28\xb5\x2f\xfd" + bytes(20), "zstd"),
        ("model.xz", b"\xfd7zXZ\0" + bytes(20), "xz"),
        ("model.bz2", b"BZh91AY&SY", "bzip2"),
        ("model.7z", b"7z\xbc\xaf\x27\x1c" + bytes(20), "7z archive"),
        ("model.tar", tar, "tar archive"),
        ("zeros.safetensors", bytes(64), "said to be 0 bytes long"),
        ("ones.safetensors", b"\xff" * 64, "more than the 100000000 allowed"),
        # a damaged model keeps its own error where its length looks like another file's first bytes
        ("not_a_pickle.safetensors", raw("{" + " " * 638 + "}", b"x"), "bytes that no tensor owns"),
    ]


MAGIC = b"\x89SPK\r\n\x1a\n"


def spk(header: str | bytes, data: bytes = b"", version=1, zero=0, length=None) -> bytes:
    header = header.encode() if isinstance(header, str) else header
    return MAGIC + struct.pack("<IIQ", version, zero, len(header) if length is None else length) + header + data


def listed(*items: dict, data: bytes = b"", metadata=None, version=1) -> bytes:
    header = json.dumps({"metadata": metadata or {}, "tensors": list(items)})
    return spk(header + " " * (-len(header) % 8), data, version)


def item(name="w", dtype="F32", shape=(2, 8), size=64, **coding) -> dict:
    out = {"name": name, "dtype": dtype, "shape": list(shape), "bytes": size}
    return out | ({"coding": coding} if coding else {})


def masked(nonzeros=3, **k) -> dict:
    return item(**{"size": 2 + 4 * nonzeros, "scheme": "prune:0.8", "form": "mask", "nonzeros": nonzeros} | k)


def integers(**k) -> dict:
    codes = {"scheme": "int4", "form": "dense", "nonzeros": 16, "bits": 4, "unit": "row", "zero_points": False}
    return item(**{"size": 16} | codes | k)


def packed() -> list[tuple[str, bytes, str]]:
    floats = DATA[:12]
    grid = struct.pack("<2f", 0.5, 0.25) + bytes(range(16, 24))
    return [
        ("ok_plain", listed(item(), data=DATA), "ok"),
        ("ok_mask", listed(masked(), data=b"\7\0" + floats), "ok"),
        ("ok_integers", listed(integers(), data=grid), "ok"),
        ("ok_nothing", listed(metadata={"spokeshave.recipe": "version = 1\n"}), "ok"),
        ("cut_in_prefix", MAGIC, "packed file, the first 24 bytes"),
        ("version_0", spk("{}", version=0), "version 0 of the packed format"),
        ("version_3", spk("{}", version=3), "version 3 of the packed format"),
        ("not_zero", spk("{}", zero=1), "packed file, bytes 12 to 15"),
        ("length_too_large", spk("{}", length=100_000_001), "not a packed file, or it is damaged"),
        ("length_past_end", spk("{}", length=100), "the header of this packed file is said to be 100 bytes long but only 2"),
        ("not_utf8", spk(b"{\xff}"), "the header of this packed file is not UTF-8"),
        ("not_json", spk("{a}"), "the header of this packed file is not valid JSON"),
        ("list", spk("[]"), "the header of this packed file is a list"),
        ("no_tensors", spk('{"metadata":{}}'), 'packed file, the header: it has no "tensors"'),
        ("no_metadata", spk('{"tensors":[]}'), 'it has no "metadata"'),
        ("metadata_null", spk('{"metadata":null,"tensors":[]}'), "packed file, the metadata: it maps text to text, but is null"),
        ("metadata_number", listed(metadata={"n": 1}), 'but its key "n" holds 1'),
        ("unknown_key", spk('{"metadata":{},"tensors":[],"x":1}'), 'unknown key "x"'),
        ("unknown_member", listed(dict(item(), x=1), data=DATA), 'packed file, tensor "w": unknown key "x"'),
        ("unknown_in_coding", listed(masked(x=1), data=b"\7\0" + floats), 'unknown key "x" in its coding'),
        ("twice", spk('{"metadata":{},"metadata":{},"tensors":[]}'), 'names "metadata" twice'),
        ("twice_member", spk('{"metadata":{},"tensors":[{"name":"w","n\\u0061me":"w"}]}'), 'names "name" twice'),
        ("tensors_object", spk('{"metadata":{},"tensors":{}}'), '"tensors" are an object, not a list'),
        ("item_null", spk('{"metadata":{},"tensors":[null]}'), "tensor 0 of the list: it is null"),
        ("no_name", spk('{"metadata":{},"tensors":[{"dtype":"F32"}]}'), 'tensor 0 of the list: it has no "name"'),
        ("no_bytes", spk('{"metadata":{},"tensors":[{"name":"w","dtype":"F32","shape":[1]}]}'), 'it has no "bytes"'),
        ("dtype_unknown", listed(item(dtype="F31"), data=DATA), 'its "dtype" is the text "F31", not one of the 22'),
        ("dimension_negative", listed(item(shape=(-1,)), data=DATA), "dimension 0 is -1; allowed"),
        ("rank_65", listed(item(shape=[1] * 65)), "packed file, tensor \"w\": 65 dimensions, more than the 64 allowed"),
        ("shape_wraps", listed(item(shape=(2**32, 2**32)), data=DATA), "more elements than can be counted"),
        ("bytes_differ", listed(item(size=60), data=DATA[:60]), 'need 64 bytes, "bytes" says 60'),
        ("order", listed(item("b"), item("a"), data=DATA * 2), "names are not in order"),
        ("same_name", listed(item("a"), item("a"), data=DATA * 2), "or one is there twice"),
        ("cut_short", listed(item(), data=DATA[:-1]), "packed file, the data: its tensors take 64 bytes, the file holds 63"),
        ("tail", listed(item(), data=DATA + b"x"), "unowned bytes follow"),
        ("form_unknown", listed(masked(form="x"), data=b"\7\0" + floats), 'its "form" is the text "x"'),
        ("nonzeros_too_many", listed(masked(nonzeros=17), data=bytes(70)), '"nonzeros" is 17, at most 16'),
        ("dense_too_few", listed(integers(nonzeros=15), data=grid), '"nonzeros" is 15, just 16'),
        ("bits_9", listed(integers(bits=9), data=grid), '"bits" is 9, allowed are 2 to 8'),
        ("unit_g31", listed(integers(unit="g31"), data=grid), "not one of tensor, row, g16, g32, g64, g128"),
        ("half_a_grid", listed(item(size=64, scheme="int4", form="dense", nonzeros=16, bits=4), data=DATA), "come together or not at all"),
        ("mask_over_i32", listed(masked(dtype="I32"), data=b"\7\0" + floats), "goes with a float dtype only, not with I32"),
        ("mask_over_e8m0", listed(masked(dtype="F8_E8M0", size=5), data=b"\7\0\1\1\1"), "not with F8_E8M0"),
        ("integers_over_u8", listed(integers(dtype="U8"), data=grid), "not with U8"),
        ("mask_counts_other", listed(masked(), data=b"\3\0" + floats), "does not have the ones that its header counts"),
        ("mask_past_end", listed(masked(shape=(1, 5), nonzeros=2, size=9), data=b"\x81" + floats[:8]), "its mask has ones past its last element"),
    ]


def stream(*words: str) -> bytes:
    """Words of bits, first bit first, as a stream that fills its bytes from the least significant bit."""
    bits = "".join(words)
    return bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))


def lengths(symbols: int, **of: int) -> bytes:
    """A table of code lengths, four bits each."""
    table = [of.get(f"s{symbol}", 0) for symbol in range(symbols)]
    return bytes(low | high << 4 for low, high in zip(table[::2], table[1::2]))


def blocked() -> list[tuple[str, bytes, str]]:
    """Version 2: relative indices, Huffman codes, and the blocks that both are cut into."""
    scales, two = struct.pack("<2f", 0.5, 0.25), lambda *values: [f"{value:02b}"[::-1] for value in values]
    four = [f"{code:04b}"[::-1] for code in (3, 9, 1)]
    # nonzeros at 1, 9 and 15: gaps of 1, 7 and 5 zeros, of which a filler of two bits bridges 3
    way = (1, 3, 3, 1, 3, 2)

    def indices(at=way, block=(3, 12), version=2, **k):
        keys = {"scheme": "prune:0.8+int4", "form": "indices", "nonzeros": 3, "index_bits": 2, "index_huffman": False}
        keys |= {"index_stream": 12, "bits": 4, "unit": "row", "zero_points": False} | k
        data = scales + struct.pack("<2I", *block) + stream(*two(*at)) + stream(*four)
        return listed(item(size=len(data), **{key: v for key, v in keys.items() if v is not None}), data=data, version=version)

    # eight codes 1 in one bit each, four codes 2 and four codes 15 in two
    good, words = lengths(16, s1=1, s2=2, s15=2), ("0",) * 8 + ("10",) * 4 + ("11",) * 4

    def huffman(table=good, words=words, block=24, **k):
        keys = {"scheme": "int4", "form": "dense", "nonzeros": 16, "code_stream": 24, "bits": 4, "unit": "row", "zero_points": False} | k
        data = scales + table + struct.pack("<I", block) + stream(*words)
        return listed(item(size=len(data), **keys), data=data, version=2)

    # both at once, over elements: three bytes of each beside the stream, and their last bytes 0x3F, 0x3F and 0xBF in one bit
    rest, signs = b"\0\0\x80" * 3, lengths(256, s63=1, s191=1)
    index_words = ("10", "0", "0", "10", "0", "11")

    def both(table=lengths(4, s1=2, s2=2, s3=1), words=index_words, block=(3, 9, 3), **k):
        keys = {"scheme": "prune:0.8", "form": "indices", "nonzeros": 3, "index_bits": 2, "index_huffman": True}
        keys |= {"index_stream": 9, "code_stream": 3} | k
        data = signs + table + struct.pack("<3I", *block) + stream(*words) + rest + stream("0", "0", "1")
        return listed(item(size=len(data), **keys), data=data, version=2)

    def mask(ones=b"\7\0", block=(3, 3), table=signs):
        keys = {"scheme": "prune:0.8", "form": "mask", "nonzeros": 3, "code_stream": 3}
        data = ones + table + struct.pack("<2I", *block) + rest + stream("0", "0", "1")
        return listed(item(size=len(data), **keys), data=data, version=2)

    lost, astray = "a stream of codes is cut short", "lead past the end of a block"
    return [
        ("ok_version_2", listed(item(), data=DATA, version=2), "ok"),
        ("ok_indices", indices(), "ok"),
        ("ok_huffman", huffman(), "ok"),
        ("ok_indices_huffman", both(), "ok"),
        ("ok_mask_huffman", mask(), "ok"),
        ("indices_in_version_1", indices(version=1), "its coding is of version 2 of the format, the file says 1"),
        ("index_bits_9", indices(index_bits=9), '"index_bits" is 9, allowed are 2 to 8'),
        ("index_bits_missing", indices(index_bits=None), 'its coding has no "index_bits"'),
        ("index_stream_odd", indices(index_stream=11), '"index_stream" is 11 bits, no number of 2-bit indices'),
        ("index_stream_few", indices(index_stream=4), '"index_stream" is 4 bits, no number of 2-bit indices for 3 nonzeros'),
        ("index_stream_many", indices(index_stream=34), "no number of 2-bit indices for 3 nonzeros among 16"),
        ("index_stream_text", indices(index_stream="12"), 'its "index_stream" is the text "12"'),
        ("index_huffman_number", indices(index_huffman=1), 'its "index_huffman" is 1, not true or false'),
        ("index_bits_with_a_mask", listed(masked(index_bits=2), data=b"\7\0" + DATA[:12]), '"index_bits", which does not go with its form'),
        ("code_stream_few", huffman(code_stream=15), '"code_stream" is 15 bits, 16 to 192 are right'),
        ("code_stream_many", huffman(code_stream=193), '"code_stream" is 193 bits, 16 to 192 are right'),
        ("code_stream_cut", huffman(block=23, code_stream=23), lost),
        ("code_stream_tail", huffman(words=(*words, "0"), block=25, code_stream=25), lost),
        ("blocks_differ", huffman(block=23), "its blocks do not add up to what its header counts"),
        ("lengths_over", huffman(lengths(16, s1=1, s2=1, s15=2)), "the Huffman code of its codes: its code lengths are over-subscribed: they take 5120 of 4096"),
        ("lengths_under", huffman(lengths(16, s1=2, s2=2, s15=2)), "its code lengths are incomplete: they take 3072 of 4096"),
        ("lengths_none", huffman(lengths(16)), "its code lengths are incomplete: they take 0 of 4096"),
        ("lengths_13", huffman(lengths(16, s1=1, s2=13)), "symbol 2 has a code of 13 bits, at most 12 are allowed"),
        ("word_of_nobody", huffman(lengths(16, s1=1), words=("1",) * 24), lost),
        ("index_lengths_over", both(lengths(4, s0=1, s1=1, s2=1)), "the Huffman code of its indices: its code lengths are over-subscribed"),
        ("index_past_end", indices((1, 3, 3, 1, 3, 3, 1), index_stream=14, block=(3, 14)), astray),
        ("fillers_past_end", indices((1, 1, 1) + (3,) * 13, index_stream=32, block=(3, 32)), astray),
        ("filler_last", indices((1, 1, 1, 3), index_stream=8, block=(3, 8)), astray),
        ("nonzeros_of_block", indices((1, 1, 1, 1), index_stream=8, block=(3, 8)), "a block does not have the nonzeros that its table counts"),
        ("nonzeros_of_blocks", indices(block=(2, 12)), "its blocks do not add up to what its header counts"),
        ("index_stream_cut", both(words=("10", "0", "0", "10", "0", "1"), block=(3, 8, 3), index_stream=8), astray),
        ("mask_counts_block", mask(b"\3\0"), "a block does not have the nonzeros that its table counts"),
        ("mask_counts_more", mask(b"\x0f\0"), "a block does not have the nonzeros that its table counts"),
        ("form_of_later", indices(form="factors", index_bits=None, index_huffman=None, index_stream=None), 'its "form" is the text "factors", not "dense", "mask" or "indices"'),
    ]


def indexes() -> list[tuple[str, bytes | str, str]]:
    mapped = lambda to: json.dumps({"metadata": {"total_size": 1}, "weight_map": {"a": to}})
    return [
        ("ok", mapped("one.safetensors"), "ok"),
        ("ok_below", mapped("sub/one.safetensors"), "ok"),
        ("empty", b"", "the index is not valid JSON: EOF"),
        ("not_utf8", b"{\xff}", "the index is not UTF-8"),
        ("byte_order_mark", b"\xef\xbb\xbf{}", "the index begins with a byte-order mark"),
        ("list", "[]", "the index is a list"),
        ("no_map", '{"metadata": {}}', "the index: it has no weight_map"),
        ("map_list", '{"weight_map": []}', "its weight_map is a list"),
        ("map_empty", '{"weight_map": {}}', "its weight_map names no tensor"),
        ("number", mapped(3), 'tensor "a" is mapped to 3, not to the name of a file'),
        ("up", mapped("../one.safetensors"), '"../one.safetensors"; only names inside this folder are followed'),
        ("absolute", mapped("/one.safetensors"), '"/one.safetensors"; only names inside'),
        ("backslash", mapped("..\\one.safetensors"), '"..\\one.safetensors"; only names inside'),
        ("drive", mapped("C:one.safetensors"), "only names inside"),
        ("nul", mapped("one\0.safetensors"), "one\\u{0}.safetensors"),
        ("nothing", mapped(""), "only names inside"),
        ("other_suffix", mapped("pytorch_model.bin"), '"pytorch_model.bin"; only .safetensors files are opened'),
        ("twice", '{"weight_map": {"a": "x.safetensors", "\\u0061": "y.safetensors"}}', 'the weight_map of the index names "a" twice'),
        ("twice_map", '{"weight_map": {"a": "x.safetensors"}, "weight_map": {}}', 'the index names "weight_map" twice'),
        ("deep", '{"metadata": ' + "[" * 200, "recursion limit"),
    ]


INDEX = "model.safetensors.index.json"
PYTORCH_INDEX = "pytorch_model.bin.index.json"


def folders() -> list[tuple[str, dict[str, bytes | str], str]]:
    small = lambda name: tensors(DATA[:32], **{name: entry(shape=(2, 4))})
    a, b = small("a.weight"), small("b.weight")
    both = tensors(DATA, **{"a.weight": entry(), "c.weight": entry(offsets=(32, 64))})
    index = lambda **to: json.dumps({"weight_map": {f"{k}.weight": f"{v}.safetensors" for k, v in to.items()}})
    own = listed(item("a.weight"), data=DATA)
    torch = lambda *names: torch_files.saved({f"{name}.weight": torch_files.floats((2, 4)) for name in names})
    bins = lambda **to: json.dumps({"weight_map": {f"{k}.weight": v for k, v in to.items()}})
    first, second = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"
    shared = torch_files.Storage("Float", DATA[:32])
    tied = lambda *names: torch_files.saved({f"{name}.weight": torch_files.tensor(shared, (2, 4)) for name in names})
    tied_index = {PYTORCH_INDEX: bins(**{"lm_head": first, "model.embed_tokens": first, "b": second})}
    torch_index = {PYTORCH_INDEX: bins(a=first, b=second)}
    return [
        ("ok_single", {"model.safetensors": a, "config.json": "{"}, "ok: it is no JSON object that can be read"),
        ("ok_union", {"x.safetensors": a, "y.safetensors": b}, "ok"),
        ("ok_index", {INDEX: index(a="one", b="two"), "one.safetensors": a, "two.safetensors": b}, "ok"),
        ("ok_below", {INDEX: index(a="sub/one"), "sub/one.safetensors": a}, "ok"),
        ("ok_packed", {"model.spk": own}, "ok"),
        ("both", {INDEX: index(a="one"), "one.safetensors": a, "model.safetensors": b}, "ok: the single file was opened"),
        ("single_beside", {"model.safetensors": a, "x.safetensors": b}, 'ok: "x.safetensors" stands beside model.safetensors'),
        ("packed_beside", {"model.spk": own, "x.safetensors": a}, 'ok: "x.safetensors" stands beside model.spk'),
        ("extra_shard", {INDEX: index(a="one"), "one.safetensors": a, "two.safetensors": b}, 'ok: "two.safetensors" is not in the index'),
        ("extra_tensor", {INDEX: index(a="one"), "one.safetensors": both}, 'ok: 1 tensor is not in the index and left alone, the first is "c.weight"'),
        ("only_config", {"config.json": "{}"}, "this folder has no .safetensors, pytorch_model.bin, .gguf or .onnx file: give the folder"),
        ("only_pickle", {"other.pt": b"PK\3\4"}, 'but "other.pt": give that file itself'),
        ("ok_pytorch", {"pytorch_model.bin": torch("a", "b"), "training_args.bin": b"\x80\x02}."}, "ok"),
        ("ok_pytorch_index", {**torch_index, first: torch("a"), second: torch("b")}, "ok"),
        ("ok_pytorch_beside", {"model.safetensors": a, "pytorch_model.bin": torch("b")}, "ok: only safetensors was opened"),
        ("ok_part_alone", {"model-00001-of-00002.safetensors": a}, "ok: is named as a part of 2 files, and 1 of them is here"),
        (
            "ok_pytorch_parts",
            {"pytorch_model-00001-of-00002.bin": torch("a"), "pytorch_model-00002-of-00002.bin": torch("b")},
            "ok",
        ),
        ("ok_pytorch_gguf", {"pytorch_model.bin": torch("a"), "m.gguf": make_gguf.one()}, "ok"),
        ("ok_pytorch_tied", {**tied_index, first: tied("lm_head", "model.embed_tokens"), second: torch("b")}, 'ok: "model.embed_tokens.weight" is one storage with "lm_head.weight" and counts once'),
        ("ok_pytorch_tied_config", {**tied_index, first: tied("lm_head", "model.embed_tokens"), second: torch("b"), "config.json": '{"model_type": "llama"}'}, 'ok: "lm_head.weight" is one storage with "model.embed_tokens.weight" and counts once'),
        ("ok_pytorch_tied_other", {PYTORCH_INDEX: bins(x=first), first: tied("a", "x")}, "ok"),
        ("pytorch_tied_twice", {**tied_index, first: tied("lm_head", "model.embed_tokens"), second: torch("b", "lm_head")}, 'tensor "lm_head.weight" is in'),
        ("pytorch_both", {**torch_index, "pytorch_model.bin": torch("a"), first: torch("a")}, "ok: pytorch_model.bin stands beside pytorch_model.bin.index.json; the single"),
        ("pytorch_extra", {PYTORCH_INDEX: bins(a=first), first: torch("a"), second: torch("b")}, f'ok: "{second}" is not in the index'),
        ("pytorch_missing", {**torch_index, first: torch("a")}, "the index: 1 of its 2 files are missing"),
        ("pytorch_lost", {**torch_index, first: torch("a"), second: torch("c")}, f'tensor "b.weight" is not in "{second}"'),
        ("pytorch_twice", {**torch_index, first: torch("a"), second: torch("b", "a")}, 'tensor "a.weight" is in'),
        ("pytorch_shard", {**torch_index, first: torch("a"), second: b}, "this shard is not pytorch, but safetensors"),
        ("pytorch_suffix", {PYTORCH_INDEX: bins(a="x.safetensors"), "y.bin": torch("a")}, '"x.safetensors"; only .bin files are opened'),
        ("missing_shard", {INDEX: index(a="one", b="two"), "one.safetensors": a}, "the index: 1 of its 2 files are missing"),
        ("missing_tensor", {INDEX: index(a="one", b="one"), "one.safetensors": a}, 'tensor "b.weight" is not in "one.safetensors"'),
        ("elsewhere", {INDEX: index(a="two", b="two"), "one.safetensors": a, "two.safetensors": b}, 'tensor "a.weight" is not in'),
        ("swapped", {INDEX: index(a="two", b="one"), "one.safetensors": a, "two.safetensors": b}, "but in"),
        ("twice", {"x.safetensors": a, "y.safetensors": a}, 'tensor "a.weight" is in'),
        ("twice_with_index", {INDEX: index(a="one", c="two"), "one.safetensors": a, "two.safetensors": both}, 'tensor "a.weight" is in'),
        ("bad_shard", {INDEX: index(a="one"), "one.safetensors": a[:-5]}, "one.safetensors: the header describes 32 bytes"),
        ("pointer_shard", {INDEX: index(a="one"), "one.safetensors": "version https://git-lfs.github.com/spec/v1\n"}, "Git LFS pointer"),
        ("pointer_index", {INDEX: "version https://git-lfs.github.com/spec/v1\n", "one.safetensors": a}, "the index: this is a Git LFS pointer"),
        ("page_index", {INDEX: "<!DOCTYPE html>", "one.safetensors": a}, "the index: this is an HTML page"),
        ("shard_is_folder", {INDEX: index(a="one"), "one.safetensors/x": "y"}, "one.safetensors: is not a regular file"),
        ("single_is_folder", {"model.safetensors/x": "y", "x.safetensors": a}, "model.safetensors: is not a regular file"),
        ("packed_shard", {"x.safetensors": own}, "this shard is not safetensors, but packed"),
    ]


def recipes() -> list[tuple[str, bytes | str, str]]:
    v = "version = 1\n"
    rule = lambda pattern, scheme="int4": f"[[rule]]\nmatch = {json.dumps(pattern)}\nscheme = {json.dumps(scheme)}\n"
    override = lambda tensor, scheme="int4": f"[[override]]\ntensor = {json.dumps(tensor)}\nscheme = {json.dumps(scheme)}\n"
    return [
        ("ok", v + 'target = "packed"\nlocked = ["fc3.weight"]\n' + rule("fc[12]*", "prune:0.5+int4:g64") + override("fc1.bias", "f16"), "ok"),
        ("ok_crlf", (v + rule("*")).replace("\n", "\r\n"), "ok"),
        ("ok_meta", v + '[meta]\nx = 1.5\ny = nan\n"z" = "' + "\\u202e" + '"\n', "ok"),
        ("ok_regex", v + rule(r"re:fc\d\.weight"), "ok"),
        ("ok_many_stars", v + rule("*" * 5000), "ok"),
        ("empty", "", "begins with version = 1"),
        ("not_utf8", b"version = 1\n\xff", "byte 12 is not UTF-8 text"),
        ("json", '{"version": 1}', "line 1"),
        ("nul", v + "\0", "line 2"),
        ("version_2", "version = 2\n", "line 1: version 2 is not known"),
        ("version_text", 'version = "1"\n', "must be the number 1"),
        ("version_point", "version = 1.0\n", "version is 1.0; it must be the number 1"),
        ("key_unknown", v + "surprise = 1\n", "line 2: unknown field `surprise`"),
        ("key_unknown_in_rule", v + rule("*") + "bits = 4\n", "unknown field `bits`"),
        ("key_twice", v + v, 'line 2: duplicate key "version"'),
        ("key_twice_in_rule", v + rule("*") + 'scheme = "int8"\n', 'line 5: duplicate key "scheme"'),
        ("one_bracket", v + '[rule]\nmatch = "*"\nscheme = "int4"\n', "write [[rule]]"),
        ("no_scheme", v + '[[rule]]\nmatch = "*"\n', "line 2: missing field `scheme`"),
        ("scheme_unknown", v + rule("*", "int9"), 'line 4: scheme "int9"'),
        ("scheme_long", v + rule("*", "prune:0.5+" + "int4+" * 2000), "there is at most one quantize step"),
        ("scheme_unbuilt", v + rule("*", "wanda:0.5"), "wanda:0.5 is not built yet"),
        ("target_unknown", v + 'target = "zip"\n', 'line 2: unknown target "zip"'),
        ("glob_open", v + rule("fc["), "write [[] for a bracket"),
        ("glob_long", v + rule("*a" * 2049), "4098 bytes long, more than the 4096 allowed for a glob"),
        ("glob_deep", v + rule("{" * 17 + "}" * 17), "line 3: pattern \"{{{{{{{{{{{{{{{{{}}}}}}}}}}}}}}}}}\": more than the 16 braces"),
        ("regex_open", v + rule("re:("), "line 3: pattern \"re:(\""),
        ("regex_heavy", v + rule("re:(a{1000}){1000}"), "4194304 bytes allowed when compiled"),
        ("regexes_heavy", v + "".join(rule(rf"re:.*\w{{60}}|fc{i}.*") for i in range(40)), "67108864 bytes allowed when compiled"),
        ("regex_back", v + rule(r"re:(a)\1"), "backreferences are not supported"),
        ("touches_nothing", v + "\n" + rule("nothing*"), 'line 4: pattern "nothing*" touches no tensor'),
        ("touches_biases", v + rule("*.bias"), "patterns touch float weight matrices only"),
        ("override_absent", v + override("fc9.weight"), 'line 3: override: there is no tensor "fc9.weight"'),
        ("locked_absent", v + 'locked = [\n  "fc1.weight",\n  "fc9.weight",\n]\n', 'line 4: locked: there is no tensor "fc9.weight"'),
        ("locked_evil", v + 'locked = ["\\u001b[31m\\u202e"]\n', 'there is no tensor "\\u{1b}[31m\\u{202e}"'),
    ]


def main() -> None:
    lines = []

    def put(path: str, content: bytes | str) -> None:
        file = HERE / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    for folder in ("header", "stranger", "packed", "gguf", "onnx", "numpy", "pickle", "index", "folder", "recipe", "tokenizer", "conversion", "runtimes"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
    for folder, suffix, cases in (
        ("header", ".safetensors", headers()),
        ("stranger", "", strangers()),
        ("packed", ".spk", packed() + blocked()),
        ("gguf", ".gguf", make_gguf.files()),
        ("onnx", ".onnx", make_onnx.files()),
        ("numpy", "", make_numpy.files()),
        ("pickle", ".pt", make_pytorch_bad.files()),
        ("tokenizer", ".json", make_gguf.tokenizers()),
        ("index", ".json", indexes()),
        ("recipe", ".toml", recipes()),
    ):
        for name, content, expected in cases:
            put(f"{folder}/{name}{suffix}", content)
            lines.append(f"{folder}/{name}{suffix}\t{expected}")
    cases = [("folder", folders() + make_gguf.sets() + make_onnx.folders()), ("conversion", make_gguf.conversions()), ("runtimes", make_runtimes.folders())]
    for folder, name, files, expected in ((folder, *case) for folder, cases in cases for case in cases):
        (HERE / folder / name).mkdir(parents=True)
        for file, content in files.items():
            put(f"{folder}/{name}/{file}", content)
        lines.append(f"{folder}/{name}\t{expected}")
    for file, content in make_gguf.base().items():
        put(f"conversion/base/{file}", content)
    put("expected.tsv", "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
