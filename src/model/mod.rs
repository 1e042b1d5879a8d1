//! Meaning: what was opened, tensor by tensor, with the role that each plays and a lazily read view of its values.
//!
//! A [`Model`] is read-only and never copied whole: its bytes stay in the file and come in chunk by chunk. Names give a
//! tensor its [`Role`], its layer and its block; a name that nobody knows is role *other* and works like any other.

mod aliases;
mod assembled;
mod blocks;
pub mod config;
pub mod conversion;
pub mod counterpart;
mod demo;
mod folder;
mod gather;
pub mod graph;
pub mod groups;
pub mod modules;
#[cfg(test)]
mod named;
mod onnx;
mod open;
mod presets;
mod product;
pub mod roles;
pub mod split;
mod tried;
mod turned;
mod units;
mod values;

pub use assembled::Place;
pub use config::Config;
pub use conversion::Conversion;
pub use counterpart::{Beside, Counterpart, RowOrder, counterparts};
pub use demo::DEMOS;
pub use graph::Graph;
pub use open::{OpenOptions, open};
pub use roles::Role;
pub use values::Scratch;

use crate::formats::packed_layout::{Code, Coding, Stored};
use crate::formats::source::Access;
use crate::formats::{Dtype, Source, gguf};
use crate::kernels::ggml::BlockType;
use crate::kernels::layout::Geometry;
use crate::kernels::svd::Shelf;
use assembled::Assembled;
use blocks::Blocks;
use product::{Pairs, Product};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where a model came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// One file.
    File(PathBuf),
    /// A folder in the Hugging Face layout.
    Folder(PathBuf),
    /// An embedded demo, by its short name.
    Demo(&'static str),
}

/// The container that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Safetensors, one file or several.
    Safetensors,
    /// Spokeshave's own container.
    Packed,
    /// llama.cpp's container, one file or split.
    Gguf,
    /// What PyTorch saves: a pickle with its storages, in a zip archive.
    PyTorch,
    /// A graph of ONNX with its initializers.
    Onnx,
    /// NumPy's arrays in a zip archive.
    Npz,
    /// One array of NumPy.
    Npy,
}

impl Format {
    /// The name used in commands and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Packed => "packed",
            Self::Gguf => "gguf",
            Self::PyTorch => "pytorch",
            Self::Onnx => "onnx",
            Self::Npz => "npz",
            Self::Npy => "npy",
        }
    }
}

/// An opened model.
#[derive(Debug)]
pub struct Model {
    /// A short name for people.
    pub name: String,
    /// Where it came from.
    pub origin: Origin,
    /// The container.
    pub format: Format,
    /// The files, in the order they were named.
    pub shards: Vec<Source>,
    /// Text that the files carry about themselves.
    pub metadata: BTreeMap<String, String>,
    /// What a GGUF file says beside its tensors; of split files, the first.
    pub gguf: Option<Box<gguf::Head>>,
    /// Tensors, bytewise by name.
    pub tensors: Vec<Tensor>,
    /// Bytes of all shards and of the index.
    pub bytes: u64,
    /// What was odd but not wrong when it was opened.
    pub warnings: Vec<String>,
    /// Positions of tensors by their other names.
    aliases: BTreeMap<String, usize>,
    /// How it was asked to be read; what is made of it is read back in the same way.
    pub access: Access,
    /// Decompositions of its matrices that are kept for the next question.
    pub decompositions: Shelf,
    /// Factors that were decoded and are kept for the next part of a tensor.
    pairs: Pairs,
    /// How it becomes a GGUF file, or why it does not; found when first asked for.
    conversion: OnceLock<Result<Conversion, String>>,
    /// Which tensors share a dimension; found when first asked for.
    graph: OnceLock<Read>,
    /// Which tensors vLLM and MLX make one of; found when first asked for.
    joined: [OnceLock<Vec<Vec<usize>>>; 2],
}

/// One tensor of a model.
#[derive(Debug)]
pub struct Tensor {
    /// Its full name.
    pub name: String,
    /// Its other names, bytewise: weights that a file ties to it.
    pub also: Vec<String>,
    /// Element type; for integer-coded tensors of `packed`, the one it had before; F32 for GGML's blocks; that of the scales for
    /// a weight that lies in several tensors of the files.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// What it does in the network.
    pub role: Role,
    /// The module path: the name without its last part.
    pub layer: String,
    /// The block it belongs to, where names count blocks.
    pub block: Option<u32>,
    /// How its payload is coded, when it is not plain elements.
    pub coding: Option<Coding>,
    /// The container that it lies in.
    pub container: Format,
    /// GGML's block type, when it is stored in blocks.
    pub block_type: Option<BlockType>,
    /// Where it lies, when it is put together from several tensors of the files.
    assembled: Option<Box<Assembled>>,
    /// Whether it holds codes with a scale tensor beside it, so that its values alone mean nothing.
    pub beside_scale: bool,
    /// Whether it is such a scale or zero point: numbers, but part of somebody's quantization.
    pub side_of_codes: bool,
    /// Whether its codes may be quantized anew: it then counts by its dequantized values.
    requantized: bool,
    /// The two matrices whose product it is, when it is stored as such.
    product: Option<Box<Product>>,
    shard: usize,
    range: Range<u64>,
    /// Where its codes are found, block by block; made when it is first read.
    blocks: OnceLock<Blocks>,
}

impl Tensor {
    /// Elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Which of the model's files it lies in, by position.
    #[must_use]
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Where its payload lies in that file; its codes, of one that lies in several tensors.
    #[must_use]
    pub fn place(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Bytes of its payload in the files, with the scales of one that lies in several tensors.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self.places() {
            [] => self.range.end - self.range.start,
            places => places.iter().map(Place::bytes).sum(),
        }
    }

    /// What its file calls the type of its elements: GGML's block type, what a runtime's codes are, or the dtype.
    #[must_use]
    pub fn type_name(&self) -> Cow<'static, str> {
        match (self.assembly(), &self.coding) {
            (Some(assembly), _) => assembly.to_string().into(),
            (None, Some(coding)) if self.is_coded() => coding.scheme.clone().into(),
            _ => self.block_type.map_or(self.dtype.name(), BlockType::name).into(),
        }
    }

    /// Whether its payload is plain elements of its dtype.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.coding.is_none() && self.block_type.is_none() && self.assembled.is_none()
    }

    /// Rows and columns.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        Geometry::of(&self.shape)
    }

    /// Whether its values are integer codes of somebody's quantization rather than numbers of their own.
    #[must_use]
    pub fn is_coded(&self) -> bool {
        let packed = self.coding.as_ref().is_some_and(|coding| match coding.stored {
            Stored::Codes(matrix) => matrix.code != Code::Element,
            Stored::Factors(_) => true,
        });
        packed
            || self.block_type.is_some()
            || self.assembled.is_some()
            || self.beside_scale
            || self.dtype == Dtype::F8_E8M0
    }

    /// Whether it counts as a float source: real numbers, and not stored as codes, or codes that may be quantized anew.
    #[must_use]
    pub fn is_float_source(&self) -> bool {
        self.dtype.is_float() && (!self.is_coded() || self.requantized)
    }

    /// Whether a line that names it in full may touch it: a float source that is not part of a quantization.
    #[must_use]
    pub fn is_touchable(&self) -> bool {
        self.is_float_source() && !self.side_of_codes
    }

    /// Whether a glob or regex may touch it: a weight matrix of a float dtype.
    #[must_use]
    pub fn is_weight_matrix(&self) -> bool {
        self.shape.len() >= 2 && self.is_touchable() && self.role.is_weight()
    }

    /// Whether it is a weight matrix to look at: one that may be touched, or the codes of one with the values that they stand for.
    #[must_use]
    pub fn shows_weights(&self) -> bool {
        self.shape.len() >= 2 && self.dtype.is_float() && !self.side_of_codes && self.role.is_weight()
    }

    /// Why a glob or regex leaves it alone, in words; `None` for a weight matrix.
    #[must_use]
    pub fn why_left_alone(&self) -> Option<&'static str> {
        match () {
            () if self.is_weight_matrix() => None,
            () if self.is_coded() => Some("it is stored as codes"),
            () if self.side_of_codes => Some("it is a scale or zero point beside codes"),
            () if !self.dtype.is_float() => Some("its dtype is not float"),
            () if !self.role.is_weight() => Some(self.role.name()),
            () => Some("it has fewer than two dimensions"),
        }
    }
}

impl Model {
    /// The same model with tensors that are stored as codes open to every scheme, as far as their values can be read: they
    /// count by what they dequantize to.
    #[must_use]
    pub fn requantizing(mut self) -> Self {
        self.tensors.iter_mut().for_each(|tensor| tensor.requantized = !tensor.is_plain());
        self
    }

    /// Whether some tensor is stored as codes that could be quantized anew, and may not be.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.tensors.iter().any(|tensor| !tensor.is_plain() && tensor.is_coded() && !tensor.requantized)
    }

    /// Elements of all tensors, buffers included.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(|t| t.elements() as u64).sum()
    }

    /// The position of a tensor by its full name, or by another of its names.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        let own = self.tensors.binary_search_by(|t| t.name.as_str().cmp(name)).ok();
        own.or_else(|| self.aliases.get(name).copied())
    }

    /// Which tensors share a dimension, as far as names, shapes and a config beside the weights tell.
    pub fn graph(&self) -> &Graph {
        &self.read_graph().0
    }

    /// The config beside the weights, as it was when the graph was first asked for.
    pub fn config(&self) -> Option<&Config> {
        self.read_graph().1.as_ref()
    }

    /// Whether its files are named as parts of a set, and not all of that set are among them.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        let files: Vec<&Path> = self.shards.iter().map(Source::path).collect();
        folder::told_missing_parts(&files).is_some()
    }

    /// Why the config that stands beside the weights is not read; `None` where it is, or none stands there.
    pub fn config_trouble(&self) -> Option<&str> {
        self.read_graph().2.as_deref()
    }

    /// How a model that is not GGUF becomes a GGUF file.
    ///
    /// # Errors
    /// Why it does not, in words.
    pub fn conversion(&self) -> Result<&Conversion, &str> {
        self.conversion.get_or_init(|| Conversion::of(self)).as_ref().map_err(String::as_str)
    }

    /// How it becomes a GGUF file; `None` for one that is GGUF already, or does not become one.
    pub fn converted(&self) -> Option<&Conversion> {
        if self.format == Format::Gguf { None } else { self.conversion().ok() }
    }

    fn read_graph(&self) -> &Read {
        self.graph.get_or_init(|| {
            let (config, trouble) = match Config::beside(&self.origin) {
                Ok(config) => (config, None),
                Err(trouble) => (None, Some(trouble)),
            };
            let of_pairs = self.gguf.as_ref().and_then(|head| Config::of_pairs(&head.pairs));
            let of_network = if self.gguf.is_some() { of_pairs.as_ref() } else { config.as_ref() };
            (Graph::of(&self.tensors, of_network), config, trouble)
        })
    }

    /// Whether this is an embedded demo.
    #[must_use]
    pub fn is_demo(&self) -> bool {
        matches!(self.origin, Origin::Demo(_))
    }

    /// The recipe text that an artifact carries.
    #[must_use]
    pub fn embedded_recipe(&self) -> Option<&str> {
        self.metadata.get(RECIPE_KEY).map(String::as_str)
    }

    /// The mask of a tensor that an artifact carries beside its zeros, as text (see `PACKED.md`).
    #[must_use]
    pub fn carried_mask(&self, tensor: &str) -> Option<&str> {
        self.metadata.get(&mask_key(tensor)).map(String::as_str)
    }

    /// Says so when a file of the model changed since it was opened.
    ///
    /// # Errors
    /// The first file that is not what it was.
    pub fn check_unchanged(&self) -> Result<(), crate::formats::Error> {
        self.shards.iter().try_for_each(Source::check_unchanged)
    }

    /// Does a pass over the weights between two looks at the files, so that its answer is about one state of them. Files
    /// that changed are the reason that is told, whatever else the pass ran into. A file that was deleted is still what it was.
    ///
    /// # Errors
    /// Those of the pass, or that a file changed.
    pub fn steadily<T, E: From<crate::formats::Error>>(&self, pass: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let look = || self.shards.iter().try_for_each(Source::check_steady);
        look()?;
        let result = pass();
        look()?;
        result
    }

    /// The same for a pass over one tensor, by a look at the files that it lies in.
    ///
    /// # Errors
    /// As [`Model::steadily`].
    pub fn steadily_on<T, E: From<crate::formats::Error>>(
        &self,
        tensor: &Tensor,
        pass: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let others = || tensor.places().iter().map(|place| place.shard).filter(|&shard| shard != tensor.shard);
        let look = || {
            self.shards[tensor.shard].check_steady()?;
            others().try_for_each(|shard| self.shards[shard].check_steady())
        };
        look()?;
        let result = pass();
        look()?;
        result
    }
}

/// What is read of the names and the config: the graph, the config, and why one that is there is not read.
type Read = (Graph, Option<Config>, Option<String>);

/// The metadata key under which every artifact carries its recipe.
pub const RECIPE_KEY: &str = "spokeshave.recipe";

/// What the metadata keys of carried masks begin with.
pub const MASK_KEYS: &str = "spokeshave.mask.";

/// The metadata key under which an artifact carries the mask of a tensor.
#[must_use]
pub fn mask_key(tensor: &str) -> String {
    [MASK_KEYS, tensor].concat()
}
