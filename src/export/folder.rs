//! A folder model becomes a folder: the same shards and a fresh index, or one packed file; everything else in it comes along.

use super::atomic::{Temporary, TemporaryFolder};
use super::{Artifact, Error, check_destination, check_written, write_file};
use crate::control::Control;
use crate::estimate::estimate_model;
use crate::estimate::files::{FilePlan, INDEX, files, index_text};
use crate::model::{Model, Origin, Tensor};
use crate::recipe::{Plan, Recipe};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes a folder beside `out`, reads it back, compares, and gives it its name.
pub(super) fn export(
    model: &Model,
    plan: &Plan,
    recipe: &Recipe,
    out: &Path,
    force: bool,
    control: &Control,
) -> Result<Artifact, Error> {
    let folder = TemporaryFolder::beside(out)?;
    let estimate = estimate_model(model, plan, recipe, control)?;
    control.expect(model.tensors.iter().map(Tensor::bytes).sum());
    let files: Vec<FilePlan> = files(model, plan.target);
    let mut written = Vec::new();
    for file in &files {
        let name = file.name.as_deref().unwrap_or("model.safetensors");
        let mut temporary = Temporary::inside(&folder, name)?;
        write_file(model, plan, recipe, &estimate, &file.tensors, &mut temporary, control)?;
        temporary.leave()?;
        written.push(name.to_owned());
    }
    // The index goes last: a folder without one is visibly incomplete.
    if let Some(text) = index_text(model, plan, &files) {
        let mut temporary = Temporary::inside(&folder, INDEX)?;
        let fail = |source| Error::Io { path: out.join(INDEX), doing: "writing", source };
        temporary.file()?.write_all(text.as_bytes()).map_err(fail)?;
        temporary.leave()?;
        written.push(INDEX.to_owned());
    }
    copy_others(model, &folder)?;
    let verification = check_written(model, plan, &estimate, folder.path(), out, control)?;
    check_destination(model, out, force)?;
    folder.persist(out)?;
    let size = |name: String| {
        let path = out.join(name);
        let bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
        (path, bytes)
    };
    let files: Vec<(PathBuf, u64)> = written.into_iter().map(size).collect();
    Ok(Artifact { out: out.to_path_buf(), files, verification, estimate })
}

/// Copies what is not weights: config, tokenizer and whatever else a runtime looks for.
fn copy_others(model: &Model, folder: &TemporaryFolder) -> Result<(), Error> {
    let Origin::Folder(source) = &model.origin else { return Ok(()) };
    let fail = |path: &Path, source| Error::Io { path: path.to_path_buf(), doing: "copying it along", source };
    for item in std::fs::read_dir(source).map_err(|e| fail(source, e))? {
        let path = item.map_err(|e| fail(source, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let weights = name.ends_with(".safetensors") || name.ends_with(".spk") || name == INDEX;
        if weights || name.starts_with(super::atomic::PREFIX) || !path.is_file() {
            continue;
        }
        let copy = folder.path().join(path.file_name().unwrap_or_default());
        std::fs::copy(&path, &copy).map_err(|e| fail(&path, e))?;
    }
    Ok(())
}

/// Lets a folder be replaced only when nothing in it would be lost: it is empty, or it holds weights that carry a recipe
/// of ours, the index, and files that the source has too.
pub(super) fn check_replaceable(model: &Model, out: &Path) -> Result<(), Error> {
    let foreign = |found: &Path| Err(Error::ForeignFolder { folder: out.to_path_buf(), found: found.to_path_buf() });
    let fail = |source| Error::Io { path: out.to_path_buf(), doing: "looking into the folder to be replaced", source };
    let Origin::Folder(source) = &model.origin else { return Ok(()) };
    for item in std::fs::read_dir(out).map_err(fail)? {
        let path = item.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default();
        let weights = path.extension().is_some_and(|e| e == "safetensors" || e == "spk");
        let ours = if weights {
            let opened = crate::model::open(&path, &crate::model::OpenOptions::default());
            opened.is_ok_and(|model| model.embedded_recipe().is_some())
        } else {
            path.is_file() && (name == INDEX || source.join(name).is_file())
        };
        if !ours {
            return foreign(&path);
        }
    }
    Ok(())
}
