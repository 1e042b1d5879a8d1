//! Threads behind the window: each has a name, a [`Control`] to stop it, and a channel by which its results come home.
//!
//! A job never touches the session's state; it sends [`Event`]s that the window takes between frames. A panic in a job
//! becomes [`Event::Failed`], and the window lives.

use super::view_types::Key;
use crate::compress::{self, Task, cut_pools};
use crate::control::Control;
use crate::estimate::live::{Engine, estimate_model_live};
use crate::estimate::{TensorEstimate, TensorStats, estimate_tensor};
use crate::evaluate::mlp::Prediction;
use crate::evaluate::network::PixelMap;
use crate::evaluate::{Accuracy, Network, network};
use crate::export::{self, Artifact};
use crate::model::Model;
use crate::profile::build::is_wide;
use crate::profile::{self, Cache, Profile, coarse_profile, profile_tensor};
use crate::recipe::{Plan, Recipe};
use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

/// What a job has to say.
#[derive(Debug)]
pub enum Event {
    /// A tensor's profile, and the statistics in it.
    Profile(usize, Arc<Profile>, Arc<TensorStats>),
    /// A tensor under the scheme that `key` stands for.
    Estimate {
        /// Position of the tensor.
        index: usize,
        /// Scheme, target and pool.
        key: Key,
        /// The estimate, or why there is none.
        result: Result<Arc<TensorEstimate>, String>,
    },
    /// Measured accuracy of a generation.
    Accuracy {
        /// Of which plan.
        generation: u64,
        /// What was measured.
        accuracy: Accuracy,
        /// Whether it is over the whole set.
        whole: bool,
        /// Answers for the images shown.
        shown: Vec<Prediction>,
        /// Which pixels the network looks at.
        seen: Arc<PixelMap>,
    },
    /// Measured accuracy of the untouched network.
    SourceAccuracy(Accuracy),
    /// One point of the uniform baseline.
    Baseline(BaselinePoint),
    /// An export ended.
    Exported(Result<Box<Artifact>, String>),
    /// A job failed where nothing should.
    Failed(String),
}

/// Every weight matrix at the same bits: what the hand has to beat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BaselinePoint {
    /// Bits of every code.
    pub bits: u32,
    /// Bytes of the artifact.
    pub bytes: u64,
    /// Fidelity in percent.
    pub fidelity: f64,
    /// Measured accuracy in percent, where the model can be run.
    pub accuracy: Option<f64>,
}

/// Sends an event and wakes the window.
#[derive(Clone)]
pub struct Reporter {
    sender: Sender<Event>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Reporter {
    /// A reporter into a channel.
    pub fn new(sender: Sender<Event>, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { sender, wake }
    }

    fn send(&self, event: Event) {
        // A closed channel means the window is gone, and nobody is left to be told.
        drop(self.sender.send(event));
        (self.wake)();
    }
}

/// A running job. Dropping it cancels it.
#[derive(Debug)]
pub struct Job {
    /// Stops it and tells how far it is.
    pub control: Arc<Control>,
    finished: Arc<AtomicBool>,
}

impl Job {
    /// Whether its thread is through: everything it had to say is then in the channel.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.control.cancel();
    }
}

/// Starts a named thread; a panic in it is reported.
fn spawn(name: &str, reporter: Reporter, work: impl FnOnce(&Control, &Reporter) + Send + 'static) -> Job {
    let (control, finished) = (Arc::new(Control::default()), Arc::new(AtomicBool::new(false)));
    let (inner, spare, end) = (control.clone(), reporter.clone(), finished.clone());
    let run = move || {
        step_back();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(&inner, &reporter))) {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
            reporter.send(Event::Failed(format!("background work stopped unexpectedly: {text}")));
        }
        end.store(true, Ordering::Release);
        (reporter.wake)();
    };
    if let Err(error) = std::thread::Builder::new().name(format!("spokeshave-{name}")).spawn(run) {
        finished.store(true, Ordering::Release);
        spare.send(Event::Failed(format!("a thread could not be started: {error}")));
    }
    Job { control, finished }
}

/// Lets the thread that draws go first: on a machine whose cores are all at work, frames would otherwise wait for them.
#[cfg(target_os = "linux")]
fn step_back() {
    // A priority that cannot be lowered is left as it is.
    rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10).unwrap_or(());
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

/// The same for the threads that all jobs share.
pub fn stand_behind_the_window() {
    rayon::broadcast(|_| step_back());
}

/// Profiles of every tensor that is not in `known` yet: from the cache, or a guess from a few rows of each first, then from
/// every weight. A complete set goes into the cache.
pub fn profile(model: Arc<Model>, known: Vec<Option<Arc<Profile>>>, cache: Option<Cache>, reporter: Reporter) -> Job {
    spawn("profile", reporter, move |control, reporter| {
        let send = |index: usize, profile: &Arc<Profile>| {
            let stats = TensorStats::of(profile, true);
            reporter.send(Event::Profile(index, profile.clone(), Arc::new(stats)));
        };
        if let Some(kept) = cache.as_ref().and_then(|cache| cache.load(&model)) {
            kept.iter().enumerate().for_each(|(index, profile)| profile.iter().for_each(|p| send(index, p)));
            return;
        }
        let left = |i: &usize| known[*i].as_ref().is_none_or(|p| p.coarse) && model.tensors[*i].dtype.is_float();
        let left: Vec<usize> = (0..model.tensors.len()).filter(left).collect();
        control.expect(left.iter().map(|&i| model.tensors[i].bytes()).sum());
        let guess = |&i: &usize| {
            let (tensor, lacking) = (&model.tensors[i], known[i].is_none());
            if lacking
                && profile::is_sketched(tensor)
                && let Ok(guess) = coarse_profile(&model, tensor, control)
            {
                send(i, &Arc::new(guess));
            }
        };
        left.par_iter().for_each(guess);
        let all = std::sync::Mutex::new(known);
        let sampled = profile::sample_size(&model);
        // A file that changed under the pass has no profile, of no tensor in it.
        let steady = |i: usize| {
            let tensor = &model.tensors[i];
            model.steadily_on(tensor, || profile_tensor(&model, tensor, sampled, control))
        };
        let one = |&i: &usize| match steady(i) {
            Ok(Some(profile)) => {
                let profile = Arc::new(profile);
                send(i, &profile);
                all.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[i] = Some(profile);
            }
            Ok(None) | Err(profile::Error::Cancelled) => {}
            Err(error) => reporter.send(Event::Failed(error.to_string())),
        };
        // Large tensors one after the other, each by all threads; the others side by side.
        let (wide, narrow): (Vec<usize>, Vec<usize>) = left.iter().partition(|&&i| is_wide(&model.tensors[i]));
        narrow.par_iter().for_each(one);
        wide.iter().for_each(one);
        if let Some(cache) = cache.filter(|_| !control.is_cancelled() && model.check_unchanged().is_ok()) {
            cache.store(&model, &all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner));
        }
    })
}

/// One tensor to be estimated.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Position of the tensor.
    pub index: usize,
    /// What the result will be filed under.
    pub key: Key,
    /// Half the axis of the distribution afterwards.
    pub reach: Option<f64>,
}

/// Exact estimates of some tensors, the first one before the others.
pub fn estimate(model: Arc<Model>, plan: Arc<Plan>, wanted: Vec<Wanted>, reporter: Reporter) -> Job {
    spawn("estimate", reporter, move |control, reporter| {
        if !rest(control) {
            return;
        }
        control.expect(wanted.iter().map(|w| model.tensors[w.index].bytes()).sum());
        let global = wanted.iter().any(|w| plan.assignments[w.index].stored.is_global());
        let cuts = if global { cut_pools(&model, &plan, control) } else { Ok(std::collections::HashMap::new()) };
        let cuts = match cuts {
            Ok(cuts) => cuts,
            Err(compress::Error::Cancelled) => return,
            Err(error) => return reporter.send(Event::Failed(error.to_string())),
        };
        let one = |w: &Wanted| {
            let (tensor, scheme) = (&model.tensors[w.index], &plan.assignments[w.index].stored);
            let pool = cuts.get(&w.index).copied();
            let task = Task { model: &model, tensor, scheme, target: plan.target, pool, control };
            let result = match model.steadily_on(tensor, || estimate_tensor(&task, w.reach)) {
                Err(compress::Error::Cancelled) => return,
                other => other.map(Arc::new).map_err(|e| e.to_string()),
            };
            reporter.send(Event::Estimate { index: w.index, key: w.key.clone(), result });
        };
        if let Some((first, rest)) = wanted.split_first() {
            one(first);
            rest.par_iter().for_each(one);
        }
    })
}

/// Waits until the hand has rested for a moment, so that a drag does not start a pass per frame. Gives whether the work is
/// still wanted.
fn rest(control: &Control) -> bool {
    let step = std::time::Duration::from_millis(4);
    (0..10).all(|_| {
        std::thread::sleep(step);
        !control.is_cancelled()
    })
}

/// Images of the first, quick measurement.
const COARSE: usize = 1000;

/// Accuracy of the compressed network: a coarse answer, then the whole set.
pub fn measure(
    model: Arc<Model>,
    runnable: Network,
    plan: Arc<Plan>,
    shown: Vec<usize>,
    generation: u64,
    reporter: Reporter,
) -> Job {
    spawn("measure", reporter, move |control, reporter| {
        let built = model.steadily(|| {
            cut_pools(&model, &plan, control).and_then(|cuts| runnable.build(&model, &plan, &cuts, control))
        });
        // A scheme that a tensor refuses is told by its estimate; there is nothing to run then.
        let Ok(mlp) = built else { return };
        let seen = Arc::new(network::pixel_map(&mlp));
        for (range, whole) in [(0..COARSE, false), (0..runnable.images(), true)] {
            let Some(accuracy) = network::accuracy(&mlp, range, control) else { return };
            let shown = network::predictions(&mlp, &shown);
            reporter.send(Event::Accuracy { generation, accuracy, whole, shown, seen: seen.clone() });
        }
    })
}

/// Accuracy of the untouched network, once.
pub fn measure_source(model: Arc<Model>, runnable: Network, reporter: Reporter) -> Job {
    spawn("measure-source", reporter, move |control, reporter| {
        let Ok(mlp) = runnable.source(&model, control) else { return };
        if let Some(accuracy) = network::accuracy(&mlp, 0..runnable.images(), control) {
            reporter.send(Event::SourceAccuracy(accuracy));
        }
    })
}

/// Bits of the uniform baseline.
const BASELINE_BITS: [u32; 6] = [8, 6, 5, 4, 3, 2];

/// The uniform baseline: every weight matrix at the same bits, per row, in the given target, from profiles. `left_out` are
/// those that no grid can hold (NaN or infinities inside); they are kept.
pub fn baseline(
    model: Arc<Model>,
    profiles: Vec<Option<Arc<Profile>>>,
    runnable: Option<Network>,
    target: crate::recipe::Target,
    left_out: Vec<String>,
    reporter: Reporter,
) -> Job {
    spawn("baseline", reporter, move |control, reporter| {
        let mut engine = Engine::of(profiles);
        for bits in BASELINE_BITS {
            let mut recipe = Recipe { target: Some(target), ..Recipe::default() };
            // A model without weight matrices has no baseline, and nothing to say about it.
            let Ok(_) = recipe.set(&model, &format!("*=int{bits}:row")) else { return };
            left_out.iter().for_each(|name| recipe.set_one(name, crate::recipe::Scheme::keep()));
            let Ok(plan) = Plan::new(&model, &recipe, false) else { return };
            let estimate = estimate_model_live(&model, &plan, &recipe, &mut engine, control);
            let Ok(estimate) = estimate else { return };
            let accuracy = runnable.as_ref().and_then(|network| {
                let mlp = network.build(&model, &plan, &std::collections::HashMap::new(), control).ok()?;
                network::accuracy(&mlp, 0..network.images(), control)
            });
            let (Some(bytes), Some(fidelity)) = (estimate.bytes, estimate.fidelity) else { return };
            let accuracy = accuracy.map(|a| a.percent());
            reporter.send(Event::Baseline(BaselinePoint { bits, bytes, fidelity, accuracy }));
        }
    })
}

/// Writes the artifact.
pub fn export(
    model: Arc<Model>,
    plan: Arc<Plan>,
    recipe: Recipe,
    out: PathBuf,
    force: bool,
    reporter: Reporter,
) -> Job {
    spawn("export", reporter, move |control, reporter| {
        let result = export::export(&model, &plan, &recipe, &out, force, control);
        reporter.send(Event::Exported(result.map(Box::new).map_err(|e| e.to_string())));
    })
}
