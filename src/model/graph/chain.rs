//! Networks that are one chain: every layer reads the one before it. MLPs, and convolutions with an MLP behind them.
//!
//! Shapes alone would lie (the halves of an autoencoder fit together the wrong way round), so the order must be plain from
//! the names: one family of numbered convolutions, one of numbered linear layers, at most one layer called the last. Every
//! tensor of the file must have its place, and every shape must fit the one before; else nothing is said.

use super::residual::norm_members;
use super::{Alone, Builder, Dimension, Kind, Law, Member, Section, sections};
use crate::model::Role;
use std::collections::HashSet;

/// A layer of a chain.
struct Layer<'a> {
    weight: usize,
    module: &'a str,
    family: String,
    number: Option<usize>,
    is_conv: bool,
}

/// Finds the chain that a whole model is.
pub(super) fn find(builder: &mut Builder<'_>) {
    if let Some(dimensions) = chain(builder) {
        let (first, last) = match (dimensions.first(), dimensions.last()) {
            (Some(first), Some(last)) => (first.members[0].tensor, last.members[last.members.len() - 1].tensor),
            _ => return,
        };
        dimensions.into_iter().for_each(|dimension| builder.share(dimension));
        builder.set_alone(first, 1, Alone::Input);
        builder.set_alone(last, 0, Alone::Output);
    }
}

fn chain(builder: &Builder<'_>) -> Option<Vec<Dimension>> {
    let layers = in_order(builder)?;
    let mut seen: HashSet<usize> = layers.iter().map(|layer| layer.weight).collect();
    let mut own: Vec<Vec<Member>> = Vec::new();
    for layer in &layers {
        let units = builder.shape(layer.weight)[0];
        let bias = builder.vector(&format!("{}.bias", layer.module), units);
        own.push(bias.map(|bias| Member::new(bias, 0, sections(1))).into_iter().collect());
    }
    for module in norms(builder, &layers) {
        let at = layer_of_norm(builder, &layers, module)?;
        let members = norm_members(builder, module, builder.shape(layers[at].weight)[0]);
        if members.is_empty() || own[at].len() > 1 {
            return None;
        }
        own[at].extend(members);
    }
    seen.extend(own.iter().flatten().map(|member| member.tensor));
    let scalar = |shape: &[usize]| shape.is_empty();
    if !builder.tensors.iter().enumerate().all(|(i, t)| seen.contains(&i) || scalar(&t.shape)) {
        return None;
    }
    // A network that was trained with channels last flattens them so; its names tell (CREPE's, from Keras).
    let channels_last = builder.tensors.iter().any(|t| t.name.contains("_BN."));
    let pairs = layers.windows(2).zip(own).map(|(pair, own)| {
        let [layer, next] = pair else { return None };
        let (units, read) = (builder.shape(layer.weight)[0], builder.shape(next.weight)[1]);
        let flattened = layer.is_conv && !next.is_conv;
        let at = match read.checked_div(units)? {
            1 => sections(1),
            each if flattened && channels_last => (0..each).map(|i| Section { start: i * units, width: 1 }).collect(),
            each if flattened => sections(each),
            _ => return None,
        };
        let fits = units * at.iter().map(|s| s.width).sum::<usize>() == read && (layer.is_conv || !next.is_conv);
        let mut members = vec![Member::new(layer.weight, 0, sections(1))];
        members.extend(own);
        members.push(Member::new(next.weight, 1, at));
        fits.then_some(Dimension { kind: Kind::Hidden, units, members, law: Law::Free, frozen: false })
    });
    pairs.collect()
}

/// A name without its numbers, and the numbers.
fn family(module: &str) -> (String, Vec<usize>) {
    let (mut text, mut numbers, mut digits) = (String::new(), Vec::new(), String::new());
    for c in module.chars().chain(['.']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        if !digits.is_empty() {
            text.push('#');
            numbers.push(digits.parse().unwrap_or(usize::MAX));
            digits.clear();
        }
        text.push(c);
    }
    (text, numbers)
}

/// The layers, where their names leave no doubt about the order.
fn in_order<'a>(builder: &Builder<'a>) -> Option<Vec<Layer<'a>>> {
    let mut layers = Vec::new();
    for (weight, tensor) in builder.tensors.iter().enumerate().filter(|(_, t)| t.shape.len() >= 2) {
        let known = matches!(tensor.role, Role::Other | Role::Conv | Role::Head | Role::FfnUp | Role::FfnDown);
        let module = tensor.name.strip_suffix(".weight").filter(|_| known)?;
        let (family, numbers) = family(module);
        if numbers.len() > 1 {
            return None;
        }
        let number = numbers.first().copied();
        layers.push(Layer { weight, module, family, number, is_conv: tensor.shape.len() > 2 });
    }
    let families = |is_conv: bool| -> HashSet<&str> {
        let numbered = layers.iter().filter(|l| l.is_conv == is_conv && l.number.is_some());
        numbered.map(|l| l.family.as_str()).collect()
    };
    let unnumbered = |is_conv: bool| layers.iter().filter(|l| l.is_conv == is_conv && l.number.is_none()).count();
    let (convs, linears) = (families(true), families(false));
    let only_conv = layers.iter().filter(|l| l.is_conv).count() == 1;
    let plain = layers.len() >= 2
        && convs.len() <= 1
        && linears.len() <= 1
        && (unnumbered(true) == 0 || only_conv)
        && unnumbered(false) <= 1;
    plain.then(|| layers.sort_by_key(|l| (!l.is_conv && l.number.is_none(), !l.is_conv, l.number)))?;
    // The same number twice in one family would leave the order open.
    layers.windows(2).all(|w| w[0].family != w[1].family || w[0].number != w[1].number).then_some(layers)
}

/// Modules that are no layers and have entries: their weights or statistics are vectors.
fn norms<'a>(builder: &Builder<'a>, layers: &[Layer<'_>]) -> Vec<&'a str> {
    let mut out: Vec<&str> = Vec::new();
    for tensor in builder.tensors.iter().filter(|t| t.shape.len() == 1) {
        let module = tensor.layer.as_str();
        if out.last() != Some(&module) && !layers.iter().any(|l| l.module == module) && !out.contains(&module) {
            out.push(module);
        }
    }
    out
}

/// The layer that a norm follows: the last one before it in the same sequence, or the one that its name or its number
/// points to.
fn layer_of_norm(builder: &Builder<'_>, layers: &[Layer<'_>], module: &str) -> Option<usize> {
    let (family, numbers) = family(module);
    let &[number] = &numbers[..] else { return None };
    let in_sequence = |l: &Layer<'_>| l.family == family && l.number < Some(number);
    if let Some(at) = (0..layers.len()).rev().find(|&at| in_sequence(&layers[at])) {
        return Some(at);
    }
    if layers.iter().any(|l| l.family == family) {
        return None;
    }
    if let Some(at) =
        layers.iter().position(|l| module.strip_prefix(l.module).is_some_and(|rest| rest.starts_with('_')))
    {
        return Some(at);
    }
    let len = builder.tensors.iter().find(|t| t.layer == module && t.shape.len() == 1).map(|t| t.shape[0]);
    let fits = |l: &Layer<'_>| l.number == Some(number) && Some(builder.shape(l.weight)[0]) == len;
    let mut fitting = (0..layers.len()).filter(|&at| fits(&layers[at]));
    fitting.next().filter(|_| fitting.next().is_none())
}
