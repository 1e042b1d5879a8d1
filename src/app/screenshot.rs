//! The real window as a picture, without a display: the same workbench, frame after frame, until its background work has settled.

use super::launch::{Keeping, workbench};
use super::shot::Headless;
use super::state::{Preferences, Tab};
use super::workbench::Workbench;
use crate::model::{Model, OpenOptions};
use crate::recipe::Recipe;
use crate::session::trouble::Trouble;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait for background work.
const PATIENCE: Duration = Duration::from_mins(10);
/// Frames after the last news, for animations and layouts that take two.
const LAST_FRAMES: usize = 12;

/// What is drawn.
#[derive(Debug)]
pub struct ShotOptions {
    /// The PNG to be written.
    pub out: PathBuf,
    /// `window`, `welcome`, or a tab's name.
    pub view: String,
    /// Width and height in points.
    pub size: (u32, u32),
    /// Dark or light.
    pub dark: bool,
    /// The tensor that is selected.
    pub select: Option<String>,
    /// A checkpoint to stand beside the model.
    pub beside: Option<PathBuf>,
    /// How it is opened.
    pub open: OpenOptions,
    /// Pixels per point.
    pub scale: f32,
    /// The model and its recipe; ignored by `welcome`.
    pub model: Option<(Arc<Model>, Recipe)>,
}

/// Draws the window and writes the picture.
///
/// # Errors
/// An unknown view or tensor, work that never settles, or a file that cannot be written.
pub fn shoot(options: ShotOptions) -> Result<(), String> {
    let model = match options.view.as_str() {
        "window" => options.model.ok_or("no model is given"),
        "welcome" => Err(""),
        other if Tab::called(other).is_some() => options.model.ok_or("no model is given"),
        other => {
            let tabs = Tab::ALL.map(|tab| tab.word().to_lowercase());
            return Err(format!("there is no view {other:?}; there are window, welcome, {}", tabs.join(", ")));
        }
    };
    check_out(&options.out, model.as_ref().ok().map(|(model, _)| model.as_ref()))?;
    let pixels = |points: u32| (points as f32 * options.scale).round() as usize;
    let theme = if options.dark { egui::Theme::Dark } else { egui::Theme::Light };
    let mut headless = Headless::new(pixels(options.size.0), pixels(options.size.1), options.scale, theme);
    let ctx = headless.ctx().clone();
    let preferences = Preferences { dark: options.dark, ..Preferences::default() };
    let welcome = model.is_err();
    let mut bench = workbench(&ctx, preferences, model.map_err(str::to_owned), options.open, Keeping::default());
    if welcome {
        bench.forget_failure();
    }
    if let Some(name) = &options.select {
        bench.select(name)?;
    }
    if let Some(path) = &options.beside {
        bench.compare_with(&ctx, path.clone());
    }
    if let Some(tab) = Tab::called(&options.view) {
        bench.open_tab(tab);
    }
    if let Some(why) = bench.failure() {
        return Err(why.to_owned());
    }
    let started = Instant::now();
    loop {
        bench.logic(&ctx);
        headless.frame(Vec::new(), |ui| bench.ui(ui));
        if !bench.is_busy() {
            break;
        }
        if started.elapsed() > PATIENCE {
            return Err("background work did not settle in ten minutes".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    check_beside(&bench, options.beside.is_some())?;
    for _ in 0..LAST_FRAMES {
        bench.logic(&ctx);
        headless.frame(Vec::new(), |ui| bench.ui(ui));
    }
    headless.save_png(&options.out).map_err(|e| format!("{}: cannot be written: {e}", options.out.display()))
}

/// Why there is no checkpoint beside the model, when one was asked for.
fn check_beside(bench: &Workbench, asked: bool) -> Result<(), String> {
    let Some(live) = bench.live().filter(|live| asked && live.checkpoint().is_none()) else { return Ok(()) };
    Err(live.troubles.newest().map_or_else(|| "the checkpoint could not be opened".to_owned(), Trouble::text))
}

/// A picture replaces a picture and nothing else, and never a file of the model.
fn check_out(out: &Path, model: Option<&Model>) -> Result<(), String> {
    if let Some(model) = model
        && let Err(error @ crate::export::Error::OverSource(_)) =
            crate::export::check_destination(model, crate::recipe::Target::Safetensors, out, true)
    {
        return Err(error.to_string());
    }
    let shown = crate::formats::error::display_path(out);
    match std::fs::metadata(out) {
        Err(_) => Ok(()),
        Ok(metadata) if !metadata.is_file() => Err(format!("{shown} is not a file; give the name of a PNG file")),
        Ok(_) => {
            let mut head = [0_u8; 8];
            let read = std::fs::File::open(out).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head));
            if read.is_ok() && head == *b"\x89PNG\r\n\x1a\n" {
                return Ok(());
            }
            Err(format!("{shown} is there and is not a PNG picture; it is not replaced, choose another name"))
        }
    }
}
