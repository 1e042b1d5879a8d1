//! Which tensors of the files are one weight: found by the names that compressed-tensors and MLX give them, in a model whose config
//! says that it is theirs.
//!
//! It is all or nothing. Where one quantized layer lies in a way that is not read here (zero points of compressed-tensors, groups out
//! of order, blocks of FP8, MLX's other modes), all tensors stay as they are in the files: codes that nothing touches.

use super::Config;
use super::assembled::{Assembled, Place};
use crate::formats::assembly::{Assembly, Holds, WEIGHT};
use crate::formats::{Dtype, Entry, Source};
use crate::kernels::layout::{Geometry, Unit};
use serde_json::Value;
use std::collections::HashSet;

/// A tensor of a file, or a weight put together from several.
pub(super) type Gathered = (usize, Entry, Option<Box<Assembled>>);

/// Puts together what belongs together. `entries` are in order of name, and so is what comes back.
pub(super) fn gather(entries: Vec<(usize, Entry)>, sources: &[Source], config: Option<&Config>) -> Vec<Gathered> {
    let weights = config.and_then(|config| Finder { entries: &entries, sources, config }.weights()).unwrap_or_default();
    let taken: HashSet<usize> = weights.iter().flat_map(|weight| weight.parts.iter().map(|&(_, at)| at)).collect();
    let mut out: Vec<Gathered> = weights.into_iter().map(|weight| weight.gathered(&entries)).collect();
    out.extend(
        entries.into_iter().enumerate().filter(|(at, _)| !taken.contains(at)).map(|(_, (shard, e))| (shard, e, None)),
    );
    out.sort_unstable_by(|a, b| a.1.name.cmp(&b.1.name));
    out
}

/// A weight that was found.
struct Weight {
    name: String,
    assembly: Assembly,
    dtype: Dtype,
    geometry: Geometry,
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
        let shape = vec![self.geometry.rows, self.geometry.cols];
        let entry = Entry { name: self.name, dtype: self.dtype, shape, range, packed: None, block_type: None };
        (shard, entry, Some(Box::new(Assembled { assembly: self.assembly, parts })))
    }
}

struct Finder<'a> {
    entries: &'a [(usize, Entry)],
    sources: &'a [Source],
    config: &'a Config,
}

impl Finder<'_> {
    /// All quantized weights; `None` where there are none, or one of them cannot be read.
    fn weights(&self) -> Option<Vec<Weight>> {
        let method = self.config.text(&["quantization_config", "quant_method"]);
        let found: Option<Vec<Weight>> = if method == Some("compressed-tensors") {
            self.modules(&["weight_packed", "weight_scale"]).map(|module| self.compressed(module)).collect()
        } else {
            let block = self.config.value(&["quantization"])?.as_object()?;
            let params = |module: &str| Affine::of(block.get(module).unwrap_or(&Value::Null), Affine::of_map(block));
            self.modules(&["scales"]).map(|module| self.affine(module, params(module)?)).collect()
        };
        // A name that would come twice is nobody's layout.
        let own = |weight: &Weight| weight.parts.iter().any(|&(_, at)| self.entries[at].1.name == weight.name);
        found.filter(|all| all.iter().all(|weight| own(weight) || self.find(&weight.name).is_none()))
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

    /// A weight of compressed-tensors.
    fn compressed(&self, module: &str) -> Option<Weight> {
        if ["weight_zero_point", "weight_g_idx"].iter().any(|part| self.part(module, part).is_some()) {
            return None;
        }
        let scales = self.part(module, "weight_scale")?;
        let codes = self.part(module, "weight_packed").or_else(|| self.part(module, "weight"))?;
        let &[rows, width] = codes.shape.as_slice() else { return None };
        let unit = |cols: usize| match *scales.shape.as_slice() {
            [] | [1] => Some(Unit::Tensor),
            [r, 1] if r == rows => Some(Unit::Row),
            [r, units] if r == rows && units > 0 && cols.is_multiple_of(units) => Some(Unit::Group(cols / units)),
            _ => None,
        };
        let (assembly, cols) = match (codes.dtype, scales.dtype) {
            (Dtype::I32, _) => {
                let cols = self.columns(module, rows)?;
                let bits = bits_of(cols, width)?;
                (Assembly::Packed { bits, unit: unit(cols)? }, cols)
            }
            (Dtype::I8, _) => (Assembly::Bytes { unit: unit(width)? }, width),
            (Dtype::F8_E4M3, _) => (Assembly::Fp8 { unit: unit(width)? }, width),
            (Dtype::U8, Dtype::U8) => (Assembly::Mxfp4, width.checked_mul(2)?),
            (Dtype::U8, Dtype::F8_E4M3) => (Assembly::Nvfp4, width.checked_mul(2)?),
            _ => return None,
        };
        let dtype = if assembly.is_single() { Dtype::F32 } else { scales.dtype };
        self.weight(module, assembly, dtype, Geometry { rows, cols })
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

    /// A weight of MLX.
    fn affine(&self, module: &str, Affine { bits, group }: Affine) -> Option<Weight> {
        let (codes, scales) = (self.part(module, "weight")?, self.part(module, "scales")?);
        let (&[rows, _], &[_, units]) = (codes.shape.as_slice(), scales.shape.as_slice()) else { return None };
        let geometry = Geometry { rows, cols: units.checked_mul(group)? };
        self.weight(module, Assembly::Affine { bits, group }, scales.dtype, geometry)
    }

    /// The weight, where every part of it is there and has the dtype and shape that it should have.
    fn weight(&self, module: &str, assembly: Assembly, dtype: Dtype, geometry: Geometry) -> Option<Weight> {
        if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) || geometry.rows == 0 || geometry.cols == 0 {
            return None;
        }
        let size = if let Unit::Group(size) = assembly.unit() { size } else { 1 };
        if !geometry.cols.is_multiple_of(size) || geometry.cols > 1 << 40 {
            return None;
        }
        let mut parts = Vec::new();
        for part in assembly.parts(dtype, geometry) {
            let at = self.find(&part.name(module))?;
            let entry = &self.entries[at].1;
            let one = part.shape == [1] && entry.shape.is_empty();
            if entry.dtype != part.dtype || (entry.shape != part.shape && !one) || entry.packed.is_some() {
                return None;
            }
            parts.push((part.holds, at));
        }
        Some(Weight { name: [module, WEIGHT].concat(), assembly, dtype, geometry, parts })
    }
}

/// Bits of a code where so many columns take `words` of 32 bits. Short rows may leave a choice: 4 and 8 are what is written most.
fn bits_of(cols: usize, words: usize) -> Option<u32> {
    let fits = |bits: &u32| cols.checked_mul(*bits as usize).is_some_and(|all| all.div_ceil(32) == words);
    [4, 8, 2, 3, 5, 6, 7].into_iter().find(fits)
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
