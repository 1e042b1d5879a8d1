//! The whole choice as text: target, ordered rules, overrides and locks, and what they come to on a given model.
//!
//! ```text
//! scheme   "prune:0.9+int4:row"          what is done to one tensor
//! pattern  "*.ffn_up.weight"             which tensors a line touches
//! recipe   version, target, [[rule]], [[override]], locked        a file, the window's state, an artifact's memory
//! plan     recipe + model  ─►  one scheme per tensor, as asked and as the target can hold it
//! ```
//!
//! Nothing here looks at a weight. A request that cannot be met is refused with what would be accepted instead.

mod activations;
pub mod decimal;
pub mod error;
pub mod file;
mod hints;
mod holds;
mod joined;
mod masks;
pub mod pattern;
pub mod plan;
pub mod removals;
pub mod runtime_config;
mod runtimes;
pub mod scheme;
mod scheme_text;
mod settle;
pub mod target;

pub use decimal::Decimal;
pub use error::Error;
pub use pattern::Pattern;
pub use plan::{Assignment, Line, Outcome, Plan};
pub use removals::Removals;
pub use scheme::{Factorize, Prune, Quantize, Range, Scheme, Scope, Structure};
pub use target::Target;

/// One line: the tensors a pattern touches get this scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Which tensors.
    pub pattern: Pattern,
    /// What is done to them.
    pub scheme: Scheme,
}

/// A tensor named in full and its scheme; it outranks every rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// The tensor's whole name.
    pub tensor: String,
    /// What is done to it.
    pub scheme: Scheme,
}

/// Everything that was chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recipe {
    /// The format to be written; `None` leaves it to the model's kind.
    pub target: Option<Target>,
    /// Whether tensors that are stored as codes may be touched: they then count by their dequantized values.
    pub requantize: bool,
    /// Rules; of those that touch a tensor the last one holds.
    pub rules: Vec<Rule>,
    /// Single tensors, after the rules.
    pub overrides: Vec<Override>,
    /// Tensors that allocation, and patterns set later, leave alone.
    pub locked: Vec<String>,
    /// Free text that travels with the file.
    pub meta: std::collections::BTreeMap<String, String>,
    /// Where its names were read, for messages.
    pub lines: Lines,
}

/// The lines of a file in which a recipe names tensors. They are no part of what it says: any two are equal.
#[derive(Clone, Debug, Default)]
pub struct Lines(Option<std::sync::Arc<file::NamedLines>>);

impl PartialEq for Lines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
