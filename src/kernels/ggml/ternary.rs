//! TQ1_0 and TQ2_0: −1, 0 and 1 times the largest magnitude of 256 weights, for networks that were trained so.

use super::half;

/// Elements of byte m of TQ1_0 by parts: `(first byte, first element, bytes, trits)`; trit n of byte m of a part is its
/// element n · bytes + m.
const PARTS: [(usize, usize, usize, usize); 3] = [(0, 0, 32, 5), (32, 160, 16, 5), (48, 240, 4, 4)];

/// TQ1_0: `trits: [u8; 52], d`; w = d · (t − 1). A byte is ⌈v · 256 / 243⌉ of five trits v, the first worth most: times 3ⁿ,
/// dropping what overflows, its n-th trit is the whole part of 3 · byte / 256.
#[inline(always)]
pub(super) fn decode_tq1_0(block: &[u8; 54], values: &mut [f32; 256]) {
    let &[ref bytes @ .., d0, d1] = block;
    let d = half([d0, d1]);
    for (byte, element, width, trits) in PARTS {
        let bytes = &bytes[byte..byte + width];
        let values = values[element..element + width * trits].chunks_exact_mut(width);
        for (values, power) in values.zip([1_u8, 3, 9, 27, 81]) {
            for (value, byte) in values.iter_mut().zip(bytes) {
                let trit = u16::from(byte.wrapping_mul(power)) * 3 >> 8;
                *value = d * f32::from(trit as i8 - 1);
            }
        }
    }
}

/// TQ2_0: `codes: [u8; 64], d`; w = d · (q − 1); codes lie as the K types' of two bits, and a code of 3 reads 2 · d.
#[inline(always)]
pub(super) fn decode_tq2_0(block: &[u8; 66], values: &mut [f32; 256]) {
    let &[ref codes @ .., d0, d1] = block;
    let d = half([d0, d1]);
    for (i, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (codes, shift) = (&codes[i / 4 * 32..][..32], i % 4 * 2);
        values.iter_mut().zip(codes).for_each(|(value, q)| *value = d * f32::from((q >> shift & 3) as i8 - 1));
    }
}
