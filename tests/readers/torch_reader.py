"""A second reader of PyTorch's files: Python's own unpickler, which is given no class that does anything, and numpy.

What it takes for the model and how it names tensors is written down here once more, by the rules of the README.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np

STORAGES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?", "ComplexFloatStorage": "c8", "ComplexDoubleStorage": "c16", "UntypedStorage": "u1", "QInt8Storage": "i1",
}  # fmt: skip
DTYPES = {
    "uint16": "u2", "uint32": "u4", "uint64": "u8", "float32": "f4", "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2,
}  # fmt: skip
MODEL_KEYS = ["state_dict", "model_state_dict", "model", "module", "net", "params_ema", "params", "weights", "ema"]
ASIDE = ("optim", "sched", "scaler", "rng", "random_state", "epoch", "step", "iter", "loss", "best", "metric", "seed", "lr")
TRAINING = ASIDE[:5]
sys.setrecursionlimit(10_000)
MAGIC = 0x1950A86A20F9469CFC6C


class Name:
    """A class or function that is not imported."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __call__(self, *arguments):
        return Object(self, arguments)


class Object:
    def __init__(self, of: Name, arguments: tuple):
        self.of, self.arguments, self.state = of, arguments, None

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        pass

    def append(self, item):
        pass


class Storage:
    def __init__(self, kind: str, key: str, elements: int, view):
        self.dtype = np.dtype(ml_dtypes.bfloat16 if kind == "BFloat16Storage" else STORAGES[kind])
        self.key, self.elements, self.view, self.data = key, elements, view, b""


class Strange(Exception):
    """A tensor that is left alone."""


class Tensor:
    """The arguments of `_rebuild_tensor_v2` or `_rebuild_tensor_v3`."""

    def __init__(self, storage: Storage, offset: int, size, stride, *rest, dtype: Name | None = None, metadata=None):
        self.storage, self.offset, self.size, self.stride, self.dtype = storage, offset, tuple(size), tuple(stride), dtype
        self.strange = any((metadata or {}).values())

    def array(self, big: bool) -> np.ndarray:
        if self.strange or (self.dtype and self.dtype.name not in DTYPES) or self.storage.dtype == np.dtype("c16"):
            raise Strange
        dtype = np.dtype(DTYPES[self.dtype.name]) if self.dtype else self.storage.dtype
        if big and self.dtype and dtype.itemsize > 1:
            raise Strange
        # Bit patterns, for numpy has no strides for what it does not know; complex numbers it turns half by half.
        bits = dtype if dtype.kind == "c" else np.dtype(f"u{dtype.itemsize}")
        whole = np.frombuffer(self.storage.data, bits)
        whole = whole.byteswap() if big else whole
        skipped = (self.storage.view[1] if self.storage.view else 0) + self.offset
        if 0 in self.size:
            return np.empty(self.size, dtype)
        steps = [step * dtype.itemsize for step in self.stride]
        found = np.lib.stride_tricks.as_strided(whole[skipped:], self.size, steps)
        return np.array(found, order="C").view(dtype)


class Unpickler(pickle.Unpickler):
    def __init__(self, file):
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, list[Storage]] = {}

    def find_class(self, module, name):
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor"): Tensor,
            ("torch._utils", "_rebuild_tensor_v2"): lambda s, o, n, t, *r: Tensor(s, o, n, t, metadata=r[2] if len(r) > 2 else None),
            ("torch._utils", "_rebuild_tensor_v3"): lambda s, o, n, t, g, h, d, m=None: Tensor(s, o, n, t, dtype=d, metadata=m),
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
        }
        if (module, name) in known:
            return known[module, name]
        if name in ("set", "frozenset") and module in ("builtins", "__builtin__"):
            return set
        function = Name(module, name)
        return function if "Storage" in name or module in ("torch._utils", "torch") or name[:1] in "_s" else type(name, (Object,), {"__new__": lambda cls, *a: object.__new__(cls), "__init__": lambda self, *a: Object.__init__(self, function, a)})  # fmt: skip

    def persistent_load(self, described):
        if described[0] == "module":
            return described[1]
        _, kind, key, _, elements, *view = described
        storage = Storage(kind.name, str(key), elements, view[0] if view else None)
        self.storages.setdefault(storage.key, []).append(storage)
        return storage


def load(path: Path):
    """What the file is of, its constants, and whether its numbers are big-endian."""
    data = path.read_bytes()
    if not data.startswith(b"PK"):
        return load_legacy(data), None, False
    with zipfile.ZipFile(path) as archive:
        (root,) = [name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("data.pkl")]
        names = set(archive.namelist())

        def part(name: str, folder: str):
            unpickler = Unpickler(io.BytesIO(archive.read(root + name)))
            thing = unpickler.load()
            for key, storages in unpickler.storages.items():
                for storage in storages:
                    storage.data = archive.read(f"{root}{folder}/{key}")
            return thing

        big = f"{root}byteorder" in names and archive.read(f"{root}byteorder") == b"big"
        constants = part("constants.pkl", "constants") if f"{root}constants.pkl" in names else None
        return part("data.pkl", "data"), constants, big


def load_legacy(data: bytes):
    file = io.BytesIO(data)
    assert (pickle.load(file), pickle.load(file)) == (MAGIC, 1001)
    pickle.load(file)
    unpickler = Unpickler(file)
    thing = unpickler.load()
    for key in pickle.load(file):
        (elements,) = struct.unpack("<q", file.read(8))
        bytes_ = file.read(elements * unpickler.storages[key][0].dtype.itemsize)
        for storage in unpickler.storages[key]:
            storage.data = bytes_
    return thing


def has_tensors(thing) -> bool:
    return bool(flat(thing))


def flat(thing, name: str = "", inside: tuple = ()) -> dict[str, Tensor]:
    """Tensors by names with dots; what lies in itself is not gone into again."""
    if id(thing) in inside:
        return {}
    inside = (*inside, id(thing))
    if isinstance(thing, Tensor):
        return {name or "tensor": thing}
    if isinstance(thing, Object):
        state = thing.state if isinstance(thing.state, dict) else {}
        if any(part in state for part in ("_parameters", "_buffers", "_modules")):
            passing = set(state.get("_non_persistent_buffers_set") or ())
            parts = [state.get(part) or {} for part in ("_parameters", "_buffers", "_modules")]
            parts[1] = {key: value for key, value in parts[1].items() if key not in passing}
            state = {key: value for part in parts for key, value in part.items()}
        elif getattr(thing, "of", None) is not None and thing.of.module.startswith("__torch__"):  # lists and dicts in a script are neither parameters nor buffers
            state = {key: value for key, value in state.items() if isinstance(value, (Tensor, Object))}
        thing = state
    if isinstance(thing, (list, tuple)):
        thing = dict(enumerate(thing))
    if not isinstance(thing, dict):
        return {}
    out: dict[str, Tensor] = {}
    for key, value in thing.items():
        if isinstance(key, (str, int)):
            out |= flat(value, f"{name}.{key}" if name else str(key), inside)
    return out


def model(thing):
    """The part of a checkpoint that is the model."""
    if not isinstance(thing, dict):
        return thing
    says = lambda key, words: any(word in str(key).lower() for word in words)
    own = [key for key, value in thing.items() if isinstance(value, Tensor) and (not says(key, ASIDE) or "." in str(key))]
    if not own:
        for key in MODEL_KEYS:
            if key in thing and not isinstance(thing[key], Tensor) and has_tensors(thing[key]):
                return thing[key]
    kept = {key: value for key, value in thing.items() if not says(key, TRAINING)}
    return kept if len(kept) < len(thing) and has_tensors(kept) else thing


def tensors_of(path: Path) -> tuple[dict[str, Tensor], bool]:
    thing, constants, big = load(path)
    tensors = flat(model(thing))
    if isinstance(constants, tuple):
        tensors |= {f"CONSTANTS.c{at}": value for at, value in enumerate(constants) if isinstance(value, Tensor)}
    return tensors, big


def ties(path: Path) -> dict[str, str]:
    """Names of a view that has a bytewise earlier name, each with the first."""
    first: dict[tuple, str] = {}
    out = {}
    tensors, big = tensors_of(path)
    for name in sorted(tensors, key=lambda name: name.encode()):
        tensor = tensors[name]
        try:
            array = tensor.array(big)
        except Strange:
            continue
        storage = tensor.storage
        start = ((storage.view[1] if storage.view else 0) + tensor.offset) * array.itemsize
        kept = first.setdefault((name.startswith("CONSTANTS."), storage.key, start, tensor.size, tensor.stride, array.dtype), name)
        if kept != name and array.size:
            out[name] = kept
    return out


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of the model in a file."""
    tensors, big = tensors_of(path)
    out = {}
    for name, tensor in tensors.items():
        try:
            out[name] = tensor.array(big)
        except Strange:
            continue
    return out
