//! Any bytes as a `tokenizer.json`: an error on one line, or tokens under their ids and merges that lead from tokens to a token.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spokeshave::formats::tokenizer::{MOST_TOKENS, read_bytes};

fuzz_target!(|bytes: &[u8]| match read_bytes(bytes) {
    Ok(read) => {
        assert!(!read.tokens.is_empty() && read.tokens.len() <= MOST_TOKENS as usize);
        assert!(read.tokens.last().is_some_and(Option::is_some));
        assert!(["gpt-2", "smollm", "llama-bpe", "smaug-bpe", "qwen2"].contains(&read.pre));
        for merge in &read.merges {
            let (left, right) = merge.split_once(' ').expect("two parts");
            assert!(merge.len() == left.len() + right.len() + 1);
        }
    }
    Err(error) => {
        let words = error.to_string();
        assert!(!words.chars().any(char::is_control) && words.len() < 1500, "{words:?}");
    }
});
