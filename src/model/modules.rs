//! What programs that run a network make of its tensors: which are weights of linear layers, and which layers they join into one.
//!
//! vLLM multiplies by queries, keys and values at once, by gate and up at once, and by all experts of a block at once; MLX stacks the
//! same matrix of all experts. What is joined lies in one array of numbers, and so has one form.

use super::roles::block_of;
use super::{Model, Role};
use crate::formats::Dtype;
use crate::formats::assembly::WEIGHT;
use std::collections::BTreeMap;

/// Layers that vLLM makes one of, by the last parts of their names.
const JOINED: &[&[&str]] = &[
    &["q_proj", "k_proj", "v_proj"],
    &["q_a_proj", "kv_a_proj_with_mqa"],
    &["gate_proj", "up_proj"],
    &["query", "key", "value"],
    &["w1", "w3"],
];

/// Layers that choose among the experts beside them, by name.
const ROUTERS: &[&str] = &["gate", "shared_expert_gate"];

/// Families whose quantized experts mlx-lm (0.32) puts together from one file tensor each; of others it stacks dense weights alone.
const STACKED: &[&str] = &[
    "afmoe",
    "bailing_hybrid",
    "bailing_moe",
    "bailing_moe_linear",
    "deepseek",
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "dots1",
    "exaone_moe",
    "glm4_moe",
    "glm4_moe_lite",
    "hunyuan",
    "jamba",
    "kimi_k2",
    "kimi_vl",
    "longcat_flash",
    "mimo_v2_flash",
    "mixtral",
    "olmoe",
    "phimoe",
    "qwen2_moe",
];

/// Families whose layers transformers (5.24) sets up by their weights, or puts together otherwise, also where they are codes: it does not
/// load these.
const SET_UP: &[&str] = &[
    "data2vec-audio",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
    "falcon",
    "falcon_mamba",
    "gpt_bigcode",
    "mamba",
    "modernbert",
    "modernbert-decoder",
    "nomic_bert",
    "recurrent_gemma",
    "rwkv",
    "siglip",
    "siglip2",
    "siglip2_vision_model",
    "siglip_vision_model",
    "unispeech",
    "unispeech-sat",
    "wav2vec2",
    "wav2vec2-bert",
    "wav2vec2-conformer",
    "wavlm",
];
/// Families whose experts transformers makes a layer of each, where codes are, and finds them in one array.
const UNSTACKED: &[&str] = &["llama4", "llama4_text"];

/// Families whose compressed keys and values mlx-lm (0.32) multiplies out with one layer, `kv_b_proj`. Of all others it takes the
/// layer's halves apart when it loads them, and quantizes each anew, one of them along its other side.
const WHOLE_KV: &[&str] = &["deepseek_v2", "minicpm3", "youtu_llm"];

/// Families whose layers of [`CONV1D`] names keep their weights as inputs × outputs.
const TRANSPOSED: &[&str] = &["gpt2", "openai-gpt", "imagegpt", "decision_transformer"];
/// Those names.
const CONV1D: &[&str] = &["c_attn", "q_attn", "c_proj", "c_fc"];

/// Which program runs the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// vLLM, and whatever else reads compressed-tensors.
    Vllm,
    /// MLX.
    Mlx,
}

impl Model {
    /// The module whose weight a tensor is.
    #[must_use]
    pub fn module_of(&self, index: usize) -> Option<&str> {
        self.tensors[index].name.strip_suffix(WEIGHT)
    }

    /// Why a runtime cannot read codes in a tensor's place; `None` where it is the weight of a linear layer that may be quantized,
    /// in MLX also of an embedding.
    #[must_use]
    pub fn why_not_quantized(&self, index: usize, runtime: Runtime) -> Option<&'static str> {
        let tensor = &self.tensors[index];
        match () {
            () if tensor.shape.len() != 2 => Some("only matrices are quantized there"),
            () if !tensor.name.ends_with(WEIGHT) => Some("only a tensor called …weight is quantized there"),
            () if !matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) => {
                Some("scales are of the tensor's dtype there, and must be F32, F16 or BF16")
            }
            () if !tensor.role.is_weight() => Some("only weights of layers are quantized there"),
            () if self.is_transposed(index) => Some("its layer keeps inputs × outputs, and is no linear layer there"),
            () if runtime == Runtime::Vllm && tensor.role == Role::Embedding => Some("embeddings stay dense there"),
            () if runtime == Runtime::Vllm && tensor.role == Role::Head => Some("the output head stays dense there"),
            () if self.is_router(index) => Some("it chooses among experts, and stays dense there"),
            () if runtime == Runtime::Vllm && self.is_read_directly(index) => {
                Some("transformers asks for its numbers past its layer")
            }
            () if runtime == Runtime::Vllm && self.is_of(UNSTACKED) => {
                Some("beside codes transformers wants a layer for each expert of this family")
            }
            () if runtime == Runtime::Mlx && self.is_changed_when_read(index) => {
                Some("mlx-lm changes or renames weights of this family when it reads them, and knows no codes there")
            }
            () if runtime == Runtime::Mlx && self.is_tied_head(index) => {
                Some("the config ties the head to the embedding (tie_word_embeddings), and no other is read there")
            }
            () if runtime == Runtime::Mlx && self.is_taken_apart(index) => {
                Some("mlx-lm takes it apart, and would quantize its halves anew")
            }
            () if runtime == Runtime::Mlx && !self.stacks_codes(index) => {
                Some("mlx-lm puts no quantized experts of this family together")
            }
            () => None,
        }
    }

    /// Whether a tensor belongs to what chooses among experts: its codes would be read by nobody, and cost the choice.
    fn is_router(&self, index: usize) -> bool {
        let name = &self.tensors[index].name;
        let has = |start: &str| {
            let at = self.tensors.partition_point(|tensor| tensor.name.as_str() < start);
            self.tensors.get(at).is_some_and(|tensor| tensor.name.starts_with(start))
        };
        let mut start = 0;
        name.split('.').any(|part| {
            let parent = &name[..start];
            start += part.len() + 1;
            part == "router" || (ROUTERS.contains(&part) && has(&[parent, "experts."].concat()))
        })
    }

    /// Whether the config is that of one of these families.
    fn is_of(&self, families: &[&str]) -> bool {
        self.config().is_some_and(|config| families.contains(&&*config.family()))
    }

    /// Whether mlx-lm (0.32) takes a weight by its name alone and does something to it: Falcon-H1's are all multiplied by numbers of
    /// the config, LFM2's feed-forward layers renamed, Granite's without experts cut in two.
    fn is_changed_when_read(&self, index: usize) -> bool {
        let part = self.module_of(index).and_then(|module| module.rsplit('.').next());
        let only_shared = || self.config().is_some_and(|config| config.number("num_local_experts") == Some(0));
        let of_granite = matches!(part, Some("input_linear" | "output_linear")) && self.is_of(&["granitemoehybrid"]);
        self.is_of(&["falcon_h1"])
            || (of_granite && only_shared())
            || (self.is_of(&["lfm2_moe"]) && matches!(part, Some("w1" | "w2" | "w3")))
    }

    /// Whether a layer's numbers are read past the layer: in families and towers of [`SET_UP`] and in T5's blocks, which transformers sets
    /// up by their weights and asks for their dtype, in the last of Mamba-2's by a kernel of its own, and in that of torch's own
    /// attention.
    fn is_read_directly(&self, index: usize) -> bool {
        let name = &self.tensors[index].name;
        let of_t5 = |part: &str| matches!(part, "SelfAttention" | "EncDecAttention" | "DenseReluDense");
        let parent = self.module_of(index).and_then(|module| module.rsplit_once('.'));
        let vision = || self.config()?.text(&["vision_config", "model_type"]);
        let of_siglip = |part: &str| matches!(part, "vision_tower" | "vision_model");
        name.split('.').any(of_t5)
            || self.is_of(SET_UP)
            || (name.split('.').any(of_siglip) && vision().is_some_and(|family| family.starts_with("siglip")))
            || parent.is_some_and(|(parent, part)| {
                let beside = |part: &str| self.find(&[parent, ".", part].concat()).is_some();
                part == "out_proj" && (beside("A_log") || beside("in_proj_weight"))
            })
    }

    /// Whether a tensor is a head that the config says is the embedding.
    fn is_tied_head(&self, index: usize) -> bool {
        let module = self.module_of(index).unwrap_or_default();
        let said = |path: &[&str]| self.config()?.value(path)?.as_bool();
        let tied = || said(&["tie_word_embeddings"]).or_else(|| said(&["text_config", "tie_word_embeddings"]));
        module.rsplit('.').next() == Some("lm_head") && tied() == Some(true)
    }

    /// Whether mlx-lm makes two other layers of this one when it loads it.
    fn is_taken_apart(&self, index: usize) -> bool {
        let part = self.module_of(index).and_then(|module| module.rsplit('.').next());
        let said = self.config().is_some_and(|config| !config.family().is_empty());
        part == Some("kv_b_proj") && said && !self.is_of(WHOLE_KV)
    }

    /// Whether mlx-lm finds the codes of a tensor where it is the matrix of one expert; unless the config says nothing of a family.
    fn stacks_codes(&self, index: usize) -> bool {
        let expert = self.module_of(index).and_then(|module| module.rsplit_once('.'));
        if expert.is_none_or(|(expert, _)| experts_of(expert).is_none()) {
            return true;
        }
        let family = self.config().map(super::Config::family).unwrap_or_default();
        family.is_empty() || STACKED.contains(&&*family)
    }

    /// Whether a tensor is the weight of a layer that keeps inputs × outputs, as GPT-2's do.
    fn is_transposed(&self, index: usize) -> bool {
        let Some(module) = self.module_of(index) else { return false };
        let part = module.rsplit('.').next().unwrap_or_default();
        CONV1D.contains(&part)
            && match self.config().map(super::Config::family) {
                Some(family) if !family.is_empty() => TRANSPOSED.contains(&&*family),
                _ => {
                    let bias = self.find(&format!("{module}.bias")).map(|bias| self.tensors[bias].shape.as_slice());
                    let [rows, cols] = *self.tensors[index].shape.as_slice() else { return false };
                    rows != cols && bias == Some(&[cols])
                }
            }
    }

    /// The tensors, by position and in order of name, that a runtime joins into one array: each set has two or more.
    pub fn joined(&self, runtime: Runtime) -> &[Vec<usize>] {
        let place = match runtime {
            Runtime::Vllm => &self.joined[0],
            Runtime::Mlx => &self.joined[1],
        };
        place.get_or_init(|| self.find_joined(runtime))
    }

    fn find_joined(&self, runtime: Runtime) -> Vec<Vec<usize>> {
        let mut sets: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (index, tensor) in self.tensors.iter().enumerate().filter(|(_, tensor)| tensor.shape.len() == 2) {
            let Some((parent, part)) = tensor.name.strip_suffix(WEIGHT).and_then(|module| module.rsplit_once('.'))
            else {
                continue;
            };
            let first = || JOINED.iter().find(|parts| parts.contains(&part)).and_then(|parts| parts.first().copied());
            let key = match (experts_of(parent), runtime) {
                (Some(experts), Runtime::Vllm) => (experts, ""),
                (Some(experts), Runtime::Mlx) => (experts, part),
                (None, Runtime::Vllm) => match first() {
                    // Some other network may use so plain a name for anything.
                    Some(name) if block_of(parent).is_some() => (parent, name),
                    _ => continue,
                },
                (None, Runtime::Mlx) => continue,
            };
            sets.entry(key).or_default().push(index);
        }
        sets.into_values().filter(|set| set.len() > 1).collect()
    }
}

/// The path of all experts of a block, for the path of one: `a.mlp.experts` of `a.mlp.experts.7`.
pub fn experts_of(module: &str) -> Option<&str> {
    let (experts, number) = module.rsplit_once('.')?;
    let counted = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    (counted && (experts == "experts" || experts.ends_with(".experts"))).then_some(experts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(model: &Model, runtime: Runtime) -> Vec<Vec<&str>> {
        let name = |&i: &usize| model.tensors[i].name.as_str();
        model.joined(runtime).iter().map(|set| set.iter().map(name).collect()).collect()
    }

    #[test]
    fn layers_are_joined_within_their_block() {
        let m = &[8, 8][..];
        let block = |b: usize, part: &str| (format!("model.layers.{b}.{part}.weight"), m);
        let parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
        let ffn = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];
        let mut tensors: Vec<_> = (0..2).flat_map(|b| parts.iter().chain(&ffn).map(move |p| block(b, p))).collect();
        tensors.push(("query.weight".into(), m));
        tensors.push(("key.weight".into(), m));
        let model = Model::named(&tensors, None);
        let found = names(&model, Runtime::Vllm);
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], ["model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight"]);
        assert_eq!(found[1].len(), 3);
        assert!(names(&model, Runtime::Mlx).is_empty());
        let latent = ["kv_a_proj_with_mqa", "kv_b_proj", "q_a_proj"].map(|part| block(0, &format!("self_attn.{part}")));
        let found = Model::named(&latent, None);
        assert_eq!(names(&found, Runtime::Vllm), [[latent[0].0.as_str(), latent[2].0.as_str()]]);
    }

    #[test]
    fn experts_are_joined_as_each_runtime_stacks_them() {
        let m = &[8, 8][..];
        let name = |e: usize, part: &str| (format!("model.layers.0.mlp.experts.{e}.{part}.weight"), m);
        let all = ["gate_proj", "up_proj", "down_proj"];
        let tensors: Vec<_> = (0..4).flat_map(|e| all.iter().map(move |p| name(e, p))).collect();
        let model = Model::named(&tensors, None);
        assert_eq!(names(&model, Runtime::Vllm).iter().map(Vec::len).collect::<Vec<_>>(), [12]);
        assert_eq!(names(&model, Runtime::Mlx).iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4]);
        assert_eq!([experts_of("a.experts.12"), experts_of("experts.1")], [Some("a.experts"), Some("experts")]);
        assert_eq!([experts_of("a.experts.x"), experts_of("layers.1")], [None, None]);
    }

    #[test]
    fn only_weights_of_linear_layers_are_quantized() {
        let tensors: &[(&str, &[usize])] = &[
            ("lm_head.weight", &[8, 4]),
            ("model.embed_tokens.weight", &[8, 4]),
            ("h.0.mlp.c_fc.bias", &[8]),
            ("h.0.mlp.c_fc.weight", &[4, 8]),
            ("model.layers.0.mlp.experts.gate_up_proj", &[2, 8, 4]),
            ("model.layers.0.mlp.up_proj.weight", &[8, 4]),
            ("model.norm.weight", &[4]),
        ];
        let model = Model::named(tensors, None);
        let quantized = |runtime| -> Vec<&str> {
            let plain = |i: &usize| model.why_not_quantized(*i, runtime).is_none();
            (0..model.tensors.len()).filter(plain).map(|i| model.tensors[i].name.as_str()).collect()
        };
        assert_eq!(quantized(Runtime::Vllm), ["model.layers.0.mlp.up_proj.weight"]);
        let embeddings = ["lm_head.weight", "model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"];
        assert_eq!(quantized(Runtime::Mlx), embeddings);
        // A family that keeps outputs × inputs under the same names.
        let star = Model::named(tensors, Some(r#"{"model_type": "starcoder2"}"#));
        assert!(star.why_not_quantized(star.find("h.0.mlp.c_fc.weight").unwrap(), Runtime::Vllm).is_none());
    }

    #[test]
    fn what_readers_go_past_the_layer_for_stays_dense() {
        let m = &[64, 64][..];
        let refused = |names: &[&str], config: &str, runtime| -> Vec<String> {
            let tensors: Vec<(String, &[usize])> = names.iter().map(|name| (format!("{name}.weight"), m)).collect();
            let model = Model::named(&tensors, Some(config));
            let dense = |&i: &usize| model.why_not_quantized(i, runtime).is_some();
            (0..names.len()).filter(dense).map(|i| model.module_of(i).unwrap().to_owned()).collect()
        };
        let block = "model.layers.1.mlp";
        let parts =
            ["experts.0.up_proj", "gate", "gate_proj", "shared_expert_gate"].map(|part| format!("{block}.{part}"));
        let dense = "model.layers.0.mlp.gate";
        let names: Vec<&str> = [dense].into_iter().chain(parts.iter().map(String::as_str)).collect();
        for runtime in [Runtime::Vllm, Runtime::Mlx] {
            let found = refused(&names, r#"{"model_type": "qwen2_moe"}"#, runtime);
            assert_eq!(found, [parts[1].as_str(), parts[3].as_str()], "{runtime:?}");
            let router = ["a.layers.0.block_sparse_moe.router.layer"];
            assert_eq!(refused(&router, "{}", runtime), router);
        }
        assert_eq!(refused(&names, r#"{"model_type": "qwen3_moe"}"#, Runtime::Mlx).len(), 3);
        assert_eq!(refused(&names, r#"{"model_type": "qwen3_moe"}"#, Runtime::Vllm).len(), 2);
        let tied = r#"{"model_type": "llama", "text_config": {"tie_word_embeddings": true}}"#;
        assert_eq!(refused(&["lm_head", "model.embed_tokens"], tied, Runtime::Mlx), ["lm_head"]);
        assert!(refused(&["lm_head"], r#"{"tie_word_embeddings": false}"#, Runtime::Mlx).is_empty());
        let latent = ["a.layers.0.self_attn.kv_b_proj", "a.layers.0.self_attn.o_proj"];
        assert_eq!(refused(&latent, r#"{"model_type": "deepseek_v3"}"#, Runtime::Mlx), latent[..1]);
        assert!(refused(&latent, r#"{"model_type": "deepseek_v2"}"#, Runtime::Mlx).is_empty());
        let lfm = ["a.layers.0.conv.in_proj", "a.layers.0.feed_forward.w2"];
        assert_eq!(refused(&lfm, r#"{"model_type": "lfm2_moe"}"#, Runtime::Mlx), lfm[1..]);
        assert_eq!(refused(&lfm, r#"{"model_type": "falcon_h1"}"#, Runtime::Mlx), lfm);
        assert!(refused(&lfm, r#"{"model_type": "lfm2"}"#, Runtime::Mlx).is_empty());
        let towers =
            ["model.language_model.layers.0.mlp.up_proj", "model.vision_tower.vision_model.encoder.layers.0.mlp.fc1"];
        let seeing = r#"{"model_type": "gemma3", "vision_config": {"model_type": "siglip_vision_model"}}"#;
        assert_eq!(refused(&towers, seeing, Runtime::Vllm), towers[1..]);
        assert_eq!(refused(&latent, r#"{"model_type": "falcon"}"#, Runtime::Vllm), latent);
        assert_eq!(refused(&latent, r#"{"model_type": "llama4_text"}"#, Runtime::Vllm), latent);
        let t5 = ["encoder.block.0.layer.0.SelfAttention.q", "encoder.block.0.layer.1.DenseReluDense.wo"];
        assert_eq!(refused(&t5, "{}", Runtime::Vllm), t5);
        assert!(refused(&t5, "{}", Runtime::Mlx).is_empty());
        let mamba: &[(&str, &[usize])] = &[
            ("backbone.layers.0.mixer.A_log", &[4]),
            ("backbone.layers.0.mixer.in_proj.weight", m),
            ("backbone.layers.0.mixer.out_proj.weight", m),
        ];
        let model = Model::named(mamba, None);
        assert_eq!([1, 2].map(|i| model.why_not_quantized(i, Runtime::Vllm).is_some()), [false, true]);
    }
}
