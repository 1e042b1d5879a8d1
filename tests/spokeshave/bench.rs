//! What several tests of the window need: a bench that can be driven frame by frame, and a renderer that needs no system package.

use egui_kittest::Harness;
use spokeshave::app::state::Preferences;
use spokeshave::app::{Command, Workbench};
use spokeshave::model::{Model, OpenOptions, open};
use spokeshave::recipe::Recipe;
use spokeshave::session::autosave::Shelf;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A window that a test drives.
pub type Bench = Harness<'static, App>;

/// The workbench as eframe drives it.
pub struct App(Workbench);

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        self.0.logic(ctx);
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.0.ui(ui);
    }
}

/// A window of this size on a model.
pub fn bench_on(model: Arc<Model>, size: [f32; 2], dark: bool) -> Bench {
    bench_with(model, size, dark, None)
}

/// The same, with recipes kept on this shelf.
pub fn bench_with(model: Arc<Model>, size: [f32; 2], dark: bool, shelf: Option<Shelf>) -> Bench {
    window(model, size, dark, shelf, true)
}

/// The same, on a model that nobody named.
pub fn bench_unnamed(model: Arc<Model>, size: [f32; 2], shelf: Shelf) -> Bench {
    window(model, size, true, Some(shelf), false)
}

fn window(model: Arc<Model>, size: [f32; 2], dark: bool, shelf: Option<Shelf>, named: bool) -> Bench {
    let make = move |cc: &mut eframe::CreationContext<'_>| {
        let preferences = Preferences { dark, ..Preferences::default() };
        let mut bench = Workbench::new(&cc.egui_ctx, preferences, OpenOptions::default());
        bench.keep_recipes(shelf);
        if !named {
            bench.may_reopen();
        }
        bench.adopt(&cc.egui_ctx, model, Recipe::default());
        App(bench)
    };
    let theme = if dark { egui::Theme::Dark } else { egui::Theme::Light };
    let renderer = super::raster_renderer::RasterRenderer::new();
    let mut harness = Harness::builder().with_size(size).with_theme(theme).renderer(renderer).build_eframe(make);
    settle(&mut harness);
    harness
}

/// A window on the demo.
pub fn demo() -> Bench {
    let model = open(Path::new("demo"), &OpenOptions::default()).expect("the demo is part of the program");
    bench_on(Arc::new(model), [1440.0, 900.0], true)
}

/// Draws frames until background work rests and every number is for the current recipe.
pub fn settle(harness: &mut Bench) {
    let started = Instant::now();
    loop {
        harness.step();
        if !harness.state().0.is_busy() {
            break;
        }
        assert!(started.elapsed() < Duration::from_mins(2), "background work does not settle");
        std::thread::sleep(Duration::from_millis(2));
    }
    for _ in 0..4 {
        harness.step();
    }
}

/// Draws frames until this holds.
#[track_caller]
pub fn wait_until(harness: &mut Bench, holds: impl Fn(&Bench) -> bool) {
    let started = Instant::now();
    while !holds(harness) {
        assert!(started.elapsed() < Duration::from_secs(30), "it does not come");
        harness.step();
        std::thread::sleep(Duration::from_millis(5));
    }
    harness.step();
}

/// Carries out a command at once, as a frame would after it is drawn: what runs behind the window is not heard in between.
pub fn apply(harness: &mut Bench, command: Command) {
    let ctx = harness.ctx.clone();
    harness.state_mut().0.apply(&ctx, command);
}

/// The session behind the window.
pub fn live(harness: &Bench) -> &spokeshave::session::Live {
    harness.state().0.live().expect("a model is open")
}
