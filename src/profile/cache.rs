//! Profiles on disk, so that the second opening of a big model is instant.
//!
//! One file per model, named after its path, in a folder that may be deleted at any time. A file is believed only when its
//! version, its checksum and its whole key agree: the path, size, modification time and header of every shard. Anything
//! else is as if it were not there. The folder holds at most [`MOST`] bytes; what was used longest ago goes first.

use super::Profile;
use super::codec::{self, Reader};
use crate::model::{Model, Origin};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes in the folder at most.
pub const MOST: u64 = 1 << 30;
/// Bytes of one model's profiles at most.
const MOST_OF_ONE: usize = 512 << 20;
/// What every file begins with; the number is the version of everything that stands behind it.
const MAGIC: &[u8; 16] = b"spokeshave-prof8";
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
        let hash = fnv1a(path.as_os_str().as_encoded_bytes(), FNV_START);
        Some(self.folder.join(format!("{hash:016x}.{ENDING}")))
    }

    /// The profiles of a model, one per tensor, when they are there and are of exactly this model. A file of this model that
    /// holds anything else is deleted: it would be refused for ever.
    #[must_use]
    pub fn load(&self, model: &Model) -> Option<Vec<Option<Arc<Profile>>>> {
        let path = self.file_of(model)?;
        let found = std::fs::symlink_metadata(&path).ok()?;
        // A pipe would block for ever.
        let profiles = if found.is_file() && found.len() <= MOST_OF_ONE as u64 { read(&path, model) } else { None };
        if profiles.is_some() {
            // Used just now: the last to go. A read-only cache still serves.
            drop(std::fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now())));
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
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(key.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&key);
        bytes.extend_from_slice(&(profiles.len() as u64).to_le_bytes());
        for profile in profiles {
            bytes.push(u8::from(profile.is_some()));
            if let Some(profile) = profile {
                codec::write(profile, &mut bytes);
            }
            if bytes.len() > MOST_OF_ONE {
                return;
            }
        }
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        if self.make_room(bytes.len() as u64, &path).is_ok() {
            drop(write_beside(&path, &bytes));
        }
    }

    /// Deletes what was used longest ago until `wanted` more bytes fit.
    fn make_room(&self, wanted: u64, keep: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            let path = entry.path();
            let ours = path.extension().is_some_and(|e| e == ENDING) || is_left_over(&path);
            if let (true, Ok(data)) = (ours && path != keep, entry.metadata()) {
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
    let bytes = std::fs::read(path).ok()?;
    let (body, sum) = bytes.split_last_chunk::<8>()?;
    if u64::from_le_bytes(*sum) != checksum(body) {
        return None;
    }
    let mut reader = Reader::new(body);
    if reader.bytes(MAGIC.len())? != MAGIC {
        return None;
    }
    let key = key(model)?;
    let length = reader.len(1)?;
    if reader.bytes(length)? != key || reader.len(1)? != model.tensors.len() {
        return None;
    }
    let mut profiles = Vec::with_capacity(model.tensors.len());
    for tensor in &model.tensors {
        let there = reader.bytes(1)? == [1];
        let profile = if there { Some(codec::read(&mut reader, tensor.elements() as u64)?) } else { None };
        profiles.push(profile.map(Arc::new));
    }
    reader.is_done().then_some(profiles)
}

fn is_left_over(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "part")
}

/// Writes beside and renames, so that nobody ever reads half a file.
fn write_beside(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let written = std::fs::File::create(&part).and_then(|mut file| file.write_all(bytes));
    let done = written.and_then(|()| std::fs::rename(&part, path));
    if done.is_err() {
        drop(std::fs::remove_file(&part));
    }
    done
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
    model.tensors.iter().fold(FNV_START, |hash, t| {
        let said = format!("{:?} {:?} {:?} {} {:?} {:?}", t.name, t.dtype, t.shape, t.shard(), t.place(), t.coding);
        fnv1a(said.as_bytes(), hash)
    })
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv1a(bytes: &[u8], start: u64) -> u64 {
    bytes.iter().fold(start, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// FNV-1a over words rather than bytes: eight times as fast, and as good against damage.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    let hash = words.iter().fold(FNV_START, |hash, &word| step(hash, u64::from_le_bytes(word)));
    rest.iter().fold(hash, |hash, &byte| step(hash, u64::from(byte)))
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
            let file = std::fs::File::create(&path).unwrap();
            file.set_len(400 << 20).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
            path
        };
        let (old, new, foreign) = (make("a.profile", 100), make("b.profile", 10), make("c.txt", 1000));
        cache.make_room(300 << 20, &folder.join("d.profile")).unwrap();
        assert!(!old.exists() && new.exists() && foreign.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_changed_bit_changes_the_checksum() {
        let bytes: Vec<u8> = (0..1003_u32).map(|i| (i * 7) as u8).collect();
        let sum = checksum(&bytes);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(checksum(&other), sum);
        }
    }
}
