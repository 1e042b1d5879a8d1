//! The affine form in which MLX keeps integer grids: a weight is scale · u + bias, u a code of N bits without a sign.
//!
//! A grid of codes c about a zero point z becomes u = c and bias = −z · scale, rounded to the dtype that both are stored in. A
//! symmetric grid is shifted by 2^(N−1), so that its bias is the scale times a power of two: exact in every binary float, and
//! scale · u + bias is then exactly c · scale. A product with any other zero point rounds, and the zero point is told from the
//! bias all the same: the grid means (u − z) · scale. Only 8 bits beside a bias of 8 (bf16) are too many: there the grid is
//! what its numbers say.

use super::convert::{SmallFloat, round_small};

/// What is added to a code so that none is negative: 2^(N−1) of a symmetric grid, nothing where there is a zero point already.
#[must_use]
pub const fn shift(bits: u32, asymmetric: bool) -> i32 {
    if asymmetric { 0 } else { 1 << (bits - 1) }
}

/// The bias of a zero point, as it is stored in a 16-bit `format`, or as f32. It is infinite where it does not fit, and +0
/// where it is 0.
#[must_use]
pub fn bias(scale: f32, zero_point: i32, format: Option<SmallFloat>) -> f32 {
    let exact = -(zero_point as f32 * scale);
    if exact == 0.0 { 0.0 } else { format.map_or(exact, |format| round_small(format, exact)) }
}

/// The zero point, at most 2^`bits`, whose bias this is; `None` where it is no whole number of steps away, or too large to be
/// told from the next one.
#[must_use]
pub fn zero_point(scale: f32, found: f32, bits: u32, format: Option<SmallFloat>) -> Option<i32> {
    if scale == 0.0 {
        return (found == 0.0).then_some(0);
    }
    if format.is_some_and(|format| bits > format.mantissa) {
        return None;
    }
    let nearest = (-found / scale).round_ties_even() as i32;
    (0..=1 << bits).contains(&nearest).then_some(nearest).filter(|&z| bias(scale, z, format) == found)
}

/// What scale · u + bias comes to, rounded once.
#[must_use]
#[inline]
pub fn value(scale: f32, found: f32, u: u8) -> f32 {
    // The product is exact in f64.
    (f64::from(scale) * f64::from(u) + f64::from(found)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::convert::{BF16, F16};

    fn told(bits: u32, format: Option<SmallFloat>) -> bool {
        bits < 8 || format != Some(BF16)
    }

    #[test]
    fn a_symmetric_grid_comes_out_exactly_in_every_dtype() {
        for bits in 2..=8_u32 {
            let top = (1 << (bits - 1)) - 1;
            for i in 1..200 {
                let wide = 0.37_f32 * i as f32 / 199.0;
                for format in [None, Some(BF16), Some(F16)] {
                    let scale = format.map_or(wide, |format| round_small(format, wide));
                    let shift = shift(bits, false);
                    let bias = bias(scale, shift, format);
                    assert_eq!(zero_point(scale, bias, bits, format), told(bits, format).then_some(shift));
                    for code in -top..=top {
                        assert_eq!(value(scale, bias, (code + shift) as u8), code as f32 * scale);
                    }
                }
            }
        }
    }

    #[test]
    fn every_zero_point_is_told_from_its_bias() {
        for bits in 2..=8_u32 {
            for z in 0..1 << bits {
                for i in 1..50 {
                    let wide = 1e-3_f32 * i as f32;
                    for format in [None, Some(BF16), Some(F16)] {
                        let scale = format.map_or(wide, |format| round_small(format, wide));
                        let found = zero_point(scale, bias(scale, z, format), bits, format);
                        assert_eq!(found, told(bits, format).then_some(z), "{bits} {z} {scale}");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_and_what_is_no_zero_point() {
        assert_eq!((bias(0.5, 0, None).to_bits(), zero_point(0.0, 0.0, 4, None)), (0, Some(0)));
        assert_eq!([zero_point(0.5, 0.3, 4, None), zero_point(0.0, 1.0, 4, None)], [None, None]);
        assert_eq!([zero_point(0.5, -9.0, 4, None), zero_point(0.5, 0.5, 4, None)], [None, None]);
        assert!(bias(9000.0, 8, Some(F16)).is_infinite());
        // Metal and numpy have 0.1·3 − 0.7 as well, rounded at other places.
        assert!((value(0.1, -0.7, 3) + 0.4).abs() < 1e-7);
    }
}
