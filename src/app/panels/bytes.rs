//! The Bytes tab: what each pruned share would cost this layer, and which layers are past the line where zeros begin to pay.

use super::plot::{Frame, caption_ui};
use crate::app::command::Command;
use crate::app::format;
use crate::app::state::View;
use crate::app::theme::{Tokens, galley, paint_text, size, stroke, tokens, weight};
use crate::app::widgets::paint_pill;
use crate::estimate::TensorEstimate;
use crate::estimate::size::{Sizes, break_even, code_bits};
use crate::recipe::{Decimal, Prune, Scope};
use crate::session::Live;
use egui::{Align2, Color32, Rect, Role, Sense, Shape, Stroke, Ui, WidgetInfo, pos2, vec2};

/// Bits that the map of layers reaches to.
const MOST_BITS: f64 = 16.0;

/// The parts of a payload in the order of a stacked bar.
pub(super) fn parts(sizes: &Sizes, t: &Tokens) -> [(&'static str, u64, Color32); 8] {
    let (parts, colours) = (sizes.parts(), t.bytes());
    std::array::from_fn(|i| (parts[i].0, parts[i].1, colours[i]))
}

/// Draws the tab.
pub(super) fn bytes_ui(ui: &mut Ui, live: &Live, view: &View, commands: &mut Vec<Command>) {
    let rect = ui.max_rect();
    // Where there is no room for both, the layer's own bars stay.
    let split = if rect.width() > 460.0 { rect.left() + 0.6 * rect.width() } else { rect.right() };
    let left = Rect::from_min_max(rect.min, pos2(split - 8.0, rect.bottom()));
    bars_ui(ui, left, live, view, commands);
    if split < rect.right() {
        map_ui(ui, Rect::from_min_max(pos2(split + 16.0, rect.top()), rect.max), live, view, commands);
    }
}

/// One stacked bar per pruned share; a click prunes that much.
fn bars_ui(ui: &mut Ui, rect: Rect, live: &Live, view: &View, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let index = view.selected;
    let (tensor, scheme) = (&live.model.tensors[index], live.scheme(index));
    let sweep = live.sweep(index);
    if !sweep.is_whole() {
        // It is made bar by bar, in every frame some of them.
        ui.ctx().request_repaint();
    }
    let bits = code_bits(tensor, scheme);
    let label = sweep.points.iter().map(|point| point.1.label).max();
    let caption = if sweep.points.is_empty() {
        "this layer, by % pruned".to_owned()
    } else {
        format!("KiB of this layer at {bits} bits, by % pruned")
    };
    caption_ui(ui, rect, &caption, label);
    let area = Rect::from_min_max(rect.min + vec2(44.0, 32.0), rect.max - vec2(4.0, 44.0));
    if area.height() < 40.0 {
        return;
    }
    if sweep.points.is_empty() {
        let words = match () {
            () if !sweep.is_whole() => "…",
            () if scheme.factorize.is_some() => "Factors have no zeros: prune or factorize",
            () if tensor.is_coded() && !tensor.is_touchable() => "It is stored as codes, and stays as it is",
            () => "Nothing is known of this layer at once",
        };
        paint_text(ui.painter(), area.center(), Align2::CENTER_CENTER, words, size::BODY, weight::TEXT, t.text2);
        return;
    }
    let most = sweep.points.iter().map(|p| p.1.bytes()).max().unwrap_or(1).max(1) as f64;
    let dense = mask_line(tensor.elements() as f64, bits as f64, &sweep.points[0].1, 0.0);
    let frame = Frame { area, x: (-2.5, 97.5), y: (0.0, (most.max(dense) / 1024.0) * 1.06) };
    let tick = |kib: f64| if frame.y.1 < 5.0 { format!("{kib:.1}") } else { format::grouped(kib.round() as u64) };
    frame.paint_rows(ui.painter(), t, tick);
    let here = scheme.prune.as_ref().and_then(Prune::asked).unwrap_or(0.0);
    let width = (area.width() * 0.72 / 20.0).max(2.0);
    for (share, estimate) in &sweep.points {
        let near = (share - here).abs() < 0.025;
        paint_bar(ui, &frame, *share, estimate, width, near, t);
        bar_click(ui, &frame, *share, estimate, view, live, commands);
    }
    frame.paint_columns(ui.painter(), t, |percent| format!("{percent:.0}"));
    let at = pos2(area.left(), area.bottom() + 32.0);
    legend(ui, at, area.width(), &sweep.points, t);
    if live.target() == crate::recipe::Target::Packed {
        paint_mask_line(ui, &frame, tensor.elements() as f64, bits, &sweep.points[0].1, t);
    }
}

fn paint_bar(ui: &Ui, frame: &Frame, share: f64, estimate: &TensorEstimate, width: f32, near: bool, t: &Tokens) {
    let x = frame.x_at(100.0 * share);
    let mut bottom = frame.area.bottom();
    for (_, bytes, colour) in parts(&estimate.sizes, t).into_iter().filter(|part| part.1 > 0) {
        let height = frame.area.bottom() - frame.y_at(bytes as f64 / 1024.0);
        let bar = Rect::from_min_max(pos2(x - width / 2.0, bottom - height), pos2(x + width / 2.0, bottom));
        ui.painter().rect_filled(bar, 0.0, if near { colour } else { colour.gamma_multiply(0.62) });
        bottom -= height;
    }
    if near {
        let words = format::kib(estimate.bytes());
        let galley = galley(ui, words, size::HINT, weight::TITLE, t.text1);
        // Over its bar, and not over the numbers beside the plot.
        let left = (x - galley.size().x / 2.0).max(frame.area.left());
        ui.painter().galley(pos2(left, bottom - 9.0 - galley.size().y / 2.0), galley, t.text1);
    }
}

/// A bar's own column takes the pointer: what it holds on hover, that share on a click.
fn bar_click(
    ui: &Ui,
    frame: &Frame,
    share: f64,
    estimate: &TensorEstimate,
    view: &View,
    live: &Live,
    commands: &mut Vec<Command>,
) {
    let (left, right) = (frame.x_at(100.0 * share - 2.5), frame.x_at(100.0 * share + 2.5));
    let column = Rect::from_x_y_ranges(left..=right, frame.area.y_range());
    let index = view.selected;
    let locked = live.is_locked(index);
    let response = ui.interact(column, ui.scope_id().with(("share", (1000.0 * share) as u32)), Sense::click());
    let name = format!("Prune {:.0} %", 100.0 * share);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, !locked, name.as_str()));
    let t = tokens(ui);
    let parts = parts(&estimate.sizes, t).into_iter().filter(|part| part.1 > 0);
    let words: Vec<String> = parts.map(|(name, bytes, _)| format!("{name} {}", format::bytes_text(bytes))).collect();
    let clicked = response.clicked();
    response.on_hover_text(format!(
        "{:.0} % pruned: {}\n{}",
        100.0 * share,
        format::bytes_text(estimate.bytes()),
        words.join("\n")
    ));
    if clicked && !locked {
        let scheme = live.scheme(index).clone();
        let share = Decimal::from_f64(share, 2);
        let scope = match scheme.prune {
            Some(Prune::Magnitude { scope, .. }) => scope,
            _ => Scope::Tensor,
        };
        let prune = (!share.is_zero()).then_some(Prune::Magnitude { share, scope });
        let what = format!("prune {}", live.model.tensors[index].name);
        commands.push(Command::SetScheme { scheme: scheme.with_prune(prune), what, gesture: Some(view.gesture) });
    }
}

/// Bytes with a mask at a pruned share: a bit for every element, the codes of the others, and the side data.
fn mask_line(elements: f64, bits: f64, unpruned: &TensorEstimate, share: f64) -> f64 {
    let side = (unpruned.sizes.scales + unpruned.sizes.zero_points + unpruned.sizes.codebook) as f64;
    side + (elements + (1.0 - share) * elements * bits) / 8.0
}

/// What a mask would cost, and where it crosses what dense codes cost.
fn paint_mask_line(ui: &Ui, frame: &Frame, elements: f64, bits: u64, unpruned: &TensorEstimate, t: &Tokens) {
    let painter = ui.painter_at(frame.area.expand(2.0));
    let kib = |share: f64| mask_line(elements, bits as f64, unpruned, share) / 1024.0;
    let line = [frame.at(0.0, kib(0.0)), frame.at(97.5, kib(0.975))];
    painter.extend(Shape::dashed_line(&line, Stroke::new(1.25, t.text1), stroke::DASH[0], stroke::DASH[1]));
    let even = break_even(bits);
    let x = frame.x_at(100.0 * even);
    painter.vline(x, frame.area.y_range(), Stroke::new(stroke::HANDLE, t.accent));
    let words = format!("break-even {} %", format::percent(even, 0));
    let anchor = if x > frame.area.center().x { Align2::RIGHT_CENTER } else { Align2::LEFT_CENTER };
    let off = if x > frame.area.center().x { -6.0 } else { 6.0 };
    paint_pill(ui.painter(), pos2(x + off, frame.area.top() + 10.0), anchor, &words, t);
}

fn legend(ui: &Ui, at: egui::Pos2, width: f32, points: &[(f64, TensorEstimate)], t: &Tokens) {
    let mut x = at.x;
    let used = |name: &str| points.iter().any(|p| parts(&p.1.sizes, t).iter().any(|part| part.0 == name && part.1 > 0));
    for (name, _, colour) in parts(&Sizes::default(), t).into_iter().filter(|part| used(part.0)) {
        let dot = Rect::from_center_size(pos2(x + 4.0, at.y), vec2(8.0, 8.0));
        ui.painter().rect_filled(dot, 1.0, colour);
        let place = pos2(x + 14.0, at.y);
        let text = paint_text(ui.painter(), place, Align2::LEFT_CENTER, name, size::LABEL, weight::TEXT, t.text2);
        x = text.right() + 14.0;
        if x > at.x + width - 60.0 {
            break;
        }
    }
}

/// A layer on the map.
struct Dot {
    index: usize,
    bits: f64,
    zeros: f64,
    pays: bool,
}

fn dots(live: &Live) -> Vec<Dot> {
    let dot = |index: usize| {
        let (tensor, scheme) = (&live.model.tensors[index], live.scheme(index));
        let estimate = live.rows[index].estimate.as_ref()?;
        if !tensor.is_weight_matrix() || scheme.factorize.is_some() {
            return None;
        }
        let bits = code_bits(tensor, scheme) as f64;
        let zeros = estimate.errors.as_ref()?.zeros as f64 / estimate.elements.max(1) as f64;
        Some(Dot { index, bits, zeros, pays: estimate.sizes.mask + estimate.sizes.indices > 0 })
    };
    (0..live.rows.len()).filter_map(dot).collect()
}

/// Zeros against bits: the line 1 / bits, and every layer as a dot.
fn map_ui(ui: &mut Ui, rect: Rect, live: &Live, view: &View, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let dots = dots(live);
    let label = dots.iter().filter_map(|dot| live.rows[dot.index].estimate.as_ref()).map(|e| e.label).max();
    caption_ui(ui, rect, "zeros against bits", label);
    let area = Rect::from_min_max(rect.min + vec2(36.0, 32.0), rect.max - vec2(4.0, 44.0));
    let frame = Frame { area, x: (1.0, MOST_BITS), y: (0.0, 1.0) };
    if area.height() < 40.0 {
        return;
    }
    frame.paint_rows(ui.painter(), t, |zeros| format!("{:.0}", 100.0 * zeros));
    frame.paint_columns(ui.painter(), t, |bits| format!("{bits:.0}"));
    let painter = ui.painter_at(area.expand(6.0));
    let curve: Vec<egui::Pos2> =
        (0..=60).map(|i| 1.0 + f64::from(i) * 0.25).map(|bits| frame.at(bits, 1.0 / bits)).collect();
    painter.extend(Shape::dashed_line(&curve, Stroke::new(1.25, t.text1), stroke::DASH[0], stroke::DASH[1]));
    let response = ui.interact(area, ui.scope_id().with("zeros against bits"), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, "Zeros against bits"));
    let near = |at: egui::Pos2| {
        let far = |dot: &&Dot| frame.at(dot.bits, dot.zeros).distance(at);
        dots.iter().filter(|dot| far(dot) < 8.0).min_by(|a, b| far(a).total_cmp(&far(b)))
    };
    for dot in &dots {
        let colour = if dot.pays { t.mask } else { t.text3 };
        painter.circle_filled(frame.at(dot.bits, dot.zeros), 2.5, colour.gamma_multiply(0.8));
    }
    if let Some(dot) = dots.iter().find(|dot| dot.index == view.selected) {
        painter.circle(frame.at(dot.bits, dot.zeros), 5.0, t.accent, Stroke::new(1.5, t.bg1));
    }
    let words = "above the dashed line zeros pay";
    let at = pos2(area.center().x, area.bottom() + 32.0);
    paint_text(ui.painter(), at, Align2::CENTER_CENTER, words, size::LABEL, weight::TEXT, t.text2);
    if let Some(dot) = response.interact_pointer_pos().filter(|_| response.clicked()).and_then(near) {
        commands.push(Command::Select(dot.index));
    }
    if let Some(dot) = response.hover_pos().and_then(near) {
        let name = crate::formats::error::printable(&live.model.tensors[dot.index].name);
        let words = format!("{name}\n{:.0} bits, {} % zeros", dot.bits, format::percent(dot.zeros, 1));
        response.on_hover_text(words);
    }
}
