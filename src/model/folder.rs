//! A folder in the Hugging Face layout: one file, or shards behind an index that is believed only as far as it can be checked.

use super::open::{assemble, open_file, packed_in_folder, read_table};
use super::{Format, Model, OpenOptions, Origin};
use crate::formats::error::{display_path, printable, quoted};
use crate::formats::index::{self, Index};
use crate::formats::sniff::{HEAD, Kind, sniff};
use crate::formats::{Error, ErrorKind, Source, Table};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

const PACKED: &str = "model.spk";

/// How the files of one format are named in a folder.
struct Layout {
    format: Format,
    single: &'static str,
    index: &'static str,
    /// What its shards begin and end with.
    shards: (&'static str, &'static str),
}

const SAFETENSORS: Layout = Layout {
    format: Format::Safetensors,
    single: "model.safetensors",
    index: "model.safetensors.index.json",
    shards: ("", index::SAFETENSORS),
};

/// As transformers saved models before there was safetensors. Other `.bin` files are no weights.
const PYTORCH: Layout = Layout {
    format: Format::PyTorch,
    single: "pytorch_model.bin",
    index: "pytorch_model.bin.index.json",
    shards: ("pytorch_model", index::PYTORCH),
};

/// Opens a folder: its index, unless a single file also stands there; else its safetensors files; where there are none, those of
/// PyTorch.
pub(super) fn open(folder: &Path, options: &OpenOptions) -> Result<Model, Error> {
    // What stands under one of the three names is meant, even when it turns out to be a pipe or a link to nowhere.
    let stands = |name: &str| folder.join(name).symlink_metadata().is_ok();
    let mut warnings = Vec::new();
    if stands(PACKED) && !stands(SAFETENSORS.single) && !stands(SAFETENSORS.index) {
        warnings.extend(told_others(&SAFETENSORS.files(folder)?, &format!("stands beside {PACKED}"), PACKED));
        return packed_in_folder(folder, &folder.join(PACKED), options, warnings);
    }
    let has = |layout: &Layout| stands(layout.single) || stands(layout.index);
    let files_of = |layout: &Layout| if has(layout) { Ok(Vec::new()) } else { layout.files(folder) };
    let mut loose = files_of(&SAFETENSORS)?;
    let layout = if has(&SAFETENSORS) || !loose.is_empty() {
        let others = PYTORCH.files(folder)?;
        warnings.extend(told_others(&others, "stands beside safetensors files", "safetensors"));
        SAFETENSORS
    } else {
        loose = files_of(&PYTORCH)?;
        if !has(&PYTORCH) && loose.is_empty() {
            return gguf_in_folder(folder, options);
        }
        PYTORCH
    };
    let mut index_bytes = 0;
    let Layout { single, index, .. } = layout;
    let shards = if stands(single) {
        if stands(index) {
            warnings.push(format!("{single} stands beside {index}; the single file was opened, the index left alone"));
        } else {
            let others: Vec<PathBuf> = layout.files(folder)?.into_iter().filter(|f| !f.ends_with(single)).collect();
            warnings.extend(told_others(&others, &format!("stands beside {single}"), single));
        }
        read_shards(&[folder.join(single)], &layout, options)?
    } else if stands(index) {
        let path = folder.join(index);
        let (index, bytes) = read_index(&path, &layout, options)?;
        index_bytes = bytes;
        let files = shards_of(&index, folder, &path)?;
        let named: HashSet<&PathBuf> = files.iter().collect();
        let others: Vec<PathBuf> = layout.files(folder)?.into_iter().filter(|f| !named.contains(f)).collect();
        warnings.extend(told_others(&others, "is not in the index", "what the index names"));
        let shards = read_shards(&files, &layout, options)?;
        keep_mapped(shards, &index, &path, &mut warnings)?
    } else {
        let paths: Vec<&Path> = loose.iter().map(PathBuf::as_path).collect();
        warnings.extend(told_missing_parts(&paths));
        read_shards(&loose, &layout, options)?
    };
    let bytes = index_bytes + shards.iter().map(|(source, _)| source.len()).sum::<u64>();
    let name = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let name = printable(&name.file_name().unwrap_or(folder.as_os_str()).to_string_lossy());
    assemble(name, Origin::Folder(folder.to_path_buf()), layout.format, shards, bytes, warnings)
}

/// A warning about weights that were left alone.
fn told_others(others: &[PathBuf], why: &str, opened: &str) -> Option<String> {
    let name = shown(others.first()?);
    let more = match others.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(format!("{name} {why}{more}; only {opened} was opened"))
}

/// What a file's name says of the set that it is a part of (`model-00001-of-00003.…`): how the others begin, its number, and how many
/// they are.
fn part(file: &Path) -> Option<(&str, usize, usize)> {
    let (stem, of) = file.file_stem()?.to_str()?.rsplit_once("-of-")?;
    let (stem, number) = stem.rsplit_once('-')?;
    Some((stem, number.parse().ok()?, of.parse().ok()?))
}

/// A warning where files are named as parts of a set and others of it are not among them.
pub(super) fn told_missing_parts(files: &[&Path]) -> Option<String> {
    let parts: BTreeSet<(usize, usize)> =
        files.iter().filter_map(|file| part(file).map(|(_, number, of)| (number, of))).collect();
    let &(_, of) = parts.first()?;
    let whole = parts.iter().all(|&(_, all)| all == of) && parts.len() == of;
    let first = shown(files.iter().find(|file| part(file).is_some())?);
    let found =
        if parts.len() == 1 { "1 of them is here".to_owned() } else { format!("{} of them are here", parts.len()) };
    (!whole).then(|| format!("{first} is named as a part of {of} files, and {found}: this is not the whole model"))
}

/// The same of a file that was given alone: the others of its set may lie beside it.
pub(super) fn told_alone(file: &Path) -> Option<String> {
    let note = told_missing_parts(&[file])?;
    let (stem, _, of) = part(file)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = files_ending(folder, file.extension()?.to_str()?).ok()?;
    beside.retain(|other| part(other).is_some_and(|(other, _, all)| (other, all) == (stem, of)));
    let beside: Vec<&Path> = beside.iter().map(PathBuf::as_path).collect();
    if told_missing_parts(&beside).is_some() {
        return Some(note);
    }
    Some(format!("{} is one of {of} files of a model; open their folder to see it whole", shown(file)))
}

/// A folder without safetensors is opened by the GGUF model in it, when there is one: a file, or one set of split files.
fn gguf_in_folder(folder: &Path, options: &OpenOptions) -> Result<Model, Error> {
    let files = files_ending(folder, "gguf")?;
    let is_first = |file: &&PathBuf| {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        stem.rsplit_once("-of-").is_none_or(|(stem, _)| stem.ends_with("-00001"))
    };
    let firsts: Vec<&PathBuf> = files.iter().filter(is_first).collect();
    match firsts.as_slice() {
        [file] => alone(folder, file, options),
        // A set without its first file is told by any of the others.
        [] => files.first().map_or_else(|| onnx_in_folder(folder, options), |file| alone(folder, file, options)),
        [one, two, ..] => {
            let found =
                format!("this folder has {} GGUF models, {} and {} among them", firsts.len(), shown(one), shown(two));
            Err(Error::new(folder, ErrorKind::Stranger { found: found.into(), advice: "give one of the files" }))
        }
    }
}

/// A folder with neither is opened by the one ONNX model in it.
fn onnx_in_folder(folder: &Path, options: &OpenOptions) -> Result<Model, Error> {
    match files_ending(folder, "onnx")?.as_slice() {
        [] => Err(no_weights(folder)),
        [file] => alone(folder, file, options),
        files @ [one, two, ..] => {
            let found =
                format!("this folder has {} ONNX models, {} and {} among them", files.len(), shown(one), shown(two));
            Err(Error::new(folder, ErrorKind::Stranger { found: found.into(), advice: "give one of the files" }))
        }
    }
}

/// The one model of a folder: what was given is the folder, and what is made of it is one too.
fn alone(folder: &Path, file: &Path, options: &OpenOptions) -> Result<Model, Error> {
    let model = open_file(file, options)?;
    Ok(Model { origin: Origin::Folder(folder.to_path_buf()), ..model })
}

fn shown(file: &Path) -> String {
    quoted(&file.file_name().unwrap_or_default().to_string_lossy())
}

impl Layout {
    /// The folder's own files that are named like shards, by name.
    fn files(&self, folder: &Path) -> Result<Vec<PathBuf>, Error> {
        let (begin, end) = self.shards;
        let mut files = files_ending(folder, end.trim_start_matches('.'))?;
        files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin)));
        Ok(files)
    }
}

/// The folder's own files of an ending, by name.
fn files_ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, Error> {
    let read = |e| Error::new(folder, ErrorKind::Open(e));
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).map_err(read)? {
        let path = item.map_err(read)?.path();
        if path.extension().is_some_and(|e| e == ending) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What to say of a folder without weights that can be read.
fn no_weights(folder: &Path) -> Error {
    let others: Vec<PathBuf> =
        ["pt", "pth", "bin"].iter().filter_map(|end| files_ending(folder, end).ok()).flatten().collect();
    let none = "this folder has no .safetensors, pytorch_model.bin, .gguf or .onnx file";
    let (found, advice) = match others.first() {
        Some(file) => {
            (Cow::Owned(format!("{none}, but {}", shown(file))), "give that file itself, if it holds the weights")
        }
        None => (Cow::Borrowed(none), "give the folder that holds the weights, or the file itself"),
    };
    Error::new(folder, ErrorKind::Stranger { found, advice })
}

/// Opens the files one by one. An export gives each its name again, and an index is text: both need one that is.
fn read_shards(files: &[PathBuf], layout: &Layout, options: &OpenOptions) -> Result<Vec<(Source, Table)>, Error> {
    let mut shards = Vec::new();
    for file in files {
        if file.file_name().is_some_and(|name| name.to_str().is_none()) {
            return Err(Error::new(file, ErrorKind::ShardName));
        }
        let source = Source::open(file, options.access)?;
        let (format, table) = read_table(&source, &options.limits)?;
        if format != layout.format {
            let found = format!("this shard is not {}, but {}", layout.format.name(), format.name());
            let advice = "the shards of a folder are all of one format; open the file itself";
            return Err(Error::new(file, ErrorKind::Stranger { found: found.into(), advice }));
        }
        shards.push((source, table));
    }
    Ok(shards)
}

/// The index, and its length. What is no index is named for what it looks like.
fn read_index(path: &Path, layout: &Layout, options: &OpenOptions) -> Result<(Index, u64), Error> {
    let fail = |kind| Error::new(path, kind);
    let source = Source::open(path, options.access)?;
    if source.len() > index::LARGEST {
        return Err(fail(ErrorKind::IndexTooLarge { found: source.len(), allowed: index::LARGEST }));
    }
    let mut scratch = Vec::new();
    let bytes = source.read(0..source.len(), &mut scratch)?;
    let index = index::read_bytes_of(bytes, layout.shards.1, &options.limits).map_err(|kind| {
        let head = bytes.get(..HEAD as usize).unwrap_or(bytes);
        let begins = bytes.trim_ascii_start().first();
        match sniff(head) {
            // A text that begins like JSON is told where its JSON breaks, and so is any that is named like one.
            Kind::Stranger { found, advice } if !matches!(begins, Some(b'{' | b'[')) && !is_told(&kind) => {
                fail(ErrorKind::Index { what: format!("{found}, not valid JSON: {advice}") })
            }
            _ => fail(kind),
        }
    })?;
    Ok((index, source.len()))
}

/// Whether an error says more than a look at the first bytes would.
fn is_told(kind: &ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Json { .. } | ErrorKind::NotUtf8 { .. } | ErrorKind::ByteOrderMark { .. })
}

/// The files that an index names, all of them there.
fn shards_of(index: &Index, folder: &Path, path: &Path) -> Result<Vec<PathBuf>, Error> {
    let files: Vec<PathBuf> = index.files.iter().map(|file| folder.join(file)).collect();
    let missing: Vec<&PathBuf> = files.iter().filter(|file| file.metadata().is_err()).collect();
    if let Some(first) = missing.first() {
        let (n, of, first) = (missing.len(), files.len(), display_path(first));
        let what = format!("{n} of its {of} files are missing, the first is {first}; download the whole folder again");
        return Err(Error::new(path, ErrorKind::Index { what }));
    }
    match files.iter().find(|file| !file.is_file()) {
        Some(odd) => Err(Error::new(odd, ErrorKind::NotAFile)),
        None => Ok(files),
    }
}

/// Keeps what the index names, where it says. A tensor that is not where it should be is an error, and so is one that is
/// there and elsewhere too; what the index does not name is left alone, and told.
fn keep_mapped(
    mut shards: Vec<(Source, Table)>,
    index: &Index,
    path: &Path,
    warnings: &mut Vec<String>,
) -> Result<Vec<(Source, Table)>, Error> {
    let mut found = 0;
    let (mut elsewhere, mut unnamed) = (Vec::new(), Vec::new());
    for (shard, (_, table)) in shards.iter_mut().enumerate() {
        found += keep_other_names(table, index, shard);
        table.tensors.retain(|tensor| {
            let mapped = index.tensors.get(&tensor.name);
            match mapped {
                Some(&file) if file == shard => found += 1,
                Some(&file) => elsewhere.push((tensor.name.clone(), file, shard)),
                None => unnamed.push((tensor.name.clone(), shard)),
            }
            mapped == Some(&shard)
        });
    }
    let shown = |shard: usize| shards.get(shard).map_or_else(String::new, |(source, _)| display_path(source.path()));
    if found < index.tensors.len() {
        // What is still listed is where the index says.
        let own = shards.iter().flat_map(|(_, table)| &table.tensors).map(|tensor| tensor.name.as_str());
        let other = shards.iter().flat_map(|(_, table)| table.aliases.keys()).map(String::as_str);
        let placed: HashSet<&str> = own.chain(other).collect();
        let what = match elsewhere.iter().find(|(name, ..)| !placed.contains(name.as_str())) {
            Some((name, file, shard)) => {
                format!("tensor {} is not in {}, but in {}", quoted(name), shown(*file), shown(*shard))
            }
            None => lost(&placed, index),
        };
        return Err(Error::new(path, ErrorKind::Index { what }));
    }
    if let Some((name, file, shard)) = elsewhere.into_iter().next() {
        let kind = ErrorKind::InTwoFiles { name: printable(&name), first: shown(file), second: shown(shard) };
        return Err(Error::new(path, kind));
    }
    if let Some((name, shard)) = unnamed.first() {
        let (n, name, file) = (unnamed.len(), quoted(name), shown(*shard));
        let are = if n == 1 { "1 tensor is" } else { &format!("{n} tensors are") };
        warnings.push(format!("{are} not in the index and left alone, the first is {name} in {file}"));
    }
    Ok(shards)
}

/// Keeps those other names of a shard's tensors that the index has there too, and answers how many they are. A tensor that the index
/// has under another name alone is called by that.
fn keep_other_names(table: &mut Table, index: &Index, shard: usize) -> usize {
    table.aliases.retain(|alias, _| index.tensors.get(alias) == Some(&shard));
    // The bytewise first name of each tensor that the index does not have under its own.
    let mut first: HashMap<String, String> = HashMap::new();
    for (alias, own) in table.aliases.iter().filter(|(_, own)| !index.tensors.contains_key(*own)) {
        first.entry(own.clone()).or_insert_with(|| alias.clone());
    }
    table.aliases.retain(|alias, own| first.get(own) != Some(alias));
    for own in table.aliases.values_mut() {
        if let Some(better) = first.get(own) {
            own.clone_from(better);
        }
    }
    for tensor in &mut table.tensors {
        if let Some(better) = first.remove(&tensor.name) {
            tensor.name = better;
        }
    }
    table.aliases.len()
}

/// The first tensor that the index names and no file has.
fn lost(placed: &HashSet<&str>, index: &Index) -> String {
    let lost = index.tensors.iter().find(|(name, _)| !placed.contains(name.as_str()));
    lost.map_or_else(String::new, |(name, &file)| {
        let file = index.files.get(file).map_or("", String::as_str);
        format!("tensor {} is not in {}; download the whole folder again", quoted(name), quoted(file))
    })
}
