//! Files of safetensors: in the dense target the same names, shapes and dtypes, every value spelled out, so that anything that read the
//! source reads this; in those of runtimes some weights in their layouts.

use super::Error;
use super::assembled;
use super::atomic::Temporary;
use super::output::{Output, by_arithmetic, metadata};
use crate::compress::{Joint, Task, prepare, stream_chunks};
use crate::control::Control;
use crate::estimate::parts::Stored;
use crate::estimate::total::header_of;
use crate::formats::assembly::Holds;
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
    let (header, stored) =
        header_of(model, plan, tensors, &metadata).map_err(|kind| Error::Layout { path, what: kind.to_string() })?;
    let mut output = Output::new(temporary)?;
    output.write(&header.bytes)?;
    for &at in &header.order {
        let Stored { tensor: i, part, .. } = &stored[at];
        let (tensor, outcome) = (&model.tensors[*i], plan.outcome(model, *i));
        let task = joint.task(model, plan, *i, control);
        let Some(assembly) = outcome.assembly(plan.target) else {
            output.seek(header.ranges[at].start)?;
            if outcome.is_kept() && tensor.is_plain() {
                output.copy_payload(model, tensor, control)?;
            } else {
                by_arithmetic!(tensor.dtype, write_plain(&task, &mut output))?;
            }
            continue;
        };
        // The parts of a weight are listed side by side, and written with its codes.
        if part.as_ref().is_some_and(|part| part.holds == Holds::Codes) {
            let parts = stored[at..].iter().zip(&header.ranges[at..]).take_while(|(one, _)| one.tensor == *i);
            let places = parts.filter_map(|(one, range)| Some((one.part.as_ref()?.holds, range.clone()))).collect();
            if outcome.is_kept() {
                assembled::copy(model, tensor, &places, &mut output, control)?;
            } else {
                assembled::write(&task, assembly, places, &mut output)?;
            }
        }
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
