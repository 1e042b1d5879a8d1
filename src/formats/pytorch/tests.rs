//! Pickles spelled opcode by opcode in files of the older layout, which needs no archive around them; `tests/corpus` has whole
//! files, and those that torch itself wrote.

use super::*;
use crate::formats::Dtype;

/// A text.
fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A tensor of some numbers of the one storage, which has eight.
fn tensor(elements: u8) -> Vec<u8> {
    let storage = [&b"(X\x07\0\0\0storagectorch\nFloatStorage\n"[..], &text("0"), &text("cpu"), b"K\x08NtQ"].concat();
    let size = [b'K', 0, b'K', elements, 0x85, b'K', 1, 0x85];
    [b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage[..], &size, b"\x89NtR"].concat()
}

fn dict(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let pairs = pairs.iter().flat_map(|(key, value)| [text(key), value.clone()].concat());
    [b"}(".to_vec(), pairs.collect(), b"u".to_vec()].concat()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [b"](".to_vec(), items.concat(), b"e".to_vec()].concat()
}

/// A module as it is pickled whole.
fn module(parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    [b"cmy.net\nNet\n)\x81".to_vec(), dict(parts), b"b".to_vec()].concat()
}

/// A file with this object and the one storage.
fn file(object: &[u8]) -> Source {
    let parts = [
        MAGIC,
        b"\x80\x02M\xe9\x03.",
        b"}.",
        object,
        b".",
        b"]",
        &text("0"),
        b"a.",
        &[8, 0, 0, 0, 0, 0, 0, 0],
        &[0; 32],
    ];
    Source::embedded("old.pt", parts.concat().leak())
}

fn read_within(object: &[u8], limits: &Limits) -> Result<Table, String> {
    read_pickle(&file(object), limits).map_err(|error| error.to_string())
}

/// The names in a file, those of one tensor too and bytewise, and its notes.
#[track_caller]
fn opened(object: &[u8]) -> (Vec<String>, Vec<String>) {
    let table = read_within(object, &Limits::default()).unwrap();
    // Everything here lies in the one storage, which is told as well.
    let notes = table.notes.into_iter().filter(|note| !note.contains("same stretch")).collect();
    let mut names: Vec<String> =
        table.tensors.into_iter().map(|tensor| tensor.name).chain(table.aliases.into_keys()).collect();
    names.sort();
    (names, notes)
}

#[test]
fn a_tensor_lies_where_its_storage_does() {
    let source = file(&dict(&[("w", tensor(3))]));
    let table = read_pickle(&source, &Limits::default()).unwrap();
    let [w] = &table.tensors[..] else { panic!("one tensor") };
    let start = source.len() - 32;
    assert_eq!((&*w.name, w.dtype, &w.shape[..], w.range.clone()), ("w", Dtype::F32, &[3][..], start..start + 12));
}

#[test]
fn one_view_is_one_tensor_under_its_bytewise_first_name() {
    let ties = dict(&[
        ("m", tensor(3)),
        ("z", tensor(3)),
        ("b", tensor(3)),
        ("more", tensor(4)),
        ("e", tensor(0)),
        ("f", tensor(0)),
    ]);
    let table = read_within(&ties, &Limits::default()).unwrap();
    let names: Vec<&str> = table.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["b", "more", "e", "f"]);
    let aliases: Vec<(&str, &str)> = table.aliases.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect();
    assert_eq!(aliases, [("m", "b"), ("z", "b")]);
}

#[test]
fn names_are_the_way_to_a_tensor() {
    let nested =
        dict(&[("a", list(&[tensor(1), dict(&[("b", tensor(2))])])), ("c.d", tensor(3)), ("n", b"N".to_vec())]);
    assert_eq!(opened(&nested).0, ["a.0", "a.1.b", "c.d"]);
    let inner = module(&[("_parameters", dict(&[("w", tensor(1))])), ("_modules", dict(&[]))]);
    let outer =
        [("_parameters", dict(&[("w", tensor(1)), ("none", b"N".to_vec())])), ("_modules", dict(&[("inner", inner)]))];
    assert_eq!(opened(&module(&outer)), (vec!["inner.w".into(), "w".into()], Vec::new()));
    // Python 2 gave an OrderedDict its pairs as a list of lists, and sets were made of lists.
    let ordered = [b"ccollections\nOrderedDict\n(", &list(&[list(&[text("w"), tensor(1)])])[..], b"tR"].concat();
    assert_eq!(opened(&ordered).0, ["w"]);
    let passing = [b"c__builtin__\nset\n(", &list(&[text("p")])[..], b"tR"].concat();
    let buffers = dict(&[("p", tensor(1)), ("kept", tensor(1))]);
    let (names, notes) = opened(&module(&[("_buffers", buffers), ("_non_persistent_buffers_set", passing)]));
    assert_eq!(names, ["kept"]);
    assert!(notes[0].starts_with("\"p\" is left alone: it is an attribute or buffer of a module"), "{notes:?}");
    // Attributes of any other object, in its dict and in its slots.
    let slots =
        [b"cmy\nConfig\n)\x81".to_vec(), dict(&[("a", tensor(1))]), dict(&[("b", tensor(1))]), b"\x86b".to_vec()];
    assert_eq!(opened(&slots.concat()).0, ["a", "b"]);
    // Of one key twice, Python keeps the last.
    let twice = dict(&[("w", tensor(1)), ("x", tensor(1)), ("w", list(&[tensor(2)]))]);
    assert_eq!(opened(&twice).0, ["w.0", "x"]);
}

/// What a dict holds, the names that are opened, and what is told.
type Case<'a> = (&'a [(&'a str, Vec<u8>)], &'a [&'a str], &'a str);

#[test]
fn the_model_is_found_in_its_wrapper() {
    let (one, two) = (|| dict(&[("w", tensor(1))]), || list(&[tensor(1), tensor(2)]));
    let number = || b"K\x05".to_vec();
    let cases: &[Case<'_>] = &[
        (&[("state_dict", one()), ("epoch", number())], &["w"], "\"state_dict\" is taken for the model"),
        (
            &[("optimizer", two()), ("model", one())],
            &["w"],
            "under \"model\" is taken for the model; \"optimizer\" (2 tensors) is left alone",
        ),
        (
            &[("model", one()), ("state_dict", two())],
            &["0", "1"],
            "under \"state_dict\" is taken for the model; \"model\" (1 tensor) is",
        ),
        (
            &[("net", one()), ("a", one()), ("b", one()), ("c", one()), ("d", one())],
            &["w"],
            "\"a\" (1 tensor), \"b\" (1 tensor), \"c\" (1 tensor) and 1 more are left alone",
        ),
        (
            &[("ema", one()), ("model", number()), ("best_loss", tensor(1))],
            &["w"],
            "\"ema\" is taken for the model; \"best_loss\" (1 tensor) is left alone",
        ),
        (&[("model", one()), ("weight", tensor(1))], &["model.w", "weight"], ""),
        (&[("a", one()), ("b", one())], &["a.w", "b.w"], ""),
        (
            &[("a", one()), ("optim", two()), ("lr_sched", two())],
            &["a.w"],
            "\"optim\" (2 tensors), \"lr_sched\" (2 tensors) are left alone, as training's own",
        ),
        (&[("optimizer", one())], &["optimizer.w"], ""),
    ]; // nothing but an optimizer is opened as what it is
    for (pairs, names, words) in cases {
        let (found, notes) = opened(&dict(pairs));
        assert_eq!(found, *names, "{notes:?}");
        assert!(notes.concat().contains(words) && notes.is_empty() == words.is_empty(), "{notes:?}");
    }
}

#[test]
fn what_loading_would_call_is_told() {
    let evil = |function: &str| [function.as_bytes(), b"(X\x01\0\0\0xtR"].concat();
    let (_, notes) = opened(&dict(&[("w", tensor(1)), ("x", evil("cbuiltins\nexec\n"))]));
    assert!(notes[0].contains("torch.load would call \"builtins.exec\"; nothing of it was run"), "{notes:?}");
    // One that was thrown away again, or that another call gave, is told too.
    let hidden = [evil("cos\nsystem\n"), b"0".to_vec(), dict(&[("w", tensor(1))])].concat();
    assert!(opened(&hidden).1[0].contains("\"os.system\""));
    let given = [evil("cbuiltins\ngetattr\n"), b")R0".to_vec(), dict(&[("w", tensor(1))])].concat();
    assert!(opened(&given).1[0].contains("\"builtins.getattr\", and make 1 more such call;"));
    for harmless in ["cdatetime\ntimedelta\n", "ctorch\nSize\n", "c_codecs\nencode\n", "cpathlib\nPosixPath\n"] {
        assert!(opened(&dict(&[("w", tensor(1)), ("x", evil(harmless))])).1.is_empty());
    }
}

#[test]
fn limits_are_kept() {
    let three = dict(&[("a", tensor(1)), ("b", tensor(1)), ("c", tensor(1))]);
    let few = Limits { tensors: 2, ..Limits::default() };
    assert!(read_within(&three, &few).unwrap_err().contains("more than 2 tensors"));
    let short = Limits { header_bytes: 100, ..Limits::default() };
    assert!(read_within(&three, &short).unwrap_err().contains("more than the 100 bytes allowed"));
    // Four thousand bytes that name the same thirty-two again and again: one tensor, which takes its room once.
    let none = Limits { held_bytes: 0, ..Limits::default() };
    let shared = [b"(", &tensor(8)[..], &b"2".repeat(4000), b"t"].concat();
    let table = read_within(&shared, &none).unwrap();
    assert_eq!((table.tensors.len(), table.aliases.len()), (1, 4000));
    let views: Vec<Vec<u8>> = (0..=8).map(tensor).collect();
    assert_eq!(read_within(&list(&views), &none).unwrap().tensors.len(), 9);
}
