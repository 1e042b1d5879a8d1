//! The two clip lines on the distribution: where the grid of the median unit ends, drawn on the weights and draggable.
//!
//! Dragging a line inwards gives up what lies beyond it for finer steps within: the scheme's range becomes the percentile at
//! which the median unit is clipped there. Dragged all the way out, it is the full range again.

use super::distribution::Axes;
use crate::app::command::Command;
use crate::app::format;
use crate::app::state::View;
use crate::app::theme::{Tokens, opacity, paint_text, size, stroke, tokens, weight};
use crate::app::widgets::{Grip, GripLook, paint_grip, paint_pill};
use crate::recipe::{Decimal, Quantize, Range, Scheme};
use crate::session::Live;
use egui::{Align2, Rect, Sense, Shape, Stroke, Ui, WidgetInfo, pos2};

/// Digits after the point of a percentile that a drag chooses: one weight in 100,000.
const PLACES: usize = 3;

/// The integer grid that a clip belongs to: symmetric ones alone have one.
fn clippable(scheme: &Scheme) -> Option<(u32, Range)> {
    match scheme.quantize {
        Some(Quantize::Int { bits, asymmetric: false, range, .. }) => Some((bits, range)),
        _ => None,
    }
}

/// Draws the clip lines and takes their drag.
pub(super) fn clip_ui(ui: &mut Ui, axes: &Axes, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let index = view.selected;
    let scheme = live.scheme(index);
    let Some((bits, range)) = clippable(scheme) else {
        view.dragged_clip = None;
        return;
    };
    let top = f64::from((1_i32 << (bits - 1)) - 1);
    let known = live.rows[index].estimate.as_ref().and_then(|e| e.scales).map(|scales| scales[1] * top);
    let Some(value) = view.dragged_clip.or(known).filter(|value| *value > 0.0) else { return };
    let locked = live.is_locked(index);
    let mut grip = Grip::Rest;
    for side in [-1.0, 1.0] {
        let x = axes.x(side * value);
        let line = Rect::from_min_max(pos2(x, axes.area.top()), pos2(x, axes.area.bottom()));
        let name = if side < 0.0 { "Clip range below zero" } else { "Clip range" };
        let response = ui.interact(Grip::hit_area(line), ui.scope_id().with(name), Sense::drag());
        response.widget_info(|| WidgetInfo::slider(!locked, value, name));
        if response.hovered() || response.dragged() {
            ui.set_cursor_icon(egui::CursorIcon::ResizeHorizontal);
            grip = Grip::Hover;
        }
        if response.dragged()
            && let Some(pointer) = response.interact_pointer_pos()
        {
            let magnitude = axes.value(pointer.x).abs();
            view.dragged_clip = (!locked).then_some(magnitude);
            commands.extend(set_clip(live, view, magnitude));
        }
        if response.drag_stopped() {
            view.dragged_clip = None;
        }
    }
    let pill = match range {
        _ if locked => "locked, press L".to_owned(),
        Range::Percentile(q) => format!("clip at p{q}"),
        Range::Mse => "clip searched".to_owned(),
        Range::Max => "drag inwards to clip".to_owned(),
    };
    // At rest the words in the corner say it: a pill would lie on the prune lines.
    if range != Range::Max {
        paint_zones(ui, axes, value, t);
    }
    paint_lines(ui, axes, value, grip, (grip == Grip::Hover).then_some(&pill), t);
    if range != Range::Max {
        paint_words(ui, axes, live, index, value, t);
    }
}

/// What the median unit gives up. A full range gives up nothing: what lies beyond its lines are units with a wider one.
fn paint_zones(ui: &Ui, axes: &Axes, value: f64, t: &Tokens) {
    let area = axes.area;
    for (side, end) in [(-1.0, area.left()), (1.0, area.right())] {
        let x = axes.x(side * value);
        let zone = Rect::from_x_y_ranges(x.min(end)..=x.max(end), area.y_range());
        ui.painter().rect_filled(zone, 0.0, t.text3.gamma_multiply(opacity::CLIP_ZONE));
    }
}

fn paint_lines(ui: &Ui, axes: &Axes, value: f64, grip: Grip, pill: Option<&String>, t: &Tokens) {
    let painter = ui.painter();
    let area = axes.area;
    let height = area.top() + area.height() * 0.24;
    for side in [-1.0, 1.0] {
        let x = axes.x(side * value);
        let line = [pos2(x, area.top()), pos2(x, area.bottom())];
        painter.extend(Shape::dashed_line(&line, Stroke::new(stroke::HANDLE, t.accent), 4.0, 3.0));
        paint_grip(painter, pos2(x, height), true, grip, GripLook::Outline, t);
    }
    let Some(text) = pill else { return };
    let right = axes.x(value);
    let room = area.right() - right > 120.0;
    let (x, anchor) = if room { (right + 10.0, Align2::LEFT_CENTER) } else { (right - 10.0, Align2::RIGHT_CENTER) };
    paint_pill(painter, pos2(x, height), anchor, text, t);
}

/// What the clip is and costs, in the corner that the mock keeps for it.
fn paint_words(ui: &Ui, axes: &Axes, live: &Live, index: usize, value: f64, t: &Tokens) {
    let Some(estimate) = live.rows[index].estimate.as_ref() else { return };
    let full = live.stats[index].as_ref().map_or(0.0, |stats| stats.moments.abs_max());
    let mut lines = vec![format!("clip at {} × max |w|", format::signed(value / full.max(f64::MIN_POSITIVE), 2))];
    if let Some(errors) = estimate.errors.as_ref().filter(|e| e.squared_error > 0.0 && e.clipped_error > 0.0) {
        lines.push(format!(
            "{} % of the error is clipped",
            format::percent(errors.clipped_error / errors.squared_error, 0)
        ));
    }
    for (i, line) in lines.iter().enumerate() {
        let at = pos2(axes.area.right() - 8.0, axes.area.top() + 12.0 + 15.0 * i as f32);
        let colour = if i == 0 { t.text1 } else { t.text2 };
        paint_text(ui.painter(), at, Align2::RIGHT_CENTER, line, size::HINT, weight::TEXT, colour);
    }
}

/// The scheme whose median unit is clipped at a magnitude, as a command of the current gesture.
fn set_clip(live: &Live, view: &View, magnitude: f64) -> Option<Command> {
    let scheme = live.scheme(view.selected);
    let Some(Quantize::Int { bits, unit, asymmetric: false, a8, .. }) = scheme.quantize else { return None };
    let percentile = Decimal::from_f64(live.percentile_of_clip(view.selected, magnitude)?, PLACES);
    let range = match percentile {
        q if q.to_f64() >= 100.0 => Range::Max,
        q if q.is_zero() => Range::Percentile(Decimal::from_f64(0.001, PLACES)),
        q => Range::Percentile(q),
    };
    let quantize = Quantize::Int { bits, unit, asymmetric: false, range, a8 };
    let what = format!("clip {}", live.model.tensors[view.selected].name);
    let scheme = scheme.clone().with_quantize(Some(quantize));
    Some(Command::SetScheme { scheme, what, gesture: Some(view.gesture) })
}
