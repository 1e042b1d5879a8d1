//! The `packed` target: each touched tensor in the least of its forms, everything else bit for bit (layout in `formats/PACKED.md`).

use super::Error;
use super::atomic::Temporary;
use super::dense::write_plain;
use super::output::{Output, by_arithmetic, metadata};
use super::packed_tensor::Writer;
use crate::compress::{Factorized, Joint, Task, prepare, stream_chunks};
use crate::control::Control;
use crate::estimate::factors::FactorsEstimate;
use crate::estimate::total::packed_listings;
use crate::estimate::{ModelEstimate, Packing};
use crate::formats::Dtype;
use crate::formats::packed;
use crate::kernels::Real;
use crate::model::{Model, Scratch};
use crate::recipe::{Plan, Recipe};

/// Writes the header and every payload.
pub fn write(
    model: &Model,
    plan: &Plan,
    recipe: &Recipe,
    estimate: &ModelEstimate,
    temporary: &mut Temporary,
    control: &Control,
) -> Result<(), Error> {
    let all = plan.written(model);
    let joint = Joint::new(model, plan, control)?;
    let metadata = metadata(&joint, model, plan, recipe, &all, control)?;
    let listings = packed_listings(model, plan, &all, |i| estimate.tensors[i].stored());
    let path = temporary.path().to_path_buf();
    let (head, ranges) =
        packed::lay_out(&listings, &metadata).map_err(|kind| Error::Layout { path, what: kind.to_string() })?;
    let mut output = Output::new(temporary)?;
    output.write(&head)?;
    for (&i, (listing, range)) in all.iter().zip(listings.iter().zip(ranges)) {
        let tensor = &model.tensors[i];
        let task = joint.task(model, plan, i, control);
        let planned = &estimate.tensors[i];
        if plan.outcome(model, i).is_kept() && tensor.block_type.is_none() && tensor.assembly().is_none() {
            output.copy_payload(model, tensor, control)?;
            continue;
        }
        if let Some(factors) = &planned.factors {
            write_factors(&task, factors, range.start, &mut output)?;
            continue;
        }
        match planned.packing.as_ref().filter(|_| listing.coding.is_some()) {
            None => by_arithmetic!(tensor.dtype, write_plain(&task, &mut output))?,
            Some(packing) => {
                by_arithmetic!(tensor.dtype, write_coded(&task, packing, listing.dtype, range.start, &mut output))?;
            }
        }
    }
    output.flush()
}

/// Writes the two factors of a tensor, one after the other.
fn write_factors(task: &Task<'_>, planned: &FactorsEstimate, start: u64, output: &mut Output<'_>) -> Result<(), Error> {
    let Some(factors) = Factorized::of(task)? else { return Ok(()) };
    let mut at = start;
    for (factor, packing) in factors.tasks(task).iter().zip(&planned.packings) {
        by_arithmetic!(task.tensor.dtype, write_coded(factor, packing, planned.dtype, at, output))?;
        at += packing.matrix.parts(planned.dtype, factor.geometry()).len();
    }
    Ok(())
}

fn write_coded<T: Real>(
    task: &Task<'_>,
    packing: &Packing,
    dtype: Dtype,
    start: u64,
    output: &mut Output<'_>,
) -> Result<(), Error> {
    let prepared = prepare::<T>(task)?;
    let mut writer = Writer::new(packing, dtype, task.geometry(), start);
    let (mut scratch, mut codes) = (Scratch::default(), Vec::new());
    let planned = |done: Option<()>, output: &Output<'_>| {
        let what = "its codes are not those that were counted; did the source change?".to_owned();
        let mismatch = || Error::Mismatch { path: output.path().to_path_buf(), tensor: task.tensor.name.clone(), what };
        done.ok_or_else(mismatch)
    };
    stream_chunks(task, &prepared, |chunk| {
        codes.clear();
        chunk.stored_codes(task, packing.matrix.code, &mut scratch, &mut codes)?;
        writer.side(&chunk.pieces);
        writer.add(&chunk.result, &codes);
        planned(writer.pour(output, false)?, output)
    })?;
    writer.finish();
    planned(writer.pour(output, true)?, output)
}
