//! What `inspect` says of a tensor: extremes, mean and spread of its finite values, and how many are zero, NaN or infinite.
//!
//! A slice is summed as a block and blocks are merged in file order with Chan, Golub and LeVeque's update (1979), so the
//! answer does not depend on how many threads shared the work, and a tensor of a million equal values has std 0.

use super::Real;

/// Moments of a run of elements; [`Moments::merge`] joins neighbouring runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Finite elements.
    pub finite: u64,
    /// Elements equal to zero, of either sign.
    pub zeros: u64,
    /// Elements that are NaN.
    pub nan: u64,
    /// Elements that are +∞ or −∞.
    pub inf: u64,
    /// Least finite value (+∞ when there is none).
    pub min: f64,
    /// Greatest finite value (−∞ when there is none).
    pub max: f64,
    /// Mean of the finite values (0 when there is none).
    pub mean: f64,
    /// Σ(w − mean)² over the finite values.
    pub m2: f64,
    /// Σw² over the finite values.
    pub energy: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            finite: 0,
            zeros: 0,
            nan: 0,
            inf: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            mean: 0.0,
            m2: 0.0,
            energy: 0.0,
        }
    }
}

impl Moments {
    /// Population standard deviation of the finite values, `None` when there is none.
    #[must_use]
    pub fn std(&self) -> Option<f64> {
        (self.finite > 0).then(|| (self.m2 / self.finite as f64).sqrt())
    }

    /// Largest magnitude among the finite values; 0 when there is none.
    #[must_use]
    pub fn abs_max(&self) -> f64 {
        if self.finite == 0 { 0.0 } else { self.min.abs().max(self.max.abs()) }
    }

    /// Elements that are NaN or infinite.
    #[must_use]
    pub fn non_finite(&self) -> u64 {
        self.nan + self.inf
    }

    /// Joins the run that follows this one.
    #[must_use]
    pub fn merge(self, next: Self) -> Self {
        if next.finite == 0 || self.finite == 0 {
            let (some, none) = if self.finite == 0 { (next, self) } else { (self, next) };
            return Self { zeros: some.zeros + none.zeros, nan: some.nan + none.nan, inf: some.inf + none.inf, ..some };
        }
        let finite = self.finite + next.finite;
        let delta = next.mean - self.mean;
        let share = next.finite as f64 / finite as f64;
        Self {
            finite,
            zeros: self.zeros + next.zeros,
            nan: self.nan + next.nan,
            inf: self.inf + next.inf,
            min: self.min.min(next.min),
            max: self.max.max(next.max),
            mean: self.mean + delta * share,
            m2: self.m2 + next.m2 + delta * delta * share * self.finite as f64,
            energy: self.energy + next.energy,
        }
    }
}

/// Elements summed in one block: small enough to stay in the first-level cache for the second look.
const BLOCK: usize = 4096;
/// Sums kept side by side, so that the loops are wide.
const LANES: usize = 8;

/// Moments of a slice. Non-finite elements are counted and otherwise left out.
#[must_use]
pub fn moments<T: Real>(values: &[T]) -> Moments {
    values.chunks(BLOCK).map(block_moments).fold(Moments::default(), Moments::merge)
}

/// One block in short passes: counts, sum and energy first, then squares about the block's own mean. A block with
/// strangers inside is cleaned first, so that the loops stay straight.
fn block_moments<T: Real>(block: &[T]) -> Moments {
    let bad = block.iter().filter(|v| !v.is_finite()).count();
    if bad > 0 {
        let clean: Vec<T> = block.iter().copied().filter(|v| v.is_finite()).collect();
        let nan = block.iter().filter(|v| v.to_f64().is_nan()).count();
        return Moments { nan: nan as u64, inf: (bad - nan) as u64, ..block_moments(&clean) };
    }
    let mut out = Moments { finite: block.len() as u64, ..Moments::default() };
    if block.is_empty() {
        return out;
    }
    block.iter().for_each(|v| out.zeros += u64::from(*v == T::ZERO));
    let [sum, energy] = sum_pair(block, |x| [x, x * x]);
    out.mean = sum / block.len() as f64;
    out.energy = energy;
    let mean = out.mean;
    [out.m2, _] = sum_pair(block, |x| [(x - mean) * (x - mean), 0.0]);
    let (mut min, mut max) = ([block[0]; LANES], [block[0]; LANES]);
    for lanes in block.chunks(LANES) {
        for ((&x, min), max) in lanes.iter().zip(&mut min).zip(&mut max) {
            *min = if x < *min { x } else { *min };
            *max = if x > *max { x } else { *max };
        }
    }
    out.min = min.into_iter().map(Real::to_f64).fold(f64::INFINITY, f64::min);
    out.max = max.into_iter().map(Real::to_f64).fold(f64::NEG_INFINITY, f64::max);
    out
}

/// Two sums over a block, in lanes; lanes are added in order.
#[inline(always)]
fn sum_pair<T: Real>(block: &[T], term: impl Fn(f64) -> [f64; 2]) -> [f64; 2] {
    let (mut first, mut second) = ([0.0_f64; LANES], [0.0_f64; LANES]);
    let (wide, rest) = block.as_chunks::<LANES>();
    for lanes in wide {
        for lane in 0..LANES {
            let [x, y] = term(lanes[lane].to_f64());
            first[lane] += x;
            second[lane] += y;
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        let [x, y] = term(value.to_f64());
        first[lane] += x;
        second[lane] += y;
    }
    [first.iter().sum(), second.iter().sum()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, one element at a time.
    fn specification(values: &[f32]) -> Moments {
        let finite: Vec<f64> = values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)).collect();
        let mean = if finite.is_empty() { 0.0 } else { finite.iter().sum::<f64>() / finite.len() as f64 };
        Moments {
            finite: finite.len() as u64,
            zeros: finite.iter().filter(|&&v| v == 0.0).count() as u64,
            nan: values.iter().filter(|v| v.is_nan()).count() as u64,
            inf: values.iter().filter(|v| v.is_infinite()).count() as u64,
            min: finite.iter().copied().fold(f64::INFINITY, f64::min),
            max: finite.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean,
            m2: finite.iter().map(|v| (v - mean) * (v - mean)).sum(),
            energy: finite.iter().map(|v| v * v).sum(),
        }
    }

    fn noise(n: usize) -> Vec<f32> {
        let mut state = 7_u32;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect()
    }

    fn close(a: f64, b: f64) -> bool {
        a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0)
    }

    #[test]
    fn agrees_with_the_definition_over_all_lengths_and_with_strangers_inside() {
        for n in (0..70).chain([4095, 4096, 4097, 9000]) {
            let mut values = noise(n);
            for (i, v) in values.iter_mut().enumerate() {
                match i % 23 {
                    3 => *v = 0.0,
                    5 => *v = -0.0,
                    7 => *v = f32::NAN,
                    11 => *v = f32::NEG_INFINITY,
                    13 => *v = 1e-42,
                    _ => {}
                }
            }
            let (fast, slow) = (moments(&values), specification(&values));
            assert_eq!((fast.finite, fast.zeros, fast.nan, fast.inf), (slow.finite, slow.zeros, slow.nan, slow.inf));
            assert!(fast.min == slow.min && fast.max == slow.max, "{n}");
            assert!(close(fast.mean, slow.mean) && close(fast.m2, slow.m2) && close(fast.energy, slow.energy), "{n}");
        }
    }

    #[test]
    fn a_constant_has_no_spread_and_an_offset_does_not_hide_one() {
        assert_eq!(moments(&vec![0.1_f32; 100_000]).std(), Some(0.0));
        let far: Vec<f64> = noise(50_000).iter().map(|&v| 1e6 + f64::from(v)).collect();
        let near: Vec<f64> = far.iter().map(|v| v - 1e6).collect();
        let (far, near) = (moments(&far).std(), moments(&near).std());
        assert!((far.unwrap() / near.unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_has_no_moments() {
        let none = moments::<f32>(&[]);
        assert_eq!((none.std(), none.abs_max()), (None, 0.0));
        assert_eq!(moments(&[f32::NAN, f32::INFINITY]).std(), None);
    }
}
