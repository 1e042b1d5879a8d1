//! Families whose folders with codes were loaded by their readers: small networks of each, as transformers 5.24 sets them up. Those of
//! language answered as the same values dense do. What other families make of codes when they are loaded is not known.

use super::Model;
use super::modules::Runtime;

/// By transformers 5.24 with compressed-tensors 0.20.
const TRANSFORMERS: &str = "albert apertus arcee bamba bart beit bert biogpt bitnet blip bloom clip clip_vision_model codegen cohere cohere2 \
    deberta-v2 deepseek_v2 deepseek_v3 deepseek_v32 deit diffllama distilbert electra ernie4_5 ernie4_5_moe exaone4 falcon_h1 \
    gemma gemma2 gemma3 gemma3_text gemma3n_text gemma4_text glm4 glm4_moe glm4_moe_lite gpt2 gpt_neox gptj granite granitemoe \
    granitemoehybrid helium hubert hunyuan_v1_dense hunyuan_v1_moe jamba lfm2 lfm2_moe llama mamba2 marian minimax ministral mistral \
    mistral4 mixtral mpnet mpt nemotron nemotron_h olmo olmo2 olmo3 olmoe opt persimmon phi phi3 phimoe qwen2 qwen2_moe qwen3 \
    qwen3_5_moe_text qwen3_5_text qwen3_moe qwen3_next roberta seed_oss segformer smollm3 stablelm starcoder2 swin t5 videomae vit \
    whisper xglm xlm-roberta";
/// By mlx-lm 0.32.
const MLX_LM: &str = "cohere deepseek_v3 deepseek_v32 ernie4_5 ernie4_5_moe falcon_h1 gemma gemma2 gemma3_text gemma4_text glm4 glm4_moe \
    glm4_moe_lite gptj granite granitemoe granitemoehybrid helium hunyuan_v1_dense jamba lfm2 lfm2_moe llama mamba2 mistral mistral4 \
    mixtral nemotron nemotron_h olmo2 olmoe phi phi3 qwen2 qwen2_moe qwen3 qwen3_moe qwen3_next seed_oss smollm3 stablelm starcoder2";

impl Model {
    /// What to say of a folder with codes for a runtime: that nobody tried what it makes of this family; `None` where it was tried,
    /// or no family is named.
    #[must_use]
    pub fn untried(&self, runtime: Runtime) -> Option<String> {
        let family = self.config().map(super::Config::family).filter(|family| !family.is_empty())?;
        let (reader, tried) = match runtime {
            Runtime::Vllm => ("transformers", TRANSFORMERS),
            Runtime::Mlx => ("mlx-lm", MLX_LM),
        };
        let known = tried.split_ascii_whitespace().any(|known| known == family);
        let shown = crate::formats::error::quoted(&family);
        (!known).then(|| {
            format!("{reader} was not tried on codes of family {shown}: load the folder before you hand it on")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_that_nobody_tried_are_told() {
        let of = |family: &str, runtime| {
            let config = format!(r#"{{"model_type": "{family}"}}"#);
            Model::named(&[("a.weight".to_owned(), &[4, 4][..])], Some(&config)).untried(runtime)
        };
        assert_eq!((of("llama", Runtime::Vllm), of("llama", Runtime::Mlx)), (None, None));
        assert!(of("bert", Runtime::Vllm).is_none() && of("bert", Runtime::Mlx).unwrap().contains("mlx-lm"));
        assert!(of("ber", Runtime::Vllm).unwrap().contains("\"ber\""));
        assert_eq!(Model::named(&[("a.weight".to_owned(), &[4, 4][..])], None).untried(Runtime::Mlx), None);
    }
}
