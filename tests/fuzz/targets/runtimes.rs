//! Any bytes as a folder of a runtime: which parts of which modules are there, of which dtype and shape, and what the config says of
//! them. The folder is always legal safetensors, so that what is tried is the putting together: values that are the same however
//! they are asked for, and bytes of every tensor inside the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spokeshave::formats::Dtype;
use spokeshave::formats::safetensors::{Listing, lay_out};
use spokeshave::model::{Model, OpenOptions, Scratch, Tensor, open};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("spokeshave-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("room for a folder");
    folder
});

const MODULES: [&str; 3] = ["lm_head", "model.layers.0.self_attn.q_proj", "x"];
const PARTS: [&str; 10] = [
    "weight",
    "weight_packed",
    "weight_scale",
    "weight_shape",
    "weight_zero_point",
    "weight_g_idx",
    "weight_global_scale",
    "scales",
    "biases",
    "bias",
];
const DTYPES: [Dtype; 10] = [
    Dtype::I32,
    Dtype::U32,
    Dtype::U8,
    Dtype::I8,
    Dtype::F8_E4M3,
    Dtype::F16,
    Dtype::BF16,
    Dtype::F32,
    Dtype::I64,
    Dtype::F64,
];
const DIMENSIONS: [usize; 12] = [0, 1, 2, 3, 4, 5, 8, 12, 16, 32, 64, 128];

/// The input, a byte at a time; zeros when it is used up.
struct Bytes<'b>(std::slice::Iter<'b, u8>);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::from(self.next()) % list.len()]
    }
}

fn config(bytes: &mut Bytes<'_>) -> String {
    let number = |bytes: &mut Bytes<'_>| {
        ["2", "3", "4", "5", "6", "8", "32", "64", "128", "7", "-1", "1e300", "null", "{}"]
            [usize::from(bytes.next()) % 14]
    };
    match bytes.next() % 4 {
        0 => r#"{"model_type": "llama", "quantization_config": {"quant_method": "compressed-tensors"}}"#.to_owned(),
        1 => {
            let mode = bytes.of(&["\"affine\"", "\"mxfp4\"", "3", "null"]);
            let own = bytes.of(&["false", "true", "null", "{}", r#"{"bits": 8, "group_size": 32}"#]);
            let (bits, group) = (number(bytes), number(bytes));
            format!(r#"{{"quantization": {{"bits": {bits}, "group_size": {group}, "mode": {mode}, "x": {own}}}}}"#)
        }
        2 => String::from_utf8_lossy(bytes.0.as_slice()).into_owned(),
        _ => r#"{"quantization": [], "quantization_config": []}"#.to_owned(),
    }
}

/// A folder that these bytes describe.
fn write(bytes: &mut Bytes<'_>) {
    let text = config(bytes);
    std::fs::write(FOLDER.join("config.json"), text).expect("room for a small file");
    let mut listings = Vec::new();
    for module in MODULES {
        let there = u16::from_le_bytes([bytes.next(), bytes.next()]);
        for (i, part) in PARTS.iter().enumerate().filter(|(i, _)| there >> i & 1 == 1) {
            let rank = usize::from(bytes.next() % 4);
            let shape = (0..rank).map(|_| bytes.of(&DIMENSIONS)).collect();
            let dtype = if i % 3 == 0 { bytes.of(&DTYPES) } else { bytes.of(&DTYPES[..9]) };
            listings.push(Listing { name: format!("{module}.{part}"), dtype, shape });
        }
    }
    let header = lay_out(&listings, &BTreeMap::new()).expect("small sizes");
    let mut file = header.bytes;
    let end = header.ranges.iter().map(|range| range.end).max().unwrap_or(file.len() as u64);
    while (file.len() as u64) < end {
        file.push(bytes.next());
    }
    std::fs::write(FOLDER.join("model.safetensors"), file).expect("room for a small file");
}

/// A range has what the whole has there.
fn check_values(model: &Model, tensor: &Tensor) {
    let n = tensor.elements();
    let (mut whole, mut part, mut scratch) = (Vec::<f32>::new(), Vec::<f32>::new(), Scratch::default());
    model.values(tensor, 0..n, &mut whole, &mut scratch).expect("its bytes are there");
    assert!(whole.len() == n);
    for range in [0..0, n / 3..n / 2, n / 7..n] {
        model.values(tensor, range.clone(), &mut part, &mut scratch).expect("its bytes are there");
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
        assert!(part.len() == range.len() && part.iter().zip(&whole[range]).all(same));
    }
}

fuzz_target!(|bytes: &[u8]| {
    write(&mut Bytes(bytes.iter()));
    let model = open(&FOLDER, &OpenOptions::default()).expect("legal safetensors").requantizing();
    for tensor in &model.tensors {
        let len = model.shards[tensor.shard()].len();
        assert!(
            tensor.place().end <= len
                && tensor.places().iter().all(|place| place.range.end <= model.shards[place.shard].len())
        );
        drop(tensor.type_name());
        if tensor.dtype.is_float() {
            check_values(&model, tensor);
        }
    }
});
