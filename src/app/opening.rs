//! Another model in place of the open one, or the open one anew; neither while something of it is still being written.

use super::beside;
use super::command::Command;
use super::recovery;
use super::workbench::Workbench;
use crate::formats::source::Access;
use crate::model::{Model, Origin, open};
use crate::recipe::{Plan, Recipe, file};
use crate::session::Live;
use crate::session::trouble::Next;
use egui::Context;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Workbench {
    /// Whether another model may take the open one's place: the work of its session would be stopped with it.
    fn may_give_way(&self) -> Result<(), String> {
        let Some(what) = self.live.as_ref().and_then(Live::being_written) else { return Ok(()) };
        Err(format!("{what} of the open model is being written: wait for it, or cancel it, then try again"))
    }

    /// Takes the step that was offered after something went wrong.
    pub(super) fn next(&mut self, ctx: &Context, next: Next) -> Result<(), String> {
        if matches!(next, Next::OpenAgain | Next::ReadInPieces) {
            self.may_give_way()?;
        }
        let Some(live) = &mut self.live else { return Ok(()) };
        live.troubles.dismiss();
        match next {
            Next::ReadOn => live.resume_profile(),
            Next::TryAgain(work) => live.try_again(work),
            Next::OpenAgain => self.open_again(ctx)?,
            Next::ReadInPieces => {
                self.options.access = Access::Read;
                self.open_again(ctx)?;
            }
        }
        Ok(())
    }

    /// A recipe that quantizes anew wants a model that lets it: opened so when the recipe fits, and left alone when it does not.
    pub(super) fn open_codes_for(&mut self, ctx: &Context, command: &Command) -> Result<(), String> {
        let (Command::LoadRecipe(path), Some(live)) = (command, &self.live) else { return Ok(()) };
        let recipe = file::read(path).map_err(|e| e.to_string())?;
        if live.model.is_guarded() && recipe.requantize {
            let model = open(&opened_from(live), &self.options).map_err(|e| e.to_string())?.requantizing();
            Plan::new(&model, &recipe, false).map_err(|e| e.to_string())?;
            self.open_anew(ctx, true)?;
        }
        Ok(())
    }

    /// Opens the model from where it was opened, and takes the recipe along if it still fits.
    fn open_again(&mut self, ctx: &Context) -> Result<(), String> {
        let anew = self.live.as_ref().is_some_and(|live| live.recipe().requantize);
        self.open_anew(ctx, anew)
    }

    /// The same, with what is stored as codes open to every scheme or not.
    pub(super) fn open_anew(&mut self, ctx: &Context, requantize: bool) -> Result<(), String> {
        self.may_give_way()?;
        let Some(live) = &mut self.live else { return Ok(()) };
        let model = match open(&opened_from(live), &self.options) {
            Ok(model) => Arc::new(if requantize { model.requantizing() } else { model }),
            // It stays on the screen as it was, and can be tried again.
            Err(error) => {
                let next = (!live.troubles.is_source_changed()).then_some(Next::OpenAgain);
                live.troubles.say(format!("It cannot be opened: {error}"), next);
                return Ok(());
            }
        };
        let recipe = Recipe { requantize, ..live.recipe().clone() };
        let base = self.autosave.as_ref().map(|autosave| autosave.base().clone());
        let names = recovery::selected(&live.model, &self.view);
        let (tab, checkpoint) = (self.view.tab, live.path_beside().map(Path::to_path_buf));
        let (before, history) = (live.model.clone(), live.take_history());
        let mut lost = None;
        if let Err(why) = self.take_over(ctx, model.clone(), recipe, base) {
            lost = Some(format!("The recipe no longer fits the model: {why}"));
            // Without a recipe every model fits.
            self.adopt(ctx, model, Recipe::default());
        }
        if let Some(live) = &mut self.live {
            self.view.select_names(&live.model, &names);
            self.view.tab = tab;
            // What was done can be taken back as long as it is the same tensors that it was done to.
            if lost.is_none() && names_of(&live.model).eq(names_of(&before)) {
                live.follow(history);
            }
            checkpoint.into_iter().for_each(|path| live.open_beside(path, self.options));
            lost.into_iter().for_each(|words| live.troubles.say(words, None));
        }
        Ok(())
    }

    /// Opens a model, or loads a recipe into the open one when the file is a recipe.
    pub(super) fn open(&mut self, ctx: &Context, path: &Path) -> Result<(), String> {
        if beside::is_recipe(path) && self.live.is_some() {
            self.apply(ctx, Command::LoadRecipe(path.to_path_buf()));
            return Ok(());
        }
        self.may_give_way()?;
        match open(path, &self.options) {
            Ok(model) => {
                self.view.dialog = None;
                // An artifact's own recipe belongs to its source: opened, it starts untouched.
                self.adopt(ctx, Arc::new(model), Recipe::default());
                Ok(())
            }
            // The model that was open stays open.
            Err(error) if self.live.is_some() => Err(error.to_string()),
            Err(error) => {
                self.view.dialog = None;
                self.view.failure = Some(error.to_string());
                Ok(())
            }
        }
    }
}

/// What opens the same model again.
fn opened_from(live: &Live) -> PathBuf {
    match &live.model.origin {
        Origin::File(path) | Origin::Folder(path) => path.clone(),
        Origin::Demo(name) => format!("demo:{name}").into(),
    }
}

fn names_of(model: &Model) -> impl Iterator<Item = &str> {
    model.tensors.iter().map(|tensor| tensor.name.as_str())
}
