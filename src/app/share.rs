//! What is handed on from the window: the choice and what a file says of itself as text on the clipboard.

use super::format;
use super::state::View;
use crate::session::Live;
use crate::share::forms::FORMS;
use egui::Context;

/// Puts the choice on the clipboard in the form at this position, and says so.
pub(super) fn copy_as(ctx: &Context, live: &Live, view: &mut View, at: usize) {
    let Some(form) = FORMS.get(at) else { return };
    match live.words(form) {
        Ok(text) => copy(ctx, view, form.name, text),
        Err(why) => view.refusal = Some(why),
    }
}

/// Puts a text on the clipboard, and says what it is.
pub(super) fn copy(ctx: &Context, view: &mut View, what: &str, text: String) {
    let lines = match text.lines().count() {
        0 | 1 => format!("{} characters", format::grouped(text.trim_end().chars().count() as u64)),
        several => format!("{} lines", format::grouped(several as u64)),
    };
    view.done = Some(format!("{what} copied, {lines}"));
    ctx.copy_text(text);
}
