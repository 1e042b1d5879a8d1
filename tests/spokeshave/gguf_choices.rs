//! Choices whose GGUF file is easily another than the one that was meant: shared pools, masks under other names, what llama.cpp
//! cannot hold. llama.cpp's own judgement is in `tests/readers/gguf_models.py`.

use super::command::{Folder, floats, run, safetensors, tensor};
use super::gguf::{Tensor, file};
use spokeshave::formats::Limits;
use spokeshave::formats::gguf::layout::text_pair;
use spokeshave::formats::gguf::{Value, read_bytes};
use spokeshave::kernels::ggml::BlockType;
use spokeshave::model::{OpenOptions, open};
use spokeshave::recipe::{Recipe, Target};
use spokeshave::session::Live;
use spokeshave::session::live::ApplyTo;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Values in no order, none of them 0; those of another seed are larger.
fn values(n: usize, seed: usize) -> Vec<u8> {
    let one = |i: usize| ((i * 37 + seed * 11) % 101) as f32 / 64.0 - 0.79;
    floats(&(0..n).map(|i| one(i) * (1 + seed) as f32).collect::<Vec<_>>())
}

/// A GGUF file of three matrices, one of them with rows of 160 elements, a norm and a convolution of llama.cpp's kind.
fn model(folder: &Folder) -> String {
    let of = |name: &'static str, shape: &'static [usize], seed| -> Tensor<'static> {
        (name, shape, BlockType::F32, values(shape.iter().product(), seed))
    };
    let tensors = [
        of("blk.0.ffn_down.weight", &[8, 160], 0),
        of("blk.0.ffn_up.weight", &[8, 512], 1),
        of("blk.1.ffn_down.weight", &[8, 512], 7),
        of("blk.0.ssm_conv1d.weight", &[8, 32], 2),
        of("output_norm.weight", &[32], 3),
    ];
    folder.write("m.gguf", file(&[text_pair("general.architecture", "llama")], &tensors, 32))
}

/// A folder in the Hugging Face layout with four heads of 8 rows, two of them for keys.
fn network(folder: &Folder, kind: &str) -> String {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/conversion/base");
    let out = folder.0.join(kind);
    fs::create_dir(&out).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(base.join(name), out.join(name)).unwrap();
    }
    let config = format!(
        r#"{{"model_type": "{kind}", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
            "hidden_act": "silu", "tie_word_embeddings": true, "vocab_size": 8}}"#
    );
    fs::write(out.join("config.json"), config).unwrap();
    let mut shapes: Vec<(&str, Vec<usize>)> = vec![
        ("model.embed_tokens.weight", vec![8, 32]),
        ("model.layers.0.input_layernorm.weight", vec![32]),
        ("model.layers.0.mlp.down_proj.weight", vec![32, 64]),
        ("model.layers.0.mlp.gate_proj.weight", vec![64, 32]),
        ("model.layers.0.mlp.up_proj.weight", vec![64, 32]),
        ("model.layers.0.post_attention_layernorm.weight", vec![32]),
        ("model.layers.0.self_attn.k_proj.weight", vec![16, 32]),
        ("model.layers.0.self_attn.o_proj.weight", vec![32, 32]),
        ("model.layers.0.self_attn.q_proj.weight", vec![32, 32]),
        ("model.layers.0.self_attn.v_proj.weight", vec![16, 32]),
        ("model.norm.weight", vec![32]),
    ];
    if kind == "qwen2" {
        shapes.extend([
            ("model.layers.0.self_attn.k_proj.bias", vec![16]),
            ("model.layers.0.self_attn.q_proj.bias", vec![32]),
            ("model.layers.0.self_attn.v_proj.bias", vec![16]),
        ]);
        shapes.sort();
    }
    let tensors: Vec<(&str, &str, &[usize], Vec<u8>)> = shapes
        .iter()
        .map(|(name, shape)| (*name, "F32", shape.as_slice(), values(shape.iter().product(), 0)))
        .collect();
    fs::write(out.join("model.safetensors"), safetensors(&tensors)).unwrap();
    out.to_str().unwrap().to_owned()
}

#[test]
fn tensors_of_one_pool_keep_it_whatever_type_their_shapes_ask_for() {
    let folder = Folder::new("gguf-pool");
    let (path, out) = (model(&folder), folder.at("out.gguf"));
    let words = ["--set", "*=prune:0.5:global+q6_k", "--nearest"];
    run(&[&["export", &path, "-o", &out], &words[..]].concat()).done();
    run(&["verify", &path, &out]).done();

    // As a recipe file, as the file itself, and as a command.
    let estimate = run(&[&["estimate", &path, "--json"], &words[..]].concat()).json();
    assert_eq!(tensor(&estimate, "blk.0.ffn_down.weight")["stored_as"], "prune:0.5:global+q8_0");
    let recipe = folder.at("mine.toml");
    let said = run(&[&["recipe", &path, "-o", &recipe], &words[..]].concat()).done();
    assert!(said.stderr.contains("give --nearest with it"), "{}", said.stderr);
    for recipe in [&recipe, &out] {
        let again = run(&["estimate", &path, "--recipe", recipe, "--nearest", "--json"]).json();
        assert_eq!(again, estimate, "{recipe}");
    }
    let command = run(&[&["recipe", &path, "--for", "command"], &words[..]].concat()).done().text();
    assert!(command.contains(" --nearest") && command.matches("--set").count() == 1, "{command}");
}

#[test]
fn a_pool_that_takes_the_nearest_goes_on_in_the_window() {
    let folder = Folder::new("gguf-live-pool");
    let opened = Arc::new(open(Path::new(&model(&folder)), &OpenOptions::default()).unwrap());
    let live = |recipe| Live::new(opened.clone(), recipe, None, Arc::new(|| {}));
    let of = |share: &str| {
        let mut recipe = Recipe { target: Some(Target::Gguf), ..Recipe::default() };
        recipe.set(&opened, &format!("*=prune:{share}:global+q6_k")).unwrap();
        recipe
    };
    let mut hand = live(of("0.5")).unwrap();
    let down = opened.find("blk.0.ffn_down.weight").unwrap();
    let stored = |hand: &Live| hand.plan().assignments[down].stored.to_string();
    let turn = |hand: &mut Live, scheme: &str| {
        hand.set_scheme(down, &ApplyTo::All, &scheme.parse().unwrap(), "turn", None).map_err(|error| error.to_string())
    };
    assert_eq!(stored(&hand), "prune:0.5:global+q8_0");
    turn(&mut hand, "prune:0.6:global+q6_k").unwrap();
    assert_eq!(stored(&hand), "prune:0.6:global+q8_0");
    hand.undo();
    assert_eq!(stored(&hand), "prune:0.5:global+q8_0");
    // What was never asked for is not accepted with it.
    assert!(turn(&mut hand, "q6_k").unwrap_err().contains("--nearest"));
    hand.replace_recipe(of("0.7"), "load a recipe").unwrap();
    assert_eq!(stored(&hand), "prune:0.7:global+q8_0");

    let mut fresh = live(Recipe { target: Some(Target::Gguf), ..Recipe::default() }).unwrap();
    assert!(turn(&mut fresh, "prune:0.5:global+q6_k").unwrap_err().contains("--nearest"));
    fresh.set_target(Target::Packed).unwrap();
    turn(&mut fresh, "prune:0.5:global+int6").unwrap();
    fresh.set_target_with_nearest(Target::Gguf).unwrap();
    assert_eq!(stored(&fresh), "prune:0.5:global+q8_0");
}

#[test]
fn a_rule_that_names_what_a_lock_leaves_is_replaced_by_the_next() {
    let folder = Folder::new("gguf-lock-again");
    let opened = open(Path::new(&model(&folder)), &OpenOptions::default()).unwrap();
    let mut recipe = Recipe::default();
    recipe.set(&opened, "*=prune:0.5:global").unwrap();
    recipe.locked = vec!["blk.1.ffn_down.weight".into()];
    for share in ["0.6", "0.7", "0.8"] {
        recipe.set(&opened, &format!("*=prune:{share}:global")).unwrap();
    }
    assert_eq!(recipe.rules.len(), 2);
    assert_eq!(recipe.rules[1].scheme.to_string(), "prune:0.8:global");
}

#[test]
fn a_list_of_types_means_the_names_that_a_folder_gets() {
    let folder = Folder::new("gguf-types");
    let source = network(&folder, "llama");
    let list = folder.write("types.txt", "attn_q=f16\nffn=bf16\nattn_q=bf16 norm=bf16 nothing=f16\n");
    let said = run(&["recipe", &source, "--from-tensor-types", &list, "--target", "gguf"]).done();
    for words in ["not named before", "norms and biases stay", "no name has that in it"] {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
    let recipe = folder.write("r.toml", said.text());
    let estimate = run(&["estimate", &source, "--recipe", &recipe, "--json"]).json();
    let of = |name: &str| tensor(&estimate, name)["stored_as"].as_str().unwrap().to_owned();
    let block = |part: &str| of(&format!("model.layers.0.{part}.weight"));
    assert_eq!([block("self_attn.q_proj"), block("self_attn.v_proj"), block("mlp.up_proj")], ["f16", "keep", "bf16"]);
}

#[test]
fn names_that_a_list_of_types_cannot_hold_are_refused() {
    let folder = Folder::new("gguf-types-names");
    for name in ["a b.weight", "a=b.weight", "Blk.weight"] {
        let path = folder.write("m.gguf", file(&[], &[(name, &[8, 32], BlockType::F32, values(256, 1))], 32));
        run(&["recipe", &path, "--for", "llama.cpp"]).refused(1, "has no words for the name");
    }
    let path =
        folder.write("m.gguf", file(&[], &[("a\u{1b}[2J.weight", &[8, 32], BlockType::F32, values(256, 1))], 32));
    run(&["recipe", &path, "--for", "command", "--set", "*=q8_0"]).done();
    let named =
        folder.write("r.toml", "version = 1\n[[override]]\ntensor = \"a\\u001b[2J.weight\"\nscheme = \"q8_0\"\n");
    run(&["recipe", &path, "--for", "command", "--recipe", &named]).refused(1, "control characters");
}

#[test]
fn a_locked_tensor_stays_in_its_pool() {
    let folder = Folder::new("gguf-locked");
    let path = model(&folder);
    let recipe = folder.write(
        "r.toml",
        "version = 1\nlocked = ['blk.1.ffn_down.weight']\n[[rule]]\nmatch = '*'\nscheme = 'prune:0.5:global'\n",
    );
    let words = ["estimate", &path, "--recipe", &recipe, "--set", "*down*=q8_0", "--json"];
    let estimate = run(&words).json();
    assert_eq!(tensor(&estimate, "blk.0.ffn_down.weight")["stored_as"], "q8_0");
    let locked = tensor(&estimate, "blk.1.ffn_down.weight");
    assert_eq!(locked["stored_as"], "prune:0.5:global");
    // Half of its pool goes, and what goes is the smaller tensor's: alone it would lose half of itself.
    let zeros = locked["zeros"].as_u64().unwrap();
    assert!(zeros < 1600, "{zeros} of 4096");
    let of = |name: &str| tensor(&estimate, name)["zeros"].as_u64().unwrap();
    assert_eq!(zeros + of("blk.0.ffn_up.weight") + of("blk.0.ssm_conv1d.weight"), (4096 + 4096 + 256) / 2);
}

#[test]
fn a_mask_is_found_again_under_the_names_of_a_converted_file() {
    let folder = Folder::new("gguf-converted-mask");
    let source = network(&folder, "llama");
    let pruned = folder.at("pruned");
    run(&["export", &source, "--set", "*=prune:0.5", "-o", &pruned]).done();
    // Zeros that tell the mask, in rows that are interleaved, and masks that are carried.
    for (i, scheme) in ["keep", "f16", "q8_0", "q4_0"].into_iter().enumerate() {
        let out = folder.at(&format!("out-{i}"));
        let step = if scheme == "keep" { String::new() } else { format!("+{scheme}") };
        let line = format!("*_proj*=mask:{pruned}{step}");
        run(&["export", &source, "--target", "gguf", "--set", &line, "-o", &out]).done();
        run(&["verify", &source, &out]).done();
    }
}

#[test]
fn a_folder_is_compared_with_the_file_that_it_became() {
    let folder = Folder::new("gguf-compare");
    let source = network(&folder, "llama");
    let out = folder.at("out");
    run(&["export", &source, "--target", "gguf", "-o", &out]).done();
    let names = |document: &serde_json::Value| document["tensors"].as_array().unwrap().len();
    for (a, b, name) in
        [(&source, &out, "model.layers.0.self_attn.q_proj.weight"), (&out, &source, "blk.0.attn_q.weight")]
    {
        let compared = run(&["compare", a, b, "--json"]).json();
        assert_eq!(names(&compared), 11, "{compared}");
        assert!(compared["only_a"].as_array().unwrap().is_empty() && compared["only_b"].as_array().unwrap().is_empty());
        assert!(compared["tensors"].as_array().unwrap().iter().all(|t| t["max_abs_difference"] == 0.0), "{compared}");
        assert_eq!(tensor(&compared, name)["cosine"], 1.0);
    }
    // And a mask is found the other way round, too: zeros of a folder for a file.
    let pruned = folder.at("pruned");
    run(&["export", &source, "--set", "*=prune:0.5", "-o", &pruned]).done();
    let line = format!("blk.*=mask:{pruned}");
    run(&["estimate", &out, "--set", &line, "--json"]).done();
    let masked = folder.at("masked");
    run(&["export", &out, "--set", &line, "-o", &masked]).done();
    let compared = run(&["compare", &pruned, &masked, "--json"]).json();
    let q = tensor(&compared, "model.layers.0.self_attn.q_proj.weight");
    assert_eq!((&q["mask_overlap"], &q["max_abs_difference"]), (&1.0.into(), &0.0.into()));
}

#[test]
fn what_llama_cpp_computes_itself_is_left_out() {
    let folder = Folder::new("gguf-left-out");
    let source = network(&folder, "llama");
    let weights = format!("{source}/model.safetensors");
    let extra = "model.layers.0.self_attn.rotary_emb.inv_freq";
    let bytes = fs::read(&weights).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut listed: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let end = bytes.len() - 8 - header;
    listed[extra] = serde_json::json!({"dtype": "F32", "shape": [4], "data_offsets": [end, end + 16]});
    let listed = listed.to_string();
    let data = [&bytes[8 + header..], &values(4, 0)].concat();
    fs::write(&weights, [&(listed.len() as u64).to_le_bytes(), listed.as_bytes(), &data].concat()).unwrap();

    let out = folder.at("out");
    let words = ["--target", "gguf", "--set", "*=q8_0", "--nearest", "--json"];
    let estimate = run(&[&["estimate", &source], &words[..]].concat()).json();
    let left = tensor(&estimate, extra);
    assert_eq!((&left["stored_as"], &left["bytes"]), (&"left out".into(), &0.into()));
    let exported = run(&[&["export", &source, "-o", &out], &words[..]].concat()).json();
    assert_eq!(exported["estimate"]["bytes"], estimate["bytes"]);
    run(&["verify", &source, &out]).done();
    let inside = run(&["inspect", &out, "--json"]).json();
    assert_eq!(inside["tensors"].as_array().unwrap().len(), 11);
    let touched = format!("{extra}=f16");
    run(&["estimate", &source, "--target", "gguf", "--set", &touched]).refused(1, "llama.cpp computes it itself");
}

#[test]
fn verify_sees_what_was_added_to_a_file() {
    let folder = Folder::new("gguf-added");
    let (path, out) = (model(&folder), folder.at("out.gguf"));
    run(&["export", &path, "--set", "*ffn*=q8_0", "--nearest", "-o", &out]).done();
    let whole = fs::read(&out).unwrap();
    let table = read_bytes(&whole, &Limits::default()).unwrap();
    let head = table.gguf.unwrap();
    let end = head.pairs.0.last().unwrap().place.end as usize;
    let pair = text_pair("general.author", "nobody");
    // One pair more, with padding that keeps the data where it is said to be.
    let infos = whole[end..head.data as usize].to_vec();
    let room = infos.iter().rev().take_while(|&&byte| byte == 0).count();
    let mut longer = [&whole[..end], &pair, &infos[..infos.len() - room]].concat();
    longer.resize(longer.len().next_multiple_of(32), 0);
    longer.extend(&whole[head.data as usize..]);
    longer[16..24].copy_from_slice(&(head.pairs.0.len() as u64 + 1).to_le_bytes());
    let added = folder.write("added.gguf", longer);
    let faulty = |file: &str, what: &str| {
        let said = run(&["verify", &path, file]);
        assert!(said.code == 1 && said.text().contains(what), "{}", said.text());
    };
    faulty(&added, "general.author");
    for (at, what) in [(head.data as usize - 1, "padding"), (whole.len() - 1, "output_norm.weight")] {
        let mut spoiled = whole.clone();
        spoiled[at] ^= 1;
        faulty(&folder.write("spoiled.gguf", spoiled), what);
    }
}

#[test]
fn a_mask_that_no_header_carries_is_refused_before_an_export() {
    let folder = Folder::new("gguf-large-mask");
    // A file with a hole: nobody reads its 600 million weights.
    let header = br#"{"w":{"dtype":"F16","shape":[20000,30000],"data_offsets":[0,1200000000]}}"#;
    let path = folder.write("large.safetensors", [&(header.len() as u64).to_le_bytes()[..], header].concat());
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(8 + header.len() as u64 + 1_200_000_000).unwrap();
    let line = format!("w=mask:{path}+int4:asym");
    run(&["estimate", &path, "--bytes-only", "--set", &line]).refused(1, "at most 67108864 fit");
}

#[test]
fn a_gguf_file_loses_what_its_folder_would() {
    let folder = Folder::new("gguf-removed");
    for kind in ["llama", "qwen2"] {
        let source = network(&folder, kind);
        let [whole, from_folder, from_file] = ["whole", "a", "b"].map(|name| folder.at(&format!("{kind}-{name}")));
        run(&["export", &source, "--target", "gguf", "-o", &whole]).done();
        let words = ["--set", "*attn*=heads:0.5", "-o"];
        let of_folder = ["export", &source, "--target", "gguf", "--set", "*mlp*=ffn:0.25"];
        run(&[&of_folder[..], &words, &[&from_folder]].concat()).done();
        run(&[&["export", &whole, "--set", "*ffn*=ffn:0.25"], &words[..], &[&from_file]].concat()).done();
        let compared = run(&["compare", &from_folder, &from_file, "--json"]).json();
        let tensors = compared["tensors"].as_array().unwrap();
        assert!(tensors.iter().all(|t| t["max_abs_difference"] == 0.0), "{compared}");
        run(&["verify", &whole, &from_file]).done();
        let inside = open(Path::new(&from_file), &OpenOptions::default()).unwrap();
        let pairs = &inside.gguf.as_ref().unwrap().pairs;
        let number = |key: &str| pairs.get(&format!("{kind}.{key}"));
        assert_eq!(number("feed_forward_length"), Some(&Value::Unsigned(48)));
        // llama.cpp's qwen2 has no heads of another size than the width shared by their number: its heads are zeroed.
        let heads = if kind == "llama" { 2 } else { 4 };
        assert_eq!(number("attention.head_count"), Some(&Value::Unsigned(heads)));
    }
}

#[test]
fn what_has_no_heads_or_units_takes_the_nearest_without_the_step() {
    let folder = Folder::new("gguf-idle-step");
    let source = network(&folder, "llama");
    // Rows of 32 are no blocks of 256: every matrix has a line of its own in the recipe inside.
    for (i, scheme) in ["heads:0.5+q4_k", "ffn:0.25+q6_k"].into_iter().enumerate() {
        let (line, out) = (format!("*={scheme}"), folder.at(&format!("out-{i}")));
        let words = ["--target", "gguf", "--nearest", "--set", &line, "--json"];
        let estimate = run(&[&["estimate", &source], &words[..]].concat()).json();
        let exported = run(&[&["export", &source, "-o", &out], &words[..]].concat()).json();
        assert_eq!(exported["estimate"]["bytes"], estimate["bytes"]);
        run(&["verify", &source, &out]).done();
    }
}

#[test]
fn a_file_is_compared_with_its_folder_whatever_that_is_stored_as() {
    let folder = Folder::new("gguf-compare-stored");
    let source = network(&folder, "llama");
    let [file, packed, coded] = ["file", "packed", "coded"].map(|name| folder.at(name));
    run(&["export", &source, "--target", "gguf", "-o", &file]).done();
    run(&["export", &source, "--target", "packed", "--set", "*=int8", "-o", &packed]).done();
    let line = "*_proj.weight=int8:row";
    run(&["export", &source, "--target", "compressed-tensors", "--set", line, "-o", &coded]).done();
    for other in [&packed, &coded] {
        let compared = run(&["compare", &file, other, "--json"]).json();
        assert!(compared["only_a"].as_array().unwrap().is_empty(), "{compared}");
        let q = tensor(&compared, "blk.0.attn_q.weight");
        assert!(q["t2"].as_f64().unwrap() < 1e-4 && q["cosine"].as_f64().unwrap() > 0.9999, "{q}");
    }
}

#[test]
fn heads_that_llama_cpp_cannot_be_told_of_are_zeroed() {
    let folder = Folder::new("gguf-heads");
    for (kind, rows) in [("qwen2", 32), ("llama", 16)] {
        let source = network(&folder, kind);
        let out = folder.at(&format!("{kind}-out"));
        let words = ["--target", "gguf", "--set", "*attn*=heads:0.5", "--json"];
        let estimate = run(&[&["estimate", &source], &words[..]].concat()).json();
        let q = tensor(&estimate, "model.layers.0.self_attn.q_proj.weight");
        assert_eq!(q["stored_shape"].get(0).or(q["shape"].get(0)).unwrap(), rows, "{q}");
        assert_eq!(q.to_string().contains("llama.cpp's qwen2"), kind == "qwen2", "{q}");
        run(&[&["export", &source, "-o", &out], &words[..]].concat()).done();
        run(&["verify", &source, &out]).done();
    }
}

#[test]
fn what_llama_cpp_computes_in_f32_is_left_alone() {
    let folder = Folder::new("gguf-f32");
    let path = model(&folder);
    for scheme in ["f16", "q8_0", "q4_k"] {
        for name in ["output_norm.weight", "blk.0.ssm_conv1d.weight"] {
            let line = format!("{name}={scheme}");
            run(&["estimate", &path, "--set", &line]).refused(1, "the nearest it can hold is keep");
        }
    }
    let nearest = run(&["estimate", &path, "--set", "output_norm.weight=q4_k", "--nearest", "--json"]).json();
    assert_eq!(tensor(&nearest, "output_norm.weight")["stored_as"], "keep");
    let all = run(&["estimate", &path, "--set", "*=f16", "--nearest", "--json"]).json();
    assert_eq!(tensor(&all, "blk.0.ssm_conv1d.weight")["stored_as"], "keep");
    assert_eq!(tensor(&all, "blk.0.ffn_up.weight")["stored_as"], "f16");
    let source = network(&folder, "llama");
    for scheme in ["f16", "q8_0"] {
        let line = format!("model.norm.weight={scheme}");
        run(&["estimate", &source, "--target", "gguf", "--set", &line]).refused(1, "norms and biases in F32");
    }
}
