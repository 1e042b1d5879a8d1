//! Which files an artifact has, and which tensors lie in which: one file for a file, the same shards for a folder.

use super::parts;
use crate::model::{Format, Model, Origin};
use crate::recipe::{Plan, Target};
use std::path::Path;

/// The name of the index beside shards.
pub const INDEX: &str = "model.safetensors.index.json";
/// The name of the index beside PyTorch's shards.
pub const PYTORCH_INDEX: &str = "pytorch_model.bin.index.json";
/// What the names of PyTorch's files have before those of others.
const PYTORCH: &str = "pytorch_";
/// The one file of a dense folder.
pub const SINGLE: &str = "model.safetensors";
/// The one file of a `packed` folder.
pub const PACKED_FILE: &str = "model.spk";
/// The one file of a `gguf` folder.
pub const GGUF_FILE: &str = "model.gguf";

/// One file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlan {
    /// Its name inside the artifact's folder; `None` when the artifact is the file.
    pub name: Option<String>,
    /// Positions of the tensors that it holds.
    pub tensors: Vec<usize>,
}

/// The files of an artifact. A folder's dense artifact keeps its shards; its packed one is a single file.
#[must_use]
pub fn files(model: &Model, plan: &Plan) -> Vec<FilePlan> {
    let (target, all) = (plan.target, plan.written(model));
    let Origin::Folder(folder) = &model.origin else {
        let name = target.is_folder().then(|| SINGLE.to_owned());
        return vec![FilePlan { name, tensors: all }];
    };
    let one = match target {
        Target::Packed => Some(PACKED_FILE),
        Target::Gguf => Some(GGUF_FILE),
        _ => None,
    };
    if let Some(name) = one {
        return vec![FilePlan { name: Some(name.into()), tensors: all }];
    }
    let one = |(shard, source): (usize, &crate::formats::Source)| {
        let name = source.path().strip_prefix(folder).unwrap_or(Path::new(SINGLE));
        // A packed file spelled out is safetensors, and says so; PyTorch's names are none that a loader of safetensors looks for.
        let mut name = name.with_extension("safetensors");
        let end = name.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(PYTORCH));
        if let Some(end) = end.map(str::to_owned).filter(|_| model.format == Format::PyTorch) {
            name.set_file_name(end);
        }
        let parts: Vec<_> = name.components().map(|part| part.as_os_str().to_string_lossy()).collect();
        let name = parts.join("/");
        let tensors = all.iter().copied().filter(|&i| model.tensors[i].shard() == shard).collect();
        FilePlan { name: Some(name), tensors }
    };
    let mut files: Vec<FilePlan> = model.shards.iter().enumerate().map(one).collect();
    // A shard may hold nothing but what belongs to the codes of another.
    let all_files = files.len();
    if files.iter().any(|file| !file.tensors.is_empty()) {
        files.retain(|file| !file.tensors.is_empty());
    }
    let count = files.len();
    let found = |file: &FilePlan| file.name.as_ref().is_some_and(|name| is_found(target, name, count));
    if count < all_files || !files.iter().all(found) {
        for (number, file) in files.iter_mut().enumerate() {
            let numbered = || format!("model-{:05}-of-{count:05}.safetensors", number + 1);
            file.name = Some(if count == 1 { SINGLE.to_owned() } else { numbered() });
        }
    }
    files
}

/// Whether the readers of a target find weights under a name: MLX those whose names begin as it wants, and whoever else reads a
/// folder for a runtime a single file by its name, several by their index.
fn is_found(target: Target, name: &str, count: usize) -> bool {
    match target {
        Target::Mlx => name.starts_with("model") && !name.contains('/'),
        Target::CompressedTensors => count > 1 || name == SINGLE,
        _ => true,
    }
}

/// The index of a sharded artifact: names to files, and the sum of the tensors' bytes. One file needs none, unless it lies
/// deeper, where only an index leads to it.
#[must_use]
pub fn index_text(model: &Model, plan: &Plan, files: &[FilePlan]) -> Option<String> {
    let deeper = files.iter().any(|file| file.name.as_ref().is_some_and(|name| name.contains(['/', '\\'])));
    let single = matches!(plan.target, Target::Packed | Target::Gguf);
    if single || (files.len() < 2 && !deeper) {
        return None;
    }
    let mut map = serde_json::Map::new();
    let mut total = 0_u64;
    for file in files {
        for parts::Stored { listing, .. } in parts::stored(model, plan, &file.tensors) {
            total += listing.shape.iter().product::<usize>() as u64 * listing.dtype.bits() / 8;
            map.insert(listing.name, serde_json::Value::from(file.name.clone().unwrap_or_default()));
        }
    }
    map.sort_keys();
    let index = serde_json::json!({"metadata": {"total_size": total}, "weight_map": map});
    Some(format!("{index:#}\n"))
}
