//! What both containers begin with: a prefix that says how long the header is, the header, then data to the end of the file.

use super::{Error, ErrorKind, Limits, Source, Table};
use std::ops::Range;

/// Finds the header from the file's first bytes and its length, and what else they say of it (a version).
type Place<V> = fn(&[u8], u64, &Limits) -> Result<(V, Range<u64>), ErrorKind>;

/// How one container is read, from a file or from memory.
pub(super) struct Frame<V> {
    /// Bytes before the header.
    pub prefix: u64,
    /// Where the header lies.
    pub place: Place<V>,
    /// What the header's bytes list, in a file of this length.
    pub table: fn(&[u8], V, u64, &Limits) -> Result<Table, ErrorKind>,
}

impl<V> Frame<V> {
    /// The table of a file.
    pub(super) fn read(&self, source: &Source, limits: &Limits) -> Result<Table, Error> {
        let fail = |kind| Error::new(source.path(), kind);
        let first = source.read(0..source.len().min(self.prefix), &mut Vec::new())?.to_vec();
        let (version, place) = (self.place)(&first, source.len(), limits).map_err(fail)?;
        let mut scratch = Vec::new();
        (self.table)(source.read(place, &mut scratch)?, version, source.len(), limits).map_err(fail)
    }

    /// The table of a file that is in memory already.
    pub(super) fn read_bytes(&self, file: &[u8], limits: &Limits) -> Result<Table, ErrorKind> {
        let (version, place) = (self.place)(file, file.len() as u64, limits)?;
        let header = usize::try_from(place.start).ok().zip(usize::try_from(place.end).ok());
        let header = header.and_then(|(start, end)| file.get(start..end)).unwrap_or_default();
        (self.table)(header, version, file.len() as u64, limits)
    }
}
