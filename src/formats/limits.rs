//! How large a number in a file may be before it is refused: every allocation that a header sizes is bounded here.

/// Bounds on what a header may claim.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a header; the reference reader's own bound is 100,000,000.
    pub header_bytes: u64,
    /// Tensors in one file. A header of the largest size could list a few million empty ones.
    pub tensors: usize,
    /// Dimensions of one tensor.
    pub rank: usize,
    /// Texts that a file keeps about itself. The longest lists of training options have a few hundred.
    pub texts: usize,
    /// Values of a header that nobody reads: they cost time to pass, and no writer has a use for many.
    pub skipped: usize,
    /// Bytes of one file's tensors that are held in memory, because they lie in it compressed or in another form.
    pub held_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 100_000_000,
            tensors: 2_000_000,
            rank: 64,
            texts: 100_000,
            skipped: 100_000,
            held_bytes: 4 << 30,
        }
    }
}
