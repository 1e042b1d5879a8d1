//! Bytes to tables: the only room that reads model files, and the first to doubt what they say.
//!
//! ```text
//! path ─► sniff ─► Source (mapped, or read in pieces) ─► safetensors | packed | gguf | … ─► Table: names, dtypes, shapes, ranges
//! ```
//!
//! A reader here checks every number of a header before it enters arithmetic or sizes an allocation, and answers with an
//! [`Error`] that names the file, the place, what was found, what is allowed and what to do next. It never looks at a
//! weight's value; that is `model`'s business.

// What a stranger wrote is read here, so nothing may panic or be cut short on the way; tests may.
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod annex;
pub mod assembly;
pub mod base64;
mod descriptors;
pub mod dtype;
pub mod error;
mod fault;
mod frame;
pub mod gguf;
pub mod index;
pub mod json;
pub mod limits;
pub mod npy;
pub mod npz;
pub mod onnx;
pub mod packed;
mod packed_code;
mod packed_coding;
pub mod packed_layout;
mod packed_tensor;
pub mod pickle;
pub mod pytorch;
pub mod safetensors;
pub mod sniff;
pub mod source;
pub mod tokenizer;
mod window;
pub mod zip;

pub use dtype::Dtype;
pub use error::{Error, ErrorKind};
pub use limits::Limits;
pub use source::Source;

use crate::kernels::ggml::BlockType;
use std::collections::BTreeMap;
use std::ops::Range;

/// What a header lists: every tensor with its place in the file, and the file's own key-value text.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Tensors in the order of the file.
    pub tensors: Vec<Entry>,
    /// `__metadata__` or its equal: text only, never interpreted by a reader.
    pub metadata: BTreeMap<String, String>,
    /// What a GGUF file says beside its tensors.
    pub gguf: Option<Box<gguf::Head>>,
    /// What an ONNX file says of tensors that lie in other files.
    pub onnx: Option<Box<onnx::Head>>,
    /// What tensors with a place behind the file's end are made of.
    pub annex: annex::Annex,
    /// What a graph in the file uses tensors for, by name.
    pub uses: BTreeMap<String, Use>,
    /// Names beside those of the tensors: each with the tensor that it is another name of.
    pub aliases: BTreeMap<String, String>,
    /// What was left alone or is shared, a sentence each.
    pub notes: Vec<String>,
}

/// What a graph uses a tensor for, where its name need not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// It is added to what weights make of an input.
    Bias,
    /// It holds codes, whose values are told by scales beside it.
    Codes,
    /// It is a scale or zero point.
    Side,
}

/// One tensor of a header.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name as the file spells it.
    pub name: String,
    /// Element type; F32 for what is stored in GGML's blocks.
    pub dtype: Dtype,
    /// Dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Bytes from the start of the file.
    pub range: Range<u64>,
    /// How the bytes are coded, when they are not plain elements.
    pub packed: Option<packed_layout::Coding>,
    /// GGML's block type, when the bytes are blocks of it.
    pub block_type: Option<BlockType>,
}

impl Entry {
    /// Number of elements; the header's product was checked when it was read.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}
