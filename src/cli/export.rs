//! `export`: writes what was estimated, reads it back, and says what was found.

use super::args::{ExportArgs, Global};
use super::estimate::{self, Report};
use super::text::{self, Table};
use super::{Failure, json, progress, signals};
use crate::export::atomic::folder_of;
use crate::export::stale::{self, Stale};
use crate::export::{Artifact, check_destination, check_not_input, space};
use crate::formats::error::{display_path, printable};
use crate::session::{Error, Request};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// Opens, writes, verifies, prints.
pub fn run(args: &ExportArgs, global: &Global) -> Result<(), Failure> {
    let request = estimate::open(&args.model, &args.recipe, global)?;
    // From here on there may be a temporary, and a signal must not end the program while it is there.
    let _patience = signals::patience();
    if let Some(recipe) = &args.recipe.recipe {
        check_not_input(&args.out, recipe).map_err(Error::from)?;
    }
    if args.mask_only {
        return masks(&request, args, global);
    }
    if let Some(original) = &args.rewind {
        return rewind(&request, original, args, global);
    }
    check_destination(&request.model, request.plan.target, &args.out, args.force).map_err(Error::from)?;
    global.notes(&what_was_left(args)?);
    let shortage = space::foresee(&request.model, &request.plan, &request.recipe, &args.out).map_err(Error::from)?;
    global.notes(&shortage.map(|shortage| shortage.to_string()).into_iter().collect::<Vec<_>>());
    let artifact =
        progress::watch(global.quiet, "exporting", |control| request.export(&args.out, args.force, control))?;
    global.notes(&artifact.notes);
    let report = Report { request: &request, estimate: &artifact.estimate, values_read: true };
    global.tell(|| document(&artifact, &report), || told(&artifact, &report, &request))
}

/// `--mask-only`.
fn masks(request: &Request, args: &ExportArgs, global: &Global) -> Result<(), Failure> {
    global.notes(&what_was_left(args)?);
    let masks =
        progress::watch(global.quiet, "exporting", |control| request.export_masks(&args.out, args.force, control))?;
    let one = |(name, kept, elements): &(String, u64, u64)| json!({"name": name, "kept": kept, "elements": elements});
    let file = json!({"path": json::path(&masks.out), "bytes": masks.bytes});
    let document = || {
        let each: Vec<Value> = masks.tensors.iter().map(one).collect();
        json!({"out": json::path(&masks.out), "files": [file], "masks": each})
    };
    let row = |i: usize| {
        masks.tensors.get(i).map_or_else(Vec::new, |(name, kept, elements)| {
            vec![printable(name), text::count(*kept), text::count(*elements), text::share(*kept, *elements)]
        })
    };
    global.tell(document, || {
        let table = Table::new(&["<mask", "kept", "elements", "kept %"], masks.tensors.len(), row);
        format!("wrote {}, {}; read back as planned\n\n{table}", display_path(&masks.out), text::size(masks.bytes))
    })
}

/// `--rewind`.
fn rewind(request: &Request, original: &Path, args: &ExportArgs, global: &Global) -> Result<(), Failure> {
    let original = global.open(original)?;
    global.notes(&what_was_left(args)?);
    let (rewound, artifact) = progress::watch(global.quiet, "exporting", |control| {
        request.export_rewound(original, &args.out, args.force, control)
    })?;
    global.notes(&artifact.notes);
    let report = Report { request: &rewound, estimate: &artifact.estimate, values_read: true };
    global.tell(|| document(&artifact, &report), || told(&artifact, &report, &rewound))
}

/// Temporaries of killed exports in the folder of the output: told, or removed with `--clean`.
fn what_was_left(args: &ExportArgs) -> Result<Vec<String>, Failure> {
    const SHOWN: usize = 3;
    let left = stale::find(&folder_of(&args.out));
    if left.is_empty() {
        return Ok(Vec::new());
    }
    let total = text::size(left.iter().map(|one| one.bytes).sum());
    if args.clean {
        let removed = stale::remove(&left).map_err(Error::from)?;
        let back = |path| format!("{} has its name back, which a killed export had taken from it", display_path(path));
        let mut notes: Vec<String> = removed.restored.iter().map(|path| back(path)).collect();
        if left.len() > notes.len() {
            notes.push(format!("removed what killed exports had left, {}", text::size(removed.freed)));
        }
        return Ok(notes);
    }
    let one = |Stale { path, bytes, back_to }: &Stale| {
        let (path, size) = (display_path(path), text::size(*bytes));
        match back_to {
            Some(name) => format!("{path} holds {}, moved aside by a killed export, {size}", display_path(name)),
            None => format!("{path} was left by a killed export, {size}"),
        }
    };
    let mut notes: Vec<String> = left.iter().take(SHOWN).map(one).collect();
    notes.push(match left.len() {
        1 if left.iter().all(|one| one.back_to.is_some()) => "--clean puts it back".to_owned(),
        1 => "--clean removes it".to_owned(),
        count => format!("--clean removes all {count}, {total}"),
    });
    Ok(notes)
}

#[derive(Serialize)]
struct Document<'a, F, E> {
    out: Value,
    files: F,
    notes: &'a [String],
    verified: Verified,
    estimate: E,
}

#[derive(Serialize)]
struct Written {
    path: Value,
    bytes: u64,
}

#[derive(Serialize)]
struct Verified {
    tensors: usize,
    max_abs_difference: Value,
}

fn document(artifact: &Artifact, report: &Report<'_>) -> impl Serialize {
    let verification = &artifact.verification;
    Document {
        out: json::path(&artifact.out),
        files: json::lines(&artifact.files, |(path, bytes)| Written { path: json::path(path), bytes: *bytes }),
        notes: &artifact.notes,
        verified: Verified {
            tensors: verification.tensors.len(),
            max_abs_difference: json::number(verification.max_abs_difference()),
        },
        estimate: report.document(),
    }
}

fn told(artifact: &Artifact, report: &Report<'_>, request: &Request) -> String {
    let mut out = String::new();
    for (path, bytes) in &artifact.files {
        out += &format!("wrote {}, {}\n", display_path(path), text::size(*bytes));
    }
    let verified = artifact.verification.tensors.len();
    out += &format!(
        "read back: {} as planned, largest difference {}\n\n",
        text::counted(verified, "tensor"),
        text::short(artifact.verification.max_abs_difference())
    );
    let touched = (0..request.model.tensors.len()).filter(|&i| request.plan.is_touched(i)).count();
    out += &format!("{} compressed for target {}\n", text::counted(touched, "tensor"), request.plan.target.name());
    out + &report.headline()
}
