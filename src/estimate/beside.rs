//! One tensor as its scheme leaves it, beside another model's tensor of the same name: what [`compare`] would say of the
//! export, before there is one, and of the source in the same pass.
//!
//! Chunks and the order of sums are those of [`compare`], so both give the same numbers to the last bit.
//!
//! [`compare`]: super::compare::compare

use super::compare::{ChunkSums, TensorComparison, Terms, chunk_sums, compare_tensors, terms, values};
use crate::compress::{Chunk, Error, Prepared, Task, fold_chunks, prepare};
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::kernels::error::ErrorSums;
use crate::kernels::masks::{MaskCounts, zero_counts};
use crate::model::{Beside, Scratch};

/// A tensor before and after its scheme, each beside the same tensor of another model.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemeComparison {
    /// The source beside it; `None` when it was not asked for.
    pub source: Option<TensorComparison>,
    /// What a reader of the artifact gets, beside it.
    pub result: TensorComparison,
}

/// Compares what a task's scheme leaves of its tensor (A) with a tensor of another model (B); `with_source` asks for the
/// source beside it too.
///
/// # Errors
/// When one cannot be read, the scheme is refused on the tensor's values, or the work is cancelled.
pub fn compare_task(task: &Task<'_>, beside: Beside<'_>, with_source: bool) -> Result<SchemeComparison, Error> {
    let tensor = task.tensor;
    let of_source = || compare_tensors(task.model, tensor, beside, task.control);
    if !tensor.dtype.is_float() {
        // Nothing can be done to it: it is exported as it is.
        let same = of_source()?;
        return Ok(SchemeComparison { source: with_source.then(|| same.clone()), result: same });
    }
    let terms = match terms((tensor.dtype, task.shape), (beside.tensor.dtype, &beside.tensor.shape)) {
        Ok(terms) => terms,
        Err(why) => {
            // Where rows or columns go, the source may have the shape that the result has not.
            let source = with_source.then(of_source).transpose()?;
            return Ok(SchemeComparison { source, result: TensorComparison::none(&tensor.name, why) });
        }
    };
    let pass = Pass { task, beside, terms, with_source: with_source && task.shape == tensor.shape };
    let (source, result) = if tensor.dtype == Dtype::F64 { pass.run::<f64>()? } else { pass.run::<f32>()? };
    // The result of fewer rows or columns, in a pass without its source: that is a pass of its own.
    let source = if source.is_none() && with_source { Some(of_source()?) } else { source };
    Ok(SchemeComparison { source, result })
}

/// One pass over a tensor and its counterpart.
struct Pass<'a> {
    task: &'a Task<'a>,
    beside: Beside<'a>,
    terms: Terms,
    with_source: bool,
}

/// What a span of chunks comes to, chunk by chunk, and buffers that go from one chunk to the next.
struct Span<T> {
    sources: Vec<ChunkSums>,
    results: Vec<ChunkSums>,
    values: Vec<T>,
    /// The other's values where only f64 holds them, and ours beside them.
    wide: [Vec<f64>; 2],
    /// The other's zeros where it has no numbers, and ours beside them.
    zeros: [Vec<bool>; 2],
    scratch: Scratch,
}

impl<T> Default for Span<T> {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            results: Vec::new(),
            values: Vec::new(),
            wide: <[Vec<f64>; 2]>::default(),
            zeros: <[Vec<bool>; 2]>::default(),
            scratch: Scratch::default(),
        }
    }
}

impl Pass<'_> {
    fn run<T: Real>(&self) -> Result<(Option<TensorComparison>, TensorComparison), Error> {
        let prepared: Prepared<T> = prepare(self.task)?;
        let spans = fold_chunks(self.task, &prepared, Span::default, |span, chunk| self.add(span, chunk))?;
        let (mut sources, mut results) = (Vec::new(), Vec::new());
        for span in spans {
            sources.extend(span.sources);
            results.extend(span.results);
        }
        let name = &self.task.tensor.name;
        let comparison = |chunks: Vec<ChunkSums>| match self.terms {
            Terms::Numbers => TensorComparison::of_numbers(name, chunks),
            Terms::Zeros => {
                let counts = chunks.into_iter().fold(MaskCounts::default(), |sum, (_, next)| sum.plus(next));
                TensorComparison::of_zeros(name, counts)
            }
        };
        Ok((self.with_source.then(|| comparison(sources)), comparison(results)))
    }

    /// Whether the other's values fit no f32 while ours do.
    fn is_wide<T: Real>(&self) -> bool {
        self.beside.tensor.dtype == Dtype::F64 && T::KEY_BITS == 32
    }

    fn add<T: Real>(&self, span: &mut Span<T>, chunk: &Chunk<T>) -> Result<(), Error> {
        let range = chunk.range.clone();
        let [_, wide] = &mut span.wide;
        let [_, zeros] = &mut span.zeros;
        match self.terms {
            Terms::Zeros => self.beside.zeros(range, zeros, &mut span.scratch)?,
            Terms::Numbers if self.is_wide::<T>() => values(self.beside, range, wide, &mut span.scratch)?,
            Terms::Numbers => values(self.beside, range, &mut span.values, &mut span.scratch)?,
        }
        if self.with_source {
            let sums = self.sums(span, &chunk.source);
            span.sources.push(sums);
        }
        let sums = self.sums(span, &chunk.result);
        span.results.push(sums);
        Ok(())
    }

    /// Our values of a chunk beside the other's, which have just been read.
    fn sums<T: Real>(&self, span: &mut Span<T>, ours: &[T]) -> ChunkSums {
        match self.terms {
            Terms::Zeros => {
                let [here, there] = &mut span.zeros;
                here.clear();
                here.extend(ours.iter().map(|&value| value == T::ZERO));
                (ErrorSums::default(), zero_counts(here, there))
            }
            Terms::Numbers if self.is_wide::<T>() => {
                let [here, there] = &mut span.wide;
                here.clear();
                here.extend(ours.iter().map(|value| value.to_f64()));
                chunk_sums(here, there)
            }
            Terms::Numbers => chunk_sums(ours, &span.values),
        }
    }
}
