//! Rows that wait for a live number, and the order in which they get it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// Rows that wait for a live number. One that waits already keeps its place when it is put in again.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The row that the hand changed last.
    pub hand: Option<usize>,
    /// Rows in front of the user, the first one before the others.
    pub in_sight: Vec<usize>,
    /// The next one first.
    order: VecDeque<usize>,
    /// Those in `order`, and whether their distribution is to be drawn too.
    drawn: HashMap<usize, bool>,
}

impl Waiting {
    /// Puts a row in, behind all others. `drawn` asks for its distribution too.
    pub fn put(&mut self, row: usize, drawn: bool) {
        match self.drawn.entry(row) {
            Entry::Vacant(place) => {
                place.insert(drawn);
                self.order.push_back(row);
            }
            Entry::Occupied(mut place) => *place.get_mut() |= drawn,
        }
    }

    /// How many rows wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether no row waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The row that comes next.
    pub fn first(&self) -> Option<usize> {
        self.order.front().copied()
    }

    /// Takes the first row out; gives whether its distribution is to be drawn.
    pub fn take_first(&mut self) -> Option<(usize, bool)> {
        let row = self.order.pop_front()?;
        Some((row, self.drawn.remove(&row).unwrap_or_default()))
    }

    /// Orders the rows: those without any number for their scheme before those that have one (`is_fresh`), and among each the
    /// one under the hand, then those in sight; equal ones stay as they came.
    pub fn put_in_order(&mut self, is_fresh: impl Fn(usize) -> bool) {
        let mut places = HashMap::new();
        for (place, row) in self.hand.iter().chain(&self.in_sight).enumerate() {
            places.entry(*row).or_insert(place);
        }
        let key = |&row: &usize| (is_fresh(row), places.get(&row).copied().unwrap_or(usize::MAX));
        self.order.make_contiguous().sort_by_cached_key(key);
    }

    /// Lets no row wait any more.
    pub fn clear(&mut self) {
        self.order.clear();
        self.drawn.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(waiting: &mut Waiting) -> Vec<(usize, bool)> {
        std::iter::from_fn(|| waiting.take_first()).collect()
    }

    #[test]
    fn a_row_comes_out_once_in_its_first_place_with_all_that_was_asked_for() {
        let mut waiting = Waiting::default();
        for (row, drawn) in [(7, false), (3, false), (9, true), (3, true), (7, false), (9, false)] {
            waiting.put(row, drawn);
        }
        assert_eq!(waiting.first(), Some(7));
        assert_eq!(all(&mut waiting), [(7, false), (3, true), (9, true)]);
        waiting.put(7, false);
        waiting.clear();
        assert!(waiting.is_empty() && waiting.take_first().is_none());
    }

    #[test]
    fn the_hand_comes_first_then_what_is_in_sight_and_what_has_no_number_before_all() {
        let mut waiting = Waiting { hand: Some(6), in_sight: vec![5, 6, 2, 8], ..Waiting::default() };
        (0..9).for_each(|row| waiting.put(row, false));
        waiting.put_in_order(|row| row >= 7);
        let order: Vec<usize> = all(&mut waiting).into_iter().map(|(row, _)| row).collect();
        assert_eq!(order, [6, 5, 2, 0, 1, 3, 4, 8, 7]);
    }
}
