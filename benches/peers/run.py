"""Spokeshave beside numpy and torch on one file of weights, in turn, and every answer held against the others.

`python benches/peers/run.py` makes the weights, starts one long-lived process per peer, asks each for every operation
round after round (A B C A B C …), and prints medians. A peer that cannot be imported is left out, and said to be. An
answer that disagrees is printed and makes the exit code 1. See README.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ROWS = COLS = 8192
SMALL = 1 << 21
OPERATIONS = {
    "histogram": "extremes and histogram",
    "statistics": "min, max, mean, std",
    "threshold": "exact 90 % threshold",
    "int4": "int4 g128, quantize and error",
    "int8": "int8 g128, quantize and error",
}
OURS = "spokeshave"
PAUSE = 0.1  # seconds between operations: nobody's threads still spin while another is timed


# ---------------------------------------------------------------- the weights


def make_data(path: Path) -> None:
    """Student's t with 5 degrees of freedom, and every row of its own size: what weights of a transformer look like."""
    import numpy as np

    wanted, free = 4 * ROWS * COLS, shutil.disk_usage(path.parent).free
    if path.exists() and path.stat().st_size == wanted:
        return
    if free < 2 * wanted:
        sys.exit(f"{path.parent}: {free:,} bytes are free, {2 * wanted:,} are wanted; choose another with --data")
    rng, part = np.random.default_rng(8192), path.with_suffix(".part")
    try:
        with open(part, "wb") as out:
            for _ in range(0, ROWS, 512):
                scales = 0.02 * rng.lognormal(0.0, 0.4, (512, 1))
                out.write((rng.standard_t(5, (512, COLS)) * scales).astype("<f4").tobytes())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


# ---------------------------------------------------------------- a peer


class Peer:
    """One process that answers lines with lines."""

    def __init__(self, key: str, command: list[str]):
        self.key = key
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = self.process.stdout.readline().strip()
        self.ready, _, self.name = first.partition(" ")

    def ask(self, operation: str, count: int) -> tuple[float, list[float]]:
        try:
            self.process.stdin.write(f"{operation} {count}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline().strip()
        except OSError as error:
            line = f"error: {error}"
        if not line or line.startswith("error:"):
            sys.exit(f"{self.key} did not answer {operation} on {count:,} weights: {line or 'it ended'}")
        seconds, _, values = line.partition(" ")
        return float(seconds), [float(value) for value in values.split(",")]

    def end(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def start_all(data: Path, program: Path) -> list[Peer]:
    if not program.is_file():
        sys.exit(f"{program}: not there; build it with `cargo build --release --example peer`, or name it with --ours")
    peers = [Peer(OURS, [str(program), str(data)])]
    if peers[0].ready != "ready":
        sys.exit(f"{program} does not start")
    for key in ("numpy", "torch"):
        peer = Peer(key, [sys.executable, str(HERE / "peer.py"), key, str(data)])
        if peer.ready == "ready":
            peers.append(peer)
        else:
            print(f"{key} is left out, it cannot be imported: {peer.name or 'it ended'}")
            peer.end()
    return peers


# ---------------------------------------------------------------- measuring and comparing


def measure(peers: list[Peer], count: int, rounds: int) -> tuple[dict, list[str]]:
    """Seconds of every round by (operation, peer), and what disagrees. The round before the first is not counted."""
    seconds: dict[tuple[str, str], list[float]] = {}
    faults = []
    for turn in range(rounds + 1):
        for operation in OPERATIONS:
            answers = {}
            for peer in peers:
                time.sleep(PAUSE)
                # Asked twice, and the second time counts: while the others had their turn, the system may have taken
                # memory and clock away, which is no peer's doing.
                peer.ask(operation, count)
                wall, answers[peer.key] = peer.ask(operation, count)
                if turn:
                    seconds.setdefault((operation, peer.key), []).append(wall)
            for key, found in answers.items():
                if fault := disagreement(operation, answers[OURS], found, count):
                    faults.append(f"{operation} of {count:,} weights: {key} and {OURS} disagree: {fault}")
    return seconds, sorted(set(faults))


def disagreement(operation: str, ours: list[float], theirs: list[float], count: int) -> str | None:
    """What is too far apart, in words; `None` when nothing is."""
    if len(ours) != len(theirs):
        return f"{len(theirs)} values and {len(ours)}"
    if operation == "histogram":
        return histogram_disagreement(ours, theirs, count)
    # What is picked is exact. What is summed in f32 is not: mean and std to a millionth of std, SQNR to 0.00001 dB.
    millionth = 1e-6 * abs(ours[-1])
    allowed = {"statistics": [0.0, 0.0, millionth, millionth], "threshold": [0.0]}.get(operation, [1e-5])
    for a, b, most in zip(ours, theirs, allowed):
        if not abs(a - b) <= most:
            return f"{b} and {a}, allowed difference {most:g}"
    return None


def histogram_disagreement(ours: list[float], theirs: list[float], count: int) -> str | None:
    """Reach and counts of two histograms; where a bin ends is rounded differently in f32 and in f64."""
    if ours[0] != theirs[0]:
        return f"they reach to {theirs[0]} and {ours[0]}"
    for counts in (theirs[1:], ours[1:]):
        if sum(counts) != count:
            return f"{sum(counts):.0f} of {count} weights are counted"
    moved, allowed = sum(abs(a - b) for a, b in zip(ours[1:], theirs[1:])) / 2, 1e-4 * count
    return f"{moved:.0f} weights are in another bin, allowed {allowed:.0f}" if moved > allowed else None


# ---------------------------------------------------------------- telling


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def table(peers: list[Peer], seconds: dict, count: int) -> str:
    others = [peer.key for peer in peers if peer.key != OURS]
    lines = [
        f"| {count:,} weights | {OURS} | " + " | ".join(f"{key} | times" for key in others) + " |",
        "|---|---|" + "---|---|" * len(others),
    ]
    for operation, what in OPERATIONS.items():
        ours = statistics.median(seconds[operation, OURS])
        cells = [what, show(ours)]
        for key in others:
            theirs = statistics.median(seconds[operation, key])
            cells += [show(theirs), f"{theirs / ours:.3g}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def show(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.2f} s"


def arguments() -> argparse.Namespace:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds that are counted (default 9)")
    parser.add_argument("--data", type=Path, default=target / "peers", help="folder for the 256 MiB of weights")
    parser.add_argument("--ours", type=Path, default=target / "release/examples/peer", help="the built example `peer`")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least 1")
    return args


def main() -> int:
    args = arguments()
    args.data.mkdir(parents=True, exist_ok=True)
    data = args.data / "weights.f32"
    make_data(data)
    peers, faults = start_all(data, args.ours), []
    try:
        print(f"{processor()}, {os.cpu_count()} cores")
        print("; ".join(peer.name for peer in peers) + f"; medians of {args.rounds} interleaved rounds")
        for count in (ROWS * COLS, SMALL):
            seconds, more = measure(peers, count, args.rounds)
            faults += more
            print(f"\n{table(peers, seconds, count)}", flush=True)
    finally:
        for peer in peers:
            peer.end()
    print()
    for fault in faults:
        print(f"MISMATCH {fault}")
    print(f"{len(faults)} mismatches: these times mean nothing" if faults else "all answers agree")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
