//! A tensor becomes the product of two thinner matrices, each of which then goes the ordinary way of a quantize step.
//!
//! ```text
//! W ─► [rows, cols] ─► U√S, √S Vᵀ ─► rounded to the tensor's dtype ─► [quantize, each by its own rows and groups] ─► product
//! ```
//!
//! An element of the product is Σ left[i, r] · right[r, j] over r ascending in f64, rounded once: to F32 (F64), and in the
//! dense target to the tensor's dtype. A loop in numpy over the factors as they are stored gives it to the bit.

use super::chunk::non_finite;
use super::input::{Held, Input, WHOLE};
use super::prepare::prepare;
use super::{Error, Task, fold_chunks};
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::kernels::layout::Geometry;
use crate::kernels::svd::product::Pair;
use crate::kernels::svd::{ALL, LONGEST, Matrix, Svd};
use crate::model::{Model, Scratch, Tensor};
use crate::recipe::{Factorize, Scheme, Target};
use std::ops::Range;
use std::sync::Arc;

/// A tensor's two factors before they are quantized, rounded to the tensor's dtype.
#[derive(Clone, Debug)]
pub struct Factorized {
    /// Columns of the left factor and rows of the right one.
    pub rank: usize,
    /// What is done to each of them.
    scheme: Scheme,
    inputs: [Input; 2],
    shapes: [[usize; 2]; 2],
}

impl Factorized {
    /// The factors of a task whose scheme factorizes; `None` for any other.
    ///
    /// # Errors
    /// When the tensor cannot be read, has elements that are not finite or no such rank, or the work is cancelled.
    pub fn of(task: &Task<'_>) -> Result<Option<Self>, Error> {
        let Some(step) = task.scheme.factorize else { return Ok(None) };
        let geometry = task.geometry();
        if geometry.is_empty() {
            return Ok(None);
        }
        let (rank, inputs) =
            if task.tensor.dtype == Dtype::F64 { made::<f64>(task, step)? } else { made::<f32>(task, step)? };
        let scheme = task.scheme.of_factors();
        let shapes = [[geometry.rows, rank], [rank, geometry.cols]];
        Ok(Some(Self { rank, scheme, inputs, shapes }))
    }

    /// The tasks of the left and the right factor. What a factor's values are does not depend on the target.
    #[must_use]
    pub fn tasks<'a>(&'a self, task: &Task<'a>) -> [Task<'a>; 2] {
        let of = |at: usize| Task {
            input: &self.inputs[at],
            shape: &self.shapes[at],
            scheme: &self.scheme,
            target: Target::Packed,
            pool: None,
            zeroed: None,
            mask: None,
            ..*task
        };
        [of(0), of(1)]
    }
}

/// The factors as a reader gets them, ready to be multiplied.
#[derive(Debug)]
pub(super) struct Product {
    pub factors: Factorized,
    pair: Pair,
    /// Rounds an element of the product.
    dtype: Dtype,
}

impl Product {
    /// The product that a task stands for; `None` when its scheme does not factorize.
    pub fn of<T: Real>(task: &Task<'_>) -> Result<Option<Self>, Error> {
        let Some(factors) = Factorized::of(task)? else { return Ok(None) };
        let [left, right] = factors.tasks(task);
        let pair = Pair::new(results::<T>(&left)?, &results::<T>(&right)?, factors.rank);
        let wide = if task.tensor.dtype == Dtype::F64 { Dtype::F64 } else { Dtype::F32 };
        let dtype = if task.target.is_dense() { task.tensor.dtype } else { wide };
        Ok(Some(Self { factors, pair, dtype }))
    }

    /// Elements `range` of the product.
    pub fn values<T: Real>(&self, range: Range<usize>, out: &mut Vec<T>) {
        out.clear();
        out.extend(self.pair.values(range).into_iter().map(|sum| T::from_f64(self.dtype.rounded(sum))));
    }
}

/// What a reader gets of a factor.
fn results<T: Real>(task: &Task<'_>) -> Result<Vec<f64>, Error> {
    let prepared = prepare::<T>(task)?;
    let spans = fold_chunks(task, &prepared, Vec::new, |values: &mut Vec<f64>, chunk| {
        values.extend(chunk.result.iter().map(|q| q.to_f64()));
        Ok(())
    })?;
    Ok(spans.concat())
}

fn made<T: Real>(task: &Task<'_>, step: Factorize) -> Result<(usize, [Input; 2]), Error> {
    let geometry = task.geometry();
    let (svd, rank) = match step {
        Factorize::Rank(rank) => {
            let rank = checked(task, rank)?;
            (decomposition::<T>(task, rank)?, rank)
        }
        Factorize::Energy(share) => {
            let spectrum = decomposition::<T>(task, 0)?;
            let rank = spectrum.rank_of_energy(share.to_f64());
            (if spectrum.found() < rank { decomposition::<T>(task, rank)? } else { spectrum }, rank)
        }
    };
    let factors = svd.factors(&Source::<T>::of(task), rank)?;
    let dtype = task.tensor.dtype;
    let held = |values: Vec<f64>, rows, cols| {
        let values = values.into_iter().map(|x| dtype.rounded(x));
        Input::Held(Arc::new(Held::new(values, dtype, Geometry { rows, cols })))
    };
    let left = held(factors.left, geometry.rows, rank);
    Ok((rank, [left, held(factors.right, rank, geometry.cols)]))
}

/// A rank that a tensor has.
fn checked(task: &Task<'_>, rank: u64) -> Result<usize, Error> {
    let Geometry { rows, cols } = task.geometry();
    let found = usize::try_from(rank).ok().filter(|rank| *rank <= rows.min(cols));
    found.ok_or_else(|| Error::Rank { tensor: task.shown_name(), rank, rows, cols, most: rows.min(cols) })
}

/// A decomposition that has factors of `rank`; for 0, one that has all singular values. Kept with the model for the next
/// who asks.
fn decomposition<T: Real>(task: &Task<'_>, rank: usize) -> Result<Arc<Svd>, Error> {
    let Geometry { rows, cols } = task.geometry();
    let side = rows.min(cols);
    if side > LONGEST {
        return Err(Error::TooLarge { tensor: task.shown_name(), rows, cols, most: LONGEST });
    }
    let name = name_of(task);
    let serves = |svd: &Svd| if rank == 0 { svd.values().len() == side } else { svd.found() >= rank };
    if let Some(svd) = task.model.decompositions.find(&name, serves) {
        return Ok(svd);
    }
    // Where all vectors come with the values, the next question is already answered.
    let wanted = if rank == 0 && side <= ALL { side } else { rank };
    let svd = Arc::new(Svd::of(&Source::<T>::of(task), wanted)?);
    task.model.decompositions.keep(&name, &svd);
    Ok(svd)
}

/// The decomposition of a whole tensor, with all singular values.
///
/// # Errors
/// When the tensor cannot be read, has elements that are not finite or is too large, or the work is cancelled.
pub fn spectrum_of(model: &Model, tensor: &Tensor, control: &Control) -> Result<Arc<Svd>, Error> {
    let scheme = Scheme { factorize: Some(Factorize::Rank(1)), ..Scheme::default() };
    let task = Task {
        model,
        tensor,
        input: &WHOLE,
        shape: &tensor.shape,
        scheme: &scheme,
        target: Target::Packed,
        pool: None,
        mask: None,
        zeroed: None,
        control,
    };
    if tensor.dtype == Dtype::F64 { decomposition::<f64>(&task, 0) } else { decomposition::<f32>(&task, 0) }
}

/// Whether a task can be carried out without taking its tensor apart first: it does not factorize, or that was done.
#[must_use]
pub fn is_at_hand(task: &Task<'_>) -> bool {
    let rank = match task.scheme.factorize {
        None => return true,
        Some(Factorize::Rank(rank)) => rank,
        Some(Factorize::Energy(_)) => 0,
    };
    let Geometry { rows, cols } = task.geometry();
    let (side, rank) = (rows.min(cols), usize::try_from(rank).unwrap_or(usize::MAX));
    let serves = |svd: &Svd| if rank == 0 { svd.found() == side } else { svd.found() >= rank };
    rank > side || task.model.decompositions.find(&name_of(task), serves).is_some()
}

/// What the decomposition of a task's matrix is kept under.
fn name_of(task: &Task<'_>) -> String {
    format!("{} {:?} {:?}", task.tensor.name, task.input, task.zeroed)
}

/// What a task's scheme is applied to, as a matrix.
struct Source<'a, T> {
    task: &'a Task<'a>,
    geometry: Geometry,
    arithmetic: std::marker::PhantomData<T>,
}

impl<'a, T: Real> Source<'a, T> {
    fn of(task: &'a Task<'a>) -> Self {
        Self { task, geometry: task.geometry(), arithmetic: std::marker::PhantomData }
    }
}

impl<T: Real> Matrix for Source<'_, T> {
    type Error = Error;

    fn rows(&self) -> usize {
        self.geometry.rows
    }

    fn cols(&self) -> usize {
        self.geometry.cols
    }

    fn is_wide(&self) -> bool {
        T::KEY_BITS == 64
    }

    fn read(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f64]) -> Result<(), Error> {
        let (mut values, mut scratch) = (Vec::<T>::new(), Scratch::default());
        // Whole rows lie side by side, and are read at once.
        let at_once = if cols.len() == self.geometry.cols { rows.len() } else { 1 };
        for (first, out) in rows.step_by(at_once.max(1)).zip(out.chunks_mut((at_once * cols.len()).max(1))) {
            let start = first * self.geometry.cols + cols.start;
            self.task.values(start..start + out.len(), &mut values, &mut scratch)?;
            for (x, value) in out.iter_mut().zip(&values) {
                *x = value.to_f64();
            }
            if !out.iter().all(|x| x.is_finite()) {
                return Err(non_finite::<T>(self.task));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        self.task.check_cancelled()
    }
}
