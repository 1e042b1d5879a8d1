//! The command line: what was typed becomes a request to the library, and its answer a table for people or a document for programs.
//!
//! ```text
//! words ─► args ─► session::Request ─► one command ─► text | --json ─► stdout, at once and whole
//!                                          └─► progress, notes, errors ─► stderr
//! ```
//!
//! A command computes first and prints last, so that nothing is on stdout when it fails. Nothing here knows a formula.
//!
//! | file | what it settles |
//! |---|---|
//! | [`args`], `picture`, `help` | the words that are understood, and how they are taught |
//! | `failure` | one line for what went wrong, and the exit code |
//! | `answer` | stdout: at once, and nothing in it that a terminal obeys |
//! | `signals` | what Ctrl+C does |
//! | `threads` | how many compute |
//! | `text`, `json` | numbers and tables for people; numbers for programs |
//! | `progress` | the line on stderr while something takes long |
//! | the rest | one file per command |

mod answer;
pub mod args;
mod compare;
mod estimate;
mod evaluate;
mod export;
mod failure;
mod help;
mod inspect;
mod json;
mod picture;
mod preset;
mod progress;
mod recipe;
mod report;
mod signals;
mod text;
mod threads;
mod verify;

pub use args::{Cli, Renderer, ScreenshotOptions, Theme, WindowOptions};
pub use failure::{Failure, refuse};

use crate::formats::source::Access;
use crate::model::OpenOptions;
use args::{Command, Global, ScreenshotArgs};
use clap::CommandFactory;
use std::io::Write;
use std::path::Path;

/// Carries out what was typed. The window and its pictures come from outside, so that this room knows no windows.
///
/// # Errors
/// What could not be done, and whose fault it is: see [`Failure::exit_code`].
pub fn run(
    cli: &Cli,
    open_window: impl FnOnce(&WindowOptions) -> Result<(), String>,
    shoot: impl FnOnce(&ScreenshotOptions) -> Result<(), String>,
) -> Result<(), Failure> {
    let global = &cli.global;
    if let Some(command) = &cli.command {
        cli.check_nothing_before(command)?;
    }
    let in_window = matches!(cli.command, None | Some(Command::Screenshot(_)));
    global.notes(&threads::set(global.threads, in_window)?);
    if cli.command.is_none() {
        signals::for_window();
        return open_window(&cli.window()?).map_err(Failure::Told);
    }
    signals::for_commands();
    let done = carry_out(cli, shoot);
    match signals::caught() {
        Some(signal) if done.is_err() => Err(Failure::Stopped(signal)),
        _ => done,
    }
}

fn carry_out(cli: &Cli, shoot: impl FnOnce(&ScreenshotOptions) -> Result<(), String>) -> Result<(), Failure> {
    let global = &cli.global;
    match &cli.command {
        None => Ok(()),
        Some(Command::Inspect(args)) => inspect::run(args, global),
        Some(Command::Estimate(args)) => estimate::run(args, global),
        Some(Command::Allocate(_)) => Err(Failure::not_built(
            "allocate",
            "set schemes by hand with --set, and watch bytes and fidelity with estimate",
        )),
        Some(Command::Export(args)) => export::run(args, global),
        Some(Command::Preset(args)) => preset::run(args, global),
        Some(Command::Recipe(args)) => recipe::run(args, global),
        Some(Command::Report(args)) => report::run(args, global),
        Some(Command::Verify(args)) => verify::run(args, global),
        Some(Command::Compare(args)) => compare::run(args, global),
        Some(Command::Evaluate(args)) => evaluate::run(args, global),
        Some(Command::Screenshot(args)) => screenshot(args, global, shoot),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "spokeshave", &mut script);
            answer::print(|out| out.write_all(&script))
        }
    }
}

fn screenshot(
    args: &ScreenshotArgs,
    global: &Global,
    shoot: impl FnOnce(&ScreenshotOptions) -> Result<(), String>,
) -> Result<(), Failure> {
    let options = args.options(global)?;
    shoot(&options).map_err(Failure::Told)?;
    let out = json::path(&options.out);
    let (width, height) = options.size;
    global.tell(
        || serde_json::json!({"out": out, "view": options.view, "width": width, "height": height, "scale": options.scale}),
        || format!("wrote {}\n", crate::formats::error::display_path(&options.out)),
    )
}

impl Global {
    /// How models are to be opened.
    fn open_options(&self) -> OpenOptions {
        let access = if self.no_mmap { Access::Read } else { Access::Map };
        OpenOptions { access, ..OpenOptions::default() }
    }

    /// Opens a model that comes without a recipe, and passes on its warnings.
    fn open(&self, spec: &Path) -> Result<crate::model::Model, Failure> {
        let model = crate::model::open(spec, &self.open_options()).map_err(crate::session::Error::from)?;
        self.notes(&model.warnings);
        Ok(model)
    }

    /// Passes messages on to the user.
    fn notes(&self, messages: &[String]) {
        if self.quiet {
            return;
        }
        let mut stderr = std::io::stderr().lock();
        for message in messages {
            // Nobody is left to tell when stderr is gone.
            drop(writeln!(stderr, "spokeshave: note: {}", text::one_line(message)));
        }
    }
}
