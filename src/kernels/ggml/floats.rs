//! F32, F16 and BF16: blocks of one value, rounded half to even.

use super::codec::{Decode, Encode};
use crate::kernels::convert::{bf16_from_f32, f16_from_f32, f32_from_bf16, f32_from_f16};

/// F32, little-endian.
pub(super) struct F32;

impl Decode<4, 1> for F32 {
    #[inline(always)]
    fn decode(bytes: &[u8; 4], value: &mut [f32; 1]) {
        *value = [f32::from_le_bytes(*bytes)];
    }
}

/// IEEE 754 binary16.
pub(super) struct F16;

impl Decode<2, 1> for F16 {
    #[inline(always)]
    fn decode(bytes: &[u8; 2], value: &mut [f32; 1]) {
        *value = [f32_from_f16(u16::from_le_bytes(*bytes))];
    }
}

/// The upper half of an f32.
pub(super) struct BF16;

impl Decode<2, 1> for BF16 {
    #[inline(always)]
    fn decode(bytes: &[u8; 2], value: &mut [f32; 1]) {
        *value = [f32_from_bf16(u16::from_le_bytes(*bytes))];
    }
}

/// F32 as it is.
impl Encode<1, 4, 1> for F32 {
    #[inline(always)]
    fn encode(&[[value]]: &[[f32; 1]; 1], [bytes]: &mut [[u8; 4]; 1]) {
        *bytes = value.to_le_bytes();
    }
}

/// F16; what rounds past 65,504 becomes infinite.
impl Encode<1, 2, 1> for F16 {
    #[inline(always)]
    fn encode(&[[value]]: &[[f32; 1]; 1], [bytes]: &mut [[u8; 2]; 1]) {
        *bytes = f16_from_f32(value).to_le_bytes();
    }
}

/// BF16; what rounds past its largest number becomes infinite.
impl Encode<1, 2, 1> for BF16 {
    #[inline(always)]
    fn encode(&[[value]]: &[[f32; 1]; 1], [bytes]: &mut [[u8; 2]; 1]) {
        *bytes = bf16_from_f32(value).to_le_bytes();
    }
}
