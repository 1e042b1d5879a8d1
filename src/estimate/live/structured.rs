//! Rows and columns that structured pruning takes out, from the energies of lines that profiles know: which go is a look-up, and
//! so is what they were worth. What a scheme does to the rest is taken in proportion, and then said to be sampled.

use super::{Answer, Case, Engine};
use crate::compress::structure::{self, add_by_unit, order_of};
use crate::compress::{Input, Joint};
use crate::control::Control;
use crate::kernels::kept::Kept;
use crate::model::Model;
use crate::profile;
use crate::recipe::Plan;
use crate::recipe::removals::{Part, Removal};
use std::sync::Arc;

/// How far the error of a scheme may be off on the rows that stay, as a share of it, when it is taken in proportion to their
/// energy.
const IN_PROPORTION: f64 = 0.05;

/// What structured pruning takes from one tensor.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    /// Σw² of everything that goes or becomes zero.
    energy: f64,
    /// How far that may be off: what lies in rows and columns that both go is known only in proportion.
    doubt: f64,
    /// Elements that are stored no more.
    removed: f64,
    /// Elements that are stored as zeros.
    zeroed: f64,
}

impl Engine {
    /// What structured pruning leaves of a plan's tensors, as far as profiles tell.
    pub(super) fn removed(&mut self, model: &Model, plan: &Plan) -> Arc<Joint> {
        if let Some((cuts, joint)) = &self.removed
            && *cuts == plan.removals.cuts
        {
            return joint.clone();
        }
        let joint = Arc::new(self.remove(model, plan));
        self.removed = Some((plan.removals.cuts.clone(), joint.clone()));
        joint
    }

    fn remove(&mut self, model: &Model, plan: &Plan) -> Joint {
        let mut gone: Vec<Option<Arc<Vec<usize>>>> = Vec::with_capacity(plan.removals.cuts.len());
        for cut in &plan.removals.cuts {
            let order = self.orders.get(&cut.ranked_by).cloned().or_else(|| self.order(model, cut));
            let order = order.inspect(|order| {
                self.orders.insert(cut.ranked_by.clone(), order.clone());
            });
            gone.push(order.map(|order| {
                let mut goes = vec![false; cut.units];
                order[..cut.removed].iter().for_each(|&unit| goes[unit] = true);
                Arc::new((0..cut.units).filter(|&unit| goes[unit]).collect())
            }));
        }
        if self.orders.len() > 4 * plan.removals.cuts.len() + 64 {
            self.orders.clear();
        }
        Joint::of_known(model, plan, &gone)
    }

    /// All units of a dimension, those with the smallest sums of squares first.
    fn order(&self, model: &Model, cut: &Removal) -> Option<Arc<Vec<usize>>> {
        let mut sums = vec![0.0; cut.units];
        for part in &cut.ranked_by {
            add_by_unit(part, &self.energies(model, part)?, &mut sums);
        }
        Some(Arc::new(order_of(&sums)))
    }

    /// Σw² of the indices of a dimension: from the profile, or of a small tensor from the tensor itself.
    fn energies(&self, model: &Model, part: &Part) -> Option<Vec<f64>> {
        let tensor = &model.tensors[part.tensor];
        if tensor.elements() < profile::SMALL {
            return structure::energies(model, tensor, part.axis, &Control::default()).ok();
        }
        let energies = &self.profile(part.tensor).filter(|p| !p.coarse)?.energies[part.axis];
        let len = tensor.shape.get(part.axis).copied().unwrap_or_default();
        (energies.len() == len).then(|| energies.iter().copied().map(f64::from).collect())
    }
}

/// Σ over the lines that go and those that become zero, of a dimension in which `kept` stay and of these `alive` are not
/// zeroed. Each entry of `energies` is of `inner` neighbouring lines.
fn energy_of_lines(kept: &Kept, alive: Option<&Kept>, energies: &[f32], inner: usize) -> f64 {
    let zeroed = alive.into_iter().flat_map(Kept::gaps).flat_map(|gap| kept.places(gap));
    let lines = kept.gaps().chain(zeroed);
    let each = lines.flat_map(|gap| gap.start / inner..gap.end.div_ceil(inner));
    each.filter_map(|line| energies.get(line)).map(|&energy| f64::from(energy)).sum()
}

impl Case<'_> {
    /// What goes of this tensor; `None` when its lines are not known.
    pub(super) fn lost(&self, joint: &Joint, index: usize) -> Option<Lost> {
        let leaves = joint.leaves(index)?;
        let whole = self.tensor.geometry();
        let [of_rows, of_cols] = &self.profile.energies;
        let all = (Arc::new(Kept::all(whole.rows)), Arc::new(Kept::all(whole.cols)));
        let (rows, cols) = match &leaves.input {
            Input::Part { rows, cols } => (rows, cols),
            Input::Whole | Input::Held(_) => (&all.0, &all.1),
        };
        let zeroed = leaves.zeroed.as_ref();
        let inner = self.tensor.shape.iter().skip(2).product::<usize>().max(1);
        let in_rows = energy_of_lines(rows, zeroed.map(|z| &*z.rows), of_rows, 1);
        let in_cols = energy_of_lines(cols, zeroed.map(|z| &*z.cols), of_cols, inner);
        if of_rows.len() != whole.rows || of_cols.len() * inner != whole.cols {
            return None;
        }
        let energy = self.profile.moments.energy;
        let both = if energy > 0.0 { in_rows * in_cols / energy } else { 0.0 };
        let stored = (rows.len() * cols.len()) as f64;
        let alive = zeroed.map_or(stored, |z| (z.rows.len() * z.cols.len()) as f64);
        Some(Lost {
            energy: (in_rows + in_cols - both).clamp(0.0, energy),
            doubt: both,
            removed: whole.len() as f64 - stored,
            zeroed: stored - alive,
        })
    }
}

impl Lost {
    /// What becomes of an answer for the whole tensor.
    pub(super) fn taken_from(self, answer: &Answer, case: &Case<'_>) -> Answer {
        let (energy, n) = (case.profile.moments.energy, case.tensor.elements() as f64);
        let left = if energy > 0.0 { 1.0 - self.energy / energy } else { 1.0 };
        let alive = n - self.removed - self.zeroed;
        let share = if n > 0.0 { alive / n } else { 1.0 };
        let (zeros, rest) = (answer.zeros * share, answer.squared_error * left);
        let squared_error = rest + self.energy;
        let doubt = (answer.error.unwrap_or_default() * rest).hypot(IN_PROPORTION * rest).hypot(self.doubt);
        Answer {
            squared_error,
            pruned_error: answer.pruned_error * left + self.energy,
            clipped_error: answer.clipped_error * left,
            energy_after: answer.energy_after * left,
            zeros: zeros + self.zeroed,
            code_bits: answer.code_bits.map(|bits| with_zeros(bits * share, alive, zeros, self.zeroed)),
            error: if doubt > 0.0 && squared_error > 0.0 { Some(doubt / squared_error) } else { answer.error },
            sampled: answer.sampled || doubt > 0.0,
        }
    }
}

/// n·H0 of `alive` codes of which `zeros` are 0 and whose n·H0 is `bits`, when `more` zeros join them.
fn with_zeros(bits: f64, alive: f64, zeros: f64, more: f64) -> f64 {
    let term = |count: f64, of: f64| if count > 0.0 { count * (of / count).log2() } else { 0.0 };
    let all = alive + more;
    let nonzero = alive - zeros;
    let spread = if alive > 0.0 { nonzero * (all / alive).log2() } else { 0.0 };
    bits - term(zeros, alive) + spread + term(zeros + more, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::entropy::shannon_bits;

    #[test]
    fn zeros_that_join_change_the_entropy_as_if_counted_at_once() {
        let before = shannon_bits([10, 30, 20]);
        assert!((with_zeros(before, 60.0, 10.0, 40.0) - shannon_bits([50, 30, 20])).abs() < 1e-9);
        assert!((with_zeros(before, 60.0, 10.0, 0.0) - before).abs() < 1e-9);
        assert!(with_zeros(0.0, 0.0, 0.0, 7.0).abs() < 1e-9);
    }

    #[test]
    fn lines_that_go_and_lines_that_are_zeroed_are_added_up() {
        let kept = Kept::without(6, [1..2, 4..6]);
        let energies = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        assert_eq!(energy_of_lines(&kept, None, &energies, 1), 50.0);
        // Of the three that stay (0, 2, 3) the last becomes zero.
        assert_eq!(energy_of_lines(&kept, Some(&Kept::without(3, [2..3])), &energies, 1), 58.0);
        let blocks = Kept::without(6, [2..4]);
        assert_eq!(energy_of_lines(&blocks, None, &[1.0, 2.0, 4.0], 2), 2.0);
    }
}
