//! The walk through a ModelProto: graphs, their nodes, the graphs in those, and every tensor on the way.

use super::data::{self, Placed, Room};
use super::tensor::{self, MOST_NAME, Proto, Stranger, pair_of};
use super::wire::{Message, Value, Wire};
use super::{AGAIN, Head, Outside, uses, with_first};
use crate::formats::annex::Annex;
use crate::formats::error::{Error, ErrorKind, quoted};
use crate::formats::{Entry, Limits, Source, Table, Use};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// Graphs inside one another; protobuf's own readers stop at about as many (100 messages, three for each graph).
const DEEPEST: usize = 32;

/// Graphs and functions of one model at most; the largest exports have some hundreds.
const MOST_GRAPHS: usize = 1 << 16;

/// Bytes of the path that a graph is called by; one with a longer path is called by its number.
const MOST_PATH: usize = 400;

/// Bytes of a text about the model at most; longer ones are left out of what is shown.
const MOST_TEXT: u64 = 1 << 20;

/// Which graph of the model a name belongs to, by its position in the walk.
type Scope = usize;

/// Reads a model; see [`super::read_table`].
pub(super) fn read(source: &Source, limits: &Limits) -> Result<Table, Error> {
    let mut walk = Walk {
        wire: Wire::new(source, limits),
        limits,
        annex: Annex::new(source.len()),
        scopes: Vec::new(),
        found: Vec::new(),
        taken: HashSet::new(),
        left_alone: BTreeMap::new(),
        widened: (0, String::new()),
        right: HashSet::new(),
        spread: HashSet::new(),
        handed_on: Vec::new(),
        uses: BTreeMap::new(),
        metadata: BTreeMap::new(),
        opsets: Vec::new(),
    };
    walk.model(0..source.len())?;
    walk.table()
}

/// A tensor with the graph it was found in.
enum Found {
    Here(Entry),
    Outside(Outside),
}

impl Found {
    fn name(&self) -> &str {
        match self {
            Self::Here(entry) => &entry.name,
            Self::Outside(outside) => &outside.name,
        }
    }

    fn name_mut(&mut self) -> &mut String {
        match self {
            Self::Here(entry) => &mut entry.name,
            Self::Outside(outside) => &mut outside.name,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Here(entry) => &entry.shape,
            Self::Outside(outside) => &outside.shape,
        }
    }

    fn rank(&self) -> usize {
        self.shape().len()
    }

    /// Whether at most one of its dimensions is of more than one element.
    fn is_vector(&self) -> bool {
        self.shape().iter().filter(|&&length| length != 1).count() <= 1
    }
}

struct Walk<'s> {
    wire: Wire<'s>,
    limits: &'s Limits,
    annex: Annex,
    /// What each graph is called: empty for the main one.
    scopes: Vec<String>,
    found: Vec<(Scope, Found)>,
    /// Names of a graph that are taken.
    taken: HashSet<(Scope, String)>,
    /// What was left alone: how many, and the name of the first.
    left_alone: BTreeMap<Stranger, (usize, String)>,
    /// Integers of fewer than 8 bits, likewise.
    widened: (usize, String),
    /// Names of the right factors of MatMul, and of Gemm where it is not turned, in whichever graph.
    right: HashSet<String>,
    /// Names of what is taken element by element, in whichever graph.
    spread: HashSet<String>,
    /// Inputs that some node hands on as they are, each with what it is called from there on, in order.
    handed_on: Vec<(String, String)>,
    /// What the inputs of nodes are for, in whichever graph.
    uses: BTreeMap<String, Use>,
    metadata: BTreeMap<String, String>,
    opsets: Vec<String>,
}

impl Walk<'_> {
    fn model(&mut self, mut message: Message) -> Result<(), Error> {
        let place = "the model";
        let (mut graph, mut functions) = (None, 0_usize);
        let (mut producer, mut version) = (None, None);
        while let Some(field) = self.wire.next(&mut message, place)? {
            match field.number {
                1 => {
                    let version = self.wire.integer(&field.value, "ir_version", place)?;
                    self.metadata.insert("onnx.ir_version".into(), version.to_string());
                }
                2 => producer = self.shown(field.value, "producer_name", place)?,
                3 => version = self.shown(field.value, "producer_version", place)?,
                4 => self.keep("onnx.domain", field.value, place)?,
                5 => {
                    let version = self.wire.integer(&field.value, "model_version", place)?.cast_signed();
                    self.metadata.insert("onnx.model_version".into(), version.to_string());
                }
                6 => self.keep("onnx.doc_string", field.value, place)?,
                7 => {
                    let range = self.wire.bytes(field.value, "graph", place)?;
                    self.wire.once(&mut graph, (), "graph", place)?;
                    self.graph(range, String::new(), 1)?;
                }
                8 => self.opset(field.value, place)?,
                14 => self.metadata_prop(field.value, place)?,
                25 => {
                    let range = self.wire.bytes(field.value, "functions", place)?;
                    self.function(range, functions)?;
                    functions += 1;
                }
                _ => {}
            }
        }
        if graph.is_none() {
            return Err(self.wire.wrong(place, format!("it has no graph; {AGAIN}")));
        }
        let said = [producer, version].into_iter().flatten().filter(|text| !text.is_empty());
        let producer = said.collect::<Vec<_>>().join(" ");
        if !producer.is_empty() {
            self.metadata.insert("onnx.producer".into(), producer);
        }
        if !self.opsets.is_empty() {
            self.metadata.insert("onnx.opset".into(), self.opsets.join(", "));
        }
        Ok(())
    }

    /// A text that is shown; `None` when it is too long for that.
    fn shown(&mut self, value: Value, field: &str, place: &str) -> Result<Option<String>, Error> {
        let range = self.wire.bytes(value, field, place)?;
        if range.end - range.start > MOST_TEXT {
            return Ok(None);
        }
        self.wire.shown(range, place).map(Some)
    }

    fn keep(&mut self, key: &str, value: Value, place: &str) -> Result<(), Error> {
        if let Some(text) = self.shown(value, key, place)?.filter(|text| !text.is_empty()) {
            self.metadata.insert(key.into(), text);
        }
        Ok(())
    }

    fn metadata_prop(&mut self, value: Value, place: &str) -> Result<(), Error> {
        if self.metadata.len() >= self.limits.texts {
            return Err(Error::new(self.wire.source().path(), ErrorKind::TooManyTexts { allowed: self.limits.texts }));
        }
        let pair = self.wire.bytes(value, "metadata_props", place)?;
        let (key, text) = pair_of(&mut self.wire, pair, place)?;
        let key = self.wire.text(key, MOST_NAME, place)?;
        self.keep(&key, Value::Bytes(text), place)
    }

    /// The version of a set of operators.
    fn opset(&mut self, value: Value, place: &str) -> Result<(), Error> {
        let mut message = self.wire.bytes(value, "opset_import", place)?;
        let (mut domain, mut version) = (String::new(), 0);
        while let Some(field) = self.wire.next(&mut message, place)? {
            match field.number {
                1 => domain = self.name(field.value, "domain", place)?,
                2 => version = self.wire.integer(&field.value, "version", place)?,
                _ => {}
            }
        }
        let domain = if domain.is_empty() { "ai.onnx" } else { &domain };
        if self.opsets.len() < self.limits.rank {
            self.opsets.push(format!("{domain} {}", version.cast_signed()));
        }
        Ok(())
    }

    fn name(&mut self, value: Value, field: &str, place: &str) -> Result<String, Error> {
        let range = self.wire.bytes(value, field, place)?;
        self.wire.text(range, MOST_NAME, place)
    }

    /// A function of the model: only its nodes can hold tensors.
    fn function(&mut self, message: Message, position: usize) -> Result<(), Error> {
        let place = format!("function {position}");
        let mut name = place.clone();
        let mut rest = message.clone();
        while let Some(field) = self.wire.next(&mut rest, &place)? {
            if field.number == 1 {
                name = self.name(field.value, "its name", &place)?;
            }
        }
        let scope = self.scope(name)?;
        self.nodes(message, scope, 7, 1)
    }

    fn scope(&mut self, name: String) -> Result<Scope, Error> {
        let scope = self.scopes.len();
        if scope == MOST_GRAPHS {
            let what = format!(
                "it has more than {MOST_GRAPHS} graphs and functions, which are the most that are read; {AGAIN}"
            );
            return Err(self.wire.wrong("the model", what));
        }
        self.scopes.push(if name.len() > MOST_PATH { format!("graph {scope}") } else { name });
        Ok(scope)
    }

    fn scope_name(&self, scope: Scope) -> &str {
        self.scopes.get(scope).map_or("", String::as_str)
    }

    /// A graph: its initializers, then those in its nodes. `depth` counts the graphs around it, and itself.
    fn graph(&mut self, message: Message, name: String, depth: usize) -> Result<(), Error> {
        let place = if name.is_empty() { "the graph".to_owned() } else { format!("graph {}", quoted(&name)) };
        if depth > DEEPEST {
            let what = format!("it lies in {} others, at most {} are gone into; {AGAIN}", depth - 1, DEEPEST - 1);
            return Err(self.wire.wrong(&place, what));
        }
        let scope = self.scope(name)?;
        let mut rest = message.clone();
        let mut position = 0_usize;
        while let Some(field) = self.wire.next(&mut rest, &place)? {
            match field.number {
                5 => {
                    let range = self.wire.bytes(field.value, "initializer", &place)?;
                    self.initializer(range, scope, position)?;
                    position += 1;
                }
                15 => {
                    let range = self.wire.bytes(field.value, "sparse_initializer", &place)?;
                    self.sparse(range, &place)?;
                }
                2 if scope == 0 => self.keep("onnx.graph", field.value, &place)?,
                _ => {}
            }
        }
        self.nodes(message, scope, 1, depth)
    }

    fn initializer(&mut self, message: Message, scope: Scope, position: usize) -> Result<(), Error> {
        let place = match self.scope_name(scope) {
            "" => format!("initializer {position}"),
            name => format!("initializer {position} of graph {}", quoted(name)),
        };
        let proto = Proto::read(&mut self.wire, message, &place, self.limits)?;
        if proto.name.is_empty() {
            return Err(self.wire.wrong(&place, format!("it has no name; {AGAIN}")));
        }
        self.take(proto, scope)
    }

    /// Takes in a tensor under its name.
    fn take(&mut self, proto: Proto, scope: Scope) -> Result<(), Error> {
        if self.found.len() >= self.limits.tensors {
            return Err(Error::new(
                self.wire.source().path(),
                ErrorKind::TooManyTensors { allowed: self.limits.tensors },
            ));
        }
        let place = proto.place();
        if !self.taken.insert((scope, proto.name.clone())) {
            let what =
                format!("its graph has two tensors of this name, and readers disagree on which one counts; {AGAIN}");
            return Err(self.wire.wrong(&place, what));
        }
        let narrow = matches!(tensor::kind(proto.data_type), tensor::Kind::Narrow { .. });
        let name = proto.name.clone();
        let mut room = Room { annex: &mut self.annex, limits: self.limits };
        match data::place(&mut self.wire, proto, &mut room)? {
            Placed::Here(entry) => self.found.push((scope, Found::Here(entry))),
            Placed::Outside(outside) => self.found.push((scope, Found::Outside(outside))),
            Placed::LeftAlone(stranger) => {
                self.leave(stranger, name);
                return Ok(());
            }
        }
        if narrow {
            count(&mut self.widened, name);
        }
        Ok(())
    }

    fn leave(&mut self, stranger: Stranger, name: String) {
        // Types that nobody knows are told together, by the first.
        let newer = |known: &Stranger| matches!((known, stranger), (Stranger::Newer(_), Stranger::Newer(_)));
        let stranger = self.left_alone.keys().copied().find(newer).unwrap_or(stranger);
        count(self.left_alone.entry(stranger).or_default(), name);
    }

    /// A sparse tensor is left alone by the name of its values.
    fn sparse(&mut self, mut message: Message, place: &str) -> Result<(), Error> {
        let mut name = String::new();
        while let Some(field) = self.wire.next(&mut message, place)? {
            if field.number == 1 {
                let values = self.wire.bytes(field.value, "the values of a sparse tensor", place)?;
                name = Proto::read(&mut self.wire, values, place, self.limits)?.name;
            }
        }
        self.leave(Stranger::Sparse, name);
        Ok(())
    }

    /// All nodes of a graph or function, which has them in field `number`.
    fn nodes(&mut self, mut message: Message, scope: Scope, number: u64, depth: usize) -> Result<(), Error> {
        let place = match self.scope_name(scope) {
            "" => "the graph".to_owned(),
            name => format!("graph {}", quoted(name)),
        };
        while let Some(field) = self.wire.next(&mut message, &place)? {
            if field.number == number {
                let range = self.wire.bytes(field.value, "node", &place)?;
                self.node(range, scope, &place, depth)?;
            }
        }
        Ok(())
    }

    fn node(&mut self, message: Message, scope: Scope, graph: &str, depth: usize) -> Result<(), Error> {
        let node = Node::read(&mut self.wire, message.clone(), graph)?;
        let mut turned = false;
        if node.attributes {
            let place = format!("an attribute of node {}", quoted(&node.name));
            let mut rest = message;
            while let Some(field) = self.wire.next(&mut rest, graph)? {
                if field.number == 5 {
                    let range = self.wire.bytes(field.value, "attribute", graph)?;
                    turned |= self.attribute(range, &node, scope, depth, &place)?;
                }
            }
        }
        let right = match node.op.as_str() {
            "MatMul" => true,
            "Gemm" => !turned,
            _ => false,
        };
        if let (true, Some(input), Some(output)) = (uses::hands_on(&node.op), node.inputs.first(), &node.output) {
            let [input, output] = [input, output].map(|name| self.wire.text(name.clone(), MOST_NAME, graph));
            self.handed_on.push((input?, output?));
        }
        for (position, input) in node.inputs.iter().enumerate() {
            let used = uses::of(&node.op, position);
            let (right, spread) = (right && position == 1, uses::is_elementwise(&node.op));
            if used.is_none() && !right && !spread {
                continue;
            }
            let name = self.wire.text(input.clone(), MOST_NAME, graph)?;
            if spread {
                self.spread.insert(name.clone());
            }
            if let Some(used) = used.filter(|_| !name.is_empty()) {
                // One that is a scale anywhere is one everywhere.
                let known = self.uses.entry(name.clone()).or_insert(used);
                *known = used.max(*known);
            }
            if right {
                self.right.insert(name);
            }
        }
        Ok(())
    }

    /// One attribute of a node; whether it is a Gemm's word that its right factor is turned.
    fn attribute(
        &mut self,
        mut message: Message,
        node: &Node,
        scope: Scope,
        depth: usize,
        place: &str,
    ) -> Result<bool, Error> {
        let (mut name, mut integer, mut value) = (String::new(), 0, None);
        while let Some(field) = self.wire.next(&mut message, place)? {
            match field.number {
                1 => name = self.name(field.value, "its name", place)?,
                3 => integer = self.wire.integer(&field.value, "i", place)?,
                5 => {
                    let range = self.wire.bytes(field.value, "t", place)?;
                    self.wire.once(&mut value, range, "t", place)?;
                }
                6 | 11 => {
                    let range = self.wire.bytes(field.value, "a graph", place)?;
                    let inner = match self.scope_name(scope) {
                        "" => format!("{}.{name}", node.name),
                        outer => format!("{outer}/{}.{name}", node.name),
                    };
                    self.graph(range, inner, depth + 1)?;
                }
                22 if node.op == "Constant" => {
                    let range = self.wire.bytes(field.value, "sparse_tensor", place)?;
                    self.sparse(range, place)?;
                }
                _ => {}
            }
        }
        if node.op == "Constant" && name == "value_floats" {
            let output = node.output.clone().map(|output| self.wire.text(output, MOST_NAME, place));
            self.leave(Stranger::Inline, output.transpose()?.unwrap_or_default());
        }
        if let Some(range) = value.filter(|_| node.op == "Constant" && name == "value") {
            self.constant(range, node, scope, place)?;
        }
        Ok(name == "transB" && integer != 0)
    }

    /// The tensor of a Constant node, when it can be a weight: real numbers in one dimension or more.
    fn constant(&mut self, message: Message, node: &Node, scope: Scope, place: &str) -> Result<(), Error> {
        let mut proto = Proto::read(&mut self.wire, message, place, self.limits)?;
        let float = matches!(tensor::kind(proto.data_type), tensor::Kind::Plain(dtype) if dtype.is_float());
        let Some(output) = node.output.clone().filter(|_| float && !proto.shape.is_empty()) else { return Ok(()) };
        proto.name = self.wire.text(output, MOST_NAME, place)?;
        if proto.name.is_empty() {
            return Ok(());
        }
        self.take(proto, scope)
    }
}

/// One more, by its name when it is the first.
fn count(counter: &mut (usize, String), name: String) {
    if counter.0 == 0 {
        counter.1 = name;
    }
    counter.0 += 1;
}

/// What a NodeProto says.
#[derive(Default)]
struct Node {
    op: String,
    /// Its name, or that of its first output when it has none.
    name: String,
    /// Where the names of its first inputs lie.
    inputs: Vec<Range<u64>>,
    /// Where the name of its first output lies.
    output: Option<Range<u64>>,
    attributes: bool,
}

impl Node {
    fn read(wire: &mut Wire<'_>, mut message: Message, graph: &str) -> Result<Self, Error> {
        let mut node = Self::default();
        let (mut name, mut op) = (None, None);
        while let Some(field) = wire.next(&mut message, graph)? {
            match field.number {
                1 => {
                    let input = wire.bytes(field.value, "input", graph)?;
                    if node.inputs.len() < uses::INPUTS {
                        node.inputs.push(input);
                    }
                }
                2 => {
                    let output = wire.bytes(field.value, "output", graph)?;
                    node.output.get_or_insert(output);
                }
                3 => name = Some(wire.bytes(field.value, "the name of a node", graph)?),
                4 => op = Some(wire.bytes(field.value, "op_type", graph)?),
                5 => node.attributes = true,
                _ => {}
            }
        }
        node.op = op.map_or(Ok(String::new()), |op| wire.text(op, MOST_NAME, graph))?;
        let name = name.filter(|name| !name.is_empty()).or_else(|| node.output.clone());
        // Only who has attributes is spoken of.
        if let Some(name) = name.filter(|_| node.attributes) {
            node.name = wire.text(name, MOST_NAME, graph)?;
        }
        Ok(node)
    }
}

impl Walk<'_> {
    /// What was found, each tensor under a name of its own, with what has to be said of it.
    fn table(mut self) -> Result<Table, Error> {
        let mut notes = Vec::from_iter(self.orientation());
        self.tell_apart(&mut notes)?;
        for (stranger, (count, first)) in &self.left_alone {
            notes.push(format!("{} left alone: {}", with_first(*count, first), stranger.why()));
        }
        if self.widened.0 > 0 {
            let what = with_first(self.widened.0, &self.widened.1);
            notes.push(format!("{what} of integers of fewer than 8 bits; each of them is shown in a byte of its own"));
        }
        if self.found.is_empty() {
            let why = if notes.is_empty() {
                "it has no initializers; export the model with its weights".to_owned()
            } else {
                format!("it has no tensor that can be read: {}", notes.join("; "))
            };
            return Err(self.wire.wrong("the graph", why));
        }
        // A graph's nodes stand in order, so the last hands on to what is known already.
        for (input, output) in std::mem::take(&mut self.handed_on).into_iter().rev() {
            if self.spread.contains(&output) {
                self.spread.insert(input.clone());
            }
            if let Some(&used) = self.uses.get(&output) {
                let known = self.uses.entry(input).or_insert(used);
                *known = used.max(*known);
            }
        }
        let names: HashSet<&str> = self.found.iter().map(|(_, found)| found.name()).collect();
        self.uses.retain(|name, _| names.contains(name.as_str()));
        let vectors = self.found.iter().map(|(_, found)| found).filter(|found| found.is_vector());
        for found in vectors.filter(|found| self.spread.contains(found.name())) {
            self.uses.entry(found.name().to_owned()).or_insert(Use::Bias);
        }
        let (uses, annex) = (self.uses, self.annex);
        let mut table = Table { metadata: self.metadata, annex, uses, notes, ..Table::default() };
        let mut head = Head::default();
        for (_, found) in self.found {
            match found {
                Found::Here(entry) => table.tensors.push(entry),
                Found::Outside(outside) => head.outside.push(outside),
            }
        }
        table.onnx = (!head.outside.is_empty()).then(|| Box::new(head));
        Ok(table)
    }

    /// A note when matrices lie the other way round than nearly all other formats have them.
    fn orientation(&self) -> Option<String> {
        let mut right = (0, String::new());
        for (_, found) in self.found.iter().filter(|(_, found)| found.rank() >= 2) {
            if self.right.contains(found.name()) {
                count(&mut right, found.name().to_owned());
            }
        }
        let what = with_first(right.0, &right.1);
        (right.0 > 0).then(|| {
            format!(
                "{what} multiplied from the right (MatMul, or Gemm without transB): a row holds the weights of one input, not of one output, so what goes by row goes by input"
            )
        })
    }

    /// Branches of a graph may use one name for different tensors; the later ones get the name of their graph before it.
    fn tell_apart(&mut self, notes: &mut Vec<String>) -> Result<(), Error> {
        let mut names: HashSet<String> = HashSet::with_capacity(self.found.len());
        let mut renamed = (0, String::new());
        for (scope, found) in &mut self.found {
            if names.insert(found.name().to_owned()) {
                continue;
            }
            let old = found.name().to_owned();
            let outer = self.scopes.get(*scope).map_or("", String::as_str);
            let new = format!("{outer}/{old}");
            if !names.insert(new.clone()) {
                let what = format!(
                    "three graphs have a tensor of this name, and two of them are named {} themselves; {AGAIN}",
                    quoted(outer)
                );
                return Err(super::wrong(self.wire.source(), &tensor::place(&old), what));
            }
            *found.name_mut() = new;
            count(&mut renamed, old);
        }
        if renamed.0 > 0 {
            let what = with_first(renamed.0, &renamed.1);
            notes.push(format!("{what} named as one in another graph; the graph's name is put before it"));
        }
        Ok(())
    }
}
