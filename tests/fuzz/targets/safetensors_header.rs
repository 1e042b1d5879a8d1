//! Any bytes as a safetensors file, and the same with a length that fits: our verdict is the reference reader's, but for
//! the stricter cases that the tests list.
#![no_main]

#[path = "../../spokeshave/verdict.rs"]
mod verdict;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(verdict::judge(bytes));
    drop(spokeshave::formats::sniff::sniff(bytes));
    // A mutation nearly always spoils the length first, and nothing behind it would ever be read.
    if let Some((_, rest)) = bytes.split_at_checked(8) {
        let header = rest.iter().rposition(|&byte| byte == b'}').map_or(rest.len(), |last| last + 1);
        let mut file = (header as u64).to_le_bytes().to_vec();
        file.extend_from_slice(rest);
        drop(verdict::judge(&file));
    }
});
