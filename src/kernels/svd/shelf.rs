//! Decompositions that were paid for once and are kept for the next question: a rank dial turns, and nothing is taken apart anew.

use super::Svd;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of decompositions that are kept; the one asked for longest ago goes first.
const MOST: usize = 512 << 20;

/// Decompositions by name, a bounded number of bytes of them. May be asked from any thread.
#[derive(Debug, Default)]
pub struct Shelf {
    /// The one asked for last stands last.
    held: Mutex<Vec<(String, Arc<Svd>)>>,
}

impl Shelf {
    /// A decomposition of that name that `serves`.
    #[must_use]
    pub fn find(&self, name: &str, serves: impl Fn(&Svd) -> bool) -> Option<Arc<Svd>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let at = held.iter().position(|(other, svd)| other == name && serves(svd))?;
        let found = held.remove(at);
        let svd = found.1.clone();
        held.push(found);
        Some(svd)
    }

    /// Keeps a decomposition, in place of those of that name that know less.
    pub fn keep(&self, name: &str, svd: &Arc<Svd>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let less = |other: &Svd| other.found <= svd.found && other.values.len() <= svd.values.len();
        held.retain(|(other, old)| other != name || !less(old));
        held.push((name.to_owned(), svd.clone()));
        let mut bytes: usize = held.iter().map(|(_, svd)| svd.heap_bytes()).sum();
        let mut gone = 0;
        while bytes > MOST && gone < held.len() {
            bytes -= held[gone].1.heap_bytes();
            gone += 1;
        }
        held.drain(..gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svd(values: usize, found: usize, bytes: usize) -> Arc<Svd> {
        let vectors = Vec::with_capacity(0);
        let mut svd = Svd { values: vec![1.0; values], energy: 1.0, scale: 1.0, found, vectors };
        svd.vectors.resize((bytes / 8).saturating_sub(values), 0.0);
        Arc::new(svd)
    }

    #[test]
    fn what_knows_more_takes_the_place_and_the_oldest_goes() {
        let shelf = Shelf::default();
        shelf.keep("a", &svd(10, 2, 0));
        assert!(shelf.find("a", |svd| svd.found >= 3).is_none() && shelf.find("b", |_| true).is_none());
        shelf.keep("a", &svd(10, 5, 0));
        assert_eq!(shelf.held.lock().unwrap().len(), 1);
        assert_eq!(shelf.find("a", |svd| svd.found >= 3).unwrap().found, 5);
        shelf.keep("b", &svd(1, 1, MOST / 2));
        shelf.keep("c", &svd(1, 1, MOST / 4));
        drop(shelf.find("b", |_| true));
        shelf.keep("d", &svd(1, 1, MOST / 3));
        let names = |name| shelf.find(name, |_| true).is_some();
        assert_eq!(["a", "b", "c", "d"].map(names), [false, true, false, true]);
        shelf.keep("e", &svd(1, 1, MOST + 8));
        assert!(!names("e"), "one that is too large is not kept");
    }
}
