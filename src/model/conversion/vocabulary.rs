//! The tokenizer of a folder as key-values: tokens, their kinds, merges, special ids, the chat template.

use super::Spelled;
use crate::formats::error::quoted;
use crate::formats::gguf::layout::{bool_pair, i32s_pair, text_pair, texts_pair, u32_pair};
use crate::formats::tokenizer::{self, Tokenizer};
use crate::model::Config;
use crate::model::config;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
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
    let texts = texts(&read, rows)?;
    let about = config::read_small(&folder.join("tokenizer_config.json"), tokenizer::LARGEST);
    let about = about.and_then(|text| Config::parse(&text)).unwrap_or_default();
    let mut pairs = vec![
        text_pair("tokenizer.ggml.model", "gpt2"),
        text_pair("tokenizer.ggml.pre", read.pre),
        texts_pair("tokenizer.ggml.tokens", &texts),
        i32s_pair("tokenizer.ggml.token_type", &kinds(&read, rows)),
        texts_pair("tokenizer.ggml.merges", &read.merges),
    ];
    for (key, by_text, by_id) in SPECIAL {
        let id = special(&read, &about, by_text)?.or_else(|| config.first_number(by_id));
        pairs.extend(id.and_then(|id| u32::try_from(id).ok()).map(|id| u32_pair(key, id)));
    }
    // It is said in any case: where a file says nothing, llama.cpp goes by the name of the cut.
    let begins = surrounds(&about, ["add_bos_token", "bos_token"], read.begins_with.as_deref(), "before")?;
    let ends = surrounds(&about, ["add_eos_token", "eos_token"], read.ends_with.as_deref(), "behind")?;
    pairs.push(bool_pair("tokenizer.ggml.add_bos_token", begins));
    pairs.push(bool_pair("tokenizer.ggml.add_eos_token", ends));
    let own = config::read_small(&folder.join("chat_template.jinja"), tokenizer::LARGEST);
    pairs.extend(templates(own.and_then(|text| String::from_utf8(text).ok()), &about));
    Ok(Spelled { count: pairs.len() as u64, bytes: pairs.concat().into() })
}

/// The chat template, `own` before the one that the config has; of a list that of the name `default`, the others under keys with
/// their names, as `add_chat_template` of the gguf package writes them.
fn templates(own: Option<String>, about: &Config) -> Vec<Vec<u8>> {
    const KEY: &str = "tokenizer.chat_template";
    let list = about.value(&["chat_template"]).and_then(Value::as_array);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut named: BTreeMap<String, &str> = BTreeMap::new();
    for item in list.into_iter().flatten() {
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        if let Some((name, template)) = text("name").filter(|name| !name.is_empty()).zip(text("template")) {
            named.insert(name.chars().map(plain).collect(), template);
        }
    }
    let default = named.remove("default").or(about.text(&["chat_template"])).map(str::to_owned);
    let mut pairs: Vec<Vec<u8>> = own.or(default).iter().map(|template| text_pair(KEY, template)).collect();
    if !named.is_empty() {
        pairs.push(texts_pair("tokenizer.chat_templates", &named.keys().cloned().collect::<Vec<_>>()));
    }
    pairs.extend(named.iter().map(|(name, template)| text_pair(&format!("{KEY}.{name}"), template)));
    pairs
}

/// The texts of all rows. llama.cpp finds tokens by their texts and ends where two have the same.
fn texts(read: &Tokenizer, rows: usize) -> Result<Vec<String>, String> {
    let text = |id: usize| match read.tokens.get(id) {
        Some(Some(token)) => token.text.clone(),
        _ => format!("[PAD{id}]"),
    };
    let texts: Vec<String> = (0..rows).map(text).collect();
    let mut ids = HashMap::with_capacity(rows);
    for (id, text) in texts.iter().enumerate() {
        if let Some(first) = ids.insert(text.as_str(), id) {
            return Err(format!("tokens {first} and {id} are both {}; llama.cpp needs each text once", quoted(text)));
        }
    }
    Ok(texts)
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

/// Whether a special token is put around every text, by what `tokenizer_config.json` says, or by the tokenizer's template.
fn surrounds(about: &Config, [flag, key]: [&str; 2], token: Option<&str>, place: &str) -> Result<bool, String> {
    if let Some(said) = about.flag(flag) {
        return Ok(said);
    }
    let special = about.text(&[key]).or_else(|| about.text(&[key, "content"]));
    match token {
        None => Ok(false),
        Some(token) if Some(token) == special => Ok(true),
        Some(token) => Err(format!(
            "the tokenizer puts {} {place} every text, which is not its {key}, and llama.cpp puts no other there",
            quoted(token)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_in_a_list_have_keys_of_their_own() {
        let of =
            |own: Option<&str>, text: &str| templates(own.map(str::to_owned), &Config::parse(text.as_bytes()).unwrap());
        let list = r#"{"chat_template": [{"name": "tool use", "template": "t"}, {"name": "default", "template": "d"}, {"name": 3}, {"template": "x"}]}"#;
        let wanted = [
            text_pair("tokenizer.chat_template", "d"),
            texts_pair("tokenizer.chat_templates", &["tool_use".into()]),
            text_pair("tokenizer.chat_template.tool_use", "t"),
        ];
        assert_eq!(of(None, list), wanted);
        assert_eq!(of(Some("own"), list)[0], text_pair("tokenizer.chat_template", "own"));
        assert_eq!(of(None, r#"{"chat_template": "one"}"#), [text_pair("tokenizer.chat_template", "one")]);
        assert!(of(None, "{}").is_empty());
    }
}
