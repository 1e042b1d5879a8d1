//! Which rows are selected: one that every panel shows, and others beside it that a change goes to as well.

use super::panels::rows::{self, Line};
use super::state::View;
use crate::model::Model;
use crate::session::Live;

/// A way to select more than one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Pick {
    /// This row in or out.
    Toggle(usize),
    /// All rows from the last one that was clicked to this one.
    To(usize),
    /// The row after the shown one, or before it, as well.
    Extend(isize),
    /// All visible weight matrices.
    All,
    /// These.
    These(Vec<usize>),
}

impl View {
    /// Whether a row is selected.
    #[must_use]
    pub fn is_chosen(&self, index: usize) -> bool {
        index == self.selected || self.also.contains(&index)
    }

    /// All selected rows, in the model's order.
    pub fn chosen(&self) -> impl Iterator<Item = usize> {
        let (before, after) = (self.also.range(..self.selected), self.also.range(self.selected..));
        let one = std::iter::once(self.selected);
        before.copied().chain(one).chain(after.copied().filter(|&i| i != self.selected))
    }

    /// How many rows are selected.
    #[must_use]
    pub fn chosen_count(&self) -> usize {
        1 + self.also.len()
    }

    /// Selects one row and no other.
    pub fn select(&mut self, index: usize) {
        self.also.clear();
        self.range_from = index;
        self.show(index);
    }

    /// Selects the tensors with these names, as far as they are there; the first is shown.
    pub fn select_names(&mut self, model: &Model, names: &[String]) {
        let mut found = names.iter().filter_map(|name| model.find(name));
        if let Some(first) = found.next() {
            self.select(first);
            self.also = found.filter(|&index| index != first).collect();
            self.reveal = true;
        }
    }

    /// Selects more rows.
    pub fn pick(&mut self, live: &Live, pick: Pick) {
        match pick {
            Pick::Toggle(index) => self.toggle(index),
            Pick::To(index) => self.extend(&visible(live, self), index),
            Pick::Extend(by) => {
                let rows = visible(live, self);
                if let Some(next) = neighbour(&rows, self.selected, by) {
                    self.extend(&rows, next);
                    self.reveal = true;
                }
            }
            Pick::All => {
                let matrix = |i: &usize| live.model.tensors[*i].is_weight_matrix();
                self.choose(visible(live, self).into_iter().filter(matrix).collect());
            }
            Pick::These(rows) => self.choose(rows),
        }
    }

    /// Moves the selection along the visible rows.
    pub fn step(&mut self, live: &Live, by: isize) {
        if let Some(next) = neighbour(&visible(live, self), self.selected, by) {
            self.select(next);
            self.reveal = true;
        }
    }

    /// Shows another row in the panels, which is one of the selected.
    fn show(&mut self, index: usize) {
        self.also.remove(&index);
        if self.selected != index {
            self.scheme_text = None;
        }
        self.selected = index;
    }

    fn toggle(&mut self, index: usize) {
        self.range_from = index;
        if self.also.remove(&index) {
            return;
        }
        if index != self.selected {
            self.also.insert(self.selected);
            self.show(index);
        } else if let Some(&next) = self.also.range(index..).next().or_else(|| self.also.last()) {
            self.show(next);
        }
    }

    /// Selects what lies between the row where a range began and this one.
    fn extend(&mut self, rows: &[usize], to: usize) {
        let place = |row: usize| rows.iter().position(|&i| i == row);
        let Some(end) = place(to) else { return };
        let start = place(self.range_from).unwrap_or(end);
        self.also = rows[start.min(end)..=start.max(end)].iter().copied().collect();
        self.show(to);
    }

    /// Selects these rows; the one that is shown stays if it is among them.
    fn choose(&mut self, rows: Vec<usize>) {
        let Some(&first) = rows.first() else { return };
        let shown = if rows.contains(&self.selected) { self.selected } else { first };
        self.also = rows.into_iter().collect();
        self.range_from = shown;
        self.show(shown);
    }
}

/// The rows that the filter and open blocks show.
fn visible(live: &Live, view: &View) -> Vec<usize> {
    let tensor = |line| match line {
        Line::Tensor(index) => Some(index),
        Line::Head { .. } => None,
    };
    rows::lines(live, view).into_iter().filter_map(tensor).collect()
}

/// The row so many places on, as far as there are any; the first one when the row itself is not there.
fn neighbour(rows: &[usize], row: usize, by: isize) -> Option<usize> {
    let last = rows.len().checked_sub(1)?;
    let now = rows.iter().position(|&i| i == row);
    rows.get(now.map_or(0, |at| at.saturating_add_signed(by).min(last))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(view: &View) -> Vec<usize> {
        view.chosen().collect()
    }

    #[test]
    fn rows_go_in_and_out_and_one_is_always_left() {
        let mut view = View::of(None);
        view.select(4);
        view.toggle(2);
        view.toggle(7);
        assert_eq!((view.selected, chosen(&view)), (7, vec![2, 4, 7]));
        view.toggle(4);
        assert_eq!((view.selected, chosen(&view)), (7, vec![2, 7]));
        view.toggle(7);
        assert_eq!((view.selected, chosen(&view)), (2, vec![2]));
        view.toggle(2);
        assert_eq!((view.selected, chosen(&view)), (2, vec![2]));
    }

    #[test]
    fn a_range_turns_round_its_beginning() {
        let rows = [5, 3, 8, 1, 9];
        let mut view = View::of(None);
        view.select(8);
        view.extend(&rows, 9);
        assert_eq!((view.selected, chosen(&view)), (9, vec![1, 8, 9]));
        view.extend(&rows, 5);
        assert_eq!((view.selected, chosen(&view)), (5, vec![3, 5, 8]));
        view.choose(vec![1, 9]);
        assert_eq!((view.selected, chosen(&view)), (1, vec![1, 9]));
        view.select(3);
        assert_eq!((view.chosen_count(), chosen(&view)), (1, vec![3]));
    }
}
