//! The Compare tab: the selected layer beside the same layer of another checkpoint, as masks, and all layers together.
//!
//! | file | what it draws |
//! |---|---|
//! | this | which checkpoint it is, the way to one, and where the parts stand |
//! | `mask` | two masks as four cells, and the signs where both are kept |
//! | `list` | every layer: how its mask overlaps, how its signs agree |
//! | `figures` | the figures of the selected layer, before and after its scheme |

mod figures;
mod list;
mod mask;

pub(super) use figures::{column_ui, line_ui};

use crate::app::command::Command;
use crate::app::format;
use crate::app::state::View;
use crate::app::theme::{self, paint_text, size, tokens, weight};
use crate::app::widgets::{Icon, IconButton};
use crate::app::workbench::pane;
use crate::model::Origin;
use crate::session::Live;
use crate::session::beside::{Checkpoint, Likeness};
use egui::{Align, Align2, Layout, Rect, Ui, UiBuilder, pos2, vec2};

/// A narrower plot has no room for the list beside the cells.
const LIST_FROM: f32 = 340.0;
/// The cells are no wider than this: more would only be more of the same colour.
const WIDEST_MASK: f32 = 440.0;

/// Draws the tab. What is not compared yet is asked for.
pub(super) fn compare_ui(ui: &mut Ui, live: &Live, view: &View, commands: &mut Vec<Command>) {
    let rect = ui.max_rect();
    let Some(checkpoint) = live.checkpoint() else { return empty_ui(ui, live, commands) };
    commands.push(Command::WantComparisons(view.selected));
    let head = Rect::from_min_size(rect.min, vec2(rect.width(), 24.0));
    pane(ui, head, "checkpoint", |ui| head_ui(ui, live, checkpoint, commands));
    let body = Rect::from_min_max(pos2(rect.left(), head.bottom() + 8.0), rect.max);
    let listed = body.width() > LIST_FROM && body.height() > 120.0;
    let width = if listed { (0.42 * body.width()).min(WIDEST_MASK) } else { body.width() };
    let left = Rect::from_min_size(body.min, vec2(width, body.height()));
    pane(ui, left, "mask", |ui| layer_ui(ui, live, checkpoint, view.selected));
    if listed {
        let right = Rect::from_min_max(pos2(left.right() + 20.0, body.top()), body.max);
        pane(ui, right, "all layers", |ui| list::list_ui(ui, live, view, commands));
    }
}

/// Which checkpoint it is, how much of it fits, and the ways to another one and to none.
fn head_ui(ui: &mut Ui, live: &Live, checkpoint: &Checkpoint, commands: &mut Vec<Command>) {
    let rect = ui.max_rect();
    let mut right = ui.new_child(UiBuilder::new().max_rect(rect).layout(Layout::right_to_left(Align::Center)));
    if right.add(IconButton::new(Icon::Close, "Let the checkpoint go")).clicked() {
        commands.push(Command::LetGo);
    }
    let opening = live.opening_beside().is_some();
    let another = egui::Button::new(theme::label(if opening { "Opening…" } else { "Another…" })).frame(false);
    if right.add_enabled(!opening, another).on_hover_text("Compare with another checkpoint").clicked() {
        commands.push(Command::AskBeside);
    }
    let left = Rect::from_min_max(rect.min, pos2(right.min_rect().left() - 8.0, rect.bottom()));
    let mut left = ui.new_child(UiBuilder::new().max_rect(left).layout(Layout::left_to_right(Align::Center)));
    left.spacing_mut().item_spacing.x = 6.0;
    left.label(theme::hint("beside"));
    // The facts stay whole: a long name gives way to them.
    let facts = facts(live, checkpoint);
    let words = theme::galley(&left, &facts, size::LABEL, weight::TEXT, tokens(&left).text2);
    let room = (left.available_width() - words.size().x - 12.0).max(60.0);
    let name = format::plain(&checkpoint.model.name);
    left.scope(|ui| {
        ui.set_max_width(room);
        ui.add(egui::Label::new(theme::value(name)).truncate()).on_hover_text(where_from(checkpoint));
    });
    left.add(egui::Label::new(theme::label(facts)).truncate()).on_hover_ui(|ui| only_ui(ui, checkpoint));
}

fn where_from(checkpoint: &Checkpoint) -> String {
    match &checkpoint.model.origin {
        Origin::File(path) | Origin::Folder(path) => format::plain(&path.display().to_string()),
        Origin::Demo(name) => format!("demo:{name}"),
    }
}

fn facts(live: &Live, checkpoint: &Checkpoint) -> String {
    if checkpoint.is_changed() {
        return "changed while it was open".to_owned();
    }
    let (matched, all) = (checkpoint.matched(), live.model.tensors.len());
    let of = if matched == all { "all".to_owned() } else { format!("{} of", format::grouped(matched as u64)) };
    let others = match checkpoint.only_there.len() + checkpoint.tied_here.len() {
        0 => String::new(),
        1 => ", 1 other".to_owned(),
        others => format!(", {} others", format::grouped(others as u64)),
    };
    format!("has {of} {} tensors{others}", format::grouped(all as u64))
}

/// The names that the model has not, as many as can be read at a glance.
fn only_ui(ui: &mut Ui, checkpoint: &Checkpoint) {
    if checkpoint.only_there.is_empty() && checkpoint.tied_here.is_empty() {
        ui.label("Tensors are matched by name");
        return;
    }
    names_ui(ui, "Only there", &checkpoint.only_there);
    names_ui(ui, "Tied to others here, so compared with nothing", &checkpoint.tied_here);
}

fn names_ui(ui: &mut Ui, what: &str, names: &[String]) {
    const SHOWN: usize = 12;
    let tensors = match names.len() {
        0 => return,
        1 => "1 tensor".to_owned(),
        n => format!("{} tensors", format::grouped(n as u64)),
    };
    ui.label(format!("{what}, {tensors}:"));
    names.iter().take(SHOWN).for_each(|name| drop(ui.label(theme::label(format::plain(name)))));
    if names.len() > SHOWN {
        ui.label(theme::label(format!("and {} more", format::grouped((names.len() - SHOWN) as u64))));
    }
}

/// The selected layer; where there is nothing to draw, why.
fn layer_ui(ui: &mut Ui, live: &Live, checkpoint: &Checkpoint, index: usize) {
    let likeness = live.likeness(index);
    match likeness.and_then(|likeness| Some((likeness.result?, likeness.fresh))) {
        Some((result, fresh)) if result.counts.elements() > 0 => mask::mask_ui(ui, result, fresh),
        _ => say(ui, &why_nothing(live, checkpoint, index, likeness)),
    }
}

/// Why there is no picture of a layer, in words.
fn why_nothing(live: &Live, checkpoint: &Checkpoint, index: usize, likeness: Option<Likeness<'_>>) -> String {
    let tensor = &live.model.tensors[index];
    let Some(likeness) = likeness else {
        return format!("{} has no tensor of this name", format::plain(&checkpoint.model.name));
    };
    if let Some(why) = likeness.refusal {
        return format!("Nothing would be exported: {}", format::plain(why));
    }
    let Some(result) = likeness.result else {
        return if live.is_comparing() { "Comparing…" } else { "Not compared" }.to_owned();
    };
    match result.note {
        _ if tensor.elements() == 0 => "No elements".to_owned(),
        Some(note) => {
            let there = checkpoint.counterpart(index).map(|there| &there.shape);
            let here = live.plan().outcome(&live.model, index).shape;
            match there {
                Some(there) if there != here => {
                    format!("Their shapes differ: {} here, {} there", format::shape(here), format::shape(there))
                }
                _ => format!("They cannot be compared: {note}"),
            }
        }
        None => "No elements".to_owned(),
    }
}

/// Words in the middle of the pane.
fn say(ui: &mut Ui, words: &str) {
    let room = ui.max_rect();
    let inner = Rect::from_center_size(room.center(), vec2(room.width().min(320.0), 60.0));
    let mut inner = ui.new_child(UiBuilder::new().max_rect(inner));
    inner.vertical_centered(|ui| ui.add(egui::Label::new(theme::label(words)).wrap()));
}

/// Nothing beside the model yet: what it would tell, and the way to it.
fn empty_ui(ui: &mut Ui, live: &Live, commands: &mut Vec<Command>) {
    let rect = ui.max_rect();
    if let Some(path) = live.opening_beside() {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let words = format!("Opening {}…", format::plain(&name));
        let t = tokens(ui);
        paint_text(ui.painter(), rect.center(), Align2::CENTER_CENTER, words, size::BODY, weight::TEXT, t.text2);
        return;
    }
    let inner = Rect::from_center_size(rect.center(), vec2(rect.width().min(360.0), rect.height().min(140.0)));
    let mut inner = ui.new_child(UiBuilder::new().max_rect(inner));
    inner.vertical_centered(|ui| {
        ui.label(theme::title("Which weights does another checkpoint keep?"));
        let words = "Overlap of masks, equal signs and distance of every layer, before and after its scheme, beside a \
                     model or a file of masks with tensors of the same names";
        ui.add(egui::Label::new(theme::label(words)).wrap());
        ui.add_space(8.0);
        if ui.button("Compare with…").clicked() {
            commands.push(Command::AskBeside);
        }
        ui.add_space(2.0);
        ui.label(theme::hint("or drop it here"));
    });
}
