//! Pictures of the window, compared with the ones that were looked at: drawn on the CPU, so that no machine needs a display.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test --release` draws them anew; look at them before they are committed.

use super::bench::{Bench, bench_on, demo, live, settle};
use super::command::{Folder, run};
use egui::accesskit::Role;
use egui_kittest::SnapshotOptions;
use egui_kittest::kittest::Queryable;
use spokeshave::app::theme;
use spokeshave::model::{OpenOptions, open};
use std::path::Path;
use std::sync::Arc;

/// Glyph edges may differ a little between processors; a moved or missing part is thousands of pixels.
fn options() -> SnapshotOptions {
    SnapshotOptions::new().threshold(2.0).max_failed_pixels(600).output_path("tests/spokeshave/pictures")
}

/// Asks for a colour of the middle of the picture, so that an empty one cannot pass on its first run.
fn is_drawn(bench: &mut Bench) {
    let picture = bench.render().expect("the renderer draws");
    let colours: std::collections::HashSet<_> = picture.pixels().map(|p| p.0).collect();
    assert!(colours.len() > 100, "only {} colours", colours.len());
}

#[test]
fn the_demo_pruned_and_quantized_in_dark() {
    let mut bench = demo();
    bench.get_by_role_and_label(Role::Switch, "Prune").click();
    settle(&mut bench);
    bench.get_by_role_and_label(Role::Switch, "Quantize").click();
    settle(&mut bench);
    assert_eq!(live(&bench).history().depth(), 2);
    is_drawn(&mut bench);
    bench.snapshot_options("demo-dark", &options());
}

#[test]
fn the_demo_beside_a_later_checkpoint_in_light() {
    let folder = Folder::new("picture-beside");
    let other = folder.at("ticket.safetensors");
    let words = ["export", "demo", "--set", "fc1*=random:0.4:3", "--set", "fc2*=prune:0.7", "--target", "safetensors"];
    run(&[&words[..], &["-o", &other]].concat()).done();
    let model = open(Path::new("demo"), &OpenOptions::default()).expect("the demo is part of the program");
    let mut bench = bench_on(Arc::new(model), [1280.0, 800.0], false);
    bench.get_by_role_and_label(Role::Switch, "Prune").click();
    settle(&mut bench);
    bench.get_by_role_and_label(Role::Tab, "Compare").click();
    settle(&mut bench);
    bench.get_by_role_and_label(Role::Button, "Compare with…").click();
    settle(&mut bench);
    bench.get_by_label("Path of the checkpoint").focus();
    bench.step();
    bench.get_by_label("Path of the checkpoint").type_text(&other);
    bench.step();
    bench.get_by_role_and_label(Role::Button, "Compare").click();
    settle(&mut bench);
    is_drawn(&mut bench);
    bench.snapshot_options("compare-light", &options());
}

#[test]
fn the_demo_untouched_in_light_at_the_smallest_size() {
    let model = open(Path::new("demo"), &OpenOptions::default()).expect("the demo is part of the program");
    let mut bench = bench_on(Arc::new(model), [1024.0, 700.0], false);
    is_drawn(&mut bench);
    bench.snapshot_options("demo-light-small", &options());
    let ground = theme::tokens_of(egui::Theme::Light).bg1;
    let picture = bench.render().expect("the renderer draws");
    let [r, g, b, _] = ground.to_array();
    let of_ground = picture.pixels().filter(|p| p.0[..3] == [r, g, b]).count();
    assert!(of_ground * 3 > picture.pixels().len(), "a light window is mostly its ground");
}
