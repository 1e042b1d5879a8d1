//! A GGUF model in the window: block types in place of grids, another target's mapping, and codes that are re-tuned on purpose.

use super::bench::{Bench, apply, bench_on, live, settle};
use super::command::Folder;
use super::window_compare::drop_file;
use egui::accesskit::Role;
use egui_kittest::kittest::Queryable;
use spokeshave::app::Command;
use spokeshave::formats::gguf::layout::{Listing, lay_out, prefix, text_pair};
use spokeshave::kernels::ggml::{BlockType, encode};
use spokeshave::model::{OpenOptions, open};
use spokeshave::session::trouble::Next;
use std::sync::Arc;

/// Weights that are spread like those of a layer: a fixed sequence without a period that shows.
fn weights(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i as f32 * 0.7).sin() + (i as f32 * 0.313).cos()) * 0.05).collect()
}

/// A file with matrices of these types and shapes.
fn write(path: &str, tensors: &[(&str, BlockType, [usize; 2])]) {
    let pair = text_pair("general.architecture", "llama");
    let listings: Vec<Listing<'_>> =
        tensors.iter().map(|(name, block_type, shape)| Listing { name, shape, block_type: *block_type }).collect();
    let layout = lay_out(pair.len() as u64, &listings, 32).expect("they can be listed");
    let mut file = [prefix(tensors.len() as u64, 1), pair, layout.infos].concat();
    file.resize(file.len() + layout.padding as usize, 0);
    let data = file.len();
    for ((_, block_type, [rows, cols]), offset) in tensors.iter().zip(layout.offsets) {
        file.resize(data + offset as usize, 0);
        let mut blocks = vec![0; block_type.bytes_of(rows * cols).expect("whole blocks")];
        encode(*block_type, &weights(rows * cols), &mut blocks).expect("a type that is written");
        file.extend(blocks);
    }
    file.resize(layout.len as usize, 0);
    std::fs::write(path, file).expect("the folder can be written to");
}

fn bench(folder: &Folder, tensors: &[(&str, BlockType, [usize; 2])]) -> Bench {
    let path = folder.at("model.gguf");
    write(&path, tensors);
    let model = open(path.as_ref(), &OpenOptions::default()).expect("it is a GGUF file");
    bench_on(Arc::new(model), [1440.0, 900.0], true)
}

const PLAIN: [(&str, BlockType, [usize; 2]); 2] =
    [("blk.0.ffn_down.weight", BlockType::F16, [64, 160]), ("blk.0.ffn_up.weight", BlockType::F16, [64, 256])];

fn scheme(bench: &Bench, index: usize) -> String {
    live(bench).scheme(index).to_string()
}

#[test]
fn quantizing_begins_with_the_target_s_own_type_that_fits() {
    let folder = Folder::new("window-gguf-types");
    let mut bench = bench(&folder, &PLAIN);
    assert_eq!(live(&bench).target().name(), "gguf");
    // Rows of 160 are no whole blocks of 256.
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    assert_eq!(scheme(&bench, 0), "q5_0");
    bench.get_by_label("layer blk.0.ffn_up.weight").click();
    settle(&mut bench);
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    assert_eq!(scheme(&bench, 1), "q4_k");
    let row = &live(&bench).rows[1];
    let estimate = row.estimate.as_ref().filter(|_| row.fresh).expect("the exact numbers have landed");
    assert_eq!(estimate.bytes(), 64 * 144);
    assert!(estimate.t2().is_some_and(|t2| t2 > 0.0 && t2 < 0.01));
    // Up on the dial of bits: the types in their order, then the dtype.
    for wanted in ["q5_k", "q6_k", "q8_0", "keep"] {
        bench.key_press(egui::Key::CloseBracket);
        settle(&mut bench);
        assert_eq!(scheme(&bench, 1), wanted);
    }
}

#[test]
fn another_target_asks_for_its_nearest_schemes() {
    let folder = Folder::new("window-gguf-mapping");
    let mut bench = bench(&folder, &PLAIN);
    bench.get_by_label("layer blk.0.ffn_up.weight").click();
    settle(&mut bench);
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    bench.get_by_role_and_label(Role::ComboBox, "target").click();
    bench.step();
    bench.step();
    bench.get_by_label("packed").click();
    settle(&mut bench);
    assert_eq!((live(&bench).target().name(), scheme(&bench, 1).as_str()), ("gguf", "q4_k"));
    bench.get_by_role_and_label(Role::Button, "Take the nearest").click();
    settle(&mut bench);
    assert_eq!((live(&bench).target().name(), scheme(&bench, 1).as_str()), ("packed", "int4:g32:asym"));
    bench.get_by_role_and_label(Role::Button, "Undo").click();
    settle(&mut bench);
    assert_eq!((live(&bench).target().name(), scheme(&bench, 1).as_str()), ("gguf", "q4_k"));
}

#[test]
fn what_is_quantized_is_re_tuned_on_purpose_only() {
    let folder = Folder::new("window-gguf-codes");
    let mut bench = bench(&folder, &[("blk.0.ffn_up.weight", BlockType::Q8_0, [64, 256])]);
    assert!(bench.query_by_role_and_label(Role::Switch, "Quantize").is_none(), "codes are kept");
    assert!(!live(&bench).model.tensors[0].is_touchable());
    assert!(bench.query_by_label("Compute uniform baseline").is_none(), "there is nothing to make one of");
    bench.get_by_role_and_label(Role::Button, "Lock layer").click();
    settle(&mut bench);
    bench.get_by_role_and_label(Role::Button, "Unlock layer").click();
    settle(&mut bench);
    bench.get_by_role_and_label(Role::Button, "Re-tune what is quantized").click();
    settle(&mut bench);
    assert!(live(&bench).recipe().requantize);
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    assert_eq!(scheme(&bench, 0), "q4_k");
    assert!(bench.get_all_by_label_contains("Second error").count() > 0, "the loss is told to be a second one");
    // What was done before the codes were opened is still taken back, and they stay open.
    let undo = |bench: &mut Bench| {
        bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
        settle(bench);
    };
    undo(&mut bench);
    undo(&mut bench);
    assert!(live(&bench).is_locked(0) && scheme(&bench, 0) == "keep");
    undo(&mut bench);
    assert!(!live(&bench).is_locked(0) && live(&bench).recipe().requantize);
    assert!(live(&bench).model.tensors[0].is_touchable());
}

#[test]
fn a_recipe_that_does_not_fit_opens_no_codes() {
    let folder = Folder::new("window-gguf-unfit");
    let mut bench = bench(&folder, &[("blk.0.ffn_up.weight", BlockType::Q8_0, [64, 256])]);
    let load = |bench: &mut Bench, text: &str| {
        let path = folder.write("recipe.toml", text);
        drop_file(bench, &path);
    };
    load(&mut bench, "version = 1\nrequantize = true\n\n[[override]]\ntensor = \"absent\"\nscheme = \"q4_k\"\n");
    assert!(!live(&bench).recipe().requantize && !live(&bench).model.tensors[0].is_touchable());
    load(&mut bench, "version = 1\nrequantize = true\n\n[[rule]]\nmatch = \"*\"\nscheme = \"q4_k\"\n");
    assert_eq!((live(&bench).recipe().requantize, scheme(&bench, 0).as_str()), (true, "q4_k"));
    // One that says nothing of codes leaves them open: that is the model's.
    load(&mut bench, "version = 1\n\n[[rule]]\nmatch = \"*\"\nscheme = \"q5_0\"\n");
    assert_eq!((live(&bench).recipe().requantize, scheme(&bench, 0).as_str()), (true, "q5_0"));
}

#[test]
fn nothing_takes_a_model_s_place_while_something_of_it_is_written() {
    let folder = Folder::new("window-gguf-written");
    let mut bench = bench(&folder, &[("blk.0.ffn_up.weight", BlockType::Q8_0, [64, 256])]);
    let recipe =
        folder.write("anew.toml", "version = 1\nrequantize = true\n\n[[rule]]\nmatch = \"*\"\nscheme = \"q4_k\"\n");
    let export = Command::Export { out: folder.at("out.gguf").into(), force: false };
    let report = Command::Report { out: folder.at("out.html").into(), force: false };
    for (work, words, file) in
        [(export, "An export of the open model", "out.gguf"), (report, "A report of the", "out.html")]
    {
        apply(&mut bench, work);
        let others = [
            Command::Requantize,
            Command::LoadRecipe(recipe.clone().into()),
            Command::Next(Next::OpenAgain),
            Command::Next(Next::ReadInPieces),
            Command::Open("demo".into()),
        ];
        for other in others {
            apply(&mut bench, other.clone());
            let live = live(&bench);
            assert!(live.being_written().is_some(), "{other:?} stopped it");
            assert!(
                !live.recipe().requantize && live.model.name == "model" && scheme(&bench, 0) == "keep",
                "{other:?}"
            );
        }
        bench.step();
        assert!(bench.query_all_by_label_contains(words).next().is_some(), "{words}");
        settle(&mut bench);
        assert!(folder.0.join(file).exists());
    }
    apply(&mut bench, Command::LoadRecipe(recipe.into()));
    assert_eq!((live(&bench).recipe().requantize, scheme(&bench, 0).as_str()), (true, "q4_k"));
}

#[test]
fn an_export_is_named_by_its_target_and_the_baseline_by_its_types() {
    let folder = Folder::new("window-gguf-names");
    let mut bench = bench(&folder, &[("blk.0.ffn_up.weight", BlockType::F16, [256, 256])]);
    let labels: Vec<String> = live(&bench).baseline.iter().map(|point| point.label.clone()).collect();
    assert_eq!(labels, ["q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k"]);
    bench.get_by_label("Export…").click();
    settle(&mut bench);
    let path = bench.get_by_role_and_label(Role::TextInput, "Export path").value();
    assert_eq!(path.as_deref(), Some("model-spokeshave.gguf"));
}

#[test]
fn a_baseline_of_several_types_is_named_by_its_bits() {
    let folder = Folder::new("window-gguf-mixture");
    let bench = bench(&folder, &PLAIN);
    let labels: Vec<&str> = live(&bench).baseline.iter().map(|point| point.label.as_str()).collect();
    // Rows of 160 are no whole blocks of 256: q8_0 for both, then mixtures.
    assert_eq!((labels.len(), labels[0]), (6, "q8_0"));
    let bits: Vec<f64> = labels[1..].iter().map(|label| label.trim_end_matches(" b").parse().unwrap()).collect();
    assert!(bits.windows(2).all(|pair| pair[0] >= pair[1]) && bits[0] < 8.6, "{labels:?}");
}
