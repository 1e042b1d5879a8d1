//! Every command, run as a user runs it: its numbers, its documents, its files, and what it never does to them.

use super::command::*;
use serde_json::Value;
use std::fs;

/// Keys of `estimate --json`.
const ESTIMATE: &str = "target label source_bytes bytes overhead_bytes sparse_bytes entropy_bytes bits_per_weight \
    fidelity fidelity_form tensors";
/// Keys of each of its tensors.
const ESTIMATE_TENSOR: &str =
    "name scheme stored_as label shape bytes sparse_bytes entropy_bytes zeros t2 sqnr_db cosine";

// ---------------------------------------------------------------- inspect

#[test]
fn inspect_lists_every_tensor_with_its_statistics() {
    let document = run(&["inspect", "demo", "--json"]).json();
    has_keys(&document, "path format bytes parameters tensors");
    let tensors = document["tensors"].as_array().unwrap();
    assert_eq!((tensors.len(), &document["parameters"], &document["path"]), (6, &266_610.into(), &"demo".into()));
    for tensor in tensors {
        has_keys(tensor, "name dtype shape parameters bytes role layer min max mean std zeros nan inf");
    }
    assert_eq!(tensor(&document, "fc1.weight")["shape"], serde_json::json!([300, 784]));
    let text = run(&["inspect", "demo"]).done().text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("name") && lines[2].starts_with("fc1.weight"), "{text}");
    assert!(text.contains("−0.3850") && text.contains("940,800") && text.contains("1.02 MiB (1,066,928 bytes)"));
}

#[test]
fn inspect_says_null_where_there_is_no_number() {
    let folder = Folder::new("null");
    let model = folder.write(
        "odd.safetensors",
        safetensors(&[
            ("codes", "I32", &[2], vec![0; 8]),
            ("empty", "F32", &[0, 3], Vec::new()),
            ("strange", "F32", &[2], floats(&[f32::NAN, f32::INFINITY])),
            ("turned\u{202e}", "F32", &[2], floats(&[f32::MAX, -1.0])),
        ]),
    );
    let document = run(&["inspect", &model, "--json"]).json();
    let null = |name: &str, key: &str| tensor(&document, name)[key].is_null();
    assert!(["min", "max", "mean", "std", "zeros", "nan", "inf"].iter().all(|key| null("codes", key)));
    assert!(["min", "max", "mean", "std"].iter().all(|key| null("strange", key) && null("empty", key)));
    assert_eq!((&tensor(&document, "strange")["nan"], &tensor(&document, "strange")["inf"]), (&1.into(), &1.into()));
    let estimate = run(&["estimate", &model, "--json"]).json();
    assert!(["zeros", "t2", "sqnr_db", "cosine"].iter().all(|key| tensor(&estimate, "codes")[key].is_null()));
    assert!(["t2", "cosine"].iter().all(|key| tensor(&estimate, "strange")[key].is_null()));
    let text = run(&["inspect", &model]).done().text();
    assert!(!text.contains('\u{202e}') && text.contains("\\u{202e}"), "names are escaped: {text}");
}

// ---------------------------------------------------------------- estimate

#[test]
fn estimate_has_every_key_and_its_totals_are_sums() {
    for target in ["packed", "safetensors"] {
        let set = ["--set", "*=prune:0.5+int4:g64:asym", "--set", "fc3.bias=f16"];
        let e = run(&["estimate", "demo", "--json", "--target", target, set[0], set[1], set[2], set[3]]).json();
        has_keys(&e, ESTIMATE);
        assert_eq!(
            (&e["target"], &e["label"], &e["fidelity_form"]),
            (&target.into(), &"exact".into(), &"chain".into())
        );
        let tensors = e["tensors"].as_array().unwrap();
        tensors.iter().for_each(|tensor| has_keys(tensor, ESTIMATE_TENSOR));
        let sum = |key: &str| tensors.iter().map(|tensor| tensor[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!(e["bytes"].as_u64().unwrap(), sum("bytes") + e["overhead_bytes"].as_u64().unwrap());
        assert_eq!(e["sparse_bytes"].as_u64().unwrap(), sum("sparse_bytes"));
        assert_eq!(e["entropy_bytes"].as_u64().unwrap(), sum("entropy_bytes"));
        assert_eq!(tensor(&e, "fc3.bias")["scheme"], "f16");
        assert_eq!(tensor(&e, "fc1.bias")["scheme"], "keep");
        assert!(tensor(&e, "fc1.bias")["sqnr_db"].is_null() && tensor(&e, "fc1.bias")["t2"] == 0.0);
    }
}

#[test]
fn the_default_target_is_packed_for_a_demo_and_safetensors_for_a_file() {
    let folder = Folder::new("target");
    let model = demo_file(&folder, "model.safetensors");
    assert_eq!(run(&["estimate", "demo", "--json"]).json()["target"], "packed");
    assert_eq!(run(&["estimate", &model, "--json"]).json()["target"], "safetensors");
    let recipe = folder.write("r.toml", "version = 1\ntarget = \"packed\"\n");
    assert_eq!(run(&["estimate", &model, "--recipe", &recipe, "--json"]).json()["target"], "packed");
    let overruled = run(&["estimate", &model, "--recipe", &recipe, "--target", "safetensors", "--json"]);
    assert_eq!(overruled.json()["target"], "safetensors");
}

#[test]
fn the_worked_example_is_what_its_formula_says_or_less() {
    let e = run(&["estimate", "demo", "--set", "fc1.weight=prune:0.9+int4:row", "--json"]).json();
    let fc1 = tensor(&e, "fc1.weight");
    let survivors_lost = fc1["zeros"].as_u64().unwrap() - 211_680;
    // A mask, half a byte for each nonzero, four bytes for each row: the least of the formulas, or relative indices.
    let codes = (23_520 - survivors_lost).div_ceil(2);
    let masked = 29_400 + codes + 1_200;
    assert!(fc1["sparse_bytes"].as_u64().unwrap() <= masked);
    // What is stored is coded by frequencies besides, gaps as well, which knows of pixels that are black in every image.
    let bytes = fc1["bytes"].as_u64().unwrap();
    assert!((masked / 2..masked).contains(&bytes), "{bytes} {masked}");
    let asym = run(&["estimate", "demo", "--set", "fc1.weight=prune:0.9+int4:row:asym", "--json"]).json();
    let asym = tensor(&asym, "fc1.weight");
    let codes = (235_200 - asym["zeros"].as_u64().unwrap()).div_ceil(2);
    let masked = 29_400 + codes + 1_200 + 300;
    let bytes = asym["bytes"].as_u64().unwrap();
    assert!((masked / 2..masked).contains(&bytes), "{bytes} {masked}");
}

#[test]
fn bytes_only_leaves_open_what_values_decide() {
    let words = |target| ["estimate", "demo", "--set", "*=prune:0.5+int4", "--target", target, "--json"];
    let open = ["zeros", "t2", "sqnr_db", "cosine", "sparse_bytes", "entropy_bytes"];
    for target in ["packed", "safetensors"] {
        let exact = run(&words(target)).json();
        let quick = run(&[&words(target)[..], &["--bytes-only"]].concat()).json();
        has_keys(&quick, ESTIMATE);
        assert!(open.iter().all(|key| tensor(&quick, "fc1.weight")[key].is_null()), "{quick}");
        assert!(quick["fidelity"].is_null() && quick["sparse_bytes"].is_null() && quick["entropy_bytes"].is_null());
        assert_eq!(tensor(&quick, "fc1.bias")["bytes"], tensor(&exact, "fc1.bias")["bytes"]);
        if target == "packed" {
            assert!(
                quick["bytes"].is_null() && quick["overhead_bytes"].is_null() && quick["bits_per_weight"].is_null()
            );
            assert!(tensor(&quick, "fc1.weight")["bytes"].is_null());
        } else {
            assert_eq!(quick["bytes"], exact["bytes"]);
            assert_eq!(tensor(&quick, "fc1.weight")["bytes"], 940_800);
        }
    }
    assert!(run(&["estimate", "demo", "--set", "*=int4", "--bytes-only"]).done().text().contains('–'));
}

#[test]
fn estimate_for_people_has_its_headline() {
    let text = run(&["estimate", "demo", "--set", "*=int8"]).done().text();
    for words in ["stored", "sparse", "entropy", "× smaller", "bits per weight", "fidelity", "(chain, exact)", "SQNR"]
    {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert!(text.lines().all(|line| line == line.trim_end()));
}

#[test]
fn nearest_is_taken_only_when_it_is_allowed() {
    let words = ["estimate", "demo", "--set", "fc1.weight=q8_0", "--json"];
    run(&words).refused(1, "q8_0");
    let e = run(&[&words[..], &["--nearest"]].concat()).json();
    let fc1 = tensor(&e, "fc1.weight");
    assert_eq!((&fc1["scheme"], &fc1["stored_as"]), (&"q8_0".into(), &"int8:g32".into()));
}

// ---------------------------------------------------------------- export and verify

#[test]
fn what_is_exported_verifies_for_both_targets() {
    let folder = Folder::new("round");
    for target in ["packed", "safetensors"] {
        let out = folder.at(target);
        let words = ["export", "demo", "--set", "*=prune:0.7:global+int3:g32:asym", "--target", target, "-o", &out];
        let document = run(&[&words[..], &["--json"]].concat()).json();
        has_keys(&document, "out files verified estimate");
        has_keys(&document["estimate"], ESTIMATE);
        let on_disk = fs::metadata(&out).unwrap().len();
        assert_eq!(document["files"], serde_json::json!([{"path": out, "bytes": on_disk}]));
        assert_eq!(document["estimate"]["bytes"], on_disk);
        assert_eq!(document["verified"], serde_json::json!({"tensors": 6, "max_abs_difference": 0.0}));
        let report = run(&["verify", "demo", &out, "--json"]).json();
        assert_eq!(report["ok"], true);
        report["tensors"].as_array().unwrap().iter().for_each(|tensor| {
            has_keys(tensor, "name t2 sqnr_db max_abs_difference");
        });
        let (read, promised) = (tensor(&report, "fc2.weight"), tensor(&document["estimate"], "fc2.weight"));
        assert_eq!(read["t2"], promised["t2"]);
        assert!(run(&["verify", "demo", &out]).done().text().starts_with("ok: 6 tensors"));
        let text = run(&[&words[..], &["--force"]].concat()).done().text();
        assert!(text.starts_with("wrote ") && text.contains("read back: 6 tensors as planned"), "{text}");
    }
}

#[test]
fn verify_finds_a_changed_byte_and_prints_what_fails() {
    let folder = Folder::new("changed");
    let out = folder.at("small.spk");
    run(&["export", "demo", "--set", "*=int4", "-o", &out]).done();
    let mut bytes = folder.read("small.spk");
    // The first payload: a bias that is kept as it was.
    let first = 24 + u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    bytes[first] ^= 0x40;
    fs::write(&out, &bytes).unwrap();
    let report = run(&["verify", "demo", &out, "--json"]);
    assert_eq!(report.code, 1);
    let document: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(document["ok"], false);
    let text = run(&["verify", "demo", &out]);
    assert!(text.code == 1 && text.text().lines().count() == 2, "{}", text.text());
    assert!(text.stderr.contains("1 of 6 tensors"), "{}", text.stderr);
    fs::write(&out, &bytes[..bytes.len() - 9]).unwrap();
    run(&["verify", "demo", &out, "--json"]).refused(1, "small.spk");
    // The values are right, the name of the scheme beside them is not the recipe's.
    bytes[first] ^= 0x40;
    let named = bytes.windows(14).position(|window| window == b"\"scheme\":\"int4").expect("a coding names its scheme");
    bytes[named + 13] = b'5';
    fs::write(&out, &bytes).unwrap();
    let text = run(&["verify", "demo", &out]);
    assert!(text.code == 1 && text.text().contains("coding is that of another scheme"), "{}", text.text());
    let plain = demo_file(&folder, "plain.safetensors");
    run(&["verify", "demo", &plain]).refused(1, "no Spokeshave recipe");
}

#[test]
fn the_same_request_gives_the_same_bytes_however_it_is_computed() {
    let folder = Folder::new("same");
    let model = demo_file(&folder, "model.safetensors");
    let ways: [&[&str]; 5] = [&[], &[], &["--threads", "1"], &["--threads", "2"], &["--no-mmap"]];
    for target in ["packed", "safetensors"] {
        let mut first: Option<(Vec<u8>, Vec<u8>)> = None;
        for (i, way) in ways.iter().enumerate() {
            let (name, set) = (format!("{target}-{i}"), "*=prune:0.8:global+int4:g32");
            let out = folder.at(&name);
            run(&[&["export", &model, "--set", set, "--target", target, "-o", &out], *way].concat()).done();
            let estimate = run(&[&["estimate", &model, "--set", set, "--target", target, "--json"], *way].concat());
            let found = (folder.read(&name), estimate.done().stdout);
            let first = first.get_or_insert_with(|| found.clone());
            assert!(*first == found, "{target}, {way:?}");
        }
    }
}

#[test]
fn a_packed_file_exported_dense_has_the_values_of_a_dense_export() {
    let folder = Folder::new("dense");
    let (small, spelt, dense) = (folder.at("s.spk"), folder.at("spelt.safetensors"), folder.at("dense.safetensors"));
    let set = ["--set", "fc*.weight=prune:0.6+int4:g64", "--set", "fc2.weight=int5:asym", "--set", "fc3.weight=bf16"];
    run(&[&["export", "demo", "-o", &small], &set[..]].concat()).done();
    run(&[&["export", "demo", "--target", "safetensors", "-o", &dense], &set[..]].concat()).done();
    run(&["export", &small, "-o", &spelt]).done();
    assert!(payloads(&folder.read("spelt.safetensors")) == payloads(&folder.read("dense.safetensors")));
    let compared = run(&["compare", &small, &dense, "--json"]).json();
    assert!(compared["tensors"].as_array().unwrap().iter().all(|tensor| tensor["max_abs_difference"] == 0.0));
}

#[cfg(unix)]
#[test]
fn export_never_writes_over_its_source() {
    let folder = Folder::new("source");
    let model = demo_file(&folder, "model.safetensors");
    std::os::unix::fs::symlink(&model, folder.0.join("link.safetensors")).unwrap();
    fs::hard_link(&model, folder.0.join("hard.safetensors")).unwrap();
    let (names, before) = (folder.names(), folder.read("model.safetensors"));
    for out in ["model.safetensors", "./model.safetensors", "link.safetensors", "hard.safetensors"] {
        for force in [&[][..], &["--force"]] {
            let words = [&["export", "model.safetensors", "--set", "*=int4", "-o", out, "--json"], force].concat();
            let mut command = command(&words);
            command.current_dir(&folder.0);
            finish(command).refused(1, "is a file of the model");
        }
    }
    assert!(folder.read("model.safetensors") == before);
    assert_eq!(folder.names(), names, "no temporary is left");
}

#[test]
fn export_replaces_a_file_only_when_told_to() {
    let folder = Folder::new("force");
    let out = folder.write("out.spk", "precious");
    run(&["export", "demo", "--set", "*=int4", "-o", &out, "--json"]).refused(1, "--force");
    assert_eq!(folder.read("out.spk"), b"precious");
    run(&["export", "demo", "--set", "*=int4", "-o", &out, "--force"]).done();
    assert_ne!(folder.read("out.spk"), b"precious");
    run(&["export", "demo", "-o", &folder.at("no/such/out.spk")]).refused(1, "folder");
    run(&["export", "demo", "-o", &folder.at("")]).refused(1, "folder");
    assert_eq!(folder.names(), ["out.spk"]);
}

// ---------------------------------------------------------------- recipes

#[test]
fn a_glob_skips_a_locked_name_and_says_so() {
    let folder = Folder::new("locked");
    let recipe = folder.write("r.toml", "version = 1\nlocked = [\"fc1.weight\"]\n");
    let words = ["estimate", "demo", "--recipe", &recipe, "--json", "--set"];
    let skipped = run(&[&words[..], &["*=int4"]].concat());
    assert!(skipped.stderr.contains("fc1.weight is locked"), "{}", skipped.stderr);
    let e = skipped.json();
    assert_eq!(
        (&tensor(&e, "fc1.weight")["scheme"], &tensor(&e, "fc2.weight")["scheme"]),
        (&"keep".into(), &"int4:row".into())
    );
    let quiet = run(&[&words[..], &["*=int4", "--quiet"]].concat()).done();
    assert_eq!(quiet.stderr, "");
    run(&[&words[..], &["fc1.weight=int4"]].concat()).refused(1, "locked");
}

#[test]
fn a_fault_in_a_recipe_file_names_the_line() {
    let folder = Folder::new("recipe");
    for (text, told) in [
        ("version = 1\n\nsurprise = 3\n", "line 3"),
        ("version = 1\n[[rule]]\nmatch = \"*\"\nshceme = \"int4\"\n", "line 4"),
        ("version = 1\n[[rule]]\nmatch = \"*\"\nscheme = \"int99\"\n", "line 4"),
        ("version = 1\ntarget = \"nosuch\"\n", "line 2"),
        ("version = 99\n", "version 99"),
        ("", "version"),
    ] {
        let recipe = folder.write("r.toml", text);
        run(&["estimate", "demo", "--recipe", &recipe, "--json"]).refused(1, told);
    }
    run(&["estimate", "demo", "--recipe", &folder.at("absent.toml")]).refused(1, "absent.toml");
}

#[test]
fn the_recipe_inside_an_artifact_makes_it_again() {
    let folder = Folder::new("again");
    let (first, again) = (folder.at("first.spk"), folder.at("again.spk"));
    run(&["export", "demo", "--set", "*=prune:0.5+int6:tensor", "--set", "fc1.bias=f16", "-o", &first]).done();
    let inside = run(&["inspect", &first, "--json"]).json();
    let recipe = folder.write("inside.toml", inside["recipe"].as_str().unwrap());
    run(&["export", "demo", "--recipe", &recipe, "-o", &again]).done();
    assert!(folder.read("first.spk") == folder.read("again.spk"));
}

// ---------------------------------------------------------------- compare and evaluate

#[test]
fn compare_reports_differences_and_is_content() {
    let folder = Folder::new("compare");
    let other = folder.write(
        "other.safetensors",
        safetensors(&[
            ("extra", "F32", &[1], floats(&[1.0])),
            ("fc3.bias", "F32", &[10], floats(&[1.0; 10])),
            ("fc3.weight", "F32", &[2, 2], floats(&[0.0; 4])),
        ]),
    );
    let document = run(&["compare", "demo", &other, "--json"]).json();
    let keys = "name max_abs_difference t2 cosine mask_overlap sign_agreement";
    document["tensors"].as_array().unwrap().iter().for_each(|tensor| has_keys(tensor, keys));
    assert_eq!(document["only_b"], serde_json::json!(["extra"]));
    assert_eq!(document["only_a"].as_array().unwrap().len(), 4);
    assert!(tensor(&document, "fc3.weight")["t2"].is_null());
    let text = run(&["compare", "demo", &other]).done().text();
    assert!(text.contains("only in B: extra") && text.contains("shapes differ"), "{text}");
}

#[test]
fn evaluate_measures_the_demo_with_its_error() {
    let document = run(&["evaluate", "demo", "--json"]).json();
    has_keys(&document, "metric value standard_error n");
    let (value, error) = (document["value"].as_f64().unwrap(), document["standard_error"].as_f64().unwrap());
    assert!(value > 98.0 && error > 0.05 && error < 0.2 && document["n"] == 10_000);
    assert_eq!(run(&["evaluate", "demo"]).text(), format!("{value:.2} % ± {error:.2} (10,000 images)\n"));
    let folder = Folder::new("strange");
    let strange = folder.write("x.safetensors", safetensors(&[("w", "F32", &[1], floats(&[1.0]))]));
    run(&["evaluate", &strange, "--json"]).refused(1, "--with");
}

#[cfg(unix)]
#[test]
fn evaluate_runs_a_command_on_a_temporary_export_and_deletes_it() {
    let folder = Folder::new("with it's spaces");
    let with = |line: &str| {
        let mut command = command(&["evaluate", "demo", "--set", "*=int4", "--json", "--with", line]);
        command.env("TMPDIR", &folder.0);
        finish(command)
    };
    let document = with("test -s {model} && echo loss 3.5, score 42.25 %").json();
    assert_eq!(
        (&document["value"], &document["standard_error"], &document["n"]),
        (&42.25.into(), &Value::Null, &Value::Null)
    );
    let bytes = run(&["estimate", "demo", "--set", "*=int4", "--json"]).json();
    assert_eq!(with("wc -c < {model}").json()["value"].as_f64(), bytes["bytes"].as_f64());
    with("true {model}; exit 3").refused(1, "exit status: 3");
    with("echo nothing; true {model}").refused(1, "no number");
    with("echo 5").refused(2, "{model}");
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}
