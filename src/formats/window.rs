//! Bytes of a header where they are asked for: out of memory, or out of a file through a window that moves along, so that a header
//! in front of gigabytes costs a few reads and no more memory than it needs.

use super::{Error, Source};
use std::ops::Range;

/// Bytes that are fetched at a time; what is asked for at once may be more.
pub(super) const SIZE: u64 = 1 << 16;

/// Where the bytes come from.
#[derive(Clone, Copy)]
enum From<'s> {
    File(&'s Source),
    Memory(&'s [u8]),
}

/// Some bytes of a file around the place that was asked for last.
pub(super) struct Window<'s> {
    from: From<'s>,
    held: Vec<u8>,
    held_at: u64,
}

impl<'s> Window<'s> {
    pub(super) fn of_file(source: &'s Source) -> Self {
        Self { from: From::File(source), held: Vec::new(), held_at: 0 }
    }

    pub(super) fn of_memory(bytes: &'s [u8]) -> Self {
        Self { from: From::Memory(bytes), held: Vec::new(), held_at: 0 }
    }

    /// Bytes of all that there is.
    pub(super) fn len(&self) -> u64 {
        match self.from {
            From::File(source) => source.len(),
            From::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes of a range, and of a file perhaps others behind it, up to `bound`; `None` where the range leaves the file.
    ///
    /// # Errors
    /// When the file cannot be read there any more.
    pub(super) fn get(&mut self, range: Range<u64>, bound: u64) -> Result<Option<&[u8]>, Error> {
        let source = match self.from {
            From::Memory(bytes) => return Ok(slice(bytes, 0, &range)),
            From::File(source) => source,
        };
        let held = self.held_at..self.held_at.saturating_add(self.held.len() as u64);
        if range.start < held.start || range.end > held.end {
            let stop = range.end.max(range.start.saturating_add(SIZE).min(bound));
            if stop.min(source.len()) < range.end {
                return Ok(None);
            }
            self.held.clear();
            let (held, stop) = (&mut self.held, stop.min(source.len()));
            source.with(range.start..stop, &mut Vec::new(), |bytes| held.extend_from_slice(bytes))?;
            self.held_at = range.start;
        }
        Ok(slice(&self.held, self.held_at, &range))
    }
}

/// A range of what `bytes` holds from address `first` on.
fn slice<'b>(bytes: &'b [u8], first: u64, range: &Range<u64>) -> Option<&'b [u8]> {
    let offset = |address: u64| usize::try_from(address.checked_sub(first)?).ok();
    bytes.get(offset(range.start)?..offset(range.end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_is_what_lies_there_whatever_was_asked_before() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        let source = Source::embedded("w", bytes.clone().leak());
        let (mut file, mut memory) = (Window::of_file(&source), Window::of_memory(&bytes));
        for range in [0..4, 3..70_000, 69_999..70_001, 5..6, 131_072..200_000, 199_999..200_000, 7..7] {
            let wanted = &bytes[range.start as usize..range.end as usize];
            for bound in [0, 100_000, u64::MAX] {
                assert_eq!(file.get(range.clone(), bound).unwrap(), Some(wanted), "{range:?}");
            }
            assert_eq!(memory.get(range, 0).unwrap(), Some(wanted));
        }
        for window in [&mut file, &mut memory] {
            assert_eq!((window.len(), window.get(199_999..200_001, u64::MAX).unwrap()), (200_000, None));
        }
    }
}
