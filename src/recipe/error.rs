//! What can be wrong with a request: the fault is the one who asks, and the message says what would be accepted.

use std::path::PathBuf;

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation; fields are named in it")]
pub enum Error {
    #[error("scheme {text:?}: {what}")]
    Scheme { text: String, what: String },
    #[error("{0:?} is not PATTERN=SCHEME, for example '*.weight=int4:g64'")]
    NotASetting(String),
    #[error("unknown target {found:?}; there are safetensors, packed, gguf, compressed-tensors and mlx")]
    Target { found: String },
    #[error("pattern {text:?}: {what}")]
    Pattern { text: String, what: String },
    #[error("pattern {pattern:?} touches no tensor: {why}")]
    TouchesNothing { pattern: String, why: String },
    #[error("tensor {tensor:?} cannot be touched: {why}")]
    Untouchable { tensor: String, why: String },
    #[error("tensor {0:?} is locked; unlock it or choose another")]
    Locked(String),
    #[error("{what} is not built yet; {instead}")]
    NotBuilt { what: String, instead: String },
    #[error(
        "tensor {tensor:?}: target {target} cannot hold {scheme}; the nearest it can hold is {nearest} (--nearest accepts it)"
    )]
    CannotHold { tensor: String, target: &'static str, scheme: String, nearest: String },
    #[error("{}, line {line}: {what}", path.display())]
    File { path: PathBuf, line: usize, what: String },
    #[error("{}: cannot be read: {what}", path.display())]
    Unreadable { path: PathBuf, what: String },
}

impl Error {
    /// Whether the command line itself is wrong (exit 2), rather than what it asks for (exit 1).
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Scheme { .. } | Self::NotASetting(_) | Self::Target { .. } | Self::Pattern { .. })
    }
}
