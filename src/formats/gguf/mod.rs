//! GGUF, llama.cpp's container: versions 2 and 3 read, version 3 written.
//!
//! ```text
//! "GGUF" · u32 version · u64 tensors · u64 pairs · pairs · tensor infos · zeros up to the alignment · data
//! ```
//!
//! The rules are those of `gguf_init_from_file` in llama.cpp (`ggml/src/gguf.cpp`), with its known holes closed: counts
//! are held against the bytes that are left before anything is reserved, every product and sum is checked, and a tensor
//! past the end of the file is found here and not when it is read. Key-values are text and numbers for people and for the
//! next file; nothing in them sizes, divides or runs anything.

mod cursor;
mod infos;
mod items;
pub mod layout;
mod values;

pub use items::each_item;
pub use values::{KeyValue, KeyValues, Kind, Value};

use super::error::ErrorKind;
use super::{Error, Limits, Source, Table};
use cursor::{Cursor, Fault, says};

/// The first bytes of every GGUF file.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// The version that is written.
pub const VERSION: u32 = 3;

/// The alignment of tensors where no key says another.
pub const ALIGNMENT: u64 = 32;

/// The most that an alignment may be; files in use have 32, 64 or a page.
const MOST_ALIGNMENT: u64 = 1 << 20;

/// The key of the alignment.
pub const ALIGNMENT_KEY: &str = "general.alignment";

/// What a GGUF file says beside its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// 2 or 3.
    pub version: u32,
    /// Key-values in the order of the file.
    pub pairs: KeyValues,
    /// Tensors start at multiples of this, counted from the start of the data.
    pub alignment: u64,
    /// Where the data starts.
    pub data: u64,
    /// Bytes after the last tensor and its padding, which belong to nothing.
    pub surplus: u64,
}

/// Reads and checks the header of a GGUF file.
///
/// # Errors
/// The first rule that the file breaks.
pub fn read_table(source: &Source, limits: &Limits) -> Result<Table, Error> {
    table(&mut Cursor::of_file(source, limits), limits).map_err(|fault| fault.about(source.path()))
}

/// [`read_table`] for a file that is in memory already.
///
/// # Errors
/// As [`read_table`].
pub fn read_bytes(file: &[u8], limits: &Limits) -> Result<Table, ErrorKind> {
    table(&mut Cursor::of_memory(file, limits), limits).map_err(|fault| match fault {
        Fault::Says(kind) => kind,
        Fault::Read(error) => error.kind,
    })
}

fn table(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Table, Fault> {
    let place = "its first bytes";
    let magic = cursor.fixed::<4>(place)?;
    if magic != MAGIC {
        return Err(says(place, "it does not begin with the letters GGUF; this is not a GGUF file"));
    }
    let version = version(cursor)?;
    let tensors = cursor.u64(place)?;
    let pairs = cursor.u64(place)?;
    let pairs = values::read(cursor, pairs, limits)?;
    let alignment = alignment(&pairs)?;
    let infos = infos::read(cursor, tensors, limits)?;
    let placed = infos::place(cursor, infos, alignment)?;
    let head = Head { version, pairs, alignment, data: placed.data, surplus: placed.surplus };
    let metadata = head.pairs.0.iter().filter_map(|pair| match &pair.value {
        // What our own artifacts say of themselves is read like that of the other containers.
        Value::Text(text) if pair.key.starts_with("spokeshave.") => Some((pair.key.clone(), text.clone())),
        _ => None,
    });
    Ok(Table { metadata: metadata.collect(), tensors: placed.entries, gguf: Some(Box::new(head)), ..Table::default() })
}

fn version(cursor: &mut Cursor<'_>) -> Result<u32, Fault> {
    let place = "its version";
    let version = cursor.u32(place)?;
    let says = |what: String| Err(says(place, what));
    match version {
        2 | 3 => Ok(version),
        0 => says("it is 0; the file is damaged".into()),
        1 => says("it is 1, of August 2023, which nothing reads any more; convert the model again".into()),
        swapped if swapped.trailing_zeros() >= 16 => says(format!(
            "it is {swapped:#x}: the file was written for a big-endian machine; convert the model for little-endian ones"
        )),
        newer => says(format!("it is {newer}, and this program reads 2 and 3; use a newer Spokeshave")),
    }
}

fn alignment(pairs: &KeyValues) -> Result<u64, Fault> {
    let Some(pair) = pairs.0.iter().find(|pair| pair.key == ALIGNMENT_KEY) else { return Ok(ALIGNMENT) };
    let place = || format!("key {}", super::error::quoted(ALIGNMENT_KEY));
    let allowed = format!("allowed are powers of two from 1 to {MOST_ALIGNMENT}, as u32");
    match pair.value {
        Value::Unsigned(number) if pair.kind == Kind::U32 => {
            if number.is_power_of_two() && number <= MOST_ALIGNMENT {
                return Ok(number);
            }
            Err(says(place(), format!("it is {number}; {allowed}")))
        }
        _ => Err(says(place(), format!("it is of type {}; {allowed}", pair.kind.name()))),
    }
}

#[cfg(test)]
mod tests;
