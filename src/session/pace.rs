//! How long a frame may be held: work that can go on in the next one looks at a clock after every piece.

use std::time::{Duration, Instant};

/// What one frame gives to work on its own thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// To live numbers of rows, in a poll.
    pub rows: Duration,
    /// To the bars of a sweep, while its panel is being drawn.
    pub sweep: Duration,
}

impl Default for Pace {
    /// A screen shows sixty frames a second, 16.7 ms each. Drawing one takes one to three, so that both of these and a piece
    /// that ends late still leave the hand with a picture that follows it.
    fn default() -> Self {
        Self { rows: Duration::from_millis(12), sweep: Duration::from_millis(4) }
    }
}

/// What is left of the time that one call may take.
///
/// The first piece is allowed whatever the time: what is continued call by call comes to its end.
#[derive(Debug)]
pub(super) struct Budget {
    /// `None`: no end.
    end: Option<Instant>,
    begun: bool,
}

impl Budget {
    /// So much time from now on.
    pub fn of(time: Duration) -> Self {
        Self { end: Instant::now().checked_add(time), begun: false }
    }

    /// All the time there is.
    pub fn unlimited() -> Self {
        Self { end: None, begun: false }
    }

    /// Whether another piece may be begun.
    pub fn allows_another(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.begun, true);
        first || self.end.is_none_or(|end| Instant::now() < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_is_always_done_and_no_second_without_time() {
        let mut none = Budget::of(Duration::ZERO);
        assert!(none.allows_another());
        assert!(!none.allows_another() && !none.allows_another());
        for mut ample in [Budget::unlimited(), Budget::of(Duration::MAX), Budget::of(Duration::from_hours(1))] {
            assert!((0..3).all(|_| ample.allows_another()));
        }
    }
}
