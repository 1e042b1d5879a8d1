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
//! | `each` | the loop that most levels share |
//! | [`error`] | squared error, energy, cosine between a tensor and its compressed self |
//! | [`quant`] | integer grids: scale, code, value |
//! | [`affine`] | integer grids as MLX keeps them: scale, bias, codes without a sign |
//! | [`small`] | casts, and small floats times a scale: FP8, MXFP4, NVFP4 |
//! | [`masks`] | two masks side by side: overlap, and signs where both are kept |
//! | [`nf4`] | NormalFloat 4 |
//! | [`signs`] | ternary and binary weights |
//! | [`codebook`] | Lloyd's centroids, and the nearest of them |
//! | [`best`] | the exact optimum of K centroids |
//! | [`levels`] | any of these: the values that remain possible in one unit |
//! | [`sum`] | sums good to the last bit, in any order |
//! | [`bracket`] | the same in one pass, where a sample says about where it lies |
//! | [`clip`] | ranges tighter than the maximum: least squares, percentiles |
//! | [`entropy`] | Shannon bound of a code table, and the cost of relative indices |
//! | [`hash`] | short numbers for names and checks against damage |
//! | [`histogram`] | counts over a symmetric range, for the eye |
//! | [`kept`] | which indices of a dimension stay |
//! | [`layout`] | rows, groups and chunks: where a tensor is cut |
//! | [`lines`] | sums of squares of rows and columns |
//! | [`svd`] | singular values and the factors of the best product of a rank |
//! | [`table`] | counts by the upper 16 bits: the value table |
//! | [`sketch`] | where weights lie in their group's range: errors of any width by a dot product |
//! | [`trial`] | one grid tried on a handful of groups |
//! | [`ggml`] | the block types of GGUF files, both ways, bit for bit llama.cpp's |
//! | [`gaps`] | relative indices, and how many of each a tensor needs |
//! | [`huffman`] | entropy coding of small codes, with a size known beforehand |
//! | [`bits`] | packing of b-bit codes, least significant bit first |

pub mod affine;
pub mod among;
pub mod best;
pub mod bits;
pub mod bracket;
pub mod clip;
pub mod codebook;
pub mod convert;
pub mod dispatch;
mod each;
pub mod entropy;
pub mod error;
pub mod gaps;
pub mod ggml;
pub mod hash;
pub mod histogram;
pub mod huffman;
pub mod kept;
pub mod layout;
pub mod levels;
pub mod lines;
pub mod masks;
pub mod nf4;
pub mod quant;
pub mod real;
pub mod scatter;
pub mod select;
pub mod signs;
pub mod sketch;
pub mod small;
pub mod stats;
pub mod strided;
pub mod sum;
pub mod svd;
pub mod table;
pub mod trial;

pub use real::Real;
