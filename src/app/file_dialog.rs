//! About the file that is open: where it lies, what was odd when it was opened, and what it says of itself.

use super::command::Command;
use super::facts::Facts;
use super::format;
use super::state::View;
use super::theme::{self, tokens};
use super::widgets::Icon;
use crate::formats::error::display_path;
use crate::model::{Model, Origin};
use crate::session::Live;
use egui::{Button, Key, Label, Role, ScrollArea, TextEdit, Ui, WidgetInfo, vec2};

/// Height of a row.
const ROW: f32 = 24.0;
/// Width of the column of types.
const KIND: f32 = 44.0;
/// Width of the column of buttons.
const COPY: f32 = 56.0;

/// What is looked for in the open dialog.
#[derive(Debug)]
pub struct FileView {
    facts: Facts,
    filter: String,
    /// Whether the filter has had the keyboard once.
    begun: bool,
}

impl FileView {
    /// The view of this model's file.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        Self { facts: Facts::of(model), filter: String::new(), begun: false }
    }
}

/// How wide the dialog is in a window of this width.
pub fn width(window: f32) -> f32 {
    (window - 96.0).clamp(460.0, 860.0)
}

/// Draws it. Gives whether it stays open.
pub fn file_ui(
    ui: &mut Ui,
    file: &mut FileView,
    live: Option<&Live>,
    view: &View,
    commands: &mut Vec<Command>,
) -> bool {
    let Some(live) = live else { return false };
    let model = &live.model;
    ui.label(theme::name("About this file"));
    ui.add_space(8.0);
    origin_ui(ui, model);
    warnings_ui(ui, &model.warnings);
    ui.add_space(8.0);
    if file.facts.count() == 0 {
        ui.label(theme::label("It keeps no text about itself"));
    } else {
        search_ui(ui, file, model);
        rows_ui(ui, file, model, commands);
    }
    ui.add_space(12.0);
    let t = tokens(ui);
    let said = view.refusal.as_ref().map(|why| (why, t.warn)).or(view.done.as_ref().map(|done| (done, t.accent)));
    let close = ui.horizontal(|ui| {
        let close = ui.button("Close");
        if let Some((words, colour)) = said {
            ui.add(Label::new(theme::label(format::plain(words)).color(colour)).truncate());
        }
        close
    });
    !close.inner.clicked()
}

/// Where the model lies and what it consists of.
fn origin_ui(ui: &mut Ui, model: &Model) {
    let place = match &model.origin {
        Origin::File(path) | Origin::Folder(path) => display_path(path),
        Origin::Demo(name) => format!("inside the program, as demo:{name}"),
    };
    let version = model.gguf.as_ref().map_or_else(String::new, |head| format!(", version {}", head.version));
    let files = match model.shards.len() {
        1 => "1 file".to_owned(),
        several => format!("{} files", format::grouped(several as u64)),
    };
    let bytes = format!("{}, {} ({} bytes)", files, format::bytes_text(model.bytes), format::grouped(model.bytes));
    let rows =
        [("name", format::plain(&model.name)), ("place", place), ("format", model.format.name().to_owned() + &version)];
    for (name, value) in rows.into_iter().chain([("files", bytes)]) {
        ui.horizontal(|ui| {
            ui.set_height(18.0);
            cell_ui(ui, KIND, 18.0, |ui| ui.label(theme::label(name)));
            ui.add(Label::new(theme::value(&value)).selectable(true).truncate()).on_hover_text(value);
        });
    }
    if let [first, .., last] = &model.shards[..] {
        let (first, last) = (display_path(first.path()), display_path(last.path()));
        ui.add(Label::new(theme::label(format!("from {first} to {last}"))).truncate());
    }
}

/// All that was odd but not wrong when it was opened.
fn warnings_ui(ui: &mut Ui, warnings: &[String]) {
    let t = tokens(ui);
    if warnings.is_empty() {
        return;
    }
    ui.add_space(8.0);
    ScrollArea::vertical().id_salt("warnings").max_height(84.0).show(ui, |ui| {
        for warning in warnings {
            ui.horizontal_top(|ui| {
                let (place, _) = ui.allocate_exact_size(vec2(14.0, 16.0), egui::Sense::hover());
                Icon::Warning.paint(ui.painter(), place.center(), t.warn);
                ui.add(Label::new(theme::label(format::plain(warning)).color(t.warn)).wrap());
            });
        }
    });
}

/// The filter, and how many it lets through.
fn search_ui(ui: &mut Ui, file: &mut FileView, model: &Model) {
    ui.horizontal(|ui| {
        let hint = theme::placeholder("Filter: part of a key or a text", tokens(ui));
        let field = TextEdit::singleline(&mut file.filter).hint_text(hint).desired_width(280.0);
        let response = ui.add(field);
        response.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, "Filter key-values"));
        if !std::mem::replace(&mut file.begun, true) {
            response.request_focus();
        }
        let (shown, all) = (file.facts.matching(model, &file.filter).len(), file.facts.count());
        let grouped = |n: usize| format::grouped(n as u64);
        let count = if shown == all { grouped(all) } else { format!("{} of {}", grouped(shown), grouped(all)) };
        ui.label(theme::label(format!("{count} key-values")));
    });
    ui.add_space(4.0);
}

/// The rows in sight; only they are formatted.
fn rows_ui(ui: &mut Ui, file: &mut FileView, model: &Model, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let FileView { facts, filter, .. } = file;
    let found = facts.matching(model, filter).to_vec();
    // Whatever the filter leaves, the dialog keeps its height.
    let wanted = (facts.count() as f32 * ROW).clamp(3.0 * ROW, 20.0 * ROW);
    let height = wanted.min((ui.ctx().content_rect().height() - 400.0).max(5.0 * ROW));
    let full = ui.available_width();
    let key_width = (0.36 * full).min(300.0);
    ui.spacing_mut().item_spacing.y = 0.0;
    let turned = turned(ui);
    ui.painter().hline(ui.max_rect().x_range(), ui.cursor().top(), egui::Stroke::new(1.0, t.line));
    ScrollArea::vertical()
        .id_salt("key-values")
        .max_height(height)
        .min_scrolled_height(height)
        .auto_shrink(false)
        .show_rows(ui, ROW, found.len(), |ui, rows| {
            ui.scroll_with_delta(vec2(0.0, turned * (height - ROW)));
            for &at in found.get(rows).unwrap_or_default() {
                ui.horizontal(|ui| {
                    ui.set_height(ROW);
                    let key = format::plain(facts.key(at));
                    cell_ui(ui, key_width, ROW, |ui| ui.add(Label::new(theme::label(&key)).truncate()));
                    cell_ui(ui, KIND, ROW, |ui| ui.label(theme::label(facts.kind(model, at)).color(t.text3)));
                    let value_width = full - key_width - KIND - COPY - 4.0 * ui.spacing().item_spacing.x;
                    let value = theme::value(facts.shown(model, at));
                    cell_ui(ui, value_width, ROW, |ui| ui.add(Label::new(value).truncate()));
                    copy_ui(ui, facts, model, (at, &key), commands);
                });
            }
        });
}

/// A cell of this width, whatever is in it.
fn cell_ui(ui: &mut Ui, width: f32, height: f32, add: impl FnOnce(&mut Ui) -> egui::Response) {
    let layout = egui::Layout::left_to_right(egui::Align::Center);
    ui.allocate_ui_with_layout(vec2(width, height), layout, |ui| {
        ui.set_min_width(width);
        add(ui);
    });
}

/// The button that copies the value of a row whole.
fn copy_ui(ui: &mut Ui, facts: &Facts, model: &Model, (at, key): (usize, &str), commands: &mut Vec<Command>) {
    let refusal = facts.why_not_copied(model, at);
    let enabled = refusal.is_none();
    let response = ui.add_enabled(enabled, Button::new(theme::label("Copy")).frame_when_inactive(false).small());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, format!("Copy {key}")));
    if response.clicked() {
        commands.push(Command::CopyValue(at));
    }
    response.on_hover_text("The whole value on the clipboard").on_disabled_hover_text(refusal.unwrap_or_default());
}

/// By how many pages the keyboard turns the rows; positive towards the first.
fn turned(ui: &Ui) -> f32 {
    ui.input(|input| {
        let pressed = |key: Key| f32::from(u8::from(input.key_pressed(key)));
        pressed(Key::PageUp) - pressed(Key::PageDown)
    })
}
