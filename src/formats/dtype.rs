//! The closed set of element types that safetensors 0.8 knows, with their widths and how their values are read.

use crate::kernels::Real;
use crate::kernels::convert::{
    self, BF16, F8_E4M3, F8_E4M3FNUZ, F8_E5M2, F8_E5M2FNUZ, F16, SmallFloat, encode_small, f32_from_bf16,
    f32_from_e8m0, f32_from_f16,
};

macro_rules! dtypes {
    ($($variant:ident $name:literal $bits:literal),* $(,)?) => {
        /// Element type of a tensor. Names are those of the safetensors format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, non_camel_case_types, reason = "each variant is its own name in the format's words")]
        pub enum Dtype { $($variant),* }

        impl Dtype {
            /// Every dtype, in the order of the format's definition.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in a header.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Bits of one element.
            #[must_use]
            pub const fn bits(self) -> u64 {
                match self { $(Self::$variant => $bits),* }
            }

            /// The dtype of a header's name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

dtypes! {
    Bool "BOOL" 8, F4 "F4" 4, F6_E2M3 "F6_E2M3" 6, F6_E3M2 "F6_E3M2" 6, U8 "U8" 8, I8 "I8" 8,
    F8_E5M2 "F8_E5M2" 8, F8_E4M3 "F8_E4M3" 8, F8_E8M0 "F8_E8M0" 8,
    F8_E4M3Fnuz "F8_E4M3FNUZ" 8, F8_E5M2Fnuz "F8_E5M2FNUZ" 8,
    I16 "I16" 16, U16 "U16" 16, F16 "F16" 16, BF16 "BF16" 16, I32 "I32" 32, U32 "U32" 32, F32 "F32" 32,
    C64 "C64" 64, F64 "F64" 64, I64 "I64" 64, U64 "U64" 64,
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Dtype {
    /// Whole bytes of one element; 0 for the sub-byte types, which are passed through as they lie.
    #[must_use]
    pub const fn bytes(self) -> usize {
        (self.bits() / 8) as usize
    }

    /// The small float behind a 16- or 8-bit dtype.
    #[must_use]
    pub const fn small(self) -> Option<SmallFloat> {
        match self {
            Self::F16 => Some(F16),
            Self::BF16 => Some(BF16),
            Self::F8_E4M3 => Some(F8_E4M3),
            Self::F8_E5M2 => Some(F8_E5M2),
            Self::F8_E4M3Fnuz => Some(F8_E4M3FNUZ),
            Self::F8_E5M2Fnuz => Some(F8_E5M2FNUZ),
            _ => None,
        }
    }

    /// Whether values can be read as real numbers: F64, F32, F16, BF16 and the F8 types.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F8_E8M0) || self.small().is_some()
    }

    /// Decodes little-endian elements into values of `T`: exact for every float dtype but F64 into f32.
    /// `bytes` holds whole elements; a dtype that is not float gives nothing.
    pub fn decode<T: Real>(self, bytes: &[u8], out: &mut Vec<T>) {
        let wide = T::from_f32;
        match self {
            Self::F64 => out.extend(bytes.as_chunks::<8>().0.iter().map(|b| T::from_f64(f64::from_le_bytes(*b)))),
            Self::F32 => out.extend(bytes.as_chunks::<4>().0.iter().map(|b| wide(f32::from_le_bytes(*b)))),
            Self::F16 => {
                out.extend(bytes.as_chunks::<2>().0.iter().map(|b| wide(f32_from_f16(u16::from_le_bytes(*b)))));
            }
            Self::BF16 => {
                out.extend(bytes.as_chunks::<2>().0.iter().map(|b| wide(f32_from_bf16(u16::from_le_bytes(*b)))));
            }
            Self::F8_E8M0 => out.extend(bytes.iter().map(|&b| wide(f32_from_e8m0(b)))),
            _ => {
                if let Some(format) = self.small() {
                    let table = convert::table_of_f8(format);
                    out.extend(bytes.iter().map(|&b| wide(table.get(usize::from(b)).copied().unwrap_or(f32::NAN))));
                }
            }
        }
    }

    /// Appends a value as this dtype's little-endian bytes, rounded half to even. Only float dtypes but E8M0 can be
    /// written; others append nothing.
    pub fn encode<T: Real>(self, value: T, out: &mut Vec<u8>) {
        match self {
            Self::F64 => value.to_f64().push_le(out),
            Self::F32 => (f32::from_f64(value.to_f64())).push_le(out),
            _ => {
                if let Some(format) = self.small() {
                    let pattern = encode_small(format, value.to_f64()).to_le_bytes();
                    out.extend_from_slice(pattern.get(..self.bytes()).unwrap_or_default());
                }
            }
        }
    }

    /// The value after a trip through this dtype: what a reader of a dense file gets.
    #[must_use]
    pub fn rounded<T: Real>(self, value: T) -> T {
        match (self, self.small()) {
            (Self::F32, _) => T::from_f64(f64::from(f32::from_f64(value.to_f64()))),
            (Self::BF16, _) if T::KEY_BITS == 32 => {
                let short = f32::from_f64(value.to_f64());
                T::from_f64(f64::from(f32_from_bf16(convert::bf16_from_f32(short))))
            }
            (_, Some(format)) => T::from_f64(convert::decode_small(format, encode_small(format, value.to_f64()))),
            _ => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_there_are_twenty_two() {
        assert_eq!(Dtype::ALL.len(), 22);
        for &dtype in Dtype::ALL {
            assert_eq!(Dtype::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(Dtype::from_name("f32"), None);
    }

    #[test]
    fn values_survive_encode_and_decode() {
        for dtype in Dtype::ALL.iter().filter(|d| d.is_float() && **d != Dtype::F8_E8M0) {
            for value in [0.0_f32, 1.0, -0.5, 1.5, -2.0] {
                let mut bytes = Vec::new();
                dtype.encode(value, &mut bytes);
                assert_eq!(bytes.len(), dtype.bytes());
                let mut back = Vec::<f32>::new();
                dtype.decode(&bytes, &mut back);
                assert_eq!(back, [value], "{dtype}");
                assert_eq!(dtype.rounded(value), value);
            }
        }
        assert_eq!(Dtype::BF16.rounded(1.003_f32), 1.0);
        assert_eq!(Dtype::F16.rounded(0.1_f64), 0.099_975_585_937_5);
    }
}
