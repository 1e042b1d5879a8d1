//! GGUF headers built at random, beside llama.cpp's rules written down a second time: in 128 bits, over what the header says and
//! not over its bytes. With one field spoiled the verdict is the rules', and whatever bytes come, nothing panics.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use spokeshave::formats::gguf::{Value, read_bytes};
use spokeshave::formats::{Limits, Table};
use std::collections::HashSet;

/// Id, elements and bytes of a block of some types, from ggml's own table.
const TYPES: [(u32, u128, u128); 35] = [
    (0, 1, 4),
    (1, 1, 2),
    (30, 1, 2),
    (24, 1, 1),
    (8, 32, 34),
    (2, 32, 18),
    (12, 256, 144),
    (39, 32, 17),
    (29, 256, 56),
    (3, 32, 20),
    (6, 32, 22),
    (7, 32, 24),
    (9, 32, 36),
    (10, 256, 84),
    (11, 256, 110),
    (13, 256, 176),
    (14, 256, 210),
    (15, 256, 292),
    (16, 256, 66),
    (17, 256, 74),
    (18, 256, 98),
    (19, 256, 50),
    (20, 32, 18),
    (21, 256, 110),
    (22, 256, 82),
    (23, 256, 136),
    (25, 1, 2),
    (26, 1, 4),
    (27, 1, 8),
    (28, 1, 8),
    (34, 256, 54),
    (35, 256, 66),
    (40, 64, 36),
    (41, 128, 18),
    (42, 64, 18),
];

/// A value of some kinds, for each of which the framing is another.
#[derive(Clone, Debug)]
enum Said {
    U32(u32),
    Bool(u8),
    F64(f64),
    Text(String),
    Bytes(Vec<u8>),
    Texts(Vec<String>),
}

#[derive(Clone, Debug)]
struct Tensor {
    name: String,
    /// As the file has them: the fastest first.
    dims: Vec<u64>,
    kind: u32,
    offset: u64,
}

#[derive(Clone, Debug)]
struct Header {
    version: u32,
    alignment: Option<u32>,
    pairs: Vec<(String, Said)>,
    tensors: Vec<Tensor>,
    /// Bytes behind the header and its padding.
    data: usize,
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn value(out: &mut Vec<u8>, said: &Said) {
    match said {
        Said::U32(n) => out.extend([&4_u32.to_le_bytes()[..], &n.to_le_bytes()].concat()),
        Said::Bool(b) => out.extend([&7_u32.to_le_bytes()[..], &[*b]].concat()),
        Said::F64(x) => out.extend([&12_u32.to_le_bytes()[..], &x.to_le_bytes()].concat()),
        Said::Text(t) => {
            out.extend(8_u32.to_le_bytes());
            text(out, t);
        }
        Said::Bytes(bytes) => {
            out.extend([9_u32, 0].into_iter().flat_map(u32::to_le_bytes));
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        }
        Said::Texts(texts) => {
            out.extend([9_u32, 8].into_iter().flat_map(u32::to_le_bytes));
            out.extend((texts.len() as u64).to_le_bytes());
            texts.iter().for_each(|t| text(out, t));
        }
    }
}

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.pairs.len() as u64 + u64::from(self.alignment.is_some())).to_le_bytes());
        if let Some(alignment) = self.alignment {
            text(&mut out, "general.alignment");
            value(&mut out, &Said::U32(alignment));
        }
        for (key, said) in &self.pairs {
            text(&mut out, key);
            value(&mut out, said);
        }
        for tensor in &self.tensors {
            text(&mut out, &tensor.name);
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        if !self.tensors.is_empty() && self.aligned() {
            out.resize(out.len().next_multiple_of(self.alignment.unwrap_or(32) as usize), 0);
        }
        out.resize(out.len() + self.data, 9);
        out
    }

    fn aligned(&self) -> bool {
        self.alignment.is_none_or(|a| a.is_power_of_two() && a <= 1 << 20)
    }

    /// The rules, and where each tensor lies in the data.
    fn places(&self) -> Option<Vec<(u128, u128)>> {
        let keys: HashSet<&str> = self.pairs.iter().map(|(key, _)| key.as_str()).collect();
        let names: HashSet<&str> = self.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let alignments = usize::from(keys.contains("general.alignment"));
        let unique = keys.len() == self.pairs.len() && names.len() == self.tensors.len() && alignments == 0;
        if !matches!(self.version, 2 | 3) || !self.aligned() || !unique || keys.contains("") {
            return None;
        }
        let (alignment, mut at, mut places) = (u128::from(self.alignment.unwrap_or(32)), 0_u128, Vec::new());
        for tensor in &self.tensors {
            let (_, block, bytes) = *TYPES.iter().find(|row| row.0 == tensor.kind)?;
            let mut elements = 1_u128;
            for &d in &tensor.dims {
                elements *= u128::from(d.max(1));
                if d > i64::MAX as u64 || elements > i64::MAX as u128 {
                    return None;
                }
            }
            let elements = if tensor.dims.contains(&0) { 0 } else { elements };
            let row = u128::from(tensor.dims.first().copied().unwrap_or(1));
            let size = elements / block * bytes;
            let fits = tensor.dims.len() <= 4 && tensor.name.len() < 64 && row.is_multiple_of(block);
            if !fits || u128::from(tensor.offset) != at || at + size > self.data as u128 {
                return None;
            }
            places.push((at, size));
            at = (at + size).next_multiple_of(alignment);
        }
        Some(places)
    }
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        any::<u32>().prop_map(Said::U32),
        any::<u8>().prop_map(Said::Bool),
        any::<f64>().prop_map(Said::F64),
        "\\PC{0,12}".prop_map(Said::Text),
        vec(any::<u8>(), 0..9).prop_map(Said::Bytes),
        vec("\\PC{0,5}", 0..5).prop_map(Said::Texts),
    ]
}

fn tensor() -> impl Strategy<Value = (String, Vec<u64>, usize)> {
    let name = prop_oneof!["[a-c]{0,3}", "\\PC{0,9}", "[n.]{60,66}"];
    (name, vec(0_u64..4, 0..5), 0..TYPES.len())
}

/// Legal but for a name that comes twice or is too long.
fn header() -> impl Strategy<Value = Header> {
    let alignment = option::of(prop_oneof![Just(1), Just(8), Just(32), Just(64), Just(4096)]);
    let pairs = vec(("[a-c.]{0,3}|\\PC{1,9}", said()), 0..5);
    (prop_oneof![Just(2), Just(3)], alignment, pairs, vec(tensor(), 0..5)).prop_map(
        |(version, alignment, pairs, rows)| {
            let (mut at, mut end, mut tensors) = (0, 0, Vec::new());
            for (name, mut dims, row) in rows {
                let (kind, block, bytes) = TYPES[row];
                if block > 1 && dims.is_empty() {
                    dims.push(1);
                }
                if let Some(first) = dims.first_mut() {
                    *first *= block as u64;
                }
                end = at + (dims.iter().product::<u64>() / block as u64) * bytes as u64;
                tensors.push(Tensor { name, dims, kind, offset: at });
                at = end.next_multiple_of(u64::from(alignment.unwrap_or(32)));
            }
            Header { version, alignment, pairs, tensors, data: usize::try_from(end).expect("small") }
        },
    )
}

/// Numbers that somebody's arithmetic did not survive.
fn odd() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..70,
        (0_u32..64).prop_map(|bit| 1_u64 << bit),
        (0_u32..64, 0_u64..64).prop_map(|(bit, less)| (1_u64 << bit).wrapping_sub(less)),
        any::<u64>(),
    ]
}

/// Puts an odd number into one of a header's fields.
fn spoil(header: &mut Header, field: usize, at: prop::sample::Index, number: u64) {
    let tensors = header.tensors.len();
    match (field, tensors) {
        (0, _) => header.version = number as u32,
        (1, _) => header.alignment = Some(number as u32),
        (2, _) => header.data = at.index(header.data + 9),
        (_, 0) => {}
        (3, n) => header.tensors[at.index(n)].offset = number,
        (4, n) => header.tensors[at.index(n)].kind = number as u32,
        (5, n) => header.tensors[at.index(n)].dims.push(number),
        (6, n) => header.tensors[at.index(n)].dims.insert(0, number),
        (_, n) => {
            let tensor = &mut header.tensors[at.index(n)];
            let dims = tensor.dims.len();
            if dims > 0 {
                tensor.dims[at.index(dims)] = number;
            }
        }
    }
}

/// What a table that was read has to be, whatever it was read from: tensors in the file, one after the other.
fn check(table: &Table, len: usize) {
    let head = table.gguf.as_ref().expect("a GGUF table has a head");
    assert!(head.alignment.is_power_of_two() && head.data <= len as u64 && head.surplus <= len as u64);
    let mut at = head.data;
    for entry in &table.tensors {
        assert!(entry.range.start >= at && entry.range.end >= entry.range.start && entry.range.end <= len as u64);
        at = entry.range.end;
        let elements = entry.shape.iter().try_fold(1_usize, |product, &d| product.checked_mul(d));
        assert!(elements.is_some(), "{:?}", entry.shape);
    }
    assert!(head.pairs.0.iter().all(|pair| pair.place.end <= len as u64));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_header_is_judged_by_the_rules(
        made in header(),
        field in 0_usize..9,
        at in any::<prop::sample::Index>(),
        number in odd(),
        spoils in any::<bool>(),
    ) {
        let mut header = made;
        if spoils {
            spoil(&mut header, field, at, number);
        }
        let file = header.bytes();
        let (read, places) = (read_bytes(&file, &Limits::default()), header.places());
        match (&read, &places) {
            (Ok(table), Some(places)) => {
                check(table, file.len());
                let head = table.gguf.as_ref().expect("a head");
                for ((entry, tensor), &(start, size)) in table.tensors.iter().zip(&header.tensors).zip(places) {
                    let dims: Vec<u64> = entry.shape.iter().rev().map(|&d| d as u64).collect();
                    prop_assert_eq!((&entry.name, &dims), (&tensor.name, &tensor.dims));
                    let start = u128::from(head.data) + start;
                    prop_assert_eq!((u128::from(entry.range.start), u128::from(entry.range.end)), (start, start + size));
                }
                for (key, said) in &header.pairs {
                    let right = match (head.pairs.get(key), said) {
                        (Some(Value::Unsigned(a)), Said::U32(b)) => *a == u64::from(*b),
                        (Some(Value::Bool(a)), Said::Bool(b)) => *a == (*b != 0),
                        (Some(Value::Real(a)), Said::F64(b)) => a.to_bits() == b.to_bits(),
                        (Some(Value::Text(a)), Said::Text(b)) => a == b,
                        (Some(Value::Array { count, .. }), Said::Bytes(b)) => *count == b.len() as u64,
                        (Some(Value::Array { count, .. }), Said::Texts(b)) => *count == b.len() as u64,
                        _ => false,
                    };
                    prop_assert!(right, "{key:?}: {said:?}");
                }
            }
            (Err(_), None) => {}
            _ => prop_assert!(false, "{:?}, and by the rules {places:?}: {header:?}", read.err()),
        }
    }

    #[test]
    fn a_changed_byte_or_a_cut_is_an_error_or_a_table(
        header in header(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = header.bytes();
        let short = &file[..cut.index(file.len())];
        if let Ok(table) = read_bytes(short, &Limits::default()) {
            check(&table, short.len());
        }
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(table) = read_bytes(&file, &Limits::default()) {
            check(&table, file.len());
        }
    }
}
