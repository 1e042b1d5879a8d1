//! From what the pickle says of a tensor to where its bytes are: every number held against the storage and the file first.
//!
//! One view of one storage under several names is one tensor, as it is in torch: the bytewise first name is its own.

use super::dtypes::Element;
use super::rebuild::{Storage, Tensor};
use super::{FORMAT, wrong};
use crate::formats::annex::{Annex, View};
use crate::formats::error::{Error, ErrorKind, NoSize, printable, quoted};
use crate::formats::{Dtype, Entry, Limits, Source, zip};
use crate::kernels::strided::Strided;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Times that a file may be longer when its tensors are written one by one; views that overlap make it so.
const TIMES: u64 = 16;
/// Bytes that tensors may come to besides, by repeating one another or themselves.
const REPEATED: u64 = 1 << 30;

/// Where storages lie.
pub(super) struct Storages<'s> {
    /// By key, or by the name of the member.
    pub(super) places: HashMap<String, Place<'s>>,
    /// Whether numbers begin with their highest byte.
    pub(super) big_endian: bool,
}

/// Where one storage lies.
#[derive(Clone, Debug)]
pub(super) enum Place<'s> {
    /// In the file, as it is.
    File(Range<u64>),
    /// Compressed.
    Packed(&'s zip::Member),
}

impl Place<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::File(range) => range.end.saturating_sub(range.start),
            Self::Packed(member) => member.size,
        }
    }
}

/// A tensor with its place.
pub(super) struct Placed {
    pub(super) name: String,
    /// Its other names.
    pub(super) also: Vec<String>,
    /// Which storage it lies in, as a number.
    pub(super) storage: usize,
    /// From its first byte in the storage to the end of its last.
    pub(super) bytes: Range<u64>,
    tensor: Tensor,
}

/// Puts tensors one after the other into a table.
pub(super) struct Placing<'s> {
    source: &'s Source,
    limits: &'s Limits,
    storages: &'s Storages<'s>,
    /// The numbers of the storages met so far.
    numbers: HashMap<String, usize>,
    pub(super) placed: Vec<Placed>,
    /// Where among them each view of a storage is.
    views: HashMap<(usize, u64, Dtype, Strided), usize>,
    /// Bytes of all tensors.
    total: u64,
}

impl<'s> Placing<'s> {
    pub(super) fn new(source: &'s Source, limits: &'s Limits, storages: &'s Storages<'s>) -> Self {
        Self { source, limits, storages, numbers: HashMap::new(), placed: Vec::new(), views: HashMap::new(), total: 0 }
    }

    fn fail(&self, name: &str, what: impl Into<String>) -> Error {
        wrong(self.source.path(), format!("tensor {}", quoted(name)), what)
    }

    /// Whether it is not known in which order the bytes of a tensor's numbers lie.
    pub(super) fn is_unsure(&self, tensor: &Tensor) -> bool {
        self.storages.big_endian && tensor.storage.element == Element::Untyped && tensor.dtype.bytes() > 1
    }

    /// Checks a tensor against its storage and takes it in.
    pub(super) fn add(&mut self, name: String, tensor: Tensor) -> Result<(), Error> {
        let place = self.storage_of(&name, &tensor.storage)?;
        let (bytes, size) = check(&tensor, place.len()).map_err(|what| self.fail(&name, what))?;
        let next = self.numbers.len();
        let storage = *self.numbers.entry(tensor.storage.key.clone()).or_insert(next);
        // What has no bytes shares none.
        if size > 0 {
            let view = (storage, bytes.start, tensor.dtype, tensor.strided.clone());
            let at = *self.views.entry(view).or_insert(self.placed.len());
            if let Some(known) = self.placed.get_mut(at) {
                known.call(name);
                return Ok(());
            }
        }
        self.total = self.total.saturating_add(size);
        let most = self.source.len().saturating_mul(TIMES).saturating_add(REPEATED.min(self.limits.held_bytes));
        if self.total > most {
            let what = format!(
                "with it the tensors come to {} bytes, because they repeat one another; a file of {} bytes may give {most}",
                self.total,
                self.source.len()
            );
            return Err(self.fail(&name, what));
        }
        self.placed.push(Placed { name, also: Vec::new(), storage, bytes, tensor });
        Ok(())
    }

    /// All names, and the tensors that those are which no tensor has for its own.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.placed.iter().flat_map(|placed| {
            let also = placed.also.iter().map(|name| (name.as_str(), Some(placed.name.as_str())));
            std::iter::once((placed.name.as_str(), None)).chain(also)
        })
    }

    fn storage_of(&self, name: &str, storage: &Storage) -> Result<&'s Place<'s>, Error> {
        let lost = || {
            let what = format!("its storage {} is not in the file; download or save it again", quoted(&storage.key));
            self.fail(name, what)
        };
        self.storages.places.get(&storage.key).ok_or_else(lost)
    }

    /// The entries of a table, in the order of the tensors, and what lies behind the file's end.
    pub(super) fn finish(&self) -> Result<(Vec<Entry>, Annex), Error> {
        let mut annex = Annex::new(self.source.len());
        let mut ranges: Vec<Range<u64>> = vec![0..0; self.placed.len()];
        let mut packed: BTreeMap<usize, (&zip::Member, Vec<usize>)> = BTreeMap::new();
        for (at, (placed, range)) in self.placed.iter().zip(&mut ranges).enumerate() {
            match self.storage_of(&placed.name, &placed.tensor.storage)? {
                Place::File(storage) => *range = self.in_file(placed, storage, &mut annex)?,
                Place::Packed(member) => packed.entry(placed.storage).or_insert((member, Vec::new())).1.push(at),
            }
        }
        for (member, tensors) in packed.into_values() {
            self.unpack(member, &tensors, &mut ranges, &mut annex)?;
        }
        let entry = |(placed, range): (&Placed, Range<u64>)| Entry {
            name: placed.name.clone(),
            dtype: placed.tensor.dtype,
            shape: placed.tensor.strided.shape.clone(),
            range,
            packed: None,
            block_type: None,
        };
        Ok((self.placed.iter().zip(ranges).map(entry).collect(), annex))
    }

    fn in_file(&self, placed: &Placed, storage: &Range<u64>, annex: &mut Annex) -> Result<Range<u64>, Error> {
        let base = storage.start.saturating_add(placed.bytes.start);
        let end = storage.start.saturating_add(placed.bytes.end);
        let swap = self.swap(placed.tensor.dtype);
        let strided = &placed.tensor.strided;
        if placed.bytes.is_empty() {
            return Ok(base..base);
        }
        if swap == 1 && strided.is_contiguous() {
            return Ok(base..end);
        }
        let view = annex.view(View { base, strided: strided.clone(), swap });
        view.ok_or_else(|| self.fail(&placed.name, "it reaches past the file; download it again"))
    }

    /// Bytes that stand in reverse order.
    fn swap(&self, dtype: Dtype) -> usize {
        match dtype {
            _ if !self.storages.big_endian => 1,
            Dtype::C64 => 4,
            other => other.bytes().max(1),
        }
    }

    /// Unpacks one storage into memory: what lies in order stays there as it is, what does not is put in order.
    fn unpack(
        &self,
        member: &zip::Member,
        tensors: &[usize],
        ranges: &mut [Range<u64>],
        annex: &mut Annex,
    ) -> Result<(), Error> {
        let left = |annex: &Annex| self.limits.held_bytes.saturating_sub(annex.held());
        let storage = zip::unpack(self.source, member, left(annex))?;
        let (mut plain, mut held) = (Vec::new(), annex.held());
        for &at in tensors {
            let Some((placed, range)) = self.placed.get(at).zip(ranges.get_mut(at)) else { continue };
            let swap = self.swap(placed.tensor.dtype);
            if swap == 1 && placed.tensor.strided.is_contiguous() {
                plain.push(at);
                held = held.max(annex.held().saturating_add(storage.len() as u64));
                continue;
            }
            let size = placed.tensor.size();
            let whole = storage.len() as u64;
            if size > left(annex).saturating_sub(whole) {
                let what = format!(
                    "it is compressed and takes {size} bytes of memory, {} are left; save the file without compression",
                    left(annex).saturating_sub(whole)
                );
                return Err(self.fail(&placed.name, what));
            }
            let bytes = gathered(&storage, placed, swap).ok_or_else(|| self.fail(&placed.name, "it has no place"))?;
            *range = annex.hold(bytes).ok_or_else(|| self.fail(&placed.name, "it has no place"))?;
        }
        if plain.is_empty() {
            return Ok(());
        }
        let Some(whole) = annex.hold(storage) else { return Err(self.fail(&member.name, "it has no place")) };
        for at in plain {
            if let Some((placed, range)) = self.placed.get(at).zip(ranges.get_mut(at)) {
                *range = whole.start.saturating_add(placed.bytes.start)..whole.start.saturating_add(placed.bytes.end);
            }
        }
        Ok(())
    }
}

impl Placed {
    /// Takes in one more name.
    fn call(&mut self, mut name: String) {
        if name < self.name {
            std::mem::swap(&mut name, &mut self.name);
        }
        self.also.push(name);
    }
}

/// A tensor's elements out of an unpacked storage, in order and with their lowest byte first.
fn gathered(storage: &[u8], placed: &Placed, swap: usize) -> Option<Vec<u8>> {
    let strided = &placed.tensor.strided;
    let elements = strided.elements()?;
    let mut out = vec![0; elements.checked_mul(strided.width)?];
    let from = usize::try_from(placed.bytes.start).ok()?;
    let fetch = |offset: u64, into: &mut [u8]| {
        let start = from.checked_add(usize::try_from(offset).ok().ok_or(())?).ok_or(())?;
        let bytes = storage.get(start..start.checked_add(into.len()).ok_or(())?).ok_or(())?;
        into.copy_from_slice(bytes);
        Ok::<(), ()>(())
    };
    strided.gather(0..elements, &mut out, fetch).ok()?;
    if swap > 1 {
        out.chunks_exact_mut(swap).for_each(<[u8]>::reverse);
    }
    Some(out)
}

impl Tensor {
    /// Bytes of its elements; they were counted when it was checked.
    fn size(&self) -> u64 {
        let elements = self.strided.elements().unwrap_or(0) as u64;
        elements.saturating_mul(self.strided.width as u64)
    }
}

/// Where in its storage, of `there` bytes, a tensor lies, and how many bytes its elements take.
fn check(tensor: &Tensor, there: u64) -> Result<(Range<u64>, u64), String> {
    let (storage, strided) = (&tensor.storage, &tensor.strided);
    let shape = || printable(&format!("{:?}", strided.shape));
    let width = storage.element.width();
    let before = storage.view.unwrap_or(0).checked_mul(width);
    let claimed = storage.elements.checked_mul(width);
    let reach = claimed.zip(before).and_then(|(claimed, before)| claimed.checked_add(before));
    let (Some(before), Some(claimed), Some(reach)) = (before, claimed, reach) else {
        return Err(format!("its storage is said to have {} elements, more than can be counted", storage.elements));
    };
    if reach > there {
        return Err(format!(
            "its storage {} is said to have {claimed} bytes, {there} are in the file; download or save it again",
            quoted(&storage.key)
        ));
    }
    let elements = strided.elements().ok_or_else(|| NoSize::Elements(shape()).to_string())?;
    let size = (elements as u64).checked_mul(strided.width as u64).ok_or_else(|| NoSize::Bytes(shape()).to_string())?;
    let span = strided.span();
    let start = tensor.offset.checked_mul(strided.width as u64);
    let end = start.zip(span).and_then(|(start, span)| start.checked_add(span));
    // An empty tensor may begin anywhere; it reads nothing.
    if size == 0 {
        return Ok((0..0, 0));
    }
    match (start, end) {
        (Some(start), Some(end)) if end <= claimed => {
            Ok((before.saturating_add(start)..before.saturating_add(end), size))
        }
        _ => Err(format!(
            "shape {} with strides {} from element {} on needs {} bytes of its storage, which has {claimed}; the file is damaged or its writer is at fault",
            shape(),
            printable(&format!("{:?}", strided.strides)),
            tensor.offset,
            end.map_or_else(|| "more than 2^64".into(), |end| end.to_string()),
        )),
    }
}

/// No name is given twice.
pub(super) fn check_names(source: &Source, mut names: Vec<&str>) -> Result<(), Error> {
    names.sort_unstable();
    let Some([name, _]) = names.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) else { return Ok(()) };
    let place = format!("{FORMAT} file, tensor names joined by dots");
    Err(Error::new(source.path(), ErrorKind::DuplicateKey { place, name: printable(name) }))
}
