"""Files that torch itself writes, and beside each the values that torch itself reads in it.

`python make_pytorch.py` in this folder writes `pytorch/NAME.pt` and `pytorch/NAME.safetensors`; torch, numpy, ml_dtypes and the
safetensors package are needed (`tests/readers/heavy/README.md` says how). Made with torch 2.15.0.

Values of a module are those of its `state_dict()`, values of a script those of its parameters, buffers, attributes and constants, and
values of a checkpoint those of the model in it.
"""

from __future__ import annotations

import collections
import pickle
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors.numpy
import torch

OUT = Path(__file__).resolve().parent / "pytorch"
BITS = {
    torch.bfloat16: (torch.int16, ml_dtypes.bfloat16),
    torch.float8_e4m3fn: (torch.uint8, ml_dtypes.float8_e4m3fn),
    torch.float8_e5m2: (torch.uint8, ml_dtypes.float8_e5m2),
}


WIDTHS = {"DoubleStorage": 8, "LongStorage": 8, "FloatStorage": 4, "IntStorage": 4, "ComplexFloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "ShortStorage": 2}


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 4, 3)
        self.bn = torch.nn.BatchNorm2d(4)
        self.register_buffer("passing", torch.arange(3.0), persistent=False)

    def forward(self, x):
        return self.bn(self.conv(x)) + self.passing.sum()


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(), Block()])
        self.head = torch.nn.Linear(4, 3, bias=False)
        self.tied = self.head
        self.scale = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        for block in self.blocks:
            x = block(torch.nn.functional.pad(x[:, :2], (1, 1, 1, 1)))
        return self.head(x.mean((2, 3))) * self.scale + torch.tensor([1.0, 2.0, 3.0])


class Little(torch.nn.Module):
    """For scripts, whose programs take room."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)
        self.register_buffer("kept", torch.arange(4.0).reshape(2, 2).t())

    def forward(self, x):
        return self.fc(x) @ self.kept


def array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().contiguous()
    if tensor.dtype in BITS:
        bits, kind = BITS[tensor.dtype]
        return tensor.view(bits).numpy().view(kind)
    return tensor.numpy()


def every_kind() -> dict[str, torch.Tensor]:
    """A state dict with all that a storage can hold, lying in all ways."""
    x = torch.randn(6, 8)
    flat = torch.arange(24.0)
    kinds = {
        "f64": x.double(), "f16": x.half(), "bf16": x.bfloat16(), "e4m3": x.to(torch.float8_e4m3fn), "e5m2": x.to(torch.float8_e5m2),
        "i64": (x * 9).long(), "i32": (x * 9).int(), "i16": (x * 9).short(), "i8": (x * 9).to(torch.int8), "u8": (x.abs() * 9).to(torch.uint8),
        "bool": x > 0, "u16": (x.abs() * 9).to(torch.uint16), "c64": torch.complex(x, -x),
    }  # fmt: skip
    ways = {
        "plain": x, "transposed": x.t(), "columns": x[:, 2:7:2], "rows": x[1::2], "row": x[3], "column": x[:, 3], "expanded": x[:1].expand(5, 8),
        "expanded_scalar": torch.tensor(2.5).expand(3, 4), "permuted": flat.reshape(2, 3, 4).permute(2, 0, 1), "channels_last":
        torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last), "windows": flat.unfold(0, 4, 2), "scalar": torch.tensor(7.0), "slice_scalar": flat[5],
        "empty": torch.empty(0, 3), "empty_slice": x[:, :0], "one": x[2:3, 4:5], "parameter": torch.nn.Parameter(x[:2]), "bf16_transposed": x.bfloat16().t(),
        "f8_columns": x.to(torch.float8_e4m3fn)[:, ::3], "c64_transposed": torch.complex(x, x).t(),
    }  # fmt: skip
    return {**{f"kind.{name}": value for name, value in kinds.items()}, **{f"way.{name}": value for name, value in ways.items()}}


def files() -> dict[str, tuple]:
    """Name, what is saved, options, the values that are right."""
    torch.manual_seed(7)
    kinds, net, little = every_kind(), Net(), Little()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(3, 2, 5, 5)).sum().backward()
    optimizer.step()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    wrapper = {"epoch": 3, "model_state_dict": net.state_dict(), "optimizer_state_dict": optimizer.state_dict(), "rng_state": torch.get_rng_state()[:9].clone()}
    nested = {"encoder": [{"w": torch.randn(2, 3)}, {"w": torch.randn(2)}], "decoder": collections.OrderedDict(w=(torch.randn(3), torch.ones(1)))}
    named = {"encoder.0.w": nested["encoder"][0]["w"], "encoder.1.w": nested["encoder"][1]["w"], "decoder.w.0": nested["decoder"]["w"][0], "decoder.w.1": nested["decoder"]["w"][1]}
    old = {name: value for name, value in kinds.items() if value.dtype not in (torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16)}
    scripted, traced = torch.jit.script(little), torch.jit.trace(little, torch.zeros(1, 3))
    frozen = torch.jit.freeze(torch.jit.script(little.eval()))
    here = dict(little.state_dict())
    return {
        "kinds": (kinds, {}, kinds),
        "alike": (old, {}, old),
        "kinds_protocol_4": (kinds, {"pickle_protocol": 4}, kinds),
        "kinds_legacy": (old, {"_use_new_zipfile_serialization": False}, old),
        "module": (net, {}, state),
        "module_legacy": (net, {"_use_new_zipfile_serialization": False}, state),
        "wrapper": (wrapper, {}, state),
        "nested": (nested, {}, named),
        "lone": (kinds["way.transposed"], {}, {"tensor": kinds["way.transposed"]}),
        "script": (scripted, None, here),
        "trace": (traced, None, here),
        "frozen": (frozen, None, {f"CONSTANTS.{name}": value for name, value in frozen.code_with_constants[1].const_mapping.items()}),
    }


class Widths(pickle.Unpickler):
    """Finds how wide the elements of each storage are."""

    def find_class(self, module, name):
        return super().find_class(module, name) if module == "collections" else type(name, (), {"__new__": lambda cls, *a: object.__new__(cls)})

    def persistent_load(self, described):
        self.found[described[2]] = WIDTHS.get(described[1].__name__, 1)


def swapped(name: str, data: bytes) -> bytes:
    """A member as a big-endian machine writes it."""
    if name.endswith("/byteorder"):
        return b"big"
    width = Widths.found.get(name.rpartition("/data/")[2], 1)
    return b"".join(data[i : i + width][::-1] for i in range(0, len(data), width))


def again(name: str, change, method: int) -> None:
    """`alike.pt` once more in another form; torch must read the same in it."""
    with zipfile.ZipFile(OUT / "alike.pt") as source, zipfile.ZipFile(OUT / f"{name}.pt", "w") as out:
        Widths.found = {}
        Widths(source.open("alike/data.pkl")).load()
        for member in source.namelist():
            info = zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            data = source.read(member)
            out.writestr(info, change(member, data) if "/data/" in member or "byteorder" in member else data)
    (OUT / f"{name}.safetensors").write_bytes((OUT / "alike.safetensors").read_bytes())
    theirs, right = torch.load(OUT / f"{name}.pt"), torch.load(OUT / "alike.pt")
    assert all(np.array_equal(array(theirs[key]), array(right[key])) for key in right), name


def main() -> None:
    OUT.mkdir(exist_ok=True)
    # Modules are pickled by the name of their class, and this file has another when it is run.
    sys.modules["model"] = sys.modules["__main__"]
    for kind in (Block, Net):
        kind.__module__ = "model"
    for name, (thing, options, values) in files().items():
        path = OUT / f"{name}.pt"
        thing.save(str(path)) if options is None else torch.save(thing, path, **options)
        safetensors.numpy.save_file({key: array(value) for key, value in values.items()}, OUT / f"{name}.safetensors")
    again("deflated", lambda name, data: data, zipfile.ZIP_DEFLATED)
    again("big_endian", swapped, zipfile.ZIP_STORED)
    print(sum(file.stat().st_size for file in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
