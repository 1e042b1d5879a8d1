//! Decompositions held to numpy's, and to what every decomposition must be.

use super::product::{View, Wanted, add_product};
use super::*;
use std::convert::Infallible;

/// Numbers between −1 and 1 without order.
pub(super) fn noise(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    // The first few are still near the seed.
    (0..n + 8).map(|_| next()).skip(8).collect()
}

/// A matrix in memory.
pub(super) struct Held<'a> {
    pub rows: usize,
    pub cols: usize,
    pub data: &'a [f64],
}

impl Matrix for Held<'_> {
    type Error = Infallible;
    fn rows(&self) -> usize {
        self.rows
    }
    fn cols(&self) -> usize {
        self.cols
    }
    fn read(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f64]) -> Result<(), Infallible> {
        for (row, out) in rows.zip(out.chunks_exact_mut(cols.len())) {
            out.copy_from_slice(&self.data[row * self.cols..][cols.clone()]);
        }
        Ok(())
    }
    fn is_wide(&self) -> bool {
        true
    }
    fn check(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

fn composed(factors: &Factors, rows: usize, rank: usize, cols: usize) -> Vec<f64> {
    let mut out = vec![0.0; rows * cols];
    let (left, right) = (View::new(&factors.left, rows, rank, rank), View::new(&factors.right, rank, cols, cols));
    add_product(left, right, &mut out, cols, Wanted::All);
    out
}

fn energy(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum()
}

#[test]
fn the_residual_is_what_eckart_and_young_say() {
    for (rows, cols) in [(1, 1), (1, 9), (9, 1), (7, 7), (40, 23), (23, 40), (130, 300), (300, 130)] {
        let data = noise(rows * cols, (rows * 1000 + cols) as u64);
        let matrix = Held { rows, cols, data: &data };
        let side = rows.min(cols);
        let svd = Svd::of(&matrix, side).unwrap();
        let (values, whole): (Vec<f64>, f64) = (svd.values().collect(), energy(&data));
        assert!((energy(&values) / whole - 1.0).abs() < 1e-13);
        for rank in [1, side.div_ceil(2), side] {
            let factors = svd.factors(&matrix, rank).unwrap();
            let product = composed(&factors, rows, rank, cols);
            let difference: Vec<f64> = data.iter().zip(&product).map(|(a, b)| a - b).collect();
            let beyond = energy(&values[rank..]);
            assert!((energy(&difference) - beyond).abs() < 1e-13 * whole, "{rows} {cols} {rank}");
            assert!((energy(&product) - energy(&values[..rank])).abs() < 1e-13 * whole);
            assert!((1.0 - svd.kept(rank) - beyond / whole).abs() < 1e-13);
            for (k, &s) in values[..rank].iter().enumerate() {
                let u: Vec<f64> = factors.left[k..].iter().step_by(rank).copied().collect();
                let largest = u.iter().fold(0.0_f64, |m, &x| if x.abs() > m.abs() { x } else { m });
                assert!(largest > 0.0, "{rows} {cols} {rank}: column {k}");
                let v = &factors.right[k * cols..(k + 1) * cols];
                // Both halves have the length √s.
                assert!((energy(&u) - s).abs() < 1e-12 * s.max(1e-3) && (energy(v) - s).abs() < 1e-12 * s.max(1e-3));
            }
        }
    }
}

#[test]
fn the_values_of_numpy() {
    // numpy.linalg.svd(numpy.sin(numpy.arange(35.0).reshape(5, 7) ** 1.5), compute_uv=False)
    let data: Vec<f64> = (0..35).map(|i| f64::from(i).powf(1.5).sin()).collect();
    let expected = [
        2.900_511_446_203_543_3,
        2.206_292_636_710_478_5,
        1.794_069_280_830_147_3,
        1.648_312_987_839_947_8,
        0.712_707_026_871_928,
    ];
    let svd = Svd::of(&Held { rows: 5, cols: 7, data: &data }, 3).unwrap();
    for (found, expected) in svd.values().zip(expected) {
        assert!((found - expected).abs() < 1e-13, "{found} {expected}");
    }
    // u, s, vt = svd(…); flip; u[:, :2] * sqrt(s[:2]) and sqrt(s[:2])[:, None] * vt[:2], the first column and row.
    let factors = svd.factors(&Held { rows: 5, cols: 7, data: &data }, 2).unwrap();
    for (found, expected) in factors.left.iter().step_by(2).zip([
        0.911_284_576_089_000_6,
        -0.529_412_018_746_250_5,
        0.954_950_385_645_907_6,
        0.492_496_198_752_464_8,
        -0.797_064_638_007_458_7,
    ]) {
        assert!((found - expected).abs() < 1e-13, "{found} {expected}");
    }
    for (found, expected) in factors.right[..7].iter().zip([
        0.629_065_479_361_685_7,
        0.997_817_425_836_257_7,
        -0.056_988_068_192_066_28,
        -0.258_820_433_424_635_45,
        0.904_285_428_220_082_7,
        -0.030_489_080_433_770_07,
        0.787_560_205_435_270_3,
    ]) {
        assert!((found - expected).abs() < 1e-13, "{found} {expected}");
    }
}

#[test]
fn a_matrix_of_low_rank_is_rebuilt_and_nothing_is_made_of_nothing() {
    let (rows, cols, rank) = (60, 45, 4);
    let (a, b) = (noise(rows * rank, 1), noise(rank * cols, 2));
    let data = composed(&Factors { left: a, right: b }, rows, rank, cols);
    let matrix = Held { rows, cols, data: &data };
    let svd = Svd::of(&matrix, rank).unwrap();
    let largest = svd.values[0];
    assert!(svd.values[rank..].iter().all(|s| *s < 1e-7 * largest));
    for more in [rank, rank + 3, cols] {
        let product = composed(&svd.factors(&matrix, more).unwrap(), rows, more, cols);
        let difference: Vec<f64> = data.iter().zip(&product).map(|(a, b)| a - b).collect();
        assert!(energy(&difference) < 1e-28 * energy(&data), "{more}: {}", energy(&difference) / energy(&data));
    }
    let nothing = vec![0.0; rows * cols];
    let matrix = Held { rows, cols, data: &nothing };
    let svd = Svd::of(&matrix, 2).unwrap();
    let factors = svd.factors(&matrix, 2).unwrap();
    assert_eq!(svd.kept(1), 1.0);
    assert!(factors.left.iter().chain(&factors.right).all(|x| *x == 0.0));
    assert_eq!(svd.rank_of_energy(0.9), 1);
}

#[test]
fn the_rank_of_an_energy_is_the_least() {
    let svd =
        |values: &[f64]| Svd { values: values.to_vec(), energy: energy(values), scale: 1.0, found: 0, vectors: vec![] };
    let known = svd(&[3.0, 2.0, 1.0, 1.0, 1.0]);
    let ranks = [0.0, 0.5, 0.5625, 0.57, 0.8125, 0.82, 1.0].map(|share| known.rank_of_energy(share));
    assert_eq!(ranks, [1, 1, 1, 2, 2, 3, 5]);
}

#[test]
fn a_large_matrix_is_answered_from_its_leading_vectors() {
    let (rows, cols) = (ALL + 40, ALL + 7);
    let data = noise(rows * cols, 3);
    let matrix = Held { rows, cols, data: &data };
    let all = Svd::of(&matrix, 0).unwrap();
    let few = Svd::of(&matrix, 12).unwrap();
    assert_eq!((few.found, few.values.len(), all.values.len()), (12, 12, cols));
    for (a, b) in few.values.iter().zip(&all.values) {
        assert!((a - b).abs() < 1e-6 * all.values[0], "{a} {b}");
    }
    let left = |svd: &Svd| svd.energy - energy(&svd.values[..12]);
    assert!((left(&few) / left(&all) - 1.0).abs() < 1e-8);
}

#[test]
fn no_magnitude_leaves_the_range() {
    let (rows, cols) = (12, 20);
    let data = noise(rows * cols, 8);
    let plain = Svd::of(&Held { rows, cols, data: &data }, rows).unwrap();
    let expected = plain.factors(&Held { rows, cols, data: &data }, 3).unwrap();
    for exponent in [-800, -300, 300, 800] {
        let far: Vec<f64> = data.iter().map(|x| x * 4.0_f64.powi(exponent / 2)).collect();
        let matrix = Held { rows, cols, data: &far };
        let svd = Svd::of(&matrix, rows).unwrap();
        let half = 2.0_f64.powi(exponent / 2);
        for (a, b) in svd.values().zip(plain.values()) {
            assert_eq!(a / half / half, b);
        }
        let factors = svd.factors(&matrix, 3).unwrap();
        for (a, b) in factors.left.iter().chain(&factors.right).zip(expected.left.iter().chain(&expected.right)) {
            assert_eq!(a / half, *b, "{exponent}");
        }
    }
}

#[test]
fn the_ends_of_the_range_are_in_it() {
    for peak in [f64::from_bits(1), 2.0_f64.powi(-1022), 2.0_f64.powi(1023)] {
        let matrix = Held { rows: 1, cols: 1, data: &[peak] };
        let svd = Svd::of(&matrix, 1).unwrap();
        assert_eq!(svd.values().collect::<Vec<_>>(), [peak]);
        let Factors { left, right } = svd.factors(&matrix, 1).unwrap();
        assert!((left[0] * right[0] / peak - 1.0).abs() < 1e-15, "{peak}");
    }
}
