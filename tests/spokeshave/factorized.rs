//! Factorized tensors from end to end: both targets give the same values, any range of them, and the bytes that were promised.

use super::command::{Folder, run};
use spokeshave::model::{Model, OpenOptions, Scratch, open};
use std::ops::Range;
use std::path::Path;

fn opened(path: &str) -> Model {
    open(Path::new(path), &OpenOptions::default()).expect("it is a model")
}

fn values(model: &Model, name: &str, range: Option<Range<usize>>) -> Vec<f32> {
    let tensor = &model.tensors[model.find(name).expect("a tensor of this name")];
    let mut out = Vec::new();
    let range = range.unwrap_or(0..tensor.elements());
    model.values(tensor, range, &mut out, &mut Scratch::default()).expect("it can be read");
    out
}

#[test]
fn factors_in_a_packed_file_are_the_product_that_the_dense_one_spells_out() {
    let folder = Folder::new("factorized");
    let (packed, dense, again) = (folder.at("out.spk"), folder.at("out.safetensors"), folder.at("again.safetensors"));
    for scheme in ["rank:8", "energy:0.9", "rank:8+int4:g32", "energy:0.7+int8:row:asym", "rank:9+bf16", "rank:5+nf4"] {
        let rule = format!("fc[12].weight={scheme}");
        let estimate = run(&["estimate", "demo", "--set", &rule, "--target", "packed", "--json"]).json();
        run(&["export", "demo", "--set", &rule, "--target", "packed", "-o", &packed, "--force"]).done();
        run(&["export", "demo", "--set", &rule, "--target", "safetensors", "-o", &dense, "--force"]).done();
        assert_eq!(estimate["bytes"].as_u64(), Some(std::fs::metadata(&packed).expect("it was written").len()));
        assert_eq!(run(&["verify", "demo", &packed, "--json"]).json()["ok"], true);
        let (spk, spelled) = (opened(&packed), opened(&dense));
        for name in ["fc1.weight", "fc2.weight"] {
            let whole = values(&spelled, name, None);
            assert_eq!(values(&spk, name, None), whole, "{scheme} {name}");
            for range in [0..1, 299..302, 783..1570, 20_000..29_999] {
                assert_eq!(values(&spk, name, Some(range.clone())), whole[range], "{scheme} {name}");
            }
            let tensor = &spk.tensors[spk.find(name).expect("it is there")];
            assert!(tensor.is_coded() && tensor.bytes() < 4 * whole.len() as u64, "{scheme} {name}");
        }
        // What was opened again is written out as it reads.
        run(&["export", &packed, "--target", "safetensors", "-o", &again, "--force"]).done();
        assert_eq!(values(&opened(&again), "fc1.weight", None), values(&spelled, "fc1.weight", None), "{scheme}");
    }
}

#[test]
fn a_rank_that_a_matrix_does_not_have_is_refused_by_name() {
    run(&["estimate", "demo", "--set", "fc3.weight=rank:11"]).refused(1, "rank:10 or less");
    // Of what pruning leaves: 50 rows.
    run(&["estimate", "demo", "--set", "fc2.weight=rows:0.5+rank:60"]).refused(1, "rank:50 or less");
    run(&["estimate", "demo", "--set", "fc2.weight=rows:0.5+rank:50"]).done();
}
