//! One TensorProto: its name, type and shape, and where its numbers lie.

use super::AGAIN;
use super::wire::{Message, Value, Wire};
use crate::formats::error::{Error, quoted};
use crate::formats::{Dtype, Limits};
use std::ops::Range;

/// Bytes of a name at most.
pub(super) const MOST_NAME: u64 = 1 << 16;

/// Bytes of a path, an offset or a length of external data at most.
const MOST_PATH: u64 = 4096;

/// Fields of TensorProto (onnx.proto).
mod field {
    pub(super) const DIMS: u64 = 1;
    pub(super) const DATA_TYPE: u64 = 2;
    pub(super) const SEGMENT: u64 = 3;
    pub(super) const FLOATS: u64 = 4;
    pub(super) const INT32S: u64 = 5;
    pub(super) const STRINGS: u64 = 6;
    pub(super) const INT64S: u64 = 7;
    pub(super) const NAME: u64 = 8;
    pub(super) const RAW: u64 = 9;
    pub(super) const DOUBLES: u64 = 10;
    pub(super) const UINT64S: u64 = 11;
    pub(super) const EXTERNAL: u64 = 13;
    pub(super) const LOCATION: u64 = 14;
}

/// A list of numbers of a TensorProto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Floats,
    Int32s,
    Int64s,
    Doubles,
    Uint64s,
}

impl List {
    const ALL: [Self; 5] = [Self::Floats, Self::Int32s, Self::Int64s, Self::Doubles, Self::Uint64s];

    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Floats => field::FLOATS,
            Self::Int32s => field::INT32S,
            Self::Int64s => field::INT64S,
            Self::Doubles => field::DOUBLES,
            Self::Uint64s => field::UINT64S,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Floats => "float_data",
            Self::Int32s => "int32_data",
            Self::Int64s => "int64_data",
            Self::Doubles => "double_data",
            Self::Uint64s => "uint64_data",
        }
    }

    /// Bytes of one of its numbers; `None` for varints.
    pub(super) const fn width(self) -> Option<u64> {
        match self {
            Self::Floats => Some(4),
            Self::Doubles => Some(8),
            _ => None,
        }
    }
}

/// Numbers in one of the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub list: List,
    /// Fields that hold them: one when they are packed as the format has it.
    pub runs: u64,
    /// Bytes of all those, tags and lengths apart.
    pub bytes: u64,
    /// The first of them.
    pub first: Range<u64>,
}

/// Where the values of a tensor lie in another file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// The path of the file as it is written: from the model's folder.
    pub location: String,
    /// The byte of it where the values begin.
    pub offset: u64,
    /// Bytes of values, when that is said.
    pub length: Option<u64>,
}

/// What a TensorProto says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Proto {
    /// Its fields, to be gone through again for its numbers.
    pub message: Message,
    pub name: String,
    pub data_type: u64,
    pub shape: Vec<usize>,
    pub raw: Option<Range<u64>>,
    pub listed: Option<Listed>,
    pub elsewhere: Option<Elsewhere>,
}

impl Proto {
    /// Reads a TensorProto. `place` stands for it until its name is known.
    pub(super) fn read(wire: &mut Wire<'_>, message: Message, place: &str, limits: &Limits) -> Result<Self, Error> {
        let mut reading = Reading::new(limits, &message);
        let mut rest = message;
        while let Some(field) = wire.next(&mut rest, place)? {
            reading.field(wire, field.number, field.value, place)?;
        }
        reading.done(wire, place)
    }

    /// What messages call it.
    pub(super) fn place(&self) -> String {
        place(&self.name)
    }
}

/// What messages call a tensor.
pub(super) fn place(name: &str) -> String {
    format!("tensor {}", quoted(name))
}

/// A TensorProto of which some fields were read.
struct Reading<'l> {
    limits: &'l Limits,
    proto: Proto,
    name: Option<String>,
    data_type: Option<u64>,
    data_location: Option<u64>,
    location: Option<String>,
    offset: Option<u64>,
    length: Option<u64>,
}

impl<'l> Reading<'l> {
    fn new(limits: &'l Limits, message: &Message) -> Self {
        Self {
            limits,
            proto: Proto { message: message.clone(), ..Proto::default() },
            name: None,
            data_type: None,
            data_location: None,
            location: None,
            offset: None,
            length: None,
        }
    }

    fn field(&mut self, wire: &mut Wire<'_>, number: u64, value: Value, place: &str) -> Result<(), Error> {
        if let Some(list) = List::ALL.into_iter().find(|list| list.number() == number) {
            return self.list(wire, list, value, place);
        }
        match number {
            field::DIMS => self.dims(wire, value, place),
            field::DATA_TYPE => {
                let data_type = wire.integer(&value, "data_type", place)?;
                wire.once(&mut self.data_type, data_type, "data_type", place)
            }
            field::SEGMENT => {
                let what = format!("it is one segment of a tensor in several, which no runtime reads; {AGAIN}");
                Err(wire.wrong(place, what))
            }
            field::STRINGS => wire.bytes(value, "string_data", place).map(drop),
            field::NAME => {
                let range = wire.bytes(value, "its name", place)?;
                let name = wire.text(range, MOST_NAME, place)?;
                wire.once(&mut self.name, name, "its name", place)
            }
            field::RAW => {
                let range = wire.bytes(value, "raw_data", place)?;
                wire.once(&mut self.proto.raw, range, "raw_data", place)
            }
            field::EXTERNAL => self.external(wire, value, place),
            field::LOCATION => {
                let location = wire.integer(&value, "data_location", place)?;
                wire.once(&mut self.data_location, location, "data_location", place)
            }
            _ => Ok(()),
        }
    }

    /// One dimension, or some that are packed.
    fn dims(&mut self, wire: &mut Wire<'_>, value: Value, place: &str) -> Result<(), Error> {
        match value {
            Value::Varint(dimension) => self.dim(wire, dimension, place),
            other => {
                let mut run = wire.bytes(other, "dims", place)?;
                while !run.is_empty() {
                    let dimension = wire.number(&mut run, place)?;
                    self.dim(wire, dimension, place)?;
                }
                Ok(())
            }
        }
    }

    fn dim(&mut self, wire: &Wire<'_>, dimension: u64, place: &str) -> Result<(), Error> {
        let shape = &mut self.proto.shape;
        if shape.len() == self.limits.rank {
            let what = format!("it has more than {} dimensions, which are the most that are read", self.limits.rank);
            return Err(wire.wrong(place, what));
        }
        let signed = dimension.cast_signed();
        let counted = u64::try_from(signed).ok().and_then(|d| usize::try_from(d).ok());
        shape.push(counted.ok_or_else(|| {
            let what = format!(
                "dimension {} is {signed}; allowed are whole numbers from 0 on, a stored tensor has no unknown ones",
                shape.len()
            );
            wire.wrong(place, what)
        })?);
        Ok(())
    }

    /// Some numbers of a list: a run of them, or a single one.
    fn list(&mut self, wire: &Wire<'_>, list: List, value: Value, place: &str) -> Result<(), Error> {
        let run = match (list.width(), value) {
            (_, Value::Bytes(run)) => run,
            (Some(4), Value::Fixed32(one)) | (Some(8), Value::Fixed64(one)) => one,
            // Its bytes are found again when it is converted.
            (None, Value::Varint(_)) => 0..1,
            (_, other) => return Err(wire.kind(&other, list.name(), "numbers one behind the other", place)),
        };
        let bytes = run.end - run.start;
        if bytes == 0 {
            return Ok(());
        }
        match &mut self.proto.listed {
            Some(listed) if listed.list != list => {
                let what = format!("it has values in {} and in {}; {AGAIN}", listed.list.name(), list.name());
                Err(wire.wrong(place, what))
            }
            Some(listed) => {
                listed.runs += 1;
                listed.bytes = listed.bytes.saturating_add(bytes);
                Ok(())
            }
            empty => {
                *empty = Some(Listed { list, runs: 1, bytes, first: run });
                Ok(())
            }
        }
    }

    /// A pair that tells of the file where the values are; keys that nobody reads (checksum) are passed over.
    fn external(&mut self, wire: &mut Wire<'_>, value: Value, place: &str) -> Result<(), Error> {
        let pair = wire.bytes(value, "external_data", place)?;
        let (key, value) = pair_of(wire, pair, place)?;
        let key = wire.text(key, MOST_PATH, place)?;
        if key == "location" {
            let location = wire.text(value, MOST_PATH, place)?;
            return wire.once(&mut self.location, location, "location", place);
        }
        let (slot, key) = match key.as_str() {
            "offset" => (&mut self.offset, "offset"),
            "length" => (&mut self.length, "length"),
            _ => return Ok(()),
        };
        let text = wire.text(value, MOST_PATH, place)?;
        // Digits alone: no sign, no spaces, no other base.
        let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.ok_or_else(|| {
            wire.wrong(
                place,
                format!("the {key} of its external data is {}, not a whole number; {AGAIN}", quoted(&text)),
            )
        })?;
        wire.once(slot, number, key, place)
    }

    fn done(self, wire: &Wire<'_>, place: &str) -> Result<Proto, Error> {
        let mut proto = Proto { name: self.name.unwrap_or_default(), ..self.proto };
        let named = if proto.name.is_empty() { place.to_owned() } else { proto.place() };
        let wrong = |what: String| wire.wrong(&named, what);
        proto.data_type = match self.data_type {
            Some(known @ 1..0x8000_0000) => known,
            Some(other @ 1..) => {
                let what = format!("its data_type is {}, and types go from 1 on; {AGAIN}", other.cast_signed());
                return Err(wrong(what));
            }
            _ => return Err(wrong(format!("it has no data_type; {AGAIN}"))),
        };
        match self.data_location {
            None | Some(0) => {}
            Some(1) => {
                if proto.raw.as_ref().is_some_and(|raw| !raw.is_empty()) || proto.listed.is_some() {
                    return Err(wrong(format!(
                        "its values are said to lie in another file, and lie here too; {AGAIN}"
                    )));
                }
                let location = self.location.filter(|location| !location.is_empty());
                let location = location.ok_or_else(|| {
                    wrong(format!("its values are said to lie in another file, which is not named; {AGAIN}"))
                })?;
                proto.raw = None;
                proto.elsewhere = Some(Elsewhere { location, offset: self.offset.unwrap_or(0), length: self.length });
            }
            Some(other) => {
                let what = format!("its data_location is {other}; there are 0 (here) and 1 (another file)");
                return Err(wrong(what));
            }
        }
        if let (Some(_), Some(listed)) = (&proto.raw, &proto.listed) {
            return Err(wrong(format!("it has values in raw_data and in {}; {AGAIN}", listed.list.name())));
        }
        Ok(proto)
    }
}

/// Where key and value of a StringStringEntryProto lie.
pub(super) fn pair_of(wire: &mut Wire<'_>, mut pair: Message, place: &str) -> Result<(Range<u64>, Range<u64>), Error> {
    let (mut key, mut text) = (None, None);
    while let Some(field) = wire.next(&mut pair, place)? {
        match field.number {
            1 => wire.once(&mut key, wire.bytes(field.value, "a key", place)?, "a key", place)?,
            2 => wire.once(&mut text, wire.bytes(field.value, "a value", place)?, "a value", place)?,
            _ => {}
        }
    }
    Ok((key.unwrap_or(0..0), text.unwrap_or(0..0)))
}

/// What becomes of a data type of ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A dtype, its elements as they lie in raw_data.
    Plain(Dtype),
    /// Integers of fewer than 8 bits, the first in the lowest bits of a byte.
    Narrow { bits: u32, signed: bool },
    /// Nothing: why it is left alone.
    Other(Stranger),
}

/// Why a tensor is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stranger {
    Text,
    Complex128,
    Float6,
    Float4Odd,
    Sparse,
    Inline,
    Newer(u64),
}

impl Stranger {
    pub(super) fn why(self) -> String {
        match self {
            Self::Text => "texts (STRING) are no numbers".into(),
            Self::Complex128 => "COMPLEX128 is read by nothing else".into(),
            Self::Float6 => "no other format packs FLOAT6 as ONNX does".into(),
            Self::Float4Odd => "an odd number of FLOAT4E2M1 does not end on a whole byte".into(),
            Self::Sparse => "sparse initializers are not read".into(),
            Self::Inline => "numbers that a node lists itself (value_floats) are not read".into(),
            Self::Newer(number) => format!("data type {number} is newer than this program"),
        }
    }
}

/// What becomes of TensorProto.DataType.
pub(super) const fn kind(data_type: u64) -> Kind {
    Kind::Plain(match data_type {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        4 => Dtype::U16,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        9 => Dtype::Bool,
        10 => Dtype::F16,
        11 => Dtype::F64,
        12 => Dtype::U32,
        13 => Dtype::U64,
        14 => Dtype::C64,
        16 => Dtype::BF16,
        17 => Dtype::F8_E4M3,
        18 => Dtype::F8_E4M3Fnuz,
        19 => Dtype::F8_E5M2,
        20 => Dtype::F8_E5M2Fnuz,
        // As in safetensors, the first of two lies in the lower four bits.
        23 => Dtype::F4,
        24 => Dtype::F8_E8M0,
        21 => return Kind::Narrow { bits: 4, signed: false },
        22 => return Kind::Narrow { bits: 4, signed: true },
        25 => return Kind::Narrow { bits: 2, signed: false },
        26 => return Kind::Narrow { bits: 2, signed: true },
        8 => return Kind::Other(Stranger::Text),
        15 => return Kind::Other(Stranger::Complex128),
        27 | 28 => return Kind::Other(Stranger::Float6),
        newer => return Kind::Other(Stranger::Newer(newer)),
    })
}
