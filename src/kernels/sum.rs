//! Sums that do not depend on who adds first: f64 with its own rounding errors carried along (Neumaier 1974, by branchless
//! two-sums), good to the last bit of the total for any tensor.

use super::Real;
use super::dispatch::{self, Kernel};

/// A sum and what rounding has taken off it so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    /// Adds one term.
    #[inline(always)]
    pub fn add(&mut self, term: f64) {
        add(&mut self.high, &mut self.low, term);
    }

    /// Adds another sum.
    #[inline(always)]
    pub fn merge(&mut self, other: Self) {
        self.add(other.high);
        self.low += other.low;
    }

    /// What is left when a sum that is part of this one is taken off.
    #[must_use]
    pub fn minus(mut self, part: Self) -> Self {
        self.merge(Self { high: -part.high, low: -part.low });
        self
    }

    /// The total, rounded once.
    #[must_use]
    pub fn total(self) -> f64 {
        self.high + self.low
    }
}

/// Adds a term to a sum in two parts.
#[inline(always)]
fn add(high: &mut f64, low: &mut f64, term: f64) {
    let sum = *high + term;
    let virtually = sum - *high;
    *low += (*high - (sum - virtually)) + (term - virtually);
    *high = sum;
}

/// How many values there are, and what they add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: Sum,
}

impl Tally {
    /// Those magnitudes of finite values that are strictly above `bound`.
    #[must_use]
    pub fn above<T: Real>(values: &[T], bound: T) -> Self {
        dispatch::run(Above { values, bound })
    }

    /// Takes in a value that occurs `times`.
    #[inline(always)]
    pub fn add(&mut self, value: f64, times: u64) {
        self.count += times;
        self.sum.add(value * times as f64);
    }

    /// Joins another run.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.count += other.count;
        self.sum.merge(other.sum);
        self
    }

    /// What is left when a part of it is taken out.
    #[must_use]
    pub fn minus(self, part: Self) -> Self {
        Self { count: self.count - part.count, sum: self.sum.minus(part.sum) }
    }

    /// The mean of its values, 0 when there are none.
    #[must_use]
    pub fn mean<T: Real>(self) -> T {
        self.mean_over(self.count)
    }

    /// The mean where there are `count` values and all others are 0; 0 when there are none.
    #[must_use]
    pub fn mean_over<T: Real>(self, count: u64) -> T {
        if count == 0 { T::ZERO } else { T::from_f64(self.sum.total() / count as f64) }
    }
}

/// Sums kept side by side.
const LANES: usize = 16;

struct Above<'a, T> {
    values: &'a [T],
    bound: T,
}

impl<T: Real> Kernel for Above<'_, T> {
    type Output = Tally;

    #[inline(always)]
    fn run(self) -> Tally {
        let (mut high, mut low, mut counts) = ([0.0_f64; LANES], [0.0_f64; LANES], [0_u64; LANES]);
        let (wide, rest) = self.values.as_chunks::<LANES>();
        let mut padded = [T::ZERO; LANES];
        padded[..rest.len()].copy_from_slice(rest);
        for values in wide.iter().chain(std::iter::once(&padded)) {
            for lane in 0..LANES {
                let magnitude = values[lane].abs();
                let counts_in = magnitude > self.bound;
                let term = if counts_in { magnitude.to_f64() } else { 0.0 };
                counts[lane] += u64::from(counts_in);
                add(&mut high[lane], &mut low[lane], term);
            }
        }
        let mut out = Tally { count: counts.iter().sum(), sum: Sum::default() };
        for (high, low) in high.into_iter().zip(low) {
            out.sum.merge(Sum { high, low });
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;

    #[test]
    fn nothing_is_lost_in_any_order() {
        let terms: Vec<f64> = (0..1000).map(|i| if i % 2 == 0 { 1e16 } else { 1.0 + f64::from(i) / 1024.0 }).collect();
        // In units of 1/1024 every term is a whole number: the exact total in 128 bits.
        let exact = terms.iter().map(|t| (t * 1024.0) as i128).sum::<i128>() as f64 / 1024.0;
        let mut forward = Sum::default();
        terms.iter().for_each(|&t| forward.add(t));
        let mut backward = Sum::default();
        terms.iter().rev().for_each(|&t| backward.add(t));
        assert_eq!([forward.total(), backward.total()], [exact, exact]);
        assert_ne!(terms.iter().sum::<f64>(), exact);
        let mut halves = Sum::default();
        terms.chunks(300).for_each(|part| {
            let mut sum = Sum::default();
            part.iter().for_each(|&t| sum.add(t));
            halves.merge(sum);
        });
        assert_eq!(halves.total(), exact);
    }

    #[test]
    fn magnitudes_above_a_bound_over_all_tails() {
        for n in 0..70_usize {
            let w: Vec<f32> = (0..n).map(|i| ((i * 31 % 17) as f32 - 8.0) / 3.0).collect();
            for bound in [0.0, 1.0, 2.0] {
                let over: Vec<f64> = w.iter().map(|w| f64::from(w.abs())).filter(|m| *m > f64::from(bound)).collect();
                for level in Level::all() {
                    let above = level.run(Above { values: &w, bound });
                    assert_eq!(above.count, over.len() as u64);
                    assert!((above.sum.total() - over.iter().sum::<f64>()).abs() < 1e-12, "{n} {}", level.name());
                    assert_eq!(above, Tally::above(&w, bound));
                }
            }
        }
        let above = Tally::above(&[3.0_f32, -1.0, 0.0], 0.0);
        assert_eq!((above.mean::<f32>(), above.mean_over::<f32>(4)), (2.0, 1.0));
        assert_eq!(Tally::default().mean::<f64>(), 0.0);
    }
}
