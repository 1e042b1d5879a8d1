//! Which tensors of the files are one weight: found by the names that compressed-tensors, transformers' fp8, GPTQ, AWQ and MLX give them,
//! in a model whose config says that it is theirs.
//!
//! It is all or nothing. Where one quantized layer lies in a way that is not read here (zero points of compressed-tensors, groups out
//! of order, AWQ's other versions, MLX's other modes), or otherwise than its config says, all tensors stay as they are in the files:
//! codes that nothing touches.

use super::Config;
use super::assembled::{Assembled, Place};
use super::groups::{self, CONFIG_KEY, Groups, MLX_KEY};
use crate::formats::assembly::{Assembly, BlocksOf, Holds, Turned, WEIGHT};
use crate::formats::error::{printable, quoted};
use crate::formats::{Dtype, Entry, Source};
use crate::kernels::layout::Unit;
use serde_json::Value;
use std::collections::HashSet;

/// A tensor of a file, or a weight put together from several.
pub(super) type Gathered = (usize, Entry, Option<Box<Assembled>>);

/// Puts together what belongs together. `entries` are in order of name, and so is what comes back, with a sentence about what is
/// not put together although the config says that it is quantized, or about what is quantized beside weights.
pub(super) fn gather(
    entries: Vec<(usize, Entry)>,
    sources: &[Source],
    config: Option<&Config>,
) -> (Vec<Gathered>, Option<String>) {
    let found = config.map_or(Ok(Vec::new()), |config| Finder { entries: &entries, sources, config }.weights());
    let (weights, note) = match found {
        Ok(weights) => {
            let rounded = config.filter(|_| !weights.is_empty()).and_then(groups::rounds_activations);
            (weights, rounded)
        }
        Err(why) => (Vec::new(), Some(format!("{why}; all tensors are listed as they lie in the files"))),
    };
    let taken: HashSet<usize> = weights.iter().flat_map(|weight| weight.parts.iter().map(|&(_, at)| at)).collect();
    let mut out: Vec<Gathered> = weights.into_iter().map(|weight| weight.gathered(&entries)).collect();
    out.extend(
        entries.into_iter().enumerate().filter(|(at, _)| !taken.contains(at)).map(|(_, (shard, e))| (shard, e, None)),
    );
    out.sort_unstable_by(|a, b| a.1.name.cmp(&b.1.name));
    (out, note)
}

/// A weight that was found.
struct Weight {
    name: String,
    assembly: Assembly,
    dtype: Dtype,
    shape: Vec<usize>,
    /// What each part holds, and its position among the entries; the codes first.
    parts: Vec<(Holds, usize)>,
}

impl Weight {
    fn gathered(self, entries: &[(usize, Entry)]) -> Gathered {
        let place = |&(holds, at): &(Holds, usize)| {
            let (shard, entry) = &entries[at];
            Place { holds, shard: *shard, range: entry.range.clone() }
        };
        let parts: Vec<Place> = self.parts.iter().map(place).collect();
        let (shard, range) = parts.first().map_or((0, 0..0), |codes| (codes.shard, codes.range.clone()));
        let entry =
            Entry { name: self.name, dtype: self.dtype, shape: self.shape, range, packed: None, block_type: None };
        (shard, entry, Some(Box::new(Assembled { assembly: self.assembly, parts })))
    }
}

struct Finder<'a> {
    entries: &'a [(usize, Entry)],
    sources: &'a [Source],
    config: &'a Config,
}

impl Finder<'_> {
    /// All quantized weights.
    ///
    /// # Errors
    /// Why one of them cannot be read.
    fn weights(&self) -> Result<Vec<Weight>, String> {
        let told = |module: &str, why: String| format!("{} is quantized: {why}", printable(module));
        let unread = || "its tensors lie in a way that is not read here".to_owned();
        let method = self.config.text(&[CONFIG_KEY, "quant_method"]);
        let found: Vec<Weight> = if method == Some("compressed-tensors") {
            let mut modules = self.modules(&["weight_packed", "weight_scale"]).peekable();
            let Some(first) = modules.peek().copied() else { return Ok(Vec::new()) };
            if let Some(why) = groups::also_changed(self.config) {
                return Err(told(first, why.to_owned()));
            }
            let groups = Groups::of(self.config).map_err(|why| told(first, why))?;
            let weight = |module| {
                let group = groups.group(module).ok_or("no group of its config has it as a target")?;
                self.compressed(module, group)?.ok_or_else(unread)
            };
            modules.map(|module| weight(module).map_err(|why| told(module, why))).collect::<Result<_, _>>()?
        } else if let Some(by @ ("gptq" | "awq")) = method {
            let turns = Turns::of(self.config, by);
            let weight = |module| self.turned(module, turns.as_ref()?)?.ok_or_else(unread);
            let modules = self.modules(&["qweight"]);
            modules.map(|module| weight(module).map_err(|why| told(module, why))).collect::<Result<_, _>>()?
        } else if method == Some("fp8") {
            let block = groups::block_of(self.config.value(&[CONFIG_KEY, "weight_block_size"]));
            let no_block = || "its config has no weight_block_size of two numbers".to_owned();
            let weight = |module| self.blocks(module, block.ok_or_else(no_block)?).ok_or_else(unread);
            let modules = self.modules(&["weight_scale_inv"]);
            modules.map(|module| weight(module).map_err(|why| told(module, why))).collect::<Result<_, _>>()?
        } else {
            let Some(block) = self.config.value(&[MLX_KEY]).and_then(Value::as_object) else { return Ok(Vec::new()) };
            let params = |module: &str| Affine::of(block.get(module).unwrap_or(&Value::Null), Affine::of_map(block));
            let weight = |module| self.affine(module, params(module)?);
            let modules = self.modules(&["scales"]);
            modules.map(|module| weight(module).ok_or_else(|| told(module, unread()))).collect::<Result<_, _>>()?
        };
        // A name that would come twice is nobody's layout.
        let own = |weight: &Weight| weight.parts.iter().any(|&(_, at)| self.entries[at].1.name == weight.name);
        match found.iter().find(|weight| !own(weight) && self.find(&weight.name).is_some()) {
            Some(twice) => Err(told(&twice.name, "a weight of its name stands beside its codes".to_owned())),
            None => Ok(found),
        }
    }

    /// The modules that have a part of one of these names, each once.
    fn modules(&self, parts: &[&str]) -> impl Iterator<Item = &str> {
        let names = self.entries.iter().filter_map(|(_, entry)| entry.name.rsplit_once('.'));
        let mut modules: Vec<&str> = names.filter(|(_, part)| parts.contains(part)).map(|(module, _)| module).collect();
        modules.sort_unstable();
        modules.dedup();
        modules.into_iter()
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.entries.binary_search_by(|(_, entry)| entry.name.as_str().cmp(name)).ok()
    }

    fn part(&self, module: &str, part: &str) -> Option<&Entry> {
        Some(&self.entries[self.find(&format!("{module}.{part}"))?].1)
    }

    /// A weight of compressed-tensors, of this group of the config; `None` where it lies in a way that is not read here.
    ///
    /// # Errors
    /// What the config says of it that is not so.
    fn compressed(&self, module: &str, group: &Value) -> Result<Option<Weight>, String> {
        for (part, what) in
            [("weight_zero_point", "a tensor of zero points"), ("weight_g_idx", "an order of the groups")]
        {
            if self.part(module, part).is_some() {
                return Err(format!("{what} ({part}) stands beside its codes, which is not read here"));
            }
        }
        let Some((codes, scales)) = self.codes_and_scales(module) else { return Ok(None) };
        let &[rows, width] = codes.shape.as_slice() else { return Ok(None) };
        let (cols, packed) = match codes.dtype {
            Dtype::I32 => match self.columns(module, rows) {
                Some(cols) => (cols, groups::packed_bits(group, cols, width)?),
                None => return Ok(None),
            },
            Dtype::U8 => (width.saturating_mul(2), 4),
            _ => (width, 8),
        };
        if let Some(block) = group.get("weights").and_then(|weights| weights.get("block_structure"))
            && !block.is_null()
        {
            let Some(block) = groups::block_of(Some(block)) else { return Ok(None) };
            let assembly = Assembly::Fp8Blocks { block, of: BlocksOf::CompressedTensors };
            groups::check(group, assembly, cols)?;
            return Ok(self.weight(module, assembly, scales.dtype, &[rows, cols]));
        }
        let unit = match *scales.shape.as_slice() {
            [] | [1] => Unit::Tensor,
            [r, 1] if r == rows => Unit::Row,
            [r, units] if r == rows && units > 0 && cols.is_multiple_of(units) => Unit::Group(cols / units),
            _ => return Ok(None),
        };
        let assembly = match (codes.dtype, scales.dtype) {
            (Dtype::I32, _) => Assembly::Packed { bits: packed, unit },
            (Dtype::I8, _) => Assembly::Bytes { unit },
            (Dtype::F8_E4M3, _) => Assembly::Fp8 { unit },
            (Dtype::U8, Dtype::U8) => Assembly::Mxfp4,
            (Dtype::U8, Dtype::F8_E4M3) => Assembly::Nvfp4,
            _ => return Ok(None),
        };
        groups::check(group, assembly, cols)?;
        let dtype = if assembly.is_single() { Dtype::F32 } else { scales.dtype };
        Ok(self.weight(module, assembly, dtype, &[rows, cols]))
    }

    /// The codes of a module and what they are multiplied by.
    fn codes_and_scales(&self, module: &str) -> Option<(&Entry, &Entry)> {
        let codes = self.part(module, "weight_packed").or_else(|| self.part(module, "weight"))?;
        Some((codes, self.part(module, "weight_scale")?))
    }

    /// The columns of a packed weight, as its `weight_shape` has them.
    fn columns(&self, module: &str, rows: usize) -> Option<usize> {
        let (shard, entry) = &self.entries[self.find(&format!("{module}.weight_shape"))?];
        if entry.dtype != Dtype::I64 || entry.shape != [2] {
            return None;
        }
        let mut scratch = Vec::new();
        let bytes = self.sources.get(*shard)?.read(entry.range.clone(), &mut scratch).ok()?;
        let number = |bytes: &[u8]| usize::try_from(i64::from_le_bytes(*bytes.first_chunk()?)).ok();
        let cols = number(bytes.get(8..)?)?;
        (number(bytes)? == rows && cols <= 1 << 40).then_some(cols)
    }

    /// A weight of transformers' fp8.
    fn blocks(&self, module: &str, block: [usize; 2]) -> Option<Weight> {
        let (codes, scales) = (self.part(module, "weight")?, self.part(module, "weight_scale_inv")?);
        let assembly = Assembly::Fp8Blocks { block, of: BlocksOf::Transformers };
        if codes.shape.len() == 2 { self.weight(module, assembly, scales.dtype, &codes.shape) } else { None }
    }

    /// A weight of GPTQ or AWQ, whose codes lie with inputs before outputs; `None` where it lies in a way that is not read here.
    ///
    /// # Errors
    /// What the config says of it that is not so, or is not read.
    fn turned(&self, module: &str, turns: &Turns) -> Result<Option<Weight>, String> {
        let &Turns { by, .. } = turns;
        let parts = ["qweight", "scales", "qzeros"].map(|part| self.part(module, part));
        let [Some(codes), Some(scales), Some(zeros)] = parts else { return Ok(None) };
        let (&[lines, _], &[groups, outputs]) = (codes.shape.as_slice(), scales.shape.as_slice()) else {
            return Ok(None);
        };
        if by != Turned::Awq && self.part(module, "g_idx").is_none() {
            return Err("no g_idx, the group of each input, stands beside its codes".to_owned());
        }
        // A zero point has as many bits as a code, and there is one for each output.
        let words = zeros.shape.last().copied().unwrap_or_default();
        let bits = words.saturating_mul(32).checked_div(outputs).unwrap_or_default() as u32;
        let bits = turns.checked_bits(bits)?;
        let in_word = 32 / bits as usize;
        let Some(inputs) = (if by == Turned::Awq { Some(lines) } else { lines.checked_mul(in_word) }) else {
            return Ok(None);
        };
        let group = turns.group_of(inputs, groups)?;
        if !outputs.is_multiple_of(in_word) {
            return Ok(None);
        }
        let assembly = Assembly::Turned { by, bits, group };
        let Some(weight) = self.weight(module, assembly, scales.dtype, &[outputs, inputs]) else { return Ok(None) };
        let order = weight.parts.iter().find(|(holds, _)| *holds == Holds::Groups);
        Ok(order.is_none_or(|&(_, at)| self.counts_below(at, groups)).then_some(weight))
    }

    /// Whether a tensor of I32 holds numbers from 0 on that are below another.
    fn counts_below(&self, at: usize, bound: usize) -> bool {
        let (shard, entry) = &self.entries[at];
        let mut scratch = Vec::new();
        let bytes = self.sources.get(*shard).and_then(|source| source.read(entry.range.clone(), &mut scratch).ok());
        let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| i32::from_le_bytes(*bytes));
        let is_below = |number: i32| usize::try_from(number).is_ok_and(|number| number < bound);
        bytes.is_some_and(|bytes| bytes.chunks_exact(4).filter_map(number).all(is_below))
    }

    /// A weight of MLX: a matrix, or those of all experts one after the other.
    fn affine(&self, module: &str, Affine { bits, group }: Affine) -> Option<Weight> {
        let (codes, scales) = (self.part(module, "weight")?, self.part(module, "scales")?);
        let ([lead @ .., _], &[.., units]) = (codes.shape.as_slice(), scales.shape.as_slice()) else { return None };
        if !matches!(lead.len(), 1 | 2) {
            return None;
        }
        let shape = [lead, &[units.checked_mul(group)?]].concat();
        self.weight(module, Assembly::Affine { bits, group }, scales.dtype, &shape)
    }

    /// The weight, where every part of it is there and has the dtype and shape that it should have.
    fn weight(&self, module: &str, assembly: Assembly, dtype: Dtype, shape: &[usize]) -> Option<Weight> {
        let cols = shape.last().copied().unwrap_or_default();
        if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) || shape.contains(&0) || cols > 1 << 40 {
            return None;
        }
        // Only blocks may end where a row does.
        let size = match (assembly, assembly.unit()) {
            (Assembly::Fp8Blocks { .. }, _) => 1,
            (_, Unit::Group(size)) => size,
            (_, Unit::Row | Unit::Tensor) => 1,
        };
        if !cols.is_multiple_of(size) {
            return None;
        }
        let mut parts = Vec::new();
        for part in assembly.parts(dtype, shape) {
            let at = self.find(&part.name(module))?;
            let entry = &self.entries[at].1;
            let one = part.shape == [1] && entry.shape.is_empty();
            if entry.dtype != part.dtype || (entry.shape != part.shape && !one) || entry.packed.is_some() {
                return None;
            }
            parts.push((part.holds, at));
        }
        Some(Weight { name: [module, WEIGHT].concat(), assembly, dtype, shape: shape.to_vec(), parts })
    }
}

/// What the config of GPTQ or AWQ says of all layers.
struct Turns {
    /// Whose version.
    by: Turned,
    /// Bits of a code.
    bits: i64,
    /// Inputs of a group, −1 for all of a row.
    group: i64,
    /// Whether some layers have bits and groups of their own (GPTQModel's `dynamic`).
    varies: bool,
}

impl Turns {
    fn of(config: &Config, method: &str) -> Result<Self, String> {
        let value = |key: &str| config.value(&[CONFIG_KEY, key]).filter(|value| !value.is_null());
        let said = |key: &str, other: &str| {
            let found = value(key).or_else(|| value(other)).and_then(Value::as_i64);
            found.ok_or_else(|| format!("its config says no {key}"))
        };
        let text = |key: &str| value(key).and_then(Value::as_str).map(str::to_ascii_lowercase);
        let key = if method == "awq" { "version" } else { "checkpoint_format" };
        let by = match (method, text(key).as_deref()) {
            ("awq", None | Some("gemm")) => Turned::Awq,
            ("gptq", None | Some("gptq")) => Turned::Gptq,
            ("gptq", Some("gptq_v2")) => Turned::Gptq2,
            (_, found) => {
                let read = if method == "awq" { "gemm is read" } else { "gptq and gptq_v2 are read" };
                return Err(format!("its config says {key} {}, and only {read}", quoted(found.unwrap_or_default())));
            }
        };
        let varies = value("dynamic").and_then(Value::as_object).is_some_and(|map| !map.is_empty());
        Ok(Self { by, bits: said("bits", "w_bit")?, group: said("group_size", "q_group_size")?, varies })
    }

    /// The bits of a layer whose tensors are those of so many.
    fn checked_bits(&self, found: u32) -> Result<u32, String> {
        let Self { by, bits, varies, .. } = *self;
        if i64::from(found) != bits && !varies {
            return Err(format!("its config says bits {bits}, and its tensors are those of {found} bits"));
        }
        match (by, found) {
            (_, 4) | (Turned::Gptq | Turned::Gptq2, 2 | 8) => Ok(found),
            _ => {
                let read = if by == Turned::Awq { "4 are read of AWQ" } else { "2, 4 and 8 are read of GPTQ" };
                Err(format!("its codes have {found} bits, and only {read}"))
            }
        }
    }

    /// The inputs of a group of a layer with so many inputs and groups.
    fn group_of(&self, inputs: usize, groups: usize) -> Result<usize, String> {
        let said = if self.group == -1 { Some(inputs) } else { usize::try_from(self.group).ok().filter(|&g| g > 0) };
        let fits = |group: &usize| inputs.is_multiple_of(*group) && inputs / group == groups;
        let found = inputs.checked_div(groups).filter(fits);
        if let Some(group) = said.filter(fits).or(found.filter(|_| self.varies)) {
            return Ok(group);
        }
        Err(format!("its config says group_size {}, and {inputs} inputs have {groups} groups", self.group))
    }
}

/// What MLX's config says of one layer.
#[derive(Clone, Copy)]
struct Affine {
    bits: u32,
    group: usize,
}

impl Affine {
    /// What a block says itself; `None` where it is of another mode, or nothing that there is.
    fn of_map(block: &serde_json::Map<String, Value>) -> Option<Self> {
        let mode = block.get("mode").and_then(Value::as_str).unwrap_or("affine");
        let number = |key: &str| block.get(key).and_then(Value::as_u64);
        let (bits, group) = (u32::try_from(number("bits")?).ok()?, usize::try_from(number("group_size")?).ok()?);
        let known = matches!(bits, 2..=6 | 8) && matches!(group, 32 | 64 | 128);
        (mode == "affine" && known).then_some(Self { bits, group })
    }

    /// What is said of a layer, else of all.
    fn of(own: &Value, all: Option<Self>) -> Option<Self> {
        own.as_object().map_or(all, Self::of_map)
    }
}
