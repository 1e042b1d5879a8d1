//! The selected layer: its name and lock, its distribution, and its figures beside or under the plot.

use super::{bytes, compare, distribution, figures, spectrum};
use crate::app::command::Command;
use crate::app::format;
use crate::app::state::{Tab, View};
use crate::app::theme::{self, tokens};
use crate::app::widgets::{Icon, IconButton, Tabs};
use crate::app::workbench::pane;
use crate::session::Live;
use egui::{Align, Layout, Rect, Ui, pos2, vec2};

/// Width of the figures column.
const FIGURES: f32 = 168.0;

/// Draws the selected layer.
pub fn layer_ui(ui: &mut Ui, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let rect = ui.max_rect();
    let Some(_) = live.model.tensors.get(view.selected) else {
        ui.centered_and_justified(|ui| ui.label(theme::label("This model has no tensors")));
        return;
    };
    let head = Rect::from_min_size(rect.min, vec2(rect.width(), 48.0));
    pane(ui, head.shrink2(vec2(16.0, 0.0)), "layer head", |ui| head_ui(ui, live, view, commands));
    let strip = Rect::from_min_size(head.left_bottom(), vec2(rect.width(), theme::space::TAB));
    pane(ui, strip.shrink2(vec2(16.0, 0.0)), "layer tabs", |ui| tabs_ui(ui, view));
    ui.painter().hline(rect.x_range(), strip.bottom(), egui::Stroke::new(1.0, tokens(ui).line));
    let body = Rect::from_min_max(strip.left_bottom() + vec2(0.0, 8.0), rect.max);
    let column = body.width() > 560.0;
    let plot_right = if column { body.right() - FIGURES - 40.0 } else { body.right() - 16.0 };
    let plot_bottom = if column { body.bottom() - 8.0 } else { body.bottom() - 28.0 };
    let plot = Rect::from_min_max(pos2(body.left() + 16.0, body.top()), pos2(plot_right, plot_bottom));
    match view.tab {
        Tab::Distribution => {
            pane(ui, plot, "distribution", |ui| distribution::distribution_ui(ui, live, view, commands));
        }
        Tab::Spectrum => pane(ui, plot, "spectrum", |ui| spectrum::spectrum_ui(ui, live, view, commands)),
        Tab::Bytes => pane(ui, plot, "bytes", |ui| bytes::bytes_ui(ui, live, view, commands)),
        Tab::Compare => pane(ui, plot, "compare", |ui| compare::compare_ui(ui, live, view, commands)),
    }
    // A comparison has figures of its own; without one, those of the layer stay.
    let compared = view.tab == Tab::Compare && live.checkpoint().is_some();
    let column_of = if compared { compare::column_ui } else { figures::column_ui };
    let line_of = if compared { compare::line_ui } else { figures::line_ui };
    if column {
        let x = body.right() - FIGURES - 28.0;
        ui.painter().vline(x, body.top() + 4.0..=body.bottom() - 12.0, egui::Stroke::new(1.0, tokens(ui).line));
        let area = Rect::from_min_max(
            pos2(body.right() - FIGURES - 16.0, body.top()),
            pos2(body.right() - 16.0, body.bottom()),
        );
        pane(ui, area, "figures", |ui| column_of(ui, live, view.selected));
    } else {
        let area = Rect::from_min_max(pos2(body.left() + 16.0, plot_bottom), pos2(body.right() - 16.0, body.bottom()));
        pane(ui, area, "figures", |ui| line_of(ui, live, view.selected));
    }
}

fn tabs_ui(ui: &mut Ui, view: &mut View) {
    let words = Tab::ALL.map(Tab::word);
    let mut open = Tab::ALL.iter().position(|tab| *tab == view.tab).unwrap_or(0);
    if ui.add(Tabs::new(&mut open, &words, "Views of the layer")).changed() {
        view.tab = Tab::ALL[open];
    }
}

/// A tensor's names, a line each: its own, then those that a file ties to it.
pub(super) fn all_names(tensor: &crate::model::Tensor) -> String {
    tensor.names().map(crate::formats::error::printable).collect::<Vec<_>>().join("\nalso ")
}

fn head_ui(ui: &mut Ui, live: &Live, view: &View, commands: &mut Vec<Command>) {
    let tensor = &live.model.tensors[view.selected];
    let rect = ui.max_rect();
    let locked = live.is_locked(view.selected);
    let mut right = ui.new_child(egui::UiBuilder::new().max_rect(rect).layout(Layout::right_to_left(Align::Center)));
    let (icon, name) = if locked { (Icon::Lock, "Unlock layer") } else { (Icon::Unlock, "Lock layer") };
    let button = IconButton::new(icon, name).shortcut("L").selected(locked).framed();
    if right.add(button).clicked() {
        commands.push(Command::ToggleLock(view.selected));
    }
    let left = Rect::from_min_max(rect.min, pos2(right.min_rect().left() - 12.0, rect.bottom()));
    let mut left = ui.new_child(egui::UiBuilder::new().max_rect(left).layout(Layout::left_to_right(Align::Center)));
    left.set_clip_rect(left.max_rect().intersect(ui.clip_rect()));
    let name = crate::formats::error::printable(&tensor.name);
    left.add(egui::Label::new(theme::name(&name)).truncate()).on_hover_ui(|ui| drop(ui.label(all_names(tensor))));
    left.add_space(4.0);
    let several = view.chosen_count();
    let mut facts = if several > 1 { vec![format!("1 of {several} selected")] } else { Vec::new() };
    facts.extend([
        format::shape(&tensor.shape),
        tensor.type_name().to_lowercase(),
        format::count(tensor.elements() as u64),
    ]);
    if tensor.role != crate::model::Role::Other {
        facts.push(tensor.role.name().replace('_', " "));
    }
    let share = tensor.elements() as f64 / live.model.parameters().max(1) as f64;
    if share >= 0.01 {
        facts.push(format!("{} % of the weights", format::percent(share, 0)));
    }
    left.add(egui::Label::new(theme::label(facts.join("   "))).truncate());
}
