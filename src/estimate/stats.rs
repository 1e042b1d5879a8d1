//! Statistics of a source tensor, exact, by one or two passes shared over chunks.

use crate::compress::Error;
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::kernels::entropy::Gaps;
use crate::kernels::histogram::{BINS, Histogram};
use crate::kernels::stats::{Moments, moments};
use crate::model::{Model, Scratch, Tensor};
use crate::profile::{Profile, ValueTable};
use rayon::prelude::*;
use std::ops::Range;

/// What is known of a source tensor after a pass over it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorStats {
    /// Counts, extremes, mean, spread, energy.
    pub moments: Moments,
    /// Gaps of zeros before nonzeros, for the sparse bound.
    pub gaps: Gaps,
    /// Counts over [−max|w|, +max|w|], when they were asked for.
    pub histogram: Option<Histogram>,
    /// Whether they are from a few rows rather than from every weight.
    pub coarse: bool,
}

impl TensorStats {
    /// What a profile knows, with the distribution when it is asked for.
    #[must_use]
    pub fn of(profile: &Profile, with_histogram: bool) -> Self {
        let histogram = with_histogram.then(|| table_histogram(&profile.table, profile.moments.abs_max()));
        Self { moments: profile.moments, gaps: profile.gaps, histogram, coarse: profile.coarse }
    }
}

/// The distribution over [−reach, +reach] from a value table: no pass over the weights.
#[must_use]
pub fn table_histogram(table: &ValueTable, reach: f64) -> Histogram {
    let mut sums = vec![0.0_f64; BINS];
    let mut histogram = Histogram::new(reach);
    let place = |value: f64| {
        let share = if reach > 0.0 { value / reach } else { 0.0 };
        ((share + 1.0) * BINS as f64 / 2.0).clamp(0.0, BINS as f64 - 1.0)
    };
    sums[place(0.0) as usize] += table.zeros as f64;
    for (low, high, positive, negative) in table.iter() {
        for (side, count) in [(1.0, positive), (-1.0, negative)] {
            let (from, to) = (place(side * low), place(side * high));
            let (from, to) = (from.min(to), from.max(to));
            let width = (to - from).max(f64::MIN_POSITIVE);
            let (first, last) = (from as usize, to as usize);
            for (bin, sum) in sums[first..=last].iter_mut().enumerate() {
                let bin = (first + bin) as f64;
                let inside = if first == last { 1.0 } else { ((bin + 1.0).min(to) - bin.max(from)) / width };
                *sum += inside * count as f64;
            }
        }
    }
    // Whole counts, none lost: what is left over of one bin goes on to the next.
    let (mut exact, mut given) = (0.0, 0_u64);
    for (count, sum) in histogram.counts.iter_mut().zip(sums) {
        exact += sum;
        let upto = exact.round() as u64;
        *count = u32::try_from(upto - given).unwrap_or(u32::MAX);
        given = upto;
    }
    histogram
}

/// The statistics of a float tensor; `None` for one that is not float.
///
/// # Errors
/// When it cannot be read, or the work is cancelled.
pub fn tensor_stats(
    model: &Model,
    tensor: &Tensor,
    with_histogram: bool,
    control: &Control,
) -> Result<Option<TensorStats>, Error> {
    if !tensor.dtype.is_float() {
        control.advance(tensor.bytes());
        return Ok(None);
    }
    let stats = if tensor.dtype == Dtype::F64 {
        measure::<f64>(model, tensor, with_histogram, control)
    } else {
        measure::<f32>(model, tensor, with_histogram, control)
    };
    stats.map(Some)
}

/// Statistics of every tensor, in parallel over tensors and chunks.
///
/// # Errors
/// The first tensor that cannot be read.
pub fn model_stats(model: &Model, control: &Control) -> Result<Vec<Option<TensorStats>>, Error> {
    control.expect(model.tensors.iter().map(Tensor::bytes).sum());
    model.steadily(|| model.tensors.par_iter().map(|tensor| tensor_stats(model, tensor, false, control)).collect())
}

fn measure<T: Real>(
    model: &Model,
    tensor: &Tensor,
    with_histogram: bool,
    control: &Control,
) -> Result<TensorStats, Error> {
    let chunks = tensor.geometry().chunks();
    let total = tensor.bytes();
    let n = tensor.elements().max(1) as u64;
    let one = |range: &Range<usize>| {
        let (values, len) = (read::<T>(model, tensor, range, control)?, range.len() as u64);
        control.advance((u128::from(total) * u128::from(len) / u128::from(n)) as u64);
        Ok((moments(&values), Gaps::of_values(&values)))
    };
    let parts: Result<Vec<(Moments, Gaps)>, Error> = chunks.par_iter().map(one).collect();
    let join = |(m, g): (Moments, Gaps), (n, h): (Moments, Gaps)| (m.merge(n), g.merge(h));
    let (moments, gaps) = parts?.into_iter().fold((Moments::default(), Gaps::default()), join);
    let histogram =
        if with_histogram { Some(histogram::<T>(model, tensor, moments.abs_max(), &chunks, control)?) } else { None };
    Ok(TensorStats { moments, gaps, histogram, coarse: false })
}

fn read<T: Real>(model: &Model, tensor: &Tensor, range: &Range<usize>, control: &Control) -> Result<Vec<T>, Error> {
    if control.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let mut values = Vec::new();
    model.values(tensor, range.clone(), &mut values, &mut Scratch::default())?;
    Ok(values)
}

fn histogram<T: Real>(
    model: &Model,
    tensor: &Tensor,
    reach: f64,
    chunks: &[Range<usize>],
    control: &Control,
) -> Result<Histogram, Error> {
    let run = chunks.len().div_ceil(64).max(1);
    let of_run = |chunks: &[Range<usize>]| {
        let mut histogram = Histogram::new(reach);
        for range in chunks {
            histogram.add(&read::<T>(model, tensor, range, control)?);
        }
        Ok(histogram)
    };
    let parts: Result<Vec<Histogram>, Error> = chunks.par_chunks(run).map(of_run).collect();
    let mut sum = Histogram::new(reach);
    parts?.iter().for_each(|part| sum.merge(part));
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::table::{Counts, SIGNED};

    #[test]
    fn a_table_draws_the_distribution_that_a_pass_would_count() {
        let values: Vec<f32> = (0..100_000_u32)
            .map(|i| {
                let u = f64::from(i.wrapping_mul(2_654_435_761) >> 8) / 16_777_216.0;
                if i % 5 == 0 { 0.0 } else { ((u - 0.4).powi(3) * 0.7) as f32 }
            })
            .collect();
        let reach = values.iter().fold(0.0_f64, |m, &v| m.max(f64::from(v.abs())));
        let mut counts = Counts::default();
        counts.add(&values);
        let mut sum = vec![0; SIGNED];
        counts.add_to(&mut sum);
        let drawn = table_histogram(&ValueTable::new(&sum, false, 20_000), reach);
        let mut counted = Histogram::new(reach);
        counted.add(&values);
        assert_eq!(drawn.counts.iter().map(|&c| u64::from(c)).sum::<u64>(), 100_000);
        for (a, b) in drawn.bars(reach, 101).iter().zip(counted.bars(reach, 101)) {
            assert!(a.2.abs_diff(b.2) <= 8 + b.2 / 20, "{a:?} {b:?}");
        }
        let nothing = table_histogram(&ValueTable::new(&vec![0; SIGNED], true, 7), 0.0);
        assert_eq!(nothing.counts[BINS / 2], 7);
    }
}
