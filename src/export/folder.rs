//! A folder model becomes a folder: the same shards and a fresh index, or one packed file; everything else in it comes along. So does
//! any model whose runtime wants a config beside the weights.

use super::atomic::{Temporary, TemporaryFolder};
use super::{Artifact, Error, Job, others, space};
use crate::estimate::estimate_model;
use crate::estimate::files::{FilePlan, INDEX, files, index_text};
use crate::formats::Source;
use crate::model::config::CONFIG;
use crate::model::{Config, Origin, Tensor};
use crate::recipe::{Target, runtime_config};
use std::io::Write;
use std::path::PathBuf;

/// What readers ask for beside the weights and the config.
const TOKENIZERS: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
    "generation_config.json",
    "preprocessor_config.json",
];

/// Writes a folder beside `out`, reads it back, compares, and gives it its name.
pub(super) fn export(job: &Job<'_>, needed: &mut u64) -> Result<Artifact, Error> {
    let Job { model, plan, out, control, .. } = *job;
    check_names(job)?;
    let folder = TemporaryFolder::beside(out)?;
    let estimate = estimate_model(model, plan, job.recipe, control)?;
    let others = others::of(model);
    *needed = estimate.bytes.unwrap_or_default() + others.copied.iter().map(|other| other.bytes).sum::<u64>();
    // Set aside in one piece, to hear whether it is there, and given back to be written.
    space::reserve(&mut Temporary::inside(&folder, ".room")?, *needed)?;
    control.expect(model.tensors.iter().map(Tensor::bytes).sum());
    let files: Vec<FilePlan> = files(model, plan);
    let mut written = Vec::new();
    for file in &files {
        let name = file.name.as_deref().unwrap_or("model.safetensors");
        let mut temporary = Temporary::inside(&folder, name)?;
        job.write_file(&estimate, &file.tensors, &mut temporary)?;
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
    others.copy(model, &folder, control)?;
    write_config(job, &folder)?;
    let (verification, mut notes) = job.check_written(&estimate, folder.path())?;
    job.check_before_renaming()?;
    folder.persist(out)?;
    let size = |name: String| {
        let path = out.join(name);
        let bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
        (path, bytes)
    };
    let files: Vec<(PathBuf, u64)> = written.into_iter().map(size).collect();
    notes.extend(others.note().into_iter().chain(config_missing(job)).chain(left_beside(job)));
    Ok(Artifact { out: out.to_path_buf(), files, verification, estimate, notes, shortage: None })
}

/// Writes the config anew where something that stands in it changed, or where a runtime needs one: a new file, because the copy
/// may be one that cannot be written to.
fn write_config(job: &Job<'_>, folder: &TemporaryFolder) -> Result<(), Error> {
    let values = runtime_config::values(job.model, job.plan);
    let own = job.model.config();
    if values.is_empty() || (own.is_none() && !job.plan.target.is_folder()) {
        return Ok(());
    }
    let fail = |source| Error::Io { path: job.out.join(CONFIG), doing: "writing", source };
    let copy = folder.path().join(CONFIG);
    let permissions = match std::fs::metadata(&copy) {
        Ok(metadata) => Some(metadata.permissions()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(fail(error)),
    };
    if permissions.is_some() {
        std::fs::remove_file(&copy).map_err(fail)?;
    }
    let text = own.map_or_else(|| Config::default().with(&values), |config| config.with(&values));
    let mut temporary = Temporary::inside(folder, CONFIG)?;
    temporary.file()?.write_all(text.as_bytes()).map_err(fail)?;
    if let Some(permissions) = permissions {
        // Where permissions cannot be set there are none to keep.
        drop(temporary.file()?.set_permissions(permissions));
    }
    temporary.leave()
}

/// What should be told of a folder that is made of a model without a config.
fn config_missing(job: &Job<'_>) -> Option<String> {
    let alone = job.plan.target.is_folder() && job.model.config().is_none();
    alone.then(|| {
        "no config.json stands beside this model: the one that was written says only how its codes are to be read; add it to the model's own".to_owned()
    })
}

/// What should be told of a folder that is made of one file: its readers ask for a tokenizer too.
fn left_beside(job: &Job<'_>) -> Option<String> {
    let Origin::File(file) = &job.model.origin else { return None };
    let there = |name: &&str| file.with_file_name(name).is_file();
    let names: Vec<&str> = TOKENIZERS.iter().copied().filter(there).collect();
    (!names.is_empty()).then(|| {
        format!(
            "not copied along: {}, which stand beside this file; open the folder to have them in it",
            names.join(", ")
        )
    })
}

/// Shards keep their names, and an index can only hold names that are text.
fn check_names(job: &Job<'_>) -> Result<(), Error> {
    let Origin::Folder(folder) = &job.model.origin else { return Ok(()) };
    if matches!(job.plan.target, Target::Packed | Target::Gguf) {
        return Ok(());
    }
    for path in job.model.shards.iter().map(Source::path) {
        if path.strip_prefix(folder).is_ok_and(|name| name.to_str().is_none()) {
            let what = "its name is not Unicode, and its copy bears the same; rename it, or take the packed target";
            return Err(Error::Layout { path: path.to_path_buf(), what: what.into() });
        }
    }
    Ok(())
}
