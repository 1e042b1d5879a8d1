//! The leading eigenvectors of a large symmetric matrix without negative eigenvalues: a random start, then a polynomial of
//! the matrix that makes them stand out, until what they hold settles.
//!
//! The start and the bounds are those of randomised range finders (Halko, Martinsson and Tropp, SIAM Review 2011); the spectra
//! of trained layers fall so slowly that plain powers would take hundreds of passes, so the powers are Chebyshev's
//! polynomials over the part that is not wanted (Zhou and Saad 2006): the same few products do the work of their square.
//!
//! It ends when a round of `DEGREE` products adds less than `SETTLED` of the energy that is not captured, twice in a
//! row. The start is drawn from a fixed seed, and all sums run in one order: one matrix, one answer.

use super::product::{View, Wanted, add_product};
use super::symmetric::{self, Eigen};
use crate::kernels::scatter;
use rayon::prelude::*;

/// Products with the matrix in a round.
const DEGREE: usize = 10;
/// Gain of a round, relative to the energy that is left, below which it has settled.
const SETTLED: f64 = 1e-9;
/// Rounds at most.
const ROUNDS: usize = 60;
/// How much larger than the rest a round may make the leading vector: beyond that the others drown in its rounding.
const AMPLIFIED: f64 = 1e5;

/// The `wanted` leading eigenvalues and vectors of `a` (n × n, in full), whose eigenvalues sum up to `trace`.
///
/// # Errors
/// What `check` gives.
pub fn leading<E>(
    a: &[f64],
    n: usize,
    wanted: usize,
    trace: f64,
    check: &dyn Fn() -> Result<(), E>,
) -> Result<Eigen, E> {
    let width = (wanted + (wanted / 4).max(24)).min(n);
    let mut basis = draw(n, width);
    // Powers need no bounds; one gives the first guess of them.
    basis = times(a, n, &basis, width);
    let (mut captured, mut quiet) = (0.0, 0);
    for round in 0..ROUNDS {
        check()?;
        orthogonalise(&mut basis, n, width);
        let image = times(a, n, &basis, width);
        let Eigen { values, vectors: turn } = ritz(&basis, &image, n, width, check)?;
        basis = turned(&basis, &turn, n, width);
        let sum: f64 = values[..wanted].iter().sum();
        let left = (trace - sum).max(1e-15 * trace);
        quiet = if sum - captured <= SETTLED * left { quiet + 1 } else { 0 };
        captured = sum;
        if quiet == 2 || round + 1 == ROUNDS || values[0] <= 0.0 {
            let vectors = basis.chunks_exact(width).flat_map(|row| &row[..wanted]).copied().collect();
            return Ok(Eigen { values: values[..wanted].to_vec(), vectors });
        }
        basis = filtered(a, n, basis, &turned(&image, &turn, n, width), width, &values, check)?;
    }
    unreachable!("the last round returns")
}

/// Numbers around 0 from a fixed seed.
fn draw(n: usize, width: usize) -> Vec<f64> {
    let centred = |x: u64| ((x >> 11) as f64 + 0.5) / (1_u64 << 53) as f64 - 0.5;
    scatter::numbers(0x5EED).take(n * width).map(centred).collect()
}

/// a · x.
fn times(a: &[f64], n: usize, x: &[f64], width: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * width];
    add_product(View::new(a, n, n, n), View::new(x, n, width, width), &mut out, width, Wanted::All);
    out
}

/// x · turn.
fn turned(x: &[f64], turn: &[f64], n: usize, width: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * width];
    add_product(View::new(x, n, width, width), View::new(turn, width, width, width), &mut out, width, Wanted::All);
    out
}

/// xᵀ y, symmetric: its lower half, mirrored.
fn inner(x: &[f64], y: &[f64], n: usize, width: usize) -> Vec<f64> {
    let mut out = vec![0.0; width * width];
    let (x, y) = (View::new(x, n, width, width), View::new(y, n, width, width));
    add_product(x.transposed(), y, &mut out, width, Wanted::Lower);
    for row in 0..width {
        for col in 0..row {
            out[col * width + row] = out[row * width + col];
        }
    }
    out
}

/// Makes the columns orthogonal: Cholesky's triangle of their products, twice (Yamamoto and others 2015). A column that the
/// others already hold becomes 0.
fn orthogonalise(basis: &mut [f64], n: usize, width: usize) {
    for _ in 0..2 {
        let mut l = inner(basis, basis, n, width);
        let whole: Vec<f64> = (0..width).map(|i| l[i * width + i]).collect();
        for j in 0..width {
            let (above, mine) = l.split_at_mut(j * width);
            for k in 0..j {
                let row = &above[k * width..k * width + k];
                let sum: f64 = row.iter().zip(&*mine).map(|(a, b)| a * b).sum();
                let pivot = above[k * width + k];
                mine[k] = if pivot > 0.0 { (mine[k] - sum) / pivot } else { 0.0 };
            }
            let rest = whole[j] - mine[..j].iter().map(|x| x * x).sum::<f64>();
            mine[j] = if rest > 1e-13 * whole[j] { rest.sqrt() } else { 0.0 };
        }
        let solve = |row: &mut [f64]| {
            for j in 0..width {
                let mine = &l[j * width..=j * width + j];
                let sum: f64 = mine[..j].iter().zip(&*row).map(|(a, b)| a * b).sum();
                row[j] = if mine[j] > 0.0 { (row[j] - sum) / mine[j] } else { 0.0 };
            }
        };
        basis.par_chunks_mut(width).for_each(solve);
    }
}

/// Eigenvalues and vectors of the matrix as the basis sees it.
fn ritz<E>(
    basis: &[f64],
    image: &[f64],
    n: usize,
    width: usize,
    check: &dyn Fn() -> Result<(), E>,
) -> Result<Eigen, E> {
    symmetric::eigen(inner(basis, image, n, width), width, width, check)
}

/// Chebyshev's polynomial of the matrix over [0, least value of the basis], applied to the basis.
fn filtered<E>(
    a: &[f64],
    n: usize,
    basis: Vec<f64>,
    image: &[f64],
    width: usize,
    values: &[f64],
    check: &dyn Fn() -> Result<(), E>,
) -> Result<Vec<f64>, E> {
    let bound = values.last().copied().unwrap_or_default().max(1e-14 * values[0]);
    // T_k(x) of the greatest eigenvalue grows like (x + √(x²−1))^k / 2.
    let x = 2.0 * values[0] / bound - 1.0;
    let growth = (x + (x * x - 1.0).max(0.0).sqrt()).ln();
    let degree = ((2.0 * AMPLIFIED).ln() / growth.max(1e-9)).floor().clamp(1.0, DEGREE as f64) as usize;
    let (mut before, mut now) = (basis, Vec::new());
    for k in 0..degree {
        check()?;
        let fresh = if k == 0 { image.to_vec() } else { times(a, n, &now, width) };
        let factor = if k == 0 { 1.0 } else { 2.0 };
        let last: &[f64] = if k == 0 { &before } else { &now };
        let mut next = fresh;
        let step = |(at, out): (usize, &mut [f64])| {
            let place = at * width..at * width + out.len();
            let (last, before) = (&last[place.clone()], &before[place]);
            for ((x, &l), &b) in out.iter_mut().zip(last).zip(before) {
                let scaled = factor * (2.0 / bound * *x - l);
                *x = if k == 0 { scaled } else { scaled - b };
            }
        };
        next.par_chunks_mut(width).enumerate().for_each(step);
        if k > 0 {
            before = now;
        }
        now = next;
    }
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::svd::tests::noise;
    use std::convert::Infallible;

    /// A matrix with given eigenvalues in directions without order.
    fn with_values(values: &[f64]) -> Vec<f64> {
        let n = values.len();
        let mut q = noise(n * n, 9);
        orthogonalise(&mut q, n, n);
        let scaled: Vec<f64> = q.iter().enumerate().map(|(at, x)| x * values[at % n]).collect();
        let mut a = vec![0.0; n * n];
        let (left, right) = (View::new(&scaled, n, n, n), View::new(&q, n, n, n));
        add_product(left, right.transposed(), &mut a, n, Wanted::All);
        (0..n * n).map(|at| 0.5 * (a[at] + a[at % n * n + at / n])).collect()
    }

    #[test]
    fn what_is_found_is_what_taking_all_apart_finds() {
        let n = 300;
        let steep: Vec<f64> = (0..n).map(|i| 0.9_f64.powi(i)).collect();
        let flat: Vec<f64> = (0..n).map(|i| 2.0 - f64::from(i) / 300.0).collect();
        let few: Vec<f64> = (0..n).map(|i| if i < 7 { 3.0 } else { 0.0 }).collect();
        for values in [steep, flat, few] {
            let a = with_values(&values);
            let (n, trace) = (values.len(), values.iter().sum::<f64>());
            let check = || Ok::<(), Infallible>(());
            for wanted in [1, 10, 40] {
                let found = leading(&a, n, wanted, trace, &check).unwrap();
                let best: f64 = values[..wanted].iter().sum();
                let held: f64 = found.values.iter().sum();
                let bound = 1e-7 * (trace - best) + 1e-13 * trace;
                assert!((held - best).abs() < bound, "{wanted}: {held} {best}");
                let mut gram = vec![0.0; wanted * wanted];
                let v = View::new(&found.vectors, n, wanted, wanted);
                add_product(v.transposed(), v, &mut gram, wanted, Wanted::All);
                for (at, x) in gram.iter().enumerate().filter(|(at, _)| best > 0.0 && values[at / wanted] > 0.0) {
                    let one = f64::from(u8::from(at / wanted == at % wanted));
                    assert!((x - one).abs() < 1e-12, "{at}: {x}");
                }
            }
        }
    }

    #[test]
    fn the_same_matrix_gives_the_same_bits() {
        let a = with_values(&(0..200).map(|i| 0.97_f64.powi(i)).collect::<Vec<_>>());
        let run = || leading(&a, 200, 5, 30.0, &|| Ok::<(), Infallible>(())).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let (one, two) = (pool.install(run), run());
        assert_eq!((one.values, one.vectors), (two.values, two.vectors));
    }
}
