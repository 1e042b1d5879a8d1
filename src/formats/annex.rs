//! What a file's tensors are made of when their bytes do not lie in it as they are wanted: views in strides, numbers with their
//! bytes the other way round, and what had to be unpacked.
//!
//! ```text
//! addresses   0 ………………………………… file's length ……………………………………………
//!             the bytes of the file      │ view 0 │ held 1 │ view 2 │ …
//! ```
//!
//! Addresses from the file's length on are the annex's, so that all who read a range of a [`Source`](super::Source) read these
//! too. A view is put in order when it is read, some of it at a time, and takes no memory; only what was unpacked is held.

use crate::kernels::strided::Strided;
use std::ops::Range;
use std::sync::Arc;

/// A tensor whose elements lie somewhere in the file, but not one behind the other, or not in this machine's order of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Where in the file element 0 lies.
    pub base: u64,
    /// How the elements lie from there on.
    pub strided: Strided,
    /// Bytes that stand in reverse order, all along: those of a number in a big-endian file, else 1.
    pub swap: usize,
}

/// What lies behind one address.
#[derive(Clone, Debug)]
enum Brick {
    View(View),
    /// Shared as it is: to copy gigabytes into a slice of their own would take them twice.
    Held(Arc<Vec<u8>>),
}

/// Everything behind the end of one file.
#[derive(Clone, Debug, Default)]
pub struct Annex {
    /// Bytes of the file.
    start: u64,
    /// In the order of their addresses, with the address where each ends.
    bricks: Vec<(u64, Brick)>,
    held: u64,
}

impl Annex {
    /// An empty one behind a file of this length.
    #[must_use]
    pub fn new(file_len: u64) -> Self {
        Self { start: file_len, bricks: Vec::new(), held: 0 }
    }

    /// Takes in a view; its addresses. `None` when it leaves the file, or its numbers are past what can be counted.
    pub fn view(&mut self, view: View) -> Option<Range<u64>> {
        let end = view.base.checked_add(view.strided.span()?)?;
        let bytes = (view.strided.elements()? as u64).checked_mul(view.strided.width as u64)?;
        let whole = view.strided.width.is_multiple_of(view.swap.max(1));
        if end > self.start || !whole {
            return None;
        }
        self.push(bytes, Brick::View(view))
    }

    /// Takes in bytes that were unpacked or converted; their addresses.
    pub fn hold(&mut self, bytes: Vec<u8>) -> Option<Range<u64>> {
        let len = bytes.len() as u64;
        self.held = self.held.saturating_add(len);
        self.push(len, Brick::Held(Arc::new(bytes)))
    }

    fn push(&mut self, bytes: u64, brick: Brick) -> Option<Range<u64>> {
        let start = self.end();
        let end = start.checked_add(bytes)?;
        self.bricks.push((end, brick));
        Some(start..end)
    }

    /// The address behind the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.bricks.last().map_or(self.start, |&(end, _)| end)
    }

    /// Bytes of memory that it holds.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// What lies at some addresses, which must all be of one tensor; and where in it they are.
    pub(super) fn find(&self, range: &Range<u64>) -> Option<(Found<'_>, Range<usize>)> {
        // A tensor without elements lies at the end of another, or of all.
        if range.is_empty() && range.start <= self.end() {
            return Some((Found::Held(&[]), 0..0));
        }
        let at = self.bricks.partition_point(|&(end, _)| end <= range.start);
        let (end, brick) = self.bricks.get(at)?;
        let start = at.checked_sub(1).and_then(|before| self.bricks.get(before)).map_or(self.start, |&(end, _)| end);
        if range.end > *end || range.start > range.end {
            return None;
        }
        let offset = |address: u64| usize::try_from(address.checked_sub(start)?).ok();
        let inside = offset(range.start)?..offset(range.end)?;
        match brick {
            Brick::View(view) => Some((Found::View(view), inside)),
            Brick::Held(bytes) => Some((Found::Held(bytes.get(inside.clone())?), inside)),
        }
    }
}

/// What was found in an annex.
pub(super) enum Found<'a> {
    View(&'a View),
    /// The bytes themselves.
    Held(&'a [u8]),
}

impl View {
    /// Bytes `range` of the elements in their order, replacing what `out` held. `fetch` fills a slice with what lies at a place
    /// of the file.
    ///
    /// # Errors
    /// The first that `fetch` has.
    pub(super) fn read<E>(
        &self,
        range: Range<usize>,
        out: &mut Vec<u8>,
        mut fetch: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let width = self.strided.width.max(1);
        // Whole elements, of which the first and the last may be wanted in part.
        let elements = range.start / width..range.end.div_ceil(width);
        out.clear();
        out.resize(elements.len() * width, 0);
        let at = |offset: u64| self.base.saturating_add(offset);
        self.strided.gather(elements.clone(), out, |offset, into| fetch(at(offset), into))?;
        if self.swap > 1 {
            out.chunks_exact_mut(self.swap).for_each(<[u8]>::reverse);
        }
        let before = range.start - elements.start * width;
        out.truncate(before + range.len());
        out.drain(..before);
        Ok(())
    }

    /// All elements in their order, of an array that lies in memory; `None` when it leaves that.
    pub(super) fn of_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let len = self.strided.elements()?.checked_mul(self.strided.width)?;
        let mut out = Vec::new();
        let fetch = |at: u64, into: &mut [u8]| {
            let start = usize::try_from(at).map_err(drop)?;
            let from = bytes.get(start..).and_then(|rest| rest.get(..into.len())).ok_or(())?;
            into.copy_from_slice(from);
            Ok::<(), ()>(())
        };
        self.read(0..len, &mut out, fetch).ok().map(|()| out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::source::Access;
    use crate::formats::{ErrorKind, Source};

    fn strided(shape: &[usize], strides: &[usize]) -> Strided {
        Strided { shape: shape.into(), strides: strides.into(), width: 2 }
    }

    #[test]
    fn addresses_behind_the_end_are_read_like_any_others() {
        let path = std::env::temp_dir().join(format!("spokeshave-annex-{}", std::process::id()));
        std::fs::write(&path, (0..32_u8).collect::<Vec<_>>()).unwrap();
        for access in [Access::Map, Access::Read] {
            let mut annex = Annex::new(32);
            // The transpose of two rows of three, a vector with its bytes turned, and bytes that were unpacked.
            let turned = annex.view(View { base: 4, strided: strided(&[3, 2], &[1, 3]), swap: 1 }).unwrap();
            let swapped = annex.view(View { base: 8, strided: strided(&[2], &[1]), swap: 2 }).unwrap();
            let held = annex.hold(b"held".to_vec()).unwrap();
            assert_eq!((turned.clone(), swapped.clone(), held.clone()), (32..44, 44..48, 48..52));
            assert_eq!((annex.held(), annex.end()), (4, 52));
            let mut source = Source::open(&path, access).unwrap();
            source.attach(annex);
            let read = |range: Range<u64>| source.read(range, &mut Vec::new()).map(<[u8]>::to_vec);
            assert_eq!(read(turned.clone()).unwrap(), [4, 5, 10, 11, 6, 7, 12, 13, 8, 9, 14, 15]);
            assert_eq!(read(turned.start + 1..turned.start + 6).unwrap(), [5, 10, 11, 6, 7]);
            assert_eq!(read(swapped).unwrap(), [9, 8, 11, 10]);
            assert_eq!(read(held.start + 1..held.end).unwrap(), b"eld");
            assert_eq!(read(30..32).unwrap(), [30, 31]);
            // What has no bytes is where another ends, or all do.
            for nothing in [32, 44, 52] {
                assert!(read(nothing..nothing).unwrap().is_empty());
            }
            assert_eq!(source.with(turned, &mut Vec::new(), <[u8]>::len).unwrap(), 12);
            // Nobody's range goes over a border, nor past the last.
            for nobodys in [30..34, 42..46, 50..53, 52..53] {
                assert!(matches!(read(nobodys).unwrap_err().kind, ErrorKind::Changed { .. }));
            }
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_view_that_leaves_its_file_is_not_taken_in() {
        let mut annex = Annex::new(32);
        for (base, shape, strides) in
            [(0, &[17][..], &[1][..]), (31, &[1], &[1]), (0, &[2], &[16]), (u64::MAX, &[1], &[1]), (0, &[2], &[1, 1])]
        {
            assert_eq!(annex.view(View { base, strided: strided(shape, strides), swap: 1 }), None, "{base} {shape:?}");
        }
        // One number seen a thousand times takes two bytes of the file, and no memory.
        assert_eq!(annex.view(View { base: 30, strided: strided(&[1000], &[0]), swap: 2 }), Some(32..2032));
        assert_eq!(annex.view(View { base: 32, strided: strided(&[0, 9], &[9, 1]), swap: 1 }), Some(2032..2032));
        assert_eq!(annex.view(View { base: 0, strided: strided(&[1], &[1]), swap: 4 }), None);
    }

    /// A view goes through a map element by element; what the map lost meanwhile is not believed.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_view_of_a_file_cut_short_is_an_error() {
        let path = std::env::temp_dir().join(format!("spokeshave-annex-cut-{}", std::process::id()));
        std::fs::write(&path, vec![1_u8; 1 << 16]).unwrap();
        let mut annex = Annex::new(1 << 16);
        let range = annex.view(View { base: 0, strided: strided(&[2, 1 << 14], &[1, 2]), swap: 1 }).unwrap();
        let mut source = Source::open(&path, Access::Map).unwrap();
        source.attach(annex);
        assert_eq!(source.read(range.clone(), &mut Vec::new()).unwrap().len(), 1 << 16);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();
        assert!(matches!(source.read(range, &mut Vec::new()).unwrap_err().kind, ErrorKind::Changed { .. }));
        std::fs::remove_file(&path).unwrap();
    }
}
