//! What Python's own pickler writes, and pickles that nobody writes by chance.

use super::*;
use std::fmt::Write;

/// Pickles of Python 3.11 in every protocol, with what they are; `tests/corpus/make_pickle.py` writes them.
const PYTHON: &str = include_str!("python.tsv");

fn read(bytes: &[u8]) -> Result<Pickle, String> {
    read_within(bytes, &Bounds::default())
}

fn read_within(bytes: &[u8], bounds: &Bounds) -> Result<Pickle, String> {
    read_bytes(bytes, bounds).map_err(|fault| fault.about(Path::new("f"), "pickle", "it").to_string())
}

#[track_caller]
fn refused(bytes: &[u8]) -> String {
    read(bytes).map(|pickle| words(&pickle, pickle.root())).expect_err("it breaks a rule")
}

/// A value as `make_pickle.py` tells it.
fn words(pickle: &Pickle, id: Id) -> String {
    let several = |ids: &[Id]| ids.iter().map(|&id| words(pickle, id)).collect::<Vec<_>>().join(",");
    let pairs = |pairs: &[(Id, Id)]| {
        pairs.iter().map(|&(k, v)| format!("{}:{}", words(pickle, k), words(pickle, v))).collect::<Vec<_>>().join(",")
    };
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |out, byte| out + &format!("{byte:02x}"));
    match pickle.get(id) {
        Value::None => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Int(number) => number.to_string(),
        Value::Huge => "huge".into(),
        Value::Float(number) => format!("f{:016x}", number.to_bits()),
        Value::Text(text) => format!("t{}", hex(text.as_bytes())),
        Value::Bytes(bytes) => format!("b{}", hex(bytes)),
        Value::List(items) => format!("[{}]", several(items)),
        Value::Tuple(items) => format!("({})", several(items)),
        Value::Set(items) => format!("<{}>", several(items)),
        Value::Dict(items) => format!("{{{}}}", pairs(items)),
        Value::Global(global) => format!("name {}.{}", global.module, global.name),
        Value::Extension(number) => format!("extension {number}"),
        Value::Persistent(id) => format!("outside {}", words(pickle, *id)),
        Value::Object(object) => {
            let how = if object.made == Made::Called { "call" } else { "new" };
            let callable = words(pickle, object.callable).replace("name ", "");
            let mut out = format!("{how} {callable}{}", words(pickle, object.arguments));
            out += &object.keywords.map(|keywords| words(pickle, keywords)).unwrap_or_default();
            if !object.items.is_empty() {
                write!(out, "[{}]", several(&object.items)).unwrap();
            }
            if !object.pairs.is_empty() {
                write!(out, "{{{}}}", pairs(&object.pairs)).unwrap();
            }
            object.states.iter().fold(out, |out, &state| out + "=" + &words(pickle, state))
        }
    }
}

fn said(bytes: &[u8]) -> String {
    let pickle = read(bytes).unwrap();
    words(&pickle, pickle.root())
}

#[test]
fn what_python_writes_is_read_in_every_protocol() {
    let mut seen = 0;
    for line in PYTHON.lines() {
        let [case, protocol, wanted, hex] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let bytes: Vec<u8> =
            hex.as_bytes().chunks(2).map(|d| u8::from_str_radix(str::from_utf8(d).unwrap(), 16).unwrap()).collect();
        // An empty dict is set nothing, which does not show.
        assert_eq!(
            said(&bytes),
            wanted.strip_suffix("{}").filter(|w| w.starts_with("new ")).unwrap_or(wanted),
            "{case} in protocol {protocol}"
        );
        // However it is cut short, that is told.
        for end in 0..bytes.len().min(600) {
            assert!(read(&bytes[..end]).is_err(), "{case} in protocol {protocol}, cut at {end}");
        }
        seen += 1;
    }
    assert!(seen > 100);
}

#[test]
fn a_file_is_read_as_memory_is_and_the_next_pickle_begins_where_it_ended() {
    let long = format!("V{}\n.", "y".repeat(200_000)).into_bytes();
    let both = [b"before".as_slice(), &long, b"I7\n.rest"].concat();
    let source = crate::formats::Source::embedded("f", both.leak());
    let mut input = Input::of_file(&source, 6, 1 << 20);
    let pickle = super::read(&mut input, &Bounds::default()).unwrap();
    assert_eq!(pickle.text(pickle.root()).unwrap().len(), 200_000);
    let pickle = super::read(&mut input, &Bounds::default()).unwrap();
    assert_eq!((pickle.get(pickle.root()), input.at()), (&Value::Int(7), 6 + 200_003 + 4));
    let mut input = Input::of_file(&source, 6, 1000);
    let fault = super::read(&mut input, &Bounds::default()).unwrap_err();
    assert!(fault.about(Path::new("f"), "pickle", "it").to_string().contains("more than the 1006 bytes allowed"));
}

#[test]
fn opcodes_that_python_3_no_longer_writes_are_obeyed() {
    for (bytes, wanted) in [
        (&b"(imod\nClass\n."[..], "call mod.Class()"),
        (b"(I1\nimod\nClass\n.", "call mod.Class(1)"),
        (b"(cmod\nClass\nI1\nI2\no.", "call mod.Class(1,2)"),
        (b"(dp0\nS'a'\nI01\ns.", "{t61:True}"),
        (b"(lp1\nI00\na.", "[False]"),
        (b"(I1\nI2\nl.", "[1,2]"),
        (b"(S'a'\nI2\nd.", "{t61:2}"),
        (b"S'\\x41\\n\\\\\\'\\101\\q'\n.", "t410a5c27415c71"),
        (b"S\"\\xff\"\n.", "bff"),
        (b"U\x01a.", "t61"),
        (b"T\x02\0\0\0a\xff.", "b61ff"),
        (b"V\\u00e9\\U0001f600\xe9\n.", "tc3a9f09f9880c3a9"),
        (b"V\\ud83d\\ude00\\ud83d!\n.", "tf09f9880efbfbd21"),
        (b"L-12L\n.", "-12"),
        (b"Pkey\n.", "outside t6b6579"),
        (b"X\x03\0\0\0keyQ.", "outside t6b6579"),
        (b"\x82\x05.", "extension 5"),
        (b"\x83\x05\x01.", "extension 261"),
        (b"\x84\x05\0\0\x01.", "extension 16777221"),
        (b"I1\n20.", "1"),
        (b"I1\n(I2\n1.", "1"),
        (b"I1\n(0.", "1"),
        (b"\x80\x05\x96\x01\0\0\0\0\0\0\0a\x98.", "b61"),
    ] {
        assert_eq!(said(bytes), wanted, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn nothing_is_called_and_everything_is_remembered() {
    let evil = b"cposix\nsystem\n(S'rm -rf /'\ntR}S'a'\nI1\nsbI2\n0.";
    assert_eq!(said(evil), "call posix.system(t726d202d7266202f)={t61:1}");
    // What was made and thrown away is there as well.
    let pickle = read(b"cos\nsystem\n(S'x'\ntR0N.").unwrap();
    assert_eq!(*pickle.get(pickle.root()), Value::None);
    assert!(
        pickle
            .all()
            .any(|(_, value)| matches!(value, Value::Object(o) if pickle.global(o.callable) == Some(("os", "system"))))
    );
}

#[test]
fn what_is_shared_is_there_once_and_cycles_end() {
    // A list that holds itself.
    let pickle = read(b"]q\0h\0a.").unwrap();
    assert_eq!(*pickle.get(pickle.root()), Value::List(vec![pickle.root()]));
    // A tuple in a list that holds it, which only goes by way of the memo.
    let pickle = read(b"](h\x00t.").expect_err("the memo has nothing yet");
    assert!(pickle.contains("value 0 from its memo"), "{pickle}");
    // Two to the power of a thousand ways, a thousand values.
    let mut laughs = b"]q\0".to_vec();
    (0..1000).for_each(|_| laughs.extend(b"]q\x01(h\0h\0eq\0"));
    laughs.push(b'.');
    let pickle = read(&laughs).unwrap();
    assert!(pickle.len() < 1010);
}

#[test]
fn every_rule_is_told_with_its_place() {
    for (bytes, wanted) in [
        (&b""[..], "byte 0 of it: 1 bytes are expected and 0 follow"),
        (b"N", "byte 1 of it: 1 bytes are expected"),
        (b".", "byte 0 of it: it takes a value from a stack that has none"),
        (b"(.", "takes a value from a stack that has none"),
        (b"t.", "goes back to a mark that it did not set"),
        (b"Na.", "takes a value from a stack that has none"),
        (b"NNa.", "it appends to None, not to a list"),
        (b"NNNs.", "it sets a key of None, not of a dict"),
        (b"}(Nu.", "a key without a value"),
        (b"(Nd.", "a key without a value"),
        (b"NNb.", "it gives a state to None, not to an object"),
        (b"N\x86.", "it takes 2 values from a stack that has less"),
        (b"N(N\x86.", "it takes 2 values from a stack that has less"),
        (b"(o.", "an object has no class"),
        (b"\x80\x06N.", "protocol 6, and 0 to 5 are known"),
        (b"\xffN.", "0xff is no opcode"),
        (b"NN\x93.", "the name of a class or function is not a text"),
        (b"c\xff\nx\n.", "is not the name of a class"),
        (b"Ix\n.", "\"x\" is not an integer"),
        (b"I1", "2 bytes are expected and 1 follow"),
        (b"F1,5\n.", "is not a float"),
        (b"Sa\n.", "is not a text in quotes"),
        (b"S'\n.", "is not a text in quotes"),
        (b"S'\\x4'\n.", "is not a text in quotes"),
        (b"V\\u12\n.", "is not a text with escapes"),
        (b"gx\n.", "\"x\" is not a place in its memo"),
        (b"g-1\n.", "is not a place in its memo"),
        (b"p0\n.", "takes a value from a stack that has none"),
        (b"X\xff\xff\xff\xffa.", "4294967295 bytes are expected and 2 follow"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.", "18446744073709551615 bytes are expected"),
        (b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", "18446744073709551615 bytes are expected"),
        (b"\x8b\xff\xff\xff\xff.", "4294967295 bytes are expected"),
        (b"\x97.", "a buffer outside of the file"),
    ] {
        let told = refused(bytes);
        assert!(told.contains(wanted), "{}: {told}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn its_bounds_are_kept() {
    let bounds = Bounds { values: 20, stack: 10, memo: 5, marks: 3 };
    let many = |each: &[u8], n: usize| [each.repeat(n), b".".to_vec()].concat();
    for (bytes, wanted) in [
        (many(b"]0", 20), "more than 20 values"),
        (many(b"cm\nf\n)R0", 5), "more than 20 values"),
        (many(b"N", 11), "more than 10 values on its stack"),
        (many(b"N2", 6), "more than 10 values on its stack"),
        ([&b"N"[..], &many(b"\x94", 6)].concat(), "more than 5 values in its memo"),
        (many(b"(", 4), "more than 3 containers"),
    ] {
        let told = read_within(&bytes, &bounds).map(|p| p.len()).unwrap_err();
        assert!(told.contains(wanted), "{told}");
    }
    // What is not kept does not count.
    assert!(read_within(&[b"N0".repeat(1000), b"N.".to_vec()].concat(), &bounds).is_ok());
}
