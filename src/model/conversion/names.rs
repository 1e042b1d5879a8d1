//! Hugging Face's tensor names and llama.cpp's (`gguf-py/gguf/tensor_mapping.py`).

/// The name in a GGUF file; `None` for what is not known.
pub(super) fn of(name: &str) -> Option<String> {
    let inner = name.strip_prefix("model.").unwrap_or(name);
    let whole = match inner {
        "embed_tokens.weight" => "token_embd.weight",
        "norm.weight" => "output_norm.weight",
        "lm_head.weight" => "output.weight",
        _ => return of_block(inner),
    };
    Some(whole.to_owned())
}

fn of_block(name: &str) -> Option<String> {
    let (block, rest) = name.strip_prefix("layers.")?.split_once('.')?;
    if block.is_empty() || !block.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (part, end) = rest.rsplit_once('.')?;
    let part = match part {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" => "ffn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    matches!(end, "weight" | "bias").then(|| format!("blk.{block}.{part}.{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_table() {
        for (name, wanted) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.norm.weight", "output_norm.weight"),
            ("lm_head.weight", "output.weight"),
            ("model.layers.11.self_attn.q_proj.bias", "blk.11.attn_q.bias"),
            ("model.layers.0.self_attn.k_norm.weight", "blk.0.attn_k_norm.weight"),
            ("layers.3.mlp.down_proj.weight", "blk.3.ffn_down.weight"),
            ("model.layers.3.post_attention_layernorm.weight", "blk.3.ffn_norm.weight"),
        ] {
            assert_eq!(of(name).as_deref(), Some(wanted), "{name}");
        }
        for unknown in ["model.layers.x.mlp.up_proj.weight", "model.layers.0.mlp.experts.0.w1.weight", "W", ""] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }
}
