//! Three sizes of a tensor, as formulas: stored in the target, sparse at best, and the entropy bound.

use crate::formats::Dtype;
use crate::formats::packed_layout::{Code, Coding, Form, code_bytes};
use crate::kernels::entropy::Gaps;
use crate::kernels::layout::Geometry;
use crate::model::Tensor;
use crate::recipe::{Quantize, Scheme, Target};

/// Where the stored bytes of a tensor go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Codes or elements.
    pub values: u64,
    /// Scales.
    pub scales: u64,
    /// Zero points.
    pub zero_points: u64,
    /// The mask of nonzeros.
    pub mask: u64,
    /// Gaps between nonzeros.
    pub indices: u64,
    /// Codebooks.
    pub codebook: u64,
    /// Factors whose product stands for the tensor, with all that belongs to them.
    pub factors: u64,
    /// A tensor that is stored as it was.
    pub untouched: u64,
}

impl Sizes {
    /// The payload.
    #[must_use]
    pub fn total(&self) -> u64 {
        let codes = self.values + self.mask + self.indices;
        codes + self.scales + self.zero_points + self.codebook + self.factors + self.untouched
    }

    /// Sums part by part.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            values: self.values + other.values,
            scales: self.scales + other.scales,
            zero_points: self.zero_points + other.zero_points,
            mask: self.mask + other.mask,
            indices: self.indices + other.indices,
            codebook: self.codebook + other.codebook,
            factors: self.factors + other.factors,
            untouched: self.untouched + other.untouched,
        }
    }
}

/// The code that a scheme stores in `packed`.
#[must_use]
pub fn code_of(scheme: &Scheme) -> Code {
    match scheme.quantize {
        Some(Quantize::Int { bits, unit, asymmetric, .. }) => Code::Integer { bits, unit, zero_points: asymmetric },
        _ => Code::Element,
    }
}

/// The dtype that a tensor has in the artifact: a plain cast changes it, nothing else does.
#[must_use]
pub fn stored_dtype(dtype: Dtype, scheme: &Scheme) -> Dtype {
    match scheme.quantize {
        Some(Quantize::F16) => Dtype::F16,
        Some(Quantize::Bf16) => Dtype::BF16,
        _ => dtype,
    }
}

/// How `packed` codes a touched tensor of which `nonzeros` elements have q ≠ 0; `None` for plain elements. `name` is the
/// scheme's text, or empty where nobody asks for it.
#[must_use]
pub fn packed_coding(name: String, tensor: &Tensor, scheme: &Scheme, nonzeros: u64) -> Option<Coding> {
    let dtype = stored_dtype(tensor.dtype, scheme);
    let coding = Coding::least(name, code_of(scheme), dtype, tensor.elements() as u64, nonzeros);
    (coding.form == Form::Mask || coding.code != Code::Element).then_some(coding)
}

/// Stored bytes of one tensor. `nonzeros` (elements with q ≠ 0) decides between the forms of `packed`.
#[must_use]
pub fn stored(tensor: &Tensor, scheme: &Scheme, target: Target, nonzeros: u64) -> Sizes {
    let n = tensor.elements() as u64;
    if is_kept(tensor, scheme) {
        return Sizes { untouched: kept_bytes(tensor, target), ..Sizes::default() };
    }
    let dtype = stored_dtype(tensor.dtype, scheme);
    // The name of the scheme takes no room in a payload, and spelling it in every frame would take time.
    let coding = if target == Target::Packed { packed_coding(String::new(), tensor, scheme, nonzeros) } else { None };
    match coding {
        None => Sizes { values: code_bytes(n, dtype.bits()), ..Sizes::default() },
        Some(coding) => {
            let parts = coding.parts(dtype, tensor.geometry());
            let len = |r: std::ops::Range<u64>| r.end - r.start;
            Sizes {
                values: len(parts.codes),
                scales: len(parts.scales),
                zero_points: len(parts.zero_points),
                mask: len(parts.mask),
                ..Sizes::default()
            }
        }
    }
}

/// Whether a tensor is stored as it was: nothing is asked of it, or it has no elements.
#[must_use]
pub fn is_kept(tensor: &Tensor, scheme: &Scheme) -> bool {
    scheme.is_keep() || tensor.elements() == 0
}

/// Payload of a kept tensor: its own, except that the dense target spells out what `packed` had coded.
#[must_use]
pub fn kept_bytes(tensor: &Tensor, target: Target) -> u64 {
    match (&tensor.coding, target) {
        (Some(_), Target::Safetensors) => code_bytes(tensor.elements() as u64, tensor.dtype.bits()),
        _ => tensor.bytes(),
    }
}

/// What the two bounds are computed from.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    /// Gaps of zeros before nonzeros in the flattened tensor.
    pub gaps: Gaps,
    /// n·H0 of the stored codes, in bits; `None` when the elements are not codes.
    pub code_entropy: Option<f64>,
}

/// The sparse bound: side data and the least of dense codes, mask with codes, or relative indices.
#[must_use]
pub fn sparse_bytes(tensor: &Tensor, scheme: &Scheme, content: &Content) -> u64 {
    let n = tensor.elements() as u64;
    let (side, bits) = side_and_bits(tensor, scheme);
    let dense = code_bytes(n, bits);
    let mask = n.div_ceil(8) + code_bytes(content.gaps.nonzero(), bits);
    side + dense.min(mask).min(content.gaps.index_bytes(bits))
}

/// The entropy bound: side data and the Shannon bound of the codes; for plain elements that of the mask, and the
/// nonzero elements in full.
#[must_use]
pub fn entropy_bytes(tensor: &Tensor, scheme: &Scheme, content: &Content) -> u64 {
    let n = tensor.elements() as u64;
    let (side, bits) = side_and_bits(tensor, scheme);
    let bytes = |bits: f64| (bits / 8.0).ceil() as u64;
    if let Some(entropy) = content.code_entropy {
        side + bytes(entropy)
    } else {
        let z = content.gaps.nonzero();
        side + bytes(crate::kernels::entropy::shannon_bits([z, n - z])) + code_bytes(z, bits)
    }
}

fn side_and_bits(tensor: &Tensor, scheme: &Scheme) -> (u64, u64) {
    let geometry: Geometry = tensor.geometry();
    let dtype = stored_dtype(tensor.dtype, scheme);
    let code = code_of(scheme);
    let (scales, zero_points) = code.side_bytes(dtype, geometry);
    (scales + zero_points, code.bits(dtype))
}

/// The share of zeros past which a mask pays at these bits: more than one bit per element saved.
#[must_use]
pub fn break_even(bits: u64) -> f64 {
    1.0 / bits as f64
}

/// Bits per stored value of a tensor under a scheme, scales and zero points counted in.
#[must_use]
pub fn bits_with_side(tensor: &Tensor, scheme: &Scheme) -> f64 {
    let (side, bits) = side_and_bits(tensor, scheme);
    let n = tensor.elements().max(1) as f64;
    bits as f64 + 8.0 * side as f64 / n
}
