//! A stretch of a file that is written piece by piece at its own place, while others grow at theirs.

use super::Error;
use super::output::Output;
use crate::kernels::bits::BitWriter;
use std::ops::Range;

/// Bytes of one that wait before they are written.
const WAITING: usize = 1 << 18;

/// A stretch of a file that grows from its start to its end.
#[derive(Debug, Default)]
pub struct Stretch {
    start: u64,
    at: u64,
    /// The byte behind its last.
    pub end: u64,
    /// What waits to be written.
    pub bytes: Vec<u8>,
    /// Codes that do not fill a byte yet.
    pub bits: BitWriter,
}

impl Stretch {
    /// The one that is to fill these bytes of the file.
    pub fn new(range: Range<u64>) -> Self {
        Self { start: range.start, at: range.start, end: range.end, ..Self::default() }
    }

    /// Whether nothing was put into it yet.
    pub fn is_new(&self) -> bool {
        self.at == self.start && self.bytes.is_empty()
    }

    /// Appends the low `bits` of a code.
    pub fn push(&mut self, code: u32, bits: u32) {
        self.bits.push(code, bits, &mut self.bytes);
    }

    /// Writes what waits. `None` when it would lie behind the end, or, `at_last`, when the end is not reached.
    pub fn pour(&mut self, output: &mut Output<'_>, at_last: bool) -> Result<Option<()>, Error> {
        if self.bytes.len() >= WAITING || (at_last && !self.bytes.is_empty()) {
            let end = self.at + self.bytes.len() as u64;
            if end > self.end {
                return Ok(None);
            }
            output.seek(self.at)?;
            output.write(&self.bytes)?;
            self.bytes.clear();
            self.at = end;
        }
        Ok((!at_last || self.at == self.end).then_some(()))
    }
}
