//! Work on many things at once whose failure is the same each time: that of the first of them, in order, that fails.

use super::Error;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does something with each number below `n`, on all threads. What comes after one that failed need not be done; what comes before it
/// is, so that the error is that of the first, whichever thread was faster.
///
/// # Errors
/// That of the first number whose work fails.
pub fn in_order<T: Send>(n: usize, one: impl Fn(usize) -> Result<T, Error> + Sync) -> Result<Vec<T>, Error> {
    let failed = AtomicUsize::new(usize::MAX);
    let work = |i: usize| {
        if i > failed.load(Ordering::Relaxed) {
            return None;
        }
        let done = one(i);
        if done.is_err() {
            failed.fetch_min(i, Ordering::Relaxed);
        }
        Some(done)
    };
    let done: Vec<Option<Result<T, Error>>> = (0..n).into_par_iter().map(work).collect();
    done.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_first_failure_is_told_whoever_is_faster() {
        let slow = |i: usize| {
            if i == 3 {
                std::thread::sleep(Duration::from_millis(20));
            }
            if i >= 3 { Err(Error::MaskUnread { tensor: i.to_string(), why: String::new() }) } else { Ok(i) }
        };
        for _ in 0..5 {
            let error = in_order(64, slow).unwrap_err();
            assert!(matches!(&error, Error::MaskUnread { tensor, .. } if tensor == "3"), "{error}");
        }
        assert_eq!(in_order(3, slow).unwrap(), [0, 1, 2]);
        assert!(in_order(0, slow).unwrap().is_empty());
    }
}
