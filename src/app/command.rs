//! Every action of the user as data: panels, shortcuts and dialogs make them, the workbench applies them.

use crate::recipe::{Scheme, Target};
use egui::{Key, KeyboardShortcut, Modifiers};
use std::path::PathBuf;

/// One action.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Select a tensor.
    Select(usize),
    /// Select the next row, or the one before.
    Step(isize),
    /// Give the selected tensor (and all that "apply to" names) this scheme.
    SetScheme {
        /// The scheme.
        scheme: Scheme,
        /// What the step is called in undo.
        what: String,
        /// Changes of one gesture are one step.
        gesture: Option<u64>,
    },
    /// Lock or unlock a tensor.
    ToggleLock(usize),
    /// Change the format to be written.
    SetTarget(Target),
    /// Take the last step back.
    Undo,
    /// Do it again.
    Redo,
    /// Ask for a model.
    AskOpen,
    /// Open this model.
    Open(PathBuf),
    /// Ask where to export to.
    AskExport,
    /// Export there; `force` replaces what is there.
    Export {
        /// The file.
        out: PathBuf,
        /// Replace what is there.
        force: bool,
    },
    /// Ask where to save the recipe.
    AskSaveRecipe,
    /// Save the recipe there.
    SaveRecipe(PathBuf),
    /// Load a recipe from there.
    LoadRecipe(PathBuf),
    /// Between dark and light.
    ToggleTheme,
    /// Stop reading the model.
    CancelProfile,
    /// Read on.
    ResumeProfile,
    /// Stop the export.
    CancelExport,
    /// Compute the uniform baseline.
    Baseline,
    /// Put the open dialog away.
    CloseDialog,
    /// Put the banner away.
    CloseBanner,
    /// Hide or show the guide.
    ToggleGuide,
}

/// Ctrl+Z.
pub const UNDO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Z);
/// Ctrl+Shift+Z.
pub const REDO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::Z);
/// Ctrl+Y.
pub const REDO_ALSO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Y);
/// Ctrl+O.
pub const OPEN: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::O);
/// Ctrl+E.
pub const EXPORT: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::E);
/// Ctrl+S.
pub const SAVE: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::S);
/// L, when nothing is being typed.
pub const LOCK: Key = Key::L;

/// The commands that this frame's keys ask for. Single keys count only while no field is being typed in.
pub fn from_keys(ui: &egui::Ui, selected: usize) -> Vec<Command> {
    let mut commands = Vec::new();
    ui.input_mut(|input| {
        // The longer shortcut first: the shorter one would take its key.
        let table = [
            (REDO, Command::Redo),
            (REDO_ALSO, Command::Redo),
            (UNDO, Command::Undo),
            (OPEN, Command::AskOpen),
            (EXPORT, Command::AskExport),
            (SAVE, Command::AskSaveRecipe),
        ];
        for (shortcut, command) in table {
            if input.consume_shortcut(&shortcut) {
                commands.push(command);
            }
        }
    });
    if ui.ctx().memory(egui::Memory::focused).is_none() {
        ui.input_mut(|input| {
            let keys = [
                (Key::ArrowDown, Command::Step(1)),
                (Key::ArrowUp, Command::Step(-1)),
                (LOCK, Command::ToggleLock(selected)),
            ];
            for (key, command) in keys {
                if input.consume_key(Modifiers::NONE, key) {
                    commands.push(command);
                }
            }
        });
    }
    commands
}
