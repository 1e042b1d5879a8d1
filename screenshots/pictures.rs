//! The pictures of the README, all of them, by one command: `cargo run --release --example pictures`.
//!
//! Each is the real window, drawn by `screenshot`'s own code after its background work has settled. The model of hundreds
//! of tensors is made here, with the shapes of a small llama and heavy-tailed weights; it is not a trained network.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use spokeshave::app::{ShotOptions, shoot};
use spokeshave::model::OpenOptions;
use spokeshave::recipe::Target;
use spokeshave::session::{Request, Wish};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One picture: file, model, settings, selected tensor, size, dark.
type Picture<'a> = (&'a str, &'a Path, &'a [&'a str], &'a str, (u32, u32), bool);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = std::env::temp_dir().join("small-llama.safetensors");
    write_llama(&model)?;
    let demo = Path::new("demo");
    let trimmed = ["fc1.weight=prune:0.6+int4:row", "fc2.weight=prune:0.5+int4:row", "fc3.weight=prune:0.1+int6:row"];
    let large = ["*=int8:g64", "*.mlp.*=prune:0.25+int6:g64", "*.3.mlp.up_proj.weight=prune:0.1+int5:g64"];
    let pictures: [Picture<'_>; 4] = [
        ("demo-dark.png", demo, &trimmed, "fc1.weight", (1600, 1000), true),
        ("demo-light.png", demo, &trimmed[..1], "fc1.weight", (1280, 800), false),
        ("model-dark.png", &model, &large, "model.layers.3.mlp.up_proj.weight", (1600, 1000), true),
        ("model-light.png", &model, &large, "model.layers.3.self_attn.q_proj.weight", (1920, 1080), false),
    ];
    for (file, model, settings, select, size, dark) in pictures {
        let wish = Wish {
            set: settings.iter().map(ToString::to_string).collect(),
            target: Some(Target::Packed),
            ..Wish::default()
        };
        let request = Request::open(model, &OpenOptions::default(), &wish)?;
        let out = PathBuf::from("screenshots").join(file);
        shoot(ShotOptions {
            out: out.clone(),
            view: "window".into(),
            size,
            dark,
            select: Some(select.into()),
            beside: None,
            open: OpenOptions::default(),
            scale: 1.0,
            model: Some((request.model, request.recipe)),
        })?;
        println!("{}", out.display());
    }
    std::fs::remove_file(&model)?;
    Ok(())
}

/// Sixteen blocks of a llama of width 256, in F32.
fn write_llama(path: &Path) -> std::io::Result<()> {
    const WIDTH: usize = 256;
    let mut tensors: Vec<(String, Vec<usize>, f64)> = vec![
        ("model.embed_tokens.weight".into(), vec![4096, WIDTH], 0.03),
        ("lm_head.weight".into(), vec![4096, WIDTH], 0.02),
        ("model.norm.weight".into(), vec![WIDTH], 0.0),
    ];
    for block in 0..16 {
        let name = |part: &str| format!("model.layers.{block}.{part}.weight");
        let spread = 0.02 + 0.001 * f64::from(block);
        for (part, rows, cols) in [
            ("self_attn.q_proj", WIDTH, WIDTH),
            ("self_attn.k_proj", 64, WIDTH),
            ("self_attn.v_proj", 64, WIDTH),
            ("self_attn.o_proj", WIDTH, WIDTH),
            ("mlp.gate_proj", 704, WIDTH),
            ("mlp.up_proj", 704, WIDTH),
            ("mlp.down_proj", WIDTH, 704),
        ] {
            tensors.push((name(part), vec![rows, cols], spread));
        }
        tensors.push((name("input_layernorm"), vec![WIDTH], 0.0));
        tensors.push((name("post_attention_layernorm"), vec![WIDTH], 0.0));
    }
    let mut header = Vec::new();
    let mut at = 0;
    for (name, shape, _) in &tensors {
        let end = at + 4 * shape.iter().product::<usize>();
        header.push(format!("{name:?}:{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{at},{end}]}}"));
        at = end;
    }
    let header = format!("{{{}}}", header.join(","));
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut noise = Noise(42);
    for (_, shape, spread) in &tensors {
        for _ in 0..shape.iter().product::<usize>() {
            let value = if *spread == 0.0 { 1.0 + 0.1 * noise.heavy() } else { spread * noise.heavy() };
            file.write_all(&(value as f32).to_le_bytes())?;
        }
    }
    file.flush()
}

/// splitmix64 (Steele, Lea and Flood 2014).
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// A sum of uniforms, now and then three times as wide: a bell with heavy tails.
    fn heavy(&mut self) -> f64 {
        let bell: f64 = (0..6).map(|_| self.uniform()).sum::<f64>() - 3.0;
        if self.uniform() < 0.05 { 3.0 * bell } else { bell }
    }
}
