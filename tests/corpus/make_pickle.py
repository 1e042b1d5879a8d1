"""What Python's own pickler writes of some values in every protocol, and what each value is in plain words.

Writes `src/formats/pickle/python.tsv`: name, protocol, words, the pickle in hexadecimal. Python 3.11, nothing but its standard library.
"""

from __future__ import annotations

import collections
import copyreg
import datetime
import pickle
import struct
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / "src/formats/pickle/python.tsv"
OLD_NAMES = {"builtins": "__builtin__", "copyreg": "copy_reg"}


class Plain:
    """An object with attributes."""

    def __init__(self):
        self.weight, self.bias = [1, 2.5], None


class Slots:
    __slots__ = ("a", "b")

    def __init__(self):
        self.a, self.b = 1, (2,)


class Named(dict):
    """A dict of a class of its own, made by keywords."""

    def __getnewargs_ex__(self):
        return (1,), {"k": 2}

    def __new__(cls, *args, **kwargs):
        return dict.__new__(cls)

    def __init__(self, *args, **kwargs):
        pass


def name(function, protocol: int) -> str:
    module = function.__module__ or "builtins"
    return f"{OLD_NAMES.get(module, module) if protocol < 3 else module}.{function.__qualname__}"


def words(value, protocol: int) -> str:
    """A value in words, as `tests.rs` beside the table writes what it has read."""
    say = lambda v: words(v, protocol)
    several = lambda items: ",".join(say(v) for v in items)
    pairs = lambda items: ",".join(f"{say(k)}:{say(v)}" for k, v in items)
    if value is None or isinstance(value, (bool, int)):
        return str(value) if value is None or abs(value) < 2**127 else "huge"
    if isinstance(value, float):
        return "f" + struct.pack(">d", value).hex()
    if type(value) is str:
        return "t" + value.encode().hex()
    if type(value) is bytes:
        if protocol > 2:
            return "b" + value.hex()
        call = ("_codecs.encode", (value.decode("latin-1"), "latin1")) if value else ("__builtin__.bytes", ())
        return f"call {call[0]}{say(call[1])}"
    if type(value) in (set, frozenset):
        if protocol > 3:
            return "<" + ",".join(sorted(say(v) for v in value)) + ">"
        return f"call {name(type(value), protocol)}([{several(value)}])"
    if type(value) is list:
        return f"[{several(value)}]"
    if type(value) is tuple:
        return f"({several(value)})"
    if type(value) is dict:
        return "{" + pairs(value.items()) + "}"
    if isinstance(value, type) or callable(value):
        return f"name {name(value, protocol)}"
    registered = copyreg.dispatch_table.get(type(value))
    function, arguments, *rest = registered(value) if registered else value.__reduce_ex__(protocol)
    state, items, keyed = (rest + [None] * 3)[:3]
    how, keywords = "call", ""
    if function.__name__ == "__newobj__":
        how, function, arguments = "new", arguments[0], arguments[1:]
    elif function.__name__ == "__newobj_ex__":
        how, (function, arguments, keywords) = "new", arguments
        keywords = say(keywords)
    text = f"{how} {name(function, protocol)}{say(arguments)}{keywords}"
    text += f"[{several(items)}]" if items is not None else ""
    text += "{" + pairs(keyed) + "}" if keyed is not None else ""
    return text + (f"={say(state)}" if state is not None else "")


VALUES = {
    "none": None,
    "truths": (True, False),
    "small": [0, 1, 255, 256, 65535, 65536, -1, -128, -129],
    "wide": [2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63, -(2**63), 2**64, 2**126, -(2**126)],
    "magic": 0x1950A86A20F9469CFC6C,
    "huge": [2**127, -(2**128), 2**2100],
    "floats": [0.0, -0.0, 1.5, 1e300, 5e-324, float("inf"), float("-inf"), 0.1],
    "texts": ["", "a", "lay\\er\n'\"", "é", "重み", "😀", "x" * 300, "\x00\x1a\r"],
    "bytes": [b"", b"\x00\xff\n", b"y" * 300],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((),)],
    "lists": [[], [[]], list(range(1001))],
    "dicts": {"a": 1, 2: {}, None: {"b": [3]}},
    "sets": [set(), {7}, frozenset({"x"})],
    "ordered": collections.OrderedDict([("w", 1), ("b", 2)]),
    "defaults": collections.defaultdict(list, {"a": [1]}),
    "complex": 1 + 2j,
    "date": datetime.timedelta(3, 4),
    "array": bytearray(b"abc"),
    "function": [len, struct.pack, collections.OrderedDict],
    "plain": Plain(),
    "slots": Slots(),
    "named": Named(),
}

# What older protocols cannot say, or say in other ways.
SINCE = {"slots": 2, "named": 4, "array": 5}


def main() -> None:
    lines = []
    for case, value in VALUES.items():
        for protocol in range(6):
            if protocol < SINCE.get(case, 0):
                continue
            data = pickle.dumps(value, protocol)
            said = "b" + bytes(value).hex() if case == "array" else words(value, protocol)
            lines.append(f"{case}\t{protocol}\t{said}\t{data.hex()}\n")
    OUT.write_text("".join(lines))
    print(f"{len(lines)} pickles")


if __name__ == "__main__":
    main()
