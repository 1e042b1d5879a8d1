//! The group-normalised sketch: where weights lie within their group's range, weighted by how much that range counts.
//!
//! For each group u = |w| / max|w| falls into [`BINS`] equal bins over [0, 1). A bin keeps Σ max|w|² and a count, so that
//! Σ(w − q)² of *any* symmetric grid shared by all groups is one dot product with a table of mean errors per bin. The end
//! |u| = 1, which is a level of every such grid, and exact zeros have slots of their own: a spread within a bin would be
//! wrong for both.

use super::dispatch::{self, Kernel};
use std::sync::OnceLock;

/// Bins over [0, 1).
pub const BINS: usize = 2048;
/// Bins below half a step of int8, the finest grid: 0.5 / 127 of the range is 8.06 bins.
const LOW: usize = 8;
/// The slot of |u| = 1.
const END: usize = BINS;
/// Four slots of zeros, which take turns: pruned tensors are mostly zeros, and one slot would be a queue.
const ZERO: usize = BINS + 1;
/// Slots of a table; a power of two, so that an index needs no check.
const SLOTS: usize = 2 * BINS;
/// The finest group.
const FINEST: usize = 32;

/// Weight (Σ max|w|², in units of a chunk's own) and count of every slot.
type Slots = [[f32; 2]; SLOTS];

/// A sketch in progress over the groups of one size.
#[derive(Clone, Debug)]
pub struct Building {
    slots: Box<Slots>,
    weights: Vec<f64>,
    counts: Vec<u64>,
    low: f64,
    low_energy: f64,
}

impl Default for Building {
    fn default() -> Self {
        let slots: Result<Box<Slots>, _> = vec![[0.0_f32; 2]; SLOTS].into_boxed_slice().try_into();
        Self {
            slots: slots.unwrap_or_else(|_| unreachable!("the length is the length")),
            weights: vec![0.0; BINS + 1],
            counts: vec![0; BINS + 2],
            low: 0.0,
            low_energy: 0.0,
        }
    }
}

/// A finished sketch.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Sketch {
    /// Σ max|w|² of the elements in each bin.
    pub weights: Vec<f32>,
    /// Elements below the left edge of each bin, zeros left out, and their sum at the end: [`BINS`] + 1 numbers.
    pub below: Vec<f32>,
    /// Σw² of the first eight bins, where every grid reads 0: in the shadow of an outlier the bins are too coarse.
    pub low_energy: f64,
    /// Σ max|w|² of the elements with |u| = 1.
    pub end_weight: f64,
    /// Elements with |u| = 1.
    pub ends: u64,
    /// Elements that are zero.
    pub zeros: u64,
}

/// Groups of `size` within one run of values, cut from the left; `peaks` holds each group's max|w|.
struct AddGroups<'a> {
    values: &'a [f32],
    size: usize,
    peaks: &'a [f32],
    /// Weights are counted in units of this, squared.
    unit: f32,
    slots: &'a mut Slots,
    /// Σw² of the first bins, in units of `unit`².
    low: &'a mut f64,
}

impl Kernel for AddGroups<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut places = [0_u16; 128];
        let inverse = 1.0 / self.unit;
        for (group, &peak) in self.values.chunks(self.size).zip(self.peaks) {
            let share = peak / self.unit;
            let weight = share * share;
            let scale = BINS as f32 / peak;
            let mut low = [0.0_f32; 16];
            for piece in group.chunks(128) {
                let places = &mut places[..piece.len()];
                for (i, (place, value)) in places.iter_mut().zip(piece).enumerate() {
                    let magnitude = value.abs();
                    let bin = ((magnitude * scale) as i32).min(BINS as i32 - 1);
                    let bin = if magnitude == peak { END as i32 } else { bin };
                    let bin = if magnitude == 0.0 { (ZERO + i % 4) as i32 } else { bin };
                    *place = bin as u16;
                }
                for lanes in piece.chunks(16) {
                    for (sum, value) in low.iter_mut().zip(lanes) {
                        // The same product as above, cut at the same whole number.
                        let part = value * inverse;
                        *sum += if value.abs() * scale < LOW as f32 { part * part } else { 0.0 };
                    }
                }
                for &place in places.iter() {
                    let slot = &mut self.slots[place as usize % SLOTS];
                    *slot = [slot[0] + weight, slot[1] + 1.0];
                }
            }
            *self.low += low.into_iter().map(f64::from).sum::<f64>();
        }
    }
}

/// max|w| of every [`FINEST`] values.
struct FinestPeaks<'a> {
    values: &'a [f32],
    peaks: &'a mut Vec<f32>,
}

impl Kernel for FinestPeaks<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        const LANES: usize = 16;
        self.peaks.clear();
        let (whole, rest) = self.values.as_chunks::<FINEST>();
        for group in whole {
            let mut lanes = [0.0_f32; LANES];
            for half in group.as_chunks::<LANES>().0 {
                for (lane, value) in lanes.iter_mut().zip(half) {
                    let magnitude = value.abs();
                    *lane = if magnitude > *lane { magnitude } else { *lane };
                }
            }
            self.peaks.push(peak_of_lanes(lanes));
        }
        if !rest.is_empty() {
            self.peaks.push(peak(rest));
        }
    }
}

/// The greatest of 16 lanes by halves, each an array of its own: a chain of 16 comparisons would wait for each, and halves of
/// one array would go through memory.
#[inline(always)]
pub(super) fn peak_of_lanes(lanes: [f32; 16]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let eight: [f32; 8] = std::array::from_fn(|i| greater(lanes[i], lanes[i + 8]));
    let four: [f32; 4] = std::array::from_fn(|i| greater(eight[i], eight[i + 4]));
    greater(greater(four[0], four[2]), greater(four[1], four[3]))
}

#[inline(always)]
fn peak(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, value| if value.abs() > most { value.abs() } else { most })
}

/// max|w| of every 32 values, the last group may be short.
pub fn finest_peaks(values: &[f32], peaks: &mut Vec<f32>) {
    dispatch::run(FinestPeaks { values, peaks });
}

/// Peaks of groups twice as large.
pub fn pair_peaks(fine: &[f32], coarse: &mut Vec<f32>) {
    coarse.clear();
    coarse.extend(fine.chunks(2).map(peak));
}

/// The greatest of some peaks.
#[must_use]
pub fn peak_of(peaks: &[f32]) -> f32 {
    peak(peaks)
}

impl Building {
    /// Adds a run of values cut into groups of `size` from the left, whose max|w| are `peaks`. `unit` is any magnitude of
    /// about the size of the peaks, the same until [`Building::flush`]; at most 2²⁴ values between two flushes.
    pub fn add(&mut self, values: &[f32], size: usize, peaks: &[f32], unit: f32) {
        dispatch::run(AddGroups { values, size, peaks, unit, slots: &mut self.slots, low: &mut self.low });
    }

    /// Moves what was gathered in units of `unit` into the wide sums.
    pub fn flush(&mut self, unit: f32) {
        let square = f64::from(unit) * f64::from(unit);
        for ((sum, count), slot) in self.weights.iter_mut().zip(&mut self.counts).zip(self.slots.iter()) {
            *sum += f64::from(slot[0]) * square;
            *count += slot[1] as u64;
        }
        self.counts[BINS + 1] += self.slots[ZERO..ZERO + 4].iter().map(|slot| slot[1] as u64).sum::<u64>();
        self.low_energy += self.low * square;
        self.low = 0.0;
        self.slots[..ZERO + 4].fill([0.0; 2]);
    }

    /// Adds the flushed sums of another.
    pub fn merge(&mut self, other: &Self) {
        self.weights.iter_mut().zip(&other.weights).for_each(|(a, b)| *a += b);
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.low_energy += other.low_energy;
    }

    /// The sketch of everything flushed.
    #[must_use]
    pub fn finish(&self) -> Sketch {
        let mut below = Vec::with_capacity(BINS + 1);
        let mut sum = 0_u64;
        for &count in &self.counts[..BINS] {
            below.push(sum as f32);
            sum += count;
        }
        below.push(sum as f32);
        Sketch {
            weights: self.weights[..BINS].iter().map(|&w| w as f32).collect(),
            below,
            low_energy: self.low_energy,
            end_weight: self.weights[END],
            ends: self.counts[END],
            zeros: self.counts[BINS + 1],
        }
    }
}

/// Mean of (u − q)² and of q² over every bin, for one symmetric grid on [0, 1].
#[derive(Debug)]
pub struct LevelTable {
    /// Levels above zero: 2^(bits − 1) − 1.
    pub top: i32,
    error: Vec<f32>,
    square: Vec<f32>,
}

/// The table of `intN` symmetric, 2 ≤ `bits` ≤ 8, made once.
#[must_use]
pub fn level_table(bits: u32) -> &'static LevelTable {
    static TABLES: [OnceLock<LevelTable>; 7] = [const { OnceLock::new() }; 7];
    let bits = bits.clamp(2, 8);
    TABLES[bits as usize - 2].get_or_init(|| LevelTable::new(bits))
}

impl LevelTable {
    fn new(bits: u32) -> Self {
        let top = (1_i32 << (bits - 1)) - 1;
        let step = 1.0 / f64::from(top);
        let (mut error, mut square) = (Vec::with_capacity(BINS), Vec::with_capacity(BINS));
        for bin in 0..BINS {
            let (left, right) = (bin as f64 / BINS as f64, (bin + 1) as f64 / BINS as f64);
            let (mut errors, mut squares, mut from) = (0.0, 0.0, left);
            while from < right {
                let level = (from / step + 0.5).floor().min(f64::from(top));
                let edge = (level + 0.5) * step;
                // A bin that begins on an edge belongs to the level above it, whatever the rounding of the quotient.
                let to = if edge > from && edge < right { edge } else { right };
                let q = level * step;
                errors += ((to - q).powi(3) - (from - q).powi(3)) / 3.0;
                squares += q * q * (to - from);
                from = to;
            }
            // The first bins are summed for themselves.
            error.push(if bin < LOW { 0.0 } else { (errors * BINS as f64) as f32 });
            square.push((squares * BINS as f64) as f32);
        }
        Self { top, error, square }
    }
}

struct Dot<'a> {
    weights: &'a [f32],
    table: &'a LevelTable,
}

impl Kernel for Dot<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run(self) -> [f64; 2] {
        const LANES: usize = 32;
        let (mut errors, mut squares) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        let weights = self.weights.as_chunks::<LANES>().0;
        let error = self.table.error.as_chunks::<LANES>().0;
        let square = self.table.square.as_chunks::<LANES>().0;
        for ((w, e), s) in weights.iter().zip(error).zip(square) {
            for lane in 0..LANES {
                errors[lane] += w[lane] * e[lane];
                squares[lane] += w[lane] * s[lane];
            }
        }
        let sum = |lanes: [f32; LANES]| lanes.into_iter().map(f64::from).sum();
        [sum(errors), sum(squares)]
    }
}

impl Sketch {
    /// Σ(w − q)² and Σq² under a symmetric grid.
    #[must_use]
    pub fn errors(&self, table: &LevelTable) -> [f64; 2] {
        let [errors, squares] = dispatch::run(Dot { weights: &self.weights, table });
        [errors + self.low_energy, squares + self.end_weight]
    }

    /// Elements with 0 < |u| < `u`, a bin cut in proportion.
    #[must_use]
    pub fn count_below(&self, u: f64) -> f64 {
        let place = (u * BINS as f64).clamp(0.0, BINS as f64);
        let bin = (place as usize).min(BINS - 1);
        let (low, high) = (f64::from(self.below[bin]), f64::from(self.below[bin + 1]));
        low + (high - low) * (place - bin as f64)
    }

    /// Elements on each level's magnitude, from 0 to the top: zeros are on level 0, |u| = 1 on the top.
    #[must_use]
    pub fn level_counts(&self, table: &LevelTable) -> Vec<f64> {
        let top = f64::from(table.top);
        let mut counts = Vec::with_capacity(table.top as usize + 1);
        let mut before = 0.0;
        for level in 0..=table.top {
            let upto = if level == table.top { 1.0 } else { (f64::from(level) + 0.5) / top };
            let below = self.count_below(upto);
            counts.push(below - before);
            before = below;
        }
        counts[0] += self.zeros as f64;
        counts[table.top as usize] += self.ends as f64;
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;

    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut uniform = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 16_777_216.0
        };
        // Sums of uniforms: heavy enough in the middle, bounded at the ends.
        (0..n).map(|_| (uniform() + uniform() + uniform() - 1.5) * 0.04).collect()
    }

    fn build(values: &[f32], size: usize) -> Sketch {
        let peaks: Vec<f32> = values.chunks(size).map(peak).collect();
        let unit = peak(values);
        let mut building = Building::default();
        building.add(values, size, &peaks, unit);
        building.flush(unit);
        building.finish()
    }

    /// The error of quantizing each group on its own, in f64.
    fn exact(values: &[f32], size: usize, bits: u32) -> (f64, f64, Vec<f64>) {
        let top = f64::from((1_i32 << (bits - 1)) - 1);
        let (mut errors, mut squares, mut counts) = (0.0, 0.0, vec![0.0; top as usize + 1]);
        for group in values.chunks(size) {
            let scale = f64::from(peak(group)) / top;
            for &w in group {
                let code = if scale > 0.0 { (f64::from(w) / scale).round_ties_even().clamp(-top, top) } else { 0.0 };
                errors += (f64::from(w) - code * scale).powi(2);
                squares += (code * scale).powi(2);
                counts[code.abs() as usize] += 1.0;
            }
        }
        (errors, squares, counts)
    }

    #[test]
    fn the_dot_product_is_the_error_of_every_width() {
        let values = noise(1 << 18, 3);
        for size in [32, 64, 128, 4096] {
            let sketch = build(&values, size);
            for bits in 2..=8 {
                let (errors, squares, counts) = exact(&values, size, bits);
                let [live, live_squares] = sketch.errors(level_table(bits));
                assert!((live / errors - 1.0).abs() < 1e-3, "{size} {bits}: {live} {errors}");
                assert!((live_squares / squares - 1.0).abs() < 1e-3);
                let levels = sketch.level_counts(level_table(bits));
                let worst = levels.iter().zip(&counts).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(worst < 4e-4 * values.len() as f64, "{size} {bits}");
            }
        }
    }

    #[test]
    fn ends_and_zeros_are_exact_and_dead_groups_count_as_zeros() {
        let mut values = vec![0.0_f32; 256];
        values[..64].iter_mut().enumerate().for_each(|(i, v)| *v = if i % 3 == 0 { 0.5 } else { 0.0 });
        let sketch = build(&values, 64);
        assert_eq!((sketch.ends, sketch.zeros, sketch.errors(level_table(4))[0]), (22, 234, 0.0));
        assert_eq!(sketch.errors(level_table(4))[1], 22.0 * 0.25);
        assert_eq!(sketch.level_counts(level_table(2)), [234.0, 22.0]);
    }

    #[test]
    fn every_level_and_length_gives_the_same_slots() {
        for length in (1..70).chain([127, 128, 129, 300]) {
            let mut values = noise(length, 9);
            values.iter_mut().step_by(7).for_each(|v| *v = -0.0);
            let peaks: Vec<f32> = values.chunks(32).map(peak).collect();
            let mut first: Option<Vec<[f32; 2]>> = None;
            for level in Level::all() {
                let mut building = Building::default();
                let mut low = 0.0;
                level.run(AddGroups {
                    low: &mut low,
                    values: &values,
                    size: 32,
                    peaks: &peaks,
                    unit: 0.06,
                    slots: &mut building.slots,
                });
                let mut fast = Vec::new();
                level.run(FinestPeaks { values: &values, peaks: &mut fast });
                assert_eq!(fast, peaks, "{} {length}", level.name());
                let slots = building.slots.to_vec();
                assert_eq!(slots.iter().map(|s| s[1]).sum::<f32>(), length as f32);
                assert_eq!(first.get_or_insert_with(|| slots.clone()), &slots, "{} {length}", level.name());
            }
        }
    }
}
