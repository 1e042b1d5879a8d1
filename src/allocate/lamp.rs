//! LAMP (Lee et al. 2021, arXiv 2010.07611): one threshold over all matrices on a weight's share of the energy that outlasts it.
//!
//! ```text
//! score(w) = w² / Σ v² over the v of its matrix that are at least as large          of equals the first goes first
//! ```
//!
//! Pruning in order of score loses the least of what a matrix has left: 1 − t² = Π (1 − score) over what went. Weights are
//! not sorted. In a matrix scores rise with magnitude, so a threshold is a number of the smallest of each:
//!
//! 1. one pass counts and sums by the upper 16 bits of |w|; the scores of the first and last weight of every such bin are then
//!    known, and all bins but a few of each matrix go whole or stay whole;
//! 2. a second pass counts the values in those few.

use super::share_of_count;
use crate::compress::Error;
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::model::{Model, Scratch, Tensor};
use crate::recipe::Decimal;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Bins of the first pass: the upper half of a magnitude's 32 bits, the sign left out.
const BINS: u32 = 1 << 15;

/// The share of each matrix that goes, so that of all their finite weights together `share` does. Weights in F64 are ranked
/// as the nearest f32.
///
/// # Errors
/// When a matrix cannot be read, or the work is cancelled.
pub fn shares(model: &Model, matrices: &[&Tensor], share: Decimal, control: &Control) -> Result<Vec<Decimal>, Error> {
    control.expect(2 * matrices.iter().map(|t| t.bytes()).sum::<u64>());
    let counts = model.steadily(|| {
        let bins: Result<Vec<Bins>, Error> = matrices.iter().map(|t| Bins::of(model, t, control)).collect();
        let bins = bins?;
        let total: u64 = bins.iter().map(Bins::finite).sum();
        let whole = whole_bins(&bins, share.share_of(total));
        let mut parts = Vec::with_capacity(matrices.len());
        for ((tensor, bins), (_, partly)) in matrices.iter().zip(&bins).zip(&whole) {
            parts.push(Part::of(model, tensor, &bins.0[partly.clone()], control)?);
        }
        let gone: u64 = whole.iter().map(|(gone, _)| gone).sum();
        let more = within_bins(&parts, share.share_of(total) - gone);
        let of = |((bins, (gone, _)), more): ((&Bins, &(u64, Range<usize>)), u64)| {
            share_of_count(gone + more, bins.finite())
        };
        Ok::<_, Error>(bins.iter().zip(&whole).zip(more).map(of).collect())
    })?;
    Ok(counts)
}

/// Magnitudes of a matrix whose upper bits are the same.
#[derive(Clone, Copy)]
struct Bin {
    /// Those bits.
    key: u32,
    count: u64,
    energy: f64,
    /// Σw² of all larger magnitudes.
    above: f64,
    least: f32,
    most: f32,
}

impl Bin {
    const fn empty(key: u32) -> Self {
        Self { key, count: 0, energy: 0.0, above: 0.0, least: f32::INFINITY, most: 0.0 }
    }

    fn put(&mut self, magnitude: f32) {
        self.count += 1;
        self.energy += f64::from(magnitude) * f64::from(magnitude);
        (self.least, self.most) = (self.least.min(magnitude), self.most.max(magnitude));
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.energy += other.energy;
        (self.least, self.most) = (self.least.min(other.least), self.most.max(other.most));
    }

    /// The score of the last weight: the largest of them.
    fn last_score(&self) -> f64 {
        score(f64::from(self.most), self.above)
    }

    /// The score of the first weight: the smallest of them.
    fn first_score(&self) -> f64 {
        let least = f64::from(self.least);
        score(least, self.above + (self.energy - least * least).max(0.0))
    }
}

/// One matrix by the upper bits of its magnitudes: the bins that hold some, in order. A network may have thousands of
/// matrices, and most bins hold nothing.
struct Bins(Vec<Bin>);

impl Bins {
    fn of(model: &Model, tensor: &Tensor, control: &Control) -> Result<Self, Error> {
        let of_run = |chunks: &[Range<usize>]| {
            let mut bins = all_bins();
            each_value(model, tensor, chunks, control, |magnitude| put(&mut bins, magnitude))?;
            Ok(bins)
        };
        let parts: Result<Vec<Vec<Bin>>, Error> = runs(tensor).par_iter().map(|run| of_run(run)).collect();
        let mut sum = all_bins();
        parts?.iter().for_each(|part| sum.iter_mut().zip(part).for_each(|(a, b)| a.merge(b)));
        Ok(Self::filled(sum))
    }

    /// After the last magnitude.
    fn filled(mut bins: Vec<Bin>) -> Self {
        bins.retain(|bin| bin.count > 0);
        bins.shrink_to_fit();
        let mut sum = 0.0;
        for bin in bins.iter_mut().rev() {
            bin.above = sum;
            sum += bin.energy;
        }
        Self(bins)
    }

    fn finite(&self) -> u64 {
        self.0.iter().map(|bin| bin.count).sum()
    }
}

fn all_bins() -> Vec<Bin> {
    (0..BINS).map(Bin::empty).collect()
}

fn put(bins: &mut [Bin], magnitude: f32) {
    bins[key_of(magnitude.to_bits()) as usize].put(magnitude);
}

/// The upper bits of a magnitude's bits.
const fn key_of(bits: u32) -> u32 {
    bits >> 16
}

/// The score of a magnitude that outlasts all but those with the energy `above`. Of nothing nothing is lost.
fn score(magnitude: f64, above: f64) -> f64 {
    let own = magnitude * magnitude;
    if own > 0.0 { own / (own + above) } else { 0.0 }
}

/// Chunks of a tensor, in runs of fixed length, so that sums are the same for any number of threads.
fn runs(tensor: &Tensor) -> Vec<Vec<Range<usize>>> {
    let chunks = tensor.geometry().chunks();
    let step = chunks.len().div_ceil(32).max(4);
    chunks.chunks(step).map(<[_]>::to_vec).collect()
}

/// Hands the magnitudes of all finite weights of some chunks to `each`, in order.
fn each_value(
    model: &Model,
    tensor: &Tensor,
    chunks: &[Range<usize>],
    control: &Control,
    mut each: impl FnMut(f32),
) -> Result<(), Error> {
    let (mut values, mut scratch) = (Vec::<f32>::new(), Scratch::default());
    for range in chunks {
        if control.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if tensor.dtype == Dtype::F64 {
            let mut wide = Vec::<f64>::new();
            model.values(tensor, range.clone(), &mut wide, &mut scratch)?;
            values.clear();
            values.extend(wide.iter().filter(|w| w.is_finite()).map(|&w| (w as f32).clamp(f32::MIN, f32::MAX)));
        } else {
            model.values(tensor, range.clone(), &mut values, &mut scratch)?;
        }
        values.iter().filter(|w| w.is_finite()).for_each(|w| each(Real::abs(*w)));
        control.advance(range.len() as u64 * tensor.dtype.bits() / 8);
    }
    Ok(())
}

/// How many weights of each matrix go with whole bins when `k` go in all, and the positions of the bins of each of which some
/// may go.
fn whole_bins(matrices: &[Bins], k: u64) -> Vec<(u64, Range<usize>)> {
    // The smallest score below which there are k, by the least scores of bins, and by their largest.
    let bound = |of: fn(&Bin) -> f64| {
        let mut ends: Vec<(f64, u64)> =
            matrices.iter().flat_map(|bins| &bins.0).map(|bin| (of(bin), bin.count)).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut sum = 0;
        let reached = |&(_, count): &(f64, u64)| {
            sum += count;
            sum >= k
        };
        ends.into_iter().find(reached).map_or(1.0, |end| end.0)
    };
    let (low, high) = (bound(Bin::first_score), bound(Bin::last_score));
    let of = |Bins(bins): &Bins| {
        // In sums of another order equal scores differ in their last bits: who is that close is looked at.
        let sure = |bin: &Bin| k > 0 && bin.last_score() < low * (1.0 - 1e-9);
        let never = |bin: &Bin| k == 0 || bin.first_score() > high * (1.0 + 1e-9);
        let first = bins.iter().position(|bin| !sure(bin)).unwrap_or(bins.len());
        let end = bins.iter().position(never).unwrap_or(bins.len()).max(first);
        (bins[..first].iter().map(|bin| bin.count).sum(), first..end)
    };
    matrices.iter().map(of).collect()
}

/// The bins of a matrix of which some may go: their values ascending, with how often each occurs, and the energy above each.
#[derive(Default)]
struct Part {
    values: Vec<(f64, u64)>,
    /// Σw² of everything larger than each value.
    above: Vec<f64>,
}

impl Part {
    fn of(model: &Model, tensor: &Tensor, bins: &[Bin], control: &Control) -> Result<Self, Error> {
        let (Some(least), Some(most)) = (bins.first(), bins.last()) else { return Ok(Self::default()) };
        let of_run = |chunks: &[Range<usize>]| {
            let mut counts = HashMap::<u32, u64>::new();
            each_value(model, tensor, chunks, control, |magnitude| {
                let bits = magnitude.to_bits();
                if (least.key..=most.key).contains(&key_of(bits)) {
                    *counts.entry(bits).or_default() += 1;
                }
            })?;
            Ok(counts)
        };
        let parts: Result<Vec<HashMap<u32, u64>>, Error> = runs(tensor).par_iter().map(|run| of_run(run)).collect();
        let mut counts = BTreeMap::<u32, u64>::new();
        parts?.into_iter().flatten().for_each(|(bits, count)| *counts.entry(bits).or_default() += count);
        let values = counts.into_iter().map(|(bits, count)| (f64::from(f32::from_bits(bits)), count)).collect();
        Ok(Self::new(values, most.above))
    }

    fn new(values: Vec<(f64, u64)>, beyond: f64) -> Self {
        let mut above = vec![0.0; values.len()];
        let mut sum = beyond;
        for (above, &(value, count)) in above.iter_mut().zip(&values).rev() {
            *above = sum;
            sum += value * value * count as f64;
        }
        Self { values, above }
    }

    /// The score of the element of value `i` before which `rank` equals have gone.
    fn score(&self, i: usize, rank: u64) -> f64 {
        let (value, count) = self.values[i];
        score(value, self.above[i] + (count - 1 - rank) as f64 * value * value)
    }

    /// How many elements have a score of at most `threshold`.
    fn below(&self, threshold: f64) -> u64 {
        let mut sum = 0;
        for (i, &(_, count)) in self.values.iter().enumerate() {
            if self.score(i, 0) > threshold {
                break;
            }
            let (mut low, mut high) = (1, count);
            // Of equals scores rise with the rank: the last that is not above.
            while low < high {
                let middle = low + (high - low).div_ceil(2);
                if self.score(i, middle - 1) <= threshold {
                    low = middle;
                } else {
                    high = middle - 1;
                }
            }
            sum += low;
            if low < count {
                break;
            }
        }
        sum
    }
}

/// How many elements of each part go when the `k` of the smallest scores do; of equal scores those of the first part.
fn within_bins(parts: &[Part], k: u64) -> Vec<u64> {
    let count = |threshold: f64| -> u64 { parts.iter().map(|part| part.below(threshold)).sum() };
    if k == 0 {
        return vec![0; parts.len()];
    }
    // Scores lie from 0 to 1, and doubles from 0 up are in the order of their bits.
    let (mut low, mut high) = (0_u64, 1.0_f64.to_bits());
    while low < high {
        let middle = low + (high - low) / 2;
        if count(f64::from_bits(middle)) >= k {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let threshold = f64::from_bits(low);
    let below = if low > 0 { f64::from_bits(low - 1) } else { -1.0 };
    let mut gone: Vec<u64> = parts.iter().map(|part| part.below(below)).collect();
    let mut left = k - gone.iter().sum::<u64>().min(k);
    for (gone, part) in gone.iter_mut().zip(parts) {
        let more = (part.below(threshold) - *gone).min(left);
        *gone += more;
        left -= more;
    }
    gone
}

#[cfg(test)]
mod tests;
