//! Reading and laying out `packed`, Spokeshave's own container (byte by byte in `PACKED.md`), as strictly as safetensors.

use super::error::{Error, ErrorKind, printable};
use super::json::{Json, JsonError, push_number, push_shape, push_text};
use super::packed_layout::{Code, Coding, Form, MAGIC, PREFIX, VERSION};
use super::safetensors::needed_bytes;
use super::{Dtype, Entry, Limits, Source, Table};
use crate::kernels::layout::{Geometry, Unit};
use std::collections::BTreeMap;
use std::ops::Range;

/// Reads and checks the header of a `packed` file.
///
/// # Errors
/// The first rule of `PACKED.md` that the file breaks.
pub fn read_table(source: &Source, limits: &Limits) -> Result<Table, Error> {
    let fail = |kind| Error::new(source.path(), kind);
    let mut scratch = Vec::new();
    let text = header_text(source, limits, &mut scratch)?;
    let data_start = PREFIX + text.len() as u64;
    let json = Json::parse(text).map_err(|error| {
        fail(match error {
            JsonError::DuplicateKey(name) => ErrorKind::DuplicateKey { name: printable(&name) },
            JsonError::Syntax(words) => ErrorKind::HeaderJson(printable(&words)),
        })
    })?;
    only_keys(&json, &["metadata", "tensors"], "the header").map_err(fail)?;
    let mut table = Table { metadata: metadata(&json).map_err(fail)?, tensors: Vec::new() };
    let listed = json.get("tensors").and_then(Json::list);
    let listed = listed.ok_or_else(|| fail(bad("the header", "it has no \"tensors\" list")))?;
    if listed.len() > limits.tensors {
        return Err(fail(ErrorKind::TooManyTensors { found: listed.len(), allowed: limits.tensors }));
    }
    let mut at = data_start;
    for item in listed {
        let entry = entry(item, at, limits).map_err(fail)?;
        if table.tensors.last().is_some_and(|last: &Entry| last.name >= entry.name) {
            let what = "names are not in order, or one is there twice";
            return Err(fail(bad(&format!("tensor {:?}", printable(&entry.name)), what)));
        }
        at = entry.range.end;
        table.tensors.push(entry);
    }
    if at != source.len() {
        let advice = if at > source.len() { "the file is cut short" } else { "unowned bytes follow the last tensor" };
        let held = source.len() - data_start;
        return Err(fail(ErrorKind::WrongLength { described: at - data_start, held, advice }));
    }
    Ok(table)
}

fn bad(place: &str, what: &str) -> ErrorKind {
    ErrorKind::Packed { place: place.to_owned(), what: what.to_owned() }
}

fn header_text<'a>(source: &'a Source, limits: &Limits, scratch: &'a mut Vec<u8>) -> Result<&'a str, Error> {
    let fail = |kind| Error::new(source.path(), kind);
    if source.len() < PREFIX {
        return Err(fail(bad("the first 24 bytes", "the file is shorter than that; it is cut short")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is 24")]
    let mut prefix = [0; PREFIX as usize];
    prefix.copy_from_slice(source.read(0..PREFIX, &mut Vec::new())?);
    let [magic @ .., v0, v1, v2, v3, z0, z1, z2, z3, l0, l1, l2, l3, l4, l5, l6, l7] = prefix;
    if magic != MAGIC {
        return Err(fail(bad("bytes 0 to 7", "this is not a packed file")));
    }
    let version = u32::from_le_bytes([v0, v1, v2, v3]);
    if version != VERSION {
        return Err(fail(ErrorKind::PackedVersion { found: version, known: VERSION }));
    }
    if [z0, z1, z2, z3] != [0; 4] {
        return Err(fail(bad("bytes 12 to 15", "they are not zero; the file is damaged")));
    }
    let length = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
    if length > limits.header_bytes {
        return Err(fail(ErrorKind::HeaderTooLarge { found: length, allowed: limits.header_bytes }));
    }
    if length > source.len() - PREFIX {
        return Err(fail(ErrorKind::HeaderPastEnd { found: length, available: source.len() - PREFIX }));
    }
    let bytes = source.read(PREFIX..PREFIX + length, scratch)?;
    std::str::from_utf8(bytes).map_err(|e| fail(ErrorKind::HeaderNotUtf8 { at: e.valid_up_to() }))
}

fn only_keys(value: &Json, allowed: &[&str], place: &str) -> Result<(), ErrorKind> {
    let Json::Object(members) = value else { return Err(bad(place, "it is not a JSON object")) };
    match members.iter().find(|(key, _)| !allowed.contains(&key.as_str())) {
        Some((key, _)) => Err(bad(place, &format!("unknown key {:?}", printable(key)))),
        None => Ok(()),
    }
}

fn metadata(json: &Json) -> Result<BTreeMap<String, String>, ErrorKind> {
    let Some(Json::Object(members)) = json.get("metadata") else {
        return Err(bad("the header", "it has no \"metadata\" object"));
    };
    let pair = |(key, value): &(String, Json)| match value {
        Json::Text(text) => Ok((key.clone(), text.clone())),
        _ => Err(ErrorKind::MetadataNotText { key: printable(key) }),
    };
    members.iter().map(pair).collect()
}

fn entry(item: &Json, at: u64, limits: &Limits) -> Result<Entry, ErrorKind> {
    let name = item.get("name").and_then(Json::text);
    let name = name.ok_or_else(|| bad("a tensor", "it has no \"name\" text"))?.to_owned();
    let shown = printable(&name);
    let place = format!("tensor {shown:?}");
    only_keys(item, &["name", "dtype", "shape", "bytes", "coding"], &place)?;
    let dtype = item.get("dtype").and_then(Json::text).unwrap_or_default();
    let dtype = Dtype::from_name(dtype)
        .ok_or_else(|| ErrorKind::UnknownDtype { name: shown.clone(), found: printable(dtype) })?;
    let dimensions = item.get("shape").and_then(Json::list).ok_or_else(|| bad(&place, "it has no \"shape\" list"))?;
    if dimensions.len() > limits.rank {
        return Err(ErrorKind::TooManyDimensions { name: shown, rank: dimensions.len(), allowed: limits.rank });
    }
    let dimension = |d: &Json| d.unsigned().and_then(|n| usize::try_from(n).ok());
    let shape: Option<Vec<usize>> = dimensions.iter().map(dimension).collect();
    let shape = shape.ok_or_else(|| bad(&place, "a dimension is not a non-negative integer"))?;
    let plain = needed_bytes(&shown, dtype, &shape)?;
    let found = item.get("bytes").and_then(Json::unsigned);
    let found = found.ok_or_else(|| bad(&place, "it has no \"bytes\" number"))?;
    let packed = item.get("coding").map(|c| coding(c, dtype, &shape, &place)).transpose()?;
    let needed = packed.as_ref().map_or(plain, |coding| coding.parts(dtype, Geometry::of(&shape)).len());
    if needed != found {
        return Err(ErrorKind::WrongSize { name: shown, needed, found });
    }
    let end = at.checked_add(found).ok_or_else(|| bad(&place, "it ends past any file"))?;
    Ok(Entry { name, dtype, shape, range: at..end, packed })
}

fn coding(value: &Json, dtype: Dtype, shape: &[usize], place: &str) -> Result<Coding, ErrorKind> {
    only_keys(value, &["scheme", "form", "nonzeros", "bits", "unit", "zero_points"], place)?;
    let elements = shape.iter().product::<usize>() as u64;
    let nonzeros = value.get("nonzeros").and_then(Json::unsigned).filter(|&z| z <= elements);
    let nonzeros = nonzeros.ok_or_else(|| bad(place, "\"nonzeros\" is missing or more than its elements"))?;
    let form = match value.get("form").and_then(Json::text) {
        Some("dense") if nonzeros == elements => Form::Dense,
        Some("mask") => Form::Mask,
        _ => return Err(bad(place, "\"form\" is not \"mask\", nor \"dense\" with a code for every element")),
    };
    let code = match (value.get("bits"), value.get("unit"), value.get("zero_points")) {
        (None, None, None) if dtype.bits() >= 8 => Code::Element,
        (Some(Json::Unsigned(bits @ 2..=8)), Some(Json::Text(unit)), Some(Json::Bool(zero_points)))
            if dtype.is_float() =>
        {
            let unit =
                unit_from_name(unit).ok_or_else(|| bad(place, "\"unit\" is none of tensor, row, g32, g64, g128"))?;
            #[expect(clippy::cast_possible_truncation, reason = "the pattern above lets 2 to 8 through")]
            let bits = *bits as u32;
            Code::Integer { bits, unit, zero_points: *zero_points }
        }
        _ => {
            return Err(bad(place, "\"bits\" (2 to 8), \"unit\" and \"zero_points\" come together, for a float dtype"));
        }
    };
    let scheme = value.get("scheme").and_then(Json::text);
    let scheme = scheme.ok_or_else(|| bad(place, "its coding has no \"scheme\" text"))?.to_owned();
    Ok(Coding { scheme, form, nonzeros, code })
}

fn unit_from_name(name: &str) -> Option<Unit> {
    match name {
        "tensor" => Some(Unit::Tensor),
        "row" => Some(Unit::Row),
        "g32" => Some(Unit::Group(32)),
        "g64" => Some(Unit::Group(64)),
        "g128" => Some(Unit::Group(128)),
        _ => None,
    }
}

fn unit_name(unit: Unit) -> String {
    match unit {
        Unit::Tensor => "tensor".into(),
        Unit::Row => "row".into(),
        Unit::Group(g) => format!("g{g}"),
    }
}

/// A tensor to be written.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Its name.
    pub name: String,
    /// Dtype of its plain elements, or the one it had before coding.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// `None` for plain elements.
    pub coding: Option<Coding>,
}

/// The file's first bytes, and each tensor's payload range from the start of the file. `listings` are in bytewise order
/// of name, and their payloads follow in that order.
///
/// # Errors
/// Sizes past 2^64.
pub fn lay_out(
    listings: &[Listing],
    metadata: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, Vec<Range<u64>>), ErrorKind> {
    let mut sizes = Vec::with_capacity(listings.len());
    let mut json = String::with_capacity(160 * listings.len() + 256);
    json.push_str("{\"metadata\":{");
    for (i, (key, value)) in metadata.iter().enumerate() {
        json.push_str(if i > 0 { "," } else { "" });
        push_text(&mut json, key);
        json.push(':');
        push_text(&mut json, value);
    }
    json.push_str("},\"tensors\":[");
    for (i, listing) in listings.iter().enumerate() {
        let geometry = Geometry::of(&listing.shape);
        let bytes = match &listing.coding {
            Some(coding) => coding.parts(listing.dtype, geometry).len(),
            None => needed_bytes(&listing.name, listing.dtype, &listing.shape)
                .or_else(|_| needed_bytes(&printable(&listing.name), listing.dtype, &listing.shape))?,
        };
        sizes.push(bytes);
        json.push_str(if i > 0 { ",{\"name\":" } else { "{\"name\":" });
        push_text(&mut json, &listing.name);
        json.push_str(",\"dtype\":\"");
        json.push_str(listing.dtype.name());
        json.push_str("\",\"shape\":");
        push_shape(&mut json, &listing.shape);
        json.push_str(",\"bytes\":");
        push_number(&mut json, bytes);
        if let Some(coding) = &listing.coding {
            push_coding(&mut json, coding);
        }
        json.push('}');
    }
    json.push_str("]}");
    while !json.len().is_multiple_of(8) {
        json.push(' ');
    }
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(&(json.len() as u64).to_le_bytes());
    head.extend_from_slice(json.as_bytes());
    let mut at = head.len() as u64;
    let mut ranges = Vec::with_capacity(sizes.len());
    for size in sizes {
        let end = at.checked_add(size).ok_or_else(|| bad("the file", "it would be longer than any file"))?;
        ranges.push(at..end);
        at = end;
    }
    Ok((head, ranges))
}

fn push_coding(json: &mut String, coding: &Coding) {
    json.push_str(",\"coding\":{\"scheme\":");
    push_text(json, &coding.scheme);
    json.push_str(if coding.form == Form::Mask { ",\"form\":\"mask\"" } else { ",\"form\":\"dense\"" });
    json.push_str(",\"nonzeros\":");
    push_number(json, coding.nonzeros);
    if let Code::Integer { bits, unit, zero_points } = coding.code {
        json.push_str(",\"bits\":");
        push_number(json, u64::from(bits));
        json.push_str(",\"unit\":\"");
        json.push_str(&unit_name(unit));
        json.push_str(if zero_points { "\",\"zero_points\":true" } else { "\",\"zero_points\":false" });
    }
    json.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: Vec<u8>) -> Result<Table, ErrorKind> {
        read_table(&Source::embedded("test", Vec::leak(bytes)), &Limits::default()).map_err(|e| e.kind)
    }

    fn example() -> (Vec<Listing>, Vec<u8>) {
        let code = Code::Integer { bits: 3, unit: Unit::Group(32), zero_points: true };
        let coding = |form, nonzeros, code| Some(Coding { scheme: "int3:g32:asym".into(), form, nonzeros, code });
        let listing = |name: &str, coding| Listing { name: name.into(), dtype: Dtype::F32, shape: vec![2, 40], coding };
        let listings = vec![
            listing("a", None),
            listing("b", coding(Form::Mask, 7, code)),
            listing("c", coding(Form::Dense, 80, code)),
            listing("d", coding(Form::Mask, 3, Code::Element)),
        ];
        let (mut bytes, ranges) = lay_out(&listings, &BTreeMap::from([("k".into(), "v".into())])).unwrap();
        bytes.resize(ranges.last().unwrap().end as usize, 0);
        (listings, bytes)
    }

    #[test]
    fn what_is_laid_out_is_read_back() {
        let (listings, bytes) = example();
        let table = read(bytes).unwrap();
        assert_eq!(table.metadata.get("k").map(String::as_str), Some("v"));
        let sizes: Vec<u64> = table.tensors.iter().map(|t| t.range.end - t.range.start).collect();
        assert_eq!(sizes, [320, 10 + 16 + 4 + 3, 16 + 4 + 30, 10 + 12]);
        for (listing, entry) in listings.iter().zip(&table.tensors) {
            assert_eq!((&listing.name, &listing.coding), (&entry.name, &entry.packed));
        }
    }

    #[test]
    fn damage_is_named() {
        let (_, good) = example();
        let spoiled = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            read(bytes).unwrap_err()
        };
        assert!(matches!(spoiled(1, 0), ErrorKind::Packed { .. }));
        assert!(matches!(spoiled(8, 9), ErrorKind::PackedVersion { found: 9, .. }));
        assert!(matches!(spoiled(13, 1), ErrorKind::Packed { .. }));
        assert!(matches!(spoiled(22, 1), ErrorKind::HeaderTooLarge { .. }));
        assert!(matches!(spoiled(24, b'['), ErrorKind::HeaderJson(_)));
        assert!(matches!(read(good[..good.len() - 1].to_vec()).unwrap_err(), ErrorKind::WrongLength { .. }));
        assert!(matches!(read(good[..10].to_vec()).unwrap_err(), ErrorKind::Packed { .. }));
        let replaced = |from: &str, to: &str| {
            let text = String::from_utf8_lossy(&good).replace(from, to);
            read(text.into_bytes())
        };
        assert!(good.is_ascii() || replaced("zzz", "yyy").is_err()); // the magic is not text: a lossy copy never opens
        let swap = |from: &[u8], to: &[u8]| {
            let at = good.windows(from.len()).position(|w| w == from).unwrap();
            let mut bytes = good.clone();
            bytes[at..at + from.len()].copy_from_slice(to);
            read(bytes).unwrap_err()
        };
        assert!(matches!(swap(b"\"nonzeros\":7,", b"\"nonzeros\":9,"), ErrorKind::WrongSize { .. }));
        assert!(matches!(swap(b"\"name\":\"b\"", b"\"name\":\"a\""), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"bits\":3", b"\"bits\":1"), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"unit\":\"g32\"", b"\"unit\":\"g31\""), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"form\":\"mask\"", b"\"from\":\"mask\""), ErrorKind::Packed { .. }));
    }
}
