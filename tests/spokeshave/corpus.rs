//! One small file for each rule: every one is opened, and must be answered with the error that is right, by its words.
//!
//! `tests/corpus/make.py` writes the files and says what is expected of each; see the README beside it.

use super::command::Folder;
use spokeshave::formats::source::Access;
use spokeshave::formats::{ErrorKind, Limits, index, tokenizer};
use spokeshave::model::{Model, OpenOptions, Scratch, open};
use spokeshave::recipe::{Plan, file};
use std::fs;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Paths below the corpus, and what is expected of each.
fn expected() -> Vec<(String, String)> {
    let text = fs::read_to_string(corpus().join("expected.tsv")).expect("the table of expectations");
    let line = |line: &str| line.split_once('\t').map(|(path, words)| (path.to_owned(), words.to_owned()));
    text.lines().map(|l| line(l).expect("a path, a tab, words")).collect()
}

/// What the program says of one item: its warnings when it opens, its error when it does not.
fn answer(path: &str) -> Result<Vec<String>, String> {
    let whole = corpus().join(path);
    let (kind, _) = path.split_once('/').expect("a folder of the corpus");
    match kind {
        "index" => {
            let bytes = fs::read(&whole).expect("a file of the corpus");
            index::read_bytes(&bytes, &Limits::default()).map(|_| Vec::new()).map_err(|e| e.to_string())
        }
        "tokenizer" => {
            let bytes = fs::read(&whole).expect("a file of the corpus");
            tokenizer::read_bytes(&bytes).map(|_| Vec::new()).map_err(|e| e.to_string())
        }
        "conversion" => {
            let folder = converted(&whole);
            let model = open(&folder.0, &OpenOptions::default()).map_err(|e| e.to_string())?;
            model.conversion().map(|_| model.warnings.clone()).map_err(str::to_owned)
        }
        // The type that every tensor is shown with, of values that can all be read.
        "runtimes" => {
            let model = open(&whole, &OpenOptions::default()).map_err(|e| e.to_string())?;
            read_all(&model)?;
            let types: Vec<_> = model.tensors.iter().map(spokeshave::model::Tensor::type_name).collect();
            Ok(vec![format!("{};", types.join(", "))])
        }
        "recipe" => {
            let demo = open(Path::new("demo"), &OpenOptions::default()).expect("the demo");
            let recipe = file::read(&whole).map_err(|e| e.to_string())?;
            Plan::new(&demo, &recipe, false).map(|_| Vec::new()).map_err(|e| e.to_string())
        }
        _ => {
            let model = open(&whole, &OpenOptions::default()).map_err(|e| e.to_string())?;
            if matches!(kind, "packed" | "gguf" | "onnx" | "numpy" | "pickle") {
                read_all(&model)?;
            }
            Ok(model.warnings)
        }
    }
}

/// The folder to be converted: the base, with what a case has in place of it; an empty file stands for one that is not there.
fn converted(case: &Path) -> Folder {
    let name = case.file_name().expect("a case has a name").to_string_lossy().into_owned();
    let folder = Folder::new(&format!("conversion-{name}"));
    let base = corpus().join("conversion/base");
    for from in [base.as_path(), case] {
        for file in fs::read_dir(from).expect("a folder of the corpus") {
            let file = file.expect("a file of the corpus").path();
            let (bytes, to) = (fs::read(&file).expect("a file"), folder.0.join(file.file_name().expect("a name")));
            if bytes.is_empty() {
                fs::remove_file(to).expect("it was in the base");
            } else {
                fs::write(to, bytes).expect("room for a small file");
            }
        }
    }
    folder
}

/// Reads every value of every tensor that has numbers.
fn read_all(model: &Model) -> Result<(), String> {
    let (mut out, mut scratch) = (Vec::<f32>::new(), Scratch::default());
    for tensor in model.tensors.iter().filter(|tensor| tensor.dtype.is_float()) {
        model.values(tensor, 0..tensor.elements(), &mut out, &mut scratch).map_err(|e| e.to_string())?;
    }
    Ok(())
}

#[test]
fn every_file_is_answered_with_the_right_words() {
    let mut faults = Vec::new();
    for (path, wanted) in expected() {
        let said = answer(&path);
        let right = match (&said, wanted.strip_prefix("ok")) {
            (Ok(warnings), Some("")) => warnings.is_empty(),
            (Ok(warnings), Some(words)) => {
                warnings.len() == 1 && warnings.iter().all(|w| w.contains(words.trim_start_matches(": ")))
            }
            (Err(error), None) => error.contains(&wanted),
            _ => false,
        };
        if !right {
            faults.push(format!("{path}: wanted {wanted:?}, got {said:?}"));
        }
        // Whatever is wrong is told on one line that a terminal can bear, and briefly.
        if let Err(error) = said {
            assert!(!error.chars().any(char::is_control) && error.len() < 1500, "{path}: {error:?}");
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_file_is_expected() {
    let expected: Vec<String> = expected().into_iter().map(|(path, _)| path).collect();
    let mut found = Vec::new();
    for kind in [
        "conversion",
        "folder",
        "gguf",
        "header",
        "index",
        "numpy",
        "onnx",
        "packed",
        "pickle",
        "recipe",
        "runtimes",
        "stranger",
        "tokenizer",
    ] {
        for item in fs::read_dir(corpus().join(kind)).expect("a folder of the corpus") {
            let name = item.expect("an item of the corpus").file_name().into_string().expect("a plain name");
            if (kind, name.as_str()) != ("conversion", "base") {
                found.push(format!("{kind}/{name}"));
            }
        }
    }
    let unexpected: Vec<&String> = found.iter().filter(|path| !expected.contains(path)).collect();
    assert!(unexpected.is_empty() && found.len() == expected.len(), "{unexpected:?}");
}

/// What ONNX and NumPy themselves wrote has the tensors that stand in safetensors beside it, to the byte.
#[test]
fn what_other_writers_made_is_read_as_it_was_meant() {
    let (written, mut compared) = (corpus().join("written"), 0);
    let files = [
        "branches.onnx",
        "deflated.npz",
        "dynamic.onnx",
        "external/external.onnx",
        "listed.onnx",
        "nbits.onnx",
        "nbits_qdq.onnx",
        "one.npy",
        "qdq.onnx",
        "qdq4.onnx",
        "raw.onnx",
        "stored.npz",
        "turned.npy",
    ];
    for (file, access) in files.into_iter().flat_map(|file| [(file, Access::Map), (file, Access::Read)]) {
        let options = OpenOptions { access, ..OpenOptions::default() };
        let open = |name: &str| open(&written.join(name), &options).expect("it is a model");
        let (model, twin) = (open(file), open(&format!("{file}.safetensors")));
        let names = |model: &Model| model.tensors.iter().map(|tensor| tensor.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&model), names(&twin), "{file}");
        assert_eq!(twin.metadata["notes"], model.warnings.len().to_string(), "{file}: {:?}", model.warnings);
        let (mut one, mut other) = (Scratch::default(), Scratch::default());
        for (tensor, wanted) in model.tensors.iter().zip(&twin.tensors) {
            assert_eq!((tensor.dtype, &tensor.shape), (wanted.dtype, &wanted.shape), "{file}: {}", tensor.name);
            let bytes = 0..wanted.bytes();
            let found = model.payload(tensor, bytes.clone(), &mut one).expect("its bytes");
            assert_eq!(found, twin.payload(wanted, bytes, &mut other).expect("its bytes"), "{file}: {}", tensor.name);
            compared += 1;
        }
    }
    assert!(compared > 250, "{compared}");
}

/// Codes and scales under the names of onnxruntime's quantizers are somebody's quantization, and what they left alone is not.
#[test]
fn what_onnxruntime_quantized_is_left_untouched() {
    for (file, touchable) in [
        ("dynamic.onnx", &["head.bias"][..]),
        ("qdq.onnx", &[]),
        ("qdq4.onnx", &[]),
        ("nbits.onnx", &["conv.weight", "emb", "head.bias", "head.weight"]),
        ("nbits_qdq.onnx", &["conv.weight", "emb", "head.bias", "head.weight"]),
    ] {
        let model = open(&corpus().join("written").join(file), &OpenOptions::default()).expect("it is a model");
        let named: Vec<&str> = model.tensors.iter().filter(|t| t.is_touchable()).map(|t| t.name.as_str()).collect();
        assert_eq!(named, touchable, "{file}");
        for tensor in &model.tensors {
            let ends = |ends: &[&str]| ends.iter().any(|end| tensor.name.ends_with(end));
            assert_eq!(tensor.is_coded(), ends(&["_quantized", "_Q4"]), "{file}: {}", tensor.name);
            let side = ends(&["_scale", "_scales"]) || ends(&["_zero_point", "_zero_points"]) && tensor.side_of_codes;
            assert_eq!(tensor.side_of_codes, side, "{file}: {}", tensor.name);
        }
    }
}

#[test]
fn a_split_set_is_opened_by_any_of_its_files() {
    let set = corpus().join("folder/ok_gguf_set");
    for file in ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"] {
        let model = open(&set.join(file), &OpenOptions::default()).expect("the set is whole");
        let names: Vec<&str> = model.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!((names, model.name.as_str(), model.shards.len()), (vec!["a", "b", "c"], "a set", 2));
        assert_eq!(model.bytes, model.shards.iter().map(spokeshave::formats::Source::len).sum::<u64>());
        // What the first file says of the model is what the model says.
        let head = model.gguf.expect("a GGUF model");
        assert_eq!((head.pairs.text("general.architecture"), head.pairs.number("split.no")), (Some("llama"), Some(0)));
    }
}

#[cfg(unix)]
#[test]
fn what_git_cannot_keep_is_told_too() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new("odd-shards");
    let weights = fs::read(corpus().join("folder/ok_single/model.safetensors")).expect("a file of the corpus");
    let open = |path: &Path| open(path, &OpenOptions::default()).map(|model| model.tensors.len());

    // A name that is not text cannot be kept in an export, and is refused by name; the file by itself opens.
    let unnamed = folder.0.join("unnamed");
    fs::create_dir(&unnamed).expect("a folder");
    let shard = unnamed.join(std::ffi::OsStr::from_bytes(b"w\xff.safetensors"));
    fs::write(&shard, &weights).expect("a file");
    assert!(matches!(open(&unnamed).unwrap_err().kind, ErrorKind::ShardName));
    assert_eq!(open(&shard).expect("it is a model"), 1);

    // A pipe under a shard's name must not be waited for.
    let piped = folder.0.join("piped");
    fs::create_dir(&piped).expect("a folder");
    let made = std::process::Command::new("mkfifo").arg(piped.join("one.safetensors")).status();
    assert!(made.expect("mkfifo runs").success());
    let index = br#"{"weight_map": {"a.weight": "one.safetensors"}}"#;
    fs::write(piped.join("model.safetensors.index.json"), index).expect("a file");
    let error = open(&piped).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::NotAFile) && error.to_string().contains("one.safetensors"), "{error}");
}

#[test]
fn a_shard_below_its_folder_is_exported_with_an_index() {
    let (folder, source) = (Folder::new("below"), corpus().join("folder/ok_below"));
    let (source, out) = (source.to_str().expect("a Unicode path"), folder.at("out"));
    super::command::run(&["export", source, "--set", "*=int4", "-o", &out]).done();
    assert!(fs::exists(format!("{out}/sub/one.safetensors")).expect("it can be looked at"));
    super::command::run(&["verify", source, &out]).done();
}
