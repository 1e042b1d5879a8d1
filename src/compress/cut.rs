//! Where pruning cuts, settled before the first chunk, and the cutting of a chunk.

use super::blocks::Blocks;
use super::prepare::Prepared;
use super::{Error, Task};
use crate::kernels::layout::Unit;
use crate::kernels::scatter::Scatter;
use crate::kernels::select::{self, Threshold};
use crate::kernels::{Real, among};
use crate::model::Scratch;
use crate::recipe::Decimal;
use std::ops::Range;

/// Where pruning cuts.
#[derive(Debug)]
pub(super) enum Cut {
    /// Nowhere.
    None,
    /// One threshold per chunk, with the ties met before it. `wide`: keys are those of f64.
    PerChunk { thresholds: Vec<Option<(Threshold, u64)>>, wide: bool },
    /// Each row lies within a chunk and is ranked there.
    ShortRows(Decimal),
    /// Of every `m` along a row the `n` largest stay.
    Among { n: usize, m: usize },
    /// Whole blocks go.
    Blocks(Blocks),
    /// Elements go whose key is at most `last`.
    Chance { scatter: Scatter, last: u64 },
    /// What is 0 in another model goes.
    Mask,
}

/// Buffers of a cut.
#[derive(Debug, Default)]
pub(super) struct CutBuffers {
    keys: Vec<u64>,
    zeros: Vec<bool>,
    scratch: Scratch,
}

impl Cut {
    /// Zeroes what goes of chunk `index`, whose elements `values` are.
    ///
    /// # Errors
    /// When what a chunk's own elements do not say cannot be read.
    pub fn apply<T: Real>(
        &self,
        task: &Task<'_>,
        prepared: &Prepared<T>,
        index: usize,
        values: &mut [T],
        buffers: &mut CutBuffers,
    ) -> Result<(), Error> {
        let range = prepared.chunks()[index].clone();
        match self {
            Self::None => {}
            Self::PerChunk { thresholds, wide } => {
                if let Some((threshold, mut seen)) = thresholds[index] {
                    if *wide {
                        select::apply(values, threshold, |v| v.to_f64().magnitude_key(), &mut seen);
                    } else {
                        select::apply(values, threshold, Real::magnitude_key, &mut seen);
                    }
                }
            }
            Self::ShortRows(share) => {
                for (_, piece) in Unit::Row.pieces(prepared.geometry, range.clone()) {
                    let row = &mut values[piece.start - range.start..piece.end - range.start];
                    let finite = row.iter().filter(|v| v.is_finite()).count() as u64;
                    if let Some(threshold) = select::threshold_of(row, share.share_of(finite), &mut buffers.keys) {
                        select::apply(row, threshold, Real::magnitude_key, &mut 0);
                    }
                }
            }
            Self::Among { n, m } => {
                for (_, piece) in Unit::Row.pieces(prepared.geometry, range.clone()) {
                    let local = piece.start - range.start..piece.end - range.start;
                    keep_among(task, prepared, (*n, *m), piece, &mut values[local], buffers)?;
                }
            }
            Self::Blocks(blocks) => blocks.apply(range, values),
            Self::Chance { scatter, last } => {
                let goes = |index: usize, value: T| value.is_finite() && scatter.key(index as u64) <= *last;
                range.zip(values).filter(|(i, v)| goes(*i, **v)).for_each(|(_, v)| zero(v));
            }
            Self::Mask => {
                let Some(mask) = task.mask else { return Ok(()) };
                mask.zeros(task, range, &mut buffers.zeros, &mut buffers.scratch)?;
                let masked = values.iter_mut().zip(&buffers.zeros);
                masked.filter(|(v, goes)| **goes && v.is_finite()).for_each(|(v, _)| zero(v));
            }
        }
        Ok(())
    }
}

/// Zeroes an element; one that is 0 already keeps its sign.
fn zero<T: Real>(value: &mut T) {
    if *value != T::ZERO {
        *value = T::ZERO;
    }
}

/// N of M in a piece of one row. Groups are cut from the row's left: where a long row's chunks cut through one, it is read
/// whole.
fn keep_among<T: Real>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    (n, m): (usize, usize),
    piece: Range<usize>,
    values: &mut [T],
    buffers: &mut CutBuffers,
) -> Result<(), Error> {
    let cols = prepared.geometry.cols;
    let row = piece.start / cols * cols;
    let first = piece.start - (piece.start - row) % m;
    let last = (row + (piece.end - row).next_multiple_of(m)).min(row + cols);
    if first == piece.start && last == piece.end {
        among::keep_largest(values, n, m, &mut buffers.keys);
        return Ok(());
    }
    let mut whole = Vec::new();
    task.values(first..last, &mut whole, &mut buffers.scratch)?;
    among::keep_largest(&mut whole, n, m, &mut buffers.keys);
    values.copy_from_slice(&whole[piece.start - first..piece.end - first]);
    Ok(())
}
