//! A GGUF artifact as a whole: of a GGUF source its key-values byte for byte but for what became untrue, and its tensors in their
//! old order; of a converted model what its config and tokenizer say.

use super::size::{gguf_bytes, stored_type};
use super::total::carrying;
use crate::formats::ErrorKind;
use crate::formats::gguf::{self, KeyValue, layout};
use crate::kernels::ggml::BlockType;
use crate::model::{Conversion, MASK_KEYS, Model, RECIPE_KEY, mask_key, split};
use crate::recipe::{Outcome, Plan, Recipe, file};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The key that names what most of a model is stored in; for people, no reader depends on it.
pub const FILE_TYPE: &str = "general.file_type";
/// The key of the version of the block types.
pub const QUANTIZATION_VERSION: &str = "general.quantization_version";
/// The version of the block types in use since 2023.
const VERSION: u32 = 2;

/// Some key-values of the artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// One of the source's, as it lies in its first file.
    Copied(Range<u64>),
    /// One of our own.
    Made(Vec<u8>),
    /// Several that were spelled before.
    Spelled(Arc<[u8]>, u64),
}

impl Pairs {
    fn bytes(&self) -> u64 {
        match self {
            Self::Copied(range) => range.end - range.start,
            Self::Made(bytes) => bytes.len() as u64,
            Self::Spelled(bytes, _) => bytes.len() as u64,
        }
    }

    /// How many they are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        match self {
            Self::Copied(_) | Self::Made(_) => 1,
            Self::Spelled(_, count) => *count,
        }
    }
}

/// A tensor of the artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// One of the model's, by position.
    Tensor(usize),
    /// One that only a converted file has, by position.
    Extra(usize),
}

/// What a GGUF artifact will be.
#[derive(Clone, Debug)]
pub struct GgufFile {
    /// Key-values in order.
    pub pairs: Vec<Pairs>,
    /// Tensors in the order of the file.
    pub items: Vec<Item>,
    /// Places.
    pub layout: layout::Layout,
}

impl GgufFile {
    /// The artifact of a plan; `mask` spells the masks that it carries.
    ///
    /// # Errors
    /// A tensor that the format cannot list.
    pub fn of(model: &Model, plan: &Plan, recipe: &Recipe, mask: impl Fn(usize) -> String) -> Result<Self, ErrorKind> {
        let conversion = model.converted();
        let items = items(model, conversion);
        let mut pairs = said(model, plan);
        let text = file::print(&recipe.canonical(model, plan));
        pairs.push(Pairs::Made(layout::text_pair(RECIPE_KEY, &text)));
        let all: Vec<usize> = (0..model.tensors.len()).collect();
        let masks = carrying(plan, &all).map(|i| layout::text_pair(&mask_key(&model.tensors[i].name), &mask(i)));
        pairs.extend(masks.map(Pairs::Made));
        let shapes: Vec<[usize; 1]> =
            conversion.iter().flat_map(|c| &c.extras).map(|extra| [extra.values.len()]).collect();
        let listing = |item: &Item| match *item {
            Item::Extra(at) => {
                let name = conversion.map_or("", |conversion| conversion.extras[at].name);
                layout::Listing { name, shape: &shapes[at], block_type: BlockType::F32 }
            }
            Item::Tensor(i) => {
                let outcome = plan.outcome(model, i);
                let name = name_of(model, conversion, i);
                layout::Listing { name, shape: outcome.shape, block_type: stored_type(outcome) }
            }
        };
        let listings: Vec<layout::Listing<'_>> = items.iter().map(listing).collect();
        let alignment = model.gguf.as_ref().map_or(gguf::ALIGNMENT, |head| head.alignment);
        let layout = layout::lay_out(pairs.iter().map(Pairs::bytes).sum(), &listings, alignment)?;
        Ok(Self { pairs, items, layout })
    }

    /// How many key-values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.pairs.iter().map(Pairs::count).sum()
    }

    /// What is no tensor's of the model: head, padding, and what only the file has.
    #[must_use]
    pub fn overhead(&self, model: &Model, plan: &Plan) -> u64 {
        let all = 0..model.tensors.len();
        self.layout.len - all.map(|i| gguf_bytes(plan.outcome(model, i))).sum::<u64>()
    }
}

/// What stands for the key-values as a whole where none of them can be named.
pub const WORDS: &str = "key-values";

/// The key-values of an artifact, all but the recipe and masks that follow them.
#[must_use]
pub fn said(model: &Model, plan: &Plan) -> Vec<Pairs> {
    let conversion = model.converted();
    conversion.map_or_else(|| copied(model, plan), |conversion| converted(model, plan, conversion))
}

/// A tensor's name in the artifact.
#[must_use]
pub fn name_of<'a>(model: &'a Model, conversion: Option<&'a Conversion>, index: usize) -> &'a str {
    let place = conversion.and_then(|conversion| conversion.places[index].as_ref());
    place.map_or(&model.tensors[index].name, |place| &place.name)
}

/// A GGUF source keeps its order; a converted model has its embedding first, then block after block.
fn items(model: &Model, conversion: Option<&Conversion>) -> Vec<Item> {
    let mut tensors: Vec<usize> = (0..model.tensors.len()).collect();
    let Some(conversion) = conversion else {
        // One without elements lies where the next begins, and before it.
        let place = |i: usize| (model.tensors[i].shard(), model.tensors[i].place());
        tensors.sort_by_key(|&i| (place(i).0, place(i).1.start, place(i).1.end, i));
        return tensors.into_iter().map(Item::Tensor).collect();
    };
    tensors.retain(|&i| conversion.places[i].is_some());
    let name = |i: usize| name_of(model, Some(conversion), i);
    let block = |i: usize| match model.tensors[i].block {
        Some(block) => u64::from(block) + 1,
        None if name(i).starts_with("output") => u64::MAX,
        None => 0,
    };
    tensors.sort_by(|&a, &b| block(a).cmp(&block(b)).then_with(|| name(a).cmp(name(b))));
    let extras = (0..conversion.extras.len()).map(Item::Extra);
    extras.chain(tensors.into_iter().map(Item::Tensor)).collect()
}

/// The source's pairs with what became untrue in it replaced. One file is written whatever the source was split into.
fn copied(model: &Model, plan: &Plan) -> Vec<Pairs> {
    let touched = (0..model.tensors.len()).any(|i| !plan.outcome(model, i).is_kept());
    let source = model.gguf.as_ref().map_or(&[][..], |head| &head.pairs.0);
    let own = |key: &str| key == RECIPE_KEY || key.starts_with(MASK_KEYS);
    let mut made: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    if touched {
        made.extend(types(model, plan).into_iter().map(|(key, pair)| (key.to_owned(), pair)));
    }
    // Widths of what lost units.
    let family = model.gguf.as_ref().and_then(|head| head.pairs.text("general.architecture")).unwrap_or_default();
    for (key, &number) in &plan.removals.config {
        let key = format!("{family}.{key}");
        let pair = layout::u32_pair(&key, u32::try_from(number).unwrap_or(u32::MAX));
        made.insert(key, pair);
    }
    let left_out = |pair: &&KeyValue| !own(&pair.key) && !split::KEYS.contains(&pair.key.as_str());
    let mut pairs = Vec::new();
    for pair in source.iter().filter(left_out) {
        pairs.push(made.remove(pair.key.as_str()).map_or(Pairs::Copied(pair.place.clone()), Pairs::Made));
    }
    pairs.extend(made.into_values().map(Pairs::Made));
    pairs
}

fn converted(model: &Model, plan: &Plan, conversion: &Conversion) -> Vec<Pairs> {
    let numbers = conversion.numbers.pairs(|key| plan.removals.config.get(key).copied());
    let types = types(model, plan).into_iter().map(|(_, pair)| pair);
    let mut pairs: Vec<Pairs> = numbers.into_iter().chain(types).map(Pairs::Made).collect();
    pairs.push(Pairs::Spelled(conversion.vocabulary.bytes.clone(), conversion.vocabulary.count));
    pairs
}

/// What a file says of its types.
fn types(model: &Model, plan: &Plan) -> Vec<(&'static str, Vec<u8>)> {
    let file_type = file_type(model, plan).map(|number| (FILE_TYPE, layout::u32_pair(FILE_TYPE, number)));
    let version = (QUANTIZATION_VERSION, layout::u32_pair(QUANTIZATION_VERSION, VERSION));
    file_type.into_iter().chain([version]).collect()
}

/// The number that llama.cpp gives the type in which most weights are stored (`llama_ftype`); `None` where it has none.
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

/// Letters that stand for a carried mask until it is read: its own number, less whole stretches of so many. Where heads are filled up
/// to stretches, or to what divides them, a head is longer by these in the end.
#[must_use]
pub fn blank_mask(of: Outcome<'_>, stretch: usize) -> String {
    "A".repeat(Plan::mask_letters(of) % stretch)
}

/// What a [`blank_mask`] lacks.
#[must_use]
pub fn whole_stretches(of: Outcome<'_>, stretch: usize) -> u64 {
    let letters = Plan::mask_letters(of);
    (letters - letters % stretch) as u64
}
