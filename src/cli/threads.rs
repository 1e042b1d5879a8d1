//! How many threads compute: one per core, or as many as were asked for, or, where no more are to be had, the one there is.

use super::Failure;
use std::sync::mpsc;

/// Starts the threads of every computation. What should be told comes back; an error comes only where the one thread there
/// is has to draw a window, and cannot compute as well.
pub fn set(wanted: Option<u16>, in_window: bool) -> Result<Vec<String>, Failure> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = wanted.map_or_else(cores, usize::from);
    let pool = rayon::ThreadPoolBuilder::new();
    let (pool, notes) = match can_start(wanted) {
        Ok(()) => (pool.num_threads(wanted), Vec::new()),
        Err(error) if in_window => {
            return Err(Failure::Told(format!("{wanted} threads cannot be started ({error}); try --threads 1")));
        }
        Err(error) => {
            let note = format!("{wanted} threads cannot be started ({error}); one computes");
            (pool.num_threads(1).use_current_thread(), vec![note])
        }
    };
    pool.build_global().map_err(|error| Failure::Told(format!("no threads to compute with: {error}")))?;
    Ok(notes)
}

/// Whether so many threads can run side by side. The pool itself can be built once, and a failure of it is for good.
fn can_start(threads: usize) -> std::io::Result<()> {
    std::thread::scope(|scope| {
        let mut waiting = Vec::new();
        for _ in 0..threads {
            let (go, wait) = mpsc::channel::<()>();
            // It ends when `go` is dropped.
            let idle = move || wait.recv().is_ok();
            std::thread::Builder::new().spawn_scoped(scope, idle)?;
            waiting.push(go);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_tried_and_given_back() {
        assert!(can_start(3).is_ok() && can_start(0).is_ok());
    }
}
