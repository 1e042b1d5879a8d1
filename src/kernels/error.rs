//! How far a compressed tensor lies from its source: Σ(w−q)², Σw², Σwq, Σq² and the largest difference.
//!
//! Sums are f64 over finite source values, taken per chunk and merged in file order, so every thread count gives the
//! same bits. The definitions of t², SQNR and cosine stand here once.

use super::Real;
use super::dispatch::{self, Kernel};

/// Sums over one run of elements.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ErrorSums {
    /// Finite source elements.
    pub finite: u64,
    /// Σ(w − q)².
    pub squared_error: f64,
    /// The part of Σ(w − q)² on elements that pruning zeroed.
    pub pruned_error: f64,
    /// The part of Σ(w − q)² on elements beyond the end levels of their grid.
    pub clipped_error: f64,
    /// Σw².
    pub energy: f64,
    /// Σw·q.
    pub product: f64,
    /// Σq².
    pub energy_after: f64,
    /// max |w − q|.
    pub max_abs_difference: f64,
    /// Elements with q = 0, over all elements.
    pub zeros: u64,
}

impl ErrorSums {
    /// Joins the run that follows this one.
    #[must_use]
    pub fn merge(self, next: Self) -> Self {
        Self {
            finite: self.finite + next.finite,
            squared_error: self.squared_error + next.squared_error,
            pruned_error: self.pruned_error + next.pruned_error,
            clipped_error: self.clipped_error + next.clipped_error,
            energy: self.energy + next.energy,
            product: self.product + next.product,
            energy_after: self.energy_after + next.energy_after,
            max_abs_difference: self.max_abs_difference.max(next.max_abs_difference),
            zeros: self.zeros + next.zeros,
        }
    }

    /// Relative squared error t² = Σ(w−q)²/Σw²: 0 when nothing differs, 1 when only the source is zero, `None`
    /// without a finite element.
    #[must_use]
    pub fn t2(&self) -> Option<f64> {
        match self {
            _ if self.finite == 0 => None,
            _ if self.squared_error == 0.0 => Some(0.0),
            _ if self.energy == 0.0 => Some(1.0),
            _ => Some(self.squared_error / self.energy),
        }
    }

    /// −10·log10 t², `None` when t² is 0 or undefined.
    #[must_use]
    pub fn sqnr_db(&self) -> Option<f64> {
        self.t2().and_then(sqnr_db)
    }

    /// Cosine between source and result: 1 when both are zero, 0 when one is, `None` without a finite element.
    #[must_use]
    pub fn cosine(&self) -> Option<f64> {
        match (self.energy == 0.0, self.energy_after == 0.0) {
            _ if self.finite == 0 => None,
            (true, true) => Some(1.0),
            (true, false) | (false, true) => Some(0.0),
            _ if self.squared_error == 0.0 => Some(1.0),
            // Two roots rather than the root of a product: energies near the end of f64's range stay finite.
            _ => Some((self.product / (self.energy.sqrt() * self.energy_after.sqrt())).clamp(-1.0, 1.0)),
        }
    }
}

/// −10·log10 t², `None` when t² is 0.
#[must_use]
pub fn sqnr_db(t2: f64) -> Option<f64> {
    (t2 > 0.0).then(|| -10.0 * t2.log10())
}

/// Elements summed at a time: small enough for several looks in the first-level cache.
const BLOCK: usize = 2048;
/// Sums kept side by side, so that the loops below are wide.
const LANES: usize = 8;

/// Sums over one chunk: `source` as read, `pruned` after pruning, `result` after everything, all of one length.
#[must_use]
pub fn error_sums<T: Real>(source: &[T], pruned: &[T], result: &[T]) -> ErrorSums {
    dispatch::run(Compared { source, pruned, result })
}

struct Compared<'a, T> {
    source: &'a [T],
    pruned: &'a [T],
    result: &'a [T],
}

impl<T: Real> Kernel for Compared<'_, T> {
    type Output = ErrorSums;

    #[inline(always)]
    fn run(self) -> ErrorSums {
        let blocks = self.source.chunks(BLOCK).zip(self.pruned.chunks(BLOCK)).zip(self.result.chunks(BLOCK));
        let mut sums = ErrorSums::default();
        for ((w, p), q) in blocks {
            sums =
                sums.merge(if w.iter().all(|x| x.is_finite()) { block_sums(w, p, q) } else { strange_sums(w, p, q) });
        }
        sums
    }
}

/// A block in which some source element is not finite: that element counts as 0 → 0.
#[inline(never)]
fn strange_sums<T: Real>(source: &[T], pruned: &[T], result: &[T]) -> ErrorSums {
    let keep =
        |x: &[T]| -> Vec<T> { x.iter().zip(source).map(|(&x, w)| if w.is_finite() { x } else { T::ZERO }).collect() };
    let clean = block_sums(&keep(source), &keep(pruned), &keep(result));
    let finite = source.iter().filter(|w| w.is_finite()).count() as u64;
    let zeros = result.iter().filter(|q| **q == T::ZERO).count() as u64;
    ErrorSums { finite, zeros, ..clean }
}

/// One block of finite source elements, in short loops of one or two sums each.
#[inline(always)]
fn block_sums<T: Real>(source: &[T], pruned: &[T], result: &[T]) -> ErrorSums {
    let mut zeros = 0_u64;
    result.iter().for_each(|q| zeros += u64::from(*q == T::ZERO));
    let [squared, cut] = sum_pairs(source, result, pruned, |w, q, p| {
        let d = w - q;
        [d * d, if p == 0.0 { d * d } else { 0.0 }]
    });
    let [energy, energy_after] = sum_pairs(source, result, pruned, |w, q, _| [w * w, q * q]);
    let [product, _] = sum_pairs(source, result, pruned, |w, q, _| [w * q, 0.0]);
    let mut max = [0.0_f64; LANES];
    for (w, q) in source.chunks(LANES).zip(result.chunks(LANES)) {
        for (max, (&w, &q)) in max.iter_mut().zip(w.iter().zip(q)) {
            let d = (w.to_f64() - q.to_f64()).abs();
            *max = if d > *max { d } else { *max };
        }
    }
    ErrorSums {
        finite: source.len() as u64,
        squared_error: squared,
        pruned_error: cut,
        clipped_error: 0.0,
        energy,
        product,
        energy_after,
        max_abs_difference: max.into_iter().fold(0.0, f64::max),
        zeros,
    }
}

/// Two sums over three slices, in lanes; lanes are added in order.
#[inline(always)]
fn sum_pairs<T: Real>(a: &[T], b: &[T], c: &[T], term: impl Fn(f64, f64, f64) -> [f64; 2]) -> [f64; 2] {
    let (mut first, mut second) = ([0.0_f64; LANES], [0.0_f64; LANES]);
    let (wide_a, rest_a) = a.as_chunks::<LANES>();
    let (wide_b, rest_b) = b.as_chunks::<LANES>();
    let (wide_c, rest_c) = c.as_chunks::<LANES>();
    for ((a, b), c) in wide_a.iter().zip(wide_b).zip(wide_c) {
        for lane in 0..LANES {
            let [x, y] = term(a[lane].to_f64(), b[lane].to_f64(), c[lane].to_f64());
            first[lane] += x;
            second[lane] += y;
        }
    }
    for (lane, ((a, b), c)) in rest_a.iter().zip(rest_b).zip(rest_c).enumerate() {
        let [x, y] = term(a.to_f64(), b.to_f64(), c.to_f64());
        first[lane] += x;
        second[lane] += y;
    }
    [first.iter().sum(), second.iter().sum()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;

    #[test]
    fn the_corner_cases_of_the_definitions() {
        let sums = |w: &[f32], q: &[f32]| error_sums(w, w, q);
        let same = sums(&[1.0, -2.0], &[1.0, -2.0]);
        assert_eq!((same.t2(), same.sqnr_db(), same.cosine()), (Some(0.0), None, Some(1.0)));
        let gone = sums(&[3.0, 4.0], &[0.0, 0.0]);
        assert_eq!((gone.t2(), gone.sqnr_db(), gone.cosine(), gone.zeros), (Some(1.0), Some(-0.0), Some(0.0), 2));
        let risen = sums(&[0.0], &[1.0]);
        assert_eq!((risen.t2(), risen.cosine()), (Some(1.0), Some(0.0)));
        let nothing = sums(&[], &[]);
        assert_eq!((nothing.t2(), nothing.cosine()), (None, None));
        let strange = sums(&[f32::NAN, 2.0], &[f32::NAN, 1.0]);
        assert_eq!((strange.t2(), strange.finite, strange.max_abs_difference), (Some(0.25), 1, 1.0));
    }

    #[test]
    fn agrees_with_the_definition_over_all_tails() {
        for n in 0..41 {
            let w: Vec<f32> = (0..n).map(|i| ((i * 37 % 19) as f32 - 9.0) / 7.0).collect();
            let p: Vec<f32> = w.iter().map(|&x| if x.abs() < 0.3 { 0.0 } else { x }).collect();
            let q: Vec<f32> = p.iter().map(|x| (x * 4.0).round() / 4.0).collect();
            let got = error_sums(&w, &p, &q);
            for level in Level::all() {
                assert_eq!(level.run(Compared { source: &w, pruned: &p, result: &q }), got, "{}", level.name());
            }
            let pairs = || w.iter().zip(&q).map(|(&a, &b)| (f64::from(a), f64::from(b)));
            let squared: f64 = pairs().map(|(a, b)| (a - b) * (a - b)).sum();
            let product: f64 = pairs().map(|(a, b)| a * b).sum();
            assert!((got.squared_error - squared).abs() < 1e-12 && (got.product - product).abs() < 1e-12);
            let cut: f64 = w.iter().zip(&p).filter(|(_, p)| **p == 0.0).map(|(w, _)| f64::from(*w).powi(2)).sum();
            assert!((got.pruned_error - cut).abs() < 1e-12);
            assert_eq!(got.zeros, q.iter().filter(|x| **x == 0.0).count() as u64);
        }
    }

    #[test]
    fn pure_pruning_obeys_one_minus_cosine_squared() {
        let w: Vec<f32> = (1_u8..100).map(|i| f32::from(i) / 50.0).collect();
        let q: Vec<f32> = w.iter().map(|&x| if x < 0.7 { 0.0 } else { x }).collect();
        let sums = error_sums(&w, &q, &q);
        assert!((1.0 - sums.cosine().unwrap().powi(2) - sums.t2().unwrap()).abs() < 1e-12);
        assert_eq!(sums.pruned_error, sums.squared_error);
    }
}
