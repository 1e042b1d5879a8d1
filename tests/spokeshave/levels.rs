//! Every number format from outside: against what ml_dtypes and numpy make of the same weights, against the papers' figures, and
//! what is refused.

use super::command::*;
use super::live::Noise;
use serde_json::Value;

/// Bytes of hexadecimal digits.
fn bytes(hex: &str) -> Vec<u8> {
    let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("two digits");
    (0..hex.len() / 2).map(byte).collect()
}

/// The same with −0 for +0, which only a cast tells apart.
fn without_signs_of_zero(payload: &[u8], width: usize) -> Vec<u8> {
    let plain = |element: &[u8]| {
        let sign_alone = element[..width - 1].iter().all(|b| *b == 0) && element[width - 1] == 0x80;
        if sign_alone { vec![0; width] } else { element.to_vec() }
    };
    payload.chunks(width).flat_map(plain).collect()
}

#[test]
fn every_format_is_what_numpy_makes_of_it() {
    let folder = Folder::new("levels");
    let lines = include_str!("levels.tsv").lines();
    for line in lines {
        let columns: Vec<&str> = line.split('\t').collect();
        let [scheme, dtype, rows, cols, weights, wanted] = columns[..] else { panic!("six columns in {line}") };
        let shape = [rows, cols].map(|text| text.parse().expect("a number"));
        let path = folder.write("model.safetensors", safetensors(&[("w.weight", dtype, &shape, bytes(weights))]));
        let (dense, packed, again) =
            (folder.at("dense.safetensors"), folder.at("w.spk"), folder.at("again.safetensors"));
        let set = format!("*={scheme}");
        run(&["export", &path, "--set", &set, "--target", "safetensors", "-o", &dense, "--force"]).done();
        let wanted = bytes(wanted);
        let width = wanted.len() / (shape[0] * shape[1]);
        let found = folder.read("dense.safetensors");
        let found = without_signs_of_zero(payloads(&found), width);
        assert_eq!(found, without_signs_of_zero(&wanted, width), "{scheme} {dtype}");
        // What packed holds is the same before it is rounded into the tensor's dtype: written out again it is the same file.
        run(&["export", &path, "--set", &set, "--target", "packed", "-o", &packed, "--force"]).done();
        run(&["export", &packed, "--target", "safetensors", "-o", &again, "--force"]).done();
        let again = folder.read("again.safetensors");
        assert_eq!(without_signs_of_zero(payloads(&again), width), found, "{scheme} {dtype} by way of packed");
        assert_eq!(run(&["verify", &path, &packed, "--json"]).json()["ok"], true, "{scheme} {dtype}");
    }
}

/// Numbers of a normal distribution, the same in every run.
fn gaussian(n: usize) -> Vec<f32> {
    let mut noise = Noise(3);
    (0..n).map(|_| noise.gauss() as f32).collect()
}

fn estimate(path: &str, scheme: &str) -> Value {
    let set = format!("*={scheme}");
    run(&["estimate", path, "--set", &set, "--target", "packed", "--json"]).json()["tensors"][0].clone()
}

#[test]
fn a_gaussian_loses_what_the_papers_say() {
    let folder = Folder::new("gaussian");
    let weights = floats(&gaussian(400 * 1000));
    let path = folder.write("model.safetensors", safetensors(&[("w.weight", "F32", &[400, 1000], weights)]));
    let t2 = |scheme: &str| estimate(&path, scheme)["t2"].as_f64().expect("a number");
    // TWN: 0.191. Binary: 1 − 2/π. Four levels of Lloyd and Max: 0.1175; eight: 0.03454; sixteen: 0.009497 (Max 1960).
    for (scheme, wanted, off) in [
        ("ternary", 0.191, 0.001),
        ("ternary:row", 0.191, 0.002),
        ("binary", 0.363_4, 0.001),
        ("codebook:4:best", 0.117_5, 0.000_5),
        ("codebook:8:best", 0.034_54, 0.000_2),
        ("codebook:16:best", 0.009_497, 0.000_1),
        ("codebook:4", 0.117_5, 0.000_5),
    ] {
        let found = t2(scheme);
        assert!((found - wanted).abs() < off, "{scheme}: {found}, expected {wanted}");
    }
    // A table of sixteen that was made for Gaussians beats one that was made for everything; a scale for sixteen weights one
    // for thirty-two.
    assert!(t2("nf4:g64") < t2("int4:g64") && t2("nvfp4") < t2("mxfp4"));
    assert!(t2("codebook:16:best") <= t2("codebook:16"));
}

#[test]
fn sizes_are_the_contracts() {
    let folder = Folder::new("level-sizes");
    let weights = floats(&gaussian(3 * 130));
    let path = folder.write("model.safetensors", safetensors(&[("w.weight", "F32", &[3, 130], weights)]));
    let (n, bytes) = (390_u64, |scheme: &str| estimate(&path, scheme)["sparse_bytes"].as_u64().expect("a number"));
    for (scheme, wanted) in [
        ("fp8_e4m3", n),
        ("fp8_e5m2:row", n + 3 * 4),
        ("mxfp4", n / 2 + 3 * 5),
        ("nvfp4", n / 2 + 3 * 9 + 4),
        ("nf4:g128", n / 2 + 3 * 2 * 4),
        ("binary:row", n.div_ceil(8) + 3 * 4),
        ("codebook:5:row", (3 * n).div_ceil(8) + 3 * 5 * 4),
        ("codebook:16", n / 2 + 16 * 4),
    ] {
        assert_eq!(bytes(scheme), wanted, "{scheme}");
    }
}

#[test]
fn what_a_format_cannot_hold_is_refused_by_name() {
    let folder = Folder::new("level-refusals");
    let weights = floats(&[1.0, -500.0, 470.0, 448.0, 0.0, 2.0]);
    let path = folder.write("model.safetensors", safetensors(&[("w.weight", "F32", &[2, 3], weights)]));
    let with = |scheme: &str, more: &[&str]| {
        let set = format!("*={scheme}");
        run(&[&["estimate", &path, "--set", &set, "--json"], more].concat())
    };
    with("fp8_e4m3", &[]).refused(1, "2 of its elements");
    with("fp8_e5m2", &[]).done();
    with("prune:0.5+binary", &[]).refused(1, "ternary");
    // Accepted all the same, its zeros tell: the pruned half has become the mean magnitude.
    let accepted = with("prune:0.5+binary", &["--nearest"]).json();
    assert_eq!(tensor(&accepted, "w.weight")["zeros"], 0);
    with("codebook:257", &[]).refused(2, "codebook:257");
    let infinite = floats(&[1.0, f32::INFINITY]);
    let path = folder.write("infinite.safetensors", safetensors(&[("w.weight", "F32", &[1, 2], infinite)]));
    for scheme in ["nvfp4", "mxfp4", "nf4", "ternary", "codebook:2", "fp8_e4m3"] {
        let set = format!("*={scheme}");
        run(&["estimate", &path, "--set", &set]).refused(1, "1 of its elements are NaN or infinite");
    }
    let tiny = safetensors(&[("w.weight", "F32", &[1, 2], floats(&[1e-37, 0.0]))]);
    let path = folder.write("tiny.safetensors", tiny);
    run(&["estimate", &path, "--set", "*=nvfp4"]).refused(1, "does not fit");
}
