//! `estimate`: what a recipe would cost and break, writing nothing.

use super::args::{EstimateArgs, Form, Global, RecipeArgs};
use super::json::List;
use super::text::{self, NONE, Table};
use super::{Failure, json, progress};
use crate::estimate::{ModelEstimate, TensorEstimate};
use crate::formats::error::printable;
use crate::kernels::error::ErrorSums;
use crate::profile::Cache;
use crate::recipe::Target;
use crate::session::Request;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;
use std::path::Path;

/// Opens, estimates, prints.
pub fn run(args: &EstimateArgs, global: &Global) -> Result<(), Failure> {
    if args.fidelity_form != Form::Chain {
        return Err(Failure::not_built("this --fidelity-form", "the form of this version is chain"));
    }
    let request = open(&args.model, &args.recipe, global)?;
    global.notes(&request.plan.told(&request.model));
    let estimate = if args.bytes_only {
        request.bytes_only()
    } else if args.live {
        let cache = Cache::of_user();
        progress::watch(global.quiet, "reading", |control| request.estimate_live(cache.as_ref(), control))?
    } else {
        progress::watch(global.quiet, "estimating", |control| request.estimate(control))?
    };
    let report = Report { request: &request, estimate: &estimate, values_read: !args.bytes_only };
    global.tell(|| report.document(), || report.text())
}

/// Opens a model under the recipe of a command, and passes on what should be told.
pub fn open(model: &Path, recipe: &RecipeArgs, global: &Global) -> Result<Request, Failure> {
    let request = Request::open(model, &global.open_options(), &recipe.wish()?)?;
    global.notes(&request.messages);
    Ok(request)
}

const HEADINGS: [&str; 8] = ["<name", "<scheme", "bytes", "ratio", "zeros %", "t²", "SQNR dB", "<kind"];

#[derive(Serialize)]
struct Document<'a, T> {
    target: &'a str,
    label: &'a str,
    source_bytes: u64,
    bytes: Option<u64>,
    overhead_bytes: Option<u64>,
    sparse_bytes: Option<u64>,
    entropy_bytes: Option<u64>,
    bits_per_weight: Value,
    fidelity: Value,
    fidelity_form: &'a str,
    tensors: T,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    scheme: String,
    stored_as: &'a str,
    label: &'a str,
    shape: &'a [usize],
    bytes: Option<u64>,
    sparse_bytes: Option<u64>,
    entropy_bytes: Option<u64>,
    zeros: Option<u64>,
    t2: Value,
    t2_error: Value,
    sqnr_db: Value,
    cosine: Value,
    rank: Option<usize>,
    note: Option<&'a str>,
}

/// An estimate with the request it belongs to.
pub struct Report<'a> {
    /// Names, shapes and what was asked for.
    pub request: &'a Request,
    /// What it comes to.
    pub estimate: &'a ModelEstimate,
    /// Whether weights were looked at.
    pub values_read: bool,
}

impl Report<'_> {
    /// The document of `--json`.
    pub fn document(&self) -> impl Serialize {
        let e = self.estimate;
        Document {
            target: e.target.name(),
            label: e.label.name(),
            source_bytes: e.source_bytes,
            bytes: e.bytes,
            overhead_bytes: e.overhead_bytes,
            sparse_bytes: e.sparse_bytes,
            entropy_bytes: e.entropy_bytes,
            bits_per_weight: json::maybe(e.bits_per_weight),
            fidelity: json::maybe(e.fidelity),
            fidelity_form: e.fidelity_form.name(),
            tensors: List { len: e.tensors.len(), item: |i| self.line(i) },
        }
    }

    fn line(&self, index: usize) -> Line<'_> {
        let (tensor, e) = (&self.request.model.tensors[index], &self.estimate.tensors[index]);
        let errors = e.errors.as_ref();
        Line {
            name: &tensor.name,
            scheme: self.request.plan.assignments[index].scheme.to_string(),
            stored_as: &e.stored_as,
            label: e.label.name(),
            shape: self.request.plan.removals.shape(&self.request.model, index),
            bytes: self.bytes(index),
            sparse_bytes: e.sparse_bytes,
            entropy_bytes: e.entropy_bytes,
            zeros: errors.map(|s| s.zeros),
            t2: json::maybe(e.t2()),
            t2_error: json::maybe(e.t2_error),
            sqnr_db: json::maybe(errors.and_then(ErrorSums::sqnr_db)),
            cosine: json::maybe(errors.and_then(ErrorSums::cosine)),
            rank: e.factors.as_ref().map(|factors| factors.rank),
            note: self.request.plan.removals.note(index),
        }
    }

    /// Stored bytes of a tensor, where they are known: in `packed` the zeros of a touched one decide between its forms.
    fn bytes(&self, index: usize) -> Option<u64> {
        let kept = self.request.plan.outcome(&self.request.model, index).is_kept();
        let known = self.values_read || kept || self.estimate.target != Target::Packed;
        known.then(|| self.estimate.tensors[index].bytes())
    }

    /// The table and the headline for people.
    fn text(&self) -> impl Display {
        let row = |i: usize| self.estimate.tensors.get(i).map(|e| self.row(i, e)).unwrap_or_default();
        let table = Table::new(&HEADINGS, self.estimate.tensors.len(), row);
        std::fmt::from_fn(move |f| write!(f, "{table}\n{}", self.headline()))
    }

    fn row(&self, index: usize, e: &TensorEstimate) -> Vec<String> {
        let (tensor, errors) = (&self.request.model.tensors[index], e.errors.as_ref());
        let scheme = self.request.plan.assignments[index].scheme.to_string();
        let scheme = if e.stored_as == scheme { scheme } else { format!("{scheme} → {}", e.stored_as) };
        let bytes = self.bytes(index);
        vec![
            printable(&tensor.name),
            scheme,
            bytes.map_or_else(|| NONE.to_owned(), text::count),
            bytes.map_or_else(|| NONE.to_owned(), |bytes| text::ratio(tensor.bytes(), bytes)),
            errors.map_or_else(|| NONE.to_owned(), |s| text::share(s.zeros, e.elements)),
            text::maybe(e.t2()),
            text::decimals(errors.and_then(ErrorSums::sqnr_db), 2),
            match e.t2_error {
                Some(error) => format!("{}, t² ± {} %", e.label.name(), text::short(100.0 * error)),
                None => e.label.name().into(),
            },
        ]
    }

    /// The totals: sizes, ratio, bits per weight, fidelity.
    pub fn headline(&self) -> String {
        let e = self.estimate;
        let mut lines = Vec::new();
        let mut line = |what: &str, bytes: Option<u64>, note: String| {
            lines.push(vec![what.to_owned(), bytes.map_or_else(|| NONE.to_owned(), text::size), note]);
        };
        let overhead = e.overhead_bytes.map(|bytes| format!(", {} of them header", text::count(bytes)));
        line("source", Some(e.source_bytes), self.request.model.format.name().into());
        line("stored", e.bytes, e.times().unwrap_or_default() + &overhead.unwrap_or_default());
        line("sparse", e.sparse_bytes, "a formula: zeros skipped".into());
        line("entropy", e.entropy_bytes, "a formula: codes coded as tightly as their frequencies allow".into());
        let fidelity = match e.fidelity {
            Some(f) => format!("fidelity {} ({}, {})", text::percent(f), e.fidelity_form.name(), e.label.name()),
            None => "fidelity needs the weights to be read".into(),
        };
        let bits = e.bits_per_weight.map(|bits| format!("{bits:.3} bits per weight, "));
        let sizes = Table::new(&["<", "", "<"], lines.len(), |i| lines[i].clone()).to_string();
        format!("{}\n{}{fidelity}\n", sizes.trim_start_matches('\n').trim_end(), bits.unwrap_or_default())
    }
}
