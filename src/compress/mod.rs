//! A tensor and its scheme become values and codes, chunk by chunk: the one place where pruning and quantization happen.
//!
//! ```text
//! source ─► [prune] ─► pruned ─► [quantize] ─► codes, levels ─► [round to the dense dtype] ─► result
//! ```
//!
//! Estimates, exports, verification and measured accuracy all read the same [`Chunk`]s, so what one promises another
//! keeps. What must be known before the first chunk (thresholds over a tensor or a pool, levels of units longer than a
//! chunk) is found by [`prepare`].

mod blocks;
mod centroids;
mod chunk;
mod cut;
mod factorize;
mod fit;
mod in_order;
mod input;
mod joint;
mod levels;
mod mask;
mod pool;
mod prepare;
mod stored;
pub mod structure;

pub use chunk::{Chunk, Codes, Piece};
pub use factorize::{Factorized, is_at_hand, spectrum_of};
pub use in_order::in_order;
pub use input::Input;
pub use joint::Joint;
pub use mask::Mask;
pub use pool::PoolCut;
pub use prepare::{Prepared, prepare};

use crate::control::Control;
use crate::formats;
use crate::formats::assembly::Assembly;
use crate::formats::error::printable;
use crate::kernels::Real;
use crate::kernels::error::ErrorSums;
use crate::kernels::layout::Geometry;
use crate::model::{Model, Scratch, Tensor};
use crate::recipe::{Outcome, Scheme, Target};
use rayon::prelude::*;
use std::ops::Range;
use structure::Zeroed;

/// Why a tensor cannot be compressed as asked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation; fields are named in it")]
pub enum Error {
    #[error(transparent)]
    Format(#[from] formats::Error),
    #[error(
        "tensor {tensor:?}: {count} of its elements are NaN or infinite, so {scheme} is refused; keep it, or only prune it"
    )]
    NonFinite { tensor: String, count: u64, scheme: String },
    #[error(
        "tensor {tensor:?}: the scale of {scheme} does not fit its arithmetic, or the dtype that it is stored in (its values span too far); use a symmetric grid, more groups, or a wider dtype"
    )]
    ScaleOverflow { tensor: String, scheme: String },
    #[error(
        "tensor {tensor:?}: {scheme} puts the values of a unit in order, and one has {count}, allowed are {allowed}; use :row, or leave :best off"
    )]
    TooMany { tensor: String, scheme: String, count: usize, allowed: usize },
    #[error("tensor {tensor:?}: {count} of its elements would become infinite as {and_advice}")]
    Overflow { tensor: String, count: u64, and_advice: String },
    #[error(
        "tensor {tensor:?}: rank:{rank} is more than the {most} that a matrix of {rows} × {cols} has; use rank:{most} or less"
    )]
    Rank { tensor: String, rank: u64, rows: usize, cols: usize, most: usize },
    #[error(
        "tensor {tensor:?}: a matrix of {rows} × {cols} is too large to be factorized here, one of the sides may have at most {most}; keep it, or quantize it"
    )]
    TooLarge { tensor: String, rows: usize, cols: usize, most: usize },
    #[error("tensor {tensor:?}: scheme {scheme} is not built yet")]
    Unbuilt { tensor: String, scheme: String },
    #[error("tensor {tensor:?}: its mask cannot be taken: {why}")]
    MaskUnread { tensor: String, why: String },
    #[error("tensor {tensor:?}: the mask {file} has no tensor of this name; name those it has, or keep this one")]
    MaskMissing { tensor: String, file: String },
    #[error("tensor {tensor:?}: its shape is {needed:?}, and {found:?} in the mask {file}; a mask has the same shape")]
    MaskShape { tensor: String, file: String, found: Vec<usize>, needed: Vec<usize> },
    #[error("tensor {tensor:?}: in the mask {file} it is {found}, whose elements are no whole bytes; use BOOL or U8")]
    MaskDtype { tensor: String, file: String, found: formats::Dtype },
    #[error("tensor {tensor:?}: the mask that {file} carries for it is damaged; export it again")]
    MaskDamaged { tensor: String, file: String },
    #[error(
        "tensor {tensor:?}: mask:embedded means the mask inside an exported file; give that file itself as --recipe, or write mask:FILE"
    )]
    MaskEmbedded { tensor: String },
    #[error("the network cannot be put together: {0}")]
    Network(String),
    #[error("cancelled")]
    Cancelled,
}

impl From<crate::profile::Error> for Error {
    fn from(error: crate::profile::Error) -> Self {
        match error {
            crate::profile::Error::Format(error) => Self::Format(error),
            crate::profile::Error::Cancelled => Self::Cancelled,
        }
    }
}

/// One tensor and what is done to it.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The model it belongs to.
    pub model: &'a Model,
    /// The tensor.
    pub tensor: &'a Tensor,
    /// What the scheme is applied to: the tensor, or a matrix derived from it.
    pub input: &'a Input,
    /// The shape of that, as it is stored.
    pub shape: &'a [usize],
    /// What is done, as the target stores it.
    pub scheme: &'a Scheme,
    /// Decides how a value is finally rounded.
    pub target: Target,
    /// Its share of a global pool's cut.
    pub pool: Option<PoolCut>,
    /// Rows and columns that structured pruning zeroes, before anything else.
    pub zeroed: Option<&'a Zeroed>,
    /// Whose zeros it takes over.
    pub mask: Option<&'a Mask>,
    /// Stops the work.
    pub control: &'a Control,
}

impl<'a> Task<'a> {
    /// The tensor as the plan leaves it.
    #[must_use]
    pub fn outcome(&self) -> Outcome<'a> {
        let zeroed = self.zeroed.is_some();
        let cut = zeroed || self.shape != self.tensor.shape;
        Outcome { tensor: self.tensor, scheme: self.scheme, shape: self.shape, cut, zeroed, left_out: false }
    }

    /// The layout of a runtime that its codes are stored in; `None` where they are in none.
    #[must_use]
    pub fn assembly(&self) -> Option<Assembly> {
        self.outcome().assembly(self.target)
    }

    pub(crate) fn check_cancelled(&self) -> Result<(), Error> {
        if self.control.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    pub(crate) fn scale_overflow(&self) -> Error {
        Error::ScaleOverflow { tensor: self.shown_name(), scheme: self.scheme.to_string() }
    }

    /// Rows and columns of what the scheme is applied to.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.input.geometry(self.tensor)
    }

    /// Elements `range` of what the scheme is applied to, replacing what `out` held; what structured pruning zeroes is 0.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn values<T: Real>(
        &self,
        range: Range<usize>,
        out: &mut Vec<T>,
        scratch: &mut Scratch,
    ) -> Result<(), formats::Error> {
        self.source(range.clone(), out, scratch)?;
        self.zero(&range, out);
        Ok(())
    }

    /// The same as it lies in the source.
    fn source<T: Real>(
        &self,
        range: Range<usize>,
        out: &mut Vec<T>,
        scratch: &mut Scratch,
    ) -> Result<(), formats::Error> {
        self.input.values(self.model, self.tensor, range, out, scratch)
    }

    fn zero<T: Real>(&self, range: &Range<usize>, values: &mut [T]) {
        if let Some(zeroed) = self.zeroed {
            zeroed.apply(self.geometry(), range, values);
        }
    }

    /// Whether some of its elements may have been made 0 before they are quantized.
    #[must_use]
    pub fn is_pruned(&self) -> bool {
        self.outcome().is_pruned()
    }

    /// What structured pruning takes out of the tensor, as errors: to be added to those of what remains.
    ///
    /// # Errors
    /// When it cannot be read, or the work is cancelled.
    pub fn lost(&self) -> Result<ErrorSums, Error> {
        structure::lost(self.model, self.tensor, self.input, self.control)
    }

    /// Elements `range` of the source as plain bytes of the tensor's dtype, appended to `out`; `false` when they have none.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn plain_bytes(
        &self,
        range: Range<usize>,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<bool, formats::Error> {
        self.input.plain_bytes(self.model, self.tensor, range, out, scratch)
    }

    pub(crate) fn shown_name(&self) -> String {
        printable(&self.tensor.name)
    }
}

/// Chunks that one worker takes at a time; results are gathered in the order of the file.
const SPAN: usize = 16;
/// Most spans in a tensor, so that what is kept per span stays bounded.
const SPANS: usize = 64;

/// Runs every chunk through `each`, in parallel over fixed spans of chunks, and gives one `fold` result per span, in
/// order. The spans depend on the tensor's shape alone: whoever adds the results up in order gets the same bits for any
/// number of threads.
///
/// # Errors
/// The first failure in order of the file, or [`Error::Cancelled`].
pub fn fold_chunks<T: Real, A: Send>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    init: impl Fn() -> A + Sync,
    each: impl Fn(&mut A, &Chunk<T>) -> Result<(), Error> + Sync,
) -> Result<Vec<A>, Error> {
    let chunks = prepared.chunks();
    let span = SPAN.max(chunks.len().div_ceil(SPANS));
    let spans: Vec<usize> = (0..chunks.len()).step_by(span).collect();
    let one_span = |&first: &usize| {
        let mut accumulator = init();
        let mut chunk = Chunk::default();
        for index in first..(first + span).min(chunks.len()) {
            task.check_cancelled()?;
            prepared.fill(task, index, &mut chunk)?;
            each(&mut accumulator, &chunk)?;
            task.control.advance(chunk.range.len() as u64 * task.tensor.dtype.bits() / 8);
        }
        Ok(accumulator)
    };
    in_order(spans.len(), |at| one_span(&spans[at]))
}

/// Runs every chunk in parallel, a batch at a time, and hands them to `sink` one after the other in the order of the
/// file: for writers. At most a batch of chunks is in memory.
///
/// # Errors
/// The first failure, of a chunk or of the sink.
pub fn stream_chunks<T: Real, E: From<Error>>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    mut sink: impl FnMut(&Chunk<T>) -> Result<(), E>,
) -> Result<(), E> {
    let count = prepared.chunks().len();
    let batch = 4 * rayon::current_num_threads();
    for first in (0..count).step_by(batch) {
        let fill = |index: usize| {
            task.check_cancelled()?;
            let mut chunk = Chunk::default();
            prepared.fill(task, index, &mut chunk)?;
            Ok::<_, Error>(chunk)
        };
        let filled: Result<Vec<Chunk<T>>, Error> =
            (first..(first + batch).min(count)).into_par_iter().map(fill).collect();
        for chunk in filled? {
            task.control.advance(chunk.range.len() as u64 * task.tensor.dtype.bits() / 8);
            sink(&chunk)?;
        }
    }
    Ok(())
}
