//! Bytes of a file to values and back: every 8-, 16-, 32- and 64-bit float that safetensors knows, rounded half to even.
//!
//! Decoding is exact. Encoding goes through one specification, [`encode_small`], which rounds an f64 once (so an F64
//! tensor cast to F16 is not rounded twice); bf16 has a faster equal. Layouts: IEEE 754 binary16, bfloat16, and the
//! OCP formats E4M3 (no infinity), E5M2, their FNUZ variants (one zero, one NaN), the exponent E8M0, and E2M1 of 4 bits,
//! where every pattern is a number.

use super::Real;
use std::sync::OnceLock;

/// A float format narrower than 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallFloat {
    /// Exponent bits.
    pub exponent: u32,
    /// Mantissa bits without the hidden one.
    pub mantissa: u32,
    /// What is subtracted from the stored exponent.
    pub bias: i32,
    /// What the top of the range holds.
    pub special: Special,
}

/// How a small float spells infinity and NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// The highest exponent is reserved, as in IEEE 754.
    Ieee,
    /// Only the all-ones pattern is NaN; there is no infinity (OCP E4M3).
    FiniteNan,
    /// Negative zero is the one NaN; there is no infinity (FNUZ).
    Fnuz,
    /// More numbers: there is neither NaN nor infinity, and what is larger than the largest becomes that (OCP E2M1).
    Finite,
}

/// IEEE 754 binary16.
pub const F16: SmallFloat = SmallFloat { exponent: 5, mantissa: 10, bias: 15, special: Special::Ieee };
/// bfloat16: the upper half of an f32.
pub const BF16: SmallFloat = SmallFloat { exponent: 8, mantissa: 7, bias: 127, special: Special::Ieee };
/// OCP FP8 E4M3, largest finite 448.
pub const F8_E4M3: SmallFloat = SmallFloat { exponent: 4, mantissa: 3, bias: 7, special: Special::FiniteNan };
/// OCP FP8 E5M2, largest finite 57,344.
pub const F8_E5M2: SmallFloat = SmallFloat { exponent: 5, mantissa: 2, bias: 15, special: Special::Ieee };
/// OCP FP4 E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6.
pub const F4_E2M1: SmallFloat = SmallFloat { exponent: 2, mantissa: 1, bias: 1, special: Special::Finite };
/// E4M3 with one zero and one NaN, largest finite 240.
pub const F8_E4M3FNUZ: SmallFloat = SmallFloat { exponent: 4, mantissa: 3, bias: 8, special: Special::Fnuz };
/// E5M2 with one zero and one NaN, largest finite 57,344.
pub const F8_E5M2FNUZ: SmallFloat = SmallFloat { exponent: 5, mantissa: 2, bias: 16, special: Special::Fnuz };

impl SmallFloat {
    /// Total bits: 4, 8 or 16.
    #[must_use]
    pub const fn bits(self) -> u32 {
        1 + self.exponent + self.mantissa
    }

    fn sign_bit(self) -> u16 {
        1 << (self.bits() - 1)
    }

    fn nan(self) -> u16 {
        match self.special {
            Special::Ieee => (((1 << self.exponent) - 1) << self.mantissa) | (1 << (self.mantissa - 1)),
            Special::FiniteNan => (1 << (self.bits() - 1)) - 1,
            Special::Fnuz => self.sign_bit(),
            Special::Finite => 0,
        }
    }

    /// The exponent of the smallest normal number.
    #[must_use]
    pub const fn lowest(self) -> i32 {
        1 - self.bias
    }

    /// The pattern of the largest finite value, without its sign.
    #[must_use]
    pub const fn largest(self) -> u16 {
        match self.special {
            Special::Ieee => (((1 << self.exponent) - 1) << self.mantissa) - 1,
            Special::FiniteNan => (1 << (self.bits() - 1)) - 2,
            Special::Fnuz | Special::Finite => (1 << (self.bits() - 1)) - 1,
        }
    }

    /// The largest finite value.
    #[must_use]
    pub fn max(self) -> f64 {
        decode_small(self, self.largest())
    }
}

/// The value of a bit pattern, exactly. `pattern` above the format's bits is ignored.
#[must_use]
pub fn decode_small(format: SmallFloat, pattern: u16) -> f64 {
    let magnitude = pattern & (format.sign_bit() - 1);
    let negative = pattern & format.sign_bit() != 0;
    let (mantissa_mask, top) = ((1_u16 << format.mantissa) - 1, (1_u16 << format.exponent) - 1);
    let (exponent, mantissa) = (magnitude >> format.mantissa, magnitude & mantissa_mask);
    let value = match format.special {
        Special::Ieee if exponent == top => {
            if mantissa == 0 {
                f64::INFINITY
            } else {
                f64::NAN
            }
        }
        Special::FiniteNan if magnitude == format.nan() => f64::NAN,
        Special::Fnuz if negative && magnitude == 0 => f64::NAN,
        _ => {
            let hidden = if exponent == 0 { 0 } else { 1 << format.mantissa };
            let scale = i32::from(exponent.max(1)) - format.bias - format.mantissa.cast_signed();
            f64::from(mantissa + hidden) * 2_f64.powi(scale)
        }
    };
    if negative { -value } else { value }
}

/// The nearest pattern to `x`, ties to even; past the largest finite value it becomes infinity, NaN where the format has no
/// infinity, and the largest itself where it has neither (a NaN is then 0).
#[must_use]
pub fn encode_small(format: SmallFloat, x: f64) -> u16 {
    if x.is_nan() {
        return format.nan();
    }
    let sign = if x.is_sign_negative() { format.sign_bit() } else { 0 };
    let magnitude = x.abs();
    if magnitude == 0.0 {
        return if format.special == Special::Fnuz { 0 } else { sign };
    }
    // The step between neighbours around x: subnormals share the step of the lowest normal exponent.
    let exponent = (magnitude.to_bits() >> 52) as i32 - 1023;
    let lowest = format.lowest();
    let step_exponent = exponent.max(lowest) - format.mantissa.cast_signed();
    let steps = (magnitude / 2_f64.powi(step_exponent.max(-1000))).round_ties_even();
    if steps == 0.0 {
        return if format.special == Special::Fnuz { 0 } else { sign };
    }
    // Magnitude patterns count steps: each exponent holds 2^mantissa of them, so a carry in `steps` walks on by itself.
    let pattern = f64::from(exponent.max(lowest) - lowest) * f64::from(1_u32 << format.mantissa) + steps;
    if pattern > f64::from(format.largest()) {
        return match format.special {
            Special::Ieee => sign | (format.largest() + 1),
            Special::FiniteNan => sign | format.nan(),
            Special::Fnuz => format.nan(),
            Special::Finite => sign | format.largest(),
        };
    }
    sign | pattern as u16
}

/// f32 to bfloat16, ties to even: equal to [`encode_small`] and several times faster.
#[must_use]
#[inline]
pub fn bf16_from_f32(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return ((bits >> 16) | 0x40) as u16;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// bfloat16 to f32: a shift.
#[must_use]
#[inline]
pub fn f32_from_bf16(pattern: u16) -> f32 {
    f32::from_bits(u32::from(pattern) << 16)
}

/// binary16 to f32 without a branch on the common path: shift the fields into place and let one multiplication correct
/// the exponent, subnormals included.
#[must_use]
#[inline]
pub fn f32_from_f16(pattern: u16) -> f32 {
    let sign = u32::from(pattern & 0x8000) << 16;
    let magnitude = u32::from(pattern & 0x7fff) << 13;
    let scaled = f32::from_bits(magnitude) * f32::from_bits(0x7780_0000); // 2^112
    let special = if magnitude >= 0x0f80_0000 { 0x7f80_0000 } else { 0 }; // exponent 31: Inf or NaN
    f32::from_bits(scaled.to_bits() | special | sign)
}

/// f32 to binary16, ties to even, without a branch: equal to [`encode_small`].
#[must_use]
#[inline]
pub fn f16_from_f32(x: f32) -> u16 {
    let sign = x.to_bits() >> 16 & 0x8000;
    let magnitude = x.to_bits() & 0x7fff_ffff;
    let rounded = magnitude + 0x0fff + (magnitude >> 13 & 1);
    let normal = (rounded.wrapping_sub(112 << 23) >> 13).min(0x7c00);
    // Below 2^-14 steps are 2^-24, which is what an f32 from 1/2 on counts in.
    let small = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5_f32.to_bits());
    let finite = if magnitude < 113 << 23 { small } else { normal };
    if magnitude > 0x7f80_0000 { 0x7e00 } else { (sign | finite) as u16 }
}

/// The nearest number of a format, ties to even: what is left of `x` after a trip through it.
#[must_use]
#[inline]
pub fn round_small<T: Real>(format: SmallFloat, x: T) -> T {
    if T::KEY_BITS == 32 {
        let short = f32::from_f64(x.to_f64());
        match format {
            BF16 => return T::from_f32(f32_from_bf16(bf16_from_f32(short))),
            F16 => return T::from_f32(f32_from_f16(f16_from_f32(short))),
            _ => {}
        }
    }
    T::from_f64(decode_small(format, encode_small(format, x.to_f64())))
}

/// The 256 values of an 8-bit float, as f32 (exact).
#[must_use]
pub fn table_of_f8(format: SmallFloat) -> &'static [f32; 256] {
    static TABLES: [OnceLock<Box<[f32; 256]>>; 4] = [const { OnceLock::new() }; 4];
    let slot = match (format.mantissa, format.special) {
        (3, Special::Fnuz) => 2,
        (3, _) => 0,
        (_, Special::Fnuz) => 3,
        _ => 1,
    };
    TABLES[slot].get_or_init(|| {
        let mut table = Box::new([0.0; 256]);
        for (pattern, value) in (0_u16..).zip(table.iter_mut()) {
            *value = decode_small(format, pattern) as f32;
        }
        table
    })
}

/// E8M0: a bare power of two, 255 is NaN (OCP MX specification §5.4.1).
#[must_use]
pub fn f32_from_e8m0(pattern: u8) -> f32 {
    if pattern == 255 { f32::NAN } else { 2_f64.powi(i32::from(pattern) - 127) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [SmallFloat; 7] = [F16, BF16, F8_E4M3, F8_E5M2, F8_E4M3FNUZ, F8_E5M2FNUZ, F4_E2M1];

    #[test]
    fn every_pattern_survives_the_round_trip() {
        for format in ALL {
            for pattern in 0..=(u32::MAX >> (32 - format.bits())) {
                let pattern = pattern as u16;
                let value = decode_small(format, pattern);
                if value.is_nan() {
                    assert!(decode_small(format, encode_small(format, value)).is_nan());
                } else {
                    assert_eq!(encode_small(format, value), pattern, "{format:?} {pattern:#x} {value}");
                }
            }
        }
    }

    #[test]
    fn midpoints_go_to_the_even_pattern_and_neighbours_to_the_nearest() {
        for format in ALL {
            let last = encode_small(format, f64::MAX).min(format.largest());
            for pattern in 0..last.min(format.largest() - 1) {
                let (low, high) = (decode_small(format, pattern), decode_small(format, pattern + 1));
                let middle = f64::midpoint(low, high);
                let even = if pattern % 2 == 0 { pattern } else { pattern + 1 };
                assert_eq!(encode_small(format, middle), even, "{format:?} {pattern:#x}");
                assert_eq!(encode_small(format, middle.next_down()), pattern);
                assert_eq!(encode_small(format, middle.next_up()), pattern + 1);
            }
        }
    }

    #[test]
    fn known_landmarks() {
        assert_eq!(decode_small(F8_E4M3, 0x7e), 448.0);
        assert_eq!(decode_small(F8_E5M2, 0x7b), 57344.0);
        assert_eq!(decode_small(F8_E4M3FNUZ, 0x7f), 240.0);
        assert_eq!(
            (0..8).map(|p| decode_small(F4_E2M1, p)).collect::<Vec<_>>(),
            [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
        );
        assert_eq!([encode_small(F4_E2M1, 1e9), encode_small(F4_E2M1, -7.0)], [7, 15]);
        assert_eq!((F8_E4M3.max(), F8_E5M2.max(), F4_E2M1.max()), (448.0, 57344.0, 6.0));
        assert_eq!(encode_small(F16, 65519.9), 0x7bff);
        assert_eq!(encode_small(F16, 65520.0), 0x7c00);
        assert_eq!(encode_small(F16, 1.0), 0x3c00);
        assert_eq!(encode_small(F16, -2.0_f64.powi(-25)), 0x8000);
        assert_eq!(encode_small(F8_E4M3, 464.0), 0x7e);
        assert_eq!(encode_small(F8_E4M3, 465.0), 0x7f);
        assert_eq!(encode_small(BF16, f64::from(f32::MAX)), 0x7f80);
    }

    #[test]
    fn fast_paths_equal_the_specification() {
        for pattern in 0..=u16::MAX {
            let (fast, slow) = (f32_from_f16(pattern), decode_small(F16, pattern));
            assert!(fast.is_nan() == slow.is_nan() && (slow.is_nan() || f64::from(fast) == slow), "{pattern:#x}");
            assert_eq!(fast.is_sign_negative(), pattern & 0x8000 != 0);
            let x = f32_from_bf16(pattern);
            for bits in [0_u32, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let y = f32::from_bits(x.to_bits() | bits);
                if !y.is_nan() {
                    assert_eq!(bf16_from_f32(y), encode_small(BF16, f64::from(y)), "{y:e}");
                }
            }
        }
        assert!(f32_from_bf16(bf16_from_f32(f32::NAN)).is_nan());
        let spread = (0..1_000_000_u32).map(|i| i.wrapping_mul(2_654_435_761));
        let edges = (0..=u16::MAX).flat_map(|pattern| {
            let middle = f32_from_f16(pattern).to_bits() | 0x1000;
            [middle - 1, middle, middle + 1]
        });
        for x in spread.chain(edges).map(f32::from_bits) {
            assert_eq!(f16_from_f32(x), encode_small(F16, f64::from(x)), "{x:e}");
            for format in [F16, BF16] {
                let (short, long) = (round_small(format, x), round_small(format, f64::from(x)));
                assert!(f64::from(short) == long || (short.is_nan() && long.is_nan()), "{format:?} {x:e}");
            }
        }
        assert_eq!(table_of_f8(F8_E5M2)[0x3c], 1.0);
        assert_eq!(f32_from_e8m0(127), 1.0);
    }
}
