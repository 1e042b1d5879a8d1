//! Masks from the command line: taken over, written alone, and an earlier checkpoint under them; and recipes that have a name.

use super::command::*;
use serde_json::Value;

/// A made-up network in two states: the same names and shapes, other weights.
fn checkpoint(folder: &Folder, name: &str, turn: f32) -> String {
    let weights = |n: usize, at: f32| -> Vec<f32> { (0..n).map(|i| ((i as f32 + at) * turn).sin()).collect() };
    let tensors = [
        ("body.bias", "F32", &[12_usize][..], floats(&weights(12, 9.0))),
        ("body.weight", "F32", &[12, 40], floats(&weights(480, 1.0))),
        ("head.weight", "F32", &[5, 12], floats(&weights(60, 2.0))),
    ];
    folder.write(name, safetensors(&tensors))
}

fn zeros(document: &Value, name: &str) -> u64 {
    tensor(document, name)["zeros"].as_u64().expect("a count")
}

#[test]
fn a_ticket_is_the_start_under_the_end_s_mask_and_makes_itself_again() {
    let folder = Folder::new("ticket");
    let (start, end) = (checkpoint(&folder, "start.safetensors", 0.37), checkpoint(&folder, "end.safetensors", 0.91));
    let (out, again) = (folder.at("ticket.spk"), folder.at("again.spk"));
    let words = ["--set", "*=prune:0.75+int4", "--target", "packed", "--rewind", &start, "-o", &out, "--json"];
    let report = run(&[&["export", &end][..], &words].concat()).json();
    assert_eq!(tensor(&report["estimate"], "body.weight")["scheme"], "mask:embedded");
    assert_eq!((zeros(&report["estimate"], "body.weight"), zeros(&report["estimate"], "body.bias")), (360, 0));
    assert_eq!(run(&["verify", &start, &out, "--json"]).json()["ok"], true);
    assert_eq!(run(&["verify", &end, &out]).code, 1, "it is no artifact of the trained network");
    run(&["export", &start, "--recipe", &out, "-o", &again]).done();
    assert_eq!(folder.read("ticket.spk"), folder.read("again.spk"));
    // Against the pruned network itself: the same zeros.
    let pruned = folder.at("pruned.safetensors");
    run(&["export", &end, "--set", "*=prune:0.75", "-o", &pruned]).done();
    let compared = run(&["compare", &pruned, &out, "--json"]).json();
    assert_eq!(
        (&compared["mask_overlap"], &tensor(&compared, "head.weight")["mask_overlap"]),
        (&1.0.into(), &1.0.into())
    );
    assert!(folder.names().iter().all(|name| !name.starts_with(".spokeshave")), "{:?}", folder.names());
}

#[test]
fn a_mask_counts_before_the_exact_pass_too() {
    let folder = Folder::new("mask-live");
    let (start, end) = (checkpoint(&folder, "start.safetensors", 0.37), checkpoint(&folder, "end.safetensors", 0.91));
    let mask = folder.at("mask.safetensors");
    run(&["export", &end, "--set", "*=prune:0.75", "--mask-only", "-o", &mask]).done();
    for scheme in [format!("mask:{mask}"), format!("mask:{mask}+int4"), format!("mask:{mask}+codebook:8")] {
        let setting = format!("*={scheme}");
        let words = ["estimate", &start, "--set", &setting, "--target", "packed", "--json"];
        let (exact, live) = (run(&words).json(), run(&[&words[..], &["--live"]].concat()).json());
        assert!(zeros(&exact, "body.weight") >= 360);
        assert_eq!(live, exact, "{scheme}");
    }
}

#[test]
fn what_cannot_be_rewound_or_masked_is_refused() {
    let folder = Folder::new("unmasked");
    let (start, end) = (checkpoint(&folder, "start.safetensors", 0.37), checkpoint(&folder, "end.safetensors", 0.91));
    let other = folder.write("other.safetensors", safetensors(&[("body.weight", "F32", &[12, 4], floats(&[1.0; 48]))]));
    let out = folder.at("out.safetensors");
    let export = |words: &[&str]| run(&[&["export", &end, "-o", &out][..], words].concat());
    export(&["--set", "*=prune:0.5", "--rewind", &other]).refused(1, "is missing");
    export(&["--set", "*=int4", "--rewind", &start]).refused(1, "prunes nothing");
    export(&["--set", "*=int4", "--mask-only"]).refused(1, "prunes nothing");
    export(&["--set", "*=rows:0.5", "--mask-only"]).refused(1, "takes whole parts out");
    export(&["--set", "*=prune:0.5", "--mask-only", "--rewind", &start]).refused(2, "--rewind");
    export(&["--set", &format!("body.weight=mask:{other}")]).refused(1, "[12, 4]");
    export(&["--set", &format!("head.weight=mask:{other}")]).refused(1, "head.weight");
    assert_eq!(folder.names().len(), 3);
    let onto_source = ["export", &end, "--set", "*=prune:0.5", "--mask-only", "--force", "-o"];
    run(&[&onto_source[..], &[&end]].concat()).refused(1, "of the model that is being read");
    run(&[&onto_source[..], &[&folder.at("")]].concat()).refused(1, "is a folder");
}

/// A file by a way around, under its own name, under a second one, and by a link.
#[cfg(unix)]
fn disguises(folder: &Folder, name: &str) -> Vec<String> {
    let (path, hard, soft) = (folder.at(name), folder.at(&format!("hard-{name}")), folder.at(&format!("soft-{name}")));
    std::fs::hard_link(&path, &hard).expect("a second name");
    std::os::unix::fs::symlink(name, &soft).expect("a link");
    std::fs::create_dir_all(folder.at("deep")).expect("a folder");
    vec![folder.at(&format!("deep/../{name}")), path, hard, soft]
}

#[cfg(unix)]
#[test]
fn what_a_command_reads_is_never_what_it_writes() {
    let folder = Folder::new("inputs");
    let (start, end) = (checkpoint(&folder, "start.safetensors", 0.37), checkpoint(&folder, "end.safetensors", 0.91));
    let mask = folder.at("mask.safetensors");
    run(&["export", &end, "--set", "*=prune:0.5", "--mask-only", "-o", &mask]).done();
    let names = ["start.safetensors", "end.safetensors", "mask.safetensors"];
    let before = names.map(|name| folder.read(name));
    let taken = format!("*=mask:{mask}");
    for out in disguises(&folder, "mask.safetensors") {
        for more in [&["--target", "packed"][..], &["--mask-only"], &["--rewind", &start]] {
            let words = [&["export", &end, "--set", &taken, "-o", &out, "--force"][..], more].concat();
            run(&words).refused(1, "read by this very command");
        }
    }
    for out in [disguises(&folder, "start.safetensors"), disguises(&folder, "end.safetensors")].concat() {
        let words = ["export", &end, "--set", "*=prune:0.5", "--rewind", &start, "-o", &out, "--force"];
        run(&words).refused(1, "of the model that is being read");
    }
    assert_eq!(names.map(|name| folder.read(name)), before);
}

#[cfg(unix)]
#[test]
fn folders_with_what_is_read_and_what_is_no_file_are_no_place_for_an_export() {
    let folder = Folder::new("places");
    let model = checkpoint(&folder, "end.safetensors", 0.91);
    let (hf, out) = (folder.at("hf"), folder.at("out"));
    std::fs::create_dir(&hf).expect("a folder");
    std::fs::copy(&model, folder.at("hf/model.safetensors")).expect("a copy");
    run(&["export", &hf, "--set", "*=prune:0.5", "-o", &out]).done();
    let inside = folder.at("out/model.safetensors");
    let before = folder.read("out/model.safetensors");
    for (mask, told) in [(&out, "very command"), (&inside, "which is being read")] {
        let taken = format!("*=mask:{mask}");
        run(&["export", &hf, "--set", &taken, "-o", &out, "--force"]).refused(1, told);
        run(&["export", &model, "--set", &taken, "-o", &inside, "--force"]).refused(1, "very command");
    }
    // The trained network is an artifact in the folder that the rewound one would replace.
    let words = ["export", &inside, "--set", "*=prune:0.5", "--rewind", &hf, "-o", &out, "--force"];
    run(&words).refused(1, "which is being read");
    assert_eq!(folder.read("out/model.safetensors"), before);
    let masks = ["export", &hf, "--set", "*=prune:0.5", "--mask-only", "--force", "-o"];
    run(&[&masks[..], &[&folder.at("hf/mask.safetensors")]].concat()).refused(1, "inside the folder");
    let socket = folder.at("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    run(&[&masks[..], &[&socket]].concat()).refused(1, "not a file");
    let preset = ["preset", "uniform", "demo", "--share", "0.5", "--force", "-o", &socket];
    run(&preset).refused(1, "not a file");
    assert!(std::fs::symlink_metadata(&socket).is_ok_and(|metadata| !metadata.is_file()));
}

#[test]
fn presets_are_recipes_that_hold() {
    let folder = Folder::new("presets");
    for (words, scheme) in [
        (&["uniform", "demo", "--share", "0.9"][..], "prune:0.9"),
        (&["renda", "demo", "--round", "8"], "prune:0.83222784:global"),
        (&["lottery-ticket", "demo", "--round", "1"], "prune:0.2"),
        (&["deep-compression", "demo"], "prune:0.92+codebook:64"),
        (&["q8bert", "demo"], "int8:tensor"),
    ] {
        let out = folder.at("recipe.toml");
        let made = run(&[&["preset"][..], words, &["-o", &out, "--force", "--json"]].concat()).json();
        assert_eq!(made["recipe"], String::from_utf8(folder.read("recipe.toml")).unwrap());
        assert_eq!(tensor(&made, "fc1.weight")["scheme"], scheme, "{words:?}");
        let estimate = run(&["estimate", "demo", "--recipe", &out, "--json"]).json();
        assert_eq!(tensor(&estimate, "fc1.weight")["scheme"], scheme);
    }
    let output = run(&["preset", "lottery-ticket", "demo", "--round", "1", "--json"]).json();
    assert_eq!(tensor(&output, "fc3.weight")["scheme"], "prune:0.1");
    run(&["preset", "ternarybert", "demo"]).refused(1, "no attention");
    run(&["preset", "lamp", "demo"]).refused(1, "--share");
    run(&["preset", "renda", "demo", "--share", "0.5"]).refused(1, "--round");
    run(&["preset", "erk", "demo", "--share", "50%"]).refused(2, "--share");
    let kept = folder.write("kept.toml", "version = 1\n");
    run(&["preset", "erk", "demo", "--share", "0.5", "-o", &kept]).refused(1, "exists");
    assert!(run(&["completions", "bash"]).done().text().contains("lottery-ticket"));
}

/// Rows longer than a chunk, and not a multiple of anything.
const LONG: usize = 70_001;

/// What a scheme leaves of two long rows, as the dense target has it.
fn left_of_long_rows(folder: &Folder, weights: &[f32], scheme: &str) -> Vec<f32> {
    let source = folder.write("long.safetensors", safetensors(&[("w.weight", "F32", &[2, LONG], floats(weights))]));
    let out = folder.at("out.safetensors");
    run(&["export", &source, "--set", &format!("*={scheme}"), "-o", &out, "--force"]).done();
    let file = folder.read("out.safetensors");
    let payload = &file[file.len() - 4 * weights.len()..];
    payload.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn chunks_cut_through_groups_and_blocks_and_nothing_shows() {
    let folder = Folder::new("long-rows");
    let weights: Vec<f32> = (0..2 * LONG).map(|i| ((i as f32 * 0.7).sin() * 16.0).round() / 16.0).collect();
    let by_magnitude = |values: &[f32], at: &[usize]| {
        let mut order = at.to_vec();
        order.sort_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()).then(a.cmp(&b)));
        order
    };
    // 3 of 7: 65,536 is no multiple of 7, and the last group of a row has one element.
    let mut wanted = weights.clone();
    for row in 0..2 {
        for start in (0..LONG).step_by(7) {
            let group: Vec<usize> = (start..(start + 7).min(LONG)).map(|col| row * LONG + col).collect();
            let gone = group.len() - (3 * group.len()).div_ceil(7);
            by_magnitude(&weights, &group)[..gone]
                .iter()
                .for_each(|&i| wanted[i] = if wanted[i] == 0.0 { wanted[i] } else { 0.0 });
        }
    }
    assert!(left_of_long_rows(&folder, &weights, "nm:3:7") == wanted);
    // Blocks of 2 × 5: sixteenths square to exact sums, so ties are ties.
    let mut blocks: Vec<(f64, Vec<usize>)> = Vec::new();
    for start in (0..LONG).step_by(5) {
        let cols = start..(start + 5).min(LONG);
        let inside: Vec<usize> = (0..2).flat_map(|row| cols.clone().map(move |col| row * LONG + col)).collect();
        blocks.push((inside.iter().map(|&i| f64::from(weights[i]).powi(2)).sum(), inside));
    }
    let k = (0.4 * blocks.len() as f64 + 0.5) as usize;
    blocks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut wanted = weights.clone();
    blocks[..k]
        .iter()
        .flat_map(|(_, inside)| inside)
        .for_each(|&i| wanted[i] = if wanted[i] == 0.0 { wanted[i] } else { 0.0 });
    assert!(left_of_long_rows(&folder, &weights, "block:2x5:0.4") == wanted);
    assert!(left_of_long_rows(&folder, &weights, "block:9x99999:1").iter().all(|&w| w == 0.0));
    let left = left_of_long_rows(&folder, &weights, "random:0.25:3");
    let before = weights.iter().filter(|&&w| w != 0.0).count() as f64;
    let after = left.iter().filter(|&&w| w != 0.0).count() as f64;
    assert!((after / before - 0.75).abs() < 0.01 && left.iter().zip(&weights).all(|(l, w)| *l == 0.0 || l == w));
}
