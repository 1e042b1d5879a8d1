//! A factorized tensor's bytes: those of its two factors, which lie in `packed` as two matrices and are multiplied back elsewhere.

use super::TensorEstimate;
use super::packing::Packing;
use super::size::{self, Content, Sizes};
use crate::formats::Dtype;
use crate::formats::packed_layout::{Factors, Stored, code_bytes};
use crate::kernels::layout::Geometry;
use crate::recipe::{Factorize, Outcome, Scheme, Target};

/// What the factors of a tensor come to.
#[derive(Clone, Debug, PartialEq)]
pub struct FactorsEstimate {
    /// Columns of the left one, rows of the right one.
    pub rank: usize,
    /// Dtype of their plain elements, or the one that they had before they were coded.
    pub dtype: Dtype,
    /// How each of them lies in `packed`.
    pub packings: [Packing; 2],
    /// Bytes of both in `packed`, whatever the target.
    pub bytes: u64,
}

impl FactorsEstimate {
    /// The same as `packed` lists it.
    #[must_use]
    pub fn stored(&self) -> Stored {
        let [left, right] = &self.packings;
        Stored::Factors(Factors { rank: self.rank, dtype: self.dtype, matrices: [left.matrix, right.matrix] })
    }
}

/// The largest rank whose factors have fewer elements than the matrix: r·(m + n) < m·n. 0 where none has.
#[must_use]
pub fn break_even_rank(whole: Geometry) -> usize {
    let Geometry { rows, cols } = whole;
    if whole.is_empty() { 0 } else { (whole.len() - 1) / (rows + cols) }
}

/// What is stored of each factor of a tensor, given their rank: matrices that only a quantize step is applied to.
#[must_use]
pub fn shapes(of: Outcome<'_>, rank: usize) -> [[usize; 2]; 2] {
    let Geometry { rows, cols } = of.geometry();
    [[rows, rank], [rank, cols]]
}

/// What comes of one factor of a tensor.
fn factor<'a>(of: Outcome<'a>, scheme: &'a Scheme, shape: &'a [usize; 2]) -> Outcome<'a> {
    Outcome { tensor: of.tensor, scheme, shape, cut: true, zeroed: false, left_out: false }
}

/// Bytes of both factors in `packed`; without packings those of every element at its full width.
#[must_use]
pub fn bytes(of: Outcome<'_>, rank: usize, packings: Option<&[Packing; 2]>) -> u64 {
    let scheme = of.scheme.of_factors();
    let one = |(at, shape): (usize, &[usize; 2])| {
        size::stored(factor(of, &scheme, shape), Target::Packed, packings.map(|both| &both[at])).total()
    };
    shapes(of, rank).iter().enumerate().map(one).sum()
}

/// Stored bytes of a factorized tensor: its factors where the target holds them, else every element of their product.
#[must_use]
pub fn stored(of: Outcome<'_>, target: Target, bytes: u64) -> Sizes {
    if target.is_dense() {
        Sizes { values: code_bytes(of.elements(), of.tensor.dtype.bits()), ..Sizes::default() }
    } else {
        Sizes { factors: bytes, ..Sizes::default() }
    }
}

/// Stored bytes of a factorized tensor at most, when nothing was read: an energy may need every rank. `None` for any other.
#[must_use]
pub fn foreseen(of: Outcome<'_>, target: Target) -> Option<Sizes> {
    let Geometry { rows, cols } = of.geometry();
    let most = rows.min(cols);
    let rank = match of.scheme.factorize? {
        Factorize::Rank(rank) => usize::try_from(rank).map_or(most, |rank| rank.min(most)),
        Factorize::Energy(_) => most,
    };
    Some(stored(of, target, bytes(of, rank, None)))
}

/// An estimate with the sizes of the factors in place of those of their product. `parts` is what each of them holds, and how
/// it lies in `packed`.
pub(super) fn with_factors(
    product: TensorEstimate,
    of: Outcome<'_>,
    target: Target,
    rank: usize,
    parts: [(Content, Packing); 2],
) -> TensorEstimate {
    let scheme = of.scheme.of_factors();
    let sum = |bound: fn(Outcome<'_>, &Content) -> u64| {
        let one =
            |(shape, (content, _)): (&[usize; 2], &(Content, Packing))| bound(factor(of, &scheme, shape), content);
        Some(shapes(of, rank).iter().zip(&parts).map(one).sum())
    };
    let (sparse_bytes, entropy_bytes) = (sum(size::sparse_bytes), sum(size::entropy_bytes));
    let packings = parts.map(|(_, packing)| packing);
    let bytes = bytes(of, rank, Some(&packings));
    TensorEstimate {
        sizes: stored(of, target, bytes),
        packing: None,
        sparse_bytes,
        entropy_bytes,
        factors: Some(FactorsEstimate { rank, dtype: size::stored_dtype(of.tensor.dtype, &scheme), packings, bytes }),
        ..product
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OpenOptions, open};
    use std::path::Path;

    #[test]
    fn factors_pay_below_the_break_even_rank() {
        for (rows, cols, rank) in [(300, 784, 216), (1, 9, 0), (2, 2, 0), (3, 3, 1), (64, 9, 7), (0, 4, 0)] {
            let whole = Geometry { rows, cols };
            assert_eq!(break_even_rank(whole), rank, "{rows} {cols}");
            assert!(rank == 0 || rank * (rows + cols) < rows * cols);
            assert!(whole.is_empty() || (rank + 1) * (rows + cols) >= rows * cols);
        }
    }

    #[test]
    fn bytes_are_those_of_the_two() {
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        let tensor = &model.tensors[model.find("fc1.weight").unwrap()];
        let counted = |text: &str| {
            let scheme: Scheme = text.parse().unwrap();
            bytes(Outcome::whole(tensor, &scheme), 20, None)
        };
        assert_eq!(counted("rank:20"), 4 * 20 * 1084);
        assert_eq!(counted("rank:20+f16"), 2 * 20 * 1084);
        // Rows of the left factor are those of the matrix, rows of the right one its ranks.
        assert_eq!(counted("rank:20+int4:row"), 20 * 1084 / 2 + 4 * (300 + 20));
        assert_eq!(counted("rank:20+int8:g64:asym"), 20 * 1084 + 5 * (300 + 20 * 13));
    }
}
