//! The scheme editor: the same choice as switches and sliders, and as the line of text that a recipe file would hold.

use crate::app::command::Command;
use crate::app::state::View;
use crate::app::theme::{self, tokens};
use crate::app::widgets::Segmented;
use crate::app::workbench::pane;
use crate::model::Tensor;
use crate::recipe::{Decimal, Prune, Quantize, Scheme, Scope, Target};
use crate::session::Live;
use egui::{Align, Layout, Rect, Role, Ui, WidgetInfo, pos2, vec2};
use std::cell::Cell;

/// Width that each of three columns needs.
const COLUMN: f32 = 228.0;

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
        pane(ui, body, "scheme body", |ui| untouched_ui(ui, tensor, commands));
        return;
    }
    let locked = live.is_locked(view.selected).then_some("This layer is locked, press L");
    let scheme = live.scheme(view.selected).clone();
    let all = body.width() >= 3.0 * COLUMN;
    // Where two columns have room, the left one shows what the scheme has of the two.
    let step = view.step.unwrap_or(usize::from(scheme.prune.is_none() && scheme.factorize.is_some()));
    let editor = Editor {
        tensor,
        target: live.target(),
        scheme: &scheme,
        locked,
        gesture: view.gesture,
        alone: (!all).then_some(step),
        chosen: Cell::new(None),
    };
    let half = if body.width() < 2.0 * NARROW { 0.46 } else { 0.5 };
    let cuts: Vec<f32> = if all { vec![1.0 / 3.0, 2.0 / 3.0] } else { vec![half] };
    let cuts: Vec<f32> = cuts.into_iter().map(|share| egui::lerp(body.left()..=body.right(), share)).collect();
    for &x in &cuts {
        ui.painter().vline(x, body.top() + 4.0..=body.bottom() - 12.0, egui::Stroke::new(1.0, tokens(ui).line));
    }
    let edge = |at: usize, or: f32| cuts.get(at).map_or(or, |x| x - 14.0);
    let column = |at: usize| {
        let left = at.checked_sub(1).and_then(|before| cuts.get(before)).map_or(body.left(), |x| x + 14.0);
        Rect::from_min_max(pos2(left, body.top()), pos2(edge(at, body.right()), body.bottom()))
    };
    if all || step == 0 {
        pane(ui, column(0), "prune", |ui| super::prune::prune_ui(ui, &editor, commands));
    }
    if all || step == 1 {
        let place = column(usize::from(all));
        pane(ui, place, "factorize", |ui| super::factorize::factorize_ui(ui, &editor, commands));
    }
    pane(ui, column(cuts.len()), "quantize", |ui| super::quantize::quantize_ui(ui, &editor, commands));
    view.step = editor.chosen.get().or(view.step);
}

/// Why a tensor is kept as it is, and the way to change that where there is one.
fn untouched_ui(ui: &mut Ui, tensor: &Tensor, commands: &mut Vec<Command>) {
    let coded = tensor.is_coded() || tensor.side_of_codes;
    let words = if coded {
        "Stored as codes of an earlier quantization: kept as it is"
    } else {
        "Not a float tensor: kept as it is"
    };
    ui.label(theme::label(words));
    if coded && !tensor.is_plain() {
        ui.add_space(4.0);
        let what =
            "Quantizes again what is quantized, by the values that it reads as: a second loss on top of the first";
        if ui.button("Re-tune what is quantized").on_hover_text(what).clicked() {
            commands.push(Command::Requantize);
        }
        ui.label(theme::hint("A second loss on top of the first: where the unquantized model is at hand, open that"));
    }
}

/// What the columns of the editor share: the selected tensor, its scheme, and how a change is told.
pub(super) struct Editor<'a> {
    pub tensor: &'a Tensor,
    pub target: Target,
    pub scheme: &'a Scheme,
    /// Why nothing can be changed.
    pub locked: Option<&'a str>,
    gesture: u64,
    /// The step that the left column shows, where there is no room for both.
    alone: Option<usize>,
    /// The step that was chosen for it in this frame.
    chosen: Cell<Option<usize>>,
}

impl Editor<'_> {
    /// Gives the tensor another scheme, as part of the gesture under way.
    pub fn push(&self, commands: &mut Vec<Command>, scheme: Scheme, verb: &str) {
        let what = format!("{verb} {}", self.tensor.name);
        commands.push(Command::SetScheme { scheme, what, gesture: Some(self.gesture) });
    }

    /// What quantization begins with: the target's usual format, or the nearest that fits the tensor and holds its zeros.
    pub fn first_format(&self) -> Quantize {
        self.fitting(super::number_formats::formats(self.target)[0].first.clone())
    }

    /// A number format, or the nearest to it that the target holds on the tensor with its zeros.
    pub fn fitting(&self, quantize: Quantize) -> Quantize {
        let scheme = self.scheme.clone().with_quantize(Some(quantize.clone()));
        self.target.usable(&scheme, &self.tensor.shape).quantize.unwrap_or(quantize)
    }

    /// Why a number format cannot be had in a target whose readers know but a few.
    pub fn unheld(&self, quantize: &Quantize) -> Option<&'static str> {
        self.target.runtime()?;
        let scheme = self.scheme.clone().with_quantize(Some(quantize.clone()));
        let held = self.target.usable(&scheme, &self.tensor.shape).quantize.as_ref() == Some(quantize);
        (!held).then_some("The target does not hold this on rows of this length")
    }

    /// Why pruning cannot be changed.
    pub fn prune_reason(&self) -> Option<&str> {
        // What the switch and the slider begin with, where nothing is pruned yet.
        let first = Prune::Magnitude { share: Decimal::from_f64(0.5, 1), scope: Scope::Tensor };
        let prune = self.scheme.prune.clone().unwrap_or(first);
        self.locked.or(self.scheme.clone().with_prune(Some(prune)).contradiction())
    }

    /// Whether the left column has room for one step only.
    pub fn is_narrow(&self) -> bool {
        self.alone.is_some()
    }

    /// The title of the step of this column, prune or factorize: a choice between the two where there is room for one.
    pub fn title_ui(&self, ui: &mut Ui, step: usize) {
        let words = ["Prune", "Factorize"];
        let Some(mut shown) = self.alone else {
            ui.label(theme::title(words[step]));
            return;
        };
        let short = if ui.available_width() < 160.0 { ["Prune", "Factors"] } else { words };
        if ui.add(Segmented::new(&mut shown, &short, "Step").chips()).changed() {
            self.chosen.set(Some(shown));
        }
    }
}

fn head_ui(ui: &mut Ui, live: &Live, view: &mut View, commands: &mut Vec<Command>) {
    let rect = ui.max_rect();
    let mut right = ui.new_child(egui::UiBuilder::new().max_rect(rect).layout(Layout::right_to_left(Align::Center)));
    apply_ui(&mut right, live, view);
    let left = Rect::from_min_max(rect.min, pos2(right.min_rect().left() - 12.0, rect.bottom()));
    let mut left = ui.new_child(egui::UiBuilder::new().max_rect(left).layout(Layout::left_to_right(Align::Center)));
    if rect.width() > 460.0 {
        left.label(theme::title("Scheme"));
    }
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
