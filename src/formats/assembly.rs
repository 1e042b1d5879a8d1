//! A weight that lies in a file as several tensors: the layouts of compressed-tensors (vLLM) and of MLX, for readers and writers
//! alike.
//!
//! ```text
//! pack-quantized   M.weight_packed I32 [out, ⌈in·b/32⌉]   M.weight_scale [out, units]   M.weight_shape I64 [2]
//! int-quantized    M.weight I8 [out, in]                  M.weight_scale [out, 1]
//! float-quantized  M.weight F8_E4M3 [out, in]             M.weight_scale [out, 1]
//!  in blocks       M.weight F8_E4M3 [out, in]             M.weight_scale [⌈out/h⌉, ⌈in/w⌉]
//! fp8              M.weight F8_E4M3 [out, in]             M.weight_scale_inv [⌈out/h⌉, ⌈in/w⌉]
//! mxfp4-pack-…     M.weight_packed U8 [out, in/2]         M.weight_scale U8 [out, in/32]
//! nvfp4-pack-…     M.weight_packed U8 [out, in/2]         M.weight_scale F8_E4M3 [out, in/16]   M.weight_global_scale F32 [1]
//! GPTQ             M.qweight I32 [in·b/32, out]           M.scales [in/g, out]   M.qzeros I32 [in/g, out·b/32]   M.g_idx I32 [in]
//! AWQ              M.qweight I32 [in, out·b/32]           M.scales [in/g, out]   M.qzeros I32 [in/g, out·b/32]
//! MLX affine       M.weight U32 [out, in·b/32]            M.scales [out, in/g]   M.biases [out, in/g]
//! ```
//!
//! What is called fp8 is transformers' own (`quant_method: "fp8"`), as DeepSeek-V3 and Qwen3 are released. MLX stacks the same matrix of
//! all experts: its parts then have the number of experts before their rows.
//!
//! Codes of b bits lie in each row as one little-endian stream: element i in bits i·b … i·b + b − 1, as compressed-tensors
//! packs since 0.18 and MLX always did. Those of pack-quantized are signed, plus 2^(b−1); 4-bit floats are the even column in the low half
//! of a byte. Scales, and what is nowhere given a dtype, are of the tensor's own.

use super::Dtype;
use crate::kernels::layout::Unit;

/// How a weight is put together from several tensors of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assembly {
    /// compressed-tensors' pack-quantized: signed integers.
    Packed {
        /// 2 to 8.
        bits: u32,
        /// Which elements share a scale.
        unit: Unit,
    },
    /// compressed-tensors' int-quantized: signed bytes.
    Bytes {
        /// Which elements share a scale.
        unit: Unit,
    },
    /// compressed-tensors' float-quantized: E4M3 patterns.
    Fp8 {
        /// Which elements share a scale.
        unit: Unit,
    },
    /// E4M3 patterns with a scale for each block of rows and columns; those at the edges may be smaller.
    Fp8Blocks {
        /// Rows and columns of a block.
        block: [usize; 2],
        /// Whose it is.
        of: BlocksOf,
    },
    /// compressed-tensors' mxfp4-pack-quantized.
    Mxfp4,
    /// compressed-tensors' nvfp4-pack-quantized.
    Nvfp4,
    /// Integers without a sign that lie with inputs before outputs: (code − zero) · scale. Read, and never written.
    Turned {
        /// Whose they are.
        by: Turned,
        /// 2, 4 or 8; of AWQ 4.
        bits: u32,
        /// Elements of a row that share a scale and a zero.
        group: usize,
    },
    /// MLX's integers without a sign: scale · u + bias.
    Affine {
        /// 2 to 6, or 8.
        bits: u32,
        /// Elements of a row that share a scale and a bias: 32, 64 or 128.
        group: usize,
    },
}

/// Whose integers with inputs before outputs they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turned {
    /// GPTQ's, as nearly everybody has them: zeros are stored less one.
    Gptq,
    /// GPTQ's second version.
    Gptq2,
    /// AWQ's, of its version gemm.
    Awq,
}

/// Whose blocks of FP8 they are: they differ in the name of the scales alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlocksOf {
    /// compressed-tensors' float-quantized, strategy block.
    CompressedTensors,
    /// transformers' fp8.
    Transformers,
}

/// What one of the tensors holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    /// A code for every element.
    Codes,
    /// A scale for every unit.
    Scales,
    /// A bias for every unit, which stands for its zero point.
    Biases,
    /// A zero point for every unit, as a code.
    ZeroPoints,
    /// The group of every input.
    Groups,
    /// One number over all scales.
    Global,
    /// The shape of the weight.
    Shape,
}

/// One of the tensors that a weight lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it holds.
    pub holds: Holds,
    /// What stands behind the module's name and a point.
    pub suffix: &'static str,
    /// Its dtype.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Part {
    fn new(holds: Holds, suffix: &'static str, dtype: Dtype, shape: &[usize]) -> Self {
        Self { holds, suffix, dtype, shape: shape.to_vec() }
    }

    /// Bytes of its payload.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shape.iter().fold(1_u64, |n, &d| n.saturating_mul(d as u64)).saturating_mul(self.dtype.bits() / 8)
    }

    /// The name of this part of a module.
    #[must_use]
    pub fn name(&self, module: &str) -> String {
        [module, ".", self.suffix].concat()
    }
}

/// What the name of a weight has behind that of its module.
pub const WEIGHT: &str = ".weight";

impl Assembly {
    /// Bits of a code.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Packed { bits, .. } | Self::Affine { bits, .. } | Self::Turned { bits, .. } => bits,
            Self::Bytes { .. } | Self::Fp8 { .. } | Self::Fp8Blocks { .. } => 8,
            Self::Mxfp4 | Self::Nvfp4 => 4,
        }
    }

    /// Which elements of a row share a scale.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::Packed { unit, .. } | Self::Bytes { unit } | Self::Fp8 { unit } => unit,
            Self::Mxfp4 => Unit::Group(32),
            Self::Nvfp4 => Unit::Group(16),
            Self::Affine { group, .. } | Self::Turned { group, .. } => Unit::Group(group),
            Self::Fp8Blocks { block: [_, width], .. } => Unit::Group(width),
        }
    }

    /// Neighbouring rows that share their scales.
    #[must_use]
    pub const fn rows_in_unit(self) -> usize {
        match self {
            Self::Fp8Blocks { block: [height, _], .. } if height > 0 => height,
            _ => 1,
        }
    }

    /// Whether compressed-tensors reads it, under its own names of the parts.
    #[must_use]
    pub const fn is_of_compressed_tensors(self) -> bool {
        !matches!(self, Self::Affine { .. } | Self::Turned { .. })
    }

    /// Whether MLX reads it.
    #[must_use]
    pub const fn is_of_mlx(self) -> bool {
        matches!(self, Self::Affine { .. })
    }

    /// The same codes and scales under the names of compressed-tensors.
    #[must_use]
    pub const fn in_compressed_tensors(self) -> Self {
        match self {
            Self::Fp8Blocks { block, .. } => Self::Fp8Blocks { block, of: BlocksOf::CompressedTensors },
            other => other,
        }
    }

    /// Whether its codes are floats of few bits; else they are integers.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::Fp8 { .. } | Self::Fp8Blocks { .. } | Self::Mxfp4 | Self::Nvfp4)
    }

    /// Whether values are numbers of F32 whatever the network computes in: their scales are of no float dtype of their own.
    #[must_use]
    pub const fn is_single(self) -> bool {
        matches!(self, Self::Mxfp4 | Self::Nvfp4)
    }

    /// Bytes of the codes of a row.
    #[must_use]
    pub fn row_bytes(self, cols: usize) -> usize {
        let bits = cols.saturating_mul(self.bits() as usize);
        match self {
            Self::Packed { .. } | Self::Affine { .. } => bits.div_ceil(32) * 4,
            _ => bits.div_ceil(8),
        }
    }

    /// Units of a row; one scale for the whole tensor counts as one.
    #[must_use]
    pub fn units_in_row(self, cols: usize) -> usize {
        if let Unit::Group(size) = self.unit() { cols.div_ceil(size.max(1)) } else { 1 }
    }

    /// The tensors of a weight of this dtype and shape, its codes first. Rows are those of the last dimension.
    #[must_use]
    pub fn parts(self, dtype: Dtype, shape: &[usize]) -> Vec<Part> {
        let (&cols, lead) = shape.split_last().unwrap_or((&1, &[]));
        let with = |last: usize| [lead, &[last]].concat();
        let units = match self {
            Self::Fp8Blocks { .. } => {
                let rows = lead.iter().product::<usize>();
                vec![rows.div_ceil(self.rows_in_unit()), self.units_in_row(cols)]
            }
            _ => with(self.units_in_row(cols)),
        };
        let scales = if self.unit() == Unit::Tensor { &[1][..] } else { &units };
        let scale = |dtype| Part::new(Holds::Scales, "weight_scale", dtype, scales);
        let codes = |dtype: Dtype, suffix| {
            Part::new(Holds::Codes, suffix, dtype, &with(self.row_bytes(cols) / dtype.bytes().max(1)))
        };
        match self {
            Self::Packed { .. } => {
                let shape = Part::new(Holds::Shape, "weight_shape", Dtype::I64, &[2]);
                vec![codes(Dtype::I32, "weight_packed"), scale(dtype), shape]
            }
            Self::Bytes { .. } => vec![codes(Dtype::I8, "weight"), scale(dtype)],
            Self::Fp8 { .. } => vec![codes(Dtype::F8_E4M3, "weight"), scale(dtype)],
            Self::Fp8Blocks { of, .. } => {
                let suffix = match of {
                    BlocksOf::CompressedTensors => "weight_scale",
                    BlocksOf::Transformers => "weight_scale_inv",
                };
                vec![codes(Dtype::F8_E4M3, "weight"), Part::new(Holds::Scales, suffix, dtype, &units)]
            }
            Self::Mxfp4 => vec![codes(Dtype::U8, "weight_packed"), scale(Dtype::U8)],
            Self::Nvfp4 => {
                let global = Part::new(Holds::Global, "weight_global_scale", Dtype::F32, &[1]);
                vec![codes(Dtype::U8, "weight_packed"), scale(Dtype::F8_E4M3), global]
            }
            Self::Turned { by, bits, group } => turned_parts(by, bits as usize, group, dtype, shape),
            Self::Affine { .. } => {
                let side = |holds, suffix| Part::new(holds, suffix, dtype, &units);
                let scales = side(Holds::Scales, "scales");
                vec![codes(Dtype::U32, "weight"), scales, side(Holds::Biases, "biases")]
            }
        }
    }

    /// The same with a group that is a whole row called that: both lie alike.
    #[must_use]
    pub fn of_rows(self, cols: usize) -> Self {
        let row = |unit: Unit| if unit == Unit::Group(cols) { Unit::Row } else { unit };
        match self {
            Self::Packed { bits, unit } => Self::Packed { bits, unit: row(unit) },
            other => other,
        }
    }
}

/// The parts of a weight with inputs before outputs.
fn turned_parts(by: Turned, bits: usize, group: usize, dtype: Dtype, shape: &[usize]) -> Vec<Part> {
    let &[outputs, inputs] = shape else { return Vec::new() };
    let packed = |n: usize| n.saturating_mul(bits) / 32;
    let groups = inputs.div_ceil(group.max(1));
    let codes = if by == Turned::Awq { [inputs, packed(outputs)] } else { [packed(inputs), outputs] };
    let mut parts = vec![
        Part::new(Holds::Codes, "qweight", Dtype::I32, &codes),
        Part::new(Holds::Scales, "scales", dtype, &[groups, outputs]),
        Part::new(Holds::ZeroPoints, "qzeros", Dtype::I32, &[groups, packed(outputs)]),
    ];
    if by != Turned::Awq {
        parts.push(Part::new(Holds::Groups, "g_idx", Dtype::I32, &[inputs]));
    }
    parts
}

/// What it is in the words of schemes.
impl std::fmt::Display for Assembly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = |unit: Unit| match unit {
            Unit::Tensor => ":tensor".to_owned(),
            Unit::Row => ":row".to_owned(),
            Unit::Group(size) => format!(":g{size}"),
        };
        match *self {
            Self::Packed { bits, unit: of } => write!(f, "int{bits}{}", unit(of)),
            Self::Bytes { unit: of } => write!(f, "int8{}", unit(of)),
            Self::Fp8 { unit: of } => write!(f, "fp8_e4m3{}", unit(of)),
            Self::Fp8Blocks { block: [height, width], .. } => write!(f, "fp8_e4m3:{height}x{width}"),
            Self::Mxfp4 => f.write_str("mxfp4"),
            Self::Nvfp4 => f.write_str("nvfp4"),
            Self::Turned { by, bits, group } => {
                let by = if by == Turned::Awq { "AWQ" } else { "GPTQ" };
                write!(f, "int{bits}:g{group} {by}")
            }
            Self::Affine { bits, group } => write!(f, "int{bits}:g{group} affine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_that_the_readers_ask_for() {
        let shown = |assembly: Assembly, dtype| -> Vec<String> {
            let one = |p: Part| format!("{} {} {:?} {}", p.name("M"), p.dtype, p.shape, p.bytes());
            assembly.parts(dtype, &[3, 64]).into_iter().map(one).collect()
        };
        assert_eq!(
            shown(Assembly::Packed { bits: 4, unit: Unit::Group(32) }, Dtype::BF16),
            ["M.weight_packed I32 [3, 8] 96", "M.weight_scale BF16 [3, 2] 12", "M.weight_shape I64 [2] 16"]
        );
        assert_eq!(
            shown(Assembly::Fp8 { unit: Unit::Row }, Dtype::F16),
            ["M.weight F8_E4M3 [3, 64] 192", "M.weight_scale F16 [3, 1] 6"]
        );
        assert_eq!(
            shown(Assembly::Bytes { unit: Unit::Tensor }, Dtype::F32),
            ["M.weight I8 [3, 64] 192", "M.weight_scale F32 [1] 4"]
        );
        assert_eq!(shown(Assembly::Mxfp4, Dtype::F32), ["M.weight_packed U8 [3, 32] 96", "M.weight_scale U8 [3, 2] 6"]);
        assert_eq!(
            shown(Assembly::Nvfp4, Dtype::BF16),
            ["M.weight_packed U8 [3, 32] 96", "M.weight_scale F8_E4M3 [3, 4] 12", "M.weight_global_scale F32 [1] 4"]
        );
        assert_eq!(
            shown(Assembly::Affine { bits: 3, group: 32 }, Dtype::F16),
            ["M.weight U32 [3, 6] 72", "M.scales F16 [3, 2] 12", "M.biases F16 [3, 2] 12"]
        );
        let blocks = |of| shown(Assembly::Fp8Blocks { block: [2, 48], of }, Dtype::F32);
        assert_eq!(
            blocks(BlocksOf::Transformers),
            ["M.weight F8_E4M3 [3, 64] 192", "M.weight_scale_inv F32 [2, 2] 16"]
        );
        assert_eq!(blocks(BlocksOf::CompressedTensors)[1], "M.weight_scale F32 [2, 2] 16");
        let experts = Assembly::Affine { bits: 4, group: 32 }.parts(Dtype::F16, &[5, 3, 64]);
        let shapes: Vec<&[usize]> = experts.iter().map(|part| &part.shape[..]).collect();
        assert_eq!(shapes, [&[5, 3, 8][..], &[5, 3, 2], &[5, 3, 2]]);
        // Rows that are no whole words are filled up to one.
        let row = Assembly::Packed { bits: 4, unit: Unit::Row };
        assert_eq!([1, 8, 9, 784].map(|cols| row.row_bytes(cols)), [4, 4, 8, 392]);
        assert_eq!(Assembly::Packed { bits: 4, unit: Unit::Group(64) }.of_rows(64), row);
    }
}
