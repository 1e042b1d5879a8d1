//! Small floats: plain casts, and numbers of 4 or 8 bits times a scale (FP8 by rows, OCP MXFP4, NVFP4).
//!
//! The specification is `encode_small` and `decode_small` of [`super::convert`]; here the same comes out in straight-line
//! arithmetic, by an addition that leaves no room for the bits to be dropped. Scales: FP8 takes max|w| over the largest
//! number; MX the power of two 2^(⌊log2 max|w|⌋ − 2) as E8M0 (OCP MX specification 1.0, §6.3); NVFP4 an E4M3 number over one
//! f32 for the whole tensor.

use super::Real;
use super::convert::{
    BF16, F4_E2M1, F8_E4M3, SmallFloat, Special, bf16_from_f32, decode_small, encode_small, f32_from_bf16,
    f32_from_e8m0,
};
use super::each::{self, Quantizer};

/// Codes (bit patterns, the sign of a zero kept) and values of finite elements cast to a format; what rounds past its
/// largest number reads as infinite.
pub fn cast<T: Real>(format: SmallFloat, values: &[T], codes: &mut [i32], results: &mut [T]) {
    if format == BF16 && T::KEY_BITS == 32 {
        // Its largest numbers lie where an f32 has no room for the addition; but it is half of one.
        each::quantize(Halve, values, codes, results);
    } else {
        each::quantize(Round::<T, false>::new(format, T::ZERO), values, codes, results);
    }
}

/// Casts of f32 to bf16.
#[derive(Clone, Copy)]
struct Halve;

impl<T: Real> Quantizer<T> for Halve {
    #[inline(always)]
    fn one(&self, w: T) -> (i32, T) {
        let pattern = bf16_from_f32(f32::from_f64(w.to_f64()));
        (i32::from(pattern), T::from_f32(f32_from_bf16(pattern)))
    }
}

/// Numbers of a small float times a scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled<T> {
    /// What a code is a pattern of: 4 or 8 bits.
    pub format: SmallFloat,
    /// What 1 stands for; where it is 0 every value is.
    pub scale: T,
}

impl<T: Real> Scaled<T> {
    /// The value of a code.
    #[must_use]
    pub fn value(&self, code: i32) -> T {
        T::from_f64(decode_small(self.format, code as u16)).mul(self.scale)
    }

    /// Codes and values of finite elements. A code of 0 has no sign. What rounds past the largest number of a format that
    /// has a place beyond it reads as infinite.
    pub fn quantize(&self, values: &[T], codes: &mut [i32], results: &mut [T]) {
        if self.scale == T::ZERO {
            codes.fill(0);
            results.fill(T::ZERO);
            return;
        }
        each::quantize(Round::<T, true>::new(self.format, self.scale), values, codes, results);
    }
}

/// Rounds to a format: to the numbers themselves, or `SCALED` to those times a scale.
#[derive(Clone, Copy)]
struct Round<T, const SCALED: bool> {
    scale: T,
    mantissa: u32,
    lowest: i32,
    largest: u32,
    /// Magnitudes from here on are taken as this one.
    most: T,
    sign: i32,
}

impl<T: Real, const SCALED: bool> Round<T, SCALED> {
    fn new(format: SmallFloat, scale: T) -> Self {
        let saturates = format.special == Special::Finite;
        Self {
            scale,
            mantissa: format.mantissa,
            lowest: format.lowest(),
            largest: u32::from(format.largest()),
            // Twice the largest is surely beyond it, and far from the end of the arithmetic.
            most: T::from_f64(if saturates { format.max() } else { 2.0 * format.max() }),
            sign: 1 << (format.bits() - 1),
        }
    }
}

impl<T: Real, const SCALED: bool> Quantizer<T> for Round<T, SCALED> {
    #[inline(always)]
    fn one(&self, w: T) -> (i32, T) {
        let x = if SCALED { w.div(self.scale) } else { w };
        let magnitude = x.abs();
        let magnitude = if magnitude < self.most { magnitude } else { self.most };
        let (number, place) = magnitude.round_small(self.mantissa, self.lowest);
        let number = if place > self.largest { T::INFINITY } else { number };
        let value = if SCALED { number.mul(self.scale) } else { number };
        // Times a scale a zero has no sign; of a cast it keeps the one it had.
        let signed = !SCALED || place > 0;
        let code = place as i32 | if signed && x.is_sign_negative() { self.sign } else { 0 };
        (code, if signed { value.copysign(x) } else { T::ZERO })
    }
}

/// The byte of the E8M0 scale of an MX block with E2M1 numbers: 2^(⌊log2 peak⌋ − 2), no less than 2^−127, which is byte 0.
/// `None` when it is more than E8M0 has.
#[must_use]
pub fn mx_exponent<T: Real>(peak: T) -> Option<u8> {
    let peak = peak.to_f64();
    // Every f32 and all but the least f64 are normal numbers here; the least are far below 2^−127 anyway.
    let floor_log2 = ((peak.to_bits() >> 52) as i32) - 1023;
    let exponent = (floor_log2 - 2).max(-127);
    u8::try_from(exponent + 127).ok().filter(|&byte| byte < u8::MAX)
}

/// The block of an MX exponent.
#[must_use]
pub fn mx_block<T: Real>(exponent: u8) -> Scaled<T> {
    Scaled { format: F4_E2M1, scale: T::from_f32(f32_from_e8m0(exponent)) }
}

/// The scale over a whole NVFP4 tensor: 2688 / max|W| in f32, 1 where there is nothing but zeros. `None` when it is not a
/// positive number.
#[must_use]
pub fn nv_global<T: Real>(peak: T) -> Option<f32> {
    if peak == T::ZERO {
        return Some(1.0);
    }
    let global = f32::from_f64(T::from_code(2688).div(peak).to_f64());
    (global.is_finite() && global > 0.0).then_some(global)
}

/// The E4M3 pattern of an NVFP4 block's scale: f32(peak / 6) · g. `None` when it rounds past 448.
#[must_use]
pub fn nv_scale<T: Real>(peak: T, global: f32) -> Option<u8> {
    let sixth = f32::from_f64(peak.div(T::from_code(6)).to_f64());
    let pattern = encode_small(F8_E4M3, f64::from(sixth * global));
    u8::try_from(pattern).ok().filter(|_| pattern <= F8_E4M3.largest())
}

/// The block of an NVFP4 scale.
#[must_use]
pub fn nv_block<T: Real>(pattern: u8, global: f32) -> Scaled<T> {
    let scale = T::from_f64(decode_small(F8_E4M3, u16::from(pattern))).div(T::from_f32(global));
    Scaled { format: F4_E2M1, scale }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::convert::{F8_E5M2, F16};
    use crate::kernels::dispatch::Level;
    use crate::kernels::each::Each;

    /// The specification: one division, one rounding, one product.
    fn plainly<T: Real>(scaled: Scaled<T>, w: T) -> (i32, T) {
        if scaled.scale == T::ZERO {
            return (0, T::ZERO);
        }
        let pattern = encode_small(scaled.format, w.div(scaled.scale).to_f64());
        let number = decode_small(scaled.format, pattern);
        if number == 0.0 {
            return (0, T::ZERO);
        }
        (i32::from(pattern), T::from_f64(number).mul(scaled.scale))
    }

    fn weights(n: usize) -> Vec<f32> {
        let all = [0.0, -0.0, 1e-45, -3e-39, 0.25, -0.75, 2.5, 5.0, -6.0, 1e30, -7.0, 448.0];
        let draw = |i: u32| f32::from_bits(0x3000_0000 + (i.wrapping_mul(2_654_435_761) >> 4) % 0x1200_0000);
        (0..n).map(|i| if i % 3 == 0 { all[i / 3 % all.len()] } else { draw(i as u32) - 0.01 }).collect()
    }

    #[test]
    fn the_fast_way_is_the_specification_at_every_level_and_length() {
        for n in (0..37).chain([997]) {
            let w = weights(n);
            let wide: Vec<f64> = w.iter().map(|&w| f64::from(w) * 1.000_000_1).collect();
            for format in [F4_E2M1, F8_E4M3, F8_E5M2] {
                for scale in [0.0_f32, 1.0, 0.37, 1e-39, 1e20] {
                    against(Scaled { format, scale }, &w);
                    against(Scaled { format, scale: f64::from(scale) }, &wide);
                }
            }
        }
    }

    fn against<T: Real>(scaled: Scaled<T>, w: &[T]) {
        for level in Level::all() {
            let (mut codes, mut results) = (vec![9; w.len()], vec![T::INFINITY; w.len()]);
            let (format, scale) = (scaled.format, scaled.scale);
            if scale == T::ZERO {
                scaled.quantize(w, &mut codes, &mut results);
            } else {
                let quantizer = Round::<T, true>::new(format, scale);
                level.run(Each { quantizer, values: w, codes: &mut codes, results: &mut results });
            }
            for ((&w, &code), &q) in w.iter().zip(&codes).zip(&results) {
                let (wanted, value) = plainly(scaled, w);
                if value.is_finite() {
                    assert_eq!((code, q), (wanted, value), "{format:?} {scale:?} {w:?} {}", level.name());
                    assert_eq!(scaled.value(code), q);
                    assert!(code != 0 || !q.is_sign_negative());
                } else {
                    assert!(!q.is_finite(), "{format:?} {scale:?} {w:?}");
                }
            }
        }
    }

    #[test]
    fn casts_are_the_specification_and_keep_the_sign_of_zero() {
        let mut w = weights(997);
        w.extend([f32::MAX, -f32::MAX, 3.39e38]);
        let wide: Vec<f64> = w.iter().map(|&w| f64::from(w) * 1.000_000_1).collect();
        for format in [F16, F8_E4M3, F8_E5M2, BF16] {
            casts(format, &w);
            casts(format, &wide);
        }
    }

    fn casts<T: Real>(format: SmallFloat, w: &[T]) {
        let (mut codes, mut results) = (vec![0; w.len()], vec![T::ZERO; w.len()]);
        cast(format, w, &mut codes, &mut results);
        for ((&w, &code), &q) in w.iter().zip(&codes).zip(&results) {
            let pattern = encode_small(format, w.to_f64());
            let value = T::from_f64(decode_small(format, pattern));
            if value.is_finite() {
                assert_eq!((code, q), (i32::from(pattern), value), "{format:?} {w:?}");
                assert_eq!(q.is_sign_negative(), value.is_sign_negative());
            } else {
                assert!(!q.is_finite());
            }
        }
    }

    #[test]
    fn scales_of_blocks_by_hand() {
        // 2^(⌊log2 7⌋ − 2) = 1; the least exponent is −127, also of nothing at all.
        assert_eq!(
            [7.0_f32, 8.0, 1.0, 0.0, 1e-45].map(mx_exponent),
            [Some(127), Some(128), Some(125), Some(0), Some(0)]
        );
        assert_eq!([mx_exponent(1e38_f64), mx_exponent(1e60_f64)], [Some(251), None]);
        let block = mx_block::<f32>(0);
        let (mut codes, mut q) = ([0; 2], [0.0; 2]);
        block.quantize(&[1e-45, -6e-39], &mut codes, &mut q);
        assert_eq!((codes, q[0]), ([0, 10], 0.0));
        // g = 2688 / 12 = 224; the block of the largest has s8 = 448, and its scale is 2.
        let global = nv_global(12.0_f32).unwrap();
        assert_eq!((global, nv_scale(12.0_f32, global)), (224.0, Some(0x7e)));
        assert_eq!(nv_block::<f32>(0x7e, global).scale, 2.0);
        assert_eq!((nv_global(0.0_f32), nv_scale(0.0_f32, 1.0)), (Some(1.0), Some(0)));
        assert_eq!((nv_global(1e-37_f32), nv_global(1e60_f64)), (None, None));
    }
}
