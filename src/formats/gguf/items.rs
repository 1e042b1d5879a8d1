//! The items of a list, which opening a file passes over: read again where somebody wants to see them, as far as is wanted.

use super::cursor::Cursor;
use super::values::{Value, scalar};
use crate::formats::{Error, Limits, Source};

/// Hands over the items of a list one after the other, as many as lie whole within its first `bytes` bytes, until `take`
/// gives false. No more than those bytes are read. What is no list has none.
///
/// # Errors
/// When the file cannot be read any more.
pub fn each_item(source: &Source, list: &Value, bytes: u64, mut take: impl FnMut(Value) -> bool) -> Result<(), Error> {
    let Value::Array { of, count, items } = list else { return Ok(()) };
    let end = items.end.min(items.start.saturating_add(bytes));
    let mut scratch = Vec::new();
    let head = source.read(items.start..end, &mut scratch)?;
    let mut cursor = Cursor::of_memory(head, &Limits::default());
    // An item that the end of what was read cuts through is no fault of the file.
    for _ in 0..*count {
        let Ok(item) = scalar(&mut cursor, *of, "an item") else { break };
        if !take(item) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::layout::{i32s_pair, texts_pair};
    use super::super::{Kind, Value};
    use super::*;
    use crate::formats::source::Access;

    /// The items of a pair's list that lie within `bytes`, and at most `most`.
    fn items(pair: &[u8], of: Kind, count: u64, key: &str, bytes: u64, most: usize) -> Vec<String> {
        let path = std::env::temp_dir().join(format!("spokeshave-items-{}-{key}", std::process::id()));
        std::fs::write(&path, pair).unwrap();
        let source = Source::open(&path, Access::Read).unwrap();
        // The key's length and letters, the type, the type of the items and how many there are.
        let start = 8 + key.len() as u64 + 4 + 4 + 8;
        let list = Value::Array { of, count, items: start..pair.len() as u64 };
        let mut found = Vec::new();
        let take = |item: Value| {
            found.push(item.to_string());
            found.len() < most
        };
        each_item(&source, &list, bytes, take).unwrap();
        std::fs::remove_file(&path).unwrap();
        found
    }

    #[test]
    fn as_many_items_as_are_wanted_and_lie_whole_in_the_head() {
        let numbers = i32s_pair("n", &[7, -1, 3]);
        let all = |bytes, most| items(&numbers, Kind::I32, 3, "n", bytes, most);
        assert_eq!(all(u64::MAX, 9), ["7", "-1", "3"]);
        assert_eq!(all(11, 9), ["7", "-1"]);
        assert_eq!(all(12, 1), ["7"]);
        assert_eq!(all(0, 9), Vec::<String>::new());
        let texts = texts_pair("t", &["<s>".to_owned(), "größer".to_owned()]);
        assert_eq!(items(&texts, Kind::Text, 2, "t", 1 << 20, 9), ["<s>", "größer"]);
        // The second text is cut.
        assert_eq!(items(&texts, Kind::Text, 2, "t", 11 + 8 + 3, 9), ["<s>"]);
    }

    #[test]
    fn a_list_that_left_the_file_is_an_error_and_what_is_no_list_has_no_items() {
        let source = Source::embedded("two bytes", b"ab");
        let list = Value::Array { of: Kind::U8, count: 9, items: 1..10 };
        assert!(each_item(&source, &list, 100, |_| true).is_err());
        assert!(each_item(&source, &Value::Bool(true), 100, |_| panic!("no item")).is_ok());
    }
}
