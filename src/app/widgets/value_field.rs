//! A number that looks like a headline until you touch it: drag it, roll it, or type over it.

use std::ops::RangeInclusive;

use egui::{
    Align2, Color32, CornerRadius, CursorIcon, Id, Key, Rect, Response, Role, Sense, TextEdit, Ui, Widget, WidgetInfo,
    pos2, vec2,
};

use super::{
    SpokenRange, keep_from_scrolling, paint_focus_ring, rolled, snap, speak_range, value_request, value_steps,
};
use crate::app::theme::{galley, size, space, text_format, tokens, weight};

/// Points of pointer travel for one step while dragging.
const POINTS_PER_STEP: f32 = 4.0;
/// Points of trackpad travel for one step.
const POINTS_PER_CLICK: f32 = 24.0;

/// Space between the number and its unit, in points.
const UNIT_GAP: f32 = 4.0;
/// What the ground reaches past the text on both sides, in points.
const PADDING: f32 = 4.0;

/// A compact number field over an `f64`.
#[must_use = "add it to a ui"]
pub struct ValueField<'a> {
    value: &'a mut f64,
    range: RangeInclusive<f64>,
    name: &'a str,
    unit: &'a str,
    decimals: usize,
    step: f64,
    size: f32,
    disabled: Option<&'a str>,
}

/// Kept between frames while the field is typed in or dragged.
#[derive(Clone, Default)]
struct Memory {
    /// The text being typed, if the field is open.
    text: Option<String>,
    /// The field was opened in the last frame and has yet to take the focus.
    fresh: bool,
    /// The exact value under a drag, before snapping.
    dragged: Option<f64>,
    /// Part of a wheel step not yet spent.
    rolled: f64,
}

impl<'a> ValueField<'a> {
    /// A field of dial size (20 points) that screen readers call `name`.
    pub fn new(value: &'a mut f64, range: RangeInclusive<f64>, name: &'a str) -> Self {
        Self { value, range, name, unit: "", decimals: 0, step: 1.0, size: size::DIAL, disabled: None }
    }

    /// Unit shown smaller after the number, such as "% pruned".
    pub fn unit(mut self, unit: &'a str) -> Self {
        self.unit = unit;
        self
    }

    /// Decimals shown.
    pub fn decimals(mut self, decimals: usize) -> Self {
        self.decimals = decimals;
        self
    }

    /// The grid values snap to, and what one key press or one click of the wheel adds.
    pub fn step(mut self, step: f64) -> Self {
        self.step = step;
        self
    }

    /// Text size in points.
    pub fn size(mut self, size: f32) -> Self {
        self.size = size;
        self
    }

    /// Grey the field out when there is a reason, which becomes its tooltip.
    pub fn disabled(mut self, reason: Option<&'a str>) -> Self {
        self.disabled = reason;
        self
    }

    fn limits(&self) -> (f64, f64) {
        let (a, b) = (*self.range.start(), *self.range.end());
        (a.min(b), a.max(b))
    }

    /// The number as shown, with a real minus sign.
    fn shown(&self) -> String {
        format!("{:.*}", self.decimals, *self.value).replace('-', "−")
    }

    fn put(&mut self, wanted: f64) {
        let (low, high) = self.limits();
        *self.value = snap(wanted, low, high, self.step);
    }

    fn row_height(&self) -> f32 {
        (self.size * 1.2).max(space::FIELD).round()
    }

    /// Width of the unit with the gap before it, in points.
    fn unit_width(&self, ui: &Ui) -> f32 {
        if self.unit.is_empty() {
            return 0.0;
        }
        let ink = tokens(ui).text2;
        UNIT_GAP + galley(ui, self.unit, size::BODY, weight::TEXT, ink).size().x
    }

    /// Paint the unit after a number whose line starts at `top` and ends at `right`.
    fn paint_unit(&self, ui: &Ui, right: f32, top: f32, ink: Color32) {
        let unit = galley(ui, self.unit, size::BODY, weight::TEXT, ink);
        // Both texts stand on one base line.
        let drop = baseline(self.size) - baseline(size::BODY);
        ui.painter().galley(pos2(right + UNIT_GAP, top + drop), unit, ink);
    }

    /// The closed field: a number and its unit.
    fn closed_ui(&mut self, ui: &mut Ui, id: Id, memory: &mut Memory) -> Response {
        let t = tokens(ui);
        let enabled = self.disabled.is_none() && ui.is_enabled();
        let (ink, unit_ink) = if enabled { (t.text1, t.text2) } else { (t.text3, t.text3) };
        let number = galley(ui, self.shown(), self.size, weight::TITLE, ink);
        let wanted = vec2(number.size().x + self.unit_width(ui), self.row_height());
        let (_, rect) = ui.allocate_space(wanted);
        // The open field spends one more automatic id: keep those of later widgets the same.
        ui.skip_ahead_auto_ids(1);
        let sense = if enabled { Sense::click_and_drag() } else { Sense::hover() };
        let frame = rect.expand2(vec2(PADDING, 0.0));
        let response = ui.interact(frame, id, sense);
        if enabled {
            self.closed_input(ui, &response, memory);
        }
        if ui.is_rect_visible(rect) {
            let painter = ui.painter();
            if enabled && (response.hovered() || response.dragged()) {
                let ground = if response.dragged() { t.bg3 } else { t.bg2 };
                painter.rect_filled(frame, CornerRadius::same(space::RADIUS), ground);
            }
            if response.has_focus() {
                paint_focus_ring(painter, frame, f32::from(space::RADIUS), t);
            }
            let place = Align2::LEFT_CENTER.anchor_size(rect.left_center(), number.size());
            painter.galley(place.min, number, ink);
            self.paint_unit(ui, place.right(), place.top(), unit_ink);
        }
        response
    }

    /// Pointer, wheel and keys on the closed field.
    fn closed_input(&mut self, ui: &Ui, response: &Response, memory: &mut Memory) {
        if response.dragged() {
            let exact = memory.dragged.unwrap_or(*self.value);
            let delta = response.drag_delta();
            let moved = f64::from((delta.x - delta.y) / POINTS_PER_STEP) * self.step;
            let (low, high) = self.limits();
            let exact = (exact + moved).clamp(low, high);
            memory.dragged = Some(exact);
            self.put(exact);
        } else {
            memory.dragged = None;
        }
        let mut steps = value_steps(ui, response);
        if response.hovered() {
            memory.rolled += rolled(ui, POINTS_PER_CLICK);
            keep_from_scrolling(ui);
            steps += memory.rolled.trunc();
            memory.rolled = memory.rolled.fract();
        }
        if steps != 0.0 {
            self.put(*self.value + steps * self.step);
        }
        if let Some(request) = value_request(ui, response) {
            self.put(request);
        }
        // A click opens the field, and so do Enter and Space on a focused one, which egui reports
        // as a click too.
        if response.clicked() {
            memory.text = Some(self.shown());
            memory.fresh = true;
        }
    }

    /// The open field: a text edit of the same size. `memory.text` is taken when it closes.
    fn open_ui(&mut self, ui: &mut Ui, id: Id, memory: &mut Memory) -> Response {
        let t = tokens(ui);
        let mut text = memory.text.take().unwrap_or_default();
        let number = galley(ui, text.as_str(), self.size, weight::TITLE, t.text1).size();
        // Room for the caret, and for a digit when everything is deleted.
        let width = (number.x + 2.0).max(self.size * 0.7);
        let height = self.row_height();
        let (_, rect) = ui.allocate_space(vec2(width + self.unit_width(ui), height));
        let frame = rect.expand2(vec2(PADDING, 0.0));
        ui.painter().rect_filled(frame, CornerRadius::same(space::RADIUS), t.bg2);
        let mut layouter = |ui: &Ui, text: &dyn egui::TextBuffer, _wrap: f32| {
            let format = text_format(self.size, weight::TITLE, t.text1);
            let job = egui::text::LayoutJob::single_section(text.as_str().to_owned(), format);
            ui.fonts_mut(|fonts| fonts.layout_job(job))
        };
        let edit = TextEdit::singleline(&mut text)
            .id(id)
            .frame(egui::Frame::NONE)
            .margin(egui::Margin::ZERO)
            .align(Align2::LEFT_CENTER)
            .desired_width(width)
            .layouter(&mut layouter);
        let inner = Rect::from_min_size(rect.min, vec2(width, height));
        let mut response = ui.put(inner, edit);
        // The edit reports every keystroke, but this field changes only when it closes.
        response.flags.remove(egui::response::Flags::CHANGED);
        let top = rect.center().y - number.y / 2.0;
        self.paint_unit(ui, rect.left() + width, top, t.text2);
        paint_focus_ring(ui.painter(), frame, f32::from(space::RADIUS), t);
        if memory.fresh {
            memory.fresh = false;
            response.request_focus();
            select_all(ui, id, &text);
        } else if response.lost_focus() || !response.has_focus() {
            self.close(ui, &response, &text);
            return response;
        }
        memory.text = Some(text);
        response
    }

    /// Take the typed text, unless Escape says to forget it.
    fn close(&mut self, ui: &Ui, response: &Response, text: &str) {
        let (enter, escape) = ui.input(|input| (input.key_pressed(Key::Enter), input.key_pressed(Key::Escape)));
        if let Some(number) = parse(text, self.unit).filter(|_| !escape) {
            self.put(number);
        }
        // A keyboard user goes on from here, not from the top of the window.
        if enter || escape {
            response.request_focus();
        }
    }
}

/// Distance from the top of a line to its base line, in points, at a text size.
fn baseline(size: f32) -> f32 {
    // Ascent of the bundled face: 1984 of 2048 units.
    size * 0.968_75
}

fn select_all(ui: &Ui, id: Id, text: &str) {
    use egui::text::{CCursor, CCursorRange};
    let mut state = egui::text_edit::TextEditState::load(ui, id).unwrap_or_default();
    let end = CCursor::new(text.chars().count());
    let range = CCursorRange::two(CCursor::default(), end);
    state.cursor.set_char_range(Some(range));
    state.store(ui, id);
}

/// Read what a person types: spaces, the unit, a comma for a point and a real minus are all fine.
fn parse(text: &str, unit: &str) -> Option<f64> {
    let mut text = text.trim();
    for end in unit.split_whitespace().rev() {
        text = text.strip_suffix(end).unwrap_or(text).trim_end();
    }
    let text = text.strip_suffix('%').unwrap_or(text);
    let plain: String =
        text.chars().filter(|sign| !sign.is_whitespace()).map(|sign| if sign == '−' { '-' } else { sign }).collect();
    let plain = if plain.contains('.') { plain.replace(',', "") } else { plain.replace(',', ".") };
    plain.parse::<f64>().ok().filter(|number| number.is_finite())
}

impl Widget for ValueField<'_> {
    fn ui(mut self, ui: &mut Ui) -> Response {
        let id = ui.next_auto_id().with("value field");
        let memory_id = id.with("memory");
        let mut memory: Memory = ui.data_mut(|data| data.get_temp(memory_id).unwrap_or_default());
        let old = *self.value;
        let enabled = self.disabled.is_none() && ui.is_enabled();
        let opening = memory.text.is_some();
        let mut response = if opening && enabled {
            self.open_ui(ui, id, &mut memory)
        } else {
            memory.text = None;
            self.closed_ui(ui, id, &mut memory)
        };
        ui.data_mut(|data| data.insert_temp(memory_id, memory));
        if self.value.to_bits() != old.to_bits() {
            response.mark_changed();
        }
        let (value, name) = (*self.value, self.name);
        response.widget_info(|| WidgetInfo {
            enabled,
            label: Some(name.to_owned()),
            value: Some(value),
            ..WidgetInfo::new(Role::SpinButton)
        });
        let (low, high) = self.limits();
        let text = format!("{} {}", self.shown(), self.unit);
        let step = self.step;
        speak_range(ui, &response, &SpokenRange { value, low, high, step, text });
        match self.disabled {
            Some(reason) => response.on_hover_text(reason),
            None if enabled && !opening => response.on_hover_cursor(CursorIcon::ResizeHorizontal),
            None => response,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn typed_numbers_are_read_generously() {
        assert_eq!(parse(" 45.5 % pruned ", "% pruned"), Some(45.5));
        assert_eq!(parse("45,5", "% pruned"), Some(45.5));
        assert_eq!(parse("1,045.5", ""), Some(1045.5));
        assert_eq!(parse("−3", ""), Some(-3.0));
        assert_eq!(parse("4 bits", "bits"), Some(4.0));
        assert_eq!(parse("12%", ""), Some(12.0));
        assert_eq!(parse("", ""), None);
        assert_eq!(parse("many", ""), None);
        assert_eq!(parse("inf", ""), None);
    }
}
