//! The layer table under the hand: bits and kept share dragged, rolled and typed in their rows, one row or many.

use super::bench::{Bench, bench_on, demo, live, settle};
use egui::accesskit::Role;
use egui::{Event, Key, Modifiers, MouseWheelUnit, Pos2, vec2};
use egui_kittest::kittest::Queryable;
use spokeshave::model::{OpenOptions, open};
use std::fmt::Write;
use std::sync::Arc;

fn scheme(bench: &Bench, tensor: &str) -> String {
    let live = live(bench);
    live.scheme(live.model.find(tensor).expect("the model has this tensor")).to_string()
}

fn schemes<const N: usize>(bench: &Bench, tensors: [&str; N]) -> [String; N] {
    tensors.map(|tensor| scheme(bench, tensor))
}

const WEIGHTS: [&str; 3] = ["fc1.weight", "fc2.weight", "fc3.weight"];

fn bits(bench: &Bench, tensor: &str) -> Pos2 {
    bench.get_by_role_and_label(Role::SpinButton, &format!("Bits of layer {tensor}")).rect().center()
}

fn kept(bench: &Bench, tensor: &str) -> Pos2 {
    bench.get_by_role_and_label(Role::SpinButton, &format!("Kept share of layer {tensor}")).rect().center()
}

/// Presses at a place and moves up so many points, in some frames; the button stays down.
fn drag_up(bench: &mut Bench, at: Pos2, points: f32) {
    bench.drag_at(at);
    bench.step();
    for part in [0.4, 0.7, 1.0] {
        bench.hover_at(at - vec2(0.0, part * points));
        bench.step();
    }
    bench.step();
}

fn drop_up(bench: &mut Bench, at: Pos2, points: f32) {
    bench.drop_at(at - vec2(0.0, points));
    settle(bench);
}

/// One click of the wheel.
fn roll(bench: &mut Bench, up: f32, modifiers: Modifiers) {
    let (unit, phase, delta) = (MouseWheelUnit::Line, egui::TouchPhase::Move, vec2(0.0, up));
    bench.event(Event::MouseWheel { unit, delta, phase, modifiers, source: egui::MouseWheelSource::Unknown });
    bench.step();
}

/// A pause that ends a run of the wheel or of keys.
fn pause(bench: &mut Bench) {
    bench.run_steps(6);
}

fn select_also(bench: &mut Bench, tensor: &str) {
    bench.get_by_label(&format!("layer {tensor}")).click_modifiers(Modifiers::COMMAND);
    bench.step();
    bench.step();
}

fn undo(bench: &mut Bench) {
    bench.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    settle(bench);
}

#[test]
fn bits_are_dragged_in_their_row_and_one_drag_is_one_step() {
    let mut bench = demo();
    let at = bits(&bench, "fc2.weight");
    // Six points are slack, ten are a step: from f32 over 8 down to 4.
    drag_up(&mut bench, at, -57.0);
    drop_up(&mut bench, at, -57.0);
    assert_eq!(schemes(&bench, WEIGHTS), ["keep", "int4:row", "keep"]);
    assert_eq!(live(&bench).history().depth(), 1);
    assert!(bench.query_by_label("fc2.weight").is_some(), "the row under the hand is the one that is shown");
    undo(&mut bench);
    assert_eq!(scheme(&bench, "fc2.weight"), "keep");
}

#[test]
fn a_dial_taken_over_its_end_and_back_keeps_unit_and_scope() {
    let mut bench = demo();
    bench.get_by_label("Scheme as text").focus();
    bench.step();
    bench.key_press_modifiers(Modifiers::COMMAND, Key::A);
    bench.get_by_label("Scheme as text").type_text("prune:0.05:row+int7:g64:asym");
    bench.step();
    bench.key_press(Key::Enter);
    settle(&mut bench);
    let at = bits(&bench, "fc1.weight");
    drag_up(&mut bench, at, 60.0);
    assert_eq!(scheme(&bench, "fc1.weight"), "prune:0.05:row");
    bench.hover_at(at - vec2(0.0, -18.0));
    bench.step();
    bench.step();
    drop_up(&mut bench, at, -18.0);
    assert_eq!(scheme(&bench, "fc1.weight"), "prune:0.05:row+int6:g64:asym");
    let at = kept(&bench, "fc1.weight");
    drag_up(&mut bench, at, 40.0);
    assert_eq!(scheme(&bench, "fc1.weight"), "int6:g64:asym");
    bench.hover_at(at - vec2(0.0, -21.0));
    bench.step();
    bench.step();
    drop_up(&mut bench, at, -21.0);
    assert_eq!(scheme(&bench, "fc1.weight"), "prune:0.2:row+int6:g64:asym");
    assert_eq!(live(&bench).history().depth(), 3);
}

#[test]
fn escape_takes_the_drag_of_a_dial_back() {
    let mut bench = demo();
    let at = kept(&bench, "fc1.weight");
    drag_up(&mut bench, at, -46.0);
    assert_eq!(scheme(&bench, "fc1.weight"), "prune:0.4");
    bench.key_press(Key::Escape);
    bench.step();
    bench.step();
    assert_eq!(scheme(&bench, "fc1.weight"), "keep");
    bench.hover_at(at - vec2(0.0, -80.0));
    bench.step();
    drop_up(&mut bench, at, -80.0);
    assert_eq!(scheme(&bench, "fc1.weight"), "keep");
    assert_eq!(live(&bench).history().depth(), 0);
}

#[test]
fn the_wheel_over_a_dial_turns_it_and_a_run_is_one_step() {
    let mut bench = demo();
    bench.hover_at(kept(&bench, "fc2.weight"));
    bench.step();
    for _ in 0..3 {
        roll(&mut bench, -1.0, Modifiers::NONE);
    }
    settle(&mut bench);
    assert_eq!(schemes(&bench, WEIGHTS), ["keep", "prune:0.03", "keep"]);
    assert_eq!(live(&bench).history().depth(), 1);
    pause(&mut bench);
    roll(&mut bench, -1.0, Modifiers::SHIFT);
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc2.weight"), "prune:0.13");
    assert_eq!(live(&bench).history().depth(), 2);
    pause(&mut bench);
    bench.hover_at(bits(&bench, "fc2.weight"));
    bench.step();
    roll(&mut bench, -2.0, Modifiers::NONE);
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc2.weight"), "prune:0.13+int7:row");
    for expected in ["prune:0.13", "prune:0.03", "keep"] {
        undo(&mut bench);
        assert_eq!(scheme(&bench, "fc2.weight"), expected);
    }
    // What was taken back is not rolled on from.
    roll(&mut bench, -1.0, Modifiers::NONE);
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc2.weight"), "int8:row");
}

#[test]
fn several_rows_are_turned_together_and_keep_their_own_other_parts() {
    let mut bench = demo();
    bench.hover_at(kept(&bench, "fc3.weight"));
    bench.step();
    roll(&mut bench, -20.0, Modifiers::NONE);
    settle(&mut bench);
    select_also(&mut bench, "fc3.weight");
    assert!(bench.query_by_label("Apply to: these 2 layers").is_some());
    let at = bits(&bench, "fc1.weight");
    drag_up(&mut bench, at, -57.0);
    drop_up(&mut bench, at, -57.0);
    assert_eq!(schemes(&bench, WEIGHTS), ["int4:row", "keep", "prune:0.2+int4:row"]);
    undo(&mut bench);
    assert_eq!(schemes(&bench, WEIGHTS), ["keep", "keep", "prune:0.2"]);
    // The editor goes to the same rows.
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    assert_eq!(schemes(&bench, WEIGHTS), ["int4:row", "keep", "prune:0.2+int4:row"]);
    // A row outside of the selection is turned alone, and is then the one selected.
    let at = bits(&bench, "fc2.weight");
    drag_up(&mut bench, at, -17.0);
    drop_up(&mut bench, at, -17.0);
    assert_eq!(schemes(&bench, WEIGHTS), ["int4:row", "int8:row", "prune:0.2+int4:row"]);
    assert!(bench.query_by_label("Apply to: this layer").is_some());
}

#[test]
fn the_prune_line_and_a_typed_scheme_go_to_all_selected_rows() {
    let mut bench = demo();
    select_also(&mut bench, "fc2.weight");
    let handle = bench.get_by_label("Prune threshold").rect().center();
    bench.drag_at(handle);
    bench.step();
    bench.hover_at(handle + vec2(40.0, 0.0));
    bench.step();
    bench.step();
    bench.drop_at(handle + vec2(40.0, 0.0));
    settle(&mut bench);
    let [fc1, fc2, fc3] = schemes(&bench, WEIGHTS);
    assert!(fc1.starts_with("prune:0.") && fc1 == fc2 && fc3 == "keep", "{fc1} {fc2} {fc3}");
    assert_eq!(live(&bench).history().depth(), 1);
    bench.get_by_label("Scheme as text").focus();
    bench.step();
    bench.key_press_modifiers(Modifiers::COMMAND, Key::A);
    bench.get_by_label("Scheme as text").type_text("int5:g32");
    bench.step();
    bench.key_press(Key::Enter);
    settle(&mut bench);
    assert_eq!(schemes(&bench, WEIGHTS), ["int5:g32", "int5:g32", "keep"]);
    assert_eq!(live(&bench).history().undo_what(), Some("set 2 layers"));
}

#[test]
fn a_locked_row_stays_and_a_selection_passes_it_by() {
    let mut bench = demo();
    bench.get_by_label("layer fc2.weight").click();
    bench.step();
    bench.key_press(Key::L);
    settle(&mut bench);
    let depth = live(&bench).history().depth();
    let at = bits(&bench, "fc2.weight");
    drag_up(&mut bench, at, -57.0);
    drop_up(&mut bench, at, -57.0);
    bench.hover_at(kept(&bench, "fc2.weight"));
    bench.step();
    roll(&mut bench, -1.0, Modifiers::NONE);
    settle(&mut bench);
    assert_eq!((scheme(&bench, "fc2.weight"), live(&bench).history().depth()), ("keep".into(), depth));
    select_also(&mut bench, "fc1.weight");
    bench.key_press(Key::OpenBracket);
    settle(&mut bench);
    assert_eq!(schemes(&bench, WEIGHTS), ["int8:row", "keep", "keep"]);
    // L is for all that are selected.
    bench.key_press(Key::L);
    settle(&mut bench);
    assert_eq!(live(&bench).recipe().locked, ["fc2.weight", "fc1.weight"]);
    bench.key_press(Key::L);
    settle(&mut bench);
    assert!(live(&bench).recipe().locked.is_empty());
}

#[test]
fn keys_turn_the_selected_rows() {
    let mut bench = demo();
    bench.key_press(Key::OpenBracket);
    bench.step();
    bench.key_press(Key::ArrowLeft);
    bench.step();
    pause(&mut bench);
    bench.key_press(Key::Minus);
    bench.step();
    bench.key_press(Key::Minus);
    bench.step();
    bench.key_press(Key::Equals);
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc1.weight"), "prune:0.05+int7:row");
    assert_eq!(live(&bench).history().depth(), 2, "keys in a row are one step");
    // Two rows down stands fc2.weight: the range goes over a bias, which a change of weights passes by.
    for _ in 0..2 {
        bench.key_press_modifiers(Modifiers::SHIFT, Key::ArrowDown);
        bench.step();
    }
    settle(&mut bench);
    assert!(bench.query_by_label("Apply to: these 2 layers").is_some());
    bench.key_press(Key::Escape);
    settle(&mut bench);
    assert!(bench.query_by_label("Apply to: this layer").is_some());
    bench.key_press_modifiers(Modifiers::COMMAND, Key::A);
    settle(&mut bench);
    pause(&mut bench);
    bench.key_press(Key::CloseBracket);
    bench.key_press(Key::OpenBracket);
    settle(&mut bench);
    assert_eq!(schemes(&bench, WEIGHTS), ["prune:0.05+int8:row", "int8:row", "int8:row"]);
    assert_eq!(schemes(&bench, ["fc1.bias", "fc2.bias", "fc3.bias"]), ["keep", "keep", "keep"]);
}

#[test]
fn a_number_is_typed_over_a_dial() {
    let mut bench = demo();
    let name = |part: &str| format!("{part} of layer fc1.weight");
    for (part, text) in [("Bits", "4"), ("Kept share", "55")] {
        bench.get_by_label(&name(part)).click();
        bench.step();
        bench.step();
        assert!(bench.get_by_label(&name(part)).is_focused());
        bench.event(Event::Text(text.into()));
        bench.step();
        bench.key_press(Key::Enter);
        settle(&mut bench);
    }
    assert_eq!(scheme(&bench, "fc1.weight"), "prune:0.45+int4:row");
    bench.key_press(Key::ArrowUp);
    settle(&mut bench);
    assert_eq!(
        scheme(&bench, "fc1.weight"),
        "prune:0.44+int4:row",
        "the arrows are the dial's while it has the keyboard"
    );
    bench.event(Event::Text("9".into()));
    bench.step();
    bench.key_press(Key::Escape);
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc1.weight"), "prune:0.44+int4:row");
    bench.get_by_label("Bits of layer fc3.weight").decrement_accesskit();
    settle(&mut bench);
    assert_eq!(scheme(&bench, "fc3.weight"), "int8:row", "a screen reader needs no focus");
}

/// A small transformer: blocks of two matrices and a norm.
fn blocks(count: usize) -> Bench {
    let (mut header, mut data) = (String::new(), Vec::new());
    for block in 0..count {
        for (part, shape) in [("mlp.up_proj", vec![24, 16]), ("mlp.down_proj", vec![16, 24]), ("norm", vec![16])] {
            let (begin, elements) = (data.len(), shape.iter().product::<usize>());
            data.extend((0..elements).flat_map(|i| ((i * 7919 % 2003) as f32 / 1000.0 - 1.0).to_le_bytes()));
            let comma = if header.is_empty() { "" } else { "," };
            let end = data.len();
            write!(
                header,
                "{comma}\"model.layers.{block}.{part}.weight\":\
                 {{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{begin},{end}]}}"
            )
            .expect("a text takes a text");
        }
    }
    let header = format!("{{{header}}}");
    let file = [(header.len() as u64).to_le_bytes().to_vec(), header.into_bytes(), data].concat();
    let path = std::env::temp_dir().join(format!("spokeshave-rows-{}-{count}.safetensors", std::process::id()));
    std::fs::write(&path, file).expect("a small file");
    let model = open(&path, &OpenOptions::default()).expect("it is legal");
    std::fs::remove_file(&path).expect("it can go again");
    bench_on(Arc::new(model), [1280.0, 800.0], true)
}

#[test]
fn the_wheel_scrolls_the_table_everywhere_but_over_a_dial() {
    let mut bench = blocks(40);
    let row = |bench: &Bench| bench.get_by_label("layer model.layers.3.mlp.up_proj.weight").rect().center();
    let dial = bits(&bench, "model.layers.3.mlp.up_proj.weight");
    let before = row(&bench);
    bench.hover_at(dial);
    bench.step();
    roll(&mut bench, -1.0, Modifiers::NONE);
    pause(&mut bench);
    settle(&mut bench);
    assert_eq!(row(&bench), before, "the table stays");
    assert_eq!(scheme(&bench, "model.layers.3.mlp.up_proj.weight"), "int8:row");
    // Over the names it scrolls.
    bench.hover_at(pos_left(dial));
    bench.step();
    roll(&mut bench, -1.0, Modifiers::NONE);
    pause(&mut bench);
    assert!(row(&bench).y < before.y - 10.0, "the table goes");
    // And what began on a block's head goes on when a dial comes under the pointer.
    let depth = live(&bench).history().depth();
    let head = bench.get_by_label("block 4").rect().center();
    bench.hover_at(egui::pos2(dial.x, head.y));
    bench.step();
    for _ in 0..4 {
        roll(&mut bench, -0.5, Modifiers::NONE);
    }
    pause(&mut bench);
    settle(&mut bench);
    assert_eq!(live(&bench).history().depth(), depth);
}

fn pos_left(at: Pos2) -> Pos2 {
    egui::pos2(60.0, at.y)
}

#[test]
fn a_block_is_selected_by_its_head_and_the_row_under_the_hand_stays_there() {
    let mut bench = blocks(12);
    let name = |block: usize, part: &str| format!("model.layers.{block}.mlp.{part}.weight");
    bench.get_by_label("block 2").click_modifiers(Modifiers::COMMAND);
    settle(&mut bench);
    assert!(bench.query_by_label("Apply to: these 2 layers").is_some());
    bench.get_by_label(&format!("layer {}", name(5, "up_proj"))).click_modifiers(Modifiers::COMMAND);
    bench.step();
    bench.step();
    // The dense target says under each pruned row that this saves nothing: two rows grow above the one that is held.
    let at = kept(&bench, &name(5, "up_proj"));
    drag_up(&mut bench, at, -36.0);
    settle(&mut bench);
    for (block, part) in [(2, "up_proj"), (2, "down_proj"), (5, "up_proj")] {
        assert_eq!(scheme(&bench, &name(block, part)), "prune:0.3");
    }
    assert_eq!(scheme(&bench, &name(5, "down_proj")), "keep");
    let now = kept(&bench, &name(5, "up_proj"));
    assert!((now.y - at.y).abs() < 1.0, "{at} {now}");
    drop_up(&mut bench, at, -36.0);
    assert_eq!(live(&bench).history().depth(), 1);
    bench.get_by_label(&format!("layer {}", name(2, "up_proj"))).click();
    bench.step();
    bench.get_by_label(&format!("layer {}", name(3, "down_proj"))).click_modifiers(Modifiers::SHIFT);
    settle(&mut bench);
    assert!(bench.query_by_label("Apply to: these 4 layers").is_some());
}
