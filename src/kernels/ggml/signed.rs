//! Q3_K and Q6_K: for every sub-block a step of either sign, and codes on both sides of zero.
//!
//! The value of the largest magnitude is put on the lowest code, which reaches one step farther than the highest; hence the
//! sign. Errors count by w = x²: what is large has to be right.

use super::codec::{Encode, half, to_half};
use super::lanes::{ALL_ZERO, LANES, Wide, nearest, side_by_side, signed_peaks};
use super::super_block::{Q3_K, Q6_K, pack_scales_of_q3_k, pack_sixes, pack_twos};

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
    fn encode(values: &[[f32; 256]; 1], [block]: &mut [[u8; 210]; 1]) {
        const TOP: i32 = 32;
        let runs = values.as_flattened().as_chunks::<16>().0;
        let (steps, per_steps) = searched(&side_by_side(runs), TOP);
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
        let mut codes = [0; 256];
        for (lane, ((x, codes), scale)) in runs.iter().zip(codes.as_chunks_mut::<16>().0).zip(scales).enumerate() {
            let whole = nearest(per_scale * steps[lane]).min(127) as i8;
            *scale = whole as u8;
            let (step, per_step) = (d * f32::from(whole), per_steps[lane]);
            if step == 0.0 && per_step == 0.0 {
                continue;
            }
            for (q, &x) in codes.iter_mut().zip(x) {
                let place = if step == 0.0 { per_step * x } else { x / step };
                *q = (code(place, TOP) + TOP) as u8;
            }
        }
        pack_sixes(&codes, packed);
    }
}

/// The state of a search that moves one code at a time: Σ w q x and Σ w q².
struct Sums {
    with_x: Wide,
    with_q: Wide,
}

/// Steps and codes of 16 sub-blocks by `make_q3_quants`: from the codes of the largest magnitude, each code in turn moves to
/// where the step of the others would have it, if that lessens the error; five rounds, or until none moves.
#[inline(always)]
fn descended(x: &[Wide; 16], top: i32) -> (Wide, [Wide; 16]) {
    let peaks = signed_peaks(x);
    let mut sums = Sums { with_x: [0.0; LANES], with_q: [0.0; LANES] };
    let mut codes = [[0.0; LANES]; 16];
    for (row, codes) in x.iter().zip(&mut codes) {
        for lane in 0..LANES {
            let x = row[lane];
            let q = code(-(top as f32) / peaks[lane] * x, top) as f32;
            let w = x * x;
            codes[lane] = q;
            sums.with_x[lane] += w * x * q;
            sums.with_q[lane] += w * q * q;
        }
    }
    for _ in 0..5 {
        let mut moved = false;
        for (row, codes) in x.iter().zip(&mut codes) {
            moved |= moves(row, codes, &mut sums, top);
        }
        if !moved {
            break;
        }
    }
    let mut steps = [0.0; LANES];
    for lane in 0..LANES {
        let some = peaks[lane] != 0.0 && sums.with_q[lane] > 0.0;
        steps[lane] = if some { sums.with_x[lane] / sums.with_q[lane] } else { 0.0 };
        for codes in &mut codes {
            codes[lane] = if peaks[lane] == 0.0 { 0.0 } else { codes[lane] + top as f32 };
        }
    }
    (steps, codes)
}

/// One code of every lane where it is better; whether any moved.
#[inline(always)]
fn moves(row: &Wide, codes: &mut Wide, sums: &mut Sums, top: i32) -> bool {
    let mut moved = [false; LANES];
    for lane in 0..LANES {
        let (x, old) = (row[lane], codes[lane]);
        let (with_x, with_q) = (sums.with_x[lane], sums.with_q[lane]);
        let w = x * x;
        let wx = w * x;
        let (others_x, others_q) = (with_x - wx * old, with_q - w * old * old);
        let new = code(x * others_q / others_x, top) as f32;
        let (new_x, new_q) = (others_x + wx * new, others_q + w * new * new);
        let better = others_x > 0.0 && new != old && new_q > 0.0 && new_x * new_x * with_q > with_x * with_x * new_q;
        codes[lane] = if better { new } else { old };
        sums.with_x[lane] = if better { new_x } else { with_x };
        sums.with_q[lane] = if better { new_q } else { with_q };
        moved[lane] = better;
    }
    moved.contains(&true)
}

/// Q3_K (`quantize_row_q3_K_ref`): codes of −4 to 3, scales of −32 to 31.
impl Encode<256, 110, 1> for Q3_K {
    #[inline(always)]
    fn encode(values: &[[f32; 256]; 1], [block]: &mut [[u8; 110]; 1]) {
        const TOP: i32 = 4;
        let runs = values.as_flattened().as_chunks::<16>().0;
        let (steps, found) = descended(&side_by_side(runs), TOP);
        let longest = longest(&steps);
        let per_scale = -32.0 / longest;
        let (d, scales) = if longest == 0.0 {
            (0.0, [-32; 16])
        } else {
            (1.0 / per_scale, steps.map(|step| (nearest(per_scale * step) as i8).clamp(-32, 31)))
        };
        let [bytes @ .., d0, d1] = block;
        [*d0, *d1] = to_half(d);
        let d = half([*d0, *d1]);
        let mut codes = [0; 256];
        for (lane, ((x, codes), scale)) in runs.iter().zip(codes.as_chunks_mut::<16>().0).zip(scales).enumerate() {
            let step = d * f32::from(scale);
            for ((q, &x), found) in codes.iter_mut().zip(x).zip(&found) {
                *q = if step == 0.0 { found[lane] as u8 } else { (code(x / step, TOP) + TOP) as u8 };
            }
        }
        let (thirds, rest) = bytes.split_at_mut(32);
        let (packed, packed_scales) = rest.split_at_mut(64);
        thirds.fill(0);
        for (i, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
            thirds.iter_mut().zip(codes).for_each(|(third, q)| *third |= (q >> 2) << i);
        }
        pack_twos(&codes.map(|q| q & 3), packed);
        packed_scales.copy_from_slice(&pack_scales_of_q3_k(scales));
    }
}
