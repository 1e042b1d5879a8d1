//! A tensor that lies in the file as two matrices: read as their product, any part of it at any time.
//!
//! An element is Σ left[i, r] · right[r, j] over r ascending in f64, rounded once to F32 (F64). Both matrices are decoded
//! when the first element is asked for, and kept: 8 bytes for each of their elements.

use super::{Model, Role, Scratch, Tensor};
use crate::formats::packed_layout::{Coding, Stored};
use crate::formats::{Dtype, Entry, Error};
use crate::kernels::Real;
use crate::kernels::svd::product::Pair;
use std::ops::Range;
use std::sync::OnceLock;

/// The two factors of a tensor.
#[derive(Debug)]
pub(super) struct Product {
    /// The left and the right one, each as if it were a tensor of its own.
    factors: [Tensor; 2],
    rank: usize,
    pair: OnceLock<Pair>,
}

impl Product {
    /// The factors of an entry that is stored as such.
    pub fn of(entry: &Entry, shard: usize) -> Option<Self> {
        let Stored::Factors(factors) = entry.packed.as_ref()?.stored else { return None };
        let whole = crate::kernels::layout::Geometry::of(&entry.shape);
        let (ranges, geometries) = (factors.ranges(whole), factors.geometries(whole));
        let part = |at: usize| Tensor {
            name: entry.name.clone(),
            dtype: factors.dtype,
            shape: vec![geometries[at].rows, geometries[at].cols],
            role: Role::Other,
            layer: String::new(),
            block: None,
            coding: Some(Coding { scheme: String::new(), stored: Stored::Codes(factors.matrices[at]) }),
            beside_scale: false,
            side_of_codes: false,
            product: None,
            shard,
            range: entry.range.start + ranges[at].start..entry.range.start + ranges[at].end,
            blocks: OnceLock::new(),
        };
        Some(Self { factors: [part(0), part(1)], rank: factors.rank, pair: OnceLock::new() })
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
        if product.pair.get().is_none() {
            let wide = tensor.dtype == Dtype::F64;
            let mut read = |factor: &Tensor| {
                if wide { self.decoded::<f64>(factor, scratch) } else { self.decoded::<f32>(factor, scratch) }
            };
            let [left, right] = &product.factors;
            // Another thread may have made the same meanwhile.
            drop(product.pair.set(Pair::new(read(left)?, &read(right)?, product.rank)));
        }
        let Some(pair) = product.pair.get() else { return Ok(()) };
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
