//! Grids tried on a handful of groups, for checking sketches and for answering from samples: f32 inside a group, in units of
//! its own size so that tiny weights do not vanish when squared, and f64 beyond.

use super::convert::{bf16_from_f32, f32_from_bf16};
use super::dispatch::{self, Kernel};
use super::quant::{Extent, Grid};
use super::sketch::peak_of_lanes;

/// Lanes of the sums.
const LANES: usize = 16;

/// Symmetric grids with `top` levels above zero on groups of `size`; the range is each group's max|w|, or `peak` for all.
/// Gives Σ(w − q)², and Σw² where `ENERGY` asks for it.
struct Trial<'a, const ENERGY: bool> {
    values: &'a [f32],
    size: usize,
    top: i32,
    peak: Option<f32>,
}

impl<const ENERGY: bool> Kernel for Trial<'_, ENERGY> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run(self) -> [f64; 2] {
        // What a group adds stays in lanes, in f64: a sum over lanes would be waited for after every group.
        let mut lanes = [[0.0_f64; LANES]; 2];
        let mut lost = 0.0;
        for group in self.values.chunks(self.size) {
            let peak = match self.peak {
                Some(peak) => peak,
                None => group_peak(group),
            };
            let scale = peak / self.top as f32;
            if scale >= f32::MIN_POSITIVE && scale.is_finite() {
                add_group::<ENERGY>(group, scale, &mut lanes);
            } else {
                lost += group.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>();
            }
        }
        lanes.map(|lanes| lanes.iter().sum::<f64>() + lost)
    }
}

/// The last values of a run, filled up with zeros, which move no maximum and no sum: a loop over fewer lanes would take all of
/// them through memory.
#[inline(always)]
pub(super) fn padded<const N: usize>(rest: &[f32]) -> [f32; N] {
    let mut out = [0.0; N];
    out[..rest.len()].copy_from_slice(rest);
    out
}

#[inline(always)]
fn group_peak(group: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (whole, rest) = group.as_chunks::<LANES>();
    for values in whole {
        look_for_peak(values, &mut lanes);
    }
    if !rest.is_empty() {
        look_for_peak(&padded(rest), &mut lanes);
    }
    peak_of_lanes(lanes)
}

#[inline(always)]
fn look_for_peak(values: &[f32; LANES], lanes: &mut [f32; LANES]) {
    for lane in 0..LANES {
        let magnitude = values[lane].abs();
        lanes[lane] = if magnitude > lanes[lane] { magnitude } else { lanes[lane] };
    }
}

/// Adds Σ(w − q)² of one group whose largest magnitude is `top` steps at most, and Σw² where it is asked for.
#[inline(always)]
fn add_group<const ENERGY: bool>(group: &[f32], scale: f32, sums: &mut [[f64; LANES]; 2]) {
    // In units of the step, so that tiny weights do not vanish when squared. Multiplying by the reciprocal may put what stands
    // within 10⁻⁷ of half-way on the other side; its error is the same there.
    let steps = 1.0 / scale;
    let mut errors = [0.0_f32; LANES];
    let (whole, rest) = group.as_chunks::<LANES>();
    for values in whole {
        add_errors(values, scale, steps, &mut errors);
    }
    if !rest.is_empty() {
        add_errors(&padded(rest), scale, steps, &mut errors);
    }
    let square = f64::from(scale) * f64::from(scale);
    add_squared(&errors, square, &mut sums[0]);
    if ENERGY {
        // A loop of its own over a group that is at hand: with both sums in one, the compiler keeps neither in registers.
        let mut energies = [0.0_f32; LANES];
        for values in whole {
            add_energies(values, steps, &mut energies);
        }
        if !rest.is_empty() {
            add_energies(&padded(rest), steps, &mut energies);
        }
        add_squared(&energies, square, &mut sums[1]);
    }
}

#[inline(always)]
fn add_errors(values: &[f32; LANES], scale: f32, steps: f32, errors: &mut [f32; LANES]) {
    /// 1.5·2²³: adding it leaves the nearest whole number, ties to even; codes are far below 2²².
    const MAGIC: f32 = 12_582_912.0;
    for lane in 0..LANES {
        let w = values[lane];
        let code = (w * steps + MAGIC) - MAGIC;
        let difference = (w - code * scale) * steps;
        errors[lane] += difference * difference;
    }
}

#[inline(always)]
fn add_energies(values: &[f32; LANES], steps: f32, energies: &mut [f32; LANES]) {
    for lane in 0..LANES {
        let place = values[lane] * steps;
        energies[lane] += place * place;
    }
}

/// Adds lanes in units of `square` to sums in f64.
#[inline(always)]
fn add_squared(lanes: &[f32; LANES], square: f64, sums: &mut [f64; LANES]) {
    for lane in 0..LANES {
        sums[lane] += f64::from(lanes[lane]) * square;
    }
}

/// Σ(w − q)² of symmetric grids with `top` levels above zero on groups of `size`, each with the range max|w|, or all with
/// the range `peak`. f32 within a group, good to about 1e-6.
#[must_use]
pub fn symmetric_error(values: &[f32], size: usize, top: i32, peak: Option<f32>) -> f64 {
    let [error, _] = dispatch::run(Trial::<false> { values, size: size.max(1), top, peak });
    error
}

/// [`symmetric_error`] of groups with ranges of their own, and Σw² beside it: both sides of a signal-to-noise ratio in one look.
#[must_use]
pub fn symmetric_error_and_energy(values: &[f32], size: usize, top: i32) -> [f64; 2] {
    dispatch::run(Trial::<true> { values, size: size.max(1), top, peak: None })
}

/// What a trial of pruning and an integer grid on one group is about.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Magnitudes below this become zero first.
    pub threshold: f32,
    /// Groups of this size share a grid.
    pub size: usize,
    /// The range of all groups; `None`: each takes its own, after pruning.
    pub extent: Option<Extent<f32>>,
    /// Bits of a code.
    pub bits: u32,
    /// Whether the grid has a zero point.
    pub asymmetric: bool,
    /// Whether values are rounded to bf16 in the end.
    pub to_bf16: bool,
}

/// Sums over a tried group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tried {
    /// Elements.
    pub elements: f64,
    /// Σw².
    pub energy: f64,
    /// Σ(w − q)².
    pub squared_error: f64,
    /// Its part on elements that pruning zeroed.
    pub pruned_error: f64,
    /// Its part on elements beyond the end levels; only ranges tighter than the maximum have one.
    pub clipped_error: f64,
    /// Σq².
    pub energy_after: f64,
    /// Elements with q = 0.
    pub zeros: f64,
    /// Elements that were 0 before; whoever tries the group counts them.
    pub blank: f64,
    /// Σ(w − q)² on the same grid without pruning.
    pub plain_error: f64,
}

struct Survey<'a> {
    values: &'a [f32],
    wanted: Wanted,
    /// Codes less their zero point; filled when there is room.
    codes: &'a mut [i32],
}

impl Kernel for Survey<'_> {
    type Output = Option<Tried>;

    #[inline(always)]
    fn run(self) -> Option<Tried> {
        let wanted = self.wanted;
        let mut sum = Tried { elements: self.values.len() as f64, ..Tried::default() };
        let unit = group_peak(self.values);
        let scale = 1.0 / unit;
        if unit == 0.0 || !scale.is_finite() || !unit.is_finite() {
            return (unit == 0.0).then_some(Tried { zeros: sum.elements, ..sum });
        }
        let mut lanes = [[0.0_f32; LANES]; 6];
        let mut codes = self.codes;
        for group in self.values.chunks(wanted.size) {
            // Pruning takes the smallest, so it moves a symmetric range only where it takes everything, and then no code counts.
            let threshold = if wanted.asymmetric { wanted.threshold } else { 0.0 };
            let extent = wanted.extent.unwrap_or_else(|| surviving(group, threshold));
            let grid = Grid::new(wanted.bits, wanted.asymmetric, extent)?;
            let room = codes.len().min(group.len());
            let (mine, rest) = codes.split_at_mut(room);
            codes = rest;
            let grid = Levels { grid, threshold: wanted.threshold, scale, to_bf16: wanted.to_bf16 };
            if grid.grid.scale == 0.0 {
                grid.add(group, &mut lanes, |_| grid.grid.zero_point);
            } else {
                grid.add(group, &mut lanes, |w| grid.grid.level(w));
            }
            for (code, &w) in mine.iter_mut().zip(group) {
                let code_of = grid.grid.code(w) - grid.grid.zero_point;
                *code = if w.abs() < wanted.threshold { 0 } else { code_of };
            }
        }
        let square = f64::from(unit) * f64::from(unit);
        let [energy, error, pruned, after, zeros, plain] =
            lanes.map(|lanes| lanes.into_iter().map(f64::from).sum::<f64>());
        sum.energy = energy * square;
        sum.squared_error = error * square;
        sum.pruned_error = pruned * square;
        sum.energy_after = after * square;
        sum.zeros = zeros;
        sum.plain_error = plain * square;
        Some(sum)
    }
}

/// A grid with what stands before and after it.
#[derive(Clone, Copy)]
struct Levels {
    grid: Grid<f32>,
    threshold: f32,
    scale: f32,
    to_bf16: bool,
}

impl Levels {
    #[inline(always)]
    fn add(&self, group: &[f32], lanes: &mut [[f32; LANES]; 6], code: impl Fn(f32) -> i32) {
        for piece in group.chunks(LANES) {
            for (lane, &w) in piece.iter().enumerate() {
                let gone = w.abs() < self.threshold;
                let plain = self.grid.value(code(w));
                let plain = if self.to_bf16 { f32_from_bf16(bf16_from_f32(plain)) } else { plain };
                // The code of 0 reads 0 on every grid.
                let q = if gone { 0.0 } else { plain };
                let (w, q, plain) = (w * self.scale, q * self.scale, plain * self.scale);
                lanes[5][lane] += (w - plain) * (w - plain);
                let square = (w - q) * (w - q);
                lanes[0][lane] += w * w;
                lanes[1][lane] += square;
                lanes[2][lane] += if gone { square } else { 0.0 };
                lanes[3][lane] += q * q;
                lanes[4][lane] += if q == 0.0 { 1.0 } else { 0.0 };
            }
        }
    }
}

/// The extent of what pruning leaves.
#[inline(always)]
fn surviving(group: &[f32], threshold: f32) -> Extent<f32> {
    let (mut low, mut high) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    for piece in group.chunks(LANES) {
        for ((&w, low), high) in piece.iter().zip(&mut low).zip(&mut high) {
            let kept = if w.abs() < threshold { 0.0 } else { w };
            *low = if kept < *low { kept } else { *low };
            *high = if kept > *high { kept } else { *high };
        }
    }
    Extent { low: -peak_of_lanes(low.map(f32::abs)), high: peak_of_lanes(high) }
}

/// Tries pruning and an integer grid on a group. The first codes, less their zero point, go into `codes`. `None` where a
/// scale does not fit, or the group is too small or too large to be squared.
pub fn survey(values: &[f32], wanted: Wanted, codes: &mut [i32]) -> Option<Tried> {
    dispatch::run(Survey { values, wanted, codes })
}

/// Σ(w − q)² of casts to f16 and bf16.
struct Casts<'a>(&'a [f32]);

impl Kernel for Casts<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run(self) -> [f64; 2] {
        let mut sums = [[0.0_f64; 8]; 2];
        for values in self.0.chunks(8) {
            for (lane, &w) in values.iter().enumerate() {
                let square = |q: f32| (f64::from(w) - f64::from(q)) * (f64::from(w) - f64::from(q));
                sums[0][lane] += square(to_f16(w));
                sums[1][lane] += square(f32_from_bf16(bf16_from_f32(w)));
            }
        }
        sums.map(|lanes| lanes.iter().sum())
    }
}

/// The nearest f16 of a value that has one, without a branch: below 2⁻¹⁴ steps are 2⁻²⁴, above them ten bits of mantissa.
#[inline(always)]
fn to_f16(w: f32) -> f32 {
    let bits = w.to_bits();
    let normal = f32::from_bits((bits.wrapping_add(0xfff + (bits >> 13 & 1))) & !0x1fff);
    let small = (w + 0.75) - 0.75;
    if w.abs() < 6.103_515_6e-5 { small } else { normal }
}

/// Σ(w − q)² of casting to f16 and to bf16; finite values that f16 holds.
#[must_use]
pub fn cast_errors(values: &[f32]) -> [f64; 2] {
    dispatch::run(Casts(values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;

    #[test]
    fn agrees_with_the_grid_over_all_lengths_and_levels() {
        for length in (0..70).chain([128, 300]) {
            for scale in [1.0_f32, 1e-30, 1e30] {
                let values: Vec<f32> = (0..length).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013 * scale).collect();
                for (bits, size) in [(2, 32), (4, 64), (8, 128)] {
                    let top = (1 << (bits - 1)) - 1;
                    let mut expected = 0.0;
                    for group in values.chunks(size) {
                        let grid = Grid::new(bits, false, Extent::of(group)).unwrap();
                        let error = |&w: &f32| (f64::from(w) - f64::from(grid.value(grid.code(w)))).powi(2);
                        expected += group.iter().map(error).sum::<f64>();
                    }
                    for level in Level::all() {
                        let [got, _] = level.run(Trial::<false> { values: &values, size, top, peak: None });
                        let energy: f64 = values.iter().map(|&w| f64::from(w).powi(2)).sum();
                        let both = level.run(Trial::<true> { values: &values, size, top, peak: None });
                        assert_eq!(both[0], got, "{}", level.name());
                        assert!((both[1] - energy).abs() <= 1e-5 * energy, "{length} {bits} {} {energy}", both[1]);
                        assert!(
                            (got - expected).abs() <= 1e-5 * expected + 1e-12 * energy,
                            "{length} {bits} {got} {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_survey_agrees_with_the_definition_at_every_level() {
        for length in (1..70).chain([128]) {
            let values: Vec<f32> = (0..length).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013).collect();
            for (bits, size, asymmetric, threshold, to_bf16) in [
                (2, 32, false, 0.0, false),
                (4, 64, true, 0.2, false),
                (8, 128, false, 0.3, true),
                (3, 32, true, 9.0, true),
            ] {
                let wanted = Wanted { threshold, size, extent: None, bits, asymmetric, to_bf16 };
                let mut expected = Tried { elements: f64::from(length), ..Tried::default() };
                let mut expected_codes = Vec::new();
                for group in values.chunks(size) {
                    let pruned: Vec<f32> = group.iter().map(|&w| if w.abs() < threshold { 0.0 } else { w }).collect();
                    let grid = Grid::new(bits, asymmetric, Extent::of(&pruned)).unwrap();
                    for (&w, &p) in group.iter().zip(&pruned) {
                        let code = grid.code(p);
                        expected_codes.push(code - grid.zero_point);
                        let plain = grid.value(code);
                        let q = f64::from(if to_bf16 { f32_from_bf16(bf16_from_f32(plain)) } else { plain });
                        let w = f64::from(w);
                        expected.energy += w * w;
                        expected.squared_error += (w - q).powi(2);
                        expected.pruned_error += if w.abs() < f64::from(threshold) { (w - q).powi(2) } else { 0.0 };
                        expected.energy_after += q * q;
                        expected.zeros += if q == 0.0 { 1.0 } else { 0.0 };
                    }
                }
                for level in Level::all() {
                    let mut codes = vec![0; values.len()];
                    let got = level.run(Survey { values: &values, wanted, codes: &mut codes }).unwrap();
                    let near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * b.abs() + 1e-9 * expected.energy;
                    assert!(near(got.energy, expected.energy) && near(got.squared_error, expected.squared_error));
                    assert!(near(got.pruned_error, expected.pruned_error));
                    assert!(near(got.energy_after, expected.energy_after), "{got:?} {expected:?}");
                    assert_eq!((got.zeros, got.elements), (expected.zeros, expected.elements));
                    assert_eq!(codes, expected_codes, "{}", level.name());
                }
            }
        }
    }

    #[test]
    fn casts_are_those_of_the_specification() {
        use crate::kernels::convert::{BF16, F16, decode_small, encode_small};
        let values: Vec<f32> = (0..200_000_u32)
            .map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761)))
            .filter(|w| w.is_finite() && w.abs() < 65_000.0)
            .chain([0.0, -0.0, 1e-42, 6.1e-5, 6.103_515_6e-5, -6.2e-5, 5.96e-8, 2.98e-8])
            .collect();
        for &w in &values {
            let q = decode_small(F16, encode_small(F16, f64::from(w)));
            assert_eq!(f64::from(to_f16(w)), q, "{w:e}");
        }
        let sum = |format| {
            values
                .iter()
                .map(|&w| (f64::from(w) - decode_small(format, encode_small(format, f64::from(w)))).powi(2))
                .sum::<f64>()
        };
        for level in Level::all() {
            let [f16, bf16] = level.run(Casts(&values));
            assert!((f16 / sum(F16) - 1.0).abs() < 1e-12 && (bf16 / sum(BF16) - 1.0).abs() < 1e-12);
        }
    }
}
