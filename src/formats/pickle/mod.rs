//! Pickles, read and never run: what Python would build becomes plain values in an arena, and whatever it would call stays a name
//! with its arguments.
//!
//! A pickle is a program for a small machine with a stack and a memo (CPython, `Lib/pickletools.py`). Here every opcode of the
//! protocols 0 to 5 does to values what it does in Python, but for those that import or call: `GLOBAL` gives the two names,
//! `REDUCE`, `NEWOBJ`, `INST` and `OBJ` an [`Object`] that remembers what would have been called with what, `BUILD` the state that
//! would have been set. Values refer to one another by [`Id`], so that what is shared is there once and a cycle is no more than a
//! number; nothing here follows them, and who does must count the steps.
//!
//! A byte of the file makes one value at most. What a pickle can take of memory is bounded by [`Bounds`] all the same.

mod input;
mod machine;
mod text;
mod value;

pub use input::Input;
pub use machine::Bounds;
pub use value::{Global, Id, Made, Object, Pickle, Value};

use super::error::{Error, ErrorKind};
use std::path::Path;

/// Why a pickle was not read to its end.
#[derive(Debug)]
pub enum Fault {
    /// The file cannot be read any more.
    Read(Error),
    /// It breaks a rule.
    Says {
        /// The byte of the opcode that does.
        at: u64,
        /// What was found, what is allowed, what to do.
        what: String,
    },
}

impl Fault {
    /// The same as an error about a file of some format, of which the pickle is the part called `part`.
    #[must_use]
    pub fn about(self, path: &Path, format: &'static str, part: &str) -> Error {
        match self {
            Self::Read(error) => error,
            Self::Says { at, what } => {
                Error::new(path, ErrorKind::Container { format, place: format!("byte {at} of {part}"), what })
            }
        }
    }
}

/// Reads one pickle; the input stands behind its end then.
///
/// # Errors
/// When it is cut short, not a pickle, or larger than its bounds.
pub fn read(input: &mut Input<'_>, bounds: &Bounds) -> Result<Pickle, Fault> {
    machine::run(input, bounds)
}

/// [`read`] for a pickle that is in memory.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(bytes: &[u8], bounds: &Bounds) -> Result<Pickle, Fault> {
    read(&mut Input::of_memory(bytes), bounds)
}

#[cfg(test)]
mod tests;
