//! Reading an artifact back: every tensor computed again from the source under the recipe inside, and compared.

use super::Error;
use super::output::by_arithmetic;
use super::verify_gguf::{faults, is_extra};
use crate::compress::{Joint, Task, fold_chunks, prepare};
use crate::control::Control;
use crate::estimate::gguf_file::name_of;
use crate::estimate::size::stored_type;
use crate::estimate::total::stored_dtype;
use crate::formats::assembly::{Assembly, Holds};
use crate::kernels::Real;
use crate::kernels::error::{ErrorSums, error_sums, sqnr_db};
use crate::kernels::ggml::BlockType;
use crate::model::config::CONFIG;
use crate::model::{Beside, Conversion, Format, Model, Origin, Place, RowOrder, Scratch, Tensor};
use crate::recipe::{Outcome, Plan, Recipe, Scheme, Target, runtime_config};
use std::collections::HashSet;
use std::path::Path;

/// What reading one tensor back showed.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorCheck {
    /// Its name.
    pub name: String,
    /// Whether it is what the recipe makes of the source.
    pub ok: bool,
    /// Relative squared error of what was read, against the source; `None` for tensors that are not float.
    pub t2: Option<f64>,
    /// The same in dB.
    pub sqnr_db: Option<f64>,
    /// Largest difference between what was read and what the recipe makes of the source: 0 when it is right; `None`
    /// when bytes were compared, or shapes differ.
    pub max_abs_difference: Option<f64>,
    /// Why it is not as planned, in words.
    pub note: Option<&'static str>,
}

impl TensorCheck {
    /// A tensor that is as it should be, where there is nothing to measure.
    fn as_planned(name: &str) -> Self {
        Self { ok: true, note: None, ..Self::failed(name, "") }
    }

    pub(super) fn failed(name: &str, why: &'static str) -> Self {
        Self { name: name.to_owned(), ok: false, t2: None, sqnr_db: None, max_abs_difference: None, note: Some(why) }
    }
}

/// What reading an artifact back showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// One per tensor of the source, one for each tensor that only the artifact has, one for each key of a GGUF artifact that does
    /// not say what it should, and one called [`CONFIG`] when the config of a folder does not say what was removed.
    pub tensors: Vec<TensorCheck>,
}

impl Verification {
    /// Whether everything is as it should be.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.tensors.iter().all(|t| t.ok)
    }

    /// The largest difference anywhere.
    #[must_use]
    pub fn max_abs_difference(&self) -> f64 {
        self.tensors.iter().filter_map(|t| t.max_abs_difference).fold(0.0, f64::max)
    }
}

/// The recipe and plan that an artifact carries, resolved on the source it is said to come from.
///
/// # Errors
/// When it carries none, or the recipe does not fit the source.
pub fn plan_of_artifact(model: &Model, artifact: &Model) -> Result<(Recipe, Plan), Error> {
    let path = artifact.shards.first().map_or(Path::new(""), |s| s.path());
    let mut recipe = Recipe::of_artifact(artifact)?.ok_or_else(|| Error::NoRecipe(path.to_path_buf()))?;
    recipe.target = Some(match artifact.format {
        Format::Packed => Target::Packed,
        Format::Gguf => Target::Gguf,
        // No artifact is of the others; a file that says it is one is held against the dense form.
        _ => recipe.target.filter(|target| target.is_folder()).unwrap_or(Target::Safetensors),
    });
    let plan = Plan::new(model, &recipe, true)?;
    Ok((recipe, plan))
}

/// Compares an artifact with what `plan` makes of the source.
///
/// # Errors
/// When either cannot be read, or the work is cancelled.
pub fn verify(model: &Model, artifact: &Model, plan: &Plan, control: &Control) -> Result<Verification, Error> {
    model.steadily(|| artifact.steadily(|| check_all(model, artifact, plan, control)))
}

fn check_all(model: &Model, artifact: &Model, plan: &Plan, control: &Control) -> Result<Verification, Error> {
    let joint = Joint::new(model, plan, control)?;
    let conversion = model.converted().filter(|_| artifact.format == Format::Gguf);
    let checks = Checks { model, artifact, plan, control, joint: &joint, conversion };
    let mut tensors = (0..model.tensors.len()).map(|i| checks.tensor(i)).collect::<Result<Vec<_>, Error>>()?;
    let there = (0..model.tensors.len()).filter(|&i| !plan.outcome(model, i).left_out);
    let names: HashSet<&str> = there.map(|i| name_of(model, conversion, i)).collect();
    let known = |name: &str| names.contains(name) || is_extra(conversion, name);
    let only_there = artifact.tensors.iter().filter(|t| !known(&t.name));
    tensors.extend(only_there.map(|t| TensorCheck::failed(&t.name, "the source has no such tensor")));
    if artifact.format == Format::Gguf {
        tensors.extend(faults(model, artifact, plan)?);
    }
    if !says_what_changed(model, artifact, plan) {
        tensors.push(TensorCheck::failed(CONFIG, "it does not say what was removed, or how codes are to be read"));
    }
    Ok(Verification { tensors })
}

/// An artifact beside what a plan makes of its source.
struct Checks<'a> {
    model: &'a Model,
    artifact: &'a Model,
    plan: &'a Plan,
    control: &'a Control,
    joint: &'a Joint,
    /// How the source was converted, where it was.
    conversion: Option<&'a Conversion>,
}

impl Checks<'_> {
    /// One tensor of the source: where it should be, as it should lie, with the values that it should have.
    fn tensor(&self, index: usize) -> Result<TensorCheck, Error> {
        let Self { model, artifact, plan, control, joint, conversion } = *self;
        let (tensor, outcome) = (&model.tensors[index], plan.outcome(model, index));
        if outcome.left_out {
            return Ok(TensorCheck::as_planned(&tensor.name));
        }
        let Some(read) = artifact.find(name_of(model, conversion, index)).map(|j| &artifact.tensors[j]) else {
            return Ok(TensorCheck::failed(&tensor.name, "it is missing"));
        };
        let as_stored = outcome.is_kept() && conversion.is_none() && self.has_its_coding(read, outcome);
        let differs = match self.lies_otherwise(read, outcome) {
            None if as_stored && !same_payload(model, tensor, artifact, read, control)? => Some("its bytes differ"),
            None if !as_stored && !tensor.dtype.is_float() => Some("it is coded in another way"),
            other => other,
        };
        if let Some(why) = differs {
            return Ok(TensorCheck::failed(&tensor.name, why));
        }
        if !tensor.dtype.is_float() {
            return Ok(TensorCheck::as_planned(&tensor.name));
        }
        let task = joint.task(model, plan, index, control);
        let place = conversion.and_then(|conversion| conversion.places[index].as_ref());
        let order = RowOrder::in_gguf(place.and_then(|place| place.interleaved));
        let written = Beside { model: artifact, tensor: read, order };
        by_arithmetic!(tensor.dtype, check(&task, written))
    }

    /// Why what was read does not lie as it was planned to, in words.
    fn lies_otherwise(&self, read: &Tensor, of: Outcome<'_>) -> Option<&'static str> {
        let target = self.plan.target;
        match () {
            () if read.shape != of.shape => Some("its shape is another"),
            () if self.artifact.format == Format::Gguf => {
                (type_of(read) != stored_type(of)).then_some("its type is another")
            }
            () if read.dtype != stored_dtype(of, target) => Some("its dtype is another"),
            () if !is_coded_for(self.artifact, read, of) => Some("its coding is that of another scheme"),
            () if layout_of(read) != of.assembly(target).map(|a| a.of_rows(of.geometry().cols)) => {
                Some("its layout is that of another scheme")
            }
            () => None,
        }
    }

    /// Whether what was read is coded as its source is.
    fn has_its_coding(&self, read: &Tensor, of: Outcome<'_>) -> bool {
        let tensor = of.tensor;
        let assembly = tensor.assembly().map(|assembly| match of.assembly(self.plan.target) {
            // Blocks of FP8 go by other names in other files.
            Some(written) if written == assembly.in_compressed_tensors() => written,
            _ => assembly,
        });
        read.coding == tensor.coding && read.block_type == tensor.block_type && read.assembly() == assembly
    }
}

/// A tensor's type in a GGUF file.
fn type_of(read: &Tensor) -> BlockType {
    stored_type(Outcome::whole(read, &Scheme::keep()))
}

/// How the codes of a tensor lie, where they are put together from several tensors.
fn layout_of(read: &Tensor) -> Option<Assembly> {
    read.assembly().map(|assembly| assembly.of_rows(read.geometry().cols))
}

/// Whether the config of a folder says what structured pruning and the target made of it.
fn says_what_changed(model: &Model, artifact: &Model, plan: &Plan) -> bool {
    let folder = matches!(artifact.origin, Origin::Folder(_));
    let expected = model.config().is_some() || plan.target.is_folder();
    !folder || !expected || runtime_config::says(artifact.config(), &runtime_config::values(model, plan))
}

/// Whether what the header of a packed artifact says of a tensor's coding is what its scheme asks for: a kept one lies as
/// it lies in a packed source, a coded one names the scheme.
fn is_coded_for(artifact: &Model, read: &Tensor, of: Outcome<'_>) -> bool {
    match &read.coding {
        _ if artifact.format != Format::Packed => true,
        coding if of.is_kept() => *coding == of.tensor.coding,
        Some(coding) => coding.scheme == of.scheme.embedded().to_string(),
        None => true,
    }
}

/// Whether two values are one: equal, or both NaN, whatever its bits. −0 and +0 are equal.
fn same<T: Real>(a: T, b: T) -> bool {
    a == b || (a.to_f64().is_nan() && b.to_f64().is_nan())
}

fn check<T: Real>(task: &Task<'_>, written: Beside<'_>) -> Result<TensorCheck, Error> {
    let prepared = prepare::<T>(task)?;
    let init = || (true, 0.0_f64, ErrorSums::default());
    let spans = fold_chunks(task, &prepared, init, |(ok, worst, sums), chunk| {
        let mut values = Vec::<T>::new();
        written.values(chunk.range.clone(), &mut values, &mut Scratch::default())?;
        for (&expected, &found) in chunk.result.iter().zip(&values) {
            if !same(expected, found) {
                *ok = false;
                let difference = (expected.to_f64() - found.to_f64()).abs();
                *worst = if difference.is_nan() { f64::INFINITY } else { worst.max(difference) };
            }
        }
        *sums = sums.merge(error_sums(&chunk.source, &chunk.pruned, &values));
        Ok(())
    })?;
    let (ok, worst, sums) =
        spans.into_iter().fold(init(), |(o, w, s), (ok, worst, sums)| (o && ok, w.max(worst), s.merge(sums)));
    let sums = task.lost()?.merge(sums);
    // What was codes before and stayed so has lost nothing that could be told, and nothing is said of it in an estimate either.
    let t2 = if task.tensor.is_float_source() { sums.t2() } else { None };
    Ok(TensorCheck {
        name: task.tensor.name.clone(),
        ok,
        t2,
        sqnr_db: t2.and_then(sqnr_db),
        max_abs_difference: Some(worst),
        note: (!ok).then_some("its values differ"),
    })
}

/// Whether two payloads have the same bytes.
fn same_payload(a: &Model, tensor: &Tensor, b: &Model, other: &Tensor, control: &Control) -> Result<bool, Error> {
    let (one, two) = (parts_of(tensor), parts_of(other));
    if !one.iter().map(Place::bytes).eq(two.iter().map(Place::bytes)) {
        return Ok(false);
    }
    for (place, other) in one.iter().zip(&two) {
        if !same_part(a, place, b, other, control)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where all of a tensor's payload lies.
fn parts_of(tensor: &Tensor) -> Vec<Place> {
    match tensor.places() {
        [] => vec![Place { holds: Holds::Codes, shard: tensor.shard(), range: tensor.place() }],
        places => places.to_vec(),
    }
}

fn same_part(a: &Model, place: &Place, b: &Model, other: &Place, control: &Control) -> Result<bool, Error> {
    const BLOCK: u64 = 1 << 20;
    let (mut one, mut two) = (Scratch::default(), Scratch::default());
    let mut at = 0;
    while at < place.bytes() {
        if control.is_cancelled() {
            return Err(crate::compress::Error::Cancelled.into());
        }
        let end = (at + BLOCK).min(place.bytes());
        if a.part(place, at..end, &mut one)? != b.part(other, at..end, &mut two)? {
            return Ok(false);
        }
        at = end;
    }
    Ok(true)
}
