//! NumPy's arrays in a zip archive (`savez`, `savez_compressed`): each member `NAME.npy` is an array, and the tensor NAME.
//!
//! What is stored lies in the archive as in a file of its own and is read there. What is deflated is unpacked into memory, up to
//! the most that one file may hold, and only after its head said that it is an array of numbers of just that size.

use super::annex::Annex;
use super::error::{Error, ErrorKind, quoted};
use super::npy::{self, Element, Header};
use super::zip::{self, Member, Method};
use super::{Entry, Limits, Source, Table};
use std::collections::BTreeMap;

/// The ending of arrays.
const ENDING: &str = ".npy";

/// Bytes of a member that are looked at first; hardly any head is longer.
const PEEK: u64 = 4096;

/// Whether some member of an archive is an array.
#[must_use]
pub fn is_npz(members: &[Member]) -> bool {
    members.iter().any(|member| member.name.ends_with(ENDING))
}

/// Reads the directory and the head of every array of an archive.
///
/// # Errors
/// As [`read_members`], and when it is no archive.
pub fn read_table(source: &Source, limits: &Limits) -> Result<Table, Error> {
    read_members(source, &zip::read(source, limits)?, limits)
}

/// Reads the head of every array of an archive, whose directory was read.
///
/// # Errors
/// The first rule that an array breaks, and when none of them holds numbers.
pub fn read_members(source: &Source, members: &[Member], limits: &Limits) -> Result<Table, Error> {
    let mut reading = Reading {
        source,
        limits,
        annex: Annex::new(source.len()),
        tensors: Vec::new(),
        left_alone: BTreeMap::new(),
        guessed: BTreeMap::new(),
    };
    for member in members {
        match member.name.strip_suffix(ENDING) {
            Some(name) => reading.array(member, name)?,
            None => reading.leave("only members that end in .npy are arrays", &member.name),
        }
    }
    reading.table()
}

struct Reading<'a> {
    source: &'a Source,
    limits: &'a Limits,
    annex: Annex,
    tensors: Vec<Entry>,
    /// What was left alone: why, how many, and the first.
    left_alone: BTreeMap<&'static str, (usize, String)>,
    /// Whose dtypes are guesses: what is said of them, how many, and the first.
    guessed: BTreeMap<&'static str, (usize, String)>,
}

fn count(counter: &mut (usize, String), name: &str) {
    if counter.0 == 0 {
        name.clone_into(&mut counter.1);
    }
    counter.0 += 1;
}

impl Reading<'_> {
    fn leave(&mut self, why: &'static str, name: &str) {
        count(self.left_alone.entry(why).or_default(), name);
    }

    fn wrong(&self, name: &str, what: String) -> Error {
        let place = format!("array {}", quoted(name));
        Error::new(self.source.path(), ErrorKind::Container { format: "NumPy", place, what })
    }

    fn array(&mut self, member: &Member, name: &str) -> Result<(), Error> {
        let mut head = zip::peek(self.source, member, PEEK)?;
        if member.size > PEEK && npy::reaches_past(&head) {
            head = zip::peek(self.source, member, npy::HEAD)?;
        }
        let header = npy::header(&head, self.limits).map_err(|what| self.wrong(name, what))?;
        if let Element::Other(why) = header.element {
            self.leave(why, name);
            return Ok(());
        }
        let there = member.size.saturating_sub(header.data);
        if there != header.bytes {
            let (shape, bytes) = (&header.shape, header.bytes);
            let what = format!(
                "its shape {shape:?} and type need {bytes} bytes of data, and its member has {there}; the file is damaged or its writer is at fault (save or download it again)"
            );
            return Err(self.wrong(name, what));
        }
        let entry = match member.method {
            Method::Stored => {
                let base = member.data.start.saturating_add(header.data);
                header.entry(name.to_owned(), base, &mut self.annex).map_err(|what| self.wrong(name, what))?
            }
            Method::Deflated => self.unpacked(member, name, &header)?,
        };
        if let Some(guessed) = header.guessed {
            count(self.guessed.entry(guessed).or_default(), name);
        }
        self.tensors.push(entry);
        Ok(())
    }

    /// An array that has to be held in memory.
    fn unpacked(&mut self, member: &Member, name: &str, header: &Header) -> Result<Entry, Error> {
        let most = self.limits.held_bytes.saturating_sub(self.annex.held());
        let mut bytes = zip::unpack(self.source, member, most)?;
        let data = usize::try_from(header.data).unwrap_or(usize::MAX).min(bytes.len());
        bytes.drain(..data);
        let past = || self.wrong(name, "it is past what can be counted".into());
        if let Some(view) = header.view(0) {
            bytes = view.of_bytes(&bytes).ok_or_else(past)?;
        }
        let Element::Plain { dtype, .. } = header.element else { return Err(past()) };
        let range = self.annex.hold(bytes).ok_or_else(|| self.wrong(name, "it is past what can be counted".into()))?;
        Ok(header.tensor(name.to_owned(), dtype, range))
    }

    fn table(self) -> Result<Table, Error> {
        let mut notes = Vec::new();
        for (why, (count, first)) in &self.left_alone {
            let what = match count {
                1 => format!("{} is", quoted(first)),
                _ => format!("{count} members (first {}) are", quoted(first)),
            };
            notes.push(format!("{what} left alone: {why}"));
        }
        if self.tensors.is_empty() {
            let why = if notes.is_empty() {
                "it has no arrays; save them with numpy.savez".to_owned()
            } else {
                format!("it has no array of numbers: {}", notes.join("; "))
            };
            let kind = ErrorKind::Container { format: "NumPy", place: "the archive".into(), what: why };
            return Err(Error::new(self.source.path(), kind));
        }
        notes.extend(self.guessed.iter().map(|(guessed, (count, first))| npy::guess(guessed, *count, first)));
        Ok(Table { tensors: self.tensors, annex: self.annex, notes, ..Table::default() })
    }
}
