//! Any bytes as a `packed` file, and the same with a length that fits: an error, or tensors whose payloads fill the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spokeshave::formats::{Limits, packed};

fn check(file: &[u8]) {
    if let Ok(table) = packed::read_bytes(file, &Limits::default()) {
        let mut at = table.tensors.first().map_or(0, |first| first.range.start);
        for tensor in &table.tensors {
            assert!(tensor.range.start == at && tensor.range.end >= at);
            at = tensor.range.end;
        }
        assert!(table.tensors.is_empty() || at == file.len() as u64);
        assert!(table.tensors.is_sorted_by(|a, b| a.name < b.name));
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
