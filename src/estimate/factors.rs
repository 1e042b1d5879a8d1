//! A factorized tensor's bytes: those of its two factors, which lie in `packed` as two matrices and are multiplied back elsewhere.

use super::TensorEstimate;
use super::size::{self, Content};
use crate::kernels::layout::Geometry;
use crate::recipe::{Outcome, Scheme, Target};

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

/// The quantize step alone, which is what is done to factors.
#[must_use]
pub fn scheme_of_factors(scheme: &Scheme) -> Scheme {
    Scheme { quantize: scheme.quantize.clone(), ..Scheme::default() }
}

/// Bytes of both factors in `packed`.
#[must_use]
pub fn bytes(of: Outcome<'_>, rank: usize, nonzeros: [u64; 2]) -> u64 {
    let scheme = scheme_of_factors(of.scheme);
    let one = |(shape, nonzeros): ([usize; 2], u64)| {
        let factor = Outcome { tensor: of.tensor, scheme: &scheme, shape: &shape, cut: true };
        size::stored(factor, Target::Packed, nonzeros).total()
    };
    shapes(of, rank).into_iter().zip(nonzeros).map(one).sum()
}

/// An estimate with the sizes of the factors in place of those of their product. `parts` is what each of them holds.
pub(super) fn with_factors(
    product: TensorEstimate,
    of: Outcome<'_>,
    rank: usize,
    parts: [Content; 2],
) -> TensorEstimate {
    let scheme = scheme_of_factors(of.scheme);
    let sum = |bound: fn(Outcome<'_>, &Content) -> u64| {
        let one = |(shape, content): (&[usize; 2], &Content)| {
            bound(Outcome { tensor: of.tensor, scheme: &scheme, shape, cut: true }, content)
        };
        Some(shapes(of, rank).iter().zip(&parts).map(one).sum())
    };
    let nonzeros = parts.map(|content| content.gaps.nonzero());
    let bytes = bytes(of, rank, nonzeros);
    TensorEstimate {
        sparse_bytes: sum(size::sparse_bytes),
        entropy_bytes: sum(size::entropy_bytes),
        factors: Some(FactorsEstimate { rank, nonzeros, bytes }),
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
            bytes(Outcome::whole(tensor, &scheme), 20, [6000, 15_680])
        };
        assert_eq!(counted("rank:20"), 4 * 20 * 1084);
        assert_eq!(counted("rank:20+f16"), 2 * 20 * 1084);
        // Rows of the left factor are those of the matrix, rows of the right one its ranks.
        assert_eq!(counted("rank:20+int4:row"), 20 * 1084 / 2 + 4 * (300 + 20));
        assert_eq!(counted("rank:20+int8:g64:asym"), 20 * 1084 + 5 * (300 + 20 * 13));
    }
}
