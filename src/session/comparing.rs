//! The two jobs behind a checkpoint beside the model: one opens it, one compares tensor by tensor.

use super::beside::Compared;
use super::jobs::{Event, Job, Pass, Reporter, rest, spawn};
use super::trouble::{Cause, Work};
use super::view_types::Key;
use crate::compress::Task;
use crate::estimate::beside::{SchemeComparison, compare_task};
use crate::model::{Counterpart, Model, OpenOptions, counterparts, open};
use crate::recipe::Plan;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens a checkpoint and finds the tensors of `here` in it. Reading a header cannot be stopped half-way: what comes of a job that
/// was stopped is let fall.
pub(super) fn open_checkpoint(
    here: Arc<Model>,
    path: PathBuf,
    options: OpenOptions,
    request: u64,
    reporter: Reporter,
) -> Job {
    spawn(Work::Beside, reporter, move |control, reporter| {
        let opened = open(&path, &options).map_err(Cause::from);
        let opened = opened.map(|there| (counterparts(&here, &there), Arc::new(there)));
        if !control.is_cancelled() {
            reporter.send(Event::Checkpoint(request, opened));
        }
        Ok(())
    })
}

/// One tensor to be compared.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// Its position in the model.
    pub index: usize,
    /// Where it is in the checkpoint.
    pub there: Counterpart,
    /// What the result will be filed under.
    pub key: Key,
    /// Whether its source is to be compared too.
    pub with_source: bool,
}

/// Compares some tensors, as their schemes leave them, with those of a checkpoint that was opened for `request`; the first
/// one before the others.
pub(super) fn compare(
    model: Arc<Model>,
    plan: Arc<Plan>,
    checkpoint: Arc<Model>,
    request: u64,
    pairs: Vec<Pair>,
    reporter: Reporter,
) -> Job {
    spawn(Work::Compare, reporter, move |control, reporter| {
        if !rest(control) {
            return Ok(());
        }
        model.check_unchanged()?;
        let look_at_checkpoint = || {
            let changed = checkpoint.check_unchanged().map_err(Cause::from).err();
            changed.inspect(|cause| reporter.send(Event::CheckpointChanged(request, cause.words())))
        };
        if look_at_checkpoint().is_some() {
            return Ok(());
        }
        let compare = |task: &Task<'_>, at: usize| {
            let Pair { there, with_source, .. } = pairs[at];
            let beside = there.of(&checkpoint);
            let pass = || compare_task(task, beside, with_source);
            model.steadily_on(task.tensor, || checkpoint.steadily_on(beside.tensor, pass))
        };
        let send = |at: usize, made: Result<SchemeComparison, Cause>| {
            let Pair { index, key, .. } = pairs[at].clone();
            // A file that changed under the pass is the checkpoint's, or the model's: ask which.
            if matches!(made, Err(Cause::Changed(_))) && look_at_checkpoint().is_some() {
                return control.cancel();
            }
            if let Some(result) = reporter.outcome(Work::Compare, made) {
                reporter.send(Event::Compared(Compared { request, index, key, result }));
            }
        };
        let indices: Vec<usize> = pairs.iter().map(|pair| pair.index).collect();
        Pass { model: &model, plan: &plan, indices: &indices, control }.run(compare, send)
    })
}
