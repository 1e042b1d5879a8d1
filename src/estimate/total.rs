//! The model as a whole: sums over tensors, what the container adds, bits per weight and fidelity.

use super::exact::TensorEstimate;
use super::fidelity::{FidelityForm, fidelity};
use super::files::{FilePlan, files, index_text};
use super::size::{self, Sizes};
use super::{Label, TensorStats, estimate_tensor, tensor_stats};
use crate::compress::{Error, Joint};
use crate::control::Control;
use crate::formats::{packed, safetensors};
use crate::model::{Model, RECIPE_KEY, Tensor};
use crate::recipe::{Plan, Recipe, Scheme, Target, file};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// What a plan comes to.
#[derive(Clone, Debug)]
pub struct ModelEstimate {
    /// The format to be written.
    pub target: Target,
    /// The weakest kind among the parts.
    pub label: Label,
    /// Bytes of the source: files and index.
    pub source_bytes: u64,
    /// Bytes of the artifact, header and padding included; `None` when they depend on values that were not read.
    pub bytes: Option<u64>,
    /// What no tensor owns.
    pub overhead_bytes: Option<u64>,
    /// Sum of the sparse bounds.
    pub sparse_bytes: Option<u64>,
    /// Sum of the entropy bounds.
    pub entropy_bytes: Option<u64>,
    /// 8·bytes / parameters.
    pub bits_per_weight: Option<f64>,
    /// The headline proxy in percent.
    pub fidelity: Option<f64>,
    /// Its form.
    pub fidelity_form: FidelityForm,
    /// Where the bytes go.
    pub sizes: Sizes,
    /// One per tensor, in the model's order.
    pub tensors: Vec<TensorEstimate>,
}

/// The metadata an artifact carries: the source's own text, `format` for readers that want it, and the recipe.
#[must_use]
pub fn artifact_metadata(model: &Model, recipe: &Recipe, target: Target) -> BTreeMap<String, String> {
    let mut metadata = model.metadata.clone();
    metadata.entry("format".into()).or_insert_with(|| "pt".into());
    metadata.insert(RECIPE_KEY.into(), file::print(&recipe.canonical(target)));
    metadata
}

/// Bytes of the container around the payloads, from each tensor's coding as `packed` would list it.
#[must_use]
pub fn overhead_bytes(model: &Model, plan: &Plan, recipe: &Recipe, nonzeros: impl Fn(usize) -> u64) -> u64 {
    let metadata = artifact_metadata(model, recipe, plan.target);
    if plan.target == Target::Packed {
        let head = packed::lay_out(&packed_listings(model, plan, nonzeros), &metadata);
        return head.map_or(0, |(head, _)| head.len() as u64);
    }
    let files = files(model, plan.target);
    let header = |file: &FilePlan| {
        let header = safetensors::lay_out(&dense_listings(model, plan, &file.tensors), &metadata);
        header.map_or(0, |header| header.bytes.len() as u64)
    };
    let index = index_text(model, plan, &files).map_or(0, |text| text.len() as u64);
    files.iter().map(header).sum::<u64>() + index
}

/// What the dense target lists for some of the tensors.
#[must_use]
pub fn dense_listings(model: &Model, plan: &Plan, tensors: &[usize]) -> Vec<safetensors::Listing> {
    let listing = |&i: &usize| safetensors::Listing {
        name: model.tensors[i].name.clone(),
        dtype: stored_dtype(&model.tensors[i], &plan.assignments[i].stored),
        shape: model.tensors[i].shape.clone(),
    };
    tensors.iter().map(listing).collect()
}

/// The dtype that a tensor has in the artifact.
#[must_use]
pub fn stored_dtype(tensor: &Tensor, scheme: &Scheme) -> crate::formats::Dtype {
    if size::is_kept(tensor, scheme) { tensor.dtype } else { size::stored_dtype(tensor.dtype, scheme) }
}

/// What `packed` lists, given each tensor's number of elements with q ≠ 0.
#[must_use]
pub fn packed_listings(model: &Model, plan: &Plan, nonzeros: impl Fn(usize) -> u64) -> Vec<packed::Listing> {
    // Neighbours mostly have the same scheme, and this is laid out in every frame: it is spelled once for all of them.
    let mut spelled: Option<(&Scheme, String)> = None;
    let mut listings = Vec::with_capacity(model.tensors.len());
    for (i, (tensor, assignment)) in model.tensors.iter().zip(&plan.assignments).enumerate() {
        let scheme = &assignment.stored;
        let coding = if size::is_kept(tensor, scheme) {
            tensor.coding.clone()
        } else {
            let (_, name) =
                spelled.take_if(|(last, _)| *last == scheme).unwrap_or_else(|| (scheme, scheme.embedded().to_string()));
            let coding = size::packed_coding(name.clone(), tensor, scheme, nonzeros(i));
            spelled = Some((scheme, name));
            coding
        };
        listings.push(packed::Listing {
            name: tensor.name.clone(),
            dtype: stored_dtype(tensor, scheme),
            shape: tensor.shape.clone(),
            coding,
        });
    }
    listings
}

/// Estimates every tensor of a plan, exactly.
///
/// # Errors
/// The first tensor, in order, that cannot be read or refuses its scheme.
pub fn estimate_model(model: &Model, plan: &Plan, recipe: &Recipe, control: &Control) -> Result<ModelEstimate, Error> {
    control.expect(model.tensors.iter().map(Tensor::bytes).sum());
    model.steadily(|| estimate_all(model, plan, recipe, control))
}

fn estimate_all(model: &Model, plan: &Plan, recipe: &Recipe, control: &Control) -> Result<ModelEstimate, Error> {
    let joint = Joint::new(model, plan, control)?;
    let one = |(i, tensor): (usize, &Tensor)| {
        let scheme = &plan.assignments[i].stored;
        if size::is_kept(tensor, scheme) {
            let stats: Option<TensorStats> = tensor_stats(model, tensor, false, control)?;
            return Ok(TensorEstimate::kept(tensor, plan.target, stats.as_ref(), true));
        }
        estimate_tensor(&joint.task(model, plan, i, control), None)
    };
    let tensors: Result<Vec<TensorEstimate>, Error> = model.tensors.par_iter().enumerate().map(one).collect();
    Ok(sum_up(model, plan, recipe, tensors?))
}

/// Bytes alone, without reading a weight: what depends on values is absent.
#[must_use]
pub fn bytes_only(model: &Model, plan: &Plan, recipe: &Recipe) -> ModelEstimate {
    let one = |(tensor, assignment): (&Tensor, &crate::recipe::Assignment)| {
        let scheme = &assignment.stored;
        if size::is_kept(tensor, scheme) {
            return TensorEstimate::kept(tensor, plan.target, None, false);
        }
        TensorEstimate {
            stored_as: scheme.to_string(),
            label: Label::Exact,
            sizes: size::stored(tensor, scheme, plan.target, tensor.elements() as u64),
            sparse_bytes: None,
            entropy_bytes: None,
            errors: None,
            t2_error: None,
            threshold: None,
            after: None,
            scales: None,
        }
    };
    let tensors = model.tensors.iter().zip(&plan.assignments).map(one).collect();
    let mut total = sum_up(model, plan, recipe, tensors);
    // In `packed` the number of zeros decides between dense and mask, and only values tell it.
    let touched = model.tensors.iter().zip(&plan.assignments).any(|(t, a)| !size::is_kept(t, &a.stored));
    let by_values = plan.target == Target::Packed && touched;
    if by_values {
        (total.bytes, total.overhead_bytes, total.bits_per_weight) = (None, None, None);
    }
    let all_known = total.tensors.iter().all(|t| t.sparse_bytes.is_some());
    if !all_known {
        (total.sparse_bytes, total.entropy_bytes) = (None, None);
    }
    total.fidelity = if touched { None } else { total.fidelity };
    total
}

/// The sums of a model's estimates.
#[derive(Clone, Debug, PartialEq)]
pub struct Totals {
    /// The weakest kind among the parts.
    pub label: Label,
    /// Bytes of the artifact, header and padding included.
    pub bytes: u64,
    /// What no tensor owns.
    pub overhead_bytes: u64,
    /// Sum of the sparse bounds, when all are known.
    pub sparse_bytes: Option<u64>,
    /// Sum of the entropy bounds, when all are known.
    pub entropy_bytes: Option<u64>,
    /// 8·bytes / parameters; `None` without parameters.
    pub bits_per_weight: Option<f64>,
    /// The headline proxy in percent.
    pub fidelity: f64,
    /// Where the bytes go.
    pub sizes: Sizes,
}

/// Adds up estimates, one per tensor.
#[must_use]
pub fn totals(model: &Model, plan: &Plan, recipe: &Recipe, tensors: &[&TensorEstimate]) -> Totals {
    let sizes = tensors.iter().fold(Sizes::default(), |sum, t| sum.plus(t.sizes));
    let overhead = overhead_bytes(model, plan, recipe, |i| nonzeros(&model.tensors[i], tensors[i]));
    let bytes = sizes.total() + overhead;
    let parameters = model.parameters();
    let counts = |tensor: &Tensor| tensor.shape.len() >= 2 && tensor.is_float_source();
    let t2 = model.tensors.iter().zip(tensors).filter(|(t, _)| counts(t)).map(|(_, e)| e.t2());
    Totals {
        label: tensors.iter().map(|t| t.label).max().unwrap_or(Label::Exact),
        bytes,
        overhead_bytes: overhead,
        sparse_bytes: tensors.iter().map(|t| t.sparse_bytes).sum(),
        entropy_bytes: tensors.iter().map(|t| t.entropy_bytes).sum(),
        bits_per_weight: (parameters > 0).then(|| 8.0 * bytes as f64 / parameters as f64),
        fidelity: fidelity(t2),
        sizes,
    }
}

/// Adds up estimates that are all there.
#[must_use]
pub fn sum_up(model: &Model, plan: &Plan, recipe: &Recipe, tensors: Vec<TensorEstimate>) -> ModelEstimate {
    let sums = totals(model, plan, recipe, &tensors.iter().collect::<Vec<_>>());
    ModelEstimate {
        target: plan.target,
        label: sums.label,
        source_bytes: model.bytes,
        bytes: Some(sums.bytes),
        overhead_bytes: Some(sums.overhead_bytes),
        sparse_bytes: sums.sparse_bytes,
        entropy_bytes: sums.entropy_bytes,
        bits_per_weight: sums.bits_per_weight,
        fidelity: Some(sums.fidelity),
        fidelity_form: FidelityForm::Chain,
        sizes: sums.sizes,
        tensors,
    }
}

/// Elements of a tensor with q ≠ 0, from its estimate.
#[must_use]
pub fn nonzeros(tensor: &Tensor, estimate: &TensorEstimate) -> u64 {
    let n = tensor.elements() as u64;
    estimate.errors.as_ref().map_or(n, |e| n - e.zeros)
}
