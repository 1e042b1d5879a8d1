//! What a GGUF artifact says beside the model's tensors, held to what it should say: key-values byte for byte and no others,
//! tensors that only a converted file has, and nothing where padding is.

use super::Error;
use super::verify::TensorCheck;
use crate::estimate::gguf_file::{self, Pairs};
use crate::estimate::total::carrying;
use crate::formats::gguf::KeyValue;
use crate::model::{Conversion, Model, RECIPE_KEY, Scratch, Tensor, mask_key, split};
use crate::recipe::Plan;
use std::collections::HashSet;
use std::ops::Range;

/// Bytes that are compared at a time.
const BLOCK: u64 = 1 << 20;

/// The key of a model's name, which is that of its folder, and a folder may be renamed.
const NAME: &str = "general.name";

/// What stands for the bytes between the infos and the data, and between tensors.
const PADDING: &str = "padding";

/// A check that failed for each key or tensor that is not what it should be.
pub(super) fn faults(model: &Model, artifact: &Model, plan: &Plan) -> Result<Vec<TensorCheck>, Error> {
    let conversion = model.converted();
    let mut faults = Vec::new();
    let mut found = artifact.gguf.as_ref().map_or(&[][..], |head| &head.pairs.0);
    for pairs in gguf_file::said(model, plan) {
        let Some((these, rest)) = found.split_at_checked(pairs.count() as usize) else {
            faults.push(TensorCheck::failed(gguf_file::WORDS, "some of them are missing"));
            break;
        };
        found = rest;
        if let Some(key) = other_key(model, artifact, &pairs, these, conversion.is_some())? {
            faults.push(TensorCheck::failed(key, "its bytes differ"));
        }
    }
    let all: Vec<usize> = (0..model.tensors.len()).collect();
    let masks = carrying(plan, &all).map(|i| mask_key(&model.tensors[i].name));
    let ours: HashSet<String> = masks.chain([RECIPE_KEY.to_owned()]).collect();
    // Whoever cut the file into a set of files has added the keys of one.
    let others = found.iter().filter(|pair| !ours.contains(&pair.key) && !split::KEYS.contains(&pair.key.as_str()));
    faults.extend(others.map(|pair| TensorCheck::failed(&pair.key, "nothing says that it should be there")));
    if !is_padded_with_zeros(artifact)? {
        faults.push(TensorCheck::failed(PADDING, "not all of its bytes are 0, or there are bytes behind the end"));
    }
    for extra in conversion.iter().flat_map(|conversion| &conversion.extras) {
        let same = match artifact.find(extra.name).map(|i| &artifact.tensors[i]) {
            Some(tensor) => same_values(artifact, tensor, &extra.values)?,
            None => false,
        };
        if !same {
            faults.push(TensorCheck::failed(extra.name, "its values differ"));
        }
    }
    Ok(faults)
}

/// Whether a tensor is one of those that only a converted file has.
pub(super) fn is_extra(conversion: Option<&Conversion>, name: &str) -> bool {
    conversion.is_some_and(|conversion| conversion.extras.iter().any(|extra| extra.name == name))
}

/// The first key whose bytes are not those that are wanted.
fn other_key<'a>(
    model: &Model,
    artifact: &Model,
    wanted: &Pairs,
    found: &'a [KeyValue],
    converted: bool,
) -> Result<Option<&'a str>, Error> {
    let copied = |part: Range<u64>, out: &mut Vec<u8>| -> Result<(), Error> {
        let Some(source) = model.shards.first() else { return Ok(()) };
        out.extend_from_slice(source.read(part, &mut Vec::new())?);
        Ok(())
    };
    let whole = |bytes: &[u8]| 0..bytes.len() as u64;
    let (range, part): (Range<u64>, Part<'_>) = match wanted {
        Pairs::Copied(range) => (range.clone(), Box::new(copied)),
        Pairs::Made(bytes) => (whole(bytes), Box::new(slice(bytes))),
        Pairs::Spelled(bytes, _) => (whole(bytes), Box::new(slice(bytes))),
    };
    let mut at = range.start;
    for pair in found.iter().filter(|pair| !converted || pair.key != NAME) {
        let end = at.saturating_add(pair.place.end - pair.place.start);
        if end > range.end || !same_bytes(artifact, pair.place.clone(), at..end, &part)? {
            return Ok(Some(&pair.key));
        }
        at = end;
    }
    Ok(None)
}

/// Appends a part of what is wanted.
type Part<'a> = Box<dyn Fn(Range<u64>, &mut Vec<u8>) -> Result<(), Error> + 'a>;

fn slice(bytes: &[u8]) -> impl Fn(Range<u64>, &mut Vec<u8>) -> Result<(), Error> {
    move |part, out| {
        out.extend_from_slice(&bytes[part.start as usize..part.end as usize]);
        Ok(())
    }
}

/// Whether the artifact has at `place` what is wanted at `range`.
fn same_bytes(artifact: &Model, place: Range<u64>, range: Range<u64>, wanted: &Part<'_>) -> Result<bool, Error> {
    let Some(file) = artifact.shards.first() else { return Ok(false) };
    if place.end - place.start != range.end - range.start {
        return Ok(false);
    }
    let (mut some, mut scratch) = (Vec::new(), Vec::new());
    let mut at = range.start;
    while at < range.end {
        let end = (at + BLOCK).min(range.end);
        some.clear();
        wanted(at..end, &mut some)?;
        let found = place.start + at - range.start..place.start + end - range.start;
        if file.read(found, &mut scratch)? != some {
            return Ok(false);
        }
        at = end;
    }
    Ok(true)
}

/// Whether nothing stands between the infos and the data, nor between tensors.
fn is_padded_with_zeros(artifact: &Model) -> Result<bool, Error> {
    let (Some(head), [file]) = (&artifact.gguf, artifact.shards.as_slice()) else { return Ok(true) };
    if head.surplus > 0 {
        return Ok(false);
    }
    // An info is a name with its length, how many dimensions there are and which, a type and an offset.
    let info = |tensor: &Tensor| (tensor.name.len() + 8 * tensor.shape.len() + 24) as u64;
    let pairs = head.pairs.0.last().map_or(24, |pair| pair.place.end);
    let mut places: Vec<Range<u64>> = artifact.tensors.iter().map(Tensor::place).collect();
    places.sort_by_key(|place| (place.start, place.end));
    let mut at = pairs + artifact.tensors.iter().map(info).sum::<u64>();
    let mut scratch = Vec::new();
    for next in places.into_iter().chain([file.len()..file.len()]) {
        // Gaps are less than an alignment each; a file that has larger ones was not opened.
        let gap = at..next.start.max(at);
        if !gap.is_empty() && file.read(gap, &mut scratch)?.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        at = next.end.max(at);
    }
    Ok(true)
}

fn same_values(artifact: &Model, tensor: &Tensor, wanted: &[f32]) -> Result<bool, Error> {
    if tensor.elements() != wanted.len() || !tensor.dtype.is_float() {
        return Ok(false);
    }
    let mut values = Vec::<f32>::new();
    artifact.values(tensor, 0..wanted.len(), &mut values, &mut Scratch::default())?;
    Ok(values.iter().zip(wanted).all(|(a, b)| a.to_bits() == b.to_bits()))
}
