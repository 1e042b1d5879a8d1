//! Another checkpoint beside the model, and how alike every tensor is to its own: what masks of a training run are compared by.
//!
//! ```text
//! open_beside ─► job ─► Checkpoint ─► want_comparisons, by who looks on ─► job ─► likeness of a tensor, of all together
//! ```
//!
//! Work begins only where it is looked at: the selected tensor first, the others once the exact pass rests. A change of the
//! recipe stops it. What was compared is kept by tensor and scheme, so that undo shows it again at once; until a scheme's
//! own figures are there, a tensor keeps its last ones, which are not fresh.

use super::comparing::{self, Pair};
use super::live::Live;
use super::trouble::{Cause, Work};
use super::view_types::Key;
use super::watch::Watch;
use crate::control::Progress;
use crate::estimate::beside::SchemeComparison;
use crate::estimate::compare::{TensorComparison, only_there, tied_here};
use crate::formats::source::Access;
use crate::kernels::masks::MaskCounts;
use crate::model::{Counterpart, Model, OpenOptions, Tensor};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Comparisons kept for schemes that were left again.
const KEPT: usize = 4096;

/// A checkpoint, and where each tensor of the model is in it.
pub(super) type Found = (Vec<Option<Counterpart>>, Arc<Model>);

/// A checkpoint that the model is compared with.
#[derive(Debug)]
pub struct Checkpoint {
    /// What was opened.
    pub model: Arc<Model>,
    /// Names of its tensors that the model has not, bytewise.
    pub only_there: Vec<String>,
    /// Names of its tensors that the model ties to others, bytewise; they are compared with nothing here.
    pub tied_here: Vec<String>,
    /// Where each of the model's tensors is in it.
    counterparts: Vec<Option<Counterpart>>,
    /// Each tensor of the source beside it.
    sources: Vec<Option<TensorComparison>>,
    /// Each tensor as some scheme left it, beside it: the scheme on the screen, or one before.
    latest: Vec<Latest>,
    kept: HashMap<(usize, Key), Arc<SchemeComparison>>,
    /// Where it lies, and how it is read.
    asked: (PathBuf, OpenOptions),
    /// The request that it answers.
    request: u64,
    /// Whether its files are no longer the ones that were opened.
    changed: bool,
    /// Whether comparing failed as a whole, and waits to be told to go on.
    failed: bool,
    _watch: Option<Watch>,
}

/// What was found last of a tensor.
#[derive(Clone, Debug, Default)]
struct Latest {
    /// The scheme that was asked about.
    key: Option<Key>,
    /// What was found, under that scheme or one before.
    found: Option<Arc<SchemeComparison>>,
    /// Why nothing was found under that scheme.
    refusal: Option<String>,
}

impl Checkpoint {
    /// How many tensors of the model have a counterpart in it.
    #[must_use]
    pub fn matched(&self) -> usize {
        self.counterparts.iter().flatten().count()
    }

    /// The tensor in it that is one of the model's.
    #[must_use]
    pub fn counterpart(&self, index: usize) -> Option<&Tensor> {
        let there = self.counterparts.get(index).copied().flatten()?;
        Some(&self.model.tensors[there.index])
    }

    /// Whether its files are no longer the ones that were opened; its figures are then of those.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.changed
    }
}

/// How alike a tensor is to its counterpart in the checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Likeness<'a> {
    /// The source beside it, once it is known.
    pub source: Option<&'a TensorComparison>,
    /// What would be exported beside it: by the scheme on the screen where `fresh`, else by one before.
    pub result: Option<&'a TensorComparison>,
    /// Whether `result` is for the scheme on the screen.
    pub fresh: bool,
    /// Why there is no result for it.
    pub refusal: Option<&'a str>,
}

/// How alike all matched tensors are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LikenessInAll {
    /// The source beside the checkpoint.
    pub source: MaskCounts,
    /// What would be exported beside it.
    pub result: MaskCounts,
    /// Tensors that these are of.
    pub known: usize,
    /// Tensors that they are to be of.
    pub of: usize,
}

impl LikenessInAll {
    /// Whether every matched tensor is in the counts.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.known == self.of
    }
}

/// What came of a tensor beside its counterpart.
#[derive(Debug)]
pub struct Compared {
    /// What the checkpoint was opened for.
    pub(super) request: u64,
    /// Position of the tensor.
    pub(super) index: usize,
    /// Scheme, target and pool.
    pub(super) key: Key,
    /// The comparison, or why there is none.
    pub(super) result: Result<Arc<SchemeComparison>, String>,
}

/// The checkpoint beside the model, and the way to it.
#[derive(Debug, Default)]
pub(super) struct Beside {
    checkpoint: Option<Checkpoint>,
    /// What was asked for last, and how it is to be read.
    asked: Option<(PathBuf, OpenOptions)>,
    /// Counts requests: what an earlier one still had to say is not of this one.
    request: u64,
    /// Why the last request came to nothing, until that is told.
    failure: Option<Cause>,
    /// Whether a checkpoint has come since that was asked last.
    arrived: bool,
    /// The tensor that the comparison under way began with.
    first: Option<usize>,
}

impl Beside {
    /// No figure is of the model as it is: its files are no longer there.
    pub(super) fn mistrust(&mut self) {
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.kept.clear();
            checkpoint.latest.iter_mut().for_each(|latest| latest.key = None);
        }
    }
}

impl Live {
    /// Opens another checkpoint, behind the window. The one that stands beside the model stays until this one is there.
    pub fn open_beside(&mut self, path: PathBuf, options: OpenOptions) {
        let beside = &mut self.beside;
        beside.request += 1;
        beside.failure = None;
        beside.asked = Some((path.clone(), options));
        self.troubles.retract(Work::Beside);
        let job =
            comparing::open_checkpoint(self.model.clone(), path, options, self.beside.request, self.reporter.clone());
        self.running.beside = Some(job);
    }

    /// Does not wait for the checkpoint that is being opened.
    pub fn cancel_beside(&mut self) {
        self.beside.request += 1;
        self.beside.failure = None;
        self.running.beside = None;
    }

    /// Lets the checkpoint go.
    pub fn let_go(&mut self) {
        self.cancel_beside();
        self.beside.checkpoint = None;
        self.beside.asked = None;
        self.running.compare = None;
        self.troubles.retract(Work::Compare);
    }

    /// The checkpoint beside the model.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.beside.checkpoint.as_ref()
    }

    /// The checkpoint that is being opened.
    #[must_use]
    pub fn opening_beside(&self) -> Option<&Path> {
        let (path, _) = self.beside.asked.as_ref()?;
        self.running.beside.is_some().then_some(path)
    }

    /// Where the checkpoint lies that stands beside the model, or is being opened.
    #[must_use]
    pub fn path_beside(&self) -> Option<&Path> {
        let standing = || Some(self.beside.checkpoint.as_ref()?.asked.0.as_path());
        self.opening_beside().or_else(standing)
    }

    /// Whether a checkpoint has come since this was asked last.
    pub fn has_arrived_beside(&mut self) -> bool {
        std::mem::take(&mut self.beside.arrived)
    }

    /// Why the checkpoint that was asked for last could not be opened, until that is told aloud.
    #[must_use]
    pub fn failure_beside(&self) -> Option<String> {
        self.beside.failure.as_ref().map(Cause::words)
    }

    /// Says aloud that the checkpoint could not be opened, where nobody asks [`Live::failure_beside`].
    pub fn tell_failure_beside(&mut self) {
        if let Some(cause) = self.beside.failure.take() {
            self.troubles.report(Work::Beside, &cause, self.model.access == Access::Read);
        }
    }

    /// Whether something is being compared.
    #[must_use]
    pub fn is_comparing(&self) -> bool {
        self.running.compare.is_some()
    }

    /// The comparison, while it goes on.
    #[must_use]
    pub fn compare_progress(&self) -> Option<Progress> {
        self.running.compare.as_ref().map(|job| job.control.progress())
    }

    /// How alike a tensor is to its counterpart; `None` where it has none.
    #[must_use]
    pub fn likeness(&self, index: usize) -> Option<Likeness<'_>> {
        let checkpoint = self.beside.checkpoint.as_ref()?;
        (*checkpoint.counterparts.get(index)?)?;
        let latest = &checkpoint.latest[index];
        let current = latest.key.as_ref() == Some(&self.rows[index].key) && !checkpoint.changed;
        Some(Likeness {
            source: checkpoint.sources[index].as_ref(),
            result: latest.found.as_ref().map(|found| &found.result),
            fresh: current && latest.refusal.is_none() && latest.found.is_some(),
            refusal: latest.refusal.as_deref().filter(|_| current),
        })
    }

    /// How alike all tensors are together, as far as they are compared under the schemes on the screen.
    #[must_use]
    pub fn likeness_in_all(&self) -> LikenessInAll {
        let mut all = LikenessInAll::default();
        for likeness in (0..self.rows.len()).filter_map(|index| self.likeness(index)) {
            all.of += 1;
            if let (true, Some(source), Some(result)) = (likeness.fresh, likeness.source, likeness.result) {
                all.known += 1;
                all.source = all.source.plus(source.counts);
                all.result = all.result.plus(result.counts);
            }
        }
        all
    }

    /// Asks for every comparison that is lacking, that of the tensor that is looked at first. May be called in every frame.
    pub fn want_comparisons(&mut self, looked_at: usize) {
        let Some(checkpoint) = &self.beside.checkpoint else { return };
        if checkpoint.changed || checkpoint.failed || self.troubles.is_source_changed() {
            return;
        }
        let pair = |index: usize| {
            let there = (*checkpoint.counterparts.get(index)?)?;
            let key = &self.rows[index].key;
            let lacking = checkpoint.latest[index].key.as_ref() != Some(key);
            let with_source = checkpoint.sources[index].is_none();
            lacking.then(|| Pair { index, there, key: key.clone(), with_source })
        };
        let first = pair(looked_at);
        let goes_on = self.running.compare.is_some();
        if goes_on && (first.is_none() || self.beside.first == Some(looked_at)) {
            return;
        }
        // All the others need the disk and the cores as much as the exact pass does, and can wait for it.
        let rests = self.running.profile.is_none() && self.running.estimate.is_none() && !self.is_behind();
        let others = (0..self.rows.len()).filter(|&index| rests && index != looked_at);
        let pairs: Vec<Pair> = first.into_iter().chain(others.filter_map(pair)).collect();
        if pairs.is_empty() {
            return;
        }
        let (model, plan, there) = (self.model.clone(), self.plan.clone(), checkpoint.model.clone());
        let job = comparing::compare(model, plan, there, checkpoint.request, pairs, self.reporter.clone());
        self.running.compare = Some(job);
        self.beside.first = Some(looked_at);
    }

    /// The recipe has changed: what is being compared is of schemes that may be gone, and what was found of the new ones
    /// earlier is theirs again.
    pub(super) fn recall_comparisons(&mut self) {
        self.running.compare = None;
        let Some(checkpoint) = &mut self.beside.checkpoint else { return };
        checkpoint.failed = false;
        for (index, (latest, row)) in checkpoint.latest.iter_mut().zip(&self.rows).enumerate() {
            if latest.key.as_ref() != Some(&row.key)
                && let Some(found) = checkpoint.kept.get(&(index, row.key.clone()))
            {
                *latest = Latest { key: Some(row.key.clone()), found: Some(found.clone()), refusal: None };
            }
        }
    }

    /// Takes in what a job opened.
    pub(super) fn take_checkpoint(&mut self, request: u64, result: Result<Found, Cause>) {
        let Some(asked) = self.beside.asked.clone().filter(|_| request == self.beside.request) else { return };
        match result {
            Ok(found) => self.put_beside(found, asked),
            Err(cause) => self.beside.failure = Some(cause),
        }
    }

    /// Puts an open checkpoint beside the model, in place of another.
    fn put_beside(&mut self, (counterparts, model): Found, asked: (PathBuf, OpenOptions)) {
        self.troubles.retract(Work::Beside);
        self.troubles.retract(Work::Compare);
        self.running.compare = None;
        let request = self.beside.request;
        let reporter = self.reporter.clone();
        let tell = move |error: crate::formats::Error| {
            reporter.send(super::jobs::Event::CheckpointChanged(request, Cause::from(error).words()));
        };
        let ours = self.model.tensors.len();
        self.beside.checkpoint = Some(Checkpoint {
            only_there: only_there(&self.model, &model, &counterparts),
            tied_here: tied_here(&self.model, &model, &counterparts),
            counterparts,
            sources: vec![None; ours],
            latest: vec![Latest::default(); ours],
            kept: HashMap::new(),
            asked,
            request,
            changed: false,
            failed: false,
            _watch: Watch::over(model.clone(), tell),
            model,
        });
        self.beside.arrived = true;
    }

    /// Takes in what a job found.
    pub(super) fn take_comparison(&mut self, compared: Compared) {
        let Compared { request, index, key, result } = compared;
        let Some(checkpoint) = self.beside.checkpoint.as_mut().filter(|c| c.request == request && !c.changed) else {
            return;
        };
        if checkpoint.kept.len() >= KEPT {
            checkpoint.kept.clear();
        }
        if let Ok(found) = &result {
            checkpoint.kept.insert((index, key.clone()), found.clone());
            let source = &mut checkpoint.sources[index];
            *source = source.take().or_else(|| found.source.clone());
        }
        if self.rows[index].key == key {
            let latest = &mut checkpoint.latest[index];
            let (found, refusal) = match result {
                Ok(found) => (Some(found), None),
                Err(why) => (latest.found.take(), Some(why)),
            };
            *latest = Latest { key: Some(key), found, refusal };
        }
    }

    /// The checkpoint's files are no longer the ones that were opened.
    pub(super) fn lose_checkpoint(&mut self, request: u64, words: String) {
        let Some(checkpoint) = self.beside.checkpoint.as_mut().filter(|c| c.request == request && !c.changed) else {
            return;
        };
        checkpoint.changed = true;
        checkpoint.kept.clear();
        self.running.compare = None;
        self.troubles.report(Work::Compare, &Cause::Refused(words), true);
    }

    /// Opens again what was asked for last.
    pub(super) fn open_beside_again(&mut self) {
        if let Some((path, options)) = self.beside.asked.clone() {
            self.open_beside(path, options);
        }
    }

    /// The job failed as a whole. A tab asks for its tensors in every frame, and would begin it anew in every frame: it waits for
    /// [`Live::compare_again`], or another recipe.
    pub(super) fn comparisons_failed(&mut self) {
        if let Some(checkpoint) = &mut self.beside.checkpoint {
            checkpoint.failed = true;
        }
    }

    /// Begins anew with what failed.
    pub(super) fn compare_again(&mut self) {
        let Some(checkpoint) = &mut self.beside.checkpoint else { return };
        if checkpoint.changed {
            let (path, options) = checkpoint.asked.clone();
            return self.open_beside(path, options);
        }
        self.troubles.retract(Work::Compare);
        checkpoint.failed = false;
        for latest in checkpoint.latest.iter_mut().filter(|latest| latest.refusal.is_some()) {
            latest.key = None;
            latest.refusal = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::jobs::Event;
    use super::super::live::ApplyTo;
    use super::*;
    use crate::model::open;
    use crate::recipe::Recipe;

    const FC1: usize = 1;

    fn opened(path: &str) -> Arc<Model> {
        Arc::new(open(Path::new(path), &OpenOptions::default()).unwrap())
    }

    fn settle(live: &mut Live, look: bool) {
        for _ in 0..30_000 {
            live.poll();
            if look {
                live.want_comparisons(FC1);
            }
            if !live.is_busy() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("it does not settle");
    }

    /// The demo with itself beside it, everything compared.
    fn demo() -> Live {
        let mut live = Live::new(opened("demo"), Recipe::default(), None, Arc::new(|| {})).unwrap();
        live.open_beside("demo".into(), OpenOptions::default());
        assert!(live.opening_beside().is_some());
        settle(&mut live, true);
        assert!(live.has_arrived_beside() && !live.has_arrived_beside() && live.checkpoint().unwrap().matched() == 6);
        live
    }

    fn set(live: &mut Live, scheme: &str) {
        live.set_scheme(FC1, &ApplyTo::This, &scheme.parse().unwrap(), scheme, None).unwrap();
    }

    fn overlap(live: &Live) -> (f64, bool) {
        let likeness = live.likeness(FC1).unwrap();
        (likeness.result.unwrap().mask_overlap().unwrap(), likeness.fresh)
    }

    #[test]
    fn figures_are_old_until_those_of_the_scheme_land_and_undo_has_them_at_once() {
        let mut live = demo();
        assert_eq!(overlap(&live), (1.0, true));
        set(&mut live, "prune:0.75");
        assert_eq!(overlap(&live), (1.0, false));
        settle(&mut live, false);
        assert_eq!(overlap(&live), (1.0, false), "nobody looks on");
        settle(&mut live, true);
        assert_eq!(overlap(&live), (0.25, true));
        assert_eq!(live.likeness(FC1).unwrap().source.unwrap().mask_overlap(), Some(1.0));
        let all = live.likeness_in_all();
        let n = live.model.parameters();
        assert_eq!((all.known, all.of, all.source.both, all.result.both), (6, 6, n, n - 235_200 * 3 / 4));
        live.undo();
        live.want_comparisons(FC1);
        assert_eq!((overlap(&live), live.is_comparing()), ((1.0, true), false));
        live.redo();
        assert_eq!(overlap(&live), (0.25, true));
    }

    #[test]
    fn a_scheme_that_is_refused_is_compared_once_and_its_reason_told() {
        let mut live = demo();
        set(&mut live, "mask:nosuch.safetensors");
        settle(&mut live, true);
        let likeness = live.likeness(FC1).unwrap();
        assert!(!likeness.fresh && likeness.refusal.is_some_and(|why| why.contains("nosuch")));
        assert_eq!((live.likeness_in_all().known, live.likeness_in_all().of), (5, 6));
        assert!(live.troubles.newest().is_none(), "the row says it");
        set(&mut live, "prune:0.5");
        settle(&mut live, true);
        assert_eq!(overlap(&live), (0.5, true));
    }

    #[test]
    fn what_an_earlier_request_still_says_is_not_of_this_one() {
        let mut live = demo();
        let (first, model) = (live.beside.request, live.model.clone());
        let found = |model: &Arc<Model>| (crate::model::counterparts(model, model), model.clone());
        live.open_beside("nosuch.safetensors".into(), OpenOptions::default());
        live.cancel_beside();
        live.reporter.send(Event::Checkpoint(first + 1, Ok(found(&model))));
        live.reporter.send(Event::CheckpointChanged(first + 1, "another changed".into()));
        settle(&mut live, true);
        assert!(live.failure_beside().is_none() && !live.has_arrived_beside());
        assert_eq!((overlap(&live), live.path_beside()), ((1.0, true), Some(Path::new("demo"))));
        live.let_go();
        live.reporter.send(Event::Checkpoint(first, Ok(found(&model))));
        settle(&mut live, true);
        assert!(live.checkpoint().is_none() && live.likeness(FC1).is_none() && live.path_beside().is_none());
    }

    #[test]
    fn what_failed_is_begun_anew_when_it_is_told_to_and_not_before() {
        let mut live = demo();
        set(&mut live, "prune:0.5");
        let (request, key) = (live.checkpoint().unwrap().request, live.rows[FC1].key.clone());
        let result = Err("m: cannot be read".to_owned());
        live.reporter.send(Event::Compared(Compared { request, index: FC1, key, result }));
        live.poll();
        settle(&mut live, true);
        assert_eq!(live.likeness(FC1).unwrap().refusal, Some("m: cannot be read"));
        live.try_again(Work::Compare);
        settle(&mut live, true);
        assert_eq!(overlap(&live), (0.5, true));
        // One that failed as a whole.
        set(&mut live, "prune:0.25");
        live.reporter.send(Event::Failed(Work::Compare, Cause::Panic("odd".into())));
        live.poll();
        live.want_comparisons(FC1);
        assert!(!live.is_comparing());
        live.try_again(Work::Compare);
        settle(&mut live, true);
        assert_eq!(overlap(&live), (0.75, true));
        // A model whose files are no longer there is compared with nothing.
        live.reporter.send(Event::Failed(Work::Profile, Cause::Changed("m changed".into())));
        settle(&mut live, true);
        assert!(!overlap(&live).1 && !live.is_comparing());
    }
}
