//! One choice out of a few that are all worth seeing: `tensor | row | global`.

use egui::{Align2, CornerRadius, CursorIcon, Rect, Response, Role, Sense, Ui, Vec2, Widget, WidgetInfo, pos2, vec2};

use super::{Chip, choice_colours, paint_focus_ring};
use crate::app::theme::{galley, paint_text, size, space, tokens, weight};

/// How a [`Segmented`] is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentedLook {
    /// One filled bar, 24 points high, the chosen segment raised in it.
    Bar,
    /// Separate outlined chips, 20 points high.
    Chips,
}

/// A row of choices over the index of the chosen one.
///
/// Each choice is called "name: label" by screen readers, or just its label when the name is empty.
#[must_use = "add it to a ui"]
pub struct Segmented<'a, S> {
    chosen: &'a mut usize,
    labels: &'a [S],
    name: &'a str,
    look: SegmentedLook,
    disabled: &'a [Option<&'a str>],
}

impl<'a, S: AsRef<str>> Segmented<'a, S> {
    /// A bar of `labels`, together called `name`.
    pub fn new(chosen: &'a mut usize, labels: &'a [S], name: &'a str) -> Self {
        Self { chosen, labels, name, look: SegmentedLook::Bar, disabled: &[] }
    }

    /// Draw separate chips.
    pub fn chips(mut self) -> Self {
        self.look = SegmentedLook::Chips;
        self
    }

    /// Reasons why single choices cannot be taken, by index; missing entries are free.
    pub fn disabled(mut self, reasons: &'a [Option<&'a str>]) -> Self {
        self.disabled = reasons;
        self
    }

    fn reason(&self, index: usize) -> Option<&'a str> {
        self.disabled.get(index).copied().flatten()
    }

    fn spoken(&self, label: &str) -> String {
        if self.name.is_empty() { label.to_owned() } else { format!("{}: {label}", self.name) }
    }

    fn chips_ui(&self, ui: &mut Ui) -> (Response, Option<usize>) {
        let mut clicked = None;
        let inner = ui.scope(|ui| {
            ui.spacing_mut().item_spacing = Vec2::splat(4.0);
            ui.horizontal_wrapped(|ui| {
                for (index, label) in self.labels.iter().enumerate() {
                    let label = label.as_ref();
                    let spoken = self.spoken(label);
                    let chip = Chip::new(label, index == *self.chosen)
                        .name(&spoken)
                        .role(Role::RadioButton)
                        .disabled(self.reason(index));
                    if ui.add(chip).clicked() {
                        clicked = Some(index);
                    }
                }
            });
        });
        (inner.response, clicked)
    }

    fn bar_ui(&self, ui: &mut Ui) -> (Response, Option<usize>) {
        let t = tokens(ui);
        let widths: Vec<f32> = self
            .labels
            .iter()
            .map(|label| {
                let text = galley(ui, label.as_ref(), size::LABEL, weight::VALUE, t.text1);
                (text.size().x + 20.0).max(28.0).round()
            })
            .collect();
        let total = vec2(widths.iter().sum::<f32>() + 4.0, space::FIELD);
        let (rect, response) = ui.allocate_exact_size(total, Sense::hover());
        let radius = CornerRadius::same(space::RADIUS);
        ui.painter().rect_filled(rect, radius, t.bg2);
        let mut clicked = None;
        let mut left = rect.left() + 2.0;
        for (index, width) in widths.iter().enumerate() {
            let cell = Rect::from_min_size(pos2(left, rect.top() + 2.0), vec2(*width, rect.height() - 4.0));
            left += width;
            if self.segment_ui(ui, response.id.with(index), cell, index) {
                clicked = Some(index);
            }
        }
        (response, clicked)
    }

    /// One segment of the bar; true when it was chosen just now.
    fn segment_ui(&self, ui: &Ui, id: egui::Id, cell: Rect, index: usize) -> bool {
        let t = tokens(ui);
        let label = self.labels[index].as_ref();
        let reason = self.reason(index);
        let enabled = reason.is_none() && ui.is_enabled();
        let sense = if enabled { Sense::click() } else { Sense::hover() };
        let response = ui.interact(cell, id, sense);
        let chosen = index == *self.chosen;
        response.widget_info(|| WidgetInfo::selected(Role::RadioButton, enabled, chosen, self.spoken(label)));
        if ui.is_rect_visible(cell) {
            let painter = ui.painter();
            let (ground, ink) = choice_colours(&response, enabled, chosen, t);
            // The bar itself is the hovered ground, so only the chosen segment is filled.
            if let Some(ground) = ground.filter(|ground| *ground != t.bg2) {
                let radius = CornerRadius::same(space::RADIUS - 1);
                painter.rect_filled(cell, radius, ground);
            }
            let heaviness = if chosen { weight::VALUE } else { weight::TEXT };
            let ink = if enabled { ink } else { t.text2.gamma_multiply(0.6) };
            let anchor = Align2::CENTER_CENTER;
            paint_text(painter, cell.center(), anchor, label, size::LABEL, heaviness, ink);
            if response.has_focus() {
                paint_focus_ring(painter, cell, f32::from(space::RADIUS - 1), t);
            }
        }
        let clicked = response.clicked();
        match reason {
            Some(reason) => {
                response.on_hover_text(reason);
            }
            None if enabled => {
                response.on_hover_cursor(CursorIcon::PointingHand);
            }
            None => {}
        }
        clicked
    }
}

impl<S: AsRef<str>> Widget for Segmented<'_, S> {
    fn ui(self, ui: &mut Ui) -> Response {
        let (mut response, clicked) = match self.look {
            SegmentedLook::Bar => self.bar_ui(ui),
            SegmentedLook::Chips => self.chips_ui(ui),
        };
        response.widget_info(|| WidgetInfo::labeled(Role::RadioGroup, ui.is_enabled(), self.name));
        if let Some(index) = clicked.filter(|index| index != self.chosen) {
            *self.chosen = index;
            response.mark_changed();
        }
        response
    }
}
