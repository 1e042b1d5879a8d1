//! Whether an artifact will fit, asked before the work: room is reserved where the file system can, and where it says no, nothing begins.
//!
//! Free space is a number to warn by, not one to refuse by: thin volumes, quotas and compressing file systems make it too
//! large or too small. What refuses is the file system itself, when it is asked to set the bytes aside.

use super::atomic::{PREFIX, Temporary, folder_of};
use super::{Error, others};
use crate::estimate::total;
use crate::model::Model;
use crate::recipe::{Plan, Recipe, Target};
use std::io::ErrorKind;
use std::path::Path;

/// An artifact that may not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Bytes that may be written, at most.
    pub needed: u64,
    /// Bytes that the file system says are free.
    pub free: u64,
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { needed, free } = self;
        write!(f, "it may not fit: up to {} to be written, {} free", bytes(*needed), bytes(*free))
    }
}

/// A number of bytes as it is read: in MiB where it is large.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const MIB: f64 = 1_048_576.0;
    if bytes < 1 << 20 { format!("{bytes} bytes") } else { format!("{:.1} MiB", bytes as f64 / MIB) }
}

/// Asks the file system of `out` for the least that an artifact will take, without reading a weight, and gives it back.
/// A warning comes when the most that it may take is more than what is free.
///
/// # Errors
/// When nothing can be written there, or the file system refuses the bytes.
pub fn foresee(model: &Model, plan: &Plan, recipe: &Recipe, out: &Path) -> Result<Option<Shortage>, Error> {
    let (least, most) = bounds(model, plan, recipe);
    let mut trial = Temporary::beside(out)?;
    if let Err(error) = reserve(&mut trial, least) {
        drop(trial);
        return Err(told(error, out, least));
    }
    drop(trial);
    Ok(free(&folder_of(out)).filter(|&free| free < most).map(|free| Shortage { needed: most, free }))
}

/// The least and the most bytes of an artifact, what is copied along included. They are one number unless values decide.
fn bounds(model: &Model, plan: &Plan, recipe: &Recipe) -> (u64, u64) {
    let estimate = total::bytes_only(model, plan, recipe);
    let beside: u64 = others::of(model).copied.iter().map(|other| other.bytes).sum();
    if let Some(bytes) = estimate.bytes {
        return (bytes + beside, bytes + beside);
    }
    // In `packed` a tensor of zeros is next to nothing; and no form is larger than codes of full width for every element.
    let least = estimate.tensors.iter().enumerate().map(|(i, estimate)| {
        let by_values = plan.target == Target::Packed && !plan.outcome(model, i).is_kept();
        if by_values { 0 } else { estimate.bytes() }
    });
    let most: u64 = estimate.tensors.iter().map(crate::estimate::TensorEstimate::bytes).sum();
    (least.sum::<u64>() + beside, most + beside)
}

/// Sets bytes aside for a file, behind its end. A file system that cannot do that is content.
///
/// # Errors
/// When it says that they are not there.
pub(super) fn reserve(temporary: &mut Temporary, bytes: u64) -> Result<(), Error> {
    let path = temporary.path().to_path_buf();
    match set_aside(temporary.file()?, bytes) {
        Err(source) if is_full(&source) => Err(Error::Io { path, doing: "setting room aside for it", source }),
        _ => Ok(()),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_aside(file: &std::fs::File, bytes: u64) -> std::io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    // Zero bytes are an invalid wish.
    if bytes > 0 { Ok(fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes)?) } else { Ok(()) }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_aside(_file: &std::fs::File, _bytes: u64) -> std::io::Result<()> {
    Ok(())
}

/// Bytes that this user may still write to a folder's file system, where the system tells.
#[must_use]
pub fn free(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let system = rustix::fs::statvfs(folder).ok()?;
        system.f_bavail.checked_mul(system.f_frsize)
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// What to say when writing failed, once the temporary is gone: of a full disk, how much was needed and how much is free; of
/// what went wrong with the temporary, the name that it would have got.
pub(super) fn told(error: Error, out: &Path, needed: u64) -> Error {
    let is_temporary = |path: &Path| path.iter().any(|part| part.to_string_lossy().starts_with(PREFIX));
    match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::FileTooLarge => {
            Error::TooLarge { path: out.to_path_buf(), needed }
        }
        Error::Io { source, .. } if is_full(&source) => {
            Error::DiskFull { path: out.to_path_buf(), needed, free: free(&folder_of(out)) }
        }
        Error::Io { path, doing, source } if is_temporary(&path) => {
            Error::Io { path: out.to_path_buf(), doing, source }
        }
        Error::Layout { path, what } if is_temporary(&path) => Error::Layout { path: out.to_path_buf(), what },
        other => other,
    }
}
