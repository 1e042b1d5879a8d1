//! From what the tensors of a plan ask for to what is cut.

use super::{Part, Removal, Removals};
use crate::formats::error::quoted;
use crate::model::conversion::Architecture;
use crate::model::graph::{Dimension, Graph, Kind, Law, Member, Section, Side};
use crate::model::{Model, Role, Tensor};
use crate::recipe::{Assignment, Decimal, Error, Line, Prune, Structure, Target};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Names that a note lists before it counts.
const NAMED: usize = 3;

/// What one tensor wants of a shared dimension.
struct Ask {
    /// What outranks what: overrides, then later rules, then larger shares.
    rank: (bool, usize, usize),
    tensor: usize,
    /// The dimension of the tensor that was meant; `None` for heads and hidden units.
    axis: Option<usize>,
    removed: usize,
}

/// What was decided of a shared dimension.
struct Decided {
    dimension: usize,
    removed: usize,
    askers: Vec<usize>,
    ranked_by: Vec<Part>,
}

/// A dimension and how much it loses, for what a config can say.
struct Class<'a> {
    dimension: &'a Dimension,
    removed: usize,
}

impl Class<'_> {
    /// Whether one number says both.
    fn is_like(&self, other: &Self) -> bool {
        let (a, b) = (self.dimension, other.dimension);
        self.removed == other.removed && a.units == b.units && a.law == b.law && a.frozen == b.frozen
    }
}

struct Work<'a> {
    model: &'a Model,
    graph: &'a Graph,
    assignments: &'a [Assignment],
    target: Target,
    asks: BTreeMap<usize, Vec<Ask>>,
    out: Removals,
}

pub(super) fn removals(
    model: &Model,
    assignments: &[Assignment],
    locked: &[String],
    target: Target,
) -> Result<Removals, Error> {
    let (asks, out) = (BTreeMap::new(), Removals::default());
    let mut work = Work { model, graph: model.graph(), assignments, target, asks, out };
    work.hear()?;
    let asks = std::mem::take(&mut work.asks);
    let decided: Vec<Decided> = asks.iter().filter_map(|(&at, asks)| work.decide(at, asks)).collect();
    work.refuse_locked(&decided, locked)?;
    let classes = work.classes(&decided);
    for cut in &decided {
        let why = work.why_held(cut, &classes);
        work.cut_shared(cut, why.as_deref());
    }
    Ok(work.out)
}

impl<'a> Work<'a> {
    fn tensor(&self, index: usize) -> &'a Tensor {
        &self.model.tensors[index]
    }

    fn name(&self, index: usize) -> String {
        quoted(&self.tensor(index).name)
    }

    /// Every structured scheme becomes an ask of a shared dimension, or a cut of one that stands alone.
    fn hear(&mut self) -> Result<(), Error> {
        // Lines that ask for heads or hidden units, and whether any tensor has them.
        let mut lines: BTreeMap<Line, (bool, usize)> = BTreeMap::new();
        for (index, assignment) in self.assignments.iter().enumerate() {
            let Some(Prune::Structured { what, share }) = assignment.stored.prune else { continue };
            let line = assignment.line.unwrap_or(Line::Rule(0));
            let found = match what {
                Structure::Rows => self.hear_axis(index, 0, share, line),
                Structure::Cols => self.hear_axis(index, 1, share, line),
                Structure::Heads => self.hear_units(index, &[Kind::Heads], share, line),
                Structure::Ffn => {
                    self.hear_units(index, &[Kind::FeedForward, Kind::Hidden], share, line)
                        || self.hear_lone_block(index, share, line)
                }
            };
            let entry = lines.entry(line).or_insert((false, index));
            entry.0 |= found || matches!(what, Structure::Rows | Structure::Cols);
            if !found {
                let why = self.why_none(index, what);
                self.out.say(index, &format!("left as it is: {why}"));
            }
        }
        match lines.into_values().find(|(found, _)| !found) {
            Some((_, index)) => Err(Error::NoUnits {
                tensor: self.tensor(index).name.clone(),
                scheme: self.assignments[index].stored.to_string(),
                why: self.out.note(index).unwrap_or_default().trim_start_matches("left as it is: ").to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn why_none(&self, index: usize, what: Structure) -> &'static str {
        match what {
            Structure::Heads
                if matches!(self.tensor(index).role, Role::AttentionK | Role::AttentionV)
                    && self.graph.dimensions.iter().any(|dimension| dimension.kind == Kind::Heads) =>
            {
                "all heads share it"
            }
            Structure::Heads if self.tensor(index).role.is_attention() && self.model.gguf.is_some() => {
                "how many attention heads it has is not known: its key-values do not tell, or not for every block"
            }
            Structure::Heads if self.tensor(index).role.is_attention() => {
                "how many attention heads it has is not known; a config.json beside the weights would tell"
            }
            Structure::Heads => "it has no part in attention heads",
            Structure::Ffn if self.tensor(index).role.is_ffn() && self.tensor(index).shape.len() > 2 => {
                "it holds the matrices of all experts in one array, of which no hidden units are taken"
            }
            Structure::Ffn => "it has no part in the hidden units of a feed-forward block",
            Structure::Rows | Structure::Cols => "it has no such dimension",
        }
    }

    fn ask(&mut self, dimension: usize, tensor: usize, axis: Option<usize>, share: Decimal, line: Line) {
        let removed = share.share_of(self.graph.dimensions[dimension].units as u64) as usize;
        let rank = match line {
            Line::Rule(at) => (false, at, removed),
            Line::Override(_) => (true, 0, removed),
        };
        self.asks.entry(dimension).or_default().push(Ask { rank, tensor, axis, removed });
    }

    /// `rows` and `cols`.
    fn hear_axis(&mut self, index: usize, axis: usize, share: Decimal, line: Line) -> bool {
        let shape = &self.tensor(index).shape;
        if shape.len() < 2 {
            // One row, whatever its elements are.
            let whole = Section { start: 0, width: shape.first().copied().unwrap_or(1) };
            if axis == 0 && !shape.is_empty() {
                self.cut_alone(index, 0, vec![whole], 1, share, "it has one row");
            }
            return axis == 0 && !shape.is_empty();
        }
        let (units, whole) = (shape[axis], vec![Section { start: 0, width: 1 }]);
        match self.graph.side(index, axis) {
            Side::Alone(why) => self.cut_alone(index, axis, whole, units, share, why.words()),
            Side::Shared(at) => {
                let dimension = &self.graph.dimensions[at];
                let plain = dimension.members.iter().any(|m| m.tensor == index && m.axis == axis && m.is_plain());
                match dimension.kind {
                    Kind::Heads => {
                        let why = "it belongs to attention heads, which heads:P removes whole";
                        self.cut_alone(index, axis, whole, units, share, why);
                    }
                    _ if !plain => {
                        let why = "a hidden unit has several of them there";
                        self.cut_alone(index, axis, whole, units, share, why);
                    }
                    _ => self.ask(at, index, Some(axis), share, line),
                }
            }
        }
        true
    }

    /// `heads` and `ffn`: units that a tensor has a part in, behind it rather than before it.
    fn hear_units(&mut self, index: usize, kinds: &[Kind], share: Decimal, line: Line) -> bool {
        let Some(at) = kinds.iter().find_map(|kind| self.graph.shared(index, &[*kind])) else { return false };
        self.ask(at, index, None, share, line);
        true
    }

    /// `ffn` on a feed-forward matrix whose block is not known, or in a model of which nothing is known, names of parts neither.
    fn hear_lone_block(&mut self, index: usize, share: Decimal, line: Line) -> bool {
        let tensor = self.tensor(index);
        // Where names tell some parts, what they tell nothing of is none of them.
        let told =
            |t: &Tensor| t.role.is_ffn() || t.role.is_attention() || matches!(t.role, Role::Embedding | Role::Head);
        let unknown = self.graph.dimensions.is_empty() && !self.model.tensors.iter().any(told);
        // Rows of a stack of matrices are experts.
        let plain = if unknown { tensor.shape.len() >= 2 } else { tensor.shape.len() == 2 && tensor.role.is_ffn() };
        if !plain {
            return false;
        }
        let axis = usize::from(tensor.role == Role::FfnDown);
        self.hear_axis(index, axis, share, line)
    }

    /// Zeroes units of a dimension in one tensor.
    fn cut_alone(
        &mut self,
        tensor: usize,
        axis: usize,
        sections: Vec<Section>,
        units: usize,
        share: Decimal,
        why: &str,
    ) {
        let removed = share.share_of(units as u64) as usize;
        let part = Part { tensor, axis, sections };
        let what = self.count(&part, units, removed);
        if removed == 0 {
            return self.out.say(tensor, &format!("{what} go"));
        }
        self.out.say(tensor, &format!("{what} zeroed, not removed: {why}"));
        let (ranked_by, parts) = (vec![part.clone()], vec![part]);
        self.out.add(self.model, Removal { units, removed, ranked_by, parts, zeroed: true });
    }

    /// "75 of 300 rows".
    fn count(&self, part: &Part, units: usize, removed: usize) -> String {
        let words = match (part.axis, self.tensor(part.tensor).shape.len()) {
            (0, 0 | 1) => "entries",
            (0, _) => "rows",
            _ => "columns",
        };
        format!("{} of {} {words}", removed * part.width(), units * part.width())
    }

    fn decide(&mut self, at: usize, asks: &[Ask]) -> Option<Decided> {
        let dimension = &self.graph.dimensions[at];
        let top = asks.iter().map(|ask| ask.rank).max()?;
        let won: Vec<&Ask> = asks.iter().filter(|ask| ask.rank == top).collect();
        let (removed, askers) = (won.first()?.removed, won.iter().map(|ask| ask.tensor).collect());
        for ask in asks.iter().filter(|ask| ask.rank != top) {
            let by = self.name(won[0].tensor);
            self.out.say(ask.tensor, &format!("{by} decides how many units go"));
        }
        if removed == 0 {
            won.iter().for_each(|ask| self.out.say(ask.tensor, &format!("0 of {} units go", dimension.units)));
            return None;
        }
        let whole = won.iter().any(|ask| ask.axis.is_none());
        // Entries of biases and norms cannot be compared with weights.
        let ranks = |m: &&Member| {
            let asked = won.iter().any(|ask| ask.tensor == m.tensor && ask.axis == Some(m.axis));
            if whole { self.tensor(m.tensor).shape.len() >= 2 } else { asked }
        };
        let ranked_by = dimension.members.iter().filter(ranks).map(part_of).collect();
        Some(Decided { dimension: at, removed, askers, ranked_by })
    }

    /// A locked tensor may lose what it asked for itself, and nothing else.
    fn refuse_locked(&self, decided: &[Decided], locked: &[String]) -> Result<(), Error> {
        let locked: HashSet<&String> = locked.iter().collect();
        for cut in decided {
            let follows = |m: &&Member| locked.contains(&self.tensor(m.tensor).name) && !cut.askers.contains(&m.tensor);
            if let Some(member) = self.graph.dimensions[cut.dimension].members.iter().find(follows) {
                let by = cut.askers[0];
                return Err(Error::LockedFollower {
                    tensor: self.tensor(member.tensor).name.clone(),
                    by: self.tensor(by).name.clone(),
                    scheme: self.assignments[by].stored.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Under each key of a config, what its dimensions lose: dimensions of different kinds, at most two for each key, which
    /// are enough to know that they differ.
    fn classes(&self, decided: &[Decided]) -> HashMap<&'static str, Vec<Class<'a>>> {
        let mut removed = vec![0; self.graph.dimensions.len()];
        decided.iter().for_each(|cut| removed[cut.dimension] = cut.removed);
        let mut classes: HashMap<&'static str, Vec<Class<'a>>> = HashMap::new();
        for (dimension, &removed) in self.graph.dimensions.iter().zip(&removed) {
            let Some(key) = dimension.law.key() else { continue };
            let known = classes.entry(key).or_default();
            let class = Class { dimension, removed };
            if known.len() < 2 && !known.iter().any(|other| other.is_like(&class)) {
                known.push(class);
            }
        }
        classes
    }

    /// Whether the file will be one of llama.cpp's qwen2, which knows no size of a head but the width shared by their number
    /// (`load_arch_tensors` in `models/qwen2.cpp`).
    fn has_fixed_heads(&self) -> bool {
        let made = self.model.converted().filter(|_| self.target == Target::Gguf);
        made.is_some_and(|made| made.architecture == Architecture::Qwen2)
    }

    /// Why a cut of a shared dimension can only be zeroed.
    fn why_held(&self, cut: &Decided, classes: &HashMap<&'static str, Vec<Class<'a>>>) -> Option<String> {
        let dimension = &self.graph.dimensions[cut.dimension];
        if cut.removed == dimension.units {
            return Some("nothing would be left of that dimension".into());
        }
        if let Law::Never(why) = dimension.law {
            return Some(why.into());
        }
        if dimension.kind == Kind::Heads && self.has_fixed_heads() {
            return Some("llama.cpp's qwen2 has as many rows in attn_q as the embedding has columns".into());
        }
        let key = dimension.law.key()?;
        let own = Class { dimension, removed: cut.removed };
        let Class { dimension: other, removed } = classes.get(key)?.iter().find(|class| !class.is_like(&own))?;
        let name = other.members.first().map_or_else(String::new, |m| self.name(m.tensor));
        let them = format!("{name} loses {removed} of {} units", other.units);
        Some(format!("config.json has one {key} for all blocks, and {them}"))
    }

    /// Takes units out of every tensor that shares them, or zeroes them there.
    fn cut_shared(&mut self, cut: &Decided, held: Option<&str>) {
        let dimension = &self.graph.dimensions[cut.dimension];
        let zeroed = held.is_some();
        if let (false, Law::Config { per_unit, fixed }) = (zeroed, &dimension.law) {
            let left = dimension.units - cut.removed;
            self.out.config.extend(per_unit.iter().map(|&(key, each)| (key, each * left)));
            self.out.config.extend(fixed.iter().copied());
        }
        let parts: Vec<Part> = dimension.members.iter().filter(|m| !zeroed || m.zeroed).map(part_of).collect();
        for part in &parts {
            let what = self.count(part, dimension.units, cut.removed);
            let what = match dimension.kind {
                Kind::Heads => format!("{what} ({} of {} heads)", cut.removed, dimension.units),
                _ => what,
            };
            let others: Vec<usize> = if cut.askers.contains(&part.tensor) {
                parts.iter().map(|p| p.tensor).filter(|&t| t != part.tensor).collect()
            } else {
                cut.askers.clone()
            };
            let with = self.list(&others);
            match held {
                None => self.out.say(part.tensor, &format!("{what} removed{with}")),
                Some(why) => self.out.say(part.tensor, &format!("{what} zeroed{with}, not removed: {why}")),
            }
        }
        let (units, removed, ranked_by) = (dimension.units, cut.removed, cut.ranked_by.clone());
        self.out.add(self.model, Removal { units, removed, ranked_by, parts, zeroed });
    }

    /// ", with a, b and 3 more".
    fn list(&self, tensors: &[usize]) -> String {
        let mut names: Vec<String> = tensors.iter().take(NAMED).map(|&t| self.name(t)).collect();
        if let more @ 1.. = tensors.len().saturating_sub(NAMED) {
            names.push(format!("{more} more"));
        }
        match names.pop() {
            None => String::new(),
            Some(last) if names.is_empty() => format!(" with {last}"),
            Some(last) => format!(" with {} and {last}", names.join(", ")),
        }
    }
}

fn part_of(member: &Member) -> Part {
    Part { tensor: member.tensor, axis: member.axis, sections: member.sections.clone() }
}
