//! Packing of b-bit codes into bytes, least significant bit first: the bit order of `packed`, of masks and of every int format we write.
//!
//! Code i occupies bits i·b … i·b + b − 1 of one little-endian bit stream, whatever b is; nothing is aligned inside.

use super::dispatch::{self, Kernel};

/// Appends codes to a byte vector, carrying up to 31 bits from call to call.
#[derive(Clone, Debug, Default)]
pub struct BitWriter {
    pending: u64,
    filled: u32,
}

impl BitWriter {
    /// Appends the low `bits` (1 to 32) of `code`.
    #[inline]
    pub fn push(&mut self, code: u32, bits: u32, out: &mut Vec<u8>) {
        let mask = u64::from(u32::MAX >> (32 - bits));
        self.pending |= (u64::from(code) & mask) << self.filled;
        self.filled += bits;
        if self.filled >= 32 {
            out.extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= 32;
            self.filled -= 32;
        }
    }

    /// Fills the 32-bit word that was begun with zeros.
    pub fn align(&mut self, out: &mut Vec<u8>) {
        if self.filled > 0 {
            self.push(0, 32 - self.filled, out);
        }
    }

    /// Writes what is carried; the free bits of the last byte are 0.
    pub fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pending.to_le_bytes()[..self.filled.div_ceil(8) as usize]);
    }
}

/// Appends `count` codes of `bits` (1 to 8) bits each, one to a byte, from bit `position` of `bytes` on; bits past the end
/// read 0.
pub fn unpack(bytes: &[u8], position: u64, bits: u32, count: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + count, 0);
    dispatch::run(Unpack { bytes, position, bits, out: &mut out[start..] });
}

struct Unpack<'a> {
    bytes: &'a [u8],
    position: u64,
    bits: u32,
    out: &'a mut [u8],
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { bytes, mut position, bits, out } = self;
        let mask = (1_u64 << bits) - 1;
        // Seven codes of up to 8 bits lie in the 57 bits that a look has at least.
        for run in out.chunks_mut(7) {
            let mut word = look(bytes, position);
            for code in &mut *run {
                *code = (word & mask) as u8;
                word >>= bits;
            }
            position += run.len() as u64 * u64::from(bits);
        }
    }
}

/// The bits from `position` on, 57 of them at least; zeros behind the last byte.
#[must_use]
#[inline(always)]
pub fn look(bytes: &[u8], position: u64) -> u64 {
    let rest = bytes.get((position / 8) as usize..).unwrap_or_default();
    let word = rest.first_chunk::<8>().copied().unwrap_or_else(|| {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        word
    });
    u64::from_le_bytes(word) >> (position % 8)
}

/// The `bits` (1 to 32) bits that start at bit `position` of `bytes`; bits past the end read 0.
#[must_use]
#[inline]
pub fn read_bits(bytes: &[u8], position: u64, bits: u32) -> u32 {
    (look(bytes, position) & u64::from(u32::MAX >> (32 - bits))) as u32
}

/// The low `bits` of a code read as two's complement.
#[must_use]
#[inline]
pub fn sign_extend(code: u32, bits: u32) -> i32 {
    ((code << (32 - bits)).cast_signed()) >> (32 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_for_every_width_and_length() {
        for bits in 1..=32_u32 {
            for n in 0..40_u32 {
                let codes: Vec<u32> = (0..n).map(|i| i.wrapping_mul(2_654_435_761) >> (32 - bits)).collect();
                let (mut writer, mut bytes) = (BitWriter::default(), Vec::new());
                codes.iter().for_each(|&code| writer.push(code, bits, &mut bytes));
                writer.finish(&mut bytes);
                assert_eq!(bytes.len() as u32, (n * bits).div_ceil(8));
                let back: Vec<u32> = (0..n).map(|i| read_bits(&bytes, u64::from(i * bits), bits)).collect();
                assert_eq!(back, codes);
                if bits <= 8 {
                    for skip in 0..n {
                        let mut rest = vec![9];
                        unpack(&bytes, u64::from(skip * bits), bits, (n - skip) as usize, &mut rest);
                        assert!(rest[1..].iter().map(|&c| u32::from(c)).eq(codes[skip as usize..].iter().copied()));
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_ends_with_its_word() {
        let (mut writer, mut bytes) = (BitWriter::default(), Vec::new());
        writer.align(&mut bytes);
        assert!(bytes.is_empty());
        (0..9).for_each(|code| writer.push(code, 4, &mut bytes));
        writer.align(&mut bytes);
        assert_eq!(bytes, [0x10, 0x32, 0x54, 0x76, 8, 0, 0, 0]);
        writer.align(&mut bytes);
        writer.push(1, 32, &mut bytes);
        assert_eq!(bytes[8..], [1, 0, 0, 0]);
    }

    #[test]
    fn bit_order_by_hand() {
        let (mut writer, mut bytes) = (BitWriter::default(), Vec::new());
        [0b0001_u32, 0b1010, 0b1111].iter().for_each(|&code| writer.push(code, 4, &mut bytes));
        writer.finish(&mut bytes);
        assert_eq!(bytes, [0b1010_0001, 0b0000_1111]);
        assert_eq!([sign_extend(0b111, 3), sign_extend(0b011, 3), sign_extend(1, 1)], [-1, 3, -1]);
    }
}
