//! A failure is one line on stderr and an exit code that says whose move it is: 1 the world's, 2 the one who typed.

use super::args::Cli;
use super::text::one_line;
use crate::{formats, recipe, session};
use clap::CommandFactory;
use std::error::Error as _;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line itself is wrong.
    #[error("{0}")]
    Usage(String),
    /// The library refused.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// Something else, in words.
    #[error("{0}")]
    Told(String),
    /// A signal stopped the work, which has cleaned up behind itself.
    #[error("stopped by {}; nothing was written", super::signals::name(*.0))]
    Stopped(i32),
    /// The answer could not be printed.
    #[error("the answer cannot be written to standard output: {0}")]
    Output(std::io::Error),
}

impl Failure {
    /// Something of the contract that this version does not have yet.
    #[must_use]
    pub fn not_built(what: &str, instead: &str) -> Self {
        Self::Told(format!("{what} is not built yet; {instead}"))
    }

    /// 2 when the command line is wrong, 1 when what it asks for cannot be done, 128 and its number for a signal.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Session(session::Error::Recipe(error)) if error.is_usage() => 2,
            Self::Stopped(signal) => u8::try_from(128 + signal).unwrap_or(1),
            Self::Session(_) | Self::Told(_) | Self::Output(_) => 1,
        }
    }

    /// The message, with causes that it does not already tell, on one line that is safe to print.
    #[must_use]
    pub fn line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let told = error.to_string();
            if !text.contains(&told) {
                text = format!("{text}: {told}");
            }
            cause = error.source();
        }
        one_line(&text)
    }

    /// Says it on stderr and gives the code to end with.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        say(&self.line());
        ExitCode::from(self.exit_code())
    }
}

impl From<recipe::Error> for Failure {
    fn from(error: recipe::Error) -> Self {
        Self::Session(error.into())
    }
}

impl From<formats::Error> for Failure {
    fn from(error: formats::Error) -> Self {
        Self::Session(error.into())
    }
}

/// Ends a run whose words were not understood, or which only asked for help.
#[must_use]
pub fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help into `| head` ends early, and that is fine; help that nobody can read is not.
        return match error.print().and_then(|()| std::io::stdout().flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Failure::Output(error).report(),
            _ => ExitCode::SUCCESS,
        };
    }
    let rendered = error.render().to_string();
    let told = rendered.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    // "Pass it after --" is true of every unknown option and helps with none.
    let told: Vec<&str> = told.filter(|line| !line.trim_start().starts_with("tip: to pass")).collect();
    let told = told.join("\n");
    let hint = not_a_command().unwrap_or_default();
    say(&one_line(&format!("{}{hint} (see --help)", told.trim().trim_start_matches("error: "))));
    ExitCode::from(2)
}

/// A first word that is neither a command nor a file is a command misspelt, and clap takes it for a model.
fn not_a_command() -> Option<String> {
    let word = std::env::args_os().nth(1)?.into_string().ok()?;
    let command = Cli::command();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let unknown = !word.starts_with('-') && !word.starts_with("demo") && !names.contains(&word.as_str());
    let missing = unknown && word != "help" && !Path::new(&word).exists();
    missing.then(|| format!("; {word:?} is no command and no file; the commands are {}", names.join(", ")))
}

fn say(line: &str) {
    // Nobody is left to tell when stderr is gone.
    drop(writeln!(std::io::stderr(), "spokeshave: {line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_and_on_one_line() {
        let error = recipe::Pattern::new("re:(").unwrap_err();
        let failure = Failure::from(error);
        assert_eq!(failure.exit_code(), 2);
        let line = failure.line();
        assert!(!line.contains('\n') && line.matches("unclosed group").count() == 1, "{line}");
        assert_eq!(Failure::not_built("that", "do this").exit_code(), 1);
        assert_eq!((Failure::Stopped(2).exit_code(), Failure::Stopped(15).exit_code()), (130, 143));
    }
}
