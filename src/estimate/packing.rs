//! Which form a tensor takes in `packed`: the least of all of them, each priced to the byte from counts alone.

use crate::formats::Dtype;
use crate::formats::packed_layout::{Code, Form, Indices, Matrix};
use crate::kernels::Real;
use crate::kernels::gaps::{GapCounts, WIDTHS};
use crate::kernels::huffman::{code_lengths, stream_bits};
use crate::kernels::layout::Geometry;

/// What indices and Huffman coding must save, each, to be worth their words in the header.
const WORDS: u64 = 48;

/// What a pass over a tensor's stored codes counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeCounts {
    /// By symbol, over the elements with q ≠ 0.
    pub nonzero: [u64; 256],
    /// By symbol, over those with q = 0 that have a code for it. Where all have, the dense forms are there to be chosen.
    pub zero: [u64; 256],
    /// Gaps before the elements with q ≠ 0.
    pub gaps: GapCounts,
}

impl CodeCounts {
    /// Nothing counted yet, from element `start` on.
    #[must_use]
    pub fn at(start: usize) -> Self {
        Self { nonzero: [0; 256], zero: [0; 256], gaps: GapCounts::at(start) }
    }

    /// Appends elements: what a reader gets of them, and their codes in whole bytes of `width` each. Without `zero_codes` those
    /// of elements that are 0 stand for nothing.
    pub fn add<T: Real>(&mut self, result: &[T], codes: &[u8], width: usize, zero_codes: bool) {
        self.gaps.add(result);
        // Two tables in turn: the same symbol twice in a row would wait for itself.
        let mut tables = [[0_u64; 512]; 2];
        let last = |pair: &[u8], i: usize| usize::from(pair[(i + 1) * width - 1]);
        for (values, codes) in result.chunks(2).zip(codes.chunks(2 * width)) {
            for (i, value) in values.iter().enumerate() {
                tables[i][usize::from(*value != T::ZERO) << 8 | last(codes, i)] += 1;
            }
        }
        for table in tables {
            if zero_codes {
                self.zero.iter_mut().zip(&table[..256]).for_each(|(sum, count)| *sum += count);
            }
            self.nonzero.iter_mut().zip(&table[256..]).for_each(|(sum, count)| *sum += count);
        }
    }

    /// Joins the counts of the run that follows.
    #[must_use]
    pub fn merge(mut self, next: Self) -> Self {
        self.nonzero.iter_mut().zip(next.nonzero).for_each(|(a, b)| *a += b);
        self.zero.iter_mut().zip(next.zero).for_each(|(a, b)| *a += b);
        self.gaps = self.gaps.merge(next.gaps);
        self
    }
}

/// A tensor's form with the code lengths that its streams will have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packing {
    /// How the codes lie.
    pub matrix: Matrix,
    /// Code lengths of the codes' symbols; empty without Huffman coding, and where they are only foreseen.
    pub code_lengths: Vec<u8>,
    /// Code lengths of the indices; likewise.
    pub index_lengths: Vec<u8>,
}

impl Packing {
    /// Codes at their full width for every element: what is known without reading a value.
    #[must_use]
    pub fn dense(code: Code, geometry: Geometry) -> Self {
        Self::unread(Matrix::plain(code, geometry.len() as u64, 0, false))
    }

    pub(super) fn unread(matrix: Matrix) -> Self {
        Self { matrix, code_lengths: Vec::new(), index_lengths: Vec::new() }
    }

    /// The least form of a tensor whose codes were counted; of equal ones the simplest.
    #[must_use]
    pub fn least(code: Code, dtype: Dtype, geometry: Geometry, counts: &CodeCounts) -> Self {
        let symbols = 1 << code.symbol_bits(dtype);
        let of_nonzeros = &counts.nonzero[..symbols];
        let of_all: Vec<u64> = of_nonzeros.iter().zip(&counts.zero).map(|(a, b)| a + b).collect();
        let nonzeros: u64 = of_nonzeros.iter().sum();
        let mut choice = Choice { dtype, geometry, best: None };
        if of_all.iter().sum::<u64>() == geometry.len() as u64 {
            choice.offer(code, Form::Dense, geometry.len() as u64, &of_all, &[]);
        }
        choice.offer(code, Form::Mask, nonzeros, of_nonzeros, &[]);
        for bits in WIDTHS {
            let gaps = counts.gaps.indices(bits);
            let lengths = code_lengths(&gaps);
            let stream = gaps.iter().sum::<u64>() * u64::from(bits);
            let form = |huffman, stream| Form::Indices(Indices { bits, huffman, stream });
            choice.offer(code, form(false, stream), nonzeros, of_nonzeros, &[]);
            if nonzeros > 0 {
                choice.offer(code, form(true, stream_bits(&gaps, &lengths)), nonzeros, of_nonzeros, &lengths);
            }
        }
        choice.best.map_or_else(|| Self::dense(code, geometry), |(_, packing)| packing)
    }
}

/// What a form is chosen by: its payload, and an allowance for its words in the header.
pub(super) fn cost(matrix: &Matrix, dtype: Dtype, geometry: Geometry) -> u64 {
    let words = u64::from(matrix.huffman.is_some()) + u64::from(matrix.indices().is_some());
    matrix.parts(dtype, geometry).len().saturating_add(words * WORDS)
}

struct Choice {
    dtype: Dtype,
    geometry: Geometry,
    best: Option<(u64, Packing)>,
}

impl Choice {
    /// A form, with plain codes and with Huffman coded ones whose symbols occur `counts` times.
    fn offer(&mut self, code: Code, form: Form, nonzeros: u64, counts: &[u64], index_lengths: &[u8]) {
        let lengths = code_lengths(counts);
        let plain = Matrix { form, nonzeros, code, huffman: None };
        let coded = Matrix { huffman: Some(stream_bits(counts, &lengths)), ..plain };
        for (matrix, code_lengths) in [(plain, Vec::new()), (coded, lengths)] {
            let cost = cost(&matrix, self.dtype, self.geometry);
            let empty = matrix.huffman.is_some() && nonzeros == 0;
            if !empty && self.best.as_ref().is_none_or(|(least, _)| cost < *least) {
                self.best = Some((cost, Packing { matrix, code_lengths, index_lengths: index_lengths.to_vec() }));
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kernels::entropy::shannon_bits;
    use crate::kernels::layout::Unit;

    pub const INT4: Code = Code::Integer { bits: 4, unit: Unit::Tensor, zero_points: false };

    /// Counts of codes that are drawn from a bell `width` steps wide and kept with a chance of `share`, and n·H0 over all.
    pub fn drawn(n: usize, width: f64, share: f64) -> (CodeCounts, f64) {
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        let mut codes = Vec::new();
        for _ in 0..n {
            let bell = (0..6).map(|_| uniform()).sum::<f64>() - 3.0;
            let code = (bell * width).round().clamp(-7.0, 7.0);
            codes.push(if uniform() < share { code as f32 } else { 0.0 });
        }
        let stored: Vec<u8> = codes.iter().map(|&code| (code as i8 & 15) as u8).collect();
        let mut counts = CodeCounts::at(0);
        counts.add(&codes, &stored, 1, true);
        let all: Vec<u64> = counts.zero.iter().zip(&counts.nonzero).map(|(a, b)| a + b).collect();
        (counts, shannon_bits(all))
    }

    #[test]
    fn counts_of_runs_are_those_of_the_whole() {
        let values: Vec<f32> = (0..999_i16).map(|i| f32::from(i % 5 - 2)).collect();
        let stored: Vec<u8> = (0..2 * 999_u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut whole = CodeCounts::at(0);
        whole.add(&values, &stored, 2, true);
        let [mut first, mut second] = [CodeCounts::at(0), CodeCounts::at(333)];
        first.add(&values[..333], &stored[..666], 2, true);
        second.add(&values[333..], &stored[666..], 2, true);
        assert_eq!(first.merge(second), whole);
        let mut wanted = [0; 256];
        values
            .iter()
            .zip(stored.chunks(2))
            .filter(|(v, _)| **v != 0.0)
            .for_each(|(_, b)| wanted[usize::from(b[1])] += 1);
        assert_eq!(whole.nonzero, wanted);
        assert_eq!(whole.zero.iter().sum::<u64>(), 200);
    }

    #[test]
    fn every_form_is_least_somewhere() {
        let geometry = Geometry::of(&[100, 1000]);
        let least = |width, share| {
            let (counts, _) = drawn(100_000, width, share);
            Packing::least(INT4, Dtype::F32, geometry, &counts).matrix
        };
        assert!(matches!(least(1.5, 1.0), Matrix { form: Form::Dense, huffman: Some(_), .. }));
        assert!(matches!(least(1.5, 0.05), Matrix { form: Form::Indices(Indices { huffman: true, .. }), .. }));
        // As many of each code as of any other: nothing is gained by telling them apart.
        let even: Vec<f32> = (0..16_000_u16).map(|i| f32::from(i % 16 + 1)).collect();
        let stored: Vec<u8> = (0..16_000_u16).map(|i| (i % 16) as u8).collect();
        let mut counts = CodeCounts::at(0);
        counts.add(&even, &stored, 1, true);
        let packing = Packing::least(INT4, Dtype::F32, Geometry::of(&[16, 1000]), &counts);
        assert_eq!(packing, Packing::dense(INT4, Geometry::of(&[16, 1000])));
        // A few hundred bytes are not worth the words.
        let few: Vec<f32> = (0..200_u8).map(|i| f32::from(i % 4)).collect();
        let mut counts = CodeCounts::at(0);
        counts.add(&few, &stored[..200], 1, true);
        let packing = Packing::least(INT4, Dtype::F32, Geometry::of(&[2, 100]), &counts);
        assert_eq!(packing.matrix, Matrix::plain(INT4, 200, 0, false));
    }
}
