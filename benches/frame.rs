//! What a frame of the window takes without its pixels: logic, panels and tessellation, at rest, under the hand, and while a
//! model is being read.
//!
//! Quantiles matter here, the slowest frame in a hundred is the one that is felt, so this measures by itself and prints a
//! table. `benches/README.md` holds what was seen.

#![expect(clippy::print_stdout, reason = "a table is what this is for")]

use spokeshave::app::shot::Headless;
use spokeshave::app::state::Preferences;
use spokeshave::app::{Command, Workbench};
use spokeshave::model::{Model, OpenOptions, open};
use spokeshave::recipe::{Recipe, Scheme};
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two frames of a screen.
const FRAME: Duration = Duration::from_micros(16_667);

/// A file of bf16 matrices, deleted with this.
struct Made(std::path::PathBuf);

impl Made {
    /// `tensors` matrices of `rows` by `cols`, eight to a block.
    fn new(tensors: usize, rows: usize, cols: usize) -> Self {
        let name = format!("spokeshave-frame-{tensors}-{}.safetensors", std::process::id());
        let path = std::env::temp_dir().join(name);
        let bytes = rows * cols * 2;
        let parts =
            ["self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down", "extra"];
        let entry = |i: usize| {
            let (start, end, block, part) = (i * bytes, (i + 1) * bytes, i / 8, parts[i % 8]);
            format!(
                "\"model.layers.{block}.{part}_proj.weight\":{{\"dtype\":\"BF16\",\"shape\":[{rows},{cols}],\"data_offsets\":[{start},{end}]}}"
            )
        };
        let mut header = format!("{{{}}}", (0..tensors).map(entry).collect::<Vec<_>>().join(","));
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("the temporary folder takes files"));
        file.write_all(&(header.len() as u64).to_le_bytes()).expect("it takes the header");
        file.write_all(header.as_bytes()).expect("it takes the header");
        let mut state = 1_u64;
        for _ in 0..tensors * rows * cols {
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

/// A window of 1600 by 1000 points that nobody sees.
struct Window {
    screen: Headless,
    bench: Workbench,
}

impl Window {
    fn on(model: Arc<Model>) -> Self {
        let screen = Headless::new(1600, 1000, 1.0, egui::Theme::Dark);
        let mut bench = Workbench::new(screen.ctx(), Preferences::default(), OpenOptions::default());
        bench.adopt(screen.ctx(), model, Recipe::default());
        Self { screen, bench }
    }

    /// One frame, and what it took.
    fn frame(&mut self, command: Option<Command>) -> Duration {
        let began = Instant::now();
        let ctx = self.screen.ctx().clone();
        self.bench.logic(&ctx);
        if let Some(command) = command {
            self.bench.apply(&ctx, command);
        }
        let bench = &mut self.bench;
        self.screen.frame(Vec::new(), |ui| bench.ui(ui));
        black_box(self.screen.tessellated());
        began.elapsed()
    }

    fn settle(&mut self) {
        while self.bench.is_busy() {
            self.frame(None);
            std::thread::sleep(Duration::from_millis(2));
        }
        for _ in 0..10 {
            self.frame(None);
        }
    }
}

/// Another scheme for the selected tensor, as a hand on its slider asks for.
fn dial(turn: usize) -> Command {
    let scheme: Scheme = format!("prune:0.{}+int4:g64", 10 + turn % 80).parse().expect("a scheme");
    Command::SetScheme { scheme, what: "dial".into(), gesture: Some(1) }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| 1e3 * times[((times.len() - 1) as f64 * share) as usize].as_secs_f64();
    println!(
        "{what:<58} {:>6} frames   median {:>6.2} ms   p99 {:>6.2} ms   worst {:>6.2} ms",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn main() {
    let made = Made::new(1000, 64, 64);
    let mut window = Window::on(made.open());
    window.settle();
    report("1,000 rows, at rest", (0..600).map(|_| window.frame(None)).collect());
    report("1,000 rows, one layer dialled", (0..600).map(|turn| window.frame(Some(dial(turn)))).collect());
    drop((window, made));

    let made = Made::new(300, 1024, 1536);
    let mut window = Window::on(made.open());
    let mut times = Vec::new();
    while window.bench.live().is_some_and(|live| live.profile_progress().is_some()) {
        let next = Instant::now() + FRAME;
        times.push(window.frame((times.len() % 2 == 1).then(|| dial(times.len()))));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    report("300 tensors of 1.5 M bf16, dialled while they are read", times);
    window.settle();
    report("the same, read", (0..600).map(|turn| window.frame(Some(dial(turn)))).collect());
}
