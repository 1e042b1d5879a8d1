//! Spokeshave's side of the comparison in `benches/peers`: it keeps one file of weights in memory, reads the name of an
//! operation from each line of its input, and answers with seconds and values.
//!
//! ```text
//! peer DATA        DATA: f32, little-endian, nothing else
//! < int4 2097152   an operation, and on how many of the first weights
//! > 0.000412 15.28010293
//! ```
//!
//! Every operation is a walk over spans of whole chunks, by two threads, added up in the order of the file; the kernels
//! are those of the program. What it prints beside the time is what `run.py` holds against the others' answers.

use rayon::prelude::*;
use spokeshave::kernels::bracket::{self, Bracket, Found};
use spokeshave::kernels::histogram::{BINS, Histogram};
use spokeshave::kernels::layout::CHUNK;
use spokeshave::kernels::quant::Extent;
use spokeshave::kernels::select::{DIGITS, Select};
use spokeshave::kernels::stats::{Moments, moments};
use spokeshave::kernels::table::Counts;
use spokeshave::kernels::trial::symmetric_error_and_energy;
use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::Instant;

/// Threads, as many as torch is given.
const THREADS: usize = 2;
/// Elements that share a scale.
const GROUP: usize = 128;
/// Chunks in a span, at least, of what keeps a few sums.
const SUMS: usize = 4;
/// Chunks in a span, at least, of what keeps tables.
const TABLES: usize = 16;
/// Spans at most.
const SPANS: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("which file? usage: peer DATA (f32, little-endian)")?;
    let bytes = std::fs::read(&path).map_err(|e| format!("{}: cannot be read: {e}", path.display()))?;
    let (words, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("{}: {} bytes are no whole number of f32", path.display(), bytes.len()).into());
    }
    let weights: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
    drop(bytes);
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global()?;
    let mut out = stdout().lock();
    writeln!(out, "ready Spokeshave {}, {} threads", env!("CARGO_PKG_VERSION"), rayon::current_num_threads())?;
    out.flush()?;
    for line in stdin().lock().lines() {
        writeln!(out, "{}", answer(&line?, &weights))?;
        out.flush()?;
    }
    Ok(())
}

/// Seconds and values of one line, or what is wrong with it.
fn answer(line: &str, weights: &[f32]) -> String {
    let (name, count) = line.split_once(' ').unwrap_or((line, ""));
    let Some(weights) = count.trim().parse().ok().and_then(|count: usize| weights.get(..count)) else {
        return format!("error: {line:?} asks for {count:?} weights, there are {}; say OPERATION COUNT", weights.len());
    };
    let operation = match name {
        "histogram" => histogram,
        "statistics" => statistics,
        "threshold" => threshold,
        "int4" => |weights: &[f32]| signal_to_noise(weights, 7),
        "int8" => |weights: &[f32]| signal_to_noise(weights, 127),
        _ => return format!("error: {name:?} is none of histogram, statistics, threshold, int4, int8"),
    };
    let start = Instant::now();
    let values = operation(weights);
    let seconds = start.elapsed().as_secs_f64();
    let values: Vec<String> = values.iter().map(f64::to_string).collect();
    format!("{seconds:.6} {}", values.join(","))
}

/// One answer per span of at least so many chunks, in the order of the file.
fn by_span<T: Send>(weights: &[f32], least: usize, of_span: impl Fn(&[f32]) -> T + Send + Sync) -> Vec<T> {
    let chunks = weights.len().div_ceil(CHUNK);
    weights.par_chunks(CHUNK * least.max(chunks.div_ceil(SPANS))).map(of_span).collect()
}

fn all_moments(weights: &[f32]) -> Moments {
    by_span(weights, SUMS, moments).into_iter().fold(Moments::default(), Moments::merge)
}

/// Extremes, mean and spread.
fn statistics(weights: &[f32]) -> Vec<f64> {
    let sum = all_moments(weights);
    vec![sum.min, sum.max, sum.mean, sum.std().unwrap_or(f64::NAN)]
}

/// Finds the reach, then counts; gives the reach and the counts of all bins.
fn histogram(weights: &[f32]) -> Vec<f64> {
    let extents = by_span(weights, SUMS, Extent::of).into_iter();
    let reach = f64::from(extents.fold(Extent::default(), Extent::join).abs_max());
    let of_span = |span: &[f32]| {
        let mut histogram = Histogram::new(reach);
        histogram.add(span);
        histogram
    };
    let mut sum = Histogram::new(reach);
    by_span(weights, TABLES, of_span).iter().for_each(|histogram| sum.merge(histogram));
    debug_assert_eq!(sum.counts.len(), BINS);
    std::iter::once(reach).chain(sum.counts.iter().map(|&count| f64::from(count))).collect()
}

/// The magnitude below which nine tenths of the weights lie: the k-th smallest, k = 9n/10; in one pass where a sample allows it,
/// as in the program.
fn threshold(weights: &[f32]) -> Vec<f64> {
    let starts = bracket::clusters(weights.len());
    let sample: Vec<f32> = starts.flat_map(|at| weights[at..at + bracket::CLUSTER].iter().copied()).collect();
    let found = Bracket::of(&sample, 0.9).and_then(|about| {
        let look = |span: &[f32]| {
            let mut found = Found::default();
            span.chunks(CHUNK).for_each(|chunk| found.add(chunk, about, Found::most(span.len())));
            found
        };
        let found = by_span(weights, SUMS, look).into_iter().fold(Found::default(), Found::merge);
        found.threshold(weights.len() as u64 * 9 / 10)
    });
    found.map_or_else(|| threshold_by_digits(weights), |found| vec![f64::from(f32::from_bits(found.key as u32))])
}

fn threshold_by_digits(weights: &[f32]) -> Vec<f64> {
    let Some(mut walk) = Select::new(weights.len() as u64 * 9 / 10, 32) else { return vec![0.0] };
    let mut table = vec![0; DIGITS];
    let count_first = |span: &[f32]| {
        let mut counts = Counts::default();
        counts.add(span);
        counts
    };
    by_span(weights, TABLES, count_first).iter().for_each(|counts| counts.add_magnitudes_to(&mut table));
    loop {
        if let Some(found) = walk.narrow(&table) {
            return vec![f64::from(f32::from_bits(found.key as u32))];
        }
        let count_next = |span: &[f32]| {
            let mut table = vec![0; DIGITS];
            walk.count(span, &mut table);
            table
        };
        table = by_span(weights, TABLES, count_next).into_iter().fold(vec![0; DIGITS], |mut sum, next| {
            sum.iter_mut().zip(next).for_each(|(sum, count)| *sum += count);
            sum
        });
    }
}

/// 10·log₁₀(Σw² / Σ(w − q)²) of a symmetric grid with `top` levels above zero on every group.
fn signal_to_noise(weights: &[f32], top: i32) -> Vec<f64> {
    let [error, energy] = by_span(weights, SUMS, |span| symmetric_error_and_energy(span, GROUP, top))
        .into_iter()
        .fold([0.0; 2], |[error, energy], next| [error + next[0], energy + next[1]]);
    vec![10.0 * (energy / error).log10()]
}
