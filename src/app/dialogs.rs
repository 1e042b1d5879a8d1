//! Questions in front of the window: which model, export or report where, save the recipe where; typed, or by the system's chooser.
//!
//! The system's chooser can take for ever to answer (a portal that hangs), so it runs on a thread of its own and the path
//! field beside it always works.

use super::beside::beside_ui;
use super::command::Command;
use super::export_dialog::export_ui;
use super::file_dialog::{self, file_ui};
use super::format;
use super::report_dialog::report_ui;
use super::state::{Chooser, Dialog, View};
use super::taken::Taken;
use super::target_dialog::target_ui;
use super::theme::{self, tokens};
use super::widgets::ValueField;
use crate::recipe::Decimal;
use crate::session::Live;
use crate::session::presets::{Choice, Parameter, Preset};
use egui::{Context, Role, Ui, WidgetInfo};
use std::path::PathBuf;
use std::sync::mpsc::channel;

/// Draws the open dialog, if there is one.
pub fn dialog_ui(ctx: &Context, live: Option<&Live>, view: &mut View, commands: &mut Vec<Command>) {
    let Some(mut dialog) = view.dialog.take() else { return };
    let mut keep = true;
    let frame = egui::Frame::popup(&ctx.global_style()).inner_margin(20);
    let modal = egui::Modal::new(egui::Id::unique("dialog")).frame(frame).show(ctx, |ui| {
        let wide = matches!(dialog, Dialog::File(_));
        ui.set_width(if wide { file_dialog::width(ctx.content_rect().width()) } else { 460.0 });
        match &mut dialog {
            Dialog::Open { path } => keep = open_ui(ui, path, view, commands),
            Dialog::Export { path, force, taken, looking } => {
                keep = export_ui(ui, (path, force, taken, looking), live, view, commands);
            }
            Dialog::Preset { chosen, percent, round } => keep = preset_ui(ui, (chosen, percent, round), commands),
            Dialog::Mask { path } => keep = mask_ui(ui, path, view, commands),
            Dialog::Beside { path } => keep = beside_ui(ui, path, live, view, commands),
            Dialog::Target { target, mapped } => keep = target_ui(ui, (*target, mapped), live, view, commands),
            Dialog::File(file) => keep = file_ui(ui, file, live, view, commands),
            Dialog::Report { path, force, taken } => keep = report_ui(ui, (path, force, taken), live, view, commands),
            Dialog::SaveRecipe { path, force, taken } => keep = save_ui(ui, (path, force, taken), view, commands),
        }
    });
    if keep && !modal.should_close() {
        view.dialog = Some(dialog);
    } else if matches!(dialog, Dialog::Beside { .. }) {
        commands.push(Command::CancelBeside);
    }
}

/// A path field with a button for the system's chooser. Gives whether Enter was pressed in it.
pub(super) fn path_ui(
    ui: &mut Ui,
    path: &mut String,
    name: &str,
    view: &mut View,
    choose: impl FnOnce() -> Option<PathBuf> + Send + 'static,
) -> bool {
    let mut entered = false;
    ui.horizontal(|ui| {
        let width = ui.available_width() - 96.0;
        let response = ui.add(egui::TextEdit::singleline(path).desired_width(width));
        response.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, name));
        entered = response.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter));
        if ui.memory(egui::Memory::focused).is_none() && path.is_empty() {
            response.request_focus();
        }
        let busy = view.chooser.is_some();
        if ui.add_enabled(!busy, egui::Button::new("Browse…")).clicked() {
            view.chooser = Some(start_chooser(ui.ctx(), choose));
        }
    });
    entered
}

fn start_chooser(ctx: &Context, choose: impl FnOnce() -> Option<PathBuf> + Send + 'static) -> Chooser {
    let (sender, answer) = channel();
    let ctx = ctx.clone();
    let ask = move || {
        // The window may be gone when the chooser closes; then nobody waits for the answer.
        drop(sender.send(choose()));
        ctx.request_repaint();
    };
    drop(std::thread::Builder::new().name("spokeshave-chooser".into()).spawn(ask));
    Chooser { answer }
}

/// Puts the chooser's answer into the open dialog.
pub fn poll_chooser(_ctx: &Context, view: &mut View) -> Vec<Command> {
    use std::sync::mpsc::TryRecvError;
    let Some(chooser) = &view.chooser else { return Vec::new() };
    let answer = match chooser.answer.try_recv() {
        Ok(answer) => answer,
        Err(TryRecvError::Empty) => return Vec::new(),
        Err(TryRecvError::Disconnected) => None,
    };
    view.chooser = None;
    let Some(chosen) = answer else { return Vec::new() };
    match &mut view.dialog {
        Some(Dialog::Open { .. }) => vec![Command::Open(chosen)],
        Some(
            Dialog::Export { path, .. }
            | Dialog::Mask { path }
            | Dialog::Beside { path }
            | Dialog::Report { path, .. }
            | Dialog::SaveRecipe { path, .. },
        ) => {
            *path = chosen.display().to_string();
            Vec::new()
        }
        Some(Dialog::Preset { .. } | Dialog::Target { .. } | Dialog::File(_)) | None => Vec::new(),
    }
}

/// Endings of the files that models are in.
const MODELS: [&str; 9] = ["safetensors", "gguf", "spk", "pt", "pth", "bin", "onnx", "npy", "npz"];

fn open_ui(ui: &mut Ui, path: &mut String, view: &mut View, commands: &mut Vec<Command>) -> bool {
    ui.label(theme::name("Open a model"));
    let what = "A model's file (.safetensors, .gguf, .spk, .pt, .pth, .bin, .onnx, .npy, .npz) or its folder, a recipe (.toml), or demo";
    ui.add(egui::Label::new(theme::label(what)).wrap());
    ui.add_space(8.0);
    let choose = || {
        rfd::FileDialog::new()
            .add_filter("Models and recipes", &[&MODELS[..], &["toml"]].concat())
            .add_filter("All files", &["*"])
            .pick_file()
    };
    let entered = path_ui(ui, path, "Path of the model", view, choose);
    refusal_ui(ui, view);
    let ready = !path.trim().is_empty();
    let mut demo = false;
    let (open, keep) = buttons_ui(ui, "Open", ready, entered, |ui| demo = ui.button("Open the demo").clicked());
    if open {
        commands.push(Command::Open(PathBuf::from(path.trim())));
    }
    if demo {
        commands.push(Command::Open(PathBuf::from("demo")));
    }
    keep
}

fn save_ui(
    ui: &mut Ui,
    (path, force, taken): (&mut String, &mut bool, &mut Taken),
    view: &mut View,
    commands: &mut Vec<Command>,
) -> bool {
    ui.label(theme::name("Save recipe"));
    ui.label(theme::label("The choice as a text file, for the commands and for other models"));
    ui.add_space(8.0);
    let name = path.clone();
    let choose = move || rfd::FileDialog::new().add_filter("toml", &["toml"]).set_file_name(name).save_file();
    let entered = path_ui(ui, path, "Recipe path", view, choose);
    let out = PathBuf::from(path.trim());
    let now = ui.input(|i| i.time);
    let own = view.saved_as.as_ref() == Some(&out);
    let in_the_way = !own && taken.is_taken(&out, now);
    if in_the_way {
        ui.checkbox(force, "Replace what is there");
    }
    refusal_ui(ui, view);
    let ready = !path.trim().is_empty() && (!in_the_way || *force);
    let (save, keep) = buttons_ui(ui, "Save", ready, entered, |_| {});
    if save {
        // What came there since it was asked is not written over: the next frame shows it.
        taken.forget();
        if own || *force || !taken.is_taken(&out, now) {
            commands.push(Command::SaveRecipe(out));
        }
    }
    keep
}

/// The presets, what each is, and the one number that it asks for.
fn preset_ui(
    ui: &mut Ui,
    (chosen, percent, round): (&mut usize, &mut f64, &mut f64),
    commands: &mut Vec<Command>,
) -> bool {
    ui.label(theme::name("Presets"));
    ui.label(theme::label("Takes the place of every rule; locked layers stay, and one step of undo brings all back"));
    ui.add_space(8.0);
    for (at, preset) in Preset::ALL.iter().enumerate() {
        ui.radio_value(chosen, at, theme::value(preset.name()));
        ui.indent(preset.name(), |ui| ui.add(egui::Label::new(theme::hint(preset.about())).wrap()));
    }
    let Some(&preset) = Preset::ALL.get(*chosen) else { return true };
    ui.add_space(8.0);
    let (mut share, mut number) = (None, None);
    match preset.parameter() {
        Parameter::Share => {
            let field = ValueField::new(percent, 0.0..=100.0, "Preset share").unit("% of the weights pruned");
            ui.add(field.decimals(1).step(0.5).size(theme::size::BODY));
            share = Some(Decimal::from_f64(*percent / 100.0, 4));
        }
        Parameter::Round => {
            let field = ValueField::new(round, 1.0..=40.0, "Preset round").unit("rounds").step(1.0);
            ui.add(field.size(theme::size::BODY));
            number = Some(*round as u32);
        }
        Parameter::None => {}
    }
    ui.add_space(12.0);
    let (apply, keep) = buttons_ui(ui, "Apply", true, false, |_| {});
    if apply {
        commands.push(Command::ApplyPreset(Choice { preset, share, round: number }));
    }
    keep
}

fn mask_ui(ui: &mut Ui, path: &mut String, view: &mut View, commands: &mut Vec<Command>) -> bool {
    ui.label(theme::name("Take a mask"));
    ui.label(theme::label("A model with tensors of the same names and shapes: weights go where its own are 0"));
    ui.add_space(8.0);
    let entered = path_ui(ui, path, "Path of the mask", view, choose_model);
    refusal_ui(ui, view);
    let (take, keep) = buttons_ui(ui, "Take", !path.trim().is_empty(), entered, |_| {});
    if take {
        commands.push(Command::TakeMask(PathBuf::from(path.trim())));
    }
    keep
}

/// The system's chooser for a model that another one is to be held against.
pub(super) fn choose_model() -> Option<PathBuf> {
    let dialog = rfd::FileDialog::new().add_filter("Models", &MODELS);
    dialog.add_filter("All files", &["*"]).pick_file()
}

/// What the last attempt was told, over the buttons.
pub(super) fn refusal_ui(ui: &mut Ui, view: &View) {
    if let Some(refusal) = &view.refusal {
        ui.add(egui::Label::new(theme::label(format::plain(refusal)).color(tokens(ui).bad)).wrap());
    }
    ui.add_space(12.0);
}

/// The button that does it, what else may be done, and the one that does not. Gives whether it is to be done, by the button
/// or by Enter in a field (`entered`), and whether the dialog stays.
pub(super) fn buttons_ui(
    ui: &mut Ui,
    word: &str,
    ready: bool,
    entered: bool,
    beside: impl FnOnce(&mut Ui),
) -> (bool, bool) {
    let answer = ui.horizontal(|ui| {
        let pressed = ui.add_enabled(ready, theme::primary_button(word, tokens(ui))).clicked();
        beside(ui);
        (ready && (pressed || entered), !ui.button("Cancel").clicked())
    });
    answer.inner
}

/// Says what a drop would do while a file hangs over the window.
pub fn drop_hint_ui(ctx: &Context, beside: bool) {
    if ctx.input(|i| i.raw.hovered_files.is_empty()) {
        return;
    }
    let t = tokens(ctx);
    let painter = ctx.layer_painter(egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop hint")));
    let rect = ctx.content_rect();
    painter.rect_filled(rect, 0.0, t.bg0.gamma_multiply(0.8));
    theme::paint_text(
        &painter,
        rect.center(),
        egui::Align2::CENTER_CENTER,
        if beside { "Drop to compare with it" } else { "Drop to open" },
        theme::size::HEADLINE,
        theme::weight::TITLE,
        t.accent,
    );
}
