//! Ten test digits run through the compressed network: what it says, how sure it is, and which it now gets wrong.

use crate::app::theme::{self, paint_text, size, tokens, weight};
use crate::app::widgets::{Kind, KindChip};
use crate::evaluate::mnist::{SIDE, test_set};
use crate::session::Live;
use egui::{Align, Align2, Color32, ColorImage, Layout, Rect, Stroke, TextureHandle, TextureOptions, Ui, pos2, vec2};

/// The images shown, by position in the test set: one of each digit, the last three among the hard ones.
pub const IMAGES: [usize; 10] = [3, 2, 1, 18, 4, 8, 11, 0, 61, 9];

/// Height of the strip in a pane of this width: what a tenth of the width leaves, within reason.
#[must_use]
pub fn height(width: f32, roomy: bool) -> f32 {
    let side = (width - 32.0 - 72.0) / 10.0;
    (side + 60.0).min(if roomy { 148.0 } else { 112.0 })
}

/// Draws the strip.
pub fn digits_ui(ui: &mut Ui, live: &Live) {
    let rect = ui.max_rect().shrink2(vec2(16.0, 6.0));
    let head = Rect::from_min_size(rect.min, vec2(rect.width(), 24.0));
    let mut head_ui = ui.new_child(egui::UiBuilder::new().max_rect(head).layout(Layout::left_to_right(Align::Center)));
    head_ui.label(theme::title("Ten of 10,000 test digits"));
    if rect.width() > 480.0 {
        head_ui.label(theme::hint("run through the compressed network"));
    }
    let fresh = live.measured.as_ref().is_some_and(|m| m.fresh);
    head_ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        ui.add(KindChip::new(Kind::Measured).stale(!fresh).about("Digits"))
    });
    let textures = textures(ui);
    let gap = 8.0;
    let width = (rect.width() - 9.0 * gap) / 10.0;
    let side = width.min(rect.bottom() - head.bottom() - 20.0);
    for (i, (&image, texture)) in IMAGES.iter().zip(&textures).enumerate() {
        let left = rect.left() + i as f32 * (width + gap);
        let cell = Rect::from_min_size(pos2(left + (width - side) / 2.0, head.bottom() + 2.0), vec2(side, side));
        digit_ui(ui, live, cell, i, image, texture);
    }
}

fn digit_ui(ui: &Ui, live: &Live, cell: Rect, position: usize, image: usize, texture: &TextureHandle) {
    let t = tokens(ui);
    let painter = ui.painter();
    let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
    painter.image(texture.id(), cell, whole, Color32::WHITE);
    let label = test_set().labels().get(image).copied().unwrap_or_default();
    let prediction = live.measured.as_ref().and_then(|m| m.shown.get(position));
    let Some(prediction) = prediction else { return };
    let right = prediction.class == Some(usize::from(label));
    let (text, colour) = match prediction.class {
        Some(class) if right => (class.to_string(), t.text1),
        Some(class) => (format!("{class} is {label}"), t.warn),
        None => (format!("? is {label}"), t.warn),
    };
    if !right {
        painter.rect_stroke(cell.expand(1.0), 2.0, Stroke::new(1.5, t.warn), egui::StrokeKind::Outside);
    }
    let y = cell.bottom() + 10.0;
    paint_text(painter, pos2(cell.left(), y), Align2::LEFT_CENTER, text, size::LABEL, weight::TITLE, colour);
    if cell.width() > 46.0 && (right || cell.width() > 64.0) {
        let sure = format!("{:.0} %", 100.0 * prediction.probability);
        paint_text(painter, pos2(cell.right(), y), Align2::RIGHT_CENTER, sure, size::TICK, weight::TEXT, t.text3);
    }
}

/// The ten pictures as textures, made once and kept with the window.
fn textures(ui: &Ui) -> Vec<TextureHandle> {
    let id = egui::Id::unique("digit textures");
    if let Some(known) = ui.data(|data| data.get_temp::<Vec<TextureHandle>>(id)) {
        return known;
    }
    let load = |&image: &usize| {
        let pixels = test_set().image(image);
        ui.ctx().load_texture(
            format!("digit {image}"),
            ColorImage::from_gray([SIDE, SIDE], pixels),
            TextureOptions::LINEAR,
        )
    };
    let made: Vec<TextureHandle> = IMAGES.iter().map(load).collect();
    ui.data_mut(|data| data.insert_temp(id, made.clone()));
    made
}
