//! A plan becomes a file: written beside its final place, re-opened, compared with the plan, and only then given its name.
//!
//! ```text
//! estimate ─► temporary beside OUT ─► payloads ─► sync ─► re-open, compare ─► rename ─► sync the folder
//! ```
//!
//! At no moment does OUT's name point to a file that is not whole. The source is never written: OUT is compared with every
//! file of the model by path and by inode.

pub mod atomic;
mod dense;
mod folder;
mod output;
mod packed;
pub mod stale;
mod verify;

pub use verify::{TensorCheck, Verification, plan_of_artifact, verify};

use crate::compress;
use crate::control::Control;
use crate::estimate::{ModelEstimate, estimate_model};
use crate::formats;
use crate::formats::error::display_path;
use crate::model::{self, Model, OpenOptions, Origin};
use crate::recipe::{self, Plan, Recipe, Target};
use std::path::{Path, PathBuf};

/// Why nothing was written. Whatever failed, OUT is as it was.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation; fields are named in it")]
pub enum Error {
    #[error(transparent)]
    Compress(#[from] compress::Error),
    #[error(transparent)]
    Format(#[from] formats::Error),
    #[error(transparent)]
    Recipe(#[from] recipe::Error),
    #[error("{}: {doing}: {source}", display_path(path))]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error },
    #[error("{} exists; choose another name, or allow it to be replaced (--force)", display_path(.0))]
    Exists(PathBuf),
    #[error("{} is a file of the model that is being read; choose another name", display_path(.0))]
    OverSource(PathBuf),
    #[error("{} is a device or a pipe, not a file; give the name of a file", display_path(.0))]
    Device(PathBuf),
    #[error(
        "{} holds {}, which is not part of a Spokeshave artifact; it is not replaced, choose another name",
        display_path(folder),
        display_path(found)
    )]
    ForeignFolder { folder: PathBuf, found: PathBuf },
    #[error("{} is a folder; give the name of a file", display_path(.0))]
    Folder(PathBuf),
    #[error("{} is a file; a folder model is exported to a folder", display_path(.0))]
    NotAFolder(PathBuf),
    #[error("{}: it cannot be written: {what}", display_path(path))]
    Layout { path: PathBuf, what: String },
    #[error(
        "{}: what was written is not what was planned (tensor {tensor:?}: {what}); it was deleted",
        display_path(path)
    )]
    Mismatch { path: PathBuf, tensor: String, what: String },
    #[error("{}: carries no Spokeshave recipe, so there is nothing to verify it against; use compare", display_path(.0))]
    NoRecipe(PathBuf),
}

/// What was exported, and what was found when it was read back.
#[derive(Debug)]
pub struct Artifact {
    /// Where it is.
    pub out: PathBuf,
    /// Every file and its bytes.
    pub files: Vec<(PathBuf, u64)>,
    /// What reading it back showed.
    pub verification: Verification,
    /// What was promised.
    pub estimate: ModelEstimate,
}

/// Writes a plan to `out`, reads it back and compares.
///
/// # Errors
/// Whatever went wrong; `out` is then what it was before.
pub fn export(
    model: &Model,
    plan: &Plan,
    recipe: &Recipe,
    out: &Path,
    force: bool,
    control: &Control,
) -> Result<Artifact, Error> {
    check_destination(model, out, force)?;
    if matches!(model.origin, Origin::Folder(_)) {
        return folder::export(model, plan, recipe, out, force, control);
    }
    // First of all the file: a folder that cannot be written is found out before an hour of work.
    let mut temporary = atomic::Temporary::beside(out)?;
    let estimate = estimate_model(model, plan, recipe, control)?;
    control.expect(model.tensors.iter().map(model::Tensor::bytes).sum());
    let all: Vec<usize> = (0..model.tensors.len()).collect();
    write_file(model, plan, recipe, &estimate, &all, &mut temporary, control)?;
    temporary.finish_writing()?;
    let verification = check_written(model, plan, &estimate, temporary.path(), out, control)?;
    check_destination(model, out, force)?;
    temporary.persist(out)?;
    let files = vec![(out.to_path_buf(), estimate.bytes.unwrap_or_default())];
    Ok(Artifact { out: out.to_path_buf(), files, verification, estimate })
}

/// Writes one file of an artifact: `tensors` in the plan's target.
fn write_file(
    model: &Model,
    plan: &Plan,
    recipe: &Recipe,
    estimate: &ModelEstimate,
    tensors: &[usize],
    temporary: &mut atomic::Temporary,
    control: &Control,
) -> Result<(), Error> {
    match plan.target {
        Target::Packed => packed::write(model, plan, recipe, estimate, temporary, control),
        _ => dense::write(model, plan, recipe, tensors, temporary, control),
    }
}

/// Re-opens what was written at `path` and compares it with the plan, value by value and to the byte.
fn check_written(
    model: &Model,
    plan: &Plan,
    estimate: &ModelEstimate,
    path: &Path,
    out: &Path,
    control: &Control,
) -> Result<Verification, Error> {
    model.check_unchanged()?;
    let written = model::open(path, &OpenOptions::default())?;
    let verification = verify(model, &written, plan, control)?;
    if let Some(bad) = verification.tensors.iter().find(|t| !t.ok) {
        let what = format!("largest difference {:e}", bad.max_abs_difference.unwrap_or(f64::NAN));
        return Err(Error::Mismatch { path: out.to_path_buf(), tensor: bad.name.clone(), what });
    }
    if estimate.bytes != Some(written.bytes) {
        let what = format!("{} bytes were planned, {} written", estimate.bytes.unwrap_or_default(), written.bytes);
        return Err(Error::Mismatch { path: out.to_path_buf(), tensor: "(all)".into(), what });
    }
    Ok(verification)
}

/// Refuses a destination that is a folder, a file of the source in any disguise, or there already.
///
/// # Errors
/// Which of these it is.
pub fn check_destination(model: &Model, out: &Path, force: bool) -> Result<(), Error> {
    let Ok(metadata) = std::fs::metadata(out) else {
        // A dangling link is there all the same: renaming would replace it.
        let link = out.symlink_metadata().is_ok();
        return if link && !force { Err(Error::Exists(out.to_path_buf())) } else { Ok(()) };
    };
    if let Origin::Folder(source) = &model.origin {
        if !metadata.is_dir() {
            return Err(Error::NotAFolder(out.to_path_buf()));
        }
        // Replacing a folder that holds the source, or lies over it, would delete what is being read.
        let (out_path, source) = (out.canonicalize().ok(), source.canonicalize().ok());
        if out_path.zip(source).is_none_or(|(out, source)| source.starts_with(&out)) {
            return Err(Error::OverSource(out.to_path_buf()));
        }
        if force {
            folder::check_replaceable(model, out)?;
        }
    } else if metadata.is_dir() {
        return Err(Error::Folder(out.to_path_buf()));
    } else if !metadata.is_file() {
        return Err(Error::Device(out.to_path_buf()));
    }
    let identity = formats::source::Identity::of(&metadata);
    let canonical = out.canonicalize().ok();
    let is_source = |shard: &formats::Source| {
        let same_node = shard.identity().is_some_and(|i| i.node.is_some() && i.node == identity.node);
        same_node || (canonical.is_some() && shard.path().canonicalize().ok() == canonical)
    };
    if model.shards.iter().any(is_source) {
        return Err(Error::OverSource(out.to_path_buf()));
    }
    if force { Ok(()) } else { Err(Error::Exists(out.to_path_buf())) }
}
