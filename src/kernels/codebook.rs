//! Shared values: each weight becomes the nearest of K centroids (Han, Mao and Dally 2016, §3).
//!
//! Lloyd's rounds (Lloyd 1982) need only how many values lie between two bounds and what they add up to, which running sums
//! over the ordered values say at once; a unit too long to be ordered in memory is asked by passes instead. Centroids are
//! f32 and stay in ascending order, so that an assignment is a count of bounds.

use super::Real;
use super::dispatch::{self, Kernel};
use super::sum::Tally;
use rayon::prelude::*;

/// Rounds at most.
pub const ROUNDS: usize = 300;

/// The centroids of one unit, in ascending order.
#[derive(Clone, Debug, PartialEq)]
pub struct Codebook {
    /// K of them.
    pub centroids: Vec<f32>,
    /// Whether an element that is 0 was pruned: it stays 0 and has no code.
    pub zeros_apart: bool,
}

/// The code of an element that has none.
pub const NO_CODE: i32 = -1;

/// Centroids up to this many are all compared with; more are searched by halves.
const FEW: usize = 32;

impl Codebook {
    /// The value of a code.
    #[must_use]
    pub fn value<T: Real>(&self, code: i32) -> T {
        T::from_f32(usize::try_from(code).ok().and_then(|at| self.centroids.get(at)).copied().unwrap_or_default())
    }

    /// Codes and values of finite elements: the nearest centroid, half-way the lower.
    pub fn quantize<T: Real>(&self, values: &[T], codes: &mut [i32], results: &mut [T]) {
        let bounds: Vec<T> = bounds(&self.centroids).into_iter().map(T::from_f64_down).collect();
        let centroids: Vec<T> = self.centroids.iter().map(|&c| T::from_f32(c)).collect();
        dispatch::run(Nearest { bounds: &bounds, values, codes });
        for ((&w, code), result) in values.iter().zip(codes).zip(results) {
            if self.zeros_apart && w == T::ZERO {
                (*code, *result) = (NO_CODE, T::ZERO);
            } else {
                *result = centroids[*code as usize];
            }
        }
    }
}

/// Half-way between neighbours: what is above the i-th belongs to a centroid after the i-th.
#[must_use]
pub fn bounds(centroids: &[f32]) -> Vec<f64> {
    centroids.windows(2).map(|pair| f64::midpoint(f64::from(pair[0]), f64::from(pair[1]))).collect()
}

struct Nearest<'a, T> {
    bounds: &'a [T],
    values: &'a [T],
    codes: &'a mut [i32],
}

impl<T: Real> Kernel for Nearest<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        if self.bounds.len() < FEW {
            for (codes, values) in self.codes.chunks_mut(16).zip(self.values.chunks(16)) {
                codes.fill(0);
                for &bound in self.bounds {
                    for (code, &w) in codes.iter_mut().zip(values) {
                        *code += i32::from(w > bound);
                    }
                }
            }
            return;
        }
        for (code, &w) in self.codes.iter_mut().zip(self.values) {
            let (mut first, mut left) = (0, self.bounds.len());
            while left > 1 {
                let half = left / 2;
                first += if self.bounds[first + half - 1] < w { half } else { 0 };
                left -= half;
            }
            *code = (first + usize::from(self.bounds[first] < w)) as i32;
        }
    }
}

/// `k` centroids spaced evenly over [low, high], both ends included.
#[must_use]
pub fn spaced(k: usize, low: f64, high: f64) -> Vec<f32> {
    let step = (high - low) / (k.max(2) - 1) as f64;
    (0..k).map(|i| if i + 1 == k { high } else { low + i as f64 * step } as f32).collect()
}

/// Lloyd's centroids from evenly spaced ones over the `ends` of a unit. `cells` says what lies between bounds: one cell
/// more than there are bounds, each without its lower bound and with its upper.
///
/// # Errors
/// Those of `cells`.
pub fn lloyd<E>(k: usize, ends: [f64; 2], cells: impl FnMut(&[f64]) -> Result<Vec<Tally>, E>) -> Result<Vec<f32>, E> {
    settled(spaced(k, ends[0], ends[1]), cells)
}

/// The same from any centroids in ascending order.
///
/// # Errors
/// Those of `cells`.
pub fn settled<E>(
    mut centroids: Vec<f32>,
    mut cells: impl FnMut(&[f64]) -> Result<Vec<Tally>, E>,
) -> Result<Vec<f32>, E> {
    let mut last: Vec<u64> = Vec::new();
    for _ in 0..ROUNDS {
        let found = cells(&bounds(&centroids))?;
        let counts: Vec<u64> = found.iter().map(|cell| cell.count).collect();
        // Cells are intervals: as many in each as before are the same ones.
        if counts == last {
            break;
        }
        for (centroid, cell) in centroids.iter_mut().zip(&found).filter(|(_, cell)| cell.count > 0) {
            *centroid = cell.mean();
        }
        last = counts;
    }
    Ok(centroids)
}

/// What some values of a unit add to the cells between bounds.
#[must_use]
pub fn cells_of<T: Real>(values: &[T], bounds: &[f64], survivors: bool) -> Vec<Tally> {
    let mut cells = vec![Tally::default(); bounds.len() + 1];
    for w in values.iter().filter(|w| !survivors || **w != T::ZERO) {
        let w = w.to_f64();
        cells[bounds.partition_point(|&bound| bound < w)].add(w, 1);
    }
    cells
}

/// Values between two entries of the running sums.
const BLOCK: usize = 64;

/// The values of a unit in ascending order with running counts and sums.
#[derive(Clone, Debug, Default)]
pub struct Ordered<T> {
    /// The values.
    pub values: Vec<T>,
    /// How often each occurs; empty where each entry is one element.
    pub counts: Vec<u64>,
    /// What lies before every [`BLOCK`].
    before: Vec<Tally>,
}

impl<T: Real> Ordered<T> {
    /// Values in any order, all finite; equal ones may stand side by side.
    #[must_use]
    pub fn of(mut values: Vec<T>) -> Self {
        values.par_sort_unstable_by(|a, b| a.to_f64().total_cmp(&b.to_f64()));
        Self::sorted(values, Vec::new())
    }

    /// Values in ascending order, and how often each occurs.
    #[must_use]
    pub fn sorted(values: Vec<T>, counts: Vec<u64>) -> Self {
        let mut out = Self { values, counts, before: Vec::new() };
        let mut sum = Tally::default();
        for i in 0..out.values.len() {
            if i % BLOCK == 0 {
                out.before.push(sum);
            }
            out.add(i, &mut sum);
        }
        out.before.push(sum);
        out
    }

    /// How often the i-th value occurs.
    #[must_use]
    pub fn count(&self, i: usize) -> u64 {
        self.counts.get(i).copied().unwrap_or(1)
    }

    fn add(&self, i: usize, tally: &mut Tally) {
        tally.add(self.values[i].to_f64(), self.count(i));
    }

    /// The first and the last value; zeros when there is none.
    #[must_use]
    pub fn ends(&self) -> [f64; 2] {
        [self.values.first(), self.values.last()].map(|end| end.map_or(0.0, |w| w.to_f64()))
    }

    /// What lies before the i-th value.
    fn before(&self, i: usize) -> Tally {
        let start = i - i % BLOCK;
        let mut cell = self.before.get(i / BLOCK).copied().unwrap_or_default();
        (start..i).for_each(|i| self.add(i, &mut cell));
        cell
    }

    /// What lies between bounds; see [`lloyd`].
    #[must_use]
    pub fn cells(&self, bounds: &[f64]) -> Vec<Tally> {
        let mut last = Tally::default();
        let mut cell = |end: usize| {
            let upto = self.before(end);
            let found = upto.minus(last);
            last = upto;
            found
        };
        let mut cells: Vec<Tally> =
            bounds.iter().map(|&bound| cell(self.values.partition_point(|w| w.to_f64() <= bound))).collect();
        cells.push(cell(self.values.len()));
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;
    use std::convert::Infallible;

    fn weights(n: usize) -> Vec<f32> {
        let uniform = |i: u32| f64::from(i.wrapping_mul(2_654_435_761) >> 8) / 16_777_216.0 - 0.45;
        (0..n as u32).map(|i| (uniform(i).powi(3) * 0.7) as f32).collect()
    }

    /// The specification: every value against every centroid, means in f64, until nothing moves.
    fn plainly(w: &[f32], k: usize) -> Vec<f32> {
        let (low, high) = w.iter().fold((f32::MAX, f32::MIN), |(l, h), &w| (l.min(w), h.max(w)));
        let mut centroids = spaced(k, f64::from(low), f64::from(high));
        let mut last = Vec::new();
        for _ in 0..ROUNDS {
            let assigned: Vec<usize> = w.iter().map(|&w| nearest(&centroids, w)).collect();
            if assigned == last {
                break;
            }
            for (i, centroid) in centroids.iter_mut().enumerate() {
                let mine: Vec<f64> =
                    w.iter().zip(&assigned).filter(|(_, a)| **a == i).map(|(w, _)| f64::from(*w)).collect();
                if !mine.is_empty() {
                    *centroid = (mine.iter().sum::<f64>() / mine.len() as f64) as f32;
                }
            }
            last = assigned;
        }
        centroids
    }

    fn nearest(centroids: &[f32], w: f32) -> usize {
        let distance = |i: &usize| (f64::from(centroids[*i]) - f64::from(w)).abs();
        (0..centroids.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap()
    }

    #[test]
    fn ordered_values_and_passes_say_what_the_definition_says() {
        let w = weights(2000);
        for k in [2, 3, 5, 16, 37, 200] {
            let wanted = plainly(&w, k);
            let ordered = Ordered::of(w.clone());
            let found = lloyd(k, ordered.ends(), |bounds| Ok::<_, Infallible>(ordered.cells(bounds))).unwrap();
            assert_eq!(found, wanted, "{k}");
            let passes = lloyd(k, ordered.ends(), |bounds| {
                let parts = w.chunks(700).map(|part| cells_of(part, bounds, false));
                let join = |a: Vec<Tally>, b: Vec<Tally>| a.into_iter().zip(b).map(|(a, b)| a.merge(b)).collect();
                Ok::<_, Infallible>(parts.reduce(join).unwrap())
            });
            assert_eq!(passes.unwrap(), wanted, "{k}");
        }
    }

    #[test]
    fn counted_values_are_the_values_one_by_one() {
        let w: Vec<f32> = weights(3000).iter().map(|w| (w * 300.0).round() / 300.0).collect();
        let one_by_one = Ordered::of(w);
        let (mut values, mut counts) = (Vec::new(), Vec::new());
        for run in one_by_one.values.chunk_by(|a, b| a == b) {
            values.push(run[0]);
            counts.push(run.len() as u64);
        }
        assert!(values.len() > BLOCK / 2 && values.len() < 300);
        let counted = Ordered::sorted(values, counts);
        let of = |ordered: &Ordered<f32>| lloyd(7, ordered.ends(), |b| Ok::<_, Infallible>(ordered.cells(b))).unwrap();
        assert_eq!(of(&one_by_one), of(&counted));
    }

    #[test]
    fn the_nearest_is_taken_at_every_level_and_length_and_half_way_the_lower() {
        for k in [2, 3, 16, FEW, FEW + 1, FEW + 2, 64, 255, 256] {
            let centroids = spaced(k, -1.0, 1.0);
            let mut w = weights(300);
            w.extend(bounds(&centroids).iter().flat_map(|&b| [b as f32, (b as f32).next_up(), (b as f32).next_down()]));
            // Next to 0 the two distances are the same f64.
            w.retain(|w| *w == 0.0 || w.abs() > 1e-15);
            let book = Codebook { centroids: centroids.clone(), zeros_apart: false };
            for n in [0, 1, 15, 16, 17, w.len()] {
                let (mut codes, mut q) = (vec![7; n], vec![9.0; n]);
                book.quantize(&w[..n], &mut codes, &mut q);
                for ((&w, &code), &q) in w.iter().zip(&codes).zip(&q) {
                    assert_eq!((code as usize, q), (nearest(&centroids, w), centroids[code as usize]), "{k} {w}");
                }
                let bounds: Vec<f32> = bounds(&centroids).into_iter().map(f32::from_f64_down).collect();
                for level in Level::all() {
                    let mut same = vec![0; n];
                    level.run(Nearest { bounds: &bounds, values: &w[..n], codes: &mut same });
                    assert_eq!(same, codes, "{}", level.name());
                }
            }
        }
    }

    #[test]
    fn what_was_pruned_stays_out_of_it_and_nothing_is_no_trouble() {
        let book = Codebook { centroids: vec![-1.0, 0.25], zeros_apart: true };
        let (mut codes, mut q) = ([9; 3], [9.0_f64; 3]);
        book.quantize(&[0.0, -0.0, 0.2], &mut codes, &mut q);
        assert_eq!((codes, q), ([NO_CODE, NO_CODE, 1], [0.0, 0.0, 0.25]));
        assert_eq!((book.value::<f32>(0), book.value::<f32>(NO_CODE)), (-1.0, 0.0));
        let nothing = Ordered::<f32>::of(Vec::new());
        let found = lloyd(4, nothing.ends(), |bounds| Ok::<_, Infallible>(nothing.cells(bounds)));
        assert_eq!(found.unwrap(), [0.0; 4]);
        // One value: every centroid starts there, and the first has it.
        let one = Ordered::of(vec![0.3_f32; 5]);
        let found = lloyd(4, one.ends(), |bounds| Ok::<_, Infallible>(one.cells(bounds)));
        assert_eq!(found.unwrap(), [0.3; 4]);
        // An empty one stays where it was.
        let apart = Ordered::of(vec![-1.0_f32, -1.0, 1.0]);
        let found = lloyd(3, apart.ends(), |bounds| Ok::<_, Infallible>(apart.cells(bounds)));
        assert_eq!(found.unwrap(), [-1.0, 0.0, 1.0]);
    }
}
