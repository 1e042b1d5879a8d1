"""GGUF files, spelled byte by byte: one for each rule, split sets, tokenizers, and folders that are converted or refused.

The rules are those of `gguf_init_from_file` in llama.cpp, and what has been done to its readers with numbers that wrap.
`tests/readers/gguf_files.py` asks llama.cpp itself about each of these files.
"""

from __future__ import annotations

import json
import math
import struct

import torch_files

U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B", U64: "<Q", I64: "<q", F64: "<d"}
TOP = 2**64 - 1
DATA = struct.pack("<16f", *(0.25 * i - 2 for i in range(16)))


def text(t: str | bytes, length: int | None = None) -> bytes:
    t = t.encode() if isinstance(t, str) else t
    return struct.pack("<Q", len(t) if length is None else length) + t


def value(kind: int, v) -> bytes:
    return text(v) if kind == TEXT else struct.pack(PACK[kind], v)


def pair(key: str | bytes, kind: int, v) -> bytes:
    """A key with a value of one of the kinds, or with bytes that are taken as they are."""
    return text(key) + struct.pack("<I", kind) + (v if isinstance(v, bytes) else value(kind, v))


def array(key: str, of: int, items: list, count: int | None = None) -> bytes:
    head = struct.pack("<IQ", of, len(items) if count is None else count)
    return pair(key, ARRAY, head + b"".join(value(of, v) for v in items))


def info(name: str | bytes, dims=(8,), kind=0, offset=0, rank: int | None = None) -> bytes:
    """A tensor info; `dims` as the file has them, the fastest first."""
    head = text(name) + struct.pack("<I", len(dims) if rank is None else rank)
    return head + b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, offset)


def file(pairs=(), infos=(), data=b"", alignment=32, version=3, tensors=None, count=None) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(infos) if tensors is None else tensors, len(pairs) if count is None else count)
    head += b"".join(pairs) + b"".join(infos)
    return head + (b"\0" * (-len(head) % alignment) + data if infos else data)


LLAMA = pair("general.architecture", TEXT, "llama")
ALIGNMENT = "general.alignment"


def one(data: int | bytes = 32, **k) -> bytes:
    """A file with the one tensor `w`."""
    return file(infos=[info("w", **k)], data=DATA[:data] if isinstance(data, int) else data)


def big_endian() -> bytes:
    """What llama.cpp's writer makes on a big-endian machine."""
    key = b"general.architecture"
    return b"GGUF" + struct.pack(">IQQ", 3, 0, 1) + struct.pack(">Q", len(key)) + key + struct.pack(">IQ", 8, 5) + b"llama"


def every_kind() -> list[bytes]:
    numbers = {U8: 255, I8: -128, U16: 65535, I16: -32768, U32: 2**32 - 1, I32: -(2**31), F32: 0.5, BOOL: 1, TEXT: "é\n", U64: TOP, I64: -(2**63), F64: 1e300}
    scalars = [pair(f"one.{kind}", kind, v) for kind, v in numbers.items()]
    return scalars + [array(f"many.{kind}", kind, [v, v, v]) for kind, v in numbers.items()] + [array("none", TEXT, [])]


def files() -> list[tuple[str, bytes, str]]:
    two = [info("a"), info("b", offset=32)]
    past = "more than can be counted"
    whole = file([LLAMA, pair("k", U32, 7), array("t", TEXT, ["x", "yz"])], two, DATA)
    no_end = file(infos=[info("a"), info("b", (5,), 0, 32)], data=DATA[:52])
    cuts = [
        (f"cut_at_{at}", whole[:at], words)
        for at, words in (
            (4, "its version: 4 bytes are expected here and 0 follow"),
            (7, "its version: 4 bytes are expected here and 3 follow"),
            (12, "its first bytes: 8 bytes are expected here and 4 follow"),
            (20, "its first bytes: 8 bytes are expected here and 4 follow"),
            (24, "its key-values: it is said to hold 3 pairs, which take 13 bytes each at least, and 0 bytes follow"),
            (60, "its key-values: it is said to hold 3 pairs, which take 13 bytes each at least, and 36 bytes follow"),
            (80, 'key "k": 4 bytes are expected here and 2 follow'),
            (120, 'key "t": it is said to hold 2 items, which take 8 bytes each at least, and 9 bytes follow'),
            (whole.index(text("b")) + 13, 'its tensors: it is said to hold 2 infos, which take 24 bytes each at least, and 46 bytes follow'),
            (len(whole) - 33, 'tensor "a": it ends at byte'),
            (len(whole) - 1, f'tensor "b": it ends at byte {len(whole)} and the file at byte {len(whole) - 1}'),
        )
    ]
    return cuts + [
        # the first 24 bytes
        ("magic_alone", b"GGUF", "its version: 4 bytes are expected here and 0 follow"),
        ("version_0", file(version=0), "its version: it is 0; the file is damaged"),
        ("version_1", b"GGUF" + struct.pack("<III", 1, 0, 0) + bytes(16), "it is 1, of August 2023"),
        ("version_4", file(version=4), "it is 4, and this program reads 2 and 3; use a newer Spokeshave"),
        ("big_endian", big_endian(), "it is 0x3000000: the file was written for a big-endian machine"),
        ("pairs_2e62", file(count=2**62), "said to hold 4611686018427387904 pairs"),
        ("pairs_wrap", file(count=TOP), f"said to hold {TOP} pairs"),
        ("pairs_one_more", file([LLAMA], count=2), "key-value 1: 8 bytes are expected here and 0 follow"),
        ("tensors_2e62", file(tensors=2**62), "said to hold 4611686018427387904 infos"),
        ("tensors_wrap", file(tensors=TOP, data=bytes(64)), f"said to hold {TOP} infos"),
        ("tensors_wrap_to_small", file(tensors=2**64 // 24 + 1, data=bytes(64)), "which take 24 bytes each at least"),
        # key-values
        ("key_empty", file([pair("", U8, 1)]), "key-value 0: its key is empty"),
        ("key_not_utf8", file([pair(b"k\xff", U8, 1)]), "key-value 0: byte 1 of its name is not UTF-8"),
        ("key_length_2e62", file([struct.pack("<Q", 2**62) + bytes(32)]), "a text is said to be 4611686018427387904 bytes long and 32 follow"),
        ("key_length_wraps", file([struct.pack("<Q", TOP) + bytes(32)]), f"a text is said to be {TOP} bytes long"),
        ("key_twice", file([pair("k", U8, 1), pair("k", U8, 1)]), 'key "k": it is given twice; readers disagree'),
        ("key_evil", file([pair("\x1b[2J\u202e", 13, bytes(8))]), 'key "\\u{1b}[2J\\u{202e}": its type is 13'),
        ("kind_13", file([pair("k", 13, bytes(8))]), 'key "k": its type is 13, and types go from 0 (u8) to 12 (f64)'),
        ("kind_2e32", file([pair("k", 2**32 - 1, bytes(8))]), "its type is 4294967295"),
        ("text_length_2e62", file([pair("k", TEXT, struct.pack("<Q", 2**62) + b"abc")]), 'key "k": a text is said to be 4611686018427387904 bytes long and 3 follow'),
        ("text_length_wraps", file([pair("k", TEXT, struct.pack("<Q", TOP) + b"abc")]), f"a text is said to be {TOP} bytes long"),
        ("text_cut", file([pair("k", TEXT, struct.pack("<Q", 9) + b"abc")]), "a text is said to be 9 bytes long and 3 follow"),
        ("value_cut", file([pair("key-of-some-length", U64, bytes(7))]), 'key "key-of-some-length": 8 bytes are expected here and 7 follow'),
        ("array_2e62", file([array("k", U8, [1, 2], 2**62)]), 'key "k": it is said to hold 4611686018427387904 items, which take 1 bytes each at least, and 2 bytes follow'),
        ("array_wraps", file([array("k", U64, [1, 2], 2**61 + 1)]), "said to hold 2305843009213693953 items, which take 8 bytes each at least"),
        ("array_of_texts_2e62", file([array("k", TEXT, ["a"], 2**62)]), "said to hold 4611686018427387904 items, which take 8 bytes each"),
        ("array_of_texts_wraps", file([array("k", TEXT, ["a"], 2**61)]), "items, which take 8 bytes each at least"),
        ("array_text_length", file([pair("k", ARRAY, struct.pack("<IQQ", TEXT, 2, TOP - 7) + bytes(16))]), 'key "k": a text is said to be'),
        ("array_nested", file([pair("k", ARRAY, struct.pack("<IQIQ", ARRAY, 1, U8, 1) + b"\1")]), 'key "k": it is an array of arrays'),
        ("array_nested_deep", file([pair("k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 2000)]), 'key "k": it is an array of arrays'),
        ("array_kind_13", file([pair("k", ARRAY, struct.pack("<IQ", 13, 1) + bytes(8))]), 'key "k": its type is 13'),
        ("alignment_0", file([pair(ALIGNMENT, U32, 0)], two, DATA), 'key "general.alignment": it is 0; allowed are powers of two from 1 to 1048576, as u32'),
        ("alignment_3", file([pair(ALIGNMENT, U32, 3)], two, DATA), "it is 3; allowed are powers of two"),
        ("alignment_48", file([pair(ALIGNMENT, U32, 48)], two, DATA), "it is 48; allowed are powers of two"),
        ("alignment_2e31", file([pair(ALIGNMENT, U32, 2**31)], two, DATA), "it is 2147483648; allowed are powers of two"),
        ("alignment_u64", file([pair(ALIGNMENT, U64, 64)], two, DATA), "it is of type u64; allowed"),
        ("alignment_text", file([pair(ALIGNMENT, TEXT, "32")], two, DATA), "it is of type text; allowed"),
        # tensor infos
        ("name_64", file(infos=[info("n" * 64)], data=DATA[:32]), "tensor 0: its name is 64 bytes long, at most 63 are allowed"),
        ("name_wraps", file(infos=[struct.pack("<Q", TOP) + bytes(60)], data=DATA), f"tensor 0: a text is said to be {TOP} bytes long"),
        ("name_not_utf8", file(infos=[info(b"w\xff")], data=DATA[:32]), "tensor 0: its name is not UTF-8"),
        ("name_twice", file(infos=[info("w"), info("w", offset=32)], data=DATA), 'the list of tensors names "w" twice'),
        ("name_evil", file(infos=[info("\x1b[2J\u202e", (8,), 99)], data=DATA), 'tensor "\\u{1b}[2J\\u{202e}": its type has number 99'),
        ("rank_5", one(dims=(2, 1, 1, 1, 4)), 'tensor "w": it has 5 dimensions, at most 4 are allowed'),
        ("rank_2e32", one(rank=2**32 - 1), 'tensor "w": it has 4294967295 dimensions'),
        ("dimension_2e63", one(dims=(2**63,)), f'tensor "w": a dimension is {2**63}, {past}'),
        ("dimension_2e64", one(dims=(TOP, 1)), f"a dimension is {TOP}, {past}"),
        ("product_wraps", one(dims=(2**32, 2**32)), "its shape [4294967296, 4294967296] has more elements than can be counted"),
        ("product_wraps_to_small", one(dims=(2**32, 2**30, 4, 8)), "has more elements than can be counted"),
        ("product_wraps_before_zero", one(dims=(2**62, 4, 0)), "has more elements than can be counted"),
        ("product_wraps_after_zero", one(dims=(0, 2**40, 2**40)), "its shape [1099511627776, 1099511627776, 0] has more elements than can be counted"),
        ("bytes_wrap", one(dims=(2**62,)), "needs more bytes than can be counted"),
        ("half_a_block", one(dims=(33,), kind=8), "its rows of 33 elements are not whole blocks of 32, as Q8_0 needs"),
        ("half_a_super_block", one(144, dims=(128, 2), kind=12), "its rows of 128 elements are not whole blocks of 256, as Q4_K needs"),
        ("scalar_in_blocks", one(dims=(), kind=8), "its rows of 1 elements are not whole blocks of 32"),
        ("type_withdrawn", one(dims=(32,), kind=4), "Q4_2 and Q4_3 were withdrawn in 2023"),
        ("type_repacked", one(dims=(32,), kind=31), "this repacked type is no longer stored in files"),
        ("type_unknown", one(kind=43), "its type has number 43, which no known type has: the file is damaged, or newer"),
        ("type_2e31", one(kind=2**31), "its type has number 2147483648"),
        ("info_cut", file(infos=[info("name-of-some-length", (2, 4))], alignment=1)[:-9], 'tensor "name-of-some-length": 4 bytes are expected here and 3 follow'),
        # where tensors lie
        ("offset_odd", file(infos=[info("a"), info("b", offset=33)], data=DATA), 'tensor "b": it starts at byte 33 of the data, expected 32'),
        ("offset_gap", file(infos=[info("a"), info("b", offset=64)], data=DATA * 2), "it starts at byte 64 of the data, expected 32"),
        ("offset_overlap", file(infos=[info("a", (16,)), info("b", offset=32)], data=DATA * 2), "it starts at byte 32 of the data, expected 64"),
        ("offset_first", file(infos=[info("a", offset=32)], data=DATA), "it starts at byte 32 of the data, expected 0"),
        ("offset_backwards", file(infos=[info("a", offset=32), info("b")], data=DATA), "it starts at byte 32 of the data, expected 0"),
        ("offset_wraps", file(infos=[info("a", (2**60,), 24), info("b", offset=2**60)], data=DATA), 'tensor "a": it ends at byte'),
        ("padding_wraps", file(infos=[info("a", (2**63 - 1,), 24), info("b", offset=2**63)], data=DATA), 'tensor "a": it ends at byte'),
        ("sum_wraps", file(infos=[info("a", (2**61,)), info("b", offset=2**63)], data=DATA), 'tensor "a": it ends at byte'),
        ("size_past_end", one(64, dims=(17,)), 'tensor "w": it ends at byte'),
        ("no_data", one(0), 'tensor "w": it ends at byte'),
        ("cut_in_padding", file(infos=[info("w")])[:60], 'tensor "w": it ends at byte'),
        # legal corners
        ("ok_nothing", file(), "ok"),
        ("ok_every_kind", file(every_kind(), [info("w")], DATA[:32]), "ok"),
        ("ok_version_2", file([LLAMA], two, DATA, version=2), "ok"),
        ("ok_scalar", one(4, dims=()), "ok"),
        ("ok_empty", file(infos=[info("a", (0,)), info("b", (4, 0)), info("c", (0, 2**40), 8), info("w")], data=DATA[:32]), "ok"),
        ("ok_four_dimensions", one(dims=(2, 2, 1, 2)), "ok"),
        ("ok_alignment_1", file([pair(ALIGNMENT, U32, 1)], [info("a", (3,), 24), info("b", offset=3)], bytes(3) + DATA[:32], alignment=1), "ok"),
        ("ok_alignment_64", file([pair(ALIGNMENT, U32, 64)], [info("a"), info("b", offset=64)], DATA[:32] + bytes(32) + DATA[:32], alignment=64), "ok"),
        ("ok_alignment_wide", file([pair(ALIGNMENT, U32, 4096)], [info("a"), info("b", offset=4096)], DATA[:32] + bytes(4064) + DATA[:32], alignment=4096), "ok"),
        ("ok_last_padding_missing", no_end, "ok"),
        ("ok_last_padding_short", no_end + bytes(5), "ok"),
        ("ok_surplus", no_end + bytes(12) + b"tail", "ok: 4 bytes after the last tensor belong to nothing"),
        ("ok_surplus_alone", file([LLAMA], data=b"tail"), "ok: 4 bytes after the last tensor belong to nothing"),
        ("ok_name_63", file(infos=[info("n" * 63)], data=DATA[:32]), "ok"),
        ("ok_name_empty", file(infos=[info("")], data=DATA[:32]), "ok"),
        ("ok_names", file(infos=[info("../[x]{y}\\."), info("é", offset=32)], data=DATA), "ok"),
        ("ok_blocks", one(bytes(36) + bytes(34 * 3), dims=(32, 4), kind=8), "ok"),
        ("ok_integers", file(infos=[info("a", (4,), 24), info("b", (4,), 25, 32), info("c", (4,), 26, 64), info("d", (4,), 27, 96), info("e", (4,), 28, 128)], data=DATA * 2 + DATA[:32]), "ok"),
        ("ok_vocabulary", file([array("tokenizer.ggml.tokens", TEXT, [f"t{i}" for i in range(3000)])], [info("w")], DATA[:32]), "ok"),
        ("ok_text_not_utf8", file([pair("general.name", TEXT, text(b"n\0\xff\x1b[2J"))], [info("w")], DATA[:32]), "ok"),
        ("ok_unknown_keys", file([pair("who.knows", F64, 1.5), LLAMA], [info("w")], DATA[:32]), "ok"),
        # numbers that somebody sized an array by
        ("ok_absurd_block_count", file([LLAMA, pair("llama.block_count", U32, 2**32 - 1)], [info("blk.4294967295.w")], DATA[:32]), "ok"),
        ("ok_absurd_alignment_of_another", file([pair("llama.alignment", U32, 0)], [info("w")], DATA[:32]), "ok"),
    ]


# ---------------------------------------------------------------- split sets, each a folder


def split(number: int | None, count: int | None, tensors: int | None, names: list[str], more=()) -> bytes:
    """A file of a set as `llama-gguf-split` writes it."""
    numbers = [("split.no", U16, number), ("split.count", U16, count), ("split.tensors.count", I32, tensors)]
    pairs = [pair(key, kind, v) for key, kind, v in numbers if v is not None]
    infos = [info(name, offset=32 * at) for at, name in enumerate(names)]
    return file([*more, *pairs], infos, (DATA * len(names))[: 32 * len(names)])


def sets() -> list[tuple[str, dict[str, bytes], str]]:
    name = lambda i, of=2, stem="m": f"{stem}-{i:05}-of-{of:05}.gguf"
    head = [LLAMA, pair("general.name", TEXT, "a set")]
    a, b = split(0, 2, 3, ["a", "b"], head), split(1, 2, 3, ["c"])
    whole = file([LLAMA], [info("w")], DATA[:32])
    return [
        ("ok_gguf", {"model.gguf": whole, "README.md": b"x"}, "ok"),
        ("ok_gguf_set", {name(1): a, name(2): b}, "ok"),
        ("ok_gguf_set_of_one", {"alone.gguf": split(0, 1, 1, ["w"], head)}, "ok"),
        ("ok_gguf_set_uncounted", {name(1): split(0, 2, None, ["a"], head), name(2): split(1, 2, None, ["b"])}, "ok"),
        ("gguf_two", {"a.gguf": whole, "b.gguf": whole}, 'this folder has 2 GGUF models, "a.gguf" and "b.gguf" among them: give one of the files'),
        ("gguf_and_set", {name(1): a, name(2): b, "one.gguf": whole}, "this folder has 2 GGUF models"),
        ("gguf_sets", {name(1): a, name(2): b, name(1, stem="n"): a, name(2, stem="n"): b}, "this folder has 2 GGUF models"),
        ("ok_gguf_beside", {"model.gguf": whole, "model.safetensors": weights()}, "ok"),
        ("gguf_bad", {"model.gguf": whole[:-1]}, 'tensor "w": it ends at byte'),
        ("gguf_pointer", {"model.gguf": b"version https://git-lfs.github.com/spec/v1\n"}, "Git LFS pointer"),
        ("split_missing", {name(1): a}, "00002-of-00002.gguf is missing; download the whole set"),
        ("split_missing_first", {name(2): b}, "00001-of-00002.gguf is missing; download the whole set"),
        ("split_renamed", {"renamed.gguf": a}, "it has 2 files, and this one is not named …-00001-of-00002.gguf"),
        ("split_short_number", {"m-1-of-2.gguf": a, "m-2-of-2.gguf": b}, "this one is not named …-00001-of-00002.gguf" ),
        ("split_swapped", {name(1): b, name(2): a}, "says of itself to be number 1 (from 0) of 2, expected 0 of 2"),
        ("split_other_set", {name(1): a, name(2): split(1, 3, 3, ["c"])}, "says of itself to be number 1 (from 0) of 3, expected 1 of 2"),
        ("split_whole_inside", {name(1): a, name(2): whole}, "says of itself to be number nothing (from 0) of nothing, expected 1 of 2"),
        ("split_no_number", {name(1): split(None, 2, 3, ["a", "b"], head), name(2): b}, "number nothing (from 0) of 2, expected 0 of 2"),
        ("split_too_few", {name(1): split(0, 2, 4, ["a", "b"], head), name(2): b}, "its files have 3 tensors in all, and the first says 4"),
        ("split_too_many", {name(1): split(0, 2, 2, ["a", "b"], head), name(2): b}, "its files have 3 tensors in all, and the first says 2"),
        ("split_negative", {name(1): file([*head, pair("split.no", I32, -1), pair("split.count", U16, 2)], [info("a")], DATA[:32]), name(2): b}, "number nothing (from 0) of 2, expected 0 of 2"),
        ("split_twice", {name(1): a, name(2): split(1, 2, 3, ["a"])}, 'tensor "a" is in'),
        ("split_count_huge", {name(1, 65535): split(0, 65535, 1, ["a"], head)}, "it is said to have 65535 files, at most 10000 are read; the file is damaged"),
        ("split_count_2e63", {name(1): file([*head, pair("split.no", U64, 0), pair("split.count", U64, 2**63)], [info("a")], DATA[:32])}, "it is said to have 9223372036854775808 files"),
        ("split_bad", {name(1): a, name(2): b[:-1]}, "00002-of-00002.gguf: GGUF file, tensor"),
        ("split_stranger", {name(1): a, name(2): b"<!DOCTYPE html>"}, "00002-of-00002.gguf: "),
    ]


# ---------------------------------------------------------------- tokenizer.json


THREE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def words(pattern: str, **k) -> dict:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False} | k
    return {"type": "Sequence", "pretokenizers": [split, BYTES | {"use_regex": False}]}


def added(id: int, content: str, special=True) -> dict:
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}


VOCABULARY = {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġa": 4}


def tokenizer(model=None, **k) -> dict:
    """A byte-level tokenizer of six tokens, with what is given in place of its parts."""
    plain = {"type": "BPE", "unk_token": None, "byte_fallback": False, "vocab": VOCABULARY, "merges": ["a b", "Ġ a"]}
    model = {key: v for key, v in (plain | (model or {})).items() if v != "left out"}
    parts = {"version": "1.0", "normalizer": None, "pre_tokenizer": BYTES, "added_tokens": [added(5, "<|end|>")], "post_processor": None, "model": model}
    return {key: v for key, v in (parts | k).items() if v != "left out"}


def begins(token: str) -> dict:
    return {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}


def tokenizers() -> list[tuple[str, str, str]]:
    steps = lambda *kinds: {"type": "Sequence", "pretokenizers": list(kinds)}
    digits = {"type": "Digits", "individual_digits": True}
    template = begins("<|end|>")
    unknown = "and those that are known here are gpt-2, smollm, llama-bpe, smaug-bpe and qwen2"
    dumped = [
        ("ok_gpt2", tokenizer(), "ok"),
        ("ok_smollm", tokenizer(pre_tokenizer=steps(digits, BYTES)), "ok"),
        ("ok_llama", tokenizer({"ignore_merges": True}, pre_tokenizer=words(THREE)), "ok"),
        ("ok_smaug", tokenizer(pre_tokenizer=words(THREE)), "ok"),
        ("words_first", tokenizer({"ignore_merges": True}), "it takes words that are tokens before it merges (ignore_merges)"),
        ("ok_qwen", tokenizer(pre_tokenizer=words(THREE.replace("{1,3}", "")), normalizer={"type": "NFC"}), "ok"),
        ("ok_pairs", tokenizer({"merges": [["a", "b"], ["Ġ", "a"]]}), "ok"),
        ("ok_template", tokenizer(post_processor={"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}), "ok"),
        ("ok_holes", tokenizer(added_tokens=[added(9, "<|end|>")]), "ok"),
        ("ok_added_over_word", tokenizer(added_tokens=[added(3, "<|ab|>"), added(5, "x", False)]), "ok"),
        ("ok_unmarked", tokenizer({"end_of_word_suffix": "", "continuing_subword_prefix": None, "dropout": 0.1}), "ok"),
        ("ok_no_type", tokenizer({"type": "left out"}), "ok"),
        ("template_for_two", tokenizer(post_processor=template | {"single": [*template["single"], *template["single"]]}), "its template for a text is not one token before and one behind it at most"),
        ("roberta", tokenizer(post_processor={"type": "RobertaProcessing", "sep": ["b", 1], "cls": ["a", 0]}), 'it finishes texts with the step "RobertaProcessing"'),
        ("unigram", tokenizer({"type": "Unigram", "vocab": [["a", -1.0]], "merges": "left out"}), 'it is of type "Unigram", and only byte-level BPE is converted'),
        ("word_piece", tokenizer({"type": "WordPiece"}), 'it is of type "WordPiece"'),
        ("sentence_piece", tokenizer({"byte_fallback": True}), "it is a SentencePiece tokenizer (BPE with byte fallback)"),
        ("lowercase", tokenizer(normalizer={"type": "Lowercase"}), 'it changes text first ("Lowercase")'),
        ("prepend", tokenizer(normalizer={"type": "Sequence", "normalizers": []}), 'it changes text first ("Sequence")'),
        ("metaspace", tokenizer(pre_tokenizer={"type": "Metaspace"}), f"it cuts text by the steps [Metaspace], {unknown}"),
        ("no_steps", tokenizer(pre_tokenizer=None), "it cuts text by the steps []"),
        ("prefix_space", tokenizer(pre_tokenizer=BYTES | {"add_prefix_space": True}), "it puts a space before every text"),
        ("digits_in_groups", tokenizer(pre_tokenizer=steps(digits | {"individual_digits": False}, BYTES)), f"it cuts text by the steps [Digits, ByteLevel], {unknown}"),
        ("other_pattern", tokenizer(pre_tokenizer=words(r"\p{L}+")), r'it cuts text by the pattern "\p{L}+", and those that are known here are'),
        ("other_behavior", tokenizer(pre_tokenizer=words(THREE, behavior="Removed")), "what it cuts text at is not kept as it is"),
        ("inverted", tokenizer(pre_tokenizer=words(THREE, invert=True)), "what it cuts text at is not kept as it is"),
        ("step_evil", tokenizer(pre_tokenizer={"type": "\x1b[2J\u202e"}), "[\\u{1b}[2J\\u{202e}]"),
        ("no_model", tokenizer() | {"model": None}, "it is not valid"),
        ("no_tokens", tokenizer({"vocab": {}, "merges": []}, added_tokens=[]), "it has no tokens"),
        ("vocabulary_list", tokenizer({"vocab": [["a", 0]]}), "its vocabulary is not valid"),
        ("id_negative", tokenizer({"vocab": {"a": -1}}), "its vocabulary is not valid"),
        ("id_fraction", tokenizer({"vocab": {"a": 0.5}}), "its vocabulary is not valid"),
        ("id_2e32", tokenizer({"vocab": {"a": 2**32}}), "its vocabulary is not valid"),
        ("id_far", tokenizer(added_tokens=[added(4_000_000, "x")]), "a token has the id 4000000; at most 4000000 tokens are read"),
        ("id_twice", tokenizer({"vocab": VOCABULARY | {"c": 3}}), "two tokens have the id 3"),
        ("merge_unknown", tokenizer({"merges": ["a b", "a c"]}), 'merge 1 joins "a" and "c", and there is no token'),
        ("merge_of_three", tokenizer({"merges": [["a", "b", "a"]]}), "it is not valid"),
        ("merge_alone", tokenizer({"merges": ["ab"]}), 'merge 0 is "ab"; it joins two tokens with a space between'),
        ("ends_of_words", tokenizer({"end_of_word_suffix": "</w>"}), 'it marks parts of words with "</w>", which byte-level BPE in llama.cpp does not'),
        ("begins_of_words", tokenizer({"continuing_subword_prefix": "##"}), 'it marks parts of words with "##"'),
    ]
    spelled = [(name, json.dumps(t, indent=None), expected) for name, t, expected in dumped]
    return spelled + [
        ("empty", "", "it is not valid: EOF"),
        ("list", "[]", "it is not valid"),
        ("page", "<!DOCTYPE html>", "it is not valid"),
        ("pointer", "version https://git-lfs.github.com/spec/v1\n", "it is not valid"),
        ("deep", '{"pre_tokenizer": ' + "[" * 200, "it is not valid: recursion limit"),
        ("model_twice", '{"model": {}, "model": {}}', "it is not valid: duplicate field `model`"),
    ]


# ---------------------------------------------------------------- folders that are converted


HIDDEN, HEAD, INNER, ROWS = 8, 4, 12, 8
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "vocab_size": ROWS,
    "bos_token_id": 5,
    "eos_token_id": [5, 4],
}
BLOCK = "model.layers.0."
SHAPES = {
    "model.embed_tokens.weight": (ROWS, HIDDEN),
    "model.norm.weight": (HIDDEN,),
    BLOCK + "input_layernorm.weight": (HIDDEN,),
    BLOCK + "post_attention_layernorm.weight": (HIDDEN,),
    BLOCK + "self_attn.q_proj.weight": (2 * HEAD, HIDDEN),
    BLOCK + "self_attn.k_proj.weight": (HEAD, HIDDEN),
    BLOCK + "self_attn.v_proj.weight": (HEAD, HIDDEN),
    BLOCK + "self_attn.o_proj.weight": (HIDDEN, 2 * HEAD),
    BLOCK + "mlp.gate_proj.weight": (INNER, HIDDEN),
    BLOCK + "mlp.up_proj.weight": (INNER, HIDDEN),
    BLOCK + "mlp.down_proj.weight": (HIDDEN, INNER),
}
BIASES = {BLOCK + f"self_attn.{part}_proj.bias": (rows,) for part, rows in (("q", 2 * HEAD), ("k", HEAD), ("v", HEAD))}
NORMS = {BLOCK + f"self_attn.{part}_norm.weight": (HEAD,) for part in "qk"}


def weights(dtype="F16", **changed) -> bytes:
    """The base model's tensors as safetensors, some with another shape (or `None`: left out) or another dtype."""
    size = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I8": 1}
    header, at = {}, 0
    for name, shape in sorted((SHAPES | changed).items()):
        if shape is None:
            continue
        kind, shape = (shape[0], shape[1:]) if shape and isinstance(shape[0], str) else (dtype, shape)
        n = size[kind]
        for d in shape:
            n *= d
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + n]}
        at += n
    spelled = json.dumps(header).encode()
    return struct.pack("<Q", len(spelled)) + spelled + bytes(at)


def pytorch_weights(tied: bool = False) -> bytes:
    """The base model's tensors as PyTorch saves them; `tied`, with a head that is the embedding."""
    half = lambda shape: torch_files.tensor(torch_files.Storage("Half", bytes(2 * math.prod(shape))), shape)
    tensors = {name: half(shape) for name, shape in SHAPES.items() if shape is not None}
    if tied:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    return torch_files.saved(tensors)


def base() -> dict[str, bytes | str]:
    """What every folder below has where it says nothing else."""
    about = {"bos_token": "<|end|>", "eos_token": {"content": "<|end|>"}, "chat_template": "{{ messages }}"}
    return {
        "config.json": json.dumps(CONFIG),
        "model.safetensors": weights(),
        "tokenizer.json": json.dumps(tokenizer()),
        "tokenizer_config.json": json.dumps(about),
    }


def conversions() -> list[tuple[str, dict[str, bytes | str], str]]:
    """What differs from the base; an empty file stands for one that is not there."""
    gone = object()

    def config(**k) -> dict[str, str]:
        return {"config.json": json.dumps({key: v for key, v in (CONFIG | k).items() if v is not gone})}

    def said(**k) -> dict[str, str]:
        return {"tokenizer_config.json": json.dumps(k)}

    rope = lambda **k: config(rope_scaling=k)
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    tensors = lambda **k: {"model.safetensors": weights(**k)}
    qwen2, qwen3 = config(model_type="qwen2"), config(model_type="qwen3", head_dim=HEAD)
    return [
        ("ok", {"README.md": "the base as it is"}, "ok"),
        ("ok_pytorch", {"model.safetensors": b"", "pytorch_model.bin": pytorch_weights()}, "ok"),
        ("ok_pytorch_tied", {"model.safetensors": b"", "pytorch_model.bin": pytorch_weights(tied=True)}, 'ok: "lm_head.weight" is one storage with "model.embed_tokens.weight" and counts once'),
        ("ok_mistral", config(model_type="mistral", sliding_window=None, head_dim=HEAD), "ok"),
        ("ok_qwen2", qwen2 | tensors(**BIASES), "ok"),
        ("ok_qwen3", qwen3 | tensors(**NORMS), "ok"),
        ("ok_head", config(tie_word_embeddings=False) | tensors(**{"lm_head.weight": (ROWS, HIDDEN)}), "ok"),
        ("ok_biases", config(attention_bias=True) | tensors(**BIASES, **{BLOCK + "self_attn.o_proj.bias": (HIDDEN,)}), "ok"),
        ("ok_by_architecture", config(model_type=gone), "ok"),
        ("ok_llama3", rope(**llama3), "ok"),
        ("ok_linear", rope(type="linear", factor=2.0), "ok"),
        ("ok_yarn", rope(rope_type="yarn", factor=2.0, original_max_position_embeddings=32), "ok"),
        ("ok_default_rope", config(rope_theta=gone, rope_parameters={"rope_type": "default", "rope_theta": 1e6}), "ok"),
        ("ok_no_tokenizer_config", {"tokenizer_config.json": ""}, "ok"),
        ("no_config", {"config.json": ""}, "there is no config.json that can be read"),
        ("config_list", {"config.json": "[]"}, "there is no config.json that can be read"),
        ("gemma", config(model_type="gemma3"), 'its family is "gemma3", and those that are converted are llama, mistral, qwen2 and qwen3'),
        ("mixture", config(model_type="mixtral"), 'its family is "mixtral"'),
        ("no_family", config(model_type=gone, architectures=gone), 'its family is ""'),
        ("family_evil", config(model_type="\x1b[2J\u202e"), 'its family is "\\u{1b}[2J\\u{202e}"'),
        ("no_heads", config(num_attention_heads=gone), "config.json has no number num_attention_heads"),
        ("hidden_0", config(hidden_size=0), "hidden_size is 0, and 1 to 1048576 is what is converted"),
        ("tokens_without_end", tensors(**{"model.embed_tokens.weight": (2**62, 0)}), "its embedding has 4611686018427387904 rows, and 1 to 4000000 tokens"),
        ("heads_0", config(num_attention_heads=0), "its heads have 0 rows"),
        ("heads_2e63", config(num_attention_heads=2**63, head_dim=4), 'o_proj.weight" has the shape [8, 8]'),
        ("heads_text", config(num_attention_heads="2"), "config.json has no number num_attention_heads"),
        ("head_odd", config(head_dim=3), "its heads have 3 rows, and rotary positions need an even number of them"),
        ("head_other", config(head_dim=6), 'tensor "model.layers.0.self_attn.'),
        ("head_2e62", config(head_dim=2**62), "its heads have 4611686018427387904 rows, and at most 1048576"),
        ("kv_heads_0", config(num_key_value_heads=0), "its 2 heads are not shared evenly by 0 key-value heads"),
        ("kv_heads_3", config(num_key_value_heads=3), "its 2 heads are not shared evenly by 3 key-value heads"),
        ("kv_heads_2", config(num_key_value_heads=2), 'has the shape [4, 8], and config.json makes it [8, 8]'),
        ("hidden_other", config(hidden_size=16, head_dim=HEAD), 'tensor "model.embed_tokens.weight" has the shape [8, 8], and config.json makes it [8, 16]'),
        ("inner_other", config(intermediate_size=16), "has the shape [8, 12], and config.json makes it [8, 16]"),
        ("qwen2_heads_other", config(model_type="qwen2", head_dim=2) | tensors(**BIASES), "its 2 heads of 2 rows are not as wide as its hidden_size 8, and llama.cpp's qwen2 has no others"),
        ("blocks_2", config(num_hidden_layers=2), "there is no tensor model.layers.1."),
        ("blocks_0", config(num_hidden_layers=0), "num_hidden_layers is 0, and 1 to 10000 is what is converted"),
        ("blocks_2e63", config(num_hidden_layers=2**63), "num_hidden_layers is 9223372036854775808, and 1 to 10000"),
        ("no_blocks", config(num_hidden_layers=gone), "config.json has no number num_hidden_layers"),
        ("no_q", tensors(**{BLOCK + "self_attn.q_proj.weight": None}), "there is no tensor model.layers.0.self_attn.q_proj.weight"),
        ("no_norm", tensors(**{"model.norm.weight": None}), "there is no tensor model.norm.weight"),
        ("no_embedding", tensors(**{"model.embed_tokens.weight": None}), "it has no model.embed_tokens.weight"),
        ("no_biases", qwen2, "there is no tensor model.layers.0.self_attn.q_proj.bias"),
        ("no_head_norms", qwen3, "there is no tensor model.layers.0.self_attn.q_norm.weight"),
        ("untied_no_head", config(tie_word_embeddings=False), "config.json says that the output has weights of its own, and there is no lm_head.weight"),
        ("norms_in_llama", tensors(**NORMS), 'self_attn.k_norm.weight" has no place in llama.cpp\'s llama'),
        ("bias_in_qwen2", qwen2 | tensors(**BIASES, **{BLOCK + "self_attn.o_proj.bias": (HIDDEN,)}), "has no place in llama.cpp's qwen2"),
        ("experts", tensors(**{BLOCK + "mlp.experts.0.w1.weight": (4, 4)}), 'mlp.experts.0.w1.weight" has no place in llama.cpp\'s llama'),
        ("twice_under_two_names", tensors(**{"norm.weight": (HIDDEN,)}), "are one tensor in llama.cpp"),
        ("codes", tensors(**{BLOCK + "self_attn.q_proj.weight": ("I8", 8, 8)}), "is I8; real numbers (F32, F16, BF16) are converted"),
        ("f64", {"model.safetensors": weights("F64")}, "is F64; real numbers (F32, F16, BF16) are converted"),
        ("three_dimensions", tensors(**{BLOCK + "self_attn.q_proj.weight": (8, 8, 1)}), "has the shape [8, 8, 1], and config.json makes it [8, 8]"),
        ("gelu", config(hidden_act="gelu"), 'its activation is "gelu", and llama.cpp computes silu'),
        ("partly_rotary", config(partial_rotary_factor=0.5), "only part of each head is rotated"),
        ("rope_longrope", rope(type="longrope", factor=2.0), 'its rotary positions are scaled by "longrope", which is not converted'),
        ("rope_dynamic", rope(type="dynamic", factor=2.0), 'scaled by "dynamic"'),
        ("rope_no_factor", rope(rope_type="linear"), "config.json has no number factor in rope_scaling"),
        ("rope_factor_0", rope(rope_type="linear", factor=0.0), "factor in rope_scaling is 0"),
        ("rope_factor_negative", rope(**llama3 | {"factor": -8.0}), "factor in rope_scaling is -8"),
        ("rope_same_bounds", rope(**llama3 | {"high_freq_factor": 1.0}), "low_freq_factor in rope_scaling is 1 and high_freq_factor 1"),
        ("theta_0", config(rope_theta=0), "rope_theta is 0"),
        ("theta_text", config(rope_theta="1e4"), "rope_theta is no number"),
        ("epsilon_negative", config(rms_norm_eps=-1.0), "rms_norm_eps is -1"),
        ("no_tokenizer", {"tokenizer.json": ""}, "there is no tokenizer.json that can be read"),
        ("sentence_piece_file", {"tokenizer.json": "", "tokenizer.model": "x"}, "its tokenizer is tokenizer.model, and byte-level BPE in a tokenizer.json is what is converted"),
        ("word_piece_file", {"tokenizer.json": "", "vocab.txt": "x"}, "its tokenizer is vocab.txt"),
        ("sentence_piece", {"tokenizer.json": json.dumps(tokenizer({"byte_fallback": True}))}, "the tokenizer: it is a SentencePiece tokenizer"),
        ("more_tokens_than_rows", {"tokenizer.json": json.dumps(tokenizer(added_tokens=[added(8, "x")]))}, "its tokenizer has 9 tokens and the embedding 8 rows; every token needs one"),
        ("same_text_twice", {"tokenizer.json": json.dumps(tokenizer(added_tokens=[added(5, "<|end|>"), added(6, "<|end|>")]))}, 'tokens 5 and 6 are both "<|end|>"'),
        ("template_of_another", {"tokenizer.json": json.dumps(tokenizer(post_processor=begins("<|end|>"), added_tokens=[added(5, "<|end|>"), added(6, "<|go|>")]))} | said(bos_token="<|go|>"), 'the tokenizer puts "<|end|>" before every text, which is not its bos_token'),
        ("ok_template", {"tokenizer.json": json.dumps(tokenizer(post_processor=begins("<|end|>")))}, "ok"),
        ("special_unknown", said(bos_token="<|none|>"), 'tokenizer_config.json names "<|none|>" as its bos_token, and there is no such token'),
    ]
