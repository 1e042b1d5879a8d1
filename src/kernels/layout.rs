//! Rows, groups and chunks: how a tensor of any shape is cut, always in the same places.
//!
//! ```text
//! [64, 1, 3, 3]  ─►  64 rows of 9      dimension 0 × the rest; 0-d and 1-D tensors are one row
//! a unit          ─►  whole tensor | one row | 32, 64, 128 along a row, the last may be short
//! a chunk         ─►  some whole rows, or 65,536 elements of one row
//! ```
//!
//! A chunk never splits a group, and its borders depend on the shape alone: sums taken chunk by chunk are the same for
//! any number of threads.

use std::ops::Range;

/// Most elements in a chunk. A multiple of every group size, small enough for the second-level cache.
pub const CHUNK: usize = 1 << 16;

/// A tensor seen as a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Dimension 0; 1 for 0-d and 1-D tensors.
    pub rows: usize,
    /// Product of the other dimensions.
    pub cols: usize,
}

/// Elements that share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// The whole tensor.
    Tensor,
    /// One index of dimension 0.
    Row,
    /// This many along a row, cut from the left.
    Group(usize),
}

impl Geometry {
    /// The matrix of a shape.
    #[must_use]
    pub fn of(shape: &[usize]) -> Self {
        match shape {
            [] => Self { rows: 1, cols: 1 },
            [n] => Self { rows: 1, cols: *n },
            // More columns than can be counted stand beside 0 rows only, or the shape would have been refused.
            [rows, rest @ ..] => Self { rows: *rows, cols: rest.iter().fold(1, |n, &d| n.saturating_mul(d)) },
        }
    }

    /// Elements.
    #[must_use]
    pub fn len(self) -> usize {
        self.rows * self.cols
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The chunks in order, as flat element ranges.
    #[must_use]
    pub fn chunks(self) -> Vec<Range<usize>> {
        let n = self.len();
        if n == 0 {
            return Vec::new();
        }
        if self.cols <= CHUNK {
            let step = (CHUNK / self.cols).max(1) * self.cols;
            return (0..n).step_by(step).map(|start| start..(start + step).min(n)).collect();
        }
        let of_row = |row: usize| {
            let (first, end) = (row * self.cols, (row + 1) * self.cols);
            (first..end).step_by(CHUNK).map(move |start| start..(start + CHUNK).min(end))
        };
        (0..self.rows).flat_map(of_row).collect()
    }

    /// Whether every unit lies within one chunk.
    #[must_use]
    pub fn units_within_chunks(self, unit: Unit) -> bool {
        match unit {
            Unit::Tensor => self.rows * self.cols <= CHUNK && (self.cols == 0 || self.rows <= CHUNK / self.cols),
            Unit::Row => self.cols <= CHUNK,
            Unit::Group(_) => true,
        }
    }
}

impl Unit {
    /// How many units a tensor has; none when it is empty.
    #[must_use]
    pub fn count(self, geometry: Geometry) -> usize {
        match self {
            _ if geometry.is_empty() => 0,
            Self::Tensor => 1,
            Self::Row => geometry.rows,
            Self::Group(g) => geometry.rows * geometry.cols.div_ceil(g),
        }
    }

    /// The unit that element `index` (flat) belongs to.
    #[must_use]
    pub fn index_of(self, geometry: Geometry, index: usize) -> usize {
        match self {
            Self::Tensor => 0,
            Self::Row => index / geometry.cols,
            Self::Group(g) => (index / geometry.cols) * geometry.cols.div_ceil(g) + (index % geometry.cols) / g,
        }
    }

    /// The pieces of units inside a chunk, in order: each unit's index and the flat range of its elements there.
    pub fn pieces(self, geometry: Geometry, chunk: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut at = chunk.start;
        std::iter::from_fn(move || {
            (at < chunk.end).then(|| {
                let row_end = (at / geometry.cols + 1) * geometry.cols;
                let end = match self {
                    Self::Tensor => chunk.end,
                    Self::Row => row_end,
                    Self::Group(g) => {
                        let in_row = at % geometry.cols;
                        (at + g - in_row % g).min(row_end)
                    }
                };
                let piece = at..end.min(chunk.end);
                at = piece.end;
                (self.index_of(geometry, piece.start), piece)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_become_matrices() {
        assert_eq!(Geometry::of(&[]), Geometry { rows: 1, cols: 1 });
        assert_eq!(Geometry::of(&[7]), Geometry { rows: 1, cols: 7 });
        assert_eq!(Geometry::of(&[64, 1, 3, 3]), Geometry { rows: 64, cols: 9 });
        assert!(Geometry::of(&[3, 0]).is_empty() && Geometry::of(&[3, 0]).chunks().is_empty());
        assert_eq!(Unit::Group(128).count(Geometry::of(&[10, 130])), 20);
        assert_eq!(Unit::Row.count(Geometry::of(&[0, 4])), 0);
        assert_eq!(Geometry::of(&[0, 1 << 40, 1 << 40]), Geometry { rows: 0, cols: usize::MAX });
    }

    #[test]
    fn chunks_and_pieces_tile_the_tensor_and_keep_groups_whole() {
        for shape in [vec![1], vec![300, 784], vec![5, 130], vec![2, 200_000], vec![140_000], vec![70_000, 1]] {
            let geometry = Geometry::of(&shape);
            let chunks = geometry.chunks();
            assert!(chunks.windows(2).all(|w| w[0].end == w[1].start));
            assert_eq!((chunks[0].start, chunks[chunks.len() - 1].end), (0, geometry.len()));
            for unit in [Unit::Tensor, Unit::Row, Unit::Group(32), Unit::Group(128)] {
                let mut sizes = vec![0; unit.count(geometry)];
                let mut visits = vec![0; unit.count(geometry)];
                for chunk in &chunks {
                    let mut at = chunk.start;
                    for (index, piece) in unit.pieces(geometry, chunk.clone()) {
                        assert_eq!(piece.start, at);
                        at = piece.end;
                        sizes[index] += piece.len();
                        visits[index] += 1;
                    }
                    assert_eq!(at, chunk.end);
                }
                assert_eq!(sizes.iter().sum::<usize>(), geometry.len());
                assert_eq!(geometry.units_within_chunks(unit), visits.iter().all(|&v| v == 1), "{shape:?} {unit:?}");
            }
        }
    }
}
