//! Every action of the user as data: panels, shortcuts and dialogs make them, the workbench applies them.

use super::hand::Part;
use super::selection::Pick;
use super::state::View;
use crate::export::stale::Stale;
use crate::recipe::{Scheme, Target};
use crate::session::dial::Dial;
use crate::session::presets::Choice;
use crate::session::trouble::Next;
use crate::share::forms;
use egui::{Key, KeyboardShortcut, Modifiers};
use std::path::PathBuf;

/// One action.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Select a tensor, and no other.
    Select(usize),
    /// Select more than one.
    Pick(Pick),
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
    /// Give the selected tensors (and all that "apply to" names) this scheme whole, as it was typed.
    GiveScheme {
        /// The scheme.
        scheme: Scheme,
        /// Changes of one gesture are one step.
        gesture: Option<u64>,
    },
    /// Turn one dial of a row; of all selected rows when it is one of them.
    Turn {
        /// The row's tensor.
        index: usize,
        /// The dial and its new value.
        dial: Dial,
        /// Changes of one gesture are one step.
        gesture: u64,
    },
    /// Turn a dial of the selected rows by so many steps.
    Nudge(Part, f64),
    /// Lock or unlock a tensor; all selected ones when it is one of them.
    ToggleLock(usize),
    /// Change the format to be written.
    SetTarget(Target),
    /// The same, with the nearest schemes that it holds.
    SetTargetWithNearest(Target),
    /// Open the model again with what is stored as codes open to every scheme.
    Requantize,
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
    /// Find the singular values of a tensor.
    WantSpectrum(usize),
    /// Ask for a preset.
    AskPreset,
    /// Put it in place of the rules.
    ApplyPreset(Choice),
    /// Ask for a model whose zeros are taken.
    AskMask,
    /// Take the zeros of that model.
    TakeMask(PathBuf),
    /// Ask for a checkpoint to stand beside the model.
    AskBeside,
    /// Put that checkpoint beside the model.
    Beside(PathBuf),
    /// Do not wait for the checkpoint that is being opened.
    CancelBeside,
    /// Let the checkpoint beside the model go.
    LetGo,
    /// Compare with it, the tensor that is looked at first.
    WantComparisons(usize),
    /// Ask where to save the recipe.
    AskSaveRecipe,
    /// Save the recipe there.
    SaveRecipe(PathBuf),
    /// Put the choice on the clipboard in the form at this position of [`FORMS`](crate::share::forms::FORMS).
    CopyAs(usize),
    /// Show what the file says of itself.
    AskFile,
    /// Put the value at this position, whole, on the clipboard.
    CopyValue(usize),
    /// Ask where to write a report to.
    AskReport,
    /// Write it there; `force` replaces what is there.
    Report {
        /// The file: a page or a table, by its ending.
        out: PathBuf,
        /// Replace what is there.
        force: bool,
    },
    /// Stop the report.
    CancelReport,
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
    /// Take the next step after something went wrong.
    Next(Next),
    /// Restore the recipe that was left behind.
    Restore,
    /// Open the model that was left behind.
    Reopen,
    /// Delete what was left behind.
    Discard,
    /// Leave it for the next start.
    Later,
    /// Delete the temporaries of killed exports.
    RemoveLeftovers(Vec<Stale>),
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
/// Ctrl+Shift+C.
pub const COPY_COMMAND: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::C);
/// Ctrl+I.
pub const FILE: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::I);
/// Ctrl+A, when nothing is being typed.
pub const SELECT_ALL: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::A);
/// L, when nothing is being typed.
pub const LOCK: Key = Key::L;
/// What a key adds to the kept share, in percent.
const KEY_SHARE: f64 = 5.0;

/// The commands that this frame's keys ask for; Escape is `in_front` where there is such a thing. Single keys count only
/// while no field is being typed in. A dialog has all keys to itself: what is undone in its field is what was typed there.
pub fn from_keys(ui: &egui::Ui, view: &View, in_front: Option<Command>) -> Vec<Command> {
    let mut commands = Vec::new();
    if view.dialog.is_some() {
        return commands;
    }
    let focus = ui.ctx().memory(egui::Memory::focused);
    // In a field that is typed in, undo is what was typed there.
    let is_typing = focus.is_some_and(|id| egui::TextEdit::load_state(ui.ctx(), id).is_some());
    ui.input_mut(|input| {
        // The longer shortcut first: the shorter one would take its key.
        let of_recipe = [(REDO, Command::Redo), (REDO_ALSO, Command::Redo), (UNDO, Command::Undo)];
        let of_window = [
            (OPEN, Command::AskOpen),
            (EXPORT, Command::AskExport),
            (SAVE, Command::AskSaveRecipe),
            (FILE, Command::AskFile),
            (COPY_COMMAND, Command::CopyAs(forms::COMMAND)),
        ];
        for (shortcut, command) in of_recipe.into_iter().filter(|_| !is_typing).chain(of_window) {
            if input.consume_shortcut(&shortcut) {
                commands.push(command);
            }
        }
    });
    if focus.is_none() {
        take_keys(ui, arrow_keys(), &mut commands);
        if !view.hand.had_focus && is_free_escape(ui) {
            // What was put in front of the window goes first.
            let several = (view.chosen_count() > 1).then_some(Command::Select(view.selected));
            commands.extend(in_front.or(several));
        }
    }
    if focus.is_none() || focus == view.hand.focus {
        take_keys(ui, table_keys(view.selected), &mut commands);
    }
    commands
}

/// Escape that neither ends a drag nor closes a menu.
fn is_free_escape(ui: &egui::Ui) -> bool {
    let escape = ui.input(|input| input.key_pressed(Key::Escape) && !input.pointer.any_down());
    escape && !egui::Popup::is_any_open(ui.ctx())
}

/// Keys that a dial with the keyboard takes for itself. Shift first: without it a key counts with Shift as well.
fn arrow_keys() -> Vec<(Modifiers, Key, Command)> {
    vec![
        (Modifiers::SHIFT, Key::ArrowDown, Command::Pick(Pick::Extend(1))),
        (Modifiers::SHIFT, Key::ArrowUp, Command::Pick(Pick::Extend(-1))),
        (Modifiers::NONE, Key::ArrowDown, Command::Step(1)),
        (Modifiers::NONE, Key::ArrowUp, Command::Step(-1)),
        (Modifiers::NONE, Key::ArrowLeft, Command::Nudge(Part::Bits, -1.0)),
        (Modifiers::NONE, Key::ArrowRight, Command::Nudge(Part::Bits, 1.0)),
    ]
}

fn table_keys(selected: usize) -> Vec<(Modifiers, Key, Command)> {
    vec![
        (Modifiers::NONE, Key::OpenBracket, Command::Nudge(Part::Bits, -1.0)),
        (Modifiers::NONE, Key::CloseBracket, Command::Nudge(Part::Bits, 1.0)),
        (Modifiers::NONE, Key::Minus, Command::Nudge(Part::Kept, -KEY_SHARE)),
        (Modifiers::NONE, Key::Equals, Command::Nudge(Part::Kept, KEY_SHARE)),
        (Modifiers::NONE, Key::Plus, Command::Nudge(Part::Kept, KEY_SHARE)),
        (SELECT_ALL.modifiers, SELECT_ALL.logical_key, Command::Pick(Pick::All)),
        (Modifiers::NONE, LOCK, Command::ToggleLock(selected)),
    ]
}

fn take_keys(ui: &egui::Ui, keys: Vec<(Modifiers, Key, Command)>, commands: &mut Vec<Command>) {
    ui.input_mut(|input| {
        for (modifiers, key, command) in keys {
            if input.consume_key(modifiers, key) {
                commands.push(command);
            }
        }
    });
}
