//! The reference reader's verdict beside ours: the one list of where they may differ, for the tests and for the fuzz targets.

use spokeshave::formats::safetensors::read_bytes;
use spokeshave::formats::{ErrorKind, Limits, Table};

/// Both verdicts on the same bytes. Ours may be the stricter one, for the reasons that are listed here and no others.
pub fn judge(bytes: &[u8]) -> Result<Table, ErrorKind> {
    let ours = read_bytes(bytes, &Limits::default());
    let reference = ::safetensors::SafeTensors::read_metadata(bytes);
    match (&ours, &reference) {
        (Ok(table), Ok((_, theirs))) => assert_eq!(table.tensors.len(), theirs.tensors().len()),
        (Err(_), Err(_)) => {}
        (Ok(_), Err(error)) => panic!("the reference refuses what we accept: {error}"),
        (Err(error), Ok(_)) => assert!(is_stricter(error), "we refuse what the reference accepts: {error}"),
    }
    ours
}

/// Names given twice, limits of our own, and the lists and objects that the reference's generated code takes for a tensor
/// or a dtype though the format has neither.
fn is_stricter(error: &ErrorKind) -> bool {
    match error {
        ErrorKind::DuplicateKey { .. }
        | ErrorKind::TooManyDimensions { .. }
        | ErrorKind::TooManyTensors { .. }
        | ErrorKind::TooManyTexts { .. }
        | ErrorKind::TooMuchElse { .. } => true,
        ErrorKind::Entry { what, .. } => {
            what.starts_with("it is a list") || what.starts_with("its \"dtype\" is an object")
        }
        _ => false,
    }
}
