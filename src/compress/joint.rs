//! What tensors must know of each other before one of them is taken through its scheme: the cuts of the pools they share,
//! and the rows and columns that go together.

use super::input::WHOLE;
use super::mask::{Mask, find_masks};
use super::pool::{PoolCut, cut_pool};
use super::structure::{Leaves, leaves_of_known, leaves_of_plan};
use super::{Error, Task};
use crate::control::Control;
use crate::model::Model;
use crate::recipe::Plan;
use std::collections::HashMap;
use std::sync::Arc;

/// Everything about a plan that is settled over several tensors at once. Whoever takes tensors through their schemes makes
/// one of these first, and gets each tensor's [`Task`] from it.
#[derive(Clone, Debug, Default)]
pub struct Joint {
    /// Cuts of global pools, by tensor position.
    pools: HashMap<usize, PoolCut>,
    /// What structured pruning leaves of tensors, by position.
    leaves: HashMap<usize, Leaves>,
    /// Whose zeros are taken over, by tensor position.
    masks: HashMap<usize, Mask>,
}

impl Joint {
    /// Settles what all tensors of a plan share.
    ///
    /// # Errors
    /// When a tensor cannot be read, a mask does not fit, or the work is cancelled.
    pub fn new(model: &Model, plan: &Plan, control: &Control) -> Result<Self, Error> {
        Self::for_some(model, plan, |_| true, control)
    }

    /// Settles what the `wanted` tensors share with others: a pool that has none of them is not looked for.
    ///
    /// # Errors
    /// When a tensor cannot be read, a mask does not fit, or the work is cancelled.
    pub fn for_some(
        model: &Model,
        plan: &Plan,
        wanted: impl Fn(usize) -> bool,
        control: &Control,
    ) -> Result<Self, Error> {
        let mut joint = Self { masks: find_masks(model, plan, &wanted)?, ..Self::default() };
        let pools: Vec<&Vec<usize>> =
            plan.pools.values().filter(|members| members.iter().any(|&member| wanted(member))).collect();
        // Structure first: pools are over what it leaves.
        let pooled = |index: usize| pools.iter().any(|members| members.binary_search(&index).is_ok());
        joint.leaves = leaves_of_plan(model, plan, |index| wanted(index) || pooled(index), control)?;
        for members in pools {
            let cuts = cut_pool(&joint, model, plan, members, control)?;
            joint.pools.extend(cuts);
        }
        Ok(joint)
    }

    /// The masks of the `wanted` tensors and nothing else, to see that they are there.
    ///
    /// # Errors
    /// When one is not there or does not fit.
    pub fn masks_alone(model: &Model, plan: &Plan, wanted: impl Fn(usize) -> bool) -> Result<Self, Error> {
        Ok(Self { masks: find_masks(model, plan, wanted)?, ..Self::default() })
    }

    /// What structured pruning leaves where it is known which units go, cut by cut. Nothing else is settled; and a tensor with
    /// a cut that is not known has no [`Joint::leaves`], so that its task would be another's.
    #[must_use]
    pub fn of_known(model: &Model, plan: &Plan, gone: &[Option<Arc<Vec<usize>>>]) -> Self {
        Self { leaves: leaves_of_known(model, plan, gone), ..Self::default() }
    }

    /// What structured pruning leaves of a tensor, where it has a part in a cut.
    #[must_use]
    pub fn leaves(&self, index: usize) -> Option<&Leaves> {
        self.leaves.get(&index)
    }

    /// The task of one tensor of the plan that this was made for.
    #[must_use]
    pub fn task<'a>(&'a self, model: &'a Model, plan: &'a Plan, index: usize, control: &'a Control) -> Task<'a> {
        let leaves = self.leaves.get(&index);
        Task {
            model,
            tensor: &model.tensors[index],
            input: leaves.map_or(&WHOLE, |leaves| &leaves.input),
            shape: plan.removals.shape(model, index),
            scheme: &plan.assignments[index].stored,
            target: plan.target,
            pool: self.pools.get(&index).copied(),
            zeroed: leaves.and_then(|leaves| leaves.zeroed.as_ref()),
            mask: self.masks.get(&index),
            control,
        }
    }
}
