//! What several tests of the window need: a bench that can be driven frame by frame, and a renderer that needs no system package.

pub mod raster_renderer;

use egui_kittest::Harness;
use spokeshave::app::Workbench;
use spokeshave::app::state::Preferences;
use spokeshave::model::{Model, OpenOptions, open};
use spokeshave::recipe::Recipe;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A window that a test drives.
pub type Bench = Harness<'static, Option<Workbench>>;

/// A window of this size on a model, without renderer.
pub fn bench_on(model: Arc<Model>, size: [f32; 2], dark: bool) -> Bench {
    let frame = move |ui: &mut egui::Ui, state: &mut Option<Workbench>| {
        let ctx = ui.ctx().clone();
        let bench = state.get_or_insert_with(|| {
            let preferences = Preferences { dark, ..Preferences::default() };
            let mut bench = Workbench::new(&ctx, preferences, OpenOptions::default());
            bench.adopt(&ctx, model.clone(), Recipe::default());
            bench
        });
        bench.logic(&ctx);
        bench.ui(ui);
    };
    let renderer = raster_renderer::RasterRenderer::new();
    let mut harness = Harness::builder().with_size(size).renderer(renderer).build_ui_state(frame, None);
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
        if !harness.state().as_ref().is_some_and(Workbench::is_busy) {
            break;
        }
        assert!(started.elapsed() < Duration::from_mins(2), "background work does not settle");
        std::thread::sleep(Duration::from_millis(2));
    }
    for _ in 0..4 {
        harness.step();
    }
}

/// The session behind the window.
pub fn live(harness: &Bench) -> &spokeshave::session::Live {
    harness.state().as_ref().and_then(Workbench::live).expect("a model is open")
}
