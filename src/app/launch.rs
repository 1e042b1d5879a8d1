//! Opening the real window: OpenGL when there is some, drawn in software when there is none, a plain sentence when there is no display.

use super::preferences;
use super::start::{self, Renderer};
use super::state::Preferences;
use super::{Workbench, soft};
use crate::export::atomic::delete_all;
use crate::model::{Model, OpenOptions};
use crate::profile::Cache;
use crate::recipe::Recipe;
use crate::session::autosave::Shelf;
use eframe::CreationContext;
use std::path::PathBuf;
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
    /// Whether the user named the model. Where nobody did, the one that was open when the program ended is offered.
    pub named: bool,
    /// How further models are opened.
    pub open: OpenOptions,
    /// A checkpoint to stand beside the model.
    pub beside: Option<PathBuf>,
}

/// Opens the window and returns when it is closed.
///
/// # Errors
/// One or two sentences for the person at the keyboard.
pub fn open_window(options: WindowOptions) -> Result<(), String> {
    let WindowOptions { renderer, model, named, open, beside } = options;
    // Only one of the two closures is called, and each wants the model.
    let model = std::sync::Mutex::new(Some(model));
    let beside = &beside;
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
        let make = move |cc: &CreationContext<'_>| {
            let mut shim = Shim::new(cc, model, named, open);
            beside.iter().for_each(|path| shim.0.compare_with(&cc.egui_ctx, path.clone()));
            shim
        };
        eframe::run_native("spokeshave", native, Box::new(move |cc| Ok(Box::new(make(cc)))))
    };
    let soft = || {
        let model = take();
        preferences::check();
        let mut store = preferences::Store::of_user();
        soft::run(TITLE, SIZE, move |ctx| {
            let mut kept = store.as_ref().and_then(|store| preferences_in(store)).unwrap_or_default();
            let mut workbench = workbench(ctx, kept.clone(), model, open, Keeping::of_user(named));
            beside.iter().for_each(|path| workbench.compare_with(ctx, path.clone()));
            Box::new(move |ui| {
                let ctx = ui.ctx().clone();
                workbench.logic(&ctx);
                workbench.ui(ui);
                // Changed seldom, and small: kept at once.
                if let Some(store) = store.as_mut().filter(|_| *workbench.preferences() != kept) {
                    kept = workbench.preferences().clone();
                    eframe::set_value(store, PREFERENCES, &kept);
                    eframe::Storage::flush(store);
                }
            })
        })
    };
    let done = start::open(renderer, gl, soft).map_err(|problem| problem.sentence);
    // What a thread is still writing would stay when the program ends.
    delete_all();
    done
}

/// Where the window keeps what it knows and what was chosen; nowhere, for a picture.
#[derive(Debug, Default)]
pub struct Keeping {
    /// What is read of models.
    pub cache: Option<Cache>,
    /// Recipes as they change.
    pub shelf: Option<Shelf>,
    /// Whether the model that was open when the program ended may be offered.
    pub may_reopen: bool,
}

impl Keeping {
    /// The user's own places.
    fn of_user(named: bool) -> Self {
        Self { cache: Cache::of_user(), shelf: Shelf::of_user(), may_reopen: !named }
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
    if keeping.may_reopen {
        workbench.may_reopen();
    }
    match model {
        Ok((model, recipe)) => workbench.adopt(ctx, model, recipe),
        Err(why) => workbench.fail(why),
    }
    workbench
}

/// Preferences as they were kept; those that cannot be read are left aside for the defaults.
fn preferences_in(storage: &dyn eframe::Storage) -> Option<Preferences> {
    eframe::get_value(storage, PREFERENCES)
}

/// What eframe drives: three lines around the workbench.
struct Shim(Workbench);

impl Shim {
    fn new(
        cc: &CreationContext<'_>,
        model: Result<(Arc<Model>, Recipe), String>,
        named: bool,
        open: OpenOptions,
    ) -> Self {
        let preferences = cc.storage.and_then(preferences_in).unwrap_or_default();
        Self(workbench(&cc.egui_ctx, preferences, model, open, Keeping::of_user(named)))
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
        self.0.leave();
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, PREFERENCES, self.0.preferences());
    }
}
