//! One frame of a dial in motion, without its pixels: every tensor of a model gets another scheme, and sizes, errors, totals
//! and fidelity follow.
//!
//! The model is made up: 300 or 2,000 bf16 matrices of 65,536 weights, in a temporary file. `benches/README.md` holds what
//! was seen.

use criterion::{Criterion, criterion_group, criterion_main};
use spokeshave::model::{Model, OpenOptions, open};
use spokeshave::recipe::{Recipe, Scheme, Target};
use spokeshave::session::live::{ApplyTo, Live};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// Rows and columns of every matrix: the smallest that gets sketches.
const SIDE: usize = 256;

/// A file of `tensors` matrices, deleted with this.
struct Made(std::path::PathBuf);

impl Made {
    fn new(tensors: usize) -> Self {
        let path = std::env::temp_dir().join(format!("spokeshave-bench-{tensors}-{}.safetensors", std::process::id()));
        let bytes = SIDE * SIDE * 2;
        let entry = |i: usize| {
            let (start, end) = (i * bytes, (i + 1) * bytes);
            format!(
                "\"model.layers.{i:04}.mlp.up_proj.weight\":{{\"dtype\":\"BF16\",\"shape\":[{SIDE},{SIDE}],\"data_offsets\":[{start},{end}]}}"
            )
        };
        let mut header = format!("{{{}}}", (0..tensors).map(entry).collect::<Vec<_>>().join(","));
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("the temporary folder takes files"));
        file.write_all(&(header.len() as u64).to_le_bytes()).expect("it takes the header");
        file.write_all(header.as_bytes()).expect("it takes the header");
        let mut state = 1_u64;
        for _ in 0..tensors * SIDE * SIDE {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let sum = (state >> 40) + (state >> 16 & 0xff_ffff) + (state & 0xff_ffff);
            let weight = (sum as f32 / 16_777_216.0 - 1.5) * 0.05;
            file.write_all(&((weight.to_bits() >> 16) as u16).to_le_bytes()).expect("it takes the weights");
        }
        file.flush().expect("it takes the weights");
        Self(path)
    }

    fn open(&self) -> Arc<Model> {
        Arc::new(open(&self.0, &OpenOptions::default()).expect("what was written is a model"))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn settled(model: Arc<Model>) -> Live {
    let recipe = Recipe { target: Some(Target::Packed), ..Recipe::default() };
    let mut live = Live::new(model, recipe, None, Arc::new(|| {})).expect("an empty recipe fits");
    while live.is_busy() {
        std::thread::sleep(Duration::from_millis(5));
        live.poll();
    }
    live
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("live frame");
    group.sample_size(30).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for tensors in [300, 2000] {
        let made = Made::new(tensors);
        let mut live = settled(made.open());
        for schemes in [
            ["int4:g64", "int5:g64"],
            ["int8:row", "int7:row"],
            ["int4:tensor", "int5:tensor"],
            ["prune:0.5:global", "prune:0.6:global"],
            ["prune:0.5+int4:g64", "prune:0.6+int4:g64"],
        ] {
            let schemes: Vec<Scheme> = schemes.iter().map(|text| text.parse().expect("a scheme")).collect();
            let mut turn = 0;
            group.bench_function(format!("{tensors} tensors, {}", schemes[0]), |bench| {
                bench.iter(|| {
                    turn += 1;
                    live.set_scheme(0, &ApplyTo::All, &schemes[turn % 2], "dial", Some(1)).expect("nothing refuses it");
                    live.poll();
                    live.totals.as_ref().map(|totals| totals.bytes)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
