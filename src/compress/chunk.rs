//! One chunk of a tensor on its way through a scheme: what was read, what pruning left, the codes, and what a reader gets.

use super::cut::CutBuffers;
use super::fit::Buffers;
use super::prepare::Prepared;
use super::{Error, Task};
use crate::formats::Dtype;
use crate::formats::assembly::Assembly;
use crate::kernels::ggml::{self, BlockType};
use crate::kernels::layout::Unit;
use crate::kernels::levels::Levels;
use crate::kernels::quant::Grid;
use crate::kernels::{Real, affine, small};
use crate::model::Scratch;
use crate::recipe::Quantize;
use std::ops::Range;

/// What the codes of a chunk are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codes {
    /// There are none: elements keep their own bits, or become zero.
    #[default]
    None,
    /// Codes of levels, as they are stored (an asymmetric grid's zero point not taken off).
    Level,
    /// Bit patterns of a 16- or 8-bit float.
    Pattern,
    /// Codes of GGML's blocks, which are stored block by block with their scales.
    Block,
}

/// The part of a unit that lies in a chunk.
#[derive(Clone, Debug)]
pub struct Piece<T> {
    /// Its elements, counted from the first of the chunk.
    pub range: Range<usize>,
    /// The levels of the unit.
    pub levels: Levels<T>,
    /// Whether the unit begins here.
    pub begins: bool,
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
    /// Pieces of units in this chunk, in order.
    pub pieces: Vec<Piece<T>>,
    /// The chunk in GGML's blocks, when it is stored so.
    pub blocks: Vec<u8>,
    scratch: Scratch,
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
            pieces: Vec::new(),
            blocks: Vec::new(),
            scratch: Scratch::default(),
            cut_buffers: CutBuffers::default(),
            buffers: Buffers::default(),
        }
    }
}

impl<T: Real> Chunk<T> {
    /// Reads the elements of a range.
    pub(super) fn read(&mut self, task: &Task<'_>, range: Range<usize>) -> Result<(), Error> {
        task.source(range.clone(), &mut self.source, &mut self.scratch)?;
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
        task.zero(&self.range, &mut self.pruned);
        prepared.cut.apply(task, prepared, index, &mut self.pruned, &mut self.cut_buffers)
    }

    /// Fills `codes`, `pieces` and `result` from `pruned`. Gives whether every result is finite where its source is.
    pub(super) fn quantize(&mut self, task: &Task<'_>, prepared: &Prepared<T>) -> Result<bool, Error> {
        self.codes.clear();
        self.pieces.clear();
        self.result.clear();
        self.unrounded.clear();
        self.kind = Codes::None;
        if let Some(product) = &prepared.product {
            product.values(self.range.clone(), &mut self.result);
            return Ok(self.is_finite_still());
        }
        match &task.scheme.quantize {
            None => self.result.extend_from_slice(&self.pruned),
            Some(Quantize::F16) => self.cast(task, Dtype::F16)?,
            Some(Quantize::Bf16) => self.cast(task, Dtype::BF16)?,
            Some(Quantize::Fp8 { e5m2, row: false }) => {
                self.cast(task, if *e5m2 { Dtype::F8_E5M2 } else { Dtype::F8_E4M3 })?;
            }
            Some(Quantize::Gguf(block_type)) => self.put_in_blocks(task, *block_type)?,
            Some(_) => self.put_on_levels(task, prepared)?,
        }
        self.round_for_dense(task);
        Ok(self.is_finite_still())
    }

    fn is_finite_still(&self) -> bool {
        self.result.iter().zip(&self.source).all(|(q, w)| q.is_finite() || !w.is_finite())
    }

    /// The dense target spells levels out in the tensor's own dtype, and so do readers of codes with scales of that dtype; plain
    /// elements are in it already.
    fn round_for_dense(&mut self, task: &Task<'_>) {
        let wide =
            matches!(task.tensor.dtype, Dtype::F32 | Dtype::F64) || task.assembly().is_some_and(Assembly::is_single);
        let levels = self.kind == Codes::Level || (self.kind == Codes::None && task.tensor.is_coded());
        if task.target.is_dense() && levels && !wide {
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
        Err(non_finite::<T>(task))
    }

    fn put_on_levels(&mut self, task: &Task<'_>, prepared: &Prepared<T>) -> Result<(), Error> {
        let Some(fit) = prepared.fit else { return Ok(()) };
        self.refuse_non_finite(task)?;
        self.kind = Codes::Level;
        let n = self.pruned.len();
        self.codes.resize(n, 0);
        self.result.resize(n, T::ZERO);
        let assembly = task.assembly();
        for (index, piece) in fit.unit.pieces(prepared.geometry, self.range.clone()) {
            let range = piece.start - self.range.start..piece.end - self.range.start;
            let values = &self.pruned[range.clone()];
            let levels = match &prepared.levels {
                Some(levels) => levels[index].clone(),
                None => fit.levels(values, &mut self.buffers),
            };
            let levels = levels.ok_or_else(|| task.scale_overflow())?;
            let (codes, result) = (&mut self.codes[range.clone()], &mut self.result[range.clone()]);
            levels.quantize(values, codes, result);
            if let (Some(Assembly::Affine { .. }), Levels::Grid(grid)) = (assembly, &levels) {
                read_by_bias(task, grid, codes, result);
            }
            let begins = unit_starts_at(fit.unit, prepared, piece.start);
            self.pieces.push(Piece { range, levels, begins });
        }
        Ok(())
    }

    /// Adds the symbols that the codes are to an entropy coder to counts, see [`Levels::symbol`]; bit patterns are their own.
    pub fn count_symbols(&self, counts: &mut [u64]) {
        if matches!(self.kind, Codes::Pattern | Codes::Block) {
            self.codes.iter().for_each(|&code| counts[code as usize] += 1);
        }
        for piece in &self.pieces {
            self.codes[piece.range.clone()].iter().for_each(|&code| counts[piece.levels.symbol(code)] += 1);
        }
    }

    /// Goes through GGML's own encoder, and reads what it wrote. Its arithmetic is f32.
    fn put_in_blocks(&mut self, task: &Task<'_>, block_type: BlockType) -> Result<(), Error> {
        self.refuse_non_finite(task)?;
        self.kind = Codes::Block;
        let n = self.pruned.len();
        let Some(bytes) = block_type.bytes_of(n) else { return Err(blocks_refused(task)) };
        let mut values: Vec<f32> = self.pruned.iter().map(|&w| w.to_f64() as f32).collect();
        self.blocks.clear();
        self.blocks.resize(bytes, 0);
        ggml::encode(block_type, &values, &mut self.blocks).map_err(|_| blocks_refused(task))?;
        ggml::decode(block_type, &self.blocks, &mut values).map_err(|_| blocks_refused(task))?;
        self.result.extend(values.iter().map(|&q| T::from_f32(q)));
        let mut codes = Vec::with_capacity(n);
        ggml::parts::codes(block_type, &self.blocks, &mut codes);
        self.codes.extend(codes.into_iter().map(i32::from));
        Ok(())
    }

    fn cast(&mut self, task: &Task<'_>, dtype: Dtype) -> Result<(), Error> {
        self.refuse_non_finite(task)?;
        self.kind = Codes::Pattern;
        let Some(format) = dtype.small() else { return Ok(()) };
        self.codes.resize(self.pruned.len(), 0);
        self.result.resize(self.pruned.len(), T::ZERO);
        small::cast(format, &self.pruned, &mut self.codes, &mut self.result);
        Ok(())
    }
}

/// What MLX's readers make of a grid with a zero point of its own, whose bias rounds: scale · u + bias.
fn read_by_bias<T: Real>(task: &Task<'_>, grid: &Grid<T>, codes: &[i32], result: &mut [T]) {
    if !matches!(task.scheme.quantize, Some(Quantize::Int { asymmetric: true, .. })) {
        return;
    }
    let scale = grid.scale.to_f64() as f32;
    let bias = affine::bias(scale, grid.zero_point, task.tensor.dtype.small());
    for (q, &code) in result.iter_mut().zip(codes) {
        *q = T::from_f32(affine::value(scale, bias, code as u8));
    }
}

fn unit_starts_at<T>(unit: Unit, prepared: &Prepared<T>, start: usize) -> bool {
    match unit {
        Unit::Tensor => start == 0,
        Unit::Row => start.is_multiple_of(prepared.geometry.cols),
        Unit::Group(_) => true,
    }
}

/// The refusal of rows that are no whole blocks; plans are checked for it before.
fn blocks_refused(task: &Task<'_>) -> Error {
    Error::Unbuilt { tensor: task.shown_name(), scheme: task.scheme.to_string() }
}

/// The refusal of a tensor that has elements which are not finite. Rare and final: they are counted for the message.
pub(super) fn non_finite<T: Real>(task: &Task<'_>) -> Error {
    match count_non_finite::<T>(task) {
        Ok(count) => Error::NonFinite { tensor: task.shown_name(), count, scheme: task.scheme.to_string() },
        Err(error) => error,
    }
}

pub(super) fn count_non_finite<T: Real>(task: &Task<'_>) -> Result<u64, Error> {
    let mut values: Vec<T> = Vec::new();
    let mut scratch = Scratch::default();
    let mut count = 0;
    for range in task.geometry().chunks() {
        task.check_cancelled()?;
        task.values(range, &mut values, &mut scratch)?;
        count += values.iter().filter(|v| !v.is_finite()).count() as u64;
    }
    Ok(count)
}
