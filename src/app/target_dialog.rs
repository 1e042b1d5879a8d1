//! Another target that cannot hold every scheme: what it would take instead, row by row, for the user to accept.

use super::command::Command;
use super::dialogs::{buttons_ui, refusal_ui};
use super::format;
use super::state::View;
use super::theme;
use crate::recipe::Target;
use crate::session::Live;
use crate::session::live::Mapped;
use egui::Ui;

/// Lines that are shown; the rest is counted.
const MOST: usize = 8;

/// Draws the question; gives whether it stays open.
pub(super) fn target_ui(
    ui: &mut Ui,
    (target, mapped): (Target, &[Mapped]),
    live: Option<&Live>,
    view: &mut View,
    commands: &mut Vec<Command>,
) -> bool {
    let Some(live) = live else { return false };
    ui.label(theme::name(format!("Write {} instead?", target.name())));
    let layers: usize = mapped.iter().map(|line| line.tensors.len()).sum();
    let of = if layers == 1 { "1 layer has a scheme".to_owned() } else { format!("{layers} layers have schemes") };
    ui.label(theme::label(format!("{of} that it cannot hold. These are the nearest that it can:")));
    ui.add_space(8.0);
    egui::Grid::new("mapping").num_columns(3).spacing([16.0, 4.0]).show(ui, |ui| {
        for line in mapped.iter().take(MOST) {
            ui.label(theme::value(line.from.to_string()));
            ui.label(theme::value(format!("→ {}", line.to)));
            ui.label(theme::label(layers_of(live, line)));
            ui.end_row();
        }
    });
    if mapped.len() > MOST {
        ui.label(theme::label(format!("and {} more", mapped.len() - MOST)));
    }
    refusal_ui(ui, view);
    let (take, keep) = buttons_ui(ui, "Take the nearest", true, false, |_| {});
    if take {
        commands.push(Command::SetTargetWithNearest(target));
    }
    keep
}

/// The layers of a line: their names, or how many they are.
fn layers_of(live: &Live, line: &Mapped) -> String {
    match line.tensors.as_slice() {
        [one] => format::plain(&live.model.tensors[*one].name),
        several => format!("{} layers", several.len()),
    }
}
