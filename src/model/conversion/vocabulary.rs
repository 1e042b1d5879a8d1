//! The tokenizer of a folder as key-values: tokens, their kinds, merges, special ids, the chat template.

use super::Spelled;
use crate::formats::error::quoted;
use crate::formats::gguf::layout::{bool_pair, i32s_pair, text_pair, texts_pair, u32_pair};
use crate::formats::tokenizer::{self, Tokenizer};
use crate::model::Config;
use crate::model::config;
use std::path::Path;

/// The kind of a token that no text can contain: an embedding row without a token.
const UNUSED: i32 = 5;

/// Special tokens: GGUF's key, the key in `tokenizer_config.json`, the one in `config.json`.
const SPECIAL: [(&str, &str, &str); 4] = [
    ("tokenizer.ggml.bos_token_id", "bos_token", "bos_token_id"),
    ("tokenizer.ggml.eos_token_id", "eos_token", "eos_token_id"),
    ("tokenizer.ggml.unknown_token_id", "unk_token", "unk_token_id"),
    ("tokenizer.ggml.padding_token_id", "pad_token", "pad_token_id"),
];

/// Reads the tokenizer of a folder whose embedding has `rows` rows.
pub(super) fn read(folder: &Path, config: &Config, rows: usize) -> Result<Spelled, String> {
    let path = folder.join("tokenizer.json");
    let text = config::read_small(&path, tokenizer::LARGEST).ok_or_else(|| {
        let other = ["tokenizer.model", "vocab.txt"].iter().find(|name| folder.join(name).exists());
        match other {
            Some(name) => {
                format!("its tokenizer is {name}, and byte-level BPE in a tokenizer.json is what is converted")
            }
            None => "there is no tokenizer.json that can be read".to_owned(),
        }
    })?;
    let read = tokenizer::read_bytes(&text).map_err(|error| error.to_string())?;
    if read.tokens.len() > rows {
        let tokens = read.tokens.len();
        return Err(format!("its tokenizer has {tokens} tokens and the embedding {rows} rows; every token needs one"));
    }
    let about = config::read_small(&folder.join("tokenizer_config.json"), tokenizer::LARGEST);
    let about = about.and_then(|text| Config::parse(&text)).unwrap_or_default();
    let mut pairs = vec![
        text_pair("tokenizer.ggml.model", "gpt2"),
        text_pair("tokenizer.ggml.pre", read.pre),
        texts_pair("tokenizer.ggml.tokens", &texts(&read, rows)),
        i32s_pair("tokenizer.ggml.token_type", &kinds(&read, rows)),
        texts_pair("tokenizer.ggml.merges", &read.merges),
    ];
    for (key, by_text, by_id) in SPECIAL {
        let id = special(&read, &about, by_text)?.or_else(|| config.first_number(by_id));
        pairs.extend(id.and_then(|id| u32::try_from(id).ok()).map(|id| u32_pair(key, id)));
    }
    if let Some(before) = begins(&read, &about) {
        pairs.push(bool_pair("tokenizer.ggml.add_bos_token", before));
    }
    let template = config::read_small(&folder.join("chat_template.jinja"), tokenizer::LARGEST)
        .and_then(|text| String::from_utf8(text).ok())
        .or_else(|| about.text(&["chat_template"]).map(str::to_owned));
    pairs.extend(template.map(|template| text_pair("tokenizer.chat_template", &template)));
    Ok(Spelled { count: pairs.len() as u64, bytes: pairs.concat().into() })
}

fn texts(read: &Tokenizer, rows: usize) -> Vec<String> {
    let text = |id: usize| match read.tokens.get(id) {
        Some(Some(token)) => token.text.clone(),
        _ => format!("[PAD{id}]"),
    };
    (0..rows).map(text).collect()
}

fn kinds(read: &Tokenizer, rows: usize) -> Vec<i32> {
    let kind = |id: usize| match read.tokens.get(id) {
        Some(Some(token)) => token.kind as i32,
        _ => UNUSED,
    };
    (0..rows).map(kind).collect()
}

/// The id of a special token that `tokenizer_config.json` names by its text.
fn special(read: &Tokenizer, about: &Config, key: &str) -> Result<Option<usize>, String> {
    let Some(text) = about.text(&[key]).or_else(|| about.text(&[key, "content"])) else { return Ok(None) };
    let is = |token: &Option<tokenizer::Token>| token.as_ref().is_some_and(|token| token.text == text);
    let id = read.tokens.iter().position(is);
    let missing = || format!("tokenizer_config.json names {} as its {key}, and there is no such token", quoted(text));
    id.ok_or_else(missing).map(Some)
}

/// Whether texts begin with the bos token, where something says so.
fn begins(read: &Tokenizer, about: &Config) -> Option<bool> {
    let bos = about.text(&["bos_token"]).or_else(|| about.text(&["bos_token", "content"]));
    about.flag("add_bos_token").or_else(|| read.begins_with.as_ref().map(|first| Some(first.as_str()) == bos))
}
