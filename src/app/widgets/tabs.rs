//! Tabs over the plot of the selected layer: words on one line, the open one underlined.

use egui::{Align2, CornerRadius, CursorIcon, Rect, Response, Role, Sense, Ui, Widget, WidgetInfo, pos2, vec2};

use super::paint_focus_ring;
use crate::app::theme::{galley, paint_text, size, space, stroke, tokens, weight};

/// Space between two tabs in points.
const GAP: f32 = 24.0;

/// A row of tabs, 32 points high, over the index of the open one.
#[must_use = "add it to a ui"]
pub struct Tabs<'a, S> {
    open: &'a mut usize,
    labels: &'a [S],
    name: &'a str,
}

impl<'a, S: AsRef<str>> Tabs<'a, S> {
    /// Tabs called by their labels; the row as a whole is called `name`.
    pub fn new(open: &'a mut usize, labels: &'a [S], name: &'a str) -> Self {
        Self { open, labels, name }
    }

    /// One tab; true when it was opened just now.
    fn tab_ui(&self, ui: &Ui, id: egui::Id, cell: Rect, index: usize) -> bool {
        let t = tokens(ui);
        let label = self.labels[index].as_ref();
        let open = index == *self.open;
        // The gap belongs to the hit area, so the row has no dead spots.
        let response = ui.interact(cell.expand2(vec2(GAP / 2.0, 0.0)), id, Sense::click());
        response.widget_info(|| WidgetInfo::selected(Role::Tab, ui.is_enabled(), open, label));
        if ui.is_rect_visible(cell) {
            let painter = ui.painter();
            let (ink, heaviness) = if open {
                (t.text1, weight::VALUE)
            } else if response.hovered() {
                (t.text1, weight::TEXT)
            } else {
                (t.text2, weight::TEXT)
            };
            let anchor = Align2::CENTER_CENTER;
            paint_text(painter, cell.center(), anchor, label, size::BODY, heaviness, ink);
            if open {
                let line = Rect::from_min_max(
                    pos2(cell.left() - 2.0, cell.bottom() - stroke::FRONTIER),
                    pos2(cell.right() + 2.0, cell.bottom()),
                );
                painter.rect_filled(line, CornerRadius::ZERO, t.accent);
            }
            if response.has_focus() {
                let around = cell.shrink2(vec2(-6.0, 5.0));
                paint_focus_ring(painter, around, f32::from(space::RADIUS), t);
            }
        }
        let clicked = response.clicked();
        response.on_hover_cursor(CursorIcon::PointingHand);
        clicked
    }
}

impl<S: AsRef<str>> Widget for Tabs<'_, S> {
    fn ui(self, ui: &mut Ui) -> Response {
        let t = tokens(ui);
        let widths: Vec<f32> = self
            .labels
            .iter()
            .map(|label| {
                let text = galley(ui, label.as_ref(), size::BODY, weight::VALUE, t.text1);
                text.size().x.ceil()
            })
            .collect();
        let gaps = GAP * self.labels.len().saturating_sub(1) as f32;
        let wanted = vec2(widths.iter().sum::<f32>() + gaps, space::TAB);
        let (rect, mut response) = ui.allocate_exact_size(wanted, Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::TabList, ui.is_enabled(), self.name));
        let mut left = rect.left();
        let mut clicked = None;
        for (index, width) in widths.iter().enumerate() {
            let cell = Rect::from_min_size(pos2(left, rect.top()), vec2(*width, rect.height()));
            left += width + GAP;
            if self.tab_ui(ui, response.id.with(index), cell, index) {
                clicked = Some(index);
            }
        }
        if let Some(index) = clicked.filter(|index| index != self.open) {
            *self.open = index;
            response.mark_changed();
        }
        response
    }
}
