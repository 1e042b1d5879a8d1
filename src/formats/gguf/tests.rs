//! One made file for each rule, spelled byte by byte.

use super::*;
use crate::formats::Dtype;
use crate::kernels::ggml::BlockType;

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key)[..], &kind.to_le_bytes(), value].concat()
}

fn info(name: &str, dims: &[u64], id: u32, offset: u64) -> Vec<u8> {
    let mut out = text(name);
    out.extend((dims.len() as u32).to_le_bytes());
    dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
    out.extend(id.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out
}

/// A file of these parts, with the padding before `data` bytes of data.
fn file(version: u32, pairs: &[Vec<u8>], infos: &[Vec<u8>], alignment: usize, data: usize) -> Vec<u8> {
    let mut out = [&MAGIC[..], &version.to_le_bytes()].concat();
    out.extend((infos.len() as u64).to_le_bytes());
    out.extend((pairs.len() as u64).to_le_bytes());
    out.extend(pairs.concat());
    out.extend(infos.concat());
    out.resize(out.len().next_multiple_of(alignment), 0);
    out.resize(out.len() + data, 7);
    out
}

fn read(file: &[u8]) -> Result<Table, ErrorKind> {
    read_bytes(file, &Limits::default())
}

/// The message of a file that must be refused.
#[track_caller]
fn refused(file: &[u8]) -> String {
    read(file).expect_err("it breaks a rule").to_string()
}

fn good() -> Vec<u8> {
    let pairs = [
        pair("general.architecture", 8, &text("llama")),
        pair("llama.block_count", 4, &2_u32.to_le_bytes()),
        pair("yes", 7, &[1]),
        pair("half", 6, &0.5_f32.to_le_bytes()),
        pair("less", 11, &(-3_i64).to_le_bytes()),
        pair("words", 9, &[&8_u32.to_le_bytes()[..], &2_u64.to_le_bytes(), &text("a"), &text("bc")].concat()),
        pair("numbers", 9, &[&4_u32.to_le_bytes()[..], &3_u64.to_le_bytes(), &[0; 12]].concat()),
    ];
    let infos = [info("w", &[64, 3], 8, 0), info("norm", &[5], 0, 224), info("s", &[], 1, 256)];
    file(3, &pairs, &infos, 32, 288)
}

#[test]
fn a_file_is_read_with_its_pairs_and_tensors() {
    let table = read(&good()).unwrap();
    let head = table.gguf.unwrap();
    assert_eq!((head.version, head.alignment, head.surplus), (3, 32, 0));
    assert_eq!(head.pairs.text("general.architecture"), Some("llama"));
    assert_eq!(head.pairs.number("llama.block_count"), Some(2));
    assert_eq!((head.pairs.get("yes"), head.pairs.get("half")), (Some(&Value::Bool(true)), Some(&Value::Single(0.5))));
    assert_eq!(head.pairs.get("less"), Some(&Value::Signed(-3)));
    assert_eq!(head.pairs.get("words").unwrap().to_string(), "[2 × text]");
    assert_eq!(head.pairs.get("numbers").unwrap().to_string(), "[3 × u32]");
    let [w, norm, s] = &table.tensors[..] else { panic!("three tensors") };
    assert_eq!((&w.shape[..], w.dtype, w.block_type), (&[3, 64][..], Dtype::F32, Some(BlockType::Q8_0)));
    assert_eq!(w.range, head.data..head.data + 204);
    assert_eq!((&norm.shape[..], norm.dtype, norm.block_type), (&[5][..], Dtype::F32, None));
    assert_eq!((s.shape.len(), s.dtype, s.range.end), (0, Dtype::F16, head.data + 258));
    // Every pair can be copied from its place.
    let file = good();
    let words = head.pairs.0.iter().find(|pair| pair.key == "words").unwrap();
    assert_eq!(&file[words.place.start as usize..][..13], &text("words")[..]);
    assert_eq!(words.place.end, head.pairs.0.last().unwrap().place.start);
}

#[test]
fn every_cut_is_an_error_and_only_padding_may_be_missing() {
    let file = good();
    let end = read(&file).unwrap().tensors[2].range.end as usize;
    for length in 0..end {
        let message = refused(&file[..length]);
        assert!(message.contains("cut short") || message.contains("not a GGUF"), "{length}: {message}");
    }
    for length in end..file.len() {
        assert_eq!(read(&file[..length]).unwrap().gguf.unwrap().surplus, 0);
    }
    assert_eq!(read(&[&file[..], &[0; 9]].concat()).unwrap().gguf.unwrap().surplus, 9);
}

#[test]
fn versions_alignments_and_keys_follow_llama_cpp() {
    for (version, says) in [(0, "damaged"), (1, "August 2023"), (3_u32.swap_bytes(), "big-endian"), (4, "newer")] {
        assert!(refused(&file(version, &[], &[], 1, 0)).contains(says));
    }
    assert!(read(&file(2, &[], &[], 1, 0)).unwrap().tensors.is_empty());
    let aligned = |kind: u32, value: &[u8]| [pair(ALIGNMENT_KEY, kind, value)];
    for wrong in [0_u32, 3, 48, 1 << 21] {
        let message = refused(&file(3, &aligned(4, &wrong.to_le_bytes()), &[], 1, 0));
        assert!(message.contains(&format!("it is {wrong}; allowed are powers of two")), "{message}");
    }
    assert!(refused(&file(3, &aligned(10, &64_u64.to_le_bytes()), &[], 1, 0)).contains("of type u64"));
    let infos = [info("a", &[3], 0, 0), info("b", &[3], 0, 64)];
    let table = read(&file(3, &aligned(4, &64_u32.to_le_bytes()), &infos, 64, 76)).unwrap();
    assert_eq!((table.tensors[1].range.start - table.tensors[0].range.start, table.gguf.unwrap().alignment), (64, 64));
    let twice = [pair("k", 0, &[1]), pair("k", 0, &[2])];
    assert!(refused(&file(3, &twice, &[], 1, 0)).contains("given twice"));
    assert!(refused(&file(3, &[pair("", 0, &[1])], &[], 1, 0)).contains("empty"));
    assert!(refused(&file(3, &[pair("k", 13, &[1])], &[], 1, 0)).contains("type is 13"));
    let nested = [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat();
    assert!(refused(&file(3, &[pair("k", 9, &nested)], &[], 1, 0)).contains("array of arrays"));
    let mut bad_key = pair("k", 0, &[1]);
    bad_key[8] = 0xFF;
    assert!(refused(&file(3, &[bad_key], &[], 1, 0)).contains("not UTF-8"));
}

#[test]
fn counts_are_held_against_the_bytes_that_are_left() {
    let prefix = |tensors: u64, pairs: u64| {
        [&MAGIC[..], &3_u32.to_le_bytes(), &tensors.to_le_bytes(), &pairs.to_le_bytes(), &[0; 64]].concat()
    };
    for many in [6, 1 << 40, u64::MAX] {
        assert!(refused(&prefix(0, many)).contains("pairs, which take 13 bytes"));
        assert!(refused(&prefix(many, 0)).contains("infos, which take 24 bytes"));
    }
    for (of, least) in [(8_u32, 8), (4, 4), (12, 8), (7, 1)] {
        for count in [1_u64 << 62, u64::MAX, 1 << 20] {
            let array = [&of.to_le_bytes()[..], &count.to_le_bytes()].concat();
            let message = refused(&file(3, &[pair("k", 9, &array)], &[], 1, 64));
            assert!(message.contains(&format!("items, which take {least} bytes each")), "{message}");
        }
    }
    for length in [65_u64, 1 << 40, u64::MAX] {
        let message = refused(&file(3, &[pair("k", 8, &length.to_le_bytes())], &[], 1, 64));
        assert!(message.contains("a text is said to be"), "{message}");
    }
    let few = Limits { texts: 1, tensors: 1, header_bytes: 100, ..Limits::default() };
    let message = |file: &[u8]| read_bytes(file, &few).expect_err("past a limit").to_string();
    assert!(message(&file(3, &[pair("a", 0, &[1]), pair("b", 0, &[1])], &[], 1, 0)).contains("1 are the most"));
    assert!(message(&file(3, &[], &[info("a", &[1], 0, 0), info("b", &[1], 0, 32)], 32, 64)).contains("more than 1"));
    assert!(message(&file(3, &[pair("k", 8, &text(&"x".repeat(99)))], &[], 1, 0)).contains("more than the 100"));
}

#[test]
fn shapes_types_and_offsets_are_checked() {
    let one = |info: Vec<u8>, data: usize| file(3, &[], &[info], 32, data);
    assert!(refused(&one(info("w", &[1; 5], 0, 0), 32)).contains("5 dimensions"));
    assert!(refused(&one(info("w", &[u64::MAX], 0, 0), 32)).contains("more than can be counted"));
    assert!(refused(&one(info("w", &[1 << 32, 1 << 32], 0, 0), 32)).contains("more elements than can be counted"));
    assert!(refused(&one(info("w", &[1 << 62], 0, 0), 32)).contains("more bytes than can be counted"));
    assert!(refused(&one(info("w", &[33], 8, 0), 64)).contains("rows of 33 elements are not whole blocks of 32"));
    assert!(refused(&one(info("w", &[32], 99, 0), 64)).contains("number 99"));
    assert!(refused(&one(info("w", &[32], 4, 0), 64)).contains("withdrawn"));
    assert!(refused(&one(info("w", &[32], 31, 0), 64)).contains("repacked"));
    assert!(refused(&one(info(&"n".repeat(64), &[1], 0, 0), 32)).contains("64 bytes long"));
    assert!(read(&one(info(&"n".repeat(63), &[1], 0, 0), 32)).is_ok());
    assert!(refused(&one(info("w", &[8], 0, 32), 64)).contains("starts at byte 32 of the data, expected 0"));
    assert!(refused(&one(info("w", &[9], 0, 0), 32)).contains("cut short"));
    assert!(read(&one(info("w", &[0, 4], 0, 0), 0)).unwrap().tensors[0].range.is_empty());
    let twice = file(3, &[], &[info("w", &[1], 0, 0), info("w", &[1], 0, 32)], 32, 64);
    assert!(refused(&twice).contains("names \"w\" twice"));
    let overlap = file(3, &[], &[info("a", &[16], 0, 0), info("b", &[1], 0, 32)], 32, 96);
    assert!(refused(&overlap).contains("starts at byte 32 of the data, expected 64"));
    let huge = file(3, &[], &[info("a", &[1 << 60], 24, 0), info("b", &[1], 0, 1 << 60)], 32, 64);
    assert!(refused(&huge).contains("cut short"));
}
