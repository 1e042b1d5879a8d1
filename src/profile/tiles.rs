//! Small rectangles of a matrix from all over it, for what looks at several rows at once: blocks.
//!
//! Tiles stand on an even grid of places, each as likely as any other, so whatever is counted on them is counted in the
//! proportion that it has in the matrix.

use super::Error;
use crate::control::Control;
use crate::kernels::layout::Geometry;
use crate::model::{Model, Scratch, Tensor};

/// Rows of a tile at most.
pub const TALL: usize = 16;
/// Columns of a tile at most.
pub const WIDE: usize = 64;
/// Tiles taken at most.
pub const MOST: usize = 48;

/// Tiles of a matrix, all of the same size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tiles {
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub cols: usize,
    /// Their values, tile by tile, row by row.
    pub values: Vec<f32>,
}

impl Tiles {
    /// Reads tiles from all over a tensor; fewer than [`MOST`] where it has no more.
    ///
    /// # Errors
    /// When the tensor cannot be read, or the work is cancelled.
    pub fn gather(model: &Model, tensor: &Tensor, control: &Control) -> Result<Self, Error> {
        let geometry = tensor.geometry();
        let mut tiles = Self { rows: geometry.rows.min(TALL), cols: geometry.cols.min(WIDE), values: Vec::new() };
        let (mut values, mut scratch) = (Vec::new(), Scratch::default());
        for place in places(geometry) {
            if control.is_cancelled() {
                return Err(Error::Cancelled);
            }
            for row in 0..tiles.rows {
                let first = place + row * geometry.cols;
                model.values::<f32>(tensor, first..first + tiles.cols, &mut values, &mut scratch)?;
                tiles.values.extend_from_slice(&values);
            }
        }
        Ok(tiles)
    }

    /// The tiles, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact((self.rows * self.cols).max(1))
    }
}

/// Where tiles begin, as flat indices: all whole tiles, or as many as are taken, evenly from top to bottom and each a golden
/// section further to the side than the last, so that they do not stand one below the other.
fn places(geometry: Geometry) -> impl Iterator<Item = usize> {
    let (tall, wide) = (geometry.rows.clamp(1, TALL), geometry.cols.clamp(1, WIDE));
    let (down, across) = (geometry.rows / tall, geometry.cols / wide);
    let all = down * across;
    let of = move |i: usize| {
        let (row, column) = if all <= MOST {
            (i / across, i % across)
        } else {
            let turn = (i as f64 * 0.618_033_988_749_895).fract();
            (i * down / MOST, (turn * across as f64) as usize)
        };
        row * tall * geometry.cols + column * wide
    };
    (0..all.min(MOST)).map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_stand_everywhere_and_inside() {
        for (rows, cols) in [(320, 1000), (16, 64), (3, 5), (1000, 9), (40, 130), (1, 100_000)] {
            let geometry = Geometry { rows, cols };
            let mut found: Vec<usize> = places(geometry).collect();
            assert!(!found.is_empty() && found.len() <= MOST);
            for place in &found {
                assert!(place / cols + rows.min(TALL) <= rows && place % cols + cols.min(WIDE) <= cols);
            }
            let count = found.len();
            found.sort_unstable();
            found.dedup();
            assert_eq!(found.len(), count, "{rows} {cols}");
        }
        let halves = |of: fn(usize) -> bool| places(Geometry { rows: 4096, cols: 4096 }).filter(|&p| of(p)).count();
        let (left, upper) = (halves(|p| p % 4096 < 2048), halves(|p| p / 4096 < 2048));
        assert!((20..=28).contains(&left) && (20..=28).contains(&upper), "{left} {upper}");
        assert_eq!(places(Geometry { rows: 0, cols: 5 }).count(), 0);
    }
}
