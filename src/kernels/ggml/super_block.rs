//! How the K types lay out a super-block of 256 values: sub-blocks of 16 or 32, whose steps and minima are small integers
//! times the super-block's own binary16.
//!
//! | type | sub-blocks | value |
//! |---|---|---|
//! | Q2_K | 16 of 16 | d · sc · q − dmin · mn; sc, mn of 4 bits, q of 2 |
//! | Q3_K | 16 of 16 | d · (sc − 32) · (q − 4); sc of 6 bits, q of 3 |
//! | Q4_K | 8 of 32 | d · sc · q − dmin · mn; sc, mn of 6 bits, q of 4 |
//! | Q5_K | 8 of 32 | the same with q of 5 bits |
//! | Q6_K | 16 of 16 | d · sc · (q − 32); sc of 8 bits with its sign, q of 6 |
//!
//! Codes of 2 bits: byte l of a half's 32 holds elements l, l + 32, l + 64, l + 96 of that half of 128, lowest bits first.

use super::half;

/// Q2_K: `scales: [u8; 16], codes: [u8; 64], d, dmin`; a scale byte holds sc in its low and mn in its high half.
#[inline(always)]
pub(super) fn decode_q2_k(block: &[u8; 84], values: &mut [f32; 256]) {
    let [bytes @ .., d0, d1, m0, m1] = block;
    let (scales, codes) = bytes.split_at(16);
    let (d, dmin) = (half([*d0, *d1]), half([*m0, *m1]));
    for (i, (values, &scale)) in values.as_chunks_mut::<16>().0.iter_mut().zip(scales).enumerate() {
        let (step, low) = (d * f32::from(scale & 15), dmin * f32::from(scale >> 4));
        let codes = &codes[twos(i)..][..16];
        let shift = shift_of_twos(i);
        values.iter_mut().zip(codes).for_each(|(value, q)| *value = step * f32::from(q >> shift & 3) - low);
    }
}

/// Where the bytes with the 2-bit codes of a sub-block of 16 begin.
#[inline(always)]
const fn twos(sub_block: usize) -> usize {
    sub_block / 8 * 32 + sub_block % 2 * 16
}

/// And at which bit of them.
#[inline(always)]
const fn shift_of_twos(sub_block: usize) -> usize {
    sub_block % 8 / 2 * 2
}

/// Q3_K: `thirds: [u8; 32], codes: [u8; 64], scales: [u8; 12], d`. The third bit of element 32 k + l of the 256 is bit k of
/// byte l of `thirds`.
#[inline(always)]
pub(super) fn decode_q3_k(block: &[u8; 110], values: &mut [f32; 256]) {
    let [bytes @ .., d0, d1] = block;
    let (thirds, rest) = bytes.split_at(32);
    let (codes, scales) = rest.split_at(64);
    let (d, scales) = (half([*d0, *d1]), scales_of_q3_k(scales));
    for (i, (values, scale)) in values.as_chunks_mut::<16>().0.iter_mut().zip(scales).enumerate() {
        let step = d * f32::from(scale);
        let (codes, thirds) = (&codes[twos(i)..][..16], &thirds[i % 2 * 16..][..16]);
        let shift = shift_of_twos(i);
        for ((value, q), third) in values.iter_mut().zip(codes).zip(thirds) {
            *value = step * f32::from((q >> shift & 3 | (third >> (i / 2) & 1) << 2) as i8 - 4);
        }
    }
}

/// The sixteen scales of a Q3_K block, −32 to 31: four low bits in the halves of the first eight bytes, two high bits in the
/// last four.
#[inline(always)]
pub(super) fn scales_of_q3_k(bytes: &[u8]) -> [i8; 16] {
    std::array::from_fn(|j| {
        let low = bytes[j % 8] >> (j / 8 * 4) & 15;
        let high = bytes[8 + j % 4] >> (j / 4 * 2) & 3;
        (low | high << 4) as i8 - 32
    })
}

/// The eight scales and minima of a Q4_K or Q5_K block, 0 to 63: the first four whole, of the last four the high two bits
/// above those.
#[inline(always)]
pub(super) fn scales_and_minima(bytes: &[u8]) -> [(u8, u8); 8] {
    std::array::from_fn(|j| {
        if j < 4 {
            (bytes[j] & 63, bytes[j + 4] & 63)
        } else {
            (bytes[j + 4] & 15 | bytes[j - 4] >> 6 << 4, bytes[j + 4] >> 4 | bytes[j] >> 6 << 4)
        }
    })
}

/// Q4_K: `d, dmin, scales: [u8; 12], codes: [u8; 128]`; 32 bytes hold one sub-block in their low and the next in their high
/// halves.
#[inline(always)]
pub(super) fn decode_q4_k(block: &[u8; 144], values: &mut [f32; 256]) {
    let [d0, d1, m0, m1, bytes @ ..] = block;
    let (scales, codes) = bytes.split_at(12);
    let (d, dmin) = (half([*d0, *d1]), half([*m0, *m1]));
    let scales = scales_and_minima(scales);
    for (i, (values, (scale, minimum))) in values.as_chunks_mut::<32>().0.iter_mut().zip(scales).enumerate() {
        let (step, low) = (d * f32::from(scale), dmin * f32::from(minimum));
        let (codes, shift) = (&codes[i / 2 * 32..][..32], i % 2 * 4);
        values.iter_mut().zip(codes).for_each(|(value, q)| *value = step * f32::from(q >> shift & 15) - low);
    }
}

/// Q5_K: `d, dmin, scales: [u8; 12], fifths: [u8; 32], codes: [u8; 128]`; the fifth bit of element l of sub-block i is bit i
/// of byte l of `fifths`.
#[inline(always)]
pub(super) fn decode_q5_k(block: &[u8; 176], values: &mut [f32; 256]) {
    let [d0, d1, m0, m1, bytes @ ..] = block;
    let (scales, rest) = bytes.split_at(12);
    let (fifths, codes) = rest.split_at(32);
    let (d, dmin) = (half([*d0, *d1]), half([*m0, *m1]));
    let scales = scales_and_minima(scales);
    for (i, (values, (scale, minimum))) in values.as_chunks_mut::<32>().0.iter_mut().zip(scales).enumerate() {
        let (step, low) = (d * f32::from(scale), dmin * f32::from(minimum));
        let (codes, shift) = (&codes[i / 2 * 32..][..32], i % 2 * 4);
        for ((value, q), fifth) in values.iter_mut().zip(codes).zip(fifths) {
            *value = step * f32::from(q >> shift & 15 | (fifth >> i & 1) << 4) - low;
        }
    }
}

/// Q6_K: `low: [u8; 128], high: [u8; 64], scales: [i8; 16], d`. Of a half of 128, byte l of its 64 `low` bytes holds elements
/// l and l + 64, byte l of its 32 `high` bytes two bits of each of l, l + 32, l + 64, l + 96.
#[inline(always)]
pub(super) fn decode_q6_k(block: &[u8; 210], values: &mut [f32; 256]) {
    let [bytes @ .., d0, d1] = block;
    let (low, rest) = bytes.split_at(128);
    let (high, scales) = rest.split_at(64);
    let d = half([*d0, *d1]);
    for (i, (values, &scale)) in values.as_chunks_mut::<16>().0.iter_mut().zip(scales).enumerate() {
        let step = d * f32::from(scale as i8);
        let (low, shift) = (&low[i / 8 * 64 + i % 4 * 16..][..16], i % 8 / 4 * 4);
        let (high, turn) = (&high[twos(i)..][..16], shift_of_twos(i));
        for ((value, low), high) in values.iter_mut().zip(low).zip(high) {
            *value = step * f32::from((low >> shift & 15 | (high >> turn & 3) << 4) as i8 - 32);
        }
    }
}

/// Q8_K: `d: f32, codes: [i8; 256], sums: [i16; 16]`; w = d · q. It serves products only: no file should hold it.
#[inline(always)]
pub(super) fn decode_q8_k(block: &[u8; 292], values: &mut [f32; 256]) {
    let &[d0, d1, d2, d3, ref codes @ ..] = block;
    let d = f32::from_le_bytes([d0, d1, d2, d3]);
    values.iter_mut().zip(codes).for_each(|(value, &q)| *value = d * f32::from(q as i8));
}
