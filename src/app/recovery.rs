//! The recipe survives: the window's part in keeping it as it changes, and in offering what an earlier session left behind.

use super::command::Command;
use super::state::View;
use super::workbench::Workbench;
use crate::model::Model;
use crate::recipe::Recipe;
use crate::session::Live;
use crate::session::autosave::{Autosave, Kept, Left, Shelf, key_of};
use egui::Context;
use std::path::Path;
use std::time::SystemTime;

/// What an earlier session left, and what can be done with it.
#[derive(Clone, Debug)]
pub enum Offer {
    /// A recipe of the model that is open.
    Restore {
        /// The recipe.
        left: Left,
        /// Whether the model's files are as they were.
        same: bool,
    },
    /// A model that was open when the program ended unexpectedly.
    Reopen(Left),
}

impl Offer {
    fn left(&self) -> &Left {
        match self {
            Self::Restore { left, .. } | Self::Reopen(left) => left,
        }
    }

    /// The question.
    #[must_use]
    pub fn words(&self) -> String {
        let kept = &self.left().kept;
        let age = kept.age(SystemTime::now());
        match self {
            Self::Restore { same, .. } => {
                let end = if kept.closed { "the window was closed" } else { "the program ended" };
                let changed = if *same { "" } else { "; the model file has changed since" };
                format!("Restore the recipe of {age}? It was not saved when {end}{changed}")
            }
            Self::Reopen(_) => format!("The program ended unexpectedly {age}, with {} open", kept.name),
        }
    }
}

impl Workbench {
    /// Keeps the recipe on this shelf from the next opened model on, and offers what is there.
    pub fn keep_recipes(&mut self, shelf: Option<Shelf>) {
        self.shelf = shelf;
    }

    /// Offers the model that was open when the program ended, if the next one to be opened is the demo that nobody asked for.
    pub fn may_reopen(&mut self) {
        self.may_reopen = true;
    }

    /// A model was opened: its recipe is kept from here on, as long as it differs from `base`, and what was left is offered.
    pub(super) fn begin_keeping(&mut self, ctx: &Context, base: Option<Recipe>) {
        let (Some(shelf), Some(live)) = (&self.shelf, &self.live) else { return };
        let repaint = ctx.clone();
        let base = base.unwrap_or_else(|| live.recipe().clone());
        self.autosave = Some(Autosave::new(shelf, &live.model, base, move || repaint.request_repaint()));
        self.view.offer = offer(shelf.left(), live, std::mem::take(&mut self.may_reopen));
    }

    /// Once a frame: whether something is to be written, and whether it could be.
    pub(super) fn keep_recipe(&mut self, ctx: &Context) {
        let (Some(autosave), Some(live)) = (&mut self.autosave, &mut self.live) else { return };
        if let Some(why) = autosave.failure() {
            live.troubles
                .say(format!("The recipe cannot be kept on disk as it changes: {why}. Save it yourself"), None);
        }
        let view = &self.view;
        if let Some(wait) = autosave.look(live.revision(), live.recipe(), || selected(&live.model, view)) {
            ctx.request_repaint_after(wait);
        }
    }

    /// The recipe was saved to, or loaded from, a file of the user's own.
    pub(super) fn recipe_is_safe(&mut self) {
        if let (Some(autosave), Some(live)) = (&mut self.autosave, &self.live) {
            autosave.is_safe(live.recipe());
        }
    }

    /// Ends the keeping as it should end. The window does so before it goes, and before another model takes its place.
    pub fn close(&mut self) {
        if let (Some(autosave), Some(live)) = (self.autosave.take(), &self.live) {
            autosave.close(live.recipe(), || selected(&live.model, &self.view));
        }
    }

    /// Carries out what was chosen of an offer.
    pub(super) fn answer_offer(&mut self, ctx: &Context, command: &Command) {
        let Some(offer) = self.view.offer.take() else { return };
        match (command, offer) {
            (Command::Discard, offer) => {
                offer.left().discard();
                // Another window may have left one as well.
                if let (Some(shelf), Some(live)) = (&self.shelf, &self.live) {
                    self.view.offer = self::offer(shelf.left(), live, false);
                }
            }
            (Command::Restore, Offer::Restore { left, same }) => self.restore(left, same),
            (Command::Reopen, Offer::Reopen(left)) => {
                if let Some(path) = left.kept.path {
                    self.apply(ctx, Command::Open(path));
                }
            }
            _ => {}
        }
    }

    fn restore(&mut self, left: Left, same: bool) {
        let Some(live) = &mut self.live else { return };
        if let Err(why) = live.replace_recipe(left.kept.recipe.clone(), "restore the recipe") {
            live.troubles.say(format!("The recipe does not fit this model: {why}"), None);
            self.view.offer = Some(Offer::Restore { left, same });
            return;
        }
        self.view.select_names(&live.model, &left.kept.selected);
        if let Some(autosave) = &mut self.autosave {
            let view = &self.view;
            autosave.keep_now(live.recipe(), || selected(&live.model, view), left.file);
        }
    }
}

/// What there is to offer beside an open model: its own recipe first; beside the demo that nobody asked for, the model that
/// was open when the program ended.
fn offer(left: Vec<Left>, live: &Live, may_reopen: bool) -> Option<Offer> {
    let key = key_of(&live.model);
    let (own, others): (Vec<Left>, Vec<Left>) = left.into_iter().partition(|left| left.key == key);
    for left in own {
        if left.kept.recipe != *live.recipe() {
            let same = Kept::of(&live.model, Recipe::default()).identity == left.kept.identity;
            return Some(Offer::Restore { left, same });
        }
        // What is on the screen already needs no keeping.
        left.discard();
    }
    if !may_reopen || !live.model.is_demo() {
        return None;
    }
    // Another demo is no file.
    let is_there = |path: &Path| path.exists() || path.to_str().is_some_and(|path| path.starts_with("demo:"));
    let there = |left: &Left| !left.kept.closed && left.kept.path.as_deref().is_some_and(is_there);
    others.into_iter().find(there).map(Offer::Reopen)
}

/// Names of the selected tensors, the shown one first.
pub(super) fn selected(model: &Model, view: &View) -> Vec<String> {
    let name = |index: usize| Some(model.tensors.get(index)?.name.clone());
    let others = view.chosen().filter(|&index| index != view.selected);
    std::iter::once(view.selected).chain(others).filter_map(name).collect()
}
