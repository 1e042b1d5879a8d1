"""Folders in the Hugging Face layout as GGUF: names, the order of rows, key-values and tokens taken apart, and llama.cpp's
log-probabilities held to a network in numpy (`make_hf.py`), dense, quantized and with units removed.
"""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import tokenizers

import make_hf
from gguf_make import File, read, scheme_of, stored
from harness import Checks, sha
from llama_cpp import Network

IDS = [1, 77, 110, 35, 210, 260, 263, 120, 99, 40, 41, 42, 43, 270, 3, 200, 150, 61, 275, 280]
TEXTS = [
    "The king is in there and it's on the 12345th day.",
    "  two  spaces\n\n\tand tabs; Ünïcode — 漢字, 😀!",
    "xyz xyz the xyz\r\n1 22 333 4444 'S 'll I'VE",
    "<|im_start|>user\nhello<|im_end|>",
    "",
]
NEAR = 1e-4  # what is left of f32 sums against f64
QUERIES, KEYS = ("attn_q.weight", "attn_q.bias"), ("attn_k.weight", "attn_k.bias")
MAPS = {"llama": gguf.MODEL_ARCH.LLAMA, "mistral": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2, "qwen3": gguf.MODEL_ARCH.QWEN3}


def renamed(kind: str, name: str, blocks: int) -> str:
    """By the table of the `gguf` package."""
    stem, end = name.rsplit(".", 1)
    return f"{gguf.get_tensor_name_map(MAPS[kind], blocks).get_name(stem)}.{end}"


def permuted(w: np.ndarray, heads: int) -> np.ndarray:
    """`LlamaModel.permute` of llama.cpp's converter."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def back(w: np.ndarray, heads: int) -> np.ndarray:
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def heads_of(config: dict, name: str) -> int | None:
    """By how many heads the rows of a tensor are interleaved, if they are."""
    if config["model_type"] not in ("llama", "mistral") or not name.endswith(QUERIES + KEYS):
        return None
    return config["num_attention_heads" if name.endswith(QUERIES) else "num_key_value_heads"]


def as_in_gguf(config: dict, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors that a file must have, rows in its order."""
    out = {}
    for name, w in weights.items():
        own = renamed(config["model_type"], name, config["num_hidden_layers"])
        heads = heads_of(config, own)
        out[own] = permuted(w, heads) if heads else w
    return out


def as_in_hf(config: dict, file: File) -> dict[str, np.ndarray]:
    """The values of a file under Hugging Face's names and in its order, to be run in numpy."""
    names = {}
    for block in range(config["num_hidden_layers"]):
        for part in ("input_layernorm", "post_attention_layernorm", *(f"self_attn.{p}" for p in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")), "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"):
            names |= {f"model.layers.{block}.{part}.{end}": None for end in ("weight", "bias")}
    names |= dict.fromkeys(["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"])
    out = {}
    for name in names:
        try:
            own = renamed(config["model_type"], name, config["num_hidden_layers"])
        except (TypeError, AttributeError):
            continue
        if own in file.tensors:
            heads, w = heads_of(config, own), file.tensors[own].values()
            out[name] = back(w, heads) if heads else w
    return out


def expected_pairs(name: str, config: dict, kind: int) -> dict:
    """Keys with their values, for all but the tokenizer."""
    arch = gguf.MODEL_ARCH_NAMES[MAPS[config["model_type"]]]
    head, (scaling, theta) = make_hf.head_of(config), make_hf.scaling_of(config)
    f32 = lambda x: float(np.float32(x))
    own = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": f32(config["rms_norm_eps"]),
        "rope.freq_base": f32(theta),
        "rope.dimension_count": head,
    }
    if "head_dim" in config:
        own |= {"attention.key_length": head, "attention.value_length": head}
    if scaling.get("type") == "linear":
        own |= {"rope.scaling.type": "linear", "rope.scaling.factor": f32(scaling["factor"])}
    if scaling.get("rope_type") == "yarn":
        own |= {"rope.scaling.type": "yarn", "rope.scaling.factor": f32(scaling["factor"]), "rope.scaling.finetuned": True}
        own |= {"rope.scaling.original_context_length": scaling["original_max_position_embeddings"]}
    general = {"general.architecture": arch, "general.type": "model", "general.name": name, "general.file_type": kind, "general.quantization_version": 2}
    return general | {f"{arch}.{key}": value for key, value in own.items()}


def check_tokens(checks: Checks, case: str, folder: Path, file: File, family: make_hf.Family) -> None:
    """The vocabulary, its kinds, merges and special ids."""
    tokens, merges = make_hf.vocabulary()
    rows = list(tokens) + [f"[PAD{i}]" for i in range(len(tokens), make_hf.ROWS)]
    kinds = [3] * 3 + [1] * (len(tokens) - 3) + [5] * (make_hf.ROWS - len(tokens))
    wanted = {
        "model": "gpt2",
        "pre": family.cut,
        "tokens": rows,
        "token_type": kinds,
        "merges": merges,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
        "padding_token_id": 2,
        "add_bos_token": family.cut in ("llama-bpe", "gpt-2"),
        "add_eos_token": family.cut == "gpt-2",
    }
    for key, value in wanted.items():
        checks.equal(case, f"tokenizer.ggml.{key}", file.value(f"tokenizer.ggml.{key}"), value)
    template = (folder / "chat_template.jinja").read_text()
    checks.equal(case, "tokenizer.chat_template", file.value("tokenizer.chat_template"), template)
    keys = {key for key in file.pairs if key.startswith("tokenizer.")}
    checks.equal(case, "no other tokenizer keys", keys, {f"tokenizer.ggml.{key}" for key in wanted} | {"tokenizer.chat_template"})


def check_texts(checks: Checks, case: str, folder: Path, network: Network) -> None:
    """llama.cpp cuts texts into the ids that Hugging Face's own library gives."""
    own = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        checks.equal(case, f"ids of {text[:20]!r}", network.tokenize(text, True), own.encode(text).ids)


def check_written(checks: Checks, case: str, folder: Path, out: Path, config: dict, weights: dict, recipe: list) -> Path | None:
    """Exports a folder, checks its files, its sizes and that it verifies; gives the GGUF file in it."""
    estimate = checks.run(case, "estimate", folder, "--target", "gguf", *recipe, "--json").json
    bytes_only = checks.run(case, "estimate", folder, "--target", "gguf", *recipe, "--bytes-only", "--json").json
    report = checks.run(case, "export", folder, "--target", "gguf", *recipe, "-o", out, "--force", "--json").json
    files = sorted(out.glob("*.gguf")) if out.is_dir() else []
    if not (estimate and bytes_only and report) or not checks.equal(case, "one GGUF file", len(files), 1):
        return None
    size = files[0].stat().st_size
    sizes = (estimate["bytes"], bytes_only["bytes"], report["estimate"]["bytes"])
    checks.equal(case, "estimate, estimate of bytes only, export", sizes, (size,) * 3)
    checks.equal(case, "payloads and overhead", sum(t["bytes"] for t in estimate["tensors"]) + estimate["overhead_bytes"], size)
    checks.equal(case, "tensors under their own names", [t["name"] for t in estimate["tensors"]], sorted(weights))
    checks.run(case, "verify", folder, out, "--json")
    return files[0]


def check_family(checks: Checks, work: Path, name: str) -> None:
    """One model: its F32 twin against numpy, its own dtype byte for byte, quantized ones against numpy on what they hold."""
    case, family = f"models {name}", make_hf.FAMILIES[name]
    if not checks.wants(case):
        return
    folder, twin, out = work / name, work / f"{name}-f32", work / f"{name}-out"
    weights = make_hf.write(folder, name)
    config = make_hf.config_of(family)
    wide = make_hf.save_wide(twin, make_hf.write(twin, name))
    dense = make_hf.forward(config, wide, IDS)

    path = check_written(checks, case, twin, out, config, weights, [])
    if path is None:
        return
    file, wanted = read(path), as_in_gguf(config, wide)
    extras = {"rope_freqs.weight"} if name == "llama3" else set()
    checks.equal(case, "names", set(file.tensors) - extras, set(wanted))
    for key, w in wanted.items():
        checks.equal(case, f"{key}: its values, row by row", file.tensors[key].values().tobytes(), np.ascontiguousarray(w).tobytes())
    if extras:
        head, plain = make_hf.head_of(config), config | {"rope_scaling": None}
        factors = make_hf.frequencies(plain, head) / make_hf.frequencies(config, head)
        found = file.tensors["rope_freqs.weight"].values()
        checks.check(np.allclose(found, factors, rtol=1e-6), case, "rope_freqs.weight", found, factors)
    pairs = expected_pairs(f"{name}-f32", config, 0)
    for key, value in pairs.items():
        checks.equal(case, key, file.value(key), value)
    others = {key for key in file.pairs if not key.startswith("tokenizer.")}
    checks.equal(case, "no other keys", others, set(pairs) | {"spokeshave.recipe"})
    check_tokens(checks, case, twin, file, family)
    checks.equal(case, "the tokenizer's files come along", {p.name for p in out.iterdir()} >= {"config.json", "tokenizer.json"}, True)
    with Network(path) as network:
        difference = np.abs(network.log_probabilities(IDS) - dense).max()
        checks.check(difference < NEAR, case, "log-probabilities of the F32 file", difference, f"numpy's within {NEAR}")
        check_texts(checks, case, twin, network)

    path = check_written(checks, case, folder, out, config, weights, [])
    if path:
        file, wanted = read(path), as_in_gguf(config, weights)
        for key, w in wanted.items():
            kind = "F32" if w.ndim == 1 else {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}[w.dtype.name]
            checks.equal(case, f"{key}: type in its own dtype", file.tensors[key].kind, kind)
            checks.equal(case, f"{key}: bytes in its own dtype", file.tensors[key].rows.tobytes(), stored(kind, w).rows.tobytes())
        first = sha(out)
        for extra in (["--no-mmap"], ["--threads", 1]):
            checks.run(case, "export", folder, "--target", "gguf", "-o", out, "--force", *extra)
            checks.equal(case, f"the same bytes with {extra}", sha(out), first)
    check_quantized(checks, case, twin, out, config, wide, dense)
    if name == "llama3":
        check_spoiled(checks, case, twin, out)


def check_spoiled(checks: Checks, case: str, folder: Path, out: Path) -> None:
    """A changed byte anywhere in a written file is found, and the tensor or key named."""
    checks.run(case, "export", folder, "--target", "gguf", "-o", out, "--force", "--json")
    (path,) = out.glob("*.gguf")
    whole = path.read_bytes()
    for what, at, told in (
        ("a token", whole.index("Ġxyz".encode()) + 2, "tokenizer.ggml.tokens"),
        ("a number", whole.index(b"llama.rope.freq_base") + 24, "llama.rope.freq_base"),
        ("a rotary factor", read(path).offsets["rope_freqs.weight"] + 5, "rope_freqs.weight"),
        ("a weight", read(path).offsets["output_norm.weight"] + 1, "model.norm.weight"),
    ):
        spoiled = bytearray(whole)
        spoiled[at] ^= 1
        path.write_bytes(spoiled)
        run = checks.run(f"{case} spoiled", "verify", folder, out, "--json", code=1)
        named = [t["name"] for t in json.loads(run.stdout or b"{\"tensors\":[]}")["tensors"] if not t["as_planned"]]
        checks.equal(f"{case} spoiled", f"{what} is found", named, [told])
    path.write_bytes(whole)
    checks.run(f"{case} spoiled", "verify", folder, out, "--json")


# Lines, and how far the mean divergence from the dense model may be: what was seen on the worst of the families, twice.
MIXES = {
    "f16": (["*=f16"], 1e-4),
    "q8_0": (["*=q8_0"], 1e-2),
    "q4_k": (["*=q4_k"], 0.6),
    "mixed": (["*self_attn*=q6_k", "*mlp*=q4_k", "*down_proj*=q5_k", "*embed*=q8_0"], 0.3),
}
PARTS = ("embed_tokens", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def rounding(config: dict, file: File):
    """What llama.cpp makes of the input of each matrix before it multiplies: F16 under F16, 8 bits in blocks of 32 or 256 under
    blocks (`vec_dot_type` in ggml-cpu.c).
    """

    def rounded(name: str, x: np.ndarray) -> np.ndarray:
        kind = file.tensors[renamed(config["model_type"], name, config["num_hidden_layers"])].kind
        if kind == "F16":
            return x.astype("f2").astype("f8")
        if kind in ("F32", "BF16"):
            return x
        small = kind in ("Q8_0", "Q5_0", "Q4_0", "IQ4_NL")
        blocks = x.reshape(-1, 32 if small else 256)
        step = np.abs(blocks).max(1, keepdims=True) / 127
        codes = np.round(np.divide(blocks, step, out=np.zeros_like(blocks), where=step > 0))
        return (codes * (step.astype("f2").astype("f8") if small else step)).reshape(x.shape)

    return rounded


def check_quantized(checks: Checks, case: str, folder: Path, out: Path, config: dict, weights: dict, dense: np.ndarray) -> None:
    """Each block is the reference quantizer's of the dense rows; what llama.cpp computes is what numpy computes with the values
    in the file; and the model is still the model."""
    sources = as_in_gguf(config, weights)
    for mix, (lines, loss) in MIXES.items():
        recipe = [word for line in lines for word in ("--set", line)]
        path = check_written(checks, f"{case} {mix}", folder, out, config, weights, recipe)
        if path is None:
            continue
        file = read(path)
        for key, t in file.tensors.items():
            if key in sources and sources[key].ndim > 1:
                asked = {"f16": "F16", "q8_0": "Q8_0", "q4_k": "Q4_K"}.get(mix) or mixed(key)
                checks.equal(f"{case} {mix}", f"{key}: type", t.kind, asked)
                checks.equal(f"{case} {mix}", f"{key}: blocks", t.rows.tobytes(), stored(asked, sources[key]).rows.tobytes())
        _, apart = computed(config, path, file)
        # Where everything is rounded a code that falls the other way in the first block moves all that follow.
        checks.check(apart < 0.03, f"{case} {mix}", "mean divergence of llama.cpp from what the file holds", apart, 0.03)
        with Network(path) as network:
            found = network.log_probabilities(IDS)
        divergence = (np.exp(dense) * (dense - found)).sum(1).mean()
        checks.check(0 <= divergence + 1e-6 < loss, f"{case} {mix}", "mean divergence from the dense model", divergence, loss)


def computed(config: dict, path: Path, file: File) -> tuple[float, float]:
    """How far llama.cpp is from numpy on what a file holds: the largest difference, and the mean divergence."""
    held = make_hf.forward(config, as_in_hf(config, file), IDS, rounding(config, file))
    with Network(path) as network:
        found = network.log_probabilities(IDS)
    return float(np.abs(found - held).max()), float((np.exp(held) * (held - found)).sum(1).mean())


def check_parts(checks: Checks, work: Path) -> None:
    """One kind of matrix after the other quantized: what llama.cpp computes is what numpy does with the values in the file."""
    for name, scheme in (("llama", "q8_0"), ("llama", "q4_k"), ("qwen3", "q6_k"), ("qwen2", "q5_0"), ("mistral", "iq4_nl")):
        case, config = f"parts {name} {scheme}", make_hf.config_of(make_hf.FAMILIES[name])
        folder, out = work / f"{name}-{scheme}", work / f"{name}-{scheme}-out"
        make_hf.save_wide(folder, make_hf.write(folder, name))
        exact = 0
        for part in PARTS:
            recipe = ["--set", f"*{part}*={scheme}", "--target", "gguf", "-o", out, "--force"]
            if checks.run(case, "export", folder, *recipe, "--json").json is None:
                continue
            (path,) = out.glob("*.gguf")
            apart, _ = computed(config, path, read(path))
            exact += apart < NEAR
            # A code that falls the other way, in f32 and in f64, is worth a few hundredths.
            checks.check(apart < 0.06, case, f"log-probabilities with {part} in {scheme}", apart, 0.06)
        checks.check(exact >= 2, case, "some parts to the last digit", exact, "2 at least")


def mixed(key: str) -> str:
    parts = {"attn_": "Q6_K", "ffn_down": "Q5_K", "ffn_": "Q4_K", "token_embd": "Q8_0"}
    return next((kind for part, kind in parts.items() if part in key), "F32")


def check_removed(checks: Checks, work: Path) -> None:
    """Heads and hidden units removed: the key-values follow, and llama.cpp computes what the dense model does with them at 0."""
    for name in ("llama", "llama-biased", "qwen3"):
        case, config = f"removed {name}", make_hf.config_of(make_hf.FAMILIES[name])
        if not checks.wants(case):
            continue
        folder, out = work / name, work / f"{name}-out"
        weights = make_hf.save_wide(folder, make_hf.write(folder, name))
        lines = ["*self_attn*=heads:0.25", "*mlp*=ffn:0.25"]
        path = check_written(checks, case, folder, out, config, weights, [word for line in lines for word in ("--set", line)])
        if path is None:
            continue
        file, head = read(path), make_hf.head_of(config)
        arch = file.value("general.architecture")
        numbers = {"attention.head_count": 2, "attention.head_count_kv": 1, "feed_forward_length": 384, "attention.key_length": head, "rope.dimension_count": head}
        for key, value in numbers.items():
            checks.equal(case, key, file.value(f"{arch}.{key}"), value)
        beside = json.loads((out / "config.json").read_text())
        checks.equal(case, "config.json beside it", (beside["num_attention_heads"], beside["intermediate_size"]), (2, 384))
        smaller = config | {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 384}
        zeroed = dict(weights)
        for key, w in as_in_hf(smaller, file).items():
            if key.endswith(("k_proj.weight", "gate_proj.weight")):
                gone = [i for i, row in enumerate(weights[key]) if not (w == row).all(1).any()]
                checks.equal(case, f"{key}: rows that are gone", len(gone), len(weights[key]) - len(w))
                consumer = key.replace("k_proj", "o_proj").replace("gate_proj", "down_proj")
                zeroed[consumer] = zeroed[consumer].copy()
                zeroed[consumer][:, gone if "gate" in key else grouped(gone, head)] = 0
        wanted = make_hf.forward(config, zeroed, IDS)
        with Network(path) as network:
            difference = np.abs(network.log_probabilities(IDS) - wanted).max()
        checks.check(difference < NEAR, case, "log-probabilities with these units at 0", difference, f"numpy's within {NEAR}")
        # The GGUF file that the whole folder becomes loses the same.
        whole, cut = work / f"{name}-whole", work / f"{name}-cut.gguf"
        checks.run(case, "export", folder, "--target", "gguf", "-o", whole, "--force")
        (source,) = whole.glob("*.gguf")
        lines = ["--set", "*attn*=heads:0.25", "--set", "*ffn*=ffn:0.25"]
        if checks.run(case, "export", source, *lines, "-o", cut, "--force", "--json").json is not None:
            found = read(cut)
            rows = lambda f: {key: (t.kind, t.rows.tobytes()) for key, t in f.tensors.items()}  # noqa: E731
            checks.equal(case, "tensors of a GGUF file that lost the same", rows(found) == rows(file), True)
            for key, value in numbers.items():
                checks.equal(case, f"{key} of that file", found.value(f"{arch}.{key}"), value)
            with Network(cut) as network:
                difference = np.abs(network.log_probabilities(IDS) - wanted).max()
            checks.check(difference < NEAR, case, "log-probabilities of that file", difference, f"numpy's within {NEAR}")
        for scheme in ("q8_0", "q4_0"):
            both = ["--set", f"*self_attn*=heads:0.25+{scheme}", "--set", f"*mlp*=ffn:0.25+{scheme}"]
            path = check_written(checks, f"{case} {scheme}", folder, out, config, weights, both)
            if path:
                cut = as_in_gguf(smaller, as_in_hf(smaller, file))
                for key, t in read(path).tensors.items():
                    if t.kind == scheme.upper():
                        checks.equal(f"{case} {scheme}", f"{key}: blocks", t.rows.tobytes(), stored(t.kind, cut[key]).rows.tobytes())


def check_heads_of_qwen2(checks: Checks, work: Path) -> None:
    """llama.cpp's qwen2 has no size of a head of its own, so heads are zeroed and stay, and it loads the file."""
    case = "heads of qwen2"
    name = next(name for name, family in make_hf.FAMILIES.items() if family.kind == "qwen2")
    if not checks.wants(case):
        return
    folder, out = work / name, work / f"{name}-heads"
    make_hf.save_wide(folder, make_hf.write(folder, name))
    lines = ["--target", "gguf", "--set", "*self_attn*=heads:0.5", "-o", out, "--force", "--json"]
    if checks.run(case, "export", folder, *lines).json is None:
        return
    (path,) = out.glob("*.gguf")
    config = make_hf.config_of(make_hf.FAMILIES[name])
    wanted = make_hf.forward(config, as_in_hf(config, read(path)), IDS)
    with Network(path) as network:
        difference = np.abs(network.log_probabilities(IDS) - wanted).max()
    checks.check(difference < NEAR, case, "log-probabilities with half of the heads at 0", difference, f"numpy's within {NEAR}")


def grouped(gone: list[int], head: int) -> list[int]:
    """Columns of o_proj that belong to the queries of removed key-value heads, two to each."""
    return sorted({(2 * (i // head) + q) * head + j for i in gone for q in range(2) for j in range(head)})


def check_not_converted(checks: Checks, work: Path) -> None:
    """What is not converted is refused with its reason and the road that works, and nothing is written."""
    case, folder = "not-converted", work / "folder"
    make_hf.write(folder, "llama", model_type="gemma3")
    run = checks.run(case, "export", folder, "--target", "gguf", "-o", work / "out", "--json", code=1)
    told = '"gemma3"' in run.stderr and "convert_hf_to_gguf.py" in run.stderr
    checks.check(told, case, "another family", run.stderr)
    run = checks.run(case, "export", folder / "model.safetensors", "--target", "gguf", "-o", work / "x.gguf", "--json", code=1)
    checks.check("give the folder" in run.stderr, case, "a single file", run.stderr)
    run = checks.run(case, "export", "demo", "--target", "gguf", "-o", work / "x.gguf", "--json", code=1)
    checks.check("GGUF" in run.stderr, case, "a demo", run.stderr)
    checks.equal(case, "nothing is written", sorted(p.name for p in work.iterdir()), ["folder"])
    for line, told in (("*=int4", scheme_of("Q4_K")), ("*=prune:0.5+q4_k", "q4_0")):
        make_hf.write(folder, "llama")
        run = checks.run(case, "estimate", folder, "--target", "gguf", "--set", line, "--json", code=1)
        checks.check(told in run.stderr, case, f"{line} names what is held", run.stderr, told)


JOBS = {f"models {name}": lambda checks, work, name=name: check_family(checks, work, name) for name in make_hf.FAMILIES}
JOBS |= {"parts": check_parts, "removed": check_removed, "heads-of-qwen2": check_heads_of_qwen2, "not-converted": check_not_converted}
