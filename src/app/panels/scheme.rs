//! The scheme editor: the same choice as switches and sliders, and as the line of text that a recipe file would hold.

use crate::app::command::Command;
use crate::app::format;
use crate::app::state::View;
use crate::app::theme::{self, tokens};
use crate::app::widgets::{Segmented, Slider, Switch, ValueField};
use crate::app::workbench::pane;
use crate::estimate::size;
use crate::model::Tensor;
use crate::recipe::{Decimal, Prune, Scheme, Scope};
use crate::session::Live;
use egui::{Align, Layout, Rect, Role, Ui, WidgetInfo, pos2, vec2};

/// What pruning starts with when it is switched on.
const FIRST_SHARE: f64 = 0.5;

/// A column narrower than this breaks lines that otherwise stand beside each other.
pub(super) const NARROW: f32 = 232.0;

/// Height that the editor needs in a pane of this size.
#[must_use]
pub fn height(width: f32, roomy: bool) -> f32 {
    if width < 2.0 * NARROW + 60.0 || roomy { 260.0 } else { 232.0 }
}

/// Draws the editor of the selected layer's scheme.
pub fn scheme_ui(ui: &mut Ui, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let Some(tensor) = live.model.tensors.get(view.selected) else { return };
    let rect = ui.max_rect();
    let head = Rect::from_min_size(rect.min, vec2(rect.width(), 44.0)).shrink2(vec2(16.0, 0.0));
    pane(ui, head, "scheme head", |ui| head_ui(ui, live, view, commands));
    let body = Rect::from_min_max(pos2(rect.left() + 16.0, head.bottom()), rect.max - vec2(16.0, 0.0));
    if !tensor.is_touchable() {
        let words = if tensor.is_coded() || tensor.side_of_codes {
            "Stored as codes of an earlier quantization: kept as it is"
        } else {
            "Not a float tensor: kept as it is"
        };
        pane(ui, body, "scheme body", |ui| ui.label(theme::label(words)));
        return;
    }
    let locked = live.is_locked(view.selected).then_some("This layer is locked, press L");
    let middle = egui::lerp(body.left()..=body.right(), if body.width() < 2.0 * NARROW { 0.46 } else { 0.5 });
    let left = Rect::from_min_max(body.min, pos2(middle - 14.0, body.bottom()));
    let right = Rect::from_min_max(pos2(middle + 14.0, body.top()), body.max);
    let scheme = live.scheme(view.selected).clone();
    pane(ui, left, "prune", |ui| prune_ui(ui, tensor, &scheme, locked, view, commands));
    pane(ui, right, "quantize", |ui| super::quantize::quantize_ui(ui, tensor, &scheme, locked, view, commands));
    ui.painter().vline(middle, body.top() + 4.0..=body.bottom() - 12.0, egui::Stroke::new(1.0, tokens(ui).line));
}

pub(super) fn push(commands: &mut Vec<Command>, view: &View, tensor: &Tensor, scheme: Scheme, verb: &str) {
    let what = format!("{verb} {}", tensor.name);
    commands.push(Command::SetScheme { scheme, what, gesture: Some(view.gesture) });
}

fn head_ui(ui: &mut Ui, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let rect = ui.max_rect();
    let mut right = ui.new_child(egui::UiBuilder::new().max_rect(rect).layout(Layout::right_to_left(Align::Center)));
    apply_ui(&mut right, live, view);
    let left = Rect::from_min_max(rect.min, pos2(right.min_rect().left() - 12.0, rect.bottom()));
    let mut left = ui.new_child(egui::UiBuilder::new().max_rect(left).layout(Layout::left_to_right(Align::Center)));
    left.label(theme::title("Scheme"));
    let current = live.scheme(view.selected).to_string();
    let mut text = view.scheme_text.clone().unwrap_or_else(|| current.clone());
    let valid = text.parse::<Scheme>();
    let t = tokens(ui);
    let colour = if valid.is_ok() { t.text1 } else { t.bad };
    let width = left.available_width().clamp(60.0, 260.0);
    let field = egui::TextEdit::singleline(&mut text)
        .font(egui::TextStyle::Monospace)
        .text_color(colour)
        .desired_width(width - 16.0);
    let mut response = left.add_enabled(live.model.tensors[view.selected].is_touchable(), field);
    response.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, "Scheme as text"));
    if let Err(error) = &valid {
        response = response.on_hover_text(error.to_string());
    }
    if response.changed() {
        view.scheme_text = Some(text.clone());
    }
    let (enter, escape) = left.input(|i| (i.key_pressed(egui::Key::Enter), i.key_pressed(egui::Key::Escape)));
    if response.lost_focus() {
        view.scheme_text = None;
        if let (Ok(scheme), true, false) = (valid, enter, escape) {
            view.gesture += 1;
            commands.push(Command::GiveScheme { scheme, gesture: Some(view.gesture) });
        }
    }
}

fn apply_ui(ui: &mut Ui, live: &Live, view: &mut View) {
    if view.apply == 3 {
        let count = live.reached(view.selected, &view.apply_to()).len();
        let field = egui::TextEdit::singleline(&mut view.pattern)
            .hint_text("*.weight")
            .font(egui::TextStyle::Monospace)
            .desired_width(110.0);
        let response = ui.add(field).on_hover_text(format!("touches {count} tensors"));
        response.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, "Pattern"));
    }
    let role = live.model.tensors[view.selected].role.name().replace('_', " ");
    // Counted, not matched: a pattern would be compiled in every frame.
    let selected = live.model.tensors[view.selected].role;
    let matrices = || live.model.tensors.iter().filter(|t| t.is_weight_matrix());
    let (all, same_role) = (matrices().count(), matrices().filter(|t| t.role == selected).count());
    let role = format!("{} ×{same_role}", if role == "other" { "role" } else { &role });
    let these = match view.rows_of(live, view.selected).len() {
        0 | 1 => "this layer".to_owned(),
        // Short where the scheme's own line would be left without room.
        several if ui.available_width() < 440.0 => format!("these {several}"),
        several => format!("these {several} layers"),
    };
    let labels = [these, role, format!("all ×{all}"), "pattern…".to_owned()];
    ui.add(Segmented::new(&mut view.apply, &labels, "Apply to"));
    if ui.available_width() > 330.0 {
        ui.label(theme::label("apply to"));
    }
}

fn prune_ui(
    ui: &mut Ui,
    tensor: &Tensor,
    scheme: &Scheme,
    locked: Option<&str>,
    view: &View,
    commands: &mut Vec<Command>,
) {
    let (share, scope) = match &scheme.prune {
        Some(Prune::Magnitude { share, scope }) => (share.to_f64(), *scope),
        _ => (0.0, Scope::Tensor),
    };
    let on = scheme.prune.is_some();
    let set = |commands: &mut Vec<Command>, share: f64, scope: Scope| {
        let share = Decimal::from_f64(share, 4);
        let prune = (!share.is_zero()).then_some(Prune::Magnitude { share, scope });
        push(commands, view, tensor, scheme.clone().with_prune(prune), "prune");
    };
    ui.horizontal(|ui| {
        let mut switched = on;
        if ui.add(Switch::new(&mut switched, "Prune").disabled(locked)).changed() {
            set(commands, if switched { FIRST_SHARE } else { 0.0 }, scope);
        }
        ui.label(theme::title("Prune"));
        if ui.available_width() > 90.0 {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(theme::label("by magnitude")));
        }
    });
    let mut percent = 100.0 * share;
    ui.horizontal(|ui| {
        let field = ValueField::new(&mut percent, 0.0..=100.0, "Pruned percent").unit("% pruned").decimals(1).step(0.1);
        if ui.add(field.disabled(locked)).changed() {
            set(commands, percent / 100.0, scope);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let n = tensor.elements() as u64;
            let kept = n - scheme.pruned_share().map_or(0, |share| share.share_of(n));
            let of = if ui.available_width() > 110.0 { format!(" of {}", format::count(n)) } else { String::new() };
            ui.label(theme::label(format!("{}{of} kept", format::count(kept))));
        });
    });
    let bits = size::code_of(scheme).bits(size::stored_dtype(tensor.dtype, scheme));
    let even = 100.0 * size::break_even(bits);
    let words = format!("break-even {} %", format::signed(even, 0));
    let spoken = format!("{percent:.1} %");
    let slider = Slider::new(&mut percent, 0.0..=100.0, "Pruned share").step(0.5).mark(even, &words).disabled(locked);
    if ui.add(slider.spoken(spoken)).changed() {
        set(commands, percent / 100.0, scope);
    }
    let reason = locked.or((!on).then_some("Nothing is pruned"));
    if let Some(scope) = scope_ui(ui, scope, reason) {
        set(commands, share, scope);
    }
}

/// The choice of where magnitudes are ranked; gives the new one when it changes.
fn scope_ui(ui: &mut Ui, scope: Scope, reason: Option<&str>) -> Option<Scope> {
    let scopes = [Scope::Tensor, Scope::Row, Scope::Global];
    let mut chosen = scopes.iter().position(|s| *s == scope).unwrap_or(0);
    let mut changed = false;
    ui.horizontal(|ui| {
        if ui.available_width() > NARROW {
            ui.label(theme::label("scope"));
        }
        let reasons = [reason; 3];
        let control = Segmented::new(&mut chosen, &["tensor", "row", "global"], "Prune scope");
        changed = ui.add(control.chips().disabled(&reasons)).changed();
    });
    scopes.get(chosen).copied().filter(|_| changed)
}
