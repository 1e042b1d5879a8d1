//! Singular values and vectors of a matrix of any size that is read piece by piece: the best low rank there is.
//!
//! ```text
//! W (m × n) ─► G = WᵀW or W Wᵀ, over the shorter side ─► eigenvectors ─► U√S = W V / √s,  √S Vᵀ
//! ```
//!
//! W is never held: two passes read it, one for G and one for the factor of the longer side. Up to [`ALL`] rows and columns G
//! is taken apart in full ([`symmetric`]); above that, and for ranks that are small beside it, only the leading vectors are
//! sought ([`subspace`]). The truncated product is the closest matrix of its rank (Eckart and Young 1936); split as U√S · √S Vᵀ
//! it is the spectral initialisation of factorized layers (Khodak, Tenenholtz, Mackey and Fusi, ICLR 2021).
//!
//! Accuracy: with ε = 2⁻⁵², eigenvalues of G are off by some ε·s₁², so singular values by some ε·s₁²/s, 1e-8·s₁ at worst,
//! where they are smaller than that. A factor's own values are measured again on W, as ‖W v‖. The product W V Vᵀ does not
//! suffer: V is orthogonal to 1e-14, whatever the gaps.
//!
//! Memory: 8 bytes × side² × 3 while G is taken apart, where side is the shorter one, [`LONGEST`] at most; the passes take
//! a band of [`BAND`] elements.
//!
//! | file | what it settles |
//! |---|---|
//! | this | a decomposition, its spectrum, its factors |
//! | `shelf` | decompositions that are kept for the next question |
//! | [`product`] | products of matrices, in one order of summation |
//! | [`symmetric`] | all eigenvectors |
//! | [`subspace`] | the leading ones |

pub mod product;
mod shelf;
pub mod subspace;
pub mod symmetric;

pub use shelf::Shelf;

use product::{View, Wanted, add_product};
use rayon::prelude::*;
use std::ops::Range;

/// Up to this side all vectors are found.
pub const ALL: usize = 1536;
/// Beyond [`ALL`], at least the side over this many vectors are found by taking all apart rather than by iteration.
const FEW: usize = 6;
/// The longest shorter side that is taken: G is then 2 GiB.
pub const LONGEST: usize = 16_384;
/// Elements of W that are at hand at a time.
pub const BAND: usize = 1 << 21;

/// A matrix that can be read piece by piece.
pub trait Matrix: Sync {
    /// Why it could not be read, or is not wanted any more.
    type Error: Send;
    /// Rows.
    fn rows(&self) -> usize;
    /// Columns.
    fn cols(&self) -> usize;
    /// Whether squares of its elements may leave the range of f64.
    fn is_wide(&self) -> bool;
    /// Fills `out` with the elements of some rows and columns, row after row.
    fn read(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f64]) -> Result<(), Self::Error>;
    /// Whether to go on.
    fn check(&self) -> Result<(), Self::Error>;
}

/// Singular values and the vectors of the shorter side.
#[derive(Clone, Debug)]
pub struct Svd {
    /// Singular values times `scale`, greatest first: all min(m, n) of them, or those of the vectors that were found.
    values: Vec<f64>,
    /// Σ(w · scale)², which is Σs² over all singular values.
    energy: f64,
    /// A power of 4 that keeps squares in range.
    scale: f64,
    /// How many vectors there are.
    found: usize,
    /// Vectors of the shorter side, row after row.
    vectors: Vec<f64>,
}

/// The two factors of a product, row after row.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// U√S, rows × rank.
    pub left: Vec<f64>,
    /// √S Vᵀ, rank × columns.
    pub right: Vec<f64>,
}

/// How many vectors a decomposition for a given rank will hold: all where they come for nothing.
#[must_use]
fn vectors_for(side: usize, rank: usize) -> usize {
    if side <= ALL || rank.saturating_mul(FEW) >= side { side } else { rank }
}

impl Svd {
    /// Takes a matrix apart, far enough for products of `rank` (0: the singular values alone, all of them).
    ///
    /// # Errors
    /// Those of the matrix.
    ///
    /// # Panics
    /// When the shorter side is longer than [`LONGEST`], or shorter than `rank`.
    pub fn of<M: Matrix>(matrix: &M, rank: usize) -> Result<Self, M::Error> {
        let side = matrix.rows().min(matrix.cols());
        assert!(rank <= side && side <= LONGEST, "rank {rank} of a matrix whose shorter side is {side}");
        let scale = if matrix.is_wide() { scale_of(peak(matrix)?) } else { 1.0 };
        let gram = gram(matrix, scale)?;
        let energy: f64 = (0..side).map(|i| gram[i * side + i]).sum();
        let check = || matrix.check();
        let wanted = if rank == 0 { 0 } else { vectors_for(side, rank) };
        let eigen = if rank == 0 || wanted == side {
            symmetric::eigen(gram, side, wanted, &check)?
        } else {
            subspace::leading(&gram, side, rank, energy, &check)?
        };
        let values = eigen.values.iter().map(|value| value.max(0.0).sqrt()).collect();
        Ok(Self { values, energy, scale, found: wanted, vectors: eigen.vectors })
    }

    /// The singular values that are known, greatest first.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f64> {
        self.values.iter().map(|value| value / self.scale)
    }

    /// How many vectors are known: the greatest rank that has factors.
    #[must_use]
    pub fn found(&self) -> usize {
        self.found
    }

    /// Σs² over the first `rank` singular values, as a share of all. 1 for a matrix of zeros.
    #[must_use]
    pub fn kept(&self, rank: usize) -> f64 {
        let held: f64 = self.values.iter().take(rank).map(|s| s * s).sum();
        if self.energy > 0.0 { (held / self.energy).min(1.0) } else { 1.0 }
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        8 * (self.values.len() + self.vectors.len())
    }

    /// The least rank ≥ 1 whose singular values hold `share` of the energy of those that are known.
    #[must_use]
    pub fn rank_of_energy(&self, share: f64) -> usize {
        let squares = || self.values.iter().map(|s| s * s);
        let wanted = share * squares().sum::<f64>();
        let mut sum = 0.0;
        let reached = squares().position(|square| {
            sum += square;
            sum >= wanted
        });
        reached.map_or(self.values.len(), |at| at + 1).max(1)
    }

    /// The factors of the best product of `rank`, each column of U signed so that its largest element is positive.
    ///
    /// # Errors
    /// Those of the matrix.
    ///
    /// # Panics
    /// When more vectors are wanted than were found.
    pub fn factors<M: Matrix>(&self, matrix: &M, rank: usize) -> Result<Factors, M::Error> {
        assert!(rank <= self.found, "rank {rank}, {} vectors", self.found);
        let (rows, cols) = (matrix.rows(), matrix.cols());
        let short: Vec<f64> = self.vectors.chunks_exact(self.found.max(1)).flat_map(|v| &v[..rank]).copied().collect();
        // W v for the longer side: its length is s, to the last digit.
        let mut long = images(matrix, &short, rank, self.scale)?;
        let lengths = lengths(&long, rank);
        let (mut short, tall) = (short, rows >= cols);
        // Each factor takes one half of the scale back: an exact division.
        let half = self.scale.sqrt();
        for column in 0..rank {
            let u = if tall { &long } else { &short };
            let sign = sign_of_largest(&u[column..], rank);
            // 1/√s of W v, √s of v; a value of 0 leaves both at 0.
            let root = lengths[column].sqrt();
            let by_root = if root > 0.0 { sign / root } else { 0.0 };
            long[column..].iter_mut().step_by(rank).for_each(|x| *x = *x * by_root / half);
            short[column..].iter_mut().step_by(rank).for_each(|x| *x = *x * sign * root / half);
        }
        let (left, right) = if tall { (long, short) } else { (short, long) };
        Ok(Factors { left, right: transposed(&right, cols, rank) })
    }
}

/// +1 or −1, so that the element of largest magnitude (the first of equals) becomes positive.
fn sign_of_largest(column: &[f64], step: usize) -> f64 {
    let mut largest = 0.0_f64;
    for &x in column.iter().step_by(step) {
        if x.abs() > largest.abs() {
            largest = x;
        }
    }
    1.0_f64.copysign(largest)
}

/// Euclidean lengths of the columns of a matrix of `width` columns.
fn lengths(columns: &[f64], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; width];
    for row in columns.chunks_exact(width.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x * x);
    }
    sums.into_iter().map(f64::sqrt).collect()
}

/// A matrix of `rows` × `cols` turned on its side.
fn transposed(matrix: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    let mut out = vec![0.0; rows * cols];
    let row = |(col, out): (usize, &mut [f64])| {
        out.iter_mut().zip(matrix[col..].iter().step_by(cols)).for_each(|(x, y)| *x = *y);
    };
    if rows > 0 {
        out.par_chunks_mut(rows).enumerate().for_each(row);
    }
    out
}

/// The bands of the longer side that are read at a time.
fn bands(long: usize, side: usize) -> impl Iterator<Item = Range<usize>> {
    let step = (BAND / side.max(1)).max(1);
    (0..long).step_by(step).map(move |start| start..(start + step).min(long))
}

/// A band of the matrix as it lies there, read by all threads.
fn read_band<M: Matrix>(matrix: &M, band: &Range<usize>, scale: f64, out: &mut Vec<f64>) -> Result<(), M::Error> {
    matrix.check()?;
    let tall = matrix.rows() >= matrix.cols();
    let (rows, cols) = if tall { (band.clone(), 0..matrix.cols()) } else { (0..matrix.rows(), band.clone()) };
    out.resize(rows.len() * cols.len(), 0.0);
    let step = ((1 << 14) / cols.len().max(1)).max(1);
    let some = |(at, out): (usize, &mut [f64])| {
        let first = rows.start + at * step;
        matrix.read(first..(first + step).min(rows.end), cols.clone(), out)?;
        if scale != 1.0 {
            out.iter_mut().for_each(|x| *x *= scale);
        }
        Ok(())
    };
    if out.is_empty() { Ok(()) } else { out.par_chunks_mut(step * cols.len()).enumerate().try_for_each(some) }
}

/// A band as a matrix whose rows are those of the longer side.
fn upright<'a, M: Matrix>(matrix: &M, band: &'a [f64], length: usize) -> View<'a> {
    let side = matrix.rows().min(matrix.cols());
    if matrix.rows() >= matrix.cols() {
        View::new(band, length, side, side)
    } else {
        View::new(band, side, length, length).transposed()
    }
}

/// The largest magnitude.
fn peak<M: Matrix>(matrix: &M) -> Result<f64, M::Error> {
    let (side, long) = sides(matrix);
    let (mut peak, mut band) = (0.0_f64, Vec::new());
    for range in bands(long, side) {
        read_band(matrix, &range, 1.0, &mut band)?;
        peak = band.iter().fold(peak, |most, x| most.max(x.abs()));
    }
    Ok(peak)
}

/// The power of 4 that brings a magnitude near 1.
fn scale_of(peak: f64) -> f64 {
    // Within what has a reciprocal: the rest of the way to 1 leaves no square out of range.
    if peak > 0.0 { 4.0_f64.powi(-(peak.log2() / 2.0).round().clamp(-510.0, 510.0) as i32) } else { 1.0 }
}

/// G of the matrix times `scale`, in full.
fn gram<M: Matrix>(matrix: &M, scale: f64) -> Result<Vec<f64>, M::Error> {
    let (side, long) = sides(matrix);
    let (mut gram, mut band) = (vec![0.0; side * side], Vec::new());
    for range in bands(long, side) {
        read_band(matrix, &range, scale, &mut band)?;
        let view = upright(matrix, &band, range.len());
        add_product(view.transposed(), view, &mut gram, side, Wanted::Lower);
    }
    for row in 0..side {
        for col in 0..row {
            gram[col * side + row] = gram[row * side + col];
        }
    }
    Ok(gram)
}

fn sides<M: Matrix>(matrix: &M) -> (usize, usize) {
    (matrix.rows().min(matrix.cols()), matrix.rows().max(matrix.cols()))
}

/// W v · scale for each of `count` vectors of the shorter side, in rows of the longer one.
fn images<M: Matrix>(matrix: &M, vectors: &[f64], count: usize, scale: f64) -> Result<Vec<f64>, M::Error> {
    let (side, long) = sides(matrix);
    let (mut out, mut band) = (vec![0.0; long * count], Vec::new());
    for range in bands(long, side) {
        read_band(matrix, &range, scale, &mut band)?;
        let view = upright(matrix, &band, range.len());
        let place = &mut out[range.start * count..range.end * count];
        add_product(view, View::new(vectors, side, count, count), place, count.max(1), Wanted::All);
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
