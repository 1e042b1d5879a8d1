//! One chunk of a tensor on its way through a scheme: what was read, what pruning left, the codes, and what a reader gets.

use super::cut::CutBuffers;
use super::fit::{Buffers, Fit};
use super::prepare::Prepared;
use super::{Error, Task};
use crate::formats::Dtype;
use crate::kernels::quant::Grid;
use crate::kernels::{Real, convert};
use crate::recipe::{Quantize, Target};
use std::ops::Range;

/// What the codes of a chunk are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codes {
    /// There are none: elements keep their own bits, or become zero.
    #[default]
    None,
    /// Codes of integer grids, as they are stored (an asymmetric grid's zero point not taken off).
    Integer,
    /// Bit patterns of a 16-bit float.
    Pattern,
}

/// One chunk in all its stages. All vectors have the chunk's length (`codes` may be empty).
#[derive(Debug)]
pub struct Chunk<T> {
    /// Flat element range.
    pub range: Range<usize>,
    /// As read.
    pub source: Vec<T>,
    /// After pruning.
    pub pruned: Vec<T>,
    /// What a reader of the artifact gets.
    pub result: Vec<T>,
    /// The result before the dense target rounded it into the tensor's dtype; empty where nothing was rounded. The
    /// bounds on sparse and entropy bytes are over these values, the same whatever the target.
    pub unrounded: Vec<T>,
    /// Stored codes, when there are any.
    pub codes: Vec<i32>,
    /// What they are.
    pub kind: Codes,
    /// Units that begin in this chunk, in order: index and grid.
    pub grids: Vec<(usize, Grid<T>)>,
    /// Pieces of units in this chunk: element range relative to the chunk, and the grid.
    pub pieces: Vec<(Range<usize>, Grid<T>)>,
    scratch: crate::model::Scratch,
    cut_buffers: CutBuffers,
    buffers: Buffers,
}

impl<T> Default for Chunk<T> {
    fn default() -> Self {
        Self {
            range: 0..0,
            source: Vec::new(),
            pruned: Vec::new(),
            result: Vec::new(),
            unrounded: Vec::new(),
            codes: Vec::new(),
            kind: Codes::None,
            grids: Vec::new(),
            pieces: Vec::new(),
            scratch: crate::model::Scratch::default(),
            cut_buffers: CutBuffers::default(),
            buffers: Buffers::default(),
        }
    }
}

impl<T: Real> Chunk<T> {
    /// Reads the elements of a range.
    pub(super) fn read(&mut self, task: &Task<'_>, range: Range<usize>) -> Result<(), Error> {
        task.values(range.clone(), &mut self.source, &mut self.scratch)?;
        self.range = range;
        Ok(())
    }

    /// The values that the size formulas are about: before any rounding that only the dense target does.
    #[must_use]
    pub fn formula_values(&self) -> &[T] {
        if self.unrounded.is_empty() { &self.result } else { &self.unrounded }
    }

    /// Fills `pruned` from `source`.
    pub(super) fn prune(&mut self, task: &Task<'_>, prepared: &Prepared<T>, index: usize) -> Result<(), Error> {
        self.pruned.clear();
        self.pruned.extend_from_slice(&self.source);
        prepared.cut.apply(task, prepared, index, &mut self.pruned, &mut self.cut_buffers)
    }

    /// Fills `codes`, `grids` and `result` from `pruned`. Gives whether every result is finite where its source is.
    pub(super) fn quantize(&mut self, task: &Task<'_>, prepared: &Prepared<T>) -> Result<bool, Error> {
        self.codes.clear();
        self.grids.clear();
        self.pieces.clear();
        self.result.clear();
        self.unrounded.clear();
        self.kind = Codes::None;
        match &task.scheme.quantize {
            None => self.result.extend_from_slice(&self.pruned),
            Some(Quantize::F16) => self.cast(task, Dtype::F16)?,
            Some(Quantize::Bf16) => self.cast(task, Dtype::BF16)?,
            Some(Quantize::Int { .. }) => self.put_on_grids(task, prepared)?,
            // Plans are checked before anything is computed; nothing else is built.
            Some(other) => {
                return Err(Error::Unbuilt { tensor: task.shown_name(), scheme: other.to_string() });
            }
        }
        self.round_for_dense(task);
        Ok(self.result.iter().zip(&self.source).all(|(q, w)| q.is_finite() || !w.is_finite()))
    }

    /// The dense target spells levels out in the tensor's own dtype; plain elements are in it already.
    fn round_for_dense(&mut self, task: &Task<'_>) {
        let wide = matches!(task.tensor.dtype, Dtype::F32 | Dtype::F64);
        let levels = self.kind == Codes::Integer || (self.kind == Codes::None && task.tensor.is_coded());
        if task.target == Target::Safetensors && levels && !wide {
            self.unrounded.extend_from_slice(&self.result);
            self.result.iter_mut().for_each(|q| *q = task.tensor.dtype.rounded(*q));
        }
    }

    /// Elements that are finite in the source and not in the result.
    pub(super) fn overflown(&self) -> u64 {
        self.result.iter().zip(&self.source).filter(|(q, w)| w.is_finite() && !q.is_finite()).count() as u64
    }

    fn refuse_non_finite(&self, task: &Task<'_>) -> Result<(), Error> {
        if self.source.iter().all(|v| v.is_finite()) {
            return Ok(());
        }
        // Rare and final: count over the whole tensor for the message.
        let count = count_non_finite::<T>(task)?;
        Err(Error::NonFinite { tensor: task.shown_name(), count, scheme: task.scheme.to_string() })
    }

    fn put_on_grids(&mut self, task: &Task<'_>, prepared: &Prepared<T>) -> Result<(), Error> {
        let Some(fit) = Fit::of(task) else { return Ok(()) };
        self.refuse_non_finite(task)?;
        self.kind = Codes::Integer;
        let n = self.pruned.len();
        self.codes.resize(n, 0);
        self.result.resize(n, T::ZERO);
        for (index, piece) in fit.unit.pieces(prepared.geometry, self.range.clone()) {
            let local = piece.start - self.range.start..piece.end - self.range.start;
            let values = &self.pruned[local.clone()];
            let grid = match &prepared.extents {
                Some(extents) => fit.grid_of(extents[index]),
                None => fit.grid(values, &mut self.buffers),
            };
            let overflow = || Error::ScaleOverflow { tensor: task.shown_name(), scheme: task.scheme.to_string() };
            let grid = grid.ok_or_else(overflow)?;
            grid.quantize(values, &mut self.codes[local.clone()], &mut self.result[local.clone()]);
            if unit_starts_at(fit.unit, prepared, piece.start) {
                self.grids.push((index, grid));
            }
            self.pieces.push((local, grid));
        }
        Ok(())
    }

    fn cast(&mut self, task: &Task<'_>, dtype: Dtype) -> Result<(), Error> {
        self.refuse_non_finite(task)?;
        self.kind = Codes::Pattern;
        let Some(format) = dtype.small() else { return Ok(()) };
        for &w in &self.pruned {
            let pattern = convert::encode_small(format, w.to_f64());
            self.codes.push(i32::from(pattern));
            self.result.push(T::from_f64(convert::decode_small(format, pattern)));
        }
        Ok(())
    }
}

fn unit_starts_at<T>(unit: crate::kernels::layout::Unit, prepared: &Prepared<T>, start: usize) -> bool {
    use crate::kernels::layout::Unit;
    match unit {
        Unit::Tensor => start == 0,
        Unit::Row => start.is_multiple_of(prepared.geometry.cols),
        Unit::Group(_) => true,
    }
}

fn count_non_finite<T: Real>(task: &Task<'_>) -> Result<u64, Error> {
    let mut values: Vec<T> = Vec::new();
    let mut scratch = crate::model::Scratch::default();
    let mut count = 0;
    for range in task.geometry().chunks() {
        task.check_cancelled()?;
        task.values(range, &mut values, &mut scratch)?;
        count += values.iter().filter(|v| !v.is_finite()).count() as u64;
    }
    Ok(count)
}
