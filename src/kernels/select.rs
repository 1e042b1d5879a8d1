//! The k-th smallest magnitude of any stream of weights, exactly, without keeping or sorting them.
//!
//! ```text
//! keys (|w| as bits)  ──►  count the top 16 bits  ──►  which digit holds the k-th?  ──►  count the next 16 bits …
//! ```
//!
//! [`Select`] walks down 16 bits at a time: two passes for f32, four for f64, one table of 65,536 counts each. Tables
//! add up, so one threshold over many tensors (global pruning) is the same walk. It refuses nothing and allocates
//! nothing that a file's numbers size.

use super::Real;
use super::dispatch::{self, Kernel};

/// Counts of one 16-bit digit.
pub type DigitTable = Vec<u64>;

/// Entries of a [`DigitTable`].
pub const DIGITS: usize = 1 << 16;

/// Where the knife falls: every magnitude below `key` goes, and the first `ties` of those equal to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Magnitude key ([`Real::magnitude_key`]) of the k-th smallest element.
    pub key: u64,
    /// How many elements with exactly that key go, lowest index first; at least 1.
    pub ties: u64,
    /// How many elements have exactly that key. Where it equals `ties`, order does not matter.
    pub equal: u64,
}

/// A walk in progress towards the k-th smallest key.
#[derive(Clone, Debug)]
pub struct Select {
    key_bits: u32,
    known_bits: u32,
    prefix: u64,
    remaining: u64,
}

impl Select {
    /// Starts a walk to the `k`-th smallest (counted from 1) of keys that are `key_bits` wide (32 or 64).
    /// `None` when `k` is 0: nothing is below the first.
    #[must_use]
    pub fn new(k: u64, key_bits: u32) -> Option<Self> {
        (k > 0).then_some(Self { key_bits, known_bits: 0, prefix: 0, remaining: k })
    }

    /// Whether the first digit is being counted: for f32, [`super::table::Counts`] then does it faster.
    #[must_use]
    pub fn is_at_first_digit(&self) -> bool {
        self.known_bits == 0
    }

    /// Adds one slice to the table of the current digit. Non-finite elements are left out.
    pub fn count<T: Real>(&self, values: &[T], table: &mut DigitTable) {
        dispatch::run(Count { select: self, values, table });
    }

    /// [`Select::count`] for keys made elsewhere (a pool that mixes widths uses f64 keys throughout).
    pub fn count_keys(&self, keys: impl Iterator<Item = u64>, table: &mut DigitTable) {
        let shift = self.key_bits - self.known_bits - 16;
        if self.known_bits == 0 {
            keys.for_each(|key| table[(key >> shift) as usize & (DIGITS - 1)] += 1);
        } else {
            keys.filter(|key| key >> (shift + 16) == self.prefix)
                .for_each(|key| table[(key >> shift) as usize & (DIGITS - 1)] += 1);
        }
    }

    /// Takes the finished table of a digit; gives the threshold after the last digit, `None` while digits remain.
    /// A `k` past the number of keys ends at the largest of them.
    pub fn narrow(&mut self, table: &DigitTable) -> Option<Threshold> {
        let mut below = 0;
        let mut last = None;
        for (digit, &count) in table.iter().enumerate().filter(|&(_, &count)| count > 0) {
            last = Some((digit, below, count));
            if below + count >= self.remaining {
                break;
            }
            below += count;
        }
        let (digit, below, count) = last.unwrap_or((0, 0, 0));
        self.prefix = (self.prefix << 16) | digit as u64;
        self.remaining = (self.remaining - below).min(count);
        self.known_bits += 16;
        (self.known_bits == self.key_bits).then_some(Threshold { key: self.prefix, ties: self.remaining, equal: count })
    }
}

struct Count<'a, T> {
    select: &'a Select,
    values: &'a [T],
    table: &'a mut DigitTable,
}

impl<T: Real> Kernel for Count<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let shift = self.select.key_bits - self.select.known_bits - 16;
        let Some(table) = self.table.as_mut_array::<DIGITS>() else { return };
        if self.select.known_bits == 0 {
            let digit = |value: T| (value.magnitude_key() >> shift) as u16 as usize;
            let (fours, rest) = self.values.as_chunks::<4>();
            for &[a, b, c, d] in fours {
                let (a, b, c, d) = (digit(a), digit(b), digit(c), digit(d));
                table[a] += 1;
                table[b] += 1;
                table[c] += 1;
                table[d] += 1;
            }
            rest.iter().for_each(|&value| table[digit(value)] += 1);
            // What is not finite has the highest exponent, and with it the highest digits.
            table[T::first_strange_digit()..].fill(0);
            return;
        }
        // Magnitudes between two keys, as floats: compared at their own width.
        let known = shift + 16;
        let low = T::from_magnitude_key(self.select.prefix << known);
        let high = T::from_magnitude_key((self.select.prefix + 1) << known);
        let of_interest = |value: &T| (value.abs() >= low) & (value.abs() < high);
        for lanes in self.values.chunks(32) {
            // Few are: most runs of 32 are passed over in one comparison.
            let mut some = false;
            for value in lanes {
                some |= of_interest(value);
            }
            if some {
                for value in lanes.iter().filter(|value| of_interest(value)) {
                    table[(value.magnitude_key() >> shift) as u16 as usize] += 1;
                }
            }
        }
    }
}

/// The threshold of one slice that is at hand, for rows: the `k` smallest finite magnitudes, ties by lower index.
/// `scratch` is reused from call to call. `None` when `k` is 0 or nothing is finite.
pub fn threshold_of<T: Real>(values: &[T], k: u64, scratch: &mut Vec<u64>) -> Option<Threshold> {
    scratch.clear();
    scratch.extend(values.iter().filter(|v| v.is_finite()).map(|v| v.magnitude_key()));
    let k = usize::try_from(k).unwrap_or(usize::MAX).min(scratch.len());
    if k == 0 {
        return None;
    }
    let (below, &mut key, above) = scratch.select_nth_unstable(k - 1);
    let ties = k - below.iter().filter(|&&other| other < key).count();
    let equal = ties + above.iter().filter(|&&other| other == key).count();
    Some(Threshold { key, ties: ties as u64, equal: equal as u64 })
}

/// Zeroes what the threshold prunes. `ties_seen` counts elements with the threshold's own key met so far, so that a
/// tensor can be cut in pieces. Elements already zero keep their sign; NaN and infinities stay.
pub fn apply<T: Real>(values: &mut [T], threshold: Threshold, key: impl Fn(T) -> u64, ties_seen: &mut u64) {
    for value in values.iter_mut().filter(|v| v.is_finite()) {
        let k = key(*value);
        let mut goes = k < threshold.key;
        if k == threshold.key {
            goes = *ties_seen < threshold.ties;
            *ties_seen += 1;
        }
        if goes && *value != T::ZERO {
            *value = T::ZERO;
        }
    }
}

/// Elements of a slice whose key equals the threshold's: what [`apply`] will have seen after it.
pub fn count_ties<T: Real>(values: &[T], threshold: Threshold, key: impl Fn(T) -> u64) -> u64 {
    values.iter().filter(|v| v.is_finite() && key(**v) == threshold.key).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The contract's sentence, as a sort: the k smallest |w|, ties by lower index, zeros left as they are.
    fn specification(values: &[f32], k: usize) -> Vec<f32> {
        let mut order: Vec<usize> = (0..values.len()).filter(|&i| values[i].is_finite()).collect();
        order.sort_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()).then(a.cmp(&b)));
        let mut out = values.to_vec();
        for &i in order.iter().take(k) {
            if out[i] != 0.0 {
                out[i] = 0.0;
            }
        }
        out
    }

    fn by_walk<T: Real>(values: &[T], k: usize, pieces: usize) -> Vec<T> {
        let mut out = values.to_vec();
        let Some(mut select) = Select::new(k as u64, T::KEY_BITS) else { return out };
        let threshold = loop {
            let mut table = vec![0; DIGITS];
            values.chunks(pieces).for_each(|piece| select.count(piece, &mut table));
            if let Some(threshold) = select.narrow(&table) {
                break threshold;
            }
        };
        let mut seen = 0;
        for piece in out.chunks_mut(pieces) {
            apply(piece, threshold, Real::magnitude_key, &mut seen);
        }
        out
    }

    fn same_bits(a: &[f32], b: &[f32]) -> bool {
        a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()))
    }

    fn weight() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => -1.0_f32..1.0,
            3 => prop::sample::select(vec![0.0, -0.0, 0.5, -0.5, 1e-42, -1e-42, 3e38, 0.25]),
            1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
        ]
    }

    proptest! {
        #[test]
        fn every_way_equals_the_sort(values in prop::collection::vec(weight(), 0..200), share in 0.0_f64..=1.0, pieces in 1_usize..40) {
            let finite = values.iter().filter(|v| v.is_finite()).count();
            let k = (finite as f64 * share).round() as usize;
            let want = specification(&values, k);
            prop_assert!(same_bits(&by_walk(&values, k, pieces), &want));
            let wide: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            let wide: Vec<f32> = by_walk(&wide, k, pieces).iter().map(|&v| v as f32).collect();
            prop_assert!(values.iter().any(|v| v.is_nan()) || same_bits(&wide, &want));
            let mut row = values.clone();
            if let Some(threshold) = threshold_of(&values, k as u64, &mut Vec::new()) {
                apply(&mut row, threshold, Real::magnitude_key, &mut 0);
            }
            prop_assert!(same_bits(&row, &want));
            // Idempotent: what is gone is among the smallest.
            prop_assert!(same_bits(&by_walk(&want, k, pieces), &want));
        }
    }

    #[test]
    fn nothing_to_prune_is_no_walk() {
        assert!(Select::new(0, 32).is_none());
        assert_eq!(threshold_of(&[1.0_f32], 0, &mut Vec::new()), None);
        assert_eq!(threshold_of::<f32>(&[], 3, &mut Vec::new()), None);
    }
}
