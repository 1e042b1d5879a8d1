//! The wide encoders against the plain ones, and every level against every other.

use super::*;
use crate::kernels::scatter;

/// Uniform numbers from −1 to 1, and weights of many kinds made of them.
struct Made(Box<dyn Iterator<Item = u64>>);

impl Made {
    fn new(seed: u64) -> Self {
        Self(Box::new(scatter::numbers(seed)))
    }

    fn uniform(&mut self) -> f32 {
        (self.0.next().expect("they never end") >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    fn bits(&mut self) -> u32 {
        self.0.next().expect("they never end") as u32
    }

    /// One weight of a kind; `run` counts runs of 32.
    fn weight(&mut self, kind: usize, run: usize) -> f32 {
        let (x, size) = (self.uniform() + self.uniform() + self.uniform(), 10_f32.powi((run * 7 % 60) as i32 - 40));
        match kind {
            0 => x * 0.02,
            1 => 0.001 / (self.uniform() + 0.003) * x,
            2 => x.abs() + 0.25,
            3 => -x.abs(),
            4 => (run as f32 - 3.0) * 0.37,
            5 => 0.0_f32.copysign(x),
            6 => {
                if self.uniform() > 0.3 {
                    x
                } else {
                    0.0_f32.copysign(x)
                }
            }
            7 => {
                if self.uniform() > 0.99 {
                    50.0 * x
                } else {
                    x * 1e-3
                }
            }
            8 => (x * 6.0).round() * 0.25,
            9 => x * size,
            10 => x * size * 1e15,
            11 => x * 1e-38,
            _ => Some(f32::from_bits(self.bits())).filter(|x| x.is_finite()).unwrap_or(1.5),
        }
    }

    fn weights(&mut self, kind: usize, count: usize) -> Vec<f32> {
        (0..count).map(|i| self.weight(kind, i / 32)).collect()
    }
}

const KINDS: std::ops::Range<usize> = 0..13;

fn written() -> impl Iterator<Item = BlockType> {
    BlockType::all().filter(|kind| kind.encodes())
}

#[test]
fn wide_encoders_write_what_the_plain_ones_do_at_every_level() {
    let mut made = Made::new(5);
    for kind in written() {
        // Whole groups, and every tail there is.
        let most = if kind.elements() == 256 { 5 } else { 35 };
        for (weights, blocks) in KINDS.flat_map(|weights| (0..=most).map(move |blocks| (weights, blocks))) {
            let values = made.weights(weights, blocks * kind.elements());
            let expected = plain::encode(kind, &values);
            for level in Level::all() {
                let mut found = vec![0xaa; expected.len()];
                encode_at(level, kind, &values, &mut found);
                for (i, (found, expected)) in found.chunks(kind.bytes()).zip(expected.chunks(kind.bytes())).enumerate()
                {
                    let values = &values[i * kind.elements()..][..kind.elements()];
                    assert_eq!(found, expected, "{kind} {} block {i} of {blocks}: {values:?}", level.name());
                }
            }
        }
    }
}

#[test]
fn the_plain_encoders_write_what_libgguf_does() {
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    };
    let mut values = Vec::new();
    let mut seen = 0;
    for line in include_str!("../../../tests/spokeshave/ggml.tsv").lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            ["values", hex] => {
                values = bytes(hex).as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
            }
            ["written", name, hex, _] => {
                let kind = BlockType::from_name(name).unwrap();
                assert_eq!(plain::encode(kind, &values), bytes(hex), "{kind}");
                seen += 1;
            }
            _ => {}
        }
    }
    assert_eq!(seen, written().count() - 1, "F32 is not written there");
}

#[test]
fn every_level_reads_the_same() {
    let mut made = Made::new(6);
    for kind in BlockType::all().filter(|kind| kind.decodes()) {
        for blocks in 0..20 {
            let bytes: Vec<u8> = (0..blocks * kind.bytes()).map(|_| made.bits() as u8).collect();
            let read = |level| {
                let mut values = vec![0.5; blocks * kind.elements()];
                decode_at(level, kind, &bytes, &mut values);
                values.iter().map(|w| if w.is_nan() { f32::NAN } else { *w }.to_bits()).collect::<Vec<_>>()
            };
            let expected = read(Level::Portable);
            for level in Level::all() {
                assert_eq!(read(level), expected, "{kind} {}", level.name());
            }
        }
    }
}

#[test]
fn what_is_not_finite_does_no_harm() {
    let mut made = Made::new(7);
    for kind in written() {
        for round in 0..20 {
            let mut values = made.weights(if round % 2 == 0 { 12 } else { 0 }, 1024);
            for w in values.iter_mut().step_by(round + 1) {
                *w = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN][round % 4];
            }
            for level in Level::all() {
                encode_at(level, kind, &values, &mut vec![0; kind.bytes_of(1024).unwrap()]);
            }
        }
    }
}

#[test]
fn distances_of_equal_size_go_to_the_lower_level() {
    // Every level of FP4 and IQ4 half-way to the next, and one f32 to either side, at sizes that make the scale 1.
    for (kind, end, middles) in [
        (BlockType::MXFP4, 6.0_f32, &[0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0][..]),
        (BlockType::NVFP4, 6.0, &[0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0]),
        (BlockType::IQ4_NL, -127.0, &[-115.5, -93.5, -16.0, -4.5, 7.0, 19.0, 101.0]),
    ] {
        let mut values = vec![0.0; kind.elements()];
        for values in values.chunks_mut(16) {
            values[0] = end;
        }
        for (i, &middle) in middles.iter().enumerate() {
            let around = [middle, f32::next_up(middle), f32::next_down(middle)];
            for (value, near) in values[1..].iter_mut().skip(i % 2).step_by(2).zip(around) {
                *value = if i % 3 == 0 { -near } else { near };
            }
            let mut found = vec![0; kind.bytes()];
            encode_at(Level::best(), kind, &values, &mut found);
            assert_eq!(found, plain::encode(kind, &values), "{kind} at {middle}");
        }
    }
}
