//! One line on stderr while something takes long: drawn over itself by a small thread, and gone when the work is done.

use super::signals;
use super::text::units;
use crate::control::{Control, Progress};
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

/// Time between two drawings.
const STEP: Duration = Duration::from_millis(120);
/// Work that is done sooner shows nothing: a line that flashes is noise.
const PATIENCE_SECONDS: f64 = 0.4;

/// Does some work that a signal stops, and shows how far it is, on a terminal and unless `quiet`.
pub fn watch<T>(quiet: bool, doing: &str, work: impl FnOnce(&Control) -> T) -> T {
    let control = Control::stopped_by(signals::stop_flag());
    let _patience = signals::patience();
    if quiet || !std::io::stderr().is_terminal() {
        return work(&control);
    }
    let watched = &control;
    std::thread::scope(|scope| {
        let (working, ended) = mpsc::channel::<()>();
        // Where no thread is to be had, the work goes on unseen.
        drop(std::thread::Builder::new().spawn_scoped(scope, move || draw(watched, doing, &ended)));
        // Dropped when the work ends, however it ends; that is what stops the drawing.
        let _working = working;
        work(watched)
    })
}

fn draw(control: &Control, doing: &str, ended: &Receiver<()>) {
    let mut drawn = false;
    while ended.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
        let progress = control.progress();
        if progress.seconds >= PATIENCE_SECONDS {
            show(&line(doing, &progress));
            drawn = true;
        }
    }
    if drawn {
        show("");
    }
}

/// Replaces the terminal's current line. A terminal that is gone is no reason to stop working.
fn show(line: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush()));
}

/// Shorter than 80 columns, so that it never wraps.
fn line(doing: &str, progress: &Progress) -> String {
    if progress.total == 0 {
        return format!("{doing} …");
    }
    let percent = 100.0 * progress.fraction();
    let done = format!("{doing} {percent:3.0} %  {} of {}", units(progress.done), units(progress.total));
    match progress.seconds_left() {
        Some(left) if left >= 1.0 => format!("{done}, {left:.0} s left"),
        _ => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_how_long() {
        let at = |done, total, seconds| line("estimating", &Progress { done, total, seconds });
        assert_eq!(at(0, 0, 1.0), "estimating …");
        assert_eq!(at(0, 2048, 1.0), "estimating   0 %  0 B of 2.00 KiB");
        assert_eq!(at(1024, 4096, 2.0), "estimating  25 %  1.00 KiB of 4.00 KiB, 6 s left");
    }
}
