//! One magnitude per unit: binary weights (Rastegari et al. 2016) and ternary ones (Li, Zhang and Liu 2016, "TWN").
//!
//! TWN sets to zero what is not above 0.7 times the mean magnitude, and gives the rest their sign times their mean magnitude.

use super::Real;
use super::each::{self, Quantizer};

/// Three levels: −scale, 0, scale. A code is −1, 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ternary<T> {
    /// Only magnitudes strictly above this are not 0.
    pub threshold: T,
    /// The mean of those.
    pub scale: T,
}

impl<T: Real> Ternary<T> {
    /// TWN's threshold from the mean magnitude of a unit.
    #[must_use]
    pub fn threshold(mean: T) -> T {
        T::from_f32(0.7).mul(mean)
    }

    /// The value of a code.
    #[must_use]
    pub fn value(&self, code: i32) -> T {
        T::from_code(code).mul(self.scale)
    }

    /// Codes and values of finite elements.
    pub fn quantize(&self, values: &[T], codes: &mut [i32], results: &mut [T]) {
        each::quantize(*self, values, codes, results);
    }
}

/// Two levels: a code of 0 is scale, 1 is −scale; zeros of either sign are above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Binary<T> {
    /// The mean magnitude of the unit.
    pub scale: T,
}

impl<T: Real> Binary<T> {
    /// The value of a code.
    #[must_use]
    pub fn value(&self, code: i32) -> T {
        T::from_code(1 - 2 * code).mul(self.scale)
    }

    /// Codes and values of finite elements.
    pub fn quantize(&self, values: &[T], codes: &mut [i32], results: &mut [T]) {
        each::quantize(*self, values, codes, results);
    }
}

impl<T: Real> Quantizer<T> for Ternary<T> {
    #[inline(always)]
    fn one(&self, w: T) -> (i32, T) {
        let above = w.abs() > self.threshold;
        let sign = if w < T::ZERO { -1 } else { 1 };
        (if above { sign } else { 0 }, if above { self.scale.copysign(w) } else { T::ZERO })
    }
}

impl<T: Real> Quantizer<T> for Binary<T> {
    #[inline(always)]
    fn one(&self, w: T) -> (i32, T) {
        let below = w < T::ZERO;
        (i32::from(below), if below { T::ZERO.sub(self.scale) } else { self.scale })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;
    use crate::kernels::each::Each;
    use crate::kernels::sum::Tally;

    #[test]
    fn by_hand() {
        // mean 2, threshold f32(0.7)·2 = 1.4, of which 1.4 itself is not strictly above.
        let w = [1.4_f32, -0.1, -3.5, 3.0];
        let mean: f32 = Tally::above(&w, 0.0).mean();
        let threshold = Ternary::threshold(mean);
        assert_eq!((mean, threshold), (2.0, 1.4));
        let above = Tally::above(&w, threshold);
        let levels = Ternary { threshold, scale: above.mean() };
        let (mut codes, mut q) = ([9; 4], [9.0; 4]);
        levels.quantize(&w, &mut codes, &mut q);
        assert_eq!((codes, q), ([0, 0, -1, 1], [0.0, 0.0, -3.25, 3.25]));
        Binary { scale: mean }.quantize(&[0.0, -0.0, -1.0, 9.0], &mut codes, &mut q);
        assert_eq!((codes, q), ([0, 0, 1, 0], [2.0, 2.0, -2.0, 2.0]));
    }

    #[test]
    fn every_level_and_length_is_the_plain_loop() {
        for n in 0..70_usize {
            let w: Vec<f64> = (0..n).map(|i| ((i * 31 % 17) as f64 - 8.0) / 3.0).collect();
            let (three, two) = (Ternary { threshold: 1.0, scale: 1.7 }, Binary { scale: 1.2 });
            for level in Level::all() {
                let (mut codes, mut q) = (vec![9; n], vec![9.0; n]);
                level.run(Each { quantizer: three, values: &w, codes: &mut codes, results: &mut q });
                for ((w, &code), &q) in w.iter().zip(&codes).zip(&q) {
                    let wanted = if w.abs() <= 1.0 { 0 } else { w.signum() as i32 };
                    assert_eq!((code, q), (wanted, three.value(wanted)));
                }
                level.run(Each { quantizer: two, values: &w, codes: &mut codes, results: &mut q });
                assert!(w.iter().zip(&codes).all(|(w, &code)| code == i32::from(*w < 0.0)));
                assert!(codes.iter().zip(&q).all(|(&code, &q)| q == two.value(code)));
            }
        }
    }
}
