//! Q2_K, Q4_K, Q5_K: for every sub-block a step and a minimum by weighted least squares, then both as small integers.
//!
//! The search is llama.cpp's `make_qkx2_quants`. Codes fix a line q ↦ step · q + low through a sub-block's weights; the best
//! line for given codes is a regression, the best codes for a given line are the nearest, and about twenty lines a little
//! steeper or flatter than the extent suggests are tried. The minimum is never above 0, so that 0 stays near a level.

use super::codec::{Encode, half, to_half};
use super::lanes::{LANES, Wide, nearest, one_after_another, side_by_side};
use super::super_block::{Q2_K, Q4_K, Q5_K, pack_ones, pack_pairs, pack_scales_and_minima, pack_twos};

/// What a type asks of the search.
#[derive(Clone, Copy)]
struct Search {
    /// The highest code.
    top: i32,
    /// Levels that the first attempt has more than `top`.
    first: f32,
    /// Levels that each further attempt has more.
    stride: f32,
    /// Attempts.
    attempts: u8,
    /// Whether errors count by their magnitude, not by their square.
    absolute: bool,
}

/// What was found for sub-blocks: values are about `step` · code − `minimum`.
struct Found {
    step: Wide,
    minimum: Wide,
    /// The coding that this line was fitted to.
    coding: Coding,
}

/// Codes are the nearest integers to (x − low) · `per_step`, from 0 to `top`.
#[derive(Clone, Copy)]
struct Coding {
    per_step: Wide,
    low: Wide,
}

/// A code of the search.
#[inline(always)]
fn code(x: f32, per_step: f32, low: f32, top: i32) -> i32 {
    nearest(per_step * (x - low)).clamp(0, top)
}

/// Sums over a sub-block that do not depend on codes, and its extent.
struct Fixed {
    low: Wide,
    high: Wide,
    weights: Wide,
    weighted: Wide,
}

#[inline(always)]
fn fixed<const N: usize>(x: &[Wide; N], w: &[Wide; N]) -> Fixed {
    let mut sums = Fixed { low: x[0], high: x[0], weights: w[0], weighted: w[0] };
    sums.weighted.iter_mut().zip(x[0]).for_each(|(sum, x)| *sum *= x);
    for (x, w) in x[1..].iter().zip(&w[1..]) {
        for lane in 0..LANES {
            sums.low[lane] = if x[lane] < sums.low[lane] { x[lane] } else { sums.low[lane] };
            sums.high[lane] = if x[lane] > sums.high[lane] { x[lane] } else { sums.high[lane] };
            sums.weights[lane] += w[lane];
            sums.weighted[lane] += w[lane] * x[lane];
        }
    }
    for low in &mut sums.low {
        *low = if *low > 0.0 { 0.0 } else { *low };
    }
    sums
}

/// Σ w · |error| or Σ w · error² of a line over given codes.
#[inline(always)]
fn loss<const N: usize>(
    x: &[Wide; N],
    w: &[Wide; N],
    codes: &[Wide; N],
    step: &Wide,
    low: &Wide,
    absolute: bool,
) -> Wide {
    let (step, low, mut loss) = (*step, *low, [0.0; LANES]);
    for ((x, w), codes) in x.iter().zip(w).zip(codes) {
        for lane in 0..LANES {
            let error = step[lane] * codes[lane] + low[lane] - x[lane];
            loss[lane] += w[lane] * if absolute { error.abs() } else { error * error };
        }
    }
    loss
}

/// The sums of a regression over codes: Σ w q, Σ w q², Σ w q x.
struct Sums {
    codes: Wide,
    squares: Wide,
    products: Wide,
}

/// Codes of an attempt, and their sums.
#[inline(always)]
fn attempt<const N: usize>(x: &[Wide; N], w: &[Wide; N], coding: &Coding, top: i32, codes: &mut [Wide; N]) -> Sums {
    let (per_step, low) = (coding.per_step, coding.low);
    // Arrays of their own, so that they stay in registers.
    let (mut sums, mut squares, mut products) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for ((x, w), codes) in x.iter().zip(w).zip(codes) {
        for lane in 0..LANES {
            let q = code(x[lane], per_step[lane], low[lane], top) as f32;
            codes[lane] = q;
            let wq = w[lane] * q;
            sums[lane] += wq;
            squares[lane] += wq * q;
            products[lane] += wq * x[lane];
        }
    }
    Sums { codes: sums, squares, products }
}

/// What maps the extent of every lane to so many levels.
#[inline(always)]
fn per_step(levels: f32, low: &Wide, high: &Wide) -> Wide {
    let mut per_step = [0.0; LANES];
    for lane in 0..LANES {
        per_step[lane] = levels / (high[lane] - low[lane]);
    }
    per_step
}

/// The search, for 16 sub-blocks at a time.
#[inline(always)]
fn search<const N: usize>(x: &[Wide; N], w: &[Wide; N], how: Search) -> Found {
    let fixed = fixed(x, w);
    let (mut low, high) = (fixed.low, fixed.high);
    let mut codes = [[0.0; LANES]; N];
    let mut coding = Coding { per_step: per_step(how.top as f32, &low, &high), low };
    let mut step = coding.per_step.map(|per_step| 1.0 / per_step);
    attempt(x, w, &coding, how.top, &mut codes);
    let mut least = loss(x, w, &codes, &step, &low, how.absolute);
    for number in 0..how.attempts {
        let levels = how.first + how.stride * f32::from(number) + how.top as f32;
        // The extent follows the best line, as it does in the reference.
        let tried = Coding { per_step: per_step(levels, &low, &high), low };
        let sums = attempt(x, w, &tried, how.top, &mut codes);
        let Line { solvable, step: new_step, low: new_low } = line(&fixed, &sums);
        let loss = loss(x, w, &codes, &new_step, &new_low, how.absolute);
        for lane in 0..LANES {
            let better = solvable[lane] && loss[lane] < least[lane];
            least[lane] = if better { loss[lane] } else { least[lane] };
            step[lane] = if better { new_step[lane] } else { step[lane] };
            low[lane] = if better { new_low[lane] } else { low[lane] };
            coding.per_step[lane] = if better { tried.per_step[lane] } else { coding.per_step[lane] };
            coding.low[lane] = if better { tried.low[lane] } else { coding.low[lane] };
        }
    }
    // Where all weights are the same there is no line, and every code is 0.
    for ((step, per_step), (high, low)) in step.iter_mut().zip(&mut coding.per_step).zip(high.iter().zip(fixed.low)) {
        (*step, *per_step) = if *high == low { (0.0, 0.0) } else { (*step, *per_step) };
    }
    Found { step, minimum: low.map(|low| -low), coding }
}

/// A line through weights at given codes, where there is one.
struct Line {
    solvable: [bool; LANES],
    step: Wide,
    low: Wide,
}

/// The line of least squares that does not begin above 0.
#[inline(always)]
fn line(fixed: &Fixed, sums: &Sums) -> Line {
    let mut line = Line { solvable: [false; LANES], step: [0.0; LANES], low: [0.0; LANES] };
    for lane in 0..LANES {
        let (weights, weighted) = (fixed.weights[lane], fixed.weighted[lane]);
        let (codes, squares, products) = (sums.codes[lane], sums.squares[lane], sums.products[lane]);
        let determinant = weights * squares - codes * codes;
        let step = (weights * products - weighted * codes) / determinant;
        let low = (squares * weighted - codes * products) / determinant;
        line.solvable[lane] = determinant > 0.0;
        line.step[lane] = if low > 0.0 { products / squares } else { step };
        line.low[lane] = if low > 0.0 { 0.0 } else { low };
    }
    line
}

/// The largest of some steps or minima, 0 at least.
#[inline(always)]
fn largest(of: &[f32]) -> f32 {
    of.iter().fold(0.0, |largest, &x| if x > largest { x } else { largest })
}

/// Scales and minima of a super-block as integers up to `top`, and what 1 of them stands for.
#[inline(always)]
fn rounded(of: &[f32], top: f32) -> (impl Fn(f32) -> i32, f32) {
    let largest = largest(of);
    let per_step = if largest > 0.0 { top / largest } else { 0.0 };
    (move |x| nearest(per_step * x), largest / top)
}

impl Found {
    /// Codes of all sub-blocks on the lines that are left of theirs when steps and minima are rounded; those of the search
    /// where no step is left.
    #[inline(always)]
    fn codes<const N: usize>(&self, x: &[Wide; N], step: &Wide, minimum: &Wide, top: i32) -> [[u8; N]; LANES] {
        let (step, minimum, coding) = (*step, *minimum, self.coding);
        let mut codes = [[0; LANES]; N];
        for (row, codes) in x.iter().zip(&mut codes) {
            for lane in 0..LANES {
                let searched = code(row[lane], coding.per_step[lane], coding.low[lane], top);
                let on_line = nearest((row[lane] + minimum[lane]) / step[lane]).clamp(0, top);
                codes[lane] = if step[lane] == 0.0 { searched } else { on_line } as u8;
            }
        }
        one_after_another(&codes)
    }
}

/// Q2_K (`quantize_row_q2_K_ref`): weights count by their magnitude, and so do errors.
impl Encode<256, 84, 1> for Q2_K {
    #[inline(always)]
    fn encode([values]: &[[f32; 256]; 1], [block]: &mut [[u8; 84]; 1]) {
        const HOW: Search = Search { top: 3, first: -0.5, stride: 0.1, attempts: 16, absolute: true };
        let x: [Wide; 16] = side_by_side(values.as_chunks().0);
        let found = search(&x, &x.map(|row| row.map(f32::abs)), HOW);
        let (scale_of, d) = rounded(&found.step, 15.0);
        let (minimum_of, dmin) = rounded(&found.minimum, 15.0);
        let [bytes @ .., d0, d1, m0, m1] = block;
        let (scales, packed) = bytes.split_at_mut(16);
        ([*d0, *d1], [*m0, *m1]) = (to_half(d), to_half(dmin));
        let (d, dmin) = (half([*d0, *d1]), half([*m0, *m1]));
        let (mut step, mut minimum) = ([0.0; LANES], [0.0; LANES]);
        for (lane, scale) in (0..LANES).zip(scales) {
            *scale = (scale_of(found.step[lane]) | minimum_of(found.minimum[lane]) << 4) as u8;
            (step[lane], minimum[lane]) = (d * f32::from(*scale & 15), dmin * f32::from(*scale >> 4));
        }
        let codes = found.codes(&x, &step, &minimum, HOW.top);
        pack_twos(codes.as_flattened(), 0, packed);
    }
}

/// What Q4_K and Q5_K have in common: two super-blocks before their codes are packed.
struct Coded {
    /// d, dmin and the packed scales and minima of each.
    heads: [[u8; 16]; 2],
    codes: [[u8; 32]; LANES],
}

/// Two super-blocks of eight sub-blocks (`quantize_row_q4_K_ref`): weights count by their magnitude above the sub-block's root
/// mean square.
#[inline(always)]
fn coded(values: &[[f32; 256]; 2], how: Search) -> Coded {
    let x: [Wide; 32] = side_by_side(values.as_flattened().as_chunks().0);
    let mut squares = [0.0; LANES];
    for row in &x {
        for lane in 0..LANES {
            squares[lane] += row[lane] * row[lane];
        }
    }
    let usual = squares.map(|sum| (sum / 32.0).sqrt());
    let mut w = x;
    for row in &mut w {
        row.iter_mut().zip(usual).for_each(|(x, usual)| *x = usual + x.abs());
    }
    let found = search(&x, &w, how);
    let (mut step, mut minimum, mut heads) = ([0.0; LANES], [0.0; LANES], [[0; 16]; 2]);
    for (head, first) in heads.iter_mut().zip([0, 8]) {
        let lanes = first..first + 8;
        let (scale_of, d) = rounded(&found.step[lanes.clone()], 63.0);
        let (minimum_of, dmin) = rounded(&found.minimum[lanes.clone()], 63.0);
        let (d, dmin) = (to_half(d), to_half(dmin));
        let at_most = |scale: i32| (scale as u8).min(63);
        let mut scales = [(0, 0); 8];
        for (lane, scales) in lanes.zip(&mut scales) {
            *scales = (at_most(scale_of(found.step[lane])), at_most(minimum_of(found.minimum[lane])));
            (step[lane], minimum[lane]) = (half(d) * f32::from(scales.0), half(dmin) * f32::from(scales.1));
        }
        let [d0, d1, m0, m1, packed @ ..] = head;
        ([*d0, *d1], [*m0, *m1], *packed) = (d, dmin, pack_scales_and_minima(scales));
    }
    Coded { heads, codes: found.codes(&x, &step, &minimum, how.top) }
}

impl Encode<256, 144, 2> for Q4_K {
    #[inline(always)]
    fn encode(values: &[[f32; 256]; 2], blocks: &mut [[u8; 144]; 2]) {
        const HOW: Search = Search { top: 15, first: -1.0, stride: 0.1, attempts: 21, absolute: false };
        let Coded { heads, codes } = coded(values, HOW);
        for ((block, head), codes) in blocks.iter_mut().zip(&heads).zip(codes.as_chunks::<8>().0) {
            let (block_head, packed) = block.split_at_mut(16);
            block_head.copy_from_slice(head);
            pack_pairs(codes.as_flattened(), 32, packed);
        }
    }
}

/// Q5_K (`quantize_row_q5_K_ref`): as Q4_K, with a bit more.
impl Encode<256, 176, 2> for Q5_K {
    #[inline(always)]
    fn encode(values: &[[f32; 256]; 2], blocks: &mut [[u8; 176]; 2]) {
        const HOW: Search = Search { top: 31, first: -0.5, stride: 0.1, attempts: 16, absolute: false };
        let Coded { heads, codes } = coded(values, HOW);
        for ((block, head), codes) in blocks.iter_mut().zip(&heads).zip(codes.as_chunks::<8>().0) {
            let (block_head, rest) = block.split_at_mut(16);
            let (fifths, packed) = rest.split_at_mut(32);
            block_head.copy_from_slice(head);
            pack_ones(codes.as_flattened(), 4, fifths);
            pack_pairs(codes.as_flattened(), 32, packed);
        }
    }
}
