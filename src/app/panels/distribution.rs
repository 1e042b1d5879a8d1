//! The selected layer's weights before and after on one axis, log counts, with the prune threshold drawn on them and draggable;
//! the clip lines are in `clip`.
//!
//! Under the axis stands the quantization grid: the levels of the unit with the median scale as ticks, and pale bands from
//! the 10th to the 90th percentile of scales.

use crate::app::command::Command;
use crate::app::format;
use crate::app::state::View;
use crate::app::theme::{Tokens, opacity, paint_text, size, stroke, tokens, weight};
use crate::app::widgets::{Grip, GripLook, paint_grip, paint_pill};
use crate::estimate::TensorEstimate;
use crate::kernels::histogram::{BINS, Histogram};
use crate::recipe::{Decimal, Prune, Quantize, Scheme, Scope};
use crate::session::Live;
use egui::{Align2, Color32, Mesh, Pos2, Rect, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

/// Bars across the plot.
const BARS: usize = 161;

/// Where things are: the plot area and its scales.
pub(super) struct Axes {
    pub(super) area: Rect,
    /// Half the axis, in weight units.
    reach: f64,
    /// Power of ten at the top.
    top: f64,
}

impl Axes {
    pub(super) fn x(&self, value: f64) -> f32 {
        let share = (value / self.reach).clamp(-1.0, 1.0) as f32;
        self.area.center().x + share * self.area.width() / 2.0
    }

    pub(super) fn value(&self, x: f32) -> f64 {
        f64::from((x - self.area.center().x) / (self.area.width() / 2.0)) * self.reach
    }

    /// A count's height on the log axis; 0 stays at the ground, 1 stands just above it.
    fn y(&self, count: u64) -> f32 {
        let height = ((1.0 + count as f64).log10() / (1.0 + 10_f64.powf(self.top)).log10()) as f32;
        self.area.bottom() - height.min(1.0) * self.area.height()
    }
}

/// Draws the plot and takes the drag of the threshold.
pub fn distribution_ui(ui: &mut Ui, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let rect = ui.max_rect();
    let t = tokens(ui);
    let index = view.selected;
    let tensor = &live.model.tensors[index];
    let Some(histogram) = live.stats[index].as_ref().and_then(|s| s.histogram.as_ref()) else {
        let words = if !tensor.dtype.is_float() {
            "Not a float tensor: it is listed and passed through as it is"
        } else if live.profile_progress().is_some() {
            "Reading…"
        } else if live.troubles.is_source_changed() {
            "Not read: the model changed while it was open"
        } else if live.unread(index).is_some() {
            "Not read: it could not be read"
        } else {
            "Not read: reading was cancelled"
        };
        paint_text(ui.painter(), rect.center(), Align2::CENTER_CENTER, words, size::BODY, weight::TEXT, t.text2);
        return;
    };
    if tensor.elements() == 0 || histogram.counts.iter().all(|&c| c == 0) {
        let words = if tensor.elements() == 0 { "No elements" } else { "No finite elements" };
        paint_text(ui.painter(), rect.center(), Align2::CENTER_CENTER, words, size::BODY, weight::TEXT, t.text2);
        return;
    }
    let area = Rect::from_min_max(rect.min + vec2(44.0, 20.0), rect.max - vec2(4.0, 62.0));
    let most = histogram.counts.iter().copied().max().unwrap_or(1);
    let reach = if histogram.range > 0.0 { (histogram.reach(0.9999) * 1.06).min(histogram.range) } else { 1.0 };
    let before = histogram.bars(reach, BARS);
    let tallest = before.iter().map(|b| b.2).max().unwrap_or(1).max(u64::from(most));
    let axes = Axes { area, reach, top: (tallest as f64).log10().ceil().max(1.0) };
    paint_axes(ui, &axes, t);
    let row = &live.rows[index];
    let changed = !live.scheme(index).is_keep();
    if let Some(after) = row.estimate.as_ref().and_then(|e| e.after.as_ref()).filter(|_| changed) {
        let colour = t.after.gamma_multiply(if row.fresh { opacity::AFTER } else { 0.35 });
        paint_bars(ui, &axes, &after.bars(reach, BARS), colour);
    }
    paint_outline(ui, &axes, &before, t);
    paint_legend(ui, &axes, changed, t);
    if let Some(estimate) = &row.estimate {
        paint_zeros(ui, &axes, estimate, estimate.elements as usize, t);
        paint_grid(ui, &axes, live.scheme(index), estimate, t);
    }
    // The prune lines come later: where both lie together, they take the drag.
    super::clip::clip_ui(ui, &axes, live, view, commands);
    threshold_ui(ui, &axes, live, view, histogram, commands);
}

fn paint_axes(ui: &Ui, axes: &Axes, t: &Tokens) {
    let painter = ui.painter();
    let area = axes.area;
    let tick = |position: Pos2, anchor, text: String| {
        paint_text(painter, position, anchor, text, size::TICK, weight::TEXT, t.text3);
    };
    let mut last = area.bottom();
    for exponent in 0..=axes.top as u32 {
        let y = axes.y(10_u64.saturating_pow(exponent));
        painter.hline(area.x_range(), y, Stroke::new(1.0, t.grid));
        // In a low plot not every power has room for its number.
        if last - y > 10.0 {
            tick(pos2(area.left() - 8.0, y), Align2::RIGHT_CENTER, format::power(exponent));
            last = y;
        }
    }
    tick(pos2(area.left() - 8.0, area.bottom()), Align2::RIGHT_CENTER, "0".into());
    painter.hline(area.x_range(), area.bottom(), Stroke::new(1.0, t.line));
    // A tick every hundred points or so, so that labels keep apart.
    let step = nice_step_up(axes.reach / f64::from((area.width() / 150.0).max(1.0)));
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let y = area.bottom() + 36.0;
    let count = (axes.reach / step).floor() as i32;
    for i in -count..=count {
        let value = f64::from(i) * step;
        let text = match i {
            0 => "0".into(),
            _ if decimals > 5 || step >= 1e5 => format!("{value:+.0e}").replace('-', "−"),
            _ => format!("{value:+.decimals$}").replace('-', "−"),
        };
        tick(pos2(axes.x(value), y), Align2::CENTER_CENTER, text);
    }
    let y = y + 17.0;
    tick(pos2(area.left(), y), Align2::LEFT_CENTER, "weight value".into());
}

/// 1, 2 or 5 times a power of ten, not above `raw`.
fn nice_step(raw: f64) -> f64 {
    let power = 10_f64.powf(raw.log10().floor());
    let lead = raw / power;
    power
        * if lead >= 5.0 {
            5.0
        } else if lead >= 2.0 {
            2.0
        } else {
            1.0
        }
}

/// 1, 2 or 5 times a power of ten, not below `raw`.
fn nice_step_up(raw: f64) -> f64 {
    let below = nice_step(raw);
    let lead = below / 10_f64.powf(below.log10().floor());
    if below >= raw {
        below
    } else {
        below
            * if lead >= 4.0 {
                2.0
            } else if lead >= 1.5 {
                2.5
            } else {
                2.0
            }
    }
}

fn paint_bars(ui: &Ui, axes: &Axes, bars: &[(f64, f64, u64)], colour: Color32) {
    // One mesh for all bars: no seams between neighbours, and a fraction of the triangles.
    let mut mesh = Mesh::default();
    for &(low, high, count) in bars.iter().filter(|b| b.2 > 0) {
        let rect = Rect::from_min_max(pos2(axes.x(low), axes.y(count)), pos2(axes.x(high), axes.area.bottom()));
        mesh.add_colored_rect(rect, colour);
    }
    ui.painter().add(mesh);
}

fn paint_outline(ui: &Ui, axes: &Axes, bars: &[(f64, f64, u64)], t: &Tokens) {
    paint_bars(ui, axes, bars, t.before.gamma_multiply(opacity::BEFORE));
    let corners = bars.iter().flat_map(|&(low, high, count)| {
        let y = axes.y(count);
        [pos2(axes.x(low), y), pos2(axes.x(high), y)]
    });
    ui.painter().add(egui::Shape::line(corners.collect(), Stroke::new(stroke::BEFORE, t.before)));
}

fn paint_legend(ui: &Ui, axes: &Axes, changed: bool, t: &Tokens) {
    let painter = ui.painter();
    let row = |i: f32, text: &str, colour: Color32| {
        let at = axes.area.min + vec2(10.0, 12.0 + 16.0 * i);
        painter.rect_filled(Rect::from_center_size(at, vec2(8.0, 8.0)), 1.0, colour);
        paint_text(painter, at + vec2(9.0, 0.0), Align2::LEFT_CENTER, text, size::HINT, weight::TEXT, t.text2);
    };
    row(0.0, "before", t.before);
    if changed {
        row(1.0, "after", t.after);
    }
}

fn paint_zeros(ui: &Ui, axes: &Axes, estimate: &TensorEstimate, elements: usize, t: &Tokens) {
    let Some(errors) = estimate.errors.as_ref().filter(|e| e.zeros > 0) else { return };
    let text = format!("{} % zeros", format::percent(errors.zeros as f64 / elements as f64, 1));
    let at = pos2(axes.area.center().x, axes.area.top() - 9.0);
    paint_text(ui.painter(), at, Align2::CENTER_CENTER, text, size::HINT, weight::VALUE, t.text1);
}

/// The levels that are left, under the axis.
fn paint_grid(ui: &Ui, axes: &Axes, scheme: &Scheme, estimate: &TensorEstimate, t: &Tokens) {
    let painter = ui.painter();
    let y = axes.area.bottom() + 14.0;
    let (Some(Quantize::Int { bits, asymmetric, .. }), Some([low, median, high])) = (&scheme.quantize, estimate.scales)
    else {
        return;
    };
    paint_text(
        painter,
        pos2(axes.area.left() - 8.0, y),
        Align2::RIGHT_CENTER,
        "grid",
        size::TICK,
        weight::TEXT,
        t.text3,
    );
    let top = if *asymmetric { 1 << (bits - 1) } else { (1 << (bits - 1)) - 1 };
    let clip = painter.with_clip_rect(axes.area.expand2(vec2(0.0, 40.0)).intersect(ui.clip_rect()));
    for level in -top..=top {
        let at = |scale: f64| f64::from(level) * scale;
        if at(median).abs() > axes.reach {
            continue;
        }
        let (a, b) = (axes.x(at(low)), axes.x(at(high)));
        let band = Rect::from_min_max(pos2(a.min(b), y - 3.0), pos2(a.max(b), y + 3.0));
        clip.rect_filled(band, 0.0, t.after.gamma_multiply(0.16));
        let colour = if level == 0 { t.before } else { t.after };
        clip.vline(axes.x(at(median)), y - 6.0..=y + 6.0, Stroke::new(1.5, colour));
    }
    let words = if low == high {
        "levels of the grid"
    } else {
        "grid at the median scale; pale bands span the 10–90 % units"
    };
    if axes.area.width() > 420.0 {
        let at = pos2(axes.area.right(), axes.area.bottom() + 53.0);
        paint_text(painter, at, Align2::RIGHT_CENTER, words, size::TICK, weight::TEXT, t.text3);
    }
}

/// The two prune lines, their band, and the drag that moves them.
fn threshold_ui(
    ui: &mut Ui,
    axes: &Axes,
    live: &Live,
    view: &mut View,
    histogram: &Histogram,
    commands: &mut Vec<Command>,
) {
    let t = tokens(ui);
    let index = view.selected;
    if !live.model.tensors[index].is_touchable() {
        return;
    }
    let value = match threshold(live, view, histogram) {
        Ok(value) => value,
        Err(words) => {
            // Weights heap up in the middle, and the legend is on the left.
            let at = pos2(axes.area.right() - 8.0, axes.area.top() + 10.0);
            paint_text(ui.painter(), at, Align2::RIGHT_CENTER, words, size::HINT, weight::TEXT, t.text2);
            return;
        }
    };
    let locked = live.is_locked(index);
    let global = matches!(live.scheme(index).prune, Some(Prune::Magnitude { scope: Scope::Global, .. }));
    let mut grip = Grip::Rest;
    for side in [-1.0, 1.0] {
        let x = axes.x(side * value);
        let line = Rect::from_min_max(pos2(x, axes.area.top()), pos2(x, axes.area.bottom()));
        let name = if side < 0.0 { "Prune threshold below zero" } else { "Prune threshold" };
        // Near zero the two lines share a place; the right one takes the drag, and either direction opens both.
        let sense = if global { Sense::hover() } else { Sense::drag() };
        let response = ui.interact(Grip::hit_area(line), ui.scope_id().with(name), sense);
        response.widget_info(|| WidgetInfo::slider(!global && !locked, value, name));
        if global {
            continue;
        }
        if response.hovered() || response.dragged() {
            ui.set_cursor_icon(egui::CursorIcon::ResizeHorizontal);
            grip = Grip::Hover;
        }
        if response.dragged() {
            view.dragging_threshold = true;
            if let Some(pointer) = response.interact_pointer_pos() {
                let magnitude = axes.value(pointer.x).abs();
                commands.push(set_share(live, view, share_below(histogram, magnitude)));
            }
        }
        if response.drag_stopped() {
            view.dragging_threshold = false;
        }
    }
    let share = live.scheme(index).pruned_share().map_or(0.0, Decimal::to_f64);
    paint_threshold(ui, axes, value, share, grip, locked && view.dragging_threshold, t);
}

/// Where pruning cuts the selected tensor, or what it does in place of a cut.
fn threshold(live: &Live, view: &View, histogram: &Histogram) -> Result<f64, &'static str> {
    let (scheme, row) = (live.scheme(view.selected), &live.rows[view.selected]);
    match &scheme.prune {
        _ if scheme.factorize.is_some() => return Err("two factors: the rank is under Spectrum"),
        Some(Prune::Magnitude { scope: Scope::Row, .. }) => return Err("one threshold per row"),
        None | Some(Prune::Magnitude { .. }) => {}
        Some(Prune::Nm { .. }) => return Err("ranked in each group along a row"),
        Some(Prune::Block { .. }) => return Err("whole blocks, by their energy"),
        Some(Prune::Structured { .. }) => return Err("whole units, by their energy"),
        Some(Prune::Random { .. }) => return Err("drawn by lot, whatever the magnitude"),
        Some(Prune::Mask { .. }) => return Err("zeros taken from another model"),
        Some(Prune::Wanda { .. }) => return Err("ranked by weight and input"),
    }
    let known = row.estimate.as_ref().filter(|_| row.fresh).and_then(|estimate| estimate.threshold);
    let share = scheme.pruned_share().map_or(0.0, Decimal::to_f64);
    Ok(known.unwrap_or_else(|| magnitude_of_share(histogram, share)))
}

fn paint_threshold(ui: &Ui, axes: &Axes, value: f64, share: f64, grip: Grip, locked: bool, t: &Tokens) {
    let painter = ui.painter();
    let (left, right) = (axes.x(-value), axes.x(value));
    if share > 0.0 {
        let band = Rect::from_min_max(pos2(left, axes.area.top()), pos2(right, axes.area.bottom()));
        painter.rect_filled(band, 0.0, t.accent.gamma_multiply(opacity::PRUNE_BAND));
    }
    let middle = axes.area.top() + axes.area.height() * 0.38;
    for x in [left, right] {
        painter.vline(x, axes.area.y_range(), Stroke::new(stroke::HANDLE, t.accent));
        paint_grip(painter, pos2(x, middle), true, grip, GripLook::Filled, t);
    }
    let text = match (locked, share > 0.0) {
        (true, _) => "locked, press L".to_owned(),
        (_, true) => format!("prune |w| < {}", significant(value)),
        _ if grip == Grip::Hover => "drag outwards to prune".to_owned(),
        _ => return,
    };
    let room = axes.area.right() - right > 150.0;
    let (at, anchor) = if room { (right + 10.0, Align2::LEFT_CENTER) } else { (left - 10.0, Align2::RIGHT_CENTER) };
    paint_pill(painter, pos2(at, middle), anchor, &text, t);
}

/// Four significant digits, no exponent for ordinary weights.
fn significant(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let digits = (3.0 - x.abs().log10().floor()).clamp(0.0, 9.0) as usize;
    if (1e-6..1e6).contains(&x.abs()) { format!("{x:.digits$}") } else { format!("{x:.2e}").replace("e-", "e−") }
}

/// The scheme with another pruned share, as a command of the current gesture.
fn set_share(live: &Live, view: &View, share: f64) -> Command {
    let scheme = live.scheme(view.selected);
    let scope = match &scheme.prune {
        Some(Prune::Magnitude { scope, .. }) => *scope,
        _ => Scope::Tensor,
    };
    let share = Decimal::from_f64(share, 3);
    let prune = (!share.is_zero()).then_some(Prune::Magnitude { share, scope });
    let what = format!("prune {}", live.model.tensors[view.selected].name);
    Command::SetScheme { scheme: scheme.clone().with_prune(prune), what, gesture: Some(view.gesture) }
}

/// The share of elements with |w| below a magnitude, from the histogram, bins cut in proportion.
fn share_below(histogram: &Histogram, magnitude: f64) -> f64 {
    let total: u64 = histogram.counts.iter().map(|&c| u64::from(c)).sum();
    let width = 2.0 * histogram.range / BINS as f64;
    if total == 0 || width <= 0.0 {
        return 0.0;
    }
    let held = |bin: usize| {
        let (low, high) = (histogram.edge(bin), histogram.edge(bin + 1));
        let inside = (high.min(magnitude) - low.max(-magnitude)).max(0.0);
        inside / width * f64::from(histogram.counts.get(bin).copied().unwrap_or(0))
    };
    (0..BINS).map(held).sum::<f64>() / total as f64
}

/// The magnitude below which a share of the elements lies: the inverse of [`share_below`].
fn magnitude_of_share(histogram: &Histogram, share: f64) -> f64 {
    if share <= 0.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, histogram.range);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if share_below(histogram, middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_and_magnitude_are_each_others_inverse() {
        let mut histogram = Histogram::new(2.0);
        let values: Vec<f64> = (0..10_000).map(|i| (f64::from(i) / 5000.0 - 1.0).powi(3) * 2.0).collect();
        histogram.add(&values);
        for share in [0.05, 0.3, 0.5, 0.9, 0.99] {
            let magnitude = magnitude_of_share(&histogram, share);
            assert!((share_below(&histogram, magnitude) - share).abs() < 1e-6, "{share}");
        }
        assert_eq!(magnitude_of_share(&histogram, 0.0), 0.0);
        assert_eq!([nice_step(0.033), nice_step(0.09), nice_step(1.0)], [0.02, 0.05, 1.0]);
    }
}
