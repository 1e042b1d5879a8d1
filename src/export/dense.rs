//! The dense target: the same names, shapes and dtypes, every value spelled out, so that anything that read the source reads this.

use super::Error;
use super::atomic::Temporary;
use super::output::{Output, by_arithmetic, keeps_bits, width};
use crate::compress::{Chunk, Codes, Joint, Task, prepare, stream_chunks};
use crate::control::Control;
use crate::estimate::size::is_kept;
use crate::estimate::total::{artifact_metadata, dense_listings};
use crate::formats::{Dtype, safetensors};
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
    let metadata = artifact_metadata(model, recipe, plan.target);
    let path = temporary.path().to_path_buf();
    let header = safetensors::lay_out(&dense_listings(model, plan, tensors), &metadata)
        .map_err(|kind| Error::Layout { path, what: kind.to_string() })?;
    let joint = Joint::new(model, plan, control)?;
    let mut output = Output::new(temporary)?;
    output.write(&header.bytes)?;
    for i in header.order.iter().map(|&at| tensors[at]) {
        let (tensor, scheme) = (&model.tensors[i], &plan.assignments[i].stored);
        if is_kept(tensor, scheme) && tensor.coding.is_none() {
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
        plain_elements(task, chunk, &mut scratch, &mut bytes)?;
        output.write(&bytes)
    })
}

/// A chunk as plain little-endian elements. Elements that only pruning may change keep their bits.
pub fn plain_elements<T: Real>(
    task: &Task<'_>,
    chunk: &Chunk<T>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let dtype = task.tensor.dtype;
    if chunk.kind == Codes::Pattern {
        chunk.codes.iter().for_each(|&code| out.extend_from_slice(&(code as u16).to_le_bytes()));
        return Ok(());
    }
    if keeps_bits(task) {
        let start = out.len();
        if task.plain_bytes(chunk.range.clone(), out, scratch)? {
            zero_pruned(chunk, &mut out[start..], dtype);
            return Ok(());
        }
    }
    chunk.result.iter().for_each(|&q| dtype.encode(q, out));
    Ok(())
}

fn zero_pruned<T: Real>(chunk: &Chunk<T>, bytes: &mut [u8], dtype: Dtype) {
    let elements = bytes.chunks_exact_mut(width(dtype));
    for ((element, &w), &q) in elements.zip(&chunk.source).zip(&chunk.pruned) {
        if q == T::ZERO && w != T::ZERO {
            element.fill(0);
        }
    }
}
