//! The window as its user meets it: every control found by its accessible name, every number watched as it changes.

use super::bench::{Bench, bench_on, demo, live, settle};
use egui::accesskit::Role;
use egui_kittest::kittest::Queryable;
use spokeshave::model::{OpenOptions, open};
use spokeshave::session::live::Outcome;
use std::path::PathBuf;
use std::sync::Arc;

fn accuracy(bench: &Bench) -> f64 {
    live(bench).measured.as_ref().expect("the demo is measured").accuracy.percent()
}

fn bytes(bench: &Bench) -> u64 {
    live(bench).totals.as_ref().expect("all rows are known").bytes
}

fn scheme(bench: &Bench, tensor: &str) -> String {
    let live = live(bench);
    live.scheme(live.model.find(tensor).expect("the demo has this tensor")).to_string()
}

fn temporary(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("spokeshave-window-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    folder.join(name)
}

#[test]
fn a_newcomer_prunes_a_layer_until_accuracy_falls_and_brings_it_back() {
    let mut bench = demo();
    let (before, whole) = (bytes(&bench), accuracy(&bench));
    assert!(whole > 98.3, "{whole}");
    bench.get_by_role_and_label(Role::Switch, "Prune").click();
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc1.weight"), "prune:0.5");
    assert!(bytes(&bench) < before, "a mask saves bytes at once");
    bench.get_by_label("Pruned share").focus();
    bench.step();
    for _ in 0..9 {
        bench.key_press_modifiers(egui::Modifiers::SHIFT, egui::Key::ArrowRight);
        bench.step();
    }
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc1.weight"), "prune:0.95");
    assert!(accuracy(&bench) < whole - 5.0, "most of the layer is gone: {}", accuracy(&bench));
    while live(&bench).history().depth() > 0 {
        bench.get_by_label("Undo").click();
        settle(&mut bench);
    }
    assert_eq!(scheme(&bench, "fc1.weight"), "keep");
    assert_eq!(bytes(&bench), before);
    assert!((accuracy(&bench) - whole).abs() < 1e-9);
}

#[test]
fn dragging_the_threshold_is_one_step_of_undo_and_moves_every_number() {
    let mut bench = demo();
    let handle = bench.get_by_label("Prune threshold").rect().center();
    bench.drag_at(handle);
    bench.step();
    for dx in [10.0, 25.0, 40.0] {
        bench.hover_at(handle + egui::vec2(dx, 0.0));
        bench.step();
    }
    bench.drop_at(handle + egui::vec2(40.0, 0.0));
    settle(&mut bench);
    let share = live(&bench).scheme(1).pruned_share();
    let share = share.expect("the drag pruned").to_f64();
    assert!((0.2..0.95).contains(&share), "{share}");
    assert_eq!(live(&bench).history().depth(), 1);
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc1.weight"), "keep");
    bench.key_press_modifiers(egui::Modifiers::COMMAND.plus(egui::Modifiers::SHIFT), egui::Key::Z);
    settle(&mut bench);
    assert_ne!(scheme(&bench, "fc1.weight"), "keep");
}

#[test]
fn escape_takes_a_drag_back_while_the_hand_still_holds_it() {
    let mut bench = demo();
    let handle = bench.get_by_label("Prune threshold").rect().center();
    bench.drag_at(handle);
    bench.step();
    bench.hover_at(handle + egui::vec2(40.0, 0.0));
    bench.step();
    bench.step();
    assert_ne!(scheme(&bench, "fc1.weight"), "keep");
    bench.key_press(egui::Key::Escape);
    bench.step();
    bench.step();
    assert_eq!(scheme(&bench, "fc1.weight"), "keep");
    bench.hover_at(handle + egui::vec2(60.0, 0.0));
    bench.step();
    bench.drop_at(handle + egui::vec2(60.0, 0.0));
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc1.weight"), "keep");
    assert_eq!(live(&bench).history().depth(), 0);
}

#[test]
fn the_clip_line_is_dragged_in_and_out_again() {
    let mut bench = demo();
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    assert!(bench.query_by_label("Clip range").is_some(), "a symmetric grid has clip lines");
    let full = bench.get_by_label("Clip range").rect().center();
    let drag = |bench: &mut Bench, by: f32| {
        let handle = bench.get_by_label("Clip range").rect().center();
        bench.drag_at(handle);
        bench.step();
        for part in [0.3, 0.6, 1.0] {
            bench.hover_at(handle + egui::vec2(by * part, 0.0));
            bench.step();
        }
        bench.drop_at(handle + egui::vec2(by, 0.0));
        settle(bench);
    };
    drag(&mut bench, -60.0);
    let clipped = scheme(&bench, "fc1.weight");
    assert!(clipped.starts_with("int4:row:p9"), "{clipped}");
    let moved = bench.get_by_label("Clip range").rect().center();
    assert!((full.x - 60.0 - moved.x).abs() < 6.0, "the line stays where the hand left it: {full} {moved}");
    assert!(bench.query_by_label("Clip percentile").is_some());
    let row = &live(&bench).rows[live(&bench).model.find("fc1.weight").expect("it is there")];
    let errors = row.estimate.as_ref().and_then(|e| e.errors.as_ref()).expect("it is estimated");
    assert!(errors.clipped_error > 0.0 && errors.clipped_error < errors.squared_error);
    assert_eq!(live(&bench).history().depth(), 2);
    drag(&mut bench, 200.0);
    assert_eq!(scheme(&bench, "fc1.weight"), "int4:row");
    bench.get_by_label("Range: searched").click();
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc1.weight"), "int4:row:mse");
    bench.get_by_role_and_label(Role::Switch, "Symmetric").click();
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc1.weight"), "int4:row:asym:mse");
    assert!(bench.query_by_label("Clip range").is_none());
}

#[test]
fn four_bits_for_another_layer_by_switch_segment_and_typed_scheme() {
    let mut bench = demo();
    bench.get_by_label("layer fc2.weight").click();
    settle(&mut bench);
    let before = bytes(&bench);
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc2.weight"), "int4:row");
    assert!(bytes(&bench) < before);
    bench.get_by_label("Scale group: 64").click();
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc2.weight"), "int4:g64");
    bench.get_by_role_and_label(Role::Switch, "Symmetric").click();
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc2.weight"), "int4:g64:asym");
    let field = bench.get_by_label("Scheme as text");
    field.focus();
    bench.step();
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    bench.get_by_label("Scheme as text").type_text("prune:0.25:row+int3:tensor");
    bench.step();
    bench.key_press(egui::Key::Enter);
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc2.weight"), "prune:0.25:row+int3:tensor");
    assert_eq!(scheme(&bench, "fc1.weight"), "keep");
}

#[test]
fn a_scheme_goes_to_all_layers_and_a_lock_holds() {
    let mut bench = demo();
    bench.get_by_label("layer fc3.weight").click();
    bench.step();
    bench.get_by_label("Lock layer").click();
    settle(&mut bench);
    bench.get_by_label("layer fc1.weight").click();
    bench.step();
    bench.get_by_label("Apply to: all ×3").click();
    bench.step();
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    let schemes = ["fc1.weight", "fc2.weight", "fc3.weight", "fc1.bias"].map(|t| scheme(&bench, t));
    assert_eq!(schemes, ["int4:row", "int4:row", "keep", "keep"]);
}

#[test]
fn the_target_changes_what_is_stored_and_says_what_saves_nothing() {
    let mut bench = demo();
    bench.get_by_role_and_label(Role::Switch, "Prune").click();
    settle(&mut bench);
    let packed = bytes(&bench);
    bench.get_by_label("target").click();
    bench.step();
    bench.step();
    bench.get_by_label("safetensors").click();
    settle(&mut bench);
    assert!(bytes(&bench) > packed, "the dense target stores every zero");
    assert_eq!(live(&bench).target().name(), "safetensors");
}

#[test]
fn an_export_is_written_reopened_and_reported() {
    let mut bench = demo();
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    let promised = bytes(&bench);
    let out = temporary("export.spk");
    bench.get_by_label("Export…").click();
    settle(&mut bench);
    bench.get_by_label("Export path").focus();
    bench.step();
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    bench.get_by_label("Export path").type_text(&out.display().to_string());
    bench.step();
    bench.step();
    bench.get_by_label("Write file").click();
    settle(&mut bench);
    match &live(&bench).outcome {
        Some(Outcome::Done(artifact)) => assert!(artifact.verification.ok()),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::metadata(&out).expect("it is there").len(), promised);
    std::fs::remove_file(&out).expect("it can go again");
}

#[test]
fn a_bad_file_is_a_sentence_and_the_window_lives() {
    let mut bench = demo();
    let bad = temporary("page.safetensors");
    std::fs::write(&bad, b"<!DOCTYPE html><html><body>sign in</body></html>").expect("a small file");
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::O);
    bench.step();
    bench.step();
    bench.get_by_label("Path of the model").focus();
    bench.step();
    bench.get_by_label("Path of the model").type_text(&bad.display().to_string());
    bench.step();
    bench.get_by_label("Open").click();
    bench.step();
    bench.step();
    assert!(bench.query_all_by_label_contains("HTML page").count() > 0, "the reason is on screen");
    assert_eq!(live(&bench).model.name, "LeNet-300-100");
    bench.get_by_label("Cancel").click();
    settle(&mut bench);
    std::fs::remove_file(&bad).expect("it can go again");
}

#[test]
fn rows_are_filtered_and_walked_with_the_keyboard() {
    let mut bench = demo();
    bench.key_press(egui::Key::ArrowDown);
    bench.step();
    bench.key_press(egui::Key::ArrowDown);
    settle(&mut bench);
    assert!(bench.query_by_label("fc2.weight").is_some(), "the selected layer's name stands over its plot");
    bench.get_by_label("Filter layers").focus();
    bench.step();
    bench.get_by_label("Filter layers").type_text("*bias");
    bench.step();
    bench.step();
    assert!(bench.query_by_label("layer fc1.bias").is_some());
    assert!(bench.query_by_label("layer fc1.weight").is_none());
}

#[test]
fn undo_in_a_field_takes_back_what_was_typed_there_and_no_scheme() {
    let mut bench = demo();
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    let quantized = scheme(&bench, "fc1.weight");
    assert_ne!(quantized, "keep");
    bench.get_by_label("Filter layers").focus();
    bench.step();
    bench.get_by_label("Filter layers").type_text("fc");
    bench.step();
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc1.weight"), quantized);
    // Out of the field it is the recipe's again.
    bench.key_press(egui::Key::Escape);
    bench.step();
    bench.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc1.weight"), "keep");
}

#[test]
fn a_model_of_hundreds_of_tensors_with_every_odd_shape_opens_and_draws() {
    let path = temporary("many.safetensors");
    std::fs::write(&path, many_tensors()).expect("a small file");
    let model = open(&path, &OpenOptions::default()).expect("it is legal");
    let mut bench = bench_on(Arc::new(model), [1280.0, 800.0], false);
    for _ in 0..40 {
        bench.key_press(egui::Key::ArrowDown);
        bench.step();
    }
    settle(&mut bench);
    assert!(bench.query_all_by_label_contains("layer model.layers.").count() > 10);
    assert_eq!(live(&bench).baseline.len(), 6, "a tensor with NaN inside does not stop the baseline");
    std::fs::remove_file(&path).expect("it can go again");
}

/// A file of some hundred tensors: blocks of a transformer, a scalar, an empty one, integers, NaN, all zeros.
fn many_tensors() -> Vec<u8> {
    let mut listed: Vec<(String, &str, Vec<usize>, Vec<u8>)> = Vec::new();
    let floats = |n: usize, seed: usize| -> Vec<u8> {
        (0..n).flat_map(|i| (((i * 7919 + seed * 31) % 2003) as f32 / 1000.0 - 1.0).to_le_bytes()).collect()
    };
    for block in 0..24 {
        for part in ["self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj", "mlp.down_proj"] {
            let name = format!("model.layers.{block}.{part}.weight");
            listed.push((name, "F32", vec![16, 40], floats(640, block)));
        }
        listed.push((format!("model.layers.{block}.input_layernorm.weight"), "F32", vec![16], floats(16, block)));
    }
    listed.push(("empty.weight".into(), "F32", vec![0, 4], Vec::new()));
    listed.push(("scalar".into(), "F32", vec![], floats(1, 3)));
    listed.push(("steps".into(), "I64", vec![2], vec![1; 16]));
    listed.push(("zero.weight".into(), "F32", vec![4, 4], vec![0; 64]));
    listed.push(("strange.weight".into(), "F32", vec![1, 2], [f32::NAN, f32::INFINITY].map(f32::to_le_bytes).concat()));
    let (mut header, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in listed {
        let (begin, end) = (data.len(), data.len() + bytes.len());
        header.push(format!("{name:?}:{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{begin},{end}]}}"));
        data.extend(bytes);
    }
    let header = format!("{{{}}}", header.join(","));
    [(header.len() as u64).to_le_bytes().to_vec(), header.into_bytes(), data].concat()
}
