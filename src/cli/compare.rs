//! `compare`: two models side by side, tensor by tensor. That they differ is an answer, not a failure.

use super::args::{CompareArgs, Global};
use super::text::{self, Table};
use super::{Failure, json, progress};
use crate::estimate::compare::{Comparison, TensorComparison, compare};
use crate::formats::error::printable;
use crate::session::Error;
use serde_json::{Value, json};

/// Opens both, compares, prints.
pub fn run(args: &CompareArgs, global: &Global) -> Result<(), Failure> {
    let a = global.open(&args.a)?;
    let b = global.open(&args.b)?;
    let compared = progress::watch(global.quiet, "comparing", |control| compare(&a, &b, control));
    let compared = compared.map_err(Error::from)?;
    global.tell(|| document(&compared), || table(&compared))
}

fn document(compared: &Comparison) -> Value {
    let tensor = |tensor: &TensorComparison| {
        json!({
            "name": tensor.name,
            "max_abs_difference": json::maybe(tensor.max_abs_difference),
            "t2": json::maybe(tensor.t2),
            "cosine": json::maybe(tensor.cosine),
            "mask_overlap": json::maybe(tensor.mask_overlap),
            "sign_agreement": json::maybe(tensor.sign_agreement),
            "note": tensor.note,
        })
    };
    let tensors: Vec<Value> = compared.tensors.iter().map(tensor).collect();
    json!({"tensors": tensors, "only_a": compared.only_a, "only_b": compared.only_b})
}

fn table(compared: &Comparison) -> String {
    let mut table = Table::new(&["<name", "largest |a−b|", "t²", "cosine", "mask overlap", "sign agreement", "<"]);
    for tensor in &compared.tensors {
        table.row(vec![
            printable(&tensor.name),
            text::maybe(tensor.max_abs_difference),
            text::maybe(tensor.t2),
            text::decimals(tensor.cosine, 6),
            text::decimals(tensor.mask_overlap, 4),
            text::decimals(tensor.sign_agreement, 4),
            tensor.note.unwrap_or_default().to_owned(),
        ]);
    }
    let mut out = if compared.tensors.is_empty() { "no tensor is in both\n".to_owned() } else { table.render() };
    for (names, side) in [(&compared.only_a, "A"), (&compared.only_b, "B")] {
        for name in names {
            out += &format!("only in {side}: {}\n", printable(name));
        }
    }
    out
}
