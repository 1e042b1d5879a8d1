//! `compare`: two models side by side, tensor by tensor. That they differ is an answer, not a failure.

use super::args::{CompareArgs, Global};
use super::text::{self, Table};
use super::{Failure, json, progress};
use crate::estimate::compare::{Comparison, TensorComparison, compare};
use crate::formats::error::printable;
use crate::session::Error;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;

/// Opens both, compares, prints.
pub fn run(args: &CompareArgs, global: &Global) -> Result<(), Failure> {
    let a = global.open(&args.a)?;
    let b = global.open(&args.b)?;
    let compared = progress::watch(global.quiet, "comparing", |control| compare(&a, &b, control));
    let compared = compared.map_err(Error::from)?;
    global.tell(|| document(&compared), || table(&compared))
}

#[derive(Serialize)]
struct Document<'a, T> {
    tensors: T,
    mask_overlap: Value,
    sign_agreement: Value,
    only_a: &'a [String],
    only_b: &'a [String],
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    max_abs_difference: Value,
    t2: Value,
    cosine: Value,
    mask_overlap: Value,
    sign_agreement: Value,
    note: Option<&'a str>,
}

fn document(compared: &Comparison) -> impl Serialize {
    let tensors = json::lines(&compared.tensors, line);
    let (mask_overlap, sign_agreement) = (json::maybe(compared.mask_overlap()), json::maybe(compared.sign_agreement()));
    Document { tensors, mask_overlap, sign_agreement, only_a: &compared.only_a, only_b: &compared.only_b }
}

fn line(tensor: &TensorComparison) -> Line<'_> {
    Line {
        name: &tensor.name,
        max_abs_difference: json::maybe(tensor.max_abs_difference),
        t2: json::maybe(tensor.t2),
        cosine: json::maybe(tensor.cosine),
        mask_overlap: json::maybe(tensor.mask_overlap()),
        sign_agreement: json::maybe(tensor.sign_agreement()),
        note: tensor.note,
    }
}

const HEADINGS: [&str; 7] = ["<name", "largest |a−b|", "t²", "cosine", "mask overlap", "sign agreement", "<"];

fn table(compared: &Comparison) -> impl Display {
    let row = |i: usize| compared.tensors.get(i).map(row).unwrap_or_default();
    let table = Table::new(&HEADINGS, compared.tensors.len(), row);
    std::fmt::from_fn(move |f| {
        if compared.tensors.is_empty() {
            writeln!(f, "no tensor is in both")?;
        } else {
            write!(f, "{table}")?;
            let (overlap, signs) = (compared.mask_overlap(), compared.sign_agreement());
            let (overlap, signs) = (text::decimals(overlap, 4), text::decimals(signs, 4));
            writeln!(f, "in all: mask overlap {overlap}, sign agreement {signs}")?;
        }
        for (names, side) in [(&compared.only_a, "A"), (&compared.only_b, "B")] {
            names.iter().try_for_each(|name| writeln!(f, "only in {side}: {}", printable(name)))?;
        }
        Ok(())
    })
}

fn row(tensor: &TensorComparison) -> Vec<String> {
    vec![
        printable(&tensor.name),
        text::maybe(tensor.max_abs_difference),
        text::maybe(tensor.t2),
        text::decimals(tensor.cosine, 6),
        text::decimals(tensor.mask_overlap(), 4),
        text::decimals(tensor.sign_agreement(), 4),
        tensor.note.unwrap_or_default().to_owned(),
    ]
}
