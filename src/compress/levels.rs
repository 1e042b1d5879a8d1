//! The levels of each unit, over what pruning left: which scheme asks for which, and how they are fitted.
//!
//! A unit that lies within a chunk is fitted on the spot. One that is longer is fitted before the first chunk is made, by passes
//! that keep little (`fit` for integer grids, `centroids` for codebooks), as is what a whole tensor shares.

use super::centroids::long_codebook;
use super::fit::{Buffers, GridFit, by_pieces, extremes, long_extents};
use super::prepare::Prepared;
use super::{Error, Task};
use crate::kernels::Real;
use crate::kernels::best::best;
use crate::kernels::clip::Wanted;
use crate::kernels::codebook::{Codebook, Ordered, lloyd};
use crate::kernels::convert::{F8_E4M3, F8_E5M2, SmallFloat, round_small};
use crate::kernels::layout::Unit;
use crate::kernels::levels::Levels;
use crate::kernels::nf4::Normal;
use crate::kernels::quant::Extent;
use crate::kernels::signs::{Binary, Ternary};
use crate::kernels::small::{Scaled, mx_exponent, nv_global, nv_scale};
use crate::kernels::sum::Tally;
use crate::recipe::{Quantize, Target};
use std::sync::Arc;

/// How the levels of a scheme's units are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub unit: Unit,
    how: How,
    /// Whether elements that are 0 were pruned, and do not count.
    survivors: bool,
}

/// Which levels.
#[derive(Clone, Copy, Debug)]
enum How {
    Grid(GridFit),
    /// The largest number of the format stands for max|w|.
    Float {
        format: SmallFloat,
        /// What the scale is stored as, where that is no f32.
        scale: Option<SmallFloat>,
    },
    Mx,
    /// With the scale over the whole tensor.
    Nv(f32),
    Normal,
    Ternary,
    Binary,
    Codebook(Centroids),
}

/// Which centroids.
#[derive(Clone, Copy, Debug)]
pub(super) struct Centroids {
    /// How many.
    pub k: usize,
    /// The exact optimum instead of Lloyd's.
    pub best: bool,
    /// See [`Fit::survivors`].
    pub survivors: bool,
}

/// Where a scheme's own unit is the row, or the whole tensor.
fn row_or_tensor(row: bool) -> Unit {
    if row { Unit::Row } else { Unit::Tensor }
}

impl Fit {
    /// How a scheme finds its levels, with what the whole tensor shares still to be looked for; `None` when it has none.
    pub fn of(task: &Task<'_>) -> Option<Self> {
        let survivors = task.is_pruned();
        let scale = task.target.scale_format(task.tensor.dtype);
        let (unit, how) = match *task.scheme.quantize.as_ref()? {
            Quantize::Int { bits, unit, asymmetric, range, .. } => {
                let wanted = Wanted { bits, asymmetric, scale };
                let fit = GridFit { wanted, unit, range, survivors, biased: task.target == Target::Mlx };
                (unit, How::Grid(fit))
            }
            Quantize::Fp8 { e5m2, row: true } => {
                (Unit::Row, How::Float { format: if e5m2 { F8_E5M2 } else { F8_E4M3 }, scale })
            }
            Quantize::Mxfp4 => (Unit::Group(32), How::Mx),
            Quantize::Nvfp4 => (Unit::Group(16), How::Nv(1.0)),
            Quantize::Nf4(size) => (Unit::Group(size), How::Normal),
            Quantize::Ternary { row } => (row_or_tensor(row), How::Ternary),
            Quantize::Binary { row } => (row_or_tensor(row), How::Binary),
            Quantize::Codebook { k, row, best } => {
                (row_or_tensor(row), How::Codebook(Centroids { k: k as usize, best, survivors }))
            }
            Quantize::F16 | Quantize::Bf16 | Quantize::Fp8 { row: false, .. } | Quantize::Gguf(_) => return None,
        };
        Some(Self { unit, how, survivors })
    }

    /// The same with what the whole tensor shares. `None` when that does not fit its arithmetic.
    pub fn settled<T: Real>(self, task: &Task<'_>, prepared: &Prepared<T>) -> Result<Option<Self>, Error> {
        let How::Nv(_) = self.how else { return Ok(Some(self)) };
        let peaks = extremes(task, prepared, Unit::Tensor)?;
        let peak = peaks.first().copied().unwrap_or_default().abs_max();
        Ok(nv_global(peak).map(|global| Self { how: How::Nv(global), ..self }))
    }

    /// The levels of a unit that is at hand, all of it finite. `None` when its scale does not fit the arithmetic.
    pub fn levels<T: Real>(&self, values: &[T], buffers: &mut Buffers) -> Option<Levels<T>> {
        let peak = || Extent::of(values).abs_max();
        match self.how {
            How::Grid(fit) => fit.grid(values, buffers).map(Levels::Grid),
            How::Float { format, scale } => Some(of_peak(format, scale, peak())),
            How::Mx => mx_exponent(peak()).map(Levels::Mx),
            How::Nv(global) => nv_scale(peak(), global).map(|scale| Levels::Nv { scale, global }),
            How::Normal => Some(Levels::Normal(Normal { scale: peak() })),
            How::Ternary => {
                let threshold = Ternary::threshold(self.mean(Tally::above(values, T::ZERO), values.len()));
                ternary(threshold, Tally::above(values, threshold))
            }
            How::Binary => binary(self.mean(Tally::above(values, T::ZERO), values.len())),
            How::Codebook(wanted) => {
                let ordered = Ordered::of(wanted.counted(values).collect());
                let Ok(book) = wanted.of(&ordered, || Ok::<_, std::convert::Infallible>(()));
                Some(Levels::Codebook(Arc::new(book)))
            }
        }
    }

    /// The mean magnitude of a unit of `elements` whose nonzero ones add up to `above`.
    fn mean<T: Real>(&self, above: Tally, elements: usize) -> T {
        if self.survivors { above.mean() } else { above.mean_over(elements as u64) }
    }
}

fn of_peak<T: Real>(format: SmallFloat, stored: Option<SmallFloat>, peak: T) -> Levels<T> {
    let scale = peak.div(T::from_f64(format.max()));
    Levels::Float(Scaled { format, scale: stored.map_or(scale, |stored| round_small(stored, scale)) })
}

fn ternary<T: Real>(threshold: T, above: Tally) -> Option<Levels<T>> {
    let scale: T = above.mean();
    (threshold.is_finite() && scale.is_finite()).then_some(Levels::Ternary(Ternary { threshold, scale }))
}

fn binary<T: Real>(scale: T) -> Option<Levels<T>> {
    scale.is_finite().then_some(Levels::Binary(Binary { scale }))
}

impl Centroids {
    /// The values that count.
    pub fn counted<T: Real>(self, values: &[T]) -> impl Iterator<Item = T> {
        values.iter().copied().filter(move |w| !self.survivors || *w != T::ZERO)
    }

    /// The codebook of a unit whose values are in order.
    pub fn of<T: Real, E>(self, ordered: &Ordered<T>, mut go_on: impl FnMut() -> Result<(), E>) -> Result<Codebook, E> {
        let centroids = if self.best {
            best(ordered, self.k, go_on)?
        } else {
            lloyd(self.k, ordered.ends(), |bounds| go_on().map(|()| ordered.cells(bounds)))?
        };
        Ok(Codebook { centroids, zeros_apart: self.survivors })
    }
}

/// The levels of all units of a tensor some of whose units are longer than a chunk; an entry is `None` where a scale does not
/// fit the arithmetic.
pub(super) fn long_levels<T: Real>(
    task: &Task<'_>,
    prepared: &Prepared<T>,
    fit: Fit,
) -> Result<Vec<Option<Levels<T>>>, Error> {
    let geometry = prepared.geometry;
    let count = fit.unit.count(geometry);
    let elements = geometry.len() / count.max(1);
    let magnitudes = |bound: &(dyn Fn(usize) -> T + Sync)| -> Result<Vec<Tally>, Error> {
        let mut sums = vec![Tally::default(); count];
        for (unit, above) in by_pieces(task, prepared, fit.unit, |unit, values| Tally::above(values, bound(unit)))? {
            sums[unit] = sums[unit].merge(above);
        }
        Ok(sums)
    };
    Ok(match fit.how {
        How::Grid(grid) => {
            let extents = long_extents(task, prepared, grid)?;
            extents.into_iter().map(|extent| grid.grid_of(extent).map(Levels::Grid)).collect()
        }
        How::Float { format, scale } => {
            let extents = extremes(task, prepared, fit.unit)?;
            extents.into_iter().map(|extent: Extent<T>| Some(of_peak(format, scale, extent.abs_max()))).collect()
        }
        How::Ternary => {
            let means = magnitudes(&|_| T::ZERO)?;
            let thresholds: Vec<T> = means.iter().map(|m| Ternary::threshold(fit.mean(*m, elements))).collect();
            let above = magnitudes(&|unit| thresholds[unit])?;
            thresholds.into_iter().zip(above).map(|(threshold, above)| ternary(threshold, above)).collect()
        }
        How::Binary => magnitudes(&|_| T::ZERO)?.iter().map(|m| binary(fit.mean(*m, elements))).collect(),
        How::Codebook(wanted) => {
            let chunks = prepared.chunks().len();
            let of_unit = |unit: usize| {
                let span = unit * chunks / count..(unit + 1) * chunks / count;
                let book = long_codebook(task, prepared, span, elements, wanted)?;
                Ok(Some(Levels::Codebook(Arc::new(book))))
            };
            (0..count).map(of_unit).collect::<Result<_, Error>>()?
        }
        // Their units are groups, and no group is longer than a chunk.
        How::Mx | How::Nv(_) | How::Normal => Vec::new(),
    })
}
