//! Counting weights by the upper 16 bits of their f32: sign, exponent and seven bits of mantissa.
//!
//! For bf16 and every 8-bit float this is the tensor's distribution exactly; for wider floats a bin is 1/128 to 1/256 of
//! its value wide. Tables of different tensors have the same bins, so they add up.

use super::dispatch::{self, Kernel};

/// Bins: every value of 16 bits.
pub const SIGNED: usize = 1 << 16;
/// Bins without the sign.
pub const MAGNITUDES: usize = 1 << 15;
/// The first magnitude bin that is not finite.
pub const FIRST_STRANGE: usize = 0x7f80;

/// One table.
type Table = Box<[u32; SIGNED]>;

/// Counts in progress: two tables that take turns, so that equal neighbours do not wait for each other.
#[derive(Clone, Debug)]
pub struct Counts {
    tables: [Table; 2],
}

impl Default for Counts {
    fn default() -> Self {
        // Made on the heap, one after the other: half a MiB does not belong on a worker's stack.
        let table = || -> Table {
            let empty: Result<Table, _> = vec![0_u32; SIGNED].into_boxed_slice().try_into();
            empty.unwrap_or_else(|_| unreachable!("the length is the length"))
        };
        Self { tables: [table(), table()] }
    }
}

struct Add<'a> {
    values: &'a [f32],
    tables: &'a mut [Table; 2],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let [even, odd] = self.tables;
        let (pairs, rest) = self.values.as_chunks::<4>();
        let bin = |value: f32| (value.to_bits() >> 16) as u16 as usize;
        for four in pairs {
            even[bin(four[0])] += 1;
            odd[bin(four[1])] += 1;
            even[bin(four[2])] += 1;
            odd[bin(four[3])] += 1;
        }
        rest.iter().for_each(|&value| even[bin(value)] += 1);
    }
}

impl Counts {
    /// Adds the values of a slice, NaN and infinities in bins of their own. At most 2³² − 1 values in all.
    pub fn add(&mut self, values: &[f32]) {
        dispatch::run(Add { values, tables: &mut self.tables });
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.tables.iter_mut().zip(&other.tables) {
            mine.iter_mut().zip(theirs.iter()).for_each(|(a, b)| *a = a.saturating_add(*b));
        }
    }

    /// Elements in a bin: the upper 16 bits of an f32.
    #[must_use]
    pub fn get(&self, bin: usize) -> u64 {
        u64::from(self.tables[0][bin]) + u64::from(self.tables[1][bin])
    }

    /// Adds the counts of finite magnitudes, both signs together: the first digit of a selection among f32.
    pub fn add_magnitudes_to(&self, sum: &mut [u64]) {
        for (bin, sum) in sum.iter_mut().enumerate().take(FIRST_STRANGE) {
            *sum += self.get(bin) + self.get(bin + MAGNITUDES);
        }
    }

    /// Adds all counts to wider ones.
    pub fn add_to(&self, sum: &mut [u64]) {
        let [even, odd] = &self.tables;
        for ((sum, &a), &b) in sum.iter_mut().zip(even.iter()).zip(odd.iter()) {
            *sum += u64::from(a) + u64::from(b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::Level;

    #[test]
    fn counts_every_pattern_where_it_belongs_at_every_level_and_length() {
        let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-42, -1e-42, 3.4e38];
        for length in (0..40).chain([1000, 4099]) {
            let values: Vec<f32> =
                (0..length)
                    .map(|i: u32| {
                        if i % 11 == 5 {
                            strange[i as usize % 8]
                        } else {
                            f32::from_bits(i.wrapping_mul(2_654_435_761))
                        }
                    })
                    .collect();
            let mut expected = vec![0_u64; SIGNED];
            values.iter().for_each(|v| expected[(v.to_bits() >> 16) as usize] += 1);
            for level in Level::all() {
                let mut counts = Counts::default();
                level.run(Add { values: &values, tables: &mut counts.tables });
                let mut sum = vec![0; SIGNED];
                counts.add_to(&mut sum);
                assert_eq!(sum, expected, "{} {length}", level.name());
                assert_eq!(counts.get(0x8000), expected[0x8000]);
            }
        }
    }
}
