//! A file opened for reading: mapped once and kept, or read in pieces where mapping is not wanted; the one room with `unsafe`.
//!
//! Nothing outside this file holds a slice of the map for longer than one chunk's work, so that a later, stricter
//! handling of files that change under the map has one place to live.

use super::error::{Error, ErrorKind};
use std::fs::{File, Metadata};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Memory-mapped: the operating system brings in what is touched.
    #[default]
    Map,
    /// Positioned reads into a buffer (`--no-mmap`).
    Read,
}

/// The bytes of one file, or of an asset inside the program.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    bytes: Bytes,
    identity: Option<Identity>,
}

#[derive(Debug)]
enum Bytes {
    Embedded(&'static [u8]),
    Mapped(memmap2::Mmap),
    File { file: File, len: u64 },
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
}

impl Source {
    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// When it is missing, not a regular file (a pipe would block for ever), or cannot be opened or mapped.
    pub fn open(path: &Path, access: Access) -> Result<Self, Error> {
        let fail = |kind| Error::new(path, kind);
        let before = std::fs::metadata(path).map_err(|e| fail(ErrorKind::Open(e)))?;
        if !before.is_file() {
            return Err(fail(ErrorKind::NotAFile));
        }
        let file = File::open(path).map_err(|e| fail(ErrorKind::Open(e)))?;
        let metadata = file.metadata().map_err(|e| fail(ErrorKind::Open(e)))?;
        let identity = Some(Identity::of(&metadata));
        let bytes = match access {
            // A zero-length file cannot be mapped everywhere.
            Access::Map if metadata.len() > 0 => {
                Bytes::Mapped(map_read_only(&file).map_err(|e| fail(ErrorKind::Open(e)))?)
            }
            _ => Bytes::File { len: metadata.len(), file },
        };
        Ok(Self { path: path.to_path_buf(), bytes, identity })
    }

    /// Wraps bytes that are part of the program.
    #[must_use]
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Self {
        Self { path: PathBuf::from(name), bytes: Bytes::Embedded(bytes), identity: None }
    }

    /// Where it was opened from; the asset's name for an embedded one.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its state when it was opened; `None` for an embedded one.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Bytes in the file when it was opened.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.bytes {
            Bytes::Embedded(bytes) => bytes.len() as u64,
            Bytes::Mapped(map) => map.len() as u64,
            Bytes::File { len, .. } => *len,
        }
    }

    /// Whether the file has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a range: a view of the map, or `scratch` filled by positioned reads.
    ///
    /// # Errors
    /// When the range leaves the file or the read fails.
    pub fn read<'a>(&'a self, range: Range<u64>, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
        let fail = |kind| Error::new(&self.path, kind);
        let past_end = || fail(ErrorKind::Changed { what: "it is shorter than its header says" });
        if range.start > range.end || range.end > self.len() {
            return Err(past_end());
        }
        let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(range.end)) else {
            return Err(past_end());
        };
        match &self.bytes {
            Bytes::Embedded(bytes) => bytes.get(start..end).ok_or_else(past_end),
            Bytes::Mapped(map) => map.get(start..end).ok_or_else(past_end),
            Bytes::File { file, .. } => {
                scratch.clear();
                scratch.resize(end - start, 0);
                read_exact_at(file, scratch, range.start).map_err(|e| fail(ErrorKind::Read(e)))?;
                Ok(scratch)
            }
        }
    }

    /// Says so when the file on disk is no longer the one that was opened.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] when size, time or inode differ, or the file is gone.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        let Some(opened) = &self.identity else { return Ok(()) };
        let fail = |what| Err(Error::new(&self.path, ErrorKind::Changed { what }));
        let now = match std::fs::metadata(&self.path) {
            Ok(metadata) => Identity::of(&metadata),
            Err(_) => return fail("it is no longer there"),
        };
        match () {
            () if now.len != opened.len => fail("its size is different"),
            () if now.node != opened.node => fail("another file has taken its place"),
            () if now.modified != opened.modified => fail("it was written to"),
            () => Ok(()),
        }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !buffer.is_empty() {
        let n = file.seek_read(buffer, offset)?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[n..];
        offset += n as u64;
    }
    Ok(())
}

/// Maps a file for reading.
///
/// The contract of a map is that nobody changes the file meanwhile. The program itself never does: sources are opened
/// read-only and outputs are written beside and renamed, which leaves a mapped file's own bytes in place. Another
/// program may, and then reads through the map see its bytes, or fault where the file was cut; no Rust value other than
/// plain bytes is ever formed over the map, so what is read can be wrong but never invalid.
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
}
