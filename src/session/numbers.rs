//! From a new plan to numbers on the screen: live ones in the same frame, exact ones as they land.
//!
//! ```text
//! plan ─► rows whose scheme changed ─► known exactly? ─► else live from the profile ─► totals          (this frame)
//!                                                    └► exact pass, tensor by tensor, in the background ─► rows
//! ```
//!
//! The next change cancels the exact pass, so a hand in motion meets only live numbers; they are right for the scheme on
//! screen, and their label says how far.

use super::jobs::{self, Event, Wanted};
use super::live::{Live, PATH};
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
/// How much a frame may run through the exact kernel ([`work_of_small`](crate::estimate::live::Engine::work_of_small)); the rest waits for the exact pass.
const SMALL_IN_A_FRAME: usize = 1 << 18;

impl Live {
    /// Finds the rows that are no longer right and gives them live numbers; then sets the exact pass to them, `first`
    /// before the others.
    pub(super) fn replan(&mut self, first: Option<usize>) {
        self.generation += 1;
        self.dirty = true;
        let tried = self.asked.tried;
        self.asked = self.engine.ask(&self.model, &self.plan);
        let other_samples = self.asked.tried != tried;
        let mut small = SMALL_IN_A_FRAME;
        let pools: BTreeMap<Line, u64> = self.plan.pools.iter().map(|(&line, m)| (line, fingerprint(m))).collect();
        for index in 0..self.rows.len() {
            let assignment = &self.plan.assignments[index];
            let pool = assignment.line.filter(|_| assignment.stored.is_global());
            let members =
                pool.and_then(|line| pools.get(&line)).copied().unwrap_or(0) ^ self.plan.removals.fingerprint(index);
            let (target, scheme) = (self.plan.target, &self.plan.assignments[index].stored);
            let row = &mut self.rows[index];
            let same = row.fresh && row.key.is(target, scheme, members);
            let sampled = row.estimate.as_ref().is_some_and(|e| e.label == Label::Sampled);
            if same && !(other_samples && sampled) {
                continue;
            }
            let key = Key { target, scheme: scheme.clone(), members };
            let place = (index, key);
            let cached = self.cache.get(&place).cloned();
            row.fresh = cached.is_some();
            row.refusal = None;
            row.key = place.1;
            row.estimate = cached.or(row.estimate.take());
            if !self.rows[index].fresh {
                self.refresh(index, first == Some(index), &mut small);
            }
        }
        self.recall_comparisons();
        if self.troubles.is_source_changed() {
            return self.mistrust();
        }
        self.start_estimates(first);
        self.start_measure();
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
    fn refresh(&mut self, index: usize, drawn: bool, small: &mut usize) {
        if self.is_kept(index) {
            return self.refresh_kept(index);
        }
        let reach = self.stats[index].as_ref().map(|s| s.moments.abs_max());
        let scheme = &self.plan.assignments[index].stored;
        let work = self.engine.work_of_small(&self.model.tensors[index], index, scheme);
        let exact = work.filter(|work| work <= small).and_then(|work| {
            *small -= work;
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
        let estimate = TensorEstimate::kept(tensor, self.plan.target, stats, known);
        let row = &mut self.rows[index];
        row.estimate = Some(Arc::new(estimate));
        row.fresh = known;
    }

    /// Takes in what the jobs have sent. Call once a frame, before drawing.
    pub fn poll(&mut self) {
        // Which jobs are through is asked first: what they sent is then surely in the channel.
        let through = self.running.through();
        let mut profiled = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            self.take(event, &mut profiled);
        }
        self.relive(&profiled);
        self.put_away(through);
        if self.troubles.is_source_changed() {
            self.mistrust();
        }
        if self.dirty {
            self.dirty = false;
            self.add_up();
        }
    }

    /// New profiles have come: rows that stand on them, or on a pool with them, get new live numbers.
    fn relive(&mut self, profiled: &[usize]) {
        if profiled.is_empty() {
            return;
        }
        self.dirty = true;
        let tried = self.asked.tried;
        self.asked = self.engine.ask(&self.model, &self.plan);
        let all = self.asked.tried != tried;
        let pooled: Vec<bool> = self.plan.assignments.iter().map(|a| a.stored.is_global()).collect();
        let mut small = SMALL_IN_A_FRAME;
        for (index, &pooled) in pooled.iter().enumerate() {
            let row = &self.rows[index];
            let exact = row.fresh && row.estimate.as_ref().is_some_and(|e| e.label == Label::Exact);
            let moved = profiled.binary_search(&index).is_ok() || pooled || all || self.plan.removals.touches(index);
            let kept = self.is_kept(index);
            if moved && row.refusal.is_none() && (kept || !exact) {
                self.refresh(index, true, &mut small);
            }
        }
    }

    /// Starts what waited for the jobs that are through.
    fn put_away(&mut self, through: Through) {
        self.running.put_away(through);
        self.dirty |= through.measure || through.estimate || through.profile;
        if through.profile {
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
