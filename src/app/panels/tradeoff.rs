//! Size against quality: where the hand is, the path it walked, and the uniform baseline it has to beat.

use super::plot::step_for;
use crate::app::command::Command;
use crate::app::format;
use crate::app::state::View;
use crate::app::theme::{self, Tokens, paint_text, size, stroke, tokens, weight};
use crate::app::widgets::{Kind, KindChip, Segmented};
use crate::session::Live;
use crate::session::live::PathPoint;
use egui::{Align, Align2, Layout, Pos2, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

/// Where sizes and qualities are on the plot.
struct Axes {
    area: Rect,
    bytes: (f64, f64),
    quality: (f64, f64),
}

impl Axes {
    /// A point; one that leaves the plot stands at its border.
    fn at(&self, bytes: f64, quality: f64) -> Pos2 {
        self.within(0.02, bytes, quality)
    }

    /// A point that may leave the plot by some of its size, so that lines to it keep their slope.
    fn within(&self, slack: f64, bytes: f64, quality: f64) -> Pos2 {
        let share =
            |value: f64, (low, high): (f64, f64)| ((value - low) / (high - low)).clamp(-slack, 1.0 + slack) as f32;
        let x = self.area.left() + share(bytes, self.bytes) * self.area.width();
        pos2(x, self.area.bottom() - share(quality, self.quality) * self.area.height())
    }
}

/// Draws the plot.
pub fn tradeoff_ui(ui: &mut Ui, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let rect = ui.max_rect();
    let head = Rect::from_min_size(rect.min + vec2(16.0, 8.0), vec2(rect.width() - 32.0, 24.0));
    let mut head_ui = ui.new_child(egui::UiBuilder::new().max_rect(head).layout(Layout::left_to_right(Align::Center)));
    head_ui.label(theme::title("Trade-off"));
    let measured = live.network.is_some() && view.quality == 0;
    if live.network.is_some() {
        head_ui.add(Segmented::new(&mut view.quality, &["accuracy", "fidelity"], "Quality").chips());
    } else {
        head_ui.label(theme::hint("fidelity % by size"));
    }
    head_ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        let label = live.totals.as_ref().map_or(crate::estimate::Label::Exact, |totals| totals.label);
        let kind = if measured { Kind::Measured } else { Kind::of(label) };
        let waits = measured && !live.measured.as_ref().is_some_and(|m| m.fresh);
        ui.add(KindChip::new(kind).stale(!live.is_fresh() || waits).about("Trade-off"));
    });
    let area = Rect::from_min_max(rect.min + vec2(48.0, 44.0), rect.max - vec2(20.0, 30.0));
    if area.height() < 40.0 {
        return;
    }
    let Some(totals) = &live.totals else { return };
    // A measurement belongs to the recipe it was made with: until the new one is there, the point stays where it was.
    let known = live.measured.as_ref().filter(|m| m.fresh).map(|m| m.accuracy.percent());
    let waits = measured && known.is_none();
    let here = PathPoint { bytes: totals.bytes, fidelity: totals.fidelity, accuracy: known };
    let now = if waits { live.path.last().copied().unwrap_or(here) } else { here };
    let axes = axes(live, area, now, measured);
    paint_axes(ui, &axes, t);
    if let Some(source) = live.source_accuracy.filter(|_| measured) {
        let y = axes.at(0.0, source.percent()).y;
        ui.painter().extend(egui::Shape::dashed_line(
            &[pos2(area.left(), y), pos2(area.right(), y)],
            Stroke::new(1.0, t.before),
            stroke::DASH_REFERENCE[0],
            stroke::DASH_REFERENCE[1],
        ));
        paint_text(
            ui.painter(),
            pos2(area.left() + 4.0, y - 8.0),
            Align2::LEFT_CENTER,
            "source",
            size::TICK,
            weight::TEXT,
            t.text3,
        );
    }
    baseline_ui(ui, &axes, live, measured, t, commands);
    paint_path(ui, &axes, live, measured, t);
    paint_now(ui, &axes, live, now, measured, if waits { t.text3 } else { t.text1 });
    let response = ui.interact(area, ui.scope_id().with("tradeoff"), Sense::hover());
    let words = format!("Trade-off: {} at {:.1} % fidelity", format::bytes_text(now.bytes), now.fidelity);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, words.clone()));
}

fn quality(point: &PathPoint, measured: bool) -> Option<f64> {
    if measured { point.accuracy } else { Some(point.fidelity) }
}

fn axes(live: &Live, area: Rect, now: PathPoint, measured: bool) -> Axes {
    let baseline =
        live.baseline.iter().map(|b| PathPoint { bytes: b.bytes, fidelity: b.fidelity, accuracy: b.accuracy });
    let points: Vec<PathPoint> = live.path.iter().copied().chain(baseline).chain([now]).collect();
    let largest = points.iter().map(|p| p.bytes).max().unwrap_or(1).max(1) as f64;
    // The part worth seeing: everything down to a third of the way, lost points stay at the floor.
    let qualities = || points.iter().filter_map(|p| quality(p, measured));
    let best =
        qualities().fold(0.0, f64::max).max(live.source_accuracy.filter(|_| measured).map_or(0.0, |a| a.percent()));
    let current = quality(&now, measured).unwrap_or(best);
    let useful = qualities().filter(|q| *q > best - 12.0).fold(best, f64::min).min(current);
    let low = (useful - 1.0).max(0.0).floor();
    Axes { area, bytes: (0.0, largest * 1.08), quality: (low, (best + 0.4).min(100.6).max(low + 1.0)) }
}

fn paint_axes(ui: &Ui, axes: &Axes, t: &Tokens) {
    let painter = ui.painter();
    let tick = |at: Pos2, anchor, text: String| {
        paint_text(painter, at, anchor, text, size::TICK, weight::TEXT, t.text3);
    };
    let (low, high) = axes.quality;
    let step = step_for(high - low, 5.0);
    let mut value = (low / step).ceil() * step;
    while value <= high {
        let y = axes.at(0.0, value).y;
        painter.hline(axes.area.x_range(), y, Stroke::new(1.0, t.grid));
        let decimals = usize::from(step < 1.0);
        tick(pos2(axes.area.left() - 8.0, y), Align2::RIGHT_CENTER, format!("{value:.decimals$}"));
        value += step;
    }
    // Kibibytes for what is small; the axis says which.
    let (unit, word) = if axes.bytes.1 < 4.0 * 1_048_576.0 { (1024.0, "KiB") } else { (1_048_576.0, "MiB") };
    tick(pos2(axes.area.right() + 12.0, axes.area.bottom() + 12.0), Align2::RIGHT_CENTER, word.into());
    let step = step_for(axes.bytes.1 / unit, 4.0);
    let mut value = 0.0;
    // The last tick's place belongs to the unit.
    while value * unit <= 0.9 * axes.bytes.1 {
        let x = axes.at(value * unit, low).x;
        painter.vline(x, axes.area.y_range(), Stroke::new(1.0, t.grid));
        let decimals = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
        tick(pos2(x, axes.area.bottom() + 12.0), Align2::CENTER_CENTER, format!("{value:.decimals$}"));
        value += step;
    }
    painter.hline(axes.area.x_range(), axes.area.bottom(), Stroke::new(1.0, t.line));
}

fn baseline_ui(ui: &mut Ui, axes: &Axes, live: &Live, measured: bool, t: &Tokens, commands: &mut Vec<Command>) {
    let quality = |b: &crate::session::jobs::BaselinePoint| if measured { b.accuracy } else { Some(b.fidelity) };
    let points: Vec<(&str, Pos2, bool)> = live
        .baseline
        .iter()
        .filter_map(|b| {
            quality(b).map(|q| (b.label.as_str(), axes.within(100.0, b.bytes as f64, q), q >= axes.quality.0))
        })
        .collect();
    let painter = ui.painter_at(axes.area.expand(6.0));
    let line: Vec<Pos2> = points.iter().map(|p| p.1).collect();
    painter.extend(egui::Shape::dashed_line(&line, Stroke::new(1.25, t.before), stroke::DASH[0], stroke::DASH[1]));
    // A label is left out where it would cover one that is there already.
    let mut labelled: Vec<Pos2> = Vec::new();
    for &(label, at, _) in points.iter().rev().filter(|(_, _, inside)| *inside) {
        painter.circle(at, 3.0, t.bg1, Stroke::new(1.25, t.before));
        // Its middle: right of the point, and inside the plot.
        let half = 3.0 * label.len() as f32;
        let place = pos2((at.x + half).min(axes.area.right() + 6.0 - half), at.y + 11.0);
        if labelled.iter().all(|other| (place - *other).abs().x > 13.0 + half || (place - *other).abs().y > 11.0) {
            paint_text(&painter, place, Align2::CENTER_CENTER, label.to_owned(), size::TICK, weight::TEXT, t.text3);
            labelled.push(place);
        }
    }
    if points.len() > 1 {
        // Where nothing is ever drawn: little that is good is small, and accuracy has its own line up there.
        let (at, anchor) = if measured {
            (pos2(axes.area.right(), axes.area.bottom() - 10.0), Align2::RIGHT_CENTER)
        } else {
            (axes.area.left_top() + vec2(6.0, 8.0), Align2::LEFT_CENTER)
        };
        paint_text(&painter, at, anchor, "dashed: uniform bits", size::TICK, weight::TEXT, t.text3);
    } else if !live.baseline_runs() && live.profile_progress().is_none() && live.has_baseline() {
        let at = Rect::from_center_size(axes.area.center(), vec2(170.0, 24.0));
        let button = egui::Button::new(theme::label("Compute uniform baseline"));
        if ui
            .put(at, button)
            .on_hover_text("8, 6, 5, 4, 3 and 2 bits everywhere, as far as the target has them")
            .clicked()
        {
            commands.push(Command::Baseline);
        }
    }
}

fn paint_path(ui: &Ui, axes: &Axes, live: &Live, measured: bool, t: &Tokens) {
    let painter = ui.painter_at(axes.area.expand(6.0));
    let points: Vec<Pos2> =
        live.path.iter().filter_map(|p| quality(p, measured).map(|q| axes.at(p.bytes as f64, q))).collect();
    painter.add(egui::Shape::line(points.clone(), Stroke::new(1.5, t.accent.gamma_multiply(0.6))));
    for at in points {
        painter.circle_filled(at, 2.0, t.accent);
    }
}

fn paint_now(ui: &Ui, axes: &Axes, live: &Live, now: PathPoint, measured: bool, ink: egui::Color32) {
    let Some(q) = quality(&now, measured) else { return };
    let at = axes.at(now.bytes as f64, q);
    let painter = ui.painter();
    if let Some(m) = live.measured.as_ref().filter(|_| measured) {
        let half = m.accuracy.standard_error();
        let (a, b) = (axes.at(now.bytes as f64, q - half), axes.at(now.bytes as f64, q + half));
        painter.line_segment([a, b], Stroke::new(1.5, ink));
    }
    painter.circle(at, 5.0, ink, Stroke::new(1.5, tokens(ui).bg1));
    let text = if measured { format!("you  {q:.2} %") } else { format!("you  {q:.1} %") };
    let left = at.x > axes.area.center().x;
    let anchor = if left { Align2::RIGHT_CENTER } else { Align2::LEFT_CENTER };
    let high = at.y > axes.area.bottom() - 24.0;
    let place = at + vec2(if left { -10.0 } else { 10.0 }, if high { -14.0 } else { 14.0 });
    paint_text(painter, place, anchor, text, size::HINT, weight::TITLE, ink);
}
