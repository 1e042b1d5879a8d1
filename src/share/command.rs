//! The command line that exports the same again: what a hand did in the window, as words for a script.

use crate::model::{Model, Origin};
use crate::recipe::{Plan, Recipe};

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
        Origin::File(path) | Origin::Folder(path) => quoted(&path.to_string_lossy()),
        Origin::Demo(name) => format!("demo:{name}"),
    }
}

/// The command. Locks are for the window and are left out; single tensors come after the rules, as they do in the recipe.
#[must_use]
pub fn command(model: &Model, recipe: &Recipe, plan: &Plan) -> String {
    let settled = recipe.settled(model, plan);
    let mut out = format!("spokeshave export {} --target {}", opened_by(model), plan.target.name());
    if recipe.requantize {
        out.push_str(" --requantize");
    }
    if settled.needs_nearest(model) {
        out.push_str(" --nearest");
    }
    let rules = settled.rules.iter().map(|rule| format!("{}={}", rule.pattern.text(), rule.scheme));
    let single = settled.overrides.iter().map(|item| format!("{}={}", item.tensor, item.scheme));
    for setting in rules.chain(single) {
        out += &format!(" \\\n  --set {}", quoted(&setting));
    }
    let folder = matches!(model.origin, Origin::Folder(_)) || plan.target.is_folder();
    let ending = if folder { String::new() } else { format!(".{}", plan.target.extension()) };
    out += &format!(" \\\n  -o {}", quoted(&format!("out{ending}")));
    out.push('\n');
    out
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
    fn rules_come_before_single_tensors() {
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        let mut recipe = Recipe::default();
        recipe.set(&model, "fc3.weight=int8").unwrap();
        recipe.set(&model, "*=prune:0.5+int4").unwrap();
        recipe.set(&model, "fc1.weight=int2").unwrap();
        let plan = Plan::new(&model, &recipe, false).unwrap();
        let wanted = "spokeshave export demo:lenet-300-100 --target packed \\\n  --set '*=prune:0.5+int4:row' \\\n  --set 'fc1.weight=int2:row' \\\n  -o out.spk\n";
        assert_eq!(command(&model, &recipe, &plan), wanted);
    }
}
