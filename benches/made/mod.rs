//! Models made up for a bench: bf16 matrices in a temporary file, eight to a block, the same in every run.

use spokeshave::model::{Model, OpenOptions, open};
use std::io::Write;
use std::sync::Arc;

/// A file of bf16 matrices, deleted with this.
pub struct Made(std::path::PathBuf);

impl Made {
    /// `tensors` matrices of `rows` by `cols`, eight to a block.
    pub fn new(tensors: usize, rows: usize, cols: usize) -> Self {
        let name = format!("spokeshave-bench-{tensors}-{}.safetensors", std::process::id());
        let path = std::env::temp_dir().join(name);
        let bytes = rows * cols * 2;
        let parts =
            ["self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down", "extra"];
        let entry = |i: usize| {
            let (start, end, block, part) = (i * bytes, (i + 1) * bytes, i / 8, parts[i % 8]);
            format!(
                "\"model.layers.{block}.{part}_proj.weight\":{{\"dtype\":\"BF16\",\"shape\":[{rows},{cols}],\"data_offsets\":[{start},{end}]}}"
            )
        };
        let mut header = format!("{{{}}}", (0..tensors).map(entry).collect::<Vec<_>>().join(","));
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("the temporary folder takes files"));
        file.write_all(&(header.len() as u64).to_le_bytes()).expect("it takes the header");
        file.write_all(header.as_bytes()).expect("it takes the header");
        let mut state = 1_u64;
        for _ in 0..tensors * rows * cols {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let sum = (state >> 40) + (state >> 16 & 0xff_ffff) + (state & 0xff_ffff);
            let weight = (sum as f32 / 16_777_216.0 - 1.5) * 0.05;
            file.write_all(&((weight.to_bits() >> 16) as u16).to_le_bytes()).expect("it takes the weights");
        }
        file.flush().expect("it takes the weights");
        Self(path)
    }

    /// Opens it.
    pub fn open(&self) -> Arc<Model> {
        Arc::new(open(&self.0, &OpenOptions::default()).expect("what was written is a model"))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}
