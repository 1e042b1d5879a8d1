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
//! | `floats` | F32, F16, BF16 |
//! | `uniform` | Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1: one step, and perhaps a minimum, for a block |
//! | `super_block` | Q2_K to Q6_K, Q8_K: how a super-block of 256 is laid out |
//! | `affine` | the search of Q2_K, Q4_K, Q5_K: step and minimum of every sub-block |
//! | `signed` | the searches of Q3_K and Q6_K: a step of either sign |
//! | `iq4` | IQ4_NL, IQ4_XS: sixteen uneven levels |
//! | `grid` | IQ1, IQ2, IQ3: points of a lattice; read only |
//! | `ternary` | TQ1_0, TQ2_0 |
//! | `fp4` | MXFP4, NVFP4 |

pub mod block_type;
mod floats;
mod fp4;
mod grid;
mod iq4;
pub mod parts;
mod super_block;
mod ternary;
mod uniform;

pub use block_type::BlockType;

use super::convert::{f16_from_f32, f32_from_f16};
use super::dispatch::{Kernel, Level};

/// Why blocks cannot be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The type is one that this side does not know how to write or read.
    #[error("{0} cannot be {1} here; see its entry among the block types")]
    NoCodec(BlockType, &'static str),
    /// Values that are no whole blocks.
    #[error("{found} values of {kind}, where {allowed} to a block are stored; give whole rows of whole blocks")]
    Values {
        /// The type.
        kind: BlockType,
        /// Values given.
        found: usize,
        /// Values of a block.
        allowed: usize,
    },
    /// A buffer of another length than the values take.
    #[error("{found} bytes for blocks of {kind}, where the values take {allowed}; give exactly that many")]
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
        return Err(BlockError::NoCodec(kind, "read as weights"));
    }
    check(kind, values.len(), bytes.len())?;
    decode_at(Level::best(), kind, bytes, values);
    Ok(())
}

/// Blocks of values, in order: the bytes that llama.cpp's `ggml_quantize_chunk` writes without an importance matrix.
///
/// Values are meant to be finite. What is not makes codes that mean nothing, and no harm.
///
/// # Errors
/// When `values` is not a whole number of blocks, `bytes` not as long as those are, or the type can only be read.
pub fn encode(kind: BlockType, values: &[f32], bytes: &mut [u8]) -> Result<(), BlockError> {
    if !kind.encodes() {
        return Err(BlockError::NoCodec(kind, "written"));
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

/// [`decode`] by the instructions of one level, of lengths that were checked.
fn decode_at(level: Level, kind: BlockType, bytes: &[u8], values: &mut [f32]) {
    use BlockType as T;
    match kind {
        T::F32 => read(level, bytes, values, floats::decode_f32),
        T::F16 => read(level, bytes, values, floats::decode_f16),
        T::BF16 => read(level, bytes, values, floats::decode_bf16),
        T::Q1_0 => read(level, bytes, values, uniform::decode_q1_0),
        T::Q2_0 => read(level, bytes, values, uniform::decode_q2_0),
        T::Q4_0 => read(level, bytes, values, uniform::decode_q4_0),
        T::Q4_1 => read(level, bytes, values, uniform::decode_q4_1),
        T::Q5_0 => read(level, bytes, values, uniform::decode_q5_0),
        T::Q5_1 => read(level, bytes, values, uniform::decode_q5_1),
        T::Q8_0 => read(level, bytes, values, uniform::decode_q8_0),
        T::Q8_1 => read(level, bytes, values, uniform::decode_q8_1),
        T::Q2_K => read(level, bytes, values, super_block::decode_q2_k),
        T::Q3_K => read(level, bytes, values, super_block::decode_q3_k),
        T::Q4_K => read(level, bytes, values, super_block::decode_q4_k),
        T::Q5_K => read(level, bytes, values, super_block::decode_q5_k),
        T::Q6_K => read(level, bytes, values, super_block::decode_q6_k),
        T::Q8_K => read(level, bytes, values, super_block::decode_q8_k),
        T::IQ1_S => read(level, bytes, values, grid::decode_iq1_s),
        T::IQ1_M => read(level, bytes, values, grid::decode_iq1_m),
        T::IQ2_XXS => read(level, bytes, values, grid::decode_iq2_xxs),
        T::IQ2_XS => read(level, bytes, values, grid::decode_iq2_xs),
        T::IQ2_S => read(level, bytes, values, grid::decode_iq2_s),
        T::IQ3_XXS => read(level, bytes, values, grid::decode_iq3_xxs),
        T::IQ3_S => read(level, bytes, values, grid::decode_iq3_s),
        T::IQ4_NL => read(level, bytes, values, iq4::decode_iq4_nl),
        T::IQ4_XS => read(level, bytes, values, iq4::decode_iq4_xs),
        T::TQ1_0 => read(level, bytes, values, ternary::decode_tq1_0),
        T::TQ2_0 => read(level, bytes, values, ternary::decode_tq2_0),
        T::MXFP4 => read(level, bytes, values, fp4::decode_mxfp4),
        T::NVFP4 => read(level, bytes, values, fp4::decode_nvfp4),
        T::F64 | T::I8 | T::I16 | T::I32 | T::I64 => {}
    }
}

/// [`encode`] by the instructions of one level, of lengths that were checked.
fn encode_at(level: Level, kind: BlockType, values: &[f32], bytes: &mut [u8]) {
    use BlockType as T;
    match kind {
        T::F32 => write(level, values, bytes, one(floats::encode_f32)),
        T::F16 => write(level, values, bytes, one(floats::encode_f16)),
        T::BF16 => write(level, values, bytes, one(floats::encode_bf16)),
        T::Q4_0 => write(level, values, bytes, one(uniform::encode_q4_0)),
        //        T::Q4_1 => write(level, values, bytes, one(uniform::encode_q4_1)),
        //        T::Q5_0 => write(level, values, bytes, one(uniform::encode_q5_0)),
        //        T::Q5_1 => write(level, values, bytes, one(uniform::encode_q5_1)),
        //        T::Q8_0 => write(level, values, bytes, one(uniform::encode_q8_0)),
        _ => {}
    }
}

/// Block after block through a decoder of one.
fn read<F, const BYTES: usize, const ELEMENTS: usize>(level: Level, bytes: &[u8], values: &mut [f32], one: F)
where
    F: Fn(&[u8; BYTES], &mut [f32; ELEMENTS]),
{
    level.run(Read { bytes: bytes.as_chunks().0, values: values.as_chunks_mut().0, one });
}

struct Read<'a, F, const BYTES: usize, const ELEMENTS: usize> {
    bytes: &'a [[u8; BYTES]],
    values: &'a mut [[f32; ELEMENTS]],
    one: F,
}

impl<F, const BYTES: usize, const ELEMENTS: usize> Kernel for Read<'_, F, BYTES, ELEMENTS>
where
    F: Fn(&[u8; BYTES], &mut [f32; ELEMENTS]),
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.bytes.iter().zip(self.values).for_each(|(bytes, values)| (self.one)(bytes, values));
    }
}

/// An encoder of one block as one of a group of one.
#[inline(always)]
fn one<F, const ELEMENTS: usize, const BYTES: usize>(encode: F) -> impl Fn(&[[f32; ELEMENTS]; 1], &mut [[u8; BYTES]; 1])
where
    F: Fn(&[f32; ELEMENTS], &mut [u8; BYTES]),
{
    move |[values], [bytes]| encode(values, bytes)
}

/// Group after group through an encoder of `GROUP` blocks.
fn write<F, const ELEMENTS: usize, const BYTES: usize, const GROUP: usize>(
    level: Level,
    values: &[f32],
    bytes: &mut [u8],
    group: F,
) where
    F: Fn(&[[f32; ELEMENTS]; GROUP], &mut [[u8; BYTES]; GROUP]),
{
    level.run(Write { values: values.as_chunks().0, bytes: bytes.as_chunks_mut().0, group });
}

struct Write<'a, F, const ELEMENTS: usize, const BYTES: usize, const GROUP: usize> {
    values: &'a [[f32; ELEMENTS]],
    bytes: &'a mut [[u8; BYTES]],
    group: F,
}

impl<F, const ELEMENTS: usize, const BYTES: usize, const GROUP: usize> Kernel for Write<'_, F, ELEMENTS, BYTES, GROUP>
where
    F: Fn(&[[f32; ELEMENTS]; GROUP], &mut [[u8; BYTES]; GROUP]),
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (values, last_values) = self.values.as_chunks::<GROUP>();
        let (bytes, last_bytes) = self.bytes.as_chunks_mut::<GROUP>();
        values.iter().zip(bytes).for_each(|(values, bytes)| (self.group)(values, bytes));
        if !last_values.is_empty() {
            // Blocks know nothing of each other: those that are missing may be zeros, and are dropped.
            let (mut values, mut bytes) = ([[0.0; ELEMENTS]; GROUP], [[0; BYTES]; GROUP]);
            values[..last_values.len()].copy_from_slice(last_values);
            (self.group)(&values, &mut bytes);
            last_bytes.copy_from_slice(&bytes[..last_bytes.len()]);
        }
    }
}

/// A binary16 of a file.
#[inline(always)]
fn half(bytes: [u8; 2]) -> f32 {
    f32_from_f16(u16::from_le_bytes(bytes))
}

/// And into a file.
#[inline(always)]
fn to_half(value: f32) -> [u8; 2] {
    f16_from_f32(value).to_le_bytes()
}

/// Values of codes of four bits: element j in the low half of byte j, element j + `bytes.len()` in its high half.
#[inline(always)]
fn nibbles(bytes: &[u8], values: &mut [f32], value: impl Fn(u8) -> f32) {
    let (low, high) = values.split_at_mut(bytes.len());
    for ((&byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = value(byte & 15);
        *high = value(byte >> 4);
    }
}
