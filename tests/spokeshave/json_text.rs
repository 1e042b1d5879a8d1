//! What a file says of itself in a terminal: escaped everywhere, in JSON as in text, and the same value for all that.

use super::command::*;
use std::fs;

const EVIL: &str = "a\u{1b}[2J\u{7f}\u{9b}31m\u{202e}b\u{2066}\u{200b}\u{feff}.weight";

fn evil_model(folder: &Folder, name: &str) -> String {
    let path = folder.at(name);
    let values = floats(&[1.0, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    fs::write(&path, safetensors(&[(EVIL, "F32", &[2, 4], values)])).expect("a small file");
    path
}

#[track_caller]
fn assert_safe(text: &str) {
    let raw = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    };
    assert!(!text.contains(raw), "{text:?}");
}

#[test]
fn no_command_lets_a_name_speak_to_the_terminal() {
    let folder = Folder::new("evil");
    let source = evil_model(&folder, "m\u{202e}\u{9b}.safetensors");
    let out = folder.at("out\u{202e}\u{7f}.spk");
    let runs: [&[&str]; 5] = [
        &["inspect", &source],
        &["estimate", &source, "--set", "*=int4"],
        &["export", &source, "--set", "*=int4", "--target", "packed", "-o", &out],
        &["verify", &source, &out],
        &["compare", &source, &out],
    ];
    for words in runs {
        let json = run(&[words, &["--json"]].concat()).done();
        assert_safe(&json.text());
        let document = json.json();
        let tensors = document.get("tensors").or_else(|| document["estimate"].get("tensors"));
        assert_eq!(tensors.expect("a list of tensors")[0]["name"], EVIL, "{words:?}");
        if words[0] == "export" {
            fs::remove_file(&out).expect("it was written");
        }
        let text = run(words).done();
        assert_safe(&text.text());
        assert_safe(&text.stderr);
    }
}

#[test]
fn a_table_of_many_tensors_is_whole() {
    let folder = Folder::new("many");
    let names: Vec<String> = (0..20_000).map(|i| format!("t{i:05}")).collect();
    let tensors: Vec<_> = names.iter().map(|name| (name.as_str(), "F32", &[1][..], floats(&[0.5]))).collect();
    let path = folder.write("many.safetensors", safetensors(&tensors));
    let text = run(&["inspect", &path]).done().text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].starts_with("t00000") && lines[20_000].starts_with("t19999") && lines[20_001].is_empty());
    let document = run(&["inspect", &path, "--json"]).json();
    assert_eq!(document["tensors"].as_array().expect("a list").len(), 20_000);
    assert_eq!(document["tensors"][19_999]["mean"], 0.5);
}
