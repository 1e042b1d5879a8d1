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

use super::codec::{Decode, half};

/// Q2_K: `scales: [u8; 16], codes: [u8; 64], d, dmin`; a scale byte holds sc in its low and mn in its high half.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct Q2_K;

impl Decode<84, 256> for Q2_K {
    #[inline(always)]
    fn decode(block: &[u8; 84], values: &mut [f32; 256]) {
        let [bytes @ .., d0, d1, m0, m1] = block;
        let (scales, codes) = bytes.split_at(16);
        let (d, dmin) = (half([*d0, *d1]), half([*m0, *m1]));
        let codes = unpack_twos(codes);
        let sub_blocks = values.as_chunks_mut::<16>().0.iter_mut().zip(codes.as_chunks::<16>().0);
        for ((values, codes), scale) in sub_blocks.zip(scales) {
            let (step, low) = (d * f32::from(scale & 15), dmin * f32::from(scale >> 4));
            values.iter_mut().zip(codes).for_each(|(value, &q)| *value = step * f32::from(q) - low);
        }
    }
}

/// Codes of two bits of 256 values, or two bits of each.
#[inline(always)]
fn unpack_twos(bytes: &[u8]) -> [u8; 256] {
    let mut codes = [0; 256];
    for (codes, bytes) in codes.as_chunks_mut::<128>().0.iter_mut().zip(bytes.as_chunks::<32>().0) {
        for (codes, shift) in codes.as_chunks_mut::<32>().0.iter_mut().zip([0, 2, 4, 6]) {
            codes.iter_mut().zip(bytes).for_each(|(q, byte)| *q = byte >> shift & 3);
        }
    }
    codes
}

/// Q3_K: `thirds: [u8; 32], codes: [u8; 64], scales: [u8; 12], d`. The third bit of element 32 k + l of the 256 is bit k of
/// byte l of `thirds`.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct Q3_K;

impl Decode<110, 256> for Q3_K {
    #[inline(always)]
    fn decode(block: &[u8; 110], values: &mut [f32; 256]) {
        let [bytes @ .., d0, d1] = block;
        let (thirds, rest) = bytes.split_at(32);
        let (codes, scales) = rest.split_at(64);
        let (d, scales) = (half([*d0, *d1]), scales_of_q3_k(scales));
        let mut codes = unpack_twos(codes);
        for (i, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            codes.iter_mut().zip(thirds).for_each(|(q, third)| *q |= (third >> i & 1) << 2);
        }
        let sub_blocks = values.as_chunks_mut::<16>().0.iter_mut().zip(codes.as_chunks::<16>().0);
        for ((values, codes), scale) in sub_blocks.zip(scales) {
            let step = d * f32::from(scale);
            values.iter_mut().zip(codes).for_each(|(value, &q)| *value = step * f32::from(q as i8 - 4));
        }
    }
}

/// The sixteen scales of a Q3_K block, −32 to 31: four low bits in the halves of the first eight bytes, two high bits in the
/// last four.
#[inline(always)]
pub(super) fn scales_of_q3_k(bytes: &[u8]) -> [i8; 16] {
    let mut scales = [0; 16];
    for (j, scale) in scales.iter_mut().enumerate() {
        let low = bytes[j % 8] >> (j / 8 * 4) & 15;
        let high = bytes[8 + j % 4] >> (j / 4 * 2) & 3;
        *scale = (low | high << 4) as i8 - 32;
    }
    scales
}

/// The eight scales and minima of a Q4_K or Q5_K block, 0 to 63: the first four whole, of the last four the high two bits
/// above those.
#[inline(always)]
pub(super) fn scales_and_minima(bytes: &[u8]) -> [(u8, u8); 8] {
    let mut pairs = [(0, 0); 8];
    for (j, pair) in pairs.iter_mut().enumerate() {
        *pair = if j < 4 {
            (bytes[j] & 63, bytes[j + 4] & 63)
        } else {
            (bytes[j + 4] & 15 | bytes[j - 4] >> 6 << 4, bytes[j + 4] >> 4 | bytes[j] >> 6 << 4)
        };
    }
    pairs
}

/// Q4_K: `d, dmin, scales: [u8; 12], codes: [u8; 128]`; 32 bytes hold one sub-block in their low and the next in their high
/// halves.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct Q4_K;

impl Decode<144, 256> for Q4_K {
    #[inline(always)]
    fn decode(block: &[u8; 144], values: &mut [f32; 256]) {
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
}

/// Q5_K: `d, dmin, scales: [u8; 12], fifths: [u8; 32], codes: [u8; 128]`; the fifth bit of element l of sub-block i is bit i
/// of byte l of `fifths`.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct Q5_K;

impl Decode<176, 256> for Q5_K {
    #[inline(always)]
    fn decode(block: &[u8; 176], values: &mut [f32; 256]) {
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
}

/// Q6_K: `low: [u8; 128], high: [u8; 64], scales: [i8; 16], d`. Of a half of 128, byte l of its 64 `low` bytes holds elements
/// l and l + 64, byte l of its 32 `high` bytes two bits of each of l, l + 32, l + 64, l + 96.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct Q6_K;

impl Decode<210, 256> for Q6_K {
    #[inline(always)]
    fn decode(block: &[u8; 210], values: &mut [f32; 256]) {
        let [bytes @ .., d0, d1] = block;
        let (low, rest) = bytes.split_at(128);
        let (high, scales) = rest.split_at(64);
        let d = half([*d0, *d1]);
        let codes = unpack_sixes(low, high);
        let sub_blocks = values.as_chunks_mut::<16>().0.iter_mut().zip(codes.as_chunks::<16>().0);
        for ((values, codes), &scale) in sub_blocks.zip(scales) {
            let step = d * f32::from(scale as i8);
            values.iter_mut().zip(codes).for_each(|(value, &q)| *value = step * f32::from(q as i8 - 32));
        }
    }
}

/// Codes of six bits of 256 values.
#[inline(always)]
fn unpack_sixes(low: &[u8], high: &[u8]) -> [u8; 256] {
    let mut codes = unpack_twos(high);
    for (codes, low) in codes.as_chunks_mut::<128>().0.iter_mut().zip(low.as_chunks::<64>().0) {
        let (first, second) = codes.split_at_mut(64);
        for ((first, second), byte) in first.iter_mut().zip(second).zip(low) {
            *first = *first << 4 | byte & 15;
            *second = *second << 4 | byte >> 4;
        }
    }
    codes
}

/// Q8_K: `d: f32, codes: [i8; 256], sums: [i16; 16]`; w = d · q. It serves products only: no file should hold it.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct Q8_K;

impl Decode<292, 256> for Q8_K {
    #[inline(always)]
    fn decode(block: &[u8; 292], values: &mut [f32; 256]) {
        let &[d0, d1, d2, d3, ref codes @ ..] = block;
        let d = f32::from_le_bytes([d0, d1, d2, d3]);
        values.iter_mut().zip(codes).for_each(|(value, &q)| *value = d * f32::from(q as i8));
    }
}

/// Two bits of 256 codes, from bit `shift` on, as [`unpack_twos`] reads them.
#[inline(always)]
pub(super) fn pack_twos(codes: &[u8], shift: u32, bytes: &mut [u8]) {
    for (codes, bytes) in codes.as_chunks::<128>().0.iter().zip(bytes.as_chunks_mut::<32>().0) {
        let two = |place: usize| codes[place] >> shift & 3;
        for (l, byte) in bytes.iter_mut().enumerate() {
            *byte = two(l) | two(l + 32) << 2 | two(l + 64) << 4 | two(l + 96) << 6;
        }
    }
}

/// Bit `bit` of 256 codes: that of element 32 i + l in bit i of byte l.
#[inline(always)]
pub(super) fn pack_ones(codes: &[u8], bit: u32, bytes: &mut [u8]) {
    bytes.fill(0);
    for (i, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
        bytes.iter_mut().zip(codes).for_each(|(byte, q)| *byte |= (q >> bit & 1) << i);
    }
}

/// The low four bits of 256 codes, `half` apart in the halves of `half` bytes.
#[inline(always)]
pub(super) fn pack_pairs(codes: &[u8], half: usize, bytes: &mut [u8]) {
    for (codes, bytes) in codes.chunks_exact(2 * half).zip(bytes.chunks_exact_mut(half)) {
        let (low, high) = codes.split_at(half);
        for ((byte, low), high) in bytes.iter_mut().zip(low).zip(high) {
            *byte = low & 15 | high << 4;
        }
    }
}

/// The scales of a Q3_K block, as [`scales_of_q3_k`] reads them.
#[inline(always)]
pub(super) fn pack_scales_of_q3_k(scales: [i8; 16]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (j, scale) in scales.into_iter().enumerate() {
        let scale = (scale + 32) as u8;
        bytes[j % 8] |= (scale & 15) << (j / 8 * 4);
        bytes[8 + j % 4] |= scale >> 4 << (j / 4 * 2);
    }
    bytes
}

/// The scales and minima of a Q4_K or Q5_K block, as [`scales_and_minima`] reads them.
#[inline(always)]
pub(super) fn pack_scales_and_minima(pairs: [(u8, u8); 8]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (j, (scale, minimum)) in pairs.into_iter().enumerate() {
        if j < 4 {
            (bytes[j], bytes[j + 4]) = (scale, minimum);
        } else {
            bytes[j + 4] = scale & 15 | minimum << 4;
            bytes[j - 4] |= scale >> 4 << 6;
            bytes[j] |= minimum >> 4 << 6;
        }
    }
    bytes
}
