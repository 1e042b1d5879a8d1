//! The recipe file: TOML, versioned, strict about unknown keys, and written in one canonical form.

use super::{Error, Override, Pattern, Recipe, Rule, Scheme, Target};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The version that is written. Older ones are read for ever.
pub const VERSION: i64 = 1;

/// Bytes of a recipe file that are read at most.
const LARGEST: u64 = 64 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: toml::Spanned<i64>,
    target: Option<toml::Spanned<String>>,
    #[serde(default)]
    rule: Vec<RawRule>,
    #[serde(default, rename = "override")]
    overrides: Vec<RawOverride>,
    #[serde(default)]
    locked: Vec<String>,
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
    tensor: String,
    scheme: toml::Spanned<String>,
}

/// Reads a recipe file.
///
/// # Errors
/// [`Error::Unreadable`], or [`Error::File`] with the line.
pub fn read(path: &Path) -> Result<Recipe, Error> {
    let unreadable = |what: String| Error::Unreadable { path: path.to_path_buf(), what };
    let metadata = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable("it is not a regular file".into()));
    }
    if metadata.len() > LARGEST {
        return Err(unreadable(format!("it has {} bytes, a recipe has at most {LARGEST}", metadata.len())));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
    parse(&text, path)
}

/// Reads the text of a recipe; `path` is for messages only.
///
/// # Errors
/// [`Error::File`] with the line.
pub fn parse(text: &str, path: &Path) -> Result<Recipe, Error> {
    let at = |offset: usize, what: String| {
        let line = text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
        Error::File { path: path.to_path_buf(), line, what }
    };
    let raw: Raw =
        toml::from_str(text).map_err(|e| at(e.span().map_or(0, |s| s.start), e.message().trim().to_owned()))?;
    if *raw.version.get_ref() != VERSION {
        let what = format!("version {} is not known; this program reads version {VERSION}", raw.version.get_ref());
        return Err(at(raw.version.span().start, what));
    }
    let scheme =
        |s: &toml::Spanned<String>| s.get_ref().parse::<Scheme>().map_err(|e| at(s.span().start, e.to_string()));
    let mut recipe = Recipe { locked: raw.locked, ..Recipe::default() };
    if let Some(target) = &raw.target {
        let parsed = target.get_ref().parse::<Target>();
        recipe.target = Some(parsed.map_err(|e| at(target.span().start, e.to_string()))?);
    }
    for rule in &raw.rule {
        let pattern = Pattern::new(rule.pattern.get_ref()).map_err(|e| at(rule.pattern.span().start, e.to_string()))?;
        recipe.rules.push(Rule { pattern, scheme: scheme(&rule.scheme)? });
    }
    for item in &raw.overrides {
        recipe.overrides.push(Override { tensor: item.tensor.clone(), scheme: scheme(&item.scheme)? });
    }
    let meta = |(key, value): (String, toml::Value)| match value {
        toml::Value::String(text) => (key, text),
        other => (key, other.to_string()),
    };
    recipe.meta = raw.meta.into_iter().map(meta).collect();
    Ok(recipe)
}

/// The canonical text: the same choice always gives the same bytes, with no time and no path in it.
#[must_use]
pub fn print(recipe: &Recipe) -> String {
    let quote = |s: &str| toml::Value::String(s.to_owned()).to_string();
    let mut out = format!("version = {VERSION}\n");
    if let Some(target) = recipe.target {
        out += &format!("target = {}\n", quote(target.name()));
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
}
