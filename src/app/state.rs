//! What the window remembers between frames that is not the model's: selection, filter, open dialog, where a drag began.

use super::file_dialog::FileView;
use super::hand::Hand;
use super::panels::copy_as::Refusals;
use super::recovery::Offer;
use super::taken::Taken;
use crate::model::Model;
use crate::recipe::Target;
use crate::session::leftovers::Looking;
use crate::session::live::{ApplyTo, Mapped};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

/// What survives a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// Dark or light.
    pub dark: bool,
    /// Whether the guide beside the demo is hidden.
    pub guide_hidden: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self { dark: true, guide_hidden: false }
    }
}

/// Which rows the chips over the table let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is its chip's word")]
pub enum RowFilter {
    #[default]
    All,
    Weights,
    Attention,
    Ffn,
    Locked,
    Pruned,
}

impl RowFilter {
    /// Every chip.
    pub const ALL: [Self; 6] = [Self::All, Self::Weights, Self::Attention, Self::Ffn, Self::Locked, Self::Pruned];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Weights => "weights",
            Self::Attention => "attention",
            Self::Ffn => "ffn",
            Self::Locked => "locked",
            Self::Pruned => "pruned",
        }
    }
}

/// What is drawn of the selected layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is its tab's word")]
pub enum Tab {
    #[default]
    Distribution,
    Spectrum,
    Bytes,
    Compare,
}

impl Tab {
    /// Every tab.
    pub const ALL: [Self; 4] = [Self::Distribution, Self::Spectrum, Self::Bytes, Self::Compare];

    /// The tab that a view of a picture names.
    #[must_use]
    pub fn called(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tab| tab.word().eq_ignore_ascii_case(name))
    }

    /// Its word; in lower case it names the view of a picture.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Distribution => "Distribution",
            Self::Spectrum => "Spectrum",
            Self::Bytes => "Bytes",
            Self::Compare => "Compare",
        }
    }
}

/// A question in front of the window.
#[derive(Debug)]
pub enum Dialog {
    /// Which model to open.
    Open {
        /// The path as typed.
        path: String,
    },
    /// Where to export to.
    Export {
        /// The path as typed.
        path: String,
        /// Replace what is there.
        force: bool,
        /// Whether something is there.
        taken: Taken,
        /// What is known of the folder.
        looking: Option<Looking>,
    },
    /// Which preset to put in place of the rules.
    Preset {
        /// Its position in the list.
        chosen: usize,
        /// The share to prune, in percent.
        percent: f64,
        /// The round of a ladder.
        round: f64,
    },
    /// Whose zeros to take.
    Mask {
        /// The path as typed.
        path: String,
    },
    /// Which checkpoint to stand beside the model.
    Beside {
        /// The path as typed.
        path: String,
    },
    /// Whether to take what another target holds in place of what it does not.
    Target {
        /// The target.
        target: Target,
        /// What would change.
        mapped: Vec<Mapped>,
    },
    /// What the file says of itself.
    File(FileView),
    /// Where to write a report to.
    Report {
        /// The path as typed.
        path: String,
        /// Replace what is there.
        force: bool,
        /// Whether something is there.
        taken: Taken,
    },
    /// Where to save the recipe.
    SaveRecipe {
        /// The path as typed.
        path: String,
        /// Replace what is there.
        force: bool,
        /// Whether something is there.
        taken: Taken,
    },
}

/// A file chooser of the system, open on its own thread.
#[derive(Debug)]
pub struct Chooser {
    /// Gives the chosen path, or `None` when it was closed.
    pub answer: Receiver<Option<PathBuf>>,
}

/// The window's own state.
#[derive(Debug)]
pub struct View {
    /// Position of the selected tensor, the one that all panels show.
    pub selected: usize,
    /// Positions of tensors that are selected beside it.
    pub also: BTreeSet<usize>,
    /// Where a range of selected rows begins.
    pub range_from: usize,
    /// What the hand does in the layer table.
    pub hand: Hand,
    /// Positions of all tensors in the table's order.
    pub order: Vec<usize>,
    /// Positions of the tensors whose rows the table showed last.
    pub shown: Vec<usize>,
    /// Filter text over the table.
    pub filter: String,
    /// Chip over the table.
    pub chip: RowFilter,
    /// Blocks whose rows are hidden, by title.
    pub collapsed: BTreeSet<String>,
    /// Scroll the table to the selection in the next frame.
    pub reveal: bool,
    /// What is drawn of the selected layer.
    pub tab: Tab,
    /// The step of the scheme that is shown where there is room for one beside quantization: 0 prune, 1 factorize.
    pub step: Option<usize>,
    /// Where a change goes: position in the segmented control.
    pub apply: usize,
    /// The pattern that a change goes to, when that is chosen.
    pub pattern: String,
    /// The scheme line while it is being typed.
    pub scheme_text: Option<String>,
    /// Counts gestures: every press begins a new one.
    pub gesture: u64,
    /// Steps of undo when the gesture began.
    pub depth_before: usize,
    /// The gesture that Escape took back: what its pointer still does is ignored.
    pub abandoned: Option<u64>,
    /// Whether the prune line is being dragged.
    pub dragging_threshold: bool,
    /// Where the clip line is being dragged, as a magnitude.
    pub dragged_clip: Option<f64>,
    /// The open dialog.
    pub dialog: Option<Dialog>,
    /// An open file chooser.
    pub chooser: Option<Chooser>,
    /// Something that the last action could not do, in words.
    pub refusal: Option<String>,
    /// What the last action did, in words; gone with the next one.
    pub done: Option<String>,
    /// What is worth knowing for longer.
    pub notice: Option<String>,
    /// Which forms the recipe has no words in, when the menu of them was opened.
    pub refusals: Option<Refusals>,
    /// Why no model is open.
    pub failure: Option<String>,
    /// What an earlier session left behind.
    pub offer: Option<Offer>,
    /// Where the recipe was saved last: saving it there again replaces nothing of anyone else's.
    pub saved_as: Option<PathBuf>,
    /// Whether something was exported from this model.
    pub exported: bool,
    /// Quality on the trade-off plot: 0 measured accuracy where there is one, 1 fidelity.
    pub quality: usize,
}

impl View {
    /// The view of a freshly opened model: its first large weight matrix selected, blocks closed when there are many.
    #[must_use]
    pub fn of(model: Option<&Model>) -> Self {
        let selected = model.map_or(0, |model| {
            let matrix = model.tensors.iter().position(crate::model::Tensor::shows_weights);
            matrix.unwrap_or(0)
        });
        Self {
            selected,
            also: BTreeSet::new(),
            range_from: selected,
            hand: Hand::default(),
            order: model.map_or_else(Vec::new, super::panels::rows::order),
            shown: Vec::new(),
            filter: String::new(),
            chip: RowFilter::All,
            collapsed: BTreeSet::new(),
            reveal: true,
            tab: Tab::default(),
            step: None,
            apply: 0,
            pattern: String::new(),
            scheme_text: None,
            gesture: 0,
            depth_before: 0,
            abandoned: None,
            dragging_threshold: false,
            dragged_clip: None,
            dialog: None,
            chooser: None,
            refusal: None,
            done: None,
            notice: None,
            refusals: None,
            failure: None,
            offer: None,
            saved_as: None,
            exported: false,
            quality: 0,
        }
    }

    /// The rows that the user looks at: the one under the hand, those that are selected, those that the table shows.
    pub fn in_sight(&self) -> impl Iterator<Item = usize> {
        let held = self.hand.held.map(|held| held.index);
        let chosen = std::iter::once(self.selected).chain(self.also.iter().copied());
        held.into_iter().chain(chosen).chain(self.shown.iter().copied())
    }

    /// Where a change goes.
    #[must_use]
    pub fn apply_to(&self) -> ApplyTo {
        match self.apply {
            1 => ApplyTo::Role,
            2 => ApplyTo::All,
            3 => ApplyTo::Pattern(self.pattern.clone()),
            _ => ApplyTo::This,
        }
    }
}
