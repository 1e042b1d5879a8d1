//! What each target can hold, and what comes nearest to a scheme that it cannot.

use super::runtimes;
use super::scheme::{Quantize, Range, Scheme};
use super::target::Target;
use crate::kernels::ggml::BlockType;
use crate::kernels::layout::Unit;
use crate::model::Model;

impl Target {
    /// The scheme nearest to `scheme` that this target holds, whatever the tensor; `None` when it holds the scheme itself.
    #[must_use]
    pub fn nearest(self, scheme: &Scheme) -> Option<Scheme> {
        match self {
            Self::Gguf => nearest_in_gguf(scheme),
            Self::CompressedTensors | Self::Mlx => runtimes::nearest(self, scheme),
            Self::Safetensors | Self::Packed => {
                let Some(Quantize::Gguf(block_type)) = scheme.quantize else { return None };
                Some(scheme.clone().with_quantize(Some(grid_of(block_type))))
            }
        }
    }

    /// What is put in place of a scheme that the hand makes for a tensor of this shape: itself where the target holds it and
    /// pruned zeros stay, else the nearest of which both are so.
    #[must_use]
    pub fn usable(self, scheme: &Scheme, shape: &[usize]) -> Scheme {
        if self.runtime().is_some() {
            return runtimes::usable(self, scheme, shape);
        }
        let fitted = |scheme: &Scheme| {
            let held = self.nearest(scheme).unwrap_or_else(|| scheme.clone());
            let instead = held.quantize.as_ref().and_then(|quantize| in_blocks(quantize, shape));
            instead.map_or(held.clone(), |instead| held.with_quantize(Some(instead)))
        };
        let mut out = fitted(scheme);
        if let (true, Some(Quantize::Gguf(block_type))) = (out.loses_zeros(), &out.quantize) {
            out.quantize = Some(Quantize::Gguf(with_zero(*block_type)));
            out = fitted(&out);
        }
        out
    }

    /// [`nearest`](Self::nearest) for a tensor of a model that will have this shape, with the reason where the tensor is one.
    #[must_use]
    pub fn nearest_for(self, scheme: &Scheme, model: &Model, index: usize, shape: &[usize]) -> Option<Nearest> {
        let held = self.nearest(scheme);
        let as_held = held.as_ref().unwrap_or(scheme);
        if self.runtime().is_some() {
            let fitted = runtimes::nearest_for(self, as_held, model, index, shape);
            return fitted.or_else(|| held.map(|held| (held, None)));
        }
        match as_held.quantize.as_ref().and_then(|quantize| in_blocks(quantize, shape)) {
            Some(instead) => Some((as_held.clone().with_quantize(Some(instead)), Some("its rows are no whole blocks"))),
            None => held.map(|held| (held, None)),
        }
    }
}

/// What stands for a block type where rows are no whole blocks; `None` where they are, or there are none.
fn in_blocks(quantize: &Quantize, shape: &[usize]) -> Option<Quantize> {
    if let Quantize::Gguf(block_type) = quantize { block_type_for(*block_type, shape) } else { None }
}

/// The nearest scheme, and why the one that was asked for is refused where the tensor is the reason.
pub type Nearest = (Scheme, Option<&'static str>);

/// The integer grid that is nearest to a block type.
pub(super) fn grid_of(block_type: BlockType) -> Quantize {
    use BlockType as T;
    let (bits, asymmetric) = match block_type {
        T::Q8_0 => (8, false),
        T::Q6_K => (6, false),
        T::Q5_K | T::Q5_1 => (5, true),
        T::Q5_0 => (5, false),
        T::Q4_K | T::Q4_1 => (4, true),
        T::Q3_K => (3, false),
        T::Q2_K => (2, true),
        T::TQ1_0 | T::TQ2_0 => (2, false),
        T::MXFP4 => return Quantize::Mxfp4,
        _ => (4, false),
    };
    Quantize::Int { bits, unit: Unit::Group(32), asymmetric, range: Range::Max }
}

/// GGUF holds casts and its own block types. A product of quantized factors has no levels of its own, so the factors go and
/// the block type stays.
fn nearest_in_gguf(scheme: &Scheme) -> Option<Scheme> {
    let quantize = scheme.quantize.clone()?;
    let block_type = match quantize {
        Quantize::F16 | Quantize::Bf16 => return None,
        Quantize::Gguf(_) if scheme.factorize.is_none() => return None,
        Quantize::Gguf(block_type) => block_type,
        Quantize::Int { bits, .. } => of_bits(bits),
        Quantize::Fp8 { .. } => BlockType::Q8_0,
        Quantize::Mxfp4 => BlockType::MXFP4,
        Quantize::Nvfp4 | Quantize::Nf4(_) => BlockType::IQ4_NL,
        Quantize::Ternary { .. } | Quantize::Binary { .. } => BlockType::TQ2_0,
        Quantize::Codebook { k, .. } => of_bits(k.next_power_of_two().trailing_zeros()),
    };
    // What is pruned must stay 0 where there is a choice.
    let block_type = if scheme.prune.is_some() { with_zero(block_type) } else { block_type };
    Some(Scheme { factorize: None, ..scheme.clone().with_quantize(Some(Quantize::Gguf(block_type))) })
}

/// The type that llama.cpp's own mixes use for so many bits.
const fn of_bits(bits: u32) -> BlockType {
    match bits {
        0..=2 => BlockType::Q2_K,
        3 => BlockType::Q3_K,
        4 => BlockType::Q4_K,
        5 => BlockType::Q5_K,
        6 => BlockType::Q6_K,
        _ => BlockType::Q8_0,
    }
}

/// The type of about as many bits that has a level of 0.
const fn with_zero(block_type: BlockType) -> BlockType {
    match block_type {
        BlockType::Q2_K => BlockType::Q3_K,
        BlockType::Q4_K | BlockType::Q4_1 | BlockType::IQ4_NL | BlockType::IQ4_XS => BlockType::Q4_0,
        BlockType::Q5_K | BlockType::Q5_1 => BlockType::Q5_0,
        other => other,
    }
}

/// What llama.cpp takes where the rows of a tensor are no whole blocks (`tensor_type_fallback` in `llama-quant.cpp`); `None`
/// where they are.
fn block_type_for(block_type: BlockType, shape: &[usize]) -> Option<Quantize> {
    use BlockType as T;
    let row = shape.last().copied().unwrap_or(1);
    let fits = |block_type: T| row.is_multiple_of(block_type.elements());
    if fits(block_type) {
        return None;
    }
    let smaller = match block_type {
        T::Q2_K | T::Q3_K | T::TQ1_0 | T::TQ2_0 => T::Q4_0,
        T::Q4_K => T::Q5_0,
        T::Q5_K => T::Q5_1,
        T::Q6_K => T::Q8_0,
        T::IQ4_XS => T::IQ4_NL,
        other => other,
    };
    Some(if fits(smaller) { Quantize::Gguf(smaller) } else { Quantize::F16 })
}
