//! The figures of the comparison: mask and distance of the selected layer, its source first and then what would be exported,
//! and how many weights are in each of the four cells.

use super::mask::cells;
use crate::app::format;
use crate::app::theme::{self, Tokens, paint_text, size, tokens, weight};
use crate::app::widgets::{Kind, KindChip};
use crate::estimate::compare::TensorComparison;
use crate::session::Live;
use crate::session::beside::Likeness;
use egui::{Align, Align2, Layout, Role, Sense, Ui, WidgetInfo, pos2, vec2};

/// Right edges of the two columns of figures and of their unit, in points from the right.
const SOURCE: f32 = 66.0;
const RESULT: f32 = 15.0;

/// One figure of the source and of what would be exported.
struct Figure {
    name: &'static str,
    about: &'static str,
    unit: &'static str,
    of: fn(&TensorComparison) -> Option<String>,
}

/// A share in percent.
fn percent(share: Option<f64>) -> Option<String> {
    share.map(|share| format::percent(share, 1))
}

const MASK: [Figure; 3] = [
    Figure {
        name: "overlap",
        about: "Mask overlap: weights that are kept in both, of those that are kept in one or both",
        unit: "%",
        of: |compared| percent(compared.mask_overlap()),
    },
    Figure {
        name: "by chance",
        about: "What the overlap would be if each mask kept as many weights as it does, drawn by lot",
        unit: "%",
        of: |compared| percent(compared.counts.chance_overlap()),
    },
    Figure {
        name: "equal signs",
        about: "Sign agreement: weights of the same sign, of those that are kept in both",
        unit: "%",
        of: |compared| percent(compared.sign_agreement()),
    },
];

const DISTANCE: [Figure; 2] = [
    Figure {
        name: "relative t²",
        about: "Squared distance of the checkpoint from what stands here, relative to the squares of the latter",
        unit: "%",
        of: |compared| compared.t2.map(format::small_percent),
    },
    Figure {
        name: "cosine",
        about: "Cosine between the two, as vectors of weights",
        unit: "",
        of: |compared| compared.cosine.map(|cosine| format::signed(cosine, 4)),
    },
];

/// The column beside the picture.
pub fn column_ui(ui: &mut Ui, live: &Live, index: usize) {
    ui.spacing_mut().item_spacing.y = 3.0;
    ui.spacing_mut().interact_size.y = 18.0;
    let likeness = live.likeness(index);
    let none = Likeness { source: None, result: None, fresh: false, refusal: None };
    let likeness = likeness.unwrap_or(none);
    section_ui(ui, "Mask", &likeness);
    heads_ui(ui);
    MASK.iter().for_each(|figure| figure_ui(ui, figure, &likeness));
    ui.add_space(6.0);
    ui.separator();
    section_ui(ui, "Distance", &likeness);
    DISTANCE.iter().for_each(|figure| figure_ui(ui, figure, &likeness));
    let Some(result) = likeness.result.filter(|result| result.counts.elements() > 0) else { return };
    if let Some(note) = result.note {
        ui.add_space(2.0);
        ui.add(egui::Label::new(theme::hint(capital(note))).wrap());
    }
    let lines = 4.0 * 21.0;
    if ui.available_height() > lines + 16.0 {
        ui.add_space(6.0);
        ui.separator();
        counts_ui(ui, result, likeness.fresh);
    }
}

fn section_ui(ui: &mut Ui, name: &str, likeness: &Likeness<'_>) {
    ui.horizontal(|ui| {
        ui.label(theme::title(name));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if likeness.result.is_some() {
                ui.add(KindChip::new(Kind::Exact).stale(!likeness.fresh).about(name));
            }
        });
    });
}

/// What the two columns are of.
fn heads_ui(ui: &mut Ui) {
    let (row, response) = ui.allocate_exact_size(vec2(ui.available_width(), 14.0), Sense::hover());
    let t = tokens(ui);
    for (from_right, word) in [(SOURCE, "source"), (RESULT, "now")] {
        let at = pos2(row.right() - from_right, row.center().y);
        paint_text(ui.painter(), at, Align2::RIGHT_CENTER, word, size::HINT, weight::TEXT, t.text3);
    }
    response.on_hover_text("The source as it was opened, and what would be exported, each beside the checkpoint");
}

/// One line: what it is, the source's figure, and the one of what would be exported.
fn figure_ui(ui: &mut Ui, figure: &Figure, likeness: &Likeness<'_>) {
    let t = tokens(ui);
    let (row, response) = ui.allocate_exact_size(vec2(ui.available_width(), 18.0), Sense::hover());
    let words = |compared: Option<&TensorComparison>| compared.and_then(figure.of).unwrap_or_else(|| "–".into());
    let (source, result) = (words(likeness.source), words(likeness.result));
    let ink = if likeness.fresh { t.text1 } else { t.text3 };
    let painter = ui.painter();
    let at = |from_right: f32| pos2(row.right() - from_right, row.center().y);
    let name_at = row.left_center();
    paint_text(painter, name_at, Align2::LEFT_CENTER, figure.name, size::LABEL, weight::TEXT, t.text2);
    paint_text(painter, at(SOURCE), Align2::RIGHT_CENTER, &source, size::BODY, weight::TEXT, t.text2);
    // What has no unit ends where the others' units end.
    let right = if figure.unit.is_empty() { 0.0 } else { RESULT };
    paint_text(painter, at(right), Align2::RIGHT_CENTER, &result, size::BODY, weight::VALUE, ink);
    if likeness.result.is_some() {
        paint_text(painter, at(0.0), Align2::RIGHT_CENTER, figure.unit, size::HINT, weight::TEXT, t.text3);
    }
    let state = if likeness.fresh { "" } else { ", out of date" };
    let spoken = format!("{}: source {source} {}, now {result} {}{state}", figure.name, figure.unit, figure.unit);
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &spoken));
    response.on_hover_text(figure.about);
}

/// How many weights are in each cell: the legend of the picture.
fn counts_ui(ui: &mut Ui, compared: &TensorComparison, fresh: bool) {
    let t = tokens(ui);
    let n = compared.counts.elements().max(1) as f64;
    for cell in cells(compared.counts, t) {
        let (row, response) = ui.allocate_exact_size(vec2(ui.available_width(), 18.0), Sense::hover());
        paint_count(ui, row, (cell.name, cell.count, cell.colour), n, fresh, t);
        let words = format!("{}: {} weights", cell.name, format::grouped(cell.count));
        response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &words));
        response.on_hover_text(words);
    }
}

fn paint_count(
    ui: &Ui,
    row: egui::Rect,
    (name, count, colour): (&str, u64, egui::Color32),
    n: f64,
    fresh: bool,
    t: &Tokens,
) {
    let painter = ui.painter();
    let dot = egui::Rect::from_center_size(row.left_center() + vec2(4.0, 0.0), vec2(8.0, 8.0));
    painter.rect_filled(dot, 1.0, colour);
    let ink = if fresh { t.text1 } else { t.text3 };
    let at = |from_right: f32| pos2(row.right() - from_right, row.center().y);
    let name_at = row.left_center() + vec2(16.0, 0.0);
    paint_text(painter, name_at, Align2::LEFT_CENTER, name, size::LABEL, weight::TEXT, t.text2);
    let short = format::count(count);
    paint_text(painter, at(SOURCE - 12.0), Align2::RIGHT_CENTER, short, size::BODY, weight::TEXT, t.text2);
    let share = format::percent(count as f64 / n, 1);
    paint_text(painter, at(RESULT), Align2::RIGHT_CENTER, share, size::BODY, weight::VALUE, ink);
    paint_text(painter, at(0.0), Align2::RIGHT_CENTER, "%", size::HINT, weight::TEXT, t.text3);
}

/// One line under the picture of a narrow window.
pub fn line_ui(ui: &mut Ui, live: &Live, index: usize) {
    let Some(likeness) = live.likeness(index) else { return };
    let Some(result) = likeness.result else { return };
    ui.horizontal(|ui| {
        ui.add(KindChip::new(Kind::Exact).stale(!likeness.fresh).about("Comparison"));
        // The signs have a bar of their own over this line.
        for figure in MASK.iter().take(1).chain(&DISTANCE) {
            let value = (figure.of)(result).unwrap_or_else(|| "–".into());
            let unit = if figure.unit.is_empty() { String::new() } else { format!(" {}", figure.unit) };
            let name = figure.name.trim_start_matches("relative ");
            ui.label(theme::label(format!("{name} {value}{unit}"))).on_hover_text(figure.about);
        }
    });
}

/// A note as a sentence.
fn capital(note: &str) -> String {
    let mut letters = note.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
