//! The fused pass: one reading of a tensor gives moments, gaps, value table, four sketches, row ranges and the energies from
//! which its sample is drawn.
//!
//! A tensor is cut into spans of chunks whose borders depend on its shape alone, and spans are added up in the order of
//! the file: the profile is the same for any number of threads.

use super::sample::{GROUP, Sample, draw, gather};
use super::{Error, Grain, Grids, Profile, Tables, ValueTable, check, is_sketched, is_told_by_upper_bits};
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::entropy::Gaps;
use crate::kernels::layout::{CHUNK, Geometry};
use crate::kernels::lines::add_columns;
use crate::kernels::quant::Extent;
use crate::kernels::sketch::{Building, Sketch, finest_peaks, pair_peaks, peak_of};
use crate::kernels::stats::{Moments, moments};
use crate::kernels::table::{Counts, SIGNED};
use crate::kernels::trial::{cast_errors, symmetric_error};
use crate::model::{Model, Scratch, Tensor};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Chunks in a span at least; a span's tables take most of a MiB.
const SPAN: usize = 8;
/// Spans in a tensor at most.
const SPANS: usize = 16;
/// Tensors from this many elements are read one after the other, each by all threads; smaller ones side by side.
const WIDE: usize = 1 << 22;

/// What one span adds up to.
struct Sums {
    moments: Moments,
    gaps: Gaps,
    counts: Counts,
    /// One per [`Grain`]; empty when the tensor gets no sketches.
    sketches: Vec<Building>,
    rows: Vec<[f32; 2]>,
    /// Σw² of every [`GROUP`] along rows.
    energies: Vec<f32>,
    /// Σw² of every column; empty for rows longer than a chunk.
    columns: Vec<f64>,
    /// See [`Profile::direct`].
    direct: [[f64; 2]; 4],
    /// See [`Profile::casts`]; the table of a dtype of `points` knows them.
    casts: [f64; 2],
    points: bool,
}

/// Buffers of one worker.
#[derive(Default)]
struct Buffers {
    values: Vec<f32>,
    wide: Vec<f64>,
    scratch: Scratch,
    peaks: [Vec<f32>; 3],
}

/// Whether one profile is made by all threads together.
#[must_use]
pub fn is_wide(tensor: &Tensor) -> bool {
    tensor.elements() >= WIDE
}

/// The profile of a float tensor from every weight; `None` for one that is not float. `sampled` is how many elements its
/// sample may hold.
///
/// # Errors
/// When it cannot be read, or the work is cancelled.
pub fn profile_tensor(
    model: &Model,
    tensor: &Tensor,
    sampled: usize,
    control: &Control,
) -> Result<Option<Profile>, Error> {
    if !tensor.dtype.is_float() {
        control.advance(tensor.bytes());
        return Ok(None);
    }
    let chunks = tensor.geometry().chunks();
    let span = SPAN.max(chunks.len().div_ceil(SPANS));
    let spans: Vec<&[Range<usize>]> = chunks.chunks(span).collect();
    let one = |chunks: &&[Range<usize>]| sum_span(model, tensor, chunks, control);
    let total = if is_wide(tensor) {
        let parts: Result<Vec<Sums>, Error> = spans.par_iter().map(one).collect();
        parts?.into_iter().reduce(Sums::merge)
    } else {
        spans.iter().map(one).try_fold(None, |sum: Option<Sums>, next| {
            let next = next?;
            Ok::<_, Error>(Some(match sum {
                Some(sum) => sum.merge(next),
                None => next,
            }))
        })?
    };
    let total = total.unwrap_or_else(|| Sums::new(tensor));
    finish(model, tensor, total, sampled, control).map(Some)
}

/// The profile of every tensor, in the model's order.
///
/// # Errors
/// When a tensor cannot be read, or the work is cancelled.
pub fn profile_model(model: &Model, control: &Control) -> Result<Vec<Option<Arc<Profile>>>, Error> {
    control.expect(model.tensors.iter().map(Tensor::bytes).sum());
    let sampled = super::sample_size(model);
    let one = |tensor: &Tensor| profile_tensor(model, tensor, sampled, control).map(|p| p.map(Arc::new));
    let side_by_side: Result<Vec<_>, Error> =
        model.tensors.par_iter().map(|t| if is_wide(t) { Ok(None) } else { one(t) }).collect();
    let mut profiles = side_by_side?;
    for (profile, tensor) in profiles.iter_mut().zip(&model.tensors).filter(|(_, t)| is_wide(t)) {
        *profile = one(tensor)?;
    }
    Ok(profiles)
}

impl Sums {
    fn new(tensor: &Tensor) -> Self {
        let sketches = if is_sketched(tensor) { vec![Building::default(); Grain::ALL.len()] } else { Vec::new() };
        Self {
            moments: Moments::default(),
            gaps: Gaps::default(),
            counts: Counts::default(),
            sketches,
            rows: Vec::new(),
            energies: Vec::new(),
            columns: Vec::new(),
            direct: [[0.0; 2]; 4],
            casts: [0.0; 2],
            points: is_told_by_upper_bits(tensor),
        }
    }

    fn merge(mut self, next: Self) -> Self {
        self.moments = self.moments.merge(next.moments);
        self.gaps = self.gaps.merge(next.gaps);
        self.counts.merge(&next.counts);
        self.sketches.iter_mut().zip(&next.sketches).for_each(|(a, b)| a.merge(b));
        self.rows.extend(next.rows);
        self.energies.extend(next.energies);
        self.columns.iter_mut().zip(next.columns).for_each(|(a, b)| *a += b);
        self.casts = [self.casts[0] + next.casts[0], self.casts[1] + next.casts[1]];
        self.direct.as_flattened_mut().iter_mut().zip(next.direct.as_flattened()).for_each(|(a, b)| *a += b);
        self
    }
}

fn sum_span(model: &Model, tensor: &Tensor, chunks: &[Range<usize>], control: &Control) -> Result<Sums, Error> {
    let geometry = tensor.geometry();
    let mut sums = Sums::new(tensor);
    let mut buffers = Buffers::default();
    for range in chunks {
        if control.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let (moments, gaps) = read(model, tensor, range, &mut buffers)?;
        sums.moments = sums.moments.merge(moments);
        sums.gaps = sums.gaps.merge(gaps);
        sums.counts.add(&buffers.values);
        if !sums.sketches.is_empty() {
            sketch_chunk(&mut sums, geometry, range, moments.abs_max() as f32, &mut buffers);
        }
        control.advance(range.len() as u64 * tensor.dtype.bits() / 8);
    }
    Ok(sums)
}

/// Reads a chunk as f32 into the buffers; moments and gaps are those of the tensor's own arithmetic.
fn read(model: &Model, tensor: &Tensor, range: &Range<usize>, buffers: &mut Buffers) -> Result<(Moments, Gaps), Error> {
    if tensor.dtype == Dtype::F64 {
        model.values(tensor, range.clone(), &mut buffers.wide, &mut buffers.scratch)?;
        buffers.values.clear();
        buffers.values.extend(buffers.wide.iter().map(|&w| w as f32));
        return Ok((moments(&buffers.wide), Gaps::of_values(&buffers.wide)));
    }
    model.values(tensor, range.clone(), &mut buffers.values, &mut buffers.scratch)?;
    Ok((moments(&buffers.values), Gaps::of_values(&buffers.values)))
}

/// Adds a chunk, row by row, to the sketches, the row ranges and the energies.
fn sketch_chunk(sums: &mut Sums, geometry: Geometry, range: &Range<usize>, unit: f32, buffers: &mut Buffers) {
    let cols = geometry.cols;
    let long = cols > CHUNK;
    if !sums.points {
        let [f16, bf16] = cast_errors(&buffers.values);
        sums.casts = [sums.casts[0] + f16, sums.casts[1] + bf16];
    }
    if !long {
        sums.columns.resize(cols, 0.0);
        buffers.values.chunks(cols).for_each(|row| add_columns(row, &mut sums.columns));
    }
    let [fine, middle, coarse] = &mut buffers.peaks;
    // Groups as long as a row or longer are the row itself: one sketch serves for several grains.
    let distinct: Vec<Grain> = Grain::ALL.into_iter().filter(|grain| grain.size().is_none_or(|s| s < cols)).collect();
    for row in buffers.values.chunks(cols.min(CHUNK)) {
        let extent = Extent::of(row);
        extend_row(&mut sums.rows, extent, long && !range.start.is_multiple_of(cols));
        sums.energies.extend(row.chunks(GROUP).map(energy));
        if unit <= 0.0 || extent.abs_max() == 0.0 {
            // Nothing but zeros: they are counted as such.
            for grain in &distinct {
                sums.sketches[*grain as usize].add(row, row.len(), &[0.0], 1.0);
            }
            continue;
        }
        finest_peaks(row, fine);
        pair_peaks(fine, middle);
        pair_peaks(middle, coarse);
        let whole = [peak_of(coarse)];
        for grain in &distinct {
            let peaks: &[f32] = match grain {
                Grain::G32 => fine,
                Grain::G64 => middle,
                Grain::G128 => coarse,
                Grain::Row => &whole,
            };
            if *grain != Grain::Row || !long {
                let size = grain.size().unwrap_or(row.len());
                sums.sketches[*grain as usize].add(row, size, peaks, unit);
                let peak = (*grain == Grain::Row).then_some(whole[0]);
                for (sum, top) in sums.direct[*grain as usize].iter_mut().zip([63, 127]) {
                    *sum += symmetric_error(row, size, top, peak);
                }
            }
        }
    }
    sums.sketches.iter_mut().for_each(|sketch| sketch.flush(if unit > 0.0 { unit } else { 1.0 }));
}

fn extend_row(rows: &mut Vec<[f32; 2]>, extent: Extent<f32>, continues: bool) {
    match rows.last_mut() {
        Some(last) if continues => *last = [last[0].min(extent.low), last[1].max(extent.high)],
        _ => rows.push([extent.low, extent.high]),
    }
}

fn energy(group: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    for part in group.chunks(16) {
        lanes.iter_mut().zip(part).for_each(|(sum, w)| *sum += w * w);
    }
    lanes.iter().sum()
}

/// Draws and reads the sample, checks the sketches on it, and puts everything together.
fn finish(model: &Model, tensor: &Tensor, sums: Sums, sampled: usize, control: &Control) -> Result<Profile, Error> {
    let geometry = tensor.geometry();
    let mut counts = vec![0; SIGNED];
    sums.counts.add_to(&mut counts);
    let table = ValueTable::new(&counts, is_told_by_upper_bits(tensor), sums.moments.zeros);
    let mut profile = Profile {
        coarse: false,
        moments: sums.moments,
        gaps: sums.gaps,
        table,
        rows: joined_rows(sums.rows, geometry),
        energies: [Vec::new(), Vec::new()],
        sketches: [const { None }; 4],
        peaks: [[0.0; 3]; 4],
        sample: None,
        direct: [[f64::NAN; 2]; 4],
        casts: [f64::NAN; 2],
        checks: check::Checks::default(),
        grids: Grids::default(),
        tables: None,
    };
    let told = sums.moments.abs_max() <= f64::from(f32::MAX);
    if sums.sketches.is_empty() || sums.moments.non_finite() > 0 || !told || profile.table.finite() == 0 {
        return Ok(profile);
    }
    profile.sketches = finish_sketches(&sums.sketches, geometry.cols);
    if !sums.points {
        profile.casts = sums.casts;
    }
    profile.direct = Grain::ALL.map(|grain| match own_grain(grain, geometry.cols) {
        Some(same) => sums.direct[same as usize],
        None => [f64::NAN; 2],
    });
    profile.energies = line_energies(tensor, &sums.energies, &sums.columns);
    let draws = draw(geometry, &sums.energies, &profile.rows, sampled / geometry.cols.clamp(1, GROUP));
    let rows = &profile.rows;
    let sample = gather(model, tensor, &draws, |row| rows.get(row).copied().unwrap_or_default(), true, control)?;
    profile.peaks = peaks_of(&sample);
    profile.checks = check::check(&sample, &profile.sketches, tensor.dtype, profile.gaps.nonzero());
    profile.table.sharpen(&sample.values);
    profile.tables = Some(Tables::of(&sample, &profile.table, geometry.len()));
    profile.sample = Some(sample);
    Ok(profile.with_grids())
}

/// Σw² of each row, from those of its groups, and of each index of dimension 1, which in a convolution has several columns.
fn line_energies(tensor: &Tensor, groups: &[f32], columns: &[f64]) -> [Vec<f32>; 2] {
    let Geometry { rows, cols } = tensor.geometry();
    if columns.len() != cols || cols == 0 || rows == 0 {
        return [Vec::new(), Vec::new()];
    }
    let sum = |groups: &[f32]| groups.iter().copied().map(f64::from).sum::<f64>() as f32;
    let inner = tensor.shape.iter().skip(2).product::<usize>().max(1);
    let rows = groups.chunks(cols.div_ceil(GROUP)).map(sum).collect();
    [rows, columns.chunks(inner).map(|columns| columns.iter().sum::<f64>() as f32).collect()]
}

/// Pieces of one long row in different spans are one row.
fn joined_rows(rows: Vec<[f32; 2]>, geometry: Geometry) -> Vec<[f32; 2]> {
    if rows.len() <= geometry.rows {
        return rows;
    }
    let join = |part: &[[f32; 2]]| part.iter().fold([0.0_f32; 2], |[l, h], row| [l.min(row[0]), h.max(row[1])]);
    rows.chunks(rows.len() / geometry.rows.max(1)).map(join).collect()
}

fn finish_sketches(building: &[Building], cols: usize) -> [Option<Sketch>; 4] {
    Grain::ALL.map(|grain| Some(building.get(own_grain(grain, cols)? as usize)?.finish()))
}

/// The grain under which a grain's groups were gathered: a group that is longer than a row is the row. `None` for rows
/// longer than a chunk.
fn own_grain(grain: Grain, cols: usize) -> Option<Grain> {
    let same = if grain.size().is_some_and(|size| size >= cols) { Grain::Row } else { grain };
    (same != Grain::Row || cols <= CHUNK).then_some(same)
}

/// 10th percentile, median and 90th percentile of max|w| over groups, each drawn group counted as often as it stands for.
pub(super) fn peaks_of(sample: &Sample) -> [[f32; 3]; 4] {
    Grain::ALL.map(|grain| {
        let mut peaks: Vec<(f32, f64)> = Vec::new();
        for segment in &sample.segments {
            match grain.size() {
                Some(size) => {
                    let groups = sample.values_of(segment).chunks(size);
                    peaks.extend(groups.map(|g| (g.iter().fold(0.0, |m: f32, v| m.max(v.abs())), segment.weight)));
                }
                None => peaks.push((segment.high.max(-segment.low), segment.weight)),
            }
        }
        peaks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = peaks.iter().map(|p| p.1).sum();
        [0.1, 0.5, 0.9].map(|share| {
            let mut sum = 0.0;
            let reached = |&&(_, weight): &&(f32, f64)| {
                sum += weight;
                sum >= share * total
            };
            peaks.iter().find(reached).or(peaks.last()).map_or(0.0, |p| p.0)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_go_on_are_joined() {
        let mut rows = Vec::new();
        extend_row(&mut rows, Extent { low: -1.0, high: 2.0 }, false);
        extend_row(&mut rows, Extent { low: -3.0, high: 1.0 }, true);
        extend_row(&mut rows, Extent { low: 0.0, high: 5.0 }, false);
        assert_eq!(rows, [[-3.0, 2.0], [0.0, 5.0]]);
        let cut = vec![[-1.0, 2.0], [-3.0, 1.0], [0.0, 5.0], [-1.0, 0.0]];
        assert_eq!(joined_rows(cut, Geometry { rows: 2, cols: 9 }), [[-3.0, 2.0], [-1.0, 5.0]]);
    }

    #[test]
    fn percentiles_of_peaks_count_weights() {
        let segment = |at: Range<usize>, weight| super::super::Segment { at, weight, low: -2.0, high: 1.0 };
        let sample = Sample {
            segments: vec![segment(0..1, 8.0), segment(1..2, 1.0), segment(2..3, 1.0)],
            values: vec![0.5, -3.0, 9.0],
            ..Sample::default()
        };
        let peaks = peaks_of(&sample);
        assert_eq!(peaks[0], [0.5, 0.5, 3.0]);
        assert_eq!(peaks[3], [2.0, 2.0, 2.0]);
    }
}
