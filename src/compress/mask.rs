//! The zeros of another model, taken over: which file they are in, and whether it fits.
//!
//! The other model may be anything that opens: a pruned checkpoint, an artifact, or a file of masks alone, whose tensors of
//! booleans or integers are 0 where something goes.

use super::{Error, Task};
use crate::formats::base64;
use crate::formats::error::printable;
use crate::kernels::bits::BitWriter;
use crate::model::{Counterpart, Model, OpenOptions, RowOrder, Scratch, counterparts, open};
use crate::recipe::{Outcome, Plan, Prune};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Where a tensor's zeros come from.
#[derive(Clone, Debug)]
pub struct Mask(Zeros);

#[derive(Clone, Debug)]
enum Zeros {
    /// The zeros of a tensor of another model.
    Of {
        model: Arc<Model>,
        there: Counterpart,
        /// Whether it is of what structured pruning leaves, as the zeros inside an artifact are, rather than of the whole
        /// tensor.
        of_rest: bool,
    },
    /// A bit per element of what structured pruning leaves, 1 where it stays: the mask that an artifact carries.
    Carried(Arc<[u8]>),
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
        match &self.0 {
            Zeros::Of { model, there, of_rest: false } if there.order == RowOrder::Same => {
                Ok(task.input.zeros(model, &model.tensors[there.index], range, out, scratch)?)
            }
            Zeros::Of { model, there, .. } => Ok(there.of(model).zeros(range, out, scratch)?),
            Zeros::Carried(bits) => {
                out.clear();
                out.extend(range.map(|i| bits.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 0)));
                Ok(())
            }
        }
    }

    /// The mask as an artifact carries it: a bit per element, 1 where it stays, least significant first, in base 64.
    ///
    /// # Errors
    /// When the other model cannot be read any more, or the work is cancelled.
    pub fn text(&self, task: &Task<'_>) -> Result<String, Error> {
        let (mut writer, mut bits, mut zeros) = (BitWriter::default(), Vec::new(), Vec::new());
        for range in task.geometry().chunks() {
            task.check_cancelled()?;
            self.zeros(task, range, &mut zeros, &mut Scratch::default())?;
            zeros.iter().for_each(|&zero| writer.push(u32::from(!zero), 1, &mut bits));
        }
        writer.finish(&mut bits);
        Ok(base64::encode(&bits))
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
    let mut opened: HashMap<&str, (Arc<Model>, Vec<Option<Counterpart>>)> = HashMap::new();
    let mut masks = HashMap::new();
    for (index, assignment) in plan.assignments.iter().enumerate().filter(|(index, _)| wanted(*index)) {
        let Some(Prune::Mask { file }) = &assignment.stored.prune else { continue };
        let tensor = &model.tensors[index];
        if !opened.contains_key(file.as_str()) {
            if file == Prune::EMBEDDED {
                return Err(Error::MaskEmbedded { tensor: printable(&tensor.name) });
            }
            let options = OpenOptions { access: model.access, ..OpenOptions::default() };
            // A file that the recipe names and that is not there is the recipe's fault, not that of the model being read.
            let unread = |error: crate::formats::Error| Error::MaskUnread {
                tensor: printable(&tensor.name),
                why: error.to_string(),
            };
            let found = Arc::new(open(Path::new(file), &options).map_err(unread)?);
            let counterparts = counterparts(model, &found);
            opened.insert(file, (found, counterparts));
        }
        let Some((other, counterparts)) = opened.get(file.as_str()) else { continue };
        masks.insert(index, fitting(plan.outcome(model, index), file, other.clone(), counterparts[index])?);
    }
    Ok(masks)
}

/// The mask that `model` has for a tensor, which is `there` in it.
fn fitting(of: Outcome<'_>, file: &str, model: Arc<Model>, there: Option<Counterpart>) -> Result<Mask, Error> {
    let tensor = of.tensor;
    let (name, shown) = (printable(&tensor.name), printable(file));
    let Some(there) = there else { return Err(Error::MaskMissing { tensor: name, file: shown }) };
    let found = &model.tensors[there.index];
    // Rows that were interleaved are told apart in what is left of them alone.
    if found.shape != of.shape && (found.shape != tensor.shape || there.order != RowOrder::Same) {
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
    let Some(text) = tensor.names().find_map(|name| model.carried_mask(name)) else {
        let of_rest = found.shape == of.shape;
        return Ok(Mask(Zeros::Of { model, there, of_rest }));
    };
    let elements: usize = of.shape.iter().product();
    let bits = base64::decode(text).filter(|bits| bits.len() == elements.div_ceil(8));
    bits.map(|bits| Mask(Zeros::Carried(bits.into()))).ok_or(Error::MaskDamaged { tensor: name, file: shown })
}
