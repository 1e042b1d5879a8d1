//! Products of f64 matrices, blocked for the caches and parallel over rows, each element one sum in ascending order.
//!
//! ```text
//! out[i, j] += Σ_k a[i, k] · b[k, j]        k from 0 upwards, one rounding per product and one per sum
//! ```
//!
//! The blocking is that of Goto and van de Geijn (2008): `b` is packed once, a block of `a` per thread, and a tile
//! of `out` stays in registers. Whatever the tile, the thread or the instruction set, an element is added to in the order
//! above, so every machine gives the same bits; where both factors are f32 numbers the products are exact, and a plain loop
//! in any language gives them too.

use crate::kernels::dispatch::{Kernel, Level};
use rayon::prelude::*;
use std::ops::Range;

/// Length of the sums that are taken at a time.
const DEPTH: usize = 256;
/// Rows of a tile: with the width of a level, as many sums as its registers hold.
const H: usize = 4;
/// Rows of `out` that one thread works on at a time. A multiple of [`H`].
const BLOCK: usize = 64;

/// A matrix that somebody else holds: element (i, j) is `data[i * row_step + j * col_step]`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    data: &'a [f64],
    rows: usize,
    cols: usize,
    row_step: usize,
    col_step: usize,
}

impl<'a> View<'a> {
    /// A matrix of `cols` columns that lies row after row, `step` elements from one row to the next.
    #[must_use]
    pub fn new(data: &'a [f64], rows: usize, cols: usize, step: usize) -> Self {
        debug_assert!(rows == 0 || cols == 0 || (rows - 1) * step + cols <= data.len());
        Self { data, rows, cols, row_step: step, col_step: 1 }
    }

    /// The same elements, mirrored at the diagonal.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_step: self.col_step, col_step: self.row_step, ..self }
    }

    #[inline(always)]
    fn at(&self, row: usize, col: usize) -> f64 {
        self.data[row * self.row_step + col * self.col_step]
    }
}

/// Which elements of the result are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of them.
    All,
    /// Those on and below the diagonal of a symmetric result; what comes to stand above it is of no use.
    Lower,
}

/// out += a · b, where `out` lies row after row, `step` elements apart.
///
/// # Panics
/// When the shapes do not fit each other.
pub fn add_product(a: View<'_>, b: View<'_>, out: &mut [f64], step: usize, wanted: Wanted) {
    assert_eq!(a.cols, b.rows, "the inner sides of a product");
    if a.rows == 0 || b.cols == 0 || a.cols == 0 {
        return;
    }
    assert!((a.rows - 1) * step + b.cols <= out.len(), "room for the product");
    let packed = Packed::of(b);
    let one = |(block, out): (usize, &mut [f64])| {
        let first = block * BLOCK;
        let rows = first..(first + BLOCK).min(a.rows);
        let cols = if wanted == Wanted::Lower { 0..rows.end.min(b.cols) } else { 0..b.cols };
        packed.add_rows(a, rows, cols, out, step);
    };
    out.par_chunks_mut(BLOCK * step).take(a.rows.div_ceil(BLOCK)).enumerate().for_each(one);
}

/// The right side of products, laid out once so that many rows can be multiplied by it.
#[derive(Clone, Debug)]
pub struct Packed {
    /// For every [`DEPTH`] rows the panels of all columns, each row after row; what sticks out is zero.
    panels: Vec<f64>,
    level: Level,
    rows: usize,
    cols: usize,
}

impl Packed {
    /// Lays out a matrix: 8 bytes an element.
    #[must_use]
    pub fn of(b: View<'_>) -> Self {
        Self::at(b, Level::best())
    }

    fn at(b: View<'_>, level: Level) -> Self {
        let width = tile_width(level);
        let across = b.cols.div_ceil(width) * width;
        let mut panels = vec![0.0; across * b.rows];
        for (at, part) in panels.chunks_mut((across * DEPTH).max(1)).enumerate() {
            let rows = at * DEPTH..(at * DEPTH + DEPTH).min(b.rows);
            let panel = |(panel, out): (usize, &mut [f64])| {
                let first = panel * width;
                let inside = width.min(b.cols - first);
                for (row, out) in rows.clone().zip(out.chunks_exact_mut(width)) {
                    if b.col_step == 1 {
                        let start = row * b.row_step + first;
                        out[..inside].copy_from_slice(&b.data[start..start + inside]);
                    } else {
                        out[..inside].iter_mut().enumerate().for_each(|(j, x)| *x = b.at(row, first + j));
                    }
                }
            };
            part.par_chunks_mut(width * rows.len()).enumerate().for_each(panel);
        }
        Self { panels, level, rows: b.rows, cols: b.cols }
    }

    /// out += some rows of `a` times this, of which only some columns are wanted: the first of them at the beginning of
    /// `out`, rows `step` elements apart. Columns begin at a multiple of 16. On this thread alone.
    pub fn add_rows(&self, a: View<'_>, rows: Range<usize>, cols: Range<usize>, out: &mut [f64], step: usize) {
        let width = tile_width(self.level);
        debug_assert!(cols.start.is_multiple_of(width) && cols.end <= self.cols);
        let across = self.cols.div_ceil(width) * width;
        for depth in (0..self.rows).step_by(DEPTH) {
            let k = depth..(depth + DEPTH).min(self.rows);
            let part = &self.panels[depth * across..k.end * across];
            let panels = &part[cols.start * k.len()..cols.end.div_ceil(width) * width * k.len()];
            let place = Place { columns: cols.len(), step };
            for first in rows.clone().step_by(BLOCK) {
                let block = first..(first + BLOCK).min(rows.end);
                let out = &mut out[(first - rows.start) * step..];
                run_block(self.level, pack_block(a, block.clone(), k.clone()), block.len(), panels, out, place);
            }
        }
    }
}

/// Two matrices that stand for their product.
#[derive(Debug)]
pub struct Pair {
    left: Vec<f64>,
    right: Packed,
    rows: usize,
}

impl Pair {
    /// A left factor of `rank` columns and a right one of `rank` rows, each row after row.
    ///
    /// # Panics
    /// When their elements are not as many.
    #[must_use]
    pub fn new(left: Vec<f64>, right: &[f64], rank: usize) -> Self {
        let (rows, cols) = (left.len() / rank.max(1), right.len() / rank.max(1));
        assert!(left.len() == rows * rank && right.len() == rank * cols, "the elements of two factors of rank {rank}");
        Self { left, right: Packed::of(View::new(right, rank, cols, cols)), rows }
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        8 * (self.left.len() + self.right.panels.len())
    }

    /// Elements `range` of the product, row after row: Σ left·right over the rank ascending.
    #[must_use]
    pub fn values(&self, range: Range<usize>) -> Vec<f64> {
        let (rank, cols) = (self.right.rows, self.right.cols);
        let left = View::new(&self.left, self.rows, rank, rank);
        let mut out = vec![0.0; range.len()];
        let mut at = range.start;
        while at < range.end {
            let (row, col) = (at / cols, at % cols);
            let here = &mut out[at - range.start..];
            if col == 0 && range.end - at >= cols {
                let rows = row..row + (range.end - at) / cols;
                at += rows.len() * cols;
                self.right.add_rows(left, rows, 0..cols, here, cols);
            } else {
                let end = cols.min(col + range.end - at);
                // Columns begin where a tile does: what stands before is left out afterwards.
                let first = col / 16 * 16;
                let mut stretch = vec![0.0; end - first];
                self.right.add_rows(left, row..row + 1, first..end, &mut stretch, end - first);
                here[..end - col].copy_from_slice(&stretch[col - first..]);
                at += end - col;
            }
        }
        out
    }
}

/// How the wanted columns lie in a result.
#[derive(Clone, Copy)]
struct Place {
    columns: usize,
    step: usize,
}

/// Columns of a tile at a level.
const fn tile_width(level: Level) -> usize {
    match level {
        Level::Portable => 4,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 8,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => 16,
    }
}

/// Panels of H rows of `a`, each column after column; what sticks out is zero.
fn pack_block(a: View<'_>, rows: Range<usize>, k: Range<usize>) -> Vec<f64> {
    let mut packed = vec![0.0; rows.len().div_ceil(H) * H * k.len()];
    for (panel, out) in packed.chunks_exact_mut(H * k.len()).enumerate() {
        let first = rows.start + panel * H;
        let inside = H.min(rows.end - first);
        for (col, out) in k.clone().zip(out.chunks_exact_mut(H)) {
            out[..inside].iter_mut().enumerate().for_each(|(i, x)| *x = a.at(first + i, col));
        }
    }
    packed
}

fn run_block(level: Level, a: Vec<f64>, rows: usize, b: &[f64], out: &mut [f64], place: Place) {
    match level {
        Level::Portable => level.run(Block::<4> { a, rows, b, out, place }),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => level.run(Block::<8> { a, rows, b, out, place }),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => level.run(Block::<16> { a, rows, b, out, place }),
    }
}

/// Some rows of `out` and what is added to them.
struct Block<'a, const W: usize> {
    a: Vec<f64>,
    rows: usize,
    b: &'a [f64],
    out: &'a mut [f64],
    place: Place,
}

impl<const W: usize> Kernel for Block<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Place { columns, step } = self.place;
        let depth = self.a.len() / (self.rows.div_ceil(H) * H);
        for (at, b) in self.b.chunks_exact(W * depth).enumerate() {
            let columns = W.min(columns - at * W);
            for (block, a) in self.a.chunks_exact(H * depth).enumerate() {
                let rows = H.min(self.rows - block * H);
                let start = block * H * step + at * W;
                let mut tile = [[0.0_f64; W]; H];
                for (i, tile) in tile.iter_mut().enumerate().take(rows) {
                    let place = start + i * step;
                    tile[..columns].copy_from_slice(&self.out[place..place + columns]);
                }
                add_to_tile(a.as_chunks::<H>().0, b.as_chunks::<W>().0, &mut tile);
                for (i, tile) in tile.iter().enumerate().take(rows) {
                    let place = start + i * step;
                    self.out[place..place + columns].copy_from_slice(&tile[..columns]);
                }
            }
        }
    }
}

#[inline(always)]
fn add_to_tile<const W: usize>(a: &[[f64; H]], b: &[[f64; W]], tile: &mut [[f64; W]; H]) {
    // A copy that nobody else can see stays in registers.
    let mut sums = *tile;
    for (a, b) in a.iter().zip(b) {
        for i in 0..H {
            for j in 0..W {
                sums[i][j] += a[i] * b[j];
            }
        }
    }
    *tile = sums;
}

/// Lanes of [`dot`].
const LANES: usize = 8;

/// Σ a·b in eight lanes, added in order.
#[inline(always)]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [[0.0_f64; LANES]; 2];
    let (wide_a, rest_a) = a.as_chunks::<LANES>();
    let (wide_b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in wide_a.chunks(2).zip(wide_b.chunks(2)) {
        for ((a, b), sums) in a.iter().zip(b).zip(&mut sums) {
            for lane in 0..LANES {
                sums[lane] += a[lane] * b[lane];
            }
        }
    }
    let rest: f64 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    let [first, second] = sums;
    first.iter().sum::<f64>() + second.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::svd::tests::noise;

    fn specification(a: View<'_>, b: View<'_>, out: &mut [f64], step: usize) {
        for i in 0..a.rows {
            for j in 0..b.cols {
                for k in 0..a.cols {
                    out[i * step + j] += a.at(i, k) * b.at(k, j);
                }
            }
        }
    }

    #[test]
    fn every_shape_and_tail_is_the_plain_sum_to_the_bit() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (8, 16, 16), (65, 257, 33), (17, 300, 1030), (130, 3, 7), (2, 1, 4)] {
            let (a, b) = (noise(m * k, 1), noise(k * n, 2));
            let (at, bt) = (noise(m * k, 3), noise(k * n, 4));
            let views = [
                (View::new(&a, m, k, k), View::new(&b, k, n, n)),
                (View::new(&at, k, m, m).transposed(), View::new(&bt, n, k, k).transposed()),
            ];
            for (a, b) in views {
                let mut expected = noise(m * (n + 3), 5);
                let mut found = expected.clone();
                specification(a, b, &mut expected, n + 3);
                add_product(a, b, &mut found, n + 3, Wanted::All);
                assert_eq!(found, expected, "{m} {k} {n}");
            }
        }
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let (m, k, n) = (77, 570, 29);
        let (a, b) = (noise(m * k, 1), noise(k * n, 2));
        let (a, b) = (View::new(&a, m, k, k), View::new(&b, k, n, n));
        let mut expected = vec![0.0; m * n];
        specification(a, b, &mut expected, n);
        for level in Level::all() {
            let mut found = vec![0.0; m * n];
            Packed::at(b, level).add_rows(a, 0..m, 0..n, &mut found, n);
            assert_eq!(found, expected, "{}", level.name());
        }
    }

    #[test]
    fn some_rows_and_columns_are_those_of_the_whole() {
        let (m, k, n) = (9, 300, 50);
        let (a, b) = (noise(m * k, 1), noise(k * n, 2));
        let (a, b) = (View::new(&a, m, k, k), View::new(&b, k, n, n));
        let mut whole = vec![0.0; m * n];
        add_product(a, b, &mut whole, n, Wanted::All);
        let packed = Packed::of(b);
        for (rows, cols) in [(0..9, 0..50), (3..4, 16..33), (8..9, 48..50), (2..7, 32..50), (4..4, 0..16)] {
            let mut some = vec![0.0; rows.len() * cols.len()];
            packed.add_rows(a, rows.clone(), cols.clone(), &mut some, cols.len());
            let expected: Vec<f64> = rows.flat_map(|i| whole[i * n..][cols.clone()].to_vec()).collect();
            assert_eq!(some, expected);
        }
    }

    #[test]
    fn any_range_of_a_product_is_a_part_of_it() {
        let (m, k, n) = (7, 11, 45);
        let (left, right) = (noise(m * k, 1), noise(k * n, 2));
        let mut whole = vec![0.0; m * n];
        add_product(View::new(&left, m, k, k), View::new(&right, k, n, n), &mut whole, n, Wanted::All);
        let pair = Pair::new(left, &right, k);
        for range in [0..m * n, 0..n, 3..4, n - 1..n + 1, 20..2 * n, 100..m * n - 1, 5..5, 2 * n..5 * n + 17] {
            assert_eq!(pair.values(range.clone()), whole[range]);
        }
    }

    #[test]
    fn half_of_a_symmetric_product_is_the_lower_half() {
        let a = noise(1200 * 40, 7);
        let a = View::new(&a, 1200, 40, 40);
        let (mut all, mut half) = (vec![0.0; 1200 * 1200], vec![0.0; 1200 * 1200]);
        add_product(a, a.transposed(), &mut all, 1200, Wanted::All);
        add_product(a, a.transposed(), &mut half, 1200, Wanted::Lower);
        for i in 0..1200 {
            assert_eq!(half[i * 1200..=i * 1201], all[i * 1200..=i * 1201]);
        }
    }
}
