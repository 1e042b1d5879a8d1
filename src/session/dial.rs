//! One setting of a scheme, turned by itself: what else the scheme says stays as it is.
//!
//! That is what lets one move of the hand go to many layers at once, each of which keeps its own other parts.

use crate::kernels::layout::Unit;
use crate::recipe::{Decimal, Prune, Quantize, Range, Scheme, Scope, Target};

/// The narrowest integers.
pub const NARROWEST: u32 = 2;
/// The widest integers.
pub const WIDEST: u32 = 8;
/// The place above the widest integers, where values stay in a dtype of their own.
pub const UNQUANTIZED: u32 = WIDEST + 1;

/// A setting and its new value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dial {
    /// Bits of an integer grid, [`NARROWEST`] to [`WIDEST`]; above that no grid.
    Bits(u32),
    /// The share that pruning takes, of whatever kind; 0 is no pruning.
    Pruned(Decimal),
}

impl Dial {
    /// The scheme with this setting, as a target holds it: bits on the dial are there the type of so many.
    #[must_use]
    pub fn on_for(self, scheme: &Scheme, target: Target, shape: &[usize]) -> Scheme {
        let turned = self.on(scheme);
        let narrow = target == Target::Gguf || target.runtime().is_some();
        let typed = narrow && matches!(self, Self::Bits(_));
        if typed { target.usable(&turned, shape) } else { turned }
    }

    /// The scheme with this setting. Unit, zero point and range of a grid stay, and so does the kind of pruning.
    #[must_use]
    pub fn on(self, scheme: &Scheme) -> Scheme {
        match self {
            Self::Bits(bits) => scheme.clone().with_quantize(with_bits(scheme.quantize.as_ref(), bits)),
            Self::Pruned(share) => scheme.clone().with_prune(with_share(scheme.prune.as_ref(), share)),
        }
    }
}

fn with_bits(quantize: Option<&Quantize>, bits: u32) -> Option<Quantize> {
    match quantize {
        Some(Quantize::Int { .. } | Quantize::Gguf(_)) if bits > WIDEST => None,
        // A cast is not a grid: above the grid it stays what it is.
        other if bits > WIDEST => other.cloned(),
        Some(&Quantize::Int { unit, asymmetric, range, a8, .. }) => {
            // Fewer bits of weights are not multiplied with rounded activations.
            Some(Quantize::Int { bits: bits.max(NARROWEST), unit, asymmetric, range, a8: a8 && bits == WIDEST })
        }
        _ => Some(Quantize::Int {
            bits: bits.max(NARROWEST),
            unit: Unit::Row,
            asymmetric: false,
            range: Range::Max,
            a8: false,
        }),
    }
}

/// The kind of pruning stays where it has a share; a pattern or a file gives way to magnitudes.
fn with_share(prune: Option<&Prune>, share: Decimal) -> Option<Prune> {
    let kind = prune.filter(|prune| prune.share().is_some()).cloned();
    let kind = kind.unwrap_or(Prune::Magnitude { share, scope: Scope::Tensor });
    (!share.is_zero()).then(|| kind.with_share(share))
}

/// Where a scheme stands on the bits dial.
#[must_use]
pub fn bits_of(scheme: &Scheme) -> u32 {
    match scheme.quantize {
        Some(Quantize::Int { bits, .. }) => bits,
        Some(Quantize::Gguf(block_type)) => block_type.code_bits(),
        _ => UNQUANTIZED,
    }
}

/// Makes on `theirs` the change that leads from `old` to `new`: only what differs between those two is carried over. Where that
/// would not go together with the rest of theirs, they stay as they are.
#[must_use]
pub fn carry(old: &Scheme, new: &Scheme, theirs: &Scheme) -> Scheme {
    let mut out = theirs.clone();
    if old.prune != new.prune {
        out.prune = carry_prune(old.prune.as_ref(), new.prune.as_ref(), theirs.prune.as_ref());
    }
    if old.factorize != new.factorize {
        out.factorize = new.factorize;
    }
    if old.quantize != new.quantize {
        out.quantize = carry_quantize(old.quantize.as_ref(), new.quantize.as_ref(), theirs.quantize.as_ref());
    }
    if out.contradiction().is_some() { theirs.clone() } else { out }
}

/// `new` where it is another than `old`, else `theirs`.
fn newer<T: PartialEq>(old: T, new: T, theirs: T) -> T {
    if old == new { theirs } else { new }
}

fn carry_prune(old: Option<&Prune>, new: Option<&Prune>, theirs: Option<&Prune>) -> Option<Prune> {
    match (old, new, theirs) {
        (
            Some(Prune::Magnitude { share: share0, scope: scope0 }),
            Some(Prune::Magnitude { share, scope }),
            Some(Prune::Magnitude { share: their_share, scope: their_scope }),
        ) => Some(Prune::Magnitude {
            share: newer(*share0, *share, *their_share),
            scope: newer(*scope0, *scope, *their_scope),
        }),
        // A share turned on one kind of pruning turns theirs of the same kind.
        (Some(before), Some(after), Some(theirs))
            if before.clone().with_share(zero()) == after.clone().with_share(zero())
                && std::mem::discriminant(after) == std::mem::discriminant(theirs) =>
        {
            after.share().map(|share| theirs.clone().with_share(share))
        }
        _ => new.cloned(),
    }
}

fn zero() -> Decimal {
    Decimal::from_f64(0.0, 0)
}

fn carry_quantize(old: Option<&Quantize>, new: Option<&Quantize>, theirs: Option<&Quantize>) -> Option<Quantize> {
    match (old, new, theirs) {
        (
            Some(Quantize::Int { bits: bits0, unit: unit0, asymmetric: asymmetric0, range: range0, a8: false }),
            Some(Quantize::Int { bits, unit, asymmetric, range, a8: false }),
            Some(Quantize::Int {
                bits: their_bits,
                unit: their_unit,
                asymmetric: theirs,
                range: their_range,
                a8: false,
            }),
        ) => Some(Quantize::Int {
            bits: newer(*bits0, *bits, *their_bits),
            unit: newer(*unit0, *unit, *their_unit),
            asymmetric: newer(*asymmetric0, *asymmetric, *theirs),
            range: newer(*range0, *range, *their_range),
            a8: false,
        }),
        _ => new.cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(text: &str) -> Scheme {
        text.parse().expect("it is a scheme")
    }

    #[test]
    fn a_dial_keeps_what_it_does_not_turn() {
        let turned = |dial: Dial, text: &str| dial.on(&scheme(text)).to_string();
        let pruned = |share: &str| Dial::Pruned(Decimal::parse(share).expect("it is a decimal"));
        assert_eq!(turned(Dial::Bits(4), "prune:0.5:row+int8:g64:asym"), "prune:0.5:row+int4:g64:asym");
        assert_eq!(turned(Dial::Bits(8), "keep"), "int8:row");
        assert_eq!(turned(Dial::Bits(1), "keep"), "int2:row");
        assert_eq!(turned(Dial::Bits(UNQUANTIZED), "prune:0.5+int4:g64"), "prune:0.5");
        assert_eq!(turned(Dial::Bits(UNQUANTIZED), "bf16"), "bf16");
        assert_eq!(turned(Dial::Bits(6), "f16"), "int6:row");
        assert_eq!(turned(pruned("0.25"), "prune:0.5:row+int4:row"), "prune:0.25:row+int4:row");
        assert_eq!(turned(pruned("0"), "prune:0.5:row+int4:row"), "int4:row");
        assert_eq!(turned(pruned("0.1"), "keep"), "prune:0.1");
        assert_eq!(turned(pruned("0.1"), "block:4x4:0.5+int4:row"), "block:4x4:0.1+int4:row");
        assert_eq!(turned(pruned("0.1"), "nm:2:4"), "prune:0.1");
        assert_eq!([bits_of(&scheme("int3:row")), bits_of(&scheme("bf16")), bits_of(&Scheme::keep())], [3, 9, 9]);
    }

    #[test]
    fn only_what_changed_is_carried_over() {
        let carried = |old, new, theirs| carry(&scheme(old), &scheme(new), &scheme(theirs)).to_string();
        assert_eq!(carried("prune:0.5", "prune:0.6", "prune:0.1:row+int4:g64"), "prune:0.6:row+int4:g64");
        assert_eq!(carried("block:4x4:0.5", "block:4x4:0.6", "block:2x8:0.1+int4:row"), "block:2x8:0.6+int4:row");
        assert_eq!(carried("block:4x4:0.5", "block:2x2:0.5", "block:2x8:0.1"), "block:2x2:0.5");
        assert_eq!(carried("random:0.5:1", "random:0.6:1", "prune:0.1"), "random:0.6:1");
        assert_eq!(carried("int8:row", "int4:row", "prune:0.1+int6:g64:asym"), "prune:0.1+int4:g64:asym");
        assert_eq!(carried("int8:row", "int8:g32", "int3:row"), "int3:g32");
        assert_eq!(carried("int8:row", "int8:row:asym", "keep"), "int8:row:asym");
        assert_eq!(carried("keep", "int4:row", "prune:0.3"), "prune:0.3+int4:row");
        assert_eq!(carried("prune:0.5+int4:row", "int4:row", "prune:0.7+bf16"), "bf16");
        assert_eq!(carried("int4:row", "int4:row", "prune:0.7"), "prune:0.7");
    }

    #[test]
    fn a_row_that_cannot_take_a_change_stays_as_it_is() {
        let carried =
            |old: &str, new: &str, theirs: &str| carry(&scheme(old), &scheme(new), &scheme(theirs)).to_string();
        assert_eq!(carried("keep", "prune:0.5", "rank:8+int4"), "rank:8+int4:row");
        assert_eq!(carried("int4", "int4:p99.9", "int3:g64:asym"), "int3:g64:asym");
        assert_eq!(carried("int4", "int4:mse", "int3:g64:asym"), "int3:g64:asym:mse");
    }
}
