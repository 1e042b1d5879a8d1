//! ONNX: the weights of a graph, found by a walk through the protobuf that holds it. Nothing is run and no operator is known but
//! those that say how a weight lies, or what a tensor is for.
//!
//! ```text
//! ModelProto ─ graph ─┬─ initializer (TensorProto) …             every one, by its name
//!                     └─ node ─ attribute ─┬─ t (TensorProto)    of Constant: real vectors and matrices, by the name of its output
//!                                          └─ g (GraphProto)     a branch or a loop's body: the same again
//! ```
//!
//! Lengths are passed over and not read, so a model of gigabytes costs its structure alone. The rules for a tensor are those
//! of `onnx.checker` (onnx 1.23, onnx/checker.cc): its shape and type must need exactly the bytes that are there. What ONNX keeps
//! in another form than raw bytes (lists of varints, integers of 4 and 2 bits) is converted and held in memory; what has no
//! equal among the dtypes is left alone, and a note says so.

mod data;
mod graph;
mod tensor;
#[cfg(test)]
mod tests;
mod uses;
mod wire;

pub use data::Outside;
pub use tensor::Elsewhere;

use super::annex::Annex;
use super::error::{Error, ErrorKind, quoted};
use super::{Limits, Source, Table};

/// The next step where a file contradicts itself.
const AGAIN: &str = "the file is damaged or its writer is at fault; export or download it again";

/// What an ONNX file says beside its own tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Tensors whose values lie in other files.
    pub outside: Vec<Outside>,
}

/// Whether the first bytes of a file can be those of a ModelProto: fields that it has, of the kinds that it has, and among them
/// the version of the format.
#[must_use]
pub fn looks_like(head: &[u8]) -> bool {
    let source = Source::in_memory("head", head.to_vec());
    let mut wire = wire::Wire::new(&source, &Limits::default());
    // What a field is said to take may well go past the head.
    let mut message = 0..u64::MAX;
    let mut version = false;
    while message.start < source.len() {
        let Ok(Some(field)) = wire.next(&mut message, "the first bytes") else { return version };
        version |= match (field.number, field.value) {
            (1, wire::Value::Varint(1..=1000)) => true,
            (5, wire::Value::Varint(_)) | (2..=4 | 6..=8 | 14 | 20 | 25 | 26, wire::Value::Bytes(_)) => false,
            // What a later version may add.
            (27..=1000, _) => false,
            _ => return false,
        };
    }
    version
}

/// Reads the weights of an ONNX model: where they lie in the file, and which lie in others.
///
/// # Errors
/// The first rule that the file breaks.
pub fn read_table(source: &Source, limits: &Limits) -> Result<Table, Error> {
    graph::read(source, limits)
}

/// The tensors of a model that lie in one of its other files.
///
/// # Errors
/// When their places are not in that file, or do not fit their shapes.
pub fn read_outside(source: &Source, tensors: Vec<Outside>, limits: &Limits) -> Result<Table, Error> {
    let mut annex = Annex::new(source.len());
    let mut entries = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let place = tensor::place(&tensor.name);
        let range = data::outside_range(&tensor, source.len()).map_err(|what| wrong(source, &place, what))?;
        let mut room = data::Room { annex: &mut annex, limits };
        let (dtype, range) = data::raw_values(source, tensor.kind, &tensor.shape, range, &mut room)
            .map_err(|fault| fault.about(source, &place))?;
        entries.push(data::entry(tensor.name, dtype, tensor.shape, range));
    }
    Ok(Table { tensors: entries, annex, ..Table::default() })
}

fn wrong(source: &Source, place: &str, what: impl Into<String>) -> Error {
    Error::new(source.path(), ErrorKind::Container { format: "ONNX", place: place.into(), what: what.into() })
}

/// A count with its noun.
fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("one {one}") } else { format!("{count} {many}") }
}

/// "one tensor is", "3 tensors are", with the first by name.
fn with_first(count: usize, name: &str) -> String {
    match count {
        1 => format!("tensor {} is", quoted(name)),
        _ => format!("{} (first {}) are", counted(count, "tensor", "tensors"), quoted(name)),
    }
}
