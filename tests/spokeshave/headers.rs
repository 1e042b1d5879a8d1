//! Headers built at random: laid out and read back they are the same, with one field spoiled they are judged as the
//! reference reader judges them, and whatever bytes come, nothing panics.

use super::verdict::judge;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};
use spokeshave::formats::packed_layout::{Code, Coding, Factors, Form, Indices, Matrix, Stored};
use spokeshave::formats::safetensors::{Listing, METADATA, lay_out};
use spokeshave::formats::{Dtype, Limits, index, packed};
use spokeshave::kernels::layout::{Geometry, Unit};
use spokeshave::recipe::file;
use std::collections::BTreeMap;
use std::path::Path;

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c.]{0,6}", "\\PC{0,8}", Just("__metadata__ ".to_owned())]
}

fn dtype() -> impl Strategy<Value = Dtype> {
    (0..Dtype::ALL.len()).prop_map(|i| Dtype::ALL[i])
}

/// Tensors whose elements end on whole bytes, by name.
fn listings() -> impl Strategy<Value = Vec<Listing>> {
    let tensor = (dtype(), vec(0_usize..5, 0..4)).prop_map(|(dtype, mut shape)| {
        if dtype.bits() % 8 != 0 {
            shape.push(4);
        }
        (dtype, shape)
    });
    btree_map(name(), tensor, 0..6).prop_map(|tensors| {
        let listing = |(name, (dtype, shape))| Listing { name, dtype, shape };
        tensors.into_iter().filter(|(name, _)| name != METADATA).map(listing).collect()
    })
}

fn metadata() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(name(), "\\PC{0,8}", 0..3)
}

/// A whole file: what was laid out, and zeros for data.
fn file_of(listings: &[Listing], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let header = lay_out(listings, metadata).expect("a header of small tensors");
    let end = header.ranges.iter().map(|range| range.end).max().unwrap_or(header.bytes.len() as u64);
    let mut bytes = header.bytes;
    bytes.resize(usize::try_from(end).expect("small"), 0);
    bytes
}

fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

/// Values that a field may be spoiled with.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(-1)),
        Just(json!(0)),
        Just(json!(1)),
        Just(json!(2.5)),
        Just(json!(1e300)),
        Just(json!(u64::MAX)),
        Just(json!(1_u64 << 62)),
        Just(json!("F32")),
        Just(json!("F4")),
        Just(json!("")),
        Just(json!([])),
        Just(json!([0, 4])),
        Just(json!({})),
        Just(json!({"F32": null})),
        Just(json!(["F32", [1], [0, 4]])),
        Just(json!({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})),
        any::<u64>().prop_map(|n| json!(n)),
    ]
}

/// Spoils the value that `at` counts to, going through the tree in order.
fn spoil(value: &mut Value, at: &mut usize, with: &Value) {
    if *at == 0 {
        *value = with.clone();
        *at = usize::MAX;
        return;
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| spoil(item, at, with)),
        Value::Object(members) => members.values_mut().for_each(|item| spoil(item, at, with)),
        _ => {}
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

/// The tree of a header's text, spoiled in one place.
fn spoiled(text: &str, at: prop::sample::Index, with: &Value) -> String {
    let mut tree: Value = serde_json::from_str(text).expect("what was laid out is JSON");
    let mut at = at.index(count(&tree));
    spoil(&mut tree, &mut at, with);
    tree.to_string()
}

/// A `packed` file of a few coded and plain tensors.
fn packed_file(kinds: &[(u8, u8)]) -> Vec<u8> {
    let listing = |(i, &(kind, shape)): (usize, &(u8, u8))| {
        let shape = vec![usize::from(shape % 4), 5 + usize::from(shape / 64)];
        let n = Geometry::of(&shape).len() as u64;
        let unit = [Unit::Tensor, Unit::Row, Unit::Group(32)][usize::from(kind) % 3];
        let integer = Code::Integer { bits: 2 + u32::from(kind) % 7, unit, zero_points: kind % 2 == 0 };
        let indices = |huffman, stream| Form::Indices(Indices { bits: 4, huffman, stream });
        let (form, nonzeros, huffman) = match kind / 4 % 5 {
            0 => (Form::Mask, n / 2, None),
            1 => (Form::Dense, n, None),
            2 => (Form::Dense, n, Some(3 * n)),
            3 => (indices(false, 4 * (n / 2)), n / 2, Some(n)),
            _ => (indices(true, n), n / 2, None),
        };
        let code = if kind % 3 == 0 { Code::Element } else { integer };
        let matrix = Matrix { form, nonzeros, code, huffman };
        let factor = |rows: usize| Matrix { nonzeros: rows as u64, form: Form::Dense, code, huffman: None };
        let factors = Factors { rank: 1, dtype: Dtype::BF16, matrices: [factor(shape[0]), factor(shape[1])] };
        let stored = if kind > 200 && n > 0 { Stored::Factors(factors) } else { Stored::Codes(matrix) };
        let coding = (kind % 4 > 0).then(|| Coding { scheme: "int4".into(), stored });
        packed::Listing { name: format!("t{i}"), dtype: Dtype::F32, shape, coding }
    };
    let listings: Vec<packed::Listing> = kinds.iter().enumerate().map(listing).collect();
    let (mut bytes, ranges) = packed::lay_out(&listings, &BTreeMap::new()).expect("a header of small tensors");
    let end = ranges.last().map_or(bytes.len() as u64, |range| range.end);
    bytes.resize(usize::try_from(end).expect("small"), 0);
    let table = packed::read_bytes(&bytes, &Limits::default()).expect("what was laid out is read back");
    for (listing, entry) in listings.iter().zip(&table.tensors) {
        assert_eq!((&listing.name, &listing.shape, &listing.coding), (&entry.name, &entry.shape, &entry.packed));
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_laid_out_is_read_back(listings in listings(), metadata in metadata()) {
        let table = judge(&file_of(&listings, &metadata)).expect("it was laid out by the rules");
        prop_assert_eq!(table.tensors.len(), listings.len());
        prop_assert_eq!(&table.metadata, &metadata);
        for listing in &listings {
            let entry = table.tensors.iter().find(|entry| entry.name == listing.name).expect("it is listed");
            prop_assert_eq!((entry.dtype, &entry.shape), (listing.dtype, &listing.shape));
        }
    }

    #[test]
    fn one_spoiled_field_is_judged_as_the_reference_does(
        listings in listings(),
        metadata in metadata(),
        at in any::<prop::sample::Index>(),
        with in odd(),
        data in prop::option::of(0_usize..40),
    ) {
        let whole = file_of(&listings, &metadata);
        let length = usize::try_from(u64::from_le_bytes(*whole.first_chunk().expect("a length"))).expect("small");
        let (header, rest) = whole[8..].split_at(length);
        let header = spoiled(std::str::from_utf8(header).expect("text"), at, &with);
        drop(judge(&with_header(&header, data.unwrap_or(rest.len()))));
    }

    #[test]
    fn one_changed_byte_is_judged_as_the_reference_does(
        listings in listings(),
        metadata in metadata(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = file_of(&listings, &metadata);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        drop(judge(&bytes));
    }

    #[test]
    fn a_spoiled_packed_header_is_an_error_or_a_table(
        kinds in vec(any::<(u8, u8)>(), 0..5),
        at in any::<prop::sample::Index>(),
        with in odd(),
        byte in any::<(prop::sample::Index, u8)>(),
    ) {
        let mut bytes = packed_file(&kinds);
        let length = usize::try_from(u64::from_le_bytes(*bytes[16..].first_chunk().expect("a length"))).expect("small");
        let header = spoiled(std::str::from_utf8(&bytes[24..24 + length]).expect("text"), at, &with);
        let mut other = bytes[..16].to_vec();
        other.extend_from_slice(&(header.len() as u64).to_le_bytes());
        other.extend_from_slice(header.as_bytes());
        other.extend_from_slice(&bytes[24 + length..]);
        if let Ok(table) = packed::read_bytes(&other, &Limits::default()) {
            // What passes adds up to the file, whatever was changed.
            let end = table.tensors.last().map_or(24 + header.len() as u64, |entry| entry.range.end);
            prop_assert_eq!(end, other.len() as u64);
        }
        let at = byte.0.index(bytes.len());
        bytes[at] = byte.1;
        drop(packed::read_bytes(&bytes, &Limits::default()));
    }

    #[test]
    fn a_spoiled_index_is_an_error_or_plain_names(
        files in btree_map(name(), prop_oneof!["[ab./\\\\:]{0,8}\\.safetensors", "\\PC{0,8}"], 0..5),
        at in any::<prop::sample::Index>(),
        with in odd(),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = json!({"metadata": {"total_size": 1}, "weight_map": files}).to_string();
        for text in [text.clone(), spoiled(&text, at, &with), text.chars().take(cut.index(text.len())).collect()] {
            if let Ok(index) = index::read_bytes(text.as_bytes(), &Limits::default()) {
                let plain = |file: &String| file.split('/').all(|part| !matches!(part, "" | "." | ".."));
                prop_assert!(index.files.iter().all(plain) && index.tensors.values().all(|&i| i < index.files.len()));
            }
        }
    }

    #[test]
    fn a_recipe_is_an_error_or_its_own_fixed_point(
        patterns in vec(prop_oneof!["[a-c*?{}\\[\\],.!-]{0,12}", "re:[a-c*?()|+.\\\\w]{0,12}", "\\PC{0,8}"], 0..4),
        schemes in vec(prop_oneof!["keep", "prune:0\\.[0-9]{1,3}(:row)?\\+int[1-9](:g(32|64))?", "\\PC{0,12}"], 4),
        junk in prop::option::of("\\PC{0,20}"),
    ) {
        let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut text = "version = 1\n".to_owned();
        for (pattern, scheme) in patterns.iter().zip(&schemes) {
            text += &format!("[[rule]]\nmatch = {}\nscheme = {}\n", quote(pattern), quote(scheme));
        }
        text += junk.as_deref().unwrap_or_default();
        if let Ok(recipe) = file::parse(&text, Path::new("r.toml")) {
            let printed = file::print(&recipe);
            let again = file::parse(&printed, Path::new("r.toml")).expect("what is printed is read back");
            prop_assert_eq!(&again, &recipe);
            prop_assert_eq!(file::print(&again), printed);
        }
    }

    #[test]
    fn any_bytes_at_all(bytes in vec(any::<u8>(), 0..64)) {
        drop(judge(&bytes));
        drop(packed::read_bytes(&bytes, &Limits::default()));
        drop(index::read_bytes(&bytes, &Limits::default()));
        drop(file::parse(&String::from_utf8_lossy(&bytes), Path::new("r.toml")));
        drop(spokeshave::formats::sniff::sniff(&bytes));
    }
}
