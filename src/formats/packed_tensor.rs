//! One tensor of a `packed` header: its object read key by key, then judged as a whole against `PACKED.md`.

use super::error::{ErrorKind, printable, quoted};
use super::json::{Counts, Found, One, Seed, Take, Verdict};
use super::packed::{bad, unit_name};
use super::packed_layout::{Code, Coding, Form, Numbers};
use super::safetensors::{COUNT, needed_bytes};
use super::{Dtype, Entry, Limits};
use crate::kernels::layout::{Geometry, Unit};
use serde::de::MapAccess;

/// An item of the list of tensors.
pub(super) struct Tensor<'h> {
    /// Where an error goes.
    pub verdict: &'h Verdict,
    /// What the header may claim.
    pub limits: &'h Limits,
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
    coding: Option<Parts>,
}

/// The members of a coding as they were read.
#[derive(Default)]
struct Parts {
    scheme: Option<String>,
    form: Option<Form>,
    nonzeros: Option<u64>,
    code: Option<CodeName>,
    bits: Option<u64>,
    unit: Option<Unit>,
    zero_points: Option<bool>,
    entries: Option<u64>,
}

/// The word under `code`.
#[derive(Clone, Copy)]
enum CodeName {
    Number(Numbers),
    Codebook,
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
        let packed = members.coding.map(|parts| parts.coding(dtype, &shape, &place)).transpose()?;
        let needed = packed.as_ref().map_or(plain, |coding| coding.parts(dtype, Geometry::of(&shape)).len());
        if needed != found {
            let by = if packed.is_some() { "shape, dtype and coding" } else { "shape and dtype" };
            return Err(bad(&place, format!("{by} need {needed} bytes, \"bytes\" says {found}; the file is damaged")));
        }
        let end = self.at.checked_add(found).ok_or_else(|| bad(&place, "it ends past any file"))?;
        Ok(Entry { name, dtype, shape, range: self.at..end, packed })
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
                    members.coding.replace(items.next_value_seed(Seed(CodingObject(verdict, &place)))?).is_some()
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
fn wrong(place: &str, key: &str, found: Found<'_>, wanted: &str) -> ErrorKind {
    bad(place, format!("its \"{key}\" is {found}, not {wanted}"))
}

fn text(found: Found<'_>, wrong: &dyn Fn(Found<'_>, &str) -> ErrorKind) -> Result<String, ErrorKind> {
    match found {
        Found::Text(text) => Ok(text.to_owned()),
        other => Err(wrong(other, "a text")),
    }
}

fn number(found: Found<'_>, wrong: &dyn Fn(Found<'_>, &str) -> ErrorKind) -> Result<u64, ErrorKind> {
    match found {
        Found::Unsigned(number) => Ok(number),
        other => Err(wrong(other, "a whole number from 0 to 18446744073709551615")),
    }
}

fn dtype(found: Found<'_>, wrong: &dyn Fn(Found<'_>, &str) -> ErrorKind) -> Result<Dtype, ErrorKind> {
    let Found::Text(text) = found else { return Err(wrong(found, "a text")) };
    Dtype::from_name(text).ok_or_else(|| wrong(found, "one of the 22 that safetensors defines"))
}

/// The object under `coding`.
struct CodingObject<'h>(&'h Verdict, &'h str);

impl<'de> Take<'de> for CodingObject<'_> {
    type Out = Parts;

    fn plain<E: serde::de::Error>(self, found: Found<'_>) -> Result<Parts, E> {
        self.0.refuse(wrong(self.1, "coding", found, "an object"))
    }

    fn object<A: MapAccess<'de>>(self, mut items: A) -> Result<Parts, A::Error> {
        let (Self(verdict, place), mut parts) = (self, Parts::default());
        while let Some(key) = items.next_key::<String>()? {
            let wrong = |found: Found<'_>, wanted: &str| wrong(place, &key, found, wanted);
            let twice = match key.as_str() {
                "scheme" => {
                    let read = items.next_value_seed(Seed(One(verdict, |found: Found<'_>| text(found, &wrong))))?;
                    parts.scheme.replace(read).is_some()
                }
                "form" => {
                    let form = |found: Found<'_>| match found {
                        Found::Text("dense") => Ok(Form::Dense),
                        Found::Text("mask") => Ok(Form::Mask),
                        other => Err(wrong(other, "\"dense\" or \"mask\"")),
                    };
                    parts.form.replace(items.next_value_seed(Seed(One(verdict, form)))?).is_some()
                }
                "code" => {
                    let name = |found: Found<'_>| {
                        let name = if let Found::Text(name) = found { code_from_name(name) } else { None };
                        name.ok_or_else(|| wrong(found, "a code that this version knows"))
                    };
                    parts.code.replace(items.next_value_seed(Seed(One(verdict, name)))?).is_some()
                }
                "unit" => {
                    let unit = |found: Found<'_>| {
                        let unit = if let Found::Text(name) = found { unit_from_name(name) } else { None };
                        unit.ok_or_else(|| wrong(found, "one of tensor, row, g16, g32, g64, g128"))
                    };
                    parts.unit.replace(items.next_value_seed(Seed(One(verdict, unit)))?).is_some()
                }
                "nonzeros" | "bits" | "entries" => {
                    let slot = match key.as_str() {
                        "bits" => &mut parts.bits,
                        "entries" => &mut parts.entries,
                        _ => &mut parts.nonzeros,
                    };
                    let read = items.next_value_seed(Seed(One(verdict, |found: Found<'_>| number(found, &wrong))))?;
                    slot.replace(read).is_some()
                }
                "zero_points" => {
                    let flag = |found: Found<'_>| match found {
                        Found::Bool(flag) => Ok(flag),
                        other => Err(wrong(other, "true or false")),
                    };
                    parts.zero_points.replace(items.next_value_seed(Seed(One(verdict, flag)))?).is_some()
                }
                _ => return verdict.refuse(bad(place, format!("unknown key {} in its coding", quoted(&key)))),
            };
            if twice {
                let place = format!("packed file, the coding of {place}");
                return verdict.refuse(ErrorKind::DuplicateKey { place, name: printable(&key) });
            }
        }
        Ok(parts)
    }
}

impl Parts {
    /// What the members come to for a tensor of this dtype and shape.
    fn coding(self, dtype: Dtype, shape: &[usize], place: &str) -> Result<Coding, ErrorKind> {
        let missing = |key: &str| bad(place, format!("its coding has no \"{key}\""));
        // A mask says where the value is 0, and codes are multiples of a scale: only numbers that know 0 have either.
        if !dtype.is_float() || dtype == Dtype::F8_E8M0 {
            return Err(bad(place, format!("it has a coding, which goes with a float dtype only, not with {dtype}")));
        }
        let code = self.code_of(place);
        let scheme = self.scheme.ok_or_else(|| missing("scheme"))?;
        let form = self.form.ok_or_else(|| missing("form"))?;
        let nonzeros = self.nonzeros.ok_or_else(|| missing("nonzeros"))?;
        let elements = shape.iter().product::<usize>() as u64;
        if nonzeros > elements || (form == Form::Dense && nonzeros < elements) {
            let which = if form == Form::Dense { "just" } else { "at most" };
            return Err(bad(place, format!("\"nonzeros\" is {nonzeros}, {which} {elements} are right for its shape")));
        }
        Ok(Coding { scheme, form, nonzeros, code: code? })
    }

    /// What the members say that codes are.
    fn code_of(&self, place: &str) -> Result<Code, ErrorKind> {
        #[expect(clippy::cast_possible_truncation, reason = "each pattern lets but small numbers through")]
        match (self.code, self.bits, self.unit, self.zero_points, self.entries) {
            (None, None, None, None, None) => Ok(Code::Element),
            (None, Some(bits @ 2..=8), Some(unit), Some(zero_points), None) => {
                Ok(Code::Integer { bits: bits as u32, unit, zero_points })
            }
            (None, Some(bits), Some(_), Some(_), None) => {
                Err(bad(place, format!("\"bits\" is {bits}, allowed are 2 to 8")))
            }
            (None, ..) => Err(bad(place, "\"bits\", \"unit\" and \"zero_points\" come together or not at all")),
            (Some(CodeName::Number(table)), None, Some(unit), None, None) => match table.only_unit() {
                Some(only) if only != unit => {
                    Err(bad(place, format!("{} goes with the unit {}", table.name(), unit_name(only))))
                }
                _ => Ok(Code::Number { table, unit }),
            },
            (Some(CodeName::Number(_)), ..) => Err(bad(place, "beside this \"code\" stands \"unit\" alone")),
            (Some(CodeName::Codebook), None, Some(unit), None, Some(entries @ 2..=256)) => {
                Ok(Code::Codebook { entries: entries as u32, unit })
            }
            (Some(CodeName::Codebook), None, Some(_), None, Some(entries)) => {
                Err(bad(place, format!("\"entries\" is {entries}, allowed are 2 to 256")))
            }
            (Some(CodeName::Codebook), ..) => {
                Err(bad(place, "beside the code \"codebook\" stand \"unit\" and \"entries\""))
            }
        }
    }
}

fn code_from_name(name: &str) -> Option<CodeName> {
    if name == "codebook" { Some(CodeName::Codebook) } else { Numbers::from_name(name).map(CodeName::Number) }
}

fn unit_from_name(name: &str) -> Option<Unit> {
    match name {
        "tensor" => Some(Unit::Tensor),
        "row" => Some(Unit::Row),
        "g16" => Some(Unit::Group(16)),
        "g32" => Some(Unit::Group(32)),
        "g64" => Some(Unit::Group(64)),
        "g128" => Some(Unit::Group(128)),
        _ => None,
    }
}
