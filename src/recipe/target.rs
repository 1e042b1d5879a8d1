//! The file format to be written: it decides which schemes can be held and what each costs in bytes.

use super::Error;
use super::scheme::{Quantize, Range, Scheme};
use crate::kernels::layout::Unit;
use std::str::FromStr;

/// A format to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Dense, drop-in: same names, shapes and dtypes.
    Safetensors,
    /// Spokeshave's own container, where sparsity and low bits become bytes.
    Packed,
    /// llama.cpp's container.
    Gguf,
    /// vLLM's and llm-compressor's.
    CompressedTensors,
    /// Apple's.
    Mlx,
}

impl Target {
    /// Targets that can be written now.
    pub const BUILT: &[Self] = &[Self::Safetensors, Self::Packed];

    /// Its word in commands and recipes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Packed => "packed",
            Self::Gguf => "gguf",
            Self::CompressedTensors => "compressed-tensors",
            Self::Mlx => "mlx",
        }
    }

    /// One line for people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Safetensors => "dense, drop-in; shrinks nothing but casts",
            Self::Packed => "pruning and low bits become bytes",
            Self::Gguf => "llama.cpp",
            Self::CompressedTensors => "vLLM",
            Self::Mlx => "Apple MLX",
        }
    }

    /// The usual ending of its files.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Packed => "spk",
            Self::Gguf => "gguf",
            _ => "safetensors",
        }
    }

    /// Refuses, by name, a target that cannot be written yet.
    ///
    /// # Errors
    /// [`Error::NotBuilt`].
    pub fn check_built(self) -> Result<(), Error> {
        if Self::BUILT.contains(&self) {
            return Ok(());
        }
        let instead = "the targets that can be written are safetensors and packed".into();
        Err(Error::NotBuilt { what: format!("target {}", self.name()), instead })
    }

    /// The scheme nearest to `scheme` that this target holds; `None` when it holds the scheme itself.
    #[must_use]
    pub fn nearest(self, scheme: &Scheme) -> Option<Scheme> {
        let Some(Quantize::Gguf(name)) = scheme.quantize else { return None };
        let (bits, asymmetric) = match name {
            "q8_0" => (8, false),
            "q6_k" => (6, false),
            "q5_k" | "q5_1" => (5, true),
            "q5_0" => (5, false),
            "q4_k" | "q4_1" => (4, true),
            "q3_k" => (3, false),
            "q2_k" => (2, true),
            "tq1_0" | "tq2_0" => (2, false),
            _ => (4, false),
        };
        let quantize = Quantize::Int { bits, unit: Unit::Group(32), asymmetric, range: Range::Max };
        Some(scheme.clone().with_quantize(Some(quantize)))
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let all = [Self::Safetensors, Self::Packed, Self::Gguf, Self::CompressedTensors, Self::Mlx];
        let found = all.into_iter().find(|t| t.name() == text);
        found.ok_or_else(|| Error::Target { found: text.to_owned() })
    }
}
