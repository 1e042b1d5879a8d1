//! Two models side by side, tensor by tensor, whatever their formats: how far apart, and how alike their zeros and signs are.

use crate::compress::{Error, in_order};
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::kernels::error::{ErrorSums, error_sums};
use crate::kernels::masks::{MaskCounts, mask_counts, zero_counts};
use crate::model::{Beside, Counterpart, Model, RowOrder, Scratch, Tensor, counterparts};
use rayon::prelude::*;
use std::collections::HashSet;
use std::ops::Range;

/// One tensor that both models have.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorComparison {
    /// Its name.
    pub name: String,
    /// Largest |a − b| over elements finite in A; `None` when they cannot be compared as numbers.
    pub max_abs_difference: Option<f64>,
    /// Σ(a−b)²/Σa².
    pub t2: Option<f64>,
    /// Cosine between them.
    pub cosine: Option<f64>,
    /// Where they are not 0, and with which signs; all 0 when that cannot be said.
    pub counts: MaskCounts,
    /// Why they cannot be compared, in words.
    pub note: Option<&'static str>,
}

impl TensorComparison {
    /// |A≠0 ∧ B≠0| / |A≠0 ∨ B≠0|; `None` when both are all zero.
    #[must_use]
    pub fn mask_overlap(&self) -> Option<f64> {
        self.counts.mask_overlap()
    }

    /// Share of equal signs where both are not 0; `None` when there is no such place.
    #[must_use]
    pub fn sign_agreement(&self) -> Option<f64> {
        self.counts.sign_agreement()
    }

    /// Two tensors that cannot be compared, and why.
    pub(super) fn none(name: &str, why: &'static str) -> Self {
        let (name, note) = (name.to_owned(), Some(why));
        Self { name, max_abs_difference: None, t2: None, cosine: None, counts: MaskCounts::default(), note }
    }

    /// Two tensors one of which has no numbers.
    pub(super) fn of_zeros(name: &str, counts: MaskCounts) -> Self {
        Self { counts, ..Self::none(name, "not float: zeros alone") }
    }

    /// Two tensors as numbers, from the sums of their chunks in the order of the file.
    pub(super) fn of_numbers(name: &str, chunks: impl IntoIterator<Item = ChunkSums>) -> Self {
        let start = (ErrorSums::default(), MaskCounts::default());
        let (sums, counts) = chunks.into_iter().fold(start, |(s, c), (next, more)| (s.merge(next), c.plus(more)));
        Self {
            name: name.to_owned(),
            max_abs_difference: sums.t2().map(|_| sums.max_abs_difference),
            t2: sums.t2(),
            cosine: sums.cosine(),
            counts,
            note: (counts.strange > 0).then_some("one has NaN or infinities where the other has numbers"),
        }
    }
}

/// What two models have in common and what not.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Tensors of both, bytewise by name.
    pub tensors: Vec<TensorComparison>,
    /// Names only in A.
    pub only_a: Vec<String>,
    /// Names only in B.
    pub only_b: Vec<String>,
}

impl Comparison {
    /// [`TensorComparison::mask_overlap`] over all tensors together.
    #[must_use]
    pub fn mask_overlap(&self) -> Option<f64> {
        self.counts().mask_overlap()
    }

    /// [`TensorComparison::sign_agreement`] over all tensors together.
    #[must_use]
    pub fn sign_agreement(&self) -> Option<f64> {
        self.counts().sign_agreement()
    }

    fn counts(&self) -> MaskCounts {
        self.tensors.iter().fold(MaskCounts::default(), |sum, tensor| sum.plus(tensor.counts))
    }
}

/// Compares two models.
///
/// # Errors
/// When one cannot be read, or the work is cancelled.
pub fn compare(a: &Model, b: &Model, control: &Control) -> Result<Comparison, Error> {
    let there = counterparts(a, b);
    let pairs = pairs(a, b, &there);
    control.expect(pairs.iter().map(|(_, t, _)| t.bytes()).sum());
    let one = |at: usize| {
        let (name, t, u) = pairs[at];
        let compared = compare_tensors(a, t, u, control)?;
        Ok(TensorComparison { name: name.to_owned(), ..compared })
    };
    let all = || in_order(pairs.len(), one);
    let tensors = a.steadily(|| b.steadily(all))?;
    let alone = a.tensors.iter().zip(&there).filter(|(_, there)| there.is_none());
    let only_a = alone.map(|(tensor, _)| tensor.name.clone()).collect();
    Ok(Comparison { tensors, only_a, only_b: only_there(a, b, &there) })
}

/// The tensors of both models, in order of the name that each pair goes by: every tensor of A with its counterpart, and of B those that A
/// has under another name only, where it ties what B keeps apart.
fn pairs<'a>(a: &'a Model, b: &'a Model, there: &[Option<Counterpart>]) -> Vec<(&'a str, &'a Tensor, Beside<'a>)> {
    let of_a = a.tensors.iter().zip(there).filter_map(|(t, there)| Some((t.name.as_str(), t, (*there)?.of(b))));
    let mut pairs: Vec<_> = of_a.collect();
    let beside = |u| Beside { model: b, tensor: u, order: RowOrder::Same };
    pairs.extend(unmet(b, there).filter_map(|u| Some((u.name.as_str(), &a.tensors[a.counterpart(u)?], beside(u)))));
    pairs.sort_unstable_by_key(|&(name, ..)| name);
    pairs
}

/// Tensors of a model that are nobody's counterparts, bytewise by name.
fn unmet<'a>(there: &'a Model, counterparts: &[Option<Counterpart>]) -> impl Iterator<Item = &'a Tensor> {
    let met: HashSet<usize> = counterparts.iter().flatten().map(|counterpart| counterpart.index).collect();
    there.tensors.iter().enumerate().filter(move |(index, _)| !met.contains(index)).map(|(_, tensor)| tensor)
}

/// Names of tensors of a model `there` that one `here` has under another name only, tied to one that is compared: these stand beside
/// nothing where each tensor has one place.
#[must_use]
pub fn tied_here(here: &Model, there: &Model, counterparts: &[Option<Counterpart>]) -> Vec<String> {
    let tied = unmet(there, counterparts).filter(|tensor| here.counterpart(tensor).is_some());
    tied.map(|tensor| tensor.name.clone()).collect()
}

/// Names of tensors of a model `there` that one `here` has under no name, bytewise.
#[must_use]
pub fn only_there(here: &Model, there: &Model, counterparts: &[Option<Counterpart>]) -> Vec<String> {
    let only = unmet(there, counterparts).filter(|tensor| here.counterpart(tensor).is_none());
    only.map(|tensor| tensor.name.clone()).collect()
}

/// How two tensors of one shape can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terms {
    /// As numbers.
    Numbers,
    /// By their zeros alone.
    Zeros,
}

/// How tensors of these dtypes and shapes can be compared; or why not, in words.
pub(super) fn terms(a: (Dtype, &[usize]), b: (Dtype, &[usize])) -> Result<Terms, &'static str> {
    match () {
        () if a.1 != b.1 => Err("their shapes differ"),
        () if a.0.is_float() && b.0.is_float() => Ok(Terms::Numbers),
        () if a.0.bytes() == 0 || b.0.bytes() == 0 => Err("not float"),
        () => Ok(Terms::Zeros),
    }
}

/// Compares a tensor of A with one of B.
pub(super) fn compare_tensors(
    a: &Model,
    t: &Tensor,
    u: Beside<'_>,
    control: &Control,
) -> Result<TensorComparison, Error> {
    match terms((t.dtype, &t.shape), (u.tensor.dtype, &u.tensor.shape)) {
        Err(why) => Ok(TensorComparison::none(&t.name, why)),
        Ok(Terms::Zeros) => Ok(TensorComparison::of_zeros(&t.name, zeros(a, t, u, control)?)),
        Ok(Terms::Numbers) if t.dtype == Dtype::F64 || u.tensor.dtype == Dtype::F64 => numbers::<f64>(a, t, u, control),
        Ok(Terms::Numbers) => numbers::<f32>(a, t, u, control),
    }
}

/// The zeros of two tensors one of which has no numbers, such as a mask.
fn zeros(a: &Model, t: &Tensor, u: Beside<'_>, control: &Control) -> Result<MaskCounts, Error> {
    let of_chunk = |range: &Range<usize>| {
        check(control)?;
        let (mut x, mut y, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
        a.zeros(t, range.clone(), &mut x, &mut scratch)?;
        u.zeros(range.clone(), &mut y, &mut scratch)?;
        control.advance(range.len() as u64 * t.dtype.bits() / 8);
        Ok(zero_counts(&x, &y))
    };
    let chunks = t.geometry().chunks();
    let parts: Result<Vec<MaskCounts>, Error> = chunks.par_iter().map(of_chunk).collect();
    Ok(parts?.into_iter().fold(MaskCounts::default(), MaskCounts::plus))
}

/// Elements `range` of a tensor, in an arithmetic that may be wider than its own. Codes and scales make a value in the
/// tensor's own arithmetic, which is what every reader gets: it is widened afterwards.
pub(super) fn values<T: Real>(
    of: Beside<'_>,
    range: Range<usize>,
    out: &mut Vec<T>,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    if T::KEY_BITS == 32 || of.tensor.dtype == Dtype::F64 {
        return Ok(of.values(range, out, scratch)?);
    }
    let mut narrow = Vec::<f32>::new();
    of.values(range, &mut narrow, scratch)?;
    out.clear();
    out.extend(narrow.iter().map(|&value| T::from_f32(value)));
    Ok(())
}

/// What one chunk of two tensors comes to.
pub(super) type ChunkSums = (ErrorSums, MaskCounts);

/// One chunk of A beside the same of B.
pub(super) fn chunk_sums<T: Real>(a: &[T], b: &[T]) -> ChunkSums {
    (error_sums(a, a, b), mask_counts(a, b))
}

fn numbers<T: Real>(a: &Model, t: &Tensor, u: Beside<'_>, control: &Control) -> Result<TensorComparison, Error> {
    let here = Beside { model: a, tensor: t, order: RowOrder::Same };
    let of_chunk = |range: &Range<usize>| {
        check(control)?;
        let (mut x, mut y, mut scratch) = (Vec::<T>::new(), Vec::<T>::new(), Scratch::default());
        values(here, range.clone(), &mut x, &mut scratch)?;
        values(u, range.clone(), &mut y, &mut scratch)?;
        control.advance(range.len() as u64 * t.dtype.bits() / 8);
        Ok(chunk_sums(&x, &y))
    };
    let chunks = t.geometry().chunks();
    let parts: Result<Vec<ChunkSums>, Error> = chunks.par_iter().map(of_chunk).collect();
    Ok(TensorComparison::of_numbers(&t.name, parts?))
}

fn check(control: &Control) -> Result<(), Error> {
    if control.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}
