//! What the hand does in the layer table: the dial it holds or rolls, what is being typed, and to which rows that goes.
//!
//! A gesture works on the schemes as they were when it began. So a dial that is taken over its end and back within one
//! gesture finds the unit and scope again that it had, and several rows keep their own.

use super::command::Command;
use super::state::View;
use crate::recipe::{Decimal, Error, Prune, Quantize, Scheme, Target};
use crate::session::Live;
use crate::session::dial::{self, Dial};
use crate::session::live::ApplyTo;
use egui::{Context, Id, Pos2};

/// Ticks of the wheel and presses of a key on one dial are one gesture while they come within so many seconds.
pub const RUN: f64 = 0.6;
/// How far a pointer may stray and still roll the same dial, in points.
const STRAY: f32 = 6.0;

/// A dial in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Bits of a value.
    Bits,
    /// The share that pruning leaves.
    Kept,
}

impl Part {
    /// Its name for screen readers, in the row of this tensor.
    #[must_use]
    pub fn spoken(self, tensor: &str) -> String {
        match self {
            Self::Bits => format!("Bits of layer {tensor}"),
            Self::Kept => format!("Kept share of layer {tensor}"),
        }
    }

    /// The least and the greatest value.
    #[must_use]
    pub fn limits(self) -> (f64, f64) {
        match self {
            Self::Bits => (f64::from(dial::NARROWEST), f64::from(dial::UNQUANTIZED)),
            Self::Kept => (0.0, 100.0),
        }
    }

    /// Where a row stands: bits, one above the widest where there is no grid, or the kept share in percent.
    #[must_use]
    pub fn value(self, live: &Live, index: usize) -> f64 {
        let scheme = live.scheme(index);
        match self {
            Self::Bits => f64::from(dial::bits_of(scheme)),
            Self::Kept => {
                let row = &live.rows[index];
                // A pool's share is not that of each of its members, and what a mask takes is in a file.
                let decided = scheme.is_global() || matches!(scheme.prune, Some(Prune::Mask { .. }));
                let errors = row.estimate.as_ref().filter(|_| row.fresh && decided);
                let zeros = errors.and_then(|e| e.errors.as_ref()).map(|e| e.zeros as f64);
                let elements = live.model.tensors[index].elements().max(1) as f64;
                let pruned = scheme.prune.as_ref().and_then(Prune::asked).unwrap_or(0.0);
                // Twelve digits: 1 − 0.45 is not 0.55 in binary.
                (1e12 * (1.0 - zeros.map_or(pruned, |zeros| zeros / elements))).round() / 1e10
            }
        }
    }

    /// The value so many steps on, on the grid of whole numbers.
    #[must_use]
    pub fn stepped(self, value: f64, steps: f64) -> f64 {
        let (low, high) = self.limits();
        let from = match steps {
            0.0 => value,
            s if s > 0.0 => (value + 1e-9).floor(),
            _ => (value - 1e-9).ceil(),
        };
        (from + steps).clamp(low, high)
    }

    /// The setting that a value stands for.
    #[must_use]
    pub fn dial(self, value: f64) -> Dial {
        match self {
            Self::Bits => Dial::Bits(value.round() as u32),
            Self::Kept => Dial::Pruned(Decimal::from_f64(1.0 - value / 100.0, 4)),
        }
    }

    /// A value in words, for the row of this tensor.
    #[must_use]
    pub fn words(self, live: &Live, index: usize, value: f64) -> String {
        match self {
            Self::Bits if value > f64::from(dial::WIDEST) => match &live.scheme(index).quantize {
                Some(Quantize::F16) => "cast to f16".into(),
                Some(Quantize::Bf16) => "cast to bf16".into(),
                Some(other) => other.to_string(),
                None => format!("{} as it is", live.model.tensors[index].type_name().to_lowercase()),
            },
            Self::Bits => format!("{value:.0} bits"),
            Self::Kept if value.fract() == 0.0 => format!("keep {value:.0} %"),
            Self::Kept => format!("keep {value:.1} %"),
        }
    }
}

/// A dial that is held.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// The row's tensor.
    pub index: usize,
    /// Which of its dials.
    pub part: Part,
    /// Its value when the gesture began.
    pub origin: f64,
    /// Its value now.
    pub value: f64,
    /// The gesture.
    pub gesture: u64,
    /// Where the row's top stands under the table's, so that rows that grow above it do not push it away.
    pub top: Option<f32>,
    /// When a run of ticks or keys is over; a drag is over with the press.
    pub until: Option<f64>,
}

/// A run of the wheel over the table.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The dial that it turns; none when it scrolls the table.
    pub cell: Option<(usize, Part)>,
    /// When it was last heard of.
    pub at: f64,
    /// Where the pointer was then.
    pub pointer: Pos2,
    /// Part of a step not yet spent.
    pub rest: f64,
}

/// What the hand is doing.
#[derive(Debug, Default)]
pub struct Hand {
    /// The clock of this frame, in seconds.
    pub now: f64,
    /// The dial it holds.
    pub held: Option<Held>,
    /// What the wheel is doing over the table.
    pub run: Option<Run>,
    /// The number being typed over a dial.
    pub typed: Option<(usize, Part, String)>,
    /// The dial that has the keyboard.
    pub focus: Option<Id>,
    /// Whether anything had the keyboard in the frame before: Escape takes it away before it can be asked.
    pub had_focus: bool,
    before: Option<Before>,
}

/// Schemes when a gesture began.
#[derive(Debug)]
struct Before {
    gesture: Option<u64>,
    schemes: Vec<(usize, Scheme)>,
}

impl Hand {
    /// Lets go of what is over. Once a frame, before anything is drawn.
    pub fn begin_frame(&mut self, ctx: &Context) {
        let (now, down) = ctx.input(|i| (i.time, i.pointer.any_down()));
        self.now = now;
        self.held = self.held.filter(|held| held.until.map_or(down, |until| now < until));
        if self.focus.is_none() || ctx.memory(egui::Memory::focused) != self.focus {
            self.focus = None;
            self.typed = None;
        }
    }

    /// The run that goes on, if the pointer is still about where it was.
    #[must_use]
    pub fn running(&self, pointer: Option<Pos2>) -> Option<Run> {
        let near = |run: &Run| pointer.is_some_and(|at| at.distance(run.pointer) <= STRAY);
        self.run.filter(|run| self.now - run.at < RUN && near(run))
    }

    /// Forgets the schemes before the gesture, and a run with its value: something else may have changed them.
    pub fn forget(&mut self) {
        self.before = None;
        self.held = self.held.filter(|held| held.until.is_none());
    }

    /// Schemes of these rows when the gesture began, kept for as long as it goes on over the same rows.
    fn before(&mut self, live: &Live, rows: &[usize], gesture: Option<u64>) -> &[(usize, Scheme)] {
        let goes_on = self.before.as_ref().is_some_and(|before| {
            gesture.is_some()
                && before.gesture == gesture
                && before.schemes.iter().map(|(index, _)| index).eq(rows.iter())
        });
        if !goes_on {
            let schemes = rows.iter().map(|&index| (index, live.scheme(index).clone())).collect();
            self.before = Some(Before { gesture, schemes });
        }
        self.before.as_ref().map_or(&[], |before| &before.schemes)
    }
}

impl View {
    /// Turns a row's dial by so many steps, as part of the run on it if there is one.
    pub fn roll(&mut self, live: &Live, index: usize, part: Part, steps: f64, top: Option<f32>) -> Option<Command> {
        let until = Some(self.hand.now + RUN);
        let goes_on = |held: &Held| held.index == index && held.part == part && held.until.is_some();
        let mut held = if let Some(held) = self.hand.held.filter(goes_on) {
            Held { until, ..held }
        } else {
            self.gesture += 1;
            let origin = part.value(live, index);
            Held { index, part, origin, value: origin, gesture: self.gesture, top, until }
        };
        let value = part.stepped(held.value, steps);
        let moved = value != held.value && !live.is_locked(index);
        if moved {
            held.value = value;
        }
        self.hand.held = Some(held);
        moved.then_some(Command::Turn { index, dial: part.dial(value), gesture: held.gesture })
    }

    /// Sets a row's dial to a value, as a gesture of its own.
    pub fn put(&mut self, part: Part, index: usize, value: f64) -> Command {
        self.gesture += 1;
        self.hand.held = None;
        let (low, high) = part.limits();
        Command::Turn { index, dial: part.dial(value.clamp(low, high)), gesture: self.gesture }
    }

    /// The selected rows, when this is one of them; else this one alone.
    #[must_use]
    pub fn rows_with(&self, index: usize) -> Vec<usize> {
        if self.is_chosen(index) { self.chosen().collect() } else { vec![index] }
    }

    /// The rows that a turn of this row's dial goes to, its own first: when it is selected, all that are and can be changed.
    ///
    /// A change of a weight matrix goes to weight matrices only, as a pattern would: a range of rows spans norms and biases
    /// that nobody meant.
    #[must_use]
    pub fn rows_of(&self, live: &Live, index: usize) -> Vec<usize> {
        if !self.is_chosen(index) || self.also.is_empty() {
            return vec![index];
        }
        let tensors = &live.model.tensors;
        let only_weights = tensors[index].is_weight_matrix();
        // A lock is respected without a word here: the row shows it.
        let free = |&i: &usize| {
            tensors[i].is_touchable() && (tensors[i].is_weight_matrix() || !only_weights) && !live.is_locked(i)
        };
        let mut rows: Vec<usize> = self.rows_with(index).into_iter().filter(free).collect();
        rows.sort_by_key(|&i| (i != index, i));
        rows
    }
}

/// Carries out a command that changes schemes; gives `None` for every other.
pub fn carry_out(live: &mut Live, view: &mut View, command: &Command) -> Option<Result<(), Error>> {
    let abandoned = |gesture: Option<u64>| gesture.is_some() && gesture == view.abandoned;
    let several = view.chosen_count() > 1 && view.apply_to() == ApplyTo::This;
    Some(match command {
        Command::SetScheme { gesture, .. } | Command::GiveScheme { gesture, .. } if abandoned(*gesture) => Ok(()),
        Command::Turn { gesture, .. } if abandoned(Some(*gesture)) => Ok(()),
        Command::SetScheme { scheme, what, gesture } if several => {
            let verb = what.split(' ').next().unwrap_or("set");
            spread(live, view, scheme, verb, *gesture)
        }
        Command::GiveScheme { scheme, gesture } if several => give(live, view, scheme, *gesture),
        Command::SetScheme { scheme, what, gesture } => {
            view.hand.forget();
            live.set_scheme(view.selected, &view.apply_to(), scheme, what, *gesture)
        }
        Command::GiveScheme { scheme, gesture } => {
            view.hand.forget();
            let what = format!("set {}", live.model.tensors[view.selected].name);
            live.set_scheme(view.selected, &view.apply_to(), scheme, &what, *gesture)
        }
        Command::Turn { index, dial, gesture } => turn(live, view, *index, *dial, *gesture),
        Command::Nudge(part, steps) => match nudge(live, view, *part, *steps) {
            Some(Command::Turn { index, dial, gesture }) => turn(live, view, index, dial, gesture),
            _ => Ok(()),
        },
        _ => return None,
    })
}

/// Turns a dial of the selected row from the keyboard.
fn nudge(live: &Live, view: &mut View, part: Part, steps: f64) -> Option<Command> {
    let touchable = live.model.tensors.get(view.selected).is_some_and(crate::model::Tensor::is_touchable);
    view.reveal |= touchable;
    touchable.then(|| view.roll(live, view.selected, part, steps, None)).flatten()
}

/// Carries out a turn of a dial.
///
/// # Errors
/// When no row can take it.
fn turn(live: &mut Live, view: &mut View, index: usize, dial: Dial, gesture: u64) -> Result<(), Error> {
    let verb = match dial {
        Dial::Bits(_) => "quantize",
        Dial::Pruned(_) => "prune",
    };
    change(live, view, index, verb, Some(gesture), |_, scheme, (target, shape)| dial.on_for(scheme, target, shape))
}

/// Gives all selected rows what changes in the scheme of the one whose scheme is being edited.
///
/// # Errors
/// When no row can take it.
fn spread(live: &mut Live, view: &mut View, new: &Scheme, verb: &str, gesture: Option<u64>) -> Result<(), Error> {
    change(live, view, view.selected, verb, gesture, |old, theirs, _| dial::carry(old, new, theirs))
}

/// Gives all selected rows the same scheme.
///
/// # Errors
/// When no row can take it.
fn give(live: &mut Live, view: &mut View, scheme: &Scheme, gesture: Option<u64>) -> Result<(), Error> {
    change(live, view, view.selected, "set", gesture, |_, _, _| scheme.clone())
}

/// `make` is given the scheme of `index` and the row's own, both as they were when the gesture began, and what the row's are to
/// be held by: the target, and the tensor's shape.
fn change(
    live: &mut Live,
    view: &mut View,
    index: usize,
    verb: &str,
    gesture: Option<u64>,
    make: impl Fn(&Scheme, &Scheme, (Target, &[usize])) -> Scheme,
) -> Result<(), Error> {
    let rows = view.rows_of(live, index);
    let name = &live.model.tensors[index].name;
    if rows.is_empty() {
        return Err(Error::Locked(name.clone()));
    }
    let what = if rows.len() == 1 { format!("{verb} {name}") } else { format!("{verb} {} layers", rows.len()) };
    let before = view.hand.before(live, &rows, gesture);
    let own = before.iter().find(|(i, _)| *i == index).map_or_else(|| live.scheme(index).clone(), |(_, s)| s.clone());
    let target = live.target();
    let one = |(i, theirs): &(usize, Scheme)| (*i, make(&own, theirs, (target, &live.model.tensors[*i].shape)));
    let schemes: Vec<(usize, Scheme)> = before.iter().map(one).collect();
    live.set_schemes(&schemes, &what, gesture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_to_the_next_whole_number_and_stop_at_the_ends() {
        let kept = |value, steps| Part::Kept.stepped(value, steps);
        assert_eq!([kept(54.5, 1.0), kept(54.5, -1.0), kept(55.0, 1.0), kept(55.0, -10.0)], [55.0, 54.0, 56.0, 45.0]);
        assert_eq!([kept(100.0, 3.0), kept(2.0, -10.0), kept(61.8, 0.0)], [100.0, 0.0, 61.8]);
        assert_eq!([Part::Bits.stepped(9.0, -1.0), Part::Bits.stepped(2.0, -1.0)], [8.0, 2.0]);
        assert_eq!(Part::Kept.dial(55.0), Dial::Pruned(Decimal::parse("0.45").expect("it is a decimal")));
        assert_eq!(Part::Kept.dial(100.0), Dial::Pruned(Decimal::parse("0").expect("it is a decimal")));
    }
}
