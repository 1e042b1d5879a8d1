//! The value table: how often each magnitude occurs, and everything about a tensor that only its marginal distribution
//! decides.
//!
//! Bins are the upper 16 bits of the f32 (15 without the sign). For bf16 and 8-bit floats a bin is one value and the answers
//! are those of the weights themselves; for wider floats weights are taken as spread evenly within a bin, 1/128 to 1/256 of
//! its value wide.

use crate::kernels::Real;
use crate::kernels::clip::{TIGHTEST, scaled};
use crate::kernels::dispatch::{self, Kernel};
use crate::kernels::quant::Extent;
use crate::kernels::table::{FIRST_STRANGE, MAGNITUDES};

/// Where a knife falls in a table: every bin below `bin` goes, and this share of `bin`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// A magnitude bin.
    pub bin: u16,
    /// Between 0 and 1.
    pub share: f64,
}

impl Cut {
    /// Nothing goes.
    pub const NOTHING: Self = Self { bin: 0, share: 0.0 };
}

/// Counts of magnitudes in ascending order, with running sums.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ValueTable {
    /// Bins that hold something: the upper 16 bits of |w|.
    pub bins: Vec<u16>,
    /// Elements above zero in each.
    pub positive: Vec<u64>,
    /// Elements below zero in each.
    pub negative: Vec<u64>,
    /// Whether a bin is one value.
    pub points: bool,
    /// Elements that are exactly zero.
    pub zeros: u64,
    below: Vec<u64>,
    energy_below: Vec<f64>,
    magnitudes: Vec<f32>,
    weights: Vec<f32>,
    positive_share: f64,
    /// Left and right end of what each bin holds; the same where a bin is one value.
    ends: Vec<[f32; 2]>,
}

/// The left edge of a bin.
fn edge(bin: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bin) << 16))
}

/// The right edge; the last finite bin ends at the largest f32, near enough.
fn right_edge(bin: u16) -> f64 {
    if usize::from(bin) + 1 >= FIRST_STRANGE { f64::from(f32::MAX) } else { edge(bin + 1) }
}

/// Σw² of `count` weights spread evenly over [low, high].
fn spread_energy(low: f64, high: f64, count: f64) -> f64 {
    count * (low * low + low * high + high * high) / 3.0
}

/// Sampled values that must agree before a bin is taken for one value.
const ENOUGH: usize = 24;
/// Finest step that a per-tensor grid takes, in parts of the largest magnitude.
const FINEST_STEP: f64 = 1.0 / 127.0;
/// Points that stand for a bin as wide as the finest step.
const POINTS_PER_STEP: f64 = 8.0;

impl ValueTable {
    /// The table of signed counts, one per upper 16 bits; `zeros` of those in bin 0 are exactly zero.
    #[must_use]
    pub fn new(counts: &[u64], points: bool, zeros: u64) -> Self {
        let mut table = Self { points, zeros, ..Self::default() };
        for bin in 0..FIRST_STRANGE {
            let (mut positive, mut negative) = (counts[bin], counts[bin + MAGNITUDES]);
            if bin == 0 {
                // Zeros are counted apart, of either sign.
                let signed = zeros.min(negative);
                negative -= signed;
                positive = positive.saturating_sub(zeros - signed);
            }
            if positive + negative > 0 {
                table.push(bin as u16, positive, negative);
            }
        }
        table.finish();
        table
    }

    /// A table from its parts, as they were stored. `None` when they do not belong together.
    #[must_use]
    pub fn from_parts(
        bins: Vec<u16>,
        positive: Vec<u64>,
        negative: Vec<u64>,
        points: bool,
        zeros: u64,
    ) -> Option<Self> {
        let ascending = bins.windows(2).all(|pair| pair[0] < pair[1]);
        let finite = bins.last().is_none_or(|&bin| usize::from(bin) < FIRST_STRANGE);
        let lengths = bins.len() == positive.len() && bins.len() == negative.len();
        if !(ascending && finite && lengths) {
            return None;
        }
        let mut table = Self { bins, positive, negative, points, zeros, ..Self::default() };
        table.finish();
        Some(table)
    }

    fn push(&mut self, bin: u16, positive: u64, negative: u64) {
        self.bins.push(bin);
        self.positive.push(positive);
        self.negative.push(negative);
    }

    fn finish(&mut self) {
        let end =
            |&bin: &u16| if self.points { [edge(bin) as f32; 2] } else { [edge(bin) as f32, right_edge(bin) as f32] };
        self.ends = self.bins.iter().map(end).collect();
        self.add_up();
    }

    /// Bins in which a sample shows one value again and again hold that value: constants, pruned to a few levels, ternary.
    pub fn sharpen(&mut self, sample: &[f32]) {
        if self.points {
            return;
        }
        let mut seen: Vec<u32> = sample.iter().map(|v| v.abs().to_bits()).filter(|&key| key > 0).collect();
        seen.sort_unstable();
        let mut changed = false;
        for run in
            seen.chunk_by(|a, b| a >> 16 == b >> 16).filter(|run| run.len() >= ENOUGH && run[0] == run[run.len() - 1])
        {
            if let Ok(i) = self.bins.binary_search(&((run[0] >> 16) as u16)) {
                self.ends[i] = [f32::from_bits(run[0]); 2];
                changed = true;
            }
        }
        if changed {
            (self.below, self.energy_below) = (Vec::new(), Vec::new());
            (self.magnitudes, self.weights) = (Vec::new(), Vec::new());
            self.add_up();
        }
    }

    fn add_up(&mut self) {
        let (mut below, mut energy) = (self.zeros, 0.0);
        let top = self.top();
        for i in 0..self.bins.len() {
            self.below.push(below);
            self.energy_below.push(energy);
            let (low, high, count) = self.bin(i);
            below += self.positive[i] + self.negative[i];
            energy += spread_energy(low, high, count);
            let pieces = ((high - low) / (top * FINEST_STEP) * POINTS_PER_STEP).ceil().clamp(1.0, 16.0);
            let pieces = if low < high { pieces } else { 1.0 };
            for piece in 0..pieces as u32 {
                let middle = low + (high - low) * (f64::from(piece) + 0.5) / pieces;
                self.magnitudes.push(if low < high { middle } else { low } as f32);
                self.weights.push((count / pieces) as f32);
            }
        }
        self.below.push(below);
        self.energy_below.push(energy);
        let (positive, negative): (u64, u64) = (self.positive.iter().sum(), self.negative.iter().sum());
        let all = positive + negative;
        self.positive_share = if all == 0 { 0.5 } else { positive as f64 / all as f64 };
    }

    /// Left edge, right edge and count of the i-th bin that holds something.
    fn bin(&self, i: usize) -> (f64, f64, f64) {
        let [low, high] = self.ends[i];
        (f64::from(low), f64::from(high), (self.positive[i] + self.negative[i]) as f64)
    }

    /// Finite elements.
    #[must_use]
    pub fn finite(&self) -> u64 {
        self.below.last().copied().unwrap_or(self.zeros)
    }

    /// Σw² as the table has it.
    #[must_use]
    pub fn energy(&self) -> f64 {
        self.energy_below.last().copied().unwrap_or(0.0)
    }

    /// Share of the elements that are not zero and lie above it.
    #[must_use]
    pub fn positive_share(&self) -> f64 {
        self.positive_share
    }

    /// The largest magnitude that some element may have.
    #[must_use]
    pub fn top(&self) -> f64 {
        self.ends.last().map_or(0.0, |end| f64::from(end[1]))
    }

    /// Adds the counts of magnitudes to a sum over several tensors, which share all bins; zeros go to the first place.
    pub fn add_to(&self, sum: &mut [u64]) {
        self.counts().for_each(|(place, count)| sum[place] += count);
    }

    /// Takes them out of a sum that they were added to.
    pub fn take_from(&self, sum: &mut [u64]) {
        self.counts().for_each(|(place, count)| sum[place] -= count);
    }

    /// Counts of magnitudes by their place in a sum.
    fn counts(&self) -> impl Iterator<Item = (usize, u64)> {
        let both = self.positive.iter().zip(&self.negative).map(|(positive, negative)| positive + negative);
        let bins = self.bins.iter().map(|&bin| usize::from(bin) + 1).zip(both);
        std::iter::once((0, self.zeros)).chain(bins)
    }

    /// Where the `k` smallest magnitudes end in one tensor.
    #[must_use]
    pub fn cut(&self, k: u64) -> Cut {
        let i = self.below.partition_point(|&below| below <= k).saturating_sub(1);
        if k <= self.zeros || self.bins.is_empty() {
            return Cut::NOTHING;
        }
        let Some(&bin) = self.bins.get(i) else {
            return Cut { bin: self.bins[self.bins.len() - 1], share: 1.0 };
        };
        let (_, _, count) = self.bin(i);
        Cut { bin, share: (k - self.below[i]) as f64 / count }
    }

    /// Where the `k` smallest magnitudes end in a sum made by [`ValueTable::add_to`].
    #[must_use]
    pub fn cut_of_sum(sum: &[u64], k: u64) -> Cut {
        let mut below = sum[0];
        if k <= below {
            return Cut::NOTHING;
        }
        let mut last = Cut::NOTHING;
        for (bin, &count) in sum[1..].iter().enumerate().filter(|&(_, &count)| count > 0) {
            if below + count > k {
                return Cut { bin: bin as u16, share: (k - below) as f64 / count as f64 };
            }
            below += count;
            last = Cut { bin: bin as u16, share: 1.0 };
        }
        last
    }

    /// Whether everything in a cut's own bin stands at one value, so that a share of it means ties.
    #[must_use]
    pub fn is_tied(&self, cut: Cut) -> bool {
        self.bins.binary_search(&cut.bin).is_ok_and(|i| self.ends[i][0] == self.ends[i][1])
    }

    /// Where in a cut's bin, from 0 to 1, the left end of what the tensor holds there lies.
    #[must_use]
    pub fn place_in_bin(&self, cut: Cut) -> f64 {
        let (low, high) = (edge(cut.bin), right_edge(cut.bin));
        let end = self.bins.binary_search(&cut.bin).map_or(low, |i| f64::from(self.ends[i][0]));
        ((end - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// Elements that stand in a cut's own bin.
    #[must_use]
    pub fn at(&self, cut: Cut) -> u64 {
        self.bins.binary_search(&cut.bin).map_or(0, |i| self.positive[i] + self.negative[i])
    }

    /// Elements (zeros included) and Σw² below a cut.
    #[must_use]
    pub fn below(&self, cut: Cut) -> (f64, f64) {
        let i = self.bins.partition_point(|&bin| bin < cut.bin);
        let (mut count, mut energy) = (self.below[i] as f64, self.energy_below[i]);
        if self.bins.get(i) == Some(&cut.bin) {
            let (low, high, inside) = self.bin(i);
            count += cut.share * inside;
            energy += spread_energy(low, low + cut.share * (high - low), cut.share * inside);
        }
        (count, energy)
    }

    /// The magnitude at which a cut falls. Where bins are points, `share` of those that stand there go.
    #[must_use]
    pub fn magnitude(&self, cut: Cut) -> f64 {
        let (low, high) = match self.bins.binary_search(&cut.bin) {
            Ok(i) => (f64::from(self.ends[i][0]), f64::from(self.ends[i][1])),
            Err(_) if self.points => return edge(cut.bin),
            Err(_) => (edge(cut.bin), right_edge(cut.bin)),
        };
        low + cut.share * (high - low)
    }

    /// Elements (zeros included) whose magnitude is below `magnitude`.
    #[must_use]
    pub fn count_below(&self, magnitude: f64) -> f64 {
        // What stands at one value is below only a greater one.
        let i = self.ends.partition_point(|end| f64::from(end[1]) < magnitude || f64::from(end[0]) < magnitude);
        let Some(last) = i.checked_sub(1) else { return self.zeros as f64 };
        let (low, high, count) = self.bin(last);
        let inside = if low < high { ((magnitude - low) / (high - low)).clamp(0.0, 1.0) } else { 1.0 };
        self.below[last] as f64 + inside * count
    }

    /// Σw² of the elements whose magnitude is below `magnitude`.
    #[must_use]
    pub fn energy_below(&self, magnitude: f64) -> f64 {
        let i = self.ends.partition_point(|end| f64::from(end[1]) < magnitude || f64::from(end[0]) < magnitude);
        let Some(last) = i.checked_sub(1) else { return 0.0 };
        let (low, high, count) = self.bin(last);
        let inside = if low < high { ((magnitude - low) / (high - low)).clamp(0.0, 1.0) } else { 1.0 };
        self.energy_below[last] + spread_energy(low, low + inside * (high - low), inside * count)
    }

    /// Elements (zeros included) that a step of `scale` puts on `level` or below. Points are asked in the arithmetic that
    /// quantizes them: one that stands half-way belongs where that puts it.
    fn count_upto_level(&self, level: i32, scale: f32) -> f64 {
        let on = |end: &[f32; 2]| (end[0] / scale).round_to_code() <= level;
        let i = self.ends.partition_point(on);
        let Some(last) = i.checked_sub(1) else { return self.zeros as f64 };
        let (low, high, count) = self.bin(last);
        let edge = (f64::from(level) + 0.5) * f64::from(scale);
        let inside = if low < high { ((edge - low) / (high - low)).clamp(0.0, 1.0) } else { 1.0 };
        self.below[last] as f64 + inside * count
    }

    /// The magnitude of rank `rank` (from 0, fractions between neighbours) among all finite elements.
    #[must_use]
    pub fn magnitude_of_rank(&self, rank: f64) -> f64 {
        if rank < self.zeros as f64 || self.bins.is_empty() {
            return 0.0;
        }
        let i = self.below.partition_point(|&below| below as f64 <= rank).saturating_sub(1).min(self.bins.len() - 1);
        let (low, high, count) = self.bin(i);
        low + (high - low) * ((rank - self.below[i] as f64) / count).clamp(0.0, 1.0)
    }

    /// Σ(w − q)² and Σq² over what a cut leaves, under levels at multiples of `scale` up to `top`, and how many elements
    /// stand on each level; what the cut takes stands on level 0 and counts as no error here. Without `pruned` nothing is cut.
    #[must_use]
    pub fn on_levels(&self, cut: Cut, pruned: bool, scale: f32, top: i32) -> ([f64; 2], Vec<f64>) {
        let threshold = if pruned { self.magnitude(cut) as f32 } else { 0.0 };
        let first = self.magnitudes.partition_point(|&m| m < threshold);
        let (magnitudes, weights) = (&self.magnitudes[first..], &self.weights[first..]);
        let [error, square, counted] = dispatch::run(OnLevels { magnitudes, weights, scale, top: top as f32 });
        let gone = if pruned { self.below(cut).0 } else { 0.0 };
        let mut sums = [error, square];
        if pruned {
            // The points of a bin are on one side of the threshold or the other; what it really leaves is known.
            let more = counted - (self.finite() as f64 - gone.max(self.zeros as f64));
            let at = OnLevels { magnitudes: &[threshold], weights: &[1.0], scale, top: top as f32 };
            let [error, square, _] = dispatch::run(at);
            sums = [(sums[0] - more * error).max(0.0), (sums[1] - more * square).max(0.0)];
        }
        let (mut levels, mut before) = (Vec::with_capacity(top as usize + 1), 0.0);
        for level in 0..=top {
            let upto = if level == top { self.finite() as f64 } else { self.count_upto_level(level, scale) };
            let upto = upto.max(gone);
            levels.push(upto - before);
            before = upto;
        }
        (sums, levels)
    }

    /// The clip of the whole tensor, in percent of its largest magnitude, with the least error under a symmetric grid.
    #[must_use]
    pub fn best_clip(&self, bits: u32) -> i32 {
        let top = (1_i32 << (bits - 1)) - 1;
        let error = |percent: i32| {
            let peak = self.top() as f32;
            let scale = scaled(Extent { low: -peak, high: peak }, percent).high / top as f32;
            let (magnitudes, weights) = (&self.magnitudes[..], &self.weights[..]);
            dispatch::run(OnLevels { magnitudes, weights, scale, top: top as f32 })[0]
        };
        // Fine grids lose more by clipping than by rounding long before half their range is gone.
        let tightest = if bits > 4 { 52 } else { TIGHTEST };
        if self.bins.is_empty() { 100 } else { least_of(tightest, error) }
    }

    /// Every bin: left edge, right edge (the same for points), elements above and below zero.
    pub fn iter(&self) -> impl Iterator<Item = (f64, f64, u64, u64)> {
        (0..self.bins.len()).map(|i| {
            let (low, high, _) = self.bin(i);
            (low, high, self.positive[i], self.negative[i])
        })
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.bins.len() * (2 + 8 + 8 + 8 + 8) + self.magnitudes.len() * 8
    }
}

/// The percent of the candidates with the least of a smooth error: coarse steps from the widest, then fine ones about the best.
#[must_use]
pub fn least_of(tightest: i32, error: impl Fn(i32) -> f64) -> i32 {
    let mut best = (error(100), 100);
    let look = |percents: &mut dyn Iterator<Item = i32>, mut best: (f64, i32)| {
        for percent in percents.filter(|percent| (tightest..=100).contains(percent)) {
            let found = error(percent);
            best = if found < best.0 { (found, percent) } else { best };
        }
        best
    };
    best = look(&mut (1..=10).map(|step| 100 - 8 * step), best);
    for step in [4, 2, 1] {
        let centre = best.1;
        best = look(&mut [-step, step].into_iter().map(|at| centre + at), best);
    }
    best.1
}

/// Σ weight·(m − q)², Σ weight·q² and Σ weight over magnitudes.
struct OnLevels<'a> {
    magnitudes: &'a [f32],
    weights: &'a [f32],
    scale: f32,
    top: f32,
}

impl Kernel for OnLevels<'_> {
    type Output = [f64; 3];

    #[inline(always)]
    fn run(self) -> [f64; 3] {
        const LANES: usize = 8;
        let [mut errors, mut squares, mut counts] = [[0.0_f64; LANES]; 3];
        for (magnitudes, weights) in self.magnitudes.chunks(LANES).zip(self.weights.chunks(LANES)) {
            for (lane, (&magnitude, &weight)) in magnitudes.iter().zip(weights).enumerate() {
                let level = f32::from_code((magnitude / self.scale).round_to_code());
                let level = if level < self.top { level } else { self.top };
                let q = f64::from(level * self.scale);
                let difference = f64::from(magnitude) - q;
                errors[lane] += f64::from(weight) * difference * difference;
                squares[lane] += f64::from(weight) * q * q;
                counts[lane] += f64::from(weight);
            }
        }
        [errors, squares, counts].map(|lanes| lanes.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::clip::{Wanted, best_clip, clip_errors};
    use crate::kernels::table::{Counts, SIGNED};

    fn table(values: &[f32], points: bool) -> ValueTable {
        let mut counts = Counts::default();
        counts.add(values);
        let mut sum = vec![0; SIGNED];
        counts.add_to(&mut sum);
        ValueTable::new(&sum, points, values.iter().filter(|v| **v == 0.0).count() as u64)
    }

    fn weights(n: usize, points: bool) -> Vec<f32> {
        (0..n)
            .map(|i| {
                let u = ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0;
                let w = (u - 0.5) * (u - 0.5) * if i % 2 == 0 { 0.3 } else { -0.2 };
                let w = if i % 10 == 3 { 0.0 } else { w };
                if points { f32::from_bits(w.to_bits() & 0xffff_0000) } else { w }
            })
            .collect()
    }

    #[test]
    fn thresholds_and_energies_are_those_of_a_sort() {
        for points in [false, true] {
            let values = weights(200_000, points);
            let table = table(&values, points);
            assert_eq!(table.finite(), 200_000);
            let mut sorted: Vec<f64> = values.iter().map(|v| f64::from(v.abs())).collect();
            sorted.sort_by(f64::total_cmp);
            for share in [0.05, 0.1, 0.3, 0.5, 0.9, 0.99, 1.0] {
                let k = (share * 200_000.0) as usize;
                let cut = table.cut(k as u64);
                let (count, energy) = table.below(cut);
                let exact: f64 = sorted[..k].iter().map(|w| w * w).sum();
                assert!((count - (k as f64).max(table.zeros as f64)).abs() < 0.5, "{share} {count}");
                let tolerance = if points { 1e-9 } else { 1e-3 };
                assert!((energy - exact).abs() <= tolerance * exact, "{points} {share}: {energy} {exact}");
                if k > 20_000 {
                    let threshold = table.magnitude(cut);
                    assert!((threshold / sorted[k - 1] - 1.0).abs() < 1e-2, "{share} {threshold} {}", sorted[k - 1]);
                }
            }
            let total: f64 = sorted.iter().map(|w| w * w).sum();
            assert!((table.energy() / total - 1.0).abs() < 1e-4);
        }
    }

    #[test]
    fn sums_over_tensors_cut_as_one() {
        let (a, b) = (weights(70_000, false), weights(130_000, false).iter().map(|w| w * 3.0).collect::<Vec<_>>());
        let (one, two) = (table(&a, false), table(&b, false));
        let mut sum = vec![0; MAGNITUDES + 1];
        one.add_to(&mut sum);
        two.add_to(&mut sum);
        let all: Vec<f32> = a.iter().chain(&b).copied().collect();
        let whole = table(&all, false);
        for k in [1, 20_001, 100_000, 199_999, 200_000] {
            let cut = ValueTable::cut_of_sum(&sum, k);
            assert_eq!(cut, whole.cut(k), "{k}");
            let parts = one.below(cut).0 + two.below(cut).0;
            assert!((parts - (k as f64).max(20_000.0)).abs() < 1e-6 * k as f64 + 0.5);
        }
        assert_eq!(ValueTable::cut_of_sum(&sum, 0), Cut::NOTHING);
    }

    #[test]
    fn the_best_clip_of_a_table_is_that_of_its_weights() {
        for (points, bits) in [(false, 2), (true, 3), (false, 4), (true, 8)] {
            let values = weights(50_000, points);
            let errors = clip_errors(&values, Wanted::new(bits, false), Extent::of(&values));
            let at = |percent: i32| errors[(percent - TIGHTEST) as usize];
            let found = table(&values, points).best_clip(bits);
            assert!(at(found) <= at(best_clip(&errors)) * 1.001, "{bits}: {found} {}", best_clip(&errors));
        }
        assert_eq!((least_of(20, |k| f64::from((k - 20).abs())), least_of(20, |_| 1.0)), (20, 100));
    }

    #[test]
    fn an_empty_table_and_one_of_zeros_have_answers() {
        let empty = table(&[], false);
        assert_eq!((empty.finite(), empty.cut(0), empty.below(Cut::NOTHING)), (0, Cut::NOTHING, (0.0, 0.0)));
        let zeros = table(&[0.0, -0.0, 0.0], true);
        assert_eq!((zeros.finite(), zeros.cut(2), zeros.energy()), (3, Cut::NOTHING, 0.0));
        assert_eq!(zeros.below(Cut::NOTHING).0, 3.0);
        assert_eq!(zeros.magnitude_of_rank(1.0), 0.0);
        assert!(ValueTable::from_parts(vec![3, 2], vec![1, 1], vec![0, 0], true, 0).is_none());
        assert!(ValueTable::from_parts(vec![0x7f80], vec![1], vec![0], true, 0).is_none());
    }
}
