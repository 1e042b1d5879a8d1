//! Global pruning: one threshold over all tensors of a rule, found by adding their digit tables.

use super::prepare::{descend, digit_table};
use super::{Error, Joint, Task};
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::kernels::select::{self, DIGITS, Threshold};
use crate::model::{Model, Scratch};
use crate::recipe::Plan;

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
            ties_before += ties_in(task, threshold, wide)?;
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
            sum.iter_mut().zip(table).for_each(|(a, b)| *a += b);
        }
        Ok(sum)
    })
}

fn ties_in(task: &Task<'_>, threshold: Threshold, wide: bool) -> Result<u64, Error> {
    if task.tensor.dtype == Dtype::F64 {
        count::<f64>(task, threshold, true)
    } else {
        count::<f32>(task, threshold, wide)
    }
}

fn count<T: Real>(task: &Task<'_>, threshold: Threshold, wide: bool) -> Result<u64, Error> {
    let (mut values, mut scratch, mut ties) = (Vec::<T>::new(), Scratch::default(), 0);
    for range in task.geometry().chunks() {
        task.check_cancelled()?;
        task.values(range, &mut values, &mut scratch)?;
        ties += if wide {
            select::count_ties(&values, threshold, |v| v.to_f64().magnitude_key())
        } else {
            select::count_ties(&values, threshold, Real::magnitude_key)
        };
    }
    Ok(ties)
}
