//! GGML's blocks, tried on drawn groups: the encoders of the export, over all groups at once because they work on many blocks side
//! by side.
//!
//! A drawn group of 128 is four blocks of 32. Of a super-block of 256 it is one half; for the other half stands another drawn group,
//! as loud as the first. On weights of a Gaussian, of a heavy-tailed distribution, in rows and columns of their own spread, with
//! an outlier and of a trained network, the error then came within 1.8 % of the exact one (`HALF`); doubling the first half made it 1 to
//! 4 % too small, and taking another one as it is up to six times too large.

use super::from_sample::{Bench, extrapolate, prune, usable};
use super::{Answer, Case};
use crate::kernels::ggml::{self, BlockType};
use crate::kernels::levels::SYMBOLS;
use crate::kernels::trial::Tried;
use crate::profile::Segment;
use crate::profile::sample::GROUP;
use crate::recipe::Quantize;

/// Groups tried at most: the search of a K type takes some nanoseconds for a weight.
const MOST: usize = 512;

/// How far the error of super-blocks may be off because but one half of each was drawn, as a share of it.
const HALF: f64 = 0.02;

/// Drawn groups as they are after pruning and as they are read back.
pub(super) struct Trip<'a> {
    segments: &'a [Segment],
    /// Values as drawn, group after group.
    source: Vec<f32>,
    /// The same pruned.
    pruned: Vec<f32>,
    /// The same read back.
    result: Vec<f32>,
    /// The code of each.
    codes: Vec<u8>,
}

/// The answer from the tensor's sample.
pub(super) fn answer(case: &Case<'_>) -> Option<Answer> {
    let trip = Trip::of(case, case.tried.min(MOST))?;
    let mut counts = vec![0.0; SYMBOLS];
    let mut tried = Vec::with_capacity(trip.segments.len());
    let mut at = 0;
    for segment in trip.segments {
        let mut one = Tried::default();
        for i in at..at + segment.at.len() {
            let (w, p, q) = (f64::from(trip.source[i]), trip.pruned[i], f64::from(trip.result[i]));
            let square = (w - q) * (w - q);
            one.elements += 1.0;
            one.energy += w * w;
            one.squared_error += square;
            one.pruned_error += if p == 0.0 { square } else { 0.0 };
            one.energy_after += q * q;
            one.zeros += f64::from(u8::from(q == 0.0));
            one.blank += f64::from(u8::from(w == 0.0));
            counts[usize::from(trip.codes[i])] += segment.weight;
        }
        at += segment.at.len();
        tried.push((segment.weight, one));
    }
    Some(extrapolate(case, &tried, counts))
}

/// How far the error may be off besides what the groups show, as a share of it.
pub(super) fn other_half(kind: BlockType) -> f64 {
    if kind.elements() > GROUP { HALF } else { 0.0 }
}

impl<'a> Trip<'a> {
    /// The trip of the first so many drawn groups.
    pub(super) fn of(case: &'a Case<'_>, most: usize) -> Option<Self> {
        let Some(Quantize::Gguf(kind)) = case.scheme.quantize else { return None };
        let sample = case.profile.sample.as_ref()?;
        let segments = &sample.segments[..usable(case, sample).min(most)];
        if segments.is_empty() {
            return None;
        }
        let halves = kind.elements() > GROUP;
        let mut bench = Bench::default();
        let (mut source, mut pruned) = (Vec::new(), Vec::new());
        for (i, segment) in segments.iter().enumerate() {
            prune(case, sample, i, segment, &mut bench)?;
            source.extend_from_slice(sample.values_of(segment));
            pruned.extend_from_slice(&bench.pruned);
        }
        let mut whole = if halves { completed(segments, &pruned) } else { pruned.clone() };
        let mut blocks = vec![0; kind.bytes_of(whole.len())?];
        ggml::encode(kind, &whole, &mut blocks).ok()?;
        ggml::decode(kind, &blocks, &mut whole).ok()?;
        let mut codes = Vec::with_capacity(whole.len());
        ggml::parts::codes(kind, &blocks, &mut codes);
        let mut trip = Self { segments, source, pruned, result: whole, codes };
        if halves {
            trip.keep_first_halves();
        }
        Some(trip)
    }

    /// The groups, each as it is read back.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&Segment, &[f32])> {
        let mut rest = self.result.as_slice();
        self.segments.iter().map(move |segment| {
            let (own, others) = rest.split_at(segment.at.len());
            rest = others;
            (segment, own)
        })
    }

    fn keep_first_halves(&mut self) {
        let mut at = 0;
        let mut kept = 0;
        for segment in self.segments {
            let n = segment.at.len();
            self.result.copy_within(at..at + n, kept);
            self.codes.copy_within(at..at + n, kept);
            (at, kept) = (at + 2 * n, kept + n);
        }
        self.result.truncate(kept);
        self.codes.truncate(kept);
    }
}

/// Each group followed by the next or the one before, scaled to be as loud: halves of super-blocks.
fn completed(segments: &[Segment], values: &[f32]) -> Vec<f32> {
    let mut rest = values;
    let groups: Vec<&[f32]> = segments
        .iter()
        .map(|segment| {
            let (own, others) = rest.split_at(segment.at.len());
            rest = others;
            own
        })
        .collect();
    let loudness = |group: &[f32]| group.iter().map(|w| w * w).sum::<f32>().sqrt();
    let mut out = Vec::with_capacity(2 * values.len());
    for (i, own) in groups.iter().enumerate() {
        // Neighbours in this order are far apart in the tensor.
        let other = groups.get(i ^ 1).filter(|other| other.len() == own.len()).unwrap_or(own);
        let scale = loudness(own) / loudness(other);
        let scale = if scale.is_finite() { scale } else { 1.0 };
        out.extend_from_slice(own);
        out.extend(other.iter().map(|w| w * scale));
    }
    out
}
