//! A switch turns one step of the recipe on or off; nothing else in the window looks like it.

use egui::{CornerRadius, CursorIcon, Response, Role, Sense, Ui, Vec2, Widget, WidgetInfo, lerp, pos2};

use super::paint_focus_ring;
use crate::app::theme::{mix, tokens};

/// A switch of 28 x 16 points over a `bool`.
#[must_use = "add it to a ui"]
pub struct Switch<'a> {
    on: &'a mut bool,
    name: &'a str,
    disabled: Option<&'a str>,
}

impl<'a> Switch<'a> {
    /// Width and height in points.
    pub const SIZE: Vec2 = Vec2::new(28.0, 16.0);

    /// A switch that screen readers call `name`.
    pub fn new(on: &'a mut bool, name: &'a str) -> Self {
        Self { on, name, disabled: None }
    }

    /// Grey the switch out when there is a reason, which becomes its tooltip.
    pub fn disabled(mut self, reason: Option<&'a str>) -> Self {
        self.disabled = reason;
        self
    }
}

impl Widget for Switch<'_> {
    fn ui(self, ui: &mut Ui) -> Response {
        let t = tokens(ui);
        let enabled = self.disabled.is_none() && ui.is_enabled();
        let sense = if enabled { Sense::click() } else { Sense::hover() };
        let (rect, mut response) = ui.allocate_exact_size(Self::SIZE, sense);
        if response.clicked() {
            *self.on = !*self.on;
            response.mark_changed();
        }
        let on = *self.on;
        response.widget_info(|| WidgetInfo::selected(Role::Switch, enabled, on, self.name));
        if ui.is_rect_visible(rect) {
            let painter = ui.painter();
            let along = ui.ctx().animate_bool_responsive(response.id, on);
            let (rail_off, rail_on) = if enabled { (t.bg3, t.accent) } else { (t.bg2, t.bg3) };
            let hover = f32::from(u8::from(response.hovered() && enabled));
            let rail = mix(mix(rail_off, rail_on, along), t.text3, hover * 0.12);
            painter.rect_filled(rect, CornerRadius::same(8), rail);
            let knob_on = if enabled { t.on_accent } else { t.text3 };
            let inset = rect.height() / 2.0;
            let x = lerp(rect.left() + inset..=rect.right() - inset, along);
            let knob = mix(t.text3, knob_on, along);
            painter.circle_filled(pos2(x, rect.center().y), 6.0, knob);
            if response.has_focus() {
                paint_focus_ring(painter, rect, 8.0, t);
            }
        }
        if enabled {
            response.on_hover_cursor(CursorIcon::PointingHand)
        } else if let Some(reason) = self.disabled {
            response.on_hover_text(reason)
        } else {
            response
        }
    }
}
