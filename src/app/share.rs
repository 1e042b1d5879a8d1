//! What is handed on from the window: the choice, and what a file says of itself, as text on the clipboard; and a report.

use super::command::Command;
use super::export_dialog::file_stem;
use super::facts::Facts;
use super::file_dialog::FileView;
use super::format;
use super::state::{Dialog, View};
use super::taken::Taken;
use crate::session::Live;
use crate::share::forms::FORMS;
use egui::Context;

/// Carries out what is about handing on; gives whether the command was.
pub(super) fn carry_out(ctx: &Context, live: Option<&mut Live>, view: &mut View, command: &Command) -> bool {
    let Some(live) = live else { return false };
    match command {
        Command::CopyAs(at) => {
            let Some(form) = FORMS.get(*at) else { return true };
            copy(ctx, view, form.name, live.words(form));
        }
        Command::CopyValue(at) => {
            let facts = Facts::of(&live.model);
            copy(ctx, view, &format::plain(facts.key(*at)), facts.whole(&live.model, *at));
        }
        Command::AskFile => view.dialog = Some(Dialog::File(FileView::of(&live.model))),
        Command::AskReport => {
            live.forget_report();
            let path = format!("{}.html", file_stem(&live.model.name));
            view.dialog = Some(Dialog::Report { path, force: false, taken: Taken::default() });
        }
        Command::Report { out, force } => live.report(out.clone(), *force),
        Command::CancelReport => live.cancel_report(),
        _ => return false,
    }
    true
}

/// Puts a text on the clipboard and says so, or why there is none.
fn copy(ctx: &Context, view: &mut View, what: &str, text: Result<String, String>) {
    let text = match text {
        Ok(text) => text,
        Err(why) => {
            view.refusal = Some(why);
            return;
        }
    };
    let length = match text.lines().count() {
        0 | 1 => match text.trim_end().chars().count() {
            1 => "1 letter".to_owned(),
            several => format!("{} letters", format::grouped(several as u64)),
        },
        several => format!("{} lines", format::grouped(several as u64)),
    };
    view.done = Some(format!("{what}: copied, {length}"));
    ctx.copy_text(text);
}
