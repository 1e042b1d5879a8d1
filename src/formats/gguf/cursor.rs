//! Reading a GGUF header from front to back: every length is held against the bytes that are left before it is used.

use crate::formats::error::ErrorKind;
use crate::formats::window::Window;
use crate::formats::{Error, Limits, Source};
use std::path::Path;

/// A place in a header, with a window of bytes around it.
pub(super) struct Cursor<'s> {
    window: Window<'s>,
    at: u64,
    end: u64,
    /// Where the header must have ended: the file's end, or the most that a header may take.
    bound: u64,
}

/// Why a step was not taken.
pub(super) enum Fault {
    /// The file cannot be read any more.
    Read(Error),
    /// What it says cannot be so.
    Says(ErrorKind),
}

impl Fault {
    /// The same as an error about a file.
    pub(super) fn about(self, path: &Path) -> Error {
        match self {
            Self::Read(error) => error,
            Self::Says(kind) => Error::new(path, kind),
        }
    }
}

/// An error at a place of the header.
pub(super) fn says(place: impl Into<String>, what: impl Into<String>) -> Fault {
    Fault::Says(ErrorKind::Gguf { place: place.into(), what: what.into() })
}

impl<'s> Cursor<'s> {
    pub(super) fn of_file(source: &'s Source, limits: &Limits) -> Self {
        Self::new(Window::of_file(source), limits)
    }

    pub(super) fn of_memory(file: &'s [u8], limits: &Limits) -> Self {
        Self::new(Window::of_memory(file), limits)
    }

    fn new(window: Window<'s>, limits: &Limits) -> Self {
        let end = window.len();
        Self { window, at: 0, end, bound: end.min(limits.header_bytes) }
    }

    /// Bytes before the next one.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes of the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of the file that were not read yet.
    pub(super) fn left(&self) -> u64 {
        self.end - self.at
    }

    /// Refuses a count whose items cannot all be in the rest of the file, even at their smallest.
    pub(super) fn holds(&self, count: u64, least: u64, place: &str, of: &str) -> Result<(), Fault> {
        let needed = count.checked_mul(least);
        if needed.is_some_and(|needed| needed <= self.left()) {
            return Ok(());
        }
        let left = self.left();
        let what = format!(
            "it is said to hold {count} {of}, which take {least} bytes each at least, and {left} bytes follow; the file is damaged or cut short (download it again)"
        );
        Err(says(place, what))
    }

    /// Refuses to go on where `count` more bytes do not follow, or where a header would grow past all measure.
    fn check(&self, count: u64, place: &str) -> Result<(), Fault> {
        if count > self.left() {
            let left = self.left();
            let what =
                format!("{count} bytes are expected here and {left} follow; the file is cut short (download it again)");
            return Err(says(place, what));
        }
        if count > self.bound.saturating_sub(self.at) {
            let (found, allowed) = (self.at.saturating_add(count), self.bound);
            return Err(Fault::Says(ErrorKind::HeaderTooLarge { format: "GGUF", found, allowed }));
        }
        Ok(())
    }

    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: u64, place: &str) -> Result<&[u8], Fault> {
        self.check(count, place)?;
        let start = self.at;
        self.at = start.saturating_add(count);
        let found = self.window.get(start..self.at, self.end).map_err(Fault::Read)?;
        found.ok_or_else(|| says(place, "the file cannot be read here"))
    }

    /// Passes over `count` bytes.
    pub(super) fn skip(&mut self, count: u64, place: &str) -> Result<(), Fault> {
        self.check(count, place)?;
        self.at = self.at.saturating_add(count);
        Ok(())
    }

    pub(super) fn u32(&mut self, place: &str) -> Result<u32, Fault> {
        self.fixed(place).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, place: &str) -> Result<u64, Fault> {
        self.fixed(place).map(u64::from_le_bytes)
    }

    /// The next N bytes.
    pub(super) fn fixed<const N: usize>(&mut self, place: &str) -> Result<[u8; N], Fault> {
        let bytes = self.bytes(N as u64, place)?;
        bytes.try_into().map_err(|_| says(place, "the file cannot be read here"))
    }

    /// The length of a string, which must be in the rest of the file.
    pub(super) fn length(&mut self, place: &str) -> Result<u64, Fault> {
        let length = self.u64(place)?;
        if length > self.left() {
            let left = self.left();
            let what = format!(
                "a text is said to be {length} bytes long and {left} follow; the file is damaged or cut short (download it again)"
            );
            return Err(says(place, what));
        }
        Ok(length)
    }

    /// A text that must be UTF-8: keys and names.
    pub(super) fn name(&mut self, place: &str) -> Result<String, Fault> {
        let length = self.length(place)?;
        let bytes = self.bytes(length, place)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => {
                let what = format!("byte {} of its name is not UTF-8; the file is damaged", error.valid_up_to());
                Err(says(place, what))
            }
        }
    }
}
