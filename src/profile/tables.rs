//! What grids come to that no sketch can say, tried once on drawn groups for every width, so that a dial is a look-up.
//!
//! | kind | pruned before |
//! |---|---|
//! | the full range, symmetric | not, or by one threshold at any of [`KNOTS`] |
//! | with a zero point; with a searched clip | not |
//!
//! Each cell is a ratio over drawn groups with its standard error (see `sample`): against the error of the plain symmetric
//! grid, which the sketch knows for the whole tensor and with which errors go closely, and against energy, where the
//! sketch may not be trusted.

use super::sample::{GROUP, Sample, Segment, ratio};
use super::{Grain, ValueTable};
use crate::kernels::clip::{Wanted, least_error, scaled};
use crate::kernels::quant::{Extent, Grid};

/// Widths: int2 to int8.
pub const WIDTHS: usize = 7;
/// Shares of the elements that are not 0 which are pruned in the table; between them is interpolated.
pub const KNOTS: [f64; 21] = [
    0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
    0.98,
];
/// Groups that are tried at least and at most.
const TRIED: std::ops::RangeInclusive<usize> = 32..=64;
/// One group is tried for this many elements of the tensor.
const ELEMENTS_A_GROUP: usize = 1 << 11;
/// Searches are dear: they try this many groups at most.
const SEARCHED: usize = 24;
/// Part of the difference between two ways to interpolate that counts as standard error.
const DOUBT: f32 = 0.2;
/// Levels of integer codes less their zero point lie within ±255.
const LEVELS: usize = 511;

/// How a grid of rows or groups is laid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Over the full range, about zero.
    Max,
    /// Over the full range, with a zero point.
    Asymmetric,
    /// Clipped where the squared error is least, about zero.
    Searched,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Max, Self::Asymmetric, Self::Searched];

    /// The kind with or without a search and a zero point; both together are too dear to be tried beforehand.
    #[must_use]
    pub const fn of(searched: bool, asymmetric: bool) -> Option<Self> {
        match (searched, asymmetric) {
            (false, false) => Some(Self::Max),
            (false, true) => Some(Self::Asymmetric),
            (true, false) => Some(Self::Searched),
            (true, true) => None,
        }
    }

    /// Its grid at a width.
    #[must_use]
    pub const fn wanted(self, bits: u32) -> Wanted {
        Wanted::new(bits, matches!(self, Self::Asymmetric))
    }

    const fn is_searched(self) -> bool {
        matches!(self, Self::Searched)
    }
}

/// What one grid came to on the drawn groups.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// Σ(w − q)² of what pruning left, over that of the plain symmetric grid without pruning, and its standard error; NaN
    /// where the plain grid loses nothing.
    pub against_plain: [f32; 2],
    /// The same over Σw².
    pub against_energy: [f32; 2],
    /// Σ(w − q)² beyond the end levels, as a share of that of all.
    pub clipped: f32,
    /// Σq² over Σw².
    pub after: f32,
    /// Share with q = 0 of the elements that are neither 0 nor pruned.
    pub zeros: f32,
    /// −Σ p·log2 p over the codes other than 0 of those elements.
    pub code_bits: f32,
    /// Of what is zeroed between the point before and this one, Σ(w − q)² as it was over Σw²: at most 1, and 1 below half a step.
    pub removed: f32,
}

/// Numbers in a [`Cell`].
pub const CELL: usize = 9;

impl Cell {
    /// Its numbers in order, for keeping.
    #[must_use]
    pub fn to_parts(self) -> [f32; CELL] {
        let ([a, b], [c, d]) = (self.against_plain, self.against_energy);
        [a, b, c, d, self.clipped, self.after, self.zeros, self.code_bits, self.removed]
    }

    /// The inverse of [`Cell::to_parts`].
    #[must_use]
    pub fn from_parts([a, b, c, d, clipped, after, zeros, code_bits, removed]: [f32; CELL]) -> Self {
        Self { against_plain: [a, b], against_energy: [c, d], clipped, after, zeros, code_bits, removed }
    }

    /// Between two cells: errors and energies at one share of the way, counts at another.
    fn between(self, other: Self, of_energy: f32, of_count: f32) -> Self {
        let (a, b) = (self.to_parts(), other.to_parts());
        let mix = |i: usize, t: f32| a[i] + (b[i] - a[i]) * t;
        let mut parts = std::array::from_fn(|i| mix(i, of_count));
        [0, 2, 5].iter().for_each(|&i| parts[i] = mix(i, of_energy));
        Self::from_parts(parts)
    }
}

/// Points of [`Tables::pruned`]: nothing pruned, the knots, everything.
const POINTS: usize = KNOTS.len() + 2;

/// The cells of one tensor.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Tables {
    /// By kind, grain, width.
    pub plain: Vec<Cell>,
    /// By grain, width, point: the full range, symmetric, after pruning.
    pub pruned: Vec<Cell>,
    /// Share of the elements that each point really prunes, zeros counted in: ties go together.
    pub shares: Vec<f32>,
    /// Share of Σw² that each point prunes.
    pub energies: Vec<f32>,
    /// By width: the best clip of the whole tensor in percent, symmetric.
    pub whole: [u8; WIDTHS],
}

/// Lengths of [`Tables::plain`], of [`Tables::pruned`], and of [`Tables::shares`] and [`Tables::energies`].
pub const LENGTHS: [usize; 3] =
    [Kind::ALL.len() * Grain::ALL.len() * WIDTHS, Grain::ALL.len() * WIDTHS * POINTS, POINTS];

impl Tables {
    /// A grid over rows or groups without pruning; `None` where it was refused.
    #[must_use]
    pub fn plain(&self, kind: Kind, grain: Grain, bits: u32) -> Option<Cell> {
        let place = (kind as usize * Grain::ALL.len() + grain as usize) * WIDTHS + bits.checked_sub(2)? as usize;
        self.plain.get(place).copied().filter(|cell| cell.after.is_finite())
    }

    /// The symmetric grid over the full range after `share` of the elements, zeros counted in, became zero; `energy` is the
    /// share of Σw² that they held.
    ///
    /// Between two points the error that pruning takes off the grid's own goes as the energy does that it zeroes, where the
    /// grid lost that anyway, and as the count of elements, where they were rounded: each counts by its part.
    #[must_use]
    pub fn pruned(&self, grain: Grain, bits: u32, share: f64, energy: f64) -> Option<Cell> {
        let start = (grain as usize * WIDTHS + bits.checked_sub(2)? as usize) * POINTS;
        let cells = self.pruned.get(start..start + POINTS)?;
        let (share, energy) = (share as f32, energy as f32);
        let right = self.shares.partition_point(|&known| known < share).clamp(1, POINTS - 1);
        let left = right - 1;
        let way =
            |from: f32, at: f32, to: f32| if to > from { ((at - from) / (to - from)).clamp(0.0, 1.0) } else { 1.0 };
        let count = way(*self.shares.get(left)?, share, *self.shares.get(right)?);
        let held = way(*self.energies.get(left)?, energy, *self.energies.get(right)?);
        let lost = cells[right].removed;
        let mut mix = cells[left].between(cells[right], lost * held + (1.0 - lost) * count, count);
        // Where the two ways disagree, the answer is not known better than a part of what lies between.
        let doubt = DOUBT * (held - count).abs();
        let widen = |mine: &mut [f32; 2], a: [f32; 2], b: [f32; 2]| mine[1] = mine[1].hypot(doubt * (a[0] - b[0]));
        widen(&mut mix.against_plain, cells[left].against_plain, cells[right].against_plain);
        widen(&mut mix.against_energy, cells[left].against_energy, cells[right].against_energy);
        Some(mix).filter(|cell| cell.after.is_finite())
    }

    /// Tries everything on the drawn groups of a tensor of `elements` elements whose value table is `table`.
    #[must_use]
    pub fn of(sample: &Sample, table: &ValueTable, elements: usize) -> Self {
        let (finite, zeros) = (table.finite().max(1) as f64, table.zeros as f64);
        let rank = |share: f64| (zeros + share * (finite - zeros)) as u64;
        let thresholds = KNOTS.map(|share| table.magnitude(table.cut(rank(share))) as f32);
        let mut shares = vec![(zeros / finite) as f32];
        shares.extend(thresholds.map(|t| (table.count_below(f64::from(t)) / finite) as f32));
        shares.push(1.0);
        let energy = |t: f32| (table.energy_below(f64::from(t)) / table.energy().max(f64::MIN_POSITIVE)) as f32;
        let energies = [0.0].into_iter().chain(thresholds.map(energy)).chain([1.0]).collect();
        let most = (elements / ELEMENTS_A_GROUP).clamp(*TRIED.start(), *TRIED.end());
        let segments = &sample.segments[..sample.segments.len().min(most)];
        let values = segments.last().map_or(&[][..], |last| &sample.values[..last.at.end]);
        let bucket = |w: &f32| thresholds.partition_point(|t| *t <= w.abs()) as u8;
        let buckets: Vec<u8> = values.iter().map(bucket).collect();
        let mut out = Self {
            plain: vec![REFUSED; LENGTHS[0]],
            pruned: Vec::with_capacity(LENGTHS[1]),
            shares,
            energies,
            whole: [100; WIDTHS],
        };
        let mut bench = Bench::default();
        for grain in Grain::ALL {
            for bits in 2..=8 {
                let mut plain_errors = Vec::new();
                for kind in Kind::ALL {
                    let trial = Trial { sample, segments, buckets: &buckets, kind, grain, bits };
                    let points = trial.run(&mut bench, &mut plain_errors).unwrap_or_else(|| vec![REFUSED; POINTS]);
                    out.plain[(kind as usize * Grain::ALL.len() + grain as usize) * WIDTHS + bits as usize - 2] =
                        points[0];
                    if kind == Kind::Max {
                        out.pruned.extend(points);
                    }
                }
            }
        }
        for bits in 2..=8 {
            let percent = table.best_clip(bits);
            out.whole[bits as usize - 2] = u8::try_from(percent).unwrap_or(100);
        }
        out
    }
}

/// A cell of a grid that did not fit its arithmetic.
const REFUSED: Cell = Cell {
    against_plain: [f32::NAN; 2],
    against_energy: [f32::NAN; 2],
    clipped: f32::NAN,
    after: f32::NAN,
    zeros: f32::NAN,
    code_bits: f32::NAN,
    removed: f32::NAN,
};

/// Buffers of the trials.
#[derive(Default)]
struct Bench {
    codes: Vec<i32>,
    results: Vec<f32>,
    units: Vec<f32>,
}

/// One kind of grid at one width, on groups or rows.
#[derive(Clone, Copy)]
struct Trial<'a> {
    sample: &'a Sample,
    segments: &'a [Segment],
    /// By element of the segments: how many knots it survives.
    buckets: &'a [u8],
    kind: Kind,
    grain: Grain,
    bits: u32,
}

/// Sums over what survives each point; of one drawn group, or weighted over all.
#[derive(Clone, Copy, Default)]
struct Sums {
    error: [f64; POINTS],
    after: [f64; POINTS],
    /// Elements with q = 0 among those that are left.
    zeros: [f64; POINTS],
    /// Elements that are left.
    alive: [f64; POINTS],
    /// Σw² of those.
    energy: [f64; POINTS],
}

impl Sums {
    fn parts(&mut self) -> [&mut [f64; POINTS]; 5] {
        [&mut self.error, &mut self.after, &mut self.zeros, &mut self.alive, &mut self.energy]
    }
}

impl Trial<'_> {
    /// The cells of all points (of the first alone, where nothing but the plain grid is asked for). `plain_errors` are
    /// filled by [`Kind::Max`], which comes first, and used by the others. `None` when a step does not fit.
    fn run(&self, bench: &mut Bench, plain_errors: &mut Vec<f64>) -> Option<Vec<Cell>> {
        let points = if self.kind == Kind::Max { POINTS } else { 1 };
        let most = match (self.kind.is_searched(), self.grain) {
            // Their clips are known already.
            (true, Grain::Row) => self.sample.clipped(),
            (true, _) => SEARCHED,
            _ => usize::MAX,
        };
        let mut counts = vec![[0.0_f64; LEVELS]; points];
        let mut pairs = vec![[Vec::new(), Vec::new()]; points];
        let (mut total, mut energy, mut clipped) = (Sums::default(), 0.0, 0.0);
        for (i, segment) in self.segments.iter().take(most).enumerate() {
            let source = self.sample.values_of(segment);
            clipped += segment.weight * self.lay(i, segment, source, bench)?;
            let own: f64 = source.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
            let mut sums = self.sum_up(segment, source, bench, &mut counts);
            if self.kind == Kind::Max {
                plain_errors.push(sums.error[0]);
            }
            let plain = plain_errors.get(i).copied().unwrap_or_default();
            energy += segment.weight * own;
            for (point, pairs) in pairs.iter_mut().enumerate() {
                pairs[0].push((segment.weight * sums.error[point], segment.weight * plain));
                pairs[1].push((segment.weight * sums.error[point], segment.weight * own));
            }
            for (total, own) in total.parts().into_iter().zip(sums.parts()) {
                total.iter_mut().zip(own).for_each(|(sum, own)| *sum += segment.weight * *own);
            }
        }
        survivors(&mut counts);
        let of = |sum: f64, whole: f64| if whole > 0.0 { (sum / whole) as f32 } else { 0.0 };
        let removed = |point: usize| {
            let Some(before) = point.checked_sub(1) else { return 1.0 };
            let (energy, error) =
                (total.energy[before] - total.energy[point], total.error[before] - total.error[point]);
            if energy > 0.0 { (error / energy).clamp(0.0, 1.0) as f32 } else { 1.0 }
        };
        let cell = |point: usize| {
            let [plain, against_energy] = pairs[point].each_ref().map(|pairs| {
                let found = ratio(pairs);
                let known = pairs.iter().any(|pair| pair.1 > 0.0);
                if known { [found.value as f32, found.error as f32] } else { [f32::NAN; 2] }
            });
            Cell {
                against_plain: plain,
                against_energy: if energy > 0.0 { against_energy } else { [0.0; 2] },
                clipped: of(clipped, total.error[0]),
                after: of(total.after[point], energy),
                zeros: if total.alive[point] > 0.0 { of(total.zeros[point], total.alive[point]) } else { 1.0 },
                code_bits: of_codes(&counts[point], total.alive[point]),
                removed: removed(point),
            }
        };
        let mut cells: Vec<Cell> = (0..points).map(cell).collect();
        // Where nothing is left, what was last left says what a share of it would be.
        for point in (1..points).filter(|&point| total.alive[point] == 0.0) {
            (cells[point].zeros, cells[point].code_bits) = (cells[point - 1].zeros, cells[point - 1].code_bits);
        }
        (!self.segments.is_empty() && most > 0).then_some(cells)
    }

    /// Fills in codes and results of one drawn group; gives Σ(w − q)² beyond the end levels.
    fn lay(&self, i: usize, segment: &Segment, source: &[f32], bench: &mut Bench) -> Option<f64> {
        let wanted = self.kind.wanted(self.bits);
        let n = source.len();
        bench.codes.resize(n, 0);
        bench.results.resize(n, 0.0);
        let mut clipped = 0.0;
        let size = self.grain.size().unwrap_or(n).max(1);
        for start in (0..n).step_by(size) {
            let piece = start..(start + size).min(n);
            let values = &source[piece.clone()];
            let extent = self.extent(i, segment, values, &mut bench.units)?;
            let grid = Grid::new(wanted.bits, wanted.asymmetric, extent)?;
            let (codes, results) = (&mut bench.codes[piece.clone()], &mut bench.results[piece]);
            grid.quantize(values, codes, results);
            codes.iter_mut().for_each(|code| *code -= grid.zero_point);
            if self.kind.is_searched() {
                clipped += beyond(values, results, &grid);
            }
        }
        Some(clipped)
    }

    fn extent(&self, i: usize, segment: &Segment, values: &[f32], units: &mut Vec<f32>) -> Option<Extent<f32>> {
        let whole = Extent { low: segment.low, high: segment.high };
        match (self.grain, self.kind.is_searched()) {
            // A row that is no longer than a group is there whole.
            (Grain::Row, true) if values.len() == GROUP => Some(scaled(whole, self.sample.clip(i, self.bits)?)),
            (Grain::Row, false) => Some(whole),
            (_, false) => Some(Extent::of(values)),
            (_, true) => least_error(values, self.kind.wanted(self.bits), Extent::of(values), units),
        }
    }

    /// Sums of one drawn group by what survives each point; counts its codes, weighted, between points.
    fn sum_up(&self, segment: &Segment, source: &[f32], bench: &Bench, counts: &mut [[f64; LEVELS]]) -> Sums {
        let mut sums = Sums::default();
        let buckets = &self.buckets[segment.at.clone()];
        let last = counts.len() - 1;
        for (((&w, &q), &code), &bucket) in source.iter().zip(&bench.results).zip(&bench.codes).zip(buckets) {
            if w == 0.0 {
                continue;
            }
            let bucket = usize::from(bucket).min(last);
            let (w, q) = (f64::from(w), f64::from(q));
            sums.error[bucket] += (w - q) * (w - q);
            sums.after[bucket] += q * q;
            sums.zeros[bucket] += f64::from(u8::from(q == 0.0));
            sums.alive[bucket] += 1.0;
            sums.energy[bucket] += w * w;
            counts[bucket][(code + 255) as usize] += segment.weight;
        }
        // What survives a point survives all points before it.
        for part in sums.parts() {
            for point in (0..last).rev() {
                part[point] += part[point + 1];
            }
        }
        sums
    }
}

/// Adds up what survives each point from what stands between two.
fn survivors(counts: &mut [[f64; LEVELS]]) {
    for point in (0..counts.len().saturating_sub(1)).rev() {
        let (mine, above) = counts.split_at_mut(point + 1);
        mine[point].iter_mut().zip(&above[0]).for_each(|(a, b)| *a += b);
    }
}

/// −Σ p·log2 p over the codes other than 0, p counted among `alive`.
fn of_codes(counts: &[f64; LEVELS], alive: f64) -> f32 {
    let counts = counts.iter().enumerate().filter(|&(code, &count)| code != LEVELS / 2 && count > 0.0);
    counts.map(|(_, count)| count / alive * (alive / count).log2()).sum::<f64>() as f32
}

/// Σ(w − q)² of what lies beyond the end levels.
fn beyond(values: &[f32], results: &[f32], grid: &Grid<f32>) -> f64 {
    let clipped = values.iter().zip(results).filter(|(w, _)| grid.clips(**w));
    clipped.map(|(&w, &q)| (f64::from(w) - f64::from(q)).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::table::{Counts, SIGNED};

    fn drawn(n: usize) -> (Sample, ValueTable) {
        let values: Vec<f32> = (0..n as u32)
            .map(|i| {
                let u = f64::from(i.wrapping_mul(2_654_435_761) >> 8) / 16_777_216.0 - 0.5;
                // Groups of different range, as weights have: one for all would put all on the same levels.
                let range = 1.0 + f64::from(i / 128 * 5 % 13) / 7.0;
                if i % 9 == 4 { 0.0 } else { (u * u * u * range) as f32 }
            })
            .collect();
        let mut counts = Counts::default();
        counts.add(&values);
        let mut sum = vec![0; SIGNED];
        counts.add_to(&mut sum);
        let zeros = values.iter().filter(|w| **w == 0.0).count() as u64;
        let segment = |start: usize| Segment { at: start..start + GROUP, weight: 1.0, low: -0.34, high: 0.34 };
        let segments = (0..n).step_by(GROUP).map(segment).collect();
        (Sample { segments, values, ..Sample::default() }, ValueTable::new(&sum, false, zeros))
    }

    /// Every drawn group quantized by the definition after everything below a threshold became zero.
    fn specification(sample: &Sample, size: usize, wanted: Wanted, threshold: f32) -> (f64, f64, f64) {
        let (mut error, mut after, mut zeros, mut alive) = (0.0, 0.0, 0.0, 0.0);
        for group in sample.values.chunks(size) {
            let grid = Grid::new(wanted.bits, wanted.asymmetric, Extent::of(group)).unwrap();
            for &w in group {
                let gone = w.abs() < threshold;
                let q = if gone { 0.0 } else { grid.value(grid.code(w)) };
                error += if gone { 0.0 } else { (f64::from(w) - f64::from(q)).powi(2) };
                after += f64::from(q) * f64::from(q);
                let lives = !gone && w != 0.0;
                zeros += f64::from(u8::from(lives && q == 0.0));
                alive += f64::from(u8::from(lives));
            }
        }
        (error, after, zeros / alive)
    }

    #[test]
    fn every_cell_is_what_trying_it_gives() {
        let (sample, table) = drawn(64 * GROUP);
        let tables = Tables::of(&sample, &table, 1 << 20);
        assert_eq!([tables.plain.len(), tables.pruned.len(), tables.shares.len()], LENGTHS);
        assert_eq!(tables.energies.len(), LENGTHS[2]);
        let energy: f64 = sample.values.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
        let n = sample.values.len() as f64;
        let near = |a: f32, b: f64| (f64::from(a) - b).abs() <= 1e-5 * b.abs() + 1e-7;
        for (grain, size) in [(Grain::G32, 32), (Grain::G128, 128)] {
            for bits in [2, 4, 8] {
                let plain = specification(&sample, size, Kind::Max.wanted(bits), 0.0);
                for kind in [Kind::Max, Kind::Asymmetric] {
                    let (error, after, zeros) = specification(&sample, size, kind.wanted(bits), 0.0);
                    let cell = tables.plain(kind, grain, bits).unwrap();
                    assert!(near(cell.against_energy[0], error / energy) && near(cell.after, after / energy));
                    assert!(near(cell.against_plain[0], error / plain.0) && near(cell.zeros, zeros));
                }
                let searched = tables.plain(Kind::Searched, grain, bits).unwrap();
                assert!(searched.against_plain[0] <= 1.0 + 1e-6, "{searched:?}");
                for share in [0.13, 0.3, 0.5, 0.87, 0.96] {
                    let threshold = table.magnitude(table.cut((share * n) as u64)) as f32;
                    let gone = sample.values.iter().filter(|w| w.abs() < threshold).count() as f64 / n;
                    let (error, _, zeros) = specification(&sample, size, Kind::Max.wanted(bits), threshold);
                    let below = |w: &&f32| w.abs() < threshold;
                    let held: f64 = sample.values.iter().filter(below).map(|&w| f64::from(w).powi(2)).sum();
                    let cell = tables.pruned(grain, bits, gone, held / energy).unwrap();
                    let off = (f64::from(cell.against_plain[0]) - error / plain.0).abs();
                    assert!(off < 6.0 * f64::from(cell.against_plain[1]) + 1e-3, "int{bits} {share}: {off}");
                    assert!((f64::from(cell.zeros) - zeros).abs() < 2e-2, "int{bits} {share}: {zeros} {cell:?}");
                }
                let all = tables.pruned(grain, bits, 1.0, 1.0).unwrap();
                assert_eq!(all.against_energy[0], 0.0);
            }
        }
    }

    #[test]
    fn zeros_alone_lose_nothing() {
        let sample = Sample {
            segments: vec![Segment { at: 0..GROUP, weight: 9.0, low: 0.0, high: 0.0 }],
            values: vec![0.0; GROUP],
            ..Sample::default()
        };
        let mut counts = vec![0; SIGNED];
        counts[0] = 1152;
        let tables = Tables::of(&sample, &ValueTable::new(&counts, false, 1152), 1152);
        let cell = tables.plain(Kind::Max, Grain::G64, 4).unwrap();
        assert_eq!((cell.against_energy, cell.zeros, cell.code_bits), ([0.0; 2], 1.0, 0.0));
        assert!(cell.against_plain[0].is_nan());
    }
}
