//! A ranking by chance that anybody can repeat: every element of every tensor has a number that depends on seed, name and index
//! alone, never on threads or on the order of work.
//!
//! ```text
//! key(index) = mix(mix(seed xor fnv1a(name)) + index)           mix: the step of splitmix64 (Steele, Lea, Flood 2014)
//! ```
//!
//! `mix` is one-to-one, so two elements of a tensor never have the same key.

use super::hash::{START, fnv1a};

/// What splitmix64 adds to its state at every step.
const INCREMENT: u64 = 0x9E37_79B9_7F4A_7C15;

/// One step of splitmix64: its increment, then its finalizer.
#[must_use]
#[inline(always)]
pub const fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(INCREMENT);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The numbers that splitmix64 gives one after the other from a seed: for whatever needs chance that is the same in every run.
pub fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |state| Some(state.wrapping_add(INCREMENT))).map(mix)
}

/// The ranking of one tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scatter {
    base: u64,
}

impl Scatter {
    /// The ranking of the tensor called `name` under a seed.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        Self { base: mix(seed ^ fnv1a(name.as_bytes(), START)) }
    }

    /// The key of the element at a flat index: those with the smallest go first.
    #[must_use]
    #[inline(always)]
    pub const fn key(self, index: u64) -> u64 {
        mix(self.base.wrapping_add(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_numbers() {
        // splitmix64 seeded with 1234567 (the reference implementation of Vigna).
        assert_eq!(
            numbers(1_234_567).take(3).collect::<Vec<_>>(),
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn keys_differ_and_depend_on_everything() {
        let keys = |seed, name| -> Vec<u64> {
            let scatter = Scatter::new(seed, name);
            (0..1000).map(|i| scatter.key(i)).collect()
        };
        let mut all = keys(0, "a");
        for (seed, name) in [(1, "a"), (0, "b"), (u64::MAX, "a")] {
            assert_ne!(keys(seed, name), keys(0, "a"));
            all.extend(keys(seed, name));
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4000);
    }
}
