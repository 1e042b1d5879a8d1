//! The k-th smallest magnitude in one look: a sample says between which two magnitudes it lies, one pass counts what is below
//! and keeps what is between, and among those few it is selected (Floyd and Rivest 1975).
//!
//! The sample only decides how fast the answer is found, never which: where k turns out to lie outside, or too much lies
//! between (ties), there is no answer, and [`super::select`] walks digit by digit.

use super::Real;
use super::dispatch::{self, Kernel};
use super::select::Threshold;

/// Clusters of a sample, spread evenly over a tensor.
pub const CLUSTERS: usize = 4096;
/// Neighbouring elements in a cluster.
pub const CLUSTER: usize = 16;
/// How far from the sample's own quantile the bracket reaches, as a share of all elements.
const MARGIN: f64 = 0.003;
/// Most that may lie between, as a share of all elements; a bracket of a sample without ties holds a fourth of it.
const MOST: f64 = 0.05;
/// Elements looked at before it is asked whether one of them is between.
const RUN: usize = 32;
/// Counts kept side by side.
const LANES: usize = 16;

/// Where clusters of a sample of `n` elements begin.
pub fn clusters(n: usize) -> impl Iterator<Item = usize> {
    let wanted = CLUSTERS.min(n / CLUSTER);
    (0..wanted).map(move |i| (i * (n / CLUSTER) / wanted) * CLUSTER)
}

/// Two magnitudes between which a share of a tensor's elements is expected to end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bracket<T> {
    /// What is smaller is only counted.
    low: T,
    /// What is smaller, and not smaller than `low`, is kept.
    high: T,
}

impl<T: Real> Bracket<T> {
    /// The bracket about the magnitude below which `share` of the sample lies. `None` for a sample without finite values.
    pub fn of(sample: &[T], share: f64) -> Option<Self> {
        let mut keys: Vec<u64> = sample.iter().filter(|w| w.is_finite()).map(|w| w.magnitude_key()).collect();
        let last = keys.len().checked_sub(1)?;
        let mut at = |share: f64| {
            let (_, key, _) = keys.select_nth_unstable(((share * last as f64) as usize).min(last));
            T::from_magnitude_key(*key)
        };
        let (below, above) = (share - MARGIN, share + MARGIN);
        let low = if below > 0.0 { at(below) } else { T::ZERO };
        let high = if above < 1.0 { at(above) } else { T::INFINITY };
        Some(Self { low, high })
    }
}

/// What a pass found of a bracket; [`Found::merge`] joins the passes over parts.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Finite elements.
    finite: u64,
    /// Those below the bracket.
    below: u64,
    /// Keys of those in it.
    inside: Vec<u64>,
    /// Whether there are too many to keep.
    overrun: bool,
}

struct Look<'a, T> {
    values: &'a [T],
    bracket: Bracket<T>,
    most: usize,
    found: &'a mut Found,
}

impl<T: Real> Kernel for Look<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Bracket { low, high } = self.bracket;
        let found = self.found;
        // Counts stay in lanes until the end: summing them up run by run would take longer than the look.
        let (mut below, mut finite) = ([0_u32; LANES], [0_u32; LANES]);
        let (runs, rest) = self.values.as_chunks::<RUN>();
        for run in runs {
            let mut between = [0_u32; LANES];
            for values in run.as_chunks::<LANES>().0 {
                for lane in 0..LANES {
                    let magnitude = values[lane].abs();
                    let smaller = u32::from(magnitude < low);
                    below[lane] += smaller;
                    between[lane] += u32::from(magnitude < high) - smaller;
                    finite[lane] += u32::from(magnitude < T::INFINITY);
                }
            }
            if is_any(between) {
                keep(run, low, high, &mut found.inside);
                if found.inside.len() > self.most {
                    found.overrun = true;
                    return;
                }
            }
        }
        for (lane, value) in rest.iter().enumerate() {
            below[lane % LANES] += u32::from(value.abs() < low);
            finite[lane % LANES] += u32::from(value.abs() < T::INFINITY);
        }
        keep(rest, low, high, &mut found.inside);
        found.overrun |= found.inside.len() > self.most;
        found.below += below.iter().map(|&n| u64::from(n)).sum::<u64>();
        found.finite += finite.iter().map(|&n| u64::from(n)).sum::<u64>();
    }
}

/// Whether some lane is not 0, by halves.
#[inline(always)]
fn is_any(lanes: [u32; LANES]) -> bool {
    let eight: [u32; 8] = std::array::from_fn(|i| lanes[i] | lanes[i + 8]);
    let four: [u32; 4] = std::array::from_fn(|i| eight[i] | eight[i + 4]);
    four[0] | four[1] | four[2] | four[3] != 0
}

/// Appends the keys of what lies between. Every key is written, and the place moves on past those that are wanted: which
/// they are nobody can foresee, least of all the processor.
#[inline(always)]
fn keep<T: Real>(values: &[T], low: T, high: T, inside: &mut Vec<u64>) {
    let (mut kept, mut count) = ([0_u64; RUN], 0);
    for value in values {
        let magnitude = value.abs();
        kept[count % RUN] = value.magnitude_key();
        count += usize::from(magnitude < high) - usize::from(magnitude < low);
    }
    inside.extend_from_slice(&kept[..count]);
}

impl Found {
    /// How many keys a pass over a tensor of `n` elements may keep.
    #[must_use]
    pub fn most(n: usize) -> usize {
        (n as f64 * MOST) as usize + CLUSTERS
    }

    /// Looks at the values of a part; `most` keys are kept at most in all its calls.
    pub fn add<T: Real>(&mut self, values: &[T], bracket: Bracket<T>, most: usize) {
        if !self.overrun {
            dispatch::run(Look { values, bracket, most, found: self });
        }
    }

    /// Joins another part.
    pub fn merge(mut self, mut other: Self) -> Self {
        self.finite += other.finite;
        self.below += other.below;
        self.inside.append(&mut other.inside);
        self.overrun |= other.overrun;
        self
    }

    /// Finite elements; `None` when the pass was given up.
    #[must_use]
    pub fn finite(&self) -> Option<u64> {
        (!self.overrun).then_some(self.finite)
    }

    /// The threshold of the `k` smallest magnitudes (from 1); `None` when it is not in the bracket.
    #[must_use]
    pub fn threshold(mut self, k: u64) -> Option<Threshold> {
        let rank = usize::try_from(k.checked_sub(self.below + 1)?).ok()?;
        if self.overrun || rank >= self.inside.len() {
            return None;
        }
        let (smaller, &mut key, greater) = self.inside.select_nth_unstable(rank);
        let ties = rank + 1 - smaller.iter().filter(|&&other| other < key).count();
        let equal = ties + greater.iter().filter(|&&other| other == key).count();
        Some(Threshold { key, ties: ties as u64, equal: equal as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;
    use crate::kernels::select::threshold_of;

    fn weights(n: usize) -> Vec<f32> {
        (0..n as u32)
            .map(|i| match i % 101 {
                3 => 0.0,
                5 => f32::NAN,
                7 => f32::NEG_INFINITY,
                _ => {
                    let u = f64::from(i.wrapping_mul(2_654_435_761) >> 8) / 16_777_216.0 - 0.5;
                    (u * u * u) as f32
                }
            })
            .collect()
    }

    fn by_bracket<T: Real>(values: &[T], share: f64, parts: usize) -> Option<Threshold> {
        let sample: Vec<T> = clusters(values.len()).flat_map(|at| values[at..at + CLUSTER].iter().copied()).collect();
        let bracket = Bracket::of(&sample, share)?;
        let most = Found::most(values.len());
        let found = values.chunks(parts).map(|part| {
            let mut found = Found::default();
            found.add(part, bracket, most);
            found
        });
        let found = found.fold(Found::default(), Found::merge);
        let k = (share * found.finite()? as f64 + 0.5) as u64;
        found.threshold(k)
    }

    #[test]
    fn what_is_found_is_what_a_sort_finds() {
        for n in [40, 1000, 100_003] {
            let values = weights(n);
            let finite = values.iter().filter(|w| w.is_finite()).count() as f64;
            for share in [0.02, 0.1, 0.5, 0.9, 0.999, 1.0] {
                let k = (share * finite + 0.5) as u64;
                let want = threshold_of(&values, k, &mut Vec::new());
                let got = by_bracket(&values, share, 977);
                assert!(got.is_none() || got == want, "{n} {share}");
                assert!(n < 10_000 || got.is_some(), "{n} {share}");
                let wide: Vec<f64> = values.iter().map(|&w| f64::from(w)).collect();
                let got = by_bracket(&wide, share, 977);
                assert!(got.is_none() || got == threshold_of(&wide, k, &mut Vec::new()));
            }
        }
    }

    #[test]
    fn every_level_finds_the_same_over_all_lengths() {
        let bracket = Bracket { low: 0.01_f32, high: 0.03 };
        for n in (0..70).chain([1000]) {
            let values = weights(n);
            let magnitudes = || values.iter().map(|w| w.abs());
            for level in Level::all() {
                let mut found = Found::default();
                level.run(Look { values: &values, bracket, most: n, found: &mut found });
                assert_eq!(found.finite, magnitudes().filter(|m| m.is_finite()).count() as u64);
                assert_eq!(found.below, magnitudes().filter(|&m| m < 0.01).count() as u64);
                let inside: Vec<u64> =
                    magnitudes().filter(|m| (0.01..0.03).contains(m)).map(|m| u64::from(m.to_bits())).collect();
                assert_eq!(found.inside, inside, "{}", level.name());
            }
        }
    }

    #[test]
    fn ties_and_nothing_have_no_answer_here() {
        assert_eq!(by_bracket(&vec![0.5_f32; 200_000], 0.5, 999), None);
        assert_eq!(by_bracket::<f32>(&[], 0.5, 9), None);
        assert_eq!(by_bracket(&vec![f32::NAN; 5000], 0.5, 999), None);
        assert_eq!(clusters(5).count(), 0);
        let starts: Vec<usize> = clusters(1 << 20).collect();
        assert!(starts.len() == CLUSTERS && starts[CLUSTERS - 1] + CLUSTER <= 1 << 20);
    }
}
