//! The coding of one tensor in a `packed` header: its members read by kind, then judged together against `PACKED.md`.

use super::Dtype;
use super::error::{ErrorKind, printable, quoted};
use super::json::{Found, One, Seed, Take, Verdict};
use super::packed::{bad, unit_name};
use super::packed_layout::{Code, Coding, Factors, Form, Indices, MOST_FACTORED, Matrix, Numbers, Stored};
use super::packed_tensor::{number, text, wrong};
use crate::kernels::huffman::LONGEST;
use crate::kernels::layout::{Geometry, Unit};
use serde::de::MapAccess;
use std::collections::BTreeMap;

/// What the value of a key is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Flag,
    /// The coding of a factor.
    Factor,
}

/// Every key that a coding may have.
const KEYS: [(&str, Kind); 16] = [
    ("scheme", Kind::Text),
    ("rank", Kind::Number),
    ("dtype", Kind::Text),
    ("left", Kind::Factor),
    ("right", Kind::Factor),
    ("form", Kind::Text),
    ("nonzeros", Kind::Number),
    ("index_bits", Kind::Number),
    ("index_huffman", Kind::Flag),
    ("index_stream", Kind::Number),
    ("code_stream", Kind::Number),
    ("code", Kind::Text),
    ("entries", Kind::Number),
    ("bits", Kind::Number),
    ("unit", Kind::Text),
    ("zero_points", Kind::Flag),
];

/// A value as it was read.
enum Member {
    Text(String),
    Number(u64),
    Flag(bool),
    Factor(Members),
}

/// The members of a coding as they were read. Each is taken out where it is understood; what is left does not belong there.
#[derive(Default)]
pub(super) struct Members(BTreeMap<String, Member>);

/// The object under `coding`, or within it that of a factor.
pub(super) struct CodingObject<'h> {
    /// Where an error goes.
    pub verdict: &'h Verdict,
    /// What messages call the tensor.
    pub place: &'h str,
    /// The key that it stands under.
    pub key: &'static str,
}

impl<'de> Take<'de> for CodingObject<'_> {
    type Out = Members;

    fn plain<E: serde::de::Error>(self, found: Found<'_>) -> Result<Members, E> {
        self.verdict.refuse(wrong(self.place, self.key, found, "an object"))
    }

    fn object<A: MapAccess<'de>>(self, mut items: A) -> Result<Members, A::Error> {
        let (Self { verdict, place, key: outer }, mut members) = (self, BTreeMap::new());
        while let Some(key) = items.next_key::<String>()? {
            let known = KEYS.iter().find(|(known, _)| *known == key);
            // A factor has no factors.
            let Some(&(name, kind)) = known.filter(|(_, kind)| *kind != Kind::Factor || outer == "coding") else {
                return verdict.refuse(bad(place, format!("unknown key {} in its coding", quoted(&key))));
            };
            let wrong = |found: Found<'_>, wanted: &str| wrong(place, &key, found, wanted);
            let read = |found: Found<'_>| match (kind, found) {
                (Kind::Text, found) => text(found, &wrong).map(Member::Text),
                (Kind::Number, found) => number(found, &wrong).map(Member::Number),
                (Kind::Flag, Found::Bool(flag)) => Ok(Member::Flag(flag)),
                (Kind::Flag, other) => Err(wrong(other, "true or false")),
                (Kind::Factor, other) => Err(wrong(other, "an object")),
            };
            let member = if kind == Kind::Factor {
                Member::Factor(items.next_value_seed(Seed(CodingObject { verdict, place, key: name }))?)
            } else {
                items.next_value_seed(Seed(One(verdict, read)))?
            };
            if members.insert(key.clone(), member).is_some() {
                let place = format!("packed file, the coding of {place}");
                return verdict.refuse(ErrorKind::DuplicateKey { place, name: printable(&key) });
            }
        }
        Ok(Members(members))
    }
}

impl Members {
    fn text(&mut self, key: &str) -> Option<String> {
        if let Some(Member::Text(text)) = self.0.remove(key) { Some(text) } else { None }
    }

    fn number(&mut self, key: &str) -> Option<u64> {
        if let Some(Member::Number(number)) = self.0.remove(key) { Some(number) } else { None }
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        if let Some(Member::Flag(flag)) = self.0.remove(key) { Some(flag) } else { None }
    }

    /// What the members come to for a tensor of this dtype and shape.
    pub(super) fn coding(mut self, dtype: Dtype, shape: &[usize], place: &str) -> Result<Coding, ErrorKind> {
        // A mask says where the value is 0, and codes are multiples of a scale: only numbers that know 0 have either.
        if !dtype.is_float() || dtype == Dtype::F8_E8M0 {
            return Err(bad(place, format!("it has a coding, which goes with a float dtype only, not with {dtype}")));
        }
        let scheme = self.text("scheme").ok_or_else(|| missing(place, "scheme"))?;
        let stored = if let Some(rank) = self.number("rank") {
            Stored::Factors(self.factors(rank, dtype, Geometry::of(shape), place)?)
        } else {
            Stored::Codes(self.matrix(shape.iter().product::<usize>() as u64, place)?)
        };
        self.nothing_left(place)?;
        Ok(Coding { scheme, stored })
    }

    fn nothing_left(&self, place: &str) -> Result<(), ErrorKind> {
        self.0.keys().next().map_or(Ok(()), |key| {
            Err(bad(place, format!("its coding has \"{key}\", which does not go with its form and its codes")))
        })
    }

    /// The two factors of a matrix.
    fn factors(&mut self, rank: u64, dtype: Dtype, whole: Geometry, place: &str) -> Result<Factors, ErrorKind> {
        let most = whole.rows.min(whole.cols);
        let allowed = usize::try_from(rank).ok().filter(|rank| (1..=most).contains(rank));
        let what =
            || bad(place, format!("\"rank\" is {rank}, a matrix of {} × {} has 1 to {most}", whole.rows, whole.cols));
        let rank = allowed.ok_or_else(what)?;
        let name = self.text("dtype").ok_or_else(|| missing(place, "dtype"))?;
        // Factors are of the tensor's own arithmetic, or narrower.
        let fits =
            |own: &Dtype| own.is_float() && *own != Dtype::F8_E8M0 && (*own != Dtype::F64 || dtype == Dtype::F64);
        let own = Dtype::from_name(&name).filter(fits);
        let own =
            own.ok_or_else(|| wrong(place, "dtype", Found::Text(&name), "a float dtype for factors of this tensor"))?;
        let mut part = |key: &str, rows: usize, cols: usize| {
            let Some(Member::Factor(mut members)) = self.0.remove(key) else { return Err(missing(place, key)) };
            let matrix = members.matrix((rows * cols) as u64, place)?;
            members.nothing_left(place)?;
            Ok(matrix)
        };
        let matrices = [part("left", whole.rows, rank)?, part("right", rank, whole.cols)?];
        let factors = Factors { rank, dtype: own, matrices };
        let elements = factors.elements(whole);
        if elements > MOST_FACTORED {
            return Err(bad(place, format!("its factors have {elements} elements, at most {MOST_FACTORED} are read")));
        }
        Ok(factors)
    }

    /// The coding of a matrix of so many elements.
    fn matrix(&mut self, elements: u64, place: &str) -> Result<Matrix, ErrorKind> {
        let form = self.text("form").ok_or_else(|| missing(place, "form"))?;
        let nonzeros = self.number("nonzeros").ok_or_else(|| missing(place, "nonzeros"))?;
        let dense = form == "dense";
        if nonzeros > elements || (dense && nonzeros < elements) {
            let which = if dense { "just" } else { "at most" };
            return Err(bad(place, format!("\"nonzeros\" is {nonzeros}, {which} {elements} are right for its shape")));
        }
        let form = match form.as_str() {
            "dense" => Form::Dense,
            "mask" => Form::Mask,
            "indices" => Form::Indices(self.indices(nonzeros, elements, place)?),
            other => return Err(wrong(place, "form", Found::Text(other), "\"dense\", \"mask\" or \"indices\"")),
        };
        let huffman = self.number("code_stream");
        if let Some(stream) = huffman {
            check_stream(place, "code_stream", stream, (nonzeros, nonzeros))?;
        }
        Ok(Matrix { form, nonzeros, code: self.code(place)?, huffman })
    }

    fn indices(&mut self, nonzeros: u64, elements: u64, place: &str) -> Result<Indices, ErrorKind> {
        let missing = |key: &str| missing(place, key);
        let bits = match self.number("index_bits").ok_or_else(|| missing("index_bits"))? {
            #[expect(clippy::cast_possible_truncation, reason = "the pattern lets 2 to 8 through")]
            bits @ 2..=8 => bits as u32,
            other => return Err(bad(place, format!("\"index_bits\" is {other}, allowed are 2 to 8"))),
        };
        let huffman = self.flag("index_huffman").ok_or_else(|| missing("index_huffman"))?;
        let stream = self.number("index_stream").ok_or_else(|| missing("index_stream"))?;
        // Every index but a filler is a nonzero's, and a filler stands for several zeros.
        let (least, most) = (nonzeros, elements);
        if huffman {
            check_stream(place, "index_stream", stream, (least, most))?;
        } else if !stream.is_multiple_of(u64::from(bits)) || !(least..=most).contains(&(stream / u64::from(bits))) {
            let what = format!(
                "\"index_stream\" is {stream} bits, no number of {bits}-bit indices for {nonzeros} nonzeros among {elements} elements"
            );
            return Err(bad(place, what));
        }
        Ok(Indices { bits, huffman, stream })
    }

    /// What a code is. Each kind takes its own members.
    fn code(&mut self, place: &str) -> Result<Code, ErrorKind> {
        let name = self.text("code");
        let unit = self.text("unit").map(|name| unit_from_name(&name, place)).transpose()?;
        let Some(name) = name else { return self.plain_code(unit, place) };
        let unit = unit.ok_or_else(|| missing(place, "unit"))?;
        if name == "codebook" {
            return match self.number("entries").ok_or_else(|| missing(place, "entries"))? {
                #[expect(clippy::cast_possible_truncation, reason = "the pattern lets 2 to 256 through")]
                entries @ 2..=256 => Ok(Code::Codebook { entries: entries as u32, unit }),
                other => Err(bad(place, format!("\"entries\" is {other}, allowed are 2 to 256"))),
            };
        }
        let unknown = || wrong(place, "code", Found::Text(&name), "a code that this version knows");
        let table = Numbers::from_name(&name).ok_or_else(unknown)?;
        match table.only_unit() {
            Some(only) if only != unit => {
                Err(bad(place, format!("{} goes with the unit {}", table.name(), unit_name(only))))
            }
            _ => Ok(Code::Number { table, unit }),
        }
    }

    /// A code without a name: an integer, or the element as it is.
    fn plain_code(&mut self, unit: Option<Unit>, place: &str) -> Result<Code, ErrorKind> {
        match (self.number("bits"), unit, self.flag("zero_points")) {
            (None, None, None) => Ok(Code::Element),
            (Some(bits @ 2..=8), Some(unit), Some(zero_points)) => {
                #[expect(clippy::cast_possible_truncation, reason = "the pattern above lets 2 to 8 through")]
                let bits = bits as u32;
                Ok(Code::Integer { bits, unit, zero_points })
            }
            (Some(bits), Some(_), Some(_)) => Err(bad(place, format!("\"bits\" is {bits}, allowed are 2 to 8"))),
            _ => Err(bad(place, "\"bits\", \"unit\" and \"zero_points\" come together or not at all")),
        }
    }
}

fn missing(place: &str, key: &str) -> ErrorKind {
    bad(place, format!("its coding has no \"{key}\""))
}

/// Holds the length of a Huffman coded stream against the symbols that it may have.
fn check_stream(place: &str, key: &str, bits: u64, (least, most): (u64, u64)) -> Result<(), ErrorKind> {
    let most = most.saturating_mul(u64::from(LONGEST));
    if (least..=most).contains(&bits) {
        return Ok(());
    }
    Err(bad(place, format!("\"{key}\" is {bits} bits, {least} to {most} are right for what it holds")))
}

fn unit_from_name(name: &str, place: &str) -> Result<Unit, ErrorKind> {
    match name {
        "tensor" => Ok(Unit::Tensor),
        "row" => Ok(Unit::Row),
        "g16" => Ok(Unit::Group(16)),
        "g32" => Ok(Unit::Group(32)),
        "g64" => Ok(Unit::Group(64)),
        "g128" => Ok(Unit::Group(128)),
        _ => Err(wrong(place, "unit", Found::Text(name), "one of tensor, row, g16, g32, g64, g128")),
    }
}
