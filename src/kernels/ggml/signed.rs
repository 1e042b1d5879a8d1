//! Q3_K and Q6_K: for every sub-block a step of either sign, and codes on both sides of zero.
//!
//! The value of the largest magnitude is put on the lowest code, which reaches one step farther than the highest; hence the
//! sign. Errors count by w = x²: what is large has to be right.

use super::codec::{Encode, half, to_half};
use super::lanes::{ALL_ZERO, LANES, Wide, nearest, one_after_another, side_by_side, signed_peaks};
use super::super_block::{Q3_K, Q6_K, pack_ones, pack_pairs, pack_scales_of_q3_k, pack_twos};

/// A code from −`top` to `top` − 1.
#[inline(always)]
fn code(place: f32, top: i32) -> i32 {
    nearest(place).clamp(-top, top - 1)
}

/// Σ w q x and Σ w q² of the codes that `per_step` gives, with w = x².
#[inline(always)]
fn products(x: &[Wide; 16], per_step: &Wide, top: i32) -> (Wide, Wide) {
    let (mut with_x, mut with_q) = ([0.0; LANES], [0.0; LANES]);
    for row in x {
        for lane in 0..LANES {
            let x = row[lane];
            let q = code(per_step[lane] * x, top) as f32;
            let w = x * x;
            with_x[lane] += w * x * q;
            with_q[lane] += w * q * q;
        }
    }
    (with_x, with_q)
}

/// Steps of 16 sub-blocks, and for each what their codes were made with (0: all zeros), by `make_qx_quants` with w = x²: of 19
/// codings whose lowest code lies about the largest magnitude the one whose least-squares step Σwqx / Σwq² leaves the least
/// error.
#[inline(always)]
fn searched(x: &[Wide; 16], top: i32) -> (Wide, Wide) {
    let peaks = signed_peaks(x);
    let end = top as f32;
    let mut per_step: Wide = peaks.map(|peak| -end / peak);
    let (mut steps, mut best) = ([0.0; LANES], [0.0; LANES]);
    let (with_x, with_q) = products(x, &per_step, top);
    for lane in 0..LANES {
        steps[lane] = if with_q[lane] == 0.0 { 0.0 } else { with_x[lane] / with_q[lane] };
        best[lane] = steps[lane] * with_x[lane];
    }
    for attempt in (-9_i8..=9).filter(|&attempt| attempt != 0) {
        let tried = peaks.map(|peak| -(end + 0.1 * f32::from(attempt)) / peak);
        let (with_x, with_q) = products(x, &tried, top);
        for lane in 0..LANES {
            let better = with_q[lane] > 0.0 && with_x[lane] * with_x[lane] > best[lane] * with_q[lane];
            let step = with_x[lane] / with_q[lane];
            steps[lane] = if better { step } else { steps[lane] };
            best[lane] = if better { step * with_x[lane] } else { best[lane] };
            per_step[lane] = if better { tried[lane] } else { per_step[lane] };
        }
    }
    for lane in 0..LANES {
        steps[lane] = if peaks[lane] == 0.0 { 0.0 } else { steps[lane] };
        per_step[lane] = if peaks[lane] == 0.0 { 0.0 } else { per_step[lane] };
    }
    (steps, per_step)
}

/// Of some steps the one of the largest magnitude, the first of equals.
#[inline(always)]
fn longest(steps: &Wide) -> f32 {
    steps.iter().fold(0.0_f32, |longest, &step| if step.abs() > longest.abs() { step } else { longest })
}

/// Q6_K (`quantize_row_q6_K_ref`): codes of −32 to 31, scales of −128 to 127.
impl Encode<256, 210, 1> for Q6_K {
    #[inline(always)]
    fn encode([values]: &[[f32; 256]; 1], [block]: &mut [[u8; 210]; 1]) {
        const TOP: i32 = 32;
        let x = side_by_side(values.as_chunks().0);
        let (steps, per_step) = searched(&x, TOP);
        let longest = longest(&steps);
        if longest.abs() < ALL_ZERO {
            block.fill(0);
            return;
        }
        let per_scale = -128.0 / longest;
        let [bytes @ .., d0, d1] = block;
        [*d0, *d1] = to_half(1.0 / per_scale);
        let d = half([*d0, *d1]);
        let (packed, scales) = bytes.split_at_mut(192);
        let mut step = [0.0; LANES];
        for (lane, scale) in (0..LANES).zip(scales) {
            let whole = nearest(per_scale * steps[lane]).min(127) as i8;
            (*scale, step[lane]) = (whole as u8, d * f32::from(whole));
        }
        let mut codes = [[0; LANES]; 16];
        for (row, codes) in x.iter().zip(&mut codes) {
            for lane in 0..LANES {
                // Where no step is left the codes of the search stay, 0 of zeros.
                let place = if step[lane] == 0.0 { per_step[lane] * row[lane] } else { row[lane] / step[lane] };
                let nothing = step[lane] == 0.0 && per_step[lane] == 0.0;
                codes[lane] = if nothing { 0 } else { code(place, TOP) + TOP } as u8;
            }
        }
        let codes = one_after_another(&codes);
        let (low, high) = packed.split_at_mut(128);
        pack_pairs(codes.as_flattened(), 64, low);
        pack_twos(codes.as_flattened(), 4, high);
    }
}

/// The state of a search that moves one code at a time: Σ w q x and Σ w q².
struct Sums {
    with_x: Wide,
    with_q: Wide,
}

/// Steps and codes of two super-blocks by `make_q3_quants`: from the codes of the largest magnitude, each code in turn moves
/// to where the step of the others would have it, if that lessens the error; five rounds, or until none moves (a lane
/// where none has moved stays as it is in further rounds). Each move waits for the last, so two super-blocks take turns.
#[inline(always)]
fn descended(x: &[[Wide; 16]; 2], top: i32) -> ([Wide; 2], [[Wide; 16]; 2]) {
    let peaks = [signed_peaks(&x[0]), signed_peaks(&x[1])];
    let mut codes = [[[0.0; LANES]; 16]; 2];
    let mut sums = [begun(&x[0], &peaks[0], top, &mut codes[0]), begun(&x[1], &peaks[1], top, &mut codes[1])];
    for _ in 0..5 {
        let mut moved = [[0; LANES]; 2];
        for i in 0..16 {
            moves(&x[0][i], &mut codes[0][i], &mut sums[0], top, &mut moved[0]);
            moves(&x[1][i], &mut codes[1][i], &mut sums[1], top, &mut moved[1]);
        }
        if moved == [[0; LANES]; 2] {
            break;
        }
    }
    let mut steps = [[0.0; LANES]; 2];
    for ((steps, codes), (sums, peaks)) in steps.iter_mut().zip(&mut codes).zip(sums.iter().zip(&peaks)) {
        for lane in 0..LANES {
            let some = peaks[lane] != 0.0 && sums.with_q[lane] > 0.0;
            steps[lane] = if some { sums.with_x[lane] / sums.with_q[lane] } else { 0.0 };
            for codes in &mut *codes {
                codes[lane] = if peaks[lane] == 0.0 { 0.0 } else { codes[lane] + top as f32 };
            }
        }
    }
    (steps, codes)
}

/// Codes where the largest magnitude is the lowest of them, and their sums.
#[inline(always)]
fn begun(x: &[Wide; 16], peaks: &Wide, top: i32, codes: &mut [Wide; 16]) -> Sums {
    let (mut with_x, mut with_q) = ([0.0; LANES], [0.0; LANES]);
    let per_step = peaks.map(|peak| -(top as f32) / peak);
    for (row, codes) in x.iter().zip(codes) {
        for lane in 0..LANES {
            let x = row[lane];
            let q = code(per_step[lane] * x, top) as f32;
            let w = x * x;
            codes[lane] = q;
            with_x[lane] += w * x * q;
            with_q[lane] += w * q * q;
        }
    }
    Sums { with_x, with_q }
}

/// Moves one code of every lane where that is better, and marks the lanes where it did.
#[inline(always)]
fn moves(row: &Wide, codes: &mut Wide, sums: &mut Sums, top: i32, moved: &mut [u32; LANES]) {
    for lane in 0..LANES {
        let (x, old) = (row[lane], codes[lane]);
        let (with_x, with_q) = (sums.with_x[lane], sums.with_q[lane]);
        let w = x * x;
        let wx = w * x;
        let (others_x, others_q) = (with_x - wx * old, with_q - w * old * old);
        let new = code(x * others_q / others_x, top) as f32;
        let (new_x, new_q) = (others_x + wx * new, others_q + w * new * new);
        let possible = others_x > 0.0 && new != old && new_q > 0.0;
        let better = possible && new_x * new_x * with_q > with_x * with_x * new_q;
        codes[lane] = if better { new } else { old };
        sums.with_x[lane] = if better { new_x } else { with_x };
        sums.with_q[lane] = if better { new_q } else { with_q };
        moved[lane] |= u32::from(better);
    }
}

/// Q3_K (`quantize_row_q3_K_ref`): codes of −4 to 3, scales of −32 to 31.
impl Encode<256, 110, 2> for Q3_K {
    #[inline(always)]
    fn encode(values: &[[f32; 256]; 2], blocks: &mut [[u8; 110]; 2]) {
        const TOP: i32 = 4;
        let x = [side_by_side(values[0].as_chunks().0), side_by_side(values[1].as_chunks().0)];
        let (steps, found) = descended(&x, TOP);
        for ((block, x), (steps, found)) in blocks.iter_mut().zip(&x).zip(steps.iter().zip(&found)) {
            let longest = longest(steps);
            let per_scale = -32.0 / longest;
            let [bytes @ .., d0, d1] = block;
            [*d0, *d1] = to_half(if longest == 0.0 { 0.0 } else { 1.0 / per_scale });
            let d = half([*d0, *d1]);
            let (mut scales, mut step) = ([-32; LANES], [0.0; LANES]);
            for lane in 0..LANES {
                let whole = (nearest(per_scale * steps[lane]) as i8).clamp(-32, 31);
                scales[lane] = if longest == 0.0 { -32 } else { whole };
                step[lane] = d * f32::from(scales[lane]);
            }
            let mut codes = [[0; LANES]; 16];
            for ((row, found), codes) in x.iter().zip(found).zip(&mut codes) {
                for lane in 0..LANES {
                    let on_lattice = code(row[lane] / step[lane], TOP) + TOP;
                    codes[lane] = if step[lane] == 0.0 { found[lane] as i32 } else { on_lattice } as u8;
                }
            }
            let codes = one_after_another(&codes);
            let (thirds, rest) = bytes.split_at_mut(32);
            let (packed, packed_scales) = rest.split_at_mut(64);
            pack_ones(codes.as_flattened(), 2, thirds);
            pack_twos(codes.as_flattened(), 0, packed);
            packed_scales.copy_from_slice(&pack_scales_of_q3_k(scales));
        }
    }
}
