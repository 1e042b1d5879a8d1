//! LAMP (Lee et al. 2021, arXiv 2010.07611): one threshold over all matrices on a weight's share of the energy that outlasts it.
//!
//! ```text
//! score(w) = w² / Σ v² over the v of its matrix that are at least as large          of equals the first goes first
//! ```
//!
//! Pruning in order of score loses the least of what a matrix has left: 1 − t² = Π (1 − score) over what went. Weights are
//! not sorted. In a matrix scores rise with magnitude, so a threshold is a number of the smallest of each:
//!
//! 1. one pass counts and sums by the upper 16 bits of |w|; the score of the last weight of every such bin is then known, and
//!    all bins but one of each matrix go whole or stay whole;
//! 2. a second pass counts that one bin of each matrix by its lower 16 bits, where every value is known.

use super::share_of_count;
use crate::compress::Error;
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::model::{Model, Scratch, Tensor};
use crate::recipe::Decimal;
use rayon::prelude::*;
use std::ops::Range;

/// Bins of the first pass: the upper half of a magnitude's 32 bits, the sign left out.
const BINS: usize = 1 << 15;
/// Values of a bin.
const VALUES: usize = 1 << 16;

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
        let (mut gone, partly) = whole_bins(&bins, share.share_of(total));
        let mut parts = Vec::with_capacity(matrices.len());
        for ((tensor, bins), &bin) in matrices.iter().zip(&bins).zip(&partly) {
            parts.push(Part::of(model, tensor, bins, bin, control)?);
        }
        let left = share.share_of(total) - gone.iter().sum::<u64>();
        gone.iter_mut().zip(within_bins(&parts, left)).for_each(|(gone, more)| *gone += more);
        let of = |(bins, gone): (&Bins, u64)| share_of_count(gone, bins.finite());
        Ok::<_, Error>(bins.iter().zip(gone).map(of).collect())
    })?;
    Ok(counts)
}

/// One matrix by the upper bits of its magnitudes.
struct Bins {
    count: Vec<u64>,
    /// Σw² above each bin.
    above: Vec<f64>,
    /// The largest magnitude of each bin.
    most: Vec<f32>,
}

impl Bins {
    fn of(model: &Model, tensor: &Tensor, control: &Control) -> Result<Self, Error> {
        let empty = || (vec![0_u64; BINS], vec![0.0_f64; BINS], vec![0.0_f32; BINS]);
        let of_run = |chunks: &[Range<usize>]| {
            let (mut count, mut energy, mut most) = empty();
            each_value(model, tensor, chunks, control, |magnitude| {
                let bin = (magnitude.to_bits() >> 16) as usize;
                count[bin] += 1;
                energy[bin] += f64::from(magnitude) * f64::from(magnitude);
                most[bin] = most[bin].max(magnitude);
            })?;
            Ok((count, energy, most))
        };
        let parts: Result<Vec<_>, Error> = runs(tensor).par_iter().map(|run| of_run(run)).collect();
        let (mut count, mut energy, mut most) = empty();
        for part in parts? {
            count.iter_mut().zip(part.0).for_each(|(a, b)| *a += b);
            energy.iter_mut().zip(part.1).for_each(|(a, b)| *a += b);
            most.iter_mut().zip(part.2).for_each(|(a, b)| *a = a.max(b));
        }
        Ok(Self::new(count, &energy, most))
    }

    fn new(count: Vec<u64>, energy: &[f64], most: Vec<f32>) -> Self {
        let mut above = vec![0.0; BINS];
        let mut sum = 0.0;
        for (above, energy) in above.iter_mut().zip(energy).rev() {
            *above = sum;
            sum += energy;
        }
        Self { count, above, most }
    }

    fn finite(&self) -> u64 {
        self.count.iter().sum()
    }

    /// The score of the last weight of a bin: the largest of them.
    fn last_score(&self, bin: usize) -> f64 {
        score(f64::from(self.most[bin]), self.above[bin])
    }
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

/// How many weights of each matrix go with whole bins when `k` go in all, and the bins of each of which some may go.
fn whole_bins(matrices: &[Bins], k: u64) -> Vec<(u64, Range<usize>)> {
    let filled = |bins: &Bins| (0..BINS).filter(|&bin| bins.count[bin] > 0).collect::<Vec<_>>();
    // The smallest score below which there are k, by the least scores of bins, and by their largest.
    let bound = |of: fn(&Bins, usize) -> f64| {
        let ends = matrices.iter().flat_map(|bins| filled(bins).into_iter().map(|bin| (of(bins, bin), bins.count[bin])));
        let mut ends: Vec<(f64, u64)> = ends.collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut sum = 0;
        let reached = |&(_, count): &(f64, u64)| {
            sum += count;
            sum >= k
        };
        ends.into_iter().find(reached).map_or(1.0, |end| end.0)
    };
    let (low, high) = (bound(Bins::first_score), bound(Bins::last_score));
    let of = |bins: &Bins| {
        let filled = filled(bins);
        // In sums of another order equal scores differ in their last bits: who is that close is looked at.
        let sure = |bin: usize| k > 0 && bins.last_score(bin) < low * (1.0 - 1e-9);
        let never = |bin: usize| k == 0 || bins.first_score(bin) > high * (1.0 + 1e-9);
        let first = filled.iter().copied().find(|&bin| !sure(bin)).unwrap_or(BINS);
        let end = filled.iter().copied().find(|&bin| never(bin)).unwrap_or(BINS).max(first);
        (bins.count[..first].iter().sum(), first..end)
    };
    matrices.iter().map(of).collect()
}

/// The bin of a matrix that goes in part: its values ascending, with how often each occurs, and the energy above the bin.
#[derive(Default)]
struct Part {
    values: Vec<(f64, u64)>,
    /// Σw² of everything larger than each value.
    above: Vec<f64>,
}

impl Part {
    fn of(model: &Model, tensor: &Tensor, bins: &Bins, bin: Option<usize>, control: &Control) -> Result<Self, Error> {
        let Some(bin) = bin else { return Ok(Self::default()) };
        let of_run = |chunks: &[Range<usize>]| {
            let mut counts = vec![0_u64; VALUES];
            each_value(model, tensor, chunks, control, |magnitude| {
                let bits = magnitude.to_bits() as usize;
                if bits >> 16 == bin {
                    counts[bits & (VALUES - 1)] += 1;
                }
            })?;
            Ok(counts)
        };
        let parts: Result<Vec<Vec<u64>>, Error> = runs(tensor).par_iter().map(|run| of_run(run)).collect();
        let mut counts = vec![0_u64; VALUES];
        parts?.into_iter().for_each(|part| counts.iter_mut().zip(part).for_each(|(a, b)| *a += b));
        let value = |low: usize| f64::from(f32::from_bits(((bin << 16) | low) as u32));
        let values: Vec<(f64, u64)> =
            (0..VALUES).filter(|&low| counts[low] > 0).map(|low| (value(low), counts[low])).collect();
        Ok(Self::new(values, bins.above[bin]))
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
