//! TQ1_0 and TQ2_0: −1, 0 and 1 times the largest magnitude of 256 weights, for networks that were trained so.

use super::codec::{Decode, Encode, half, peak, to_half};

/// Elements of byte m of TQ1_0 by parts: `(first byte, first element, bytes, trits)`; trit n of byte m of a part is its
/// element n · bytes + m.
const PARTS: [(usize, usize, usize, usize); 3] = [(0, 0, 32, 5), (32, 160, 16, 5), (48, 240, 4, 4)];

/// TQ1_0: `trits: [u8; 52], d`; w = d · (t − 1). A byte is ⌈v · 256 / 243⌉ of five trits v, the first worth most: times 3ⁿ,
/// dropping what overflows, its n-th trit is the whole part of 3 · byte / 256.
pub(super) struct TQ1_0;

impl Decode<54, 256> for TQ1_0 {
    #[inline(always)]
    fn decode(block: &[u8; 54], values: &mut [f32; 256]) {
        let &[ref bytes @ .., d0, d1] = block;
        let d = half([d0, d1]);
        for (byte, element, width, trits) in PARTS {
            let bytes = &bytes[byte..byte + width];
            let values = values[element..element + width * trits].chunks_exact_mut(width);
            for (values, power) in values.zip([1_u8, 3, 9, 27, 81]) {
                for (value, byte) in values.iter_mut().zip(bytes) {
                    let trit = (3 * u16::from(byte.wrapping_mul(power))) >> 8;
                    *value = d * f32::from(trit as i8 - 1);
                }
            }
        }
    }
}

/// TQ2_0: `codes: [u8; 64], d`; w = d · (q − 1); codes lie as the K types' of two bits, and a code of 3 reads 2 · d.
pub(super) struct TQ2_0;

impl Decode<66, 256> for TQ2_0 {
    #[inline(always)]
    fn decode(block: &[u8; 66], values: &mut [f32; 256]) {
        let &[ref codes @ .., d0, d1] = block;
        let d = half([d0, d1]);
        for (i, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (codes, shift) = (&codes[i / 4 * 32..][..32], i % 4 * 2);
            values.iter_mut().zip(codes).for_each(|(value, q)| *value = d * f32::from((q >> shift & 3) as i8 - 1));
        }
    }
}

/// The largest magnitude, and the trits 0, 1, 2 of values rounded to it (`quantize_row_tq1_0_ref`), halves away from zero.
/// Where it has no inverse in f32 all are 1: that is what the reference's rounding makes of infinity.
#[inline(always)]
fn trits(values: &[f32; 256]) -> (f32, [u8; 256]) {
    let d = peak(values);
    let per_step = 1.0 / d;
    let mut trits = [1; 256];
    if per_step.is_finite() {
        for (trit, x) in trits.iter_mut().zip(values) {
            let place = x * per_step;
            *trit = 1 + u8::from(place >= 0.5) - u8::from(place <= -0.5);
        }
    }
    (d, trits)
}

impl Encode<256, 54, 1> for TQ1_0 {
    #[inline(always)]
    fn encode([values]: &[[f32; 256]; 1], [block]: &mut [[u8; 54]; 1]) {
        let (d, trits) = trits(values);
        let [bytes @ .., d0, d1] = block;
        [*d0, *d1] = to_half(d);
        for (byte, element, width, count) in PARTS {
            for (m, byte) in bytes[byte..byte + width].iter_mut().enumerate() {
                let number = (0..5).fold(0_u16, |number, n| {
                    3 * number + if n < count { u16::from(trits[element + n * width + m]) } else { 0 }
                });
                *byte = (number * 256).div_ceil(243) as u8;
            }
        }
    }
}

impl Encode<256, 66, 1> for TQ2_0 {
    #[inline(always)]
    fn encode([values]: &[[f32; 256]; 1], [block]: &mut [[u8; 66]; 1]) {
        let (d, trits) = trits(values);
        let [bytes @ .., d0, d1] = block;
        [*d0, *d1] = to_half(d);
        for (bytes, trits) in bytes.as_chunks_mut::<32>().0.iter_mut().zip(trits.as_chunks::<128>().0) {
            for (m, byte) in bytes.iter_mut().enumerate() {
                *byte = trits[m] | trits[m + 32] << 2 | trits[m + 64] << 4 | trits[m + 96] << 6;
            }
        }
    }
}
