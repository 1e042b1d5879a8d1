//! One frame of a dial in motion, without its pixels: every tensor of a model gets another scheme, and sizes, errors, totals
//! and fidelity follow.
//!
//! The model is made up: 300 or 2,000 bf16 matrices of 65,536 weights, in a temporary file. `benches/README.md` holds what
//! was seen.

mod made;

use criterion::{Criterion, criterion_group, criterion_main};
use made::Made;
use spokeshave::model::Model;
use spokeshave::recipe::{Recipe, Scheme, Target};
use spokeshave::session::live::{ApplyTo, Live};
use std::sync::Arc;
use std::time::Duration;

/// Rows and columns of every matrix: the smallest that gets sketches.
const SIDE: usize = 256;

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
        let made = Made::new(tensors, SIDE, SIDE);
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
