//! Choices whose GGUF file is easily another than the one that was meant: shared pools, masks under other names, what llama.cpp
//! cannot hold. llama.cpp's own judgement is in `tests/readers/gguf_models.py`.

use super::command::{Folder, floats, run, tensor};
use super::gguf::{Tensor, file};
use spokeshave::formats::gguf::layout::text_pair;
use spokeshave::kernels::ggml::BlockType;

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
    let both = tensor(&estimate, "blk.0.ffn_up.weight")["zeros"].as_u64().unwrap() + zeros;
    assert_eq!(both, 4096);
}
