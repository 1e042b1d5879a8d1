//! A ranking by chance that anybody can repeat: every element of every tensor has a number that depends on seed, name and index
//! alone, never on threads or on the order of work.
//!
//! ```text
//! key(index) = mix(mix(seed xor fnv1a64(name)) + index)         mix: the step of splitmix64 (Steele, Lea, Flood 2014)
//! ```
//!
//! `mix` is one-to-one, so two elements of a tensor never have the same key.

/// One step of splitmix64: its increment, then its finalizer.
#[must_use]
#[inline(always)]
pub const fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The 64-bit FNV-1a hash of some bytes.
#[must_use]
pub fn fnv1a64(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, step)
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
        Self { base: mix(seed ^ fnv1a64(name.as_bytes())) }
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
        // splitmix64 seeded with 1234567 (the reference implementation of Vigna), and FNV-1a's own test vectors.
        let gamma = 0x9E37_79B9_7F4A_7C15_u64;
        let third = |i: u64| mix(1_234_567_u64.wrapping_add(gamma.wrapping_mul(i)));
        assert_eq!(
            [third(0), third(1), third(2)],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
        assert_eq!(fnv1a64(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a64(b"a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(fnv1a64(b"foobar"), 0x8594_4171_F739_67E8);
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
