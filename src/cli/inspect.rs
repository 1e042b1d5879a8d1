//! `inspect`: every tensor of a model with its role and exact statistics, which is where a recipe begins.

use super::args::{Global, InspectArgs};
use super::text::{self, NONE, Table};
use super::{Failure, json, progress};
use crate::estimate::TensorStats;
use crate::estimate::stats::model_stats;
use crate::formats::error::{display_path, printable};
use crate::kernels::stats::Moments;
use crate::model::{Model, Tensor};
use crate::session::Error;
use serde_json::{Value, json};
use std::path::Path;

/// Opens, measures, prints.
pub fn run(args: &InspectArgs, global: &Global) -> Result<(), Failure> {
    let model = global.open(&args.model)?;
    let stats =
        progress::watch(global.quiet, "reading", |control| model_stats(&model, control)).map_err(Error::from)?;
    global.tell(|| document(&args.model, &model, &stats), || table(&args.model, &model, &stats))
}

fn document(path: &Path, model: &Model, stats: &[Option<TensorStats>]) -> Value {
    let tensors: Vec<Value> = model.tensors.iter().zip(stats).map(|(t, s)| tensor(t, s.as_ref())).collect();
    json!({
        "path": json::path(path),
        "format": model.format.name(),
        "bytes": model.bytes,
        "parameters": model.parameters(),
        "recipe": model.embedded_recipe(),
        "tensors": tensors,
    })
}

fn tensor(tensor: &Tensor, stats: Option<&TensorStats>) -> Value {
    let moments = stats.map(|s| &s.moments);
    json!({
        "name": tensor.name,
        "dtype": tensor.dtype.name(),
        "shape": tensor.shape,
        "parameters": tensor.elements(),
        "bytes": tensor.bytes(),
        "role": tensor.role.name(),
        "layer": tensor.layer,
        "min": json::maybe(finite(moments, |m| m.min)),
        "max": json::maybe(finite(moments, |m| m.max)),
        "mean": json::maybe(finite(moments, |m| m.mean)),
        "std": json::maybe(moments.and_then(Moments::std)),
        "zeros": moments.map(|m| m.zeros),
        "nan": moments.map(|m| m.nan),
        "inf": moments.map(|m| m.inf),
    })
}

/// A statistic of the finite values, where there is one: of nothing there is no mean.
fn finite(moments: Option<&Moments>, get: impl Fn(&Moments) -> f64) -> Option<f64> {
    moments.filter(|m| m.finite > 0).map(get)
}

fn table(path: &Path, model: &Model, stats: &[Option<TensorStats>]) -> String {
    let headings =
        ["<name", "<dtype", "<shape", "<role", "parameters", "bytes", "min", "max", "mean", "std", "zeros %"];
    let mut table = Table::new(&headings);
    for (tensor, stats) in model.tensors.iter().zip(stats) {
        let moments = stats.as_ref().map(|s| &s.moments);
        let n = tensor.elements() as u64;
        table.row(vec![
            printable(&tensor.name),
            tensor.dtype.name().to_owned(),
            format!("{:?}", tensor.shape),
            tensor.role.name().to_owned(),
            text::count(n),
            text::count(tensor.bytes()),
            text::maybe(finite(moments, |m| m.min)),
            text::maybe(finite(moments, |m| m.max)),
            text::maybe(finite(moments, |m| m.mean)),
            text::maybe(moments.and_then(Moments::std)),
            moments.map_or_else(|| NONE.to_owned(), |m| text::share(m.zeros, n)),
        ]);
    }
    format!("{}\n{}{}", table.render(), summary(path, model), strangers(model, stats))
}

fn summary(path: &Path, model: &Model) -> String {
    let recipe = if model.embedded_recipe().is_some() { ", with the recipe that made it" } else { "" };
    format!(
        "{}: {}, {}, {} parameters, {}{recipe}\n",
        display_path(path),
        model.format.name(),
        text::counted(model.tensors.len(), "tensor"),
        text::count(model.parameters()),
        text::size(model.bytes),
    )
}

/// Tensors with elements that are no numbers deserve a line of their own: most schemes refuse them.
fn strangers(model: &Model, stats: &[Option<TensorStats>]) -> String {
    let line = |(tensor, stats): (&Tensor, &Option<TensorStats>)| {
        let m = stats.as_ref().map(|s| &s.moments).filter(|m| m.non_finite() > 0)?;
        Some(format!("{}: {} NaN, {} infinite\n", printable(&tensor.name), text::count(m.nan), text::count(m.inf)))
    };
    model.tensors.iter().zip(stats).filter_map(line).collect()
}
