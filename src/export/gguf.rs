//! The GGUF target: the source's key-values byte for byte, and every tensor in its place, blocks or plain.

use super::Error;
use super::atomic::Temporary;
use super::dense::write_plain;
use super::output::{Output, by_arithmetic, mask_texts};
use crate::compress::Joint;
use crate::control::Control;
use crate::estimate::gguf_file::{GgufFile, Pair};
use crate::formats::gguf::layout;
use crate::model::Model;
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
    let mut output = Output::new(temporary)?;
    output.write(&layout::prefix(file.order.len() as u64, file.pairs.len() as u64))?;
    for pair in &file.pairs {
        match pair {
            Pair::Copied(range) => copy(model, range.clone(), &mut output)?,
            Pair::Made(bytes) => output.write(bytes)?,
        }
    }
    output.write(&file.layout.infos)?;
    output.pad(file.layout.padding)?;
    let data = output.at();
    for (&i, offset) in file.order.iter().zip(&file.layout.offsets) {
        output.pad((data + offset).saturating_sub(output.at()))?;
        let tensor = &model.tensors[i];
        if plan.outcome(model, i).is_kept() {
            output.copy_payload(model, tensor, control)?;
            continue;
        }
        let task = joint.task(model, plan, i, control);
        by_arithmetic!(tensor.dtype, write_plain(&task, &mut output))?;
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
