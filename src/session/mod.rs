//! One open model, one recipe: what the window and the commands both stand on, so that they cannot say different things.
//!
//! | file | what it settles |
//! |---|---|
//! | this | a request: the model, its recipe and plan, and what can be asked of them at once |
//! | [`dial`] | one setting of a scheme, turned by itself |
//! | [`history`] | undo and redo, one step per gesture |
//! | [`live`] | the window's state: the recipe under the hand and every way to change it |
//! | [`presets`] | recipes that have names |
//! | `numbers` | from a new plan to numbers on the screen: live from the next poll on, exact as they land |
//! | `waiting` | rows that wait for a live number, and in which order |
//! | `pace` | how long a frame may be held by that |
//! | [`running`] | which jobs run |
//! | [`jobs`] | threads behind the window, each cancellable, none ever holding a frame |
//! | [`sweep`] | one layer at every pruned share |
//! | `spectra` | singular values, of the tensor that is looked at first |
//! | [`beside`], `comparing` | another checkpoint beside the model, and every tensor compared with its own |
//! | [`trouble`], `failing` | what went wrong there, in words, and how it is begun again |
//! | `watch` | whether the files of the model are still the ones that were opened |
//! | [`autosave`] | the recipe kept on disk as it changes, found again after a crash |
//! | `telling` | the choice as text for other people and programs, and as a report in a file |
//! | [`leftovers`] | temporaries of exports that were killed |

pub mod autosave;
pub mod beside;
mod comparing;
pub mod dial;
mod failing;
pub mod history;
pub mod jobs;
pub mod leftovers;
pub mod live;
mod numbers;
mod pace;
pub mod presets;
pub mod running;
mod spectra;
pub mod sweep;
mod telling;
pub mod trouble;
mod view_types;
mod waiting;
mod watch;

pub use live::Live;
pub use telling::{Reported, unknown_ending};

use crate::allocate;
use crate::compress;
use crate::control::Control;
use crate::estimate::live::{Engine, estimate_model_live as live_estimate};
use crate::estimate::total::{self, ModelEstimate};
use crate::estimate::{TensorStats, stats};
use crate::evaluate::{Accuracy, Network, network};
use crate::export::{self, Artifact};
use crate::formats;
use crate::model::{Model, OpenOptions, open};
use crate::profile::{self, Cache};
use crate::recipe::{self, Plan, Recipe, Target, file, plan};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Anything that can go wrong on the way from a model to an artifact.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant wraps the error of the room it names")]
pub enum Error {
    #[error(transparent)]
    Format(#[from] formats::Error),
    #[error(transparent)]
    Recipe(#[from] recipe::Error),
    #[error(transparent)]
    Compress(#[from] compress::Error),
    #[error(transparent)]
    Export(#[from] export::Error),
    #[error(transparent)]
    Allocate(allocate::Error),
    #[error(
        "this model cannot be run here: accuracy is measured for a demo, or a file with a demo's tensor names and shapes. To measure another model, give a command with --with 'CMD {{model}}'"
    )]
    NotRunnable,
}

impl From<allocate::Error> for Error {
    fn from(error: allocate::Error) -> Self {
        match error {
            // What a pass over the weights says is the same whoever asked for it.
            allocate::Error::Compress(error) => error.into(),
            allocate::Error::Recipe(error) => error.into(),
            other => Self::Allocate(other),
        }
    }
}

/// What the user typed about the recipe.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// A recipe file.
    pub recipe: Option<PathBuf>,
    /// `PATTERN=SCHEME`, left to right.
    pub set: Vec<String>,
    /// Overrules the recipe's target.
    pub target: Option<Target>,
    /// Accept the nearest scheme that the target holds.
    pub nearest: bool,
    /// Touch tensors that are stored as codes.
    pub requantize: bool,
}

/// An open model with a recipe that fits it.
#[derive(Debug)]
pub struct Request {
    /// The model.
    pub model: Arc<Model>,
    /// The recipe, settings included.
    pub recipe: Recipe,
    /// What it comes to.
    pub plan: Plan,
    /// What should be told to the user: warnings of the model, locked names that were skipped.
    pub messages: Vec<String>,
}

impl Request {
    /// Opens a model and resolves a wish on it.
    ///
    /// # Errors
    /// When the model cannot be opened or the wish cannot be met.
    pub fn open(spec: &Path, options: &OpenOptions, wish: &Wish) -> Result<Self, Error> {
        let recipe = match &wish.recipe {
            Some(path) => file::read(path)?,
            None => Recipe::default(),
        };
        Self::with_recipe(spec, options, recipe, wish)
    }

    /// The same on a recipe that is there already, in place of the one that the wish names.
    ///
    /// # Errors
    /// As [`Request::open`].
    pub fn with_recipe(spec: &Path, options: &OpenOptions, recipe: Recipe, wish: &Wish) -> Result<Self, Error> {
        let model = open(spec, options)?;
        let mut messages = model.warnings.clone();
        let mut recipe = recipe;
        recipe.requantize |= wish.requantize;
        let model = Arc::new(if recipe.requantize { model.requantizing() } else { model });
        recipe.call_by_own_names(&model);
        recipe.target = Some(wish.target.or(recipe.target).unwrap_or(plan::default_target(&model)));
        for setting in &wish.set {
            for name in recipe.set(&model, setting)? {
                messages.push(format!("{} is locked; {setting} leaves it alone", formats::error::printable(&name)));
            }
        }
        let plan = Plan::new(&model, &recipe, wish.nearest)?;
        Ok(Self { model, recipe, plan, messages })
    }

    /// Statistics of every tensor.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn stats(&self, control: &Control) -> Result<Vec<Option<TensorStats>>, Error> {
        Ok(stats::model_stats(&self.model, control)?)
    }

    /// Bytes and errors, exactly.
    ///
    /// # Errors
    /// When a tensor cannot be read or refuses its scheme.
    pub fn estimate(&self, control: &Control) -> Result<ModelEstimate, Error> {
        Ok(total::estimate_model(&self.model, &self.plan, &self.recipe, control)?)
    }

    /// Bytes and errors from profiles, each with its kind: the numbers that the window shows before the exact pass lands.
    /// Profiles come from the cache where they are there, and go into it where they are not.
    ///
    /// # Errors
    /// When a tensor cannot be read or refuses its scheme.
    pub fn estimate_live(&self, cache: Option<&Cache>, control: &Control) -> Result<ModelEstimate, Error> {
        let known = cache.and_then(|cache| cache.load(&self.model));
        let profiles = if let Some(profiles) = known {
            profiles
        } else {
            let made = self.model.steadily(|| profile::profile_model(&self.model, control));
            let made = made.map_err(compress::Error::from)?;
            if let Some(cache) = cache {
                cache.store(&self.model, &made);
            }
            made
        };
        let mut engine = Engine::of(profiles);
        Ok(live_estimate(&self.model, &self.plan, &self.recipe, &mut engine, control)?)
    }

    /// Bytes without reading a weight.
    #[must_use]
    pub fn bytes_only(&self) -> ModelEstimate {
        total::bytes_only(&self.model, &self.plan, &self.recipe)
    }

    fn job<'a>(&'a self, out: &'a Path, force: bool, control: &'a Control) -> export::Job<'a> {
        export::Job { model: &self.model, plan: &self.plan, recipe: &self.recipe, out, force, control }
    }

    /// Writes the artifact, reads it back and compares.
    ///
    /// # Errors
    /// Whatever went wrong; `out` is then what it was.
    pub fn export(&self, out: &Path, force: bool, control: &Control) -> Result<Artifact, Error> {
        Ok(export::export(&self.job(out, force, control))?)
    }

    /// Writes the masks of what the recipe prunes, and nothing else.
    ///
    /// # Errors
    /// Whatever went wrong; `out` is then what it was.
    pub fn export_masks(&self, out: &Path, force: bool, control: &Control) -> Result<export::Masks, Error> {
        Ok(export::export_masks(&self.job(out, force, control))?)
    }

    /// Writes another checkpoint under the masks of what the recipe prunes here. Gives the artifact, and the request on that
    /// checkpoint that it stands for.
    ///
    /// # Errors
    /// Whatever went wrong; `out` is then what it was.
    pub fn export_rewound(
        &self,
        original: Model,
        out: &Path,
        force: bool,
        control: &Control,
    ) -> Result<(Self, Artifact), Error> {
        let rewound = export::export_rewound(&self.job(out, force, control), &original)?;
        let export::Rewound { artifact, recipe, plan } = rewound;
        Ok((Self { model: Arc::new(original), recipe, plan, messages: Vec::new() }, artifact))
    }

    /// Accuracy of the compressed network on the whole labelled set.
    ///
    /// # Errors
    /// When the program cannot run this model.
    pub fn measure(&self, control: &Control) -> Result<Accuracy, Error> {
        let runnable = Network::of(&self.model).ok_or(Error::NotRunnable)?;
        let mlp = self.model.steadily(|| {
            let joint = compress::Joint::new(&self.model, &self.plan, control)?;
            runnable.build(&self.model, &self.plan, &joint, control)
        })?;
        let all = 0..runnable.images();
        network::accuracy(&mlp, all, control).ok_or(Error::Compress(compress::Error::Cancelled))
    }
}
