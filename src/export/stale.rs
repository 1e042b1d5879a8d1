//! What a killed export left behind: found by its name, judged by its lock and its process, offered for removal and never taken unasked.

use super::Error;
use super::atomic::{ASIDE, PREFIX, SUFFIX, is_live};
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// A temporary whose writer is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Where it is: a file, or a folder that was being filled.
    pub path: PathBuf,
    /// Bytes in it.
    pub bytes: u64,
    /// The name that what is in it gets back: the run was killed when it had just moved a folder aside to replace it, and
    /// nothing stands under that name.
    pub back_to: Option<PathBuf>,
}

/// What was done about temporaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Bytes that are free again.
    pub freed: u64,
    /// Folders that have their names back.
    pub restored: Vec<PathBuf>,
}

/// The temporaries in a folder that nobody writes any more, by name. A folder that cannot be looked into has none.
#[must_use]
pub fn find(folder: &Path) -> Vec<Stale> {
    let Ok(items) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = items.filter_map(|item| Some(item.ok()?.path()));
    let stale = |path: PathBuf| {
        let back_to = moved_aside(&path).map(|(_, name)| name);
        Stale { bytes: bytes_in(&path), back_to, path }
    };
    let mut found: Vec<Stale> = paths.filter(|path| is_stale(path)).map(stale).collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Deletes them, and gives back its name to what was moved aside. One that has come back to life since it was found is left
/// alone, and one that is gone already is no error.
///
/// # Errors
/// The first that will not go.
pub fn remove(stale: &[Stale]) -> Result<Removed, Error> {
    let mut removed = Removed::default();
    for Stale { path, .. } in stale.iter().filter(|stale| is_stale(&stale.path)) {
        // Looked at again: what had no name may have one now.
        let aside = moved_aside(path);
        let bytes = if aside.is_some() { 0 } else { bytes_in(path) };
        let result = match (&aside, path.symlink_metadata()) {
            (Some((old, name)), _) => std::fs::rename(old, name).and_then(|()| std::fs::remove_dir(path)),
            (None, Ok(metadata)) if metadata.is_dir() => std::fs::remove_dir_all(path),
            (None, Ok(_)) => std::fs::remove_file(path),
            (None, Err(error)) => Err(error),
        };
        match result {
            Ok(()) => {
                removed.freed += bytes;
                removed.restored.extend(aside.map(|(_, name)| name));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(Error::Io { path: path.clone(), doing: "removing what a killed export left", source });
            }
        }
    }
    Ok(removed)
}

/// Whether a name is that of a folder with something moved aside.
fn is_aside(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.ends_with(ASIDE))
}

/// What lies in a folder with something moved aside, and the name that it had; `None` where that name has been given again.
fn moved_aside(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let old = only_item(path).filter(|_| is_aside(path))?;
    let name = path.parent()?.join(old.file_name()?);
    name.symlink_metadata().is_err().then_some((old, name))
}

/// The one thing in a folder.
fn only_item(folder: &Path) -> Option<PathBuf> {
    let mut items = std::fs::read_dir(folder).ok()?;
    let first = items.next()?.ok()?;
    items.next().is_none().then(|| first.path())
}

/// Whether something bears a temporary's name and no living process of ours stands behind it.
fn is_stale(path: &Path) -> bool {
    let Some(name) = path.file_name() else { return false };
    let Some(process) = process_of(name) else { return false };
    let alive = if process == std::process::id() { is_live(name) } else { is_spokeshave(process) };
    if alive {
        return false;
    }
    let Ok(metadata) = path.symlink_metadata() else { return false };
    if is_aside(path) {
        let count = std::fs::read_dir(path).map(|items| items.take(2).count());
        return metadata.is_dir() && count.is_ok_and(|count| count < 2);
    }
    // The process may be one of another machine or container that shares the folder; its lock is seen here too. Of what
    // may not be opened nobody here can tell.
    let openable = metadata.is_file() || metadata.is_dir();
    openable && File::open(path).is_ok_and(|f| !matches!(f.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The process in a temporary's name: `.spokeshave-PROCESS-NUMBER.tmp` or `.old`, and nothing else.
fn process_of(name: &OsStr) -> Option<u32> {
    let name = name.to_str()?.strip_prefix(PREFIX)?;
    let (process, number) = name.strip_suffix(SUFFIX).or_else(|| name.strip_suffix(ASIDE))?.split_once('-')?;
    number.parse::<u32>().ok()?;
    process.parse().ok()
}

/// Whether a process is there and may be one of ours. Numbers are given again, so that it is there is not enough where
/// the system tells its name.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_spokeshave(process: u32) -> bool {
    let name = |process: &str| std::fs::read(format!("/proc/{process}/comm")).ok();
    name(&process.to_string()).is_some_and(|comm| comm.starts_with(b"spokeshave") || Some(comm) == name("self"))
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
fn is_spokeshave(process: u32) -> bool {
    use rustix::process::{Pid, test_kill_process};
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn is_spokeshave(_process: u32) -> bool {
    true
}

/// Bytes of a file, or of all files in a folder; links are not followed.
fn bytes_in(path: &Path) -> u64 {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => {
            let items = std::fs::read_dir(path).into_iter().flatten();
            items.filter_map(Result::ok).map(|item| bytes_in(&item.path())).sum()
        }
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::atomic::{Temporary, TemporaryFolder};

    /// A number that no process has: the largest on Linux is 2^22.
    const NOBODY: u32 = 4_000_000_000;

    #[test]
    fn what_nobody_writes_is_found_and_removed_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("spokeshave-stale-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{PREFIX}{NOBODY}-0{SUFFIX}"));
        let filled = folder.join(format!("{PREFIX}{NOBODY}-1{SUFFIX}"));
        std::fs::write(&file, [0; 10]).unwrap();
        std::fs::create_dir_all(filled.join("deep")).unwrap();
        std::fs::write(filled.join("deep/a"), [0; 7]).unwrap();
        for other in [format!("{PREFIX}x-0{SUFFIX}"), format!("{PREFIX}{NOBODY}-0.old"), "model.tmp".into()] {
            std::fs::write(folder.join(other), b"precious").unwrap();
        }
        let (live, busy) = (Temporary::beside(&folder.join("a")).unwrap(), TemporaryFolder::beside(&folder.join("b")));
        let found = find(&folder);
        let stale = |path: &Path, bytes| Stale { path: path.to_path_buf(), bytes, back_to: None };
        assert_eq!(found, [stale(&file, 10), stale(&filled, 7)]);
        assert_eq!(remove(&found).unwrap(), Removed { freed: 17, restored: Vec::new() });
        assert_eq!(remove(&found).unwrap(), Removed::default());
        assert!(find(&folder).is_empty() && live.path().exists() && busy.unwrap().path().exists());
        drop(live);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
        assert!(find(&folder.join("absent")).is_empty());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_was_moved_aside_gets_its_name_back_unless_the_name_is_taken() {
        let folder = std::env::temp_dir().join(format!("spokeshave-back-{}", std::process::id()));
        let aside = |number: u32, holds: &str| {
            let path = folder.join(format!("{PREFIX}{NOBODY}-{number}{ASIDE}"));
            std::fs::create_dir_all(path.join(holds)).unwrap();
            std::fs::write(path.join(holds).join("a"), [0; 5]).unwrap();
            path
        };
        // Killed between the renames, killed after them, killed before them; and a folder that is somebody's own.
        let (lost, done, own) = (aside(1, "out"), aside(2, "named"), aside(4, "x"));
        let empty = folder.join(format!("{PREFIX}{NOBODY}-3{ASIDE}"));
        std::fs::create_dir_all(&empty).unwrap();
        std::fs::create_dir_all(folder.join("named")).unwrap();
        std::fs::write(own.join("y"), b"").unwrap();
        let stale = |path: &Path, bytes, back_to| Stale { path: path.to_path_buf(), bytes, back_to };
        let found = find(&folder);
        let out = folder.join("out");
        assert_eq!(found, [stale(&lost, 5, Some(out.clone())), stale(&done, 5, None), stale(&empty, 0, None)]);
        assert_eq!(remove(&found).unwrap(), Removed { freed: 5, restored: vec![out.clone()] });
        assert!(out.join("a").exists() && folder.join("named").exists() && own.exists());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_speaks_for_a_process_that_is_not_seen_here() {
        let folder = std::env::temp_dir().join(format!("spokeshave-locked-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{PREFIX}{NOBODY}-0{SUFFIX}"));
        let writer = File::create(&path).unwrap();
        writer.try_lock().unwrap();
        assert!(find(&folder).is_empty());
        drop(writer);
        assert_eq!(find(&folder).len(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
