//! Packing of b-bit codes into bytes, least significant bit first: the bit order of `packed`, of masks and of every int format we write.
//!
//! Code i occupies bits i·b … i·b + b − 1 of one little-endian bit stream, whatever b is; nothing is aligned inside.

/// Appends codes to a byte vector, carrying the bits of an unfinished byte from call to call.
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
        while self.filled >= 8 {
            out.push(self.pending as u8);
            self.pending >>= 8;
            self.filled -= 8;
        }
    }

    /// Writes the last, partly filled byte (its free bits are 0).
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.filled > 0 {
            out.push(self.pending as u8);
        }
    }
}

/// The `bits` (1 to 32) bits that start at bit `position` of `bytes`; bits past the end read 0.
#[must_use]
#[inline]
pub fn read_bits(bytes: &[u8], position: u64, bits: u32) -> u32 {
    let first = (position / 8) as usize;
    let mut word = [0_u8; 8];
    let available = bytes.get(first..).unwrap_or_default();
    let take = available.len().min(8);
    word[..take].copy_from_slice(&available[..take]);
    let mask = u64::from(u32::MAX >> (32 - bits));
    ((u64::from_le_bytes(word) >> (position % 8)) & mask) as u32
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
            }
        }
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
