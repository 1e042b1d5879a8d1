//! LAMP against its definition as a sort, and against its own identity.

use super::*;
use crate::model::{OpenOptions, open};
use proptest::prelude::*;
use std::path::Path;

/// Scores of a matrix in order of magnitude, of equals in order of index.
fn scores(weights: &[f32]) -> Vec<f64> {
    let mut squares: Vec<f64> =
        weights.iter().filter(|w| w.is_finite()).map(|&w| f64::from(w) * f64::from(w)).collect();
    squares.sort_by(f64::total_cmp);
    let mut left = 0.0;
    let mut out: Vec<f64> = squares
        .iter()
        .rev()
        .map(|square| {
            left += square;
            if *square > 0.0 { square / left } else { 0.0 }
        })
        .collect();
    out.reverse();
    out
}

/// How many of each matrix go, by sorting all scores.
fn specification(matrices: &[Vec<f32>], k: usize) -> Vec<u64> {
    let mut all: Vec<(f64, usize)> =
        matrices.iter().enumerate().flat_map(|(m, w)| scores(w).into_iter().map(move |s| (s, m))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut gone = vec![0; matrices.len()];
    all.iter().take(k).for_each(|&(_, m)| gone[m] += 1);
    gone
}

fn by_bins(matrices: &[Vec<f32>], k: u64) -> Vec<u64> {
    let magnitudes = |weights: &Vec<f32>| weights.iter().filter(|w| w.is_finite()).map(|w| w.abs()).collect::<Vec<_>>();
    let bins = |weights: &Vec<f32>| {
        let mut bins = all_bins();
        magnitudes(weights).into_iter().for_each(|magnitude| put(&mut bins, magnitude));
        Bins::filled(bins)
    };
    let bins: Vec<Bins> = matrices.iter().map(bins).collect();
    let whole = whole_bins(&bins, k);
    let part = |weights: &Vec<f32>, bins: &[Bin]| {
        let (Some(least), Some(most)) = (bins.first(), bins.last()) else { return Part::default() };
        let mut bits: Vec<u32> = magnitudes(weights).iter().map(|w| w.to_bits()).collect();
        bits.retain(|&bits| (least.key..=most.key).contains(&key_of(bits)));
        bits.sort_unstable();
        let values = bits.chunk_by(|a, b| a == b).map(|c| (f64::from(f32::from_bits(c[0])), c.len() as u64)).collect();
        Part::new(values, most.above)
    };
    let parts: Vec<Part> = matrices
        .iter()
        .zip(&bins)
        .zip(&whole)
        .map(|((w, bins), (_, partly))| part(w, &bins.0[partly.clone()]))
        .collect();
    let gone: u64 = whole.iter().map(|(gone, _)| gone).sum();
    whole.iter().zip(within_bins(&parts, k - gone)).map(|((gone, _), more)| gone + more).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn two_looks_find_what_a_sort_of_all_scores_finds(
        matrices in prop::collection::vec(prop::collection::vec(prop_oneof![
            6 => (-8_i32..8).prop_map(|i| i as f32 * 0.25),
            6 => -1.0_f32..1.0,
            1 => prop::sample::select(vec![0.0, -0.0, 1e-20, f32::NAN, f32::INFINITY]),
        ], 1..60), 1..4),
        share in 0.0_f64..=1.0,
    ) {
        let total: usize = matrices.iter().map(|w| scores(w).len()).sum();
        let k = (share * total as f64).round() as usize;
        let found = by_bins(&matrices, k as u64);
        prop_assert_eq!(found.iter().sum::<u64>(), k as u64);
        // Sums in another order may settle scores that are equal but for their last bits the other way.
        let wanted = specification(&matrices, k);
        let worst = |counts: &[u64]| {
            let last = |(w, &gone): (&Vec<f32>, &u64)| scores(w).get((gone as usize).wrapping_sub(1)).copied();
            matrices.iter().zip(counts).filter_map(last).fold(0.0, f64::max)
        };
        prop_assert!((worst(&found) - worst(&wanted)).abs() <= 1e-12, "{:?} {:?}", found, wanted);
    }
}

#[test]
fn what_is_left_is_the_product_of_what_each_step_leaves() {
    let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
    let matrices: Vec<&Tensor> = model.tensors.iter().filter(|t| t.is_weight_matrix()).collect();
    let control = Control::default();
    let share = Decimal::parse("0.9").unwrap();
    let found = shares(&model, &matrices, share, &control).unwrap();
    let mut weights = Vec::new();
    for tensor in &matrices {
        let mut values = Vec::<f32>::new();
        model.values(tensor, 0..tensor.elements(), &mut values, &mut Scratch::default()).unwrap();
        weights.push(values);
    }
    let counts: Vec<u64> = matrices.iter().zip(&found).map(|(t, p)| p.share_of(t.elements() as u64)).collect();
    assert_eq!(counts, specification(&weights, 239_580));
    assert!(counts[2] < 700, "the output keeps more than its share: {counts:?}");
    for (weights, &gone) in weights.iter().zip(&counts) {
        let mut squares: Vec<f64> = weights.iter().map(|&w| f64::from(w) * f64::from(w)).collect();
        squares.sort_by(f64::total_cmp);
        let kept = squares[gone as usize..].iter().sum::<f64>() / squares.iter().sum::<f64>();
        let product: f64 = scores(weights)[..gone as usize].iter().map(|score| 1.0 - score).product();
        assert!((kept - product).abs() < 1e-9, "{kept} {product}");
    }
}
