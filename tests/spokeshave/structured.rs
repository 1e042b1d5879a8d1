//! Rows, columns, heads and hidden units that go: the files that are left, the networks that still run, the configs that follow.

use super::command::*;
use serde_json::{Value, json};
use spokeshave::control::Control;
use spokeshave::estimate::live::{Engine, estimate_model_live};
use spokeshave::estimate::total::estimate_model;
use spokeshave::estimate::{Label, ModelEstimate};
use spokeshave::model::{Model, OpenOptions, open};
use spokeshave::profile::profile_model;
use spokeshave::recipe::{Plan, Recipe, Target};
use std::path::Path;

/// Numbers that look random and are the same in every run.
fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    // Rows and columns of different size, so that there is something to choose.
    (0..n).map(|i| next() * (1.0 + (i % 7) as f32 + (i / 11 % 5) as f32)).collect()
}

type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

fn write(folder: &Folder, name: &str, tensors: &Tensors) -> String {
    let entries: Vec<(&str, &str, &[usize], Vec<u8>)> =
        tensors.iter().map(|(name, shape, values)| (name.as_str(), "F32", &shape[..], floats(values))).collect();
    folder.write(name, safetensors(&entries))
}

fn values(path: &str) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let file = std::fs::read(path).unwrap();
    let length = usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap();
    let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let data = payloads(&file);
    let mut out = Tensors::new();
    for (name, entry) in header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__") {
        let at = |i: usize| usize::try_from(entry["data_offsets"][i].as_u64().unwrap()).unwrap();
        let words = data[at(0)..at(1)].chunks(4).map(|w| f32::from_le_bytes(w.try_into().unwrap())).collect();
        let shape = entry["shape"].as_array().unwrap().iter().map(|d| usize::try_from(d.as_u64().unwrap()).unwrap());
        out.push((name.clone(), shape.collect(), words));
    }
    out
}

/// The demo with some hidden units that nothing reads and nothing drives.
fn demo_with_dead_units(folder: &Folder) -> String {
    let asset = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/lenet-300-100.safetensors");
    let mut tensors = values(asset.to_str().unwrap());
    for (name, shape, values) in &mut tensors {
        let cols = shape.get(1).copied().unwrap_or(1);
        for (i, value) in values.iter_mut().enumerate() {
            let dead = match name.as_str() {
                "fc1.weight" | "fc1.bias" => i / cols % 4 == 1,
                "fc2.weight" => i % cols % 4 == 1,
                _ => false,
            };
            if dead {
                *value = 0.0;
            }
        }
    }
    write(folder, "dead.safetensors", &tensors)
}

fn shape_of<'a>(document: &'a Value, name: &str) -> &'a Value {
    &tensor(document, name)["shape"]
}

#[test]
fn units_that_are_zero_go_and_the_network_answers_as_before() {
    let folder = Folder::new("dead-units");
    let source = demo_with_dead_units(&folder);
    let before = run(&["evaluate", &source, "--json"]).json();
    for (target, extension) in [("safetensors", "safetensors"), ("packed", "spk")] {
        let set = ["--set", "fc1.weight=rows:0.25", "--target", target];
        let planned = run(&["evaluate", &source, set[0], set[1], set[2], set[3], "--json"]).json();
        assert_eq!((&planned["value"], &planned["n"]), (&before["value"], &before["n"]), "{target}");
        let out = folder.at(&format!("smaller.{extension}"));
        let exported = run(&["export", &source, set[0], set[1], set[2], set[3], "-o", &out, "--json"]).json();
        let estimate = &exported["estimate"];
        assert_eq!(shape_of(estimate, "fc1.weight"), &json!([225, 784]));
        assert_eq!(shape_of(estimate, "fc2.weight"), &json!([100, 225]));
        assert_eq!(
            (shape_of(estimate, "fc1.bias"), &tensor(estimate, "fc2.weight")["t2"]),
            (&json!([225]), &json!(0.0))
        );
        assert_eq!(std::fs::metadata(&out).unwrap().len(), estimate["bytes"].as_u64().unwrap());
        // It opens as any model does, runs, and is what its recipe makes of the source.
        assert_eq!(run(&["evaluate", &out, "--json"]).json()["value"], before["value"], "{target}");
        assert_eq!(run(&["verify", &source, &out, "--json"]).json()["ok"], true);
        assert_eq!(shape_of(&run(&["inspect", &out, "--json"]).json(), "fc2.weight"), &json!([100, 225]));
    }
    // The logits themselves: every surviving unit is where it was, and in the same order.
    let (whole, smaller) = (values(&source), values(&folder.at("smaller.safetensors")));
    let of = |model: &Tensors, name: &str| model.iter().find(|t| t.0 == name).unwrap().2.clone();
    let alive: Vec<f32> = of(&whole, "fc1.weight")
        .chunks(784)
        .enumerate()
        .filter(|(i, _)| i % 4 != 1)
        .flat_map(|(_, row)| row.to_vec())
        .collect();
    assert_eq!(of(&smaller, "fc1.weight"), alive);
}

#[test]
fn an_artifact_that_lost_units_is_found_out_when_it_is_another() {
    let folder = Folder::new("other-units");
    let (one, two) = (folder.at("one.safetensors"), folder.at("two.safetensors"));
    run(&["export", "demo", "--set", "fc1.weight=rows:0.25", "--target", "safetensors", "-o", &one]).done();
    run(&["export", "demo", "--set", "fc1.weight=rows:0.5", "--target", "safetensors", "-o", &two]).done();
    // The recipe of one over the tensors of the other.
    let mut swapped = std::fs::read(&two).unwrap();
    let at = swapped.windows(8).position(|w| w == b"rows:0.5").unwrap();
    swapped[at..at + 8].copy_from_slice(b"rows:0.4");
    let swapped = folder.write("swapped.safetensors", swapped);
    let verified = run(&["verify", "demo", &swapped, "--json"]);
    assert_eq!(verified.code, 1, "{}", verified.stderr);
    // Two models of different widths are still compared as far as they can be.
    let compared = run(&["compare", &one, &two, "--json"]).json();
    assert!(tensor(&compared, "fc1.weight")["t2"].is_null());
    assert_eq!(tensor(&compared, "fc3.weight")["t2"], 0.0);
}

/// A model of two blocks with llama's names: 4 heads of 8 in 2 groups, 24 hidden units.
fn llama() -> Tensors {
    let mut out = Tensors::new();
    let mut add = |name: String, shape: &[usize]| {
        let n = shape.iter().product();
        out.push((name, shape.to_vec(), noise(out.len() as u64 + 1, n)));
    };
    add("model.embed_tokens.weight".into(), &[40, 32]);
    for block in 0..2 {
        for (name, shape) in [
            ("self_attn.q_proj", [32, 32]),
            ("self_attn.k_proj", [16, 32]),
            ("self_attn.v_proj", [16, 32]),
            ("self_attn.o_proj", [32, 32]),
            ("mlp.gate_proj", [24, 32]),
            ("mlp.up_proj", [24, 32]),
            ("mlp.down_proj", [32, 24]),
        ] {
            add(format!("model.layers.{block}.{name}.weight"), &shape);
        }
        add(format!("model.layers.{block}.input_layernorm.weight"), &[32]);
    }
    add("model.norm.weight".into(), &[32]);
    out
}

const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24, "num_hidden_layers": 2}"#;

fn llama_folder(name: &str) -> (Folder, String) {
    let folder = Folder::new(name);
    std::fs::create_dir(folder.0.join("m")).unwrap();
    write(&folder, "m/model.safetensors", &llama());
    folder.write("m/config.json", CONFIG);
    folder.write("m/tokenizer.json", "{}");
    let path = folder.at("m");
    (folder, path)
}

#[test]
fn a_folder_loses_heads_and_hidden_units_and_its_config_says_so() {
    let (folder, source) = llama_folder("heads");
    for target in ["safetensors", "packed"] {
        let out = folder.at(&format!("out-{target}"));
        let set = ["--set", "*self_attn*=heads:0.5", "--set", "*mlp*=ffn:0.25+int4:row", "--target", target];
        let mut arguments = vec!["export", &source, "-o", &out, "--json"];
        arguments.extend(set);
        let estimate = run(&arguments).json()["estimate"].take();
        let block = |name: &str| format!("model.layers.1.{name}.weight");
        for (name, shape) in [
            ("self_attn.q_proj", json!([16, 32])),
            ("self_attn.k_proj", json!([8, 32])),
            ("self_attn.v_proj", json!([8, 32])),
            ("self_attn.o_proj", json!([32, 16])),
            ("mlp.gate_proj", json!([18, 32])),
            ("mlp.down_proj", json!([32, 18])),
            ("input_layernorm", json!([32])),
        ] {
            assert_eq!(shape_of(&estimate, &block(name)), &shape, "{name}");
        }
        let config: Value = serde_json::from_slice(&folder.read(&format!("out-{target}/config.json"))).unwrap();
        let numbers = ["num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size", "hidden_size"];
        assert_eq!(numbers.map(|key| config[key].as_u64()), [2, 1, 8, 18, 32].map(Some));
        assert_eq!(config["architectures"], json!(["LlamaForCausalLM"]));
        assert!(folder.0.join(format!("out-{target}/tokenizer.json")).exists());
        assert_eq!(run(&["verify", &source, &out, "--json"]).json()["ok"], true);
        // A config that says something else is found out.
        folder.write(&format!("out-{target}/config.json"), CONFIG);
        let verified = run(&["verify", &source, &out, "--json"]);
        assert_eq!(verified.code, 1, "{}", verified.stderr);
    }
    // One block alone cannot be said: its units are zeroed, in all three matrices, and the row says why.
    let one = run(&["estimate", &source, "--set", "*.0.mlp.up_proj.weight=ffn:0.5", "--json"]).json();
    for name in ["gate_proj", "up_proj", "down_proj"] {
        let tensor = tensor(&one, &format!("model.layers.0.mlp.{name}.weight"));
        assert_eq!(
            (&tensor["zeros"], tensor["shape"].as_array().unwrap().contains(&json!(24))),
            (&json!(12 * 32), true)
        );
        assert!(tensor["note"].as_str().unwrap().contains("one intermediate_size for all blocks"), "{tensor}");
    }
    // Without values the shapes are known all the same.
    let set = ["--set", "*mlp*=ffn:0.25", "--target", "safetensors", "--bytes-only", "--json"];
    let bytes = run(&[&["estimate", &source][..], &set].concat()).json();
    let exact = run(&[&["estimate", &source][..], &set[..4], &["--json"]].concat()).json();
    assert_eq!((&bytes["bytes"], bytes["tensors"][0]["t2"].is_null()), (&exact["bytes"], true));
}

#[test]
fn a_lock_on_what_would_follow_refuses_by_name() {
    let folder = Folder::new("lock");
    let recipe = folder.write("r.toml", "version = 1\nlocked = ['fc2.weight']\n");
    let set = ["--recipe", &recipe, "--set", "fc1.weight=rows:0.25"];
    run(&["estimate", "demo", set[0], set[1], set[2], set[3]]).refused(1, "fc2.weight");
    run(&["estimate", "demo", set[0], set[1], "--set", "fc2.bias=int8", "--quiet"]).done();
    run(&["estimate", "demo", "--set", "*=heads:0.5"]).refused(1, "attention heads");
    run(&["export", "demo", "--set", "fc1.weight=rows:1.5", "-o", &folder.at("x")]).refused(2, "rows");
}

fn planned(model: &Model, set: &[&str], target: Target) -> (Plan, Recipe) {
    let mut recipe = Recipe { target: Some(target), ..Recipe::default() };
    for setting in set {
        recipe.set(model, setting).unwrap();
    }
    (Plan::new(model, &recipe, false).unwrap(), recipe)
}

fn t2(estimate: &ModelEstimate, model: &Model, name: &str) -> (f64, Label) {
    let tensor = &estimate.tensors[model.find(name).unwrap()];
    (tensor.t2().unwrap(), tensor.label)
}

/// Two wide layers: large enough to be answered from their profiles.
#[test]
fn live_answers_know_which_units_go_and_what_they_were_worth() {
    let folder = Folder::new("live-units");
    let tensors: Tensors = vec![
        ("fc1.weight".into(), vec![300, 400], noise(1, 120_000)),
        ("fc1.bias".into(), vec![300], noise(2, 300)),
        ("fc2.weight".into(), vec![310, 300], noise(3, 93_000)),
        ("fc3.weight".into(), vec![5, 310], noise(4, 1_550)),
    ];
    let path = write(&folder, "wide.safetensors", &tensors);
    let model = open(Path::new(&path), &OpenOptions::default()).unwrap();
    let control = Control::default();
    let profiles = profile_model(&model, &control).unwrap();
    for set in [
        &["fc1.weight=rows:0.3"][..],
        &["fc2.weight=cols:0.3"],
        &["fc1.weight=rows:0.5+int4:row", "fc2.weight=rows:0.2+int3:g64"],
        &["*=rows:0.4"],
        &["fc1.weight=cols:0.25+int4:row"],
    ] {
        for target in [Target::Packed, Target::Safetensors] {
            let (plan, recipe) = planned(&model, set, target);
            let exact = estimate_model(&model, &plan, &recipe, &control).unwrap();
            let mut engine = Engine::of(profiles.clone());
            let live = estimate_model_live(&model, &plan, &recipe, &mut engine, &control).unwrap();
            for name in ["fc1.weight", "fc1.bias", "fc2.weight", "fc3.weight"] {
                let ((is, _), (said, label)) = (t2(&exact, &model, name), t2(&live, &model, name));
                let allowed = if label == Label::Sampled { 0.1 } else { 0.001 };
                assert!((said - is).abs() <= allowed * is.max(1e-12), "{set:?} {target:?} {name}: {said} for {is}");
            }
            let off = live.bytes.unwrap().abs_diff(exact.bytes.unwrap());
            assert!(off * 50 <= exact.bytes.unwrap(), "{set:?}: {:?} for {:?} bytes", live.bytes, exact.bytes);
        }
    }
}
