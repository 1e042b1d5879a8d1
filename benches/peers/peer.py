"""The same operations as a user of numpy or torch writes them: plain expressions over whole arrays, none fused by hand.

`python peer.py numpy|torch DATA` keeps one file of f32 in memory, reads `OPERATION COUNT` from each line of its input
and answers `SECONDS VALUE,VALUE,…`, or a line that begins with `error:`. `run.py` starts it; see README.md.
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np

THREADS = 2  # torch's; numpy takes what it takes
BINS = 2047  # the program's: odd, so that zero has a bin of its own
GROUP = 128  # weights that share a scale
SHARE = (9, 10)  # of the weights lie at or below the threshold


class Numpy:
    def __init__(self, path: str):
        self.name, self.data = f"numpy {np.__version__}", np.fromfile(path, np.float32)

    def statistics(self, w):
        return w.min(), w.max(), w.mean(), w.std()

    def histogram(self, w):
        reach = max(-w.min(), w.max())
        counts, _ = np.histogram(w, bins=BINS, range=(-reach, reach))
        return reach, *counts

    def threshold(self, w):
        k = w.size * SHARE[0] // SHARE[1]
        return (np.partition(np.abs(w), k - 1)[k - 1],)

    def grid(self, w, top):
        groups = w.reshape(-1, GROUP)
        scale = np.abs(groups).max(axis=1, keepdims=True) / top
        restored = np.clip(np.round(groups / scale), -top, top) * scale
        noise = np.mean(np.square(groups - restored))
        return (10 * math.log10(np.mean(np.square(groups)) / noise),)


class Torch:
    def __init__(self, path: str):
        import torch

        torch.set_num_threads(THREADS)
        torch.set_grad_enabled(False)
        self.torch, self.name = torch, f"torch {torch.__version__}, {torch.get_num_threads()} threads"
        self.data = torch.from_numpy(np.fromfile(path, np.float32))

    def statistics(self, w):
        low, high = self.torch.aminmax(w)
        std, mean = self.torch.std_mean(w, correction=0)
        return low, high, mean, std

    def histogram(self, w):
        low, high = self.torch.aminmax(w)
        reach = max(-low.item(), high.item())
        return reach, *self.torch.histc(w, bins=BINS, min=-reach, max=reach).tolist()

    def threshold(self, w):
        return (self.torch.kthvalue(w.abs(), w.numel() * SHARE[0] // SHARE[1]).values,)

    def grid(self, w, top):
        groups = w.reshape(-1, GROUP)
        scale = groups.abs().amax(dim=1, keepdim=True) / top
        restored = self.torch.clamp(self.torch.round(groups / scale), -top, top) * scale
        noise = (groups - restored).square().mean()
        return (10 * math.log10(groups.square().mean() / noise),)


def answer(peer, line: str) -> str:
    name, _, count = line.partition(" ")
    calls = {
        "statistics": peer.statistics,
        "histogram": peer.histogram,
        "threshold": peer.threshold,
        "int4": lambda w: peer.grid(w, 7),
        "int8": lambda w: peer.grid(w, 127),
    }
    if name not in calls:
        return f"error: {name!r} is none of {', '.join(calls)}"
    if not count.isdecimal() or not 0 < int(count) <= len(peer.data):
        return f"error: {line!r} asks for {count!r} weights, there are {len(peer.data)}; say OPERATION COUNT"
    weights = peer.data[: int(count)]
    start = time.perf_counter()
    values = calls[name](weights)
    seconds = time.perf_counter() - start
    return f"{seconds:.6f} {','.join(repr(float(value)) for value in values)}"


def main() -> int:
    peers = {"numpy": Numpy, "torch": Torch}
    if len(sys.argv) != 3 or sys.argv[1] not in peers:
        print("usage: peer.py numpy|torch DATA", file=sys.stderr)
        return 2
    try:
        peer = peers[sys.argv[1]](sys.argv[2])
    except (ImportError, OSError) as error:
        print(f"missing {' '.join(str(error).split())}", flush=True)
        return 1
    print(f"ready {peer.name}", flush=True)
    for line in sys.stdin:
        print(answer(peer, line.strip()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
