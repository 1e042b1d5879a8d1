//! The `packed` target: each touched tensor in the cheaper of its forms, everything else bit for bit (layout in `formats/PACKED.md`).

use super::Error;
use super::atomic::Temporary;
use super::dense::{plain_elements, write_plain};
use super::output::{Output, by_arithmetic};
use crate::compress::{Chunk, Codes, Joint, Task, prepare, stream_chunks};
use crate::control::Control;
use crate::estimate::ModelEstimate;
use crate::estimate::size::is_kept;
use crate::estimate::total::{artifact_metadata, nonzeros, packed_listings};
use crate::formats::packed::{self, Listing};
use crate::formats::packed_layout::{Code, Coding, Form, scale_bytes};
use crate::kernels::Real;
use crate::kernels::bits::BitWriter;
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
    let metadata = artifact_metadata(model, recipe, plan.target);
    let listings = packed_listings(model, plan, |i| nonzeros(&model.tensors[i], &estimate.tensors[i]));
    let path = temporary.path().to_path_buf();
    let (head, ranges) =
        packed::lay_out(&listings, &metadata).map_err(|kind| Error::Layout { path, what: kind.to_string() })?;
    let joint = Joint::new(model, plan, control)?;
    let mut output = Output::new(temporary)?;
    output.write(&head)?;
    for (i, (listing, range)) in listings.iter().zip(ranges).enumerate() {
        let (tensor, scheme) = (&model.tensors[i], &plan.assignments[i].stored);
        let task = joint.task(model, plan, i, control);
        match &listing.coding {
            _ if is_kept(tensor, scheme) => output.copy_payload(model, tensor, control)?,
            None => by_arithmetic!(tensor.dtype, write_plain(&task, &mut output))?,
            Some(coding) => {
                by_arithmetic!(tensor.dtype, write_coded(&task, listing, coding, range.start, &mut output))?;
            }
        }
    }
    output.flush()
}

/// What gathers while a tensor's codes stream past: everything that stands before them in the payload.
#[derive(Default)]
struct Side {
    mask: BitWriter,
    mask_bytes: Vec<u8>,
    scales: Vec<u8>,
    zero_points: Vec<u8>,
}

fn write_coded<T: Real>(
    task: &Task<'_>,
    listing: &Listing,
    coding: &Coding,
    start: u64,
    output: &mut Output<'_>,
) -> Result<(), Error> {
    let parts = coding.parts(listing.dtype, task.geometry());
    let prepared = prepare::<T>(task)?;
    let (mut side, mut codes) = (Side::default(), BitWriter::default());
    let mut scratch = Scratch::default();
    // The codes are last in the payload and by far the longest: they go straight to their place, the rest follows.
    output.seek(start + parts.codes.start)?;
    stream_chunks(task, &prepared, |chunk| {
        let mut bytes = Vec::new();
        add_side(&mut side, chunk, coding, listing);
        push_codes(task, chunk, coding, &mut codes, &mut scratch, &mut bytes)?;
        output.write(&bytes)
    })?;
    let mut last = Vec::new();
    codes.finish(&mut last);
    output.write(&last)?;
    side.mask.finish(&mut side.mask_bytes);
    output.seek(start)?;
    output.write(&side.mask_bytes)?;
    output.write(&side.scales)?;
    output.write(&side.zero_points)?;
    output.seek(start + parts.len())
}

fn add_side<T: Real>(side: &mut Side, chunk: &Chunk<T>, coding: &Coding, listing: &Listing) {
    if coding.form == Form::Mask {
        for q in &chunk.result {
            side.mask.push(u32::from(*q != T::ZERO), 1, &mut side.mask_bytes);
        }
    }
    if let Code::Integer { zero_points, .. } = coding.code {
        for (_, grid) in &chunk.grids {
            if scale_bytes(listing.dtype) == 8 {
                grid.scale.to_f64().push_le(&mut side.scales);
            } else {
                f32::from_f64(grid.scale.to_f64()).push_le(&mut side.scales);
            }
            if zero_points {
                side.zero_points.push(grid.zero_point as u8);
            }
        }
    }
}

/// The codes of the elements that have one, as bits; plain elements as their bytes.
fn push_codes<T: Real>(
    task: &Task<'_>,
    chunk: &Chunk<T>,
    coding: &Coding,
    codes: &mut BitWriter,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let has_code = |q: &T| coding.form == Form::Dense || *q != T::ZERO;
    if let (Code::Integer { bits, .. }, Codes::Integer) = (coding.code, chunk.kind) {
        for (&code, q) in chunk.codes.iter().zip(&chunk.result) {
            if has_code(q) {
                codes.push(code.cast_unsigned(), bits, out);
            }
        }
        return Ok(());
    }
    let mut elements = Vec::new();
    plain_elements(task, chunk, scratch, &mut elements)?;
    let width = elements.len() / chunk.result.len().max(1);
    for (element, q) in elements.chunks_exact(width.max(1)).zip(&chunk.result) {
        if has_code(q) {
            out.extend_from_slice(element);
        }
    }
    Ok(())
}
