//! Codebooks of units longer than a chunk: from counts of every value where a dtype has few, from values in order where they fit
//! in memory, else by a pass for every one of Lloyd's rounds.

use super::fit::pruned;
use super::levels::Centroids;
use super::prepare::Prepared;
use super::{Error, Task};
use crate::kernels::codebook::{Cell, Codebook, Ordered, cells_of, lloyd};
use crate::kernels::convert::{SmallFloat, decode_small};
use crate::kernels::{Real, small};
use rayon::prelude::*;
use std::ops::Range as Span;

/// Most elements of a unit that are held in memory to be put in order: 256 MiB of f32.
const HELD: usize = 1 << 26;
/// Most runs of chunks that are counted side by side: each has a table of up to 512 KiB.
const RUNS: usize = 16;

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
        return wanted.of(&counted(task, prepared, &chunks, format, wanted)?, go_on);
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
    by_passes(task, prepared, &chunks, wanted)
}

/// How often each value of a narrow dtype occurs. Pruning makes no new values but 0.
fn counted<T: Real>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    chunks: &Span<usize>,
    format: SmallFloat,
    wanted: Centroids,
) -> Result<Ordered<T>, Error> {
    let of_run = |run: &[usize]| {
        let mut counts = vec![0_u64; 1 << format.bits()];
        let (mut codes, mut same) = (Vec::new(), Vec::new());
        for &index in run {
            let values: Vec<T> = wanted.counted(&pruned(task, prepared, index)?.pruned).collect();
            codes.resize(values.len(), 0);
            same.resize(values.len(), T::ZERO);
            small::cast(format, &values, &mut codes, &mut same);
            codes.iter().for_each(|&code| counts[code as usize] += 1);
        }
        Ok(counts)
    };
    let indices: Vec<usize> = chunks.clone().collect();
    let run = indices.len().div_ceil(RUNS).max(1);
    let tables: Result<Vec<Vec<u64>>, Error> = indices.par_chunks(run).map(of_run).collect();
    let mut sum = vec![0_u64; 1 << format.bits()];
    tables?.into_iter().for_each(|table| sum.iter_mut().zip(table).for_each(|(a, b)| *a += b));
    let mut pairs: Vec<(f64, u64)> = (0_u16..=u16::MAX)
        .zip(sum)
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
    chunks: &Span<usize>,
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
    let cells = |bounds: &[f64]| {
        let of_chunk = |index: usize| Ok(cells_of(&pruned(task, prepared, index)?.pruned, bounds, wanted.survivors));
        let join = |a: Vec<Cell>, b: Vec<Cell>| a.into_iter().zip(b).map(|(a, b)| a.merge(b)).collect();
        let parts: Result<Vec<Vec<Cell>>, Error> = chunks.clone().into_par_iter().map(of_chunk).collect();
        Ok::<_, Error>(parts?.into_iter().reduce(join).unwrap_or_default())
    };
    let centroids = lloyd(wanted.k, ends, cells)?;
    Ok(Codebook { centroids, zeros_apart: wanted.survivors })
}
