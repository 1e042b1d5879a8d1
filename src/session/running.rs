//! The jobs that run behind the window, one of each kind at most.

use super::jobs::Job;

/// One place per kind of job. Putting a new one in place of an old one cancels the old.
#[derive(Debug, Default)]
pub struct Running {
    /// Reads the model.
    pub profile: Option<Job>,
    /// Confirms live numbers exactly.
    pub estimate: Option<Job>,
    /// Measures accuracy.
    pub measure: Option<Job>,
    /// Measures the untouched network, once.
    pub source: Option<Job>,
    /// Computes the uniform baseline.
    pub baseline: Option<Job>,
    /// Finds singular values.
    pub spectrum: Option<Job>,
    /// Works out a preset.
    pub preset: Option<Job>,
    /// Opens a checkpoint to stand beside the model.
    pub beside: Option<Job>,
    /// Compares tensors with those of that checkpoint.
    pub compare: Option<Job>,
    /// Writes an artifact.
    pub export: Option<Job>,
    /// Writes a report.
    pub report: Option<Job>,
}

/// Which jobs ended since they were asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one word for each kind of job")]
pub struct Through {
    /// The reading of the model.
    pub profile: bool,
    /// The exact pass.
    pub estimate: bool,
    /// The measurement.
    pub measure: bool,
    /// The measurement of the source.
    pub source: bool,
    /// The baseline.
    pub baseline: bool,
    /// The singular values of a tensor.
    pub spectrum: bool,
    /// A preset.
    pub preset: bool,
    /// The opening of a checkpoint.
    pub beside: bool,
    /// The comparison.
    pub compare: bool,
    /// The export.
    pub export: bool,
    /// The report.
    pub report: bool,
}

impl Running {
    /// Whether anything runs.
    #[must_use]
    pub fn is_any(&self) -> bool {
        let Self { profile, estimate, measure, source, baseline, spectrum, preset, beside, compare, export, report } =
            self;
        let jobs = [profile, estimate, measure, source, baseline, spectrum, preset, beside, compare, export, report];
        jobs.iter().any(|job| job.is_some())
    }

    /// Which are through. Everything they had to say is then in the channel.
    #[must_use]
    pub fn through(&self) -> Through {
        let ended = |job: &Option<Job>| job.as_ref().is_some_and(Job::is_finished);
        Through {
            profile: ended(&self.profile),
            estimate: ended(&self.estimate),
            measure: ended(&self.measure),
            source: ended(&self.source),
            baseline: ended(&self.baseline),
            spectrum: ended(&self.spectrum),
            preset: ended(&self.preset),
            beside: ended(&self.beside),
            compare: ended(&self.compare),
            export: ended(&self.export),
            report: ended(&self.report),
        }
    }

    /// Forgets those that are through. One that was put in the place of such a one meanwhile goes on.
    pub fn put_away(&mut self, through: Through) {
        let clear = |job: &mut Option<Job>, ended: bool| {
            if ended && job.as_ref().is_some_and(Job::is_finished) {
                *job = None;
            }
        };
        clear(&mut self.profile, through.profile);
        clear(&mut self.estimate, through.estimate);
        clear(&mut self.measure, through.measure);
        clear(&mut self.source, through.source);
        clear(&mut self.baseline, through.baseline);
        clear(&mut self.spectrum, through.spectrum);
        clear(&mut self.preset, through.preset);
        clear(&mut self.beside, through.beside);
        clear(&mut self.compare, through.compare);
        clear(&mut self.export, through.export);
        clear(&mut self.report, through.report);
    }
}
