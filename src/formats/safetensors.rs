//! Safetensors, read strictly and written deterministically.
//!
//! The rules are the reference reader's (`safetensors` 0.8), in its order, each before any tensor is touched: length,
//! UTF-8, JSON, metadata, dtype, shape, bits, size, then one unbroken run of tensors from 0 to the end of the file. Ours
//! is stricter where readers could disagree: a name given twice is refused, and so is a tensor that is no object. Tests
//! and a fuzz target hold every verdict against the reference's. The header is read as it goes by, without a tree. The
//! writer is our own because the reference's keeps metadata in a hash map (two runs, two files) and cannot stop or report
//! in the middle of a tensor.

use super::error::{Error, ErrorKind, NoSize, printable};
use super::frame::Frame;
use super::json::{
    Counts, Document, Found, One, Seed, Skip, Take, Texts, Verdict, push_number, push_shape, push_text, push_texts,
    read_document,
};
use super::{Dtype, Entry, Limits, Source, Table};
use serde::de::MapAccess;
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// The key that holds text about the file instead of a tensor.
pub const METADATA: &str = "__metadata__";

/// What messages call the document that is read here.
const HEADER: &str = "the header";

/// Bytes before the header: its length.
const PREFIX: u64 = 8;

/// How the file begins.
const FRAME: Frame<()> = Frame { prefix: PREFIX, place: header_place, table };

/// Reads and checks the header of a safetensors file.
///
/// # Errors
/// The first rule that the file breaks.
pub fn read_table(source: &Source, limits: &Limits) -> Result<Table, Error> {
    FRAME.read(source, limits)
}

/// [`read_table`] for a file that is in memory already.
///
/// # Errors
/// As [`read_table`].
pub fn read_bytes(file: &[u8], limits: &Limits) -> Result<Table, ErrorKind> {
    FRAME.read_bytes(file, limits)
}

/// Where the header lies, from the file's first bytes and its length.
fn header_place(first: &[u8], file_len: u64, limits: &Limits) -> Result<((), Range<u64>), ErrorKind> {
    let (Some(length), Some(available)) = (first.first_chunk(), file_len.checked_sub(PREFIX)) else {
        return Err(ErrorKind::TooShort { bytes: file_len });
    };
    let length = u64::from_le_bytes(*length);
    if length > limits.header_bytes {
        let allowed = limits.header_bytes;
        return Err(ErrorKind::HeaderTooLarge { format: "safetensors", found: length, allowed });
    }
    if length > available {
        return Err(ErrorKind::HeaderPastEnd { place: HEADER, found: length, available });
    }
    if length == 0 {
        return Err(ErrorKind::HeaderEmpty);
    }
    Ok(((), PREFIX..PREFIX + length))
}

/// What a header lists, each rule in its turn.
fn table(header: &[u8], (): (), file_len: u64, limits: &Limits) -> Result<Table, ErrorKind> {
    let (verdict, left) = (Verdict::default(), Cell::new(limits.skipped));
    let skip = Skip { verdict: &verdict, left: &left, place: HEADER, allowed: limits.skipped };
    let mut table = read_document(header, HEADER, &verdict, Members { limits, skip })?;
    check_names(&table.tensors)?;
    let data_start = PREFIX.saturating_add(header.len() as u64);
    for entry in &mut table.tensors {
        check_size(entry)?;
        let absolute = |offset: u64| data_start.checked_add(offset);
        let (Some(start), Some(end)) = (absolute(entry.range.start), absolute(entry.range.end)) else {
            let what = "its data_offsets are past any file".into();
            return Err(ErrorKind::Entry { name: printable(&entry.name), what });
        };
        entry.range = start..end;
    }
    check_contiguous(&mut table.tensors, data_start, file_len)?;
    Ok(table)
}

/// The header's object: tensors by name, and the file's own text.
struct Members<'h> {
    limits: &'h Limits,
    skip: Skip<'h>,
}

impl<'de> Document<'de> for Members<'_> {
    type Out = Table;

    fn members<A: MapAccess<'de>>(self, mut members: A) -> Result<Table, A::Error> {
        let verdict = self.skip.verdict;
        let (mut table, mut described) = (Table::default(), false);
        while let Some(name) = members.next_key::<String>()? {
            if name == METADATA {
                if std::mem::replace(&mut described, true) {
                    return verdict.refuse(ErrorKind::DuplicateKey { place: HEADER.into(), name });
                }
                let texts = Texts { verdict, wrong: bad_metadata, or_null: true, most: self.limits.texts };
                table.metadata = members.next_value_seed(Seed(texts))?;
                continue;
            }
            if table.tensors.len() == self.limits.tensors {
                return verdict.refuse(ErrorKind::TooManyTensors { allowed: self.limits.tensors });
            }
            let (dtype, shape, range) =
                members.next_value_seed(Seed(Tensor { name: &name, limits: self.limits, skip: self.skip }))?;
            table.tensors.push(Entry { name, dtype, shape, range, packed: None, block_type: None });
        }
        Ok(table)
    }
}

/// What is wrong with `__metadata__`. A list under one of a tensor's keys gives away a tensor of that name.
fn bad_metadata(key: Option<&str>, found: Found<'_>) -> ErrorKind {
    match key {
        Some("shape" | "data_offsets") if found == Found::List => ErrorKind::TensorNamedMetadata,
        Some(key) => ErrorKind::MetadataNotText { key: printable(key), found: found.to_string() },
        None => ErrorKind::MetadataNotObject { found: found.to_string() },
    }
}

/// One tensor's object, its members judged on their own; offsets are still from the start of the data.
struct Tensor<'h> {
    name: &'h str,
    limits: &'h Limits,
    skip: Skip<'h>,
}

impl Tensor<'_> {
    fn bad(&self, what: impl Into<String>) -> ErrorKind {
        ErrorKind::Entry { name: printable(self.name), what: what.into() }
    }

    fn dtype(&self, found: Found<'_>) -> Result<Dtype, ErrorKind> {
        let Found::Text(text) = found else { return Err(self.bad(format!("its \"dtype\" is {found}, not a text"))) };
        Dtype::from_name(text)
            .ok_or_else(|| ErrorKind::UnknownDtype { name: printable(self.name), found: printable(text) })
    }

    fn shape(&self, (dimensions, rank): (Vec<u64>, usize)) -> Result<Vec<usize>, ErrorKind> {
        if rank > self.limits.rank {
            let (name, allowed) = (printable(self.name), self.limits.rank);
            return Err(ErrorKind::TooManyDimensions { name, rank, allowed });
        }
        let dimension = |d: u64| {
            usize::try_from(d).map_err(|_| self.bad(format!("dimension {d} is more than this machine can count")))
        };
        dimensions.into_iter().map(dimension).collect()
    }

    fn offsets(&self, (offsets, count): (Vec<u64>, usize)) -> Result<Range<u64>, ErrorKind> {
        match offsets.as_slice() {
            [begin, end] if count == 2 => Ok(*begin..*end),
            _ => {
                Err(self.bad(format!("its \"data_offsets\" hold {count} numbers, not the two that are begin and end")))
            }
        }
    }

    fn bad_dimension(&self, at: Option<usize>, found: Found<'_>) -> ErrorKind {
        match at {
            None => self.bad(format!("its \"shape\" is {found}, not a list of dimensions")),
            Some(at) => self.bad(format!("dimension {at} is {found}; {COUNT}")),
        }
    }

    fn bad_offset(&self, at: Option<usize>, found: Found<'_>) -> ErrorKind {
        match at {
            None => self.bad(format!("its \"data_offsets\" are {found}, not a list of begin and end")),
            Some(at) => self.bad(format!("number {at} of its \"data_offsets\" is {found}; {COUNT}")),
        }
    }
}

/// What a dimension or an offset may be.
pub(super) const COUNT: &str =
    "allowed are whole numbers from 0 to 18446744073709551615, written without point or exponent";

impl<'de> Take<'de> for Tensor<'_> {
    type Out = (Dtype, Vec<usize>, Range<u64>);

    fn plain<E: serde::de::Error>(self, found: Found<'_>) -> Result<Self::Out, E> {
        let what = format!("it is {found}, not an object with dtype, shape and data_offsets");
        self.skip.verdict.refuse(self.bad(what))
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Out, A::Error> {
        let verdict = self.skip.verdict;
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        let mut others = HashSet::new();
        while let Some(key) = members.next_key_seed(Seed(One(verdict, |key: Found<'_>| Ok(Key::of(key)))))? {
            let twice = match &key {
                Key::Dtype => dtype
                    .replace(members.next_value_seed(Seed(One(verdict, |found: Found<'_>| self.dtype(found))))?)
                    .is_some(),
                Key::Shape => {
                    let wrong = |at: Option<usize>, found: Found<'_>| self.bad_dimension(at, found);
                    let seed = Seed(Counts { verdict, most: self.limits.rank, wrong });
                    let read = self.shape(members.next_value_seed(seed)?);
                    shape.replace(read.or_else(|kind| verdict.refuse(kind))?).is_some()
                }
                Key::Offsets => {
                    let wrong = |at: Option<usize>, found: Found<'_>| self.bad_offset(at, found);
                    let read = self.offsets(members.next_value_seed(Seed(Counts { verdict, most: 2, wrong }))?);
                    offsets.replace(read.or_else(|kind| verdict.refuse(kind))?).is_some()
                }
                Key::Other(name) => {
                    members.next_value_seed(Seed(self.skip))?;
                    !others.insert(name.clone())
                }
            };
            if twice {
                let place = format!("tensor \"{}\"", printable(self.name));
                return verdict.refuse(ErrorKind::DuplicateKey { place, name: printable(key.name()) });
            }
        }
        match (dtype, shape, offsets) {
            (Some(dtype), Some(shape), Some(offsets)) => Ok((dtype, shape, offsets)),
            (None, ..) => verdict.refuse(self.bad("it has no \"dtype\"")),
            (_, None, _) => verdict.refuse(self.bad("it has no \"shape\"")),
            (.., None) => verdict.refuse(self.bad("it has no \"data_offsets\"")),
        }
    }
}

/// A key of a tensor's object.
enum Key {
    Dtype,
    Shape,
    Offsets,
    Other(String),
}

impl Key {
    fn of(key: Found<'_>) -> Self {
        match key {
            Found::Text("dtype") => Self::Dtype,
            Found::Text("shape") => Self::Shape,
            Found::Text("data_offsets") => Self::Offsets,
            Found::Text(other) => Self::Other(other.to_owned()),
            other => Self::Other(other.to_string()),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Dtype => "dtype",
            Self::Shape => "shape",
            Self::Offsets => "data_offsets",
            Self::Other(name) => name,
        }
    }
}

/// No name is given twice, however it is spelled.
fn check_names(tensors: &[Entry]) -> Result<(), ErrorKind> {
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
        Some([name, ..]) => Err(ErrorKind::DuplicateKey { place: HEADER.into(), name: printable(name) }),
        _ => Ok(()),
    }
}

/// Shape and dtype need just the bytes that the offsets hold.
fn check_size(entry: &Entry) -> Result<(), ErrorKind> {
    let name = || printable(&entry.name);
    let Range { start: begin, end } = entry.range;
    let needed = needed_bytes(entry.dtype, &entry.shape).map_err(|what| ErrorKind::NoSize { name: name(), what })?;
    match end.checked_sub(begin) {
        None => Err(ErrorKind::OffsetsBackwards { name: name(), begin, end }),
        Some(found) if found != needed => Err(ErrorKind::WrongSize { name: name(), needed, found }),
        Some(_) => Ok(()),
    }
}

/// Bytes of a tensor: the product of its dimensions from left to right, each step checked, times its bits.
pub(super) fn needed_bytes(dtype: Dtype, shape: &[usize]) -> Result<u64, NoSize> {
    let shown = || printable(&format!("{shape:?}"));
    let elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).ok_or_else(|| NoSize::Elements(shown()))?;
    let bits = (elements as u64).checked_mul(dtype.bits()).ok_or_else(|| NoSize::Bytes(shown()))?;
    if bits % 8 != 0 {
        return Err(NoSize::Bits(bits));
    }
    Ok(bits / 8)
}

/// Sorted by offset, each tensor begins where the last one ended, and the last one ends with the file.
fn check_contiguous(tensors: &mut [Entry], data_start: u64, file_end: u64) -> Result<(), ErrorKind> {
    tensors.sort_by_key(|a| (a.range.start, a.range.end));
    let mut expected = data_start;
    for tensor in tensors.iter() {
        let Range { start, end } = tensor.range;
        if start != expected {
            return Err(ErrorKind::NotContiguous {
                name: printable(&tensor.name),
                found: start - data_start,
                expected: expected - data_start,
                what: if start > expected { "a gap" } else { "an overlap" },
            });
        }
        expected = end;
    }
    if expected != file_end {
        return Err(ErrorKind::WrongLength {
            described: expected - data_start,
            held: file_end - data_start,
            advice: if expected > file_end {
                "the download was cut short; fetch it again"
            } else {
                "bytes that no tensor owns follow; the file is damaged or carries something hidden"
            },
        });
    }
    Ok(())
}

/// A tensor to be written: its name, dtype and shape.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The name, any text but [`METADATA`].
    pub name: String,
    /// Element type in the file.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<usize>,
}

/// A header ready to be written, and where each listed tensor's bytes go (from the start of the file).
#[derive(Clone, Debug)]
pub struct Header {
    /// The file's first bytes: length, JSON, padding to a multiple of 8.
    pub bytes: Vec<u8>,
    /// For each listed tensor, in the order given.
    pub ranges: Vec<Range<u64>>,
    /// The order in which the tensors lie in the file, as indices of the list.
    pub order: Vec<usize>,
}

/// Lays out a file: widest dtype first, then by name, so that every tensor is aligned to its elements.
///
/// # Errors
/// A tensor named `__metadata__`, which no reader could find again, or sizes past 2^64.
pub fn lay_out(listings: &[Listing], metadata: &BTreeMap<String, String>) -> Result<Header, ErrorKind> {
    let mut order: Vec<usize> = (0..listings.len()).collect();
    let key = |i: usize| listings.get(i).map(|l| (std::cmp::Reverse(l.dtype.bits()), l.name.as_str()));
    order.sort_by(|&a, &b| key(a).cmp(&key(b)));
    let mut json = String::with_capacity(128 * listings.len() + 256);
    json.push('{');
    if !metadata.is_empty() {
        push_text(&mut json, METADATA);
        json.push(':');
        push_texts(&mut json, metadata);
    }
    let mut ranges = vec![0..0; listings.len()];
    let mut at = 0_u64;
    for &i in &order {
        let Some((listing, range)) = listings.get(i).zip(ranges.get_mut(i)) else { continue };
        if listing.name == METADATA {
            return Err(ErrorKind::TensorNamedMetadata);
        }
        let no_size = |what| ErrorKind::NoSize { name: printable(&listing.name), what };
        let bytes = needed_bytes(listing.dtype, &listing.shape).map_err(no_size)?;
        let end = at.checked_add(bytes).ok_or_else(|| no_size(NoSize::Bytes("of the whole file".into())))?;
        *range = at..end;
        if json.len() > 1 {
            json.push(',');
        }
        push_text(&mut json, &listing.name);
        json.push_str(":{\"dtype\":\"");
        json.push_str(listing.dtype.name());
        json.push_str("\",\"shape\":");
        push_shape(&mut json, &listing.shape);
        json.push_str(",\"data_offsets\":[");
        push_number(&mut json, at);
        json.push(',');
        push_number(&mut json, end);
        json.push_str("]}");
        at = end;
    }
    json.push('}');
    while !json.len().is_multiple_of(8) {
        json.push(' ');
    }
    let start = 8 + json.len() as u64;
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    let ranges = ranges.into_iter().map(|r| r.start + start..r.end + start).collect();
    Ok(Header { bytes, ranges, order })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file from a header text and this many data bytes, as the reader sees it.
    fn file(header: &str, data: usize) -> Result<Table, ErrorKind> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        read_raw(bytes)
    }

    fn read_raw(bytes: Vec<u8>) -> Result<Table, ErrorKind> {
        let whole = read_bytes(&bytes, &Limits::default());
        let source = Source::embedded("test", Vec::leak(bytes));
        let read = read_table(&source, &Limits::default()).map_err(|e| e.kind);
        assert_eq!(format!("{read:?}"), format!("{whole:?}"));
        read
    }

    fn one(dtype: &str, shape: &str, begin: u64, end: u64) -> String {
        format!("\"a\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{begin},{end}]}}")
    }

    #[test]
    fn legal_corners_open() {
        assert!(file("{}", 0).unwrap().tensors.is_empty());
        assert!(file("  {} \n", 0).is_ok());
        let table = file(&format!("{{{}}}", one("F32", "[]", 0, 4)), 4).unwrap();
        assert_eq!((table.tensors[0].shape.len(), table.tensors[0].elements()), (0, 1));
        assert!(file(&format!("{{{}}}", one("F64", "[0,9999]", 0, 0)), 0).is_ok());
        assert!(file(&format!("{{\"__metadata__\":{{\"k\":\"v\"}},{}}}", one("F4", "[2]", 0, 1)), 1).is_ok());
        assert!(file("{\"__metadata__\":null}", 0).is_ok());
    }

    #[test]
    fn each_rule_has_its_own_error() {
        use ErrorKind as K;
        let with = |header: &str, data| file(&format!("{{{header}}}"), data).unwrap_err();
        assert!(matches!(read_raw(vec![1, 2, 3]).unwrap_err(), K::TooShort { bytes: 3 }));
        assert!(matches!(read_raw(u64::MAX.to_le_bytes().to_vec()).unwrap_err(), K::HeaderTooLarge { .. }));
        assert!(matches!(
            read_raw(9_u64.to_le_bytes().to_vec()).unwrap_err(),
            K::HeaderPastEnd { found: 9, available: 0, .. }
        ));
        assert!(matches!(read_raw(vec![1, 0, 0, 0, 0, 0, 0, 0, 0xff]).unwrap_err(), K::NotUtf8 { at: 0, .. }));
        assert!(matches!(read_raw(vec![0; 8]).unwrap_err(), K::HeaderEmpty));
        assert!(matches!(file("[]", 0).unwrap_err(), K::NotAnObject { .. }));
        assert!(matches!(file("{\"a\":1}", 0).unwrap_err(), K::Entry { .. }));
        assert!(matches!(with("\"__metadata__\":{\"k\":1}", 0), K::MetadataNotText { .. }));
        let a = one("F32", "[1]", 0, 4);
        assert!(matches!(with(&format!("{a},{a}"), 4), K::DuplicateKey { .. }));
        assert!(matches!(with(&one("F31", "[1]", 0, 4), 4), K::UnknownDtype { .. }));
        assert!(matches!(with(&one("F32", "[-1]", 0, 4), 4), K::Entry { .. }));
        assert!(matches!(with(&one("F32", "[1.0]", 0, 4), 4), K::Entry { .. }));
        let wide = format!("[{}1]", "1,".repeat(64));
        assert!(matches!(with(&one("F32", &wide, 0, 4), 4), K::TooManyDimensions { rank: 65, .. }));
        assert!(matches!(
            with(&one("F32", "[4294967296,4294967296,4]", 0, 4), 4),
            K::NoSize { what: NoSize::Elements(_), .. }
        ));
        assert!(matches!(with(&one("F4", "[3]", 0, 2), 2), K::NoSize { what: NoSize::Bits(12), .. }));
        assert!(matches!(with(&one("F32", "[1]", 4, 0), 4), K::OffsetsBackwards { .. }));
        assert!(matches!(with(&one("F32", "[2]", 0, 4), 4), K::WrongSize { needed: 8, found: 4, .. }));
        assert!(matches!(with(&one("F32", "[1]", 4, 8), 8), K::NotContiguous { what: "a gap", .. }));
        let b = one("F32", "[1]", 2, 6).replace("\"a\"", "\"b\"");
        assert!(matches!(with(&format!("{a},{b}"), 6), K::NotContiguous { what: "an overlap", .. }));
        assert!(matches!(with(&a, 3), K::WrongLength { described: 4, held: 3, .. }));
        assert!(matches!(with(&a, 5), K::WrongLength { described: 4, held: 5, .. }));
    }

    #[test]
    fn what_is_laid_out_is_read_back() {
        let listing = |name: &str, dtype, shape: &[usize]| Listing { name: name.into(), dtype, shape: shape.to_vec() };
        let listings = [
            listing("b\"\\\u{202e}", Dtype::U8, &[3]),
            listing("a", Dtype::F64, &[]),
            listing("z", Dtype::F32, &[2, 0]),
            listing("c", Dtype::F64, &[2]),
        ];
        let metadata = BTreeMap::from([("k".to_owned(), "v\n\"".to_owned()), ("format".into(), "pt".into())]);
        let header = lay_out(&listings, &metadata).unwrap();
        assert_eq!(header.bytes.len() % 8, 0);
        let mut bytes = header.bytes.clone();
        bytes.resize(bytes.len() + 27, 0);
        let table = read_raw(bytes).unwrap();
        assert_eq!(table.metadata, metadata);
        for (listing, range) in listings.iter().zip(&header.ranges) {
            let entry = table.tensors.iter().find(|t| t.name == listing.name).unwrap();
            assert_eq!((entry.dtype, &entry.shape, &entry.range), (listing.dtype, &listing.shape, range));
        }
        assert!(lay_out(&[listing(METADATA, Dtype::U8, &[1])], &metadata).is_err());
    }
}
