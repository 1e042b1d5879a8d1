//! Protobuf's wire format, read where it lies: fields one after another, of which only the wanted ones are ever fetched.
//!
//! ```text
//! message   (varint tag = number << 3 | type) (varint | 8 bytes | varint length, bytes | 4 bytes) …
//! ```
//!
//! A message is a range of the file that gets shorter from the front. Every length is held against what is left of the message
//! it stands in, so a field never leaves its parent; varints have at most 10 bytes, and groups, which ONNX never had, are
//! refused. Tags, lengths and what is copied count against one allowance for the whole file, so that a file that is nothing but
//! structure costs no more than a header may. (Encoding: protobuf.dev/programming-guides/encoding)

use crate::formats::error::Error;
use crate::formats::window::Window;
use crate::formats::{Limits, Source};
use std::ops::Range;

/// Bytes that are fetched at a time: between two fields there may be megabytes that nobody looks at.
const WINDOW: u64 = 1 << 12;

/// Bytes of a varint at most.
const LONGEST: u64 = 10;

/// A message of which the fields in this range of the file were not read yet.
pub(super) type Message = Range<u64>;

/// What a field holds, or where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Varint(u64),
    /// Four bytes.
    Fixed32(Range<u64>),
    /// Eight bytes.
    Fixed64(Range<u64>),
    /// A text, bytes, another message, or numbers one behind the other.
    Bytes(Range<u64>),
}

impl Value {
    fn name(&self) -> &'static str {
        match self {
            Self::Varint(_) => "a number",
            Self::Fixed32(_) => "four bytes",
            Self::Fixed64(_) => "eight bytes",
            Self::Bytes(_) => "bytes with a length",
        }
    }
}

/// A field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub number: u64,
    pub value: Value,
}

/// A file that is read as protobuf.
pub(super) struct Wire<'s> {
    source: &'s Source,
    window: Window<'s>,
    /// Bytes that may still be looked at.
    left: u64,
    allowed: u64,
}

impl<'s> Wire<'s> {
    pub(super) fn new(source: &'s Source, limits: &Limits) -> Self {
        Self { source, window: Window::of_file(source), left: limits.header_bytes, allowed: limits.header_bytes }
    }

    pub(super) fn source(&self) -> &'s Source {
        self.source
    }

    /// An error at a place of the file.
    pub(super) fn wrong(&self, place: &str, what: impl Into<String>) -> Error {
        super::wrong(self.source, place, what)
    }

    /// The next field of a message; `None` at its end.
    pub(super) fn next(&mut self, message: &mut Message, place: &str) -> Result<Option<Field>, Error> {
        if message.is_empty() {
            return Ok(None);
        }
        let at = message.start;
        let tag = self.varint(message, place)?;
        let (number, kind) = (tag >> 3, tag & 7);
        if number == 0 || number >= 1 << 29 {
            let what = format!(
                "byte {at} begins a field of number {number}, and fields go from 1 to {}; {}",
                (1 << 29) - 1,
                super::AGAIN
            );
            return Err(self.wrong(place, what));
        }
        let value = match kind {
            0 => Value::Varint(self.varint(message, place)?),
            1 => Value::Fixed64(self.part(message, 8, at, place)?),
            2 => {
                let length = self.varint(message, place)?;
                Value::Bytes(self.part(message, length, at, place)?)
            }
            5 => Value::Fixed32(self.part(message, 4, at, place)?),
            3 | 4 => {
                let what = format!("byte {at} begins or ends a group, which ONNX has none of; {}", super::AGAIN);
                return Err(self.wrong(place, what));
            }
            other => {
                let what =
                    format!("the field at byte {at} is of wire type {other}, and there are 0 to 5; {}", super::AGAIN);
                return Err(self.wrong(place, what));
            }
        };
        Ok(Some(Field { number, value }))
    }

    /// The next bytes of a message, as a place.
    fn part(&self, message: &mut Message, length: u64, at: u64, place: &str) -> Result<Range<u64>, Error> {
        let available = message.end - message.start;
        if length > available {
            let what = format!(
                "the field at byte {at} is said to take {length} bytes, and {available} follow; the file is damaged or cut short (download it again)"
            );
            return Err(self.wrong(place, what));
        }
        let start = message.start;
        message.start += length;
        Ok(start..message.start)
    }

    /// The next number of a message, which counts against the allowance.
    fn varint(&mut self, message: &mut Message, place: &str) -> Result<u64, Error> {
        let start = message.start;
        let number = self.number(message, place)?;
        self.spend(message.start - start, place)?;
        Ok(number)
    }

    /// The next of numbers that stand one behind the other.
    pub(super) fn number(&mut self, numbers: &mut Range<u64>, place: &str) -> Result<u64, Error> {
        let start = numbers.start;
        let mut out = 0_u64;
        // A message that is looked at by its first bytes alone may be said to go on behind them.
        let end = numbers.end.min(start.saturating_add(LONGEST)).min(self.source.len());
        let bytes = self.window.get(start..end.max(start), start.saturating_add(WINDOW))?.unwrap_or_default();
        for (count, &byte) in (1_u64..).zip(bytes) {
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * (count - 1);
            if shift == 63 && bits > 1 {
                break;
            }
            out |= bits << shift;
            if byte < 0x80 {
                numbers.start = start + count;
                return Ok(out);
            }
        }
        let what = if numbers.end - start < LONGEST {
            format!("the number at byte {start} has no end; the file is damaged or cut short (download it again)")
        } else {
            format!("the number at byte {start} takes more than 64 bits; {}", super::AGAIN)
        };
        Err(self.wrong(place, what))
    }

    /// A copy of a text of at most `most` bytes.
    pub(super) fn text(&mut self, range: Range<u64>, most: u64, place: &str) -> Result<String, Error> {
        let length = range.end - range.start;
        if length > most {
            let what = format!("a text in it is {length} bytes long, at most {most} are read; {}", super::AGAIN);
            return Err(self.wrong(place, what));
        }
        self.spend(length, place)?;
        let mut scratch = Vec::new();
        let bytes = self.source.read(range.clone(), &mut scratch)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
            let at = range.start.saturating_add(error.valid_up_to() as u64);
            self.wrong(place, format!("the text in it is not UTF-8 at byte {at}; {}", super::AGAIN))
        })
    }

    /// A copy of a text that is only shown; what is not UTF-8 of it is marked as such.
    pub(super) fn shown(&mut self, range: Range<u64>, place: &str) -> Result<String, Error> {
        self.spend(range.end - range.start, place)?;
        let mut scratch = Vec::new();
        Ok(String::from_utf8_lossy(self.source.read(range, &mut scratch)?).into_owned())
    }

    fn spend(&mut self, bytes: u64, place: &str) -> Result<(), Error> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            let what = format!(
                "the structure of the file takes more than the {} bytes that are read of it, weights apart; {}",
                self.allowed,
                super::AGAIN
            );
            self.wrong(place, what)
        })?;
        Ok(())
    }

    /// What a field of bytes holds.
    pub(super) fn bytes(&self, value: Value, field: &str, place: &str) -> Result<Range<u64>, Error> {
        match value {
            Value::Bytes(range) => Ok(range),
            other => Err(self.kind(&other, field, "bytes with a length", place)),
        }
    }

    /// What a field of one number holds.
    pub(super) fn integer(&self, value: &Value, field: &str, place: &str) -> Result<u64, Error> {
        match value {
            Value::Varint(number) => Ok(*number),
            other => Err(self.kind(other, field, "a number", place)),
        }
    }

    /// That a field is of another kind than its name asks for.
    pub(super) fn kind(&self, found: &Value, field: &str, expected: &str, place: &str) -> Error {
        self.wrong(place, format!("{field} is {}, expected {expected}; {}", found.name(), super::AGAIN))
    }

    /// Keeps the value of a field that a message has once. Protobuf lets a later one replace or extend it; no writer does
    /// that, and readers that stop early would see another file.
    pub(super) fn once<T>(&self, slot: &mut Option<T>, value: T, field: &str, place: &str) -> Result<(), Error> {
        if slot.replace(value).is_some() {
            return Err(self.wrong(place, format!("{field} is given twice; {}", super::AGAIN)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All fields of a file.
    fn fields(bytes: &[u8]) -> Result<Vec<Field>, String> {
        let source = Source::in_memory("a.onnx", bytes.to_vec());
        let mut wire = Wire::new(&source, &Limits::default());
        let (mut message, mut out) = (0..source.len(), Vec::new());
        while let Some(field) = wire.next(&mut message, "here").map_err(|e| e.kind.to_string())? {
            out.push(field);
        }
        Ok(out)
    }

    #[test]
    fn fields_are_numbers_and_places() {
        let bytes =
            b"\x08\x96\x01\x12\x03abc\x1d....\x21........\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\xa2\x01\x00";
        let field = |number, value| Field { number, value };
        let expected = [
            field(1, Value::Varint(150)),
            field(2, Value::Bytes(5..8)),
            field(3, Value::Fixed32(9..13)),
            field(4, Value::Fixed64(14..22)),
            field(1, Value::Varint(1 << 63)),
            field(20, Value::Bytes(36..36)),
        ];
        assert_eq!(fields(bytes).unwrap(), expected);
        assert_eq!(fields(b"").unwrap(), []);
    }

    #[test]
    fn what_no_writer_makes_is_refused() {
        for (bytes, words) in [
            (&b"\x08"[..], "the number at byte 1 has no end"),
            (b"\x88", "the number at byte 0 has no end"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "the number at byte 1 takes more than 64 bits"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "takes more than 64 bits"),
            (b"\x12\x04abc", "the field at byte 0 is said to take 4 bytes, and 3 follow"),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc", "to take 18446744073709551615 bytes, and 3 follow"),
            (b"\x1d123", "to take 4 bytes, and 3 follow"),
            (b"\x0b", "begins or ends a group"),
            (b"\x0c", "begins or ends a group"),
            (b"\x0e\x01", "wire type 6"),
            (b"\x02\x00", "a field of number 0"),
            (b"\x82\x80\x80\x80\x10\x00", "a field of number 536870912"),
        ] {
            let said = fields(bytes).unwrap_err();
            assert!(said.contains(words), "{bytes:?}: {said}");
        }
    }

    /// The longest varints are 2^64 - 1; a number may also take more bytes than it needs.
    #[test]
    fn varints_go_to_the_last_bit() {
        for (bytes, number) in [
            (&b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..], u64::MAX),
            (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 0),
            (b"\x85\x00", 5),
        ] {
            let source = Source::in_memory("a.onnx", bytes.to_vec());
            let mut numbers = 0..source.len();
            assert_eq!(Wire::new(&source, &Limits::default()).number(&mut numbers, "here").unwrap(), number);
            assert!(numbers.is_empty());
        }
    }

    #[test]
    fn structure_without_end_is_left() {
        let source = Source::in_memory("a.onnx", b"\x08\x01".repeat(1000));
        let mut wire = Wire::new(&source, &Limits { header_bytes: 1500, ..Limits::default() });
        let (mut message, mut count) = (0..source.len(), 0);
        let error = loop {
            match wire.next(&mut message, "here") {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
        };
        assert!(count == 750 && error.to_string().contains("more than the 1500 bytes"), "{count} {error}");
        // What is passed over costs nothing.
        let long = [&b"\x12\x80\x7d"[..], &[0; 16000]].concat().repeat(20);
        let source = Source::in_memory("a.onnx", long);
        let mut wire = Wire::new(&source, &Limits { header_bytes: 60, ..Limits::default() });
        let mut message = 0..source.len();
        while wire.next(&mut message, "here").unwrap().is_some() {}
    }
}
