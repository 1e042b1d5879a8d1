//! The network inside the program: LeNet-300-100, trained by `assets/make_demo.rs`, always one click away.

use crate::formats::Source;

/// Names that `demo:NAME` accepts; plain `demo` is the first.
pub const DEMOS: &[&str] = &["lenet-300-100"];

static LENET_300_100: &[u8] = include_bytes!("../../assets/lenet-300-100.safetensors");

/// The file of a demo, if there is one of this name.
pub(super) fn source(name: &str) -> Option<(&'static str, Source)> {
    let known = DEMOS.iter().find(|&&known| known == name)?;
    Some((known, Source::embedded(&format!("demo:{known}"), LENET_300_100)))
}
