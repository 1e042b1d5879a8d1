//! Files from before PyTorch 1.6 (October 2020): five pickles one after the other, then the storages.
//!
//! Numbers lie with their lowest byte first whatever machine wrote them (`torch/csrc/serialization.cpp`), whatever the third
//! pickle says of that machine.

use super::archive::Found;
use super::place::{Place, Storages};
use super::{FORMAT, nothing_in, rebuild, wrong};
use crate::formats::error::{Error, quoted};
use crate::formats::pickle::{self, Bounds, Id, Input, Pickle, Value};
use crate::formats::{Limits, Source, Table};
use std::collections::{HashMap, HashSet};

/// The pickle of the number that such files begin with.
pub const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// That number.
const NUMBER: i128 = 0x1950_a86a_20f9_469c_fc6c;

/// The one version of the layout.
const PROTOCOL: i128 = 1001;

/// Bytes before each storage: how many elements it has.
const LENGTH: u64 = 8;

/// Reads such a file; of another pickle it says what it is.
pub(super) fn read(source: &Source, limits: &Limits) -> Result<Table, Error> {
    let mut input = Input::of_file(source, 0, limits.header_bytes);
    let mut next = |part: &str| {
        let start = input.at();
        let part = format!("{part}, which begins at byte {start}");
        pickle::read(&mut input, &Bounds::default())
            .map(|pickle| (pickle, input.at()))
            .map_err(|fault| fault.about(source.path(), FORMAT, &part))
    };
    let (first, _) = next("the first pickle")?;
    if *first.get(first.root()) != Value::Int(NUMBER) {
        return Err(wrong(source.path(), "this pickle", nothing_in(&first)));
    }
    let (version, _) = next("the pickle of the version")?;
    if *version.get(version.root()) != Value::Int(PROTOCOL) {
        let what = format!("it is not {PROTOCOL}, the only one there was; the file is damaged");
        return Err(wrong(source.path(), "the version", what));
    }
    next("the pickle of the system")?;
    let (object, _) = next("the pickle of the model")?;
    let (keys, end) = next("the pickle of the storages' keys")?;
    let storages = Storages { places: walk(source, &object, &keys, end)?, big_endian: false };
    let mut found = Found::new(source, limits, &storages);
    found.take_model(&object, "", "")?;
    found.table(&object)
}

/// Goes from storage to storage, each of which says how long it is.
fn walk(source: &Source, object: &Pickle, keys: &Pickle, start: u64) -> Result<HashMap<String, Place<'static>>, Error> {
    let fail = |key: &str, what: String| wrong(source.path(), format!("storage {}", quoted(key)), what);
    let widths: HashMap<String, u64> = rebuild::storages(object).into_iter().collect();
    let list = keys.sequence(keys.root());
    let list: &[Id] =
        list.ok_or_else(|| wrong(source.path(), "the storages' keys", "they are not a list; the file is damaged"))?;
    let (mut places, mut at, mut seen) = (HashMap::new(), start, HashSet::new());
    for &key in list {
        let key = rebuild::key_text(keys, key).map_err(|what| wrong(source.path(), "the storages' keys", what))?;
        let width = *widths
            .get(&key)
            .ok_or_else(|| fail(&key, "no tensor says what it is made of; the file is damaged".into()))?;
        if !seen.insert(key.clone()) {
            return Err(fail(&key, "it is listed twice; the file is damaged".into()));
        }
        let data = at.saturating_add(LENGTH);
        let left = source.len().saturating_sub(data);
        let mut scratch = Vec::new();
        let cut = || fail(&key, "the file ends before it; it is cut short (download it again)".into());
        if data > source.len() {
            return Err(cut());
        }
        let length = source.read(at..data, &mut scratch)?.first_chunk().copied().map(i64::from_le_bytes);
        let bytes = length.and_then(|length| u64::try_from(length).ok()).and_then(|length| length.checked_mul(width));
        let Some(bytes) = bytes.filter(|&bytes| bytes <= left) else {
            let length = length.unwrap_or_default();
            let what = format!(
                "it is said to have {length} elements of {width} bytes, {left} bytes follow; the file is damaged or cut short (download it again)"
            );
            return Err(fail(&key, what));
        };
        places.insert(key, Place::File(data..data.saturating_add(bytes)));
        at = data.saturating_add(bytes);
    }
    Ok(places)
}
