//! The index beside shards: which tensor lies in which file, each file judged as a string before it may become a path.

use super::Limits;
use super::error::{ErrorKind, printable, quoted};
use super::json::{Document, Found, One, Seed, Skip, Take, Verdict, read_document};
use serde::de::MapAccess;
use std::cell::Cell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What messages call the document that is read here.
const INDEX: &str = "the index";

/// Bytes of an index that are read at most; it lists names of tensors and files only.
pub const LARGEST: u64 = 100_000_000;

/// Tensors by name, each with the position of its file in a list without repetitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Relative, slash-separated, plain names with the ending of the shards' format, in bytewise order.
    pub files: Vec<String>,
    /// Tensor to file.
    pub tensors: BTreeMap<String, usize>,
}

/// The ending of shards that are safetensors.
pub const SAFETENSORS: &str = ".safetensors";

/// The ending of PyTorch's shards.
pub const PYTORCH: &str = ".bin";

/// Reads the text of an index of safetensors shards. Nothing of it but `weight_map` is believed or kept.
///
/// # Errors
/// The first rule that it breaks: JSON, no name twice, plain file names only, at least one.
pub fn read_bytes(bytes: &[u8], limits: &Limits) -> Result<Index, ErrorKind> {
    read_bytes_of(bytes, SAFETENSORS, limits)
}

/// [`read_bytes`] for shards whose names have this ending.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_bytes_of(bytes: &[u8], ending: &'static str, limits: &Limits) -> Result<Index, ErrorKind> {
    let (verdict, left) = (Verdict::default(), Cell::new(limits.skipped));
    let skip = Skip { verdict: &verdict, left: &left, place: INDEX, allowed: limits.skipped };
    let index = read_document(bytes, INDEX, &verdict, Members { limits, ending, skip })?;
    if index.tensors.is_empty() {
        return Err(bad("its weight_map names no tensor; save or download it again"));
    }
    Ok(index.in_order())
}

fn bad(what: impl Into<String>) -> ErrorKind {
    ErrorKind::Index { what: what.into() }
}

/// The document's object.
struct Members<'h> {
    limits: &'h Limits,
    ending: &'static str,
    skip: Skip<'h>,
}

impl<'h> Members<'h> {
    fn weight_map(&self) -> WeightMap<'h> {
        WeightMap { verdict: self.skip.verdict, limits: self.limits, ending: self.ending }
    }
}

impl<'de> Document<'de> for Members<'_> {
    type Out = Index;

    fn members<A: MapAccess<'de>>(self, mut members: A) -> Result<Index, A::Error> {
        let verdict = self.skip.verdict;
        let (mut index, mut others) = (None, HashSet::new());
        while let Some(key) = members.next_key::<String>()? {
            let twice = if key == "weight_map" {
                index.replace(members.next_value_seed(Seed(self.weight_map()))?).is_some()
            } else {
                members.next_value_seed(Seed(self.skip))?;
                !others.insert(key.clone())
            };
            if twice {
                return verdict.refuse(ErrorKind::DuplicateKey { place: INDEX.into(), name: printable(&key) });
            }
        }
        let none = || {
            verdict.refuse(bad("it has no weight_map; an index maps tensor names to files; save or download it again"))
        };
        index.map_or_else(none, Ok)
    }
}

/// The object under `weight_map`.
struct WeightMap<'h> {
    verdict: &'h Verdict,
    limits: &'h Limits,
    ending: &'static str,
}

impl<'de> Take<'de> for WeightMap<'_> {
    type Out = Index;

    fn plain<E: serde::de::Error>(self, found: Found<'_>) -> Result<Index, E> {
        self.verdict.refuse(bad(format!(
            "its weight_map is {found}, not an object that maps tensor names to files; save or download it again"
        )))
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Index, A::Error> {
        let (verdict, mut index) = (self.verdict, Index::default());
        let mut positions: HashMap<String, usize> = HashMap::new();
        while let Some(tensor) = members.next_key::<String>()? {
            let file = |found: Found<'_>| {
                let name = plain_name(&tensor, found, self.ending)?;
                if let Some(&position) = positions.get(name) {
                    return Ok(position);
                }
                let position = index.files.len();
                index.files.push(name.to_owned());
                positions.insert(name.to_owned(), position);
                Ok(position)
            };
            let file = members.next_value_seed(Seed(One(verdict, file)))?;
            if index.tensors.len() == self.limits.tensors {
                return verdict.refuse(bad(format!("it names more than {} tensors", self.limits.tensors)));
            }
            match index.tensors.entry(tensor) {
                Entry::Vacant(place) => drop(place.insert(file)),
                Entry::Occupied(there) => {
                    let (place, name) = ("the weight_map of the index".into(), printable(there.key()));
                    return verdict.refuse(ErrorKind::DuplicateKey { place, name });
                }
            }
        }
        Ok(index)
    }
}

impl Index {
    /// The same with its files in bytewise order.
    fn in_order(mut self) -> Self {
        let mut order: Vec<usize> = (0..self.files.len()).collect();
        order.sort_by_key(|&i| self.files.get(i));
        let mut rank = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            if let Some(place) = rank.get_mut(old) {
                *place = new;
            }
        }
        for file in self.tensors.values_mut() {
            *file = rank.get(*file).copied().unwrap_or_default();
        }
        self.files.sort();
        self
    }
}

/// The file of a tensor, when it is a plain name inside the folder.
fn plain_name<'a>(tensor: &str, found: Found<'a>, ending: &str) -> Result<&'a str, ErrorKind> {
    let tensor = quoted(tensor);
    let Found::Text(file) = found else {
        return Err(bad(format!("tensor {tensor} is mapped to {found}, not to the name of a file")));
    };
    let shown = quoted(file);
    match () {
        () if !is_plain(file) => {
            Err(bad(format!("tensor {tensor} is mapped to {shown}; only names inside this folder are followed")))
        }
        () if !file.ends_with(ending) => {
            Err(bad(format!("tensor {tensor} is mapped to {shown}; only {ending} files are opened")))
        }
        () => Ok(file),
    }
}

/// Relative, slash-separated plain components, no way up, no drive.
fn is_plain(file: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    !file.contains(['\\', ':', '\0']) && file.split('/').all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Result<Index, ErrorKind> {
        read_bytes(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn only_plain_names_are_shards() {
        let mapped = |file: &str| open(&serde_json::json!({"weight_map": {"t": file}}).to_string());
        for good in ["model-00001-of-00002.safetensors", "sub/a.safetensors", "a..b.safetensors"] {
            assert_eq!(mapped(good).unwrap().files, [good]);
        }
        for bad in [
            "../a.safetensors",
            "/a.safetensors",
            "a/../b.safetensors",
            "c:a.safetensors",
            "a\\b.safetensors",
            "./a.safetensors",
            "a//b.safetensors",
            "http://x/a.safetensors",
            "",
        ] {
            let told = mapped(bad).unwrap_err().to_string();
            assert!(told.contains("inside this folder") && told.contains(bad), "{told}");
        }
        assert!(mapped("a.bin").unwrap_err().to_string().contains(".safetensors files are opened"));
    }

    #[test]
    fn files_are_in_order_and_tensors_find_them() {
        let text =
            r#"{"weight_map": {"a": "z.safetensors", "b": "a.safetensors", "c": "z.safetensors"}, "metadata": {}}"#;
        let index = open(text).unwrap();
        assert_eq!(index.files, ["a.safetensors", "z.safetensors"]);
        assert_eq!(index.tensors.values().copied().collect::<Vec<_>>(), [1, 0, 1]);
    }

    #[test]
    fn each_fault_is_the_index_s() {
        for (text, told) in [
            ("[]", "the index is a list"),
            ("weights!", "the index is not valid JSON"),
            ("{}", "no weight_map"),
            (r#"{"weight_map": []}"#, "is a list"),
            (r#"{"weight_map": {}}"#, "names no tensor"),
            (r#"{"weight_map": {"a": 3}}"#, "mapped to 3"),
            (r#"{"weight_map": {"a": "x.safetensors", "\u0061": "x.safetensors"}}"#, "twice"),
            (r#"{"weight_map": {"a": "x.safetensors"}, "weight_map": {}}"#, "twice"),
            (r#"{"x": 1, "x": 2}"#, "twice"),
        ] {
            let words = open(text).unwrap_err().to_string();
            assert!(words.contains(told) && words.contains("index"), "{text}: {words}");
        }
    }
}
