//! From what the user typed to a [`Model`]: a file, a folder, or a demo; checked whole before anything is shown.

use super::aliases::{self, Aliases};
use super::gather::{Gathered, gather};
use super::product::{Pairs, Product};
use super::roles::{block_of, layer_of, role_of};
use super::{Config, Format, Model, Origin, Role, Tensor, demo, folder, onnx as onnx_model, split};
use crate::formats::error::{display_path, printable};
use crate::formats::sniff::{HEAD, Kind, sniff};
use crate::formats::source::Access;
use crate::formats::{
    Dtype, Entry, Error, ErrorKind, Limits, Source, Table, Use, gguf, npy, npz, onnx, packed, pytorch, safetensors, zip,
};
use crate::kernels::svd::Shelf;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::OnceLock;

/// How to open.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Mapped, or read in pieces.
    pub access: Access,
    /// Bounds on what a header may claim.
    pub limits: Limits,
}

/// Opens a model: `demo`, `demo:NAME`, a file, or a folder in the Hugging Face layout.
///
/// # Errors
/// What is wrong with which file; for an unknown demo, the names there are.
pub fn open(spec: &Path, options: &OpenOptions) -> Result<Model, Error> {
    let mut model = find(spec, options)?;
    model.access = options.access;
    let notes = model.shards.iter().filter_map(|s| Some((s.path(), s.note()?)));
    let mut notes: Vec<String> = notes.map(|(path, note)| format!("{}: {note}", display_path(path))).collect();
    if let more @ 1.. = notes.len().saturating_sub(1) {
        notes.truncate(1);
        notes.push(format!("{more} more of its files are read in the same way"));
    }
    model.warnings.extend(notes);
    Ok(model)
}

fn find(spec: &Path, options: &OpenOptions) -> Result<Model, Error> {
    let text = spec.to_string_lossy();
    let name = match text.as_ref() {
        "demo" => demo_name(0),
        other => other.strip_prefix("demo:"),
    };
    if let Some(name) = name.filter(|_| !spec.exists()) {
        let (known, source) = demo::source(name).ok_or_else(|| {
            let what = format!("there is no demo of this name; there is {}", super::DEMOS.join(", "));
            Error::new(spec, ErrorKind::Open(std::io::Error::new(std::io::ErrorKind::NotFound, what)))
        })?;
        let (format, table) = read_table(&source, &options.limits)?;
        let bytes = source.len();
        let shard = (source, table);
        return assemble("LeNet-300-100".into(), Origin::Demo(known), format, vec![shard], bytes, Vec::new());
    }
    if spec.is_dir() {
        return folder::open(spec, options);
    }
    open_file(spec, options)
}

/// Opens a model that is one file, or a set of split files by one of them.
pub(super) fn open_file(spec: &Path, options: &OpenOptions) -> Result<Model, Error> {
    let source = Source::open(spec, options.access)?;
    let (format, table) = read_table(&source, &options.limits)?;
    if format == Format::Gguf {
        return split::open(spec, source, table, options);
    }
    if format == Format::Onnx {
        return onnx_model::open(spec, source, table, options);
    }
    let stem = spec.file_stem().unwrap_or(spec.as_os_str()).to_string_lossy();
    let bytes = source.len();
    let warnings = Vec::from_iter(folder::told_alone(spec));
    assemble(printable(&stem), Origin::File(spec.to_path_buf()), format, vec![(source, table)], bytes, warnings)
}

fn demo_name(index: usize) -> Option<&'static str> {
    super::DEMOS.get(index).copied()
}

/// The one `packed` file of a folder that was exported from a folder.
pub(super) fn packed_in_folder(
    folder: &Path,
    file: &Path,
    options: &OpenOptions,
    warnings: Vec<String>,
) -> Result<Model, Error> {
    let source = Source::open(file, options.access)?;
    let table = packed::read_table(&source, &options.limits)?;
    let (name, bytes) = (folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy(), source.len());
    let origin = Origin::Folder(folder.to_path_buf());
    assemble(printable(&name), origin, Format::Packed, vec![(source, table)], bytes, warnings)
}

/// The next step where nothing is known of a file but that it is none of ours.
const ONE_OF_OURS: &str =
    "open safetensors, GGUF, PyTorch (.pt, .pth, .bin), ONNX, NumPy (.npy, .npz) or .spk, or a folder with one of them";

/// Reads the header of one file. A file that is no model is named for what it looks like, where that is known.
pub(super) fn read_table(source: &Source, limits: &Limits) -> Result<(Format, Table), Error> {
    let head = source.read(0..source.len().min(HEAD), &mut Vec::new()).map(<[u8]>::to_vec)?;
    match sniff(&head) {
        Kind::Packed => Ok((Format::Packed, packed::read_table(source, limits)?)),
        Kind::Gguf => Ok((Format::Gguf, gguf::read_table(source, limits)?)),
        Kind::Onnx => Ok((Format::Onnx, onnx::read_table(source, limits)?)),
        Kind::Npy => Ok((Format::Npy, npy::read_table(source, limits)?)),
        Kind::Pickle => Ok((Format::PyTorch, pytorch::read_pickle(source, limits)?)),
        Kind::Zip => read_archive(source, limits),
        Kind::Safetensors => Ok((Format::Safetensors, safetensors::read_table(source, limits)?)),
        Kind::Unknown => match safetensors::read_table(source, limits) {
            Err(_) if source.path().extension().is_none_or(|ending| ending != "safetensors") => {
                let empty = source.is_empty();
                let found =
                    if empty { "this file is empty" } else { "this begins like none of the files that are read" };
                let found = Cow::Borrowed(found);
                Err(Error::new(source.path(), ErrorKind::Stranger { found, advice: ONE_OF_OURS }))
            }
            read => Ok((Format::Safetensors, read?)),
        },
        // The first bytes of a legal header are a length, and any length may look like a stranger's magic: only a
        // file that is not safetensors either is called what it looks like.
        Kind::Stranger { found, advice } => match safetensors::read_table(source, limits) {
            Ok(table) => Ok((Format::Safetensors, table)),
            Err(_) => Err(Error::new(source.path(), ErrorKind::Stranger { found, advice })),
        },
    }
}

/// An archive is what its members make it.
fn read_archive(source: &Source, limits: &Limits) -> Result<(Format, Table), Error> {
    let members = zip::read(source, limits)?;
    if pytorch::is_torch(&members) {
        return Ok((Format::PyTorch, pytorch::read_archive(source, &members, limits)?));
    }
    if npz::is_npz(&members) {
        return Ok((Format::Npz, npz::read_members(source, &members, limits)?));
    }
    let found = "this is a zip archive with neither PyTorch's data.pkl nor an array of NumPy (.npy) in it";
    let (found, advice) = (Cow::Borrowed(found), "unpack it and open what is inside");
    Err(Error::new(source.path(), ErrorKind::Stranger { found, advice }))
}

/// What the tables of all shards say together.
#[derive(Default)]
struct Joined {
    metadata: BTreeMap<String, String>,
    aliases: Aliases,
    head: Option<Box<gguf::Head>>,
    /// Tensors with the shard that each is in, in order of name.
    entries: Vec<(usize, Entry)>,
    uses: BTreeMap<String, Use>,
    sources: Vec<Source>,
    warnings: Vec<String>,
}

impl Joined {
    /// Joins them; a name that is in two of them is an error.
    fn of(shards: Vec<(Source, Table)>) -> Result<Self, Error> {
        let mut all = Self::default();
        for (shard, (mut source, table)) in shards.into_iter().enumerate() {
            all.metadata.extend(table.metadata);
            all.aliases.extend(table.aliases);
            all.warnings.extend(table.notes);
            source.attach(table.annex);
            all.head = all.head.or(table.gguf);
            all.uses.extend(table.uses);
            all.entries.extend(table.tensors.into_iter().map(|entry| (shard, entry)));
            all.sources.push(source);
        }
        all.entries.sort_unstable_by(|a, b| a.1.name.cmp(&b.1.name));
        let twice = all.entries.windows(2).find(|w| matches!(w, [a, b] if a.1.name == b.1.name));
        let Some([(first, entry), (second, _)]) = twice else { return Ok(all) };
        let path = |shard: &usize| all.sources.get(*shard).map(|s| display_path(s.path())).unwrap_or_default();
        let kind = ErrorKind::InTwoFiles { name: printable(&entry.name), first: path(first), second: path(second) };
        let at = all.sources.get(*second).map_or(Path::new(""), Source::path);
        Err(Error::new(at, kind))
    }
}

/// Joins the tables of all shards into a model.
pub(super) fn assemble(
    name: String,
    origin: Origin,
    format: Format,
    shards: Vec<(Source, Table)>,
    bytes: u64,
    warnings: Vec<String>,
) -> Result<Model, Error> {
    let Joined { mut metadata, mut aliases, head, mut entries, uses, sources, warnings: told } = Joined::of(shards)?;
    let mut warnings = [warnings, told].concat();
    // Only these bear the names that a config speaks of.
    let named = matches!(format, Format::Safetensors | Format::PyTorch);
    let config = if named { Config::beside(&origin) } else { Ok(None) };
    let config = config.unwrap_or_else(|trouble| {
        warnings.push(trouble);
        None
    });
    if matches!(format, Format::Safetensors | Format::Packed) {
        aliases.extend(aliases::said(&metadata));
    }
    if let Some(config) = &config {
        aliases::prefer_embeddings(&mut aliases, &mut entries, config);
    }
    let (entries, note) = gather(entries, &sources, config.as_ref());
    warnings.extend(note);
    let beside = Beside::of(&entries, &uses);
    let mut roles = Roles::default();
    let parts: Vec<Part> = entries.iter().map(|(_, entry, _)| beside.part(entry, &mut roles)).collect();
    let mut tensors: Vec<Tensor> =
        entries.into_iter().zip(parts).map(|(entry, part)| tensor(entry, part, format)).collect();
    let (aliases, note) = aliases::settle(aliases, &mut tensors);
    warnings.extend(note);
    metadata.retain(|key, _| !aliases.contains_key(key));
    Ok(Model {
        name,
        origin,
        format,
        shards: sources,
        metadata,
        gguf: head,
        tensors,
        aliases,
        bytes,
        warnings,
        access: Access::default(),
        decompositions: Shelf::default(),
        pairs: Pairs::default(),
        conversion: OnceLock::new(),
        graph: OnceLock::new(),
        joined: Default::default(),
    })
}

/// What a name and the names beside it say of a tensor.
struct Part {
    role: Role,
    beside_scale: bool,
    side_of_codes: bool,
}

fn tensor((shard, entry, assembled): Gathered, part: Part, container: Format) -> Tensor {
    let product = Product::of(&entry, shard).map(Box::new);
    Tensor {
        role: part.role,
        layer: layer_of(&entry.name).to_owned(),
        block: block_of(&entry.name),
        requantized: false,
        beside_scale: part.beside_scale,
        side_of_codes: part.side_of_codes,
        dtype: entry.dtype,
        shape: entry.shape,
        product,
        coding: entry.packed,
        container,
        block_type: entry.block_type,
        assembled,
        shard,
        range: entry.range,
        blocks: OnceLock::new(),
        also: Vec::new(),
        name: entry.name,
    }
}

/// Roles by name with its numbers taken out: blocks repeat their names, and a rule never asks which block it is.
#[derive(Default)]
struct Roles {
    known: HashMap<(String, usize, bool), Role>,
    key: String,
}

impl Roles {
    fn of(&mut self, name: &str, shape: &[usize], beside_statistics: bool) -> Role {
        self.key.clear();
        for (i, part) in name.split('.').enumerate() {
            let number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            self.key.push_str(if i > 0 { "." } else { "" });
            self.key.push_str(if number { "0" } else { part });
        }
        // A name without a number repeats nowhere.
        if self.key == name {
            return role_of(name, shape, beside_statistics);
        }
        let key = (std::mem::take(&mut self.key), shape.len().min(3), beside_statistics);
        if let Some(&role) = self.known.get(&key) {
            self.key = key.0;
            return role;
        }
        let role = role_of(name, shape, beside_statistics);
        self.known.insert(key, role);
        role
    }
}

/// Suffixes of the scales and zero points that quantizers write beside their codes.
const SIDE: [&str; 20] = [
    "_scale",
    "_scale_inv",
    "_scale_2",
    "_scales",
    ".scale",
    ".scales",
    "_zero_point",
    "_zero_points",
    "_zeros",
    ".zeros",
    ".qzeros",
    ".biases",
    "_global_scale",
    // Half-Quadratic Quantization, AQLM, Nunchaku, ComfyUI's FP8, bitsandbytes.
    ".zero",
    ".codebooks",
    ".wscales",
    ".scale_weight",
    ".scale_input",
    ".absmax",
    ".nested_absmax",
];

/// Endings of the names of codes, where those of their scales stand in their place: of safetensors, then of ONNX, as
/// onnxruntime.quantization gives them, then of optimum-quanto, torchao, Half-Quadratic Quantization and AQLM.
const CODES: [&str; 12] =
    [".weight", "_packed", ".qweight", "_quantized", "_q", "_Q2", "_Q4", "_Q8", "_data", "_qdata", ".W_q", ".codes"];

/// What else gives a scale away: its zero point, of an activation too.
const PARTNERS: [&str; 4] = ["", ".weight_packed", "_zero_point", "_zero_points"];

/// Whether a dtype can hold codes.
fn is_narrow(dtype: Dtype) -> bool {
    dtype.bits() <= 8 || !dtype.is_float()
}

/// What stands beside what in a model, found once: most models have neither scales nor running statistics, and then no
/// tensor costs a look.
struct Beside<'e> {
    /// Every tensor, by name.
    entries: &'e [Gathered],
    /// Names without the suffix of a scale or zero point.
    scaled: HashSet<&'e str>,
    /// Layers with a running mean.
    averaged: HashSet<&'e str>,
    /// What a graph says.
    uses: &'e BTreeMap<String, Use>,
}

impl<'e> Beside<'e> {
    /// `entries` are in order of name.
    fn of(entries: &'e [Gathered], uses: &'e BTreeMap<String, Use>) -> Self {
        let names = || entries.iter().map(|(_, entry, _)| entry.name.as_str());
        let stems = |name: &'e str| SIDE.iter().filter_map(move |suffix| name.strip_suffix(suffix));
        let scaled = names().flat_map(stems).collect();
        let averaged = names().filter_map(|name| name.strip_suffix(".running_mean")).collect();
        Self { entries, scaled, averaged, uses }
    }

    fn part(&self, entry: &Entry, roles: &mut Roles) -> Part {
        let averaged = !self.averaged.is_empty() && self.averaged.contains(layer_of(&entry.name));
        let role = roles.of(&entry.name, &entry.shape, averaged);
        let used = if self.uses.is_empty() { None } else { self.uses.get(&entry.name) };
        Part {
            role: if used == Some(&Use::Bias) { Role::Bias } else { role },
            beside_scale: self.is_codes(entry) || used == Some(&Use::Codes) && is_narrow(entry.dtype),
            side_of_codes: self.is_side(&entry.name) || used == Some(&Use::Side),
        }
    }

    fn dtype(&self, name: &str) -> Option<Dtype> {
        let at = self.entries.binary_search_by(|(_, entry, _)| entry.name.as_str().cmp(name)).ok()?;
        self.entries.get(at).map(|(_, entry, _)| entry.dtype)
    }

    /// Whether a tensor is somebody's codes: `X.weight`, `X.weight_packed`, `X.qweight`, `X_quantized` and their kin in at most 8 bits
    /// or integers, with `X.weight_scale`, `X.scales`, `X_scale`, … standing beside.
    fn is_codes(&self, entry: &Entry) -> bool {
        let name = entry.name.as_str();
        let mut bases = CODES.iter().filter_map(|end| name.strip_suffix(end));
        !self.scaled.is_empty()
            && is_narrow(entry.dtype)
            && (self.scaled.contains(name) || bases.any(|base| self.scaled.contains(base)))
    }

    /// Whether a tensor is a scale or zero point beside such codes.
    fn is_side(&self, name: &str) -> bool {
        let partner = |stem: &str, end: &str| {
            let other = [stem, end].concat();
            other != name && self.dtype(&other).is_some_and(is_narrow)
        };
        let narrow = |stem: &str| CODES.iter().chain(&PARTNERS).any(|end| partner(stem, end));
        !self.scaled.is_empty() && SIDE.iter().filter_map(|suffix| name.strip_suffix(suffix)).any(narrow)
    }
}
