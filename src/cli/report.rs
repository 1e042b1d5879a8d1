//! `report`: one configuration to show and to compute with, exactly estimated and written whole.

use super::args::{Global, ReportArgs};
use super::estimate::open;
use super::recipe::check_out;
use super::{Failure, json, progress};
use crate::export::atomic::write_whole;
use crate::export::check_not_source;
use crate::formats::error::display_path;
use crate::session::{Error, unknown_ending};
use crate::share::{Told, by_ending};
use serde_json::json;

/// Opens, estimates, writes a page or a table.
pub fn run(args: &ReportArgs, global: &Global) -> Result<(), Failure> {
    let Some(make) = by_ending(&args.out) else {
        return Err(Failure::Usage(unknown_ending(&args.out)));
    };
    check_out(&args.out, args.force)?;
    let request = open(&args.model, &args.recipe, global)?;
    check_not_source(&request.model, &args.out).map_err(Error::from)?;
    let estimate = &progress::watch(global.quiet, "estimating", |control| request.estimate(control))?;
    let told = Told { model: &request.model, recipe: &request.recipe, plan: &request.plan, estimate };
    let text = make(told);
    // Somebody may have written there while the weights were read.
    check_out(&args.out, args.force)?;
    write_whole(&args.out, text.as_bytes()).map_err(Error::from)?;
    global.tell(
        || json!({"out": json::path(&args.out), "bytes": text.len(), "estimate": estimate.bytes}),
        || format!("wrote {}\n", display_path(&args.out)),
    )
}
