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
                let instead = match scheme.quantize {
                    Some(Quantize::Gguf(block_type)) => grid_of(block_type),
                    // The numbers are the same; that activations are rounded too has no place in these files.
                    Some(Quantize::Int { bits, unit, asymmetric, range, a8: true }) => {
                        Quantize::Int { bits, unit, asymmetric, range, a8: false }
                    }
                    _ => return None,
                };
                Some(scheme.clone().with_quantize(Some(instead)))
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
        let fitted = |scheme: &Scheme| self.shaped(scheme, shape).map_or_else(|| scheme.clone(), |(scheme, _)| scheme);
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
        if !scheme.is_keep() && self.leaves_out(model, index) {
            return Some((Scheme::keep(), Some("llama.cpp computes it itself, so it is left out")));
        }
        if self == Self::Gguf && scheme.quantize.is_some() && stays_as_it_is(&model.tensors[index].name) {
            return Some((scheme.clone().with_quantize(None), Some("llama.cpp reads it in F32 alone")));
        }
        if self.runtime().is_none() {
            return self.shaped(scheme, shape);
        }
        let held = self.nearest(scheme);
        let fitted = runtimes::nearest_for(self, held.as_ref().unwrap_or(scheme), model, index, shape);
        fitted.or_else(|| held.map(|held| (held, None)))
    }

    /// Whether it has no place for a tensor: what llama.cpp computes itself, where a model is converted.
    #[must_use]
    pub fn leaves_out(self, model: &Model, index: usize) -> bool {
        self == Self::Gguf && model.converted().is_some_and(|made| made.places[index].is_none())
    }

    /// The nearest to a scheme for a shape, where nothing else about a tensor matters.
    fn shaped(self, scheme: &Scheme, shape: &[usize]) -> Option<Nearest> {
        if self == Self::Gguf && shape.len() < 2 && scheme.quantize.is_some() {
            let plain = Scheme { factorize: None, ..scheme.clone().with_quantize(None) };
            return Some((plain, Some("llama.cpp computes norms and biases in F32")));
        }
        let held = self.nearest(scheme);
        let as_held = held.as_ref().unwrap_or(scheme);
        match as_held.quantize.as_ref().and_then(|quantize| in_blocks(quantize, shape)) {
            Some(instead) => Some((as_held.clone().with_quantize(Some(instead)), Some("its rows are no whole blocks"))),
            None => held.map(|held| (held, None)),
        }
    }
}

impl Scheme {
    /// The nearest scheme among whose levels is 0.
    #[must_use]
    pub fn with_zero(&self) -> Self {
        let quantize = match &self.quantize {
            Some(Quantize::Binary { row }) => Some(Quantize::Ternary { row: *row }),
            Some(Quantize::Gguf(block_type)) => Some(Quantize::Gguf(with_zero(*block_type))),
            other => other.clone(),
        };
        self.clone().with_quantize(quantize)
    }
}

/// Whether a tensor of a GGUF file is one of the matrices that llama.cpp computes with as they are
/// (`tensor_allows_quantization` in `llama-quant.cpp`): small ones of state spaces, of mixing in time, of routers and positions.
fn stays_as_it_is(name: &str) -> bool {
    const PARTS: [&str; 12] = [
        "_norm.weight",
        "ffn_gate_inp",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "ssm_conv1d",
        "shortconv.conv",
        "attn_rel_b",
        "position_embd",
        "token_types",
        "time_mix_first",
        "time_mix_lerp_fused",
    ];
    const MIXES: [&str; 10] = ["w0", "w1", "w2", "v0", "v1", "v2", "a0", "a1", "a2", "g1"];
    let of_time = name.split_once("time_mix_").is_some_and(|(_, rest)| {
        let part = rest.split('.').next().unwrap_or_default().trim_start_matches("decay_");
        MIXES.contains(&part) || part == "g2"
    });
    let of_states = ["ssm_a", "ssm_d"].iter().any(|part| name.ends_with(part));
    of_time || of_states || PARTS.iter().any(|part| name.contains(part))
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
    Quantize::Int { bits, unit: Unit::Group(32), asymmetric, range: Range::Max, a8: false }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(text: &str) -> Scheme {
        text.parse().unwrap()
    }

    /// The nearest for rows of this length, or the scheme itself.
    fn held(target: Target, text: &str, row: usize) -> String {
        let asked = scheme(text);
        target.shaped(&asked, &[3, row]).map_or(asked, |(nearest, _)| nearest).to_string()
    }

    #[test]
    fn rows_that_are_no_whole_blocks_follow_llama_cpp() {
        // tensor_type_fallback in llama-quant.cpp: rows of 256, of 32 and of neither.
        for (asked, of_32) in [
            ("q2_k", "q4_0"),
            ("q3_k", "q4_0"),
            ("tq1_0", "q4_0"),
            ("tq2_0", "q4_0"),
            ("q4_k", "q5_0"),
            ("q5_k", "q5_1"),
            ("q6_k", "q8_0"),
            ("iq4_xs", "iq4_nl"),
            ("q4_0", "q4_0"),
            ("q8_0", "q8_0"),
            ("iq4_nl", "iq4_nl"),
            ("mxfp4_ggml", "mxfp4_ggml"),
        ] {
            assert_eq!(held(Target::Gguf, asked, 512), asked);
            assert_eq!(held(Target::Gguf, asked, 160), of_32);
            assert_eq!(held(Target::Gguf, asked, 100), "f16");
            let pruned = format!("prune:0.5+{asked}");
            assert_eq!(held(Target::Gguf, &pruned, 160), format!("prune:0.5+{of_32}"));
        }
        assert_eq!(held(Target::Gguf, "bf16", 33), "bf16");
        // The last dimension counts; norms and biases stay as they are.
        let shaped =
            |text: &str, shape: &[usize]| Target::Gguf.shaped(&scheme(text), shape).map(|(nearest, _)| nearest);
        assert_eq!(shaped("q4_k", &[256, 3, 1, 32]), Some(scheme("q5_0")));
        assert_eq!(shaped("prune:0.5+q4_0", &[64]), Some(scheme("prune:0.5")));
        assert_eq!(shaped("f16", &[]), Some(Scheme::keep()));
    }

    #[test]
    fn what_llama_cpp_reads_in_f32_alone_stays() {
        let names = ["blk.0.attn_q.weight", "blk.0.ffn_gate_inp.weight", "blk.0.ssm_conv1d.weight", "blk.0.ssm_a"];
        let mixes = ["blk.0.time_mix_w1.weight", "blk.0.time_mix_decay_w2.weight", "blk.0.time_mix_output.weight"];
        let stays = names.iter().chain(&mixes).map(|name| stays_as_it_is(name)).collect::<Vec<_>>();
        assert_eq!(stays, [false, true, true, true, true, true, false]);
        let shape = &[64_usize, 256][..];
        let model = Model::named(&names.map(|name| (name.to_owned(), shape)), None);
        let nearest =
            |i| Target::Gguf.nearest_for(&scheme("prune:0.5+q8_0"), &model, i, shape).map(|(nearest, _)| nearest);
        let at = |name| model.find(name).unwrap();
        assert_eq!((nearest(at(names[0])), nearest(at(names[1]))), (None, Some(scheme("prune:0.5"))));
    }

    #[test]
    fn what_gguf_does_not_hold_has_a_nearest() {
        for (asked, nearest) in [
            ("int8", "q8_0"),
            ("int7:g64", "q8_0"),
            ("int4", "q4_k"),
            ("int2:asym", "q2_k"),
            ("fp8_e5m2:row", "q8_0"),
            ("mxfp4", "mxfp4_ggml"),
            ("nvfp4", "iq4_nl"),
            ("nf4:g32", "iq4_nl"),
            ("ternary", "tq2_0"),
            ("binary:row", "tq2_0"),
            ("codebook:17", "q5_k"),
            ("codebook:256", "q8_0"),
            ("prune:0.5+int4", "prune:0.5+q4_0"),
            ("prune:0.5+int5", "prune:0.5+q5_0"),
            ("prune:0.5+nf4", "prune:0.5+q4_0"),
            ("rank:2+q4_k", "q4_k"),
            ("rank:2+int4", "q4_k"),
        ] {
            assert_eq!(held(Target::Gguf, asked, 256), nearest, "{asked}");
            assert_eq!(held(Target::Gguf, nearest, 256), nearest, "what is nearest is held");
        }
        for held_as_it_is in ["keep", "prune:0.5", "rank:2", "f16", "rank:2+bf16", "prune:0.5+q4_k"] {
            assert_eq!(held(Target::Gguf, held_as_it_is, 256), held_as_it_is);
        }
    }

    #[test]
    fn block_types_elsewhere_have_a_nearest_grid() {
        for (asked, nearest) in [
            ("q8_0", "int8:g32"),
            ("q4_k", "int4:g32:asym"),
            ("q5_0", "int5:g32"),
            ("q2_k", "int2:g32:asym"),
            ("mxfp4_ggml", "mxfp4"),
            ("prune:0.5+q3_k", "prune:0.5+int3:g32"),
        ] {
            for target in [Target::Safetensors, Target::Packed] {
                assert_eq!(held(target, asked, 100), nearest);
                assert_eq!(held(target, nearest, 100), nearest, "what is nearest is held");
            }
        }
    }

    #[test]
    fn a_level_of_0_is_found_nearby() {
        for (without, with) in
            [("binary", "ternary"), ("q4_k", "q4_0"), ("q5_1", "q5_0"), ("q2_k", "q3_k"), ("iq4_nl", "q4_0")]
        {
            let pruned = |text: &str| scheme(&format!("prune:0.5+{text}"));
            assert!(pruned(without).loses_zeros() && !pruned(with).loses_zeros());
            assert_eq!(pruned(without).with_zero(), pruned(with));
            assert_eq!(scheme(with).with_zero(), scheme(with));
        }
    }
}
