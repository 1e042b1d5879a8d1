//! Canonical Huffman codes of at most 12 bits: the entropy coding of `packed`, chosen because its size is known from counts alone.
//!
//! Lengths are optimal under the limit by package-merge (Larmore and Hirschberg, A fast algorithm for optimal length-limited
//! Huffman codes, J. ACM 1990); 12 bits keep the decoder's table in the first-level cache and cost next to nothing on
//! alphabets of up to 256 symbols. Code words are numbered as in RFC 1951 §3.2.2 and written from their most significant
//! bit into a stream that fills its bytes from the least significant one, so that a decoder looks at low bits.

use super::bits::{BitWriter, look};
use super::dispatch::{self, Kernel};
use std::ops::Range;

/// The longest code word in bits.
pub const LONGEST: u32 = 12;

/// Entries of a decoder's table.
const TABLE: usize = 1 << LONGEST;

/// What is wrong with a set of code lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLengths {
    /// A word that no table has room for.
    #[error("symbol {symbol} has a code of {length} bits, at most {LONGEST} are allowed")]
    TooLong {
        /// Which.
        symbol: usize,
        /// Its length.
        length: u8,
    },
    /// More words than there are patterns.
    #[error("its code lengths are over-subscribed: they take {0} of {TABLE} patterns")]
    Over(u64),
    /// Patterns that no word begins with.
    #[error("its code lengths are incomplete: they take {0} of {TABLE} patterns")]
    Under(u64),
}

/// A node of package-merge: a symbol, or a package of two nodes.
#[derive(Clone, Copy)]
enum Node {
    Leaf(usize),
    Package(usize, usize),
}

/// Optimal code lengths for symbols that occur `counts` times: 0 for one that never does, at most [`LONGEST`] for the others,
/// and 1 for a symbol that is alone. There may be 4,096 symbols.
#[must_use]
pub fn code_lengths(counts: &[u64]) -> Vec<u8> {
    let mut lengths = vec![0; counts.len()];
    let mut nodes = Vec::new();
    let mut leaves = Vec::new();
    for (symbol, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
        leaves.push((count, nodes.len()));
        nodes.push(Node::Leaf(symbol));
    }
    if leaves.len() == 1 {
        counts.iter().zip(&mut lengths).for_each(|(&count, length)| *length = u8::from(count > 0));
        return lengths;
    }
    leaves.sort_unstable();
    let mut row = leaves.clone();
    for _ in 1..LONGEST {
        let mut packages = Vec::with_capacity(row.len() / 2);
        for pair in row.as_chunks::<2>().0 {
            packages.push((pair[0].0 + pair[1].0, nodes.len()));
            nodes.push(Node::Package(pair[0].1, pair[1].1));
        }
        row = merged(&leaves, &packages);
    }
    let mut open: Vec<usize> = row.iter().take(2 * leaves.len().saturating_sub(1)).map(|&(_, node)| node).collect();
    while let Some(node) = open.pop() {
        match nodes[node] {
            Node::Leaf(symbol) => lengths[symbol] += 1,
            Node::Package(a, b) => open.extend([a, b]),
        }
    }
    lengths
}

/// Two ascending lists as one; of equal weights, those of `a` come first.
fn merged(a: &[(u64, usize)], b: &[(u64, usize)]) -> Vec<(u64, usize)> {
    let (mut out, mut rest) = (Vec::with_capacity(a.len() + b.len()), b);
    for &leaf in a {
        let before = rest.iter().take_while(|package| package.0 < leaf.0).count();
        out.extend_from_slice(&rest[..before]);
        rest = &rest[before..];
        out.push(leaf);
    }
    out.extend_from_slice(rest);
    out
}

/// Bits of a stream in which symbols occur `counts` times.
#[must_use]
pub fn stream_bits(counts: &[u64], lengths: &[u8]) -> u64 {
    counts.iter().zip(lengths).map(|(count, &length)| count * u64::from(length)).sum()
}

/// Code words by symbol, each reversed, so that its first bit is the lowest; and its length.
fn words(lengths: &[u8]) -> Result<Vec<(u16, u8)>, BadLengths> {
    let mut of_length = [0_u64; LONGEST as usize + 1];
    for (symbol, &length) in lengths.iter().enumerate() {
        let Some(count) = of_length.get_mut(usize::from(length)) else {
            return Err(BadLengths::TooLong { symbol, length });
        };
        *count += 1;
    }
    of_length[0] = 0;
    let taken: u64 = of_length.iter().zip(0..).map(|(count, length)| count << (LONGEST - length)).sum();
    let alone = of_length.iter().sum::<u64>() == 1 && of_length[1] == 1;
    match taken {
        more if more > TABLE as u64 => return Err(BadLengths::Over(more)),
        less if less < TABLE as u64 && !alone => return Err(BadLengths::Under(less)),
        _ => {}
    }
    let mut next = [0_u16; LONGEST as usize + 2];
    for length in 1..=LONGEST as usize {
        // Kept below 2^12 by what was checked above.
        next[length + 1] = (next[length] + of_length[length] as u16) << 1;
    }
    let word = |&length: &u8| {
        let length = usize::from(length);
        let word = next[length];
        next[length] += u16::from(length > 0);
        (if length > 0 { word.reverse_bits() >> (16 - length) } else { 0 }, length as u8)
    };
    Ok(lengths.iter().map(word).collect())
}

/// Writes symbols as code words.
#[derive(Clone, Debug)]
pub struct Encoder {
    words: Vec<(u16, u8)>,
}

impl Encoder {
    /// The code of these lengths.
    ///
    /// # Errors
    /// When they are no code's.
    pub fn new(lengths: &[u8]) -> Result<Self, BadLengths> {
        Ok(Self { words: words(lengths)? })
    }

    /// Appends a symbol and gives its bits; 0 when the code has no word for it.
    #[inline]
    pub fn push(&self, symbol: u8, writer: &mut BitWriter, out: &mut Vec<u8>) -> u64 {
        let (word, length) = self.words.get(usize::from(symbol)).copied().unwrap_or_default();
        if length > 0 {
            writer.push(u32::from(word), u32::from(length), out);
        }
        u64::from(length)
    }
}

/// Reads code words back, twelve bits at a look.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// By the next twelve bits: length · 256 + symbol; 0 where no word begins so.
    table: Box<[u16; TABLE]>,
}

impl Decoder {
    /// The code of these lengths, for up to 256 symbols.
    ///
    /// # Errors
    /// When they are no code's.
    pub fn new(lengths: &[u8]) -> Result<Self, BadLengths> {
        let mut table = Box::new([0; TABLE]);
        for ((word, length), symbol) in words(lengths)?.into_iter().zip(0_u16..) {
            if length > 0 {
                let entry = u16::from(length) << 8 | (symbol & 0xFF);
                table.iter_mut().skip(usize::from(word)).step_by(1 << length).for_each(|place| *place = entry);
            }
        }
        Ok(Self { table })
    }

    /// Appends the `count` symbols that stand at the start of the bits `stream` of `bytes`. Gives the bit behind the last of
    /// them, or `None` when a word is not of this code or ends behind the stream.
    pub fn decode(&self, bytes: &[u8], stream: Range<u64>, count: usize, out: &mut Vec<u8>) -> Option<u64> {
        let start = out.len();
        out.resize(start + count, 0);
        let Decode { at, valid, .. } =
            dispatch::run(Decode { table: &self.table, bytes, at: stream.start, valid: true, out: &mut out[start..] });
        (valid && at <= stream.end).then_some(at)
    }

    /// Appends all symbols of the bits `stream` of `bytes`, at most `most`. `None` when a word is not of this code, the last
    /// one does not end with the stream, or there are more.
    pub fn decode_all(&self, bytes: &[u8], stream: Range<u64>, most: usize, out: &mut Vec<u8>) -> Option<()> {
        /// Symbols decoded at a time.
        const RUN: usize = 256;
        let (mut at, first) = (stream.start, out.len());
        while at < stream.end {
            // As many as there surely are: no word is longer than twelve bits.
            let sure = usize::try_from((stream.end - at).div_ceil(u64::from(LONGEST))).unwrap_or(RUN).min(RUN);
            if out.len() - first + sure > most {
                return None;
            }
            at = self.decode(bytes, at..stream.end, sure, out)?;
        }
        Some(())
    }
}

struct Decode<'a> {
    table: &'a [u16; TABLE],
    bytes: &'a [u8],
    at: u64,
    valid: bool,
    out: &'a mut [u8],
}

impl<'a> Kernel for Decode<'a> {
    type Output = Decode<'a>;

    #[inline(always)]
    fn run(mut self) -> Self::Output {
        /// Words of twelve bits in one look.
        const WORDS: usize = 4;
        let out = std::mem::take(&mut self.out);
        let mut strange = false;
        for run in out.chunks_mut(WORDS) {
            let mut word = look(self.bytes, self.at);
            for symbol in run {
                let entry = self.table[(word % TABLE as u64) as usize];
                let length = entry >> 8;
                strange |= length == 0;
                word >>= length;
                self.at += u64::from(length);
                *symbol = entry as u8;
            }
        }
        self.valid = !strange;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::bits::read_bits;
    use proptest::prelude::*;

    /// Canonical decoding by the book, a bit at a time: RFC 1951 §3.2.2.
    fn specification(lengths: &[u8], bytes: &[u8], mut at: u64, count: usize) -> (Vec<u8>, u64) {
        let mut code = 0;
        let mut book = Vec::new();
        for length in 1..=LONGEST as u8 {
            code <<= 1;
            for symbol in (0..lengths.len()).filter(|&s| lengths[s] == length) {
                book.push((length, code, symbol as u8));
                code += 1;
            }
        }
        let mut out = Vec::new();
        while out.len() < count {
            let (mut word, mut length) = (0_u32, 0);
            let symbol = loop {
                word = word << 1 | read_bits(bytes, at, 1);
                (at, length) = (at + 1, length + 1);
                if let Some(found) = book.iter().find(|b| b.0 == length && b.1 == word) {
                    break found.2;
                }
                assert!(length < LONGEST as u8);
            };
            out.push(symbol);
        }
        (out, at)
    }

    fn encoded(lengths: &[u8], symbols: &[u8]) -> (Vec<u8>, u64) {
        let (encoder, mut writer, mut bytes) = (Encoder::new(lengths).unwrap(), BitWriter::default(), Vec::new());
        let bits = symbols.iter().map(|&symbol| encoder.push(symbol, &mut writer, &mut bytes)).sum();
        writer.finish(&mut bytes);
        (bytes, bits)
    }

    #[test]
    fn lengths_by_hand() {
        assert_eq!(code_lengths(&[1, 1, 2, 4, 0]), [3, 3, 2, 1, 0]);
        assert_eq!(code_lengths(&[0, 9, 0]), [0, 1, 0]);
        assert_eq!(code_lengths(&[0, 0]), [0, 0]);
        assert_eq!(code_lengths(&[5, 5]), [1, 1]);
        // Fibonacci counts ask for words of up to 19 bits: the limit bends them, and the code stays complete.
        let mut counts = vec![1_u64, 1];
        while counts.len() < 20 {
            counts.push(counts[counts.len() - 1] + counts[counts.len() - 2]);
        }
        let lengths = code_lengths(&counts);
        assert_eq!(*lengths.iter().max().unwrap(), LONGEST as u8);
        assert!(Decoder::new(&lengths).is_ok());
    }

    #[test]
    fn words_by_hand() {
        // RFC 1951 §3.2.2: lengths (3, 3, 3, 3, 3, 2, 4, 4) give 010 011 100 101 110 00 1110 1111.
        let words = words(&[3, 3, 3, 3, 3, 2, 4, 4]).unwrap();
        let shown: Vec<String> = words
            .iter()
            .map(|&(word, n)| (0..n).map(|bit| char::from(b'0' + (word >> bit & 1) as u8)).collect())
            .collect();
        assert_eq!(shown, ["010", "011", "100", "101", "110", "00", "1110", "1111"]);
    }

    #[test]
    fn bad_lengths_are_named() {
        assert_eq!(Decoder::new(&[1, 1, 2]).unwrap_err(), BadLengths::Over(5120));
        assert_eq!(Decoder::new(&[1, 2]).unwrap_err(), BadLengths::Under(3072));
        assert_eq!(Decoder::new(&[0, 2]).unwrap_err(), BadLengths::Under(1024));
        assert_eq!(Decoder::new(&[]).unwrap_err(), BadLengths::Under(0));
        assert_eq!(Decoder::new(&[1, 13]).unwrap_err(), BadLengths::TooLong { symbol: 1, length: 13 });
        assert!(Decoder::new(&[0, 1, 0]).is_ok());
        assert!(Decoder::new(&vec![1; 256]).is_err());
    }

    #[test]
    fn a_stream_is_not_read_past_its_end() {
        let decoder = Decoder::new(&[1, 2, 2]).unwrap();
        let (bytes, bits) = encoded(&[1, 2, 2], &[1, 0, 2, 2]);
        let mut out = Vec::new();
        assert_eq!(decoder.decode(&bytes, 0..bits, 4, &mut out), Some(bits));
        assert_eq!(decoder.decode(&bytes, 0..bits, 5, &mut Vec::new()), None);
        assert_eq!(decoder.decode(&bytes, 0..bits - 1, 4, &mut Vec::new()), None);
        assert_eq!(decoder.decode_all(&bytes, 0..bits, 4, &mut Vec::new()), Some(()));
        assert_eq!(decoder.decode_all(&bytes, 0..bits, 3, &mut Vec::new()), None);
        assert_eq!(decoder.decode_all(&bytes, 0..bits - 1, 4, &mut Vec::new()), None);
        // A symbol that is alone has the word 0; the word 1 is nobody's.
        let alone = Decoder::new(&[0, 1]).unwrap();
        assert_eq!(alone.decode(&[0b100], 0..3, 2, &mut Vec::new()), Some(2));
        assert_eq!(alone.decode(&[0b100], 0..3, 3, &mut Vec::new()), None);
        assert_eq!(alone.decode(&[], 0..40, 0, &mut Vec::new()), Some(0));
    }

    /// Least Σ count·length over all complete codes of at most `limit` bits, by trying every multiset of lengths.
    fn least(counts: &[u64], limit: u32) -> u64 {
        fn walk(sorted: &[u64], shortest: u32, limit: u32, left: u64) -> u64 {
            let Some((&count, rest)) = sorted.split_first() else { return if left == 0 { 0 } else { u64::MAX } };
            let of = |length: u32| {
                let taken = 1 << (limit - length);
                let rest = if taken <= left { walk(rest, length, limit, left - taken) } else { u64::MAX };
                rest.saturating_add(count * u64::from(length))
            };
            (shortest..=limit).map(of).min().unwrap()
        }
        let mut sorted: Vec<u64> = counts.iter().copied().filter(|&c| c > 0).collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        walk(&sorted, 1, limit, 1 << limit)
    }

    proptest! {
        #[test]
        fn lengths_are_optimal(counts in prop::collection::vec(0_u64..1000, 2..9)) {
            prop_assume!(counts.iter().filter(|&&c| c > 0).count() >= 2);
            prop_assert_eq!(stream_bits(&counts, &code_lengths(&counts)), least(&counts, LONGEST));
        }

        #[test]
        fn what_is_written_is_read(
            symbols in prop::collection::vec(0_u8..=255, 0..900),
            squeeze in 0_u32..8,
            offset in 0_u32..9,
        ) {
            let symbols: Vec<u8> = symbols.iter().map(|s| s >> squeeze).collect();
            let mut counts = vec![0; 256];
            symbols.iter().for_each(|&s| counts[usize::from(s)] += 1);
            let lengths = code_lengths(&counts);
            if symbols.is_empty() {
                return Ok(());
            }
            let encoder = Encoder::new(&lengths).unwrap();
            let (mut writer, mut bytes) = (BitWriter::default(), Vec::new());
            if offset > 0 {
                writer.push(0x1FF, offset, &mut bytes);
            }
            let bits: u64 = symbols.iter().map(|&s| encoder.push(s, &mut writer, &mut bytes)).sum();
            writer.finish(&mut bytes);
            prop_assert_eq!(bits, stream_bits(&counts, &lengths));
            let (start, end) = (u64::from(offset), u64::from(offset) + bits);
            let decoder = Decoder::new(&lengths).unwrap();
            let mut out = vec![7];
            prop_assert_eq!(decoder.decode(&bytes, start..end, symbols.len(), &mut out), Some(end));
            prop_assert_eq!(&out[1..], &symbols[..]);
            prop_assert_eq!(specification(&lengths, &bytes, start, symbols.len()), (symbols.clone(), end));
            let mut all = Vec::new();
            prop_assert_eq!(decoder.decode_all(&bytes, start..end, symbols.len(), &mut all), Some(()));
            prop_assert_eq!(all, symbols);
        }

        #[test]
        fn any_bytes_end_in_an_answer(
            lengths in prop::collection::vec(0_u8..14, 0..257),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            start in 0_u64..400,
            end in 0_u64..400,
            count in 0_usize..300,
        ) {
            if let Ok(decoder) = Decoder::new(&lengths) {
                let mut out = Vec::new();
                if let Some(at) = decoder.decode(&bytes, start..end, count, &mut out) {
                    prop_assert!(at <= end && out.len() == count);
                }
                let mut out = Vec::new();
                decoder.decode_all(&bytes, start..end, count, &mut out);
                prop_assert!(out.len() <= count);
            }
        }
    }
}
