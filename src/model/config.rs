//! `config.json` beside the weights: the few numbers that say how wide a network is built, read where a choice depends on them.

use super::Origin;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The name of the file.
pub const CONFIG: &str = "config.json";
/// Bytes that are read at most.
const BYTES: u64 = 1 << 22;

/// What stands in a `config.json`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    map: Map<String, Value>,
}

impl Config {
    /// The config of a folder, or the one beside a file; `None` when there is none that can be read.
    pub(super) fn beside(origin: &Origin) -> Option<Self> {
        let folder: PathBuf = match origin {
            Origin::Folder(folder) => folder.clone(),
            Origin::File(file) => file.parent().unwrap_or(Path::new("")).to_path_buf(),
            Origin::Demo(_) => return None,
        };
        Self::parse(&read_small(&folder.join(CONFIG), BYTES)?)
    }

    /// Reads the text of one; `None` when it is not a JSON object.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().map(|map| Self { map })
    }

    /// The number under a key.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<usize> {
        self.map.get(key)?.as_u64().and_then(|n| usize::try_from(n).ok())
    }

    /// Whether a key stands there with anything but null.
    #[must_use]
    pub fn says(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// The value under some keys, each in the object of the one before.
    #[must_use]
    pub fn value(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.map.get(*first)?, |value, key| value.get(key))
    }

    /// The number under a path of keys, with or without a point.
    #[must_use]
    pub fn real(&self, path: &[&str]) -> Option<f64> {
        self.value(path)?.as_f64()
    }

    /// The text under a path of keys.
    #[must_use]
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.value(path)?.as_str()
    }

    /// Yes or no under a key.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.map.get(key)?.as_bool()
    }

    /// The number under a key, or the first of a list of them.
    #[must_use]
    pub fn first_number(&self, key: &str) -> Option<usize> {
        let value = self.map.get(key)?;
        value.get(0).unwrap_or(value).as_u64().and_then(|n| usize::try_from(n).ok())
    }

    /// The family of models that the config is of, as `model_type` says or the first of its architectures begins; empty when
    /// neither is there.
    #[must_use]
    pub fn family(&self) -> String {
        if let Some(family) = self.map.get("model_type").and_then(Value::as_str) {
            return family.to_owned();
        }
        let class = self.map.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
        class.and_then(|class| class.split("For").next()).unwrap_or_default().to_lowercase()
    }

    /// Whether some program builds a network from it.
    #[must_use]
    pub fn names_an_architecture(&self) -> bool {
        ["model_type", "architectures", "architecture"].iter().any(|key| self.says(key))
    }

    /// The text with some values changed, and those left out that are `None`; everything else as it was.
    #[must_use]
    pub fn with(&self, values: &[(&str, Option<Value>)]) -> String {
        let mut map = self.map.clone();
        for (key, value) in values {
            match value {
                Some(value) => drop(map.insert((*key).to_owned(), value.clone())),
                None => drop(map.remove(*key)),
            }
        }
        format!("{:#}\n", Value::Object(map))
    }
}

/// The bytes of a file beside the weights; `None` when it is not there, cannot be read, or is longer than `most`.
pub(super) fn read_small(path: &Path, most: u64) -> Option<Vec<u8>> {
    // A pipe would be waited for.
    if !std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= most) {
        return None;
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_changed_and_the_rest_stays() {
        let text = br#"{"model_type": "llama", "intermediate_size": 96, "rope": {"theta": 1e4}, "n_inner": null}"#;
        let config = Config::parse(text).unwrap();
        assert_eq!((config.number("intermediate_size"), config.number("rope")), (Some(96), None));
        assert!(config.names_an_architecture() && !config.says("n_inner") && !config.says("absent"));
        let values = [("intermediate_size", Some(72.into())), ("head_dim", Some(8.into())), ("n_inner", None)];
        let changed = Config::parse(config.with(&values).as_bytes()).unwrap();
        assert!(config.value(&["n_inner"]).is_some() && changed.value(&["n_inner"]).is_none());
        assert_eq!((changed.number("intermediate_size"), changed.number("head_dim")), (Some(72), Some(8)));
        assert_eq!((changed.family().as_str(), changed.map.get("rope")), ("llama", config.map.get("rope")));
        let named = Config::parse(br#"{"architectures": ["Qwen2ForCausalLM"]}"#).unwrap();
        assert_eq!(named.family(), "qwen2");
        assert!(Config::parse(b"[1]").is_none() && Config::parse(b"version https://git-lfs").is_none());
    }
}
