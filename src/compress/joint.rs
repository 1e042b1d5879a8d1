//! What tensors must know of each other before one of them is taken through its scheme: the cuts of the pools they share.

use super::input::WHOLE;
use super::mask::{Mask, find_masks};
use super::pool::{PoolCut, cut_pool};
use super::{Error, Input, Task};
use crate::control::Control;
use crate::model::Model;
use crate::recipe::Plan;
use std::collections::HashMap;

/// Everything about a plan that is settled over several tensors at once. Whoever takes tensors through their schemes makes
/// one of these first, and gets each tensor's [`Task`] from it.
#[derive(Clone, Debug, Default)]
pub struct Joint {
    /// Cuts of global pools, by tensor position.
    pools: HashMap<usize, PoolCut>,
    /// Whose zeros are taken over, by tensor position.
    masks: HashMap<usize, Mask>,
    /// What remains of tensors that lose rows or columns, by tensor position.
    inputs: HashMap<usize, Input>,
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
        for members in plan.pools.values().filter(|members| members.iter().any(|&member| wanted(member))) {
            joint.pools.extend(cut_pool(model, plan, members, control)?);
        }
        Ok(joint)
    }

    /// The task of one tensor of the plan that this was made for.
    #[must_use]
    pub fn task<'a>(&'a self, model: &'a Model, plan: &'a Plan, index: usize, control: &'a Control) -> Task<'a> {
        Task {
            model,
            tensor: &model.tensors[index],
            input: self.inputs.get(&index).unwrap_or(&WHOLE),
            scheme: &plan.assignments[index].stored,
            target: plan.target,
            pool: self.pools.get(&index).copied(),
            mask: self.masks.get(&index),
            control,
        }
    }
}
