//! Every type a tensor of a GGUF file may have: the closed list, with its numbers.

use std::fmt;

/// How the values of a GGUF tensor are stored.
///
/// A row is a run of blocks of [`elements`](Self::elements) values, each [`bytes`](Self::bytes) long; rows are whole
/// blocks. Ids and names are llama.cpp's (`ggml_type`), ids 4, 5, 31 to 33 and 36 to 38 were withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(non_camel_case_types, reason = "these are the names that files, tools and people use")]
#[expect(missing_docs, reason = "each is described by its line in the table below and by the codec that has its name")]
pub enum BlockType {
    F32,
    F16,
    BF16,
    F64,
    I8,
    I16,
    I32,
    I64,
    Q1_0,
    Q2_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ1_S,
    IQ1_M,
    IQ2_XXS,
    IQ2_XS,
    IQ2_S,
    IQ3_XXS,
    IQ3_S,
    IQ4_NL,
    IQ4_XS,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
}

use BlockType as T;

/// Type, id, name, elements and bytes of a block; in the order of [`BlockType`].
const TABLE: [(BlockType, u32, &str, usize, usize); 35] = [
    (T::F32, 0, "F32", 1, 4),
    (T::F16, 1, "F16", 1, 2),
    (T::BF16, 30, "BF16", 1, 2),
    (T::F64, 28, "F64", 1, 8),
    (T::I8, 24, "I8", 1, 1),
    (T::I16, 25, "I16", 1, 2),
    (T::I32, 26, "I32", 1, 4),
    (T::I64, 27, "I64", 1, 8),
    (T::Q1_0, 41, "Q1_0", 128, 18),
    (T::Q2_0, 42, "Q2_0", 64, 18),
    (T::Q4_0, 2, "Q4_0", 32, 18),
    (T::Q4_1, 3, "Q4_1", 32, 20),
    (T::Q5_0, 6, "Q5_0", 32, 22),
    (T::Q5_1, 7, "Q5_1", 32, 24),
    (T::Q8_0, 8, "Q8_0", 32, 34),
    (T::Q8_1, 9, "Q8_1", 32, 36),
    (T::Q2_K, 10, "Q2_K", 256, 84),
    (T::Q3_K, 11, "Q3_K", 256, 110),
    (T::Q4_K, 12, "Q4_K", 256, 144),
    (T::Q5_K, 13, "Q5_K", 256, 176),
    (T::Q6_K, 14, "Q6_K", 256, 210),
    (T::Q8_K, 15, "Q8_K", 256, 292),
    (T::IQ1_S, 19, "IQ1_S", 256, 50),
    (T::IQ1_M, 29, "IQ1_M", 256, 56),
    (T::IQ2_XXS, 16, "IQ2_XXS", 256, 66),
    (T::IQ2_XS, 17, "IQ2_XS", 256, 74),
    (T::IQ2_S, 22, "IQ2_S", 256, 82),
    (T::IQ3_XXS, 18, "IQ3_XXS", 256, 98),
    (T::IQ3_S, 21, "IQ3_S", 256, 110),
    (T::IQ4_NL, 20, "IQ4_NL", 32, 18),
    (T::IQ4_XS, 23, "IQ4_XS", 256, 136),
    (T::TQ1_0, 34, "TQ1_0", 256, 54),
    (T::TQ2_0, 35, "TQ2_0", 256, 66),
    (T::MXFP4, 39, "MXFP4", 32, 17),
    (T::NVFP4, 40, "NVFP4", 64, 36),
];

impl BlockType {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The type of an id in a file; `None` for an id that has no type (any more, or yet).
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == id).map(|row| row.0)
    }

    /// The type of a name, whatever its case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.2.eq_ignore_ascii_case(name)).map(|row| row.0)
    }

    /// The number that stands for it in a file.
    #[must_use]
    pub const fn id(self) -> u32 {
        TABLE[self as usize].1
    }

    /// Its name as llama.cpp writes it, as in `Q4_K`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        TABLE[self as usize].2
    }

    /// Values in a block.
    #[must_use]
    pub const fn elements(self) -> usize {
        TABLE[self as usize].3
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn bytes(self) -> usize {
        TABLE[self as usize].4
    }

    /// Bytes that so many values take; `None` when they are not whole blocks, or more than an address can count.
    #[must_use]
    pub const fn bytes_of(self, elements: usize) -> Option<usize> {
        if elements.is_multiple_of(self.elements()) {
            (elements / self.elements()).checked_mul(self.bytes())
        } else {
            None
        }
    }

    /// Bits a value takes on average, scales and all.
    #[must_use]
    pub const fn bits(self) -> f64 {
        8.0 * self.bytes() as f64 / self.elements() as f64
    }

    /// Whether [`decode`](super::decode) makes values of it: all but integers and F64, which are not stored in blocks.
    #[must_use]
    pub const fn decodes(self) -> bool {
        !matches!(self, T::F64 | T::I8 | T::I16 | T::I32 | T::I64)
    }

    /// Whether [`encode`](super::encode) can write it.
    #[must_use]
    pub const fn encodes(self) -> bool {
        matches!(
            self,
            T::F32
                | T::F16
                | T::BF16
                | T::Q4_0
                | T::Q4_1
                | T::Q5_0
                | T::Q5_1
                | T::Q8_0
                | T::Q2_K
                | T::Q3_K
                | T::Q4_K
                | T::Q5_K
                | T::Q6_K
                | T::IQ4_NL
                | T::IQ4_XS
                | T::TQ1_0
                | T::TQ2_0
                | T::MXFP4
                | T::NVFP4
        )
    }
}

impl fmt::Display for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_list() {
        for (place, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, place, "{}", row.2);
            assert_eq!((row.0.id(), row.0.name()), (row.1, row.2));
            assert_eq!(format!("{:?}", row.0), row.2);
            assert_eq!(BlockType::from_id(row.1), Some(row.0));
            assert_eq!(BlockType::from_name(&row.2.to_lowercase()), Some(row.0));
        }
        for withdrawn in [4, 5, 31, 32, 33, 36, 37, 38, 43, u32::MAX] {
            assert_eq!(BlockType::from_id(withdrawn), None);
        }
        assert_eq!(BlockType::from_name("Q4_2"), None);
    }

    #[test]
    fn sizes_are_counted_in_whole_blocks() {
        assert_eq!(T::Q4_K.bytes_of(512), Some(288));
        assert_eq!(T::Q4_K.bytes_of(0), Some(0));
        assert_eq!(T::Q4_K.bytes_of(384), None);
        assert_eq!(T::F32.bytes_of(usize::MAX), None);
        assert_eq!((T::Q4_K.bits(), T::IQ1_S.bits(), T::Q8_0.bits()), (4.5, 1.5625, 8.5));
    }
}
