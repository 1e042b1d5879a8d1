//! One tensor under one scheme, exactly: a pass over its values that gathers errors, zeros, gaps and code counts together.

use super::factors::{self, FactorsEstimate};
use super::packing::{CodeCounts, Packing};
use super::size::{self, Content, Sizes};
use super::spread::Spread;
use super::{Label, TensorStats};
use crate::compress::{Chunk, Error, Prepared, Task, fold_chunks, prepare};
use crate::formats::Dtype;
use crate::formats::packed_layout::Stored;
use crate::kernels::Real;
use crate::kernels::entropy::{Gaps, shannon_bits};
use crate::kernels::error::{ErrorSums, error_sums};
use crate::kernels::histogram::Histogram;
use crate::kernels::levels::{Levels, SYMBOLS};
use crate::model::Scratch;
use crate::recipe::{Outcome, Quantize, Scheme, Target};

/// What a tensor comes to under a scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorEstimate {
    /// As the target stores it.
    pub stored_as: String,
    /// The kind of these numbers.
    pub label: Label,
    /// Elements that are stored.
    pub elements: u64,
    /// Stored bytes, part by part.
    pub sizes: Sizes,
    /// How a touched tensor lies in `packed`; `None` in other targets, and when values were not read.
    pub packing: Option<Packing>,
    /// The sparse bound; `None` when values were not read.
    pub sparse_bytes: Option<u64>,
    /// The entropy bound; `None` when values were not read.
    pub entropy_bytes: Option<u64>,
    /// Error sums; `None` for tensors that are not float sources.
    pub errors: Option<ErrorSums>,
    /// Standard error of t², relative to it, where the numbers are from a sample; `None` where they are not.
    pub t2_error: Option<f64>,
    /// The largest magnitude that pruning zeroes, where one number says it.
    pub threshold: Option<f64>,
    /// What the values look like afterwards, when it was asked for.
    pub after: Option<Histogram>,
    /// Scales of the levels: 10th percentile, median, 90th percentile over units, when it was asked for.
    pub scales: Option<[f64; 3]>,
    /// What its factors come to, when it is factorized.
    pub factors: Option<FactorsEstimate>,
}

impl TensorEstimate {
    /// Stored elements with q ≠ 0; all of them where that is not known.
    #[must_use]
    pub fn nonzeros(&self) -> u64 {
        self.errors.as_ref().map_or(self.elements, |e| self.elements - e.zeros)
    }

    /// How a touched tensor lies in `packed`, where that is known.
    #[must_use]
    pub fn stored(&self) -> Option<Stored> {
        let factors = self.factors.as_ref().map(FactorsEstimate::stored);
        factors.or_else(|| Some(Stored::Codes(self.packing.as_ref()?.matrix)))
    }

    /// Stored bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sizes.total()
    }

    /// Relative squared error.
    #[must_use]
    pub fn t2(&self) -> Option<f64> {
        self.errors.as_ref().and_then(ErrorSums::t2)
    }

    /// Its sizes alone, before anything else is known of what it comes to.
    pub(super) fn of_sizes(of: Outcome<'_>, label: Label, sizes: Sizes) -> Self {
        Self {
            stored_as: if of.left_out { "left out".into() } else { of.scheme.to_string() },
            label,
            elements: of.elements(),
            sizes,
            packing: None,
            sparse_bytes: None,
            entropy_bytes: None,
            errors: None,
            t2_error: None,
            threshold: None,
            after: None,
            scales: None,
            factors: None,
        }
    }

    /// A tensor that nothing is done to, from its statistics (`None`: not a float source, or not read).
    #[must_use]
    pub fn kept(outcome: Outcome<'_>, target: Target, stats: Option<&TensorStats>, read: bool) -> Self {
        // An empty tensor is kept under any scheme.
        let keep = Scheme::keep();
        let (tensor, outcome) = (outcome.tensor, Outcome { scheme: &keep, ..outcome });
        let sizes = size::stored(outcome, target, None);
        let float = tensor.is_float_source();
        let content = stats.map(|s| Content { gaps: s.gaps, code_entropy: None });
        // What stays in codes has its payload, also where these might be touched.
        let by_formula = float && !tensor.is_coded() && !outcome.left_out;
        let bound = |of: fn(Outcome<'_>, &Content) -> u64| match &content {
            _ if !by_formula => Some(sizes.total()),
            Some(content) => Some(of(outcome, content)).filter(|_| read),
            None => None,
        };
        let errors = stats.filter(|_| float && !outcome.left_out).map(|s| ErrorSums {
            finite: s.moments.finite,
            energy: s.moments.energy,
            energy_after: s.moments.energy,
            product: s.moments.energy,
            zeros: s.moments.zeros,
            ..ErrorSums::default()
        });
        let label = if stats.is_some_and(|s| s.coarse && float) { Label::Sampled } else { Label::Exact };
        Self {
            sparse_bytes: bound(size::sparse_bytes),
            entropy_bytes: bound(size::entropy_bytes),
            errors,
            ..Self::of_sizes(outcome, label, sizes)
        }
    }
}

/// Estimates a touched tensor. `histogram_reach` asks for the distribution afterwards over [−reach, +reach].
///
/// # Errors
/// When it cannot be read, the scheme is refused on its values, or the work is cancelled.
pub fn estimate_tensor(task: &Task<'_>, histogram_reach: Option<f64>) -> Result<TensorEstimate, Error> {
    if task.tensor.dtype == Dtype::F64 {
        estimate::<f64>(task, histogram_reach)
    } else {
        estimate::<f32>(task, histogram_reach)
    }
}

/// What one span of chunks adds up to.
#[derive(Default)]
struct Sums {
    errors: ErrorSums,
    gaps: Gaps,
    /// Counts of the symbols that stored codes are.
    codes: Vec<u64>,
    after: Option<Histogram>,
    /// Scales of the levels, where they are to be shown.
    scales: Option<Spread>,
    /// What decides how `packed` stores the tensor; `None` for other targets.
    stored: Option<Box<CodeCounts>>,
    scratch: Scratch,
    bytes: Vec<u8>,
}

fn estimate<T: Real>(task: &Task<'_>, reach: Option<f64>) -> Result<TensorEstimate, Error> {
    let prepared: Prepared<T> = prepare(task)?;
    let total = sums_of(task, &prepared, reach)?;
    let (outcome, content) = (task.outcome(), total.content());
    let errors = task.lost()?.merge(total.errors);
    let packing = total.packing(outcome);
    let sizes = size::stored(outcome, task.target, packing.as_ref());
    let whole = TensorEstimate {
        packing,
        sparse_bytes: Some(size::sparse_bytes(outcome, &content)),
        entropy_bytes: Some(size::entropy_bytes(outcome, &content)),
        errors: Some(errors),
        threshold: prepared.threshold,
        after: total.after,
        scales: total.scales.and_then(Spread::percentiles),
        ..TensorEstimate::of_sizes(outcome, Label::Exact, sizes)
    };
    let Some(factors) = prepared.factors() else { return Ok(whole) };
    let part = |factor: &Task<'_>| {
        let sums = sums_of(factor, &prepare::<T>(factor)?, None)?;
        let of = factor.outcome();
        Ok::<_, Error>((
            sums.content(),
            sums.packing(of).unwrap_or_else(|| Packing::dense(size::code_of(of.scheme), of.geometry())),
        ))
    };
    let [left, right] = factors.tasks(task);
    Ok(factors::with_factors(whole, outcome, task.target, factors.rank, [part(&left)?, part(&right)?]))
}

/// Everything that the chunks of a task add up to.
fn sums_of<T: Real>(task: &Task<'_>, prepared: &Prepared<T>, reach: Option<f64>) -> Result<Sums, Error> {
    // A grid over the full range clips nothing.
    let clipped = task.scheme.is_clipped();
    // The codes of a factorized tensor are those of its factors.
    let is_product = prepared.factors().is_some();
    let is_coded = task.target == Target::Packed && !is_product;
    let codes = match task.scheme.quantize {
        _ if is_product => 0,
        None => 0,
        Some(Quantize::F16 | Quantize::Bf16) => 1 << 16,
        Some(_) => SYMBOLS,
    };
    let init = || Sums {
        codes: vec![0; codes],
        after: reach.map(Histogram::new),
        scales: reach.map(|_| Spread::default()),
        ..Sums::default()
    };
    let spans = fold_chunks(task, prepared, init, |sums, chunk| {
        add(sums, chunk, clipped);
        if is_coded { count_stored(task, sums, chunk) } else { Ok(()) }
    })?;
    Ok(spans.into_iter().fold(init(), join))
}

impl Sums {
    /// What the two bounds are computed from.
    fn content(&self) -> Content {
        let code_entropy = (!self.codes.is_empty()).then(|| shannon_bits(self.codes.iter().copied()));
        Content { gaps: self.gaps, code_entropy }
    }

    /// How `packed` stores what they are of.
    fn packing(&self, of: Outcome<'_>) -> Option<Packing> {
        let (code, dtype) = (size::code_of(of.scheme), size::stored_dtype(of.tensor.dtype, of.scheme));
        self.stored.as_ref().map(|counts| Packing::least(code, dtype, of.geometry(), counts))
    }
}

/// Σ(w − q)² of what lies beyond the end levels.
fn beyond_the_ends<T: Real>(values: &[T], results: &[T], levels: &Levels<T>) -> f64 {
    let beyond = values.iter().zip(results).filter(|(w, _)| levels.clips(**w));
    beyond.map(|(w, q)| (w.to_f64() - q.to_f64()).powi(2)).sum()
}

fn add<T: Real>(sums: &mut Sums, chunk: &Chunk<T>, clipped: bool) {
    sums.errors = sums.errors.merge(error_sums(&chunk.source, &chunk.pruned, &chunk.result));
    sums.gaps = sums.gaps.merge(Gaps::of_values(chunk.formula_values()));
    chunk.count_symbols(&mut sums.codes);
    for piece in chunk.pieces.iter().filter(|_| clipped) {
        let (source, result) = (&chunk.pruned[piece.range.clone()], &chunk.result[piece.range.clone()]);
        sums.errors.clipped_error += beyond_the_ends(source, result, &piece.levels);
    }
    if let Some(scales) = &mut sums.scales {
        let begun = chunk.pieces.iter().filter(|piece| piece.begins);
        scales.add(begun.filter_map(|piece| piece.levels.scale()).map(Real::to_f64));
    }
    if let Some(after) = &mut sums.after {
        after.add(&chunk.result);
    }
}

/// Counts the codes as they will be stored.
fn count_stored<T: Real>(task: &Task<'_>, sums: &mut Sums, chunk: &Chunk<T>) -> Result<(), Error> {
    let code = size::code_of(task.scheme);
    sums.bytes.clear();
    chunk.stored_codes(task, code, &mut sums.scratch, &mut sums.bytes)?;
    let counts = sums.stored.get_or_insert_with(|| Box::new(CodeCounts::at(chunk.range.start)));
    let width = code.width(size::stored_dtype(task.tensor.dtype, task.scheme));
    counts.add(&chunk.result, &sums.bytes, width, size::zero_codes(task.outcome()));
    Ok(())
}

fn join(mut sum: Sums, next: Sums) -> Sums {
    sum.errors = sum.errors.merge(next.errors);
    sum.gaps = sum.gaps.merge(next.gaps);
    sum.codes.iter_mut().zip(next.codes).for_each(|(a, b)| *a += b);
    sum.stored = match (sum.stored, next.stored) {
        (Some(a), Some(b)) => Some(Box::new(a.merge(*b))),
        (a, b) => a.or(b),
    };
    sum.scales = sum.scales.zip(next.scales).map(|(all, more)| all.join(more));
    if let (Some(after), Some(more)) = (&mut sum.after, &next.after) {
        after.merge(more);
    }
    sum
}
