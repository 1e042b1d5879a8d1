//! Numbers for programs: JSON has no NaN and no infinity, and what is not known is null. Lists are written as they are made.

use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use std::path::Path;

/// A number, or null when it is not finite.
pub fn number(value: f64) -> Value {
    // −0 would be printed as -0.0; nobody asked for its sign.
    Value::from(if value == 0.0 { 0.0 } else { value })
}

/// A number, or null when there is none or it is not finite.
pub fn maybe(value: Option<f64>) -> Value {
    value.map_or(Value::Null, number)
}

/// A path as text; what is not Unicode in it is replaced.
pub fn path(path: &Path) -> Value {
    Value::from(path.to_string_lossy())
}

/// A list of so many items, each made when it is written and forgotten at once.
pub struct List<F> {
    /// Items.
    pub len: usize,
    /// Makes one.
    pub item: F,
}

impl<T: Serialize, F: Fn(usize) -> T> Serialize for List<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..self.len).map(&self.item))
    }
}

/// A list of what is said of each item.
pub fn lines<'a, T, L: Serialize>(items: &'a [T], line: impl Fn(&'a T) -> L) -> impl Serialize {
    List { len: items.len(), item: move |i: usize| items.get(i).map(&line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_null() {
        assert_eq!(number(f64::NAN), Value::Null);
        assert_eq!(maybe(Some(f64::NEG_INFINITY)), Value::Null);
        assert_eq!(maybe(None), Value::Null);
        assert_eq!(number(-0.0).to_string(), "0.0");
        assert_eq!(maybe(Some(0.1)).to_string(), "0.1");
        assert_eq!(serde_json::to_string(&List { len: 3, item: |i| 2 * i }).unwrap(), "[0,2,4]");
    }
}
