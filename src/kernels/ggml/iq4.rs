//! IQ4_NL and IQ4_XS: sixteen levels that lie as densely as weights do, times a step.

use super::codec::{Decode, Encode, half, nibbles, pack_nibbles, to_half};
use super::lanes::{LANES, Wide, nearest, side_by_side, signed_peaks};

/// The levels, −127 to 113: a normal distribution's, as integers (`kvalues_iq4nl`).
const LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// IQ4_NL, 32 values: `d, codes: [u8; 16]`; w = d · level.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct IQ4_NL;

impl Decode<18, 32> for IQ4_NL {
    #[inline(always)]
    fn decode(block: &[u8; 18], values: &mut [f32; 32]) {
        let &[d0, d1, ref codes @ ..] = block;
        let d = half([d0, d1]);
        nibbles(codes, values, |q| d * f32::from(LEVELS[usize::from(q)]));
    }
}

/// IQ4_XS, 8 sub-blocks of 32: `d, high: u16, low: [u8; 4], codes: [u8; 128]`; w = d · (sc − 32) · level, where sc of sub-block
/// i has its low four bits in half i of `low` and two bits at 2i of `high`.
#[expect(non_camel_case_types, reason = "its name in files")]
pub(super) struct IQ4_XS;

impl Decode<136, 256> for IQ4_XS {
    #[inline(always)]
    fn decode(block: &[u8; 136], values: &mut [f32; 256]) {
        let &[d0, d1, h0, h1, l0, l1, l2, l3, ref codes @ ..] = block;
        let (d, high, low) = (half([d0, d1]), u16::from_le_bytes([h0, h1]), [l0, l1, l2, l3]);
        let sub_blocks = values.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<16>().0);
        for (i, (values, codes)) in sub_blocks.enumerate() {
            let scale = low[i / 2] >> (i % 2 * 4) & 15 | ((high >> (2 * i) & 3) as u8) << 4;
            let step = d * f32::from(scale as i8 - 32);
            nibbles(codes, values, |q| step * f32::from(LEVELS[usize::from(q)]));
        }
    }
}

/// Half-way between neighbours; what lies on it belongs to the upper one.
const MIDDLES: [f32; 15] =
    [-115.5, -93.5, -74.0, -57.0, -42.0, -28.5, -16.0, -4.5, 7.0, 19.0, 31.5, 45.5, 61.0, 79.0, 101.0];

/// Steps around the first guess that are tried on either side.
const TRIES: i32 = 7;

/// The nearest level (`best_index_int8`); what is no number has the highest.
#[inline(always)]
fn nearest_level(x: f32) -> f32 {
    let mut level = f32::from(LEVELS[0]);
    for (&middle, &next) in MIDDLES.iter().zip(&LEVELS[1..]) {
        level = if x < middle { level } else { f32::from(next) };
    }
    level
}

/// Its code.
#[inline(always)]
fn code(x: f32) -> u8 {
    MIDDLES.iter().fold(15, |code, &middle| code - u8::from(x < middle))
}

/// Σ w q x and Σ w q² of the levels nearest to every x · `per_step`, with w = x².
#[inline(always)]
fn products(x: &[Wide; 32], per_step: &Wide) -> (Wide, Wide) {
    let (mut with_x, mut with_q) = ([0.0; LANES], [0.0; LANES]);
    for row in x {
        for lane in 0..LANES {
            let x = row[lane];
            let q = nearest_level(per_step[lane] * x);
            let wq = x * x * q;
            with_x[lane] += wq * x;
            with_q[lane] += wq * q;
        }
    }
    (with_x, with_q)
}

/// The best steps of runs of 32 values (`quantize_row_iq4_nl_impl`): for a handful of codings that reach about the end of
/// the levels the step of least squares, Σwqx / Σwq², and of those the one that leaves the least error.
#[inline(always)]
fn steps(x: &[Wide; 32]) -> Wide {
    let peaks = signed_peaks(x);
    let end = f32::from(LEVELS[0]);
    let (mut steps, mut best) = ([0.0; LANES], [0.0; LANES]);
    let (with_x, with_q) = products(x, &peaks.map(|peak| 1.0 / (-peak / end)));
    for lane in 0..LANES {
        steps[lane] = if with_q[lane] > 0.0 { with_x[lane] / with_q[lane] } else { 0.0 };
        best[lane] = steps[lane] * with_x[lane];
    }
    for attempt in -TRIES..=TRIES {
        let (with_x, with_q) = products(x, &peaks.map(|peak| (attempt as f32 + end) / peak));
        for lane in 0..LANES {
            let better = with_q[lane] > 0.0 && with_x[lane] * with_x[lane] > best[lane] * with_q[lane];
            let step = with_x[lane] / with_q[lane];
            steps[lane] = if better { step } else { steps[lane] };
            best[lane] = if better { step * with_x[lane] } else { best[lane] };
        }
    }
    for (step, peak) in steps.iter_mut().zip(peaks) {
        *step = if peak == 0.0 { 0.0 } else { *step };
    }
    steps
}

/// Codes of 32 values.
#[inline(always)]
fn pack(values: &[f32; 32], step: f32, bytes: &mut [u8; 16]) {
    let per_step = if step == 0.0 { 0.0 } else { 1.0 / step };
    let mut codes = [0; 32];
    codes.iter_mut().zip(values).for_each(|(q, &x)| *q = code(per_step * x));
    pack_nibbles(&codes, bytes);
}

impl Encode<32, 18, LANES> for IQ4_NL {
    #[inline(always)]
    fn encode(values: &[[f32; 32]; LANES], blocks: &mut [[u8; 18]; LANES]) {
        let steps = steps(&side_by_side(values));
        for ((values, block), step) in values.iter().zip(blocks).zip(steps) {
            let [d0, d1, codes @ ..] = block;
            // Squares past the largest f32 leave a step that is no number; its sign is that of the reference's processor.
            [*d0, *d1] = if step.is_nan() { [0x00, 0xfe] } else { to_half(step) };
            pack(values, step, codes);
        }
    }
}

impl Encode<256, 136, 2> for IQ4_XS {
    #[inline(always)]
    fn encode(values: &[[f32; 256]; 2], blocks: &mut [[u8; 136]; 2]) {
        let runs = values.as_flattened().as_chunks::<32>().0;
        let steps = steps(&side_by_side(runs));
        for ((runs, block), steps) in runs.chunks_exact(8).zip(blocks).zip(steps.as_chunks::<8>().0) {
            let peak = steps.iter().fold(0.0_f32, |peak, &step| if step.abs() > peak.abs() { step } else { peak });
            let d = -peak / 32.0;
            let per_step = if d == 0.0 { 0.0 } else { 1.0 / d };
            let (mut low, mut high) = (0_u32, 0_u16);
            let [d0, d1, h0, h1, l0, l1, l2, l3, codes @ ..] = block;
            for (i, ((run, step), codes)) in runs.iter().zip(steps).zip(codes.as_chunks_mut::<16>().0).enumerate() {
                let scale = nearest(per_step * step).clamp(-32, 31);
                pack(run, d * scale as f32, codes);
                let scale = (scale + 32) as u32;
                low |= (scale & 15) << (4 * i);
                high |= (scale as u16 >> 4) << (2 * i);
            }
            [*d0, *d1] = to_half(d);
            [*h0, *h1] = high.to_le_bytes();
            [*l0, *l1, *l2, *l3] = low.to_le_bytes();
        }
    }
}
