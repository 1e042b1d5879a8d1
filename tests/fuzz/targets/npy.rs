//! Any bytes as an array or an archive of NumPy, and as the data of an array with a sound frame: an error on one line, or tensors of
//! which every byte can be read.
#![no_main]

mod places;

use libfuzzer_sys::fuzz_target;
use spokeshave::formats::{Limits, Source, npy, npz, zip};

fn check(file: Vec<u8>) {
    let limits = Limits { held_bytes: 1 << 26, ..Limits::default() };
    let source = Source::in_memory("a.npy", file);
    let archive = source.read(0..source.len().min(4), &mut Vec::new()).is_ok_and(|head| head == zip::MAGIC);
    let read = if archive { npz::read_table(&source, &limits) } else { npy::read_table(&source, &limits) };
    match read {
        Ok(table) => assert!(!places::check(source, table).is_empty()),
        Err(error) => {
            let said = error.to_string();
            assert!(!said.chars().any(char::is_control) && said.len() < 3000);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes.to_vec());
    // The text is what comes before the first line's end; a mutation nearly always makes its length wrong.
    if let Some(rest) = bytes.get(10..) {
        let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        let length = (end as u32).to_le_bytes();
        check([npy::MAGIC, &[2, 0], &length, rest].concat());
    }
});
