//! The form that a tensor will take in `packed` as far as it can be foreseen from a profile: in the same frame, without its
//! codes.
//!
//! What decides are the lengths of Huffman coded streams. A profile knows how many elements are not zero and what entropy the
//! codes have, so the real coder is run once over distributions of the usual shapes (a bell of every width for codes,
//! scattered nonzeros of every share for indices), and a live answer is read off those curves.

use super::packing::{Packing, cost};
use crate::formats::Dtype;
use crate::formats::packed_layout::{Code, Form, Indices, Matrix};
use crate::kernels::entropy::shannon_bits;
use crate::kernels::gaps::{WIDTHS, filler};
use crate::kernels::huffman::{code_lengths, stream_bits};
use crate::kernels::layout::Geometry;
use std::sync::LazyLock;

/// What counts of the made-up distributions add up to, about.
const WHOLE: f64 = 1e9;

/// Points of a function in ascending order, read between them in straight lines.
#[derive(Debug)]
struct Curve(Vec<(f64, f64)>);

impl Curve {
    fn at(&self, x: f64) -> f64 {
        let next = self.0.partition_point(|point| point.0 < x);
        match (next.checked_sub(1).and_then(|last| self.0.get(last)), self.0.get(next)) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0),
            // Past the widest bell what comes on top of the entropy stays what it is.
            (Some(a), None) => a.1 + x - a.0,
            (None, Some(b)) => b.1,
            (None, None) => x,
        }
    }

    /// Bits of a code word over the entropy of a symbol, for bells of every width over 255 levels; without the level 0 where
    /// zeros have no code.
    fn of_bells(zero: bool) -> Self {
        let point = |step: i32| {
            let width = 0.15 * 1.2_f64.powi(step);
            let count = |level: i32| {
                let bell = (-0.5 * (f64::from(level) / width).powi(2)).exp();
                if level == 0 && !zero { 0.0 } else { bell }
            };
            let bells: Vec<f64> = (-127..=127).map(count).collect();
            let sum: f64 = bells.iter().sum();
            let counts: Vec<u64> = bells.iter().map(|bell| (bell / sum * WHOLE) as u64).collect();
            let total = counts.iter().sum::<u64>() as f64;
            (shannon_bits(counts.iter().copied()) / total, stream_bits(&counts, &code_lengths(&counts)) as f64 / total)
        };
        let mut points: Vec<(f64, f64)> = (0..40).map(point).collect();
        points.dedup_by(|b, a| b.0 <= a.0);
        Self(points)
    }

    /// Bits of the indices before one nonzero, and their width, over ln(share / (1 − share)) of nonzeros without any order.
    fn of_indices() -> (Self, Self) {
        let point = |step: i32| {
            let x = 0.5 * f64::from(step);
            let empty = 1.0 / (1.0 + x.exp());
            let at_width = |bits: u32| {
                let whole = filler(bits);
                let bridged = empty.powi(whole as i32);
                let count = |index: usize| (1.0 - empty) * empty.powi(index as i32) / (1.0 - bridged);
                let mut counts: Vec<u64> = (0..whole).map(|index| (count(index) * WHOLE) as u64).collect();
                counts.push((bridged / (1.0 - bridged) * WHOLE) as u64);
                (stream_bits(&counts, &code_lengths(&counts)) as f64 / WHOLE, bits)
            };
            let least = WIDTHS.map(at_width).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, *WIDTHS.end()));
            (x, least)
        };
        let points: Vec<(f64, (f64, u32))> = (-18..=18).map(point).collect();
        let curve = |of: fn((f64, u32)) -> f64| Self(points.iter().map(|&(x, least)| (x, of(least))).collect());
        (curve(|(bits, _)| bits), curve(|(_, width)| f64::from(width)))
    }
}

static WITH_ZERO: LazyLock<Curve> = LazyLock::new(|| Curve::of_bells(true));
static WITHOUT_ZERO: LazyLock<Curve> = LazyLock::new(|| Curve::of_bells(false));
static INDICES: LazyLock<(Curve, Curve)> = LazyLock::new(Curve::of_indices);

/// Bits of `count` code words of symbols whose entropy is `bits` in all.
fn huffman_bits(curve: &Curve, bits: f64, count: u64) -> u64 {
    let each = if count > 0 { bits.max(0.0) / count as f64 } else { 0.0 };
    (curve.at(each) * count as f64) as u64
}

impl Packing {
    /// What [`Packing::least`] will come to: `nonzeros` elements with q ≠ 0, taken to be spread without order, and
    /// `symbol_bits` = n·H0 over the symbols of all codes where that is known. Without `zero_codes` an element that is 0 has no
    /// code.
    #[must_use]
    pub fn foreseen(
        (code, zero_codes): (Code, bool),
        dtype: Dtype,
        geometry: Geometry,
        nonzeros: u64,
        symbol_bits: Option<f64>,
    ) -> Self {
        let n = geometry.len() as u64;
        let [dense, masked] = [false, true].map(|masked| Matrix::plain(code, n, nonzeros, masked));
        let presence = shannon_bits([nonzeros, n - nonzeros]);
        let logit = (nonzeros as f64 / (n - nonzeros).max(1) as f64).max(1e-9).ln();
        let indices = Indices {
            bits: INDICES.1.at(logit).round().clamp(2.0, 8.0) as u32,
            huffman: nonzeros > 0,
            stream: (INDICES.0.at(logit) * nonzeros as f64) as u64,
        };
        let mut options = Vec::new();
        if zero_codes || nonzeros == n {
            options.push(dense);
            options
                .extend(symbol_bits.map(|bits| Matrix { huffman: Some(huffman_bits(&WITH_ZERO, bits, n)), ..dense }));
        }
        let coded = symbol_bits.map(|bits| huffman_bits(&WITHOUT_ZERO, bits - presence, nonzeros));
        for form in [Form::Mask, Form::Indices(indices)] {
            options.push(Matrix { form, ..masked });
            options.extend(coded.map(|stream| Matrix { form, huffman: Some(stream), ..masked }));
        }
        Self::unread(options.into_iter().min_by_key(|matrix| cost(matrix, dtype, geometry)).unwrap_or(dense))
    }
}

#[cfg(test)]
mod tests {
    use super::super::packing::tests::{INT4, drawn};
    use super::*;

    #[test]
    fn curves_rise_and_lie_above_the_entropy() {
        for curve in [&*WITH_ZERO, &*WITHOUT_ZERO] {
            assert!(curve.0.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
            let extra = |&(entropy, bits): &(f64, f64)| (-1e-9..1.0 + 1e-9).contains(&(bits - entropy));
            assert!(curve.0.iter().all(extra));
        }
        assert!((3.0..3.1).contains(&WITH_ZERO.at(3.0)));
        assert_eq!(WITH_ZERO.at(0.0), 1.0);
        // One element in two: gaps 0, 1, 2 … halve each time, which words of 1, 2, 3 … bits fit exactly.
        assert!((INDICES.0.at(0.0) - 2.0).abs() < 0.01);
    }

    #[test]
    fn what_is_foreseen_is_about_what_comes() {
        let geometry = Geometry::of(&[300, 1000]);
        for width in [0.5, 1.0, 2.5] {
            for share in [1.0, 0.7, 0.5, 0.3, 0.1, 0.02] {
                let (counts, entropy) = drawn(300_000, width, share);
                let least = Packing::least(INT4, Dtype::F32, geometry, &counts);
                let nonzeros = counts.nonzero.iter().sum();
                let foreseen = Packing::foreseen((INT4, true), Dtype::F32, geometry, nonzeros, Some(entropy));
                let [least, foreseen] = [least, foreseen].map(|p| p.matrix.parts(Dtype::F32, geometry).len() as f64);
                let off = (foreseen - least).abs();
                assert!(off < 0.03f64.mul_add(least, 100.0), "{width} {share}: {least} {foreseen}");
            }
        }
    }
}
