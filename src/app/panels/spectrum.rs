//! The Spectrum tab: singular values, the energy that each rank keeps, and the rank as a line that is dragged along them.

use super::plot::{Frame, caption_ui};
use crate::app::command::Command;
use crate::app::format;
use crate::app::state::View;
use crate::app::theme::{Tokens, opacity, paint_text, size, stroke, tokens, weight};
use crate::app::widgets::{Grip, GripLook, paint_grip, paint_pill};
use crate::estimate::{Label, Spectrum};
use crate::model::Tensor;
use crate::recipe::{Factorize, Scheme};
use crate::session::Live;
use egui::{Align2, Color32, CursorIcon, Mesh, Pos2, Rect, Sense, Shape, Stroke, Ui, WidgetInfo, pos2, vec2};

/// Draws the tab. Singular values that are not known yet are asked for.
pub(super) fn spectrum_ui(ui: &mut Ui, live: &Live, view: &View, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let index = view.selected;
    let rect = ui.max_rect();
    let Some(spectrum) = live.spectrum(index) else {
        let words = match live.spectrum_refusal(index) {
            Some(why) => format::plain(why),
            None if live.spectrum_is_coming(index) => "Finding singular values…".to_owned(),
            None if !live.model.tensors[index].is_float_source() => why_none(&live.model.tensors[index]).to_owned(),
            None if live.model.tensors[index].elements() == 0 => "No elements".to_owned(),
            None => {
                commands.push(Command::WantSpectrum(index));
                "Finding singular values…".to_owned()
            }
        };
        paint_text(ui.painter(), rect.center(), Align2::CENTER_CENTER, words, size::BODY, weight::TEXT, t.text2);
        return;
    };
    caption_ui(ui, rect, "singular values, and the energy that the first of them hold", Some(Label::Exact));
    let area = Rect::from_min_max(rect.min + vec2(44.0, 32.0), rect.max - vec2(40.0, 48.0));
    let (full, top) = (spectrum.values.len(), spectrum.values.first().copied().unwrap_or(0.0));
    if area.height() < 40.0 || full == 0 {
        return;
    }
    let frame = Frame { area, x: (0.0, full as f64), y: (0.0, if top > 0.0 { 1.04 * top } else { 1.0 }) };
    frame.paint_rows(ui.painter(), t, |s| if frame.y.1 < 1.0 { format!("{s:.2}") } else { format!("{s:.1}") });
    frame.paint_columns(ui.painter(), t, |rank| format::grouped(rank as u64));
    paint_energy_ticks(ui, area, t);
    let rank = rank_of(live.scheme(index), spectrum);
    paint_values(ui, &frame, spectrum, rank.unwrap_or(full), t);
    paint_energy(ui, &frame, spectrum, t);
    paint_break_even(ui, &frame, spectrum, t);
    rank_line(ui, &frame, spectrum, rank, live, view, commands);
    paint_words(ui, rect, live, index, spectrum, rank, t);
}

/// Why a tensor that is no float source has no spectrum, and the way to one where there is one.
fn why_none(tensor: &Tensor) -> &'static str {
    match () {
        () if tensor.is_coded() && !tensor.is_plain() => {
            "Stored as codes: “Re-tune what is quantized” opens its values"
        }
        () if tensor.is_coded() || tensor.side_of_codes => "Part of an earlier quantization: kept as it is",
        () => "Not a float tensor",
    }
}

/// The rank that a scheme keeps of this spectrum.
fn rank_of(scheme: &Scheme, spectrum: &Spectrum) -> Option<usize> {
    match scheme.factorize? {
        Factorize::Rank(rank) => Some((rank as usize).min(spectrum.values.len())),
        Factorize::Energy(energy) => Some(spectrum.rank_of_energy(energy.to_f64())),
    }
}

fn paint_energy_ticks(ui: &Ui, area: Rect, t: &Tokens) {
    for percent in [20, 40, 60, 80, 100] {
        let at = pos2(area.right() + 8.0, area.bottom() - percent as f32 / 104.0 * area.height());
        let words = format!("{percent}");
        paint_text(ui.painter(), at, Align2::LEFT_CENTER, words, size::TICK, weight::TEXT, t.text3);
    }
    // Over its axis, as a legend: on the plot it would lie on a curve.
    let at = pos2(area.right() + 32.0, area.top() - 6.0);
    let words = paint_text(ui.painter(), at, Align2::RIGHT_CENTER, "energy, %", size::LABEL, weight::TEXT, t.text2);
    let line = words.left() - 18.0..=words.left() - 6.0;
    ui.painter().hline(line, at.y, Stroke::new(1.5, t.mask));
}

/// Points of a curve over ranks, at most one per pixel.
fn curve(frame: &Frame, full: usize, y: impl Fn(usize) -> f32) -> Vec<Pos2> {
    let steps = (frame.area.width() as usize).clamp(2, full.max(2));
    let rank = |step: usize| step * full.saturating_sub(1) / (steps - 1);
    (0..steps).map(|step| pos2(frame.x_at(rank(step) as f64 + 0.5), y(rank(step)))).collect()
}

/// The area under the singular values: what is kept, and paler what is lost.
fn paint_values(ui: &Ui, frame: &Frame, spectrum: &Spectrum, rank: usize, t: &Tokens) {
    let line = curve(frame, spectrum.values.len(), |i| frame.y_at(spectrum.values[i]));
    let edge = frame.x_at(rank as f64);
    let ground = frame.area.bottom();
    for (from, to, colour) in [
        (frame.area.left(), edge, t.after.gamma_multiply(0.4)),
        (edge, frame.area.right(), t.text3.gamma_multiply(opacity::CLIP_ZONE)),
    ] {
        let mut mesh = Mesh::default();
        for pair in line.windows(2).filter(|pair| pair[1].x > from && pair[0].x < to) {
            quad(&mut mesh, [pair[0], pair[1]], ground, colour);
        }
        ui.painter_at(Rect::from_x_y_ranges(from..=to.max(from), frame.area.y_range())).add(Shape::mesh(mesh));
    }
    ui.painter().add(Shape::line(line, Stroke::new(1.5, t.after)));
}

fn quad(mesh: &mut Mesh, [a, b]: [Pos2; 2], ground: f32, colour: Color32) {
    let first = mesh.vertices.len() as u32;
    for at in [a, b, pos2(b.x, ground), pos2(a.x, ground)] {
        mesh.colored_vertex(at, colour);
    }
    mesh.add_triangle(first, first + 1, first + 2);
    mesh.add_triangle(first, first + 2, first + 3);
}

fn paint_energy(ui: &Ui, frame: &Frame, spectrum: &Spectrum, t: &Tokens) {
    let height = |share: f64| frame.area.bottom() - (share / 1.04) as f32 * frame.area.height();
    let line = curve(frame, spectrum.values.len(), |i| height(spectrum.kept(i + 1)));
    ui.painter().add(Shape::line(line, Stroke::new(1.5, t.mask)));
}

/// The rank from which two factors hold no fewer elements than the matrix.
fn paint_break_even(ui: &Ui, frame: &Frame, spectrum: &Spectrum, t: &Tokens) {
    let even = spectrum.break_even_rank();
    let x = frame.x_at(even as f64);
    let line = [pos2(x, frame.area.top()), pos2(x, frame.area.bottom())];
    ui.painter().extend(Shape::dashed_line(&line, Stroke::new(1.0, t.text2), stroke::DASH[0], stroke::DASH[1]));
    let left = x > frame.area.center().x;
    let (at, anchor) = if left { (x - 6.0, Align2::RIGHT_CENTER) } else { (x + 6.0, Align2::LEFT_CENTER) };
    let words = format!("past rank {} no bytes saved", format::grouped(even as u64));
    paint_text(ui.painter(), pos2(at, frame.area.bottom() - 12.0), anchor, words, size::TICK, weight::TEXT, t.text2);
}

/// Why the rank of this layer cannot be dragged.
fn refusal(live: &Live, index: usize) -> Option<&'static str> {
    let locked = live.is_locked(index).then_some("locked, press L");
    locked.or_else(|| super::factorize::refusal(live.scheme(index)))
}

/// The rank as a line; at the right edge, where nothing is factorized, it waits to be dragged in.
fn rank_line(
    ui: &mut Ui,
    frame: &Frame,
    spectrum: &Spectrum,
    rank: Option<usize>,
    live: &Live,
    view: &View,
    commands: &mut Vec<Command>,
) {
    let t = tokens(ui);
    let full = spectrum.values.len();
    let x = frame.x_at(rank.unwrap_or(full) as f64);
    let line = Rect::from_min_max(pos2(x, frame.area.top()), pos2(x, frame.area.bottom()));
    let refusal = refusal(live, view.selected);
    let response = ui.interact(Grip::hit_area(line), ui.scope_id().with("rank line"), Sense::drag());
    response.widget_info(|| WidgetInfo::slider(refusal.is_none(), rank.unwrap_or(full) as f64, "Rank line"));
    let touched = response.hovered() || response.dragged();
    if touched {
        ui.set_cursor_icon(CursorIcon::ResizeHorizontal);
    }
    if let Some(pointer) = response.interact_pointer_pos().filter(|_| response.dragged() && refusal.is_none()) {
        let share = f64::from((pointer.x - frame.area.left()) / frame.area.width()).clamp(0.0, 1.0);
        let rank = ((share * full as f64).round() as usize).max(1);
        let factorize = (rank < full).then_some(Factorize::Rank(rank as u64));
        let scheme = Scheme { factorize, ..live.scheme(view.selected).clone() };
        let what = format!("factorize {}", live.model.tensors[view.selected].name);
        commands.push(Command::SetScheme { scheme, what, gesture: Some(view.gesture) });
    }
    let painter = ui.painter();
    painter.vline(x, frame.area.y_range(), Stroke::new(stroke::HANDLE, t.accent));
    let middle = frame.area.top() + frame.area.height() * 0.55;
    let grip = if touched { Grip::Hover } else { Grip::Rest };
    paint_grip(painter, pos2(x, middle), true, grip, GripLook::Filled, t);
    let words = match (refusal, rank) {
        (Some(why), _) if touched => why.to_owned(),
        (_, Some(rank)) => {
            let kept = format::percent(spectrum.kept(rank), 1);
            format!("rank {} · {kept} % energy", format::grouped(rank as u64))
        }
        _ if touched => "drag inwards to factorize".to_owned(),
        _ => return,
    };
    let left = x > frame.area.center().x;
    let (at, anchor) = if left { (x - 10.0, Align2::RIGHT_CENTER) } else { (x + 10.0, Align2::LEFT_CENTER) };
    paint_pill(painter, pos2(at, middle), anchor, &words, t);
}

/// What the rank comes to, under the plot.
fn paint_words(ui: &Ui, rect: Rect, live: &Live, index: usize, spectrum: &Spectrum, rank: Option<usize>, t: &Tokens) {
    let words = if let (Some(rank), Some(estimate)) = (rank, live.rows[index].estimate.as_ref()) {
        let lost = format::small_percent(spectrum.lost(rank));
        format!("{} stored, the product alone loses t² {lost} %", format::bytes_text(estimate.bytes()))
    } else {
        let most = spectrum.rank_of_energy(0.9);
        let full = spectrum.values.len() as u64;
        format!("90 % of the energy is in {} of {} ranks", format::grouped(most as u64), format::grouped(full))
    };
    let at = pos2(rect.left() + 44.0, rect.bottom() - 16.0);
    paint_text(ui.painter(), at, Align2::LEFT_CENTER, words, size::LABEL, weight::TEXT, t.text2);
}
