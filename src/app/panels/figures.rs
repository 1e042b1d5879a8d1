//! The selected layer in figures: error and its parts, bytes in three sizes, and where a mask begins to pay.

use crate::app::format;
use crate::app::theme::{self, Tokens, tokens};
use crate::app::widgets::{Kind, KindChip, Part, StackedBar};
use crate::estimate::size;
use crate::recipe::Target;
use crate::session::Live;
use egui::{Align, Layout, Ui};

/// One figure: label left, value and unit right.
fn figure_ui(ui: &mut Ui, name: &str, value: &str, unit: &str, fresh: bool) {
    ui.horizontal(|ui| {
        ui.label(theme::label(name));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            if !unit.is_empty() {
                ui.label(theme::hint(unit));
            }
            let text = theme::value(value);
            ui.label(if fresh { text.strong() } else { text.color(tokens(ui).text3) });
        });
    });
}

fn section_ui(ui: &mut Ui, name: &str, kind: Kind, fresh: bool) {
    ui.horizontal(|ui| {
        ui.label(theme::title(name));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add(KindChip::new(kind).stale(!fresh).about(name))
        });
    });
}

/// The column beside the plot.
pub fn column_ui(ui: &mut Ui, live: &Live, index: usize) {
    let t = tokens(ui);
    let row = &live.rows[index];
    let Some(estimate) = &row.estimate else {
        ui.label(theme::hint("not read yet"));
        return;
    };
    ui.spacing_mut().item_spacing.y = 3.0;
    ui.spacing_mut().interact_size.y = 18.0;
    let kind = Kind::of(estimate.label);
    // What was quantized before has lost something already, which no number here counts.
    let again = live.model.tensors[index].is_coded() && !live.scheme(index).is_keep();
    section_ui(ui, if again { "Second error" } else { "Error" }, kind, row.fresh);
    match &estimate.errors {
        Some(errors) => {
            // The standard error stands in the line of its number, so that nothing moves when the exact one comes.
            let name = match estimate.t2_error.filter(|error| *error >= 5e-5) {
                Some(error) => format!("relative t² ± {} %", format::percent(error, 1)),
                None => "relative t²".to_owned(),
            };
            figure_ui(ui, &name, &errors.t2().map_or("–".into(), format::small_percent), "%", row.fresh);
            figure_ui(ui, "SQNR", &format::optional(errors.sqnr_db(), 2), "dB", row.fresh);
            figure_ui(ui, "cosine", &format::optional(errors.cosine(), 4), "", row.fresh);
            if errors.squared_error > 0.0 {
                parts_ui(ui, errors, estimate.factors.is_some(), t);
            }
        }
        None if live.model.tensors[index].is_coded() => drop(ui.label(theme::hint("stored as codes: kept as it is"))),
        None => drop(ui.label(theme::hint("not a float tensor: kept as it is"))),
    }
    ui.add_space(6.0);
    ui.separator();
    section_ui(ui, "Bytes", kind, row.fresh);
    let tensor = &live.model.tensors[index];
    let line = |ui: &mut Ui, name: &str, bytes: Option<u64>| {
        let (value, unit) = bytes.map_or(("–".to_owned(), ""), format::bytes);
        figure_ui(ui, name, &value, unit, row.fresh);
    };
    line(ui, "source", Some(tensor.bytes()));
    line(ui, "stored", Some(estimate.bytes()));
    line(ui, "sparse", estimate.sparse_bytes);
    line(ui, "entropy", estimate.entropy_bytes);
    let parts: Vec<Part<'_>> = super::bytes::parts(&estimate.sizes, t)
        .into_iter()
        .map(|(name, bytes, colour)| Part { name, amount: bytes as f64, colour })
        .collect();
    ui.add_space(2.0);
    StackedBar::new("Where this layer's bytes went", &parts).height(7.0).show(ui);
    // Whole or not at all: half a line says nothing.
    if let Some(words) = break_even_words(live, index).filter(|_| ui.available_height() > 34.0) {
        ui.add_space(2.0);
        ui.add(egui::Label::new(theme::hint(words)).wrap());
    }
}

fn parts_ui(ui: &mut Ui, errors: &crate::kernels::error::ErrorSums, factorized: bool, t: &Tokens) {
    let share = |part: f64| (part / errors.squared_error).clamp(0.0, 1.0);
    let (pruned, clipped) = (share(errors.pruned_error), share(errors.clipped_error));
    let [prune_colour, round_colour, clip_colour] = t.error_parts();
    let parts = [
        Part { name: "pruned", amount: pruned, colour: prune_colour },
        Part {
            name: if factorized { "rank, rounded" } else { "rounded" },
            amount: (1.0 - pruned - clipped).max(0.0),
            colour: round_colour,
        },
        Part { name: "clipped", amount: clipped, colour: clip_colour },
    ];
    ui.add_space(2.0);
    StackedBar::new("Error parts", &parts).height(7.0).show(ui);
    for part in parts.iter().filter(|part| part.amount >= 0.005) {
        ui.horizontal(|ui| {
            let (dot, _) = ui.allocate_exact_size(egui::vec2(8.0, 8.0), egui::Sense::hover());
            ui.painter().rect_filled(dot, 1.0, part.colour);
            ui.label(theme::label(part.name));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                ui.label(theme::hint("%"));
                ui.label(theme::value(format::percent(part.amount, 0)).strong());
            });
        });
    }
}

/// One line under the plot of a narrow window.
pub fn line_ui(ui: &mut Ui, live: &Live, index: usize) {
    let row = &live.rows[index];
    let Some(estimate) = &row.estimate else { return };
    ui.horizontal(|ui| {
        ui.add(KindChip::new(Kind::of(estimate.label)).stale(!row.fresh).about("Layer"));
        let errors = estimate.errors.as_ref();
        let t2 = errors.and_then(crate::kernels::error::ErrorSums::t2).map_or("–".into(), format::small_percent);
        let sqnr = format::optional(errors.and_then(crate::kernels::error::ErrorSums::sqnr_db), 2);
        ui.label(theme::label(format!("t² {t2} %   SQNR {sqnr} dB")));
        let source = format::bytes_text(live.model.tensors[index].bytes());
        ui.label(theme::label(format!("{source} → {}", format::bytes_text(estimate.bytes()))));
    });
}

/// Whether a mask pays at these bits and zeros, in words.
fn break_even_words(live: &Live, index: usize) -> Option<String> {
    let (tensor, scheme, row) = (&live.model.tensors[index], live.scheme(index), &live.rows[index]);
    let estimate = row.estimate.as_ref().filter(|_| row.fresh)?;
    if let Some(note) = live.plan().removals.note(index) {
        return Some(format::plain(note));
    }
    if let Some(factors) = &estimate.factors {
        let geometry = tensor.geometry();
        let elements = factors.rank * (geometry.rows + geometry.cols);
        let (of, all) = (format::count(elements as u64), format::count(tensor.elements() as u64));
        let stored = if live.target() == Target::Packed { "stored" } else { "multiplied back" };
        return Some(format!("Factors of rank {}, {stored}: {of} elements for {all}", factors.rank));
    }
    if scheme.is_keep() {
        return None;
    }
    if live.target() == Target::Safetensors {
        return Some(if size::stored_dtype(tensor.dtype, scheme) == tensor.dtype {
            "The dense target spells every value out: the bytes stay".into()
        } else {
            "A cast is the only thing that shrinks a dense file".into()
        });
    }
    if live.target().is_dense() {
        if let Some(note) = live.plan().joined_note(&live.model, index) {
            return Some(note);
        }
        let zeros =
            scheme.prune.as_ref().map(|_| format!("{} stores its zeros: pruning saves nothing", live.target().name()));
        let bits = size::bits_with_side(tensor, scheme, live.target());
        return Some(zeros.unwrap_or_else(|| format!("{bits:.3} bits a weight, scales and all")));
    }
    let bits = size::code_bits(tensor, scheme);
    let even = format::percent(size::break_even(bits), 0);
    let zeros = estimate.errors.as_ref()?.zeros as f64 / estimate.elements.max(1) as f64;
    let zeros = format::percent(zeros, 0);
    let sizes = &estimate.sizes;
    Some(match (sizes.mask > 0, sizes.indices > 0) {
        (true, _) => format!("Mask pays: {zeros} % zeros, the break-even at {bits} bits is {even} %"),
        (_, true) => format!("Indices pay: {zeros} % zeros, the break-even of a mask at {bits} bits is {even} %"),
        _ => format!("No mask: {zeros} % zeros, the break-even at {bits} bits is {even} %"),
    })
}
