//! A whole plan answered from profiles: what `estimate --live` prints, and what the window shows before the exact pass lands.

use super::Engine;
use crate::compress::{Error, Joint, PoolCut, in_order, is_at_hand};
use crate::control::Control;
use crate::estimate::total::{self, ModelEstimate};
use crate::estimate::{Label, TensorEstimate, TensorStats, estimate_tensor};
use crate::kernels::select::Threshold;
use crate::model::{Model, Tensor};
use crate::profile::{self, Cut, Profile};
use crate::recipe::{Factorize, Plan, Prune, Quantize, Recipe, Scheme};
use std::collections::HashMap;
use std::sync::Arc;

/// What is worked out once per plan, before its tensors are asked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Where pools cut, by tensor.
    pub cuts: HashMap<usize, Cut>,
    /// Groups that each sampled tensor may try.
    pub tried: usize,
    /// What structured pruning leaves, where profiles tell.
    pub removed: Arc<Joint>,
}

impl Engine {
    /// What a plan's tensors share.
    pub fn ask(&mut self, model: &Model, plan: &Plan) -> Asked {
        self.prepare(plan);
        let removed = self.removed(model, plan);
        Asked { cuts: self.cuts(plan), tried: self.tried(model, plan), removed }
    }

    /// How long [`Engine::small`] takes, in elements put on their levels; `None` where it has no answer.
    #[must_use]
    pub fn work_of_small(&self, tensor: &Tensor, index: usize, scheme: &Scheme) -> Option<usize> {
        let elements = tensor.elements();
        let rank = scheme.factorize.map(|step| match step {
            Factorize::Rank(rank) => usize::try_from(rank).unwrap_or(usize::MAX),
            Factorize::Energy(share) => {
                self.spectrum(index).map_or(usize::MAX, |known| known.rank_of_energy(share.to_f64()))
            }
        });
        let product = rank.map_or(0, |rank| elements.saturating_mul(rank) / MULTIPLIED);
        by_the_kernel(scheme, elements).then(|| elements.saturating_mul(times_for_centroids(scheme)).max(product))
    }

    /// A small tensor by the exact kernel, once it was read before: as quick as any sketch. `None` where it is neither small
    /// nor factorized and quantized, or must be taken apart first; an error is the exact pass's refusal.
    pub fn small(
        &self,
        model: &Model,
        plan: &Plan,
        index: usize,
        asked: &Asked,
        reach: Option<f64>,
        control: &Control,
    ) -> Option<Result<TensorEstimate, Error>> {
        let (tensor, assignment) = (&model.tensors[index], &plan.assignments[index]);
        let scheme = &assignment.stored;
        let profile = self.profile(index).filter(|p| !p.coarse && by_the_kernel(scheme, tensor.elements()))?;
        let pool = if scheme.is_global() {
            let cut = asked.cuts.get(&index)?;
            Some(pool_cut(profile, *cut))
        } else {
            None
        };
        if plan.removals.touches(index) && asked.removed.leaves(index).is_none() {
            return None;
        }
        let mut task = asked.removed.task(model, plan, index, control);
        task.pool = pool;
        if !is_at_hand(&task) {
            return None;
        }
        let mut result = estimate_tensor(&task, reach);
        if let (Ok(estimate), true) = (&mut result, pool.is_some() || plan.removals.touches(index)) {
            // The kernel is exact, but the pool's threshold is the tables', and ranks may be by sums of 32 bits.
            estimate.label = Label::Live;
        }
        Some(result)
    }
}

/// Elements of a tensor whose quantized factors the exact kernel may make, once it is taken apart.
const FACTORIZED: usize = 1 << 18;
/// Multiplications of a product that take as long as putting an element on its levels.
const MULTIPLIED: usize = 24;

/// How many times as long an element takes where centroids are sought first, as measured on 62,500: values are put in order,
/// which is most of it while centroids are few, and every round asks for all of them, of rows in each row anew.
fn times_for_centroids(scheme: &Scheme) -> usize {
    match scheme.quantize {
        Some(Quantize::Codebook { k, row: false, .. }) => 5 + k as usize / 16,
        Some(Quantize::Codebook { k, row: true, best }) => (5 + k as usize / 8) * if best { 3 } else { 1 },
        _ => 1,
    }
}

/// Whether a tensor is answered by the exact kernel rather than from its profile: it is small, or what quantization makes of
/// its factors is in no profile. Masks of files are read by the exact pass alone.
fn by_the_kernel(scheme: &Scheme, elements: usize) -> bool {
    let factors = scheme.factorize.is_some() && scheme.quantize.is_some();
    let masked = matches!(scheme.prune, Some(Prune::Mask { .. }));
    !masked && (elements < profile::SMALL || (factors && elements <= FACTORIZED))
}

/// A pool's cut for one tensor, from the tables: everything below the magnitude goes, and the tensor's share of what stands
/// at it.
fn pool_cut(profile: &Profile, cut: Cut) -> PoolCut {
    let key = u64::from((profile.table.magnitude(cut) as f32).to_bits());
    let equal = if profile.table.points { profile.table.at(cut) } else { 0 };
    let ties = (cut.share * equal as f64).round() as u64;
    PoolCut { threshold: Threshold { key, ties, equal }, ties_before: 0, wide: false }
}

/// Estimates every tensor of a plan from profiles; where there is no live answer, exactly.
///
/// # Errors
/// The first tensor, in order, that cannot be read or refuses its scheme.
pub fn estimate_model_live(
    model: &Model,
    plan: &Plan,
    recipe: &Recipe,
    engine: &mut Engine,
    control: &Control,
) -> Result<ModelEstimate, Error> {
    let asked = engine.ask(model, plan);
    let engine = &*engine;
    let one = |index: usize| {
        if plan.outcome(model, index).is_kept() {
            let stats = engine.profile(index).map(|p| TensorStats::of(p, false));
            return Ok(Some(TensorEstimate::kept(plan.outcome(model, index), plan.target, stats.as_ref(), true)));
        }
        match engine.small(model, plan, index, &asked, None, control) {
            Some(exact) => exact.map(Some),
            None => Ok(engine.estimate(model, plan, index, &asked)),
        }
    };
    let live = in_order(model.tensors.len(), one);
    let mut estimates = live?;
    if estimates.iter().any(Option::is_none) {
        let open: Vec<bool> = estimates.iter().map(Option::is_none).collect();
        let joint = Joint::for_some(model, plan, |index| open[index], control)?;
        for (index, place) in estimates.iter_mut().enumerate().filter(|(_, place)| place.is_none()) {
            *place = Some(estimate_tensor(&joint.task(model, plan, index, control), None)?);
        }
    }
    Ok(total::sum_up(model, plan, recipe, estimates.into_iter().flatten().collect()))
}
