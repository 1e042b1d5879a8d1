//! How long a change of scheme holds the window, scheme by scheme: every layer at once, one layer, and the bars over pruned
//! shares of one layer.
//!
//! What a frame does besides is left out ([`frame`](frame.rs) has it): a turn here is the change itself, then polls until no
//! row waits for its live number. The slowest single call is what a hand would feel, so this measures by itself and prints a
//! table. `benches/README.md` holds what was seen.

#![expect(clippy::print_stdout, reason = "a table is what this is for")]

mod made;

use made::Made;
use spokeshave::formats::Dtype;
use spokeshave::model::{Format, Model};
use spokeshave::recipe::{Recipe, Scheme, Target};
use spokeshave::session::Live;
use spokeshave::session::live::ApplyTo;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Times that every change is made.
const TURNS: usize = 5;
/// Time between two frames of a screen.
const FRAME: Duration = Duration::from_micros(16_667);
/// Blocks of a llama; with nine tensors each, the embedding, the last norm and the head, there are 300.
const BLOCKS: usize = 33;

/// Pruning alone.
const PRUNED: &[&str] = &[
    "prune:0.5",
    "prune:0.5:row",
    "prune:0.5:global",
    "nm:2:4",
    "block:16x16:0.5",
    "rows:0.25",
    "cols:0.25",
    "heads:0.25",
    "ffn:0.25",
    "random:0.5:7",
];
/// Factors.
const FACTORS: &[&str] = &["rank:16", "energy:0.5", "rank:16+int8"];
/// Quantization, each of which is tried after pruning too, where that is a scheme.
const QUANTIZED: &[&str] = &[
    "int8:row",
    "int4:row",
    "int4:tensor",
    "int4:g32",
    "int4:g64",
    "int4:g128",
    "int4:row:asym",
    "int4:tensor:asym",
    "int4:g64:asym",
    "int4:row:mse",
    "int4:tensor:mse",
    "int4:g64:mse",
    "int4:row:asym:mse",
    "int4:tensor:asym:mse",
    "int4:g32:asym:mse",
    "int4:g64:asym:mse",
    "int8:g128:asym:mse",
    "int4:row:p99.9",
    "int4:tensor:p99.9",
    "int4:g64:p99.9",
    "f16",
    "bf16",
    "fp8_e4m3",
    "fp8_e4m3:row",
    "fp8_e5m2",
    "fp8_e5m2:row",
    "mxfp4",
    "nvfp4",
    "nf4",
    "nf4:g128",
    "ternary",
    "ternary:row",
    "binary",
    "binary:row",
    "codebook:4",
    "codebook:16",
    "codebook:256",
    "codebook:16:best",
    "codebook:256:best",
    "codebook:4:row",
    "codebook:16:row",
    "codebook:256:row",
    "codebook:16:row:best",
    "codebook:256:row:best",
];

/// Blocks of GGUF files, tried after pruning too where they keep zeros.
const BLOCKS_OF_GGUF: &[&str] = &[
    "q8_0",
    "q4_0",
    "q4_1",
    "q5_0",
    "q5_1",
    "iq4_nl",
    "iq4_xs",
    "q2_k",
    "q3_k",
    "q4_k",
    "q5_k",
    "q6_k",
    "tq1_0",
    "tq2_0",
    "mxfp4_ggml",
];

/// Tried while the model is read, too.
const WHILE_READING: &[&str] = &[
    "int4:g64",
    "prune:0.5:global",
    "prune:0.5:row",
    "rows:0.25",
    "int4:g64:asym:mse",
    "ternary:row",
    "codebook:16",
    "codebook:256:row",
];

/// The tensors of a llama of this width, with so many hidden units: 300 of them.
fn llama(width: usize, ffn: usize) -> Vec<(String, Vec<usize>)> {
    let kv = width / 4;
    let mut all = vec![("model.embed_tokens.weight".to_owned(), vec![4096, width])];
    for block in 0..BLOCKS {
        let parts = [
            ("input_layernorm", vec![width]),
            ("self_attn.q_proj", vec![width, width]),
            ("self_attn.k_proj", vec![kv, width]),
            ("self_attn.v_proj", vec![kv, width]),
            ("self_attn.o_proj", vec![width, width]),
            ("post_attention_layernorm", vec![width]),
            ("mlp.gate_proj", vec![ffn, width]),
            ("mlp.up_proj", vec![ffn, width]),
            ("mlp.down_proj", vec![width, ffn]),
        ];
        all.extend(parts.map(|(part, shape)| (format!("model.layers.{block}.{part}.weight"), shape)));
    }
    all.extend([("model.norm.weight".to_owned(), vec![width]), ("lm_head.weight".to_owned(), vec![4096, width])]);
    all
}

/// What is written of a model here: blocks of a GGUF file into one, everything else into `packed`.
fn target(model: &Model) -> Target {
    if model.format == Format::Gguf { Target::Gguf } else { Target::Packed }
}

fn settled(model: Arc<Model>) -> Live {
    let recipe = Recipe { target: Some(target(&model)), ..Recipe::default() };
    let mut live = Live::new(model, recipe, None, Arc::new(|| {})).expect("an empty recipe fits");
    while live.is_busy() {
        std::thread::sleep(Duration::from_millis(5));
        live.poll();
    }
    live
}

/// What changes of scheme took.
#[derive(Default)]
struct Times {
    /// Every single call that would hold a frame.
    calls: Vec<Duration>,
    /// From the change until no row waits any more.
    whole: Vec<Duration>,
    /// Most polls of one change.
    polls: usize,
}

impl Times {
    fn call<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = call();
        self.calls.push(began.elapsed());
        result
    }

    fn words(mut self) -> String {
        let ms = |times: &mut [Duration], share: usize| {
            times.sort_unstable();
            1e3 * times.get((times.len().max(1) - 1) * share / 2).copied().unwrap_or_default().as_secs_f64()
        };
        let (worst, median) = (ms(&mut self.calls, 2), ms(&mut self.whole, 1));
        format!("{worst:>7.2} {median:>8.2} {:>4}", self.polls)
    }
}

/// The tensors that a scheme may go to: heads and hidden units are removed through one part of their block.
fn all_that_take(scheme: &Scheme) -> ApplyTo {
    match scheme.to_string().split(':').next() {
        Some("heads") => ApplyTo::Pattern("*.q_proj.weight".to_owned()),
        Some("ffn") => ApplyTo::Pattern("*.up_proj.weight".to_owned()),
        _ => ApplyTo::All,
    }
}

/// Keeps every tensor again, and all numbers with that.
fn reset(live: &mut Live) {
    live.replace_recipe(Recipe::default(), "keep all").expect("it fits");
    live.catch_up();
}

/// Changes the scheme from keep to this, several times; `None` where it is refused.
fn change(live: &mut Live, index: usize, to: &ApplyTo, scheme: &Scheme) -> Option<Times> {
    let mut times = Times::default();
    for _ in 0..TURNS {
        reset(live);
        let (began, mut polls) = (Instant::now(), 0);
        times.call(|| live.set_scheme(index, to, scheme, "dial", Some(1))).ok()?;
        while polls == 0 || live.is_behind() {
            times.call(|| live.poll());
            polls += 1;
        }
        times.whole.push(began.elapsed());
        times.polls = times.polls.max(polls);
    }
    reset(live);
    Some(times)
}

/// The bars over pruned shares of one layer under this scheme.
fn sweep(live: &mut Live, index: usize, scheme: &Scheme) -> Option<Times> {
    let mut times = Times::default();
    live.set_scheme(index, &ApplyTo::This, scheme, "dial", Some(1)).ok()?;
    live.catch_up();
    let began = Instant::now();
    loop {
        times.polls += 1;
        if times.call(|| live.sweep(index)).is_whole() {
            times.whole.push(began.elapsed());
            reset(live);
            return Some(times);
        }
    }
}

/// Polls as frames would come while a model is read for the first time, under a recipe that it was opened with.
fn read_under(model: Arc<Model>, scheme: &Scheme) -> Times {
    let mut times = Times::default();
    let mut recipe = Recipe { target: Some(target(&model)), ..Recipe::default() };
    recipe.set(&model, &format!("*={scheme}")).expect("it fits");
    let began = Instant::now();
    let mut live = times.call(|| Live::new(model, recipe, None, Arc::new(|| {}))).expect("it fits");
    while live.profile_progress().is_some() || live.is_behind() {
        let next = Instant::now() + FRAME;
        times.call(|| live.poll());
        times.polls += 1;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    times.whole.push(began.elapsed());
    times
}

/// These, and each of them after pruning; without those where pruning would be lost, and what a word on the command line
/// leaves out.
fn with_pruning(quantized: &[&str], wanted: impl Fn(&str) -> bool) -> Vec<Scheme> {
    let both = quantized.iter().flat_map(|quantized| [(*quantized).to_owned(), format!("prune:0.5+{quantized}")]);
    let all = both.map(|text| text.parse().expect("a scheme"));
    all.filter(|scheme: &Scheme| !scheme.loses_zeros() && wanted(&scheme.to_string())).collect()
}

/// Everything that is tried of what `packed` holds.
fn schemes(wanted: impl Fn(&str) -> bool) -> Vec<Scheme> {
    let by_rows = ["int4:row", "int4:g64", "int4:g64:asym:mse", "ternary:row", "codebook:16"];
    let by_rows = by_rows.map(|quantized| format!("prune:0.5:row+{quantized}"));
    let alone = PRUNED.iter().chain(FACTORS).map(|text| (*text).to_owned()).chain(by_rows);
    let alone = alone.map(|text| text.parse().expect("a scheme"));
    let mut all: Vec<Scheme> = alone.filter(|scheme: &Scheme| wanted(&scheme.to_string())).collect();
    all.extend(with_pruning(QUANTIZED, wanted));
    all
}

/// Prints the lines of one model.
fn table(what: &str, made: &Made, schemes: &[Scheme], while_reading: &[Scheme]) {
    let model = made.open();
    let index = model.find("model.layers.0.mlp.gate_proj.weight").unwrap_or(0);
    let mut live = settled(model);
    println!("\n{what:<32}{:>20}{:>24}{:>24}", "every layer", "one layer", "bars of one layer");
    for scheme in schemes {
        // One first: while every layer is served, exact numbers land, which are then kept.
        let one = change(&mut live, index, &ApplyTo::This, scheme);
        let every = change(&mut live, index, &all_that_take(scheme), scheme);
        let bars = sweep(&mut live, index, scheme);
        let words = [every, one, bars].map(|times| times.map_or_else(|| "refused".into(), Times::words));
        println!("{:<32}{:>20}{:>24}{:>24}", scheme.to_string(), words[0], words[1], words[2]);
    }
    drop(live);
    println!("{:<32}{:>20}", "while it is read", "every layer");
    for scheme in while_reading {
        println!("{:<32}{:>20}", scheme.to_string(), read_under(made.open(), scheme).words());
    }
}

fn main() {
    let only = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = |text: &str| only.as_ref().is_none_or(|only| text.contains(only.as_str()));
    let schemes = schemes(wanted);
    let reading = WHILE_READING.iter().filter(|text| wanted(text)).map(|text| text.parse().expect("a scheme"));
    let reading: Vec<Scheme> = reading.collect();
    println!("milliseconds: the longest call, the median until no row waits, most calls");
    table("300 tensors of a llama, bf16", &Made::of(&llama(512, 1408), Dtype::BF16, "safetensors"), &schemes, &reading);
    table("300 tensors of a llama, f32", &Made::of(&llama(512, 1408), Dtype::F32, "safetensors"), &schemes, &reading);
    table(
        "300 tensors of a llama, GGUF",
        &Made::of(&llama(512, 1536), Dtype::BF16, "gguf"),
        &with_pruning(BLOCKS_OF_GGUF, wanted),
        &[],
    );
    table("300 small tensors, bf16", &Made::new(300, 250, 250), &schemes, &reading);
    table("2 tensors of 45 M, bf16", &Made::new(2, 4096, 11_008), &schemes, &reading);
}
