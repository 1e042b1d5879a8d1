//! Any bytes as a `packed` file, and the same with a length that fits: an error, or tensors whose payloads fill the file, and
//! values that are the same however they are asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spokeshave::formats::{Limits, packed};
use spokeshave::model::{Model, OpenOptions, Scratch, Tensor, open};
use std::path::PathBuf;
use std::sync::LazyLock;

/// Elements that are read of one tensor: a small file may stand for very many zeros.
const MOST: usize = 1 << 18;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("spokeshave-fuzz-{}.spk", std::process::id())));

fn check(file: &[u8]) {
    if let Ok(table) = packed::read_bytes(file, &Limits::default()) {
        let mut at = table.tensors.first().map_or(0, |first| first.range.start);
        for tensor in &table.tensors {
            assert!(tensor.range.start == at && tensor.range.end >= at);
            at = tensor.range.end;
        }
        assert!(table.tensors.is_empty() || at == file.len() as u64);
        assert!(table.tensors.is_sorted_by(|a, b| a.name < b.name));
        if table.tensors.iter().any(|tensor| tensor.packed.is_some()) {
            std::fs::write(&*FILE, file).expect("room for a small file");
            let model = open(&FILE, &OpenOptions::default()).expect("its header was read");
            model.tensors.iter().filter(|tensor| tensor.coding.is_some()).for_each(|tensor| check_values(&model, tensor));
        }
    }
}

/// A range is an error, or what the whole has there.
fn check_values(model: &Model, tensor: &Tensor) {
    let n = tensor.elements().min(MOST);
    let (mut whole, mut part, mut scratch) = (Vec::<f32>::new(), Vec::<f32>::new(), Scratch::default());
    let read = model.values(tensor, 0..n, &mut whole, &mut scratch);
    for range in [0..0, n / 3..n / 2, n / 2..n] {
        if model.values(tensor, range.clone(), &mut part, &mut scratch).is_ok() {
            assert_eq!(part.len(), range.len());
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
            assert!(read.is_err() || part.iter().zip(&whole[range]).all(same));
        } else {
            assert!(read.is_err());
        }
    }
    let mut bytes = Vec::new();
    if model.plain_bytes(tensor, 0..n, &mut bytes, &mut scratch).is_ok_and(|plain| plain) {
        assert_eq!(bytes.len(), n * tensor.dtype.bytes());
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Some((prefix, rest)) = bytes.split_at_checked(24) {
        let header = rest.iter().rposition(|&byte| byte == b'}').map_or(rest.len(), |last| last + 1);
        let mut file = prefix[..16].to_vec();
        file.extend_from_slice(&(header as u64).to_le_bytes());
        file.extend_from_slice(rest);
        check(&file);
    }
});
