//! What is known of single rows: quantiles of their magnitudes, and the clips that suit them best, for schemes that fit every
//! row by itself.
//!
//! A row's few largest magnitudes decide what a clip costs, so they are all looked at; of the others every so many stand
//! for their neighbours.

use super::tables::{Kind, WIDTHS};
use crate::kernels::clip::{Wanted, weighted_search};
use crate::kernels::quant::Extent;

/// Elements looked at for a row's even quantiles.
const ROW_LOOK: usize = 512;
/// Even steps of a row's quantiles.
const STEPS: usize = 64;
/// Quantiles beyond the even steps, where percentile ranges lie.
const TAIL: [f64; 6] = [0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999];
/// Quantiles kept for a row: even steps, tail, and the greatest.
pub const QUANTILES: usize = STEPS + TAIL.len() + 1;
/// Largest elements that a search for a clip looks at, each by itself.
const LARGEST: usize = 32;
/// Elements that stand for the others there.
const SPREAD: usize = 160;
/// Clips kept for a row: one for each width.
pub const CLIPS: usize = WIDTHS;

/// Values kept for a row in order, its least and its greatest among them.
pub const ORDER: usize = 256;

/// Appends [`ORDER`] values of a row at even shares, least to greatest.
pub fn in_order(row: &mut [f32], out: &mut Vec<f32>) {
    row.sort_unstable_by(f32::total_cmp);
    let last = row.len().saturating_sub(1);
    out.extend((0..ORDER).map(|i| row.get((i * last + ORDER / 2) / (ORDER - 1)).copied().unwrap_or_default()));
}

/// The share of a row that lies below its i-th quantile.
fn share_of(i: usize) -> f64 {
    if i < STEPS { i as f64 / STEPS as f64 } else { TAIL.get(i - STEPS).copied().unwrap_or(1.0) }
}

/// The magnitude below which `share` lies, between the quantiles that are known.
#[must_use]
pub fn between_quantiles(known: &[f32], share: f64) -> f32 {
    let right = (1..QUANTILES).find(|&i| share_of(i) >= share).unwrap_or(QUANTILES - 1);
    let (a, b) = (share_of(right - 1), share_of(right));
    let t = ((share - a) / (b - a)).clamp(0.0, 1.0) as f32;
    let of = |i: usize| known.get(i).copied().unwrap_or(0.0);
    of(right - 1) + (of(right) - of(right - 1)) * t
}

/// The share that lies below a magnitude: the inverse of [`between_quantiles`].
#[must_use]
pub fn share_below_quantile(known: &[f32], magnitude: f32) -> f64 {
    let right = known.partition_point(|&quantile| quantile < magnitude);
    let Some(left) = right.checked_sub(1) else { return 0.0 };
    if right >= known.len() {
        return 1.0;
    }
    let t = f64::from(magnitude - known[left]) / f64::from(known[right] - known[left]);
    share_of(left) + t * (share_of(right) - share_of(left))
}

/// Appends the quantiles of a row whose greatest magnitude is `peak`: the even ones from evenly spaced elements, those of
/// the tail from all.
pub fn quantiles(row: &[f32], peak: f32, keys: &mut Vec<u32>, out: &mut Vec<f32>) {
    let step = (row.len() / ROW_LOOK).max(1);
    let key = |w: &f32| w.abs().to_bits();
    keys.clear();
    keys.extend(row.iter().step_by(step).filter(|w| w.is_finite()).map(key));
    keys.sort_unstable();
    out.extend((0..STEPS).map(|i| of_sorted(keys, keys.len(), share_of(i))));
    keys.clear();
    keys.extend(row.iter().filter(|w| w.is_finite()).map(key));
    let n = keys.len();
    let tail = (n / 64 + 2).min(n);
    if tail < n {
        keys.select_nth_unstable(n - tail);
        keys.drain(..n - tail);
    }
    keys.sort_unstable();
    out.extend(TAIL.map(|share| of_sorted(keys, n, share)));
    out.push(peak);
}

/// The magnitude at a share of `n` sorted values, of which the last are at hand.
fn of_sorted(last: &[u32], n: usize, share: f64) -> f32 {
    let place = n.saturating_sub(1) as f64 * share;
    let missing = n - last.len();
    let value = |i: usize| last.get(i.saturating_sub(missing)).or(last.last()).map_or(0.0, |&key| f32::from_bits(key));
    let (low, high) = (value(place as usize), value(place as usize + 1));
    low + (high - low) * place.fract() as f32
}

/// A few elements of a row that stand for all of it: its largest, and every so many of the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// The largest, then the others.
    pub values: Vec<f32>,
    /// How many are the largest.
    pub largest: usize,
    /// How many elements each of the others stands for.
    pub weight: f64,
}

impl Look {
    /// Looks at a row of finite values.
    #[must_use]
    pub fn at(row: &[f32], sorted: &mut Vec<f32>) -> Self {
        sorted.clear();
        sorted.extend_from_slice(row);
        let largest = LARGEST.min(row.len());
        if largest < row.len() {
            sorted.select_nth_unstable_by(largest, |a, b| b.abs().total_cmp(&a.abs()));
        }
        let (single, rest) = sorted.split_at(largest);
        let mut values = single.to_vec();
        values.extend(rest.iter().step_by(rest.len().div_ceil(SPREAD).max(1)));
        let weight = rest.len() as f64 / (values.len() - largest).max(1) as f64;
        Self { values, largest, weight }
    }

    /// The clip, in percent of the row's range, that is best after everything below `threshold` became zero.
    #[must_use]
    pub fn clip(&self, wanted: Wanted, extent: Extent<f32>, threshold: f32) -> i32 {
        let left = |values: &[f32]| -> Vec<f32> { values.iter().copied().filter(|w| w.abs() >= threshold).collect() };
        let (single, others) = self.values.split_at(self.largest.min(self.values.len()));
        weighted_search([(&left(single), 1.0), (&left(others), self.weight)], wanted, extent)
    }

    /// Appends the best clip of a symmetric grid at each width.
    pub fn clips(&self, extent: Extent<f32>, out: &mut Vec<u8>) {
        let clip = |bits: u32| self.clip(Kind::Searched.wanted(bits), extent, 0.0);
        out.extend((2..=8).map(|bits| u8::try_from(clip(bits)).unwrap_or(100)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::clip::{TIGHTEST, best_clip, clip_errors};

    fn row(n: u32) -> Vec<f32> {
        (0..n)
            .map(|i| {
                let u = f64::from(i.wrapping_mul(2_654_435_761) >> 8) / 16_777_216.0 - 0.5;
                (u.powi(5) + u * 0.01) as f32
            })
            .collect()
    }

    #[test]
    fn quantiles_of_the_tail_are_those_of_a_sort() {
        let row = row(6000);
        let mut sorted: Vec<f32> = row.iter().map(|w| w.abs()).collect();
        sorted.sort_by(f32::total_cmp);
        let mut known = Vec::new();
        quantiles(&row, sorted[5999], &mut Vec::new(), &mut known);
        assert_eq!(known.len(), QUANTILES);
        for share in [0.99, 0.995, 0.999, 0.9999] {
            let place: f64 = 5999.0 * share;
            let (low, high) = (sorted[place as usize], sorted[place as usize + 1]);
            let exact = low + (high - low) * place.fract() as f32;
            assert!((between_quantiles(&known, share) - exact).abs() < 1e-6, "{share}");
        }
        assert_eq!(between_quantiles(&known, 1.0), sorted[5999]);
        for share in [0.1, 0.5, 0.9] {
            let quantile = between_quantiles(&known, share);
            assert!((share_below_quantile(&known, quantile) - share).abs() < 1e-5, "{share}");
            let near = sorted[(5999.0 * share) as usize];
            assert!((between_quantiles(&known, share) / near - 1.0).abs() < 0.1, "{share}");
        }
        let mut short = Vec::new();
        quantiles(&[], 0.0, &mut Vec::new(), &mut short);
        quantiles(&[0.5, -0.25], 0.5, &mut Vec::new(), &mut short);
        assert_eq!(short.len(), 2 * QUANTILES);
    }

    #[test]
    fn a_row_in_order_has_its_ends_and_its_middle() {
        let (mut row, mut out) = (row(4097), Vec::new());
        in_order(&mut row, &mut out);
        assert_eq!((out.len(), out[0], out[ORDER - 1]), (ORDER, row[0], row[4096]));
        assert!(out.is_sorted() && out.contains(&row[2056]));
        in_order(&mut [2.0, 1.0], &mut out);
        assert_eq!((out[ORDER], out[2 * ORDER - 1]), (1.0, 2.0));
    }

    #[test]
    fn the_clips_of_a_look_cost_hardly_more_than_the_best() {
        let row = row(4096);
        let extent = Extent::of(&row);
        let mut found = Vec::new();
        Look::at(&row, &mut Vec::new()).clips(extent, &mut found);
        assert_eq!(found.len(), CLIPS);
        let mut costs = 0.0;
        for (place, &percent) in found.iter().enumerate() {
            let errors = clip_errors(&row, Kind::Searched.wanted(place as u32 + 2), extent);
            let best = errors[(best_clip(&errors) - TIGHTEST) as usize];
            let chosen = errors[(i32::from(percent) - TIGHTEST) as usize];
            assert!(chosen <= best * 1.08, "{place}: {percent} {chosen} {best}");
            costs += chosen / best - 1.0;
        }
        assert!(costs / CLIPS as f64 <= 0.025, "{costs}");
    }
}
