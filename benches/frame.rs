//! What a frame of the window takes without its pixels: logic, panels and tessellation, at rest, under the hand, and while a
//! model is being read.
//!
//! Quantiles matter here, the slowest frame in a hundred is the one that is felt, so this measures by itself and prints a
//! table. `benches/README.md` holds what was seen.

#![expect(clippy::print_stdout, reason = "a table is what this is for")]

mod made;

use made::Made;
use spokeshave::app::shot::Headless;
use spokeshave::app::state::Preferences;
use spokeshave::app::{Command, Workbench};
use spokeshave::model::{Model, OpenOptions};
use spokeshave::recipe::{Recipe, Scheme};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two frames of a screen.
const FRAME: Duration = Duration::from_micros(16_667);

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
