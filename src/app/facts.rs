//! What a model's file says of itself, as rows of key, type and value: each formatted when it is looked at, from a bounded
//! part of it, so that a vocabulary of any size holds no frame up.

use super::format;
use crate::formats::gguf::{Value, each_item};
use crate::model::Model;

/// Letters of a value that a row shows at most.
const SHOWN: usize = 160;
/// Items of a list that a row shows.
const ITEMS: usize = 8;
/// Bytes of a list that are read for that.
const HEAD: u64 = 4096;
/// Bytes of a list that are copied at most; the vocabularies of large models have five million.
const MOST_COPIED: u64 = 16 << 20;
/// Bytes of a text that a filter looks at.
const SEARCHED: usize = 1 << 16;

/// The rows of a model.
#[derive(Debug)]
pub struct Facts {
    /// The keys, in the order of the file; in that of their letters where a format has no order.
    keys: Vec<String>,
    /// What was searched for last, and the positions at which it was found.
    found: Option<(String, Vec<usize>)>,
}

/// One value, wherever it lies.
enum Fact<'a> {
    Pair(&'a Value, &'static str),
    Text(&'a str),
}

impl Facts {
    /// The rows of this model: the key-values of a GGUF file, or the texts that another format keeps.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let keys = match &model.gguf {
            Some(head) => head.pairs.0.iter().map(|pair| pair.key.clone()).collect(),
            None => model.metadata.keys().cloned().collect(),
        };
        Self { keys, found: None }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The key at a position.
    #[must_use]
    pub fn key(&self, at: usize) -> &str {
        self.keys.get(at).map_or("", String::as_str)
    }

    fn fact<'a>(&self, model: &'a Model, at: usize) -> Option<Fact<'a>> {
        match &model.gguf {
            Some(head) => head.pairs.0.get(at).map(|pair| match &pair.value {
                Value::Text(text) => Fact::Text(text),
                value => Fact::Pair(value, pair.kind.name()),
            }),
            None => model.metadata.get(self.keys.get(at)?).map(|text| Fact::Text(text)),
        }
    }

    /// The positions whose key, or text, holds these letters, whatever their case; looked for again when they change.
    pub fn matching(&mut self, model: &Model, filter: &str) -> &[usize] {
        let wanted = filter.trim().to_lowercase();
        let known = self.found.take().filter(|(letters, _)| *letters == wanted);
        let found = known.unwrap_or_else(|| {
            let all = (0..self.keys.len()).filter(|&at| self.holds(model, at, &wanted)).collect();
            (wanted, all)
        });
        &self.found.insert(found).1
    }

    fn holds(&self, model: &Model, at: usize, wanted: &str) -> bool {
        if wanted.is_empty() || self.key(at).to_lowercase().contains(wanted) {
            return true;
        }
        match self.fact(model, at) {
            Some(Fact::Text(text)) => text[..text.floor_char_boundary(SEARCHED)].to_lowercase().contains(wanted),
            Some(Fact::Pair(value, _)) => value.to_string().to_lowercase().contains(wanted),
            None => false,
        }
    }

    /// The type at a position.
    #[must_use]
    pub fn kind(&self, model: &Model, at: usize) -> &'static str {
        match self.fact(model, at) {
            Some(Fact::Pair(_, kind)) => kind,
            _ => "text",
        }
    }

    /// The value at a position as one line that is safe to show: the beginning of a text, the first items of a list after what
    /// `inspect` says of it.
    #[must_use]
    pub fn shown(&self, model: &Model, at: usize) -> String {
        match self.fact(model, at) {
            Some(Fact::Text(text)) => beginning(text),
            Some(Fact::Pair(list @ Value::Array { count, .. }, _)) => {
                let mut items = Vec::new();
                let take = |item: Value| {
                    items.push(as_item(&item));
                    items.len() < ITEMS
                };
                // What cannot be read any more is said elsewhere; how many there are is known all the same.
                let read = model.shards.first().map(|source| each_item(source, list, HEAD, take));
                let rest = if (items.len() as u64) < *count && read.is_some() { ", …" } else { "" };
                beginning(&format!("{list} {}{rest}", items.join(", ")))
            }
            Some(Fact::Pair(value, _)) => value.to_string(),
            None => String::new(),
        }
    }

    /// Why the value at a position is not copied, if so.
    #[must_use]
    pub fn why_not_copied(&self, model: &Model, at: usize) -> Option<String> {
        let Some(Fact::Pair(Value::Array { items, .. }, _)) = self.fact(model, at) else { return None };
        let bytes = items.end - items.start;
        (bytes > MOST_COPIED).then(|| {
            let most = format::bytes_text(MOST_COPIED);
            format!("It has {}, and {most} are the most that go on the clipboard", format::bytes_text(bytes))
        })
    }

    /// The whole value at a position, as it stands in the file; a list as JSON.
    ///
    /// # Errors
    /// When it is too large, or the file cannot be read any more.
    pub fn whole(&self, model: &Model, at: usize) -> Result<String, String> {
        if let Some(why) = self.why_not_copied(model, at) {
            return Err(why);
        }
        let (list, source) = match self.fact(model, at) {
            Some(Fact::Text(text)) => return Ok(text.to_owned()),
            Some(Fact::Pair(list @ Value::Array { .. }, _)) => (list, model.shards.first()),
            Some(Fact::Pair(value, _)) => return Ok(value.to_string()),
            None => return Ok(String::new()),
        };
        let mut text = String::from("[");
        let take = |item: Value| {
            if text.len() > 1 {
                text.push_str(", ");
            }
            text += &as_item(&item);
            true
        };
        source
            .map_or(Ok(()), |source| each_item(source, list, MOST_COPIED, take))
            .map_err(|error| error.to_string())?;
        text.push(']');
        Ok(text)
    }
}

/// An item of a list: a text between quotes, as JSON has it.
fn as_item(item: &Value) -> String {
    match item {
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}

/// The beginning of a text, as one line.
fn beginning(text: &str) -> String {
    let head: String = text.chars().take(SHOWN).collect();
    let more = if head.len() < text.len() { "…" } else { "" };
    format!("{}{more}", format::plain(&head))
}
