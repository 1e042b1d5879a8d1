//! What a command never does to files that are not its own, and how odd models come through every command.

use super::command::*;
use std::fs;

/// A folder model of two shards' worth of one file, with a config beside it.
fn folder_model(folder: &Folder) -> String {
    let path = folder.at("hf");
    fs::create_dir(&path).expect("a folder");
    let weights = safetensors(&[("a.weight", "F32", &[2, 4], floats(&[1.0, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]))]);
    fs::write(format!("{path}/model.safetensors"), weights).expect("a file");
    fs::write(format!("{path}/config.json"), "{}").expect("a file");
    path
}

#[test]
fn a_folder_is_replaced_only_when_nothing_in_it_would_be_lost() {
    let folder = Folder::new("replace");
    let (source, out) = (folder_model(&folder), folder.at("out"));
    run(&["export", &source, "--set", "*=int4", "-o", &out]).done();
    run(&["export", &source, "--set", "*=int8", "-o", &out]).refused(1, "exists");
    run(&["export", &source, "--set", "*=int8", "-o", &out, "--force"]).done();
    assert!(fs::exists(format!("{out}/config.json")).expect("it can be looked at"));
    fs::write(format!("{out}/thesis.txt"), "precious").expect("a file");
    run(&["export", &source, "--set", "*=int4", "-o", &out, "--force"]).refused(1, "thesis.txt");
    assert_eq!(fs::read_to_string(format!("{out}/thesis.txt")).expect("it is there"), "precious");
    run(&["export", &source, "--set", "*=int4", "-o", &source, "--force"]).refused(1, "being read");
    // Names alone make no artifact.
    let own = folder.at("own");
    fs::create_dir(&own).expect("a folder");
    fs::write(format!("{own}/config.json"), "mine").expect("a file");
    run(&["export", &source, "--set", "*=int4", "-o", &own, "--force"]).refused(1, "config.json");
    assert_eq!(fs::read_to_string(format!("{own}/config.json")).expect("it is there"), "mine");
}

#[test]
fn what_a_killed_export_moved_aside_is_named_and_gets_its_name_back() {
    let folder = Folder::new("aside");
    let (source, out) = (folder_model(&folder), folder.at("out"));
    let words = ["export", &source, "--set", "*=int8", "-o", &out];
    run(&words).done();
    let before = fs::read(format!("{out}/model.safetensors")).expect("it is there");
    // As a kill between the two renames leaves it: no process has this number.
    let aside = folder.at(".spokeshave-4000000000-0.old");
    fs::create_dir(&aside).expect("a folder");
    fs::rename(&out, format!("{aside}/out")).expect("it is moved");
    let other = run(&["export", &source, "--set", "*=int8", "-o", &folder.at("other")]).done();
    assert!(other.stderr.contains("moved aside by a killed export") && other.stderr.contains("--clean puts it back"));
    let again = run(&["export", &source, "--set", "*=int4", "-o", &out, "--clean"]);
    assert!(
        again.code == 1 && again.stderr.contains("has its name back") && again.stderr.contains("exists"),
        "{}",
        again.stderr
    );
    assert_eq!(fs::read(format!("{out}/model.safetensors")).expect("it is back"), before);
    assert!(!fs::exists(&aside).expect("it can be looked at"));
}

#[cfg(unix)]
#[test]
fn a_name_is_taken_as_it_is_meant_before_any_work() {
    let folder = Folder::new("names");
    let source = folder_model(&folder);
    let export = |out: &str, more: &[&str]| run(&[&["export", &source, "--set", "*=int8", "-o", out], more].concat());
    for nameless in [folder.at("hf/.."), "/".to_owned()] {
        assert_eq!(export(&nameless, &["--force"]).code, 1, "{nameless}");
    }
    export(&folder.at("out/"), &[]).done();
    // A separator at the end of a link would lead through it.
    std::os::unix::fs::symlink("out", folder.at("link")).expect("a link");
    let done = export(&folder.at("link/"), &["--force"]).done();
    assert!(done.stderr.contains("was a link to out"), "{}", done.stderr);
    assert!(fs::symlink_metadata(folder.at("link")).expect("it is there").is_dir());
    assert!(fs::exists(folder.at("out/model.safetensors")).expect("it can be looked at"));
}

#[test]
fn a_picture_replaces_only_a_picture() {
    let folder = Folder::new("picture");
    let model = demo_file(&folder, "source.safetensors");
    let before = fs::read(&model).expect("it is there");
    run(&["screenshot", &model, "-o", &model]).refused(1, "being read");
    assert_eq!(fs::read(&model).expect("it is there"), before);
    let notes = folder.at("notes.txt");
    fs::write(&notes, "precious").expect("a file");
    run(&["screenshot", &model, "-o", &notes]).refused(1, "not a PNG");
    let png = folder.at("a.png");
    run(&["screenshot", &model, "-o", &png]).done();
    run(&["screenshot", &model, "-o", &png]).done();
}

#[test]
fn a_model_without_tensors_comes_through_every_command() {
    let folder = Folder::new("empty");
    let (model, out) = (folder.at("none.safetensors"), folder.at("out.spk"));
    fs::write(&model, safetensors(&[])).expect("a file");
    assert_eq!(run(&["inspect", &model, "--json"]).json()["parameters"], 0);
    run(&["estimate", &model, "--target", "packed"]).done();
    run(&["export", &model, "--target", "packed", "-o", &out]).done();
    run(&["verify", &model, &out]).done();
    run(&["screenshot", &model, "-o", &folder.at("none.png")]).done();
}

#[test]
fn the_nearest_scheme_is_what_the_artifact_remembers() {
    let folder = Folder::new("nearest");
    let (first, second, recipe) = (folder.at("a.spk"), folder.at("b.spk"), folder.at("r.toml"));
    run(&["export", "demo", "--set", "fc2*=q4_k", "-o", &first]).refused(1, "nearest");
    let document = run(&["export", "demo", "--set", "fc2*=q4_k", "--nearest", "-o", &first, "--json"]).json();
    let fc2 = tensor(&document["estimate"], "fc2.weight");
    assert_eq!((&fc2["scheme"], &fc2["stored_as"]), (&"q4_k".into(), &"int4:g32:asym".into()));
    let text = run(&["inspect", &first, "--json"]).json()["recipe"].as_str().expect("it carries one").to_owned();
    fs::write(&recipe, text).expect("a file");
    run(&["export", "demo", "--recipe", &recipe, "-o", &second]).done();
    assert!(fs::read(&first).expect("it is there") == fs::read(&second).expect("it is there"));
    run(&["screenshot", "demo", "--set", "fc2*=q4_k", "--nearest", "-o", &folder.at("n.png")]).done();
}

#[test]
fn a_lock_on_a_name_that_is_not_there_is_told() {
    let folder = Folder::new("lock");
    let recipe = folder.at("r.toml");
    fs::write(&recipe, "version = 1\nlocked = [\"fc9.weight\"]\n").expect("a file");
    run(&["estimate", "demo", "--recipe", &recipe]).refused(1, "fc9.weight");
}
