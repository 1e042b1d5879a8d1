//! What is done to one tensor: prune, then factorize, then quantize, any of them absent. Spelling is in `scheme_text`.
//!
//! The types hold every scheme of the language, so that a text is judged right or wrong once and for all;
//! [`Scheme::unbuilt`] names the part that this version cannot carry out.

use super::Decimal;
use crate::kernels::ggml::BlockType;
use crate::kernels::layout::Unit;

/// What is done to one tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scheme {
    /// Which elements become zero.
    pub prune: Option<Prune>,
    /// Replacement by a product of two thinner matrices.
    pub factorize: Option<Factorize>,
    /// Which values remain possible.
    pub quantize: Option<Quantize>,
}

/// Where the smallest magnitudes are sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// In each tensor.
    Tensor,
    /// In each row.
    Row,
    /// In all tensors whose scheme comes from the same rule.
    Global,
}

/// Which elements become zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Prune {
    /// `prune:P`: the smallest magnitudes.
    Magnitude {
        /// Share of the elements.
        share: Decimal,
        /// Where they are ranked.
        scope: Scope,
    },
    /// `nm:N:M`: N of each M along a row stay.
    Nm {
        /// Kept.
        n: u32,
        /// Of.
        m: u32,
    },
    /// `block:HxW:P`.
    Block {
        /// Rows of a block.
        height: u32,
        /// Columns of a block.
        width: u32,
        /// Share of the blocks.
        share: Decimal,
    },
    /// `rows:P`, `cols:P`, `heads:P`, `ffn:P`.
    Structured {
        /// What is removed.
        what: Structure,
        /// Share that is removed.
        share: Decimal,
    },
    /// `random:P:SEED`.
    Random {
        /// Share of the elements.
        share: Decimal,
        /// Seed of the ranking.
        seed: u64,
    },
    /// `wanda:P`.
    Wanda {
        /// Share of the elements.
        share: Decimal,
    },
    /// `mask:FILE`.
    Mask {
        /// Another model whose zeros are taken.
        file: String,
    },
}

impl Prune {
    /// The file of a mask that an exported model carries in itself. A file of this name is written `./embedded`.
    pub const EMBEDDED: &'static str = "embedded";
}

/// What structured pruning removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the language's words")]
pub enum Structure {
    Rows,
    Cols,
    Heads,
    Ffn,
}

/// Replacement by a product of two thinner matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Factorize {
    /// `rank:R`.
    Rank(u64),
    /// `energy:E`.
    Energy(Decimal),
}

/// How an integer grid's range is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// The largest magnitude.
    Max,
    /// The clip with the least squared error.
    Mse,
    /// A percentile of the magnitudes.
    Percentile(Decimal),
}

/// Which values remain possible.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Quantize {
    /// `intN…`.
    Int {
        /// 2 to 8.
        bits: u32,
        /// Which elements share a scale.
        unit: Unit,
        /// With a zero point per unit.
        asymmetric: bool,
        /// How the range is found.
        range: Range,
        /// Whether whoever runs it rounds activations to 8 bits as well (W8A8), which no number here tells of.
        a8: bool,
    },
    /// A cast to IEEE binary16.
    F16,
    /// A cast to bfloat16.
    Bf16,
    /// `fp8_e4m3`, `fp8_e5m2`, optionally with a scale per row.
    Fp8 {
        /// E5M2 instead of E4M3.
        e5m2: bool,
        /// With a scale per row.
        row: bool,
    },
    /// OCP MXFP4.
    Mxfp4,
    /// NVIDIA NVFP4.
    Nvfp4,
    /// NormalFloat 4 with blocks of this many.
    Nf4(usize),
    /// Three levels.
    Ternary {
        /// A scale per row.
        row: bool,
    },
    /// Two levels.
    Binary {
        /// A scale per row.
        row: bool,
    },
    /// `codebook:K`.
    Codebook {
        /// Entries.
        k: u32,
        /// A codebook per row.
        row: bool,
        /// The exact optimum instead of Lloyd's.
        best: bool,
    },
    /// A block type by GGUF's own name.
    Gguf(BlockType),
}

impl Prune {
    /// The share that it names; `None` where the pattern or a file decides.
    #[must_use]
    pub const fn share(&self) -> Option<Decimal> {
        match self {
            Self::Magnitude { share, .. }
            | Self::Block { share, .. }
            | Self::Structured { share, .. }
            | Self::Random { share, .. }
            | Self::Wanda { share } => Some(*share),
            Self::Nm { .. } | Self::Mask { .. } => None,
        }
    }

    /// The same kind of pruning at another share; unchanged where it names none.
    #[must_use]
    pub fn with_share(mut self, to: Decimal) -> Self {
        match &mut self {
            Self::Magnitude { share, .. }
            | Self::Block { share, .. }
            | Self::Structured { share, .. }
            | Self::Random { share, .. }
            | Self::Wanda { share } => *share = to,
            Self::Nm { .. } | Self::Mask { .. } => {}
        }
        self
    }

    /// The part of the elements that is asked to go, before what the shape of a tensor makes of it; `None` where a file
    /// decides.
    #[must_use]
    pub fn asked(&self) -> Option<f64> {
        match self {
            Self::Nm { n, m } => Some(1.0 - f64::from(*n) / f64::from(*m)),
            other => other.share().map(Decimal::to_f64),
        }
    }
}

impl Scheme {
    /// The scheme that changes nothing.
    #[must_use]
    pub fn keep() -> Self {
        Self::default()
    }

    /// Why its parts do not go together, whoever put them together.
    #[must_use]
    pub const fn contradiction(&self) -> Option<&'static str> {
        let whole =
            matches!(self.prune, None | Some(Prune::Structured { what: Structure::Rows | Structure::Cols, .. }));
        if self.factorize.is_some() && !whole {
            return Some("only rows or cols go with rank and energy: a product would undo the zeros");
        }
        match self.quantize {
            Some(Quantize::Int { asymmetric: true, range: Range::Percentile(_), .. }) => {
                Some("asym goes with max or mse, not with a percentile")
            }
            _ => None,
        }
    }

    /// Whether nothing is done.
    #[must_use]
    pub fn is_keep(&self) -> bool {
        *self == Self::default()
    }

    /// Whether pruning ranks elements over all tensors of its rule.
    #[must_use]
    pub fn is_global(&self) -> bool {
        matches!(self.prune, Some(Prune::Magnitude { scope: Scope::Global, .. }))
    }

    /// Whether an artifact must carry its mask beside its zeros: a survivor of the mask may read 0, and counts in the fit. The
    /// range of a symmetric grid or a cast does not depend on such survivors, that of the others does.
    #[must_use]
    pub fn carries_mask(&self) -> bool {
        let counted = match &self.quantize {
            Some(Quantize::Int { asymmetric, range, .. }) => *asymmetric || *range != Range::Max,
            Some(Quantize::Ternary { .. } | Quantize::Codebook { .. } | Quantize::Gguf(_)) => true,
            _ => false,
        };
        counted && matches!(self.prune, Some(Prune::Mask { .. }))
    }

    /// Whether some elements may lie beyond the end levels of their grid.
    #[must_use]
    pub fn is_clipped(&self) -> bool {
        matches!(self.quantize, Some(Quantize::Int { range: Range::Mse | Range::Percentile(_), .. }))
    }

    /// The first part that this version cannot carry out, as it is spelled.
    #[must_use]
    pub fn unbuilt(&self) -> Option<String> {
        let only = |scheme: Self| Some(scheme.to_string());
        match (&self.prune, &self.factorize, &self.quantize) {
            (Some(prune @ Prune::Wanda { .. }), ..) => only(Self { prune: Some(prune.clone()), ..Self::default() }),
            _ => None,
        }
    }

    /// The same scheme with other magnitude pruning (or none).
    #[must_use]
    pub fn with_prune(mut self, prune: Option<Prune>) -> Self {
        self.prune = prune;
        self
    }

    /// The same scheme with other quantization (or none).
    #[must_use]
    pub fn with_quantize(mut self, quantize: Option<Quantize>) -> Self {
        self.quantize = quantize;
        self
    }

    /// What is done to each factor of a factorized tensor: the quantize step alone.
    #[must_use]
    pub fn of_factors(&self) -> Self {
        Self { quantize: self.quantize.clone(), ..Self::default() }
    }

    /// Bits of one stored value, when quantization sets them.
    #[must_use]
    pub fn bits(&self) -> Option<u32> {
        match self.quantize {
            None => None,
            Some(Quantize::Gguf(block_type)) => Some(block_type.code_bits()),
            Some(Quantize::Int { bits, .. }) => Some(bits),
            Some(Quantize::F16 | Quantize::Bf16) => Some(16),
            Some(Quantize::Fp8 { .. }) => Some(8),
            Some(Quantize::Mxfp4 | Quantize::Nvfp4 | Quantize::Nf4(_)) => Some(4),
            Some(Quantize::Ternary { .. }) => Some(2),
            Some(Quantize::Binary { .. }) => Some(1),
            Some(Quantize::Codebook { k, .. }) => Some(k.next_power_of_two().trailing_zeros()),
        }
    }

    /// Whether something is pruned and then put on levels of which none is 0: no such zero stays one.
    #[must_use]
    pub fn loses_zeros(&self) -> bool {
        self.prune.is_some() && !self.holds_zero()
    }

    /// Whether an element that is 0 stays exactly 0.
    #[must_use]
    pub fn holds_zero(&self) -> bool {
        match self.quantize {
            Some(Quantize::Binary { .. }) => false,
            Some(Quantize::Gguf(block_type)) => block_type.holds_zero(),
            _ => true,
        }
    }

    /// The share that magnitude pruning asks for.
    #[must_use]
    pub fn pruned_share(&self) -> Option<Decimal> {
        match self.prune {
            Some(Prune::Magnitude { share, .. }) => Some(share),
            _ => None,
        }
    }
}
