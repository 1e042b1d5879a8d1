//! The first answer, long before every weight is read: a few whole rows, spread over the tensor, stand for the rest.

use super::build::peaks_of;
use super::sample::{Draw, GROUP, bit_reversed, gather};
use super::{Error, Grids, Profile, ValueTable, check, is_told_by_upper_bits};
use crate::control::Control;
use crate::kernels::entropy::Gaps;
use crate::kernels::layout::Geometry;
use crate::kernels::quant::Extent;
use crate::kernels::stats::{Moments, moments};
use crate::kernels::table::{Counts, SIGNED};
use crate::model::{Model, Scratch, Tensor};
use std::collections::HashMap;

/// Rows that are looked at.
const ROWS: usize = 64;
/// Groups kept from each, at most.
const GROUPS_PER_ROW: usize = 4;
/// Elements of a row that are looked at, at most.
const LONGEST: usize = 1 << 15;

/// A profile from a few rows, for a tensor that gets sketches. Everything in it is a guess, and says so (`coarse`).
///
/// # Errors
/// When the tensor cannot be read, or the work is cancelled.
pub fn coarse_profile(model: &Model, tensor: &Tensor, control: &Control) -> Result<Profile, Error> {
    let geometry = tensor.geometry();
    let rows = rows(geometry);
    let mut counts = Counts::default();
    let mut seen = Moments::default();
    let mut extents: HashMap<usize, [f32; 2]> = HashMap::new();
    let (mut values, mut scratch) = (Vec::new(), Scratch::default());
    for &row in &rows {
        if control.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let first = row * geometry.cols;
        model.values::<f32>(tensor, first..first + geometry.cols.min(LONGEST), &mut values, &mut scratch)?;
        counts.add(&values);
        seen = seen.merge(moments(&values));
        let extent = Extent::of(&values);
        extents.insert(row, [extent.low, extent.high]);
    }
    let sample = gather(
        model,
        tensor,
        &draws(geometry, &rows),
        |row| extents.get(&row).copied().unwrap_or_default(),
        false,
        control,
    )?;
    let scale = geometry.len() as f64 / ((seen.finite + seen.non_finite()) as f64).max(1.0);
    let grown = |count: u64| (count as f64 * scale).round() as u64;
    let mut sum = vec![0_u64; SIGNED];
    counts.add_to(&mut sum);
    sum.iter_mut().for_each(|count| *count = grown(*count));
    let zeros = grown(seen.zeros);
    let table = ValueTable::new(&sum, is_told_by_upper_bits(tensor), zeros);
    let all = geometry.len() as u64;
    let moments = Moments {
        finite: grown(seen.finite).min(all),
        zeros: zeros.min(all),
        nan: grown(seen.nan),
        inf: grown(seen.inf),
        m2: seen.m2 * scale,
        energy: seen.energy * scale,
        ..seen
    };
    Ok(Profile {
        coarse: true,
        gaps: Gaps::expected(all, all - moments.zeros),
        moments,
        table,
        rows: Vec::new(),
        energies: [Vec::new(), Vec::new()],
        sketches: [const { None }; 4],
        peaks: peaks_of(&sample),
        sample: Some(sample),
        direct: [[f64::NAN; 2]; 4],
        casts: [f64::NAN; 2],
        checks: check::Checks::default(),
        grids: Grids::default(),
        tables: None,
    })
}

/// Rows spread evenly, the first from the middle of the first part.
fn rows(geometry: Geometry) -> Vec<usize> {
    // Short rows: more of them, so that a few thousand weights are seen.
    let wanted = ROWS.max(16_384 / geometry.cols.max(1)).min(geometry.rows);
    (0..wanted).map(|i| (2 * i + 1) * geometry.rows / (2 * wanted)).collect()
}

/// A few groups of each row, at places that move on from row to row.
fn draws(geometry: Geometry, rows: &[usize]) -> Vec<Draw> {
    let per_row = geometry.cols.min(LONGEST).div_ceil(GROUP).max(1);
    let stride = geometry.cols.div_ceil(GROUP).max(1);
    let kept = per_row.min(GROUPS_PER_ROW);
    let weight = (geometry.rows * stride) as f64 / (rows.len() * kept) as f64;
    let of_row = |(i, &row): (usize, &usize)| {
        // A step coprime to most row lengths walks over all places.
        (0..kept).map(move |k| Draw { group: row * stride + (i * 7 + k * per_row / kept) % per_row, weight })
    };
    bit_reversed(rows.iter().enumerate().flat_map(of_row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_groups_are_spread_and_inside() {
        for (r, c) in [(1, 1_000_000), (4096, 4096), (300, 784), (70_000, 9), (5, 20_000), (64, 200)] {
            let geometry = Geometry { rows: r, cols: c };
            let rows = rows(geometry);
            assert!(rows.iter().all(|&row| row < r) && rows.windows(2).all(|w| w[0] < w[1]), "{r} {c}");
            let draws = draws(geometry, &rows);
            let stride = c.div_ceil(GROUP);
            assert!(draws.iter().all(|d| d.group / stride < r), "{r} {c}");
            let groups: f64 = draws.iter().map(|d| d.weight).sum();
            assert!((groups / (r * stride) as f64 - 1.0).abs() < 1e-9);
        }
    }
}
