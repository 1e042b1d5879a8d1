//! Two runs of weights as masks: kept in both, in one alone, in neither, and whether signs agree where both are kept.
//!
//! ```text
//! a    0.3   0    0.7  0   −0.2        both 2: one of equal sign, one of opposite sign
//! b    0.1  0.4   0    0    0.5        only a 1, only b 1, neither 1
//! ```
//!
//! A weight is kept where it is not 0; −0 is 0, and NaN and infinities are not. Counts are whole numbers: they add up to
//! the same in any order.

use super::Real;
use super::dispatch::{self, Kernel};

/// Elements of two tensors by where they are not 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaskCounts {
    /// Not 0 in both.
    pub both: u64,
    /// Not 0 in the first alone.
    pub only_a: u64,
    /// Not 0 in the second alone.
    pub only_b: u64,
    /// 0 in both.
    pub neither: u64,
    /// Not 0 in both, where signs are known.
    pub signed: u64,
    /// Of those, with the same sign.
    pub same_sign: u64,
    /// Elements that are finite in one alone.
    pub strange: u64,
}

impl MaskCounts {
    /// The counts of two runs together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            both: self.both + other.both,
            only_a: self.only_a + other.only_a,
            only_b: self.only_b + other.only_b,
            neither: self.neither + other.neither,
            signed: self.signed + other.signed,
            same_sign: self.same_sign + other.same_sign,
            strange: self.strange + other.strange,
        }
    }

    /// All elements.
    #[must_use]
    pub const fn elements(self) -> u64 {
        self.either() + self.neither
    }

    /// Elements that are not 0 in one or both.
    #[must_use]
    pub const fn either(self) -> u64 {
        self.both + self.only_a + self.only_b
    }

    /// |A≠0 ∧ B≠0| / |A≠0 ∨ B≠0|; `None` when all are 0 in both.
    #[must_use]
    pub fn mask_overlap(self) -> Option<f64> {
        (self.either() > 0).then(|| self.both as f64 / self.either() as f64)
    }

    /// What [`MaskCounts::mask_overlap`] would be expected to be if each mask kept as many as it does, wherever chance wills:
    /// |A|·|B|/n in both, of |A| + |B| − that in one or both. `None` where there is no overlap either.
    #[must_use]
    pub fn chance_overlap(self) -> Option<f64> {
        let (a, b) = ((self.both + self.only_a) as f64, (self.both + self.only_b) as f64);
        let both = a * b / self.elements() as f64;
        (self.either() > 0).then(|| both / (a + b - both))
    }

    /// Share of equal signs where both are not 0; `None` when there is no such place.
    #[must_use]
    pub fn sign_agreement(self) -> Option<f64> {
        (self.signed > 0).then(|| self.same_sign as f64 / self.signed as f64)
    }
}

/// Counts over two runs of equal length.
#[must_use]
pub fn mask_counts<T: Real>(a: &[T], b: &[T]) -> MaskCounts {
    dispatch::run(Numbers { a, b })
}

/// Counts over two runs of which only the zeros are known: no element has a sign.
#[must_use]
pub fn zero_counts(a: &[bool], b: &[bool]) -> MaskCounts {
    let mut counts = MaskCounts::default();
    for (&a, &b) in a.iter().zip(b) {
        counts.both += u64::from(!a && !b);
        counts.only_a += u64::from(!a && b);
        counts.only_b += u64::from(a && !b);
        counts.neither += u64::from(a && b);
    }
    counts
}

/// Elements whose counts fit the narrow lanes below.
const BLOCK: usize = 4096;

struct Numbers<'a, T> {
    a: &'a [T],
    b: &'a [T],
}

impl<T: Real> Kernel for Numbers<'_, T> {
    type Output = MaskCounts;

    #[inline(always)]
    fn run(self) -> MaskCounts {
        let mut counts = MaskCounts::default();
        for (a, b) in self.a.chunks(BLOCK).zip(self.b.chunks(BLOCK)) {
            // 32 bits a count, as many lanes as of weights; `&` and not `&&`: no branch.
            let (mut both, mut kept_a, mut kept_b, mut same_sign, mut strange) = (0_u32, 0_u32, 0_u32, 0_u32, 0_u32);
            for (&a, &b) in a.iter().zip(b) {
                let (in_a, in_b) = (a != T::ZERO, b != T::ZERO);
                let same = (a > T::ZERO) == (b > T::ZERO);
                both += u32::from(in_a & in_b);
                kept_a += u32::from(in_a);
                kept_b += u32::from(in_b);
                same_sign += u32::from(in_a & in_b & same);
                strange += u32::from(a.is_finite() != b.is_finite());
            }
            let elements = a.len().min(b.len()) as u64;
            let [both, kept_a, kept_b] = [both, kept_a, kept_b].map(u64::from);
            counts = counts.plus(MaskCounts {
                both,
                only_a: kept_a - both,
                only_b: kept_b - both,
                neither: elements + both - kept_a - kept_b,
                signed: both,
                same_sign: u64::from(same_sign),
                strange: u64::from(strange),
            });
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;

    /// The definition, element by element.
    fn plain<T: Real>(a: &[T], b: &[T]) -> MaskCounts {
        let mut counts = MaskCounts::default();
        for (&a, &b) in a.iter().zip(b) {
            match (a == T::ZERO, b == T::ZERO) {
                (true, true) => counts.neither += 1,
                (true, false) => counts.only_b += 1,
                (false, true) => counts.only_a += 1,
                (false, false) => {
                    counts.both += 1;
                    counts.signed += 1;
                    if (a > T::ZERO) == (b > T::ZERO) {
                        counts.same_sign += 1;
                    }
                }
            }
            if a.is_finite() != b.is_finite() {
                counts.strange += 1;
            }
        }
        counts
    }

    #[test]
    fn by_hand() {
        let counts = mask_counts(&[0.3_f32, 0.0, 0.7, -0.0, -0.2], &[0.1, 0.4, 0.0, 0.0, 0.5]);
        let wanted = MaskCounts { both: 2, only_a: 1, only_b: 1, neither: 1, signed: 2, same_sign: 1, strange: 0 };
        assert_eq!((counts, counts.elements(), counts.either()), (wanted, 5, 4));
        assert_eq!((counts.mask_overlap(), counts.sign_agreement()), (Some(0.5), Some(0.5)));
        // 3 of 5 and 3 of 5: 9/5 in both by chance, of 6 − 9/5.
        assert!((counts.chance_overlap().unwrap() - 1.8 / 4.2).abs() < 1e-15);
        let zeros = zero_counts(&[false, true, false, true, false], &[false, false, true, true, false]);
        assert_eq!(zeros, MaskCounts { signed: 0, same_sign: 0, ..wanted });
        assert_eq!(zeros.sign_agreement(), None);
        let nothing = mask_counts(&[0.0_f64, -0.0], &[0.0, 0.0]);
        assert_eq!((nothing.mask_overlap(), nothing.chance_overlap(), nothing.neither), (None, None, 2));
        assert_eq!(mask_counts::<f32>(&[], &[]), MaskCounts::default());
    }

    #[test]
    fn every_level_counts_what_the_definition_says_over_all_lengths() {
        let odd = [0.0_f32, -0.0, 1.5, -2.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-45, -1e-45];
        let value = |i: usize| odd[i % odd.len()];
        for n in (0..70).chain([BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7]) {
            let a: Vec<f32> = (0..n).map(value).collect();
            let b: Vec<f32> = (0..n).map(|i| value(i / odd.len() + 3 * i)).collect();
            let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
            let (a64, b64) = (wide(&a), wide(&b));
            let wanted = plain(&a, &b);
            assert_eq!(wanted.elements(), n as u64);
            for level in Level::all() {
                assert_eq!(level.run(Numbers { a: &a, b: &b }), wanted, "{n}, {}", level.name());
                assert_eq!(level.run(Numbers { a: &a64, b: &b64 }), wanted, "{n}, {}", level.name());
            }
        }
    }
}
