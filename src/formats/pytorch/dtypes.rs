//! The names of PyTorch's element types, and how wide each is.

use crate::formats::Dtype;

/// What a storage or a tensor is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// A type that other containers know too.
    Known(Dtype),
    /// One that they do not, with its name and bytes.
    Strange(&'static str, u64),
    /// Bytes, of which each tensor says what they are.
    Untyped,
}

impl Element {
    /// Bytes of one.
    pub(super) fn width(self) -> u64 {
        match self {
            Self::Known(dtype) => dtype.bits() / 8,
            Self::Strange(_, width) => width,
            Self::Untyped => 1,
        }
    }
}

/// The elements of a storage class: `FloatStorage` of module `torch` or `torch.cuda`, `UntypedStorage` of `torch.storage`.
pub(super) fn of_storage(module: &str, name: &str) -> Option<Element> {
    use Element::{Known, Strange, Untyped};
    if !matches!(module, "torch" | "torch.cuda" | "torch.storage") {
        return None;
    }
    Some(match name.strip_suffix("Storage")? {
        "Double" => Known(Dtype::F64),
        "Float" => Known(Dtype::F32),
        "Half" => Known(Dtype::F16),
        "BFloat16" => Known(Dtype::BF16),
        "Long" => Known(Dtype::I64),
        "Int" => Known(Dtype::I32),
        "Short" => Known(Dtype::I16),
        "Char" => Known(Dtype::I8),
        "Byte" => Known(Dtype::U8),
        "Bool" => Known(Dtype::Bool),
        "ComplexFloat" => Known(Dtype::C64),
        "ComplexDouble" => Strange("complex128", 16),
        "QInt32" => Strange("qint32", 4),
        "QInt8" => Strange("qint8", 1),
        "QUInt8" => Strange("quint8", 1),
        "QUInt4x2" => Strange("quint4x2", 1),
        "QUInt2x4" => Strange("quint2x4", 1),
        "Untyped" => Untyped,
        _ => return None,
    })
}

/// A dtype by its name in module `torch`.
pub(super) fn of_dtype(name: &str) -> Option<Element> {
    use Element::{Known, Strange};
    Some(match name {
        "float64" | "double" => Known(Dtype::F64),
        "float32" | "float" => Known(Dtype::F32),
        "float16" | "half" => Known(Dtype::F16),
        "bfloat16" => Known(Dtype::BF16),
        "float8_e4m3fn" => Known(Dtype::F8_E4M3),
        "float8_e5m2" => Known(Dtype::F8_E5M2),
        "float8_e4m3fnuz" => Known(Dtype::F8_E4M3Fnuz),
        "float8_e5m2fnuz" => Known(Dtype::F8_E5M2Fnuz),
        "float8_e8m0fnu" => Known(Dtype::F8_E8M0),
        "int64" | "long" => Known(Dtype::I64),
        "int32" | "int" => Known(Dtype::I32),
        "int16" | "short" => Known(Dtype::I16),
        "int8" => Known(Dtype::I8),
        "uint64" => Known(Dtype::U64),
        "uint32" => Known(Dtype::U32),
        "uint16" => Known(Dtype::U16),
        "uint8" => Known(Dtype::U8),
        "bool" => Known(Dtype::Bool),
        "complex64" | "cfloat" => Known(Dtype::C64),
        "complex128" | "cdouble" => Strange("complex128", 16),
        "complex32" | "chalf" => Strange("complex32", 4),
        "float4_e2m1fn_x2" => Strange("float4_e2m1fn_x2", 1),
        _ => return None,
    })
}
