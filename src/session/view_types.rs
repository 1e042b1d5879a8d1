//! The parts of the live state: what is known of a row, what was measured, where the hand has rested, how an export ended.

use crate::estimate::TensorEstimate;
use crate::evaluate::Accuracy;
use crate::evaluate::mlp::Prediction;
use crate::evaluate::network::PixelMap;
use crate::export::Artifact;
use crate::recipe::{Scheme, Target};
use std::sync::Arc;

/// What an estimate depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The format to be written.
    pub target: Target,
    /// The scheme as it is stored.
    pub scheme: Scheme,
    /// A number for the members of a global pool, and for what structured pruning takes out; 0 without either.
    pub members: u64,
}

impl Default for Key {
    fn default() -> Self {
        Self { target: Target::Packed, scheme: Scheme::keep(), members: 0 }
    }
}

impl Key {
    /// Whether it stands for this.
    #[must_use]
    pub fn is(&self, target: Target, scheme: &Scheme, members: u64) -> bool {
        self.target == target && self.members == members && self.scheme == *scheme
    }
}

/// What is known of one tensor under the current plan.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The newest estimate, for the current scheme or an earlier one.
    pub estimate: Option<Arc<TensorEstimate>>,
    /// Whether it is for the current scheme.
    pub fresh: bool,
    /// Why there is none for the current scheme.
    pub refusal: Option<String>,
    pub(super) key: Key,
}

/// A measured accuracy and what it is over.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Correct of how many.
    pub accuracy: Accuracy,
    /// Whether it is over the whole set.
    pub whole: bool,
    /// Whether it belongs to the current plan.
    pub fresh: bool,
    /// Answers for the images shown.
    pub shown: Vec<Prediction>,
    /// Which pixels the network looks at.
    pub seen: Arc<PixelMap>,
}

/// A place on the trade-off plot where the hand has rested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathPoint {
    /// Bytes of the artifact.
    pub bytes: u64,
    /// Fidelity in percent.
    pub fidelity: f64,
    /// Measured accuracy in percent, where there is one.
    pub accuracy: Option<f64>,
}

/// To which tensors a change of the selected one's scheme goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ApplyTo {
    /// The selected tensor alone.
    #[default]
    This,
    /// All tensors of its role.
    Role,
    /// All weight matrices.
    All,
    /// Those that a pattern touches.
    Pattern(String),
}

/// A scheme that another target cannot hold, and what it would take instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    /// As it is now.
    pub from: Scheme,
    /// The nearest that the target holds.
    pub to: Scheme,
    /// The tensors that have it.
    pub tensors: Vec<usize>,
}

/// What an export came to.
#[derive(Debug)]
pub enum Outcome {
    /// It is there, and is what was planned.
    Done(Box<Artifact>),
    /// It is not, and why.
    Failed(String),
}
