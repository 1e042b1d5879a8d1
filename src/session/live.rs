//! The window's state between frames: the recipe under the hand, estimates as they arrive, accuracy, the path walked.
//!
//! ```text
//! edit ─► recipe ─► plan ─► polls: live numbers (`numbers`) ─► jobs ─► events ─► exact numbers, accuracy, path
//! ```
//!
//! A row that has no live answer for its new scheme, or waits for it, keeps its last numbers, marked stale, until new ones are
//! there: numbers may be old, and then say so, but are never wrong for what they claim.

pub use super::view_types::{ApplyTo, Mapped, Measured, Outcome, PathPoint, Row};

use super::beside::Beside;
use super::history::History;
use super::jobs::{self, BaselinePoint, Event, Reporter};
use super::pace::Pace;
use super::presets::Choice;
use super::running::Running;
use super::spectra::Spectra;
use super::sweep::Swept;
use super::telling::Telling;
use super::trouble::{Troubles, Work};
use super::view_types::Key;
use super::waiting::Waiting;
use super::watch::Watch;
use crate::control::Progress;
use crate::estimate::live::{Asked, Engine};
use crate::estimate::total::Totals;
use crate::estimate::{TensorEstimate, TensorStats};
use crate::evaluate::{Accuracy, Network};
use crate::model::{Model, Scratch};
use crate::profile::{self, Cache};
use crate::recipe::{self, Pattern, Plan, Recipe, Scheme, Target, plan};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// Places kept of the path walked.
pub(super) const PATH: usize = 200;

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
    /// Why there is no accuracy for the current recipe, when a layer refuses its scheme.
    pub unmeasured: Option<String>,
    /// What went wrong behind the window, until it is put away.
    pub troubles: Troubles,
    /// Images of the test set whose answers are shown.
    pub shown_images: Vec<usize>,
    pub(super) recipe: Recipe,
    pub(super) plan: Arc<Plan>,
    /// Locked tensors, by position.
    pub(super) locked: HashSet<usize>,
    /// Whether what is pruned together may take the nearest that the target holds: it was accepted once, and stays in one line.
    nearest: bool,
    history: History,
    pub(super) engine: Engine,
    pub(super) asked: Asked,
    pub(super) cache: HashMap<(usize, Key), Arc<TensorEstimate>>,
    pub(super) generation: u64,
    pub(super) dirty: bool,
    pub(super) events: Receiver<Event>,
    pub(super) reporter: Reporter,
    pub(super) running: Running,
    pub(super) spectra: Spectra,
    pub(super) beside: Beside,
    /// Why tensors could not be read.
    pub(super) unread: HashMap<usize, String>,
    pub(super) last_export: Option<(PathBuf, bool)>,
    pub(super) telling: Telling,
    /// Counts baselines: what an earlier one still had to say is not of this one.
    pub(super) baselines: u64,
    pub(super) swept: RefCell<Option<Swept>>,
    /// Rows that wait for a live number.
    pub(super) waiting: Waiting,
    /// Elements that may still run through the exact kernel in frames, after the last change.
    pub(super) small_left: usize,
    /// Whether the exact pass is still to be started after the last change.
    pub(super) exact_due: bool,
    pub(super) pace: Pace,
    pub(super) last_preset: Option<Choice>,
    kept_in: Option<Cache>,
    _watch: Option<Watch>,
}

/// What a recipe comes to, and whether it needs the nearest for that. With `nearest`, what is pruned together may: where that is all
/// that the target does not hold, the recipe is as settled as it can be.
fn plan_of(model: &Model, recipe: &Recipe, nearest: bool) -> Result<(Plan, bool), recipe::Error> {
    let strict = match Plan::new(model, recipe, false) {
        Ok(plan) => return Ok((plan, false)),
        Err(error) => error,
    };
    match Plan::new(model, recipe, nearest) {
        Ok(plan) if recipe.is_settled(model, &plan) => Ok((plan, true)),
        _ => Err(strict),
    }
}

impl Live {
    /// Takes over an open model with a recipe that fits it, and starts to profile it. `wake` is called from other
    /// threads when there is something to show. Profiles are kept in `cache`, if there is one.
    ///
    /// # Errors
    /// When the recipe does not fit the model.
    pub fn new(
        model: Arc<Model>,
        recipe: Recipe,
        cache: Option<Cache>,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, recipe::Error> {
        let mut recipe = recipe;
        recipe.target.get_or_insert(plan::default_target(&model));
        // What comes here was accepted as it is, and may need the nearest again.
        let (plan, nearest) = plan_of(&model, &recipe, true)?;
        jobs::stand_behind_the_window();
        let (sender, events) = channel();
        let reporter = Reporter::new(sender, wake);
        let network = Network::of(&model);
        let teller = reporter.clone();
        let tell = move |error: crate::formats::Error| teller.send(Event::Failed(Work::Profile, error.into()));
        let mut live = Self {
            stats: vec![None; model.tensors.len()],
            rows: vec![Row::default(); model.tensors.len()],
            totals: None,
            measured: None,
            source_accuracy: None,
            path: Vec::new(),
            baseline: Vec::new(),
            outcome: None,
            unmeasured: None,
            troubles: Troubles::default(),
            shown_images: Vec::new(),
            recipe,
            plan: Arc::new(plan),
            locked: HashSet::new(),
            nearest,
            history: History::default(),
            engine: Engine::new(model.tensors.len()),
            asked: Asked::default(),
            cache: HashMap::new(),
            generation: 0,
            dirty: true,
            events,
            reporter,
            running: Running::default(),
            spectra: Spectra::default(),
            beside: Beside::default(),
            unread: HashMap::new(),
            last_export: None,
            telling: Telling::default(),
            baselines: 0,
            swept: RefCell::new(None),
            waiting: Waiting::default(),
            small_left: 0,
            exact_due: false,
            pace: Pace::default(),
            last_preset: None,
            kept_in: cache,
            _watch: Watch::over(model.clone(), tell),
            network,
            model,
        };
        live.resume_profile();
        live.start_source();
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

    /// The percentile at which the median unit of a tensor's grid would be clipped at `magnitude`, over what pruning leaves;
    /// `None` where there is no grid, or nothing is known yet.
    #[must_use]
    pub fn percentile_of_clip(&self, index: usize, magnitude: f64) -> Option<f64> {
        let Some(recipe::Quantize::Int { unit, .. }) = self.scheme(index).quantize else { return None };
        let tensor = &self.model.tensors[index];
        let threshold = self.rows[index].estimate.as_ref().and_then(|e| e.threshold).unwrap_or(0.0);
        if tensor.elements() < profile::SMALL {
            let (mut values, all) = (Vec::<f32>::new(), 0..tensor.elements());
            self.model.values(tensor, all, &mut values, &mut Scratch::default()).ok()?;
            return profile::percentile_of_clip(&values, tensor.geometry(), unit, magnitude, threshold);
        }
        self.engine.profile(index)?.percentile_of_clip(unit, tensor.geometry().cols, magnitude, threshold)
    }

    /// Whether a tensor is locked.
    #[must_use]
    pub fn is_locked(&self, index: usize) -> bool {
        self.locked.contains(&index)
    }

    /// Whether every number on screen is for the current recipe.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.rows.iter().all(|r| r.fresh)
    }

    /// Whether anything still runs, or waits for the next frame, that will change what is shown.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.running.is_any() || self.is_behind()
    }

    /// Whether something waits for the next frame, which should then come at once: rows for their live numbers, an exact pass
    /// to be started, or a sweep that somebody looks at.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty() || self.exact_due || self.is_sweeping()
    }

    /// Tells which rows are in front of the user: they get their live numbers before others, the first of them first.
    pub fn look_at(&mut self, rows: Vec<usize>) {
        self.waiting.in_sight = rows;
    }

    /// The reading of the model, while it goes on.
    #[must_use]
    pub fn profile_progress(&self) -> Option<Progress> {
        self.running.profile.as_ref().map(|job| job.control.progress())
    }

    /// The exact pass, while it goes on.
    #[must_use]
    pub fn estimate_progress(&self) -> Option<Progress> {
        self.running.estimate.as_ref().map(|job| job.control.progress())
    }

    /// The export, while it goes on.
    #[must_use]
    pub fn export_progress(&self) -> Option<Progress> {
        self.running.export.as_ref().map(|job| job.control.progress())
    }

    /// Chooses the test images whose answers are shown.
    pub fn show_images(&mut self, images: Vec<usize>) {
        self.shown_images = images;
        self.replan(None);
    }

    /// Stops reading the model; what is known stays.
    pub fn cancel_profile(&mut self) {
        self.running.profile = None;
        self.ask_samples_again();
    }

    /// Reads on what is not known yet.
    pub fn resume_profile(&mut self) {
        if self.running.profile.is_none() && self.stats_missing() && !self.troubles.is_source_changed() {
            self.troubles.retract(Work::Profile);
            let (model, cache) = (self.model.clone(), self.kept_in.clone());
            let known = self.engine.profiles().to_vec();
            self.running.profile = Some(jobs::profile(model, known, cache, self.reporter.clone()));
        }
    }

    /// Whether some float tensor has not been read.
    #[must_use]
    pub fn stats_missing(&self) -> bool {
        self.model
            .tensors
            .iter()
            .zip(&self.stats)
            .any(|(t, s)| s.as_ref().is_none_or(|s| s.coarse) && t.dtype.is_float())
    }

    /// Stops the export; its temporary is deleted.
    pub fn cancel_export(&mut self) {
        if let Some(job) = &self.running.export {
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
        let recipe = recipe.joined(&model, self.target(), &self.reached(index, apply));
        self.change(recipe, what, gesture, Some(index))
    }

    /// Gives each of these tensors its own scheme, as one step called `what`. The exact pass begins with the first.
    ///
    /// # Errors
    /// When one of them is locked, or cannot have its scheme.
    pub fn set_schemes(
        &mut self,
        schemes: &[(usize, Scheme)],
        what: &str,
        gesture: Option<u64>,
    ) -> Result<(), recipe::Error> {
        if let Some((locked, _)) = schemes.iter().find(|(index, _)| self.is_locked(*index)) {
            return Err(recipe::Error::Locked(self.model.tensors[*locked].name.clone()));
        }
        let mut recipe = self.recipe.clone();
        // Looked up once: a hand in motion may hold thousands of tensors.
        let places: HashMap<&str, usize> =
            self.recipe.overrides.iter().enumerate().map(|(at, o)| (o.tensor.as_str(), at)).collect();
        for (index, scheme) in schemes {
            let name = &self.model.tensors[*index].name;
            match places.get(name.as_str()) {
                Some(&at) => recipe.overrides[at].scheme = scheme.clone(),
                None => recipe.overrides.push(recipe::Override { tensor: name.clone(), scheme: scheme.clone() }),
            }
        }
        let touched: Vec<usize> = schemes.iter().map(|(index, _)| *index).collect();
        let recipe = recipe.joined(&self.model, self.target(), &touched);
        self.change(recipe, what, gesture, touched.first().copied())
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

    /// What another target would make of the schemes that it cannot hold: each with the tensors that have it.
    ///
    /// # Errors
    /// When it cannot be written at all.
    pub fn mapping(&self, target: Target) -> Result<Vec<Mapped>, recipe::Error> {
        let recipe = Recipe { target: Some(target), ..self.recipe.clone() };
        let plan = Plan::new(&self.model, &recipe, true)?;
        let mut mapped: Vec<Mapped> = Vec::new();
        for (index, assignment) in plan.assignments.iter().enumerate() {
            let (from, to) = (&assignment.scheme, &assignment.stored);
            if from == to {
                continue;
            }
            match mapped.iter_mut().find(|known| known.from == *from && known.to == *to) {
                Some(known) => known.tensors.push(index),
                None => mapped.push(Mapped { from: from.clone(), to: to.clone(), tensors: vec![index] }),
            }
        }
        Ok(mapped)
    }

    /// Changes the format to be written, and takes the nearest of what it holds in place of what it does not; one step.
    ///
    /// # Errors
    /// When it cannot hold even that.
    pub fn set_target_with_nearest(&mut self, target: Target) -> Result<(), recipe::Error> {
        let recipe = Recipe { target: Some(target), ..self.recipe.clone() };
        let plan = Plan::new(&self.model, &recipe, true)?;
        let settled = recipe.settled(&self.model, &plan);
        self.change_accepted(settled, &format!("target {}", target.name()))?;
        self.start_baseline();
        Ok(())
    }

    /// Changes the format to be written.
    ///
    /// # Errors
    /// When it cannot hold what is chosen.
    pub fn set_target(&mut self, target: Target) -> Result<(), recipe::Error> {
        let recipe = Recipe { target: Some(target), ..self.recipe.clone() };
        self.change(recipe, &format!("target {}", target.name()), None, None)?;
        self.start_baseline();
        Ok(())
    }

    /// Locks these tensors, or unlocks them when all of them are locked, as one step.
    ///
    /// # Errors
    /// When units were taken out of a tensor, and what goes with them is locked.
    pub fn toggle_locks(&mut self, tensors: &[usize]) -> Result<(), recipe::Error> {
        let mut recipe = self.recipe.clone();
        let name = |index: &usize| &self.model.tensors[*index].name;
        let unlock = tensors.iter().all(|index| self.is_locked(*index));
        if unlock {
            recipe.locked.retain(|locked| !tensors.iter().any(|index| name(index) == locked));
        } else {
            recipe
                .locked
                .extend(tensors.iter().filter(|index| !self.is_locked(**index)).map(|index| name(index).clone()));
        }
        let verb = if unlock { "unlock" } else { "lock" };
        let what = match tensors {
            [one] => format!("{verb} {}", name(one)),
            several => format!("{verb} {} layers", several.len()),
        };
        self.change(recipe, &what, None, tensors.first().copied())
    }

    /// Puts another recipe in place of this one. Whether what is stored as codes is open stays as it is: that is the model's.
    ///
    /// # Errors
    /// When it does not fit the model.
    pub fn replace_recipe(&mut self, recipe: Recipe, what: &str) -> Result<(), recipe::Error> {
        let target = recipe.target.or(self.recipe.target);
        let mut recipe = Recipe { target, requantize: self.recipe.requantize, ..recipe };
        recipe.call_by_own_names(&self.model);
        // Where all that is pruned together needs the nearest, it was written by whoever had accepted that.
        self.change_accepted(recipe, what)?;
        if self.nearest {
            let target = self.target().name();
            self.troubles.say(format!("Of what is pruned together {target} holds some only in its nearest form"), None);
        }
        Ok(())
    }

    /// [`change`](Self::change) to a recipe of which the nearest is accepted.
    fn change_accepted(&mut self, recipe: Recipe, what: &str) -> Result<(), recipe::Error> {
        let before = std::mem::replace(&mut self.nearest, true);
        let changed = self.change(recipe, what, None, None);
        if changed.is_err() {
            self.nearest = before;
        }
        changed
    }

    pub(super) fn change(
        &mut self,
        recipe: Recipe,
        what: &str,
        gesture: Option<u64>,
        first: Option<usize>,
    ) -> Result<(), recipe::Error> {
        if recipe == self.recipe {
            return Ok(());
        }
        let (plan, nearest) = plan_of(&self.model, &recipe, self.nearest)?;
        self.nearest = nearest;
        self.history.record(&self.recipe, what, gesture);
        self.recipe = recipe;
        self.plan = Arc::new(plan);
        self.replan(first);
        Ok(())
    }

    /// What can be taken back, handed over to the session that takes this one's place.
    pub fn take_history(&mut self) -> History {
        std::mem::take(&mut self.history)
    }

    /// Goes on where another session on the same tensors ended.
    pub fn follow(&mut self, history: History) {
        self.history = history;
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
        if let Ok((plan, nearest)) = plan_of(&self.model, &recipe, true) {
            self.nearest = nearest;
            let target = self.target();
            self.recipe = Recipe { requantize: self.recipe.requantize, ..recipe };
            self.plan = Arc::new(plan);
            self.replan(None);
            if self.target() != target {
                self.start_baseline();
            }
        }
    }

    /// Whether there is something that a uniform baseline could be made of: a weight matrix that may be touched.
    #[must_use]
    pub fn has_baseline(&self) -> bool {
        self.model.tensors.iter().any(crate::model::Tensor::is_weight_matrix)
    }

    /// Whether the uniform baseline is being computed.
    #[must_use]
    pub fn baseline_runs(&self) -> bool {
        self.running.baseline.is_some()
    }

    /// Counts changes of the recipe: equal numbers, equal recipes.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.generation
    }
}
