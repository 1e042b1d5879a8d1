//! A file opened for reading: mapped once and kept, or read in pieces where mapping is not wanted; with `fault.rs` beside it the
//! one place with `unsafe`.
//!
//! No slice of a map leaves this file but into a closure ([`Source::with`]): when the closure has used the bytes, the map is
//! asked whether all of them were really there. What must outlive that, or must not change while it is looked at (text!),
//! is a copy ([`Source::read`]).

use super::annex::{Annex, Found};
use super::descriptors::Reader;
use super::error::{Error, ErrorKind};
use super::fault::Guard;
use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Memory-mapped: the operating system brings in what is touched. Files of a network, where a map waits without end or
    /// faults when the other side is gone, are read in pieces all the same, and so is what cannot be mapped.
    #[default]
    Map,
    /// Positioned reads into a buffer (`--no-mmap`).
    Read,
}

/// The bytes of one file, or bytes that are in memory.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    bytes: Bytes,
    identity: Option<Identity>,
    note: Option<String>,
    annex: Annex,
}

#[derive(Debug)]
enum Bytes {
    Held(Cow<'static, [u8]>),
    Mapped(Map),
    File(Reader),
}

/// A map and who watches over it. Fields go in this order: the guard before what it guards.
#[derive(Debug)]
struct Map {
    guard: Guard,
    bytes: memmap2::Mmap,
}

impl Map {
    fn of(file: &File) -> std::io::Result<Self> {
        let bytes = map_read_only(file)?;
        let guard = Guard::over(&bytes).ok_or_else(|| std::io::Error::other("there are too many maps"))?;
        Ok(Self { guard, bytes })
    }
}

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Bytes.
    pub len: u64,
    /// Last modification, where the system tells.
    pub modified: Option<SystemTime>,
    /// Device and inode on Unix; equal for hard links.
    pub node: Option<(u64, u64)>,
}

impl Identity {
    /// The identity in a file's metadata.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let node = {
            use std::os::unix::fs::MetadataExt;
            Some((metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let node = None;
        Self { len: metadata.len(), modified: metadata.modified().ok(), node }
    }

    /// What is no longer as it was, if anything.
    #[must_use]
    pub fn difference(&self, now: &Self) -> Option<&'static str> {
        match () {
            () if now.len != self.len => Some("its size is different"),
            () if now.node != self.node => Some("another file has taken its place"),
            () if now.modified != self.modified => Some("it was written to"),
            () => None,
        }
    }
}

impl Source {
    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// When it is missing, not a regular file (a pipe would block for ever), or cannot be opened.
    pub fn open(path: &Path, access: Access) -> Result<Self, Error> {
        let fail = |kind| Error::new(path, kind);
        let before = std::fs::metadata(path).map_err(|e| fail(ErrorKind::Open(e)))?;
        if !before.is_file() {
            return Err(fail(ErrorKind::NotAFile));
        }
        let file = File::open(path).map_err(|e| fail(ErrorKind::Open(e)))?;
        let metadata = file.metadata().map_err(|e| fail(ErrorKind::Open(e)))?;
        let identity = Identity::of(&metadata);
        let mut note = None;
        // A zero-length file cannot be mapped everywhere.
        let map = match access {
            Access::Map if metadata.len() > 0 && !is_remote(&file) => {
                Map::of(&file).map_err(|e| note = Some(format!("it is read in pieces, it cannot be mapped: {e}"))).ok()
            }
            _ => None,
        };
        let bytes = match map {
            Some(map) => Bytes::Mapped(map),
            None => Bytes::File(Reader::new(path, identity.clone(), file)),
        };
        Ok(Self { path: path.to_path_buf(), bytes, identity: Some(identity), note, annex: Annex::default() })
    }

    /// Wraps bytes that are part of the program.
    #[must_use]
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Self {
        Self::of_bytes(name, bytes.into())
    }

    /// Wraps bytes that were unpacked, or came from somewhere else than a file.
    #[must_use]
    pub fn in_memory(name: &str, bytes: Vec<u8>) -> Self {
        Self::of_bytes(name, bytes.into())
    }

    fn of_bytes(name: &str, bytes: Cow<'static, [u8]>) -> Self {
        let path = PathBuf::from(name);
        Self { path, bytes: Bytes::Held(bytes), identity: None, note: None, annex: Annex::default() }
    }

    /// Puts behind the file's end what its tensors are made of besides.
    pub fn attach(&mut self, annex: Annex) {
        self.annex = annex;
    }

    /// What was odd when it was opened, for people.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Where it was opened from; the name given to bytes in memory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its state when it was opened; `None` for bytes in memory.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Bytes in the file when it was opened.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.bytes {
            Bytes::Held(bytes) => bytes.len() as u64,
            Bytes::Mapped(map) => map.bytes.len() as u64,
            Bytes::File(reader) => reader.len(),
        }
    }

    /// Whether the file has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Works on the bytes of a range where they lie: in the map, or in `scratch`, filled by positioned reads. The bytes of
    /// a map may change or turn to zeros at any moment, so `work` must be content with any; when some were missing, what
    /// it made of them is dropped.
    ///
    /// # Errors
    /// When the range leaves the file, the read fails, or the file was cut short.
    #[inline]
    pub fn with<R>(&self, range: Range<u64>, scratch: &mut Vec<u8>, work: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        if range.end > self.len() {
            return Ok(work(self.annexed(range, scratch)?));
        }
        let at = self.bounds(&range)?;
        let outside = || self.past_end();
        match &self.bytes {
            Bytes::Held(bytes) => bytes.get(at).map(work).ok_or_else(outside),
            Bytes::Mapped(map) => {
                let result = map.bytes.get(at).map(work).ok_or_else(outside);
                if map.guard.is_cut() { Err(self.cut()) } else { result }
            }
            Bytes::File(reader) => {
                scratch.clear();
                scratch.resize(at.len(), 0);
                reader.fill(scratch, range.start).map_err(|kind| Error::new(&self.path, kind))?;
                Ok(work(scratch))
            }
        }
    }

    /// The bytes of a range, as a copy in `scratch` that nothing can change any more; those in memory where they are.
    ///
    /// # Errors
    /// As [`Source::with`].
    pub fn read<'a>(&'a self, range: Range<u64>, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
        match &self.bytes {
            _ if range.end > self.len() => self.annexed(range, scratch),
            Bytes::Held(bytes) => bytes.get(self.bounds(&range)?).ok_or_else(|| self.past_end()),
            Bytes::Mapped(_) => {
                scratch.clear();
                self.with(range, &mut Vec::new(), |bytes| scratch.extend_from_slice(bytes))?;
                Ok(scratch)
            }
            Bytes::File(_) => {
                self.with(range, scratch, |_| ())?;
                Ok(scratch)
            }
        }
    }

    /// Bytes that do not lie in the file as they are wanted: where they are held, or put in order in `scratch`.
    fn annexed<'a>(&'a self, range: Range<u64>, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
        match self.annex.find(&range).ok_or_else(|| self.past_end())? {
            (Found::Held(bytes), _) => Ok(bytes),
            (Found::View(view), inside) => {
                view.read(inside, scratch, |at, into| self.fill(at, into))?;
                match &self.bytes {
                    Bytes::Mapped(map) if map.guard.is_cut() => Err(self.cut()),
                    _ => Ok(scratch),
                }
            }
        }
    }

    /// Fills a slice with what lies at a place of the file. Of a map the caller asks afterwards whether all was really there.
    fn fill(&self, at: u64, into: &mut [u8]) -> Result<(), Error> {
        let from = |bytes: &[u8], place: Range<usize>, into: &mut [u8]| {
            bytes.get(place).map(|bytes| into.copy_from_slice(bytes)).ok_or_else(|| self.past_end())
        };
        let place = self.bounds(&(at..at.saturating_add(into.len() as u64)))?;
        match &self.bytes {
            Bytes::Held(bytes) => from(bytes, place, into),
            Bytes::Mapped(map) => from(&map.bytes, place, into),
            Bytes::File(reader) => reader.fill(into, at).map_err(|kind| Error::new(&self.path, kind)),
        }
    }

    /// A range as addresses.
    fn bounds(&self, range: &Range<u64>) -> Result<Range<usize>, Error> {
        let inside = range.start <= range.end && range.end <= self.len();
        match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) if inside => Ok(start..end),
            _ => Err(self.past_end()),
        }
    }

    #[cold]
    fn past_end(&self) -> Error {
        Error::new(&self.path, ErrorKind::Changed { what: "it is shorter than its header says" })
    }

    /// What to say of a map with missing bytes: that the file changed, or, when it did not, that the disk failed.
    #[cold]
    fn cut(&self) -> Error {
        let disk =
            || ErrorKind::Read(std::io::Error::other("the system did not give all of its bytes; is the disk sound?"));
        self.check_unchanged().err().unwrap_or_else(|| Error::new(&self.path, disk()))
    }

    /// Says so when the file on disk is no longer the one that was opened.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] when size, time or inode differ, or the file is gone.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        self.changed(true).map_or(Ok(()), |what| Err(Error::new(&self.path, ErrorKind::Changed { what })))
    }

    /// The same, but content with a file that was deleted: what is held open of it is what it was, and so is an answer
    /// about it.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] when size, time or inode differ.
    pub fn check_steady(&self) -> Result<(), Error> {
        self.changed(false).map_or(Ok(()), |what| Err(Error::new(&self.path, ErrorKind::Changed { what })))
    }

    fn changed(&self, must_be_there: bool) -> Option<&'static str> {
        let opened = self.identity.as_ref()?;
        match std::fs::metadata(&self.path) {
            Ok(metadata) => opened.difference(&Identity::of(&metadata)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_be_there => None,
            Err(_) => Some("it is no longer there"),
        }
    }
}

/// Whether a file lies on another machine, or in another program: NFS, SMB, Plan 9, AFS, Ceph, FUSE.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_remote(file: &File) -> bool {
    const MAGIC: [i128; 8] = [
        0x6969,      // NFS
        0x517b,      // SMB
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB 2
        0x0102_1997, // 9P
        0x5346_414f, // AFS
        0x00c3_6400, // Ceph
        0x6573_5546, // FUSE
    ];
    rustix::fs::fstatfs(file).is_ok_and(|system| MAGIC.contains(&(i128::from(system.f_type) & 0xffff_ffff)))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_remote(_file: &File) -> bool {
    false
}

/// Maps a file for reading.
///
/// The contract of a map is that nobody changes the file meanwhile. The program itself never does: sources are opened
/// read-only and outputs are written beside and renamed, which leaves a mapped file's own bytes in place. Another
/// program may, and then reads through the map see its bytes, or, where the file was cut, a fault that the [`Guard`] over
/// the map turns into zeros and a flag. No Rust value other than plain bytes is ever formed over the map, so what is read
/// can be wrong but never invalid; that it was wrong is found by the flag, and by looking at the file before and after a
/// pass ([`Source::check_unchanged`]).
#[expect(unsafe_code, reason = "mapping a file is the one thing the safe standard library cannot do")]
fn map_read_only(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the file is open for reading and only `u8`s are read from the map, within its length; see above for
    // what may still happen when another program changes the file.
    unsafe { memmap2::Mmap::map(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_and_read_give_the_same_bytes() {
        let dir = std::env::temp_dir().join(format!("spokeshave-source-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.bin");
        std::fs::write(&path, (0..=255_u8).collect::<Vec<_>>()).unwrap();
        for access in [Access::Map, Access::Read] {
            let source = Source::open(&path, access).unwrap();
            let mut scratch = Vec::new();
            assert_eq!(source.read(250..256, &mut scratch).unwrap(), [250, 251, 252, 253, 254, 255]);
            assert_eq!(source.read(7..7, &mut scratch).unwrap(), [0_u8; 0]);
            assert!(source.read(250..257, &mut scratch).is_err());
            assert!(source.check_unchanged().is_ok());
        }
        let source = Source::open(&path, Access::Read).unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert!(matches!(source.check_unchanged().unwrap_err().kind, ErrorKind::Changed { .. }));
        assert!(matches!(Source::open(&dir, Access::Map).unwrap_err().kind, ErrorKind::NotAFile));
        std::fs::write(&path, b"").unwrap();
        assert!(Source::open(&path, Access::Map).unwrap().is_empty());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// The fault itself: pages that were there when the file was mapped are gone when they are read, by many threads.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_cut_short_under_its_map_is_an_error_for_every_reader() {
        let path = std::env::temp_dir().join(format!("spokeshave-cut-{}", std::process::id()));
        let len = 1 << 20;
        std::fs::write(&path, vec![1_u8; len]).unwrap();
        let (source, whole) = (Source::open(&path, Access::Map).unwrap(), Source::open(&path, Access::Map).unwrap());
        assert!(matches!(source.bytes, Bytes::Mapped(_)), "the test needs a file system whose files are mapped");
        let sum = |source: &Source, range: Range<u64>| {
            source.with(range, &mut Vec::new(), |bytes| bytes.iter().map(|&b| u64::from(b)).sum::<u64>())
        };
        assert_eq!(sum(&source, 0..len as u64).unwrap(), len as u64);
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(4096).unwrap();
        std::thread::scope(|scope| {
            for i in 0..8_u64 {
                let source = &source;
                scope.spawn(move || {
                    let error = sum(source, 65_536 * i + 8192..65_536 * (i + 1) + 8192).unwrap_err();
                    assert!(matches!(error.kind, ErrorKind::Changed { what: "its size is different" }), "{error}");
                });
            }
        });
        // Nothing out of that map is believed again; another map of the file has a flag of its own.
        assert!(sum(&source, 0..16).is_err() && source.read(0..16, &mut Vec::new()).is_err());
        assert_eq!(sum(&whole, 0..16).unwrap(), 16);
        file.set_len(len as u64).unwrap();
        assert_eq!(sum(&whole, 0..len as u64).unwrap(), 4096);
        assert!(whole.check_unchanged().is_err() && whole.check_steady().is_err());
        let new = Source::open(&path, Access::Map).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(new.check_unchanged().is_err() && new.check_steady().is_ok());
    }
}
