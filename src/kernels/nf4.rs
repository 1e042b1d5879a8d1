//! NormalFloat 4: sixteen levels where a Gaussian's weights stand, times the largest magnitude of their block.
//!
//! The levels are those of bitsandbytes (Dettmers et al. 2023, QLoRA, appendix E), as f32. A weight over its block's scale goes
//! to the nearest of them, and half-way between two to the lower.

use super::Real;
use super::dispatch::{self, Kernel};

/// The levels in ascending order; the eighth is 0.
pub const LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];
/// The code of the level 0.
pub const ZERO: i32 = 7;

/// Half-way between neighbours: exact in f64.
const MIDDLES: [f64; 15] = {
    let mut middles = [0.0; 15];
    let mut i = 0;
    while i < middles.len() {
        middles[i] = f64::midpoint(LEVELS[i] as f64, LEVELS[i + 1] as f64);
        i += 1;
    }
    middles
};

/// The levels of one block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normal<T> {
    /// The largest magnitude of the block; where it is 0 every value is.
    pub scale: T,
}

impl<T: Real> Normal<T> {
    /// The value of a code.
    #[must_use]
    pub fn value(&self, code: i32) -> T {
        T::from_f32(LEVELS.get(code as usize).copied().unwrap_or_default()).mul(self.scale)
    }

    /// Codes and values of finite elements.
    pub fn quantize(&self, values: &[T], codes: &mut [i32], results: &mut [T]) {
        if self.scale == T::ZERO {
            codes.fill(ZERO);
            results.fill(T::ZERO);
            return;
        }
        dispatch::run(Nearest { scale: self.scale, values, codes, results });
    }
}

struct Nearest<'a, T> {
    scale: T,
    values: &'a [T],
    codes: &'a mut [i32],
    results: &'a mut [T],
}

impl<T: Real> Kernel for Nearest<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let middles = MIDDLES.map(T::from_f64_down);
        let levels = LEVELS.map(T::from_f32);
        for ((&w, code), result) in self.values.iter().zip(self.codes.iter_mut()).zip(self.results.iter_mut()) {
            let x = w.div(self.scale);
            let (mut place, mut level) = (0, levels[0]);
            for (i, &middle) in middles.iter().enumerate() {
                // What is half-way stays below.
                place += i32::from(x > middle);
                level = if x > middle { levels[i + 1] } else { level };
            }
            *code = place;
            *result = level.mul(self.scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;

    /// The specification: the level at the least distance, the first of equals.
    fn plainly(x: f64) -> usize {
        let distance = |i: &usize| (f64::from(LEVELS[*i]) - x).abs();
        (0..16).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap()
    }

    #[test]
    fn every_level_reads_itself_and_the_nearest_is_taken() {
        let mut w: Vec<f32> = LEVELS.to_vec();
        w.extend(MIDDLES.iter().flat_map(|&m| [(m as f32).next_down(), m as f32, (m as f32).next_up()]));
        w.extend((0..2001).map(|i| (i as f32 - 1000.0) / 1000.0));
        for n in (0..40).chain([w.len()]) {
            for level in Level::all() {
                let (mut codes, mut results) = (vec![0; n], vec![0.0; n]);
                level.run(Nearest { scale: 1.0, values: &w[..n], codes: &mut codes, results: &mut results });
                for ((&w, &code), &q) in w.iter().zip(&codes).zip(&results) {
                    assert_eq!(code as usize, plainly(f64::from(w)), "{w} {}", level.name());
                    assert_eq!(q, LEVELS[code as usize]);
                }
            }
        }
        assert_eq!(LEVELS[ZERO as usize], 0.0);
    }

    #[test]
    fn half_way_in_f64_goes_down_and_no_scale_is_all_zeros() {
        let (mut codes, mut q) = ([0; 3], [0.0; 3]);
        let scale = 4.0;
        Normal { scale }.quantize(&[MIDDLES[3] * scale, (MIDDLES[3] * scale).next_up(), 0.0], &mut codes, &mut q);
        assert_eq!((codes, q[1]), ([3, 4, ZERO], f64::from(LEVELS[4]) * scale));
        Normal { scale: 0.0_f32 }.quantize(&[0.0; 3], &mut codes, &mut [0.0; 3]);
        assert_eq!(codes, [ZERO; 3]);
        assert_eq!(Normal { scale: 0.5_f32 }.value(15), 0.5);
    }
}
