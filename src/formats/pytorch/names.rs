//! Every tensor under a value, by a name with dots: keys, places and attributes on the way to it.

use super::choose::Choice;
use super::rebuild::is_tensor;
use super::tree::{Child, Name, Tree};
use crate::formats::Limits;
use crate::formats::pickle::{Id, Value};
use std::collections::HashSet;
use std::fmt::Write;

/// Containers inside one another that are followed.
const DEPTH: usize = 1000;

/// Times that values may be passed, and tensors named, for each that there is; and how often in any case. Layers that a model uses
/// again are named again, but a pickle can fold 2^1000 ways to one tensor into a page.
const TIMES: usize = 64;
const FREE: usize = 100_000;

/// The name of a tensor that was saved by itself.
const LONE: &str = "tensor";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Names and values, in the order of the pickle.
    pub(super) named: Vec<(String, Id)>,
    /// What was left alone.
    pub(super) left: Left,
}

/// What is left alone: how many, and the first with what it is.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) count: usize,
    pub(super) first: Option<(String, String)>,
}

impl Left {
    pub(super) fn add(&mut self, name: &str, what: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| (name.to_owned(), what.to_owned()));
    }
}

/// A container on the way.
struct Frame<'p> {
    id: Id,
    children: std::vec::IntoIter<Child<'p>>,
    /// How long the name was before it.
    before: usize,
}

struct Walk<'t, 'p> {
    tree: &'t Tree<'p>,
    limits: &'t Limits,
    out: Listing,
    path: String,
    frames: Vec<Frame<'p>>,
    inside: HashSet<Id>,
    steps: usize,
    /// The most steps that are taken.
    most: usize,
    text: u64,
}

/// Lists all tensors under what was chosen.
pub(super) fn list(tree: &Tree<'_>, choice: &Choice<'_>, limits: &Limits) -> Result<Listing, String> {
    let mut walk = Walk {
        tree,
        limits,
        out: Listing::default(),
        path: String::new(),
        frames: Vec::new(),
        inside: HashSet::new(),
        steps: 0,
        most: tree.pickle.len().saturating_mul(TIMES).saturating_add(FREE),
        text: 0,
    };
    if is_tensor(tree.pickle, choice.root) {
        walk.path.push_str(LONE);
        walk.take(choice.root)?;
        return Ok(walk.out);
    }
    walk.enter(choice.root)?;
    if let Some(top) = walk.frames.last_mut() {
        let kept = |child: &Child<'_>| !matches!(child.name, Name::Text(key) if choice.without.contains(key));
        let kept: Vec<Child<'_>> = std::mem::take(&mut top.children).filter(kept).collect();
        top.children = kept.into_iter();
    }
    walk.run()?;
    Ok(walk.out)
}

impl Walk<'_, '_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(frame) = self.frames.last_mut() {
            let before = frame.before;
            let Some(child) = frame.children.next() else {
                self.inside.remove(&frame.id);
                self.frames.pop();
                continue;
            };
            self.path.truncate(before);
            self.step(1)?;
            if !self.tree.leads(child.id) {
                continue;
            }
            if before > 0 {
                self.path.push('.');
            }
            match child.name {
                Name::Text(text) => self.path.push_str(text),
                // Writing to a text cannot fail.
                Name::Number(number) => drop(write!(self.path, "{number}")),
                Name::Other(key) => {
                    let kind = self.tree.pickle.get(key).kind();
                    self.path.push('…');
                    self.out.left.add(&self.path, &format!("below a key that is {kind}"));
                    continue;
                }
            }
            if is_tensor(self.tree.pickle, child.id) {
                self.take(child.id)?;
            } else {
                self.enter(child.id)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, steps: usize) -> Result<(), String> {
        self.steps += steps;
        if self.steps > self.most {
            return Err(format!(
                "there are more than {} ways through its {} values, which are the most that are followed; save its state_dict",
                self.most,
                self.tree.pickle.len()
            ));
        }
        Ok(())
    }

    fn take(&mut self, id: Id) -> Result<(), String> {
        self.text += self.path.len() as u64;
        if self.out.named.len() >= self.limits.tensors || self.text > self.limits.header_bytes {
            return Err(format!(
                "it names more than {} tensors, or their names take more than {} bytes, which are the most that are read",
                self.limits.tensors, self.limits.header_bytes
            ));
        }
        self.out.named.push((self.path.clone(), id));
        Ok(())
    }

    /// Goes into a container. One that lies in itself is not gone into again.
    fn enter(&mut self, id: Id) -> Result<(), String> {
        if !self.inside.insert(id) {
            return Ok(());
        }
        if self.frames.len() >= DEPTH {
            return Err(format!("its tensors lie more than {DEPTH} containers deep; save its state_dict"));
        }
        if let Value::Object(object) = self.tree.pickle.get(id)
            && let Some((_, left)) = self.tree.module(object)
        {
            for (name, _) in left.0 {
                let dot = if self.path.is_empty() { "" } else { "." };
                let name = format!("{}{dot}{name}", self.path);
                self.out.left.add(&name, "an attribute or buffer of a module that is not in its state_dict");
            }
        }
        let children = self.tree.children(id);
        self.step(children.len())?;
        self.frames.push(Frame { id, children: children.into_iter(), before: self.path.len() });
        Ok(())
    }
}
