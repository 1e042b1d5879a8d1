//! Any bytes as an index of shards: an error, or plain names inside the folder, each tensor in one of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spokeshave::formats::{Limits, index};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(index) = index::read_bytes(bytes, &Limits::default()) {
        let plain = |file: &String| {
            let odd = |part: &str| matches!(part, "" | "." | "..") || part.contains(['\\', ':', '\0']);
            file.ends_with(".safetensors") && !file.split('/').any(odd)
        };
        assert!(!index.tensors.is_empty() && index.files.iter().all(plain));
        assert!(index.tensors.values().all(|&file| file < index.files.len()));
        assert!(index.files.is_sorted_by(|a, b| a < b));
    }
});
