//! The layer table: every tensor a row with its shape of values, bits, kept share, bytes and SQNR; only visible rows are drawn.

use super::dials::{self, Cell};
use super::elide::{name_galley, paint_elided, paint_elided_name};
use super::pixels;
use super::rows::{self, Line};
use crate::app::command::Command;
use crate::app::format;
use crate::app::hand::{Part, Run};
use crate::app::selection::Pick;
use crate::app::state::{Preferences, RowFilter, View};
use crate::app::theme::{self, Tokens, paint_text, size, space, tokens, weight};
use crate::app::widgets::{Chip, Icon, Kind, paint_bar, paint_kind_mark, paint_spark, rolled};
use crate::app::workbench::pane;
use crate::estimate::size as sizes;
use crate::formats::error::printable;
use crate::recipe::{Prune, Scheme, Target};
use crate::session::Live;
use egui::{Align2, Color32, CornerRadius, Galley, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};
use std::sync::Arc;

/// Height of the guide under the demo's rows.
const GUIDE: f32 = 232.0;
/// Right edges of the number columns, in points from the panel's right edge.
#[derive(Clone, Copy)]
struct Columns {
    bits: f32,
    kept: f32,
    kib: f32,
    /// Left out of a narrow panel.
    sqnr: Option<f32>,
    /// The sparkline's left edge; left out of all but a wide panel.
    spark: Option<f32>,
}

/// The sparkline's width.
const SPARK_WIDTH: f32 = 54.0;

impl Columns {
    fn of(width: f32) -> Self {
        if width < 340.0 {
            return Self { bits: 134.0, kept: 88.0, kib: 30.0, sqnr: None, spark: None };
        }
        let spark = (width >= 372.0).then_some(284.0);
        Self { bits: 184.0, kept: 138.0, kib: 80.0, sqnr: Some(30.0), spark }
    }

    /// The same in a tensor's row: what shows no weights has no sparkline, and more room for its name.
    fn of_row(width: f32, live: &Live, index: usize) -> Self {
        let columns = Self::of(width);
        let shown = live.model.tensors[index].shows_weights();
        Self { spark: columns.spark.filter(|_| shown), ..columns }
    }

    /// The places of the two dials in a line: side by side, their numbers eight points from the right edge.
    fn dials(self, line: Rect) -> [(Part, Rect); 2] {
        let x = |from_right: f32| line.right() - from_right;
        let place = |left: f32, right: f32| Rect::from_x_y_ranges(x(left)..=x(right), line.y_range());
        let between = self.bits - 8.0;
        [(Part::Bits, place(self.bits + 34.0, between)), (Part::Kept, place(between, self.kept - 8.0))]
    }

    /// Where names end.
    fn name_end(self) -> f32 {
        self.spark.map_or(self.bits + 34.0, |spark| spark + 8.0)
    }

    /// The room of what stands in the column of bits: up to the sparkline, or some of the name's.
    fn bits_room(self) -> f32 {
        self.spark.map_or(52.0, |spark| spark - SPARK_WIDTH - 6.0 - self.bits)
    }
}

/// Draws filter, chips, head and rows, and the guide under the demo's few rows.
pub fn layers_ui(ui: &mut Ui, live: &Live, view: &mut View, preferences: &Preferences, commands: &mut Vec<Command>) {
    let rect = ui.max_rect();
    let lines = rows::lines(live, view);
    let top = Rect::from_min_size(rect.min, vec2(rect.width(), 76.0));
    pane(ui, top.shrink2(vec2(16.0, 0.0)), "filter", |ui| filter_ui(ui, live, view));
    let head = Rect::from_min_size(top.left_bottom(), vec2(rect.width(), 24.0));
    paint_head(ui, head);
    let content: f32 = lines.iter().map(|line| height_of(live, line)).sum();
    let room = rect.bottom() - head.bottom() - content;
    let guide = live.model.is_demo() && !preferences.guide_hidden && room > GUIDE;
    let seen = live.network.is_some() && room - if guide { GUIDE } else { 0.0 } > pixels::height(rect.width());
    let mut bottom = rect.bottom();
    let mut from_below = |height: f32| {
        bottom -= height;
        Rect::from_min_size(pos2(rect.left(), bottom), vec2(rect.width(), height))
    };
    let guide = guide.then(|| from_below(GUIDE));
    let seen = seen.then(|| from_below(pixels::height(rect.width())));
    let body = Rect::from_min_max(head.left_bottom(), pos2(rect.right(), bottom));
    pane(ui, body, "rows", |ui| rows_ui(ui, live, view, &lines, commands));
    if let Some(area) = seen {
        pane(ui, area, "pixels", |ui| pixels::pixels_ui(ui, live));
    }
    if let Some(area) = guide {
        pane(ui, area, "guide", |ui| super::guide::guide_ui(ui, live, view, commands));
    }
}

fn filter_ui(ui: &mut Ui, live: &Live, view: &mut View) {
    let t = tokens(ui);
    ui.add_space(12.0);
    ui.horizontal(|ui| {
        let width = ui.available_width() - 76.0;
        let hint = theme::placeholder("Filter: name, glob or re:…", t);
        let field = egui::TextEdit::singleline(&mut view.filter).hint_text(hint).desired_width(width - 20.0);
        let response = ui.add(field);
        response.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, "Filter layers"));
        if response.has_focus() && ui.input(|i| i.key_pressed(egui::Key::Escape)) {
            view.filter.clear();
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let text = match view.chosen_count() {
                1 => format::tensors(live.model.tensors.len()),
                several => format!("{} selected", format::grouped(several as u64)),
            };
            ui.label(theme::label(text));
        });
    });
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        let any = |of: fn(crate::model::Role) -> bool| live.model.tensors.iter().any(|x| of(x.role));
        for filter in RowFilter::ALL {
            let useful = match filter {
                RowFilter::Attention => any(crate::model::Role::is_attention),
                RowFilter::Ffn => any(crate::model::Role::is_ffn),
                RowFilter::Locked => !live.recipe().locked.is_empty(),
                _ => true,
            };
            if useful || view.chip == filter {
                let name = format!("Show {}", filter.word());
                if ui.add(Chip::new(filter.word(), view.chip == filter).name(&name)).clicked() {
                    view.chip = filter;
                }
            }
        }
    });
}

fn paint_head(ui: &Ui, rect: Rect) {
    let t = tokens(ui);
    let painter = ui.painter();
    let y = rect.center().y;
    let put = |x: f32, anchor: Align2, text: &str| {
        paint_text(painter, pos2(x, y), anchor, text, size::HINT, weight::TEXT, t.text3);
    };
    put(rect.left() + 36.0, Align2::LEFT_CENTER, "layer");
    let columns = Columns::of(rect.width());
    if let Some(spark) = columns.spark {
        put(rect.right() - spark, Align2::LEFT_CENTER, "values, log");
    }
    put(rect.right() - columns.bits, Align2::RIGHT_CENTER, "bits");
    put(rect.right() - columns.kept, Align2::RIGHT_CENTER, "kept");
    put(rect.right() - columns.kib, Align2::RIGHT_CENTER, "KiB");
    if let Some(sqnr) = columns.sqnr {
        put(rect.right() - sqnr + 4.0, Align2::RIGHT_CENTER, "SQNR dB");
    }
    painter.hline(rect.x_range(), rect.bottom(), egui::Stroke::new(1.0, t.line));
    painter.hline(rect.x_range(), rect.top(), egui::Stroke::new(1.0, t.line));
}

fn height_of(live: &Live, line: &Line) -> f32 {
    match line {
        Line::Tensor(index) if constraint(live, *index).is_some() => space::ROW + space::ROW_NOTE,
        _ => space::ROW,
    }
}

/// What holds a row back, in words: a refusal, or a choice that saves nothing.
#[must_use]
pub fn constraint(live: &Live, index: usize) -> Option<String> {
    let row = live.rows.get(index)?;
    if let Some(refusal) = &row.refusal {
        let words = refusal.split_once("\": ").map_or(refusal.as_str(), |(_, words)| words);
        return Some(words.to_owned());
    }
    // What is removed with others is no constraint; why it is only zeroed is one.
    if live.plan().removals.zeroes(index)
        && let Some(note) = live.plan().removals.note(index)
    {
        return Some(note.to_owned());
    }
    let scheme = live.scheme(index);
    let estimate = row.estimate.as_ref().filter(|_| row.fresh)?;
    let tensor = &live.model.tensors[index];
    if live.target() == Target::Safetensors {
        return nothing_saved_dense(tensor, scheme);
    }
    let bytes = estimate.bytes();
    if !scheme.is_keep() && bytes >= tensor.bytes() && tensor.elements() > 0 {
        return Some(format!(
            "{} is not less than the source's {}",
            format::bytes_text(bytes),
            format::bytes_text(tensor.bytes())
        ));
    }
    if live.target().is_dense() {
        let zeros = scheme.prune.as_ref().filter(|prune| !matches!(prune, Prune::Structured { .. }))?;
        return zeros
            .asked()
            .is_none_or(|share| share > 0.0)
            .then(|| format!("{} stores every zero: pruning saves nothing here", live.target().name()));
    }
    let zeros_kept = matches!(scheme.prune, Some(Prune::Structured { .. }));
    let asked = scheme.prune.as_ref().filter(|_| !zeros_kept)?.asked().unwrap_or(1.0);
    let saved = estimate.sizes.mask + estimate.sizes.indices > 0;
    if asked == 0.0 || saved {
        return None;
    }
    let even = sizes::break_even(sizes::code_bits(tensor, scheme));
    let zeros = estimate.errors.as_ref().map_or(asked, |e| e.zeros as f64 / estimate.elements.max(1) as f64);
    (zeros < even).then(|| {
        format!("{} % zeros, under the {} % break-even: no mask", format::percent(zeros, 0), format::percent(even, 0))
    })
}

/// What a scheme does not save where every value is spelled out.
fn nothing_saved_dense(tensor: &crate::model::Tensor, scheme: &Scheme) -> Option<String> {
    let removed = matches!(scheme.prune, Some(Prune::Structured { .. }));
    if scheme.is_keep() || removed || sizes::stored_dtype(tensor.dtype, scheme).bits() < tensor.dtype.bits() {
        return None;
    }
    let words = match scheme {
        Scheme { factorize: Some(_), .. } => "dense stores the product: factors save nothing here",
        Scheme { quantize: Some(_), prune: None, .. } => "dense spells every level out: fewer bits save nothing here",
        _ => "dense stores every zero: pruning saves nothing here",
    };
    Some(words.into())
}

fn rows_ui(ui: &mut Ui, live: &Live, view: &mut View, lines: &[Line], commands: &mut Vec<Command>) {
    view.shown.clear();
    let mut tops = Vec::with_capacity(lines.len() + 1);
    let mut y = 0.0;
    for line in lines {
        tops.push(y);
        y += height_of(live, line);
    }
    tops.push(y);
    if lines.is_empty() {
        ui.add_space(16.0);
        ui.vertical_centered(|ui| ui.label(theme::hint("No layer passes this filter")));
        return;
    }
    let reveal = std::mem::take(&mut view.reveal);
    let target = lines.iter().position(|line| *line == Line::Tensor(view.selected)).filter(|_| reveal);
    let body = ui.max_rect();
    let mut area = egui::ScrollArea::vertical().auto_shrink(false).id_salt("layer rows");
    // Rows may grow a line above the one that is held: it stays under the hand.
    let held = view.hand.held.and_then(|held| Some((Line::Tensor(held.index), held.top?)));
    if let Some((line, top)) = held
        && let Some(at) = lines.iter().position(|other| *other == line)
    {
        area = area.vertical_scroll_offset((tops[at] - top).clamp(0.0, (y - body.height()).max(0.0)));
    }
    area.show_viewport(ui, |ui, viewport| {
        let width = ui.available_width();
        ui.set_height(y);
        let origin = ui.max_rect().min;
        let first = tops.partition_point(|&top| top < viewport.min.y).saturating_sub(1);
        for (line, (&top, &bottom)) in lines.iter().zip(tops.iter().zip(tops.iter().skip(1))).skip(first) {
            if top > viewport.max.y {
                break;
            }
            let rect = Rect::from_min_size(origin + vec2(0.0, top), vec2(width, bottom - top));
            match line {
                Line::Head { title, members, open } => {
                    head_row_ui(ui, rect, live, view, (title, members, *open), commands);
                }
                Line::Tensor(index) => {
                    view.shown.push(*index);
                    tensor_row_ui(ui, rect, top - viewport.min.y, live, view, *index, commands);
                }
            }
        }
        if let Some(at) = target {
            let rect = Rect::from_min_max(origin + vec2(0.0, tops[at]), origin + vec2(width, tops[at + 1]));
            // With room for the line of a constraint that may come under it.
            ui.scroll_to_rect(rect.expand2(vec2(0.0, 26.0)), None);
        }
        note_scrolling(ui, body, view);
    });
}

/// A wheel that no dial took scrolls the table, and goes on doing so over the dials that come under the pointer.
fn note_scrolling(ui: &Ui, body: Rect, view: &mut View) {
    let pointer = ui.input(|i| i.pointer.hover_pos()).filter(|at| body.contains(*at));
    let Some(pointer) = pointer.filter(|_| rolled(ui, 1.0) != 0.0) else { return };
    let at = view.hand.now;
    let taken = view.hand.run.is_some_and(|run| run.cell.is_some() && run.at == at);
    if !taken {
        view.hand.run = Some(Run { cell: None, at, pointer, rest: 0.0 });
    }
}

fn head_row_ui(
    ui: &Ui,
    rect: Rect,
    live: &Live,
    view: &mut View,
    (title, members, open): (&str, &[usize], bool),
    commands: &mut Vec<Command>,
) {
    let t = tokens(ui);
    let response = ui.interact(rect, ui.scope_id().with(("head", title)), Sense::click());
    let shown = printable(title);
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, open, &shown));
    if response.hovered() {
        ui.painter().rect_filled(rect, 0.0, t.bg2);
    }
    if response.clicked() && ui.input(|i| i.modifiers.command) {
        let weights = members.iter().copied().filter(|&i| live.model.tensors[i].is_weight_matrix());
        commands.push(Command::Pick(Pick::These(weights.collect())));
    } else if response.clicked() && !view.collapsed.remove(title) {
        view.collapsed.insert(title.to_owned());
    }
    let painter = ui.painter();
    let y = rect.center().y;
    let icon = if open { Icon::ChevronDown } else { Icon::ChevronRight };
    icon.paint(painter, pos2(rect.left() + 18.0, y), t.text2);
    let name = paint_text(
        painter,
        pos2(rect.left() + 28.0, y),
        Align2::LEFT_CENTER,
        &shown,
        size::BODY,
        weight::TITLE,
        t.text1,
    );
    let estimates = || members.iter().filter_map(|&i| live.rows[i].estimate.as_deref());
    let bytes: u64 = estimates().map(crate::estimate::TensorEstimate::bytes).sum();
    let elements: u64 = members.iter().map(|&i| live.model.tensors[i].elements() as u64).sum();
    let colour = if members.iter().all(|&i| live.rows[i].fresh) { t.text2 } else { t.text3 };
    let right = rect.right();
    let put = |x: f32, text: String| {
        paint_text(painter, pos2(right - x, y), Align2::RIGHT_CENTER, text, size::BODY, weight::TEXT, colour)
    };
    let columns = Columns::of(rect.width());
    let bits = put(columns.bits, format!("{:.1} b", 8.0 * bytes as f64 / elements.max(1) as f64));
    let count = theme::galley(ui, members.len().to_string(), size::HINT, weight::TEXT, t.text3);
    // A long title leaves no room for the count.
    if name.right() + 6.0 + count.size().x < bits.left() - 6.0 {
        painter.galley(pos2(name.right() + 6.0, y - count.size().y / 2.0), count, t.text3);
    }
    put(columns.kib, format::kib(bytes));
    let select = ui.ctx().format_modifiers(egui::Modifiers::COMMAND);
    response.on_hover_text_at_pointer(format!("{shown}\n{select}+click selects its weights"));
}

/// A click on a row, wherever on it: alone it selects the row, with Ctrl one more, with Shift all up to it.
pub fn click_row(ui: &Ui, index: usize, commands: &mut Vec<Command>) {
    let modifiers = ui.input(|i| i.modifiers);
    commands.push(match (modifiers.command, modifiers.shift) {
        (true, _) => Command::Pick(Pick::Toggle(index)),
        (false, true) => Command::Pick(Pick::To(index)),
        (false, false) => Command::Select(index),
    });
}

fn tensor_row_ui(
    ui: &Ui,
    rect: Rect,
    top: f32,
    live: &Live,
    view: &mut View,
    index: usize,
    commands: &mut Vec<Command>,
) {
    let t = tokens(ui);
    let tensor = &live.model.tensors[index];
    let words = constraint(live, index);
    let near = row_ground_ui(ui, rect, live, view, index, words.as_deref(), commands);
    let line = Rect::from_min_size(rect.min, vec2(rect.width(), space::ROW));
    let touchable = tensor.is_weight_matrix() || !live.scheme(index).is_keep();
    let columns = Columns::of(line.width());
    let cells = columns.dials(line).map(|(part, rect)| Cell { index, part, rect, top, near });
    if tensor.is_touchable() {
        for cell in cells {
            dials::dial_ui(ui, cell, live, view, commands);
        }
    }
    paint_numbers(ui, line, live, view, cells, touchable);
    let pill = dials::paint_held(ui, line, cells[0].rect.left() - 4.0, live, view, index);
    paint_name(ui, line, live, index, pill, touchable);
    if let Some(words) = words {
        let y = rect.top() + space::ROW + 6.0;
        if pill.is_none_or(|pill| pill.left() > rect.left() + 28.0) {
            Icon::Warning.paint(ui.painter(), pos2(rect.left() + 20.0, line.center().y), t.warn);
        }
        let room = rect.width() - 36.0 - 8.0;
        paint_elided(ui, pos2(rect.left() + 36.0, y), room, &words, size::HINT, t.warn);
    }
    if live.is_locked(index) {
        Icon::Lock.paint(ui.painter(), pos2(rect.right() - 13.0, line.center().y), t.text2);
    }
}

/// Takes clicks on a row and draws its ground; gives whether the pointer is over it and free.
fn row_ground_ui(
    ui: &Ui,
    rect: Rect,
    live: &Live,
    view: &View,
    index: usize,
    constraint: Option<&str>,
    commands: &mut Vec<Command>,
) -> bool {
    let t = tokens(ui);
    let tensor = &live.model.tensors[index];
    let response = ui.interact(rect, ui.scope_id().with(("row", index)), Sense::click());
    let chosen = view.is_chosen(index);
    response
        .widget_info(|| WidgetInfo::selected(Role::Button, true, chosen, format!("layer {}", printable(&tensor.name))));
    if response.clicked() {
        click_row(ui, index, commands);
        // The table keeps the arrow keys: a click leaves no other control focused.
        response.surrender_focus();
    }
    // A dial lies over its row, and a hand that holds one passes over others.
    let near = response.contains_pointer() && view.hand.held.is_none_or(|held| held.index == index);
    if chosen {
        ui.painter().rect_filled(rect, 0.0, t.bg3);
        if index == view.selected {
            ui.painter().rect_filled(Rect::from_min_size(rect.min, vec2(3.0, rect.height())), 0.0, t.accent);
        }
    } else if near {
        ui.painter().rect_filled(rect, 0.0, t.bg2);
    }
    response.on_hover_ui(|ui| {
        let facts =
            [format::shape(&tensor.shape), tensor.type_name().to_lowercase(), tensor.role.name().replace('_', " ")];
        ui.label(super::layer::all_names(tensor));
        ui.label(facts.join("  "));
        if let Some(words) = constraint {
            ui.label(words);
        }
    });
    near
}

/// The row's name and, where there is room, the shape of its values; both give way to the pill of a dial that is held.
fn paint_name(ui: &Ui, line: Rect, live: &Live, index: usize, pill: Option<Rect>, touchable: bool) {
    let t = tokens(ui);
    let columns = Columns::of_row(line.width(), live, index);
    let colour = if touchable { t.text1 } else { t.text3 };
    // A long type may reach into the column of names.
    let taken = columns.bits + bits_galley(ui, live, index, columns, colour).size().x + 6.0;
    let end = line.right() - columns.name_end().max(taken);
    let end = pill.map_or(end, |pill| end.min(pill.left() - 6.0));
    let at = pos2(line.left() + 36.0, line.center().y);
    let shown = printable(&rows::short_name(&live.model, index));
    if end - at.x > 16.0 {
        paint_elided_name(ui, at, end - at.x, &shown, size::BODY, colour);
    }
    let stats = live.stats[index].as_ref().filter(|_| pill.is_none());
    if let (Some(spark), Some(histogram)) = (columns.spark, stats.and_then(|s| s.histogram.as_ref())) {
        let area = Rect::from_min_size(pos2(line.right() - spark, line.top() + 5.0), vec2(SPARK_WIDTH, 14.0));
        let bars = histogram.bars(histogram.reach(0.9995), 36);
        let top = bars.iter().map(|b| b.2).max().unwrap_or(1).max(1) as f32;
        let heights: Vec<f32> = bars.iter().map(|b| (b.2 as f32).ln_1p() / top.ln_1p()).collect();
        paint_spark(ui.painter(), area, &heights, t.before);
    }
}

/// What stands in a row's column of bits: those that are chosen, or else the type that the tensor has.
fn bits_galley(ui: &Ui, live: &Live, index: usize, columns: Columns, colour: Color32) -> Arc<Galley> {
    let own = || short_type(&live.model.tensors[index].type_name());
    let text = live.scheme(index).bits().map_or_else(own, |bits| format!("{bits} b"));
    name_galley(ui, columns.bits_room(), &text, size::BODY, colour)
}

/// The name of a type as far as a column has room: of a scheme the word of its last step, of an 8-bit float its kind.
fn short_type(name: &str) -> String {
    let step = name.rsplit('+').next().unwrap_or(name);
    let word = step.split([':', ' ']).next().unwrap_or(step).to_lowercase();
    ["fp8_", "f8_"].iter().find_map(|float| word.strip_prefix(float)).unwrap_or(&word).to_owned()
}

fn paint_numbers(ui: &Ui, line: Rect, live: &Live, view: &View, [bits, kept]: [Cell; 2], touchable: bool) {
    let index = bits.index;
    let t: &Tokens = tokens(ui);
    let (row, scheme) = (&live.rows[index], live.scheme(index));
    let painter = ui.painter();
    let (right, y) = (line.right(), line.center().y);
    let dim: Color32 = if view.is_chosen(index) { t.text2 } else { t.text3 };
    let strong = if row.fresh && touchable { t.text1 } else { dim };
    let put = |x: f32, text: String, colour: Color32| {
        paint_text(painter, pos2(right - x, y), Align2::RIGHT_CENTER, text, size::BODY, weight::TEXT, colour)
    };
    let columns = Columns::of_row(line.width(), live, index);
    if !dials::paint_typed(ui, bits, right - columns.bits, view, t) {
        let colour = if scheme.bits().is_some() { t.text1 } else { dim };
        let galley = bits_galley(ui, live, index, columns, colour);
        painter.galley(pos2(right - columns.bits, y) - vec2(galley.size().x, galley.size().y / 2.0), galley, colour);
    }
    if !dials::paint_typed(ui, kept, right - columns.kept, view, t) {
        // What was asked for, as every dial says; what became zero by rounding as well is said at the plot.
        let share = scheme.prune.as_ref().map(|_| Part::Kept.value(live, index) / 100.0);
        let text = share.map_or_else(|| "–".into(), |share| format!("{} %", format::percent(share, 0)));
        let place = put(columns.kept, text, if share.is_some() { t.text1 } else { dim });
        if let Some(share) = share {
            let bar = Rect::from_min_size(pos2(right - columns.kept - 34.0, place.bottom() + 0.5), vec2(34.0, 2.0));
            paint_bar(painter, bar, share as f32, t.after, t.grid, CornerRadius::ZERO);
        }
    }
    let Some(estimate) = &row.estimate else { return };
    put(columns.kib, format::kib(estimate.bytes()), strong);
    let Some(at) = columns.sqnr else { return };
    let sqnr = estimate.errors.as_ref().and_then(crate::kernels::error::ErrorSums::sqnr_db);
    match sqnr {
        Some(db) => {
            let place = put(at, format::signed(db, 1), strong);
            // The mark's shape says how the number was come by, its colour how large the error is.
            let colour = t.error_at_db(db);
            let colour = if row.fresh { colour } else { colour.gamma_multiply(0.4) };
            paint_kind_mark(painter, pos2(place.left() - 9.0, y), Kind::of(estimate.label), colour);
        }
        None => {
            put(at, if estimate.errors.is_some() { "exact".into() } else { "–".into() }, dim);
        }
    }
}
