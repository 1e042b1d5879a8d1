//! One step for a block, and in the types that end in 1 a minimum: Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1.
//!
//! Steps and minima are binary16. Codes of four bits lie as `nibbles` says; the fifth bits of 32 codes are one u32.

use super::codec::{Decode, Encode, half, nibbles, pack_nibbles, to_half};
use crate::kernels::sketch::peak_of_lanes;

/// Q1_0, 128 values: `d, signs: [u8; 16]`, bit j of the signs is element j; w = d where it is set, else −d.
pub(super) struct Q1_0;

impl Decode<18, 128> for Q1_0 {
    #[inline(always)]
    fn decode(block: &[u8; 18], values: &mut [f32; 128]) {
        let &[d0, d1, ref signs @ ..] = block;
        let d = half([d0, d1]);
        for (values, byte) in values.as_chunks_mut::<8>().0.iter_mut().zip(signs) {
            for (bit, value) in values.iter_mut().enumerate() {
                *value = if byte >> bit & 1 == 1 { d } else { -d };
            }
        }
    }
}

/// Q2_0, 64 values: `d, codes: [u8; 16]`, element 4j + i in bits 2i of byte j; w = d · (q − 1).
pub(super) struct Q2_0;

impl Decode<18, 64> for Q2_0 {
    #[inline(always)]
    fn decode(block: &[u8; 18], values: &mut [f32; 64]) {
        let &[d0, d1, ref codes @ ..] = block;
        let d = half([d0, d1]);
        for (values, byte) in values.as_chunks_mut::<4>().0.iter_mut().zip(codes) {
            for (place, value) in values.iter_mut().enumerate() {
                *value = d * f32::from((byte >> (2 * place) & 3) as i8 - 1);
            }
        }
    }
}

/// Q4_0, 32 values: `d, codes: [u8; 16]`; w = d · (q − 8).
pub(super) struct Q4_0;

impl Decode<18, 32> for Q4_0 {
    #[inline(always)]
    fn decode(block: &[u8; 18], values: &mut [f32; 32]) {
        let &[d0, d1, ref codes @ ..] = block;
        let d = half([d0, d1]);
        nibbles(codes, values, |q| d * f32::from(q as i8 - 8));
    }
}

/// Q4_1, 32 values: `d, m, codes: [u8; 16]`; w = d · q + m.
pub(super) struct Q4_1;

impl Decode<20, 32> for Q4_1 {
    #[inline(always)]
    fn decode(block: &[u8; 20], values: &mut [f32; 32]) {
        let &[d0, d1, m0, m1, ref codes @ ..] = block;
        let (d, m) = (half([d0, d1]), half([m0, m1]));
        nibbles(codes, values, |q| d * f32::from(q) + m);
    }
}

/// Codes of five bits: four as `nibbles` has them, the fifth of element j in bit j of `fifths`.
#[inline(always)]
fn fives(fifths: u32, codes: &[u8; 16], values: &mut [f32; 32], value: impl Fn(u8) -> f32) {
    let (low, high) = values.split_at_mut(16);
    for (j, ((&byte, low), high)) in codes.iter().zip(low).zip(high).enumerate() {
        *low = value(byte & 15 | (fifths >> j << 4 & 16) as u8);
        *high = value(byte >> 4 | (fifths >> (j + 12) & 16) as u8);
    }
}

/// Q5_0, 32 values: `d, fifths: u32, codes: [u8; 16]`; w = d · (q − 16).
pub(super) struct Q5_0;

impl Decode<22, 32> for Q5_0 {
    #[inline(always)]
    fn decode(block: &[u8; 22], values: &mut [f32; 32]) {
        let &[d0, d1, f0, f1, f2, f3, ref codes @ ..] = block;
        let d = half([d0, d1]);
        fives(u32::from_le_bytes([f0, f1, f2, f3]), codes, values, |q| d * f32::from(q as i8 - 16));
    }
}

/// Q5_1, 32 values: `d, m, fifths: u32, codes: [u8; 16]`; w = d · q + m.
pub(super) struct Q5_1;

impl Decode<24, 32> for Q5_1 {
    #[inline(always)]
    fn decode(block: &[u8; 24], values: &mut [f32; 32]) {
        let &[d0, d1, m0, m1, f0, f1, f2, f3, ref codes @ ..] = block;
        let (d, m) = (half([d0, d1]), half([m0, m1]));
        fives(u32::from_le_bytes([f0, f1, f2, f3]), codes, values, |q| d * f32::from(q) + m);
    }
}

/// Q8_0, 32 values: `d, codes: [i8; 32]`; w = d · q.
pub(super) struct Q8_0;

impl Decode<34, 32> for Q8_0 {
    #[inline(always)]
    fn decode(block: &[u8; 34], values: &mut [f32; 32]) {
        let &[d0, d1, ref codes @ ..] = block;
        let d = half([d0, d1]);
        values.iter_mut().zip(codes).for_each(|(value, &q)| *value = d * f32::from(q as i8));
    }
}

/// Q8_1, 32 values: `d, s, codes: [i8; 32]`; w = d · q. `s`, d times the sum of the codes, serves products only, as does the
/// type: no file should hold it.
pub(super) struct Q8_1;

impl Decode<36, 32> for Q8_1 {
    #[inline(always)]
    fn decode(block: &[u8; 36], values: &mut [f32; 32]) {
        let &[d0, d1, _, _, ref codes @ ..] = block;
        let d = half([d0, d1]);
        values.iter_mut().zip(codes).for_each(|(value, &q)| *value = d * f32::from(q as i8));
    }
}

/// Least and largest value of a block, of finite values.
#[inline(always)]
fn extent(values: &[f32; 32]) -> (f32, f32) {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let lesser = |a: f32, b: f32| if b < a { b } else { a };
    let (first, second) = values.split_at(16);
    let pairs = || first.iter().zip(second);
    // Halves in arrays of their own, which stay in registers; see `peak_of_lanes`.
    let (mut low, mut high) = ([0.0; 16], [0.0; 16]);
    high.iter_mut().zip(pairs()).for_each(|(high, (&a, &b))| *high = greater(a, b));
    low.iter_mut().zip(pairs()).for_each(|(low, (&a, &b))| *low = lesser(a, b));
    let eight: [f32; 8] = std::array::from_fn(|i| lesser(low[i], low[i + 8]));
    let four: [f32; 4] = std::array::from_fn(|i| lesser(eight[i], eight[i + 4]));
    (lesser(lesser(four[0], four[2]), lesser(four[1], four[3])), peak_of_lanes(high))
}

/// The value of the largest magnitude, the first of several; +0 of zeros.
#[inline(always)]
fn signed_peak(values: &[f32; 32]) -> f32 {
    let (low, high) = extent(values);
    if high == -low {
        first_of(values, high)
    } else if high > -low {
        high
    } else {
        low
    }
}

/// The first value of a magnitude other than 0; 0 when there is none.
#[cold]
#[inline(never)]
fn first_of(values: &[f32; 32], magnitude: f32) -> f32 {
    values.iter().copied().find(|x| x.abs() == magnitude && *x != 0.0).unwrap_or_default()
}

/// Minimum and span of a block. Where the minimum is 0 its sign is the first zero's.
#[inline(always)]
fn minimum_and_span(values: &[f32; 32]) -> (f32, f32) {
    let (low, high) = extent(values);
    let low = if low == 0.0 { first_zero(values) } else { low };
    (low, if low == high { 0.0 } else { high - low })
}

#[cold]
#[inline(never)]
fn first_zero(values: &[f32; 32]) -> f32 {
    values.iter().copied().find(|&x| x == 0.0).unwrap_or_default()
}

/// One over a step, 0 where that is 0.
#[inline(always)]
fn inverse(step: f32) -> f32 {
    if step == 0.0 { 0.0 } else { 1.0 / step }
}

/// Whole part of a value from 0 to 2^22.
#[inline(always)]
fn whole(x: f32) -> i32 {
    const WHOLE_FROM_HERE_ON: f32 = 8_388_608.0;
    let rounded = x + WHOLE_FROM_HERE_ON;
    (rounded.to_bits() & 0x007f_ffff) as i32 - i32::from(rounded - WHOLE_FROM_HERE_ON > x)
}

/// Codes up to `top` from places on a lattice. On one whose step or inverse is past the largest f32 they are 0: that is what
/// the reference's conversion leaves of infinity and of what is no number.
#[inline(always)]
fn codes(values: &[f32; 32], top: i32, is_lattice: bool, place: impl Fn(f32) -> f32) -> [u8; 32] {
    let mut codes = [0; 32];
    if is_lattice {
        codes.iter_mut().zip(values).for_each(|(code, &x)| *code = whole(place(x)).min(top) as u8);
    }
    codes
}

/// The fifth bits of codes, as [`fives`] reads them.
#[inline(always)]
fn pack_fifths(codes: &[u8; 32]) -> [u8; 4] {
    /// Times this, bit 8i of a word that has no others is also bit 56 + i, and nothing else comes there.
    const TOGETHER: u64 = 0x0102_0408_1020_4080;
    let mut fifths = [0; 4];
    for (byte, &eight) in fifths.iter_mut().zip(codes.as_chunks::<8>().0) {
        let bits = u64::from_le_bytes(eight) >> 4 & 0x0101_0101_0101_0101;
        *byte = (bits.wrapping_mul(TOGETHER) >> 56) as u8;
    }
    fifths
}

/// Q4_0 (`quantize_row_q4_0_ref`): the value of the largest magnitude is −8 steps, whichever its sign.
impl Encode<32, 18, 1> for Q4_0 {
    #[inline(always)]
    fn encode([values]: &[[f32; 32]; 1], [block]: &mut [[u8; 18]; 1]) {
        let d = signed_peak(values) / -8.0;
        let per_step = inverse(d);
        let codes = codes(values, 15, per_step.is_finite(), |x| x * per_step + 8.5);
        let [d0, d1, bytes @ ..] = block;
        [*d0, *d1] = to_half(d);
        pack_nibbles(&codes, bytes);
    }
}

/// Q4_1 (`quantize_row_q4_1_ref`): fifteen steps from the least to the largest value.
impl Encode<32, 20, 1> for Q4_1 {
    #[inline(always)]
    fn encode([values]: &[[f32; 32]; 1], [block]: &mut [[u8; 20]; 1]) {
        let (low, span) = minimum_and_span(values);
        let d = span / 15.0;
        let per_step = inverse(d);
        let codes = codes(values, 15, per_step > 0.0 && per_step.is_finite(), |x| (x - low) * per_step + 0.5);
        let [d0, d1, m0, m1, bytes @ ..] = block;
        ([*d0, *d1], [*m0, *m1]) = (to_half(d), to_half(low));
        pack_nibbles(&codes, bytes);
    }
}

/// Q5_0 (`quantize_row_q5_0_ref`): the value of the largest magnitude is −16 steps.
impl Encode<32, 22, 1> for Q5_0 {
    #[inline(always)]
    fn encode([values]: &[[f32; 32]; 1], [block]: &mut [[u8; 22]; 1]) {
        let d = signed_peak(values) / -16.0;
        let per_step = inverse(d);
        let codes = codes(values, 31, per_step.is_finite(), |x| x * per_step + 16.5);
        let [d0, d1, f0, f1, f2, f3, bytes @ ..] = block;
        ([*d0, *d1], [*f0, *f1, *f2, *f3]) = (to_half(d), pack_fifths(&codes));
        pack_nibbles(&codes, bytes);
    }
}

/// Q5_1 (`quantize_row_q5_1_ref`): 31 steps from the least to the largest value.
impl Encode<32, 24, 1> for Q5_1 {
    #[inline(always)]
    fn encode([values]: &[[f32; 32]; 1], [block]: &mut [[u8; 24]; 1]) {
        let (low, span) = minimum_and_span(values);
        let d = span / 31.0;
        let per_step = inverse(d);
        let codes = codes(values, 31, per_step > 0.0 && per_step.is_finite(), |x| (x - low) * per_step + 0.5);
        let [d0, d1, m0, m1, f0, f1, f2, f3, bytes @ ..] = block;
        ([*d0, *d1], [*m0, *m1], [*f0, *f1, *f2, *f3]) = (to_half(d), to_half(low), pack_fifths(&codes));
        pack_nibbles(&codes, bytes);
    }
}

/// Q8_0 (`quantize_row_q8_0_ref`): 127 steps to the largest magnitude, halves away from zero.
impl Encode<32, 34, 1> for Q8_0 {
    #[inline(always)]
    fn encode([values]: &[[f32; 32]; 1], [block]: &mut [[u8; 34]; 1]) {
        /// The largest below a half: added to 0.49999997, a half itself would be rounded up to 1.
        const ALMOST_HALF: f32 = 0.499_999_97;
        let (low, high) = extent(values);
        let d = if high > -low { high } else { low }.abs() / 127.0;
        let per_step = inverse(d);
        let [d0, d1, codes @ ..] = block;
        [*d0, *d1] = to_half(d);
        if !per_step.is_finite() {
            codes.fill(0);
            return;
        }
        for (code, &x) in codes.iter_mut().zip(values) {
            let place = x * per_step;
            let magnitude = whole(place.abs() + ALMOST_HALF);
            *code = if place < 0.0 { -magnitude } else { magnitude } as u8;
        }
    }
}
