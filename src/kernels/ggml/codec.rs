//! Codecs of one block, or of a group of blocks side by side, run over many by any level's instructions; and what several of
//! them need.

use crate::kernels::convert::{f16_from_f32, f32_from_f16};
use crate::kernels::dispatch::{Kernel, Level};
use crate::kernels::sketch::peak_of_lanes;
use std::marker::PhantomData;

/// How one block is read.
pub(super) trait Decode<const BYTES: usize, const ELEMENTS: usize> {
    /// Fills the values of a block. Must be `#[inline(always)]`, as [`Kernel::run`] is.
    fn decode(block: &[u8; BYTES], values: &mut [f32; ELEMENTS]);
}

/// How `GROUP` blocks are made side by side.
pub(super) trait Encode<const ELEMENTS: usize, const BYTES: usize, const GROUP: usize> {
    /// Fills the bytes of the blocks. Must be `#[inline(always)]`, as [`Kernel::run`] is.
    fn encode(values: &[[f32; ELEMENTS]; GROUP], blocks: &mut [[u8; BYTES]; GROUP]);
}

struct Read<'a, D, const BYTES: usize, const ELEMENTS: usize> {
    bytes: &'a [[u8; BYTES]],
    values: &'a mut [[f32; ELEMENTS]],
    how: PhantomData<D>,
}

pub(super) fn read<D, const BYTES: usize, const ELEMENTS: usize>(level: Level, bytes: &[u8], values: &mut [f32])
where
    D: Decode<BYTES, ELEMENTS>,
{
    level.run(Read::<D, _, _> { bytes: bytes.as_chunks().0, values: values.as_chunks_mut().0, how: PhantomData });
}

impl<D, const BYTES: usize, const ELEMENTS: usize> Kernel for Read<'_, D, BYTES, ELEMENTS>
where
    D: Decode<BYTES, ELEMENTS>,
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // A copy of the block is known not to overlap the values, without which they would be written one by one.
        for (&block, values) in self.bytes.iter().zip(self.values) {
            D::decode(&block, values);
        }
    }
}

struct Write<'a, E, const ELEMENTS: usize, const BYTES: usize, const GROUP: usize> {
    values: &'a [[f32; ELEMENTS]],
    bytes: &'a mut [[u8; BYTES]],
    how: PhantomData<E>,
}

pub(super) fn write<E, const ELEMENTS: usize, const BYTES: usize, const GROUP: usize>(
    level: Level,
    values: &[f32],
    bytes: &mut [u8],
) where
    E: Encode<ELEMENTS, BYTES, GROUP>,
{
    level.run(Write::<E, _, _, _> { values: values.as_chunks().0, bytes: bytes.as_chunks_mut().0, how: PhantomData });
}

impl<E, const ELEMENTS: usize, const BYTES: usize, const GROUP: usize> Kernel for Write<'_, E, ELEMENTS, BYTES, GROUP>
where
    E: Encode<ELEMENTS, BYTES, GROUP>,
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (groups, last_values) = self.values.as_chunks::<GROUP>();
        let (blocks, last_blocks) = self.bytes.as_chunks_mut::<GROUP>();
        for (values, blocks) in groups.iter().zip(blocks) {
            E::encode(values, blocks);
        }
        if !last_values.is_empty() {
            // Blocks know nothing of each other: those that are missing may be zeros, and are dropped.
            let (mut values, mut blocks) = ([[0.0; ELEMENTS]; GROUP], [[0; BYTES]; GROUP]);
            values[..last_values.len()].copy_from_slice(last_values);
            E::encode(&values, &mut blocks);
            last_blocks.copy_from_slice(&blocks[..last_blocks.len()]);
        }
    }
}

/// A binary16 of a file.
#[inline(always)]
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    f32_from_f16(u16::from_le_bytes(bytes))
}

/// And into a file.
#[inline(always)]
pub(super) fn to_half(value: f32) -> [u8; 2] {
    f16_from_f32(value).to_le_bytes()
}

/// Values of codes of four bits: element j in the low half of byte j, element j + `HALF` in its high half.
#[inline(always)]
pub(super) fn nibbles<const HALF: usize, const ALL: usize>(
    bytes: &[u8; HALF],
    values: &mut [f32; ALL],
    value: impl Fn(u8) -> f32,
) {
    let mut codes = [0; ALL];
    let (low, high) = codes.split_at_mut(HALF);
    for ((&byte, low), high) in bytes.iter().zip(low).zip(high) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
    values.iter_mut().zip(codes).for_each(|(w, code)| *w = value(code));
}

/// The low four bits of codes, as [`nibbles`] reads them.
#[inline(always)]
pub(super) fn pack_nibbles<const ALL: usize, const HALF: usize>(codes: &[u8; ALL], bytes: &mut [u8; HALF]) {
    let (low, high) = codes.split_at(HALF);
    for ((byte, low), high) in bytes.iter_mut().zip(low).zip(high) {
        *byte = low & 15 | high << 4;
    }
}

/// The largest magnitude of whole sixteens of values.
#[inline(always)]
pub(super) fn peak(values: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    for sixteen in values.as_chunks::<16>().0 {
        for (most, x) in lanes.iter_mut().zip(sixteen) {
            *most = if x.abs() > *most { x.abs() } else { *most };
        }
    }
    peak_of_lanes(lanes)
}
