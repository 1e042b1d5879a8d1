//! The values of a tensor: where they lie as safetensors has them, or, held in memory, what they are made into.

use super::AGAIN;
use super::tensor::{Elsewhere, Kind, List, Listed, Proto, Stranger, kind};
use super::wire::{Value, Wire};
use crate::formats::annex::Annex;
use crate::formats::error::Error;
use crate::formats::safetensors::needed_bytes;
use crate::formats::{Dtype, Entry, Limits, Source};
use std::ops::Range;

/// A tensor whose values lie in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// Its name.
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Where its values are.
    pub at: Elsewhere,
    pub(super) kind: Kind,
}

/// What becomes of a tensor.
pub(super) enum Placed {
    Here(Entry),
    Outside(Outside),
    LeftAlone(Stranger),
}

/// Bytes of the values of one tensor, at most so many.
pub(super) struct Room<'a> {
    pub annex: &'a mut Annex,
    pub limits: &'a Limits,
}

/// Finds the values of a tensor, or makes them.
pub(super) fn place(wire: &mut Wire<'_>, proto: Proto, room: &mut Room<'_>) -> Result<Placed, Error> {
    let kind = match kind(proto.data_type) {
        Kind::Other(stranger) => return Ok(Placed::LeftAlone(stranger)),
        known => known,
    };
    let place = proto.place();
    let needed = match needed(kind, &proto.shape) {
        Ok(needed) => needed,
        Err(Size::Odd) => return Ok(Placed::LeftAlone(Stranger::Float4Odd)),
        Err(Size::Past(what)) => return Err(wire.wrong(&place, format!("{what}; {AGAIN}"))),
    };
    if let Some(at) = proto.elsewhere {
        return Ok(Placed::Outside(Outside { name: proto.name, shape: proto.shape, at, kind }));
    }
    let range = match (&proto.raw, &proto.listed) {
        (Some(raw), _) => raw.clone(),
        (None, Some(listed)) => return listed_values(wire, &proto, listed, kind, needed, room),
        (None, None) => 0..0,
    };
    let source = wire.source();
    let (dtype, range) =
        raw_values(source, kind, &proto.shape, range, room).map_err(|fault| fault.about(source, &place))?;
    Ok(Placed::Here(entry(proto.name, dtype, proto.shape, range)))
}

pub(super) fn entry(name: String, dtype: Dtype, shape: Vec<usize>, range: Range<u64>) -> Entry {
    Entry { name, dtype, shape, range, packed: None, block_type: None }
}

/// Why values cannot be had.
pub(super) enum Fault {
    /// The file cannot be read any more.
    Read(Error),
    /// What it says cannot be so.
    Says(String),
}

impl Fault {
    pub(super) fn about(self, source: &Source, place: &str) -> Error {
        match self {
            Self::Read(error) => error,
            Self::Says(what) => super::wrong(source, place, what),
        }
    }
}

/// Values that lie one behind the other as raw_data and external files have them.
pub(super) fn raw_values(
    source: &Source,
    kind: Kind,
    shape: &[usize],
    range: Range<u64>,
    room: &mut Room<'_>,
) -> Result<(Dtype, Range<u64>), Fault> {
    let found = range.end - range.start;
    let needed = needed(kind, shape).map_err(|size| Fault::Says(size.to_string()))?;
    if found != needed {
        let what = match found {
            0 => format!("its shape {shape:?} and type need {needed} bytes, and there are none; {AGAIN}"),
            _ => format!("its shape {shape:?} and type need {needed} bytes, and there are {found}; {AGAIN}"),
        };
        return Err(Fault::Says(what));
    }
    match kind {
        Kind::Plain(dtype) => Ok((dtype, range)),
        Kind::Narrow { bits, signed } => {
            let elements = shape.iter().product();
            room.check(elements as u64)?;
            let mut scratch = Vec::new();
            let wide = source.with(range, &mut scratch, |bytes| widen(bytes, elements, bits, signed));
            Ok((narrow_dtype(signed), room.hold(wide.map_err(Fault::Read)?)?))
        }
        Kind::Other(stranger) => Err(Fault::Says(stranger.why())),
    }
}

/// Where values lie in another file of `len` bytes. Whoever does not say how many there are has as many as are needed.
pub(super) fn outside_range(tensor: &Outside, len: u64) -> Result<Range<u64>, String> {
    let Elsewhere { offset, length, .. } = tensor.at;
    let needed = needed(tensor.kind, &tensor.shape).map_err(|size| size.to_string())?;
    let length = length.unwrap_or(needed);
    match offset.checked_add(length) {
        Some(end) if end <= len => Ok(offset..end),
        _ => Err(format!(
            "its values are {length} bytes from byte {offset} of this file on, which has {len} bytes; the file is cut short or belongs to another model (download both again)"
        )),
    }
}

impl Room<'_> {
    /// Refuses to hold more than a file may have held.
    fn check(&self, bytes: u64) -> Result<(), Fault> {
        let (held, allowed) = (self.annex.held(), self.limits.held_bytes);
        if held.checked_add(bytes).is_some_and(|sum| sum <= allowed) {
            return Ok(());
        }
        Err(Fault::Says(format!(
            "{bytes} bytes are needed to convert it, and {held} of the {allowed} that one file may take are held already; save the model with its values in raw_data"
        )))
    }

    fn hold(&mut self, bytes: Vec<u8>) -> Result<Range<u64>, Fault> {
        self.annex.hold(bytes).ok_or_else(|| Fault::Says("it lies past any file".into()))
    }
}

/// The dtype of integers that were widened to a byte each.
const fn narrow_dtype(signed: bool) -> Dtype {
    if signed { Dtype::I8 } else { Dtype::U8 }
}

/// A byte for each integer of `bits` bits, the first of them in the lowest bits.
fn widen(bytes: &[u8], elements: usize, bits: u32, signed: bool) -> Vec<u8> {
    let above = 8 - bits;
    let one = |code: u8| {
        let top = code << above;
        if signed { (top.cast_signed() >> above).cast_unsigned() } else { top >> above }
    };
    let codes = bytes.iter().flat_map(|&byte| (0..8).step_by(bits as usize).map(move |shift| one(byte >> shift)));
    codes.take(elements).collect()
}

/// What a shape of some type needs, or why that cannot be said.
enum Size {
    /// Half a byte would be left.
    Odd,
    Past(String),
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Odd => "its last byte is not whole",
            Self::Past(what) => what,
        })
    }
}

/// Bytes of raw_data.
fn needed(kind: Kind, shape: &[usize]) -> Result<u64, Size> {
    use crate::formats::error::NoSize;
    match kind {
        Kind::Plain(dtype) => needed_bytes(dtype, shape).map_err(|size| match size {
            NoSize::Bits(_) => Size::Odd,
            past => Size::Past(past.to_string()),
        }),
        Kind::Narrow { bits, .. } => {
            // As many elements as bytes when they are widened.
            let elements = needed_bytes(Dtype::U8, shape).map_err(|past| Size::Past(past.to_string()))?;
            Ok(elements.div_ceil(8 / u64::from(bits)))
        }
        Kind::Other(_) => Ok(0),
    }
}

/// The list that holds the values of a type.
const fn list_of(kind: Kind) -> List {
    match kind {
        Kind::Plain(Dtype::F32 | Dtype::C64) => List::Floats,
        Kind::Plain(Dtype::F64) => List::Doubles,
        Kind::Plain(Dtype::I64) => List::Int64s,
        Kind::Plain(Dtype::U32 | Dtype::U64) => List::Uint64s,
        _ => List::Int32s,
    }
}

/// Values that lie in one of the lists: floats where they lie, when they are in one run; others converted.
fn listed_values(
    wire: &mut Wire<'_>,
    proto: &Proto,
    listed: &Listed,
    kind: Kind,
    needed: u64,
    room: &mut Room<'_>,
) -> Result<Placed, Error> {
    let (source, place) = (wire.source(), proto.place());
    let list = list_of(kind);
    if listed.list != list {
        let what = format!(
            "values of its data type ({}) belong in {}, and are in {}; {AGAIN}",
            proto.data_type,
            list.name(),
            listed.list.name()
        );
        return Err(wire.wrong(&place, what));
    }
    let fault = |fault: Fault| fault.about(source, &place);
    let done = |dtype, range| Placed::Here(entry(proto.name.clone(), dtype, proto.shape.clone(), range));
    if let (Some(_), Kind::Plain(dtype)) = (list.width(), kind) {
        let found = listed.bytes;
        if found != needed {
            let what = format!(
                "its shape {:?} and type need {needed} bytes, and {} holds {found}; {AGAIN}",
                proto.shape,
                list.name()
            );
            return Err(wire.wrong(&place, what));
        }
        if listed.runs == 1 {
            return Ok(done(dtype, listed.first.clone()));
        }
        room.check(needed).map_err(fault)?;
        let bytes = runs(wire, proto, list, &place)?;
        return Ok(done(dtype, room.hold(bytes).map_err(fault)?));
    }
    let dtype = if let Kind::Plain(dtype) = kind { dtype } else { Dtype::U8 };
    let wanted = needed / dtype.bytes().max(1) as u64;
    // Each takes a byte at least, so that no more room is asked for than the file makes good.
    if wanted > listed.bytes {
        let what = format!(
            "its shape {:?} and type need {wanted} numbers, and {} has {} bytes of them; {AGAIN}",
            proto.shape,
            list.name(),
            listed.bytes
        );
        return Err(wire.wrong(&place, what));
    }
    room.check(needed).map_err(fault)?;
    let bytes = numbers(wire, proto, dtype, needed, &place)?;
    let Kind::Narrow { bits, signed } = kind else {
        return Ok(done(dtype, room.hold(bytes).map_err(fault)?));
    };
    let elements = proto.shape.iter().product();
    room.check(elements as u64).map_err(fault)?;
    let wide = widen(&bytes, elements, bits, signed);
    Ok(done(narrow_dtype(signed), room.hold(wide).map_err(fault)?))
}

/// Floats that lie in several runs, joined. Their bytes were counted when they were passed the first time.
fn runs(wire: &mut Wire<'_>, proto: &Proto, list: List, place: &str) -> Result<Vec<u8>, Error> {
    let (mut message, mut out) = (proto.message.clone(), Vec::new());
    while let Some(field) = wire.next(&mut message, place)? {
        if let (true, Value::Bytes(run) | Value::Fixed32(run) | Value::Fixed64(run)) =
            (field.number == list.number(), field.value)
        {
            wire.source().with(run, &mut Vec::new(), |bytes| out.extend_from_slice(bytes))?;
        }
    }
    Ok(out)
}

/// Varints as little-endian elements of a dtype, `needed` bytes of them; sub-byte elements by the byte.
fn numbers(wire: &mut Wire<'_>, proto: &Proto, dtype: Dtype, needed: u64, place: &str) -> Result<Vec<u8>, Error> {
    let width = dtype.bytes().max(1);
    let wanted = needed / width as u64;
    let list = proto.listed.as_ref().map_or(List::Int32s, |listed| listed.list);
    let count = |wire: &Wire<'_>, found: String| {
        let what = format!(
            "its shape {:?} and type need {wanted} numbers, and {} holds {found}; {AGAIN}",
            proto.shape,
            list.name()
        );
        wire.wrong(place, what)
    };
    let (mut message, mut out, mut found) = (proto.message.clone(), Vec::new(), 0_u64);
    while let Some(field) = wire.next(&mut message, place)? {
        if field.number != list.number() {
            continue;
        }
        let mut one = |wire: &Wire<'_>, number: u64| {
            found += 1;
            if found > wanted {
                return Err(count(wire, format!("more than {wanted}")));
            }
            let number = fitting(number, dtype).ok_or_else(|| {
                let what = format!(
                    "number {} of {} is {}, which does not fit in its type; {AGAIN}",
                    found - 1,
                    list.name(),
                    number.cast_signed()
                );
                wire.wrong(place, what)
            })?;
            out.extend_from_slice(number.to_le_bytes().get(..width).unwrap_or_default());
            Ok(())
        };
        match field.value {
            Value::Varint(number) => one(wire, number)?,
            Value::Bytes(mut run) => {
                while !run.is_empty() {
                    let number = wire.number(&mut run, place)?;
                    one(wire, number)?;
                }
            }
            _ => {}
        }
    }
    if found == wanted { Ok(out) } else { Err(count(wire, found.to_string())) }
}

/// The number as its type has it, its lowest bytes. Writers disagree on whether the sign of what is narrower than the list goes
/// up to the top, so either is taken, and nothing else; what is not 0 is true.
fn fitting(number: u64, dtype: Dtype) -> Option<u64> {
    let bits = dtype.bits().max(8);
    let signed = i128::from(number.cast_signed());
    let fits = bits == 64 || (-(1_i128 << (bits - 1))..1_i128 << bits).contains(&signed);
    match dtype {
        _ if !fits => None,
        // These are written as unsigned 64-bit numbers, without a sign.
        Dtype::U32 if signed < 0 => None,
        Dtype::Bool => Some(u64::from(number != 0)),
        _ => Some(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_integers_are_widened_from_the_lowest_bits() {
        assert_eq!(widen(&[0xf1, 0x08], 3, 4, false), [1, 15, 8]);
        assert_eq!(widen(&[0xf1, 0x08], 4, 4, true), [1, 255, 248, 0]);
        assert_eq!(widen(&[0b11_10_01_00, 0xff], 5, 2, false), [0, 1, 2, 3, 3]);
        assert_eq!(widen(&[0b11_10_01_00], 4, 2, true), [0, 1, 254, 255]);
    }

    #[test]
    fn a_sign_goes_up_to_the_top_or_not() {
        let minus = |n: i64| n.cast_unsigned();
        for (number, dtype, kept) in [
            (255, Dtype::I8, Some(255)),
            (minus(-128), Dtype::U8, Some(minus(-128))),
            (256, Dtype::U8, None),
            (minus(-129), Dtype::I8, None),
            (0x8000_0000, Dtype::I32, Some(0x8000_0000)),
            (1 << 32, Dtype::I32, None),
            (0xffff, Dtype::BF16, Some(0xffff)),
            (0x1_0000, Dtype::F16, None),
            (u64::MAX, Dtype::U64, Some(u64::MAX)),
            (u64::MAX, Dtype::U32, None),
            (u64::from(u32::MAX), Dtype::U32, Some(u64::from(u32::MAX))),
            (2, Dtype::Bool, Some(1)),
            (0x1ff, Dtype::Bool, None),
        ] {
            assert_eq!(fitting(number, dtype), kept, "{number} as {dtype}");
        }
    }
}
