//! A chunk as it is stored: plain elements of a dtype, or codes in whole bytes. Estimates count exactly what exports write.

use super::{Chunk, Codes, Error, Task};
use crate::formats::Dtype;
use crate::formats::packed_layout::Code;
use crate::kernels::Real;
use crate::model::Scratch;
use crate::recipe::Quantize;

impl<T: Real> Chunk<T> {
    /// Appends the chunk as a dense target has it: GGML's blocks, or plain little-endian elements, of the tensor's own dtype or
    /// of the one it is cast to. Elements
    /// that only pruning may change keep their bits.
    ///
    /// # Errors
    /// When the source cannot be read again.
    pub fn plain_elements(&self, task: &Task<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) -> Result<(), Error> {
        let dtype = task.tensor.dtype;
        if self.kind == Codes::Block {
            out.extend_from_slice(&self.blocks);
            return Ok(());
        }
        if self.kind == Codes::Pattern {
            if matches!(task.scheme.quantize, Some(Quantize::Fp8 { .. })) {
                out.extend(self.codes.iter().map(|&code| code as u8));
            } else {
                self.codes.iter().for_each(|&code| out.extend_from_slice(&(code as u16).to_le_bytes()));
            }
            return Ok(());
        }
        if task.scheme.factorize.is_none() && task.scheme.quantize.is_none() {
            let start = out.len();
            if task.plain_bytes(self.range.clone(), out, scratch)? {
                self.zero_pruned(&mut out[start..], dtype);
                return Ok(());
            }
        }
        self.result.iter().for_each(|&q| dtype.encode(q, out));
        Ok(())
    }

    fn zero_pruned(&self, bytes: &mut [u8], dtype: Dtype) {
        let elements = bytes.chunks_exact_mut(dtype.bytes());
        for ((element, &w), &q) in elements.zip(&self.source).zip(&self.pruned) {
            if q == T::ZERO && w != T::ZERO {
                element.fill(0);
            }
        }
    }

    /// Appends each element's code as `packed` stores it, in as many whole bytes as a code has; bits above a narrow code are
    /// 0.
    ///
    /// # Errors
    /// As [`Chunk::plain_elements`].
    pub fn stored_codes(
        &self,
        task: &Task<'_>,
        code: Code,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if code == Code::Element {
            return self.plain_elements(task, scratch, out);
        }
        let mask = (1_i32 << code.bits(task.tensor.dtype)) - 1;
        out.extend(self.codes.iter().map(|&code| (code & mask) as u8));
        Ok(())
    }
}
