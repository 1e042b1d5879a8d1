//! Tensor infos: names, shapes and types, then the place of each, which must follow from those before it.

use super::cursor::{Cursor, Fault, says};
use crate::formats::error::{ErrorKind, quoted};
use crate::formats::{Dtype, Entry, Limits};
use crate::kernels::ggml::BlockType;
use std::collections::HashSet;
use std::ops::Range;

/// Dimensions of a tensor at most.
pub const MOST_DIMENSIONS: u32 = 4;

/// Bytes of a tensor's name at most: llama.cpp keeps 64, and the last is a zero.
pub const MOST_NAME: usize = 63;

/// Bytes that an info has at least: the name's length, the number of dimensions, type and offset.
const LEAST: u64 = 24;

/// A tensor as its info has it: the offset is from the start of the data.
pub(super) struct Info {
    name: String,
    shape: Vec<usize>,
    block_type: BlockType,
    bytes: u64,
    offset: u64,
}

/// Tensors with their places in the file.
pub(super) struct Placed {
    pub(super) entries: Vec<Entry>,
    /// Where the data starts.
    pub(super) data: u64,
    /// Bytes after all tensors.
    pub(super) surplus: u64,
}

/// Reads `count` infos.
pub(super) fn read(cursor: &mut Cursor<'_>, count: u64, limits: &Limits) -> Result<Vec<Info>, Fault> {
    cursor.holds(count, LEAST, "its tensors", "infos")?;
    if count > limits.tensors as u64 {
        return Err(Fault::Says(ErrorKind::TooManyTensors { allowed: limits.tensors }));
    }
    let mut infos = Vec::new();
    let mut names = HashSet::new();
    for number in 0..count {
        let info = info(cursor, &format!("tensor {number}"))?;
        if !names.insert(info.name.clone()) {
            let name = info.name;
            return Err(Fault::Says(ErrorKind::DuplicateKey { place: "the list of tensors".into(), name }));
        }
        infos.push(info);
    }
    Ok(infos)
}

fn info(cursor: &mut Cursor<'_>, number: &str) -> Result<Info, Fault> {
    let length = cursor.length(number)?;
    if length > MOST_NAME as u64 {
        let what = format!(
            "its name is {length} bytes long, at most {MOST_NAME} are allowed; the writer of this file is at fault"
        );
        return Err(says(number, what));
    }
    let name = match std::str::from_utf8(cursor.bytes(length, number)?) {
        Ok(name) => name.to_owned(),
        Err(_) => return Err(says(number, "its name is not UTF-8; the file is damaged")),
    };
    let place = format!("tensor {}", quoted(&name));
    let dimensions = cursor.u32(&place)?;
    if dimensions > MOST_DIMENSIONS {
        let what =
            format!("it has {dimensions} dimensions, at most {MOST_DIMENSIONS} are allowed; the file is damaged");
        return Err(says(place, what));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let dimension = cursor.u64(&place)?;
        let counted = i64::try_from(dimension).ok().and_then(|_| usize::try_from(dimension).ok());
        let what = || format!("a dimension is {dimension}, more than can be counted; the file is damaged");
        shape.push(counted.ok_or_else(|| says(&place, what()))?);
    }
    // The file has the fastest dimension first.
    shape.reverse();
    let block_type = block_type(cursor.u32(&place)?, &place)?;
    let bytes = bytes(&shape, block_type).map_err(|what| says(&place, what))?;
    Ok(Info { name, shape, block_type, bytes, offset: cursor.u64(&place)? })
}

fn block_type(id: u32, place: &str) -> Result<BlockType, Fault> {
    BlockType::from_id(id).ok_or_else(|| {
        let what = match id {
            4 | 5 => "Q4_2 and Q4_3 were withdrawn in 2023; convert the model again".to_owned(),
            31..=33 | 36..=38 => {
                "this repacked type is no longer stored in files; quantize the model again, for instance to Q4_0"
                    .to_owned()
            }
            _ => "the file is damaged, or newer than this program".to_owned(),
        };
        says(place, format!("its type has number {id}, which no known type has: {what}"))
    })
}

/// Bytes of a tensor, or what is wrong with its shape.
fn bytes(shape: &[usize], block_type: BlockType) -> Result<u64, String> {
    // llama.cpp counts with a sign. A zero makes no shape smaller here: whoever multiplies in another order would not count it.
    let counted = |n: &usize| i64::try_from(*n).is_ok();
    let nonzero = shape.iter().filter(|&&d| d > 0);
    let most = nonzero.clone().try_fold(1_usize, |product, &d| product.checked_mul(d).filter(counted));
    let most = most.ok_or_else(|| format!("its shape {shape:?} has more elements than can be counted"))?;
    let elements = if nonzero.count() == shape.len() { most } else { 0 };
    let row = shape.last().copied().unwrap_or(1);
    let size = block_type.elements();
    if !row.is_multiple_of(size) {
        let name = block_type.name();
        return Err(format!(
            "its rows of {row} elements are not whole blocks of {size}, as {name} needs; the file is damaged"
        ));
    }
    let bytes = block_type.bytes_of(elements).and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| format!("its shape {shape:?} needs more bytes than can be counted"))
}

/// Gives each tensor its place; each begins where the one before it ends, rounded up to the alignment.
pub(super) fn place(cursor: &Cursor<'_>, infos: Vec<Info>, alignment: u64) -> Result<Placed, Fault> {
    let up = |at: u64| at.checked_next_multiple_of(alignment);
    // Without tensors there is no data, and no padding before it.
    let data = if infos.is_empty() { Some(cursor.at()) } else { up(cursor.at()) };
    let mut expected = Some(0_u64);
    let mut last = 0;
    let mut entries = Vec::with_capacity(infos.len());
    for info in infos {
        let place = || format!("tensor {}", quoted(&info.name));
        let past = || says(place(), "it lies past any file; the file is damaged");
        let start = expected.ok_or_else(past)?;
        if info.offset != start {
            let what = format!(
                "it starts at byte {} of the data, expected {start}: tensors follow one another, each from a multiple of {alignment} on; the file is damaged",
                info.offset
            );
            return Err(says(place(), what));
        }
        let end = start.checked_add(info.bytes);
        let absolute = |offset: u64| data.and_then(|data| data.checked_add(offset));
        let range: Option<Range<u64>> = absolute(start).zip(end.and_then(absolute)).map(|(start, end)| start..end);
        let range = range.ok_or_else(past)?;
        if range.end > cursor.end() {
            let what = format!(
                "it ends at byte {} and the file at byte {}; the file is cut short (download it again)",
                range.end,
                cursor.end()
            );
            return Err(says(place(), what));
        }
        expected = end.and_then(up);
        last = range.end;
        entries.push(entry(info, range));
    }
    let data = data.unwrap_or(cursor.at()).min(cursor.end());
    // The padding of the last tensor may be missing; llama.cpp does not ask for it.
    let end = expected.and_then(|bytes| data.checked_add(bytes)).unwrap_or(last);
    // A vocabulary alone is padded by some writers too.
    let padded = entries.is_empty() && up(end) == Some(cursor.end());
    let end = if padded { cursor.end() } else { end };
    Ok(Placed { entries, data, surplus: cursor.end().saturating_sub(end) })
}

fn entry(info: Info, range: Range<u64>) -> Entry {
    let plain = plain(info.block_type);
    let block_type = plain.is_none().then_some(info.block_type);
    // What is stored in blocks counts by its values, and those are f32.
    let dtype = plain.unwrap_or(Dtype::F32);
    Entry { name: info.name, dtype, shape: info.shape, range, packed: None, block_type }
}

/// The dtype of a type that is not stored in blocks.
const fn plain(block_type: BlockType) -> Option<Dtype> {
    Some(match block_type {
        BlockType::F32 => Dtype::F32,
        BlockType::F16 => Dtype::F16,
        BlockType::BF16 => Dtype::BF16,
        BlockType::F64 => Dtype::F64,
        BlockType::I8 => Dtype::I8,
        BlockType::I16 => Dtype::I16,
        BlockType::I32 => Dtype::I32,
        BlockType::I64 => Dtype::I64,
        _ => return None,
    })
}
