//! What loading a file in Python would have called, beyond what PyTorch's own files have a use for.

use crate::formats::error::quoted;
use crate::formats::pickle::{Id, Made, Pickle, Value};

/// Modules of which everything may be called: they rebuild tensors, arrays and plain containers.
const MODULES: [&str; 8] = [
    "torch._utils",
    "torch._tensor",
    "torch.tensor",
    "torch.jit._pickle",
    "collections",
    "datetime",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
];

/// Single classes and functions that do nothing but make a value. `_load_from_bytes` reads another file of PyTorch out of bytes.
const NAMES: [(&str, &[&str]); 15] = [
    ("torch", &["Size", "Tensor", "device", "dtype", "Generator"]),
    ("torch.serialization", &["_get_layout"]),
    ("torch.storage", &["_load_from_bytes", "UntypedStorage", "TypedStorage"]),
    ("torch.nn.parameter", &["Parameter", "Buffer"]),
    ("builtins", &BUILTINS),
    ("__builtin__", &BUILTINS),
    ("_codecs", &["encode"]),
    ("copyreg", &["_reconstructor", "__newobj__"]),
    ("copy_reg", &["_reconstructor", "__newobj__"]),
    ("numpy", &["dtype", "ndarray"]),
    ("numpy._core.numeric", &["_frombuffer"]),
    ("numpy.core.numeric", &["_frombuffer"]),
    ("pathlib", &["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"]),
    ("argparse", &["Namespace"]),
    ("uuid", &["UUID"]),
];

const BUILTINS: [&str; 13] = [
    "set",
    "frozenset",
    "bytearray",
    "bytes",
    "complex",
    "slice",
    "range",
    "list",
    "dict",
    "tuple",
    "int",
    "float",
    "object",
];

/// A note that names the first such call; `None` when there is none.
pub(super) fn note(pickle: &Pickle) -> Option<String> {
    let called = |(_, value): (Id, &Value)| match value {
        Value::Object(object) if object.made == Made::Called => Some(object.callable),
        _ => None,
    };
    let mut foreign = pickle.all().filter_map(called).filter(|&callable| !is_known(pickle, callable));
    let first = name(pickle, foreign.next()?);
    let more = match foreign.count() {
        0 => String::new(),
        1 => ", and make 1 more such call".into(),
        more => format!(", and make {more} more such calls"),
    };
    Some(format!(
        "torch.load would call {first}{more}; nothing of it was run. Where you do not know what this is for, do not load the file in Python"
    ))
}

fn is_known(pickle: &Pickle, callable: Id) -> bool {
    let Some((module, name)) = pickle.global(callable) else { return false };
    MODULES.contains(&module) || NAMES.iter().any(|&(known, names)| known == module && names.contains(&name))
}

fn name(pickle: &Pickle, callable: Id) -> String {
    match pickle.get(callable) {
        Value::Global(global) => quoted(&format!("{}.{}", global.module, global.name)),
        Value::Extension(number) => format!("number {number} of Python's registry of extensions"),
        Value::Object(_) => "what another call gives".into(),
        other => other.kind().into(),
    }
}
