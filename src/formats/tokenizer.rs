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
    /// The token that is put before every text, where there is one.
    pub begins_with: Option<String>,
    /// And the one behind it.
    pub ends_with: Option<String>,
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
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
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
    let marks = [&raw.model.continuing_subword_prefix, &raw.model.end_of_word_suffix];
    if let Some(mark) = marks.into_iter().flatten().find(|mark| !mark.is_empty()) {
        let mark = quoted(mark);
        return Err(wrong(format!("it marks parts of words with {mark}, which byte-level BPE in llama.cpp does not")));
    }
    let pre = pre_of(&raw.pre_tokenizer, raw.model.ignore_merges)?;
    let vocab: BTreeMap<String, u32> = serde_json::from_value(raw.model.vocab)
        .map_err(|error| wrong(format!("its vocabulary is not valid: {error}")))?;
    let merges = merges(raw.model.merges, &vocab)?;
    let (begins_with, ends_with) = around(&raw.post_processor)?;
    Ok(Tokenizer { tokens: tokens(vocab, raw.added_tokens)?, merges, pre, begins_with, ends_with })
}

/// Merges as texts, each of two tokens that there are.
fn merges(merges: Vec<Merge>, vocab: &BTreeMap<String, u32>) -> Result<Vec<String>, ErrorKind> {
    let one = |(number, merge): (usize, Merge)| {
        let text = match merge {
            Merge::Joined(text) => text,
            Merge::Pair(left, right) => format!("{left} {right}"),
        };
        let Some((left, right)) = text.split_once(' ') else {
            let text = quoted(&text);
            return Err(wrong(format!("merge {number} is {text}; it joins two tokens with a space between them")));
        };
        let joined = [left, right].concat();
        if let Some(missing) = [left, right, &joined].into_iter().find(|part| !vocab.contains_key(*part)) {
            let (left, right, missing) = (quoted(left), quoted(right), quoted(missing));
            return Err(wrong(format!("merge {number} joins {left} and {right}, and there is no token {missing}")));
        }
        Ok(text)
    };
    merges.into_iter().enumerate().map(one).collect()
}

/// Tokens in the order of their ids. An added token outranks one of the vocabulary.
fn tokens(vocab: BTreeMap<String, u32>, added: Vec<Added>) -> Result<Vec<Option<Token>>, ErrorKind> {
    let ids = vocab.values().copied().chain(added.iter().map(|token| token.id));
    let last = ids.max().ok_or_else(|| wrong("it has no tokens"))?;
    if last >= MOST_TOKENS {
        return Err(wrong(format!("a token has the id {last}; at most {MOST_TOKENS} tokens are read")));
    }
    let mut tokens: Vec<Option<Token>> = vec![None; last as usize + 1];
    for (text, id) in vocab {
        match tokens.get_mut(id as usize) {
            Some(Some(_)) => return Err(wrong(format!("two tokens have the id {id}; it is damaged"))),
            Some(place) => *place = Some(Token { text, kind: TokenKind::Normal }),
            None => {}
        }
    }
    for Added { id, content, special } in added {
        let kind = if special || looks_special(&content) { TokenKind::Control } else { TokenKind::UserDefined };
        if let Some(place) = tokens.get_mut(id as usize) {
            *place = Some(Token { text: content, kind });
        }
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
/// wrongly without a word, so what is not known to the letter is refused. Words that are tokens as they stand are looked up
/// before merges are under llama-bpe, and under no other of these names.
fn pre_of(step: &Value, words_first: bool) -> Result<&'static str, ErrorKind> {
    let steps = steps(step);
    let kinds: Vec<&str> = steps.iter().filter_map(|step| kind_of(step)).collect();
    if steps.iter().any(|step| flag(step, "add_prefix_space") == Some(true)) {
        return Err(wrong("it puts a space before every text, which llama.cpp's byte-level BPE does not"));
    }
    let own_words = |step: &Value| flag(step, "use_regex").unwrap_or(true);
    let name = match (kinds.as_slice(), steps.as_slice()) {
        (["ByteLevel"], [bytes]) if own_words(bytes) => "gpt-2",
        (["Digits", "ByteLevel"], [digits, bytes])
            if own_words(bytes) && flag(digits, "individual_digits") == Some(true) =>
        {
            "smollm"
        }
        (["Split", "ByteLevel"], [split, bytes]) if !own_words(bytes) => of_pattern(split, words_first)?,
        _ => {
            let kinds = super::error::printable(&kinds.join(", "));
            return Err(wrong(format!("it cuts text by the steps [{kinds}], {UNKNOWN}")));
        }
    };
    if words_first && name != "llama-bpe" {
        return Err(wrong(format!(
            "it takes words that are tokens before it merges (ignore_merges), which llama.cpp does not where text is cut as in {name}"
        )));
    }
    Ok(name)
}

const UNKNOWN: &str = "and those that are known here are gpt-2, smollm, llama-bpe, smaug-bpe and qwen2";

/// The name of a cut by a pattern.
fn of_pattern(split: &Value, words_first: bool) -> Result<&'static str, ErrorKind> {
    let behavior = split.get("behavior").and_then(Value::as_str);
    if behavior.is_some_and(|behavior| behavior != "Isolated") || flag(split, "invert") == Some(true) {
        return Err(wrong(
            "what it cuts text at is not kept as it is, which none of the cuts that are known here does",
        ));
    }
    match split.get("pattern").and_then(|pattern| pattern.get("Regex")?.as_str()) {
        Some(THREE_DIGITS) if words_first => Ok("llama-bpe"),
        // The same cut, without the look at whole words.
        Some(THREE_DIGITS) => Ok("smaug-bpe"),
        Some(ONE_DIGIT) => Ok("qwen2"),
        other => Err(wrong(format!("it cuts text by the pattern {}, {UNKNOWN}", quoted(other.unwrap_or("?"))))),
    }
}

fn flag(step: &Value, key: &str) -> Option<bool> {
    step.get(key)?.as_bool()
}

/// The tokens that are put before and behind every text.
fn around(step: &Value) -> Result<(Option<String>, Option<String>), ErrorKind> {
    let all: Vec<&Value> = match (kind_of(step), step.get("processors")) {
        (None, _) => Vec::new(),
        (Some("Sequence"), Some(Value::Array(steps))) => steps.iter().collect(),
        _ => vec![step],
    };
    let known = |step: &&Value| matches!(kind_of(step), Some("ByteLevel" | "TemplateProcessing"));
    if let Some(other) = all.iter().find(|step| !known(step)) {
        let name = quoted(kind_of(other).unwrap_or("?"));
        return Err(wrong(format!("it finishes texts with the step {name}, which is not known here")));
    }
    let Some(template) = all.into_iter().find(|step| kind_of(step) == Some("TemplateProcessing")) else {
        return Ok((None, None));
    };
    let pieces = template.get("single").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let token = |piece: &Value| piece.get("SpecialToken")?.get("id")?.as_str().map(str::to_owned);
    let is_text = |piece: &Value| piece.get("Sequence").is_some();
    let found = match pieces {
        [text] if is_text(text) => Some((None, None)),
        [first, text] if is_text(text) => token(first).map(|first| (Some(first), None)),
        [text, last] if is_text(text) => token(last).map(|last| (None, Some(last))),
        [first, text, last] if is_text(text) => {
            token(first).zip(token(last)).map(|(first, last)| (Some(first), Some(last)))
        }
        _ => None,
    };
    found.ok_or_else(|| wrong("its template for a text is not one token before and one behind it at most"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(pre: &str) -> String {
        format!(
            r#"{{"model": {{"type": "BPE", "vocab": {{"a": 0, "b": 1, "ab": 3, "aba": 6}}, "merges": ["a b", ["ab", "a"]]}},
            "added_tokens": [{{"id": 5, "content": "<|end|>", "special": false}}, {{"id": 4, "content": "x y", "special": false}},
            {{"id": 0, "content": "A", "special": true}}], "pre_tokenizer": {pre},
            "post_processor": {{"type": "TemplateProcessing", "single": [{{"SpecialToken": {{"id": "<|end|>"}}}}, {{"Sequence": {{}}}}]}}}}"#
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
            [
                Some(("A", 3)),
                Some(("b", 1)),
                None,
                Some(("ab", 1)),
                Some(("x y", 4)),
                Some(("<|end|>", 3)),
                Some(("aba", 1))
            ]
        );
        assert_eq!((read.begins_with.as_deref(), read.ends_with), (Some("<|end|>"), None));
    }

    #[test]
    fn the_cut_is_known_to_the_letter_or_refused() {
        let told = |text: &str| read_bytes(text.as_bytes()).map(|read| read.pre).map_err(|e| e.to_string());
        let pre = |step: &str| told(&spelled(step));
        let words_first = |step: &str| told(&spelled(step).replace("\"BPE\"", "\"BPE\", \"ignore_merges\": true"));
        assert_eq!((pre(&split(THREE_DIGITS)), words_first(&split(THREE_DIGITS))), (Ok("smaug-bpe"), Ok("llama-bpe")));
        assert!(words_first(&split(ONE_DIGIT)).unwrap_err().contains("ignore_merges"));
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
