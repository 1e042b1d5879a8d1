//! The values that remain possible in one unit, whatever made them: which code a weight gets, what a reader gets back.

use super::Real;
use super::codebook::Codebook;
use super::nf4::Normal;
use super::quant::Grid;
use super::signs::{Binary, Ternary};
use super::small::{Scaled, mx_block, nv_block};
use std::sync::Arc;

/// The levels of one unit, with all that is stored beside its codes.
#[derive(Clone, Debug, PartialEq)]
pub enum Levels<T> {
    /// Evenly spaced integers.
    Grid(Grid<T>),
    /// Numbers of a small float times a scale.
    Float(Scaled<T>),
    /// E2M1 numbers times a power of two, given by its E8M0 exponent.
    Mx(u8),
    /// E2M1 numbers times an E4M3 scale over the tensor's own.
    Nv {
        /// The E4M3 pattern.
        scale: u8,
        /// What it is divided by.
        global: f32,
    },
    /// Sixteen levels of a Gaussian.
    Normal(Normal<T>),
    /// Three.
    Ternary(Ternary<T>),
    /// Two.
    Binary(Binary<T>),
    /// Centroids, shared by many pieces.
    Codebook(Arc<Codebook>),
}

/// Different symbols that codes of any levels may be, see [`Levels::symbol`].
pub const SYMBOLS: usize = 511;
/// The symbol of an integer code that reads 0.
pub const GRID_ZERO: i32 = 255;

impl<T: Real> Levels<T> {
    /// Codes and values of a piece of the unit, all finite. What a level cannot hold reads as infinite.
    pub fn quantize(&self, values: &[T], codes: &mut [i32], results: &mut [T]) {
        match self {
            Self::Grid(grid) => grid.quantize(values, codes, results),
            Self::Float(scaled) => scaled.quantize(values, codes, results),
            Self::Mx(exponent) => mx_block(*exponent).quantize(values, codes, results),
            Self::Nv { scale, global } => nv_block(*scale, *global).quantize(values, codes, results),
            Self::Normal(normal) => normal.quantize(values, codes, results),
            Self::Ternary(ternary) => ternary.quantize(values, codes, results),
            Self::Binary(binary) => binary.quantize(values, codes, results),
            Self::Codebook(book) => book.quantize(values, codes, results),
        }
    }

    /// The distance that 1 stands for; `None` where there is no such thing.
    #[must_use]
    pub fn scale(&self) -> Option<T> {
        match self {
            Self::Grid(grid) => Some(grid.scale),
            Self::Float(scaled) => Some(scaled.scale),
            Self::Mx(exponent) => Some(mx_block(*exponent).scale),
            Self::Nv { scale, global } => Some(nv_block(*scale, *global).scale),
            Self::Normal(normal) => Some(normal.scale),
            Self::Ternary(ternary) => Some(ternary.scale),
            Self::Binary(binary) => Some(binary.scale),
            Self::Codebook(_) => None,
        }
    }

    /// The symbol that a code is to an entropy coder, below [`SYMBOLS`]: integers less their zero point, and one more than a
    /// codebook has for what was pruned.
    #[must_use]
    #[inline(always)]
    pub fn symbol(&self, code: i32) -> usize {
        let symbol = match self {
            Self::Grid(grid) => code - grid.zero_point + GRID_ZERO,
            Self::Ternary(_) | Self::Codebook(_) => code + 1,
            _ => code,
        };
        symbol as usize
    }

    /// Whether a value lies beyond the end levels by more than half a step.
    #[must_use]
    #[inline(always)]
    pub fn clips(&self, w: T) -> bool {
        matches!(self, Self::Grid(grid) if grid.clips(w))
    }
}
