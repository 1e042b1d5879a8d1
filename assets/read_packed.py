"""A whole second reader of Spokeshave's `packed` files, short enough to be read before it is trusted.

    tensors, metadata = read_packed.read("model.packed")    # name -> (dtype, shape, bytes): what the file says, bit for bit
    weights = read_packed.load("model.packed")              # name -> numpy array, floats as f32 (F64 as f64)

It follows src/formats/PACKED.md (versions 1 and 2), needs numpy and nothing else, and raises ValueError on any file that
breaks a rule of that page. `python read_packed.py FILE` lists the tensors.
"""

import json
import sys

import numpy as np

MAGIC, BLOCK = b"\x89SPK\r\n\x1a\n", 65536
NAMES = """BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ I16 U16 F16 BF16 I32 U32 F32 C64 F64
    I64 U64""".split()  # every dtype that safetensors knows
BITS = {name: 8 if name == "BOOL" else int(name.split("_")[0].strip("BCFIU")) for name in NAMES}
NUMPY = {name: f"<{name[0].lower()}{BITS[name] // 8}" for name in NAMES if name[1:].isdigit() and name != "F4"} | {"BOOL": "?"}
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E5M2", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}  # may have a coding
GROUPS = {"tensor": None, "row": None, "g16": 16, "g32": 32, "g64": 64, "g128": 128}
E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0]
LEVELS = {"mxfp4": E2M1, "nvfp4": E2M1, "binary": [1.0, -1.0], "nf4": [-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138,
    -0.18477343, -0.091050036, 0.0, 0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0]}  # fmt: skip


def need(condition, message):
    if not condition:
        raise ValueError(message)


def fields(data, width, number):
    """`number` unsigned fields of `width` <= 8 bits from one bit stream, least significant bit first."""
    bits = np.unpackbits(data, bitorder="little")
    need(not bits[number * width :].any(), "free bits are not 0")
    return bits[: number * width].reshape(number, width) @ (1 << np.arange(width, dtype="i4"))


def huffman(data, table, sizes):
    """The symbols of a stream whose blocks take `sizes` bits, and how many each block has."""
    lengths, words, word = fields(table, 4, 2 * len(table)), np.zeros(4096, "i4"), 0
    need(lengths.max() <= 12 and ((4096 >> lengths[lengths > 0]).sum() == 4096 or lengths.sum() == 1), f"no code has lengths {lengths}")
    for length, symbol in sorted((n, s) for s, n in enumerate(lengths.tolist()) if n):
        first = int(f"{word >> (12 - length):0{length}b}"[::-1], 2)  # the word, its first bit lowest
        words[first :: 1 << length] = length << 8 | symbol
        word += 4096 >> length
    symbols, data = [np.zeros(0, "i4")], np.append(data, np.zeros(3, "u1")).astype("i4")
    for size, at in zip(sizes, np.cumsum([0, *sizes]).tolist()):
        raw = data[at // 8 : (at + size) // 8 + 3]
        windows = np.repeat(raw[:-2] | raw[1:-1] << 8 | raw[2:] << 16, 8) >> np.tile(np.arange(8), len(raw) - 2)
        entry = words[windows[at % 8 : at % 8 + size] & 4095]
        jump = np.append(np.minimum(np.arange(size) + (entry >> 8), size), size)  # from every bit to the bit behind its word
        path = np.zeros(1, "i8")  # where words begin; as many again are a jump of as many words away
        while path[-1] < size and path.size <= size:
            path, jump = np.concatenate((path, jump[path])), jump[jump]
        found = entry[path[path < size]]
        need((found > 255).all() and int((found >> 8).sum()) == size, "a block is not of its Huffman code")
        symbols.append(found & 255)
    return np.concatenate(symbols), np.array([found.size for found in symbols[1:]], "i8")


def places_of(indices, held, r, n):
    """The elements that relative indices lead to; `held` indices belong to each block."""
    is_code, block, ends = indices != (1 << r) - 1, np.repeat(np.arange(held.size), held), np.cumsum(held)
    along = np.cumsum(indices + is_code)  # a filler passes zeros, any other index its zeros and a nonzero
    places = along - is_code - np.append(0, along)[ends - held][block] + block * BLOCK
    need(is_code[ends[held > 0] - 1].all() and (places < np.minimum((block + 1) * BLOCK, n))[is_code].all(), "a place past its block")
    return places[is_code]


def side_of(code, coding, shape, real, take):
    """What stands beside the codes: the unit of every element, scales, zero points and codebooks of the units."""
    rows = shape[0] if len(shape) > 1 and coding["unit"] != "tensor" else 1
    n, group = int(np.prod(shape, dtype=object)), GROUPS[coding["unit"]]
    columns = max(n // max(rows, 1), 1)
    across = -(-columns // (group or columns))
    units, at = (rows * across if n else 0), np.arange(n)
    top, small = take(4).view("<f4").astype(real) if code == "nvfp4" else 1, code in ("mxfp4", "nvfp4")
    scales = take(0 if code == "codebook" else units * (1 if small else real.itemsize)).view("u1" if small else real)
    scales = np.ldexp(real.type(1), scales.astype("i4") - 127) if code == "mxfp4" else scales
    scales = floats("F8_E4M3", scales).astype(real) / top if code == "nvfp4" else scales
    zeros = take(units if coding.get("zero_points") else 0).astype("i4")
    books = take(4 * units * coding.get("entries", 0)).view("<f4").astype(real).reshape(units, -1 if units else 0)
    return at // columns * across + at % columns // (group or columns), scales, zeros, books


def decode(version, dtype, shape, coding, take):
    """A coded matrix -> the dtype and elements of what it stands for; `take` gives the payload's next bytes."""
    n, form, r, code = int(np.prod(shape, dtype=object)), coding["form"], coding.get("index_bits", 0), coding.get("code")
    indexed, huffed, plain, k = form == "indices", "code_stream" in coding, not {"code", "bits"} & set(coding), coding.get("entries", 0)
    keys = ["form", "nonzeros", *indexed * ["index_bits", "index_huffman", "index_stream"], *huffed * ["code_stream"]]
    keys += [] if plain else ["code", "unit", *(code == "codebook") * ["entries"]] if code else ["bits", "unit", "zero_points"]
    need(dtype in FLOATS and set(coding) == set(keys) and (version > 1 or not (indexed or huffed or code)), f"{dtype}, {sorted(coding)}")
    levels = LEVELS.get(code) if code not in ("fp8_e4m3", "fp8_e5m2") else floats(f"F8_{code[4:].upper()}", bytes(range(256)))
    width = BITS[dtype] if plain else coding["bits"] if not code else ((k or len(levels)) - 1).bit_length()
    stored, fits = coding["nonzeros"], (code != "codebook" or k in range(2, 257)) and (plain or code or width in range(2, 9))
    need(form in ("dense", "mask", "indices") and (0 if form != "dense" else n) <= stored <= n, f"form {form} of {stored} in {n}")
    need(fits and (not indexed or r in range(2, 9)), f"codes of {width} bits, {k} entries, indices of {r} bits")
    real, blocks = np.dtype("<f8" if dtype == "F64" else "<f4"), -(-n // BLOCK)
    mask = fields(take(-(-n // 8)), 1, n).astype(bool) if form == "mask" else np.full(n, form == "dense")
    unit, scales, zeros, books = (None,) * 4 if plain else side_of(code, coding, shape, real, take)
    tables = take(((1 << min(width, 8)) + 1) // 2 if huffed else 0), take((1 << r) // 2 if coding.get("index_huffman") else 0)
    columns = (indexed or huffed) * ((form != "dense") + indexed + huffed)
    table = take(4 * columns * blocks).view("<u4").reshape(blocks, columns).astype("i8")
    if indexed:
        need(table[:, 1].sum() == coding["index_stream"], "blocks do not add up")
        stream, sizes = take(-(-coding["index_stream"] // 8)), table[:, 1]
        plainly = lambda: (fields(stream, r, int(sizes.sum()) // r), sizes // r)
        indices, held = huffman(stream, tables[1], sizes.tolist()) if coding["index_huffman"] else plainly()
        mask[places_of(indices, held, r, n)] = True
    held = [int(mask[i : i + BLOCK].sum()) for i in range(0, n, BLOCK)]
    need(sum(held) == stored and (form == "dense" or not columns or table[:, 0].tolist() == held), "other nonzeros than were counted")
    raw = take(stored * (width // 8 - huffed) if plain else 0).reshape(stored, width // 8 - huffed if plain else 0)
    if huffed:
        codes, each = huffman(take(-(-coding["code_stream"] // 8)), tables[0], table[:, -1].tolist())
        need(table[:, -1].sum() == coding["code_stream"] and each.tolist() == held, "blocks do not add up, or lack codes")
        raw = np.append(raw, codes.astype("u1")[:, None], axis=1)
    elif not plain:
        codes = fields(take(-(-stored * width // 8)), width, stored)
    need(not k or (codes < k).all(), "a code past the end of its codebook")
    number = floats(dtype, raw) if plain and form != "dense" else raw
    if code:
        number = books[unit[mask], codes] if k else np.array(levels, "f4").astype(real)[codes] * scales[unit[mask]]
    elif not plain:
        steps = codes - zeros[unit[mask]] if coding["zero_points"] else codes - (codes >> (width - 1) << width)
        number = steps.astype(real) * scales[unit[mask]]
    need(form == "dense" or (number != 0).all(), "a code of a zero")
    values = np.zeros((n, width // 8), "u1") if plain else np.zeros(n, real)
    values[mask] = raw if plain else number + real.type(0)
    return dtype if plain else "F64" if dtype == "F64" else "F32", values


def product(version, dtype, shape, coding, take):
    """Two coded matrices -> what they stand for: left · right, summed over the rank from 0 up in f64, rounded once."""
    rows, rank, own, kind = shape[0] if len(shape) > 1 else 1, coding["rank"], coding["dtype"], "F64" if dtype == "F64" else "F32"
    cols = int(np.prod(shape, dtype=object)) // max(rows, 1)
    need(version > 1 and set(coding) == {"rank", "dtype", "left", "right"} and dtype in FLOATS, f"keys {sorted(coding)}")
    need(rank in range(1, min(rows, cols) + 1) and (own != "F64" or dtype == "F64"), f"rank {rank}, factors of {own}")
    need(rank * (rows + cols) <= 2**28, f"factors of {rank * (rows + cols)} elements")
    sides = [decode(version, own, d, coding[s], take) for s, d in (("left", (rows, rank)), ("right", (rank, cols)))]
    left, right = (floats(*side).astype("f8") for side in sides)
    return kind, sum(map(np.outer, left.reshape(rows, rank).T, right.reshape(rank, cols))).astype(NUMPY[kind])


def read(path):
    """-> ({name: (dtype, shape, bytes)}, metadata): untouched tensors and casts bit for bit, codes as F32 (F64)."""
    blob, name, tensors, at, end = np.fromfile(path, "u1"), "the header", {}, 0, 0
    one_each = lambda pairs: need(len(dict(pairs)) == len(pairs), "a key is given twice") or dict(pairs)

    def take(size):  # the next bytes of the payload that ends at `end`
        nonlocal at
        need(0 <= size <= end - at, "the parts do not add up")
        at += size
        return blob[at - size : at]

    try:
        need(blob[:8].tobytes() == MAGIC and len(blob) >= 24, "not a packed file, or one cut short")
        (version, zero), length = blob[8:16].view("<u4").tolist(), int(blob[16:24].view("<u8")[0])
        need(version in (1, 2) and zero == 0, f"version {version}: this reader knows versions 1 and 2")
        need(length % 8 == 0 and length <= min(10**8, len(blob) - 24), f"a header of {length} bytes does not fit")
        at, header = 24 + length, json.loads(blob[24 : 24 + length].tobytes().decode(), object_pairs_hook=one_each)
        texts, names = header["metadata"].values(), [entry["name"].encode() for entry in header["tensors"]]
        need(set(header) == {"metadata", "tensors"} and all(isinstance(text, str) for text in texts), "keys, or no texts")
        need(all(a < b for a, b in zip(names, names[1:])), "names are not in bytewise order, or one is there twice")
        for entry in header["tensors"]:
            name, dtype, shape, size = entry["name"], entry["dtype"], tuple(entry["shape"]), entry["bytes"]
            need(set(entry) - {"coding"} == {"name", "dtype", "shape", "bytes"} and dtype in BITS, f"unknown: {entry}")
            need(all(type(d) is int and d >= 0 for d in (*shape, size)) and at + size <= len(blob), f"{size} bytes for {shape}")
            end = at + size
            need("coding" not in entry or isinstance(entry["coding"].pop("scheme"), str), "a scheme is a text")
            how = (lambda *_: (dtype, take(size))) if "coding" not in entry else product if "rank" in entry["coding"] else decode
            dtype, data = how(version, dtype, shape, entry.get("coding"), take)
            need(at == end and data.nbytes * 8 == int(np.prod(shape, dtype=object)) * BITS[dtype], f"no {dtype} of {shape}")
            tensors[name] = (dtype, shape, data.tobytes())
        need(at == len(blob), f"{len(blob) - at} bytes after the last payload")
    except (AttributeError, KeyError, MemoryError, OverflowError, RecursionError, TypeError, ValueError) as error:
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
        size = np.where(raw & 120, (8 + (raw & 7)) * 2.0 ** ((raw >> 3 & 15) - 10), (raw & 7) * 2.0**-9)
        size[(raw & 127) == 127] = np.nan
        return np.where(raw & 128, -size, size).astype("f4")
    return np.frombuffer(data, NUMPY[dtype]).astype("f4" if dtype == "F16" else NUMPY[dtype])


def load(path):
    return {name: floats(dtype, data).reshape(shape) for name, (dtype, shape, data) in read(path)[0].items()}


if __name__ == "__main__":
    for title, (kind, dims, contents) in read(sys.argv[1])[0].items():
        print(f"{title}  {kind} {list(dims)}  {len(contents)} bytes unpacked")
