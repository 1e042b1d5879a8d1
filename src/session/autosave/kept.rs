//! What is kept of an open model, as text with a checksum: which model it was, the recipe, what was selected.

use crate::kernels::hash::{START, fnv1a};
use crate::model::{Model, Origin};
use crate::recipe::{Recipe, file};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The first line, before the checksum. Another version is another line.
const HEAD: &str = "spokeshave autosave 1 ";
/// What the first line of every version begins with.
const HEAD_OF_ANY: &str = "spokeshave autosave ";

/// A recipe that was kept, and what it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The model's short name.
    pub name: String,
    /// Where the model was opened from, where that can be said as text; for a demo what opens it.
    pub path: Option<PathBuf>,
    /// Tells one state of the model's files from another.
    pub identity: String,
    /// When it was kept.
    pub saved: SystemTime,
    /// Whether the window was closed as it should be.
    pub closed: bool,
    /// Names of the selected tensors, the shown one first.
    pub selected: Vec<String>,
    /// The recipe, its target and locks included.
    pub recipe: Recipe,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    path: Option<String>,
    identity: String,
    saved: u64,
    closed: bool,
    selected: Vec<String>,
    recipe: String,
}

/// What keeps a text from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not what was written.
    Damaged,
    /// Another version of this program wrote it.
    Foreign,
}

impl Kept {
    /// What is kept of a model that was just opened.
    #[must_use]
    pub fn of(model: &Model, recipe: Recipe) -> Self {
        let path = place_of(model);
        Self {
            name: model.name.clone(),
            path: path.to_str().is_some().then_some(path),
            identity: identity_of(model),
            saved: SystemTime::UNIX_EPOCH,
            closed: false,
            selected: Vec::new(),
            recipe,
        }
    }

    /// As it is written.
    #[must_use]
    pub fn print(&self) -> String {
        let raw = Raw {
            name: self.name.clone(),
            path: self.path.as_ref().and_then(|path| path.to_str()).map(str::to_owned),
            identity: self.identity.clone(),
            saved: self.saved.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            closed: self.closed,
            selected: self.selected.clone(),
            recipe: file::print(&self.recipe.with_whole_paths()),
        };
        // Text, numbers and lists of text are always JSON.
        let body = serde_json::to_string_pretty(&raw).unwrap_or_default();
        format!("{HEAD}{:016x}\n{body}\n", fnv1a(body.as_bytes(), START))
    }

    /// Reads what [`Kept::print`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let Some((sum, body)) = text.strip_prefix(HEAD).and_then(|rest| rest.split_once('\n')) else {
            return Err(if text.starts_with(HEAD_OF_ANY) { Unreadable::Foreign } else { Unreadable::Damaged });
        };
        let body = body.strip_suffix('\n').ok_or(Unreadable::Damaged)?;
        if u64::from_str_radix(sum, 16) != Ok(fnv1a(body.as_bytes(), START)) {
            return Err(Unreadable::Damaged);
        }
        let raw: Raw = serde_json::from_str(body).map_err(|_| Unreadable::Damaged)?;
        let recipe = file::parse(&raw.recipe, Path::new("autosave")).map_err(|_| Unreadable::Damaged)?;
        Ok(Self {
            name: raw.name,
            path: raw.path.map(PathBuf::from),
            identity: raw.identity,
            saved: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(raw.saved)).ok_or(Unreadable::Damaged)?,
            closed: raw.closed,
            selected: raw.selected,
            recipe,
        })
    }

    /// How long ago it was kept, in words.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> String {
        let seconds = now.duration_since(self.saved).unwrap_or_default().as_secs();
        let (count, unit) = match seconds {
            0..60 => return "a moment ago".into(),
            60..3600 => (seconds / 60, "minute"),
            3600..86_400 => (seconds / 3600, "hour"),
            _ => (seconds / 86_400, "day"),
        };
        format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
    }
}

/// Where a model was opened from; for a demo what opens it.
fn place_of(model: &Model) -> PathBuf {
    match &model.origin {
        Origin::File(path) | Origin::Folder(path) => std::fs::canonicalize(path).unwrap_or_else(|_| path.clone()),
        Origin::Demo(name) => PathBuf::from(format!("demo:{name}")),
    }
}

/// A number for where a model was opened from.
#[must_use]
pub fn key_of(model: &Model) -> u64 {
    fnv1a(place_of(model).as_os_str().as_encoded_bytes(), START)
}

/// Path, size and time of every file, as one number.
fn identity_of(model: &Model) -> String {
    let one = |hash: u64, shard: &crate::formats::Source| {
        let time = shard.identity().and_then(|identity| identity.modified);
        let time = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
        let hash = fnv1a(shard.path().file_name().unwrap_or_default().as_encoded_bytes(), hash);
        fnv1a(&time.as_nanos().to_le_bytes(), fnv1a(&shard.len().to_le_bytes(), hash))
    };
    format!("{:016x}", model.shards.iter().fold(START, one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OpenOptions, open};
    use crate::recipe::Target;

    fn kept() -> Kept {
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        let mut recipe = Recipe { target: Some(Target::Packed), ..Recipe::default() };
        recipe.set_one("fc1.weight", "prune:0.5+int4:row".parse().unwrap());
        recipe.locked.push("odd \"name\"\n\u{202e}".into());
        let saved = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Kept { saved, selected: vec!["fc1.weight".into()], ..Kept::of(&model, recipe) }
    }

    #[test]
    fn what_is_kept_is_found_again_and_nothing_else_is() {
        let (kept, text) = (kept(), kept().print());
        assert_eq!(Kept::parse(&text), Ok(kept));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(damaged) = String::from_utf8(bytes) else { continue };
            assert!(Kept::parse(&damaged).is_err(), "byte {at}");
            assert!(text.get(..at).is_none_or(|cut| Kept::parse(cut).is_err()), "cut at {at}");
        }
        assert_eq!(Kept::parse("spokeshave autosave 2 whatever\n{}"), Err(Unreadable::Foreign));
        assert_eq!(Kept::parse(&"[".repeat(100_000)), Err(Unreadable::Damaged));
        let body = "{\"name\":1}";
        let sum = fnv1a(body.as_bytes(), START);
        assert_eq!(Kept::parse(&format!("{HEAD}{sum:016x}\n{body}\n")), Err(Unreadable::Damaged));
    }

    #[test]
    fn ages_are_words() {
        let kept = kept();
        let after = |seconds| kept.age(kept.saved + Duration::from_secs(seconds));
        let words = [0, 59, 60, 7200, 86_400 * 3].map(after);
        assert_eq!(words, ["a moment ago", "a moment ago", "1 minute ago", "2 hours ago", "3 days ago"]);
        assert_eq!(kept.age(SystemTime::UNIX_EPOCH), "a moment ago");
    }
}
