//! The door: what was typed goes to the window or to a command, and how it ended becomes an exit code.
//!
//! | code | means |
//! |---|---|
//! | 0 | done; a pipe whose reader had enough counts as done |
//! | 1 | it could not be done |
//! | 2 | the command line is wrong |
//! | 130, 143, 129 | SIGINT, SIGTERM or SIGHUP stopped it, and nothing was written |

use clap::Parser;
use spokeshave::app;
use spokeshave::cli::{self, Cli, Renderer, ScreenshotOptions, Theme, WindowOptions};
use spokeshave::model::Model;
use spokeshave::recipe::Recipe;
use spokeshave::session::{Error, Request, Wish};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let words = match Cli::try_parse() {
        Ok(words) => words,
        Err(error) => return cli::refuse(&error),
    };
    match cli::run(&words, open_window, shoot) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Opens the window and comes back when it is closed. A model that cannot be opened is told in the window, where
/// another can be chosen; a recipe that does not fit is told here.
fn open_window(options: &WindowOptions) -> Result<(), String> {
    if let Some(sentence) = app::start::display_problem() {
        return Err(sentence);
    }
    let model = match Request::open(&spec(options.model.as_deref()), &options.open, &options.wish) {
        Ok(request) => Ok(effective(request)),
        Err(error @ Error::Format(_)) => Err(error.to_string()),
        Err(error) => return Err(error.to_string()),
    };
    let renderer = match options.renderer {
        Renderer::Auto => app::start::Renderer::Auto,
        Renderer::Gl => app::start::Renderer::Gl,
        Renderer::Soft => app::start::Renderer::Soft,
    };
    app::open_window(app::WindowOptions {
        renderer,
        model,
        named: options.model.is_some(),
        open: options.open,
        beside: options.beside.clone(),
    })
}

/// Draws the window into a file.
fn shoot(options: &ScreenshotOptions) -> Result<(), String> {
    let open = |wish: &Wish| Request::open(&spec(options.model.as_deref()), &options.open, wish);
    let model = match options.view.as_str() {
        "welcome" => None,
        _ => Some(open(&options.wish).map_err(|e| e.to_string())?),
    };
    app::shoot(app::ShotOptions {
        out: options.out.clone(),
        view: options.view.clone(),
        size: options.size,
        dark: options.theme == Theme::Dark,
        select: options.select.clone(),
        beside: options.beside.clone(),
        open: options.open,
        scale: options.scale,
        model: model.map(effective),
    })
}

/// The model and the recipe as it stands after everything that was typed, the nearest schemes accepted included.
fn effective(request: Request) -> (Arc<Model>, Recipe) {
    let recipe = request.recipe.settled(&request.model, &request.plan);
    (request.model, recipe)
}

fn spec(model: Option<&Path>) -> PathBuf {
    model.unwrap_or(Path::new("demo")).to_path_buf()
}
