//! N of M: of every M neighbours along a row the N largest magnitudes stay (Mishra et al. 2021, arXiv 2104.08378, for 2:4).
//!
//! ```text
//! 2 of 4    0.3 −0.1 0.7 0.2 │ 0.5 0.5 0.5 0.5 │ 0.9 −0.4         a tail of r keeps ⌈N·r/M⌉
//!           0.3   0  0.7  0  │  0   0  0.5 0.5 │ 0.9   0           of equals the first goes
//! ```
//!
//! Only finite elements are ranked: a group with r of them keeps ⌈N·r/M⌉ of them, and the others as they are.

use super::Real;
use super::dispatch::{self, Kernel};
use super::select::{apply, threshold_of};

/// Groups that are ranked side by side.
const LANES: usize = 16;

/// Zeroes all but the largest `n` of each `m` elements of a slice that begins at a group's start; the last group may be
/// short. `scratch` is reused from call to call.
pub fn keep_largest<T: Real>(values: &mut [T], n: usize, m: usize, scratch: &mut Vec<u64>) {
    match m {
        2 => dispatch::run(Ranked::<_, 2> { values, n, scratch }),
        4 => dispatch::run(Ranked::<_, 4> { values, n, scratch }),
        8 => dispatch::run(Ranked::<_, 8> { values, n, scratch }),
        _ => values.chunks_mut(m.max(1)).for_each(|group| keep_in_group(group, n, m, scratch)),
    }
}

/// One group, whole or short, whatever it holds.
fn keep_in_group<T: Real>(group: &mut [T], n: usize, m: usize, scratch: &mut Vec<u64>) {
    let finite = group.iter().filter(|v| v.is_finite()).count();
    let kept = (n * finite).div_ceil(m.max(1));
    if let Some(threshold) = threshold_of(group, (finite - kept.min(finite)) as u64, scratch) {
        apply(group, threshold, Real::magnitude_key, &mut 0);
    }
}

struct Ranked<'a, T, const M: usize> {
    values: &'a mut [T],
    n: usize,
    scratch: &'a mut Vec<u64>,
}

impl<T: Real, const M: usize> Kernel for Ranked<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { values, n, scratch } = self;
        let (groups, tail) = values.as_chunks_mut::<M>();
        let (runs, rest) = groups.as_chunks_mut::<LANES>();
        for run in runs {
            if !rank_run(run, n) {
                run.iter_mut().for_each(|group| keep_in_group(group, n, M, scratch));
            }
        }
        rest.iter_mut().for_each(|group| keep_in_group(group, n, M, scratch));
        keep_in_group(tail, n, M, scratch);
    }
}

/// Ranks whole groups side by side: an element's rank is how many of its group outlast it. Gives `false`, and changes
/// nothing, when some element is not finite.
#[inline(always)]
fn rank_run<T: Real, const M: usize>(run: &mut [[T; M]; LANES], n: usize) -> bool {
    let mut magnitude = [[T::ZERO; LANES]; M];
    let mut finite = true;
    for i in 0..M {
        for lane in 0..LANES {
            let value = run[lane][i].abs();
            finite &= value < T::INFINITY;
            magnitude[i][lane] = value;
        }
    }
    if !finite {
        return false;
    }
    let mut rank = [[0_u32; LANES]; M];
    for i in 0..M {
        for j in i + 1..M {
            for lane in 0..LANES {
                let first = u32::from(magnitude[i][lane] > magnitude[j][lane]);
                rank[j][lane] += first;
                rank[i][lane] += 1 - first;
            }
        }
    }
    for i in 0..M {
        for lane in 0..LANES {
            // What is 0 already keeps its sign.
            let stays = (rank[i][lane] < n as u32) || (magnitude[i][lane] == T::ZERO);
            run[lane][i] = if stays { run[lane][i] } else { T::ZERO };
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;
    use proptest::prelude::*;

    /// The contract's sentence as a sort.
    fn specification(values: &[f32], n: usize, m: usize) -> Vec<f32> {
        let mut out = values.to_vec();
        for group in out.chunks_mut(m) {
            let mut order: Vec<usize> = (0..group.len()).filter(|&i| group[i].is_finite()).collect();
            order.sort_by(|&a, &b| group[a].abs().total_cmp(&group[b].abs()).then(a.cmp(&b)));
            let kept = (n * order.len()).div_ceil(m);
            for &i in &order[..order.len() - kept] {
                if group[i] != 0.0 {
                    group[i] = 0.0;
                }
            }
        }
        out
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|v| v.to_bits()).collect()
    }

    fn weight() -> impl Strategy<Value = f32> {
        prop_oneof![
            12 => -1.0_f32..1.0,
            6 => prop::sample::select(vec![0.0, -0.0, 0.5, -0.5, 1e-42, -1e-42, 3e38]),
            1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
        ]
    }

    proptest! {
        #[test]
        fn every_group_keeps_its_largest(values in prop::collection::vec(weight(), 0..400), m in 1_usize..=64, part in 0.0_f64..1.0) {
            let n = 1 + (part * m as f64) as usize;
            let want = specification(&values, n, m);
            let mut found = values.clone();
            keep_largest(&mut found, n, m, &mut Vec::new());
            prop_assert_eq!(bits(&found), bits(&want));
            let mut wide: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            keep_largest(&mut wide, n, m, &mut Vec::new());
            let narrow: Vec<f32> = wide.iter().map(|&v| v as f32).collect();
            prop_assert!(narrow.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())));
        }

        #[test]
        fn groups_side_by_side_equal_groups_alone(values in prop::collection::vec(-1.0_f32..1.0, 0..900), n in 1_usize..=8) {
            for level in Level::all() {
                let mut two = values.clone();
                level.run(Ranked::<_, 2> { values: &mut two, n: n.min(2), scratch: &mut Vec::new() });
                prop_assert_eq!(bits(&two), bits(&specification(&values, n.min(2), 2)));
                let mut four = values.clone();
                level.run(Ranked::<_, 4> { values: &mut four, n: n.min(4), scratch: &mut Vec::new() });
                prop_assert_eq!(bits(&four), bits(&specification(&values, n.min(4), 4)));
                let mut eight = values.clone();
                level.run(Ranked::<_, 8> { values: &mut eight, n, scratch: &mut Vec::new() });
                prop_assert_eq!(bits(&eight), bits(&specification(&values, n, 8)));
            }
        }
    }

    #[test]
    fn tails_and_ties() {
        let mut values = [0.3, -0.1, 0.7, 0.2, 0.5, 0.5, 0.5, 0.5, 0.9, -0.4_f32];
        keep_largest(&mut values, 2, 4, &mut Vec::new());
        assert_eq!(values, [0.3, 0.0, 0.7, 0.0, 0.0, 0.0, 0.5, 0.5, 0.9, 0.0]);
        // ⌈2·3/4⌉ = 2 of a tail of three; all of a group when n is m.
        let mut tail = [0.1, 0.2, 0.3_f32];
        keep_largest(&mut tail, 2, 4, &mut Vec::new());
        assert_eq!(tail, [0.0, 0.2, 0.3]);
        keep_largest(&mut tail, 3, 3, &mut Vec::new());
        assert_eq!(tail, [0.0, 0.2, 0.3]);
    }
}
