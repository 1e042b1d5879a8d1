//! What can be wrong with a file, in words that say where, what was found, what is allowed and what to do next.

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

/// Text from a file or a file name made safe to print: control and bidirectional characters become `\u{…}`, and what is
/// longer than 160 characters is cut.
#[must_use]
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 160;
    let mut out = String::with_capacity(text.len().min(4 * LONGEST));
    for (i, c) in text.chars().enumerate() {
        if i == LONGEST {
            out.push('…');
            break;
        }
        let turns = matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || turns {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
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
    Stranger { found: &'static str, advice: &'static str },
    #[error(
        "has {bytes} bytes; a safetensors file has at least 8 (the length of its header). The download may have been cut short"
    )]
    TooShort { bytes: u64 },
    #[error(
        "the header is said to be {found} bytes long, more than the {allowed} allowed; this is not a safetensors file, or it is damaged"
    )]
    HeaderTooLarge { found: u64, allowed: u64 },
    #[error(
        "the header is said to be {found} bytes long but only {available} bytes follow; the file is cut short (download it again)"
    )]
    HeaderPastEnd { found: u64, available: u64 },
    #[error("the header is not UTF-8: byte {at} of it is not text; the file is damaged")]
    HeaderNotUtf8 { at: usize },
    #[error("the header is not valid JSON: {0}")]
    HeaderJson(String),
    #[error("the header names {name:?} twice; readers disagree on which one counts, so the file is refused")]
    DuplicateKey { name: String },
    #[error("__metadata__ must hold text only: key {key:?} holds something else")]
    MetadataNotText { key: String },
    #[error("tensor {name:?}: dtype {found:?} is not one that safetensors defines (F32, BF16, I64, …)")]
    UnknownDtype { name: String, found: String },
    #[error("tensor {name:?}: {rank} dimensions, more than the {allowed} allowed")]
    TooManyDimensions { name: String, rank: usize, allowed: usize },
    #[error("the header lists {found} tensors, more than the {allowed} allowed")]
    TooManyTensors { found: usize, allowed: usize },
    #[error("tensor {name:?}: shape {shape} has more elements than can be counted")]
    ShapeOverflow { name: String, shape: String },
    #[error("tensor {name:?}: {bits} bits in all do not end on a whole byte")]
    NotWholeBytes { name: String, bits: u128 },
    #[error("tensor {name:?}: data_offsets [{begin}, {end}] run backwards")]
    OffsetsBackwards { name: String, begin: u64, end: u64 },
    #[error("tensor {name:?}: shape and dtype need {needed} bytes, data_offsets hold {found}")]
    WrongSize { name: String, needed: u64, found: u64 },
    #[error("tensor {name:?} starts at byte {found} of the data, expected {expected}: there is {what} before it")]
    NotContiguous { name: String, found: u64, expected: u64, what: &'static str },
    #[error("the header describes {described} bytes of data, the file holds {held}: {advice}")]
    WrongLength { described: u64, held: u64, advice: &'static str },
    #[error("{place}: {what}")]
    Packed { place: String, what: String },
    #[error(
        "this is version {found} of the packed format; this program reads up to version {known}. Use a newer Spokeshave"
    )]
    PackedVersion { found: u32, known: u32 },
    #[error("the reference reader refuses it: {0}")]
    Reference(String),
}
