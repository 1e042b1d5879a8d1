//! Numbers in, numbers out: the leaf of the house, where every kernel takes slices and can be read, benched and fuzzed alone.
//!
//! Nothing here knows a file, a tensor's name or a scheme's spelling. Each kernel is specified by a plain scalar
//! version in its tests; where a fast path exists it is held to that version over all lengths and tails.
//!
//! | file | what it settles |
//! |---|---|
//! | [`dispatch`] | one source compiled for several instruction sets, chosen at run time |
//! | [`real`] | the two arithmetics, f32 and f64, behind one trait |
//! | [`convert`] | bytes of a file to values and back, round-half-even |
//! | [`stats`] | moments, zeros and non-finite counts of a slice, merged in a fixed order |
//! | [`select`] | the k-th smallest magnitude of a stream, exactly, in bounded memory |
//! | [`among`] | N of each M neighbours along a row |
//! | [`scatter`] | a ranking by chance that depends on seed, name and index alone |
//! | [`error`] | squared error, energy, cosine between a tensor and its compressed self |
//! | [`quant`] | integer grids: scale, code, value |
//! | [`bracket`] | the same in one pass, where a sample says about where it lies |
//! | [`clip`] | ranges tighter than the maximum: least squares, percentiles |
//! | [`entropy`] | Shannon bound of a code table, and the cost of relative indices |
//! | [`hash`] | short numbers for names and checks against damage |
//! | [`histogram`] | counts over a symmetric range, for the eye |
//! | [`kept`] | which indices of a dimension stay |
//! | [`layout`] | rows, groups and chunks: where a tensor is cut |
//! | [`table`] | counts by the upper 16 bits: the value table |
//! | [`sketch`] | where weights lie in their group's range: errors of any width by a dot product |
//! | [`trial`] | one grid tried on a handful of groups |
//! | [`bits`] | packing of b-bit codes, least significant bit first |

pub mod among;
pub mod bits;
pub mod bracket;
pub mod clip;
pub mod convert;
pub mod dispatch;
pub mod entropy;
pub mod error;
pub mod hash;
pub mod histogram;
pub mod kept;
pub mod layout;
pub mod quant;
pub mod real;
pub mod scatter;
pub mod select;
pub mod sketch;
pub mod stats;
pub mod table;
pub mod trial;

pub use real::Real;
