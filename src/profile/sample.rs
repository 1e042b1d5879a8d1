//! Groups drawn from all over a tensor, likelier the more of its energy they hold, from which any scheme can be tried.
//!
//! A group's chance is a third its share of Σw², a third its share of Σ max|row|², and a third its share of the elements (a
//! defensive mixture, Owen and Zhou 2000): errors go with energy, or where one outlier stretches its row's grid with
//! the square of the range, so most draws land where errors are, and counts stay safe. Draws stand at equal steps of the
//! running chance in the order of the file (systematic sampling, Madow 1949), so they spread over all rows; each
//! carries the weight 1 / (draws · chance) (Hansen and Hurwitz 1943). They are kept in bit-reversed order: any first few
//! are spread as well.

use super::Error;
use super::rank::{CLIPS, Look, ORDER, QUANTILES, between_quantiles, in_order, quantiles};
use crate::control::Control;
use crate::kernels::layout::{CHUNK, Geometry};
use crate::kernels::quant::Extent;
use crate::model::{Model, Scratch, Tensor};
use std::ops::Range;

/// Elements of a drawn group at most: the largest group size, so that all smaller groups lie within.
pub const GROUP: usize = 128;
/// Drawn groups whose row's quantiles are known.
pub const RANKED: usize = 128;
/// Drawn groups whose row's best clips are known.
pub const CLIPPED: usize = 48;

/// One drawn group.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Where its values lie in [`Sample::values`].
    pub at: Range<usize>,
    /// How many such groups it stands for.
    pub weight: f64,
    /// Least value of its row, at most 0.
    pub low: f32,
    /// Greatest value of its row, at least 0.
    pub high: f32,
}

/// Drawn groups with their values.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Sample {
    /// The groups, any first few spread over the tensor.
    pub segments: Vec<Segment>,
    /// Their values, one after the other.
    pub values: Vec<f32>,
    /// [`QUANTILES`] magnitudes of the row of each of the first [`RANKED`] groups.
    pub quantiles: Vec<f32>,
    /// [`CLIPS`] percents for the row of each of the first [`CLIPPED`] groups; empty in a guess, and of rows longer than a
    /// chunk.
    pub clips: Vec<u8>,
    /// What stands for those rows.
    pub looks: Vec<Look>,
    /// [`ORDER`] values of the same rows, least to greatest, at even shares of the row.
    pub order: Vec<f32>,
}

/// One draw: which group, and its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Position among the groups of [`GROUP`] along rows.
    pub group: usize,
    /// How many such groups it stands for.
    pub weight: f64,
}

/// How many elements group `index` has.
fn group_len(geometry: Geometry, index: usize) -> usize {
    let per_row = geometry.cols.div_ceil(GROUP).max(1);
    (geometry.cols - index % per_row * GROUP).min(GROUP)
}

/// Draws about `draws` groups in proportion to energy, to the square of their row's range, and to size; `rows` are the ends of
/// every row. With no fewer draws than groups it takes every group once.
#[must_use]
pub fn draw(geometry: Geometry, energies: &[f32], rows: &[[f32; 2]], draws: usize) -> Vec<Draw> {
    let groups = energies.len();
    if draws >= groups {
        return bit_reversed((0..groups).map(|group| Draw { group, weight: 1.0 }).collect());
    }
    let finite = |energy: f32| if energy.is_finite() { f64::from(energy) } else { 0.0 };
    let total: f64 = energies.iter().map(|&e| finite(e)).sum();
    let elements = geometry.len() as f64;
    let per_row = geometry.cols.div_ceil(GROUP).max(1);
    let range = |row: &[f32; 2]| f64::from(row[1].max(-row[0])).powi(2);
    let ranges = rows.iter().map(range).sum::<f64>() * geometry.cols as f64;
    let chance = |group: usize| {
        let size = group_len(geometry, group) as f64;
        let by_range = rows.get(group / per_row).map_or(0.0, range) * size;
        let parts = [(size, elements), (finite(energies[group]), total), (by_range, ranges)];
        let of =
            |&(part, whole): &(f64, f64)| if whole > 0.0 && whole.is_finite() { part / whole } else { size / elements };
        parts.iter().map(of).sum::<f64>() / 3.0
    };
    let mut out = Vec::with_capacity(draws);
    let mut reached = 0.0;
    for group in 0..groups {
        let p = chance(group);
        reached += p;
        while out.len() < draws && (out.len() as f64 + 0.5) / (draws as f64) < reached {
            out.push(Draw { group, weight: 1.0 / (draws as f64 * p) });
        }
    }
    bit_reversed(out)
}

/// Puts things in the order of their index read backwards (van der Corput), so that any first few are spread.
#[must_use]
pub fn bit_reversed<A: Copy>(items: Vec<A>) -> Vec<A> {
    let bits = usize::BITS - items.len().next_power_of_two().leading_zeros() - 1;
    let reversed = |i: usize| if bits == 0 { 0 } else { i.reverse_bits() >> (usize::BITS - bits) };
    (0..1_usize << bits).filter_map(|i| items.get(reversed(i)).copied()).collect()
}

/// Reads the drawn groups. `extent` gives a row's least and greatest value; `with_clips` has the best clips of rows sought.
///
/// # Errors
/// When the tensor cannot be read, or the work is cancelled.
pub fn gather(
    model: &Model,
    tensor: &Tensor,
    draws: &[Draw],
    extent: impl Fn(usize) -> [f32; 2],
    with_clips: bool,
    control: &Control,
) -> Result<Sample, Error> {
    let geometry = tensor.geometry();
    let mut sample = Sample::default();
    let (mut values, mut scratch, mut keys, mut sorted) = (Vec::new(), Scratch::default(), Vec::new(), Vec::new());
    for (i, draw) in draws.iter().enumerate() {
        if control.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let per_row = geometry.cols.div_ceil(GROUP).max(1);
        let (row, place) = (draw.group / per_row, draw.group % per_row * GROUP);
        let first = row * geometry.cols + place;
        model.values::<f32>(tensor, first..first + group_len(geometry, draw.group), &mut values, &mut scratch)?;
        let start = sample.values.len();
        sample.values.extend_from_slice(&values);
        let [low, high] = extent(row);
        sample.segments.push(Segment { at: start..sample.values.len(), weight: draw.weight, low, high });
        if i < RANKED {
            // A row longer than a chunk is looked at in its first chunk.
            let first = row * geometry.cols;
            model.values::<f32>(tensor, first..first + geometry.cols.min(CHUNK), &mut values, &mut scratch)?;
            quantiles(&values, high.max(-low), &mut keys, &mut sample.quantiles);
            if i < CLIPPED && with_clips && geometry.cols <= CHUNK {
                let look = Look::at(&values, &mut sorted);
                look.clips(Extent { low, high }, &mut sample.clips);
                sample.looks.push(look);
                in_order(&mut values, &mut sample.order);
            }
        }
    }
    Ok(sample)
}

impl Sample {
    /// Groups whose row's quantiles are known.
    #[must_use]
    pub fn ranked(&self) -> usize {
        self.quantiles.len() / QUANTILES
    }

    /// The magnitude below which `share` of the row of group `segment` lies.
    #[must_use]
    pub fn row_quantile(&self, segment: usize, share: f64) -> f32 {
        between_quantiles(self.quantiles_of(segment), share)
    }

    /// The quantiles of the row of group `segment`; empty where they are not known.
    #[must_use]
    pub fn quantiles_of(&self, segment: usize) -> &[f32] {
        self.quantiles.get(segment * QUANTILES..(segment + 1) * QUANTILES).unwrap_or_default()
    }

    /// The best clip of a symmetric grid over the row of group `segment`, in percent of its range; `None` where it is not known.
    #[must_use]
    pub fn clip(&self, segment: usize, bits: u32) -> Option<i32> {
        let known = self.clips.get(segment * CLIPS..(segment + 1) * CLIPS)?;
        known.get(bits.checked_sub(2)? as usize).map(|&percent| i32::from(percent))
    }

    /// Groups whose row's best clips are known.
    #[must_use]
    pub fn clipped(&self) -> usize {
        self.clips.len() / CLIPS
    }

    /// The row of group `segment`, least to greatest in even steps; `None` where it is not known.
    #[must_use]
    pub fn order_of(&self, segment: usize) -> Option<&[f32]> {
        self.order.get(segment * ORDER..(segment + 1) * ORDER)
    }

    /// Groups whose row is known in order.
    #[must_use]
    pub fn in_order(&self) -> usize {
        self.order.len() / ORDER
    }

    /// The values of a group.
    #[must_use]
    pub fn values_of(&self, segment: &Segment) -> &[f32] {
        &self.values[segment.at.clone()]
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let looks: usize = self.looks.iter().map(|look| look.values.len()).sum();
        4 * (self.values.len() + self.quantiles.len() + self.order.len() + looks)
            + self.clips.len()
            + self.segments.len() * size_of::<Segment>()
    }
}

/// A ratio of two weighted sums over drawn groups and how far it may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ratio {
    /// Σ weight·numerator / Σ weight·denominator; 0 when the denominator is.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
}

impl Ratio {
    /// The share of something known.
    #[must_use]
    pub fn of(self, whole: f64) -> Self {
        Self { value: self.value * whole, error: self.error * whole }
    }
}

/// The ratio estimator over pairs (numerator, denominator), already weighted (Cochran 1977, §6.4: the error by residuals).
#[must_use]
pub fn ratio(pairs: &[(f64, f64)]) -> Ratio {
    let m = pairs.len() as f64;
    let (top, bottom) = pairs.iter().fold((0.0, 0.0), |(a, b), pair| (a + pair.0, b + pair.1));
    if bottom <= 0.0 {
        return Ratio::default();
    }
    let value = top / bottom;
    let residuals: f64 = pairs.iter().map(|(a, b)| (a - value * b).powi(2)).sum();
    let error = if m > 1.0 { (residuals * m / (m - 1.0)).sqrt() / bottom } else { value };
    Ratio { value, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_unbiased_and_spread() {
        let geometry = Geometry { rows: 400, cols: 1000 };
        let groups = 400 * 8;
        let energies: Vec<f32> = (0..groups).map(|i| ((i * 7919 % 1009) as f32 + 1.0).powi(3)).collect();
        let draws = draw(geometry, &energies, &[], 256);
        assert_eq!(draws.len(), 256);
        let elements: f64 = draws.iter().map(|d| d.weight * group_len(geometry, d.group) as f64).sum();
        assert!((elements / 400_000.0 - 1.0).abs() < 0.1, "{elements}");
        let energy: f64 = draws.iter().map(|d| d.weight * f64::from(energies[d.group])).sum();
        let total: f64 = energies.iter().map(|&e| f64::from(e)).sum();
        assert!((energy / total - 1.0).abs() < 0.05, "{energy} {total}");
        // The first 16 of the order stand all over the file.
        let mut first: Vec<usize> = draws[..16].iter().map(|d| d.group * 16 / groups).collect();
        first.sort_unstable();
        first.dedup();
        assert!(first.len() >= 12, "{first:?}");
    }

    #[test]
    fn few_groups_are_all_taken_and_nothing_is_drawn_from_nothing() {
        let geometry = Geometry { rows: 3, cols: 130 };
        let draws = draw(geometry, &[1.0; 6], &[], 64);
        let mut groups: Vec<usize> = draws.iter().map(|d| d.group).collect();
        groups.sort_unstable();
        assert_eq!(groups, [0, 1, 2, 3, 4, 5]);
        assert_eq!((group_len(geometry, 1), group_len(geometry, 4)), (2, 128));
        assert!(draws.iter().all(|d| d.weight == 1.0));
        assert!(draw(Geometry { rows: 0, cols: 5 }, &[], &[], 8).is_empty());
        // Without energy every element is as likely as any other.
        assert_eq!(draw(Geometry { rows: 10, cols: 128 }, &[0.0; 10], &[], 5).len(), 5);
    }

    #[test]
    fn a_row_with_a_wide_range_is_drawn_from_in_all_its_groups() {
        let geometry = Geometry { rows: 400, cols: 1024 };
        let rows: Vec<[f32; 2]> = (0..400).map(|row| if row == 77 { [-9.0, 0.1] } else { [-0.1, 0.1] }).collect();
        let draws = draw(geometry, &[1.0; 3200], &rows, 96);
        let mut hit: Vec<usize> = draws.iter().map(|d| d.group).filter(|group| group / 8 == 77).collect();
        hit.sort_unstable();
        hit.dedup();
        assert_eq!(hit.len(), 8);
        let groups: f64 = draws.iter().map(|d| d.weight).sum();
        assert!((groups / 3200.0 - 1.0).abs() < 0.1, "{groups}");
    }

    #[test]
    fn a_ratio_knows_how_far_it_may_be_off() {
        assert_eq!(ratio(&[]), Ratio::default());
        let same = ratio(&[(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]);
        assert_eq!((same.value, same.error), (0.5, 0.0));
        assert!(ratio(&[(1.0, 2.0), (2.0, 2.0)]).error > 0.1);
    }
}
