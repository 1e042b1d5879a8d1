//! Handles are drawn on the data they move, and say their value while they do.

use egui::{Align2, Color32, CornerRadius, Painter, Pos2, Rect, Stroke, StrokeKind, Vec2, pos2, vec2};

use crate::app::theme::{Tokens, galley, size, space, stroke, weight};

/// How the grip of a handle looks at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grip {
    /// Nobody is near: 8 x 24 points.
    Rest,
    /// Under the pointer or dragged: 10 points wide.
    Hover,
    /// Hover, with the focus ring.
    Focus,
    /// Cannot be moved.
    Disabled,
}

/// Whether a grip is filled (the main handle) or outlined (a second handle on the same plot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GripLook {
    /// Accent ground with two dark lines.
    Filled,
    /// Accent outline on the panel's ground.
    Outline,
}

impl Grip {
    /// Hit area of a handle whose line runs along `line` (a thin rectangle), at least 24 points
    /// wide across it.
    pub fn hit_area(line: Rect) -> Rect {
        let grow = |length: f32| ((24.0 - length) / 2.0).max(0.0);
        if line.width() <= line.height() {
            line.expand2(vec2(grow(line.width()), 0.0))
        } else {
            line.expand2(vec2(0.0, grow(line.height())))
        }
    }

    fn thickness(self) -> f32 {
        match self {
            Self::Rest | Self::Disabled => 8.0,
            Self::Hover | Self::Focus => 10.0,
        }
    }
}

/// Paint the grip of a handle around `centre` and return its rectangle.
///
/// `upright` says that the handle's line is vertical, so the grip stands; else it lies.
pub fn paint_grip(painter: &Painter, centre: Pos2, upright: bool, grip: Grip, look: GripLook, t: &Tokens) -> Rect {
    let extent = vec2(grip.thickness(), 24.0);
    let turn = |size: Vec2| if upright { size } else { size.yx() };
    let rect = Rect::from_center_size(centre, turn(extent));
    let radius = CornerRadius::same(space::RADIUS);
    let colour = if grip == Grip::Disabled { t.text3 } else { t.accent };
    let outline = Stroke::new(stroke::HANDLE, colour);
    match look {
        GripLook::Filled if grip != Grip::Disabled => {
            painter.rect_filled(rect, radius, colour);
            for side in [-1.5, 1.5] {
                let groove = Rect::from_center_size(centre + turn(vec2(side, 0.0)), turn(vec2(1.0, 9.0)));
                painter.rect_filled(groove, CornerRadius::ZERO, t.on_accent);
            }
        }
        GripLook::Filled | GripLook::Outline => {
            painter.rect(rect, radius, t.bg1, outline, StrokeKind::Inside);
        }
    }
    if grip == Grip::Focus {
        super::paint_focus_ring(painter, rect, f32::from(space::RADIUS), t);
    }
    rect
}

/// Paint an accent pill with round ends, such as "16.2 MiB", and return its rectangle.
pub fn paint_pill(painter: &Painter, position: Pos2, anchor: Align2, text: &str, t: &Tokens) -> Rect {
    paint_badge(painter, position, anchor, text, 18.0, (t.accent, t.on_accent))
}

/// Paint an accent tag with small corners, for a value that sticks to its grip.
pub fn paint_tag(painter: &Painter, position: Pos2, anchor: Align2, text: &str, t: &Tokens) -> Rect {
    let radius = 2.0 * f32::from(space::RADIUS);
    paint_badge(painter, position, anchor, text, radius, (t.accent, t.on_accent))
}

/// `roundness` is the diameter of the corners in points.
fn paint_badge(
    painter: &Painter,
    position: Pos2,
    anchor: Align2,
    text: &str,
    roundness: f32,
    (ground, ink): (Color32, Color32),
) -> Rect {
    const HEIGHT: f32 = 18.0;
    let text = galley(painter.ctx(), text, size::LABEL, weight::TITLE, ink);
    let rect = anchor.anchor_size(position, vec2(text.size().x + 20.0, HEIGHT));
    painter.rect_filled(rect, CornerRadius::from(roundness / 2.0), ground);
    let corner = rect.center() - text.size() / 2.0;
    painter.galley(pos2(corner.x, corner.y), text, ink);
    rect
}
