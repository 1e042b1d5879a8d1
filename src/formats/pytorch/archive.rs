//! The zip layout: which member is what, and the pickle's tensors placed in the others.

use super::names::Left;
use super::place::{Place, Placing, Storages, check_names};
use super::rebuild::Rebuilt;
use super::tree::Tree;
use super::{FORMAT, calls, choose, names, nothing_in, rebuild, shared, wrong};
use crate::formats::error::{Error, quoted};
use crate::formats::pickle::{self, Bounds, Pickle};
use crate::formats::{Limits, Source, Table, zip};
use std::collections::{HashMap, HashSet};

const PICKLE: &str = "data.pkl";

/// Bytes that the member with the order of bytes may have; it is one word.
const WORD: u64 = 64;

/// Where in an archive a model lies: what stands before `data.pkl`.
fn root(members: &[zip::Member]) -> Option<&str> {
    let roots = members.iter().filter_map(|member| member.name.strip_suffix(PICKLE));
    let roots = roots.filter(|root| root.is_empty() || root.ends_with('/'));
    roots.min_by_key(|root| (root.matches('/').count(), *root))
}

/// Whether an archive looks like one of PyTorch.
#[must_use]
pub fn is_torch(members: &[zip::Member]) -> bool {
    root(members).is_some()
}

/// Reads an archive.
pub(super) fn read(source: &Source, members: &[zip::Member], limits: &Limits) -> Result<Table, Error> {
    let root = root(members).ok_or_else(|| wrong(source.path(), "the archive", "it has no data.pkl"))?;
    let by_name: HashMap<&str, &zip::Member> = members.iter().map(|member| (member.name.as_str(), member)).collect();
    let find = |name: &str| by_name.get(format!("{root}{name}").as_str()).copied();
    let storages = Storages { places: places(root, members), big_endian: is_big_endian(source, find("byteorder"))? };
    let mut found = Found::new(source, limits, &storages);
    let data = unpickle(source, find(PICKLE), PICKLE, limits)?;
    found.take_model(&data, "data/", "")?;
    // What a script's program refers to by these names.
    let constants = match find("constants.pkl") {
        Some(member) => Some(unpickle(source, Some(member), "constants.pkl", limits)?),
        None => None,
    };
    if let Some(constants) = &constants {
        found.take_constants(constants)?;
    }
    found.table(&data)
}

fn unpickle(source: &Source, member: Option<&zip::Member>, name: &str, limits: &Limits) -> Result<Pickle, Error> {
    let member = member.ok_or_else(|| wrong(source.path(), "the archive", format!("it has no {name}")))?;
    let bytes = zip::unpack(source, member, limits.header_bytes)?;
    pickle::read_bytes(&bytes, &Bounds::default()).map_err(|fault| fault.about(source.path(), FORMAT, name))
}

/// The members in which storages lie, by their names below the root.
fn places<'m>(root: &str, members: &'m [zip::Member]) -> HashMap<String, Place<'m>> {
    let place = |member: &'m zip::Member| {
        let name = member.name.strip_prefix(root)?;
        let stored = matches!(member.method, zip::Method::Stored);
        let place = if stored { Place::File(member.data.clone()) } else { Place::Packed(member) };
        (name.starts_with("data/") || name.starts_with("constants/")).then(|| (name.to_owned(), place))
    };
    members.iter().filter_map(place).collect()
}

/// What the member says of the order of bytes; where there is none it is this one.
fn is_big_endian(source: &Source, member: Option<&zip::Member>) -> Result<bool, Error> {
    let Some(member) = member else { return Ok(false) };
    let word = zip::unpack(source, member, WORD)?;
    match word.as_slice() {
        b"little" => Ok(false),
        b"big" => Ok(true),
        other => {
            let found = quoted(&String::from_utf8_lossy(other));
            let what = format!("its order of bytes is {found}; \"little\" and \"big\" are known");
            Err(wrong(source.path(), "member byteorder", what))
        }
    }
}

/// What is found in the pickles of a file.
pub(super) struct Found<'s> {
    source: &'s Source,
    limits: &'s Limits,
    placing: Placing<'s>,
    left: Left,
    notes: Vec<String>,
}

impl<'s> Found<'s> {
    pub(super) fn new(source: &'s Source, limits: &'s Limits, storages: &'s Storages<'s>) -> Self {
        let placing = Placing::new(source, limits, storages);
        Self { source, limits, placing, left: Left::default(), notes: Vec::new() }
    }

    /// Takes in the tensors of the model in a pickle, whose storages lie under this folder.
    pub(super) fn take_model(&mut self, pickle: &Pickle, folder: &str, prefix: &str) -> Result<(), Error> {
        let tree = Tree::new(pickle);
        let choice = choose::choose(&tree);
        self.notes.extend(choice.note.clone());
        self.take(&tree, &choice, folder, prefix)?;
        self.notes.extend(calls::note(pickle));
        Ok(())
    }

    fn take_constants(&mut self, pickle: &Pickle) -> Result<(), Error> {
        let tree = Tree::new(pickle);
        let whole = choose::Choice { root: pickle.root(), without: HashSet::new(), note: None };
        self.take(&tree, &whole, "constants/", "CONSTANTS.c")?;
        self.notes.extend(calls::note(pickle));
        Ok(())
    }

    fn take(&mut self, tree: &Tree<'_>, choice: &choose::Choice<'_>, folder: &str, prefix: &str) -> Result<(), Error> {
        let fail = |place: String, what| wrong(self.source.path(), place, what);
        let listing = names::list(tree, choice, self.limits).map_err(|what| fail(PICKLE.into(), what))?;
        if let Some((name, what)) = &listing.left.first {
            self.left.add(name, what);
            self.left.count += listing.left.count - 1;
        }
        for (name, id) in listing.named {
            let name = format!("{prefix}{name}");
            let read = rebuild::read(tree.pickle, id, self.limits);
            match read.map_err(|what| wrong(self.source.path(), format!("tensor {}", quoted(&name)), what))? {
                // PyTorch turns what it knows the width of when it reads a storage, and not this: nobody can say what was meant.
                Rebuilt::Tensor(tensor) if self.placing.is_unsure(&tensor) => {
                    self.left.add(&name, "a tensor in an untyped storage of a big-endian file");
                }
                Rebuilt::Tensor(mut tensor) => {
                    tensor.storage.key.insert_str(0, folder);
                    self.placing.add(name, tensor)?;
                }
                Rebuilt::Alone(what) => self.left.add(&name, &what),
            }
        }
        Ok(())
    }

    /// The table, with a note for everything that is not as it seems.
    pub(super) fn table(self, pickle: &Pickle) -> Result<Table, Error> {
        let placed = &self.placing.placed;
        let mut notes = self.notes;
        notes.extend(self.left.first.map(|(name, what)| match self.left.count {
            1 => format!("{} is left alone: it is {what}", quoted(&name)),
            more => format!("{more} values are left alone, {} first: it is {what}", quoted(&name)),
        }));
        if placed.is_empty() {
            let what = if notes.is_empty() {
                nothing_in(pickle)
            } else {
                format!("no tensor of it can be opened: {}", notes.join("; "))
            };
            return Err(wrong(self.source.path(), PICKLE, what));
        }
        check_names(self.source, self.placing.names().map(|(name, _)| name).collect())?;
        let aliases = self.placing.names().filter_map(|(name, of)| Some((name.to_owned(), of?.to_owned()))).collect();
        notes.extend(shared::note(placed));
        let (tensors, annex) = self.placing.finish()?;
        Ok(Table { tensors, annex, aliases, notes, ..Table::default() })
    }
}
