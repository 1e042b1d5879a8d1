//! IQ1, IQ2, IQ3: eight or four weights at a time are a point of a chosen set, times signs and a step. Read only: to write
//! them is a search that wants an importance matrix.
//!
//! The sets are llama.cpp's, from the `gguf` package by way of `tests/readers/make_ggml.py`; a point is a u16 of eight
//! 2-bit or four 4-bit codes, the first element lowest.

use super::codec::{Decode, half};

/// The sets, one after the other.
static POINTS: &[u8; 2 * 4608] = include_bytes!("../../../assets/ggml-grids.bin");

/// Where each set begins.
const SET_IQ2_XXS: usize = 0;
const SET_IQ2_XS: usize = 256;
const SET_IQ2_S: usize = 768;
const SET_IQ1: usize = 1792;
const SET_IQ3_XXS: usize = 3840;
const SET_IQ3_S: usize = 4096;

/// Levels of 2-bit codes in IQ2.
const IQ2_LEVELS: [f32; 4] = [8.0, 25.0, 43.0, 0.0];
/// Levels of 3-bit codes in IQ3_XXS, and in IQ3_S.
const IQ3_XXS_LEVELS: [f32; 8] = [4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0];
const IQ3_S_LEVELS: [f32; 8] = [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0];

/// By how much the points of IQ1 are shifted up or down.
const DELTA: f32 = 0.125;

/// The codes of a point.
#[inline(always)]
fn point(set: usize, index: usize) -> u16 {
    let at = 2 * (set + index);
    u16::from_le_bytes([POINTS[at], POINTS[at + 1]])
}

/// Eight signs of which seven are stored: the number of minuses is even.
#[inline(always)]
const fn signs_of(seven: u32) -> u8 {
    let seven = seven & 127;
    (seven | (seven.count_ones() & 1) << 7) as u8
}

#[inline(always)]
fn with_sign(value: f32, signs: u8, place: usize) -> f32 {
    if signs >> place & 1 == 1 { -value } else { value }
}

/// Eight values of an IQ2 point.
#[inline(always)]
fn eight(step: f32, point: u16, signs: u8, values: &mut [f32; 8]) {
    for (j, value) in values.iter_mut().enumerate() {
        *value = with_sign(step * IQ2_LEVELS[usize::from(point >> (2 * j) & 3)], signs, j);
    }
}

/// Eight values of two IQ3 points.
#[inline(always)]
fn two_fours(step: f32, points: [u16; 2], levels: [f32; 8], signs: u8, values: &mut [f32; 8]) {
    for (j, value) in values.iter_mut().enumerate() {
        let code = points[j / 4] >> (4 * (j % 4)) & 7;
        *value = with_sign(step * levels[usize::from(code)], signs, j);
    }
}

/// Eight values of an IQ1 point, −1, 0 and 1 all shifted by `delta`.
#[inline(always)]
fn shifted(step: f32, point: u16, delta: f32, values: &mut [f32; 8]) {
    for (j, value) in values.iter_mut().enumerate() {
        *value = step * (f32::from((point >> (2 * j) & 3) as i8 - 1) + delta);
    }
}

/// The values by eights.
#[inline(always)]
fn by_eights(values: &mut [f32; 256]) -> impl Iterator<Item = (usize, &mut [f32; 8])> {
    values.as_chunks_mut::<8>().0.iter_mut().enumerate()
}

/// IQ2_XXS: `d, 8 × (indices: [u8; 4], u32)`; the u32 has four times seven signs, and s in its upper four bits;
/// w = d · (s + ½) / 4 · level.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct IQ2_XXS;

impl Decode<66, 256> for IQ2_XXS {
    #[inline(always)]
    fn decode(block: &[u8; 66], values: &mut [f32; 256]) {
        let &[d0, d1, ref words @ ..] = block;
        let d = half([d0, d1]);
        for (i, values) in by_eights(values) {
            let [_, _, _, _, rest @ ..] = word::<8>(words, i / 4);
            let rest = u32::from_le_bytes(rest);
            let step = d * (0.5 + (rest >> 28) as f32) * 0.25;
            let index = usize::from(words[i / 4 * 8 + i % 4]);
            eight(step, point(SET_IQ2_XXS, index), signs_of(rest >> (7 * (i % 4))), values);
        }
    }
}

/// The i-th run of `N` bytes.
#[inline(always)]
fn word<const N: usize>(bytes: &[u8], i: usize) -> [u8; N] {
    bytes.as_chunks().0[i]
}

/// IQ2_XS: `d, 32 × u16, scales: [u8; 8]`; a u16 has an index of nine bits and seven signs, half a byte of scales serves
/// 16 values as in IQ2_XXS.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct IQ2_XS;

impl Decode<74, 256> for IQ2_XS {
    #[inline(always)]
    fn decode(block: &[u8; 74], values: &mut [f32; 256]) {
        let &[d0, d1, ref rest @ ..] = block;
        let (d, (words, scales)) = (half([d0, d1]), rest.split_at(64));
        for (i, values) in by_eights(values) {
            let code = u16::from_le_bytes(word(words, i));
            eight(
                half_byte_step(d, scales, i),
                point(SET_IQ2_XS, usize::from(code & 511)),
                signs_of(u32::from(code >> 9)),
                values,
            );
        }
    }
}

/// d · (s + ½) / 4 for the i-th eight values, s in half a byte for 16 of them.
#[inline(always)]
fn half_byte_step(d: f32, scales: &[u8], i: usize) -> f32 {
    d * (0.5 + f32::from(scales[i / 4] >> (i % 4 / 2 * 4) & 15)) * 0.25
}

/// IQ2_S: `d, indices: [u8; 32], signs: [u8; 32], high: [u8; 8], scales: [u8; 8]`; two bits of `high` complete an index.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct IQ2_S;

impl Decode<82, 256> for IQ2_S {
    #[inline(always)]
    fn decode(block: &[u8; 82], values: &mut [f32; 256]) {
        let &[d0, d1, ref rest @ ..] = block;
        let d = half([d0, d1]);
        let (indices, rest) = rest.split_at(32);
        let (signs, rest) = rest.split_at(32);
        let (high, scales) = rest.split_at(8);
        for (i, values) in by_eights(values) {
            let index = usize::from(indices[i]) | usize::from(high[i / 4] >> (2 * (i % 4)) & 3) << 8;
            eight(half_byte_step(d, scales, i), point(SET_IQ2_S, index), signs[i], values);
        }
    }
}

/// IQ3_XXS: `d, indices: [u8; 64], 8 × u32`; the u32 as in IQ2_XXS, two indices for eight values; w = d · (s + ½) / 2 · level.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct IQ3_XXS;

impl Decode<98, 256> for IQ3_XXS {
    #[inline(always)]
    fn decode(block: &[u8; 98], values: &mut [f32; 256]) {
        let &[d0, d1, ref rest @ ..] = block;
        let (d, (indices, words)) = (half([d0, d1]), rest.split_at(64));
        for (i, values) in by_eights(values) {
            let rest = u32::from_le_bytes(word(words, i / 4));
            let step = d * (0.5 + (rest >> 28) as f32) * 0.5;
            let points = word::<2>(indices, i).map(|index| point(SET_IQ3_XXS, usize::from(index)));
            two_fours(step, points, IQ3_XXS_LEVELS, signs_of(rest >> (7 * (i % 4))), values);
        }
    }
}

/// IQ3_S: `d, indices: [u8; 64], ninths: [u8; 8], signs: [u8; 32], scales: [u8; 4]`; bit k of `ninths` completes the k-th
/// index of 32 values; w = d · (2 s + 1) · level, s in half a byte for 32.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct IQ3_S;

impl Decode<110, 256> for IQ3_S {
    #[inline(always)]
    fn decode(block: &[u8; 110], values: &mut [f32; 256]) {
        let &[d0, d1, ref rest @ ..] = block;
        let d = half([d0, d1]);
        let (indices, rest) = rest.split_at(64);
        let (ninths, rest) = rest.split_at(8);
        let (signs, scales) = rest.split_at(32);
        for (i, values) in by_eights(values) {
            let step = d * f32::from(1 + 2 * (scales[i / 8] >> (i / 4 % 2 * 4) & 15));
            let [first, second] = word::<2>(indices, i).map(usize::from);
            let ninths = usize::from(ninths[i / 4] >> (2 * (i % 4)));
            let points =
                [point(SET_IQ3_S, first | (ninths & 1) << 8), point(SET_IQ3_S, second | (ninths >> 1 & 1) << 8)];
            two_fours(step, points, IQ3_S_LEVELS, signs[i], values);
        }
    }
}

/// IQ1_S: `d, indices: [u8; 32], 8 × u16`; the u16 has four times three bits that complete an index, three bits s and the
/// sign of the shift; w = d · (2 s + 1) · (t ± ⅛).
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct IQ1_S;

impl Decode<50, 256> for IQ1_S {
    #[inline(always)]
    fn decode(block: &[u8; 50], values: &mut [f32; 256]) {
        let &[d0, d1, ref rest @ ..] = block;
        let (d, (indices, words)) = (half([d0, d1]), rest.split_at(32));
        for (i, values) in by_eights(values) {
            let high = u16::from_le_bytes(word(words, i / 4));
            let step = d * f32::from(2 * (high >> 12 & 7) + 1);
            let index = usize::from(indices[i]) | usize::from(high >> (3 * (i % 4)) & 7) << 8;
            shifted(step, point(SET_IQ1, index), if high & 0x8000 == 0 { DELTA } else { -DELTA }, values);
        }
    }
}

/// IQ1_M: `indices: [u8; 32], high: [u8; 16], scales: 4 × u16`; half a byte of `high` completes an index with three bits and
/// has the sign of the shift; a u16 of scales has four times three bits s, each for 16 values, and four bits of d, the first
/// u16 the lowest; w as in IQ1_S.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct IQ1_M;

impl Decode<56, 256> for IQ1_M {
    #[inline(always)]
    fn decode(block: &[u8; 56], values: &mut [f32; 256]) {
        let (indices, rest) = block.split_at(32);
        let (high, scales) = rest.split_at(16);
        let scales: [u16; 4] = std::array::from_fn(|i| u16::from_le_bytes(word(scales, i)));
        let pattern = scales.iter().rev().fold(0, |pattern, scale| pattern << 4 | scale >> 12);
        let d = half(pattern.to_le_bytes());
        for (i, values) in by_eights(values) {
            let step = d * f32::from(2 * (scales[i / 8] >> (i % 8 / 2 * 3) & 7) + 1);
            let high = high[i / 2] >> (i % 2 * 4);
            let index = usize::from(indices[i]) | usize::from(high & 7) << 8;
            shifted(step, point(SET_IQ1, index), if high & 8 == 0 { DELTA } else { -DELTA }, values);
        }
    }
}
