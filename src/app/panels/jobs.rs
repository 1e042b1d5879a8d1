//! The strip at the bottom: what works in the background and how to stop it, what was last said, and the key to the four kinds.
//! What went wrong is said on top, in `banner`.

use crate::app::command::Command;
use crate::app::format;
use crate::app::state::View;
use crate::app::theme::{self, tokens};
use crate::app::widgets::{Bar, Icon, Kind, KindChip};
use crate::control::Progress;
use crate::session::Live;
use crate::session::live::Outcome;
use egui::{Align, Layout, Ui, vec2};

/// Draws the strip.
pub fn jobs_ui(ui: &mut Ui, live: &Live, view: &View, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let rect = ui.max_rect();
    ui.painter().rect_filled(rect, 0.0, t.bg0);
    let inner = rect.shrink2(vec2(16.0, 0.0));
    let mut right = ui.new_child(egui::UiBuilder::new().max_rect(inner).layout(Layout::right_to_left(Align::Center)));
    right.label(theme::label(format!("undo {}", live.history().depth())));
    if live.model.is_demo() && rect.width() > 1200.0 {
        right.label(theme::hint("test digits: MNIST, CC BY-SA 3.0"));
    }
    if rect.width() > 1100.0 {
        right.add_space(8.0);
        for kind in [Kind::Measured, Kind::Sampled, Kind::Live, Kind::Exact] {
            right.add(KindChip::new(kind).about("Key")).on_hover_text(kind.meaning());
        }
    }
    let left = egui::Rect::from_min_max(inner.min, egui::pos2(right.min_rect().left() - 16.0, inner.bottom()));
    let mut left = ui.new_child(egui::UiBuilder::new().max_rect(left).layout(Layout::left_to_right(Align::Center)));
    left.set_clip_rect(left.max_rect().intersect(ui.clip_rect()));
    if let Some(progress) = live.export_progress() {
        progress_ui(&mut left, "export", progress, Some(("Cancel export", Command::CancelExport)), commands);
    } else if let Some(progress) = live.profile_progress() {
        progress_ui(&mut left, "reading", progress, Some(("Cancel reading", Command::CancelProfile)), commands);
    } else if let Some(progress) = live.report_progress() {
        progress_ui(&mut left, "report", progress, Some(("Cancel report", Command::CancelReport)), commands);
    } else if let Some(progress) = live.estimate_progress().filter(|p| p.seconds > 0.15) {
        progress_ui(&mut left, "exact pass", progress, None, commands);
    } else if let Some(path) = live.opening_beside() {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        left.label(theme::label(format!("opening {}", format::plain(&name))));
        cancel_ui(&mut left, "Cancel opening", Command::CancelBeside, commands);
    } else if let Some(progress) = live.compare_progress().filter(|p| p.seconds > 0.15) {
        progress_ui(&mut left, "comparing", progress, None, commands);
    } else if live.stats_missing() && !live.troubles.is_source_changed() {
        left.label(theme::label(live.why_unread()));
        if left.button("Read on").clicked() {
            commands.push(Command::ResumeProfile);
        }
    }
    message_ui(&mut left, live, view);
}

/// How far something is; `cancel` is what stops it, and its name.
fn progress_ui(
    ui: &mut Ui,
    name: &str,
    progress: Progress,
    cancel: Option<(&str, Command)>,
    commands: &mut Vec<Command>,
) {
    ui.label(theme::label(name));
    ui.add(Bar::new(name, progress.fraction()).width(120.0).height(6.0).fill(tokens(ui).accent).progress());
    ui.label(theme::value(format!("{:.0} %", 100.0 * progress.fraction())).strong());
    ui.label(theme::label(format!("{:.1} GB/s", progress.throughput() / 1e9)));
    if let Some(left) = progress.seconds_left() {
        ui.label(theme::label(format!("{} left", format::seconds(left))));
    }
    if let Some((cancel, command)) = cancel {
        cancel_ui(ui, cancel, command, commands);
    }
}

/// The button that stops something, called `name` by screen readers.
fn cancel_ui(ui: &mut Ui, name: &str, command: Command, commands: &mut Vec<Command>) {
    let response = ui.add(egui::Button::new(theme::label("Cancel")).frame(false));
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, name));
    if response.clicked() {
        commands.push(command);
    }
}

/// The most pressing of what there is to say.
fn message_ui(ui: &mut Ui, live: &Live, view: &View) {
    let t = tokens(ui);
    let say = |ui: &mut Ui, icon: Option<Icon>, text: String, colour: egui::Color32| {
        let text = format::plain(&text);
        if let Some(icon) = icon {
            let (place, _) = ui.allocate_exact_size(vec2(14.0, 14.0), egui::Sense::hover());
            icon.paint(ui.painter(), place.center(), colour);
        }
        ui.add(egui::Label::new(theme::label(&text).color(colour)).truncate()).on_hover_text(text);
    };
    if let Some(refusal) = &view.refusal {
        return say(ui, Some(Icon::Warning), refusal.clone(), t.warn);
    }
    if let Some(done) = &view.done {
        return say(ui, Some(Icon::Check), done.clone(), t.accent);
    }
    if let Some(Ok((path, bytes))) = live.reported() {
        let text = format!("report written as {}, {} bytes", path.display(), format::grouped(*bytes));
        return say(ui, Some(Icon::Check), text, t.accent);
    }
    match &live.outcome {
        // What failed is said on top, until it is put away.
        Some(Outcome::Failed(_)) if live.troubles.newest().is_some() => {}
        Some(Outcome::Failed(why)) => return say(ui, Some(Icon::Warning), format!("not exported: {why}"), t.bad),
        Some(Outcome::Done(artifact)) => {
            let (path, bytes) = artifact.files.first().map(|(p, b)| (p.display().to_string(), *b)).unwrap_or_default();
            let text = format!("exported {path}, {} bytes, re-opened and equal to the plan", format::grouped(bytes));
            return say(ui, Some(Icon::Check), text, t.accent);
        }
        None => {}
    }
    if let Some(words) = super::layers::constraint(live, view.selected) {
        let name = &live.model.tensors[view.selected].name;
        return say(ui, Some(Icon::Warning), format!("{name}  {words}"), t.warn);
    }
    if let Some(notice) = &view.notice {
        say(ui, None, notice.clone(), t.text2);
    }
}
