//! Which models can be run here: the embedded demo, any file with its tensor names and shapes, and what is left of either
//! when hidden units are removed.

use super::mlp::{Accuracy, Mlp, Prediction};
use super::mnist::{CLASSES, PIXELS, test_set};
use crate::compress::{Error, Joint, Task, fold_chunks, prepare};
use crate::control::Control;
use crate::formats::Dtype;
use crate::kernels::Real;
use crate::model::Model;
use crate::recipe::{Plan, Scheme, Target};
use ndarray::{Array1, Array2};
use std::ops::Range;

/// The layers of LeNet-300-100 (LeCun et al., 1998): name, and outputs at most.
const LENET_300_100: [(&str, usize); 3] = [("fc1", 300), ("fc2", 100), (ANSWER, CLASSES)];
/// The layer that answers: of its outputs none can be missing.
const ANSWER: &str = "fc3";

/// A model that the program can run: where its layers' weights and biases are among the model's tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    layers: Vec<(usize, usize)>,
}

impl Network {
    /// The network in a model, if its names and shapes are those of a demo.
    #[must_use]
    pub fn of(model: &Model) -> Option<Self> {
        let tensor = |name: String| {
            let index = model.find(&name)?;
            let tensor = &model.tensors[index];
            tensor.dtype.is_float().then_some((index, tensor.shape.as_slice()))
        };
        let (mut layers, mut given) = (Vec::new(), PIXELS);
        for (name, most) in LENET_300_100 {
            let (weight, &[outputs, inputs]) = tensor(format!("{name}.weight"))? else { return None };
            let (bias, &[entries]) = tensor(format!("{name}.bias"))? else { return None };
            let right = if name == ANSWER { outputs == most } else { (1..=most).contains(&outputs) };
            if !right || inputs != given || entries != outputs {
                return None;
            }
            layers.push((weight, bias));
            given = outputs;
        }
        Some(Self { layers })
    }

    /// Images in the labelled set.
    #[must_use]
    pub fn images(&self) -> usize {
        test_set().len()
    }

    /// The network with the weights that a reader of the artifact would get.
    ///
    /// # Errors
    /// When a tensor cannot be read or refuses its scheme.
    pub fn build(&self, model: &Model, plan: &Plan, joint: &Joint, control: &Control) -> Result<Mlp, Error> {
        let mut layers = Vec::new();
        for &(weight, bias) in &self.layers {
            let task = joint.task(model, plan, weight, control);
            let shape = (task.geometry().rows, task.geometry().cols);
            let matrix = Array2::from_shape_vec(shape, results(&task)?).map_err(|e| Error::Network(e.to_string()))?;
            layers.push((matrix, Array1::from(results(&joint.task(model, plan, bias, control))?)));
        }
        Mlp::new(layers).map_err(|e| Error::Network(e.to_string()))
    }

    /// The untouched network.
    ///
    /// # Errors
    /// When a tensor cannot be read.
    pub fn source(&self, model: &Model, control: &Control) -> Result<Mlp, Error> {
        let keep = Scheme::keep();
        let assignment = crate::recipe::Assignment { scheme: keep.clone(), stored: keep, line: None };
        let assignments = vec![assignment; model.tensors.len()];
        let (pools, removals, without_codes) = Default::default();
        let plan = Plan { target: Target::Safetensors, assignments, pools, removals, without_codes };
        self.build(model, &plan, &Joint::default(), control)
    }
}

/// Accuracy of a network on a range of the test images; `None` when cancelled.
#[must_use]
pub fn accuracy(mlp: &Mlp, range: Range<usize>, control: &Control) -> Option<Accuracy> {
    mlp.accuracy(test_set(), range, &|| control.is_cancelled())
}

/// What a network says of some test images.
#[must_use]
pub fn predictions(mlp: &Mlp, images: &[usize]) -> Vec<Prediction> {
    mlp.predictions(test_set(), images)
}

/// What the first layer makes of each pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelMap {
    /// Σ|w| over the layer's rows, per pixel, row by row.
    pub weight: Vec<f32>,
    /// Share of the rows whose weight is not 0, per pixel.
    pub kept: Vec<f32>,
}

/// Which pixels the network still looks at.
#[must_use]
pub fn pixel_map(mlp: &Mlp) -> PixelMap {
    let Some((first, _)) = mlp.layers().first() else { return PixelMap { weight: Vec::new(), kept: Vec::new() } };
    let rows = first.nrows().max(1) as f32;
    let weight = first.columns().into_iter().map(|pixel| pixel.iter().map(|w| w.abs()).sum()).collect();
    let kept = first.columns().into_iter().map(|pixel| pixel.iter().filter(|w| **w != 0.0).count() as f32 / rows);
    PixelMap { weight, kept: kept.collect() }
}

/// The values of a whole tensor after its scheme, as f32. For small networks only.
fn results(task: &Task<'_>) -> Result<Vec<f32>, Error> {
    if task.tensor.dtype == Dtype::F64 { collect::<f64>(task) } else { collect::<f32>(task) }
}

fn collect<T: Real>(task: &Task<'_>) -> Result<Vec<f32>, Error> {
    let prepared = prepare::<T>(task)?;
    let spans = fold_chunks(task, &prepared, Vec::new, |values: &mut Vec<f32>, chunk| {
        values.extend(chunk.result.iter().map(|q| f32::from_f64(q.to_f64())));
        Ok(())
    })?;
    Ok(spans.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OpenOptions, open};
    use crate::recipe::Recipe;
    use std::path::Path;

    fn measure(settings: &[&str]) -> f64 {
        let model = open(Path::new("demo"), &OpenOptions::default()).unwrap();
        let network = Network::of(&model).unwrap();
        let mut recipe = Recipe::default();
        for setting in settings {
            recipe.set(&model, setting).unwrap();
        }
        let plan = Plan::new(&model, &recipe, false).unwrap();
        let control = Control::default();
        let joint = Joint::new(&model, &plan, &control).unwrap();
        let mlp = network.build(&model, &plan, &joint, &control).unwrap();
        accuracy(&mlp, 0..network.images(), &control).unwrap().percent()
    }

    #[test]
    fn the_demo_teaches_what_it_should() {
        let float = measure(&[]);
        assert!(float >= 98.3, "{float}");
        assert!(float - measure(&["*=int4:row"]) < 0.4, "four bits are nearly free");
        assert!(measure(&["*=int2:tensor"]) < 30.0, "two bits by the maximum collapse");
        for share in ["0.7", "0.8", "0.9"] {
            let global = measure(&[&format!("*=prune:{share}:global")]);
            let uniform = measure(&[&format!("*=prune:{share}")]);
            assert!(global > uniform, "{share}: global {global}, uniform {uniform}");
        }
        assert!(measure(&["fc1.weight=prune:0.8"]) > 96.0, "most of fc1 can go");
    }
}
