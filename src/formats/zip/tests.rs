//! Archives made by Python's `zipfile`, and what is done to them.

use super::*;
use crate::formats::Limits;

/// `zipfile.ZipFile(f, "w")`; `writestr("a/x.txt", b"spoke" * 3)`, the same deflated as `a/y.txt`, `writestr("a/d/", b"")`, and a
/// comment.
const PLAIN: &str = include_str!("plain.hex");

/// The same first member, through `open("a/x.txt", "w", force_zip64=True)`, with the directory's numbers in the wide record and
/// the wide end record and locator before an end that leaves all numbers to them.
const WIDE: &str = include_str!("wide.hex");

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn source(bytes: Vec<u8>) -> Source {
    Source::embedded("a.zip", bytes.leak())
}

fn told(bytes: Vec<u8>) -> String {
    let source = source(bytes);
    let all = |members: Vec<Member>| members.iter().try_for_each(|member| unpack(&source, member, 100).map(drop));
    read(&source, &Limits::default()).and_then(all).unwrap_err().to_string()
}

#[test]
fn members_are_found_and_unpacked() {
    let archive = source(bytes(PLAIN));
    let members = read(&archive, &Limits::default()).unwrap();
    let of = |m: &Member| (m.name.clone(), m.method, m.data.end - m.data.start, m.size);
    let [x, y] = members.as_slice() else { panic!("{members:?}") };
    assert_eq!(of(x), ("a/x.txt".into(), Method::Stored, 15, 15));
    assert_eq!((y.name.as_str(), y.method, y.size), ("a/y.txt", Method::Deflated, 15));
    assert_eq!(archive.read(x.data.clone(), &mut Vec::new()).unwrap(), b"spokespokespoke");
    for member in &members {
        assert_eq!(unpack(&archive, member, 15).unwrap(), b"spokespokespoke");
        assert!(unpack(&archive, member, 14).unwrap_err().to_string().contains("15 bytes of memory"));
    }
}

#[test]
fn the_wide_records_are_followed() {
    let archive = source(bytes(WIDE));
    let members = read(&archive, &Limits::default()).unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(unpack(&archive, &members[0], 100).unwrap(), b"spokespokespoke");
    // Without the locator before it, the end record speaks of numbers that are nowhere.
    let mut lost = bytes(WIDE);
    let at = lost.windows(4).position(|w| w == LOCATOR_64.to_le_bytes()).unwrap();
    lost[at] = 0;
    assert!(told(lost).contains("no record of the large directory"));
}

#[test]
fn what_does_not_agree_is_refused() {
    let find = |archive: &[u8], magic: u32, from: usize| {
        from + archive[from..].windows(4).position(|w| w == magic.to_le_bytes()).unwrap()
    };
    let with = |place: fn(&dyn Fn(u32, usize) -> usize) -> usize, value: &[u8]| {
        let mut archive = bytes(PLAIN);
        let at = place(&|magic, from| find(&archive, magic, from));
        archive[at..at + value.len()].copy_from_slice(value);
        told(archive)
    };
    for (text, said) in [
        (with(|find| find(CENTRAL, 0) + 10, &[12]), "its compression is method 12"),
        (with(|find| find(CENTRAL, 0) + 8, &[1]), "it is encrypted"),
        (with(|find| find(CENTRAL, 0) + 16, &[0]), "its CRC-32 is"),
        (with(|find| find(CENTRAL, 0) + 20, &[14]), "stored as it is, in 14 bytes, and said to have 15"),
        (with(|find| find(CENTRAL, 0) + 42, &[20]), "its header is damaged"),
        (with(|find| find(CENTRAL, 0) + 42, &[0, 0, 1]), "its header is said to lie at 65536"),
        (with(|find| find(CENTRAL, 0) + 46, b"b"), "another name"),
        (with(|find| find(CENTRAL, find(CENTRAL, 0) + 1) + 24, &[14]), "unpacks to more than the 14 bytes"),
        (with(|find| find(CENTRAL, find(CENTRAL, 0) + 1) + 24, &[16]), "unpacks to less than the 16 bytes"),
        (with(|find| find(CENTRAL, find(CENTRAL, 0) + 1) + 20, &[3]), "it cannot be unpacked"),
        (with(|find| find(END, 0) + 10, &[9]), "in several parts"),
        (with(|find| find(END, 0) + 8, &[9, 0, 9]), "entry 3 of the directory: the directory ends"),
        (with(|find| find(END, 0) + 16, &[255, 255]), "the directory is said to lie at"),
        (with(|find| find(END, 0), &[0]), "there is no directory of an archive"),
    ] {
        assert!(text.contains(said), "{text:?} should say {said:?}");
    }
}

#[test]
fn no_two_members_share_bytes_or_a_name() {
    let mut archive = bytes(PLAIN);
    let first = archive.windows(4).position(|w| w == CENTRAL.to_le_bytes()).unwrap();
    let second = first + 1 + archive[first + 1..].windows(4).position(|w| w == CENTRAL.to_le_bytes()).unwrap();
    let entry = archive[first..second].to_vec();
    archive[second..second + entry.len()].copy_from_slice(&entry);
    assert!(told(archive.clone()).contains("lists it twice"));
    // Another name for the same bytes, in both headers alike, is what an archive that unpacks without end does.
    let member = Member { name: "a".into(), method: Method::Stored, data: 5..9, size: 4, crc: 0 };
    let over = Member { name: "b".into(), data: 8..12, ..member.clone() };
    assert!(check_apart(&source(archive), &[member, over]).unwrap_err().to_string().contains("lies over member \"a\""));
}

#[test]
fn every_cut_and_every_changed_byte_is_told_or_harmless() {
    for whole in [bytes(PLAIN), bytes(WIDE)] {
        for len in 0..whole.len() {
            assert!(read(&source(whole[..len].to_vec()), &Limits::default()).is_err());
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            let archive = source(changed);
            let Ok(members) = read(&archive, &Limits::default()) else { continue };
            for unpacked in members.iter().filter_map(|member| unpack(&archive, member, 1000).ok()) {
                assert_eq!(unpacked, b"spokespokespoke", "byte {at}");
            }
        }
    }
}
