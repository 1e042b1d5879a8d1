//! The road back to training: the zeros of a recipe alone, and a network rewound to where it began.
//!
//! ```text
//! θT and a recipe ─► masks: one BOOL tensor per pruned tensor, 1 where an element stays      (--mask-only)
//!                 └► mask(θT)·θ0: the winning ticket of the Lottery Ticket (1803.03635)      (--rewind θ0)
//! ```
//!
//! A rewound file is an artifact of θ0 like any other: the recipe inside says `mask:embedded`, it verifies against θ0, and
//! given as a recipe it makes itself again.

use super::atomic::Temporary;
use super::destination::{check_apart, check_not_masks, check_one_file};
use super::output::{Output, by_arithmetic};
use super::{Artifact, Error, Job, check_destination, check_not_source, export};
use crate::compress::{self, Chunk, Joint, Task, prepare, stream_chunks};
use crate::control::Control;
use crate::formats::error::{display_path, printable};
use crate::formats::{Dtype, safetensors};
use crate::kernels::Real;
use crate::model::{Model, OpenOptions, Scratch, Tensor, open};
use crate::recipe::{Override, Plan, Prune, Recipe, Scheme, file};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The metadata key under which a file of masks says what made them.
pub const MASKED_BY: &str = "spokeshave.masked_by";

/// A file of masks, written and read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masks {
    /// Where it is.
    pub out: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Every mask: name, elements that stay, elements.
    pub tensors: Vec<(String, u64, u64)>,
}

/// What a recipe prunes, and nothing else of it.
struct Pruning<'a> {
    model: &'a Model,
    plan: Plan,
    /// Positions of the pruned tensors, ascending.
    tensors: Vec<usize>,
    /// The recipe in words, for whoever finds the masks.
    text: String,
    control: &'a Control,
}

impl<'a> Pruning<'a> {
    /// The pruning steps of a plan.
    ///
    /// # Errors
    /// When it prunes nothing, or takes whole rows, columns, heads or units out.
    fn of(job: &Job<'a>) -> Result<Self, Error> {
        let Job { model, plan, recipe, control, .. } = *job;
        let mut only = plan.clone();
        let mut tensors = Vec::new();
        for (i, (tensor, assignment)) in model.tensors.iter().zip(&mut only.assignments).enumerate() {
            let prune = assignment.stored.prune.take();
            if let Some(step @ Prune::Structured { .. }) = &prune {
                let (tensor, step) = (printable(&tensor.name), step.to_string());
                return Err(Error::NoMask { what: format!("tensor {tensor:?}: {step} takes whole parts out") });
            }
            if prune.is_some() {
                tensors.push(i);
            }
            assignment.stored = Scheme::keep().with_prune(prune);
        }
        if tensors.is_empty() {
            return Err(Error::NoMask { what: "the recipe prunes nothing".into() });
        }
        let text = file::print(&recipe.canonical(model, plan));
        Ok(Self { model, plan: only, tensors, text, control })
    }

    /// Bytes of the pruned tensors.
    fn bytes(&self) -> u64 {
        self.tensors.iter().map(|&i| self.model.tensors[i].bytes()).sum()
    }

    /// Writes the masks, reads them back and compares. Gives how many elements of each stay.
    fn write(&self, temporary: &mut Temporary) -> Result<Vec<(String, u64, u64)>, Error> {
        let listing = |&i: &usize| {
            let Tensor { name, shape, .. } = &self.model.tensors[i];
            safetensors::Listing { name: name.clone(), dtype: Dtype::Bool, shape: shape.clone() }
        };
        let listings: Vec<_> = self.tensors.iter().map(listing).collect();
        let metadata = BTreeMap::from([("format".into(), "pt".into()), (MASKED_BY.into(), self.text.clone())]);
        let path = temporary.path().to_path_buf();
        let header = safetensors::lay_out(&listings, &metadata)
            .map_err(|kind| Error::Layout { path: path.clone(), what: kind.to_string() })?;
        let joint = Joint::for_some(self.model, &self.plan, |i| self.tensors.binary_search(&i).is_ok(), self.control)?;
        let mut output = Output::new(temporary)?;
        output.write(&header.bytes)?;
        for i in header.order.iter().map(|&at| self.tensors[at]) {
            let task = joint.task(self.model, &self.plan, i, self.control);
            by_arithmetic!(task.tensor.dtype, each_chunk(&task, |bits, _| output.write(bits)))?;
        }
        output.flush()?;
        drop(output);
        temporary.finish_writing()?;
        self.check(&joint, &path)
    }

    /// Works every mask out again and compares it with the file at `path`.
    fn check(&self, joint: &Joint, path: &Path) -> Result<Vec<(String, u64, u64)>, Error> {
        let written = open(path, &OpenOptions { access: self.model.access, ..OpenOptions::default() })?;
        let mut counts = Vec::with_capacity(self.tensors.len());
        for &i in &self.tensors {
            let tensor = &self.model.tensors[i];
            let mismatch = || {
                let what = "its mask was read back otherwise".to_owned();
                Error::Mismatch { path: path.to_path_buf(), tensor: printable(&tensor.name), what }
            };
            let read = &written.tensors[written.find(&tensor.name).ok_or_else(mismatch)?];
            let (mut zeros, mut kept) = (Vec::new(), 0);
            let task = joint.task(self.model, &self.plan, i, self.control);
            by_arithmetic!(
                tensor.dtype,
                each_chunk(&task, |bits, range| {
                    written.zeros(read, range, &mut zeros, &mut Scratch::default())?;
                    kept += bits.iter().map(|&bit| u64::from(bit)).sum::<u64>();
                    let same =
                        zeros.len() == bits.len() && zeros.iter().zip(bits).all(|(zero, bit)| *zero == (*bit == 0));
                    if same { Ok(()) } else { Err(mismatch()) }
                })
            )?;
            counts.push((tensor.name.clone(), kept, tensor.elements() as u64));
        }
        Ok(counts)
    }
}

/// Hands every chunk of a mask to `sink`: a byte per element, 1 where it stays, and the elements' flat range.
fn each_chunk<T: Real>(
    task: &Task<'_>,
    mut sink: impl FnMut(&[u8], std::ops::Range<usize>) -> Result<(), Error>,
) -> Result<(), Error> {
    let prepared = prepare::<T>(task)?;
    let mut bits = Vec::new();
    stream_chunks(task, &prepared, |chunk: &Chunk<T>| {
        bits.clear();
        bits.extend(chunk.pruned.iter().map(|w| u8::from(*w != T::ZERO)));
        sink(&bits, chunk.range.clone())
    })
}

/// Writes the masks of a plan's pruning: a safetensors file with one BOOL tensor for each pruned tensor, of its name and shape,
/// 1 where an element stays and 0 where it is zero afterwards. `mask:FILE` takes it.
///
/// # Errors
/// When nothing is pruned, or whatever went wrong; `out` is then what it was before.
pub fn export_masks(job: &Job<'_>) -> Result<Masks, Error> {
    let Job { model, plan, out, force, control, .. } = *job;
    let pruning = Pruning::of(job)?;
    // Masks are one file whatever the model is.
    let check_place = || check_one_file(model, out, force).and_then(|()| check_not_masks(plan, out));
    check_place()?;
    let mut temporary = Temporary::beside(out)?;
    // Once to write, once to compare.
    control.expect(2 * pruning.bytes());
    let tensors = model.steadily(|| pruning.write(&mut temporary))?;
    let bytes = std::fs::metadata(temporary.path()).map_or(0, |metadata| metadata.len());
    check_place()?;
    if control.is_cancelled() {
        return Err(compress::Error::Cancelled.into());
    }
    temporary.persist(out)?;
    Ok(Masks { out: out.to_path_buf(), bytes, tensors })
}

/// A network rewound: what was exported, and the recipe and plan on the original that it stands for.
#[derive(Debug)]
pub struct Rewound {
    /// The file, verified against the original.
    pub artifact: Artifact,
    /// The recipe inside it: `mask:embedded` for every pruned tensor.
    pub recipe: Recipe,
    /// That recipe on the original.
    pub plan: Plan,
}

/// Writes `original` (θ0) with the zeros that the job's plan prunes its model (θT) to. Elements keep θ0's bits; whatever else
/// the plan does (quantizing, factorizing) is left out.
///
/// # Errors
/// When nothing is pruned, a tensor of θT is missing in θ0 or has another shape there, or whatever went wrong; `out` is then
/// what it was before.
pub fn export_rewound(job: &Job<'_>, original: &Model) -> Result<Rewound, Error> {
    let Job { model, plan, out, force, control, .. } = *job;
    let pruning = Pruning::of(job)?;
    check_same_network(model, original)?;
    check_not_source(model, out)?;
    check_apart(model, out)?;
    check_not_masks(plan, out)?;
    check_destination(original, plan.target, out, force)?;
    let mut temporary = Temporary::beside(out)?;
    control.expect(2 * pruning.bytes());
    model.steadily(|| pruning.write(&mut temporary))?;
    let masked = |&i: &usize| {
        let prune = Prune::Mask { file: temporary.path().to_string_lossy().into_owned() };
        Override { tensor: model.tensors[i].name.clone(), scheme: Scheme::keep().with_prune(Some(prune)) }
    };
    let overrides = pruning.tensors.iter().map(masked).collect();
    let rewinding = Recipe { target: Some(plan.target), overrides, ..Recipe::default() };
    let masks = Plan::new(original, &rewinding, false)?;
    let mut artifact = export(&Job { model: original, plan: &masks, recipe: &rewinding, ..*job })?;
    let embedded = rewinding.canonical(original, &masks);
    let mut plan = masks;
    for (assignment, estimate) in plan.assignments.iter_mut().zip(&mut artifact.estimate.tensors) {
        assignment.scheme = assignment.scheme.embedded();
        assignment.stored = assignment.stored.embedded();
        estimate.stored_as = assignment.stored.to_string();
    }
    Ok(Rewound { artifact, recipe: embedded, plan })
}

/// Refuses an original that is another network: every tensor of the trained one is in it, in the same shape.
fn check_same_network(model: &Model, original: &Model) -> Result<(), Error> {
    let path = original.shards.first().map_or_else(String::new, |shard| display_path(shard.path()));
    for tensor in &model.tensors {
        let name = printable(&tensor.name);
        let what = match original.counterpart(tensor).map(|i| &original.tensors[i].shape) {
            None => format!("tensor {name:?} is missing"),
            Some(shape) if *shape != tensor.shape => {
                format!("tensor {name:?} has shape {shape:?}, and {:?} in the pruned model", tensor.shape)
            }
            Some(_) => continue,
        };
        return Err(Error::OtherNetwork { path, what });
    }
    Ok(())
}
