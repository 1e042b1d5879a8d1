//! What stands beside the weights of a folder model and comes along with it: config, tokenizer, subfolders; and what does not, and why.

use super::Error;
use super::atomic::{PREFIX, TemporaryFolder};
use crate::control::Control;
use crate::estimate::files::{INDEX, PYTORCH_INDEX};
use crate::model::config::OF_CODES;
use crate::model::{Model, Origin};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Folders within folders that are followed; deeper ones are nobody's model.
const DEEPEST: usize = 16;

/// Endings of weights that no loader of a folder like this asks for.
const OTHER_WEIGHTS: [&str; 9] =
    [".gguf", ".pth", ".pt", ".ckpt", ".onnx", ".onnx_data", ".onnx.data", ".h5", ".msgpack"];

/// Bytes that are copied between two looks at whether the work was cancelled.
const BLOCK: u64 = 64 << 20;

/// A file that comes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its path inside the folder.
    pub name: PathBuf,
    /// Its bytes.
    pub bytes: u64,
}

/// What a folder holds beside the weights that are written anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// What is copied.
    pub copied: Vec<Other>,
    /// What is not, with the reason.
    pub left: Vec<(PathBuf, &'static str)>,
}

/// The files beside a model's weights; none for a model that is no folder.
#[must_use]
pub fn of(model: &Model) -> Others {
    let mut others = Others::default();
    if let Origin::Folder(folder) = &model.origin {
        let shards: HashSet<&Path> = model.shards.iter().filter_map(|s| s.path().strip_prefix(folder).ok()).collect();
        look_into(folder, Path::new(""), &shards, &mut others);
        if model.is_assembled() {
            // They would be believed where the config says nothing of codes.
            let is_of_codes = |other: &Other| OF_CODES.iter().any(|(name, _)| other.name == Path::new(name));
            let left = others.copied.extract_if(.., |other| is_of_codes(other));
            others.left.extend(left.map(|other| (other.name, "it tells of codes that are stored otherwise now")));
        }
        others.copied.sort_by(|a, b| a.name.cmp(&b.name));
        others.left.sort();
    }
    others
}

fn look_into(folder: &Path, inside: &Path, shards: &HashSet<&Path>, others: &mut Others) {
    let Ok(items) = std::fs::read_dir(folder.join(inside)) else {
        return others.left.push((inside.to_path_buf(), "it cannot be looked into"));
    };
    for item in items.filter_map(Result::ok) {
        let (name, path) = (inside.join(item.file_name()), item.path());
        let text = item.file_name().to_string_lossy().into_owned();
        if shards.contains(name.as_path()) || text.starts_with(PREFIX) || is_index(&name) {
            continue;
        }
        let top = inside.as_os_str().is_empty();
        let is_link = item.file_type().is_ok_and(|kind| kind.is_symlink());
        // Links to files are followed: the hub's cache is made of them.
        let left = match std::fs::metadata(&path) {
            Err(_) if is_link => "a link to nothing",
            Err(_) => "it cannot be looked at",
            Ok(kind) if kind.is_dir() && is_link => "a link to a folder",
            Ok(kind) if kind.is_dir() && text.starts_with('.') => "a hidden folder",
            Ok(kind) if kind.is_dir() && inside.components().count() >= DEEPEST => "too deep",
            Ok(kind) if kind.is_dir() => {
                look_into(folder, &name, shards, others);
                continue;
            }
            Ok(kind) if !kind.is_file() => "not a file",
            Ok(_) if top && [".safetensors", ".spk"].iter().any(|end| text.ends_with(end)) => {
                "weights of another model"
            }
            // The same weights again, wherever they lie: `original/consolidated.00.pth`, `onnx/model.onnx_data`.
            Ok(_) if OTHER_WEIGHTS.iter().any(|end| text.ends_with(end)) => "weights in another format",
            Ok(_) if top && text.starts_with("pytorch_model") && text.ends_with(".bin") => {
                "weights in PyTorch's own format"
            }
            Ok(kind) => {
                others.copied.push(Other { name, bytes: kind.len() });
                continue;
            }
        };
        others.left.push((name, left));
    }
}

/// An index speaks of shards that are written anew.
fn is_index(name: &Path) -> bool {
    [INDEX, PYTORCH_INDEX].iter().any(|index| name == Path::new(index))
}

/// Copies a file with its permissions, and syncs it: it may be as large as the weights. `false` when it was cancelled.
fn copy_file(from: &Path, to: &Path, control: &Control) -> std::io::Result<bool> {
    let source = File::open(from)?;
    let mut copy = OpenOptions::new().write(true).create_new(true).open(to)?;
    loop {
        if control.is_cancelled() {
            return Ok(false);
        }
        if std::io::copy(&mut (&source).take(BLOCK), &mut copy)? == 0 {
            break;
        }
    }
    // Where permissions cannot be set there are none to keep.
    drop(copy.set_permissions(source.metadata()?.permissions()));
    copy.sync_all()?;
    Ok(true)
}

impl Others {
    /// Copies what comes along into the folder of an artifact.
    ///
    /// # Errors
    /// The first file that cannot be copied, or that the work was cancelled.
    pub(super) fn copy(&self, model: &Model, folder: &TemporaryFolder, control: &Control) -> Result<(), Error> {
        let Origin::Folder(source) = &model.origin else { return Ok(()) };
        for Other { name, .. } in &self.copied {
            let (from, to) = (source.join(name), folder.path().join(name));
            let fail = |e| Error::Io { path: from.clone(), doing: "copying it along", source: e };
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(fail)?;
            }
            if !copy_file(&from, &to, control).map_err(fail)? {
                return Err(crate::compress::Error::Cancelled.into());
            }
        }
        Ok(())
    }

    /// One sentence about what stays behind, if anything does.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        const SHOWN: usize = 6;
        let one = |(name, why): &(PathBuf, &str)| format!("{} ({why})", crate::formats::error::display_path(name));
        let mut shown: Vec<String> = self.left.iter().take(SHOWN).map(one).collect();
        if let more @ 1.. = self.left.len().saturating_sub(SHOWN) {
            shown.push(format!("{more} more"));
        }
        (!shown.is_empty()).then(|| format!("not copied along: {}", shown.join(", ")))
    }
}
