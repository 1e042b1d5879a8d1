//! Shares from shapes alone: what the Erdős–Rényi kernel leaves of each matrix.

use crate::model::Tensor;
use crate::recipe::Decimal;

/// The share of each matrix that goes, so that of all of them together `share` does (RigL, arXiv 1911.11134): a matrix
/// keeps ε·(`n_in` + `n_out` + `k_h` + `k_w`) / (`n_in`·`n_out`·`k_h`·`k_w`) of its elements, all of them where that is more
/// than 1, and ε is solved again for the rest.
#[must_use]
pub fn erk(matrices: &[&Tensor], share: Decimal) -> Vec<Decimal> {
    let sizes: Vec<(f64, f64)> = matrices.iter().map(|t| size(&t.shape)).collect();
    let total: u64 = matrices.iter().map(|t| t.elements() as u64).sum();
    let kept = total - share.share_of(total);
    let whole = |t: &Tensor, density: f64| {
        let n = t.elements() as u64;
        super::share_of_count(n - ((density * n as f64).round() as u64).min(n), n)
    };
    matrices.iter().zip(densities(&sizes, kept as f64)).map(|(t, density)| whole(t, density)).collect()
}

/// Sum and product of the dimensions.
fn size(shape: &[usize]) -> (f64, f64) {
    (shape.iter().map(|&d| d as f64).sum(), shape.iter().map(|&d| d as f64).product())
}

/// The density of each matrix, by sum and product of its dimensions, that together keep `kept` elements.
fn densities(sizes: &[(f64, f64)], kept: f64) -> Vec<f64> {
    let mut dense = vec![false; sizes.len()];
    loop {
        let mut left = kept;
        let mut sums = 0.0;
        for (&(sum, product), &dense) in sizes.iter().zip(&dense) {
            if dense {
                left -= product;
            } else {
                sums += sum;
            }
        }
        let epsilon = if sums > 0.0 { left.max(0.0) / sums } else { 0.0 };
        let density = |&(sum, product): &(f64, f64)| epsilon * sum / product;
        // The fullest first, as in the paper's code: one that is just full now may not be once another is.
        let most = sizes.iter().zip(&dense).filter(|(_, dense)| !**dense).map(|(s, _)| density(s)).fold(0.0, f64::max);
        if most <= 1.0 {
            let of = |(size, &dense): (&(f64, f64), &bool)| if dense { 1.0 } else { density(size) };
            return sizes.iter().zip(&dense).map(of).collect();
        }
        for (size, dense) in sizes.iter().zip(&mut dense) {
            *dense |= density(size) >= most;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_matrices_keep_more_and_the_sum_is_right() {
        // LeNet-300-100 at 90 %: ε by hand. (1084 + 400 + 110)·ε = 26,620 gives 16.7; fc3 would keep 1.84 of itself, so it is
        // whole, and (1084 + 400)·ε = 25,620 gives 17.264.
        let sizes = [(1084.0, 235_200.0), (400.0, 30_000.0), (110.0, 1000.0)];
        let found = densities(&sizes, 26_620.0);
        let epsilon = 25_620.0 / 1484.0;
        for (found, wanted) in found.iter().zip([epsilon * 1084.0 / 235_200.0, epsilon * 400.0 / 30_000.0, 1.0]) {
            assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        }
        let kept: f64 = sizes.iter().zip(found).map(|((_, n), d)| n * d).sum();
        assert!((kept - 26_620.0).abs() < 1e-6);
        // A kernel's sides count as dimensions; everything, and nothing.
        let conv = size(&[64, 3, 3, 3]);
        assert_eq!(conv, (73.0, 1728.0));
        assert_eq!(densities(&[conv, (20.0, 100.0)], 1828.0), [1.0, 1.0]);
        assert_eq!(densities(&[conv, (20.0, 100.0)], 0.0), [0.0, 0.0]);
        assert!(densities(&[], 5.0).is_empty());
    }
}
