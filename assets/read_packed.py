"""A whole second reader of Spokeshave's `packed` files, short enough to be read before it is trusted.

    import read_packed
    tensors, metadata = read_packed.read("model.packed")
    dtype, shape, data = tensors["fc1.weight"]        # what the file says, bit for bit
    weights = read_packed.load("model.packed")        # name -> numpy array, floats as f32 (F64 as f64)

It follows src/formats/PACKED.md (versions 1 and 2), needs numpy and nothing else, and raises ValueError on any file that
breaks a rule of that page. `python read_packed.py FILE` lists the tensors.
"""

import json
import struct
import sys

import numpy as np

MAGIC, BLOCK = b"\x89SPK\r\n\x1a\n", 65536
# bits of one element of every dtype that safetensors knows
BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
        "C64": 64, "F64": 64, "I64": 64, "U64": 64}  # fmt: skip
NUMPY = {"BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2", "F16": "<f2", "I32": "<i4", "U32": "<u4", "F32": "<f4",
         "C64": "<c8", "F64": "<f8", "I64": "<i8", "U64": "<u8"}  # fmt: skip
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E5M2", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}  # may have a coding


def need(condition, message):
    if not condition:
        raise ValueError(message)


def no_duplicates(pairs):
    """A JSON object in which every key stands once."""
    need(len(dict(pairs)) == len(pairs), f"a key is given twice among {[key for key, _ in pairs]}")
    return dict(pairs)


def count(value, what, most=2**64 - 1):
    need(type(value) is int and 0 <= value <= most, f"{what} is {value!r}, not a count up to {most}")
    return value


def ceil(a, b=8):
    return -(-a // b)


def header_of(blob):
    """The version of a file, its header and the offset of its data."""
    need(blob[:8] == MAGIC and len(blob) >= 24, "not a packed file, or one cut short")
    version, zero, length = struct.unpack_from("<IIQ", blob, 8)
    need(version in (1, 2) and zero == 0, f"version {version}: this reader knows versions 1 and 2")
    need(length <= 100_000_000 and 24 + length <= len(blob), f"a header of {length} bytes does not fit")
    need((24 + length) % 8 == 0, "the data does not start at a multiple of 8")
    header = json.loads(blob[24 : 24 + length].decode(), object_pairs_hook=no_duplicates)
    need(set(header) == {"metadata", "tensors"}, f"header keys {sorted(header)}")
    need(all(isinstance(text, str) for text in header["metadata"].values()), "metadata maps text to text")
    names = [entry["name"].encode() for entry in header["tensors"]]
    need(all(a < b for a, b in zip(names, names[1:])), "tensors are not in bytewise order of name, or one is there twice")
    return version, header, 24 + length


def fields(data, width, number):
    """`number` unsigned fields of `width` <= 8 bits from one bit stream, least significant bit first."""
    bits = np.unpackbits(data, bitorder="little")
    need(not bits[number * width :].any(), "free bits are not 0")
    return bits[: number * width].reshape(number, width) @ (1 << np.arange(width, dtype="i4"))


def huffman(data, table, sizes, counts=None):
    """The symbols of a stream whose blocks take `sizes` bits, and how many each block has: `counts`, or what its bits hold."""
    lengths, words, word = fields(table, 4, 2 * len(table)), np.zeros(4096, "i4"), 0
    used = lengths[lengths > 0].tolist()
    room = sum(4096 >> length for length in used)
    need(max(used, default=0) <= 12 and (room == 4096 or used == [1]), f"lengths that take {room} of 4096 patterns are no code's")
    for length, symbol in sorted((n, s) for s, n in enumerate(lengths.tolist()) if n):
        first = int(f"{word >> (12 - length):0{length}b}"[::-1], 2)  # the word, its first bit lowest
        words[first :: 1 << length] = length << 8 | symbol
        word += 4096 >> length
    symbols, held, at, data = [], [], 0, np.append(data, np.zeros(3, "u1")).astype("i4")
    for i, size in enumerate(sizes):
        raw = data[at // 8 : (at + size) // 8 + 3]
        windows = np.repeat(raw[:-2] | raw[1:-1] << 8 | raw[2:] << 16, 8) >> np.tile(np.arange(8), len(raw) - 2)
        entry = words[windows[at % 8 : at % 8 + size] & 4095]
        jump = np.append(np.minimum(np.arange(size) + (entry >> 8), size), size)  # from every bit to the bit behind its word
        path = np.zeros(1, "i8")  # the first bits of words: as many again are a jump of as many words away
        while path[-1] < size and path.size <= size:
            path, jump = np.concatenate((path, jump[path])), jump[jump]
        found = entry[path[path < size]]
        need((found > 255).all() and int((found >> 8).sum()) == size, "a block is not of its Huffman code")
        symbols.append(found & 255)
        held.append(found.size)
        at += size
    need(counts is None or held == counts, "a block has another number of codes than its table says")
    return np.concatenate(symbols or [np.zeros(0, "i4")]), held


def places_of(indices, held, r, n):
    """The elements that relative indices lead to; `held` indices belong to each block."""
    is_code, held = indices != (1 << r) - 1, np.array(held, "i8")
    block, ends = np.repeat(np.arange(held.size), held), np.cumsum(held)
    along = np.cumsum(indices + is_code)  # a filler passes zeros, any other index its zeros and a nonzero
    places = along - is_code - np.append(0, along)[ends - held][block] + block * BLOCK
    need(is_code[ends[held > 0] - 1].all(), "a filler behind the last nonzero of a block")
    need((places < np.minimum((block + 1) * BLOCK, n))[is_code].all(), "an index past the end of its block")
    return places[is_code]


def unit_sizes(shape, unit):
    """The number of elements of every unit, in order."""
    rows, n = shape[0] if len(shape) >= 2 else 1, int(np.prod(shape, dtype=object))
    length = n // rows if rows else 0
    group = {"tensor": n, "row": length, "g16": 16, "g32": 32, "g64": 64, "g128": 128}[unit]
    return [n] if unit == "tensor" else [min(group, length - start) for start in range(0, length, group or 1)] * rows


def decode(version, dtype, shape, coding, data):
    """A coded payload -> the dtype and bytes of what it stands for."""
    need(dtype in FLOATS, f"a coding of dtype {dtype}")
    n, at, form, bits, r = int(np.prod(shape, dtype=object)), 0, coding["form"], coding.get("bits"), coding.get("index_bits", 0)
    blocks, indexed, coded, code = ceil(n, BLOCK), form == "indices", "code_stream" in coding, coding.get("code")
    keys = ["scheme", "form", "nonzeros"] + indexed * ["index_bits", "index_huffman", "index_stream"] + coded * ["code_stream"]
    keys += ["code", "unit"] if code else ["bits", "unit", "zero_points"] if bits is not None else []
    keys += (code == "codebook") * ["entries"]
    need(set(coding) == set(keys) and (version > 1 or not (indexed or coded or code)), f"keys {sorted(coding)} in version {version}")
    book, levels = coding.get("entries", 0), LEVELS.get(code)
    need(bits in (None, *range(2, 9)) and (not indexed or r in range(2, 9)) and (code != "codebook" or 2 <= book <= 256), "range")
    need(not code or book or levels is not None, f"unknown code {code!r}")
    stored, plain = count(coding["nonzeros"], "nonzeros", n), not bits and not code
    width = bits or (BITS[dtype] if plain else ((book or len(levels)) - 1).bit_length())
    need(form in ("dense", "mask", "indices") and (form != "dense" or stored == n), f"form {form} with {stored} of {n} codes")

    def part(size, kind="u1"):
        nonlocal at
        at += size * np.dtype(kind).itemsize
        need(at <= len(data), "the parts do not add up")
        return np.frombuffer(data, kind, size, at - size * np.dtype(kind).itemsize)

    mask = fields(part(ceil(n)), 1, n).astype(bool) if form == "mask" else np.ones(n, bool)
    real = np.dtype("<f8" if dtype == "F64" else "<f4")
    units = [] if plain else unit_sizes(shape, coding["unit"])
    top = part(1, "<f4").astype(real) if code == "nvfp4" else 1
    scales = part(0 if book else len(units), "u1" if code in ("mxfp4", "nvfp4") else real)
    scales = np.ldexp(real.type(1), scales.astype("i4") - 127) if code == "mxfp4" else scales
    scales = floats("F8_E4M3", scales.tobytes()).astype(real) / top if code == "nvfp4" else scales
    zeros = part(len(units) if coding.get("zero_points") else 0).astype("i4")
    books = part(book * len(units), "<f4").astype(real).reshape(-1, max(book, 1))
    tables = part(coded * ceil(1 << min(width, 8), 2)), part(coding.get("index_huffman", 0) * (1 << r) // 2)
    columns = (indexed or coded) * ((form != "dense") + indexed + coded)
    table = part(columns * blocks, "<u4").reshape(blocks, columns).astype("i8")
    if indexed:
        need(table[:, 1].sum() == coding["index_stream"], "blocks do not add up")
        indices, held = part(ceil(coding["index_stream"])), table[:, 1] // r
        if coding["index_huffman"]:
            indices, held = huffman(indices, tables[1], table[:, 1].tolist())
        else:
            indices = fields(indices, r, int(held.sum()))
        mask = np.zeros(n, bool)
        mask[places_of(indices, held, r, n)] = True
    held = [int(mask[i : i + BLOCK].sum()) for i in range(0, n, BLOCK)]
    need(sum(held) == stored and (form == "dense" or not columns or table[:, 0].tolist() == held), "other nonzeros than were counted")
    raw = part(stored * (ceil(width) if plain and not coded else ceil(width) - 1 if coded else 0)).reshape(stored, -1 if stored else 0)
    if coded:
        need(table[:, -1].sum() == coding["code_stream"], "blocks do not add up")
        codes = huffman(part(ceil(coding["code_stream"])), tables[0], table[:, -1].tolist(), held)[0]
        raw = np.concatenate((raw, codes.astype("u1")[:, None]), axis=1)
    elif not plain:
        codes = fields(part(ceil(stored * width)), width, stored)
    need(at == len(data), "the parts do not add up")
    if plain:
        values = np.zeros((n, width // 8), "u1")
        values[mask] = raw
        need(form == "dense" or bool((floats(dtype, raw.tobytes()) != 0).all()), "a code of a zero")
        return dtype, values.tobytes()
    unit, values = np.repeat(np.arange(len(units)), units)[mask], np.zeros(n, real)
    if book:
        need((codes < book).all(), "a code past the end of its codebook")
        number = books[unit, codes]
    elif code:
        number = levels.astype(real)[codes] * scales[unit]
    else:
        steps = codes - zeros[unit] if coding["zero_points"] else codes - (codes >> (bits - 1) << bits)
        number = steps.astype(real) * scales[unit]
    values[mask] = number + real.type(0)
    need(form == "dense" or bool((number != 0).all()), "a code of a zero")
    return ("F64" if dtype == "F64" else "F32"), values.tobytes()


def read(path):
    """-> ({name: (dtype, shape, bytes)}, metadata): untouched tensors and casts bit for bit, integer codes as F32 (F64)."""
    with open(path, "rb") as file:
        blob = file.read()
    name, tensors = "the header", {}
    try:
        version, header, at = header_of(blob)
        for entry in header["tensors"]:
            name, dtype, shape = entry["name"], entry["dtype"], tuple(count(d, "a dimension") for d in entry["shape"])
            need(set(entry) - {"coding"} == {"name", "dtype", "shape", "bytes"} and dtype in BITS, f"unknown: {entry}")
            size = count(entry["bytes"], "bytes", len(blob) - at)
            data, at = blob[at : at + size], at + size
            if "coding" in entry:
                dtype, data = decode(version, dtype, shape, entry["coding"], data)
            need(len(data) * 8 == int(np.prod(shape, dtype=object)) * BITS[dtype], f"{len(data)} bytes for {dtype} {shape}")
            tensors[name] = (dtype, shape, data)
        need(at == len(blob), f"{len(blob) - at} bytes after the last payload")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
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


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], "f4")
NF4 = [-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0.0,
       0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0]  # fmt: skip
LEVELS = {f"fp8_{name}": floats(f"F8_{name.upper()}", bytes(range(256))) for name in ("e4m3", "e5m2")}
LEVELS |= {"mxfp4": np.append(E2M1, -E2M1), "nvfp4": np.append(E2M1, -E2M1), "nf4": np.array(NF4, "f4"), "binary": np.array([1, -1], "f4")}
LEVELS |= {"codebook": None}

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python read_packed.py FILE")
    found, about = read(sys.argv[1])
    for title, (kind, dims, raw) in found.items():
        print(f"{title}  {kind} {list(dims)}  {len(raw)} bytes unpacked")
    print("\n".join(f"{key}:\n{text}" for key, text in about.items()))
