//! One grid tried on a handful of groups: the error alone, for checking sketches and for answering from samples.

use super::Real;
use super::dispatch::{self, Kernel};
use super::sketch::peak_of_lanes;

/// Symmetric grids with `top` levels above zero on groups of `size`; the range is each group's max|w|, or `peak` for all.
struct Trial<'a> {
    values: &'a [f32],
    size: usize,
    top: i32,
    peak: Option<f32>,
}

impl Kernel for Trial<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let mut sum = 0.0;
        for group in self.values.chunks(self.size) {
            let peak = match self.peak {
                Some(peak) => peak,
                None => group_peak(group),
            };
            let scale = peak / self.top as f32;
            if scale > 0.0 && scale.is_finite() {
                sum += group_error(group, scale);
            } else {
                sum += group.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>();
            }
        }
        sum
    }
}

#[inline(always)]
fn group_peak(group: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (whole, rest) = group.as_chunks::<16>();
    for values in whole.iter().map(|values| &values[..]).chain(std::iter::once(rest)) {
        for (lane, value) in lanes.iter_mut().zip(values) {
            let magnitude = value.abs();
            *lane = if magnitude > *lane { magnitude } else { *lane };
        }
    }
    peak_of_lanes(lanes)
}

#[inline(always)]
fn group_error(group: &[f32], scale: f32) -> f64 {
    const LANES: usize = 16;
    let error = |w: f32| {
        let difference = w - f32::from_code((w / scale).round_to_code()) * scale;
        // In units of the step, so that tiny weights do not vanish when squared.
        let steps = difference / scale;
        steps * steps
    };
    let mut lanes = [0.0_f32; LANES];
    let (whole, rest) = group.as_chunks::<LANES>();
    for values in whole {
        for (lane, &w) in lanes.iter_mut().zip(values) {
            *lane += error(w);
        }
    }
    for (lane, &w) in lanes.iter_mut().zip(rest) {
        *lane += error(w);
    }
    let sum: f64 = lanes.into_iter().map(f64::from).sum();
    sum * f64::from(scale) * f64::from(scale)
}

/// Σ(w − q)² of symmetric grids with `top` levels above zero on groups of `size`, each with the range max|w|, or all with
/// the range `peak`. f32 within a group, good to about 1e-6.
#[must_use]
pub fn symmetric_error(values: &[f32], size: usize, top: i32, peak: Option<f32>) -> f64 {
    dispatch::run(Trial { values, size: size.max(1), top, peak })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;
    use crate::kernels::quant::{Extent, Grid};

    #[test]
    fn agrees_with_the_grid_over_all_lengths_and_levels() {
        for length in (0..70).chain([128, 300]) {
            for scale in [1.0_f32, 1e-30, 1e30] {
                let values: Vec<f32> = (0..length).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013 * scale).collect();
                for (bits, size) in [(2, 32), (4, 64), (8, 128)] {
                    let top = (1 << (bits - 1)) - 1;
                    let mut expected = 0.0;
                    for group in values.chunks(size) {
                        let grid = Grid::new(bits, false, Extent::of(group)).unwrap();
                        let error = |&w: &f32| (f64::from(w) - f64::from(grid.value(grid.code(w)))).powi(2);
                        expected += group.iter().map(error).sum::<f64>();
                    }
                    for level in Level::all() {
                        let got = level.run(Trial { values: &values, size, top, peak: None });
                        let energy: f64 = values.iter().map(|&w| f64::from(w).powi(2)).sum();
                        assert!(
                            (got - expected).abs() <= 1e-5 * expected + 1e-12 * energy,
                            "{length} {bits} {got} {expected}"
                        );
                    }
                }
            }
        }
    }
}
