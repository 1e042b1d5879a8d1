//! From what the user typed to a [`Model`]: a file, a folder, or a demo; checked whole before anything is shown.

use super::roles::{block_of, layer_of, role_of};
use super::{Format, Model, Origin, Tensor, demo, folder};
use crate::formats::error::{display_path, printable};
use crate::formats::sniff::{Kind, sniff};
use crate::formats::source::Access;
use crate::formats::{Entry, Error, ErrorKind, Limits, Source, Table, packed, safetensors};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::OnceLock;

/// How to open.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Mapped, or read in pieces.
    pub access: Access,
    /// Bounds on what a header may claim.
    pub limits: Limits,
}

/// Opens a model: `demo`, `demo:NAME`, a file, or a folder in the Hugging Face layout.
///
/// # Errors
/// What is wrong with which file; for an unknown demo, the names there are.
pub fn open(spec: &Path, options: &OpenOptions) -> Result<Model, Error> {
    let text = spec.to_string_lossy();
    let name = match text.as_ref() {
        "demo" => demo_name(0),
        other => other.strip_prefix("demo:"),
    };
    if let Some(name) = name.filter(|_| !spec.exists()) {
        let (known, source) = demo::source(name).ok_or_else(|| {
            let what = format!("there is no demo of this name; there is {}", super::DEMOS.join(", "));
            Error::new(spec, ErrorKind::Open(std::io::Error::new(std::io::ErrorKind::NotFound, what)))
        })?;
        let (format, table) = read_table(&source, &options.limits)?;
        let bytes = source.len();
        let shard = (source, table);
        return assemble("LeNet-300-100".into(), Origin::Demo(known), format, vec![shard], bytes, Vec::new());
    }
    if spec.is_dir() {
        return folder::open(spec, options);
    }
    let source = Source::open(spec, options.access)?;
    let (format, table) = read_table(&source, &options.limits)?;
    let stem = spec.file_stem().unwrap_or(spec.as_os_str()).to_string_lossy();
    let bytes = source.len();
    assemble(printable(&stem), Origin::File(spec.to_path_buf()), format, vec![(source, table)], bytes, Vec::new())
}

fn demo_name(index: usize) -> Option<&'static str> {
    super::DEMOS.get(index).copied()
}

/// Reads the header of one file. A file that is no model is named for what it looks like, where that is known.
pub(super) fn read_table(source: &Source, limits: &Limits) -> Result<(Format, Table), Error> {
    let head = source.read(0..source.len().min(32), &mut Vec::new()).map(<[u8]>::to_vec)?;
    match sniff(&head) {
        Kind::Packed => Ok((Format::Packed, packed::read_table(source, limits)?)),
        Kind::Safetensors => Ok((Format::Safetensors, safetensors::read_table(source, limits)?)),
        // The first bytes of a legal header are a length, and any length may look like a stranger's magic: only a
        // file that is not safetensors either is called what it looks like.
        Kind::Stranger { found, advice } => match safetensors::read_table(source, limits) {
            Ok(table) => Ok((Format::Safetensors, table)),
            Err(_) => Err(Error::new(source.path(), ErrorKind::Stranger { found, advice })),
        },
    }
}

/// Joins the tables of all shards into a model.
pub(super) fn assemble(
    name: String,
    origin: Origin,
    format: Format,
    shards: Vec<(Source, Table)>,
    bytes: u64,
    warnings: Vec<String>,
) -> Result<Model, Error> {
    let mut metadata = BTreeMap::new();
    let mut entries: Vec<(usize, Entry)> = Vec::new();
    let mut sources = Vec::new();
    for (shard, (source, table)) in shards.into_iter().enumerate() {
        metadata.extend(table.metadata);
        entries.extend(table.tensors.into_iter().map(|entry| (shard, entry)));
        sources.push(source);
    }
    entries.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    if let Some([(first, entry), (second, _)]) =
        entries.windows(2).find(|w| matches!(w, [a, b] if a.1.name == b.1.name))
    {
        let path = |shard: &usize| sources.get(*shard).map(|s| display_path(s.path())).unwrap_or_default();
        let what = format!("tensor {:?} is in {} and in {}", printable(&entry.name), path(first), path(second));
        let at = sources.get(*second).map(Source::path).unwrap_or(Path::new(""));
        return Err(Error::new(at, ErrorKind::Packed { place: "the shards".into(), what }));
    }
    let names: HashSet<String> = entries.iter().map(|(_, e)| e.name.clone()).collect();
    let tensors = entries.into_iter().map(|(shard, entry)| tensor(shard, entry, &names)).collect();
    Ok(Model { name, origin, format, shards: sources, metadata, tensors, bytes, warnings })
}

fn tensor(shard: usize, entry: Entry, names: &HashSet<String>) -> Tensor {
    let layer = layer_of(&entry.name).to_owned();
    let role = role_of(&entry.name, &entry.shape, names.contains(&format!("{layer}.running_mean")));
    Tensor {
        role,
        layer,
        block: block_of(&entry.name),
        beside_scale: entry.dtype.bits() <= 8 && has_scale(&entry.name, names),
        dtype: entry.dtype,
        shape: entry.shape,
        coding: entry.packed,
        shard,
        range: entry.range,
        ranks: OnceLock::new(),
        name: entry.name,
    }
}

/// Whether a scale stands beside a narrow float: `X.weight` with `X.weight_scale`, `X.weight_scale_inv`, `X.scale`, …
fn has_scale(name: &str, names: &HashSet<String>) -> bool {
    let near = ["_scale", "_scale_inv", "_scales", ".scale", ".scales", "_scale_2"];
    let base = name.strip_suffix(".weight").or_else(|| name.strip_suffix("_packed")).unwrap_or(name);
    near.iter().any(|suffix| names.contains(&format!("{name}{suffix}")) || names.contains(&format!("{base}{suffix}")))
}
