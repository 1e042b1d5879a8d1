//! Which percentile a clip is: of the magnitudes of a typical unit, the share that lies below it.
//!
//! A hand drags one line over the distribution of the whole tensor, and every unit is clipped at its own percentile. The line
//! stands where the median unit is clipped.

use super::rank::share_below_quantile;
use super::{Grain, Profile, Sample};
use crate::kernels::layout::{Geometry, Unit};

impl Profile {
    /// The percentile (0 to 100) at which the median unit is clipped at `magnitude`, over the elements from `threshold` up;
    /// `None` where nothing is known of the units.
    #[must_use]
    pub fn percentile_of_clip(&self, unit: Unit, cols: usize, magnitude: f64, threshold: f64) -> Option<f64> {
        let sample = self.sample.as_ref()?;
        let shares = match Grain::of(unit) {
            None => {
                let below = |magnitude: f64| self.table.count_below(magnitude);
                let gone = if threshold > 0.0 { below(threshold) } else { 0.0 };
                let all = self.table.finite() as f64 - gone;
                vec![((below(magnitude) - gone) / all.max(1.0), 1.0)]
            }
            Some(Grain::Row) if cols > super::sample::GROUP => rows(sample, magnitude as f32, threshold as f32),
            Some(grain) => groups(sample, grain.size(), magnitude as f32, threshold as f32),
        };
        median(shares).map(|share| 100.0 * share.clamp(0.0, 1.0))
    }
}

/// The same of a small tensor whose values are all at hand.
#[must_use]
pub fn percentile_of_clip(
    values: &[f32],
    geometry: Geometry,
    unit: Unit,
    magnitude: f64,
    threshold: f64,
) -> Option<f64> {
    let of_unit = |(_, piece): (usize, std::ops::Range<usize>)| {
        let left = values.get(piece)?.iter().map(|w| w.abs()).filter(|&m| f64::from(m) >= threshold);
        place_among(left, magnitude as f32).map(|share| (share, 1.0))
    };
    let shares = unit.pieces(geometry, 0..geometry.len()).filter_map(of_unit).collect();
    median(shares).map(|share| 100.0 * share.clamp(0.0, 1.0))
}

fn rows(sample: &Sample, magnitude: f32, threshold: f32) -> Vec<(f64, f64)> {
    let share = |i: usize, magnitude: f32| share_below_quantile(sample.quantiles_of(i), magnitude);
    let of_row = |i: usize| {
        let gone = if threshold > 0.0 { share(i, threshold) } else { 0.0 };
        let left = (1.0 - gone).max(f64::MIN_POSITIVE);
        Some(((share(i, magnitude) - gone) / left, sample.segments.get(i)?.weight))
    };
    (0..sample.ranked()).filter_map(of_row).collect()
}

fn groups(sample: &Sample, size: Option<usize>, magnitude: f32, threshold: f32) -> Vec<(f64, f64)> {
    let mut shares = Vec::new();
    for segment in &sample.segments {
        let values = sample.values_of(segment);
        for group in values.chunks(size.unwrap_or(values.len()).max(1)) {
            let left = group.iter().map(|w| w.abs()).filter(|&m| m >= threshold);
            shares.extend(place_among(left, magnitude).map(|share| (share, segment.weight)));
        }
    }
    shares
}

/// Where a magnitude stands among others, from 0 at the least to 1 at the greatest, in proportion between neighbours: the
/// inverse of the linear percentile. `None` without any.
fn place_among(values: impl Iterator<Item = f32>, magnitude: f32) -> Option<f64> {
    let (mut count, mut below, mut lower, mut upper) = (0_u32, 0_u32, f32::NEG_INFINITY, f32::INFINITY);
    for value in values {
        count += 1;
        if value <= magnitude {
            below += 1;
            lower = lower.max(value);
        } else {
            upper = upper.min(value);
        }
    }
    let last = f64::from(count.checked_sub(1)?);
    if below == 0 || below == count || last == 0.0 {
        return Some(f64::from(u8::from(below > 0)));
    }
    let between = f64::from(magnitude - lower) / f64::from(upper - lower);
    Some((f64::from(below - 1) + between) / last)
}

/// The median of weighted numbers.
fn median(mut numbers: Vec<(f64, f64)>) -> Option<f64> {
    numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = numbers.iter().map(|n| n.1).sum::<f64>() / 2.0;
    let mut sum = 0.0;
    let reached = |n: &&(f64, f64)| {
        sum += n.1;
        sum >= half
    };
    numbers.iter().find(reached).map(|n| n.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::clip::percentile;

    #[test]
    fn a_place_is_the_inverse_of_a_percentile() {
        let values: Vec<f32> = (0..33).map(|i: i32| ((i * 37 % 101) as f32 - 50.0) * 0.01).collect();
        for percent in [1.0, 20.0, 50.0, 93.7, 99.9, 100.0] {
            let clip: f32 = percentile(&values, percent, false, &mut Vec::new());
            let share = place_among(values.iter().map(|w| w.abs()), clip).unwrap();
            let back: f32 = percentile(&values, 100.0 * share, false, &mut Vec::new());
            assert!((back - clip).abs() < 1e-5, "{percent} {share}");
        }
        let shape = Geometry { rows: 11, cols: 3 };
        let all = percentile_of_clip(&values, shape, Unit::Tensor, 0.25, 0.0).unwrap();
        let clip: f32 = percentile(&values, all, false, &mut Vec::new());
        assert!((clip - 0.25).abs() < 1e-4, "{all} {clip}");
        assert_eq!(percentile_of_clip(&values, shape, Unit::Row, 9.0, 0.0), Some(100.0));
        assert_eq!(percentile_of_clip(&values, shape, Unit::Row, 9.0, 1.0), None);
        assert_eq!(place_among([].into_iter(), 1.0), None);
        assert_eq!(place_among([2.0].into_iter(), 1.0), Some(0.0));
        assert_eq!(median(vec![(3.0, 1.0), (1.0, 1.0), (2.0, 5.0)]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
