//! One coded payload, written part by part while its chunks stream past: what is finished goes to its place, the rest waits.

use super::Error;
use super::output::Output;
use super::stretch::Stretch;
use crate::compress::Piece;
use crate::estimate::Packing;
use crate::formats::Dtype;
use crate::formats::packed_layout::{Code, Form, Matrix, scale_bytes};
use crate::kernels::Real;
use crate::kernels::gaps::{BLOCK, each_index};
use crate::kernels::huffman::Encoder;
use crate::kernels::layout::Geometry;
use crate::kernels::levels::Levels;
use std::ops::Range;

/// What a block has taken so far.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    elements: usize,
    gap: usize,
    nonzeros: u32,
    index_bits: u32,
    code_bits: u32,
}

/// Writes the payload of one coded tensor.
#[derive(Debug)]
pub struct Writer {
    matrix: Matrix,
    dtype: Dtype,
    codes: Option<Encoder>,
    indices: Option<Encoder>,
    block: Taken,
    /// Whether a unit was written.
    begun: bool,
    mask: Stretch,
    scales: Stretch,
    zero_points: Stretch,
    codebooks: Stretch,
    code_table: Stretch,
    index_table: Stretch,
    block_table: Stretch,
    index_part: Stretch,
    rest: Stretch,
    code_part: Stretch,
}

impl Writer {
    /// A writer of the payload that begins at byte `start` of the file.
    pub fn new(packing: &Packing, dtype: Dtype, geometry: Geometry, start: u64) -> Self {
        let parts = packing.matrix.parts(dtype, geometry);
        let part = |range: Range<u64>| Stretch::new(start + range.start..start + range.end);
        // Lengths come from counts and are a code's; none are there where nothing is Huffman coded.
        let encoder = |lengths: &[u8]| Encoder::new(lengths).ok();
        let mut writer = Self {
            matrix: packing.matrix,
            dtype,
            codes: packing.matrix.huffman.and_then(|_| encoder(&packing.code_lengths)),
            indices: packing.matrix.indices().filter(|i| i.huffman).and_then(|_| encoder(&packing.index_lengths)),
            block: Taken::default(),
            begun: false,
            mask: part(parts.mask),
            scales: part(parts.scales),
            zero_points: part(parts.zero_points),
            codebooks: part(parts.codebooks),
            code_table: part(parts.code_table),
            index_table: part(parts.index_table),
            block_table: part(parts.blocks),
            index_part: part(parts.indices),
            rest: part(parts.rest),
            code_part: part(parts.codes),
        };
        if writer.codes.is_some() {
            packing.code_lengths.iter().for_each(|&length| writer.code_table.push(u32::from(length), 4));
        }
        if writer.indices.is_some() {
            packing.index_lengths.iter().for_each(|&length| writer.index_table.push(u32::from(length), 4));
        }
        writer
    }

    /// Appends what stands beside the codes of the units that begin in a chunk.
    pub fn side<T: Real>(&mut self, pieces: &[Piece<T>]) {
        for piece in pieces.iter().filter(|piece| piece.begins) {
            let scales = &mut self.scales.bytes;
            match &piece.levels {
                Levels::Mx(exponent) => scales.push(*exponent),
                Levels::Nv { scale, global } => {
                    if !self.begun {
                        global.push_le(scales);
                    }
                    scales.push(*scale);
                }
                Levels::Codebook(book) => {
                    book.centroids.iter().for_each(|centroid| centroid.push_le(&mut self.codebooks.bytes));
                }
                levels => {
                    let scale = levels.scale().unwrap_or_default().to_f64();
                    if scale_bytes(self.dtype) == 8 {
                        scale.push_le(scales);
                    } else {
                        f32::from_f64(scale).push_le(scales);
                    }
                }
            }
            if let (Levels::Grid(grid), Code::Integer { zero_points: true, .. }) = (&piece.levels, self.matrix.code) {
                self.zero_points.bytes.push(grid.zero_point as u8);
            }
            self.begun = true;
        }
    }

    /// Appends elements: what a reader gets of them, and their codes in whole bytes.
    pub fn add<T: Real>(&mut self, mut values: &[T], mut codes: &[u8]) {
        let width = self.matrix.code.width(self.dtype);
        while !values.is_empty() {
            let take = values.len().min(BLOCK - self.block.elements);
            self.add_to_block(&values[..take], &codes[..take * width], width);
            (values, codes) = (&values[take..], &codes[take * width..]);
            self.block.elements += take;
            if self.block.elements == BLOCK {
                self.end_block();
            }
        }
    }

    fn add_to_block<T: Real>(&mut self, values: &[T], codes: &[u8], width: usize) {
        let dense = self.matrix.form == Form::Dense;
        for (value, code) in values.iter().zip(codes.chunks_exact(width)) {
            let held = *value != T::ZERO;
            match self.matrix.form {
                Form::Dense => {}
                Form::Mask => self.mask.push(u32::from(held), 1),
                Form::Indices(_) if !held => self.block.gap += 1,
                Form::Indices(indices) => {
                    let gap = std::mem::take(&mut self.block.gap);
                    each_index(gap, indices.bits, |index| self.add_index(index, indices.bits));
                }
            }
            if held || dense {
                self.add_code(code);
            }
        }
    }

    fn add_index(&mut self, index: u8, bits: u32) {
        let part = &mut self.index_part;
        self.block.index_bits += if let Some(encoder) = &self.indices {
            encoder.push(index, &mut part.bits, &mut part.bytes) as u32
        } else {
            part.push(u32::from(index), bits);
            bits
        };
    }

    fn add_code(&mut self, code: &[u8]) {
        self.block.nonzeros += 1;
        let part = &mut self.code_part;
        let Some((&symbol, rest)) = code.split_last() else { return };
        if let Some(encoder) = &self.codes {
            self.block.code_bits += encoder.push(symbol, &mut part.bits, &mut part.bytes) as u32;
            self.rest.bytes.extend_from_slice(rest);
        } else if rest.is_empty() {
            part.push(u32::from(symbol), self.matrix.code.bits(self.dtype) as u32);
        } else {
            part.bytes.extend_from_slice(code);
        }
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        if self.matrix.is_blocked() {
            let counted = (self.matrix.form != Form::Dense).then_some(block.nonzeros);
            let indexed = self.matrix.indices().map(|_| block.index_bits);
            let coded = self.matrix.huffman.map(|_| block.code_bits);
            for number in [counted, indexed, coded].into_iter().flatten() {
                self.block_table.bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
    }

    fn parts(&mut self) -> [&mut Stretch; 10] {
        [
            &mut self.mask,
            &mut self.scales,
            &mut self.zero_points,
            &mut self.codebooks,
            &mut self.code_table,
            &mut self.index_table,
            &mut self.block_table,
            &mut self.index_part,
            &mut self.rest,
            &mut self.code_part,
        ]
    }

    /// Ends the last block, and every part's last byte.
    pub fn finish(&mut self) {
        if self.block.elements > 0 {
            self.end_block();
        }
        for part in self.parts() {
            std::mem::take(&mut part.bits).finish(&mut part.bytes);
        }
    }

    /// Writes what waits to its places, `at_last` all of it. `None` when it is more or less than was planned.
    pub fn pour(&mut self, output: &mut Output<'_>, at_last: bool) -> Result<Option<()>, Error> {
        for part in self.parts() {
            if part.pour(output, at_last)?.is_none() {
                return Ok(None);
            }
        }
        if at_last {
            output.seek(self.code_part.end)?;
        }
        Ok(Some(()))
    }
}
