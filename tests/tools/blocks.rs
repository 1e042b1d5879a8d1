//! GGML blocks from standard input to standard output: the encoders and decoders alone, for anyone who wants to hold them
//! against another implementation.
//!
//! ```text
//! blocks types                    a table: id, name, values and bytes of a block, whether it is read and written
//! blocks encode Q4_K <f32 >blocks little-endian f32, whole blocks; `encode` and `decode` take any case
//! blocks decode Q4_K <blocks >f32
//! blocks time Q4_K 5 <f32         seconds, the least of five rounds, to write them and to read them back, by one thread
//! ```

use spokeshave::kernels::ggml::{BlockType, decode, encode};
use std::error::Error;
use std::hint::black_box;
use std::io::{Read, Write, stdin, stdout};
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let out = match words[..] {
        ["types"] => types().into_bytes(),
        ["encode", name] => encoded(kind(name)?, &input()?)?,
        ["decode", name] => decoded(kind(name)?, &input()?)?,
        ["time", name, rounds] => timed(kind(name)?, rounds.parse()?, &input()?)?.into_bytes(),
        _ => {
            return Err(
                "usage: blocks types | encode TYPE | decode TYPE | time TYPE ROUNDS; data from standard input".into()
            );
        }
    };
    stdout().lock().write_all(&out)?;
    Ok(())
}

fn kind(name: &str) -> Result<BlockType, String> {
    BlockType::from_name(name).ok_or_else(|| format!("{name} is no block type; `blocks types` lists them"))
}

fn input() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn types() -> String {
    let does = |does: bool, what: &'static str| if does { what } else { "-" };
    let line = |kind: BlockType| {
        let (read, written) = (does(kind.decodes(), "read"), does(kind.encodes(), "written"));
        format!("{}\t{kind}\t{}\t{}\t{read}\t{written}\n", kind.id(), kind.elements(), kind.bytes())
    };
    BlockType::all().map(line).collect()
}

fn floats(bytes: &[u8]) -> Result<Vec<f32>, String> {
    let (words, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("{} bytes are no whole number of f32", bytes.len()));
    }
    Ok(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
}

fn encoded(kind: BlockType, bytes: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let values = floats(bytes)?;
    let mut out = vec![0; kind.bytes_of(values.len()).unwrap_or_default()];
    encode(kind, &values, &mut out)?;
    Ok(out)
}

fn decoded(kind: BlockType, bytes: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut values = vec![0.0; bytes.len() / kind.bytes() * kind.elements()];
    decode(kind, bytes, &mut values)?;
    Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn timed(kind: BlockType, rounds: usize, bytes: &[u8]) -> Result<String, Box<dyn Error>> {
    let values = floats(bytes)?;
    let mut back = vec![0.0; values.len()];
    let mut blocks = vec![0; kind.bytes_of(values.len()).unwrap_or_default()];
    let mut least = [f64::INFINITY; 2];
    for _ in 0..rounds {
        let began = Instant::now();
        encode(kind, black_box(&values), black_box(&mut blocks))?;
        least[0] = least[0].min(began.elapsed().as_secs_f64());
        let began = Instant::now();
        decode(kind, black_box(&blocks), black_box(&mut back))?;
        least[1] = least[1].min(began.elapsed().as_secs_f64());
    }
    Ok(format!("{:.9}\t{:.9}\n", least[0], least[1]))
}
