//! MXFP4 and NVFP4: E2M1 numbers times a power of two for 32 of them, or times an E4M3 number for 16.
//!
//! The levels are twice E2M1's, so that they are integers, and scales are halved for it (`kvalues_fp4`).

use super::codec::{Decode, Encode, nibbles, pack_nibbles, peak};

/// The levels; code 8 is 0 again, and reads +0.
const LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 2^(e − 128), half of what an E8M0 byte says; every byte is a number here, also 255.
#[inline(always)]
fn half_of_e8m0(exponent: u8) -> f32 {
    let bits = u32::from(exponent);
    f32::from_bits(if bits < 2 { 0x0020_0000 << bits } else { (bits - 1) << 23 })
}

/// MXFP4, 32 values: `e: E8M0, codes: [u8; 16]`; w = 2^(e − 128) · level.
pub(super) struct MXFP4;

impl Decode<17, 32> for MXFP4 {
    #[inline(always)]
    fn decode(block: &[u8; 17], values: &mut [f32; 32]) {
        let &[exponent, ref codes @ ..] = block;
        let d = half_of_e8m0(exponent);
        nibbles(codes, values, |q| d * f32::from(LEVELS[usize::from(q)]));
    }
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
pub(super) struct NVFP4;

impl Decode<36, 64> for NVFP4 {
    #[inline(always)]
    fn decode(block: &[u8; 36], values: &mut [f32; 64]) {
        let &[s0, s1, s2, s3, ref codes @ ..] = block;
        let sub_blocks = values.as_chunks_mut::<16>().0.iter_mut().zip(codes.as_chunks::<8>().0);
        for ((values, codes), scale) in sub_blocks.zip([s0, s1, s2, s3]) {
            let d = half_of_e4m3(scale);
            nibbles(codes, values, |q| d * f32::from(LEVELS[usize::from(q)]));
        }
    }
}

/// Codes of the nearest levels times `d`, the lower of two (`best_index_mxfp4`), as [`nibbles`] reads them. Distances are
/// compared as f32 has them: far beyond the last level they are all the same, and the code is 0.
#[inline(always)]
fn pack<const ALL: usize, const HALF: usize>(values: &[f32; ALL], d: f32, bytes: &mut [u8; HALF]) {
    let mut codes = [0; ALL];
    for (code, &x) in codes.iter_mut().zip(values) {
        let (mut nearest, mut magnitude) = (x.abs(), 0);
        for (candidate, &level) in (1..8).zip(&LEVELS[1..]) {
            let distance = (d * f32::from(level) - x.abs()).abs();
            magnitude = if distance < nearest { candidate } else { magnitude };
            nearest = if distance < nearest { distance } else { nearest };
        }
        *code = magnitude | u8::from(x < 0.0 && magnitude > 0) << 3;
    }
    pack_nibbles(&codes, bytes);
}

/// ⌊log2 x⌋ of a positive x as the reference has it, from a logarithm that is an f32: just below a power of two that is
/// already rounded to the whole number.
#[inline(always)]
fn floor_of_log2(x: f32) -> i32 {
    let bits = x.to_bits();
    let (subnormal, almost_next) = (bits < 0x0080_0000, bits & 0x007f_ff00 == 0x007f_ff00);
    if subnormal || almost_next { rounded_log2(x).floor() as i32 } else { (bits >> 23) as i32 - 127 }
}

#[cold]
#[inline(never)]
fn rounded_log2(x: f32) -> f32 {
    f64::from(x).log2() as f32
}

/// MXFP4 (`quantize_row_mxfp4_ref`): 2^(⌊log2 peak⌋ − 2). Below 2^−125 the exponent runs past the end of its byte, as it does
/// there.
impl Encode<32, 17, 1> for MXFP4 {
    #[inline(always)]
    fn encode([values]: &[[f32; 32]; 1], [block]: &mut [[u8; 17]; 1]) {
        let peak = peak(values);
        let [exponent, bytes @ ..] = block;
        *exponent = if peak > 0.0 { (floor_of_log2(peak) + 125) as u8 } else { 0 };
        pack(values, half_of_e8m0(*exponent), bytes);
    }
}

/// The E4M3 byte of a scale (`ggml_fp32_to_ue4m3`): halves up, and 448 for everything from 248 on, where the reference sees
/// the highest exponent.
#[inline(always)]
fn e4m3_of(scale: f32) -> u8 {
    let exponent = scale.to_bits() >> 23;
    if exponent <= 120 {
        return ((scale * 512.0 + 0.5) as u8).min(7);
    }
    // Exponent and three bits of mantissa, of four that are looked at; 120 more in the exponent than E4M3 has.
    let pattern = (scale.to_bits() >> 19).div_ceil(2) - (120 << 3);
    if pattern < 15 << 3 { pattern as u8 } else { 0x7e }
}

/// NVFP4 (`quantize_row_nvfp4_ref`): peak / 6 of every 16 values as E4M3. There is no scale over the whole tensor.
impl Encode<64, 36, 1> for NVFP4 {
    #[inline(always)]
    fn encode([values]: &[[f32; 64]; 1], [block]: &mut [[u8; 36]; 1]) {
        let (scales, bytes) = block.split_at_mut(4);
        let sub_blocks = values.as_chunks::<16>().0.iter().zip(bytes.as_chunks_mut::<8>().0);
        for ((values, bytes), scale) in sub_blocks.zip(scales) {
            *scale = e4m3_of(peak(values) / 6.0);
            pack(values, half_of_e4m3(*scale), bytes);
        }
    }
}
