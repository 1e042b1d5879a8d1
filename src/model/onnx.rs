//! An ONNX model: one file, or one with its values in other files beside it ("external data").
//!
//! Where those lie is text in the model, written by who made it, so it is held to the rules of ONNX's own checker
//! (`resolve_external_data_location` in onnx/checker.cc): a relative path without `..`, to a regular file that is not reached
//! by a link out of the model's folder. A model that is itself a link, as in Hugging Face's cache, may have its data beside what
//! it leads to.

use super::open::assemble;
use super::{Format, Model, OpenOptions, Origin};
use crate::formats::error::{display_path, printable, quoted};
use crate::formats::onnx::{self, Outside};
use crate::formats::{Error, ErrorKind, Source, Table};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Files of one model at most; some exporters write one for each tensor.
const MOST_FILES: usize = 10_000;

/// Makes a model of an ONNX file that was read, and of the files that hold its values.
pub(super) fn open(path: &Path, source: Source, mut table: Table, options: &OpenOptions) -> Result<Model, Error> {
    let mut files: BTreeMap<String, Vec<Outside>> = BTreeMap::new();
    for tensor in table.onnx.take().map_or_else(Vec::new, |head| head.outside) {
        files.entry(tensor.at.location.clone()).or_default().push(tensor);
    }
    if files.len() > MOST_FILES {
        let what =
            format!("its values lie in {} files, at most {MOST_FILES} are read; the file is damaged", files.len());
        return Err(wrong(path, "external data", what));
    }
    let mut shards = vec![(source, table)];
    for (location, tensors) in files {
        let file = find(path, &location).map_err(|what| {
            let name = tensors.first().map_or("", |tensor| &tensor.name);
            wrong(path, &format!("tensor {}", quoted(name)), what)
        })?;
        let source = Source::open(&file, options.access)?;
        let table = onnx::read_outside(&source, tensors, &options.limits)?;
        shards.push((source, table));
    }
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
    let bytes = shards.iter().map(|(source, _)| source.len()).sum();
    assemble(printable(&name), Origin::File(path.to_path_buf()), Format::Onnx, shards, bytes, Vec::new())
}

fn wrong(path: &Path, place: &str, what: String) -> Error {
    Error::new(path, ErrorKind::Container { format: "ONNX", place: place.into(), what })
}

/// The file that a model's text leads to, or why it is not opened.
fn find(model: &Path, location: &str) -> Result<PathBuf, String> {
    let refused = |why: &str| {
        format!(
            "its values are said to lie in {}, {why}; do not trust this file, or save it again with its data beside it",
            quoted(location)
        )
    };
    let mut parts = Path::new(location).components().filter(|part| *part != Component::CurDir).peekable();
    if parts.peek().is_none() {
        return Err(refused("which names no file"));
    }
    for part in parts {
        match part {
            Component::Normal(_) => {}
            Component::ParentDir => return Err(refused("which leaves the model's folder")),
            _ => return Err(refused("which is not a path from the model's folder on")),
        }
    }
    let folder = match model.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let file = folder.join(location);
    let real = file.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!(
            "its values lie in {}, which is missing; download it too and put it beside the model",
            display_path(&file)
        ),
        _ => format!("its values lie in {}, which cannot be opened: {error}", display_path(&file)),
    })?;
    let behind = model.canonicalize().ok().and_then(|real| real.parent().map(Path::to_path_buf));
    let inside = [folder.canonicalize().ok(), behind].into_iter().flatten().any(|folder| real.starts_with(folder));
    if !inside {
        return Err(refused("a link that leaves the model's folder"));
    }
    Ok(file)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn data_is_found_beside_the_model_and_nowhere_else() {
        let top = std::env::temp_dir().join(format!("spokeshave-onnx-{}", std::process::id()));
        let folder = top.join("model");
        std::fs::create_dir_all(folder.join("deep")).unwrap();
        std::fs::create_dir_all(top.join("blobs")).unwrap();
        let model = folder.join("m.onnx");
        for file in [
            &model,
            &folder.join("w.data"),
            &folder.join("deep/w.data"),
            &top.join("secret"),
            &top.join("blobs/a"),
            &top.join("blobs/b"),
        ] {
            std::fs::write(file, b"x").unwrap();
        }
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
        link("../secret", "out");
        link("w.data", "in");
        link("..", "up");
        link("../blobs/a", "cached.onnx");
        link("../blobs/b", "cached.data");
        for good in ["w.data", "./w.data", "deep/w.data", "in", "m.onnx"] {
            assert_eq!(find(&model, good), Ok(folder.join(good)), "{good}");
        }
        for (bad, words) in [
            ("../secret", "leaves the model's folder"),
            ("deep/../w.data", "leaves the model's folder"),
            ("/etc/passwd", "not a path from the model's folder on"),
            (".", "names no file"),
            ("out", "a link that leaves"),
            ("up/secret", "a link that leaves"),
            ("cached.data", "a link that leaves"),
            ("none", "which is missing; download it too"),
            ("a\0b", "cannot be opened"),
        ] {
            let said = find(&model, bad).unwrap_err();
            assert!(said.contains(words), "{bad}: {said}");
        }
        // Both are links into one folder, as in a cache of downloads.
        assert_eq!(find(&folder.join("cached.onnx"), "cached.data"), Ok(folder.join("cached.data")));
        std::fs::remove_dir_all(&top).unwrap();
    }
}
