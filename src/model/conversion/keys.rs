//! What `config.json` says of a network, under the keys that llama.cpp reads.

use super::Architecture;
use crate::formats::error::quoted;
use crate::formats::gguf::layout::{bool_pair, f32_pair, text_pair, u32_pair};
use crate::model::{Config, Model};

/// The numbers of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    architecture: Architecture,
    name: String,
    /// Counts by GGUF's key and the config's, which structured pruning may change.
    counts: Vec<(&'static str, &'static str, usize)>,
    head: usize,
    own_head: bool,
    epsilon: f64,
    theta: f64,
    rope: Rope,
}

/// How positions beyond those of training are reached.
#[derive(Clone, Debug, PartialEq)]
enum Rope {
    Plain,
    Linear { factor: f64 },
    Yarn { factor: f64, original: usize },
    Llama3 { factor: f64, low: f64, high: f64, original: usize },
}

impl Numbers {
    /// The numbers of a model.
    pub(super) fn of(config: &Config, model: &Model, architecture: Architecture) -> Result<Self, String> {
        let need = |key: &'static str| config.number(key).ok_or_else(|| format!("config.json has no number {key}"));
        let heads = need("num_attention_heads")?;
        let width = need("hidden_size")?;
        let head = config.number("head_dim").or_else(|| width.checked_div(heads)).unwrap_or_default();
        if head < 2 || !head.is_multiple_of(2) {
            return Err(format!("its heads have {head} rows, and rotary positions need an even number of them"));
        }
        let counts = vec![
            ("block_count", "num_hidden_layers", need("num_hidden_layers")?),
            ("context_length", "max_position_embeddings", config.number("max_position_embeddings").unwrap_or(2048)),
            ("embedding_length", "hidden_size", width),
            ("feed_forward_length", "intermediate_size", need("intermediate_size")?),
            ("attention.head_count", "num_attention_heads", heads),
            ("attention.head_count_kv", "num_key_value_heads", config.number("num_key_value_heads").unwrap_or(heads)),
        ];
        Ok(Self {
            architecture,
            name: model.name.clone(),
            counts,
            head,
            own_head: config.says("head_dim") || head * heads != width,
            epsilon: config.real(&["rms_norm_eps"]).unwrap_or(1e-6),
            theta: config
                .real(&["rope_theta"])
                .or_else(|| config.real(&["rope_parameters", "rope_theta"]))
                .unwrap_or(1e4),
            rope: rope(config)?,
        })
    }

    /// Rows of a head.
    #[must_use]
    pub const fn head(&self) -> usize {
        self.head
    }

    /// The pairs, with numbers that structured pruning changed in place of the config's.
    #[must_use]
    pub fn pairs(&self, changed: impl Fn(&str) -> Option<usize>) -> Vec<Vec<u8>> {
        let own = |key: &str| format!("{}.{key}", self.architecture.name());
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut pairs = vec![
            text_pair("general.architecture", self.architecture.name()),
            text_pair("general.type", "model"),
            text_pair("general.name", &self.name),
        ];
        for &(key, of_config, number) in &self.counts {
            pairs.push(u32_pair(&own(key), count(changed(of_config).unwrap_or(number))));
        }
        pairs.push(f32_pair(&own("attention.layer_norm_rms_epsilon"), self.epsilon as f32));
        pairs.push(f32_pair(&own("rope.freq_base"), self.theta as f32));
        pairs.push(u32_pair(&own("rope.dimension_count"), count(self.head)));
        if self.own_head || changed("num_attention_heads").is_some() {
            pairs.push(u32_pair(&own("attention.key_length"), count(self.head)));
            pairs.push(u32_pair(&own("attention.value_length"), count(self.head)));
        }
        match self.rope {
            Rope::Plain | Rope::Llama3 { .. } => {}
            Rope::Linear { factor } => {
                pairs.push(text_pair(&own("rope.scaling.type"), "linear"));
                pairs.push(f32_pair(&own("rope.scaling.factor"), factor as f32));
            }
            Rope::Yarn { factor, original } => {
                pairs.push(text_pair(&own("rope.scaling.type"), "yarn"));
                pairs.push(f32_pair(&own("rope.scaling.factor"), factor as f32));
                pairs.push(u32_pair(&own("rope.scaling.original_context_length"), count(original)));
                pairs.push(bool_pair(&own("rope.scaling.finetuned"), true));
            }
        }
        pairs
    }

    /// What each rotary frequency is divided by, where Llama 3 stretches them one by one.
    #[must_use]
    pub fn rope_factors(&self) -> Option<Vec<f32>> {
        let Rope::Llama3 { factor, low, high, original } = self.rope else { return None };
        let original = original as f64;
        let one = |pair: usize| {
            let frequency = self.theta.powf(-((2 * pair) as f64) / self.head as f64);
            let wave = std::f64::consts::TAU / frequency;
            if wave < original / high {
                return 1.0;
            }
            if wave > original / low {
                return factor as f32;
            }
            let smooth = (original / wave - low) / (high - low);
            (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
        };
        Some((0..self.head / 2).map(one).collect())
    }
}

fn rope(config: &Config) -> Result<Rope, String> {
    let under =
        |key: &str| ["rope_scaling", "rope_parameters"].into_iter().find_map(|group| config.real(&[group, key]));
    let kind = ["rope_scaling", "rope_parameters"]
        .into_iter()
        .find_map(|group| config.text(&[group, "rope_type"]).or_else(|| config.text(&[group, "type"])));
    let need = |key: &str| under(key).ok_or_else(|| format!("config.json has no number {key} in rope_scaling"));
    let positions = |key: &str| need(key).map(|n| n as usize);
    match kind {
        None | Some("default") => Ok(Rope::Plain),
        Some("linear") => Ok(Rope::Linear { factor: need("factor")? }),
        Some("yarn") => {
            Ok(Rope::Yarn { factor: need("factor")?, original: positions("original_max_position_embeddings")? })
        }
        Some("llama3") => Ok(Rope::Llama3 {
            factor: need("factor")?,
            low: need("low_freq_factor")?,
            high: need("high_freq_factor")?,
            original: positions("original_max_position_embeddings")?,
        }),
        Some(other) => Err(format!("its rotary positions are scaled by {}, which is not converted", quoted(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_3_frequencies_are_stretched_as_its_config_says() {
        let text = br#"{"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}}"#;
        let numbers = Numbers {
            architecture: Architecture::Llama,
            name: String::new(),
            counts: Vec::new(),
            head: 64,
            own_head: false,
            epsilon: 0.0,
            theta: 500_000.0,
            rope: rope(&Config::parse(text).unwrap()).unwrap(),
        };
        let factors = numbers.rope_factors().unwrap();
        // From numpy, theta 5e5 and heads of 64: pairs 0, 15, 16, 17, 18 and 31.
        let wanted = [1.0, 1.553_414_6, 2.694_529_8, 5.257_326_6, 8.0, 8.0];
        for (pair, wanted) in [0, 15, 16, 17, 18, 31].into_iter().zip(wanted) {
            assert!((factors[pair] - wanted).abs() < 1e-5, "pair {pair}: {} and not {wanted}", factors[pair]);
        }
        let other = Config::parse(br#"{"rope_parameters": {"rope_type": "longrope"}}"#).unwrap();
        assert!(rope(&other).unwrap_err().contains("longrope"));
        assert_eq!(rope(&Config::default()), Ok(Rope::Plain));
    }
}
