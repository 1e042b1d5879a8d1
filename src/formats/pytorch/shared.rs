//! Tensors that lie on the same bytes and are not the same: slices of one storage, views that were saved with what they look at.

use super::place::Placed;
use crate::formats::error::quoted;

/// A note with the first pair and how many tensors there are that lie with another; `None` when none does.
pub(super) fn note(placed: &[Placed]) -> Option<String> {
    let mut order: Vec<usize> =
        (0..placed.len()).filter(|&at| placed.get(at).is_some_and(|p| !p.bytes.is_empty())).collect();
    let key = |at: usize| placed.get(at).map(|p| (p.storage, p.bytes.start, at));
    order.sort_unstable_by_key(|&at| key(at));
    let mut sharing = vec![false; placed.len()];
    let mut first: Option<(usize, usize)> = None;
    // Of those passed in this storage, the one that reaches furthest.
    let mut furthest: Option<usize> = None;
    for at in order {
        let meets = furthest.filter(|&other| meets(placed, other, at));
        if let Some(other) = meets {
            [at, other].into_iter().for_each(|at| sharing.iter_mut().skip(at).take(1).for_each(|flag| *flag = true));
            let pair = (at.min(other), at.max(other));
            first = Some(first.map_or(pair, |first| first.min(pair)));
        }
        let end = |at: usize| placed.get(at).map(|p| (p.storage, p.bytes.end));
        furthest = Some(furthest.filter(|&other| end(other) >= end(at)).unwrap_or(at));
    }
    let (a, b) = first?;
    let name = |at: usize| placed.get(at).map(|p| quoted(&p.name)).unwrap_or_default();
    let count = sharing.iter().filter(|&&shares| shares).count();
    Some(format!(
        "{count} tensors lie on the same stretch of the file as others, {} and {} first; what is done to one is not done to the other",
        name(a),
        name(b)
    ))
}

fn meets(placed: &[Placed], before: usize, at: usize) -> bool {
    let pair = placed.get(before).zip(placed.get(at));
    pair.is_some_and(|(a, b)| a.storage == b.storage && b.bytes.start < a.bytes.end)
}
