//! What would be exported beside another checkpoint, computed without an export: the very numbers that `compare` gives when
//! there is one, for every kind of scheme and counterpart.

use super::command::{Folder, demo_file, floats, run, safetensors, tensor};
use spokeshave::compress::Joint;
use spokeshave::control::Control;
use spokeshave::estimate::beside::{SchemeComparison, compare_task};
use spokeshave::estimate::compare::{TensorComparison, compare};
use spokeshave::model::{Counterpart, Model, OpenOptions, Scratch, counterparts, open};
use spokeshave::recipe::Target;
use spokeshave::session::{Request, Wish};
use std::path::Path;

fn opened(path: &str) -> Model {
    open(Path::new(path), &OpenOptions::default()).expect("it is a model")
}

fn request(model: &str, set: &[&str], target: Target) -> Request {
    let set = set.iter().map(ToString::to_string).collect();
    let wish = Wish { set, target: Some(target), ..Wish::default() };
    Request::open(Path::new(model), &OpenOptions::default(), &wish).expect("the recipe fits")
}

/// Every tensor of a request as its scheme leaves it, beside its counterpart.
fn compared(request: &Request, other: &Model) -> Vec<SchemeComparison> {
    let (model, plan, control) = (&request.model, &request.plan, Control::default());
    let joint = Joint::new(model, plan, &control).expect("it can be read");
    let there = counterparts(model, other);
    let pairs = there.into_iter().enumerate().filter_map(|(index, there)| Some((index, there?)));
    let one = |(index, there): (usize, Counterpart)| {
        let task = joint.task(model, plan, index, &control);
        compare_task(&task, there.of(other), true).expect("it can be compared")
    };
    pairs.map(one).collect()
}

/// What `compare` gives for the export of a request, and for its source.
fn by_export(request: &Request, folder: &Folder, other: &Model) -> [Vec<TensorComparison>; 2] {
    let out = folder.at("export");
    request.export(Path::new(&out), true, &Control::default()).expect("it is written");
    let compare = |model: &Model| compare(model, other, &Control::default()).expect("they can be compared").tensors;
    [compare(&request.model), compare(&opened(&out))]
}

/// A file with tensors of the demo in another dtype, or other shapes.
fn recast(folder: &Folder, name: &str, dtype: &str, encode: impl Fn(f32) -> Vec<u8>) -> String {
    let demo = opened("demo");
    let of = |index: usize| {
        let mut values = Vec::<f32>::new();
        let tensor = &demo.tensors[index];
        demo.values(tensor, 0..tensor.elements(), &mut values, &mut Scratch::default()).expect("the demo can be read");
        values.iter().flat_map(|&value| encode(value)).collect::<Vec<u8>>()
    };
    let tensors = demo.tensors.iter().enumerate().map(|(index, t)| (&t.name[..], dtype, &t.shape[..], of(index)));
    folder.write(name, safetensors(&tensors.collect::<Vec<_>>()))
}

#[test]
fn it_says_of_a_scheme_what_compare_says_of_its_export_to_the_last_bit() {
    let folder = Folder::new("beside");
    let pruned = folder.at("pruned.safetensors");
    run(&["export", "demo", "--set", "*=prune:0.7", "--target", "safetensors", "-o", &pruned]).done();
    let masks = folder.at("masks.safetensors");
    run(&["export", "demo", "--set", "fc[12].weight=random:0.5:7", "--mask-only", "-o", &masks]).done();
    let fewer = folder.at("fewer.safetensors");
    run(&["export", "demo", "--set", "fc2.weight=rows:0.25", "--target", "safetensors", "-o", &fewer]).done();
    // In f64 and turned: no value of it is one of f32.
    let wide = recast(&folder, "wide.safetensors", "F64", |w| (f64::from(w) * 0.3 - 0.001).to_le_bytes().to_vec());
    let others = [opened(&pruned), opened(&masks), opened(&fewer), opened(&wide)];
    for set in [
        &[][..],
        &["*=prune:0.6:global"],
        &["*=nm:2:4+int4:g64", "fc1.bias=f16"],
        &["fc1.weight=rank:20", "fc3.weight=codebook:8"],
        &["fc2.weight=rows:0.25+int8", "fc1.weight=prune:0.5"],
    ] {
        for target in [Target::Packed, Target::Safetensors] {
            let request = request("demo", set, target);
            for other in &others {
                let ours = compared(&request, other);
                let [sources, results] = by_export(&request, &folder, other);
                assert_eq!(ours.len(), results.len());
                for ((ours, source), result) in ours.iter().zip(&sources).zip(&results) {
                    assert_eq!(&ours.result, result, "{set:?} in {} beside {}", target.name(), other.name);
                    assert_eq!(ours.source.as_ref(), Some(source), "{set:?} beside {}", other.name);
                }
            }
        }
    }
}

#[test]
fn every_number_is_right_by_hand() {
    let folder = Folder::new("beside-hand");
    let here = floats(&[0.5, -0.1, 0.0, 2.0, -0.3, 0.2]);
    let there = floats(&[0.25, 0.4, 0.1, -1.0, 0.0, 0.0]);
    let model = folder.write("here.safetensors", safetensors(&[("w.weight", "F32", &[2, 3], here)]));
    let other = folder.write("there.safetensors", safetensors(&[("w.weight", "F32", &[2, 3], there)]));
    // Three of six go: the zero that is there, −0.1 and 0.2.
    let request = request(&model, &["*=prune:0.5"], Target::Safetensors);
    let [SchemeComparison { source: Some(source), result }] = &compared(&request, &opened(&other))[..] else {
        panic!("one tensor");
    };
    let counts = result.counts;
    assert_eq!([counts.both, counts.only_a, counts.only_b, counts.neither], [2, 1, 2, 1]);
    assert_eq!((result.mask_overlap(), result.sign_agreement()), (Some(0.4), Some(0.5)));
    // 0.5, 2 and −0.3 stay: Σ(a−b)² = 0.0625 + 0.16 + 0.01 + 9 + 0.09, Σa² = 0.25 + 4 + 0.09.
    assert!((result.t2.expect("finite") - 9.3225 / 4.34).abs() < 1e-7, "{:?}", result.t2);
    assert_eq!((source.mask_overlap(), source.sign_agreement()), (Some(3.0 / 6.0), Some(1.0 / 3.0)));
}

#[test]
fn a_picture_of_the_window_takes_a_checkpoint_and_says_what_is_wrong_with_it() {
    let folder = Folder::new("beside-picture");
    let (other, png) = (demo_file(&folder, "other.safetensors"), folder.at("window.png"));
    let shoot = |words: &[&str]| run(&[&["screenshot", "demo", "-o", &png][..], words].concat());
    let document = shoot(&["--beside", &other, "--view", "compare", "--json"]).json();
    assert_eq!(document["view"], "compare");
    let with = folder.read("window.png");
    shoot(&["--view", "compare"]).done();
    assert!(with != folder.read("window.png"), "without one the tab asks for it");
    shoot(&["--beside", &folder.at("nosuch.safetensors"), "--view", "compare"]).refused(1, "nosuch.safetensors");
    let text = folder.write("notes.txt", "no model");
    shoot(&["--beside", &text]).refused(1, "notes.txt");
    run(&["--beside", &other, "inspect", "demo"]).refused(2, "inspect comes first");
    assert_eq!(tensor(&run(&["compare", "demo", &other, "--json"]).json(), "fc1.weight")["mask_overlap"], 1.0);
}
