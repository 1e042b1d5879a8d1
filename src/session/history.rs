//! Undo and redo: whole recipes, one step per gesture, so that a long drag is taken back at one stroke.

use crate::formats::error::printable;
use crate::recipe::Recipe;

/// Steps kept at most; a recipe is small text.
const DEEPEST: usize = 500;

/// What was, and what was taken back.
#[derive(Debug, Default)]
pub struct History {
    undo: Vec<Step>,
    redo: Vec<Step>,
    /// Steps that were dropped for newer ones.
    forgotten: usize,
    gesture: Option<u64>,
}

#[derive(Debug)]
struct Step {
    recipe: Recipe,
    what: String,
}

impl History {
    /// Remembers the recipe as it was before a change called `what`, which may hold a name from a file and is made safe to
    /// show. Changes of one gesture are one step.
    pub fn record(&mut self, before: &Recipe, what: &str, gesture: Option<u64>) {
        self.redo.clear();
        let continued = gesture.is_some() && gesture == self.gesture;
        self.gesture = gesture;
        if continued {
            return;
        }
        if self.undo.len() == DEEPEST {
            self.undo.remove(0);
            self.forgotten += 1;
        }
        self.undo.push(Step { recipe: before.clone(), what: printable(what) });
    }

    /// Takes the last step back: gives the recipe before it.
    pub fn undo(&mut self, now: &Recipe) -> Option<Recipe> {
        let step = self.undo.pop()?;
        self.gesture = None;
        self.redo.push(Step { recipe: now.clone(), what: step.what });
        Some(step.recipe)
    }

    /// Does the last step taken back again.
    pub fn redo(&mut self, now: &Recipe) -> Option<Recipe> {
        let step = self.redo.pop()?;
        self.gesture = None;
        self.undo.push(Step { recipe: now.clone(), what: step.what });
        Some(step.recipe)
    }

    /// What undo would take back.
    #[must_use]
    pub fn undo_what(&self) -> Option<&str> {
        self.undo.last().map(|s| s.what.as_str())
    }

    /// What redo would do again.
    #[must_use]
    pub fn redo_what(&self) -> Option<&str> {
        self.redo.last().map(|s| s.what.as_str())
    }

    /// Steps that can be taken back.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.undo.len()
    }

    /// Steps that were done and not taken back, those among them that are too long ago for that.
    #[must_use]
    pub fn done(&self) -> usize {
        self.forgotten + self.undo.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Scheme;

    fn with(tensor: &str) -> Recipe {
        let mut recipe = Recipe::default();
        recipe.set_one(tensor, Scheme::keep());
        recipe
    }

    #[test]
    fn a_gesture_is_one_step_and_a_new_change_forgets_what_was_taken_back() {
        let mut history = History::default();
        let (a, b, c) = (Recipe::default(), with("x"), with("y"));
        history.record(&a, "prune x", Some(1));
        history.record(&b, "prune x", Some(1));
        history.record(&b, "prune y", Some(2));
        assert_eq!((history.depth(), history.undo_what()), (2, Some("prune y")));
        assert_eq!(history.undo(&c), Some(b.clone()));
        assert_eq!(history.undo(&b), Some(a.clone()));
        assert_eq!(history.undo(&a), None);
        assert_eq!(history.redo(&a), Some(b.clone()));
        history.record(&b, "other", None);
        assert_eq!(history.redo_what(), None);
    }

    #[test]
    fn a_step_is_one_more_also_where_the_oldest_is_dropped_for_it() {
        let mut history = History::default();
        for step in 0..DEEPEST + 3 {
            history.record(&Recipe::default(), "prune x", None);
            assert_eq!((history.depth(), history.done()), ((step + 1).min(DEEPEST), step + 1));
        }
        history.undo(&Recipe::default());
        assert_eq!((history.depth(), history.done()), (DEEPEST - 1, DEEPEST + 2));
    }
}
