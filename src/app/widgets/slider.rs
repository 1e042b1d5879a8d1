//! A rail, a ring, and under it the marks that matter: steps of the scale and the break-even.
//!
//! The value follows the pointer from the moment of the press, so a click on the rail is a very
//! short drag: callers preview on `changed()` and settle on `drag_stopped()`.

use std::ops::RangeInclusive;

use egui::{
    Align2, Color32, CornerRadius, CursorIcon, Key, Painter, Pos2, Rect, Response, Role, Sense, Stroke, Ui, Widget,
    WidgetInfo, lerp, pos2, remap_clamp, vec2,
};

use super::{SpokenRange, paint_focus_ring, snap, speak_range, value_request, value_steps};
use crate::app::theme::{Tokens, galley, size, stroke, tokens, weight};

/// Height of the part that can be grabbed, in points.
const RAIL_ROW: f32 = 24.0;
/// What labels under the rail add to the height, in points.
const LABEL_ROW: f32 = 11.0;
/// Radius of the ring in points, to the middle of its stroke.
const RING: f32 = 6.0;

/// A tick under the rail.
struct Tick<'a> {
    value: f64,
    label: &'a str,
}

/// A horizontal slider over an `f64`.
#[must_use = "add it to a ui"]
pub struct Slider<'a> {
    value: &'a mut f64,
    range: RangeInclusive<f64>,
    name: &'a str,
    step: f64,
    ticks: Vec<Tick<'a>>,
    mark: Option<Tick<'a>>,
    width: Option<f32>,
    spoken: Option<String>,
    disabled: Option<&'a str>,
}

impl<'a> Slider<'a> {
    /// A slider that screen readers call `name`, with a hundredth of the range as its step.
    pub fn new(value: &'a mut f64, range: RangeInclusive<f64>, name: &'a str) -> Self {
        let step = (range.end() - range.start()) / 100.0;
        Self { value, range, name, step, ticks: Vec::new(), mark: None, width: None, spoken: None, disabled: None }
    }

    /// The grid values snap to, and what one press of an arrow key adds. Zero or less: no snapping.
    pub fn step(mut self, step: f64) -> Self {
        self.step = step;
        self
    }

    /// Ticks under the rail; the label of the current value is brighter. Labels may be empty.
    pub fn ticks(mut self, ticks: impl IntoIterator<Item = (f64, &'a str)>) -> Self {
        self.ticks = ticks.into_iter().map(|(value, label)| Tick { value, label }).collect();
        self
    }

    /// A break-even mark with its words, such as "break-even 25 %".
    pub fn mark(mut self, value: f64, label: &'a str) -> Self {
        self.mark = Some(Tick { value, label });
        self
    }

    /// Width in points; all that is available unless told.
    pub fn width(mut self, width: f32) -> Self {
        self.width = Some(width);
        self
    }

    /// The value in words for screen readers, such as "45.0 % pruned".
    pub fn spoken(mut self, text: impl Into<String>) -> Self {
        self.spoken = Some(text.into());
        self
    }

    /// Grey the slider out when there is a reason, which becomes its tooltip.
    pub fn disabled(mut self, reason: Option<&'a str>) -> Self {
        self.disabled = reason;
        self
    }

    fn limits(&self) -> (f64, f64) {
        let (a, b) = (*self.range.start(), *self.range.end());
        (a.min(b), a.max(b))
    }

    /// Key step: the snapping grid, or a hundredth of the range without one.
    fn key_step(&self) -> f64 {
        let (low, high) = self.limits();
        if self.step > 0.0 { self.step } else { (high - low) / 100.0 }
    }

    /// Read pointer, keys and screen reader; true when the value moved.
    fn interact(&mut self, ui: &Ui, response: &Response, rail: Rect) -> bool {
        let (low, high) = self.limits();
        let old = *self.value;
        let mut value = old;
        if let Some(pointer) = response.interact_pointer_pos() {
            let x = pointer.x + self.grab(ui, response, pointer, rail);
            let along = f64::from((x - rail.left()) / rail.width().max(1.0));
            value = snap(lerp(low..=high, along.clamp(0.0, 1.0)), low, high, self.step);
        }
        let steps = value_steps(ui, response);
        if steps != 0.0 {
            value = snap(value + steps * self.key_step(), low, high, self.step);
        }
        if response.has_focus() {
            if ui.input(|input| input.key_pressed(Key::Home)) {
                value = low;
            }
            if ui.input(|input| input.key_pressed(Key::End)) {
                value = high;
            }
        }
        if let Some(request) = value_request(ui, response) {
            value = snap(request, low, high, self.step);
        }
        *self.value = value;
        // Bits, not nearness: any change at all has to reach the caller.
        value.to_bits() != old.to_bits()
    }

    /// How far the ring's middle is from the pointer that holds it, in points.
    ///
    /// Zero when the press was on the rail: then the ring comes to the pointer.
    fn grab(&self, ui: &Ui, response: &Response, pointer: Pos2, rail: Rect) -> f32 {
        if response.drag_started() {
            let off = self.x_of(*self.value, rail) - pointer.x;
            let off = if off.abs() <= RING + 2.0 { off } else { 0.0 };
            ui.data_mut(|data| data.insert_temp(response.id, off));
            return off;
        }
        ui.data(|data| data.get_temp(response.id)).unwrap_or(0.0)
    }

    fn x_of(&self, value: f64, rail: Rect) -> f32 {
        let (low, high) = self.limits();
        if high <= low {
            return rail.left();
        }
        remap_clamp(value, low..=high, f64::from(rail.left())..=f64::from(rail.right())) as f32
    }

    fn paint(&self, painter: &Painter, response: &Response, rail: Rect, t: &Tokens) {
        let enabled = response.enabled() && self.disabled.is_none();
        let ring = pos2(self.x_of(*self.value, rail), rail.center().y);
        painter.rect_filled(rail, CornerRadius::same(2), t.bg3);
        if enabled {
            let done = Rect::from_min_max(rail.min, pos2(ring.x, rail.bottom()));
            painter.rect_filled(done, CornerRadius::same(2), t.accent);
        }
        self.paint_marks(painter, rail, t);
        let colour = if enabled { t.accent } else { t.text3 };
        let active = enabled && (response.dragged() || response.hovered());
        let width = if active { 2.5 } else { stroke::FRONTIER };
        painter.circle(ring, RING, t.bg1, Stroke::new(width, colour));
        if response.has_focus() {
            let around = Rect::from_center_size(ring, vec2(2.0, 2.0) * (RING + 1.0));
            paint_focus_ring(painter, around, RING + 1.0, t);
        }
    }

    fn paint_marks(&self, painter: &Painter, rail: Rect, t: &Tokens) {
        for tick in &self.ticks {
            self.paint_tick(painter, tick, rail, t.text3);
            let here = (tick.value - *self.value).abs() < self.key_step() / 2.0;
            let ink = if here && self.disabled.is_none() { (t.text1, weight::VALUE) } else { (t.text3, weight::TEXT) };
            self.paint_label(painter, tick, rail, ink);
        }
        if let Some(mark) = &self.mark {
            self.paint_tick(painter, mark, rail, t.text2);
            // Numbers of a scale and words of a mark would run into each other.
            if self.ticks.iter().all(|tick| tick.label.is_empty()) {
                self.paint_label(painter, mark, rail, (t.text3, weight::TEXT));
            }
        }
    }

    fn paint_tick(&self, painter: &Painter, tick: &Tick<'_>, rail: Rect, colour: Color32) {
        let x = painter.round_to_pixel_center(self.x_of(tick.value, rail));
        let y = rail.center().y;
        painter.vline(x, y + 5.0..=y + 8.0, Stroke::new(stroke::HAIRLINE, colour));
    }

    fn paint_label(&self, painter: &Painter, tick: &Tick<'_>, rail: Rect, (colour, heaviness): (Color32, f32)) {
        if tick.label.is_empty() {
            return;
        }
        let text = galley(painter.ctx(), tick.label, size::TICK, heaviness, colour);
        let centre = pos2(self.x_of(tick.value, rail), rail.center().y + 16.5);
        let mut place = Align2::CENTER_CENTER.anchor_size(centre, text.size());
        // Words stay over the rail: the ends of the scale are flush with it.
        let overhang = (place.right() - rail.right()).max(0.0);
        place = place.translate(vec2(-overhang, 0.0));
        let overhang = (rail.left() - place.left()).max(0.0);
        place = place.translate(vec2(overhang, 0.0));
        painter.galley(place.min, text, colour);
    }

    fn height(&self) -> f32 {
        let labelled = self.ticks.iter().chain(&self.mark);
        if labelled.into_iter().any(|tick| !tick.label.is_empty()) { RAIL_ROW + LABEL_ROW } else { RAIL_ROW }
    }

    fn words(&self) -> String {
        self.spoken.clone().unwrap_or_else(|| format!("{}", *self.value))
    }
}

impl Widget for Slider<'_> {
    fn ui(mut self, ui: &mut Ui) -> Response {
        let t = tokens(ui);
        let enabled = self.disabled.is_none() && ui.is_enabled();
        let width = self.width.unwrap_or_else(|| ui.available_width());
        let (id, rect) = ui.allocate_space(vec2(width, self.height()));
        let row = Rect::from_min_size(rect.min, vec2(rect.width(), RAIL_ROW));
        let middle = row.center().y;
        let rail = Rect::from_min_max(pos2(rect.left(), middle - 2.0), pos2(rect.right(), middle + 2.0));
        let sense = if enabled { Sense::drag() } else { Sense::hover() };
        // At both ends of the rail half of the ring lies outside it.
        let mut response = ui.interact(row.expand2(vec2(RING + 1.0, 0.0)), id, sense);
        if response.drag_started() {
            response.request_focus();
        }
        if enabled && self.interact(ui, &response, rail) {
            response.mark_changed();
        }
        let (value, name) = (*self.value, self.name);
        response.widget_info(|| WidgetInfo {
            enabled,
            label: Some(name.to_owned()),
            value: Some(value),
            ..WidgetInfo::new(Role::Slider)
        });
        let (low, high) = self.limits();
        let step = self.key_step();
        let text = self.words();
        speak_range(ui, &response, &SpokenRange { value, low, high, step, text });
        if ui.is_rect_visible(rect.expand(RING)) {
            self.paint(ui.painter(), &response, rail, t);
        }
        match self.disabled {
            Some(reason) => response.on_hover_text(reason),
            None if enabled => response.on_hover_cursor(CursorIcon::ResizeHorizontal),
            None => response,
        }
    }
}

/// Where the ring of a slider of this rectangle stands, for callers that draw beside it.
impl Slider<'_> {
    /// Position of the ring's centre for a fraction of the range, in a slider laid out in `rect`.
    pub fn ring_centre(rect: Rect, fraction: f32) -> Pos2 {
        let x = lerp(rect.left()..=rect.right(), fraction.clamp(0.0, 1.0));
        pos2(x, rect.top() + RAIL_ROW / 2.0)
    }
}
