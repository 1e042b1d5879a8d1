//! What the safetensors files of an artifact list: one tensor for most, several for a weight in a runtime's layout.

use super::total::stored_dtype;
use crate::formats::assembly::{Part, WEIGHT};
use crate::formats::safetensors::Listing;
use crate::model::Model;
use crate::recipe::Plan;

/// One tensor of a file.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The tensor of the model that it is of, by position.
    pub tensor: usize,
    /// Which part of its layout; `None` where it is the tensor itself.
    pub part: Option<Part>,
    /// What the header says.
    pub listing: Listing,
}

/// What is listed for some of a model's tensors, those of one tensor side by side.
#[must_use]
pub fn stored(model: &Model, plan: &Plan, tensors: &[usize]) -> Vec<Stored> {
    tensors.iter().flat_map(|&tensor| stored_of(model, plan, tensor)).collect()
}

fn stored_of(model: &Model, plan: &Plan, tensor: usize) -> Vec<Stored> {
    let of = plan.outcome(model, tensor);
    let name = of.tensor.name.as_str();
    let Some(assembly) = of.assembly(plan.target) else {
        let listing = Listing { name: name.to_owned(), dtype: stored_dtype(of, plan.target), shape: of.shape.to_vec() };
        return vec![Stored { tensor, part: None, listing }];
    };
    let module = name.strip_suffix(WEIGHT).unwrap_or(name);
    let one = |part: Part| {
        let listing = Listing { name: part.name(module), dtype: part.dtype, shape: part.shape.clone() };
        Stored { tensor, part: Some(part), listing }
    };
    assembly.parts(of.tensor.dtype, of.shape).into_iter().map(one).collect()
}
