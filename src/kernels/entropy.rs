//! What codes would cost if they were stored better: the Shannon bound of a table of counts, and relative indices.
//!
//! Relative indices are Deep Compression's (Han, Mao and Dally 2016, §2): before each nonzero stands the gap of zeros
//! since the last one in r bits; a gap that does not fit is bridged by filler entries, ⌊gap / 2^r⌋ of them.

use super::Real;
use super::dispatch::{self, Kernel};

/// Index widths that [`Gaps`] prices, in bits.
pub const INDEX_BITS: std::ops::RangeInclusive<u32> = 2..=8;

const WIDTHS: usize = 7;

/// Σ −log2(p) over `counts`: the Shannon bound n·H0 in bits. An empty table costs nothing.
#[must_use]
pub fn shannon_bits(counts: impl IntoIterator<Item = u64>) -> f64 {
    let counts: Vec<u64> = counts.into_iter().filter(|&count| count > 0).collect();
    let total: u64 = counts.iter().sum();
    let total = total as f64;
    counts.iter().map(|&count| count as f64 * (total / count as f64).log2()).sum()
}

/// Fillers needed at every index width, gathered run by run in file order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    leading: u64,
    trailing: u64,
    nonzero: u64,
    fillers: [u64; WIDTHS],
}

impl Gaps {
    /// The gaps of a run, given which of its elements are not zero.
    #[must_use]
    pub fn of(nonzero: impl Iterator<Item = bool>) -> Self {
        let mut out = Self::default();
        for present in nonzero {
            if present {
                if out.nonzero == 0 {
                    out.leading = out.trailing;
                } else if out.trailing >= 4 {
                    out.bridge(out.trailing);
                }
                out.nonzero += 1;
                out.trailing = 0;
            } else {
                out.trailing += 1;
            }
        }
        out
    }

    /// What gaps would be if `nonzero` of `n` elements were spread without any order: a gap is then geometric, and needs
    /// x / (1 − x) fillers on average, with x = (1 − density)^(2^r).
    #[must_use]
    pub fn expected(n: u64, nonzero: u64) -> Self {
        let mut out = Self { nonzero, trailing: n.saturating_sub(nonzero), ..Self::default() };
        if nonzero == 0 || nonzero >= n {
            return out;
        }
        let empty = (1.0 - nonzero as f64 / n as f64).ln();
        for (fillers, bits) in out.fillers.iter_mut().zip(INDEX_BITS) {
            let x = (empty * f64::from(1_u32 << bits)).exp();
            *fillers = (nonzero as f64 * x / (1.0 - x)) as u64;
        }
        out
    }

    /// The gaps of a slice: 64 elements at a time where they are all zero or none is.
    #[must_use]
    pub fn of_values<T: Real>(values: &[T]) -> Self {
        dispatch::run(GapsOf(values))
    }

    #[inline(always)]
    fn of_words<T: Real>(values: &[T]) -> Self {
        let mut out = Self::default();
        for word in values.chunks(64) {
            let mut mask = 0_u64;
            for (i, value) in word.iter().enumerate() {
                mask |= u64::from(*value != T::ZERO) << i;
            }
            let run = if mask == u64::MAX {
                Self { nonzero: 64, ..Self::default() }
            } else if mask == 0 {
                Self { trailing: word.len() as u64, ..Self::default() }
            } else {
                Self::of((0..word.len()).map(|i| mask >> i & 1 == 1))
            };
            out = out.merge(run);
        }
        out
    }

    /// Numbers in [`Gaps::to_parts`].
    pub const PARTS: usize = 3 + WIDTHS;

    /// Everything it holds, for keeping.
    #[must_use]
    pub fn to_parts(&self) -> [u64; Self::PARTS] {
        let mut parts = [self.leading, self.trailing, self.nonzero, 0, 0, 0, 0, 0, 0, 0];
        parts[3..].copy_from_slice(&self.fillers);
        parts
    }

    /// The inverse of [`Gaps::to_parts`].
    #[must_use]
    pub fn from_parts(parts: [u64; Self::PARTS]) -> Self {
        let [leading, trailing, nonzero, fillers @ ..] = parts;
        Self { leading, trailing, nonzero, fillers }
    }

    /// Joins the run that follows this one; the zeros on both sides of the seam are one gap.
    #[must_use]
    pub fn merge(self, next: Self) -> Self {
        let mut out = self;
        if next.nonzero == 0 {
            out.trailing += next.trailing;
            return out;
        }
        let seam = self.trailing + next.leading;
        if self.nonzero == 0 {
            out.leading = seam;
        } else {
            out.bridge(seam);
        }
        for (mine, theirs) in out.fillers.iter_mut().zip(next.fillers) {
            *mine += theirs;
        }
        out.nonzero += next.nonzero;
        out.trailing = next.trailing;
        out
    }

    fn bridge(&mut self, gap: u64) {
        for (fillers, bits) in self.fillers.iter_mut().zip(INDEX_BITS) {
            *fillers += gap >> bits;
        }
    }

    /// Elements that are not zero.
    #[must_use]
    pub fn nonzero(&self) -> u64 {
        self.nonzero
    }

    /// The least of (entries + fillers)·(code bits + index bits) over the index widths, in bytes.
    #[must_use]
    pub fn index_bytes(&self, code_bits: u64) -> u64 {
        // The run's own leading gap counts as well: it stands before the first nonzero.
        let lead = |bits: u32| if self.nonzero == 0 { 0 } else { self.leading >> bits };
        let cost = |(fillers, bits): (u64, u32)| {
            ((self.nonzero + fillers + lead(bits)) * (code_bits + u64::from(bits))).div_ceil(8)
        };
        self.fillers.into_iter().zip(INDEX_BITS).map(cost).min().unwrap_or(0)
    }
}

struct GapsOf<'a, T>(&'a [T]);

impl<T: Real> Kernel for GapsOf<'_, T> {
    type Output = Gaps;

    #[inline(always)]
    fn run(self) -> Gaps {
        Gaps::of_words(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shannon_by_hand() {
        assert_eq!(shannon_bits([4, 4]), 8.0);
        assert_eq!(shannon_bits([8, 0]), 0.0);
        assert_eq!(shannon_bits([]), 0.0);
        assert!((shannon_bits([2, 1, 1]) - 6.0).abs() < 1e-12);
    }

    fn specification(mask: &[bool], code_bits: u64) -> u64 {
        INDEX_BITS
            .map(|r| {
                let (mut gap, mut entries) = (0_u64, 0_u64);
                for &present in mask {
                    if present {
                        entries += 1 + gap / (1 << r);
                        gap = 0;
                    } else {
                        gap += 1;
                    }
                }
                (entries * (code_bits + u64::from(r))).div_ceil(8)
            })
            .min()
            .unwrap()
    }

    #[test]
    fn disorder_is_what_it_is_expected_to_be() {
        for one_in in [2_u64, 10, 100, 400] {
            let mut state = 5_u64;
            let mut draw = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33).is_multiple_of(one_in)
            };
            let mask: Vec<bool> = (0..400_000).map(|_| draw()).collect();
            let gaps = Gaps::of(mask.iter().copied());
            let (real, guess) = (gaps.index_bytes(4), Gaps::expected(400_000, gaps.nonzero()).index_bytes(4));
            assert!((guess as f64 / real as f64 - 1.0).abs() < 0.02, "{one_in}: {real} {guess}");
        }
        assert_eq!(Gaps::expected(10, 0).index_bytes(4), 0);
        assert_eq!(Gaps::expected(10, 10).index_bytes(4), Gaps::of([true; 10].into_iter()).index_bytes(4));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_definition(
            runs in prop::collection::vec((0_usize..700, 0_usize..4), 0..12),
            pieces in 1_usize..300,
            code_bits in 1_u64..17,
        ) {
            let mask: Vec<bool> = runs
                .iter()
                .flat_map(|&(zeros, ones)| std::iter::repeat_n(false, zeros).chain(std::iter::repeat_n(true, ones)))
                .collect();
            let gaps = mask
                .chunks(pieces)
                .map(|piece| Gaps::of(piece.iter().copied()))
                .fold(Gaps::default(), Gaps::merge);
            prop_assert_eq!(gaps.index_bytes(code_bits), specification(&mask, code_bits));
            let values: Vec<f32> = mask.iter().map(|&m| if m { -1.5 } else { -0.0 }).collect();
            prop_assert_eq!(Gaps::of_values(&values), Gaps::of(mask.iter().copied()));
            prop_assert_eq!(gaps.nonzero(), mask.iter().filter(|&&m| m).count() as u64);
        }
    }
}
