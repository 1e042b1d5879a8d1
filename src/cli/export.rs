//! `export`: writes what was estimated, reads it back, and says what was found.

use super::args::{ExportArgs, Global};
use super::estimate::{self, Report};
use super::{Failure, json, progress, text};
use crate::export::{Artifact, check_destination};
use crate::formats::error::display_path;
use crate::session::{Error, Request};
use serde_json::{Value, json};

/// Opens, writes, verifies, prints.
pub fn run(args: &ExportArgs, global: &Global) -> Result<(), Failure> {
    let request = estimate::open(&args.model, &args.recipe, global)?;
    check_destination(&request.model, &args.out, args.force).map_err(Error::from)?;
    let artifact =
        progress::watch(global.quiet, "exporting", |control| request.export(&args.out, args.force, control))?;
    let report = Report { request: &request, estimate: &artifact.estimate, values_read: true };
    global.tell(|| document(&artifact, &report), || told(&artifact, &report, &request))
}

fn document(artifact: &Artifact, report: &Report<'_>) -> Value {
    let file = |(path, bytes): &(std::path::PathBuf, u64)| json!({"path": json::path(path), "bytes": bytes});
    json!({
        "out": json::path(&artifact.out),
        "files": artifact.files.iter().map(file).collect::<Vec<_>>(),
        "verified": {
            "tensors": artifact.verification.tensors.len(),
            "max_abs_difference": json::number(artifact.verification.max_abs_difference()),
        },
        "estimate": report.document(),
    })
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
