//! A folder in the Hugging Face layout as llama.cpp wants it: names, the order of rows, key-values, tokenizer.
//!
//! | file | what it settles |
//! |---|---|
//! | this | which families, and what becomes of each tensor |
//! | `names` | Hugging Face's names to GGUF's, and what each family must have |
//! | `keys` | what `config.json` says, under GGUF's keys |
//! | `vocabulary` | the tokenizer's files as key-values |
//!
//! The families are llama (with Mistral), qwen2 and qwen3, with byte-level BPE tokenizers. Others load in llama.cpp and talk
//! nonsense when one of a dozen details is missed, so they are refused by name, with the road that works.
//! The reference is llama.cpp's `convert_hf_to_gguf.py`.

mod keys;
mod names;
mod vocabulary;

pub use keys::Numbers;

use super::{Format, Model, Origin, Tensor};
use crate::formats::Dtype;
use crate::formats::error::quoted;
use names::{Known, Length};
use std::collections::HashMap;
use std::sync::Arc;

/// The next step for a model that is not converted here.
pub const ROAD: &str = "convert it with llama.cpp's convert_hf_to_gguf.py first, and open the GGUF file";

/// A model architecture of llama.cpp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and Mistral: rotary halves are interleaved.
    Llama,
    /// Qwen2 and 2.5: biases on q, k and v.
    Qwen2,
    /// Qwen3: norms on q and k.
    Qwen3,
}

impl Architecture {
    /// Its name in a file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    fn of(family: &str) -> Option<Self> {
        match family {
            "llama" | "mistral" => Some(Self::Llama),
            "qwen2" => Some(Self::Qwen2),
            "qwen3" => Some(Self::Qwen3),
            _ => None,
        }
    }
}

/// What becomes of a tensor that is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name in the file.
    pub name: String,
    /// Rows of a head, where rows go in llama.cpp's rotary order.
    pub interleaved: Option<usize>,
}

/// A tensor that only the converted file has.
#[derive(Clone, Debug, PartialEq)]
pub struct Extra {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: Vec<f32>,
}

/// Key-values that are spelled once: a vocabulary is megabytes.
#[derive(Clone, Debug, Default)]
pub struct Spelled {
    /// The pairs' bytes.
    pub bytes: Arc<[u8]>,
    /// How many pairs they are.
    pub count: u64,
}

/// How a model becomes a GGUF file.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The architecture.
    pub architecture: Architecture,
    /// What becomes of each tensor, in the model's order; `None` for what llama.cpp computes itself.
    pub places: Vec<Option<Place>>,
    /// Tensors that only the file has.
    pub extras: Vec<Extra>,
    /// What the config says.
    pub numbers: Numbers,
    /// The tokenizer.
    pub vocabulary: Spelled,
    /// What llama.cpp computes otherwise than the config says, in words.
    pub computed_otherwise: Option<String>,
}

impl Conversion {
    /// How a model is converted.
    ///
    /// # Errors
    /// Why it is not, as words for people.
    pub(super) fn of(model: &Model) -> Result<Self, String> {
        let Origin::Folder(folder) = &model.origin else {
            return Err("a single file has no tokenizer beside it that could be relied on; give the folder".into());
        };
        if !matches!(model.format, Format::Safetensors | Format::PyTorch) {
            return Err(format!("a {} model has lost what a GGUF file needs to know of it", model.format.name()));
        }
        let config = model.config().ok_or("there is no config.json that can be read")?;
        let family = config.family();
        let architecture = Architecture::of(&family).ok_or_else(|| {
            format!(
                "its family is {}, and those that are converted are llama, mistral, qwen2 and qwen3",
                quoted(&family)
            )
        })?;
        let numbers = Numbers::of(config, model, architecture)?;
        let rows = rows_of_embedding(model)?;
        let places = places(model, architecture, &numbers, rows)?;
        let own_head = model.tensors.iter().flat_map(Tensor::names).any(|name| name.ends_with("lm_head.weight"));
        if config.flag("tie_word_embeddings") == Some(false) && !own_head {
            return Err(
                "config.json says that the output has weights of its own, and there is no lm_head.weight".into()
            );
        }
        let vocabulary = vocabulary::read(folder, config, rows)?;
        let extras = numbers.rope_factors().map(|values| Extra { name: "rope_freqs.weight", values });
        let computed_otherwise = keys::window_note(config);
        let extras = extras.into_iter().collect();
        Ok(Self { architecture, places, extras, numbers, vocabulary, computed_otherwise })
    }
}

/// Where llama.cpp's converter would put each tensor of a model, by its name alone: whatever the model is stored as, and whether or not
/// it is converted here. `None` where the config does not say of which network they are.
pub(super) fn named(model: &Model) -> Option<Vec<Option<Place>>> {
    let config = model.config()?;
    let architecture = Architecture::of(&config.family())?;
    let head = Numbers::of(config, model, architecture).ok()?.head();
    let place = |tensor: &Tensor| Some(Place::of(names::of(&tensor.name, architecture)?, architecture, head));
    Some(model.tensors.iter().map(place).collect())
}

impl Place {
    fn of(known: Known, architecture: Architecture, head: usize) -> Self {
        let name = known.name();
        let rotary = matches!(known.part.shape, [Length::Queries | Length::Keys, ..]) && !name.contains("attn_v");
        Self { name, interleaved: (architecture == Architecture::Llama && rotary).then_some(head) }
    }
}

/// Rows of the embedding: as many tokens must the vocabulary have.
fn rows_of_embedding(model: &Model) -> Result<usize, String> {
    let names = ["model.embed_tokens.weight", "embed_tokens.weight"];
    let found = names.iter().find_map(|name| model.find(name)).map(|i| &model.tensors[i].shape);
    let rows = found.and_then(|shape| shape.first().copied());
    let rows = rows.ok_or_else(|| String::from("it has no model.embed_tokens.weight"))?;
    let most = crate::formats::tokenizer::MOST_TOKENS as usize;
    if rows == 0 || rows > most {
        return Err(format!("its embedding has {rows} rows, and 1 to {most} tokens are what is converted"));
    }
    Ok(rows)
}

/// What becomes of each tensor; all that llama.cpp asks for is there and as `config.json` says.
fn places(
    model: &Model,
    architecture: Architecture,
    numbers: &Numbers,
    rows: usize,
) -> Result<Vec<Option<Place>>, String> {
    let (blocks, head) = (numbers.count("num_hidden_layers"), numbers.head());
    let mut places = Vec::with_capacity(model.tensors.len());
    let mut names: HashMap<String, &str> = HashMap::new();
    for tensor in &model.tensors {
        if names::is_computed(&tensor.name) {
            places.push(None);
            continue;
        }
        let shown = || quoted(&tensor.name);
        let Some(known) = names::of(&tensor.name, architecture) else {
            return Err(format!("tensor {} has no place in llama.cpp's {}", shown(), architecture.name()));
        };
        if let Some(block) = known.block.filter(|&block| block as usize >= blocks) {
            return Err(format!("tensor {} is in block {block}, and config.json has {blocks} blocks", shown()));
        }
        let plain = matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) && !tensor.is_coded();
        if !plain {
            let dtype = tensor.type_name();
            return Err(format!("tensor {} is {dtype}; real numbers (F32, F16, BF16) are converted", shown()));
        }
        let wanted: Vec<usize> = known.part.shape.iter().map(|&length| numbers.length(length, rows)).collect();
        if tensor.shape != wanted {
            let found = &tensor.shape;
            return Err(format!("tensor {} has the shape {found:?}, and config.json makes it {wanted:?}", shown()));
        }
        let place = Place::of(known, architecture, head);
        if let Some(first) = names.insert(place.name.clone(), &tensor.name) {
            return Err(format!("tensors {} and {} are one tensor in llama.cpp", quoted(first), shown()));
        }
        places.push(Some(place));
    }
    complete(&names, architecture, blocks)?;
    Ok(places)
}

/// That nothing is missing.
fn complete(names: &HashMap<String, &str>, architecture: Architecture, blocks: usize) -> Result<(), String> {
    let missing = |part: &&'static names::Part, block: Option<u32>| {
        part.needed.contains(&architecture) && !names.contains_key(&Known { part, block }.name())
    };
    let absent = |name: String| Err(format!("there is no tensor model.{name}, which {} needs", architecture.name()));
    if let Some(part) = names::WHOLE.iter().find(|part| missing(part, None)) {
        return absent(part.name.to_owned());
    }
    // The first block that lacks something ends this, so an absurd number of them costs nothing.
    for block in 0..u32::try_from(blocks).unwrap_or(u32::MAX) {
        if let Some(part) = names::OF_BLOCK.iter().find(|part| missing(part, Some(block))) {
            return absent(format!("layers.{block}.{}", part.name));
        }
    }
    Ok(())
}
