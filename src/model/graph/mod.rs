//! Which tensors share a dimension, read from names and shapes: what else must go when a row, a column, a head or a hidden
//! unit goes.
//!
//! ```text
//!  fc1.weight [300, 784] ─ rows ─┐
//!  fc1.bias   [300] ─────────────┼─ one dimension of 300 units
//!  fc2.weight [100, 300] ─ cols ─┘
//! ```
//!
//! | file | what it knows |
//! |---|---|
//! | `transformer` | feed-forward blocks and attention of llama, BERT, OPT, NeoX and GPT-2 names |
//! | `residual` | the inside of a residual block of convolutions |
//! | `chain` | networks in which each layer reads the one before: MLPs, convolutions, then an MLP |
//!
//! Where names and shapes leave a doubt the dimension is not known, and then nothing is removed from it. What a
//! `config.json` must say of a network that lost units is part of a dimension: its [`Law`].

mod chain;
mod residual;
mod transformer;

use super::{Config, Role, Tensor};
use std::collections::HashSet;

/// The dimensions that tensors of a model share.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Shared dimensions, in the order of their first tensor.
    pub dimensions: Vec<Dimension>,
    /// What is known of dimensions 0 and 1 of each tensor.
    sides: Vec<[Side; 2]>,
}

/// A dimension that several tensors share, in units that can go one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// What a unit is.
    pub kind: Kind,
    /// How many there are.
    pub units: usize,
    /// Whose they are.
    pub members: Vec<Member>,
    /// What a config must say when some go.
    pub law: Law,
    /// Whether it can lose nothing, because one of its tensors is stored as codes.
    pub frozen: bool,
}

/// What a unit of a shared dimension is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A neuron or channel between two layers.
    Hidden,
    /// A hidden unit of a feed-forward block.
    FeedForward,
    /// An attention head; with grouped queries, a key-value head with all its queries.
    Heads,
}

/// A tensor's part in a shared dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its position in the model.
    pub tensor: usize,
    /// Which of its dimensions: 0, or 1.
    pub axis: usize,
    /// Where a unit lies there: unit `u` is `width` indices from `start + u·width`, in every section.
    pub sections: Vec<Section>,
    /// Whether it must become 0 when a unit is zeroed instead of removed. A running mean need not.
    pub zeroed: bool,
}

/// A stretch of a dimension in which all units lie one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Section {
    /// Its first index.
    pub start: usize,
    /// Indices of one unit.
    pub width: usize,
}

/// What a `config.json` must say of a network that lost units of a dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Law {
    /// Nothing.
    Free,
    /// Numbers, the same for the whole network: all dimensions under the same key must lose equally many.
    Config {
        /// Keys whose number is so many per unit.
        per_unit: Vec<(&'static str, usize)>,
        /// Keys with a number that must be written out, because it was derived from the others.
        fixed: Vec<(&'static str, usize)>,
    },
    /// It has no words for it, and this is why.
    Never(&'static str),
}

/// What is known of one dimension of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It is a shared dimension, by position in [`Graph::dimensions`].
    Shared(usize),
    /// It stands alone.
    Alone(Alone),
}

/// Why a dimension is not shared with others in a way that units could be removed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// Nothing is known of it.
    Unknown,
    /// It is the stream that every block reads and writes.
    Residual,
    /// It is what the network is given.
    Input,
    /// It is what the network answers.
    Output,
    /// It is the vocabulary.
    Vocabulary,
    /// Some tensor of the dimension is stored as codes.
    Codes,
}

impl Alone {
    /// The reason in words, after "because".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unknown => "names do not tell what else has this dimension",
            Self::Residual => "it is the residual stream, which every block shares",
            Self::Input => "it is the input of the network",
            Self::Output => "it is the output of the network",
            Self::Vocabulary => "it is the vocabulary",
            Self::Codes => "a tensor of this dimension is stored as codes",
        }
    }
}

impl Law {
    /// The key of a config under which all dimensions must lose equally many.
    #[must_use]
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Config { per_unit, .. } => per_unit.first().map(|(key, _)| *key),
            Self::Free | Self::Never(_) => None,
        }
    }
}

impl Member {
    fn new(tensor: usize, axis: usize, sections: Vec<Section>) -> Self {
        Self { tensor, axis, sections, zeroed: true }
    }

    /// Whether a unit is one index.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.sections == [Section { start: 0, width: 1 }]
    }

    /// Indices of the dimension that belong to a unit.
    pub fn indices(&self, unit: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.sections.iter().map(move |s| s.start + unit * s.width..s.start + (unit + 1) * s.width)
    }

    /// Indices of the dimension in each unit.
    #[must_use]
    pub fn width(&self) -> usize {
        self.sections.iter().map(|s| s.width).sum()
    }
}

impl Graph {
    /// Reads the graph of a model from its tensors and from the config beside them.
    #[must_use]
    pub fn of(tensors: &[Tensor], config: Option<&Config>) -> Self {
        let sides = vec![[Side::Alone(Alone::Unknown); 2]; tensors.len()];
        let embedding = tensors.iter().find(|t| t.role == Role::Embedding && t.shape.len() == 2);
        let embedding_width = embedding.map(|embedding| embedding.shape[1]);
        let mut builder = Builder { tensors, config, embedding_width, graph: Self { dimensions: Vec::new(), sides } };
        transformer::find(&mut builder);
        residual::find(&mut builder);
        if builder.graph.dimensions.is_empty() {
            chain::find(&mut builder);
        }
        builder.graph
    }

    /// What is known of dimension `axis` of a tensor; nothing of dimensions after the first two.
    #[must_use]
    pub fn side(&self, tensor: usize, axis: usize) -> Side {
        let sides = self.sides.get(tensor).and_then(|sides| sides.get(axis));
        sides.copied().unwrap_or(Side::Alone(Alone::Unknown))
    }

    /// The shared dimension of this kind that a tensor has a part in.
    #[must_use]
    pub fn shared(&self, tensor: usize, kinds: &[Kind]) -> Option<usize> {
        (0..2).find_map(|axis| match self.side(tensor, axis) {
            Side::Shared(d) if kinds.contains(&self.dimensions[d].kind) => Some(d),
            _ => None,
        })
    }
}

/// A graph in the making, and what it is made from.
struct Builder<'a> {
    tensors: &'a [Tensor],
    config: Option<&'a Config>,
    /// Columns of the first embedding.
    embedding_width: Option<usize>,
    graph: Graph,
}

impl<'a> Builder<'a> {
    fn find(&self, name: &str) -> Option<usize> {
        self.tensors.binary_search_by(|t| t.name.as_str().cmp(name)).ok()
    }

    /// The weight of a module, if it has one with at least two dimensions.
    fn weight(&self, module: &str) -> Option<usize> {
        self.find(&format!("{module}.weight")).filter(|&i| self.tensors[i].shape.len() >= 2)
    }

    /// A 1-D tensor of a module with exactly this many elements.
    fn vector(&self, name: &str, len: usize) -> Option<usize> {
        self.find(name).filter(|&i| self.tensors[i].shape == [len])
    }

    /// The tensors below a module, by position: names are sorted.
    fn below(&self, module: &str) -> impl Iterator<Item = (usize, &'a Tensor)> + use<'a> {
        let inside = if module.is_empty() { String::new() } else { format!("{module}.") };
        let first = self.tensors.partition_point(|t| t.name.as_str() < inside.as_str());
        let rest = self.tensors[first..].iter().enumerate().map(move |(i, t)| (first + i, t));
        rest.take_while(move |(_, t)| t.name.starts_with(&inside))
    }

    fn shape(&self, tensor: usize) -> &'a [usize] {
        &self.tensors[tensor].shape
    }

    fn set_alone(&mut self, tensor: usize, axis: usize, why: Alone) {
        if matches!(self.graph.side(tensor, axis), Side::Alone(_)) {
            self.graph.sides[tensor][axis] = Side::Alone(why);
        }
    }

    /// Adds a dimension; its tensors must agree on it and have no other on that side.
    fn share(&mut self, mut dimension: Dimension) {
        let fits = |m: &Member| {
            let len = self.shape(m.tensor).get(m.axis).copied().unwrap_or(0);
            m.width() * dimension.units == len && matches!(self.graph.side(m.tensor, m.axis), Side::Alone(_))
        };
        let places: HashSet<(usize, usize)> = dimension.members.iter().map(|m| (m.tensor, m.axis)).collect();
        if dimension.units == 0 || places.len() != dimension.members.len() || !dimension.members.iter().all(fits) {
            return;
        }
        // Its key in the config stays taken all the same.
        dimension.frozen = dimension.members.iter().any(|m| !self.tensors[m.tensor].is_touchable());
        let shared = Side::Shared(self.graph.dimensions.len());
        let place = if dimension.frozen { Side::Alone(Alone::Codes) } else { shared };
        dimension.members.iter().for_each(|m| self.graph.sides[m.tensor][m.axis] = place);
        self.graph.dimensions.push(dimension);
    }
}

/// One section from the start.
fn sections(width: usize) -> Vec<Section> {
    vec![Section { start: 0, width }]
}

#[cfg(test)]
mod tests;
