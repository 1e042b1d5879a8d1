//! Codebooks of units longer than a chunk: from counts of every value where a dtype has few, from values in order where they fit
//! in memory, else by a pass for every one of Lloyd's rounds.

use super::fit::pruned;
use super::levels::Centroids;
use super::prepare::{Prepared, counted_in_runs};
use super::{Error, SPANS, Task};
use crate::kernels::codebook::{Codebook, Ordered, cells_of, lloyd};
use crate::kernels::convert::{SmallFloat, decode_small};
use crate::kernels::sum::Tally;
use crate::kernels::{Real, small};
use rayon::prelude::*;
use std::ops::Range as Span;

/// Most elements of a unit that are held in memory to be put in order: 256 MiB of f32.
const HELD: usize = 1 << 26;

/// The codebook of a unit of `elements` that lies in some neighbouring chunks, which are its alone.
pub(super) fn long_codebook<T: Real>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    chunks: Span<usize>,
    elements: usize,
    wanted: Centroids,
) -> Result<Codebook, Error> {
    let go_on = || task.check_cancelled();
    if let Some(format) = task.tensor.dtype.small().filter(|_| task.tensor.coding.is_none()) {
        return wanted.of(&counted(task, prepared, chunks, format, wanted)?, go_on);
    }
    if elements <= HELD {
        let of_chunk = |index: usize| Ok(wanted.counted(&pruned(task, prepared, index)?.pruned).collect());
        let parts: Result<Vec<Vec<T>>, Error> = chunks.into_par_iter().map(of_chunk).collect();
        return wanted.of(&Ordered::of(parts?.concat()), go_on);
    }
    if wanted.best {
        return Err(Error::TooMany {
            tensor: task.shown_name(),
            scheme: task.scheme.to_string(),
            count: elements,
            allowed: HELD,
        });
    }
    by_passes(task, prepared, chunks, wanted)
}

/// How often each value of a narrow dtype occurs. Pruning makes no new values but 0.
fn counted<T: Real>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    chunks: Span<usize>,
    format: SmallFloat,
    wanted: Centroids,
) -> Result<Ordered<T>, Error> {
    let chunks: Vec<usize> = chunks.collect();
    let counts = counted_in_runs(&chunks, 1 << format.bits(), |chunks, counts| {
        let (mut codes, mut same) = (Vec::new(), Vec::new());
        for &index in chunks {
            let values: Vec<T> = wanted.counted(&pruned(task, prepared, index)?.pruned).collect();
            codes.resize(values.len(), 0);
            same.resize(values.len(), T::ZERO);
            small::cast(format, &values, &mut codes, &mut same);
            codes.iter().for_each(|&code| counts[code as usize] += 1);
        }
        Ok(())
    })?;
    let mut pairs: Vec<(f64, u64)> = (0_u16..=u16::MAX)
        .zip(counts)
        .map(|(pattern, count)| (decode_small(format, pattern), count))
        .filter(|(value, count)| *count > 0 && value.is_finite())
        .collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(Ordered::sorted(pairs.iter().map(|p| T::from_f64(p.0)).collect(), pairs.iter().map(|p| p.1).collect()))
}

/// Lloyd's rounds, each a pass over the unit.
fn by_passes<T: Real>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    chunks: Span<usize>,
    wanted: Centroids,
) -> Result<Codebook, Error> {
    let ends = |index: usize| {
        let values = pruned(task, prepared, index)?.pruned;
        let widen = |[low, high]: [f64; 2], w: T| [low.min(w.to_f64()), high.max(w.to_f64())];
        Ok(wanted.counted(&values).fold([f64::INFINITY, f64::NEG_INFINITY], widen))
    };
    let parts: Result<Vec<[f64; 2]>, Error> = chunks.clone().into_par_iter().map(ends).collect();
    let none = [f64::INFINITY, f64::NEG_INFINITY];
    let ends = parts?.into_iter().fold(none, |[l, h], [low, high]| [l.min(low), h.max(high)]);
    let ends = if ends[0] <= ends[1] { ends } else { [0.0; 2] };
    // Cells of as many runs as there are at most, whatever the length of the unit and the number of threads.
    let chunks: Vec<usize> = chunks.collect();
    let run = chunks.len().div_ceil(SPANS).max(1);
    let merge = |cells: &mut [Tally], more: Vec<Tally>| cells.iter_mut().zip(more).for_each(|(a, b)| *a = a.merge(b));
    let cells = |bounds: &[f64]| {
        let none = || vec![Tally::default(); bounds.len() + 1];
        let of_run = |run: &[usize]| {
            let mut cells = none();
            for &index in run {
                merge(&mut cells, cells_of(&pruned(task, prepared, index)?.pruned, bounds, wanted.survivors));
            }
            Ok(cells)
        };
        let parts: Result<Vec<Vec<Tally>>, Error> = chunks.par_chunks(run).map(of_run).collect();
        let mut sum = none();
        parts?.into_iter().for_each(|part| merge(&mut sum, part));
        Ok::<_, Error>(sum)
    };
    let centroids = lloyd(wanted.k, ends, cells)?;
    Ok(Codebook { centroids, zeros_apart: wanted.survivors })
}
