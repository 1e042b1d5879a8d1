//! Sums of squares of the rows and columns of a matrix: what structured pruning ranks by.
//!
//! Sums are f64 over finite values and taken chunk by chunk in the order of the file, so that they do not depend on the
//! number of threads.

use super::Real;
use super::dispatch::{self, Kernel};

/// Sums kept side by side, so that the loop is wide.
const LANES: usize = 8;

/// Σw² over the finite values of a stretch of one row.
#[must_use]
pub fn energy<T: Real>(values: &[T]) -> f64 {
    dispatch::run(Along(values))
}

struct Along<'a, T>(&'a [T]);

impl<T: Real> Kernel for Along<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let mut lanes = [0.0_f64; LANES];
        let blocks = self.0.chunks_exact(LANES);
        let rest = blocks.remainder();
        for block in blocks {
            for (lane, &w) in lanes.iter_mut().zip(block) {
                *lane += square(w);
            }
        }
        lanes.iter_mut().zip(rest).for_each(|(lane, &w)| *lane += square(w));
        lanes.iter().sum()
    }
}

/// Adds w² to each column's sum, for a stretch of one row that begins at the first of `columns`. Non-finite values add
/// nothing.
pub fn add_columns<T: Real>(values: &[T], columns: &mut [f64]) {
    dispatch::run(Across { values, columns });
}

struct Across<'a, 'b, T> {
    values: &'a [T],
    columns: &'b mut [f64],
}

impl<T: Real> Kernel for Across<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.columns.iter_mut().zip(self.values).for_each(|(sum, &w)| *sum += square(w));
    }
}

#[inline(always)]
fn square<T: Real>(w: T) -> f64 {
    let w = if w.is_finite() { w.to_f64() } else { 0.0 };
    w * w
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wide_loops_agree_with_one_sum_after_the_other_at_every_length() {
        let all: Vec<f32> = (0..67_u32).map(|i| (f64::from(i * 37 % 101) - 50.0) as f32).collect();
        for len in 0..all.len() {
            let mut values = all[..len].to_vec();
            if len > 5 {
                (values[1], values[5]) = (f32::NAN, f32::NEG_INFINITY);
            }
            let one = |w: &f32| if w.is_finite() { f64::from(*w).powi(2) } else { 0.0 };
            // Squares of small integers add up without rounding.
            assert_eq!(energy(&values), values.iter().map(one).sum::<f64>());
            let mut columns = vec![1.0; len];
            add_columns(&values, &mut columns);
            assert!(columns.iter().zip(&values).all(|(sum, w)| *sum == 1.0 + one(w)));
        }
    }
}
