//! What a scheme is applied to: the tensor as it lies in the file, or a matrix derived from it.
//!
//! Structured pruning takes rows and columns out before anything else happens: chunks, units, groups and codes are then
//! those of what remains. It is gathered while it is read and never held whole.

use crate::formats::{Dtype, Error};
use crate::kernels::Real;
use crate::kernels::kept::Kept;
use crate::kernels::layout::{CHUNK, Geometry};
use crate::model::{Model, Scratch, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// The matrix that a scheme is applied to.
#[derive(Clone, Debug, Default)]
pub enum Input {
    /// The tensor itself.
    #[default]
    Whole,
    /// Some of its rows and columns. A tensor of fewer than two dimensions is one row.
    Part {
        /// The rows that stay.
        rows: Arc<Kept>,
        /// The columns that stay, of all dimensions after the first together.
        cols: Arc<Kept>,
    },
    /// A matrix that is held in memory: a factor of the tensor.
    Held(Arc<Held>),
}

/// A matrix in memory, row after row, of numbers that its tensor's dtype has.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    values: Values,
    geometry: Geometry,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Held {
    /// Holds the elements of a matrix, as f64 where that is the dtype and else as f32.
    pub fn new(values: impl Iterator<Item = f64>, dtype: Dtype, geometry: Geometry) -> Self {
        let values = if dtype == Dtype::F64 {
            Values::Double(values.collect())
        } else {
            Values::Single(values.map(|x| x as f32).collect())
        };
        Self { values, geometry }
    }

    fn copy_to<T: Real>(&self, range: Range<usize>, out: &mut Vec<T>) {
        match &self.values {
            Values::Single(values) => out.extend(values[range].iter().map(|&x| T::from_f32(x))),
            Values::Double(values) => out.extend(values[range].iter().map(|&x| T::from_f64(x))),
        }
    }
}

/// The input of every task that nothing is derived for.
pub(super) static WHOLE: Input = Input::Whole;

impl Input {
    /// Rows and columns.
    #[must_use]
    pub fn geometry(&self, tensor: &Tensor) -> Geometry {
        match self {
            Self::Whole => tensor.geometry(),
            Self::Part { rows, cols } => Geometry { rows: rows.len(), cols: cols.len() },
            Self::Held(held) => held.geometry,
        }
    }

    /// Elements `range` (flat, row-major) as numbers, replacing what `out` held.
    ///
    /// # Errors
    /// As [`Model::values`].
    pub fn values<T: Real>(
        &self,
        model: &Model,
        tensor: &Tensor,
        range: Range<usize>,
        out: &mut Vec<T>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let (rows, cols) = match self {
            Self::Whole => return model.values(tensor, range, out, scratch),
            Self::Part { rows, cols } => (rows, cols),
            Self::Held(held) => {
                out.clear();
                held.copy_to(range, out);
                return Ok(());
            }
        };
        let read = |place, some: &mut Vec<T>| model.values(tensor, place, some, scratch);
        gather(reads(tensor.geometry(), rows, cols, range), out, read)
    }

    /// Whether each of the elements `range` is 0, replacing what `out` held.
    ///
    /// # Errors
    /// As [`Model::zeros`].
    pub fn zeros(
        &self,
        model: &Model,
        tensor: &Tensor,
        range: Range<usize>,
        out: &mut Vec<bool>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let Self::Part { rows, cols } = self else { return model.zeros(tensor, range, out, scratch) };
        let read = |place, some: &mut Vec<bool>| model.zeros(tensor, place, some, scratch);
        gather(reads(tensor.geometry(), rows, cols, range), out, read)
    }

    /// Elements `range` as plain bytes of the tensor's dtype, appended to `out`; `false` when they have none.
    ///
    /// # Errors
    /// As [`Model::plain_bytes`].
    pub fn plain_bytes(
        &self,
        model: &Model,
        tensor: &Tensor,
        range: Range<usize>,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<bool, Error> {
        let (rows, cols) = match self {
            Self::Whole => return model.plain_bytes(tensor, range, out, scratch),
            Self::Part { rows, cols } => (rows, cols),
            Self::Held(_) => return Ok(false),
        };
        let width = tensor.dtype.bytes();
        let mut read = Vec::new();
        for Read { place, pieces } in reads(tensor.geometry(), rows, cols, range) {
            read.clear();
            if !model.plain_bytes(tensor, place, &mut read, scratch)? {
                return Ok(false);
            }
            pieces.into_iter().for_each(|p| out.extend_from_slice(&read[p.start * width..p.end * width]));
        }
        Ok(true)
    }
}

/// One read of neighbouring elements, and the pieces of it that are wanted.
struct Read {
    /// Flat range in the whole tensor.
    place: Range<usize>,
    /// Ranges within what was read, ascending.
    pieces: Vec<Range<usize>>,
}

/// Carries out reads, each of which replaces what its vector held, and puts what is wanted of them into `out`.
fn gather<E: Copy>(
    reads: Vec<Read>,
    out: &mut Vec<E>,
    mut read: impl FnMut(Range<usize>, &mut Vec<E>) -> Result<(), Error>,
) -> Result<(), Error> {
    out.clear();
    let mut some = Vec::new();
    for Read { place, pieces } in reads {
        read(place, &mut some)?;
        pieces.into_iter().for_each(|piece| out.extend_from_slice(&some[piece]));
    }
    Ok(())
}

/// The reads that together give `range` of the part, in order. Neighbouring rows are read at once; none is much longer than
/// a chunk, or than the stretch of one row that is wanted.
fn reads(whole: Geometry, rows: &Kept, cols: &Kept, range: Range<usize>) -> Vec<Read> {
    let mut out = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let (row, col) = (at / cols.len(), at % cols.len());
        let left = range.end - at;
        if col > 0 || left < cols.len() || whole.cols > CHUNK {
            let end = (col + left).min(cols.len());
            let source = rows.places(row..row + 1).map(|r| r.start).next().unwrap_or_default() * whole.cols;
            let places: Vec<Range<usize>> = cols.places(col..end).collect();
            let first = places.first().map_or(0, |place| place.start);
            let last = places.last().map_or(0, |place| place.end);
            let pieces = places.iter().map(|place| place.start - first..place.end - first).collect();
            out.push(Read { place: source + first..source + last, pieces });
            at += end - col;
            continue;
        }
        let at_once = (CHUNK / whole.cols).max(1).min(left / cols.len());
        for run in rows.places(row..row + at_once) {
            let count = run.len();
            let pieces = if cols.is_all() {
                vec![0..count * whole.cols]
            } else {
                let of_row = |row: usize| {
                    let start = row * whole.cols;
                    cols.runs().iter().map(move |run| start + run.start..start + run.end)
                };
                (0..count).flat_map(of_row).collect()
            };
            out.push(Read { place: run.start * whole.cols..run.end * whole.cols, pieces });
            at += count * cols.len();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_piece_by_piece_as_it_would_be_cut_from_the_whole() {
        let long = CHUNK + 70;
        for (rows, cols, gone_rows, gone_cols) in [
            (6, 5, vec![1..2, 4..6], vec![0..1, 3..4]),
            (6, 5, vec![], vec![0..5]),
            (6, 5, vec![2..5], vec![]),
            (3, long, vec![1..2], vec![5..9, CHUNK..CHUNK + 4]),
            (90, 1000, vec![3..4, 40..50], vec![1..2, 998..1000]),
        ] {
            let whole = Geometry { rows, cols };
            let (rows, cols) = (Kept::without(rows, gone_rows), Kept::without(cols, gone_cols));
            let expected: Vec<usize> = (rows.runs().iter().cloned().flatten())
                .flat_map(|r| cols.runs().iter().cloned().flatten().map(move |c| r * whole.cols + c))
                .collect();
            let part = Geometry { rows: rows.len(), cols: cols.len() };
            assert_eq!(part.len(), expected.len());
            let odd = (0..part.len()).step_by(777).map(|start| start..(start + 1301).min(part.len()));
            for range in part.chunks().into_iter().chain(odd) {
                let mut found = Vec::new();
                for Read { place, pieces } in reads(whole, &rows, &cols, range.clone()) {
                    assert!(place.len() <= CHUNK.max(whole.cols) && place.end <= whole.len());
                    found.extend(pieces.into_iter().flatten().map(|i| place.start + i));
                }
                assert_eq!(found, &expected[range]);
            }
        }
    }
}
