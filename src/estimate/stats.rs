//! Statistics of a source tensor, exact, by one or two passes shared over chunks.

use crate::compress::Error;
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::kernels::entropy::Gaps;
use crate::kernels::histogram::Histogram;
use crate::kernels::stats::{Moments, moments};
use crate::model::{Model, Scratch, Tensor};
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
    model.tensors.par_iter().map(|tensor| tensor_stats(model, tensor, false, control)).collect()
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
    Ok(TensorStats { moments, gaps, histogram })
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
