//! What went wrong behind the window, in words, with the next step where there is one; kept until it is put away.
//!
//! ```text
//! a job's error or panic ─► Cause ─► Event::Failed ─► Troubles ─► the banner: words, next step, how many more
//! ```
//!
//! A source that changed while it was open is the one trouble that stays: what is on the screen is of a file that is no
//! longer there, and no number of it can be kept or exported until it is opened again.

use crate::formats::ErrorKind;
use crate::formats::error::printable;
use crate::{compress, export, formats, profile, recipe};

/// Work behind the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Reading the model.
    Profile,
    /// Confirming live numbers.
    Estimate,
    /// Measuring accuracy.
    Measure,
    /// Measuring the untouched network.
    Source,
    /// The uniform baseline.
    Baseline,
    /// Finding singular values.
    Spectrum,
    /// Working out a preset.
    Preset,
    /// Opening a checkpoint to stand beside the model.
    Beside,
    /// Comparing with it.
    Compare,
    /// Writing an artifact.
    Export,
    /// Writing a report.
    Report,
}

impl Work {
    /// A word for its thread.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Estimate => "estimate",
            Self::Measure => "measure",
            Self::Source => "measure-source",
            Self::Baseline => "baseline",
            Self::Spectrum => "spectrum",
            Self::Preset => "preset",
            Self::Beside => "beside",
            Self::Compare => "compare",
            Self::Export => "export",
            Self::Report => "report",
        }
    }

    /// What did not come to its end, at the beginning of a sentence.
    const fn subject(self) -> &'static str {
        match self {
            Self::Profile => "Reading the model",
            Self::Estimate => "The exact pass",
            Self::Measure => "Measuring accuracy",
            Self::Source => "Measuring the untouched network",
            Self::Baseline => "The uniform baseline",
            Self::Spectrum => "Finding singular values",
            Self::Preset => "The preset",
            Self::Beside => "Opening the other checkpoint",
            Self::Compare => "Comparing with the other checkpoint",
            Self::Export => "The export",
            Self::Report => "The report",
        }
    }

    /// Whether it is about files beside those of the model, which may be there or change at another attempt.
    const fn is_of_the_world_outside(self) -> bool {
        matches!(self, Self::Export | Self::Report | Self::Beside | Self::Compare)
    }

    /// How it is begun again.
    const fn again(self) -> Next {
        match self {
            Self::Profile => Next::ReadOn,
            other => Next::TryAgain(other),
        }
    }
}

/// Why work ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A file of the model is not the one that was opened.
    Changed(String),
    /// A file could not be read.
    Unread(String),
    /// What was asked for cannot be done.
    Refused(String),
    /// A panic: a bug, and its message.
    Panic(String),
    /// It was stopped, and nobody need be told.
    Cancelled,
}

impl Cause {
    /// The reason alone.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Changed(words) | Self::Unread(words) | Self::Refused(words) => words.clone(),
            Self::Panic(text) if text.is_empty() => "stopped unexpectedly".to_owned(),
            Self::Panic(text) => format!("stopped unexpectedly: {text}"),
            Self::Cancelled => "cancelled".to_owned(),
        }
    }
}

impl From<formats::Error> for Cause {
    fn from(error: formats::Error) -> Self {
        let words = error.to_string();
        match error.kind {
            ErrorKind::Changed { what } => {
                let name = error.path.file_name().unwrap_or(error.path.as_os_str());
                Self::Changed(format!("{} changed while it was open ({what})", printable(&name.to_string_lossy())))
            }
            ErrorKind::Read(_) | ErrorKind::Open(_) => Self::Unread(words),
            _ => Self::Refused(words),
        }
    }
}

impl From<profile::Error> for Cause {
    fn from(error: profile::Error) -> Self {
        match error {
            profile::Error::Format(error) => error.into(),
            profile::Error::Cancelled => Self::Cancelled,
        }
    }
}

impl From<compress::Error> for Cause {
    fn from(error: compress::Error) -> Self {
        match error {
            compress::Error::Format(error) => error.into(),
            compress::Error::Cancelled => Self::Cancelled,
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<recipe::Error> for Cause {
    fn from(error: recipe::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<export::Error> for Cause {
    fn from(error: export::Error) -> Self {
        match error {
            export::Error::Format(error) => error.into(),
            export::Error::Compress(error) => error.into(),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<super::Error> for Cause {
    fn from(error: super::Error) -> Self {
        match error {
            super::Error::Format(error) => error.into(),
            super::Error::Recipe(error) => error.into(),
            super::Error::Compress(error) => error.into(),
            super::Error::Export(error) => error.into(),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// What can be done about a trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Open the model again, with the recipe as it stands.
    OpenAgain,
    /// The same, with positioned reads in place of a map.
    ReadInPieces,
    /// Read what is not read yet.
    ReadOn,
    /// Begin the work again.
    TryAgain(Work),
}

impl Next {
    /// What its button says.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::OpenAgain => "Open it again",
            Self::ReadInPieces => "Use positioned reads",
            Self::ReadOn => "Read on",
            Self::TryAgain(_) => "Try again",
        }
    }
}

/// One thing that went wrong, however often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened and why.
    pub words: String,
    /// What can be done.
    pub next: Option<Next>,
    /// How often it happened: many tensors may fail in the same way.
    pub times: usize,
    /// Whether it is there until the model is opened again.
    pub stays: bool,
    about: Option<(Work, std::mem::Discriminant<Cause>)>,
}

impl Trouble {
    /// The words, and how many more there were of it.
    #[must_use]
    pub fn text(&self) -> String {
        match self.times {
            0 | 1 => self.words.clone(),
            more => format!("{} (and {} more like it)", self.words, more - 1),
        }
    }
}

/// Troubles kept at most; what is older is surely no news.
const MOST: usize = 50;

/// All that is not put away yet: the one that stays first, then as they came.
#[derive(Debug, Default)]
pub struct Troubles(Vec<Trouble>);

impl Troubles {
    /// Files a failure of background work. `in_pieces` says that files are read in pieces already.
    pub fn report(&mut self, work: Work, cause: &Cause, in_pieces: bool) {
        let next = match cause {
            Cause::Cancelled => return,
            Cause::Changed(words) => return self.source_changed(words),
            // What cannot even be opened is not read better in pieces.
            Cause::Unread(_) if !in_pieces && work != Work::Beside => Some(Next::ReadInPieces),
            // What is refused is refused again, unless the world outside has changed.
            Cause::Refused(_) if !work.is_of_the_world_outside() => None,
            Cause::Unread(_) | Cause::Refused(_) | Cause::Panic(_) => Some(work.again()),
        };
        let about = Some((work, std::mem::discriminant(cause)));
        let words = match cause {
            Cause::Panic(_) => format!("{} {}", work.subject(), cause.words()),
            _ => format!("{} did not come to its end: {}", work.subject(), cause.words()),
        };
        self.add(Trouble { words, next, times: 1, stays: false, about });
    }

    /// Files something that is no work's fault.
    pub fn say(&mut self, words: String, next: Option<Next>) {
        self.add(Trouble { words, next, times: 1, stays: false, about: None });
    }

    fn add(&mut self, trouble: Trouble) {
        let same = |old: &Trouble| {
            let alike = if trouble.about.is_some() { old.about == trouble.about } else { old.words == trouble.words };
            alike && old.next == trouble.next && !old.stays
        };
        let trouble = match self.0.iter().position(same) {
            Some(at) => {
                let old = self.0.remove(at);
                Trouble { times: old.times + 1, words: old.words, ..trouble }
            }
            None => trouble,
        };
        if self.0.len() >= MOST {
            self.0.remove(usize::from(self.is_source_changed()));
        }
        self.0.push(trouble);
    }

    fn source_changed(&mut self, words: &str) {
        if !self.is_source_changed() {
            let words = format!("{words}: the numbers are of the file as it was");
            let next = Some(Next::OpenAgain);
            self.0.insert(0, Trouble { words, next, times: 1, stays: true, about: None });
        }
    }

    /// Takes back what was said of work that is begun anew; if it fails again, it is said again.
    pub fn retract(&mut self, work: Work) {
        self.0.retain(|trouble| trouble.about.is_none_or(|(of, _)| of != work));
    }

    /// Whether a file of the model is no longer the one that was opened.
    #[must_use]
    pub fn is_source_changed(&self) -> bool {
        self.0.first().is_some_and(|trouble| trouble.stays)
    }

    /// The one to be shown.
    #[must_use]
    pub fn newest(&self) -> Option<&Trouble> {
        self.0.last()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Puts the newest away, unless it stays. Gives whether there was one to put away.
    pub fn dismiss(&mut self) -> bool {
        self.0.pop_if(|trouble| !trouble.stays).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_shown_and_what_is_alike_is_counted() {
        let mut troubles = Troubles::default();
        troubles.report(Work::Profile, &Cause::Unread("a: cannot be read".into()), false);
        troubles.report(Work::Baseline, &Cause::Panic("odd".into()), false);
        troubles.report(Work::Profile, &Cause::Unread("b: cannot be read".into()), false);
        troubles.report(Work::Estimate, &Cause::Cancelled, false);
        assert_eq!(troubles.count(), 2);
        let newest = troubles.newest().unwrap();
        assert!(newest.text().contains("a: cannot be read") && newest.text().ends_with("(and 1 more like it)"));
        assert_eq!(newest.next, Some(Next::ReadInPieces));
        assert!(troubles.dismiss());
        assert_eq!(troubles.newest().unwrap().text(), "The uniform baseline stopped unexpectedly: odd");
        assert_eq!(troubles.newest().unwrap().next, Some(Next::TryAgain(Work::Baseline)));
        troubles.say("the disk is full".into(), None);
        troubles.retract(Work::Baseline);
        assert_eq!(troubles.newest().unwrap().text(), "the disk is full");
        assert!(troubles.dismiss() && !troubles.dismiss());
    }

    #[test]
    fn a_changed_source_stays_under_whatever_else_there_is() {
        let mut troubles = Troubles::default();
        for i in 0..2 * MOST {
            troubles.say(format!("trouble {i}"), None);
            troubles.report(Work::Estimate, &Cause::Changed("m changed".into()), true);
        }
        assert_eq!(troubles.count(), MOST);
        troubles.retract(Work::Estimate);
        while troubles.dismiss() {}
        let stays = troubles.newest().unwrap();
        assert_eq!((troubles.count(), stays.next, stays.stays), (1, Some(Next::OpenAgain), true));
    }
}
