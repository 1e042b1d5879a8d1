"""Arrays and archives of NumPy, spelled byte by byte: one for each rule. What NumPy itself writes is in `written`."""

from __future__ import annotations

import io
import struct
import zipfile

MAGIC = b"\x93NUMPY"
DATA = struct.pack("<16f", *(0.25 * i - 2 for i in range(16)))


def framed(text: str | bytes, data: bytes = b"", version=(1, 0), length: int | None = None) -> bytes:
    text = text.encode("utf8") if isinstance(text, str) else text
    length = len(text) if length is None else length
    return MAGIC + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", length) + text + data


def text(descr="'<f4'", fortran="False", shape="(4, 4)") -> str:
    """A header, padded as NumPy pads it."""
    head = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    return head + " " * (-(len(head) + 11) % 64) + "\n"


def array(data: bytes = DATA, version=(1, 0), **k) -> bytes:
    return framed(text(**k), data, version)


def archive(members: dict[str, bytes], method=zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


def packed(members: dict[str, bytes]) -> bytes:
    return archive(members, zipfile.ZIP_DEFLATED)


def bomb(said: int) -> bytes:
    """An array of zeros, deflated a thousand to one, whose directory and local header give another size."""
    whole = packed({"w.npy": array(bytes(1 << 20), shape="(262144,)")})
    size = struct.pack("<I", (1 << 20) + 128)
    return whole.replace(size, struct.pack("<I", said))


def files() -> list[tuple[str, bytes, str]]:
    good = array()
    two = {"a.npy": good, "b.npy": good}
    objects = {"o.npy": array(b"\x80\x04N.", descr="'|O'", shape="()")}
    middle = good[:60]
    cases = [
        # one array
        ("magic_alone.npy", MAGIC, "the array: it ends in its header"),
        ("version_alone.npy", MAGIC + b"\1\0", "the array: it ends in its header"),
        ("version_0.npy", array(version=(0, 0)), "its version is 0.0, and 1.0, 2.0 and 3.0 are read"),
        ("version_1_1.npy", array(version=(1, 1)), "its version is 1.1"),
        ("cut_in_header.npy", middle, "the array: it ends in its header; the file is cut short"),
        ("cut_in_data.npy", good[:-1], "its shape [4, 4] and type need 64 bytes of data, and 63 follow; the file is cut short"),
        ("no_data.npy", array(b""), "need 64 bytes of data, and 0 follow"),
        ("length_past_end.npy", framed(text(), DATA, length=60000), "it ends in its header"),
        ("length_2e31.npy", framed(text(), DATA, (2, 0), 2**31), "its header is said to be 2147483648 bytes long, at most 1048576 are read"),
        ("length_short.npy", framed(text(), DATA, length=20), "its header is not read: "),
        ("not_utf8.npy", framed(b"{'descr': '\xff'}", version=(3, 0)), "its header is not UTF-8"),
        ("code.npy", framed("{'descr': __import__('os').system('true'), }"), "its header is not read: a number, a text in quotes, True, False or a list is expected at byte 10"),
        ("two_dictionaries.npy", framed(text() + text(), DATA), "nothing is expected any more"),
        ("lists_deep.npy", framed("{'shape': " + "(" * 60000), "at most 16 lists in one another"),
        ("key_twice.npy", array(shape="(4, 4), 'shape': (1,)"), "its header gives shape twice"),
        ("key_missing.npy", framed("{'descr': '<f4', 'shape': (4, 4), }", DATA), "its header has not all of descr, fortran_order and shape"),
        ("key_other.npy", array(shape="(4, 4), 'x': 1"), 'its header has the key "x", which no array has'),
        ("key_evil.npy", framed("{'\x1b[2J\u202e': 1}", version=(3, 0)), 'the key "\\u{1b}[2J\\u{202e}"'),
        ("order_number.npy", array(fortran="1"), "its fortran_order is of another kind"),
        ("shape_number.npy", array(shape="16"), "its shape is of another kind"),
        ("shape_negative.npy", array(shape="(-4, -4)"), "its header is not read: "),
        ("shape_text.npy", array(shape="('16',)"), "its shape has something else than whole numbers"),
        ("shape_2e64.npy", array(shape=f"({2**64},)"), "its header is not read: "),
        ("shape_wraps.npy", array(shape=f"({2**32}, {2**32})"), "has more elements than can be counted"),
        ("shape_wraps_to_small.npy", array(shape=f"({2**32}, {2**31}, 2, 2)"), "has more elements than can be counted"),
        ("bytes_wrap.npy", array(shape=f"({2**62},)"), "needs more bytes than can be counted"),
        ("shape_larger.npy", array(shape="(4, 5)"), "its shape [4, 5] and type need 80 bytes of data, and 64 follow"),
        ("dimensions_65.npy", array(shape="(" + "1, " * 65 + ")"), "it has 65 dimensions, at most 64 are read"),
        ("descr_number.npy", array(descr="4"), "its descr is of another kind"),
        ("descr_f3.npy", array(descr="'<f3'"), 'its descr is "<f3", which is no type of NumPy\'s'),
        ("objects.npy", objects["o.npy"], "it cannot be opened: objects are pickles, which can run code and are never opened; save its numbers as an array of their own"),
        ("structured.npy", array(descr="[('a', '<f4'), ('b', '<i4', (2,))]"), "a structured dtype holds several arrays in one"),
        ("texts.npy", array(descr="'<U4'"), "texts are no numbers"),
        ("dates.npy", array(descr="'<M8[D]'"), "dates and times are no weights"),
        ("complex128.npy", array(descr="'<c16'"), "complex numbers of 16 bytes have no equal"),
        ("long_double.npy", array(descr="'<f16'"), "long doubles differ from machine to machine"),
        ("float8.npy", array(descr="'<V1'"), "bytes without a type (V) do not say what they are"),
        ("ok_array.npy", good, "ok"),
        ("ok_version_2.npy", array(version=(2, 0)), "ok"),
        ("ok_version_3.npy", array(version=(3, 0)), "ok"),
        ("ok_python_2.npy", array(shape="(4L, 4L)"), "ok"),
        ("ok_columns.npy", array(fortran="True"), "ok"),
        ("ok_big_endian.npy", array(descr="'>f4'"), "ok"),
        ("ok_bfloat16.npy", array(descr="'<V2'", shape="(32,)"), "ok: is of two bytes without a type (V2), as NumPy saves bfloat16; read as BF16"),
        ("ok_float8_e5m2.npy", array(descr="'<f1'", shape="(64,)"), "ok: is of floats of one byte (f1), as NumPy saves float8_e5m2"),
        ("ok_surplus.npy", array(DATA + b"tail"), "ok: 4 bytes after the array belong to nothing"),
        # archives
        ("no_directory.npz", archive(two)[:-22], "there is no directory of an archive"),
        ("no_arrays.npz", archive({"a.txt": b"x"}), "nor an array of NumPy (.npy) in it"),
        ("member_cut.npz", archive({"a.npy": middle}), 'array "a": it ends in its header'),
        ("member_short.npz", archive({"a.npy": good[:-1]}), 'array "a": its shape [4, 4] and type need 64 bytes of data, and its member has 63'),
        ("member_long.npz", archive({"a.npy": good + b"x"}), "need 64 bytes of data, and its member has 65"),
        ("member_is_text.npz", archive({"a.npy": b"hello"}), 'array "a": it does not begin as a NumPy array does'),
        ("deflated_short.npz", packed({"a.npy": good[:-1]}), "need 64 bytes of data, and its member has 63"),
        ("deflated_claims.npz", packed({"a.npy": array(shape="(1099511627776,)")}), "need 4398046511104 bytes of data, and its member has 64"),
        ("bomb_says_less.npz", bomb(192), 'array "w": its shape [262144] and type need 1048576 bytes of data, and its member has 64'),
        ("bomb_says_more.npz", bomb(2**31), "and its member has 2147483520"),
        ("bomb.npz", packed({"w.npy": array(bytes(1 << 20), shape="(262144,)")}).replace(struct.pack("<I", (1 << 20) + 128), struct.pack("<I", 2**32 - 2)), "and its member has 4294967166"),
        ("objects_alone.npz", archive(objects), 'it has no array of numbers: "o" is left alone: objects are pickles'),
        ("ok_stored.npz", archive(two), "ok"),
        ("ok_deflated.npz", packed(two), "ok"),
        ("ok_deflated_columns.npz", packed({"a.npy": array(fortran="True"), "b.npy": array(descr="'>f4'")}), "ok"),
        ("ok_objects.npz", archive(two | objects), 'ok: "o" is left alone: objects are pickles, which can run code and are never opened'),
        ("ok_text.npz", archive(two | {"readme.txt": b"x"}), 'ok: "readme.txt" is left alone: only members that end in .npy are arrays'),
        ("ok_bfloat16.npz", archive({"w.npy": array(descr="'|V2'", shape="(32,)")}), 'ok: array "w" is of two bytes without a type (V2)'),
        ("ok_long_header.npz", packed({"w.npy": framed("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), }" + " " * 9000 + "\n", DATA, (2, 0))}), "ok"),
    ]
    return cases
