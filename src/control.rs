//! A way to stop long work and to see how far it is: one small value that passes over files, pools and exports all take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Shared between the one who works and the one who watches.
#[derive(Debug)]
pub struct Control {
    cancelled: Arc<AtomicBool>,
    done: AtomicU64,
    total: AtomicU64,
    started: Instant,
}

impl Default for Control {
    fn default() -> Self {
        Self::stopped_by(Arc::default())
    }
}

impl Control {
    /// Work that also stops when somebody else raises a flag, such as the handler of a signal.
    #[must_use]
    pub fn stopped_by(flag: Arc<AtomicBool>) -> Self {
        Self { cancelled: flag, done: AtomicU64::new(0), total: AtomicU64::new(0), started: Instant::now() }
    }
}

/// How far a piece of work is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Bytes gone through.
    pub done: u64,
    /// Bytes to go through in all; 0 when not known yet.
    pub total: u64,
    /// Seconds since the work began.
    pub seconds: f64,
}

impl Progress {
    /// Between 0 and 1.
    #[must_use]
    pub fn fraction(&self) -> f32 {
        if self.total == 0 { 0.0 } else { (self.done as f64 / self.total as f64).clamp(0.0, 1.0) as f32 }
    }

    /// Bytes per second so far.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        self.done as f64 / self.seconds.max(1e-3)
    }

    /// Seconds left at this pace, once some of the work is done.
    #[must_use]
    pub fn seconds_left(&self) -> Option<f64> {
        (self.done > 0 && self.total >= self.done).then(|| (self.total - self.done) as f64 / self.throughput())
    }
}

impl Control {
    /// Asks the work to stop at its next chunk.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the work should stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Says how many bytes there are to go through.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Reports bytes gone through.
    pub fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How far the work is now.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }
}
