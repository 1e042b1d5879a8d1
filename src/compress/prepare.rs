//! What must be known before a tensor's first chunk: where pruning cuts, and the levels of units longer than a chunk.

use super::blocks::Blocks;
use super::chunk::{Chunk, count_non_finite};
use super::cut::Cut;
use super::factorize::{Factorized, Product};
use super::levels::{Fit, long_levels};
use super::{Error, Task};
use crate::kernels::Real;
use crate::kernels::bracket::{self, Bracket, Found};
use crate::kernels::layout::{Geometry, Unit};
use crate::kernels::levels::Levels;
use crate::kernels::scatter::Scatter;
use crate::kernels::select::{self, DIGITS, DigitTable, Select, Threshold};
use crate::kernels::table::Counts;
use crate::model::Scratch;
use crate::recipe::{Decimal, Prune, Quantize, Scope};
use rayon::prelude::*;
use std::ops::Range;

/// A tensor ready to be taken through its scheme.
#[derive(Debug)]
pub struct Prepared<T> {
    pub(super) geometry: Geometry,
    chunks: Vec<Range<usize>>,
    pub(super) cut: Cut,
    /// How units get their levels; `None` when the scheme has none.
    pub(super) fit: Option<Fit>,
    /// Levels of all units, when some unit is longer than a chunk; `None` where a scale does not fit the arithmetic.
    pub(super) levels: Option<Vec<Option<Levels<T>>>>,
    /// What stands for the tensor, where its scheme factorizes it.
    pub(super) product: Option<Product>,
    /// The largest magnitude that pruning zeroes, where one number says it.
    pub threshold: Option<f64>,
}

impl<T: Real> Prepared<T> {
    /// The chunks, as flat element ranges in order.
    #[must_use]
    pub fn chunks(&self) -> &[Range<usize>] {
        &self.chunks
    }

    /// The factors whose product stands for the tensor, where its scheme factorizes it.
    #[must_use]
    pub fn factors(&self) -> Option<&Factorized> {
        self.product.as_ref().map(|product| &product.factors)
    }

    /// Takes chunk `index` through the whole scheme into `chunk`.
    ///
    /// # Errors
    /// When it cannot be read, or the scheme is refused on what it holds.
    pub fn fill(&self, task: &Task<'_>, index: usize, chunk: &mut Chunk<T>) -> Result<(), Error> {
        if self.fill_unchecked(task, index, chunk)? {
            return Ok(());
        }
        // Rare and final: how many in the whole tensor, for the message.
        let mut count = 0;
        for other in 0..self.chunks.len() {
            task.check_cancelled()?;
            self.fill_unchecked(task, other, chunk)?;
            count += chunk.overflown();
        }
        let and_advice = match task.scheme.quantize {
            Some(Quantize::F16 | Quantize::Bf16) => format!("{}; use bf16, or keep it", task.scheme),
            Some(Quantize::Fp8 { row: false, .. }) => format!("{0}; use {0}:row or bf16, or keep it", task.scheme),
            Some(Quantize::Fp8 { row: true, .. }) => {
                format!("{} (scales of such small weights are hardly numbers any more); keep it", task.scheme)
            }
            Some(Quantize::Gguf(_)) => format!("{}, whose scales are f16; use bf16, or keep it", task.scheme),
            _ => format!("{} stored as {}; use the packed target, or keep it", task.scheme, task.tensor.dtype),
        };
        Err(Error::Overflow { tensor: task.shown_name(), count, and_advice })
    }

    fn fill_unchecked(&self, task: &Task<'_>, index: usize, chunk: &mut Chunk<T>) -> Result<bool, Error> {
        chunk.read(task, self.chunks[index].clone())?;
        chunk.prune(task, self, index)?;
        chunk.quantize(task, self)
    }
}

/// Finds what must be known before the first chunk.
///
/// # Errors
/// When the tensor cannot be read, or the work is cancelled.
pub fn prepare<T: Real>(task: &Task<'_>) -> Result<Prepared<T>, Error> {
    let geometry = task.geometry();
    let chunks = geometry.chunks();
    let mut prepared =
        Prepared { geometry, chunks, cut: Cut::None, fit: None, levels: None, product: None, threshold: None };
    prepared.cut = match &task.scheme.prune {
        // Rows and columns are taken out before anything else.
        None | Some(Prune::Structured { .. }) => Cut::None,
        Some(Prune::Magnitude { share, scope }) => match scope {
            Scope::Tensor => whole_tensor::<T>(task, &mut prepared, *share)?,
            Scope::Global => pooled::<T>(task, &mut prepared)?,
            Scope::Row if geometry.units_within_chunks(Unit::Row) => Cut::ShortRows(*share),
            Scope::Row => long_rows::<T>(task, &prepared, *share)?,
        },
        Some(Prune::Nm { n, m }) => Cut::Among { n: *n as usize, m: *m as usize },
        Some(Prune::Block { height, width, share }) => {
            Blocks::find::<T>(task, *height, *width, *share)?.map_or(Cut::None, Cut::Blocks)
        }
        Some(Prune::Random { share, seed }) => by_chance::<T>(task, &prepared.chunks, *share, *seed)?,
        Some(Prune::Mask { .. }) => Cut::Mask,
        // Plans are checked before anything is computed; nothing else is built.
        Some(other) => return Err(Error::Unbuilt { tensor: task.shown_name(), scheme: other.to_string() }),
    };
    prepared.product = Product::of::<T>(task)?;
    if prepared.product.is_some() {
        return Ok(prepared);
    }
    if let Some(fit) = Fit::of(task) {
        prepared.fit = fit.settled(task, &prepared)?;
        let Some(fit) = prepared.fit else { return Err(refusal::<T>(task)?) };
        if !geometry.units_within_chunks(fit.unit) {
            prepared.levels = Some(long_levels::<T>(task, &prepared, fit)?);
        }
    }
    Ok(prepared)
}

/// Why a tensor as a whole cannot be put on levels: it holds what is no number, or its scale does not fit.
fn refusal<T: Real>(task: &Task<'_>) -> Result<Error, Error> {
    let count = count_non_finite::<T>(task)?;
    let scheme = task.scheme.to_string();
    Ok(if count > 0 { Error::NonFinite { tensor: task.shown_name(), count, scheme } } else { task.scale_overflow() })
}

/// The `k`-th smallest key of a stream that `table` counts digit by digit; `k` is asked for once the first table says how
/// many keys there are. `None` when it is 0.
pub(super) fn descend(
    key_bits: u32,
    k: impl Fn(u64) -> u64,
    table: impl Fn(&Select) -> Result<DigitTable, Error>,
) -> Result<Option<Threshold>, Error> {
    let Some(first) = Select::new(1, key_bits) else { return Ok(None) };
    let mut digits = table(&first)?;
    let Some(mut walk) = Select::new(k(digits.iter().sum()), key_bits) else { return Ok(None) };
    loop {
        if let Some(threshold) = walk.narrow(&digits) {
            return Ok(Some(threshold));
        }
        digits = table(&walk)?;
    }
}

/// The threshold below which a share of the finite elements of some neighbouring chunks lies: in one pass where a sample
/// allows it, else digit by digit.
pub(super) fn walk<T: Real>(
    task: &Task<'_>,
    chunks: &[Range<usize>],
    share: Decimal,
) -> Result<Option<Threshold>, Error> {
    if let Some(found) = in_one_pass::<T>(task, chunks, share)? {
        return Ok(Some(found));
    }
    let k = |finite| share.share_of(finite);
    descend(T::KEY_BITS, k, |select| digit_table::<T>(task, chunks, select, false))
}

/// Elements for which a sample pays, and for which what lies in a bracket is not too much to be kept.
const SAMPLED: Range<usize> = 1 << 16..1 << 28;

fn in_one_pass<T: Real>(task: &Task<'_>, chunks: &[Range<usize>], share: Decimal) -> Result<Option<Threshold>, Error> {
    let start = chunks.first().map_or(0, |chunk| chunk.start);
    let n = chunks.last().map_or(0, |chunk| chunk.end) - start;
    if !SAMPLED.contains(&n) || share.is_zero() {
        return Ok(None);
    }
    let (mut sample, mut cluster, mut scratch) = (Vec::<T>::new(), Vec::new(), Scratch::default());
    for at in bracket::clusters(n) {
        let at = start + at;
        task.values(at..at + bracket::CLUSTER, &mut cluster, &mut scratch)?;
        sample.extend_from_slice(&cluster);
    }
    let Some(bracket) = Bracket::of(&sample, share.to_f64()) else { return Ok(None) };
    let run = chunks.len().div_ceil(4 * rayon::current_num_threads()).max(4);
    let of_run = |chunks: &[Range<usize>]| {
        let (mut found, mut values, mut scratch) = (Found::default(), Vec::<T>::new(), Scratch::default());
        let most = Found::most(chunks.iter().map(Range::len).sum());
        for range in chunks {
            task.check_cancelled()?;
            task.values(range.clone(), &mut values, &mut scratch)?;
            found.add(&values, bracket, most);
        }
        Ok(found)
    };
    let parts: Result<Vec<Found>, Error> = chunks.par_chunks(run).map(of_run).collect();
    let found = parts?.into_iter().fold(Found::default(), Found::merge);
    let k = found.finite().map_or(0, |finite| share.share_of(finite));
    Ok(found.threshold(k))
}

/// A table of `len` counts over all items. It may take 512 KiB: there is one per run of items, not one per item.
pub(super) fn counted_in_runs<I: Sync>(
    items: &[I],
    len: usize,
    count: impl Fn(&[I], &mut Vec<u64>) -> Result<(), Error> + Sync,
) -> Result<Vec<u64>, Error> {
    let run = items.len().div_ceil(4 * rayon::current_num_threads()).max(8);
    let of_run = |run: &[I]| {
        let mut table = vec![0; len];
        count(run, &mut table)?;
        Ok(table)
    };
    let tables: Result<Vec<Vec<u64>>, Error> = items.par_chunks(run).map(of_run).collect();
    let mut sum = vec![0; len];
    tables?.iter().for_each(|table| add_table(&mut sum, table));
    Ok(sum)
}

/// Adds the counts of a table to a sum.
pub(super) fn add_table(sum: &mut [u64], table: &[u64]) {
    sum.iter_mut().zip(table).for_each(|(sum, count)| *sum += count);
}

/// Counts of the current digit over some chunks of a tensor; `wide` takes f64 keys whatever the dtype.
pub(super) fn digit_table<T: Real>(
    task: &Task<'_>,
    chunks: &[Range<usize>],
    select: &Select,
    wide: bool,
) -> Result<DigitTable, Error> {
    let fast = T::KEY_BITS == 32 && !wide && select.is_at_first_digit();
    counted_in_runs(chunks, DIGITS, |chunks, table| {
        let mut scratch = Scratch::default();
        if fast {
            let (mut counts, mut values) = (Counts::default(), Vec::<f32>::new());
            for range in chunks {
                task.check_cancelled()?;
                task.values(range.clone(), &mut values, &mut scratch)?;
                counts.add(&values);
            }
            counts.add_magnitudes_to(table);
            return Ok(());
        }
        let mut values = Vec::<T>::new();
        for range in chunks {
            task.check_cancelled()?;
            task.values(range.clone(), &mut values, &mut scratch)?;
            if wide {
                let finite = values.iter().filter(|v| v.is_finite());
                select.count_keys(finite.map(|v| v.to_f64().magnitude_key()), table);
            } else {
                select.count(&values, table);
            }
        }
        Ok(())
    })
}

/// Elements of a range whose key is the threshold's.
pub(super) fn ties_in<T: Real>(
    task: &Task<'_>,
    range: Range<usize>,
    threshold: Threshold,
    wide: bool,
) -> Result<u64, Error> {
    task.check_cancelled()?;
    let mut values = Vec::<T>::new();
    task.values(range, &mut values, &mut Scratch::default())?;
    Ok(if wide {
        select::count_ties(&values, threshold, |v| v.to_f64().magnitude_key())
    } else {
        select::count_ties(&values, threshold, Real::magnitude_key)
    })
}

/// Each chunk's threshold with the ties met before it. Counting ties costs a pass, and only where order decides.
fn spread_ties<T: Real>(
    task: &Task<'_>,
    chunks: &[Range<usize>],
    threshold: Threshold,
    before: u64,
    wide: bool,
) -> Result<Vec<Option<(Threshold, u64)>>, Error> {
    if threshold.ties >= threshold.equal {
        return Ok(vec![Some((threshold, 0)); chunks.len()]);
    }
    let count = |range: &Range<usize>| ties_in::<T>(task, range.clone(), threshold, wide);
    let counts: Result<Vec<u64>, Error> = chunks.par_iter().map(count).collect();
    let mut seen = before;
    let place = |ties: u64| {
        let start = seen;
        seen += ties;
        Some((threshold, start))
    };
    Ok(counts?.into_iter().map(place).collect())
}

fn whole_tensor<T: Real>(task: &Task<'_>, prepared: &mut Prepared<T>, share: Decimal) -> Result<Cut, Error> {
    let Some(threshold) = walk::<T>(task, &prepared.chunks, share)? else {
        return Ok(Cut::None);
    };
    prepared.threshold = Some(T::from_magnitude_key(threshold.key).to_f64());
    let thresholds = spread_ties::<T>(task, &prepared.chunks, threshold, 0, false)?;
    Ok(Cut::PerChunk { thresholds, wide: false })
}

fn pooled<T: Real>(task: &Task<'_>, prepared: &mut Prepared<T>) -> Result<Cut, Error> {
    let Some(pool) = task.pool else { return Ok(Cut::None) };
    let value = if pool.wide {
        f64::from_magnitude_key(pool.threshold.key)
    } else {
        T::from_magnitude_key(pool.threshold.key).to_f64()
    };
    prepared.threshold = Some(value);
    let thresholds = spread_ties::<T>(task, &prepared.chunks, pool.threshold, pool.ties_before, pool.wide)?;
    Ok(Cut::PerChunk { thresholds, wide: pool.wide })
}

fn long_rows<T: Real>(task: &Task<'_>, prepared: &Prepared<T>, share: Decimal) -> Result<Cut, Error> {
    let per_row = prepared.chunks.len() / prepared.geometry.rows;
    let mut thresholds = Vec::with_capacity(prepared.chunks.len());
    for row in prepared.chunks.chunks(per_row.max(1)) {
        match walk::<T>(task, row, share)? {
            Some(threshold) => thresholds.extend(spread_ties::<T>(task, row, threshold, 0, false)?),
            None => thresholds.extend(row.iter().map(|_| None)),
        }
    }
    Ok(Cut::PerChunk { thresholds, wide: false })
}

/// The `k` smallest of the keys that chance gives the finite elements.
fn by_chance<T: Real>(task: &Task<'_>, chunks: &[Range<usize>], share: Decimal, seed: u64) -> Result<Cut, Error> {
    let scatter = Scatter::new(seed, &task.tensor.name);
    let table = |select: &Select| {
        counted_in_runs(chunks, DIGITS, |chunks, table| {
            let (mut values, mut scratch) = (Vec::<T>::new(), Scratch::default());
            for range in chunks {
                task.check_cancelled()?;
                task.values(range.clone(), &mut values, &mut scratch)?;
                let finite = range.clone().zip(&values).filter(|(_, v)| v.is_finite());
                select.count_keys(finite.map(|(index, _)| scatter.key(index as u64)), table);
            }
            Ok(())
        })
    };
    // Keys are all different: there are no ties to be counted.
    let threshold = descend(u64::BITS, |finite| share.share_of(finite), table)?;
    Ok(threshold.map_or(Cut::None, |threshold| Cut::Chance { scatter, last: threshold.key }))
}
