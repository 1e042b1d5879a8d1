//! Small parts the panels are made of: they know colours and numbers, never a model.
//!
//! Every part draws itself flat, answers to the keyboard, and carries an accessible name, so a
//! screen reader and a test find it the same way.

mod bar;
mod chip;
mod choice;
mod icons;
mod kind_chip;
mod pill;
mod segmented;
mod slider;
mod spark;
mod stacked_bar;
mod switch;
mod tabs;
mod value_field;

#[cfg(test)]
mod tests;

pub use bar::{Bar, paint_bar};
pub use chip::Chip;
pub use choice::{Choice, Entry};
pub use icons::{Icon, IconButton, combo_icon, paint_logo};
pub use kind_chip::{Kind, KindChip, paint_kind_mark};
pub use pill::{Grip, GripLook, paint_grip, paint_pill, paint_tag};
pub use segmented::{Segmented, SegmentedLook};
pub use slider::Slider;
pub use spark::{Spark, paint_spark};
pub use stacked_bar::{Part, StackedBar, StackedBarResponse, paint_stacked_bar};
pub use switch::Switch;
pub use tabs::Tabs;
pub use value_field::ValueField;

use egui::{Color32, CornerRadius, Event, Key, MouseWheelUnit, Painter, Rect, Response, Stroke, StrokeKind, Ui, Vec2};

use super::theme::{Tokens, stroke};

/// Paint the two-point accent ring outside a focused control.
///
/// `radius` is the corner radius of the control itself, in points.
pub fn paint_focus_ring(painter: &Painter, rect: Rect, radius: f32, t: &Tokens) {
    // Where a panel clips tightly the ring still has to show, hence no gap to the control.
    painter.rect_stroke(
        rect.expand(1.0),
        CornerRadius::from(radius + 1.0),
        Stroke::new(stroke::FRONTIER, t.accent),
        StrokeKind::Outside,
    );
}

/// Colours of a control that can be chosen: ground and text.
///
/// `None` as ground means nothing is filled.
fn choice_colours(response: &Response, enabled: bool, chosen: bool, t: &Tokens) -> (Option<Color32>, Color32) {
    if chosen || (enabled && response.is_pointer_button_down_on()) {
        (Some(t.bg3), if enabled { t.text1 } else { t.text2 })
    } else if !enabled {
        (None, t.text3)
    } else if response.hovered() {
        (Some(t.bg2), t.text1)
    } else {
        (None, t.text2)
    }
}

/// Steps asked for by arrow keys and by a screen reader: Shift makes a key count ten.
///
/// Also keeps the arrow keys from moving the focus while the control has it.
pub(in crate::app) fn value_steps(ui: &Ui, response: &Response) -> f64 {
    use egui::accesskit::Action;
    let mut steps = 0.0;
    if response.has_focus() {
        let filter =
            egui::EventFilter { horizontal_arrows: true, vertical_arrows: true, ..egui::EventFilter::default() };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
        steps += ui.input(|input| input.events.iter().map(key_steps).sum::<f64>());
    }
    ui.input(|input| {
        let up = input.num_accesskit_action_requests(response.id, Action::Increment);
        let down = input.num_accesskit_action_requests(response.id, Action::Decrement);
        steps + up as f64 - down as f64
    })
}

fn key_steps(event: &Event) -> f64 {
    let Event::Key { key, pressed: true, modifiers, .. } = event else {
        return 0.0;
    };
    let size = if modifiers.shift { 10.0 } else { 1.0 };
    match key {
        Key::ArrowRight | Key::ArrowUp => size,
        Key::ArrowLeft | Key::ArrowDown => -size,
        Key::PageUp => 10.0,
        Key::PageDown => -10.0,
        _ => 0.0,
    }
}

/// The number a screen reader asked this control to take, if it did so in this frame.
pub(in crate::app) fn value_request(ui: &Ui, response: &Response) -> Option<f64> {
    use egui::accesskit::{Action, ActionData};
    ui.input(|input| {
        input
            .accesskit_action_requests(response.id, Action::SetValue)
            .filter_map(|request| match request.data {
                Some(ActionData::NumericValue(value)) => Some(value),
                _ => None,
            })
            .last()
    })
}

/// Clicks of the wheel in this frame; a trackpad's count as one for so many points.
pub(in crate::app) fn rolled(ui: &Ui, points_per_click: f32) -> f64 {
    let clicks = |event: &Event| match event {
        // With Control the wheel zooms.
        Event::MouseWheel { modifiers, .. } if modifiers.command => 0.0,
        Event::MouseWheel { unit, delta, modifiers, .. } => {
            // Some systems turn the wheel on its side when Shift is held.
            let delta = if modifiers.shift && delta.y == 0.0 { delta.x } else { delta.y };
            match unit {
                MouseWheelUnit::Point => delta / points_per_click,
                MouseWheelUnit::Line => delta,
                MouseWheelUnit::Page => 10.0 * delta,
            }
        }
        _ => 0.0,
    };
    ui.input(|input| f64::from(input.events.iter().map(clicks).sum::<f32>()))
}

/// Takes this frame's scrolling away from whatever is around.
pub(in crate::app) fn keep_from_scrolling(ui: &Ui) {
    ui.input_mut(|input| input.smooth_scroll_delta = Vec2::ZERO);
}

/// A numeric range as screen readers are told about it.
pub(in crate::app) struct SpokenRange {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub step: f64,
    pub text: String,
}

/// Tell screen readers the limits, the step and the wording of a numeric control.
pub(in crate::app) fn speak_range(ui: &Ui, response: &Response, spoken: &SpokenRange) {
    use egui::accesskit::Action;
    ui.ctx().accesskit_node_builder(response.id, |node| {
        node.set_min_numeric_value(spoken.low);
        node.set_max_numeric_value(spoken.high);
        node.set_numeric_value_step(spoken.step);
        node.set_value(spoken.text.clone());
        if response.enabled() {
            node.add_action(Action::SetValue);
            if spoken.value < spoken.high {
                node.add_action(Action::Increment);
            }
            if spoken.value > spoken.low {
                node.add_action(Action::Decrement);
            }
        }
    });
}

/// `value` brought onto the grid of steps that starts at `low`, and into the range.
///
/// The range's ends stay reachable even when the step does not divide it.
fn snap(value: f64, low: f64, high: f64, step: f64) -> f64 {
    if value.is_nan() || value <= low {
        return low;
    }
    if value >= high {
        return high;
    }
    if step <= 0.0 {
        return value;
    }
    let snapped = low + ((value - low) / step).round() * step;
    // Sixteen digits of a sum like 0.1 + 0.2 are noise in a field: keep twelve.
    let scale = 1e12 / 10f64.powf(snapped.abs().max(1e-12).log10().ceil());
    ((snapped * scale).round() / scale).clamp(low, high)
}
