//! A GGUF artifact as a whole: its source's key-values, copied byte for byte but for what became untrue, and its tensors in
//! their old order.

use super::total::{carrying, stored_type};
use crate::formats::gguf::{self, KeyValue, layout};
use crate::formats::{ErrorKind, base64};
use crate::kernels::ggml::BlockType;
use crate::model::split;
use crate::model::{MASK_KEYS, Model, RECIPE_KEY, mask_key};
use crate::recipe::{Plan, Recipe, file};
use std::collections::BTreeMap;
use std::ops::Range;

/// The key that names what most of a model is stored in; for people, no reader depends on it.
pub const FILE_TYPE: &str = "general.file_type";
/// The key of the version of the block types.
pub const QUANTIZATION_VERSION: &str = "general.quantization_version";
/// The version of the block types in use since 2023.
const VERSION: u32 = 2;

/// One key-value of the artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pair {
    /// Bytes of the source's first file.
    Copied(Range<u64>),
    /// Bytes of our own.
    Made(Vec<u8>),
}

impl Pair {
    fn len(&self) -> u64 {
        match self {
            Self::Copied(range) => range.end - range.start,
            Self::Made(bytes) => bytes.len() as u64,
        }
    }
}

/// What a GGUF artifact will be.
#[derive(Clone, Debug)]
pub struct GgufFile {
    /// Key-values in order.
    pub pairs: Vec<Pair>,
    /// Positions of the model's tensors, in the order of the file.
    pub order: Vec<usize>,
    /// Places.
    pub layout: layout::Layout,
}

impl GgufFile {
    /// The artifact of a plan; `mask` spells the masks that it carries.
    ///
    /// # Errors
    /// A tensor that the format cannot list.
    pub fn of(model: &Model, plan: &Plan, recipe: &Recipe, mask: impl Fn(usize) -> String) -> Result<Self, ErrorKind> {
        let mut order: Vec<usize> = (0..model.tensors.len()).collect();
        order.sort_by_key(|&i| (model.tensors[i].shard(), model.tensors[i].place().start, i));
        let pairs = pairs(model, plan, recipe, &order, mask);
        let listings: Vec<layout::Listing<'_>> = order
            .iter()
            .map(|&i| {
                let outcome = plan.outcome(model, i);
                let name = outcome.tensor.name.as_str();
                layout::Listing { name, shape: outcome.shape, block_type: stored_type(outcome) }
            })
            .collect();
        let alignment = model.gguf.as_ref().map_or(gguf::ALIGNMENT, |head| head.alignment);
        let layout = layout::lay_out(pairs.iter().map(Pair::len).sum(), &listings, alignment)?;
        Ok(Self { pairs, order, layout })
    }
}

fn pairs(model: &Model, plan: &Plan, recipe: &Recipe, order: &[usize], mask: impl Fn(usize) -> String) -> Vec<Pair> {
    let touched = (0..model.tensors.len()).any(|i| !plan.outcome(model, i).is_kept());
    let source = model.gguf.as_ref().map_or(&[][..], |head| &head.pairs.0);
    let file_type = touched.then(|| file_type(model, plan)).flatten();
    let mut made = BTreeMap::new();
    let own = |key: &str| key == RECIPE_KEY || key.starts_with(MASK_KEYS);
    if touched {
        made.insert(QUANTIZATION_VERSION, layout::u32_pair(QUANTIZATION_VERSION, VERSION));
    }
    if let Some(file_type) = file_type {
        made.insert(FILE_TYPE, layout::u32_pair(FILE_TYPE, file_type));
    }
    let mut pairs = Vec::new();
    // One file is written whatever the source was split into.
    let left_out = |pair: &&KeyValue| !own(&pair.key) && !split::KEYS.contains(&pair.key.as_str());
    for pair in source.iter().filter(left_out) {
        pairs.push(made.remove(pair.key.as_str()).map_or(Pair::Copied(pair.place.clone()), Pair::Made));
    }
    pairs.extend(made.into_values().map(Pair::Made));
    let text = file::print(&recipe.canonical(model, plan));
    pairs.push(Pair::Made(layout::text_pair(RECIPE_KEY, &text)));
    let masks = carrying(plan, order).map(|i| layout::text_pair(&mask_key(&model.tensors[i].name), &mask(i)));
    pairs.extend(masks.map(Pair::Made));
    pairs
}

/// The number that llama.cpp gives the type in which most weights are stored; `None` where it has none.
fn file_type(model: &Model, plan: &Plan) -> Option<u32> {
    let mut elements = BTreeMap::<BlockType, u64>::new();
    for i in 0..model.tensors.len() {
        let outcome = plan.outcome(model, i);
        if outcome.shape.len() > 1 {
            *elements.entry(stored_type(outcome)).or_default() += outcome.elements();
        }
    }
    let most = elements.into_iter().max_by_key(|&(_, elements)| elements)?.0;
    Some(match most {
        BlockType::F32 => 0,
        BlockType::F16 => 1,
        BlockType::Q4_0 => 2,
        BlockType::Q4_1 => 3,
        BlockType::Q8_0 => 7,
        BlockType::Q5_0 => 8,
        BlockType::Q5_1 => 9,
        BlockType::Q2_K => 10,
        // The medium mixes: there is no number for a type alone.
        BlockType::Q3_K => 12,
        BlockType::Q4_K => 15,
        BlockType::Q5_K => 17,
        BlockType::Q6_K => 18,
        BlockType::IQ4_NL => 25,
        BlockType::IQ4_XS => 30,
        BlockType::BF16 => 32,
        BlockType::TQ1_0 => 36,
        BlockType::TQ2_0 => 37,
        BlockType::MXFP4 => 38,
        _ => return None,
    })
}

/// Letters that stand for a carried mask until it is read.
#[must_use]
pub fn blank_mask(elements: u64) -> String {
    "A".repeat(base64::len((elements as usize).div_ceil(8)))
}
