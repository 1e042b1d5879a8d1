//! Global pruning: one threshold over all tensors of a rule, found by adding their digit tables.

use super::prepare::{add_table, descend, digit_table, ties_in};
use super::{Error, Joint, Task};
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::kernels::select::{DIGITS, Threshold};
use crate::model::Model;
use crate::recipe::Plan;
use rayon::prelude::*;
use std::ops::Range;

/// What a pool's cut means for one of its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolCut {
    /// The pool's threshold.
    pub threshold: Threshold,
    /// Ties met in the tensors before this one.
    pub ties_before: u64,
    /// Keys are those of f64, because an F64 tensor is in the pool.
    pub wide: bool,
}

/// Finds the cut of one pool of a plan, by the positions of its members.
///
/// # Errors
/// When a tensor cannot be read, or the work is cancelled.
pub(super) fn cut_pool(
    joint: &Joint,
    model: &Model,
    plan: &Plan,
    members: &[usize],
    control: &Control,
) -> Result<Vec<(usize, PoolCut)>, Error> {
    let share = members.first().and_then(|&first| plan.assignments[first].stored.pruned_share());
    let Some(share) = share else { return Ok(Vec::new()) };
    let wide = members.iter().any(|&i| model.tensors[i].dtype == Dtype::F64);
    let tasks: Vec<Task<'_>> = members.iter().map(|&i| joint.task(model, plan, i, control)).collect();
    let Some(threshold) = walk_pool(&tasks, wide, |finite| share.share_of(finite))? else { return Ok(Vec::new()) };
    let (mut cuts, mut ties_before) = (Vec::with_capacity(members.len()), 0);
    for (&index, task) in members.iter().zip(&tasks) {
        cuts.push((index, PoolCut { threshold, ties_before, wide }));
        if threshold.ties < threshold.equal {
            let ties = |range: Range<usize>| match task.tensor.dtype {
                Dtype::F64 => ties_in::<f64>(task, range, threshold, wide),
                _ => ties_in::<f32>(task, range, threshold, wide),
            };
            ties_before += task.geometry().chunks().into_par_iter().map(ties).sum::<Result<u64, Error>>()?;
        }
    }
    Ok(cuts)
}

fn walk_pool(tasks: &[Task<'_>], wide: bool, k: impl Fn(u64) -> u64) -> Result<Option<Threshold>, Error> {
    let key_bits = if wide { f64::KEY_BITS } else { f32::KEY_BITS };
    descend(key_bits, k, |select| {
        let mut sum = vec![0; DIGITS];
        for task in tasks {
            let chunks = task.geometry().chunks();
            let table = if task.tensor.dtype == Dtype::F64 {
                digit_table::<f64>(task, &chunks, select, false)?
            } else {
                digit_table::<f32>(task, &chunks, select, wide)?
            };
            add_table(&mut sum, &table);
        }
        Ok(sum)
    })
}
