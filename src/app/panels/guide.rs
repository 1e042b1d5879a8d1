//! Three steps for a newcomer, ticked off as they are done.

use crate::app::command::Command;
use crate::app::state::View;
use crate::app::theme::{self, paint_text, size, tokens, weight};
use crate::app::widgets::Icon;
use crate::session::Live;
use egui::{Align2, Rect, Stroke, Ui, pos2, vec2};

/// Draws the guide.
pub fn guide_ui(ui: &mut Ui, live: &Live, view: &View, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let rect = ui.max_rect();
    ui.painter().hline(rect.x_range(), rect.top(), Stroke::new(1.0, t.line));
    let inner = rect.shrink(16.0);
    let mut head = ui.new_child(egui::UiBuilder::new().max_rect(inner));
    head.horizontal(|ui| {
        ui.label(theme::title("Start here"));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if ui.add(egui::Button::new(theme::label("Hide guide")).frame(false)).clicked() {
                commands.push(Command::ToggleGuide);
            }
        });
    });
    let any = |of: &dyn Fn(&crate::recipe::Scheme) -> bool| (0..live.rows.len()).any(|i| of(live.scheme(i)));
    let steps = [
        ("Drag the prune line outwards", "Bytes fall at once; accuracy follows", any(&|s| s.prune.is_some())),
        ("Set a layer to 4 bits", "Ticks under the plot are what is left", any(&|s| s.bits() == Some(4))),
        ("Press Export…", "It is written, re-opened, compared", view.exported),
    ];
    let now = steps.iter().position(|s| !s.2);
    for (i, (title, hint, done)) in steps.iter().enumerate() {
        let row =
            Rect::from_min_size(pos2(inner.left(), inner.top() + 32.0 + 56.0 * i as f32), vec2(inner.width(), 52.0));
        let painter = ui.painter();
        if now == Some(i) {
            painter.rect_filled(row, 4.0, t.bg2);
            painter.rect_filled(Rect::from_min_size(row.min, vec2(3.0, row.height())), 0.0, t.accent);
        }
        let centre = pos2(row.left() + 24.0, row.center().y);
        if *done {
            painter.circle_filled(centre, 11.0, t.accent);
            Icon::Check.paint(painter, centre, t.on_accent);
        } else {
            let colour = if now == Some(i) { t.accent } else { t.text3 };
            painter.circle_stroke(centre, 11.0, Stroke::new(1.5, colour));
            paint_text(painter, centre, Align2::CENTER_CENTER, (i + 1).to_string(), size::BODY, weight::VALUE, colour);
        }
        let x = row.left() + 48.0;
        paint_text(
            painter,
            pos2(x, row.top() + 17.0),
            Align2::LEFT_CENTER,
            *title,
            size::SECTION,
            weight::TITLE,
            t.text1,
        );
        paint_text(painter, pos2(x, row.top() + 36.0), Align2::LEFT_CENTER, *hint, size::HINT, weight::TEXT, t.text2);
    }
}
