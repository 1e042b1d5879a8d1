//! The `packed` container from end to end: forms as they are chosen, any range of them read, and files of old versions.

use super::command::{Folder, run};
use serde_json::Value;
use spokeshave::formats::Dtype;
use spokeshave::formats::packed_layout::{Form, Stored};
use spokeshave::formats::safetensors::{Listing, lay_out};
use spokeshave::model::{Model, OpenOptions, Scratch, open};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

fn opened(path: &str) -> Model {
    open(Path::new(path), &OpenOptions::default()).expect("it is a model")
}

fn values(model: &Model, name: &str, range: Range<usize>) -> Vec<f64> {
    let tensor = &model.tensors[model.find(name).expect("a tensor of this name")];
    let mut scratch = Scratch::default();
    if tensor.dtype == Dtype::F64 {
        let mut out = Vec::new();
        model.values(tensor, range, &mut out, &mut scratch).expect("it can be read");
        return out;
    }
    let mut out = Vec::<f32>::new();
    model.values(tensor, range, &mut out, &mut scratch).expect("it can be read");
    out.into_iter().map(f64::from).collect()
}

/// splitmix64, as numbers from 0 to 1.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A model of a few blocks, whose tensors ask for one form each.
fn write_model(folder: &Folder) -> String {
    let shape = vec![260, 777];
    let n = shape.iter().product::<usize>();
    let mut dice = Dice(1);
    let mut bell = || (0..6).map(|_| dice.next()).sum::<f64>() - 3.0;
    let mut weights = |share: f64| -> Vec<u8> {
        let value = |_| if bell().abs() < share { 0.0 } else { bell() as f32 };
        (0..n).map(value).flat_map(f32::to_le_bytes).collect()
    };
    let even: Vec<u8> =
        (0..n as u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) as f32 / 4e9 - 0.5).to_le_bytes()).collect();
    let tensors = BTreeMap::from([
        ("bell", weights(0.0)),
        ("even", even),
        ("half", weights(0.5)),
        ("rare", weights(1.9)),
        ("none", vec![0; 4 * n]),
    ]);
    let listing = |name: &&str| Listing { name: format!("{name}.weight"), dtype: Dtype::F32, shape: shape.clone() };
    let listings: Vec<Listing> = tensors.keys().map(listing).collect();
    let mut bytes = lay_out(&listings, &BTreeMap::new()).expect("a small header").bytes;
    tensors.into_values().for_each(|data| bytes.extend_from_slice(&data));
    folder.write("model.safetensors", bytes)
}

/// The forms of an artifact's tensors, in words.
fn forms(model: &Model) -> BTreeSet<String> {
    let words = |tensor: &spokeshave::model::Tensor| {
        let Some(coding) = &tensor.coding else { return "plain".to_owned() };
        let Stored::Codes(matrix) = coding.stored else { return "factors".to_owned() };
        let form = match matrix.form {
            Form::Dense => "dense".into(),
            Form::Mask => "mask".into(),
            Form::Indices(indices) => format!("indices{}", if indices.huffman { "+huffman" } else { "" }),
        };
        format!("{form}{}", if matrix.huffman.is_some() { ", huffman" } else { "" })
    };
    model.tensors.iter().map(words).collect()
}

#[test]
fn forms_follow_from_the_values_and_any_range_reads_the_same() {
    let folder = Folder::new("packed-forms");
    let model = write_model(&folder);
    let mut met = BTreeSet::new();
    let schemes = ["int8", "int3:g32:asym", "prune:0.9+int4:row", "bf16", "prune:0.0", "nvfp4", "ternary:row"];
    for scheme in schemes.into_iter().chain(["prune:0.5+codebook:16:row", "fp8_e4m3", "mxfp4", "prune:0.3+nf4"]) {
        let (packed, dense) = (folder.at("out.spk"), folder.at("out.safetensors"));
        let rule = format!("*={scheme}");
        let estimate = run(&["estimate", &model, "--set", &rule, "--target", "packed", "--json"]).json();
        let written =
            run(&["export", &model, "--set", &rule, "--target", "packed", "-o", &packed, "--force", "--json"]).json();
        run(&["export", &model, "--set", &rule, "-o", &dense, "--force"]).done();
        assert_eq!(estimate["bytes"], written["estimate"]["bytes"]);
        assert_eq!(estimate["bytes"].as_u64(), Some(std::fs::metadata(&packed).expect("it was written").len()));
        let (packed, dense) = (opened(&packed), opened(&dense));
        met.extend(forms(&packed));
        let mut dice = Dice(2);
        for tensor in &packed.tensors {
            let n = tensor.elements();
            let whole = values(&dense, &tensor.name, 0..n);
            assert_eq!(values(&packed, &tensor.name, 0..n), whole, "{scheme} {}", tensor.name);
            for _ in 0..20 {
                let (a, b) = ((dice.next() * n as f64) as usize, (dice.next() * n as f64) as usize);
                let range = a.min(b)..a.max(b);
                assert_eq!(values(&packed, &tensor.name, range.clone()), whole[range], "{scheme} {}", tensor.name);
            }
        }
    }
    let wanted =
        ["dense", "mask", "dense, huffman", "indices", "indices+huffman", "indices+huffman, huffman", "mask, huffman"];
    assert!(wanted.iter().all(|form| met.contains(*form)), "{met:?}");
}

#[test]
fn bytes_are_those_of_any_number_of_threads() {
    let folder = Folder::new("packed-threads");
    let model = write_model(&folder);
    let mut written = Vec::new();
    for threads in ["1", "3"] {
        let out = folder.at(threads);
        run(&[
            "export",
            &model,
            "--set",
            "*=prune:0.7+int5:row",
            "--target",
            "packed",
            "--threads",
            threads,
            "-o",
            &out,
        ])
        .done();
        written.push(std::fs::read(&out).expect("it was written"));
    }
    assert!(written[0] == written[1]);
}

#[test]
fn files_of_version_1_open_for_ever() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let at = |name: &str| corpus.join(name).to_str().expect("a Unicode path").to_owned();
    assert_eq!(std::fs::read(at("version_1.spk")).expect("it is kept")[8], 1);
    // What it stands for was read by the numpy reader of its time.
    let (old, wanted) = (opened(&at("version_1.spk")), opened(&at("version_1.safetensors")));
    assert_eq!(old.tensors.len(), wanted.tensors.len());
    for tensor in old.tensors.iter().filter(|tensor| tensor.dtype.is_float()) {
        let n = tensor.elements();
        assert_eq!(values(&old, &tensor.name, 0..n), values(&wanted, &tensor.name, 0..n), "{}", tensor.name);
    }
    // Kept as it is, it stays what it was, header and all.
    let folder = Folder::new("packed-version-1");
    run(&["export", &at("version_1.spk"), "--target", "packed", "-o", &folder.at("again.spk")]).done();
    assert_eq!(folder.read("again.spk")[8], 1);
    let again = opened(&folder.at("again.spk"));
    assert!(old.tensors.iter().zip(&again.tensors).all(|(a, b)| a.coding == b.coding && a.bytes() == b.bytes()));
}

#[test]
fn the_demo_comes_to_what_deep_compression_made_of_it() {
    // Han, Mao and Dally 2016, table 2: LeNet-300-100 in 27 KB, at these shares and 64 shared values.
    let kept = ["fc1.weight=prune:0.92", "fc2.weight=prune:0.91", "fc3.weight=prune:0.74"];
    for step in ["codebook:64", "int6"] {
        let lines = kept.map(|line| format!("{line}+{step}"));
        let sets = lines.iter().flat_map(|line| ["--set", line]);
        let arguments: Vec<&str> = ["estimate", "demo", "--json"].into_iter().chain(sets).collect();
        let estimate = run(&arguments).json();
        let tensors = estimate["tensors"].as_array().expect("a list of tensors").iter();
        let matrices = tensors.filter(|tensor| tensor["name"].as_str().is_some_and(|name| name.ends_with(".weight")));
        let payload: u64 = matrices.filter_map(|tensor| tensor["bytes"].as_u64()).sum();
        assert!((27_000 * 9 / 10..=27_000 * 11 / 10).contains(&payload), "{step}: {payload}");
    }
    let bytes_only = run(&["estimate", "demo", "--set", kept[0], "--bytes-only", "--json"]).json();
    assert_eq!(bytes_only["bytes"], Value::Null);
}
