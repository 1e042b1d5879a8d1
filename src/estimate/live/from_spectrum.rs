//! What a rank comes to, from the singular values: by Eckart and Young t² is the share of the energy beyond it.

use super::{Engine, entropy_of};
use crate::estimate::factors;
use crate::estimate::size::Content;
use crate::estimate::{Label, Packing, Sizes, Spectrum, TensorEstimate};
use crate::formats::Dtype;
use crate::formats::packed_layout::Code;
use crate::kernels::entropy::Gaps;
use crate::kernels::error::ErrorSums;
use crate::kernels::layout::Geometry;
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
    pub(super) fn truncated(&self, of: Outcome<'_>, target: Target, index: usize) -> Option<TensorEstimate> {
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
        let sizes = Sizes::default();
        let product = TensorEstimate { errors: Some(errors), ..TensorEstimate::of_sizes(of, Label::Live, sizes) };
        // Factors of numbers without order have no zeros, and no element that is like another.
        let parts = factors::shapes(of, rank).map(|[rows, cols]| {
            let (n, geometry, dtype) = ((rows * cols) as u64, Geometry { rows, cols }, of.tensor.dtype);
            // A singular vector is as long as the side that is not the rank.
            let length = if cols == rank { rows } else { cols };
            let symbol_bits = (dtype.bits() > 8).then(|| last_bytes(&spectrum.values[..rank], length, dtype));
            let packing = Packing::foreseen((Code::Element, true), dtype, geometry, n, symbol_bits);
            (Content { gaps: Gaps::expected(n, n), code_entropy: None }, packing)
        });
        Some(factors::with_factors(product, of, target, rank, parts))
    }
}

/// Draws from a bell of width 1 for each singular vector.
const DRAWS: usize = 64;

/// n·H0 in bits of the last bytes of a factor's elements, when each vector is a bell: its squares add up to s.
fn last_bytes(values: &[f64], length: usize, dtype: Dtype) -> f64 {
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let bell: Vec<f64> = (0..DRAWS).map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0).collect();
    let (mut counts, mut bytes) = ([0.0; 256], Vec::new());
    let each = length as f64 / DRAWS as f64;
    for s in values {
        let width = (s / length as f64).sqrt();
        for x in &bell {
            bytes.clear();
            dtype.encode(x * width, &mut bytes);
            counts[usize::from(bytes.last().copied().unwrap_or_default())] += each;
        }
    }
    entropy_of(counts)
}
