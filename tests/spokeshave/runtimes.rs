//! Folders that vLLM and MLX read: their bytes by hand, foreign ones opened, and what is refused.

use super::command::*;
use serde_json::{Value, json};

const DOWN: &str = "model.layers.0.mlp.down_proj";
const CONFIG: &str = r#"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "rms_norm_eps": 1e-06}"#;

fn bf16(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| ((value.to_bits() >> 16) as u16).to_le_bytes()).collect()
}

/// A folder with a config and one file of tensors.
fn folder(name: &str, config: &str, tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> (Folder, String) {
    let folder = Folder::new(name);
    std::fs::create_dir(folder.0.join("m")).unwrap();
    folder.write("m/model.safetensors", safetensors(tensors));
    folder.write("m/config.json", config);
    let path = folder.at("m");
    (folder, path)
}

fn config_of(folder: &Folder, name: &str) -> Value {
    serde_json::from_slice(&folder.read(&format!("{name}/config.json"))).unwrap()
}

/// Exports one F32 weight of these columns, and gives what follows the header of its file.
fn exported(name: &str, target: &str, scheme: &str, cols: usize, values: &[f32]) -> Vec<u8> {
    let weight = format!("{DOWN}.weight");
    let rows = values.len() / cols;
    let (folder, model) = folder(name, CONFIG, &[(&weight, "F32", &[rows, cols], floats(values))]);
    let (set, out) = (format!("{weight}={scheme}"), folder.at("out"));
    run(&["export", &model, "--set", &set, "--target", target, "-o", &out]).done();
    payloads(&folder.read("out/model.safetensors")).to_vec()
}

#[test]
fn integers_of_compressed_tensors_by_hand() {
    // Scale 1: u = code + 8 = 1 5 8 9 10 13 14 15, the first in the lowest bits. A row of nothing has scale 0 and u = 8.
    let values = [&[-7.0, -3.0, 0.0, 1.0, 2.0, 5.0, 6.0, 7.0][..], &[0.0; 8]].concat();
    let mut wanted: Vec<u8> = [2_i64, 8].iter().flat_map(|side| side.to_le_bytes()).collect();
    wanted.extend([0xFEDA_9851_u32, 0x8888_8888].iter().flat_map(|word| word.to_le_bytes()));
    wanted.extend(floats(&[1.0, 0.0]));
    assert_eq!(exported("ct-int4", "compressed-tensors", "int4:row", 8, &values), wanted);
    // Nine codes of four bits take two words a row.
    let mut row = vec![7.0; 9];
    row[8] = -7.0;
    let packed = exported("ct-tail", "compressed-tensors", "int4:row", 9, &row);
    assert_eq!(packed[16..24], [0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0]);
    // 127 and −127 beside their row's scale of 1, in bytes less one bit.
    let ends = [127.0, -127.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let packed = exported("ct-int8", "compressed-tensors", "int8:row", 8, &ends);
    assert_eq!(packed[16..24], [255, 1, 128, 129, 130, 131, 132, 133]);
}

#[test]
fn floats_of_compressed_tensors_by_hand() {
    // 448 is what E4M3 holds at most: scale 1; 1 is 0x38, −1 is 0xB8, 0.5 is 0x30.
    let fp8 = exported("ct-fp8", "compressed-tensors", "fp8_e4m3:row", 4, &[448.0, 1.0, -1.0, 0.5]);
    assert_eq!(fp8, [&1.0_f32.to_le_bytes()[..], &[0x7E, 0x38, 0xB8, 0x30]].concat());
    // max 6: 2^(2−2) = 1, byte 127. 5 is half-way and goes to 4, 0.25 to 0, 1.75 to 2, the even column in the low half.
    let mut row = vec![0.0_f32; 32];
    row[..6].copy_from_slice(&[6.0, -0.5, 0.25, 5.0, 1.75, -3.0]);
    let mx = exported("ct-mx", "compressed-tensors", "mxfp4", 32, &row);
    assert_eq!(mx[..4], [0x97, 0x60, 0xD4, 0]);
    assert_eq!(mx[16], 127);
    // g = 2688/12 = 224; the block's scale is e4m3(12/6·224) = 448, and 448/224 = 2 is what 1 stands for.
    let mut block = vec![0.0_f32; 16];
    block[..3].copy_from_slice(&[12.0, -1.0, 4.0]);
    let nv = exported("ct-nv", "compressed-tensors", "nvfp4", 16, &block);
    assert_eq!(nv, [&224.0_f32.to_le_bytes()[..], &[0x97, 4, 0, 0, 0, 0, 0, 0], &[0x7E]].concat());
}

#[test]
fn grids_of_mlx_by_hand() {
    let rows = |pattern: &[f32]| pattern.iter().copied().cycle().take(32).collect::<Vec<f32>>();
    // u = code + 2: 3 1 2 3; bias −2·scale.
    let two = exported("mlx-2", "mlx", "int2:g32", 32, &rows(&[1.0, -1.0, 0.0, 1.0]));
    assert_eq!(two, [&(-2.0_f32).to_le_bytes()[..], &1.0_f32.to_le_bytes(), &[0xE7; 8]].concat());
    // u = code + 4: 1 2 3 4 5 6 7 4, three bits each across the borders of words.
    let three = exported("mlx-3", "mlx", "int3:g32", 32, &rows(&[-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 0.0]));
    let stream: Vec<u8> = [0xD1, 0x58, 0x9F].into_iter().cycle().take(12).collect();
    assert_eq!(three, [&(-4.0_f32).to_le_bytes()[..], &1.0_f32.to_le_bytes(), &stream].concat());
    // lo −4, hi 11: scale 1, zero point 4; codes are what is stored.
    let four = exported("mlx-4", "mlx", "int4:g32:asym", 32, &rows(&[-4.0, 11.0, 0.0, 1.0]));
    assert_eq!(four[..8], [(-4.0_f32).to_le_bytes(), 1.0_f32.to_le_bytes()].concat());
    assert_eq!(four[8..12], [0xF0, 0x54, 0xF0, 0x54]);
}

#[test]
fn the_config_says_how_codes_are_read_and_the_rest_stays() {
    let weight = format!("{DOWN}.weight");
    let tensors = [
        (weight.as_str(), "BF16", &[64, 64][..], bf16(&[0.5; 4096])),
        ("model.embed_tokens.weight", "BF16", &[8, 64], bf16(&[0.25; 512])),
        ("model.norm.weight", "BF16", &[64], bf16(&[1.0; 64])),
    ];
    let (folder, model) = folder("ct-config", CONFIG, &tensors);
    folder.write("m/tokenizer.json", "{\"a\": 1}");
    let set = format!("{weight}=int4:g32");
    for (target, key) in [("compressed-tensors", "quantization_config"), ("mlx", "quantization")] {
        let out = folder.at(target);
        let words = ["--set", &set, "--target", target];
        let estimate = run(&[&["estimate", &model, "--json"][..], &words].concat()).json();
        let exported = run(&[&["export", &model, "-o", &out, "--json"][..], &words].concat()).json();
        let bytes = folder.read(&format!("{target}/model.safetensors")).len() as u64;
        assert_eq!((&estimate["bytes"], &exported["files"][0]["bytes"]), (&bytes.into(), &bytes.into()));
        let mut config = config_of(&folder, target);
        assert!(config.as_object_mut().unwrap().remove(key).is_some());
        config.as_object_mut().unwrap().remove("quantization_config");
        assert_eq!(config, serde_json::from_str::<Value>(CONFIG).unwrap());
        assert_eq!(folder.read(&format!("{target}/tokenizer.json")), b"{\"a\": 1}");
        let inspected = run(&["inspect", &out, "--json"]).json();
        let found = tensor(&inspected, &weight);
        let dtype = if target == "mlx" { "int4:g32 affine" } else { "int4:g32" };
        assert_eq!((&found["dtype"], &found["shape"], &found["max"]), (&dtype.into(), &json!([64, 64]), &0.5.into()));
        assert_eq!(run(&["verify", &model, &out, "--json"]).json()["ok"], true);
        // A config that says something else is found out.
        let text = String::from_utf8(folder.read(&format!("{target}/config.json"))).unwrap();
        folder.write(
            &format!("{target}/config.json"),
            text.replace("\"ignore\"", "\"nothing\"").replace("affine", "mxfp4"),
        );
        assert_eq!(run(&["verify", &model, &out]).code, 1);
        folder.write(&format!("{target}/config.json"), text);
        // Its own values, spelled out again, with nothing left of the codes in the config.
        let dense = folder.at("dense");
        run(&["export", &out, "--target", "safetensors", "-o", &dense, "--force"]).done();
        assert_eq!(config_of(&folder, "dense"), serde_json::from_str::<Value>(CONFIG).unwrap());
        let compared = run(&["compare", &out, &dense, "--json"]).json();
        assert!(compared["tensors"].as_array().unwrap().iter().all(|t| t["max_abs_difference"] == 0.0));
        // What is kept of it goes to the same target as it lies.
        let again = folder.at("again");
        run(&["export", &out, "--target", target, "-o", &again, "--force"]).done();
        let of = |name: &str| payloads(&folder.read(&format!("{name}/model.safetensors"))).to_vec();
        assert_eq!((of(target), config_of(&folder, target)), (of("again"), config_of(&folder, "again")));
    }
}

/// The config of a model of W8A8.
const W8A8: &str = r#"{"model_type": "llama", "quantization_config": {"quant_method": "compressed-tensors",
    "format": "int-quantized", "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8}}}}}"#;

#[test]
fn foreign_codes_are_read_where_all_of_them_are_understood() {
    let (weight, scale) = (format!("{DOWN}.weight"), format!("{DOWN}.weight_scale"));
    let codes = [127_u8, 0x81, 0, 1];
    let tensors = |extra: Option<(&'static str, &'static str)>| {
        let mut all = vec![
            (weight.as_str(), "I8", &[2, 2][..], codes.to_vec()),
            (scale.as_str(), "BF16", &[2, 1][..], bf16(&[0.5, 2.0])),
        ];
        all.extend(extra.map(|(name, dtype)| (name, dtype, &[1][..], vec![0; 4])));
        all
    };
    let (place, model) = folder("ct-w8a8", W8A8, &tensors(None));
    let inspected = run(&["inspect", &model, "--json"]).json();
    assert_eq!(inspected["tensors"].as_array().unwrap().len(), 1);
    let found = tensor(&inspected, &weight);
    assert_eq!((&found["dtype"], &found["bytes"], &found["zeros"]), (&"int8:row".into(), &8.into(), &1.into()));
    assert_eq!((&found["min"], &found["max"]), (&(-63.5).into(), &63.5.into()));
    let set = format!("{weight}=prune:0.5");
    run(&["estimate", &model, "--set", &set]).refused(1, "--requantize");
    let anew = run(&["estimate", &model, "--set", &set, "--requantize", "--json"]).json();
    assert_eq!(tensor(&anew, &weight)["zeros"], 2);
    // Groups out of order, a zero point, another program's config: then everything is listed as it lies.
    let order = Box::leak(format!("{DOWN}.weight_g_idx").into_boxed_str());
    let (_ordered, listed) = folder("ct-order", W8A8, &tensors(Some((order, "I32"))));
    assert_eq!(run(&["inspect", &listed, "--json"]).json()["tensors"].as_array().unwrap().len(), 3);
    place.write("m/config.json", CONFIG);
    assert_eq!(run(&["inspect", &model, "--json"]).json()["tensors"].as_array().unwrap().len(), 2);
    // Codes that nobody understands are no source for another runtime.
    run(&["export", &model, "--target", "mlx", "-o", &place.at("no")]).refused(1, "not read here");
}

#[test]
fn a_shape_that_is_not_that_of_the_codes_leaves_everything_as_it_lies() {
    let config = W8A8.replace("int-quantized", "pack-quantized").replace("\"num_bits\": 8", "\"num_bits\": 4");
    for (shape, read) in
        [([2_i64, 8], true), ([2, 40], false), ([3, 8], false), ([2, -8], false), ([2, i64::MAX], false)]
    {
        let part = |part: &str| format!("{DOWN}.{part}");
        let (packed, scale, sides) = (part("weight_packed"), part("weight_scale"), part("weight_shape"));
        let tensors = [
            (packed.as_str(), "I32", &[2, 1][..], vec![0x88; 8]),
            (scale.as_str(), "F16", &[2, 1], vec![0, 0x3C, 0, 0x3C]),
            (sides.as_str(), "I64", &[2], shape.iter().flat_map(|side| side.to_le_bytes()).collect()),
        ];
        let (_folder, model) = folder("ct-shape", &config, &tensors);
        let listed = run(&["inspect", &model, "--json"]).json()["tensors"].as_array().unwrap().len();
        assert_eq!(listed, if read { 1 } else { 3 }, "{shape:?}");
    }
}

#[test]
fn a_folder_of_somebody_else_is_never_replaced() {
    let place = Folder::new("ct-replace");
    let model = demo_file(&place, "own.safetensors");
    let out = place.at("out");
    let words = ["export", &model, "--set", "fc1.weight=int4:row", "--target", "compressed-tensors", "-o", &out];
    std::fs::create_dir(&out).unwrap();
    place.write("out/config.json", CONFIG);
    run(&[&words[..], &["--force"]].concat()).refused(1, "not part of a Spokeshave artifact");
    std::fs::remove_dir_all(&out).unwrap();
    // What is written says only how codes are read; the source had no config, and that is told.
    let told = run(&words).done().stderr;
    assert!(told.contains("no config.json stands beside"), "{told}");
    assert_eq!(config_of(&place, "out").as_object().unwrap().keys().collect::<Vec<_>>(), ["quantization_config"]);
    run(&words).refused(1, "exists");
    run(&[&words[..], &["--force"]].concat()).done();
    assert_eq!(run(&["verify", &model, &out, "--json"]).json()["ok"], true);
}

#[test]
fn a_config_of_python_stays_as_it_is_written_and_an_unreadable_one_is_refused() {
    let weight = format!("{DOWN}.weight");
    let config =
        "{\"model_type\": \"mamba2\", \"time_step_limit\": [0.0, Infinity], \"big\": 123456789012345678901234567890}";
    let (place, model) = folder("ct-python", config, &[(&weight, "F32", &[2, 32], floats(&[1.0; 64]))]);
    let set = format!("{weight}=int4:g32");
    for target in ["compressed-tensors", "mlx"] {
        run(&["export", &model, "--set", &set, "--target", target, "-o", &place.at(target)]).done();
        let text = String::from_utf8(place.read(&format!("{target}/config.json"))).unwrap();
        assert!(text.contains("\"time_step_limit\": [0.0, Infinity]"), "{text}");
        assert!(text.contains("123456789012345678901234567890") && text.contains("\"quantization_config\": {"));
        run(&["verify", &model, &place.at(target)]).done();
    }
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 22));
    for (bad, told) in
        [("[1]", "no JSON object"), ("{\"a\": 1e400}", "number out of range"), (&long, "4194304 allowed")]
    {
        place.write("m/config.json", bad);
        let refused = run(&["export", &model, "--set", &set, "--target", "mlx", "-o", &place.at("no")]);
        refused.refused(1, told);
        run(&["estimate", &model, "--set", &set, "--target", "compressed-tensors"]).refused(1, "config.json");
        // A target that needs none leaves it as it is.
        run(&["export", &model, "--target", "safetensors", "-o", &place.at("dense"), "--force"]).done();
        assert_eq!(place.read("dense/config.json"), bad.as_bytes());
    }
}

/// The config of a model in compressed-tensors' format, with this group and this beside the groups.
fn quantized(group: &Value, beside: &str) -> String {
    format!(
        r#"{{"model_type": "llama", "quantization_config": {{"quant_method": "compressed-tensors", {beside}
            "config_groups": {{"g": {group}}}, "ignore": ["lm_head", "re:.*nothing.*"]}}}}"#
    )
}

fn int4(group_size: usize) -> Value {
    json!({"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "symmetric": true, "strategy": "group",
        "group_size": group_size}})
}

type Part = (String, &'static str, Vec<usize>, Vec<u8>);

/// A weight of 64 × 64 in codes of 4 bits, in groups of 32.
fn codes(module: &str) -> Vec<Part> {
    let part = |part: &str| format!("{module}.{part}");
    let sides = [64_i64, 64].iter().flat_map(|side| side.to_le_bytes()).collect();
    vec![
        (part("weight_packed"), "I32", vec![64, 8], [0x1F, 0x88, 0x7A, 0x9C].repeat(512)),
        (part("weight_scale"), "BF16", vec![64, 2], bf16(&[0.5; 128])),
        (part("weight_shape"), "I64", vec![2], sides),
    ]
}

fn dense(module: &str) -> Vec<Part> {
    let values: Vec<f32> = (0..4096).map(|i| (i % 31) as f32 - 15.0).collect();
    vec![(format!("{module}.weight"), "BF16", vec![64, 64], bf16(&values))]
}

fn folder_of(name: &str, config: &str, parts: &[Part]) -> (Folder, String) {
    let tensors: Vec<_> =
        parts.iter().map(|(n, dtype, shape, bytes)| (n.as_str(), *dtype, &shape[..], bytes.clone())).collect();
    folder(name, config, &tensors)
}

const ATTENTION: &str = "model.layers.0.self_attn";

#[test]
fn what_is_joined_with_codes_is_stored_like_them_and_they_stay() {
    let of = |part: &str| format!("{ATTENTION}.{part}");
    let parts = [codes(&of("k_proj")), dense(&of("q_proj")), codes(&of("v_proj"))].concat();
    let (place, model) = folder_of("ct-part", &quantized(&int4(32), ""), &parts);
    let words = ["--target", "compressed-tensors", "--set", "*q_proj*=int8:g32"];
    run(&[&["estimate", &model][..], &words].concat()).refused(1, "int4:g32 (--nearest accepts it)");
    let out = place.at("out");
    run(&[&["export", &model, "--nearest", "-o", &out][..], &words].concat()).done();
    run(&["verify", &model, &out]).done();
    let told = run(&[&["estimate", &model, "--nearest", "--json"][..], &words].concat()).json();
    let stored = |part: &str| tensor(&told, &format!("{}.weight", of(part)))["stored_as"].clone();
    assert_eq!((stored("k_proj"), stored("q_proj")), ("keep".into(), "int4:g32".into()));
    // Dense beside codes that may not change: no form is left for both but a change of the codes.
    let locked = format!("version = 1\nlocked = [\"{}.weight\"]\n", of("q_proj"));
    place.write("r.toml", locked);
    let refused =
        run(&["estimate", &model, "--target", "compressed-tensors", "--recipe", &place.at("r.toml"), "--nearest"]);
    refused.refused(1, "--requantize");
    // With leave to change them, all three are spelled out, and the estimate says so.
    let words = ["--target", "compressed-tensors", "--set", "*q_proj*=prune:0.5", "--requantize"];
    run(&[&["estimate", &model][..], &words].concat()).refused(1, "bf16 (--nearest accepts it)");
    let told = run(&[&["estimate", &model, "--nearest", "--json"][..], &words].concat()).json();
    let stored = |part: &str| tensor(&told, &format!("{}.weight", of(part)))["stored_as"].clone();
    assert_eq!((stored("k_proj"), stored("q_proj")), ("bf16".into(), "prune:0.5".into()));
}

#[test]
fn a_locked_tensor_decides_for_those_that_are_joined_with_it() {
    let of = |part: &str| format!("{ATTENTION}.{part}");
    let parts = [dense(&of("k_proj")), dense(&of("q_proj")), dense(&of("v_proj"))].concat();
    let (place, model) = folder_of("ct-lock", CONFIG, &parts);
    let k = format!("{}.weight", of("k_proj"));
    place.write(
        "r.toml",
        format!(
            "version = 1\nlocked = [\"{k}\"]\n[[rule]]\nmatch = \"*[qv]_proj*\"\nscheme = \"int8:row\"\n\
             [[override]]\ntensor = \"{k}\"\nscheme = \"int4:row\"\n"
        ),
    );
    let words = ["estimate", &model, "--target", "compressed-tensors", "--recipe", &place.at("r.toml")];
    run(&words).refused(1, "int4:row (--nearest accepts it)");
    let told = run(&[&words[..], &["--nearest", "--json"]].concat()).json();
    assert!(told["tensors"].as_array().unwrap().iter().all(|t| t["stored_as"] == "int4:row"), "{told}");
}

#[test]
fn joined_layers_get_a_form_that_all_of_them_can_have() {
    let expert = |part: &str| format!("model.layers.0.mlp.experts.0.{part}.weight");
    let part = |name: &str, rows: usize, cols: usize| {
        let values: Vec<f32> = (0..rows * cols).map(|i| (i % 13) as f32 - 6.0).collect();
        (expert(name), "BF16", vec![rows, cols], bf16(&values))
    };
    let parts = [part("gate_proj", 100, 256), part("up_proj", 100, 256), part("down_proj", 256, 100)];
    let (place, model) = folder_of("ct-experts", CONFIG, &parts);
    let words = ["--set", "*=int4:g128", "--target", "compressed-tensors", "--nearest"];
    let told = run(&[&["estimate", &model, "--json"][..], &words].concat()).json();
    assert!(told["tensors"].as_array().unwrap().iter().all(|t| t["stored_as"] == "int4:row"), "{told}");
    run(&[&["export", &model, "-o", &place.at("out")][..], &words].concat()).done();
    let config = config_of(&place, "out");
    assert_eq!(config["quantization_config"]["config_groups"]["group_0"]["targets"], json!(["Linear"]));
}

#[test]
fn a_block_that_is_not_read_is_never_taken_away() {
    // What gpt-oss has: codes that no name gives away.
    let config = r#"{"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}}"#;
    let mut parts = dense("model.layers.0.self_attn.q_proj");
    parts.push(("model.layers.0.mlp.experts.down_proj_blocks".into(), "U8", vec![2, 32], vec![7; 64]));
    let (place, model) = folder_of("ct-foreign", config, &parts);
    for target in ["compressed-tensors", "mlx"] {
        let out = place.at(target);
        let refused = run(&["export", &model, "--set", "*=int4:g32", "--target", target, "-o", &out]);
        refused.refused(1, "has a quantization_config");
    }
    run(&["export", &model, "--target", "safetensors", "-o", &place.at("dense")]).done();
    assert_eq!(config_of(&place, "dense"), serde_json::from_str::<Value>(config).unwrap());
}

#[test]
fn kept_layers_keep_the_group_that_they_were_in() {
    let of = |part: &str| format!("model.layers.0.mlp.{part}");
    let mut group = int4(32);
    group["input_activations"] = json!({"num_bits": 8, "type": "int", "strategy": "tensor", "dynamic": false});
    let cache = r#""kv_cache_scheme": {"num_bits": 8, "type": "float"}, "version": "0.12","#;
    let mut parts = [codes(&of("down_proj")), dense(&of("o_proj"))].concat();
    parts.push((format!("{}.input_scale", of("down_proj")), "BF16", vec![1], bf16(&[0.5])));
    parts.push((format!("{ATTENTION}.k_scale"), "BF16", vec![1], bf16(&[0.5])));
    let (place, model) = folder_of("ct-kept", &quantized(&group, cache), &parts);
    let set = format!("{}.weight=int8:row", of("o_proj"));
    let words = ["--target", "compressed-tensors", "--set", &set];
    run(&[&["export", &model, "-o", &place.at("out")][..], &words].concat()).done();
    let block = &config_of(&place, "out")["quantization_config"];
    assert_eq!((&block["version"], &block["kv_cache_scheme"]["num_bits"]), (&"0.12".into(), &8.into()));
    let groups = block["config_groups"].as_object().unwrap();
    let with = |bits: u64| groups.values().find(|group| group["weights"]["num_bits"] == bits).unwrap();
    assert_eq!(with(4)["input_activations"], group["input_activations"]);
    assert_eq!(with(4)["weights"], group["weights"]);
    assert!(with(8)["input_activations"].is_null());
    assert!(block["ignore"].as_array().unwrap().contains(&"re:.*nothing.*".into()));
    run(&["verify", &model, &place.at("out")]).done();
    // What says how activations are rounded is of no use beside another form: it is left out, and told.
    let anew = format!("{}.weight=int8:row", of("down_proj"));
    for (out, words) in [
        ("anew", vec!["compressed-tensors", "--set", &anew, "--requantize"]),
        ("mlx", vec!["mlx", "--set", &set]),
        ("dense", vec!["safetensors"]),
        ("packed", vec!["packed"]),
    ] {
        let out = place.at(out);
        let words = [&["export", &model, "-o", &out, "--nearest", "--target"][..], &words].concat();
        let exported = run(&words);
        assert!(exported.stderr.contains("tells how activations are rounded"), "{}", exported.stderr);
        exported.done();
        run(&["verify", &model, &out]).done();
        let listed = run(&["inspect", &out, "--json"]).json();
        let names = listed["tensors"].as_array().unwrap().iter().map(|tensor| tensor["name"].as_str().unwrap());
        assert!(!names.clone().any(|name| name.contains("down_proj.input_scale")), "{:?}", names.collect::<Vec<_>>());
    }
    let exact = format!("{}.input_scale=f16", of("down_proj"));
    run(&["estimate", &model, "--target", "mlx", "--set", &exact]).refused(1, "take it out of the recipe");
    // Weights that were turned are not those that the codes say.
    place.write("m/config.json", quantized(&group, r#""transform_config": {"config_groups": {"R1": {}}},"#));
    let listed = run(&["inspect", &model, "--json"]);
    assert!(listed.stderr.contains("transform_config"), "{}", listed.stderr);
}

#[test]
fn the_width_of_codes_is_what_the_config_says() {
    let module = "model.layers.0.mlp.down_proj";
    let mut group = int4(32);
    for (key, value, told) in [("num_bits", 7, "num_bits 7"), ("group_size", 64, "group_size 64")] {
        let before = std::mem::replace(&mut group["weights"][key], value.into());
        let (_place, model) = folder_of("ct-width", &quantized(&group, ""), &codes(module));
        let listed = run(&["inspect", &model, "--json"]);
        assert_eq!(listed.json()["tensors"].as_array().unwrap().len(), 3);
        assert!(listed.stderr.contains(told), "{}", listed.stderr);
        group["weights"][key] = before;
    }
}

#[test]
fn a_shard_without_a_weight_of_its_own_leaves_no_file() {
    let (down, up) = ("model.layers.0.mlp.down_proj", "model.layers.0.mlp.up_proj");
    let [first, second] = [codes(down), codes(up)];
    let shards = [vec![first[0].clone()], first[1..].to_vec(), second];
    let place = Folder::new("ct-shards");
    std::fs::create_dir(place.0.join("m")).unwrap();
    let mut map = serde_json::Map::new();
    for (number, parts) in shards.iter().enumerate() {
        let file = format!("model-{:05}-of-00003.safetensors", number + 1);
        let tensors: Vec<_> = parts.iter().map(|(n, d, s, b)| (n.as_str(), *d, &s[..], b.clone())).collect();
        place.write(&format!("m/{file}"), safetensors(&tensors));
        map.extend(parts.iter().map(|(name, ..)| (name.clone(), Value::from(file.clone()))));
    }
    place.write("m/model.safetensors.index.json", json!({"metadata": {}, "weight_map": map}).to_string());
    place.write("m/config.json", quantized(&int4(32), ""));
    for target in ["compressed-tensors", "mlx", "safetensors"] {
        let out = place.at(target);
        let estimate = run(&["estimate", &place.at("m"), "--target", target, "--json"]).json();
        let exported = run(&["export", &place.at("m"), "--target", target, "-o", &out, "--json"]).json();
        let files = exported["files"].as_array().unwrap();
        let bytes: u64 = files.iter().map(|file| file["bytes"].as_u64().unwrap()).sum();
        assert_eq!(estimate["bytes"], bytes, "{target}");
        assert!(place.0.join(target).join("model-00002-of-00002.safetensors").exists());
        run(&["verify", &place.at("m"), &out]).done();
    }
}

#[test]
fn a_shard_of_another_name_is_renamed_where_readers_look_for_one() {
    let place = Folder::new("ct-odd");
    std::fs::create_dir(place.0.join("m")).unwrap();
    let parts = dense(DOWN);
    let tensors: Vec<_> = parts.iter().map(|(n, d, s, b)| (n.as_str(), *d, &s[..], b.clone())).collect();
    place.write("m/weights.safetensors", safetensors(&tensors));
    place.write("m/config.json", CONFIG);
    for (target, name) in [("compressed-tensors", "model"), ("mlx", "model"), ("safetensors", "weights")] {
        run(&["export", &place.at("m"), "--target", target, "-o", &place.at(target)]).done();
        assert!(place.0.join(target).join(format!("{name}.safetensors")).exists(), "{target}");
    }
}

#[test]
fn zeros_that_a_bias_would_move_are_refused_and_values_are_those_that_are_read() {
    let parts = dense(DOWN);
    let (place, model) = folder_of("mlx-bias", CONFIG, &parts);
    let weight = format!("{DOWN}.weight");
    let (pruned, plain) = (format!("{weight}=prune:0.5+int4:g64:asym"), format!("{weight}=int6:g64:asym"));
    let words = ["estimate", &model, "--target", "mlx", "--json", "--set"];
    run(&[&words[..], &[&pruned]].concat()).refused(1, "prune:0.5+int4:g64 (--nearest accepts it)");
    let nearest = run(&[&words[..], &[&pruned, "--nearest"]].concat()).json();
    assert!(tensor(&nearest, &weight)["zeros"].as_u64().unwrap() >= 2048);
    // Of −15 … 15 in 63 steps: scale 30/63 in BF16, zero point 32 (15/scale is 31.53), bias −32·scale exact; not so for 2 bits.
    let out = place.at("out");
    run(&["export", &model, "--target", "mlx", "--set", &plain, "-o", &out]).done();
    let told = run(&[&words[..], &[&plain]].concat()).json();
    let dense = place.at("dense");
    run(&["export", &out, "--target", "safetensors", "-o", &dense]).done();
    let compared = run(&["compare", &model, &dense, "--json"]).json();
    assert_eq!(tensor(&compared, &weight)["t2"], tensor(&told, &weight)["t2"]);
}

#[test]
fn what_stands_beside_one_file_and_does_not_come_along_is_told() {
    let (place, _) = folder_of("ct-beside", CONFIG, &dense(DOWN));
    place.write("m/tokenizer.json", "{}");
    let words = ["--set", "*=int4:g32", "--target", "mlx"];
    let one = run(&[&["export", &place.at("m/model.safetensors"), "-o", &place.at("one")][..], &words].concat());
    assert!(one.stderr.contains("tokenizer.json"), "{}", one.stderr);
    let all = run(&[&["export", &place.at("m"), "-o", &place.at("all")][..], &words].concat());
    assert!(place.0.join("all/tokenizer.json").exists() && !all.stderr.contains("tokenizer.json"), "{}", all.stderr);
}

#[test]
fn a_config_of_the_users_own_is_never_replaced() {
    let place = Folder::new("ct-own-config");
    let model = demo_file(&place, "own.safetensors");
    let out = place.at("out");
    let words = ["export", &model, "--set", "fc1.weight=int4:row", "--target", "compressed-tensors", "-o", &out];
    run(&words).done();
    // What readers were told by hand stays; what is written here may be written anew.
    run(&[&words[..], &["--force"]].concat()).done();
    let mut config = config_of(&place, "out");
    config["architectures"] = json!(["Mine"]);
    place.write("out/config.json", config.to_string());
    run(&[&words[..], &["--force"]].concat()).refused(1, "config.json");
    assert_eq!(config_of(&place, "out"), config);
}

#[test]
fn codes_of_other_programs_and_what_stands_beside_them_are_left_alone() {
    let folder = Folder::new("runtimes-others");
    // Each as its program writes it: codes, then what is real beside them.
    let programs: [(&str, &str, &str, &[&str]); 7] = [
        ("optimum-quanto", "l.weight._data", "I8", &["l.weight._scale"]),
        ("HQQ", "l.W_q", "U8", &["l.scale", "l.zero"]),
        ("AQLM", "l.codes", "I16", &["l.codebooks", "l.scales"]),
        ("Nunchaku", "l.qweight", "I8", &["l.wscales"]),
        ("ComfyUI", "l.weight", "F8_E4M3", &["l.scale_weight", "l.scale_input"]),
        ("torchao", "l._weight_qdata", "I8", &["l._weight_scale"]),
        ("onnxruntime", "l_quantized", "U8", &["l_scale"]),
    ];
    for (program, codes, dtype, sides) in programs {
        let width = if dtype == "I16" { 2 } else { 1 };
        let mut tensors = vec![(codes, dtype, &[4_usize, 8][..], vec![1_u8; 32 * width])];
        tensors.extend(sides.iter().map(|side| (*side, "F32", &[4_usize, 1][..], floats(&[0.5; 4]))));
        let path = folder.write(&format!("{program}.safetensors"), safetensors(&tensors));
        run(&["estimate", &path, "--set", "*=int4"]).refused(1, "touches no tensor");
        // By its name, too: without its codes a scale means nothing.
        run(&["estimate", &path, "--set", &format!("{}=int4", sides[0])]).refused(1, "cannot be touched");
    }
}
