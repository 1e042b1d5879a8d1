//! Reading and laying out `packed`, Spokeshave's own container (byte by byte in `PACKED.md`), as strictly as safetensors.

use super::error::{Error, ErrorKind, printable, quoted};
use super::frame::Frame;
use super::json::{
    Document, Found, Seed, Take, Texts, Verdict, push_number, push_shape, push_text, push_texts, read_document,
};
use super::packed_layout::{
    Code, Coding, Factors, Form, Indices, MAGIC, MOST_FACTORED, Matrix, PREFIX, Stored, VERSION,
};
use super::packed_tensor::Tensor;
use super::safetensors::needed_bytes;
use super::{Dtype, Entry, Limits, Source, Table};
use crate::kernels::layout::{Geometry, Unit};
use serde::de::{MapAccess, SeqAccess};
use std::collections::BTreeMap;
use std::ops::Range;

/// What messages call the document that is read here.
const HEADER: &str = "the header of this packed file";

/// How the file begins.
const FRAME: Frame<u32> = Frame { prefix: PREFIX, place: header_place, table };

/// Reads and checks the header of a `packed` file.
///
/// # Errors
/// The first rule of `PACKED.md` that the file breaks.
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

/// A rule of `PACKED.md` that is broken at some place.
pub(super) fn bad(place: impl Into<String>, what: impl Into<String>) -> ErrorKind {
    ErrorKind::Packed { place: place.into(), what: what.into() }
}

/// The version of the format and where the header lies, from the file's first bytes and its length.
fn header_place(first: &[u8], file_len: u64, limits: &Limits) -> Result<(u32, Range<u64>), ErrorKind> {
    let available = file_len.checked_sub(PREFIX);
    #[expect(clippy::cast_possible_truncation, reason = "it is 24")]
    let prefix = first.first_chunk::<{ PREFIX as usize }>();
    let (Some(prefix), Some(available)) = (prefix, available) else {
        return Err(bad("the first 24 bytes", "the file is shorter than that; it is cut short"));
    };
    let [magic @ .., v0, v1, v2, v3, z0, z1, z2, z3, l0, l1, l2, l3, l4, l5, l6, l7] = *prefix;
    if magic != MAGIC {
        return Err(bad("bytes 0 to 7", "they are not those of a packed file"));
    }
    let version = u32::from_le_bytes([v0, v1, v2, v3]);
    if !(1..=VERSION).contains(&version) {
        return Err(ErrorKind::PackedVersion { found: version, known: VERSION });
    }
    if [z0, z1, z2, z3] != [0; 4] {
        return Err(bad("bytes 12 to 15", "they are not zero; the file is damaged"));
    }
    let length = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
    if length > limits.header_bytes {
        return Err(ErrorKind::HeaderTooLarge { format: "packed", found: length, allowed: limits.header_bytes });
    }
    if length > available {
        return Err(ErrorKind::HeaderPastEnd { place: HEADER, found: length, available });
    }
    Ok((version, PREFIX..PREFIX + length))
}

/// What a header lists, each rule in its turn.
fn table(header: &[u8], version: u32, file_len: u64, limits: &Limits) -> Result<Table, ErrorKind> {
    let verdict = Verdict::default();
    let data_start = PREFIX.saturating_add(header.len() as u64);
    let table = read_document(header, HEADER, &verdict, Header { verdict: &verdict, limits, version, data_start })?;
    let end = table.tensors.last().map_or(data_start, |last| last.range.end);
    if end != file_len {
        let advice = if end > file_len { "the file is cut short" } else { "unowned bytes follow the last tensor" };
        let (described, held) = (end - data_start, file_len.saturating_sub(data_start));
        let what =
            format!("its tensors take {described} bytes, the file holds {held}: {advice}; copy or write it again");
        return Err(bad("the data", what));
    }
    Ok(table)
}

/// The header's object.
struct Header<'h> {
    verdict: &'h Verdict,
    limits: &'h Limits,
    version: u32,
    data_start: u64,
}

impl<'de> Document<'de> for Header<'_> {
    type Out = Table;

    fn members<A: MapAccess<'de>>(self, mut members: A) -> Result<Table, A::Error> {
        let (verdict, mut metadata, mut tensors) = (self.verdict, None, None);
        while let Some(key) = members.next_key::<String>()? {
            let twice = match key.as_str() {
                "metadata" => {
                    let texts = Texts { verdict, wrong: bad_metadata, or_null: false, most: self.limits.texts };
                    metadata.replace(members.next_value_seed(Seed(texts))?).is_some()
                }
                "tensors" => tensors.replace(members.next_value_seed(Seed(Tensors(&self)))?).is_some(),
                _ => return verdict.refuse(bad("the header", format!("unknown key {}", quoted(&key)))),
            };
            if twice {
                return verdict.refuse(ErrorKind::DuplicateKey { place: HEADER.into(), name: key });
            }
        }
        match (metadata, tensors) {
            (Some(metadata), Some(tensors)) => Ok(Table { tensors, metadata, ..Table::default() }),
            (None, _) => verdict.refuse(bad("the header", "it has no \"metadata\"")),
            (_, None) => verdict.refuse(bad("the header", "it has no \"tensors\"")),
        }
    }
}

fn bad_metadata(key: Option<&str>, found: Found<'_>) -> ErrorKind {
    let holds = key.map_or_else(String::new, |key| format!("its key {} holds ", quoted(key)));
    bad("the metadata", format!("it maps text to text, but {holds}{}{found}", if key.is_none() { "is " } else { "" }))
}

/// The list of tensors, whose payloads follow each other from the end of the header.
struct Tensors<'h>(&'h Header<'h>);

impl<'de> Take<'de> for Tensors<'_> {
    type Out = Vec<Entry>;

    fn plain<E: serde::de::Error>(self, found: Found<'_>) -> Result<Self::Out, E> {
        self.0.verdict.refuse(bad("the header", format!("its \"tensors\" are {found}, not a list")))
    }

    fn list<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Out, A::Error> {
        let Header { verdict, limits, version, data_start } = *self.0;
        let (mut out, mut at) = (Vec::<Entry>::new(), data_start);
        while let Some(entry) =
            items.next_element_seed(Seed(Tensor { verdict, limits, version, at, position: out.len() }))?
        {
            if out.len() == limits.tensors {
                return verdict.refuse(ErrorKind::TooManyTensors { allowed: limits.tensors });
            }
            if out.last().is_some_and(|last| last.name >= entry.name) {
                let what = "names are not in order, or one is there twice";
                return verdict.refuse(bad(format!("tensor {}", quoted(&entry.name)), what));
            }
            at = entry.range.end;
            out.push(entry);
        }
        Ok(out)
    }
}

pub(super) fn unit_name(unit: Unit) -> String {
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
/// Sizes past 2^64, factors that no reader takes.
pub fn lay_out(
    listings: &[Listing],
    metadata: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, Vec<Range<u64>>), ErrorKind> {
    let mut sizes = Vec::with_capacity(listings.len());
    let mut json = String::with_capacity(160 * listings.len() + 256);
    json.push_str("{\"metadata\":");
    push_texts(&mut json, metadata);
    json.push_str(",\"tensors\":[");
    for (i, listing) in listings.iter().enumerate() {
        let geometry = Geometry::of(&listing.shape);
        if let Some(Coding { stored: Stored::Factors(factors), .. }) = &listing.coding
            && factors.elements(geometry) > MOST_FACTORED
        {
            let what = format!("its factors have more elements than the {MOST_FACTORED} that are read; lower its rank");
            return Err(bad(format!("tensor {}", quoted(&listing.name)), what));
        }
        let bytes = match &listing.coding {
            Some(coding) => coding.stored.len(listing.dtype, geometry),
            None => needed_bytes(listing.dtype, &listing.shape)
                .map_err(|what| ErrorKind::NoSize { name: printable(&listing.name), what })?,
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
    let versions = listings.iter().filter_map(|listing| Some(listing.coding.as_ref()?.stored.version()));
    head.extend_from_slice(&versions.max().unwrap_or(1).to_le_bytes());
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
    match &coding.stored {
        Stored::Codes(matrix) => push_matrix(json, matrix),
        Stored::Factors(Factors { rank, dtype, matrices: [left, right] }) => {
            json.push_str(",\"rank\":");
            push_number(json, *rank as u64);
            json.push_str(&format!(",\"dtype\":\"{}\",\"left\":{{", dtype.name()));
            push_matrix(json, left);
            json.push_str("},\"right\":{");
            push_matrix(json, right);
            json.push('}');
        }
    }
    json.push('}');
}

/// The members that say how a matrix is coded.
fn push_matrix(json: &mut String, matrix: &Matrix) {
    json.push_str(if json.ends_with('{') { "" } else { "," });
    json.push_str(match matrix.form {
        Form::Dense => "\"form\":\"dense\"",
        Form::Mask => "\"form\":\"mask\"",
        Form::Indices(_) => "\"form\":\"indices\"",
    });
    json.push_str(",\"nonzeros\":");
    push_number(json, matrix.nonzeros);
    if let Some(Indices { bits, huffman, stream }) = matrix.indices() {
        json.push_str(",\"index_bits\":");
        push_number(json, u64::from(bits));
        json.push_str(if huffman { ",\"index_huffman\":true" } else { ",\"index_huffman\":false" });
        json.push_str(",\"index_stream\":");
        push_number(json, stream);
    }
    if let Some(stream) = matrix.huffman {
        json.push_str(",\"code_stream\":");
        push_number(json, stream);
    }
    push_code(json, matrix.code);
}

/// The members that say what codes are.
fn push_code(json: &mut String, code: Code) {
    let mut text = |key: &str, word: &str| json.push_str(&format!(",\"{key}\":\"{word}\""));
    match code {
        Code::Element => {}
        Code::Integer { bits, unit, zero_points } => {
            json.push_str(",\"bits\":");
            push_number(json, u64::from(bits));
            json.push_str(",\"unit\":\"");
            json.push_str(&unit_name(unit));
            json.push_str(if zero_points { "\",\"zero_points\":true" } else { "\",\"zero_points\":false" });
        }
        Code::Number { table, unit } => {
            text("code", table.name());
            text("unit", &unit_name(unit));
        }
        Code::Codebook { entries, unit } => {
            text("code", "codebook");
            text("unit", &unit_name(unit));
            json.push_str(",\"entries\":");
            push_number(json, u64::from(entries));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::packed_layout::Numbers;

    fn open(bytes: Vec<u8>) -> Result<Table, ErrorKind> {
        let whole = read_bytes(&bytes, &Limits::default());
        let read = read_table(&Source::embedded("test", Vec::leak(bytes)), &Limits::default()).map_err(|e| e.kind);
        assert_eq!(format!("{read:?}"), format!("{whole:?}"));
        read
    }

    fn example() -> (Vec<Listing>, Vec<u8>) {
        let code = Code::Integer { bits: 3, unit: Unit::Group(32), zero_points: true };
        let coding = |form, nonzeros, code, huffman| {
            let stored = Stored::Codes(Matrix { form, nonzeros, code, huffman });
            Some(Coding { scheme: "int3:g32:asym".into(), stored })
        };
        let indices = |huffman, stream| Form::Indices(Indices { bits: 4, huffman, stream });
        let listing = |name: &str, coding| Listing { name: name.into(), dtype: Dtype::F32, shape: vec![2, 40], coding };
        let number = Code::Number { table: Numbers::Nvfp4, unit: Unit::Group(16) };
        let listings = vec![
            listing("a", None),
            listing("b", coding(Form::Mask, 7, code, None)),
            listing("c", coding(Form::Dense, 80, code, None)),
            listing("d", coding(Form::Mask, 3, Code::Element, None)),
            listing("e", coding(Form::Dense, 80, code, Some(160))),
            listing("f", coding(indices(false, 44), 7, code, None)),
            listing("g", coding(indices(true, 13), 7, Code::Element, Some(9))),
            listing("h", coding(Form::Dense, 80, number, None)),
            listing("i", coding(Form::Mask, 5, Code::Codebook { entries: 5, unit: Unit::Row }, None)),
        ];
        let (mut bytes, ranges) = lay_out(&listings, &BTreeMap::from([("k".into(), "v".into())])).unwrap();
        bytes.resize(ranges.last().unwrap().end as usize, 0);
        (listings, bytes)
    }

    #[test]
    fn what_is_laid_out_is_read_back() {
        let (listings, bytes) = example();
        let table = open(bytes).unwrap();
        assert_eq!(table.metadata.get("k").map(String::as_str), Some("v"));
        let sizes: Vec<u64> = table.tensors.iter().map(|t| t.range.end - t.range.start).collect();
        assert_eq!(
            sizes,
            [
                320,
                10 + 16 + 4 + 3,
                16 + 4 + 30,
                10 + 12,
                16 + 4 + 4 + 4 + 20,
                16 + 4 + 8 + 6 + 3,
                128 + 8 + 12 + 2 + 21 + 2,
                4 + 6 + 40,
                10 + 40 + 2,
            ]
        );
        for (listing, entry) in listings.iter().zip(&table.tensors) {
            assert_eq!((&listing.name, &listing.coding), (&entry.name, &entry.packed));
        }
    }

    #[test]
    fn the_version_is_the_least_that_knows_every_form() {
        let (listings, _) = example();
        let version = |listings: &[Listing]| lay_out(listings, &BTreeMap::new()).unwrap().0[8];
        assert_eq!([version(&listings), version(&listings[..4]), version(&[])], [2, 1, 1]);
        let (_, mut bytes) = example();
        bytes[8] = 1;
        let refused = open(bytes).unwrap_err().to_string();
        assert!(refused.contains("tensor \"e\"") && refused.contains("version 2"), "{refused}");
    }

    #[test]
    fn factors_that_would_fill_memory_are_neither_written_nor_read() {
        // 2^28 rows of one column each, all of them zeros: a few kilobytes of a file, and gigabytes of numbers.
        let side = |nonzeros| Matrix {
            form: Form::Indices(Indices { bits: 8, huffman: false, stream: 8 * nonzeros }),
            nonzeros,
            code: Code::Element,
            huffman: None,
        };
        let listing = |rows: usize| {
            let factors = Factors { rank: 1, dtype: Dtype::F32, matrices: [side(0), side(1)] };
            let coding = Coding { scheme: "rank:1".into(), stored: Stored::Factors(factors) };
            [Listing { name: "w".into(), dtype: Dtype::F32, shape: vec![rows, 1], coding: Some(coding) }]
        };
        let refused = lay_out(&listing(MOST_FACTORED), &BTreeMap::new()).unwrap_err().to_string();
        assert!(refused.contains("lower its rank"), "{refused}");
        let (mut bytes, ranges) = lay_out(&listing(MOST_FACTORED - 1), &BTreeMap::new()).unwrap();
        bytes.resize(ranges[0].end as usize, 0);
        assert!(open(bytes.clone()).is_ok());
        let text = |rows: usize| format!("\"shape\":[{rows},1]").into_bytes();
        let at = bytes.windows(text(MOST_FACTORED).len()).position(|w| w == text(MOST_FACTORED - 1)).unwrap();
        bytes[at..at + text(MOST_FACTORED).len()].copy_from_slice(&text(MOST_FACTORED));
        let refused = open(bytes).unwrap_err().to_string();
        assert!(refused.contains("elements, at most"), "{refused}");
    }

    #[test]
    fn damage_is_named() {
        let (_, good) = example();
        let spoiled = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            open(bytes).unwrap_err()
        };
        assert!(matches!(spoiled(1, 0), ErrorKind::Packed { .. }));
        assert!(matches!(spoiled(8, 9), ErrorKind::PackedVersion { found: 9, .. }));
        assert!(matches!(spoiled(13, 1), ErrorKind::Packed { .. }));
        assert!(matches!(spoiled(22, 1), ErrorKind::HeaderTooLarge { .. }));
        assert!(matches!(spoiled(24, b'['), ErrorKind::NotAnObject { .. }));
        assert!(matches!(open(good[..good.len() - 1].to_vec()).unwrap_err(), ErrorKind::Packed { .. }));
        assert!(matches!(open(good[..10].to_vec()).unwrap_err(), ErrorKind::Packed { .. }));
        let replaced = |from: &str, to: &str| {
            let text = String::from_utf8_lossy(&good).replace(from, to);
            open(text.into_bytes())
        };
        assert!(good.is_ascii() || replaced("zzz", "yyy").is_err()); // the magic is not text: a lossy copy never opens
        let swap = |from: &[u8], to: &[u8]| {
            let at = good.windows(from.len()).position(|w| w == from).unwrap();
            let mut bytes = good.clone();
            bytes[at..at + from.len()].copy_from_slice(to);
            open(bytes).unwrap_err()
        };
        assert!(matches!(swap(b"\"nonzeros\":7,", b"\"nonzeros\":9,"), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"name\":\"b\"", b"\"name\":\"a\""), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"bits\":3", b"\"bits\":1"), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"unit\":\"g32\"", b"\"unit\":\"g31\""), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"form\":\"mask\"", b"\"from\":\"mask\""), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"index_bits\":4", b"\"index_bits\":9"), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"index_stream\":44", b"\"index_stream\":45"), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"code_stream\":160", b"\"code_stream\":961"), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"code_stream\":160", b"\"code_stream\":079"), ErrorKind::Json { .. }));
        assert!(matches!(swap(b"\"code\":\"nvfp4\"", b"\"code\":\"mxfp4\""), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"code\":\"nvfp4\"", b"\"code\":\"nvfp5\""), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"unit\":\"g16\"", b"\"unit\":\"g64\""), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"entries\":5", b"\"entries\":1"), ErrorKind::Packed { .. }));
        assert!(matches!(swap(b"\"entries\":5", b"\"unities\":5"), ErrorKind::Packed { .. }));
    }
}
