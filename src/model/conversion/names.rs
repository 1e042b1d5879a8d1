//! Hugging Face's tensor names and llama.cpp's (`gguf-py/gguf/tensor_mapping.py`), with the shape that each tensor must have.
//!
//! llama.cpp refuses a file that lacks a tensor, has one too many, or one of another shape (`llama_model::load_tensors`), so the
//! table says for each family what there must be and what there may be.

use super::Architecture::{self, Llama, Qwen2, Qwen3};

/// A dimension, by what makes it so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Rows of the embedding.
    Tokens,
    /// The width of the residual stream.
    Hidden,
    /// Hidden units of the feed-forward part.
    Inner,
    /// All heads.
    Queries,
    /// All key-value heads.
    Keys,
    /// One head.
    Head,
}

use Length::{Head, Hidden, Inner, Keys, Queries, Tokens};

/// One kind of tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Hugging Face's name, within a block or behind `model.`.
    pub name: &'static str,
    /// llama.cpp's name, within a block or whole.
    pub in_gguf: &'static str,
    /// Dimensions, outermost first.
    pub shape: &'static [Length],
    /// Families that must have it.
    pub needed: &'static [Architecture],
    /// Families that may have it.
    pub allowed: &'static [Architecture],
}

const fn part(
    name: &'static str,
    in_gguf: &'static str,
    shape: &'static [Length],
    needed: &'static [Architecture],
    allowed: &'static [Architecture],
) -> Part {
    Part { name, in_gguf, shape, needed, allowed }
}

const ALL: &[Architecture] = &[Llama, Qwen2, Qwen3];
const NONE: &[Architecture] = &[];

/// Tensors that stand once.
pub(super) static WHOLE: [Part; 3] = [
    part("embed_tokens.weight", "token_embd.weight", &[Tokens, Hidden], ALL, NONE),
    part("norm.weight", "output_norm.weight", &[Hidden], ALL, NONE),
    part("lm_head.weight", "output.weight", &[Tokens, Hidden], NONE, ALL),
];

/// Tensors of every block.
pub(super) static OF_BLOCK: [Part; 18] = [
    part("input_layernorm.weight", "attn_norm.weight", &[Hidden], ALL, NONE),
    part("post_attention_layernorm.weight", "ffn_norm.weight", &[Hidden], ALL, NONE),
    part("self_attn.q_proj.weight", "attn_q.weight", &[Queries, Hidden], ALL, NONE),
    part("self_attn.k_proj.weight", "attn_k.weight", &[Keys, Hidden], ALL, NONE),
    part("self_attn.v_proj.weight", "attn_v.weight", &[Keys, Hidden], ALL, NONE),
    part("self_attn.o_proj.weight", "attn_output.weight", &[Hidden, Queries], ALL, NONE),
    part("self_attn.q_proj.bias", "attn_q.bias", &[Queries], &[Qwen2], &[Llama]),
    part("self_attn.k_proj.bias", "attn_k.bias", &[Keys], &[Qwen2], &[Llama]),
    part("self_attn.v_proj.bias", "attn_v.bias", &[Keys], &[Qwen2], &[Llama]),
    part("self_attn.o_proj.bias", "attn_output.bias", &[Hidden], NONE, &[Llama]),
    part("self_attn.q_norm.weight", "attn_q_norm.weight", &[Head], &[Qwen3], NONE),
    part("self_attn.k_norm.weight", "attn_k_norm.weight", &[Head], &[Qwen3], NONE),
    part("mlp.gate_proj.weight", "ffn_gate.weight", &[Inner, Hidden], ALL, NONE),
    part("mlp.up_proj.weight", "ffn_up.weight", &[Inner, Hidden], ALL, NONE),
    part("mlp.down_proj.weight", "ffn_down.weight", &[Hidden, Inner], ALL, NONE),
    part("mlp.gate_proj.bias", "ffn_gate.bias", &[Inner], NONE, &[Llama]),
    part("mlp.up_proj.bias", "ffn_up.bias", &[Inner], NONE, &[Llama]),
    part("mlp.down_proj.bias", "ffn_down.bias", &[Hidden], NONE, &[Llama]),
];

/// What a tensor is to llama.cpp.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Its row of the table.
    pub part: &'static Part,
    /// Its block, for what stands in blocks.
    pub block: Option<u32>,
}

impl Known {
    /// Its name in a GGUF file.
    pub(super) fn name(self) -> String {
        self.block.map_or_else(|| self.part.in_gguf.to_owned(), |block| format!("blk.{block}.{}", self.part.in_gguf))
    }
}

/// Whether a tensor is one of the buffers that checkpoints once had and llama.cpp computes itself: its converter passes them by
/// (`prepare_tensors` in `convert_hf_to_gguf.py`).
pub(super) fn is_computed(name: &str) -> bool {
    [".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias"].iter().any(|end| name.ends_with(end))
}

/// What a tensor of this name is; `None` for what is not known, or not part of this family.
pub(super) fn of(name: &str, architecture: Architecture) -> Option<Known> {
    let inner = name.strip_prefix("model.").unwrap_or(name);
    let fits = |part: &&Part| part.needed.contains(&architecture) || part.allowed.contains(&architecture);
    if let Some(part) = WHOLE.iter().filter(fits).find(|part| part.name == inner) {
        return Some(Known { part, block: None });
    }
    let (block, rest) = inner.strip_prefix("layers.")?.split_once('.')?;
    let number = block.parse().ok().filter(|number: &u32| number.to_string() == block)?;
    let part = OF_BLOCK.iter().filter(fits).find(|part| part.name == rest)?;
    Some(Known { part, block: Some(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_table() {
        let of = |name: &str, architecture| of(name, architecture).map(Known::name);
        for (architecture, name, wanted) in [
            (Llama, "model.embed_tokens.weight", "token_embd.weight"),
            (Llama, "model.norm.weight", "output_norm.weight"),
            (Qwen2, "lm_head.weight", "output.weight"),
            (Qwen2, "model.layers.11.self_attn.q_proj.bias", "blk.11.attn_q.bias"),
            (Qwen3, "model.layers.0.self_attn.k_norm.weight", "blk.0.attn_k_norm.weight"),
            (Llama, "layers.3.mlp.down_proj.weight", "blk.3.ffn_down.weight"),
            (Llama, "model.layers.3.post_attention_layernorm.weight", "blk.3.ffn_norm.weight"),
        ] {
            assert_eq!(of(name, architecture).as_deref(), Some(wanted), "{name}");
        }
        for unknown in [
            "model.layers.x.mlp.up_proj.weight",
            "model.layers.01.mlp.up_proj.weight",
            "model.layers.4294967296.mlp.up_proj.weight",
            "model.layers.0.mlp.experts.0.w1.weight",
            "model.layers.0.self_attn.k_norm.weight",
            "W",
            "",
        ] {
            assert_eq!(of(unknown, Llama), None, "{unknown}");
        }
        assert_eq!(of("model.layers.0.self_attn.o_proj.bias", Qwen2), None);
    }
}
