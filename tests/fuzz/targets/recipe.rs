//! Any text as a recipe: an error, or a recipe that is printed and read back the same, and that fits the demo or is refused
//! in words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spokeshave::model::{Model, OpenOptions, open};
use spokeshave::recipe::{Plan, file};
use std::path::Path;
use std::sync::LazyLock;

static DEMO: LazyLock<Model> =
    LazyLock::new(|| open(Path::new("demo"), &OpenOptions::default()).expect("the demo opens"));

fuzz_target!(|text: &str| {
    let path = Path::new("r.toml");
    if let Ok(recipe) = file::parse(text, path) {
        let printed = file::print(&recipe);
        let again = file::parse(&printed, path).expect("what is printed is read back");
        assert!(again == recipe && file::print(&again) == printed);
        if let Err(error) = Plan::new(&DEMO, &recipe, true) {
            assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        }
    }
});
