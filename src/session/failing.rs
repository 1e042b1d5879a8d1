//! What the window's state does when work behind it fails: who is told, what is no longer believed, how it is begun again.

use super::jobs;
use super::live::{Live, Outcome, Row};
use super::trouble::{Cause, Work};
use crate::formats::error::printable;
use crate::formats::source::Access;
use crate::model::Tensor;
use std::path::PathBuf;
use std::time::{Duration, Instant};

impl Live {
    /// Takes in a failure.
    pub(super) fn fail(&mut self, work: Work, cause: Cause) {
        if work == Work::Export {
            self.outcome = Some(Outcome::Failed(cause.words()));
        }
        if work == Work::Report {
            self.report_failed(cause.words());
        }
        if work == Work::Spectrum {
            self.spectrum_failed(cause.words());
        }
        if work == Work::Compare {
            self.comparisons_failed();
        }
        if matches!(cause, Cause::Changed(_)) && !self.troubles.is_source_changed() {
            // What is still being read is of no use; an artifact that is being written finds out by itself.
            let running = &mut self.running;
            (running.profile, running.estimate, running.measure) = (None, None, None);
            (running.source, running.baseline, running.compare) = (None, None, None);
        }
        self.troubles.report(work, &cause, self.model.access == Access::Read);
        if self.troubles.is_source_changed() {
            self.mistrust();
        }
    }

    /// Marks every number as old: they are of a file that is no longer there.
    pub(super) fn mistrust(&mut self) {
        self.rows.iter_mut().for_each(|row| row.fresh = false);
        self.waiting.clear();
        self.exact_due = false;
        self.cache.clear();
        self.beside.mistrust();
        if let Some(measured) = &mut self.measured {
            measured.fresh = false;
        }
    }

    /// Begins work again that failed.
    pub fn try_again(&mut self, work: Work) {
        if self.troubles.is_source_changed() {
            return;
        }
        match work {
            Work::Profile => self.resume_profile(),
            Work::Estimate => {
                // A refusal may have been of the moment.
                self.rows.iter_mut().for_each(|row| row.refusal = None);
                self.start_estimates(None);
            }
            Work::Measure => self.start_measure(),
            Work::Source => self.start_source(),
            Work::Baseline => self.start_baseline(),
            Work::Spectrum => self.try_spectra_again(),
            Work::Preset => {
                if let Some(choice) = self.last_preset {
                    self.apply_preset(choice);
                }
            }
            Work::Beside => self.open_beside_again(),
            Work::Compare => self.compare_again(),
            Work::Report => self.report_again(),
            Work::Export => {
                if let Some((out, force)) = self.last_export.clone() {
                    self.export(out, force);
                }
            }
        }
    }

    /// Measures the untouched network, where there is one that can be run.
    pub(super) fn start_source(&mut self) {
        if let Some(network) = &self.network {
            let job = jobs::measure_source(self.model.clone(), network.clone(), self.reporter.clone());
            self.running.source = Some(job);
        }
    }

    /// Whether accuracy is being measured.
    #[must_use]
    pub fn is_measuring(&self) -> bool {
        self.running.measure.is_some()
    }

    /// Why a tensor has not been read, when reading it failed.
    #[must_use]
    pub fn unread(&self, index: usize) -> Option<&str> {
        self.unread.get(&index).map(String::as_str)
    }

    /// What keeps some tensors from having been read, as part of a sentence.
    #[must_use]
    pub fn why_unread(&self) -> String {
        match self.unread.len() {
            _ if self.troubles.is_source_changed() => "the model changed while it was open".to_owned(),
            0 => "reading was cancelled".to_owned(),
            1 => "1 tensor could not be read".to_owned(),
            several => format!("{several} tensors could not be read"),
        }
    }

    /// Why numbers are old or not there, as part of a sentence; `None` when all are there.
    #[must_use]
    pub fn why_stale(&self) -> Option<String> {
        if self.is_fresh() {
            return None;
        }
        let refused = |(tensor, row): (&Tensor, &Row)| Some((printable(&tensor.name), row.refusal.clone()?));
        let refused: Vec<_> = self.model.tensors.iter().zip(&self.rows).filter_map(refused).collect();
        Some(match &refused[..] {
            _ if self.troubles.is_source_changed() => self.why_unread(),
            [(name, why)] => format!("{name} has no numbers for its scheme ({why})"),
            [(name, why), ..] => {
                format!("{} tensors have no numbers for their schemes, {name} the first ({why})", refused.len())
            }
            [] if self.is_busy() => "they are still being worked out".to_owned(),
            [] => self.why_unread(),
        })
    }

    /// Why nothing can be exported now, if so.
    #[must_use]
    pub fn export_refusal(&self) -> Option<&'static str> {
        self.troubles.is_source_changed().then_some("The model changed while it was open; open it again, then export")
    }

    /// What is being written of this model, as a sentence begins: another model in its place would stop it.
    #[must_use]
    pub fn being_written(&self) -> Option<&'static str> {
        let export = self.running.export.as_ref().map(|_| "An export");
        export.or_else(|| self.running.report.as_ref().map(|_| "A report"))
    }

    /// Stops an export and waits until its temporary is gone; not longer than `patience`.
    pub fn end_export(&self, patience: Duration) {
        let Some(job) = &self.running.export else { return };
        job.control.cancel();
        let until = Instant::now() + patience;
        while !job.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts to write the artifact, unless one is being written: that one would be stopped.
    pub fn export(&mut self, out: PathBuf, force: bool) {
        if let Some(why) = self.export_refusal() {
            self.outcome = Some(Outcome::Failed(why.to_owned()));
            return;
        }
        if self.running.export.is_some() {
            return;
        }
        self.troubles.retract(Work::Export);
        self.outcome = None;
        self.last_export = Some((out.clone(), force));
        let (model, plan, recipe) = (self.model.clone(), self.plan.clone(), self.recipe.clone());
        self.running.export = Some(jobs::export(model, plan, recipe, out, force, self.reporter.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::jobs::{BaselinePoint, Event};
    use super::super::trouble::Next;
    use super::*;
    use crate::model::{OpenOptions, open};
    use crate::recipe::Recipe;
    use std::path::Path;
    use std::sync::Arc;

    fn demo() -> Live {
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        Live::new(Arc::new(model), Recipe::default(), None, Arc::new(|| {})).unwrap()
    }

    fn settle(live: &mut Live) {
        while live.is_busy() {
            live.poll();
            std::thread::yield_now();
        }
        live.poll();
    }

    #[test]
    fn one_tensor_that_cannot_be_read_is_told_and_the_others_have_their_numbers() {
        let mut live = demo();
        settle(&mut live);
        live.reporter.send(Event::Unread(1, Cause::Unread("m: cannot be read".into())));
        live.poll();
        assert_eq!((live.unread(1), live.unread(0)), (Some("m: cannot be read"), None));
        assert!(live.is_fresh() && !live.is_busy() && live.why_stale().is_none());
        assert_eq!(live.why_unread(), "1 tensor could not be read");
        assert_eq!(live.troubles.newest().unwrap().next, Some(Next::ReadInPieces));
        live.reporter.send(Event::Failed(Work::Baseline, Cause::Panic("odd".into())));
        live.poll();
        assert_eq!(live.troubles.count(), 2);
        live.try_again(Work::Baseline);
        settle(&mut live);
        assert_eq!(live.baseline.len(), 6);
    }

    #[test]
    fn numbers_of_a_changed_source_are_old_and_stay_so() {
        let mut live = demo();
        live.reporter.send(Event::Failed(Work::Profile, Cause::Changed("m changed".into())));
        settle(&mut live);
        assert!(live.rows.iter().all(|row| !row.fresh));
        assert!(live.why_stale().unwrap().contains("the model changed"));
        live.set_target(crate::recipe::Target::Safetensors).unwrap();
        for work in [Work::Profile, Work::Estimate, Work::Measure, Work::Baseline, Work::Spectrum, Work::Export] {
            live.try_again(work);
        }
        live.export(PathBuf::from("nowhere/out.spk"), false);
        settle(&mut live);
        assert!(live.rows.iter().all(|row| !row.fresh));
        assert!(matches!(&live.outcome, Some(Outcome::Failed(why)) if why.contains("changed")));
        assert!(!live.troubles.dismiss() && live.troubles.newest().is_some());
    }

    #[test]
    fn a_second_export_does_not_stop_the_first_and_a_good_one_takes_its_failure_back() {
        let folder = std::env::temp_dir().join(format!("spokeshave-failing-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut live = demo();
        settle(&mut live);
        live.export(folder.join("no/such/out.spk"), false);
        settle(&mut live);
        assert_eq!(live.troubles.count(), 1);
        live.export(folder.join("first.spk"), false);
        live.export(folder.join("second.spk"), false);
        settle(&mut live);
        assert!(matches!(&live.outcome, Some(Outcome::Done(_))) && live.troubles.count() == 0);
        assert!(folder.join("first.spk").exists() && !folder.join("second.spk").exists());
        // A window that goes in the middle of one leaves nothing.
        live.export(folder.join("third.spk"), false);
        live.end_export(Duration::from_secs(20));
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().ends_with(".tmp")));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_an_earlier_baseline_still_says_is_not_of_this_one() {
        let mut live = demo();
        settle(&mut live);
        let (before, late) = (live.baseline.clone(), live.baselines - 1);
        live.reporter.send(Event::Baseline(
            late,
            BaselinePoint { label: "9 b".into(), bytes: 1, fidelity: 1.0, accuracy: None },
        ));
        settle(&mut live);
        assert!(before.len() == 6 && live.baseline == before);
    }

    #[test]
    fn an_export_that_panics_is_an_export_that_failed() {
        let mut live = demo();
        live.reporter.send(Event::Failed(Work::Export, Cause::Panic("odd".into())));
        settle(&mut live);
        assert!(matches!(&live.outcome, Some(Outcome::Failed(why)) if why.contains("odd")));
        assert_eq!(live.troubles.newest().unwrap().next, Some(Next::TryAgain(Work::Export)));
    }
}
