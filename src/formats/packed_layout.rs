//! How one tensor lies inside a `packed` file: forms, parts and their sizes (the byte layout itself is in `PACKED.md`).

use super::Dtype;
pub use super::packed_code::{Code, Numbers, SideBytes, scale_bytes};
use crate::kernels::layout::Geometry;
use std::ops::Range;

/// The first eight bytes of a `packed` file.
pub const MAGIC: [u8; 8] = *b"\x89SPK\r\n\x1a\n";
/// The version that is written, and the newest that is read.
pub const VERSION: u32 = 1;
/// Bytes before the header.
pub const PREFIX: u64 = 24;

/// Which elements have a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Every one.
    Dense,
    /// Those whose bit is set in a mask that precedes the codes.
    Mask,
}

/// How a coded tensor's payload is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coding {
    /// The scheme that made it, for people.
    pub scheme: String,
    /// Mask or dense.
    pub form: Form,
    /// Number of codes.
    pub nonzeros: u64,
    /// What they are.
    pub code: Code,
}

/// The byte ranges of a payload's parts, from the payload's start. Absent parts are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// One bit per element.
    pub mask: Range<u64>,
    /// One float per unit.
    pub scales: Range<u64>,
    /// One byte per unit.
    pub zero_points: Range<u64>,
    /// One codebook per unit.
    pub codebooks: Range<u64>,
    /// The codes.
    pub codes: Range<u64>,
}

impl Parts {
    /// Bytes of the whole payload.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.codes.end
    }

    /// Whether there is no payload.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes of `count` codes of `bits` bits. Counts come from checked shapes, so u128 cannot overflow and the result fits.
#[must_use]
pub fn code_bytes(count: u64, bits: u64) -> u64 {
    u64::try_from((u128::from(count) * u128::from(bits)).div_ceil(8)).unwrap_or(u64::MAX)
}

impl Coding {
    /// Where the parts of a tensor with this coding lie.
    #[must_use]
    pub fn parts(&self, dtype: Dtype, geometry: Geometry) -> Parts {
        let n = geometry.len() as u64;
        let mask = if self.form == Form::Mask { n.div_ceil(8) } else { 0 };
        let side = self.code.side_bytes(dtype, geometry);
        let codes = code_bytes(if self.form == Form::Mask { self.nonzeros } else { n }, self.code.bits(dtype));
        let mut at = 0_u64;
        let mut part = |len: u64| {
            let start = at;
            at = at.saturating_add(len);
            start..at
        };
        Parts {
            mask: part(mask),
            scales: part(side.scales),
            zero_points: part(side.zero_points),
            codebooks: part(side.codebooks),
            codes: part(codes),
        }
    }

    /// The cheaper of the two forms for n elements of which `nonzeros` have q ≠ 0; dense when they tie. Without `zero_codes`
    /// an element that is 0 has no code.
    #[must_use]
    pub fn least(scheme: String, code: Code, zero_codes: bool, dtype: Dtype, n: u64, nonzeros: u64) -> Self {
        let bits = code.bits(dtype);
        let masked = n.div_ceil(8).saturating_add(code_bytes(nonzeros, bits));
        if masked < code_bytes(n, bits) || (nonzeros < n && !zero_codes) {
            Self { scheme, form: Form::Mask, nonzeros, code }
        } else {
            Self { scheme, form: Form::Dense, nonzeros: n, code }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::layout::Unit;

    #[test]
    fn the_worked_example_of_the_contract() {
        let geometry = Geometry::of(&[300, 784]);
        let code = |zero_points| Code::Integer { bits: 4, unit: Unit::Row, zero_points };
        let n = 235_200;
        let coding = Coding::least(String::new(), code(false), true, Dtype::F32, n, n / 10);
        let parts = coding.parts(Dtype::F32, geometry);
        assert_eq!(coding.form, Form::Mask);
        assert_eq!(parts.mask, 0..29_400);
        assert_eq!(parts.scales.end - parts.scales.start, 1_200);
        assert_eq!(parts.codes.end - parts.codes.start, 11_760);
        assert_eq!(parts.len(), 42_360);
        let asymmetric = Coding::least(String::new(), code(true), true, Dtype::F32, n, n / 10);
        assert_eq!(asymmetric.parts(Dtype::F32, geometry).len(), 42_660);
    }

    #[test]
    fn a_mask_pays_only_past_one_over_bits() {
        let form = |nonzeros| Coding::least(String::new(), Code::Element, true, Dtype::F32, 3200, nonzeros).form;
        assert_eq!([form(3200), form(3100), form(3099)], [Form::Dense, Form::Dense, Form::Mask]);
    }
}
