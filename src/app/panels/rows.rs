//! Which rows the layer table has: tensors in the order of their blocks, block heads with sums, what the filter lets through.

use crate::app::state::{RowFilter, View};
use crate::model::{Model, Tensor};
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

/// The tensor's name inside its block, its `.weight` dropped: what a row shows.
#[must_use]
pub fn short_name(tensor: &Tensor) -> &str {
    let inside = match block_of(tensor) {
        Some((prefix, _)) => {
            let rest = tensor.name.get(prefix.len()..).unwrap_or(&tensor.name);
            rest.split_once('.').map_or(rest, |(_, inside)| inside)
        }
        None => &tensor.name,
    };
    if block_of(tensor).is_some() { inside.strip_suffix(".weight").unwrap_or(inside) } else { inside }
}

/// Whether a tensor passes the filter text and the chip.
fn passes(live: &Live, index: usize, view: &View, pattern: Option<&Pattern>) -> bool {
    let tensor = &live.model.tensors[index];
    let text = view.filter.trim().to_lowercase();
    let by_text = match pattern {
        Some(pattern) => pattern.matches(&tensor.name),
        None => text.is_empty() || tensor.name.to_lowercase().contains(&text) || tensor.role.name().contains(&text),
    };
    by_text
        && match view.chip {
            RowFilter::All => true,
            RowFilter::Weights => tensor.is_weight_matrix(),
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

/// Positions of all tensors in the table's order: first those outside blocks, then block by block.
#[must_use]
pub fn order(model: &Model) -> Vec<usize> {
    let mut order: Vec<usize> = (0..model.tensors.len()).collect();
    // Within a block by layer, and a layer's weight before its bias, as people think of them.
    let key = |&i: &usize| {
        let tensor = &model.tensors[i];
        let block = block_of(tensor).map(|(prefix, number)| (prefix.to_owned(), number));
        (block, tensor.layer.clone(), tensor.role == crate::model::Role::Bias, tensor.name.clone())
    };
    order.sort_by_cached_key(key);
    order
}

/// The lines of the table for the current filter.
#[must_use]
pub fn lines(live: &Live, view: &View) -> Vec<Line> {
    let pattern = filter_pattern(view);
    let model = &live.model;
    let shown: Vec<usize> = order(model).into_iter().filter(|&i| passes(live, i, view, pattern.as_ref())).collect();
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
