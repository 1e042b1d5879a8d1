//! What compressed-tensors and MLX hold: a few grids, for the weights of linear layers alone (in MLX also of embeddings), each in a
//! layout of its own; and what comes nearest to a scheme that they do not.
//!
//! Integers of compressed-tensors are all weight-only (pack-quantized), also at 8 bits by rows, where int-quantized would be as small: what
//! reads that rounds activations too, and the network would lose more than was estimated. FP8 is served with activations rounded by
//! token, which is what it is taken for.

use super::holds::grid_of;
use super::scheme::{Quantize, Range, Scheme};
use super::{Outcome, Target};
use crate::formats::Dtype;
use crate::formats::assembly::Assembly;
use crate::kernels::convert::{BF16, SmallFloat};
use crate::kernels::layout::Unit;
use crate::model::modules::Runtime;
use crate::model::{Model, Tensor};

/// Columns at least of rows of packed integers: below, a reader cannot tell 4 bits from 8.
const LEAST_COLUMNS: usize = 8;

impl Target {
    /// Who reads it, where codes are put together from several tensors there.
    #[must_use]
    pub const fn runtime(self) -> Option<Runtime> {
        match self {
            Self::CompressedTensors => Some(Runtime::Vllm),
            Self::Mlx => Some(Runtime::Mlx),
            Self::Safetensors | Self::Packed | Self::Gguf => None,
        }
    }

    /// The 16-bit format that scales of a tensor's grids are rounded to before codes are made; `None` where they keep all bits of
    /// the arithmetic.
    #[must_use]
    pub const fn scale_format(self, dtype: Dtype) -> Option<SmallFloat> {
        match (self.runtime(), dtype) {
            (Some(_), Dtype::F16 | Dtype::BF16) => dtype.small(),
            _ => None,
        }
    }

    /// The layout that a quantize step has there; `None` where it has none.
    #[must_use]
    pub const fn assembly(self, quantize: &Quantize) -> Option<Assembly> {
        match (self, quantize) {
            (
                Self::CompressedTensors,
                Quantize::Int {
                    bits: bits @ (4 | 8),
                    unit: unit @ (Unit::Row | Unit::Group(_)),
                    asymmetric: false,
                    ..
                },
            ) => Some(Assembly::Packed { bits: *bits, unit: *unit }),
            (Self::CompressedTensors, Quantize::Fp8 { e5m2: false, row: true }) => {
                Some(Assembly::Fp8 { unit: Unit::Row })
            }
            (Self::CompressedTensors, Quantize::Mxfp4) => Some(Assembly::Mxfp4),
            (Self::CompressedTensors, Quantize::Nvfp4) => Some(Assembly::Nvfp4),
            (Self::Mlx, Quantize::Int { bits: bits @ (2..=6 | 8), unit: Unit::Group(group), .. }) => {
                Some(Assembly::Affine { bits: *bits, group: *group })
            }
            _ => None,
        }
    }
}

impl Outcome<'_> {
    /// The layout that its codes have in a target; `None` where they have none. A tensor that is kept has the one it had.
    #[must_use]
    pub fn assembly(&self, target: Target) -> Option<Assembly> {
        if self.is_kept() {
            return self.tensor.assembly().filter(|&assembly| target.takes(assembly));
        }
        if self.scheme.factorize.is_some() {
            return None;
        }
        target.assembly(self.scheme.quantize.as_ref()?)
    }
}

impl Target {
    /// Whether a weight that lies in such a layout already lies so in this target's files too.
    #[must_use]
    pub fn takes(self, assembly: Assembly) -> bool {
        match self.runtime() {
            None => false,
            Some(runtime) => (runtime == Runtime::Vllm) == assembly.is_of_compressed_tensors(),
        }
    }
}

/// The scheme nearest to one, whatever the tensor; `None` when the target holds it.
pub(super) fn nearest(target: Target, scheme: &Scheme) -> Option<Scheme> {
    let quantize = scheme.quantize.as_ref()?;
    if matches!(quantize, Quantize::F16 | Quantize::Bf16) {
        return None;
    }
    let held = if target.assembly(quantize).is_some() { None } else { Some(nearest_levels(target, quantize)) };
    // A product of quantized factors has no levels of its own, so the factors go.
    let product = scheme.factorize.is_some();
    let instead = || Scheme { factorize: None, ..scheme.clone() };
    match held {
        None => product.then(instead),
        Some(held) => Some(instead().with_quantize(Some(held))),
    }
}

/// The levels that are nearest to some which a target does not have.
fn nearest_levels(target: Target, quantize: &Quantize) -> Quantize {
    let (bits, unit, asymmetric, range) = match *quantize {
        Quantize::Gguf(block_type) => {
            let grid = grid_of(block_type);
            return if target.assembly(&grid).is_some() { grid } else { nearest_levels(target, &grid) };
        }
        Quantize::Fp8 { .. } if target == Target::CompressedTensors => return Quantize::Fp8 { e5m2: false, row: true },
        Quantize::Int { bits, unit, asymmetric, range } => (bits, unit, asymmetric, range),
        Quantize::F16 | Quantize::Bf16 | Quantize::Fp8 { .. } => (8, Unit::Row, false, Range::Max),
        Quantize::Mxfp4 | Quantize::Nvfp4 => (4, Unit::Group(32), false, Range::Max),
        Quantize::Nf4(size) => (4, Unit::Group(size), false, Range::Max),
        Quantize::Ternary { .. } | Quantize::Binary { .. } => (2, Unit::Row, false, Range::Max),
        Quantize::Codebook { k, .. } => (k.next_power_of_two().trailing_zeros(), Unit::Row, false, Range::Max),
    };
    if target == Target::CompressedTensors {
        let unit = if unit == Unit::Tensor { Unit::Row } else { unit };
        return Quantize::Int { bits: if bits <= 4 { 4 } else { 8 }, unit, asymmetric: false, range };
    }
    let bits = if bits >= 7 { 8 } else { bits.max(2) };
    let unit = if let Unit::Group(_) = unit { unit } else { Unit::Group(128) };
    Quantize::Int { bits, unit, asymmetric, range }
}

/// Why a target cannot hold a scheme on a tensor, and the nearest that it can; `None` where it can. `held` is the scheme as far as
/// the target has it at all, `shape` that of the tensor when everything is removed that is.
pub(super) fn nearest_for(
    target: Target,
    held: &Scheme,
    model: &Model,
    index: usize,
    shape: &[usize],
) -> Option<(Scheme, Option<&'static str>)> {
    let (runtime, quantize) = (target.runtime()?, held.quantize.as_ref()?);
    let (assembly, tensor) = (target.assembly(quantize)?, &model.tensors[index]);
    if tensor.elements() == 0 {
        return None;
    }
    if let Some(why) = model.why_not_quantized(index, runtime) {
        return Some((held.clone().with_quantize(dense(tensor)), Some(why)));
    }
    if let Some(Instead(instead)) = in_groups(target, assembly, quantize, shape) {
        return Some((held.clone().with_quantize(instead.or(dense(tensor))), Some("its rows are no whole groups")));
    }
    if let Quantize::Int { bits: 8, asymmetric: true, unit, range } = *quantize
        && held.prune.is_some()
        && tensor.dtype.small() == Some(BF16)
    {
        let symmetric = Quantize::Int { bits: 8, asymmetric: false, unit, range };
        let why = "8 bits beside a bias of BF16 do not hold 0 exactly";
        return Some((held.clone().with_quantize(Some(symmetric)), Some(why)));
    }
    None
}

/// What a matrix is given that cannot be quantized: half its bits where it has more than 16.
fn dense(tensor: &Tensor) -> Option<Quantize> {
    (tensor.dtype.bits() > 16).then_some(Quantize::Bf16)
}

/// What takes the place of a quantize step; nothing where no such step fits.
pub(super) struct Instead(pub(super) Option<Quantize>);

/// The same bits in groups of another size that divides a row, or by rows, where those that were asked for do not; nothing
/// where none does.
fn in_groups(target: Target, assembly: Assembly, quantize: &Quantize, shape: &[usize]) -> Option<Instead> {
    let cols = shape.last().copied().unwrap_or(1);
    let wanted = match assembly.unit() {
        Unit::Group(size) if cols.is_multiple_of(size) => return None,
        Unit::Group(size) => size,
        Unit::Row if matches!(assembly, Assembly::Packed { .. }) && cols < LEAST_COLUMNS => return Some(Instead(None)),
        Unit::Row | Unit::Tensor => return None,
    };
    let (bits, asymmetric, range) = match *quantize {
        Quantize::Int { bits, asymmetric, range, .. } => (bits, asymmetric, range),
        _ => (4, false, Range::Max),
    };
    let smaller = [128, 64, 32].into_iter().find(|&size| size <= wanted && cols.is_multiple_of(size));
    let unit = match smaller {
        Some(size) => Unit::Group(size),
        None if target == Target::Mlx || cols < LEAST_COLUMNS => return Some(Instead(None)),
        None => Unit::Row,
    };
    Some(Instead(Some(Quantize::Int { bits, unit, asymmetric, range })))
}

/// The scheme as a target holds it on a matrix of this shape; without its quantize step where none fits.
pub(super) fn usable(target: Target, scheme: &Scheme, shape: &[usize]) -> Scheme {
    let held = nearest(target, scheme).unwrap_or_else(|| scheme.clone());
    let instead = held.quantize.as_ref().and_then(|quantize| {
        let assembly = target.assembly(quantize)?;
        in_groups(target, assembly, quantize, shape)
    });
    match instead {
        Some(Instead(instead)) => held.with_quantize(instead),
        None => held,
    }
}

/// What the tensors that a runtime joins must be stored in, where it is not the same for all of them: the one of most bits.
/// `None` where it is the same.
pub(super) fn common<'a>(target: Target, outcomes: &[Outcome<'a>]) -> Option<Instead> {
    let form = |of: &Outcome<'a>| of.assembly(target).map(|assembly| assembly.of_rows(of.geometry().cols));
    let first = outcomes.first().map(form)?;
    if outcomes.iter().all(|of| form(of) == first) {
        return None;
    }
    let bits = |of: &&Outcome<'a>| form(of).map_or(u32::MAX, |assembly| 32 * assembly.bits() - side(assembly));
    let widest = outcomes.iter().max_by_key(bits)?;
    Some(Instead(form(widest).and_then(|_| widest.scheme.quantize.clone())))
}

/// Of two layouts with as many bits the one with smaller units is the wider.
fn side(assembly: Assembly) -> u32 {
    match assembly.unit() {
        Unit::Group(size) => 1 + size.ilog2(),
        Unit::Row => 30,
        Unit::Tensor => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(target: Target, text: &str) -> String {
        let scheme: Scheme = text.parse().unwrap();
        nearest(target, &scheme).map_or_else(|| "held".into(), |nearest| nearest.to_string())
    }

    #[test]
    fn each_target_holds_what_its_table_says() {
        for (text, vllm, mlx) in [
            ("keep", "held", "held"),
            ("prune:0.5", "held", "held"),
            ("rank:4", "held", "held"),
            ("f16", "held", "held"),
            ("prune:0.5+bf16", "held", "held"),
            ("int4:row", "held", "int4:g128"),
            ("int4:tensor", "int4:row", "int4:g128"),
            ("int4:g32", "held", "held"),
            ("int8:g128:mse", "held", "held"),
            ("int4:g64:asym", "int4:g64", "held"),
            ("prune:0.5+int3:g64", "prune:0.5+int4:g64", "held"),
            ("int7:g32", "int8:g32", "int8:g32"),
            ("fp8_e4m3:row", "held", "int8:g128"),
            ("fp8_e5m2", "fp8_e4m3:row", "int8:g128"),
            ("mxfp4", "held", "int4:g32"),
            ("nvfp4", "held", "int4:g32"),
            ("nf4:g128", "int4:g128", "int4:g128"),
            ("ternary", "int4:row", "int2:g128"),
            ("codebook:32", "int8:row", "int5:g128"),
            ("q4_k", "int4:g32", "int4:g32:asym"),
            ("rank:4+int4:g32", "int4:g32", "int4:g32"),
            ("rank:4+f16", "held", "held"),
        ] {
            assert_eq!(held(Target::CompressedTensors, text), vllm, "{text}");
            assert_eq!(held(Target::Mlx, text), mlx, "{text}");
        }
    }

    fn fitted(target: Target, text: &str, name: &str, shape: &[usize]) -> String {
        let model = Model::named(&[(name, shape)], None);
        let scheme: Scheme = text.parse().unwrap();
        let instead = nearest_for(target, &scheme, &model, 0, shape);
        instead.map_or_else(|| "held".into(), |(nearest, _)| nearest.to_string())
    }

    #[test]
    fn groups_divide_the_row_and_only_linear_layers_are_quantized() {
        let (vllm, mlx) = (Target::CompressedTensors, Target::Mlx);
        let up = "model.layers.0.mlp.up_proj.weight";
        assert_eq!(fitted(vllm, "int4:g128", up, &[8, 256]), "held");
        assert_eq!(fitted(vllm, "int4:g128", up, &[8, 160]), "int4:g32");
        assert_eq!(fitted(vllm, "prune:0.5+int4:g128", up, &[8, 100]), "prune:0.5+int4:row");
        assert_eq!(fitted(vllm, "mxfp4", up, &[8, 48]), "int4:row");
        assert_eq!(fitted(vllm, "nvfp4", up, &[8, 48]), "held");
        assert_eq!(fitted(vllm, "int8:row", up, &[8, 7]), "bf16");
        assert_eq!(fitted(mlx, "int3:g128:asym", up, &[8, 64]), "int3:g64:asym");
        assert_eq!(fitted(mlx, "int3:g128", up, &[8, 100]), "bf16");
        assert_eq!(fitted(vllm, "int4:g32", "lm_head.weight", &[8, 32]), "bf16");
        assert_eq!(fitted(mlx, "int4:g32", "lm_head.weight", &[8, 32]), "held");
        assert_eq!(fitted(mlx, "int4:g32", "model.norm.weight", &[32]), "bf16");
        assert_eq!(fitted(vllm, "bf16", "lm_head.weight", &[8, 32]), "held");
    }

    #[test]
    fn joined_layers_take_the_form_of_most_bits() {
        let shape = &[64_usize, 64][..];
        let model = Model::named(&[("q.weight", shape)], None);
        let common_of = |texts: &[&str]| {
            let schemes: Vec<Scheme> = texts.iter().map(|text| text.parse().unwrap()).collect();
            let outcomes: Vec<Outcome<'_>> = schemes.iter().map(|s| Outcome::whole(&model.tensors[0], s)).collect();
            common(Target::CompressedTensors, &outcomes)
                .map(|Instead(quantize)| quantize)
                .map(|quantize| Scheme::keep().with_quantize(quantize).to_string())
        };
        assert_eq!(common_of(&["int4:g32", "prune:0.5+int4:g32:mse"]), None);
        assert_eq!(common_of(&["int4:g64", "int4:row"]), None);
        assert_eq!(common_of(&["keep", "bf16", "prune:0.1"]), None);
        assert_eq!(common_of(&["int4:g32", "int8:row", "int4:g64"]).unwrap(), "int8:row");
        assert_eq!(common_of(&["int4:row", "int4:g32"]).unwrap(), "int4:g32");
        assert_eq!(common_of(&["int4:row", "keep"]).unwrap(), "keep");
    }
}
