//! Threads behind the window: each has a name, a [`Control`] to stop it, and a channel by which its results come home.
//!
//! A job never touches the session's state; it sends [`Event`]s that the window takes between frames. An error that ends a
//! job, and a panic in it, become [`Event::Failed`]: nothing ends in silence, and the window lives. What goes wrong in one
//! tensor is told of that tensor, and the others go on.

use super::beside::{Compared, Found};
use super::presets::{self, Choice};
use super::trouble::{Cause, Work};
use super::view_types::Key;
use crate::compress::{self, Joint, Task, spectrum_of};
use crate::control::Control;
use crate::estimate::live::{Engine, estimate_model_live};
use crate::estimate::{Spectrum, TensorEstimate, TensorStats, estimate_tensor};
use crate::evaluate::mlp::Prediction;
use crate::evaluate::network::PixelMap;
use crate::evaluate::{Accuracy, Network, network};
use crate::export::{self, Artifact};
use crate::formats::error::printable;
use crate::model::Model;
use crate::profile::build::is_wide;
use crate::profile::{self, Cache, Profile, coarse_profile, profile_tensor};
use crate::recipe::{Plan, Quantize, Recipe};
use rayon::prelude::*;
use std::collections::HashSet;
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
    /// A preset was worked out.
    Preset {
        /// Which.
        choice: Choice,
        /// The revision of the recipe that it was worked out for.
        revision: u64,
        /// The recipe, and the locked tensors it left alone; or why it cannot be.
        result: Result<(Recipe, Vec<String>), String>,
    },
    /// One point of a uniform baseline, and of which.
    Baseline(u64, BaselinePoint),
    /// The singular values of a tensor, or why there are none.
    Spectrum(usize, Result<Arc<Spectrum>, String>),
    /// A checkpoint was opened to stand beside the model, for this request; or why not.
    Checkpoint(u64, Result<Found, Cause>),
    /// A tensor was compared with that of a checkpoint.
    Compared(Compared),
    /// The checkpoint of this request is no longer the one that was opened, in words.
    CheckpointChanged(u64, String),
    /// An export ended.
    Exported(Result<Box<Artifact>, Cause>),
    /// A report ended: where it is, and its bytes.
    Reported(Result<(PathBuf, u64), Cause>),
    /// A tensor could not be read.
    Unread(usize, Cause),
    /// The network of a generation cannot be run, and why.
    Unmeasured(u64, String),
    /// Work ended before its end.
    Failed(Work, Cause),
}

/// Every weight matrix at the same bits: what the hand has to beat.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselinePoint {
    /// What weights are stored as: bits of a code, the target's own type, or of a mixture the bits that a weight takes.
    pub label: String,
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

    /// Sends an event and wakes the window.
    pub(super) fn send(&self, event: Event) {
        // A closed channel means the window is gone, and nobody is left to be told.
        drop(self.sender.send(event));
        (self.wake)();
    }

    /// Says what ended a job; that it was stopped is no news.
    pub(super) fn fail(&self, work: Work, cause: Cause) {
        if cause != Cause::Cancelled {
            self.send(Event::Failed(work, cause));
        }
    }

    /// What a tensor came to, or why to nothing; `None` when the work was stopped. A scheme that does not suit a tensor is
    /// the row's to say; everything else is said aloud too.
    pub(super) fn outcome<T>(&self, work: Work, made: Result<T, Cause>) -> Option<Result<Arc<T>, String>> {
        match made {
            Ok(made) => Some(Ok(Arc::new(made))),
            Err(Cause::Cancelled) => None,
            Err(cause) => {
                let words = cause.words();
                if !matches!(cause, Cause::Refused(_)) {
                    self.fail(work, cause);
                }
                Some(Err(words))
            }
        }
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

/// Says that a thread is through, however it ends.
struct AtEnd {
    finished: Arc<AtomicBool>,
    reporter: Reporter,
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.finished.store(true, Ordering::Release);
        (self.reporter.wake)();
    }
}

/// Runs something; a panic in it becomes a cause.
fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Cause> {
    // Nothing that was borrowed is looked at after a panic but counters and finished results.
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Cause::Panic(printable(text))
    })
}

/// Starts a named thread; an error or a panic that ends it is reported.
pub(super) fn spawn(
    work: Work,
    reporter: Reporter,
    task: impl FnOnce(&Control, &Reporter) -> Result<(), Cause> + Send + 'static,
) -> Job {
    let (control, finished) = (Arc::new(Control::default()), Arc::new(AtomicBool::new(false)));
    let (inner, spare) = (control.clone(), reporter.clone());
    let end = AtEnd { finished: finished.clone(), reporter: reporter.clone() };
    let run = move || {
        step_back();
        // Moved in: dropped last, and even if telling itself goes wrong.
        let _end = end;
        if let Err(cause) = caught(|| task(&inner, &reporter)).and_then(|result| result) {
            reporter.fail(work, cause);
        }
    };
    // A thread that does not start drops what it was given, and so is through.
    if let Err(error) = std::thread::Builder::new().name(format!("spokeshave-{}", work.word())).spawn(run) {
        spare.fail(work, Cause::Refused(format!("a thread could not be started: {error}")));
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
    spawn(Work::Profile, reporter, move |control, reporter| {
        model.check_unchanged()?;
        let send = |index: usize, profile: &Arc<Profile>| {
            let stats = TensorStats::of(profile, true);
            reporter.send(Event::Profile(index, profile.clone(), Arc::new(stats)));
        };
        // A cache may fail in any way: then the model is read.
        if let Some(kept) = cache.as_ref().and_then(|cache| caught(|| cache.load(&model)).ok().flatten()) {
            kept.iter().enumerate().for_each(|(index, profile)| profile.iter().for_each(|p| send(index, p)));
            return Ok(());
        }
        let left = |i: &usize| known[*i].as_ref().is_none_or(|p| p.coarse) && model.tensors[*i].dtype.is_float();
        let left: Vec<usize> = (0..model.tensors.len()).filter(left).collect();
        control.expect(left.iter().map(|&i| model.tensors[i].bytes()).sum());
        let guess = |&i: &usize| {
            let (tensor, lacking) = (&model.tensors[i], known[i].is_none());
            // What keeps a guess from being made is told by the pass that follows.
            if lacking
                && profile::is_sketched(tensor)
                && let Ok(Ok(guess)) = caught(|| coarse_profile(&model, tensor, control))
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
        let one = |&i: &usize| {
            let made = caught(|| steady(i));
            match made.and_then(|made| made.map_err(Cause::from)) {
                Ok(Some(profile)) => {
                    let profile = Arc::new(profile);
                    send(i, &profile);
                    all.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[i] = Some(profile);
                }
                Ok(None) | Err(Cause::Cancelled) => {}
                Err(cause) => reporter.send(Event::Unread(i, cause)),
            }
        };
        // Large tensors one after the other, each by all threads; the others side by side.
        let (wide, narrow): (Vec<usize>, Vec<usize>) = left.iter().partition(|&&i| is_wide(&model.tensors[i]));
        narrow.par_iter().for_each(one);
        wide.iter().for_each(one);
        model.check_unchanged()?;
        if let Some(cache) = cache.filter(|_| !control.is_cancelled()) {
            cache.store(&model, &all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner));
        }
        Ok(())
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
    spawn(Work::Estimate, reporter, move |control, reporter| {
        if !rest(control) {
            return Ok(());
        }
        model.check_unchanged()?;
        let estimate =
            |task: &Task<'_>, at: usize| model.steadily_on(task.tensor, || estimate_tensor(task, wanted[at].reach));
        let send = |at: usize, made: Result<TensorEstimate, Cause>| {
            let Wanted { index, key, .. } = &wanted[at];
            if let Some(result) = reporter.outcome(Work::Estimate, made) {
                reporter.send(Event::Estimate { index: *index, key: key.clone(), result });
            }
        };
        let indices: Vec<usize> = wanted.iter().map(|w| w.index).collect();
        Pass { model: &model, plan: &plan, indices: &indices, control }.run(estimate, send)
    })
}

/// Some tensors of a plan, each taken through its scheme.
pub(super) struct Pass<'a> {
    /// The model.
    pub model: &'a Model,
    /// Their schemes.
    pub plan: &'a Plan,
    /// Their positions, the one that somebody waits for first.
    pub indices: &'a [usize],
    /// Stops it and tells how far it is.
    pub control: &'a Control,
}

impl Pass<'_> {
    /// Takes the first tensor, then the others side by side, through `work`, and hands each outcome to `send` as it comes;
    /// both are given the position among the wanted ones.
    ///
    /// # Errors
    /// What keeps all of them from being begun. What goes wrong with one of them is its own outcome.
    pub fn run<T>(
        &self,
        work: impl Fn(&Task<'_>, usize) -> Result<T, compress::Error> + Sync,
        send: impl Fn(usize, Result<T, Cause>) + Sync,
    ) -> Result<(), Cause> {
        let Self { model, plan, indices, control } = *self;
        control.expect(indices.iter().map(|&index| model.tensors[index].bytes()).sum());
        let wanted: HashSet<usize> = indices.iter().copied().collect();
        let joint = |wanted: &dyn Fn(usize) -> bool| Joint::for_some(model, plan, wanted, control);
        // What one tensor needs and is refused keeps the others from nothing: each is then asked by itself.
        let together = match joint(&|index| wanted.contains(&index)).map_err(Cause::from) {
            Ok(joint) => Some(joint),
            Err(Cause::Refused(_)) => None,
            Err(cause) => return Err(cause),
        };
        let one = |at: usize| {
            let index = indices[at];
            let made = caught(|| {
                let alone;
                let joint = if let Some(joint) = &together {
                    joint
                } else {
                    alone = joint(&|other| other == index)?;
                    &alone
                };
                work(&joint.task(model, plan, index, control), at)
            });
            send(at, made.and_then(|made| made.map_err(Cause::from)));
        };
        if !indices.is_empty() {
            one(0);
            (1..indices.len()).into_par_iter().for_each(one);
        }
        Ok(())
    }
}

/// Waits until the hand has rested for a moment, so that a drag does not start a pass per frame. Gives whether the work is
/// still wanted.
pub(super) fn rest(control: &Control) -> bool {
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
    spawn(Work::Measure, reporter, move |control, reporter| {
        let built = model.steadily(|| {
            Joint::new(&model, &plan, control).and_then(|joint| runnable.build(&model, &plan, &joint, control))
        });
        let mlp = match built.map_err(Cause::from) {
            Ok(mlp) => mlp,
            // A scheme that a tensor refuses: there is nothing to run, and no fault.
            Err(Cause::Refused(why)) => {
                reporter.send(Event::Unmeasured(generation, why));
                return Ok(());
            }
            Err(cause) => return Err(cause),
        };
        let seen = Arc::new(network::pixel_map(&mlp));
        for (range, whole) in [(0..COARSE, false), (0..runnable.images(), true)] {
            let accuracy = network::accuracy(&mlp, range, control).ok_or(Cause::Cancelled)?;
            let shown = network::predictions(&mlp, &shown);
            reporter.send(Event::Accuracy { generation, accuracy, whole, shown, seen: seen.clone() });
        }
        Ok(())
    })
}

/// Accuracy of the untouched network, once.
pub fn measure_source(model: Arc<Model>, runnable: Network, reporter: Reporter) -> Job {
    spawn(Work::Source, reporter, move |control, reporter| {
        let mlp = runnable.source(&model, control)?;
        let accuracy = network::accuracy(&mlp, 0..runnable.images(), control).ok_or(Cause::Cancelled)?;
        reporter.send(Event::SourceAccuracy(accuracy));
        Ok(())
    })
}

/// Bits of the uniform baseline.
const BASELINE_BITS: [u32; 6] = [8, 6, 5, 4, 3, 2];

/// The uniform baseline: every weight matrix at the same bits, per row, in the given target, from profiles. `left_out` are
/// those that no grid can hold (NaN or infinities inside); they are kept. Its points carry `number`.
pub fn baseline(
    model: Arc<Model>,
    profiles: Vec<Option<Arc<Profile>>>,
    runnable: Option<Network>,
    target: crate::recipe::Target,
    left_out: Vec<String>,
    number: u64,
    reporter: Reporter,
) -> Job {
    spawn(Work::Baseline, reporter, move |control, reporter| {
        let mut engine = Engine::of(profiles);
        let mut before: Option<Plan> = None;
        for bits in BASELINE_BITS {
            let mut recipe = Recipe { target: Some(target), ..Recipe::default() };
            // A model without weight matrices has no baseline, and nothing to say about it.
            let Ok(_) = recipe.set(&model, &format!("*=int{bits}:row")) else { return Ok(()) };
            left_out.iter().for_each(|name| recipe.set_one(name, crate::recipe::Scheme::keep()));
            // A target without such a grid has its own type of as many bits.
            let plan = Plan::new(&model, &recipe, true)?;
            // Where it has none of these bits, that is the point before, or the one that comes.
            let same =
                |other: &Plan| plan.assignments.iter().zip(&other.assignments).all(|(a, b)| a.stored == b.stored);
            if before.as_ref().is_some_and(same) {
                continue;
            }
            let estimate = estimate_model_live(&model, &plan, &recipe, &mut engine, control)?;
            let accuracy = match &runnable {
                Some(network) => {
                    let mlp = network.build(&model, &plan, &Joint::default(), control)?;
                    network::accuracy(&mlp, 0..network.images(), control)
                }
                None => None,
            };
            // Of tensors that are not read yet there is no sum, and then no baseline: it is computed again when they are.
            let (Some(bytes), Some(fidelity)) = (estimate.bytes, estimate.fidelity) else { return Ok(()) };
            let accuracy = accuracy.map(|a| a.percent());
            let label = uniform_label(&plan).unwrap_or_else(|| mixed_label(estimate.bits_per_weight));
            reporter.send(Event::Baseline(number, BaselinePoint { label, bytes, fidelity, accuracy }));
            before = Some(plan);
        }
        Ok(())
    })
}

/// What a plan that was meant to be uniform makes of all weights that it touches, in as few letters as a plot has room for; `None`
/// where it is not the same for all: rows that are no whole blocks get another type.
fn uniform_label(plan: &Plan) -> Option<String> {
    let mut stored = plan.assignments.iter().filter_map(|assignment| assignment.stored.quantize.as_ref());
    let first = stored.next()?;
    let bits = |quantize: &Quantize| match quantize {
        Quantize::Int { bits, .. } => Some(*bits),
        _ => None,
    };
    match bits(first) {
        Some(width) => stored.all(|other| bits(other) == Some(width)).then(|| format!("{width} b")),
        None => stored.all(|other| other == first).then(|| first.to_string()),
    }
}

/// The same for a mixture: what it comes to.
fn mixed_label(bits_per_weight: Option<f64>) -> String {
    bits_per_weight.map_or_else(|| "mixed".to_owned(), |bits| format!("{bits:.1} b"))
}

/// The singular values of one tensor. Where its vectors come along they stay with the model, for the exact pass.
pub fn spectrum(model: Arc<Model>, index: usize, reporter: Reporter) -> Job {
    spawn(Work::Spectrum, reporter, move |control, reporter| {
        model.check_unchanged()?;
        let tensor = &model.tensors[index];
        let found = model.steadily_on(tensor, || spectrum_of(&model, tensor, control));
        let result = match found.map_err(Cause::from) {
            Ok(svd) => Ok(Arc::new(Spectrum::of(&svd, tensor.geometry()))),
            // What its values or its size forbid is the tensor's to say.
            Err(Cause::Refused(why)) => Err(why),
            Err(cause) => return Err(cause),
        };
        reporter.send(Event::Spectrum(index, result));
        Ok(())
    })
}

/// A preset laid over a recipe, which is that of `revision`.
pub fn preset(model: Arc<Model>, recipe: Recipe, choice: Choice, revision: u64, reporter: Reporter) -> Job {
    spawn(Work::Preset, reporter, move |control, reporter| {
        control.expect(model.tensors.iter().map(crate::model::Tensor::bytes).sum());
        let result = match presets::apply(&model, &recipe, &choice, control).map_err(Cause::from) {
            Ok(laid) => Ok(laid),
            Err(Cause::Refused(why)) => Err(why),
            Err(cause) => return Err(cause),
        };
        reporter.send(Event::Preset { choice, revision, result });
        Ok(())
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
    spawn(Work::Export, reporter, move |control, reporter| {
        let job = export::Job { model: &model, plan: &plan, recipe: &recipe, out: &out, force, control };
        let result = export::export(&job);
        reporter.send(Event::Exported(result.map(Box::new).map_err(Cause::from)));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn run(task: impl FnOnce(&Control, &Reporter) -> Result<(), Cause> + Send + 'static) -> Vec<String> {
        let (sender, events) = channel();
        let job = spawn(Work::Baseline, Reporter::new(sender, Arc::new(|| {})), task);
        let all = events.iter().map(|event| format!("{event:?}")).collect();
        // The channel closes a moment before the thread is through.
        while !job.is_finished() {
            std::thread::yield_now();
        }
        all
    }

    #[test]
    fn whatever_ends_a_job_is_told_and_the_job_is_through() {
        assert_eq!(run(|_, _| panic!("odd {}", 1 + 1)), ["Failed(Baseline, Panic(\"odd 2\"))"]);
        assert_eq!(run(|_, _| Err(Cause::Refused("no".into()))), ["Failed(Baseline, Refused(\"no\"))"]);
        assert_eq!(run(|_, _| Err(Cause::Cancelled)), Vec::<String>::new());
        assert_eq!(run(|_, _| Ok(())), Vec::<String>::new());
        assert_eq!(run(|_, _| std::panic::panic_any(7)), ["Failed(Baseline, Panic(\"\"))"]);
    }
}
