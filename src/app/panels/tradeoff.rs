//! Size against quality: where the hand is, the path it walked, and the uniform baseline it has to beat.

use super::labels::Labels;
use super::plot::step_for;
use crate::app::command::Command;
use crate::app::format;
use crate::app::state::View;
use crate::app::theme::{self, Tokens, galley, paint_text, size, stroke, tokens, weight};
use crate::app::widgets::{Kind, KindChip, Segmented};
use crate::session::Live;
use crate::session::live::PathPoint;
use egui::{Align, Align2, Color32, Galley, Layout, Pos2, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};
use std::sync::Arc;

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
    let measured = live.network.is_some() && view.quality == 0;
    head_ui(ui, rect, live, view, measured);
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
    let points = baseline_points(&axes, live, measured);
    let you =
        quality(&now, measured).map(|q| You { bytes: now.bytes as f64, quality: q, at: axes.at(now.bytes as f64, q) });
    let mut labels = labels(area, you.as_ref(), &points);
    // Where the hand is comes before all that it is compared with.
    let place =
        you.as_ref().map(|you| labels.insist(you.at, you.galley(ui, measured, t.text1).size(), vec2(10.0, 7.0)));
    if let Some(source) = live.source_accuracy.filter(|_| measured) {
        source_ui(ui, &axes, source.percent(), &mut labels);
    }
    let near = you.as_ref().map(|you| you.at);
    baseline_ui(ui, &axes, (live, &points, near, measured), &mut labels, commands);
    paint_path(ui, &axes, live, measured, t);
    if let (Some(you), Some(place)) = (you, place) {
        paint_you(ui, &axes, live, &you, place, measured, if waits { t.text3 } else { t.text1 });
    }
    let response = ui.interact(area, ui.scope_id().with("tradeoff"), Sense::hover());
    let words = format!("Trade-off: {} at {:.1} % fidelity", format::bytes_text(now.bytes), now.fidelity);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, words.clone()));
}

fn head_ui(ui: &mut Ui, rect: Rect, live: &Live, view: &mut View, measured: bool) {
    let head = Rect::from_min_size(rect.min + vec2(16.0, 8.0), vec2(rect.width() - 32.0, 24.0));
    let mut head = ui.new_child(egui::UiBuilder::new().max_rect(head).layout(Layout::left_to_right(Align::Center)));
    head.label(theme::title("Trade-off"));
    if live.network.is_some() {
        head.add(Segmented::new(&mut view.quality, &["accuracy", "fidelity"], "Quality").chips());
    } else {
        head.label(theme::hint("fidelity % by size"));
    }
    head.with_layout(Layout::right_to_left(Align::Center), |ui| {
        let label = live.totals.as_ref().map_or(crate::estimate::Label::Exact, |totals| totals.label);
        let kind = if measured { Kind::Measured } else { Kind::of(label) };
        let waits = measured && !live.measured.as_ref().is_some_and(|m| m.fresh);
        ui.add(KindChip::new(kind).stale(!live.is_fresh() || waits).about("Trade-off"));
    });
}

/// Where the hand is.
struct You {
    bytes: f64,
    quality: f64,
    at: Pos2,
}

impl You {
    /// What stands beside the point.
    fn galley(&self, ui: &Ui, measured: bool, ink: Color32) -> Arc<Galley> {
        let q = self.quality;
        let text = if measured { format!("you  {q:.2} %") } else { format!("you  {q:.1} %") };
        galley(ui, text, size::HINT, weight::TITLE, ink)
    }
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
        let text = if step < 1.0 { format!("{value:.decimals$}") } else { format::grouped(value.round() as u64) };
        tick(pos2(x, axes.area.bottom() + 12.0), Align2::CENTER_CENTER, text);
        value += step;
    }
    painter.hline(axes.area.x_range(), axes.area.bottom(), Stroke::new(1.0, t.line));
}

/// The accuracy of the untouched network.
fn source_ui(ui: &Ui, axes: &Axes, percent: f64, labels: &mut Labels) {
    let t = tokens(ui);
    let from = pos2(axes.area.left(), axes.at(0.0, percent).y);
    let line = [from, pos2(axes.area.right(), from.y)];
    let [dash, gap] = stroke::DASH_REFERENCE;
    ui.painter().extend(egui::Shape::dashed_line(&line, Stroke::new(1.0, t.before), dash, gap));
    let words = galley(ui, "source", size::TICK, weight::TEXT, t.text3);
    if let Some(place) = labels.place(from, words.size(), vec2(4.0, 2.0)) {
        ui.painter().galley(place.min, words, t.text3);
    }
}

/// The points of the uniform baseline: what each is called, where it is, and whether it is in the plot.
fn baseline_points<'a>(axes: &Axes, live: &'a Live, measured: bool) -> Vec<(&'a str, Pos2, bool)> {
    let quality = |b: &crate::session::jobs::BaselinePoint| if measured { b.accuracy } else { Some(b.fidelity) };
    let point = |b: &'a crate::session::jobs::BaselinePoint| {
        let q = quality(b)?;
        Some((b.label.as_str(), axes.within(100.0, b.bytes as f64, q), q >= axes.quality.0))
    };
    live.baseline.iter().filter_map(point).collect()
}

/// The plot with what no label may cover: the points, and where there is another place the line between them.
fn labels(area: Rect, you: Option<&You>, points: &[(&str, Pos2, bool)]) -> Labels {
    let mut labels = Labels::new(area.expand2(vec2(6.0, 0.0)));
    you.iter().for_each(|you| labels.keep_free(Rect::from_center_size(you.at, vec2(12.0, 12.0))));
    points.iter().filter(|point| point.2).for_each(|p| labels.keep_free(Rect::from_center_size(p.1, vec2(7.0, 7.0))));
    points.windows(2).for_each(|pair| labels.avoid([pair[0].1, pair[1].1]));
    labels
}

fn baseline_ui(
    ui: &mut Ui,
    axes: &Axes,
    (live, points, you, measured): (&Live, &[(&str, Pos2, bool)], Option<Pos2>, bool),
    labels: &mut Labels,
    commands: &mut Vec<Command>,
) {
    let t = tokens(ui);
    let painter = ui.painter_at(axes.area.expand(6.0));
    let line: Vec<Pos2> = points.iter().map(|p| p.1).collect();
    painter.extend(egui::Shape::dashed_line(&line, Stroke::new(1.25, t.before), stroke::DASH[0], stroke::DASH[1]));
    if points.len() > 1 {
        // Where nothing is ever drawn: little that is good is small, and accuracy has its own line up there.
        let corner = if measured { axes.area.right_bottom() } else { axes.area.left_top() };
        let words = galley(ui, "dashed: uniform bits", size::TICK, weight::TEXT, t.text3);
        if let Some(place) = labels.place(corner, words.size(), vec2(6.0, 2.0)) {
            painter.galley(place.min, words, t.text3);
        }
    }
    // The finest first: lower down they crowd together, and a label without a place is left out.
    for &(label, at, _) in points.iter().filter(|(_, _, inside)| *inside) {
        painter.circle(at, 3.0, t.bg1, Stroke::new(1.25, t.before));
        let words = galley(ui, label, size::TICK, weight::TEXT, t.text3);
        // The point of the hand is larger, and may lie on this one.
        let off = if you.is_some_and(|you| you.distance(at) < 10.0) { 10.0 } else { 4.0 };
        if let Some(place) = labels.place(at, words.size(), vec2(4.0, off)) {
            painter.galley(place.min, words, t.text3);
        }
    }
    if points.len() <= 1 && !live.baseline_runs() && live.profile_progress().is_none() && live.has_baseline() {
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

fn paint_you(ui: &Ui, axes: &Axes, live: &Live, you: &You, place: Rect, measured: bool, ink: Color32) {
    let painter = ui.painter();
    if let Some(m) = live.measured.as_ref().filter(|_| measured) {
        let half = m.accuracy.standard_error();
        let ends = [you.quality - half, you.quality + half].map(|quality| axes.at(you.bytes, quality));
        painter.line_segment(ends, Stroke::new(1.5, ink));
    }
    painter.circle(you.at, 5.0, ink, Stroke::new(1.5, tokens(ui).bg1));
    // Where there was no other place, what is under it gives way.
    painter.rect_filled(place, 0.0, tokens(ui).bg1);
    painter.galley(place.min, you.galley(ui, measured, ink), ink);
}
