//! Counts over a symmetric range about zero: what the distribution plot and the sparklines draw.
//!
//! Bins are equal and odd in number, so that zero has a bin of its own in the middle and a pruned tensor shows one
//! spike, not two.

use super::Real;

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

    /// Adds the finite values of a slice.
    pub fn add<T: Real>(&mut self, values: &[T]) {
        let scale = if self.range > 0.0 { (BINS as f64 / 2.0) / self.range } else { 0.0 };
        let top = BINS as f64 - 1.0;
        for value in values.iter().filter(|v| v.is_finite()) {
            let bin = (value.to_f64() * scale + BINS as f64 / 2.0).clamp(0.0, top) as usize;
            self.counts[bin] = self.counts[bin].saturating_add(1);
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
