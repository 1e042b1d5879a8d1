//! What `inspect` says of a tensor: extremes, mean and spread of its finite values, and how many are zero, NaN or infinite.
//!
//! A slice is summed as a block and blocks are merged in file order with Chan, Golub and LeVeque's update (1979), so the
//! answer does not depend on how many threads shared the work, and a tensor of a million equal values has std 0.

use super::Real;
use super::dispatch::{self, Kernel};

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

/// Elements summed in one block.
const BLOCK: usize = 4096;
/// Sums kept side by side, so that the loops are wide.
const LANES: usize = 16;

/// Moments of a slice. Non-finite elements are counted and otherwise left out.
#[must_use]
pub fn moments<T: Real>(values: &[T]) -> Moments {
    dispatch::run(Blocks(values))
}

struct Blocks<'a, T>(&'a [T]);

impl<T: Real> Kernel for Blocks<'_, T> {
    type Output = Moments;

    #[inline(always)]
    fn run(self) -> Moments {
        let mut out = Moments::default();
        for block in self.0.chunks(BLOCK) {
            let of_block = match finite_block(block) {
                Some(moments) => moments,
                None => strange_block(block),
            };
            out = out.merge(of_block);
        }
        out
    }
}

/// A block with strangers inside is cleaned first, so that the loop stays straight.
#[inline(never)]
fn strange_block<T: Real>(block: &[T]) -> Moments {
    let clean: Vec<T> = block.iter().copied().filter(|v| v.is_finite()).collect();
    let nan = block.iter().filter(|v| v.to_f64().is_nan()).count();
    let bad = block.len() - clean.len();
    let moments = finite_block(&clean).unwrap_or_default();
    Moments { nan: nan as u64, inf: (bad - nan) as u64, ..moments }
}

/// One block in one look: sums of differences from a pivot and of their squares, extremes and zeros. `None` when some element
/// is not finite.
///
/// The pivot is the mean of the block's first elements. Taking Σd²/n − (Σd/n)² about it loses no more than a factor of
/// n/8 in precision, because the pivot's own elements lie about it: a block of 4,096 keeps twelve digits whatever it holds,
/// and one of equal values has no spread at all.
#[inline(always)]
fn finite_block<T: Real>(block: &[T]) -> Option<Moments> {
    let head = &block[..block.len().min(8)];
    if head.is_empty() {
        return Some(Moments::default());
    }
    let pivot = head.iter().map(|v| v.to_f64()).sum::<f64>() / head.len() as f64;
    let (sum, squares) = sums(block, pivot);
    // One stranger makes every sum it touches strange. (f64 squares may also run over by themselves.)
    if !squares.iter().sum::<f64>().is_finite() && block.iter().any(|x| !x.is_finite()) {
        return None;
    }
    let [min, max] = extremes(block);
    let mut zeros = 0_u32;
    for &x in block {
        zeros += u32::from(x == T::ZERO);
    }
    let n = block.len() as f64;
    let (sum, squares) = (sum.iter().sum::<f64>(), squares.iter().sum::<f64>());
    let mean = pivot + sum / n;
    let m2 = (squares - sum * sum / n).max(0.0);
    Some(Moments {
        finite: block.len() as u64,
        zeros: u64::from(zeros),
        nan: 0,
        inf: 0,
        min,
        max,
        mean,
        m2,
        energy: m2 + n * mean * mean,
    })
}

/// Σd and Σd² of differences from the pivot, in lanes.
#[inline(always)]
fn sums<T: Real>(block: &[T], pivot: f64) -> ([f64; LANES], [f64; LANES]) {
    let (mut sum, mut squares) = ([0.0_f64; LANES], [0.0_f64; LANES]);
    let (wide, rest) = block.as_chunks::<LANES>();
    for lanes in wide {
        for lane in 0..LANES {
            let difference = lanes[lane].to_f64() - pivot;
            sum[lane] += difference;
            squares[lane] += difference * difference;
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        let difference = x.to_f64() - pivot;
        sum[lane] += difference;
        squares[lane] += difference * difference;
    }
    (sum, squares)
}

/// Least and greatest of a block of finite values.
#[inline(always)]
fn extremes<T: Real>(block: &[T]) -> [f64; 2] {
    const WIDE: usize = 32;
    let (mut min, mut max) = ([block[0]; WIDE], [block[0]; WIDE]);
    let (wide, rest) = block.as_chunks::<WIDE>();
    for lanes in wide {
        for lane in 0..WIDE {
            let x = lanes[lane];
            min[lane] = if x < min[lane] { x } else { min[lane] };
            max[lane] = if x > max[lane] { x } else { max[lane] };
        }
    }
    for (lane, &x) in rest.iter().enumerate() {
        min[lane] = if x < min[lane] { x } else { min[lane] };
        max[lane] = if x > max[lane] { x } else { max[lane] };
    }
    let least = min.into_iter().map(Real::to_f64).fold(f64::INFINITY, f64::min);
    [least, max.into_iter().map(Real::to_f64).fold(f64::NEG_INFINITY, f64::max)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;

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
            let slow = specification(&values);
            for fast in Level::all().into_iter().map(|level| level.run(Blocks(&values))) {
                assert_eq!(
                    (fast.finite, fast.zeros, fast.nan, fast.inf),
                    (slow.finite, slow.zeros, slow.nan, slow.inf)
                );
                assert!(fast.min == slow.min && fast.max == slow.max, "{n}");
                assert!(
                    close(fast.mean, slow.mean) && close(fast.m2, slow.m2) && close(fast.energy, slow.energy),
                    "{n}"
                );
            }
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
