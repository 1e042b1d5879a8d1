"""Small networks of many families through transformers: quantized where it may be, loaded again, and run beside the same values dense.

    python families.py --binary target/release/spokeshave [--only SUBSTRING]

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


def check(checks: Checks, family, work: Path) -> None:
    name, config, numbers = family
    cls = getattr(transformers, name)
    torch.manual_seed(0)
    model, out, dense = (work / part for part in ("model", "out", "dense"))
    cls(getattr(transformers, config)(**numbers)).save_pretrained(model)
    checks.run(name, "export", model, "--set=*=int8:g32", "--nearest", "--target", "compressed-tensors", "-o", out)
    checks.run(name, "verify", model, out)
    checks.run(name, "export", out, "--target", "safetensors", "-o", dense)
    answers = []
    for folder in (out, dense):
        read, info = cls.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        told = {key: sorted(map(str, value)) for key, value in info.items() if value and key != "error_msgs"}
        checks.equal(name, f"{folder.name}: what transformers misses or does not expect", told, {})
        answers.append(answer(name, read))
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
