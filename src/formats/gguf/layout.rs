//! Writing GGUF: pairs and infos as bytes, and where each tensor goes.

use super::values::Kind;
use super::{MAGIC, VERSION, infos::MOST_DIMENSIONS, infos::MOST_NAME};
use crate::formats::ErrorKind;
use crate::formats::error::quoted;
use crate::kernels::ggml::BlockType;

/// A tensor to be listed.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    /// Its name.
    pub name: &'a str,
    /// Dimensions, outermost first.
    pub shape: &'a [usize],
    /// How its values are stored.
    pub block_type: BlockType,
}

/// Where everything behind the pairs goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The tensor infos.
    pub infos: Vec<u8>,
    /// Zeros between the infos and the data.
    pub padding: u64,
    /// Where each tensor begins, from the start of the data; in the order of the listings.
    pub offsets: Vec<u64>,
    /// Bytes of the whole file.
    pub len: u64,
}

/// The file's first 24 bytes.
#[must_use]
pub fn prefix(tensors: u64, pairs: u64) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes(), &tensors.to_le_bytes(), &pairs.to_le_bytes()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn pair(key: &str, kind: Kind, value: &[u8]) -> Vec<u8> {
    [&text(key)[..], &kind.id().to_le_bytes(), value].concat()
}

/// A pair that holds a text.
#[must_use]
pub fn text_pair(key: &str, value: &str) -> Vec<u8> {
    pair(key, Kind::Text, &text(value))
}

/// A pair that holds a u32.
#[must_use]
pub fn u32_pair(key: &str, value: u32) -> Vec<u8> {
    pair(key, Kind::U32, &value.to_le_bytes())
}

/// A pair that holds an f32.
#[must_use]
pub fn f32_pair(key: &str, value: f32) -> Vec<u8> {
    pair(key, Kind::F32, &value.to_le_bytes())
}

/// A pair that holds yes or no.
#[must_use]
pub fn bool_pair(key: &str, value: bool) -> Vec<u8> {
    pair(key, Kind::Bool, &[value.into()])
}

/// A pair that holds a list of texts.
#[must_use]
pub fn texts_pair(key: &str, values: &[String]) -> Vec<u8> {
    let items: Vec<u8> = values.iter().flat_map(|value| text(value)).collect();
    array_pair(key, Kind::Text, values.len(), &items)
}

/// A pair that holds a list of i32.
#[must_use]
pub fn i32s_pair(key: &str, values: &[i32]) -> Vec<u8> {
    let items: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    array_pair(key, Kind::I32, values.len(), &items)
}

fn array_pair(key: &str, of: Kind, count: usize, items: &[u8]) -> Vec<u8> {
    pair(key, Kind::Array, &[&of.id().to_le_bytes()[..], &(count as u64).to_le_bytes(), items].concat())
}

/// Lays tensors out behind `pair_bytes` bytes of pairs, each at the next multiple of `alignment` (which is not 0), the last
/// padded too.
///
/// # Errors
/// A tensor that the format cannot list: a long name, many dimensions, rows that are no whole blocks, or a size that nobody
/// can count.
pub fn lay_out(pair_bytes: u64, tensors: &[Listing<'_>], alignment: u64) -> Result<Layout, ErrorKind> {
    let fail = |name: &str, what: String| ErrorKind::Gguf { place: format!("tensor {}", quoted(name)), what };
    let mut infos = Vec::new();
    let mut offsets = Vec::with_capacity(tensors.len());
    let mut at = 0_u64;
    for Listing { name, shape, block_type } in tensors {
        if name.len() > MOST_NAME {
            let what = format!("its name has {} bytes, and GGUF takes {MOST_NAME} at most; rename it", name.len());
            return Err(fail(name, what));
        }
        if shape.len() > MOST_DIMENSIONS as usize {
            let what = format!("it has {} dimensions, and GGUF takes {MOST_DIMENSIONS} at most", shape.len());
            return Err(fail(name, what));
        }
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(block_type.elements()) {
            let what = format!("its rows of {row} are no whole blocks of {} for {block_type}", block_type.elements());
            return Err(fail(name, what));
        }
        infos.extend(text(name));
        infos.extend(u32::try_from(shape.len()).unwrap_or(MOST_DIMENSIONS).to_le_bytes());
        shape.iter().rev().for_each(|&d| infos.extend((d as u64).to_le_bytes()));
        infos.extend(block_type.id().to_le_bytes());
        infos.extend(at.to_le_bytes());
        offsets.push(at);
        let elements = shape.iter().try_fold(1_usize, |product, &d| product.checked_mul(d));
        let bytes = elements.and_then(|n| block_type.bytes_of(n)).and_then(|bytes| u64::try_from(bytes).ok());
        let end = bytes.and_then(|bytes| at.checked_add(bytes)?.checked_next_multiple_of(alignment));
        at = end.ok_or_else(|| fail(name, "it needs more bytes than can be counted".into()))?;
    }
    let head = 24_u64.saturating_add(pair_bytes).saturating_add(infos.len() as u64);
    let data = if tensors.is_empty() { head } else { head.checked_next_multiple_of(alignment).unwrap_or(head) };
    Ok(Layout { infos, padding: data - head, offsets, len: data.saturating_add(at) })
}
