//! One layer at every pruned share, the rest of its scheme as it stands: what a bar per share and a curve are drawn from.

use super::live::Live;
use crate::control::Control;
use crate::estimate::TensorEstimate;
use crate::estimate::live::Asked;
use crate::profile;
use crate::recipe::{Assignment, Decimal, Factorize, Plan, Prune, Quantize, Removals, Scheme, Scope, Target};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Percent between two points.
const STEP: u32 = 5;

/// A layer's estimates over pruned shares.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Pruned share from 0 on, and what it comes to.
    pub points: Vec<(f64, TensorEstimate)>,
}

/// What a sweep was made of.
#[derive(Debug, PartialEq)]
pub(super) struct SweepKey {
    index: usize,
    target: Target,
    by_row: bool,
    factorize: Option<Factorize>,
    quantize: Option<Quantize>,
    /// The profile it was answered from.
    profile: usize,
}

impl Live {
    /// The layer's estimates at 0, 5, … 95 % pruned by magnitude, with everything else of its scheme; empty where that
    /// cannot be answered at once. Kept until something else about the layer changes.
    pub fn sweep(&self, index: usize) -> Arc<Sweep> {
        let scheme = &self.plan.assignments[index].stored;
        let by_row = matches!(scheme.prune, Some(Prune::Magnitude { scope: Scope::Row, .. }));
        let key = SweepKey {
            index,
            target: self.plan.target,
            by_row,
            factorize: scheme.factorize,
            quantize: scheme.quantize.clone(),
            profile: self.engine.profile(index).map_or(0, |profile| Arc::as_ptr(profile) as usize),
        };
        let mut kept = self.swept.borrow_mut();
        match &*kept {
            Some((made_of, sweep)) if *made_of == key => sweep.clone(),
            _ => {
                let sweep = Arc::new(self.make_sweep(&key));
                *kept = Some((key, sweep.clone()));
                sweep
            }
        }
    }

    fn make_sweep(&self, key: &SweepKey) -> Sweep {
        if key.factorize.is_some() || !self.model.tensors[key.index].is_touchable() {
            return Sweep::default();
        }
        let (target, assignments) = (key.target, self.plan.assignments.clone());
        let mut plan = Plan { target, assignments, pools: BTreeMap::new(), removals: Removals::default() };
        let scope = if key.by_row { Scope::Row } else { Scope::Tensor };
        let mut points = Vec::new();
        for percent in (0..100).step_by(STEP as usize) {
            let share = Decimal::from_f64(f64::from(percent) / 100.0, 2);
            let prune = (!share.is_zero()).then_some(Prune::Magnitude { share, scope });
            let scheme = Scheme { prune, factorize: None, quantize: key.quantize.clone() };
            if scheme.loses_zeros() {
                // No plan has it.
                continue;
            }
            plan.assignments[key.index] = Assignment { scheme: scheme.clone(), stored: scheme, line: None };
            // What is not answered is left out: a plot has gaps rather than guesses.
            if let Some(estimate) = self.try_once(&plan, key.index) {
                points.push((share.to_f64(), estimate));
            }
        }
        Sweep { points }
    }

    /// One tensor under a plan of its own, from its profile, or exactly where it is small.
    fn try_once(&self, plan: &Plan, index: usize) -> Option<TensorEstimate> {
        if plan.assignments[index].stored.is_keep() {
            let stats = self.stats[index].as_deref();
            return Some(TensorEstimate::kept(&self.model.tensors[index], plan.target, stats, true));
        }
        let asked = Asked { tried: self.asked.tried, ..Asked::default() };
        if self.model.tensors[index].elements() < profile::SMALL {
            return self.engine.small(&self.model, plan, index, &asked, None, &Control::default())?.ok();
        }
        self.engine.estimate(&self.model, plan, index, &asked)
    }
}
