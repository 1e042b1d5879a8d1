//! A tensor's Profile: all that is needed to answer a dial without touching the weights again.
//!
//! ```text
//! one pass ─► moments · gaps · value table · sketches (32, 64, 128, row) · row ranges ─► a sample, drawn by energy ─► checked
//! ```
//!
//! A profile is made once per tensor in the background ([`build`]), first from a spread sample ([`coarse`]), then from every
//! weight; it is kept on disk ([`cache`]). What a dial position comes to is worked out from it in `estimate::live`.
//!
//! | file | what it settles |
//! |---|---|
//! | [`values`] | the value table: quantiles, thresholds, energies, per-tensor grids |
//! | [`rank`] | quantiles and best clips of single rows |
//! | [`sample`] | groups drawn in proportion to energy, and estimates over them with their standard error |
//! | [`build`] | the fused pass |
//! | [`coarse`] | the first answer, from a few rows |
//! | [`check`] | whether the sketches may be trusted on this tensor, width by width |
//! | [`tables`] | grids tried on the drawn groups at every width: pruned, with a zero point, clipped |
//! | `unit_share` | which percentile a clip is |
//! | [`codec`] | a profile as bytes |
//! | [`cache`] | profiles on disk: keyed, bounded, never trusted when anything differs |

pub mod build;
pub mod cache;
pub mod check;
pub mod coarse;
pub mod codec;
pub mod rank;
pub mod sample;
pub mod tables;
mod unit_share;
pub mod values;

pub use build::{profile_model, profile_tensor};
pub use cache::Cache;
pub use coarse::coarse_profile;
pub use sample::{Sample, Segment};
pub use tables::{Kind, Tables};
pub use unit_share::percentile_of_clip;
pub use values::{Cut, ValueTable};

use crate::formats::Dtype;
use crate::kernels::entropy::Gaps;
use crate::kernels::layout::Unit;
use crate::kernels::quant::{Extent, Grid};
use crate::kernels::sketch::{Sketch, level_table};
use crate::kernels::stats::Moments;
use crate::model::{Model, Tensor};
use check::Checks;

/// Tensors below this many elements need no sketch: the exact kernel is as quick.
pub const SMALL: usize = 1 << 16;

/// Why a profile could not be made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum Error {
    #[error(transparent)]
    Format(#[from] crate::formats::Error),
    #[error("cancelled")]
    Cancelled,
}

/// The group sizes that have a sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "a grain is its group size")]
pub enum Grain {
    G32,
    G64,
    G128,
    Row,
}

impl Grain {
    /// All of them, finest first.
    pub const ALL: [Self; 4] = [Self::G32, Self::G64, Self::G128, Self::Row];

    /// The grain of a unit; `None` for the whole tensor, which the value table serves.
    #[must_use]
    pub const fn of(unit: Unit) -> Option<Self> {
        match unit {
            Unit::Group(32) => Some(Self::G32),
            Unit::Group(64) => Some(Self::G64),
            Unit::Group(128) => Some(Self::G128),
            Unit::Row => Some(Self::Row),
            Unit::Tensor | Unit::Group(_) => None,
        }
    }

    /// Its group size; `None` for rows.
    #[must_use]
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::G32 => Some(32),
            Self::G64 => Some(64),
            Self::G128 => Some(128),
            Self::Row => None,
        }
    }
}

/// What is known of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Whether it is from a spread sample rather than from every weight.
    pub coarse: bool,
    /// Counts, extremes, mean, spread, energy.
    pub moments: Moments,
    /// Gaps of zeros before nonzeros.
    pub gaps: Gaps,
    /// How often each magnitude occurs.
    pub table: ValueTable,
    /// Least and greatest value of every row, zero included; empty when the tensor is small or not to be touched.
    pub rows: Vec<[f32; 2]>,
    /// Σw² of each index of dimensions 0 and 1, for structured pruning; empty where `rows` is, and for rows longer than a chunk.
    pub energies: [Vec<f32>; 2],
    /// One per [`Grain`]; `None` where there is none (small tensors, rows longer than a chunk).
    pub sketches: [Option<Sketch>; 4],
    /// 10th percentile, median and 90th percentile of max|w| over the groups of each grain.
    pub peaks: [[f32; 3]; 4],
    /// Groups to answer from where no sketch can.
    pub sample: Option<Sample>,
    /// Σ(w − q)² of int7 and int8 by grain, summed in the pass itself: at these widths 16-bit weights show their own lattice
    /// through a sketch, and its bins are coarse for a few heavy rows. NaN where they were not.
    pub direct: [[f64; 2]; 4],
    /// Σ(w − q)² of casts to f16 and bf16, summed in the pass itself; NaN where they were not.
    pub casts: [f64; 2],
    /// What the sketches are worth on this tensor.
    pub checks: Checks,
    /// What every symmetric width comes to, by grain and width, worked out once: a dial is then a look-up.
    pub grids: Grids,
    /// What grids come to that no sketch can say; `None` where there is no sample, and in a guess.
    pub tables: Option<Tables>,
}

/// By [`Grain`], then the whole tensor; by width from int2.
pub type Grids = [[Option<GridAnswer>; check::WIDTHS]; 5];

/// What a symmetric grid comes to on a tensor that is not pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GridAnswer {
    /// Σ(w − q)².
    pub squared_error: f64,
    /// Σq².
    pub energy_after: f64,
    /// Elements with q = 0.
    pub zeros: f64,
    /// n·H0 of the codes, in bits.
    pub code_bits: f64,
}

impl GridAnswer {
    /// From the sums and how many elements stand on each level's magnitude; `positive` of those not zero are above it.
    #[must_use]
    pub fn new([squared_error, energy_after]: [f64; 2], levels: &[f64], positive: f64) -> Self {
        let zeros = levels.first().copied().unwrap_or_default();
        let code_bits = signed_entropy(levels, positive);
        Self { squared_error, energy_after, zeros, code_bits }
    }
}

/// n·H0 in bits of signed codes: that of their magnitudes, and of the signs of those not zero.
#[must_use]
pub fn signed_entropy(levels: &[f64], positive: f64) -> f64 {
    let total: f64 = levels.iter().sum();
    let bits = |count: f64, of: f64| if count > 0.0 { count * (of / count).log2() } else { 0.0 };
    let magnitudes: f64 = levels.iter().map(|&count| bits(count, total)).sum();
    let nonzero = total - levels.first().copied().unwrap_or_default();
    magnitudes + bits(nonzero * positive, nonzero) + bits(nonzero * (1.0 - positive), nonzero)
}

impl Profile {
    /// The sketch of a grain, where it may be trusted at these bits.
    #[must_use]
    pub fn trusted_sketch(&self, grain: Grain, bits: u32) -> Option<&Sketch> {
        self.sketches[grain as usize].as_ref().filter(|_| self.checks.trusts(grain, bits))
    }

    /// Works out what every symmetric width comes to from sketches and value table.
    #[must_use]
    pub fn with_grids(mut self) -> Self {
        let positive = self.table.positive_share();
        for bits in 2..=8 {
            let (at, table) = (bits as usize - 2, level_table(bits));
            for grain in Grain::ALL {
                let sketch = self.trusted_sketch(grain, bits);
                let mut answer = sketch.map(|s| GridAnswer::new(s.errors(table), &s.level_counts(table), positive));
                let direct = bits.checked_sub(7).map(|at| self.direct[grain as usize][at as usize]);
                if let (Some(answer), Some(direct)) = (&mut answer, direct.filter(|sum| sum.is_finite())) {
                    answer.squared_error = direct;
                }
                self.grids[grain as usize][at] = answer;
            }
            let peak = self.moments.abs_max() as f32;
            if self.sample.is_some() && !self.coarse {
                let grid = Grid::new(bits, false, Extent { low: -peak, high: peak });
                self.grids[4][at] = grid.filter(|g| g.scale > 0.0).map(|grid| {
                    let (sums, levels) = self.table.on_levels(Cut::NOTHING, false, grid.scale, table.top);
                    GridAnswer::new(sums, &levels, positive)
                });
            }
        }
        self
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let sketches = self.sketches.iter().flatten().map(|s| 4 * (s.weights.len() + s.below.len())).sum::<usize>();
        let sample = self.sample.as_ref().map_or(0, Sample::heap_bytes);
        let tables = self.tables.as_ref().map_or(0, |t| (t.plain.len() + t.pruned.len()) * size_of::<tables::Cell>());
        let energies = 4 * self.energies.iter().map(Vec::len).sum::<usize>();
        self.table.heap_bytes() + 8 * self.rows.len() + energies + sketches + sample + tables
    }
}

/// Whether a tensor gets sketches and a sample besides its statistics.
#[must_use]
pub fn is_sketched(tensor: &Tensor) -> bool {
    tensor.elements() >= SMALL && tensor.is_touchable()
}

/// Whether every value of a dtype is told by the upper 16 bits of its f32.
#[must_use]
pub(crate) fn is_told_by_upper_bits(tensor: &Tensor) -> bool {
    // Integer codes times a scale are plain f32 numbers.
    let plain = tensor.coding.is_none();
    plain && (tensor.dtype == Dtype::BF16 || tensor.dtype.bits() == 8)
}

/// Elements that the samples of all tensors of a model may hold together: 64 MiB of f32.
const SAMPLED_IN_ALL: usize = 16 << 20;
/// Elements in one tensor's sample at least and at most.
const SAMPLED: std::ops::RangeInclusive<usize> = 6 << 10..=64 << 10;

/// How many elements each tensor's sample may hold.
#[must_use]
pub fn sample_size(model: &Model) -> usize {
    let sketched = model.tensors.iter().filter(|t| is_sketched(t)).count().max(1);
    (SAMPLED_IN_ALL / sketched).clamp(*SAMPLED.start(), *SAMPLED.end())
}
