//! Eigenvalues and eigenvectors of a symmetric matrix: Householder tridiagonalisation, then implicit QL.
//!
//! ```text
//! A ─► Q T Qᵀ   (panels of reflectors, Dongarra, Hammarling and Sorensen 1989)
//! T ─► Z Λ Zᵀ   (implicit QL, Dubrulle, Martin and Wilkinson 1968; rotations are kept, then applied strip by strip)
//! vectors = Q Z (reflectors in blocks, Schreiber and Van Loan 1989)
//! ```
//!
//! Backward stable: an eigenvalue is off by some 1e-16 of the largest. Sums run in orders that depend on the size alone.
//! Memory: the matrix in place, and as much again for vectors.

use super::product::{View, Wanted, add_product, dot};
use crate::kernels::dispatch::{self, Kernel};
use rayon::prelude::*;

/// Reflectors that are gathered before the rest of the matrix hears of them.
const PANEL: usize = 32;
/// Elements of each vector that one thread rotates at a time: with a few thousand vectors they fit the second-level cache.
const STRIP: usize = 32;
/// Rotations that are kept before they are applied.
const KEPT: usize = 1 << 18;
/// Sweeps for one eigenvalue; two are usual.
const SWEEPS: usize = 60;

/// Eigenvalues, greatest first, and the vectors of the first of them.
#[derive(Clone, Debug)]
pub struct Eigen {
    /// All of them.
    pub values: Vec<f64>,
    /// Row after row, as many columns as were asked for.
    pub vectors: Vec<f64>,
}

/// Takes a symmetric matrix of `n` rows apart; `a` holds it in full and is used up. `wanted` vectors are made; `check` is
/// asked now and then whether to go on.
///
/// # Errors
/// What `check` gives.
pub fn eigen<E>(mut a: Vec<f64>, n: usize, wanted: usize, check: &dyn Fn() -> Result<(), E>) -> Result<Eigen, E> {
    debug_assert!(a.len() == n * n && wanted <= n);
    let mut t = tridiagonal(&mut a, n, check)?;
    let mut strips = if wanted > 0 { identity_strips(n) } else { Vec::new() };
    t.diagonalise(&mut strips, check)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| t.diagonal[j].total_cmp(&t.diagonal[i]));
    let values = order.iter().map(|&i| t.diagonal[i]).collect();
    let mut vectors = vec![0.0; n * wanted];
    if wanted > 0 {
        let row = |(row, out): (usize, &mut [f64])| {
            let strip = &strips[row / STRIP];
            out.iter_mut().zip(&order).for_each(|(x, &i)| *x = strip[i * STRIP + row % STRIP]);
        };
        vectors.par_chunks_mut(wanted).enumerate().for_each(row);
        drop(strips);
        reflect_back(&a, n, &t.weights, &mut vectors, wanted, check)?;
    }
    Ok(Eigen { values, vectors })
}

/// What is left of a matrix: diagonal, its neighbour, and how much each reflector (its vector in the matrix's row) counts.
struct Tridiagonal {
    diagonal: Vec<f64>,
    off: Vec<f64>,
    weights: Vec<f64>,
}

/// Reduces `a`; reflector i stays in row i, right of the diagonal.
fn tridiagonal<E>(a: &mut [f64], n: usize, check: &dyn Fn() -> Result<(), E>) -> Result<Tridiagonal, E> {
    let mut t = Tridiagonal { diagonal: vec![0.0; n], off: vec![0.0; n], weights: vec![0.0; n] };
    let mut first = 0;
    while first < n {
        check()?;
        let width = PANEL.min(n - first);
        let panel = reduce_panel(a, n, first, width, &mut t);
        let rest = first + width;
        if rest < n {
            // The rest of the matrix less V Wᵀ + W Vᵀ, as one product.
            let Panel { v, w } = panel;
            let left: Vec<f64> = v.iter().chain(&w).map(|x| -x).collect();
            let right: Vec<f64> = w.into_iter().chain(v).collect();
            let left = View::new(&left[rest..], 2 * width, n - rest, n).transposed();
            let right = View::new(&right[rest..], 2 * width, n - rest, n);
            add_product(left, right, &mut a[rest * n + rest..], n, Wanted::All);
        }
        first = rest;
    }
    Ok(t)
}

/// Reflectors and what they do to the rest of the matrix: A − V Wᵀ − W Vᵀ. One per row.
struct Panel {
    v: Vec<f64>,
    w: Vec<f64>,
}

fn reduce_panel(a: &mut [f64], n: usize, first: usize, width: usize, t: &mut Tridiagonal) -> Panel {
    let (mut v, mut w) = (vec![0.0; width * n], vec![0.0; width * n]);
    for j in 0..width {
        let i = first + j;
        let (earlier_v, mine_v) = v.split_at_mut(j * n);
        let (earlier_w, mine_w) = w.split_at_mut(j * n);
        let row = &mut a[i * n + i..(i + 1) * n];
        for (v, w) in earlier_v.chunks_exact(n).zip(earlier_w.chunks_exact(n)) {
            less_two(row, v[i], &w[i..], w[i], &v[i..]);
        }
        t.diagonal[i] = row[0];
        if i + 1 == n {
            break;
        }
        (t.off[i], t.weights[i]) = reflector(&mut row[1..]);
        mine_v[i + 1..n].copy_from_slice(&row[1..]);
        let (x, y) = (&mine_v[i + 1..n], &mut mine_w[i + 1..n]);
        times_vector(&a[(i + 1) * n..], n, i + 1, x, y);
        for (v, w) in earlier_v.chunks_exact(n).zip(earlier_w.chunks_exact(n)) {
            let (v, w) = (&v[i + 1..], &w[i + 1..]);
            let (by_w, by_v) = dispatch::run(Dots { x, a: w, b: v });
            less_two(y, by_w, v, by_v, w);
        }
        let weight = t.weights[i];
        y.iter_mut().for_each(|y| *y *= weight);
        let half = 0.5 * weight * dispatch::run(Dots { x, a: y, b: &[] }).0;
        y.iter_mut().zip(x).for_each(|(y, x)| *y -= half * x);
    }
    Panel { v, w }
}

/// Makes of x the vector v (v₀ = 1) with (I − weight·v·vᵀ) x = (off, 0, …); gives off and weight.
fn reflector(x: &mut [f64]) -> (f64, f64) {
    let head = x[0];
    let tail = x[1..].iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    x[0] = 1.0;
    if tail == 0.0 {
        return (head, 0.0);
    }
    // Taken in units of its largest element, so that no square vanishes.
    let norm = tail * x[1..].iter().map(|x| (x / tail).powi(2)).sum::<f64>().sqrt();
    let off = -head.signum() * head.hypot(norm);
    let scale = head - off;
    x[1..].iter_mut().for_each(|x| *x /= scale);
    (off, (off - head) / off)
}

/// y −= p·a + q·b.
fn less_two(y: &mut [f64], p: f64, a: &[f64], q: f64, b: &[f64]) {
    y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y -= p * a + q * b);
}

/// y = A x for the square right of and below (`from`, `from`), whose rows begin `rows`.
fn times_vector(rows: &[f64], n: usize, from: usize, x: &[f64], y: &mut [f64]) {
    let some = |(at, y): (usize, &mut [f64])| {
        dispatch::run(TimesVector { rows: &rows[at * ROWS * n..], n, from, x, y });
    };
    if x.len() <= 2 * ROWS {
        y.chunks_mut(ROWS).enumerate().for_each(some);
    } else {
        y.par_chunks_mut(ROWS).enumerate().for_each(some);
    }
}

/// Rows that one thread multiplies at a time.
const ROWS: usize = 64;

struct TimesVector<'a> {
    rows: &'a [f64],
    n: usize,
    from: usize,
    x: &'a [f64],
    y: &'a mut [f64],
}

impl Kernel for TimesVector<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (row, y) in self.rows.chunks_exact(self.n).zip(self.y) {
            *y = dot(&row[self.from..], self.x);
        }
    }
}

struct Dots<'a> {
    x: &'a [f64],
    a: &'a [f64],
    b: &'a [f64],
}

impl Kernel for Dots<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run(self) -> (f64, f64) {
        (dot(self.x, self.a), if self.b.is_empty() { 0.0 } else { dot(self.x, self.b) })
    }
}

/// The identity, cut into strips of [`STRIP`] rows; in a strip a column stands together.
fn identity_strips(n: usize) -> Vec<Vec<f64>> {
    let strip = |first: usize| {
        let mut strip = vec![0.0; n * STRIP];
        (first..(first + STRIP).min(n)).for_each(|row| strip[row * STRIP + row - first] = 1.0);
        strip
    };
    (0..n).step_by(STRIP).map(strip).collect()
}

/// Rotations of one sweep: of the columns (top, top − 1), then (top − 1, top − 2), and so on.
struct Sweep {
    top: usize,
    turns: Vec<[f64; 2]>,
}

impl Tridiagonal {
    /// Makes the diagonal the eigenvalues, in no order, and rotates the columns of `strips` along.
    fn diagonalise<E>(&mut self, strips: &mut [Vec<f64>], check: &dyn Fn() -> Result<(), E>) -> Result<(), E> {
        let n = self.diagonal.len();
        let size = self.diagonal.iter().zip(&self.off).fold(0.0_f64, |most, (d, e)| most.max(d.abs() + e.abs()));
        let (mut kept, mut turns) = (Vec::new(), 0);
        for l in 0..n {
            for _ in 0..SWEEPS {
                let small = |m: &usize| {
                    let (d, e) = (self.diagonal[*m].abs() + self.diagonal[m + 1].abs(), self.off[*m].abs());
                    e <= f64::EPSILON * d || e <= 1e-3 * f64::EPSILON * size
                };
                let m = (l..n - 1).find(small).unwrap_or(n - 1);
                if m == l {
                    break;
                }
                let sweep = self.sweep(l, m);
                if !strips.is_empty() {
                    turns += sweep.turns.len();
                    kept.push(sweep);
                }
                if turns > KEPT {
                    check()?;
                    rotate(strips, &kept);
                    kept.clear();
                    turns = 0;
                }
            }
            if l % 64 == 0 {
                check()?;
            }
        }
        rotate(strips, &kept);
        Ok(())
    }

    /// One implicit QL sweep over l … m.
    fn sweep(&mut self, l: usize, m: usize) -> Sweep {
        let (d, e) = (&mut self.diagonal, &mut self.off);
        let shift = (d[l + 1] - d[l]) / (2.0 * e[l]);
        let root = shift.hypot(1.0);
        let mut g = d[m] - d[l] + e[l] / (shift + root.copysign(shift));
        let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
        let mut sweep = Sweep { top: m, turns: Vec::with_capacity(m - l) };
        for i in (l..m).rev() {
            let (f, b) = (s * e[i], c * e[i]);
            let r = f.hypot(g);
            e[i + 1] = r;
            if r == 0.0 {
                // The matrix falls apart here, and the sweep ends early.
                d[i + 1] -= p;
                e[m] = 0.0;
                return sweep;
            }
            (s, c) = (f / r, g / r);
            g = d[i + 1] - p;
            let turned = (d[i] - g) * s + 2.0 * c * b;
            p = s * turned;
            d[i + 1] = g + p;
            g = c * turned - b;
            sweep.turns.push([c, s]);
        }
        d[l] -= p;
        e[l] = g;
        e[m] = 0.0;
        sweep
    }
}

fn rotate(strips: &mut [Vec<f64>], sweeps: &[Sweep]) {
    strips.par_iter_mut().for_each(|strip| dispatch::run(Rotated { strip, sweeps }));
}

struct Rotated<'a> {
    strip: &'a mut [f64],
    sweeps: &'a [Sweep],
}

impl Kernel for Rotated<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (columns, _) = self.strip.as_chunks_mut::<STRIP>();
        for sweep in self.sweeps {
            // The upper column of the next rotation is the lower one of this, and stays at hand.
            let mut upper = columns[sweep.top];
            let mut at = sweep.top;
            for &[c, s] in &sweep.turns {
                let lower = columns[at - 1];
                let mut out = [0.0; STRIP];
                for i in 0..STRIP {
                    out[i] = s * lower[i] + c * upper[i];
                    upper[i] = c * lower[i] - s * upper[i];
                }
                columns[at] = out;
                at -= 1;
            }
            columns[at] = upper;
        }
    }
}

/// vectors = Q · vectors, with Q the product of the reflectors in the rows of `a`.
fn reflect_back<E>(
    a: &[f64],
    n: usize,
    weights: &[f64],
    vectors: &mut [f64],
    count: usize,
    check: &dyn Fn() -> Result<(), E>,
) -> Result<(), E> {
    let blocks: Vec<usize> = (0..n.saturating_sub(1)).step_by(PANEL).collect();
    for &first in blocks.iter().rev() {
        check()?;
        let width = PANEL.min(n - 1 - first);
        let from = first + 1;
        let length = n - from;
        let mut v = vec![0.0; width * length];
        for (j, v) in v.chunks_exact_mut(length).enumerate() {
            v[j..].copy_from_slice(&a[(first + j) * n + from + j..(first + j + 1) * n]);
        }
        let joint = joined(&v, length, &weights[first..first + width]);
        let below = &mut vectors[from * count..];
        let mut onto = vec![0.0; width * count];
        let rows = View::new(&v, width, length, length);
        add_product(rows, View::new(below, length, count, count), &mut onto, count, Wanted::All);
        let mut turned = vec![0.0; width * count];
        let onto = View::new(&onto, width, count, count);
        add_product(View::new(&joint, width, width, width), onto, &mut turned, count, Wanted::All);
        turned.iter_mut().for_each(|x| *x = -*x);
        let turned = View::new(&turned, width, count, count);
        add_product(rows.transposed(), turned, below, count, Wanted::All);
    }
    Ok(())
}

/// The triangle T with H₀ H₁ … = I − Vᵀ T V, for reflectors in the rows of `v`.
fn joined(v: &[f64], length: usize, weights: &[f64]) -> Vec<f64> {
    let width = weights.len();
    let mut t = vec![0.0; width * width];
    for (i, &weight) in weights.iter().enumerate() {
        let mine = &v[i * length..(i + 1) * length];
        let dots: Vec<f64> = v[..i * length].chunks_exact(length).map(|other| dot(other, mine)).collect();
        for row in 0..i {
            let sum: f64 = (row..i).map(|k| t[row * width + k] * dots[k]).sum();
            t[row * width + i] = -weight * sum;
        }
        t[i * width + i] = weight;
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::svd::tests::noise;
    use std::convert::Infallible;

    fn taken_apart(a: &[f64], n: usize, wanted: usize) -> Eigen {
        eigen(a.to_vec(), n, wanted, &|| Ok::<(), Infallible>(())).unwrap()
    }

    fn symmetric(n: usize, seed: u64) -> Vec<f64> {
        let x = noise(n * n, seed);
        (0..n * n).map(|at| x[at / n * n + at % n] + x[at % n * n + at / n]).collect()
    }

    fn check(a: &[f64], n: usize, wanted: usize) {
        let Eigen { values, vectors } = taken_apart(a, n, wanted);
        let size = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let bound = 1e-15 * (size + f64::MIN_POSITIVE) * (n as f64).max(8.0);
        assert!(values.windows(2).all(|pair| pair[0] >= pair[1]), "{n}");
        let trace: f64 = (0..n).map(|i| a[i * n + i]).sum();
        assert!((values.iter().sum::<f64>() - trace).abs() <= bound * n as f64, "{n}");
        let v = View::new(&vectors, n, wanted, wanted);
        let (mut image, mut gram) = (vec![0.0; n * wanted], vec![0.0; wanted * wanted]);
        add_product(View::new(a, n, n, n), v, &mut image, wanted, Wanted::All);
        add_product(v.transposed(), v, &mut gram, wanted, Wanted::All);
        for i in 0..n {
            for (j, value) in values[..wanted].iter().enumerate() {
                let at = i * wanted + j;
                assert!((image[at] - value * vectors[at]).abs() <= bound, "{n}: A v = λ v");
            }
        }
        for (at, x) in gram.iter().enumerate() {
            let one = f64::from(u8::from(at / wanted == at % wanted));
            assert!((x - one).abs() < 1e-14 * n as f64, "{n}: vectors are orthogonal");
        }
    }

    #[test]
    fn vectors_are_vectors_at_every_size() {
        for n in [1, 2, 3, 5, 31, 32, 33, 34, 64, 65, 97, 200] {
            check(&symmetric(n, n as u64), n, n);
            check(&symmetric(n, n as u64), n, n.div_ceil(3));
        }
    }

    #[test]
    fn what_has_no_order_or_no_size_is_taken_apart_too() {
        let n = 70;
        let identity: Vec<f64> = (0..n * n).map(|at| f64::from(u8::from(at / n == at % n))).collect();
        check(&identity, n, n);
        check(&vec![0.0; n * n], n, n);
        check(&vec![1.0; n * n], n, n);
        let graded: Vec<f64> = (0..n * n).map(|at| 10_f64.powi(-((at / n + at % n) as i32) / 4)).collect();
        check(&graded, n, n);
        let blocks: Vec<f64> = (0..n * n).map(|at| if at / n / 7 == at % n / 7 { 2.0 } else { 0.0 }).collect();
        check(&blocks, n, n);
    }

    #[test]
    fn eigenvalues_known_by_hand() {
        // 2 on the diagonal, −1 beside it: 2 − 2 cos(kπ/(n+1)).
        let n = 50_usize;
        let a: Vec<f64> = (0..n * n)
            .map(|at| match (at / n).abs_diff(at % n) {
                0 => 2.0,
                1 => -1.0,
                _ => 0.0,
            })
            .collect();
        let found = taken_apart(&a, n, 0).values;
        for (k, value) in found.iter().rev().enumerate() {
            let exact = 2.0 - 2.0 * ((k + 1) as f64 * std::f64::consts::PI / (n + 1) as f64).cos();
            assert!((value - exact).abs() < 1e-14, "{k}: {value} {exact}");
        }
    }

    #[test]
    fn work_that_is_not_wanted_any_more_ends() {
        assert_eq!(eigen(symmetric(40, 1), 40, 40, &|| Err("enough")).map(|e| e.values), Err("enough"));
    }
}
