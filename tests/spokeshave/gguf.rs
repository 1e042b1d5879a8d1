//! GGUF files as wholes: what is copied, what is replaced, in which order, and what becomes of a folder. The blocks themselves and
//! llama.cpp's own reading of them are in `tests/readers/gguf_files.py`.

use super::command::{Folder, floats, run, tensor};
use spokeshave::estimate::gguf_file::{GgufFile, Item, Pairs};
use spokeshave::formats::gguf::layout::{self, Listing, f32_pair, i32s_pair, lay_out, text_pair, texts_pair, u32_pair};
use spokeshave::formats::gguf::{Value, read_bytes};
use spokeshave::formats::{Limits, Table};
use spokeshave::kernels::ggml::BlockType;
use spokeshave::model::{Model, OpenOptions, open};
use spokeshave::recipe::{Plan, Recipe};
use std::fs;
use std::path::Path;

pub(super) type Tensor<'a> = (&'a str, &'a [usize], BlockType, Vec<u8>);

/// A file of these pairs and tensors, in their order.
pub(super) fn file(pairs: &[Vec<u8>], tensors: &[Tensor<'_>], alignment: u64) -> Vec<u8> {
    let listing = |&(name, shape, block_type, _): &Tensor<'_>| (name.to_owned(), shape.to_vec(), block_type);
    let listed: Vec<_> = tensors.iter().map(listing).collect();
    let listings: Vec<_> =
        listed.iter().map(|(name, shape, block_type)| Listing { name, shape, block_type: *block_type }).collect();
    let plan = lay_out(pairs.iter().map(|pair| pair.len() as u64).sum(), &listings, alignment).unwrap();
    let mut out = layout::prefix(tensors.len() as u64, pairs.len() as u64);
    out.extend(pairs.concat());
    out.extend(&plan.infos);
    let data = out.len() + plan.padding as usize;
    out.resize(plan.len as usize, 0);
    for ((.., bytes), offset) in tensors.iter().zip(plan.offsets) {
        out[data + offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    out
}

fn values(n: u32) -> Vec<u8> {
    floats(&(0..n).map(|i| (i * 37 % 101) as f32 / 64.0 - 0.75).collect::<Vec<_>>())
}

/// Pairs of a file that was one of a set, and quantized before.
fn pairs() -> Vec<Vec<u8>> {
    vec![
        text_pair("general.architecture", "llama"),
        u32_pair("general.alignment", 64),
        u32_pair("general.file_type", 7),
        texts_pair("tokenizer.ggml.tokens", &["a".into(), "é".into(), String::new()]),
        i32s_pair("tokenizer.ggml.token_type", &[1, 3, 1]),
        u32_pair("split.count", 1),
        u32_pair("general.quantization_version", 1),
        text_pair("spokeshave.recipe", "version = 1\n"),
        text_pair("spokeshave.mask.w", "AAAA"),
        f32_pair("llama.rope.freq_base", 1e4),
    ]
}

fn source() -> Vec<u8> {
    let tensors = [
        ("z.weight", &[4_usize, 64][..], BlockType::F32, values(256)),
        ("norm", &[5], BlockType::F32, values(5)),
        ("a.weight", &[2, 33], BlockType::F32, values(66)),
        ("q.weight", &[2, 32], BlockType::Q8_0, [[0, 0x3C].as_slice(), &[7; 32], &[0, 0x38], &[9; 32]].concat()),
    ];
    file(&pairs(), &tensors, 64)
}

fn table(bytes: &[u8]) -> Table {
    read_bytes(bytes, &Limits::default()).unwrap()
}

fn opened(folder: &Folder, bytes: &[u8]) -> Model {
    open(Path::new(&folder.write("m.gguf", bytes)), &OpenOptions::default()).unwrap()
}

fn planned(model: &Model, lines: &[&str]) -> (Recipe, Plan) {
    let mut recipe = Recipe::default();
    lines.iter().for_each(|line| drop(recipe.set(model, line).unwrap()));
    let plan = Plan::new(model, &recipe, true).unwrap();
    (recipe, plan)
}

#[test]
fn what_became_untrue_is_replaced_where_it_stood() {
    let folder = Folder::new("gguf-pairs");
    let (model, bytes) = (opened(&folder, &source()), source());
    let (recipe, plan) = planned(&model, &["*=f16"]);
    let planned = GgufFile::of(&model, &plan, &recipe, |_| String::new()).unwrap();
    let text = |pair: &Pairs| match pair {
        Pairs::Copied(range) => bytes[range.start as usize..range.end as usize].to_vec(),
        Pairs::Made(bytes) => bytes.clone(),
        Pairs::Spelled(bytes, _) => bytes.to_vec(),
    };
    let found: Vec<Vec<u8>> = planned.pairs.iter().map(text).collect();
    let mut wanted = pairs();
    wanted[2] = u32_pair("general.file_type", 1);
    wanted[6] = u32_pair("general.quantization_version", 2);
    // Neither what the file was one of, nor an earlier recipe and its masks.
    [8, 7, 5].into_iter().for_each(|gone| drop(wanted.remove(gone)));
    assert_eq!(found[..found.len() - 1], wanted);
    assert_eq!((planned.count(), &found.last().unwrap()[8..25]), (8, &b"spokeshave.recipe"[..]));

    // In the file's order, each at the source's alignment.
    assert_eq!(planned.items, [3, 1, 0, 2].map(Item::Tensor));
    assert_eq!(planned.layout.offsets, [0, 512, 576, 768]);
    let payload: u64 = [512, 20, 132, 68].iter().sum();
    assert_eq!(planned.overhead(&model, &plan), planned.layout.len - payload);
}

#[test]
fn an_untouched_file_is_copied_but_for_the_recipe() {
    let folder = Folder::new("gguf-untouched");
    let (bytes, path) = (source(), folder.write("m.gguf", source()));
    run(&["export", &path, "-o", &folder.at("out.gguf")]).done();
    let (before, out) = (table(&bytes), folder.read("out.gguf"));
    let after = table(&out);
    let (before_head, after_head) = (before.gguf.unwrap(), after.gguf.unwrap());
    assert_eq!(out[after_head.data as usize..], bytes[before_head.data as usize..]);
    assert_eq!(
        after_head.pairs.number("general.file_type"),
        Some(7),
        "what is not touched is still what it was called"
    );
    assert_eq!(after_head.pairs.get("split.count"), None);
    run(&["verify", &path, &folder.at("out.gguf")]).done();
}

#[test]
fn a_file_is_called_by_what_most_of_it_is() {
    let folder = Folder::new("gguf-type");
    let model = opened(&folder, &source());
    for (lines, number) in [
        (&["*=bf16"][..], 32),
        (&["z.weight=bf16"], 32),
        (&["a.weight=f16"], 0),
        (&["z.weight=q4_0"], 2),
        (&["z.weight=q5_k"], 9),
        (&["z.weight=mxfp4_ggml"], 38),
    ] {
        let (recipe, plan) = planned(&model, lines);
        let planned = GgufFile::of(&model, &plan, &recipe, |_| String::new()).unwrap();
        assert!(planned.pairs.contains(&Pairs::Made(u32_pair("general.file_type", number))), "{lines:?}");
    }
}

#[test]
fn what_is_pruned_carries_its_mask_and_a_mask_of_zeros_needs_none() {
    let folder = Folder::new("gguf-mask");
    let path = folder.write("m.gguf", source());
    let mask = folder.write("mask.gguf", source());
    run(&["export", &path, "--set", "z.weight=prune:0.5+q4_0", "-o", &folder.at("out.gguf")]).done();
    run(&["verify", &path, &folder.at("out.gguf")]).done();
    run(&["export", &path, "--set", &format!("z.weight=mask:{mask}+q8_0"), "-o", &folder.at("masked.gguf")]).done();
    let head = table(&folder.read("masked.gguf")).gguf.unwrap();
    assert!(head.pairs.text("spokeshave.mask.z.weight").is_some_and(|mask| mask.len() > 40));
    assert!(head.pairs.text("spokeshave.recipe").is_some_and(|recipe| recipe.contains("mask:embedded")));
    run(&["verify", &path, &folder.at("masked.gguf")]).done();
    // And the artifact is a source in its turn.
    run(&["export", &folder.at("masked.gguf"), "--set", "a.weight=bf16", "-o", &folder.at("again.gguf")]).done();
    let again = table(&folder.read("again.gguf")).gguf.unwrap();
    assert_eq!(again.pairs.get("spokeshave.mask.z.weight"), None);
}

#[test]
fn a_folder_becomes_one_gguf_file_with_its_tokenizer() {
    let folder = Folder::new("gguf-folder");
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/conversion/base");
    let (base, out) = (base.to_str().unwrap(), folder.at("out"));
    let estimate = run(&["estimate", base, "--target", "gguf", "--set", "*mlp*=bf16", "--json"]).json();
    run(&["export", base, "--target", "gguf", "--set", "*mlp*=bf16", "-o", &out]).done();
    run(&["verify", base, &out]).done();
    let written: Vec<String> =
        fs::read_dir(&out).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let name = written.iter().find(|name| name.ends_with(".gguf")).expect("a GGUF file");
    let file = fs::read(format!("{out}/{name}")).unwrap();
    assert_eq!(estimate["bytes"], file.len() as u64);
    assert_eq!(tensor(&estimate, "model.norm.weight")["bytes"], 32, "one dimension is F32");
    let table = table(&file);
    let head = table.gguf.unwrap();
    for (key, value) in
        [("block_count", 1), ("embedding_length", 8), ("feed_forward_length", 12), ("attention.head_count", 2)]
    {
        assert_eq!(head.pairs.number(&format!("llama.{key}")), Some(value));
    }
    assert!(matches!(head.pairs.get("tokenizer.ggml.tokens"), Some(Value::Array { count: 8, .. })));
    assert!(matches!(head.pairs.get("tokenizer.ggml.merges"), Some(Value::Array { count: 2, .. })));
    assert_eq!(head.pairs.get("tokenizer.ggml.add_bos_token"), Some(&Value::Bool(false)));
    assert_eq!(head.pairs.number("tokenizer.ggml.eos_token_id"), Some(5));
    let names: Vec<&str> = table.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(
        (names.first(), names.last(), names.len()),
        (Some(&"token_embd.weight"), Some(&"output_norm.weight"), 11)
    );
}

#[test]
fn what_stays_in_blocks_has_its_own_bytes_as_bounds() {
    let folder = Folder::new("gguf-bounds");
    let path = folder.write("m.gguf", source());
    for words in [&["estimate", &path, "--json"][..], &["estimate", &path, "--requantize", "--json"]] {
        let document = run(words).json();
        let q = tensor(&document, "q.weight");
        let bytes = |key: &str| q[key].as_u64().unwrap();
        assert_eq!((bytes("bytes"), bytes("sparse_bytes"), bytes("entropy_bytes")), (68, 68, 68), "{words:?}");
    }
}
