//! `inspect`: every tensor of a model with its role and exact statistics, which is where a recipe begins.

use super::args::{Global, InspectArgs};
use super::json::List;
use super::text::{self, NONE, Table};
use super::{Failure, json, progress};
use crate::estimate::TensorStats;
use crate::estimate::stats::model_stats;
use crate::formats::error::{display_path, printable};
use crate::formats::gguf::KeyValues;
use crate::kernels::stats::Moments;
use crate::model::{Model, Tensor};
use crate::session::Error;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::path::Path;

/// Opens, measures, prints.
pub fn run(args: &InspectArgs, global: &Global) -> Result<(), Failure> {
    let model = global.open(&args.model)?;
    let stats =
        progress::watch(global.quiet, "reading", |control| model_stats(&model, control)).map_err(Error::from)?;
    global.tell(|| document(&args.model, &model, &stats), || table(&args.model, &model, &stats))
}

#[derive(Serialize)]
struct Document<'a, T> {
    path: Value,
    format: &'a str,
    bytes: u64,
    parameters: u64,
    recipe: Option<&'a str>,
    /// What a GGUF file says of itself, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<BTreeMap<&'a str, String>>,
    tensors: T,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    /// Other names of the same tensor, where a file ties them.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    also: &'a [String],
    dtype: Cow<'a, str>,
    shape: &'a [usize],
    parameters: usize,
    bytes: u64,
    role: &'a str,
    layer: &'a str,
    min: Value,
    max: Value,
    mean: Value,
    std: Value,
    zeros: Option<u64>,
    nan: Option<u64>,
    inf: Option<u64>,
}

fn document<'a>(path: &Path, model: &'a Model, stats: &'a [Option<TensorStats>]) -> impl Serialize + 'a {
    let line = |i: usize| Some(line(model.tensors.get(i)?, stats.get(i)?.as_ref()));
    Document {
        path: json::path(path),
        format: model.format.name(),
        bytes: model.bytes,
        parameters: model.parameters(),
        recipe: model.embedded_recipe(),
        metadata: model.gguf.as_ref().map(|head| texts(&head.pairs)),
        tensors: List { len: model.tensors.len(), item: line },
    }
}

fn texts(pairs: &KeyValues) -> BTreeMap<&str, String> {
    pairs.0.iter().map(|pair| (pair.key.as_str(), pair.value.to_string())).collect()
}

fn line<'a>(tensor: &'a Tensor, stats: Option<&TensorStats>) -> Line<'a> {
    let moments = stats.map(|s| &s.moments);
    Line {
        name: &tensor.name,
        also: &tensor.also,
        dtype: tensor.type_name(),
        shape: &tensor.shape,
        parameters: tensor.elements(),
        bytes: tensor.bytes(),
        role: tensor.role.name(),
        layer: &tensor.layer,
        min: json::maybe(finite(moments, |m| m.min)),
        max: json::maybe(finite(moments, |m| m.max)),
        mean: json::maybe(finite(moments, |m| m.mean)),
        std: json::maybe(moments.and_then(Moments::std)),
        zeros: moments.map(|m| m.zeros),
        nan: moments.map(|m| m.nan),
        inf: moments.map(|m| m.inf),
    }
}

/// A statistic of the finite values, where there is one: of nothing there is no mean.
fn finite(moments: Option<&Moments>, get: impl Fn(&Moments) -> f64) -> Option<f64> {
    moments.filter(|m| m.finite > 0).map(get)
}

const HEADINGS: [&str; 11] =
    ["<name", "<dtype", "<shape", "<role", "parameters", "bytes", "min", "max", "mean", "std", "zeros %"];

fn table<'a>(path: &'a Path, model: &'a Model, stats: &'a [Option<TensorStats>]) -> impl Display + 'a {
    let row = |i: usize| model.tensors.get(i).zip(stats.get(i)).map(|(t, s)| row(t, s.as_ref())).unwrap_or_default();
    let table = Table::new(&HEADINGS, model.tensors.len(), row);
    std::fmt::from_fn(move |f| {
        writeln!(f, "{table}")?;
        f.write_str(&summary(path, model))?;
        model
            .gguf
            .iter()
            .flat_map(|head| &head.pairs.0)
            .try_for_each(|pair| writeln!(f, "  {} = {}", printable(&pair.key), printable(&pair.value.to_string())))?;
        model.tensors.iter().flat_map(|tensor| tensor.also.iter().map(move |also| (also, tensor))).try_for_each(
            |(also, tensor)| writeln!(f, "{}: the same tensor as {}", printable(also), printable(&tensor.name)),
        )?;
        model.tensors.iter().zip(stats).try_for_each(|(tensor, stats)| stranger(f, tensor, stats.as_ref()))
    })
}

fn row(tensor: &Tensor, stats: Option<&TensorStats>) -> Vec<String> {
    let moments = stats.map(|s| &s.moments);
    let n = tensor.elements() as u64;
    vec![
        printable(&tensor.name),
        tensor.type_name().into_owned(),
        format!("{:?}", tensor.shape),
        tensor.role.name().to_owned(),
        text::count(n),
        text::count(tensor.bytes()),
        text::maybe(finite(moments, |m| m.min)),
        text::maybe(finite(moments, |m| m.max)),
        text::maybe(finite(moments, |m| m.mean)),
        text::maybe(moments.and_then(Moments::std)),
        moments.map_or_else(|| NONE.to_owned(), |m| text::share(m.zeros, n)),
    ]
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

/// A tensor with elements that are no numbers deserves a line of its own: most schemes refuse it.
fn stranger(f: &mut Formatter<'_>, tensor: &Tensor, stats: Option<&TensorStats>) -> std::fmt::Result {
    let Some(m) = stats.map(|s| &s.moments).filter(|m| m.non_finite() > 0) else { return Ok(()) };
    writeln!(f, "{}: {} NaN, {} infinite", printable(&tensor.name), text::count(m.nan), text::count(m.inf))
}
