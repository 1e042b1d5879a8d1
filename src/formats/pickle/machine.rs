//! The machine: one opcode after the other, each doing to plain values what it would do to Python's, as far as nothing is called.

use super::text;
use super::value::{Global, Id, Made, Object, Pickle, Value};
use super::{Fault, Input};
use crate::formats::error::printable;
use std::collections::HashMap;

/// What one pickle may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Values, an object counted as several; of about 32 bytes each, besides their texts, which are no longer than the file.
    pub values: usize,
    /// Values waiting on the stack.
    pub stack: usize,
    /// Values kept in the memo.
    pub memo: usize,
    /// Marks set and not yet taken back: containers begun inside one another.
    pub marks: usize,
}

impl Default for Bounds {
    /// A language model's checkpoint has thirty values a tensor; a thousand times a large one's.
    fn default() -> Self {
        Self { values: 8_000_000, stack: 8_000_000, memo: 8_000_000, marks: 1_000_000 }
    }
}

/// What an object counts for among the values.
const OBJECT: usize = 4;

/// The newest protocol there is.
const PROTOCOL: u8 = 5;

/// These come so often that there is one of each.
const NONE: Id = Id(0);
const FALSE: Id = Id(1);
const TRUE: Id = Id(2);
const EMPTY: Id = Id(3);

const NOT_ONE: &str = "the file is damaged, or this is not a pickle";

struct Machine<'b> {
    bounds: &'b Bounds,
    /// The byte of the opcode that is being obeyed.
    at: u64,
    values: Vec<Value>,
    spent: usize,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

/// Obeys opcodes until the one that stops.
pub(super) fn run(input: &mut Input<'_>, bounds: &Bounds) -> Result<Pickle, Fault> {
    let values = vec![Value::None, Value::Bool(false), Value::Bool(true), Value::Tuple(Box::default())];
    let spent = values.len();
    let mut machine =
        Machine { bounds, at: 0, values, spent, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        machine.at = input.at();
        let opcode = input.byte()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Pickle { values: machine.values, root });
        }
        machine.obey(opcode, input)?;
    }
}

impl Machine<'_> {
    fn obey(&mut self, opcode: u8, input: &mut Input<'_>) -> Result<(), Fault> {
        if let Some(value) = self.plain(opcode, input)? {
            return self.push_new(value);
        }
        match opcode {
            0x80 => self.protocol(input.byte()?),
            0x95 => input.fixed().and_then(|length| input.check(u64::from_le_bytes(length))),
            b'N' => self.push(NONE),
            0x88 => self.push(TRUE),
            0x89 => self.push(FALSE),
            b')' => self.push(EMPTY),
            b'I' => self.number_or_truth(input),
            b'(' => self.mark(),
            b'0' => self.drop_top(),
            b'1' => self.take().map(drop),
            b'2' => self.top().and_then(|top| self.push(top)),
            b'p' => self.index(input).and_then(|index| self.put(index)),
            b'q' => input.byte().and_then(|index| self.put(index.into())),
            b'r' => input.fixed().and_then(|index| self.put(u32::from_le_bytes(index))),
            0x94 => self.put(u32::try_from(self.memo.len()).unwrap_or(u32::MAX)),
            b'g' => self.index(input).and_then(|index| self.get(index)),
            b'h' => input.byte().and_then(|index| self.get(index.into())),
            b'j' => input.fixed().and_then(|index| self.get(u32::from_le_bytes(index))),
            b't' => self.take().and_then(|items| self.push_new(Value::Tuple(items.into()))),
            0x85..=0x87 => self.short_tuple(usize::from(opcode - 0x84)),
            b'l' => self.take().and_then(|items| self.push_new(Value::List(items))),
            b'd' => self.take().and_then(|items| self.paired(&items)).and_then(|p| self.push_new(Value::Dict(p))),
            0x91 => self.take().and_then(|items| self.push_new(Value::Set(items))),
            b'a' => self.pop().and_then(|item| self.append(vec![item])),
            b'e' | 0x90 => self.take().and_then(|items| self.append(items)),
            b's' => self.pop().and_then(|value| self.pop().map(|key| vec![key, value])).and_then(|p| self.set(&p)),
            b'u' => self.take().and_then(|items| self.set(&items)),
            _ => self.obey_caller(opcode, input),
        }
    }

    /// Opcodes that make one value out of nothing but what follows them.
    fn plain(&self, opcode: u8, input: &mut Input<'_>) -> Result<Option<Value>, Fault> {
        let value = match opcode {
            b'J' => Value::Int(i32::from_le_bytes(input.fixed()?).into()),
            b'K' => Value::Int(input.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(input.fixed()?).into()),
            b'L' => self.spelled(input.line()?, "an integer", text::integer)?,
            0x8a => text::long(input.counted::<1>()?),
            0x8b => text::long(input.counted::<4>()?),
            b'F' => self.spelled(input.line()?, "a float", text::float)?,
            b'G' => Value::Float(f64::from_be_bytes(input.fixed()?)),
            b'S' => {
                self.spelled(input.line()?, "a text in quotes", |line| text::literal(line).map(|t| text::old_text(&t)))?
            }
            b'T' => text::old_text(input.counted::<4>()?),
            b'U' => text::old_text(input.counted::<1>()?),
            b'V' => self.spelled(input.line()?, "a text with escapes", |line| {
                text::raw_unicode(line).map(|t| Value::Text(t.into()))
            })?,
            b'X' => text::new_text(input.counted::<4>()?),
            0x8c => text::new_text(input.counted::<1>()?),
            0x8d => text::new_text(input.counted::<8>()?),
            b'B' => Value::Bytes(input.counted::<4>()?.into()),
            b'C' => Value::Bytes(input.counted::<1>()?.into()),
            0x8e | 0x96 => Value::Bytes(input.counted::<8>()?.into()),
            b']' => Value::List(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            0x8f => Value::Set(Vec::new()),
            b'c' => self.global_lines(input)?,
            0x82 => Value::Extension(input.byte()?.into()),
            0x83 => Value::Extension(u16::from_le_bytes(input.fixed()?).into()),
            0x84 => Value::Extension(u32::from_le_bytes(input.fixed()?)),
            _ => return Ok(None),
        };
        Ok(Some(value))
    }

    /// Opcodes by which Python would import, call, or ask the program that reads.
    fn obey_caller(&mut self, opcode: u8, input: &mut Input<'_>) -> Result<(), Fault> {
        match opcode {
            0x93 => self.global_texts(),
            b'P' => {
                let id = text::old_text(input.line()?);
                let id = self.make(id)?;
                self.push_new(Value::Persistent(id))
            }
            b'Q' => self.pop().and_then(|id| self.push_new(Value::Persistent(id))),
            b'R' => self.pop().and_then(|arguments| self.call(Made::Called, arguments, None)),
            0x81 => self.pop().and_then(|arguments| self.call(Made::New, arguments, None)),
            0x92 => {
                let keywords = self.pop()?;
                let arguments = self.pop()?;
                self.call(Made::New, arguments, Some(keywords))
            }
            b'i' => {
                let class = self.global_lines(input)?;
                let class = self.make(class)?;
                let arguments = self.take()?;
                self.instance(class, arguments)
            }
            b'o' => {
                let mut arguments = self.take()?;
                if arguments.is_empty() {
                    return self.wrong(format!("an object has no class; {NOT_ONE}"));
                }
                let class = arguments.remove(0);
                self.instance(class, arguments)
            }
            b'b' => self.build(),
            // A buffer that may not be written to is the same bytes.
            0x98 => self.top().map(drop),
            0x97 => self.wrong("it refers to a buffer outside of the file; save it with an ordinary pickle"),
            other => self.wrong(format!("{other:#04x} is no opcode; {NOT_ONE}")),
        }
    }

    #[cold]
    fn wrong<T>(&self, what: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::Says { at: self.at, what: what.into() })
    }

    #[cold]
    fn full<T>(&self, what: &str) -> Result<T, Fault> {
        let (most, of) = match what {
            "stack" => (self.bounds.stack, "values on its stack"),
            "memo" => (self.bounds.memo, "values in its memo"),
            "marks" => (self.bounds.marks, "containers begun inside one another"),
            _ => (self.bounds.values, "values"),
        };
        self.wrong(format!("it has more than {most} {of}, which are the most that are read"))
    }

    fn make(&mut self, value: Value) -> Result<Id, Fault> {
        self.spent += if matches!(value, Value::Object(_)) { OBJECT } else { 1 };
        if self.spent > self.bounds.values {
            return self.full("values");
        }
        let Ok(id) = u32::try_from(self.values.len()) else { return self.full("values") };
        self.values.push(value);
        Ok(Id(id))
    }

    fn push_new(&mut self, value: Value) -> Result<(), Fault> {
        let id = self.make(value)?;
        self.push(id)
    }

    fn push(&mut self, id: Id) -> Result<(), Fault> {
        if self.stack.len() >= self.bounds.stack {
            return self.full("stack");
        }
        self.stack.push(id);
        Ok(())
    }

    /// How high the stack is at the last mark, below which only the mark itself leads.
    fn fence(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, Fault> {
        match self.stack.last() {
            Some(&top) if self.stack.len() > self.fence() => Ok(top),
            _ => self.wrong(format!("it takes a value from a stack that has none; {NOT_ONE}")),
        }
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The opcode that drops a value also takes back a mark when that is on top.
    fn drop_top(&mut self) -> Result<(), Fault> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn mark(&mut self) -> Result<(), Fault> {
        if self.marks.len() >= self.bounds.marks {
            return self.full("marks");
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// All values above the last mark, which is taken back.
    fn take(&mut self) -> Result<Vec<Id>, Fault> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark.min(self.stack.len()))),
            None => self.wrong(format!("it goes back to a mark that it did not set; {NOT_ONE}")),
        }
    }

    fn put(&mut self, index: u32) -> Result<(), Fault> {
        let top = self.top()?;
        if self.memo.insert(index, top).is_none() && self.memo.len() > self.bounds.memo {
            return self.full("memo");
        }
        Ok(())
    }

    fn get(&mut self, index: u32) -> Result<(), Fault> {
        match self.memo.get(&index) {
            Some(&id) => self.push(id),
            None => self.wrong(format!("it takes value {index} from its memo, which has none there; {NOT_ONE}")),
        }
    }

    /// A place in the memo that is written in digits.
    fn index(&self, input: &mut Input<'_>) -> Result<u32, Fault> {
        let line = input.line()?;
        let number = std::str::from_utf8(line).ok().and_then(|line| line.trim().parse().ok());
        number.map_or_else(|| self.misspelled(line, "a place in its memo"), Ok)
    }

    fn protocol(&self, protocol: u8) -> Result<(), Fault> {
        if protocol > PROTOCOL {
            return self.wrong(format!("it is of protocol {protocol}, and 0 to {PROTOCOL} are known; {NOT_ONE}"));
        }
        Ok(())
    }

    /// What a line spells.
    fn spelled(&self, line: &[u8], what: &str, read: impl FnOnce(&[u8]) -> Option<Value>) -> Result<Value, Fault> {
        read(line).map_or_else(|| self.misspelled(line, what), Ok)
    }

    #[cold]
    fn misspelled<T>(&self, line: &[u8], what: &str) -> Result<T, Fault> {
        let line = String::from_utf8_lossy(line.get(..200).unwrap_or(line)).into_owned();
        self.wrong(format!("\"{}\" is not {what}; {NOT_ONE}", printable(&line)))
    }

    fn number_or_truth(&mut self, input: &mut Input<'_>) -> Result<(), Fault> {
        match input.line()? {
            b"00" => self.push(FALSE),
            b"01" => self.push(TRUE),
            line => {
                let value = self.spelled(line, "an integer", text::integer)?;
                self.push_new(value)
            }
        }
    }

    fn global_lines(&self, input: &mut Input<'_>) -> Result<Value, Fault> {
        let mut name = || -> Result<Box<str>, Fault> {
            let line = input.line()?;
            std::str::from_utf8(line).map_or_else(|_| self.misspelled(line, "the name of a class"), |t| Ok(t.into()))
        };
        Ok(Value::Global(Box::new(Global { module: name()?, name: name()? })))
    }

    fn global_texts(&mut self) -> Result<(), Fault> {
        let (name, module) = (self.pop()?, self.pop()?);
        let text = |id: Id| match self.values.get(id.0 as usize) {
            Some(Value::Text(text)) => Ok(text.clone()),
            _ => self.wrong(format!("the name of a class or function is not a text; {NOT_ONE}")),
        };
        let global = Global { module: text(module)?, name: text(name)? };
        self.push_new(Value::Global(Box::new(global)))
    }

    fn short_tuple(&mut self, count: usize) -> Result<(), Fault> {
        let from = self.stack.len().checked_sub(count).filter(|&from| from >= self.fence());
        let Some(from) = from else {
            return self.wrong(format!("it takes {count} values from a stack that has less; {NOT_ONE}"));
        };
        let items = self.stack.split_off(from);
        self.push_new(Value::Tuple(items.into()))
    }

    /// Values in turn as keys and values.
    fn paired(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, Fault> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return self.wrong(format!("a dict is given a key without a value; {NOT_ONE}"));
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    /// Puts items at the end of what is on top.
    fn append(&mut self, items: Vec<Id>) -> Result<(), Fault> {
        let top = self.top()?;
        match self.values.get_mut(top.0 as usize) {
            Some(Value::List(list) | Value::Set(list)) => list.extend(items),
            Some(Value::Object(object)) => object.items.extend(items),
            other => {
                let kind = other.map_or("nothing", |value| value.kind());
                return self.wrong(format!("it appends to {kind}, not to a list; {NOT_ONE}"));
            }
        }
        Ok(())
    }

    /// Sets keys of what is on top.
    fn set(&mut self, items: &[Id]) -> Result<(), Fault> {
        let (top, pairs) = (self.top()?, self.paired(items)?);
        match self.values.get_mut(top.0 as usize) {
            Some(Value::Dict(dict)) => dict.extend(pairs),
            Some(Value::Object(object)) => object.pairs.extend(pairs),
            other => {
                let kind = other.map_or("nothing", |value| value.kind());
                return self.wrong(format!("it sets a key of {kind}, not of a dict; {NOT_ONE}"));
            }
        }
        Ok(())
    }

    /// What is on top would be called, and stands there as the object that this would give.
    fn call(&mut self, made: Made, arguments: Id, keywords: Option<Id>) -> Result<(), Fault> {
        let callable = self.pop()?;
        let object =
            Object { made, callable, arguments, keywords, items: Vec::new(), pairs: Vec::new(), states: Vec::new() };
        self.push_new(Value::Object(Box::new(object)))
    }

    fn instance(&mut self, class: Id, arguments: Vec<Id>) -> Result<(), Fault> {
        self.push(class)?;
        let arguments = self.make(Value::Tuple(arguments.into()))?;
        self.call(Made::Called, arguments, None)
    }

    fn build(&mut self) -> Result<(), Fault> {
        let (state, top) = (self.pop()?, self.top()?);
        match self.values.get_mut(top.0 as usize) {
            Some(Value::Object(object)) => object.states.push(state),
            other => {
                let kind = other.map_or("nothing", |value| value.kind());
                return self.wrong(format!("it gives a state to {kind}, not to an object; {NOT_ONE}"));
            }
        }
        Ok(())
    }
}
