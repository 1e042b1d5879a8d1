//! Icons are drawn, not written: no font has to carry them and they follow the theme by colour.
//!
//! Each icon is described on a small grid of points around its centre and painted from lines,
//! polygons and circles, so it stays sharp at any scale of the window.

use std::f32::consts::{FRAC_PI_2, PI, TAU};

use egui::{
    Color32, CornerRadius, CursorIcon, Painter, Pos2, Rect, Response, Role, Sense, Shape, Stroke, Ui, Vec2, Widget,
    WidgetInfo, pos2, style::WidgetVisuals, vec2,
};

use super::paint_focus_ring;
use crate::app::theme::{space, tokens};

/// A painted icon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// A closed padlock, 8 x 10 points: a layer that edits leave alone.
    Lock,
    /// An open padlock.
    Unlock,
    /// A triangle with a bar: a constraint.
    Warning,
    /// An arrow bending back.
    Undo,
    /// An arrow bending forward.
    Redo,
    /// A closed row group.
    ChevronRight,
    /// An open row group, or a menu.
    ChevronDown,
    /// A magnifying glass.
    Search,
    /// A diagonal cross.
    Close,
    /// The light theme.
    Sun,
    /// The dark theme.
    Moon,
    /// Add, or zoom in.
    Plus,
    /// Remove, or zoom out.
    Minus,
    /// A folder, for opening files.
    Folder,
    /// A tick: something is done.
    Check,
}

impl Icon {
    /// Paint the icon around `centre` in `colour`, at its natural size.
    pub fn paint(self, painter: &Painter, centre: Pos2, colour: Color32) {
        let pen = Pen { painter, centre, colour };
        match self {
            Self::Lock => pen.lock(true),
            Self::Unlock => pen.lock(false),
            Self::Warning => pen.warning(),
            Self::Undo => pen.bent_arrow(1.0),
            Self::Redo => pen.bent_arrow(-1.0),
            Self::ChevronRight => pen.line(&[(-1.75, -3.5), (1.75, 0.0), (-1.75, 3.5)], 1.5),
            Self::ChevronDown => pen.line(&[(-3.5, -1.75), (0.0, 1.75), (3.5, -1.75)], 1.5),
            Self::Search => pen.search(),
            Self::Close => {
                pen.line(&[(-3.5, -3.5), (3.5, 3.5)], 1.5);
                pen.line(&[(-3.5, 3.5), (3.5, -3.5)], 1.5);
            }
            Self::Sun => pen.sun(),
            Self::Moon => pen.moon(),
            Self::Plus => {
                pen.bar(-4.0, -0.75, 4.0, 0.75);
                pen.bar(-0.75, -4.0, 0.75, 4.0);
            }
            Self::Minus => pen.bar(-4.0, -0.75, 4.0, 0.75),
            Self::Folder => pen.folder(),
            Self::Check => pen.line(&[(-3.5, 0.25), (-1.0, 2.75), (3.5, -2.75)], 1.75),
        }
    }
}

/// Draws in points relative to the centre of an icon.
struct Pen<'a> {
    painter: &'a Painter,
    centre: Pos2,
    colour: Color32,
}

impl Pen<'_> {
    fn at(&self, (x, y): (f32, f32)) -> Pos2 {
        self.centre + vec2(x, y)
    }

    fn line(&self, points: &[(f32, f32)], width: f32) {
        let points = points.iter().map(|&point| self.at(point)).collect();
        self.painter.line(points, Stroke::new(width, self.colour));
    }

    fn bar(&self, x0: f32, y0: f32, x1: f32, y1: f32) {
        let rect = Rect::from_min_max(self.at((x0, y0)), self.at((x1, y1)));
        self.painter.rect_filled(rect, CornerRadius::ZERO, self.colour);
    }

    fn polygon(&self, points: &[(f32, f32)]) {
        let points = points.iter().map(|&point| self.at(point)).collect();
        self.painter.add(Shape::convex_polygon(points, self.colour, Stroke::NONE));
    }

    /// An arc of a circle, from and to in radians, clockwise from the right.
    fn arc(&self, (x, y): (f32, f32), radius: f32, from: f32, to: f32, width: f32) {
        let points = arc_points(self.at((x, y)), radius, from, to);
        self.painter.line(points, Stroke::new(width, self.colour));
    }

    fn lock(&self, closed: bool) {
        let body = Rect::from_min_max(self.at((-4.0, -0.5)), self.at((4.0, 5.0)));
        self.painter.rect_filled(body, CornerRadius::same(1), self.colour);
        let lift = if closed { 0.0 } else { -1.5 };
        self.arc((0.0, -2.0 + lift), 2.35, PI, TAU, 1.4);
        self.line(&[(-2.35, -2.0 + lift), (-2.35, 0.0)], 1.4);
        if closed {
            self.line(&[(2.35, -2.0), (2.35, 0.0)], 1.4);
        }
    }

    /// The bar is left out of the triangle, so any ground shows through it. The four pieces
    /// overlap a little: soft edges that only touched would leave seams.
    fn warning(&self) {
        self.polygon(&[(0.0, -5.0), (2.6, -0.75), (-2.6, -0.75)]);
        for side in [-1.0, 1.0] {
            let leg = [(2.1, -1.6), (1.0, -1.6), (1.0, 3.2), (5.0, 3.2)];
            let mut leg = leg.map(|(x, y)| (x * side, y));
            if side < 0.0 {
                leg.reverse();
            }
            self.polygon(&leg);
        }
        self.polygon(&[(-4.75, 2.75), (4.75, 2.75), (5.5, 4.0), (-5.5, 4.0)]);
    }

    fn bent_arrow(&self, side: f32) {
        let x = |value: f32| value * side;
        self.line(&[(x(-2.0), -4.75), (x(-4.75), -2.0), (x(-2.0), 0.75)], 1.5);
        self.line(&[(x(-4.5), -2.0), (x(1.5), -2.0)], 1.5);
        let turn: Vec<Pos2> = arc_points(Pos2::ZERO, 3.25, -FRAC_PI_2, FRAC_PI_2)
            .into_iter()
            .map(|point| self.at((x(point.x + 1.5), point.y + 1.25)))
            .collect();
        self.painter.line(turn, Stroke::new(1.5, self.colour));
        self.line(&[(x(1.5), 4.5), (x(-2.0), 4.5)], 1.5);
    }

    fn search(&self) {
        let lens = self.at((-1.0, -1.0));
        self.painter.circle_stroke(lens, 4.0, Stroke::new(1.4, self.colour));
        self.line(&[(1.9, 1.9), (5.0, 5.0)], 1.5);
    }

    fn sun(&self) {
        self.painter.circle_filled(self.centre, 2.6, self.colour);
        for ray in 0..8 {
            let (sin, cos) = (ray as f32 * TAU / 8.0).sin_cos();
            self.line(&[(cos * 4.0, sin * 4.0), (cos * 5.75, sin * 5.75)], 1.25);
        }
    }

    /// A strip of quads between two arcs: a crescent is not convex.
    fn moon(&self) {
        const STEPS: usize = 24;
        // Two equal circles, `OFFSET` apart, meet in the horns; the whole is tilted a little.
        const TURN: f32 = -PI / 6.0;
        const RADIUS: f32 = 5.0;
        const OFFSET: f32 = 3.8;
        let horn = OFFSET / 2.0 / RADIUS;
        let opening = horn.acos();
        let outer = arc_points_n(Pos2::ZERO, RADIUS, opening, TAU - opening, STEPS);
        let inner_centre = pos2(OFFSET, 0.0);
        let inner = arc_points_n(inner_centre, RADIUS, PI - opening, PI + opening, STEPS);
        let mut mesh = egui::Mesh::default();
        for (index, pair) in outer.iter().zip(&inner).enumerate() {
            for point in [pair.0, pair.1] {
                let turned = egui::emath::Rot2::from_angle(TURN) * point.to_vec2();
                mesh.colored_vertex(self.centre + turned, self.colour);
            }
            if index > 0 {
                let base = 2 * index as u32;
                mesh.add_triangle(base - 2, base - 1, base);
                mesh.add_triangle(base - 1, base, base + 1);
            }
        }
        self.painter.add(mesh);
    }

    fn folder(&self) {
        let outline = [(-6.0, 4.5), (-6.0, -4.5), (-2.0, -4.5), (-0.5, -2.75), (6.0, -2.75), (6.0, 4.5)];
        let points = outline.iter().map(|&point| self.at(point)).collect();
        self.painter.add(Shape::closed_line(points, Stroke::new(1.4, self.colour)));
    }
}

fn arc_points(centre: Pos2, radius: f32, from: f32, to: f32) -> Vec<Pos2> {
    arc_points_n(centre, radius, from, to, 16)
}

fn arc_points_n(centre: Pos2, radius: f32, from: f32, to: f32, steps: usize) -> Vec<Pos2> {
    (0..=steps)
        .map(|step| {
            let (sin, cos) = (from + (to - from) * step as f32 / steps as f32).sin_cos();
            centre + vec2(cos, sin) * radius
        })
        .collect()
}

/// The chevron of a combo box: pass it to `egui::ComboBox::icon`.
pub fn combo_icon(ui: &Ui, rect: Rect, visuals: &WidgetVisuals, _open: bool) {
    let colour = visuals.fg_stroke.color.gamma_multiply(0.7);
    Icon::ChevronDown.paint(ui.painter(), rect.center(), colour);
}

/// Paint the product's mark, a spokeshave seen from the front, 28 x 12 points.
pub fn paint_logo(painter: &Painter, centre: Pos2, colour: Color32) {
    let base = pos2(centre.x, centre.y + 5.0);
    let outer = arc_points_n(base, 10.25, PI, TAU, 32);
    painter.line(outer, Stroke::new(1.6, colour));
    let inner = arc_points_n(base, 6.75, PI, TAU, 32);
    painter.line(inner, Stroke::new(1.4, colour));
    for side in [-1.0, 1.0] {
        let grip =
            Rect::from_two_pos(pos2(base.x + side * 14.0, base.y - 1.0), pos2(base.x + side * 6.05, base.y + 1.0));
        painter.rect_filled(grip, CornerRadius::ZERO, colour);
    }
}

/// A square button that shows an icon and speaks its name.
#[must_use = "add it to a ui"]
pub struct IconButton<'a> {
    icon: Icon,
    name: &'a str,
    shortcut: Option<String>,
    selected: bool,
    framed: bool,
    size: f32,
    disabled: Option<&'a str>,
}

impl<'a> IconButton<'a> {
    /// A button named `name`; the name is also its tooltip.
    pub fn new(icon: Icon, name: &'a str) -> Self {
        Self { icon, name, shortcut: None, selected: false, framed: false, size: space::FIELD, disabled: None }
    }

    /// Words for the keys that do the same, shown after the name in the tooltip.
    pub fn shortcut(mut self, keys: impl Into<String>) -> Self {
        self.shortcut = Some(keys.into());
        self
    }

    /// Draw the chosen ground, for buttons that switch something on.
    pub fn selected(mut self, selected: bool) -> Self {
        self.selected = selected;
        self
    }

    /// Draw a ground even at rest.
    pub fn framed(mut self) -> Self {
        self.framed = true;
        self
    }

    /// Width and height in points, 24 unless told.
    pub fn size(mut self, size: f32) -> Self {
        self.size = size;
        self
    }

    /// Grey the button out when there is a reason, which becomes its tooltip.
    pub fn disabled(mut self, reason: Option<&'a str>) -> Self {
        self.disabled = reason;
        self
    }

    fn tooltip(&self) -> String {
        match (&self.disabled, &self.shortcut) {
            (Some(reason), _) => format!("{}: {reason}", self.name),
            (None, Some(keys)) => format!("{}  {keys}", self.name),
            (None, None) => self.name.to_owned(),
        }
    }
}

impl Widget for IconButton<'_> {
    fn ui(self, ui: &mut Ui) -> Response {
        let t = tokens(ui);
        let enabled = self.disabled.is_none() && ui.is_enabled();
        let sense = if enabled { Sense::click() } else { Sense::hover() };
        let (rect, response) = ui.allocate_exact_size(Vec2::splat(self.size), sense);
        let response = if enabled { response.on_hover_cursor(CursorIcon::PointingHand) } else { response };
        response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, self.name));
        if ui.is_rect_visible(rect) {
            let pressed = enabled && response.is_pointer_button_down_on();
            let ground = match (pressed || self.selected, response.hovered() && enabled) {
                (true, _) => Some(t.bg3),
                (false, true) => Some(if self.framed { t.bg3 } else { t.bg2 }),
                (false, false) => self.framed.then_some(t.bg2),
            };
            let painter = ui.painter();
            if let Some(ground) = ground {
                painter.rect_filled(rect, CornerRadius::same(space::RADIUS), ground);
            }
            let colour = if !enabled {
                t.text3.gamma_multiply(0.6)
            } else if ground.is_some() {
                t.text1
            } else {
                t.text2
            };
            self.icon.paint(painter, rect.center(), colour);
            if response.has_focus() {
                paint_focus_ring(painter, rect, f32::from(space::RADIUS), t);
            }
        }
        response.on_hover_text(self.tooltip())
    }
}
