//! What the config of compressed-tensors says of each layer: the group that it is in, found by name, by regex or by class.
//!
//! A target is the name of a module, `re:` and a regex of Python that its name begins with, or the name of a class. A name or a regex
//! goes before a class. Where there is but one group all codes are of it, however their modules are called by the program that
//! wrote the config.

use super::Config;
use crate::formats::assembly::Assembly;
use crate::formats::error::quoted;
use crate::kernels::layout::Unit;
use regex::{Regex, RegexBuilder};
use serde_json::Value;
use std::collections::HashMap;

/// The key of compressed-tensors, and of whoever else quantizes for transformers.
pub const CONFIG_KEY: &str = "quantization_config";
/// What compressed-tensors called it first.
pub const OLD_KEY: &str = "compression_config";
/// MLX's own.
pub const MLX_KEY: &str = "quantization";

/// Bytes that a compiled regex may take.
const REGEX_BYTES: usize = 1 << 20;
/// Regexes of a config at most: each is tried on the name of every layer.
const MOST_REGEXES: usize = 1000;

/// The groups of a config.
#[derive(Debug, Default)]
pub struct Groups<'a> {
    listed: Vec<&'a Value>,
    /// Groups by the full names of modules.
    names: HashMap<&'a str, usize>,
    regexes: Vec<(Regex, usize)>,
    /// The group of all linear layers.
    linear: Option<usize>,
}

impl<'a> Groups<'a> {
    /// The groups that stand in a config; none where it has no such block.
    ///
    /// # Errors
    /// What in it is not read here.
    pub fn of(config: &'a Config) -> Result<Self, String> {
        let mut all = Self::default();
        let Some(groups) = config.value(&[CONFIG_KEY, "config_groups"]).and_then(Value::as_object) else {
            return Ok(all);
        };
        for group in groups.values() {
            let at = all.listed.len();
            all.listed.push(group);
            let targets = group.get("targets").and_then(Value::as_array).into_iter().flatten();
            for target in targets.filter_map(Value::as_str) {
                if let Some(pattern) = target.strip_prefix("re:") {
                    if all.regexes.len() == MOST_REGEXES {
                        return Err(format!(
                            "its config has more than {MOST_REGEXES} regexes, which are the most that are read"
                        ));
                    }
                    all.regexes.push((python_regex(pattern)?, at));
                } else if target == "Linear" {
                    all.linear.get_or_insert(at);
                } else {
                    all.names.entry(target).or_insert(at);
                }
            }
        }
        Ok(all)
    }

    /// The group of a module.
    #[must_use]
    pub fn group(&self, module: &str) -> Option<&'a Value> {
        if let [group] = self.listed.as_slice() {
            return Some(group);
        }
        let matching = || self.regexes.iter().find(|(regex, _)| regex.is_match(module)).map(|&(_, at)| at);
        let at = self.names.get(module).copied().or_else(matching).or(self.linear)?;
        self.listed.get(at).copied()
    }
}

/// A regex that must match from the first letter of a name on, as Python's `re.match` does.
pub fn python_regex(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(&format!("^(?:{pattern})")).size_limit(REGEX_BYTES).build();
    built.map_err(|_| format!("its config has the regex {}, which is not read here", quoted(pattern)))
}

/// Whether the block of a config says that weights were changed in other ways too, which are not undone here.
pub fn also_changed(config: &Config) -> Option<&'static str> {
    let part = |key: &str| config.value(&[CONFIG_KEY, key]).and_then(Value::as_object).filter(|map| !map.is_empty());
    let transformed = part("transform_config")
        .is_some_and(|map| map.values().any(|value| value.as_object().is_none_or(|groups| !groups.is_empty())));
    let sparse = part("sparsity_config").is_some_and(|map| map.get("format").and_then(Value::as_str) != Some("dense"));
    match () {
        () if transformed => Some("its config has a transform_config, and its weights are turned by matrices"),
        () if sparse => Some("its config has a sparsity_config, and its weights lie in a sparse layout"),
        () => None,
    }
}

/// What to say of a config by which codes are multiplied by activations that are rounded too.
pub fn rounds_activations(config: &Config) -> Option<String> {
    let groups = config.value(&[CONFIG_KEY, "config_groups"])?.as_object()?;
    let rounded = |group: &Value| group.get("input_activations")?.get("num_bits")?.as_u64();
    let bits = groups.values().find_map(rounded)?;
    Some(format!(
        "its config has activations rounded to {bits} bits too (input_activations), which no number here counts"
    ))
}

/// Checks that a group says what the tensors of a module show.
///
/// # Errors
/// What it says instead.
pub fn check(group: &Value, assembly: Assembly, cols: usize) -> Result<(), String> {
    let weights = group.get("weights").and_then(Value::as_object).ok_or("its group has no weights")?;
    let text = |key: &str| weights.get(key).and_then(Value::as_str);
    let number = |key: &str| weights.get(key).and_then(Value::as_u64);
    let bits = u64::from(assembly.bits());
    if number("num_bits") != Some(bits) {
        let said = weights.get("num_bits").map_or("none".to_owned(), Value::to_string);
        return Err(format!("its group says num_bits {said}, and its tensors are those of {bits} bits"));
    }
    let wanted = if assembly.is_float() { "float" } else { "int" };
    if text("type").is_some_and(|found| found != wanted) {
        return Err(format!("its group says type {}, and its tensors hold {wanted}", text("type").unwrap_or_default()));
    }
    if weights.get("symmetric").and_then(Value::as_bool) == Some(false) {
        return Err("its group says symmetric false, and no zero points stand beside its codes".to_owned());
    }
    if text("strategy") == Some("block") && !matches!(assembly, Assembly::Fp8Blocks { .. }) {
        return Err("its group says strategy block, which is read of float codes of 8 bits alone".to_owned());
    }
    let size = match assembly.unit() {
        Unit::Group(size) => size,
        Unit::Row | Unit::Tensor => cols,
    };
    let grouped = matches!(text("strategy"), Some("group" | "tensor_group"));
    if grouped && number("group_size").is_some_and(|found| found != size as u64) {
        let said = number("group_size").unwrap_or_default();
        return Err(format!("its group says group_size {said}, and {size} columns share a scale"));
    }
    Ok(())
}

/// Rows and columns of a block, as a list of two numbers has them; `None` where they are no such list.
pub fn block_of(value: Option<&Value>) -> Option<[usize; 2]> {
    let side = |side: &Value| side.as_u64().and_then(|side| usize::try_from(side).ok()).filter(|&side| side > 0);
    match value?.as_array()?.as_slice() {
        [height, width] => Some([side(height)?, side(width)?]),
        _ => None,
    }
}

/// The bits of a code of pack-quantized, as its group says, where so many `words` of 32 bits take a row of so many columns.
///
/// # Errors
/// Where they do not, or where the row would be as long in the order of versions before 0.18, that let no code cross a word.
pub fn packed_bits(group: &Value, cols: usize, words: usize) -> Result<u32, String> {
    let said = group.get("weights").and_then(|weights| weights.get("num_bits")).and_then(Value::as_u64);
    let bits = said.filter(|bits| (2..=8).contains(bits)).ok_or("its group says no num_bits of 2 to 8")? as usize;
    let dense = cols.checked_mul(bits).ok_or("its rows are too long")?.div_ceil(32);
    if dense != words {
        return Err(format!("its rows take {words} words, and {cols} codes of num_bits {bits} take {dense}"));
    }
    if 32 % bits != 0 && words > 1 && cols.div_ceil(32 / bits) == words {
        return Err(format!(
            "its {words} words a row hold {cols} codes of num_bits {bits} in two orders, one of them old"
        ));
    }
    Ok(bits as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_or_a_regex_goes_before_a_class() {
        let text = r#"{"quantization_config": {"config_groups": {
            "a": {"targets": ["Linear"], "weights": {"num_bits": 4}},
            "b": {"targets": ["re:.*down_proj", "lm_head"], "weights": {"num_bits": 8}}}}}"#;
        let config = Config::parse(text.as_bytes()).unwrap();
        let groups = Groups::of(&config).unwrap();
        let bits = |module: &str| groups.group(module).unwrap()["weights"]["num_bits"].as_u64().unwrap();
        assert_eq!(["a.up_proj", "a.down_proj", "lm_head", "x.lm_head"].map(bits), [4, 8, 8, 4]);
        let bad = Config::parse(br#"{"quantization_config": {"config_groups": {"a": {"targets": ["re:(?!x)"]}}}}"#);
        assert!(Groups::of(&bad.unwrap()).unwrap_err().contains("(?!x)"));
        let many = format!(
            r#"{{"quantization_config": {{"config_groups": {{"a": {{"targets": [{}"re:b"]}}}}}}}}"#,
            r#""re:a", "#.repeat(1000)
        );
        assert!(Groups::of(&Config::parse(many.as_bytes()).unwrap()).unwrap_err().contains("more than 1000 regexes"));
        let none = Config::parse(b"{}").unwrap();
        assert!(Groups::of(&none).unwrap().group("a").is_none());
    }

    #[test]
    fn what_the_group_says_is_what_the_tensors_show() {
        let row4 = Assembly::Packed { bits: 4, unit: Unit::Row };
        let said = |weights: Value| check(&json!({"weights": weights}), row4, 64);
        assert!(said(json!({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 64})).is_ok());
        for (weights, told) in [
            (json!({"num_bits": 8}), "num_bits 8"),
            (json!({}), "num_bits none"),
            (json!({"num_bits": 4, "type": "float"}), "type float"),
            (json!({"num_bits": 4, "symmetric": false}), "symmetric false"),
            (json!({"num_bits": 4, "strategy": "group", "group_size": 32}), "group_size 32"),
            (json!({"num_bits": 4, "strategy": "block"}), "block"),
        ] {
            assert!(said(weights).unwrap_err().contains(told), "{told}");
        }
        let bits = |bits: u32, cols, words| packed_bits(&json!({"weights": {"num_bits": bits}}), cols, words);
        assert_eq!((bits(4, 9, 2), bits(3, 8, 1), bits(2, 8, 1), bits(3, 64, 6)), (Ok(4), Ok(3), Ok(2), Ok(3)));
        // Four codes of 7 bits a word, as before 0.18; and 20 codes of 3 bits, which take two words in either order.
        assert!(bits(7, 64, 16).unwrap_err().contains("num_bits 7 take 14"));
        assert!(bits(3, 20, 2).unwrap_err().contains("two orders") && bits(9, 8, 3).is_err());
    }

    #[test]
    fn weights_that_were_turned_or_thinned_are_told() {
        let of = |block: &str| {
            also_changed(&Config::parse(format!(r#"{{"quantization_config": {block}}}"#).as_bytes()).unwrap())
        };
        assert_eq!(of(r#"{"transform_config": {}, "sparsity_config": {"format": "dense"}}"#), None);
        assert_eq!(of(r#"{"transform_config": {"config_groups": {}}, "sparsity_config": null}"#), None);
        assert!(of(r#"{"transform_config": {"config_groups": {"R1": {}}}}"#).unwrap().contains("transform_config"));
        assert!(of(r#"{"sparsity_config": {"format": "sparse-24-bitmask"}}"#).unwrap().contains("sparsity_config"));
    }

    #[test]
    fn rounded_activations_are_told() {
        let of = |inputs: &str| {
            let text = format!(
                r#"{{"quantization_config": {{"config_groups": {{"a": {{"input_activations": {inputs}}}}}}}}}"#
            );
            rounds_activations(&Config::parse(text.as_bytes()).unwrap())
        };
        assert!(of(r#"{"num_bits": 8, "type": "int", "dynamic": true}"#).unwrap().contains("rounded to 8 bits"));
        assert!(of(r#"{"num_bits": 4, "type": "float"}"#).unwrap().contains("rounded to 4 bits"));
        assert_eq!((of("null"), of("{}")), (None, None));
    }
}
