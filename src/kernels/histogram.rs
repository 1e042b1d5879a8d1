//! Counts over a symmetric range about zero: what the distribution plot and the sparklines draw.
//!
//! Bins are equal and odd in number, so that zero has a bin of its own in the middle and a pruned tensor shows one
//! spike, not two.

use super::Real;
use super::dispatch::{self, Kernel};

/// Bins of a [`Histogram`]; odd, so that the middle one is centred on zero.
pub const BINS: usize = 2047;

/// Counts of values over [−range, +range].
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Half the width of the axis, in weight units. Values beyond it are counted in the end bins.
    pub range: f64,
    /// Elements in each of [`BINS`] bins, from −range to +range.
    pub counts: Vec<u32>,
}

impl Histogram {
    /// An empty histogram over [−range, +range].
    #[must_use]
    pub fn new(range: f64) -> Self {
        Self { range, counts: vec![0; BINS] }
    }

    /// Bins per unit of weight. Finite for the smallest range, so that a 0 stays in the middle.
    fn scale(&self) -> f64 {
        if self.range > 0.0 { ((BINS as f64 / 2.0) / self.range).min(f64::MAX) } else { 0.0 }
    }

    /// Adds the finite values of a slice.
    pub fn add<T: Real>(&mut self, values: &[T]) {
        for run in values.chunks(RUN) {
            dispatch::run(Add { values: run, scale: self.scale(), counts: &mut self.counts });
        }
    }

    /// Adds another histogram over the same range.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// The value at the left edge of a bin.
    #[must_use]
    pub fn edge(&self, bin: usize) -> f64 {
        (2.0 * bin as f64 / BINS as f64 - 1.0) * self.range
    }

    /// Sums groups of neighbouring bins to about `bars` bars over the central part |w| ≤ `reach`; the bar in the
    /// middle keeps zero centred. Gives each bar's left edge, right edge and count.
    #[must_use]
    pub fn bars(&self, reach: f64, bars: usize) -> Vec<(f64, f64, u64)> {
        let half = BINS / 2;
        let shown = if self.range > 0.0 { (reach / self.range * half as f64).ceil() as usize } else { half };
        let shown = shown.clamp(1, half);
        let step = (2 * shown).div_ceil(bars.max(1)).max(1) | 1; // odd: the middle group is centred on zero
        let wing = step / 2;
        let groups = (shown.saturating_sub(wing)).div_ceil(step) as isize;
        (-groups..=groups)
            .map(|group| {
                let middle = half as isize + group * step as isize;
                let low = (middle - wing as isize).clamp(0, BINS as isize) as usize;
                let high = (middle + wing as isize + 1).clamp(0, BINS as isize) as usize;
                let count = self.counts[low..high].iter().map(|&c| u64::from(c)).sum();
                (self.edge(low), self.edge(high), count)
            })
            .collect()
    }

    /// The least reach |w| ≤ r, on a bin edge, that holds at least `share` of the elements.
    #[must_use]
    pub fn reach(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().map(|&c| u64::from(c)).sum();
        let half = BINS / 2;
        let mut held = u64::from(self.counts[half]);
        for wing in 0..half {
            if held as f64 >= share * total as f64 {
                return self.edge(half + wing + 1);
            }
            held += u64::from(self.counts[half - wing - 1]) + u64::from(self.counts[half + wing + 1]);
        }
        self.range
    }
}

/// Values counted before tables are added up: fewer than a table's counts can hold.
const RUN: usize = 1 << 30;
/// Tables that take turns: most weights fall into a few bins, and a count that was just written is slow to read.
const TABLES: usize = 2;
/// Values whose bins are worked out before any is counted: the first loop is wide, the second cannot be.
const BLOCK: usize = 1024;

struct Add<'a, T> {
    values: &'a [T],
    /// Bins per unit of weight.
    scale: f64,
    counts: &'a mut [u32],
}

impl<T: Real> Kernel for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut tables = [[0_u32; BINS + 1]; TABLES];
        let mut bins = [0_u16; BLOCK];
        for block in self.values.chunks(BLOCK) {
            for (bin, &value) in bins.iter_mut().zip(block) {
                *bin = bin_of(value, self.scale);
            }
            let (turns, rest) = bins[..block.len()].as_chunks::<TABLES>();
            for bins in turns {
                for turn in 0..TABLES {
                    tables[turn][usize::from(bins[turn]) % (BINS + 1)] += 1;
                }
            }
            rest.iter().for_each(|&bin| tables[0][usize::from(bin) % (BINS + 1)] += 1);
        }
        for table in &tables {
            for (sum, count) in self.counts.iter_mut().zip(table) {
                *sum = sum.saturating_add(*count);
            }
        }
    }
}

/// The bin of a value; one past the last for what is not finite.
#[inline(always)]
fn bin_of<T: Real>(value: T, scale: f64) -> u16 {
    const TOP: f64 = BINS as f64 - 1.0;
    /// 2⁵²: adding it leaves the nearest whole number in the low bits.
    const WHOLE: f64 = (1_u64 << 52) as f64;
    let place = value.to_f64() * scale + BINS as f64 / 2.0;
    let place = if place > 0.0 { place } else { 0.0 };
    let place = if place < TOP { place } else { TOP };
    // Rounded down by hand: a saturating cast would halve the speed.
    let nearest = (place + WHOLE) - WHOLE;
    let below = if nearest > place { nearest - 1.0 } else { nearest };
    let bin = (below + WHOLE).to_bits() as u16;
    if value.is_finite() { bin } else { BINS as u16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_its_own_bin_and_the_ends_hold_the_extremes() {
        let mut h = Histogram::new(2.0);
        h.add(&[0.0_f32, -0.0, 2.0, -2.0, 5.0, f32::NAN]);
        assert_eq!((h.counts[BINS / 2], h.counts[0], h.counts[BINS - 1]), (2, 1, 2));
        let mut flat = Histogram::new(0.0);
        flat.add(&[0.0_f32; 7]);
        assert_eq!(flat.counts[BINS / 2], 7);
        let mut smallest = Histogram::new(f64::from_bits(1));
        smallest.add(&[0.0, -0.0, f64::from_bits(1)]);
        assert_eq!(smallest.counts[BINS / 2], 3);
    }

    #[test]
    fn counts_each_value_where_it_belongs_at_every_level_and_length() {
        use crate::kernels::dispatch::Level;
        let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-42, 3.4e38, -3.4e38];
        for length in (0..140).chain([1000, 4099]) {
            let values: Vec<f32> = (0..length)
                .map(|i: usize| if i % 11 == 5 { strange[i % 8] } else { (i * 37 % 101) as f32 * 0.03 - 1.5 })
                .collect();
            for range in [0.0, 0.7, 1.5, 1e-310, 1e300] {
                let mut expected = Histogram::new(range);
                let scale = expected.scale();
                for value in values.iter().filter(|value| value.is_finite()) {
                    let bin = (f64::from(*value) * scale + BINS as f64 / 2.0).clamp(0.0, BINS as f64 - 1.0);
                    expected.counts[bin as usize] += 1;
                }
                for level in Level::all() {
                    let mut got = Histogram::new(range);
                    level.run(Add { values: &values, scale, counts: &mut got.counts });
                    assert_eq!(got, expected, "{} {length} {range}", level.name());
                }
            }
        }
    }

    #[test]
    fn bars_lose_no_count_inside_the_reach() {
        let mut h = Histogram::new(1.0);
        let values: Vec<f64> = (0..10_000).map(|i| f64::from(i) / 5000.0 - 1.0).collect();
        h.add(&values);
        for bars in [1, 16, 33, 160, 5000] {
            let got = h.bars(1.0, bars);
            assert_eq!(got.iter().map(|b| b.2).sum::<u64>(), 10_000, "{bars}");
            let middle = got[got.len() / 2];
            assert!((middle.0 + middle.1).abs() < 1e-12);
            assert!(got.windows(2).all(|w| (w[0].1 - w[1].0).abs() < 1e-12));
        }
        assert!((h.reach(0.5) - 0.5).abs() < 0.01);
        assert!((h.reach(1.0) - 1.0).abs() < 0.01);
    }
}
