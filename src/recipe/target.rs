//! The file format to be written: it decides which schemes can be held and what each costs in bytes.

use super::Error;
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
    /// Every target, in the order of menus.
    pub const ALL: [Self; 5] = [Self::Safetensors, Self::Packed, Self::Gguf, Self::CompressedTensors, Self::Mlx];

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
            Self::CompressedTensors => "vLLM and transformers; a folder",
            Self::Mlx => "Apple MLX; a folder",
        }
    }

    /// Whether a tensor is one array of values there, so that factors are multiplied back and levels spelled out in the
    /// tensor's own dtype where the target has no code for them.
    #[must_use]
    pub const fn is_dense(self) -> bool {
        !matches!(self, Self::Packed)
    }

    /// Whether it is a folder whatever the model is, because a config beside the weights says how they are to be read.
    #[must_use]
    pub const fn is_folder(self) -> bool {
        matches!(self, Self::CompressedTensors | Self::Mlx)
    }

    /// The usual ending of its name; a folder has none.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Packed => "spk",
            Self::Gguf => "gguf",
            Self::CompressedTensors | Self::Mlx => "",
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|t| t.name() == text);
        found.ok_or_else(|| Error::Target { found: text.to_owned() })
    }
}
