//! Everything that a tensor's marginal distribution decides: pruning by one threshold, casts, and grids over the whole tensor.

use super::{Answer, Case, entropy_of};
use crate::estimate::stats::table_histogram;
use crate::formats::Dtype;
use crate::kernels::convert;
use crate::kernels::histogram::{BINS, Histogram};
use crate::kernels::quant::{Extent, Grid};
use crate::profile::{Cut, GridAnswer, ValueTable};
use crate::recipe::{Quantize, Range, Target};

/// Points that stand for a bin of a wide dtype where a function is summed over it.
const PIECES: u32 = 8;

/// The answer from the value table.
pub(super) fn answer(case: &Case<'_>) -> Option<Answer> {
    let table = &case.profile.table;
    let cut = case.cut.unwrap_or(Cut::NOTHING);
    let (gone, pruned) = table.below(cut);
    // Wide bins know energy to a few parts in 10⁵; what was summed is exact.
    let scale = if table.energy() > 0.0 { case.profile.moments.energy / table.energy() } else { 1.0 };
    let (gone, pruned) = (gone.max(table.zeros as f64), (pruned * scale).min(case.profile.moments.energy));
    match &case.scheme.quantize {
        None => Some(Answer {
            squared_error: pruned,
            pruned_error: pruned,
            energy_after: case.profile.moments.energy - pruned,
            zeros: gone,
            code_bits: None,
            error: None,
            sampled: false,
        }),
        Some(Quantize::F16) => Some(cast(case, cut, gone, pruned, Dtype::F16)),
        Some(Quantize::Bf16) => Some(cast(case, cut, gone, pruned, Dtype::BF16)),
        Some(Quantize::Int { bits, asymmetric, range, .. }) => {
            let extent = extent(case, cut)?;
            let extent = match range {
                Range::Max => extent,
                Range::Percentile(q) => clipped(table, gone, q.to_f64())?,
                Range::Mse => return None,
            };
            let grid = Grid::new(*bits, *asymmetric, extent)?;
            let plain = !asymmetric && *range == Range::Max && !case.is_rounded();
            let known = case.profile.grids[4].get(*bits as usize - 2).copied().flatten();
            Some(match known {
                Some(known) if plain && case.cut.is_none() => Answer::of(&known),
                _ if plain => symmetric(case, cut, pruned, &grid, *bits),
                _ => any(case, cut, pruned, &grid),
            })
        }
        Some(_) => None,
    }
}

impl Case<'_> {
    /// Whether the dense target rounds levels into the tensor's dtype.
    fn is_rounded(&self) -> bool {
        self.target == Target::Safetensors && !matches!(self.tensor.dtype, Dtype::F32 | Dtype::F64)
    }
}

/// The extent of what pruning leaves: the whole one, unless everything goes.
fn extent(case: &Case<'_>, cut: Cut) -> Option<Extent<f32>> {
    let moments = &case.profile.moments;
    let (low, high) = (moments.min.min(0.0), moments.max.max(0.0));
    let threshold = case.profile.table.magnitude(cut);
    let alive = |end: f64| if end.abs() >= threshold && moments.finite > 0 { end as f32 } else { 0.0 };
    (moments.finite > 0).then(|| Extent { low: alive(low), high: alive(high) })
}

/// The range of a percentile over what pruning leaves (elements that are not 0), or over all when nothing is pruned.
fn clipped(table: &ValueTable, gone: f64, percent: f64) -> Option<Extent<f32>> {
    let finite = table.finite() as f64;
    let first = if gone > table.zeros as f64 { gone } else { 0.0 };
    let rank = first + (finite - first - 1.0).max(0.0) * percent / 100.0;
    let clip = table.magnitude_of_rank(rank) as f32;
    (finite > 0.0).then_some(Extent { low: -clip, high: clip })
}

/// Symmetric levels at multiples of one step: magnitudes alone decide.
fn symmetric(case: &Case<'_>, cut: Cut, pruned: f64, grid: &Grid<f32>, bits: u32) -> Answer {
    let table = &case.profile.table;
    let energy = case.profile.moments.energy;
    if grid.scale == 0.0 {
        let zeros = case.profile.moments.finite as f64;
        return Answer {
            squared_error: energy,
            pruned_error: pruned,
            zeros,
            code_bits: Some(0.0),
            ..Answer::default()
        };
    }
    let top = (1_i32 << (bits - 1)) - 1;
    let (sums, levels) = table.on_levels(cut, case.cut.is_some(), grid.scale, top);
    let known = GridAnswer::new(sums, &levels, table.positive_share());
    Answer { squared_error: pruned + known.squared_error, pruned_error: pruned, ..Answer::of(&known) }
}

/// Any grid over the whole tensor: every bin on both sides of zero.
fn any(case: &Case<'_>, cut: Cut, pruned: f64, grid: &Grid<f32>) -> Answer {
    let table = &case.profile.table;
    let threshold = if case.cut.is_some() { table.magnitude(cut) } else { 0.0 };
    let rounded = case.is_rounded();
    let mut out = Answer { squared_error: pruned, pruned_error: pruned, ..Answer::default() };
    let mut codes = vec![0.0; 511];
    let mut put = |w: f64, count: f64| {
        let code = grid.code(w as f32);
        let plain = grid.value(code);
        let q = f64::from(if rounded { case.tensor.dtype.rounded(plain) } else { plain });
        codes[(code - grid.zero_point + 255) as usize] += count;
        out.squared_error += count * (w - q).powi(2);
        out.energy_after += count * q * q;
        out.zeros += if q == 0.0 { count } else { 0.0 };
    };
    // Zeros, and what pruning made one.
    let (gone, _) = table.below(cut);
    put(0.0, gone.max(table.zeros as f64));
    for (low, high, positive, negative) in table.iter() {
        if high < threshold {
            continue;
        }
        let pieces = if low < high { PIECES } else { 1 };
        for piece in 0..pieces {
            let w = low + (high - low) * (f64::from(piece) + 0.5) / f64::from(pieces);
            let left = match () {
                () if low == high && w == threshold => 1.0 - cut.share,
                () if w < threshold => 0.0,
                () => 1.0,
            };
            put(w, left * positive as f64 / f64::from(pieces));
            put(-w, left * negative as f64 / f64::from(pieces));
        }
    }
    out.code_bits = Some(entropy_of(codes));
    out
}

/// A cast to a 16-bit float: rounding is even within its step.
fn cast(case: &Case<'_>, cut: Cut, gone: f64, pruned: f64, dtype: Dtype) -> Answer {
    let table = &case.profile.table;
    let threshold = if case.cut.is_some() { table.magnitude(cut) } else { 0.0 };
    let Some(format) = dtype.small() else { return Answer::default() };
    let mut out = Answer { squared_error: pruned, pruned_error: pruned, zeros: gone, ..Answer::default() };
    let mut codes = std::collections::BTreeMap::from([(0_u16, gone)]);
    let smallest = convert::decode_small(format, 1);
    let (mut all, mut left) = (0.0, 0.0);
    for (low, high, positive, negative) in table.iter() {
        let count = (positive + negative) as f64;
        let alive = if low > threshold || case.cut.is_none() || (low == threshold && low < high) {
            1.0
        } else {
            1.0 - cut.share
        };
        let pattern = convert::encode_small(format, low);
        let step = convert::decode_small(format, pattern + 1) - convert::decode_small(format, pattern);
        let middle = f64::midpoint(low, high);
        // f16 and bf16 tensors hold only values of their own dtype: nothing is left to round.
        let same = case.tensor.dtype == dtype;
        let square = match () {
            () if same => 0.0,
            () if high <= low => (low - convert::decode_small(format, pattern)).powi(2),
            () if high <= smallest / 2.0 => middle * middle,
            () => step * step / 12.0,
        };
        all += count * square;
        left += alive * count * square;
        if high <= smallest / 2.0 {
            out.zeros += alive * count;
            *codes.entry(0).or_default() += alive * count;
            continue;
        }
        // A bin of a wide dtype spreads over as many patterns as it has steps.
        let patterns = if high <= low { 1 } else { ((high - low) / step).round().max(1.0) as u16 };
        for i in 0..patterns {
            let place = pattern.saturating_add(i);
            *codes.entry(place).or_default() += alive * positive as f64 / f64::from(patterns);
            *codes.entry(place | 0x8000).or_default() += alive * negative as f64 / f64::from(patterns);
        }
    }
    // What the pass summed is exact for all; of it stays what the table says of those that are left.
    let summed = case.profile.casts[usize::from(dtype == Dtype::BF16)];
    let known = if summed.is_finite() && all > 0.0 { summed / all } else { 1.0 };
    out.squared_error += left * known;
    out.energy_after = (case.profile.moments.energy - pruned).max(0.0);
    out.code_bits = Some(entropy_of(codes.into_values()));
    out
}

/// The distribution that pruning by one threshold leaves.
pub(super) fn after(case: &Case<'_>, reach: f64) -> Histogram {
    let table = &case.profile.table;
    let mut out = table_histogram(table, reach);
    let cut = case.cut.unwrap_or(Cut::NOTHING);
    let threshold = table.magnitude(cut);
    let mut moved = 0;
    for bin in 0..out.counts.len() {
        let (low, high) = (out.edge(bin), out.edge(bin + 1));
        let inside = (high.min(threshold) - low.max(-threshold)).max(0.0) / (high - low).max(f64::MIN_POSITIVE);
        let gone = (inside * f64::from(out.counts[bin])) as u32;
        out.counts[bin] -= gone;
        moved += gone;
    }
    out.counts[BINS / 2] += moved;
    out
}
