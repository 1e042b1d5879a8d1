"""A whole second reader of Spokeshave's `packed` files, short enough to be read before it is trusted.

    import read_packed
    tensors, metadata = read_packed.read("model.packed")
    dtype, shape, data = tensors["fc1.weight"]        # what the file says, bit for bit
    weights = read_packed.load("model.packed")        # name -> numpy array, floats as f32 (F64 as f64)

It follows src/formats/PACKED.md (version 1), needs numpy and nothing else, and raises ValueError on any file that breaks a
rule of that page. `python read_packed.py FILE` lists the tensors.
"""

import json
import struct
import sys

import numpy as np

MAGIC = b"\x89SPK\r\n\x1a\n"
# bits of one element of every dtype that safetensors knows
BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
        "C64": 64, "F64": 64, "I64": 64, "U64": 64}  # fmt: skip
NUMPY = {"BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2", "F16": "<f2", "I32": "<i4", "U32": "<u4", "F32": "<f4",
         "C64": "<c8", "F64": "<f8", "I64": "<i8", "U64": "<u8"}  # fmt: skip
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E5M2", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}  # may have a coding
ENTRY_KEYS = {"name", "dtype", "shape", "bytes"}
CODING_KEYS = {"scheme", "form", "nonzeros"}
INTEGER_KEYS = {"bits", "unit", "zero_points"}


def need(condition, message):
    if not condition:
        raise ValueError(message)


def no_duplicates(pairs):
    """A JSON object in which every key stands once."""
    found = dict(pairs)
    need(len(found) == len(pairs), f"a key is given twice among {[key for key, _ in pairs]}")
    return found


def count(value, what):
    need(isinstance(value, int) and not isinstance(value, bool) and value >= 0, f"{what} is {value!r}, not a count")
    return value


def ceil8(bits):
    return -(-bits // 8)


def header_of(blob):
    """The header of a file and the offset of its data."""
    need(blob[:8] == MAGIC, "not a packed file")
    need(len(blob) >= 24, "shorter than its fixed part")
    version, zero, length = struct.unpack_from("<IIQ", blob, 8)
    need(version == 1 and zero == 0, f"version {version}: this reader knows version 1")
    need(length <= 100_000_000 and 24 + length <= len(blob), f"a header of {length} bytes does not fit")
    need((24 + length) % 8 == 0, "the data does not start at a multiple of 8")
    header = json.loads(blob[24 : 24 + length].decode(), object_pairs_hook=no_duplicates)
    need(set(header) == {"metadata", "tensors"}, f"header keys {sorted(header)}")
    need(all(isinstance(text, str) for text in header["metadata"].values()), "metadata maps text to text")
    names = [entry["name"] for entry in header["tensors"]]
    need(len(set(names)) == len(names), "a tensor name is given twice")
    need(names == sorted(names, key=str.encode), "tensors are not in bytewise order of name")
    return header, 24 + length


def bit_field(data, width, number):
    """`number` unsigned fields of `width` <= 8 bits from one bit stream, least significant bit first."""
    bits = np.unpackbits(np.frombuffer(data, "u1"), bitorder="little")
    need(not bits[number * width :].any(), "free bits are not 0")
    return bits[: number * width].reshape(number, width) @ (1 << np.arange(width, dtype="i4"))


def unit_sizes(shape, unit):
    """The number of elements of every unit, in order."""
    rows = shape[0] if len(shape) >= 2 else 1
    n = int(np.prod(shape, dtype=object))
    if unit == "tensor":
        return [n]
    length = n // rows if rows else 0
    need(unit in ("row", "g32", "g64", "g128"), f"unknown unit {unit!r}")
    group = length if unit == "row" else int(unit[1:])
    return [min(group, length - start) for start in range(0, length, group or 1)] * rows


def decode(dtype, shape, coding, data):
    """A coded payload -> the dtype and bytes of what it stands for."""
    keys = set(coding)
    need(keys in (CODING_KEYS, CODING_KEYS | INTEGER_KEYS), f"coding keys {sorted(keys)}")
    need(dtype in FLOATS, f"a coding of dtype {dtype}")
    n, mask, at = int(np.prod(shape, dtype=object)), None, 0
    stored = count(coding["nonzeros"], "nonzeros")
    if coding["form"] == "mask":
        at = ceil8(n)
        mask = bit_field(data[:at], 1, n).astype(bool)
        need(int(mask.sum()) == stored, "the mask has another number of ones than nonzeros")
    else:
        need(coding["form"] == "dense" and stored == n, "neither dense over all elements nor a mask")
    if "bits" not in coding:  # the codes are plain elements of dtype
        width = BITS[dtype]
        need(width % 8 == 0 and len(data) == at + stored * width // 8, "the parts do not add up")
        if mask is None:
            return dtype, data
        values = np.zeros((n, width // 8), "u1")
        values[mask] = np.frombuffer(data, "u1", offset=at).reshape(stored, width // 8)
        need(bool((floats(dtype, values[mask].tobytes()) != 0).all()), "a zero where the mask is 1")
        return dtype, values.tobytes()
    width, offset = coding["bits"], coding["zero_points"]
    need(width in range(2, 9) and isinstance(offset, bool), "bits or zero_points out of range")
    real = np.dtype("<f8" if dtype == "F64" else "<f4")
    sizes = unit_sizes(shape, coding["unit"])
    units = len(sizes)
    need(len(data) == at + units * (real.itemsize + offset) + ceil8(stored * width), "the parts do not add up")
    scales = np.frombuffer(data, real, units, at)
    at += units * real.itemsize
    zero = np.frombuffer(data, "u1", units, at).astype("i4") if offset else np.zeros(units, "i4")
    at += units * offset
    codes = bit_field(data[at:], width, stored)
    if not offset:
        codes = np.where(codes >= 1 << (width - 1), codes - (1 << width), codes)
    scale, zero = np.repeat(scales, sizes), np.repeat(zero, sizes)
    if mask is None:
        steps = codes - zero
    else:
        steps = np.zeros(n, "i4")
        steps[mask] = codes - zero[mask]
    values = np.where(steps == 0, real.type(0), steps.astype(real) * scale)
    need(mask is None or bool((values[mask] != 0).all()), "a zero where the mask is 1")
    return ("F64" if dtype == "F64" else "F32"), values.astype(real).tobytes()


def read(path):
    """-> ({name: (dtype, shape, bytes)}, metadata): untouched tensors and casts bit for bit, integer codes as F32 (F64)."""
    with open(path, "rb") as file:
        blob = file.read()
    header, at = header_of(blob)
    tensors = {}
    for entry in header["tensors"]:
        name, dtype, shape = entry["name"], entry["dtype"], tuple(count(d, "a dimension") for d in entry["shape"])
        need(set(entry) in (ENTRY_KEYS, ENTRY_KEYS | {"coding"}), f"{name}: keys {sorted(entry)}")
        need(dtype in BITS, f"{name}: dtype {dtype!r}")
        size = count(entry["bytes"], f"{name}: bytes")
        need(at + size <= len(blob), f"{name}: {size} bytes at {at} end after the file")
        data, at = blob[at : at + size], at + size
        if "coding" in entry:
            try:
                dtype, data = decode(dtype, shape, entry["coding"], data)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        need(len(data) * 8 == int(np.prod(shape, dtype=object)) * BITS[dtype], f"{name}: {len(data)} bytes for {dtype} {shape}")
        tensors[name] = (dtype, shape, data)
    need(at == len(blob), f"{len(blob) - at} bytes after the last payload")
    return tensors, header["metadata"]


def floats(dtype, data):
    """Elements as numbers: F64 as f64, the other floats as f32, the rest as they are."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("u4") << 16).view("f4")
    if dtype == "F8_E5M2":  # the upper half of an f16
        return (np.frombuffer(data, "u1").astype("u2") << 8).view("f2").astype("f4")
    if dtype == "F8_E4M3":
        raw = np.frombuffer(data, "u1").astype("i4")
        exponent, fraction = raw >> 3 & 15, raw & 7
        size = np.where(exponent, np.ldexp(8.0 + fraction, exponent - 10), np.ldexp(1.0 * fraction, -9))
        size[(raw & 127) == 127] = np.nan
        return np.where(raw & 128, -size, size).astype("f4")
    need(dtype in NUMPY, f"no numbers for dtype {dtype} here; read() gives its bytes")
    array = np.frombuffer(data, NUMPY[dtype])
    return array.astype("f4") if dtype == "F16" else array


def load(path):
    """-> {name: numpy array}."""
    return {name: floats(dtype, data).reshape(shape) for name, (dtype, shape, data) in read(path)[0].items()}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python read_packed.py FILE")
    found, about = read(sys.argv[1])
    for title, (kind, dims, raw) in found.items():
        print(f"{title}  {kind} {list(dims)}  {len(raw)} bytes unpacked")
    print("\n".join(f"{key}:\n{text}" for key, text in about.items()))
