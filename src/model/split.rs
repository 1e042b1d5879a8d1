//! A GGUF model: one file, or the numbered files that `llama-gguf-split` makes of one, opened by any of them.

use super::open::{assemble, read_table};
use super::{Format, Model, OpenOptions, Origin};
use crate::formats::error::{display_path, printable};
use crate::formats::gguf;
use crate::formats::{Error, ErrorKind, Source, Table};
use std::path::{Path, PathBuf};

/// Files of one model at most; the largest there are have some dozens.
const MOST_FILES: u64 = 10_000;

/// Keys of a split file, which one file does not have.
pub const KEYS: [&str; 3] = [NUMBER, COUNT, TENSORS];

/// The key of a split file's number, from 0.
pub const NUMBER: &str = "split.no";
/// The key of how many files there are.
pub const COUNT: &str = "split.count";
/// The key of how many tensors they have in all.
pub const TENSORS: &str = "split.tensors.count";

/// Makes a model of a GGUF file that was read, and of the other files of its set.
pub(super) fn open(path: &Path, source: Source, table: Table, options: &OpenOptions) -> Result<Model, Error> {
    let number = |table: &Table, key| table.gguf.as_ref().and_then(|head| head.pairs.number(key));
    let count = number(&table, COUNT).unwrap_or(0);
    let tensors = number(&table, TENSORS);
    let shards = if count > 1 { gather(path, (source, table), count, options)? } else { vec![(source, table)] };
    let found: usize = shards.iter().map(|(_, table)| table.tensors.len()).sum();
    if let Some(counted) = tensors.filter(|&counted| count > 1 && counted != found as u64) {
        let what =
            format!("its files have {found} tensors in all, and the first says {counted}; download the set again");
        return Err(wrong(path, what));
    }
    let name = |head: &gguf::Head| head.pairs.text("general.name").filter(|name| !name.is_empty()).map(str::to_owned);
    let stem = || path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let head = shards.first().and_then(|(_, table)| table.gguf.as_deref());
    let name = head.and_then(name).unwrap_or_else(stem);
    let bytes = shards.iter().map(|(source, _)| source.len()).sum();
    let warnings = shards.iter().filter_map(|(source, table)| surplus(source, table)).collect();
    assemble(printable(&name), Origin::File(path.to_path_buf()), Format::Gguf, shards, bytes, warnings)
}

/// A warning about bytes that belong to no tensor.
fn surplus(source: &Source, table: &Table) -> Option<String> {
    let bytes = table.gguf.as_ref().map(|head| head.surplus).filter(|&bytes| bytes > 0)?;
    let path = display_path(source.path());
    Some(format!("{path}: {bytes} bytes after the last tensor belong to nothing; they are left alone"))
}

fn wrong(path: &Path, what: String) -> Error {
    Error::new(path, ErrorKind::Gguf { place: "the set of split files".into(), what })
}

/// All files of a set, in their order. One of them is open already.
fn gather(
    path: &Path,
    opened: (Source, Table),
    count: u64,
    options: &OpenOptions,
) -> Result<Vec<(Source, Table)>, Error> {
    if count > MOST_FILES {
        let what = format!("it is said to have {count} files, at most {MOST_FILES} are read; the file is damaged");
        return Err(wrong(path, what));
    }
    let (this, names) = names(path, count).ok_or_else(|| {
        let what = format!(
            "it has {count} files, and this one is not named …-00001-of-{count:05}.gguf to {count:05}, so the others cannot be found; give the files their names back"
        );
        wrong(path, what)
    })?;
    let mut opened = Some(opened);
    let mut shards = Vec::new();
    for (place, name) in names.into_iter().enumerate() {
        let shard = match opened.take_if(|_| place == this) {
            Some(opened) => opened,
            None => read(&name, path, options)?,
        };
        let said = |key| shard.1.gguf.as_ref().and_then(|head| head.pairs.number(key));
        if (said(NUMBER), said(COUNT)) != (Some(place as u64), Some(count)) {
            let shown = |number: Option<u64>| number.map_or("nothing".to_owned(), |n| n.to_string());
            let what = format!(
                "{} says of itself to be number {} (from 0) of {}, expected {place} of {count}; it belongs to another set, or was renamed",
                display_path(&name),
                shown(said(NUMBER)),
                shown(said(COUNT)),
            );
            return Err(wrong(path, what));
        }
        shards.push(shard);
    }
    Ok(shards)
}

fn read(name: &Path, path: &Path, options: &OpenOptions) -> Result<(Source, Table), Error> {
    if name.symlink_metadata().is_err() {
        let what = format!("{} is missing; download the whole set", display_path(name));
        return Err(wrong(path, what));
    }
    let source = Source::open(name, options.access)?;
    match read_table(&source, &options.limits)? {
        (Format::Gguf, table) => Ok((source, table)),
        _ => Err(wrong(path, format!("{} is no GGUF file; download the set again", display_path(name)))),
    }
}

/// Which file of its set a name says it is, from 0, and the names of all.
fn names(path: &Path, count: u64) -> Option<(usize, Vec<PathBuf>)> {
    let name = path.file_name()?.to_str()?;
    let end = format!("-of-{count:05}.gguf");
    let (stem, number) = name.strip_suffix(&end)?.rsplit_once('-')?;
    let number: u64 = if number.len() >= 5 && number.bytes().all(|b| b.is_ascii_digit()) {
        number.parse().ok()?
    } else {
        return None;
    };
    let this = usize::try_from(number.checked_sub(1)?).ok().filter(|_| number <= count)?;
    let names = (1..=count).map(|i| path.with_file_name(format!("{stem}-{i:05}{end}"))).collect();
    Some((this, names))
}
