//! What can be wrong with a file, in words that say where, what was found, what is allowed and what to do next.

use super::Dtype;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A file that cannot be read as a model.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", display_path(.path))]
pub struct Error {
    /// The file at fault.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: ErrorKind,
}

impl Error {
    /// An error about `path`.
    pub fn new(path: impl AsRef<Path>, kind: ErrorKind) -> Self {
        Self { path: path.as_ref().to_path_buf(), kind }
    }
}

/// A path for people: control and direction-changing characters escaped, never longer than a screen line.
#[must_use]
pub fn display_path(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// Text from a file or a file name made safe to print: control, bidirectional and invisible characters become `\u{…}`,
/// and what is longer than 160 characters is cut.
#[must_use]
pub fn printable(text: &str) -> String {
    printable_up_to(text, 160)
}

/// [`printable`] for texts that may be longer, such as whole messages.
#[must_use]
pub fn printable_up_to(text: &str, longest: usize) -> String {
    let mut out = String::with_capacity(text.len().min(longest.saturating_mul(4)));
    for (i, c) in text.chars().enumerate() {
        if i == longest {
            out.push('…');
            break;
        }
        if c.is_control() || is_unseen(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// [`printable`] between quotes: backslashes and quotes of the text itself stay as they are, so that it can be copied.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text))
}

/// Characters that turn the direction of others or show nothing at all: two names that differ only in these look the same.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The next step where a header contradicts itself or its file.
const AGAIN: &str = "the file is damaged or its writer is at fault; save or download it again";

/// Every dtype's name, for the message that must list them.
fn dtype_names() -> String {
    let names: Vec<&str> = Dtype::ALL.iter().map(|dtype| dtype.name()).collect();
    names.join(", ")
}

/// What is wrong. Names of tensors in messages are already made printable.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation; fields are named in it")]
pub enum ErrorKind {
    #[error("cannot be opened: {0}")]
    Open(#[source] std::io::Error),
    #[error("cannot be read: {0}")]
    Read(#[source] std::io::Error),
    #[error("is not a regular file (a folder, pipe or device); give a model file")]
    NotAFile,
    #[error("changed while it was open ({what}); open it again")]
    Changed { what: &'static str },
    #[error("{found}: {advice}")]
    Stranger { found: Cow<'static, str>, advice: &'static str },
    #[error(
        "has {bytes} bytes; a safetensors file has at least 8 (the length of its header). The download may have been cut short"
    )]
    TooShort { bytes: u64 },
    #[error(
        "the header is said to be 0 bytes long: the file begins with zeros, as one that was never filled does; save or download it again"
    )]
    HeaderEmpty,
    #[error(
        "the header is said to be {found} bytes long, more than the {allowed} allowed; this is not a {format} file, or it is damaged"
    )]
    HeaderTooLarge { format: &'static str, found: u64, allowed: u64 },
    #[error(
        "{place} is said to be {found} bytes long but only {available} bytes follow; the file is cut short (download it again)"
    )]
    HeaderPastEnd { place: &'static str, found: u64, available: u64 },
    #[error(
        "the index is {found} bytes long, more than the {allowed} allowed; it lists names of tensors and files only: save or download it again"
    )]
    IndexTooLarge { found: u64, allowed: u64 },
    #[error("{place} is not UTF-8: byte {at} of it is not text; the file is damaged")]
    NotUtf8 { place: &'static str, at: usize },
    #[error(
        "{place} begins with a byte-order mark, which JSON does not have; its writer is at fault: save it without one"
    )]
    ByteOrderMark { place: &'static str },
    #[error("{place} is not valid JSON: {what}; {}", AGAIN)]
    Json { place: &'static str, what: String },
    #[error("{place} is {found}, not a JSON object; {}", AGAIN)]
    NotAnObject { place: &'static str, found: String },
    #[error(
        "{place} names \"{name}\" twice; readers disagree on which one counts, so the file is refused: save it again with each name once"
    )]
    DuplicateKey { place: String, name: String },
    #[error("{place} holds more than {allowed} values that nobody reads; {}", AGAIN)]
    TooMuchElse { place: &'static str, allowed: usize },
    #[error("the metadata has more than {allowed} keys, which are the most that are read; {}", AGAIN)]
    TooManyTexts { allowed: usize },
    #[error("__metadata__ must map text to text, but it is {found}; {}", AGAIN)]
    MetadataNotObject { found: String },
    #[error("__metadata__ must map text to text, but its key \"{key}\" holds {found}; {}", AGAIN)]
    MetadataNotText { key: String, found: String },
    #[error(
        "a tensor is named __metadata__, which is where a file keeps text about itself; its writer should have refused that: rename the tensor and save it again"
    )]
    TensorNamedMetadata,
    #[error("tensor \"{name}\": {what}; {}", AGAIN)]
    Entry { name: String, what: String },
    #[error(
        "tensor \"{name}\": dtype \"{found}\" is none of the {} that safetensors defines: {}",
        Dtype::ALL.len(),
        dtype_names()
    )]
    UnknownDtype { name: String, found: String },
    #[error("tensor \"{name}\": {rank} dimensions, more than the {allowed} allowed")]
    TooManyDimensions { name: String, rank: usize, allowed: usize },
    #[error("the header lists more than {allowed} tensors, which are the most that are read")]
    TooManyTensors { allowed: usize },
    #[error("tensor \"{name}\": {what}; {}", AGAIN)]
    NoSize { name: String, what: NoSize },
    #[error("tensor \"{name}\": data_offsets [{begin}, {end}] run backwards; {}", AGAIN)]
    OffsetsBackwards { name: String, begin: u64, end: u64 },
    #[error("tensor \"{name}\": shape and dtype need {needed} bytes, data_offsets hold {found}; {}", AGAIN)]
    WrongSize { name: String, needed: u64, found: u64 },
    #[error(
        "tensor \"{name}\" starts at byte {found} of the data, expected {expected}: there is {what} before it; {}",
        AGAIN
    )]
    NotContiguous { name: String, found: u64, expected: u64, what: &'static str },
    #[error("the header describes {described} bytes of data, the file holds {held}: {advice}")]
    WrongLength { described: u64, held: u64, advice: &'static str },
    #[error("GGUF file, {place}: {what}")]
    Gguf { place: String, what: String },
    #[error("{format} file, {place}: {what}")]
    Container { format: &'static str, place: String, what: String },
    #[error("packed file, {place}: {what}")]
    Packed { place: String, what: String },
    #[error(
        "this is version {found} of the packed format; this program reads up to version {known}. Use a newer Spokeshave"
    )]
    PackedVersion { found: u32, known: u32 },
    #[error("the tokenizer: {what}")]
    Tokenizer { what: String },
    #[error("the index: {what}")]
    Index { what: String },
    #[error(
        "tensor \"{name}\" is in {first} and in {second}; one of the two is left over from something else: remove it"
    )]
    InTwoFiles { name: String, first: String, second: String },
    #[error("the name of this file is not UTF-8, so no index could name it; rename it, or open it by itself")]
    ShardName,
}

/// Why a shape has no size in whole bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum NoSize {
    #[error("shape {0} has more elements than can be counted")]
    Elements(String),
    #[error("shape {0} needs more bytes than can be counted")]
    Bytes(String),
    #[error("its {0} bits in all do not end on a whole byte")]
    Bits(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_spelled() {
        for unseen in
            ["\u{ad}", "\u{180e}", "\u{115f}", "\u{3164}", "\u{fff9}", "\u{e0041}", "\u{34f}", "\u{fe0f}", "\u{7f}"]
        {
            assert!(printable(unseen).starts_with("\\u{"), "{unseen:?}");
        }
        assert_eq!(printable("вес é 重み 😀"), "вес é 重み 😀");
        assert_eq!(quoted("a\\b\n"), "\"a\\b\\u{a}\"");
        assert_eq!(printable(&"x".repeat(1000)).chars().count(), 161);
    }
}
