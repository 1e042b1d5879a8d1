"""Tiny networks of the llama family in the Hugging Face layout: what real runtimes load, made in a moment.

    python make_llama.py OUT [--family llama|mistral|qwen2|qwen3] [--dtype f32|bf16|f16] [--tied] [--shards N] [--seed N]

OUT becomes a folder with config.json, generation_config.json, a tokenizer of single words, and weights in one file or several
behind an index. Weights look trained: heavy tails, rows and columns of sizes of their own, a few outliers, and norms about 1; so
that what compresses them has something to get wrong. The same command gives the same bytes. Needs numpy only.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

HIDDEN, FFN, VOCAB, LAYERS = 256, 512, 320, 2
HEADS, GROUPS, HEAD = 4, 2, 64
FAMILIES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
DTYPES = {"f32": ("F32", "float32"), "bf16": ("BF16", "bfloat16"), "f16": ("F16", "float16")}

Tensors = dict[str, np.ndarray]


def config(family: str, dtype: str, tied: bool) -> dict:
    return {
        "architectures": [FAMILIES[family]],
        "model_type": family,
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "head_dim": HEAD,
        "vocab_size": VOCAB,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "use_sliding_window": False,
        "sliding_window": None,
        "torch_dtype": DTYPES[dtype][1],
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def weights(family: str, tied: bool, seed: int) -> Tensors:
    """All tensors in f32."""
    random = np.random.default_rng(seed)

    def matrix(rows: int, cols: int, size: float = 0.06) -> np.ndarray:
        values = random.standard_t(5, (rows, cols)) * size
        values *= np.exp(random.normal(0, 0.4, (rows, 1))) * np.exp(random.normal(0, 0.3, (1, cols)))
        values.flat[random.integers(0, values.size, 1 + values.size // 4096)] *= 8
        return values.astype("f4")

    def vector(length: int, about: float = 0.0) -> np.ndarray:
        return (about + random.normal(0, 0.1, length)).astype("f4")

    tensors = {"model.embed_tokens.weight": matrix(VOCAB, HIDDEN, 0.5), "model.norm.weight": vector(HIDDEN, 1)}
    if not tied:
        tensors["lm_head.weight"] = matrix(VOCAB, HIDDEN)
    for layer in range(LAYERS):
        block = {"self_attn.q_proj": (HEADS * HEAD, HIDDEN), "self_attn.o_proj": (HIDDEN, HEADS * HEAD)}
        block |= {f"self_attn.{part}_proj": (GROUPS * HEAD, HIDDEN) for part in "kv"}
        block |= {"mlp.gate_proj": (FFN, HIDDEN), "mlp.up_proj": (FFN, HIDDEN), "mlp.down_proj": (HIDDEN, FFN)}
        at = f"model.layers.{layer}."
        for name, shape in block.items():
            tensors[f"{at}{name}.weight"] = matrix(*shape)
            if family == "qwen2" and name.split(".")[1] in ("q_proj", "k_proj", "v_proj"):
                tensors[f"{at}{name}.bias"] = vector(shape[0])
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{at}{name}.weight"] = vector(HIDDEN, 1)
        if family == "qwen3":
            for name in ("q_norm", "k_norm"):
                tensors[f"{at}self_attn.{name}.weight"] = vector(HEAD, 1)
    return tensors


def encoded(values: np.ndarray, dtype: str) -> bytes:
    """Little-endian, ties to even."""
    if dtype == "bf16":
        bits = values.astype("<f4").view("<u4")
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
    return values.astype("<f4" if dtype == "f32" else "<f2").tobytes()


def write_file(path: Path, tensors: Tensors, dtype: str) -> int:
    """Gives the bytes of the payloads."""
    header: dict = {"__metadata__": {"format": "pt"}}
    payload = b""
    for name in sorted(tensors):
        data = encoded(tensors[name], dtype)
        place = [len(payload), len(payload) + len(data)]
        header[name] = {"dtype": DTYPES[dtype][0], "shape": list(tensors[name].shape), "data_offsets": place}
        payload += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + payload)
    return len(payload)


def write_tokenizer(folder: Path) -> None:
    """A word for every number: `w17` is token 17."""
    names = ["<unk>", "<s>", "</s>", *(f"w{i}" for i in range(3, VOCAB))]
    special = [
        {"id": i, "content": names[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i in range(3)
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {name: i for i, name in enumerate(names)}, "unk_token": "<unk>"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    options = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(options, indent=2) + "\n")


def write(
    folder: Path, family: str = "llama", dtype: str = "f32", tied: bool = False, shards: int = 1, seed: int = 0
) -> Tensors:
    """Writes the folder and gives the weights as they were before they were rounded to the dtype."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = weights(family, tied, seed)
    (folder / "config.json").write_text(json.dumps(config(family, dtype, tied), indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": 2}) + "\n")
    write_tokenizer(folder)
    if shards == 1:
        write_file(folder / "model.safetensors", tensors, dtype)
        return tensors
    names, total, where = sorted(tensors), 0, {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i * len(names) // shards : (i + 1) * len(names) // shards]
        total += write_file(folder / file, {name: tensors[name] for name in part}, dtype)
        where |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--family", choices=FAMILIES, default="llama")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--tied", action="store_true")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tensors = write(args.out, args.family, args.dtype, args.tied, args.shards, args.seed)
    print(f"{args.out}: {len(tensors)} tensors, {sum(t.size for t in tensors.values())} weights")


if __name__ == "__main__":
    main()
