//! GGML's block types from outside: against what llama.cpp's own code makes of the same weights, within the errors that its tests
//! allow, and what is refused.

use super::live::Noise;
use spokeshave::kernels::ggml::{BlockError, BlockType, decode, encode};
use spokeshave::kernels::hash::{START, fnv1a};

/// Bytes of hexadecimal digits.
fn bytes(hex: &str) -> Vec<u8> {
    let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("two digits");
    (0..hex.len() / 2).map(byte).collect()
}

fn blocks_of(kind: BlockType, values: &[f32]) -> Vec<u8> {
    let mut out = vec![0; kind.bytes_of(values.len()).expect("whole blocks")];
    encode(kind, values, &mut out).expect("lengths fit");
    out
}

fn values_of(kind: BlockType, blocks: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; blocks.len() / kind.bytes() * kind.elements()];
    decode(kind, blocks, &mut out).expect("lengths fit");
    out
}

/// The golden file's hash of values.
fn hash(values: &[f32]) -> String {
    let plain = |w: &f32| if w.is_nan() { f32::NAN } else { *w }.to_le_bytes();
    format!("{:016x}", fnv1a(&values.iter().flat_map(plain).collect::<Vec<u8>>(), START))
}

#[test]
fn blocks_are_those_of_llama_cpp() {
    let (mut values, mut written, mut read) = (Vec::new(), 0, 0);
    for line in include_str!("ggml.tsv").lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let kind = |name| BlockType::from_name(name).expect("a type");
        match columns[..] {
            ["values", hex] => {
                values = bytes(hex).as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
            }
            ["written", name, hex, wanted] => {
                let (kind, expected) = (kind(name), bytes(hex));
                let found = blocks_of(kind, &values);
                for (i, (found, expected)) in found.chunks(kind.bytes()).zip(expected.chunks(kind.bytes())).enumerate()
                {
                    assert_eq!(found, expected, "{kind}, block {i}");
                }
                assert_eq!(hash(&values_of(kind, &found)), wanted, "{kind}");
                written += 1;
            }
            ["read", name, hex, wanted] => {
                assert_eq!(hash(&values_of(kind(name), &bytes(hex))), wanted, "{name}");
                read += 1;
            }
            _ => panic!("{line} is not understood"),
        }
    }
    assert_eq!((written, read), (18, 23));
}

/// The block types that can be written and lose something.
fn lossy() -> impl Iterator<Item = BlockType> {
    BlockType::all().filter(|&kind| kind.encodes() && kind != BlockType::F32)
}

#[test]
fn errors_stay_within_the_bounds_of_llama_cpps_tests() {
    // tests/test-quantize-fns.cpp: 0.1 + 2 cos(i + offset), and √Σe² / n, which is no mean.
    for offset in [0.0, 1.0] {
        let values: Vec<f32> = (0..4096).map(|i| 0.1 + 2.0 * (i as f32 + offset).cos()).collect();
        for kind in lossy() {
            let sum: f64 = values
                .iter()
                .zip(values_of(kind, &blocks_of(kind, &values)))
                .map(|(&w, q)| (f64::from(w) - f64::from(q)).powi(2))
                .sum();
            let error = sum.sqrt() / 4096.0;
            let bound = match kind {
                BlockType::TQ1_0 | BlockType::TQ2_0 => 0.01,
                BlockType::Q2_K => 0.0075,
                BlockType::Q3_K => 0.004,
                BlockType::MXFP4 | BlockType::NVFP4 => 0.003,
                _ => 0.002,
            };
            assert!(error < bound, "{kind}: {error}, allowed {bound}");
        }
    }
}

/// Root mean square error of a block type on normal weights with σ = 1.
fn rmse(kind: BlockType) -> f64 {
    let mut noise = Noise(8);
    let values: Vec<f32> = (0..1 << 16).map(|_| noise.gauss() as f32).collect();
    let back = values_of(kind, &blocks_of(kind, &values));
    let sum: f64 = values.iter().zip(back).map(|(&w, q)| (f64::from(w) - f64::from(q)).powi(2)).sum();
    (sum / values.len() as f64).sqrt()
}

#[test]
fn more_bits_lose_less() {
    use BlockType as T;
    for order in [
        &[T::TQ2_0, T::Q2_K, T::Q3_K, T::Q4_K, T::Q5_K, T::Q6_K, T::Q8_0, T::F16][..],
        &[T::Q4_0, T::Q5_0, T::Q8_0],
        &[T::Q4_1, T::Q5_1, T::Q8_0],
        &[T::MXFP4, T::NVFP4, T::IQ4_NL],
        &[T::BF16, T::F16],
    ] {
        for pair in order.windows(2) {
            assert!(rmse(pair[1]) < rmse(pair[0]), "{} {}, {} {}", pair[0], rmse(pair[0]), pair[1], rmse(pair[1]));
        }
    }
    // What is rounded to a lattice of step s is off by s / √12: the step of Q8_0 is the largest of 32 normal magnitudes,
    // 2.39 in quadratic mean, over 127; nothing is clipped.
    let wanted = 2.39 / 127.0 / 12_f64.sqrt();
    let found = rmse(T::Q8_0);
    assert!((found / wanted - 1.0).abs() < 0.05, "{found}, expected {wanted}");
    // Q4_0: 8 steps to the largest magnitude, which has no error, and half a step too few on the other side.
    let wanted = 2.39 / 8.0 / 12_f64.sqrt();
    let found = rmse(T::Q4_0);
    assert!((found / wanted - 1.0).abs() < 0.05, "{found}, expected {wanted}");
}

#[test]
fn what_was_read_is_written_as_it_was() {
    use BlockType as T;
    let mut noise = Noise(9);
    let values: Vec<f32> = (0..1 << 14).map(|_| noise.gauss() as f32).collect();
    // Where the scale is a value's, one that the block holds exactly; a scale that was searched for is found anew.
    for kind in [T::F32, T::F16, T::BF16, T::Q4_0, T::Q5_0, T::Q8_0, T::TQ1_0, T::TQ2_0, T::MXFP4, T::NVFP4] {
        let blocks = blocks_of(kind, &values);
        let again = blocks_of(kind, &values_of(kind, &blocks));
        let other = again.chunks(kind.bytes()).zip(blocks.chunks(kind.bytes())).position(|(a, b)| a != b);
        assert_eq!(other, None, "{kind}");
    }
}

#[test]
fn lengths_and_types_that_do_not_fit_are_refused_with_numbers() {
    let (mut out, mut values) = (vec![0; 288], vec![0.0; 512]);
    let error = encode(BlockType::Q4_K, &values[..300], &mut out).unwrap_err();
    assert_eq!(error, BlockError::Values { kind: BlockType::Q4_K, found: 300, allowed: 256 });
    assert!(error.to_string().contains("300 values are no whole blocks of Q4_K, which have 256 each"), "{error}");
    let error = encode(BlockType::Q4_K, &values, &mut out[1..]).unwrap_err();
    assert!(error.to_string().contains("287 bytes for values that take 288 as Q4_K"), "{error}");
    let error = decode(BlockType::Q4_K, &out, &mut values[..256]).unwrap_err();
    assert_eq!(error, BlockError::Bytes { kind: BlockType::Q4_K, found: 288, allowed: 144 });
    let error = encode(BlockType::IQ2_XS, &values, &mut out).unwrap_err();
    assert!(error.to_string().contains("IQ2_XS is read but not written"), "{error}");
    let error = decode(BlockType::I8, &out[..32], &mut values[..32]).unwrap_err();
    assert_eq!(error, BlockError::NotWeights(BlockType::I8));
    encode(BlockType::Q4_K, &[], &mut []).expect("no values, no blocks");
}
