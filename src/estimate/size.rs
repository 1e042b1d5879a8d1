//! Three sizes of a tensor, as formulas: stored in the target, sparse at best, and the entropy bound.

use super::packing::Packing;
use crate::formats::Dtype;
use crate::formats::assembly::{Assembly, Holds};
use crate::formats::packed_layout::{Code, Numbers, code_bytes};
use crate::kernels::entropy::Gaps;
use crate::kernels::ggml::BlockType;
use crate::kernels::layout::Unit;
use crate::model::{Format, Tensor};
use crate::recipe::{Outcome, Quantize, Scheme, Target};

/// Where the stored bytes of a tensor go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Codes or elements.
    pub values: u64,
    /// Scales.
    pub scales: u64,
    /// Zero points.
    pub zero_points: u64,
    /// The mask of nonzeros.
    pub mask: u64,
    /// Gaps between nonzeros.
    pub indices: u64,
    /// Codebooks.
    pub codebook: u64,
    /// Factors whose product stands for the tensor, with all that belongs to them.
    pub factors: u64,
    /// A tensor that is stored as it was.
    pub untouched: u64,
}

impl Sizes {
    /// The payload.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// The parts by name, in the order in which they are shown.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, u64); 8] {
        [
            ("values", self.values),
            ("scales", self.scales),
            ("zero points", self.zero_points),
            ("mask", self.mask),
            ("indices", self.indices),
            ("codebook", self.codebook),
            ("factors", self.factors),
            ("untouched", self.untouched),
        ]
    }

    /// Sums part by part.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            values: self.values + other.values,
            scales: self.scales + other.scales,
            zero_points: self.zero_points + other.zero_points,
            mask: self.mask + other.mask,
            indices: self.indices + other.indices,
            codebook: self.codebook + other.codebook,
            factors: self.factors + other.factors,
            untouched: self.untouched + other.untouched,
        }
    }
}

/// The code that a scheme stores in `packed`.
#[must_use]
pub fn code_of(scheme: &Scheme) -> Code {
    let unit = |row: bool| if row { Unit::Row } else { Unit::Tensor };
    match scheme.quantize {
        _ if scheme.factorize.is_some() => Code::Element,
        Some(Quantize::Int { bits, unit, asymmetric, .. }) => Code::Integer { bits, unit, zero_points: asymmetric },
        // Three levels are the codes −1, 0 and 1 of two bits.
        Some(Quantize::Ternary { row }) => Code::Integer { bits: 2, unit: unit(row), zero_points: false },
        Some(Quantize::Fp8 { e5m2, row: true }) => {
            Code::Number { table: if e5m2 { Numbers::Fp8E5m2 } else { Numbers::Fp8E4m3 }, unit: Unit::Row }
        }
        Some(Quantize::Mxfp4) => Code::Number { table: Numbers::Mxfp4, unit: Unit::Group(32) },
        Some(Quantize::Nvfp4) => Code::Number { table: Numbers::Nvfp4, unit: Unit::Group(16) },
        Some(Quantize::Nf4(size)) => Code::Number { table: Numbers::Nf4, unit: Unit::Group(size) },
        Some(Quantize::Binary { row }) => Code::Number { table: Numbers::Binary, unit: unit(row) },
        Some(Quantize::Codebook { k, row, .. }) => Code::Codebook { entries: k, unit: unit(row) },
        None | Some(Quantize::F16 | Quantize::Bf16 | Quantize::Fp8 { row: false, .. } | Quantize::Gguf(_)) => {
            Code::Element
        }
    }
}

/// Bits of one code of a tensor under a scheme; those of an element where there are no codes.
#[must_use]
pub fn code_bits(tensor: &Tensor, scheme: &Scheme) -> u64 {
    match scheme.quantize {
        Some(Quantize::Gguf(block_type)) => block_type.code_bits().into(),
        _ => code_of(scheme).bits(stored_dtype(tensor.dtype, scheme)),
    }
}

/// Whether an element that is 0 has a code: what was pruned before a codebook was fitted has none.
pub fn zero_codes(of: Outcome<'_>) -> bool {
    !of.is_pruned() || !matches!(of.scheme.quantize, Some(Quantize::Codebook { .. }))
}

/// The dtype that a tensor has in the artifact: a plain cast changes it, nothing else does. What is cast of a factorized
/// tensor are its factors.
#[must_use]
pub fn stored_dtype(dtype: Dtype, scheme: &Scheme) -> Dtype {
    match scheme.quantize {
        _ if scheme.factorize.is_some() => dtype,
        // What blocks hold is read as f32.
        Some(Quantize::Gguf(_)) => Dtype::F32,
        Some(Quantize::F16) => Dtype::F16,
        Some(Quantize::Bf16) => Dtype::BF16,
        Some(Quantize::Fp8 { e5m2: false, row: false }) => Dtype::F8_E4M3,
        Some(Quantize::Fp8 { e5m2: true, row: false }) => Dtype::F8_E5M2,
        _ => dtype,
    }
}

/// Stored bytes of one tensor. In `packed` they go by its packing; without one every element is taken to have a code of
/// full width, which is the most that they can be.
#[must_use]
pub fn stored(of: Outcome<'_>, target: Target, packing: Option<&Packing>) -> Sizes {
    if of.left_out {
        return Sizes::default();
    }
    if of.is_kept() {
        let untouched = if target == Target::Gguf { gguf_bytes(of) } else { kept_bytes(of.tensor, target) };
        return Sizes { untouched, ..Sizes::default() };
    }
    if let Some(assembly) = of.assembly(target) {
        return assembled(assembly, of);
    }
    let dtype = stored_dtype(of.tensor.dtype, of.scheme);
    if target == Target::Gguf {
        let (values, scales) = block_bytes(stored_type(of), of.elements());
        return Sizes { values, scales, ..Sizes::default() };
    }
    if target.is_dense() {
        return Sizes { values: code_bytes(of.elements(), dtype.bits()), ..Sizes::default() };
    }
    let geometry = of.geometry();
    let dense = || Packing::dense(code_of(of.scheme), geometry).matrix;
    let parts = packing.map_or_else(dense, |packing| packing.matrix).parts(dtype, geometry);
    let len = |r: std::ops::Range<u64>| r.end - r.start;
    Sizes {
        values: len(parts.code_table) + len(parts.rest) + len(parts.codes),
        scales: len(parts.scales),
        zero_points: len(parts.zero_points),
        mask: len(parts.mask),
        codebook: len(parts.codebooks),
        indices: len(parts.index_table) + len(parts.blocks) + len(parts.indices),
        ..Sizes::default()
    }
}

/// Bytes of a weight in a runtime's layout. Its shape is told beside the codes, and counts with them.
fn assembled(assembly: Assembly, of: Outcome<'_>) -> Sizes {
    let mut sizes = Sizes::default();
    for part in assembly.parts(of.tensor.dtype, of.shape) {
        let place = match part.holds {
            Holds::Codes | Holds::Shape | Holds::Groups => &mut sizes.values,
            Holds::Scales | Holds::Global => &mut sizes.scales,
            Holds::Biases | Holds::ZeroPoints => &mut sizes.zero_points,
        };
        *place += part.bytes();
    }
    sizes
}

/// The type that a tensor has in a GGUF artifact. What comes from a GGUF file stays as it is; what is converted follows
/// llama.cpp, where everything of one dimension is F32.
#[must_use]
pub fn stored_type(of: Outcome<'_>) -> BlockType {
    let tensor = of.tensor;
    let converted = tensor.container != Format::Gguf;
    match of.scheme.quantize {
        Some(Quantize::Gguf(block_type)) if !of.is_kept() => block_type,
        _ if converted && tensor.shape.len() < 2 && tensor.dtype.is_float() => BlockType::F32,
        _ if of.is_kept() => tensor.block_type.unwrap_or_else(|| plain_type(tensor.dtype)),
        _ => plain_type(stored_dtype(tensor.dtype, of.scheme)),
    }
}

/// GGUF's type for plain elements of a dtype; what it has no type for becomes F32.
const fn plain_type(dtype: Dtype) -> BlockType {
    match dtype {
        Dtype::F16 => BlockType::F16,
        Dtype::BF16 => BlockType::BF16,
        Dtype::F64 => BlockType::F64,
        Dtype::I8 => BlockType::I8,
        Dtype::I16 => BlockType::I16,
        Dtype::I32 => BlockType::I32,
        Dtype::I64 => BlockType::I64,
        _ => BlockType::F32,
    }
}

/// Bytes of codes, and of everything else, in blocks of so many values.
fn block_bytes(block_type: BlockType, elements: u64) -> (u64, u64) {
    let blocks = elements / block_type.elements() as u64;
    let (all, codes) = (block_type.bytes() as u64, block_type.code_bytes() as u64);
    (blocks * codes, blocks * (all - codes))
}

/// Payload of a tensor in a GGUF artifact.
#[must_use]
pub fn gguf_bytes(of: Outcome<'_>) -> u64 {
    if of.left_out {
        return 0;
    }
    let (codes, rest) = block_bytes(stored_type(of), of.elements());
    codes + rest
}

/// Payload of a kept tensor: its own, except that a target which has no such code spells it out.
#[must_use]
pub fn kept_bytes(tensor: &Tensor, target: Target) -> u64 {
    let as_it_lies = match target {
        _ if tensor.assembly().is_some_and(|assembly| target.takes(assembly)) => true,
        Target::Packed => tensor.block_type.is_none() && tensor.assembly().is_none(),
        Target::Safetensors | Target::Gguf | Target::CompressedTensors | Target::Mlx => tensor.is_plain(),
    };
    if as_it_lies { tensor.bytes() } else { code_bytes(tensor.elements() as u64, tensor.dtype.bits()) }
}

/// What the two bounds are computed from.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    /// Gaps of zeros before nonzeros in the flattened tensor.
    pub gaps: Gaps,
    /// n·H0 of the stored codes, in bits; `None` when the elements are not codes.
    pub code_entropy: Option<f64>,
}

/// The sparse bound: side data and the least of dense codes, mask with codes, or relative indices.
#[must_use]
pub fn sparse_bytes(of: Outcome<'_>, content: &Content) -> u64 {
    let n = of.elements();
    let (side, bits) = side_and_bits(of);
    let dense = code_bytes(n, bits);
    let mask = n.div_ceil(8) + code_bytes(content.gaps.nonzero(), bits);
    side + dense.min(mask).min(content.gaps.index_bytes(bits))
}

/// The entropy bound: side data and the Shannon bound of the codes; for plain elements that of the mask, and the
/// nonzero elements in full.
#[must_use]
pub fn entropy_bytes(of: Outcome<'_>, content: &Content) -> u64 {
    let n = of.elements();
    let (side, bits) = side_and_bits(of);
    let bytes = |bits: f64| (bits / 8.0).ceil() as u64;
    if let Some(entropy) = content.code_entropy {
        side + bytes(entropy)
    } else {
        let z = content.gaps.nonzero();
        side + bytes(crate::kernels::entropy::shannon_bits([z, n - z])) + code_bytes(z, bits)
    }
}

fn side_and_bits(of: Outcome<'_>) -> (u64, u64) {
    let dtype = stored_dtype(of.tensor.dtype, of.scheme);
    if let Some(Quantize::Gguf(block_type)) = of.scheme.quantize {
        return (block_bytes(block_type, of.elements()).1, block_type.code_bits().into());
    }
    let code = code_of(of.scheme);
    (code.side_bytes(dtype, of.geometry()).total(), code.bits(dtype))
}

/// The share of zeros past which a mask pays at these bits: more than one bit per element saved.
#[must_use]
pub fn break_even(bits: u64) -> f64 {
    1.0 / bits as f64
}

/// Bits per stored value of a tensor under a scheme, scales and zero points counted in: by the formula, or as a target stores
/// them in a layout of its own.
#[must_use]
pub fn bits_with_side(tensor: &Tensor, scheme: &Scheme, target: Target) -> f64 {
    let of = Outcome::whole(tensor, scheme);
    let n = tensor.elements().max(1) as f64;
    if of.assembly(target).is_some() {
        return 8.0 * stored(of, target, None).total() as f64 / n;
    }
    let (side, bits) = side_and_bits(of);
    bits as f64 + 8.0 * side as f64 / n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::gaps::WIDTHS;

    /// Percent of 32-bit weights that a pruned layer with 2^`code` shared values takes with relative indices of `index` bits.
    fn percent(n: u32, kept: f64, code: u32, index: u32) -> f64 {
        let nonzeros = (f64::from(n) * kept).round();
        let gaps = Gaps::expected(n.into(), nonzeros as u64).to_parts();
        let fillers = &gaps[gaps.len() - WIDTHS.count()..];
        let entries = nonzeros + fillers[(index - WIDTHS.start()) as usize] as f64;
        let bits = entries * f64::from(code + index) + 32.0 * f64::from(1_u32 << code);
        100.0 * bits / (32.0 * f64::from(n))
    }

    #[test]
    fn the_sparse_formula_gives_what_deep_compression_printed() {
        // Han, Mao and Dally (ICLR 2016), tables 2 to 5, pruning and quantization alone ("P+Q"): layer, weights, kept, code and
        // index bits; percent by the formula, and as the paper has it.
        for (layer, n, kept, code, index, wanted, printed) in [
            ("LeNet-5 conv1", 500, 0.66, 8, 5, 78.0, 78.5),
            ("LeNet-5 conv2", 25_000, 0.12, 8, 5, 5.98, 6.0),
            ("LeNet-5 ip1", 400_000, 0.08, 5, 5, 2.69, 2.7),
            ("LeNet-300-100 ip1", 235_200, 0.08, 6, 5, 2.98, 3.1),
            ("LeNet-300-100 ip3", 1_000, 0.26, 6, 5, 15.34, 15.7),
            ("AlexNet conv2", 307_200, 0.38, 8, 4, 14.34, 14.5),
            ("AlexNet fc6", 37_748_736, 0.09, 5, 4, 3.25, 3.0),
        ] {
            let percent = percent(n, kept, code, index);
            assert!((percent - wanted).abs() < 0.06, "{layer}: {percent:.3} %, {wanted} % expected");
            assert!((percent / printed - 1.0).abs() < 0.09, "{layer}: {percent:.3} %, the paper has {printed} %");
        }
    }
}
