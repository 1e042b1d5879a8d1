//! Ranges tighter than the maximum: the clip of least squared error among 81 candidates, and a percentile of the magnitudes.
//!
//! Outliers stretch a grid; giving them up leaves finer steps to everything else. Where that pays is found by trying: every
//! clip from 20 % to 100 % of the full range (as in Shin et al. 2015, and the search that most quantizers run). A first
//! look in f32 finds the few candidates that can win, a second one in the tensor's own arithmetic chooses among them, so
//! that the choice is the one that trying all of them slowly would make.

use super::Real;
use super::convert::SmallFloat;
use super::dispatch::{self, Kernel};
use super::quant::{Extent, Grid};
use super::trial::padded;

/// The tightest clip that is tried, in percent of the full range; the widest is 100.
pub const TIGHTEST: i32 = 20;
/// How many are tried: every whole percent between.
pub const CANDIDATES: usize = 81;
/// Candidates within this share of the best of the first look are looked at again: f32 sums are good to a tenth of it.
const MARGIN: f64 = 1e-4;
/// Sums kept side by side.
const LANES: usize = 16;
/// Values whose squares are summed in f32 before they go to f64.
const BLOCK: usize = 1024;

/// Place and percent of every candidate, the widest first.
fn widest_first() -> impl Iterator<Item = (usize, i32)> {
    (0..CANDIDATES).rev().map(|place| (place, TIGHTEST + place as i32))
}

/// A grid to be chosen: how many bits, with a zero point or without, and what its scale is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// 2 to 8.
    pub bits: u32,
    /// Whether it has a zero point.
    pub asymmetric: bool,
    /// The 16-bit format that its scale is rounded to; `None` where that keeps all its bits.
    pub scale: Option<SmallFloat>,
}

impl Wanted {
    /// A grid whose scale keeps all its bits.
    #[must_use]
    pub const fn new(bits: u32, asymmetric: bool) -> Self {
        Self { bits, asymmetric, scale: None }
    }

    /// The grid over `percent` of an extent; `None` when its step does not fit the arithmetic.
    #[must_use]
    pub fn grid<T: Real>(self, extent: Extent<T>, percent: i32) -> Option<Grid<T>> {
        self.over(scaled(extent, percent))
    }

    /// The grid over an extent; `None` when its step does not fit the arithmetic.
    #[must_use]
    pub fn over<T: Real>(self, extent: Extent<T>) -> Option<Grid<T>> {
        Grid::stored(self.bits, self.asymmetric, extent, self.scale)
    }
}

/// Both ends at `percent` of themselves: multiplied, then divided by 100, each rounded in the arithmetic of `T`.
#[must_use]
pub fn scaled<T: Real>(extent: Extent<T>, percent: i32) -> Extent<T> {
    let part = |end: T| end.mul(T::from_code(percent)).div(T::from_code(100));
    Extent { low: part(extent.low), high: part(extent.high) }
}

/// Σ(w − q)² on one grid, in f64.
struct Exact<'a, T> {
    values: &'a [T],
    grid: Grid<T>,
}

impl<T: Real> Kernel for Exact<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let grid = self.grid;
        if grid.scale == T::ZERO {
            return self.values.iter().map(|w| w.to_f64() * w.to_f64()).sum();
        }
        let mut lanes = [0.0_f64; LANES];
        let (whole, rest) = self.values.as_chunks::<LANES>();
        for values in whole {
            add_exact(values, grid, &mut lanes);
        }
        if !rest.is_empty() {
            // Zeros lose nothing on any grid.
            let mut padded = [T::ZERO; LANES];
            padded[..rest.len()].copy_from_slice(rest);
            add_exact(&padded, grid, &mut lanes);
        }
        lanes.iter().sum()
    }
}

#[inline(always)]
fn add_exact<T: Real>(values: &[T; LANES], grid: Grid<T>, lanes: &mut [f64; LANES]) {
    for lane in 0..LANES {
        let w = values[lane];
        let difference = w.to_f64() - grid.value(grid.level(w)).to_f64();
        lanes[lane] += difference * difference;
    }
}

/// Σ(u − q)² and what it is at least for all tighter candidates, for weights in units of the largest magnitude, in f32.
struct FirstLook<'a> {
    units: &'a [f32],
    step: f32,
    /// Lowest and highest level, zero point taken off.
    ends: [f32; 2],
    /// What lies beyond these is beyond the ends of every tighter candidate too.
    limits: [f32; 2],
}

impl Kernel for FirstLook<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run(self) -> [f64; 2] {
        let inverse = 1.0 / self.step;
        let mut sums = [0.0_f64; 2];
        for block in self.units.chunks(BLOCK) {
            let (mut all, mut beyond) = ([0.0_f32; LANES], [0.0_f32; LANES]);
            let (whole, rest) = block.as_chunks::<LANES>();
            for units in whole {
                self.look(units, inverse, &mut all, &mut beyond);
            }
            if !rest.is_empty() {
                self.look(&padded(rest), inverse, &mut all, &mut beyond);
            }
            sums[0] += f64::from(all.iter().sum::<f32>());
            sums[1] += f64::from(beyond.iter().sum::<f32>());
        }
        sums
    }
}

impl FirstLook<'_> {
    #[inline(always)]
    fn look(&self, units: &[f32; LANES], inverse: f32, all: &mut [f32; LANES], beyond: &mut [f32; LANES]) {
        /// 1.5·2²³: adding it leaves the nearest whole number.
        const MAGIC: f32 = 12_582_912.0;
        let ([lowest, highest], [low, high]) = (self.ends, self.limits);
        for lane in 0..LANES {
            let u = units[lane];
            let level = (u * inverse + MAGIC) - MAGIC;
            let level = if level > lowest { level } else { lowest };
            let level = if level < highest { level } else { highest };
            let difference = u - level * self.step;
            let inside = if u > low { u } else { low };
            let inside = if inside < high { inside } else { high };
            let over = u - inside;
            all[lane] += difference * difference;
            beyond[lane] += over * over;
        }
    }
}

/// The extent, among all candidates, whose grid has the least Σ(w − q)²; of equals the widest. `values` are finite and their
/// extent is `extent`. `None` when the step of the full range does not fit the arithmetic.
pub fn least_error<T: Real>(
    values: &[T],
    wanted: Wanted,
    extent: Extent<T>,
    units: &mut Vec<f32>,
) -> Option<Extent<T>> {
    let full = wanted.grid(extent, 100)?;
    let peak = extent.abs_max().to_f64();
    let inverse = 1.0 / peak;
    if full.scale == T::ZERO || peak == 0.0 {
        return Some(scaled(extent, 100));
    }
    let mut guesses = [f64::INFINITY; CANDIDATES];
    if (inverse as f32).is_finite() && inverse as f32 >= f32::MIN_POSITIVE {
        units.clear();
        units.extend(values.iter().map(|w| (w.to_f64() * inverse) as f32));
        first_look(&[(units, 1.0)], wanted, extent, inverse, &mut guesses);
    } else {
        guesses.fill(0.0);
    }
    let least = guesses.iter().copied().fold(f64::INFINITY, f64::min);
    let mut best = (f64::INFINITY, 100);
    for (place, percent) in widest_first() {
        if guesses[place] > least * (1.0 + MARGIN) {
            continue;
        }
        let Some(grid) = wanted.grid(extent, percent) else { continue };
        let error = dispatch::run(Exact { values, grid });
        if error < best.0 {
            best = (error, percent);
        }
    }
    Some(scaled(extent, best.1))
}

/// Fills in what each candidate comes to over weighted parts; those that cannot win any more stay infinite. What lies beyond
/// the ends only grows as they draw in, so once that alone is more than the best, nothing tighter is better.
fn first_look<T: Real>(
    parts: &[(&Vec<f32>, f64)],
    wanted: Wanted,
    extent: Extent<T>,
    inverse: f64,
    guesses: &mut [f64; CANDIDATES],
) {
    let mut least = f64::INFINITY;
    for (place, percent) in widest_first() {
        let Some(grid) = wanted.grid(extent, percent) else { continue };
        let step = (grid.scale.to_f64() * inverse) as f32;
        if step <= 0.0 || !(1.0 / step).is_finite() {
            guesses[place] = 0.0;
            continue;
        }
        let ends = grid.levels().map(|level| level as f32);
        // Where a range is cut into levels about a zero point, its ends may move outwards by half a step, and one way at one
        // candidate and the other way at the next.
        // So they may where a scale is rounded, by a part in 2^9 of themselves or more.
        let rounded = wanted.scale.map_or(0.0, |format| 1.0 / (1_u32 << format.mantissa) as f32);
        let slack = rounded + if wanted.asymmetric { 0.5 * step } else { 0.0 };
        let peak = extent.abs_max();
        let full = if wanted.asymmetric { extent } else { Extent { low: T::ZERO.sub(peak), high: peak } };
        let clipped = scaled(full, percent);
        let limits =
            [(clipped.low.to_f64() * inverse) as f32 - slack, (clipped.high.to_f64() * inverse) as f32 + slack];
        let mut sums = [0.0; 2];
        for (units, weight) in parts {
            let [all, beyond] = dispatch::run(FirstLook { units, step, ends, limits });
            sums = [sums[0] + weight * all, sums[1] + weight * beyond];
        }
        guesses[place] = sums[0];
        least = least.min(sums[0]);
        if sums[1] > least * (1.0 + MARGIN) {
            break;
        }
    }
}

/// The clip, in percent, that is best where values count several times: an estimate from a few of a unit's values.
#[must_use]
pub fn weighted_search(parts: [(&[f32], f64); 2], wanted: Wanted, extent: Extent<f32>) -> i32 {
    let inverse = 1.0 / f64::from(extent.abs_max());
    if !(inverse as f32).is_finite() {
        return 100;
    }
    let [one, two] = parts.map(|(values, _)| values.iter().map(|&w| (f64::from(w) * inverse) as f32).collect());
    let mut guesses = [f64::INFINITY; CANDIDATES];
    first_look(&[(&one, parts[0].1), (&two, parts[1].1)], wanted, extent, inverse, &mut guesses);
    best_clip(&guesses)
}

/// Σ(w − q)² of every candidate over a part of a unit that is too long to be held: sums of several parts add up.
#[must_use]
pub fn clip_errors<T: Real>(values: &[T], wanted: Wanted, extent: Extent<T>) -> [f64; CANDIDATES] {
    let mut errors = [f64::INFINITY; CANDIDATES];
    for (place, percent) in widest_first() {
        if let Some(grid) = wanted.grid(extent, percent) {
            errors[place] = dispatch::run(Exact { values, grid });
        }
    }
    errors
}

/// The candidate with the least error; of equals the widest.
#[must_use]
pub fn best_clip(errors: &[f64; CANDIDATES]) -> i32 {
    let mut best = (f64::INFINITY, 100);
    for (place, percent) in widest_first() {
        if errors[place] < best.0 {
            best = (errors[place], percent);
        }
    }
    best.1
}

/// Where a percentile falls among `count` sorted values: the rank below it (from 0), and how far it is to the next.
/// numpy's linear rule: (n − 1)·Q/100.
#[must_use]
pub fn percentile_place(count: u64, percent: f64) -> (u64, f64) {
    let place = count.saturating_sub(1) as f64 * (percent / 100.0);
    (place.floor() as u64, place.fract())
}

/// Between two neighbours, as numpy interpolates: from the nearer end.
#[must_use]
pub fn between(low: f64, high: f64, share: f64) -> f64 {
    if share < 0.5 { low + (high - low) * share } else { high - (high - low) * (1.0 - share) }
}

/// The percentile of the magnitudes of finite values, computed in f64 and rounded once. With `survivors` elements that are 0
/// do not count. 0 when nothing is left.
pub fn percentile<T: Real>(values: &[T], percent: f64, survivors: bool, keys: &mut Vec<u64>) -> T {
    keys.clear();
    keys.extend(values.iter().filter(|w| !survivors || **w != T::ZERO).map(|w| w.magnitude_key()));
    let (rank, share) = percentile_place(keys.len() as u64, percent);
    if keys.is_empty() {
        return T::ZERO;
    }
    let last = keys.len() - 1;
    let (_, &mut low, above) = keys.select_nth_unstable((rank as usize).min(last));
    let high = above.iter().copied().min().unwrap_or(low);
    let value = |key: u64| T::from_magnitude_key(key).to_f64();
    T::from_f64(between(value(low), value(high), share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;

    fn weights(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32)
            .map(|i| {
                let u = f64::from((i + seed).wrapping_mul(2_654_435_761) >> 8) / 16_777_216.0 - 0.5;
                (u * u * u * 0.7 + if i % 41 == 7 { u } else { 0.0 }) as f32
            })
            .collect()
    }

    /// The definition: every candidate in turn, sums in f64, ties to the larger.
    fn specification<T: Real>(values: &[T], wanted: Wanted, extent: Extent<T>) -> i32 {
        let error = |percent: i32| -> f64 {
            let grid = wanted.grid(extent, percent).unwrap();
            values.iter().map(|&w| (w.to_f64() - grid.value(grid.code(w)).to_f64()).powi(2)).sum()
        };
        let mut best = 100;
        for (_, percent) in widest_first() {
            best = if error(percent) < error(best) { percent } else { best };
        }
        best
    }

    #[test]
    fn the_search_chooses_as_the_definition_does_over_all_lengths() {
        for length in (0..40).chain([64, 100, 128, 1000, 2500]) {
            for (bits, asymmetric) in [(2, false), (3, true), (4, false), (4, true), (8, false), (8, true)] {
                let wanted = Wanted::new(bits, asymmetric);
                for scale in [1.0_f32, 3e-33, 2e30] {
                    let values: Vec<f32> = weights(length, 3 * bits).iter().map(|w| w * scale).collect();
                    let extent = Extent::of(&values);
                    let chosen = least_error(&values, wanted, extent, &mut Vec::new()).unwrap();
                    let percent = specification(&values, wanted, extent);
                    assert_eq!(chosen, scaled(extent, percent), "{length} {bits} {asymmetric} {scale:e}");
                    assert_eq!(best_clip(&clip_errors(&values, wanted, extent)), percent);
                    let wide: Vec<f64> = values.iter().map(|&w| f64::from(w)).collect();
                    let extent = Extent::of(&wide);
                    let chosen = least_error(&wide, wanted, extent, &mut Vec::new()).unwrap();
                    assert_eq!(chosen, scaled(extent, specification(&wide, wanted, extent)));
                }
            }
        }
    }

    #[test]
    fn a_zero_point_that_falls_between_two_levels_does_not_end_the_search() {
        // lo = −hi: −lo/s is 7.5, and the rounding of each candidate decides between 7 and 8.
        for (n, bits) in [(24, 4), (60, 4), (33, 3), (100, 8)] {
            let values: Vec<f32> = (0..n).map(|i| ((i * 7 % 13) as f32 - 6.0) / 6.0).collect();
            let extent = Extent::of(&values);
            for asymmetric in [true, false] {
                let wanted = Wanted::new(bits, asymmetric);
                let chosen = least_error(&values, wanted, extent, &mut Vec::new()).unwrap();
                assert_eq!(chosen, scaled(extent, specification(&values, wanted, extent)), "{n} {bits}");
            }
        }
    }

    #[test]
    fn every_level_sums_the_same_bits() {
        for length in (0..70).chain([1023, 1025]) {
            let values = weights(length, 5);
            let wanted = Wanted::new(3, false);
            let extent = Extent { low: -0.4, high: 0.5 };
            let grid = wanted.grid(extent, 70).unwrap();
            let exact: Vec<u64> =
                Level::all().into_iter().map(|level| level.run(Exact { values: &values, grid }).to_bits()).collect();
            assert!(exact.windows(2).all(|pair| pair[0] == pair[1]));
            let look = |level: Level| {
                level.run(FirstLook { units: &values, step: 0.11, ends: [-3.0, 3.0], limits: [-0.33, 0.33] })
            };
            assert!(Level::all().windows(2).all(|pair| look(pair[0]) == look(pair[1])));
            let [all, beyond] = look(Level::Portable);
            assert!(beyond <= all);
        }
    }

    #[test]
    fn an_outlier_is_given_up_and_a_lattice_is_not_touched() {
        let mut values = vec![0.01_f32; 1000];
        values.iter_mut().enumerate().for_each(|(i, w)| *w *= ((i % 15) as f32) - 7.0);
        let wanted = Wanted::new(4, false);
        let extent = Extent::of(&values);
        assert_eq!(least_error(&values, wanted, extent, &mut Vec::new()), Some(scaled(extent, 100)));
        values[3] = 0.1;
        let clipped = least_error(&values, wanted, Extent::of(&values), &mut Vec::new()).unwrap();
        assert!((0.065..0.075).contains(&clipped.high), "{clipped:?}");
        assert_eq!(least_error::<f32>(&[], wanted, Extent::default(), &mut Vec::new()), Some(Extent::default()));
        let wide = Extent { low: -3e38_f32, high: 3e38 };
        assert_eq!(least_error(&[-3e38, 3e38], Wanted::new(8, true), wide, &mut Vec::new()), None);
    }

    #[test]
    fn percentiles_are_numpys() {
        // np.percentile(np.abs([-4, 1, 0, 2, -3]), Q)
        let values = [-4.0_f32, 1.0, 0.0, 2.0, -3.0];
        let at = |q: f64, survivors: bool| percentile(&values, q, survivors, &mut Vec::new());
        assert_eq!([at(100.0, false), at(50.0, false), at(90.0, false), at(10.0, false)], [4.0, 2.0, 3.6, 0.4]);
        // Over the survivors alone: np.percentile([4, 1, 2, 3], Q)
        assert_eq!([at(50.0, true), at(25.0, true)], [2.5, 1.75]);
        assert_eq!(percentile(&[0.0_f32, -0.0], 99.0, true, &mut Vec::new()), 0.0);
        assert_eq!(percentile::<f64>(&[], 99.0, false, &mut Vec::new()), 0.0);
        assert_eq!(percentile(&[-2.5_f64], 37.0, false, &mut Vec::new()), 2.5);
        assert_eq!((between(1.0, 3.0, 0.25), between(1.0, 3.0, 0.75)), (1.5, 2.5));
    }
}
