//! Headers spelled by hand. `tests/corpus/numpy` holds the files of NumPy itself, and what must be refused.

use super::*;

fn file(version: u8, text: &str, data: &[u8]) -> Vec<u8> {
    let length = text.len() as u32;
    let length = if version == 1 { (length as u16).to_le_bytes().to_vec() } else { length.to_le_bytes().to_vec() };
    [MAGIC, &[version, 0], &length, text.as_bytes(), data].concat()
}

fn dict(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

/// The array of a file, its bytes in order, and the notes.
fn read(file: Vec<u8>) -> Result<(Entry, Vec<u8>, Vec<String>), String> {
    let mut source = Source::in_memory("folder/w.npy", file);
    let table = read_table(&source, &Limits::default()).map_err(|error| error.kind.to_string())?;
    source.attach(table.annex);
    let entry = table.tensors.into_iter().next().expect("an array");
    let bytes = source.read(entry.range.clone(), &mut Vec::new()).expect("its bytes").to_vec();
    Ok((entry, bytes, table.notes))
}

#[test]
fn arrays_come_in_row_major_order_and_little_endian() {
    let six: Vec<u8> = (0..12).collect();
    for (descr, fortran, shape, dims, dtype, expected) in [
        ("'<i2'", "False", "(2, 3)", vec![2, 3], Dtype::I16, six.clone()),
        ("'<i2'", "True", "(2, 3)", vec![2, 3], Dtype::I16, vec![0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11]),
        ("'>u2'", "False", "(6,)", vec![6], Dtype::U16, vec![1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]),
        ("'>f2'", "True", "(2, 3)", vec![2, 3], Dtype::F16, vec![1, 0, 5, 4, 9, 8, 3, 2, 7, 6, 11, 10]),
        ("'<f4'", "True", "(3,)", vec![3], Dtype::F32, six.clone()),
        ("'<f4'", "True", "(1, 3, 1)", vec![1, 3, 1], Dtype::F32, six.clone()),
        ("'>f4'", "False", "(3, 1)", vec![3, 1], Dtype::F32, vec![3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8]),
        ("'|u1'", "False", "(12L,)", vec![12], Dtype::U8, six.clone()),
        ("'|b1'", "False", "()", vec![], Dtype::Bool, vec![0]),
        ("'>c8'", "False", "(1,)", vec![1], Dtype::C64, vec![3, 2, 1, 0, 7, 6, 5, 4]),
        ("'<c8'", "False", "(1,)", vec![1], Dtype::C64, (0..8).collect()),
        ("'<f8'", "False", "(0, 9)", vec![0, 9], Dtype::F64, vec![]),
        ("'>f8'", "True", "(9, 0)", vec![9, 0], Dtype::F64, vec![]),
    ] {
        let header = dict(descr, fortran, shape);
        for version in 1..=3 {
            let (entry, bytes, notes) = read(file(version, &header, &six[..expected.len()])).unwrap();
            assert_eq!((entry.shape, entry.dtype, bytes), (dims.clone(), dtype, expected.clone()), "{header}");
            assert_eq!((entry.name.as_str(), notes.len()), ("w", 0));
        }
    }
}

#[test]
fn two_bytes_without_a_type_are_bfloat16_and_told() {
    let (entry, bytes, notes) = read(file(1, &dict("'<V2'", "False", "(1,)"), &[0x80, 0x3f])).unwrap();
    assert_eq!((entry.dtype, bytes), (Dtype::BF16, vec![0x80, 0x3f]));
    assert_eq!(notes, ["array \"w\" is of two bytes without a type (V2), as NumPy saves bfloat16; read as BF16"]);
    let (entry, _, notes) = read(file(1, &dict("'<f1'", "False", "(1,)"), &[0x3c])).unwrap();
    assert_eq!(entry.dtype, Dtype::F8_E5M2);
    assert_eq!(notes, ["array \"w\" is of floats of one byte (f1), as NumPy saves float8_e5m2; read as F8_E5M2"]);
    let (.., notes) = read(file(1, &dict("'<f4'", "False", "()"), &[0; 9])).unwrap();
    assert_eq!(notes, ["5 bytes after the array belong to nothing; they are left alone"]);
}

#[test]
fn what_is_no_array_of_numbers_is_told_what_it_is() {
    for (descr, words) in [
        ("'|O'", "objects are pickles, which can run code and are never opened"),
        ("'<U3'", "texts are no numbers"),
        ("'|S3'", "texts are no numbers"),
        ("'<M8[s]'", "dates and times"),
        ("'<f16'", "long doubles"),
        ("'<c32'", "long doubles"),
        ("'<c16'", "complex numbers of 16 bytes"),
        ("'<W4'", "complex numbers of halves"),
        ("'<V1'", "do not say what they are"),
        ("'|V800000000000000000000'", "do not say what they are"),
        ("[('a', '<f4'), ('b', '<i4', (2,))]", "a structured dtype"),
        ("'<f3'", "its descr is \"<f3\", which is no type of NumPy's"),
        ("'<Sx'", "no type of NumPy's"),
        ("'<'", "no type of NumPy's"),
        ("''", "no type of NumPy's"),
        ("'Ω4'", "no type of NumPy's"),
        ("'<Ω4'", "no type of NumPy's"),
    ] {
        let said = read(file(3, &dict(descr, "False", "(2,)"), &[0; 64])).unwrap_err();
        assert!(said.contains(words), "{descr}: {said}");
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let shaped = |shape: &str| file(1, &dict("'<f4'", "False", shape), &[0; 64]);
    for (file, words) in [
        (shaped("(17,)"), "its shape [17] and type need 68 bytes of data, and 64 follow; the file is cut short"),
        (shaped("(4294967296, 4294967296, 4294967296)"), "more elements than can be counted"),
        (shaped("(4611686018427387904,)"), "more bytes than can be counted"),
        (shaped("(18446744073709551616,)"), "a number, a text in quotes, True, False or a list is expected"),
        (shaped("(-1,)"), "a number, a text in quotes"),
        (shaped("('a',)"), "its shape has something else than whole numbers"),
        (shaped("4"), "its shape is of another kind"),
        (shaped(&format!("({})", "1, ".repeat(65))), "it has 65 dimensions, at most 64 are read"),
        (file(1, &dict("'<f4'", "'no'", "()"), &[]), "its fortran_order is of another kind"),
        (file(1, &dict("'<f4'", "False", "(), 'x': 1"), &[]), "its header has the key \"x\""),
        (file(1, &dict("'<f4'", "False", "(), 'descr': '<f4'"), &[]), "its header gives descr twice"),
        (file(1, "{'descr': '<f4', 'shape': ()}", &[0; 4]), "its header has not all of descr"),
        (file(2, "nothing", &[]), "its header is not read: '{' is expected"),
        (file(4, "{}", &[]), "its version is 4.0, and 1.0, 2.0 and 3.0 are read"),
        ([MAGIC, &[3, 0, 1, 0, 0, 0, 0xff]].concat(), "its header is not UTF-8"),
        ([MAGIC, &[2, 0, 0, 0, 0, 0x80, b'{']].concat(), "said to be 2147483648 bytes long, at most 1048576 are read"),
        ([MAGIC, &[1, 0, 9, 0, b'{']].concat(), "it ends in its header"),
        ([MAGIC, &[1, 0, 9]].concat(), "it ends in its header"),
        ([MAGIC, &[1]].concat(), "it ends in its header"),
        (b"NUMPY".to_vec(), "it does not begin as a NumPy array does"),
    ] {
        let said = read(file).unwrap_err();
        assert!(said.contains(words) && !said.contains('\n'), "{words}: {said}");
    }
}
