//! How many threads compute: one per core, or as many as were asked for, or, where fewer are to be had, those.

use super::Failure;
use rayon::{ThreadBuilder, ThreadPoolBuilder};
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};

/// Starts the threads of every computation, and gives what should be told. Where not one can be started, the one there is
/// computes; a window needs it for itself, and more beside, so that too few of them are an error there.
pub fn set(wanted: Option<u16>, in_window: bool) -> Result<Vec<String>, Failure> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = wanted.map_or_else(cores, usize::from);
    let (started, trouble) = start(wanted);
    let count = started.len();
    let notes = match trouble {
        None => Vec::new(),
        Some(error) if in_window => {
            return Err(Failure::Told(format!("{wanted} threads cannot be started: {error}")));
        }
        Some(error) => vec![format!("{wanted} threads cannot be started ({error}); {} computing", count.max(1))],
    };
    let pool = ThreadPoolBuilder::new().num_threads(count.max(1));
    let built = if count == 0 {
        pool.use_current_thread().build_global()
    } else {
        let started = Mutex::new(started);
        let hand_over = |work: ThreadBuilder| {
            let idle = started.lock().ok().and_then(|mut started| started.pop());
            idle.and_then(|idle| idle.send(work).ok()).ok_or_else(|| std::io::Error::other("a thread was lost"))
        };
        pool.spawn_handler(hand_over).build_global()
    };
    built.map_err(|error| Failure::Told(format!("no threads to compute with: {error}")))?;
    Ok(notes)
}

/// Starts threads that wait for work, as many as the system gives, and says why it gave no more. The pool is built once
/// and a failure of it is for good, so its threads are there before it is.
fn start(wanted: usize) -> (Vec<Sender<ThreadBuilder>>, Option<std::io::Error>) {
    let mut started = Vec::new();
    for number in 0..wanted {
        let (hand, wait) = mpsc::channel::<ThreadBuilder>();
        let worker = move || wait.recv().map_or((), ThreadBuilder::run);
        match std::thread::Builder::new().name(format!("spokeshave-{number}")).spawn(worker) {
            Ok(_) => started.push(hand),
            Err(error) => return (started, Some(error)),
        }
    }
    (started, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_started_before_there_is_work() {
        let (started, trouble) = start(3);
        assert!(started.len() == 3 && trouble.is_none());
        assert!(start(0).0.is_empty());
    }
}
