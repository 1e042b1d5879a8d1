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
    let config = W8A8.replace("int-quantized", "pack-quantized");
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
