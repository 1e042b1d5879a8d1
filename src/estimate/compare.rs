//! Two models side by side, tensor by tensor, whatever their formats: how far apart, and how alike their zeros and signs are.

use crate::compress::Error;
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::kernels::error::{ErrorSums, error_sums};
use crate::model::{Model, Scratch, Tensor};
use rayon::prelude::*;
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
    /// |A≠0 ∧ B≠0| / |A≠0 ∨ B≠0|; `None` when both are all zero.
    pub mask_overlap: Option<f64>,
    /// Share of equal signs where both are not 0; `None` when there is no such place.
    pub sign_agreement: Option<f64>,
    /// Why they cannot be compared, in words.
    pub note: Option<&'static str>,
    /// What the shares are of.
    counts: Counts,
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

    fn counts(&self) -> Counts {
        self.tensors.iter().fold(Counts::default(), |sum, tensor| sum.plus(tensor.counts))
    }
}

/// Compares two models.
///
/// # Errors
/// When one cannot be read, or the work is cancelled.
pub fn compare(a: &Model, b: &Model, control: &Control) -> Result<Comparison, Error> {
    let only = |x: &Model, y: &Model| {
        x.tensors.iter().filter(|t| y.find(&t.name).is_none()).map(|t| t.name.clone()).collect::<Vec<_>>()
    };
    let pairs: Vec<(&Tensor, &Tensor)> =
        a.tensors.iter().filter_map(|t| b.find(&t.name).map(|i| (t, &b.tensors[i]))).collect();
    control.expect(pairs.iter().map(|(t, _)| t.bytes()).sum());
    let all = || pairs.par_iter().map(|(t, u)| one(a, t, b, u, control)).collect::<Result<Vec<_>, Error>>();
    let tensors = a.steadily(|| b.steadily(all))?;
    Ok(Comparison { tensors, only_a: only(a, b), only_b: only(b, a) })
}

fn one(a: &Model, t: &Tensor, b: &Model, u: &Tensor, control: &Control) -> Result<TensorComparison, Error> {
    let none = |note| TensorComparison {
        name: t.name.clone(),
        max_abs_difference: None,
        t2: None,
        cosine: None,
        mask_overlap: None,
        sign_agreement: None,
        note: Some(note),
        counts: Counts::default(),
    };
    if t.shape != u.shape {
        return Ok(none("their shapes differ"));
    }
    if !t.dtype.is_float() || !u.dtype.is_float() {
        if t.dtype.bytes() == 0 || u.dtype.bytes() == 0 {
            return Ok(none("not float"));
        }
        let counts = zeros(a, t, b, u, control)?;
        return Ok(TensorComparison { mask_overlap: counts.mask_overlap(), counts, ..none("not float: zeros alone") });
    }
    if t.dtype == Dtype::F64 || u.dtype == Dtype::F64 {
        numbers::<f64>(a, t, b, u, control)
    } else {
        numbers::<f32>(a, t, b, u, control)
    }
}

/// Elements of two tensors that are not 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// In both.
    both: u64,
    /// In one or both.
    either: u64,
    /// In both, where signs are known.
    signed: u64,
    /// In both with the same sign.
    same_sign: u64,
    /// Elements that are finite in one alone.
    strange: u64,
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            both: self.both + other.both,
            either: self.either + other.either,
            signed: self.signed + other.signed,
            same_sign: self.same_sign + other.same_sign,
            strange: self.strange + other.strange,
        }
    }

    fn mask_overlap(self) -> Option<f64> {
        (self.either > 0).then(|| self.both as f64 / self.either as f64)
    }

    fn sign_agreement(self) -> Option<f64> {
        (self.signed > 0).then(|| self.same_sign as f64 / self.signed as f64)
    }
}

/// The zeros of two tensors one of which has no numbers, such as a mask.
fn zeros(a: &Model, t: &Tensor, b: &Model, u: &Tensor, control: &Control) -> Result<Counts, Error> {
    let of_chunk = |range: &Range<usize>| {
        if control.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let (mut x, mut y, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
        a.zeros(t, range.clone(), &mut x, &mut scratch)?;
        b.zeros(u, range.clone(), &mut y, &mut scratch)?;
        control.advance(range.len() as u64 * t.dtype.bits() / 8);
        let pairs = || x.iter().zip(&y);
        let both = pairs().filter(|&(x, y)| !x && !y).count() as u64;
        let either = pairs().filter(|&(x, y)| !x || !y).count() as u64;
        Ok(Counts { both, either, ..Counts::default() })
    };
    let chunks = t.geometry().chunks();
    let parts: Result<Vec<Counts>, Error> = chunks.par_iter().map(of_chunk).collect();
    Ok(parts?.into_iter().fold(Counts::default(), Counts::plus))
}

fn numbers<T: Real>(
    a: &Model,
    t: &Tensor,
    b: &Model,
    u: &Tensor,
    control: &Control,
) -> Result<TensorComparison, Error> {
    let of_chunk = |range: &Range<usize>| {
        if control.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let (mut x, mut y, mut scratch) = (Vec::<T>::new(), Vec::<T>::new(), Scratch::default());
        a.values(t, range.clone(), &mut x, &mut scratch)?;
        b.values(u, range.clone(), &mut y, &mut scratch)?;
        control.advance(range.len() as u64 * t.dtype.bits() / 8);
        Ok((error_sums(&x, &x, &y), count(&x, &y)))
    };
    let chunks = t.geometry().chunks();
    let parts: Result<Vec<(ErrorSums, Counts)>, Error> = chunks.par_iter().map(of_chunk).collect();
    let (mut sums, mut counts) = (ErrorSums::default(), Counts::default());
    for (s, c) in parts? {
        sums = sums.merge(s);
        counts = counts.plus(c);
    }
    Ok(TensorComparison {
        name: t.name.clone(),
        max_abs_difference: sums.t2().map(|_| sums.max_abs_difference),
        t2: sums.t2(),
        cosine: sums.cosine(),
        mask_overlap: counts.mask_overlap(),
        sign_agreement: counts.sign_agreement(),
        counts,
        note: (counts.strange > 0).then_some("one has NaN or infinities where the other has numbers"),
    })
}

fn count<T: Real>(x: &[T], y: &[T]) -> Counts {
    let mut counts = Counts::default();
    for (&a, &b) in x.iter().zip(y) {
        let (p, q) = (a != T::ZERO, b != T::ZERO);
        counts.strange += u64::from(a.is_finite() != b.is_finite());
        counts.both += u64::from(p && q);
        counts.signed += u64::from(p && q);
        counts.either += u64::from(p || q);
        counts.same_sign += u64::from(p && q && (a > T::ZERO) == (b > T::ZERO));
    }
    counts
}
