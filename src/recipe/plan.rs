//! What a recipe comes to on a given model: one scheme per tensor, as asked and as the target stores it.

use super::pattern::{named, touchable};
use super::{Error, Override, Pattern, Prune, Quantize, Recipe, Removals, Rule, Scheme, Target, runtimes};
use crate::formats::base64;
use crate::formats::error::quoted;
use crate::kernels::layout::Geometry;
use crate::model::conversion::ROAD;
use crate::model::groups::{CONFIG_KEY, MLX_KEY};
use crate::model::{Format, Model, Origin, Tensor};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The line of a recipe that decided a tensor's scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Line {
    /// A rule, by position.
    Rule(usize),
    /// An override, by position.
    Override(usize),
}

/// What happens to one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// What was asked for.
    pub scheme: Scheme,
    /// What the target stores; differs from `scheme` only where the nearest was accepted.
    pub stored: Scheme,
    /// Which line asked, if any did.
    pub line: Option<Line>,
}

/// One assignment per tensor of a model, in its order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The format to be written.
    pub target: Target,
    /// One per tensor.
    pub assignments: Vec<Assignment>,
    /// Tensors that share a pool of global pruning, by rule, in order of name.
    pub pools: BTreeMap<Line, Vec<usize>>,
    /// What structured pruning takes out.
    pub removals: Removals,
    /// What tells of activations beside codes that the artifact does not have; it is left out.
    pub without_codes: BTreeSet<usize>,
}

/// Names that one pattern is made of, where several do as well.
const NAMED_AT_ONCE: usize = 500;

/// Letters of carried masks that a header may hold: readers of either container take 100 MB at most.
const MOST_LETTERS: u64 = 64 << 20;

/// One tensor as a plan leaves it: what sizes and listings are about.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The tensor of the source.
    pub tensor: &'a Tensor,
    /// What is done to it, as the target stores it.
    pub scheme: &'a Scheme,
    /// Its shape afterwards.
    pub shape: &'a [usize],
    /// Whether structured pruning takes something out of it, or zeroes it.
    pub cut: bool,
    /// Whether it zeroes something.
    pub zeroed: bool,
    /// Whether the target has no place for it, as its reader computes it.
    pub left_out: bool,
}

impl<'a> Outcome<'a> {
    /// A tensor that loses nothing to structured pruning.
    #[must_use]
    pub fn whole(tensor: &'a Tensor, scheme: &'a Scheme) -> Self {
        Self { tensor, scheme, shape: &tensor.shape, cut: false, zeroed: false, left_out: false }
    }

    /// Whether it is stored as it was: nothing is asked of it, or it has no elements.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        (self.scheme.is_keep() && !self.cut) || self.tensor.elements() == 0
    }

    /// Whether some of its elements may have been made 0 before they are quantized.
    #[must_use]
    pub fn is_pruned(&self) -> bool {
        let takes = |prune: &Prune| self.cut || !matches!(prune, Prune::Structured { .. });
        self.scheme.prune.as_ref().is_some_and(takes) || self.zeroed
    }

    /// Elements that are stored.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64
    }

    /// Rows and columns that are stored.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        Geometry::of(self.shape)
    }
}

impl Plan {
    /// Resolves a recipe on a model. With `nearest`, schemes that the target cannot hold are replaced.
    ///
    /// # Errors
    /// A pattern that touches nothing, a scheme or target that cannot be carried out or held.
    pub fn new(model: &Model, recipe: &Recipe, nearest: bool) -> Result<Self, Error> {
        let target = recipe.target.unwrap_or(default_target(model));
        check_source(model, target)?;
        let mut plan = Self::unchecked(model, recipe, target)?;
        // What structured pruning removes does not depend on what the target holds; what it holds depends on what is left.
        plan.removals = Removals::of(model, &plan.assignments, &recipe.locked, target)?;
        for index in 0..model.tensors.len() {
            plan.hold(model, index, nearest)?;
        }
        plan.hold_joined(model, nearest, &recipe.locked)?;
        plan.without_codes = plan.without_codes(model)?;
        // What others zero in a tensor must stay 0 too.
        let followers = plan.removals.touched().filter(|&i| plan.removals.zeroes(i) && !nearest);
        if let Some(i) = { followers }.find(|&i| !plan.assignments[i].stored.holds_zero()) {
            return Err(no_zero(&model.tensors[i], &plan.assignments[i].scheme));
        }
        plan.check_masks(model)?;
        Ok(plan)
    }

    /// Letters of the mask that an artifact carries beside a tensor's zeros.
    #[must_use]
    pub fn mask_letters(of: Outcome<'_>) -> usize {
        base64::len((of.elements() as usize).div_ceil(8))
    }

    /// Refuses masks that no header can carry.
    fn check_masks(&self, model: &Model) -> Result<(), Error> {
        let carried = (0..model.tensors.len()).filter(|&i| self.assignments[i].stored.carries_mask());
        let letters = carried.map(|i| Self::mask_letters(self.outcome(model, i)) as u64).sum();
        if letters <= MOST_LETTERS {
            return Ok(());
        }
        Err(Error::Masks { target: self.target.name(), letters, most: MOST_LETTERS })
    }

    /// Settles what the target stores of a tensor: what was asked, or with `nearest` what comes nearest.
    fn hold(&mut self, model: &Model, index: usize, nearest: bool) -> Result<(), Error> {
        let (target, tensor) = (self.target, &model.tensors[index]);
        let shape = self.removals.shape(model, index);
        let assignment = &mut self.assignments[index];
        match target.nearest_for(&assignment.scheme, model, index, shape) {
            Some((stored, _)) if nearest => assignment.stored = stored,
            Some((stored, why)) => {
                return Err(Error::CannotHold {
                    tensor: tensor.name.clone(),
                    target: target.name(),
                    scheme: assignment.scheme.to_string(),
                    why,
                    nearest: stored.to_string(),
                });
            }
            None => {}
        }
        // What another tensor's structure zeroes in this one must stay 0 in it too.
        let symmetric = assignment.stored.quantize.as_ref().and_then(|step| runtimes::without_zero_point(target, step));
        if let (true, Some(symmetric)) = (self.removals.zeroes(index), symmetric) {
            let stored = assignment.stored.clone().with_quantize(Some(symmetric));
            if !nearest {
                return Err(Error::CannotHold {
                    tensor: tensor.name.clone(),
                    target: target.name(),
                    scheme: assignment.scheme.to_string(),
                    why: Some(runtimes::MOVES_ZERO),
                    nearest: stored.to_string(),
                });
            }
            assignment.stored = stored;
        }
        if assignment.stored.loses_zeros() && !nearest {
            return Err(no_zero(tensor, &assignment.scheme));
        }
        if let Some(what) = assignment.stored.unbuilt() {
            let instead = "this version has every step but wanda:P";
            return Err(Error::NotBuilt { what: format!("scheme {what}"), instead: instead.into() });
        }
        Ok(())
    }

    pub(super) fn unchecked(model: &Model, recipe: &Recipe, target: Target) -> Result<Self, Error> {
        let keep = Assignment { scheme: Scheme::keep(), stored: Scheme::keep(), line: None };
        let mut assignments = vec![keep; model.tensors.len()];
        // A text cannot say such a scheme, but a hand could put one together.
        let schemes = recipe.rules.iter().map(|rule| &rule.scheme);
        for scheme in schemes.chain(recipe.overrides.iter().map(|item| &item.scheme)) {
            if let Some(what) = scheme.contradiction() {
                return Err(Error::Scheme { text: scheme.to_string(), what: what.into() });
            }
        }
        let mut assign = |touched: Vec<usize>, scheme: &Scheme, line| {
            for index in touched {
                assignments[index] = Assignment { scheme: scheme.clone(), stored: scheme.clone(), line: Some(line) };
            }
        };
        for (i, rule) in recipe.rules.iter().enumerate() {
            assign(rule.pattern.touched(model)?, &rule.scheme, Line::Rule(i));
        }
        for (i, item) in recipe.overrides.iter().enumerate() {
            let found = touchable(&item.tensor, model).map_err(|e| recipe.lines.told(e, "override", &item.tensor))?;
            assign(vec![found], &item.scheme, Line::Override(i));
        }
        for name in &recipe.locked {
            named(name, model).map_err(|e| recipe.lines.told(e, "locked", name))?;
        }
        let mut pools: BTreeMap<Line, Vec<usize>> = BTreeMap::new();
        for (index, assignment) in assignments.iter().enumerate().filter(|(_, a)| a.scheme.is_global()) {
            pools.entry(assignment.line.unwrap_or(Line::Rule(0))).or_default().push(index);
        }
        Ok(Self { target, assignments, pools, removals: Removals::default(), without_codes: BTreeSet::new() })
    }

    /// What is stored of a tensor, without a step for heads or hidden units that it has none of.
    #[must_use]
    pub fn lasting(&self, index: usize) -> Scheme {
        let stored = &self.assignments[index].stored;
        let idle = matches!(stored.prune, Some(Prune::Structured { .. })) && !self.removals.touches(index);
        Scheme { prune: stored.prune.clone().filter(|_| !idle), ..stored.clone() }
    }

    /// Whether a rule prunes a tensor together with others, in one pool.
    #[must_use]
    pub fn is_pooled(&self, index: usize) -> bool {
        let Assignment { scheme, line, .. } = &self.assignments[index];
        scheme.is_global() && matches!(line, Some(Line::Rule(_)))
    }

    /// Whether a tensor's bytes change.
    #[must_use]
    pub fn is_touched(&self, index: usize) -> bool {
        !self.assignments[index].stored.is_keep() || self.removals.touches(index)
    }

    /// A tensor as this plan leaves it.
    #[must_use]
    pub fn outcome<'a>(&'a self, model: &'a Model, index: usize) -> Outcome<'a> {
        Outcome {
            tensor: &model.tensors[index],
            scheme: &self.assignments[index].stored,
            shape: self.removals.shape(model, index),
            cut: self.removals.touches(index),
            zeroed: self.removals.zeroes(index),
            left_out: self.leaves_out(model, index),
        }
    }

    /// Whether an artifact does not have a tensor.
    fn leaves_out(&self, model: &Model, index: usize) -> bool {
        self.without_codes.contains(&index) || self.target.leaves_out(model, index)
    }

    /// Positions of the tensors that an artifact has.
    #[must_use]
    pub fn written(&self, model: &Model) -> Vec<usize> {
        (0..model.tensors.len()).filter(|&i| !self.leaves_out(model, i)).collect()
    }

    /// What to say of an artifact: the tensors that it has not, and what its reader computes otherwise.
    #[must_use]
    pub fn told(&self, model: &Model) -> Vec<String> {
        let converted = model.converted().filter(|_| self.target == Target::Gguf);
        let otherwise = converted.and_then(|made| made.computed_otherwise.clone());
        let coded = |i: usize| self.outcome(model, i).assembly(self.target).is_some();
        let runtime = self.target.runtime().filter(|_| (0..model.tensors.len()).any(coded));
        let untried = runtime.and_then(|runtime| model.untried(runtime));
        let told = [self.left_out(model), otherwise, self.rounds_activations(model), untried];
        told.into_iter().flatten().collect()
    }

    /// What to say where whoever runs an artifact multiplies codes by activations that it rounds to 8 bits.
    fn rounds_activations(&self, model: &Model) -> Option<String> {
        let rounded = |assignment: &Assignment| {
            matches!(assignment.stored.quantize, Some(Quantize::Fp8 { row: true, .. } | Quantize::Int { a8: true, .. }))
        };
        let asked = self.target == Target::CompressedTensors
            && (0..model.tensors.len())
                .any(|i| self.outcome(model, i).assembly(self.target).is_some() && rounded(&self.assignments[i]));
        asked.then(|| {
            "who runs this rounds the activations of layers in fp8 or with a8 to 8 bits, which no number here counts".to_owned()
        })
    }

    fn left_out(&self, model: &Model) -> Option<String> {
        let mut left = (0..model.tensors.len()).filter(|&i| self.leaves_out(model, i));
        let first = left.next()?;
        let name = quoted(&model.tensors[first].name);
        let why = if self.target.leaves_out(model, first) {
            "llama.cpp computes it itself"
        } else {
            "it tells how activations are rounded beside codes that are stored otherwise now"
        };
        Some(match left.count() {
            0 => format!("{name} is left out: {why}"),
            more => format!("{name} and {more} more are left out: {why}"),
        })
    }
}

/// The refusal of a scheme without a level of 0, with the nearest that has one.
fn no_zero(tensor: &Tensor, scheme: &Scheme) -> Error {
    let instead = scheme.with_zero().to_string();
    Error::NoZero { tensor: tensor.name.clone(), scheme: scheme.to_string(), instead }
}

/// The next step for a model that is not converted to GGUF.
fn road_to_gguf(model: &Model) -> &'static str {
    match (&model.origin, model.format) {
        (_, Format::Onnx | Format::Npy | Format::Npz) => "open the folder of the model that it was made from",
        _ if model.is_partial() => "open the whole model, of which not all files are among those that were opened",
        (Origin::Folder(_), Format::Safetensors | Format::Packed)
            if model.tensors.iter().any(|tensor| tensor.is_coded() && tensor.dtype.is_float()) =>
        {
            "export it with --target safetensors first, and convert that folder"
        }
        _ => ROAD,
    }
}

/// Refuses a target that needs a source of another kind, with what to do.
fn check_source(model: &Model, target: Target) -> Result<(), Error> {
    let refuse = |why: &str, instead: &str| {
        Err(Error::Source { target: target.name(), why: why.to_owned(), instead: instead.to_owned() })
    };
    let is_wrapped = || model.tensors.iter().all(|tensor| tensor.name.starts_with("module."));
    if target.is_folder() && !model.tensors.is_empty() && is_wrapped() {
        return refuse(
            "all names begin with \"module.\", as DataParallel wraps a network, and no loader knows them",
            "save model.module.state_dict(), or export it with --target packed",
        );
    }
    if target == Target::Gguf && model.format != Format::Gguf {
        let refused = |why: &str| Error::NotConverted { why: why.to_owned(), road: road_to_gguf(model) };
        return model.conversion().map(drop).map_err(refused);
    }
    if !target.is_folder() {
        return Ok(());
    }
    match model.format {
        Format::Gguf => refuse(
            "the tensors of a GGUF file have llama.cpp's names and order, which its readers do not know",
            "open the folder that it was converted from",
        ),
        Format::Onnx | Format::Npz | Format::Npy => refuse(
            "its readers know the tensors by the names of a Hugging Face folder",
            "open that folder, or take target safetensors",
        ),
        _ if model.tensors.iter().any(|tensor| tensor.beside_scale) => refuse(
            "this model is quantized in a layout which is not read here",
            "open the checkpoint that it was quantized from",
        ),
        _ => {
            if let Some(trouble) = model.config_trouble() {
                return refuse("its readers need the config, which is not read here", trouble);
            }
            let says = |key: &&&str| model.config().is_some_and(|config| config.says(key));
            match [CONFIG_KEY, MLX_KEY].iter().find(says) {
                Some(key) if !model.is_assembled() => refuse(
                    &format!("its config.json has a {key}, and no tensor is found that lies in codes as it says"),
                    "open the checkpoint that it was quantized from, or take that block out where the weights are dense",
                ),
                _ => Ok(()),
            }
        }
    }
}

/// The target when nothing names one: `packed` for a demo, `gguf` for a GGUF file, else `safetensors`.
#[must_use]
pub fn default_target(model: &Model) -> Target {
    match model.format {
        _ if model.is_demo() => Target::Packed,
        Format::Gguf => Target::Gguf,
        _ => Target::Safetensors,
    }
}

impl Recipe {
    /// Applies `PATTERN=SCHEME` after everything the recipe already says. Gives the locked names that were skipped.
    ///
    /// # Errors
    /// A text that is no setting, a pattern that touches nothing, or a locked tensor named in full.
    pub fn set(&mut self, model: &Model, setting: &str) -> Result<Vec<String>, Error> {
        let (pattern, scheme) = setting.rsplit_once('=').ok_or_else(|| Error::NotASetting(setting.to_owned()))?;
        let scheme: Scheme = scheme.parse()?;
        let pattern = Pattern::new(pattern)?;
        self.set_parsed(model, pattern, scheme)
    }

    /// [`Recipe::set`] with its two halves already read.
    ///
    /// # Errors
    /// As [`Recipe::set`].
    pub fn set_parsed(&mut self, model: &Model, pattern: Pattern, scheme: Scheme) -> Result<Vec<String>, Error> {
        let touched = pattern.touched(model)?;
        if pattern.is_exact() {
            let name = model.own_name(pattern.text());
            if self.locked.iter().any(|locked| locked == name) {
                return Err(Error::Locked(name.to_owned()));
            }
            self.set_one(name, scheme);
            return Ok(Vec::new());
        }
        let name = |&i: &usize| model.tensors[i].name.as_str();
        let locked: HashSet<&str> = self.locked.iter().map(String::as_str).collect();
        let (skipped, touched): (Vec<usize>, Vec<usize>) = touched.into_iter().partition(|i| locked.contains(name(i)));
        let replaced: HashSet<&str> = touched.iter().map(name).collect();
        // A rule would reach the locked tensors too; an override keeps each at what it has now.
        if !skipped.is_empty() {
            let now = Plan::unchecked(model, self, Target::Packed)?;
            // One that is pruned together with the others of its rule would leave their pool by that, so the new rule names the
            // others instead.
            if skipped.iter().any(|&i| now.is_pooled(i)) {
                // A pattern may be so long; only what is pruned together must be in one.
                let most = if scheme.is_global() { touched.len().max(1) } else { NAMED_AT_ONCE };
                for some in touched.chunks(most) {
                    self.append(Pattern::naming(model, some)?, scheme.clone());
                }
                self.overrides.retain(|o| !replaced.contains(o.tensor.as_str()));
                return Ok(skipped.iter().map(|i| name(i).to_owned()).collect());
            }
            let own: HashSet<String> = self.overrides.iter().map(|o| o.tensor.clone()).collect();
            for i in skipped.iter().filter(|i| !own.contains(name(i))) {
                let (tensor, scheme) = (name(i).to_owned(), now.assignments[*i].scheme.clone());
                self.overrides.push(Override { tensor, scheme });
            }
        }
        self.overrides.retain(|o| !replaced.contains(o.tensor.as_str()));
        self.append(pattern, scheme);
        Ok(skipped.iter().map(|i| name(i).to_owned()).collect())
    }

    /// A rule behind all others. One of the same pattern, which it outranks everywhere, would only be clutter.
    fn append(&mut self, pattern: Pattern, scheme: Scheme) {
        self.rules.retain(|rule| rule.pattern != pattern);
        self.rules.push(Rule { pattern, scheme });
    }

    /// Calls every tensor of a model that it names by the tensor's own name, as all that comes after does.
    pub fn call_by_own_names(&mut self, model: &Model) {
        let names = self.overrides.iter_mut().map(|item| &mut item.tensor).chain(&mut self.locked);
        names.for_each(|name| *name = model.own_name(name).to_owned());
    }

    /// Gives one tensor its own scheme.
    pub fn set_one(&mut self, tensor: &str, scheme: Scheme) {
        match self.overrides.iter_mut().find(|o| o.tensor == tensor) {
            Some(existing) => existing.scheme = scheme,
            None => self.overrides.push(Override { tensor: tensor.to_owned(), scheme }),
        }
    }
}
