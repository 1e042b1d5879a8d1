//! Structured pruning: which units of a dimension have the smallest sums of squares, and what each tensor then keeps.

use super::{Error, Input};
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::kernels::error::{ErrorSums, error_sums};
use crate::kernels::kept::Kept;
use crate::kernels::layout::{Geometry, Unit};
use crate::kernels::lines;
use crate::model::{Model, Scratch, Tensor};
use crate::recipe::Plan;
use crate::recipe::removals::{Part, Removal};
use rayon::prelude::*;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

/// Rows and columns of a matrix that become zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zeroed {
    /// The rows that do not.
    pub rows: Arc<Kept>,
    /// The columns that do not.
    pub cols: Arc<Kept>,
}

impl Zeroed {
    /// Writes +0 over what is zeroed among the elements `range` of a matrix of so many columns.
    pub(super) fn apply<T: Real>(&self, geometry: Geometry, range: &Range<usize>, values: &mut [T]) {
        for (row, piece) in Unit::Row.pieces(geometry, range.clone()) {
            let first = piece.start - row * geometry.cols;
            let values = &mut values[piece.start - range.start..piece.end - range.start];
            for hole in holes(&self.rows, &self.cols, row, first..first + values.len()) {
                values[hole].fill(T::ZERO);
            }
        }
    }
}

/// What of some columns of a row is not kept, counted from the first of them.
fn holes(rows: &Kept, cols: &Kept, row: usize, piece: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let row_goes = !rows.holds(row..row + 1);
    let gaps = cols.gaps().filter(move |_| !row_goes);
    row_goes.then_some(piece.clone()).into_iter().chain(gaps).filter_map(move |gap| {
        let (from, to) = (gap.start.max(piece.start), gap.end.min(piece.end));
        (from < to).then(|| from - piece.start..to - piece.start)
    })
}

/// What structured pruning leaves of a tensor.
#[derive(Clone, Debug, Default)]
pub struct Leaves {
    /// What remains.
    pub input: Input,
    /// What of that becomes zero.
    pub zeroed: Option<Zeroed>,
}

/// Sums of squares by index of a dimension, of tensors that were read already.
pub(super) type Known = HashMap<(usize, usize), Vec<f64>>;

/// The units of a cut that go, ascending: those with the smallest sums of squares, of equals the first.
///
/// # Errors
/// When a tensor cannot be read, or the work is cancelled.
pub(super) fn gone(model: &Model, cut: &Removal, known: &mut Known, control: &Control) -> Result<Vec<usize>, Error> {
    let mut sums = vec![0.0_f64; cut.units];
    for part in &cut.ranked_by {
        let place = (part.tensor, part.axis);
        let energies = match known.entry(place) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(energies(model, &model.tensors[part.tensor], part.axis, control)?),
        };
        add_by_unit(part, energies, &mut sums);
    }
    let mut gone = order_of(&sums);
    gone.truncate(cut.removed);
    gone.sort_unstable();
    Ok(gone)
}

/// Adds the sums of a dimension's indices to those of the units that they belong to.
pub fn add_by_unit(part: &Part, energies: &[f64], sums: &mut [f64]) {
    for section in &part.sections {
        for (unit, sum) in sums.iter_mut().enumerate() {
            let start = section.start + unit * section.width;
            *sum += energies[start..start + section.width].iter().sum::<f64>();
        }
    }
}

/// All positions, the smallest sum first; of equal ones the first.
#[must_use]
pub fn order_of(sums: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sums.len()).collect();
    order.sort_by(|&a, &b| sums[a].total_cmp(&sums[b]).then(a.cmp(&b)));
    order
}

/// Σw² of each index of dimension 0 or 1 of a tensor; of a vector, of each element.
///
/// # Errors
/// When it cannot be read, or the work is cancelled.
pub fn energies(model: &Model, tensor: &Tensor, axis: usize, control: &Control) -> Result<Vec<f64>, Error> {
    let matrix_axis = if tensor.shape.len() < 2 { 1 } else { axis };
    let lines = if tensor.dtype == Dtype::F64 {
        line_energies::<f64>(model, tensor, matrix_axis, control)?
    } else {
        line_energies::<f32>(model, tensor, matrix_axis, control)?
    };
    // Of a convolution, dimension 1 is several columns at once.
    let inner = if axis == 1 { inner(tensor) } else { 1 };
    Ok(if inner == 1 { lines } else { lines.chunks(inner).map(|line| line.iter().sum()).collect() })
}

/// Columns of the matrix at each index of dimension 1.
fn inner(tensor: &Tensor) -> usize {
    tensor.shape.iter().skip(2).product::<usize>().max(1)
}

/// Column sums that are held at once while spans of chunks are added up side by side.
const HELD: usize = 1 << 22;

fn line_energies<T: Real>(model: &Model, tensor: &Tensor, axis: usize, control: &Control) -> Result<Vec<f64>, Error> {
    let geometry = tensor.geometry();
    let chunks = geometry.chunks();
    // Spans depend on the shape alone, and so does the order in which sums are added.
    let spans = (HELD / geometry.cols.max(1)).clamp(1, 64);
    let span = chunks.len().div_ceil(spans).max(1);
    let len = if axis == 0 { geometry.rows } else { geometry.cols };
    let of_span = |chunks: &[Range<usize>]| {
        let mut sums = vec![0.0; if axis == 0 { rows_of(geometry, chunks).len() } else { len }];
        let first = if axis == 0 { rows_of(geometry, chunks).start } else { 0 };
        let (mut values, mut scratch) = (Vec::<T>::new(), Scratch::default());
        for range in chunks {
            if control.is_cancelled() {
                return Err(Error::Cancelled);
            }
            model.values(tensor, range.clone(), &mut values, &mut scratch)?;
            for (row, piece) in Unit::Row.pieces(geometry, range.clone()) {
                let values = &values[piece.start - range.start..piece.end - range.start];
                if axis == 0 {
                    sums[row - first] += lines::energy(values);
                } else {
                    let col = piece.start - row * geometry.cols;
                    lines::add_columns(values, &mut sums[col..col + values.len()]);
                }
            }
        }
        Ok((first, sums))
    };
    let parts: Result<Vec<(usize, Vec<f64>)>, Error> = chunks.par_chunks(span).map(of_span).collect();
    let mut total = vec![0.0; len];
    for (first, sums) in parts? {
        total[first..first + sums.len()].iter_mut().zip(sums).for_each(|(a, b)| *a += b);
    }
    Ok(total)
}

/// The rows that some neighbouring chunks touch.
fn rows_of(geometry: Geometry, chunks: &[Range<usize>]) -> Range<usize> {
    let first = chunks.first().map_or(0, |chunk| chunk.start / geometry.cols);
    let last = chunks.last().map_or(0, |chunk| (chunk.end - 1) / geometry.cols + 1);
    first..last
}

/// What the cuts of a tensor leave of it, from the units that each takes.
pub(super) fn leaves<'a>(
    tensor: &Tensor,
    index: usize,
    cuts: impl Iterator<Item = (&'a Removal, &'a [usize])>,
) -> Leaves {
    let (mut removed, mut zeroed) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for (cut, gone) in cuts {
        for part in cut.parts.iter().filter(|part| part.tensor == index) {
            let (axis, inner) = match (part.axis, tensor.shape.len()) {
                (_, 0 | 1) => (1, 1),
                (0, _) => (0, 1),
                _ => (1, inner(tensor)),
            };
            let lines = if cut.zeroed { &mut zeroed[axis] } else { &mut removed[axis] };
            for section in &part.sections {
                let at = |unit: &usize| (section.start + unit * section.width) * inner;
                lines.extend(gone.iter().map(|unit| at(unit)..at(&(unit + 1))));
            }
        }
    }
    let whole = tensor.geometry();
    let [rows, cols] = [(whole.rows, &removed[0]), (whole.cols, &removed[1])]
        .map(|(of, removed)| Arc::new(Kept::without(of, removed.iter().cloned())));
    let zeroed = (!zeroed[0].is_empty() || !zeroed[1].is_empty()).then(|| {
        // What is zeroed is counted among what remains.
        let [zero_rows, zero_cols] = [(&rows, &zeroed[0]), (&cols, &zeroed[1])]
            .map(|(kept, zeroed)| Arc::new(Kept::without(kept.len(), zeroed.iter().map(|z| kept.within(z.clone())))));
        Zeroed { rows: zero_rows, cols: zero_cols }
    });
    let input = if rows.is_all() && cols.is_all() { Input::Whole } else { Input::Part { rows, cols } };
    Leaves { input, zeroed }
}

/// What structured pruning leaves of the `wanted` tensors of a plan, by position.
///
/// # Errors
/// When a tensor cannot be read, or the work is cancelled.
pub(super) fn leaves_of_plan(
    model: &Model,
    plan: &Plan,
    wanted: impl Fn(usize) -> bool,
    control: &Control,
) -> Result<HashMap<usize, Leaves>, Error> {
    let mut known = Known::new();
    let mut found: Vec<Option<Arc<Vec<usize>>>> = Vec::with_capacity(plan.removals.cuts.len());
    for cut in &plan.removals.cuts {
        let wanted = cut.parts.iter().any(|part| wanted(part.tensor));
        found.push(if wanted { Some(Arc::new(gone(model, cut, &mut known, control)?)) } else { None });
    }
    Ok(leaves_of_known(model, plan, &found))
}

/// The same where the units that go are known, cut by cut; a tensor with a cut that is not known is left out.
pub(super) fn leaves_of_known(model: &Model, plan: &Plan, gone: &[Option<Arc<Vec<usize>>>]) -> HashMap<usize, Leaves> {
    let of_tensor = |index: usize| {
        let cuts = plan.removals.cuts_of(index);
        let cuts: Option<Vec<(&Removal, &[usize])>> =
            cuts.map(|(at, cut)| Some((cut, gone.get(at)?.as_ref()?.as_slice()))).collect();
        Some((index, leaves(&model.tensors[index], index, cuts?.into_iter())))
    };
    plan.removals.touched().filter_map(of_tensor).collect()
}

/// The error sums of what an input leaves out: all of its energy is error.
///
/// # Errors
/// When the tensor cannot be read, or the work is cancelled.
pub(super) fn lost(model: &Model, tensor: &Tensor, input: &Input, control: &Control) -> Result<ErrorSums, Error> {
    let Input::Part { rows, cols } = input else { return Ok(ErrorSums::default()) };
    if tensor.dtype == Dtype::F64 {
        lost_lines::<f64>(model, tensor, rows, cols, control)
    } else {
        lost_lines::<f32>(model, tensor, rows, cols, control)
    }
}

fn lost_lines<T: Real>(
    model: &Model,
    tensor: &Tensor,
    rows: &Kept,
    cols: &Kept,
    control: &Control,
) -> Result<ErrorSums, Error> {
    let whole = tensor.geometry();
    let chunks = whole.chunks();
    let of_run = |chunks: &[Range<usize>]| {
        let (mut sums, mut scratch) = (ErrorSums::default(), Scratch::default());
        let (mut values, mut gone, mut zero) = (Vec::<T>::new(), Vec::new(), Vec::new());
        for range in chunks {
            if control.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if cols.is_all() && rows.holds(range.start / whole.cols..range.end.div_ceil(whole.cols)) {
                continue;
            }
            model.values(tensor, range.clone(), &mut values, &mut scratch)?;
            gone.clear();
            for (row, piece) in Unit::Row.pieces(whole, range.clone()) {
                let first = piece.start - row * whole.cols;
                let stretch = &values[piece.start - range.start..piece.end - range.start];
                for hole in holes(rows, cols, row, first..first + stretch.len()) {
                    gone.extend_from_slice(&stretch[hole]);
                }
            }
            zero.clear();
            zero.resize(gone.len(), T::ZERO);
            sums = sums.merge(error_sums(&gone, &zero, &zero));
        }
        Ok(sums)
    };
    let run = chunks.len().div_ceil(64).max(1);
    let parts: Result<Vec<ErrorSums>, Error> = chunks.par_chunks(run).map(of_run).collect();
    let sums = parts?.into_iter().fold(ErrorSums::default(), ErrorSums::merge);
    // What is gone is no zero of the artifact.
    Ok(ErrorSums { zeros: 0, ..sums })
}
