//! The lazily read view: a tensor's elements, a chunk at a time, as bytes or as numbers, whatever their coding.

use super::blocks::Codes;
use super::{Model, Tensor};
use crate::formats::packed_layout::{Code, Coding, Matrix, Stored};
use crate::formats::{Error, ErrorKind};
use crate::kernels::Real;
use crate::kernels::ggml::{self, BlockType};
use std::ops::Range;

/// Reused buffers for reading.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) bytes: Vec<u8>,
    pub(super) symbols: Vec<u8>,
    pub(super) decoded: Vec<f32>,
}

impl Model {
    /// The whole payload's bytes `range` (from the payload's start), as they lie in the file: a copy in `scratch`. Of a weight
    /// that lies in several tensors those are its codes; see [`Model::part`].
    ///
    /// # Errors
    /// When the file cannot be read there any more.
    pub fn payload<'a>(
        &'a self,
        tensor: &Tensor,
        range: Range<u64>,
        scratch: &'a mut Scratch,
    ) -> Result<&'a [u8], Error> {
        let start = tensor.range.start;
        self.shard_of(tensor).read(start + range.start..start + range.end, &mut scratch.bytes)
    }

    pub(super) fn shard_of(&self, tensor: &Tensor) -> &crate::formats::Source {
        &self.shards[tensor.shard]
    }

    /// Elements `range` (flat, row-major) as numbers, replacing what `out` held. Only for float dtypes.
    ///
    /// # Errors
    /// When the file cannot be read, or its codes are not what its header says.
    pub fn values<T: Real>(
        &self,
        tensor: &Tensor,
        range: Range<usize>,
        out: &mut Vec<T>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        out.clear();
        if let Some(product) = &tensor.product {
            return self.product_values(tensor, product, range, out, scratch);
        }
        if let Some(assembled) = &tensor.assembled {
            return self.assembled_values(tensor, assembled, range, out, scratch);
        }
        if let Some(block_type) = tensor.block_type {
            return self.block_values(tensor, block_type, range, out, scratch);
        }
        let Some(Coding { stored: Stored::Codes(matrix), .. }) = &tensor.coding else {
            let (start, width) = (tensor.range.start, tensor.dtype.bytes() as u64);
            let place = start + range.start as u64 * width..start + range.end as u64 * width;
            return self.shard_of(tensor).with(place, &mut scratch.bytes, |bytes| tensor.dtype.decode(bytes, out));
        };
        self.coded_values(tensor, matrix, range, out, scratch)
    }

    /// Elements `range` of a tensor in GGML's blocks: those that it touches are decoded whole.
    fn block_values<T: Real>(
        &self,
        tensor: &Tensor,
        block_type: BlockType,
        range: Range<usize>,
        out: &mut Vec<T>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let (size, bytes) = (block_type.elements(), block_type.bytes());
        let (first, last) = (range.start / size, range.end.div_ceil(size));
        let place = tensor.range.start + (first * bytes) as u64..tensor.range.start + (last * bytes) as u64;
        let decoded = &mut scratch.decoded;
        decoded.clear();
        decoded.resize((last - first) * size, 0.0);
        let decode = |blocks: &[u8]| ggml::decode(block_type, blocks, decoded);
        let shard = self.shard_of(tensor);
        shard.with(place, &mut scratch.bytes, decode)?.map_err(|error| {
            let place = format!("tensor {}", crate::formats::error::quoted(&tensor.name));
            Error::new(shard.path(), ErrorKind::Gguf { place, what: error.to_string() })
        })?;
        out.extend(scratch.decoded[range.start - first * size..][..range.len()].iter().map(|&x| T::from_f32(x)));
        Ok(())
    }

    fn coded_values<T: Real>(
        &self,
        tensor: &Tensor,
        matrix: &Matrix,
        range: Range<usize>,
        out: &mut Vec<T>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let Codes { bytes, places } = self.codes(tensor, matrix, range.clone(), scratch)?;
        let Some(units) = self.units::<T>(tensor, matrix, range.clone(), scratch)? else {
            let Some(places) = places else {
                tensor.dtype.decode::<T>(&bytes, out);
                return Ok(());
            };
            let mut held = Vec::with_capacity(places.len());
            tensor.dtype.decode::<T>(&bytes, &mut held);
            out.resize(range.len(), T::ZERO);
            places.iter().zip(held).for_each(|(&place, value)| out[place as usize] = value);
            return Ok(());
        };
        out.resize(range.len(), T::ZERO);
        let mut held = places.iter().flatten().map(|&place| place as usize).zip(&bytes).peekable();
        let past = || self.damaged(tensor, "a code is past the end of its codebook");
        for (unit, piece) in units.unit.pieces(tensor.geometry(), range.clone()) {
            let local = piece.start - range.start..piece.end - range.start;
            if places.is_none() {
                for (value, &code) in out[local.clone()].iter_mut().zip(&bytes[local]) {
                    *value = units.value(unit, u32::from(code)).ok_or_else(past)?;
                }
                continue;
            }
            while let Some((place, &code)) = held.next_if(|(place, _)| *place < local.end) {
                out[place] = units.value(unit, u32::from(code)).ok_or_else(past)?;
            }
        }
        Ok(())
    }

    /// Elements `range` as plain bytes of the tensor's dtype, appended to `out`; `false` when they are integer codes and
    /// have none. An element without a code is all zero bits.
    ///
    /// # Errors
    /// As [`Model::values`].
    pub fn plain_bytes(
        &self,
        tensor: &Tensor,
        range: Range<usize>,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<bool, Error> {
        let width = tensor.dtype.bytes();
        if tensor.product.is_some() || tensor.block_type.is_some() || tensor.assembled.is_some() {
            return Ok(false);
        }
        let Some(Coding { stored: Stored::Codes(matrix), .. }) = &tensor.coding else {
            let bytes = (range.start * width) as u64..(range.end * width) as u64;
            out.extend_from_slice(self.payload(tensor, bytes, scratch)?);
            return Ok(true);
        };
        if matrix.code != Code::Element {
            return Ok(false);
        }
        let Codes { bytes, places } = self.codes(tensor, matrix, range.clone(), scratch)?;
        let Some(places) = places else {
            out.extend_from_slice(&bytes);
            return Ok(true);
        };
        let start = out.len();
        out.resize(start + range.len() * width, 0);
        for (element, place) in bytes.chunks_exact(width).zip(places) {
            out[start + place as usize * width..][..width].copy_from_slice(element);
        }
        Ok(true)
    }

    /// Whether each of the elements `range` is 0, replacing what `out` held; of a tensor that is not float, whether all its
    /// bits are. Only for dtypes of whole bytes.
    ///
    /// # Errors
    /// As [`Model::values`].
    pub fn zeros(
        &self,
        tensor: &Tensor,
        range: Range<usize>,
        out: &mut Vec<bool>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        out.clear();
        if tensor.dtype.is_float() {
            // In f64: nothing that is not 0 becomes so.
            let mut values = Vec::<f64>::new();
            self.values(tensor, range, &mut values, scratch)?;
            out.extend(values.iter().map(|&value| value == 0.0));
            return Ok(());
        }
        let width = tensor.dtype.bytes();
        let place = (range.start * width) as u64..(range.end * width) as u64;
        let bytes = self.payload(tensor, place, scratch)?;
        out.extend(bytes.chunks_exact(width.max(1)).map(|element| element.iter().all(|&byte| byte == 0)));
        Ok(())
    }
}
