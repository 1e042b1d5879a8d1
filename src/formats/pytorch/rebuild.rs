//! From the call that would rebuild a tensor to what it says: which storage, from where on, in which shape and strides.

use super::dtypes::{self, Element};
use crate::formats::error::quoted;
use crate::formats::pickle::{Id, Object, Pickle, Value};
use crate::formats::{Dtype, Limits};
use crate::kernels::strided::Strided;
use std::collections::BTreeSet;

/// Parameters inside parameters that are followed; there is never more than one.
const WRAPPED: usize = 8;

/// A storage as a tensor refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// Its key, as text.
    pub(super) key: String,
    /// What it is made of.
    pub(super) element: Element,
    /// How many of these.
    pub(super) elements: u64,
    /// Where it begins in the storage of that key, and how many elements that one has: views of files before 1.6.
    pub(super) view: Option<u64>,
}

/// A tensor as the pickle tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) storage: Storage,
    pub(super) dtype: Dtype,
    /// Elements of the storage before its first.
    pub(super) offset: u64,
    pub(super) strided: Strided,
}

/// What a call that makes a tensor comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rebuilt {
    /// Numbers in a storage.
    Tensor(Tensor),
    /// Something that is left alone: what it is.
    Alone(String),
}

/// The ways in which tensors come about.
enum Way {
    Version(u8),
    /// A tensor is the first argument.
    Wrapped,
    /// A function, a class, and the function's arguments.
    FromType,
    Alone(&'static str),
}

fn way(pickle: &Pickle, object: &Object) -> Option<Way> {
    let (module, name) = pickle.global(object.callable)?;
    Some(match (module, name) {
        ("torch._utils", name) => match name.strip_prefix("_rebuild_")? {
            "tensor" => Way::Version(1),
            "tensor_v2" => Way::Version(2),
            "tensor_v3" => Way::Version(3),
            "parameter" | "parameter_with_state" => Way::Wrapped,
            "qtensor" => Way::Alone("a quantized tensor of PyTorch's own kind"),
            "sparse_tensor" | "sparse_csr_tensor" => Way::Alone("a sparse tensor"),
            "nested_tensor" => Way::Alone("a nested tensor"),
            "meta_tensor_no_storage" => Way::Alone("a tensor without values (of the device meta)"),
            "wrapper_subclass" => Way::Alone("a tensor of a class of its own"),
            _ => Way::Alone("a tensor of another device, or of a newer kind"),
        },
        ("torch._tensor" | "torch.tensor", "_rebuild_from_type" | "_rebuild_from_type_v2") => Way::FromType,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Way::Alone("an array of NumPy"),
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Way::Alone("an array of NumPy"),
        _ => return None,
    })
}

/// Whether a value is a tensor or an array, of any kind.
pub(super) fn is_tensor(pickle: &Pickle, id: Id) -> bool {
    pickle.object(id).is_some_and(|object| way(pickle, object).is_some())
}

/// Whether a value is one of PyTorch's tensors, as far as they have numbers in a storage.
pub(super) fn has_storage(pickle: &Pickle, id: Id) -> bool {
    let way = pickle.object(id).and_then(|object| way(pickle, object));
    matches!(way, Some(Way::Version(_) | Way::Wrapped | Way::FromType))
}

/// Reads a tensor; what is wrong with it, when something is.
pub(super) fn read(pickle: &Pickle, id: Id, limits: &Limits) -> Result<Rebuilt, String> {
    let mut id = id;
    for _ in 0..WRAPPED {
        let Some(object) = pickle.object(id) else { return not_one(pickle, id) };
        let arguments = pickle.sequence(object.arguments).unwrap_or_default();
        match way(pickle, object) {
            Some(Way::Version(version)) => return tensor(pickle, version, arguments, limits),
            Some(Way::Alone(what)) => return Ok(Rebuilt::Alone(what.into())),
            Some(Way::Wrapped) => match arguments.first() {
                Some(&inner) => id = inner,
                None => return Err("a parameter has no tensor".into()),
            },
            Some(Way::FromType) => return from_type(pickle, arguments, limits),
            None => return not_one(pickle, id),
        }
    }
    Err(format!("it is a parameter inside a parameter, more than {WRAPPED} deep"))
}

fn not_one(pickle: &Pickle, id: Id) -> Result<Rebuilt, String> {
    Err(format!("a tensor is expected and {} stands there", pickle.get(id).kind()))
}

/// A tensor that carries attributes or is of a class of its own. What the class makes of its numbers only the class knows.
fn from_type(pickle: &Pickle, arguments: &[Id], limits: &Limits) -> Result<Rebuilt, String> {
    let [function, class, inner, ..] = arguments else { return Err("a tensor of a class has no arguments".into()) };
    let plain = ["torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"];
    let class = pickle.global(*class).map(|(module, name)| format!("{module}.{name}"));
    let version = match pickle.global(*function) {
        Some(("torch._utils", "_rebuild_tensor")) => 1,
        Some(("torch._utils", "_rebuild_tensor_v2")) => 2,
        Some(("torch._utils", "_rebuild_tensor_v3")) => 3,
        _ => 0,
    };
    match class {
        Some(class) if version > 0 && plain.contains(&class.as_str()) => {
            tensor(pickle, version, pickle.sequence(*inner).unwrap_or_default(), limits)
        }
        Some(class) if !plain.contains(&class.as_str()) => {
            Ok(Rebuilt::Alone(format!("a tensor of the class {}", quoted(&class))))
        }
        _ => Ok(Rebuilt::Alone("a tensor of a class of its own".into())),
    }
}

/// The arguments of the three functions: storage, offset, size, stride; since the second whether it is trained and its hooks;
/// in the third its dtype; then what is to be known of its numbers besides.
fn tensor(pickle: &Pickle, version: u8, arguments: &[Id], limits: &Limits) -> Result<Rebuilt, String> {
    let [storage, offset, size, stride, rest @ ..] = arguments else {
        return Err(format!("it has {} arguments, not storage, offset, size and stride at least", arguments.len()));
    };
    let storage = self::storage(pickle, *storage)?;
    let (element, metadata) = match (version, rest) {
        (1 | 2, _) => (storage.element, rest.get(2)),
        (_, [_, _, dtype, rest @ ..]) => match pickle.global(*dtype) {
            Some(("torch", name)) => match dtypes::of_dtype(name) {
                Some(element) => (element, rest.first()),
                None => return Ok(Rebuilt::Alone(format!("a tensor of the dtype {}", quoted(name)))),
            },
            _ => return Err("its dtype is not a name".into()),
        },
        _ => return Err("it has no dtype".into()),
    };
    if let Some(bits) = metadata.and_then(|&metadata| unknown_bits(pickle, metadata)) {
        return Ok(Rebuilt::Alone(bits));
    }
    let dtype = match element {
        Element::Known(dtype) => dtype,
        Element::Strange(name, _) => return Ok(Rebuilt::Alone(format!("a tensor of the dtype {name}"))),
        Element::Untyped => return Err("its storage has no dtype, and it names none".into()),
    };
    let (shape, strides) = (numbers(pickle, *size, "size")?, numbers(pickle, *stride, "stride")?);
    if shape.len() != strides.len() {
        return Err(format!("its size has {} numbers, its stride {}", shape.len(), strides.len()));
    }
    if shape.len() > limits.rank {
        return Err(format!("it has {} dimensions, more than the {} allowed", shape.len(), limits.rank));
    }
    let offset = number(pickle, *offset).ok_or_else(|| format!("its offset is {}", shown(pickle, *offset)))?;
    Ok(Rebuilt::Tensor(Tensor { storage, dtype, offset, strided: Strided { shape, strides, width: dtype.bytes() } }))
}

/// What a tensor's metadata says of how its numbers are to be taken: conjugated or negated when they are read.
fn unknown_bits(pickle: &Pickle, metadata: Id) -> Option<String> {
    let pairs = match pickle.get(metadata) {
        Value::None => return None,
        Value::Dict(pairs) => pairs,
        _ => return Some("a tensor with metadata of an unknown kind".into()),
    };
    let said = |&&(_, value): &&(Id, Id)| *pickle.get(value) != Value::Bool(false);
    let (key, _) = pairs.iter().find(said)?;
    Some(match pickle.text(*key) {
        Some("conj") => "a tensor that is to be conjugated when it is read".into(),
        Some("neg") => "a tensor that is to be negated when it is read".into(),
        _ => "a tensor with metadata of an unknown kind".into(),
    })
}

/// The storage that a persistent id describes: `("storage", class, key, device, elements)`, and what says whether it is a view.
fn whole(pickle: &Pickle, id: Id) -> Result<(Storage, Option<Id>), String> {
    let Value::Persistent(described) = pickle.get(id) else {
        return Err(format!("a storage is expected and {} stands there", pickle.get(id).kind()));
    };
    let parts = match pickle.sequence(*described) {
        Some([kind, parts @ ..]) if pickle.text(*kind) == Some("storage") => parts,
        _ => return Err("what it refers to outside of the pickle is not a storage".into()),
    };
    let [class, key, _device, elements, view @ ..] = parts else {
        return Err(format!("its storage is told in {} parts, not 5 or 6", parts.len() + 1));
    };
    let (module, name) = pickle.global(*class).ok_or("its storage is of no named class")?;
    let element = dtypes::of_storage(module, name)
        .ok_or_else(|| format!("its storage is of the class {}", quoted(&format!("{module}.{name}"))))?;
    let key = key_text(pickle, *key)?;
    let elements =
        number(pickle, *elements).ok_or_else(|| format!("its storage has {} elements", shown(pickle, *elements)))?;
    Ok((Storage { key, element, elements, view: None }, view.first().copied()))
}

/// The storage that a persistent id describes, or the view of it. Then the number of elements is that of the whole, and the view
/// has its own key, its place and its own number.
fn storage(pickle: &Pickle, id: Id) -> Result<Storage, String> {
    let (storage, view) = whole(pickle, id)?;
    let Some(view) = view.filter(|&view| *pickle.get(view) != Value::None) else { return Ok(storage) };
    let view = match pickle.sequence(view) {
        Some([_, offset, size]) => number(pickle, *offset).zip(number(pickle, *size)),
        _ => None,
    };
    let (offset, size) = view.ok_or("its storage is a view without a place")?;
    if offset.checked_add(size).is_none_or(|end| end > storage.elements) {
        let elements = storage.elements;
        return Err(format!("its storage is a view of {size} elements from {offset} on, in one of {elements}"));
    }
    Ok(Storage { elements: size, view: Some(offset), ..storage })
}

/// The key of a storage; Python 2 wrote numbers too.
pub(super) fn key_text(pickle: &Pickle, key: Id) -> Result<String, String> {
    match pickle.get(key) {
        Value::Text(text) => Ok(text.to_string()),
        Value::Int(number) => Ok(number.to_string()),
        other => Err(format!("the key of its storage is {}", other.kind())),
    }
}

fn number(pickle: &Pickle, id: Id) -> Option<u64> {
    match pickle.get(id) {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// The numbers of a size or stride: a tuple, or `torch.Size` of one.
fn numbers(pickle: &Pickle, id: Id, what: &str) -> Result<Vec<usize>, String> {
    let mut id = id;
    if let Some(object) = pickle.object(id)
        && pickle.global(object.callable) == Some(("torch", "Size"))
        && let Some(&[inner]) = pickle.sequence(object.arguments)
    {
        id = inner;
    }
    let items = pickle.sequence(id).ok_or_else(|| format!("its {what} is {}, not a tuple", pickle.get(id).kind()))?;
    let number = |&item: &Id| {
        let found = number(pickle, item).and_then(|number| usize::try_from(number).ok());
        found.ok_or_else(|| format!("its {what} has {}; allowed are whole numbers from 0 on", shown(pickle, item)))
    };
    items.iter().map(number).collect()
}

/// A number for people.
fn shown(pickle: &Pickle, id: Id) -> String {
    match pickle.get(id) {
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        other => other.kind().into(),
    }
}

/// Every storage that the pickle speaks of, with the width of its elements: what a file before 1.6 needs to be walked through.
pub(super) fn storages(pickle: &Pickle) -> BTreeSet<(String, u64)> {
    let persistent = pickle.all().filter(|(_, value)| matches!(value, Value::Persistent(_)));
    persistent.filter_map(|(id, _)| whole(pickle, id).ok()).map(|(s, _)| (s.key, s.element.width())).collect()
}
