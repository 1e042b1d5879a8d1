//! MXFP4 and NVFP4: E2M1 numbers times a power of two for 32 of them, or times an E4M3 number for 16.
//!
//! The levels are twice E2M1's, so that they are integers, and scales are halved for it (`kvalues_fp4`).

use super::nibbles;

/// The levels; code 8 is 0 again, and reads +0.
const LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 2^(e − 128), half of what an E8M0 byte says; every byte is a number here, also 255.
#[inline(always)]
fn half_of_e8m0(exponent: u8) -> f32 {
    let bits = u32::from(exponent);
    f32::from_bits(if bits < 2 { 0x0020_0000 << bits } else { (bits - 1) << 23 })
}

/// MXFP4, 32 values: `e: E8M0, codes: [u8; 16]`; w = 2^(e − 128) · level.
#[inline(always)]
pub(super) fn decode_mxfp4(block: &[u8; 17], values: &mut [f32; 32]) {
    let &[exponent, ref codes @ ..] = block;
    let d = half_of_e8m0(exponent);
    nibbles(codes, values, |q| d * f32::from(LEVELS[usize::from(q)]));
}

/// Half of what an E4M3 byte without a sign says. 0x7f, NaN in OCP's E4M3, is 0; a set eighth bit is dropped.
#[inline(always)]
fn half_of_e4m3(pattern: u8) -> f32 {
    let (exponent, mantissa) = (u32::from(pattern >> 3 & 15), f32::from(pattern & 7));
    // 2^(exponent − 7) · (1 + mantissa / 8), or 2^−9 · mantissa, each halved.
    let normal = f32::from_bits((exponent + 119) << 23) * (1.0 + mantissa * 0.125);
    let value = if exponent == 0 { mantissa * (1.0 / 1024.0) } else { normal };
    if pattern == 0x7f { 0.0 } else { value }
}

/// NVFP4, 4 sub-blocks of 16: `scales: [E4M3; 4], codes: [u8; 32]`; w = scale / 2 · level.
#[inline(always)]
pub(super) fn decode_nvfp4(block: &[u8; 36], values: &mut [f32; 64]) {
    let &[s0, s1, s2, s3, ref codes @ ..] = block;
    let sub_blocks = values.as_chunks_mut::<16>().0.iter_mut().zip(codes.as_chunks::<8>().0);
    for ((values, codes), scale) in sub_blocks.zip([s0, s1, s2, s3]) {
        let d = half_of_e4m3(scale);
        nibbles(codes, values, |q| d * f32::from(LEVELS[usize::from(q)]));
    }
}
