//! JSON as it goes by: a value is met, judged and kept only where somebody asked for it, so that a header costs what its
//! tensors cost however it is written, and a name given twice is seen.
//!
//! Maps would silently keep one of two equal keys, and readers disagree on which; a header that means two things is
//! refused instead. Depth is bounded by `serde_json` (128), and what nobody reads by a count.

use super::error::{ErrorKind, printable, quoted};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// A value as it is met. Its text, for messages, says what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are JSON's own")]
pub enum Found<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    /// A number with a point or an exponent, or past 64 bits.
    Real(f64),
    Text(&'a str),
    List,
    Object,
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Unsigned(number) => write!(f, "{number}"),
            Self::Negative(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number:?}"),
            Self::Text(text) => write!(f, "the text {}", quoted(text)),
            Self::List => f.write_str("a list"),
            Self::Object => f.write_str("an object"),
        }
    }
}

/// Where a broken rule waits while the parser unwinds: the parser's own errors can carry text only.
#[derive(Default)]
pub(super) struct Verdict(Cell<Option<ErrorKind>>);

impl Verdict {
    /// Stops the parser with a broken rule.
    pub(super) fn refuse<T, E: Error>(&self, kind: ErrorKind) -> Result<T, E> {
        self.0.set(Some(kind));
        Err(E::custom("refused"))
    }
}

/// What is made of one value.
pub(super) trait Take<'de>: Sized {
    /// The result.
    type Out;

    /// Everything but lists and objects, and these too where they are not wanted.
    fn plain<E: Error>(self, found: Found<'_>) -> Result<Self::Out, E>;

    /// A list, item by item.
    fn list<A: SeqAccess<'de>>(self, _items: A) -> Result<Self::Out, A::Error> {
        self.plain(Found::List)
    }

    /// An object, member by member.
    fn object<A: MapAccess<'de>>(self, _members: A) -> Result<Self::Out, A::Error> {
        self.plain(Found::Object)
    }
}

/// Hands a value of the parser to a [`Take`].
pub(super) struct Seed<T>(pub T);

impl<'de, T: Take<'de>> DeserializeSeed<'de> for Seed<T> {
    type Value = T::Out;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Out, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Take<'de>> Visitor<'de> for Seed<T> {
    type Value = T::Out;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<T::Out, E> {
        self.0.plain(Found::Null)
    }
    fn visit_bool<E: Error>(self, v: bool) -> Result<T::Out, E> {
        self.0.plain(Found::Bool(v))
    }
    fn visit_u64<E: Error>(self, v: u64) -> Result<T::Out, E> {
        self.0.plain(Found::Unsigned(v))
    }
    fn visit_i64<E: Error>(self, v: i64) -> Result<T::Out, E> {
        self.0.plain(Found::Negative(v))
    }
    fn visit_f64<E: Error>(self, v: f64) -> Result<T::Out, E> {
        self.0.plain(Found::Real(v))
    }
    fn visit_str<E: Error>(self, v: &str) -> Result<T::Out, E> {
        self.0.plain(Found::Text(v))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T::Out, A::Error> {
        self.0.list(items)
    }
    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T::Out, A::Error> {
        self.0.object(members)
    }
}

/// A document that must be an object.
pub(super) trait Document<'de>: Sized {
    /// The result.
    type Out;

    /// The object, member by member.
    fn members<A: MapAccess<'de>>(self, members: A) -> Result<Self::Out, A::Error>;
}

/// A [`Document`] as it is met.
struct Whole<'v, T> {
    document: T,
    place: &'static str,
    verdict: &'v Verdict,
}

impl<'de, T: Document<'de>> Take<'de> for Whole<'_, T> {
    type Out = T::Out;

    fn plain<E: Error>(self, found: Found<'_>) -> Result<T::Out, E> {
        self.verdict.refuse(ErrorKind::NotAnObject { place: self.place, found: found.to_string() })
    }

    fn object<A: MapAccess<'de>>(self, members: A) -> Result<T::Out, A::Error> {
        self.document.members(members)
    }
}

/// Reads the bytes of one document. `place` is what messages call it.
pub(super) fn read_document<'de, T: Document<'de>>(
    bytes: &'de [u8],
    place: &'static str,
    verdict: &Verdict,
    document: T,
) -> Result<T::Out, ErrorKind> {
    let text = std::str::from_utf8(bytes).map_err(|e| ErrorKind::NotUtf8 { place, at: e.valid_up_to() })?;
    read(text, place, verdict, Whole { document, place, verdict })
}

/// Reads one value; white space around it is allowed, anything else is not.
fn read<'de, T: Take<'de>>(
    text: &'de str,
    place: &'static str,
    verdict: &Verdict,
    take: T,
) -> Result<T::Out, ErrorKind> {
    if text.starts_with('\u{feff}') {
        return Err(ErrorKind::ByteOrderMark { place });
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    let out = Seed(take).deserialize(&mut parser).and_then(|out| parser.end().map(|()| out));
    out.map_err(|error| {
        verdict.0.take().unwrap_or_else(|| ErrorKind::Json { place, what: printable(&error.to_string()) })
    })
}

/// A value that is a text, a number or true and false: what the function makes of it.
pub(super) struct One<'v, F>(pub &'v Verdict, pub F);

impl<T, F: FnOnce(Found<'_>) -> Result<T, ErrorKind>> Take<'_> for One<'_, F> {
    type Out = T;

    fn plain<E: Error>(self, found: Found<'_>) -> Result<T, E> {
        (self.1)(found).or_else(|kind| self.0.refuse(kind))
    }
}

/// A list of counts, with how many there are: no more than `most` are kept, and the rest only counted.
pub(super) struct Counts<'v, F> {
    /// Where an error goes.
    pub verdict: &'v Verdict,
    /// What is kept at most.
    pub most: usize,
    /// The error for what is no list (then the position is `None`), or no count at this position.
    pub wrong: F,
}

impl<'de, F: Fn(Option<usize>, Found<'_>) -> ErrorKind> Take<'de> for Counts<'_, F> {
    type Out = (Vec<u64>, usize);

    fn plain<E: Error>(self, found: Found<'_>) -> Result<Self::Out, E> {
        self.verdict.refuse((self.wrong)(None, found))
    }

    fn list<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Out, A::Error> {
        let (mut kept, mut count) = (Vec::new(), 0_usize);
        loop {
            let at = count;
            let number = |found: Found<'_>| match found {
                Found::Unsigned(number) => Ok(number),
                other => Err((self.wrong)(Some(at), other)),
            };
            let Some(item) = items.next_element_seed(Seed(One(self.verdict, number)))? else { break };
            if count < self.most {
                kept.push(item);
            }
            count = count.saturating_add(1);
        }
        Ok((kept, count))
    }
}

/// Values that nobody asked for: read past, with their names still different from each other.
#[derive(Clone, Copy)]
pub(super) struct Skip<'v> {
    /// Where an error goes.
    pub verdict: &'v Verdict,
    /// How many more may be skipped in this document.
    pub left: &'v Cell<usize>,
    /// What messages call the document.
    pub place: &'static str,
    /// How many may be skipped in all.
    pub allowed: usize,
}

impl Skip<'_> {
    fn spend<E: Error>(self) -> Result<(), E> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => self.verdict.refuse(ErrorKind::TooMuchElse { place: self.place, allowed: self.allowed }),
        }
    }
}

impl<'de> Take<'de> for Skip<'_> {
    type Out = ();

    fn plain<E: Error>(self, _: Found<'_>) -> Result<(), E> {
        self.spend()
    }

    fn list<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.spend()?;
        while items.next_element_seed(Seed(self))?.is_some() {}
        Ok(())
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.spend()?;
        let mut seen = HashSet::new();
        while let Some(key) = members.next_key::<String>()? {
            if let Some(twice) = seen.replace(key) {
                let (place, name) = (self.place.to_owned(), printable(&twice));
                return self.verdict.refuse(ErrorKind::DuplicateKey { place, name });
            }
            members.next_value_seed(Seed(self))?;
        }
        Ok(())
    }
}

/// Text to text, as files describe themselves.
pub(super) struct Texts<'v> {
    /// Where an error goes.
    pub verdict: &'v Verdict,
    /// The error for what is no object, or holds something else than text under a key.
    pub wrong: fn(Option<&str>, Found<'_>) -> ErrorKind,
    /// Whether `null` stands for none.
    pub or_null: bool,
    /// How many there may be.
    pub most: usize,
}

impl<'de> Take<'de> for Texts<'_> {
    type Out = BTreeMap<String, String>;

    fn plain<E: Error>(self, found: Found<'_>) -> Result<Self::Out, E> {
        if self.or_null && found == Found::Null {
            return Ok(Self::Out::new());
        }
        self.verdict.refuse((self.wrong)(None, found))
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Out, A::Error> {
        let mut out = Self::Out::new();
        while let Some(key) = members.next_key::<String>()? {
            if out.len() == self.most {
                return self.verdict.refuse(ErrorKind::TooManyTexts { allowed: self.most });
            }
            let value = members.next_value_seed(Seed(One(self.verdict, |found: Found<'_>| match found {
                Found::Text(text) => Ok(text.to_owned()),
                other => Err((self.wrong)(Some(&key), other)),
            })))?;
            match out.entry(key) {
                Entry::Vacant(place) => drop(place.insert(value)),
                Entry::Occupied(there) => {
                    let (place, name) = ("the metadata".to_owned(), printable(there.key()));
                    return self.verdict.refuse(ErrorKind::DuplicateKey { place, name });
                }
            }
        }
        Ok(out)
    }
}

/// Appends a text as JSON. Plain names, which most are, go in as they stand.
pub(super) fn push_text(out: &mut String, text: &str) {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Appends an object of texts.
pub(super) fn push_texts(out: &mut String, texts: &BTreeMap<String, String>) {
    out.push('{');
    for (i, (key, value)) in texts.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        push_text(out, key);
        out.push(':');
        push_text(out, value);
    }
    out.push('}');
}

/// Appends a shape as a JSON array.
pub(super) fn push_shape(out: &mut String, shape: &[usize]) {
    out.push('[');
    for (i, dimension) in shape.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_number(out, *dimension as u64);
    }
    out.push(']');
}

/// Appends a whole number; headers are laid out in every frame, and the formatter's detour costs more than the digits.
pub(super) fn push_number(out: &mut String, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut count = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        count += 1;
        if number == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(20 - count).map(|&digit| char::from(digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(text: &str, allowed: usize) -> Result<(), ErrorKind> {
        let (verdict, left) = (Verdict::default(), Cell::new(allowed));
        read(text, "the text", &verdict, Skip { verdict: &verdict, left: &left, place: "the text", allowed })
    }

    #[test]
    fn duplicate_keys_are_seen_at_any_depth() {
        let twice = |text| matches!(skip(text, 100), Err(ErrorKind::DuplicateKey { .. }));
        assert!(twice(r#"{"a":1,"a":1}"#));
        assert!(twice(r#"{"x":[{"b\u0061":1,"ba":2}]}"#));
        assert!(skip(r#"{"a":{"b":1},"c":{"b":1}}"#, 100).is_ok());
    }

    #[test]
    fn only_one_document_and_only_json() {
        let nested = "[".repeat(200);
        for bad in ["", "{", "{} {}", "{'a':1}", "{\"a\":1,}", "NaN", "\"\\ud800\"", "[1e999]", nested.as_str()] {
            assert!(matches!(skip(bad, 1000), Err(ErrorKind::Json { .. })), "{bad}");
        }
        assert!(matches!(skip("\u{feff}{}", 9), Err(ErrorKind::ByteOrderMark { .. })));
        assert!(skip(" {\"a\":[1,2.5,-1,null,true,\"t\"]}\n", 8).is_ok());
        assert!(matches!(
            skip(" {\"a\":[1,2.5,-1,null,true,\"t\"]}\n", 7),
            Err(ErrorKind::TooMuchElse { allowed: 7, .. })
        ));
    }

    #[test]
    fn texts_are_bounded_and_written_back() {
        let verdict = Verdict::default();
        let texts = |text| {
            let wrong = |_: Option<&str>, _: Found<'_>| ErrorKind::Index { what: String::new() };
            read(text, "the text", &verdict, Texts { verdict: &verdict, wrong, or_null: true, most: 2 })
        };
        let two = r#"{"a":"1","b\n":""}"#;
        let mut out = String::new();
        push_texts(&mut out, &texts(two).unwrap());
        assert_eq!(out, two);
        assert!(texts("null").unwrap().is_empty());
        assert!(matches!(texts(r#"{"a":"","b":"","c":""}"#), Err(ErrorKind::TooManyTexts { allowed: 2 })));
    }

    #[test]
    fn counts_are_counted_past_what_is_kept() {
        let verdict = Verdict::default();
        let counts = |text| {
            let wrong = |at, found: Found<'_>| ErrorKind::Index { what: format!("{at:?} {found}") };
            read(text, "the text", &verdict, Counts { verdict: &verdict, most: 2, wrong })
        };
        assert_eq!(counts("[18446744073709551615,2,3]").unwrap(), (vec![u64::MAX, 2], 3));
        let told = |text| counts(text).unwrap_err().to_string();
        assert!(told("[0,-4]").ends_with("Some(1) -4"));
        assert!(told("[18446744073709551616]").ends_with("Some(0) 1.8446744073709552e19"));
        assert!(told("7").ends_with("None 7"));
    }
}
