//! Symmetric grids of rows and groups: one dot product with the group-normalised sketch.

use super::{Answer, Case, Rounding, rounding};
use crate::kernels::sketch::level_table;
use crate::profile::Grain;

/// The answer from the grain's sketch.
pub(super) fn answer(case: &Case<'_>, grain: Grain, bits: u32) -> Option<Answer> {
    let sketch = case.profile.trusted_sketch(grain, bits)?;
    let table = level_table(bits);
    let [mut squared_error, energy_after] = sketch.errors(table);
    let mut error = None;
    if rounding(case.tensor, case.target) == Rounding::Measured {
        let (extra, standard) = case.profile.checks.dense(grain, bits);
        squared_error *= 1.0 + extra;
        error = Some(standard / (1.0 + extra));
    }
    let levels = sketch.level_counts(table);
    let zeros = levels.first().copied().unwrap_or_default();
    Some(Answer {
        squared_error,
        pruned_error: 0.0,
        energy_after,
        zeros,
        codes: signed(&levels, case.profile.table.positive_share()),
        error,
    })
}

/// Counts of magnitudes as counts of signed codes: level 0, then each level on both sides of zero.
pub(super) fn signed(levels: &[f64], positive: f64) -> Vec<f64> {
    let (zero, others) = levels.split_first().unwrap_or((&0.0, &[]));
    let sides = others.iter().flat_map(|count| [count * positive, count * (1.0 - positive)]);
    std::iter::once(*zero).chain(sides).collect()
}
