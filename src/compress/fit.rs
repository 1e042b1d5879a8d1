//! The range of each unit's grid, over what pruning left: its extremes, the clip of least error, or a percentile.
//!
//! A unit that lies within a chunk is fitted on the spot. One that is longer (a whole tensor, a very long row) is fitted
//! before the first chunk is made, by passes that read and prune but keep nothing: memory stays that of a few chunks.

use super::chunk::Chunk;
use super::prepare::{Prepared, counted_in_runs, descend};
use super::{Error, Task};
use crate::kernels::clip::{self, CANDIDATES, Wanted, best_clip, clip_errors, percentile_place, scaled};
use crate::kernels::layout::Unit;
use crate::kernels::quant::{Extent, Grid};
use crate::kernels::select::{DIGITS, Select};
use crate::kernels::{Real, affine};
use crate::recipe::Range;
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range as Span;

/// How the grids of a scheme are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct GridFit {
    pub wanted: Wanted,
    pub unit: Unit,
    pub range: Range,
    /// Whether elements that are 0 were pruned, and do not count.
    pub survivors: bool,
    /// Whether a bias is stored for the zero point, of the dtype of the scale, and so has to be a number of it.
    pub biased: bool,
}

/// Buffers of a fit.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    keys: Vec<u64>,
    units: Vec<f32>,
}

impl GridFit {
    /// The grid of a unit that is at hand, all of it finite. `None` when its step does not fit the arithmetic.
    pub fn grid<T: Real>(&self, values: &[T], buffers: &mut Buffers) -> Option<Grid<T>> {
        let extent = match self.range {
            Range::Max => Extent::of(values),
            Range::Mse => clip::least_error(values, self.wanted, Extent::of(values), &mut buffers.units)?,
            Range::Percentile(q) => symmetric(clip::percentile(values, q.to_f64(), self.survivors, &mut buffers.keys)),
        };
        self.grid_of(extent)
    }

    /// The grid over a known extent.
    pub fn grid_of<T: Real>(&self, extent: Extent<T>) -> Option<Grid<T>> {
        let Wanted { bits, asymmetric, scale } = self.wanted;
        let fits = |grid: &Grid<T>| {
            let zero_point = grid.zero_point + affine::shift(bits, asymmetric);
            affine::bias(grid.scale.to_f64() as f32, zero_point, scale).is_finite()
        };
        self.wanted.over(extent).filter(|grid| !self.biased || fits(grid))
    }
}

fn symmetric<T: Real>(clip: T) -> Extent<T> {
    Extent { low: T::ZERO.sub(clip), high: clip }
}

/// The extents of all units of a tensor some of whose units are longer than a chunk.
pub(super) fn long_extents<T: Real>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    fit: GridFit,
) -> Result<Vec<Extent<T>>, Error> {
    match fit.range {
        Range::Max => extremes(task, prepared, fit.unit),
        Range::Mse => {
            let full = extremes(task, prepared, fit.unit)?;
            searched(task, prepared, fit, &full)
        }
        Range::Percentile(q) => {
            let count = fit.unit.count(prepared.geometry);
            let chunks = prepared.chunks().len();
            let of_unit = |unit: usize| {
                let span = unit * chunks / count..(unit + 1) * chunks / count;
                percentile(task, prepared, span, q.to_f64(), fit.survivors).map(symmetric)
            };
            (0..count).map(of_unit).collect()
        }
    }
}

/// Calls `each` with every piece of a unit in every chunk, pruned, and gives the answers in the order of the file.
pub(super) fn by_pieces<T: Real, A: Send>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    unit: Unit,
    each: impl Fn(usize, &[T]) -> A + Sync,
) -> Result<Vec<(usize, A)>, Error> {
    let of_chunk = |index: usize| {
        let chunk = pruned(task, prepared, index)?;
        let start = chunk.range.start;
        let piece = |(unit, piece): (usize, Span<usize>)| {
            (unit, each(unit, &chunk.pruned[piece.start - start..piece.end - start]))
        };
        Ok(unit.pieces(prepared.geometry, chunk.range.clone()).map(piece).collect::<Vec<_>>())
    };
    let pieces: Result<Vec<Vec<_>>, Error> = (0..prepared.chunks().len()).into_par_iter().map(of_chunk).collect();
    Ok(pieces?.into_iter().flatten().collect())
}

/// A chunk, read and pruned.
pub(super) fn pruned<T: Real>(task: &Task<'_>, prepared: &Prepared<T>, index: usize) -> Result<Chunk<T>, Error> {
    task.check_cancelled()?;
    let mut chunk = Chunk::default();
    chunk.read(task, prepared.chunks()[index].clone())?;
    chunk.prune(task, prepared, index)?;
    Ok(chunk)
}

/// The extremes of all units after pruning, joined from the pieces in each chunk.
pub(super) fn extremes<T: Real>(task: &Task<'_>, prepared: &Prepared<T>, unit: Unit) -> Result<Vec<Extent<T>>, Error> {
    let mut extents = vec![Extent::default(); unit.count(prepared.geometry)];
    for (index, extent) in by_pieces(task, prepared, unit, |_, values| Extent::of(values))? {
        extents[index] = extents[index].join(extent);
    }
    Ok(extents)
}

/// The clips of least error: every candidate's error, added up piece by piece.
fn searched<T: Real>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    fit: GridFit,
    full: &[Extent<T>],
) -> Result<Vec<Extent<T>>, Error> {
    let mut sums = vec![[0.0_f64; CANDIDATES]; full.len()];
    for (index, errors) in
        by_pieces(task, prepared, fit.unit, |unit, values| clip_errors(values, fit.wanted, full[unit]))?
    {
        sums[index].iter_mut().zip(errors).for_each(|(sum, error)| *sum += error);
    }
    // Where even the full range does not fit, it stays: the grid is then refused by name.
    Ok(full.iter().zip(&sums).map(|(&extent, errors)| scaled(extent, best_clip(errors))).collect())
}

/// The percentile of the magnitudes in some chunks of one unit, without keeping them: the value below its place by a walk
/// over digits, the one above it by one more pass.
fn percentile<T: Real>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    chunks: Span<usize>,
    percent: f64,
    survivors: bool,
) -> Result<T, Error> {
    let chunks: Vec<usize> = chunks.collect();
    let table = |select: &Select| {
        counted_in_runs(&chunks, DIGITS, |chunks, table| {
            for &index in chunks {
                let mut values = pruned(task, prepared, index)?.pruned;
                values.retain(|w| !survivors || *w != T::ZERO);
                select.count(&values, table);
            }
            Ok(())
        })
    };
    let share = Cell::new(0.0);
    let rank = |count: u64| {
        let (rank, above) = percentile_place(count, percent);
        share.set(above);
        if count == 0 { 0 } else { rank + 1 }
    };
    let Some(low) = descend(T::KEY_BITS, rank, table)? else { return Ok(T::ZERO) };
    let above = if low.ties < low.equal { Some(low.key) } else { next_key(task, prepared, &chunks, low.key)? };
    let value = |key: u64| T::from_magnitude_key(key).to_f64();
    Ok(T::from_f64(clip::between(value(low.key), value(above.unwrap_or(low.key)), share.get())))
}

/// The least key of a finite magnitude above `key`.
fn next_key<T: Real>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    chunks: &[usize],
    key: u64,
) -> Result<Option<u64>, Error> {
    let of_chunk = |&index: &usize| {
        let chunk = pruned(task, prepared, index)?;
        let finite = chunk.pruned.iter().filter(|w| w.is_finite());
        Ok(finite.map(|w| w.magnitude_key()).filter(|k| *k > key).min())
    };
    let parts: Result<Vec<Option<u64>>, Error> = chunks.par_iter().map(of_chunk).collect();
    Ok(parts?.into_iter().flatten().min())
}
