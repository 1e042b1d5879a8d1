//! Opening the real window: OpenGL when there is some, drawn in software when there is none, a plain sentence when there is no display.

use super::preferences;
use super::start::{self, Renderer};
use super::state::Preferences;
use super::{Workbench, soft};
use crate::model::{Model, OpenOptions};
use crate::profile::Cache;
use crate::recipe::Recipe;
use crate::session::autosave::Shelf;
use eframe::CreationContext;
use std::sync::Arc;

const PREFERENCES: &str = "preferences";
const TITLE: &str = "Spokeshave";
const SIZE: [f32; 2] = [1440.0, 900.0];

/// What the window opens with.
#[derive(Debug)]
pub struct WindowOptions {
    /// How it is drawn.
    pub renderer: Renderer,
    /// The model and its recipe, or why there is none.
    pub model: Result<(Arc<Model>, Recipe), String>,
    /// How further models are opened.
    pub open: OpenOptions,
}

/// Opens the window and returns when it is closed.
///
/// # Errors
/// One or two sentences for the person at the keyboard.
pub fn open_window(options: WindowOptions) -> Result<(), String> {
    let WindowOptions { renderer, model, open } = options;
    // Only one of the two closures is called, and each wants the model.
    let model = std::sync::Mutex::new(Some(model));
    let take = || model.lock().ok().and_then(|mut m| m.take()).unwrap_or_else(|| Err("no model".into()));
    let gl = || {
        let viewport = egui::ViewportBuilder::default()
            .with_title(TITLE)
            .with_app_id("spokeshave")
            .with_inner_size(SIZE)
            .with_min_inner_size([1024.0, 700.0])
            .with_drag_and_drop(true);
        preferences::check();
        let native = eframe::NativeOptions {
            viewport,
            renderer: eframe::Renderer::Glow,
            persistence_path: preferences::path(),
            ..Default::default()
        };
        let model = take();
        eframe::run_native("spokeshave", native, Box::new(move |cc| Ok(Box::new(Shim::new(cc, model, open)))))
    };
    let soft = || {
        let model = take();
        soft::run(TITLE, SIZE, move |ctx| {
            let mut workbench = workbench(ctx, Preferences::default(), model, open, Keeping::of_user());
            Box::new(move |ui| {
                let ctx = ui.ctx().clone();
                workbench.logic(&ctx);
                workbench.ui(ui);
            })
        })
    };
    start::open(renderer, gl, soft).map_err(|problem| problem.sentence)
}

/// Where the window keeps what it knows and what was chosen; nowhere, for a picture.
#[derive(Debug, Default)]
pub struct Keeping {
    /// What is read of models.
    pub cache: Option<Cache>,
    /// Recipes as they change.
    pub shelf: Option<Shelf>,
}

impl Keeping {
    /// The user's own places.
    fn of_user() -> Self {
        Self { cache: Cache::of_user(), shelf: Shelf::of_user() }
    }
}

/// A workbench with the model it was started on.
pub fn workbench(
    ctx: &egui::Context,
    preferences: Preferences,
    model: Result<(Arc<Model>, Recipe), String>,
    open: OpenOptions,
    keeping: Keeping,
) -> Workbench {
    let mut workbench = Workbench::new(ctx, preferences, open);
    workbench.keep_profiles(keeping.cache);
    workbench.keep_recipes(keeping.shelf);
    match model {
        Ok((model, recipe)) => workbench.adopt(ctx, model, recipe),
        Err(why) => workbench.fail(why),
    }
    workbench
}

/// What eframe drives: three lines around the workbench.
struct Shim(Workbench);

impl Shim {
    fn new(cc: &CreationContext<'_>, model: Result<(Arc<Model>, Recipe), String>, open: OpenOptions) -> Self {
        // Preferences that cannot be read are left aside for the defaults.
        let preferences = cc.storage.and_then(|s| eframe::get_value(s, PREFERENCES)).unwrap_or_default();
        Self(workbench(&cc.egui_ctx, preferences, model, open, Keeping::of_user()))
    }
}

impl eframe::App for Shim {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        self.0.logic(ctx);
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.0.ui(ui);
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        self.0.close();
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, PREFERENCES, self.0.preferences());
    }
}
