"""Files as `torch.save` writes them, made without torch: the same pickles of the same names, with any number one likes in them.

The layouts are those of `torch/serialization.py` (2.15): the zip since 1.6, and what there was before. Nothing but Python's standard
library, whose own pickler writes the pickles.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

WIDTHS = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
    "ComplexFloat": 8, "ComplexDouble": 16, "QInt8": 1, "Untyped": 1,
}  # fmt: skip
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Named:
    """A class or function, by its names; nothing is imported."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


ORDERED = Named("collections", "OrderedDict")
SIZE = Named("torch", "Size")
FROM_TYPE = Named("torch._tensor", "_rebuild_from_type_v2")


def rebuild(way: str) -> Named:
    return Named("torch._utils", f"_rebuild_{way}")


class Storage:
    def __init__(self, kind: str, data: bytes, elements: int | None = None, key: str | None = None, view: tuple | None = None):
        self.kind, self.data, self.key, self.view = kind, data, key, view
        self.elements = len(data) // WIDTHS.get(kind, 1) if elements is None else elements


class Call:
    """Something that a call of a function makes, with what is set in it afterwards."""

    def __init__(self, function: Named, *arguments, pairs: dict | None = None, state=None):
        self.function, self.arguments, self.pairs, self.state = function, arguments, pairs, state


class New:
    """An object of a class, made without its `__init__`, with its attributes."""

    def __init__(self, kind: Named, state):
        self.kind, self.state = kind, state


def row_major(size) -> tuple[int, ...]:
    strides, step = [], 1
    for extent in reversed(size):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def tensor(storage: Storage, size, stride=None, offset=0, dtype: str | None = None, metadata=None) -> Call:
    """A tensor: version 3 of the function where it names its dtype, else version 2."""
    stride = row_major(size) if stride is None else stride
    arguments = [storage, offset, size, stride, False, Call(ORDERED)]
    if dtype is not None:
        arguments.append(Named("torch", dtype))
    if metadata is not None:
        arguments.append(metadata)
    return Call(rebuild("tensor_v2" if dtype is None else "tensor_v3"), *arguments)


def floats(size, first=0.0, **k) -> Call:
    """A float tensor of its own, counting from `first`."""
    count = 1
    for extent in size:
        count *= extent
    return tensor(Storage("Float", struct.pack(f"<{count}f", *(first + i for i in range(count)))), size, **k)


class Pickler(pickle._Pickler):
    """Python's own, in Python: storages become references to what lies outside, which are kept in `storages`."""

    def __init__(self, file, protocol: int, legacy: bool):
        super().__init__(file, protocol)
        self.legacy, self.storages, self.keys = legacy, {}, {}

    def persistent_id(self, thing):
        if not isinstance(thing, Storage):
            return None
        key = self.keys.setdefault(id(thing), thing.key or str(len(self.keys)))
        self.storages[key] = thing
        kind = Named("torch.storage" if thing.kind == "Untyped" else "torch", f"{thing.kind}Storage")
        described = ("storage", kind, key, "cpu", thing.elements)
        return (*described, thing.view) if self.legacy else described

    def save(self, thing, save_persistent_id=True):
        known = isinstance(thing, (Named, Call, New))
        if not known or id(thing) in self.memo:
            return super().save(thing, save_persistent_id)
        if isinstance(thing, Named):
            return self.save_named(thing)
        call = isinstance(thing, Call)
        self.save(thing.function if call else thing.kind)
        self.save(thing.arguments if call else ())
        self.write(pickle.REDUCE if call else pickle.NEWOBJ)
        self.memoize(thing)
        if call and thing.pairs is not None:
            self._batch_setitems(thing.pairs.items())
        if thing.state is not None:
            self.save(thing.state)
            self.write(pickle.BUILD)

    def save_named(self, thing: Named):
        if self.proto < 4:
            self.write(pickle.GLOBAL + f"{thing.module}\n{thing.name}\n".encode())
        else:
            self.save(thing.module)
            self.save(thing.name)
            self.write(pickle.STACK_GLOBAL)
        self.memoize(thing)


def pickled(thing, protocol=2, legacy=False) -> tuple[bytes, dict[str, Storage]]:
    out = io.BytesIO()
    pickler = Pickler(out, protocol, legacy)
    pickler.dump(thing)
    return out.getvalue(), pickler.storages


def archive(members: dict[str, bytes], deflated: tuple[str, ...] = ()) -> bytes:
    """A zip with these members, all of one date."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED if name in deflated or "*" in deflated else zipfile.ZIP_STORED
            zipped.writestr(info, data)
    return out.getvalue()


def members(thing, root="archive/", protocol=2, byteorder: str | None = "little", constants=None) -> dict[str, bytes]:
    data, storages = pickled(thing, protocol)
    out = {"data.pkl": data}
    if byteorder is not None:
        out["byteorder"] = byteorder.encode()
    out |= {f"data/{key}": storage.data for key, storage in storages.items()}
    if constants is not None:
        out["constants.pkl"], storages = pickled(constants, protocol)
        out |= {f"constants/{key}": storage.data for key, storage in storages.items()}
    out["version"] = b"3\n"
    return {f"{root}{name}": content for name, content in out.items()}


def saved(thing, deflated: tuple[str, ...] = (), **k) -> bytes:
    return archive(members(thing, **k), deflated)


def legacy(thing, keys: list[str] | None = None, protocol=2) -> bytes:
    """What `torch.save` wrote until 1.5."""
    out = io.BytesIO()
    system = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    for part in (MAGIC, PROTOCOL, system):
        pickle.dump(part, out, protocol)
    data, storages = pickled(thing, protocol, legacy=True)
    out.write(data)
    keys = sorted(storages) if keys is None else keys
    pickle.dump(keys, out, protocol)
    for key in keys:
        if key in storages:
            storage = storages[key]
            out.write(struct.pack("<q", len(storage.data) // WIDTHS[storage.kind]) + storage.data)
    return out.getvalue()
