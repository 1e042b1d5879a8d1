//! Any bytes as a pickle, as a file of PyTorch, and as the pickle inside of one: an error on one line, or tensors that lie in the
//! file or behind its end, the same from a map and in pieces, and values that are the same however they are asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spokeshave::formats::pickle::{self, Bounds, Value};
use spokeshave::formats::pytorch::MAGIC;
use spokeshave::formats::source::Access;
use spokeshave::model::{Model, OpenOptions, Scratch, Tensor, open};
use std::path::PathBuf;
use std::sync::LazyLock;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("spokeshave-fuzz-{}.pt", std::process::id())));

/// Elements that are read of one tensor: a view may have more than anybody waits for here.
const MOST: usize = 1 << 16;

fn check_pickle(bytes: &[u8]) {
    let Ok(pickle) = pickle::read_bytes(bytes, &Bounds::default()) else { return };
    // A byte makes one value at most, and there are four to begin with.
    assert!(pickle.len() <= 2 * bytes.len() + 4);
    let there = |id| pickle.all().any(|(other, _)| other == id);
    if pickle.len() < 100 {
        for (_, value) in pickle.all() {
            match value {
                Value::List(items) | Value::Set(items) => assert!(items.iter().all(|&id| there(id))),
                Value::Tuple(items) => assert!(items.iter().all(|&id| there(id))),
                Value::Dict(pairs) => assert!(pairs.iter().all(|&(key, value)| there(key) && there(value))),
                Value::Object(object) => assert!(there(object.callable) && there(object.arguments)),
                _ => {}
            }
        }
    }
}

fn check_file(file: &[u8]) {
    std::fs::write(&*FILE, file).expect("room for a small file");
    let opened = [Access::Map, Access::Read].map(|access| open(&FILE, &OpenOptions { access, ..OpenOptions::default() }));
    match &opened {
        [Ok(mapped), Ok(read)] => {
            assert!(mapped.tensors.len() == read.tensors.len() && mapped.warnings == read.warnings);
            for (a, b) in mapped.tensors.iter().zip(&read.tensors).take(50) {
                assert!((&a.name, a.dtype, &a.shape) == (&b.name, b.dtype, &b.shape));
                check_values(mapped, read, a);
            }
        }
        [Err(a), Err(b)] => {
            let (a, b) = (a.to_string(), b.to_string());
            assert!(a == b && !a.chars().any(char::is_control) && a.len() < 2000, "{a}");
        }
        _ => panic!("a map and a file are not told the same"),
    }
}

/// A range has what the whole has there.
fn check_values(mapped: &Model, read: &Model, tensor: &Tensor) {
    let n = tensor.elements();
    if !tensor.dtype.is_float() || n > MOST {
        return;
    }
    let (mut whole, mut part, mut scratch) = (Vec::<f32>::new(), Vec::<f32>::new(), Scratch::default());
    mapped.values(tensor, 0..n, &mut whole, &mut scratch).expect("its bytes are there");
    for range in [0..0, n / 3..n / 2, n / 2..n] {
        read.values(tensor, range.clone(), &mut part, &mut scratch).expect("its bytes are there");
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
        assert!(part.len() == range.len() && part.iter().zip(&whole[range]).all(same));
    }
}

fuzz_target!(|bytes: &[u8]| {
    check_pickle(bytes);
    check_file(bytes);
    // A mutation nearly always spoils the archive first, and nothing in it would ever be read. In the older layout any pickle
    // stands behind three others, and before a storage of eight numbers.
    let storage = [b"](X\x01\0\0\00e.", &8_u64.to_le_bytes()[..], &[7; 64]].concat();
    check_file(&[MAGIC, b"\x80\x02M\xe9\x03.}.", bytes, &storage].concat());
});
