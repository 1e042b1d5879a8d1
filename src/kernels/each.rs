//! The loop that most levels share: element after element a code and a value, compiled for every instruction set. What has
//! tables to be laid out before the first element has a kernel of its own.

use super::Real;
use super::dispatch::{self, Kernel};

/// What makes a code and a value of one finite element.
pub(super) trait Quantizer<T>: Copy {
    /// Must be `#[inline(always)]`, as [`Kernel::run`] is.
    fn one(&self, w: T) -> (i32, T);
}

/// A quantizer at work on a run of elements.
pub(super) struct Each<'a, T, Q> {
    pub quantizer: Q,
    pub values: &'a [T],
    pub codes: &'a mut [i32],
    pub results: &'a mut [T],
}

/// Codes and values of finite elements.
pub(super) fn quantize<T: Real>(quantizer: impl Quantizer<T>, values: &[T], codes: &mut [i32], results: &mut [T]) {
    dispatch::run(Each { quantizer, values, codes, results });
}

impl<T: Real, Q: Quantizer<T>> Kernel for Each<'_, T, Q> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((&w, code), result) in self.values.iter().zip(self.codes.iter_mut()).zip(self.results.iter_mut()) {
            (*code, *result) = self.quantizer.one(w);
        }
    }
}
