//! The quantize column of the scheme editor: number format, bits, groups, range, zero point.

use super::scheme::{NARROW, push};
use crate::app::command::Command;
use crate::app::state::View;
use crate::app::theme;
use crate::app::widgets::{Segmented, Slider, Switch, ValueField};
use crate::estimate::size;
use crate::kernels::layout::Unit;
use crate::model::Tensor;
use crate::recipe::{Decimal, Quantize, Range, Scheme};
use egui::{Align, Layout, Ui};

/// What quantization starts with when it is switched on.
const FIRST_BITS: u32 = 4;
/// The percentile that a percentile range starts with.
const FIRST_PERCENTILE: f64 = 99.9;

/// An integer grid, part by part.
#[derive(Clone, Copy)]
struct Grid {
    bits: u32,
    unit: Unit,
    asymmetric: bool,
    range: Range,
}

impl From<Grid> for Quantize {
    fn from(Grid { bits, unit, asymmetric, range }: Grid) -> Self {
        // A percentile is one of magnitudes: with a zero point there is none.
        let range = if asymmetric && matches!(range, Range::Percentile(_)) { Range::Max } else { range };
        Self::Int { bits, unit, asymmetric, range }
    }
}

/// Draws the right column of the editor.
pub(super) fn quantize_ui(
    ui: &mut Ui,
    tensor: &Tensor,
    scheme: &Scheme,
    locked: Option<&str>,
    view: &View,
    commands: &mut Vec<Command>,
) {
    let default = Quantize::Int { bits: FIRST_BITS, unit: Unit::Row, asymmetric: false, range: Range::Max };
    let on = scheme.quantize.is_some();
    let set = |commands: &mut Vec<Command>, quantize: Option<Quantize>| {
        push(commands, view, tensor, scheme.clone().with_quantize(quantize), "quantize");
    };
    let kind = match &scheme.quantize {
        Some(Quantize::F16) => 1,
        Some(Quantize::Bf16) => 2,
        _ => 0,
    };
    let format_ui = |ui: &mut Ui, commands: &mut Vec<Command>| {
        let mut chosen = kind;
        let reasons = [locked; 3];
        let control = Segmented::new(&mut chosen, &["integer", "f16", "bf16"], "Number format").disabled(&reasons);
        if ui.add(control).changed() {
            let quantize = [default.clone(), Quantize::F16, Quantize::Bf16];
            set(commands, quantize.get(chosen).cloned());
        }
    };
    // In a narrow column the formats stand under the title.
    let narrow = ui.available_width() < NARROW;
    ui.horizontal(|ui| {
        let mut switched = on;
        if ui.add(Switch::new(&mut switched, "Quantize").disabled(locked)).changed() {
            set(commands, switched.then(|| default.clone()));
        }
        ui.label(theme::title("Quantize"));
        if !narrow {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| format_ui(ui, commands));
        }
    });
    if narrow {
        format_ui(ui, commands);
    }
    let integer = scheme.quantize.clone().filter(|_| kind == 0);
    match (integer, kind) {
        (None, 0) => {
            ui.label(theme::hint(format!(
                "{} as it is, {} bits a weight",
                tensor.dtype.name().to_lowercase(),
                tensor.dtype.bits()
            )));
        }
        (None, _) => {
            ui.label(theme::hint("A plain cast: the tensor is stored in that dtype, in every target"));
        }
        (Some(Quantize::Int { bits, unit, asymmetric, range }), _) => {
            let grid = Grid { bits, unit, asymmetric, range };
            integer_ui(ui, tensor, scheme, grid, locked, &mut |grid| set(commands, Some(grid.into())));
        }
        _ => {}
    }
}

fn integer_ui(
    ui: &mut Ui,
    tensor: &Tensor,
    scheme: &Scheme,
    grid: Grid,
    locked: Option<&str>,
    set: &mut dyn FnMut(Grid),
) {
    let mut value = f64::from(grid.bits);
    ui.horizontal(|ui| {
        if ui.add(ValueField::new(&mut value, 2.0..=8.0, "Bits").unit("bits").step(1.0).disabled(locked)).changed() {
            set(Grid { bits: value as u32, ..grid });
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let total = size::bits_with_side(tensor, scheme);
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
        let reasons = [locked; 5];
        let control = Segmented::new(&mut chosen, &["tensor", "row", "32", "64", "128"], "Scale group")
            .chips()
            .disabled(&reasons);
        if ui.add(control).changed() {
            set(Grid { unit: units[chosen], ..grid });
        }
    });
    range_ui(ui, grid, locked, set);
    ui.horizontal(|ui| {
        let mut symmetric = !grid.asymmetric;
        ui.label(theme::label("symmetric"));
        if ui.add(Switch::new(&mut symmetric, "Symmetric").disabled(locked)).changed() {
            set(Grid { asymmetric: !symmetric, ..grid });
        }
        if let Range::Percentile(q) = grid.range {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| percentile_ui(ui, grid, q, locked, set));
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
