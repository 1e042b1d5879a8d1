//! The model as a whole: sums over tensors, what the container adds, bits per weight and fidelity.

use super::exact::TensorEstimate;
use super::factors;
use super::fidelity::{FidelityForm, fidelity};
use super::files::{FilePlan, files, index_text};
use super::gguf_file::{GgufFile, blank_mask, whole_stretches};
use super::parts::{self, Stored};
use super::size::{self, Sizes};
use super::{Label, Packing, TensorStats, estimate_tensor, tensor_stats};
use crate::compress::{Error, Joint, in_order};
use crate::control::Control;
use crate::formats::packed_layout::{self, Coding};
use crate::formats::{Dtype, ErrorKind, gguf, packed, safetensors};
use crate::model::{MASK_KEYS, Model, RECIPE_KEY, Tensor, mask_key};
use crate::recipe::{Outcome, Plan, Recipe, Scheme, Target, file};
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

impl ModelEstimate {
    /// How the artifact compares with the source, in words: `3.50× smaller`, `1.05× larger`. `None` while its bytes are not known.
    #[must_use]
    pub fn times(&self) -> Option<String> {
        let (bytes, source) = (self.bytes?.max(1), self.source_bytes);
        let (more, less, word) = if bytes <= source { (source, bytes, "smaller") } else { (bytes, source, "larger") };
        let times = more as f64 / less.max(1) as f64;
        Some(format!("{times:.*}× {word}", if times < 9.995 { 2 } else { 1 }))
    }
}

/// The metadata that a file of an artifact carries: the source's own text, `format` for readers that want it, the recipe, those masks
/// of its `tensors` that its zeros do not tell, as `mask` spells them, and the other names of those `tensors`.
#[must_use]
pub fn artifact_metadata(
    model: &Model,
    plan: &Plan,
    recipe: &Recipe,
    tensors: &[usize],
    mask: impl Fn(usize) -> String,
) -> BTreeMap<String, String> {
    let mut metadata = model.metadata.clone();
    metadata.retain(|key, _| !key.starts_with(MASK_KEYS));
    match plan.target {
        Target::Mlx => drop(metadata.insert("format".into(), "mlx".into())),
        Target::CompressedTensors => drop(metadata.insert("format".into(), "pt".into())),
        _ => drop(metadata.entry("format".into()).or_insert_with(|| "pt".into())),
    }
    metadata.insert(RECIPE_KEY.into(), file::print(&recipe.canonical(model, plan)));
    metadata.extend(carrying(plan, tensors).map(|i| (mask_key(&model.tensors[i].name), mask(i))));
    // As `safetensors.torch.save_model` does it: the file has one of the names, and text that is there already stays.
    for tensor in tensors.iter().map(|&i| &model.tensors[i]) {
        for alias in &tensor.also {
            metadata.entry(alias.clone()).or_insert_with(|| tensor.name.clone());
        }
    }
    metadata
}

/// Those of some tensors whose masks an artifact carries beside its zeros.
pub fn carrying(plan: &Plan, tensors: &[usize]) -> impl Iterator<Item = usize> {
    tensors.iter().copied().filter(|&i| plan.assignments[i].stored.carries_mask())
}

/// Bytes of the container around the payloads, from each tensor's coding as `packed` would list it.
#[must_use]
pub fn overhead_bytes(
    model: &Model,
    plan: &Plan,
    recipe: &Recipe,
    stored: impl Fn(usize) -> Option<packed_layout::Stored>,
) -> u64 {
    // A frame has no time to spell masks of millions of elements.
    let stretch = model.gguf.as_ref().map_or(gguf::ALIGNMENT, |head| head.alignment.max(gguf::ALIGNMENT)) as usize;
    let mask = |i: usize| blank_mask(plan.outcome(model, i), stretch);
    let metadata = |tensors: &[usize]| artifact_metadata(model, plan, recipe, tensors, mask);
    let all = plan.written(model);
    let masks: u64 = carrying(plan, &all).map(|i| whole_stretches(plan.outcome(model, i), stretch)).sum();
    if plan.target == Target::Gguf {
        let file = GgufFile::of(model, plan, recipe, mask);
        // What is not a tensor's: the head, and the padding between tensors.
        return file.map_or(0, |file| file.overhead(model, plan) + masks);
    }
    if plan.target == Target::Packed {
        let head = packed::lay_out(&packed_listings(model, plan, &all, stored), &metadata(&all));
        return head.map_or(0, |(head, _)| head.len() as u64 + masks);
    }
    let files = files(model, plan);
    let header = |file: &FilePlan| {
        let header = header_of(model, plan, &file.tensors, &metadata(&file.tensors));
        header.map_or(0, |(header, _)| header.bytes.len() as u64)
    };
    let index = index_text(model, plan, &files).map_or(0, |text| text.len() as u64);
    files.iter().map(header).sum::<u64>() + masks + index
}

/// The header of a safetensors file with some of the tensors, and what it lists.
///
/// # Errors
/// A name or a size that the format cannot have.
pub fn header_of(
    model: &Model,
    plan: &Plan,
    tensors: &[usize],
    metadata: &BTreeMap<String, String>,
) -> Result<(safetensors::Header, Vec<Stored>), ErrorKind> {
    let stored = parts::stored(model, plan, tensors);
    let listings: Vec<safetensors::Listing> = stored.iter().map(|one| one.listing.clone()).collect();
    Ok((safetensors::lay_out(&listings, metadata)?, stored))
}

/// The dtype that a tensor has in the artifact: of a weight in a runtime's layout, the one that its reader computes in.
#[must_use]
pub fn stored_dtype(of: Outcome<'_>, target: Target) -> Dtype {
    match of.assembly(target) {
        Some(assembly) if assembly.is_single() => Dtype::F32,
        Some(_) => of.tensor.dtype,
        None if of.is_kept() => of.tensor.dtype,
        None => size::stored_dtype(of.tensor.dtype, of.scheme),
    }
}

/// What `packed` lists of these tensors, given how each touched one lies in it; one without a packing is listed as dense.
#[must_use]
pub fn packed_listings(
    model: &Model,
    plan: &Plan,
    tensors: &[usize],
    stored: impl Fn(usize) -> Option<packed_layout::Stored>,
) -> Vec<packed::Listing> {
    // Neighbours mostly have the same scheme, and this is laid out in every frame: it is spelled once for all of them.
    let mut spelled: Option<(&Scheme, String)> = None;
    let mut listings = Vec::with_capacity(tensors.len());
    for &i in tensors {
        let outcome = plan.outcome(model, i);
        let Outcome { tensor, scheme, .. } = outcome;
        let coding = if outcome.is_kept() {
            // A tensor in GGML's blocks or a runtime's layout is spelled out: our own container has no such code.
            tensor.coding.clone()
        } else {
            let dense =
                || packed_layout::Stored::Codes(Packing::dense(size::code_of(scheme), outcome.geometry()).matrix);
            let stored = stored(i).unwrap_or_else(dense);
            let (_, name) =
                spelled.take_if(|(last, _)| *last == scheme).unwrap_or_else(|| (scheme, scheme.embedded().to_string()));
            let plain = matches!(stored, packed_layout::Stored::Codes(matrix) if matrix.is_plain_elements());
            let coding = (!plain).then(|| Coding { scheme: name.clone(), stored });
            spelled = Some((scheme, name));
            coding
        };
        listings.push(packed::Listing {
            name: tensor.name.clone(),
            dtype: stored_dtype(outcome, plan.target),
            shape: outcome.shape.to_vec(),
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
    let one = |i: usize| {
        let tensor = &model.tensors[i];
        if plan.outcome(model, i).is_kept() {
            let stats: Option<TensorStats> = tensor_stats(model, tensor, false, control)?;
            return Ok(TensorEstimate::kept(plan.outcome(model, i), plan.target, stats.as_ref(), true));
        }
        estimate_tensor(&joint.task(model, plan, i, control), None)
    };
    Ok(sum_up(model, plan, recipe, in_order(model.tensors.len(), one)?))
}

/// Bytes alone, without reading a weight: what depends on values is absent.
#[must_use]
pub fn bytes_only(model: &Model, plan: &Plan, recipe: &Recipe) -> ModelEstimate {
    let one = |i: usize| {
        let outcome = plan.outcome(model, i);
        if outcome.is_kept() {
            return TensorEstimate::kept(outcome, plan.target, None, false);
        }
        let sizes = factors::foreseen(outcome, plan.target);
        let sizes = sizes.unwrap_or_else(|| size::stored(outcome, plan.target, None));
        TensorEstimate::of_sizes(outcome, Label::Exact, sizes)
    };
    let tensors = (0..model.tensors.len()).map(one).collect();
    let mut total = sum_up(model, plan, recipe, tensors);
    // In `packed` values decide between the forms.
    let touched = (0..model.tensors.len()).any(|i| !plan.outcome(model, i).is_kept());
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
    let overhead = overhead_bytes(model, plan, recipe, |i| tensors[i].stored());
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
