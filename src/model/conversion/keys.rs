//! What `config.json` says of a network, under the keys that llama.cpp reads.

use super::Architecture;
use super::names::Length;
use crate::formats::error::quoted;
use crate::formats::gguf::layout::{bool_pair, f32_pair, text_pair, u32_pair};
use crate::model::{Config, Model};

/// The widest that a network or one of its heads may be: many times the widest there is, and nothing to run out of memory by.
const MOST_WIDTH: usize = 1 << 20;
/// Blocks at most.
const MOST_BLOCKS: usize = 10_000;
/// Positions at most; llama.cpp sets room aside for them, and counts them in 32 bits with a sign in places.
const MOST_POSITIONS: usize = 1 << 30;

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
        let blocks = need("num_hidden_layers")?;
        for (key, number, most) in [("hidden_size", width, MOST_WIDTH), ("num_hidden_layers", blocks, MOST_BLOCKS)] {
            if number == 0 || number > most {
                return Err(format!("config.json: {key} is {number}, and 1 to {most} is what is converted"));
            }
        }
        let head = config.number("head_dim").or_else(|| width.checked_div(heads)).unwrap_or_default();
        if head < 2 || !head.is_multiple_of(2) {
            return Err(format!("its heads have {head} rows, and rotary positions need an even number of them"));
        }
        if head > MOST_WIDTH {
            return Err(format!("its heads have {head} rows, and at most {MOST_WIDTH} is what is converted"));
        }
        if architecture == Architecture::Qwen2 && heads.checked_mul(head) != Some(width) {
            return Err(format!(
                "its {heads} heads of {head} rows are not as wide as its hidden_size {width}, and llama.cpp's qwen2 has no others"
            ));
        }
        let shared = config.number("num_key_value_heads").unwrap_or(heads);
        if shared == 0 || !heads.is_multiple_of(shared) {
            return Err(format!("its {heads} heads are not shared evenly by {shared} key-value heads"));
        }
        // llama.cpp computes what these say the usual way, whatever they say.
        if let Some(other) = config.text(&["hidden_act"]).filter(|act| !matches!(*act, "silu" | "swish")) {
            return Err(format!("its activation is {}, and llama.cpp computes silu", quoted(other)));
        }
        if real(config, &["partial_rotary_factor"])?.is_some_and(|share| share != 1.0) {
            return Err("only part of each head is rotated, and llama.cpp rotates heads of this family whole".into());
        }
        let context = config.number("max_position_embeddings").unwrap_or(2048);
        if context == 0 || context > MOST_POSITIONS {
            return Err(format!(
                "config.json: max_position_embeddings is {context}, and 1 to {MOST_POSITIONS} is what is converted"
            ));
        }
        // NaN is read as null, and its readers take neither.
        if config.value(&["rms_norm_eps"]).is_some_and(serde_json::Value::is_null) {
            return Err("config.json: rms_norm_eps is no number".into());
        }
        let counts = vec![
            ("block_count", "num_hidden_layers", blocks),
            ("context_length", "max_position_embeddings", context),
            ("embedding_length", "hidden_size", width),
            ("feed_forward_length", "intermediate_size", need("intermediate_size")?),
            ("attention.head_count", "num_attention_heads", heads),
            ("attention.head_count_kv", "num_key_value_heads", shared),
        ];
        Ok(Self {
            architecture,
            name: model.name.clone(),
            counts,
            head,
            own_head: config.says("head_dim") || heads.checked_mul(head) != Some(width),
            epsilon: real(config, &["rms_norm_eps"])?.unwrap_or(1e-6),
            theta: theta(config)?,
            rope: rope(config)?,
        })
    }

    /// One of the config's counts.
    #[must_use]
    pub fn count(&self, key: &str) -> usize {
        self.counts.iter().find(|row| row.1 == key).map_or(0, |row| row.2)
    }

    /// How long a dimension of a tensor must be, where the embedding has `rows` rows.
    pub(super) fn length(&self, length: Length, rows: usize) -> usize {
        let heads = |key: &str| self.count(key).saturating_mul(self.head);
        match length {
            Length::Tokens => rows,
            Length::Hidden => self.count("hidden_size"),
            Length::Inner => self.count("intermediate_size"),
            Length::Queries => heads("num_attention_heads"),
            Length::Keys => heads("num_key_value_heads"),
            Length::Head => self.head,
        }
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

/// A number of the config that must be above 0, also as f32.
fn real(config: &Config, path: &[&str]) -> Result<Option<f64>, String> {
    let name = || match path {
        [group, key] => format!("{key} in {group}"),
        _ => path.join("."),
    };
    match config.real(path) {
        Some(number) if number as f32 > 0.0 && (number as f32).is_finite() => Ok(Some(number)),
        Some(number) => Err(format!("config.json: {} is {number}, and must be an ordinary number above 0", name())),
        None if config.text(path).is_some() => Err(format!("config.json: {} is no number", name())),
        None => Ok(None),
    }
}

/// The group that says how positions are turned and scaled: the older name is the one that counts where both have something
/// (`convert_rope_params_to_dict` in transformers' `modeling_rope_utils.py`).
fn group_of(config: &Config) -> &'static str {
    let says = |group| config.value(&[group]).and_then(|value| value.as_object()).is_some_and(|map| !map.is_empty());
    if says("rope_scaling") { "rope_scaling" } else { "rope_parameters" }
}

/// The base of the rotary frequencies.
fn theta(config: &Config) -> Result<f64, String> {
    let group = group_of(config);
    if let Some(theta) = real(config, &[group, "rope_theta"])?.or(real(config, &["rope_theta"])?) {
        return Ok(theta);
    }
    match real(config, &["rope_parameters", "rope_theta"])? {
        Some(theta) if theta != 1e4 => Err(format!(
            "config.json: rope_theta {theta} is in rope_parameters, which is not read beside rope_scaling; put all into one of them"
        )),
        _ => Ok(1e4),
    }
}

fn rope(config: &Config) -> Result<Rope, String> {
    let group = group_of(config);
    let need =
        |key: &str| real(config, &[group, key])?.ok_or_else(|| format!("config.json has no number {key} in {group}"));
    let text = |key: &str| config.text(&[group, key]);
    let original = || need("original_max_position_embeddings").map(|n| n as usize);
    match text("rope_type").or_else(|| text("type")) {
        None | Some("default") => Ok(Rope::Plain),
        Some("linear") => Ok(Rope::Linear { factor: need("factor")? }),
        Some("yarn") => {
            plain_yarn(config, group)?;
            Ok(Rope::Yarn { factor: need("factor")?, original: original()? })
        }
        Some("llama3") => {
            let (low, high) = (need("low_freq_factor")?, need("high_freq_factor")?);
            if low >= high {
                return Err(format!(
                    "config.json: low_freq_factor in {group} is {low} and high_freq_factor {high}, which must be larger"
                ));
            }
            Ok(Rope::Llama3 { factor: need("factor")?, low, high, original: original()? })
        }
        Some(other) => Err(format!("its rotary positions are scaled by {}, which is not converted", quoted(other))),
    }
}

/// Refuses settings of YaRN that llama.cpp would compute with its own numbers: all that transformers takes beside factor and length
/// (`_compute_yarn_parameters`).
fn plain_yarn(config: &Config, group: &str) -> Result<(), String> {
    let usual = [
        ("beta_fast", Some(32.0)),
        ("beta_slow", Some(1.0)),
        ("attention_factor", None),
        ("mscale", None),
        ("mscale_all_dim", None),
    ];
    for (key, usual) in usual {
        match real(config, &[group, key])? {
            Some(found) if Some(found) != usual => {
                return Err(format!("config.json has {key} {found} in {group}, with which YaRN is not converted"));
            }
            _ => {}
        }
    }
    match config.value(&[group, "truncate"]).and_then(serde_json::Value::as_bool) {
        Some(false) => Err(format!("config.json has truncate false in {group}, with which YaRN is not converted")),
        _ => Ok(()),
    }
}

/// What to say where layers look back so many tokens and no further: llama.cpp has no such window for these architectures.
pub(super) fn window_note(config: &Config) -> Option<String> {
    let window = config.number("sliding_window")?;
    let used = config.flag("use_sliding_window").unwrap_or_else(|| config.family() == "mistral");
    let longest = config.number("max_position_embeddings").unwrap_or(usize::MAX);
    (used && window < longest).then(|| {
        format!(
            "config.json has a sliding window of {window} tokens, and llama.cpp lets every layer look back over all: texts that are longer come out otherwise"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_stretched_as_the_config_says() {
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
        let yarn = |more: &str| {
            let text = format!(
                r#"{{"rope_parameters": {{"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64{more}}}}}"#
            );
            rope(&Config::parse(text.as_bytes()).unwrap())
        };
        for usual in ["", r#", "beta_fast": 32, "beta_slow": 1.0, "truncate": true, "attention_factor": null"#] {
            assert_eq!(yarn(usual), Ok(Rope::Yarn { factor: 4.0, original: 64 }), "{usual}");
        }
        for odd in [r#"beta_fast": 16"#, r#"attention_factor": 1.0"#, r#"mscale": 1.0"#, r#"truncate": false"#] {
            assert!(yarn(&format!(", \"{odd}")).unwrap_err().contains("YaRN is not converted"), "{odd}");
        }
        let window = |text: &[u8]| window_note(&Config::parse(text).unwrap());
        let of = br#"{"model_type": "mistral", "sliding_window": 4096, "max_position_embeddings": 32768}"#;
        assert!(window(of).unwrap().contains("4096 tokens"));
        assert_eq!(window(br#"{"model_type": "qwen2", "sliding_window": 4096}"#), None);
        assert!(window(br#"{"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": true}"#).is_some());
        let other = Config::parse(br#"{"rope_parameters": {"rope_type": "longrope"}}"#).unwrap();
        assert!(rope(&other).unwrap_err().contains("longrope"));
        assert_eq!(rope(&Config::default()), Ok(Rope::Plain));
        // Of two groups the older one counts, and an empty one says nothing.
        let both = Config::parse(
            br#"{"rope_theta": 5e5, "rope_parameters": {"rope_type": "default"}, "rope_scaling": {"type": "linear", "factor": 2}}"#,
        );
        let both = both.unwrap();
        assert_eq!((rope(&both), theta(&both)), (Ok(Rope::Linear { factor: 2.0 }), Ok(5e5)));
        let apart = br#"{"rope_parameters": {"rope_theta": 5e5}, "rope_scaling": {"type": "linear", "factor": 2}}"#;
        assert!(theta(&Config::parse(apart).unwrap()).unwrap_err().contains("not read beside rope_scaling"));
        let empty = br#"{"rope_parameters": {"rope_theta": 5e5}, "rope_scaling": {}}"#;
        assert_eq!(theta(&Config::parse(empty).unwrap()), Ok(5e5));
    }
}
