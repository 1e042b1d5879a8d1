//! The encoders in plain words, one block after the other: what the wide ones are held to.
//!
//! Written after llama.cpp's reference functions, which are named; conversions that C leaves open are those of x86.

use super::BlockType;
use super::super_block::{pack_scales_and_minima, pack_scales_of_q3_k, pack_twos};
use crate::kernels::convert::{BF16, F16, encode_small, f32_from_e8m0, f32_from_f16};

/// Values as blocks of any type that can be written.
pub(super) fn encode(kind: BlockType, values: &[f32]) -> Vec<u8> {
    let blocks = values.chunks(kind.elements());
    blocks.flat_map(|x| one(kind, x)).collect()
}

fn one(kind: BlockType, x: &[f32]) -> Vec<u8> {
    use BlockType as T;
    match kind {
        T::F32 => x[0].to_le_bytes().to_vec(),
        T::F16 => encode_small(F16, f64::from(x[0])).to_le_bytes().to_vec(),
        T::BF16 => encode_small(BF16, f64::from(x[0])).to_le_bytes().to_vec(),
        T::Q4_0 => {
            let (d, codes) = around_zero(x, 8.0);
            [half(d).to_vec(), nibbles(&codes)].concat()
        }
        T::Q5_0 => {
            let (d, codes) = around_zero(x, 16.0);
            [half(d).to_vec(), fifths(&codes), nibbles(&codes)].concat()
        }
        T::Q4_1 => {
            let (d, m, codes) = above_minimum(x, 15.0);
            [half(d).to_vec(), half(m).to_vec(), nibbles(&codes)].concat()
        }
        T::Q5_1 => {
            let (d, m, codes) = above_minimum(x, 31.0);
            [half(d).to_vec(), half(m).to_vec(), fifths(&codes), nibbles(&codes)].concat()
        }
        T::Q8_0 => q8_0(x),
        T::Q2_K => q2_k(x),
        T::Q3_K => q3_k(x),
        T::Q4_K => q4_k(x),
        T::Q5_K => q5_k(x),
        T::Q6_K => q6_k(x),
        T::IQ4_NL => iq4_nl(x),
        T::IQ4_XS => iq4_xs(x),
        T::TQ1_0 => tq1_0(x),
        T::TQ2_0 => tq2_0(x),
        T::MXFP4 => mxfp4(x),
        T::NVFP4 => x.chunks(16).map(nvfp4).fold(Vec::new(), |block, (scale, codes)| {
            let scales = block.len() / 9;
            [&block[..scales], &[scale], &block[scales..], &codes].concat()
        }),
        other => panic!("{other} is not written"),
    }
}

// ---------------------------------------------------------------- what several need

fn half(x: f32) -> [u8; 2] {
    encode_small(F16, f64::from(x)).to_le_bytes()
}

fn rounded_to_half(x: f32) -> f32 {
    f32_from_f16(encode_small(F16, f64::from(x)))
}

/// A float as an integer, as x86 converts it: what does not fit becomes the least.
fn truncated(x: f32) -> i32 {
    if x.abs() < 2_147_483_648.0 { x as i32 } else { i32::MIN }
}

/// `nearest_int`.
fn nearest(x: f32) -> i32 {
    ((x + 12_582_912.0).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

fn inverse(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { 1.0 / x }
}

/// The value whose magnitude is the largest, the first of several; 0 when there are only zeros.
fn peak(x: &[f32]) -> f32 {
    let mut peak = 0.0_f32;
    for &x in x {
        if x.abs() > peak.abs() {
            peak = x;
        }
    }
    peak
}

fn nibbles(codes: &[u8]) -> Vec<u8> {
    let (low, high) = codes.split_at(codes.len() / 2);
    low.iter().zip(high).map(|(low, high)| low & 15 | high << 4).collect()
}

fn fifths(codes: &[u8]) -> Vec<u8> {
    codes.chunks(8).map(|eight| (0..8).map(|i| (eight[i] >> 4 & 1) << i).sum()).collect()
}

// ---------------------------------------------------------------- one step for a block

/// `quantize_row_q4_0_ref`, `quantize_row_q5_0_ref`.
fn around_zero(x: &[f32], end: f32) -> (f32, Vec<u8>) {
    let d = peak(x) / -end;
    let per_step = inverse(d);
    let top = 2 * end as i32 - 1;
    let code = |x: &f32| i32::from(truncated(x * per_step + (end + 0.5)) as i8).min(top) as u8;
    (d, x.iter().map(code).collect())
}

/// `quantize_row_q4_1_ref`, `quantize_row_q5_1_ref`.
fn above_minimum(x: &[f32], top: f32) -> (f32, f32, Vec<u8>) {
    let (mut low, mut high) = (f32::MAX, -f32::MAX);
    for &x in x {
        low = if x < low { x } else { low };
        high = if x > high { x } else { high };
    }
    let d = (high - low) / top;
    let per_step = inverse(d);
    let code = |x: &f32| i32::from(truncated((x - low) * per_step + 0.5) as i8).min(top as i32) as u8;
    (d, low, x.iter().map(code).collect())
}

/// `quantize_row_q8_0_ref`.
fn q8_0(x: &[f32]) -> Vec<u8> {
    let d = peak(x).abs() / 127.0;
    let per_step = inverse(d);
    let codes = x.iter().map(|x| truncated((x * per_step).round()) as u8);
    half(d).into_iter().chain(codes).collect()
}

// ---------------------------------------------------------------- ternary

/// Trits 0, 1, 2; `lroundf` of what is no number is a number whose low bits are 0.
fn trits(x: &[f32]) -> (f32, Vec<u8>) {
    let d = peak(x).abs();
    let per_step = inverse(d);
    (d, x.iter().map(|x| (truncated((x * per_step).round()) + 1) as u8).collect())
}

/// `quantize_row_tq1_0_ref`.
fn tq1_0(x: &[f32]) -> Vec<u8> {
    let (d, trits) = trits(x);
    let byte = |trits: [u8; 5]| {
        let number = trits.iter().fold(0_u32, |number, &trit| 3 * number + u32::from(trit));
        (number * 256).div_ceil(243) as u8
    };
    let mut block: Vec<u8> = (0..32).map(|m| byte(std::array::from_fn(|n| trits[m + 32 * n]))).collect();
    block.extend((160..176).map(|m| byte(std::array::from_fn(|n| trits[m + 16 * n]))));
    block.extend((240..244).map(|m| byte(std::array::from_fn(|n| if n < 4 { trits[m + 4 * n] } else { 0 }))));
    block.extend(half(d));
    block
}

/// `quantize_row_tq2_0_ref`.
fn tq2_0(x: &[f32]) -> Vec<u8> {
    let (d, trits) = trits(x);
    let mut block = vec![0; 64];
    for (i, trit) in trits.iter().enumerate() {
        block[i / 128 * 32 + i % 32] |= (trit & 3) << (i % 128 / 32 * 2);
    }
    block.extend(half(d));
    block
}

// ---------------------------------------------------------------- FP4

/// `best_index_mxfp4`.
fn nearest_fp4(x: f32, d: f32) -> u8 {
    const LEVELS: [f32; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];
    let distance = |code: u8| (LEVELS[usize::from(code)] * d - x).abs();
    (1..16).fold(0, |best, code| if distance(code) < distance(best) { code } else { best })
}

/// `quantize_row_mxfp4_ref`.
fn mxfp4(x: &[f32]) -> Vec<u8> {
    let peak = peak(x).abs();
    let logarithm = f64::from(peak).log2() as f32;
    let exponent = if peak > 0.0 { (logarithm.floor() - 2.0 + 127.0) as i32 as u8 } else { 0 };
    // 255 is no number in E8M0 itself.
    let d = if exponent == 255 { 2_f32.powi(127) } else { f32_from_e8m0(exponent) / 2.0 };
    let codes: Vec<u8> = x.iter().map(|&x| nearest_fp4(x, d)).collect();
    [vec![exponent], nibbles(&codes)].concat()
}

/// Sixteen values of `quantize_row_nvfp4_ref`: scale and codes.
fn nvfp4(x: &[f32]) -> (u8, Vec<u8>) {
    let wanted = peak(x).abs() / 6.0;
    let exponent = (wanted.to_bits() >> 23) as i32 - 120;
    let eighths = (wanted.to_bits() >> 20 & 7) as i32 + (wanted.to_bits() >> 19 & 1) as i32;
    let scale = if exponent <= 0 {
        ((wanted * 512.0 + 0.5) as u8).min(7)
    } else if exponent >= 15 || exponent == 14 && eighths == 8 {
        0x7e
    } else {
        (8 * exponent + eighths) as u8
    };
    let (exponent, mantissa) = (i32::from(scale / 8), f32::from(scale % 8));
    let d = if exponent == 0 { mantissa / 512.0 } else { (1.0 + mantissa / 8.0) * 2_f32.powi(exponent - 7) };
    let codes: Vec<u8> = x.iter().map(|&x| nearest_fp4(x, d / 2.0)).collect();
    (scale, nibbles(&codes))
}

// ---------------------------------------------------------------- steps and minima

/// `make_qkx2_quants`: step, minimum (as a magnitude) and codes of a sub-block.
fn line(
    x: &[f32],
    w: &[f32],
    top: i32,
    (first, stride, attempts): (f32, f32, i32),
    absolute: bool,
) -> (f32, f32, Vec<u8>) {
    let (mut low, mut high) = (x[0], x[0]);
    let (mut sum_w, mut sum_x) = (w[0], w[0] * x[0]);
    for i in 1..x.len() {
        low = if x[i] < low { x[i] } else { low };
        high = if x[i] > high { x[i] } else { high };
        sum_w += w[i];
        sum_x += w[i] * x[i];
    }
    low = if low > 0.0 { 0.0 } else { low };
    if high == low {
        return (0.0, -low, vec![0; x.len()]);
    }
    let coded = |per_step: f32, low: f32| -> Vec<i32> {
        x.iter().map(|x| nearest(per_step * (x - low)).clamp(0, top)).collect()
    };
    let loss = |codes: &[i32], step: f32, low: f32| {
        let mut loss = 0.0;
        for i in 0..x.len() {
            let error = step * codes[i] as f32 + low - x[i];
            loss += w[i] * if absolute { error.abs() } else { error * error };
        }
        loss
    };
    let per_step = top as f32 / (high - low);
    let mut step = 1.0 / per_step;
    let mut codes = coded(per_step, low);
    let mut least = loss(&codes, step, low);
    for attempt in 0..=attempts {
        let tried = coded((first + stride * attempt as f32 + top as f32) / (high - low), low);
        let (mut sum_q, mut sum_q2, mut sum_qx) = (0.0, 0.0, 0.0);
        for i in 0..x.len() {
            let q = tried[i] as f32;
            sum_q += w[i] * q;
            sum_q2 += w[i] * q * q;
            sum_qx += w[i] * q * x[i];
        }
        let determinant = sum_w * sum_q2 - sum_q * sum_q;
        if determinant > 0.0 {
            let mut this_step = (sum_w * sum_qx - sum_x * sum_q) / determinant;
            let mut this_low = (sum_q2 * sum_x - sum_q * sum_qx) / determinant;
            if this_low > 0.0 {
                (this_step, this_low) = (sum_qx / sum_q2, 0.0);
            }
            let this_loss = loss(&tried, this_step, this_low);
            if this_loss < least {
                (least, step, low, codes) = (this_loss, this_step, this_low, tried);
            }
        }
    }
    (step, -low, codes.iter().map(|&q| q as u8).collect())
}

/// Codes on the line that rounding has left; where it is flat they stay.
fn again(x: &[f32], step: f32, minimum: f32, top: i32, codes: &mut [u8]) {
    if step != 0.0 {
        for (q, x) in codes.iter_mut().zip(x) {
            *q = nearest((x + minimum) / step).clamp(0, top) as u8;
        }
    }
}

fn largest(of: &[f32]) -> f32 {
    of.iter().fold(0.0, |largest, &x| if x > largest { x } else { largest })
}

/// `quantize_row_q2_K_ref`.
fn q2_k(x: &[f32]) -> Vec<u8> {
    let (mut steps, mut minima, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    for x in x.chunks(16) {
        let w: Vec<f32> = x.iter().map(|x| x.abs()).collect();
        let (step, minimum, mine) = line(x, &w, 3, (-0.5, 0.1, 15), true);
        steps.push(step);
        minima.push(minimum);
        codes.extend(mine);
    }
    let (d, dmin) = (largest(&steps) / 15.0, largest(&minima) / 15.0);
    let whole = |x: f32, largest: f32| if largest > 0.0 { nearest(15.0 / largest * x) } else { 0 };
    let mut block = Vec::new();
    for j in 0..16 {
        let scale = whole(steps[j], largest(&steps)) as u8 | (whole(minima[j], largest(&minima)) << 4) as u8;
        let step = rounded_to_half(d) * f32::from(scale & 15);
        let minimum = rounded_to_half(dmin) * f32::from(scale >> 4);
        again(&x[16 * j..][..16], step, minimum, 3, &mut codes[16 * j..][..16]);
        block.push(scale);
    }
    let mut packed = [0; 64];
    pack_twos(&codes, 0, &mut packed);
    [&block[..], &packed, &half(d), &half(dmin)].concat()
}

/// `quantize_row_q4_K_ref`, `quantize_row_q5_K_ref`: everything but the codes' packing.
fn eight_lines(x: &[f32], top: i32, search: (f32, f32, i32)) -> (Vec<u8>, Vec<u8>) {
    let (mut steps, mut minima, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    for x in x.chunks(32) {
        let mut squares = 0.0;
        for x in x {
            squares += x * x;
        }
        let usual = (squares / 32.0_f32).sqrt();
        let w: Vec<f32> = x.iter().map(|x| usual + x.abs()).collect();
        let (step, minimum, mine) = line(x, &w, top, search, false);
        steps.push(step);
        minima.push(minimum);
        codes.extend(mine);
    }
    let (d, dmin) = (largest(&steps) / 63.0, largest(&minima) / 63.0);
    let per = |largest: f32| if largest > 0.0 { 63.0 / largest } else { 0.0 };
    let (per_step, per_minimum) = (per(largest(&steps)), per(largest(&minima)));
    let mut scales = [(0, 0); 8];
    for j in 0..8 {
        let (scale, minimum) = (nearest(per_step * steps[j]) as u8, nearest(per_minimum * minima[j]) as u8);
        scales[j] = (scale.min(63), minimum.min(63));
        let step = rounded_to_half(d) * f32::from(scales[j].0);
        let minimum = rounded_to_half(dmin) * f32::from(scales[j].1);
        again(&x[32 * j..][..32], step, minimum, top, &mut codes[32 * j..][..32]);
    }
    ([&half(d)[..], &half(dmin), &pack_scales_and_minima(scales)].concat(), codes)
}

fn q4_k(x: &[f32]) -> Vec<u8> {
    let (head, codes) = eight_lines(x, 15, (-1.0, 0.1, 20));
    [head, codes.chunks(64).flat_map(nibbles).collect()].concat()
}

fn q5_k(x: &[f32]) -> Vec<u8> {
    let (head, codes) = eight_lines(x, 31, (-0.5, 0.1, 15));
    let fifths = (0..32).map(|l| (0..8).map(|i| codes[32 * i + l] >> 4 << i).sum()).collect();
    [head, fifths, codes.chunks(64).flat_map(nibbles).collect()].concat()
}

// ---------------------------------------------------------------- steps of either sign

/// Below this all weights count as 0 (`GROUP_MAX_EPS`).
const EPSILON: f32 = 1e-15;

/// `make_qx_quants` with w = x²: a step, and codes from 0 to 2 · `end` − 1.
fn signed(x: &[f32], end: i32) -> (f32, Vec<u8>) {
    let peak = peak(x);
    if peak.abs() < EPSILON {
        return (0.0, vec![0; x.len()]);
    }
    let coded = |per_step: f32| -> Vec<i32> { x.iter().map(|x| nearest(per_step * x).clamp(-end, end - 1)).collect() };
    let sums = |codes: &[i32]| {
        let (mut with_x, mut with_q) = (0.0, 0.0);
        for (&x, &q) in x.iter().zip(codes) {
            let w = x * x;
            with_x += w * x * q as f32;
            with_q += w * q as f32 * q as f32;
        }
        (with_x, with_q)
    };
    let mut codes = coded(-(end as f32) / peak);
    let (with_x, with_q) = sums(&codes);
    let mut step = if with_q == 0.0 { 0.0 } else { with_x / with_q };
    let mut best = step * with_x;
    for attempt in (-9..=9).filter(|&attempt| attempt != 0) {
        let tried = coded(-(end as f32 + 0.1 * attempt as f32) / peak);
        let (with_x, with_q) = sums(&tried);
        if with_q > 0.0 && with_x * with_x > best * with_q {
            (step, codes) = (with_x / with_q, tried);
            best = step * with_x;
        }
    }
    (step, codes.iter().map(|q| (q + end) as u8).collect())
}

/// `make_q3_quants`: a step, and codes from 0 to 2 · `end` − 1.
fn descended(x: &[f32], end: i32) -> (f32, Vec<u8>) {
    let peak = peak(x);
    if peak.abs() < EPSILON {
        return (0.0, vec![0; x.len()]);
    }
    let mut codes: Vec<i32> = x.iter().map(|x| nearest(-(end as f32) / peak * x).clamp(-end, end - 1)).collect();
    let (mut with_x, mut with_q) = (0.0, 0.0);
    for (&x, &q) in x.iter().zip(&codes) {
        with_x += x * x * x * q as f32;
        with_q += x * x * q as f32 * q as f32;
    }
    for _ in 0..5 {
        let mut moved = false;
        for (&x, code) in x.iter().zip(&mut codes) {
            let (w, old) = (x * x, *code as f32);
            let (mut this_x, mut this_q) = (with_x - w * x * old, with_q - w * old * old);
            if this_x > 0.0 {
                let new = nearest(x * this_q / this_x).clamp(-end, end - 1);
                if new != *code {
                    this_x += w * x * new as f32;
                    this_q += w * new as f32 * new as f32;
                    if this_q > 0.0 && this_x * this_x * with_q > with_x * with_x * this_q {
                        (*code, with_x, with_q, moved) = (new, this_x, this_q, true);
                    }
                }
            }
        }
        if !moved {
            break;
        }
    }
    let step = if with_q > 0.0 { with_x / with_q } else { 0.0 };
    (step, codes.iter().map(|q| (q + end) as u8).collect())
}

/// Codes at steps that rounding has left; where there is none they stay.
fn again_signed(x: &[f32], step: f32, end: i32, codes: &mut [u8]) {
    if step != 0.0 {
        for (q, x) in codes.iter_mut().zip(x) {
            *q = (nearest(x / step).clamp(-end, end - 1) + end) as u8;
        }
    }
}

/// `quantize_row_q3_K_ref`.
fn q3_k(x: &[f32]) -> Vec<u8> {
    let (steps, codes): (Vec<f32>, Vec<Vec<u8>>) = x.chunks(16).map(|x| descended(x, 4)).unzip();
    let mut codes = codes.concat();
    let longest = peak(&steps);
    let per_scale = -32.0 / longest;
    let d = if longest == 0.0 { 0.0 } else { 1.0 / per_scale };
    let mut scales = [-32; 16];
    for j in 0..16 {
        if longest != 0.0 {
            scales[j] = (nearest(per_scale * steps[j]) as i8).clamp(-32, 31);
        }
        let step = rounded_to_half(d) * f32::from(scales[j]);
        again_signed(&x[16 * j..][..16], step, 4, &mut codes[16 * j..][..16]);
    }
    let mut block: Vec<u8> = (0..32).map(|l| (0..8).map(|i| codes[32 * i + l] >> 2 << i).sum()).collect();
    let mut packed = [0; 64];
    pack_twos(&codes, 0, &mut packed);
    block.extend([&packed[..], &pack_scales_of_q3_k(scales), &half(d)].concat());
    block
}

/// `quantize_row_q6_K_ref`.
fn q6_k(x: &[f32]) -> Vec<u8> {
    let (steps, codes): (Vec<f32>, Vec<Vec<u8>>) = x.chunks(16).map(|x| signed(x, 32)).unzip();
    let mut codes = codes.concat();
    let longest = peak(&steps);
    if longest.abs() < EPSILON {
        return vec![0; 210];
    }
    let per_scale = -128.0 / longest;
    let d = 1.0 / per_scale;
    let mut scales = Vec::new();
    for j in 0..16 {
        let scale = nearest(per_scale * steps[j]).min(127) as i8;
        again_signed(&x[16 * j..][..16], rounded_to_half(d) * f32::from(scale), 32, &mut codes[16 * j..][..16]);
        scales.push(scale as u8);
    }
    let mut high = [0; 64];
    pack_twos(&codes, 4, &mut high);
    let low: Vec<u8> = codes.chunks(128).flat_map(nibbles).collect();
    [&low[..], &high, &scales, &half(d)].concat()
}

// ---------------------------------------------------------------- uneven levels

const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// `best_index_int8`.
fn nearest_iq4(x: f32) -> u8 {
    let level = |i: usize| f32::from(IQ4[i]);
    if x <= level(0) {
        return 0;
    }
    if x >= level(15) {
        return 15;
    }
    let (mut below, mut above) = (0, 15);
    while above - below > 1 {
        let middle = usize::midpoint(below, above);
        if x < level(middle) {
            above = middle;
        } else {
            below = middle;
        }
    }
    if x - level(above - 1) < level(above) - x { above as u8 - 1 } else { above as u8 }
}

/// A step of `quantize_row_iq4_nl_impl`.
fn iq4_step(x: &[f32]) -> f32 {
    let peak = peak(x);
    if peak.abs() < EPSILON {
        return 0.0;
    }
    let sums = |per_step: f32| {
        let (mut with_x, mut with_q) = (0.0, 0.0);
        for &x in x {
            let (w, q) = (x * x, f32::from(IQ4[usize::from(nearest_iq4(per_step * x))]));
            with_x += w * q * x;
            with_q += w * q * q;
        }
        (with_x, with_q)
    };
    let (with_x, with_q) = sums(1.0 / (-peak / f32::from(IQ4[0])));
    let mut step = if with_q > 0.0 { with_x / with_q } else { 0.0 };
    let mut best = step * with_x;
    for attempt in -7..=7 {
        let (with_x, with_q) = sums((attempt + i32::from(IQ4[0])) as f32 / peak);
        if with_q > 0.0 && with_x * with_x > best * with_q {
            step = with_x / with_q;
            best = step * with_x;
        }
    }
    step
}

fn iq4_codes(x: &[f32], step: f32) -> Vec<u8> {
    let per_step = inverse(step);
    nibbles(&x.iter().map(|x| nearest_iq4(per_step * x)).collect::<Vec<u8>>())
}

/// `quantize_iq4_nl`. A step that is no number has the sign that x86 gives it.
fn iq4_nl(x: &[f32]) -> Vec<u8> {
    let step = iq4_step(x);
    let d = if step.is_nan() { [0x00, 0xfe] } else { half(step) };
    [d.to_vec(), iq4_codes(x, step)].concat()
}

/// `quantize_iq4_xs`.
fn iq4_xs(x: &[f32]) -> Vec<u8> {
    let steps: Vec<f32> = x.chunks(32).map(iq4_step).collect();
    let d = -peak(&steps) / 32.0;
    let per_scale = inverse(d);
    let (mut low, mut high, mut codes) = (0_u32, 0_u16, Vec::new());
    for (j, x) in x.chunks(32).enumerate() {
        let scale = nearest(per_scale * steps[j]).clamp(-32, 31);
        codes.extend(iq4_codes(x, d * scale as f32));
        low |= ((scale + 32) as u32 & 15) << (4 * j);
        high |= ((scale + 32) as u16 >> 4) << (2 * j);
    }
    [&half(d)[..], &high.to_le_bytes(), &low.to_le_bytes(), &codes].concat()
}
