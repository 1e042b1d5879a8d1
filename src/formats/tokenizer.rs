//! `tokenizer.json`: the vocabulary and merges of a byte-level BPE tokenizer, as far as another format can hold them.
//!
//! The file is Hugging Face's (`tokenizers` crate). What is read: `model` (type, vocab, merges), `added_tokens`,
//! `pre_tokenizer`, and whether there is a byte fallback, which SentencePiece tokenizers have and byte-level ones do not.
//! Text of a tokenizer is copied and never run.

use super::error::{ErrorKind, quoted};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes of a tokenizer that are read at most; those with 260,000 tokens and their merges have 35 MB.
pub const LARGEST: u64 = 128 << 20;

/// Tokens at most: the largest vocabularies in use have 260,000.
pub const MOST_TOKENS: u32 = 4_000_000;

/// A byte-level BPE tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokenizer {
    /// Tokens by their ids; `None` where an id has none.
    pub tokens: Vec<Option<Token>>,
    /// Merges in order, the two parts with a space between.
    pub merges: Vec<String>,
    /// How text is cut before merges are looked for, by llama.cpp's name for it.
    pub pre: &'static str,
    /// Whether a token is put before every text, when the file's template says so.
    pub begins_with: Option<String>,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its text; that of the vocabulary in the byte-level alphabet, that of an added token as it is.
    pub text: String,
    /// What it is.
    pub kind: TokenKind,
}

/// What a token is, by GGUF's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Part of text.
    Normal = 1,
    /// A sign for the model that no text contains.
    Control = 3,
    /// Added by the model's makers, and part of text.
    UserDefined = 4,
}

#[derive(Deserialize)]
struct Raw {
    model: RawModel,
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    normalizer: Value,
}

#[derive(Deserialize)]
struct RawModel {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: Value,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    byte_fallback: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Joined(String),
    Pair(String, String),
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

fn wrong(what: impl Into<String>) -> ErrorKind {
    ErrorKind::Tokenizer { what: what.into() }
}

/// Reads the text of a `tokenizer.json`.
///
/// # Errors
/// Where it is damaged, or of a kind that is not byte-level BPE, by its name.
pub fn read_bytes(text: &[u8]) -> Result<Tokenizer, ErrorKind> {
    let raw: Raw = serde_json::from_slice(text).map_err(|error| wrong(format!("it is not valid: {error}")))?;
    let kind = raw.model.kind.as_deref().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(wrong(format!("it is of type {}, and only byte-level BPE is converted", quoted(kind))));
    }
    if raw.model.byte_fallback {
        return Err(wrong(
            "it is a SentencePiece tokenizer (BPE with byte fallback), and only byte-level BPE is converted",
        ));
    }
    if !matches!(kind_of(&raw.normalizer), None | Some("NFC")) {
        let name = kind_of(&raw.normalizer).unwrap_or_default();
        return Err(wrong(format!(
            "it changes text first ({}), which llama.cpp's byte-level BPE does not",
            quoted(name)
        )));
    }
    let pre = pre_of(&raw.pre_tokenizer)?;
    let vocab: BTreeMap<String, u32> = serde_json::from_value(raw.model.vocab)
        .map_err(|error| wrong(format!("its vocabulary is not valid: {error}")))?;
    let merges = raw.model.merges.into_iter().map(|merge| match merge {
        Merge::Joined(text) => text,
        Merge::Pair(left, right) => format!("{left} {right}"),
    });
    let begins_with = first_of_template(&raw.post_processor);
    Ok(Tokenizer { tokens: tokens(vocab, raw.added_tokens)?, merges: merges.collect(), pre, begins_with })
}

/// Tokens in the order of their ids. An added token outranks one of the vocabulary.
fn tokens(vocab: BTreeMap<String, u32>, added: Vec<Added>) -> Result<Vec<Option<Token>>, ErrorKind> {
    let ids = vocab.values().copied().chain(added.iter().map(|token| token.id));
    let last = ids.max().ok_or_else(|| wrong("it has no tokens"))?;
    if last >= MOST_TOKENS {
        return Err(wrong(format!("a token has the id {last}; at most {MOST_TOKENS} tokens are read")));
    }
    let mut tokens = vec![None; last as usize + 1];
    let mut put = |id: u32, token: Token| {
        if let Some(place) = tokens.get_mut(id as usize) {
            *place = Some(token);
        }
    };
    for (text, id) in vocab {
        put(id, Token { text, kind: TokenKind::Normal });
    }
    for Added { id, content, special } in added {
        let kind = if special || looks_special(&content) { TokenKind::Control } else { TokenKind::UserDefined };
        put(id, Token { text: content, kind });
    }
    Ok(tokens)
}

/// Whether a token is a sign although it is not marked as one, as llama.cpp's converter judges.
fn looks_special(text: &str) -> bool {
    let wrapped = |a: &str, b: &str| text.starts_with(a) && text.ends_with(b);
    let named = ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&text);
    named || wrapped("<|", "|>") || wrapped("<｜", "｜>") || (text.starts_with("<unused") && text.ends_with('>'))
}

fn kind_of(step: &Value) -> Option<&str> {
    step.get("type")?.as_str()
}

/// The steps of a sequence, or the one step.
fn steps(step: &Value) -> Vec<&Value> {
    match (kind_of(step), step.get("pretokenizers")) {
        (Some("Sequence"), Some(Value::Array(steps))) => steps.iter().collect(),
        (None, _) => Vec::new(),
        _ => vec![step],
    }
}

/// The cut by words of GPT-4's kind, with numbers of up to three digits.
const THREE_DIGITS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same, digit by digit.
const ONE_DIGIT: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How text is cut, by the name that llama.cpp has for it (`llama_vocab::impl::load`). A wrong one would load and cut text
/// wrongly without a word, so what is not known to the letter is refused.
fn pre_of(step: &Value) -> Result<&'static str, ErrorKind> {
    let steps = steps(step);
    let kinds: Vec<&str> = steps.iter().filter_map(|step| kind_of(step)).collect();
    let own_words = |step: &Value| step.get("use_regex").and_then(Value::as_bool).unwrap_or(true);
    let pattern = |step: &Value| step.get("pattern")?.get("Regex")?.as_str().map(str::to_owned);
    match (kinds.as_slice(), steps.as_slice()) {
        (["ByteLevel"], [bytes]) if own_words(bytes) => Ok("gpt-2"),
        (["Digits", "ByteLevel"], [digits, bytes]) if own_words(bytes) && one_by_one(digits) => Ok("smollm"),
        (["Split", "ByteLevel"], [split, bytes]) if !own_words(bytes) => match pattern(split).as_deref() {
            Some(THREE_DIGITS) => Ok("llama-bpe"),
            Some(ONE_DIGIT) => Ok("qwen2"),
            other => Err(wrong(format!(
                "it cuts text by the pattern {}, which is none of those that are known here (gpt-2, smollm, llama-bpe, qwen2)",
                quoted(other.unwrap_or("?"))
            ))),
        },
        _ => Err(wrong(format!(
            "it cuts text by the steps [{}], which are none of those that are known here (gpt-2, smollm, llama-bpe, qwen2)",
            super::error::printable(&kinds.join(", "))
        ))),
    }
}

fn one_by_one(digits: &Value) -> bool {
    digits.get("individual_digits").and_then(Value::as_bool) == Some(true)
}

/// The token that the template of single texts begins with, where there is a template.
fn first_of_template(step: &Value) -> Option<String> {
    let all = match (kind_of(step)?, step.get("processors")) {
        ("Sequence", Some(Value::Array(steps))) => steps.iter().collect(),
        _ => vec![step],
    };
    let template = all.into_iter().find(|step| kind_of(step) == Some("TemplateProcessing"))?;
    Some(template.get("single")?.get(0)?.get("SpecialToken")?.get("id")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(pre: &str) -> String {
        format!(
            r#"{{"model": {{"type": "BPE", "vocab": {{"a": 0, "b": 1, "ab": 3}}, "merges": ["a b", ["ab", "a"]]}},
            "added_tokens": [{{"id": 5, "content": "<|end|>", "special": false}}, {{"id": 4, "content": "x y", "special": false}},
            {{"id": 0, "content": "A", "special": true}}], "pre_tokenizer": {pre},
            "post_processor": {{"type": "TemplateProcessing", "single": [{{"SpecialToken": {{"id": "<|end|>"}}}}]}}}}"#
        )
    }

    fn split(pattern: &str) -> String {
        let pattern = serde_json::Value::from(pattern);
        format!(
            r#"{{"type": "Sequence", "pretokenizers": [{{"type": "Split", "pattern": {{"Regex": {pattern}}}}}, {{"type": "ByteLevel", "use_regex": false}}]}}"#
        )
    }

    #[test]
    fn tokens_stand_under_their_ids() {
        let read = read_bytes(spelled(r#"{"type": "ByteLevel"}"#).as_bytes()).unwrap();
        assert_eq!((read.pre, read.merges), ("gpt-2", vec!["a b".to_owned(), "ab a".to_owned()]));
        let shown: Vec<_> = read.tokens.iter().map(|t| t.as_ref().map(|t| (t.text.as_str(), t.kind as u32))).collect();
        assert_eq!(
            shown,
            [Some(("A", 3)), Some(("b", 1)), None, Some(("ab", 1)), Some(("x y", 4)), Some(("<|end|>", 3))]
        );
        assert_eq!(read.begins_with.as_deref(), Some("<|end|>"));
    }

    #[test]
    fn the_cut_is_known_to_the_letter_or_refused() {
        let pre = |step: &str| read_bytes(spelled(step).as_bytes()).map(|read| read.pre).map_err(|e| e.to_string());
        assert_eq!(pre(&split(THREE_DIGITS)), Ok("llama-bpe"));
        assert_eq!(pre(&split(ONE_DIGIT)), Ok("qwen2"));
        let digits = r#"{"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, {"type": "ByteLevel"}]}"#;
        assert_eq!(pre(digits), Ok("smollm"));
        assert!(pre(&split(r"\w+")).unwrap_err().contains("pattern"));
        assert!(pre(r#"{"type": "Metaspace"}"#).unwrap_err().contains("[Metaspace]"));
        assert!(pre("null").unwrap_err().contains("steps []"));
    }

    #[test]
    fn other_tokenizers_are_refused_by_name() {
        let told = |text: &str| read_bytes(text.as_bytes()).unwrap_err().to_string();
        assert!(told(r#"{"model": {"type": "Unigram", "vocab": []}}"#).contains("Unigram"));
        assert!(told(r#"{"model": {"type": "BPE", "byte_fallback": true}}"#).contains("SentencePiece"));
        assert!(told(r#"{"model": {"type": "BPE"}, "normalizer": {"type": "Lowercase"}}"#).contains("Lowercase"));
        assert!(told("{").contains("not valid"));
        let far = spelled(r#"{"type": "ByteLevel"}"#).replace("\"id\": 5", "\"id\": 4000000");
        assert!(told(&far).contains("at most 4000000"));
    }
}
