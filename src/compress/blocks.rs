//! Blocks of rows × columns that pruning zeroes whole: the least sums of squares, of equals the first in row-major order.
//!
//! ```text
//! rows in blocks of H, columns in blocks of W; blocks at the right and lower edge hold what there is
//! energies in a pass ─► the k-th smallest by its digits ─► one bit per block: does it go?
//! ```
//!
//! A block spans chunks wherever it is higher than they are, so its fate is settled before the first chunk. Energies are kept
//! where they are few, and worked out again for every digit where they would fill the memory.

use super::prepare::{counted_in_runs, descend};
use super::{Error, Task};
use crate::kernels::Real;
use crate::kernels::layout::{CHUNK, Geometry};
use crate::kernels::select::{DIGITS, DigitTable, Select};
use crate::model::Scratch;
use crate::recipe::Decimal;
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// Energies that are kept: 32 MiB of them.
const KEPT: usize = 1 << 22;

/// Which blocks of a tensor go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    grid: BlockGrid,
    /// A bit per block, row by row.
    gone: Vec<u64>,
}

/// How a tensor is cut into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BlockGrid {
    geometry: Geometry,
    height: usize,
    width: usize,
}

impl BlockGrid {
    /// Blocks side by side.
    fn per_band(self) -> usize {
        self.geometry.cols.div_ceil(self.width)
    }

    /// Bands of blocks, one below the other.
    fn bands(self) -> usize {
        self.geometry.rows.div_ceil(self.height)
    }

    fn count(self) -> usize {
        if self.geometry.is_empty() { 0 } else { self.bands() * self.per_band() }
    }

    /// Pieces of blocks in a flat range of elements, in order: the block's index and the elements.
    fn pieces(self, range: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let (cols, per_band) = (self.geometry.cols, self.per_band());
        let mut at = range.start;
        std::iter::from_fn(move || {
            (at < range.end).then(|| {
                let (row, col) = (at / cols, at % cols);
                let left = (self.width - col % self.width).min(cols - col).min(range.end - at);
                let piece = at..at + left;
                at = piece.end;
                (row / self.height * per_band + col / self.width, piece)
            })
        })
    }

    /// Runs of blocks that are summed at once: some whole bands, or a part of one that is larger than a chunk.
    fn parts(self) -> Vec<Range<usize>> {
        let (count, per_band) = (self.count(), self.per_band());
        let of_band = self.height.saturating_mul(self.geometry.cols);
        if count == 0 || of_band <= CHUNK {
            let step = per_band * (CHUNK / of_band.max(1)).max(1);
            return (0..count).step_by(step.max(1)).map(|start| start..(start + step).min(count)).collect();
        }
        let step = (CHUNK / self.width).max(1);
        let part = |band: usize| {
            let end = (band + 1) * per_band;
            (end - per_band..end).step_by(step).map(move |start| start..(start + step).min(end))
        };
        (0..self.bands()).flat_map(part).collect()
    }

    /// The rows and columns of a run of blocks from [`BlockGrid::parts`].
    fn extent(self, blocks: &Range<usize>) -> (Range<usize>, Range<usize>) {
        let per_band = self.per_band();
        let (first, last) = (blocks.start / per_band, (blocks.end - 1) / per_band);
        let rows = first * self.height..((last + 1) * self.height).min(self.geometry.rows);
        let end = if last > first { per_band } else { (blocks.end - 1) % per_band + 1 };
        let cols = blocks.start % per_band * self.width..(end * self.width).min(self.geometry.cols);
        (rows, cols)
    }
}

/// Energies of all blocks: kept, or worked out whenever they are asked for.
struct Energies<'a, T> {
    task: &'a Task<'a>,
    grid: BlockGrid,
    parts: Vec<Range<usize>>,
    kept: Option<Vec<f64>>,
    arithmetic: PhantomData<T>,
}

impl<'a, T: Real> Energies<'a, T> {
    fn new(task: &'a Task<'a>, grid: BlockGrid, most_kept: usize) -> Result<Self, Error> {
        let mut all = Self { task, grid, parts: grid.parts(), kept: None, arithmetic: PhantomData };
        if grid.count() <= most_kept {
            let parts: Result<Vec<Vec<f64>>, Error> = all.parts.par_iter().map(|part| all.of(part)).collect();
            all.kept = Some(parts?.concat());
        }
        Ok(all)
    }

    /// Counts of the current digit over all blocks.
    fn digits(&self, select: &Select) -> Result<DigitTable, Error> {
        let count = |energies: &[f64], table: &mut DigitTable| {
            select.count_keys(energies.iter().map(|energy| energy.to_bits()), table);
        };
        if let Some(energies) = &self.kept {
            let mut table = vec![0; DIGITS];
            count(energies, &mut table);
            return Ok(table);
        }
        counted_in_runs(&self.parts, DIGITS, |parts, table| {
            for part in parts {
                count(&self.of(part)?, table);
            }
            Ok(())
        })
    }

    /// Hands the energies to `sink`, in order.
    fn each(&self, mut sink: impl FnMut(&[f64])) -> Result<(), Error> {
        if let Some(energies) = &self.kept {
            sink(energies);
            return Ok(());
        }
        for batch in self.parts.chunks(4 * rayon::current_num_threads()) {
            let parts: Result<Vec<Vec<f64>>, Error> = batch.par_iter().map(|part| self.of(part)).collect();
            parts?.iter().for_each(|energies| sink(energies));
        }
        Ok(())
    }

    /// Σw² over the finite elements of a run of blocks, row by row from the top, so that equal blocks have equal sums wherever
    /// they stand.
    fn of(&self, blocks: &Range<usize>) -> Result<Vec<f64>, Error> {
        let (rows, cols) = self.grid.extent(blocks);
        let width = self.grid.geometry.cols;
        let mut energies = vec![0.0; blocks.len()];
        let (mut values, mut scratch) = (Vec::<T>::new(), Scratch::default());
        let at_once = if cols.len() == width { (CHUNK / width).max(1) } else { 1 };
        for row in rows.clone().step_by(at_once) {
            let end = (row + at_once).min(rows.end);
            let stretch = row * width + cols.start..(end - 1) * width + cols.end;
            for start in stretch.clone().step_by(CHUNK) {
                self.task.check_cancelled()?;
                let range = start..(start + CHUNK).min(stretch.end);
                self.task.values(range.clone(), &mut values, &mut scratch)?;
                for (block, piece) in self.grid.pieces(range) {
                    let squares = values[piece.start - start..piece.end - start].iter().filter(|v| v.is_finite());
                    energies[block - blocks.start] += squares.map(|v| v.to_f64() * v.to_f64()).sum::<f64>();
                }
            }
        }
        Ok(energies)
    }
}

impl Blocks {
    /// Settles which blocks go; `None` when none does.
    ///
    /// # Errors
    /// When the tensor cannot be read, or the work is cancelled.
    pub fn find<T: Real>(task: &Task<'_>, height: u32, width: u32, share: Decimal) -> Result<Option<Self>, Error> {
        Self::keeping::<T>(task, height, width, share, KEPT)
    }

    fn keeping<T: Real>(
        task: &Task<'_>,
        height: u32,
        width: u32,
        share: Decimal,
        most_kept: usize,
    ) -> Result<Option<Self>, Error> {
        let geometry = task.geometry();
        let side = |blocks: u32, of: usize| usize::try_from(blocks).unwrap_or(usize::MAX).min(of).max(1);
        let grid = BlockGrid { geometry, height: side(height, geometry.rows), width: side(width, geometry.cols) };
        let k = share.share_of(grid.count() as u64);
        if k == 0 {
            return Ok(None);
        }
        let energies = Energies::<T>::new(task, grid, most_kept)?;
        let threshold = descend(f64::KEY_BITS, |_| k, |select| energies.digits(select))?;
        let Some(threshold) = threshold else { return Ok(None) };
        let mut gone = vec![0; grid.count().div_ceil(64)];
        let (mut block, mut ties) = (0, 0);
        energies.each(|energies| {
            for energy in energies {
                let key = energy.to_bits();
                let tied = key == threshold.key;
                let goes = key < threshold.key || (tied && ties < threshold.ties);
                ties += u64::from(tied);
                gone[block / 64] |= u64::from(goes) << (block % 64);
                block += 1;
            }
        })?;
        Ok(Some(Self { grid, gone }))
    }

    fn goes(&self, block: usize) -> bool {
        self.gone.get(block / 64).is_some_and(|bits| bits >> (block % 64) & 1 == 1)
    }

    /// Zeroes what lies in blocks that go; NaN, infinities and zeros stay as they are.
    pub fn apply<T: Real>(&self, range: Range<usize>, values: &mut [T]) {
        let start = range.start;
        for (block, piece) in self.grid.pieces(range) {
            if self.goes(block) {
                let values = &mut values[piece.start - start..piece.end - start];
                values.iter_mut().filter(|v| v.is_finite() && **v != T::ZERO).for_each(|v| *v = T::ZERO);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Joint;
    use crate::control::Control;
    use crate::model::{OpenOptions, open};
    use crate::recipe::{Plan, Recipe};
    use std::path::Path;

    #[test]
    fn energies_that_are_not_kept_settle_the_same_blocks() {
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        let mut recipe = Recipe::default();
        recipe.set(&model, "fc1.weight=block:1x1:0.5").unwrap();
        let plan = Plan::new(&model, &recipe, false).unwrap();
        let (control, index) = (Control::default(), model.find("fc1.weight").unwrap());
        let joint = Joint::new(&model, &plan, &control).unwrap();
        let task = joint.task(&model, &plan, index, &control);
        for (height, width) in [(1, 1), (4, 4), (7, 13), (300, 1), (1, 784), (150, 500), (u32::MAX, u32::MAX)] {
            for share in ["0.1", "0.5", "0.99"] {
                let share = Decimal::parse(share).unwrap();
                let kept = Blocks::keeping::<f32>(&task, height, width, share, KEPT).unwrap();
                let again = Blocks::keeping::<f32>(&task, height, width, share, 0).unwrap();
                assert_eq!(kept, again, "{height}x{width}");
                let gone = kept.map_or(0, |blocks| blocks.gone.iter().map(|bits| u64::from(bits.count_ones())).sum());
                let grid = BlockGrid {
                    geometry: task.geometry(),
                    height: height.min(300) as usize,
                    width: width.min(784) as usize,
                };
                assert_eq!(gone, share.share_of(grid.count() as u64));
            }
        }
    }

    #[test]
    fn every_element_is_in_one_block_and_every_block_in_one_part() {
        for (rows, cols, height, width) in [(5, 7, 2, 3), (300, 784, 4, 4), (3, 200_000, 2, 70_000), (40, 5000, 40, 7)]
        {
            let grid = BlockGrid { geometry: Geometry { rows, cols }, height, width };
            let (mut next, mut elements) = (0, vec![0_usize; grid.count()]);
            for part in grid.parts() {
                assert_eq!(part.start, next);
                let (rows, cols) = grid.extent(&part);
                assert!(rows.len() * cols.len() > 0);
                next = part.end;
            }
            assert_eq!(next, grid.count());
            for range in grid.geometry.chunks() {
                grid.pieces(range).for_each(|(block, piece)| elements[block] += piece.len());
            }
            assert_eq!(elements.iter().sum::<usize>(), rows * cols);
            assert_eq!(elements[0], height.min(rows) * width.min(cols));
        }
    }
}
