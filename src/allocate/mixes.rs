//! Schemes that papers gave to named networks, tensor by tensor.

use super::int8;
use crate::model::{Role, Tensor};
use crate::recipe::{Decimal, Prune, Quantize, Scheme, Scope};

/// A layer of Deep Compression's tables: shape, percent kept, shared values.
type Compressed = (&'static [usize], u32, u32);

/// LeNet-300-100, table 2 of the paper.
const LENET_300_100: &[Compressed] = &[(&[300, 784], 8, 64), (&[100, 300], 9, 64), (&[10, 100], 26, 64)];
/// LeNet-5, table 3.
const LENET_5: &[Compressed] =
    &[(&[20, 1, 5, 5], 66, 256), (&[50, 20, 5, 5], 12, 256), (&[500, 800], 8, 32), (&[10, 500], 19, 32)];

/// Deep Compression (arXiv 1510.00149): each layer's own share and number of shared values.
///
/// # Errors
/// Why the network is neither LeNet-300-100 nor LeNet-5, in words.
pub fn deep_compression(matrices: &[&Tensor]) -> Result<Vec<(String, Scheme)>, String> {
    let table = [LENET_300_100, LENET_5].into_iter().find(|table| {
        table.len() == matrices.len() && table.iter().all(|(shape, ..)| matrices.iter().any(|t| t.shape == *shape))
    });
    let Some(table) = table else {
        return Err("its matrices have neither the shapes of LeNet-300-100 nor those of LeNet-5".into());
    };
    let of = |&t: &&Tensor| {
        let &(_, kept, k) = table.iter().find(|(shape, ..)| t.shape == *shape)?;
        let share = Decimal::from_f64(f64::from(100 - kept) / 100.0, 2);
        let prune = Prune::Magnitude { share, scope: Scope::Tensor };
        let quantize = Quantize::Codebook { k, row: false, best: false };
        Some((t.name.clone(), Scheme::keep().with_prune(Some(prune)).with_quantize(Some(quantize))))
    };
    Ok(matrices.iter().filter_map(of).collect())
}

/// `Q8BERT` (arXiv 1910.06188): every matrix and every embedding, that of positions too, in symmetric 8-bit integers with one
/// scale; biases and norms as they are.
#[must_use]
pub fn q8bert(tensors: &[Tensor]) -> Vec<(String, Scheme)> {
    let matrix = |t: &&Tensor| t.is_touchable() && t.shape.len() >= 2 && t.elements() > 0;
    let taken = |t: &&Tensor| t.role.is_weight() || t.role == Role::Position;
    tensors.iter().filter(matrix).filter(taken).map(|t| (t.name.clone(), int8())).collect()
}

/// `TernaryBERT` (arXiv 2009.12812): attention and feed-forward matrices with one scale each, the embedding of words with one
/// per word, everything else as it is.
///
/// # Errors
/// Why the network is no transformer, in words.
pub fn ternarybert(matrices: &[&Tensor]) -> Result<Vec<(String, Scheme)>, String> {
    let ternary = |row| Scheme::keep().with_quantize(Some(Quantize::Ternary { row }));
    let layers = matrices.iter().filter(|t| t.role.is_attention() || t.role.is_ffn());
    let mut mix: Vec<(String, Scheme)> = layers.map(|t| (t.name.clone(), ternary(false))).collect();
    if mix.is_empty() {
        return Err("it has no attention and no feed-forward matrix".into());
    }
    // Token types and their like are embeddings of a few rows; words are the most.
    let words = matrices.iter().filter(|t| t.role == Role::Embedding).max_by_key(|t| t.shape.first());
    mix.extend(words.map(|t| (t.name.clone(), ternary(true))));
    mix.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(mix)
}
