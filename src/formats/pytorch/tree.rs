//! What lies in what: dicts, lists, tuples, modules and other objects, as far as tensors can be found in them by name.

use super::rebuild::is_tensor;
use crate::formats::pickle::{Id, Object, Pickle, Value};
use std::collections::{HashMap, HashSet};

/// A value inside another.
#[derive(Clone, Debug)]
pub(super) struct Child<'p> {
    pub(super) name: Name<'p>,
    pub(super) id: Id,
}

/// What a value is called where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name<'p> {
    Text(&'p str),
    Number(i128),
    /// A key that is neither.
    Other(Id),
}

/// The tensors of a module that `state_dict` leaves out.
#[derive(Clone, Debug, Default)]
pub(super) struct LeftOut<'p>(pub(super) Vec<(&'p str, Id)>);

/// A pickle, seen as a tree.
pub(super) struct Tree<'p> {
    pub(super) pickle: &'p Pickle,
    /// What is a tensor or leads to one, by number.
    leading: HashSet<Id>,
}

/// The parts of a module that hold tensors and other modules, and are not part of a name.
const PARTS: [&str; 3] = ["_parameters", "_buffers", "_modules"];

/// What the modules of TorchScript's classes begin with.
const SCRIPT: &str = "__torch__";

/// Calls inside calls that only say a value's type; there is one, or two.
const TAGGED: usize = 8;

impl<'p> Tree<'p> {
    pub(super) fn new(pickle: &'p Pickle) -> Self {
        let mut tree = Self { pickle, leading: HashSet::new() };
        tree.leading = tree.led();
        tree
    }

    /// Whether a value is a tensor, or has one somewhere in it.
    pub(super) fn leads(&self, id: Id) -> bool {
        self.leading.contains(&id)
    }

    /// Walks from every tensor up to all that it lies in, so that each value and each way is passed once, cycles and all.
    fn led(&self) -> HashSet<Id> {
        let mut parents: HashMap<Id, Vec<Id>> = HashMap::new();
        let mut waiting = Vec::new();
        let mut led = HashSet::new();
        for (id, _) in self.pickle.all() {
            if is_tensor(self.pickle, id) {
                led.insert(id);
                waiting.push(id);
            }
            for child in self.children(id) {
                parents.entry(child.id).or_default().push(id);
            }
        }
        while let Some(id) = waiting.pop() {
            let more = parents.remove(&id).unwrap_or_default();
            waiting.extend(more.into_iter().filter(|&parent| led.insert(parent)));
        }
        led
    }

    /// Tensors in a value and below, each once.
    pub(super) fn count(&self, from: Id) -> usize {
        let (mut seen, mut waiting, mut tensors) = (HashSet::from([from]), vec![from], 0);
        while let Some(id) = waiting.pop() {
            tensors += usize::from(is_tensor(self.pickle, id));
            let below = self.children(id).into_iter().map(|child| child.id);
            waiting.extend(below.filter(|&id| self.leads(id) && seen.insert(id)));
        }
        tensors
    }

    /// What lies in a value, by name; nothing lies in a tensor.
    pub(super) fn children(&self, id: Id) -> Vec<Child<'p>> {
        let id = self.untagged(id);
        match self.pickle.get(id) {
            Value::Dict(pairs) => self.named(pairs.iter().copied()),
            Value::List(items) => numbered(items),
            Value::Tuple(items) => numbered(items),
            Value::Object(object) if !is_tensor(self.pickle, id) => self.of_object(object),
            _ => Vec::new(),
        }
    }

    /// The value in TorchScript's calls that make a typed list of one, or only say its type: the first argument.
    fn untagged(&self, id: Id) -> Id {
        let mut id = id;
        for _ in 0..TAGGED {
            let Some(object) = self.pickle.object(id) else { break };
            match (self.pickle.global(object.callable), self.pickle.sequence(object.arguments)) {
                (Some(("torch.jit._pickle", _)), Some([inner, ..])) => id = *inner,
                _ => break,
            }
        }
        id
    }

    fn of_object(&self, object: &'p Object) -> Vec<Child<'p>> {
        if let Some(module) = self.module(object) {
            return module.0;
        }
        let mut children = self.named(self.ordered(object).into_iter().chain(object.pairs.iter().copied()));
        children.extend(numbered(&object.items));
        if children.is_empty() {
            children = self.state(object);
        }
        children
    }

    /// Keys and values that an `OrderedDict` of Python 2 is made with.
    fn ordered(&self, object: &Object) -> Vec<(Id, Id)> {
        let pickle = self.pickle;
        if !matches!(pickle.global(object.callable), Some(("collections", _))) {
            return Vec::new();
        }
        let pairs = match pickle.sequence(object.arguments) {
            Some(&[pairs]) => pickle.sequence(pairs).unwrap_or_default(),
            _ => &[],
        };
        let pair = |&pair: &Id| match pickle.sequence(pair) {
            Some(&[key, value]) => Some((key, value)),
            _ => None,
        };
        pairs.iter().filter_map(pair).collect()
    }

    /// The attributes that an object's states set.
    fn state(&self, object: &'p Object) -> Vec<Child<'p>> {
        let dict = |id: Id| match self.pickle.get(id) {
            Value::Dict(pairs) => Some(pairs.as_slice()),
            Value::None => Some(&[][..]),
            _ => None,
        };
        let mut attributes: Vec<(Id, Id)> = Vec::new();
        for &state in &object.states {
            match self.pickle.get(state) {
                Value::Dict(pairs) => attributes.extend(pairs),
                // Attributes in a dict, and those in slots.
                Value::Tuple(two) => match **two {
                    [plain, slots] if dict(plain).is_some() && dict(slots).is_some() => {
                        attributes.extend(dict(plain).unwrap_or_default());
                        attributes.extend(dict(slots).unwrap_or_default());
                    }
                    _ => return numbered(two),
                },
                Value::List(items) => return numbered(items),
                _ => {}
            }
        }
        self.named(attributes.into_iter())
    }

    /// What `state_dict` of a module lists, and which of its tensors it does not; `None` for what is no module.
    pub(super) fn module(&self, object: &'p Object) -> Option<(Vec<Child<'p>>, LeftOut<'p>)> {
        let is_part = |child: &Child<'p>| matches!(child.name, Name::Text(name) if PARTS.contains(&name));
        let attributes = self.state(object);
        if self.pickle.global(object.callable).is_some_and(|(module, _)| module.starts_with(SCRIPT)) {
            return Some(self.script(attributes));
        }
        if !attributes.iter().any(is_part) {
            return None;
        }
        let passing: HashSet<&str> = self.passing(&attributes);
        let (mut listed, mut left) = (Vec::new(), Vec::new());
        for part in PARTS {
            let Some(found) = attributes.iter().find(|child| child.name == Name::Text(part)) else { continue };
            for child in self.pairs(found.id) {
                match child.name {
                    Name::Text(name) if part == "_buffers" && passing.contains(name) => left.push((name, child.id)),
                    _ => listed.push(child),
                }
            }
        }
        left.extend(attributes.iter().filter(|&child| !is_part(child)).filter_map(|child| match child.name {
            Name::Text(name) => Some((name, child.id)),
            _ => None,
        }));
        left.retain(|&(_, id)| is_tensor(self.pickle, id));
        Some((listed, LeftOut(left)))
    }

    /// The same of a module of TorchScript. Its parameters and buffers are attributes like any others, and so are its modules; what
    /// lies in lists and dicts is neither.
    fn script(&self, attributes: Vec<Child<'p>>) -> (Vec<Child<'p>>, LeftOut<'p>) {
        let is_listed = |child: &Child<'p>| matches!(self.pickle.get(self.untagged(child.id)), Value::Object(_));
        let (listed, left): (Vec<_>, Vec<_>) = attributes.into_iter().partition(is_listed);
        let named = |child: Child<'p>| match child.name {
            Name::Text(name) if self.leads(child.id) => Some((name, child.id)),
            _ => None,
        };
        (listed, LeftOut(left.into_iter().filter_map(named).collect()))
    }

    /// Buffers that are not kept.
    fn passing(&self, attributes: &[Child<'p>]) -> HashSet<&'p str> {
        let set = attributes.iter().find(|child| child.name == Name::Text("_non_persistent_buffers_set"));
        let items = set.map(|set| match self.pickle.get(set.id) {
            Value::Set(items) => items.as_slice(),
            // A set of the protocols before 4 is made of a list.
            Value::Object(object) => self
                .pickle
                .sequence(object.arguments)
                .and_then(<[Id]>::first)
                .and_then(|&list| self.pickle.sequence(list))
                .unwrap_or_default(),
            _ => &[],
        });
        items.unwrap_or_default().iter().filter_map(|&item| self.pickle.text(item)).collect()
    }

    /// What lies in a dict or in an object that is one.
    fn pairs(&self, id: Id) -> Vec<Child<'p>> {
        match self.pickle.get(id) {
            Value::Dict(pairs) => self.named(pairs.iter().copied()),
            Value::Object(object) => self.named(self.ordered(object).into_iter().chain(object.pairs.iter().copied())),
            _ => Vec::new(),
        }
    }

    /// Keys become names; where one comes twice, its place is the first and its value the last, as in Python.
    fn named(&self, pairs: impl Iterator<Item = (Id, Id)>) -> Vec<Child<'p>> {
        let mut children: Vec<Child<'p>> = Vec::new();
        let mut places: HashMap<Name<'p>, usize> = HashMap::new();
        for (key, id) in pairs {
            let name = match self.pickle.get(key) {
                Value::Text(text) => Name::Text(text),
                Value::Int(number) => Name::Number(*number),
                _ => Name::Other(key),
            };
            if let Some(child) = places.get(&name).and_then(|&at| children.get_mut(at)) {
                child.id = id;
            } else {
                places.insert(name, children.len());
                children.push(Child { name, id });
            }
        }
        children
    }
}

fn numbered<'p>(items: &[Id]) -> Vec<Child<'p>> {
    items.iter().zip(0..).map(|(&id, at)| Child { name: Name::Number(at), id }).collect()
}
