//! The window's part in a checkpoint beside the model: how it is asked for, dropped on the window, and waited for.

use super::command::Command;
use super::dialogs::{buttons_ui, choose_model, path_ui};
use super::format;
use super::state::{Dialog, Tab, View};
use super::theme::{self, tokens};
use super::workbench::Workbench;
use crate::model::OpenOptions;
use crate::session::Live;
use egui::{Context, Ui};
use std::path::{Path, PathBuf};

impl Workbench {
    /// Opens a checkpoint behind the window, to stand beside the model.
    pub fn compare_with(&mut self, ctx: &Context, path: PathBuf) {
        self.apply(ctx, Command::Beside(path));
    }
}

/// Carries out a command about the checkpoint; others do nothing here.
pub(super) fn carry_out(live: &mut Live, view: &mut View, options: OpenOptions, command: Command) {
    match command {
        Command::AskBeside => view.dialog = Some(Dialog::Beside { path: String::new() }),
        Command::Beside(path) => {
            live.open_beside(path, options);
            view.tab = Tab::Compare;
        }
        Command::CancelBeside => live.cancel_beside(),
        Command::LetGo => live.let_go(),
        _ => {}
    }
}

/// Takes notice of a checkpoint that has come, or that could not be opened. Once a frame.
pub(super) fn poll(live: &mut Live, view: &mut View) {
    let asking = matches!(view.dialog, Some(Dialog::Beside { .. }));
    let arrived = live.has_arrived_beside();
    if asking && arrived {
        view.dialog = None;
    } else if !asking {
        // The dialog says it itself, beside the path.
        live.tell_failure_beside();
    }
}

/// Draws the dialog. It stays until the checkpoint is there: a path that was mistyped is put right where it was typed.
pub(super) fn beside_ui(
    ui: &mut Ui,
    path: &mut String,
    live: Option<&Live>,
    view: &mut View,
    commands: &mut Vec<Command>,
) -> bool {
    ui.label(theme::name("Compare with another checkpoint"));
    ui.label(theme::label("A model or a file of masks with tensors of the same names and shapes"));
    ui.add_space(8.0);
    let entered = path_ui(ui, path, "Path of the checkpoint", view, choose_model);
    if let Some(failure) = live.and_then(Live::failure_beside) {
        ui.add(egui::Label::new(theme::label(format::plain(&failure)).color(tokens(ui).bad)).wrap());
    }
    ui.add_space(12.0);
    let opening = live.is_some_and(|live| live.opening_beside().is_some());
    let word = if opening { "Opening…" } else { "Compare" };
    let (compare, keep) = buttons_ui(ui, word, !opening && !path.trim().is_empty(), entered, |_| {});
    if compare {
        commands.push(Command::Beside(PathBuf::from(path.trim())));
    }
    keep
}

/// Whether a model that is dropped on the window is to stand beside the open one: where that is looked at, or asked for.
pub(super) fn takes_drops(view: &View) -> bool {
    match view.dialog {
        Some(Dialog::Beside { .. }) => true,
        Some(_) => false,
        None => view.tab == Tab::Compare,
    }
}

/// What a file that was dropped is for: a recipe is loaded, a model is opened, or put `beside` the open one.
pub(super) fn dropped_file(ctx: &Context, beside: bool) -> Option<Command> {
    let path = ctx.input(|i| i.raw.dropped_files.first().map(|file| file.path().to_path_buf()));
    let path = path.filter(|path| !path.as_os_str().is_empty())?;
    Some(if beside && !is_recipe(&path) { Command::Beside(path) } else { Command::Open(path) })
}

/// Whether a file is a recipe by its name.
pub(super) fn is_recipe(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}
