//! Tensors that a target stores as one: what is chosen for the number format of one of them is chosen for all.

use super::{Plan, Recipe, Target};
use crate::model::Model;

impl Recipe {
    /// The same with the number format of the `touched` tensors given to those that the target stores as one with them. Locked
    /// tensors are left as they are, and so is what each of them prunes.
    #[must_use]
    pub fn joined(mut self, model: &Model, target: Target, touched: &[usize]) -> Self {
        let Some(runtime) = target.runtime() else { return self };
        // What does not fit is told by the plan that is made of it.
        let Ok(plan) = Plan::unchecked(model, &self, target) else { return self };
        for members in model.joined(runtime) {
            let Some(lead) = members.iter().find(|member| touched.contains(member)) else { continue };
            let quantize = &plan.assignments[*lead].scheme.quantize;
            for &member in members {
                let (name, scheme) = (&model.tensors[member].name, &plan.assignments[member].scheme);
                if scheme.quantize != *quantize && !self.locked.contains(name) {
                    self.set_one(name, scheme.clone().with_quantize(quantize.clone()));
                }
            }
        }
        self
    }
}

impl Plan {
    /// With which others the target stores a tensor as one, in words; `None` where it stands alone.
    #[must_use]
    pub fn joined_note(&self, model: &Model, index: usize) -> Option<String> {
        let members = model.joined(self.target.runtime()?).iter().find(|members| members.contains(&index))?;
        let part = |member: &usize| model.module_of(*member)?.rsplit('.').next();
        let others: Vec<&str> = members.iter().filter(|member| **member != index).filter_map(part).collect();
        let (target, shown) = (self.target.name(), others.len().min(3));
        let more = if others.len() > shown { format!(" and {} more", others.len() - shown) } else { String::new() };
        Some(format!("{target} stores it as one with {}{more}: they share a number format", others[..shown].join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dial_turns_all_that_are_stored_as_one() {
        let shape = &[64_usize, 64][..];
        let name = |part: &str| format!("model.layers.0.self_attn.{part}.weight");
        let tensors = ["k_proj", "o_proj", "q_proj", "v_proj"].map(|part| (name(part), shape));
        let model = Model::named(&tensors, None);
        let target = Target::CompressedTensors;
        let mut recipe = Recipe { target: Some(target), ..Recipe::default() };
        recipe.set(&model, &format!("{}=prune:0.5", name("k_proj"))).unwrap();
        recipe.set(&model, &format!("{}=int4:g32", name("q_proj"))).unwrap();
        assert!(Plan::new(&model, &recipe, false).is_err());
        let joined = recipe.clone().joined(&model, target, &[2]);
        let plan = Plan::new(&model, &joined, false).unwrap();
        let schemes: Vec<String> = plan.assignments.iter().map(|a| a.stored.to_string()).collect();
        assert_eq!(schemes, ["prune:0.5+int4:g32", "keep", "int4:g32", "int4:g32"]);
        let note = plan.joined_note(&model, 2).unwrap();
        assert!(note.contains("k_proj, v_proj") && plan.joined_note(&model, 1).is_none(), "{note}");
        // Other targets join nothing, and what is locked stays.
        assert_eq!(recipe.clone().joined(&model, Target::Packed, &[2]), recipe);
        recipe.locked.push(name("v_proj"));
        let locked = recipe.joined(&model, target, &[2]);
        assert!(
            locked.overrides.iter().all(|o| o.tensor != name("v_proj")) && Plan::new(&model, &locked, false).is_err()
        );
    }
}
