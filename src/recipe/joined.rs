//! Tensors that a target stores as one: what is chosen for the number format of one of them is chosen for all.

use super::runtimes::{self, Form};
use super::{Error, Outcome, Override, Plan, Recipe, Scheme, Target};
use crate::model::Model;
use std::collections::{HashMap, HashSet};

impl Recipe {
    /// The same with the number format of the `touched` tensors given to those that the target stores as one with them. Locked
    /// tensors are left as they are, and so is what each of them prunes.
    #[must_use]
    pub fn joined(mut self, model: &Model, target: Target, touched: &[usize]) -> Self {
        let Some(runtime) = target.runtime() else { return self };
        // What does not fit is told by the plan that is made of it.
        let Ok(plan) = Plan::unchecked(model, &self, target) else { return self };
        // A hand in motion asks this in every frame, and may hold thousands of tensors.
        let touched: HashSet<usize> = touched.iter().copied().collect();
        let locked: HashSet<&str> = self.locked.iter().map(String::as_str).collect();
        let mut changed: HashMap<&str, Scheme> = HashMap::new();
        for members in model.joined(runtime) {
            let Some(lead) = members.iter().find(|member| touched.contains(member)) else { continue };
            let quantize = &plan.assignments[*lead].scheme.quantize;
            for &member in members {
                let (name, scheme) = (model.tensors[member].name.as_str(), &plan.assignments[member].scheme);
                if scheme.quantize != *quantize && !locked.contains(name) {
                    changed.insert(name, scheme.clone().with_quantize(quantize.clone()));
                }
            }
        }
        for item in &mut self.overrides {
            if let Some(scheme) = changed.remove(item.tensor.as_str()) {
                item.scheme = scheme;
            }
        }
        let new = changed.into_iter().map(|(name, scheme)| Override { tensor: name.to_owned(), scheme });
        let known = self.overrides.len();
        self.overrides.extend(new);
        self.overrides[known..].sort_by(|a, b| a.tensor.cmp(&b.tensor));
        self
    }
}

/// Tensors that a runtime makes one of, and what a plan makes of each.
struct Set<'a> {
    target: Target,
    model: &'a Model,
    members: &'a [usize],
    outcomes: Vec<Outcome<'a>>,
    forms: Vec<Form>,
    /// Which of them stay as they are because they are locked.
    locked: Vec<bool>,
}

impl<'a> Set<'a> {
    fn of(plan: &'a Plan, model: &'a Model, members: &'a [usize], locked: &HashSet<&str>) -> Self {
        let target = plan.target;
        let outcomes: Vec<Outcome<'a>> = members.iter().map(|&i| plan.outcome(model, i)).collect();
        let forms = outcomes.iter().map(|of| runtimes::form(target, of)).collect();
        let locked = members.iter().map(|&i| locked.contains(model.tensors[i].name.as_str())).collect();
        Self { target, model, members, outcomes, forms, locked }
    }

    /// Whether a member stays as it is.
    fn is_fixed(&self, at: usize) -> bool {
        self.locked[at] || !self.model.tensors[self.members[at]].is_touchable()
    }

    /// The schemes that give all members one form; `None` where there is no such form.
    fn alike(&self) -> Option<Vec<Scheme>> {
        let all = |form: Form| (0..self.members.len()).map(|at| self.given(at, form)).collect::<Option<Vec<Scheme>>>();
        runtimes::in_order(&self.forms).into_iter().find_map(all)
    }

    /// The scheme that gives one member a form.
    fn given(&self, at: usize, form: Form) -> Option<Scheme> {
        if self.forms[at] == form {
            return Some(self.outcomes[at].scheme.clone());
        }
        if self.is_fixed(at) {
            return None;
        }
        // Whoever has the form lends the step, with its choice of range.
        let lender = self.forms.iter().position(|of| *of == form);
        let step = lender.and_then(|lender| self.outcomes[lender].scheme.quantize.clone());
        runtimes::given(self.target, self.model, self.members[at], &self.outcomes[at], form, step)
    }

    fn name(&self, at: usize) -> String {
        self.model.tensors[self.members[at]].name.clone()
    }

    /// What a member is given, or, where it is kept in codes, what these are.
    fn shown(&self, at: usize) -> String {
        match (self.outcomes[at].scheme, self.forms[at]) {
            (scheme, Some(form)) if scheme.is_keep() => form.to_string(),
            (scheme, _) => scheme.to_string(),
        }
    }

    /// The first member of another form than this one has.
    fn unlike(&self, at: usize) -> Option<usize> {
        self.forms.iter().position(|form| *form != self.forms[at])
    }

    /// Two that stay as they are and differ, or one that no other can be like. `first` is the first that differs from the first.
    fn cannot(&self, first: usize) -> Error {
        let stays = (0..self.members.len()).find(|&at| self.is_fixed(at)).unwrap_or_default();
        let other = self.unlike(stays).unwrap_or(first);
        let instead = if self.locked[stays] {
            "unlock it, or set all of them alike"
        } else {
            "--requantize takes its values, with a second loss; or leave all of them as they are"
        };
        Error::JoinedFixed {
            tensor: self.name(other),
            with: self.name(stays),
            target: self.target.name(),
            apart: format!("{} is not {}", self.shown(other), self.shown(stays)),
            instead,
        }
    }

    /// What would have to change, which nobody asked for.
    fn could(&self, first: usize, stored: &[Scheme]) -> Error {
        let changed = |at: &usize| stored[*at] != *self.outcomes[*at].scheme;
        let at = (0..self.members.len()).find(changed).unwrap_or(first);
        let other = self.unlike(at).unwrap_or_default();
        Error::Joined {
            tensor: self.name(at),
            with: self.name(other),
            target: self.target.name(),
            apart: format!("{} is not {}", self.shown(at), self.shown(other)),
            nearest: stored[at].to_string(),
        }
    }
}

impl Plan {
    /// Sees to it that tensors which a runtime makes one of are stored alike: in the widest form that one of them has and all of
    /// them can have, else dense. What is locked, and what is coded already and may not be coded anew, stays as it is.
    pub(super) fn hold_joined(&mut self, model: &Model, nearest: bool, locked: &[String]) -> Result<(), Error> {
        let Some(runtime) = self.target.runtime() else { return Ok(()) };
        let locked: HashSet<&str> = locked.iter().map(String::as_str).collect();
        for members in model.joined(runtime) {
            let set = Set::of(self, model, members, &locked);
            let Some(first) = set.forms.iter().position(|form| Some(form) != set.forms.first()) else { continue };
            let stored = set.alike().ok_or_else(|| set.cannot(first))?;
            if !nearest {
                return Err(set.could(first, &stored));
            }
            for (&index, stored) in members.iter().zip(stored) {
                self.assignments[index].stored = stored;
            }
        }
        Ok(())
    }

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
