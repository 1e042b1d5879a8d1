//! Every layer beside its counterpart: a bar of what is kept in both and in one, and the two shares; all together at the end.

use super::mask::{cells, shade};
use crate::app::command::Command;
use crate::app::format;
use crate::app::panels::elide::{paint_elided, paint_elided_name};
use crate::app::panels::layers::click_row;
use crate::app::panels::rows;
use crate::app::state::View;
use crate::app::theme::{Tokens, paint_text, size, tokens, weight};
use crate::app::widgets::{Part, paint_stacked_bar};
use crate::app::workbench::pane;
use crate::estimate::compare::TensorComparison;
use crate::formats::error::printable;
use crate::kernels::masks::MaskCounts;
use crate::session::Live;
use crate::session::beside::{Likeness, LikenessInAll};
use egui::{Align2, Color32, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

/// Height of a line.
const ROW: f32 = 20.0;
/// Height of the heads.
const HEAD: f32 = 20.0;
/// Height of the line of all layers.
const ALL: f32 = 28.0;
/// Room for a share in percent, in a list of this width.
const fn share_room(width: f32) -> f32 {
    if width < 300.0 { 42.0 } else { 54.0 }
}

/// Room on the right for the scroll bar.
const BAR: f32 = 8.0;

/// The places of a line: name, bar, and the right edges of both shares.
#[derive(Clone, Copy)]
struct Places {
    name: Rect,
    bar: Rect,
    overlap: f32,
    signs: f32,
}

impl Places {
    fn of(line: Rect) -> Self {
        let share = share_room(line.width());
        let signs = line.right() - BAR;
        let overlap = signs - share;
        let rest = overlap - share - line.left();
        let names = (0.58 * rest).clamp(60.0, 200.0);
        let name = Rect::from_min_size(line.min, vec2(names, line.height()));
        let bar = Rect::from_x_y_ranges(name.right() + 6.0..=overlap - share, line.y_range());
        Self { name, bar: bar.shrink2(vec2(0.0, (line.height() - 8.0) / 2.0)), overlap, signs }
    }
}

/// Draws the list: heads, layers in the order of the table, all of them together.
pub(super) fn list_ui(ui: &mut Ui, live: &Live, view: &View, commands: &mut Vec<Command>) {
    let rect = ui.max_rect();
    let head = Rect::from_min_size(rect.min, vec2(rect.width(), HEAD));
    let all = Rect::from_min_max(pos2(rect.left(), rect.bottom() - ALL), rect.max);
    let body = Rect::from_min_max(head.left_bottom(), all.right_top());
    paint_heads(ui, head);
    pane(ui, body, "layers", |ui| lines_ui(ui, live, view, commands));
    all_ui(ui, all, live.likeness_in_all());
}

/// The layers that are in view; the selected one comes into view when it is selected.
fn lines_ui(ui: &mut Ui, live: &Live, view: &View, commands: &mut Vec<Command>) {
    let x_range = ui.max_rect().x_range();
    let id = ui.scope_id().with("selected layer");
    let moved = ui.data_mut(|data| data.get_temp(id) != Some(view.selected));
    let selected = view.order.iter().position(|&index| index == view.selected).filter(|_| moved);
    ui.data_mut(|data| data.insert_temp(id, view.selected));
    ui.spacing_mut().item_spacing.y = 0.0;
    let area = egui::ScrollArea::vertical().auto_shrink(false).id_salt("compared layers");
    area.show_viewport(ui, |ui, viewport| {
        ui.set_height(ROW * view.order.len() as f32);
        let top = ui.max_rect().top();
        let line = |at: usize| {
            let y = top + ROW * at as f32;
            Rect::from_x_y_ranges(x_range, y..=y + ROW)
        };
        let first = (viewport.min.y / ROW).max(0.0) as usize;
        let shown = view.order.iter().enumerate().skip(first).take((viewport.height() / ROW) as usize + 2);
        for (at, &index) in shown {
            line_ui(ui, line(at), live, view, index, commands);
        }
        if let Some(at) = selected {
            ui.scroll_to_rect(line(at).expand2(vec2(0.0, 2.0 * ROW)), None);
        }
    });
}

fn paint_heads(ui: &Ui, rect: Rect) {
    let t = tokens(ui);
    let places = Places::of(rect);
    let put = |x: f32, anchor: Align2, word: &str| {
        paint_text(ui.painter(), pos2(x, rect.top() + 8.0), anchor, word, size::HINT, weight::TEXT, t.text3);
    };
    put(places.name.left() + 6.0, Align2::LEFT_CENTER, "layer");
    if places.bar.width() > 90.0 {
        // What the mark on every bar is.
        let y = rect.top() + 4.0..=rect.top() + 13.0;
        ui.painter().vline(places.bar.left() + 1.0, y, Stroke::new(1.5, t.text3));
        put(places.bar.left() + 7.0, Align2::LEFT_CENTER, "source");
    }
    put(places.overlap, Align2::RIGHT_CENTER, "overlap");
    put(places.signs, Align2::RIGHT_CENTER, "signs");
    ui.painter().hline(rect.x_range(), rect.bottom(), Stroke::new(1.0, t.line));
}

fn line_ui(ui: &Ui, line: Rect, live: &Live, view: &View, index: usize, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let name = printable(&live.model.tensors[index].name);
    let likeness = live.likeness(index);
    let response = ui.interact(line, ui.scope_id().with(("compared", index)), Sense::click());
    let chosen = view.is_chosen(index);
    let spoken = format!("{name}: {}", spoken(likeness));
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, chosen, &spoken));
    if response.clicked() {
        click_row(ui, index, commands);
        // The table keeps the arrow keys.
        response.surrender_focus();
    }
    if chosen {
        ui.painter().rect_filled(line, 0.0, t.bg3);
        if index == view.selected {
            ui.painter().rect_filled(Rect::from_min_size(line.min, vec2(2.0, line.height())), 0.0, t.accent);
        }
    } else if response.hovered() {
        ui.painter().rect_filled(line, 0.0, t.bg2);
    }
    let places = Places::of(line);
    // On a selected or hovered ground the faintest text would fade.
    let dim = if chosen || response.hovered() { t.text2 } else { t.text3 };
    let ink = if likeness.is_some() { t.text1 } else { dim };
    paint_name(ui, places.name, live, index, ink, dim);
    match likeness {
        Some(Likeness { result: Some(result), source, fresh, refusal: None })
            if result.counts.elements() > 0 || result.note.is_none() =>
        {
            paint_line(ui, places, (result, source), fresh, dim, t);
        }
        other => {
            let room = places.signs - places.bar.left();
            let at = pos2(places.bar.left(), line.center().y);
            paint_elided(ui, at, room, why_nothing(other), size::HINT, dim);
        }
    }
    response.on_hover_ui(|ui| hover_ui(ui, &name, likeness));
}

/// What the table calls a layer, after the number of its block.
fn paint_name(ui: &Ui, place: Rect, live: &Live, index: usize, ink: Color32, dim: Color32) {
    let mut at = pos2(place.left() + 6.0, place.center().y);
    if let Some(block) = live.model.tensors[index].block {
        let block = block.to_string();
        paint_text(ui.painter(), at, Align2::LEFT_CENTER, &block, size::HINT, weight::TEXT, dim);
        at.x += 20.0;
    }
    let name = printable(&rows::short_name(&live.model, index));
    paint_elided_name(ui, at, place.right() - at.x, &name, size::LABEL, ink);
}

/// Why a line has no figures, in few words.
fn why_nothing(likeness: Option<Likeness<'_>>) -> &'static str {
    match likeness {
        None => "not there",
        Some(Likeness { refusal: Some(_), .. }) => "no result",
        Some(Likeness { result: Some(result), .. }) => result.note.unwrap_or_default(),
        Some(_) => "…",
    }
}

/// The bar over what is kept in one or both, a mark at what the source had in common, and the shares.
fn paint_line(
    ui: &Ui,
    places: Places,
    (result, source): (&TensorComparison, Option<&TensorComparison>),
    fresh: bool,
    dim: Color32,
    t: &Tokens,
) {
    paint_shares(ui, places, result.counts, fresh, dim, t);
    if let Some(overlap) = source.and_then(TensorComparison::mask_overlap) {
        let x = egui::lerp(places.bar.left()..=places.bar.right(), overlap as f32);
        let mark = places.bar.y_range().expand(2.0);
        ui.painter().vline(x, mark, Stroke::new(1.5, if fresh { t.text1 } else { dim }));
    }
}

fn paint_shares(ui: &Ui, places: Places, counts: MaskCounts, fresh: bool, dim: Color32, t: &Tokens) {
    let parts = cells(counts, t).map(|cell| Part {
        name: cell.name,
        amount: cell.count as f64,
        colour: shade(cell.colour, fresh, t),
    });
    // What is kept in neither says nothing of the overlap.
    paint_stacked_bar(ui.painter(), places.bar, &parts[..3]);
    let ink = if fresh { t.text1 } else { dim };
    for (right, share) in [(places.overlap, counts.mask_overlap()), (places.signs, counts.sign_agreement())] {
        let words = format::optional(share.map(|share| 100.0 * share), 1);
        let at = pos2(right, places.bar.center().y);
        paint_text(ui.painter(), at, Align2::RIGHT_CENTER, words, size::LABEL, weight::TEXT, ink);
    }
}

/// All layers together, or how many of them are compared.
fn all_ui(ui: &Ui, rect: Rect, all: LikenessInAll) {
    let t = tokens(ui);
    ui.painter().hline(rect.x_range(), rect.top(), Stroke::new(1.0, t.line));
    let line = Rect::from_min_max(rect.min + vec2(0.0, 4.0), rect.max);
    let places = Places::of(line);
    let whole = all.is_whole() && all.known > 0;
    let (known, of) = (format::grouped(all.known as u64), format::grouped(all.of as u64));
    let name = if whole { format!("all {of}") } else { format!("{known} of {of} compared") };
    let room = if whole { places.name.width() } else { line.width() } - 6.0;
    let at = pos2(places.name.left() + 6.0, line.center().y);
    paint_elided(ui, at, room, &name, size::LABEL, if whole { t.text1 } else { t.text3 });
    let mut spoken = name;
    if whole {
        paint_shares(ui, places, all.result, true, t.text3, t);
        let source = all.source.mask_overlap().map(|overlap| overlap as f32);
        if let Some(x) = source.map(|overlap| egui::lerp(places.bar.left()..=places.bar.right(), overlap)) {
            ui.painter().vline(x, places.bar.y_range().expand(2.0), Stroke::new(1.5, t.text1));
        }
        spoken = format!("{spoken}: {}", shares(all.result));
    }
    let response = ui.interact(rect, ui.scope_id().with("all layers"), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &spoken));
    response.on_hover_ui(|ui| {
        ui.label("Counts of all layers, added up; those that have no counterpart are left out");
        ui.label(format!("source: {}", shares(all.source)));
        ui.label(format!("now: {}", shares(all.result)));
    });
}

/// Both shares in words.
fn shares(counts: MaskCounts) -> String {
    let words = |share: Option<f64>| format::optional(share.map(|share| 100.0 * share), 2);
    format!("overlap {} %, equal signs {} %", words(counts.mask_overlap()), words(counts.sign_agreement()))
}

/// A line for those who do not see it.
fn spoken(likeness: Option<Likeness<'_>>) -> String {
    match likeness {
        Some(Likeness { result: Some(result), refusal: None, fresh, .. }) if result.counts.elements() > 0 => {
            let state = if fresh { "" } else { ", out of date" };
            format!("{}{state}", shares(result.counts))
        }
        other => why_nothing(other).to_owned(),
    }
}

fn hover_ui(ui: &mut Ui, name: &str, likeness: Option<Likeness<'_>>) {
    ui.label(name);
    let Some(likeness) = likeness else {
        ui.label("The checkpoint has no tensor of this name");
        return;
    };
    for (what, compared) in [("source", likeness.source), ("now", likeness.result)] {
        let Some(compared) = compared else { continue };
        let (t2, cosine) = (compared.t2.map_or("–".into(), format::small_percent), compared.cosine);
        let distance = format!("t² {t2} %, cosine {}", format::optional(cosine, 4));
        let note = compared.note.map(|note| format!("; {note}")).unwrap_or_default();
        ui.label(format!("{what}: {}, {distance}{note}", shares(compared.counts)));
    }
    if let Some(why) = likeness.refusal {
        ui.label(format::plain(why));
    }
}
