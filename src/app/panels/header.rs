//! The strip on top: which model, which target, undo and redo, and the one primary button.

use crate::app::command::{self, Command};
use crate::app::format;
use crate::app::state::{Preferences, View};
use crate::app::theme::{self, tokens};
use crate::app::widgets::{Icon, IconButton, combo_icon, paint_logo};
use crate::recipe::Target;
use crate::session::Live;
use egui::{Align, Layout, Role, Ui, WidgetInfo, pos2, vec2};

/// Draws the header.
pub fn header_ui(ui: &mut Ui, live: &Live, view: &mut View, preferences: &Preferences, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let rect = ui.max_rect();
    ui.painter().rect_filled(rect, 0.0, t.bg0);
    let inner = rect.shrink2(vec2(16.0, 0.0));
    let mut right = ui.new_child(egui::UiBuilder::new().max_rect(inner).layout(Layout::right_to_left(Align::Center)));
    buttons_ui(&mut right, live, view, preferences, commands);
    let free = egui::Rect::from_min_max(inner.min, pos2(right.min_rect().left() - 12.0, inner.bottom()));
    let mut left = ui.new_child(egui::UiBuilder::new().max_rect(free).layout(Layout::left_to_right(Align::Center)));
    let (logo, _) = left.allocate_exact_size(vec2(28.0, 24.0), egui::Sense::hover());
    paint_logo(left.painter(), logo.center(), t.accent);
    // The ground that the name has under the pointer stands out to its left; its letters stay where they are.
    left.add_space(-left.spacing().button_padding.x);
    name_ui(&mut left, live, commands);
    left.add_space(4.0);
    // As many facts as there is room for; all of them are behind the name.
    for fact in facts(live) {
        let words = egui::WidgetText::from(theme::label(&fact));
        let galley = words.into_galley(&left, Some(egui::TextWrapMode::Extend), f32::INFINITY, egui::TextStyle::Body);
        if galley.size().x > left.available_width() {
            break;
        }
        left.label(galley);
    }
}

/// The model's name, behind which is what its file says of itself.
fn name_ui(ui: &mut Ui, live: &Live, commands: &mut Vec<Command>) {
    let name = format::plain(&live.model.name);
    let words = theme::rich(&name, theme::size::MODEL, theme::weight::TITLE).strong();
    let response = ui.add(egui::Button::new(words).frame_when_inactive(false).truncate());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("About this file: {name}")));
    let keys = ui.ctx().format_shortcut(&command::FILE);
    if response.on_hover_text(format!("{name}: where it lies and what it says of itself  {keys}")).clicked() {
        commands.push(Command::AskFile);
    }
}

fn facts(live: &Live) -> Vec<String> {
    let model = &live.model;
    let mut dtypes: Vec<_> = model.tensors.iter().map(crate::model::Tensor::type_name).collect();
    dtypes.sort_unstable();
    dtypes.dedup();
    let dtypes = if dtypes.len() > 3 { "mixed".to_owned() } else { dtypes.join(" ").to_lowercase() };
    vec![
        format!("{} weights", format::count(model.parameters())),
        format::bytes_text(model.bytes),
        dtypes,
        format::tensors(model.tensors.len()),
    ]
}

fn buttons_ui(ui: &mut Ui, live: &Live, view: &mut View, preferences: &Preferences, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let shortcut = |s: &egui::KeyboardShortcut, ui: &Ui| ui.ctx().format_shortcut(s);
    let export = ui
        .add(theme::primary_button("Export…", t))
        .on_hover_text(format!("Write the file that these numbers promise  {}", shortcut(&command::EXPORT, ui)));
    if export.clicked() {
        commands.push(Command::AskExport);
    }
    ui.add_space(4.0);
    if ui.button("Open…").on_hover_text(format!("Open a model or a recipe  {}", shortcut(&command::OPEN, ui))).clicked()
    {
        commands.push(Command::AskOpen);
    }
    if ui
        .button("Save recipe…")
        .on_hover_text(format!("The choice as a text file  {}", shortcut(&command::SAVE, ui)))
        .clicked()
    {
        commands.push(Command::AskSaveRecipe);
    }
    super::copy_as::copy_as_ui(ui, live, view, commands);
    if ui.button("Report…").on_hover_text("The choice as a page to read, or as a table").clicked() {
        commands.push(Command::AskReport);
    }
    let presets = ui.button("Presets…").on_hover_text("Ways of spreading a budget that have a name");
    if presets.clicked() {
        commands.push(Command::AskPreset);
    }
    ui.add_space(4.0);
    let (icon, name) = if preferences.dark { (Icon::Sun, "Light theme") } else { (Icon::Moon, "Dark theme") };
    if ui.add(IconButton::new(icon, name)).clicked() {
        commands.push(Command::ToggleTheme);
    }
    let history = live.history();
    let redo = history.redo_what().map(|what| format!("Redo {what}"));
    let undo = history.undo_what().map(|what| format!("Undo {what}"));
    let none = |what: &Option<String>, text: &'static str| if what.is_none() { Some(text) } else { None };
    let redo_button = IconButton::new(Icon::Redo, "Redo")
        .shortcut(shortcut(&command::REDO, ui))
        .disabled(none(&redo, "Nothing was taken back"));
    if ui.add(redo_button).on_hover_text(redo.unwrap_or_default()).clicked() {
        commands.push(Command::Redo);
    }
    let undo_button = IconButton::new(Icon::Undo, "Undo")
        .shortcut(shortcut(&command::UNDO, ui))
        .disabled(none(&undo, "Nothing to take back"));
    if ui.add(undo_button).on_hover_text(undo.unwrap_or_default()).clicked() {
        commands.push(Command::Undo);
    }
    ui.add_space(8.0);
    target_ui(ui, live, commands);
}

fn target_ui(ui: &mut Ui, live: &Live, commands: &mut Vec<Command>) {
    let current = live.target();
    let combo = egui::ComboBox::from_id_salt("target")
        .selected_text(theme::value(current.name()))
        .icon(combo_icon)
        .width(140.0)
        .show_ui(ui, |ui| {
            for target in Target::ALL {
                let chosen = ui.selectable_label(target == current, target.name()).on_hover_text(target.describe());
                if chosen.clicked() && target != current {
                    commands.push(Command::SetTarget(target));
                }
            }
        });
    let label = ui.label(theme::label("target"));
    combo.response.labelled_by(label.id).on_hover_text(current.describe());
}
