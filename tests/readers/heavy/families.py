"""Small networks of many families through transformers: quantized where it may be, loaded again, and run beside the same values dense.

    python families.py --binary target/release/spokeshave [--only SUBSTRING]

What is removed from them is loaded again, too: heads, and hidden units.

What they are here for: heads without a weight of their own, layers that are called otherwise than in the files, routers, experts, and
layers whose numbers are read past them. Each must load without a missing or unexpected tensor. The last line is `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ |= {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}
sys.path[:0] = [str(HERE.parent)]

import torch  # noqa: E402
import transformers  # noqa: E402
from harness import Checks  # noqa: E402

BASE = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128}
HEADS = {"num_key_value_heads": 2}
SEQ = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
       "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "vocab_size": 64}  # fmt: skip
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
# Class, config, its numbers.
FAMILIES = [
    ("AlbertModel", "AlbertConfig", {**BASE, "embedding_size": 64}),
    ("ElectraModel", "ElectraConfig", {**BASE, "embedding_size": 32}),
    ("BertForMaskedLM", "BertConfig", BASE),
    ("BertForSequenceClassification", "BertConfig", BASE),
    ("RobertaForMaskedLM", "RobertaConfig", BASE),
    ("DebertaV2ForMaskedLM", "DebertaV2Config", {**BASE, "relative_attention": False}),
    ("DistilBertForMaskedLM", "DistilBertConfig", {"vocab_size": 64, "dim": 64, "n_layers": 1, "n_heads": 2, "hidden_dim": 128}),
    ("WhisperForConditionalGeneration", "WhisperConfig", {**SEQ, **TOKENS, "num_mel_bins": 16, "max_source_positions": 16}),
    ("BartForConditionalGeneration", "BartConfig", {**SEQ, **TOKENS, "forced_eos_token_id": 2}),
    ("T5ForConditionalGeneration", "T5Config", {"vocab_size": 64, "d_model": 64, "d_kv": 32, "d_ff": 128, "num_layers": 1,
                                                "num_heads": 2, "decoder_start_token_id": 0}),
    ("ViTForImageClassification", "ViTConfig", {**BASE, "image_size": 32, "patch_size": 8}),
    ("Gemma2ForCausalLM", "Gemma2Config", {**BASE, **HEADS, "head_dim": 32}),
    ("Phi3ForCausalLM", "Phi3Config", {**BASE, **HEADS, "pad_token_id": 0}),
    ("MixtralForCausalLM", "MixtralConfig", {**BASE, **HEADS, "num_local_experts": 4}),
    ("Qwen2MoeForCausalLM", "Qwen2MoeConfig", {**BASE, **HEADS, **EXPERTS, "shared_expert_intermediate_size": 64}),
    ("Qwen3MoeForCausalLM", "Qwen3MoeConfig", {**BASE, **HEADS, **EXPERTS, "head_dim": 32}),
    ("DeepseekV3ForCausalLM", "DeepseekV3Config", {**BASE, **HEADS, "moe_intermediate_size": 64, "n_routed_experts": 4,
        "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 0, "kv_lora_rank": 32, "q_lora_rank": 32,
        "qk_rope_head_dim": 32, "v_head_dim": 32, "qk_nope_head_dim": 32}),
    ("Mamba2ForCausalLM", "Mamba2Config", {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 1, "num_heads": 4,
                                           "head_dim": 32, "state_size": 16, "n_groups": 1, "expand": 2}),
    ("PhimoeForCausalLM", "PhimoeConfig", {**BASE, **HEADS, "num_local_experts": 4, "pad_token_id": 0}),
    ("Glm4MoeForCausalLM", "Glm4MoeConfig", {**BASE, **HEADS, "head_dim": 32, "n_routed_experts": 4, "moe_intermediate_size": 64,
        "num_experts_per_tok": 2, "first_k_dense_replace": 0, "n_group": 1, "topk_group": 1, "n_shared_experts": 2}),
    ("Ernie4_5_MoeForCausalLM", "Ernie4_5_MoeConfig", {**BASE, **HEADS, "moe_num_experts": 4, "moe_intermediate_size": 64, "moe_k": 2,
        "moe_num_shared_experts": 1, "moe_layer_start_index": 0, "pad_token_id": 0}),
    ("Llama4ForCausalLM", "Llama4TextConfig", {**BASE, **HEADS, "head_dim": 32, "num_local_experts": 4, "intermediate_size_mlp": 128,
        "pad_token_id": 0}),
    ("RecurrentGemmaForCausalLM", "RecurrentGemmaConfig", {**BASE, **HEADS, "num_hidden_layers": 3, "lru_width": 64, "pad_token_id": 0}),
    ("ModernBertForMaskedLM", "ModernBertConfig", {**BASE, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
        "sep_token_id": 2}),
    ("HeliumForCausalLM", "HeliumConfig", {**BASE, **HEADS, "head_dim": 32, "pad_token_id": 0}),
    ("DiffLlamaForCausalLM", "DiffLlamaConfig", {**BASE, "num_attention_heads": 4, "num_key_value_heads": 4}),
    ("Lfm2ForCausalLM", "Lfm2Config", {**BASE, **HEADS, "layer_types": ["full_attention"], "pad_token_id": 0}),
    ("FalconForCausalLM", "FalconConfig", {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}),
]  # fmt: skip


def answer(name: str, model) -> torch.Tensor:
    ids = torch.arange(4, 12)[None]
    words = {"input_ids": ids}
    if name.startswith("ViT"):
        words = {"pixel_values": torch.sin(torch.arange(3 * 32 * 32.0)).reshape(1, 3, 32, 32)}
    elif name.startswith("Whisper"):
        words = {"input_features": torch.sin(torch.arange(16 * 32.0)).reshape(1, 16, 32), "decoder_input_ids": ids}
    elif name.startswith(("Bart", "T5")):
        words["decoder_input_ids"] = ids
    with torch.no_grad():
        out = model.eval()(**words)
    return (out.logits if hasattr(out, "logits") else out.last_hidden_state).double()


def loaded(checks: Checks, name: str, cls, folder: Path) -> torch.Tensor:
    """What the network in a folder answers, with nothing missing in it and nothing that is not expected."""
    read, info = cls.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    told = {key: sorted(map(str, value)) for key, value in info.items() if value and key != "error_msgs"}
    checks.equal(name, f"{folder.name}: what transformers misses or does not expect", told, {})
    return answer(name, read)


def check(checks: Checks, family, work: Path) -> None:
    name, config, numbers = family
    cls = getattr(transformers, name)
    torch.manual_seed(0)
    model, out, dense = (work / part for part in ("model", "out", "dense"))
    cls(getattr(transformers, config)(**numbers)).save_pretrained(model)
    checks.run(name, "export", model, "--set=*=int8:g32", "--nearest", "--target", "compressed-tensors", "-o", out)
    checks.run(name, "verify", model, out)
    checks.run(name, "export", out, "--target", "safetensors", "-o", dense)
    answers = [loaded(checks, name, cls, folder) for folder in (out, dense)]
    for units in ("heads:0.5", "ffn:0.25"):
        removed = work / units.partition(":")[0]
        # Where a family has none of them that are known, that is said.
        ran = checks.run(name, "export", model, f"--set=*={units}", "--target", "safetensors", "-o", removed, code=None)
        if ran.code == 0:
            loaded(checks, name, cls, removed)
        else:
            checks.check("left" in ran.stderr or "no part" in ran.stderr or "not known" in ran.stderr, name, f"why there are no {units}", ran.stderr, "the reason")
    off = float((answers[0] - answers[1]).norm() / answers[1].norm())
    checks.check(off <= 1e-4, name, "answers as the same values dense do", off, "at most 1e-4")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--only", help="only the families whose class contains this")
    args = parser.parse_args()
    checks = Checks(args.binary, args.only)
    for family in FAMILIES:
        if not checks.wants(family[0]):
            continue
        with tempfile.TemporaryDirectory(prefix="spokeshave-families-") as folder:
            try:
                check(checks, family, Path(folder))
            except Exception as error:  # noqa: BLE001  (whatever a reader trips over is the finding)
                checks.check(False, family[0], "the check itself ran to its end", repr(error), "no exception")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
