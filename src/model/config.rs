//! `config.json` beside the weights: the few numbers that say how wide a network is built, read where a choice depends on them.
//!
//! Python writes numbers that JSON does not have: NaN, Infinity and -Infinity. They are read as null, and stay as they are in the
//! text, of which only the values that change are written anew.

use super::groups::{CONFIG_KEY, MLX_KEY, OLD_KEY};
use super::{Origin, presets};
use crate::formats::error::display_path;
use crate::formats::gguf::{KeyValue, KeyValues, Kind, Value as Pair};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The name of the file.
pub const CONFIG: &str = "config.json";
/// The key of a GGUF file, behind that of its architecture, that says how wide feed-forward blocks are.
pub const PAIR_WIDTH: &str = "feed_forward_length";
/// Bytes that are read at most.
const BYTES: u64 = 1 << 22;
/// Where AutoGPTQ and AutoAWQ said how codes lie before that stood in the config itself, and what transformers calls the method.
pub const OF_CODES: [(&str, &str); 2] = [("quantize_config.json", "gptq"), ("quant_config.json", "awq")];

/// What stands in a `config.json`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    map: Map<String, Value>,
    /// The text that it was read from.
    text: String,
    /// Whether it is no text, but what a GGUF file says.
    of_pairs: bool,
}

impl Config {
    /// The config of a folder, or the one beside a file; `None` where there is none.
    ///
    /// # Errors
    /// Why one that is there cannot be read, with its path and what to do.
    pub(super) fn beside(origin: &Origin) -> Result<Option<Self>, String> {
        let folder: PathBuf = match origin {
            Origin::Folder(folder) => folder.clone(),
            Origin::File(file) => file.parent().unwrap_or(Path::new("")).to_path_buf(),
            Origin::Demo(_) => return Ok(None),
        };
        let path = folder.join(CONFIG);
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let told = |path: &Path, why| format!("{}: {why}; mend it, and open the model again", display_path(path));
        let read =
            |path: &Path| read_checked(path, BYTES).and_then(|text| Self::read(&text)).map_err(|why| told(path, why));
        let mut config = read(&path)?;
        if !config.says(CONFIG_KEY) && !config.says(MLX_KEY) {
            // Where it was told how codes lie before that key was there.
            let there = |(name, _): &&(&str, &str)| folder.join(name).symlink_metadata().is_ok();
            let old = config.map.get(OLD_KEY).and_then(Value::as_object).cloned();
            let found = match (old, OF_CODES.iter().find(there)) {
                (Some(old), _) => Some((old, "compressed-tensors")),
                (None, Some(&(name, method))) => Some((read(&folder.join(name))?.map, method)),
                (None, None) => None,
            };
            if let Some((mut block, method)) = found {
                block.entry("quant_method").or_insert_with(|| method.into());
                config.map.insert(CONFIG_KEY.into(), block.into());
            }
        }
        let groups = config.map.get_mut(CONFIG_KEY).and_then(|block| block.get_mut("config_groups"));
        groups.and_then(Value::as_object_mut).into_iter().for_each(presets::spell_out);
        Ok(Some(config))
    }

    /// What a GGUF file says of its network, under the keys that a config has for it.
    pub(super) fn of_pairs(pairs: &KeyValues) -> Option<Self> {
        let family = pairs.text("general.architecture")?;
        let number = |key: &str| match pairs.0.iter().find(|pair| pair.key == format!("{family}.{key}")) {
            Some(KeyValue { kind: Kind::U32, value: Pair::Unsigned(number), .. }) => Some(*number),
            _ => None,
        };
        let mut map = Map::new();
        map.insert("model_type".into(), family.into());
        for (ours, theirs) in [
            ("num_attention_heads", "attention.head_count"),
            ("num_key_value_heads", "attention.head_count_kv"),
            ("head_dim", "attention.key_length"),
            (PAIR_WIDTH, PAIR_WIDTH),
        ] {
            map.extend(number(theirs).map(|number| (ours.to_owned(), number.into())));
        }
        Some(Self { map, of_pairs: true, ..Self::default() })
    }

    /// Whether it is what a GGUF file says.
    #[must_use]
    pub const fn is_of_pairs(&self) -> bool {
        self.of_pairs
    }

    /// Reads the text of one; `None` when it is not a JSON object.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::read(text).ok()
    }

    fn read(text: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8(text.to_vec()).map_err(|_| "it is not UTF-8 text".to_owned())?;
        let map = serde_json::from_str(&without_names_of_numbers(&text));
        map.map(|map| Self { map, text, of_pairs: false })
            .map_err(|error| format!("it is no JSON object that can be read ({error})"))
    }

    /// Whether nothing stands in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
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
    pub fn family(&self) -> Cow<'_, str> {
        if let Some(family) = self.map.get("model_type").and_then(Value::as_str) {
            return family.into();
        }
        let class = self.map.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
        class.and_then(|class| class.split("For").next()).unwrap_or_default().to_lowercase().into()
    }

    /// Whether it says the same as another but for numbers, which may also be missing from one of them.
    #[must_use]
    pub fn differs_in_numbers_alone(&self, other: &Self) -> bool {
        let number = |value: Option<&Value>| value.is_none_or(|value| value.is_number() || value.is_null());
        self.map.keys().chain(other.map.keys()).all(|key| {
            let (mine, theirs) = (self.map.get(key), other.map.get(key));
            mine == theirs || (number(mine) && number(theirs))
        })
    }

    /// Whether some program builds a network from it.
    #[must_use]
    pub fn names_an_architecture(&self) -> bool {
        ["model_type", "architectures", "architecture"].iter().any(|key| self.says(key))
    }

    /// The text with some values changed, and those left out that are `None`; everything else as it stands there.
    #[must_use]
    pub fn with(&self, values: &[(&str, Option<Value>)]) -> String {
        let mut members: Vec<(String, String)> = Vec::new();
        for (key, text) in members_of(&self.text) {
            // Of a key that comes twice the last is meant.
            members.retain(|(known, _)| *known != key);
            members.push((key, text.to_owned()));
        }
        for (key, value) in values {
            let at = members.iter().position(|(known, _)| known == key);
            match (value, at) {
                (Some(value), Some(at)) if self.map.get(*key) != Some(value) => members[at].1 = indented(value),
                (Some(_), Some(_)) | (None, None) => {}
                (Some(value), None) => members.push(((*key).to_owned(), indented(value))),
                (None, Some(at)) => drop(members.remove(at)),
            }
        }
        let lines: Vec<String> =
            members.iter().map(|(key, text)| format!("  {}: {text}", Value::from(key.as_str()))).collect();
        if lines.is_empty() { "{}\n".to_owned() } else { format!("{{\n{}\n}}\n", lines.join(",\n")) }
    }
}

/// Two that say the same, however they are written.
impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.map == other.map
    }
}

/// A value as a member of an object is written.
fn indented(value: &Value) -> String {
    format!("{value:#}").replace('\n', "\n  ")
}

/// The members of a text that is known to be an object: each key, and its value as it is written.
fn members_of(text: &str) -> Vec<(String, &str)> {
    let (mut out, mut depth, mut start, mut key) = (Vec::new(), 0_usize, 0, String::new());
    for (at, sign) in signs(text) {
        match sign {
            b'{' | b'[' => {
                depth += 1;
                start = if depth == 1 { at + 1 } else { start };
            }
            b':' if depth == 1 => {
                key = serde_json::from_str(text[start..at].trim()).unwrap_or_default();
                start = at + 1;
            }
            b',' | b'}' if depth == 1 => {
                let value = text[start..at].trim();
                if !value.is_empty() {
                    out.push((std::mem::take(&mut key), value));
                }
                start = at + 1;
                depth -= usize::from(sign == b'}');
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    out
}

/// The bytes of a text that stand in no string, with their places.
fn signs(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let (mut inside, mut escaped) = (false, false);
    text.bytes().enumerate().filter(move |&(_, byte)| {
        let was_inside = inside;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            _ => {}
        }
        !was_inside && byte != b'"'
    })
}

/// The text with null in place of Python's names of numbers.
fn without_names_of_numbers(text: &str) -> Cow<'_, str> {
    const NAMES: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    let (mut out, mut done) = (String::new(), 0);
    for (at, _) in signs(text).filter(|(_, sign)| matches!(sign, b'-' | b'I' | b'N')) {
        let name = if at < done { None } else { NAMES.iter().find(|&&name| text[at..].starts_with(name)) };
        if let Some(name) = name {
            out.push_str(&text[done..at]);
            out.push_str("null");
            done = at + name.len();
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// The bytes of a file beside the weights; `None` when it is not there, cannot be read, or is longer than `most`.
pub(super) fn read_small(path: &Path, most: u64) -> Option<Vec<u8>> {
    read_checked(path, most).ok()
}

/// The same, with the reason where it is not read.
fn read_checked(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("it cannot be read ({error})");
    let metadata = std::fs::metadata(path).map_err(told)?;
    // A pipe would be waited for.
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    if metadata.len() > most {
        return Err(format!("it is {} bytes long, more than the {most} allowed", metadata.len()));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(told)?;
    Ok(bytes)
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
        assert_eq!((&*changed.family(), changed.map.get("rope")), ("llama", config.map.get("rope")));
        let named = Config::parse(br#"{"architectures": ["Qwen2ForCausalLM"]}"#).unwrap();
        assert_eq!(named.family(), "qwen2");
        assert!(Config::parse(b"[1]").is_none() && Config::parse(b"version https://git-lfs").is_none());
    }
    #[test]
    fn what_does_not_change_keeps_its_text() {
        let text = r#"{"z": [0.0, Infinity, -Infinity], "a": 123456789012345678901234567890, "say": "NaN, {\"x\": Infinity}",
            "b": {"c": NaN}, "n": 1, "n": 2, "gone": [1, {"y": 2}]}"#;
        let config = Config::parse(text.as_bytes()).unwrap();
        assert_eq!((config.value(&["z"]).unwrap()[1].is_null(), config.number("n")), (true, Some(2)));
        assert_eq!(config.text(&["say"]), Some("NaN, {\"x\": Infinity}"));
        let values = [("gone", None), ("n", Some(2.into())), ("new", Some(serde_json::json!({"k": 1})))];
        let wanted = "{\n  \"z\": [0.0, Infinity, -Infinity],\n  \"a\": 123456789012345678901234567890,\n  \
            \"say\": \"NaN, {\\\"x\\\": Infinity}\",\n  \"b\": {\"c\": NaN},\n  \"n\": 2,\n  \
            \"new\": {\n    \"k\": 1\n  }\n}\n";
        assert_eq!(config.with(&values), wanted);
        assert_eq!(Config::parse(b"{}").unwrap().with(&[]), "{}\n");
        assert_eq!(Config::default().with(&[("a", Some(1.into()))]), "{\n  \"a\": 1\n}\n");
        assert!(Config::parse(b"{\"a\": 1e400}").is_none() && Config::parse(b"{\"a\": Infinite}").is_none());
    }
}
