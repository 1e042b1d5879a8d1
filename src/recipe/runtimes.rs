//! What compressed-tensors and MLX hold: a few grids, for the weights of linear layers alone (in MLX also of embeddings), each in a
//! layout of its own; and what comes nearest to a scheme that they do not.
//!
//! Integers of compressed-tensors are weight-only (pack-quantized), also at 8 bits by rows, where int-quantized would be as small: what
//! reads that rounds activations too, and the network would lose more than was estimated. It is written where that is asked for
//! (`:a8`). FP8 is served with activations rounded by token, which is what it is taken for.

use super::holds::grid_of;
use super::scheme::{Prune, Quantize, Range, Scheme};
use super::{Outcome, Target};
use crate::formats::Dtype;
use crate::formats::assembly::Assembly;
use crate::kernels::convert::SmallFloat;
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
            (Self::CompressedTensors, Quantize::Int { unit, a8: true, .. }) => Some(Assembly::Bytes { unit: *unit }),
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
            (Self::Mlx, Quantize::Int { bits: bits @ (2..=6 | 8), unit: Unit::Group(group), a8: false, .. }) => {
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
            let assembly = self.tensor.assembly().filter(|&assembly| target.takes(assembly));
            return assembly.map(Assembly::in_compressed_tensors);
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
            Some(Runtime::Vllm) => assembly.is_of_compressed_tensors(),
            Some(Runtime::Mlx) => assembly.is_of_mlx(),
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
        Quantize::Int { bits, unit, asymmetric, range, .. } => (bits, unit, asymmetric, range),
        Quantize::F16 | Quantize::Bf16 | Quantize::Fp8 { .. } => (8, Unit::Row, false, Range::Max),
        Quantize::Mxfp4 | Quantize::Nvfp4 => (4, Unit::Group(32), false, Range::Max),
        Quantize::Nf4(size) => (4, Unit::Group(size), false, Range::Max),
        Quantize::Ternary { .. } | Quantize::Binary { .. } => (2, Unit::Row, false, Range::Max),
        Quantize::Codebook { k, .. } => (k.next_power_of_two().trailing_zeros(), Unit::Row, false, Range::Max),
    };
    if target == Target::CompressedTensors {
        let unit = if unit == Unit::Tensor { Unit::Row } else { unit };
        return Quantize::Int { bits: if bits <= 4 { 4 } else { 8 }, unit, asymmetric: false, range, a8: false };
    }
    let bits = if bits >= 7 { 8 } else { bits.max(2) };
    let unit = if let Unit::Group(_) = unit { unit } else { Unit::Group(128) };
    Quantize::Int { bits, unit, asymmetric, range, a8: false }
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
        let bare = |quantize: Quantize| match zeroes(held).then(|| without_zero_point(target, &quantize)) {
            Some(Some(symmetric)) => symmetric,
            _ => quantize,
        };
        let instead = instead.map(bare);
        return Some((held.clone().with_quantize(instead.or(dense(tensor))), Some("its rows are no whole groups")));
    }
    if let (true, Some(symmetric)) = (zeroes(held), without_zero_point(target, quantize)) {
        return Some((held.clone().with_quantize(Some(symmetric)), Some(MOVES_ZERO)));
    }
    None
}

/// Whether a scheme makes elements 0 that stay where they are; what structured pruning zeroes is known by the tensors.
const fn zeroes(scheme: &Scheme) -> bool {
    !matches!(scheme.prune, None | Some(Prune::Structured { .. }))
}

/// Why what is pruned would not stay 0 in MLX beside a zero point.
pub(super) const MOVES_ZERO: &str = "its biases are rounded, and what is pruned would not stay 0 exactly";

/// The same levels without a zero point, where a target keeps one as a bias that rounds.
pub(super) fn without_zero_point(target: Target, quantize: &Quantize) -> Option<Quantize> {
    match *quantize {
        Quantize::Int { bits, unit, asymmetric: true, range, a8 } if target == Target::Mlx => {
            Some(Quantize::Int { bits, unit, asymmetric: false, range, a8 })
        }
        _ => None,
    }
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
    Some(Instead(Some(Quantize::Int { bits, unit, asymmetric, range, a8: false })))
}

/// The scheme as a target holds it on a matrix of this shape; without its quantize step where none fits.
pub(super) fn usable(target: Target, scheme: &Scheme, shape: &[usize]) -> Scheme {
    let mut held = nearest(target, scheme).unwrap_or_else(|| scheme.clone());
    if let (true, Some(quantize)) = (zeroes(&held), &held.quantize)
        && let Some(symmetric) = without_zero_point(target, quantize)
    {
        held = held.with_quantize(Some(symmetric));
    }
    let instead = held.quantize.as_ref().and_then(|quantize| {
        let assembly = target.assembly(quantize)?;
        in_groups(target, assembly, quantize, shape)
    });
    match instead {
        Some(Instead(instead)) => held.with_quantize(instead),
        None => held,
    }
}

/// The layout of a tensor's codes, a group that is a whole row called that; `None` where it has none.
pub(super) type Form = Option<Assembly>;

/// The form that a tensor has in a target.
pub(super) fn form(target: Target, of: &Outcome<'_>) -> Form {
    of.assembly(target).map(|assembly| assembly.of_rows(of.geometry().cols))
}

/// The forms that tensors which are stored as one may all be given: those that they have, the widest first, and at last none.
pub(super) fn in_order(forms: &[Form]) -> Vec<Form> {
    let bits = |form: &Form| form.map_or(u32::MAX, |assembly| 32 * assembly.bits() - side(assembly));
    let mut all: Vec<Form> = Vec::new();
    for &form in forms {
        if !all.contains(&form) {
            all.push(form);
        }
    }
    all.sort_by_key(|form| std::cmp::Reverse(bits(form)));
    if !all.contains(&None) {
        all.push(None);
    }
    all
}

/// What a tensor's scheme becomes where it is to have a form, by this step where there is one; `None` where it cannot.
pub(super) fn given(
    target: Target,
    model: &Model,
    index: usize,
    of: &Outcome<'_>,
    wanted: Form,
    step: Option<Quantize>,
) -> Option<Scheme> {
    let quantize = match wanted {
        Some(assembly) => Some(step.or_else(|| step_of(assembly))?),
        // Without a step, what is coded would stay coded.
        None if of.tensor.assembly().is_some() => Some(plain_step(of.tensor)),
        None => None,
    };
    let scheme = of.scheme.clone().with_quantize(quantize);
    let held = target.nearest_for(&scheme, model, index, of.shape).is_none();
    (held && form(target, &Outcome { scheme: &scheme, ..*of }) == wanted).then_some(scheme)
}

/// The step that makes codes of a layout.
fn step_of(assembly: Assembly) -> Option<Quantize> {
    let int = |bits, unit, a8| Some(Quantize::Int { bits, unit, asymmetric: false, range: Range::Max, a8 });
    match assembly {
        Assembly::Packed { bits, unit } => int(bits, unit, false),
        Assembly::Bytes { unit: Unit::Row } => int(8, Unit::Row, true),
        Assembly::Affine { bits, group } => int(bits, Unit::Group(group), false),
        Assembly::Fp8 { unit: Unit::Row } => Some(Quantize::Fp8 { e5m2: false, row: true }),
        Assembly::Mxfp4 => Some(Quantize::Mxfp4),
        Assembly::Nvfp4 => Some(Quantize::Nvfp4),
        Assembly::Bytes { .. } | Assembly::Fp8 { .. } | Assembly::Fp8Blocks { .. } | Assembly::Turned { .. } => None,
    }
}

/// The step that makes plain numbers of a tensor, of as many bits as its dtype has, at most 16.
fn plain_step(tensor: &Tensor) -> Quantize {
    if tensor.dtype == Dtype::F16 { Quantize::F16 } else { Quantize::Bf16 }
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
            ("int8:row:a8", "held", "int8:g128"),
            ("int8:row:mse:a8", "held", "int8:g128:mse"),
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
        // A bias that rounds moves all levels of its group, 0 among them.
        assert_eq!(fitted(mlx, "int3:g64:asym", up, &[8, 64]), "held");
        assert_eq!(fitted(mlx, "prune:0.5+int3:g64:asym", up, &[8, 64]), "prune:0.5+int3:g64");
        // What is removed is no 0 that has to stay.
        assert_eq!(fitted(mlx, "rows:0.5+int3:g64:asym", up, &[8, 64]), "held");
        let pruned: Scheme = "prune:0.5+int3:g64:asym".parse().unwrap();
        assert_eq!(usable(mlx, &pruned, &[8, 64]).to_string(), "prune:0.5+int3:g64");
        assert_eq!(fitted(mlx, "int3:g128", up, &[8, 100]), "bf16");
        assert_eq!(fitted(vllm, "int4:g32", "lm_head.weight", &[8, 32]), "bf16");
        assert_eq!(fitted(mlx, "int4:g32", "lm_head.weight", &[8, 32]), "held");
        assert_eq!(fitted(mlx, "int4:g32", "model.norm.weight", &[32]), "bf16");
        assert_eq!(fitted(vllm, "bf16", "lm_head.weight", &[8, 32]), "held");
    }

    #[test]
    fn forms_are_tried_from_the_widest_to_none() {
        let (row4, g32, row8) = (
            Assembly::Packed { bits: 4, unit: Unit::Row },
            Assembly::Packed { bits: 4, unit: Unit::Group(32) },
            Assembly::Packed { bits: 8, unit: Unit::Row },
        );
        assert_eq!(in_order(&[Some(row4), Some(g32), Some(row4)]), [Some(g32), Some(row4), None]);
        assert_eq!(in_order(&[Some(g32), Some(row8)]), [Some(row8), Some(g32), None]);
        assert_eq!(in_order(&[Some(row4), None]), [None, Some(row4)]);
        let model = Model::named(&[("model.layers.0.mlp.up_proj.weight", &[64, 100])], None);
        let scheme = "prune:0.5+int4:row".parse().unwrap();
        let of = Outcome::whole(&model.tensors[0], &scheme);
        let given =
            |wanted| given(Target::CompressedTensors, &model, 0, &of, wanted, None).map(|scheme| scheme.to_string());
        // Its rows are no whole groups of 32.
        assert_eq!(given(Some(g32)), None);
        assert_eq!(given(Some(row8)).unwrap(), "prune:0.5+int8:row");
        assert_eq!(given(None).unwrap(), "prune:0.5");
    }
}
