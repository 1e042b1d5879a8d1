//! Where a packed tensor's codes are found: what comes before each block of 65,536 elements, and the codes of any range.

use super::{Model, Scratch, Tensor};
use crate::formats::packed_layout::{Form, Indices, Matrix, Parts, table_bytes};
use crate::formats::{Error, ErrorKind};
use crate::kernels::bits::unpack;
use crate::kernels::gaps::{self, BLOCK};
use crate::kernels::huffman::Decoder;
use std::ops::Range;

/// What stands before a block in a tensor's streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Before {
    /// Codes.
    codes: u64,
    /// Bits of relative indices.
    index_bits: u64,
    /// Bits of Huffman coded codes.
    code_bits: u64,
}

/// All that is needed to begin reading at any block; made when a tensor is first read.
#[derive(Debug)]
pub(super) struct Blocks {
    /// One for each block, and one behind the last.
    before: Vec<Before>,
    codes: Option<Decoder>,
    indices: Option<Decoder>,
}

/// The codes of a range of elements.
#[derive(Debug, Default)]
pub(super) struct Codes {
    /// Little-endian, in whole bytes.
    pub bytes: Vec<u8>,
    /// Where they belong, from the range's start; `None` when every element has one.
    pub places: Option<Vec<u32>>,
}

/// A tensor with what its header says of it, read through.
#[derive(Clone, Copy)]
struct Reading<'a> {
    model: &'a Model,
    tensor: &'a Tensor,
    matrix: &'a Matrix,
}

impl Model {
    /// The codes of elements `range` of a coded tensor.
    ///
    /// # Errors
    /// When the file cannot be read, or a stream is not what its header says.
    pub(super) fn codes(
        &self,
        tensor: &Tensor,
        matrix: &Matrix,
        range: Range<usize>,
        scratch: &mut Scratch,
    ) -> Result<Codes, Error> {
        let reading = Reading { model: self, tensor, matrix };
        let parts = matrix.parts(tensor.dtype, tensor.geometry());
        if matrix.form == Form::Dense && !matrix.is_blocked() {
            let mut codes = Codes::default();
            reading.plain_codes(&parts, range.start as u64, range.len(), &mut codes.bytes, scratch)?;
            return Ok(codes);
        }
        if tensor.blocks.get().is_none() {
            // Another thread may have made the same meanwhile.
            drop(tensor.blocks.set(reading.blocks(&parts, scratch)?));
        }
        let mut codes = Codes { places: (matrix.form != Form::Dense).then(Vec::new), ..Codes::default() };
        let Some(blocks) = tensor.blocks.get().filter(|_| !range.is_empty()) else { return Ok(codes) };
        for block in range.start / BLOCK..=(range.end - 1) / BLOCK {
            reading.block_codes(&parts, blocks, block, &range, &mut codes, scratch)?;
        }
        Ok(codes)
    }

    pub(super) fn damaged(&self, tensor: &Tensor, what: &str) -> Error {
        let place = format!("tensor {}", crate::formats::error::quoted(&tensor.name));
        Error::new(self.shard_of(tensor).path(), ErrorKind::Packed { place, what: what.to_owned() })
    }
}

impl Reading<'_> {
    fn damaged(&self, what: &str) -> Error {
        self.model.damaged(self.tensor, what)
    }

    /// Bytes `range` of a part, with `more` bytes behind them where the part has them.
    fn part<'s>(&'s self, part: &Range<u64>, range: Range<u64>, scratch: &'s mut Scratch) -> Result<&'s [u8], Error> {
        self.model.payload(self.tensor, part.start + range.start..part.start + range.end, scratch)
    }

    /// The bytes that hold bits `range` of a part, and the first bit's place in them.
    fn bits<'s>(
        &'s self,
        part: &Range<u64>,
        range: Range<u64>,
        scratch: &'s mut Scratch,
    ) -> Result<(&'s [u8], Range<u64>), Error> {
        let first = range.start / 8;
        let bytes = self.part(part, first..range.end.div_ceil(8), scratch)?;
        Ok((bytes, range.start - 8 * first..range.end - 8 * first))
    }

    fn elements(&self, block: usize) -> usize {
        self.tensor.elements().saturating_sub(block * BLOCK).min(BLOCK)
    }

    /// Appends `count` codes of full width from code `first` on.
    fn plain_codes(
        &self,
        parts: &Parts,
        first: u64,
        count: usize,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let bits = self.matrix.code.bits(self.tensor.dtype);
        let (bytes, at) = self.bits(&parts.codes, first * bits..(first + count as u64) * bits, scratch)?;
        if bits.is_multiple_of(8) {
            out.extend_from_slice(bytes);
        } else {
            unpack(bytes, at.start, bits as u32, count, out);
        }
        Ok(())
    }

    fn decoder(&self, part: &Range<u64>, bits: u32, of: &str, scratch: &mut Scratch) -> Result<Decoder, Error> {
        let table = self.part(part, 0..table_bytes(bits), scratch)?;
        let mut lengths = Vec::new();
        unpack(table, 0, 4, 1 << bits, &mut lengths);
        Decoder::new(&lengths).map_err(|error| self.damaged(&format!("the Huffman code of its {of}: {error}")))
    }

    /// Reads the tables and adds up what stands before each block.
    fn blocks(&self, parts: &Parts, scratch: &mut Scratch) -> Result<Blocks, Error> {
        let (matrix, count) = (self.matrix, self.tensor.elements().div_ceil(BLOCK));
        let coded = matrix.huffman.is_some();
        let symbols = matrix.code.symbol_bits(self.tensor.dtype);
        let codes = coded.then(|| self.decoder(&parts.code_table, symbols, "codes", scratch)).transpose()?;
        let indices = matrix.indices().filter(|indices| indices.huffman);
        let indices = indices.map(|i| self.decoder(&parts.index_table, i.bits, "indices", scratch)).transpose()?;
        let fields = matrix.block_fields();
        let table = self.part(&parts.blocks, 0..parts.blocks.end - parts.blocks.start, scratch)?.to_vec();
        let mut numbers = table.as_chunks::<4>().0.iter().map(|&number| u64::from(u32::from_le_bytes(number)));
        let mut sum = Before::default();
        let mut before = vec![sum];
        for block in 0..count {
            let elements = self.elements(block) as u64;
            let mut next = |present: bool| if present { numbers.next().unwrap_or_default() } else { 0 };
            sum.codes += match matrix.form {
                Form::Dense => elements,
                Form::Mask if fields == 0 => self.mask(parts, block, BLOCK, scratch)?.0,
                _ => next(true),
            };
            sum.index_bits += next(matrix.indices().is_some());
            sum.code_bits += next(coded);
            before.push(sum);
        }
        let wanted = Before {
            codes: matrix.nonzeros,
            index_bits: matrix.indices().map_or(0, |indices| indices.stream),
            code_bits: matrix.huffman.unwrap_or(0),
        };
        if sum != wanted {
            let what = if fields == 0 {
                "its mask does not have the ones that its header counts"
            } else {
                "its blocks do not add up to what its header counts"
            };
            return Err(self.damaged(what));
        }
        Ok(Blocks { before, codes, indices })
    }

    /// Ones among the first `elements` of a block's mask, and the mask's bytes up to there.
    fn mask(
        &self,
        parts: &Parts,
        block: usize,
        elements: usize,
        scratch: &mut Scratch,
    ) -> Result<(u64, Vec<u8>), Error> {
        let held = self.elements(block);
        let (start, elements) = ((block * BLOCK / 8) as u64, elements.min(held));
        let mut bytes = self.part(&parts.mask, start..start + elements.div_ceil(8) as u64, scratch)?.to_vec();
        if let (Some(last), inside @ 1..) = (bytes.last_mut(), elements % 8) {
            if elements == held && *last >> inside != 0 {
                return Err(self.damaged("its mask has ones past its last element"));
            }
            *last &= 0xFF >> (8 - inside);
        }
        Ok((bytes.iter().map(|byte| u64::from(byte.count_ones())).sum(), bytes))
    }

    /// Appends the codes of what `range` has of a block.
    fn block_codes(
        &self,
        parts: &Parts,
        blocks: &Blocks,
        block: usize,
        range: &Range<usize>,
        codes: &mut Codes,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let [start, end] = blocks.before[block..][..2] else { return Ok(()) };
        let held = end.codes - start.codes;
        let (from, to) = (range.start.max(block * BLOCK), range.end.min((block + 1) * BLOCK));
        let (low, high) = (from - block * BLOCK, to - block * BLOCK);
        let whole = high == self.elements(block);
        let wanted = match self.matrix.form {
            Form::Dense => low..high,
            Form::Mask | Form::Indices(_) => {
                let mut places = Vec::with_capacity(held.min(BLOCK as u64) as usize);
                if let Form::Indices(indices) = self.matrix.form {
                    self.places_of_indices(parts, blocks, block, indices, &mut places, scratch)?;
                } else {
                    places_of_mask(&self.mask(parts, block, high, scratch)?.1, &mut places);
                }
                let first = places.partition_point(|&place| (place as usize) < low);
                let last = places.partition_point(|&place| (place as usize) < high);
                let all = self.matrix.indices().is_some() || whole;
                if places.len() as u64 > held || (all && (places.len() as u64) < held) {
                    return Err(self.damaged("a block does not have the nonzeros that its table counts"));
                }
                let shift = (block * BLOCK) as i64 - range.start as i64;
                let of_range = places[first..last].iter().map(|&place| (i64::from(place) + shift) as u32);
                codes.places.get_or_insert_default().extend(of_range);
                first..last
            }
        };
        self.held_codes(parts, (blocks, block), wanted, &mut codes.bytes, scratch)
    }

    /// Appends codes `wanted` of those that a block has.
    fn held_codes(
        &self,
        parts: &Parts,
        (blocks, block): (&Blocks, usize),
        wanted: Range<usize>,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let [start, end] = blocks.before[block..][..2] else { return Ok(()) };
        let first = start.codes + wanted.start as u64;
        let Some(decoder) = &blocks.codes else {
            return self.plain_codes(parts, first, wanted.len(), out, scratch);
        };
        let mut symbols = std::mem::take(&mut scratch.symbols);
        symbols.clear();
        let (bytes, stream) = self.bits(&parts.codes, start.code_bits..end.code_bits, scratch)?;
        let behind = decoder.decode(bytes, stream.clone(), wanted.end, &mut symbols);
        let last = wanted.end as u64 == end.codes - start.codes;
        if behind.is_none_or(|behind| last && behind != stream.end) {
            return Err(self.damaged("a stream of codes is cut short, too long, or not of its Huffman code"));
        }
        let width = self.matrix.code.width(self.tensor.dtype);
        if width == 1 {
            out.extend_from_slice(&symbols[wanted]);
        } else {
            let bytes = |codes: u64| codes * (width as u64 - 1);
            let rest = self.part(&parts.rest, bytes(first)..bytes(first + wanted.len() as u64), scratch)?;
            for (rest, &symbol) in rest.chunks_exact(width - 1).zip(&symbols[wanted]) {
                out.extend_from_slice(rest);
                out.push(symbol);
            }
        }
        scratch.symbols = symbols;
        Ok(())
    }

    /// Appends the places of a block's nonzeros, from the block's start.
    fn places_of_indices(
        &self,
        parts: &Parts,
        blocks: &Blocks,
        block: usize,
        Indices { bits, .. }: Indices,
        places: &mut Vec<u32>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let [start, end] = blocks.before[block..][..2] else { return Ok(()) };
        let most = self.elements(block);
        let mut symbols = std::mem::take(&mut scratch.symbols);
        symbols.clear();
        let (bytes, stream) = self.bits(&parts.indices, start.index_bits..end.index_bits, scratch)?;
        let read = if let Some(decoder) = &blocks.indices {
            decoder.decode_all(bytes, stream, most, &mut symbols)
        } else {
            let count = (stream.end - stream.start) / u64::from(bits);
            let fits = count * u64::from(bits) == stream.end - stream.start && count <= most as u64;
            fits.then(|| unpack(bytes, stream.start, bits, count as usize, &mut symbols))
        };
        let read = read.and_then(|()| gaps::places(&symbols, bits, most, places));
        scratch.symbols = symbols;
        read.ok_or_else(|| {
            self.damaged("its indices are cut short, not of their Huffman code, or lead past the end of a block")
        })
    }
}

fn places_of_mask(mask: &[u8], places: &mut Vec<u32>) {
    for (word, at) in mask.chunks(8).zip((0_u32..).step_by(64)) {
        let mut bits = word.iter().rev().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
        while bits != 0 {
            places.push(at + bits.trailing_zeros());
            bits &= bits - 1;
        }
    }
}
