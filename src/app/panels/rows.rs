//! Which rows the layer table has: tensors in the order of their blocks, block heads with sums, what the filter lets through.

use crate::app::state::{RowFilter, View};
use crate::model::{Model, Role, Tensor};
use crate::recipe::Pattern;
use crate::session::Live;

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// The head of a block, with the tensors it holds.
    Head {
        /// "block 3".
        title: String,
        /// Positions of its tensors.
        members: Vec<usize>,
        /// Whether its rows are shown.
        open: bool,
    },
    /// A tensor.
    Tensor(usize),
}

/// What a tensor is sorted and headed by: the path before its block number, and the number.
fn block_of(tensor: &Tensor) -> Option<(&str, u32)> {
    let number = tensor.block?;
    let mut at = 0;
    for part in tensor.name.split('.') {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            return Some((tensor.name.get(..at).unwrap_or_default(), number));
        }
        at += part.len() + 1;
    }
    None
}

/// The tensor's name inside its block, its `.weight` dropped.
fn path_in_block(tensor: &Tensor) -> &str {
    let Some((prefix, _)) = block_of(tensor) else { return &tensor.name };
    let rest = tensor.name.get(prefix.len()..).unwrap_or(&tensor.name);
    let inside = rest.split_once('.').map_or(rest, |(_, inside)| inside);
    inside.strip_suffix(".weight").unwrap_or(inside)
}

/// What a row is called: the part it plays in its block where only it plays it, else its path in the block.
#[must_use]
pub fn short_name(model: &Model, index: usize) -> String {
    let tensor = &model.tensors[index];
    let path = path_in_block(tensor);
    let part = match tensor.role {
        Role::AttentionQ => "attn.q",
        Role::AttentionK => "attn.k",
        Role::AttentionV => "attn.v",
        Role::AttentionO => "attn.o",
        Role::AttentionQkv => "attn.qkv",
        Role::FfnGate => "ffn.gate",
        Role::FfnUp => "ffn.up",
        Role::FfnDown => "ffn.down",
        _ => return path.to_owned(),
    };
    // Names are sorted, so a block's tensors are neighbours: looking a few hundred places around finds any twin.
    let near = index.saturating_sub(300)..(index + 300).min(model.tensors.len());
    let block = block_of(tensor);
    let alone =
        near.filter(|&i| model.tensors[i].role == tensor.role && block_of(&model.tensors[i]) == block).count() == 1;
    if alone && block.is_some() { part.to_owned() } else { path.to_owned() }
}

/// Where a role stands in its block: in the order that data takes, what is not a weight at the end.
fn place_of(role: Role) -> usize {
    let order = [
        Role::AttentionQkv,
        Role::AttentionQ,
        Role::AttentionK,
        Role::AttentionV,
        Role::AttentionO,
        Role::FfnGate,
        Role::FfnUp,
        Role::FfnDown,
    ];
    let last = order.len() + usize::from(!role.is_weight() && role != Role::Bias);
    order.iter().position(|r| *r == role).unwrap_or(last)
}

/// Whether a tensor passes the filter text and the chip.
fn passes(live: &Live, index: usize, view: &View, pattern: Option<&Pattern>) -> bool {
    // The row under the hand stays, whatever the hand makes of it.
    if view.hand.held.is_some_and(|held| held.index == index) {
        return true;
    }
    let tensor = &live.model.tensors[index];
    let text = view.filter.trim().to_lowercase();
    let by_text = match pattern {
        Some(pattern) => tensor.names().any(|name| pattern.matches(name)),
        None => text.is_empty() || tensor.name.to_lowercase().contains(&text) || tensor.role.name().contains(&text),
    };
    by_text
        && match view.chip {
            RowFilter::All => true,
            RowFilter::Weights => tensor.shows_weights(),
            RowFilter::Attention => tensor.role.is_attention(),
            RowFilter::Ffn => tensor.role.is_ffn(),
            RowFilter::Locked => live.is_locked(index),
            RowFilter::Pruned => live.scheme(index).prune.is_some(),
        }
}

/// The filter as a pattern, when it is written as one.
fn filter_pattern(view: &View) -> Option<Pattern> {
    let text = view.filter.trim();
    let is_pattern = text.starts_with("re:") || text.contains(['*', '?', '[', '{']);
    is_pattern.then(|| Pattern::new(text).ok()).flatten()
}

/// Positions of all tensors in the table's order, found once when a model is opened: first those outside blocks, then block by block.
#[must_use]
pub fn order(model: &Model) -> Vec<usize> {
    let mut order: Vec<usize> = (0..model.tensors.len()).collect();
    // Within a block by layer, and a layer's weight before its bias, as people think of them.
    let key = |&i: &usize| {
        let tensor = &model.tensors[i];
        let block = block_of(tensor).map(|(prefix, number)| (prefix.to_owned(), number));
        // A bias goes with its layer's weight.
        let weight = model.find(&format!("{}.weight", tensor.layer)).map_or(tensor.role, |i| model.tensors[i].role);
        let place = place_of(if tensor.role == Role::Bias { weight } else { tensor.role });
        (block, place, tensor.layer.clone(), tensor.role == Role::Bias, tensor.name.clone())
    };
    order.sort_by_cached_key(key);
    order
}

/// The lines of the table for the current filter.
#[must_use]
pub fn lines(live: &Live, view: &View) -> Vec<Line> {
    let pattern = filter_pattern(view);
    let model = &live.model;
    let shown: Vec<usize> = view.order.iter().copied().filter(|&i| passes(live, i, view, pattern.as_ref())).collect();
    if model.tensors.iter().all(|t| block_of(t).is_none()) {
        return shown.into_iter().map(Line::Tensor).collect();
    }
    let prefixes: std::collections::BTreeSet<&str> =
        model.tensors.iter().filter_map(|t| block_of(t).map(|(p, _)| p)).collect();
    let title = |i: usize| match block_of(&model.tensors[i]) {
        None => "outside blocks".to_owned(),
        Some((_, number)) if prefixes.len() == 1 => format!("block {number}"),
        Some((prefix, number)) => format!("{} {number}", prefix.trim_end_matches('.')),
    };
    let mut lines = Vec::new();
    for group in shown.chunk_by(|&a, &b| block_of(&model.tensors[a]) == block_of(&model.tensors[b])) {
        let Some(&first) = group.first() else { continue };
        let title = title(first);
        let open = !view.collapsed.contains(&title);
        lines.push(Line::Head { title, members: group.to_vec(), open });
        if open {
            lines.extend(group.iter().copied().map(Line::Tensor));
        }
    }
    lines
}
