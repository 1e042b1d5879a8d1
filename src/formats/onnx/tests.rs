//! Models spelled field by field. `tests/corpus/onnx` holds those of ONNX's own writer, and what must be refused.

use super::*;
use crate::formats::{Dtype, Entry, Use};

/// A varint.
fn number(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// A field that is a number.
fn int(field: u64, n: u64) -> Vec<u8> {
    [number(field << 3), number(n)].concat()
}

/// A field of bytes.
fn bytes(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [number(field << 3 | 2), number(content.len() as u64), content.to_vec()].concat()
}

/// A TensorProto with some fields besides.
fn tensor(name: &str, data_type: u64, dims: &[u64], rest: &[Vec<u8>]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| int(1, d)).collect();
    [dims, int(2, data_type), bytes(8, name), rest.concat()].concat()
}

fn raw(content: &[u8]) -> Vec<u8> {
    bytes(9, content)
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn numbers(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|&v| number(v.cast_unsigned())).collect()
}

/// A NodeProto.
fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name)).collect();
    let attributes: Vec<u8> = attributes.iter().flat_map(|attribute| bytes(5, attribute)).collect();
    [inputs, bytes(2, output), bytes(4, op), attributes].concat()
}

fn graph(nodes: &[Vec<u8>], initializers: &[Vec<u8>]) -> Vec<u8> {
    let nodes: Vec<u8> = nodes.iter().flat_map(|n| bytes(1, n)).collect();
    let initializers: Vec<u8> = initializers.iter().flat_map(|t| bytes(5, t)).collect();
    [nodes, bytes(2, "a graph"), initializers].concat()
}

fn model(graph: &[u8]) -> Vec<u8> {
    let opset = [bytes(1, ""), int(2, 21)].concat();
    [int(1, 10), bytes(2, "somebody"), bytes(3, "1.2"), bytes(7, graph), bytes(8, opset)].concat()
}

/// A model of initializers alone.
fn holding(initializers: &[Vec<u8>]) -> Source {
    Source::in_memory("m.onnx", model(&graph(&[], initializers)))
}

fn read(source: &Source) -> Result<Table, String> {
    read_table(source, &Limits::default()).map_err(|error| error.kind.to_string())
}

/// The one tensor of a model and its bytes.
fn only(initializer: Vec<u8>) -> Result<(Entry, Vec<u8>), String> {
    let mut source = holding(&[initializer]);
    let table = read(&source)?;
    source.attach(table.annex);
    let entry = table.tensors.into_iter().next().expect("a tensor");
    let bytes = source.read(entry.range.clone(), &mut Vec::new()).expect("its bytes").to_vec();
    Ok((entry, bytes))
}

#[test]
fn values_are_read_from_wherever_they_may_lie() {
    let half = [0x3c00_u16, 0xc000].map(u16::to_le_bytes).concat();
    let one_by_one = |values: &[f32]| {
        let one = |v: &f32| [number(4 << 3 | 5), v.to_le_bytes().to_vec()].concat();
        values.iter().flat_map(one).collect::<Vec<u8>>()
    };
    for (data_type, dims, fields, dtype, expected) in [
        (1, vec![2], vec![raw(&floats(&[1.0, -2.5]))], Dtype::F32, floats(&[1.0, -2.5])),
        (1, vec![2], vec![bytes(4, floats(&[1.0, -2.5]))], Dtype::F32, floats(&[1.0, -2.5])),
        (1, vec![2], vec![one_by_one(&[1.0, -2.5])], Dtype::F32, floats(&[1.0, -2.5])),
        (1, vec![2], vec![bytes(4, floats(&[1.0])), one_by_one(&[4.0])], Dtype::F32, floats(&[1.0, 4.0])),
        (1, vec![], vec![bytes(4, floats(&[7.0]))], Dtype::F32, floats(&[7.0])),
        (14, vec![1], vec![bytes(4, floats(&[1.0, 2.0]))], Dtype::C64, floats(&[1.0, 2.0])),
        (11, vec![1], vec![bytes(10, 0.1_f64.to_le_bytes())], Dtype::F64, 0.1_f64.to_le_bytes().to_vec()),
        (10, vec![2], vec![bytes(5, numbers(&[0x3c00, 0xc000]))], Dtype::F16, half.clone()),
        (10, vec![2], vec![int(5, 0x3c00), int(5, 0xc000)], Dtype::F16, half.clone()),
        (16, vec![2], vec![int(5, 0x3c00), bytes(5, numbers(&[0xc000]))], Dtype::BF16, half),
        (3, vec![3], vec![bytes(5, numbers(&[-128, -1, 127]))], Dtype::I8, vec![128, 255, 127]),
        (2, vec![2], vec![bytes(5, numbers(&[255, 0]))], Dtype::U8, vec![255, 0]),
        (9, vec![2], vec![bytes(5, numbers(&[1, 0]))], Dtype::Bool, vec![1, 0]),
        (17, vec![2], vec![bytes(5, numbers(&[0x7f, 0x80]))], Dtype::F8_E4M3, vec![0x7f, 0x80]),
        (24, vec![1], vec![bytes(5, numbers(&[127]))], Dtype::F8_E8M0, vec![127]),
        (6, vec![1], vec![bytes(5, numbers(&[-2]))], Dtype::I32, (-2_i32).to_le_bytes().to_vec()),
        (7, vec![1], vec![bytes(7, numbers(&[i64::MIN]))], Dtype::I64, i64::MIN.to_le_bytes().to_vec()),
        (12, vec![1], vec![bytes(11, numbers(&[4_294_967_295]))], Dtype::U32, vec![255; 4]),
        (13, vec![1], vec![bytes(11, numbers(&[-1]))], Dtype::U64, vec![255; 8]),
        (23, vec![4], vec![bytes(5, numbers(&[0x21, 0xff]))], Dtype::F4, vec![0x21, 0xff]),
        (22, vec![3], vec![raw(&[0x81, 0x07])], Dtype::I8, vec![1, 248, 7]),
        (21, vec![3], vec![bytes(5, numbers(&[0x81, 0x0f]))], Dtype::U8, vec![1, 8, 15]),
        (26, vec![5], vec![raw(&[0b1110_0100, 1])], Dtype::I8, vec![0, 1, 254, 255, 1]),
        (1, vec![0, 3], vec![], Dtype::F32, vec![]),
        (1, vec![3, 0], vec![raw(&[])], Dtype::F32, vec![]),
    ] {
        let (entry, bytes) = only(tensor("w", data_type, &dims, &fields)).unwrap();
        let shape: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
        assert_eq!((entry.dtype, entry.shape, bytes), (dtype, shape, expected), "type {data_type}, {fields:?}");
    }
}

#[test]
fn floats_in_one_run_are_not_copied() {
    let values = floats(&[0.5; 100]);
    for fields in [raw(&values), bytes(4, &values)] {
        let source = holding(&[tensor("w", 1, &[10, 10], &[fields])]);
        let table = read(&source).unwrap();
        assert_eq!(table.annex.held(), 0);
        let range = table.tensors[0].range.clone();
        assert!(range.end <= source.len() && range.end - range.start == 400);
    }
}

#[test]
fn a_tensor_needs_exactly_its_bytes() {
    let minus = u64::MAX;
    for (data_type, dims, fields, words) in [
        (1, vec![2], vec![raw(&[0; 7])], "its shape [2] and type need 8 bytes, and there are 7"),
        (1, vec![2], vec![], "need 8 bytes, and there are none"),
        (1, vec![2], vec![bytes(4, [0; 12])], "its shape [2] and type need 8 bytes, and float_data holds 12"),
        (6, vec![2], vec![bytes(5, [1])], "its shape [2] and type need 2 numbers, and int32_data has 1 bytes of them"),
        (6, vec![2], vec![bytes(5, numbers(&[300]))], "need 2 numbers, and int32_data holds 1"),
        (6, vec![2], vec![bytes(5, [1, 2, 3])], "need 2 numbers, and int32_data holds more than 2"),
        (22, vec![3], vec![raw(&[0; 3])], "need 2 bytes, and there are 3"),
        (22, vec![3], vec![bytes(5, [1, 2, 3])], "need 2 numbers, and int32_data holds more than 2"),
        (
            7,
            vec![1 << 40],
            vec![bytes(7, [1, 2, 3])],
            "its shape [1099511627776] and type need 1099511627776 numbers, and int64_data has 3 bytes",
        ),
        (1, vec![minus], vec![raw(&[])], "dimension 0 is -1; allowed are whole numbers from 0 on"),
        (1, vec![1 << 33, 1 << 33], vec![raw(&[])], "more elements than can be counted"),
        (11, vec![1 << 61], vec![raw(&[])], "more bytes than can be counted"),
        (1, vec![1; 65], vec![raw(&[0; 4])], "it has more than 64 dimensions"),
        (1, vec![1], vec![raw(&[0; 4]), bytes(4, [0; 4])], "it has values in raw_data and in float_data"),
        (1, vec![1], vec![bytes(4, [0; 4]), bytes(5, [0])], "it has values in float_data and in int32_data"),
        (1, vec![1], vec![bytes(5, [0])], "values of its data type (1) belong in float_data, and are in int32_data"),
        (2, vec![1], vec![bytes(5, numbers(&[256]))], "number 0 of int32_data is 256, which does not fit in its type"),
        (12, vec![1], vec![bytes(11, numbers(&[1 << 32]))], "is 4294967296, which does not fit"),
        (0, vec![1], vec![raw(&[0; 4])], "it has no data_type"),
        (minus, vec![1], vec![raw(&[0; 4])], "its data_type is -1"),
        (1, vec![1], vec![raw(&[0; 4]), raw(&[0; 4])], "raw_data is given twice"),
        (1, vec![1], vec![raw(&[0; 4]), int(14, 1)], "said to lie in another file, and lie here too"),
        (1, vec![1], vec![int(14, 1)], "said to lie in another file, which is not named"),
        (1, vec![1], vec![int(14, 2)], "its data_location is 2"),
        (1, vec![1], vec![int(9, 4)], "raw_data is a number, expected bytes with a length"),
        (1, vec![1], vec![bytes(3, int(1, 0))], "it is one segment of a tensor in several"),
    ] {
        let said = only(tensor("w", data_type, &dims, &fields)).unwrap_err();
        assert!(said.contains(words) && !said.contains('\n'), "type {data_type}: {said}");
    }
}

#[test]
fn what_has_no_dtype_is_left_alone_and_told() {
    let rest = |data_type, name: &str| tensor(name, data_type, &[1], &[]);
    let sparse = bytes(1, tensor("thin", 1, &[1], &[raw(&[0; 4])]));
    let graph = [
        graph(
            &[],
            &[
                rest(8, "t"),
                rest(8, "u"),
                rest(15, "c"),
                rest(27, "six"),
                rest(99, "new"),
                rest(98, "newer"),
                tensor("f4", 23, &[3], &[raw(&[0; 2])]),
                tensor("w", 3, &[1], &[raw(&[5])]),
            ],
        ),
        bytes(15, sparse),
    ]
    .concat();
    let table = read(&Source::in_memory("m.onnx", model(&graph))).unwrap();
    assert_eq!(table.tensors.len(), 1);
    assert_eq!(
        table.notes,
        [
            "2 tensors (first \"t\") are left alone: texts (STRING) are no numbers",
            "tensor \"c\" is left alone: COMPLEX128 is read by nothing else",
            "tensor \"six\" is left alone: no other format packs FLOAT6 as ONNX does",
            "tensor \"f4\" is left alone: an odd number of FLOAT4E2M1 does not end on a whole byte",
            "tensor \"thin\" is left alone: sparse initializers are not read",
            "2 tensors (first \"new\") are left alone: data type 99 is newer than this program",
        ]
    );
    // When that is all there is, it is an error.
    let said = read(&holding(&[rest(8, "t")])).unwrap_err();
    assert!(said.contains("no tensor that can be read: tensor \"t\" is left alone"), "{said}");
    assert!(read(&holding(&[])).unwrap_err().contains("it has no initializers"));
}

/// An If with two branches, and in them the same names, constants, and a matrix of the outer graph.
#[test]
fn branches_are_gone_into_and_told_apart() {
    let one = |name: &str, value: f32| tensor(name, 1, &[1, 1], &[raw(&value.to_le_bytes())]);
    let constant = |output: &str, content: Vec<u8>| {
        node("Constant", &[], output, &[[bytes(1, "value"), bytes(5, content), int(20, 4)].concat()])
    };
    let branch = |name: &str, nodes: &[Vec<u8>], tensors: &[Vec<u8>]| {
        [bytes(1, name), bytes(6, graph(nodes, tensors)), int(20, 5)].concat()
    };
    let then =
        branch("then_branch", &[constant("k", one("", 3.0)), node("MatMul", &["x", "w"], "y", &[])], &[one("b", 1.0)]);
    let scalar = tensor("", 1, &[], &[raw(&[0; 4])]);
    let vector = tensor("", 1, &[1], &[raw(&5_f32.to_le_bytes())]);
    let whole = tensor("", 7, &[1, 1], &[raw(&[0; 8])]);
    let other = branch(
        "else_branch",
        &[constant("k", one("", 4.0)), constant("s", scalar), constant("v", vector), constant("i", whole)],
        &[one("b", 2.0)],
    );
    let outer = graph(
        &[
            node("If", &["c"], "z", &[then, other]),
            node("Gemm", &["x", "g"], "v", &[[bytes(1, "transB"), int(3, 1)].concat()]),
        ],
        &[one("w", 0.0), one("g", 9.0)],
    );
    let source = Source::in_memory("m.onnx", model(&outer));
    let table = read(&source).unwrap();
    let value = |entry: &Entry| {
        f32::from_le_bytes(source.read(entry.range.clone(), &mut Vec::new()).unwrap().try_into().unwrap())
    };
    let found: Vec<(&str, f32)> = table.tensors.iter().map(|entry| (entry.name.as_str(), value(entry))).collect();
    let expected = [
        ("w", 0.0),
        ("g", 9.0),
        ("b", 1.0),
        ("k", 3.0),
        ("z.else_branch/b", 2.0),
        ("z.else_branch/k", 4.0),
        ("v", 5.0),
    ];
    assert_eq!(found, expected);
    assert!(table.notes[0].starts_with("tensor \"w\" is multiplied from the right"), "{:?}", table.notes);
    assert!(
        table.notes[1].starts_with("2 tensors (first \"b\") are named as one in another graph"),
        "{:?}",
        table.notes
    );
    assert_eq!(table.notes.len(), 2);
    let texts: Vec<(&str, &str)> = table.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        texts,
        [
            ("onnx.graph", "a graph"),
            ("onnx.ir_version", "10"),
            ("onnx.opset", "ai.onnx 21"),
            ("onnx.producer", "somebody 1.2")
        ]
    );
}

#[test]
fn what_nodes_use_tensors_for_is_told() {
    let float = |name: &str| tensor(name, 1, &[2, 2], &[raw(&floats(&[1.0, 2.0, 3.0, 4.0]))]);
    let codes = |name: &str| tensor(name, 3, &[2, 2], &[raw(&[1, 2, 3, 4])]);
    let wide = tensor("wide", 1, &[1, 2], &[raw(&floats(&[1.0, 2.0]))]);
    let nodes = [
        node("LSTM", &["x", "w", "r", "b"], "y", &[]),
        node("DequantizeLinear", &["q", "s", "z"], "d", &[]),
        node("MatMulNBits", &["y", "n", "ns"], "e", &[]),
        // A scale somewhere, a bias elsewhere; what is no initializer; and an input that is left out.
        node("Gemm", &["e", "w", "ns"], "f", &[]),
        node("LSTM", &["f", "w", "r", ""], "g", &[]),
        // A bias with a dimension of one element, and a matrix that is added.
        node("Add", &["g", "wide"], "h", &[]),
        node("Add", &["h", "o"], "i", &[]),
        // A scale that is cast and given another shape first, and scales and biases of experts.
        node("Cast", &["half"], "full", &[]),
        node("Squeeze", &["full"], "flat", &[]),
        node("DequantizeLinear", &["q", "flat"], "j", &[]),
        node("QMoE", &["j", "k", "q", "es", "eb"], "l", &[]),
    ];
    let tensors = [
        float("w"),
        float("r"),
        float("b"),
        codes("q"),
        float("s"),
        codes("z"),
        codes("n"),
        float("ns"),
        float("o"),
        float("half"),
        float("es"),
        float("eb"),
        wide,
    ];
    let table = read(&Source::in_memory("m.onnx", model(&graph(&nodes, &tensors)))).unwrap();
    let told: Vec<(&str, Use)> = table.uses.iter().map(|(name, used)| (name.as_str(), *used)).collect();
    let expected = [
        ("b", Use::Bias),
        ("eb", Use::Bias),
        ("es", Use::Side),
        ("half", Use::Side),
        ("n", Use::Codes),
        ("ns", Use::Side),
        ("q", Use::Codes),
        ("s", Use::Side),
        ("wide", Use::Bias),
        ("z", Use::Side),
    ];
    assert_eq!(told, expected);
}

#[test]
fn names_and_graphs_are_held_to_their_rules() {
    let one = |name: &str| tensor(name, 1, &[], &[raw(&[0; 4])]);
    assert!(
        read(&holding(&[one("w"), one("w")]))
            .unwrap_err()
            .contains("tensor \"w\": its graph has two tensors of this name")
    );
    assert!(read(&holding(&[one("a"), one("")])).unwrap_err().contains("initializer 1: it has no name"));
    let twice = [int(1, 10), bytes(7, graph(&[], &[one("w")])), bytes(7, graph(&[], &[]))].concat();
    assert!(read(&Source::in_memory("m", twice)).unwrap_err().contains("graph is given twice"));
    assert!(read(&Source::in_memory("m", int(1, 10))).unwrap_err().contains("it has no graph"));
    // As many branches as are gone into, with names too long to be put together, and one more.
    let branches = |count: usize| {
        let branch = [bytes(1, "b".repeat(300)), bytes(6, graph(&[], &[one("w")]))].concat();
        let node = [node("If", &[], &"n".repeat(300), &vec![branch; count])].concat();
        read(&Source::in_memory("m", model(&graph(&[node], &[]))))
    };
    let table = branches(3).unwrap();
    let names: Vec<&str> = table.tensors.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["w", "graph 2/w", "graph 3/w"]);
    assert!(branches(1 << 16).unwrap_err().contains("more than 65536 graphs and functions"));
    // One graph in another, on and on: 31 times is well, more is not.
    let nested = |depth: usize| {
        let attribute = |inner: Vec<u8>| [bytes(1, "body"), bytes(6, inner)].concat();
        (1..depth).fold(graph(&[], &[one("w")]), |inner, _| graph(&[node("Loop", &[], "n", &[attribute(inner)])], &[]))
    };
    assert_eq!(read(&Source::in_memory("m", model(&nested(32)))).unwrap().tensors.len(), 1);
    for depth in [33, 2000] {
        let said = read(&Source::in_memory("m", model(&nested(depth)))).unwrap_err();
        assert!(said.contains("it lies in 32 others, at most 31 are gone into") && said.len() < 400, "{said}");
    }
}

#[test]
fn what_is_converted_is_bounded() {
    let limits = Limits { held_bytes: 100, ..Limits::default() };
    let bytes_of = |n: usize| tensor("w", 22, &[n as u64], &[raw(&vec![0; n.div_ceil(2)])]);
    assert_eq!(read_table(&holding(&[bytes_of(100)]), &limits).unwrap().annex.held(), 100);
    let said = read_table(&holding(&[bytes_of(101)]), &limits).unwrap_err().to_string();
    assert!(said.contains("101 bytes are needed to convert it, and 0 of the 100"), "{said}");
    let few = Limits { tensors: 1, ..Limits::default() };
    let two = [tensor("a", 1, &[0], &[]), tensor("b", 1, &[0], &[])];
    assert!(matches!(read_table(&holding(&two), &few).unwrap_err().kind, ErrorKind::TooManyTensors { allowed: 1 }));
}

#[test]
fn values_elsewhere_are_placed_in_their_file() {
    let pair = |key: &str, value: &str| bytes(13, [bytes(1, key), bytes(2, value)].concat());
    let outside = |name: &str, data_type, rest: &[Vec<u8>]| tensor(name, data_type, &[2], &[rest.concat(), int(14, 1)]);
    let place = |offset: &str, length: &str| {
        vec![pair("location", "w.data"), pair("offset", offset), pair("length", length), pair("checksum", "x")]
    };
    let here = tensor("here", 1, &[1], &[raw(&[0; 4])]);
    let source = holding(&[
        here,
        outside("a", 1, &place("8", "8")),
        outside("b", 1, &[pair("location", "w.data")]),
        outside("n", 21, &place("0", "1")),
    ]);
    let head = *read(&source).unwrap().onnx.unwrap();
    let data = Source::in_memory("w.data", (0..16).collect::<Vec<u8>>());
    let table = read_outside(&data, head.outside.clone(), &Limits::default()).unwrap();
    let ranges: Vec<_> =
        table.tensors.iter().map(|entry| (entry.name.as_str(), entry.dtype, entry.range.clone())).collect();
    assert_eq!(ranges, [("a", Dtype::F32, 8..16), ("b", Dtype::F32, 0..8), ("n", Dtype::U8, 16..18)]);
    let short = Source::in_memory("w.data", vec![0; 15]);
    let said = read_outside(&short, head.outside, &Limits::default()).unwrap_err().to_string();
    assert!(
        said.contains("tensor \"a\": its values are 8 bytes from byte 8 of this file on, which has 15 bytes"),
        "{said}"
    );
    for (offset, length, words) in [
        ("-8", "8", "the offset of its external data is \"-8\", not a whole number"),
        ("0x8", "8", "the offset of its external data"),
        (" 8", "8", "the offset of its external data"),
        ("18446744073709551616", "8", "the offset of its external data"),
        ("8", "", "the length of its external data is \"\""),
    ] {
        let said = read(&holding(&[outside("a", 1, &place(offset, length))])).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
    for (offset, length, words) in [
        ("18446744073709551615", "8", "from byte 18446744073709551615 of this file on"),
        ("0", "4", "need 8 bytes, and there are 4"),
    ] {
        let head = *read(&holding(&[outside("a", 1, &place(offset, length))])).unwrap().onnx.unwrap();
        let said = read_outside(&data, head.outside, &Limits::default()).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
}
