//! A tensor that lies in the file as two matrices: read as their product, any part of it at any time.
//!
//! An element is Σ left[i, r] · right[r, j] over r ascending in f64, rounded once to F32 (F64). Both matrices are decoded
//! when the first element is asked for, 8 bytes for each of their elements, and kept until others need the room.

use super::{Format, Model, Role, Scratch, Tensor};
use crate::formats::packed_layout::{Coding, Stored};
use crate::formats::{Dtype, Entry, Error};
use crate::kernels::Real;
use crate::kernels::svd::product::Pair;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes of decoded factors that are kept; those asked for longest ago go first.
const MOST: usize = 512 << 20;

/// The two factors of a tensor.
#[derive(Debug)]
pub(super) struct Product {
    /// The left and the right one, each as if it were a tensor of its own.
    factors: [Tensor; 2],
    rank: usize,
}

/// Decoded factors of a model's tensors, by where these lie: a bounded number of bytes of them.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// The one asked for last stands last.
    held: Mutex<Vec<(Place, Arc<Pair>)>>,
}

/// The file that a tensor is in, and where its payload begins there.
type Place = (usize, u64);

impl Pairs {
    fn find(&self, place: Place) -> Option<Arc<Pair>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let at = held.iter().position(|(other, _)| *other == place)?;
        let found = held.remove(at);
        let pair = found.1.clone();
        held.push(found);
        Some(pair)
    }

    /// Keeps a pair, and at least one for every thread: what is read in pieces must not be decoded for each.
    fn keep(&self, place: Place, pair: Arc<Pair>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(other, _)| *other != place);
        held.push((place, pair));
        let mut bytes: usize = held.iter().map(|(_, pair)| pair.heap_bytes()).sum();
        let mut gone = 0;
        while bytes > MOST && held.len() - gone > rayon::current_num_threads() {
            bytes -= held[gone].1.heap_bytes();
            gone += 1;
        }
        held.drain(..gone);
    }
}

impl Product {
    /// The factors of an entry that is stored as such.
    pub fn of(entry: &Entry, shard: usize) -> Option<Self> {
        let Stored::Factors(factors) = entry.packed.as_ref()?.stored else { return None };
        let whole = crate::kernels::layout::Geometry::of(&entry.shape);
        let (ranges, geometries) = (factors.ranges(whole), factors.geometries(whole));
        let part = |at: usize| Tensor {
            also: Vec::new(),
            name: entry.name.clone(),
            dtype: factors.dtype,
            shape: vec![geometries[at].rows, geometries[at].cols],
            role: Role::Other,
            layer: String::new(),
            block: None,
            coding: Some(Coding { scheme: String::new(), stored: Stored::Codes(factors.matrices[at]) }),
            container: Format::Packed,
            block_type: None,
            assembled: None,
            requantized: false,
            beside_scale: false,
            side_of_codes: false,
            product: None,
            shard,
            range: entry.range.start + ranges[at].start..entry.range.start + ranges[at].end,
            blocks: OnceLock::new(),
        };
        Some(Self { factors: [part(0), part(1)], rank: factors.rank })
    }
}

impl Model {
    pub(super) fn product_values<T: Real>(
        &self,
        tensor: &Tensor,
        product: &Product,
        range: Range<usize>,
        out: &mut Vec<T>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let place = (tensor.shard, tensor.range.start);
        let pair = if let Some(pair) = self.pairs.find(place) {
            pair
        } else {
            let wide = tensor.dtype == Dtype::F64;
            let mut read = |factor: &Tensor| {
                if wide { self.decoded::<f64>(factor, scratch) } else { self.decoded::<f32>(factor, scratch) }
            };
            let [left, right] = &product.factors;
            // Another thread may make the same meanwhile.
            let pair = Arc::new(Pair::new(read(left)?, &read(right)?, product.rank));
            self.pairs.keep(place, pair.clone());
            pair
        };
        let dtype = if tensor.dtype == Dtype::F64 { Dtype::F64 } else { Dtype::F32 };
        out.extend(pair.values(range).into_iter().map(|sum| T::from_f64(dtype.rounded(sum))));
        Ok(())
    }

    /// All elements of a factor, in the arithmetic of its tensor.
    fn decoded<T: Real>(&self, factor: &Tensor, scratch: &mut Scratch) -> Result<Vec<f64>, Error> {
        let (mut all, mut values) = (Vec::with_capacity(factor.elements()), Vec::<T>::new());
        for range in factor.geometry().chunks() {
            self.values(factor, range, &mut values, scratch)?;
            all.extend(values.iter().map(|value| value.to_f64()));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factors_asked_for_longest_ago_go_and_every_thread_keeps_its_own() {
        let pairs = Pairs::default();
        let large = |elements: usize| Arc::new(Pair::new(vec![0.0; elements], &[0.0], 1));
        let threads = rayon::current_num_threads();
        for i in 0..threads as u64 + 3 {
            pairs.keep((0, i), large(MOST / 8 / (threads + 1)));
            assert!(pairs.find((0, 0)).is_some());
        }
        assert!(pairs.find((0, 1)).is_none() && pairs.find((0, threads as u64 + 2)).is_some());
        let held = pairs.held.lock().unwrap();
        assert_eq!(held.len(), threads);
    }
}
