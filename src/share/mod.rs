//! A choice for other people and other programs: as a command line, as llama.cpp's list of tensor types, as a page to read and a
//! table to compute with.
//!
//! | file | what it makes |
//! |---|---|
//! | [`command`] | the command that exports the same again |
//! | [`llama_cpp`] | `--tensor-type-file` and its command line; and such a file as a recipe |
//! | [`report`] | one self-contained HTML page with its plots |
//! | [`csv`] | a line per tensor |
//! | [`forms`] | the list of the forms that are text to be pasted somewhere |
//!
//! Everything here is text from what was estimated; nothing is computed, and nothing is written.

pub mod command;
pub mod csv;
pub mod forms;
pub mod llama_cpp;
pub mod report;

use crate::estimate::ModelEstimate;
use crate::model::Model;
use crate::recipe::{Plan, Recipe};
use std::path::Path;

/// What is told: a plan with what it comes to.
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
