//! Two masks as four cells: their areas are shares of the layer's weights, kept in both, in one, in neither.
//!
//! ```text
//!  kept here │ zero here        width of a column: the share that would be exported as not 0, and the rest
//!  ┌─────────┬─────────┐
//!  │  both   │  there  │ kept there
//!  ├╌╌╌╌╌╌╌╌╌┼╌╌╌╌╌╌╌╌╌┤        dashed: where both cuts would lie if chance had drawn the masks
//!  │  here   │ neither │ zero there
//!  └─────────┴─────────┘
//! ```

use crate::app::format;
use crate::app::theme::{Tokens, galley, ink_on, paint_text, size, stroke, tokens, weight};
use crate::app::widgets::{Part, StackedBar};
use crate::estimate::compare::TensorComparison;
use crate::kernels::masks::MaskCounts;
use egui::{Align2, Color32, Rect, Role, Sense, Shape, Stroke, Ui, UiBuilder, WidgetInfo, pos2, vec2};

/// Height of the signs under the cells.
const SIGNS: f32 = 30.0;
/// Between two cells.
const GAP: f32 = 1.0;
/// How strong a colour is of what is not of the scheme on the screen.
const STALE: f32 = 0.4;

/// One of the four.
pub(super) struct Cell {
    /// What its weights have in common.
    pub name: &'static str,
    /// How many there are.
    pub count: u64,
    /// Its colour.
    pub colour: Color32,
}

/// The four cells: in both, only here, only there, in neither.
pub(super) fn cells(counts: MaskCounts, t: &Tokens) -> [Cell; 4] {
    let [both, here, there, neither] = t.mask_cells();
    let cell = |name, count, colour| Cell { name, count, colour };
    [
        cell("in both", counts.both, both),
        cell("only here", counts.only_a, here),
        cell("only there", counts.only_b, there),
        cell("in neither", counts.neither, neither),
    ]
}

/// Draws the cells, and the signs where both are kept.
pub(super) fn mask_ui(ui: &mut Ui, compared: &TensorComparison, fresh: bool) {
    let rect = ui.max_rect();
    let signed = compared.counts.signed > 0 && rect.height() > 110.0;
    let bottom = rect.bottom() - if signed { SIGNS + 8.0 } else { 0.0 };
    let area = Rect::from_min_max(rect.min, pos2(rect.right(), bottom));
    if area.height() < 8.0 {
        return;
    }
    cells_ui(ui, area, compared.counts, fresh);
    if signed {
        let signs = Rect::from_min_max(pos2(rect.left(), rect.bottom() - SIGNS), rect.max);
        signs_ui(ui, signs, compared, fresh);
    }
}

/// Where the cells lie, in the order of [`cells`]. What is not nothing is at least a point wide and high.
fn layout(area: Rect, counts: MaskCounts) -> [Rect; 4] {
    let (here, not_here) = (counts.both + counts.only_a, counts.only_b + counts.neither);
    let (left, right) = cut((area.left(), area.right()), here, not_here);
    let rows = |kept, zero| cut((area.top(), area.bottom()), kept, zero);
    let [of_here, of_rest] = [rows(counts.both, counts.only_a), rows(counts.only_b, counts.neither)];
    let cell = |x: (f32, f32), y: (f32, f32)| Rect::from_x_y_ranges(x.0..=x.1, y.0..=y.1);
    [cell(left, of_here.0), cell(left, of_here.1), cell(right, of_rest.0), cell(right, of_rest.1)]
}

/// A span cut in proportion to two counts, with a gap between them; a count of 0 leaves all to the other.
fn cut((from, to): (f32, f32), first: u64, second: u64) -> ((f32, f32), (f32, f32)) {
    match (first, second) {
        (_, 0) => ((from, to), (to, to)),
        (0, _) => ((from, from), (from, to)),
        _ => {
            let share = (first as f64 / (first + second) as f64) as f32;
            let at = (from + share * (to - from)).min(to - 1.0 - GAP).max(from + 1.0);
            ((from, at), (at + GAP, to))
        }
    }
}

fn cells_ui(ui: &mut Ui, area: Rect, counts: MaskCounts, fresh: bool) {
    let t = tokens(ui);
    let n = counts.elements().max(1) as f64;
    let mut spoken = Vec::new();
    let cells = cells(counts, t);
    let places = layout(area, counts);
    let chance = chance_line(area, counts);
    for (cell, place) in cells.iter().zip(places).filter(|(cell, _)| cell.count > 0) {
        let ground = shade(cell.colour, fresh, t);
        ui.painter().rect_filled(place, 0.0, ground);
        let share = format!("{} %", format::percent(cell.count as f64 / n, 1));
        paint_words(ui, place, (cell.name, &share), ink_on(ground), chance);
        spoken.push(format!("{} {share}", cell.name));
    }
    if let Some(y) = chance {
        let [.., there, neither] = [0, 1, 2, 3].map(|at| (places[at], shade(cells[at].colour, fresh, t)));
        paint_chance(ui, area, y, [there, neither], fresh, t);
    }
    let response = ui.interact(area, ui.scope_id().with("cells"), Sense::hover());
    let words = format!("Masks: {}", spoken.join(", "));
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &words));
    let hovered = response.hover_pos().and_then(|at| places.iter().position(|place| place.contains(at)));
    if let Some(cell) = hovered.and_then(|at| cells.get(at)).filter(|cell| cell.count > 0) {
        let share = format::percent(cell.count as f64 / n, 2);
        response.on_hover_text(format!("{}: {} weights, {share} %", cell.name, format::grouped(cell.count)));
    }
}

/// The colour of what is not of the scheme on the screen lies half-way to the ground.
pub(super) fn shade(colour: Color32, fresh: bool, t: &Tokens) -> Color32 {
    if fresh { colour } else { t.bg1.lerp_to_gamma(colour, STALE) }
}

/// Height of a line of words in a cell.
const LINE: f32 = 15.0;

/// A cell's name and share: on two lines or on one, at its top or under a line that would strike them through, or nowhere
/// when it has no room for them.
fn paint_words(ui: &Ui, place: Rect, (name, share): (&str, &str), ink: Color32, line: Option<f32>) {
    let inside = place.shrink2(vec2(7.0, 4.0));
    let name = galley(ui, name, size::LABEL, weight::TEXT, ink);
    let share = galley(ui, share, size::SECTION, weight::TITLE, ink);
    let [two, one] = [(2.0 * LINE, vec2(0.0, LINE - 1.0)), (LINE, vec2(name.size().x + 6.0, -1.0))];
    for (height, at_share) in [two, one] {
        let struck = line.filter(|y| (inside.top() - 2.0..inside.top() + height).contains(y));
        let top = struck.map_or(inside.top(), |y| y + 3.0);
        let width = name.size().x.max(at_share.x + share.size().x);
        if width <= inside.width() && top + height <= inside.bottom() + 1.0 {
            let at = pos2(inside.left(), top);
            ui.painter().galley(at, name, ink);
            ui.painter().galley(at + at_share, share, ink);
            return;
        }
    }
}

/// Where every column would be cut if what is kept there had nothing to do with what is kept here; `None` where either mask
/// is all or nothing: chance and order are then one.
fn chance_line(area: Rect, counts: MaskCounts) -> Option<f32> {
    let (here, there) = (counts.both + counts.only_a, counts.both + counts.only_b);
    let inner = 1..counts.elements();
    let share = there as f64 / counts.elements().max(1) as f64;
    (inner.contains(&here) && inner.contains(&there)).then(|| area.top() + share as f32 * area.height())
}

/// Draws that line, and its name in the right column where it stands clear of both cells' edges.
fn paint_chance(ui: &Ui, area: Rect, y: f32, right: [(Rect, Color32); 2], fresh: bool, t: &Tokens) {
    let line = [pos2(area.left(), y), pos2(area.right(), y)];
    let colour = if fresh { t.text1 } else { t.text3 };
    ui.painter().extend(Shape::dashed_line(&line, Stroke::new(1.25, colour), stroke::DASH[0], stroke::DASH[1]));
    let Some((cell, ground)) = right.into_iter().find(|(cell, _)| cell.y_range().contains(y)) else { return };
    let words = galley(ui, "by chance", size::TICK, weight::TEXT, ink_on(ground));
    // Words of the cell stand left, and above the line or below it.
    let beside = cell.width() > words.size().x + 90.0;
    let top = [y + 3.0, y - 3.0 - words.size().y].into_iter().find(|&top| {
        cell.y_range().shrink(2.0).contains(top) && cell.y_range().shrink(2.0).contains(top + words.size().y)
    });
    if let Some(top) = top.filter(|_| beside) {
        let at = pos2(cell.right() - 7.0 - words.size().x, top);
        ui.painter().galley(at, words, ink_on(ground));
    }
}

/// Equal and opposite signs, where both are not 0.
fn signs_ui(ui: &mut Ui, rect: Rect, compared: &TensorComparison, fresh: bool) {
    let t = tokens(ui);
    let counts = compared.counts;
    let ink = if fresh { t.text1 } else { t.text3 };
    let y = rect.top() + 8.0;
    let painter = ui.painter();
    let name = "equal signs";
    paint_text(painter, pos2(rect.left(), y), Align2::LEFT_CENTER, name, size::LABEL, weight::TEXT, t.text2);
    let share = format::optional(compared.sign_agreement().map(|share| 100.0 * share), 1);
    let words = format!("{share} %");
    paint_text(painter, pos2(rect.right(), y), Align2::RIGHT_CENTER, words, size::BODY, weight::VALUE, ink);
    let bar = Rect::from_min_max(pos2(rect.left(), rect.top() + 20.0), rect.max);
    let mut child = ui.new_child(UiBuilder::new().max_rect(bar));
    let [both, here, ..] = t.mask_cells();
    let parts = [
        Part { name: "equal", amount: counts.same_sign as f64, colour: shade(both, fresh, t) },
        Part { name: "opposite", amount: (counts.signed - counts.same_sign) as f64, colour: shade(here, fresh, t) },
    ];
    let shown = StackedBar::new("Signs where both are kept", &parts).height(7.0).show(&mut child);
    let opposite = counts.signed - counts.same_sign;
    shown.response.on_hover_text(format!(
        "Of {} weights that are kept in both, {} have the same sign and {} the opposite one",
        format::grouped(counts.signed),
        format::grouped(counts.same_sign),
        format::grouped(opposite)
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts([both, only_a, only_b, neither]: [u64; 4]) -> MaskCounts {
        MaskCounts { both, only_a, only_b, neither, ..MaskCounts::default() }
    }

    #[test]
    fn areas_are_shares_and_slivers_stay() {
        let area = Rect::from_min_size(pos2(10.0, 20.0), vec2(201.0, 101.0));
        let [both, here, there, neither] = layout(area, counts([30, 20, 10, 40]));
        assert!((both.width() - 100.0).abs() < 1.5 && (both.height() / here.height() - 1.5).abs() < 0.05);
        assert!((neither.height() / there.height() - 4.0).abs() < 0.3);
        assert!((there.left() - both.right() - GAP).abs() < 1e-3 && (neither.max - area.max).length() < 1e-3);
        let [both, here, there, neither] = layout(area, counts([1, 0, 1, 1 << 40]));
        assert!(both.width() >= 1.0 && there.height() >= 1.0 && neither.area() > 0.9 * area.area());
        assert!(!here.is_positive());
        let [_, all, nothing, none] = layout(area, counts([0, 7, 0, 0]));
        assert!(all == area && !nothing.is_positive() && !none.is_positive());
    }
}
