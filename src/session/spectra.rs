//! Singular values behind the window: found once per tensor, the one that is asked for first, and then a look-up.

use super::jobs;
use super::live::Live;
use super::running::Running;
use crate::estimate::Spectrum;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What is known of singular values, and what is still to be found.
#[derive(Debug, Default)]
pub(super) struct Spectra {
    /// Why tensors have none.
    refused: HashMap<usize, String>,
    /// Those among them that may have some at another attempt.
    failed: Vec<usize>,
    /// Tensors that wait, the next one first.
    waiting: VecDeque<usize>,
    /// The tensor whose singular values are being found.
    now: Option<usize>,
}

impl Live {
    /// The singular values of a tensor's matrix, once they are known; [`Live::want_spectrum`] asks for them.
    #[must_use]
    pub fn spectrum(&self, index: usize) -> Option<&Arc<Spectrum>> {
        self.engine.spectrum(index)
    }

    /// Why a tensor has no singular values.
    #[must_use]
    pub fn spectrum_refusal(&self, index: usize) -> Option<&str> {
        self.spectra.refused.get(&index).map(String::as_str)
    }

    /// Whether the singular values of a tensor are being found, or wait for it.
    #[must_use]
    pub fn spectrum_is_coming(&self, index: usize) -> bool {
        self.spectra.now == Some(index) || self.spectra.waiting.contains(&index)
    }

    /// Asks for the singular values of a tensor, before all others. May be called in every frame.
    pub fn want_spectrum(&mut self, index: usize) {
        if !self.lacks_spectrum(index) || self.spectra.now == Some(index) {
            return;
        }
        self.spectra.waiting.retain(|&other| other != index);
        self.spectra.waiting.push_front(index);
        if let Some(other) = self.spectra.now.take() {
            // Whoever looks on goes first; the other begins again later.
            self.spectra.waiting.push_back(other);
            self.running.spectrum = None;
        }
        self.start_spectrum();
    }

    /// Asks for the singular values of a tensor, after all others.
    pub(super) fn want_spectrum_later(&mut self, index: usize) {
        if self.lacks_spectrum(index) && !self.spectrum_is_coming(index) {
            self.spectra.waiting.push_back(index);
            self.start_spectrum();
        }
    }

    fn lacks_spectrum(&self, index: usize) -> bool {
        let tensor = &self.model.tensors[index];
        let has_some = tensor.is_float_source() && tensor.elements() > 0;
        has_some && self.engine.spectrum(index).is_none() && !self.spectra.refused.contains_key(&index)
    }

    fn start_spectrum(&mut self) {
        if self.spectra.now.is_some() || self.troubles.is_source_changed() {
            return;
        }
        let Some(index) = self.spectra.waiting.pop_front() else { return };
        self.spectra.now = Some(index);
        self.running.spectrum = Some(jobs::spectrum(self.model.clone(), index, self.reporter.clone()));
    }

    /// Takes in what a job found.
    pub(super) fn take_spectrum(&mut self, index: usize, result: Result<Arc<Spectrum>, String>) {
        self.spectra.waiting.retain(|&other| other != index);
        match result {
            Ok(spectrum) => self.engine.put_spectrum(index, spectrum),
            Err(why) => drop(self.spectra.refused.insert(index, why)),
        }
    }

    /// The job is through: the next one begins.
    pub(super) fn next_spectrum(&mut self) {
        self.spectra.now = None;
        self.start_spectrum();
    }

    /// The job failed. A tab asks for its tensor in every frame, and would begin it anew in every frame: it waits for
    /// [`Live::try_spectra_again`].
    pub(super) fn spectrum_failed(&mut self, why: String) {
        if let Some(index) = self.spectra.now {
            self.spectra.refused.insert(index, why);
            self.spectra.failed.push(index);
        }
    }

    /// Begins anew with what failed.
    pub(super) fn try_spectra_again(&mut self) {
        for index in std::mem::take(&mut self.spectra.failed) {
            self.spectra.refused.remove(&index);
            self.spectra.waiting.push_front(index);
        }
        if let Running { spectrum: None, .. } = self.running {
            self.next_spectrum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trouble::{Cause, Work};
    use super::*;
    use crate::model::{OpenOptions, open};
    use crate::recipe::Recipe;
    use std::path::Path;

    fn settled(live: &mut Live) {
        for _ in 0..30_000 {
            live.poll();
            if !live.is_busy() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("it does not settle");
    }

    #[test]
    fn a_rank_is_a_look_up_once_the_singular_values_are_known() {
        let model = Arc::new(open(Path::new("demo"), &OpenOptions::default()).unwrap());
        let mut live = Live::new(model.clone(), Recipe::default(), None, Arc::new(|| {})).unwrap();
        let fc1 = model.find("fc1.weight").unwrap();
        settled(&mut live);
        assert!(live.spectrum(fc1).is_none() && !live.spectrum_is_coming(fc1));
        live.want_spectrum(fc1);
        assert!(live.spectrum_is_coming(fc1) && live.is_busy());
        settled(&mut live);
        let spectrum = live.spectrum(fc1).unwrap().clone();
        assert_eq!((spectrum.values.len(), spectrum.break_even_rank()), (300, 216));
        // At once, before any job could answer.
        let set = |live: &mut Live, text: &str| {
            let scheme = text.parse().unwrap();
            live.set_scheme(fc1, &super::super::live::ApplyTo::This, &scheme, text, None).unwrap();
            live.catch_up();
            live.rows[fc1].clone()
        };
        for (text, rank) in [("rank:20", 20), ("rank:300", 300), ("energy:0.9", spectrum.rank_of_energy(0.9))] {
            let row = set(&mut live, text);
            let estimate = row.estimate.unwrap();
            let factors = estimate.factors.as_ref().unwrap();
            assert!(row.fresh && factors.rank == rank, "{text}");
            assert_eq!(estimate.label, crate::estimate::Label::Live);
            let promised = estimate.t2().unwrap();
            settled(&mut live);
            let exact = live.rows[fc1].estimate.clone().unwrap();
            assert_eq!(exact.label, crate::estimate::Label::Exact);
            let bytes = exact.factors.as_ref().unwrap().bytes as f64;
            assert!((factors.bytes as f64 / bytes - 1.0).abs() < 0.02, "{text}: {} {bytes}", factors.bytes);
            assert!((exact.t2().unwrap() - promised).abs() < 1e-9, "{text}");
            assert_eq!(exact.sparse_bytes, estimate.sparse_bytes, "{text}");
        }
        // Quantized factors are made by the exact kernel at once: the matrix is taken apart already.
        let row = set(&mut live, "rank:20+int8");
        assert!(row.fresh && row.estimate.unwrap().label == crate::estimate::Label::Exact);
        assert!(live.spectrum_refusal(fc1).is_none());
        // A product that takes longer than a frame waits for the exact pass.
        assert!(!set(&mut live, "rank:300+int8").fresh);
    }

    #[test]
    fn what_failed_is_begun_anew_when_it_is_told_to_and_not_before() {
        let model = Arc::new(open(Path::new("demo"), &OpenOptions::default()).unwrap());
        let mut live = Live::new(model.clone(), Recipe::default(), None, Arc::new(|| {})).unwrap();
        let fc2 = model.find("fc2.weight").unwrap();
        settled(&mut live);
        live.spectra.now = Some(fc2);
        live.reporter.send(jobs::Event::Failed(Work::Spectrum, Cause::Unread("m: cannot be read".into())));
        settled(&mut live);
        live.next_spectrum();
        for _ in 0..3 {
            live.want_spectrum(fc2);
        }
        assert!(!live.is_busy() && live.spectrum_refusal(fc2) == Some("m: cannot be read"));
        live.try_again(Work::Spectrum);
        settled(&mut live);
        assert!(live.spectrum(fc2).is_some() && live.spectrum_refusal(fc2).is_none());
    }
}
