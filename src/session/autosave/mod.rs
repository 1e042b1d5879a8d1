//! The recipe kept on disk a moment after each change, so that neither a crash nor a power cut costs more than a second's work.
//!
//! ```text
//! change ─► due in a second ─► worker: beside, sync, rename ─► DATA/recovery/PATHHASH-PID-N.autosave
//! next start ─► Shelf::left: those whose lock nobody holds ─► an offer ─► restore or discard
//! ```
//!
//! Each open model of each window has a file of its own, and holds a lock beside it: the system lets go of it however the
//! program ends, so that what a living window keeps is never offered to another. A file says which model it belongs to, and
//! carries a checksum; one that is damaged is set aside as `*.damaged` and never read again.

mod kept;
mod shelf;

pub use kept::{Kept, Unreadable, key_of};
pub use shelf::{Left, Shelf, set_aside, state_folder};

use crate::model::Model;
use crate::recipe::Recipe;
use shelf::Slot;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// From a change to its being on disk.
pub const PAUSE: Duration = Duration::from_secs(1);

/// From a failure to the next try.
const AGAIN: Duration = Duration::from_secs(20);

/// What the worker is to do.
enum Order {
    /// Write this; then delete that, which it takes the place of.
    Keep(Box<Kept>, Option<PathBuf>),
    /// Nothing differs from what was saved: there is nothing to keep.
    Forget,
}

/// Carries out orders until nobody gives any more. What cannot be written is tried again, and told once until it can: a
/// full disk is not news every second.
fn serve(inbox: &Receiver<Order>, mut slot: Slot, again: Duration, mut tell: impl FnMut(String)) {
    let mut failed: Option<Order> = None;
    loop {
        let failed_before = failed.is_some();
        let next = match failed.take() {
            None => inbox.recv().ok(),
            Some(order) => match inbox.recv_timeout(again) {
                Ok(newer) => Some(newer),
                Err(RecvTimeoutError::Timeout) => Some(order),
                Err(RecvTimeoutError::Disconnected) => None,
            },
        };
        let Some(order) = next else { return };
        let done = match &order {
            Order::Keep(kept, replaced) => {
                slot.write(kept).inspect(|()| drop(replaced.as_ref().map(std::fs::remove_file)))
            }
            Order::Forget => {
                slot.remove();
                Ok(())
            }
        };
        if let Err(why) = done {
            if !failed_before {
                tell(why);
            }
            failed = Some(order);
        }
    }
}

/// Keeps the recipe of one open model.
#[derive(Debug)]
pub struct Autosave {
    orders: Option<Sender<Order>>,
    failures: Receiver<String>,
    worker: Option<JoinHandle<()>>,
    about: Kept,
    /// What the user has in a file of their own, or began with.
    base: Recipe,
    /// The revision that was looked at last, and the one that is on disk.
    seen: u64,
    written: bool,
    due: Option<Instant>,
}

impl Autosave {
    /// Begins to keep the recipe of `model`; nothing is written as long as it is `base`. `wake` is called from another
    /// thread when there is something to tell.
    #[must_use]
    pub fn new(shelf: &Shelf, model: &Model, base: Recipe, wake: impl Fn() + Send + 'static) -> Self {
        let (orders, inbox) = channel();
        let (tell, failures) = channel();
        let slot = shelf.slot(key_of(model));
        let work = move || {
            serve(&inbox, slot, AGAIN, |why| {
                drop(tell.send(why));
                wake();
            });
        };
        // Without a thread nothing is kept; the recipe can still be saved by hand.
        let worker = std::thread::Builder::new().name("spokeshave-autosave".into()).spawn(work).ok();
        let about = Kept::of(model, base.clone());
        Self { orders: Some(orders), failures, worker, about, base, seen: 0, written: false, due: None }
    }

    /// The recipe was saved to, or loaded from, a file of the user's own.
    pub fn is_safe(&mut self, recipe: &Recipe) {
        self.base = recipe.clone();
        self.seen = 0;
        self.due = Some(Instant::now());
    }

    /// Looks whether something is to be written. Gives how long until the next look is due, if one is.
    pub fn look(&mut self, revision: u64, recipe: &Recipe, selected: impl FnOnce() -> Vec<String>) -> Option<Duration> {
        if revision != self.seen {
            self.seen = revision;
            self.due.get_or_insert(Instant::now() + PAUSE);
        }
        let due = self.due?;
        let now = Instant::now();
        if now < due {
            return Some(due - now);
        }
        self.keep(recipe, selected, false, None);
        None
    }

    /// Writes now, and deletes `replaced` when that is done: what was restored is kept anew.
    pub fn keep_now(&mut self, recipe: &Recipe, selected: impl FnOnce() -> Vec<String>, replaced: PathBuf) {
        self.keep(recipe, selected, false, Some(replaced));
    }

    fn keep(
        &mut self,
        recipe: &Recipe,
        selected: impl FnOnce() -> Vec<String>,
        closed: bool,
        replaced: Option<PathBuf>,
    ) {
        self.due = None;
        let differs = *recipe != self.base;
        if !differs && !self.written && replaced.is_none() {
            return;
        }
        let order = if differs || replaced.is_some() {
            let (recipe, selected, saved) = (recipe.clone(), selected(), SystemTime::now());
            Order::Keep(Box::new(Kept { saved, closed, selected, recipe, ..self.about.clone() }), replaced)
        } else {
            Order::Forget
        };
        self.written = matches!(order, Order::Keep(..));
        if let Some(orders) = &self.orders {
            // The worker lives as long as this does.
            drop(orders.send(order));
        }
    }

    /// The model is closed as it should be: what differs from the user's own file stays and is marked so, else nothing stays.
    pub fn close(mut self, recipe: &Recipe, selected: impl FnOnce() -> Vec<String>) {
        self.keep(recipe, selected, true, None);
        self.orders = None;
        if let Some(worker) = self.worker.take() {
            // A worker that panicked has nothing more to say.
            drop(worker.join());
        }
    }

    /// Why the recipe could not be written, if it could not: once.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failures.try_recv().ok()
    }

    /// The recipe that the user has in a file of their own, or began with.
    #[must_use]
    pub fn base(&self) -> &Recipe {
        &self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OpenOptions, open};
    use std::path::Path;

    #[test]
    fn what_could_not_be_written_is_told_once_and_tried_again() {
        let folder = std::env::temp_dir().join(format!("spokeshave-again-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        std::fs::write(&folder, b"in the way").unwrap();
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        let shelf = Shelf::in_folder(&folder);
        let slot = shelf.slot(key_of(&model));
        let (orders, inbox) = channel();
        let (tell, told) = channel();
        let again = Duration::from_millis(5);
        let worker = std::thread::spawn(move || serve(&inbox, slot, again, |why| tell.send(why).unwrap()));
        orders.send(Order::Keep(Box::new(Kept::of(&model, Recipe::default())), None)).unwrap();
        assert!(told.recv().unwrap().contains("spokeshave-again"));
        std::thread::sleep(10 * again);
        std::fs::remove_file(&folder).unwrap();
        let started = Instant::now();
        while !folder.read_dir().is_ok_and(|mut all| all.any(|e| e.unwrap().path().extension().unwrap() == "autosave"))
        {
            assert!(started.elapsed() < Duration::from_secs(10));
            std::thread::sleep(again);
        }
        drop(orders);
        worker.join().unwrap();
        assert!(told.recv().is_err(), "it was told once");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
