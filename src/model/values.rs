//! The lazily read view: a tensor's elements, a chunk at a time, as bytes or as numbers, whatever their coding.

use super::{Model, Tensor};
use crate::formats::packed_layout::{Code, Coding, Form};
use crate::formats::{Dtype, Error, ErrorKind};
use crate::kernels::Real;
use crate::kernels::bits::{read_bits, sign_extend};
use crate::kernels::layout::Unit;
use std::ops::Range;

/// Elements between two entries of a mask's rank table.
const RANK_STEP: usize = 1 << 16;

/// Reused buffers for reading.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    mask: Vec<u8>,
    codes: Vec<u8>,
}

impl Model {
    /// The whole payload's bytes `range` (from the payload's start), as they lie in the file: a copy in `scratch`.
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

    fn shard_of(&self, tensor: &Tensor) -> &crate::formats::Source {
        &self.shards[tensor.shard]
    }

    /// Elements `range` (flat, row-major) as numbers, replacing what `out` held. Only for float dtypes.
    ///
    /// # Errors
    /// When the file cannot be read, or a mask does not have the ones that its header counts.
    pub fn values<T: Real>(
        &self,
        tensor: &Tensor,
        range: Range<usize>,
        out: &mut Vec<T>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        out.clear();
        let Some(coding) = &tensor.coding else {
            let (start, width) = (tensor.range.start, tensor.dtype.bytes() as u64);
            let place = start + range.start as u64 * width..start + range.end as u64 * width;
            return self.shard_of(tensor).with(place, &mut scratch.bytes, |bytes| tensor.dtype.decode(bytes, out));
        };
        self.coded_values(tensor, coding, range, out, scratch)
    }

    fn coded_values<T: Real>(
        &self,
        tensor: &Tensor,
        coding: &Coding,
        range: Range<usize>,
        out: &mut Vec<T>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let geometry = tensor.geometry();
        let parts = coding.parts(tensor.dtype, geometry);
        let width = coding.code.bits(tensor.dtype);
        let (mask, first_code) = match coding.form {
            Form::Dense => (None, range.start as u64),
            Form::Mask => {
                let rank = self.rank(tensor, coding, range.start, scratch)?;
                let bytes = (range.start / 8) as u64..(range.end as u64).div_ceil(8);
                let mask = self.payload(tensor, bytes, scratch)?.to_vec();
                scratch.mask = mask;
                (Some(range.start % 8), rank)
            }
        };
        let present = |i: usize, mask: &[u8]| mask.get((i) / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
        let held = match mask {
            None => range.len() as u64,
            Some(skip) => (0..range.len()).filter(|&i| present(i + skip, &scratch.mask)).count() as u64,
        };
        if first_code + held > coding.nonzeros {
            return Err(self.damaged(tensor, "its mask has more ones than it has codes"));
        }
        let first_byte = parts.codes.start + first_code * width / 8;
        let last_byte = parts.codes.start + ((first_code + held) * width).div_ceil(8);
        scratch.codes = self.payload(tensor, first_byte..last_byte, scratch)?.to_vec();
        let mut bit = first_code * width % 8;
        let grids = self.grids::<T>(tensor, coding, range.clone(), scratch)?;
        let Some(grids) = grids else {
            // Plain elements begin at whole bytes: decode those that are held, then put each in its place.
            let mut held = Vec::with_capacity(range.len());
            tensor.dtype.decode::<T>(&scratch.codes, &mut held);
            let mut held = held.into_iter();
            let has = |i: usize| mask.is_none_or(|skip| present(i + skip, &scratch.mask));
            out.extend((0..range.len()).map(|i| if has(i) { held.next().unwrap_or(T::ZERO) } else { T::ZERO }));
            return Ok(());
        };
        for (i, element) in range.enumerate() {
            if mask.is_some_and(|skip| !present(i + skip, &scratch.mask)) {
                out.push(T::ZERO);
                continue;
            }
            out.push(grids.value(element, read_bits(&scratch.codes, bit, width as u32)));
            bit += width;
        }
        Ok(())
    }

    /// Elements `range` as plain bytes of the tensor's dtype, appended to `out`; `false` when they are integer codes and
    /// have none. An element that a mask leaves out is all zero bits.
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
        let width = tensor.dtype.bytes() as u64;
        let bytes = |range: Range<u64>| range.start * width..range.end * width;
        let Some(coding) = &tensor.coding else {
            out.extend_from_slice(self.payload(tensor, bytes(range.start as u64..range.end as u64), scratch)?);
            return Ok(true);
        };
        if coding.code != Code::Element || coding.form != Form::Mask {
            return Ok(false);
        }
        let first = self.rank(tensor, coding, range.start, scratch)?;
        let last = self.rank(tensor, coding, range.end, scratch)?;
        let mask = self.payload(tensor, (range.start / 8) as u64..(range.end as u64).div_ceil(8), scratch)?.to_vec();
        let start = coding.parts(tensor.dtype, tensor.geometry()).codes.start;
        let codes = bytes(first..last);
        let held = self.payload(tensor, start + codes.start..start + codes.end, scratch)?;
        let mut elements = held.chunks_exact(tensor.dtype.bytes());
        for i in range.start % 8..range.start % 8 + range.len() {
            let present = mask.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
            match if present { elements.next() } else { None } {
                Some(element) => out.extend_from_slice(element),
                None => out.resize(out.len() + tensor.dtype.bytes(), 0),
            }
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

    /// Ones of the mask before element `index`.
    fn rank(&self, tensor: &Tensor, coding: &Coding, index: usize, scratch: &mut Scratch) -> Result<u64, Error> {
        let ones = |bytes: &[u8]| bytes.iter().map(|b| u64::from(b.count_ones())).sum::<u64>();
        let n = tensor.elements();
        if tensor.ranks.get().is_none() {
            let mut table = vec![0];
            let mut total = 0;
            for start in (0..n).step_by(RANK_STEP) {
                let end = (start + RANK_STEP).min(n);
                let mask = self.payload(tensor, (start / 8) as u64..(end as u64).div_ceil(8), scratch)?;
                total += ones(mask);
                if !end.is_multiple_of(8) && mask.last().is_some_and(|last| last >> (end % 8) != 0) {
                    return Err(self.damaged(tensor, "its mask has ones past its last element"));
                }
                table.push(total);
            }
            if total != coding.nonzeros {
                return Err(self.damaged(tensor, "its mask does not have the ones that its header counts"));
            }
            // Another thread may have counted the same meanwhile; both counts are equal.
            drop(tensor.ranks.set(table));
        }
        let step = index / RANK_STEP;
        let before = tensor.ranks.get().and_then(|table| table.get(step)).copied().unwrap_or_default();
        let start = (step * RANK_STEP / 8) as u64;
        let bytes = self.payload(tensor, start..(index as u64).div_ceil(8), scratch)?;
        let beyond = match (index % 8, bytes.last()) {
            (0, _) | (_, None) => 0,
            (inside, Some(last)) => u64::from((last >> inside).count_ones()),
        };
        Ok(before + ones(bytes) - beyond)
    }

    /// The scales and zero points of the units that a range touches.
    fn grids<T: Real>(
        &self,
        tensor: &Tensor,
        coding: &Coding,
        range: Range<usize>,
        scratch: &mut Scratch,
    ) -> Result<Option<Grids<T>>, Error> {
        let Code::Integer { bits, unit, zero_points } = coding.code else { return Ok(None) };
        let geometry = tensor.geometry();
        if range.is_empty() {
            return Ok(Some(Grids { first: 0, scales: Vec::new(), zero_points: None, unit, geometry, bits }));
        }
        let parts = coding.parts(tensor.dtype, geometry);
        let first = unit.index_of(geometry, range.start);
        let last = unit.index_of(geometry, range.end - 1) + 1;
        let kind = if tensor.dtype == Dtype::F64 { Dtype::F64 } else { Dtype::F32 };
        let at = |unit: usize| parts.scales.start + (unit * kind.bytes()) as u64;
        let mut scales = Vec::new();
        kind.decode(self.payload(tensor, at(first)..at(last), scratch)?, &mut scales);
        let zero_points = if zero_points {
            let start = parts.zero_points.start;
            Some(self.payload(tensor, start + first as u64..start + last as u64, scratch)?.to_vec())
        } else {
            None
        };
        Ok(Some(Grids { first, scales, zero_points, unit, geometry, bits }))
    }

    fn damaged(&self, tensor: &Tensor, what: &str) -> Error {
        let place = format!("tensor {}", crate::formats::error::quoted(&tensor.name));
        Error::new(self.shard_of(tensor).path(), ErrorKind::Packed { place, what: what.to_owned() })
    }
}

/// A run of units of an integer-coded tensor.
struct Grids<T> {
    first: usize,
    scales: Vec<T>,
    zero_points: Option<Vec<u8>>,
    unit: Unit,
    geometry: crate::kernels::layout::Geometry,
    bits: u32,
}

impl<T: Real> Grids<T> {
    fn value(&self, element: usize, code: u32) -> T {
        let unit = self.unit.index_of(self.geometry, element) - self.first;
        let level = match &self.zero_points {
            Some(points) => code.cast_signed() - i32::from(points[unit]),
            None => sign_extend(code, self.bits),
        };
        T::from_code(level).mul(self.scales[unit])
    }
}
