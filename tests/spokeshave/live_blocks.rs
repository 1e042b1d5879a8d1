//! Live numbers of GGML's block types against exact ones: weights in rows of their own spread, with an outlier, half of them gone,
//! and weights that were in blocks before, whose error is all in the steps.

use super::command::{Folder, floats};
use super::gguf::file;
use super::live::{Noise, judge, recipe};
use spokeshave::control::Control;
use spokeshave::estimate::Label;
use spokeshave::estimate::live::{Engine, estimate_model_live};
use spokeshave::estimate::total::estimate_model;
use spokeshave::kernels::ggml::{self, BlockType};
use spokeshave::model::{Model, OpenOptions, open};
use spokeshave::profile::profile_model;
use spokeshave::recipe::Target;
use std::path::Path;

const SHAPE: [usize; 2] = [160, 1024];

const TYPES: [&str; 15] = [
    "q8_0",
    "q4_0",
    "q4_1",
    "q5_0",
    "q5_1",
    "iq4_nl",
    "mxfp4_ggml",
    "q2_k",
    "q3_k",
    "q4_k",
    "q5_k",
    "q6_k",
    "iq4_xs",
    "tq1_0",
    "tq2_0",
];

fn opened(folder: &Folder) -> Model {
    let mut noise = Noise(23);
    let mut weights = |of: &dyn Fn(&mut Noise, usize) -> f64| -> Vec<f32> {
        (0..SHAPE[0] * SHAPE[1]).map(|i| of(&mut noise, i) as f32).collect()
    };
    let heavy = weights(&|noise, _| noise.heavy());
    let rows = weights(&|noise, i| noise.heavy() * (1.0 + (i / SHAPE[1] % 7) as f64));
    let mut outlier = weights(&|noise, _| 0.02 * noise.gauss());
    outlier[77_777] = 3.0;
    let pruned: Vec<f32> = heavy.iter().map(|w| if w.abs() < 0.015 { 0.0 } else { *w }).collect();
    let mut blocks = vec![0; BlockType::Q4_1.bytes_of(rows.len()).unwrap()];
    ggml::encode(BlockType::Q4_1, &rows, &mut blocks).unwrap();
    let of = |name, weights: &[f32]| (name, &SHAPE[..], BlockType::F32, floats(weights));
    let tensors = [
        of("blk.0.attn_q.weight", &heavy),
        of("blk.1.attn_q.weight", &rows),
        of("blk.2.attn_q.weight", &outlier),
        of("blk.3.attn_q.weight", &pruned),
        ("blk.4.attn_q.weight", &SHAPE[..], BlockType::Q4_1, blocks),
    ];
    let path = folder.write("m.gguf", file(&[], &tensors, 32));
    open(Path::new(&path), &OpenOptions::default()).expect("a model").requantizing()
}

#[test]
fn blocks_are_told_at_once_and_nearly_right() {
    let folder = Folder::new("live-blocks");
    let model = opened(&folder);
    let control = Control::default();
    let mut engine = Engine::of(profile_model(&model, &control).expect("profiles"));
    let mut faults = Vec::new();
    let pruned = ["prune:0.5+q8_0", "prune:0.5:row+q5_0", "prune:0.8:global+q6_k", "prune:0.3+q4_0"];
    for setting in TYPES.into_iter().chain(pruned) {
        let (recipe, plan) = recipe(&model, &format!("*={setting}"), Target::Gguf);
        let live = estimate_model_live(&model, &plan, &recipe, &mut engine, &control).expect("live numbers");
        let exact = estimate_model(&model, &plan, &recipe, &control).expect("exact numbers");
        judge(&model, &live, &exact, setting, &mut faults);
        assert!(live.tensors.iter().all(|tensor| tensor.label == Label::Sampled), "{setting}: there is a live answer");
        let bytes = |of: &spokeshave::estimate::ModelEstimate| of.tensors.iter().map(|t| t.sizes).collect::<Vec<_>>();
        assert_eq!(bytes(&live), bytes(&exact), "{setting}");
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
