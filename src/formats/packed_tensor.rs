//! One tensor of a `packed` header: its object read key by key, then judged as a whole against `PACKED.md`.

use super::error::{ErrorKind, quoted};
use super::json::{Counts, Found, One, Seed, Take, Verdict};
use super::packed::bad;
use super::packed_coding::{CodingObject, Members as CodingMembers};
use super::safetensors::{COUNT, needed_bytes};
use super::{Dtype, Entry, Limits};
use crate::kernels::layout::Geometry;
use serde::de::MapAccess;

/// An item of the list of tensors.
pub(super) struct Tensor<'h> {
    /// Where an error goes.
    pub verdict: &'h Verdict,
    /// What the header may claim.
    pub limits: &'h Limits,
    /// The version that the file says it is of.
    pub version: u32,
    /// Where its payload begins in the file.
    pub at: u64,
    /// Its place in the list, for as long as its name is not read.
    pub position: usize,
}

/// The members of a tensor's object as they were read.
#[derive(Default)]
struct Members {
    name: Option<String>,
    dtype: Option<Dtype>,
    shape: Option<(Vec<u64>, usize)>,
    bytes: Option<u64>,
    coding: Option<CodingMembers>,
}

impl Tensor<'_> {
    fn place(&self, name: Option<&String>) -> String {
        name.map_or_else(|| format!("tensor {} of the list", self.position), |name| format!("tensor {}", quoted(name)))
    }

    /// What the members come to.
    fn entry(&self, members: Members) -> Result<Entry, ErrorKind> {
        let place = self.place(members.name.as_ref());
        let missing = |key: &str| bad(&place, format!("it has no \"{key}\""));
        let name = members.name.ok_or_else(|| missing("name"))?;
        let dtype = members.dtype.ok_or_else(|| missing("dtype"))?;
        let (dimensions, rank) = members.shape.ok_or_else(|| missing("shape"))?;
        if rank > self.limits.rank {
            return Err(bad(&place, format!("{rank} dimensions, more than the {} allowed", self.limits.rank)));
        }
        let shape: Option<Vec<usize>> = dimensions.into_iter().map(|d| usize::try_from(d).ok()).collect();
        let shape = shape.ok_or_else(|| bad(&place, "a dimension is more than this machine can count"))?;
        let plain = needed_bytes(dtype, &shape).map_err(|what| bad(&place, what.to_string()))?;
        let found = members.bytes.ok_or_else(|| missing("bytes"))?;
        let packed = members.coding.map(|members| members.coding(dtype, &shape, &place)).transpose()?;
        if let Some(newer) = packed.as_ref().map(|coding| coding.stored.version()).filter(|&v| v > self.version) {
            let what = format!("its coding is of version {newer} of the format, the file says {}", self.version);
            return Err(bad(&place, what));
        }
        let needed = packed.as_ref().map_or(plain, |coding| coding.stored.len(dtype, Geometry::of(&shape)));
        if needed != found {
            let by = if packed.is_some() { "shape, dtype and coding" } else { "shape and dtype" };
            return Err(bad(&place, format!("{by} need {needed} bytes, \"bytes\" says {found}; the file is damaged")));
        }
        let end = self.at.checked_add(found).ok_or_else(|| bad(&place, "it ends past any file"))?;
        Ok(Entry { name, dtype, shape, range: self.at..end, packed, block_type: None })
    }
}

impl<'de> Take<'de> for Tensor<'_> {
    type Out = Entry;

    fn plain<E: serde::de::Error>(self, found: Found<'_>) -> Result<Entry, E> {
        self.verdict.refuse(bad(self.place(None), format!("it is {found}, not an object")))
    }

    fn object<A: MapAccess<'de>>(self, mut items: A) -> Result<Entry, A::Error> {
        let (verdict, mut members) = (self.verdict, Members::default());
        while let Some(key) = items.next_key::<String>()? {
            let place = self.place(members.name.as_ref());
            let wrong = |found: Found<'_>, wanted: &str| wrong(&place, &key, found, wanted);
            let twice = match key.as_str() {
                "name" => {
                    let read = items.next_value_seed(Seed(One(verdict, |found: Found<'_>| text(found, &wrong))))?;
                    members.name.replace(read).is_some()
                }
                "dtype" => {
                    let read = items.next_value_seed(Seed(One(verdict, |found: Found<'_>| dtype(found, &wrong))))?;
                    members.dtype.replace(read).is_some()
                }
                "shape" => {
                    let wrong = |at: Option<usize>, found: Found<'_>| match at {
                        None => wrong(found, "a list of dimensions"),
                        Some(at) => bad(&place, format!("dimension {at} is {found}; {COUNT}")),
                    };
                    let counts = Counts { verdict, most: self.limits.rank, wrong };
                    members.shape.replace(items.next_value_seed(Seed(counts))?).is_some()
                }
                "bytes" => {
                    let read = items.next_value_seed(Seed(One(verdict, |found: Found<'_>| number(found, &wrong))))?;
                    members.bytes.replace(read).is_some()
                }
                "coding" => {
                    let object = CodingObject { verdict, place: &place, key: "coding" };
                    members.coding.replace(items.next_value_seed(Seed(object))?).is_some()
                }
                _ => return verdict.refuse(bad(&place, format!("unknown key {}", quoted(&key)))),
            };
            if twice {
                return verdict.refuse(ErrorKind::DuplicateKey { place: format!("packed file, {place}"), name: key });
            }
        }
        self.entry(members).or_else(|kind| verdict.refuse(kind))
    }
}

/// A value that is not what its key wants.
pub(super) fn wrong(place: &str, key: &str, found: Found<'_>, wanted: &str) -> ErrorKind {
    bad(place, format!("its \"{key}\" is {found}, not {wanted}"))
}

pub(super) fn text(found: Found<'_>, wrong: &dyn Fn(Found<'_>, &str) -> ErrorKind) -> Result<String, ErrorKind> {
    match found {
        Found::Text(text) => Ok(text.to_owned()),
        other => Err(wrong(other, "a text")),
    }
}

pub(super) fn number(found: Found<'_>, wrong: &dyn Fn(Found<'_>, &str) -> ErrorKind) -> Result<u64, ErrorKind> {
    match found {
        Found::Unsigned(number) => Ok(number),
        other => Err(wrong(other, "a whole number from 0 to 18446744073709551615")),
    }
}

fn dtype(found: Found<'_>, wrong: &dyn Fn(Found<'_>, &str) -> ErrorKind) -> Result<Dtype, ErrorKind> {
    let Found::Text(text) = found else { return Err(wrong(found, "a text")) };
    Dtype::from_name(text).ok_or_else(|| wrong(found, "one of the 22 that safetensors defines"))
}
