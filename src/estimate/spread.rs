//! Percentiles of the scales of a tensor's units, in memory that does not grow with the tensor.

use std::collections::BTreeMap;

/// Numbers that are kept one by one; a tensor of more is summed up.
const ONE_BY_ONE: usize = 1 << 16;

/// Bits of an f64 that are dropped when many are summed up: 12 bits of the fraction stay, so a number is off by at most 2⁻¹³ of
/// itself, less than a plot can show.
const DROPPED: u32 = 40;

/// Numbers not below 0, in no order. Which of them were added first, and how they were joined, changes nothing.
#[derive(Clone, Debug)]
pub(super) enum Spread {
    /// All of them.
    Few(Vec<f64>),
    /// How many there are in each bucket of numbers that agree but for the dropped bits.
    Many(BTreeMap<u64, u64>),
}

impl Default for Spread {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Spread {
    /// Adds some.
    pub(super) fn add(&mut self, numbers: impl Iterator<Item = f64>) {
        match self {
            Self::Few(all) => {
                all.extend(numbers);
                if all.len() > ONE_BY_ONE {
                    let all = std::mem::take(all);
                    *self = Self::Many(BTreeMap::new());
                    self.add(all.into_iter());
                }
            }
            Self::Many(buckets) => numbers.for_each(|x| *buckets.entry(x.to_bits() >> DROPPED).or_default() += 1),
        }
    }

    /// Joins two.
    pub(super) fn join(self, other: Self) -> Self {
        let (mut sum, rest) = match (self, other) {
            (few @ Self::Few(_), many @ Self::Many(_)) => (many, few),
            other => other,
        };
        match rest {
            Self::Few(all) => sum.add(all.into_iter()),
            Self::Many(more) => {
                if let Self::Many(buckets) = &mut sum {
                    more.into_iter().for_each(|(bucket, count)| *buckets.entry(bucket).or_default() += count);
                }
            }
        }
        sum
    }

    /// 10th percentile, median and 90th percentile: the number of the nearest rank, or the middle of its bucket. `None` of none.
    pub(super) fn percentiles(self) -> Option<[f64; 3]> {
        let rank = |count: u64, share: f64| Some(((count.checked_sub(1)?) as f64 * share).round() as u64);
        match self {
            Self::Few(mut all) => {
                all.sort_by(f64::total_cmp);
                let at = |share| all.get(usize::try_from(rank(all.len() as u64, share)?).ok()?).copied();
                Some([at(0.1)?, at(0.5)?, at(0.9)?])
            }
            Self::Many(buckets) => {
                let count = buckets.values().sum();
                let at = |share| {
                    let mut left = rank(count, share)?;
                    let of_rank = |&(_, &count): &(&u64, &u64)| {
                        let found = left < count;
                        left = left.saturating_sub(count);
                        found
                    };
                    buckets.iter().find(of_rank).map(|(&bucket, _)| middle(bucket))
                };
                Some([at(0.1)?, at(0.5)?, at(0.9)?])
            }
        }
    }
}

/// The number in the middle of a bucket; 0 of the one that only 0 is in.
fn middle(bucket: u64) -> f64 {
    if bucket == 0 { 0.0 } else { f64::from_bits(bucket << DROPPED | 1 << (DROPPED - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 7919) % n) as f64 / 512.0).collect()
    }

    #[test]
    fn a_few_are_told_exactly() {
        let mut spread = Spread::default();
        assert_eq!(spread.clone().percentiles(), None);
        spread.add(numbers(101).into_iter());
        assert_eq!(spread.percentiles(), Some([10.0, 50.0, 90.0].map(|x| x / 512.0)));
    }

    #[test]
    fn many_are_told_within_what_is_dropped_however_they_were_joined() {
        let all = numbers(300_001);
        let exact = [0.1, 0.5, 0.9].map(|share| (300_000.0_f64 * share).round() / 512.0);
        let whole = |pieces: usize| {
            let part = |some: &[f64]| {
                let mut spread = Spread::default();
                spread.add(some.iter().copied());
                spread
            };
            all.chunks(all.len().div_ceil(pieces))
                .map(part)
                .fold(Spread::default(), Spread::join)
                .percentiles()
                .unwrap()
        };
        let one = whole(1);
        for (found, exact) in one.into_iter().zip(exact) {
            assert!((found / exact - 1.0).abs() <= 2.0_f64.powi(-13), "{found} of {exact}");
        }
        // 2, 5 and 100 pieces: of the last none is summed up by itself.
        for pieces in [2, 5, 100] {
            assert_eq!(whole(pieces), one, "{pieces}");
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let mut spread = Spread::default();
        spread.add(std::iter::repeat_n(0.0, ONE_BY_ONE + 1));
        assert_eq!(spread.percentiles(), Some([0.0; 3]));
    }
}
