//! Nothing open: what went wrong if something did, and three ways on.

use crate::app::command::Command;
use crate::app::format;
use crate::app::state::View;
use crate::app::theme::{self, tokens};
use crate::app::widgets::paint_logo;
use egui::{Sense, Ui, vec2};
use std::path::PathBuf;

/// Draws the empty state.
pub fn welcome_ui(ui: &mut Ui, view: &mut View, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let rect = ui.max_rect();
    let inner = egui::Rect::from_center_size(rect.center(), vec2(rect.width().min(520.0), 320.0));
    let mut ui = ui.new_child(egui::UiBuilder::new().max_rect(inner));
    ui.vertical_centered(|ui| {
        let (logo, _) = ui.allocate_exact_size(vec2(48.0, 40.0), Sense::hover());
        paint_logo(ui.painter(), logo.center(), t.accent);
        ui.add_space(8.0);
        ui.label(theme::headline("Spokeshave"));
        ui.label(theme::label("make a neural network smaller by hand"));
        ui.add_space(20.0);
        if let Some(failure) = &view.failure {
            ui.add(egui::Label::new(theme::value(format::plain(failure)).color(t.bad)).wrap());
            ui.add_space(20.0);
        }
        if ui.add(theme::primary_button("Open the demo", t)).clicked() {
            commands.push(Command::Open(PathBuf::from("demo")));
        }
        ui.add_space(4.0);
        if ui.button("Open a model…").clicked() {
            commands.push(Command::AskOpen);
        }
        ui.add_space(12.0);
        ui.label(theme::hint("or drop a model's file or its folder on this window"));
    });
}
