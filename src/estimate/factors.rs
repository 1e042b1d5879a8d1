//! A factorized tensor's bytes: those of its two factors, which lie in `packed` as two matrices and are multiplied back elsewhere.

use super::TensorEstimate;
use super::size::{self, Content, Sizes};
use crate::compress::Task;
use crate::formats::Dtype;
use crate::formats::packed_layout::{Coding, code_bytes};
use crate::kernels::layout::Geometry;
use crate::recipe::{Scheme, Target};

/// What the factors of a tensor come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FactorsEstimate {
    /// Columns of the left one, rows of the right one.
    pub rank: usize,
    /// Elements of each that are not 0.
    pub nonzeros: [u64; 2],
    /// Bytes of both in `packed`, whatever the target.
    pub bytes: u64,
}

/// The shapes of the factors of a matrix.
#[must_use]
pub fn geometries(whole: Geometry, rank: usize) -> [Geometry; 2] {
    [Geometry { rows: whole.rows, cols: rank }, Geometry { rows: rank, cols: whole.cols }]
}

/// The largest rank whose factors have fewer elements than the matrix: r·(m + n) < m·n. 0 where none has.
#[must_use]
pub fn break_even_rank(whole: Geometry) -> usize {
    let Geometry { rows, cols } = whole;
    if whole.is_empty() { 0 } else { (whole.len() - 1) / (rows + cols) }
}

/// How a factor is coded in `packed`, given how many of its elements are not 0.
#[must_use]
pub fn factor_coding(dtype: Dtype, geometry: Geometry, scheme: &Scheme, nonzeros: u64) -> Coding {
    let stored = size::stored_dtype(dtype, scheme);
    Coding::least(String::new(), size::code_of(scheme), stored, geometry.len() as u64, nonzeros)
}

/// Bytes of both factors in `packed`.
#[must_use]
pub fn factor_bytes(dtype: Dtype, whole: Geometry, rank: usize, scheme: &Scheme, nonzeros: [u64; 2]) -> u64 {
    let scheme = Scheme { quantize: scheme.quantize.clone(), ..Scheme::default() };
    let of = |(geometry, nonzeros): (Geometry, u64)| {
        let coding = factor_coding(dtype, geometry, &scheme, nonzeros);
        coding.parts(size::stored_dtype(dtype, &scheme), geometry).len()
    };
    geometries(whole, rank).into_iter().zip(nonzeros).map(of).sum()
}

/// Stored bytes of a factorized tensor: its factors where the target holds them, else every element.
#[must_use]
pub fn stored(dtype: Dtype, whole: Geometry, target: Target, bytes: u64) -> Sizes {
    if target == Target::Packed {
        Sizes { factors: bytes, ..Sizes::default() }
    } else {
        Sizes { values: code_bytes(whole.len() as u64, dtype.bits()), ..Sizes::default() }
    }
}

/// An estimate with the sizes of the factors in place of those of their product. `parts` are their shapes and contents.
pub(super) fn with_factors(
    product: TensorEstimate,
    task: &Task<'_>,
    rank: usize,
    parts: &[(Geometry, Content)],
) -> TensorEstimate {
    let (dtype, whole) = (task.tensor.dtype, task.geometry());
    let scheme = Scheme { quantize: task.scheme.quantize.clone(), ..Scheme::default() };
    let sum = |of: fn(Dtype, Geometry, &Scheme, &Content) -> u64| {
        Some(parts.iter().map(|(geometry, content)| of(dtype, *geometry, &scheme, content)).sum())
    };
    let mut nonzeros = [0; 2];
    nonzeros.iter_mut().zip(parts).for_each(|(count, (_, content))| *count = content.gaps.nonzero());
    let bytes = factor_bytes(dtype, whole, rank, &scheme, nonzeros);
    TensorEstimate {
        sizes: stored(dtype, whole, task.target, bytes),
        sparse_bytes: sum(size::sparse_bytes_of),
        entropy_bytes: sum(size::entropy_bytes_of),
        factors: Some(FactorsEstimate { rank, nonzeros, bytes }),
        ..product
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let whole = Geometry { rows: 300, cols: 784 };
        let bytes = |text: &str| {
            let scheme: Scheme = text.parse().unwrap();
            factor_bytes(Dtype::F32, whole, 20, &scheme, [6000, 15_680])
        };
        assert_eq!(bytes("rank:20"), 4 * 20 * 1084);
        assert_eq!(bytes("rank:20+f16"), 2 * 20 * 1084);
        // Rows of the left factor are those of the matrix, rows of the right one its ranks.
        assert_eq!(bytes("rank:20+int4:row"), 20 * 1084 / 2 + 4 * (300 + 20));
        assert_eq!(bytes("rank:20+int8:g64:asym"), 20 * 1084 + 5 * (300 + 20 * 13));
    }
}
