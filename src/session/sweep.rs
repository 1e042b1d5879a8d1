//! One layer at every pruned share, the rest of its scheme as it stands: what a bar per share and a curve are drawn from.
//!
//! It is made while its panel is being drawn, for a few milliseconds a frame: twenty codebooks take longer than a frame has.

use super::live::Live;
use super::pace::Budget;
use crate::control::Control;
use crate::estimate::TensorEstimate;
use crate::estimate::live::Asked;
use crate::profile::{self, Profile};
use crate::recipe::{Assignment, Decimal, Factorize, Plan, Prune, Quantize, Scheme, Scope, Target};
use std::sync::Arc;

/// Percent between two points.
const STEP: u32 = 5;

/// A layer's estimates over pruned shares.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Pruned share from 0 on, and what it comes to; up to where it is made.
    pub points: Vec<(f64, TensorEstimate)>,
    /// Percent that the next point is at.
    next: u32,
}

impl Sweep {
    /// Whether all its points are there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.next >= 100
    }
}

/// What a sweep is made of.
#[derive(Debug)]
struct Key {
    index: usize,
    target: Target,
    by_row: bool,
    factorize: Option<Factorize>,
    quantize: Option<Quantize>,
    /// The profile it is answered from: held, so that no other can stand at its address.
    profile: Option<Arc<Profile>>,
}

impl PartialEq for Key {
    /// Profiles are the same when they are one and the same.
    fn eq(&self, other: &Self) -> bool {
        let Self { index, target, by_row, factorize, quantize, profile } = self;
        let same_profile = match (profile, &other.profile) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        same_profile
            && (*index, *target, *by_row) == (other.index, other.target, other.by_row)
            && (factorize, quantize) == (&other.factorize, &other.quantize)
    }
}

/// The sweep that was asked for last.
#[derive(Debug)]
pub(super) struct Swept {
    key: Key,
    sweep: Arc<Sweep>,
    /// Whether it was asked for since the last poll.
    looked_at: bool,
}

impl Live {
    /// The layer's estimates at 0, 5, … 95 % pruned by magnitude, with everything else of its scheme; empty where that
    /// cannot be answered at once. Kept until something else about the layer changes.
    ///
    /// A call makes as many points as a frame has time for, one at least; until it [is whole](Sweep::is_whole) it should be
    /// asked for in every frame, and the session says that it is busy. One that is not is forgotten at the second poll.
    pub fn sweep(&self, index: usize) -> Arc<Sweep> {
        let key = self.sweep_key(index);
        let mut place = self.swept.borrow_mut();
        let kept = place.take().filter(|swept| swept.key == key);
        let swept = place.insert(kept.unwrap_or_else(|| Swept { key, sweep: Arc::default(), looked_at: true }));
        swept.looked_at = true;
        if !swept.sweep.is_whole() {
            self.sweep_on(&swept.key, Arc::make_mut(&mut swept.sweep));
        }
        swept.sweep.clone()
    }

    /// Whether somebody looks at a sweep that is not whole yet.
    pub(super) fn is_sweeping(&self) -> bool {
        self.swept.borrow().as_ref().is_some_and(|swept| !swept.sweep.is_whole())
    }

    /// Forgets a sweep that is not whole and that nobody looks at any more: nothing would go on with it.
    pub(super) fn forget_sweep(&mut self) {
        let place = self.swept.get_mut();
        if let Some(swept) = place
            && !std::mem::take(&mut swept.looked_at)
            && !swept.sweep.is_whole()
        {
            *place = None;
        }
    }

    fn sweep_key(&self, index: usize) -> Key {
        let scheme = &self.plan.assignments[index].stored;
        Key {
            index,
            target: self.plan.target,
            by_row: matches!(scheme.prune, Some(Prune::Magnitude { scope: Scope::Row, .. })),
            factorize: scheme.factorize,
            quantize: scheme.quantize.clone(),
            profile: self.engine.profile(index).cloned(),
        }
    }

    /// Makes the next points of a sweep.
    fn sweep_on(&self, key: &Key, sweep: &mut Sweep) {
        if key.factorize.is_some() || !self.model.tensors[key.index].is_touchable() {
            sweep.next = 100;
            return;
        }
        let (target, assignments) = (key.target, self.plan.assignments.clone());
        let (pools, removals, without_codes) = Default::default();
        let mut plan = Plan { target, assignments, pools, removals, without_codes };
        let scope = if key.by_row { Scope::Row } else { Scope::Tensor };
        let mut budget = Budget::of(self.pace.sweep);
        while !sweep.is_whole() && budget.allows_another() {
            let share = Decimal::from_f64(f64::from(sweep.next) / 100.0, 2);
            sweep.next += STEP;
            let prune = (!share.is_zero()).then_some(Prune::Magnitude { share, scope });
            let scheme = Scheme { prune, factorize: None, quantize: key.quantize.clone() };
            if scheme.loses_zeros() {
                // No plan has it.
                continue;
            }
            plan.assignments[key.index] = Assignment { scheme: scheme.clone(), stored: scheme, line: None };
            // What is not answered is left out: a plot has gaps rather than guesses.
            if let Some(estimate) = self.try_once(&plan, key.index) {
                sweep.points.push((share.to_f64(), estimate));
            }
        }
    }

    /// One tensor under a plan of its own, from its profile, or exactly where it is small.
    fn try_once(&self, plan: &Plan, index: usize) -> Option<TensorEstimate> {
        if plan.assignments[index].stored.is_keep() {
            let stats = self.stats[index].as_deref();
            return Some(TensorEstimate::kept(plan.outcome(&self.model, index), plan.target, stats, true));
        }
        let asked = Asked { tried: self.asked.tried, ..Asked::default() };
        if self.model.tensors[index].elements() < profile::SMALL {
            return self.engine.small(&self.model, plan, index, &asked, None, &Control::default())?.ok();
        }
        self.engine.estimate(&self.model, plan, index, &asked)
    }
}

#[cfg(test)]
mod tests {
    use super::super::live::ApplyTo;
    use super::super::pace::Pace;
    use super::*;
    use crate::model::{OpenOptions, open};
    use crate::recipe::Recipe;
    use std::path::Path;
    use std::time::Duration;

    /// The demo, read, one of its layers with this scheme, and the layer.
    fn settled(scheme: &str) -> (Live, usize) {
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        let fc2 = model.find("fc2.weight").unwrap();
        let mut live = Live::new(Arc::new(model), Recipe::default(), None, Arc::new(|| {})).unwrap();
        // What it says of digits takes long and is of no matter here.
        live.network = None;
        (live.running.source, live.running.measure) = (None, None);
        live.set_scheme(fc2, &ApplyTo::This, &scheme.parse().unwrap(), "dial", None).unwrap();
        while live.is_busy() {
            live.poll();
            std::thread::yield_now();
        }
        (live, fc2)
    }

    fn without_time(live: &mut Live) {
        live.pace = Pace { rows: Duration::ZERO, sweep: Duration::ZERO };
    }

    #[test]
    fn without_time_each_call_makes_one_point_and_all_of_them_come_to_the_same_as_at_once() {
        for scheme in ["int4:row", "codebook:16", "prune:0.5:row"] {
            let (mut live, fc2) = settled(scheme);
            live.pace = Pace { sweep: Duration::MAX, ..live.pace };
            let at_once = live.sweep(fc2);
            assert!(at_once.is_whole() && !live.is_busy() && at_once.points.len() == 20, "{scheme}");
            *live.swept.get_mut() = None;
            without_time(&mut live);
            for points in 1..=20 {
                // Polls between frames do not take it away from who looks at it.
                live.poll();
                let sweep = live.sweep(fc2);
                assert_eq!((sweep.points.len(), sweep.is_whole()), (points, points == 20), "{scheme}");
                assert_eq!(live.is_behind(), points < 20);
            }
            assert_eq!(format!("{:?}", live.sweep(fc2).points), format!("{:?}", at_once.points), "{scheme}");
        }
    }

    #[test]
    fn one_that_nobody_looks_at_any_more_keeps_nobody_busy() {
        let (mut live, fc2) = settled("int4:row");
        without_time(&mut live);
        live.sweep(fc2);
        live.poll();
        assert!(live.is_busy());
        live.poll();
        assert!(!live.is_busy());
        assert_eq!(live.sweep(fc2).points.len(), 1);
    }

    #[test]
    fn it_is_kept_until_its_layer_is_another() {
        let (mut live, fc2) = settled("int4:row");
        live.pace = Pace { sweep: Duration::MAX, ..live.pace };
        let first = live.sweep(fc2);
        live.poll();
        assert!(Arc::ptr_eq(&first, &live.sweep(fc2)));
        // The bars are of all shares: the one in force makes no difference.
        live.set_scheme(fc2, &ApplyTo::This, &"prune:0.3+int4:row".parse().unwrap(), "dial", None).unwrap();
        assert!(Arc::ptr_eq(&first, &live.sweep(fc2)));
        live.set_scheme(fc2, &ApplyTo::This, &"int5:row".parse().unwrap(), "dial", None).unwrap();
        let second = live.sweep(fc2);
        assert!(!Arc::ptr_eq(&first, &second));
        // A profile that is another one, though all of it is the same.
        let same = Profile::clone(live.engine.profile(fc2).unwrap());
        live.engine.put(fc2, Arc::new(same));
        assert!(!Arc::ptr_eq(&second, &live.sweep(fc2)));
    }

    #[test]
    fn factors_have_none() {
        let (live, fc2) = settled("rank:4");
        let sweep = live.sweep(fc2);
        assert!(sweep.is_whole() && sweep.points.is_empty());
    }
}
