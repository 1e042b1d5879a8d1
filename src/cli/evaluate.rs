//! `evaluate`: measured quality. The model is really run, here where the program can, else by a command of the user's own.

use super::args::{EvaluateArgs, Global};
use super::{Failure, estimate, json, progress, signals, text};
use crate::session::Request;
use crate::share::command::quoted;
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Stands for the path of the exported model in a command.
const PLACE: &str = "{model}";

/// Opens, measures, prints.
pub fn run(args: &EvaluateArgs, global: &Global) -> Result<(), Failure> {
    if let Some(command) = args.with.as_deref().filter(|command| !command.contains(PLACE)) {
        let what = format!("--with {command:?} has no {PLACE}: that is where the path of the model goes");
        return Err(Failure::Usage(what));
    }
    let request = estimate::open(&args.model, &args.recipe, global)?;
    match &args.with {
        Some(command) => with_command(&request, command, global),
        None => here(&request, global),
    }
}

fn here(request: &Request, global: &Global) -> Result<(), Failure> {
    let accuracy = progress::watch(global.quiet, "running the model", |control| request.measure(control))?;
    let (percent, error) = (accuracy.percent(), accuracy.standard_error());
    global.tell(
        || {
            let (value, standard_error) = (json::number(percent), json::number(error));
            json!({"metric": "accuracy", "value": value, "standard_error": standard_error, "n": accuracy.n})
        },
        || format!("{percent:.2} % ± {error:.2} ({} images)\n", text::count(accuracy.n as u64)),
    )
}

fn with_command(request: &Request, command: &str, global: &Global) -> Result<(), Failure> {
    // A signal must not end the program while the folder is there.
    let _patience = signals::patience();
    let folder = TemporaryFolder::new()?;
    let file = folder.0.join("model").with_extension(request.plan.target.extension());
    progress::watch(global.quiet, "exporting", |control| request.export(&file, false, control))?;
    let value = last_number(&output_of(command, &file)?)
        .ok_or_else(|| Failure::Told("the command of --with printed no number on its standard output".into()))?;
    drop(folder);
    global.tell(
        || json!({"metric": "command", "value": json::number(value), "standard_error": null, "n": null}),
        || format!("{value} (the last number that the command printed)\n"),
    )
}

/// What the command prints. Its own messages go where ours go.
fn output_of(command: &str, model: &Path) -> Result<String, Failure> {
    let line = command.replace(PLACE, &shell_quoted(model)?);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(line).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let fail = |error| Failure::Told(format!("sh cannot be started for --with: {error}"));
    let mut child = shell.spawn().map_err(fail)?;
    let stdout = child.stdout.take();
    let read = move || stdout.map(end_of).transpose();
    let reader = std::thread::Builder::new().name("spokeshave-with".into()).spawn(read).map_err(fail)?;
    let status = wait(&mut child).map_err(fail)?;
    if let Some(signal) = signals::caught() {
        return Err(Failure::Stopped(signal));
    }
    if !status.success() {
        return Err(Failure::Told(format!("the command of --with ended with {status}")));
    }
    let bytes = reader.join().ok().and_then(Result::ok).flatten().unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last of what comes out of a pipe, read to its end: a command may print for hours before its number.
fn end_of(mut pipe: impl Read) -> std::io::Result<Vec<u8>> {
    const KEPT: usize = 1 << 16;
    let (mut bytes, mut piece) = (Vec::new(), [0; 1 << 13]);
    loop {
        match pipe.read(&mut piece) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes.extend_from_slice(piece.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > 2 * KEPT {
            bytes.drain(..bytes.len() - KEPT);
        }
    }
}

/// Waits until a child ends; a signal that stops this program is passed on to it.
fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    const STEP: Duration = Duration::from_millis(10);
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if !told && signals::caught().is_some() {
            signals::pass_on(child);
            told = true;
        }
        std::thread::sleep(STEP);
    }
}

/// A path as one word of a shell command. Most need no quotes, and then a command that brings its own is right too.
fn shell_quoted(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().ok_or_else(|| {
        Failure::Told("the folder for temporary files has a name that is not Unicode; set TMPDIR to another".into())
    })?;
    Ok(quoted(text))
}

/// The last word of a text that is a finite decimal number; a sign such as % or a comma after it does not matter, and
/// digits inside a path or a version are no number.
fn last_number(text: &str) -> Option<f64> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '=' | ':' | '(' | ')' | '[' | ']' | '|' | ','));
    let number = |word: &str| {
        let word = word.trim_end_matches(['%', ';', '.', '"', '\'']).trim_start_matches(['"', '\'']);
        let decimal = word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
        let value = word.parse::<f64>().ok().filter(|_| decimal && word.bytes().any(|b| b.is_ascii_digit()))?;
        value.is_finite().then_some(value)
    };
    words.rev().find_map(number)
}

/// A folder of our own among the temporary files; it goes with everything in it.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> Result<Self, Failure> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let base = std::env::temp_dir();
        let fail = |error| {
            let base = crate::formats::error::display_path(&base);
            Failure::Told(format!("{base}: no temporary folder can be made there: {error}"))
        };
        for _ in 0..1000 {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("spokeshave-{}-{number}", std::process::id()));
            match private_folder(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(fail(error)),
            }
        }
        Err(fail(std::io::ErrorKind::AlreadyExists.into()))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // Nothing more can be done about a folder that will not go; the system clears its temporary files.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Creates a folder that only its owner can look into: models may be secret.
fn private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_found_in_what_people_print() {
        assert_eq!(last_number("loss 0.31\naccuracy: 97.5%\n"), Some(97.5));
        assert_eq!(last_number("perplexity = 1.2e+1"), Some(12.0));
        assert_eq!(last_number("-.5"), Some(-0.5));
        assert_eq!(last_number("nothing"), None);
        assert_eq!(last_number("1e999"), None);
        assert_eq!(last_number("103996 /tmp/spokeshave-8484-0/model.spk"), Some(103_996.0));
        assert_eq!(last_number("acc 93.1% (v2.3.4, 2nd run)."), Some(93.1));
    }

    #[test]
    fn only_the_end_of_a_long_output_is_kept() {
        let long = "0.5 of the way\n".repeat(100_000) + "accuracy 93.25\n";
        let kept = end_of(long.as_bytes()).unwrap();
        assert!(kept.len() <= 1 << 17 && long.as_bytes().ends_with(&kept));
        assert_eq!(last_number(&String::from_utf8_lossy(&kept)), Some(93.25));
        assert_eq!(end_of(&b"7"[..]).unwrap(), b"7");
    }

    #[test]
    fn a_path_is_one_word_of_the_shell() {
        let quoted = |path: &str| shell_quoted(Path::new(path)).unwrap();
        assert_eq!(quoted("/tmp/a-1/model.spk"), "/tmp/a-1/model.spk");
        assert_eq!(quoted("/tmp/it's here/$x"), r"'/tmp/it'\''s here/$x'");
    }
}
