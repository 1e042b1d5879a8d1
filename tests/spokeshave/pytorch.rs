//! Files that torch wrote, held to the values that torch reads in them, bit for bit.
//!
//! `tests/corpus/make_pytorch.py` writes the files; beside each lies a safetensors file with what is right.

use super::command::{Folder, floats, run};
use spokeshave::formats::source::Access;
use spokeshave::model::{Format, Model, OpenOptions, Scratch, Tensor, open};
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/pytorch")
}

/// The files that torch wrote.
fn files() -> Vec<PathBuf> {
    let items = fs::read_dir(folder()).expect("a folder of the corpus");
    let mut files: Vec<PathBuf> = items.map(|item| item.expect("an item of the corpus").path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "pt"));
    files.sort();
    files
}

fn opened(file: &Path, access: Access) -> Model {
    open(file, &OpenOptions { access, ..OpenOptions::default() }).expect("it opens")
}

fn bytes(model: &Model, tensor: &Tensor) -> Vec<u8> {
    model.payload(tensor, 0..tensor.bytes(), &mut Scratch::default()).expect("its bytes are there").to_vec()
}

#[test]
fn every_value_is_the_one_that_torch_reads() {
    let files = files();
    assert!(files.len() >= 13, "{files:?}");
    for file in files {
        let right = opened(&file.with_extension("safetensors"), Access::Map);
        for access in [Access::Map, Access::Read] {
            let model = opened(&file, access);
            assert_eq!(model.format, Format::PyTorch);
            let mut names: Vec<&str> = model.tensors.iter().flat_map(Tensor::names).collect();
            names.sort_unstable();
            let right_names: Vec<&str> = right.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
            assert_eq!(names, right_names, "{}", file.display());
            for wanted in &right.tensors {
                let found = &model.tensors[model.find(&wanted.name).expect("it is there")];
                let place = format!("{} in {}", found.name, file.display());
                assert_eq!((found.dtype, &found.shape), (wanted.dtype, &wanted.shape), "{place}");
                assert_eq!(bytes(&model, found), bytes(&right, wanted), "{place}");
            }
        }
    }
}

#[test]
fn any_part_of_a_tensor_is_what_the_whole_has_there() {
    for name in ["kinds.pt", "big_endian.pt", "deflated.pt", "kinds_legacy.pt"] {
        let model = opened(&folder().join(name), Access::Map);
        let (mut whole, mut part, mut scratch) = (Vec::<f32>::new(), Vec::<f32>::new(), Scratch::default());
        for tensor in model.tensors.iter().filter(|tensor| tensor.dtype.is_float()) {
            let n = tensor.elements();
            model.values(tensor, 0..n, &mut whole, &mut scratch).expect("its bytes are there");
            for range in [n / 3..n / 2, n / 2..n, n.saturating_sub(1)..n] {
                model.values(tensor, range.clone(), &mut part, &mut scratch).expect("its bytes are there");
                assert_eq!(part, whole[range], "{} in {name}", tensor.name);
            }
        }
    }
}

#[test]
fn one_storage_under_two_names_is_one_tensor_wherever_it_goes() {
    let out = Folder::new("pytorch-tied");
    for name in ["module.pt", "module_legacy.pt"] {
        let file = folder().join(name);
        let source = file.to_str().expect("a Unicode path");
        let model = opened(&file, Access::Map);
        let head = &model.tensors[model.find("tied.weight").expect("an other name")];
        assert_eq!((head.name.as_str(), &head.also[..]), ("head.weight", &["tied.weight".to_owned()][..]));
        for target in ["safetensors", "packed"] {
            let small = out.at(target);
            run(&["estimate", source, "--set", "tied*=int4", "--bytes-only"]).done();
            run(&["export", source, "--set", "tied.weight=int4", "-o", &small, "--target", target, "--force"]).done();
            run(&["verify", source, &small]).done();
            let read = opened(Path::new(&small), Access::Map);
            assert_eq!(read.tensors.len(), model.tensors.len(), "{name} as {target}");
            assert_eq!(read.find("tied.weight"), read.find("head.weight"), "{name} as {target}");
            assert!(read.embedded_recipe().is_some_and(|recipe| recipe.contains("\"head.weight\"")));
            // A model that has them apart has the mask of both, and is compared under both.
            let apart = file.with_extension("safetensors");
            let apart = apart.to_str().expect("a Unicode path");
            let mask = format!("tied.weight=mask:{small}");
            run(&["estimate", source, "--set", &mask]).done();
            run(&["estimate", apart, "--set", &mask]).done();
            let compared = run(&["compare", source, apart, "--json"]).done();
            let compared = String::from_utf8_lossy(&compared.stdout);
            assert!(compared.contains("\"only_b\":[]") && compared.contains("\"name\":\"tied.weight\""), "{compared}");
        }
    }
}

#[test]
fn what_is_opened_of_a_file_is_told() {
    for (name, words) in [
        ("kinds.pt", &["12 tensors lie on the same stretch"][..]),
        ("module.pt", &["2 values are left alone, \"blocks.0.passing\" first"]),
        ("wrapper.pt", &["what lies under \"model_state_dict\" is taken for the model; \"optimizer_state_dict\" ("]),
        ("script.pt", &[]),
        ("nested.pt", &[]),
        ("lone.pt", &[]),
    ] {
        let model = opened(&folder().join(name), Access::Map);
        let told = |words: &&str| model.warnings.iter().any(|warning| warning.contains(words));
        assert!(words.iter().all(told), "{name}: {:?}", model.warnings);
        assert!(!words.is_empty() || model.warnings.is_empty(), "{name}: {:?}", model.warnings);
    }
}

#[test]
fn a_checkpoint_is_exported_and_verified_in_other_containers() {
    let out = Folder::new("pytorch");
    let source = folder().join("kinds.pt");
    let source = source.to_str().expect("a Unicode path");
    let plain = out.at("plain.safetensors");
    run(&["export", source, "-o", &plain, "--target", "safetensors"]).done();
    let (model, right) =
        (opened(Path::new(&plain), Access::Map), opened(&folder().join("kinds.safetensors"), Access::Map));
    for (found, wanted) in model.tensors.iter().zip(&right.tensors) {
        assert_eq!((&found.name, bytes(&model, found)), (&wanted.name, bytes(&right, wanted)));
    }
    for target in ["safetensors", "packed"] {
        let small = out.at(target);
        run(&["export", source, "--set", "*=prune:0.5+int4:row", "-o", &small, "--target", target]).done();
        run(&["verify", source, &small]).done();
    }
}

/// The files of a folder, by name.
fn listed(folder: &str) -> Vec<String> {
    let items = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        items.map(|item| item.expect("an item").file_name().into_string().expect("a plain name")).collect();
    names.sort();
    names
}

#[test]
fn a_folder_of_shards_becomes_one_that_loaders_of_safetensors_find() {
    let (out, source) = (Folder::new("pytorch-shards"), folder().with_file_name("folder").join("ok_pytorch_index"));
    let (source, out) = (source.to_str().expect("a Unicode path"), out.at("out"));
    run(&["export", source, "--set", "*=f16", "-o", &out]).done();
    let names =
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"];
    assert_eq!(listed(&out), names);
    run(&["verify", source, &out]).done();
}

#[test]
fn a_folder_is_converted_to_gguf() {
    let (out, corpus) = (Folder::new("pytorch-gguf"), folder().with_file_name("conversion"));
    for (from, name) in [
        ("base", "config.json"),
        ("base", "tokenizer.json"),
        ("base", "tokenizer_config.json"),
        ("ok_pytorch", "pytorch_model.bin"),
    ] {
        fs::copy(corpus.join(from).join(name), out.at(name)).expect("a file of the corpus");
    }
    let (source, base) = (out.at(""), corpus.join("base"));
    let written = Folder::new("pytorch-gguf-out");
    let (ours, right) = (written.at("ours.gguf"), written.at("right.gguf"));
    for (source, file) in [(source.as_str(), &ours), (base.to_str().expect("a Unicode path"), &right)] {
        run(&["export", source, "--set", "*=q8_0", "--nearest", "--target", "gguf", "-o", file]).done();
    }
    let tensors = |file: &str| {
        let model = opened(Path::new(file), Access::Map);
        model.tensors.iter().map(|t| (t.name.clone(), t.shape.clone(), bytes(&model, t))).collect::<Vec<_>>()
    };
    assert_eq!(tensors(&ours), tensors(&right));
}

#[test]
fn a_text_that_calls_one_tensor_by_another_s_name_ties_nothing() {
    let folder = Folder::new("tied-by-text");
    let header = r#"{"__metadata__":{"model.embed_tokens.weight":"lm_head.weight"},"lm_head.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"model.embed_tokens.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[16,32]}}"#;
    let data = floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    std::fs::create_dir(folder.0.join("m")).unwrap();
    folder.write("m/config.json", r#"{"model_type": "llama"}"#);
    folder.write("m/model.safetensors", [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat());
    let (path, out) = (folder.at("m"), folder.at("out"));
    let inside = run(&["inspect", &path, "--json"]).json();
    let names: Vec<&str> =
        inside["tensors"].as_array().unwrap().iter().map(|tensor| tensor["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lm_head.weight", "model.embed_tokens.weight"]);
    run(&["export", &path, "-o", &out]).done();
    run(&["verify", &path, &out]).done();
}
