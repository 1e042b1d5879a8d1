//! A choice for other people and other programs: as a command line, as llama.cpp's list of tensor types, as a page to read and a
//! table to compute with.
//!
//! | file | what it makes |
//! |---|---|
//! | [`command`] | the command that exports the same again |
//! | [`llama_cpp`] | `--tensor-type-file` and its command line; and such a file as a recipe |
//! | [`llm_compressor`] | a recipe for its one-shot quantization |
//! | [`mlx`] | the `quantization` block of a config |
//! | [`report`] | one self-contained HTML page with its plots |
//! | [`csv`] | a line per tensor |
//! | [`forms`] | the list of the forms that are text to be pasted somewhere |
//!
//! Everything here is text from what was estimated; nothing is computed, and nothing is written.

pub mod command;
pub mod csv;
pub mod forms;
pub mod llama_cpp;
pub mod llm_compressor;
pub mod mlx;
pub mod report;

use crate::estimate::ModelEstimate;
use crate::model::Model;
use crate::recipe::{Plan, Quantize, Recipe};
use std::path::Path;

/// A choice on the model that it is made for.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// What was opened.
    pub model: &'a Model,
    /// The choice.
    pub recipe: &'a Recipe,
    /// The choice on this model.
    pub plan: &'a Plan,
}

/// What a report tells: a plan with what it comes to.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What was opened.
    pub model: &'a Model,
    /// The choice.
    pub recipe: &'a Recipe,
    /// The choice on this model.
    pub plan: &'a Plan,
    /// What it comes to.
    pub estimate: &'a ModelEstimate,
}

/// What a report's file is to hold, by its ending: a page for `.html` and `.htm`, a table for `.csv`, and nothing else.
#[must_use]
pub fn by_ending(out: &Path) -> Option<fn(Told<'_>) -> String> {
    match out.extension()?.to_str()?.to_lowercase().as_str() {
        "html" | "htm" => Some(report::html),
        "csv" => Some(csv::csv),
        _ => None,
    }
}

/// Why a choice cannot be told to another program.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation; fields are named in it")]
pub enum Error {
    #[error("{program} has no words for {what}; {instead}")]
    NoWords { program: &'static str, what: String, instead: &'static str },
    #[error("line {line}: {what}")]
    Line { line: usize, what: String },
}

/// Refuses what a program that only chooses how weights are stored has no words for: pruning, factors, removals, casts, and codes
/// that are there already.
fn only_stored_otherwise(choice: Choice<'_>, program: &'static str, instead: &'static str) -> Result<(), Error> {
    let Choice { model, plan, .. } = choice;
    for (index, tensor) in model.tensors.iter().enumerate() {
        let outcome = plan.outcome(model, index);
        let scheme = outcome.scheme;
        let cast = matches!(scheme.quantize, Some(Quantize::F16 | Quantize::Bf16));
        let dtype = crate::estimate::size::stored_dtype(tensor.dtype, scheme);
        let what = match () {
            () if tensor.is_coded() => tensor.type_name().into_owned(),
            () if scheme.prune.is_some() || scheme.factorize.is_some() => scheme.to_string(),
            () if outcome.cut || outcome.zeroed => "what others remove".to_owned(),
            () if cast && dtype != tensor.dtype => scheme.to_string(),
            () => continue,
        };
        let what = format!("{what} on {}", crate::formats::error::printable(&tensor.name));
        return Err(Error::NoWords { program, what, instead });
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::recipe::Target;

    /// What a form says of some settings on a small llama.
    pub(crate) fn told(
        target: Target,
        settings: &[&str],
        form: fn(Choice<'_>) -> Result<String, Error>,
    ) -> Result<String, Error> {
        let parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj"];
        let shape = &[64_usize, 128][..];
        let names = parts.map(|part| (format!("model.layers.0.{part}.weight"), shape));
        let model = Model::named(&names, Some(r#"{"model_type": "llama"}"#));
        let mut recipe = Recipe { target: Some(target), ..Recipe::default() };
        settings.iter().for_each(|setting| drop(recipe.set(&model, setting).unwrap()));
        let plan = match Plan::new(&model, &recipe, false) {
            Ok(plan) => plan,
            // What no file of this target can be made of has no words either, and the plan says so.
            Err(error) => return Err(Error::NoWords { program: "a plan", what: error.to_string(), instead: "" }),
        };
        form(Choice { model: &model, recipe: &recipe, plan: &plan })
    }
}
