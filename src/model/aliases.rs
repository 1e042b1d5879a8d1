//! One tensor under several names: tied weights, which PyTorch keeps in one storage.
//!
//! A safetensors file holds such a tensor once. `safetensors.torch.save_model` writes each name that it leaves out into the header's
//! text, with the name that it keeps; what stands there is read here, and what is written is what stands there.

use super::roles::role_of;
use super::{Config, Model, Role, Tensor};
use crate::formats::Entry;
use crate::formats::error::quoted;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Other names, each with a tensor's own.
pub(super) type Aliases = BTreeMap<String, String>;

/// The key of the text that names the framework; it is no tensor's.
const FORMAT_KEY: &str = "format";

/// What the text of a file may say of other names: every key with its value, but those of its own.
pub(super) fn said(metadata: &BTreeMap<String, String>) -> Aliases {
    let is_own = |key: &str| key == FORMAT_KEY || key.starts_with("spokeshave.");
    metadata.iter().filter(|(key, _)| !is_own(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Calls a tensor that is an embedding among other things by the embedding's name, in a model whose config says of what network it is:
/// by that name its loaders look for it, and take what else is tied to it from there.
pub(super) fn prefer_embeddings(aliases: &mut Aliases, entries: &mut [(usize, Entry)], config: &Config) {
    if aliases.is_empty() || !config.names_an_architecture() {
        return;
    }
    let is_embedding = |name: &str, entry: &Entry| role_of(name, &entry.shape, false) == Role::Embedding;
    let mut others: HashMap<&str, Vec<&str>> = HashMap::new();
    for (alias, own) in &*aliases {
        others.entry(own).or_default().push(alias);
    }
    let mut renamed = Aliases::new();
    // A text may call a tensor by a name that another one has: that is no name of it.
    let taken: HashSet<String> = entries.iter().map(|(_, entry)| entry.name.clone()).collect();
    for (_, entry) in &mut *entries {
        let better = others.get(entry.name.as_str()).filter(|_| !is_embedding(&entry.name, entry));
        let fits = |other: &&&str| is_embedding(other, entry) && !taken.contains(**other);
        if let Some(&better) = better.and_then(|others| others.iter().find(fits)) {
            renamed.insert(std::mem::replace(&mut entry.name, better.to_owned()), better.to_owned());
        }
    }
    for own in aliases.values_mut() {
        if let Some(better) = renamed.get(own) {
            own.clone_from(better);
        }
    }
    for (old, better) in renamed {
        aliases.remove(&better);
        aliases.insert(old, better);
    }
    entries.sort_unstable_by(|a, b| a.1.name.cmp(&b.1.name));
}

/// Gives tensors, which are in order of name, the other names that are said of them where those are nobody's own; `None` where no
/// tensor has any, else what is told of them.
pub(super) fn settle(aliases: Aliases, tensors: &mut [Tensor]) -> (BTreeMap<String, usize>, Option<String>) {
    let find = |tensors: &[Tensor], name: &str| tensors.binary_search_by(|t| t.name.as_str().cmp(name)).ok();
    let mut settled = BTreeMap::new();
    let mut told = None;
    for (alias, own) in aliases {
        let Some(index) = find(tensors, &own).filter(|_| find(tensors, &alias).is_none()) else { continue };
        told.get_or_insert_with(|| format!("{} is one storage with {} and counts once", quoted(&alias), quoted(&own)));
        if let Some(tensor) = tensors.get_mut(index) {
            tensor.also.push(alias.clone());
        }
        settled.insert(alias, index);
    }
    let more = match settled.len() {
        0 | 1 => String::new(),
        2 => "; 1 more name is tied like this".to_owned(),
        n => format!("; {} more names are tied like this", n - 1),
    };
    (settled, told.map(|told| told + &more))
}

impl Model {
    /// The position of the tensor that a tensor of another model is here: by its own name, else by another of its names.
    #[must_use]
    pub fn counterpart(&self, tensor: &Tensor) -> Option<usize> {
        tensor.names().find_map(|name| self.find(name))
    }

    /// A tensor's own name, where `name` is one of its names.
    #[must_use]
    pub fn own_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).and_then(|&index| self.tensors.get(index)).map_or(name, |tensor| &tensor.name)
    }
}

impl Tensor {
    /// All its names, its own first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.also).map(String::as_str)
    }
}
