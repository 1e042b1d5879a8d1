//! Levels of every kind for live answers: those of a whole tensor fitted to its value table, those of a drawn group to the group or
//! to what is known of its row.

use super::{Case, from_sample, from_table};
use crate::kernels::best::best;
use crate::kernels::codebook::{Codebook, Ordered, lloyd};
use crate::kernels::convert::{F8_E4M3, F8_E5M2};
use crate::kernels::layout::Unit;
use crate::kernels::levels::{GRID_ZERO, Levels};
use crate::kernels::nf4::{Normal, ZERO};
use crate::kernels::quant::{Extent, Grid};
use crate::kernels::signs::{Binary, Ternary};
use crate::kernels::small::{Scaled, mx_exponent, nv_global, nv_scale};
use crate::profile::{Cut, Sample, Segment};
use crate::recipe::{Prune, Quantize, Scheme, Scope};
use std::convert::Infallible;
use std::sync::Arc;

/// Points that stand for a bin of a wide dtype when centroids are sought: they move far more than a bin is wide.
const PIECES_OF_CENTROIDS: u32 = 2;
/// Parts of an element that are told apart when centroids are sought: a bin of one element has two halves.
const PARTS: f64 = 4.0;

/// The unit of a scheme with levels; `None` for casts, and for no quantization.
pub(super) fn unit_of(scheme: &Scheme) -> Option<Unit> {
    let own = |row: bool| if row { Unit::Row } else { Unit::Tensor };
    match *scheme.quantize.as_ref()? {
        Quantize::Int { unit, .. } => Some(unit),
        Quantize::Fp8 { row: true, .. } => Some(Unit::Row),
        Quantize::Mxfp4 => Some(Unit::Group(32)),
        Quantize::Nvfp4 => Some(Unit::Group(16)),
        Quantize::Nf4(size) => Some(Unit::Group(size)),
        Quantize::Ternary { row } | Quantize::Binary { row } | Quantize::Codebook { row, .. } => Some(own(row)),
        Quantize::F16 | Quantize::Bf16 | Quantize::Fp8 { row: false, .. } | Quantize::Gguf(_) => None,
    }
}

/// The symbol that reads 0 and nothing else, where there is one.
pub(super) fn zero_symbol(scheme: &Scheme) -> Option<usize> {
    match scheme.quantize.as_ref()? {
        Quantize::Int { .. } => Some(GRID_ZERO as usize),
        Quantize::Ternary { .. } => Some(1),
        Quantize::Nf4(_) => Some(ZERO as usize),
        Quantize::Codebook { .. } => scheme.prune.is_some().then_some(0),
        Quantize::Binary { .. } | Quantize::Gguf(_) => None,
        _ => Some(0),
    }
}

/// The levels of the whole tensor, which its marginal distribution decides.
pub(super) fn whole(case: &Case<'_>) -> Option<Levels<f32>> {
    match *case.scheme.quantize.as_ref()? {
        Quantize::Int { bits, asymmetric, .. } => {
            Grid::new(bits, asymmetric, from_table::range_of(case)?).map(Levels::Grid)
        }
        Quantize::Ternary { row: false } => {
            let points = points(case, from_table::PIECES)?;
            let threshold = Ternary::threshold(mean_above(case, &points, 0.0));
            let scale = mean_above(case, &points, threshold);
            Some(Levels::Ternary(Ternary { threshold, scale }))
        }
        Quantize::Binary { row: false } => {
            let points = points(case, from_table::PIECES)?;
            Some(Levels::Binary(Binary { scale: mean_above(case, &points, 0.0) }))
        }
        // Where each row is pruned by itself, drawn groups know too little of the few that are far out.
        Quantize::Codebook { row: false, .. } if is_pruned_by_rows(case) => None,
        Quantize::Codebook { k, row: false, best } => {
            let mut points = from_table::points(case, PIECES_OF_CENTROIDS);
            let count = |point: &(f32, f64)| (point.1 * PARTS).round().max(0.0) as u64;
            points.retain(|point| count(point) > 0 && (point.0 != 0.0 || case.scheme.prune.is_none()));
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let counts = points.iter().map(count).collect();
            let ends = ends(case)?;
            let ordered = Ordered::sorted(points.iter().map(|point| point.0).collect(), counts);
            Some(codebook(case, &ordered, ends, k as usize, best))
        }
        _ => None,
    }
}

/// Values that stand for what pruning leaves of the whole tensor, with their counts: the value table's, or drawn ones where each
/// row is pruned by itself.
fn points(case: &Case<'_>, pieces: u32) -> Option<Vec<(f32, f64)>> {
    if is_pruned_by_rows(case) { from_sample::survivors(case) } else { Some(from_table::points(case, pieces)) }
}

fn is_pruned_by_rows(case: &Case<'_>) -> bool {
    matches!(case.scheme.prune, Some(Prune::Magnitude { scope: Scope::Row, .. }))
}

/// The mean magnitude of what is strictly above a bound; above nothing, of all that counts.
fn mean_above(case: &Case<'_>, points: &[(f32, f64)], bound: f32) -> f32 {
    let over = |point: &&(f32, f64)| point.0.abs() > bound;
    let sum: f64 = points.iter().filter(over).map(|(w, weight)| f64::from(w.abs()) * weight).sum();
    let every = bound == 0.0 && case.scheme.prune.is_none();
    let count: f64 = points.iter().filter(|point| every || over(point)).map(|point| point.1).sum();
    if count > 0.0 { (sum / count) as f32 } else { 0.0 }
}

/// The least and the greatest of what pruning leaves.
fn ends(case: &Case<'_>) -> Option<[f64; 2]> {
    let moments = &case.profile.moments;
    let threshold = case.profile.table.magnitude(case.cut.unwrap_or(Cut::NOTHING));
    // The survivors nearest to the threshold are the ends of a side that has no others.
    let alive = |end: f64, other: f64| if end.abs() >= threshold { end } else { other.signum() * threshold };
    let [low, high] = [alive(moments.min, moments.max), alive(moments.max, moments.min)];
    (moments.finite > 0).then_some([low, high])
}

fn codebook(case: &Case<'_>, ordered: &Ordered<f32>, ends: [f64; 2], k: usize, is_best: bool) -> Levels<f32> {
    let Ok(centroids) = if is_best {
        best(ordered, k, || Ok::<_, Infallible>(()))
    } else {
        lloyd(k, ends, |bounds| Ok::<_, Infallible>(ordered.cells(bounds)))
    };
    Levels::Codebook(Arc::new(Codebook { centroids, zeros_apart: case.scheme.prune.is_some() }))
}

/// The levels of a piece of a drawn group, the i-th, after pruning at `threshold`. The scheme is no integer grid.
pub(super) fn of_group(
    case: &Case<'_>,
    sample: &Sample,
    (i, segment): (usize, &Segment),
    values: &[f32],
    threshold: f32,
) -> Option<Levels<f32>> {
    let peak = Extent::of(values).abs_max();
    // A row no longer than its group is at hand; of a longer one the profile knows some things.
    let far = case.tensor.geometry().cols > values.len();
    match *case.scheme.quantize.as_ref()? {
        Quantize::Fp8 { e5m2, row: true } => {
            let format = if e5m2 { F8_E5M2 } else { F8_E4M3 };
            let peak = if far { Extent { low: segment.low, high: segment.high }.abs_max() } else { peak };
            let peak = if peak >= threshold { peak } else { 0.0 };
            Some(Levels::Float(Scaled { format, scale: peak / format.max() as f32 }))
        }
        Quantize::Mxfp4 => mx_exponent(peak).map(Levels::Mx),
        Quantize::Nvfp4 => {
            let global = nv_global(case.profile.moments.abs_max() as f32)?;
            Some(Levels::Nv { scale: nv_scale(peak, global)?, global })
        }
        Quantize::Nf4(_) => Some(Levels::Normal(Normal { scale: peak })),
        Quantize::Ternary { row: true } => {
            let row = row_points(case, sample, i, values, threshold);
            let cut = Ternary::threshold(mean_above(case, &row, 0.0));
            Some(Levels::Ternary(Ternary { threshold: cut, scale: mean_above(case, &row, cut) }))
        }
        Quantize::Binary { row: true } => {
            let row = row_points(case, sample, i, values, threshold);
            Some(Levels::Binary(Binary { scale: mean_above(case, &row, 0.0) }))
        }
        Quantize::Codebook { k, row: true, best } => {
            let known = if far { sample.order_of(i)? } else { values };
            let left: Vec<f32> = known
                .iter()
                .copied()
                .filter(|w| case.scheme.prune.is_none() || (w.abs() >= threshold && *w != 0.0))
                .collect();
            let ordered = Ordered::of(left);
            Some(codebook(case, &ordered, ordered.ends(), k as usize, best))
        }
        _ => whole(case),
    }
}

/// Magnitudes of a row after pruning, each with its weight: its own where it is at hand, else steps between its quantiles.
fn row_points(case: &Case<'_>, sample: &Sample, i: usize, values: &[f32], threshold: f32) -> Vec<(f32, f64)> {
    /// Points that stand for a row.
    const POINTS: usize = 256;
    if case.tensor.geometry().cols <= values.len() {
        return values.iter().map(|&w| (w, 1.0)).collect();
    }
    let pruned = case.scheme.prune.is_some();
    let point = |at: usize| sample.row_quantile(i, (at as f64 + 0.5) / POINTS as f64);
    let left = |&w: &f32| !pruned || (w >= threshold && w > 0.0);
    (0..POINTS).map(point).filter(left).map(|w| (w, 1.0)).collect()
}
