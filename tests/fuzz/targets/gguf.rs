//! Any bytes as a GGUF file, and the same with a first line that fits: an error, or tensors that lie one after the other in the
//! file, the same table from memory and from disk, and values that are the same however they are asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spokeshave::formats::source::Access;
use spokeshave::formats::{Limits, Source, Table, gguf};
use spokeshave::model::{Model, OpenOptions, Scratch, Tensor, open};
use std::path::PathBuf;
use std::sync::LazyLock;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("spokeshave-fuzz-{}.gguf", std::process::id())));

fn check(file: &[u8]) {
    let limits = Limits::default();
    let Ok(table) = gguf::read_bytes(file, &limits) else { return };
    check_places(&table, file.len() as u64);
    std::fs::write(&*FILE, file).expect("room for a small file");
    for access in [Access::Map, Access::Read] {
        let source = Source::open(&FILE, access).expect("it was written");
        let read = gguf::read_table(&source, &limits).expect("as from memory");
        // As text, since NaN is not equal to itself.
        assert!(format!("{read:?}") == format!("{table:?}"));
    }
    // A part of a set looks for the others.
    if let Ok(model) = open(&FILE, &OpenOptions::default()) {
        let floats = model.tensors.iter().filter(|tensor| tensor.dtype.is_float());
        floats.for_each(|tensor| check_values(&model, tensor));
    }
}

fn check_places(table: &Table, len: u64) {
    let head = table.gguf.as_ref().expect("a GGUF table has a head");
    assert!(head.alignment.is_power_of_two() && head.data <= len && head.surplus <= len - head.data);
    let mut at = head.data;
    for tensor in &table.tensors {
        assert!(tensor.range.start >= at && tensor.range.end >= tensor.range.start && tensor.range.end <= len);
        assert!((tensor.range.start - head.data).is_multiple_of(head.alignment));
        at = tensor.range.end;
    }
    // Pairs follow one another too, and each can be shown.
    let mut at = 24;
    for pair in &head.pairs.0 {
        assert!(pair.place.start == at && pair.place.end > at);
        at = pair.place.end;
        drop(pair.value.to_string());
    }
    assert!(at <= head.data);
}

/// A range has what the whole has there.
fn check_values(model: &Model, tensor: &Tensor) {
    let n = tensor.elements();
    let (mut whole, mut part, mut scratch) = (Vec::<f32>::new(), Vec::<f32>::new(), Scratch::default());
    model.values(tensor, 0..n, &mut whole, &mut scratch).expect("its bytes are there");
    for range in [0..0, n / 3..n / 2, n / 2..n] {
        model.values(tensor, range.clone(), &mut part, &mut scratch).expect("its bytes are there");
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
        assert!(part.len() == range.len() && part.iter().zip(&whole[range]).all(same));
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // A mutation nearly always spoils the counts first, and nothing behind them would ever be read.
    if let Some((head, rest)) = bytes.split_at_checked(24) {
        let few = |byte: u8| u64::from(byte & 7).to_le_bytes();
        let file = [&b"GGUF\x03\0\0\0"[..], &few(head[8]), &few(head[16]), rest].concat();
        check(&file);
    }
});
