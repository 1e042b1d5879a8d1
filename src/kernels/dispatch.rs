//! One source, several instruction sets: a kernel is written once in plain Rust and compiled for each level that the
//! processor may have; which one runs is asked at run time, so one binary is fast everywhere.
//!
//! Nothing in a kernel depends on the level: lanes are counted in the source, and neither rustc nor LLVM may contract or
//! reorder floating-point sums. Every level therefore gives the same bits, and the tests of each kernel walk over
//! [`Level::all`] to see it.

use std::sync::OnceLock;

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the architecture has: SSE2 on x86-64, NEON on ARM64.
    Portable,
    /// x86-64 with AVX2, FMA, BMI and F16C (2013 and later).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512 F, BW, CD, DQ and VL (servers since 2017).
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Work that can be compiled for any level. `run` must be `#[inline(always)]`, so that it melts into the level's function
/// and is compiled with its instructions.
pub trait Kernel {
    /// What it gives.
    type Output;
    /// Does the work.
    fn run(self) -> Self::Output;
}

impl Level {
    /// The best level of this processor, asked once.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().last().copied().unwrap_or(Self::Portable))
    }

    /// Every level that this processor can run, lowest first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "only x86-64 has levels above the first"))]
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma") && has!("bmi1") && has!("bmi2") && has!("f16c") && has!("lzcnt");
            if avx2 && has!("popcnt") {
                levels.push(Self::Avx2);
                let wide = has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq");
                if wide && has!("avx512vl") {
                    levels.push(Self::Avx512);
                }
            }
        }
        levels
    }

    /// Its name, for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        }
    }

    /// Runs a kernel at this level.
    ///
    /// # Panics
    /// When this processor does not have the level; [`Level::all`] gives those it has.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the one place where a level is entered"))]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Portable => kernel.run(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                assert!(Self::best() >= Self::Avx2, "this processor has no AVX2");
                // SAFETY: `best` is at least AVX2 only where `all` found every feature that `avx2` enables.
                unsafe { avx2(kernel) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                assert!(Self::best() >= Self::Avx512, "this processor has no AVX-512");
                // SAFETY: `best` is AVX-512 only where `all` found every feature that `avx512` enables.
                unsafe { avx512(kernel) }
            }
        }
    }
}

/// Runs a kernel at the best level of this processor.
#[inline]
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    Level::best().run(kernel)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,f16c,lzcnt,popcnt")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,f16c,lzcnt,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum<'a>(&'a [f32]);

    impl Kernel for Sum<'_> {
        type Output = f32;
        #[inline(always)]
        fn run(self) -> f32 {
            let mut lanes = [0.0_f32; 16];
            for wide in self.0.chunks(16) {
                lanes.iter_mut().zip(wide).for_each(|(sum, x)| *sum += x * 0.1);
            }
            lanes.iter().sum()
        }
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let values: Vec<f32> = (0..1000).map(|i| (i as f32).sin()).collect();
        let levels = Level::all();
        assert_eq!(levels[0], Level::Portable);
        assert_eq!(levels.last(), Some(&Level::best()));
        assert!(levels.windows(2).all(|pair| pair[0] < pair[1]));
        for level in levels {
            assert_eq!(level.run(Sum(&values)).to_bits(), Sum(&values).run().to_bits(), "{}", level.name());
        }
    }
}
