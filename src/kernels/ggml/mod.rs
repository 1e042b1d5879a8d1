//! GGML's block types: what llama.cpp writes into a GGUF file, byte for byte, and what it reads out of one, bit for bit.
//!
//! A tensor is cut into blocks of 32 to 256 neighbouring weights of a row, each with its own scale. Both directions are
//! fixed by llama.cpp's reference code (`ggml-quants.c`; named beside each kernel), down to the order of its sums: f32
//! throughout, no contraction. [`encode`] gives the bytes of its `ggml_quantize_chunk` without an importance matrix.
//!
//! What searches for a scale works on 16 blocks side by side, a block to a lane: every lane walks through the reference's
//! sums in the reference's order, so the bits are the same and the work is still 4 to 16 lanes wide. The plain versions, block
//! after block, are in `plain`; tests hold the wide ones to them at every level, and both to blocks that libgguf made.
//!
//! | file | types |
//! |---|---|
//! | [`block_type`] | the list: ids, names, sizes |
//! | `codec` | how codecs of one block, or of a group, are run over many |
//! | `floats` | F32, F16, BF16 |
//! | `uniform` | Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1: one step, and perhaps a minimum, for a block |
//! | `super_block` | Q2_K to Q6_K, Q8_K: how a super-block of 256 is laid out |
//! | `affine` | the search of Q2_K, Q4_K, Q5_K: step and minimum of every sub-block |
//! | `signed` | the searches of Q3_K and Q6_K: a step of either sign |
//! | `iq4` | IQ4_NL, IQ4_XS: sixteen uneven levels |
//! | `grid` | IQ1, IQ2, IQ3: points of a lattice; read only |
//! | `ternary` | TQ1_0, TQ2_0 |
//! | `fp4` | MXFP4, NVFP4 |

mod affine;
pub mod block_type;
mod codec;
mod floats;
mod fp4;
mod grid;
mod iq4;
mod lanes;
#[cfg(test)]
mod plain;
mod signed;
mod super_block;
mod ternary;
#[cfg(test)]
mod tests;
mod uniform;

pub use block_type::BlockType;

use super::dispatch::Level;
use codec::{read, write};

/// Why blocks cannot be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// A type that can only be read; [`BlockType::encodes`] tells.
    #[error("{0} is read but not written; choose a type that is, such as Q4_K, Q8_0 or IQ4_XS")]
    ReadOnly(BlockType),
    /// Integers, or F64: [`BlockType::decodes`] tells.
    #[error("{0} is no block type of weights; take its elements as the numbers they are")]
    NotWeights(BlockType),
    /// Values that are no whole blocks.
    #[error("{found} values are no whole blocks of {kind}, which have {allowed} each; give rows of whole blocks")]
    Values {
        /// The type.
        kind: BlockType,
        /// Values given.
        found: usize,
        /// Values of a block.
        allowed: usize,
    },
    /// A buffer of another length than the values take.
    #[error("{found} bytes for values that take {allowed} as {kind}; give exactly that many")]
    Bytes {
        /// The type.
        kind: BlockType,
        /// Bytes given.
        found: usize,
        /// Bytes that the values take.
        allowed: usize,
    },
}

/// Values of blocks, in order: exactly those that llama.cpp's `dequantize_row_*` gives.
///
/// # Errors
/// When `values` is not a whole number of blocks, `bytes` not as long as those are, or the type is an integer or F64.
pub fn decode(kind: BlockType, bytes: &[u8], values: &mut [f32]) -> Result<(), BlockError> {
    if !kind.decodes() {
        return Err(BlockError::NotWeights(kind));
    }
    check(kind, values.len(), bytes.len())?;
    decode_at(level_for_reading(), kind, bytes, values);
    Ok(())
}

/// The level that reads fastest: with sixteen lanes the compiler gathers the same byte of sixteen blocks, one by one, so AVX2
/// is better than AVX-512 (seen with Rust 1.95: half the time for most types, never much more).
fn level_for_reading() -> Level {
    #[cfg(target_arch = "x86_64")]
    return Level::best().min(Level::Avx2);
    #[cfg(not(target_arch = "x86_64"))]
    Level::best()
}

/// Blocks of values, in order: the bytes that llama.cpp's `ggml_quantize_chunk` writes without an importance matrix.
///
/// Values are meant to be finite. What is not makes codes that mean nothing, and no harm.
///
/// # Errors
/// When `values` is not a whole number of blocks, `bytes` not as long as those are, or the type can only be read.
pub fn encode(kind: BlockType, values: &[f32], bytes: &mut [u8]) -> Result<(), BlockError> {
    if !kind.encodes() {
        return Err(BlockError::ReadOnly(kind));
    }
    check(kind, values.len(), bytes.len())?;
    encode_at(Level::best(), kind, values, bytes);
    Ok(())
}

/// That lengths fit together.
fn check(kind: BlockType, values: usize, bytes: usize) -> Result<(), BlockError> {
    let Some(allowed) = kind.bytes_of(values) else {
        return Err(BlockError::Values { kind, found: values, allowed: kind.elements() });
    };
    if bytes == allowed { Ok(()) } else { Err(BlockError::Bytes { kind, found: bytes, allowed }) }
}

/// [`decode`] by the instructions of one level; what was to be checked has been.
fn decode_at(level: Level, kind: BlockType, bytes: &[u8], values: &mut [f32]) {
    use BlockType as T;
    match kind {
        T::F32 => read::<floats::F32, _, _>(level, bytes, values),
        T::F16 => read::<floats::F16, _, _>(level, bytes, values),
        T::BF16 => read::<floats::BF16, _, _>(level, bytes, values),
        T::Q1_0 => read::<uniform::Q1_0, _, _>(level, bytes, values),
        T::Q2_0 => read::<uniform::Q2_0, _, _>(level, bytes, values),
        T::Q4_0 => read::<uniform::Q4_0, _, _>(level, bytes, values),
        T::Q4_1 => read::<uniform::Q4_1, _, _>(level, bytes, values),
        T::Q5_0 => read::<uniform::Q5_0, _, _>(level, bytes, values),
        T::Q5_1 => read::<uniform::Q5_1, _, _>(level, bytes, values),
        T::Q8_0 => read::<uniform::Q8_0, _, _>(level, bytes, values),
        T::Q8_1 => read::<uniform::Q8_1, _, _>(level, bytes, values),
        T::Q2_K => read::<super_block::Q2_K, _, _>(level, bytes, values),
        T::Q3_K => read::<super_block::Q3_K, _, _>(level, bytes, values),
        T::Q4_K => read::<super_block::Q4_K, _, _>(level, bytes, values),
        T::Q5_K => read::<super_block::Q5_K, _, _>(level, bytes, values),
        T::Q6_K => read::<super_block::Q6_K, _, _>(level, bytes, values),
        T::Q8_K => read::<super_block::Q8_K, _, _>(level, bytes, values),
        T::IQ1_S => read::<grid::IQ1_S, _, _>(level, bytes, values),
        T::IQ1_M => read::<grid::IQ1_M, _, _>(level, bytes, values),
        T::IQ2_XXS => read::<grid::IQ2_XXS, _, _>(level, bytes, values),
        T::IQ2_XS => read::<grid::IQ2_XS, _, _>(level, bytes, values),
        T::IQ2_S => read::<grid::IQ2_S, _, _>(level, bytes, values),
        T::IQ3_XXS => read::<grid::IQ3_XXS, _, _>(level, bytes, values),
        T::IQ3_S => read::<grid::IQ3_S, _, _>(level, bytes, values),
        T::IQ4_NL => read::<iq4::IQ4_NL, _, _>(level, bytes, values),
        T::IQ4_XS => read::<iq4::IQ4_XS, _, _>(level, bytes, values),
        T::TQ1_0 => read::<ternary::TQ1_0, _, _>(level, bytes, values),
        T::TQ2_0 => read::<ternary::TQ2_0, _, _>(level, bytes, values),
        T::MXFP4 => read::<fp4::MXFP4, _, _>(level, bytes, values),
        T::NVFP4 => read::<fp4::NVFP4, _, _>(level, bytes, values),
        T::F64 | T::I8 | T::I16 | T::I32 | T::I64 => {}
    }
}

/// [`encode`] by the instructions of one level; what was to be checked has been.
fn encode_at(level: Level, kind: BlockType, values: &[f32], bytes: &mut [u8]) {
    use BlockType as T;
    match kind {
        T::F32 => write::<floats::F32, _, _, _>(level, values, bytes),
        T::F16 => write::<floats::F16, _, _, _>(level, values, bytes),
        T::BF16 => write::<floats::BF16, _, _, _>(level, values, bytes),
        T::Q4_0 => write::<uniform::Q4_0, _, _, _>(level, values, bytes),
        T::Q4_1 => write::<uniform::Q4_1, _, _, _>(level, values, bytes),
        T::Q5_0 => write::<uniform::Q5_0, _, _, _>(level, values, bytes),
        T::Q5_1 => write::<uniform::Q5_1, _, _, _>(level, values, bytes),
        T::Q8_0 => write::<uniform::Q8_0, _, _, _>(level, values, bytes),
        T::Q2_K => write::<super_block::Q2_K, _, _, _>(level, values, bytes),
        T::Q3_K => write::<super_block::Q3_K, _, _, _>(level, values, bytes),
        T::Q4_K => write::<super_block::Q4_K, _, _, _>(level, values, bytes),
        T::Q5_K => write::<super_block::Q5_K, _, _, _>(level, values, bytes),
        T::Q6_K => write::<super_block::Q6_K, _, _, _>(level, values, bytes),
        T::IQ4_NL => write::<iq4::IQ4_NL, _, _, _>(level, values, bytes),
        T::IQ4_XS => write::<iq4::IQ4_XS, _, _, _>(level, values, bytes),
        T::TQ1_0 => write::<ternary::TQ1_0, _, _, _>(level, values, bytes),
        T::TQ2_0 => write::<ternary::TQ2_0, _, _, _>(level, values, bytes),
        T::MXFP4 => write::<fp4::MXFP4, _, _, _>(level, values, bytes),
        T::NVFP4 => write::<fp4::NVFP4, _, _, _>(level, values, bytes),
        T::F64 | T::I8 | T::I16 | T::I32 | T::I64 => {}
        T::Q1_0 | T::Q2_0 | T::Q8_1 | T::Q8_K => {}
        T::IQ1_S | T::IQ1_M | T::IQ2_XXS | T::IQ2_XS | T::IQ2_S | T::IQ3_XXS | T::IQ3_S => {}
    }
}
