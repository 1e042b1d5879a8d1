//! Zip archives, as far as PyTorch and NumPy write them: the directory at the end, members stored or deflated.
//!
//! The central directory is believed only as far as each member's local header says the same (APPNOTE 6.3.10, §4.3): same name,
//! inside the file, before the directory. Members that overlap are refused, and so are encrypted ones and those in several disks.
//! What is stored lies in the file as it is and is read there; what is deflated is unpacked into memory, never more than its
//! directory entry says and the caller allows, and held against its checksum.

use super::error::{Error, ErrorKind, quoted};
use super::{Limits, Source};
use flate2::read::DeflateDecoder;
use std::collections::HashSet;
use std::io::Read;
use std::ops::Range;

/// The bytes that every archive with a member begins with.
pub const MAGIC: &[u8] = b"PK\x03\x04";

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;

/// Bytes of the end record without its comment, of a directory entry and of a local header without their texts.
const END_BYTES: usize = 22;
const CENTRAL_BYTES: usize = 46;
const LOCAL_BYTES: u64 = 30;

/// The longest comment that can follow the end record.
const COMMENT: u64 = 65_535;

/// Bytes of a deflated member that are fetched at a time.
const WINDOW: u64 = 1 << 16;

/// How a member lies in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Stored,
    /// Compressed by deflate.
    Deflated,
}

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path in the archive.
    pub name: String,
    /// How it lies there.
    pub method: Method,
    /// Its bytes in the archive.
    pub data: Range<u64>,
    /// Bytes of it when it is unpacked.
    pub size: u64,
    /// Its CRC-32.
    pub crc: u32,
}

/// Reads the directory of an archive, in the order of its entries. Folders are left out.
///
/// # Errors
/// When it has no directory, or one that does not agree with what lies in the file; nothing of the members is unpacked.
pub fn read(source: &Source, limits: &Limits) -> Result<Vec<Member>, Error> {
    let directory = Directory::find(source)?;
    if directory.range.end - directory.range.start > limits.header_bytes {
        let (found, allowed) = (directory.range.end - directory.range.start, limits.header_bytes);
        return Err(Error::new(source.path(), ErrorKind::HeaderTooLarge { format: "zip", found, allowed }));
    }
    if directory.members > limits.tensors as u64 {
        let what = format!("it lists {} members, at most {} are read", directory.members, limits.tensors);
        return Err(wrong(source, "the directory", what));
    }
    let mut scratch = Vec::new();
    let mut bytes = source.read(directory.range.clone(), &mut scratch)?;
    let mut members = Vec::new();
    for at in 0..directory.members {
        let entry =
            Entry::read(&mut bytes).map_err(|what| wrong(source, &format!("entry {at} of the directory"), what))?;
        if !entry.name.ends_with('/') {
            members.push(entry.member(source, directory.range.start)?);
        }
    }
    check_apart(source, &members)?;
    Ok(members)
}

/// Bytes that a member may unpack to however few it has.
const UNQUESTIONED: u64 = 256 << 20;

/// How many times as many bytes a larger member may unpack to.
const TIMES: u64 = 200;

/// Unpacks a member that takes at most `most` bytes.
///
/// # Errors
/// When it is larger, or not what its directory entry says.
pub fn unpack(source: &Source, member: &Member, most: u64) -> Result<Vec<u8>, Error> {
    let fail = |what: String| wrong(source, &place(&member.name), what);
    if member.size > most {
        return Err(fail(format!(
            "it takes {} bytes of memory when it is unpacked, at most {most} are given; save the file without compression",
            member.size
        )));
    }
    // Weights that were pruned and masks shrink by ten or a hundred; beyond that a few bytes would take all memory.
    let packed = member.data.end - member.data.start;
    if member.size > UNQUESTIONED && member.size / TIMES > packed {
        return Err(fail(format!(
            "its {packed} bytes unpack to {}, and at most {TIMES} times as many are given above {UNQUESTIONED}; save the file without compression",
            member.size
        )));
    }
    let mut out = Vec::new();
    match member.method {
        Method::Stored => {
            source.with(member.data.clone(), &mut Vec::new(), |bytes| out.extend_from_slice(bytes))?;
        }
        Method::Deflated => inflate(source, member, member.size.saturating_add(1), &mut out)?,
    }
    if out.len() as u64 != member.size {
        let more = if out.len() as u64 > member.size { "more" } else { "less" };
        return Err(fail(format!("it unpacks to {more} than the {} bytes that the directory says", member.size)));
    }
    let mut crc = flate2::Crc::new();
    crc.update(&out);
    if crc.sum() != member.crc {
        let (found, said) = (crc.sum(), member.crc);
        return Err(fail(format!("its CRC-32 is {found:08x}, the directory says {said:08x}; download the file again")));
    }
    Ok(out)
}

/// The first bytes of a member, at most `most` of them. They are believed as they are: the checksum is one of the whole.
///
/// # Errors
/// When they cannot be read or unpacked.
pub fn peek(source: &Source, member: &Member, most: u64) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let most = most.min(member.size);
    match member.method {
        Method::Stored => {
            let start = member.data.start;
            let end = start.saturating_add(most).min(member.data.end);
            source.with(start..end, &mut Vec::new(), |bytes| out.extend_from_slice(bytes))?;
        }
        Method::Deflated => inflate(source, member, most, &mut out)?,
    }
    Ok(out)
}

/// Unpacks a deflated member as far as `most` bytes of it.
fn inflate(source: &Source, member: &Member, most: u64, out: &mut Vec<u8>) -> Result<(), Error> {
    let stored = Stored { source, left: member.data.clone(), window: Vec::new(), at: 0, error: None };
    let mut decoder = DeflateDecoder::new(stored).take(most);
    let read = decoder.read_to_end(out);
    if let Some(error) = decoder.get_mut().get_mut().error.take() {
        return Err(error);
    }
    let told = |error| format!("it cannot be unpacked: {error}; download the file again");
    read.map(drop).map_err(|error| wrong(source, &place(&member.name), told(error)))
}

fn place(name: &str) -> String {
    format!("member {}", quoted(name))
}

fn wrong(source: &Source, place: &str, what: impl Into<String>) -> Error {
    Error::new(source.path(), ErrorKind::Container { format: "zip", place: place.into(), what: what.into() })
}

/// Where the directory lies.
struct Directory {
    range: Range<u64>,
    members: u64,
}

impl Directory {
    fn find(source: &Source) -> Result<Self, Error> {
        let len = source.len();
        let cut = || {
            wrong(source, "the end", "there is no directory of an archive; the download was cut short, fetch it again")
        };
        let from = len.saturating_sub(END_BYTES as u64 + COMMENT);
        let mut scratch = Vec::new();
        let tail = source.read(from..len, &mut scratch)?;
        let ends = |at: &usize| {
            let comment = take_u16(&mut tail.get(at + 20..)?)?;
            (tail.get(*at..)?.len() == END_BYTES + usize::from(comment)).then_some(())
        };
        let last = tail.len().checked_sub(END_BYTES).ok_or_else(cut)?;
        let at = (0..=last)
            .rev()
            .find(|at| tail.get(*at..).is_some_and(|t| t.starts_with(&END.to_le_bytes())) && ends(at).is_some());
        let at = at.ok_or_else(cut)?;
        let mut record = tail.get(at + 4..).unwrap_or_default();
        let said = End::read(&mut record).ok_or_else(cut)?;
        let end_at = from + at as u64;
        let said = if said.is_wide() { End::wide(source, end_at)? } else { said };
        if said.disk != 0 || said.directory_disk != 0 || said.members != said.members_here {
            return Err(wrong(source, "the end", "the archive is in several parts; join them first"));
        }
        let end = said.offset.checked_add(said.bytes).filter(|&end| end <= end_at);
        let Some(end) = end else {
            let what = format!(
                "the directory is said to lie at {} and take {} bytes, the end begins at {end_at}",
                said.offset, said.bytes
            );
            return Err(wrong(source, "the end", what));
        };
        Ok(Self { range: said.offset..end, members: said.members })
    }
}

/// What the end record says, in either width.
struct End {
    disk: u64,
    directory_disk: u64,
    members_here: u64,
    members: u64,
    bytes: u64,
    offset: u64,
}

impl End {
    fn read(record: &mut &[u8]) -> Option<Self> {
        Some(Self {
            disk: take_u16(record)?.into(),
            directory_disk: take_u16(record)?.into(),
            members_here: take_u16(record)?.into(),
            members: take_u16(record)?.into(),
            bytes: take_u32(record)?.into(),
            offset: take_u32(record)?.into(),
        })
    }

    /// Whether some number stands for one in the wide record.
    fn is_wide(&self) -> bool {
        let short = [self.disk, self.directory_disk, self.members_here, self.members];
        short.contains(&u64::from(u16::MAX)) || [self.bytes, self.offset].contains(&u64::from(u32::MAX))
    }

    /// The wide record, by the locator that stands just before the short one.
    fn wide(source: &Source, end_at: u64) -> Result<Self, Error> {
        let lost = || {
            wrong(source, "the end", "it has no record of the large directory that it speaks of; fetch the file again")
        };
        let mut scratch = Vec::new();
        let mut locator = source.read(end_at.checked_sub(20).ok_or_else(lost)?..end_at, &mut scratch)?;
        if take_u32(&mut locator) != Some(LOCATOR_64) {
            return Err(lost());
        }
        let _disk = take_u32(&mut locator);
        let at = take_u64(&mut locator).ok_or_else(lost)?;
        let record = at..at.checked_add(56).filter(|&end| end <= end_at).ok_or_else(lost)?;
        let mut scratch = Vec::new();
        let mut record = source.read(record, &mut scratch)?;
        let mut read = || {
            let (magic, _size, _versions) = (take_u32(&mut record)?, take_u64(&mut record)?, take_u32(&mut record)?);
            let end = Self {
                disk: take_u32(&mut record)?.into(),
                directory_disk: take_u32(&mut record)?.into(),
                members_here: take_u64(&mut record)?,
                members: take_u64(&mut record)?,
                bytes: take_u64(&mut record)?,
                offset: take_u64(&mut record)?,
            };
            (magic == END_64).then_some(end)
        };
        read().ok_or_else(lost)
    }
}

/// One entry of the directory.
struct Entry {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    local: u64,
}

impl Entry {
    fn read(bytes: &mut &[u8]) -> Result<Self, String> {
        let cut = "the directory ends in the middle of it";
        let mut fixed = take(bytes, CENTRAL_BYTES).ok_or(cut)?;
        if take_u32(&mut fixed) != Some(CENTRAL) {
            return Err("it does not begin as an entry does; download the file again".into());
        }
        let mut read = || {
            let _versions = take_u32(&mut fixed)?;
            let (flags, method) = (take_u16(&mut fixed)?, take_u16(&mut fixed)?);
            let _time = take_u32(&mut fixed)?;
            let (crc, packed, size) = (take_u32(&mut fixed)?, take_u32(&mut fixed)?, take_u32(&mut fixed)?);
            let texts = [take_u16(&mut fixed)?, take_u16(&mut fixed)?, take_u16(&mut fixed)?];
            let disk = take_u16(&mut fixed)?;
            let _attributes = take(&mut fixed, 6)?;
            Some((flags, method, crc, packed, size, texts, disk, take_u32(&mut fixed)?))
        };
        let (flags, method, crc, packed, size, [name, extra, comment], disk, local) = read().ok_or(cut)?;
        let name = take(bytes, name.into()).ok_or(cut)?;
        let extra = take(bytes, extra.into()).ok_or(cut)?;
        take(bytes, comment.into()).ok_or(cut)?;
        let name = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8")?.to_owned();
        let mut wide = Wide::find(extra);
        let mut number = |short: u32| if short == u32::MAX { wide.next() } else { Some(short.into()) };
        let numbers = number(size).zip(number(packed)).zip(number(local));
        let ((size, packed), local) = numbers.ok_or("it has no record of the large numbers that it speaks of")?;
        if disk != 0 && disk != u16::MAX {
            return Err("it lies in another part of the archive; join the parts first".into());
        }
        Ok(Self { name, flags, method, crc, packed, size, local })
    }

    /// The member, its local header looked at.
    fn member(self, source: &Source, directory: u64) -> Result<Member, Error> {
        let fail = |what: String| wrong(source, &place(&self.name), what);
        let method = match self.method {
            0 => Method::Stored,
            8 => Method::Deflated,
            other => {
                return Err(fail(format!("its compression is method {other}; stored (0) and deflated (8) are read")));
            }
        };
        if self.flags & 0x2041 != 0 {
            return Err(fail("it is encrypted; unpack the archive first".into()));
        }
        let outside =
            || fail(format!("its header is said to lie at {}, the directory begins at {directory}", self.local));
        let fixed_end = self.local.checked_add(LOCAL_BYTES).filter(|&end| end <= directory).ok_or_else(outside)?;
        let mut scratch = Vec::new();
        let mut header = source.read(self.local..fixed_end, &mut scratch)?;
        let magic = take_u32(&mut header);
        let lengths = take(&mut header, 22).and_then(|_| Some((take_u16(&mut header)?, take_u16(&mut header)?)));
        let (name, extra) =
            lengths.filter(|_| magic == Some(LOCAL)).ok_or_else(|| fail("its header is damaged".into()))?;
        let name_end = fixed_end + u64::from(name);
        let start = name_end + u64::from(extra);
        let end = start.checked_add(self.packed).filter(|&end| end <= directory);
        let end = end.ok_or_else(|| {
            let there = directory.saturating_sub(start);
            fail(format!("it is said to take {} bytes, {there} are there before the directory", self.packed))
        })?;
        let mut scratch = Vec::new();
        if source.read(fixed_end..name_end, &mut scratch)? != self.name.as_bytes() {
            return Err(fail("its header gives another name than the directory".into()));
        }
        if method == Method::Stored && self.packed != self.size {
            return Err(fail(format!(
                "it is stored as it is, in {} bytes, and said to have {}",
                self.packed, self.size
            )));
        }
        Ok(Member { name: self.name, method, data: start..end, size: self.size, crc: self.crc })
    }
}

/// The numbers of the wide record (header 1) in an entry's extra field, one after the other.
struct Wide<'b>(&'b [u8]);

impl<'b> Wide<'b> {
    fn find(mut extra: &'b [u8]) -> Self {
        while let Some((kind, len)) = take_u16(&mut extra).zip(take_u16(&mut extra)) {
            let Some(field) = take(&mut extra, len.into()) else { break };
            if kind == 1 {
                return Self(field);
            }
        }
        Self(&[])
    }

    fn next(&mut self) -> Option<u64> {
        take_u64(&mut self.0)
    }
}

/// No two members have one name or share a byte.
fn check_apart(source: &Source, members: &[Member]) -> Result<(), Error> {
    let mut names = HashSet::new();
    if let Some(twice) = members.iter().find(|member| !names.insert(member.name.as_str())) {
        return Err(wrong(source, &place(&twice.name), "the directory lists it twice"));
    }
    let mut places: Vec<&Member> = members.iter().filter(|member| !member.data.is_empty()).collect();
    places.sort_by_key(|member| member.data.start);
    match places.windows(2).find(|pair| matches!(pair, [a, b] if b.data.start < a.data.end)) {
        Some([a, b]) => Err(wrong(source, &place(&b.name), format!("it lies over {}", place(&a.name)))),
        _ => Ok(()),
    }
}

/// The bytes of a deflated member, fetched as they are asked for.
struct Stored<'s> {
    source: &'s Source,
    left: Range<u64>,
    window: Vec<u8>,
    at: usize,
    /// Why the file could not be read.
    error: Option<Error>,
}

impl Read for Stored<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.window.len() {
            let end = self.left.end.min(self.left.start.saturating_add(WINDOW));
            let mut window = std::mem::take(&mut self.window);
            window.clear();
            let read = self.source.with(self.left.start..end, &mut Vec::new(), |bytes| window.extend_from_slice(bytes));
            if let Err(error) = read {
                let told = std::io::Error::other(error.to_string());
                self.error = Some(error);
                return Err(told);
            }
            (self.window, self.at, self.left.start) = (window, 0, end);
        }
        let there = self.window.get(self.at..).unwrap_or_default();
        let n = there.len().min(out.len());
        if let (Some(into), Some(from)) = (out.get_mut(..n), there.get(..n)) {
            into.copy_from_slice(from);
        }
        self.at += n;
        Ok(n)
    }
}

fn take<'b>(bytes: &mut &'b [u8], n: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(taken)
}

fn take_u16(bytes: &mut &[u8]) -> Option<u16> {
    take(bytes, 2)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes, 4)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes, 8)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
