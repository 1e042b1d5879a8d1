//! Pruning that no threshold decides: N of M, blocks, chance.
//!
//! | scheme | answered from |
//! |---|---|
//! | `random:P` | expected values: a share P of the energy goes, give or take what chance may do |
//! | `nm:N:M` | drawn groups, ranked as the exact pass ranks |
//! | `block:HxW:P` | drawn tiles; blocks larger than a tile wait for the exact pass |
//! | `mask:FILE` | nothing: the file would have to be read |
//!
//! What quantizing the rest costs is known for the whole tensor without pruning; drawn data tell only which part of that is left.
//! Levels that hang on which elements survive (zero points, searched and percentile ranges, codebooks) wait for the exact pass.

use super::{Answer, Case, entropy_of, from_table};
use crate::kernels::among::keep_largest;
use crate::kernels::layout::{Geometry, Unit};
use crate::kernels::trial::symmetric_error;
use crate::profile::sample::{GROUP, Ratio, ratio};
use crate::profile::tiles::{MOST, Tiles};
use crate::recipe::{Decimal, Prune, Quantize, Range, Scheme};

/// What drawn data say of a pruning: of energy, of what a plain grid costs, of elements.
struct Picked {
    /// Σw² of what goes, and its standard error.
    pruned: Ratio,
    /// The part of the plain grid's error that stays.
    rest: Ratio,
    /// The part of the survivors that the grid makes 0.
    lost: f64,
    /// Elements that pruning zeroes or finds zero.
    gone: f64,
    /// Whether it stands on drawn data.
    sampled: bool,
}

/// Whether a scheme's pruning is one of these.
pub(super) fn is_picked(scheme: &Scheme) -> bool {
    matches!(scheme.prune, Some(Prune::Nm { .. } | Prune::Block { .. } | Prune::Random { .. }))
}

/// The answer; `None` where only the exact pass has one.
pub(super) fn answer(case: &Case<'_>) -> Option<Answer> {
    let plain_scheme = case.scheme.clone().with_prune(None);
    let plain = match &case.scheme.quantize {
        None => Answer { energy_after: case.profile.moments.energy, ..Answer::default() },
        Some(Quantize::F16 | Quantize::Bf16) => {
            from_table::answer(&Case { scheme: &plain_scheme, cut: None, ..*case })?
        }
        Some(Quantize::Int { asymmetric: false, range: Range::Max, .. }) => {
            Case { scheme: &plain_scheme, cut: None, ..*case }.answer()?
        }
        Some(_) => return None,
    };
    let picked = match &case.scheme.prune {
        Some(Prune::Random { share, .. }) => by_chance(case, *share)?,
        Some(Prune::Nm { n, m }) => among(case, *n as usize, *m as usize)?,
        Some(Prune::Block { height, width, share }) => in_blocks(case, (*height as usize, *width as usize), *share)?,
        _ => return None,
    };
    Some(join(case, &plain, &picked))
}

/// What is left of a plain answer when so much goes.
fn join(case: &Case<'_>, plain: &Answer, picked: &Picked) -> Answer {
    let moments = &case.profile.moments;
    let n = case.tensor.elements() as f64;
    let pruned = Ratio { value: picked.pruned.value.min(moments.energy), ..picked.pruned };
    let rest = picked.rest.of(plain.squared_error);
    let squared_error = pruned.value + rest.value;
    let own = plain.error.unwrap_or(0.0) * rest.value;
    let alive = (n - picked.gone).max(0.0);
    let zeros = picked.gone + picked.lost * alive;
    // Codes of survivors are taken as spread like those of all; their zeros as counted.
    let code_bits = plain.code_bits.map(|bits| {
        let before = (n - plain.zeros).max(1.0);
        let among_nonzero = (bits - entropy_of([plain.zeros, n - plain.zeros])).max(0.0);
        entropy_of([zeros, n - zeros]) + among_nonzero / before * (n - zeros)
    });
    let absolute = pruned.error.hypot(rest.error).hypot(own);
    Answer {
        squared_error,
        pruned_error: pruned.value,
        clipped_error: 0.0,
        energy_after: (moments.energy - pruned.value).max(0.0) + rest.value * after_per_error(plain, moments.energy),
        zeros,
        code_bits,
        error: Some(if squared_error > 0.0 { absolute / squared_error } else { 0.0 }),
        sampled: picked.sampled || plain.sampled,
    }
}

/// How much a plain grid changes Σq² for each unit of its error.
fn after_per_error(plain: &Answer, energy: f64) -> f64 {
    if plain.squared_error > 0.0 { (plain.energy_after - energy) / plain.squared_error } else { 0.0 }
}

/// Chance takes everything in the same proportion. Of a grid whose units are small the ends may go: those wait.
fn by_chance(case: &Case<'_>, share: Decimal) -> Option<Picked> {
    if let Some(Quantize::Int { .. }) = case.scheme.quantize {
        return None;
    }
    let moments = &case.profile.moments;
    let finite = moments.finite as f64;
    let taken = share.share_of(moments.finite) as f64;
    let p = if finite > 0.0 { taken / finite } else { 0.0 };
    // The variance of a sum over k of n elements, drawn without replacement (Cochran 1977, §2.5).
    let fourth: f64 = case
        .profile
        .table
        .iter()
        .map(|(low, high, positive, negative)| f64::midpoint(low, high).powi(4) * (positive + negative) as f64)
        .sum();
    let variance = p * (1.0 - p) * (fourth - moments.energy * moments.energy / finite.max(1.0)).max(0.0);
    let relative = if moments.energy > 0.0 { variance.sqrt() / moments.energy } else { 0.0 };
    let zeros = moments.zeros as f64;
    Some(Picked {
        pruned: Ratio { value: p, error: relative }.of(moments.energy),
        rest: Ratio { value: 1.0 - p, error: relative },
        lost: 0.0,
        gone: zeros + p * (finite - zeros),
        sampled: false,
    })
}

/// The largest N of each M of drawn groups. What is left over of a group at its end is no tail of the row, unless it is the row.
fn among(case: &Case<'_>, n: usize, m: usize) -> Option<Picked> {
    let sample = case.profile.sample.as_ref()?;
    let segments = &sample.segments[..sample.segments.len().min(case.tried)];
    let cols = case.tensor.geometry().cols;
    let mut parts = Parts::default();
    let (mut left, mut keys) = (Vec::new(), Vec::new());
    for segment in segments {
        let source = sample.values_of(segment);
        let source = if source.len() < cols { &source[..source.len() / m * m] } else { source };
        left.clear();
        left.extend_from_slice(source);
        keep_largest(&mut left, n, m, &mut keys);
        let peak = segment.high.max(-segment.low);
        parts.add(case, segment.weight, (source, &left), (source.len().max(1), Some(peak)));
    }
    let pruned = ratio(&parts.energy).of(case.profile.moments.energy);
    parts.picked(case, pruned)
}

/// Tiles tried at least.
const FEWEST: usize = 12;

/// Blocks of drawn tiles: those below the quantile of all their energies go.
fn in_blocks(case: &Case<'_>, (height, width): (usize, usize), share: Decimal) -> Option<Picked> {
    let tiles = &case.profile.sample.as_ref()?.tiles;
    let cuts = Cuts::of(tiles, case.tensor.geometry(), height, width)?;
    // Of rows that are stretched by an outlier tiles know nothing.
    if matches!(case.scheme.quantize, Some(Quantize::Int { unit: Unit::Row, .. })) {
        return None;
    }
    // Where many tensors share a frame, every so many of them still stand all over the matrix.
    let wanted = (case.tried * GROUP / (tiles.rows * tiles.cols)).clamp(FEWEST, MOST);
    let covered: Vec<Vec<f32>> = tiles.iter().step_by(MOST / wanted).map(|tile| cuts.covered(tile)).collect();
    let blocks: Vec<Vec<f64>> = covered.iter().map(|tile| cuts.energies(tile)).collect();
    let mut sorted: Vec<f64> = blocks.concat();
    sorted.sort_by(f64::total_cmp);
    let total = sorted.len();
    let k = ((share.to_f64() * total as f64 + 0.5) as usize).min(total);
    let limit = if k == 0 { -1.0 } else { *sorted.get(k - 1)? };
    let (below, upto) = (sorted.partition_point(|e| *e < limit), sorted.partition_point(|e| *e <= limit));
    // Of many equal blocks a share goes, in every tile the same.
    let tied = if upto > below { (k - below) as f64 / (upto - below) as f64 } else { 0.0 };
    let (mut parts, mut energy, mut ties) = (Parts::default(), Vec::new(), 0.0);
    for (tile, energies) in covered.iter().zip(&blocks) {
        let mut left = tile.clone();
        let (mut gone, mut lost) = (0.0, 0.0);
        for (block, &own) in energies.iter().enumerate() {
            ties += if own == limit { tied } else { 0.0 };
            let goes = own < limit || (own == limit && ties >= 1.0);
            if goes {
                ties -= if own == limit { 1.0 } else { 0.0 };
                cuts.clear(block, &mut left);
                (gone, lost) = (gone + 1.0, lost + own);
            }
        }
        parts.add(case, 1.0, (tile, &left), (cuts.cols, None));
        // A quantile that is off by a little shifts every tile alike: what a tile says of the energy below it is corrected by
        // how many of its blocks lie there (the influence of a Lorenz ordinate). Outliers stay, so the sum goes with elements.
        let expected = k as f64 / total as f64 * energies.len() as f64;
        energy.push((lost + limit.max(0.0) * (expected - gone), tile.len() as f64));
    }
    let n = case.tensor.elements() as f64;
    parts.picked(case, ratio(&energy).of(n))
}

/// How tiles are cut into blocks.
struct Cuts {
    height: usize,
    width: usize,
    /// Rows and columns of a tile that blocks cover.
    rows: usize,
    cols: usize,
    /// Columns of a tile.
    stride: usize,
}

impl Cuts {
    /// The blocks of tiles of a matrix; `None` where tiles do not stand for it: blocks larger than a tile, or a matrix so narrow
    /// that the partial blocks at its edges count.
    fn of(tiles: &Tiles, matrix: Geometry, height: usize, width: usize) -> Option<Self> {
        /// Blocks side by side from which a partial one at the edge hardly counts.
        const MANY: usize = 32;
        let covered = |tile: usize, whole: usize, block: usize| {
            let fits = whole.is_multiple_of(block) || whole / block >= MANY;
            match () {
                // The tile reaches from edge to edge: its partial blocks are those of the matrix.
                () if tile == whole => Some(tile),
                () if block <= tile && fits => Some(tile / block * block),
                () => None,
            }
        };
        let (height, width) = (height.min(matrix.rows), width.min(matrix.cols));
        let (rows, cols) = (covered(tiles.rows, matrix.rows, height)?, covered(tiles.cols, matrix.cols, width)?);
        (rows * cols > 0).then_some(Self { height, width, rows, cols, stride: tiles.cols })
    }

    fn covered(&self, tile: &[f32]) -> Vec<f32> {
        tile.chunks_exact(self.stride).take(self.rows).flat_map(|row| &row[..self.cols]).copied().collect()
    }

    /// Blocks side by side.
    fn across(&self) -> usize {
        self.cols.div_ceil(self.width)
    }

    /// Σw² of the blocks of what is covered, row by row of blocks.
    fn energies(&self, covered: &[f32]) -> Vec<f64> {
        let mut sums = vec![0.0; self.rows.div_ceil(self.height) * self.across()];
        for (i, row) in covered.chunks_exact(self.cols).enumerate() {
            for (sum, piece) in sums[i / self.height * self.across()..].iter_mut().zip(row.chunks(self.width)) {
                *sum += piece.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>();
            }
        }
        sums
    }

    /// Zeroes a block.
    fn clear(&self, block: usize, covered: &mut [f32]) {
        let (top, side) = (block / self.across() * self.height, block % self.across() * self.width);
        for row in covered.chunks_exact_mut(self.cols).skip(top).take(self.height) {
            row[side..].iter_mut().take(self.width).for_each(|w| *w = 0.0);
        }
    }
}

/// Sums over drawn pieces, as pairs for ratios.
#[derive(Default)]
struct Parts {
    energy: Vec<(f64, f64)>,
    rest: Vec<(f64, f64)>,
    lost: f64,
    /// Elements that are not 0, before and after.
    before: f64,
    alive: f64,
}

impl Parts {
    /// Adds a piece, before and after pruning, that stands for `weight` such. A grid over rows or the tensor has the range
    /// `peak` where it is known, else that of `stretch` neighbours.
    fn add(
        &mut self,
        case: &Case<'_>,
        weight: f64,
        (source, left): (&[f32], &[f32]),
        (stretch, peak): (usize, Option<f32>),
    ) {
        let square = |w: &f32| f64::from(*w) * f64::from(*w);
        let (all, kept): (f64, f64) = (source.iter().map(square).sum(), left.iter().map(square).sum());
        self.energy.push((weight * (all - kept), weight * all));
        let survivors = left.iter().filter(|w| **w != 0.0).count() as f64;
        let before = source.iter().filter(|w| **w != 0.0).count() as f64;
        self.alive += weight * survivors;
        self.before += weight * before;
        let Some(Quantize::Int { bits, unit, .. }) = case.scheme.quantize else {
            return self.rest.push((weight * survivors, weight * before));
        };
        let top = (1_i32 << (bits - 1)) - 1;
        let whole = case.profile.moments.abs_max() as f32;
        let (size, peak) = match unit {
            Unit::Group(size) => (size.min(stretch), None),
            Unit::Row => (stretch, peak),
            Unit::Tensor => (stretch, Some(whole)),
        };
        let (mut plain, mut rest, mut lost) = (0.0, 0.0, 0.0);
        for (before, after) in source.chunks(stretch).zip(left.chunks(stretch)) {
            plain += symmetric_error(before, size, top, peak);
            rest += symmetric_error(after, size, top, peak);
            for (group, kept) in before.chunks(size).zip(after.chunks(size)) {
                let peak = peak.unwrap_or_else(|| group.iter().fold(0.0, |m: f32, w| m.max(w.abs())));
                let half = peak / top as f32 / 2.0;
                lost += kept.iter().filter(|w| **w != 0.0 && w.abs() <= half).count() as f64;
            }
        }
        self.rest.push((weight * rest, weight * plain));
        self.lost += weight * lost;
    }

    fn picked(&self, case: &Case<'_>, pruned: Ratio) -> Option<Picked> {
        if self.rest.is_empty() {
            return None;
        }
        // How many are 0 beforehand is known; of the others a share is 0 now.
        let n = case.tensor.elements() as f64;
        let nonzero = n - case.profile.moments.zeros as f64;
        let gone = n - if self.before > 0.0 { self.alive / self.before * nonzero } else { 0.0 };
        let lost = if self.alive > 0.0 { self.lost / self.alive } else { 0.0 };
        Some(Picked { pruned, rest: ratio(&self.rest), lost, gone, sampled: true })
    }
}
