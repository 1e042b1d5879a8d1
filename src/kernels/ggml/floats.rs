//! F32, F16 and BF16: blocks of one value, rounded half to even.

use crate::kernels::convert::{bf16_from_f32, f16_from_f32, f32_from_bf16, f32_from_f16};

/// F32, little-endian.
#[inline(always)]
pub(super) fn decode_f32(bytes: &[u8; 4], value: &mut [f32; 1]) {
    *value = [f32::from_le_bytes(*bytes)];
}

/// IEEE 754 binary16.
#[inline(always)]
pub(super) fn decode_f16(bytes: &[u8; 2], value: &mut [f32; 1]) {
    *value = [f32_from_f16(u16::from_le_bytes(*bytes))];
}

/// The upper half of an f32.
#[inline(always)]
pub(super) fn decode_bf16(bytes: &[u8; 2], value: &mut [f32; 1]) {
    *value = [f32_from_bf16(u16::from_le_bytes(*bytes))];
}

/// F32 as it is.
#[inline(always)]
pub(super) fn encode_f32(&[value]: &[f32; 1], bytes: &mut [u8; 4]) {
    *bytes = value.to_le_bytes();
}

/// F16; what rounds past 65,504 becomes infinite.
#[inline(always)]
pub(super) fn encode_f16(&[value]: &[f32; 1], bytes: &mut [u8; 2]) {
    *bytes = f16_from_f32(value).to_le_bytes();
}

/// BF16; what rounds past its largest number becomes infinite.
#[inline(always)]
pub(super) fn encode_bf16(&[value]: &[f32; 1], bytes: &mut [u8; 2]) {
    *bytes = bf16_from_f32(value).to_le_bytes();
}
