//! Key-values: what a GGUF file says of itself, each pair with its place so that it can be copied as it stands.

use super::cursor::{Cursor, Fault, says};
use crate::formats::Limits;
use crate::formats::error::quoted;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

/// The type of a value, by the format's numbers 0 to 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the format's own names")]
pub enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

use Kind as K;

/// Kinds with their names and bytes, in the order of their numbers; a text and an array have no size of their own.
const KINDS: [(Kind, &str, u64); 13] = [
    (K::U8, "u8", 1),
    (K::I8, "i8", 1),
    (K::U16, "u16", 2),
    (K::I16, "i16", 2),
    (K::U32, "u32", 4),
    (K::I32, "i32", 4),
    (K::F32, "f32", 4),
    (K::Bool, "bool", 1),
    (K::Text, "text", 0),
    (K::Array, "array", 0),
    (K::U64, "u64", 8),
    (K::I64, "i64", 8),
    (K::F64, "f64", 8),
];

impl Kind {
    /// The kind of a number in a file.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        KINDS.get(usize::try_from(id).ok()?).map(|row| row.0)
    }

    /// Its number in a file.
    #[must_use]
    pub const fn id(self) -> u32 {
        self as u32
    }

    fn row(self) -> (Self, &'static str, u64) {
        KINDS.into_iter().find(|row| row.0 == self).unwrap_or((self, "?", 0))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Bytes of one value; 0 for texts and arrays.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.row().2
    }
}

/// What stands under a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An unsigned number.
    Unsigned(u64),
    /// A signed number.
    Signed(i64),
    /// A real number.
    Real(f64),
    /// A real number of half the width.
    Single(f32),
    /// Yes or no.
    Bool(bool),
    /// A text; what is not UTF-8 in it is replaced. It is shown, and never rendered or run.
    Text(String),
    /// A list, which stays in the file.
    Array {
        /// What it is a list of.
        of: Kind,
        /// How many.
        count: u64,
        /// Where the items lie, from the file's start.
        items: Range<u64>,
    },
}

/// Whether a number has more zeros than anybody counts.
fn is_far(number: f64) -> bool {
    number != 0.0 && !(1e-4..1e16).contains(&number.abs())
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => write!(f, "{number}"),
            Self::Signed(number) => write!(f, "{number}"),
            Self::Real(number) if is_far(*number) => write!(f, "{number:e}"),
            Self::Single(number) if is_far((*number).into()) => write!(f, "{number:e}"),
            Self::Real(number) => write!(f, "{number}"),
            Self::Single(number) => write!(f, "{number}"),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Text(text) => f.write_str(text),
            Self::Array { of, count, .. } => write!(f, "[{count} × {}]", of.name()),
        }
    }
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The type that the file gives the value.
    pub kind: Kind,
    /// The value.
    pub value: Value,
    /// The whole pair's bytes, from the file's start: key, type and value.
    pub place: Range<u64>,
}

/// All that a file says of itself, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyValues(pub Vec<KeyValue>);

impl KeyValues {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|pair| pair.key == key).map(|pair| &pair.value)
    }

    /// The text of a key.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number of a key, whatever its width.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Unsigned(number) => Some(*number),
            Value::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}

/// Bytes that a pair has at least: an empty key's length, the type, a byte.
const LEAST: u64 = 13;

/// Reads `count` pairs.
pub(super) fn read(cursor: &mut Cursor<'_>, count: u64, limits: &Limits) -> Result<KeyValues, Fault> {
    cursor.holds(count, LEAST, "its key-values", "pairs")?;
    if count > limits.texts as u64 {
        let what = format!("it is said to hold {count} pairs, and {} are the most that are read", limits.texts);
        return Err(says("its key-values", what));
    }
    let mut pairs = Vec::new();
    let mut keys = HashSet::new();
    for number in 0..count {
        let start = cursor.at();
        let key = cursor.name(&format!("key-value {number}"))?;
        let place = format!("key {}", quoted(&key));
        if key.is_empty() {
            return Err(says(format!("key-value {number}"), "its key is empty; the writer of this file is at fault"));
        }
        if !keys.insert(key.clone()) {
            let what =
                "it is given twice; readers disagree on which one counts, so the file is refused: write it again";
            return Err(says(place, what));
        }
        let (kind, value) = value(cursor, &place)?;
        pairs.push(KeyValue { key, kind, value, place: start..cursor.at() });
    }
    Ok(KeyValues(pairs))
}

fn kind(cursor: &mut Cursor<'_>, place: &str) -> Result<Kind, Fault> {
    let id = cursor.u32(place)?;
    Kind::from_id(id).ok_or_else(|| {
        let what = format!(
            "its type is {id}, and types go from 0 (u8) to 12 (f64); the file is damaged, or newer than this program"
        );
        says(place, what)
    })
}

fn value(cursor: &mut Cursor<'_>, place: &str) -> Result<(Kind, Value), Fault> {
    let kind = kind(cursor, place)?;
    if kind == K::Array { array(cursor, place) } else { scalar(cursor, kind, place).map(|value| (kind, value)) }
}

/// A value that is no list.
pub(super) fn scalar(cursor: &mut Cursor<'_>, kind: Kind, place: &str) -> Result<Value, Fault> {
    Ok(match kind {
        K::U8 => Value::Unsigned(cursor.fixed::<1>(place).map(u8::from_le_bytes)?.into()),
        K::U16 => Value::Unsigned(cursor.fixed(place).map(u16::from_le_bytes)?.into()),
        K::U32 => Value::Unsigned(cursor.u32(place)?.into()),
        K::U64 => Value::Unsigned(cursor.u64(place)?),
        K::I8 => Value::Signed(cursor.fixed(place).map(i8::from_le_bytes)?.into()),
        K::I16 => Value::Signed(cursor.fixed(place).map(i16::from_le_bytes)?.into()),
        K::I32 => Value::Signed(cursor.fixed(place).map(i32::from_le_bytes)?.into()),
        K::I64 => Value::Signed(cursor.fixed(place).map(i64::from_le_bytes)?),
        K::F32 => Value::Single(cursor.fixed(place).map(f32::from_le_bytes)?),
        K::F64 => Value::Real(cursor.fixed(place).map(f64::from_le_bytes)?),
        K::Bool => Value::Bool(cursor.fixed::<1>(place)? != [0]),
        K::Text => {
            let length = cursor.length(place)?;
            Value::Text(String::from_utf8_lossy(cursor.bytes(length, place)?).into_owned())
        }
        K::Array => return Err(says(place, "a list holds values and no lists")),
    })
}

/// A list is passed over: a vocabulary has hundreds of thousands of texts, and most are only copied.
fn array(cursor: &mut Cursor<'_>, place: &str) -> Result<(Kind, Value), Fault> {
    let of = kind(cursor, place)?;
    let count = cursor.u64(place)?;
    if of == K::Array {
        let what = "it is an array of arrays, which llama.cpp does not read either; write the file without it";
        return Err(says(place, what));
    }
    // A text has at least its length.
    let least = if of == K::Text { 8 } else { of.bytes() };
    cursor.holds(count, least, place, "items")?;
    let start = cursor.at();
    if of == K::Text {
        for _ in 0..count {
            let length = cursor.length(place)?;
            cursor.skip(length, place)?;
        }
    } else {
        cursor.skip(count.saturating_mul(least), place)?;
    }
    Ok((K::Array, Value::Array { of, count, items: start..cursor.at() }))
}
