//! Bytes and errors: what a plan costs and what it breaks, tensor by tensor and in all, each number with its kind.
//!
//! | file | what it settles |
//! |---|---|
//! | [`stats`] | statistics of the source, as `inspect` gives them |
//! | [`exact`] | one tensor under one scheme, by a pass over its values |
//! | [`factors`] | the bytes of a tensor that two matrices stand for |
//! | [`live`] | one tensor under one scheme, from its profile, in the same frame |
//! | [`packing`] | which form a tensor takes in `packed` |
//! | [`parts`] | which tensors of a file a tensor becomes |
//! | `foreseen` | the same from a profile, before the values are read |
//! | [`size`] | stored, sparse and entropy bytes, as formulas |
//! | `spread` | percentiles of scales, in bounded memory |
//! | [`spectrum`] | singular values, and what every rank comes to |
//! | [`total`] | the model: sums, overhead, bits per weight, fidelity |
//! | [`fidelity`] | the headline proxy |
//! | [`compare`] | two models side by side |
//! | [`beside`] | a tensor as its scheme leaves it, beside another model's |

pub mod beside;
pub mod compare;
pub mod exact;
pub mod factors;
pub mod fidelity;
pub mod files;
mod foreseen;
pub mod gguf_file;
pub mod live;
pub mod packing;
pub mod parts;
pub mod size;
pub mod spectrum;
mod spread;
pub mod stats;
pub mod total;

pub use exact::{TensorEstimate, estimate_tensor};
pub use fidelity::FidelityForm;
pub use packing::Packing;
pub use size::Sizes;
pub use spectrum::Spectrum;
pub use stats::{TensorStats, tensor_stats};
pub use total::{ModelEstimate, estimate_model, overhead_bytes};

/// What kind of number this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Computed over every element.
    Exact,
    /// From a sketch, with its error.
    Live,
    /// From a sample, with its error.
    Sampled,
    /// A model was really run.
    Measured,
}

impl Label {
    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Live => "live",
            Self::Sampled => "sampled",
            Self::Measured => "measured",
        }
    }
}
