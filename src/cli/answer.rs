//! The answer on stdout: written as it is made, so that a million tensors need no more memory than one, and begun only when
//! nothing can go wrong any more but the writing itself.
//!
//! What a file says of itself is never obeyed by a terminal: text for people goes through `printable`, and in JSON every
//! control, direction-changing and invisible character is escaped by its number, which is the same JSON value.

use super::Failure;
use super::args::Global;
use crate::formats::error::is_unseen;
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};
use std::fmt::Display;
use std::io::{BufWriter, Result, Write};

impl Global {
    /// Prints the answer: one document under `--json`, else text.
    pub(super) fn tell<J: Serialize, T: Display>(
        &self,
        json: impl FnOnce() -> J,
        text: impl FnOnce() -> T,
    ) -> std::result::Result<(), Failure> {
        if self.json { print(|out| document(out, &json())) } else { print(|out| write!(out, "{}", text())) }
    }
}

/// Writes to stdout. A reader that has read enough (`| head`) is not an error.
pub(super) fn print(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> std::result::Result<(), Failure> {
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => {
            // What is left in the buffer would be written again when it is dropped.
            drop(out.into_parts());
            Ok(())
        }
    }
}

/// One JSON document and the end of its line.
fn document(out: &mut dyn Write, value: &impl Serialize) -> Result<()> {
    value.serialize(&mut Serializer::with_formatter(&mut *out, Plain))?;
    out.write_all(b"\n")
}

/// JSON on one line that shows as what it is.
struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
            let (shown, hidden) = rest.split_at(at);
            writer.write_all(shown.as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = hidden.get(c.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> Result<()> {
        serde_json::ser::CompactFormatter.write_char_escape(writer, escape)
    }
}

/// Characters that command a terminal, turn the direction of others, or show nothing at all. The ASCII ones below the
/// space are escaped by JSON itself.
fn is_hidden(c: char) -> bool {
    (c.is_control() && c >= '\u{7f}') || is_unseen(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn nothing_in_json_commands_a_terminal_and_nothing_is_lost() {
        let odd = "a\"\\\u{0}\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}é😀\n";
        let value = json!({odd: [odd, 1.5, null, f64::NAN], "plain": true});
        let mut out = Vec::new();
        document(&mut out, &value).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.trim_end().chars().all(|c| !c.is_control() && !is_hidden(c)), "{text:?}");
        assert!(text.contains("\\u202e") && text.contains("\\udb40\\udc41") && text.contains("é😀"));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
