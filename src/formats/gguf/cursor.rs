//! Reading a GGUF header from front to back: every length is held against the bytes that are left before it is used.

use crate::formats::error::ErrorKind;
use crate::formats::{Error, Limits, Source};
use std::path::Path;

/// Bytes that are fetched at a time; a string may need more.
const WINDOW: u64 = 1 << 16;

/// Where the bytes come from.
#[derive(Clone, Copy)]
enum From<'s> {
    File(&'s Source),
    Memory(&'s [u8]),
}

/// A place in a header, with a window of bytes around it.
pub(super) struct Cursor<'s> {
    from: From<'s>,
    at: u64,
    end: u64,
    /// Where the header must have ended: the file's end, or the most that a header may take.
    bound: u64,
    window: Vec<u8>,
    window_at: u64,
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
        Self::new(From::File(source), source.len(), limits)
    }

    pub(super) fn of_memory(file: &'s [u8], limits: &Limits) -> Self {
        Self::new(From::Memory(file), file.len() as u64, limits)
    }

    fn new(from: From<'s>, end: u64, limits: &Limits) -> Self {
        Self { from, at: 0, end, bound: end.min(limits.header_bytes), window: Vec::new(), window_at: 0 }
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
        let missing = || says(place, "the file cannot be read here");
        if let From::Memory(file) = self.from {
            return slice(file, start, count).ok_or_else(missing);
        }
        let held = self.window_at..self.window_at.saturating_add(self.window.len() as u64);
        if start < held.start || self.at > held.end {
            self.fetch(start, count)?;
        }
        slice(&self.window, start - self.window_at, count).ok_or_else(missing)
    }

    fn fetch(&mut self, start: u64, count: u64) -> Result<(), Fault> {
        let From::File(source) = self.from else { return Ok(()) };
        let stop = start.saturating_add(count.max(WINDOW)).min(self.end);
        let mut scratch = std::mem::take(&mut self.window);
        let read = source.read(start..stop, &mut scratch).map(<[u8]>::to_vec).map_err(Fault::Read)?;
        (self.window, self.window_at) = (read, start);
        Ok(())
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

fn slice(bytes: &[u8], start: u64, count: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(count).ok()?)?)
}
