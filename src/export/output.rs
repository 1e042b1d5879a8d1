//! The pen: buffered writing at known places of the temporary, with every failure told as a sentence about the file.

use super::Error;
use super::atomic::Temporary;
use crate::compress::Joint;
use crate::control::Control;
use crate::estimate::total::{artifact_metadata, carrying};
use crate::model::{Model, Scratch, Tensor};
use crate::recipe::{Plan, Recipe};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes copied at a time.
const BLOCK: u64 = 1 << 20;
/// What fills a gap.
static ZEROS: [u8; 4096] = [0; 4096];

/// A buffered writer over a temporary.
pub struct Output<'a> {
    writer: BufWriter<&'a mut std::fs::File>,
    path: PathBuf,
    /// Bytes before the place that is written next.
    at: u64,
}

impl<'a> Output<'a> {
    /// Starts at the beginning of the file.
    pub fn new(temporary: &'a mut Temporary) -> Result<Self, Error> {
        let path = temporary.path().to_path_buf();
        Ok(Self { writer: BufWriter::with_capacity(1 << 20, temporary.file()?), path, at: 0 })
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let result = self.writer.write_all(bytes);
        self.at += bytes.len() as u64;
        result.map_err(|source| self.fail(source))
    }

    /// Moves to a place of the file.
    pub fn seek(&mut self, position: u64) -> Result<(), Error> {
        // A seek writes out what is held back, so it is not done for nothing.
        if position == self.at {
            return Ok(());
        }
        let result = self.writer.seek(SeekFrom::Start(position));
        self.at = position;
        result.map(drop).map_err(|source| self.fail(source))
    }

    /// Bytes before the place that is written next.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// Appends zeros.
    pub fn pad(&mut self, bytes: u64) -> Result<(), Error> {
        let mut left = bytes;
        while left > 0 {
            let some = left.min(ZEROS.len() as u64);
            self.write(&ZEROS[..some as usize])?;
            left -= some;
        }
        Ok(())
    }

    /// The file that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> Result<(), Error> {
        let result = self.writer.flush();
        result.map_err(|source| self.fail(source))
    }

    fn fail(&self, source: std::io::Error) -> Error {
        Error::Io { path: self.path.clone(), doing: "writing", source }
    }

    /// Copies a tensor's payload as it lies in the source.
    pub fn copy_payload(&mut self, model: &Model, tensor: &Tensor, control: &Control) -> Result<(), Error> {
        let mut scratch = Scratch::default();
        let total = tensor.bytes();
        let mut at = 0;
        while at < total {
            if control.is_cancelled() {
                return Err(crate::compress::Error::Cancelled.into());
            }
            let end = (at + BLOCK).min(total);
            self.write(model.payload(tensor, at..end, &mut scratch)?)?;
            control.advance(end - at);
            at = end;
        }
        Ok(())
    }
}

/// The metadata of a file with these tensors: the recipe, and the masks that it carries beside its zeros.
pub fn metadata(
    joint: &Joint,
    model: &Model,
    plan: &Plan,
    recipe: &Recipe,
    tensors: &[usize],
    control: &Control,
) -> Result<BTreeMap<String, String>, Error> {
    let masks = mask_texts(joint, model, plan, tensors, control)?;
    Ok(artifact_metadata(model, plan, recipe, tensors, |i| masks.get(&i).cloned().unwrap_or_default()))
}

/// The masks that an artifact carries beside its zeros, as text.
pub fn mask_texts(
    joint: &Joint,
    model: &Model,
    plan: &Plan,
    tensors: &[usize],
    control: &Control,
) -> Result<HashMap<usize, String>, Error> {
    let text = |i| {
        let task = joint.task(model, plan, i, control);
        Ok((i, task.mask.map_or(Ok(String::new()), |mask| mask.text(&task))?))
    };
    carrying(plan, tensors).map(text).collect()
}

/// Runs `f32` or `f64` code by a tensor's dtype.
macro_rules! by_arithmetic {
    ($dtype:expr, $function:ident ( $($argument:expr),* $(,)? )) => {
        if $dtype == $crate::formats::Dtype::F64 { $function::<f64>($($argument),*) } else { $function::<f32>($($argument),*) }
    };
}
pub(super) use by_arithmetic;
