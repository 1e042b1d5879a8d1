//! From a new plan to numbers on the screen: live ones in the next frames, exact ones as they land.
//!
//! ```text
//! plan ─► rows whose scheme changed ─► known exactly? ─► else they wait                                   (the change)
//!         rows that wait ─► live from the profile, those in sight first ─► totals                         (each poll)
//!                       └► exact pass, tensor by tensor, in the background ─► rows
//! ```
//!
//! A change computes nothing, so that several in a frame cost no more than one; the poll before the next frame is drawn does,
//! and mostly serves all rows. Where it cannot within its time ([`Pace`](super::pace::Pace)), it goes on in the polls after
//! it: a row that was not reached keeps its last numbers, marked stale, as one does that has no live answer.
//!
//! The next change cancels the exact pass, so a hand in motion meets only live numbers; they are right for the scheme on
//! screen, and their label says how far.

use super::jobs::{self, Event, Wanted};
use super::live::{Live, PATH};
use super::pace::Budget;
use super::running::Through;
use super::trouble::{Cause, Work};
use super::view_types::{Key, Measured, Outcome, PathPoint};
use crate::control::Control;
use crate::estimate::total;
use crate::estimate::{Label, TensorEstimate, TensorStats};
use crate::kernels::hash::{START, fnv1a};
use crate::profile::Profile;
use crate::recipe::plan::Line;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Estimates kept for schemes that were left again.
const CACHE: usize = 4096;
/// How much may run through the exact kernel in frames after a change
/// ([`work_of_small`](crate::estimate::live::Engine::work_of_small)): about what one frame has time for. The rest waits for
/// the exact pass, which has all threads for it.
const SMALL_IN_FRAMES: usize = 1 << 20;

impl Live {
    /// Finds the rows that are no longer right: the next polls give them live numbers and set the exact pass to them, `first`
    /// before the others. What was computed for the plan before is dropped.
    pub(super) fn replan(&mut self, first: Option<usize>) {
        self.generation += 1;
        self.dirty = true;
        self.locked = self.recipe.locked.iter().filter_map(|name| self.model.find(name)).collect();
        let tried = self.asked.tried;
        self.asked = self.engine.ask(&self.model, &self.plan);
        let other_samples = self.asked.tried != tried;
        self.small_left = SMALL_IN_FRAMES;
        self.waiting.hand = first;
        let pools: BTreeMap<Line, u64> = self.plan.pools.iter().map(|(&line, m)| (line, fingerprint(m))).collect();
        for index in 0..self.rows.len() {
            let assignment = &self.plan.assignments[index];
            let pool = assignment.line.filter(|_| assignment.stored.is_global());
            let members =
                pool.and_then(|line| pools.get(&line)).copied().unwrap_or(0) ^ self.plan.removals.fingerprint(index);
            let (target, scheme) = (self.plan.target, &self.plan.assignments[index].stored);
            let row = &mut self.rows[index];
            if row.fresh && row.key.is(target, scheme, members) {
                // From a sample that may be larger now, or must be smaller: right for what it says until it is asked again.
                if other_samples && row.estimate.as_ref().is_some_and(|e| e.label == Label::Sampled) {
                    self.waiting.put(index, false);
                }
                continue;
            }
            let key = Key { target, scheme: scheme.clone(), members };
            let place = (index, key);
            let cached = self.cache.get(&place).cloned();
            row.fresh = cached.is_some();
            row.refusal = None;
            row.key = place.1;
            row.estimate = cached.or(row.estimate.take());
            if !row.fresh {
                self.waiting.put(index, first == Some(index));
            }
        }
        self.recall_comparisons();
        if self.troubles.is_source_changed() {
            return self.mistrust();
        }
        self.running.estimate = None;
        self.exact_due = true;
        self.start_measure();
    }

    /// Gives rows that wait their live numbers for as long as the budget allows, one at least.
    fn serve(&mut self, budget: &mut Budget) {
        if self.waiting.is_empty() {
            return;
        }
        let rows = &self.rows;
        self.waiting.put_in_order(|row| rows[row].fresh);
        while let Some(index) = self.waiting.first() {
            let open = self.is_open(index);
            if open && !budget.allows_another() {
                return;
            }
            if let Some((index, drawn)) = self.waiting.take_first().filter(|_| open) {
                self.refresh(index, drawn);
                self.dirty = true;
            }
        }
    }

    /// Gives every row that waits its live number in this call, however long that takes: for a face that has no frames to
    /// draw meanwhile.
    pub fn catch_up(&mut self) {
        self.serve(&mut Budget::unlimited());
    }

    /// Whether a live number can tell something of a row that is not known already: it has no exact one, and no refusal.
    fn is_open(&self, index: usize) -> bool {
        let row = &self.rows[index];
        let exact = row.fresh && row.estimate.as_ref().is_some_and(|e| e.label == Label::Exact);
        row.refusal.is_none() && (!exact || self.is_kept(index))
    }

    pub(super) fn start_measure(&mut self) {
        let Some(network) = &self.network else { return };
        self.unmeasured = None;
        if let Some(measured) = &mut self.measured {
            measured.fresh = false;
        }
        self.running.measure = Some(jobs::measure(
            self.model.clone(),
            network.clone(),
            self.plan.clone(),
            self.shown_images.clone(),
            self.generation,
            self.reporter.clone(),
        ));
    }

    /// Gives a row the best number that can be had at once: from statistics, from the exact kernel for small tensors, or
    /// from the profile. `drawn` asks for the distribution afterwards too.
    fn refresh(&mut self, index: usize, drawn: bool) {
        if self.is_kept(index) {
            return self.refresh_kept(index);
        }
        let reach = self.stats[index].as_ref().map(|s| s.moments.abs_max());
        let scheme = &self.plan.assignments[index].stored;
        let work = self.engine.work_of_small(&self.model.tensors[index], index, scheme);
        let exact = work.filter(|work| *work <= self.small_left).and_then(|work| {
            self.small_left -= work;
            self.engine.small(&self.model, &self.plan, index, &self.asked, reach, &Control::default())
        });
        let estimate = match exact {
            Some(Ok(estimate)) => Some(estimate),
            Some(Err(refusal)) => {
                self.rows[index].refusal = Some(refusal.to_string());
                self.rows[index].fresh = false;
                match Cause::from(refusal) {
                    Cause::Refused(_) => {}
                    cause => self.fail(Work::Estimate, cause),
                }
                return;
            }
            None => self.engine.estimate(&self.model, &self.plan, index, &self.asked),
        };
        let Some(mut estimate) = estimate else { return };
        if drawn && estimate.after.is_none() {
            let reach = reach.unwrap_or_default();
            if let Some((after, scales)) = self.engine.drawn(&self.model, &self.plan, index, &self.asked, reach) {
                estimate.after = Some(after);
                estimate.scales = estimate.scales.or(scales);
            }
        }
        let row = &mut self.rows[index];
        row.estimate = Some(Arc::new(estimate));
        row.fresh = true;
        row.refusal = None;
    }

    /// Starts the exact pass over rows whose numbers are not exact yet. While the model is still being read, only rows
    /// without any number for their scheme are worth a pass of their own.
    pub(super) fn start_estimates(&mut self, first: Option<usize>) {
        self.exact_due = false;
        if self.troubles.is_source_changed() {
            return;
        }
        let reading = self.running.profile.is_some();
        let wanting = |&i: &usize| {
            let row = &self.rows[i];
            let exact = row.estimate.as_ref().is_some_and(|e| e.label == Label::Exact);
            let waits = if row.fresh { !exact && !reading } else { self.stats[i].is_some() || !reading };
            waits && row.refusal.is_none() && !self.is_kept(i)
        };
        let mut order: Vec<usize> = (0..self.rows.len()).filter(wanting).collect();
        if let Some(first) = first.filter(|f| order.contains(f)) {
            order.retain(|&i| i != first);
            order.insert(0, first);
        }
        let wanted: Vec<Wanted> = order.into_iter().map(|index| self.wanted(index)).collect();
        self.running.estimate = (!wanted.is_empty())
            .then(|| jobs::estimate(self.model.clone(), self.plan.clone(), wanted, self.reporter.clone()));
    }

    fn wanted(&self, index: usize) -> Wanted {
        let reach = self.stats[index].as_ref().map(|s| s.moments.abs_max());
        Wanted { index, key: self.rows[index].key.clone(), reach }
    }

    fn is_kept(&self, index: usize) -> bool {
        self.plan.outcome(&self.model, index).is_kept()
    }

    /// A kept tensor needs no pass: its statistics say everything.
    fn refresh_kept(&mut self, index: usize) {
        let (tensor, stats) = (&self.model.tensors[index], self.stats[index].as_deref());
        let known = stats.is_some() || !tensor.dtype.is_float();
        let estimate = TensorEstimate::kept(self.plan.outcome(&self.model, index), self.plan.target, stats, known);
        let row = &mut self.rows[index];
        row.estimate = Some(Arc::new(estimate));
        row.fresh = known;
    }

    /// Starts the exact pass after a change. While the model is being read it waits for the live numbers: only rows that have
    /// none are worth a pass then, and which those are is known when no row waits any more.
    fn start_due_estimates(&mut self) {
        if self.exact_due && (self.running.profile.is_none() || self.waiting.is_empty()) {
            self.start_estimates(self.waiting.hand);
        }
    }

    /// Takes in what the jobs have sent, and gives rows that wait their live numbers, as far as a frame has time for that: see
    /// [`Live::is_behind`]. Call once a frame, before drawing.
    pub fn poll(&mut self) {
        let mut budget = Budget::of(self.pace.rows);
        // Which jobs are through is asked first: what they sent is then surely in the channel.
        let through = self.running.through();
        let mut profiled = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            self.take(event, &mut profiled);
        }
        self.relive(&profiled);
        self.serve(&mut budget);
        self.put_away(through);
        self.start_due_estimates();
        self.forget_sweep();
        if self.troubles.is_source_changed() {
            self.mistrust();
        }
        if self.dirty {
            self.dirty = false;
            self.add_up();
        }
    }

    /// New profiles have come: rows that stand on them, or on a pool with them, wait for new live numbers.
    fn relive(&mut self, profiled: &[usize]) {
        if profiled.is_empty() {
            return;
        }
        self.dirty = true;
        let tried = self.asked.tried;
        self.asked = self.engine.ask(&self.model, &self.plan);
        if self.asked.tried != tried && self.running.profile.is_none() {
            self.ask_samples_again();
        }
        let pooled: Vec<bool> = self.plan.assignments.iter().map(|a| a.stored.is_global()).collect();
        self.small_left = SMALL_IN_FRAMES;
        for (index, &pooled) in pooled.iter().enumerate() {
            let moved = profiled.binary_search(&index).is_ok() || pooled || self.plan.removals.touches(index);
            if moved && self.is_open(index) {
                self.waiting.put(index, true);
            }
        }
    }

    /// Lets rows wait whose numbers are from samples: of how many groups each, hangs on how many tensors need them. While the
    /// model is read that changes with every profile, and they are asked again when it is.
    pub(super) fn ask_samples_again(&mut self) {
        for index in 0..self.rows.len() {
            let sampled = self.rows[index].estimate.as_ref().is_some_and(|e| e.label == Label::Sampled);
            if sampled && self.is_open(index) {
                self.waiting.put(index, true);
            }
        }
    }

    /// Starts what waited for the jobs that are through.
    fn put_away(&mut self, through: Through) {
        self.running.put_away(through);
        self.dirty |= through.measure || through.estimate || through.profile;
        if through.profile {
            self.ask_samples_again();
            self.start_baseline();
            self.start_estimates(None);
        }
        if through.spectrum {
            self.next_spectrum();
        }
        if through.profile || through.estimate {
            self.complete_distributions();
        }
    }

    fn take(&mut self, event: Event, profiled: &mut Vec<usize>) {
        match event {
            Event::Profile(index, profile, stats) => self.take_profile(index, profile, stats, profiled),
            Event::Estimate { index, key, result } => self.take_estimate(index, key, result),
            Event::Accuracy { generation, accuracy, whole, shown, seen } if generation == self.generation => {
                self.measured = Some(Measured { accuracy, whole, fresh: true, shown, seen });
                self.dirty |= whole;
            }
            Event::Accuracy { .. } => {}
            Event::Unmeasured(generation, why) if generation == self.generation => self.unmeasured = Some(why),
            Event::Unmeasured(..) => {}
            Event::SourceAccuracy(accuracy) => {
                self.source_accuracy = Some(accuracy);
            }
            Event::Spectrum(index, result) => {
                self.take_spectrum(index, result);
                if let Err(place) = profiled.binary_search(&index) {
                    profiled.insert(place, index);
                }
            }
            Event::Preset { choice, revision, result } if Some(choice) == self.last_preset => {
                self.take_preset(choice, revision, result);
            }
            Event::Preset { .. } => {}
            Event::Baseline(number, point) if number == self.baselines => self.baseline.push(point),
            Event::Baseline(..) => {}
            Event::Checkpoint(request, result) => self.take_checkpoint(request, result),
            Event::CheckpointChanged(request, words) => self.lose_checkpoint(request, words),
            Event::Compared(compared) => self.take_comparison(compared),
            Event::Exported(result) => match result {
                Ok(artifact) => self.outcome = Some(Outcome::Done(artifact)),
                Err(cause) => self.fail(Work::Export, cause),
            },
            Event::Reported(result) => self.take_report(result),
            Event::Unread(index, cause) => {
                self.unread.insert(index, cause.words());
                self.fail(Work::Profile, cause);
            }
            Event::Failed(work, cause) => self.fail(work, cause),
        }
    }

    fn take_profile(
        &mut self,
        index: usize,
        profile: Arc<Profile>,
        stats: Arc<TensorStats>,
        profiled: &mut Vec<usize>,
    ) {
        // A guess never takes the place of knowledge.
        if profile.coarse && self.stats[index].as_ref().is_some_and(|s| !s.coarse) {
            return;
        }
        self.unread.remove(&index);
        self.engine.put(index, profile);
        self.stats[index] = Some(stats);
        if let Err(place) = profiled.binary_search(&index) {
            profiled.insert(place, index);
        }
    }

    fn take_estimate(&mut self, index: usize, key: Key, result: Result<Arc<TensorEstimate>, String>) {
        if self.cache.len() >= CACHE {
            self.cache.clear();
        }
        if let Ok(estimate) = &result {
            self.cache.insert((index, key.clone()), estimate.clone());
            // Its matrix is taken apart already: the next rank is a look-up.
            if estimate.factors.is_some() {
                self.want_spectrum_later(index);
            }
        }
        let row = &mut self.rows[index];
        if row.key != key {
            return;
        }
        match result {
            Ok(estimate) => {
                row.estimate = Some(estimate);
                row.fresh = true;
                row.refusal = None;
            }
            Err(refusal) => {
                row.refusal = Some(refusal);
                row.fresh = false;
            }
        }
        self.dirty = true;
    }

    /// Estimates made before a tensor's statistics were there lack its distribution; once both passes rest, they are
    /// made again. Their numbers are right meanwhile, and stay on screen.
    fn complete_distributions(&mut self) {
        if self.running.profile.is_some() || self.running.estimate.is_some() {
            return;
        }
        let lacking = |&i: &usize| {
            let row = &self.rows[i];
            let bare = row.estimate.as_ref().is_some_and(|e| e.after.is_none());
            !self.is_kept(i) && row.fresh && bare && self.stats[i].is_some()
        };
        let wanted: Vec<Wanted> = (0..self.rows.len()).filter(lacking).map(|i| self.wanted(i)).collect();
        if !wanted.is_empty() {
            let (model, plan) = (self.model.clone(), self.plan.clone());
            self.running.estimate = Some(jobs::estimate(model, plan, wanted, self.reporter.clone()));
        }
    }

    fn add_up(&mut self) {
        let estimates: Option<Vec<&TensorEstimate>> = self.rows.iter().map(|r| r.estimate.as_deref()).collect();
        let Some(estimates) = estimates else { return };
        let totals = total::totals(&self.model, &self.plan, &self.recipe, &estimates);
        let settled = totals.label == Label::Exact
            && self.rows.iter().all(|r| r.fresh)
            && self.running.profile.is_none()
            && self.running.estimate.is_none();
        let measured = self.measured.as_ref().filter(|m| m.fresh && m.whole).map(|m| m.accuracy.percent());
        if settled && (self.network.is_none() || measured.is_some()) {
            let point = PathPoint { bytes: totals.bytes, fidelity: totals.fidelity, accuracy: measured };
            if self.path.last() != Some(&point) {
                self.path.push(point);
                if self.path.len() > PATH {
                    self.path.remove(0);
                }
            }
        }
        self.totals = Some(totals);
    }

    /// Computes the uniform baseline, from profiles: on a model of any size in a moment.
    pub fn start_baseline(&mut self) {
        if self.troubles.is_source_changed() {
            return;
        }
        self.troubles.retract(Work::Baseline);
        self.baseline.clear();
        self.baselines += 1;
        let strange = |(_, stats): &(&crate::model::Tensor, &Option<Arc<TensorStats>>)| {
            stats.as_ref().is_some_and(|s| s.moments.non_finite() > 0)
        };
        let all = self.model.tensors.iter().zip(&self.stats);
        let left_out = all.filter(|(t, _)| t.is_weight_matrix()).filter(strange).map(|(t, _)| t.name.clone()).collect();
        let (model, network) = (self.model.clone(), self.network.clone());
        let profiles = self.engine.profiles().to_vec();
        let job =
            jobs::baseline(model, profiles, network, self.target(), left_out, self.baselines, self.reporter.clone());
        self.running.baseline = Some(job);
    }
}

/// A number for the members of a pool, which an estimate depends on besides target and scheme: FNV-1a over their positions.
fn fingerprint(members: &[usize]) -> u64 {
    members.iter().fold(START, |hash, &member| fnv1a(&(member as u64).to_le_bytes(), hash))
}

#[cfg(test)]
mod tests {
    use super::super::live::ApplyTo;
    use super::super::pace::Pace;
    use super::*;
    use crate::model::{OpenOptions, open};
    use crate::recipe::Recipe;
    use std::path::Path;
    use std::time::Duration;

    fn settle(live: &mut Live) {
        while live.is_busy() {
            live.poll();
            std::thread::yield_now();
        }
        live.poll();
    }

    /// The demo, read, all its weights given this scheme, and not polled since. What it says of digits takes long and is of no
    /// matter here.
    fn dialled(scheme: &str) -> Live {
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        let mut live = Live::new(Arc::new(model), Recipe::default(), None, Arc::new(|| {})).unwrap();
        live.network = None;
        (live.running.source, live.running.measure) = (None, None);
        settle(&mut live);
        live.set_scheme(0, &ApplyTo::All, &scheme.parse().unwrap(), "dial", None).unwrap();
        live
    }

    fn numbers(live: &Live) -> String {
        format!("{:?}", live.rows.iter().map(|row| (&row.estimate, row.fresh, &row.refusal)).collect::<Vec<_>>())
    }

    fn stale(live: &Live) -> Vec<&str> {
        let rows = live.model.tensors.iter().zip(&live.rows);
        rows.filter(|(_, row)| !row.fresh).map(|(tensor, _)| tensor.name.as_str()).collect()
    }

    const WEIGHTS: [&str; 3] = ["fc1.weight", "fc2.weight", "fc3.weight"];

    #[test]
    fn without_time_each_call_serves_one_row_and_all_of_them_come_to_what_they_come_to_at_once() {
        for scheme in ["int4:row", "prune:0.5:global", "int4:g64:asym:mse", "codebook:16"] {
            let (mut at_once, mut by_and_by) = (dialled(scheme), dialled(scheme));
            assert!(by_and_by.is_behind() && by_and_by.is_busy() && !by_and_by.is_fresh());
            at_once.catch_up();
            for left in (0..WEIGHTS.len()).rev() {
                assert_eq!(by_and_by.waiting.len(), left + 1, "{scheme}");
                assert_eq!(stale(&by_and_by).len(), left + 1, "{scheme}");
                by_and_by.serve(&mut Budget::of(Duration::ZERO));
            }
            assert!(by_and_by.waiting.is_empty() && by_and_by.is_fresh(), "{scheme}");
            assert_eq!(numbers(&by_and_by), numbers(&at_once), "{scheme}");
        }
    }

    #[test]
    fn a_poll_without_time_serves_one_row_and_its_totals_say_that_others_are_old() {
        let mut live = dialled("int4:row");
        live.pace = Pace { rows: Duration::ZERO, sweep: Duration::ZERO };
        let before = live.totals.clone().unwrap();
        live.poll();
        assert_eq!(stale(&live).len(), WEIGHTS.len() - 1);
        assert!(live.is_behind() && !live.is_fresh() && live.why_stale().unwrap().contains("worked out"));
        assert!(live.totals.as_ref().unwrap().bytes < before.bytes);
        settle(&mut live);
        assert!(live.is_fresh() && !live.is_behind());
        assert_eq!(live.totals.as_ref().unwrap().label, Label::Exact);
        let mut other = dialled("int4:row");
        settle(&mut other);
        assert_eq!(numbers(&live), numbers(&other));
    }

    #[test]
    fn the_row_under_the_hand_is_served_first_and_then_what_is_in_sight() {
        let mut live = dialled("keep");
        let index = |name: &str| live.model.find(name).unwrap();
        let [fc1, fc2, fc3] = WEIGHTS.map(index);
        live.look_at(vec![fc3, fc1]);
        for (hand, order) in [(fc2, ["fc2", "fc3", "fc1"]), (fc1, ["fc1", "fc3", "fc2"])] {
            let scheme = format!("int{}:row", 3 + hand);
            live.set_scheme(hand, &ApplyTo::All, &scheme.parse().unwrap(), "dial", None).unwrap();
            for next in order {
                let before = stale(&live).join(" ");
                live.serve(&mut Budget::of(Duration::ZERO));
                assert!(before.contains(next) && !stale(&live).join(" ").contains(next), "{next} of {before}");
            }
        }
    }

    #[test]
    fn what_is_known_already_is_not_asked_again_and_an_old_source_lets_nothing_wait() {
        let mut live = dialled("int4:row");
        let fc1 = live.model.find("fc1.weight").unwrap();
        settle(&mut live);
        let exact = live.rows[fc1].estimate.clone().unwrap();
        // Another scheme and back again: the exact number is still there.
        for scheme in ["int5:row", "int4:row"] {
            live.set_scheme(fc1, &ApplyTo::This, &scheme.parse().unwrap(), "dial", None).unwrap();
        }
        assert!(Arc::ptr_eq(live.rows[fc1].estimate.as_ref().unwrap(), &exact) && live.rows[fc1].fresh);
        live.catch_up();
        assert!(Arc::ptr_eq(live.rows[fc1].estimate.as_ref().unwrap(), &exact));
        live.set_scheme(fc1, &ApplyTo::This, &"int6:row".parse().unwrap(), "dial", None).unwrap();
        live.fail(Work::Profile, Cause::Changed("the model changed".into()));
        assert!(live.waiting.is_empty() && !live.is_behind());
        live.poll();
        assert!(live.rows.iter().all(|row| !row.fresh));
    }
}
