//! Everything that a tensor's marginal distribution decides: pruning by one threshold, casts, and levels over the whole tensor.

use super::{Answer, Case, entropy_of, levels};
use crate::estimate::stats::table_histogram;
use crate::formats::Dtype;
use crate::kernels::clip::{TIGHTEST, Wanted, scaled};
use crate::kernels::convert::{self, F8_E4M3, F8_E5M2};
use crate::kernels::histogram::{BINS, Histogram};
use crate::kernels::levels::{Levels, SYMBOLS};
use crate::kernels::quant::{Extent, Grid};
use crate::kernels::small::cast as cast_to;
use crate::profile::values::least_of;
use crate::profile::{Cut, GridAnswer};
use crate::recipe::{Quantize, Range};

/// Points that stand for a bin of a wide dtype where a function is summed over it.
pub(super) const PIECES: u32 = 8;

/// The answer from the value table.
pub(super) fn answer(case: &Case<'_>) -> Option<Answer> {
    let cut = case.cut.unwrap_or(Cut::NOTHING);
    let (gone, pruned) = case.below_the_cut();
    match &case.scheme.quantize {
        None => Some(Answer {
            squared_error: pruned,
            pruned_error: pruned,
            energy_after: case.profile.moments.energy - pruned,
            zeros: gone,
            ..Answer::default()
        }),
        Some(Quantize::F16) => Some(cast(case, cut, gone, pruned, Dtype::F16)),
        Some(Quantize::Bf16) => Some(cast(case, cut, gone, pruned, Dtype::BF16)),
        Some(Quantize::Fp8 { e5m2, row: false }) => {
            let format = if *e5m2 { F8_E5M2 } else { F8_E4M3 };
            let round =
                |values: &[f32], codes: &mut [i32], results: &mut [f32]| cast_to(format, values, codes, results);
            Some(over_points(case, pruned, round, |code| code as usize))
        }
        Some(Quantize::Int { bits, asymmetric, range, .. }) => {
            let grid = Grid::new(*bits, *asymmetric, range_of(case)?)?;
            let known = case.profile.grids[4].get(*bits as usize - 2).copied().flatten();
            let plain = *range == Range::Max && !asymmetric && !case.is_rounded() && case.cut.is_none();
            let answer = known.filter(|_| plain).map_or_else(|| lay(case, cut, pruned, &grid), |k| Answer::of(&k));
            Some(if *range == Range::Max { answer } else { clipped(case, cut, answer, &grid) })
        }
        Some(_) => levels::whole(case).map(|levels| any(case, pruned, &levels)),
    }
}

impl Case<'_> {
    /// Whether the target rounds levels into the tensor's dtype.
    fn is_rounded(&self) -> bool {
        self.target.is_dense() && !matches!(self.tensor.dtype, Dtype::F32 | Dtype::F64)
    }

    /// Elements that are zero after pruning by one threshold, and Σw² of those that it zeroed.
    pub(super) fn below_the_cut(&self) -> (f64, f64) {
        let (table, energy) = (&self.profile.table, self.profile.moments.energy);
        let (gone, pruned) = table.below(self.cut.unwrap_or(Cut::NOTHING));
        // Wide bins know energy to a few parts in 10⁵; what was summed is exact.
        let scale = if table.energy() > 0.0 { energy / table.energy() } else { 1.0 };
        (gone.max(table.zeros as f64), (pruned * scale).min(energy))
    }
}

/// The range of a grid over the whole tensor.
pub(super) fn range_of(case: &Case<'_>) -> Option<Extent<f32>> {
    let Some(Quantize::Int { bits, asymmetric, range, .. }) = case.scheme.quantize else { return None };
    let cut = case.cut.unwrap_or(Cut::NOTHING);
    let full = extent(case, cut)?;
    match range {
        Range::Max => Some(full),
        Range::Percentile(q) => at_percentile(case, q.to_f64()),
        Range::Mse => {
            let wanted = Wanted::new(bits, asymmetric);
            let known = case.profile.tables.as_ref().filter(|_| case.cut.is_none() && !asymmetric);
            let known = known.and_then(|tables| tables.whole.get(bits as usize - 2)).map(|&percent| i32::from(percent));
            let error = |percent: i32| {
                let grid = wanted.grid(full, percent);
                grid.map_or(f64::INFINITY, |grid| lay(case, cut, 0.0, &grid).squared_error)
            };
            Some(scaled(full, known.unwrap_or_else(|| least_of(TIGHTEST, error))))
        }
    }
}

/// What a grid over the whole tensor comes to.
fn lay(case: &Case<'_>, cut: Cut, pruned: f64, grid: &Grid<f32>) -> Answer {
    match case.scheme.quantize {
        Some(Quantize::Int { bits, asymmetric: false, .. }) if !case.is_rounded() => {
            symmetric(case, cut, pruned, grid, bits)
        }
        _ => any(case, pruned, &Levels::Grid(*grid)),
    }
}

/// The same answer with the part of its error that lies beyond the end levels.
fn clipped(case: &Case<'_>, cut: Cut, answer: Answer, grid: &Grid<f32>) -> Answer {
    let ends = grid.levels().map(|level| f64::from(level) * f64::from(grid.scale));
    let half = f64::from(grid.scale) / 2.0;
    let table = &case.profile.table;
    let mut sum = 0.0;
    for (low, high, positive, negative) in table.iter().filter(|bin| bin.0 >= table.magnitude(cut)) {
        let middle = f64::midpoint(low, high);
        for (w, count) in [(middle, positive), (-middle, negative)] {
            let over = if w < 0.0 { ends[0] - w } else { w - ends[1] };
            sum += if over > half { count as f64 * over * over } else { 0.0 };
        }
    }
    Answer { clipped_error: sum, ..answer }
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
fn at_percentile(case: &Case<'_>, percent: f64) -> Option<Extent<f32>> {
    let table = &case.profile.table;
    let finite = table.finite() as f64;
    let first = if case.cut.is_some() { case.below_the_cut().0 } else { 0.0 };
    let rank = first + (finite - first - 1.0).max(0.0) * percent / 100.0;
    let clip = if first >= finite { 0.0 } else { table.magnitude_of_rank(rank) as f32 };
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

/// Values that stand for the whole tensor after pruning by one threshold, each with how many elements: what is 0, and every bin
/// on both sides of zero in some pieces.
pub(super) fn points(case: &Case<'_>, pieces: u32) -> Vec<(f32, f64)> {
    let table = &case.profile.table;
    let cut = case.cut.unwrap_or(Cut::NOTHING);
    let threshold = if case.cut.is_some() { table.magnitude(cut) } else { 0.0 };
    let (gone, _) = table.below(cut);
    let mut points = vec![(0.0, gone.max(table.zeros as f64))];
    for (low, high, positive, negative) in table.iter().filter(|bin| bin.1 >= threshold) {
        let pieces = if low < high { pieces } else { 1 };
        for piece in 0..pieces {
            let w = low + (high - low) * (f64::from(piece) + 0.5) / f64::from(pieces);
            let left = match () {
                () if low == high && w == threshold => 1.0 - cut.share,
                () if w < threshold => 0.0,
                () => 1.0,
            };
            points.push((w as f32, left * positive as f64 / f64::from(pieces)));
            points.push((-w as f32, left * negative as f64 / f64::from(pieces)));
        }
    }
    // The points of a bin are on one side of the threshold or the other; what it really leaves is known.
    let more = points.iter().map(|point| point.1).sum::<f64>() - table.finite() as f64;
    let positive = table.positive_share();
    points.push((threshold as f32, -more * positive));
    points.push((-threshold as f32, -more * (1.0 - positive)));
    points
}

/// Any levels over the whole tensor.
fn any(case: &Case<'_>, pruned: f64, levels: &Levels<f32>) -> Answer {
    let round = |values: &[f32], codes: &mut [i32], results: &mut [f32]| {
        levels.quantize(values, codes, results);
        if case.is_rounded() {
            results.iter_mut().for_each(|q| *q = case.tensor.dtype.rounded(*q));
        }
    };
    over_points(case, pruned, round, |code| levels.symbol(code))
}

/// What a way to give every value a code and a result comes to.
fn over_points(
    case: &Case<'_>,
    pruned: f64,
    round: impl Fn(&[f32], &mut [i32], &mut [f32]),
    symbol: impl Fn(i32) -> usize,
) -> Answer {
    let points = points(case, PIECES);
    let values: Vec<f32> = points.iter().map(|point| point.0).collect();
    let (mut codes, mut results) = (vec![0; values.len()], vec![0.0; values.len()]);
    round(&values, &mut codes, &mut results);
    let mut out = Answer { squared_error: pruned, pruned_error: pruned, ..Answer::default() };
    let mut counts = vec![0.0; SYMBOLS];
    let mut bins = [InBin::default(); 2];
    let mut variance = 0.0;
    for (((w, count), &code), &q) in points.into_iter().zip(&codes).zip(&results) {
        variance += bins[usize::from(w < 0.0)].add(w, count, f64::from(w - q).powi(2));
        let (w, q) = (f64::from(w), f64::from(q));
        counts[symbol(code)] += count;
        out.squared_error += count * (w - q).powi(2);
        out.energy_after += count * q * q;
        out.zeros += if q == 0.0 { count } else { 0.0 };
    }
    let variance = variance + bins.map(InBin::variance).iter().sum::<f64>();
    out.error = (out.squared_error > 0.0).then(|| variance.sqrt() / out.squared_error);
    out.code_bits = Some(entropy_of(counts));
    out
}

/// Errors at the points of one bin. Its elements stand anywhere in it, so their errors differ from the mean as those of the
/// points do: where a few large ones are most of the error, that tells.
#[derive(Clone, Copy, Default)]
struct InBin {
    bin: u32,
    count: f64,
    sum: f64,
    square: f64,
}

impl InBin {
    /// Adds a point; gives the variance of the sum over the bin that is thereby left.
    fn add(&mut self, w: f32, count: f64, error: f64) -> f64 {
        let bin = w.to_bits() >> 16;
        let mut left = 0.0;
        if bin != self.bin {
            left = self.variance();
            *self = Self { bin, ..Self::default() };
        }
        let count = count.max(0.0);
        (self.count, self.sum, self.square) =
            (self.count + count, self.sum + count * error, self.square + count * error * error);
        left
    }

    fn variance(self) -> f64 {
        if self.count > 0.0 { (self.square - self.sum * self.sum / self.count).max(0.0) } else { 0.0 }
    }
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

/// n·H0 in bits of the last bytes of elements of `dtype`, which hold the sign and most of the exponent: what Huffman coding
/// makes of elements that are not codes. Rows that are cut each for itself are taken to be cut together.
pub(super) fn last_bytes(case: &Case<'_>, dtype: Dtype) -> f64 {
    let table = &case.profile.table;
    let share = case.scheme.pruned_share();
    let cut = case.cut.or_else(|| Some(table.cut(share?.share_of(table.finite()))));
    let mut counts = [0.0; 256];
    counts[0] = table.below(cut.unwrap_or(Cut::NOTHING)).0.max(table.zeros as f64);
    let mut bytes = Vec::new();
    for (at, (low, _, positive, negative)) in table.iter().enumerate() {
        let left = match cut {
            Some(cut) if table.bins[at] < cut.bin => continue,
            Some(cut) if table.bins[at] == cut.bin => 1.0 - cut.share,
            _ => 1.0,
        };
        // A bin is the upper half of an f32, and of all that a bf16 has.
        let last = if matches!(dtype, Dtype::F32 | Dtype::BF16) {
            usize::from(table.bins[at] >> 8)
        } else {
            bytes.clear();
            dtype.encode(low, &mut bytes);
            usize::from(bytes.last().copied().unwrap_or_default())
        };
        counts[last] += left * positive as f64;
        counts[last | 0x80] += left * negative as f64;
    }
    entropy_of(counts)
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
