//! `verify`: an artifact against its source, by the recipe inside it. The report is the answer whatever it says; the exit code judges.

use super::args::{Global, VerifyArgs};
use super::text::{self, Table};
use super::{Failure, json, progress};
use crate::export::{self, TensorCheck, Verification};
use crate::formats::error::{display_path, printable};
use crate::recipe::Recipe;
use crate::session::Error;
use serde::Serialize;
use serde_json::Value;

/// Opens both, compares, prints; a mismatch is a failure all the same.
pub fn run(args: &VerifyArgs, global: &Global) -> Result<(), Failure> {
    let source = global.open(&args.model)?;
    let artifact = global.open(&args.out)?;
    let anew = Recipe::of_artifact(&artifact).map_err(Error::from)?.is_some_and(|recipe| recipe.requantize);
    let source = if anew { source.requantizing() } else { source };
    let (_, plan) = export::plan_of_artifact(&source, &artifact).map_err(Error::from)?;
    let verified =
        progress::watch(global.quiet, "verifying", |control| export::verify(&source, &artifact, &plan, control));
    let verified = verified.map_err(Error::from)?;
    global.tell(|| document(&verified), || table(&verified))?;
    let wrong = verified.tensors.iter().filter(|tensor| !tensor.ok).count();
    if wrong == 0 {
        return Ok(());
    }
    Err(Failure::Told(format!(
        "{}: {wrong} of {} are not what its recipe makes of {}",
        display_path(&args.out),
        text::counted(verified.tensors.len(), "tensor"),
        display_path(&args.model)
    )))
}

#[derive(Serialize)]
struct Document<T> {
    ok: bool,
    tensors: T,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    as_planned: bool,
    t2: Value,
    sqnr_db: Value,
    max_abs_difference: Value,
    note: Option<&'a str>,
}

fn document(verified: &Verification) -> impl Serialize {
    Document { ok: verified.ok(), tensors: json::lines(&verified.tensors, line) }
}

fn line(tensor: &TensorCheck) -> Line<'_> {
    Line {
        name: &tensor.name,
        as_planned: tensor.ok,
        t2: json::maybe(tensor.t2),
        sqnr_db: json::maybe(tensor.sqnr_db),
        max_abs_difference: json::maybe(tensor.max_abs_difference),
        note: tensor.note,
    }
}

fn table(verified: &Verification) -> String {
    if verified.ok() {
        let tensors = text::counted(verified.tensors.len(), "tensor");
        return format!("ok: {tensors}, largest difference {}\n", text::short(verified.max_abs_difference()));
    }
    let wrong: Vec<&TensorCheck> = verified.tensors.iter().filter(|tensor| !tensor.ok).collect();
    let row = |i: usize| wrong.get(i).map(|tensor| row(tensor)).unwrap_or_default();
    Table::new(&["<not as planned", "largest difference", "t²", "SQNR dB", "<why"], wrong.len(), row).to_string()
}

fn row(tensor: &TensorCheck) -> Vec<String> {
    vec![
        printable(&tensor.name),
        text::maybe(tensor.max_abs_difference),
        text::maybe(tensor.t2),
        text::decimals(tensor.sqnr_db, 2),
        tensor.note.unwrap_or_default().to_owned(),
    ]
}
