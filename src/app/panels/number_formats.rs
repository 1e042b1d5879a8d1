//! The number formats that the quantize column offers: those that the target holds, each with a word about it.

use crate::kernels::ggml::BlockType;
use crate::kernels::layout::Unit;
use crate::model::Tensor;
use crate::recipe::{Quantize, Range, Target};

/// What integers begin with when they are chosen.
pub(super) const FIRST_BITS: u32 = 4;

/// One line of the list.
pub(super) struct Format {
    /// Its name.
    pub label: &'static str,
    /// What it is, and who said so.
    pub about: &'static str,
    /// What it begins with.
    pub first: Quantize,
}

const fn format(label: &'static str, about: &'static str, first: Quantize) -> Format {
    Format { label, about, first }
}

const INTEGER: Quantize =
    Quantize::Int { bits: FIRST_BITS, unit: Unit::Row, asymmetric: false, range: Range::Max, a8: false };
const F16: Format =
    format("f16", "A plain cast to IEEE binary16: the tensor is stored in that dtype, in every target", Quantize::F16);
const BF16: Format =
    format("bf16", "A plain cast to bfloat16: the tensor is stored in that dtype, in every target", Quantize::Bf16);

static LEVELS: [Format; 11] = [
    format("integer", "2 to 8 bits on an even grid, with a scale per tensor, row or group", INTEGER),
    F16,
    BF16,
    format(
        "fp8 E4M3",
        "8-bit float, 3 bits of mantissa, up to 448 (OCP, Micikevicius et al. 2022)",
        Quantize::Fp8 { e5m2: false, row: true },
    ),
    format(
        "fp8 E5M2",
        "8-bit float, 2 bits of mantissa, up to 57,344 (OCP, Micikevicius et al. 2022)",
        Quantize::Fp8 { e5m2: true, row: true },
    ),
    format("MXFP4", "4-bit floats, blocks of 32 share a power of two (OCP Microscaling)", Quantize::Mxfp4),
    format("NVFP4", "4-bit floats, blocks of 16 share an fp8 scale, the tensor one more (NVIDIA)", Quantize::Nvfp4),
    format(
        "NF4",
        "16 levels at the quantiles of a normal distribution (QLoRA, Dettmers et al. 2023)",
        Quantize::Nf4(64),
    ),
    format(
        "ternary",
        "−α, 0, +α by the threshold of Ternary Weight Networks (Li et al. 2016)",
        Quantize::Ternary { row: false },
    ),
    format(
        "binary",
        "−α, +α with α the mean magnitude (XNOR-Net, Rastegari et al. 2016)",
        Quantize::Binary { row: false },
    ),
    format(
        "codebook",
        "K shared values by k-means (Deep Compression, Han et al. 2016)",
        Quantize::Codebook { k: 16, row: false, best: false },
    ),
];

const fn block(label: &'static str, about: &'static str, block_type: BlockType) -> Format {
    format(label, about, Quantize::Gguf(block_type))
}

static BLOCKS: [Format; 17] = [
    block("Q4_K", "4.5 bits: 256 weights in 8 parts, each with a step and a minimum of 6 bits", BlockType::Q4_K),
    F16,
    BF16,
    block("Q8_0", "8.5 bits: blocks of 32 with one scale; next to nothing is lost", BlockType::Q8_0),
    block("Q6_K", "6.6 bits: 256 weights in 16 parts, each with a step of 8 bits", BlockType::Q6_K),
    block("Q5_K", "5.5 bits: as Q4_K, with a fifth bit", BlockType::Q5_K),
    block("Q3_K", "3.4 bits: 256 weights in 16 parts, each with a step of 6 bits", BlockType::Q3_K),
    block("Q2_K", "2.6 bits: 256 weights in 16 parts, each with a step and a minimum of 4 bits", BlockType::Q2_K),
    block("Q5_1", "6 bits: blocks of 32 with a step and a minimum", BlockType::Q5_1),
    block("Q5_0", "5.5 bits: blocks of 32 with one scale", BlockType::Q5_0),
    block("Q4_1", "5 bits: blocks of 32 with a step and a minimum", BlockType::Q4_1),
    block("Q4_0", "4.5 bits: blocks of 32 with one scale", BlockType::Q4_0),
    block("IQ4_NL", "4.5 bits: blocks of 32 on sixteen uneven levels", BlockType::IQ4_NL),
    block("IQ4_XS", "4.3 bits: 256 weights in 8 parts on the same uneven levels", BlockType::IQ4_XS),
    block("TQ1_0", "1.7 bits: ternary; for weights that were trained so", BlockType::TQ1_0),
    block("TQ2_0", "2.1 bits: ternary; for weights that were trained so", BlockType::TQ2_0),
    block("MXFP4", "4.3 bits: 4-bit floats, blocks of 32 share a power of two", BlockType::MXFP4),
];

const fn groups(size: usize) -> Quantize {
    Quantize::Int { bits: FIRST_BITS, unit: Unit::Group(size), asymmetric: false, range: Range::Max, a8: false }
}

static VLLM: [Format; 7] = [
    format("integer", "4 or 8 bits on an even grid, weights alone, with a scale per row or group", groups(128)),
    format(
        "int8 W8A8",
        "8-bit integers with a scale per row; activations are rounded to 8 bits as they come, which no number here tells",
        Quantize::Int { bits: 8, unit: Unit::Row, asymmetric: false, range: Range::Max, a8: true },
    ),
    F16,
    BF16,
    format(
        "fp8 E4M3",
        "8-bit float with a scale per row; activations are rounded to it as they come",
        Quantize::Fp8 { e5m2: false, row: true },
    ),
    format("MXFP4", "4-bit floats, blocks of 32 share a power of two (OCP Microscaling)", Quantize::Mxfp4),
    format("NVFP4", "4-bit floats, blocks of 16 share an fp8 scale, the tensor one more (NVIDIA)", Quantize::Nvfp4),
];

static MLX: [Format; 3] =
    [format("integer", "2 to 6 or 8 bits on an even grid, with a scale and a bias per group", groups(64)), F16, BF16];

/// The formats of a target, the one that quantization begins with first.
pub(super) fn formats(target: Target) -> &'static [Format] {
    match target {
        Target::Gguf => &BLOCKS,
        Target::CompressedTensors => &VLLM,
        Target::Mlx => &MLX,
        Target::Safetensors | Target::Packed => &LEVELS,
    }
}

/// The line that a scheme's format is on.
pub(super) fn place_of(formats: &[Format], quantize: &Quantize) -> Option<usize> {
    let same = |format: &Format| match (&format.first, quantize) {
        (Quantize::Fp8 { e5m2: a, .. }, Quantize::Fp8 { e5m2: b, .. }) => a == b,
        (Quantize::Gguf(a), Quantize::Gguf(b)) => a == b,
        (Quantize::Int { a8: a, .. }, Quantize::Int { a8: b, .. }) => a == b,
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    };
    formats.iter().position(same)
}

/// Why a tensor's rows cannot take a format.
pub(super) fn misfit(format: &Format, tensor: &Tensor) -> Option<&'static str> {
    let Quantize::Gguf(block_type) = format.first else { return None };
    let row = tensor.shape.last().copied().unwrap_or(1);
    match block_type.elements() {
        size if row.is_multiple_of(size) => None,
        256 => Some("Its rows are no whole blocks of 256"),
        _ => Some("Its rows are no whole blocks of 32"),
    }
}
