//! A recipe in its final form: what was accepted in place of what a target cannot hold is the choice from there on.

use super::{Plan, Recipe};
use crate::model::Model;

impl Recipe {
    /// The recipe as a plan carries it out: its target named, schemes as the target holds them, with an override for each tensor
    /// whose shape asked for another one than its line has, single tensors in order of name.
    #[must_use]
    pub fn settled(&self, model: &Model, plan: &Plan) -> Self {
        let mut out = self.clone();
        out.target = Some(plan.target);
        let schemes =
            out.rules.iter_mut().map(|r| &mut r.scheme).chain(out.overrides.iter_mut().map(|o| &mut o.scheme));
        for scheme in schemes {
            if let Some(nearest) = plan.target.nearest(scheme) {
                *scheme = nearest;
            }
        }
        for (tensor, assignment) in model.tensors.iter().zip(&plan.assignments) {
            let by_line = plan.target.nearest(&assignment.scheme);
            if assignment.stored != *by_line.as_ref().unwrap_or(&assignment.scheme) {
                out.set_one(&tensor.name, assignment.stored.clone());
            }
        }
        out.overrides.sort_by(|a, b| a.tensor.cmp(&b.tensor));
        out.locked.sort();
        out.locked.dedup();
        out
    }

    /// The form that an artifact carries: [`settled`](Self::settled), with masks that are in the artifact itself.
    #[must_use]
    pub fn canonical(&self, model: &Model, plan: &Plan) -> Self {
        let mut out = self.settled(model, plan);
        out.embed_masks();
        out
    }
}
