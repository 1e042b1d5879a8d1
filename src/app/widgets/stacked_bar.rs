//! A stacked bar answers "where did it all go", so even the thinnest part stays visible.

use egui::{Color32, Mesh, Painter, Rect, Response, Role, Sense, Ui, WidgetInfo, pos2, vec2};

/// Width of the gap between parts, in points.
const GAP: f32 = 1.0;

/// One part of a stacked bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part<'a> {
    /// What the part is, for tooltips and screen readers.
    pub name: &'a str,
    /// Its amount in any unit, the same for all parts; nothing is drawn for zero or less.
    pub amount: f64,
    /// Its colour.
    pub colour: Color32,
}

/// The rectangle of each part within `rect`, in order; empty ones for parts that are not drawn.
fn layout(rect: Rect, parts: &[Part<'_>]) -> Vec<Rect> {
    let amounts: Vec<f64> = parts.iter().map(|part| part.amount.max(0.0)).collect();
    let shown = amounts.iter().filter(|amount| **amount > 0.0).count();
    let total: f64 = amounts.iter().sum();
    // Each part gets one point outright, the rest is shared: a sliver cannot vanish.
    let fixed = shown as f32 + GAP * shown.saturating_sub(1) as f32;
    let shared = (rect.width() - fixed).max(0.0);
    let mut left = rect.left();
    amounts
        .iter()
        .map(|amount| {
            if *amount <= 0.0 {
                return Rect::NOTHING;
            }
            let width = 1.0 + shared * (amount / total) as f32;
            let cell = Rect::from_min_size(pos2(left, rect.top()), vec2(width, rect.height()));
            left += width + GAP;
            cell
        })
        .collect()
}

/// Paint the parts side by side over the width of `rect`, with hairline gaps.
pub fn paint_stacked_bar(painter: &Painter, rect: Rect, parts: &[Part<'_>]) {
    let scale = painter.pixels_per_point();
    let snapped = |x: f32| (x * scale).round() / scale;
    let mut mesh = Mesh::default();
    for (cell, part) in layout(rect, parts).into_iter().zip(parts) {
        if cell.is_positive() {
            let sharp = Rect::from_min_max(
                pos2(snapped(cell.left()), snapped(cell.top())),
                pos2(snapped(cell.right()), snapped(cell.bottom())),
            );
            mesh.add_colored_rect(sharp, part.colour);
        }
    }
    painter.add(mesh);
}

/// A stacked horizontal bar as wide as there is room.
#[must_use = "call show"]
pub struct StackedBar<'a> {
    name: &'a str,
    parts: &'a [Part<'a>],
    height: f32,
}

/// What [`StackedBar::show`] gives back.
pub struct StackedBarResponse {
    /// The bar as a whole.
    pub response: Response,
    /// Index of the part under the pointer.
    pub hovered: Option<usize>,
}

impl<'a> StackedBar<'a> {
    /// A bar of `parts`, 20 points high, that screen readers call `name`.
    pub fn new(name: &'a str, parts: &'a [Part<'a>]) -> Self {
        Self { name, parts, height: 20.0 }
    }

    /// Height in points.
    pub fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// Draw the bar; the part under the pointer is reported, so the caller can say exact numbers.
    pub fn show(self, ui: &mut Ui) -> StackedBarResponse {
        let wanted = vec2(ui.available_width(), self.height);
        let (rect, response) = ui.allocate_exact_size(wanted, Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, self.spoken()));
        if ui.is_rect_visible(rect) {
            paint_stacked_bar(ui.painter(), rect, self.parts);
        }
        let hovered = response.hover_pos().and_then(|pointer| {
            layout(rect, self.parts)
                .iter()
                .position(|cell| cell.is_positive() && cell.expand(GAP / 2.0).contains(pointer))
        });
        StackedBarResponse { response, hovered }
    }

    fn spoken(&self) -> String {
        let total: f64 = self.parts.iter().map(|part| part.amount.max(0.0)).sum();
        let shares: Vec<String> = self
            .parts
            .iter()
            .filter(|part| part.amount > 0.0)
            .map(|part| format!("{} {:.1} %", part.name, 100.0 * part.amount / total))
            .collect();
        format!("{}: {}", self.name, shares.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(amount: f64) -> Part<'static> {
        Part { name: "part", amount, colour: Color32::WHITE }
    }

    #[test]
    fn slivers_stay_visible_and_the_bar_is_filled_exactly() {
        let rect = Rect::from_min_size(pos2(10.0, 0.0), vec2(300.0, 20.0));
        let parts = [part(1e9), part(0.0), part(1.0), part(5e8)];
        let cells = layout(rect, &parts);
        assert!(!cells[1].is_positive());
        assert!(cells[2].width() >= 1.0);
        assert!((cells[0].left() - 10.0).abs() < 1e-3);
        assert!((cells[3].right() - 310.0).abs() < 1e-2);
        assert!((cells[2].left() - cells[0].right() - GAP).abs() < 1e-3);
    }

    #[test]
    fn nothing_to_show_is_nothing_drawn() {
        let rect = Rect::from_min_size(pos2(0.0, 0.0), vec2(300.0, 20.0));
        assert!(layout(rect, &[part(0.0), part(-3.0)]).iter().all(|cell| !cell.is_positive()));
        assert!(layout(rect, &[]).is_empty());
    }
}
