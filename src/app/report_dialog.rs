//! Where to write a report to, and what came of it.

use super::command::Command;
use super::dialogs::path_ui;
use super::format;
use super::state::View;
use super::taken::Taken;
use super::theme::{self, tokens};
use super::widgets::Bar;
use crate::session::{Live, unknown_ending};
use crate::share::by_ending;
use egui::Ui;
use std::path::PathBuf;

/// Draws it. Gives whether it stays open.
pub fn report_ui(
    ui: &mut Ui,
    (path, force, taken): (&mut String, &mut bool, &mut Taken),
    live: Option<&Live>,
    view: &mut View,
    commands: &mut Vec<Command>,
) -> bool {
    let Some(live) = live else { return false };
    ui.label(theme::name("Report"));
    let words = "One page with figures, plots, every layer and the recipe (.html), or a table with a line for every tensor (.csv); every number in it is exact";
    ui.add(egui::Label::new(theme::label(words)).wrap());
    ui.add_space(8.0);
    let name = path.clone();
    let choose = move || {
        let dialog = rfd::FileDialog::new().set_file_name(name);
        dialog.add_filter("Page", &["html"]).add_filter("Table", &["csv"]).save_file()
    };
    let entered = path_ui(ui, path, "Report path", view, choose);
    let out = PathBuf::from(path.trim());
    let running = live.report_progress();
    if running.is_some() {
        // It ends with something at its place.
        taken.forget();
    }
    let exists = taken.is_taken(&out, ui.input(|i| i.time));
    if exists {
        ui.checkbox(force, "Replace what is there");
    }
    if let Some(progress) = running {
        let bar = Bar::new("Report progress", progress.fraction());
        ui.add(bar.height(6.0).fill(tokens(ui).accent).progress());
    }
    let typed = !path.trim().is_empty();
    let known = by_ending(&out).is_some();
    if typed && !known {
        let words = format::plain(&unknown_ending(&out));
        ui.add(egui::Label::new(theme::label(words).color(tokens(ui).warn)).wrap());
    }
    reported_ui(ui, live);
    ui.add_space(12.0);
    let ready = typed && known && (!exists || *force) && running.is_none();
    let mut keep = true;
    ui.horizontal(|ui| {
        let button = ui.add_enabled(ready, theme::primary_button("Write report", tokens(ui)));
        if (button.clicked() || entered) && ready {
            commands.push(Command::Report { out, force: *force });
        }
        if running.is_some() {
            if ui.button("Cancel report").clicked() {
                commands.push(Command::CancelReport);
            }
        } else {
            keep = !ui.button("Close").clicked();
        }
    });
    keep
}

/// What the last report came to.
fn reported_ui(ui: &mut Ui, live: &Live) {
    let t = tokens(ui);
    let (words, colour) = match live.reported() {
        Some(Ok((path, bytes))) => (format!("Done: {}, {} bytes", path.display(), format::grouped(*bytes)), t.accent),
        Some(Err(why)) => (why.clone(), t.bad),
        None => return,
    };
    ui.add(egui::Label::new(theme::value(format::plain(&words)).color(colour)).wrap());
}
