//! JSON without blind spots: a value whose objects keep every key, so that a name given twice is seen and refused.
//!
//! Maps would silently keep one of two equal keys, and readers disagree on which; a header that means two things is
//! refused here instead. Depth is bounded by `serde_json` (128).

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Why a text is not an acceptable JSON document.
#[derive(Debug, PartialEq, Eq)]
pub enum JsonError {
    /// One object has this key twice.
    DuplicateKey(String),
    /// Not JSON, with `serde_json`'s words and place.
    Syntax(String),
}

/// A JSON value; objects keep their keys in the order of the text, all different.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are JSON's own")]
pub enum Json {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// A number that is not a non-negative integer below 2^64.
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

const DUPLICATE: &str = "\u{1}duplicate key\u{1}";

impl Json {
    /// Parses one document; white space around it is allowed, anything else is not.
    ///
    /// # Errors
    /// [`JsonError`] with the key or the place.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        serde_json::from_str(text).map_err(|error| {
            let words = error.to_string();
            match words.split_once(DUPLICATE) {
                Some((_, rest)) => JsonError::DuplicateKey(rest.split(DUPLICATE).next().unwrap_or(rest).to_owned()),
                None => JsonError::Syntax(words),
            }
        })
    }

    /// The member `key` of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a non-negative integer.
    #[must_use]
    pub fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(n) => Some(*n),
            _ => None,
        }
    }

    /// The items of a list.
    #[must_use]
    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Json, E> {
        Ok(Json::Bool(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Json, E> {
        Ok(Json::Number(v as f64))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Json, E> {
        Ok(Json::Number(v))
    }
    fn visit_str<E>(self, v: &str) -> Result<Json, E> {
        Ok(Json::Text(v.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(serde::de::Error::custom(format_args!("{DUPLICATE}{key}{DUPLICATE}")));
            }
            members.push((key, map.next_value()?));
        }
        Ok(Json::Object(members))
    }
}

/// Appends a text as JSON. Plain names, which most are, go in as they stand.
pub(super) fn push_text(out: &mut String, text: &str) {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Appends a shape as a JSON array.
pub(super) fn push_shape(out: &mut String, shape: &[usize]) {
    out.push('[');
    for (i, dimension) in shape.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_number(out, *dimension as u64);
    }
    out.push(']');
}

/// Appends a whole number; headers are laid out in every frame, and the formatter's detour costs more than the digits.
pub(super) fn push_number(out: &mut String, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut count = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        count += 1;
        if number == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(20 - count).map(|&digit| char::from(digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_seen_at_any_depth() {
        assert_eq!(Json::parse(r#"{"a":1,"a":1}"#), Err(JsonError::DuplicateKey("a".into())));
        assert_eq!(Json::parse(r#"{"x":[{"b\u0061":1,"ba":2}]}"#), Err(JsonError::DuplicateKey("ba".into())));
        assert!(Json::parse(r#"{"a":{"b":1},"c":{"b":1}}"#).is_ok());
    }

    #[test]
    fn only_one_document_and_only_json() {
        for bad in ["", "{", "{} {}", "{'a':1}", "\u{feff}{}", "{\"a\":1,}", "NaN", &"[".repeat(200)] {
            assert!(matches!(Json::parse(bad), Err(JsonError::Syntax(_))), "{bad}");
        }
        let value = Json::parse(" {\"a\":[1,2.5,-1,null,true,\"t\"]}\n").unwrap();
        assert_eq!(value.get("a").and_then(Json::list).map(<[_]>::len), Some(6));
        assert_eq!(Json::parse("18446744073709551615").unwrap().unsigned(), Some(u64::MAX));
        assert_eq!(Json::parse("18446744073709551616").unwrap().unsigned(), None);
    }
}
