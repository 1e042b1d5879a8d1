//! The headline quality proxy: the share of the signal that survives a chain of layers, in percent. Never called accuracy.
//!
//! F = 100·Π(1 − min(t², 0.9999))^a over the weight tensors (first order: the sum of relative errors of HIGGS, Malinovskii
//! et al., NAACL 2025; for pure pruning the product is the kept-energy identity of LAMP, Lee et al., ICLR 2021).

/// How layers are weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FidelityForm {
    /// a = 1 for every tensor.
    #[default]
    Chain,
}

impl FidelityForm {
    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        "chain"
    }
}

/// The largest t² that a factor sees, so that one lost tensor does not hide all others.
const WORST: f64 = 0.9999;

/// Fidelity in percent from the t² of the tensors that count (at least two dimensions, float source); `None`
/// contributes 1, as an untouched tensor does.
#[must_use]
pub fn fidelity(t2: impl IntoIterator<Item = Option<f64>>) -> f64 {
    let log: f64 = t2.into_iter().flatten().map(|t2| (-t2.min(WORST)).ln_1p()).sum();
    100.0 * log.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_what_is_kept() {
        assert_eq!(fidelity([]), 100.0);
        assert_eq!(fidelity([Some(0.0), None]), 100.0);
        assert!((fidelity([Some(0.5), Some(0.5)]) - 25.0).abs() < 1e-12);
        assert!((fidelity([Some(7.0)]) - 0.01).abs() < 1e-12);
    }
}
