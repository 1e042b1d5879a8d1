//! The factorize column of the scheme editor: the rank or the energy that is kept, and up to where that pays.

use super::scheme::Editor;
use crate::app::command::Command;
use crate::app::format;
use crate::app::theme;
use crate::app::widgets::{Segmented, Slider, Switch, ValueField};
use crate::estimate::factors::break_even_rank;
use crate::recipe::{Decimal, Factorize, Scheme};
use egui::{Align, Layout, Ui};

/// The energy that an energy dial starts with.
const FIRST_ENERGY: f64 = 0.9;

/// The largest rank of a tensor's matrix, dimension 0 × the rest.
fn full_rank(tensor: &crate::model::Tensor) -> usize {
    let geometry = tensor.geometry();
    geometry.rows.min(geometry.cols)
}

/// The greatest rank at which the two factors hold fewer elements than the matrix: only up to it do they pay.
fn break_even(tensor: &crate::model::Tensor) -> usize {
    break_even_rank(tensor.geometry())
}

/// Draws the column.
pub(super) fn factorize_ui(ui: &mut Ui, editor: &Editor<'_>, commands: &mut Vec<Command>) {
    let set = |commands: &mut Vec<Command>, factorize: Option<Factorize>| {
        let scheme = Scheme { factorize, ..editor.scheme.clone() };
        editor.push(commands, scheme, "factorize");
    };
    let full = full_rank(editor.tensor);
    let first = (break_even(editor.tensor) / 2).clamp(1, full.max(1));
    let reason =
        editor.locked.or_else(|| refusal(editor.scheme)).or((full < 2).then_some("A single row has no rank to lose"));
    let shown = editor.scheme.factorize;
    ui.horizontal(|ui| {
        let mut switched = shown.is_some();
        if ui.add(Switch::new(&mut switched, "Factorize").disabled(reason)).changed() {
            set(commands, switched.then_some(Factorize::Rank(first as u64)));
        }
        editor.title_ui(ui, 1);
    });
    if let Some(shown) = shown {
        let mut kind = usize::from(matches!(shown, Factorize::Energy(_)));
        ui.horizontal(|ui| {
            ui.label(theme::label("keep"));
            let control = Segmented::new(&mut kind, &["rank", "energy"], "Factorize by").chips();
            if ui.add(control.disabled(&[reason; 2])).changed() {
                let energy = Factorize::Energy(Decimal::from_f64(FIRST_ENERGY, 2));
                set(commands, Some(if kind == 1 { energy } else { Factorize::Rank(first as u64) }));
            }
        });
    }
    match shown {
        None => {
            ui.label(theme::hint(reason.map_or_else(|| format!("full rank {full}"), str::to_owned)));
        }
        Some(Factorize::Rank(rank)) => {
            rank_ui(ui, editor, rank as usize, full, &mut |rank| set(commands, Some(Factorize::Rank(rank as u64))));
        }
        Some(Factorize::Energy(energy)) => {
            energy_ui(ui, editor, energy, &mut |energy| set(commands, Some(Factorize::Energy(energy))));
        }
    }
}

/// Why a scheme cannot be factorized.
pub(super) fn refusal(scheme: &Scheme) -> Option<&'static str> {
    Scheme { factorize: Some(Factorize::Rank(1)), ..scheme.clone() }.contradiction()
}

fn rank_ui(ui: &mut Ui, editor: &Editor<'_>, rank: usize, full: usize, set: &mut dyn FnMut(usize)) {
    let even = break_even(editor.tensor);
    let mut value = rank as f64;
    ui.horizontal(|ui| {
        let unit = format!("of {}", format::grouped(full as u64));
        let field = ValueField::new(&mut value, 1.0..=full as f64, "Rank").unit(&unit).step(1.0);
        if ui.add(field.disabled(editor.locked)).changed() {
            set(value as usize);
        }
        let geometry = editor.tensor.geometry();
        let elements = rank.saturating_mul(geometry.rows + geometry.cols);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.label(theme::label(format!("{} in factors", format::count(elements as u64))));
        });
    });
    let words = format!("pays to {}", format::grouped(even as u64));
    let slider = Slider::new(&mut value, 1.0..=full as f64, "Kept rank").step(1.0).mark(even as f64, &words);
    if ui.add(slider.disabled(editor.locked)).changed() {
        set(value as usize);
    }
}

fn energy_ui(ui: &mut Ui, editor: &Editor<'_>, energy: Decimal, set: &mut dyn FnMut(Decimal)) {
    let mut percent = 100.0 * energy.to_f64();
    let to = |percent: f64| Decimal::from_f64(percent / 100.0, 4);
    ui.horizontal(|ui| {
        let field = ValueField::new(&mut percent, 0.0..=100.0, "Kept energy").unit("% energy").decimals(1).step(0.1);
        if ui.add(field.disabled(editor.locked)).changed() {
            set(to(percent));
        }
    });
    let spoken = format!("{percent:.1} %");
    let slider = Slider::new(&mut percent, 0.0..=100.0, "Energy share").step(0.5).spoken(spoken);
    if ui.add(slider.disabled(editor.locked)).changed() {
        set(to(percent));
    }
}
