//! The choice under the hand, told to others: as text in one of its forms, and as a report that is estimated exactly and
//! written behind the window.

use super::jobs::{Event, Job, Reporter, spawn};
use super::live::Live;
use super::trouble::{Cause, Work};
use crate::control::Progress;
use crate::estimate::total::estimate_model;
use crate::export::atomic::write_whole;
use crate::export::{check_not_source, check_replaced};
use crate::formats::error::display_path;
use crate::model::Model;
use crate::recipe::{Plan, Recipe};
use crate::share::forms::Form;
use crate::share::{Choice, Told, by_ending};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A report that was written: where, and its bytes; or why not.
pub type Reported = Result<(PathBuf, u64), String>;

/// What the window knows of reports.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// How the last one ended.
    reported: Option<Reported>,
    /// Where the last one was to go, and whether it may replace what is there.
    last: Option<(PathBuf, bool)>,
}

impl Live {
    /// The choice in a form, letter by letter what the commands print of the same recipe.
    ///
    /// # Errors
    /// Why the model or the recipe has no words in it, in a sentence.
    pub fn words(&self, form: &Form) -> Result<String, String> {
        let choice = Choice { model: &self.model, recipe: &self.recipe, plan: &self.plan };
        (form.words)(choice).map_err(|error| error.to_string())
    }

    /// Starts to write a report, unless one is being written. Whatever is on the screen, its numbers are exact.
    pub fn report(&mut self, out: PathBuf, force: bool) {
        if self.troubles.is_source_changed() {
            let why = "The model changed while it was open; open it again, then write the report";
            self.telling.reported = Some(Err(why.to_owned()));
            return;
        }
        if self.running.report.is_some() {
            return;
        }
        self.troubles.retract(Work::Report);
        self.telling = Telling { reported: None, last: Some((out.clone(), force)) };
        let told = (self.model.clone(), self.plan.clone(), self.recipe.clone());
        self.running.report = Some(report(told, out, force, self.reporter.clone()));
    }

    /// Writes the last report again that failed.
    pub(super) fn report_again(&mut self) {
        if let Some((out, force)) = self.telling.last.clone() {
            self.report(out, force);
        }
    }

    /// How the last report ended.
    #[must_use]
    pub fn reported(&self) -> Option<&Reported> {
        self.telling.reported.as_ref()
    }

    /// Forgets how the last report ended.
    pub fn forget_report(&mut self) {
        self.telling.reported = None;
    }

    /// The report, while it is being written.
    #[must_use]
    pub fn report_progress(&self) -> Option<Progress> {
        self.running.report.as_ref().map(|job| job.control.progress())
    }

    /// Stops it; what was at its place stays.
    pub fn cancel_report(&mut self) {
        if let Some(job) = &self.running.report {
            job.control.cancel();
        }
    }

    pub(super) fn take_report(&mut self, result: Result<(PathBuf, u64), Cause>) {
        match result {
            Ok(written) => self.telling.reported = Some(Ok(written)),
            Err(cause) => self.fail(Work::Report, cause),
        }
    }

    pub(super) fn report_failed(&mut self, why: String) {
        self.telling.reported = Some(Err(why));
    }
}

/// Estimates a plan exactly and writes its report.
fn report(told: (Arc<Model>, Arc<Plan>, Recipe), out: PathBuf, force: bool, reporter: Reporter) -> Job {
    spawn(Work::Report, reporter, move |control, reporter| {
        let (model, plan, recipe) = &told;
        let write = || {
            let make = by_ending(&out).ok_or_else(|| Cause::Refused(unknown_ending(&out)))?;
            check_replaced(&out, force)?;
            check_not_source(model, &out)?;
            let estimate = &estimate_model(model, plan, recipe, control)?;
            let text = make(Told { model, recipe, plan, estimate });
            // What came there meanwhile is not replaced either.
            check_replaced(&out, force)?;
            write_whole(&out, text.as_bytes())?;
            Ok(text.len() as u64)
        };
        let result: Result<u64, Cause> = write();
        reporter.send(Event::Reported(result.map(|bytes| (out, bytes))));
        Ok(())
    })
}

/// What is said of a path whose ending names no kind of report.
#[must_use]
pub fn unknown_ending(out: &Path) -> String {
    format!("{}: its ending says what is written: .html for a page, .csv for a table", display_path(out))
}
