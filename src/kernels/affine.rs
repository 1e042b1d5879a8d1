//! The affine form in which MLX keeps integer grids: a weight is scale · u + bias, u a code of N bits without a sign.
//!
//! A grid of codes c about a zero point z becomes u = c and bias = −z · scale, rounded to the dtype that both are stored in. A
//! symmetric grid is shifted by 2^(N−1), so that its bias is the scale times a power of two: exact in every binary float, and
//! scale · u + bias is then exactly c · scale. A product with any other zero point rounds: all values of its group are then off by
//! one and the same part of a step, 0 among them, and what is read is what the stored numbers come to.

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
                    for code in -top..=top {
                        assert_eq!(value(scale, bias, (code + shift) as u8), code as f32 * scale);
                    }
                }
            }
        }
    }

    #[test]
    fn a_bias_that_rounds_moves_zero_along() {
        // 5 · 0.3 in BF16: 0.30078125 and 1.50390625, which lies between 1.5 and 1.5078125 and goes to the even one.
        let scale = round_small(BF16, 0.3);
        let bias = bias(scale, 5, Some(BF16));
        assert_eq!((scale, bias), (0.300_781_25, -1.5));
        assert_eq!((value(scale, bias, 5), value(scale, bias, 0)), (0.003_906_25, -1.5));
    }

    #[test]
    fn nothing_and_what_does_not_fit() {
        assert_eq!(bias(0.5, 0, None).to_bits(), 0);
        assert!(bias(9000.0, 8, Some(F16)).is_infinite());
        // Metal and numpy have 0.1·3 − 0.7 as well, rounded at other places.
        assert!((value(0.1, -0.7, 3) + 0.4).abs() < 1e-7);
    }
}
