//! A file that does not exist until it is whole: a temporary beside its place, synced, renamed, and the folder synced.

use super::Error;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What every temporary's name begins with, so that one left by a killed run is recognised.
pub const PREFIX: &str = ".spokeshave-";

/// A file being written. Dropped before [`Temporary::persist`], it is deleted.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    file: Option<File>,
}

impl Temporary {
    /// Creates an empty file in the folder of `out`, under a short name of its own.
    ///
    /// # Errors
    /// When the folder is missing or cannot be written to.
    pub fn beside(out: &Path) -> Result<Self, Error> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let folder = folder_of(out);
        let fail = |source| Error::Io { path: out.to_path_buf(), doing: "its folder cannot be written to", source };
        for _ in 0..1000 {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{PREFIX}{}-{number}.tmp", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { path, file: Some(file) }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(fail(error)),
            }
        }
        Err(fail(std::io::ErrorKind::AlreadyExists.into()))
    }

    /// Creates a file inside a temporary folder, under its final name.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn inside(folder: &TemporaryFolder, name: &str) -> Result<Self, Error> {
        let path = folder.path.join(name);
        let fail = |source| Error::Io { path: path.clone(), doing: "creating a file of the artifact", source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(fail)?;
        Ok(Self { path, file: Some(file) })
    }

    /// Syncs a file of a temporary folder and leaves it there.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn leave(mut self) -> Result<(), Error> {
        self.finish_writing()?;
        self.path = PathBuf::new();
        Ok(())
    }

    /// Where it is now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    ///
    /// # Errors
    /// After [`Temporary::finish_writing`].
    pub fn file(&mut self) -> Result<&mut File, Error> {
        let path = &self.path;
        let closed =
            || Error::Io { path: path.clone(), doing: "writing", source: std::io::ErrorKind::NotConnected.into() };
        self.file.as_mut().ok_or_else(closed)
    }

    /// Brings everything written to the disk and closes the file.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn finish_writing(&mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let fail = |source| Error::Io { path: self.path.clone(), doing: "bringing it to the disk", source };
        file.sync_all().map_err(fail)
    }

    /// Gives the file its name, replacing what had it.
    ///
    /// # Errors
    /// When it cannot be renamed; the temporary is deleted.
    pub fn persist(mut self, out: &Path) -> Result<(), Error> {
        self.finish_writing()?;
        let fail = |source| Error::Io { path: out.to_path_buf(), doing: "giving the finished file its name", source };
        std::fs::rename(&self.path, out).map_err(fail)?;
        self.path = PathBuf::new();
        sync_folder(&folder_of(out)).map_err(fail)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.file = None;
        if !self.path.as_os_str().is_empty() {
            // Nothing more can be done about a temporary that will not go; its name tells what it is.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// A folder being filled. Dropped before [`TemporaryFolder::persist`], it is deleted with all that is in it.
#[derive(Debug)]
pub struct TemporaryFolder {
    path: PathBuf,
}

impl TemporaryFolder {
    /// Creates an empty folder beside `out`.
    ///
    /// # Errors
    /// When the folder around it is missing or cannot be written to.
    pub fn beside(out: &Path) -> Result<Self, Error> {
        // The name of a temporary file, taken and given back, serves for the folder.
        let name = Temporary::beside(out)?.path().to_path_buf();
        let fail = |source| Error::Io { path: out.to_path_buf(), doing: "its folder cannot be written to", source };
        std::fs::create_dir(&name).map_err(fail)?;
        Ok(Self { path: name })
    }

    /// Where it is now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder its name. What had it is first moved aside, and deleted when the new one is in place.
    ///
    /// # Errors
    /// When it cannot be renamed; what was there is then there again.
    pub fn persist(mut self, out: &Path) -> Result<(), Error> {
        let fail = |source| Error::Io { path: out.to_path_buf(), doing: "giving the finished folder its name", source };
        sync_folder(&self.path).map_err(fail)?;
        let aside = if out.symlink_metadata().is_ok() { Some(Self::beside(out)?) } else { None };
        if let Some(aside) = &aside {
            std::fs::rename(out, aside.path.join("old")).map_err(fail)?;
        }
        if let Err(error) = std::fs::rename(&self.path, out) {
            if let Some(aside) = &aside {
                std::fs::rename(aside.path.join("old"), out).map_err(fail)?;
            }
            return Err(fail(error));
        }
        self.path = PathBuf::new();
        sync_folder(&folder_of(out)).map_err(fail)
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // Nothing more can be done about a temporary that will not go; its name tells what it is.
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

fn folder_of(out: &Path) -> PathBuf {
    match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// The rename itself is in the folder: without this a power cut could undo it.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Writes a small file whole: beside, synced, renamed.
///
/// # Errors
/// When it cannot be written; what was there stays.
pub fn write_whole(out: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    let mut temporary = Temporary::beside(out)?;
    let fail = |source| Error::Io { path: out.to_path_buf(), doing: "writing", source };
    temporary.file()?.write_all(bytes).map_err(fail)?;
    temporary.persist(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_means_gone_and_persisted_means_whole() {
        let folder = std::env::temp_dir().join(format!("spokeshave-atomic-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let out = folder.join("a.txt");
        drop(Temporary::beside(&out).unwrap());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        write_whole(&out, b"one").unwrap();
        write_whole(&out, b"two").unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        assert!(Temporary::beside(&folder.join("no/such/a.txt")).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
