//! Another checkpoint beside the model: chosen, compared layer by layer, let go; and whatever can be wrong with it.

use super::bench::{Bench, bench_on, live, settle, wait_until};
use super::command::{Folder, demo_file, floats, run, safetensors, tensor};
use egui::accesskit::Role;
use egui_kittest::kittest::Queryable;
use serde_json::Value;
use spokeshave::app::format;
use spokeshave::model::{OpenOptions, open};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SIZE: [f32; 2] = [1280.0, 800.0];

fn demo() -> Bench {
    let model = open(Path::new("demo"), &OpenOptions::default()).expect("the demo is part of the program");
    bench_on(Arc::new(model), SIZE, true)
}

/// A later state of the demo: two layers pruned in another way.
fn ticket(folder: &Folder) -> String {
    let out = folder.at("ticket.safetensors");
    let words = ["export", "demo", "--set", "fc1.weight=random:0.5:3", "--set", "fc2.weight=prune:0.8"];
    run(&[&words[..], &["--target", "safetensors", "-o", &out]].concat()).done();
    out
}

fn press(bench: &mut Bench, label: &str) {
    bench.get_by_role_and_label(Role::Button, label).click();
    settle(bench);
}

fn open_tab(bench: &mut Bench) {
    bench.get_by_role_and_label(Role::Tab, "Compare").click();
    settle(bench);
}

/// Types a path into the open dialog, in place of what is there.
fn type_path(bench: &mut Bench, path: &str) {
    bench.get_by_label("Path of the checkpoint").focus();
    bench.step();
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    bench.get_by_label("Path of the checkpoint").type_text(path);
    bench.step();
}

/// A window on the demo with this checkpoint beside it.
fn beside(path: &str) -> Bench {
    let mut bench = demo();
    open_tab(&mut bench);
    press(&mut bench, "Compare with…");
    type_path(&mut bench, path);
    press(&mut bench, "Compare");
    bench
}

fn shows(bench: &Bench, words: &str) -> bool {
    bench.query_all_by_label_contains(words).next().is_some()
}

/// What `compare` says of an export under these settings.
fn compared(folder: &Folder, set: &[&str], other: &str) -> Value {
    let out = folder.at("export.spk");
    let set = set.iter().flat_map(|setting| ["--set", setting]).collect::<Vec<_>>();
    run(&[&["export", "demo", "-o", &out, "--force"], &set[..]].concat()).done();
    run(&["compare", &out, other, "--json"]).json()
}

fn percent(value: &Value) -> String {
    format::percent(value.as_f64().expect("a share"), 1)
}

/// The window says of a layer, first of its source and then of what would be exported, what `compare` says.
#[track_caller]
fn says(bench: &Bench, name: &str, source: &Value, now: &Value) {
    let (source, now) = (tensor(source, name), tensor(now, name));
    for (figure, key) in [("overlap", "mask_overlap"), ("equal signs", "sign_agreement")] {
        let words = format!("{figure}: source {} %, now {} %", percent(&source[key]), percent(&now[key]));
        assert!(bench.query_by_label(&words).is_some(), "{words}");
    }
    let small = |value: &Value| format::small_percent(value["t2"].as_f64().expect("it is finite"));
    let words = format!("relative t²: source {} %, now {} %", small(source), small(now));
    assert!(bench.query_by_label(&words).is_some(), "{words}");
    let cosine = |value: &Value| format::signed(value["cosine"].as_f64().expect("it is finite"), 4);
    let words = format!("cosine: source {} , now {} ", cosine(source), cosine(now));
    assert!(bench.query_by_label(&words).is_some(), "{words}");
}

/// The line of all layers says what `compare` says of all tensors.
#[track_caller]
fn says_in_all(bench: &Bench, now: &Value) {
    let share = |key: &str| format::percent(now[key].as_f64().expect("a share"), 2);
    let words = format!("all 6: overlap {} %, equal signs {} %", share("mask_overlap"), share("sign_agreement"));
    assert!(bench.query_by_label(&words).is_some(), "{words}");
}

#[test]
fn the_window_says_what_compare_says_of_the_export_and_undo_brings_it_back_at_once() {
    let folder = Folder::new("compare-figures");
    let other = ticket(&folder);
    let mut bench = beside(&other);
    let source = compared(&folder, &[], &other);
    says(&bench, "fc1.weight", &source, &source);
    says_in_all(&bench, &source);
    assert!(shows(&bench, "has all 6 tensors"));

    bench.get_by_role_and_label(Role::Switch, "Prune").click();
    settle(&mut bench);
    assert_eq!(live(&bench).scheme(1).to_string(), "prune:0.5");
    let pruned = compared(&folder, &["fc1.weight=prune:0.5"], &other);
    assert_ne!(tensor(&pruned, "fc1.weight")["mask_overlap"], tensor(&source, "fc1.weight")["mask_overlap"]);
    says(&bench, "fc1.weight", &source, &pruned);
    says_in_all(&bench, &pruned);

    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    let coded = compared(&folder, &["fc1.weight=prune:0.5+int4"], &other);
    says(&bench, "fc1.weight", &source, &coded);

    // In the very frame that takes the step back: nothing is compared again.
    bench.get_by_label("Undo").click();
    bench.step();
    bench.step();
    assert!(live(&bench).likeness(1).is_some_and(|likeness| likeness.fresh) && !live(&bench).is_comparing());
    says(&bench, "fc1.weight", &source, &pruned);
    settle(&mut bench);

    // The list selects.
    let row = tensor(&pruned, "fc2.weight");
    let shares = ["mask_overlap", "sign_agreement"].map(|key| format::percent(row[key].as_f64().expect("a share"), 2));
    let row = format!("fc2.weight: overlap {} %, equal signs {} %", shares[0], shares[1]);
    press(&mut bench, &row);
    says(&bench, "fc2.weight", &source, &pruned);
}

#[test]
fn a_checkpoint_is_let_go_and_the_layer_s_own_figures_are_there_again() {
    let folder = Folder::new("compare-let-go");
    let other = ticket(&folder);
    let mut bench = beside(&other);
    assert!(shows(&bench, "Masks: in both 50.0 %, only here 50.0 %"));
    assert!(bench.query_by_label("Distance: exact").is_some() && bench.query_by_label("Error: exact").is_none());
    press(&mut bench, "Let the checkpoint go");
    assert!(live(&bench).checkpoint().is_none() && !shows(&bench, "Masks:"));
    assert!(bench.query_by_label("Error: exact").is_some());
    assert!(bench.query_by_role_and_label(Role::Button, "Compare with…").is_some());
    // Nothing is compared where nobody looks on.
    let mut bench = beside(&other);
    bench.get_by_role_and_label(Role::Tab, "Bytes").click();
    settle(&mut bench);
    bench.get_by_role_and_label(Role::Switch, "Prune").click();
    settle(&mut bench);
    assert!(live(&bench).likeness(1).is_some_and(|likeness| !likeness.fresh && likeness.result.is_some()));
    open_tab(&mut bench);
    assert!(live(&bench).likeness(1).is_some_and(|likeness| likeness.fresh));
}

#[test]
fn a_path_that_leads_nowhere_is_told_where_it_was_typed_and_put_right_there() {
    let folder = Folder::new("compare-nowhere");
    let other = ticket(&folder);
    let mut bench = beside(&folder.at("nosuch.safetensors"));
    assert!(shows(&bench, "nosuch.safetensors") && live(&bench).checkpoint().is_none());
    assert!(live(&bench).troubles.newest().is_none(), "the dialog says it");
    type_path(&mut bench, &folder.write("notes.txt", "no model"));
    bench.key_press(egui::Key::Enter);
    settle(&mut bench);
    assert!(shows(&bench, "notes.txt") && bench.query_by_label("Path of the checkpoint").is_some());
    type_path(&mut bench, &other);
    press(&mut bench, "Compare");
    assert!(bench.query_by_label("Path of the checkpoint").is_none() && live(&bench).checkpoint().is_some());
    // Another one that cannot be opened leaves the first where it is.
    press(&mut bench, "Another…");
    type_path(&mut bench, &folder.at("absent.spk"));
    press(&mut bench, "Compare");
    assert!(shows(&bench, "absent.spk"));
    press(&mut bench, "Cancel");
    assert!(live(&bench).checkpoint().is_some_and(|checkpoint| checkpoint.model.name == "ticket"));
    assert!(live(&bench).troubles.newest().is_none());
}

#[test]
fn what_the_checkpoint_lacks_or_has_in_another_shape_says_so() {
    let folder = Folder::new("compare-lacking");
    let tensors = [
        ("extra.weight", "F32", &[2_usize, 2][..], floats(&[1.0; 4])),
        ("fc1.bias", "BOOL", &[300], vec![1; 300]),
        ("fc3.weight", "F32", &[10, 50], floats(&[1.0; 500])),
    ];
    let mut bench = beside(&folder.write("part.safetensors", safetensors(&tensors)));
    assert!(shows(&bench, "has 2 of 6 tensors, 1 other"));
    assert!(shows(&bench, "part has no tensor of this name"));
    press(&mut bench, "fc3.weight: their shapes differ");
    assert!(shows(&bench, "Their shapes differ: 10 × 100 here, 10 × 50 there"));
    press(&mut bench, "fc1.weight: not there");
    assert!(bench.query_by_label("fc1.weight").is_some(), "its name is over the tabs");
    let bias = live(&bench).likeness(0).expect("it is there");
    assert!(bias.fresh && bias.result.is_some_and(|r| r.note.is_some() && r.mask_overlap() == Some(1.0)));
    assert!(shows(&bench, "all 2: overlap"));
    bench.get_by_label_contains("fc1.bias: overlap").click();
    settle(&mut bench);
    assert!(shows(&bench, "Not float: zeros alone"));
}

#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

pub(super) fn drop_file(bench: &mut Bench, path: &str) {
    bench.input_mut().dropped_files.push(Arc::new(Dropped(path.into())));
    settle(bench);
}

#[test]
fn a_file_that_is_dropped_on_the_tab_is_compared_with_and_elsewhere_opened() {
    let folder = Folder::new("compare-drop");
    let (other, text) = (ticket(&folder), folder.write("notes.txt", "no model"));
    let mut bench = demo();
    open_tab(&mut bench);
    drop_file(&mut bench, &other);
    assert!(live(&bench).checkpoint().is_some_and(|checkpoint| checkpoint.matched() == 6));
    drop_file(&mut bench, &text);
    assert!(shows(&bench, "Opening the other checkpoint did not come to its end"), "nobody asked beside a path");
    assert!(live(&bench).checkpoint().is_some() && live(&bench).model.is_demo());
    press(&mut bench, "Put the message away");
    bench.get_by_role_and_label(Role::Tab, "Distribution").click();
    settle(&mut bench);
    drop_file(&mut bench, &other);
    assert!(!live(&bench).model.is_demo() && live(&bench).checkpoint().is_none(), "a model of its own");
}

#[test]
fn a_checkpoint_that_changes_is_told_and_opened_again() {
    let folder = Folder::new("compare-changed");
    let other = demo_file(&folder, "other.safetensors");
    let mut bench = beside(&other);
    assert!(live(&bench).likeness(1).is_some_and(|likeness| likeness.fresh));
    let bytes = std::fs::read(&other).expect("it is there");
    std::fs::write(&other, &bytes).expect("written anew");
    wait_until(&mut bench, |bench| shows(bench, "other.safetensors changed while it was open"));
    assert!(live(&bench).is_fresh(), "the model is as it was");
    assert!(live(&bench).likeness(1).is_some_and(|likeness| !likeness.fresh && likeness.result.is_some()));
    assert!(shows(&bench, "Mask: exact, out of date"));
    press(&mut bench, "Try again");
    assert!(!shows(&bench, "changed while it was open"));
    assert!(live(&bench).likeness(1).is_some_and(|likeness| likeness.fresh));
    // The model itself, opened again, keeps it.
    assert_eq!(live(&bench).path_beside(), Some(Path::new(&other)));
}
