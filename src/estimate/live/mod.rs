//! What a dial comes to in the same frame: bytes and errors from profiles alone, without touching a weight.
//!
//! | scheme | answered from | kind |
//! |---|---|---|
//! | prune, per tensor or global | value table (`from_table`) | live |
//! | levels or a cast over the whole tensor, pruned or not | value table (`from_table`) | live; codebooks, which end in other rounds there, sampled |
//! | symmetric grids of rows and groups | sketch, where the check trusts it (`from_sketch`) | live |
//! | the same pruned by one threshold, with a zero point, with a searched clip, or on somebody's lattice | drawn groups, tried at every width beforehand (`from_tables`) | sampled, with its standard error |
//! | rows, columns, heads, hidden units | energies of rows and columns (`structured`); what else is done to the rest, in proportion | live; sampled |
//! | N of M, blocks, chance | drawn groups, drawn tiles, expected values (`picked`) | sampled, with its standard error |
//! | GGML's blocks | drawn groups (`in_blocks`) | sampled, with its standard error |
//! | masks of files, and what `picked` leaves | nothing: the exact pass alone | |
//! | truncated products | singular values, once they are known (`from_spectrum`) | live |
//! | the same with quantized factors | the exact kernel, where the tensor has 262,144 elements at most and is taken apart already; in the window, where the product fits into a frame | exact |
//! | everything else: per-row pruning, percentile ranges of groups, small floats and other levels of rows and groups | drawn groups (`from_sample`) | sampled, with its standard error |
//!
//! Tensors below 65,536 elements have no live answer: the exact kernel is as quick. The window and `estimate --live` both
//! stand on [`Engine`].

mod from_sample;
mod from_sketch;
mod from_spectrum;
mod from_table;
mod from_tables;
mod in_blocks;
mod levels;
mod picked;
mod structured;
mod whole;

pub use whole::{Asked, estimate_model_live};

use super::size::{self, Content};
use super::{Label, Packing, Spectrum, TensorEstimate};
use crate::compress::Joint;
use crate::formats::Dtype;
use crate::kernels::convert::{F8_E4M3, F8_E5M2};
use crate::kernels::entropy::Gaps;
use crate::kernels::error::ErrorSums;
use crate::kernels::layout::Unit;
use crate::kernels::table::MAGNITUDES;
use crate::model::{Model, Tensor};
use crate::profile::sample::GROUP;
use crate::profile::{Cut, Grain, Profile, ValueTable};
use crate::recipe::removals::{Part, Removal};
use crate::recipe::{Outcome, Plan, Prune, Quantize, Range, Scheme, Scope, Target};
use std::collections::HashMap;
use std::sync::Arc;

/// Elements tried in all per plan when several tensors are answered from samples.
const TRIED_IN_ALL: usize = 1 << 20;
/// How far the best clip of a row may be from the one that a look at it found, as a share of the error: what was looked at
/// are some of its elements, before pruning.
const OTHER_CLIP: f64 = 0.02;
/// The same for groups.
const MISSED_CLIP: f64 = 0.001;
/// The same for levels of a row fitted to a look at it.
const OTHER_LEVELS: f64 = 0.01;
/// The same for centroids fitted to a value table.
const OTHER_CENTROIDS: f64 = 0.002;
/// The same for what a cut through a bin takes, where values are not spread over the bin.
const OTHER_IN_BIN: f64 = 0.001;
/// Groups tried per tensor at least.
const TRIED: usize = 32;

/// Profiles of a model, as far as they are known, and what is worked out from several of them together.
#[derive(Debug, Default)]
pub struct Engine {
    profiles: Vec<Option<Arc<Profile>>>,
    /// Sums of value tables over pools, by their members.
    pools: HashMap<Vec<usize>, Arc<Vec<u64>>>,
    /// Units of dimensions, the smallest first, by what ranks them; forgotten when a profile changes.
    orders: HashMap<Vec<Part>, Arc<Vec<usize>>>,
    /// What the cuts of the plan asked last leave.
    removed: Option<(Vec<Removal>, Arc<Joint>)>,
    /// Singular values, by tensor.
    spectra: HashMap<usize, Arc<Spectrum>>,
}

/// One tensor, its scheme, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    tensor: &'a Tensor,
    /// What is done to it besides structured pruning.
    scheme: &'a Scheme,
    /// What comes of it.
    outcome: Outcome<'a>,
    target: Target,
    profile: &'a Profile,
    /// Where pruning cuts; `None` without pruning, or where each row has its own cut.
    cut: Option<Cut>,
    /// Groups to be tried.
    tried: usize,
}

/// What a source of answers gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    squared_error: f64,
    pruned_error: f64,
    clipped_error: f64,
    energy_after: f64,
    /// Elements with q = 0.
    zeros: f64,
    /// n·H0 of the stored codes in bits; `None` where elements keep their own bits.
    code_bits: Option<f64>,
    /// Relative standard error of the squared error.
    error: Option<f64>,
    /// Whether it stands on drawn groups.
    sampled: bool,
}

impl Engine {
    /// An engine that knows nothing yet.
    #[must_use]
    pub fn new(tensors: usize) -> Self {
        Self { profiles: vec![None; tensors], ..Self::default() }
    }

    /// An engine over finished profiles.
    #[must_use]
    pub fn of(profiles: Vec<Option<Arc<Profile>>>) -> Self {
        Self { profiles, ..Self::default() }
    }

    /// Takes in a profile.
    pub fn put(&mut self, index: usize, profile: Arc<Profile>) {
        self.orders.clear();
        self.removed = None;
        let Some(place) = self.profiles.get_mut(index) else { return };
        let before = place.replace(profile.clone());
        // While a model is read, profiles come in every frame: only what one of them changes of a sum over hundreds is done.
        self.pools.retain(|members, sum| {
            if !members.contains(&index) {
                return true;
            }
            let Some(before) = &before else { return false };
            let sum = Arc::make_mut(sum);
            before.table.take_from(sum);
            profile.table.add_to(sum);
            true
        });
    }

    /// What is known of a tensor.
    #[must_use]
    pub fn profile(&self, index: usize) -> Option<&Arc<Profile>> {
        self.profiles.get(index).and_then(Option::as_ref)
    }

    /// All profiles.
    #[must_use]
    pub fn profiles(&self) -> &[Option<Arc<Profile>>] {
        &self.profiles
    }

    /// Works out what the pools of a plan share: call it after the plan changed, before asking.
    pub fn prepare(&mut self, plan: &Plan) {
        let wanted: Vec<&Vec<usize>> = plan.pools.values().filter(|m| !self.pools.contains_key(*m)).collect();
        for members in wanted {
            let known: Option<Vec<&Arc<Profile>>> = members.iter().map(|&i| self.profile(i)).collect();
            let Some(known) = known else { continue };
            let mut sum = vec![0; MAGNITUDES + 1];
            known.iter().for_each(|profile| profile.table.add_to(&mut sum));
            self.pools.insert(members.clone(), Arc::new(sum));
        }
        if self.pools.len() > 16 {
            self.pools.retain(|members, _| plan.pools.values().any(|other| other == members));
        }
    }

    /// The cuts of a plan's pools, by tensor. Within the cut's bin weights are taken as spread evenly but where a tensor is
    /// known to have but one value there: those go together, in order of name, as the definition says of ties.
    #[must_use]
    pub fn cuts(&self, plan: &Plan) -> HashMap<usize, Cut> {
        let mut cuts = HashMap::new();
        for members in plan.pools.values() {
            let (Some(sum), Some(&first)) = (self.pools.get(members), members.first()) else { continue };
            let Some(share) = plan.assignments[first].stored.pruned_share() else { continue };
            let cut = ValueTable::cut_of_sum(sum, share.share_of(sum.iter().sum()));
            let tables: Vec<(usize, &ValueTable)> =
                members.iter().filter_map(|&i| Some((i, &self.profile(i)?.table))).collect();
            let all = sum[usize::from(cut.bin) + 1];
            cuts.extend(split_bin(cut, all as f64, &tables));
        }
        cuts
    }

    /// Groups that each tensor may try, by how many tensors of the plan have to be answered from samples.
    #[must_use]
    pub fn tried(&self, model: &Model, plan: &Plan) -> usize {
        let sampled = |(i, assignment): (usize, &crate::recipe::Assignment)| {
            self.profile(i).is_some_and(|p| needs_sample(&model.tensors[i], &assignment.stored, plan.target, p))
        };
        let many = plan.assignments.iter().enumerate().filter(|&item| sampled(item)).count().max(1);
        (TRIED_IN_ALL / GROUP / many).max(TRIED)
    }

    /// The live estimate of a touched tensor; `None` where there is none: not profiled yet, too small to need one, or a
    /// scheme that its values may refuse.
    #[must_use]
    pub fn estimate(&self, model: &Model, plan: &Plan, index: usize, asked: &Asked) -> Option<TensorEstimate> {
        if plan.assignments[index].stored.factorize.is_some() {
            return self.truncated(plan.outcome(model, index), plan.target, index);
        }
        let scheme = without_structure(&plan.assignments[index].stored);
        let case = self.case(model, plan, index, &scheme, &asked.cuts, asked.tried)?;
        let answer = case.answer()?;
        if plan.removals.touches(index) {
            let lost = case.lost(&asked.removed, index)?;
            return Some(case.estimate(&lost.taken_from(&answer, &case)));
        }
        Some(case.estimate(&answer))
    }

    fn case<'a>(
        &'a self,
        model: &'a Model,
        plan: &'a Plan,
        index: usize,
        scheme: &'a Scheme,
        cuts: &HashMap<usize, Cut>,
        tried: usize,
    ) -> Option<Case<'a>> {
        let (tensor, outcome) = (&model.tensors[index], plan.outcome(model, index));
        let profile = self.profile(index)?;
        if outcome.scheme.factorize.is_some() {
            return None;
        }
        profile.sample.as_ref()?;
        let cut = match &scheme.prune {
            None => None,
            Some(Prune::Magnitude { scope: Scope::Global, .. }) => Some(*cuts.get(&index)?),
            Some(Prune::Magnitude { scope: Scope::Row, .. }) => None,
            Some(Prune::Magnitude { scope: Scope::Tensor, share }) => {
                Some(profile.table.cut(share.share_of(profile.table.finite())))
            }
            Some(_) if picked::is_picked(scheme) => None,
            Some(_) => return None,
        };
        Some(Case { tensor, scheme, outcome, target: plan.target, profile, cut, tried })
    }
}

/// What is done to a tensor besides structured pruning.
fn without_structure(scheme: &Scheme) -> Scheme {
    let structured = matches!(scheme.prune, Some(Prune::Structured { .. }));
    if structured { scheme.clone().with_prune(None) } else { scheme.clone() }
}

/// Each tensor's own share of a pool's cut through a bin that holds `all` elements.
fn split_bin(cut: Cut, all: f64, tables: &[(usize, &ValueTable)]) -> Vec<(usize, Cut)> {
    let mut left = (cut.share * all).round();
    // Single values in ascending order, of equals by name, which is the order of the tables.
    let mut tied: Vec<(f64, usize)> =
        (0..tables.len()).filter(|&t| tables[t].1.is_tied(cut)).map(|t| (tables[t].1.place_in_bin(cut), t)).collect();
    tied.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = |t: usize| tables[t].1.at(cut) as f64;
    let spread = all - tied.iter().map(|&(_, t)| at(t)).sum::<f64>();
    let mut shares = vec![0.0; tables.len()];
    let mut reached = 0.0;
    for &(place, t) in &tied {
        // What is spread below this value goes before it.
        let below = spread * (place - reached);
        if below > left {
            break;
        }
        (left, reached) = (left - below, place);
        let goes = at(t).min(left);
        shares[t] = if at(t) > 0.0 { goes / at(t) } else { 0.0 };
        left -= goes;
    }
    if left > 0.0 && spread > 0.0 {
        reached = (reached + left / spread).min(1.0);
    }
    let of = |(t, &(index, table)): (usize, &(usize, &ValueTable))| {
        let share = if table.is_tied(cut) { shares[t] } else { reached };
        (index, Cut { share, ..cut })
    };
    tables.iter().enumerate().map(of).collect()
}

/// Whether a scheme has to be answered from drawn groups.
fn needs_sample(tensor: &Tensor, scheme: &Scheme, target: Target, profile: &Profile) -> bool {
    if scheme.is_keep() || profile.sample.is_none() {
        return false;
    }
    let drawn = matches!(
        scheme.prune,
        Some(Prune::Magnitude { scope: Scope::Row, .. } | Prune::Nm { .. } | Prune::Block { .. })
    );
    if drawn || profile.coarse {
        return true;
    }
    match &scheme.quantize {
        Some(Quantize::Gguf(_)) => true,
        _ if levels::unit_of(scheme).is_none_or(|unit| unit == Unit::Tensor) => false,
        Some(Quantize::Int { bits, unit, asymmetric, range, .. }) => {
            let plain = scheme.prune.is_none() && !asymmetric && *range == Range::Max;
            let trusted = Grain::of(*unit).is_some_and(|grain| profile.trusted_sketch(grain, *bits).is_some());
            !(plain && trusted && rounding(tensor, target) != Rounding::Other)
        }
        _ => true,
    }
}

/// What a target does to levels where its readers give values of the tensor's dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    /// Nothing: they are stored as they are.
    None,
    /// Rounds them into a 16-bit dtype, which the checks have measured.
    Measured,
    /// Rounds them into something narrower.
    Other,
}

fn rounding(tensor: &Tensor, target: Target) -> Rounding {
    match tensor.dtype {
        _ if !target.is_dense() => Rounding::None,
        Dtype::F32 | Dtype::F64 => Rounding::None,
        Dtype::BF16 | Dtype::F16 => Rounding::Measured,
        _ => Rounding::Other,
    }
}

impl Case<'_> {
    fn answer(&self) -> Option<Answer> {
        let answer = self.answer_on_weights()?;
        // What was decoded from codes stands at few places of a bin, not spread over it.
        let uneven = if self.cut.is_some() && !self.tensor.is_plain() { OTHER_IN_BIN } else { 0.0 };
        let error = if uneven > 0.0 { Some(answer.error.unwrap_or(0.0).hypot(uneven)) } else { answer.error };
        Some(Answer { error, ..answer })
    }

    fn answer_on_weights(&self) -> Option<Answer> {
        if self.may_be_refused() || self.is_left_to_chance() {
            return None;
        }
        if self.scheme.is_keep() {
            let moments = &self.profile.moments;
            return Some(Answer { energy_after: moments.energy, zeros: moments.zeros as f64, ..Answer::default() });
        }
        if picked::is_picked(self.scheme) {
            return picked::answer(self);
        }
        if matches!(self.scheme.quantize, Some(Quantize::Gguf(_))) {
            return in_blocks::answer(self);
        }
        if self.is_read_by_bias() {
            return from_sample::answer(self);
        }
        if needs_sample(self.tensor, self.scheme, self.target, self.profile) {
            return from_tables::answer(self).or_else(|| from_sample::answer(self));
        }
        match &self.scheme.quantize {
            Some(Quantize::Int { bits, unit, .. }) if *unit != Unit::Tensor => {
                let grain = Grain::of(*unit)?;
                let known = self.profile.grids[grain as usize].get(*bits as usize - 2).copied()??;
                Some(from_sketch::answer(self, grain, *bits, &known))
            }
            _ => from_table::answer(self)
                .map(|answer| Answer { error: self.sought_otherwise().or(answer.error), ..answer }),
        }
    }

    /// Whether the target keeps a zero point as a bias that rounds, so that its readers get other levels than the grid's.
    fn is_read_by_bias(&self) -> bool {
        self.target == Target::Mlx && matches!(self.scheme.quantize, Some(Quantize::Int { asymmetric: true, .. }))
    }

    /// How far the error of a codebook may be off that was sought on the value table, as a share of it: rounds that end a little
    /// earlier or later.
    fn sought_otherwise(&self) -> Option<f64> {
        matches!(self.scheme.quantize, Some(Quantize::Codebook { row: false, .. })).then_some(OTHER_CENTROIDS)
    }

    /// How far the error of a searched clip may be off besides what the groups show, as a share of it: a row is searched in a
    /// look at it, and of groups that few are drawn, those where a clip pays may all be missed.
    fn other_clip(&self) -> f64 {
        match self.scheme.quantize {
            Some(Quantize::Int { unit: Unit::Row, range: Range::Mse, .. }) if self.tensor.geometry().cols > GROUP => {
                OTHER_CLIP
            }
            Some(Quantize::Int { range: Range::Mse, .. }) => MISSED_CLIP,
            Some(
                Quantize::Ternary { row: true } | Quantize::Binary { row: true } | Quantize::Codebook { row: true, .. },
            ) if self.tensor.geometry().cols > GROUP => OTHER_LEVELS,
            Some(Quantize::Gguf(kind)) => in_blocks::other_half(kind),
            _ => 0.0,
        }
    }

    /// Whether levels of rows hang on what no sample tells: which of many equal weights went, the first rows all of theirs and
    /// the last none; or whether a centroid is just 0, and with it all zeros of a row.
    fn is_left_to_chance(&self) -> bool {
        let table = &self.profile.table;
        let ties =
            self.cut.is_some_and(|cut| table.is_tied(cut) && table.at(cut) * from_sample::MANY >= table.finite());
        match self.scheme.quantize {
            Some(Quantize::Codebook { row: true, .. }) => ties || (self.scheme.prune.is_none() && table.zeros > 0),
            Some(Quantize::Ternary { row: true } | Quantize::Binary { row: true }) => ties,
            _ => false,
        }
    }

    /// Whether the exact pass may refuse the scheme on what the tensor holds: then it alone answers.
    fn may_be_refused(&self) -> bool {
        let moments = &self.profile.moments;
        // MLX's biases may be twice as large as any weight.
        let top = moments.abs_max() * if self.target == Target::Mlx { 2.0 } else { 1.0 };
        let narrow = |dtype: Dtype| match dtype {
            Dtype::F16 => top >= 65_504.0,
            Dtype::BF16 => top >= 3.38e38,
            _ => false,
        };
        match &self.scheme.quantize {
            None => false,
            _ if moments.non_finite() > 0 => true,
            // Steps that are hardly numbers any more round in ways of their own.
            Some(_) if top > 0.0 && top < 1e-34 => true,
            // Their steps are f16, and a K type's may be many times as large as a weight.
            Some(Quantize::Gguf(_)) => top >= 10_000.0,
            Some(Quantize::F16) => narrow(Dtype::F16),
            Some(Quantize::Bf16) => narrow(Dtype::BF16),
            Some(Quantize::Fp8 { e5m2, row: false }) => top > if *e5m2 { F8_E5M2.max() } else { F8_E4M3.max() },
            Some(_) => top >= 1.6e38 || (self.target.is_dense() && narrow(self.tensor.dtype)),
        }
    }

    fn estimate(&self, answer: &Answer) -> TensorEstimate {
        let (outcome, moments) = (self.outcome, &self.profile.moments);
        let n = outcome.elements();
        let zeros = (answer.zeros.round().max(0.0) as u64).min(n);
        let gaps = if self.scheme.prune.is_none() && !outcome.cut && zeros == moments.zeros {
            self.profile.gaps
        } else {
            Gaps::expected(n, n - zeros)
        };
        let content = Content { gaps, code_entropy: answer.code_bits };
        let squared_error = answer.squared_error.max(0.0);
        let errors = ErrorSums {
            finite: moments.finite,
            squared_error,
            pruned_error: answer.pruned_error.min(squared_error),
            clipped_error: answer.clipped_error.min(squared_error),
            energy: moments.energy,
            product: 0.5 * (moments.energy + answer.energy_after - squared_error),
            energy_after: answer.energy_after,
            // Not worked out live, and nowhere shown for an estimate.
            max_abs_difference: f64::NAN,
            zeros,
        };
        let sampled = answer.sampled || answer.error.is_some_and(|error| error > LIVE) || self.profile.coarse;
        let foreseen = || {
            let (code, dtype) = (size::code_of(self.scheme), size::stored_dtype(outcome.tensor.dtype, self.scheme));
            let wide = code.bits(dtype) > 8;
            let share = n as f64 / self.tensor.elements().max(1) as f64;
            let symbol_bits = if wide { Some(from_table::last_bytes(self, dtype) * share) } else { answer.code_bits };
            Packing::foreseen((code, size::zero_codes(outcome)), dtype, outcome.geometry(), n - zeros, symbol_bits)
        };
        let packing = (self.target == Target::Packed).then(foreseen);
        let label = if sampled { Label::Sampled } else { Label::Live };
        let sizes = size::stored(outcome, self.target, packing.as_ref());
        TensorEstimate {
            packing,
            sparse_bytes: Some(size::sparse_bytes(outcome, &content)),
            entropy_bytes: Some(size::entropy_bytes(outcome, &content)),
            errors: Some(errors),
            t2_error: answer.error,
            threshold: self.cut.map(|cut| self.profile.table.magnitude(cut)),
            scales: self.scales(),
            ..TensorEstimate::of_sizes(outcome, label, sizes)
        }
    }

    /// Scales over units, from max|w| of drawn groups.
    fn scales(&self) -> Option<[f64; 3]> {
        let (unit, top) = match self.scheme.quantize {
            Some(Quantize::Int { bits, unit, asymmetric: false, range: Range::Max, .. }) => {
                (unit, f64::from((1_i32 << (bits - 1)) - 1))
            }
            Some(Quantize::Fp8 { e5m2, row: true }) => (Unit::Row, if e5m2 { F8_E5M2.max() } else { F8_E4M3.max() }),
            Some(Quantize::Nf4(size)) => (Unit::Group(size), 1.0),
            _ => return None,
        };
        let peaks = match Grain::of(unit) {
            Some(grain) => self.profile.peaks[grain as usize].map(f64::from),
            None => [self.profile.moments.abs_max(); 3],
        };
        Some(peaks.map(|peak| peak / top))
    }
}

/// n·H0 of counts in bits. Counts of an estimate need not be whole.
fn entropy_of(counts: impl IntoIterator<Item = f64>) -> f64 {
    let counts: Vec<f64> = counts.into_iter().filter(|&count| count > 0.0).collect();
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| count * (total / count).log2()).sum()
}

/// The standard error that a live number may have: a third of the bound that sketches are tested for.
const LIVE: f64 = 0.000_3;

impl Engine {
    /// What the values of a touched tensor look like afterwards over [−reach, +reach], and how its scales spread over
    /// units; `None` where there is no live answer.
    #[must_use]
    pub fn drawn(
        &self,
        model: &Model,
        plan: &Plan,
        index: usize,
        asked: &Asked,
        reach: f64,
    ) -> Option<(crate::kernels::histogram::Histogram, Option<[f64; 3]>)> {
        let scheme = &plan.assignments[index].stored;
        if plan.removals.touches(index) {
            return None;
        }
        let case = self.case(model, plan, index, scheme, &asked.cuts, usize::MAX)?;
        match &case.scheme.quantize {
            None if case.cut.is_some() => Some((from_table::after(&case, reach), None)),
            _ if picked::is_picked(case.scheme) => None,
            _ if case.may_be_refused() || case.is_left_to_chance() => None,
            _ => from_sample::drawn(&case, reach),
        }
    }
}
