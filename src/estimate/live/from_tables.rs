//! Grids of rows and groups that were tried at every width when the profile was made: pruned, with a zero point, clipped, or on
//! weights whose sketch is not trusted. A dial over them is a look-up.

use super::{Answer, Case, Rounding, rounding};
use crate::kernels::layout::{CHUNK, Unit};
use crate::profile::tables::Cell;
use crate::profile::{Grain, Kind};
use crate::recipe::{Prune, Quantize, Range, Scope};

/// The answer from the tensor's tables; `None` where they do not reach.
pub(super) fn answer(case: &Case<'_>) -> Option<Answer> {
    let tables = case.profile.tables.as_ref()?;
    let Some(Quantize::Int { bits, unit, asymmetric, range, .. }) = case.scheme.quantize else { return None };
    let grain = Grain::of(unit)?;
    let rounding = rounding(case.tensor, case.target);
    // A few very long rows stand or fall with single weights: those are answered from as many groups as there are.
    let long = unit == Unit::Row && case.tensor.geometry().cols > CHUNK;
    if matches!(range, Range::Percentile(_)) || rounding == Rounding::Other || long {
        return None;
    }
    let kind = Kind::of(range == Range::Mse, asymmetric)?;
    let (gone, pruned) = case.below_the_cut();
    let n = case.profile.moments.finite.max(1) as f64;
    let cell = match &case.scheme.prune {
        None => tables.plain(kind, grain, bits)?,
        Some(Prune::Magnitude { scope: Scope::Tensor | Scope::Global, .. }) if kind == Kind::Max => {
            let energy = case.profile.moments.energy.max(f64::MIN_POSITIVE);
            tables.pruned(grain, bits, gone / n, pruned / energy)?
        }
        Some(_) => return None,
    };
    Some(grow(case, &cell, grain, bits, rounding, (gone, pruned)))
}

/// From a cell to the tensor: what the table knows of pruning is exact, and the plain grid of the same width is known for the
/// whole tensor, where its sketch is trusted; only the ratio to it is drawn.
fn grow(case: &Case<'_>, cell: &Cell, grain: Grain, bits: u32, rounding: Rounding, cut: (f64, f64)) -> Answer {
    let (gone, pruned) = cut;
    let moments = &case.profile.moments;
    let plain = case.profile.grids[grain as usize][bits as usize - 2].map(|known| known.squared_error);
    let of = |[value, error]: [f32; 2], whole: f64| [f64::from(value) * whole, f64::from(error) * whole];
    let [rest, error] = match plain {
        Some(plain) if cell.against_plain[0].is_finite() => of(cell.against_plain, plain),
        _ => of(cell.against_energy, moments.energy),
    };
    // The dense target rounds levels into the tensor's dtype: as the checks have measured it on the plain grid.
    let (extra, extra_error) = match (rounding, plain) {
        (Rounding::Measured, Some(plain)) => {
            let (share, standard) = case.profile.checks.dense(grain, bits);
            (share * plain, standard * plain)
        }
        _ => (0.0, 0.0),
    };
    let squared_error = pruned + rest + extra;
    let standard = error.hypot(extra_error).hypot(case.other_clip() * rest);
    let n = case.tensor.elements() as f64;
    let alive = (n - gone).max(0.0);
    let zeros = gone + f64::from(cell.zeros) * alive;
    Answer {
        squared_error,
        pruned_error: pruned,
        clipped_error: f64::from(cell.clipped) * rest,
        energy_after: f64::from(cell.after) * moments.energy,
        zeros,
        code_bits: Some(code_bits(n, zeros, alive, f64::from(cell.code_bits))),
        error: Some(if squared_error > 0.0 { standard / squared_error } else { 0.0 }),
        sampled: true,
    }
}

/// n·H0 in bits, of `zeros` codes that are 0 and `alive` elements among which the others have the entropy terms `others`.
fn code_bits(n: f64, zeros: f64, alive: f64, others: f64) -> f64 {
    let log = |count: f64, of: f64| if count > 0.0 { count * (of / count).log2() } else { 0.0 };
    // −Σ c·log2(c/n) over c = alive·p is alive·Σ −p·log2 p, and c·log2(n/alive) for each.
    let nonzero = n - zeros;
    let spread = if alive > 0.0 { nonzero * (n / alive).log2() } else { 0.0 };
    log(zeros, n) + alive * others + spread
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::entropy::shannon_bits;

    #[test]
    fn entropy_from_its_parts_is_that_of_the_whole() {
        // 100 elements: 40 gone, of the others 10 on 0, 30 on 1, 20 on 2.
        let parts = [30.0_f64, 20.0].iter().map(|c| c / 60.0 * (60.0 / c).log2()).sum::<f64>();
        let whole = shannon_bits([50, 30, 20]);
        assert!((code_bits(100.0, 50.0, 60.0, parts) - whole).abs() < 1e-9);
        assert_eq!(code_bits(7.0, 7.0, 0.0, 0.0), 0.0);
    }
}
