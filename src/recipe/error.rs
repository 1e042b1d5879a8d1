//! What can be wrong with a request: the fault is the one who asks, and the message says what would be accepted.

use crate::formats::error::{display_path, quoted};
use std::path::PathBuf;

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation; fields are named in it")]
pub enum Error {
    #[error("scheme {}: {what}", quoted(text))]
    Scheme { text: String, what: String },
    #[error("{} is not PATTERN=SCHEME, for example '*.weight=int4:g64'", quoted(.0))]
    NotASetting(String),
    #[error("unknown target {}; there are safetensors, packed, gguf, compressed-tensors and mlx", quoted(found))]
    Target { found: String },
    #[error("pattern {}: {what}", quoted(text))]
    Pattern { text: String, what: String },
    #[error("pattern {} touches no tensor: {why}", quoted(pattern))]
    TouchesNothing { pattern: String, why: String },
    #[error("there is no tensor {}: {why}", quoted(name))]
    NoSuchTensor { name: String, why: String },
    #[error("tensor {} cannot be touched: {why}", quoted(tensor))]
    Untouchable { tensor: String, why: String },
    #[error(
        "masks take {letters} letters in the header of a {target} file, and at most {most} fit; quantize fewer masked tensors, or use symmetric grids or casts for them, whose zeros tell the mask"
    )]
    Masks { target: &'static str, letters: u64, most: u64 },
    #[error("tensor {} is locked; unlock it or choose another", quoted(.0))]
    Locked(String),
    #[error("{} on tensor {}: {why}", quoted(scheme), quoted(tensor))]
    NoUnits { tensor: String, scheme: String, why: String },
    #[error(
        "tensor {} is locked, and {} on {} would take a part of it along; unlock it or leave that out",
        quoted(tensor),
        quoted(scheme),
        quoted(by)
    )]
    LockedFollower { tensor: String, by: String, scheme: String },
    #[error("this model is not converted to GGUF here: {why}; {road}")]
    NotConverted { why: String, road: &'static str },
    #[error("target {target}: {why}; {instead}")]
    Source { target: &'static str, why: String, instead: String },
    #[error("{what} is not built yet; {instead}")]
    NotBuilt { what: String, instead: String },
    #[error(
        "tensor {}: target {target} cannot hold {scheme}{}; the nearest it can hold is {nearest} (--nearest accepts it)",
        quoted(tensor),
        why.map(|why| format!(" ({why})")).unwrap_or_default()
    )]
    CannotHold { tensor: String, target: &'static str, scheme: String, why: Option<&'static str>, nearest: String },
    #[error(
        "tensor {}: target {target} stores it as one with {}, and both need the same number format and groups: {apart}; set all of them alike, the nearest for it is {nearest} (--nearest accepts it)",
        quoted(tensor),
        quoted(with)
    )]
    Joined { tensor: String, with: String, target: &'static str, apart: String, nearest: String },
    #[error(
        "tensor {}: target {target} stores it as one with {}, and both need the same number format and groups: {apart}, and the other stays as it is; {instead}",
        quoted(tensor),
        quoted(with)
    )]
    JoinedFixed { tensor: String, with: String, target: &'static str, apart: String, instead: &'static str },
    #[error(
        "tensor {}: no level of {scheme} is 0, so what is pruned would not stay 0; {instead} has one (--nearest takes the scheme all the same, and zeros tells)",
        quoted(tensor)
    )]
    NoZero { tensor: String, scheme: String, instead: String },
    #[error("{}, line {line}: {what}", display_path(path))]
    File { path: PathBuf, line: usize, what: String },
    #[error("{}: cannot be read: {what}", display_path(path))]
    Unreadable { path: PathBuf, what: String },
}

impl Error {
    /// Whether the command line itself is wrong (exit 2), rather than what it asks for (exit 1).
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Scheme { .. } | Self::NotASetting(_) | Self::Target { .. } | Self::Pattern { .. })
    }
}
