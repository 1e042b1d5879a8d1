//! GGML's block types, written and read by one thread, beside the figure that bounds them: how fast memory can be read.
//!
//! 2,097,152 weights, whose blocks stay in the third-level cache: for most types the search for a scale is what takes the time. How
//! long llama.cpp takes for the same bytes is measured by `benches/peers/ggml.py`; `benches/README.md` has both.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use spokeshave::kernels::ggml::{BlockType, decode, encode};
use spokeshave::kernels::scatter;
use std::hint::black_box;
use std::time::Duration;

/// Weights of every type.
const WEIGHTS: usize = 1 << 21;
/// Bytes of the memory probe.
const PROBE: usize = 256 << 20;

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

fn blocks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ggml");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    let memory: Vec<u64> = (0..(PROBE / 8) as u64).collect();
    group.throughput(Throughput::Bytes(PROBE as u64));
    group.bench_function("memory read", |b| {
        b.iter(|| black_box(&memory).iter().fold(0_u64, |sum, &x| sum.wrapping_add(x)));
    });
    drop(memory);
    let weights = weights();
    let mut back = vec![0.0; WEIGHTS];
    group.throughput(Throughput::Bytes(4 * WEIGHTS as u64));
    for kind in BlockType::all().filter(|kind| kind.encodes()) {
        let mut bytes = vec![0; kind.bytes_of(WEIGHTS).expect("whole blocks")];
        group.bench_function(format!("{kind}, written"), |b| b.iter(|| encode(kind, black_box(&weights), &mut bytes)));
        group.bench_function(format!("{kind}, read"), |b| b.iter(|| decode(kind, black_box(&bytes), &mut back)));
    }
    group.finish();
}

criterion_group!(benches, blocks);
criterion_main!(benches);
