//! Where an artifact may go: never over what is being read, in any disguise, and never where it would be found out only after the work.
//!
//! | OUT is | answer |
//! |---|---|
//! | a file of the model: same path, `./` path, hard link, symbolic link; its index or config; the next shard of an opened shard | refused, also with `--force` |
//! | another file that is read: a recipe, a mask or a file of the model that a mask is in, the network that is rewound | refused, also with `--force` |
//! | a folder that holds such a file, or the folder that is read, or one inside it | refused, also with `--force` |
//! | another folder | replaced with `--force` when all in it is an artifact's or the source's too |
//! | another file | replaced with `--force` |
//! | a link | the link itself is replaced with `--force`, not what it points to |
//!
//! A folder inside the folder that is read would be a part of the model from then on, copied along by the next export.

use super::{Error, others};
use crate::estimate::files::{INDEX, PYTORCH_INDEX};
use crate::formats::source::Identity;
use crate::formats::{Limits, index};
use crate::model::config::CONFIG;
use crate::model::{Model, OpenOptions, Origin, open};
use crate::recipe::{Plan, Prune, Target, runtime_config};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Refuses a destination that is the model itself in any disguise, that cannot be written, or that is there already.
///
/// # Errors
/// Which of these it is.
pub fn check_destination(model: &Model, target: Target, out: &Path, force: bool) -> Result<(), Error> {
    let is_folder = is_folder(model, target);
    check_name(out, is_folder)?;
    let out = &bare(out);
    let there = is_there(out)?;
    check_apart(model, out)?;
    if is_folder && out.file_name().is_none() {
        return Err(Error::NoName(out.clone()));
    }
    if !there {
        return Ok(());
    }
    // A dangling link is there all the same: renaming would replace it.
    if let Ok(metadata) = std::fs::metadata(out) {
        match is_folder {
            true if !metadata.is_dir() => return Err(Error::NotAFolder(out.clone())),
            true => {}
            false => check_is_file(out)?,
        }
        let taken = Protected::of(model);
        if taken.contains(out) {
            return Err(Error::OverSource(out.clone()));
        }
        if metadata.is_dir() && force {
            if let Some(found) = taken.find_in(out) {
                return Err(Error::HoldsInput { folder: out.clone(), found });
            }
            check_replaceable(model, out)?;
        }
    }
    if force { Ok(()) } else { Err(Error::Exists(out.clone())) }
}

/// Whether what is written is a folder: the model is one, or the target's readers want a config beside the weights.
#[must_use]
pub fn is_folder(model: &Model, target: Target) -> bool {
    matches!(model.origin, Origin::Folder(_)) || target.is_folder()
}

/// [`check_destination`] for what is one file even when the model is a folder.
///
/// # Errors
/// What is wrong with the destination.
pub(super) fn check_one_file(model: &Model, out: &Path, force: bool) -> Result<(), Error> {
    check_name(out, false)?;
    check_apart(model, out)?;
    check_not_source(model, out)?;
    check_is_file(out)?;
    if is_there(out)? && !force { Err(Error::Exists(out.to_path_buf())) } else { Ok(()) }
}

/// Refuses a path at which something stands that is not to be replaced, for a text beside models. A folder is never replaced.
///
/// # Errors
/// When there is such a thing.
pub fn check_replaced(out: &Path, force: bool) -> Result<(), Error> {
    match out.symlink_metadata() {
        Ok(_) if out.is_dir() => Err(Error::Folder(out.to_path_buf())),
        Ok(_) if !force => Err(Error::Exists(out.to_path_buf())),
        _ => Ok(()),
    }
}

/// Refuses a path that is a file of the model in any disguise or a folder that holds one, whatever is to be written there.
///
/// # Errors
/// When it is.
pub fn check_not_source(model: &Model, out: &Path) -> Result<(), Error> {
    Protected::of(model).check(out, Error::OverSource)
}

/// Refuses an output that is some other file of the same command, such as its recipe, in any disguise, or that holds it. Of
/// a folder all files count.
///
/// # Errors
/// When it is.
pub fn check_not_input(out: &Path, input: &Path) -> Result<(), Error> {
    let mut taken = Protected::default();
    taken.add_with_files(input, DEEPEST_SHARD);
    taken.check(out, Error::OverInput)
}

/// [`check_not_input`] for every file that a plan takes masks from.
pub(super) fn check_not_masks(plan: &Plan, out: &Path) -> Result<(), Error> {
    let mut files = HashSet::new();
    for assignment in &plan.assignments {
        if let Some(Prune::Mask { file }) = &assignment.stored.prune
            && file != Prune::EMBEDDED
            && files.insert(file)
        {
            check_not_input(out, Path::new(file))?;
        }
    }
    Ok(())
}

/// Refuses what a file cannot replace: a folder, a device, a pipe.
pub(super) fn check_is_file(out: &Path) -> Result<(), Error> {
    match std::fs::metadata(out) {
        Ok(metadata) if metadata.is_dir() => Err(Error::Folder(out.to_path_buf())),
        Ok(metadata) if !metadata.is_file() => Err(Error::Device(out.to_path_buf())),
        _ => Ok(()),
    }
}

/// Whether something has that name, if only a link to nothing.
fn is_there(out: &Path) -> Result<bool, Error> {
    match out.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Io { path: out.to_path_buf(), doing: "it cannot be its name", source }),
    }
}

/// A path without a separator or a point at its end: `link/` would be where the link leads, and can be no new name.
pub(super) fn bare(out: &Path) -> PathBuf {
    out.components().collect()
}

/// What will be told about a link in the output's place.
pub(super) fn link_note(out: &Path) -> Option<String> {
    let shown = crate::formats::error::display_path;
    let target = std::fs::read_link(out).ok()?;
    Some(format!("{} was a link to {}; the link was replaced, what it points to was not", shown(out), shown(&target)))
}

/// Finds out what can be known from the name alone, before hours of work.
fn check_name(out: &Path, is_folder: bool) -> Result<(), Error> {
    let last = out.as_os_str().as_encoded_bytes().last().copied();
    if !is_folder && last.is_some_and(|c| std::path::is_separator(char::from(c))) {
        return Err(Error::Folder(out.to_path_buf()));
    }
    let folder = super::atomic::folder_of(out);
    match std::fs::metadata(&folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(Error::NoFolder { out: out.to_path_buf(), folder, what: "is not a folder" }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoFolder {
                out: out.to_path_buf(),
                folder,
                what: "does not exist; make that folder first",
            });
        }
        Err(source) => {
            return Err(Error::Io { path: out.to_path_buf(), doing: "its folder cannot be reached", source });
        }
    }
    if out.file_name().is_none() && out.symlink_metadata().is_err() {
        return Err(Error::NoName(out.to_path_buf()));
    }
    Ok(())
}

/// Replacing a folder that holds a folder model, or lies over it, would delete what is being read; what lies inside it would
/// become a part of it.
pub(super) fn check_apart(model: &Model, out: &Path) -> Result<(), Error> {
    let Origin::Folder(source) = &model.origin else { return Ok(()) };
    let Ok(source) = source.canonicalize() else { return Ok(()) };
    let over = out.canonicalize().is_ok_and(|out| source.starts_with(out));
    if over {
        return Err(Error::OverSource(out.to_path_buf()));
    }
    let inside = super::atomic::folder_of(out).canonicalize().is_ok_and(|folder| folder.starts_with(&source));
    if inside { Err(Error::InsideSource(out.to_path_buf())) } else { Ok(()) }
}

/// Folders inside the folder of a model that its shards may lie in.
const DEEPEST_SHARD: usize = 2;

/// Files that nothing may be written over, by path and by inode.
#[derive(Default)]
struct Protected {
    nodes: HashSet<(u64, u64)>,
    paths: HashSet<PathBuf>,
}

impl Protected {
    /// The files of a model: what is read, and what belongs to it.
    fn of(model: &Model) -> Self {
        let mut taken = Self::default();
        for shard in &model.shards {
            taken.nodes.extend(shard.identity().and_then(|identity| identity.node));
            taken.add(shard.path());
        }
        match &model.origin {
            Origin::Folder(folder) => {
                [INDEX, PYTORCH_INDEX].iter().for_each(|index| taken.add(&folder.join(index)));
                others::of(model).copied.iter().for_each(|other| taken.add(&folder.join(&other.name)));
            }
            Origin::File(file) => siblings(file).iter().for_each(|path| taken.add(path)),
            Origin::Demo(_) => {}
        }
        taken
    }

    fn add(&mut self, path: &Path) {
        self.nodes.extend(std::fs::metadata(path).ok().and_then(|metadata| Identity::of(&metadata).node));
        self.paths.extend(path.canonicalize());
    }

    /// A file; or a folder, and what is in it so many folders deep.
    fn add_with_files(&mut self, path: &Path, depth: usize) {
        self.add(path);
        if depth > 0 && path.is_dir() {
            let items = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
            items.for_each(|item| self.add_with_files(&item.path(), depth - 1));
        }
    }

    /// Refuses one of them, and a folder that holds one.
    fn check(&self, out: &Path, over: fn(PathBuf) -> Error) -> Result<(), Error> {
        if self.contains(out) {
            return Err(over(out.to_path_buf()));
        }
        let Some(folder) = out.canonicalize().ok().filter(|out| out.is_dir()) else { return Ok(()) };
        match self.paths.iter().filter(|path| path.starts_with(&folder)).min() {
            Some(found) => Err(Error::HoldsInput { folder: out.to_path_buf(), found: found.clone() }),
            None => Ok(()),
        }
    }

    /// Whether a path is one of them, or leads to one.
    fn contains(&self, path: &Path) -> bool {
        let node = std::fs::metadata(path).ok().and_then(|metadata| Identity::of(&metadata).node);
        let known = path.canonicalize().is_ok_and(|path| self.paths.contains(&path));
        known || node.is_some_and(|node| self.nodes.contains(&node))
    }

    /// The first of them inside a folder. Links are no files: replacing one takes nothing from where it points.
    fn find_in(&self, folder: &Path) -> Option<PathBuf> {
        let mut items = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        items.find_map(|item| {
            let kind = item.file_type().ok()?;
            match () {
                () if kind.is_symlink() => None,
                () if kind.is_dir() => self.find_in(&item.path()),
                () => self.contains(&item.path()).then(|| item.path()),
            }
        })
    }
}

/// The files that make one model with an opened file: the other shards, by their names or by an index, and every JSON text
/// beside it (index, config, tokenizer).
fn siblings(file: &Path) -> Vec<PathBuf> {
    let (folder, own) = (super::atomic::folder_of(file), file.file_name().unwrap_or_default().to_string_lossy());
    let items = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
    let names: Vec<PathBuf> = items.map(|item| PathBuf::from(item.file_name())).collect();
    let is_text = |name: &&PathBuf| name.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let family = family(&own);
    let same = |name: &&PathBuf| family.is_some() && name.to_str().and_then(self::family) == family;
    let mut found: Vec<PathBuf> = names.iter().filter(|name| is_text(name) || same(name)).cloned().collect();
    for index in names.iter().filter(|name| name.to_string_lossy().ends_with(".index.json")) {
        let named = named_by(&folder.join(index));
        if named.iter().any(|name| **name == *own) {
            found.extend(named.into_iter().map(PathBuf::from));
        }
    }
    found.into_iter().map(|name| folder.join(name)).collect()
}

/// `model-00001-of-00002.safetensors`: what all shards of one model have in common.
fn family(name: &str) -> Option<(&str, &str)> {
    let (rest, count) = name.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (digits(number) && digits(count.split('.').next()?)).then_some((stem, count))
}

/// The files that an index names; none when it is no index.
fn named_by(index: &Path) -> Vec<String> {
    let small = std::fs::metadata(index).is_ok_and(|m| m.is_file() && m.len() <= index::LARGEST);
    let text = if small { std::fs::read(index).unwrap_or_default() } else { Vec::new() };
    let read = |ending| index::read_bytes_of(&text, ending, &Limits::default());
    read(index::SAFETENSORS).or_else(|_| read(index::PYTORCH)).map(|index| index.files).unwrap_or_default()
}

/// Lets a folder be replaced only when nothing in it would be lost: it is empty, or it holds weights that carry a recipe
/// of ours, and beside them the index and files that the source has too.
fn check_replaceable(model: &Model, out: &Path) -> Result<(), Error> {
    let mut found = Found::default();
    look_into(model, out, out, &mut found)?;
    match found.other {
        // Files of these names without such weights are somebody's own.
        Some(other) if !found.artifact => Err(Error::ForeignFolder { folder: out.to_path_buf(), found: other }),
        _ => Ok(()),
    }
}

/// What a folder that is to be replaced holds.
#[derive(Default)]
struct Found {
    /// Whether weights are among it that carry a recipe of ours.
    artifact: bool,
    /// The first that may stand beside such weights.
    other: Option<PathBuf>,
}

fn look_into(model: &Model, out: &Path, folder: &Path, found: &mut Found) -> Result<(), Error> {
    let fail = |source| Error::Io { path: out.to_path_buf(), doing: "looking into the folder to be replaced", source };
    // A model that is one file has nothing to come along but the config that is made for it.
    let source = match &model.origin {
        Origin::Folder(source) => Some(source.as_path()),
        Origin::File(_) | Origin::Demo(_) => None,
    };
    for item in std::fs::read_dir(folder).map_err(fail)? {
        let path = item.map_err(fail)?.path();
        if path.is_dir() && !path.is_symlink() {
            look_into(model, out, &path, found)?;
            continue;
        }
        let name = path.strip_prefix(out).unwrap_or(&path);
        let twin = source.map(|source| source.join(name));
        let beside =
            path.is_file() && twin.as_ref().map_or_else(|| is_made_config(&path, model), |twin| twin.is_file());
        let is_shard = twin.is_some_and(|twin| model.shards.iter().any(|shard| shard.path() == twin));
        let endings = ["safetensors", "spk", "gguf", "bin", "pt", "pth"];
        let weights = endings.iter().any(|end| path.extension() == Some(OsStr::new(end)));
        let options = OpenOptions { access: model.access, ..OpenOptions::default() };
        if weights && open(&path, &options).is_ok_and(|model| model.embedded_recipe().is_some()) {
            found.artifact = true;
            continue;
        }
        let may_be = if weights {
            beside && !is_shard && name.components().count() > 1
        } else {
            beside || (path.is_file() && name == Path::new(INDEX))
        };
        if !may_be {
            return Err(Error::ForeignFolder { folder: out.to_path_buf(), found: path });
        }
        found.other.get_or_insert(path);
    }
    Ok(())
}

/// Whether it is the config of an artifact of a model that is one file, with nothing of its user's own in it.
fn is_made_config(path: &Path, model: &Model) -> bool {
    const MOST: u64 = 1 << 22;
    let small = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= MOST);
    let named = path.file_name() == Some(OsStr::new(CONFIG));
    named && small && std::fs::read(path).is_ok_and(|text| runtime_config::is_made_here(&text, model.config()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_know_their_family() {
        assert_eq!(family("m-00001-of-00002.safetensors"), family("m-00002-of-00002.safetensors"));
        assert_ne!(family("m-00001-of-00002.safetensors"), family("n-00001-of-00002.safetensors"));
        assert_ne!(family("m-00001-of-00002.safetensors"), family("m-00001-of-00003.safetensors"));
        for lone in ["model.safetensors", "piece-of-cake.safetensors", "one-1-of-them.safetensors"] {
            assert_eq!(family(lone), None, "{lone}");
        }
    }
}
