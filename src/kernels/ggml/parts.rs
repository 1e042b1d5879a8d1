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
