//! The only network the program runs itself: small enough that a thousand digits are classified
//! between two frames, which is what lets accuracy follow a slider.
//!
//! A plain multilayer perceptron: every layer is `x · Wᵀ + b`, with a ReLU between layers and
//! none after the last. Weights are [out, in], as PyTorch's `Linear` stores them.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;
use thiserror::Error;

use super::mnist::TestSet;

/// Images per matrix product: enough to keep the kernel busy, few enough that two cores share a
/// thousand images evenly and cancelling takes effect within milliseconds.
const BATCH: usize = 250;

/// Why layers do not make a network. Layers are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MlpError {
    /// There is no layer at all.
    #[error("a network needs at least one layer")]
    NoLayers,
    /// A layer has no inputs or no outputs.
    #[error("layer {layer} is empty: its weight is [{outputs}, {inputs}]")]
    EmptyLayer {
        /// Which layer.
        layer: usize,
        /// Rows of its weight.
        outputs: usize,
        /// Columns of its weight.
        inputs: usize,
    },
    /// A bias has not one number per row of its weight.
    #[error("layer {layer} has {outputs} outputs but a bias of {bias}")]
    Bias {
        /// Which layer.
        layer: usize,
        /// Rows of its weight.
        outputs: usize,
        /// Numbers in its bias.
        bias: usize,
    },
    /// A layer does not take what the layer before it gives.
    #[error("layer {layer} takes {inputs} inputs but the layer before it gives {given}")]
    Chain {
        /// Which layer.
        layer: usize,
        /// Columns of its weight.
        inputs: usize,
        /// Rows of the weight before it.
        given: usize,
    },
}

/// A multilayer perceptron with ReLU between layers, whose shapes have been checked.
#[derive(Debug, Clone)]
pub struct Mlp {
    /// Weight [out, in] and bias [out], first layer first.
    layers: Vec<(Array2<f32>, Array1<f32>)>,
}

impl Mlp {
    /// A network of `layers`, each a weight `[out, in]` and a bias `[out]`, first layer first.
    pub fn new(layers: Vec<(Array2<f32>, Array1<f32>)>) -> Result<Self, MlpError> {
        if layers.is_empty() {
            return Err(MlpError::NoLayers);
        }
        let mut given = None;
        for (layer, (weight, bias)) in layers.iter().enumerate() {
            let (outputs, inputs) = weight.dim();
            if outputs == 0 || inputs == 0 {
                return Err(MlpError::EmptyLayer { layer, outputs, inputs });
            }
            if bias.len() != outputs {
                return Err(MlpError::Bias { layer, outputs, bias: bias.len() });
            }
            match given {
                Some(given) if given != inputs => {
                    return Err(MlpError::Chain { layer, inputs, given });
                }
                _ => given = Some(outputs),
            }
        }
        Ok(Self { layers })
    }

    /// Weight `[out, in]` and bias `[out]` of every layer, first layer first.
    pub fn layers(&self) -> &[(Array2<f32>, Array1<f32>)] {
        &self.layers
    }

    /// Numbers taken per image.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |(weight, _)| weight.ncols())
    }

    /// Numbers given per image: one logit per class.
    pub fn classes(&self) -> usize {
        self.layers.last().map_or(0, |(weight, _)| weight.nrows())
    }

    /// One logit per class [n, classes] for `images` [n, inputs].
    ///
    /// # Panics
    /// If the images have not [`Mlp::inputs`] columns.
    pub fn logits(&self, images: ArrayView2<f32>) -> Array2<f32> {
        let mut hidden: Option<Array2<f32>> = None;
        for (weight, bias) in &self.layers {
            let mut output = match &mut hidden {
                None => images.dot(&weight.t()),
                Some(input) => {
                    // Not `max`, which would turn a NaN into an innocent zero.
                    input.mapv_inplace(|x| if x < 0.0 { 0.0 } else { x });
                    input.dot(&weight.t())
                }
            };
            output += bias;
            hidden = Some(output);
        }
        hidden.unwrap_or_default()
    }

    /// How many images of `range` the network gets right, or nothing if `cancelled` became true.
    ///
    /// The range is cut short at the end of the set. The answer does not depend on the number of
    /// threads; `cancelled` is asked once per 250 images.
    ///
    /// # Panics
    /// If the network does not take images of the set's size (see [`Mlp::inputs`]).
    pub fn accuracy(
        &self,
        set: &TestSet,
        range: Range<usize>,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Option<Accuracy> {
        let end = range.end.min(set.len());
        let start = range.start.min(end);
        let correct = (0..(end - start).div_ceil(BATCH))
            .into_par_iter()
            .map(|batch| {
                let first = start + batch * BATCH;
                let part = first..end.min(first + BATCH);
                (!cancelled()).then(|| self.count_correct(set, part))
            })
            .try_reduce(|| 0, |a, b| Some(a + b))?;
        Some(Accuracy { correct, n: end - start })
    }

    fn count_correct(&self, set: &TestSet, part: Range<usize>) -> usize {
        let logits = self.logits(set.batch(part.clone()).view());
        let right = |(row, &label): (ArrayView1<f32>, &u8)| best(row) == Some(usize::from(label));
        logits.rows().into_iter().zip(&set.labels()[part]).filter(|pair| right(*pair)).count()
    }

    /// What the network says of some images of the set, in the order of `numbers`.
    ///
    /// # Panics
    /// If there is no image of some number, or the network does not take such images.
    pub fn predictions(&self, set: &TestSet, numbers: &[usize]) -> Vec<Prediction> {
        let logits = self.logits(set.select(numbers).view());
        logits.rows().into_iter().map(Prediction::from_logits).collect()
    }
}

/// What a network says of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// The class of the largest logit, the lower class on a tie; nothing if all logits are NaN.
    pub class: Option<usize>,
    /// The softmax probability of that class, 0..1; 0 without a class.
    pub probability: f32,
}

impl Prediction {
    fn from_logits(logits: ArrayView1<f32>) -> Self {
        let Some(class) = best(logits) else {
            return Self { class: None, probability: 0.0 };
        };
        let top = logits[class];
        // The largest is 1 by definition: spelt out, an infinite logit gives no NaN here. NaN
        // logits weigh nothing, as they cannot win either.
        let weight = |&x: &f32| if x == top { 1.0 } else { (x - top).exp() };
        let sum: f32 = logits.iter().filter(|x| !x.is_nan()).map(weight).sum();
        Self { class: Some(class), probability: 1.0 / sum }
    }
}

/// The class of the largest logit: the lower one on a tie, never one whose logit is NaN.
fn best(logits: ArrayView1<f32>) -> Option<usize> {
    let numbers = logits.iter().enumerate().filter(|(_, x)| !x.is_nan());
    let winner = numbers.reduce(|best, next| if next.1 > best.1 { next } else { best });
    winner.map(|(class, _)| class)
}

/// A measured share of right answers, which never comes without its sampling error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accuracy {
    /// Images classified right.
    pub correct: usize,
    /// Images looked at.
    pub n: usize,
}

impl Accuracy {
    /// Percent right, 0..=100; NaN if no image was looked at, as no number would be honest.
    pub fn percent(&self) -> f64 {
        100.0 * self.share()
    }

    /// Sampling error in percentage points: 100·sqrt(p(1-p)/n). A difference below it is none.
    /// NaN if no image was looked at.
    pub fn standard_error(&self) -> f64 {
        let p = self.share();
        100.0 * (p * (1.0 - p) / self.n as f64).sqrt()
    }

    fn share(&self) -> f64 {
        self.correct as f64 / self.n as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::mnist::PIXELS;
    use super::*;
    use ndarray::array;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn tiny() -> Mlp {
        let hidden = (array![[1.0, -1.0], [0.5, 0.5], [-2.0, 0.0]], array![0.0, 1.0, 1.0]);
        let last = (array![[1.0, 2.0, -1.0], [0.0, -1.0, 3.0]], array![0.5, 0.0]);
        Mlp::new(vec![hidden, last]).unwrap()
    }

    /// Says 3 of every image whose first pixel is lit, and cannot decide on others.
    fn lit() -> Mlp {
        let mut weight = Array2::zeros((10, PIXELS));
        weight[[3, 0]] = 1.0;
        Mlp::new(vec![(weight, Array1::zeros(10))]).unwrap()
    }

    /// `lit` images, then `dark` ones, all labelled `label`.
    fn set(lit: usize, dark: usize, label: u8) -> TestSet {
        let mut pixels = vec![0; (lit + dark) * PIXELS];
        (0..lit).for_each(|i| pixels[i * PIXELS] = 255);
        TestSet::new(pixels, vec![label; lit + dark]).unwrap()
    }

    #[test]
    fn shapes_are_checked() {
        let layer = |o, i, b| (Array2::<f32>::zeros((o, i)), Array1::<f32>::zeros(b));
        let error = |layers| Mlp::new(layers).unwrap_err();
        assert_eq!(error(vec![]), MlpError::NoLayers);
        let bias = MlpError::Bias { layer: 0, outputs: 3, bias: 2 };
        assert_eq!(error(vec![layer(3, 4, 2)]), bias);
        let chain = MlpError::Chain { layer: 1, inputs: 4, given: 3 };
        assert_eq!(error(vec![layer(3, 4, 3), layer(2, 4, 2)]), chain);
        let empty = MlpError::EmptyLayer { layer: 0, outputs: 0, inputs: 4 };
        assert_eq!(error(vec![layer(0, 4, 0)]), empty);
        assert_eq!((tiny().inputs(), tiny().classes(), tiny().layers().len()), (2, 2, 2));
    }

    #[test]
    fn logits_are_those_worked_out_by_hand() {
        // (3, 1): hidden (2, 3, -5) -> (2, 3, 0); logits (2 + 6 + 0.5, -3).
        // (-1, 1): hidden (-2, 1, 3) -> (0, 1, 3); logits (2 - 3 + 0.5, -1 + 9).
        let logits = tiny().logits(array![[3.0, 1.0], [-1.0, 1.0]].view());
        assert_eq!(logits, array![[8.5, -3.0], [-0.5, 8.0]]);
    }

    #[test]
    fn a_nan_is_not_hidden_by_the_relu() {
        let logits = tiny().logits(array![[f32::NAN, 1.0]].view());
        assert!(logits.iter().all(|x| x.is_nan()));
    }

    #[test]
    fn ties_go_to_the_lower_class_and_nan_never_wins() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let of = |logits: [f32; 3]| best(ArrayView1::from(&logits));
        assert_eq!(of([1.0, 2.0, 2.0]), Some(1));
        assert_eq!(of([0.0, -0.0, 0.0]), Some(0));
        assert_eq!(of([nan, -5.0, nan]), Some(1));
        assert_eq!(of([nan, -inf, -inf]), Some(1));
        assert_eq!(of([3.0, nan, 4.0]), Some(2));
        assert_eq!(of([nan, nan, nan]), None);
    }

    #[test]
    fn probabilities_are_softmax_and_stay_finite() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let of = |logits: [f32; 3]| Prediction::from_logits(ArrayView1::from(&logits));
        let even = of([0.0, 3.0_f32.ln(), 0.0]);
        assert_eq!(even.class, Some(1));
        assert!((even.probability - 0.6).abs() < 1e-6);
        assert_eq!(of([1e30, -1e30, nan]).probability, 1.0);
        assert_eq!(of([inf, 0.0, inf]).probability, 0.5);
        assert_eq!(of([nan; 3]), Prediction { class: None, probability: 0.0 });
    }

    #[test]
    fn accuracy_counts_and_clips_the_range() {
        let images = set(600, 400, 3);
        let over = |range| lit().accuracy(&images, range, &|| false).unwrap();
        assert_eq!(over(0..1000), Accuracy { correct: 600, n: 1000 });
        assert_eq!(over(590..usize::MAX), Accuracy { correct: 10, n: 410 });
        assert_eq!(over(2000..3000), Accuracy { correct: 0, n: 0 });
        assert!(over(2000..3000).percent().is_nan());
        // Undecided images go to class 0.
        let dark = lit().accuracy(&set(1, 9, 0), 0..10, &|| false);
        assert_eq!(dark, Some(Accuracy { correct: 9, n: 10 }));
    }

    #[test]
    fn a_network_of_nan_is_merely_wrong() {
        let nan = Mlp::new(vec![(Array2::from_elem((10, PIXELS), f32::NAN), Array1::zeros(10))]);
        let (nan, images) = (nan.unwrap(), set(5, 0, 0));
        assert_eq!(nan.accuracy(&images, 0..5, &|| false).unwrap().correct, 0);
        assert_eq!(nan.predictions(&images, &[4])[0].class, None);
    }

    #[test]
    fn cancelling_gives_no_number() {
        let images = set(1000, 0, 3);
        assert_eq!(lit().accuracy(&images, 0..1000, &|| true), None);
        let asked = AtomicUsize::new(0);
        let second = || asked.fetch_add(1, Ordering::Relaxed) >= 1;
        assert_eq!(lit().accuracy(&images, 0..1000, &second), None);
    }

    #[test]
    fn predictions_follow_the_order_asked_for() {
        let said = lit().predictions(&set(1, 1, 3), &[1, 0]);
        assert_eq!((said[0].class, said[1].class), (Some(0), Some(3)));
        let e = std::f32::consts::E;
        assert!((said[0].probability - 0.1).abs() < 1e-6);
        assert!((said[1].probability - e / (e + 9.0)).abs() < 1e-6);
    }

    #[test]
    fn the_standard_error_of_the_demo_is_an_eighth_of_a_point() {
        let accuracy = Accuracy { correct: 9_850, n: 10_000 };
        assert_eq!(accuracy.percent(), 98.5);
        assert!((accuracy.standard_error() - 0.121_552).abs() < 1e-5);
        assert_eq!(Accuracy { correct: 10, n: 10 }.standard_error(), 0.0);
    }
}
