//! What the `config.json` of an artifact must say: the numbers of what was removed, and how a runtime finds the codes of each layer.
//!
//! compressed-tensors groups layers by number format; a group names its layers by class, by name or by regex, and what is dense
//! is on a list of its own. MLX has one form for all layers, and beside it each layer that has another, `false` for a dense one. A
//! block that the source had, and that is no longer true, goes.

use super::{Plan, Target};
use crate::formats::assembly::Assembly;
use crate::kernels::layout::Unit;
use crate::model::modules::experts_of;
use crate::model::{Config, Model, Role};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The key of compressed-tensors, and of whoever else quantizes for transformers.
pub const CONFIG_KEY: &str = "quantization_config";
/// MLX's own.
pub const MLX_KEY: &str = "quantization";

/// What a config must say from now on, by key; `None` stands for a key that must not be there. Empty where it stays as it is.
pub fn values(model: &Model, plan: &Plan) -> Vec<(&'static str, Option<Value>)> {
    let mut values: BTreeMap<&'static str, Option<Value>> =
        plan.removals.config.iter().map(|(&key, &number)| (key, Some(number.into()))).collect();
    if model.is_assembled() || plan.target.is_folder() {
        values.extend([CONFIG_KEY, MLX_KEY].map(|key| (key, None)));
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

/// Whether it is one of those that are made where a model brings none: how codes are found, and nothing else.
pub fn is_made_here(text: &[u8]) -> bool {
    Config::parse(text).is_some_and(|config| config.says(CONFIG_KEY) || config.says(MLX_KEY))
}

/// The layers of a model by what their weights are stored as.
struct Layers<'a> {
    /// Those in a runtime's layout.
    coded: Vec<(&'a str, Assembly)>,
    /// Other matrices that a runtime would take for quantized ones if it were not told.
    dense: Vec<&'a str>,
}

impl<'a> Layers<'a> {
    fn of(model: &'a Model, plan: &Plan) -> Self {
        let mut layers = Self { coded: Vec::new(), dense: Vec::new() };
        let embeddings = plan.target == Target::Mlx;
        for (index, tensor) in model.tensors.iter().enumerate() {
            let Some(module) = model.module_of(index) else { continue };
            match plan.outcome(model, index).assembly(plan.target) {
                Some(assembly) => layers.coded.push((module, assembly)),
                None if tensor.shape.len() != 2 || !tensor.role.is_weight() => {}
                None if tensor.role == Role::Embedding && !embeddings => {}
                None => layers.dense.push(module),
            }
        }
        // A tied head is a layer all the same, and has no weight of its own.
        let head = "lm_head";
        if plan.target == Target::CompressedTensors && model.find("lm_head.weight").is_none() {
            layers.dense.push(head);
        }
        layers
    }

    fn compressed_tensors(&self) -> Value {
        let mut groups: Vec<(Assembly, Vec<&str>)> = Vec::new();
        for &(module, assembly) in &self.coded {
            match groups.iter_mut().find(|(other, _)| *other == assembly) {
                Some((_, modules)) => modules.push(module),
                None => groups.push((assembly, vec![module])),
            }
        }
        let formats: BTreeSet<&str> = groups.iter().map(|(assembly, _)| format_of(*assembly)).collect();
        let format = match formats.first() {
            Some(format) if formats.len() == 1 => format,
            _ => "mixed-precision",
        };
        let alone = groups.len() == 1;
        let mut blocks = Map::new();
        for (number, (assembly, modules)) in groups.into_iter().enumerate() {
            let targets = if alone { vec!["Linear".to_owned()] } else { self.named(&modules) };
            blocks.insert(format!("group_{number}"), group_of(assembly, targets));
        }
        json!({
            "quant_method": "compressed-tensors",
            "format": format,
            "quantization_status": "compressed",
            "global_compression_ratio": null,
            "kv_cache_scheme": null,
            "config_groups": blocks,
            "ignore": self.named(&self.dense),
        })
    }

    /// Names of modules, with one regex for those that differ in their numbers alone, where it finds no others.
    fn named(&self, modules: &[&str]) -> Vec<String> {
        let wanted: BTreeSet<&str> = modules.iter().copied().collect();
        let all = || self.coded.iter().map(|&(module, _)| module).chain(self.dense.iter().copied());
        let mut whole: BTreeMap<String, bool> = BTreeMap::new();
        for module in all() {
            *whole.entry(opened(module)).or_insert(true) &= wanted.contains(module);
        }
        let mut out = Vec::new();
        for &module in modules {
            let pattern = opened(module);
            let plain = module.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
            let name = if pattern == module || !plain || !whole.get(&pattern).copied().unwrap_or_default() {
                module.to_owned()
            } else {
                format!("re:{}$", pattern.replace('.', "\\.").replace('#', "\\d+"))
            };
            if !out.contains(&name) {
                out.push(name);
            }
        }
        out
    }

    fn mlx(&self) -> Value {
        let form = |assembly: Assembly| {
            let group = if let Unit::Group(size) = assembly.unit() { size } else { 0 };
            (group, assembly.bits())
        };
        let mut counts: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        self.coded.iter().for_each(|&(_, assembly)| *counts.entry(form(assembly)).or_default() += 1);
        let most = counts.into_iter().max_by_key(|&(_, count)| count).map_or((64, 4), |(form, _)| form);
        let mut block = Map::new();
        block.insert("group_size".into(), most.0.into());
        block.insert("bits".into(), most.1.into());
        block.insert("mode".into(), "affine".into());
        let other = self.coded.iter().filter(|(_, assembly)| form(*assembly) != most);
        let other = other.map(|&(module, assembly)| {
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

/// A name with its numbers opened.
fn opened(module: &str) -> String {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    module.split('.').map(|part| if number(part) { "#" } else { part }).collect::<Vec<_>>().join(".")
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
        Assembly::Packed { .. } | Assembly::Affine { .. } => "pack-quantized",
        Assembly::Bytes { .. } => "int-quantized",
        Assembly::Fp8 { .. } => "float-quantized",
        Assembly::Mxfp4 => "mxfp4-pack-quantized",
        Assembly::Nvfp4 => "nvfp4-pack-quantized",
    }
}

/// A group of layers of one form. Its reader refuses keys that it does not know.
fn group_of(assembly: Assembly, targets: Vec<String>) -> Value {
    let float = matches!(assembly, Assembly::Fp8 { .. } | Assembly::Mxfp4 | Assembly::Nvfp4);
    let kind = if float { "float" } else { "int" };
    let mut weights = Map::new();
    weights.insert("num_bits".into(), assembly.bits().into());
    weights.insert("type".into(), kind.into());
    weights.insert("symmetric".into(), true.into());
    weights.insert("dynamic".into(), false.into());
    let strategy = match assembly.unit() {
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
    // What is served in 8 bits multiplies in them: activations are rounded as they come, token by token.
    let activations = matches!(assembly, Assembly::Fp8 { .. } | Assembly::Bytes { .. })
        .then(|| json!({"num_bits": 8, "type": kind, "symmetric": true, "strategy": "token", "dynamic": true}));
    json!({
        "targets": targets,
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
        assert_eq!(config["ignore"], json!(["model.layers.1.mlp.down_proj", "model.layers.1.mlp.up_proj", "lm_head"]));
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
        assert_eq!((&config["format"], &config["ignore"]), (&json!("mixed-precision"), &json!(["lm_head"])));
        let groups = config["config_groups"].as_object().unwrap();
        let of = |format: &str| groups.values().find(|group| group["format"] == format).unwrap();
        assert_eq!(of("nvfp4-pack-quantized")["targets"], json!(["re:model\\.layers\\.\\d+\\.mlp\\.down_proj$"]));
        assert_eq!(of("nvfp4-pack-quantized")["weights"]["strategy"], "tensor_group");
        assert_eq!(of("float-quantized")["targets"], json!(["model.layers.0.mlp.up_proj"]));
        assert_eq!(of("float-quantized")["input_activations"]["strategy"], "token");
        let ints = of("pack-quantized")["targets"].as_array().unwrap();
        assert_eq!(ints.len(), 4);
        assert!(ints.contains(&json!("re:model\\.layers\\.\\d+\\.self_attn\\.q_proj$")));
        assert!(ints.contains(&json!("model.layers.1.mlp.up_proj")));
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
        assert!(is_made_here(br#"{"quantization_config": {}}"#) && !is_made_here(br#"{"model_type": "llama"}"#));
    }
}
