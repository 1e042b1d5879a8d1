//! The arena: what a pickle builds, each value once, and those that belong together by number.

/// A value of one [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub(super) u32);

/// What a pickle has built, and all that it made on the way.
#[derive(Clone, Debug)]
pub struct Pickle {
    pub(super) values: Vec<Value>,
    pub(super) root: Id,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Python's `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number, as far as 128 bits go.
    Int(i128),
    /// A larger one, which nothing here has a use for.
    Huge,
    /// A float.
    Float(f64),
    /// A `str`, and a `str` of Python 2 that is UTF-8. Lone surrogates, which Python allows, became U+FFFD.
    Text(Box<str>),
    /// `bytes` or a `bytearray`.
    Bytes(Box<[u8]>),
    /// A list.
    List(Vec<Id>),
    /// A tuple.
    Tuple(Box<[Id]>),
    /// A set or frozenset.
    Set(Vec<Id>),
    /// Keys and values in the order of the pickle; where a key comes twice, Python keeps the last.
    Dict(Vec<(Id, Id)>),
    /// The name of a class or function.
    Global(Box<Global>),
    /// A class or function by its number in the registry `copyreg`, which is not in the file.
    Extension(u32),
    /// What a call would have made.
    Object(Box<Object>),
    /// What the program that reads it has to supply: the value is its description.
    Persistent(Id),
}

/// A class or function: its module and its name in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// `torch._utils`
    pub module: Box<str>,
    /// `_rebuild_tensor_v2`; with dots for what lies inside a class.
    pub name: Box<str>,
}

/// What a call would have made, had anything been called.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// How.
    pub made: Made,
    /// What would have been called: a [`Value::Global`] where the pickle is an honest one.
    pub callable: Id,
    /// With what: a [`Value::Tuple`] where the pickle is an honest one.
    pub arguments: Id,
    /// By name.
    pub keywords: Option<Id>,
    /// What would have been appended to it.
    pub items: Vec<Id>,
    /// What would have been set in it, as in a dict.
    pub pairs: Vec<(Id, Id)>,
    /// The states that it would have been given.
    pub states: Vec<Id>,
}

/// How an object comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// By `callable(*arguments)`.
    Called,
    /// By `callable.__new__(callable, *arguments)`: a class makes an object of itself, and its `__init__` is not run.
    New,
}

impl Pickle {
    /// What the pickle is of.
    #[must_use]
    pub fn root(&self) -> Id {
        self.root
    }

    /// A value by its number.
    #[must_use]
    pub fn get(&self, id: Id) -> &Value {
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing was built, which no pickle does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All values, in the order in which they were made.
    pub fn all(&self) -> impl Iterator<Item = (Id, &Value)> {
        (0..).map(Id).zip(&self.values)
    }

    /// The text, where a value is one.
    #[must_use]
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a tuple or list.
    #[must_use]
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The object that a call would have made.
    #[must_use]
    pub fn object(&self, id: Id) -> Option<&Object> {
        match self.get(id) {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Module and name of a class or function.
    #[must_use]
    pub fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.get(id) {
            Value::Global(global) => Some((&global.module, &global.name)),
            _ => None,
        }
    }
}

impl Value {
    /// What kind of thing it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Huge => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Set(_) => "a set",
            Self::Dict(_) => "a dict",
            Self::Global(_) | Self::Extension(_) => "a class or function",
            Self::Object(_) => "an object",
            Self::Persistent(_) => "a reference to something outside",
        }
    }
}
