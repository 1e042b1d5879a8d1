//! A folder in the Hugging Face layout: one file, or shards behind an index that is believed only as far as it can be checked.

use super::open::{assemble, read_table};
use super::{Format, Model, OpenOptions, Origin};
use crate::formats::error::{display_path, printable};
use crate::formats::json::{Json, JsonError};
use crate::formats::{Error, ErrorKind, Source, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
/// Bytes of an index that are read at most; it lists names and file names only.
const INDEX_BYTES: u64 = 100_000_000;

/// Opens a folder: its index, unless a single file also stands there; else its safetensors files.
pub(super) fn open(folder: &Path, options: &OpenOptions) -> Result<Model, Error> {
    let (index, single) = (folder.join(INDEX), folder.join(SINGLE));
    let mut warnings = Vec::new();
    let mut index_bytes = 0;
    let mut wanted: Option<BTreeMap<String, String>> = None;
    let packed = folder.join("model.spk");
    if packed.is_file() && !single.is_file() && !index.is_file() {
        return super::open::packed_in_folder(folder, &packed, options);
    }
    let files = if single.is_file() {
        if index.is_file() {
            warnings.push(format!("{SINGLE} stands beside {INDEX}; the single file was opened, the index left alone"));
        }
        vec![single]
    } else if index.is_file() {
        let (map, bytes) = read_index(&index, options)?;
        index_bytes = bytes;
        let files: BTreeSet<&String> = map.values().collect();
        let files: Vec<PathBuf> = files.into_iter().map(|file| folder.join(file)).collect();
        let missing: Vec<&PathBuf> = files.iter().filter(|f| !f.is_file()).collect();
        if let Some(first) = missing.first() {
            let what = format!(
                "{} of its {} files are missing, the first is {}",
                missing.len(),
                files.len(),
                display_path(first)
            );
            return Err(Error::new(&index, ErrorKind::Packed { place: "weight_map".into(), what }));
        }
        wanted = Some(map);
        files
    } else {
        safetensors_files(folder)?
    };
    let shards = read_shards(&files, options)?;
    let shards = match &wanted {
        Some(map) => keep_mapped(shards, map, &index)?,
        None => shards,
    };
    let bytes = index_bytes + shards.iter().map(|(source, _)| source.len()).sum::<u64>();
    let name = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let name = printable(&name.file_name().unwrap_or(folder.as_os_str()).to_string_lossy());
    assemble(name, Origin::Folder(folder.to_path_buf()), Format::Safetensors, shards, bytes, warnings)
}

fn safetensors_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |e| Error::new(folder, ErrorKind::Open(e));
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).map_err(read)? {
        let path = item.map_err(read)?.path();
        if path.extension().is_some_and(|e| e == "safetensors") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let (found, advice) =
            ("this folder has no .safetensors file", "give the folder that holds the weights, or the file itself");
        return Err(Error::new(folder, ErrorKind::Stranger { found, advice }));
    }
    Ok(files)
}

fn read_shards(files: &[PathBuf], options: &OpenOptions) -> Result<Vec<(Source, Table)>, Error> {
    let mut shards = Vec::new();
    for file in files {
        let source = Source::open(file, options.access)?;
        let (format, table) = read_table(&source, &options.limits)?;
        if format != Format::Safetensors {
            let (found, advice) =
                ("this shard is not safetensors", "a folder holds safetensors shards only; open the file itself");
            return Err(Error::new(file, ErrorKind::Stranger { found, advice }));
        }
        shards.push((source, table));
    }
    Ok(shards)
}

/// The name-to-file map of an index, each file judged as a string before it becomes a path.
fn read_index(path: &Path, options: &OpenOptions) -> Result<(BTreeMap<String, String>, u64), Error> {
    let fail = |what: String| Error::new(path, ErrorKind::Packed { place: "weight_map".into(), what });
    let source = Source::open(path, options.access)?;
    if source.len() > INDEX_BYTES {
        return Err(Error::new(path, ErrorKind::HeaderTooLarge { found: source.len(), allowed: INDEX_BYTES }));
    }
    let mut scratch = Vec::new();
    let bytes = source.read(0..source.len(), &mut scratch)?;
    let text =
        std::str::from_utf8(bytes).map_err(|e| Error::new(path, ErrorKind::HeaderNotUtf8 { at: e.valid_up_to() }))?;
    let json = Json::parse(text).map_err(|error| {
        Error::new(
            path,
            match error {
                JsonError::DuplicateKey(name) => ErrorKind::DuplicateKey { name: printable(&name) },
                JsonError::Syntax(words) => ErrorKind::HeaderJson(printable(&words)),
            },
        )
    })?;
    let Some(Json::Object(members)) = json.get("weight_map") else {
        return Err(fail("there is none; an index maps tensor names to files".into()));
    };
    let mut map = BTreeMap::new();
    for (tensor, file) in members {
        let file = file.text().filter(|f| is_plain_shard_name(f));
        let Some(file) = file else {
            let what = "is not given a plain file name that ends in .safetensors inside this folder";
            return Err(fail(format!("tensor {:?} {what}", printable(tensor))));
        };
        map.insert(tensor.clone(), file.to_owned());
    }
    Ok((map, source.len()))
}

/// Relative, slash-separated plain components, no way up, no drive, ends in `.safetensors`.
fn is_plain_shard_name(file: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    file.ends_with(".safetensors") && !file.contains(['\\', ':', '\0']) && file.split('/').all(plain)
}

/// Keeps what the index names, where it says; a tensor that is not where it should be is an error.
fn keep_mapped(
    mut shards: Vec<(Source, Table)>,
    map: &BTreeMap<String, String>,
    index: &Path,
) -> Result<Vec<(Source, Table)>, Error> {
    let folder = index.parent().unwrap_or(Path::new(""));
    let mut found = 0;
    for (source, table) in &mut shards {
        table.tensors.retain(|t| map.get(&t.name).is_some_and(|file| folder.join(file) == source.path()));
        found += table.tensors.len();
    }
    if found < map.len() {
        let present: BTreeSet<&str> = shards.iter().flat_map(|(_, t)| &t.tensors).map(|t| t.name.as_str()).collect();
        let lost = map.iter().find(|(name, _)| !present.contains(name.as_str()));
        let what = lost.map_or_else(String::new, |(name, file)| {
            format!("tensor {:?} is not in {}", printable(name), printable(file))
        });
        return Err(Error::new(index, ErrorKind::Packed { place: "weight_map".into(), what }));
    }
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_shards() {
        for good in ["model-00001-of-00002.safetensors", "sub/a.safetensors", "a..b.safetensors"] {
            assert!(is_plain_shard_name(good), "{good}");
        }
        for bad in [
            "../a.safetensors",
            "/a.safetensors",
            "a/../b.safetensors",
            "c:a.safetensors",
            "a\\b.safetensors",
            "a.bin",
            "./a.safetensors",
            "a//b.safetensors",
            "http://x/a.safetensors",
        ] {
            assert!(!is_plain_shard_name(bad), "{bad}");
        }
    }
}
