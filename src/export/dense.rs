//! The dense target: the same names, shapes and dtypes, every value spelled out, so that anything that read the source reads this.

use super::Error;
use super::atomic::Temporary;
use super::output::{Output, by_arithmetic, metadata};
use crate::compress::{Joint, Task, prepare, stream_chunks};
use crate::control::Control;
use crate::estimate::total::dense_listings;
use crate::formats::safetensors;
use crate::kernels::Real;
use crate::model::{Model, Scratch};
use crate::recipe::{Plan, Recipe};

/// Writes the header and the payloads of some tensors, in the order of the layout.
pub fn write(
    model: &Model,
    plan: &Plan,
    recipe: &Recipe,
    tensors: &[usize],
    temporary: &mut Temporary,
    control: &Control,
) -> Result<(), Error> {
    let joint = Joint::new(model, plan, control)?;
    let metadata = metadata(&joint, model, plan, recipe, tensors, control)?;
    let path = temporary.path().to_path_buf();
    let header = safetensors::lay_out(&dense_listings(model, plan, tensors), &metadata)
        .map_err(|kind| Error::Layout { path, what: kind.to_string() })?;
    let mut output = Output::new(temporary)?;
    output.write(&header.bytes)?;
    for i in header.order.iter().map(|&at| tensors[at]) {
        let tensor = &model.tensors[i];
        if plan.outcome(model, i).is_kept() && tensor.is_plain() {
            output.copy_payload(model, tensor, control)?;
            continue;
        }
        let task = joint.task(model, plan, i, control);
        by_arithmetic!(tensor.dtype, write_plain(&task, &mut output))?;
    }
    output.flush()
}

/// Writes one tensor as plain elements: of its own dtype, or of the one it is cast to.
pub fn write_plain<T: Real>(task: &Task<'_>, output: &mut Output<'_>) -> Result<(), Error> {
    let prepared = prepare::<T>(task)?;
    let mut scratch = Scratch::default();
    let mut bytes = Vec::new();
    stream_chunks(task, &prepared, |chunk| {
        bytes.clear();
        chunk.plain_elements(task, &mut scratch, &mut bytes)?;
        output.write(&bytes)
    })
}
