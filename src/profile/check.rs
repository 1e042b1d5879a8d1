//! Whether a sketch may be trusted on a tensor: the same drawn groups are quantized for real and by a sketch made of them
//! alone, at every width and grain.
//!
//! Within a bin a sketch takes weights as spread evenly. Weights that already lie on a lattice (somebody's quantized model,
//! spelled out) are not, and then it says anything. Comparing on the *same* groups shows that without any sampling noise:
//! what is left is the sketch's own error. Where it is too large, estimates come from the sample.

use super::sample::{Sample, ratio};
use super::{Grain, Sketch};
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::kernels::convert::{bf16_from_f32, f32_from_bf16};
use crate::kernels::quant::Extent;
use crate::kernels::sketch::{Building, level_table};
use crate::kernels::trial::{Wanted, survey};

/// Widths that are checked: int2 to int8.
pub const WIDTHS: usize = 7;
/// Drawn groups that are quantized for real.
const GROUPS: usize = 384;
/// Share of the elements by which counts of zeros may differ.
const ZEROS: f64 = 0.003;
/// How far a live number may be off.
const BOUND: f64 = 0.001;
/// Drawn groups tried for the rounding of the dense target.
const DENSE_GROUPS: usize = 64;

/// What was found, by grain and width.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    /// Whether the sketch is good there.
    pub trusted: [[bool; WIDTHS]; 4],
    /// How much larger the error is when the dense target rounds levels into the tensor's own 16-bit dtype, as a share of
    /// the error without it; 0 where nothing is rounded.
    pub dense: [[f32; WIDTHS]; 4],
    /// Standard error of that.
    pub dense_error: [[f32; WIDTHS]; 4],
}

impl Checks {
    /// Whether a grain's sketch is good at these bits.
    #[must_use]
    pub fn trusts(&self, grain: Grain, bits: u32) -> bool {
        self.trusted[grain as usize].get(bits as usize - 2).copied().unwrap_or(false)
    }

    /// The dense target's extra error at these bits, and its standard error, as shares of the error without it.
    #[must_use]
    pub fn dense(&self, grain: Grain, bits: u32) -> (f64, f64) {
        let at = (bits as usize - 2).min(WIDTHS - 1);
        (f64::from(self.dense[grain as usize][at]), f64::from(self.dense_error[grain as usize][at]))
    }
}

/// Checks all sketches of a tensor, of which `nonzero` elements are not 0, on its sample.
#[must_use]
pub fn check(sample: &Sample, sketches: &[Option<Sketch>; 4], dtype: Dtype, nonzero: u64) -> Checks {
    let mut checks = Checks::default();
    for grain in Grain::ALL {
        if sketches[grain as usize].is_none() {
            continue;
        }
        let own = sketch_of(sample, grain);
        let elements = first(sample).iter().map(|segment| segment.at.len()).sum();
        for bits in 2..=8 {
            let at = bits as usize - 2;
            let (real, weighted, zeros) = real_error(sample, grain, bits);
            let [guess, _] = own.errors(level_table(bits));
            let counted = own.level_counts(level_table(bits));
            let all: f64 = counted.iter().sum();
            // The sketch of the sample counts every element once, so real zeros are counted so too.
            let zeros_agree = (counted[0] - zeros).abs() <= ZEROS * all;
            let agree = (guess - real).abs() <= tolerance(bits, elements) * real;
            // 16-bit weights show their own lattice at these widths, whose errors the pass has summed; see `Profile::direct`.
            let summed = bits >= 7 && dtype == Dtype::BF16;
            checks.trusted[grain as usize][at] = (agree || summed) && zeros_agree;
            if matches!(dtype, Dtype::BF16 | Dtype::F16) {
                let extra = dense_extra(sample, grain, bits, dtype, &weighted);
                checks.dense[grain as usize][at] = extra.value as f32;
                checks.dense_error[grain as usize][at] = extra.error as f32;
            }
        }
    }
    // A lattice shows at some width; at others it may hide within the noise.
    let lattice =
        Grain::ALL.iter().any(|&g| sketches[g as usize].is_some() && checks.trusted[g as usize].contains(&false));
    if lattice {
        checks.trusted = Default::default();
    }
    // Few weights fill bins unevenly: what int7 and int8 make of them was summed.
    for bits in (2..=6).filter(|&bits| 3.0 * noise(bits, nonzero as usize) > BOUND) {
        checks.trusted.iter_mut().for_each(|of_grain| of_grain[bits as usize - 2] = false);
    }
    checks
}

/// How far sketch and groups may differ relatively: 0.05 %, and four times the noise that bins leave on so few elements.
fn tolerance(bits: u32, elements: usize) -> f64 {
    0.0005 + 4.0 * noise(bits, elements)
}

/// What bins leave on this many elements: an error differs from its bin's mean by about 2^(bits − 11) of itself. Energy is
/// spread unevenly: as if they were a fourth of what they are.
fn noise(bits: u32, elements: usize) -> f64 {
    2_f64.powi(bits.cast_signed() - 11) / (elements as f64 / 4.0).max(1.0).sqrt()
}

/// The first drawn groups, which are spread as all of them are.
fn first(sample: &Sample) -> &[super::Segment] {
    &sample.segments[..sample.segments.len().min(GROUPS)]
}

/// The range of a whole group, where the grain's groups are longer than a drawn one.
fn row_peak(grain: Grain, low: f32, high: f32) -> Option<f32> {
    grain.size().is_none().then(|| high.max(-low))
}

fn sketch_of(sample: &Sample, grain: Grain) -> Sketch {
    let size = grain.size().unwrap_or(super::sample::GROUP);
    let mut building = Building::default();
    let own = |group: &[f32]| group.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let top = sample.segments.iter().map(|s| s.high.max(-s.low)).fold(0.0, f32::max);
    let base = if top > 0.0 { top } else { own(&sample.values).max(f32::MIN_POSITIVE) };
    let mut peaks = Vec::new();
    for segment in first(sample) {
        let values = sample.values_of(segment);
        peaks.clear();
        match row_peak(grain, segment.low, segment.high) {
            Some(peak) => peaks.push(peak),
            None => peaks.extend(values.chunks(size).map(own)),
        }
        // A group that stands for others weighs as much: in units that are smaller by the root.
        building.add(values, size, &peaks, (f64::from(base) / segment.weight.sqrt()) as f32);
    }
    building.flush(base);
    building.finish()
}

/// Σ(w − q)² over the drawn groups, weighted; the same group by group; and how many elements read 0.
fn real_error(sample: &Sample, grain: Grain, bits: u32) -> (f64, Vec<f64>, f64) {
    let size = grain.size().unwrap_or(super::sample::GROUP);
    let mut zeros = 0.0;
    let one = |segment: &super::Segment| {
        let extent = row_peak(grain, segment.low, segment.high).map(|peak| Extent { low: -peak, high: peak });
        let wanted = Wanted { threshold: 0.0, size, extent, bits, asymmetric: false, to_bf16: false };
        let tried = survey(sample.values_of(segment), wanted, &mut []).unwrap_or_default();
        zeros += tried.zeros;
        segment.weight * tried.squared_error
    };
    let errors: Vec<f64> = first(sample).iter().map(one).collect();
    (errors.iter().sum(), errors, zeros)
}

/// The error that rounding q into a 16-bit dtype adds, relative to the error before.
fn dense_extra(sample: &Sample, grain: Grain, bits: u32, dtype: Dtype, plain: &[f64]) -> super::sample::Ratio {
    let top = level_table(bits).top as f32;
    let size = grain.size().unwrap_or(super::sample::GROUP);
    let round = |q: f32| if dtype == Dtype::BF16 { f32_from_bf16(bf16_from_f32(q)) } else { dtype.rounded(q) };
    let pairs: Vec<(f64, f64)> = sample.segments[..sample.segments.len().min(DENSE_GROUPS)]
        .iter()
        .zip(plain)
        .map(|(segment, &before)| {
            let mut after = 0.0;
            for group in sample.values_of(segment).chunks(size) {
                let own = || group.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
                let scale = row_peak(grain, segment.low, segment.high).unwrap_or_else(own) / top;
                let levels = levels(scale, top, round);
                after += group.iter().map(|&w| error_on(&levels, w, scale)).sum::<f64>();
            }
            (segment.weight * after - before, before)
        })
        .collect();
    ratio(&pairs)
}

/// The values that levels 0 to `top` have once rounded.
fn levels(scale: f32, top: f32, round: impl Fn(f32) -> f32) -> Vec<f32> {
    (0..=top as i32).map(|level| round(level as f32 * scale)).collect()
}

fn error_on(levels: &[f32], w: f32, scale: f32) -> f64 {
    let level = if scale > 0.0 { (w.abs() / scale).round_to_code() as usize } else { 0 };
    let q = levels.get(level).or(levels.last()).copied().unwrap_or(0.0);
    (f64::from(w.abs()) - f64::from(q)).powi(2)
}
