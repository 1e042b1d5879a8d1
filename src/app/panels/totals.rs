//! The model in numbers: stored size first, then what it costs in quality, then where the bytes went; every headline with its kind.

use crate::app::format;
use crate::app::theme::{self, Tokens, tokens};
use crate::app::widgets::{Bar, Kind, KindChip, Part, StackedBar};
use crate::estimate::total::Totals;
use crate::session::Live;
use egui::{Align, Layout, Sense, Ui, vec2};

/// Height that the panel wants, in points.
#[must_use]
pub fn height(live: &Live) -> f32 {
    if live.network.is_some() { 494.0 } else { 376.0 }
}

/// Draws the totals.
pub fn totals_ui(ui: &mut Ui, live: &Live) {
    let inner = ui.max_rect().shrink2(vec2(16.0, 12.0));
    let mut ui = ui.new_child(egui::UiBuilder::new().max_rect(inner));
    let ui = &mut ui;
    ui.spacing_mut().item_spacing.y = 3.0;
    ui.spacing_mut().interact_size.y = 18.0;
    let Some(totals) = &live.totals else {
        let words = match live.why_stale().filter(|_| !live.is_busy()) {
            Some(why) => format!("No totals: {}", format::plain(&why)),
            None => "Reading the model…".to_owned(),
        };
        ui.add(egui::Label::new(theme::hint(words)).wrap());
        return;
    };
    let fresh = live.is_fresh();
    stored_ui(ui, live, totals, fresh);
    ui.add_space(4.0);
    ui.separator();
    if live.network.is_some() {
        accuracy_ui(ui, live);
        ui.add_space(4.0);
        ui.separator();
    }
    fidelity_ui(ui, totals, fresh);
    ui.add_space(4.0);
    ui.separator();
    bytes_ui(ui, totals, fresh);
}

/// A section's name left, its kind right.
fn head_ui(ui: &mut Ui, name: &str, kind: Kind, stale: bool) {
    ui.horizontal(|ui| {
        ui.label(theme::label(name));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.add(KindChip::new(kind).stale(stale).about(name)));
    });
}

/// An old number fades.
fn shade(ui: &Ui, text: egui::RichText, fresh: bool) -> egui::RichText {
    if fresh { text } else { text.color(tokens(ui).text3) }
}

fn stored_ui(ui: &mut Ui, live: &Live, totals: &Totals, fresh: bool) {
    head_ui(ui, "Stored", Kind::of(totals.label), !fresh);
    let ratio = live.model.bytes as f64 / totals.bytes.max(1) as f64;
    ui.horizontal(|ui| {
        let (value, unit) = format::bytes(totals.bytes);
        let exact = format!("{} bytes", format::grouped(totals.bytes));
        ui.label(shade(ui, theme::total(value), fresh)).on_hover_text(exact);
        ui.label(theme::rich(unit, theme::size::MODEL, theme::weight::TEXT).weak());
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.label(theme::hint("×"));
            ui.label(shade(
                ui,
                theme::rich(format!("{ratio:.2}"), theme::size::RATIO, theme::weight::TITLE).strong(),
                fresh,
            ));
        });
    });
    ui.horizontal(|ui| {
        ui.label(theme::label(format!("from {}", format::bytes_text(live.model.bytes))));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if let Some(bits) = totals.bits_per_weight {
                ui.label(theme::label(format!("{bits:.2} bits per weight")));
            }
        });
    });
    ui.add_space(4.0);
    let source = live.model.bytes.max(1) as f64;
    let t = tokens(ui);
    let rows = [
        ("stored", Some(totals.bytes), t.after, "What the target writes, to the byte"),
        (
            "sparse",
            totals.sparse_bytes,
            t.after.gamma_multiply(0.75),
            "Best of dense codes, mask or relative indices at these bits: a formula",
        ),
        ("entropy", totals.entropy_bytes, t.after.gamma_multiply(0.55), "Shannon bound of codes and mask: a formula"),
    ];
    for (name, bytes, colour, meaning) in rows {
        let share = bytes.map_or(0.0, |b| b as f64 / source) as f32;
        share_ui(ui, (name, meaning), bytes, Bar::new(name, share.min(1.0)).fill(colour), fresh);
    }
}

/// One measure of bytes: its name, a bar that says how much of the source it is, the number.
fn share_ui(ui: &mut Ui, (name, meaning): (&str, &str), bytes: Option<u64>, bar: Bar<'_>, fresh: bool) {
    let t = tokens(ui);
    ui.horizontal(|ui| {
        let (label, _) = ui.allocate_exact_size(vec2(52.0, 16.0), Sense::hover());
        let (at, anchor) = (label.left_center(), egui::Align2::LEFT_CENTER);
        theme::paint_text(ui.painter(), at, anchor, name, theme::size::LABEL, theme::weight::TEXT, t.text2);
        let width = (ui.available_width() - 84.0).max(20.0);
        ui.add(bar.width(width).height(7.0)).on_hover_text(meaning);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let (value, unit) = bytes.map_or(("–".to_owned(), ""), format::bytes);
            ui.spacing_mut().item_spacing.x = 4.0;
            ui.label(theme::hint(unit));
            ui.label(shade(ui, theme::value(value).strong(), fresh));
        });
    });
}

fn accuracy_ui(ui: &mut Ui, live: &Live) {
    let measured = live.measured.as_ref();
    let images = measured.map_or(0, |m| m.accuracy.n);
    let name =
        if images > 0 { format!("Accuracy, {} images", format::grouped(images as u64)) } else { "Accuracy".into() };
    let fresh = measured.is_some_and(|m| m.fresh && m.whole);
    head_ui(ui, &name, Kind::Measured, !fresh);
    if live.unmeasured.is_some() {
        ui.label(theme::hint("not measured: a layer refuses its scheme"));
    }
    let Some(measured) = measured else {
        if live.unmeasured.is_none() {
            ui.label(theme::hint(if live.is_measuring() { "running the network…" } else { "not measured" }));
        }
        return;
    };
    let accuracy = measured.accuracy;
    ui.horizontal(|ui| {
        ui.label(shade(ui, theme::headline(format!("{:.2}", accuracy.percent())), measured.fresh));
        ui.label(theme::hint("%"));
        ui.label(theme::label(format!("± {:.2}", accuracy.standard_error()))).on_hover_text("One standard error");
    });
    if let Some(source) = live.source_accuracy {
        let change = accuracy.percent() - source.percent();
        let noise = accuracy.standard_error().hypot(source.standard_error());
        let words = if change.abs() < noise {
            "indistinguishable from".to_owned()
        } else {
            format!("{} points from", signed_plus(change))
        };
        ui.label(theme::hint(format!("{words} source {:.2} ± {:.2} %", source.percent(), source.standard_error())))
            .on_hover_text("A difference under one standard error of both measurements is none");
    }
}

fn signed_plus(x: f64) -> String {
    format!("{x:+.2}").replace('-', "−")
}

fn fidelity_ui(ui: &mut Ui, totals: &Totals, fresh: bool) {
    head_ui(ui, "Fidelity", Kind::of(totals.label), !fresh);
    ui.horizontal(|ui| {
        ui.label(shade(ui, theme::headline(format!("{:.1}", totals.fidelity)), fresh));
        ui.label(theme::hint("%"));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(theme::label("form chain")));
    });
    ui.label(theme::hint("a proxy: it ranks recipes, it is not accuracy")).on_hover_text(
        "100 · Π (1 − t²) over the weight tensors: what is left of the signal through a chain of layers",
    );
}

fn bytes_ui(ui: &mut Ui, totals: &Totals, fresh: bool) {
    let t: &Tokens = tokens(ui);
    ui.label(theme::title("Where the bytes went"));
    let header = ("header", totals.overhead_bytes, t.header);
    let parts = super::bytes::parts(&totals.sizes, t).into_iter().chain([header]);
    let parts: Vec<_> = parts.filter(|p| p.1 > 0).collect();
    let bars: Vec<Part<'_>> =
        parts.iter().map(|&(name, bytes, colour)| Part { name, amount: bytes as f64, colour }).collect();
    StackedBar::new("Where the bytes went", &bars).height(14.0).show(ui);
    let width = (ui.available_width() - 8.0) / 2.0;
    for pair in parts.chunks(2) {
        if ui.available_height() < 16.0 {
            break;
        }
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 0.0;
            for (i, &(name, bytes, colour)) in pair.iter().enumerate() {
                if i == 1 {
                    ui.add_space(8.0);
                }
                let (cell, _) = ui.allocate_exact_size(vec2(width, 16.0), Sense::hover());
                paint_part(ui, cell, name, bytes, colour, if fresh { t.text1 } else { t.text3 });
            }
        });
    }
}

/// One part of the bytes: its colour and name left, its size right.
fn paint_part(ui: &Ui, cell: egui::Rect, name: &str, bytes: u64, colour: egui::Color32, ink: egui::Color32) {
    use egui::Align2;
    use theme::{paint_text, size, weight};
    let (t, painter) = (tokens(ui), ui.painter());
    let dot = egui::Rect::from_center_size(cell.left_center() + vec2(4.0, 0.0), vec2(8.0, 8.0));
    painter.rect_filled(dot, 1.0, colour);
    let at = cell.left_center() + vec2(12.0, 0.0);
    paint_text(painter, at, Align2::LEFT_CENTER, name, size::LABEL, weight::TEXT, t.text2);
    let (value, unit) = format::bytes(bytes);
    // Beside the longest name there is room for four digits.
    let short = value.parse::<f64>().ok().filter(|_| value.len() > 5).map(|value| format!("{value:.1}"));
    let value = short.unwrap_or(value);
    let unit = paint_text(painter, cell.right_center(), Align2::RIGHT_CENTER, unit, size::HINT, weight::TEXT, t.text3);
    let at = unit.left_center() - vec2(3.0, 0.0);
    paint_text(painter, at, Align2::RIGHT_CENTER, value, size::BODY, weight::VALUE, ink);
}
