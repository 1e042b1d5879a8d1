//! The menu of the forms in which the choice goes on the clipboard; what this choice has no words in says why.

use crate::app::command::{COPY_COMMAND, Command};
use crate::app::format;
use crate::app::state::View;
use crate::app::widgets::Icon;
use crate::session::Live;
use crate::share::forms::{COMMAND, FORMS};
use egui::{AtomKind, Button, Popup, Role, SizedAtomKind, Ui, Vec2, WidgetInfo};
use std::sync::Arc;

/// Why forms have no words for a recipe, found once for each recipe that the menu is opened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    revision: u64,
    by_form: Vec<Option<String>>,
}

/// The button of the menu, and the menu while it is open.
pub fn copy_as_ui(ui: &mut Ui, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let response = ui.add(Button::new(("Copy as", chevron())));
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Copy as"));
    let keys = ui.ctx().format_shortcut(&COPY_COMMAND);
    Popup::menu(&response).show(|ui| {
        let refusals = refusals(live, view);
        ui.set_min_width(200.0);
        for (at, (form, refusal)) in FORMS.iter().zip(&refusals).enumerate() {
            let button = Button::new(form.name);
            let button = if at == COMMAND { button.shortcut_text(keys.as_str()) } else { button };
            let enabled = refusal.is_none();
            let response = ui.add_enabled(enabled, button);
            response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, form.name));
            if response.clicked() {
                commands.push(Command::CopyAs(at));
            }
            response.on_hover_text(form.about).on_disabled_hover_text(refusal.as_deref().unwrap_or_default());
        }
    });
    response.on_hover_text(format!("The choice as text on the clipboard; its command line  {keys}"));
}

/// Why each form has no words for the recipe; on a large model that is too much to be found in every frame.
fn refusals(live: &Live, view: &mut View) -> Vec<Option<String>> {
    let known = view.refusals.take().filter(|known| known.revision == live.revision());
    let found = known.unwrap_or_else(|| Refusals {
        revision: live.revision(),
        by_form: FORMS.iter().map(|form| live.words(form).err().map(|why| format::plain(&why))).collect(),
    });
    view.refusals.insert(found).by_form.clone()
}

/// The mark of a menu, in the colour of the button's words.
fn chevron() -> egui::Atom<'static> {
    let draw = |ui: &Ui, args: egui::AtomPaintArgs| {
        Icon::ChevronDown.paint(ui.painter(), args.rect.center(), args.fallback_text_color);
    };
    AtomKind::closure(move |_, _| {
        let size = Vec2::splat(8.0);
        egui::IntoSizedResult { intrinsic_size: size, sized: SizedAtomKind::Paint { paint: Arc::new(draw), size } }
    })
    .into()
}
