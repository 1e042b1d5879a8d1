//! The singular values of a tensor's matrix, found once: what every rank comes to is then a look-up.

use super::factors::break_even_rank;
use crate::kernels::layout::Geometry;
use crate::kernels::svd::Svd;

/// Singular values and what they add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// Rows and columns of the matrix.
    pub geometry: Geometry,
    /// All singular values, greatest first.
    pub values: Vec<f64>,
    /// Share of the energy Σs² that the first r hold, for r from 0.
    kept: Vec<f64>,
}

impl Spectrum {
    /// The spectrum of a matrix whose singular values are all known.
    #[must_use]
    pub fn of(svd: &Svd, geometry: Geometry) -> Self {
        Self::new(svd.values().collect(), geometry)
    }

    /// From the singular values, greatest first.
    #[must_use]
    pub fn new(values: Vec<f64>, geometry: Geometry) -> Self {
        let unit = unit_of(&values);
        let mut sum = 0.0;
        let mut kept = vec![0.0];
        for s in &values {
            sum += (s * unit).powi(2);
            kept.push(sum);
        }
        kept.iter_mut().for_each(|share| *share = if sum > 0.0 { *share / sum } else { 1.0 });
        Self { geometry, values, kept }
    }

    /// The share of the energy that a rank keeps: 1 − t² of the truncated product.
    #[must_use]
    pub fn kept(&self, rank: usize) -> f64 {
        self.kept.get(rank).or(self.kept.last()).copied().unwrap_or(1.0)
    }

    /// What a rank loses, relative: Σ s² beyond it over Σ s², without the cancellation of 1 − kept.
    #[must_use]
    pub fn lost(&self, rank: usize) -> f64 {
        let unit = unit_of(&self.values);
        let square = |s: &f64| (s * unit).powi(2);
        let beyond: f64 = self.values.iter().skip(rank).rev().map(square).sum();
        let all: f64 = self.values.iter().rev().map(square).sum();
        if all > 0.0 { beyond / all } else { 0.0 }
    }

    /// The least rank ≥ 1 that keeps a share of the energy.
    #[must_use]
    pub fn rank_of_energy(&self, share: f64) -> usize {
        self.kept.partition_point(|kept| *kept < share).clamp(1, self.values.len().max(1))
    }

    /// The greatest rank at which the factors have fewer elements than the matrix; 0 where there is none.
    #[must_use]
    pub fn break_even_rank(&self) -> usize {
        break_even_rank(self.geometry)
    }
}

/// A power of 2 that brings the largest value near 1, so that no square leaves the range.
fn unit_of(values: &[f64]) -> f64 {
    values.first().filter(|s| **s > 0.0).map_or(1.0, |s| 2.0_f64.powi(-s.log2().round() as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_shares_are_each_others_inverse() {
        let spectrum = Spectrum::new(vec![3.0, 2.0, 1.0, 1.0, 1.0], Geometry { rows: 5, cols: 9 });
        assert_eq!([0, 1, 2, 5].map(|r| spectrum.kept(r)), [0.0, 9.0 / 16.0, 13.0 / 16.0, 1.0]);
        assert_eq!([0, 1, 2, 5].map(|r| spectrum.lost(r)), [1.0, 7.0 / 16.0, 3.0 / 16.0, 0.0]);
        let ranks = [0.0, 0.5625, 0.57, 0.8125, 0.82, 1.0].map(|share| spectrum.rank_of_energy(share));
        assert_eq!(ranks, [1, 1, 2, 2, 3, 5]);
        assert_eq!(spectrum.break_even_rank(), 3);
    }

    #[test]
    fn nothing_and_much_are_spectra_too() {
        let nothing = Spectrum::new(vec![0.0; 3], Geometry { rows: 3, cols: 3 });
        assert_eq!((nothing.kept(0), nothing.lost(0), nothing.rank_of_energy(1.0)), (1.0, 0.0, 1));
        let much = Spectrum::new(vec![1e300, 1e300], Geometry { rows: 2, cols: 2 });
        assert_eq!((much.kept(1), much.lost(1)), (0.5, 0.5));
    }
}
