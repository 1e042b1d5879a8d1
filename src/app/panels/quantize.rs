//! The quantize column of the scheme editor: number format, bits, groups, range, zero point.

use super::number_formats::{Format, formats, misfit, place_of};
use super::scheme::{Editor, NARROW};
use crate::app::command::Command;
use crate::app::theme;
use crate::app::widgets::{Choice, Entry, Segmented, Slider, Switch, ValueField};
use crate::estimate::size;
use crate::kernels::layout::Unit;
use crate::recipe::{Decimal, Quantize, Range};
use egui::{Align, Layout, Ui};

/// The percentile that a percentile range starts with.
const FIRST_PERCENTILE: f64 = 99.9;

/// An integer grid, part by part.
#[derive(Clone, Copy)]
struct Grid {
    bits: u32,
    unit: Unit,
    asymmetric: bool,
    range: Range,
    a8: bool,
}

impl From<Grid> for Quantize {
    fn from(Grid { bits, unit, asymmetric, range, a8 }: Grid) -> Self {
        // A percentile is one of magnitudes: with a zero point there is none.
        let range = if asymmetric && matches!(range, Range::Percentile(_)) { Range::Max } else { range };
        Self::Int { bits, unit, asymmetric, range, a8 }
    }
}

/// Draws the right column of the editor.
pub(super) fn quantize_ui(ui: &mut Ui, editor: &Editor<'_>, commands: &mut Vec<Command>) {
    let set = |commands: &mut Vec<Command>, quantize: Option<Quantize>| {
        editor.push(commands, editor.scheme.clone().with_quantize(quantize), "quantize");
    };
    let shown = editor.scheme.quantize.clone();
    ui.horizontal(|ui| {
        let mut switched = shown.is_some();
        if ui.add(Switch::new(&mut switched, "Quantize").disabled(editor.locked)).changed() {
            set(commands, switched.then(|| editor.first_format()));
        }
        ui.label(theme::title("Quantize"));
        if let Some(format) = format_ui(ui, editor, shown.as_ref()) {
            let first = formats(editor.target)[format].first.clone();
            set(commands, Some(if editor.target.runtime().is_some() { editor.fitting(first) } else { first }));
        }
    });
    let Some(quantize) = shown else {
        let tensor = editor.tensor;
        let bits = 8.0 * tensor.bytes() as f64 / tensor.elements().max(1) as f64;
        // Two decimals, where there are any.
        let bits = (bits * 100.0).round() / 100.0;
        ui.label(theme::hint(format!("{} as it is, {bits} bits a weight", tensor.type_name().to_lowercase())));
        return;
    };
    if let Quantize::Int { bits, unit, asymmetric, range, a8: false } = quantize {
        let grid = Grid { bits, unit, asymmetric, range, a8: false };
        integer_ui(ui, editor, grid, &mut |quantize| set(commands, Some(quantize)));
    } else {
        levels_ui(ui, editor, &quantize, &mut |quantize| set(commands, Some(quantize)));
    }
}

/// The list of formats; gives the one that was taken.
fn format_ui(ui: &mut Ui, editor: &Editor<'_>, shown: Option<&Quantize>) -> Option<usize> {
    let formats = formats(editor.target);
    let entry = |format: &'static Format| {
        let no_zero = editor.scheme.clone().with_quantize(Some(format.first.clone())).loses_zeros();
        let zeros = no_zero.then_some("Its levels cannot hold the zeros of pruning");
        Entry { label: format.label, about: format.about, reason: misfit(format, editor.tensor).or(zeros) }
    };
    let entries: Vec<Entry<'_>> = formats.iter().map(entry).collect();
    let shown = shown.and_then(|quantize| place_of(formats, quantize));
    let current = formats[shown.unwrap_or(0)].label;
    let taken = ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        let width = ui.available_width().min(112.0);
        Choice::new("Number format", current).width(width).disabled(editor.locked).show(ui, &entries)
    });
    taken.inner
}

/// Every format but the integers: what it costs, and the little that it can be told.
fn levels_ui(ui: &mut Ui, editor: &Editor<'_>, quantize: &Quantize, set: &mut dyn FnMut(Quantize)) {
    cost_ui(ui, editor);
    let locked = editor.locked;
    match *quantize {
        // There a scale per row is all there is.
        Quantize::Fp8 { .. } if editor.target.runtime().is_some() => {}
        Quantize::Fp8 { e5m2, row } => {
            if let Some(row) = unit_ui(ui, row, "cast", locked) {
                set(Quantize::Fp8 { e5m2, row });
            }
        }
        Quantize::Ternary { row } => {
            if let Some(row) = unit_ui(ui, row, "tensor", locked) {
                set(Quantize::Ternary { row });
            }
        }
        Quantize::Binary { row } => {
            if let Some(row) = unit_ui(ui, row, "tensor", locked) {
                set(Quantize::Binary { row });
            }
        }
        Quantize::Nf4(group) => {
            let groups = [32, 64, 128];
            let mut chosen = groups.iter().position(|&g| g == group).unwrap_or(1);
            ui.horizontal(|ui| {
                ui.label(theme::label("group"));
                let control = Segmented::new(&mut chosen, &["32", "64", "128"], "Scale group").chips();
                if ui.add(control.disabled(&[locked; 3])).changed() {
                    set(Quantize::Nf4(groups[chosen]));
                }
            });
        }
        Quantize::Codebook { k, row, best } => codebook_ui(ui, k, row, best, locked, set),
        // Its bits and rows are given.
        Quantize::Int { bits, unit, asymmetric, range, a8 } => {
            let grid = Grid { bits, unit, asymmetric, range, a8 };
            range_ui(ui, grid, locked, &mut |grid| set(grid.into()));
            if let Range::Percentile(q) = range {
                ui.horizontal(|ui| percentile_ui(ui, grid, q, locked, &mut |grid| set(grid.into())));
            }
        }
        _ => {}
    }
    let formats = formats(editor.target);
    let about = place_of(formats, quantize).map_or("", |place| formats[place].about);
    // Whole or not at all: half a line says nothing.
    if ui.available_height() > 36.0 {
        ui.add_space(2.0);
        ui.add(egui::Label::new(theme::hint(about)).wrap());
    }
}

/// Bits of a weight with all that belongs to it.
fn cost_ui(ui: &mut Ui, editor: &Editor<'_>) {
    let total = size::bits_with_side(editor.tensor, editor.scheme, editor.target);
    let code = size::code_bits(editor.tensor, editor.scheme) as f64;
    ui.horizontal(|ui| {
        ui.label(theme::rich(format!("{code:.0}"), theme::size::DIAL, theme::weight::TITLE).strong());
        ui.label(theme::label("bits"));
        if total - code >= 0.005 && editor.scheme.factorize.is_none() {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let side = total - code;
                let words = if ui.available_width() > 120.0 {
                    format!("+{side:.2} for scales = {total:.2} bits")
                } else {
                    format!("= {total:.2} with scales")
                };
                ui.label(theme::label(words));
            });
        }
    });
}

/// One scale for all, or one per row; gives the new choice when it changes.
fn unit_ui(ui: &mut Ui, row: bool, whole: &str, locked: Option<&str>) -> Option<bool> {
    let mut chosen = usize::from(row);
    let mut changed = false;
    ui.horizontal(|ui| {
        ui.label(theme::label("scale"));
        let labels = [whole, "row"];
        let control = Segmented::new(&mut chosen, &labels, "Scale group").chips();
        changed = ui.add(control.disabled(&[locked; 2])).changed();
    });
    changed.then_some(chosen == 1)
}

fn codebook_ui(ui: &mut Ui, k: u32, row: bool, best: bool, locked: Option<&str>, set: &mut dyn FnMut(Quantize)) {
    let mut values = f64::from(k);
    ui.horizontal(|ui| {
        let field = ValueField::new(&mut values, 2.0..=256.0, "Shared values").unit("shared values").step(1.0);
        if ui.add(field.size(theme::size::BODY).disabled(locked)).changed() {
            set(Quantize::Codebook { k: values as u32, row, best });
        }
    });
    let mut bits = f64::from(k).log2();
    let ticks = [(1.0, "2"), (2.0, "4"), (3.0, "8"), (4.0, "16"), (5.0, "32"), (6.0, "64"), (7.0, "128"), (8.0, "256")];
    let slider = Slider::new(&mut bits, 1.0..=8.0, "Codebook size").step(1.0).ticks(ticks);
    if ui.add(slider.disabled(locked)).changed() {
        set(Quantize::Codebook { k: bits.exp2().round() as u32, row, best });
    }
    if let Some(row) = unit_ui(ui, row, "tensor", locked) {
        set(Quantize::Codebook { k, row, best });
    }
    let mut chosen = usize::from(best);
    ui.horizontal(|ui| {
        ui.label(theme::label("search"));
        let control = Segmented::new(&mut chosen, &["Lloyd", "optimum"], "Codebook search").chips();
        if ui.add(control.disabled(&[locked; 2])).changed() {
            set(Quantize::Codebook { k, row, best: chosen == 1 });
        }
    });
}

fn integer_ui(ui: &mut Ui, editor: &Editor<'_>, grid: Grid, set: &mut dyn FnMut(Quantize)) {
    let (tensor, scheme, locked) = (editor.tensor, editor.scheme, editor.locked);
    // Bits that the target does not have go to the next that it has.
    let mut set = |grid: Grid| set(editor.fitting(grid.into()));
    let reason = |grid: Grid| locked.or(editor.unheld(&grid.into()));
    let mut value = f64::from(grid.bits);
    ui.horizontal(|ui| {
        if ui.add(ValueField::new(&mut value, 2.0..=8.0, "Bits").unit("bits").step(1.0).disabled(locked)).changed() {
            set(Grid { bits: value as u32, ..grid });
        }
        // Scales of factors are of other rows than the tensor's.
        if scheme.factorize.is_some() {
            return;
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let total = size::bits_with_side(tensor, scheme, editor.target);
            let side = total - f64::from(grid.bits);
            let words = if ui.available_width() > 130.0 {
                format!("+{side:.2} for scales = {total:.2} bits")
            } else {
                format!("= {total:.2} with scales")
            };
            ui.label(theme::label(words));
        });
    });
    let ticks = [(2.0, "2"), (3.0, "3"), (4.0, "4"), (5.0, "5"), (6.0, "6"), (7.0, "7"), (8.0, "8")];
    let slider = Slider::new(&mut value, 2.0..=8.0, "Bit width").step(1.0).ticks(ticks).disabled(locked);
    if ui.add(slider).changed() {
        set(Grid { bits: value as u32, ..grid });
    }
    ui.horizontal(|ui| {
        if ui.available_width() > NARROW {
            ui.label(theme::label("group"));
        }
        let units = [Unit::Tensor, Unit::Row, Unit::Group(32), Unit::Group(64), Unit::Group(128)];
        let mut chosen = units.iter().position(|u| *u == grid.unit).unwrap_or(1);
        let reasons = units.map(|unit| reason(Grid { unit, ..grid }));
        let control = Segmented::new(&mut chosen, &["tensor", "row", "32", "64", "128"], "Scale group")
            .chips()
            .disabled(&reasons);
        if ui.add(control).changed() {
            set(Grid { unit: units[chosen], ..grid });
        }
    });
    range_ui(ui, grid, locked, &mut set);
    ui.horizontal(|ui| {
        let mut symmetric = !grid.asymmetric;
        ui.label(theme::label("symmetric"));
        let held = reason(Grid { asymmetric: symmetric, ..grid });
        if ui.add(Switch::new(&mut symmetric, "Symmetric").disabled(held)).changed() {
            set(Grid { asymmetric: !symmetric, ..grid });
        }
        if let Range::Percentile(q) = grid.range {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| percentile_ui(ui, grid, q, locked, &mut set));
        }
    });
}

/// The choice of how the range is found.
fn range_ui(ui: &mut Ui, grid: Grid, locked: Option<&str>, set: &mut dyn FnMut(Grid)) {
    ui.horizontal(|ui| {
        if ui.available_width() > NARROW {
            ui.label(theme::label("range"));
        }
        let mut chosen = match grid.range {
            Range::Max => 0,
            Range::Mse => 1,
            Range::Percentile(_) => 2,
        };
        let asymmetric = grid.asymmetric.then_some("A percentile needs a symmetric grid");
        let reasons = [locked, locked, locked.or(asymmetric)];
        let control =
            Segmented::new(&mut chosen, &["max", "searched", "percentile"], "Range").chips().disabled(&reasons);
        if ui.add(control).changed() {
            let percentile = Range::Percentile(Decimal::from_f64(FIRST_PERCENTILE, 1));
            set(Grid { range: [Range::Max, Range::Mse, percentile][chosen], ..grid });
        }
    });
}

fn percentile_ui(ui: &mut Ui, grid: Grid, q: Decimal, locked: Option<&str>, set: &mut dyn FnMut(Grid)) {
    let mut percent = q.to_f64();
    let field = ValueField::new(&mut percent, 0.001..=100.0, "Clip percentile")
        .unit("percentile")
        .decimals(3)
        .step(0.05)
        .size(theme::size::BODY);
    if ui.add(field.disabled(locked)).changed() {
        let range = match Decimal::from_f64(percent, 3) {
            q if q.to_f64() >= 100.0 => Range::Max,
            q => Range::Percentile(q),
        };
        set(Grid { range, ..grid });
    }
}
