//! The GGUF target: key-values byte for byte, and every tensor in its place, blocks or plain, rows in llama.cpp's order.

use super::Error;
use super::atomic::Temporary;
use super::output::{Output, by_arithmetic, mask_texts};
use crate::compress::{Joint, Task, prepare, stream_chunks};
use crate::control::Control;
use crate::estimate::gguf_file::{GgufFile, Item, Pairs};
use crate::estimate::size::{stored_dtype, stored_type};
use crate::formats::Dtype;
use crate::formats::error::quoted;
use crate::formats::gguf::layout;
use crate::kernels::Real;
use crate::kernels::ggml::BlockType;
use crate::model::{Model, RowOrder, Scratch};
use crate::recipe::{Plan, Recipe};
use std::ops::Range;

/// Bytes of the source that are held at a time.
const BLOCK: u64 = 1 << 20;

/// Writes the whole file.
pub fn write(
    model: &Model,
    plan: &Plan,
    recipe: &Recipe,
    temporary: &mut Temporary,
    control: &Control,
) -> Result<(), Error> {
    let joint = Joint::new(model, plan, control)?;
    let all: Vec<usize> = (0..model.tensors.len()).collect();
    let masks = mask_texts(&joint, model, plan, &all, control)?;
    let path = temporary.path().to_path_buf();
    let file = GgufFile::of(model, plan, recipe, |i| masks.get(&i).cloned().unwrap_or_default())
        .map_err(|kind| Error::Layout { path, what: kind.to_string() })?;
    let conversion = model.converted();
    let mut output = Output::new(temporary)?;
    output.write(&layout::prefix(file.items.len() as u64, file.count()))?;
    for pairs in &file.pairs {
        match pairs {
            Pairs::Copied(range) => copy(model, range.clone(), &mut output)?,
            Pairs::Made(bytes) => output.write(bytes)?,
            Pairs::Spelled(bytes, _) => output.write(bytes)?,
        }
    }
    output.write(&file.layout.infos)?;
    output.pad(file.layout.padding)?;
    let data = output.at();
    for (&item, offset) in file.items.iter().zip(&file.layout.offsets) {
        output.pad((data + offset).saturating_sub(output.at()))?;
        let i = match item {
            Item::Tensor(i) => i,
            Item::Extra(at) => {
                let values = conversion.map_or(&[][..], |conversion| &conversion.extras[at].values);
                values.iter().try_for_each(|value| output.write(&value.to_le_bytes()))?;
                continue;
            }
        };
        let (outcome, place) =
            (plan.outcome(model, i), conversion.and_then(|conversion| conversion.places[i].as_ref()));
        let task = joint.task(model, plan, i, control);
        let kind = stored_type(outcome);
        let order = RowOrder::in_gguf(place.and_then(|place| place.interleaved));
        let as_it_lies = place.is_none() && outcome.is_kept();
        if as_it_lies {
            output.copy_payload(model, outcome.tensor, control)?;
        } else {
            by_arithmetic!(outcome.tensor.dtype, write_tensor(&task, kind, order, &mut output))?;
        }
    }
    output.pad(file.layout.len.saturating_sub(output.at()))?;
    output.flush()
}

/// Copies bytes of the source's first file, which is where its key-values are.
fn copy(model: &Model, range: Range<u64>, output: &mut Output<'_>) -> Result<(), Error> {
    let Some(source) = model.shards.first() else { return Ok(()) };
    let mut scratch = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let end = (at + BLOCK).min(range.end);
        output.write(source.read(at..end, &mut scratch)?)?;
        at = end;
    }
    Ok(())
}

/// Writes one tensor as its scheme leaves it, in blocks or plain elements of a type, its rows in the order of the file.
fn write_tensor<T: Real>(
    task: &Task<'_>,
    kind: BlockType,
    order: RowOrder,
    output: &mut Output<'_>,
) -> Result<(), Error> {
    let prepared = prepare::<T>(task)?;
    let start = output.at();
    let bytes_of = |elements: usize| kind.bytes_of(elements).ok_or_else(|| no_blocks(task, kind, elements));
    let spelled_out = kind == BlockType::F32 && stored_dtype(task.tensor.dtype, task.scheme) != Dtype::F32;
    let (mut scratch, mut bytes) = (Scratch::default(), Vec::new());
    stream_chunks(task, &prepared, |chunk| {
        bytes.clear();
        if spelled_out {
            chunk.result.iter().for_each(|&q| Dtype::F32.encode(q, &mut bytes));
        } else {
            chunk.plain_elements(task, &mut scratch, &mut bytes)?;
        }
        let mut rest = bytes.as_slice();
        for place in order.places(chunk.range.clone(), task.shape) {
            let (run, behind) = rest.split_at(bytes_of(place.len())?);
            output.seek(start + bytes_of(place.start)? as u64)?;
            output.write(run)?;
            rest = behind;
        }
        Ok::<(), Error>(())
    })?;
    output.seek(start + bytes_of(task.geometry().len())? as u64)
}

/// A plan has whole blocks in every row, so nobody should see this; a row in the wrong place would be worse.
fn no_blocks(task: &Task<'_>, kind: BlockType, elements: usize) -> Error {
    let what = format!("{elements} elements of {} are no whole blocks of {kind}", quoted(&task.tensor.name));
    Error::Layout { path: task.model.shards[task.tensor.shard()].path().to_path_buf(), what }
}
