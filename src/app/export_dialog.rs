//! Where to export to, what will be written, what stands in its way, and what came of it.

use super::command::Command;
use super::dialogs::path_ui;
use super::format;
use super::state::View;
use super::taken::Taken;
use super::theme::{self, tokens};
use super::widgets::Icon;
use crate::export::stale::Stale;
use crate::recipe::Target;
use crate::session::Live;
use crate::session::leftovers::Looking;
use crate::session::live::Outcome;
use egui::{Ui, vec2};
use std::path::{Path, PathBuf};

/// Draws it. Gives whether it stays open.
pub fn export_ui(
    ui: &mut Ui,
    (path, force, taken, looking): (&mut String, &mut bool, &mut Taken, &mut Option<Looking>),
    live: Option<&Live>,
    view: &mut View,
    commands: &mut Vec<Command>,
) -> bool {
    let Some(live) = live else { return false };
    ui.label(theme::name("Export"));
    let bytes = live.totals.as_ref().map_or_else(|| "…".into(), |t| format!("{} bytes", format::grouped(t.bytes)));
    let words = format!(
        "target {}, {bytes}; written beside, re-opened and compared before it gets its name",
        live.target().name()
    );
    ui.add(egui::Label::new(theme::label(words)).wrap());
    ui.add_space(8.0);
    let (extension, name) = (live.target().extension(), path.clone());
    let choose = move || {
        let dialog = rfd::FileDialog::new().set_file_name(name);
        // A folder has no ending to look for.
        let dialog = if extension.is_empty() { dialog } else { dialog.add_filter(extension, &[extension]) };
        dialog.save_file()
    };
    let entered = path_ui(ui, path, "Export path", view, choose);
    let out = PathBuf::from(path.trim());
    let running = live.export_progress();
    if running.is_some() {
        // It ends with something at its place.
        taken.forget();
    }
    let exists = taken.is_taken(&out, ui.input(|i| i.time));
    if exists {
        ui.checkbox(force, "Replace what is there");
    }
    folder_ui(ui, &out, looking, live, commands);
    if let Some(progress) = running {
        let bar = super::widgets::Bar::new("Export progress", progress.fraction());
        ui.add(bar.height(6.0).fill(tokens(ui).accent).progress());
    }
    state_ui(ui, live);
    ui.add_space(12.0);
    let mut keep = true;
    ui.horizontal(|ui| {
        let allowed = live.is_fresh() && live.export_refusal().is_none();
        let ready = !path.trim().is_empty() && (!exists || *force) && running.is_none() && allowed;
        let button = ui.add_enabled(ready, theme::primary_button("Write file", tokens(ui)));
        if (button.clicked() || entered) && ready {
            commands.push(Command::Export { out, force: *force });
        }
        if running.is_some() {
            if ui.button("Cancel export").clicked() {
                commands.push(Command::CancelExport);
            }
        } else {
            keep = !ui.button("Close").clicked();
        }
    });
    keep
}

/// Why nothing can be exported, or what the last export came to.
fn state_ui(ui: &mut Ui, live: &Live) {
    if let Some(why) = live.export_refusal() {
        ui.add(egui::Label::new(theme::value(why).color(tokens(ui).bad)).wrap());
    } else {
        if let Some(why) = live.why_stale() {
            let words = format!("What is shown is not all there yet: {}", format::plain(&why));
            ui.add(egui::Label::new(theme::label(words).color(tokens(ui).warn)).wrap());
        }
        outcome_ui(ui, live);
    }
}

/// What is known of the folder: too little room, and what killed exports left.
fn folder_ui(ui: &mut Ui, out: &Path, looking: &mut Option<Looking>, live: &Live, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    if !looking.as_ref().is_some_and(|looking| looking.is_beside(out)) {
        let repaint = ui.ctx().clone();
        *looking = Some(Looking::beside(out, move || repaint.request_repaint()));
    }
    let Some(look) = looking.as_mut().and_then(Looking::found) else { return };
    let planned = live.totals.as_ref().map_or(0, |totals| totals.bytes);
    if let Some(free) = look.free.filter(|free| *free < planned) {
        let words =
            format!("It may not fit: {} to be written, {} free", format::bytes_text(planned), format::bytes_text(free));
        warning_ui(ui, &words, t.warn);
    }
    if look.stale.is_empty() {
        return;
    }
    let mut asked = false;
    ui.horizontal(|ui| {
        warning_ui(ui, &leftover_words(&look.stale), t.warn);
        asked = ui.button("Remove leftovers").on_hover_text(WHAT_LEFTOVERS_ARE).clicked();
    });
    if asked {
        commands.push(Command::RemoveLeftovers(look.stale.clone()));
        // Looked at anew, to show what is gone.
        *looking = None;
    }
}

const WHAT_LEFTOVERS_ARE: &str =
    "Temporary files, of no use to anyone. A folder that was about to be replaced gets its name back.";

fn warning_ui(ui: &mut Ui, words: &str, colour: egui::Color32) {
    ui.horizontal(|ui| {
        let (place, _) = ui.allocate_exact_size(vec2(14.0, 14.0), egui::Sense::hover());
        Icon::Warning.paint(ui.painter(), place.center(), colour);
        ui.label(theme::label(words).color(colour));
    });
}

fn leftover_words(stale: &[Stale]) -> String {
    let bytes = format::bytes_text(stale.iter().map(|stale| stale.bytes).sum());
    match stale.len() {
        1 => format!("1 file of a killed export is left here, {bytes}"),
        several => format!("{} files of killed exports are left here, {bytes}", format::grouped(several as u64)),
    }
}

fn outcome_ui(ui: &mut Ui, live: &Live) {
    let t = tokens(ui);
    match &live.outcome {
        Some(Outcome::Done(artifact)) => {
            let bytes = artifact.files.iter().map(|f| f.1).sum();
            let tensors = artifact.verification.tensors.len();
            let difference = artifact.verification.max_abs_difference();
            let words = format!(
                "Done: {} bytes, {tensors} tensors read back, largest difference from the plan {difference}",
                format::grouped(bytes)
            );
            ui.add(egui::Label::new(theme::value(words).color(t.accent)).wrap());
            for note in &artifact.notes {
                ui.add(egui::Label::new(theme::label(format::plain(note)).color(t.warn)).wrap());
            }
            if live.target() == Target::Packed {
                ui.label(theme::hint("assets/read_packed.py reads it with numpy alone"));
            }
        }
        Some(Outcome::Failed(why)) => {
            ui.add(egui::Label::new(theme::value(format::plain(why)).color(t.bad)).wrap());
        }
        None => {}
    }
}

/// A name for the artifact that the model's own name suggests: one word of letters, digits, hyphens and points, which no
/// system takes for anything but a file in the folder at hand.
pub fn suggested_name(live: &Live) -> String {
    let stem = file_stem(&live.model.name);
    match live.target() {
        Target::Packed => format!("{stem}.spk"),
        target if target.is_folder() => format!("{stem}-{}", target.name()),
        target => format!("{stem}-spokeshave.{}", target.extension()),
    }
}

/// What is left of a model's name when it becomes part of a file's.
pub fn file_stem(name: &str) -> String {
    /// With an ending, what every file system takes, whatever the letters.
    const LONGEST: usize = 60;
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let stem: String = name.chars().map(plain).take(LONGEST).collect();
    // A name that begins so would be hidden, or taken for an option or for the folder above.
    let stem = stem.trim_start_matches(['.', '-']).trim_end_matches('.');
    if stem.is_empty() { "model".to_owned() } else { stem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_a_file_never_becomes_a_path() {
        let names =
            ["LeNet-300-100", "../../etc/passwd", "", "..", "a/b\\c:d", "-rf *", "\u{202e}evil\u{7f}.bin", "è.v2."];
        let stems = ["LeNet-300-100", "etc-passwd", "model", "model", "a-b-c-d", "rf--", "evil-.bin", "è.v2"];
        assert_eq!(names.map(file_stem), stems);
        assert!(file_stem(&"漢".repeat(500)).len() <= 180);
    }
}
