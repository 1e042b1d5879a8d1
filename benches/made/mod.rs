//! Models made up for a bench: matrices in a temporary file, the same in every run.

use spokeshave::formats::Dtype;
use spokeshave::formats::gguf::layout::{Listing, lay_out, prefix};
use spokeshave::kernels::ggml::BlockType;
use spokeshave::model::{Model, OpenOptions, open};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A file of made-up matrices, deleted with this.
pub struct Made(std::path::PathBuf);

impl Made {
    /// `tensors` matrices of `rows` by `cols` bf16, eight to a block.
    pub fn new(tensors: usize, rows: usize, cols: usize) -> Self {
        let parts =
            ["self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down", "extra"];
        let one = |i: usize| (format!("model.layers.{}.{}_proj.weight", i / 8, parts[i % 8]), vec![rows, cols]);
        Self::of(&(0..tensors).map(one).collect::<Vec<_>>(), Dtype::BF16, "safetensors")
    }

    /// Tensors of these names and shapes, of bf16 or f32; in a GGUF file, where the ending is that.
    pub fn of(tensors: &[(String, Vec<usize>)], dtype: Dtype, ending: &str) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("spokeshave-bench-{}-{number}.{ending}", std::process::id()));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("the temporary folder takes files"));
        let head = if ending == "gguf" { gguf(tensors) } else { safetensors(tensors, dtype) };
        file.write_all(&head).expect("it takes the header");
        let mut state = 1_u64;
        for _ in 0..tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let sum = (state >> 40) + (state >> 16 & 0xff_ffff) + (state & 0xff_ffff);
            let weight = (sum as f32 / 16_777_216.0 - 1.5) * 0.05;
            let bytes = weight.to_bits().to_le_bytes();
            file.write_all(if dtype == Dtype::BF16 { &bytes[2..] } else { &bytes }).expect("it takes the weights");
        }
        file.flush().expect("it takes the weights");
        Self(path)
    }

    /// Opens it.
    pub fn open(&self) -> Arc<Model> {
        Arc::new(open(&self.0, &OpenOptions::default()).expect("what was written is a model"))
    }
}

/// What a safetensors file begins with.
fn safetensors(tensors: &[(String, Vec<usize>)], dtype: Dtype) -> Vec<u8> {
    let mut end = 0;
    let entry = |(name, shape): &(String, Vec<usize>)| {
        let start = end;
        end += shape.iter().product::<usize>() * dtype.bits() as usize / 8;
        format!("{name:?}:{{\"dtype\":\"{}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}", dtype.name())
    };
    let mut header = format!("{{{}}}", tensors.iter().map(entry).collect::<Vec<_>>().join(","));
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

/// What a GGUF file of BF16 begins with, whose tensors are all of whole 32 bytes.
fn gguf(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let listing = |(name, shape)| Listing { name, shape, block_type: BlockType::BF16 };
    let listings: Vec<Listing<'_>> = tensors.iter().map(|(name, shape)| listing((name, shape))).collect();
    let plan = lay_out(0, &listings, 32).expect("sizes that can be counted");
    let padding = vec![0; plan.padding as usize];
    [prefix(tensors.len() as u64, 0).as_slice(), &plan.infos, &padding].concat()
}

impl Drop for Made {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}
