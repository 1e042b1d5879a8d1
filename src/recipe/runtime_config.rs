//! What the `config.json` of an artifact must say: the numbers of what was removed, and how a runtime finds the codes of each layer.
//!
//! compressed-tensors groups layers by number format; a group names its layers by class, by name or by regex, and what is dense
//! is on a list of its own. MLX has one form for all layers, and beside it each layer that has another, `false` for a dense one. A
//! block that the source had, and that is no longer true, goes; a layer that is kept as it was keeps the group that it was in.
//!
//! Where all codes have one form their layers are meant by their class, because transformers may call them otherwise than the files
//! do, and vLLM asks for the group of that class where it has experts. Then heads that have no weight of their own, being tied to an
//! embedding, are among the dense ones.

use super::{Plan, Target};
use crate::formats::assembly::Assembly;
use crate::kernels::layout::Unit;
pub use crate::model::groups::{CONFIG_KEY, MLX_KEY};
use crate::model::groups::{Groups, OLD_KEY, python_regex};
use crate::model::modules::experts_of;
use crate::model::roles::role_of;
use crate::model::{Config, Model, Role};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Heads that transformers (5.24) may tie to an embedding, beside parts of theirs that are in the files: the part that these are in,
/// and the head.
const TIED_BESIDE: &[(&str, &str)] = &[
    ("cls.predictions", "cls.predictions.decoder"),
    ("predictions", "predictions.decoder"),
    ("lm_head", "lm_head.decoder"),
    ("lm_head", "lm_head.out_proj"),
    ("head", "head.decoder"),
    ("mlm_score", "mlm_score.decoder"),
    ("pred_layer", "pred_layer.proj"),
];
/// The same for families of whose head nothing else is in the files.
const TIED_IN: &[(&str, &str)] = &[
    ("biogpt", "output_projection"),
    ("canary", "proj_out"),
    ("cohere_asr", "proj_out"),
    ("convbert", "generator_lm_head"),
    ("distilbert", "vocab_projector"),
    ("electra", "generator_lm_head"),
    ("git", "output"),
    ("gpt_neox_japanese", "embed_out"),
    ("modernbert", "decoder"),
    ("modernbert-decoder", "decoder"),
    ("moonshine", "proj_out"),
    ("moonshine_streaming", "proj_out"),
    ("rwkv", "head"),
    ("trocr", "output_projection"),
    ("whisper", "proj_out"),
    ("xlnet", "lm_loss"),
];

/// Dense layers that transformers (5.24) gives names which no file has: the family, and what means them there.
const RENAMED: &[(&str, &str)] = &[("phimoe", "re:.*\\.mlp\\.router$")];

/// The key that says whether a head is the embedding.
const TIE_KEY: &str = "tie_word_embeddings";

/// Whether a head has an embedding's storage, and the config does not say so: written once, its loaders would miss it.
fn is_tied_unsaid(model: &Model) -> bool {
    let Some(config) = model.config().filter(|config| config.names_an_architecture()) else { return false };
    let said = |path: &[&str]| config.value(path).and_then(Value::as_bool) == Some(true);
    let is_head = |name: &String| role_of(name, &[0, 0], false) == Role::Head;
    let tied = model.tensors.iter().any(|t| t.role == Role::Embedding && t.also.iter().any(is_head));
    tied && !said(&[TIE_KEY]) && !said(&["text_config", TIE_KEY])
}

/// What a config must say from now on, by key; `None` stands for a key that must not be there. Empty where it stays as it is.
pub fn values(model: &Model, plan: &Plan) -> Vec<(&'static str, Option<Value>)> {
    // What a GGUF file says of itself it says under keys of its own.
    let numbers = plan.removals.config.iter().filter(|_| model.gguf.is_none());
    let mut values: BTreeMap<&'static str, Option<Value>> =
        numbers.map(|(&key, &number)| (key, Some(number.into()))).collect();
    if model.is_assembled() || plan.target.is_folder() {
        values.extend([CONFIG_KEY, MLX_KEY].map(|key| (key, None)));
        if model.config().is_some_and(|config| config.says(OLD_KEY)) {
            values.insert(OLD_KEY, None);
        }
    }
    if is_tied_unsaid(model) {
        values.insert(TIE_KEY, Some(true.into()));
    }
    let layers = Layers::of(model, plan);
    if !layers.coded.is_empty() {
        match plan.target {
            Target::CompressedTensors => drop(values.insert(CONFIG_KEY, Some(layers.compressed_tensors()))),
            Target::Mlx => {
                let block = layers.mlx();
                values.extend([CONFIG_KEY, MLX_KEY].map(|key| (key, Some(block.clone()))));
            }
            _ => {}
        }
    }
    values.into_iter().collect()
}

/// Whether a config says what it must.
pub fn says(config: Option<&Config>, values: &[(&str, Option<Value>)]) -> bool {
    let found = |key: &str| config.and_then(|config| config.value(&[key]));
    values.iter().all(|(key, value)| found(key) == value.as_ref())
}

/// Whether a text says no more than what is written here beside codes: how they are found, and otherwise what the model's own config
/// says, but for numbers, which follow what was removed.
pub fn is_made_here(text: &[u8], own: Option<&Config>) -> bool {
    let values = [(CONFIG_KEY, None), (MLX_KEY, None)];
    let bare = |config: &Config| Config::parse(config.with(&values).as_bytes());
    let Some(rest) = Config::parse(text).as_ref().and_then(bare) else { return false };
    rest.is_empty() || own.and_then(bare).is_some_and(|own| rest.differs_in_numbers_alone(&own))
}

/// The layers of a model by what their weights are stored as.
struct Layers<'a> {
    /// Those in a runtime's layout, each with the group that it is still in.
    coded: Vec<(&'a str, Assembly, Option<&'a Value>)>,
    /// Other matrices that a runtime would take for quantized ones if it were not told.
    dense: Vec<&'a str>,
    /// Heads that have no weight of their own, and layers that a runtime renames, by name.
    tied: Vec<String>,
    /// The block of the source, where some layer is kept as it was there.
    source: Option<&'a Map<String, Value>>,
}

impl<'a> Layers<'a> {
    fn of(model: &'a Model, plan: &Plan) -> Self {
        let mut layers = Self { coded: Vec::new(), dense: Vec::new(), tied: Vec::new(), source: None };
        let config = model.config().filter(|_| plan.target == Target::CompressedTensors);
        let groups = config.and_then(|config| Groups::of(config).ok()).unwrap_or_default();
        for (index, tensor) in model.tensors.iter().enumerate() {
            let Some(module) = model.module_of(index) else { continue };
            let outcome = plan.outcome(model, index);
            match outcome.assembly(plan.target) {
                Some(assembly) => {
                    let group = if outcome.is_kept() { groups.group(module) } else { None };
                    layers.coded.push((module, assembly, group));
                }
                None if tensor.shape.len() == 2 => layers.dense.push(module),
                None => {}
            }
        }
        if layers.coded.iter().any(|(_, _, group)| group.is_some()) {
            layers.source = config.and_then(|config| config.value(&[CONFIG_KEY])?.as_object());
        }
        if plan.target == Target::CompressedTensors {
            layers.tied = tied_heads(model);
            let family = config.map(Config::family).unwrap_or_default();
            layers.tied.extend(RENAMED.iter().filter(|(of, _)| *of == family).map(|&(_, name)| name.to_owned()));
        }
        layers
    }

    fn compressed_tensors(&self) -> Value {
        let mut groups: Vec<(Assembly, Option<Value>, Vec<&str>)> = Vec::new();
        for &(module, assembly, group) in &self.coded {
            let group = group.map(without_targets);
            match groups.iter_mut().find(|(of, source, _)| *of == assembly && *source == group) {
                Some((_, _, modules)) => modules.push(module),
                None => groups.push((assembly, group, vec![module])),
            }
        }
        let formats: BTreeSet<&str> = groups.iter().map(|(assembly, _, _)| format_of(*assembly)).collect();
        let format = match formats.first() {
            Some(format) if formats.len() == 1 => format,
            _ => "mixed-precision",
        };
        let by_class = groups.len() == 1;
        let names = self.names();
        let mut blocks = Map::new();
        for (number, (assembly, source, modules)) in groups.into_iter().enumerate() {
            let targets = if by_class { vec!["Linear".to_owned()] } else { names.of(&modules) };
            let group = source.map_or_else(|| group_of(assembly), |source| with_format(source, assembly));
            blocks.insert(format!("group_{number}"), with_targets(group, targets));
        }
        let mut block = self.source.cloned().unwrap_or_else(|| {
            [("global_compression_ratio", Value::Null), ("kv_cache_scheme", Value::Null)]
                .map(|(key, value)| (key.to_owned(), value))
                .into_iter()
                .collect()
        });
        let mut ignore = names.of(&self.dense);
        let others = block.get("ignore").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let others = self.of_no_codes(self.tied.iter().map(String::as_str).chain(others));
        let mut known: HashSet<String> = ignore.iter().cloned().collect();
        ignore.extend(others.into_iter().filter(|item| known.insert(item.clone())));
        let said: [(&str, Value); 5] = [
            ("quant_method", "compressed-tensors".into()),
            ("format", (*format).into()),
            ("quantization_status", "compressed".into()),
            ("config_groups", Value::Object(blocks)),
            ("ignore", ignore.into()),
        ];
        block.extend(said.map(|(key, value)| (key.to_owned(), value)));
        Value::Object(block)
    }

    /// The items of a source's list of dense layers, and of tied heads, that mean none that has codes.
    fn of_no_codes<'i>(&self, items: impl Iterator<Item = &'i str>) -> Vec<String> {
        let coded: HashSet<&str> = self.coded.iter().map(|&(module, _, _)| module).collect();
        let means_none = |item: &&str| match item.strip_prefix("re:").map(python_regex) {
            Some(Ok(regex)) => !coded.iter().any(|module| regex.is_match(module)),
            // What is not read here may mean any.
            Some(Err(_)) => false,
            None => *item != "Linear" && !coded.contains(item),
        };
        items.filter(means_none).map(str::to_owned).collect()
    }

    fn names(&self) -> Names<'a> {
        let mut names = Names::default();
        for &module in self.coded.iter().map(|(module, _, _)| module).chain(&self.dense) {
            names.add(module);
        }
        names
    }

    fn mlx(&self) -> Value {
        let form = |assembly: Assembly| {
            let group = if let Unit::Group(size) = assembly.unit() { size } else { 0 };
            (group, assembly.bits())
        };
        let mut counts: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        self.coded.iter().for_each(|&(_, assembly, _)| *counts.entry(form(assembly)).or_default() += 1);
        let most = counts.into_iter().max_by_key(|&(_, count)| count).map_or((64, 4), |(form, _)| form);
        let mut block = Map::new();
        block.insert("group_size".into(), most.0.into());
        block.insert("bits".into(), most.1.into());
        block.insert("mode".into(), "affine".into());
        let other = self.coded.iter().filter(|(_, assembly, _)| form(*assembly) != most);
        let other = other.map(|&(module, assembly, _)| {
            let (group, bits) = form(assembly);
            (module, json!({"group_size": group, "bits": bits}))
        });
        let dense = self.dense.iter().map(|&module| (module, Value::Bool(false)));
        for (module, params) in other.chain(dense) {
            if let Some(stacked) = stacked(module) {
                block.insert(stacked, params.clone());
            }
            block.insert(module.to_owned(), params);
        }
        Value::Object(block)
    }
}

/// The heads that a model has beside its files: layers all the same, and tied to an embedding.
fn tied_heads(model: &Model) -> Vec<String> {
    let mut out = Vec::new();
    if !model.tensors.iter().any(|tensor| tensor.name == "lm_head.weight") {
        out.push("lm_head".to_owned());
    }
    let family = model.config().map(Config::family).unwrap_or_default();
    let of_family = TIED_IN.iter().filter(|(of, _)| *of == family).map(|(_, head)| *head);
    let beside = TIED_BESIDE.iter().filter(|(part, _)| {
        let inside = [".", part, "."].concat();
        // Something that has a part of its own is no layer itself.
        let rest = |name: &str| {
            let after = name.strip_prefix(&inside[1..]).or(name.split_once(&inside).map(|split| split.1));
            after.is_some_and(|after| after.contains('.'))
        };
        model.tensors.iter().any(|tensor| rest(&tensor.name))
    });
    for head in beside.map(|(_, head)| *head).chain(of_family) {
        let weight = [".", head, ".weight"].concat();
        if !model.tensors.iter().any(|tensor| tensor.name == weight[1..] || tensor.name.ends_with(&weight)) {
            out.push(format!("re:(?:.*\\.)?{}$", head.replace('.', "\\.")));
        }
    }
    out
}

/// How the modules of a model are named in few words: by the last parts of their names, with numbers opened, where these mean no
/// others. The parts before may differ in the program that reads it: it may load the body of a network alone, or put it into another.
#[derive(Default)]
struct Names<'a> {
    /// The modules that each ending means.
    ends: HashMap<String, Vec<&'a str>>,
}

impl<'a> Names<'a> {
    fn add(&mut self, module: &'a str) {
        for end in Self::ends(module) {
            self.ends.entry(end).or_default().push(module);
        }
    }

    /// The endings that a module may be named by, the widest first; numbers opened are `#`.
    fn ends(module: &str) -> Vec<String> {
        let parts: Vec<&str> = module.split('.').collect();
        let plain = module.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
        if !plain || parts.len() == 1 {
            return Vec::new();
        }
        // At least the list that a block is in, or the last two parts.
        let block = parts.iter().position(|part| is_number(part));
        let first = block.map_or(parts.len() - 2, |at| at.saturating_sub(1));
        let open = |part: &&str| if is_number(part) { "#".to_owned() } else { (*part).to_owned() };
        let opened: Vec<String> = parts.iter().map(open).collect();
        let widest = (0..=first).rev().map(|at| opened[at..].join("."));
        let numbered = (0..=first).rev().map(|at| parts[at..].join("."));
        if block.is_some() { widest.chain(numbered).collect() } else { widest.collect() }
    }

    /// These modules, and no others.
    fn of(&self, modules: &[&str]) -> Vec<String> {
        let wanted: BTreeSet<&str> = modules.iter().copied().collect();
        let is_alone = |end: &str| self.ends.get(end).is_some_and(|all| all.iter().all(|m| wanted.contains(m)));
        // Many modules have the same ends.
        let mut judged: HashMap<String, bool> = HashMap::new();
        let mut alone = |end: &String| *judged.entry(end.clone()).or_insert_with_key(|end| is_alone(end));
        let mut known = BTreeSet::new();
        let mut out = Vec::new();
        for &module in modules {
            let name = match Self::ends(module).into_iter().find(&mut alone) {
                Some(end) => format!("re:(?:.*\\.)?{}$", end.replace('.', "\\.").replace('#', "\\d+")),
                None => module.to_owned(),
            };
            if known.insert(name.clone()) {
                out.push(name);
            }
        }
        out
    }
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
}

fn without_targets(group: &Value) -> Value {
    let mut group = group.clone();
    group.as_object_mut().map(|group| group.remove("targets"));
    group
}

fn with_targets(mut group: Value, targets: Vec<String>) -> Value {
    group.as_object_mut().map(|group| group.insert("targets".into(), targets.into()));
    group
}

/// A group of a source, which may name the format of all groups in one place.
fn with_format(mut group: Value, assembly: Assembly) -> Value {
    if let Some(group) = group.as_object_mut() {
        group.insert("format".into(), format_of(assembly).into());
    }
    group
}

/// The name that MLX gives to the same matrix of all experts.
fn stacked(module: &str) -> Option<String> {
    let (expert, part) = module.rsplit_once('.')?;
    let block = experts_of(expert)?.strip_suffix("experts")?;
    let part = match part {
        "w1" => "gate_proj",
        "w2" => "down_proj",
        "w3" => "up_proj",
        other => other,
    };
    Some(format!("{block}switch_mlp.{part}"))
}

/// What compressed-tensors calls a layout.
const fn format_of(assembly: Assembly) -> &'static str {
    match assembly {
        Assembly::Packed { .. } | Assembly::Affine { .. } | Assembly::Turned { .. } => "pack-quantized",
        Assembly::Bytes { .. } => "int-quantized",
        Assembly::Fp8 { .. } | Assembly::Fp8Blocks { .. } => "float-quantized",
        Assembly::Mxfp4 => "mxfp4-pack-quantized",
        Assembly::Nvfp4 => "nvfp4-pack-quantized",
    }
}

/// A group of layers of one form. Its reader refuses keys that it does not know.
fn group_of(assembly: Assembly) -> Value {
    let kind = if assembly.is_float() { "float" } else { "int" };
    let mut weights = Map::new();
    weights.insert("num_bits".into(), assembly.bits().into());
    weights.insert("type".into(), kind.into());
    weights.insert("symmetric".into(), true.into());
    weights.insert("dynamic".into(), false.into());
    let strategy = match assembly.unit() {
        Unit::Group(_) if let Assembly::Fp8Blocks { block, .. } = assembly => {
            weights.insert("block_structure".into(), block.to_vec().into());
            "block"
        }
        Unit::Tensor => "tensor",
        Unit::Row => "channel",
        Unit::Group(size) => {
            weights.insert("group_size".into(), size.into());
            if assembly == Assembly::Nvfp4 { "tensor_group" } else { "group" }
        }
    };
    weights.insert("strategy".into(), strategy.into());
    if assembly == Assembly::Mxfp4 {
        weights.insert("scale_dtype".into(), "torch.uint8".into());
        weights.insert("zp_dtype".into(), "torch.uint8".into());
    }
    // What is served in 8 bits multiplies in them: activations are rounded as they come, token by token or in groups as wide as a block.
    let activations = match assembly {
        Assembly::Fp8 { .. } | Assembly::Bytes { .. } => {
            json!({"num_bits": 8, "type": kind, "symmetric": true, "strategy": "token", "dynamic": true})
        }
        Assembly::Fp8Blocks { block: [_, width], .. } => {
            json!({"num_bits": 8, "type": kind, "symmetric": true, "strategy": "group", "group_size": width, "dynamic": true})
        }
        _ => Value::Null,
    };
    json!({
        "weights": weights,
        "input_activations": activations,
        "output_activations": null,
        "format": format_of(assembly),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::assembly::WEIGHT;
    use crate::recipe::Recipe;

    fn planned(target: Target, settings: &[&str]) -> (Model, Vec<(&'static str, Option<Value>)>) {
        let shape = &[64_usize, 128][..];
        let parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj"];
        let name = |b: usize, part: &str| (format!("model.layers.{b}.{part}{WEIGHT}"), shape);
        let mut tensors: Vec<_> = (0..2).flat_map(|b| parts.iter().map(move |part| name(b, part))).collect();
        tensors.push(("model.embed_tokens.weight".into(), shape));
        tensors.push(("model.norm.weight".into(), &[128]));
        let model = Model::named(&tensors, Some(r#"{"model_type": "llama"}"#));
        let mut recipe = Recipe { target: Some(target), ..Recipe::default() };
        settings.iter().for_each(|setting| drop(recipe.set(&model, setting).unwrap()));
        let plan = Plan::new(&model, &recipe, false).unwrap();
        let values = values(&model, &plan);
        (model, values)
    }

    fn block(values: &[(&'static str, Option<Value>)], key: &str) -> Value {
        values.iter().find(|(k, _)| *k == key).and_then(|(_, value)| value.clone()).unwrap_or_default()
    }

    #[test]
    fn one_form_is_one_group_and_what_is_dense_is_named() {
        let (_, values) = planned(Target::CompressedTensors, &["*_proj.weight=int4:g128", "*.1.mlp.*=keep"]);
        let config = block(&values, CONFIG_KEY);
        assert_eq!(config["format"], "pack-quantized");
        let end = |text: &str| format!("re:(?:.*\\.)?{}$", text.replace('.', "\\."));
        let dense = ["model.embed_tokens", "layers.1.mlp.down_proj", "layers.1.mlp.up_proj"].map(end);
        assert_eq!(config["ignore"], json!([dense[0], dense[1], dense[2], "lm_head"]));
        let group = &config["config_groups"]["group_0"];
        assert_eq!(group["targets"], json!(["Linear"]));
        let weights = json!({"num_bits": 4, "type": "int", "symmetric": true, "dynamic": false, "strategy": "group", "group_size": 128});
        assert_eq!((&group["weights"], &group["input_activations"]), (&weights, &Value::Null));
        assert_eq!(block(&values, MLX_KEY), Value::Null);
    }

    #[test]
    fn several_forms_are_groups_by_name() {
        let settings = ["*_proj.weight=int8:row", "*down_proj.weight=nvfp4", "*.0.mlp.up_proj.weight=fp8_e4m3:row"];
        let (_, values) = planned(Target::CompressedTensors, &settings);
        let config = block(&values, CONFIG_KEY);
        let ignore = json!(["re:(?:.*\\.)?model\\.embed_tokens$", "lm_head"]);
        assert_eq!((&config["format"], &config["ignore"]), (&json!("mixed-precision"), &ignore));
        let groups = config["config_groups"].as_object().unwrap();
        let of = |format: &str| groups.values().find(|group| group["format"] == format).unwrap();
        assert_eq!(of("nvfp4-pack-quantized")["targets"], json!(["re:(?:.*\\.)?layers\\.\\d+\\.mlp\\.down_proj$"]));
        assert_eq!(of("nvfp4-pack-quantized")["weights"]["strategy"], "tensor_group");
        assert_eq!(of("float-quantized")["targets"], json!(["re:(?:.*\\.)?layers\\.0\\.mlp\\.up_proj$"]));
        assert_eq!(of("float-quantized")["input_activations"]["strategy"], "token");
        let ints = of("pack-quantized")["targets"].as_array().unwrap();
        assert_eq!(ints.len(), 4);
        assert!(ints.contains(&json!("re:(?:.*\\.)?layers\\.\\d+\\.self_attn\\.q_proj$")));
        assert!(ints.contains(&json!("re:(?:.*\\.)?layers\\.1\\.mlp\\.up_proj$")));
    }

    #[test]
    fn mlx_has_one_form_and_names_the_others() {
        let settings = ["*=int4:g64", "*down_proj.weight=int3:g32:asym", "*.1.*up_proj.weight=f16"];
        let (_, values) = planned(Target::Mlx, &settings);
        let config = block(&values, MLX_KEY);
        assert_eq!(config, block(&values, CONFIG_KEY));
        assert_eq!(
            (&config["bits"], &config["group_size"], &config["mode"]),
            (&json!(4), &json!(64), &json!("affine"))
        );
        assert_eq!(config["model.layers.0.mlp.down_proj"], json!({"group_size": 32, "bits": 3}));
        assert_eq!(config["model.layers.1.mlp.up_proj"], false);
        assert_eq!(config.as_object().unwrap().len(), 3 + 3);
        assert_eq!(stacked("a.mlp.experts.3.up_proj").unwrap(), "a.mlp.switch_mlp.up_proj");
        assert_eq!(stacked("a.block_sparse_moe.experts.3.w2").unwrap(), "a.block_sparse_moe.switch_mlp.down_proj");
        assert_eq!(stacked("a.mlp.up_proj"), None);
    }

    #[test]
    fn nothing_is_said_where_nothing_is_coded() {
        let (_, values) = planned(Target::Mlx, &["*=bf16"]);
        assert_eq!(values, [(MLX_KEY, None), (CONFIG_KEY, None)]);
        assert!(says(None, &values) && !says(None, &[("a", Some(Value::Null))]));
        assert!(planned(Target::Safetensors, &["*=bf16"]).1.is_empty());
    }

    #[test]
    fn heads_without_a_weight_of_their_own_are_told() {
        let m = &[64_usize, 64][..];
        let of = |names: &[&str], family: &str| {
            let tensors: Vec<(&str, &[usize])> = names.iter().map(|name| (*name, m)).collect();
            tied_heads(&Model::named(&tensors, Some(&format!("{{\"model_type\": \"{family}\"}}")))).join(" ")
        };
        let bert = ["bert.embeddings.word_embeddings.weight", "cls.predictions.transform.dense.weight"];
        let decoder = "re:(?:.*\\.)?predictions\\.decoder$";
        assert_eq!(of(&bert, "bert"), format!("lm_head re:(?:.*\\.)?cls\\.predictions\\.decoder$ {decoder}"));
        assert_eq!(of(&[bert[0], bert[1], "cls.predictions.decoder.weight"], "bert"), "lm_head");
        assert_eq!(of(&["model.decoder.embed_tokens.weight"], "whisper"), "lm_head re:(?:.*\\.)?proj_out$");
        assert_eq!(of(&["lm_head.weight", "model.embed_tokens.weight"], "llama"), "");
        assert_eq!(of(&["model.embed_tokens.weight"], "llama"), "lm_head");
        let roberta = ["lm_head.dense.weight", "roberta.embeddings.word_embeddings.weight"];
        assert!(of(&roberta, "roberta").contains("lm_head\\.decoder$"));
    }

    #[test]
    fn a_config_with_more_in_it_is_not_one_made_here() {
        let own = Config::parse(br#"{"model_type": "llama", "n": 1}"#).unwrap();
        let made = |text: &str, own| is_made_here(text.as_bytes(), own);
        assert!(made(r#"{"quantization_config": {}}"#, None) && made(r#"{"quantization": {}}"#, Some(&own)));
        // Where nothing has codes it is the model's own, or empty.
        assert!(made("{}", None) && made(r#"{"model_type": "llama"}"#, Some(&own)));
        assert!(!made(r#"{"model_type": "llama"}"#, None) && !made(r#"{"model_type": "bert"}"#, Some(&own)));
        let more = r#"{"n": 1, "quantization_config": {"bits": 4}, "model_type": "llama"}"#;
        assert!(made(more, Some(&own)) && !made(more, None));
        // Numbers follow what was removed.
        assert!(made(&more.replace("\"n\": 1", "\"n\": 2, \"head_dim\": 3"), Some(&own)));
        assert!(!made(&more.replace("\"n\": 1", "\"n\": \"two\""), Some(&own)));
        assert!(!made(&more.replace("\"n\": 1", "\"n\": 1, \"mine\": \"text\""), Some(&own)));
    }

    #[test]
    fn names_end_where_they_mean_no_others() {
        let all = [
            "lm_head",
            "vision.layers.0.q",
            "text.model.layers.0.q",
            "text.model.layers.1.q",
            "a.b.pooler",
            "x.pooler",
        ];
        let mut names = Names::default();
        all.iter().for_each(|module| names.add(module));
        let of = |modules: &[&str]| names.of(modules).join(" ");
        assert_eq!(of(&["lm_head"]), "lm_head");
        assert_eq!(of(&all[2..4]), "re:(?:.*\\.)?model\\.layers\\.\\d+\\.q$");
        assert_eq!(of(&all[1..4]), "re:(?:.*\\.)?layers\\.\\d+\\.q$");
        assert_eq!(of(&all[3..4]), "re:(?:.*\\.)?layers\\.1\\.q$");
        assert_eq!(of(&all[4..5]), "re:(?:.*\\.)?b\\.pooler$");
        let mut odd = Names::default();
        odd.add("a.b+c");
        assert_eq!(odd.of(&["a.b+c"]), ["a.b+c"]);
    }
}
