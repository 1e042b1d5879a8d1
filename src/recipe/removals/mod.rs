//! Structured pruning on a given model: which dimensions lose how many units, what follows, and why something stays.
//!
//! How many go depends on shapes alone, so every shape of an artifact is known before a weight is read; which ones go is
//! found by `compress`. The rules:
//!
//! - `rows` asks for dimension 0 of its tensor, `cols` for dimension 1, `heads` for the attention heads and `ffn` for the
//!   hidden units that its tensor has a part in (in a plain chain: those behind it, for the last layer those before it).
//! - A dimension is cut once. An override outranks a rule, a later rule an earlier one, and among overrides, which have no
//!   order, the largest share counts. Rows and columns are ranked by the sums of squares in the tensors that ask for that
//!   cut; heads and hidden units by those of all weight matrices that have a part in them. The source is ranked as it lies,
//!   whatever else is removed from it.
//! - A tensor may lose rows to one cut and columns to another. Its own scheme then works on what remains.
//! - A cut that the architecture cannot hold zeroes instead: the same units, in the same tensors. A dimension that stands
//!   alone (the residual stream, inputs, outputs, what names do not tell) is zeroed in the tensor that asks, nowhere else.

mod work;

use super::{Assignment, Error, Prune, Target};
use crate::model::Model;
use crate::model::graph::Section;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Some units of a dimension that go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Removal {
    /// Units of the dimension.
    pub units: usize,
    /// How many of them go.
    pub removed: usize,
    /// Whose sums of squares rank the units: the smallest go, of equals the first.
    pub ranked_by: Vec<Part>,
    /// Whose indices go.
    pub parts: Vec<Part>,
    /// Whether they become 0 and stay, rather than go.
    pub zeroed: bool,
}

/// What a unit is in one tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// The tensor's position.
    pub tensor: usize,
    /// Its dimension 0, or 1.
    pub axis: usize,
    /// Where the units lie there.
    pub sections: Vec<Section>,
}

impl Part {
    /// Indices of the dimension in each unit.
    #[must_use]
    pub fn width(&self) -> usize {
        self.sections.iter().map(|s| s.width).sum()
    }
}

/// Everything that a plan takes out by structured pruning.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removals {
    /// The cuts.
    pub cuts: Vec<Removal>,
    /// Numbers that a config beside the weights must say from now on.
    pub config: BTreeMap<&'static str, usize>,
    shapes: HashMap<usize, Vec<usize>>,
    /// The cuts that have a part in a tensor, by position.
    touched: BTreeMap<usize, Vec<usize>>,
    notes: HashMap<usize, String>,
}

impl Removals {
    /// Works out what the assignments of a plan remove, as far as `target` can hold it. `locked` tensors may not lose anything
    /// that others ask for.
    ///
    /// # Errors
    /// When a locked tensor would have to follow, or a line asks for heads or hidden units and none of its tensors is known
    /// to have any.
    pub fn of(model: &Model, assignments: &[Assignment], locked: &[String], target: Target) -> Result<Self, Error> {
        if !assignments.iter().any(|a| matches!(a.stored.prune, Some(Prune::Structured { .. }))) {
            return Ok(Self::default());
        }
        work::removals(model, assignments, locked, target)
    }

    /// The shape that a tensor has afterwards.
    #[must_use]
    pub fn shape<'a>(&'a self, model: &'a Model, index: usize) -> &'a [usize] {
        self.shapes.get(&index).map_or(&model.tensors[index].shape, Vec::as_slice)
    }

    /// Whether a tensor loses rows or columns, or has some zeroed.
    #[must_use]
    pub fn touches(&self, index: usize) -> bool {
        self.touched.contains_key(&index)
    }

    /// Whether a tensor has rows or columns zeroed.
    #[must_use]
    pub fn zeroes(&self, index: usize) -> bool {
        self.cuts_of(index).any(|(_, cut)| cut.zeroed)
    }

    /// The tensors that lose rows or columns, or have some zeroed, ascending.
    pub fn touched(&self) -> impl Iterator<Item = usize> {
        self.touched.keys().copied()
    }

    /// The cuts that have a part in a tensor, with their positions.
    pub fn cuts_of(&self, index: usize) -> impl Iterator<Item = (usize, &Removal)> {
        self.touched.get(&index).into_iter().flatten().map(|&at| (at, &self.cuts[at]))
    }

    /// A number that changes when what is taken out of a tensor changes; 0 when nothing is.
    #[must_use]
    pub fn fingerprint(&self, index: usize) -> u64 {
        if !self.touches(index) {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        self.cuts_of(index).for_each(|(_, cut)| cut.hash(&mut hasher));
        hasher.finish()
    }

    /// What is removed or zeroed in a tensor, with which others, and why, as a sentence without its full stop.
    #[must_use]
    pub fn note(&self, index: usize) -> Option<&str> {
        self.notes.get(&index).map(String::as_str)
    }

    /// Adds a cut, and what it does to shapes.
    fn add(&mut self, model: &Model, cut: Removal) {
        for part in &cut.parts {
            let touched = self.touched.entry(part.tensor).or_default();
            if touched.last() != Some(&self.cuts.len()) {
                touched.push(self.cuts.len());
            }
            if !cut.zeroed {
                let shape = self.shapes.entry(part.tensor).or_insert_with(|| model.tensors[part.tensor].shape.clone());
                shape[part.axis] -= cut.removed * part.width();
            }
        }
        self.cuts.push(cut);
    }

    fn say(&mut self, index: usize, text: &str) {
        let note = self.notes.entry(index).or_default();
        if !note.is_empty() {
            note.push_str("; ");
        }
        note.push_str(text);
    }
}

#[cfg(test)]
mod tests;
