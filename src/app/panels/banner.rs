//! What cannot wait, between the header and the panels: what went wrong and what can be done about it, and the recipe that a
//! session before this one left behind.
//!
//! It never stands in the way: everything under it goes on working, Escape puts it away, and a recipe is restored by a
//! button and by nothing else.

use crate::app::command::Command;
use crate::app::format;
use crate::app::recovery::Offer;
use crate::app::state::View;
use crate::app::theme::{self, tokens};
use crate::app::widgets::{Icon, IconButton};
use crate::session::Live;
use crate::session::trouble::Trouble;
use egui::{Align, Color32, Layout, Rect, Role, Ui, WidgetInfo, pos2, vec2};

/// Height of one line of it.
const LINE: f32 = 36.0;

/// Height that it takes at the moment.
#[must_use]
pub fn height(live: &Live, view: &View) -> f32 {
    LINE * (f32::from(live.troubles.newest().is_some()) + f32::from(view.offer.is_some()))
}

/// Draws it.
pub fn banner_ui(ui: &mut Ui, live: &Live, view: &View, commands: &mut Vec<Command>) {
    let mut rest = ui.max_rect();
    let mut next_line = || {
        let line = Rect::from_min_size(rest.min, vec2(rest.width(), LINE));
        rest.min.y += LINE;
        line
    };
    if let Some(trouble) = live.troubles.newest() {
        trouble_ui(ui, next_line(), trouble, live, commands);
    }
    if let Some(offer) = &view.offer {
        offer_ui(ui, next_line(), offer, commands);
    }
}

/// The ground of a line, and its two parts: what is said left, what can be done right.
fn line_ui(ui: &mut Ui, rect: Rect, id: &str, colour: Color32) -> [Ui; 2] {
    let t = tokens(ui);
    ui.painter().rect_filled(rect, 0.0, t.bg2);
    ui.painter().rect_filled(Rect::from_min_size(rect.min, vec2(3.0, rect.height())), 0.0, colour);
    ui.painter().hline(rect.x_range(), rect.bottom() - 0.5, egui::Stroke::new(1.0, t.line));
    let inner = rect.shrink2(vec2(16.0, 0.0));
    let part = |ui: &mut Ui, side: &str, layout: Layout| {
        ui.new_child(egui::UiBuilder::new().max_rect(inner).id_salt((id, side)).layout(layout))
    };
    [part(ui, "left", Layout::left_to_right(Align::Center)), part(ui, "right", Layout::right_to_left(Align::Center))]
}

/// The words, in the room that the buttons leave.
fn say(ui: &mut Ui, right: &Ui, icon: Icon, colour: Color32, words: &str) {
    let end = right.min_rect().left() - 16.0;
    ui.set_clip_rect(
        Rect::from_min_max(ui.max_rect().min, pos2(end, ui.max_rect().bottom())).intersect(ui.clip_rect()),
    );
    let (place, _) = ui.allocate_exact_size(vec2(14.0, 14.0), egui::Sense::hover());
    icon.paint(ui.painter(), place.center(), colour);
    let words = format::plain(words);
    ui.set_max_width((end - ui.cursor().left()).max(0.0));
    let label = ui.add(egui::Label::new(theme::number(&words)).truncate());
    label.widget_info(|| WidgetInfo::labeled(Role::Alert, true, &words));
    label.on_hover_text(words.clone());
}

fn trouble_ui(ui: &mut Ui, rect: Rect, trouble: &Trouble, live: &Live, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let [mut left, mut right] = line_ui(ui, rect, "trouble", t.bad);
    if !trouble.stays && right.add(IconButton::new(Icon::Close, "Put the message away")).clicked() {
        commands.push(Command::CloseBanner);
    }
    if let Some(next) = trouble.next
        && right.button(next.words()).clicked()
    {
        commands.push(Command::Next(next));
    }
    let more = live.troubles.count() - 1;
    if more > 0 {
        right.label(theme::label(format!("{more} more")));
    }
    say(&mut left, &right, Icon::Warning, t.bad, &trouble.text());
}

fn offer_ui(ui: &mut Ui, rect: Rect, offer: &Offer, commands: &mut Vec<Command>) {
    let t = tokens(ui);
    let [mut left, mut right] = line_ui(ui, rect, "offer", t.accent);
    if right.add(IconButton::new(Icon::Close, "Decide later")).clicked() {
        commands.push(Command::Later);
    }
    if right.button("Discard").on_hover_text("Delete what was kept").clicked() {
        commands.push(Command::Discard);
    }
    let (button, command) = match offer {
        Offer::Restore { .. } => ("Restore", Command::Restore),
        Offer::Reopen(_) => ("Open it", Command::Reopen),
    };
    if right.add(theme::primary_button(button, t)).clicked() {
        commands.push(command);
    }
    say(&mut left, &right, Icon::Undo, t.accent, &offer.words());
}
