//! Elements that lie in strides, put in row-major order: any part of a transposed, sliced or expanded array at any time.
//!
//! ```text
//! storage     0 1 2 3 4 5        shape [2, 3], strides [1, 2]: the transpose of [3, 2]
//! view        0 2 4 | 1 3 5
//! ```
//!
//! The elements wanted are cut into boxes, and of each box runs are fetched along the dimension that lies closest in storage, so
//! that a transposed matrix costs one fetch for some rows of a column and not one for each element.

use std::ops::Range;

/// Runs that are fetched with what lies between their elements: those of a stride up to this.
const CLOSE: usize = 8;

/// Bytes of a run that are fetched at a time.
const PIECE: usize = 1 << 16;

/// How an array lies in its storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Strided {
    /// Dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements from one index of a dimension to the next, as many as there are dimensions.
    pub strides: Vec<usize>,
    /// Bytes of one element.
    pub width: usize,
}

/// A dimension with more than one index.
#[derive(Clone, Copy, Debug)]
struct Dim {
    extent: usize,
    /// In the storage, in elements.
    stride: usize,
}

impl Strided {
    /// Elements; `None` past the machine's numbers, and when there is not one stride for each dimension.
    #[must_use]
    pub fn elements(&self) -> Option<usize> {
        let known = self.shape.len() == self.strides.len();
        known.then(|| self.shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)))?
    }

    /// Bytes from the first element to the end of the last in storage, 0 when there is none; `None` past 2^64.
    #[must_use]
    pub fn span(&self) -> Option<u64> {
        if self.elements()? == 0 {
            return Some(0);
        }
        let reach = |(&d, &s): (&usize, &usize)| (d as u64 - 1).checked_mul(s as u64);
        let last = self.shape.iter().zip(&self.strides).try_fold(0_u64, |sum, dim| sum.checked_add(reach(dim)?))?;
        last.checked_add(1)?.checked_mul(self.width as u64)
    }

    /// Whether the elements lie one behind the other in row-major order.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        let dims = self.dims();
        self.elements() == Some(0) || matches!(dims.as_slice(), [] | [Dim { stride: 1, .. }])
    }

    /// The dimensions that matter: those of one index are dropped, and neighbours that lie as one are joined.
    fn dims(&self) -> Vec<Dim> {
        let mut dims: Vec<Dim> = Vec::with_capacity(self.shape.len());
        for (&extent, &stride) in self.shape.iter().zip(&self.strides).filter(|(extent, _)| **extent != 1) {
            match dims.last_mut() {
                Some(outer) if Some(outer.stride) == stride.checked_mul(extent) => {
                    *outer = Dim { extent: outer.extent * extent, stride };
                }
                _ => dims.push(Dim { extent, stride }),
            }
        }
        dims
    }

    /// Elements `range` (flat, row-major) as bytes: `fetch` fills a slice with what lies so many bytes after element 0. `out`
    /// has room for just these elements, and the array's [`Strided::span`] is known.
    ///
    /// # Errors
    /// The first that `fetch` has.
    pub fn gather<E>(
        &self,
        range: Range<usize>,
        out: &mut [u8],
        mut fetch: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if range.is_empty() {
            return Ok(());
        }
        let mut gathering = Gathering { width: self.width, piece: Vec::new(), fetch: &mut fetch };
        gathering.part(&self.dims(), range, 0, out)
    }
}

/// A gathering on its way.
struct Gathering<'f, F> {
    width: usize,
    /// What was fetched of a run.
    piece: Vec<u8>,
    fetch: &'f mut F,
}

impl<E, F: FnMut(u64, &mut [u8]) -> Result<(), E>> Gathering<'_, F> {
    /// Elements `range` of the array that `dims` span from element `base` of the storage: what is begun, whole indices of the
    /// first dimension, what is left.
    fn part(&mut self, dims: &[Dim], range: Range<usize>, base: usize, out: &mut [u8]) -> Result<(), E> {
        let Some((first, inner)) = dims.split_first() else { return self.run(base, out) };
        let size: usize = inner.iter().map(|dim| dim.extent).product();
        let mut at = range.start;
        let mut rest = out;
        while at < range.end {
            let (index, within) = (at / size, at % size);
            let whole = if within == 0 { (range.end - at) / size } else { 0 };
            let from = base + index * first.stride;
            let taken = if whole > 0 { whole * size } else { (size - within).min(range.end - at) };
            let (now, later) = rest.split_at_mut(taken * self.width);
            if whole > 0 {
                let mut dims = dims.to_vec();
                dims[0].extent = whole;
                self.whole(&dims, from, now)?;
            } else {
                self.part(inner, within..within + taken, from, now)?;
            }
            (rest, at) = (later, at + taken);
        }
        Ok(())
    }

    /// A box: all that `dims` span.
    fn whole(&mut self, dims: &[Dim], base: usize, out: &mut [u8]) -> Result<(), E> {
        let closest = dims.iter().enumerate().filter(|(_, dim)| dim.extent > 1 && dim.stride > 0);
        let run = closest.min_by_key(|(_, dim)| dim.stride).map(|(at, _)| at);
        // Elements of the box from one index of a dimension to the next.
        let mut steps = vec![1; dims.len()];
        (0..dims.len().saturating_sub(1)).rev().for_each(|i| steps[i] = steps[i + 1] * dims[i + 1].extent);
        let others: Vec<(Dim, usize)> =
            (0..dims.len()).filter(|&i| Some(i) != run).map(|i| (dims[i], steps[i])).collect();
        let along = run.map_or((Dim { extent: 1, stride: 1 }, 1), |i| (dims[i], steps[i]));
        let mut index = vec![0; others.len()];
        loop {
            let place =
                |of: fn(&(Dim, usize)) -> usize| index.iter().zip(&others).map(|(i, o)| i * of(o)).sum::<usize>();
            self.scatter(along, base + place(|o| o.0.stride), &mut out[place(|o| o.1) * self.width..])?;
            let Some(turned) = (0..others.len()).rev().find(|&i| index[i] + 1 < others[i].0.extent) else {
                return Ok(());
            };
            index[turned] += 1;
            index[turned + 1..].fill(0);
        }
    }

    /// One run: from element `base` of the storage on, into every `step`-th element of `out`.
    fn scatter(&mut self, (run, step): (Dim, usize), base: usize, out: &mut [u8]) -> Result<(), E> {
        let width = self.width;
        if run.stride == 1 && step == 1 {
            return self.run(base, &mut out[..run.extent * width]);
        }
        let elements = if run.stride > CLOSE { 1 } else { (PIECE / (run.stride * width).max(1)).max(1) };
        let mut at = 0;
        let mut piece = std::mem::take(&mut self.piece);
        while at < run.extent {
            let taken = elements.min(run.extent - at);
            piece.resize(((taken - 1) * run.stride + 1) * width, 0);
            self.run(base + at * run.stride, &mut piece)?;
            for i in 0..taken {
                out[(at + i) * step * width..][..width].copy_from_slice(&piece[i * run.stride * width..][..width]);
            }
            at += taken;
        }
        self.piece = piece;
        Ok(())
    }

    fn run(&mut self, base: usize, out: &mut [u8]) -> Result<(), E> {
        (self.fetch)(base as u64 * self.width as u64, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    /// The definition: each element from where its indices say.
    fn plain(strided: &Strided, storage: &[u8], range: Range<usize>) -> Vec<u8> {
        let element = |flat: usize| {
            let (mut left, mut place) = (flat, 0);
            for (&extent, &stride) in strided.shape.iter().zip(&strided.strides).rev() {
                place += left % extent * stride;
                left /= extent;
            }
            &storage[place * strided.width..][..strided.width]
        };
        range.flat_map(element).copied().collect()
    }

    fn gathered(strided: &Strided, storage: &[u8], range: Range<usize>) -> (Vec<u8>, usize) {
        let (mut out, mut fetches) = (vec![0; range.len() * strided.width], 0);
        let fetch = |at: u64, into: &mut [u8]| {
            fetches += 1;
            into.copy_from_slice(&storage[at as usize..][..into.len()]);
            Ok::<_, Infallible>(())
        };
        strided.gather(range, &mut out, fetch).unwrap();
        (out, fetches)
    }

    proptest! {
        #[test]
        fn any_part_of_any_view_is_what_its_indices_say(
            dims in prop::collection::vec((1_usize..6, 0_usize..12), 0..5),
            width in prop::sample::select(vec![1_usize, 2, 4, 8]),
            (from, to) in (0.0..1.0, 0.0..1.0),
        ) {
            let (shape, strides) = dims.into_iter().unzip();
            let strided = Strided { shape, strides, width };
            let storage: Vec<u8> = (0..strided.span().unwrap()).map(|i| (i * 37 % 251) as u8).collect();
            let n = strided.elements().unwrap();
            let (a, b) = ((n as f64 * from) as usize, (n as f64 * to) as usize);
            let range = a.min(b)..a.max(b);
            prop_assert_eq!(gathered(&strided, &storage, range.clone()).0, plain(&strided, &storage, range));
            prop_assert_eq!(gathered(&strided, &storage, 0..n).0, plain(&strided, &storage, 0..n));
        }
    }

    #[test]
    fn a_transposed_matrix_is_fetched_in_runs() {
        let strided = Strided { shape: vec![300, 200], strides: vec![1, 300], width: 4 };
        let storage: Vec<u8> = (0..240_000_u32).map(|i| (i % 253) as u8).collect();
        let (found, fetches) = gathered(&strided, &storage, 16 * 200..32 * 200);
        assert_eq!((found, fetches), (plain(&strided, &storage, 16 * 200..32 * 200), 200));
    }

    #[test]
    fn what_lies_in_order_is_told_from_what_does_not() {
        let of =
            |shape: &[usize], strides: &[usize]| Strided { shape: shape.into(), strides: strides.into(), width: 4 };
        for (shape, strides, contiguous, span) in [
            (&[][..], &[][..], true, Some(4)),
            (&[2, 3], &[3, 1], true, Some(24)),
            (&[2, 1, 3], &[3, 77, 1], true, Some(24)),
            (&[2, 3], &[1, 2], false, Some(24)),
            (&[2, 3], &[4, 1], false, Some(28)),
            (&[5], &[0], false, Some(4)),
            (&[0, 7], &[9, 9], true, Some(0)),
            (&[2, 2], &[usize::MAX, 1], false, None),
            (&[usize::MAX, 2], &[0, 0], false, None),
            (&[2], &[], false, None),
        ] {
            let view = of(shape, strides);
            assert_eq!(view.span(), span, "{shape:?} {strides:?}");
            assert!(span.is_none() || view.is_contiguous() == contiguous, "{shape:?} {strides:?}");
        }
    }
}
