//! The command line that exports the same again: what a hand did in the window, as words for a script.

use super::Error;
use crate::formats::error::printable;
use crate::model::{Model, Origin};
use crate::recipe::{Pattern, Plan, Recipe};

/// A word as a POSIX shell reads it back.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What the model is opened by.
fn opened_by(model: &Model) -> String {
    match &model.origin {
        Origin::File(path) | Origin::Folder(path) => {
            let path = path.to_string_lossy();
            // What begins with a dash would be taken for an option.
            if path.starts_with('-') { quoted(&format!("./{path}")) } else { quoted(&path) }
        }
        Origin::Demo(name) => format!("demo:{name}"),
    }
}

/// The command. Locks are for the window and are left out; single tensors come after the rules, as they do in the recipe.
///
/// # Errors
/// A tensor whose name would be taken for a pattern, and that no pattern touches.
pub fn command(model: &Model, recipe: &Recipe, plan: &Plan) -> Result<String, Error> {
    let settled = recipe.settled(model, plan);
    let mut out = format!("spokeshave export {} --target {}", opened_by(model), plan.target.name());
    if recipe.requantize {
        out.push_str(" --requantize");
    }
    if settled.needs_nearest(model) {
        out.push_str(" --nearest");
    }
    let rules = settled.rules.iter().map(|rule| format!("{}={}", rule.pattern.text(), rule.scheme));
    let single = settled.overrides.iter().map(|item| Ok(format!("{}={}", alone(&item.tensor, model)?, item.scheme)));
    for setting in rules.map(Ok).chain(single) {
        let setting = setting?;
        // What begins with a dash would be taken for an option.
        let between = if setting.starts_with('-') { '=' } else { ' ' };
        out += &format!(" \\\n  --set{between}{}", quoted(&setting));
    }
    let folder = matches!(model.origin, Origin::Folder(_)) || plan.target.is_folder();
    let ending = if folder { String::new() } else { format!(".{}", plan.target.extension()) };
    out += &format!(" \\\n  -o {}", quoted(&format!("out{ending}")));
    out.push('\n');
    if out.chars().any(|c| c.is_control() && c != '\n') {
        let what = "names with control characters in them, which a terminal would obey".to_owned();
        return Err(Error::NoWords { program: "a command line", what, instead: "hand the recipe on as a file" });
    }
    Ok(out)
}

/// What touches a tensor alone: its name, or where that would be taken for a pattern, an expression that means the name.
fn alone(name: &str, model: &Model) -> Result<String, Error> {
    let taken_as = |text: &str| Pattern::new(text).ok();
    if taken_as(name).is_some_and(|pattern| pattern.is_exact()) {
        return Ok(name.to_owned());
    }
    let expression = format!("re:{}", regex::escape(name));
    let touched = taken_as(&expression).and_then(|pattern| pattern.touched(model).ok());
    if touched.is_some_and(|touched| !touched.is_empty()) {
        return Ok(expression);
    }
    let what = format!("{} alone, whose name is taken for a pattern", printable(name));
    Err(Error::NoWords { program: "a command line", what, instead: "hand the recipe on as a file" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OpenOptions, open};
    use std::path::Path;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("fc1.weight"), "fc1.weight");
        assert_eq!(quoted("*.weight=int4"), "'*.weight=int4'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_name_that_reads_as_a_pattern_is_spelled_as_an_expression() {
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        assert_eq!(alone("fc1.weight", &model).unwrap(), "fc1.weight");
        // One that the model does not have touches nothing, so no expression stands for it.
        assert!(alone("a[0].weight", &model).unwrap_err().to_string().contains("taken for a pattern"));
        let mut renamed = model;
        renamed.tensors[1].name = "a[0].weight".into();
        assert_eq!(alone("a[0].weight", &renamed).unwrap(), r"re:a\[0\]\.weight");
    }

    #[test]
    fn rules_come_before_single_tensors() {
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        let mut recipe = Recipe::default();
        recipe.set(&model, "fc3.weight=int8").unwrap();
        recipe.set(&model, "*=prune:0.5+int4").unwrap();
        recipe.set(&model, "fc1.weight=int2").unwrap();
        let plan = Plan::new(&model, &recipe, false).unwrap();
        let wanted = "spokeshave export demo:lenet-300-100 --target packed \\\n  --set '*=prune:0.5+int4:row' \\\n  --set 'fc1.weight=int2:row' \\\n  -o out.spk\n";
        assert_eq!(command(&model, &recipe, &plan).unwrap(), wanted);
    }
}
