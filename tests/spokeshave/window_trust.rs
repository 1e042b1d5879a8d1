//! The window when something goes wrong: what is said, what can be done about it, and that it goes on; and a recipe that
//! survives the end of the program.

use super::bench::{Bench, bench_on, bench_unnamed, bench_with, demo, live, settle, wait_until};
use super::command::{Folder, demo_file, floats, safetensors};
use egui::accesskit::Role;
use egui_kittest::kittest::Queryable;
use spokeshave::model::{Model, OpenOptions, open};
use spokeshave::recipe::Recipe;
use spokeshave::session::autosave::{Kept, Shelf, key_of};
use spokeshave::session::live::Outcome;
use std::fs;
use std::path::Path;
use std::sync::Arc;

const SIZE: [f32; 2] = [1280.0, 800.0];

fn opened(path: &str) -> Arc<Model> {
    Arc::new(open(Path::new(path), &OpenOptions::default()).expect("it is a model"))
}

fn scheme(bench: &Bench, tensor: &str) -> String {
    let live = live(bench);
    live.scheme(live.model.find(tensor).expect("the model has this tensor")).to_string()
}

fn shows(bench: &Bench, words: &str) -> bool {
    bench.query_all_by_label_contains(words).next().is_some()
}

/// Switches *Quantize* on for the selected layer.
fn quantize(bench: &mut Bench) {
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(bench);
}

fn press(bench: &mut Bench, label: &str) {
    bench.get_by_label(label).click();
    settle(bench);
}

fn export_to(bench: &mut Bench, out: &str) {
    press(bench, "Export…");
    bench.get_by_label("Export path").focus();
    bench.step();
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    bench.get_by_label("Export path").type_text(out);
    bench.step();
    bench.step();
}

#[test]
fn an_export_that_fails_is_a_banner_with_a_next_step_and_the_window_goes_on() {
    let folder = Folder::new("trust-export");
    let mut bench = bench_on(opened("demo"), SIZE, true);
    let out = folder.at("not/there/out.spk");
    export_to(&mut bench, &out);
    press(&mut bench, "Write file");
    assert!(matches!(live(&bench).outcome, Some(Outcome::Failed(_))));
    press(&mut bench, "Close");
    assert!(shows(&bench, "The export did not come to its end"));
    fs::create_dir_all(folder.0.join("not/there")).expect("a folder");
    press(&mut bench, "Try again");
    assert!(matches!(live(&bench).outcome, Some(Outcome::Done(_))), "{:?}", live(&bench).outcome);
    assert!(!shows(&bench, "did not come to its end"));
    quantize(&mut bench);
    assert_eq!(scheme(&bench, "fc1.weight"), "int4:row");
}

#[test]
fn a_banner_goes_by_its_name_and_by_escape() {
    let folder = Folder::new("trust-escape");
    let mut bench = bench_on(opened("demo"), SIZE, false);
    for way in ["name", "escape"] {
        export_to(&mut bench, &folder.at("absent/out.spk"));
        press(&mut bench, "Write file");
        press(&mut bench, "Close");
        assert!(shows(&bench, "The export did not come"), "{way}");
        if way == "name" {
            bench.get_by_label("Put the message away").click();
        } else {
            bench.key_press(egui::Key::Escape);
        }
        settle(&mut bench);
        assert!(!shows(&bench, "The export did not come"), "{way}");
    }
}

#[test]
fn a_model_that_changes_while_it_is_open_is_said_and_opened_again_with_its_recipe() {
    let folder = Folder::new("trust-changed");
    let path = demo_file(&folder, "m.safetensors");
    let mut bench = bench_on(opened(&path), SIZE, true);
    quantize(&mut bench);
    let bytes = fs::read(&path).expect("it is there");
    fs::write(&path, &bytes).expect("written anew");
    wait_until(&mut bench, |bench| shows(bench, "changed while it was open"));
    settle(&mut bench);
    assert!(live(&bench).rows.iter().all(|row| !row.fresh), "every number is of a file that is no more");
    bench.key_press(egui::Key::Escape);
    settle(&mut bench);
    assert!(shows(&bench, "changed while it was open"), "it stays as long as it is true");
    bench.get_by_label("layer fc2.weight").click();
    settle(&mut bench);
    quantize(&mut bench);
    assert!(live(&bench).rows.iter().all(|row| !row.fresh));
    export_to(&mut bench, &folder.at("out.spk"));
    assert!(shows(&bench, "open it again, then export"));
    bench.get_by_label("Write file").click();
    settle(&mut bench);
    press(&mut bench, "Close");
    assert!(!folder.0.join("out.spk").exists());
    press(&mut bench, "Open it again");
    assert!(!shows(&bench, "changed while it was open"));
    assert_eq!([scheme(&bench, "fc1.weight"), scheme(&bench, "fc2.weight")], ["int4:row", "int4:row"]);
    assert!(live(&bench).is_fresh());
    assert!(bench.query_by_label("fc2.weight").is_some(), "the selected layer is still selected");
}

#[test]
fn a_model_that_vanishes_is_said_and_what_does_not_fit_any_more_too() {
    let folder = Folder::new("trust-vanished");
    let path = demo_file(&folder, "m.safetensors");
    let mut bench = bench_on(opened(&path), SIZE, true);
    quantize(&mut bench);
    fs::remove_file(&path).expect("it was there");
    wait_until(&mut bench, |bench| shows(bench, "no longer there"));
    press(&mut bench, "Open it again");
    assert!(shows(&bench, "It cannot be opened") && shows(&bench, "1 more"));
    fs::write(&path, safetensors(&[("other.weight", "F32", &[2, 4], floats(&[0.5; 8]))])).expect("a small file");
    bench.key_press(egui::Key::Escape);
    settle(&mut bench);
    press(&mut bench, "Open it again");
    assert_eq!(live(&bench).model.tensors.len(), 1);
    assert!(shows(&bench, "The recipe no longer fits the model"));
}

#[test]
fn a_recipe_left_behind_is_offered_and_restored_as_one_step() {
    let folder = Folder::new("trust-restore");
    let shelf = Shelf::in_folder(&folder.0.join("recovery"));
    let path = demo_file(&folder, "m.safetensors");
    let mut bench = bench_with(opened(&path), SIZE, true, Some(shelf.clone()));
    assert!(!shows(&bench, "Restore the recipe"));
    bench.get_by_label("layer fc2.weight").click();
    settle(&mut bench);
    quantize(&mut bench);
    drop(bench);
    let mut bench = bench_with(opened(&path), SIZE, true, Some(shelf.clone()));
    assert!(shows(&bench, "Restore the recipe of a moment ago? It was not saved when the window was closed"));
    assert_eq!(scheme(&bench, "fc2.weight"), "keep", "nothing is restored unasked");
    // By the keyboard alone: the button is reached with Tab.
    let reached = (0..40).any(|_| {
        bench.key_press(egui::Key::Tab);
        bench.step();
        bench.get_by_label("Restore").is_focused()
    });
    assert!(reached, "Tab comes to the button");
    bench.key_press(egui::Key::Enter);
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc2.weight"), "int4:row");
    assert!(bench.query_by_label("fc2.weight").is_some(), "what was selected is selected");
    assert!(!shows(&bench, "Restore the recipe"));
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc2.weight"), "keep");
    drop(bench);
    assert!(shelf.left().is_empty(), "what was taken back is not kept");
}

#[test]
fn a_recipe_left_behind_is_discarded_or_left_for_later() {
    let folder = Folder::new("trust-discard");
    let shelf = Shelf::in_folder(&folder.0.join("recovery"));
    let path = demo_file(&folder, "m.safetensors");
    let mut bench = bench_with(opened(&path), SIZE, true, Some(shelf.clone()));
    quantize(&mut bench);
    drop(bench);
    let bytes = fs::read(&path).expect("it is there");
    fs::write(&path, bytes).expect("written anew");
    let mut bench = bench_with(opened(&path), SIZE, false, Some(shelf.clone()));
    assert!(shows(&bench, "the model file has changed since"));
    bench.key_press(egui::Key::Escape);
    settle(&mut bench);
    assert!(!shows(&bench, "Restore the recipe"));
    drop(bench);
    assert_eq!(shelf.left().len(), 1, "Escape is no answer");
    let mut bench = bench_with(opened(&path), SIZE, false, Some(shelf.clone()));
    press(&mut bench, "Discard");
    assert!(!shows(&bench, "Restore the recipe") && shelf.left().is_empty());
    assert_eq!(scheme(&bench, "fc1.weight"), "keep");
}

#[test]
fn what_was_saved_or_damaged_is_not_offered() {
    let folder = Folder::new("trust-saved");
    let place = folder.0.join("recovery");
    let shelf = Shelf::in_folder(&place);
    let path = demo_file(&folder, "m.safetensors");
    let mut bench = bench_with(opened(&path), SIZE, true, Some(shelf.clone()));
    quantize(&mut bench);
    wait_until(&mut bench, |_| fs::read_dir(&place).is_ok_and(|entries| entries.count() == 2));
    assert!(shelf.left().is_empty(), "a living window's recipe is its own");
    press(&mut bench, "Save recipe…");
    recipe_path(&mut bench, &folder.at("mine.toml"));
    bench.get_by_label("Save").click();
    settle(&mut bench);
    drop(bench);
    assert!(shelf.left().is_empty() && folder.0.join("mine.toml").exists());
    fs::write(place.join("0123456789abcdef-1-0.autosave"), "spokeshave autosave 1 0\n{").expect("a small file");
    let bench = bench_with(opened(&path), SIZE, true, Some(shelf));
    assert!(!shows(&bench, "Restore the recipe"));
    assert!(place.join("0123456789abcdef-1-0.autosave.damaged").exists());
}

/// Types a path into the open dialog for recipes.
fn recipe_path(bench: &mut Bench, path: &str) {
    bench.get_by_label("Recipe path").focus();
    bench.step();
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    bench.get_by_label("Recipe path").type_text(path);
    bench.step();
    bench.step();
}

#[test]
fn a_saved_recipe_replaces_nothing_unasked_and_never_the_model() {
    let folder = Folder::new("trust-over");
    let (path, mine) = (demo_file(&folder, "m.safetensors"), folder.write("mine.toml", "precious"));
    let before = fs::read(&path).expect("it is there");
    let mut bench = bench_on(opened(&path), SIZE, true);
    quantize(&mut bench);
    press(&mut bench, "Save recipe…");
    recipe_path(&mut bench, &mine);
    bench.get_by_label("Save").click();
    settle(&mut bench);
    assert_eq!(folder.read("mine.toml"), b"precious");
    press(&mut bench, "Replace what is there");
    press(&mut bench, "Save");
    let saved = folder.read("mine.toml");
    assert!(saved != b"precious");
    // What this window wrote it writes again without a question, under the name that it had.
    press(&mut bench, "Save recipe…");
    assert!(bench.query_by_label("Replace what is there").is_none());
    press(&mut bench, "Save");
    assert!(folder.read("mine.toml") == saved);
    press(&mut bench, "Save recipe…");
    recipe_path(&mut bench, &path);
    press(&mut bench, "Replace what is there");
    press(&mut bench, "Save");
    assert!(shows(&bench, "being read") && fs::read(&path).expect("it is there") == before);
}

#[test]
fn what_is_undone_in_the_field_of_a_dialog_is_what_was_typed_there() {
    let mut bench = demo();
    quantize(&mut bench);
    let depth = live(&bench).history().depth();
    press(&mut bench, "Save recipe…");
    recipe_path(&mut bench, "other.toml");
    let typed = |bench: &Bench| bench.get_by_label("Recipe path").value().unwrap_or_default();
    assert_eq!(typed(&bench), "other.toml");
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    bench.step();
    bench.step();
    assert_ne!(typed(&bench), "other.toml");
    assert_eq!(live(&bench).history().depth(), depth);
    press(&mut bench, "Cancel");
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    settle(&mut bench);
    assert_eq!(live(&bench).history().depth(), depth - 1);
}

#[test]
fn the_model_that_was_open_is_offered_only_where_nobody_named_one() {
    let folder = Folder::new("trust-reopen");
    let place = folder.0.join("recovery");
    let path = demo_file(&folder, "m.safetensors");
    let mut kept = Kept::of(&opened(&path), Recipe::default());
    kept.recipe.set_one("fc1.weight", "int4:row".parse().expect("a scheme"));
    fs::create_dir(&place).expect("a folder");
    fs::write(place.join(format!("{:016x}-1-0.autosave", key_of(&opened(&path)))), kept.print()).expect("a small file");
    let shelf = Shelf::in_folder(&place);
    let bench = bench_with(opened("demo"), SIZE, true, Some(shelf.clone()));
    assert!(!shows(&bench, "The program ended unexpectedly"));
    drop(bench);
    let mut bench = bench_unnamed(opened("demo"), SIZE, shelf);
    assert!(shows(&bench, "The program ended unexpectedly") && shows(&bench, "with m open"));
    press(&mut bench, "Open it");
    assert_eq!(scheme(&bench, "fc1.weight"), "keep", "nothing is restored unasked");
    press(&mut bench, "Restore");
    assert_eq!(scheme(&bench, "fc1.weight"), "int4:row");
}

#[test]
fn leftovers_of_killed_exports_are_told_and_removed_when_asked() {
    let folder = Folder::new("trust-leftovers");
    fs::write(folder.0.join(".spokeshave-4000000000-0.tmp"), [0; 2048]).expect("a small file");
    let mut bench = bench_on(opened("demo"), SIZE, true);
    export_to(&mut bench, &folder.at("out.spk"));
    wait_until(&mut bench, |bench| shows(bench, "killed export"));
    assert!(shows(&bench, "1 file of a killed export is left here, 2.0 KiB"));
    bench.get_by_label("Remove leftovers").click();
    wait_until(&mut bench, |bench| !shows(bench, "killed export"));
    assert_eq!(folder.names(), Vec::<String>::new());
}

#[test]
fn numbers_that_are_none_and_shapes_that_are_odd_are_words() {
    let folder = Folder::new("trust-odd");
    let evil = "a\u{202e}b\u{7f}\u{1b}[2J.weight";
    let tensors: Vec<(&str, &str, &[usize], Vec<u8>)> = vec![
        (evil, "F32", &[2, 2], floats(&[1.0, 2.0, 3.0, 4.0])),
        ("denormal.weight", "F32", &[2, 4], floats(&[1e-45; 8])),
        ("empty.weight", "F32", &[0, 4], Vec::new()),
        ("inf.weight", "F32", &[1, 2], floats(&[f32::INFINITY, f32::NEG_INFINITY])),
        ("large.weight", "F32", &[2, 2], floats(&[f32::MAX, f32::MIN, 0.0, 1.0])),
        ("long.weight", "F32", &[1; 64], floats(&[1.0])),
        ("mixed.weight", "F32", &[2, 2], floats(&[f32::NAN, 1.0, -1.0, 0.0])),
        ("nan.weight", "F32", &[2, 2], floats(&[f32::NAN; 4])),
        ("one.weight", "F32", &[1, 1], floats(&[0.25])),
        ("same.weight", "F32", &[2, 4], floats(&[0.5; 8])),
        ("scalar", "F32", &[], floats(&[3.0])),
        ("wide.weight", "F32", &[0, 1_000_000_007, 9_000_000_000], Vec::new()),
        ("zero.weight", "F32", &[4, 4], vec![0; 64]),
    ];
    let path = folder.write("odd.safetensors", safetensors(&tensors));
    let mut bench = bench_on(opened(&path), SIZE, true);
    let mut words = Vec::new();
    for (name, ..) in &tensors {
        let shown = spokeshave::formats::error::printable(name);
        bench.get_by_label(&format!("layer {shown}")).click();
        settle(&mut bench);
        for switch in ["Prune", "Quantize", "Prune", "Quantize"] {
            if let Some(switch) = bench.query_by_role_and_label(Role::Switch, switch) {
                switch.click();
                settle(&mut bench);
            }
        }
        words.push(live(&bench).history().undo_what().map(str::to_owned));
        bench.render().expect("it draws");
    }
    assert!(words.iter().flatten().all(|what| !what.contains(char::is_control) && !what.contains('\u{202e}')));
    assert!(live(&bench).model.tensors.len() == tensors.len() && !live(&bench).is_busy());
}
