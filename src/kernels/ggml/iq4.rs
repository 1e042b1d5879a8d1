//! IQ4_NL and IQ4_XS: sixteen levels that lie as densely as weights do, times a step.

use super::{half, nibbles};

/// The levels, −127 to 113: a normal distribution's, as integers (`kvalues_iq4nl`).
const LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// IQ4_NL, 32 values: `d, codes: [u8; 16]`; w = d · level.
#[inline(always)]
pub(super) fn decode_iq4_nl(block: &[u8; 18], values: &mut [f32; 32]) {
    let &[d0, d1, ref codes @ ..] = block;
    let d = half([d0, d1]);
    nibbles(codes, values, |q| d * f32::from(LEVELS[usize::from(q)]));
}

/// IQ4_XS, 8 sub-blocks of 32: `d, high: u16, low: [u8; 4], codes: [u8; 128]`; w = d · (sc − 32) · level, where sc of sub-block
/// i has its low four bits in half i of `low` and two bits at 2i of `high`.
#[inline(always)]
pub(super) fn decode_iq4_xs(block: &[u8; 136], values: &mut [f32; 256]) {
    let &[d0, d1, h0, h1, l0, l1, l2, l3, ref codes @ ..] = block;
    let (d, high, low) = (half([d0, d1]), u16::from_le_bytes([h0, h1]), [l0, l1, l2, l3]);
    let sub_blocks = values.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<16>().0);
    for (i, (values, codes)) in sub_blocks.enumerate() {
        let scale = low[i / 2] >> (i % 2 * 4) & 15 | (high >> (2 * i) & 3) as u8 * 16;
        let step = d * f32::from(scale as i8 - 32);
        nibbles(codes, values, |q| step * f32::from(LEVELS[usize::from(q)]));
    }
}
