//! The zeros of another model, taken over: which file they are in, and whether it fits.
//!
//! The other model may be anything that opens: a pruned checkpoint, an artifact, or a file of masks alone, whose tensors of
//! booleans or integers are 0 where something goes.

use super::{Error, Input, Task};
use crate::formats::error::printable;
use crate::model::{Model, OpenOptions, Scratch, open};
use crate::recipe::{Outcome, Plan, Prune};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Where a tensor's zeros come from.
#[derive(Clone, Debug)]
pub struct Mask {
    model: Arc<Model>,
    index: usize,
    /// Whether it is of what structured pruning leaves, as the zeros inside an artifact are, rather than of the whole tensor.
    of_rest: bool,
}

impl Mask {
    /// Whether each element of a range goes, replacing what `out` held.
    ///
    /// # Errors
    /// When the other model cannot be read any more.
    pub(super) fn zeros(
        &self,
        task: &Task<'_>,
        range: Range<usize>,
        out: &mut Vec<bool>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let input = if self.of_rest { &Input::Whole } else { task.input };
        Ok(input.zeros(&self.model, &self.model.tensors[self.index], range, out, scratch)?)
    }
}

/// Opens the models that a plan's masks are in, each once, and finds the mask of every `wanted` tensor.
///
/// # Errors
/// When one cannot be opened, has no tensor of that name, or one of another shape.
pub(super) fn find_masks(
    model: &Model,
    plan: &Plan,
    wanted: impl Fn(usize) -> bool,
) -> Result<HashMap<usize, Mask>, Error> {
    let mut opened: HashMap<&str, Arc<Model>> = HashMap::new();
    let mut masks = HashMap::new();
    for (index, assignment) in plan.assignments.iter().enumerate().filter(|(index, _)| wanted(*index)) {
        let Some(Prune::Mask { file }) = &assignment.stored.prune else { continue };
        let tensor = &model.tensors[index];
        let other = if let Some(known) = opened.get(file.as_str()) {
            known.clone()
        } else {
            if file == Prune::EMBEDDED {
                return Err(Error::MaskEmbedded { tensor: printable(&tensor.name) });
            }
            let options = OpenOptions { access: model.access, ..OpenOptions::default() };
            let found = Arc::new(open(Path::new(file), &options)?);
            opened.insert(file, found.clone());
            found
        };
        masks.insert(index, fitting(plan.outcome(model, index), file, other)?);
    }
    Ok(masks)
}

fn fitting(of: Outcome<'_>, file: &str, model: Arc<Model>) -> Result<Mask, Error> {
    let tensor = of.tensor;
    let (name, shown) = (printable(&tensor.name), printable(file));
    let Some(index) = model.find(&tensor.name) else { return Err(Error::MaskMissing { tensor: name, file: shown }) };
    let found = &model.tensors[index];
    if found.shape != tensor.shape && found.shape != of.shape {
        return Err(Error::MaskShape {
            tensor: name,
            file: shown,
            found: found.shape.clone(),
            needed: tensor.shape.clone(),
        });
    }
    if found.dtype.bytes() == 0 {
        return Err(Error::MaskDtype { tensor: name, file: shown, found: found.dtype });
    }
    let of_rest = found.shape == of.shape;
    Ok(Mask { model, index, of_rest })
}
