//! One array of NumPy: a short text that says what it is, then its numbers (NEP 1; `numpy/lib/_format_impl.py` of 2.4).
//!
//! ```text
//! 93 "NUMPY" · version (1.0, 2.0, 3.0) · u16 or u32 length · {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } · data
//! ```
//!
//! Column-major arrays and big-endian numbers are views, put in order when they are read. What NumPy has no name for is saved as
//! void bytes; of two bytes that is nearly always bfloat16 (`ml_dtypes`, and JAX with it), so `V2` is read as BF16 and a note
//! says so, and of that package's types float8_e5m2 alone is saved as `f1`. Objects are pickles, which are never opened.

mod literal;
#[cfg(test)]
mod tests;

use super::annex::{Annex, View};
use super::error::{Error, ErrorKind, quoted};
use super::safetensors::needed_bytes;
use super::{Dtype, Entry, Limits, Source, Table};
use crate::kernels::strided::Strided;
use literal::Literal;
use std::ops::Range;

/// The first bytes of every array.
pub const MAGIC: &[u8] = b"\x93NUMPY";

/// Bytes of the text at most. NumPy itself reads 10,000 unasked; a structured dtype may be longer, and is told what it is.
const MOST_TEXT: u64 = 1 << 20;

/// Bytes of a file that hold every text that is read.
pub(super) const HEAD: u64 = MOST_TEXT + 12;

/// The next step where a header contradicts itself or its file.
const AGAIN: &str = "the file is damaged or its writer is at fault; save or download it again";

const CUT: &str = "it ends in its header; the file is cut short (download it again)";

/// What an array's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// Numbers, of which so many bytes stand in reverse order: 1, or all of a real number's in a big-endian file.
    Plain { dtype: Dtype, swap: usize },
    /// What is left alone, in words.
    Other(&'static str),
}

/// What the head of an array says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub element: Element,
    /// What is said of a dtype that NumPy's own types do not tell.
    pub guessed: Option<&'static str>,
    pub shape: Vec<usize>,
    /// Whether the first dimension is the fastest.
    pub columns_first: bool,
    /// The byte where the data begins.
    pub data: u64,
    /// Bytes of data; 0 for what is left alone.
    pub bytes: u64,
}

/// Whether the head of an array goes on behind these bytes of its file.
pub(super) fn reaches_past(head: &[u8]) -> bool {
    matches!(framed(head), Ok((_, length, rest)) if length > rest.len() as u64)
}

/// The major version, the length of the text and what follows.
fn framed(head: &[u8]) -> Result<(u8, u64, &[u8]), String> {
    let cut = || CUT.to_owned();
    let rest = head.strip_prefix(MAGIC).ok_or("it does not begin as a NumPy array does")?;
    let (&[major, minor], rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let (length, rest) = match (major, minor) {
        (1, 0) => {
            rest.split_first_chunk().map(|(n, rest)| (u64::from(u16::from_le_bytes(*n)), rest)).ok_or_else(cut)?
        }
        (2 | 3, 0) => {
            rest.split_first_chunk().map(|(n, rest)| (u64::from(u32::from_le_bytes(*n)), rest)).ok_or_else(cut)?
        }
        _ => return Err(format!("its version is {major}.{minor}, and 1.0, 2.0 and 3.0 are read; {AGAIN}")),
    };
    Ok((major, length, rest))
}

/// Reads the head of an array from the first bytes of its file, of which [`HEAD`] are enough.
pub(super) fn header(head: &[u8], limits: &Limits) -> Result<Header, String> {
    let (major, length, rest) = framed(head)?;
    if length > MOST_TEXT {
        return Err(format!("its header is said to be {length} bytes long, at most {MOST_TEXT} are read; {AGAIN}"));
    }
    let data = (head.len() - rest.len()) as u64 + length;
    let text = usize::try_from(length).ok().and_then(|length| rest.get(..length)).ok_or(CUT)?;
    // Before version 3 it is Latin-1, which only names in a structured dtype make use of.
    let text = match major {
        3 => std::str::from_utf8(text).map_err(|_| format!("its header is not UTF-8; {AGAIN}"))?.to_owned(),
        _ => text.iter().map(|&byte| char::from(byte)).collect(),
    };
    let pairs = literal::dictionary(&text).map_err(|what| format!("its header is not read: {what}; {AGAIN}"))?;
    described(pairs, data, limits)
}

/// What the three pairs of a header say.
fn described(pairs: Vec<(String, Literal)>, data: u64, limits: &Limits) -> Result<Header, String> {
    let (mut descr, mut columns_first, mut shape) = (None, None, None);
    for (key, value) in pairs {
        let twice = match (key.as_str(), value) {
            ("descr", value) => descr.replace(value).is_some(),
            ("fortran_order", Literal::Truth(truth)) => columns_first.replace(truth).is_some(),
            ("shape", Literal::Items(dims)) => shape.replace(dims).is_some(),
            ("fortran_order" | "shape", _) => {
                return Err(format!("its {key} is of another kind than NumPy's; {AGAIN}"));
            }
            _ => return Err(format!("its header has the key {}, which no array has; {AGAIN}", quoted(&key))),
        };
        if twice {
            return Err(format!("its header gives {key} twice; {AGAIN}"));
        }
    }
    let (Some(descr), Some(columns_first), Some(shape)) = (descr, columns_first, shape) else {
        return Err(format!("its header has not all of descr, fortran_order and shape; {AGAIN}"));
    };
    if shape.len() > limits.rank {
        return Err(format!("it has {} dimensions, at most {} are read", shape.len(), limits.rank));
    }
    let dim = |dim: Literal| match dim {
        Literal::Number(n) => usize::try_from(n).ok(),
        _ => None,
    };
    let shape: Option<Vec<usize>> = shape.into_iter().map(dim).collect();
    let shape = shape.ok_or_else(|| format!("its shape has something else than whole numbers; {AGAIN}"))?;
    let (element, guessed) = element(&descr)?;
    let bytes = match element {
        Element::Plain { dtype, .. } => needed_bytes(dtype, &shape).map_err(|what| format!("{what}; {AGAIN}"))?,
        Element::Other(_) => 0,
    };
    Ok(Header { element, guessed, shape, columns_first, data, bytes })
}

/// What a descr says, and what is said of it when it is a guess.
fn element(descr: &Literal) -> Result<(Element, Option<&'static str>), String> {
    let descr = match descr {
        Literal::Text(descr) => descr,
        Literal::Items(_) => return Ok((Element::Other("a structured dtype holds several arrays in one"), None)),
        _ => return Err(format!("its descr is of another kind than NumPy's; {AGAIN}")),
    };
    let unknown = || format!("its descr is {}, which is no type of NumPy's; {AGAIN}", quoted(descr));
    let (big, name) = match descr.split_at_checked(1) {
        Some((">", name)) => (true, name),
        Some(("<" | "|" | "=", name)) => (false, name),
        _ => (false, descr.as_str()),
    };
    let other = |what| Ok((Element::Other(what), None));
    let dtype = match name {
        "b1" | "?" => Dtype::Bool,
        "i1" => Dtype::I8,
        "i2" => Dtype::I16,
        "i4" => Dtype::I32,
        "i8" => Dtype::I64,
        "u1" => Dtype::U8,
        "u2" => Dtype::U16,
        "u4" => Dtype::U32,
        "u8" => Dtype::U64,
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        "c8" => Dtype::C64,
        "V2" => Dtype::BF16,
        "f1" => Dtype::F8_E5M2,
        "O" => return other("objects are pickles, which can run code and are never opened"),
        "c16" => return other("complex numbers of 16 bytes have no equal"),
        "f10" | "f12" | "f16" | "c20" | "c24" | "c32" => return other("long doubles differ from machine to machine"),
        _ => {
            let kind = name.chars().next().ok_or_else(unknown)?;
            let size = name.get(kind.len_utf8()..).unwrap_or_default();
            let counted = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
            return match kind {
                'S' | 'U' | 'a' if counted => other("texts are no numbers"),
                'W' if counted => other("complex numbers of halves have no equal"),
                'M' | 'm' => other("dates and times are no weights"),
                'V' if counted => {
                    other("bytes without a type (V) do not say what they are, as FLOAT8 and int4 are saved")
                }
                _ => Err(unknown()),
            };
        }
    };
    // Of a complex number each half is turned by itself.
    let number = if dtype == Dtype::C64 { 4 } else { dtype.bytes() };
    let guessed = match name {
        "V2" => Some("of two bytes without a type (V2), as NumPy saves bfloat16; read as BF16"),
        "f1" => Some("of floats of one byte (f1), as NumPy saves float8_e5m2; read as F8_E5M2"),
        _ => None,
    };
    Ok((Element::Plain { dtype, swap: if big { number } else { 1 } }, guessed))
}

impl Header {
    /// How the array lies, when its elements are not one behind the other as they are wanted; its data begins at `base`.
    pub(super) fn view(&self, base: u64) -> Option<View> {
        let Element::Plain { dtype, swap } = self.element else { return None };
        let strided = Strided { shape: self.shape.clone(), strides: self.strides()?, width: dtype.bytes() };
        (swap > 1 || !strided.is_contiguous()).then_some(View { base, strided, swap })
    }

    fn strides(&self) -> Option<Vec<usize>> {
        let mut strides = vec![1_usize; self.shape.len()];
        let mut along: Vec<(&mut usize, &usize)> = strides.iter_mut().zip(&self.shape).collect();
        if !self.columns_first {
            along.reverse();
        }
        let mut step = 1_usize;
        for (stride, &dim) in along {
            *stride = step;
            step = step.checked_mul(dim.max(1))?;
        }
        Some(strides)
    }

    /// The tensor that the array is, and where it lies: at `base` in the file.
    pub(super) fn entry(&self, name: String, base: u64, annex: &mut Annex) -> Result<Entry, String> {
        let past = || format!("its shape {:?} is past what can be counted; {AGAIN}", self.shape);
        let dtype = match self.element {
            Element::Plain { dtype, .. } => dtype,
            Element::Other(why) => return Err(why.into()),
        };
        let range = match self.view(base) {
            Some(view) => annex.view(view).ok_or_else(past)?,
            None => base..base.checked_add(self.bytes).ok_or_else(past)?,
        };
        Ok(self.tensor(name, dtype, range))
    }

    pub(super) fn tensor(&self, name: String, dtype: Dtype, range: Range<u64>) -> Entry {
        Entry { name, dtype, shape: self.shape.clone(), range, packed: None, block_type: None }
    }
}

/// Reads the head of a file that is one array. The tensor is named as the file is.
///
/// # Errors
/// The first rule that the file breaks, or what it holds when that is no array of numbers.
pub fn read_table(source: &Source, limits: &Limits) -> Result<Table, Error> {
    let wrong = |what: String| {
        Error::new(source.path(), ErrorKind::Container { format: "NumPy", place: "the array".into(), what })
    };
    let mut scratch = Vec::new();
    let head = source.read(0..source.len().min(HEAD), &mut scratch)?;
    let header = header(head, limits).map_err(wrong)?;
    if let Element::Other(what) = header.element {
        return Err(wrong(format!("it cannot be opened: {what}; save its numbers as an array of their own")));
    }
    let there = source.len().saturating_sub(header.data);
    let mut notes = Vec::new();
    if there < header.bytes {
        let (shape, bytes) = (&header.shape, header.bytes);
        return Err(wrong(format!(
            "its shape {shape:?} and type need {bytes} bytes of data, and {there} follow; the file is cut short (download it again)"
        )));
    }
    if there > header.bytes {
        let surplus = there - header.bytes;
        notes.push(format!("{surplus} bytes after the array belong to nothing; they are left alone"));
    }
    let name =
        source.path().file_stem().and_then(|stem| stem.to_str()).filter(|stem| !stem.is_empty()).unwrap_or("array");
    notes.extend(header.guessed.map(|guessed| guess(guessed, 1, name)));
    let mut annex = Annex::new(source.len());
    let entry = header.entry(name.to_owned(), header.data, &mut annex).map_err(wrong)?;
    Ok(Table { tensors: vec![entry], annex, notes, ..Table::default() })
}

/// What is said of arrays whose dtype is a guess.
pub(super) fn guess(guessed: &str, count: usize, first: &str) -> String {
    match count {
        1 => format!("array {} is {guessed}", quoted(first)),
        _ => format!("{count} arrays (first {}) are {guessed}", quoted(first)),
    }
}
