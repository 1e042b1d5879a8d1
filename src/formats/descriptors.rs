//! Few descriptors for many files: those that were read last stay open, the others are opened again when they are
//! needed, and only if they are still the same.
//!
//! A model of a thousand shards is read under the usual limit of 256 open files that way.

use super::error::ErrorKind;
use super::source::Identity;
use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind as Io};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files that stay open at a time.
const MOST: usize = 32;

/// The open files by their readers' numbers, the one used last at the end.
static OPEN: Mutex<Vec<(u64, Arc<File>)>> = Mutex::new(Vec::new());

fn open_files() -> MutexGuard<'static, Vec<(u64, Arc<File>)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is read in pieces.
#[derive(Debug)]
pub struct Reader {
    number: u64,
    path: PathBuf,
    identity: Identity,
}

impl Reader {
    /// Takes over a file that was opened.
    #[must_use]
    pub fn new(path: &Path, identity: Identity, file: File) -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let reader = Self { number: COUNTER.fetch_add(1, Ordering::Relaxed), path: path.to_path_buf(), identity };
        reader.keep(Arc::new(file));
        reader
    }

    /// Bytes of the file when it was opened.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.identity.len
    }

    /// Fills a buffer from a place in the file.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] when it ends before, or has become another; [`ErrorKind::Read`] when the disk fails.
    pub fn fill(&self, buffer: &mut [u8], offset: u64) -> Result<(), ErrorKind> {
        let file = self.file()?;
        read_exact_at(&file, buffer, offset).map_err(|error| match error.kind() {
            Io::UnexpectedEof => ErrorKind::Changed { what: "it is shorter than it was" },
            _ => ErrorKind::Read(error),
        })
    }

    fn file(&self) -> Result<Arc<File>, ErrorKind> {
        let mut open = open_files();
        if let Some(at) = open.iter().position(|(number, _)| *number == self.number) {
            let entry = open.remove(at);
            let file = entry.1.clone();
            open.push(entry);
            return Ok(file);
        }
        drop(open);
        // Looked at before it is opened, too: a pipe in its place would block for ever.
        self.check(std::fs::metadata(&self.path))?;
        let file = File::open(&self.path).or_else(|error| {
            // Whoever else needs descriptors may have them: ours come back when they are needed.
            open_files().clear();
            if error.kind() == Io::NotFound { Err(error) } else { File::open(&self.path) }
        });
        let file = Arc::new(file.map_err(closed)?);
        self.check(file.metadata())?;
        self.keep(file.clone());
        Ok(file)
    }

    /// Whether what stands there now is what was opened.
    fn check(&self, now: Result<Metadata, Error>) -> Result<(), ErrorKind> {
        let what = self.identity.difference(&Identity::of(&now.map_err(closed)?));
        what.map_or(Ok(()), |what| Err(ErrorKind::Changed { what }))
    }

    fn keep(&self, file: Arc<File>) {
        let mut open = open_files();
        let most = open.len().saturating_sub(MOST - 1);
        open.drain(..most);
        open.push((self.number, file));
    }
}

/// Why a file cannot be opened again.
fn closed(error: Error) -> ErrorKind {
    match error.kind() {
        Io::NotFound => ErrorKind::Changed { what: "it is no longer there" },
        _ => ErrorKind::Open(error),
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        open_files().retain(|(number, _)| *number != self.number);
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> Result<(), Error> {
    use std::os::windows::fs::FileExt;
    while !buffer.is_empty() {
        let n = file.seek_read(buffer, offset)?;
        if n == 0 {
            return Err(Io::UnexpectedEof.into());
        }
        buffer = buffer.get_mut(n..).unwrap_or_default();
        offset += n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_are_read_through_few_descriptors() {
        let folder = std::env::temp_dir().join(format!("spokeshave-descriptors-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let reader = |i: u8| {
            let path = folder.join(format!("{i}"));
            std::fs::write(&path, [i; 8]).unwrap();
            let file = File::open(&path).unwrap();
            let identity = Identity::of(&file.metadata().unwrap());
            Reader::new(&path, identity, file)
        };
        let readers: Vec<Reader> = (0..100).map(reader).collect();
        let mut buffer = [0; 4];
        for (i, reader) in readers.iter().enumerate() {
            reader.fill(&mut buffer, 4).unwrap();
            assert_eq!(buffer, [i as u8; 4]);
            assert!(open_files().len() <= MOST);
        }
        assert!(matches!(readers[99].fill(&mut buffer, 5).unwrap_err(), ErrorKind::Changed { .. }));
        // The first was closed meanwhile: another file of its name is not taken for it, and neither is none.
        std::fs::write(folder.join("0"), [7; 9]).unwrap();
        assert!(matches!(readers[0].fill(&mut buffer, 0).unwrap_err(), ErrorKind::Changed { .. }));
        std::fs::remove_file(folder.join("1")).unwrap();
        assert!(matches!(readers[1].fill(&mut buffer, 0).unwrap_err(), ErrorKind::Changed { .. }));
        #[cfg(target_os = "linux")]
        {
            std::fs::remove_file(folder.join("2")).unwrap();
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, folder.join("2"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
            assert!(matches!(readers[2].fill(&mut buffer, 0).unwrap_err(), ErrorKind::Changed { .. }));
        }
        drop(readers);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
