//! What is handed on from the window: the choice as text and as a report, equal to what the commands say, and what a file says
//! of itself.

use super::bench::{Bench, bench_on, demo, live, settle, wait_until};
use super::command::{Folder, floats, run, safetensors};
use egui::accesskit::Role;
use egui::{Event, Key, Modifiers, OutputCommand};
use egui_kittest::kittest::{NodeT, Queryable};
use spokeshave::formats::gguf::layout::{Listing, lay_out, prefix, text_pair, texts_pair, u32_pair};
use spokeshave::kernels::ggml::BlockType;
use spokeshave::model::{OpenOptions, open};
use std::sync::Arc;

const SIZE: [f32; 2] = [1280.0, 800.0];

/// A GGUF file of one matrix that says this of itself, and ends in bytes that belong to nothing.
fn write_gguf(path: &str, pairs: &[Vec<u8>]) {
    let listings = [Listing { name: "blk.0.ffn_up.weight", shape: &[64, 256], block_type: BlockType::F16 }];
    let pair_bytes: usize = pairs.iter().map(Vec::len).sum();
    let layout = lay_out(pair_bytes as u64, &listings, 32).expect("it can be listed");
    let mut file = [prefix(1, pairs.len() as u64), pairs.concat(), layout.infos].concat();
    file.resize(layout.len as usize, 0);
    file.extend([0; 7]);
    std::fs::write(path, file).expect("the folder can be written to");
}

fn bench(path: &str, size: [f32; 2], dark: bool) -> Bench {
    bench_on(Arc::new(open(path.as_ref(), &OpenOptions::default()).expect("it is a model")), size, dark)
}

/// A model with a vocabulary of 150,000 tokens.
fn vocabulary(folder: &Folder) -> String {
    let tokens: Vec<String> = (0..150_000).map(|i| format!("token {i}")).collect();
    let pairs = [
        text_pair("general.architecture", "llama"),
        text_pair("general.description", "The first line\nand a <b>second</b> one"),
        u32_pair("llama.block_count", 1),
        texts_pair("tokenizer.ggml.tokens", &tokens),
    ];
    let path = folder.at("vocabulary.gguf");
    write_gguf(&path, &pairs);
    path
}

/// Draws frames until something is put on the clipboard.
#[track_caller]
fn copied(bench: &mut Bench) -> String {
    for _ in 0..8 {
        bench.step();
        let commands = &bench.output().platform_output.commands;
        let text = commands.iter().find_map(|command| match command {
            OutputCommand::CopyText(text) => Some(text.clone()),
            _ => None,
        });
        if let Some(text) = text {
            // What was done is said in the next frame.
            bench.step();
            return text;
        }
    }
    panic!("nothing was put on the clipboard");
}

#[track_caller]
fn choose(bench: &mut Bench, entry: &str) -> String {
    bench.get_by_role_and_label(Role::Button, "Copy as").click();
    settle(bench);
    bench.get_by_role_and_label(Role::Button, entry).click();
    copied(bench)
}

fn shows(bench: &Bench, words: &str) -> bool {
    bench.query_all_by_label_contains(words).next().is_some()
}

fn type_into(bench: &mut Bench, field: &str, text: &str) {
    bench.get_by_label(field).focus();
    bench.step();
    bench.key_press_modifiers(Modifiers::COMMAND, Key::A);
    bench.get_by_label(field).type_text(text);
    bench.step();
    bench.step();
}

#[test]
fn what_is_copied_is_what_the_commands_print() {
    let mut bench = demo();
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    let set = "fc1.weight=int4:row";
    let said = |whom: &str| run(&["recipe", "demo", "--set", set, "--for", whom]).done().text();
    assert_eq!(choose(&mut bench, "Command line"), said("command"));
    assert!(shows(&bench, "Command line: copied, 3 lines"));
    assert_eq!(choose(&mut bench, "Recipe"), said("spokeshave"));
    let modifiers = Modifiers::COMMAND | Modifiers::SHIFT;
    let press = Event::Key { key: Key::C, physical_key: None, pressed: true, repeat: false, modifiers };
    bench.input_mut().events.push(press);
    assert_eq!(copied(&mut bench), said("command"));
    // What was done last is said until something else is done.
    bench.get_by_role_and_label(Role::Button, "Undo").click();
    settle(&mut bench);
    assert!(!shows(&bench, "copied"));
}

#[test]
fn llama_cpp_is_told_of_a_gguf_model_in_its_words() {
    let folder = Folder::new("share-llama");
    let path = vocabulary(&folder);
    let mut bench = bench(&path, SIZE, true);
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    assert_eq!(live(&bench).scheme(0).to_string(), "q4_k");
    let told = run(&["recipe", &path, "--set", "*=q4_k", "--for", "llama.cpp", "--json"]).json();
    assert_eq!(choose(&mut bench, "llama.cpp tensor types"), told["text"].as_str().expect("a text"));
    assert_eq!(choose(&mut bench, "llama.cpp command"), told["command"].as_str().expect("a text"));
    let field = "Scheme as text";
    bench.get_by_label(field).focus();
    settle(&mut bench);
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    bench.get_by_label(field).type_text("prune:0.5+q8_0");
    bench.key_press(egui::Key::Enter);
    settle(&mut bench);
    assert_eq!(live(&bench).scheme(0).to_string(), "prune:0.5+q8_0");
    // What llama.cpp has no words for is said of the recipe as it is now.
    bench.get_by_role_and_label(Role::Button, "Copy as").click();
    settle(&mut bench);
    assert!(bench.get_by_role_and_label(Role::Button, "llama.cpp command").accesskit_node().is_disabled());
    assert!(!bench.get_by_role_and_label(Role::Button, "Recipe").accesskit_node().is_disabled());
}

#[test]
fn a_form_without_words_for_the_model_says_why() {
    let mut bench = demo();
    bench.get_by_role_and_label(Role::Button, "Copy as").click();
    settle(&mut bench);
    let entry = bench.get_by_role_and_label(Role::Button, "llama.cpp tensor types");
    assert!(entry.accesskit_node().is_disabled());
    entry.hover();
    wait_until(&mut bench, |bench| shows(bench, "llama-quantize has no words for a safetensors model"));
    bench.key_press(Key::Escape);
    settle(&mut bench);
    assert!(bench.query_by_label("llama.cpp tensor types").is_none());
}

#[test]
fn a_report_is_the_one_that_the_command_writes_and_replaces_nothing_unasked() {
    let folder = Folder::new("share-report");
    let mut bench = demo();
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    for name in ["page.html", "table.csv"] {
        let wanted = folder.at(&format!("wanted-{name}"));
        run(&["report", "demo", "--set", "fc1.weight=int4:row", "-o", &wanted]).done();
        bench.get_by_role_and_label(Role::Button, "Report…").click();
        settle(&mut bench);
        assert_eq!(
            bench.get_by_role_and_label(Role::TextInput, "Report path").value().as_deref(),
            Some("LeNet-300-100.html")
        );
        type_into(&mut bench, "Report path", &folder.at("page.pdf"));
        assert!(shows(&bench, "its ending says what is written"));
        type_into(&mut bench, "Report path", &folder.at(name));
        bench.get_by_role_and_label(Role::Button, "Write report").click();
        settle(&mut bench);
        assert_eq!(folder.read(name), folder.read(&format!("wanted-{name}")));
        assert!(shows(&bench, "Done: "));
        let again = bench.get_by_role_and_label(Role::Button, "Write report");
        assert!(again.accesskit_node().is_disabled(), "something is there now");
        bench.get_by_role_and_label(Role::Button, "Close").click();
        settle(&mut bench);
        assert!(shows(&bench, "report written as"));
    }
    // A file of another's stays until its replacement is asked for.
    let other = folder.write("other.html", "mine");
    bench.get_by_role_and_label(Role::Button, "Report…").click();
    settle(&mut bench);
    type_into(&mut bench, "Report path", &other);
    bench.key_press(Key::Enter);
    settle(&mut bench);
    assert_eq!(folder.read("other.html"), b"mine");
    bench.get_by_role_and_label(Role::CheckBox, "Replace what is there").click();
    settle(&mut bench);
    bench.get_by_role_and_label(Role::Button, "Write report").click();
    settle(&mut bench);
    assert_eq!(folder.read("other.html"), folder.read("page.html"));
}

#[test]
fn a_report_that_cannot_be_written_says_so() {
    let folder = Folder::new("share-report-absent");
    let mut bench = demo();
    bench.get_by_role_and_label(Role::Button, "Report…").click();
    settle(&mut bench);
    type_into(&mut bench, "Report path", &folder.at("not/there/page.html"));
    bench.get_by_role_and_label(Role::Button, "Write report").click();
    settle(&mut bench);
    assert!(live(&bench).reported().is_some_and(Result::is_err));
    bench.get_by_role_and_label(Role::Button, "Close").click();
    settle(&mut bench);
    assert!(shows(&bench, "The report did not come to its end"));
}

#[test]
fn a_file_is_asked_what_it_says_of_itself() {
    let folder = Folder::new("share-file");
    let path = vocabulary(&folder);
    let mut bench = bench(&path, SIZE, true);
    bench.key_press_modifiers(Modifiers::COMMAND, Key::I);
    settle(&mut bench);
    assert!(shows(&bench, &path) && shows(&bench, "gguf, version 3") && shows(&bench, "4 key-values"));
    // In the strip, and in the dialog with all others.
    assert_eq!(bench.query_all_by_label_contains("7 bytes after the last tensor belong to nothing").count(), 2);
    assert!(bench.query_by_label("The first line and a <b>second</b> one").is_some(), "one line of it");
    let node = bench.get_by_label_contains("[150000 × text]");
    let list = node.accesskit_node().label().or(node.value()).expect("its text");
    assert!(list.starts_with("[150000 × text] \"token 0\", \"token 1\"") && list.ends_with(", …"), "{list}");
    assert!(list.len() < 400, "a bounded head of it");
    // The filter has the keyboard.
    bench.get_by_role_and_label(Role::TextInput, "Filter key-values").type_text("TOKENIZER");
    settle(&mut bench);
    assert!(shows(&bench, "1 of 4 key-values") && bench.query_by_label("llama.block_count").is_none());
    bench.get_by_role_and_label(Role::Button, "Copy tokenizer.ggml.tokens").click();
    let list: Vec<String> = serde_json::from_str(&copied(&mut bench)).expect("a list");
    assert_eq!((list.len(), list[0].as_str(), list[149_999].as_str()), (150_000, "token 0", "token 149999"));
    type_into(&mut bench, "Filter key-values", "second");
    settle(&mut bench);
    bench.get_by_role_and_label(Role::Button, "Copy general.description").click();
    assert_eq!(copied(&mut bench), "The first line\nand a <b>second</b> one");
    assert!(shows(&bench, "general.description: copied, 2 lines"));
    bench.key_press(Key::Escape);
    bench.step();
    bench.key_press(Key::Escape);
    settle(&mut bench);
    assert!(bench.query_by_label("About this file").is_none());
}

#[test]
fn frames_of_a_file_with_a_large_vocabulary_are_short() {
    let folder = Folder::new("share-file-large");
    let mut bench = bench(&vocabulary(&folder), SIZE, true);
    bench.get_by_label_contains("About this file: ").click();
    settle(&mut bench);
    let started = std::time::Instant::now();
    for _ in 0..50 {
        bench.step();
    }
    // A pass over 150,000 texts in each of these frames would take many times as long.
    assert!(started.elapsed().as_secs_f64() < 5.0, "{:?} for 50 frames", started.elapsed());
}

#[test]
fn the_texts_of_another_format_and_all_its_warnings_are_shown() {
    let folder = Folder::new("share-file-metadata");
    let plain = safetensors(&[("a.weight", "F32", &[2, 4], floats(&[0.5; 8]))]);
    let path = folder.write("plain.safetensors", plain);
    let exported = folder.at("out.safetensors");
    run(&["export", &path, "--target", "safetensors", "--set", "a.weight=prune:0.5", "-o", &exported]).done();
    let mut bench = bench(&exported, SIZE, false);
    bench.get_by_label_contains("About this file: ").click();
    settle(&mut bench);
    assert!(bench.query_by_label("spokeshave.recipe").is_some());
    bench.get_by_role_and_label(Role::Button, "Copy spokeshave.recipe").click();
    let recipe = copied(&mut bench);
    assert_eq!(Some(recipe.as_str()), live(&bench).model.embedded_recipe());
    let warnings = live(&bench).model.warnings.clone();
    assert!(warnings.iter().all(|warning| shows(&bench, warning)));
}

#[test]
fn pictures_for_now() {
    let Ok(out) = std::env::var("SHARE_PICTURES") else { return };
    let folder = Folder::new("share-pictures");
    let path = vocabulary(&folder);
    for (width, height) in [(1024, 700), (1280, 800), (1920, 1080)] {
        for dark in [true, false] {
            let name = |what: &str| format!("{out}/{what}-{width}-{}.png", if dark { "dark" } else { "light" });
            let mut bench = bench(&path, [width as f32, height as f32], dark);
            bench.get_by_role_and_label(Role::Button, "Copy as").click();
            settle(&mut bench);
            for _ in 0..10 {
                bench.step();
            }
            bench.render().expect("pixels").save(name("menu")).expect("a file");
            bench.key_press(Key::Escape);
            settle(&mut bench);
            bench.get_by_label_contains("About this file: ").click();
            settle(&mut bench);
            bench.render().expect("pixels").save(name("file")).expect("a file");
            bench.get_by_role_and_label(Role::Button, "Close").click();
            settle(&mut bench);
            bench.get_by_role_and_label(Role::Button, "Report…").click();
            settle(&mut bench);
            bench.render().expect("pixels").save(name("report")).expect("a file");
        }
    }
}
