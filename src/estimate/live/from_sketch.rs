//! Symmetric grids of rows and groups: what the sketch said of every width when the profile was made.

use super::{Answer, Case, Rounding, rounding};
use crate::profile::{Grain, GridAnswer};

/// The answer from the grain's sketch; the dense target's rounding comes on top, as the checks have measured it.
pub(super) fn answer(case: &Case<'_>, grain: Grain, bits: u32, known: &GridAnswer) -> Answer {
    let mut answer = Answer::of(known);
    if rounding(case.tensor, case.target) == Rounding::Measured {
        let (extra, standard) = case.profile.checks.dense(grain, bits);
        answer.squared_error *= 1.0 + extra;
        answer.error = Some(standard / (1.0 + extra));
    }
    answer
}

impl Answer {
    /// What a plain symmetric grid comes to.
    pub(super) fn of(known: &GridAnswer) -> Self {
        Self {
            squared_error: known.squared_error,
            energy_after: known.energy_after,
            zeros: known.zeros,
            code_bits: Some(known.code_bits),
            ..Self::default()
        }
    }
}
