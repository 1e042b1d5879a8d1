//! Looks after the files of an open model: when one is written to, replaced or taken away, the window is told, whether or not
//! anything is being read at the moment.

use crate::model::Model;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// Longer pauses where there are many files to look at.
const PAUSE_PER_FILE: Duration = Duration::from_millis(10);

/// A thread that looks now and then; dropping this ends it.
#[derive(Debug)]
pub struct Watch {
    /// Nothing is ever sent: that it is gone is the message.
    _alive: Sender<()>,
}

impl Watch {
    /// Begins to look after the files of `model`; `tell` is called once, with the error. `None` for a model that has no
    /// files, and where no thread can be had: then a change is found by the next pass.
    #[must_use]
    pub fn over(model: Arc<Model>, tell: impl FnOnce(crate::formats::Error) + Send + 'static) -> Option<Self> {
        model.shards.iter().any(|shard| shard.identity().is_some()).then_some(())?;
        let (alive, end) = channel::<()>();
        let pause = PAUSE + PAUSE_PER_FILE * u32::try_from(model.shards.len()).unwrap_or(u32::MAX).min(1000);
        let look = move || {
            while end.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = model.check_unchanged() {
                    return tell(error);
                }
            }
        };
        std::thread::Builder::new().name("spokeshave-watch".into()).spawn(look).ok()?;
        Some(Self { _alive: alive })
    }
}
