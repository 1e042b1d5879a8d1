//! A file that does not exist until it is whole: a temporary beside its place, synced, renamed, and the folder synced.
//!
//! While its owner lives, a temporary is locked (`flock`), which the system undoes however the owner ends: that is how
//! [`super::stale`] tells one that was left behind from one that is being written. Every temporary of this process is
//! also listed, so that a run that is told to go can take them along ([`delete_all`]).

use super::Error;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What every temporary's name begins with, so that one left by a killed run is recognised.
pub const PREFIX: &str = ".spokeshave-";
/// What it ends with. In between stand the process and a number.
pub const SUFFIX: &str = ".tmp";
/// What a folder's name ends with that holds, under its own name, the folder that is just being replaced: there only for the
/// moment between two renames, where the system cannot exchange two names in one step.
pub const ASIDE: &str = ".old";

/// The temporaries of this process that are on disk.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn live() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this process is writing a temporary of this name, or replacing what was moved aside under it.
pub(super) fn is_live(name: &OsStr) -> bool {
    live().iter().any(|path| path.file_name() == Some(name) || aside_of(path).file_name() == Some(name))
}

/// Where what a temporary folder will replace is moved aside.
fn aside_of(temporary: &Path) -> PathBuf {
    temporary.with_extension(ASIDE.trim_start_matches('.'))
}

/// Deletes every temporary of this process: the last thing before it ends in the middle of its work.
pub fn delete_all() {
    live().iter().for_each(|path| delete(path));
}

/// A path of this process's own beside an output: listed while it is there, and locked where the system can.
#[derive(Debug)]
struct Claim {
    path: PathBuf,
    _lock: Option<File>,
}

impl Claim {
    /// Creates something under the first free name.
    fn first_free<T>(out: &Path, create: impl Fn(&Path) -> std::io::Result<T>) -> Result<(PathBuf, T), Error> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let folder = folder_of(out);
        let fail = |source| Error::Io { path: out.to_path_buf(), doing: "its folder cannot be written to", source };
        for _ in 0..1000 {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{PREFIX}{}-{number}{SUFFIX}", std::process::id()));
            match create(&path) {
                Ok(made) => {
                    live().insert(path.clone());
                    return Ok((path, made));
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(fail(error)),
            }
        }
        Err(fail(std::io::ErrorKind::AlreadyExists.into()))
    }

    /// Keeps a handle whose lock says that the owner lives. Where locks are not to be had, the process in the name does.
    fn of(path: PathBuf, handle: std::io::Result<File>) -> Self {
        // Locks on Windows keep the owner itself from reading the file back.
        let lock = handle.ok().filter(|file| cfg!(unix) && file.try_lock().is_ok());
        Self { path, _lock: lock }
    }

    /// Gives what was claimed its final name. A list that is held keeps [`delete_all`] from coming in between.
    fn rename(&self, to: &Path) -> std::io::Result<()> {
        let mut live = live();
        std::fs::rename(&self.path, to)?;
        live.remove(&self.path);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        live().remove(&self.path);
    }
}

/// A file being written. Dropped before [`Temporary::persist`], it is deleted.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    file: Option<File>,
    claim: Option<Claim>,
}

impl Temporary {
    /// Creates an empty file in the folder of `out`, under a short name of its own. Where it will replace a file that
    /// fewer may read or write, it is no more open than that one.
    ///
    /// # Errors
    /// When the folder is missing or cannot be written to.
    pub fn beside(out: &Path) -> Result<Self, Error> {
        let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
        let (path, file) = Claim::first_free(out, create)?;
        let claim = Some(Claim::of(path.clone(), file.try_clone()));
        let temporary = Self { path, file: Some(file), claim };
        keep_narrow(&temporary.path, out, 0o600);
        Ok(temporary)
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
        Ok(Self { path, file: Some(file), claim: None })
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
        match &self.claim {
            Some(claim) => claim.rename(out).map_err(fail)?,
            None => std::fs::rename(&self.path, out).map_err(fail)?,
        }
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
    claim: Claim,
}

impl TemporaryFolder {
    /// Creates an empty folder beside `out`.
    ///
    /// # Errors
    /// When the folder around it is missing or cannot be written to.
    pub fn beside(out: &Path) -> Result<Self, Error> {
        let (path, ()) = Claim::first_free(out, |path| std::fs::create_dir(path))?;
        keep_narrow(&path, out, 0o700);
        let claim = Claim::of(path.clone(), File::open(&path));
        Ok(Self { path, claim })
    }

    /// Where it is now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder its name. What had it changes places with it in one step where the system can do that, so that
    /// the name is never without a whole folder; it is deleted afterwards.
    ///
    /// # Errors
    /// When it cannot be renamed; what was there is then there again.
    pub fn persist(mut self, out: &Path) -> Result<(), Error> {
        let fail = |source| Error::Io { path: out.to_path_buf(), doing: "giving the finished folder its name", source };
        sync_folders(&self.path).map_err(fail)?;
        if out.symlink_metadata().is_err() {
            self.claim.rename(out).map_err(fail)?;
            self.path = PathBuf::new();
        } else if exchange(&self.path, out).is_err() {
            self.move_aside(out)?;
        }
        // What had the name is under the temporary's own now, and goes with it.
        sync_folder(&folder_of(out)).map_err(fail)
    }

    /// The way without an exchange: two renames. A run killed between them leaves the old folder whole, under its own name
    /// inside a folder that [`super::stale`] finds and takes it out of again.
    fn move_aside(&mut self, out: &Path) -> Result<(), Error> {
        let fail = |source| Error::Io { path: out.to_path_buf(), doing: "giving the finished folder its name", source };
        let aside = aside_of(&self.path);
        let old = aside.join(out.file_name().unwrap_or_default());
        std::fs::create_dir(&aside).map_err(fail)?;
        let moved = std::fs::rename(out, &old);
        if let Err(error) = moved.and_then(|()| {
            self.claim.rename(out).or_else(|error| {
                std::fs::rename(&old, out)?;
                Err(error)
            })
        }) {
            // Not empty, and kept, when what was there could not be put back.
            drop(std::fs::remove_dir(&aside));
            return Err(fail(error));
        }
        self.path = PathBuf::new();
        delete(&aside);
        Ok(())
    }
}

/// Deletes a temporary, or what was replaced. Nothing more can be done about one that will not go; its name tells what it is.
fn delete(path: &Path) {
    drop(std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path)));
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            delete(&self.path);
        }
    }
}

/// Swaps two names in one step.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn exchange(a: &Path, b: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn exchange(_a: &Path, _b: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Takes from a new file or folder what the one that it will replace does not allow either, but for `needed` of its owner.
#[cfg(unix)]
fn keep_narrow(path: &Path, out: &Path, needed: u32) {
    use std::os::unix::fs::PermissionsExt;
    let (Ok(old), Ok(new)) = (out.symlink_metadata(), path.symlink_metadata()) else { return };
    if old.file_type() == new.file_type() {
        let mode = new.permissions().mode() & 0o777 & (old.permissions().mode() | needed);
        // Where modes cannot be set there are none to keep.
        drop(std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)));
    }
}

#[cfg(not(unix))]
fn keep_narrow(_path: &Path, _out: &Path, _needed: u32) {}

/// The folder that a path lies in.
#[must_use]
pub fn folder_of(out: &Path) -> PathBuf {
    match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Brings the names in a folder to the disk: without this a power cut could undo a rename. A folder that may be written to but
/// not read, and a file system that syncs no folders, are no reason to call the work undone.
///
/// # Errors
/// When the disk does not take it.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind;
    let Ok(folder) = File::open(folder) else { return Ok(()) };
    folder.sync_all().or_else(|error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied => Ok(()),
        _ => Err(error),
    })
}

/// Names are brought to the disk by the system here.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

/// [`sync_folder`] for a folder and all folders in it.
fn sync_folders(folder: &Path) -> std::io::Result<()> {
    for item in std::fs::read_dir(folder)? {
        let item = item?;
        if item.file_type()?.is_dir() {
            sync_folders(&item.path())?;
        }
    }
    sync_folder(folder)
}

/// Writes a small file whole: beside, synced, renamed.
///
/// # Errors
/// When it cannot be written, or a folder, a device or a pipe has that name; what was there stays.
pub fn write_whole(out: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    super::destination::check_is_file(out)?;
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
        let out = folder.join("b");
        for name in ["one", "two"] {
            let new = TemporaryFolder::beside(&out).unwrap();
            std::fs::write(new.path().join(name), b"x").unwrap();
            assert!(is_live(new.path().file_name().unwrap()));
            new.persist(&out).unwrap();
            assert!(out.join(name).exists());
        }
        assert!(!out.join("one").exists());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn two_renames_do_for_an_exchange_and_are_taken_back_when_the_second_fails() {
        let folder = std::env::temp_dir().join(format!("spokeshave-aside-{}", std::process::id()));
        let out = folder.join("b");
        std::fs::create_dir_all(out.join("deep")).unwrap();
        std::fs::write(out.join("deep/old"), b"x").unwrap();
        let mut lost = TemporaryFolder::beside(&out).unwrap();
        std::fs::remove_dir(lost.path()).unwrap();
        assert!(lost.move_aside(&out).is_err() && out.join("deep/old").exists());
        drop(lost);
        let mut new = TemporaryFolder::beside(&out).unwrap();
        std::fs::write(new.path().join("new"), b"x").unwrap();
        let aside = aside_of(new.path());
        assert!(aside.to_string_lossy().ends_with(ASIDE) && is_live(aside.file_name().unwrap()));
        new.move_aside(&out).unwrap();
        assert!(out.join("new").exists() && !out.join("deep").exists());
        drop(new);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
