//! The house has floors, and this test walks them: no room names a room above it, only `app` knows a toolkit, nothing
//! below the faces prints, and every file opens with a sentence.
//!
//! The rules look at text. Comments, strings and character literals are blanked first, so prose may name what code may not.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from the ground up. A room may name itself, [`EVERYWHERE`] and the floors below its own; rooms that share a
/// floor do not name each other.
const FLOORS: &[&[&str]] = &[
    &["kernels"],
    &["formats"],
    &["model"],
    &["profile"],
    &["recipe"],
    &["compress"],
    &["estimate"],
    &["export", "evaluate", "allocate", "share"],
    &["session"],
    &["cli", "app"],
];

/// Everyone may name this room, and it names nobody.
const EVERYWHERE: &str = "control";

/// The rooms that may print and end the process, besides `main.rs`.
const FACES: &[&str] = &["cli", "app"];

/// Crates whose names, and names that begin so, belong to the window alone.
const TOOLKIT: &[&str] = &["egui", "eframe", "winit", "softbuffer"];

/// What speaks to a person or ends the process.
const SPEECH: &[&str] = &["println!", "eprintln!", "print!", "eprint!", "dbg!", "process::exit"];

/// A longer file is two files.
const LONGEST: usize = 600;

#[test]
fn the_source_keeps_the_rules_of_the_house() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    files.sort();
    assert!(files.len() > 20, "only {} files under {}: is this the source?", files.len(), src.display());
    let faults: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).expect("a source file is UTF-8 and can be read");
            let name = path.strip_prefix(&src).expect("the file was found there").to_string_lossy().replace('\\', "/");
            faults_of(&name, &text)
        })
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// All Rust files under `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the source can be listed") {
        let path = entry.expect("a folder of the source can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// What is wrong with one file; `name` is its path below `src`, with forward slashes.
fn faults_of(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let first = text.lines().next().unwrap_or_default();
    if first.strip_prefix("//!").is_none_or(|sentence| sentence.trim().is_empty()) {
        faults.push(format!("src/{name}:1: opens without a `//!` sentence"));
    }
    let lines = text.lines().count();
    if lines > LONGEST {
        faults.push(format!("src/{name}: {lines} lines, allowed {LONGEST}; it is two files"));
    }
    let code = code_only(text);
    let place = |at: usize| format!("src/{name}:{}", 1 + code[..at].matches('\n').count());

    let room = name.split_once('/').map_or_else(|| name.trim_end_matches(".rs"), |(room, _)| room);
    let entry = matches!(name, "main.rs" | "lib.rs");
    if !entry && room != EVERYWHERE && floor(room).is_none() {
        faults.push(format!("src/{name}: `{room}` is a room without a floor; give it one in tests/architecture.rs"));
    }
    if !entry {
        for (at, named) in rooms_named(name, &code) {
            if let Some(fault) = arrow_fault(room, named) {
                faults.push(format!("{}: {fault}", place(at)));
            }
        }
    }
    if room != "app" {
        for (at, word) in TOOLKIT.iter().flat_map(|word| words(&code, word)) {
            faults.push(format!("{}: `{word}` outside app", place(at)));
        }
    }
    if name != "main.rs" && !FACES.contains(&room) {
        for (at, word) in SPEECH.iter().flat_map(|word| words(&code, word)) {
            faults.push(format!("{}: `{word}` outside the faces: {}, main.rs", place(at), FACES.join(", ")));
        }
    }
    faults
}

/// The floor a room is on.
fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Why `room` may not name `named`, if it may not.
fn arrow_fault(room: &str, named: &str) -> Option<String> {
    if named == room || named == EVERYWHERE {
        return None;
    }
    let Some(target) = floor(named) else {
        return Some(format!("names `{named}`, a room without a floor"));
    };
    match floor(room) {
        Some(own) if target < own => None,
        Some(own) if target == own => Some(format!("{room} names {named}, on its own floor")),
        _ => Some(format!("{room} names {named}, which is above it")),
    }
}

/// Every room that a file's code names through `crate::` or through enough `super::`, with its place in the text.
fn rooms_named<'a>(name: &str, code: &'a str) -> Vec<(usize, &'a str)> {
    // How many `super::` lead from the file's own module to the root of the crate.
    let depth = name.matches('/').count() + usize::from(!name.ends_with("/mod.rs"));
    let mut named = Vec::new();
    for (at, _) in words(code, "crate::") {
        named.extend(path_heads(code, at + "crate::".len()));
    }
    let mut rest = 0;
    for (at, _) in words(code, "super::") {
        if at < rest {
            continue;
        }
        rest = at;
        while code[rest..].starts_with("super::") {
            rest += "super::".len();
        }
        // Past the root inside an inline module; what is named there is a room only if it has a floor.
        if (rest - at) / "super::".len() >= depth {
            named.extend(path_heads(code, rest).into_iter().filter(|(_, head)| floor(head).is_some()));
        }
    }
    named
}

/// The first names after a path's `::`: one, or those of a braced group.
fn path_heads(code: &str, at: usize) -> Vec<(usize, &str)> {
    let identifier = |at: usize| {
        let length = code[at..].find(|c: char| !is_word(c)).unwrap_or(code.len() - at);
        (at, &code[at..at + length])
    };
    if !code[at..].starts_with('{') {
        return Some(identifier(at)).filter(|(_, head)| !head.is_empty()).into_iter().collect();
    }
    let (mut heads, mut depth, mut fresh) = (Vec::new(), 0, false);
    for (i, c) in code[at..].char_indices() {
        match c {
            '{' => (depth, fresh) = (depth + 1, depth == 0),
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            c if fresh && is_word(c) => {
                fresh = false;
                heads.push(identifier(at + i));
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads.retain(|(_, head)| *head != "self");
    heads
}

/// Where `word` stands in the code as the beginning of a word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    code.match_indices(word).filter(|(at, _)| !code[..*at].chars().next_back().is_some_and(is_word))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text with comments, strings and character literals blanked; every line and every byte keeps its place.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(code).expect("whole literals were blanked, so what is left is UTF-8")
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let inside_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let find = |needle: &[u8], from: usize| {
        let found = rest.get(from..).and_then(|tail| tail.windows(needle.len()).position(|window| window == needle));
        at + found.map_or(rest.len(), |i| from + i + needle.len())
    };
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        let (mut depth, mut i) = (0, 0);
        while i < rest.len() {
            match rest.get(i..i + 2) {
                Some(b"/*") => (depth, i) = (depth + 1, i + 2),
                Some(b"*/") => (depth, i) = (depth - 1, i + 2),
                _ => i += 1,
            }
            if depth == 0 {
                break;
            }
        }
        return at + i;
    }
    if rest.starts_with(b"\"") {
        return at + quoted(rest, b'"');
    }
    // r"…", r#"…"#, br"…": the prefix is a word of its own.
    let prefix = [&b"r"[..], b"br", b"cr"].into_iter().find(|prefix| rest.starts_with(prefix));
    if let (Some(prefix), false) = (prefix, inside_word) {
        let hashes = rest[prefix.len()..].iter().take_while(|&&byte| byte == b'#').count();
        let open = prefix.len() + hashes;
        if rest.get(open) == Some(&b'"') {
            return find(&[&b"\""[..], &vec![b'#'; hashes]].concat(), open + 1);
        }
    }
    // 'x' and '\n' are literals, 'a in a type is a lifetime.
    if rest.starts_with(b"'") {
        let width = match rest.get(1) {
            Some(b'\\') => return at + quoted(rest, b'\''),
            Some(&byte) => byte.leading_ones().max(1) as usize,
            None => return at,
        };
        if rest.get(1 + width) == Some(&b'\'') {
            return at + width + 2;
        }
    }
    at
}

/// Length of a quoted literal with backslash escapes.
fn quoted(rest: &[u8], mark: u8) -> usize {
    let mut i = 1;
    while i < rest.len() && rest[i] != mark {
        i += if rest[i] == b'\\' { 2 } else { 1 };
    }
    (i + 1).min(rest.len())
}

// The rule itself bites.

/// The faults of a file that is in order but for `code`.
fn faults_with(name: &str, code: &str) -> Vec<String> {
    faults_of(name, &format!("//! A file.\n\n{code}\n"))
}

#[track_caller]
fn assert_fault(name: &str, code: &str, part: &str) {
    let faults = faults_with(name, code);
    assert!(faults.len() == 1 && faults[0].contains(part), "{code:?} in {name}: {faults:?}, not one with {part:?}");
}

#[track_caller]
fn assert_clean(name: &str, code: &str) {
    assert_eq!(faults_with(name, code), Vec::<String>::new(), "{code:?} in {name}");
}

#[test]
fn an_upward_arrow_is_found_however_it_is_written() {
    assert_fault("kernels/stats.rs", "use crate::formats::Dtype;", "src/kernels/stats.rs:3: kernels names formats");
    assert_fault("model/mod.rs", "fn f(recipe: &crate::recipe::Recipe) {}", "model names recipe, which is above");
    assert_fault("recipe/plan.rs", "use crate::{kernels::{real, bits}, model, estimate::{self, Sizes}};", "estimate");
    assert_fault("export/mod.rs", "use crate::evaluate::Mlp;", "on its own floor");
    assert_fault("app/mod.rs", "pub(crate) use crate::cli::args;", "on its own floor");
    assert_fault("formats/mod.rs", "use super::model::Model;", "formats names model");
    assert_fault("formats/json.rs", "use super::super::session;", "formats names session");
    assert_fault("control.rs", "use crate::kernels::Real;", "control names kernels");
    assert_fault("kernels/real.rs", "use crate::util::f;", "a room without a floor");
    assert_fault("util/mod.rs", "", "a room without a floor");
}

#[test]
fn a_downward_arrow_is_free() {
    assert_clean("formats/mod.rs", "use crate::kernels::Real;\nuse crate::control::Control;");
    assert_clean("session/mod.rs", "use crate::{self as home, export, estimate::{Sizes, app}, compress};");
    assert_clean("cli/export.rs", "use super::args;\nmod tests { use super::*; use super::export; }");
    assert_clean("app/panels/layers.rs", "use crate::app::theme;\nuse super::super::theme::size;");
}

#[test]
fn a_toolkit_and_a_spoken_word_are_found_outside_their_rooms() {
    assert_fault("session/jobs.rs", "use egui_plot::Line;", "`egui` outside app");
    assert_fault("main.rs", "fn f() { eframe::run_native(); }", "`eframe` outside app");
    assert_fault("estimate/mod.rs", "fn f() { println!(\"1\"); }", "`println!` outside");
    assert_fault("export/mod.rs", "fn f() { std::process::exit(1); }", "`process::exit` outside");
    assert_clean("app/mod.rs", "use egui::Ui;\nfn f() { eprintln!(\"x\"); }");
    assert_clean("cli/mod.rs", "fn f() { print!(\"x\"); std::process::exit(2); }");
    assert_clean("main.rs", "fn f() { eprintln!(\"x\"); }");
}

#[test]
fn prose_and_literals_may_say_anything() {
    assert_clean(
        "kernels/mod.rs",
        "// println! and crate::app\n/* egui /* winit */ */\n/// [`crate::session`]\nfn f() {}",
    );
    assert_clean("kernels/mod.rs", r##"const A: &str = "\"crate::app"; const B: &str = r#"egui " println!"#;"##);
    assert_clean("kernels/mod.rs", r#"const C: [char; 3] = ['"', '\'', 'é']; const D: &[u8] = b"eframe";"#);
    assert_fault(
        "kernels/mod.rs",
        "fn f<'a>(x: &'a str) -> char { '\"' } // \"\nuse crate::app;",
        "src/kernels/mod.rs:4",
    );
}

#[test]
fn a_mute_and_an_endless_file_are_found() {
    let faults = faults_of("model/mod.rs", "use std::fmt;\n");
    assert!(faults.len() == 1 && faults[0].contains("src/model/mod.rs:1: opens without"), "{faults:?}");
    assert!(faults_of("model/mod.rs", "//!\n").len() == 1);
    assert_fault("model/mod.rs", &"fn f() {}\n".repeat(LONGEST - 3 + 1), "allowed 600");
    assert_clean("model/mod.rs", &"fn f() {}\n".repeat(LONGEST - 3));
}
