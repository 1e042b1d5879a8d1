//! Bits and kept share in a row of the layer table, as dials: dragged, rolled, stepped with keys, typed over.
//!
//! Up is more on both, whatever moves them: more bits, more weights kept.

use crate::app::command::Command;
use crate::app::hand::{Held, Part, Run};
use crate::app::state::View;
use crate::app::theme::{Tokens, galley, paint_text, size, space, tokens, weight};
use crate::app::widgets::{
    SpokenRange, keep_from_scrolling, paint_focus_ring, paint_pill, rolled, speak_range, value_request, value_steps,
};
use crate::formats::error::printable;
use crate::session::Live;
use egui::{
    Align2, Color32, CornerRadius, CursorIcon, Event, Key, PointerButton, Rect, Response, Role, Sense, Stroke,
    StrokeKind, Ui, WidgetInfo, pos2, vec2,
};

/// What a pointer travels before a press counts as a drag, in points; egui's own.
const SLACK: f32 = 6.0;
/// Digits that can be typed.
const DIGITS: usize = 5;

impl Part {
    /// Points of a drag for one step.
    fn points_per_step(self) -> f32 {
        match self {
            Self::Bits => 10.0,
            Self::Kept => 1.0,
        }
    }

    /// Points of a trackpad for one step.
    fn points_per_click(self) -> f32 {
        match self {
            Self::Bits => 40.0,
            Self::Kept => 8.0,
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Bits => {
                "Bits of a weight\nDrag or roll, up is more; over 8 the dtype stays\nKeys [ and ], or click and type"
            }
            Self::Kept => {
                "Share of the weights that pruning leaves\nDrag or roll, up is more; Shift rolls by 10 %\nKeys − and =, or click and type"
            }
        }
    }
}

/// A dial's place.
#[derive(Clone, Copy)]
pub struct Cell {
    /// The row's tensor.
    pub index: usize,
    /// Which dial.
    pub part: Part,
    /// Where it is.
    pub rect: Rect,
    /// The row's top under the table's.
    pub top: f32,
    /// Whether the pointer is over the row.
    pub near: bool,
}

impl Cell {
    fn key(&self) -> (usize, Part) {
        (self.index, self.part)
    }
}

/// Takes what is done to a dial, and draws its ground. The number on it is the row's to draw.
pub fn dial_ui(ui: &Ui, cell: Cell, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let shown = cell.index == view.selected;
    // One stop of the Tab key for each dial of the shown row: with all rows a long table could not be left.
    let sense = Sense::CLICK | Sense::DRAG | if shown { Sense::FOCUSABLE } else { Sense::empty() };
    let mut response = ui.interact(cell.rect, ui.scope_id().with(("dial", cell.key())), sense);
    let locked = live.is_locked(cell.index);
    if response.clicked() {
        super::layers::click_row(ui, cell.index, commands);
        if shown && !locked {
            response.request_focus();
        }
    }
    drag(ui, &response, cell, live, view, commands);
    wheel(ui, &response, cell, live, view, commands);
    keys(ui, &response, cell, live, view, commands);
    speak(ui, &response, cell, live);
    paint_ground(ui, &response, cell, view, locked);
    if !locked {
        response = response.on_hover_cursor(CursorIcon::ResizeVertical);
        if response.dragged() {
            ui.set_cursor_icon(CursorIcon::ResizeVertical);
        }
    }
    if held(view, cell.index).is_none() {
        response.on_hover_text(if locked { "Locked, press L" } else { cell.part.hint() });
    }
}

fn drag(ui: &Ui, response: &Response, cell: Cell, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    if response.drag_started_by(PointerButton::Primary) {
        if !view.is_chosen(cell.index) {
            commands.push(Command::Select(cell.index));
        }
        let origin = cell.part.value(live, cell.index);
        let (index, part, top) = (cell.index, cell.part, Some(cell.top));
        view.hand.held = Some(Held { index, part, origin, value: origin, gesture: view.gesture, top, until: None });
    }
    let held = view.hand.held.as_mut().filter(|held| (held.index, held.part) == cell.key() && held.until.is_none());
    let Some(held) = held.filter(|_| response.dragged_by(PointerButton::Primary)) else { return };
    let (now, start) = ui.input(|i| (i.pointer.interact_pos(), i.pointer.press_origin()));
    let (Some(now), Some(start)) = (now, start) else { return };
    // Sideways counts too: the last row of a table has no room under it.
    let way = (now.x - start.x) - (now.y - start.y);
    let travel = way.signum() * (way.abs() - SLACK).max(0.0);
    let value = cell.part.stepped(held.origin, f64::from((travel / cell.part.points_per_step()).trunc()));
    if value != held.value && !live.is_locked(cell.index) {
        held.value = value;
        let dial = cell.part.dial(value);
        commands.push(Command::Turn { index: cell.index, dial, gesture: held.gesture });
    }
}

/// The wheel over a dial turns it, and the table stays; a run that began elsewhere goes on scrolling, and a run that began
/// here stays here.
fn wheel(ui: &Ui, response: &Response, cell: Cell, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let pointer = ui.input(|i| i.pointer.hover_pos());
    let run = view.hand.running(pointer);
    let mine = run.map_or_else(|| response.hovered(), |run| run.cell == Some(cell.key()));
    let Some(pointer) = pointer.filter(|_| mine) else { return };
    let clicks = rolled(ui, cell.part.points_per_click());
    if run.is_some() || clicks != 0.0 {
        keep_from_scrolling(ui);
    }
    if clicks == 0.0 {
        return;
    }
    let shift = |event: &Event| matches!(event, Event::MouseWheel { modifiers, .. } if modifiers.shift);
    let coarse = cell.part == Part::Kept && ui.input(|i| i.events.iter().any(shift));
    let steps = run.map_or(0.0, |run| run.rest) + if coarse { 10.0 * clicks } else { clicks };
    view.hand.run = Some(Run { cell: Some(cell.key()), at: view.hand.now, pointer, rest: steps.fract() });
    commands.extend(view.roll(live, cell.index, cell.part, steps.trunc(), Some(cell.top)));
}

fn keys(ui: &Ui, response: &Response, cell: Cell, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    if response.has_focus() {
        if cell.index == view.selected {
            view.hand.focus = Some(response.id);
            commands.extend(type_over(ui, cell, live, view));
        } else {
            response.surrender_focus();
        }
    }
    let steps = value_steps(ui, response);
    if steps != 0.0 {
        view.hand.typed = None;
        commands.extend(view.roll(live, cell.index, cell.part, steps, None));
    }
    if let Some(value) = value_request(ui, response) {
        commands.push(view.put(cell.part, cell.index, value));
    }
}

/// Takes digits, and sets the dial when Enter ends them.
fn type_over(ui: &Ui, cell: Cell, live: &Live, view: &mut View) -> Option<Command> {
    if live.is_locked(cell.index) {
        return None;
    }
    let (digits, back, enter) = ui.input(|input| {
        let text = input.events.iter().filter_map(|event| match event {
            Event::Text(text) => Some(text.replace(',', ".")),
            _ => None,
        });
        let digits: String = text.collect::<String>().chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
        (digits, input.key_pressed(Key::Backspace), input.key_pressed(Key::Enter))
    });
    let typing = view.hand.typed.take().filter(|(index, part, _)| (*index, *part) == cell.key());
    let mut text = typing.map(|(.., text)| text).or_else(|| (!digits.is_empty()).then(String::new))?;
    text.push_str(&digits);
    text.truncate(DIGITS);
    if back {
        text.pop();
    }
    if enter {
        return text.parse().ok().map(|value| view.put(cell.part, cell.index, value));
    }
    view.hand.typed = Some((cell.index, cell.part, text));
    None
}

fn speak(ui: &Ui, response: &Response, cell: Cell, live: &Live) {
    let value = cell.part.value(live, cell.index);
    let enabled = !live.is_locked(cell.index);
    response.widget_info(|| WidgetInfo {
        enabled,
        label: Some(cell.part.spoken(&printable(&live.model.tensors[cell.index].name))),
        value: Some(value),
        ..WidgetInfo::new(Role::SpinButton)
    });
    let (low, high) = cell.part.limits();
    let text = cell.part.words(live, cell.index, value);
    speak_range(ui, response, &SpokenRange { value, low, high, step: 1.0, text });
}

/// One step lighter than the row under it, so that the dials show when the pointer comes near.
fn paint_ground(ui: &Ui, response: &Response, cell: Cell, view: &View, locked: bool) {
    let t = tokens(ui);
    let painter = ui.painter();
    let rect = cell.rect.shrink2(vec2(1.0, 2.0));
    let held = held(view, cell.index).is_some_and(|held| held.part == cell.part);
    let radius = CornerRadius::same(space::RADIUS);
    if !locked && (held || response.hovered()) {
        let ground = if view.is_chosen(cell.index) { t.bg1 } else { t.bg3 };
        let edge = if held { t.accent } else { t.text3 };
        painter.rect(rect, radius, ground, Stroke::new(1.0, edge), StrokeKind::Inside);
    } else if !locked && cell.near {
        let edge = if view.is_chosen(cell.index) { t.text3.gamma_multiply(0.6) } else { t.line };
        painter.rect_stroke(rect, radius, Stroke::new(1.0, edge), StrokeKind::Inside);
    }
    if response.has_focus() {
        paint_focus_ring(painter, rect.shrink(1.0), f32::from(space::RADIUS), t);
    }
}

/// The dial that is held in this row.
fn held(view: &View, index: usize) -> Option<Held> {
    view.hand.held.filter(|held| held.index == index && view.abandoned != Some(held.gesture))
}

/// The number being typed over a dial, with its caret; true when there is one.
pub fn paint_typed(ui: &Ui, cell: Cell, right: f32, view: &View, t: &Tokens) -> bool {
    let typed = view.hand.typed.as_ref().filter(|(index, part, _)| (*index, *part) == cell.key());
    let Some((.., text)) = typed else { return false };
    let at = pos2(right, cell.rect.center().y);
    let place = paint_text(ui.painter(), at, Align2::RIGHT_CENTER, text, size::BODY, weight::VALUE, t.text1);
    ui.painter().vline(place.right() + 1.0, at.y - 7.0..=at.y + 7.0, Stroke::new(1.0, t.accent));
    true
}

/// The pill that says the value of the held dial, and where it is: left of the numbers, so that all of them can be
/// watched.
pub fn paint_held(ui: &Ui, row: Rect, right: f32, live: &Live, view: &View, index: usize) -> Option<Rect> {
    let held = held(view, index)?;
    let t = tokens(ui);
    let mut text =
        if live.is_locked(index) { "locked, press L".to_owned() } else { held.part.words(live, index, held.value) };
    let rows = view.rows_of(live, index).len();
    if rows > 1 && !live.is_locked(index) {
        text = format!("{text} · {rows} layers");
    }
    let width = galley(ui, text.as_str(), size::LABEL, weight::TITLE, Color32::PLACEHOLDER).size().x + 20.0;
    let left = (right - width).max(row.left() + 4.0);
    Some(paint_pill(ui.painter(), pos2(left, row.center().y), Align2::LEFT_CENTER, &text, t))
}
