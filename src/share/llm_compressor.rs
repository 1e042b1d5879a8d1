//! llm-compressor's own words for a choice: a recipe for its one-shot quantization, without calibration data.
//!
//! Its `QuantizationModifier` takes the groups of compressed-tensors, the same that an artifact's `config.json` has. The scales are
//! its own: of a symmetric grid it takes max|w| over half the codes (7.5 at four bits), Spokeshave over the largest code (7). What it
//! prunes by, it prunes by data or in training; magnitude in one shot is not among its modifiers.

use super::{Choice, Error, only_stored_otherwise};
use crate::recipe::runtime_config::{self, CONFIG_KEY};
use crate::recipe::{Quantize, Range, Target};
use serde_json::Value;

const PROGRAM: &str = "llm-compressor";

/// The recipe, as YAML whose leaves are JSON.
///
/// # Errors
/// What it has no words for.
pub fn recipe(choice: Choice<'_>) -> Result<String, Error> {
    let Choice { model, plan, .. } = choice;
    let refused = |what: &str, instead| Err(Error::NoWords { program: PROGRAM, what: what.to_owned(), instead });
    if plan.target != Target::CompressedTensors {
        return refused(&format!("target {}", plan.target.name()), "take target compressed-tensors, which it writes");
    }
    only_stored_otherwise(choice, PROGRAM, "export it, and give the exported folder to llm-compressor")?;
    for (tensor, assignment) in model.tensors.iter().zip(&plan.assignments) {
        match &assignment.stored.quantize {
            Some(Quantize::Int { range: Range::Percentile(_), .. }) => {
                let what = format!("a percentile range on {}", crate::formats::error::printable(&tensor.name));
                return refused(&what, "take the largest magnitude");
            }
            Some(Quantize::Int { range: Range::Mse, .. }) => {
                let what = format!(
                    "a searched clip on {} as Spokeshave searches it",
                    crate::formats::error::printable(&tensor.name)
                );
                return refused(&what, "take the largest magnitude, or add observer: mse by hand");
            }
            _ => {}
        }
    }
    let values = runtime_config::values(model, plan);
    let config = values.into_iter().find(|(key, _)| *key == CONFIG_KEY).and_then(|(_, value)| value);
    let Some(config) = config else { return refused("a choice that quantizes nothing", "choose a format first") };
    let mut out = String::from(
        "# For llmcompressor.oneshot(model, recipe=\"this file\"). Scales are llm-compressor's own: the file it writes has the\n# same size as Spokeshave's, and other roundings.\ndefault_stage:\n  default_modifiers:\n    QuantizationModifier:\n      config_groups:\n",
    );
    let groups = config.get("config_groups").and_then(Value::as_object);
    for (name, group) in groups.into_iter().flatten() {
        out += &format!("        {name}:\n");
        for (key, value) in group.as_object().into_iter().flatten() {
            out += &format!("          {key}: {value}\n");
        }
    }
    out += &format!("      ignore: {}\n", config.get("ignore").unwrap_or(&Value::Null));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn groups_are_those_of_the_config() {
        let text = told(Target::CompressedTensors, &["*=int4:g128", "*down_proj*=fp8_e4m3:row"], recipe).unwrap();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines[..5],
            [
                "default_stage:",
                "  default_modifiers:",
                "    QuantizationModifier:",
                "      config_groups:",
                "        group_0:"
            ]
        );
        assert!(text.contains("          format: \"float-quantized\"\n") && text.contains("\"num_bits\":4"));
        assert!(text.ends_with("      ignore: [\"lm_head\"]\n"), "{text}");
    }

    #[test]
    fn what_it_has_no_words_for_is_told() {
        let refused = |target, settings: &[&str]| told(target, settings, recipe).unwrap_err().to_string();
        assert!(refused(Target::Packed, &["*=int4"]).contains("target packed"));
        assert!(refused(Target::CompressedTensors, &["*=prune:0.5+int4:g128"]).contains("prune:0.5+int4:g128 on"));
        assert!(refused(Target::CompressedTensors, &["*=int4:g128:mse"]).contains("searched clip"));
        assert!(refused(Target::CompressedTensors, &[]).contains("quantizes nothing"));
    }
}
