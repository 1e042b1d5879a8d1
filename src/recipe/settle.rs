//! A recipe in its final form: what was accepted in place of what a target cannot hold is the choice from there on.

use super::{Plan, Recipe, Scheme};
use crate::model::Model;
use std::collections::BTreeMap;

impl Recipe {
    /// The recipe as a plan carries it out: its target named, schemes as the target holds them, with an override for each tensor
    /// whose shape asked for another one than its line has, single tensors in order of name. What is ranked with other tensors
    /// stays in its line, with which it would leave them: there a plan has to take the nearest again.
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
        for (index, (tensor, assignment)) in model.tensors.iter().zip(&plan.assignments).enumerate() {
            let by_line = plan.target.nearest(&assignment.scheme);
            if assignment.scheme.is_global() {
                continue;
            }
            if assignment.stored != *by_line.as_ref().unwrap_or(&assignment.scheme) {
                // A line of its own may not ask for what the tensor has none of.
                out.set_one(&tensor.name, plan.lasting(index));
            }
        }
        out.overrides.sort_by(|a, b| a.tensor.cmp(&b.tensor));
        out.locked.sort();
        out.locked.dedup();
        out
    }

    /// Whether it is as a plan carries it out already, but for what is pruned together.
    #[must_use]
    pub fn is_settled(&self, model: &Model, plan: &Plan) -> bool {
        let settled = self.settled(model, plan);
        let single = |recipe: &Self| -> BTreeMap<String, Scheme> {
            recipe.overrides.iter().map(|item| (item.tensor.clone(), item.scheme.clone())).collect()
        };
        self.rules == settled.rules && single(self) == single(&settled)
    }

    /// Whether the target holds some of this only in a nearest form.
    #[must_use]
    pub fn needs_nearest(&self, model: &Model) -> bool {
        Plan::new(model, self, false).is_err() && Plan::new(model, self, true).is_ok()
    }

    /// The form that an artifact carries: [`settled`](Self::settled), with masks that are in the artifact itself.
    #[must_use]
    pub fn canonical(&self, model: &Model, plan: &Plan) -> Self {
        let mut out = self.settled(model, plan);
        out.embed_masks();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Target;

    #[test]
    fn a_settled_recipe_is_planned_to_the_same_again() {
        let names = ["blk.0.attn_q.weight", "blk.0.ffn_down.weight", "blk.1.ffn_down.weight"];
        let shapes = [&[64_usize, 512][..], &[64, 160], &[64, 100]];
        let model = Model::named(&names.map(str::to_owned).into_iter().zip(shapes).collect::<Vec<_>>(), None);
        for (target, scheme) in [
            (Target::Packed, "prune:0.5:global+q6_k"),
            (Target::Safetensors, "prune:0.5:global+q6_k"),
            (Target::Safetensors, "prune:0.5+q4_k"),
            (Target::Mlx, "prune:0.5:global+int4:g64"),
            (Target::Mlx, "int4:g64"),
            (Target::CompressedTensors, "prune:0.5:global+int4:g64"),
        ] {
            let mut recipe = Recipe { target: Some(target), ..Recipe::default() };
            recipe.set(&model, &format!("*={scheme}")).unwrap();
            let plan = Plan::new(&model, &recipe, true).unwrap();
            let again = Plan::new(&model, &recipe.settled(&model, &plan), true).unwrap();
            let stored = |plan: &Plan| plan.assignments.iter().map(|a| a.stored.to_string()).collect::<Vec<_>>();
            let pools = |plan: &Plan| plan.pools.values().cloned().collect::<Vec<_>>();
            assert_eq!((stored(&again), pools(&again)), (stored(&plan), pools(&plan)), "{scheme} {}", target.name());
        }
    }
}
