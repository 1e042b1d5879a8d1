//! Any bytes as an ONNX model, and the same as the graph of one: an error on one line, or tensors under names of their own, of
//! which every byte can be read. What lies in another file is looked for in the same bytes.
#![no_main]

mod places;

use libfuzzer_sys::fuzz_target;
use spokeshave::formats::{Limits, Source, onnx};
use std::collections::HashSet;

fn check(file: Vec<u8>) {
    let limits = Limits { held_bytes: 1 << 26, ..Limits::default() };
    let source = || Source::in_memory("m.onnx", file.clone());
    let mut table = match onnx::read_table(&source(), &limits) {
        Ok(table) => table,
        Err(error) => {
            let said = error.to_string();
            return assert!(!said.chars().any(char::is_control) && said.len() < 3000);
        }
    };
    let outside = table.onnx.take().map_or_else(Vec::new, |head| head.outside);
    let names: Vec<&str> = outside.iter().map(|tensor| tensor.name.as_str()).collect();
    let names = names.into_iter().chain(table.tensors.iter().map(|tensor| tensor.name.as_str()));
    let mut seen = HashSet::new();
    assert!(names.into_iter().all(|name| seen.insert(name.to_owned())));
    places::check(source(), table);
    if let Ok(table) = onnx::read_outside(&source(), outside, &limits) {
        places::check(source(), table);
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes.to_vec());
    // A mutation nearly always spoils a length of what is around it first.
    let mut length = bytes.len();
    let mut file = b"\x08\x0a\x3a".to_vec();
    while length >= 0x80 {
        file.push(length as u8 | 0x80);
        length >>= 7;
    }
    file.push(length as u8);
    file.extend_from_slice(bytes);
    check(file);
});
