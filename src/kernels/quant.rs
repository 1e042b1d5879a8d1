//! Integer grids: where the levels of a unit lie, which code a weight gets, what value a reader gets back.
//!
//! Symmetric grids span ±max|w| with 2^N − 1 levels about an exact zero (as in Jacob et al. 2018, restricted range);
//! asymmetric ones span [min(0, min w), max(0, max w)] with 2^N levels and an integer zero point, so that zero is
//! exact there too. Every value is `code · scale` in the arithmetic of [`Real`], with one true division per element.

use super::Real;
use super::convert::{SmallFloat, round_small};
use super::dispatch::{self, Kernel};
use super::each::{self, Quantizer};

/// The extremes of a unit's values, widened to contain zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent<T> {
    /// min(0, min w).
    pub low: T,
    /// max(0, max w).
    pub high: T,
}

impl<T: Real> Default for Extent<T> {
    fn default() -> Self {
        Self { low: T::ZERO, high: T::ZERO }
    }
}

struct Ends<'a, T>(&'a [T]);

impl<T: Real> Kernel for Ends<'_, T> {
    type Output = Extent<T>;

    #[inline(always)]
    fn run(self) -> Extent<T> {
        const LANES: usize = 32;
        let (mut low, mut high) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        let (wide, rest) = self.0.as_chunks::<LANES>();
        let mut look = |lane: usize, x: T| {
            low[lane] = if x < low[lane] { x } else { low[lane] };
            high[lane] = if x > high[lane] { x } else { high[lane] };
        };
        for lanes in wide {
            for (lane, &x) in lanes.iter().enumerate() {
                look(lane, x);
            }
        }
        for (lane, &x) in rest.iter().enumerate() {
            look(lane, x);
        }
        // By halves: a chain of comparisons would wait for each.
        for half in [16, 8, 4, 2, 1] {
            for lane in 0..half {
                low[lane] = if low[lane + half] < low[lane] { low[lane + half] } else { low[lane] };
                high[lane] = if high[lane + half] > high[lane] { high[lane + half] } else { high[lane] };
            }
        }
        Extent { low: low[0], high: high[0] }
    }
}

impl<T: Real> Extent<T> {
    /// The extent of a slice of finite values.
    #[must_use]
    pub fn of(values: &[T]) -> Self {
        dispatch::run(Ends(values))
    }

    /// The extent of two runs together.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            low: if other.low < self.low { other.low } else { self.low },
            high: if other.high > self.high { other.high } else { self.high },
        }
    }

    /// max |w|.
    #[must_use]
    pub fn abs_max(self) -> T {
        if self.low.abs() > self.high { self.low.abs() } else { self.high }
    }
}

/// The levels of one unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid<T> {
    /// Distance between levels; 0 when every value is zero.
    pub scale: T,
    /// The code that reads as zero; 0 for a symmetric grid.
    pub zero_point: i32,
    low_code: i32,
    high_code: i32,
}

impl<T: Real> Grid<T> {
    /// The grid of `bits` (2 to 8) over an extent. `None` when the step does not fit the arithmetic.
    #[must_use]
    pub fn new(bits: u32, asymmetric: bool, extent: Extent<T>) -> Option<Self> {
        Self::stored(bits, asymmetric, extent, None)
    }

    /// The same with a scale that is stored as a number of a 16-bit format, and so rounded before any code is made.
    #[must_use]
    pub fn stored(bits: u32, asymmetric: bool, extent: Extent<T>, format: Option<SmallFloat>) -> Option<Self> {
        let rounded = |scale: T| format.map_or(scale, |format| round_small(format, scale));
        let grid = if asymmetric {
            let levels = (1 << bits) - 1;
            let scale = rounded(extent.high.sub(extent.low).div(T::from_code(levels)));
            let zero_point =
                if scale == T::ZERO { 0 } else { T::ZERO.sub(extent.low).div(scale).round_to_code().clamp(0, levels) };
            Self { scale, zero_point, low_code: 0, high_code: levels }
        } else {
            let top = (1 << (bits - 1)) - 1;
            let scale = rounded(extent.abs_max().div(T::from_code(top)));
            Self { scale, zero_point: 0, low_code: -top, high_code: top }
        };
        grid.scale.is_finite().then_some(grid)
    }

    /// The code of a finite value: nearest level, ties to even, clipped.
    #[must_use]
    #[inline(always)]
    pub fn code(&self, w: T) -> i32 {
        if self.scale == T::ZERO { self.zero_point } else { self.level(w) }
    }

    /// [`Grid::code`] where the scale is known not to be 0: straight-line arithmetic that compilers widen.
    #[inline(always)]
    pub(super) fn level(&self, w: T) -> i32 {
        (w.div(self.scale).round_to_code() + self.zero_point).clamp(self.low_code, self.high_code)
    }

    /// The lowest and the highest level, counted from the one that reads 0.
    #[must_use]
    pub fn levels(&self) -> [i32; 2] {
        [self.low_code - self.zero_point, self.high_code - self.zero_point]
    }

    /// Whether a finite value lies beyond the end levels by more than half a step: what it loses is clipped, not rounded.
    #[must_use]
    #[inline(always)]
    pub fn clips(&self, w: T) -> bool {
        let code = if self.scale == T::ZERO { 0 } else { w.div(self.scale).round_to_code() + self.zero_point };
        code < self.low_code || code > self.high_code
    }

    /// The value of a code; the zero point reads +0.
    #[must_use]
    #[inline(always)]
    pub fn value(&self, code: i32) -> T {
        T::from_code(code - self.zero_point).mul(self.scale)
    }

    /// Codes and values of a whole unit.
    pub fn quantize(&self, values: &[T], codes: &mut [i32], results: &mut [T]) {
        if self.scale == T::ZERO {
            codes.fill(self.zero_point);
            results.fill(T::ZERO);
            return;
        }
        each::quantize(*self, values, codes, results);
    }
}

/// Where the scale is known not to be 0.
impl<T: Real> Quantizer<T> for Grid<T> {
    #[inline(always)]
    fn one(&self, w: T) -> (i32, T) {
        let code = self.level(w);
        (code, self.value(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::convert::{BF16, F16};
    use crate::kernels::dispatch::Level;
    use crate::kernels::each::Each;

    fn run(bits: u32, asymmetric: bool, w: &[f32]) -> (Grid<f32>, Vec<i32>, Vec<f32>) {
        let grid = Grid::new(bits, asymmetric, Extent::of(w)).unwrap();
        let (mut codes, mut q) = (vec![0; w.len()], vec![0.0; w.len()]);
        grid.quantize(w, &mut codes, &mut q);
        (grid, codes, q)
    }

    #[test]
    fn a_symmetric_row_by_hand() {
        // scale 7/7 = 1: halves go to even, the ends are held exactly.
        let (grid, codes, q) = run(4, false, &[-7.0, -2.5, -0.5, 0.4, 0.5, 1.5, 3.5, 7.0]);
        assert_eq!((grid.scale, grid.zero_point), (1.0, 0));
        assert_eq!(codes, [-7, -2, 0, 0, 0, 2, 4, 7]);
        assert_eq!(q, [-7.0, -2.0, 0.0, 0.0, 0.0, 2.0, 4.0, 7.0]);
        assert!(q[2].is_sign_positive());
    }

    #[test]
    fn an_asymmetric_row_by_hand() {
        // lo −1, hi 2: s = 3/3 = 1, z = 1.
        let (grid, codes, q) = run(2, true, &[-1.0, 0.0, 0.5, 1.5, 2.0]);
        assert_eq!((grid.scale, grid.zero_point), (1.0, 1));
        assert_eq!(codes, [0, 1, 1, 3, 3]);
        assert_eq!(q, [-1.0, 0.0, 0.0, 2.0, 2.0]);
        // All positive: the range still starts at zero.
        assert_eq!(run(8, true, &[255.0, 51.0]).1, [255, 51]);
    }

    #[test]
    fn nothing_and_next_to_nothing() {
        for asymmetric in [false, true] {
            assert_eq!(run(4, asymmetric, &[0.0, -0.0]).2, [0.0, 0.0]);
            let (grid, codes, q) = run(8, asymmetric, &[1e-45, 0.0]);
            assert_eq!((grid.scale, codes, q), (0.0, vec![0, 0], vec![0.0, 0.0]));
        }
        assert!(Grid::new(8, true, Extent { low: -3e38_f32, high: 3e38 }).is_none());
        assert!(Grid::new(8, false, Extent { low: -3e38_f32, high: 3e38 }).is_some());
    }

    #[test]
    fn a_stored_scale_is_rounded_before_codes_are_made() {
        // 1 / 7 = 0.142857…: 0x3e12 in bf16 is 0.142578125. 0.5 / 0.142578125 = 3.507 is 4, where 1/7 would make 3.5 of it.
        let extent = Extent { low: -1.0_f32, high: 0.5 };
        let grid = Grid::stored(4, false, extent, Some(BF16)).unwrap();
        assert_eq!((grid.scale, grid.code(0.5), grid.code(-1.0)), (f32::from_bits(0x3e12_0000), 4, -7));
        assert_eq!(Grid::stored(4, false, extent, None), Grid::new(4, false, extent));
        // The zero point goes by the scale as it is stored: 1 / 0.1 = 10, 0x3dcd = 0.10009765625.
        let grid = Grid::stored(4, true, extent, Some(BF16)).unwrap();
        assert_eq!((grid.scale, grid.zero_point), (f32::from_bits(0x3dcd_0000), 10));
        // What rounds to 0 is 0 for good.
        let least = Grid::stored(8, false, Extent { low: 0.0, high: 1e-6_f32 }, Some(F16)).unwrap();
        assert_eq!((least.scale, least.code(1e-6)), (0.0, 0));
    }

    #[test]
    fn more_bits_never_hurt_much_and_scaling_by_two_changes_no_code() {
        let w: Vec<f32> = (0..257).map(|i| ((i * 7919 % 509) as f32 - 254.0) / 97.0).collect();
        for asymmetric in [false, true] {
            let mut last = f64::INFINITY;
            for bits in 2..=8 {
                let (_, codes, q) = run(bits, asymmetric, &w);
                let error: f64 = w.iter().zip(&q).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                assert!(error < last, "{bits} bits");
                last = error;
                let doubled: Vec<f32> = w.iter().map(|x| x * 2.0).collect();
                assert_eq!(run(bits, asymmetric, &doubled).1, codes);
                // A symmetric lattice is a fixed point: quantizing the result again gives the same codes. (An asymmetric
                // one may lose its end level to the rounding of the zero point.)
                assert!(asymmetric || run(bits, false, &q).1 == codes, "{bits}");
            }
        }
    }

    #[test]
    fn extents_over_all_tails() {
        for n in 0..40 {
            let w: Vec<f32> = (0..n).map(|i| ((i * 31 % 17) as f32) - 8.0).collect();
            let got = Extent::of(&w);
            for level in Level::all() {
                assert_eq!(level.run(Ends(&w)), got, "{}", level.name());
                let grid = Grid::new(4, n % 2 == 1, got).unwrap();
                if grid.scale > 0.0 {
                    let (mut codes, mut results) = (vec![0; w.len()], vec![0.0; w.len()]);
                    level.run(Each { quantizer: grid, values: &w, codes: &mut codes, results: &mut results });
                    let plain: Vec<i32> = w.iter().map(|&x| grid.code(x)).collect();
                    assert_eq!(codes, plain);
                    assert!(results.iter().zip(&codes).all(|(&q, &code)| q == grid.value(code)));
                }
            }
            assert_eq!(got.low, w.iter().copied().fold(0.0, f32::min));
            assert_eq!(got.high, w.iter().copied().fold(0.0, f32::max));
        }
        assert_eq!(Extent { low: -5.0_f32, high: 2.0 }.abs_max(), 5.0);
    }
}
