//! The two arithmetics of the contract behind one trait: f32 for everything, f64 for F64 tensors.
//!
//! A kernel written over [`Real`] is compiled twice and reads once. The trait holds only what kernels need, so that
//! the rounding rules (round half to even, true division) stand in one place.

/// A floating-point type that tensors are computed in.
pub trait Real: Copy + Default + PartialOrd + Send + Sync + std::fmt::Debug + 'static {
    /// Positive zero.
    const ZERO: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// Bits in [`Real::magnitude_key`]: 32 or 64.
    const KEY_BITS: u32;

    /// Nearest value to `x`, ties to even.
    fn from_f64(x: f64) -> Self;
    /// The same value, exactly: no f32 is beyond either arithmetic.
    fn from_f32(x: f32) -> Self;
    /// The same value, exactly.
    fn to_f64(self) -> f64;
    /// Exact for |x| < 2^24, which every code is.
    fn from_code(x: i32) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;
    /// Nearest integer, ties to even; ±65,536 stands for everything beyond, and for NaN.
    fn round_to_code(self) -> i32;
    /// `self / other` in this arithmetic.
    fn div(self, other: Self) -> Self;
    /// `self * other` in this arithmetic.
    fn mul(self, other: Self) -> Self;
    /// `self - other` in this arithmetic.
    fn sub(self, other: Self) -> Self;
    /// The magnitude of `self` with the sign of `other`.
    fn copysign(self, other: Self) -> Self;
    /// Whether the sign bit is set: of −0 it is.
    fn is_sign_negative(self) -> bool;
    /// The greatest number that is not above `x`.
    fn from_f64_down(x: f64) -> Self;
    /// A magnitude rounded, ties to even, to `mantissa` bits after the leading one, and below 2^`lowest` to multiples of
    /// 2^(`lowest` − `mantissa`); and its place among all such numbers, 0 being the first. `self` is not negative and at
    /// least 2^(bits dropped) away from the end of the range.
    fn round_small(self, mantissa: u32, lowest: i32) -> (Self, u32);
    /// An unsigned integer that orders finite values by magnitude: the bits without the sign.
    fn magnitude_key(self) -> u64;
    /// The magnitude whose key this is; the inverse of [`Real::magnitude_key`].
    fn from_magnitude_key(key: u64) -> Self;
    /// The upper 16 bits of the key of infinity: finite keys lie below.
    fn first_strange_digit() -> usize;
    /// Little-endian bytes appended to `out`.
    fn push_le(self, out: &mut Vec<u8>);
}

macro_rules! impl_real {
    ($t:ty, $bits:ty, $key_bits:literal) => {
        // Casts between the two float widths and from small integers are the point of this file; each states its
        // exactness above.
        impl Real for $t {
            const ZERO: Self = 0.0;
            const INFINITY: Self = <$t>::INFINITY;
            const KEY_BITS: u32 = $key_bits;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn from_code(x: i32) -> Self {
                x as $t
            }
            #[inline(always)]
            fn abs(self) -> Self {
                <$t>::abs(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                <$t>::is_finite(self)
            }
            #[inline(always)]
            fn round_to_code(self) -> i32 {
                // Adding 1.5·2^(mantissa bits) rounds half to even and leaves the integer in the low bits: no call into
                // libm, no saturating cast. Beyond the range of codes the clamp makes the exact integer irrelevant.
                const MAGIC: $t = 1.5 / <$t>::EPSILON;
                let below = if self < 65536.0 { self } else { 65536.0 };
                let clamped = if below > -65536.0 { below } else { -65536.0 };
                ((clamped + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()) as u32).cast_signed()
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                self / other
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self - other
            }
            #[inline(always)]
            fn copysign(self, other: Self) -> Self {
                <$t>::copysign(self, other)
            }
            #[inline(always)]
            fn is_sign_negative(self) -> bool {
                <$t>::is_sign_negative(self)
            }
            #[inline(always)]
            fn from_f64_down(x: f64) -> Self {
                let near = x as $t;
                if near as f64 > x { near.next_down() } else { near }
            }
            #[inline(always)]
            fn round_small(self, mantissa: u32, lowest: i32) -> (Self, u32) {
                const STORED: u32 = <$t>::MANTISSA_DIGITS - 1;
                let floor = ((lowest + (<$t>::MAX_EXP - 1)) as $bits) << STORED;
                let exponent = self.to_bits() & !((1 << STORED) - 1);
                let unit = if exponent > floor { exponent } else { floor };
                // A power of two so large that the sum has no room for what is to be dropped: the adder rounds.
                let magic = <$t>::from_bits(unit + (((STORED - mantissa) as $bits) << STORED));
                let sum = self + magic;
                let steps = sum.to_bits().wrapping_sub(magic.to_bits());
                // Each exponent holds 2^mantissa numbers; a carry in the steps walks on by itself.
                (sum - magic, ((((unit - floor) >> STORED) << mantissa) + steps) as u32)
            }
            #[inline(always)]
            fn magnitude_key(self) -> u64 {
                self.abs().to_bits() as u64
            }
            #[inline(always)]
            fn from_magnitude_key(key: u64) -> Self {
                <$t>::from_bits(key as $bits)
            }
            #[inline(always)]
            fn first_strange_digit() -> usize {
                (<$t>::INFINITY.to_bits() >> ($key_bits - 16)) as usize
            }
            fn push_le(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    };
}

impl_real!(f32, u32, 32);
impl_real!(f64, u64, 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_half_to_even_like_the_library_call() {
        let mut x = -300.0_f32;
        while x < 300.0 {
            assert_eq!(f64::from(x.round_to_code()), f64::from(x.round_ties_even()), "{x}");
            assert_eq!(f64::from(f64::from(x).round_to_code()), f64::from(x).round_ties_even(), "{x}");
            x += 0.0625;
        }
        for x in [0.5_f32, 1.5, 2.5, -0.5, -1.5, 127.5, 0.499_999_97, 65535.5] {
            assert_eq!(f64::from(x.round_to_code()), f64::from(x.round_ties_even()), "{x}");
        }
    }

    #[test]
    fn out_of_range_rounds_to_something_a_clip_settles() {
        assert_eq!(f32::INFINITY.round_to_code(), 65536);
        assert_eq!((-1e30_f64).round_to_code(), -65536);
        assert_eq!(f32::NAN.round_to_code(), 65536);
    }

    #[test]
    fn keys_order_magnitudes() {
        let values = [0.0_f32, 1e-45, 1e-38, 0.1, 0.5, 1.0, 3.4e38];
        for pair in values.windows(2) {
            assert!(pair[0].magnitude_key() < pair[1].magnitude_key());
            assert!((-pair[0]).magnitude_key() < f64::from(pair[1]).magnitude_key());
            assert_eq!(f32::from_magnitude_key(pair[1].magnitude_key()), pair[1]);
        }
        assert_eq!((-0.0_f32).magnitude_key(), 0);
    }
}
