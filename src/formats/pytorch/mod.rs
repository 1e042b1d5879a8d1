//! PyTorch's files: a pickle that says which tensors there are, and their numbers beside it. Nothing of it is run.
//!
//! ```text
//! zip     <root>/data.pkl · <root>/data/<key>, one for each storage · <root>/byteorder · <root>/version
//! script  the same, and <root>/constants.pkl · <root>/constants/<key> · <root>/code/…
//! legacy  four pickles (magic, protocol, system, object) · one of the keys · for each key its length in elements, its bytes
//! ```
//!
//! The layouts are those of `torch/serialization.py` and `caffe2/serialize/inline_container.cc`. In the pickle a tensor is a call of
//! `torch._utils._rebuild_tensor_v2` or one of its kin, with the storage, where in it the tensor begins, its shape and its strides.
//! These are read as numbers and held against the bytes that are there; any other call is left alone, and told.

mod archive;
mod calls;
mod choose;
mod dtypes;
mod legacy;
mod names;
mod place;
mod rebuild;
mod shared;
mod tree;

use super::error::{Error, ErrorKind, quoted};
use super::pickle::{Pickle, Value};
use super::{Limits, Source, Table, zip};
use std::path::Path;

pub use archive::is_torch;
pub use legacy::MAGIC;

/// The name of the format in messages.
const FORMAT: &str = "PyTorch";

/// Reads an archive of PyTorch, whose members are known.
///
/// # Errors
/// The first rule that it breaks, or that it has no tensor.
pub fn read_archive(source: &Source, members: &[zip::Member], limits: &Limits) -> Result<Table, Error> {
    archive::read(source, members, limits)
}

/// Reads a file from before PyTorch 1.6, or says what another pickle is.
///
/// # Errors
/// As [`read_archive`].
pub fn read_pickle(source: &Source, limits: &Limits) -> Result<Table, Error> {
    legacy::read(source, limits)
}

/// An error at a place of a file.
fn wrong(path: &Path, place: impl Into<String>, what: impl Into<String>) -> Error {
    Error::new(path, ErrorKind::Container { format: FORMAT, place: place.into(), what: what.into() })
}

/// What a pickle without a tensor is of.
fn nothing_in(pickle: &Pickle) -> String {
    let shown = |keys: &[(super::pickle::Id, super::pickle::Id)]| {
        let keys = keys.iter().take(4).map(|&(key, _)| match pickle.get(key) {
            Value::Text(text) => quoted(text),
            other => other.kind().to_owned(),
        });
        keys.collect::<Vec<_>>().join(", ")
    };
    let what = match pickle.get(pickle.root()) {
        Value::Dict(pairs) if !pairs.is_empty() => {
            format!("a dict of {} with the keys {}", pairs.len(), shown(pairs))
        }
        Value::Dict(_) => "an empty dict".into(),
        Value::Object(object) => match pickle.global(object.callable) {
            Some((module, name)) => format!("an object of {}", quoted(&format!("{module}.{name}"))),
            None => "an object".into(),
        },
        Value::List(items) => format!("a list of {}", items.len()),
        other => other.kind().into(),
    };
    format!("it is {what}, and no tensor is in it; give the file that holds the weights")
}

#[cfg(test)]
mod tests;
