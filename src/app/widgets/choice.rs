//! One choice out of many: a box that opens a list, each entry with a line that says what it is or why it cannot be taken.

use super::combo_icon;
use crate::app::theme;
use egui::{ComboBox, Role, Ui, WidgetInfo};

/// An entry of a [`Choice`].
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its word.
    pub label: &'a str,
    /// What it is, on hover.
    pub about: &'a str,
    /// Why it cannot be taken now.
    pub reason: Option<&'a str>,
}

/// A box over a list of entries, called `name` by screen readers.
#[must_use = "show it in a ui"]
pub struct Choice<'a> {
    name: &'a str,
    shown: &'a str,
    width: f32,
    disabled: Option<&'a str>,
}

impl<'a> Choice<'a> {
    /// A box that shows `shown`.
    pub fn new(name: &'a str, shown: &'a str) -> Self {
        Self { name, shown, width: 120.0, disabled: None }
    }

    /// Its width in points.
    pub fn width(mut self, width: f32) -> Self {
        self.width = width;
        self
    }

    /// Why nothing can be chosen now.
    pub fn disabled(mut self, reason: Option<&'a str>) -> Self {
        self.disabled = reason;
        self
    }

    /// Draws it; gives the position of the entry that was taken just now.
    pub fn show(self, ui: &mut Ui, entries: &[Entry<'_>]) -> Option<usize> {
        let mut taken = None;
        let mut list = |ui: &mut Ui| {
            let combo = ComboBox::from_id_salt(self.name)
                .selected_text(theme::value(self.shown))
                .icon(combo_icon)
                .width(self.width)
                .height(420.0);
            combo.show_ui(ui, |ui| {
                for (at, entry) in entries.iter().enumerate() {
                    let label = egui::Button::selectable(entry.label == self.shown, entry.label);
                    let response = ui.add_enabled(entry.reason.is_none(), label);
                    if response.clicked() && entry.label != self.shown {
                        taken = Some(at);
                    }
                    response.on_hover_text(entry.about).on_disabled_hover_text(entry.reason.unwrap_or_default());
                }
            })
        };
        let response = ui.add_enabled_ui(self.disabled.is_none(), &mut list).inner.response;
        let (enabled, name) = (self.disabled.is_none(), self.name);
        response.widget_info(|| WidgetInfo::labeled(Role::ComboBox, enabled, name));
        if let Some(reason) = self.disabled {
            response.on_disabled_hover_text(reason);
        }
        taken
    }
}
