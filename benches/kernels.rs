//! The passes that every dial waits for, beside the one figure that bounds them: how fast memory can be read.
//!
//! One thread each, over values larger than any cache. `benches/README.md` says how to run it and what was seen.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rayon::prelude::*;
use spokeshave::formats::Dtype;
use spokeshave::kernels::among::keep_largest;
use spokeshave::kernels::bits::{BitWriter, unpack};
use spokeshave::kernels::bracket::{self, Bracket, Found};
use spokeshave::kernels::clip::{Wanted, least_error};
use spokeshave::kernels::codebook::{Codebook, spaced};
use spokeshave::kernels::convert::F8_E4M3;
use spokeshave::kernels::gaps::GapCounts;
use spokeshave::kernels::histogram::Histogram;
use spokeshave::kernels::huffman::{Decoder, Encoder, code_lengths};
use spokeshave::kernels::layout::CHUNK;
use spokeshave::kernels::levels::Levels;
use spokeshave::kernels::lines;
use spokeshave::kernels::nf4::Normal;
use spokeshave::kernels::quant::{Extent, Grid};
use spokeshave::kernels::scatter;
use spokeshave::kernels::select::{DIGITS, Select, Threshold};
use spokeshave::kernels::signs::Ternary;
use spokeshave::kernels::small::{Scaled, mx_exponent, nv_scale};
use spokeshave::kernels::stats::{Moments, moments};
use spokeshave::kernels::sum::Tally;
use spokeshave::kernels::svd::{Matrix, Svd};
use spokeshave::kernels::table::Counts;
use spokeshave::kernels::trial::symmetric_error;
use std::convert::Infallible;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Weights in every bench: 256 MiB of f32.
const WEIGHTS: usize = 1 << 26;
/// Bytes of the memory probe.
const PROBE: usize = 256 << 20;
/// Elements that share a scale.
const GROUP: usize = 128;
/// Columns of a matrix.
const COLUMNS: usize = 4096;

/// Weights as trained layers have them: many small, a few large, both signs; the same in every run.
fn weights() -> Vec<f32> {
    let mut numbers = scatter::numbers(0);
    let mut uniform = || (numbers.next().unwrap_or_default() >> 40) as f32 / (1_u64 << 24) as f32;
    (0..WEIGHTS)
        .map(|_| {
            let side = if uniform() < 0.5 { -0.02 } else { 0.02 };
            side * -(1.0 - uniform()).ln()
        })
        .collect()
}

/// Moments and value table together, a chunk at a time: what the first look at a tensor takes.
fn moments_and_table(weights: &[f32]) -> (Moments, Counts) {
    let (mut sum, mut counts) = (Moments::default(), Counts::default());
    for chunk in weights.chunks(CHUNK / 4) {
        sum = sum.merge(moments(chunk));
        counts.add(chunk);
    }
    (sum, counts)
}

/// The same from bf16 in a file's bytes.
fn moments_and_table_bf16(bytes: &[u8], values: &mut Vec<f32>) -> (Moments, Counts) {
    let (mut sum, mut counts) = (Moments::default(), Counts::default());
    for chunk in bytes.chunks(CHUNK / 2) {
        values.clear();
        Dtype::BF16.decode(chunk, values);
        sum = sum.merge(moments(values));
        counts.add(values);
    }
    (sum, counts)
}

/// The magnitude below which nine tenths of the weights lie, in one pass between two that a sample gives.
fn threshold(weights: &[f32]) -> Option<Threshold> {
    let sample: Vec<f32> =
        bracket::clusters(weights.len()).flat_map(|at| weights[at..at + bracket::CLUSTER].iter().copied()).collect();
    let (about, most) = (Bracket::of(&sample, 0.9)?, Found::most(weights.len()));
    let mut found = Found::default();
    weights.chunks(CHUNK).for_each(|chunk| found.add(chunk, about, most));
    let k = found.finite()? / 10 * 9;
    found.threshold(k)
}

/// The same digit by digit, as it is found where ties or a poor sample leave no bracket.
fn threshold_by_digits(weights: &[f32], table: &mut Vec<u64>) -> Option<Threshold> {
    let mut walk = Select::new(weights.len() as u64 / 10 * 9, 32)?;
    loop {
        table.clear();
        table.resize(DIGITS, 0);
        if walk.is_at_first_digit() {
            let mut counts = Counts::default();
            counts.add(weights);
            counts.add_magnitudes_to(table);
        } else {
            walk.count(weights, table);
        }
        if let Some(found) = walk.narrow(table) {
            return Some(found);
        }
    }
}

fn kernels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kernels");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));

    let memory: Vec<u64> = (0..(PROBE / 8) as u64).collect();
    group.throughput(Throughput::Bytes(PROBE as u64));
    group.bench_function("memory read", |b| {
        b.iter(|| black_box(&memory).iter().fold(0_u64, |sum, &x| sum.wrapping_add(x)));
    });
    drop(memory);

    let weights = weights();
    group.throughput(Throughput::Bytes(4 * WEIGHTS as u64));
    group.bench_function("moments", |b| b.iter(|| moments(black_box(&weights))));
    group.bench_function("histogram", |b| {
        b.iter(|| {
            let mut histogram = Histogram::new(0.3);
            histogram.add(black_box(&weights));
            histogram
        });
    });
    group.bench_function("moments and value table", |b| b.iter(|| moments_and_table(black_box(&weights))));
    for bits in [4, 8] {
        let top = (1 << (bits - 1)) - 1;
        let name = format!("int{bits} g128 error");
        group.bench_function(name, |b| b.iter(|| symmetric_error(black_box(&weights), GROUP, top, None)));
    }
    let mut columns = vec![0.0; COLUMNS];
    group.bench_function("sums of squares, rows", |b| {
        b.iter(|| black_box(&weights).chunks(COLUMNS).map(lines::energy).sum::<f64>());
    });
    group.bench_function("sums of squares, columns", |b| {
        b.iter(|| black_box(&weights).chunks(COLUMNS).for_each(|row| lines::add_columns(row, &mut columns)));
    });
    let mut table = Vec::new();
    assert_eq!(threshold(&weights), threshold_by_digits(&weights, &mut table), "two ways, one answer");
    group.bench_function("threshold", |b| b.iter(|| threshold(black_box(&weights))));
    group.bench_function("threshold by digits", |b| b.iter(|| threshold_by_digits(black_box(&weights), &mut table)));
    let (mut pruned, mut keys) = (weights.clone(), Vec::new());
    for (n, m) in [(2, 4), (3, 7)] {
        group.bench_function(format!("{n} of {m}, with a copy"), |b| {
            b.iter(|| {
                pruned.copy_from_slice(black_box(&weights));
                keep_largest(&mut pruned, n, m, &mut keys);
            });
        });
    }
    let half: Vec<u8> = weights.iter().flat_map(|w| ((w.to_bits() >> 16) as u16).to_le_bytes()).collect();
    let mut values = Vec::new();
    group.throughput(Throughput::Bytes(2 * WEIGHTS as u64));
    group.bench_function("moments and value table, bf16", |b| {
        b.iter(|| moments_and_table_bf16(black_box(&half), &mut values));
    });
    group.finish();
}

/// Codes and values of weights on the levels of every number format, a chunk at a time, each unit fitted first.
fn formats(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("formats");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    let weights = &weights()[..1 << 22];
    group.throughput(Throughput::Bytes(4 * weights.len() as u64));
    let (mut codes, mut results) = (vec![0; CHUNK], vec![0.0; CHUNK]);
    let mut bench = |name: &str, size: usize, levels: &dyn Fn(&[f32]) -> Levels<f32>| {
        group.bench_function(name, |b| {
            b.iter(|| {
                for unit in black_box(weights).chunks(size) {
                    levels(unit).quantize(unit, &mut codes[..unit.len()], &mut results[..unit.len()]);
                }
                black_box((codes[0], results[0]))
            });
        });
    };
    let peak = |unit: &[f32]| Extent::of(unit).abs_max();
    bench("fp8_e4m3 row", 4096, &|unit| {
        Levels::Float(Scaled { format: F8_E4M3, scale: peak(unit) / F8_E4M3.max() as f32 })
    });
    bench("mxfp4", 32, &|unit| Levels::Mx(mx_exponent(peak(unit)).unwrap_or_default()));
    bench("nvfp4", 16, &|unit| Levels::Nv { scale: nv_scale(peak(unit), 1e4).unwrap_or_default(), global: 1e4 });
    bench("nf4 g64", 64, &|unit| Levels::Normal(Normal { scale: peak(unit) }));
    bench("ternary row", 4096, &|unit| {
        let threshold = Ternary::threshold(Tally::above(unit, 0.0).mean_over(unit.len() as u64));
        Levels::Ternary(Ternary { threshold, scale: Tally::above(unit, threshold).mean() })
    });
    for k in [16, 256] {
        let book = Arc::new(Codebook { centroids: spaced(k, -0.1, 0.1), zeros_apart: false });
        bench(&format!("codebook of {k}"), CHUNK, &|_| Levels::Codebook(book.clone()));
    }
    bench("int4 g64", 64, &|unit| {
        Levels::Grid(Grid::new(4, false, Extent::of(unit)).expect("a step that is a number"))
    });
    group.finish();
}

/// What one thread and two make of kernels that compute more than they read: the weights fit the third-level cache.
fn threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("threads");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    let weights = &weights()[..1 << 22];
    let wanted = Wanted::new(4, false);
    let chunks = || weights.par_chunks(CHUNK);
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
        group.bench_function(format!("moments and value table, {threads}"), |b| {
            b.iter(|| pool.install(|| chunks().for_each(|chunk| drop(black_box(moments_and_table(chunk))))));
        });
        group.bench_function(format!("int4 g128 error, {threads}"), |b| {
            b.iter(|| pool.install(|| chunks().map(|chunk| symmetric_error(chunk, GROUP, 7, None)).sum::<f64>()));
        });
        group.bench_function(format!("int4 g128 searched clip, {threads}"), |b| {
            let search = |chunk: &[f32]| {
                let mut units = Vec::new();
                for values in chunk.chunks(GROUP) {
                    black_box(least_error(values, wanted, Extent::of(values), &mut units));
                }
            };
            b.iter(|| pool.install(|| chunks().for_each(search)));
        });
    }
    group.finish();
}

/// What `packed` does to codes: 4-bit ones of weights as trained layers have them, and the places of a tenth that pruning left.
fn codes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codes");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    let weights = &weights()[..1 << 22];
    let pruned: Vec<f32> = weights.iter().map(|&w| if w.abs() < 0.046 { 0.0 } else { w }).collect();
    let symbols: Vec<u8> = weights.iter().map(|w| ((w / 0.02).round().clamp(-7.0, 7.0) as i8 & 15) as u8).collect();
    let mut counts = [0; 16];
    symbols.iter().for_each(|&symbol| counts[usize::from(symbol)] += 1);
    let lengths = code_lengths(&counts);
    let (encoder, decoder) = (Encoder::new(&lengths).expect("a code"), Decoder::new(&lengths).expect("a code"));
    let encode = |out: &mut Vec<u8>| {
        let mut writer = BitWriter::default();
        let bits: u64 = symbols.iter().map(|&symbol| encoder.push(symbol, &mut writer, out)).sum();
        writer.finish(out);
        bits
    };
    let mut stream = Vec::new();
    let bits = encode(&mut stream);
    let mut out = Vec::with_capacity(symbols.len());
    group.throughput(Throughput::Elements(symbols.len() as u64));
    group.bench_function("huffman, written", |b| {
        b.iter(|| {
            out.clear();
            encode(black_box(&mut out))
        });
    });
    group.bench_function("huffman, read", |b| {
        b.iter(|| {
            out.clear();
            decoder.decode(black_box(&stream), 0..bits, symbols.len(), &mut out)
        });
    });
    group.bench_function("four bits each, read", |b| {
        b.iter(|| {
            out.clear();
            unpack(black_box(&stream), 0, 4, 2 * stream.len(), &mut out);
        });
    });
    let counted = || {
        let mut gaps = GapCounts::at(0);
        gaps.add(black_box(&pruned));
        gaps
    };
    group.bench_function("gaps, counted", |b| b.iter(counted));
    let gaps = counted();
    group.throughput(Throughput::Elements(1));
    group.bench_function("code lengths of 256 indices", |b| b.iter(|| code_lengths(&gaps.indices(8))));
    group.finish();
}

/// A square matrix in memory.
struct Square<'a> {
    side: usize,
    data: &'a [f32],
}

impl Matrix for Square<'_> {
    type Error = Infallible;

    fn rows(&self) -> usize {
        self.side
    }

    fn cols(&self) -> usize {
        self.side
    }

    fn is_wide(&self) -> bool {
        false
    }

    fn read(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f64]) -> Result<(), Infallible> {
        for (row, out) in rows.zip(out.chunks_exact_mut(cols.len())) {
            let from = &self.data[row * self.side..][cols.clone()];
            out.iter_mut().zip(from).for_each(|(x, &w)| *x = f64::from(w));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Singular values alone, all vectors with them, and the leading vectors of a larger matrix; a turn of the dial takes what
/// `factors` take.
fn decompositions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("svd");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(8));
    let weights = weights();
    for (side, rank) in [(512, 0), (512, 64), (1024, 64), (2048, 64)] {
        let matrix = Square { side, data: &weights[..side * side] };
        let what = if rank == 0 { "values".to_owned() } else { format!("rank {rank}") };
        group.bench_function(format!("{side} x {side}, {what}"), |b| b.iter(|| Svd::of(black_box(&matrix), rank)));
    }
    let matrix = Square { side: 1024, data: &weights[..1 << 20] };
    let Ok(svd) = Svd::of(&matrix, 64);
    group.bench_function("factors of 1024 x 1024, rank 64", |b| b.iter(|| svd.factors(black_box(&matrix), 64)));
    group.finish();
}

criterion_group!(benches, kernels, formats, threads, codes, decompositions);
criterion_main!(benches);
