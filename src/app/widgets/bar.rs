//! A proportion as a bar: the plainest picture of "this much of that".

use egui::{Color32, CornerRadius, Painter, Rect, Response, Role, Sense, Ui, Widget, WidgetInfo, pos2, vec2};

use crate::app::theme::tokens;

/// Paint a filled share (0 to 1) of `rect` over a ground. Shares that are not numbers count as 0.
pub fn paint_bar(painter: &Painter, rect: Rect, share: f32, fill: Color32, ground: Color32, radius: CornerRadius) {
    painter.rect_filled(rect, radius, ground);
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let right = rect.left() + rect.width() * share;
    let filled = Rect::from_min_max(rect.min, pos2(right, rect.bottom()));
    if share > 0.0 {
        painter.rect_filled(filled, radius, fill);
    }
}

/// A horizontal proportion bar.
#[must_use = "add it to a ui"]
pub struct Bar<'a> {
    name: &'a str,
    share: f32,
    fill: Option<Color32>,
    width: Option<f32>,
    height: f32,
    progress: bool,
}

impl<'a> Bar<'a> {
    /// A bar showing `share` from 0 to 1, 8 points high, that screen readers call `name`.
    pub fn new(name: &'a str, share: f32) -> Self {
        Self { name, share, fill: None, width: None, height: 8.0, progress: false }
    }

    /// Colour of the filled part; the colour of compressed weights unless told.
    pub fn fill(mut self, colour: Color32) -> Self {
        self.fill = Some(colour);
        self
    }

    /// Width in points; all that is available unless told.
    pub fn width(mut self, width: f32) -> Self {
        self.width = Some(width);
        self
    }

    /// Height in points.
    pub fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// Progress of a job: accent colour, round ends, and spoken as such.
    pub fn progress(mut self) -> Self {
        self.progress = true;
        self.height = 6.0;
        self
    }
}

impl Widget for Bar<'_> {
    fn ui(self, ui: &mut Ui) -> Response {
        let t = tokens(ui);
        let width = self.width.unwrap_or_else(|| ui.available_width());
        let (rect, response) = ui.allocate_exact_size(vec2(width, self.height), Sense::hover());
        let role = if self.progress { Role::ProgressIndicator } else { Role::Meter };
        response.widget_info(|| WidgetInfo {
            label: Some(self.name.to_owned()),
            value: Some(f64::from(self.share)),
            ..WidgetInfo::new(role)
        });
        if ui.is_rect_visible(rect) {
            let (fill, ground, radius) = if self.progress {
                (t.accent, t.bg3, CornerRadius::from(self.height / 2.0))
            } else {
                (t.after, t.bg2, CornerRadius::ZERO)
            };
            let fill = self.fill.unwrap_or(fill);
            paint_bar(ui.painter(), rect, self.share, fill, ground, radius);
        }
        response
    }
}
