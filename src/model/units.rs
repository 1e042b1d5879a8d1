//! What the codes of a coded tensor stand for: the scales, zero points and codebooks of the units that a range touches.

use super::{Model, Scratch, Tensor};
use crate::formats::packed_layout::{Code, Matrix, Numbers};
use crate::formats::{Dtype, Error};
use crate::kernels::Real;
use crate::kernels::bits::sign_extend;
use crate::kernels::layout::Unit;
use crate::kernels::small::{mx_block, nv_block};
use std::ops::Range;

/// A run of units of a coded tensor.
pub(super) struct Units<T> {
    first: usize,
    pub unit: Unit,
    kind: Kind<T>,
}

/// What is known of each unit.
enum Kind<T> {
    Integer { bits: u32, scales: Vec<T>, zero_points: Option<Vec<u8>> },
    Number { numbers: Vec<T>, scales: Vec<T> },
    Codebook { entries: usize, centroids: Vec<T> },
}

impl<T: Real> Units<T> {
    /// The value of a code of unit `unit`; `None` past the end of its codebook.
    #[inline]
    pub fn value(&self, unit: usize, code: u32) -> Option<T> {
        let unit = unit - self.first;
        match &self.kind {
            Kind::Integer { bits, scales, zero_points } => {
                let level = match zero_points {
                    Some(points) => code.cast_signed() - i32::from(points[unit]),
                    None => sign_extend(code, *bits),
                };
                Some(T::from_code(level).mul(scales[unit]))
            }
            Kind::Number { numbers, scales } => numbers.get(code as usize).map(|number| number.mul(scales[unit])),
            Kind::Codebook { entries, centroids } => {
                let place = (code as usize).checked_add(unit * entries).filter(|_| (code as usize) < *entries)?;
                centroids.get(place).copied()
            }
        }
    }
}

impl Model {
    /// The units that a range of a coded tensor touches; `None` when its codes are plain elements.
    pub(super) fn units<T: Real>(
        &self,
        tensor: &Tensor,
        matrix: &Matrix,
        range: Range<usize>,
        scratch: &mut Scratch,
    ) -> Result<Option<Units<T>>, Error> {
        let Some(unit) = matrix.code.unit() else { return Ok(None) };
        let geometry = tensor.geometry();
        let (first, last) = match range.end.checked_sub(1).filter(|_| !range.is_empty()) {
            None => (0, 0),
            Some(end) => (unit.index_of(geometry, range.start), unit.index_of(geometry, end) + 1),
        };
        let parts = matrix.parts(tensor.dtype, geometry);
        let mut part = |of: &Range<u64>, skip: u64, each: u64| {
            let at = |unit: usize| of.start + skip + unit as u64 * each;
            self.payload(tensor, at(first)..at(last), scratch).map(<[u8]>::to_vec)
        };
        let real = if tensor.dtype == Dtype::F64 { Dtype::F64 } else { Dtype::F32 };
        let floats = |dtype: Dtype, bytes: &[u8]| {
            let mut out = Vec::new();
            dtype.decode::<T>(bytes, &mut out);
            out
        };
        let kind = match matrix.code {
            Code::Element => return Ok(None),
            Code::Integer { bits, zero_points, .. } => {
                let scales = floats(real, &part(&parts.scales, 0, real.bytes() as u64)?);
                let zero_points = if zero_points { Some(part(&parts.zero_points, 0, 1)?) } else { None };
                Kind::Integer { bits, scales, zero_points }
            }
            Code::Number { table, .. } => {
                let (each, once) = table.scale_bytes(tensor.dtype);
                let bytes = part(&parts.scales, once, each)?;
                let scales = match table {
                    Numbers::Mxfp4 => bytes.iter().map(|&exponent| mx_block(exponent).scale).collect(),
                    Numbers::Nvfp4 => {
                        let place = parts.scales.start..parts.scales.start + once;
                        let global = self.payload(tensor, place, scratch)?.first_chunk().copied().unwrap_or_default();
                        let global = f32::from_le_bytes(global);
                        bytes.iter().map(|&scale| nv_block(scale, global).scale).collect()
                    }
                    _ => floats(real, &bytes),
                };
                Kind::Number { numbers: table.values(), scales }
            }
            Code::Codebook { entries, .. } => {
                let centroids = floats(Dtype::F32, &part(&parts.codebooks, 0, 4 * u64::from(entries))?);
                Kind::Codebook { entries: entries as usize, centroids }
            }
        };
        Ok(Some(Units { first, unit, kind }))
    }
}
