//! Profiles on disk, so that the second opening of a big model is instant.
//!
//! One file per model, named after its path, in a folder that may be deleted at any time. A file is believed only when its
//! version, its checksums and its whole key agree: the path, size, modification time and header of every shard. Anything
//! else is as if it were not there. The folder holds at most [`MOST`] bytes; what was used longest ago goes first.
//!
//! ```text
//! version, 16 bytes │ key │ profile of tensor 0 │ profile of tensor 1 │ …      each: length, bytes, checksum
//! ```
//!
//! It is written and read profile by profile, so that no more of it is in memory at a time than the largest of them.

use super::Profile;
use super::codec::{self, Reader};
use crate::kernels::hash::{START, checksum, fnv1a};
use crate::model::{Model, Origin};
use std::fs::File;
use std::io::{BufReader, BufWriter, Error, ErrorKind, Read, Result, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes in the folder at most.
pub const MOST: u64 = 1 << 30;
/// Bytes of one model's profiles at most.
const MOST_OF_ONE: u64 = 512 << 20;
/// What every file begins with; the number is the version of everything that stands behind it.
const MAGIC: &[u8; 16] = b"spokeshave-prof9";
const ENDING: &str = "profile";

/// A folder of profiles.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The user's own: `$SPOKESHAVE_CACHE`, else the system's folder for caches; `None` where there is none.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(folder) = set("SPOKESHAVE_CACHE") {
            return Some(Self { folder });
        }
        let base = if cfg!(windows) {
            set("LOCALAPPDATA")?
        } else if cfg!(target_os = "macos") {
            set("HOME")?.join("Library/Caches")
        } else {
            set("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(|| Some(set("HOME")?.join(".cache")))?
        };
        Some(Self { folder: base.join("spokeshave") })
    }

    /// A cache in a folder of one's own.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    fn file_of(&self, model: &Model) -> Option<PathBuf> {
        let path = match &model.origin {
            Origin::File(path) | Origin::Folder(path) => std::fs::canonicalize(path).ok()?,
            Origin::Demo(_) => return None,
        };
        let hash = fnv1a(path.as_os_str().as_encoded_bytes(), START);
        Some(self.folder.join(format!("{hash:016x}.{ENDING}")))
    }

    /// The profiles of a model, one per tensor, when they are there and are of exactly this model. A file of this model that
    /// holds anything else is deleted: it would be refused for ever.
    #[must_use]
    pub fn load(&self, model: &Model) -> Option<Vec<Option<Arc<Profile>>>> {
        let path = self.file_of(model)?;
        let found = std::fs::symlink_metadata(&path).ok()?;
        // A pipe would block for ever.
        let profiles = if found.is_file() && found.len() <= MOST_OF_ONE { read(&path, model) } else { None };
        if profiles.is_some() {
            // Used just now: the last to go. A read-only cache still serves.
            drop(File::open(&path).and_then(|file| file.set_modified(SystemTime::now())));
        } else {
            drop(std::fs::remove_file(&path));
        }
        profiles
    }

    /// Keeps the profiles of a model. What cannot be kept is not: a cache may fail, and nobody need know.
    pub fn store(&self, model: &Model, profiles: &[Option<Arc<Profile>>]) {
        let complete = model.tensors.iter().zip(profiles).all(|(t, p)| p.is_some() || !t.dtype.is_float());
        if !complete || profiles.iter().flatten().any(|profile| profile.coarse) {
            return;
        }
        let (Some(path), Some(key)) = (self.file_of(model), key(model)) else { return };
        let part = path.with_extension(format!("{}.part", std::process::id()));
        let write = || {
            std::fs::create_dir_all(&self.folder)?;
            let length = write(File::create(&part)?, &key, profiles)?;
            self.make_room(length, &[&path, &part])?;
            // Beside first, so that nobody ever reads half a file.
            std::fs::rename(&part, &path)
        };
        if write().is_err() {
            drop(std::fs::remove_file(&part));
        }
    }

    /// Deletes what was used longest ago until `wanted` more bytes fit.
    fn make_room(&self, wanted: u64, keep: &[&Path]) -> Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            let path = entry.path();
            let ours = path.extension().is_some_and(|e| e == ENDING) || is_left_over(&path);
            if let (true, Ok(data)) = (ours && !keep.contains(&path.as_path()), entry.metadata()) {
                files.push((data.modified().unwrap_or(SystemTime::UNIX_EPOCH), data.len(), path));
            }
        }
        files.sort();
        let mut held: u64 = files.iter().map(|file| file.1).sum();
        for (_, length, path) in files {
            if held + wanted <= MOST {
                break;
            }
            std::fs::remove_file(path)?;
            held -= length;
        }
        Ok(())
    }
}

/// Profiles from a file, if every byte of it is right.
fn read(path: &Path, model: &Model) -> Option<Vec<Option<Arc<Profile>>>> {
    let file = File::open(path).ok()?;
    let left = file.metadata().ok()?.len();
    let mut records = Records { file: BufReader::new(file), left, number: 0, buffer: Vec::new() };
    if records.bytes(MAGIC.len() as u64)? != MAGIC || records.next()? != key(model)? {
        return None;
    }
    let mut profiles = Vec::with_capacity(model.tensors.len());
    for tensor in &model.tensors {
        let mut reader = Reader::new(records.next()?);
        let there = !reader.is_done();
        let profile = if there { Some(codec::read(&mut reader, tensor.elements() as u64)?) } else { None };
        if !reader.is_done() {
            return None;
        }
        profiles.push(profile.map(Arc::new));
    }
    (records.left == 0).then_some(profiles)
}

/// A file being read, a record at a time.
struct Records {
    file: BufReader<File>,
    /// Bytes that are not read yet.
    left: u64,
    /// Records before this one.
    number: u64,
    buffer: Vec<u8>,
}

impl Records {
    /// The next bytes; `None` where there are not so many.
    fn bytes(&mut self, n: u64) -> Option<&[u8]> {
        self.left = self.left.checked_sub(n)?;
        self.buffer.resize(usize::try_from(n).ok()?, 0);
        self.file.read_exact(&mut self.buffer).ok()?;
        Some(&self.buffer)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.first_chunk().copied().map(u64::from_le_bytes)
    }

    /// The next record; `None` where it is not as it was written, or not in its place.
    fn next(&mut self) -> Option<&[u8]> {
        let (length, start) = (self.u64()?, START ^ self.number);
        let sum = checksum(self.bytes(length)?, start);
        let mut written = [0; 8];
        self.left = self.left.checked_sub(8)?;
        self.file.read_exact(&mut written).ok()?;
        self.number += 1;
        (u64::from_le_bytes(written) == sum).then_some(&self.buffer)
    }
}

/// Writes a whole file, and gives its length.
fn write(file: File, key: &[u8], profiles: &[Option<Arc<Profile>>]) -> Result<u64> {
    let mut out = BufWriter::new(file);
    out.write_all(MAGIC)?;
    let mut length = MAGIC.len() as u64;
    let mut put = |bytes: &[u8], number: u64| {
        length += bytes.len() as u64 + 16;
        if length > MOST_OF_ONE {
            return Err(Error::from(ErrorKind::FileTooLarge));
        }
        out.write_all(&(bytes.len() as u64).to_le_bytes())?;
        out.write_all(bytes)?;
        out.write_all(&checksum(bytes, START ^ number).to_le_bytes())
    };
    put(key, 0)?;
    let mut bytes = Vec::new();
    for (number, profile) in (1..).zip(profiles) {
        bytes.clear();
        profile.iter().for_each(|profile| codec::write(profile, &mut bytes));
        put(&bytes, number)?;
    }
    out.flush()?;
    Ok(length)
}

fn is_left_over(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "part")
}

/// What must be the same for a profile to be of this model; `None` when some shard has no identity.
fn key(model: &Model) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    let sample = super::sample_size(model) as u64;
    key.extend_from_slice(&sample.to_le_bytes());
    for shard in &model.shards {
        let identity = shard.identity()?;
        let since = identity.modified?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let path = std::fs::canonicalize(shard.path()).ok()?;
        let path = path.as_os_str().as_encoded_bytes();
        key.extend_from_slice(&(path.len() as u64).to_le_bytes());
        key.extend_from_slice(path);
        key.extend_from_slice(&identity.len.to_le_bytes());
        key.extend_from_slice(&since.as_nanos().to_le_bytes());
    }
    key.extend_from_slice(&header_hash(model).to_le_bytes());
    Some(key)
}

/// A hash of everything that the headers say of the tensors: names, dtypes, shapes, places, codings.
fn header_hash(model: &Model) -> u64 {
    model.tensors.iter().fold(START, |hash, t| {
        let kind = t.type_name();
        let said = format!("{:?} {kind} {:?} {} {:?} {:?}", t.name, t.shape, t.shard(), t.place(), t.coding);
        fnv1a(said.as_bytes(), hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_by_age_and_nothing_foreign_is_touched() {
        let folder = std::env::temp_dir().join(format!("spokeshave-cache-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let cache = Cache::in_folder(&folder);
        let make = |name: &str, age: u64| {
            let path = folder.join(name);
            let file = File::create(&path).unwrap();
            file.set_len(400 << 20).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
            path
        };
        let (old, new, foreign) = (make("a.profile", 100), make("b.profile", 10), make("c.txt", 1000));
        cache.make_room(300 << 20, &[&folder.join("d.profile")]).unwrap();
        assert!(!old.exists() && new.exists() && foreign.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
