//! Every headline number says how it was come by: shape and word, never colour alone.

use egui::{
    Align2, Color32, CornerRadius, Painter, Pos2, Rect, Response, Role, Sense, Shape, Stroke, StrokeKind, Ui, Vec2,
    Widget, WidgetInfo, pos2, vec2,
};

use crate::estimate::Label;

use crate::app::theme::{galley, paint_text, size, space, stroke, tokens, weight};

/// How a number was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Computed from every weight; a square.
    Exact,
    /// Followed from sketches while a handle moves; a dot.
    Live,
    /// Estimated from a sample; a ring.
    Sampled,
    /// Measured by running the model; a diamond.
    Measured,
}

impl Kind {
    /// All kinds, in the order of the key in the jobs bar.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Live, Self::Sampled, Self::Measured];

    /// The kind of an estimate.
    #[must_use]
    pub const fn of(label: Label) -> Self {
        match label {
            Label::Exact => Self::Exact,
            Label::Live => Self::Live,
            Label::Sampled => Self::Sampled,
            Label::Measured => Self::Measured,
        }
    }

    /// The word shown beside the mark.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Live => "live",
            Self::Sampled => "sampled",
            Self::Measured => "measured",
        }
    }

    /// One sentence for the tooltip.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Exact => "Computed from every weight",
            Self::Live => "Follows the hand from stored summaries; the exact pass comes after",
            Self::Sampled => "Estimated from a sample of the weights",
            Self::Measured => "Measured by running the model on data",
        }
    }
}

/// Paint the mark of a kind, about 6 points wide, around `centre`.
pub fn paint_kind_mark(painter: &Painter, centre: Pos2, kind: Kind, colour: Color32) {
    match kind {
        Kind::Exact => {
            let square = Rect::from_center_size(centre, Vec2::splat(6.0));
            painter.rect_filled(square, CornerRadius::ZERO, colour);
        }
        Kind::Live => {
            painter.circle_filled(centre, 3.0, colour);
        }
        Kind::Sampled => {
            painter.circle_stroke(centre, 2.5, Stroke::new(1.5, colour));
        }
        Kind::Measured => {
            let corners = [(0.0, -3.6), (3.6, 0.0), (0.0, 3.6), (-3.6, 0.0)];
            let points = corners.map(|(x, y)| centre + vec2(x, y)).to_vec();
            painter.add(Shape::convex_polygon(points, colour, Stroke::NONE));
        }
    }
}

/// The chip `■ exact` and its three siblings.
#[must_use = "add it to a ui"]
pub struct KindChip<'a> {
    kind: Kind,
    stale: bool,
    about: Option<&'a str>,
}

impl<'a> KindChip<'a> {
    /// Height in points.
    pub const HEIGHT: f32 = 14.0;

    /// A chip of the given kind.
    pub fn new(kind: Kind) -> Self {
        Self { kind, stale: false, about: None }
    }

    /// Grey the chip out: the number beside it belongs to an older state.
    pub fn stale(mut self, stale: bool) -> Self {
        self.stale = stale;
        self
    }

    /// What the chip speaks about, so that several on one screen have different names.
    pub fn about(mut self, about: &'a str) -> Self {
        self.about = Some(about);
        self
    }

    fn spoken(&self) -> String {
        let state = if self.stale { ", out of date" } else { "" };
        match self.about {
            Some(about) => format!("{about}: {}{state}", self.kind.word()),
            None => format!("{}{state}", self.kind.word()),
        }
    }
}

impl Widget for KindChip<'_> {
    fn ui(self, ui: &mut Ui) -> Response {
        let t = tokens(ui);
        let colour = if self.stale { t.text3 } else { t.text2 };
        let word = galley(ui, self.kind.word(), size::TICK, weight::TEXT, colour);
        let wanted = vec2(word.size().x + 19.0, Self::HEIGHT);
        let (rect, response) = ui.allocate_exact_size(wanted, Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Label, true, self.spoken()));
        if ui.is_rect_visible(rect) {
            let painter = ui.painter();
            let radius = CornerRadius::same(space::RADIUS - 1);
            if self.stale {
                // Text 3 is legible on the panel but not on a filled chip, so only an outline.
                let outline = Stroke::new(stroke::HAIRLINE, t.line);
                painter.rect_stroke(rect, radius, outline, StrokeKind::Inside);
            } else {
                painter.rect_filled(rect, radius, t.bg2);
            }
            let mark = pos2(rect.left() + 8.0, rect.center().y);
            paint_kind_mark(painter, mark, self.kind, colour);
            paint_text(
                painter,
                pos2(rect.left() + 14.0, rect.center().y),
                Align2::LEFT_CENTER,
                self.kind.word(),
                size::TICK,
                weight::TEXT,
                colour,
            );
        }
        let meaning = self.kind.meaning();
        if self.stale {
            response.on_hover_text(format!("{meaning}. Out of date: being computed again"))
        } else {
            response.on_hover_text(meaning)
        }
    }
}
