//! A plan becomes a file: written beside its final place, re-opened, compared with the plan, and only then given its name.
//!
//! ```text
//! estimate ─► temporary beside OUT ─► payloads ─► sync ─► re-open, compare ─► rename ─► sync the folder
//! ```
//!
//! At no moment does OUT's name point to a file that is not whole. The source is never written: OUT is compared with every
//! file of the model by path and by inode. A source that changes meanwhile is looked for around every pass and once more
//! before the rename, and then nothing gets the name.
//!
//! | file | what it settles |
//! |---|---|
//! | this, `folder` | the order of the work, for a file and for a folder |
//! | `destination` | where an artifact may go |
//! | [`space`] | whether it will fit |
//! | [`others`] | what comes along with a folder's weights |
//! | [`atomic`], [`stale`] | temporaries: made, renamed, deleted; left behind and found again |
//! | `dense`, `assembled`, `packed`, `packed_tensor`, `gguf`, `stretch`, `output` | the bytes |
//! | `verify`, `verify_gguf` | reading back |
//! | `masks` | the zeros alone, and another checkpoint under them |

mod assembled;
pub mod atomic;
mod dense;
mod destination;
mod folder;
mod gguf;
mod masks;
pub mod others;
mod output;
mod packed;
mod packed_tensor;
pub mod space;
pub mod stale;
mod stretch;
mod verify;
mod verify_gguf;

pub use destination::{check_destination, check_not_input, check_not_source, check_replaced, is_folder};
pub use masks::{Masks, Rewound, export_masks, export_rewound};
pub use space::Shortage;
pub use verify::{TensorCheck, Verification, plan_of_artifact, verify};

use crate::compress;
use crate::control::Control;
use crate::estimate::{ModelEstimate, estimate_model};
use crate::formats;
use crate::formats::error::{display_path, quoted};
use crate::model::{self, Model, OpenOptions, Origin};
use crate::recipe::{self, Plan, Recipe, Target};
use std::collections::BTreeSet;
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
    #[error("{} is read by this very command; choose another name", display_path(.0))]
    OverInput(PathBuf),
    #[error("{} lies inside the folder that is being read, and would become a part of that model; choose a place outside of it", display_path(.0))]
    InsideSource(PathBuf),
    #[error("{} holds {}, which is being read; choose another name", display_path(folder), display_path(found))]
    HoldsInput { folder: PathBuf, found: PathBuf },
    #[error("{}: its folder {} {what}", display_path(out), display_path(folder))]
    NoFolder { out: PathBuf, folder: PathBuf, what: &'static str },
    #[error("{} is no name; give the name of what is to be made, in a folder that is there", quoted(&.0.to_string_lossy()))]
    NoName(PathBuf),
    #[error(
        "{}: the disk is full: {} needed, {}; nothing was written",
        display_path(path),
        space::bytes(*needed),
        free.map_or_else(|| "less free".to_owned(), |free| format!("{} free", space::bytes(free)))
    )]
    DiskFull { path: PathBuf, needed: u64, free: Option<u64> },
    #[error(
        "{}: {} needed, and no file may be that large here (a limit of the shell, `ulimit -f`, or of the file system); nothing was written",
        display_path(path),
        space::bytes(*needed)
    )]
    TooLarge { path: PathBuf, needed: u64 },
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
        "{}: what was written is not what was planned (tensor {}: {what}); it was deleted",
        display_path(path),
        quoted(tensor)
    )]
    Mismatch { path: PathBuf, tensor: String, what: String },
    #[error("there is no mask to be written: {what}; masks come from prune, nm, block, random and mask")]
    NoMask { what: String },
    #[error("{path} is not the same network: {what}; rewind to a checkpoint of the same names and shapes")]
    OtherNetwork { path: String, what: String },
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
    /// What should be told: what was not copied along, a link that was replaced.
    pub notes: Vec<String>,
    /// That the disk looked too small before the work.
    pub shortage: Option<Shortage>,
}

/// One export: what is written, and where.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What is read.
    pub model: &'a Model,
    /// What is made of it.
    pub plan: &'a Plan,
    /// The recipe that the plan comes from.
    pub recipe: &'a Recipe,
    /// Where it goes.
    pub out: &'a Path,
    /// Whether what is there may be replaced.
    pub force: bool,
    /// Who may ask how far it is, and stop it.
    pub control: &'a Control,
}

/// Writes a plan to its place, reads it back and compares.
///
/// # Errors
/// Whatever went wrong; `out` is then what it was before.
pub fn export(job: &Job<'_>) -> Result<Artifact, Error> {
    job.check_place()?;
    let out = &destination::bare(job.out);
    let job = &Job { out, ..*job };
    let Job { model, plan, recipe, .. } = *job;
    let link = destination::link_note(out);
    let shortage = space::foresee(model, plan, recipe, out)?;
    let mut needed = 0;
    let artifact =
        if is_folder(model, plan.target) { folder::export(job, &mut needed) } else { job.export_file(&mut needed) };
    let mut artifact = artifact.map_err(|error| space::told(error, out, needed))?;
    artifact.notes.extend(link);
    artifact.notes.extend(plan.told(model));
    artifact.notes.extend(config_note(model, plan));
    artifact.notes.extend(name_note(model, plan.target, out));
    artifact.shortage = shortage;
    Ok(artifact)
}

/// What the config beside a model that is one file must say from now on: it does not come along with the file.
fn config_note(model: &Model, plan: &Plan) -> Option<String> {
    let numbers: Vec<String> = plan.removals.config.iter().map(|(key, number)| format!("{key} {number}")).collect();
    let alone = model.gguf.is_none()
        && !is_folder(model, plan.target)
        && matches!(model.origin, Origin::File(_))
        && !numbers.is_empty();
    alone.then(|| format!("a config.json beside this file must say {}", numbers.join(", ")))
}

/// What a name promises that the artifact is not: readers go by it.
fn name_note(model: &Model, target: Target, out: &Path) -> Option<String> {
    const KNOWN: [&str; 9] = ["safetensors", "spk", "gguf", "onnx", "pt", "pth", "bin", "npy", "npz"];
    let ending = out.extension()?.to_str()?.to_ascii_lowercase();
    let shown = display_path(out);
    match KNOWN.contains(&ending.as_str()) {
        true if is_folder(model, target) => Some(format!(
            "{shown} is a folder whatever its name says, as the model is one or the target needs a config"
        )),
        true if ending != target.extension() => {
            Some(format!("{shown} holds {}, whatever its name says", target.name()))
        }
        _ => None,
    }
}

impl Job<'_> {
    /// Refuses a place over what is read, or over what may not be replaced.
    fn check_place(&self) -> Result<(), Error> {
        check_destination(self.model, self.plan.target, self.out, self.force)?;
        destination::check_not_masks(self.plan, self.out)
    }

    fn export_file(&self, needed: &mut u64) -> Result<Artifact, Error> {
        // First of all the file: a folder that cannot be written is found out before an hour of work.
        let mut temporary = atomic::Temporary::beside(self.out)?;
        let estimate = estimate_model(self.model, self.plan, self.recipe, self.control)?;
        *needed = estimate.bytes.unwrap_or_default();
        space::reserve(&mut temporary, *needed)?;
        self.control.expect(self.model.tensors.iter().map(model::Tensor::bytes).sum());
        self.write_file(&estimate, &self.plan.written(self.model), &mut temporary)?;
        temporary.finish_writing()?;
        let (verification, notes) = self.check_written(&estimate, temporary.path())?;
        self.check_before_renaming()?;
        temporary.persist(self.out)?;
        let files = vec![(self.out.to_path_buf(), estimate.bytes.unwrap_or_default())];
        Ok(Artifact { out: self.out.to_path_buf(), files, verification, estimate, notes, shortage: None })
    }

    /// Writes one file of an artifact: `tensors` in the plan's target.
    fn write_file(
        &self,
        estimate: &ModelEstimate,
        tensors: &[usize],
        temporary: &mut atomic::Temporary,
    ) -> Result<(), Error> {
        let Self { model, plan, recipe, control, .. } = *self;
        match plan.target {
            Target::Packed => packed::write(model, plan, recipe, estimate, temporary, control),
            Target::Gguf => gguf::write(model, plan, recipe, temporary, control),
            _ => dense::write(model, plan, recipe, tensors, temporary, control),
        }
    }

    /// Re-opens what was written at `path`, in the way that the source is read, and compares it with the plan, value by
    /// value and to the byte. Gives what should be told of it, too.
    fn check_written(&self, estimate: &ModelEstimate, path: &Path) -> Result<(Verification, Vec<String>), Error> {
        let options = OpenOptions { access: self.model.access, ..OpenOptions::default() };
        let written = model::open(path, &options)?;
        let verification = verify(self.model, &written, self.plan, self.control)?;
        let mismatch = |tensor: String, what| Error::Mismatch { path: self.out.to_path_buf(), tensor, what };
        if let Some(tensor) = self.other_by_recipe(&written)? {
            return Err(mismatch(tensor, "the recipe inside makes another one of it".into()));
        }
        if let Some(bad) = verification.tensors.iter().find(|t| !t.ok) {
            let by = bad.max_abs_difference.map(|difference| format!(", by {difference:e} at most"));
            let what = format!("{}{}", bad.note.unwrap_or_default(), by.unwrap_or_default());
            return Err(mismatch(bad.name.clone(), what));
        }
        if estimate.bytes != Some(written.bytes) {
            let planned = estimate.bytes.unwrap_or_default();
            return Err(mismatch("(all)".into(), format!("{planned} bytes were planned, {} written", written.bytes)));
        }
        let told = [assembled::joined_scales(&written)?, assembled::read_as_bf16(self.model, self.plan)];
        Ok((verification, told.into_iter().flatten().collect()))
    }

    /// The first tensor of which the recipe inside what was written would make something else than the plan does: whoever verifies
    /// it later has that recipe alone.
    fn other_by_recipe(&self, written: &Model) -> Result<Option<String>, Error> {
        let (_, again) = plan_of_artifact(self.model, written)?;
        let pools = |plan: &'_ Plan| -> BTreeSet<Vec<usize>> { plan.pools.values().cloned().collect() };
        let repooled = pools(self.plan).symmetric_difference(&pools(&again)).find_map(|pool| pool.first().copied());
        let same = |&i: &usize| {
            self.plan.lasting(i).embedded() == again.lasting(i).embedded()
                && self.plan.removals.fingerprint(i) == again.removals.fingerprint(i)
        };
        let other = repooled.or_else(|| (0..self.model.tensors.len()).find(|i| !same(i)));
        // Masks must be found again in what was written, under the names that it has there.
        let masked = |i: usize| matches!(again.assignments[i].stored.prune, Some(recipe::Prune::Mask { .. }));
        drop(compress::Joint::masks_alone(self.model, &again, masked)?);
        Ok(other.map(|i| self.model.tensors[i].name.clone()))
    }

    /// The last look before the name is given: at the destination, the source, and whether this is still wanted.
    fn check_before_renaming(&self) -> Result<(), Error> {
        self.check_place()?;
        if self.control.is_cancelled() {
            return Err(compress::Error::Cancelled.into());
        }
        Ok(self.model.check_unchanged()?)
    }
}
