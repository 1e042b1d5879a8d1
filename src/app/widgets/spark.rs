//! A sparkline histogram is one mesh: a table of a thousand rows must not tessellate a thousand outlines.

use egui::{Color32, Mesh, Painter, Rect, Response, Role, Sense, Ui, Vec2, Widget, WidgetInfo, pos2};

/// Paint bars of the given heights (0 to 1) side by side over the whole width of `rect`.
///
/// Every bar is at least one point high, so the base line is always there. Heights that are not
/// numbers count as 0.
pub fn paint_spark(painter: &Painter, rect: Rect, heights: &[f32], colour: Color32) {
    if heights.is_empty() || !rect.is_positive() {
        return;
    }
    let scale = painter.pixels_per_point();
    // Edges on whole pixels: a gradient of half-covered columns would read as noise.
    let snapped = |x: f32| (x * scale).round() / scale;
    let mut mesh = Mesh::default();
    mesh.reserve_triangles(2 * heights.len());
    mesh.reserve_vertices(4 * heights.len());
    let pitch = rect.width() / heights.len() as f32;
    let bottom = snapped(rect.bottom());
    for (index, height) in heights.iter().enumerate() {
        let left = snapped(rect.left() + pitch * index as f32);
        let right = snapped(rect.left() + pitch * (index + 1) as f32);
        // `max` ignores NaN, so this also settles heights that are not numbers.
        let height = (height.clamp(0.0, 1.0) * rect.height()).max(1.0);
        let bar = Rect::from_min_max(pos2(left, snapped(bottom - height)), pos2(right, bottom));
        if right > left {
            mesh.add_colored_rect(bar, colour);
        }
    }
    painter.add(mesh);
}

/// A sparkline as a widget of its own.
#[must_use = "add it to a ui"]
pub struct Spark<'a> {
    name: &'a str,
    heights: &'a [f32],
    size: Vec2,
    colour: Color32,
}

impl<'a> Spark<'a> {
    /// A sparkline of heights from 0 to 1, of `size` in points, that screen readers call `name`.
    pub fn new(name: &'a str, heights: &'a [f32], size: Vec2, colour: Color32) -> Self {
        Self { name, heights, size, colour }
    }
}

impl Widget for Spark<'_> {
    fn ui(self, ui: &mut Ui) -> Response {
        let (rect, response) = ui.allocate_exact_size(self.size, Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, self.name));
        if ui.is_rect_visible(rect) {
            paint_spark(ui.painter(), rect, self.heights, self.colour);
        }
        response
    }
}
