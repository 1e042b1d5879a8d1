//! The frame of a plot: what it shows and of which kind, two linear axes, and where a value lies between them.

use crate::app::theme::{self, Tokens, paint_text, size, weight};
use crate::app::widgets::{Kind, KindChip};
use crate::estimate::Label;
use egui::{Align, Align2, Layout, Painter, Pos2, Rect, Stroke, Ui, pos2, vec2};

/// What a plot shows, over it, and the kind of its numbers.
pub(super) fn caption_ui(ui: &mut Ui, rect: Rect, words: &str, label: Option<Label>) {
    let head = Rect::from_min_size(rect.min, vec2(rect.width(), 20.0));
    let mut head = ui.new_child(egui::UiBuilder::new().max_rect(head).layout(Layout::left_to_right(Align::Center)));
    head.add(egui::Label::new(theme::hint(words)).truncate());
    if let Some(label) = label {
        head.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add(KindChip::new(Kind::of(label)).about(words))
        });
    }
}

/// A plot's area and the values at its edges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Inside of the axes.
    pub area: Rect,
    /// At the left and the right edge.
    pub x: (f64, f64),
    /// At the bottom and the top edge.
    pub y: (f64, f64),
}

impl Frame {
    /// Where a point lies; one outside of the axes lies at their edge.
    pub fn at(&self, x: f64, y: f64) -> Pos2 {
        pos2(self.x_at(x), self.y_at(y))
    }

    /// Where a value of the horizontal axis lies.
    pub fn x_at(&self, x: f64) -> f32 {
        self.area.left() + share(x, self.x) * self.area.width()
    }

    /// Where a value of the vertical axis lies.
    pub fn y_at(&self, y: f64) -> f32 {
        self.area.bottom() - share(y, self.y) * self.area.height()
    }

    /// Grid lines and their numbers on the left.
    pub fn paint_rows(&self, painter: &Painter, t: &Tokens, words: impl Fn(f64) -> String) {
        let step = step_for(self.y.1 - self.y.0, 5.0);
        let mut value = (self.y.0 / step).ceil() * step;
        while value <= self.y.1 + 1e-9 * step {
            let y = self.y_at(value);
            painter.hline(self.area.x_range(), y, Stroke::new(1.0, t.grid));
            let at = pos2(self.area.left() - 8.0, y);
            paint_text(painter, at, Align2::RIGHT_CENTER, words(value), size::TICK, weight::TEXT, t.text3);
            value += step;
        }
        painter.hline(self.area.x_range(), self.area.bottom(), Stroke::new(1.0, t.line));
    }

    /// Numbers under the horizontal axis.
    pub fn paint_columns(&self, painter: &Painter, t: &Tokens, words: impl Fn(f64) -> String) {
        let parts = f64::from((self.area.width() / 48.0).clamp(2.0, 6.0));
        let step = step_for(self.x.1 - self.x.0, parts);
        // + 0 makes a plain zero of a negative one.
        let mut value = (self.x.0 / step).ceil() * step + 0.0;
        while value <= self.x.1 + 1e-9 * step {
            let at = pos2(self.x_at(value), self.area.bottom() + 12.0);
            paint_text(painter, at, Align2::CENTER_CENTER, words(value), size::TICK, weight::TEXT, t.text3);
            value += step;
        }
    }
}

fn share(value: f64, (low, high): (f64, f64)) -> f32 {
    if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) as f32 } else { 0.0 }
}

/// A round step that cuts a span into about `parts`.
pub(super) fn step_for(span: f64, parts: f64) -> f64 {
    let raw = (span / parts).max(1e-9);
    let power = 10_f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|lead| lead * power).find(|step| *step >= raw).unwrap_or(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_lie_at_the_edge() {
        let area = Rect::from_min_max(pos2(10.0, 20.0), pos2(110.0, 220.0));
        let frame = Frame { area, x: (2.0, 4.0), y: (0.0, 10.0) };
        assert_eq!(frame.at(3.0, 5.0), pos2(60.0, 120.0));
        assert_eq!(frame.at(99.0, -1.0), pos2(110.0, 220.0));
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([step_for(100.0, 5.0), step_for(0.9, 5.0), step_for(7.0, 5.0)], [20.0, 0.2, 2.0]);
    }
}
