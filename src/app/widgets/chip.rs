//! A chip is a small choice that stays visible: filters over the table, options of a scheme.

use egui::{Align2, CornerRadius, CursorIcon, Response, Role, Sense, Stroke, StrokeKind, Ui, Widget, WidgetInfo, vec2};

use super::{choice_colours, paint_focus_ring};
use crate::app::theme::{galley, paint_text, size, space, stroke, tokens, weight};

/// An outlined toggle, 20 points high, filled when chosen.
#[must_use = "add it to a ui"]
pub struct Chip<'a> {
    label: &'a str,
    name: Option<&'a str>,
    selected: bool,
    role: Role,
    disabled: Option<&'a str>,
}

impl<'a> Chip<'a> {
    /// A chip showing `label`, which is also its accessible name.
    pub fn new(label: &'a str, selected: bool) -> Self {
        Self { label, name: None, selected, role: Role::Button, disabled: None }
    }

    /// Another accessible name, where the label alone would not tell chips apart.
    pub fn name(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }

    /// Grey the chip out when there is a reason, which becomes its tooltip.
    pub fn disabled(mut self, reason: Option<&'a str>) -> Self {
        self.disabled = reason;
        self
    }

    /// What the chip is to a screen reader, a toggle button unless told.
    pub(super) fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }
}

impl Widget for Chip<'_> {
    fn ui(self, ui: &mut Ui) -> Response {
        let t = tokens(ui);
        let enabled = self.disabled.is_none() && ui.is_enabled();
        let heaviness = if self.selected { weight::VALUE } else { weight::TEXT };
        // The chosen weight is wider: measure with it always, or neighbours would jump.
        let text = galley(ui, self.label, size::LABEL, weight::VALUE, t.text1);
        let wanted = vec2((text.size().x + 16.0).max(space::ROW), space::CHIP);
        let sense = if enabled { Sense::click() } else { Sense::hover() };
        let (rect, response) = ui.allocate_exact_size(wanted, sense);
        let name = self.name.unwrap_or(self.label);
        response.widget_info(|| WidgetInfo::selected(self.role, enabled, self.selected, name));
        if ui.is_rect_visible(rect) {
            let painter = ui.painter();
            let radius = CornerRadius::same(space::RADIUS);
            let (ground, ink) = choice_colours(&response, enabled, self.selected, t);
            if let Some(ground) = ground {
                painter.rect_filled(rect, radius, ground);
            }
            if !self.selected {
                let outline = Stroke::new(stroke::HAIRLINE, t.line);
                painter.rect_stroke(rect, radius, outline, StrokeKind::Inside);
            }
            let centre = rect.center();
            let anchor = Align2::CENTER_CENTER;
            paint_text(painter, centre, anchor, self.label, size::LABEL, heaviness, ink);
            if response.has_focus() {
                paint_focus_ring(painter, rect, f32::from(space::RADIUS), t);
            }
        }
        match self.disabled {
            Some(reason) => response.on_hover_text(reason),
            None if enabled => response.on_hover_cursor(CursorIcon::PointingHand),
            None => response,
        }
    }
}
