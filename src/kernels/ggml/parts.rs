//! What a block is made of, as size formulas and entropy see it: codes, one for each value, and all the rest.

use super::super::bits::unpack;
use super::BlockType as T;

impl T {
    /// Bits of one code, as a whole number: what a value would take if codes were all there is. A trit counts as 2.
    #[must_use]
    pub const fn code_bits(self) -> u32 {
        match self {
            T::F32 | T::I32 => 32,
            T::F16 | T::BF16 | T::I16 => 16,
            T::F64 | T::I64 => 64,
            T::I8 | T::Q8_0 | T::Q8_1 | T::Q8_K => 8,
            T::Q6_K => 6,
            T::Q5_0 | T::Q5_1 | T::Q5_K => 5,
            T::Q4_0 | T::Q4_1 | T::Q4_K | T::IQ4_NL | T::IQ4_XS | T::MXFP4 | T::NVFP4 => 4,
            T::Q3_K | T::IQ3_XXS | T::IQ3_S => 3,
            T::Q2_0 | T::Q2_K | T::IQ2_XXS | T::IQ2_XS | T::IQ2_S | T::TQ1_0 | T::TQ2_0 => 2,
            T::Q1_0 | T::IQ1_S | T::IQ1_M => 1,
        }
    }

    /// Bytes of a block that are codes; five trits of TQ1_0 share one.
    #[must_use]
    pub const fn code_bytes(self) -> usize {
        let codes = self.elements() * self.code_bits() as usize / 8;
        match self {
            T::TQ1_0 => 52,
            _ if codes < self.bytes() => codes,
            _ => self.bytes(),
        }
    }

    /// Whether a value that is 0 reads back as 0 whatever stands beside it: some level of the grid is 0 and 0 is put on it.
    #[must_use]
    pub const fn holds_zero(self) -> bool {
        !matches!(
            self,
            T::Q1_0 | T::Q4_1 | T::Q5_1 | T::Q2_K | T::Q4_K | T::Q5_K | T::IQ4_NL | T::IQ4_XS | T::IQ1_S | T::IQ1_M
        )
    }
}

/// The code of every value in some blocks, appended to `codes`: what an entropy coder would be given. Only for types that
/// [`encode`](super::encode) writes.
///
/// # Panics
/// When `blocks` are no whole blocks.
pub fn codes(kind: T, blocks: &[u8], codes: &mut Vec<u8>) {
    assert!(blocks.len().is_multiple_of(kind.bytes()), "whole blocks");
    for block in blocks.chunks_exact(kind.bytes()) {
        match kind {
            T::Q8_0 => codes.extend_from_slice(&block[2..]),
            T::Q4_0 | T::IQ4_NL => nibbles(&block[2..], 16, codes),
            T::MXFP4 => nibbles(&block[1..], 16, codes),
            T::Q4_1 => nibbles(&block[4..], 16, codes),
            T::Q5_0 => with_fifth_bits(&block[2..6], &block[6..], codes),
            T::Q5_1 => with_fifth_bits(&block[4..8], &block[8..], codes),
            T::Q2_K => (0..2).for_each(|half| pairs(&block[16 + 32 * half..][..32], codes)),
            T::Q3_K => q3_k(&block[..32], &block[32..96], codes),
            T::Q4_K => nibbles(&block[16..], 32, codes),
            T::Q5_K => q5_k(&block[16..48], &block[48..], codes),
            T::Q6_K => q6_k(&block[..128], &block[128..192], codes),
            T::IQ4_XS => nibbles(&block[8..], 16, codes),
            T::TQ1_0 => trits(block, codes),
            T::TQ2_0 => (0..2).for_each(|half| pairs(&block[32 * half..][..32], codes)),
            T::NVFP4 => nibbles(&block[4..], 8, codes),
            _ => {}
        }
    }
}

/// The low nibbles of `width` bytes, then their high ones, run after run.
fn nibbles(bytes: &[u8], width: usize, codes: &mut Vec<u8>) {
    for run in bytes.chunks_exact(width) {
        codes.extend(run.iter().map(|byte| byte & 15));
        codes.extend(run.iter().map(|byte| byte >> 4));
    }
}

fn with_fifth_bits(high: &[u8], low: &[u8], codes: &mut Vec<u8>) {
    let (start, mut fifth) = (codes.len(), Vec::with_capacity(32));
    nibbles(low, 16, codes);
    unpack(high, 0, 1, 32, &mut fifth);
    codes[start..].iter_mut().zip(fifth).for_each(|(code, bit)| *code |= bit << 4);
}

/// Two bits of 32 bytes at each of four shifts.
fn pairs(bytes: &[u8], codes: &mut Vec<u8>) {
    for shift in [0, 2, 4, 6] {
        codes.extend(bytes.iter().map(|byte| byte >> shift & 3));
    }
}

fn q3_k(mask: &[u8], low: &[u8], codes: &mut Vec<u8>) {
    let start = codes.len();
    low.chunks_exact(32).for_each(|half| pairs(half, codes));
    for (bit, run) in codes[start..].chunks_exact_mut(32).enumerate() {
        run.iter_mut().zip(mask).for_each(|(code, byte)| *code |= (byte >> bit & 1) << 2);
    }
}

fn q5_k(high: &[u8], low: &[u8], codes: &mut Vec<u8>) {
    let start = codes.len();
    nibbles(low, 32, codes);
    for (bit, run) in codes[start..].chunks_exact_mut(32).enumerate() {
        run.iter_mut().zip(high).for_each(|(code, byte)| *code |= (byte >> bit & 1) << 4);
    }
}

fn q6_k(low: &[u8], high: &[u8], codes: &mut Vec<u8>) {
    for (low, high) in low.chunks_exact(64).zip(high.chunks_exact(32)) {
        let start = codes.len();
        nibbles(low, 64, codes);
        for (pair, run) in codes[start..].chunks_exact_mut(32).enumerate() {
            run.iter_mut().zip(high).for_each(|(code, byte)| *code |= (byte >> (2 * pair) & 3) << 4);
        }
    }
}

/// Digits in base 3, most significant first: 32 bytes with five, 16 with five, 4 with four.
fn trits(block: &[u8], codes: &mut Vec<u8>) {
    for (bytes, digits) in [(&block[..32], 5), (&block[32..48], 5), (&block[48..52], 4)] {
        for power in [1_u8, 3, 9, 27, 81].into_iter().take(digits) {
            codes.extend(bytes.iter().map(|byte| ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as u8));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;

    /// Blocks of any codes under steps of 1 and minima of 0.
    fn unit_blocks(kind: T, count: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let mut blocks: Vec<u8> = (0..count * kind.bytes()).map(|_| byte()).collect();
        let one = [0x00, 0x3C];
        for block in blocks.chunks_exact_mut(kind.bytes()) {
            let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
            match kind {
                T::MXFP4 => put(0, &[128]),
                T::NVFP4 => put(0, &[0x40; 4]),
                T::Q6_K => put(192, &[&[1; 16][..], &one].concat()),
                T::Q3_K => put(96, &[&[0x11; 8][..], &[0xAA; 4], &one].concat()),
                T::Q2_K => {
                    put(0, &[1; 16]);
                    put(80, &[one, [0; 2]].concat());
                }
                T::Q4_K | T::Q5_K => put(0, &[&one[..], &[0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]].concat()),
                T::IQ4_XS => put(0, &[&one[..], &[0xAA, 0xAA, 0x11, 0x11, 0x11, 0x11]].concat()),
                T::TQ1_0 => put(52, &one),
                T::TQ2_0 => put(64, &one),
                T::Q4_1 | T::Q5_1 => put(0, &[one, [0; 2]].concat()),
                _ => put(0, &one),
            }
        }
        blocks
    }

    /// The value of a code where the step is 1, from llama.cpp's tables.
    fn level(kind: T, code: u8) -> f32 {
        const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
        const FP4: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
        let from = match kind {
            T::Q8_0 => return f32::from(code as i8),
            T::IQ4_NL | T::IQ4_XS => return f32::from(IQ4[usize::from(code)]),
            T::MXFP4 | T::NVFP4 => return f32::from(FP4[usize::from(code)]),
            T::Q6_K => 32,
            T::Q5_0 => 16,
            T::Q4_0 => 8,
            T::Q3_K => 4,
            T::TQ1_0 | T::TQ2_0 => 1,
            _ => 0,
        };
        f32::from(i16::from(code) - from)
    }

    #[test]
    fn codes_are_what_the_decoders_read() {
        let coded: Vec<T> = T::all().filter(|kind| kind.encodes() && kind.elements() > 1).collect();
        assert_eq!(coded.len(), 16);
        for kind in coded {
            let blocks = unit_blocks(kind, 7);
            let (mut values, mut found) = (vec![0.0; 7 * kind.elements()], Vec::new());
            decode(kind, &blocks, &mut values).unwrap();
            codes(kind, &blocks, &mut found);
            assert_eq!(found.len(), values.len(), "{kind}");
            for (place, (&code, &value)) in found.iter().zip(&values).enumerate() {
                assert!(u32::from(code) >> kind.code_bits() == 0, "{kind}: code {code}");
                assert_eq!(level(kind, code), value, "{kind}, element {place}, code {code}");
            }
            assert!(kind.code_bytes() < kind.bytes(), "{kind}");
        }
    }

    #[test]
    fn zeros_stay_zeros_where_it_is_said() {
        // Pruned weights: every other one is 0, the others are of both signs and all sizes.
        let values: Vec<f32> =
            (0..512_i16).map(|i| if i % 2 == 0 { 0.0 } else { f32::from(i * 37 % 101) - 50.5 }).collect();
        for kind in T::all().filter(|kind| kind.encodes()) {
            let mut blocks = vec![0; kind.bytes_of(values.len()).unwrap()];
            let mut read = vec![1.0; values.len()];
            encode(kind, &values, &mut blocks).unwrap();
            decode(kind, &blocks, &mut read).unwrap();
            let kept = read.iter().zip(&values).all(|(q, w)| *w != 0.0 || *q == 0.0);
            assert_eq!(kept, kind.holds_zero(), "{kind}");
        }
    }
}
