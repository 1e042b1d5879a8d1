//! The passes that every dial waits for, beside the one figure that bounds them: how fast memory can be read.
//!
//! One thread each, over values larger than any cache. `benches/README.md` says how to run it and what was seen.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use spokeshave::kernels::error::{ErrorSums, error_sums};
use spokeshave::kernels::histogram::Histogram;
use spokeshave::kernels::layout::CHUNK;
use spokeshave::kernels::quant::{Extent, Grid};
use spokeshave::kernels::select::{DIGITS, Select, Threshold};
use spokeshave::kernels::stats::moments;
use std::hint::black_box;
use std::time::Duration;

/// Weights in every bench: 64 MiB of f32.
const WEIGHTS: usize = 1 << 24;
/// Bytes of the memory probe.
const PROBE: usize = 256 << 20;
/// Elements that share a scale.
const GROUP: usize = 128;

/// Weights as trained layers have them: many small, a few large, both signs; the same in every run.
fn weights() -> Vec<f32> {
    let mut state = 0_u64;
    let mut uniform = || {
        // splitmix64
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = state;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
    };
    (0..WEIGHTS)
        .map(|_| {
            let side = if uniform() < 0.5 { -0.02 } else { 0.02 };
            side * -(1.0 - uniform()).ln()
        })
        .collect()
}

/// Error sums of symmetric 4-bit groups: extent, grid, codes, values and sums, a chunk at a time in one set of buffers.
fn int4_g128(weights: &[f32], codes: &mut [i32], values: &mut [f32]) -> ErrorSums {
    let mut sums = ErrorSums::default();
    for chunk in weights.chunks(CHUNK) {
        let groups = chunk.chunks(GROUP).zip(codes.chunks_mut(GROUP)).zip(values.chunks_mut(GROUP));
        for ((group, codes), values) in groups {
            let grid = Grid::new(4, false, Extent::of(group)).expect("these scales fit");
            grid.quantize(group, codes, values);
        }
        sums = sums.merge(error_sums(chunk, chunk, &values[..chunk.len()]));
    }
    sums
}

/// The magnitude below which nine tenths of the weights lie: one table of counts, then a second.
fn threshold(weights: &[f32], table: &mut Vec<u64>) -> Option<Threshold> {
    let mut walk = Select::new(weights.len() as u64 / 10 * 9, 32)?;
    loop {
        table.clear();
        table.resize(DIGITS, 0);
        walk.count(weights, table);
        if let Some(found) = walk.narrow(table) {
            return Some(found);
        }
    }
}

fn kernels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kernels");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));

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
    let (mut codes, mut values) = (vec![0; CHUNK], vec![0.0; CHUNK]);
    group.bench_function("int4 g128", |b| b.iter(|| int4_g128(black_box(&weights), &mut codes, &mut values)));
    let mut table = Vec::new();
    group.bench_function("threshold", |b| b.iter(|| threshold(black_box(&weights), &mut table)));
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
