//! The recipe file: TOML, versioned, strict about unknown keys, and written in one canonical form.

use super::{Error, Lines, Override, Pattern, Recipe, Rule, Scheme, Target};
use crate::formats::error::{printable, quoted};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The version that is written. Older ones are read for ever.
pub const VERSION: i64 = 1;

/// Bytes of a recipe that are read at most. A scheme of its own for every matrix of the largest published models, 70,000 of
/// them, takes 7.4 MB.
pub const LARGEST: usize = 8 << 20;

/// Signs that begin a key's value, an item or a table (`=`, `,`, `[`) in a recipe that is read. Those recipes have 280,000;
/// a list of nothing but items has one in two bytes, and each would take a hundred in memory.
pub const MOST_SIGNS: usize = 400_000;

/// Rules that are read at most.
pub const MOST_RULES: usize = 1 << 16;

/// Bytes that all patterns of a recipe may take when compiled, each different one counted once.
pub const HEAVIEST: usize = 64 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: toml::Spanned<toml::Value>,
    target: Option<toml::Spanned<String>>,
    #[serde(default)]
    requantize: bool,
    #[serde(default)]
    rule: Vec<RawRule>,
    #[serde(default, rename = "override")]
    overrides: Vec<RawOverride>,
    #[serde(default)]
    locked: Vec<toml::Spanned<String>>,
    #[serde(default)]
    meta: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    #[serde(rename = "match")]
    pattern: toml::Spanned<String>,
    scheme: toml::Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOverride {
    tensor: toml::Spanned<String>,
    scheme: toml::Spanned<String>,
}

/// Where a file names tensors: of use only when a name turns out to be nobody's.
#[derive(Debug)]
pub(super) struct NamedLines {
    path: Arc<Path>,
    /// What names it ("override", "locked") and the name.
    lines: HashMap<(&'static str, String), usize>,
}

impl Lines {
    /// The same error with the file and the line that caused it, where these are known.
    pub(super) fn told(&self, error: Error, what: &'static str, name: &str) -> Error {
        let found = self
            .0
            .as_ref()
            .and_then(|named| named.lines.get(&(what, name.to_owned())).map(|&line| (named.path.to_path_buf(), line)));
        match found {
            Some((path, line)) => Error::File { path, line, what: format!("{what}: {error}") },
            None => error,
        }
    }
}

/// Reads a recipe file, or the recipe that an exported file carries. Masks are then told by paths from the working folder.
///
/// # Errors
/// [`Error::Unreadable`], or [`Error::File`] with the line.
pub fn read(path: &Path) -> Result<Recipe, Error> {
    if let Some(recipe) = super::masks::in_artifact(path)? {
        return Ok(recipe);
    }
    let unreadable = |what: String| Error::Unreadable { path: path.to_path_buf(), what };
    let metadata = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable("it is not a regular file".into()));
    }
    if metadata.len() > LARGEST as u64 {
        return Err(unreadable(too_large(metadata.len())));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| unreadable(e.to_string()))?;
    file.take(LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(|e| unreadable(e.to_string()))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|e| unreadable(format!("byte {} is not UTF-8 text; a recipe is a text in TOML", e.valid_up_to())))?;
    let mut recipe = parse(text, path)?;
    recipe.masks_from(path.parent().unwrap_or(Path::new("")));
    Ok(recipe)
}

fn too_large(bytes: u64) -> String {
    format!("it has {bytes} bytes, a recipe has at most {LARGEST}")
}

/// Reads the text of a recipe; `path` is for messages only.
///
/// # Errors
/// [`Error::File`] with the line.
pub fn parse(text: &str, path: &Path) -> Result<Recipe, Error> {
    if text.len() > LARGEST {
        return Err(Error::Unreadable { path: path.to_path_buf(), what: too_large(text.len() as u64) });
    }
    if text.bytes().filter(|byte| b"=,[".contains(byte)).count() > MOST_SIGNS {
        let what = format!("it has more than {MOST_SIGNS} values and tables (counted by the signs = , [)");
        return Err(Error::Unreadable { path: path.to_path_buf(), what });
    }
    let lines = LineStarts::of(text);
    let at = |offset: usize, what: String| Error::File { path: path.to_path_buf(), line: lines.of_byte(offset), what };
    let raw: Raw = toml::from_str(text).map_err(|e| at(e.span().map_or(0, |s| s.start), plain_words(&e, text)))?;
    check_version(&raw.version).map_err(|what| at(raw.version.span().start, what))?;
    let scheme =
        |s: &toml::Spanned<String>| s.get_ref().parse::<Scheme>().map_err(|e| at(s.span().start, e.to_string()));
    let shared: Arc<Path> = Arc::from(path);
    let mut recipe = Recipe { requantize: raw.requantize, ..Recipe::default() };
    if let Some(target) = &raw.target {
        let parsed = target.get_ref().parse::<Target>();
        recipe.target = Some(parsed.map_err(|e| at(target.span().start, e.to_string()))?);
    }
    let mut patterns = Patterns::default();
    for (i, rule) in raw.rule.iter().enumerate() {
        let start = rule.pattern.span().start;
        if i == MOST_RULES {
            return Err(at(start, format!("there are {} rules, a recipe has at most {MOST_RULES}", raw.rule.len())));
        }
        let pattern = patterns.get(rule.pattern.get_ref()).map_err(|what| at(start, what))?;
        let pattern = pattern.read_at(&shared, lines.of_byte(start));
        recipe.rules.push(Rule { pattern, scheme: scheme(&rule.scheme)? });
    }
    let mut named = HashMap::new();
    for item in raw.overrides {
        let line = lines.of_byte(item.tensor.span().start);
        named.entry(("override", item.tensor.get_ref().clone())).or_insert(line);
        recipe.overrides.push(Override { tensor: item.tensor.into_inner(), scheme: scheme(&item.scheme)? });
    }
    for name in raw.locked {
        let line = lines.of_byte(name.span().start);
        named.entry(("locked", name.get_ref().clone())).or_insert(line);
        recipe.locked.push(name.into_inner());
    }
    recipe.lines = Lines(Some(Arc::new(NamedLines { path: shared, lines: named })));
    let meta = |(key, value): (String, toml::Value)| match value {
        toml::Value::String(text) => (key, text),
        other => (key, other.to_string()),
    };
    recipe.meta = raw.meta.into_iter().map(meta).collect();
    Ok(recipe)
}

fn check_version(version: &toml::Spanned<toml::Value>) -> Result<(), String> {
    match version.get_ref() {
        toml::Value::Integer(VERSION) => Ok(()),
        toml::Value::Integer(other) => {
            Err(format!("version {other} is not known; this program reads version {VERSION}"))
        }
        other => {
            let found = printable(&other.to_string());
            Err(format!("version is {found}; it must be the number {VERSION}, without quotes or a point"))
        }
    }
}

/// What TOML's reader says, with the key that it means, and a hint where a bracket is missing.
fn plain_words(error: &toml::de::Error, text: &str) -> String {
    let message = printable(error.message().trim());
    let place = error.span().and_then(|span| text.get(span)).unwrap_or_default();
    let single = |section: &str| text.lines().any(|line| line.trim() == section);
    match () {
        () if message.contains("duplicate key") && !place.is_empty() => {
            format!("duplicate key {}: it is given twice", quoted(place))
        }
        () if message.contains("sequence") && (single("[rule]") || single("[override]")) => {
            format!("{message}; write [[rule]] and [[override]], each with two brackets")
        }
        () if message.starts_with("missing field `version`") => {
            format!("{message}; a recipe begins with version = {VERSION}")
        }
        () => message,
    }
}

/// Where the lines of a text begin, so that thousands of places cost no search each.
struct LineStarts(Vec<usize>);

impl LineStarts {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    /// The line of a byte, counted from 1.
    fn of_byte(&self, offset: usize) -> usize {
        self.0.partition_point(|&start| start <= offset) + 1
    }
}

/// The patterns of a recipe: equal texts are compiled once, and all of them together are bounded.
#[derive(Default)]
struct Patterns {
    known: HashMap<String, Pattern>,
    weight: usize,
}

impl Patterns {
    fn get(&mut self, text: &str) -> Result<Pattern, String> {
        if let Some(pattern) = self.known.get(text) {
            return Ok(pattern.clone());
        }
        let pattern = Pattern::new(text).map_err(|e| e.to_string())?;
        self.weight = self.weight.saturating_add(pattern.weight());
        if self.weight > HEAVIEST {
            let shown = quoted(text);
            return Err(format!(
                "with pattern {shown} the patterns take more than the {HEAVIEST} bytes allowed when compiled; use fewer or simpler ones"
            ));
        }
        self.known.insert(text.to_owned(), pattern.clone());
        Ok(pattern)
    }
}

/// The canonical text: the same choice always gives the same bytes, with no time and no path in it.
#[must_use]
pub fn print(recipe: &Recipe) -> String {
    let quote = |s: &str| toml::Value::String(s.to_owned()).to_string();
    let mut out = format!("version = {VERSION}\n");
    if let Some(target) = recipe.target {
        out += &format!("target = {}\n", quote(target.name()));
    }
    if recipe.requantize {
        out += "requantize = true\n";
    }
    if !recipe.locked.is_empty() {
        let names: Vec<String> = recipe.locked.iter().map(|n| quote(n)).collect();
        out += &format!("locked = [{}]\n", names.join(", "));
    }
    for rule in &recipe.rules {
        out += &format!(
            "\n[[rule]]\nmatch = {}\nscheme = {}\n",
            quote(rule.pattern.text()),
            quote(&rule.scheme.to_string())
        );
    }
    for item in &recipe.overrides {
        out += &format!(
            "\n[[override]]\ntensor = {}\nscheme = {}\n",
            quote(&item.tensor),
            quote(&item.scheme.to_string())
        );
    }
    if !recipe.meta.is_empty() {
        out += "\n[meta]\n";
        for (key, value) in &recipe.meta {
            out += &format!("{} = {}\n", quote(key), quote(value));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"version = 1
target = "packed"
requantize = true
locked = ["fc3.weight"]

[[rule]]
match = "*.weight"
scheme = "prune:0.5+int4:row"

[[override]]
tensor = "odd \"name\"\n"
scheme = "keep"

[meta]
"author" = "me"
"#;

    #[test]
    fn the_canonical_text_is_a_fixed_point() {
        let recipe = parse(EXAMPLE, Path::new("r.toml")).unwrap();
        assert_eq!(recipe.rules.len(), 1);
        assert!(recipe.requantize);
        assert_eq!(recipe.overrides[0].tensor, "odd \"name\"\n");
        let text = print(&recipe);
        assert_eq!(parse(&text, Path::new("r.toml")).unwrap(), recipe);
        assert_eq!(print(&parse(&text, Path::new("r.toml")).unwrap()), text);
    }

    #[test]
    fn errors_name_the_line() {
        let line = |text: &str| match parse(text, Path::new("r.toml")).unwrap_err() {
            Error::File { line, .. } => line,
            other => panic!("{other}"),
        };
        assert_eq!(line("version = 1\nsurprise = 2\n"), 2);
        assert_eq!(line("version = 1\n\n[[rule]]\nmatch = \"*\"\nscheme = \"int9\"\n"), 5);
        assert_eq!(line("version = 1\ntarget = \"zip\"\n"), 2);
        assert_eq!(line("version = 2\n"), 1);
        assert_eq!(line("version = 1\n[[rule]]\nmatch = \"[\"\nscheme = \"keep\"\n"), 3);
        assert_eq!(line("version = 1\nversion = 1\n"), 2);
        assert!(parse("target = \"packed\"", Path::new("r.toml")).is_err());
    }

    #[test]
    fn words_are_plain() {
        let told = |text: &str| parse(text, Path::new("r.toml")).unwrap_err().to_string();
        assert!(told("version = \"1\"\n").contains("must be the number 1"));
        assert!(told("version = 1.0\n").contains("must be the number 1"));
        assert!(told("version = 1\nversion = 1\n").contains("duplicate key \"version\""));
        assert!(told("").contains("begins with version = 1"));
        assert!(told("version = 1\n[rule]\nmatch = \"*\"\nscheme = \"int4\"\n").contains("[[rule]]"));
        assert!(told(&" ".repeat(LARGEST + 1)).contains("at most"));
        assert!(told(&format!("version = 1\nlocked = [{}]", "'',".repeat(MOST_SIGNS))).contains("more than 400000"));
    }

    #[test]
    fn a_scheme_for_every_matrix_of_a_large_model_is_read_back() {
        let scheme: Scheme = "prune:0.5+int4:g64:asym".parse().unwrap();
        let name = |i: usize| format!("model.layers.{}.mlp.experts.{}.down_proj.weight", i / 1152, i % 384);
        let overrides = (0..70_000).map(|i| Override { tensor: name(i), scheme: scheme.clone() }).collect();
        let recipe = Recipe { overrides, ..Recipe::default() };
        assert_eq!(parse(&print(&recipe), Path::new("r.toml")).unwrap(), recipe);
    }

    #[test]
    fn many_patterns_are_bounded_together() {
        let rule = |pattern: &str| format!("[[rule]]\nmatch = '{pattern}'\nscheme = \"int4\"\n");
        let many = |of: &dyn Fn(usize) -> String, n: usize| {
            let rules: String = (0..n).map(|i| rule(&of(i))).collect();
            parse(&format!("version = 1\n{rules}"), Path::new("r.toml")).map(|recipe| recipe.rules.len())
        };
        assert_eq!(many(&|_| "re:.*\\w{60}|fc.*".into(), 2000).unwrap(), 2000);
        assert_eq!(many(&|i| format!("layers.{i}.*"), 2000).unwrap(), 2000);
        let told = many(&|i| format!("re:.*\\w{{60}}|fc{i}.*"), 2000).unwrap_err().to_string();
        assert!(told.contains("line ") && told.contains("when compiled"), "{told}");
        let told = many(&|_| "*".into(), MOST_RULES + 1).unwrap_err().to_string();
        assert!(told.contains("65537 rules"), "{told}");
    }
}
