//! A weight that lies in the files as several tensors: its values, any part of them at any time.
//!
//! A code times its scale, both read as they lie, is computed in f32 and rounded once to the dtype of the scales, which is what
//! compressed-tensors computes in; numbers of MXFP4 and NVFP4 stay F32. What MLX keeps is scale · u + bias, as its numbers say
//! (`kernels/affine.rs`).

use super::{Model, Scratch, Tensor};
use crate::formats::assembly::{Assembly, Holds};
use crate::formats::{Dtype, Error};
use crate::kernels::bits::unpack;
use crate::kernels::convert::{F4_E2M1, F8_E4M3, decode_small, table_of_f8};
use crate::kernels::layout::Unit;
use crate::kernels::small::{mx_block, nv_block};
use crate::kernels::{Real, affine};
use std::ops::Range;

/// Where the parts of such a weight lie.
#[derive(Debug)]
pub(super) struct Assembled {
    pub assembly: Assembly,
    pub parts: Vec<Place>,
}

/// One of the tensors that it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it holds.
    pub holds: Holds,
    /// Which of the model's files it lies in, by position.
    pub shard: usize,
    /// Where, in that file.
    pub range: Range<u64>,
}

impl Place {
    /// Bytes of it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// What the codes of a unit are multiplied by and counted from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) scale: f32,
    pub(super) bias: f32,
}

impl Tensor {
    /// How it is put together, when it lies in several tensors of the files.
    #[must_use]
    pub fn assembly(&self) -> Option<Assembly> {
        self.assembled.as_ref().map(|assembled| assembled.assembly)
    }

    /// The tensors of the files that it lies in; none when it is one itself.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        self.assembled.as_ref().map_or(&[], |assembled| &assembled.parts)
    }
}

impl Model {
    /// Whether some weight lies in several tensors of the files.
    #[must_use]
    pub fn is_assembled(&self) -> bool {
        self.tensors.iter().any(|tensor| tensor.assembled.is_some())
    }

    /// Bytes `range` of one of the tensors that a weight lies in.
    ///
    /// # Errors
    /// When the file cannot be read there any more.
    pub fn part<'a>(&'a self, place: &Place, range: Range<u64>, scratch: &'a mut Scratch) -> Result<&'a [u8], Error> {
        let start = place.range.start;
        self.shards[place.shard].read(start + range.start..start + range.end, &mut scratch.bytes)
    }

    /// Elements `range` of such a weight.
    pub(super) fn assembled_values<T: Real>(
        &self,
        tensor: &Tensor,
        assembled: &Assembled,
        range: Range<usize>,
        out: &mut Vec<T>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let cols = tensor.geometry().cols;
        let mut decoded = std::mem::take(&mut scratch.decoded);
        decoded.clear();
        let mut at = range.start;
        while at < range.end {
            let (row, col, left) = (at / cols, at % cols, range.end - at);
            // Whole rows at once, else what is wanted of one.
            let (rows, columns) = match left / cols {
                whole @ 1.. if col == 0 => (row..row + whole, 0..cols),
                _ => (row..row + 1, col..(col + left).min(cols)),
            };
            at += rows.len() * columns.len();
            self.decode_rows(tensor, assembled, rows, columns, &mut decoded, scratch)?;
        }
        out.extend(decoded.iter().map(|&x| T::from_f32(x)));
        scratch.decoded = decoded;
        Ok(())
    }

    /// Appends some columns of neighbouring rows; of several rows all columns.
    fn decode_rows(
        &self,
        tensor: &Tensor,
        assembled: &Assembled,
        rows: Range<usize>,
        columns: Range<usize>,
        out: &mut Vec<f32>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let (assembly, cols) = (assembled.assembly, tensor.geometry().cols);
        if matches!(assembly, Assembly::Turned { .. }) {
            return self.decode_turned(tensor, assembled, rows, columns, out, scratch);
        }
        let (bits, row_bytes) = (assembly.bits() as usize, assembly.row_bytes(cols));
        let first = columns.start * bits / 8;
        let position = (columns.start * bits - first * 8) as u64;
        let bytes = rows.start * row_bytes + first..(rows.end - 1) * row_bytes + (columns.end * bits).div_ceil(8);
        let mut codes = std::mem::take(&mut scratch.symbols);
        codes.clear();
        if let Some(place) = assembled.place(Holds::Codes) {
            let read = self.part(place, bytes.start as u64..bytes.end as u64, scratch)?;
            for row in 0..rows.len() {
                let of_row = read.get(row * row_bytes..).unwrap_or_default();
                unpack(of_row, position, bits as u32, columns.len(), &mut codes);
            }
        }
        let steps = self.steps(tensor, assembled, rows, columns.clone(), scratch)?;
        let size = if let Unit::Group(size) = assembly.unit() { size } else { cols };
        let mut steps = steps.iter().cycle();
        for row in codes.chunks_exact(columns.len()) {
            let mut at = columns.start;
            while at < columns.end {
                let end = (at - at % size + size).min(columns.end);
                let Some(step) = steps.next() else { break };
                let codes = &row[at - columns.start..end - columns.start];
                append(assembly, tensor.dtype, *step, codes, out);
                at = end;
            }
        }
        scratch.symbols = codes;
        Ok(())
    }

    /// The steps of the units that some columns of neighbouring rows touch, in order; one for all where the tensor has but one.
    fn steps(
        &self,
        tensor: &Tensor,
        assembled: &Assembled,
        rows: Range<usize>,
        columns: Range<usize>,
        scratch: &mut Scratch,
    ) -> Result<Vec<Step>, Error> {
        let (assembly, cols) = (assembled.assembly, tensor.geometry().cols);
        let in_row = assembly.units_in_row(cols);
        if matches!(assembly, Assembly::Fp8Blocks { .. }) {
            return self.steps_of_blocks(tensor, assembled, rows, columns, scratch);
        }
        let units = match assembly.unit() {
            Unit::Tensor => 0..1,
            Unit::Row => rows,
            Unit::Group(size) if rows.len() == 1 => {
                rows.start * in_row + columns.start / size..rows.start * in_row + columns.end.div_ceil(size)
            }
            Unit::Group(_) => rows.start * in_row..rows.end * in_row,
        };
        let mut side = |holds, dtype: Dtype| {
            let width = dtype.bytes() as u64;
            let bytes = units.start as u64 * width..units.end as u64 * width;
            assembled.place(holds).map_or(Ok(Vec::new()), |place| Ok(self.part(place, bytes, scratch)?.to_vec()))
        };
        let floats = |bytes: &[u8]| {
            let mut out = Vec::<f32>::new();
            tensor.dtype.decode(bytes, &mut out);
            out
        };
        let plain = |scale| Step { scale, bias: 0.0 };
        Ok(match assembly {
            Assembly::Mxfp4 => {
                side(Holds::Scales, Dtype::U8)?.into_iter().map(|byte| plain(mx_block(byte).scale)).collect()
            }
            Assembly::Nvfp4 => {
                let patterns = side(Holds::Scales, Dtype::U8)?;
                let global = match assembled.place(Holds::Global) {
                    Some(place) => self.part(place, 0..4, scratch)?.first_chunk().copied().unwrap_or_default(),
                    None => [0; 4],
                };
                let global = f32::from_le_bytes(global);
                patterns.into_iter().map(|pattern| plain(nv_block(pattern, global).scale)).collect()
            }
            Assembly::Affine { .. } => {
                let (scales, biases) =
                    (floats(&side(Holds::Scales, tensor.dtype)?), floats(&side(Holds::Biases, tensor.dtype)?));
                scales.into_iter().zip(biases).map(|(scale, bias)| Step { scale, bias }).collect()
            }
            _ => floats(&side(Holds::Scales, tensor.dtype)?).into_iter().map(plain).collect(),
        })
    }

    /// The same where neighbouring rows share their scales: those of a row are told again for each.
    fn steps_of_blocks(
        &self,
        tensor: &Tensor,
        assembled: &Assembled,
        rows: Range<usize>,
        columns: Range<usize>,
        scratch: &mut Scratch,
    ) -> Result<Vec<Step>, Error> {
        let (assembly, cols) = (assembled.assembly, tensor.geometry().cols);
        let (height, in_row) = (assembly.rows_in_unit(), assembly.units_in_row(cols));
        let Unit::Group(width) = assembly.unit() else { return Ok(Vec::new()) };
        let Some(place) = assembled.place(Holds::Scales) else { return Ok(Vec::new()) };
        let (first, last) = (rows.start / height, (rows.end - 1) / height);
        let bytes = tensor.dtype.bytes();
        let range = (first * in_row * bytes) as u64..((last + 1) * in_row * bytes) as u64;
        let mut scales = Vec::<f32>::new();
        tensor.dtype.decode(self.part(place, range, scratch)?, &mut scales);
        let touched = columns.start / width..columns.end.div_ceil(width);
        let of_row = |row: usize| &scales[(row / height - first) * in_row..][touched.clone()];
        Ok(rows.flat_map(of_row).map(|&scale| Step { scale, bias: 0.0 }).collect())
    }
}

impl Assembled {
    pub(super) fn place(&self, holds: Holds) -> Option<&Place> {
        self.parts.iter().find(|place| place.holds == holds)
    }
}

/// Appends the values of codes that share a step.
pub(super) fn append(assembly: Assembly, dtype: Dtype, step: Step, codes: &[u8], out: &mut Vec<f32>) {
    let Step { scale, bias } = step;
    let rounded = |value: f32| if assembly.is_single() { value } else { dtype.rounded(value) };
    match assembly {
        Assembly::Packed { bits, .. } => {
            let zero = 1_i32 << (bits - 1);
            out.extend(codes.iter().map(|&u| rounded((i32::from(u) - zero) as f32 * scale)));
        }
        Assembly::Bytes { .. } => {
            out.extend(codes.iter().map(|&u| rounded(f32::from(u.cast_signed()) * scale)));
        }
        Assembly::Fp8 { .. } | Assembly::Fp8Blocks { .. } => {
            let table = table_of_f8(F8_E4M3);
            out.extend(codes.iter().map(|&u| rounded(table[usize::from(u)] * scale)));
        }
        Assembly::Mxfp4 | Assembly::Nvfp4 => {
            out.extend(codes.iter().map(|&u| decode_small(F4_E2M1, u16::from(u)) as f32 * scale));
        }
        Assembly::Turned { .. } => {
            out.extend(codes.iter().map(|&u| rounded((f32::from(u) - bias) * scale)));
        }
        Assembly::Affine { .. } => {
            out.extend(codes.iter().map(|&u| rounded(affine::value(scale, bias, u))));
        }
    }
}
