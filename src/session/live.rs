//! The window's state between frames: the recipe under the hand, estimates as they arrive, accuracy, the path walked.
//!
//! ```text
//! edit ─► recipe ─► plan ─► which rows are no longer right? ─► jobs ─► events ─► rows, totals, accuracy, path
//! ```
//!
//! A row whose scheme changed keeps its last numbers, marked stale, until the new ones are there: numbers may be old,
//! and then say so, but are never wrong for what they claim.

pub use super::view_types::{ApplyTo, Measured, Outcome, PathPoint, Row};

use super::history::History;
use super::jobs::{self, BaselinePoint, Event, Job, Reporter, Wanted};
use crate::control::Progress;
use crate::estimate::total::{self, Totals};
use crate::estimate::{TensorEstimate, TensorStats, size};
use crate::evaluate::{Accuracy, Network};
use crate::model::Model;
use crate::recipe::{self, Pattern, Plan, Recipe, Scheme, Target, plan};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// Estimates kept for schemes that were left again.
const CACHE: usize = 4096;
/// Parameters above which the uniform baseline is computed only when asked for: it is six passes over the model.
pub const BASELINE_UNASKED: u64 = 150_000_000;
/// Places kept of the path walked.
const PATH: usize = 200;

/// An open model under the hand.
pub struct Live {
    /// The model.
    pub model: Arc<Model>,
    /// How it is run, if the program can.
    pub network: Option<Network>,
    /// Statistics by tensor, as they arrive.
    pub stats: Vec<Option<Arc<TensorStats>>>,
    /// What is known of each tensor.
    pub rows: Vec<Row>,
    /// Sums over the rows; `None` until every row has an estimate.
    pub totals: Option<Totals>,
    /// Accuracy of the compressed network.
    pub measured: Option<Measured>,
    /// Accuracy of the untouched network.
    pub source_accuracy: Option<Accuracy>,
    /// Where the hand has rested.
    pub path: Vec<PathPoint>,
    /// The uniform baseline, as far as it is computed.
    pub baseline: Vec<BaselinePoint>,
    /// How the last export ended.
    pub outcome: Option<Outcome>,
    /// A failure of background work, to be shown until it is put away.
    pub banner: Option<String>,
    /// Images of the test set whose answers are shown.
    pub shown_images: Vec<usize>,
    recipe: Recipe,
    plan: Arc<Plan>,
    history: History,
    cache: HashMap<(usize, String), Arc<TensorEstimate>>,
    generation: u64,
    dirty: bool,
    events: Receiver<Event>,
    reporter: Reporter,
    profile_job: Option<Job>,
    estimate_job: Option<Job>,
    measure_job: Option<Job>,
    source_job: Option<Job>,
    baseline_job: Option<Job>,
    export_job: Option<Job>,
}

impl Live {
    /// Takes over an open model with a recipe that fits it, and starts to profile it. `wake` is called from other
    /// threads when there is something to show.
    ///
    /// # Errors
    /// When the recipe does not fit the model.
    pub fn new(model: Arc<Model>, recipe: Recipe, wake: Arc<dyn Fn() + Send + Sync>) -> Result<Self, recipe::Error> {
        let mut recipe = recipe;
        recipe.target.get_or_insert(plan::default_target(&model));
        let plan = Arc::new(Plan::new(&model, &recipe, false)?);
        let (sender, events) = channel();
        let reporter = Reporter::new(sender, wake);
        let network = Network::of(&model);
        let mut live = Self {
            stats: vec![None; model.tensors.len()],
            rows: vec![Row::default(); model.tensors.len()],
            totals: None,
            measured: None,
            source_accuracy: None,
            path: Vec::new(),
            baseline: Vec::new(),
            outcome: None,
            banner: None,
            shown_images: Vec::new(),
            recipe,
            plan,
            history: History::default(),
            cache: HashMap::new(),
            generation: 0,
            dirty: true,
            events,
            reporter,
            profile_job: None,
            estimate_job: None,
            measure_job: None,
            source_job: None,
            baseline_job: None,
            export_job: None,
            network,
            model,
        };
        live.profile_job = Some(jobs::profile(live.model.clone(), live.reporter.clone()));
        if let Some(network) = &live.network {
            live.source_job = Some(jobs::measure_source(live.model.clone(), network.clone(), live.reporter.clone()));
        }
        live.replan(None);
        Ok(live)
    }

    /// The recipe as it stands.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What it comes to.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The format to be written.
    #[must_use]
    pub fn target(&self) -> Target {
        self.plan.target
    }

    /// The scheme of a tensor.
    #[must_use]
    pub fn scheme(&self, index: usize) -> &Scheme {
        &self.plan.assignments[index].scheme
    }

    /// Undo and redo, for their names and depth.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Whether a tensor is locked.
    #[must_use]
    pub fn is_locked(&self, index: usize) -> bool {
        self.recipe.locked.contains(&self.model.tensors[index].name)
    }

    /// Whether every number on screen is for the current recipe.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.rows.iter().all(|r| r.fresh)
    }

    /// Whether anything still runs that will change what is shown.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        [
            &self.profile_job,
            &self.estimate_job,
            &self.measure_job,
            &self.source_job,
            &self.baseline_job,
            &self.export_job,
        ]
        .iter()
        .any(|job| job.is_some())
    }

    /// The reading of the model, while it goes on.
    #[must_use]
    pub fn profile_progress(&self) -> Option<Progress> {
        self.profile_job.as_ref().map(|job| job.control.progress())
    }

    /// The exact pass, while it goes on.
    #[must_use]
    pub fn estimate_progress(&self) -> Option<Progress> {
        self.estimate_job.as_ref().map(|job| job.control.progress())
    }

    /// The export, while it goes on.
    #[must_use]
    pub fn export_progress(&self) -> Option<Progress> {
        self.export_job.as_ref().map(|job| job.control.progress())
    }

    /// Chooses the test images whose answers are shown.
    pub fn show_images(&mut self, images: Vec<usize>) {
        self.shown_images = images;
        self.replan(None);
    }

    /// Stops reading the model; what is known stays.
    pub fn cancel_profile(&mut self) {
        self.profile_job = None;
    }

    /// Reads on what is not known yet.
    pub fn resume_profile(&mut self) {
        if self.profile_job.is_none() && self.stats_missing() {
            self.profile_job = Some(jobs::profile(self.model.clone(), self.reporter.clone()));
        }
    }

    /// Whether some float tensor has not been read.
    #[must_use]
    pub fn stats_missing(&self) -> bool {
        self.model.tensors.iter().zip(&self.stats).any(|(t, s)| s.is_none() && t.dtype.is_float())
    }

    /// Stops the export; its temporary is deleted.
    pub fn cancel_export(&mut self) {
        if let Some(job) = &self.export_job {
            job.control.cancel();
        }
    }

    /// Gives the selected tensor's new scheme to all that `apply` names, as one step called `what`.
    ///
    /// # Errors
    /// When a pattern touches nothing, a tensor is locked, or the target cannot hold the scheme.
    pub fn set_scheme(
        &mut self,
        index: usize,
        apply: &ApplyTo,
        scheme: &Scheme,
        what: &str,
        gesture: Option<u64>,
    ) -> Result<(), recipe::Error> {
        let mut recipe = self.recipe.clone();
        let model = self.model.clone();
        match self.pattern_of(index, apply)? {
            Some(pattern) => drop(recipe.set_parsed(&model, pattern, scheme.clone())?),
            None if self.is_locked(index) => return Err(recipe::Error::Locked(model.tensors[index].name.clone())),
            None => recipe.set_one(&model.tensors[index].name, scheme.clone()),
        }
        self.change(recipe, what, gesture, Some(index))
    }

    /// The tensors that a change would go to.
    #[must_use]
    pub fn reached(&self, index: usize, apply: &ApplyTo) -> Vec<usize> {
        match self.pattern_of(index, apply) {
            Ok(Some(pattern)) => pattern.touched(&self.model).unwrap_or_default(),
            Ok(None) => vec![index],
            Err(_) => Vec::new(),
        }
    }

    fn pattern_of(&self, index: usize, apply: &ApplyTo) -> Result<Option<Pattern>, recipe::Error> {
        Ok(match apply {
            ApplyTo::This => None,
            ApplyTo::All => Some(Pattern::new("*")?),
            ApplyTo::Role => Some(Pattern::of_role(&self.model, index)?),
            ApplyTo::Pattern(text) => Some(Pattern::new(text)?),
        })
    }

    /// Changes the format to be written.
    ///
    /// # Errors
    /// When it cannot hold what is chosen.
    pub fn set_target(&mut self, target: Target) -> Result<(), recipe::Error> {
        let recipe = Recipe { target: Some(target), ..self.recipe.clone() };
        self.change(recipe, &format!("target {}", target.name()), None, None)?;
        self.start_baseline_if_small();
        Ok(())
    }

    /// Locks a tensor, or unlocks it.
    pub fn toggle_lock(&mut self, index: usize) {
        let mut recipe = self.recipe.clone();
        let name = self.model.tensors[index].name.clone();
        let what = if let Some(at) = recipe.locked.iter().position(|l| *l == name) {
            recipe.locked.remove(at);
            format!("unlock {name}")
        } else {
            recipe.locked.push(name.clone());
            format!("lock {name}")
        };
        // A lock changes no scheme, so the plan cannot be refused.
        drop(self.change(recipe, &what, None, Some(index)));
    }

    /// Puts another recipe in place of this one.
    ///
    /// # Errors
    /// When it does not fit the model.
    pub fn replace_recipe(&mut self, recipe: Recipe, what: &str) -> Result<(), recipe::Error> {
        let target = recipe.target.or(self.recipe.target);
        self.change(Recipe { target, ..recipe }, what, None, None)
    }

    fn change(
        &mut self,
        recipe: Recipe,
        what: &str,
        gesture: Option<u64>,
        first: Option<usize>,
    ) -> Result<(), recipe::Error> {
        if recipe == self.recipe {
            return Ok(());
        }
        let plan = Plan::new(&self.model, &recipe, false)?;
        self.history.record(&self.recipe, what, gesture);
        self.recipe = recipe;
        self.plan = Arc::new(plan);
        self.replan(first);
        Ok(())
    }

    /// Takes the last step back.
    pub fn undo(&mut self) {
        if let Some(recipe) = self.history.undo(&self.recipe) {
            self.restore(recipe);
        }
    }

    /// Does the last step taken back again.
    pub fn redo(&mut self) {
        if let Some(recipe) = self.history.redo(&self.recipe) {
            self.restore(recipe);
        }
    }

    /// A recipe from the history was in force once, so it fits.
    fn restore(&mut self, recipe: Recipe) {
        if let Ok(plan) = Plan::new(&self.model, &recipe, false) {
            let target = self.target();
            self.recipe = recipe;
            self.plan = Arc::new(plan);
            self.replan(None);
            if self.target() != target {
                self.start_baseline_if_small();
            }
        }
    }

    /// Finds the rows that are no longer right and sets the jobs to them, `first` before the others.
    fn replan(&mut self, first: Option<usize>) {
        self.generation += 1;
        self.dirty = true;
        let keys: Vec<String> = (0..self.rows.len()).map(|i| self.key(i)).collect();
        for (index, key) in keys.into_iter().enumerate() {
            if self.rows[index].key == key && self.rows[index].fresh {
                continue;
            }
            let cached = self.cache.get(&(index, key.clone())).cloned();
            let row = &mut self.rows[index];
            row.fresh = cached.is_some();
            row.refusal = None;
            row.key = key;
            row.estimate = cached.or(row.estimate.take());
            self.refresh_kept(index);
        }
        self.start_estimates(first);
        if let Some(network) = &self.network {
            if let Some(measured) = &mut self.measured {
                measured.fresh = false;
            }
            self.measure_job = Some(jobs::measure(
                self.model.clone(),
                network.clone(),
                self.plan.clone(),
                self.shown_images.clone(),
                self.generation,
                self.reporter.clone(),
            ));
        }
    }

    fn start_estimates(&mut self, first: Option<usize>) {
        let stale = |&i: &usize| !self.rows[i].fresh && self.rows[i].refusal.is_none() && !self.is_kept(i);
        let mut order: Vec<usize> = (0..self.rows.len()).filter(stale).collect();
        if let Some(first) = first.filter(|f| order.contains(f)) {
            order.retain(|&i| i != first);
            order.insert(0, first);
        }
        let wanted: Vec<Wanted> = order.into_iter().map(|index| self.wanted(index)).collect();
        self.estimate_job = (!wanted.is_empty())
            .then(|| jobs::estimate(self.model.clone(), self.plan.clone(), wanted, self.reporter.clone()));
    }

    fn wanted(&self, index: usize) -> Wanted {
        let reach = self.stats[index].as_ref().map(|s| s.moments.abs_max());
        Wanted { index, key: self.rows[index].key.clone(), reach }
    }

    fn is_kept(&self, index: usize) -> bool {
        size::is_kept(&self.model.tensors[index], &self.plan.assignments[index].stored)
    }

    /// A kept tensor needs no pass: its statistics say everything.
    fn refresh_kept(&mut self, index: usize) {
        if !self.is_kept(index) {
            return;
        }
        let (tensor, stats) = (&self.model.tensors[index], self.stats[index].as_deref());
        let known = stats.is_some() || !tensor.dtype.is_float();
        let estimate = TensorEstimate::kept(tensor, self.plan.target, stats, known);
        let row = &mut self.rows[index];
        row.estimate = Some(Arc::new(estimate));
        row.fresh = known;
    }

    /// What an estimate depends on: target, scheme, and for a pool its members.
    fn key(&self, index: usize) -> String {
        let assignment = &self.plan.assignments[index];
        let pool = assignment.line.filter(|_| assignment.stored.is_global());
        let members = pool.and_then(|line| self.plan.pools.get(&line)).map_or(0, |members| fingerprint(members));
        format!("{} {} {members:x}", self.plan.target.name(), assignment.stored)
    }

    /// Takes in what the jobs have sent. Call once a frame, before drawing.
    pub fn poll(&mut self) {
        // Which jobs are through is asked first: what they sent is then surely in the channel.
        let jobs = [
            &self.profile_job,
            &self.estimate_job,
            &self.measure_job,
            &self.source_job,
            &self.baseline_job,
            &self.export_job,
        ];
        let through = jobs.map(|job| job.as_ref().is_some_and(Job::is_finished));
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
        self.put_away(through);
        if self.dirty {
            self.dirty = false;
            self.add_up();
        }
    }

    /// Forgets the jobs that are through, and starts what waited for them.
    fn put_away(&mut self, [profile, estimate, measure, source, baseline, export]: [bool; 6]) {
        let clear = |job: &mut Option<Job>, through: bool| {
            if through {
                *job = None;
            }
        };
        clear(&mut self.measure_job, measure);
        clear(&mut self.source_job, source);
        clear(&mut self.baseline_job, baseline);
        clear(&mut self.export_job, export);
        clear(&mut self.estimate_job, estimate);
        clear(&mut self.profile_job, profile);
        self.dirty |= measure || estimate || profile;
        if profile {
            self.start_baseline_if_small();
        }
        if profile || estimate {
            self.complete_distributions();
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Stats(index, stats) => {
                self.stats[index] = Some(stats);
                self.refresh_kept(index);
                self.dirty = true;
            }
            Event::Estimate { index, key, result } => self.take_estimate(index, key, result),
            Event::Accuracy { generation, accuracy, whole, shown, seen } if generation == self.generation => {
                self.measured = Some(Measured { accuracy, whole, fresh: true, shown, seen });
                self.dirty |= whole;
            }
            Event::Accuracy { .. } => {}
            Event::SourceAccuracy(accuracy) => {
                self.source_accuracy = Some(accuracy);
            }
            Event::Baseline(point) => self.baseline.push(point),
            Event::Exported(result) => {
                self.outcome = Some(match result {
                    Ok(artifact) => Outcome::Done(artifact),
                    Err(error) => Outcome::Failed(error),
                });
            }
            Event::Failed(text) => self.banner = Some(text),
        }
    }

    fn take_estimate(&mut self, index: usize, key: String, result: Result<Arc<TensorEstimate>, String>) {
        if self.cache.len() >= CACHE {
            self.cache.clear();
        }
        if let Ok(estimate) = &result {
            self.cache.insert((index, key.clone()), estimate.clone());
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
            Err(refusal) => row.refusal = Some(refusal),
        }
        self.dirty = true;
    }

    /// Estimates made before a tensor's statistics were there lack its distribution; once both passes rest, they are
    /// made again. Their numbers are right meanwhile, and stay on screen.
    fn complete_distributions(&mut self) {
        if self.profile_job.is_some() || self.estimate_job.is_some() {
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
            self.estimate_job = Some(jobs::estimate(model, plan, wanted, self.reporter.clone()));
        }
    }

    fn add_up(&mut self) {
        let estimates: Option<Vec<&TensorEstimate>> = self.rows.iter().map(|r| r.estimate.as_deref()).collect();
        let Some(estimates) = estimates else { return };
        let totals = total::totals(&self.model, &self.plan, &self.recipe, &estimates);
        let settled = self.rows.iter().all(|r| r.fresh) && self.profile_job.is_none();
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

    fn start_baseline_if_small(&mut self) {
        self.baseline.clear();
        self.baseline_job = None;
        if self.model.parameters() <= BASELINE_UNASKED {
            self.start_baseline();
        }
    }

    /// Computes the uniform baseline.
    pub fn start_baseline(&mut self) {
        self.baseline.clear();
        let strange = |(_, stats): &(&crate::model::Tensor, &Option<Arc<TensorStats>>)| {
            stats.as_ref().is_some_and(|s| s.moments.non_finite() > 0)
        };
        let all = self.model.tensors.iter().zip(&self.stats);
        let left_out = all.filter(|(t, _)| t.is_weight_matrix()).filter(strange).map(|(t, _)| t.name.clone()).collect();
        let (model, network) = (self.model.clone(), self.network.clone());
        let job = jobs::baseline(model, network, self.target(), left_out, self.reporter.clone());
        self.baseline_job = Some(job);
    }

    /// Whether the uniform baseline is being computed.
    #[must_use]
    pub fn baseline_runs(&self) -> bool {
        self.baseline_job.is_some()
    }

    /// Starts to write the artifact.
    pub fn export(&mut self, out: PathBuf, force: bool) {
        self.outcome = None;
        let (model, plan, recipe) = (self.model.clone(), self.plan.clone(), self.recipe.clone());
        self.export_job = Some(jobs::export(model, plan, recipe, out, force, self.reporter.clone()));
    }
}

/// FNV-1a over the positions of a pool's tensors.
fn fingerprint(members: &[usize]) -> u64 {
    let step = |hash: u64, &member: &usize| (hash ^ member as u64).wrapping_mul(0x0100_0000_01b3);
    members.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
