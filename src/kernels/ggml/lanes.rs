//! Sixteen blocks side by side, a block to a lane: what the searches for a scale work on.
//!
//! A search is a chain of sums whose order the reference fixes, so that one block leaves a processor waiting for itself.
//! Blocks know nothing of each other: lane by lane the same chain runs on sixteen at a time, and every lane gives the
//! reference's bits.

/// Blocks at a time: two registers of AVX2, one of AVX-512.
pub(super) const LANES: usize = 16;

/// One number of every block.
pub(super) type Wide = [f32; LANES];

/// What is smaller than this counts as nothing but zeros (`GROUP_MAX_EPS`).
pub(super) const ALL_ZERO: f32 = 1e-15;

/// Elements j of neighbouring runs of `N` values beside each other, for every j.
#[inline(always)]
pub(super) fn side_by_side<const N: usize>(runs: &[[f32; N]]) -> [Wide; N] {
    let mut rows = [[0.0; LANES]; N];
    for (lane, run) in (0..LANES).zip(runs) {
        for (row, &x) in rows.iter_mut().zip(run) {
            row[lane] = x;
        }
    }
    rows
}

/// Codes of lanes as codes of runs again.
#[inline(always)]
pub(super) fn one_after_another<const N: usize>(rows: &[[u8; LANES]; N]) -> [[u8; N]; LANES] {
    let mut runs = [[0; N]; LANES];
    for (j, row) in rows.iter().enumerate() {
        for (run, &q) in runs.iter_mut().zip(row) {
            run[j] = q;
        }
    }
    runs
}

/// The nearest integer, halves to even, as the reference finds it (`nearest_int`): from the bits of a sum whose last bit
/// counts ones. What lies beyond 2^22, or is no number, becomes what those bits say, which every processor agrees on.
#[inline(always)]
pub(super) fn nearest(x: f32) -> i32 {
    const ONES: f32 = 12_582_912.0;
    ((x + ONES).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

/// The value of the largest magnitude in every lane, the first of equals; 0 where that is less than [`ALL_ZERO`], which
/// stands for a lane of zeros.
#[inline(always)]
pub(super) fn signed_peaks<const N: usize>(x: &[Wide; N]) -> Wide {
    let mut most = [0.0; LANES];
    let mut signed = [0.0; LANES];
    for row in x {
        for lane in 0..LANES {
            let larger = row[lane].abs() > most[lane];
            most[lane] = if larger { row[lane].abs() } else { most[lane] };
            signed[lane] = if larger { row[lane] } else { signed[lane] };
        }
    }
    for lane in 0..LANES {
        signed[lane] = if most[lane] < ALL_ZERO { 0.0 } else { signed[lane] };
    }
    signed
}
