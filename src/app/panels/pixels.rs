//! What the network looks at: the first layer's weights summed per pixel, and how many of them are left.

use crate::app::theme::{self, Ramp, paint_text, size, tokens, weight};
use crate::evaluate::mnist::SIDE;
use crate::session::Live;
use egui::{Align2, Color32, Mesh, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

/// Space between the two maps.
const GAP: f32 = 16.0;
/// What stands over and under the maps.
const WORDS: f32 = 92.0;

fn side(width: f32) -> f32 {
    ((width - 32.0 - GAP) / 2.0).min(192.0)
}

/// Height that the panel needs in a column of this width.
#[must_use]
pub fn height(width: f32) -> f32 {
    side(width) + WORDS
}

/// Draws the two maps.
pub fn pixels_ui(ui: &mut Ui, live: &Live) {
    let t = tokens(ui);
    let rect = ui.max_rect();
    ui.painter().hline(rect.x_range(), rect.top(), Stroke::new(1.0, t.line));
    let inner = rect.shrink2(vec2(16.0, 12.0));
    let painter = ui.painter();
    paint_text(painter, inner.min, Align2::LEFT_TOP, "What this network sees", size::SECTION, weight::TITLE, t.text1);
    let words = "weights of the first layer, over its rows";
    paint_text(painter, inner.min + vec2(0.0, 22.0), Align2::LEFT_TOP, words, size::HINT, weight::TEXT, t.text2);
    let Some(measured) = &live.measured else { return };
    let side = side(rect.width());
    let maps = [("weight per pixel", &measured.seen.weight), ("share kept per pixel", &measured.seen.kept)];
    for (i, (name, values)) in maps.into_iter().enumerate() {
        let place = pos2(inner.left() + i as f32 * (side + GAP), inner.top() + 44.0);
        let area = Rect::from_min_size(place, vec2(side, side));
        let top = if i == 0 { values.iter().copied().fold(f32::MIN_POSITIVE, f32::max) } else { 1.0 };
        paint_map(ui, area, values, top, &t.ramps().magnitude, if measured.fresh { 1.0 } else { 0.6 });
        paint_text(
            ui.painter(),
            area.left_bottom() + vec2(0.0, 12.0),
            Align2::LEFT_CENTER,
            name,
            size::HINT,
            weight::TEXT,
            t.text3,
        );
        let mean = values.iter().sum::<f32>() / values.len().max(1) as f32;
        let response = ui.interact(area, ui.scope_id().with(name), Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, format!("{name}, mean {mean:.2}")));
        response.on_hover_ui_at_pointer(|ui| hover_ui(ui, area, values, name));
    }
}

fn paint_map(ui: &Ui, area: Rect, values: &[f32], top: f32, ramp: &Ramp, strength: f32) {
    let cell = area.width() / SIDE as f32;
    let mut mesh = Mesh::default();
    for (i, &value) in values.iter().enumerate() {
        let corner = area.min + vec2((i % SIDE) as f32 * cell, (i / SIDE) as f32 * cell);
        let colour: Color32 = ramp.at(value / top).gamma_multiply(strength);
        mesh.add_colored_rect(Rect::from_min_size(corner, vec2(cell, cell)), colour);
    }
    ui.painter().add(mesh);
}

fn hover_ui(ui: &mut Ui, area: Rect, values: &[f32], name: &str) {
    let Some(pointer) = ui.input(|i| i.pointer.hover_pos()) else { return };
    let cell = area.width() / SIDE as f32;
    let at = ((pointer - area.min) / cell).floor();
    let (column, row) = (at.x.clamp(0.0, 27.0) as usize, at.y.clamp(0.0, 27.0) as usize);
    if let Some(value) = values.get(row * SIDE + column) {
        ui.label(theme::label(format!("{name}, row {row}, column {column}: {value:.3}")));
    }
}
