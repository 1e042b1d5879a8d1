//! What a tensor does, read from its name and shape: the rules that decide which tensors a pattern may touch.
//!
//! Names are split at dots, and each part into lower-case words at underscores, digits and case changes. The rules are
//! tried in the order of [`role_of`]; the first that holds wins. They cover Hugging Face transformers, BERT, GGUF, torch
//! convolutional nets and recurrent gates; anything else is [`Role::Other`].

macro_rules! roles {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// The part a tensor plays.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each variant is its own name")]
        pub enum Role { $($variant),* }

        impl Role {
            /// Every role.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in reports and in the window.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

roles! {
    AttentionQ "attention_q", AttentionK "attention_k", AttentionV "attention_v", AttentionO "attention_o",
    AttentionQkv "attention_qkv", FfnUp "ffn_up", FfnGate "ffn_gate", FfnDown "ffn_down",
    Embedding "embedding", Head "head", Conv "conv", Recurrent "recurrent",
    Norm "norm", Bias "bias", Position "position", Statistic "statistic", Basis "basis", Other "other",
}

impl Role {
    /// Whether tensors of this role are weights that patterns touch.
    #[must_use]
    pub const fn is_weight(self) -> bool {
        !matches!(self, Self::Norm | Self::Bias | Self::Position | Self::Statistic | Self::Basis)
    }

    /// Whether it belongs to attention.
    #[must_use]
    pub const fn is_attention(self) -> bool {
        matches!(self, Self::AttentionQ | Self::AttentionK | Self::AttentionV | Self::AttentionO | Self::AttentionQkv)
    }

    /// Whether it belongs to a feed-forward block.
    #[must_use]
    pub const fn is_ffn(self) -> bool {
        matches!(self, Self::FfnUp | Self::FfnGate | Self::FfnDown)
    }
}

/// The lower-case words of one part of a name: `LayerNorm` and `layer_norm` are both `layer norm`, `bn1` is `bn`.
fn words(part: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut last = ' ';
    for c in part.chars() {
        if c.is_alphabetic() {
            let starts = !last.is_alphabetic() || (c.is_uppercase() && last.is_lowercase());
            if starts {
                out.push(String::new());
            }
            if let Some(word) = out.last_mut() {
                word.extend(c.to_lowercase());
            }
        }
        last = c;
    }
    out
}

/// A name taken apart once, so that the rules read like sentences.
struct Name {
    parts: Vec<String>,
    words: Vec<Vec<String>>,
}

impl Name {
    fn new(name: &str) -> Self {
        let parts: Vec<String> = name.split('.').map(str::to_lowercase).collect();
        Self { words: name.split('.').map(words).collect(), parts }
    }

    fn last(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }

    /// Whether any part is exactly one of these.
    fn part(&self, any: &[&str]) -> bool {
        self.parts.iter().any(|p| any.contains(&p.as_str()))
    }

    /// Whether any part contains one of these words.
    fn word(&self, any: &[&str]) -> bool {
        self.words.iter().flatten().any(|w| any.contains(&w.as_str()))
    }

    /// Whether any part contains this text.
    fn contains(&self, any: &[&str]) -> bool {
        self.parts.iter().any(|p| any.iter().any(|text| p.contains(text)))
    }

    /// Whether `inner` comes directly after a part that contains `outer`.
    fn within(&self, outer: &[&str], inner: &[&str]) -> bool {
        self.parts
            .windows(2)
            .any(|w| matches!(w, [a, b] if outer.iter().any(|o| a.contains(o)) && inner.contains(&b.as_str())))
    }
}

/// The role of a tensor, from its name, its shape, and whether running statistics stand beside it (then it is the
/// weight of a batch norm, whatever its name).
#[must_use]
pub fn role_of(name: &str, shape: &[usize], beside_statistics: bool) -> Role {
    let n = Name::new(name);
    // A projection is one whatever stands in the names around it (`rotary_attn.q_proj`, `layernorm_qkv`).
    let projection =
        if shape.len() >= 2 && n.last() == "weight" { attention_role(&n).or_else(|| ffn_role(&n)) } else { None };
    if let Some(role) = projection.or_else(|| buffer_role(&n, shape, beside_statistics)) {
        return role;
    }
    if shape.len() < 2 {
        return Role::Other;
    }
    if n.last().starts_with("weight_ih") || n.last().starts_with("weight_hh") || n.word(&["lstm", "gru", "rnn"]) {
        return Role::Recurrent;
    }
    if let Some(role) = attention_role(&n) {
        return role;
    }
    if let Some(role) = ffn_role(&n) {
        return role;
    }
    if shape.len() >= 3 && (matches!(n.last(), "weight" | "kernel") || n.contains(&["conv"])) {
        return Role::Conv;
    }
    match () {
        () if n.part(&["wte", "shared", "token_embd", "token_types"])
            || n.word(&["embed", "embedding", "embeddings", "embeds"]) =>
        {
            Role::Embedding
        }
        () if n.part(&["lm_head", "classifier", "head", "score", "qa_outputs", "fc_out", "logits", "embed_out"])
            || name == "output.weight"
            || n.word(&["head"]) =>
        {
            Role::Head
        }
        () if n.word(&["conv"]) => Role::Conv,
        () => Role::Other,
    }
}

/// Roles that no pattern touches: statistics, bases, positions, norms and biases.
fn buffer_role(n: &Name, shape: &[usize], beside_statistics: bool) -> Option<Role> {
    let last = n.last();
    if matches!(last, "running_mean" | "running_var" | "num_batches_tracked") {
        return Some(Role::Statistic);
    }
    if n.word(&["basis", "filterbank", "stft", "window"]) || n.contains(&["mel_filter", "mel_fb", "mel_basis"]) {
        return Some(Role::Basis);
    }
    let position = [
        "position_embed",
        "pos_embed",
        "position_ids",
        "embed_positions",
        "positional",
        "relative_attention_bias",
        "relative_position",
        "inv_freq",
        "rotary",
        "pos_emb",
        "position_enc",
        "position_embd",
        "rope_freqs",
        "rope_factors",
    ];
    if n.part(&["wpe"]) || n.contains(&position) {
        return Some(Role::Position);
    }
    if last == "bias" || last.starts_with("bias_") || last.ends_with("_bias") {
        return Some(Role::Bias);
    }
    let joined = ["layernorm", "rmsnorm", "batchnorm", "groupnorm", "instancenorm"];
    let norm = n.word(&["norm", "norms", "ln", "bn", "gn", "rmsnorm"]) || n.contains(&joined);
    if (norm && shape.len() < 2) || beside_statistics || matches!(last, "gamma" | "beta") {
        return Some(Role::Norm);
    }
    // A norm with a matrix inside (an adaptive norm's projection) is still a norm unless a linear part is named.
    (norm && !n.word(&["linear", "proj", "dense", "fc"])).then_some(Role::Norm)
}

fn attention_role(n: &Name) -> Option<Role> {
    let inside = n.word(&["attn", "attention", "self", "mha", "attentions"]) || n.contains(&["attn", "attention"]);
    // Some feed-forward blocks call their matrices key and value.
    if n.part(&["ffn", "feed_forward", "mlp"]) {
        return None;
    }
    match () {
        () if n.contains(&["qkv"]) => Some(Role::AttentionQkv),
        () if n.part(&["q_proj", "query", "wq", "q_lin", "to_q", "attn_q"]) => Some(Role::AttentionQ),
        () if n.part(&["k_proj", "key", "wk", "k_lin", "to_k", "attn_k"]) => Some(Role::AttentionK),
        () if n.part(&["v_proj", "value", "wv", "v_lin", "to_v", "attn_v"]) => Some(Role::AttentionV),
        () if n.part(&["qkv", "c_attn", "query_key_value", "qkv_proj", "wqkv", "in_proj_weight", "attn_qkv"]) => {
            Some(Role::AttentionQkv)
        }
        () if n.part(&["o_proj", "out_lin", "to_out", "attn_output"])
            || (inside && n.part(&["out_proj", "c_proj", "wo", "out", "proj"]))
            || n.within(&["attention"], &["wo", "dense"])
            || (n.part(&["attention"]) && n.within(&["output"], &["dense"])) =>
        {
            Some(Role::AttentionO)
        }
        () if inside && n.part(&["q"]) => Some(Role::AttentionQ),
        () if inside && n.part(&["k"]) => Some(Role::AttentionK),
        () if inside && n.part(&["v"]) => Some(Role::AttentionV),
        () if inside && n.part(&["o"]) => Some(Role::AttentionO),
        () => None,
    }
}

fn ffn_role(n: &Name) -> Option<Role> {
    let inside =
        n.word(&["mlp", "ffn", "ff", "feedforward", "dense"]) || n.contains(&["feed_forward", "layers", "ffn"]);
    match () {
        () if n.part(&["gate_proj", "wi_0", "ffn_gate", "ffn_gate_exps", "ffn_gate_shexp"]) => Some(Role::FfnGate),
        () if n.part(&[
            "up_proj",
            "wi",
            "wi_1",
            "c_fc",
            "gate_up_proj",
            "ffn_up",
            "ffn_up_exps",
            "ffn_up_shexp",
            "dense_h_to_4h",
        ]) =>
        {
            Some(Role::FfnUp)
        }
        () if n.part(&["down_proj", "ffn_down", "ffn_down_exps", "ffn_down_shexp", "dense_4h_to_h"]) => {
            Some(Role::FfnDown)
        }
        () if n.within(&["intermediate"], &["dense"]) => Some(Role::FfnUp),
        () if n.within(&["output"], &["dense"]) => Some(Role::FfnDown),
        () if n.part(&["mlp"]) && n.part(&["c_proj"]) => Some(Role::FfnDown),
        () if inside && n.part(&["w1"]) => Some(Role::FfnGate),
        () if inside && n.part(&["w3", "fc1", "lin1", "linear1"]) => Some(Role::FfnUp),
        () if inside && n.part(&["w2", "fc2", "lin2", "linear2", "wo"]) => Some(Role::FfnDown),
        () => None,
    }
}

/// The module path: the name without its last part; a name without dots is its own layer.
#[must_use]
pub fn layer_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(path, _)| path)
}

/// The number of the block a tensor belongs to: the first part that is all digits.
#[must_use]
pub fn block_of(name: &str) -> Option<u32> {
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    name.split('.').find(digits).and_then(|part| part.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_have_their_roles() {
        let m = &[4, 4][..];
        for (name, shape, role) in [
            ("model.embed_tokens.weight", m, Role::Embedding),
            ("lm_head.weight", m, Role::Head),
            ("model.layers.3.self_attn.q_proj.weight", m, Role::AttentionQ),
            ("model.layers.3.self_attn.o_proj.weight", m, Role::AttentionO),
            ("model.layers.3.self_attn.q_norm.weight", &[4], Role::Norm),
            ("model.layers.3.mlp.gate_proj.weight", m, Role::FfnGate),
            ("model.layers.3.mlp.up_proj.weight", m, Role::FfnUp),
            ("model.layers.3.mlp.down_proj.weight", m, Role::FfnDown),
            ("model.layers.3.input_layernorm.weight", &[4], Role::Norm),
            ("model.norm.weight", &[4], Role::Norm),
            ("bert.embeddings.word_embeddings.weight", m, Role::Embedding),
            ("bert.embeddings.position_embeddings.weight", m, Role::Position),
            ("bert.embeddings.token_type_embeddings.weight", m, Role::Embedding),
            ("bert.embeddings.LayerNorm.gamma", &[4], Role::Norm),
            ("bert.embeddings.position_ids", &[1, 4], Role::Position),
            ("bert.encoder.layer.0.attention.self.query.weight", m, Role::AttentionQ),
            ("bert.encoder.layer.0.attention.self.value.bias", &[4], Role::Bias),
            ("bert.encoder.layer.0.attention.output.dense.weight", m, Role::AttentionO),
            ("bert.encoder.layer.0.attention.output.LayerNorm.weight", &[4], Role::Norm),
            ("bert.encoder.layer.0.intermediate.dense.weight", m, Role::FfnUp),
            ("bert.encoder.layer.0.output.dense.weight", m, Role::FfnDown),
            ("classifier.weight", m, Role::Head),
            ("transformer.h.0.attn.c_attn.weight", m, Role::AttentionQkv),
            ("transformer.h.0.attn.c_proj.weight", m, Role::AttentionO),
            ("transformer.h.0.mlp.c_fc.weight", m, Role::FfnUp),
            ("transformer.h.0.mlp.c_proj.weight", m, Role::FfnDown),
            ("transformer.h.0.ln_1.weight", &[4], Role::Norm),
            ("transformer.wpe.weight", m, Role::Position),
            ("layers.0.feed_forward.w2.weight", m, Role::FfnDown),
            ("features.0.weight", &[8, 3, 3, 3], Role::Conv),
            ("layer1.0.bn1.weight", &[4], Role::Norm),
            ("layer1.0.bn1.running_mean", &[4], Role::Statistic),
            ("layer1.0.bn1.num_batches_tracked", &[], Role::Statistic),
            ("lstm.weight_ih_l0", m, Role::Recurrent),
            ("lstm_cell.weight_hh", m, Role::Recurrent),
            ("lstm.bias_hh_l0_reverse", &[4], Role::Bias),
            ("stft.forward_basis_buffer", &[258, 1, 256], Role::Basis),
            ("rotary_emb.inv_freq", &[4], Role::Position),
            ("fc1.weight", m, Role::Other),
            ("model.layers.0.mlp.experts.gate_up_proj", &[4, 8, 16], Role::FfnUp),
            ("model.layers.0.mlp.experts.down_proj", &[4, 16, 8], Role::FfnDown),
            ("vit.cls_token", &[1, 1, 8], Role::Other),
            ("layers.0.self_attention.layernorm_qkv.weight", m, Role::AttentionQkv),
            ("encoder.rotary_attn.q_proj.weight", m, Role::AttentionQ),
            ("blocks.0.window_attn.qkv.weight", m, Role::AttentionQkv),
            ("blocks.0.ffn.key.weight", m, Role::Other),
            ("norm1.weight", &[8, 1, 1], Role::Norm),
            ("conv1.kernel", &[3, 3, 8, 8], Role::Conv),
            ("token_embd.weight", m, Role::Embedding),
            ("token_embd_norm.weight", &[4], Role::Norm),
            ("token_types.weight", m, Role::Embedding),
            ("position_embd.weight", m, Role::Position),
            ("rope_freqs.weight", &[4], Role::Position),
            ("output_norm.weight", &[4], Role::Norm),
            ("output.weight", m, Role::Head),
            ("blk.0.attn_q.weight", m, Role::AttentionQ),
            ("blk.0.attn_k.bias", &[4], Role::Bias),
            ("blk.0.attn_k_norm.weight", &[4], Role::Norm),
            ("blk.0.attn_output.weight", m, Role::AttentionO),
            ("blk.0.attn_qkv.weight", m, Role::AttentionQkv),
            ("blk.0.ffn_norm.weight", &[4], Role::Norm),
            ("blk.0.ffn_gate_inp.weight", m, Role::Other),
            ("blk.0.ffn_gate_exps.weight", &[8, 4, 4], Role::FfnGate),
            ("blk.0.ffn_up_exps.weight", &[8, 4, 4], Role::FfnUp),
            ("blk.0.ffn_down.weight", m, Role::FfnDown),
            ("W", m, Role::Other),
            ("Σ.вес", m, Role::Other),
            ("", &[], Role::Other),
        ] {
            assert_eq!(role_of(name, shape, false), role, "{name}");
        }
        assert_eq!(role_of("features.1.weight", &[4], true), Role::Norm);
    }

    #[test]
    fn layers_and_blocks() {
        assert_eq!(layer_of("model.layers.3.mlp.up_proj.weight"), "model.layers.3.mlp.up_proj");
        assert_eq!(layer_of("W"), "W");
        assert_eq!(block_of("model.layers.31.mlp.up_proj.weight"), Some(31));
        assert_eq!(block_of("fc1.weight"), None);
        assert_eq!(block_of("a.99999999999999.b"), None);
    }
}
