//! The prune column of the scheme editor: which weights go, how many of them, and where they are ranked.

use super::scheme::{Editor, NARROW};
use crate::app::command::Command;
use crate::app::format;
use crate::app::theme;
use crate::app::widgets::{Choice, Entry, Segmented, Slider, Switch, ValueField};
use crate::estimate::size;
use crate::recipe::{Decimal, Prune, Scope, Structure};
use egui::{Align, Layout, Ui};

/// What pruning starts with when it is switched on.
const FIRST_SHARE: f64 = 0.5;

/// What can be pruned, in the order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Magnitude,
    Pattern,
    Blocks,
    Random,
    Structured(Structure),
    Mask,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Magnitude,
        Self::Pattern,
        Self::Blocks,
        Self::Structured(Structure::Rows),
        Self::Structured(Structure::Cols),
        Self::Structured(Structure::Heads),
        Self::Structured(Structure::Ffn),
        Self::Random,
        Self::Mask,
    ];

    fn of(prune: &Prune) -> Self {
        match prune {
            Prune::Magnitude { .. } | Prune::Wanda { .. } => Self::Magnitude,
            Prune::Nm { .. } => Self::Pattern,
            Prune::Block { .. } => Self::Blocks,
            Prune::Random { .. } => Self::Random,
            Prune::Structured { what, .. } => Self::Structured(*what),
            Prune::Mask { .. } => Self::Mask,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Magnitude => "magnitude",
            Self::Pattern => "N of M",
            Self::Blocks => "blocks",
            Self::Random => "random",
            Self::Structured(Structure::Rows) => "rows",
            Self::Structured(Structure::Cols) => "columns",
            Self::Structured(Structure::Heads) => "heads",
            Self::Structured(Structure::Ffn) => "ffn units",
            Self::Mask => "mask of a file…",
        }
    }

    const fn about(self) -> &'static str {
        match self {
            Self::Magnitude => "The smallest weights go",
            Self::Pattern => "N of every M weights along a row stay: what sparse tensor cores run",
            Self::Blocks => "The blocks of least energy go",
            Self::Random => "Weights go by lot: the baseline to beat",
            Self::Structured(Structure::Rows) => {
                "Whole rows go, and what belongs to them in other tensors where the network is known"
            }
            Self::Structured(Structure::Cols) => {
                "Whole columns go, and what feeds them in other tensors where the network is known"
            }
            Self::Structured(Structure::Heads) => {
                "Whole attention heads go, with their queries, keys, values and outputs"
            }
            Self::Structured(Structure::Ffn) => "Whole hidden units of the feed-forward part go",
            Self::Mask => "The zeros of another model's tensor of the same name",
        }
    }

    /// This kind of pruning at a share; `None` where a share does not say it.
    fn at(self, share: Decimal) -> Option<Prune> {
        Some(match self {
            Self::Magnitude => Prune::Magnitude { share, scope: Scope::Tensor },
            Self::Pattern => Prune::Nm { n: 2, m: 4 },
            Self::Blocks => Prune::Block { height: 4, width: 4, share },
            Self::Random => Prune::Random { share, seed: 0 },
            Self::Structured(what) => Prune::Structured { what, share },
            Self::Mask => return None,
        })
    }
}

/// The same step at another share; `None` at nothing.
fn at_percent(prune: &Prune, percent: f64) -> Option<Prune> {
    let to = Decimal::from_f64(percent / 100.0, 4);
    (!to.is_zero()).then(|| prune.clone().with_share(to))
}

/// Draws the column.
pub(super) fn prune_ui(ui: &mut Ui, editor: &Editor<'_>, commands: &mut Vec<Command>) {
    let set = |commands: &mut Vec<Command>, prune: Option<Prune>| {
        editor.push(commands, editor.scheme.clone().with_prune(prune), "prune");
    };
    let shown = editor.scheme.prune.clone();
    ui.horizontal(|ui| {
        let mut switched = shown.is_some();
        if ui.add(Switch::new(&mut switched, "Prune").disabled(editor.prune_reason())).changed() {
            let first = Kind::Magnitude.at(Decimal::from_f64(FIRST_SHARE, 4));
            set(commands, first.filter(|_| switched));
        }
        editor.title_ui(ui, 0);
        if !editor.is_narrow() {
            kind_ui(ui, editor, shown.as_ref(), commands);
        }
    });
    if editor.is_narrow() {
        ui.horizontal(|ui| {
            ui.label(theme::label("by"));
            kind_ui(ui, editor, shown.as_ref(), commands);
        });
    }
    let step = shown.unwrap_or(Prune::Magnitude { share: Decimal::from_f64(0.0, 0), scope: Scope::Tensor });
    match &step {
        Prune::Nm { n, m } => pattern_ui(ui, editor, *n, *m, &mut |n, m| set(commands, Some(Prune::Nm { n, m }))),
        Prune::Mask { file } => {
            ui.label(theme::label("Zeros of")).on_hover_text("Weights go where that model's tensor of this name is 0");
            ui.add(egui::Label::new(theme::value(format::plain(file))).truncate());
            if ui.add_enabled(editor.locked.is_none(), egui::Button::new("Another file…")).clicked() {
                commands.push(Command::AskMask);
            }
        }
        prune => {
            share_ui(ui, editor, prune, &mut |percent| set(commands, at_percent(prune, percent)));
            detail_ui(ui, editor, prune, &mut |prune| set(commands, Some(prune)));
        }
    }
}

/// The list of kinds; a kind takes the share of the one before it.
fn kind_ui(ui: &mut Ui, editor: &Editor<'_>, shown: Option<&Prune>, commands: &mut Vec<Command>) {
    let current = shown.map_or(Kind::Magnitude, Kind::of);
    let share = shown.and_then(Prune::share).unwrap_or(Decimal::from_f64(FIRST_SHARE, 4));
    let entry = |kind: Kind| {
        let prune = kind.at(share).unwrap_or(Prune::Mask { file: String::new() });
        let reason = editor.scheme.clone().with_prune(Some(prune)).contradiction();
        Entry { label: kind.word(), about: kind.about(), reason }
    };
    let entries = Kind::ALL.map(entry);
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        let width = ui.available_width().min(112.0);
        let choice = Choice::new("Prune kind", current.word()).width(width).disabled(editor.locked);
        if let Some(kind) = choice.show(ui, &entries).and_then(|at| Kind::ALL.get(at)) {
            match kind.at(share) {
                Some(prune) => editor.push(commands, editor.scheme.clone().with_prune(Some(prune)), "prune"),
                None => commands.push(Command::AskMask),
            }
        }
    });
}

/// How much goes: as a number, and as a slider with the break-even on it.
fn share_ui(ui: &mut Ui, editor: &Editor<'_>, prune: &Prune, set: &mut dyn FnMut(f64)) {
    let share = prune.share().unwrap_or(Decimal::from_f64(0.0, 0));
    let mut percent = 100.0 * share.to_f64();
    let structured = matches!(prune, Prune::Structured { .. });
    let unit = if structured { "% removed" } else { "% pruned" };
    let reason = editor.prune_reason();
    ui.horizontal(|ui| {
        let field = ValueField::new(&mut percent, 0.0..=100.0, "Pruned percent").unit(unit).decimals(1).step(0.1);
        if ui.add(field.disabled(reason)).changed() {
            set(percent);
        }
        if structured {
            return;
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let n = editor.tensor.elements() as u64;
            let kept = n - share.share_of(n);
            let of = if ui.available_width() > 110.0 { format!(" of {}", format::count(n)) } else { String::new() };
            ui.label(theme::label(format!("{}{of} kept", format::count(kept))));
        });
    });
    let bits = size::code_bits(editor.tensor, editor.scheme);
    let even = 100.0 * size::break_even(bits);
    let words = format!("break-even {} %", format::signed(even, 0));
    let spoken = format!("{percent:.1} %");
    let mut slider = Slider::new(&mut percent, 0.0..=100.0, "Pruned share").step(0.5).disabled(reason);
    if !structured {
        slider = slider.mark(even, &words);
    }
    if ui.add(slider.spoken(spoken)).changed() {
        set(percent);
    }
}

/// What else a kind can be told.
fn detail_ui(ui: &mut Ui, editor: &Editor<'_>, prune: &Prune, set: &mut dyn FnMut(Prune)) {
    match *prune {
        Prune::Magnitude { share, scope } => {
            let reason = editor.locked.or(editor.scheme.prune.is_none().then_some("Nothing is pruned"));
            if let Some(scope) = scope_ui(ui, scope, reason) {
                set(Prune::Magnitude { share, scope });
            }
        }
        Prune::Block { height, width, share } => {
            let sizes = [(1, 16), (4, 1), (4, 4), (16, 16), (32, 32)];
            let labels = ["1×16", "4×1", "4×4", "16×16", "32×32"];
            let mut chosen = sizes.iter().position(|&size| size == (height, width)).unwrap_or(usize::MAX);
            ui.horizontal(|ui| {
                let reasons = [editor.locked; 5];
                let changed =
                    ui.add(Segmented::new(&mut chosen, &labels, "Block size").chips().disabled(&reasons)).changed();
                if let Some(&(height, width)) = sizes.get(chosen).filter(|_| changed) {
                    set(Prune::Block { height, width, share });
                }
            });
            if !sizes.contains(&(height, width)) {
                ui.label(theme::label(format!("blocks of {height}×{width}")));
            }
        }
        Prune::Random { share, seed } => {
            ui.horizontal(|ui| {
                // Beyond this a float would not hold every seed; the text above takes any.
                const MOST: f64 = 9_007_199_254_740_992.0;
                let mut number = seed as f64;
                let field = ValueField::new(&mut number, 0.0..=MOST, "Seed").unit("seed").size(theme::size::BODY);
                if ui.add(field.step(1.0).disabled(editor.locked)).changed() {
                    set(Prune::Random { share, seed: number as u64 });
                }
            });
        }
        _ => {}
    }
}

/// N of M: two numbers, and the patterns that hardware knows.
fn pattern_ui(ui: &mut Ui, editor: &Editor<'_>, n: u32, m: u32, set: &mut dyn FnMut(u32, u32)) {
    let (mut kept, mut of) = (f64::from(n), f64::from(m));
    ui.horizontal(|ui| {
        let field = ValueField::new(&mut kept, 1.0..=f64::from(m), "Kept of each group").unit("of").step(1.0);
        if ui.add(field.disabled(editor.locked)).changed() {
            set(kept as u32, m);
        }
        let field = ValueField::new(&mut of, 1.0..=64.0, "Group of weights").unit("stay").step(1.0);
        if ui.add(field.disabled(editor.locked)).changed() {
            set(n.min(of as u32), of as u32);
        }
    });
    let patterns = [(2, 4), (1, 4), (4, 8), (1, 2)];
    let mut chosen = patterns.iter().position(|&pattern| pattern == (n, m)).unwrap_or(usize::MAX);
    ui.horizontal(|ui| {
        if ui.available_width() > NARROW {
            ui.label(theme::label("pattern"));
        }
        let reasons = [editor.locked; 4];
        let labels = ["2:4", "1:4", "4:8", "1:2"];
        let changed = ui.add(Segmented::new(&mut chosen, &labels, "Pattern").chips().disabled(&reasons)).changed();
        if let Some(&(n, m)) = patterns.get(chosen).filter(|_| changed) {
            set(n, m);
        }
    });
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
