//! How one tensor lies inside a `packed` file: forms, parts and their sizes (the byte layout itself is in `PACKED.md`).

use super::Dtype;
pub use super::packed_code::{Code, Numbers, SideBytes, scale_bytes};
use crate::kernels::gaps::BLOCK;
use crate::kernels::layout::Geometry;
use std::ops::Range;

/// The first eight bytes of a `packed` file.
pub const MAGIC: [u8; 8] = *b"\x89SPK\r\n\x1a\n";
/// The newest version, written where something needs it.
pub const VERSION: u32 = 2;
/// Elements that the two factors of a tensor may have: a reader holds them as numbers while it multiplies them.
pub const MOST_FACTORED: usize = 1 << 28;
/// Bytes before the header.
pub const PREFIX: u64 = 24;

/// Which elements have a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Every one.
    Dense,
    /// Those whose bit is set in a mask that precedes the codes.
    Mask,
    /// Those that relative indices lead to.
    Indices(Indices),
}

/// How relative indices are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indices {
    /// Width of an index, 2 to 8.
    pub bits: u32,
    /// Whether they are Huffman coded.
    pub huffman: bool,
    /// Bits that they take in all.
    pub stream: u64,
}

/// How a coded tensor's payload is to be read, and what made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coding {
    /// The scheme that made it, for people.
    pub scheme: String,
    /// What lies in the payload.
    pub stored: Stored,
}

/// What lies in the payload of a coded tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The codes of its elements.
    Codes(Matrix),
    /// Two matrices whose product it is, one after the other.
    Factors(Factors),
}

/// Two coded matrices whose product a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factors {
    /// Columns of the left one, rows of the right one.
    pub rank: usize,
    /// Dtype of their plain elements, or the one that they had before coding.
    pub dtype: Dtype,
    /// How the left and the right one lie.
    pub matrices: [Matrix; 2],
}

impl Stored {
    /// Bytes of the payload of a tensor of this dtype and shape.
    #[must_use]
    pub fn len(&self, dtype: Dtype, geometry: Geometry) -> u64 {
        match self {
            Self::Codes(matrix) => matrix.parts(dtype, geometry).len(),
            Self::Factors(factors) => factors.ranges(geometry)[1].end,
        }
    }

    /// Whether there is no payload.
    #[must_use]
    pub fn is_empty(&self, dtype: Dtype, geometry: Geometry) -> bool {
        self.len(dtype, geometry) == 0
    }

    /// The first version of the format that knows this.
    #[must_use]
    pub fn version(&self) -> u32 {
        match self {
            Self::Codes(matrix) => matrix.version(),
            Self::Factors(_) => 2,
        }
    }
}

impl Factors {
    /// Rows and columns of the left and the right factor of a matrix.
    #[must_use]
    pub fn geometries(&self, whole: Geometry) -> [Geometry; 2] {
        [Geometry { rows: whole.rows, cols: self.rank }, Geometry { rows: self.rank, cols: whole.cols }]
    }

    /// Elements of both; `usize::MAX` when they cannot be counted.
    #[must_use]
    pub fn elements(&self, whole: Geometry) -> usize {
        self.rank.saturating_mul(whole.rows.saturating_add(whole.cols))
    }

    /// Where the two lie, from the payload's start.
    #[must_use]
    pub fn ranges(&self, whole: Geometry) -> [Range<u64>; 2] {
        let [left, right] = self.geometries(whole);
        let [of_left, of_right] = &self.matrices;
        let middle = of_left.parts(self.dtype, left).len();
        [0..middle, middle..middle.saturating_add(of_right.parts(self.dtype, right).len())]
    }
}

/// How the elements of a matrix lie as codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Which elements have a code.
    pub form: Form,
    /// Number of codes.
    pub nonzeros: u64,
    /// What they are.
    pub code: Code,
    /// Bits of the Huffman coded stream; `None` where every code takes its full width.
    pub huffman: Option<u64>,
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
    /// The lengths of the codes' code words, four bits each.
    pub code_table: Range<u64>,
    /// The lengths of the indices' code words.
    pub index_table: Range<u64>,
    /// What each block takes in the streams that follow.
    pub blocks: Range<u64>,
    /// Relative indices.
    pub indices: Range<u64>,
    /// What Huffman coding leaves of wide codes: all their bytes but the last.
    pub rest: Range<u64>,
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

/// Bytes of the table of lengths for symbols of `bits` bits: four bits each.
#[must_use]
pub fn table_bytes(bits: u32) -> u64 {
    (1_u64 << bits).div_ceil(2)
}

impl Matrix {
    /// Codes at their full width: of every element, or of those that a mask shows.
    #[must_use]
    pub fn plain(code: Code, n: u64, nonzeros: u64, masked: bool) -> Self {
        let (form, nonzeros) = if masked { (Form::Mask, nonzeros) } else { (Form::Dense, n) };
        Self { form, nonzeros, code, huffman: None }
    }

    /// Whether this is nothing but the elements as they are.
    #[must_use]
    pub fn is_plain_elements(&self) -> bool {
        self.form == Form::Dense && self.code == Code::Element && self.huffman.is_none()
    }

    /// The relative indices, where there are any.
    #[must_use]
    pub fn indices(&self) -> Option<Indices> {
        if let Form::Indices(indices) = self.form { Some(indices) } else { None }
    }

    /// The first version of the format that knows this.
    #[must_use]
    pub fn version(&self) -> u32 {
        if self.is_blocked() { 2 } else { self.code.version() }
    }

    /// Whether its streams have to be found block by block.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.huffman.is_some() || self.indices().is_some()
    }

    /// Numbers that the table of blocks has for each block.
    #[must_use]
    pub fn block_fields(&self) -> usize {
        let counted = usize::from(self.form != Form::Dense);
        let fields = counted + usize::from(self.indices().is_some()) + usize::from(self.huffman.is_some());
        if self.is_blocked() { fields } else { 0 }
    }

    /// Where the parts of a matrix with this coding lie.
    #[must_use]
    pub fn parts(&self, dtype: Dtype, geometry: Geometry) -> Parts {
        let n = geometry.len() as u64;
        let when = |present: bool, len: u64| if present { len } else { 0 };
        let huffman = self.huffman.is_some();
        let indices = self.indices().unwrap_or(Indices { bits: 0, huffman: false, stream: 0 });
        let side = self.code.side_bytes(dtype, geometry);
        let (symbol, width) = (self.code.symbol_bits(dtype), self.code.width(dtype) as u64);
        let mut at = 0_u64;
        let mut part = |len: u64| {
            let start = at;
            at = at.saturating_add(len);
            start..at
        };
        Parts {
            mask: part(when(self.form == Form::Mask, n.div_ceil(8))),
            scales: part(side.scales),
            zero_points: part(side.zero_points),
            codebooks: part(side.codebooks),
            code_table: part(when(huffman, table_bytes(symbol))),
            index_table: part(when(indices.huffman, table_bytes(indices.bits))),
            blocks: part(n.div_ceil(BLOCK as u64) * 4 * self.block_fields() as u64),
            indices: part(indices.stream.div_ceil(8)),
            rest: part(when(huffman, self.nonzeros.saturating_mul(width - 1))),
            codes: part(
                self.huffman
                    .map_or_else(|| code_bytes(self.nonzeros, self.code.bits(dtype)), |stream| stream.div_ceil(8)),
            ),
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
        let matrix = Matrix::plain(code(false), n, n / 10, true);
        let parts = matrix.parts(Dtype::F32, geometry);
        assert_eq!(parts.mask, 0..29_400);
        assert_eq!(parts.scales.end - parts.scales.start, 1_200);
        assert_eq!(parts.codes.end - parts.codes.start, 11_760);
        assert_eq!(parts.len(), 42_360);
        let asymmetric = Matrix::plain(code(true), n, n / 10, true);
        assert_eq!(asymmetric.parts(Dtype::F32, geometry).len(), 42_660);
    }

    #[test]
    fn parts_of_a_blocked_matrix() {
        let indices = Form::Indices(Indices { bits: 5, huffman: true, stream: 9 });
        let matrix = Matrix { form: indices, nonzeros: 3, code: Code::Element, huffman: Some(17) };
        let parts = matrix.parts(Dtype::F32, Geometry::of(&[2, 40_000]));
        let lengths = [&parts.code_table, &parts.index_table, &parts.blocks, &parts.indices, &parts.rest, &parts.codes];
        assert_eq!(lengths.map(|r| r.end - r.start), [128, 16, 2 * 12, 2, 9, 3]);
        assert_eq!((parts.len(), matrix.version()), (182, 2));
        let narrow = Matrix {
            form: Form::Dense,
            code: Code::Integer { bits: 3, unit: Unit::Tensor, zero_points: false },
            ..matrix
        };
        let parts = narrow.parts(Dtype::F32, Geometry::of(&[2, 40_000]));
        assert_eq!(
            [parts.scales.end, parts.code_table.end, parts.blocks.end, parts.rest.end, parts.len()],
            [4, 8, 16, 16, 19]
        );
    }
}
