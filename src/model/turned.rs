//! Codes that lie with inputs before outputs, as GPTQ and AWQ write them: a weight's rows are their columns.
//!
//! ```text
//! GPTQ  qweight I32 [in·b/32, out]   a word holds neighbouring inputs    g_idx I32 [in], the group of each input
//! AWQ   qweight I32 [in, out/8]      a word holds eight outputs, in the order 0 2 4 6 1 3 5 7
//! both  scales [in/g, out]           qzeros I32 [in/g, out·b/32], words of outputs in the order of each
//! ```
//!
//! A value is (code − zero) · scale, rounded to the dtype of the scales. Before its second version GPTQ stored a zero less one, in as many
//! bits as a code has, so that a zero of 0 is there as the largest (`AutoGPTQ`, `qlinear_cuda_old.py`; `AutoAWQ`, `packing_utils.py`).

use super::assembled::{Assembled, Step, append};
use super::{Model, Scratch, Tensor};
use crate::formats::Error;
use crate::formats::assembly::{Assembly, Holds, Turned};
use std::ops::Range;

/// Where in a word of AWQ, counted in codes, each of its eight outputs lies.
const AWQ_PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// Which rows and columns of a weight are wanted, and how long its sides are.
struct Wanted<'a> {
    assembled: &'a Assembled,
    by: Turned,
    bits: usize,
    /// Rows of the weight: outputs.
    outputs: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Wanted<'_> {
    /// The code in a word at a place, counted in codes.
    fn code(&self, word: u32, place: usize) -> u8 {
        ((word >> (self.bits * place)) & ((1 << self.bits) - 1)) as u8
    }

    /// The place of an output in its word.
    fn place_of_output(&self, output: usize) -> usize {
        let place = output % (32 / self.bits);
        if self.by == Turned::Awq { AWQ_PLACES[place % 8] } else { place }
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

impl Model {
    /// Appends some columns of neighbouring rows of such a weight.
    pub(super) fn decode_turned(
        &self,
        tensor: &Tensor,
        assembled: &Assembled,
        rows: Range<usize>,
        columns: Range<usize>,
        out: &mut Vec<f32>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let Assembly::Turned { by, bits, group } = assembled.assembly else { return Ok(()) };
        let outputs = tensor.geometry().rows;
        let wanted = Wanted { assembled, by, bits: bits as usize, outputs, rows, columns };
        let codes = self.turned_codes(&wanted, scratch)?;
        let groups: Vec<usize> = match assembled.place(Holds::Groups) {
            Some(place) => {
                let bytes = wanted.columns.start as u64 * 4..wanted.columns.end as u64 * 4;
                // They were below this when the model was opened; a file that changed since must not ask for more.
                let most = tensor.geometry().cols / group.max(1);
                words(self.part(place, bytes, scratch)?).map(|group| (group as usize).min(most)).collect()
            }
            None => wanted.columns.clone().map(|column| column / group.max(1)).collect(),
        };
        let first = groups.iter().min().copied().unwrap_or_default();
        let last = groups.iter().max().copied().unwrap_or_default();
        let steps = self.turned_steps(tensor, &wanted, first..last + 1, scratch)?;
        for (row, codes) in codes.chunks_exact(wanted.columns.len()).enumerate() {
            let mut at = 0;
            for run in groups.chunk_by(|a, b| a == b) {
                let step = steps[(run[0] - first) * wanted.rows.len() + row];
                append(assembled.assembly, tensor.dtype, step, &codes[at..at + run.len()], out);
                at += run.len();
            }
        }
        Ok(())
    }

    /// The wanted codes, row by row.
    fn turned_codes(&self, wanted: &Wanted<'_>, scratch: &mut Scratch) -> Result<Vec<u8>, Error> {
        let Wanted { rows, columns, outputs, .. } = wanted;
        let (in_word, width) = (32 / wanted.bits, columns.len());
        let mut codes = vec![0; rows.len() * width];
        let Some(place) = wanted.assembled.place(Holds::Codes) else { return Ok(codes) };
        if wanted.by == Turned::Awq {
            let (begin, end) = (rows.start / in_word, rows.end.div_ceil(in_word));
            for column in columns.clone() {
                let line = column * (outputs / in_word);
                let bytes = ((line + begin) * 4) as u64..((line + end) * 4) as u64;
                let held: Vec<u32> = words(self.part(place, bytes, scratch)?).collect();
                for row in rows.clone() {
                    let code = wanted.code(held[row / in_word - begin], wanted.place_of_output(row));
                    codes[(row - rows.start) * width + column - columns.start] = code;
                }
            }
            return Ok(codes);
        }
        for line in columns.start / in_word..columns.end.div_ceil(in_word) {
            let bytes = ((line * outputs + rows.start) * 4) as u64..((line * outputs + rows.end) * 4) as u64;
            let inputs = (line * in_word).max(columns.start)..((line + 1) * in_word).min(columns.end);
            for (row, word) in words(self.part(place, bytes, scratch)?).enumerate() {
                for input in inputs.clone() {
                    codes[row * width + input - columns.start] = wanted.code(word, input % in_word);
                }
            }
        }
        Ok(codes)
    }

    /// The scale and the zero of each wanted row, group by group.
    fn turned_steps(
        &self,
        tensor: &Tensor,
        wanted: &Wanted<'_>,
        groups: Range<usize>,
        scratch: &mut Scratch,
    ) -> Result<Vec<Step>, Error> {
        let Wanted { rows, outputs, .. } = wanted;
        let (in_word, width) = (32 / wanted.bits, tensor.dtype.bytes());
        let (begin, end) = (rows.start / in_word, rows.end.div_ceil(in_word));
        let mut steps = Vec::with_capacity(groups.len() * rows.len());
        let places = wanted.assembled.place(Holds::Scales).zip(wanted.assembled.place(Holds::ZeroPoints));
        let Some((scales, zeros)) = places else { return Ok(steps) };
        let mut floats = Vec::<f32>::new();
        for group in groups {
            let line = group * outputs;
            let bytes = ((line + rows.start) * width) as u64..((line + rows.end) * width) as u64;
            floats.clear();
            tensor.dtype.decode(self.part(scales, bytes, scratch)?, &mut floats);
            let line = group * (outputs / in_word);
            let bytes = ((line + begin) * 4) as u64..((line + end) * 4) as u64;
            let held: Vec<u32> = words(self.part(zeros, bytes, scratch)?).collect();
            for (row, &scale) in rows.clone().zip(&floats) {
                let stored = wanted.code(held[row / in_word - begin], wanted.place_of_output(row));
                let most = (1_u32 << wanted.bits) - 1;
                let zero = if wanted.by == Turned::Gptq { (u32::from(stored) + 1) & most } else { u32::from(stored) };
                steps.push(Step { scale, bias: zero as f32 });
            }
        }
        Ok(steps)
    }
}
