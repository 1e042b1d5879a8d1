//! What a rank comes to, from the singular values: by Eckart and Young t² is the share of the energy beyond it.

use super::Engine;
use crate::estimate::factors;
use crate::estimate::size::{self, Content};
use crate::estimate::{Label, Spectrum, TensorEstimate};
use crate::kernels::entropy::Gaps;
use crate::kernels::error::ErrorSums;
use crate::recipe::{Factorize, Outcome, Target};
use std::sync::Arc;

impl Engine {
    /// Takes in the singular values of a tensor.
    pub fn put_spectrum(&mut self, index: usize, spectrum: Arc<Spectrum>) {
        self.spectra.insert(index, spectrum);
    }

    /// The singular values of a tensor, where they are known.
    #[must_use]
    pub fn spectrum(&self, index: usize) -> Option<&Arc<Spectrum>> {
        self.spectra.get(&index)
    }

    /// A factorized tensor. `None` where its singular values are not known, or are not all there is to know: its rows or
    /// columns were pruned, or its factors are quantized.
    pub(super) fn from_spectrum(&self, of: Outcome<'_>, target: Target, index: usize) -> Option<TensorEstimate> {
        let (spectrum, profile) = (self.spectra.get(&index)?, self.profile(index).filter(|p| !p.coarse)?);
        if of.cut || of.scheme.prune.is_some() || of.scheme.quantize.is_some() {
            return None;
        }
        let rank = match of.scheme.factorize? {
            Factorize::Rank(rank) => usize::try_from(rank).ok().filter(|rank| *rank <= spectrum.values.len())?,
            Factorize::Energy(share) => spectrum.rank_of_energy(share.to_f64()),
        };
        let energy = profile.moments.energy;
        let (lost, kept) = (spectrum.lost(rank) * energy, spectrum.kept(rank) * energy);
        let errors = ErrorSums {
            finite: profile.moments.finite,
            squared_error: lost,
            energy,
            // The product is the projection of the tensor.
            product: kept,
            energy_after: kept,
            max_abs_difference: f64::NAN,
            ..ErrorSums::default()
        };
        // Factors of numbers without order have no zeros.
        let counts = factors::shapes(of, rank).map(|[rows, cols]| (rows * cols) as u64);
        let product = TensorEstimate {
            stored_as: of.scheme.to_string(),
            label: Label::Live,
            elements: of.elements(),
            sizes: size::stored(of, target, of.elements()),
            sparse_bytes: None,
            entropy_bytes: None,
            errors: Some(errors),
            t2_error: None,
            threshold: None,
            after: None,
            scales: None,
            factors: None,
        };
        let contents = counts.map(|n| Content { gaps: Gaps::expected(n, n), code_entropy: None });
        Some(factors::with_factors(product, of, rank, contents))
    }
}
