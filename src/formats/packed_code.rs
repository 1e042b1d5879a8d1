//! What the codes of a `packed` tensor are, and what stands beside them: scales, zero points, codebooks.

use super::Dtype;
use crate::kernels::Real;
use crate::kernels::convert::{F4_E2M1, F8_E4M3, F8_E5M2, decode_small};
use crate::kernels::layout::{Geometry, Unit};
use crate::kernels::nf4;

/// What a code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A plain element of the tensor's dtype.
    Element,
    /// A small integer on a grid.
    Integer {
        /// Width of a code, 2 to 8.
        bits: u32,
        /// Which elements share a scale.
        unit: Unit,
        /// Whether each unit has a zero point (asymmetric grids).
        zero_points: bool,
    },
    /// A place in a table of numbers, to be multiplied by a scale.
    Number {
        /// Which table, and how scales are stored.
        table: Numbers,
        /// Which elements share a scale.
        unit: Unit,
    },
    /// A place in a codebook.
    Codebook {
        /// How many centroids it has, 2 to 256.
        entries: u32,
        /// Which elements share it.
        unit: Unit,
    },
}

/// Tables of numbers that codes are places in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// E4M3 patterns.
    Fp8E4m3,
    /// E5M2 patterns.
    Fp8E5m2,
    /// E2M1 patterns, scales are E8M0.
    Mxfp4,
    /// E2M1 patterns, scales are E4M3 over one F32 for the whole tensor.
    Nvfp4,
    /// NormalFloat levels.
    Nf4,
    /// 1 and −1.
    Binary,
}

/// Bytes beside the codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideBytes {
    /// Of scales.
    pub scales: u64,
    /// Of zero points.
    pub zero_points: u64,
    /// Of codebooks.
    pub codebooks: u64,
}

impl SideBytes {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.scales.saturating_add(self.zero_points).saturating_add(self.codebooks)
    }
}

impl Numbers {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Fp8E4m3, Self::Fp8E5m2, Self::Mxfp4, Self::Nvfp4, Self::Nf4, Self::Binary];

    /// The word in a header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp8E4m3 => "fp8_e4m3",
            Self::Fp8E5m2 => "fp8_e5m2",
            Self::Mxfp4 => "mxfp4",
            Self::Nvfp4 => "nvfp4",
            Self::Nf4 => "nf4",
            Self::Binary => "binary",
        }
    }

    /// The table of a header's word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Bits of a place in it.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Fp8E4m3 | Self::Fp8E5m2 => 8,
            Self::Mxfp4 | Self::Nvfp4 | Self::Nf4 => 4,
            Self::Binary => 1,
        }
    }

    /// The one unit that goes with it, where there is but one.
    #[must_use]
    pub const fn only_unit(self) -> Option<Unit> {
        match self {
            Self::Mxfp4 => Some(Unit::Group(32)),
            Self::Nvfp4 => Some(Unit::Group(16)),
            _ => None,
        }
    }

    /// Its numbers in the order of their codes.
    #[must_use]
    pub fn values<T: Real>(self) -> Vec<T> {
        let number = |code: u16| match self {
            Self::Fp8E4m3 => decode_small(F8_E4M3, code),
            Self::Fp8E5m2 => decode_small(F8_E5M2, code),
            Self::Mxfp4 | Self::Nvfp4 => decode_small(F4_E2M1, code),
            Self::Nf4 => f64::from(nf4::LEVELS.get(usize::from(code)).copied().unwrap_or_default()),
            Self::Binary => 1.0 - 2.0 * f64::from(code),
        };
        (0..1_u16 << self.bits()).map(|code| T::from_f64(number(code))).collect()
    }

    /// Bytes of the scale of every unit, and of the one for the tensor that precedes them.
    #[must_use]
    pub fn scale_bytes(self, dtype: Dtype) -> (u64, u64) {
        match self {
            Self::Mxfp4 => (1, 0),
            Self::Nvfp4 => (1, 4),
            _ => (scale_bytes(dtype), 0),
        }
    }
}

impl Code {
    /// Bits of one code.
    #[must_use]
    pub fn bits(self, dtype: Dtype) -> u64 {
        match self {
            Self::Element => dtype.bits(),
            Self::Integer { bits, .. } => u64::from(bits),
            Self::Number { table, .. } => u64::from(table.bits()),
            Self::Codebook { entries, .. } => u64::from(entries.next_power_of_two().trailing_zeros()),
        }
    }

    /// Bits of a code that Huffman coding takes together as a symbol: all of a narrow one, the last byte of an element, where
    /// its sign and exponent are.
    #[must_use]
    pub fn symbol_bits(self, dtype: Dtype) -> u32 {
        self.bits(dtype).min(8) as u32
    }

    /// Whole bytes of a code: 1 for a narrow one.
    #[must_use]
    pub fn width(self, dtype: Dtype) -> usize {
        usize::try_from(self.bits(dtype).div_ceil(8)).unwrap_or(usize::MAX)
    }

    /// The first version of the format that knows it.
    #[must_use]
    pub fn version(self) -> u32 {
        if matches!(self, Self::Element | Self::Integer { .. }) { 1 } else { 2 }
    }

    /// Which elements share a scale or a codebook.
    #[must_use]
    pub fn unit(self) -> Option<Unit> {
        match self {
            Self::Element => None,
            Self::Integer { unit, .. } | Self::Number { unit, .. } | Self::Codebook { unit, .. } => Some(unit),
        }
    }

    /// Bytes of what stands beside the codes; `u64::MAX` for shapes that no file can hold.
    #[must_use]
    pub fn side_bytes(self, dtype: Dtype, geometry: Geometry) -> SideBytes {
        let units = self.unit().map_or(0, |unit| unit.count(geometry) as u64);
        match self {
            Self::Element => SideBytes::default(),
            Self::Integer { zero_points, .. } => SideBytes {
                scales: units.saturating_mul(scale_bytes(dtype)),
                zero_points: if zero_points { units } else { 0 },
                codebooks: 0,
            },
            Self::Number { table, .. } => {
                let (each, once) = table.scale_bytes(dtype);
                SideBytes { scales: units.saturating_mul(each).saturating_add(once), ..SideBytes::default() }
            }
            Self::Codebook { entries, .. } => {
                SideBytes { codebooks: units.saturating_mul(4 * u64::from(entries)), ..SideBytes::default() }
            }
        }
    }
}

/// Bytes of one scale beside a tensor of this dtype: F64 tensors keep F64 scales.
#[must_use]
pub fn scale_bytes(dtype: Dtype) -> u64 {
    if dtype == Dtype::F64 { 8 } else { 4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_data_is_what_the_contract_counts() {
        // Two rows of 130: five MX blocks a row, nine NVFP4 blocks, three groups of 64.
        let geometry = Geometry::of(&[2, 130]);
        let bytes = |code: Code, dtype| code.side_bytes(dtype, geometry).total();
        let number = |table, unit| Code::Number { table, unit };
        assert_eq!(bytes(number(Numbers::Mxfp4, Unit::Group(32)), Dtype::F64), 10);
        assert_eq!(bytes(number(Numbers::Nvfp4, Unit::Group(16)), Dtype::BF16), 18 + 4);
        assert_eq!(bytes(number(Numbers::Nf4, Unit::Group(64)), Dtype::F32), 24);
        assert_eq!(bytes(number(Numbers::Fp8E4m3, Unit::Row), Dtype::F64), 16);
        assert_eq!(bytes(number(Numbers::Binary, Unit::Tensor), Dtype::F16), 4);
        assert_eq!(bytes(Code::Codebook { entries: 17, unit: Unit::Row }, Dtype::F64), 2 * 17 * 4);
        // A header may say this, and no file is as long.
        let endless = Geometry { rows: 1 << 62, cols: 1 };
        for code in [number(Numbers::Nf4, Unit::Row), Code::Integer { bits: 4, unit: Unit::Row, zero_points: true }] {
            assert_eq!(code.side_bytes(Dtype::F8_E4M3, endless).total(), u64::MAX);
        }
        let bits = |entries| Code::Codebook { entries, unit: Unit::Tensor }.bits(Dtype::F32);
        assert_eq!([2, 3, 4, 5, 16, 17, 256].map(bits), [1, 2, 2, 3, 4, 5, 8]);
    }

    #[test]
    fn tables_have_a_number_for_every_code() {
        for table in Numbers::ALL {
            assert_eq!(table.values::<f32>().len(), 1 << table.bits());
            assert_eq!(Numbers::from_name(table.name()), Some(table));
        }
        assert_eq!(Numbers::Binary.values::<f64>(), [1.0, -1.0]);
        assert_eq!(Numbers::Mxfp4.values::<f32>()[13], -3.0);
    }
}
