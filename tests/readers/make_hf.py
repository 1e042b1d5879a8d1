"""Tiny language models in the Hugging Face layout, made with numpy alone, and what they compute, in numpy alone.

`write(folder, name)` writes one; `FAMILIES` lists them. `forward` is the dense reference: the network of transformers'
`modeling_llama.py`, `modeling_qwen2.py` and `modeling_qwen3.py` in f64, for one text without a cache.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

BF16, F16, F32 = np.dtype(ml_dtypes.bfloat16), np.dtype("f2"), np.dtype("f4")
ROWS = 320  # of the embedding: more than there are tokens
THREE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = "th he in er an re on at en the ing and of to is it or al ll es".split()
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@dataclass
class Family:
    """What sets a model apart."""

    kind: str
    cut: str
    dtype: np.dtype = BF16
    tied: bool = False
    config: dict = field(default_factory=dict)
    biases: bool = False
    shards: bool = False


FAMILIES = {
    "llama": Family("llama", "smollm", tied=True),
    "llama3": Family(
        "llama",
        "llama-bpe",
        F16,
        config={
            "rope_theta": 500000.0,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "llama-biased": Family(
        "llama", "gpt-2", F32, biases=True, config={"attention_bias": True, "rope_scaling": {"type": "linear", "factor": 2.0}}
    ),
    "mistral": Family(
        "mistral",
        "smaug-bpe",
        shards=True,
        config={"hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32, "sliding_window": None},
    ),
    "qwen2": Family("qwen2", "qwen2", tied=True, biases=True, config={"rope_theta": 1000000.0}),
    "qwen3": Family(
        "qwen3",
        "qwen2",
        config={"head_dim": 128, "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 50000.0}},
    ),
}


def config_of(family: Family) -> dict:
    base = {
        "architectures": [f"{family.kind.capitalize()}ForCausalLM"],
        "model_type": family.kind,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": ROWS,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": family.tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float32",
    }
    config = base | family.config
    if "rope_parameters" in config:  # transformers 5 has the base of the frequencies there
        del config["rope_theta"]
    return config


def head_of(config: dict) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def weights_of(family: Family, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights, large enough that the last logits are not all alike."""
    config, draw = config_of(family), np.random.default_rng(seed)
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], head_of(config)
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    out = {"model.embed_tokens.weight": draw.standard_normal((ROWS, hidden)) * (0.15 if family.tied else 0.5), "model.norm.weight": 1 + 0.1 * draw.standard_normal(hidden)}
    if not family.tied:
        out["lm_head.weight"] = draw.standard_normal((ROWS, hidden)) * 0.1
    for block in range(config["num_hidden_layers"]):
        at = f"model.layers.{block}."
        for name, rows, columns in (
            ("self_attn.q_proj", queries, hidden),
            ("self_attn.k_proj", keys, hidden),
            ("self_attn.v_proj", keys, hidden),
            ("self_attn.o_proj", hidden, queries),
            ("mlp.gate_proj", inner, hidden),
            ("mlp.up_proj", inner, hidden),
            ("mlp.down_proj", hidden, inner),
        ):
            out[f"{at}{name}.weight"] = draw.standard_normal((rows, columns)) * 0.08
            if family.biases and name[-6] in "qkv" and name.startswith("self"):
                out[f"{at}{name}.bias"] = draw.standard_normal(rows) * 0.2
        norms = {"input_layernorm": hidden, "post_attention_layernorm": hidden}
        norms |= {"self_attn.q_norm": head, "self_attn.k_norm": head} if family.kind == "qwen3" else {}
        out |= {f"{at}{name}.weight": 1 + 0.1 * draw.standard_normal(n) for name, n in norms.items()}
    return {name: np.ascontiguousarray(array.astype(family.dtype)) for name, array in out.items()}


# ---------------------------------------------------------------- the tokenizer


def alphabet() -> list[str]:
    """The byte-level alphabet of GPT-2: a letter for each byte, printable ones for themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = iter(range(256, 512))
    return [chr(byte if byte in plain else next(other)) for byte in range(256)]


def vocabulary() -> tuple[dict[str, int], list[str]]:
    """Special tokens, bytes, and what merges make of them: words with and without a space before."""
    tokens, merges = [*SPECIAL, *alphabet()], []
    for word in [*WORDS, *("Ġ" + word for word in WORDS[:12])]:
        left = word[0]
        for right in word[1:]:
            if left + right not in tokens:
                tokens.append(left + right)
                merges.append(f"{left} {right}")
            left += right
    # a word that no merge leads to: found only where words are looked up first
    tokens += ["Ġxyz"]
    return {token: i for i, token in enumerate(tokens)}, merges


def tokenizer_of(family: Family) -> dict:
    tokens, merges = vocabulary()
    bytes_, plain = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}, family.cut
    pattern = THREE.replace("{1,3}", "") if plain == "qwen2" else THREE
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    steps = {
        "gpt-2": bytes_,
        "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, bytes_]},
    }
    special = lambda i: {"SpecialToken": {"id": SPECIAL[i], "type_id": 0}}
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    around = {"llama-bpe": [special(1), sequence], "gpt-2": [special(1), sequence, special(2)]}.get(plain)
    template = {
        "type": "TemplateProcessing",
        "single": around,
        "pair": [sequence, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {token: {"id": token, "ids": [i], "tokens": [token]} for i, token in enumerate(SPECIAL)},
    }
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": token} | added for i, token in enumerate(SPECIAL)],
        "normalizer": {"type": "NFC"} if plain == "qwen2" else None,
        "pre_tokenizer": steps.get(plain)
        or {"type": "Sequence", "pretokenizers": [split, bytes_ | {"use_regex": False}]},
        "post_processor": template if around else None,
        "decoder": bytes_,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": plain == "llama-bpe",
            "vocab": tokens,
            "merges": merges if plain != "qwen2" else [merge.split(" ") for merge in merges],
        },
    }


def write(folder: Path, name: str, seed: int = 0, **config) -> dict[str, np.ndarray]:
    """Writes a model of the list, with some numbers of its config changed; gives its weights."""
    family = FAMILIES[name]
    folder.mkdir(parents=True, exist_ok=True)
    weights = weights_of(family, seed)
    (folder / "config.json").write_text(json.dumps(config_of(family) | config, indent=1))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_of(family), ensure_ascii=False))
    about = {"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}, "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    save(folder, weights, family.shards)
    return weights


def save(folder: Path, weights: dict[str, np.ndarray], shards: bool = False) -> None:
    if not shards:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, index = sorted(weights), {}
    for i, part in enumerate((names[::2], names[1::2])):
        file = f"model-{i + 1:05}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def save_wide(folder: Path, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same values in F32, in one file, in place of what is there."""
    for file in folder.glob("model*"):
        file.unlink()
    wide = {name: w.astype(F32) for name, w in weights.items()}
    save(folder, wide)
    return wide


# ---------------------------------------------------------------- what it computes


def scaling_of(config: dict) -> tuple[dict, float]:
    """How positions are scaled, and the base of the frequencies."""
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    return scaling, config.get("rope_theta") or scaling["rope_theta"]


def frequencies(config: dict, head: int) -> np.ndarray:
    """Of each rotary pair, as `ROPE_INIT_FUNCTIONS` has them."""
    scaling, theta = scaling_of(config)
    plain = theta ** -(np.arange(0, head, 2) / head)
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "linear":
        return plain / scaling["factor"]
    if kind == "yarn":
        turns = lambda beta: head * math.log(scaling["original_max_position_embeddings"] / (beta * 2 * math.pi)) / (2 * math.log(theta))
        first, last = max(math.floor(turns(32)), 0), min(math.ceil(turns(1)), head - 1)
        stretched = np.clip((np.arange(head // 2) - first) / max(last - first, 0.001), 0, 1)
        return plain / scaling["factor"] * stretched + plain * (1 - stretched)
    if kind != "llama3":
        return plain
    low, high, original = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["original_max_position_embeddings"]
    wave = 2 * math.pi / plain
    smooth = (original / wave - low) / (high - low)
    between = (1 - smooth) * plain / scaling["factor"] + smooth * plain
    return np.where(wave < original / high, plain, np.where(wave > original / low, plain / scaling["factor"], between))


def norm(x: np.ndarray, weight: np.ndarray, epsilon: float) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def rotate(x: np.ndarray, frequency: np.ndarray, by: float) -> np.ndarray:
    """[positions, heads, head]: halves of a head are the two coordinates; YaRN makes them longer as well."""
    angle = np.arange(x.shape[0])[:, None, None] * frequency
    a, b = np.split(x * by, 2, -1)
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)


def forward(config: dict, weights: dict[str, np.ndarray], ids: list[int], rounded=lambda name, x: x) -> np.ndarray:
    """Log-probabilities, one row for each position. `rounded` is what becomes of the input of a matrix, by the matrix's name."""
    w = {name: array.astype("f8") for name, array in weights.items()}
    heads, shared, head, epsilon = config["num_attention_heads"], config["num_key_value_heads"], head_of(config), config["rms_norm_eps"]
    frequency, n, scaling = frequencies(config, head), len(ids), scaling_of(config)[0]
    by = 0.1 * math.log(scaling["factor"]) + 1 if scaling.get("rope_type") == "yarn" else 1.0
    future = np.triu(np.full((n, n), -np.inf), 1)
    x = w["model.embed_tokens.weight"][ids]
    for block in range(config["num_hidden_layers"]):
        at = f"model.layers.{block}."
        linear = lambda name, x, at=at: rounded(f"{at}{name}.weight", x) @ w[f"{at}{name}.weight"].T + w.get(f"{at}{name}.bias", 0)
        y = norm(x, w[at + "input_layernorm.weight"], epsilon)
        q, k, v = (linear(f"self_attn.{part}_proj", y).reshape(n, -1, head) for part in "qkv")
        if config["model_type"] == "qwen3":
            q, k = (norm(t, w[f"{at}self_attn.{part}_norm.weight"], epsilon) for part, t in (("q", q), ("k", k)))
        q, k = rotate(q, frequency, by), rotate(k, frequency, by)
        k, v = np.repeat(k, heads // shared, 1), np.repeat(v, heads // shared, 1)
        scores = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(head) + future
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = np.einsum("hij,jhd->ihd", scores / scores.sum(-1, keepdims=True), v)
        x = x + linear("self_attn.o_proj", mixed.reshape(n, -1))
        y = norm(x, w[at + "post_attention_layernorm.weight"], epsilon)
        gate = linear("mlp.gate_proj", y)
        x = x + linear("mlp.down_proj", gate / (1 + np.exp(-gate)) * linear("mlp.up_proj", y))
    head = "lm_head.weight" if "lm_head.weight" in w else "model.embed_tokens.weight"
    logits = rounded(head, norm(x, w["model.norm.weight"], epsilon)) @ w[head].T
    logits -= logits.max(1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))
