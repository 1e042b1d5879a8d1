//! A pickle's bytes from front to back, out of memory or out of a file that may go on for gigabytes behind it.

use super::Fault;
use crate::formats::Source;
use crate::formats::window::{self, Window};

/// A place in a pickle, with a window of bytes around it.
pub struct Input<'s> {
    window: Window<'s>,
    at: u64,
    end: u64,
    /// The last byte that may be fetched: that of the file, or of the most that its pickles may take.
    bound: u64,
}

impl<'s> Input<'s> {
    /// A file from some byte on, of which pickles may take so many.
    #[must_use]
    pub fn of_file(source: &'s Source, at: u64, most: u64) -> Self {
        let bound = at.saturating_add(most).min(source.len());
        Self { window: Window::of_file(source), at, end: source.len(), bound }
    }

    /// Bytes that are there already.
    #[must_use]
    pub fn of_memory(bytes: &'s [u8]) -> Self {
        let end = bytes.len() as u64;
        Self { window: Window::of_memory(bytes), at: 0, end, bound: end }
    }

    /// Bytes before the next one.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: u64) -> Result<&[u8], Fault> {
        let start = self.at;
        self.check(count)?;
        self.at = start.saturating_add(count);
        let found = self.window.get(start..self.at, self.bound).map_err(Fault::Read)?;
        found.ok_or_else(|| gone(start))
    }

    /// Refuses to go on where so many bytes do not follow.
    pub(super) fn check(&self, count: u64) -> Result<(), Fault> {
        let (at, left) = (self.at, self.end.saturating_sub(self.at));
        if count > left {
            let what = format!(
                "{count} bytes are expected and {left} follow; the file is damaged or cut short (download it again)"
            );
            return Err(Fault::Says { at, what });
        }
        if count > self.bound.saturating_sub(at) {
            let what = format!("its pickles go on for more than the {} bytes allowed", self.bound);
            return Err(Fault::Says { at, what });
        }
        Ok(())
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        self.fixed().map(|[byte]: [u8; 1]| byte)
    }

    /// The next N bytes.
    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let at = self.at;
        self.bytes(N as u64)?.try_into().map_err(|_| gone(at))
    }

    /// A length in N bytes, and so many bytes.
    pub(super) fn counted<const N: usize>(&mut self) -> Result<&[u8], Fault> {
        let mut wide = [0; 8];
        let bytes: [u8; N] = self.fixed()?;
        wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        self.bytes(u64::from_le_bytes(wide))
    }

    /// Bytes up to the end of the line, which is passed over.
    pub(super) fn line(&mut self) -> Result<&[u8], Fault> {
        let (start, mut asked) = (self.at, window::SIZE);
        let length = loop {
            let there = asked.min(self.bound.saturating_sub(start));
            let bytes = self.bytes(there)?;
            if let Some(at) = bytes.iter().position(|&byte| byte == b'\n') {
                break at as u64;
            }
            self.at = start;
            self.check(there.saturating_add(1))?;
            asked = asked.saturating_mul(2);
        };
        self.at = start;
        // The line is in the window, and its end is not part of it.
        self.bytes(length.saturating_add(1)).map(|line| line.strip_suffix(b"\n").unwrap_or(line))
    }
}

/// Bytes that were there when their count was checked.
#[cold]
fn gone(at: u64) -> Fault {
    Fault::Says { at, what: "the file cannot be read here".into() }
}
