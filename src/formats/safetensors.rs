//! Safetensors, read strictly and written deterministically.
//!
//! The rules are the reference reader's (`safetensors` 0.8), in its order, each before any tensor is touched: length,
//! UTF-8, JSON, metadata, dtype, shape, bits, size, then one unbroken run of tensors from 0 to the end of the file. Ours
//! is stricter in one thing: a name given twice is refused. What passes is shown to the reference as well, and its
//! verdict counts. The writer is our own because the reference's keeps metadata in a hash map (two runs, two files) and
//! cannot stop or report in the middle of a tensor.

use super::error::{Error, ErrorKind, printable};
use super::json::{Json, JsonError, push_number, push_shape, push_text};
use super::{Dtype, Entry, Limits, Source, Table};
use std::collections::BTreeMap;
use std::ops::Range;

/// The key that holds text about the file instead of a tensor.
pub const METADATA: &str = "__metadata__";

/// Reads and checks the header of a safetensors file.
///
/// # Errors
/// The first rule that the file breaks.
pub fn read_table(source: &Source, limits: &Limits) -> Result<Table, Error> {
    let fail = |kind| Error::new(source.path(), kind);
    let mut scratch = Vec::new();
    let text = header_text(source, limits, &mut scratch)?;
    let data_start = 8 + text.len() as u64;
    let json = Json::parse(text).map_err(|error| {
        fail(match error {
            JsonError::DuplicateKey(name) => ErrorKind::DuplicateKey { name: printable(&name) },
            JsonError::Syntax(words) => ErrorKind::HeaderJson(printable(&words)),
        })
    })?;
    let Json::Object(members) = json else {
        return Err(fail(ErrorKind::HeaderJson("it is not an object".into())));
    };
    if members.len() > limits.tensors {
        return Err(fail(ErrorKind::TooManyTensors { found: members.len(), allowed: limits.tensors }));
    }
    let mut table = Table::default();
    for (name, value) in members {
        if name == METADATA {
            table.metadata = metadata(value).map_err(fail)?;
        } else {
            table.tensors.push(entry(name, &value, data_start, limits).map_err(fail)?);
        }
    }
    check_contiguous(&mut table.tensors, data_start, source.len()).map_err(fail)?;
    serde_json::from_str::<::safetensors::tensor::Metadata>(text)
        .map_err(|error| fail(ErrorKind::Reference(printable(&error.to_string()))))?;
    Ok(table)
}

/// The header's text: length checks, then UTF-8.
fn header_text<'a>(source: &'a Source, limits: &Limits, scratch: &'a mut Vec<u8>) -> Result<&'a str, Error> {
    let fail = |kind| Error::new(source.path(), kind);
    if source.len() < 8 {
        return Err(fail(ErrorKind::TooShort { bytes: source.len() }));
    }
    let mut first = [0; 8];
    first.copy_from_slice(source.read(0..8, &mut Vec::new())?);
    let length = u64::from_le_bytes(first);
    if length > limits.header_bytes {
        return Err(fail(ErrorKind::HeaderTooLarge { found: length, allowed: limits.header_bytes }));
    }
    if length > source.len() - 8 {
        return Err(fail(ErrorKind::HeaderPastEnd { found: length, available: source.len() - 8 }));
    }
    let bytes = source.read(8..8 + length, scratch)?;
    std::str::from_utf8(bytes).map_err(|e| fail(ErrorKind::HeaderNotUtf8 { at: e.valid_up_to() }))
}

/// `__metadata__`: text to text; `null` stands for none, as in the reference.
fn metadata(value: Json) -> Result<BTreeMap<String, String>, ErrorKind> {
    let members = match value {
        Json::Object(members) => members,
        Json::Null => Vec::new(),
        _ => return Err(ErrorKind::MetadataNotText { key: METADATA.into() }),
    };
    members
        .into_iter()
        .map(|(key, value)| match value {
            Json::Text(text) => Ok((key, text)),
            _ => Err(ErrorKind::MetadataNotText { key: printable(&key) }),
        })
        .collect()
}

/// One tensor's members, checked on their own.
fn entry(name: String, value: &Json, data_start: u64, limits: &Limits) -> Result<Entry, ErrorKind> {
    let shown = printable(&name);
    let bad = |what: &str| ErrorKind::HeaderJson(format!("tensor {shown:?}: {what}"));
    let dtype = value.get("dtype").and_then(Json::text).ok_or_else(|| bad("it has no \"dtype\" text"))?;
    let dtype = Dtype::from_name(dtype)
        .ok_or_else(|| ErrorKind::UnknownDtype { name: shown.clone(), found: printable(dtype) })?;
    let dimensions = value.get("shape").and_then(Json::list).ok_or_else(|| bad("it has no \"shape\" list"))?;
    if dimensions.len() > limits.rank {
        return Err(ErrorKind::TooManyDimensions { name: shown, rank: dimensions.len(), allowed: limits.rank });
    }
    let dimension = |item: &Json| item.unsigned().and_then(|n| usize::try_from(n).ok());
    let shape: Option<Vec<usize>> = dimensions.iter().map(dimension).collect();
    let shape = shape.ok_or_else(|| bad("a dimension is not a non-negative integer"))?;
    let offsets = value.get("data_offsets").and_then(Json::list).unwrap_or_default();
    let (Some(begin), Some(end), 2) =
        (offsets.first().and_then(Json::unsigned), offsets.get(1).and_then(Json::unsigned), offsets.len())
    else {
        return Err(bad("\"data_offsets\" is not a pair of non-negative integers"));
    };
    let needed = needed_bytes(&shown, dtype, &shape)?;
    if begin > end {
        return Err(ErrorKind::OffsetsBackwards { name: shown, begin, end });
    }
    if end - begin != needed {
        return Err(ErrorKind::WrongSize { name: shown, needed, found: end - begin });
    }
    let absolute = |offset: u64| data_start.checked_add(offset).ok_or_else(|| bad("an offset is past any file"));
    Ok(Entry { name, dtype, range: absolute(begin)?..absolute(end)?, shape, packed: None })
}

/// Bytes of a tensor: the product of its dimensions from left to right, each step checked, times its bits.
pub(super) fn needed_bytes(name: &str, dtype: Dtype, shape: &[usize]) -> Result<u64, ErrorKind> {
    let overflow = || ErrorKind::ShapeOverflow { name: name.to_owned(), shape: format!("{shape:?}") };
    let elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).ok_or_else(overflow)?;
    let bits = (elements as u64).checked_mul(dtype.bits()).ok_or_else(overflow)?;
    if bits % 8 != 0 {
        return Err(ErrorKind::NotWholeBytes { name: name.to_owned(), bits: u128::from(bits) });
    }
    Ok(bits / 8)
}

/// Sorted by offset, each tensor begins where the last one ended, and the last one ends with the file.
pub(super) fn check_contiguous(tensors: &mut [Entry], data_start: u64, file_end: u64) -> Result<(), ErrorKind> {
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
        json.push_str(":{");
        for (i, (key, value)) in metadata.iter().enumerate() {
            json.push_str(if i > 0 { "," } else { "" });
            push_text(&mut json, key);
            json.push(':');
            push_text(&mut json, value);
        }
        json.push('}');
    }
    let mut ranges = vec![0..0; listings.len()];
    let mut at = 0_u64;
    for &i in &order {
        let Some((listing, range)) = listings.get(i).zip(ranges.get_mut(i)) else { continue };
        if listing.name == METADATA {
            return Err(ErrorKind::HeaderJson(
                "a tensor is named __metadata__, which no reader could tell from the file's own text".into(),
            ));
        }
        // Only an error needs a name that is fit to be shown.
        let bytes = needed_bytes(&listing.name, listing.dtype, &listing.shape)
            .or_else(|_| needed_bytes(&printable(&listing.name), listing.dtype, &listing.shape))?;
        let end = at.checked_add(bytes).ok_or(ErrorKind::HeaderTooLarge { found: u64::MAX, allowed: u64::MAX })?;
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
    fn read(header: &str, data: usize) -> Result<Table, ErrorKind> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        read_raw(bytes)
    }

    fn read_raw(bytes: Vec<u8>) -> Result<Table, ErrorKind> {
        let source = Source::embedded("test", Vec::leak(bytes));
        read_table(&source, &Limits::default()).map_err(|e| e.kind)
    }

    fn one(dtype: &str, shape: &str, begin: u64, end: u64) -> String {
        format!("\"a\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{begin},{end}]}}")
    }

    #[test]
    fn legal_corners_open() {
        assert!(read("{}", 0).unwrap().tensors.is_empty());
        assert!(read("  {} \n", 0).is_ok());
        let table = read(&format!("{{{}}}", one("F32", "[]", 0, 4)), 4).unwrap();
        assert_eq!((table.tensors[0].shape.len(), table.tensors[0].elements()), (0, 1));
        assert!(read(&format!("{{{}}}", one("F64", "[0,9999]", 0, 0)), 0).is_ok());
        assert!(read(&format!("{{\"__metadata__\":{{\"k\":\"v\"}},{}}}", one("F4", "[2]", 0, 1)), 1).is_ok());
        assert!(read("{\"__metadata__\":null}", 0).is_ok());
    }

    #[test]
    fn each_rule_has_its_own_error() {
        use ErrorKind as K;
        let with = |header: &str, data| read(&format!("{{{header}}}"), data).unwrap_err();
        assert!(matches!(read_raw(vec![1, 2, 3]).unwrap_err(), K::TooShort { bytes: 3 }));
        assert!(matches!(read_raw(u64::MAX.to_le_bytes().to_vec()).unwrap_err(), K::HeaderTooLarge { .. }));
        assert!(matches!(
            read_raw(9_u64.to_le_bytes().to_vec()).unwrap_err(),
            K::HeaderPastEnd { found: 9, available: 0 }
        ));
        assert!(matches!(read_raw(vec![1, 0, 0, 0, 0, 0, 0, 0, 0xff]).unwrap_err(), K::HeaderNotUtf8 { at: 0 }));
        assert!(matches!(read("[]", 0).unwrap_err(), K::HeaderJson(_)));
        assert!(matches!(read("{\"a\":1}", 0).unwrap_err(), K::HeaderJson(_)));
        assert!(matches!(with("\"__metadata__\":{\"k\":1}", 0), K::MetadataNotText { .. }));
        let a = one("F32", "[1]", 0, 4);
        assert!(matches!(with(&format!("{a},{a}"), 4), K::DuplicateKey { .. }));
        assert!(matches!(with(&one("F31", "[1]", 0, 4), 4), K::UnknownDtype { .. }));
        assert!(matches!(with(&one("F32", "[-1]", 0, 4), 4), K::HeaderJson(_)));
        assert!(matches!(with(&one("F32", "[1.0]", 0, 4), 4), K::HeaderJson(_)));
        let wide = format!("[{}1]", "1,".repeat(64));
        assert!(matches!(with(&one("F32", &wide, 0, 4), 4), K::TooManyDimensions { rank: 65, .. }));
        assert!(matches!(with(&one("F32", "[4294967296,4294967296,4]", 0, 4), 4), K::ShapeOverflow { .. }));
        assert!(matches!(with(&one("F4", "[3]", 0, 2), 2), K::NotWholeBytes { bits: 12, .. }));
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
