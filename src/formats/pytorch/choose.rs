//! Which part of a checkpoint is the model: people save it beside the optimizer's state, counters and settings, under a key that
//! nearly everybody chooses from the same few.

use super::rebuild::{has_storage, is_tensor};
use super::tree::{Child, Name, Tree};
use crate::formats::error::quoted;
use crate::formats::pickle::{Id, Value};
use std::collections::HashSet;

/// Keys that lead to a model, the more telling first: as Lightning, timm, torchvision's references, `DeepSpeed`, Whisper, `BasicSR`,
/// YOLO, DINO and many a training loop write them.
const USUAL: [&str; 24] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model_weights",
    "model",
    "module",
    "net",
    "network",
    "net_state_dict",
    "network_state_dict",
    "params_ema",
    "params",
    "weights",
    "weight",
    "ema",
    "ema_state_dict",
    "model_ema",
    "state_dict_ema",
    "ema_model",
    "g_ema",
    "generator",
    "teacher",
    "student",
    "encoder_state_dict",
];

/// Parts of keys under which training keeps what it needs to go on, and which are no part of a model.
const TRAINING: [&str; 5] = ["optim", "sched", "scaler", "rng", "random_state"];

/// Parts of keys of single tensors that stand beside a model: counters and results.
const COUNTERS: [&str; 8] = ["epoch", "step", "iter", "loss", "best", "metric", "seed", "lr"];

/// Keys that a note names before it counts the others.
const NAMED: usize = 3;

/// What is opened of a pickle.
pub(super) struct Choice<'p> {
    /// The value whose tensors are the model's.
    pub(super) root: Id,
    /// Keys in it that are left alone.
    pub(super) without: HashSet<&'p str>,
    /// What is to be told of it.
    pub(super) note: Option<String>,
}

/// Finds the model in what a pickle is of.
pub(super) fn choose<'p>(tree: &Tree<'p>) -> Choice<'p> {
    let root = tree.pickle.root();
    let whole = Choice { root, without: HashSet::new(), note: None };
    let is_dict = match tree.pickle.get(root) {
        Value::Dict(_) => true,
        Value::Object(object) => tree.module(object).is_none() && object.states.is_empty(),
        _ => false,
    };
    if !is_dict {
        return whole;
    }
    let children = tree.children(root);
    let keys = || children.iter().filter_map(|child| Some((text(child)?, child.id))).filter(|&(_, id)| tree.leads(id));
    let is_own = |(key, id): (&str, Id)| has_storage(tree.pickle, id) && !is_aside(key);
    if !keys().any(is_own) {
        let nested = |usual: &&str| keys().find(|&(key, id)| key == *usual && !is_tensor(tree.pickle, id));
        if let Some((key, root)) = USUAL.iter().find_map(nested) {
            let others = told(tree, keys().filter(|&(other, _)| other != key));
            let note = match others {
                Some(others) => format!("what lies under {} is taken for the model; {others} left alone", quoted(key)),
                None => format!("what lies under {} is taken for the model", quoted(key)),
            };
            return Choice { root, without: HashSet::new(), note: Some(note) };
        }
    }
    let without: HashSet<&str> = keys().filter(|(key, _)| holds(key, &TRAINING)).map(|(key, _)| key).collect();
    if without.len() == keys().count() {
        return whole;
    }
    let note = told(tree, keys().filter(|(key, _)| without.contains(key)));
    Choice { root, without, note: note.map(|keys| format!("{keys} left alone, as training's own")) }
}

fn text<'p>(child: &Child<'p>) -> Option<&'p str> {
    match child.name {
        Name::Text(text) => Some(text),
        _ => None,
    }
}

fn holds(key: &str, words: &[&str]) -> bool {
    let key = key.to_ascii_lowercase();
    words.iter().any(|word| key.contains(word))
}

/// Whether a single tensor under this key says nothing of the dict that it lies in.
fn is_aside(key: &str) -> bool {
    !key.contains('.') && (holds(key, &TRAINING) || holds(key, &COUNTERS))
}

/// Some keys with what they hold: `"optimizer" (12 tensors) and 2 more are`.
fn told<'p>(tree: &Tree<'p>, keys: impl Iterator<Item = (&'p str, Id)> + Clone) -> Option<String> {
    let tensors = |n: usize| if n == 1 { "1 tensor".into() } else { format!("{n} tensors") };
    let named = keys.clone().take(NAMED).map(|(key, id)| format!("{} ({})", quoted(key), tensors(tree.count(id))));
    let named: Vec<String> = named.collect();
    let more = keys.count().saturating_sub(NAMED);
    let verb = if named.len() + more == 1 { "is" } else { "are" };
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!named.is_empty()).then(|| format!("{}{more} {verb}", named.join(", ")))
}
