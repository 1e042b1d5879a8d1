//! What the system asks of a running command: the first Ctrl+C stops its work cleanly, the second ends it at once.
//!
//! | signal | first | second | exit code |
//! |---|---|---|---|
//! | SIGINT (Ctrl+C) | the work stops at its next chunk, and its temporaries go | ends at once | 130 |
//! | SIGTERM | the same | the same | 143 |
//! | SIGHUP (the terminal is closed) | the same | the same | 129 |
//! | SIGXFSZ (a file grows past `ulimit -f`) | the write fails with a message | the same | 1 |
//!
//! Between pieces of work, where nothing looks for a stop, the first one ends the program as it always does. What was set
//! to be ignored (by `nohup`, or for a shell's background jobs) stays ignored. In the window they close the program, its
//! temporaries first.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The flag that asks work to stop.
#[must_use]
pub fn stop_flag() -> Arc<AtomicBool> {
    #[cfg(unix)]
    {
        unix::FLAGS.stop.clone()
    }
    #[cfg(not(unix))]
    {
        Arc::default()
    }
}

#[cfg(not(unix))]
mod elsewhere {
    /// Nothing is caught here.
    pub fn for_commands() {}
    /// Nothing is caught here.
    pub fn for_window() {}
    /// Nothing is caught here.
    pub fn caught() -> Option<i32> {
        None
    }
    /// Nothing is waited for here.
    pub struct Patience;
    /// Nothing is waited for here.
    pub fn patience() -> Patience {
        Patience
    }
    /// Nothing is passed on here.
    pub fn pass_on(_child: &std::process::Child) {}
}

#[cfg(not(unix))]
pub use elsewhere::{caught, for_commands, for_window, pass_on, patience};
#[cfg(unix)]
pub use unix::{caught, for_commands, for_window, pass_on, patience};

/// A signal's name.
#[must_use]
pub fn name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        15 => "SIGTERM",
        _ => "a signal",
    }
}

#[cfg(unix)]
mod unix {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    use signal_hook::{flag, low_level};
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, LazyLock};

    /// What the handlers set.
    pub struct Flags {
        pub stop: Arc<AtomicBool>,
        /// Whether the next signal ends the program: while nobody looks at `stop`, and after the first.
        at_once: Arc<AtomicBool>,
        /// The signal that was caught, or 0.
        caught: Arc<AtomicUsize>,
    }

    pub static FLAGS: LazyLock<Flags> = LazyLock::new(|| Flags {
        stop: Arc::default(),
        at_once: Arc::new(AtomicBool::new(true)),
        caught: Arc::default(),
    });

    /// Catches what would end a command in the middle of its work. A signal that cannot be caught is left as it is.
    pub fn for_commands() {
        let flags = &*FLAGS;
        for signal in wanted() {
            // In this order, so that the flag which the first signal raises is seen by the second.
            let caught = flag::register_conditional_default(signal, flags.at_once.clone())
                .and_then(|_| flag::register_usize(signal, flags.caught.clone(), signal.cast_unsigned() as usize))
                .and_then(|_| flag::register(signal, flags.stop.clone()))
                .and_then(|_| flag::register(signal, flags.at_once.clone()));
            drop(caught);
        }
        catch_large_files();
    }

    /// Deletes the temporaries of a running export when the window is told to go, and goes.
    pub fn for_window() {
        catch_large_files();
        let Ok((mut listener, speaker)) = UnixStream::pair() else { return };
        let wait = move || {
            if listener.read_exact(&mut [0]).is_ok() {
                crate::export::atomic::delete_all();
                let signal = super::caught().unwrap_or(SIGTERM);
                drop(low_level::emulate_default_handler(signal));
            }
        };
        // Without the thread the handlers would swallow the signals.
        if std::thread::Builder::new().name("spokeshave-signals".into()).spawn(wait).is_err() {
            return;
        }
        for signal in wanted() {
            let told = flag::register_usize(signal, FLAGS.caught.clone(), signal.cast_unsigned() as usize)
                .and_then(|_| low_level::pipe::register(signal, speaker.try_clone()?));
            drop(told);
        }
    }

    /// With a handler in place a write past the limit fails like any other, instead of ending the program.
    fn catch_large_files() {
        drop(flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))));
    }

    /// The signals that nobody has set to be ignored.
    fn wanted() -> impl Iterator<Item = i32> {
        let ignored = ignored();
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
    }

    /// What is ignored, a bit for each signal, where the system tells.
    fn ignored() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    }

    /// The signal that stopped the work, if one did.
    pub fn caught() -> Option<i32> {
        let signal = i32::try_from(FLAGS.caught.load(Ordering::SeqCst)).ok()?;
        (signal != 0).then_some(signal)
    }

    /// While one is held, somebody looks at the stop flag, and the first signal does no more than raise it.
    pub struct Patience {
        before: bool,
    }

    /// Begins to look at the stop flag.
    pub fn patience() -> Patience {
        Patience { before: FLAGS.at_once.swap(caught().is_some(), Ordering::SeqCst) }
    }

    impl Drop for Patience {
        fn drop(&mut self) {
            if self.before {
                FLAGS.at_once.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Passes the signal that was caught on to a child, which may not have had it.
    pub fn pass_on(child: &std::process::Child) {
        use rustix::process::{Pid, Signal, kill_process};
        let signal = match super::caught() {
            Some(SIGINT) => Signal::INT,
            Some(SIGHUP) => Signal::HUP,
            _ => Signal::TERM,
        };
        // A child that is gone already is what was wanted.
        if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
            kill_process(pid, signal).ok();
        }
    }
}
