//! One step for a block, and in the types that end in 1 a minimum: Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1.
//!
//! Steps and minima are binary16. Codes of four bits lie as `nibbles` says; the fifth bits of 32 codes are one u32.

use super::{half, nibbles, to_half};
use crate::kernels::sketch::peak_of_lanes;

/// Q1_0, 128 values: `d, signs: [u8; 16]`, bit j of the signs is element j; w = d where it is set, else −d.
#[inline(always)]
pub(super) fn decode_q1_0(block: &[u8; 18], values: &mut [f32; 128]) {
    let &[d0, d1, ref signs @ ..] = block;
    let d = half([d0, d1]);
    for (values, byte) in values.as_chunks_mut::<8>().0.iter_mut().zip(signs) {
        for (bit, value) in values.iter_mut().enumerate() {
            *value = if byte >> bit & 1 == 1 { d } else { -d };
        }
    }
}

/// Q2_0, 64 values: `d, codes: [u8; 16]`, element 4j + i in bits 2i of byte j; w = d · (q − 1).
#[inline(always)]
pub(super) fn decode_q2_0(block: &[u8; 18], values: &mut [f32; 64]) {
    let &[d0, d1, ref codes @ ..] = block;
    let d = half([d0, d1]);
    for (values, byte) in values.as_chunks_mut::<4>().0.iter_mut().zip(codes) {
        for (place, value) in values.iter_mut().enumerate() {
            *value = d * f32::from((byte >> (2 * place) & 3) as i8 - 1);
        }
    }
}

/// Q4_0, 32 values: `d, codes: [u8; 16]`; w = d · (q − 8).
#[inline(always)]
pub(super) fn decode_q4_0(block: &[u8; 18], values: &mut [f32; 32]) {
    let &[d0, d1, ref codes @ ..] = block;
    let d = half([d0, d1]);
    nibbles(codes, values, |q| d * f32::from(q as i8 - 8));
}

/// Q4_1, 32 values: `d, m, codes: [u8; 16]`; w = d · q + m.
#[inline(always)]
pub(super) fn decode_q4_1(block: &[u8; 20], values: &mut [f32; 32]) {
    let &[d0, d1, m0, m1, ref codes @ ..] = block;
    let (d, m) = (half([d0, d1]), half([m0, m1]));
    nibbles(codes, values, |q| d * f32::from(q) + m);
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
#[inline(always)]
pub(super) fn decode_q5_0(block: &[u8; 22], values: &mut [f32; 32]) {
    let &[d0, d1, f0, f1, f2, f3, ref codes @ ..] = block;
    let d = half([d0, d1]);
    fives(u32::from_le_bytes([f0, f1, f2, f3]), codes, values, |q| d * f32::from(q as i8 - 16));
}

/// Q5_1, 32 values: `d, m, fifths: u32, codes: [u8; 16]`; w = d · q + m.
#[inline(always)]
pub(super) fn decode_q5_1(block: &[u8; 24], values: &mut [f32; 32]) {
    let &[d0, d1, m0, m1, f0, f1, f2, f3, ref codes @ ..] = block;
    let (d, m) = (half([d0, d1]), half([m0, m1]));
    fives(u32::from_le_bytes([f0, f1, f2, f3]), codes, values, |q| d * f32::from(q) + m);
}

/// Q8_0, 32 values: `d, codes: [i8; 32]`; w = d · q.
#[inline(always)]
pub(super) fn decode_q8_0(block: &[u8; 34], values: &mut [f32; 32]) {
    let &[d0, d1, ref codes @ ..] = block;
    let d = half([d0, d1]);
    values.iter_mut().zip(codes).for_each(|(value, &q)| *value = d * f32::from(q as i8));
}

/// Q8_1, 32 values: `d, s, codes: [i8; 32]`; w = d · q. `s`, d times the sum of the codes, serves products only, as does the
/// type: no file should hold it.
#[inline(always)]
pub(super) fn decode_q8_1(block: &[u8; 36], values: &mut [f32; 32]) {
    let &[d0, d1, _, _, ref codes @ ..] = block;
    let d = half([d0, d1]);
    values.iter_mut().zip(codes).for_each(|(value, &q)| *value = d * f32::from(q as i8));
}

/// Largest and least of a block, the lanes of both apart: `most(x)` of every element, none below `floor`.
#[inline(always)]
fn peak(values: &[f32; 32], floor: f32, most: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [floor; 16];
    for sixteen in values.as_chunks::<16>().0 {
        for (lane, &x) in lanes.iter_mut().zip(sixteen) {
            *lane = if most(x) > *lane { most(x) } else { *lane };
        }
    }
    peak_of_lanes(lanes)
}

/// The value of the largest magnitude, the first of several.
#[inline(always)]
fn signed_peak(values: &[f32; 32]) -> f32 {
    let (high, low) = (peak(values, 0.0, |x| x), peak(values, 0.0, |x| -x));
    if high == low {
        return values.iter().copied().find(|x| x.abs() == high).unwrap_or_default();
    }
    if high > low { high } else { -low }
}

/// One over a step, 0 where that is 0.
#[inline(always)]
fn inverse(step: f32) -> f32 {
    if step == 0.0 { 0.0 } else { 1.0 / step }
}

/// Whole part of a value from 0 to 2^22.
#[inline(always)]
fn whole(x: f32) -> i32 {
    const FROM_HERE_ON_WHOLE: f32 = 8_388_608.0;
    let rounded = x + FROM_HERE_ON_WHOLE;
    (rounded.to_bits() & 0x007f_ffff) as i32 - i32::from(rounded - FROM_HERE_ON_WHOLE > x)
}

/// Codes of 32 values on a lattice, `top` at most; none where the lattice is finer than f32 can say, as there the
/// reference's codes are what a conversion of infinity leaves in them: 0.
#[inline(always)]
fn codes(values: &[f32; 32], top: i32, per_step: f32, place: impl Fn(f32) -> f32) -> [i32; 32] {
    let mut codes = [0; 32];
    if per_step.is_finite() {
        for (code, &x) in codes.iter_mut().zip(values) {
            *code = whole(place(x)).min(top);
        }
    }
    codes
}

/// The codes' low four bits in halves of bytes, as [`nibbles`] reads them.
#[inline(always)]
fn pack_nibbles(codes: &[i32; 32], bytes: &mut [u8]) {
    let (low, high) = codes.split_at(16);
    for ((byte, low), high) in bytes.iter_mut().zip(low).zip(high) {
        *byte = (low & 15 | high << 4) as u8;
    }
}

/// Q4_0 (`quantize_row_q4_0_ref`): the value of the largest magnitude becomes −8 steps.
#[inline(always)]
pub(super) fn encode_q4_0(values: &[f32; 32], block: &mut [u8; 18]) {
    let d = signed_peak(values) / -8.0;
    let per_step = inverse(d);
    let codes = codes(values, 15, per_step, |x| x * per_step + 8.5);
    let [d0, d1, bytes @ ..] = block;
    [*d0, *d1] = to_half(d);
    pack_nibbles(&codes, bytes);
}
