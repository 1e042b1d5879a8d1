//! Any scheme at all, tried on drawn groups: the same kernels as the exact pass, a few thousand weights, and a standard error.

use super::in_blocks::Trip;
use super::{Answer, Case, Rounding, entropy_of, from_table, levels, rounding};
use crate::formats::Dtype;
use crate::kernels::affine;
use crate::kernels::clip::{self, least_error, scaled};
use crate::kernels::histogram::{BINS, Histogram};
use crate::kernels::layout::Unit;
use crate::kernels::levels::{GRID_ZERO, Levels, SYMBOLS};
use crate::kernels::quant::Extent;
use crate::kernels::small;
use crate::kernels::trial::{Tried, Wanted, survey, symmetric_error};
use crate::profile::sample::{Ratio, ratio};
use crate::profile::{Grain, Sample, Segment};
use crate::recipe::{Prune, Quantize, Range, Scope};

/// Groups that a distribution is drawn from.
const DRAWN: usize = 96;

/// Buffers of one trial.
#[derive(Default)]
pub(super) struct Bench {
    pub(super) pruned: Vec<f32>,
    codes: Vec<i32>,
    result: Vec<f32>,
    sorted: Vec<u32>,
    /// Weighted counts of codes.
    counts: Vec<f64>,
    /// How much of one tie has been pruned so far; see [`prune_at`].
    ties: f64,
    /// Where pruning cut the last group.
    threshold: f32,
    units: Vec<f32>,
    /// Σ(w − q)² beyond the end levels.
    clipped: f64,
    /// Scale of every unit, and how many such units it stands for.
    scales: Vec<(f64, f64)>,
    /// The levels of the whole tensor, once they are known.
    whole: Option<Levels<f32>>,
}

/// The answer from the tensor's sample.
pub(super) fn answer(case: &Case<'_>) -> Option<Answer> {
    let sample = case.profile.sample.as_ref()?;
    let segments = &sample.segments[..usable(case, sample).min(case.tried)];
    if segments.is_empty() {
        return None;
    }
    let mut bench = Bench::default();
    if !matches!(case.scheme.quantize, None | Some(Quantize::F16 | Quantize::Bf16)) {
        bench.counts = vec![0.0; SYMBOLS];
    }
    let mut tried = Vec::with_capacity(segments.len());
    for (i, segment) in segments.iter().enumerate() {
        let one = match try_fast(case, sample, i, segment, &mut bench) {
            Some(tried) => tried,
            None => try_one(case, sample, i, segment, &mut bench)?,
        };
        let blank = sample.values_of(segment).iter().filter(|w| **w == 0.0).count() as f64;
        tried.push((segment.weight, Tried { blank, ..one }));
    }
    Some(extrapolate(case, &tried, bench.counts))
}

/// The distribution that drawn groups have afterwards, grown to the tensor; and the 10th percentile, median and 90th
/// percentile of the scales of their grids.
pub(super) fn drawn(case: &Case<'_>, reach: f64) -> Option<(Histogram, Option<[f64; 3]>)> {
    let sample = case.profile.sample.as_ref()?;
    let most = usable(case, sample);
    if most == 0 {
        return None;
    }
    let mut bench = Bench { counts: vec![0.0; SYMBOLS], ..Bench::default() };
    let mut sums = vec![0.0; BINS];
    let mut add = |values: &[f32], weight: f64| {
        for &q in values {
            let share = if reach > 0.0 { f64::from(q) / reach } else { 0.0 };
            let bin = ((share + 1.0) * BINS as f64 / 2.0).clamp(0.0, BINS as f64 - 1.0);
            sums[bin as usize] += weight;
        }
    };
    if matches!(case.scheme.quantize, Some(Quantize::Gguf(_))) {
        let trip = Trip::of(case, DRAWN)?;
        trip.groups().for_each(|(segment, values)| add(values, segment.weight));
    } else {
        for (i, segment) in sample.segments[..most.min(DRAWN)].iter().enumerate() {
            try_one(case, sample, i, segment, &mut bench)?;
            add(&bench.result, segment.weight);
        }
    }
    let scale = case.tensor.elements() as f64 / sums.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let counts = sums.into_iter().map(|sum| (sum * scale).round() as u32).collect();
    Some((Histogram { range: reach, counts }, spread(bench.scales)))
}

/// Weighted percentiles of scales.
fn spread(mut scales: Vec<(f64, f64)>) -> Option<[f64; 3]> {
    scales.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = scales.iter().map(|scale| scale.1).sum();
    let at = |share: f64| {
        let mut sum = 0.0;
        let reached = |scale: &&(f64, f64)| {
            sum += scale.1;
            sum >= share * total
        };
        scales.iter().find(reached).or(scales.last()).map(|scale| scale.0)
    };
    Some([at(0.1)?, at(0.5)?, at(0.9)?])
}

/// How many drawn groups know what the scheme asks of their whole rows.
pub(super) fn usable(case: &Case<'_>, sample: &Sample) -> usize {
    let pruned = matches!(case.scheme.prune, Some(Prune::Magnitude { scope: Scope::Row, .. }));
    match case.scheme.quantize {
        Some(Quantize::Int { unit: Unit::Row, range: Range::Mse, .. }) => sample.clipped(),
        Some(Quantize::Int { unit: Unit::Row, range: Range::Percentile(_), .. }) => sample.ranked(),
        Some(Quantize::Ternary { row: true } | Quantize::Binary { row: true }) => sample.ranked(),
        Some(Quantize::Codebook { row: true, .. }) => sample.in_order(),
        _ if pruned => sample.ranked(),
        _ => sample.segments.len(),
    }
}

/// From drawn groups to the tensor: errors in proportion to energy, which is known, counts in proportion to elements.
pub(super) fn extrapolate(case: &Case<'_>, tried: &[(f64, Tried)], counts: Vec<f64>) -> Answer {
    let moments = &case.profile.moments;
    let n = case.tensor.elements() as f64;
    let sum = |of: fn(&Tried) -> f64| tried.iter().map(|(weight, t)| weight * of(t)).sum::<f64>();
    let energy = sum(|t| t.energy);
    let of_energy = |x: f64| if energy > 0.0 { x / energy * moments.energy } else { 0.0 };
    // What a table knows of pruning is exact; only the rest is extrapolated.
    let known = case.cut.map(|cut| case.profile.table.below(cut));
    let rest = |t: &Tried| t.squared_error - t.pruned_error;
    // A plain symmetric grid of the same width is known for the whole tensor, and errors of survivors, or of a grid with a
    // zero point, go with it far more closely than with energy.
    let plain = plain_error(case).filter(|_| tried.iter().all(|(_, t)| t.plain_error > 0.0));
    let against = |t: &Tried| if plain.is_some() { t.plain_error } else { t.energy };
    let pairs = |top: &dyn Fn(&Tried) -> f64, bottom: &dyn Fn(&Tried) -> f64| -> Vec<(f64, f64)> {
        tried.iter().map(|(weight, t)| (weight * top(t), weight * bottom(t))).collect()
    };
    let grid = ratio(&pairs(&rest, &against)).of(plain.unwrap_or(moments.energy));
    let pruned = match known {
        Some((_, energy)) => Ratio { value: energy.min(moments.energy), error: 0.0 },
        None => ratio(&pairs(&|t| t.pruned_error, &|t| t.energy)).of(moments.energy),
    };
    let squared_error = grid.value + pruned.value;
    let absolute = grid.error.hypot(pruned.error).hypot(case.other_clip() * grid.value);
    let pruned = pruned.value;
    // How many were zero before is known; of the others a share is zero now.
    let (lost, others) = (sum(|t| t.zeros - t.blank), sum(|t| t.elements - t.blank));
    let before = moments.zeros as f64;
    let zeros = before + if others > 0.0 { lost / others * (n - before) } else { 0.0 };
    let zeros = zeros.max(known.map_or(0.0, |(gone, _)| gone));
    Answer {
        squared_error,
        pruned_error: pruned,
        clipped_error: of_energy(sum(|t| t.clipped_error)),
        energy_after: of_energy(sum(|t| t.energy_after)),
        zeros,
        code_bits: (!counts.is_empty()).then(|| entropy_of(grown(counts, levels::zero_symbol(case.scheme), n, zeros))),
        error: Some(if squared_error > 0.0 { absolute / squared_error } else { 0.0 }),
        sampled: true,
    }
}

/// Counts of drawn codes grown to `n` elements, of which `zeros` have the code that reads 0, where there is one.
fn grown(counts: Vec<f64>, zero: Option<usize>, n: f64, zeros: f64) -> impl Iterator<Item = f64> {
    let of_zero = zero.and_then(|zero| counts.get(zero)).copied().unwrap_or_default();
    let (others, left) = (counts.iter().sum::<f64>() - of_zero, n - if zero.is_some() { zeros } else { 0.0 });
    let scale = if others > 0.0 { left / others } else { 0.0 };
    counts.into_iter().enumerate().map(move |(code, count)| if Some(code) == zero { zeros } else { count * scale })
}

/// Groups of which codes are counted.
const CODED: usize = 48;

/// An integer grid with a range of its own per group or row, in one pass; `None` where the long way has to be taken.
fn try_fast(case: &Case<'_>, sample: &Sample, i: usize, segment: &Segment, bench: &mut Bench) -> Option<Tried> {
    let Some(Quantize::Int { bits, unit, asymmetric, range: Range::Max, .. }) = &case.scheme.quantize else {
        return None;
    };
    if case.is_read_by_bias() {
        return None;
    }
    let moments = &case.profile.moments;
    let source = sample.values_of(segment);
    let wide = matches!(case.tensor.dtype, Dtype::F32 | Dtype::F64);
    let rounded = case.target.is_dense() && !wide;
    if rounded && case.tensor.dtype != Dtype::BF16 {
        return None;
    }
    let threshold = match (&case.scheme.prune, case.cut) {
        (None, _) => 0.0,
        (_, Some(cut)) if case.profile.table.is_tied(cut) && case.profile.table.at(cut) * MANY < moments.finite => {
            // What stands at the threshold goes or stays together here; what pruning costs comes from the table anyway.
            let at = case.profile.table.magnitude(cut) as f32;
            if cut.share >= 0.5 { at.next_up() } else { at }
        }
        (_, Some(cut)) if !case.profile.table.is_tied(cut) => case.profile.table.magnitude(cut) as f32,
        (Some(Prune::Magnitude { share, .. }), None) => {
            let threshold = row_threshold(case, sample, i, source, share.to_f64(), &mut bench.sorted);
            if ties_share(source, threshold, share.to_f64()) > 0.0 {
                return None;
            }
            threshold
        }
        _ => return None,
    };
    let extent = if let Unit::Group(_) = unit { None } else { Some(extent(case, segment, *unit, source)) };
    let size = if let Unit::Group(size) = unit { *size } else { source.len().max(1) };
    let wanted = Wanted { threshold, size, extent, bits: *bits, asymmetric: *asymmetric, to_bf16: rounded };
    bench.codes.clear();
    bench.codes.resize(if i < CODED { source.len() } else { 0 }, 0);
    let mut tried = survey(source, wanted, &mut bench.codes)?;
    if *asymmetric {
        let peak = extent.map(Extent::abs_max);
        tried.plain_error = symmetric_error(source, size, (1 << (bits - 1)) - 1, peak);
    }
    for &code in &bench.codes {
        bench.counts[(code + GRID_ZERO) as usize] += segment.weight;
    }
    Some(tried)
}

/// Σ(w − q)² of the symmetric grid of the case's width on the whole tensor without pruning, where the profile knows it.
fn plain_error(case: &Case<'_>) -> Option<f64> {
    let Some(Quantize::Int { bits, unit, range: Range::Max, .. }) = case.scheme.quantize else { return None };
    let grain = Grain::of(unit).filter(|_| !case.profile.coarse)?;
    let known = case.profile.grids[grain as usize].get(bits as usize - 2).copied()??;
    match rounding(case.tensor, case.target) {
        Rounding::None => Some(known.squared_error),
        Rounding::Measured => Some(known.squared_error * (1.0 + case.profile.checks.dense(grain, bits).0)),
        Rounding::Other => None,
    }
}

fn try_one(case: &Case<'_>, sample: &Sample, i: usize, segment: &Segment, bench: &mut Bench) -> Option<Tried> {
    prune(case, sample, i, segment, bench)?;
    let source = sample.values_of(segment);
    bench.clipped = 0.0;
    quantize(case, sample, i, segment, bench)?;
    let mut out = Tried { elements: source.len() as f64, clipped_error: bench.clipped, ..Tried::default() };
    for ((&w, &p), &q) in source.iter().zip(&bench.pruned).zip(&bench.result) {
        let (w, q) = (f64::from(w), f64::from(q));
        let square = (w - q) * (w - q);
        out.energy += w * w;
        out.squared_error += square;
        out.pruned_error += if p == 0.0 { square } else { 0.0 };
        out.energy_after += q * q;
        out.zeros += f64::from(u8::from(q == 0.0));
    }
    Some(out)
}

/// The values of drawn groups after pruning, each with how many elements it stands for.
pub(super) fn survivors(case: &Case<'_>) -> Option<Vec<(f32, f64)>> {
    let sample = case.profile.sample.as_ref()?;
    let mut bench = Bench::default();
    let mut out = Vec::new();
    for (i, segment) in sample.segments.iter().enumerate().take(usable(case, sample)) {
        prune(case, sample, i, segment, &mut bench)?;
        out.extend(bench.pruned.iter().map(|&w| (w, segment.weight)));
    }
    Some(out)
}

/// What pruning leaves of a drawn group, and where it cut.
pub(super) fn prune(case: &Case<'_>, sample: &Sample, i: usize, segment: &Segment, bench: &mut Bench) -> Option<()> {
    let source = sample.values_of(segment);
    bench.pruned.clear();
    bench.pruned.extend_from_slice(source);
    match (&case.scheme.prune, case.cut) {
        (None, _) => bench.threshold = 0.0,
        (_, Some(cut)) => {
            let table = &case.profile.table;
            let share = if table.is_tied(cut) { cut.share } else { 0.0 };
            bench.threshold = table.magnitude(cut) as f32;
            prune_at(&mut bench.pruned, bench.threshold, share, &mut bench.ties);
        }
        (Some(Prune::Magnitude { share, .. }), None) => {
            let threshold = row_threshold(case, sample, i, source, share.to_f64(), &mut bench.sorted);
            let ties = ties_share(source, threshold, share.to_f64());
            bench.threshold = threshold;
            prune_at(&mut bench.pruned, threshold, ties, &mut bench.ties);
        }
        _ => return None,
    }
    Some(())
}

/// Zeroes what lies below a threshold, and `share` of what stands at it: every so many of them, so that all groups together
/// lose the share.
fn prune_at(values: &mut [f32], threshold: f32, share: f64, ties: &mut f64) {
    for value in values.iter_mut() {
        let magnitude = value.abs();
        let mut goes = magnitude < threshold;
        if magnitude == threshold && share > 0.0 {
            *ties += share;
            goes = *ties >= 1.0;
            *ties -= if goes { 1.0 } else { 0.0 };
        }
        if goes {
            *value = 0.0;
        }
    }
}

/// One element in this many at a threshold is a few; more are ties that matter.
pub(super) const MANY: u64 = 50;

/// Which share of the elements right at a row's threshold goes, where they are many: the group then loses its share.
fn ties_share(source: &[f32], threshold: f32, share: f64) -> f64 {
    let below = source.iter().filter(|w| w.abs() < threshold).count() as f64;
    let at = source.iter().filter(|w| w.abs() == threshold && threshold > 0.0).count() as f64;
    let n = source.len() as f64;
    if at * (MANY as f64) < n || at < 2.0 { 0.0 } else { ((share * n - below) / at).clamp(0.0, 1.0) }
}

/// Where a row's own pruning cuts. A row no longer than a group is ranked as it is; a longer one by its quantiles.
fn row_threshold(case: &Case<'_>, sample: &Sample, i: usize, source: &[f32], share: f64, sorted: &mut Vec<u32>) -> f32 {
    if case.tensor.geometry().cols > source.len() {
        return sample.row_quantile(i, share);
    }
    sorted.clear();
    sorted.extend(source.iter().map(|v| v.abs().to_bits()));
    sorted.sort_unstable();
    let k = (share * source.len() as f64 + 0.5).floor() as usize;
    // Everything below the first that stays.
    sorted.get(k).map_or(f32::INFINITY, |&key| f32::from_bits(key))
}

fn quantize(case: &Case<'_>, sample: &Sample, i: usize, segment: &Segment, bench: &mut Bench) -> Option<()> {
    bench.result.clear();
    match &case.scheme.quantize {
        None => bench.result.extend_from_slice(&bench.pruned),
        Some(Quantize::F16) => cast(bench, segment, Dtype::F16)?,
        Some(Quantize::Bf16) => cast(bench, segment, Dtype::BF16)?,
        Some(Quantize::Fp8 { e5m2, row: false }) => {
            cast(bench, segment, if *e5m2 { Dtype::F8_E5M2 } else { Dtype::F8_E4M3 })?;
        }
        Some(_) => put_on_levels(case, sample, i, segment, bench)?,
    }
    Some(())
}

/// The pruned values of a group on the levels of their units.
fn put_on_levels(case: &Case<'_>, sample: &Sample, i: usize, segment: &Segment, bench: &mut Bench) -> Option<()> {
    let n = bench.pruned.len();
    bench.codes.clear();
    bench.codes.resize(n, 0);
    bench.result.resize(n, 0.0);
    let unit = levels::unit_of(case.scheme)?;
    let size = if let Unit::Group(size) = unit { size } else { n.max(1) };
    // What the value table says of the whole tensor is the same for every group.
    let whole = if unit == Unit::Tensor { Some(bench.whole.take().or_else(|| levels::whole(case))?) } else { None };
    for start in (0..n).step_by(size) {
        let piece = start..(start + size).min(n);
        let values = &bench.pruned[piece.clone()];
        let levels = match (&whole, &case.scheme.quantize) {
            (Some(whole), _) => whole.clone(),
            (None, Some(Quantize::Int { bits, asymmetric, range, .. })) => {
                let extent = match range {
                    Range::Max => extent(case, segment, unit, values),
                    Range::Percentile(q) => percentile(case, sample, i, unit, values, q.to_f64(), &mut bench.sorted),
                    Range::Mse => searched(case, sample, (i, segment), values, bench.threshold, &mut bench.units)?,
                };
                // A bias is rounded to the tensor's dtype, and so is the scale that it is a multiple of.
                let scale = if case.is_read_by_bias() { case.target.scale_format(case.tensor.dtype) } else { None };
                let wanted = clip::Wanted { scale, ..clip::Wanted::new(*bits, *asymmetric) };
                Levels::Grid(wanted.over(extent)?)
            }
            (None, _) => levels::of_group(case, sample, (i, segment), values, bench.threshold)?,
        };
        bench.scales.extend(levels.scale().map(|scale| (f64::from(scale), segment.weight)));
        levels.quantize(values, &mut bench.codes[piece.clone()], &mut bench.result[piece.clone()]);
        if let (true, Levels::Grid(grid)) = (case.is_read_by_bias(), &levels) {
            let bias = affine::bias(grid.scale, grid.zero_point, case.tensor.dtype.small());
            for (q, &code) in bench.result[piece.clone()].iter_mut().zip(&bench.codes[piece.clone()]) {
                *q = affine::value(grid.scale, bias, code as u8);
            }
        }
        if case.scheme.is_clipped() {
            let beyond = values.iter().zip(&bench.result[piece.clone()]).filter(|(w, _)| levels.clips(**w));
            bench.clipped += beyond.map(|(w, q)| (f64::from(*w) - f64::from(*q)).powi(2)).sum::<f64>();
        }
        for &code in &bench.codes[piece] {
            bench.counts[levels.symbol(code)] += segment.weight;
        }
    }
    bench.whole = whole;
    let wide = matches!(case.tensor.dtype, Dtype::F32 | Dtype::F64);
    if case.target.is_dense() && !wide {
        bench.result.iter_mut().for_each(|q| *q = case.tensor.dtype.rounded(*q));
    }
    Some(())
}

fn cast(bench: &mut Bench, segment: &Segment, dtype: Dtype) -> Option<()> {
    let n = bench.pruned.len();
    bench.codes.resize(n, 0);
    bench.result.resize(n, 0.0);
    small::cast(dtype.small()?, &bench.pruned, &mut bench.codes[..n], &mut bench.result);
    if dtype.bits() == 8 {
        bench.codes[..n].iter().for_each(|&code| bench.counts[code as usize] += segment.weight);
    }
    Some(())
}

/// The range of a unit: the group's own, its row's, or the tensor's. Pruning takes the smallest, so an end is gone only
/// where everything is.
fn extent(case: &Case<'_>, segment: &Segment, unit: Unit, values: &[f32]) -> Extent<f32> {
    let moments = &case.profile.moments;
    let whole = match unit {
        Unit::Group(_) => return Extent::of(values),
        Unit::Row => Extent { low: segment.low, high: segment.high },
        Unit::Tensor => Extent { low: moments.min.min(0.0) as f32, high: moments.max.max(0.0) as f32 },
    };
    // Of a symmetric range pruning takes nothing unless it takes everything, and then there is nothing to round.
    let asymmetric = matches!(case.scheme.quantize, Some(Quantize::Int { asymmetric: true, .. }));
    let Some(cut) = case.cut.filter(|_| asymmetric) else { return whole };
    let threshold = case.profile.table.magnitude(cut) as f32;
    let alive = |end: f32| if end.abs() >= threshold { end } else { 0.0 };
    Extent { low: alive(whole.low), high: alive(whole.high) }
}

/// The clipped range with the least error: of a group sought on the spot, of a row as a look at it said, of the tensor as the
/// value table says.
fn searched(
    case: &Case<'_>,
    sample: &Sample,
    (i, segment): (usize, &Segment),
    values: &[f32],
    threshold: f32,
    units: &mut Vec<f32>,
) -> Option<Extent<f32>> {
    let Some(Quantize::Int { bits, unit, asymmetric, .. }) = case.scheme.quantize else { return None };
    let whole = extent(case, segment, unit, values);
    match unit {
        Unit::Tensor => from_table::range_of(case),
        Unit::Row if case.tensor.geometry().cols > values.len() => {
            let wanted = clip::Wanted::new(bits, asymmetric);
            let sought = || sample.looks.get(i).map(|look| look.clip(wanted, whole, threshold));
            let known = if threshold > 0.0 || asymmetric { sought()? } else { sample.clip(i, bits)? };
            Some(scaled(whole, known))
        }
        _ => least_error(values, clip::Wanted::new(bits, asymmetric), Extent::of(values), units),
    }
}

/// The range of a percentile of a unit's magnitudes, over what pruning leaves.
fn percentile(
    case: &Case<'_>,
    sample: &Sample,
    i: usize,
    unit: Unit,
    values: &[f32],
    percent: f64,
    sorted: &mut Vec<u32>,
) -> Extent<f32> {
    let pruned = case.scheme.prune.is_some();
    if unit == Unit::Row && case.tensor.geometry().cols > values.len() {
        let gone = case.scheme.pruned_share().map_or(0.0, crate::recipe::decimal::Decimal::to_f64);
        let clip = sample.row_quantile(i, gone + (1.0 - gone) * percent / 100.0);
        return Extent { low: -clip, high: clip };
    }
    sorted.clear();
    sorted.extend(values.iter().filter(|v| !pruned || **v != 0.0).map(|v| v.abs().to_bits()));
    sorted.sort_unstable();
    let place = sorted.len().saturating_sub(1) as f64 * percent / 100.0;
    let at = |i: usize| sorted.get(i).or(sorted.last()).map_or(0.0, |&key| f64::from(f32::from_bits(key)));
    let (low, high) = (at(place as usize), at(place as usize + 1));
    let clip = (low + (high - low) * place.fract()) as f32;
    Extent { low: -clip, high: clip }
}
